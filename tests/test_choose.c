/* SPDX-License-Identifier: BSD-2-Clause */
/* Which devices may be the uplink: the test paints the picture, sysfs and the routes. */
#include <errno.h>
#include <net/if_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>

#include "xdp/choose.h"

/* In place of the link monitor. */
struct linkmon {
	struct linkmon_dev dev[16];
	unsigned n;
};

static struct linkmon mon;

const struct linkmon_dev *linkmon_next(const struct linkmon *m, const struct linkmon_dev *d)
{
	unsigned i = d ? (unsigned)(d - m->dev) + 1 : 0;

	return i < m->n ? &m->dev[i] : NULL;
}

const struct linkmon_dev *linkmon_find(const struct linkmon *m, int ifindex)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->dev[i].ifindex == ifindex)
			return &m->dev[i];
	return NULL;
}

static struct {
	struct host_ops ops;
	struct {
		char path[96];
		const char *text;
	} file[16];
	unsigned nfile;
	int routed[4];		/* devices with a route, up to the first 0 */
	int no_routes;		/* error of a netlink socket */
	unsigned dumps;
	int peer[64];		/* our ends, to be closed */
	unsigned npeer;
	const char *failover;	/* the interface of net_failover */
} host;

static struct uplink_config cfg;
static struct choose_device list[CHOOSE_MAX];
static unsigned n;
static char why[256];
static struct choose_known known;

#define SYNTHETIC "{f8615163-df3e-46c5-913f-f2d2f965ed0e}\n"

static int fake_open(const struct host_ops *h, const char *path, int flags, mode_t mode)
{
	(void)h;
	(void)flags;
	(void)mode;
	for (unsigned i = 0; i < host.nfile; i++)
		if (!strcmp(path, host.file[i].path)) {
			int fd = memfd_create("sysfs", MFD_CLOEXEC);
			size_t len = strlen(host.file[i].text);

			assert_true(fd >= 0);
			assert_int_equal(pwrite(fd, host.file[i].text, len, 0), len);
			return fd;
		}
	return -ENOENT;
}

static int fake_ethtool(const struct host_ops *h, const char *ifname, void *cmd)
{
	struct ethtool_drvinfo *info = cmd;

	(void)h;
	assert_int_equal(info->cmd, ETHTOOL_GDRVINFO);
	snprintf(info->driver, sizeof(info->driver), "%s",
		 host.failover && !strcmp(ifname, host.failover) ? "net_failover" : "hv_netvsc");
	return 0;
}

/* Answers before it is asked. */
static int fake_netlink(const struct host_ops *h, uint32_t groups)
{
	char buf[256] __attribute__((aligned(8)));
	struct nlmsghdr *m;
	struct rtmsg *rtm;
	int s[2];

	(void)h;
	(void)groups;
	host.dumps++;
	if (host.no_routes)
		return host.no_routes;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s), 0);
	for (unsigned i = 0; i < 4 && host.routed[i]; i++) {
		memset(buf, 0, sizeof(buf));
		m = mnl_nlmsg_put_header(buf);
		m->nlmsg_type = RTM_NEWROUTE;
		m->nlmsg_seq = 1;
		rtm = mnl_nlmsg_put_extra_header(m, sizeof(*rtm));
		rtm->rtm_family = AF_INET;
		rtm->rtm_type = RTN_UNICAST;
		rtm->rtm_table = RT_TABLE_MAIN;
		mnl_attr_put_u32(m, RTA_OIF, (uint32_t)host.routed[i]);
		assert_int_equal(send(s[0], m, m->nlmsg_len, 0), m->nlmsg_len);
	}
	m = mnl_nlmsg_put_header(buf);
	m->nlmsg_type = NLMSG_DONE;
	m->nlmsg_seq = 1;
	assert_int_equal(send(s[0], m, m->nlmsg_len, 0), m->nlmsg_len);
	assert_true(host.npeer < 64);
	host.peer[host.npeer++] = s[0];
	return s[1];
}

