/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A membership of a packet socket lasts in the socket when another tool takes
 * the address out of the device (bridge fdb del MAC dev DEV self). The kernel
 * enters it again only with the first membership, so all of an address are
 * given up and made anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "base/clock.h"
#include "xdp/ifcheck.h"
#include "xdp/nldump.h"
#include "xdp/watch.h"

#define FILTER_WAIT_NS (250 * NSEC_PER_MSEC)

int watch_channels(const struct host_ops *host, const struct linkmon_dev *d, struct ifcheck *c)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	int ret = host->ethtool(host, d->name, &ch);

	/* A driver without channels has one. Any other error is none of the driver's. */
	if (ret < 0 && ret != -EOPNOTSUPP)
		return ret;
	ifcheck_queues(host, d, c);
	return (int)c->queues;
}

/* One address that should be in the filter. */
struct entry {
	uint8_t mac[6];
	bool there;
	unsigned times;		/* as often as it was entered */
};

struct filter {
	struct entry entry[WATCH_MACS];
	unsigned n;
	int ifindex;
};

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, 6);		/* addresses come first in what is compared */
}

static void fill(struct filter *f, const uint8_t (*macs)[6], unsigned n)
{
	unsigned i, k = 0;

	for (i = 0; i < n; i++) {
		memcpy(f->entry[i].mac, macs[i], 6);
		f->entry[i].times = 1;
	}
	qsort(f->entry, n, sizeof(f->entry[0]), compare);
	for (i = 1; i < n; i++)
		if (!compare(&f->entry[k], &f->entry[i]))
			f->entry[k].times++;
		else
			f->entry[++k] = f->entry[i];
	f->n = n ? k + 1 : 0;
}

static int on_neighbour(void *arg, const struct nlmsghdr *h)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(h);
	struct filter *f = arg;
	const struct nlattr *a;
	struct entry *e;

	if (h->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(h) < sizeof(*ndm))
		return 0;
	if (ndm->ndm_family != AF_BRIDGE || ndm->ndm_ifindex != f->ifindex || !(ndm->ndm_flags & NTF_SELF))
		return 0;
	mnl_attr_for_each(a, h, sizeof(*ndm)) {
		if (mnl_attr_get_type(a) != NDA_LLADDR || mnl_attr_get_payload_len(a) != 6)
			continue;
		e = bsearch(mnl_attr_get_payload(a), f->entry, f->n, sizeof(f->entry[0]), compare);
		if (e)
			e->there = true;
	}
	return 0;
}

/* Which of them are there. Return: how many are not, or -errno. */
static int look(const struct host_ops *host, struct filter *f, uint64_t deadline)
{
	char buf[128] __attribute__((aligned(8))) = { 0 };
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ndmsg *ndm;
	int ret, missing = 0;
	unsigned i;

	h->nlmsg_type = RTM_GETNEIGH;
	ndm = mnl_nlmsg_put_extra_header(h, sizeof(*ndm));
	ndm->ndm_family = AF_BRIDGE;
	ndm->ndm_ifindex = f->ifindex;
	for (i = 0; i < f->n; i++)
		f->entry[i].there = false;
	ret = nldump(host, h, on_neighbour, f, deadline);
	if (ret)
		return ret < 0 ? ret : -EAGAIN;
	for (i = 0; i < f->n; i++)
		missing += !f->entry[i].there;
	return missing;
}

static void enter_again(const struct host_ops *host, int fd, int ifindex, const struct entry *e)
{
	unsigned i;

	for (i = 0; i < e->times; i++)
		host->packet_membership(host, fd, ifindex, PACKET_MR_UNICAST, e->mac, false);
	for (i = 0; i < e->times; i++)
		host->packet_membership(host, fd, ifindex, PACKET_MR_UNICAST, e->mac, true);
}

int watch_filter(const struct host_ops *host, int fd, int ifindex, const uint8_t (*macs)[6], unsigned n,
		 unsigned *missing)
{
	static struct filter f;		/* control thread only: large for a stack */
	uint64_t deadline = clock_now() + FILTER_WAIT_NS;
	unsigned i;
	int ret, again;

	*missing = 0;
	if (!n)
		return 0;
	if (n > WATCH_MACS)
		return -E2BIG;
	memset(&f, 0, sizeof(f));
	f.ifindex = ifindex;
	fill(&f, macs, n);
	ret = look(host, &f, deadline);
	if (ret <= 0)
		return ret;
	*missing = (unsigned)ret;
	for (i = 0; i < f.n; i++)
		if (!f.entry[i].there)
			enter_again(host, fd, ifindex, &f.entry[i]);
	again = look(host, &f, deadline);
	return again < 0 ? ret : again;
}
