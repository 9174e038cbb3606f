/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's port over a host that only notes what is asked of it. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "viaduct_host.h"
#include "xdp/hostport.h"

#define TAP 77
#define UPLINK 5

static struct fake {
	struct host_ops ops;
	char log[512];		/* what was done, in order */
	char ifname[64];
	const char *fails;	/* this act fails ... */
	int with;		/* ... with this error */
	bool old_kernel;	/* no links for tc programs */
	int hook;		/* what tc_attach() returns: 1 = the hook is ours */
	int maps;		/* maps given to the last bpf_load() */
} fake;

static char err[256];
static const struct fail why = { err, sizeof(err) };

static int act(const char *what)
{
	size_t at = strlen(fake.log);

	snprintf(fake.log + at, sizeof(fake.log) - at, "%s%s", at ? " " : "", what);
	return fake.fails && !strcmp(fake.fails, what) ? fake.with : 0;
}

static int any_fd(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int fake_tap(const struct host_ops *h, const char *ifname, int *ifindex)
{
	int ret = act("tap");

	(void)h;
	snprintf(fake.ifname, sizeof(fake.ifname), "%s", ifname);
	*ifindex = TAP;
	return ret ? ret : any_fd();
}

static int fake_link_set(const struct host_ops *h, int ifindex, uint32_t mtu, bool up)
{
	char what[32];

	(void)h;
	assert_int_equal(ifindex, TAP);
	snprintf(what, sizeof(what), "mtu-%u%s", mtu, up ? "-up" : "");
	return act(what);
}

static int fake_load(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds)
{
	int ret = act(spec->prog);

	(void)h;
	for (fake.maps = 0; spec->reuse[fake.maps].map;)
		fake.maps++;
	if (ret)
		return ret;
	fds->prog = any_fd();
	fds->map[0] = any_fd();
	return 0;
}

static int fake_update(const struct host_ops *h, int map, const void *key, const void *value)
{
	const struct vd_host *v = value;

	(void)h;
	(void)map;
	(void)key;
	if (v->tap)
		assert_true(v->tap == TAP && v->uplink == UPLINK);
	return act(v->tap ? "aim" : "disarm");
}

static int fake_tcx(const struct host_ops *h, int prog, int ifindex, bool egress)
{
	int ret;

	(void)h;
	(void)prog;
	assert_int_equal(ifindex, egress ? UPLINK : TAP);
	if (fake.old_kernel)
		return -EINVAL;
	ret = act(egress ? "link-out" : "link-in");
	return ret ? ret : any_fd();
}

static int fake_tc_attach(const struct host_ops *h, int prog, int ifindex, bool egress)
{
	int ret = act(egress ? "filter-out" : "filter-in");

	(void)h;
	(void)prog;
	(void)ifindex;
	return ret ? ret : fake.hook;
}

static int fake_tc_detach(const struct host_ops *h, int ifindex, bool egress, bool remove_hook)
{
	(void)h;
	assert_int_equal(ifindex, egress ? UPLINK : TAP);
	assert_int_equal(remove_hook, fake.hook);
	return act(egress ? "unfilter-out" : "unfilter-in");
}

static int setup(void **state)
{
	(void)state;
	fake = (struct fake){
		.ops = {
			.tap = fake_tap, .link_set = fake_link_set, .bpf_load = fake_load, .bpf_map_update = fake_update,
			.bpf_link_tcx = fake_tcx, .tc_attach = fake_tc_attach, .tc_detach = fake_tc_detach,
		},
		.hook = 1,
	};
	err[0] = '\0';
	return 0;
}

static int open_named(const char *name, struct hostport **hp)
{
	const struct hostport_config cfg = { .name = name, .uplink_ifindex = UPLINK, .mtu = 1500, .ports = -1 };

	return hostport_open(&fake.ops, &cfg, hp, &why);
}

static void nothing_is_redirected_before_everything_is_in_place(void **state)
{
	struct hostport *hp;

	(void)state;
	assert_int_equal(open_named("a", &hp), 0);
	assert_string_equal(fake.log, "tap mtu-1500-up viaduct_in viaduct_out link-in link-out aim");
	assert_string_equal(hostport_hook(hp), "tcx");
	assert_int_equal(hostport_ifindex(hp), TAP);
	assert_true(hostport_fd(hp) >= 0);
	fake.log[0] = '\0';
	hostport_mtu(hp, 1500);
	hostport_mtu(hp, 9000);
	assert_string_equal(fake.log, "mtu-9000");
	fake.log[0] = '\0';
	hostport_close(hp);
	assert_string_equal(fake.log, "disarm");
}

static void an_old_kernel_gets_classifiers_that_are_taken_away_again(void **state)
{
	struct hostport *hp;

	(void)state;
	fake.old_kernel = true;
	assert_int_equal(open_named("a", &hp), 0);
	assert_string_equal(fake.log, "tap mtu-1500-up viaduct_in viaduct_out filter-in filter-out aim");
	assert_string_equal(hostport_hook(hp), "clsact");
	fake.log[0] = '\0';
	hostport_close(hp);
	assert_string_equal(fake.log, "disarm unfilter-out unfilter-in");
}

static void a_hook_that_is_somebody_elses_is_not_removed(void **state)
{
	struct hostport *hp;

	(void)state;
	fake.old_kernel = true;
	fake.hook = 0;
	assert_int_equal(open_named("a", &hp), 0);
	hostport_close(hp);	/* fake_tc_detach() looks */
}

static void what_fails_is_undone_and_named_with_the_mend(void **state)
{
	static const struct {
		const char *what;
		int with;
		const char *mend;
	} cases[] = {
		{ "tap", -ENOENT, "modprobe tun" },
		{ "tap", -EPERM, "CAP_NET_ADMIN" },
		{ "tap", -EBUSY, "another --name" },
		{ "mtu-1500-up", -EINVAL, "--host-port off" },
		{ "viaduct_in", -EPERM, "--host-port off" },
		{ "viaduct_out", -EPERM, "--host-port off" },
		{ "filter-in", -ENOENT, "cls_bpf" },
		{ "filter-out", -ENOENT, "cls_bpf" },
		{ "aim", -EIO, "set the host port up" },
	};
	int before = any_fd(), after;
	struct hostport *hp;

	(void)state;
	close(before);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setup(NULL);
		fake.old_kernel = true;
		fake.fails = cases[i].what;
		fake.with = cases[i].with;
		assert_int_equal(open_named("a", &hp), cases[i].with);
		assert_non_null(strstr(err, cases[i].mend));
		if (strstr(fake.log, "filter-in filter-out"))
			assert_non_null(strstr(fake.log, "unfilter-in"));
	}
	after = any_fd();
	assert_int_equal(after, before);	/* no descriptor is left open */
	close(after);
}