static struct linkmon_dev *dev(int ifindex, const char *name, uint8_t mac_end)
{
	struct linkmon_dev *d = &mon.dev[mon.n++];

	assert_true(mon.n <= 16);
	*d = (struct linkmon_dev){ .ifindex = ifindex, .type = ARPHRD_ETHER, .flags = IFF_UP, .carrier = true,
				   .mac = { 2, 0, 0, 0, 0, mac_end } };
	snprintf(d->name, sizeof(d->name), "%s", name);
	return d;
}

static struct linkmon_dev *kind(struct linkmon_dev *d, const char *name)
{
	snprintf(d->kind, sizeof(d->kind), "%s", name);
	return d;
}

static void file(const char *ifname, const char *name, const char *text)
{
	assert_true(host.nfile < 16);
	snprintf(host.file[host.nfile].path, sizeof(host.file[0].path), "/sys/class/net/%s/%s", ifname, name);
	host.file[host.nfile++].text = text;
}

static int setup(void **state)
{
	(void)state;
	memset(&mon, 0, sizeof(mon));
	memset(&host, 0, sizeof(host));
	host.ops = (struct host_ops){ .open = fake_open, .ethtool = fake_ethtool, .netlink = fake_netlink };
	cfg = (struct uplink_config){ .by = UPLINK_BY_NAME, .ifname = "nic" };
	kind(dev(1, "lo", 0), "")->type = ARPHRD_LOOPBACK;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (host.npeer)
		close(host.peer[--host.npeer]);
	return 0;
}

static void by_mac(void)
{
	cfg = (struct uplink_config){ .by = UPLINK_BY_MAC, .mac = { 2, 0, 0, 0, 0, 9 } };
}

static void by_auto(void)
{
	cfg = (struct uplink_config){ .by = UPLINK_BY_AUTO };
}

static void standby(const char *name)
{
	snprintf(cfg.standby, sizeof(cfg.standby), "%s", name);
}

/* The names of the list, and what is the best, "slow" ones in brackets, refused ones with '!' behind. */
static const char *choose_again(int current);

static const char *choose(int current, const char *last_name)
{
	known = (struct choose_known){ .first = current };
	for (unsigned i = 0; i < mon.n; i++)
		if (*cfg.standby && current && mon.dev[i].ifindex == current && !strcmp(mon.dev[i].name, cfg.standby))
			known = (struct choose_known){ .standby = current };
	snprintf(known.last_name, sizeof(known.last_name), "%s", last_name);
	return choose_again(current);
}

static const char *choose_again(int current)
{
	static char text[256];
	size_t at = 0;
	int best;

	memset(list, 0xff, sizeof(list));
	n = choose_devices(&host.ops, &mon, &cfg, current, &known, list, CHOOSE_MAX);
	assert_true(n <= CHOOSE_MAX);
	text[0] = '\0';
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s%s%s", i ? " " : "", list[i].name,
				       list[i].standby ? "-" : "", *list[i].why_not ? "!" : "");
	best = choose_best(list, n, current);
	snprintf(text + at, sizeof(text) - at, " > %s", best < 0 ? "none" : list[best].name);
	choose_explain(&cfg, list, n, why, sizeof(why));
	assert_true(best < 0 ? *why : !*why);
	return text;
}

static void the_named_one_is_taken_whatever_it_carries(void **state)
{
	(void)state;
	dev(2, "nic", 2);
	host.routed[0] = 2;
	assert_string_equal(choose(0, ""), "nic > nic");
	assert_true(list[0].up && list[0].ifindex == 2);
	assert_int_equal(host.dumps, 0);
}

static void a_name_that_is_not_there_is_explained(void **state)
{
	(void)state;
	dev(2, "other", 2);
	assert_string_equal(choose(0, ""), " > none");
	assert_string_equal(why, "no interface nic in this network namespace (ip link show)");
	standby("slow");
	assert_string_equal(choose(0, ""), " > none");
	assert_string_equal(why, "no interface nic, nor its standby slow in this network namespace (ip link show)");
}

