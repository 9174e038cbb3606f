/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a bridge, with each privileged act failing in turn. The fake host
 * goes as far as an AF_XDP socket can be told from another file; whatever fails,
 * the reason is said, and nothing stays open or mapped.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>

#include "bridge/bridge.h"

static struct {
	struct host_ops ops;
	unsigned step, fail_at;
	int kernel;		/* our end of the netlink socket */
} host;

/* True when this act is the one to fail. */
static bool fails(void)
{
	return ++host.step == host.fail_at;
}

static int act(void)
{
	return fails() ? -EIO : 0;
}

static int some_fd(size_t len)
{
	int fd;

	if (fails())
		return -EIO;
	fd = memfd_create("fake", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

static void say_nic(int to)
{
	char buf[512] __attribute__((aligned(8))) = { 0 };
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nlmsghdr done = { .nlmsg_len = sizeof(done), .nlmsg_type = NLMSG_DONE, .nlmsg_seq = 1 };
	struct ifinfomsg *ifi;

	h->nlmsg_type = RTM_NEWLINK;
	h->nlmsg_seq = 1;
	ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	ifi->ifi_type = ARPHRD_ETHER;
	ifi->ifi_index = 2;
	ifi->ifi_flags = IFF_UP;
	mnl_attr_put_strz(h, IFLA_IFNAME, "nic");
	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(h, IFLA_MTU, 1500);
	mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 1);
	mnl_attr_put_u8(h, IFLA_CARRIER, 1);
	assert_true(send(to, buf, h->nlmsg_len, 0) > 0);
	assert_true(send(to, &done, sizeof(done), 0) > 0);
}

/* Not to know what the driver offers is no reason to fail. */
static int fake_genl(const struct host_ops *h)
{
	(void)h;
	return -EPROTONOSUPPORT;
}

static int fake_netlink(const struct host_ops *h, uint32_t groups)
{
	int s[2];

	(void)h;
	(void)groups;
	if (fails())
		return -EIO;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
	host.kernel = s[0];
	say_nic(s[0]);
	return s[1];
}

static int fake_ethtool(const struct host_ops *h, const char *ifname, void *cmd)
{
	(void)h;
	(void)ifname;
	(void)cmd;
	return act() ? -EIO : -EOPNOTSUPP;
}

static int fake_is_bpffs(const struct host_ops *h, const char *path)
{
	(void)h;
	(void)path;
	return fails() ? -EIO : 1;
}

static int fake_mkdir(const struct host_ops *h, const char *path, mode_t mode)
{
	(void)h;
	(void)path;
	(void)mode;
	return act();
}

static int fake_rmdir(const struct host_ops *h, const char *path)
{
	(void)h;
	(void)path;
	return 0;
}

static int fake_unlink(const struct host_ops *h, const char *path)
{
	(void)h;
	(void)path;
	return 0;
}

static int fake_open(const struct host_ops *h, const char *path, int flags, mode_t mode)
{
	(void)h;
	(void)path;
	(void)flags;
	(void)mode;
	return act() ? -EIO : -ENOENT;
}

static int fake_load(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds)
{
	int i;

	(void)h;
	if (fails())
		return -EIO;
	host.step--;	/* its fds are no steps of their own */
	fds->prog = some_fd(1);
	for (i = 0; i < HOST_BPF_MAPS && spec->maps[i]; i++) {
		host.step--;
		fds->map[i] = some_fd(1 << 20);
	}
	return 0;
}

static int fake_query(const struct host_ops *h, int ifindex, struct host_xdp_info *info)
{
	(void)h;
	(void)ifindex;
	*info = (struct host_xdp_info){ 0 };
	return act();
}

static int fake_link(const struct host_ops *h, int prog, int ifindex, uint32_t flags)
{
	(void)h;
	(void)prog;
	(void)ifindex;
	(void)flags;
	return some_fd(1);
}

static int fake_get(const struct host_ops *h, const char *path)
{
	(void)h;
	(void)path;
	return act() ? -EIO : -ENOENT;
}

static int fake_memfd(const struct host_ops *h, const char *name, size_t len)
{
	(void)h;
	(void)name;
	return some_fd(len);
}

static int fake_socket(const struct host_ops *h)
{
	(void)h;
	return some_fd(1);
}

static int fake_umem(const struct host_ops *h, int fd, const struct xdp_umem_reg *reg)
{
	(void)h;
	(void)fd;
	(void)reg;
	return act();
}

static const struct bridge_config cfg = {
	.uplink = { .ifname = "nic", .name = "nic", .ring_size = 64, .frames = 128 },
	.ports = &(const struct port_config){ .name = "vm0", .socket = "/nowhere/vm0.sock", .pairs = 1 },
	.nports = 1,
};

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:") != NULL;
	fclose(f);
	return n;
}

/* Return: how far it came. */
static unsigned try_open(unsigned fail_at, char *err, size_t errlen)
{
	struct loop *loop = loop_create();
	struct bridge *b = NULL;

	memset(&host, 0, sizeof(host));
	host.ops = (struct host_ops){
		.open = fake_open, .mkdir = fake_mkdir, .unlink = fake_unlink, .rmdir = fake_rmdir,
		.is_bpffs = fake_is_bpffs, .netlink = fake_netlink, .genl = fake_genl, .ethtool = fake_ethtool, .memfd = fake_memfd,
		.xsk_socket = fake_socket, .xsk_umem_reg = fake_umem, .bpf_load = fake_load,
		.bpf_xdp_query = fake_query, .bpf_link_xdp = fake_link, .bpf_get = fake_get,
	};
	host.kernel = -1;
	host.fail_at = fail_at;
	assert_non_null(loop);
	err[0] = '\0';
	assert_true(bridge_open(&host.ops, loop, &cfg, NULL, NULL, &b, err, errlen) < 0);
	assert_null(b);
	if (host.kernel >= 0)
		close(host.kernel);
	loop_destroy(loop);
	return host.step;
}

static void a_bridge_that_cannot_be_opened_says_why_and_leaves_nothing_behind(void **state)
{
	unsigned steps, i, fds, maps;
	char err[512];

	(void)state;
	steps = try_open(0, err, sizeof(err));	/* none fails until the socket proves to be none */
	assert_true(steps > 10);
	fds = count_fds();
	maps = count_maps();
	for (i = 1; i <= steps; i++) {
		try_open(i, err, sizeof(err));
		assert_true(err[0]);
		assert_null(strchr(err, '\n'));
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_maps(), maps);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bridge_that_cannot_be_opened_says_why_and_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