static void the_taps_name_is_one_that_an_interface_can_have(void **state)
{
	static const char *const names[][2] = {
		{ "a", "vd-a" },
		{ "twelve-chars", "vd-twelve-chars" },
		{ "thirteen-char", "vd-thirtee-*" },
		{ "two words", "vd-two-*" },
		{ ":", "vd-*" },
	};
	char first[16];
	struct hostport *hp;

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(open_named(names[i][0], &hp), 0);
		assert_true(strlen(fake.ifname) < sizeof(first));
		assert_string_equal(hostport_ifname(hp), fake.ifname);
		assert_null(strpbrk(fake.ifname, " :"));
		assert_int_equal(fnmatch(names[i][1], fake.ifname, 0), 0);
		hostport_close(hp);
	}
	assert_int_equal(open_named("an-instance-with-a-long-name-1", &hp), 0);
	snprintf(first, sizeof(first), "%s", hostport_ifname(hp));
	hostport_close(hp);
	assert_int_equal(open_named("an-instance-with-a-long-name-2", &hp), 0);
	assert_string_not_equal(hostport_ifname(hp), first);
	hostport_close(hp);
	hostport_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_is_redirected_before_everything_is_in_place, setup),
		cmocka_unit_test_setup(an_old_kernel_gets_classifiers_that_are_taken_away_again, setup),
		cmocka_unit_test_setup(a_hook_that_is_somebody_elses_is_not_removed, setup),
		cmocka_unit_test_setup(what_fails_is_undone_and_named_with_the_mend, setup),
		cmocka_unit_test_setup(the_taps_name_is_one_that_an_interface_can_have, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