static void the_one_in_use_keeps_its_place_under_another_name(void **state)
{
	(void)state;
	dev(2, "eth9", 2);
	dev(3, "nic", 3);	/* came later */
	assert_string_equal(choose(2, "eth9"), "eth9 > eth9");
	assert_string_equal(choose(0, "eth9"), "nic > nic");
	assert_string_equal(choose(7, ""), "nic > nic");
}

static void the_last_name_counts_where_the_configured_one_is_not_there(void **state)
{
	(void)state;
	dev(2, "eth9", 2);
	assert_string_equal(choose(0, "eth9"), "eth9 > eth9");
	assert_string_equal(choose(0, ""), " > none");
}

static void a_standby_is_used_while_the_uplink_is_away_or_down(void **state)
{
	struct linkmon_dev *nic;

	(void)state;
	standby("slow");
	dev(3, "slow", 3);
	assert_string_equal(choose(0, ""), "slow- > slow");
	nic = dev(2, "nic", 2);
	assert_string_equal(choose(3, "slow"), "nic slow- > nic");
	nic->carrier = false;
	assert_string_equal(choose(2, "nic"), "nic slow- > slow");
	assert_string_equal(choose(3, "slow"), "nic slow- > slow");
	nic->carrier = true;
	nic->flags = 0;
	assert_string_equal(choose(3, "slow"), "nic slow- > slow");
}

static void names_that_change_change_no_roles(void **state)
{
	struct linkmon_dev *nic, *slow;

	(void)state;
	standby("slow");
	nic = dev(2, "nic", 2);
	slow = dev(3, "slow", 3);
	assert_string_equal(choose(0, ""), "nic slow- > nic");
	snprintf(slow->name, sizeof(slow->name), "eth7");
	assert_string_equal(choose_again(2), "nic eth7- > nic");
	snprintf(nic->name, sizeof(nic->name), "slow");
	assert_string_equal(choose_again(3), "slow eth7- > slow");
	snprintf(slow->name, sizeof(slow->name), "nic");
	assert_string_equal(choose_again(3), "slow nic- > slow");
	*nic = *slow;		/* the first goes; the other does not become it by its name */
	mon.n--;
	assert_string_equal(choose_again(3), "nic- > nic");
}

/* --- another device ---- */

#define S 1000000000ull

static void list_of(bool first_up, bool second_up)
{
	memset(list, 0, sizeof(list));
	n = 2;
	list[0] = (struct choose_device){ .ifindex = 2, .name = "nic", .up = first_up };
	list[1] = (struct choose_device){ .ifindex = 3, .name = "slow", .up = second_up, .standby = true };
}

static int move(int current, struct choose_hold *h, uint64_t now_ns)
{
	return choose_move(list, n, current, h, now_ns);
}

static void a_device_that_loses_its_link_is_left_at_once_for_one_that_is_up(void **state)
{
	struct choose_hold h = { .opened_ns = 10 * S };

	(void)state;
	list_of(true, true);
	assert_int_equal(move(2, &h, 10 * S), -1);
	list_of(false, true);
	assert_int_equal(move(2, &h, 10 * S + 1), 1);
	list_of(false, false);
	assert_int_equal(move(2, &h, 10 * S + 2), -1);
}

static void a_better_device_has_to_stay_up_for_a_second(void **state)
{
	struct choose_hold h = { .opened_ns = 10 * S };

	(void)state;
	list_of(true, true);
	assert_int_equal(move(3, &h, 20 * S), -1);
	assert_int_equal(move(3, &h, 21 * S - 1), -1);
	list_of(false, true);
	assert_int_equal(move(3, &h, 21 * S), -1);
	list_of(true, true);
	assert_int_equal(move(3, &h, 22 * S), -1);
	assert_int_equal(move(3, &h, 23 * S - 1), -1);
	assert_int_equal(move(3, &h, 23 * S), 0);
}

