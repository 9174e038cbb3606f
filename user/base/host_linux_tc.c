/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_ops on a real Linux host, third part: a tap interface, and BPF programs
 * at the tc hooks of an interface.
 *
 * Since Linux 6.6 a program is attached there by a bpf_link (tcx), which goes
 * with its fd. Before, it is a classifier of the clsact queueing discipline:
 * that one stays until somebody removes it, so it has a number of ours, by
 * which the next instance finds and replaces it.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>

#include "base/host_linux.h"

/* Younger than the oldest headers we build with. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#define TCX_INGRESS 46		/* BPF_TCX_INGRESS of enum bpf_attach_type, since 6.6 */
#define TCX_EGRESS 47

#define DUMP_SIZE 16384

#define FILTER_ID 0x7664	/* priority and handle of our classifiers */

/* Asks for the kernel's large packets whole; USO is known since 6.2. */
static int offer_offloads(int fd)
{
	const unsigned long all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	if (!ioctl(fd, TUNSETOFFLOAD, all | TUN_F_USO4 | TUN_F_USO6))
		return 0;
	return ioctl(fd, TUNSETOFFLOAD, all);
}

int host_linux_tap(const struct host_ops *h, const char *ifname, int *ifindex)
{
	int hdr = sizeof(struct virtio_net_hdr_v1), little = 1, fd, ret = 0;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	(void)h;
	if (strlen(ifname) >= sizeof(ifr.ifr_name))
		return -ENAMETOOLONG;
	memcpy(ifr.ifr_name, ifname, strlen(ifname));
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &hdr) || ioctl(fd, TUNSETVNETLE, &little) ||
	    offer_offloads(fd))
		ret = errno == EINVAL ? -EBUSY : -errno;	/* a name that is another kind's */
	if (!ret)
		*ifindex = (int)if_nametoindex(ifname);
	if (!ret && !*ifindex)
		ret = -ENODEV;
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/* A netlink socket that waits for its answers. */
static int netlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

/* Sends @n and waits for the kernel's yes or no. */
static int netlink_do(const struct nlmsghdr *n)
{
	char answer[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *a = (const struct nlmsghdr *)(void *)answer;
	int fd = netlink_open(), ret = 0;
	ssize_t len;

	if (fd < 0)
		return fd;
	if (send(fd, n, n->nlmsg_len, 0) < 0)
		ret = -errno;
	if (!ret) {
		len = recv(fd, answer, sizeof(answer), 0);
		if (len < 0)
			ret = -errno;
		else if (!mnl_nlmsg_ok(a, (int)len) || a->nlmsg_type != NLMSG_ERROR)
			ret = -EPROTO;
		else
			ret = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(a))->error;
	}
	close(fd);
	return ret;
}

static struct nlmsghdr *setlink(char *buf, int ifindex, unsigned flags)
{
	struct nlmsghdr *n = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	n->nlmsg_type = RTM_SETLINK;
	n->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	n->nlmsg_seq = 1;
	ifi = mnl_nlmsg_put_extra_header(n, sizeof(*ifi));
	ifi->ifi_index = ifindex;
	ifi->ifi_flags = flags;
	ifi->ifi_change = flags;
	return n;
}

/* Without it the kernel would give the interface a link-local address, and speak by it. */
static int no_ipv6_addresses(int ifindex)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *n = setlink(buf, ifindex, 0);
	struct nlattr *spec = mnl_attr_nest_start(n, IFLA_AF_SPEC), *inet6 = mnl_attr_nest_start(n, AF_INET6);
	int ret;

	mnl_attr_put_u8(n, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(n, inet6);
	mnl_attr_nest_end(n, spec);
	ret = netlink_do(n);
	return ret == -EAFNOSUPPORT || ret == -EOPNOTSUPP ? 0 : ret;	/* no IPv6 here */
}

int host_linux_link_set(const struct host_ops *h, int ifindex, uint32_t mtu, bool up)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *n = setlink(buf, ifindex, up ? IFF_UP | IFF_NOARP : 0);
	int ret = up ? no_ipv6_addresses(ifindex) : 0;

	(void)h;
	if (ret)
		return ret;
	mnl_attr_put_u32(n, IFLA_MTU, mtu);
	return netlink_do(n);
}

int host_linux_bpf_link_tcx(const struct host_ops *h, int prog, int ifindex, bool egress)
{
	int fd;

	(void)h;
	host_linux_libraries_quiet();
	fd = bpf_link_create(prog, ifindex, (enum bpf_attach_type)(egress ? TCX_EGRESS : TCX_INGRESS), NULL);
	return fd < 0 ? -errno : fd;
}

static enum bpf_tc_attach_point point_of(bool egress)
{
	return egress ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

int host_linux_tc_attach(const struct host_ops *h, int prog, int ifindex, bool egress)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point_of(egress));
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, old, .handle = FILTER_ID, .priority = FILTER_ID);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, new, .handle = FILTER_ID, .priority = FILTER_ID, .prog_fd = prog);
	int made, ret;
	bool found;

	(void)h;
	host_linux_libraries_quiet();
	made = bpf_tc_hook_create(&hook);
	if (made && made != -EEXIST)
		return made;
	found = made && !bpf_tc_query(&hook, &old);
	if (found)
		new.flags = BPF_TC_F_REPLACE;
	ret = bpf_tc_attach(&hook, &new);
	if (ret && !made) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&hook);
	}
	return ret ? ret : !made || found;
}

static int count_filter(const struct nlmsghdr *n, void *count)
{
	*(unsigned *)count += n->nlmsg_type == RTM_NEWTFILTER;
	return MNL_CB_OK;
}

/* Filters of one direction, or -errno. */
static int count_filters(int ifindex, bool egress)
{
	char buf[DUMP_SIZE] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *n = mnl_nlmsg_put_header(buf);
	unsigned count = 0;
	struct tcmsg *t;
	int fd, ret;
	ssize_t len;

	n->nlmsg_type = RTM_GETTFILTER;
	n->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	n->nlmsg_seq = 1;
	t = mnl_nlmsg_put_extra_header(n, sizeof(*t));
	t->tcm_ifindex = ifindex;
	t->tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
	fd = netlink_open();
	if (fd < 0)
		return fd;
	ret = send(fd, n, n->nlmsg_len, 0) < 0 ? -errno : MNL_CB_OK;
	while (ret == MNL_CB_OK) {
		len = recv(fd, buf, sizeof(buf), 0);
		ret = len < 0 ? -errno : mnl_cb_run(buf, (size_t)len, 1, 0, count_filter, &count);
		if (ret == MNL_CB_ERROR)
			ret = -errno;
	}
	close(fd);
	return ret < 0 ? ret : (int)count;
}

int host_linux_tc_detach(const struct host_ops *h, int ifindex, bool egress, bool remove_hook)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point_of(egress));
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, ours, .handle = FILTER_ID, .priority = FILTER_ID);
	int ret;

	(void)h;
	host_linux_libraries_quiet();
	ret = bpf_tc_detach(&hook, &ours);
	if (ret || !remove_hook || count_filters(ifindex, false) || count_filters(ifindex, true))
		return ret;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	return bpf_tc_hook_destroy(&hook);
}