static void a_link_that_a_driver_takes_down_for_xdp_is_waited_for(void **state)
{
	struct choose_hold h = { .opened_ns = 10 * S };

	(void)state;
	list_of(false, true);
	assert_int_equal(move(2, &h, 10 * S + 1), -1);
	assert_int_equal(move(2, &h, 15 * S - 1), -1);
	assert_int_equal(move(2, &h, 15 * S), 1);
	h = (struct choose_hold){ .opened_ns = 10 * S };
	list_of(true, true);
	assert_int_equal(move(2, &h, 11 * S), -1);
	list_of(false, true);		/* it was up since: this is another loss */
	assert_int_equal(move(2, &h, 11 * S + 1), 1);
}

static void a_refused_device_is_not_gone_over_to(void **state)
{
	struct choose_hold h = { .opened_ns = 10 * S, .was_up = true };

	(void)state;
	list_of(false, true);
	snprintf(list[1].why_not, sizeof(list[1].why_not), "routed");
	assert_int_equal(move(2, &h, 11 * S), -1);
}

static void a_device_in_use_that_is_not_listed_any_more_is_left_for_one_that_is(void **state)
{
	struct choose_hold h = { .opened_ns = 10 * S, .was_up = true };

	(void)state;
	list_of(true, true);
	assert_int_equal(move(9, &h, 11 * S), 0);
}

static void with_none_up_the_one_in_use_stays(void **state)
{
	(void)state;
	standby("slow");
	dev(2, "nic", 2)->carrier = false;
	dev(3, "slow", 3)->carrier = false;
	assert_string_equal(choose(3, ""), "nic slow- > slow");
	assert_string_equal(choose(2, ""), "nic slow- > nic");
	assert_string_equal(choose(0, ""), "nic slow- > nic");
}

static void a_standby_that_the_host_routes_through_needs_force(void **state)
{
	(void)state;
	standby("slow");
	dev(3, "slow", 3);
	host.routed[0] = 3;
	assert_string_equal(choose(0, ""), "slow-! > none");
	assert_string_equal(why, "the host routes through slow: --force on takes slow all the same");
	assert_string_equal(choose(3, ""), "slow- > slow");	/* the route came later */
	cfg.force = true;
	host.dumps = 0;
	assert_string_equal(choose(0, ""), "slow- > slow");
	assert_int_equal(host.dumps, 0);
}

static void a_standby_that_only_passes_on_is_refused(void **state)
{
	(void)state;
	standby("bond0");
	kind(dev(3, "bond0", 3), "bond");
	assert_string_equal(choose(0, ""), "bond0-! > none");
	assert_non_null(strstr(why, "bond0 is a bond"));
}

static void routes_that_cannot_be_read_are_a_reason_to_refuse(void **state)
{
	(void)state;
	by_mac();
	dev(2, "nic", 9);
	host.no_routes = -EMFILE;
	assert_string_equal(choose(0, ""), "nic! > none");
	assert_non_null(strstr(why, "routes cannot be read"));
	assert_int_equal(host.dumps, 1);
	assert_string_equal(choose(2, ""), "nic > nic");
	cfg.force = true;
	assert_string_equal(choose(0, ""), "nic > nic");
}

static void of_one_address_the_enslaved_one_comes_first(void **state)
{
	struct linkmon_dev *vf;

	(void)state;
	by_mac();
	dev(2, "syn", 9);
	vf = dev(5, "vf", 9);
	vf->master = 2;
	file("syn", "device/modalias", "pci:v1\n");	/* even so */
	dev(4, "other", 4);
	assert_string_equal(choose(0, ""), "vf syn- > vf");
	vf->carrier = false;
	assert_string_equal(choose(5, ""), "vf syn- > syn");
	mon.n = 2;
	assert_string_equal(choose(0, ""), "syn > syn");
}

static void then_the_pci_bus_then_speed_then_the_number_decide(void **state)
{
	(void)state;
	by_mac();
	kind(dev(7, "d", 9), "veth");
	kind(dev(6, "c", 9), "netdevsim");
	dev(8, "b", 9);
	dev(9, "a", 9);
	file("a", "device/modalias", "pci:v00001AF4d00001000\n");
	file("b", "speed", "10000\n");
	file("c", "speed", "-1\n");
	file("d", "device/modalias", "virtio:d00000001\n");
	assert_string_equal(choose(0, ""), "a b- c- d- > a");
}

static void what_lies_above_or_joins_is_no_nic(void **state)
{
	static const char *const kinds[] = { "bond", "team", "bridge", "vlan", "macvlan", "macvtap", "ipvlan", "dummy",
					     "tun", "vxlan" };

	(void)state;
	by_mac();
	dev(2, "nic", 9);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		kind(dev(10 + (int)i, kinds[i], 9), kinds[i]);
	assert_string_equal(choose(0, ""), "nic > nic");
	mon.dev[1].mac[5] = 8;
	mon.n = 3;
	assert_string_equal(choose(0, ""), "bond! > none");
	assert_string_equal(why, "bond is a bond, which only passes on: choose the device that receives");
	mon.n = 2;
	assert_string_equal(choose(0, ""), " > none");
	assert_string_equal(why, "no interface with address 02:00:00:00:00:09 in this network namespace (ip link show)");
}

static void members_of_a_failover_device_are_taken_not_itself(void **state)
{
	(void)state;
	by_mac();
	host.failover = "ens3";
	dev(2, "ens3", 9);
	dev(3, "ens3nsby", 9)->master = 2;
	dev(4, "vf", 9)->master = 2;
	file("vf", "device/modalias", "pci:v1\n");
	assert_string_equal(choose(0, ""), "vf ens3nsby- > vf");
	host.routed[0] = 2;
	assert_string_equal(choose(0, ""), "vf! ens3nsby-! > none");
	assert_string_equal(choose(4, ""), "vf ens3nsby- > vf");
}

static void a_route_through_the_master_counts(void **state)
{
	(void)state;
	by_mac();
	dev(2, "vf", 9)->master = 3;
	kind(dev(3, "bond0", 9), "bond")->master = 4;
	kind(dev(4, "br0", 9), "bridge");
	host.routed[0] = 4;
	assert_string_equal(choose(0, ""), "vf! > none");
	assert_string_equal(why, "the host routes through br0, its master: --force on takes vf all the same");
}

static void masters_in_a_circle_end(void **state)
{
	(void)state;
	by_mac();
	dev(2, "a", 9)->master = 3;
	dev(3, "b", 9)->master = 2;
	assert_string_equal(choose(0, ""), "a b- > a");
}

static void a_route_that_comes_later_takes_neither_of_a_pair_away(void **state)
{
	(void)state;
	by_mac();
	dev(2, "syn", 9);
	dev(3, "vf", 9)->master = 2;
	host.routed[0] = 2;
	assert_string_equal(choose(0, ""), "vf! syn-! > none");
	assert_string_equal(choose(2, ""), "vf syn- > vf");
	assert_string_equal(choose(3, ""), "vf syn- > vf");
}

static void auto_finds_the_one_synthetic_device_and_its_fast_one(void **state)
{
	(void)state;
	by_auto();
	dev(4, "other", 4);
	assert_string_equal(choose(0, ""), " > none");
	assert_non_null(strstr(why, "no synthetic network device"));
	dev(2, "syn", 9);
	file("syn", "device/class_id", SYNTHETIC);
	file("other", "device/class_id", "{00000000-df3e-46c5-913f-f2d2f965ed0e}\n");
	assert_string_equal(choose(0, ""), "syn- > syn");
	dev(5, "twin", 9);	/* the same address, and not enslaved */
	dev(6, "vf", 6)->master = 2;
	kind(dev(7, "mv", 9), "macvlan");
	assert_string_equal(choose(0, ""), "vf twin- syn- > vf");
}

static void of_several_synthetic_devices_the_one_without_routes_is_meant(void **state)
{
	(void)state;
	by_auto();
	dev(2, "mgmt", 8);
	dev(3, "data", 9);
	file("mgmt", "device/class_id", SYNTHETIC);
	file("data", "device/class_id", SYNTHETIC);
	assert_string_equal(choose(0, ""), "mgmt-! data-! > none");
	assert_string_equal(why, "several synthetic devices: say which with --uplink mac=MAC");
	host.routed[0] = 2;
	assert_string_equal(choose(0, ""), "data- > data");
	host.routed[1] = 3;
	assert_string_equal(choose(0, ""), "mgmt-! data-! > none");
	assert_non_null(strstr(why, "mgmt: --force on takes mgmt all the same; the host routes through data"));
}

static void another_synthetic_device_does_not_displace_the_one_in_use(void **state)
{
	(void)state;
	by_auto();
	dev(2, "old", 8);
	dev(3, "new", 9);
	dev(4, "vf", 8)->master = 2;
	file("old", "device/class_id", SYNTHETIC);
	file("new", "device/class_id", SYNTHETIC);
	assert_string_equal(choose(2, ""), "vf old- > vf");
	assert_string_equal(choose(4, ""), "vf old- > vf");
	host.routed[0] = 2;
	assert_string_equal(choose(4, ""), "vf old- > vf");
	assert_string_equal(choose(0, ""), "new- > new");
}

static void a_standby_comes_behind_what_was_found(void **state)
{
	(void)state;
	by_mac();
	dev(2, "a", 9);
	dev(3, "b", 9);
	dev(4, "c", 4);
	standby("c");
	assert_string_equal(choose(0, ""), "a b- c- > a");
	standby("a");
	assert_string_equal(choose(0, ""), "b a- > b");
}

static void there_are_never_more_than_there_is_room_for(void **state)
{
	(void)state;
	by_mac();
	for (int i = 0; i < 12; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%d", 20 - i);
		dev(20 - i, name, 9);
	}
	dev(2, "slow", 4);
	assert_string_equal(choose(0, ""), "n9 n10- n11- n12- n13- n14- n15- n16- > n9");
	standby("slow");
	assert_string_equal(choose(0, ""), "n9 n10- n11- n12- n13- n14- n15- slow- > n9");
	by_auto();
	standby("slow");
	file("n20", "device/class_id", SYNTHETIC);
	assert_string_equal(choose(0, ""), "n9 n10- n11- n12- n13- n14- n20- slow- > n9");
}

#define t(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(the_named_one_is_taken_whatever_it_carries),
		t(a_name_that_is_not_there_is_explained),
		t(the_one_in_use_keeps_its_place_under_another_name),
		t(the_last_name_counts_where_the_configured_one_is_not_there),
		t(a_standby_is_used_while_the_uplink_is_away_or_down),
		t(with_none_up_the_one_in_use_stays),
		t(names_that_change_change_no_roles),
		t(a_device_that_loses_its_link_is_left_at_once_for_one_that_is_up),
		t(a_better_device_has_to_stay_up_for_a_second),
		t(a_link_that_a_driver_takes_down_for_xdp_is_waited_for),
		t(a_refused_device_is_not_gone_over_to),
		t(a_device_in_use_that_is_not_listed_any_more_is_left_for_one_that_is),
		t(a_standby_that_the_host_routes_through_needs_force),
		t(a_standby_that_only_passes_on_is_refused),
		t(routes_that_cannot_be_read_are_a_reason_to_refuse),
		t(of_one_address_the_enslaved_one_comes_first),
		t(then_the_pci_bus_then_speed_then_the_number_decide),
		t(what_lies_above_or_joins_is_no_nic),
		t(members_of_a_failover_device_are_taken_not_itself),
		t(a_route_through_the_master_counts),
		t(masters_in_a_circle_end),
		t(a_route_that_comes_later_takes_neither_of_a_pair_away),
		t(auto_finds_the_one_synthetic_device_and_its_fast_one),
		t(of_several_synthetic_devices_the_one_without_routes_is_meant),
		t(another_synthetic_device_does_not_displace_the_one_in_use),
		t(a_standby_comes_behind_what_was_found),
		t(there_are_never_more_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
