/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RTNETLINK, speed by ethtool, and a slow look at the attached program.
 *
 * The picture is a table of all interfaces. A dump fills it at start, and again
 * whenever the socket lost messages (ENOBUFS): entries that the dump did not
 * mention are then gone. The uplink is followed by its index, so a new name
 * changes nothing, and removal and a move to another namespace look the same.
 *
 * Not every change of the program makes a link message (detaching a bpf_link
 * does not on all drivers), so the program id is looked up once a second, too.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "base/clock.h"
#include "base/log.h"
#include "xdp/linkmon.h"

#define DUMP_WAIT_NS (5 * NSEC_PER_SEC)
#define PROGRAM_LOOK_NS (1 * NSEC_PER_SEC)
#define READS_PER_EVENT 64	/* the rest comes with the next round of the loop */

/* linux/if.h cannot be included beside net/if.h */
#define LINKMON_LOWER_UP 0x10000u	/* IFF_LOWER_UP */

struct linkmon {
	const struct host_ops *host;
	struct loop *loop;
	struct loop_watch watch;
	struct loop_timer timer;
	int fd;
	int ifindex;			/* the uplink; 0 = gone */
	struct linkmon_dev *devs;
	unsigned ndevs, cap;
	uint32_t seq;			/* of the last dump request */
	bool dumping, dump_again;
	bool redump;			/* messages were lost, and asking again failed */
	bool touched;			/* the picture changed since the last report */
	bool read_speed;		/* the uplink was mentioned since the last report */
	uint32_t program_id;		/* ours; 0 = do not look */
	bool program_any;
	struct uplink_link state;
	void (*fn)(void *arg, bool state_changed);
	void *arg;
};

static struct linkmon_dev *find(const struct linkmon *m, int ifindex)
{
	unsigned i;

	for (i = 0; i < m->ndevs; i++)
		if (m->devs[i].ifindex == ifindex)
			return &m->devs[i];
	return NULL;
}

const struct linkmon_dev *linkmon_find(const struct linkmon *m, int ifindex)
{
	return find(m, ifindex);
}

const struct linkmon_dev *linkmon_uplink(const struct linkmon *m)
{
	return m->ifindex ? find(m, m->ifindex) : NULL;
}

const struct linkmon_dev *linkmon_next(const struct linkmon *m, const struct linkmon_dev *d)
{
	size_t i = d ? (size_t)(d - m->devs) + 1 : 0;

	return i < m->ndevs ? &m->devs[i] : NULL;
}

/* FNV-1a over what matters; the order of the interfaces does not. */
static uint64_t digest(uint64_t hash, const void *data, size_t len)
{
	for (const uint8_t *p = data; len--; p++)
		hash = (hash ^ *p) * 0x100000001b3ull;
	return hash;
}

uint64_t linkmon_digest(const struct linkmon *m)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->ndevs; i++) {
		const struct linkmon_dev *d = &m->devs[i];
		uint64_t h = 0xcbf29ce484222325ull;

		h = digest(h, &d->ifindex, sizeof(d->ifindex));
		h = digest(h, &d->master, sizeof(d->master));
		h = digest(h, &d->flags, sizeof(d->flags));
		h = digest(h, &d->carrier, sizeof(d->carrier));
		h = digest(h, d->mac, sizeof(d->mac));
		h = digest(h, d->name, sizeof(d->name));
		sum += h;
	}
	return sum;
}

const struct uplink_link *linkmon_state(const struct linkmon *m)
{
	return &m->state;
}

static struct linkmon_dev *dev_new(struct linkmon *m, int ifindex)
{
	struct linkmon_dev *d;
	unsigned cap;

	if (m->ndevs == m->cap) {
		cap = m->cap ? 2 * m->cap : 16;
		d = realloc(m->devs, cap * sizeof(*d));
		if (!d)
			return NULL;
		m->devs = d;
		m->cap = cap;
	}
	d = &m->devs[m->ndevs++];
	memset(d, 0, sizeof(*d));
	d->ifindex = ifindex;
	return d;
}

static void dev_remove(struct linkmon *m, struct linkmon_dev *d)
{
	if (d->ifindex == m->ifindex)
		m->ifindex = 0;
	*d = m->devs[--m->ndevs];
	m->touched = true;
}

static void copy_text(char *to, size_t len, const struct nlattr *a)
{
	size_t n = mnl_attr_get_payload_len(a);

	if (n >= len)
		n = len - 1;
	memcpy(to, mnl_attr_get_payload(a), n);
	to[n] = '\0';
}

/* An attribute of at least the size we read; a short one is ignored. */
static bool attr_u32(const struct nlattr *a, uint32_t *v)
{
	if (mnl_attr_get_payload_len(a) < sizeof(*v))
		return false;
	memcpy(v, mnl_attr_get_payload(a), sizeof(*v));
	return true;
}

static void parse_xdp(const struct nlattr *nest, struct linkmon_dev *d)
{
	const struct nlattr *a;
	uint32_t id;

	/* PROG_ID when there is one program; each mode's own otherwise. */
	mnl_attr_for_each_nested(a, nest) {
		int type = mnl_attr_get_type(a);

		if ((type == IFLA_XDP_PROG_ID || type == IFLA_XDP_DRV_PROG_ID || type == IFLA_XDP_SKB_PROG_ID) &&
		    attr_u32(a, &id) && id && (type == IFLA_XDP_PROG_ID || !d->xdp_prog_id))
			d->xdp_prog_id = id;
	}
}

static void parse_attr(const struct nlattr *a, struct linkmon_dev *d, bool *foreign)
{
	const struct nlattr *n;
	uint32_t v;

	switch (mnl_attr_get_type(a)) {
	case IFLA_IFNAME:
		copy_text(d->name, sizeof(d->name), a);
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(a) == sizeof(d->mac))
			memcpy(d->mac, mnl_attr_get_payload(a), sizeof(d->mac));
		break;
	case IFLA_MTU:
		if (attr_u32(a, &v))
			d->mtu = v;
		break;
	case IFLA_LINK:
		if (attr_u32(a, &v))
			d->link = (int)v;
		break;
	case IFLA_LINK_NETNSID:
		*foreign = true;
		break;
	case IFLA_MASTER:
		if (attr_u32(a, &v))
			d->master = (int)v;
		break;
	case IFLA_NUM_RX_QUEUES:
		if (attr_u32(a, &v))
			d->rx_queues = v;
		break;
	case IFLA_CARRIER:
		if (mnl_attr_get_payload_len(a) >= 1)
			d->carrier = mnl_attr_get_u8(a);
		break;
	case IFLA_XDP:
		parse_xdp(a, d);
		break;
	case IFLA_LINKINFO:
		mnl_attr_for_each_nested(n, a)
			if (mnl_attr_get_type(n) == IFLA_INFO_KIND)
				copy_text(d->kind, sizeof(d->kind), n);
		break;
	}
}

static int on_newlink(struct linkmon *m, const struct nlmsghdr *h, const struct ifinfomsg *ifi)
{
	struct linkmon_dev *d = find(m, ifi->ifi_index);
	struct linkmon_dev now;
	const struct nlattr *a;
	bool foreign = false;

	memset(&now, 0, sizeof(now));	/* compared with its padding */
	now.ifindex = ifi->ifi_index;
	now.type = ifi->ifi_type;
	now.flags = ifi->ifi_flags;
	now.carrier = ifi->ifi_flags & LINKMON_LOWER_UP;
	mnl_attr_for_each(a, h, sizeof(*ifi))
		parse_attr(a, &now, &foreign);
	if (foreign)
		now.link = 0;	/* an index of another namespace */
	if (!d) {
		d = dev_new(m, ifi->ifi_index);
		if (!d)
			return -ENOMEM;
		m->touched = true;
	}
	now.seen = d->seen = true;
	if (memcmp(d, &now, sizeof(now)))
		m->touched = true;
	memcpy(d, &now, sizeof(now));
	/* Speed is not in the message: any message about the uplink may mean a new one. */
	if (ifi->ifi_index == m->ifindex)
		m->touched = m->read_speed = true;
	return 0;
}

static int dump_request(struct linkmon *m)
{
	char buf[256] __attribute__((aligned(8))) = { 0 };
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	unsigned i;

	h->nlmsg_type = RTM_GETLINK;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = ++m->seq;
	ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	mnl_attr_put_u32(h, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (send(m->fd, buf, h->nlmsg_len, 0) < 0)
		return -errno;
	for (i = 0; i < m->ndevs; i++)
		m->devs[i].seen = false;
	m->dumping = true;
	m->dump_again = false;
	return 0;
}

static void dump_done(struct linkmon *m)
{
	unsigned i = 0;

	m->dumping = false;
	if (m->dump_again) {
		dump_request(m);
		return;
	}
	while (i < m->ndevs) {
		if (m->devs[i].seen)
			i++;
		else
			dev_remove(m, &m->devs[i]);
	}
}

static int on_message(struct linkmon *m, const struct nlmsghdr *h)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
	bool ours = m->dumping && h->nlmsg_seq == m->seq;
	struct linkmon_dev *d;

	/* The picture changed while it was dumped. */
	if (ours && (h->nlmsg_flags & NLM_F_DUMP_INTR))
		m->dump_again = true;
	switch (h->nlmsg_type) {
	case NLMSG_DONE:
		if (ours)
			dump_done(m);
		return 0;
	case NLMSG_ERROR:
		if (ours)
			m->dumping = false;
		return 0;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		break;
	default:
		return 0;
	}
	/* A bridge speaks of its ports by the same messages; those say nothing about the interface. */
	if (mnl_nlmsg_get_payload_len(h) < sizeof(*ifi) || ifi->ifi_family == AF_BRIDGE)
		return 0;
	if (h->nlmsg_type == RTM_NEWLINK)
		return on_newlink(m, h, ifi);
	d = find(m, ifi->ifi_index);
	if (d)
		dev_remove(m, d);
	return 0;
}

/* One datagram. 1 = got one, 0 = none waiting, or -errno. */
static int read_one(struct linkmon *m)
{
	static char buf[65536] __attribute__((aligned(8)));	/* control thread only */
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	ssize_t n = recv(m->fd, buf, sizeof(buf), MSG_DONTWAIT);
	int left, ret;

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		if (errno != ENOBUFS)
			return -errno;
		log_debug("link monitor: messages lost, reading all interfaces again");
		m->redump = dump_request(m) < 0;
		return 1;
	}
	/* libmnl compares lengths as signed numbers: one beyond 2^31 would pass. */
	for (left = (int)n; mnl_nlmsg_ok(h, left) && h->nlmsg_len <= (uint32_t)left; h = mnl_nlmsg_next(h, &left)) {
		ret = on_message(m, h);
		if (ret)
			return ret;
	}
	return 1;
}

/* ETHTOOL_GLINKSETTINGS asks for the size of its own answer first. */
static void read_speed(const struct linkmon *m, const char *name, struct uplink_link *l)
{
	union {
		struct ethtool_link_settings s;
		uint32_t room[sizeof(struct ethtool_link_settings) / 4 + 3 * 128];	/* three link mode masks */
	} req = { .s = { .cmd = ETHTOOL_GLINKSETTINGS } };

	l->speed_mbps = 0;
	l->duplex = 255;
	if (m->host->ethtool(m->host, name, &req) < 0 || req.s.link_mode_masks_nwords >= 0)
		return;
	req.s.cmd = ETHTOOL_GLINKSETTINGS;
	req.s.link_mode_masks_nwords = (int8_t)-req.s.link_mode_masks_nwords;
	if (m->host->ethtool(m->host, name, &req) < 0)
		return;
	if (req.s.speed != (uint32_t)SPEED_UNKNOWN)
		l->speed_mbps = req.s.speed;
	l->duplex = req.s.duplex;
}

static bool program_lost(const struct linkmon *m, uint32_t id)
{
	if (!m->program_id)
		return false;
	return m->program_any ? !id : id != m->program_id;
}

/* Compares the picture with what was seen last. Return: it is another. */
static bool look(struct linkmon *m)
{
	const struct linkmon_dev *d = linkmon_uplink(m);
	struct uplink_link now;
	bool changed;

	memcpy(&now, &m->state, sizeof(now));	/* compared with its padding */
	if (!d) {
		now.ifindex = 0;
		now.admin_up = now.carrier = false;
	} else {
		now.ifindex = d->ifindex;
		now.admin_up = d->flags & IFF_UP;
		now.carrier = d->carrier;
		now.mtu = d->mtu;
		memcpy(now.mac, d->mac, sizeof(now.mac));
		memcpy(now.name, d->name, sizeof(now.name));
		now.xdp_lost = program_lost(m, d->xdp_prog_id);
		if (m->read_speed)
			read_speed(m, d->name, &now);
	}
	changed = memcmp(&now, &m->state, sizeof(now));
	m->touched = m->read_speed = false;
	memcpy(&m->state, &now, sizeof(now));
	return changed;
}

static void report(struct linkmon *m)
{
	const bool changed = look(m);

	if (m->fn)
		m->fn(m->arg, changed);
}

static void on_readable(struct loop_watch *w, uint32_t events)
{
	struct linkmon *m = w->arg;
	unsigned i;
	int ret = 0;

	(void)events;
	for (i = 0; i < READS_PER_EVENT; i++) {
		ret = read_one(m);
		if (ret <= 0)
			break;
	}
	if (ret < 0)
		log_error("link monitor: %s", strerror(-ret));
	if (m->touched && !m->dumping)
		report(m);
}

static void on_timer(struct loop_timer *t)
{
	struct linkmon *m = t->arg;
	struct host_xdp_info info = { 0 };
	struct linkmon_dev *d;

	if (m->redump)
		m->redump = dump_request(m) < 0;
	d = m->ifindex ? find(m, m->ifindex) : NULL;
	if (d && m->program_id && !m->host->bpf_xdp_query(m->host, m->ifindex, &info) &&
	    info.prog_id != d->xdp_prog_id) {
		d->xdp_prog_id = info.prog_id;
		report(m);
	}
	loop_timer_set(m->loop, t, clock_now() + PROGRAM_LOOK_NS);
}

static int first_picture(struct linkmon *m)
{
	uint64_t deadline = clock_now() + DUMP_WAIT_NS;
	struct pollfd p = { .fd = m->fd, .events = POLLIN };
	int ret = dump_request(m);

	while (!ret && m->dumping) {
		ret = read_one(m);
		if (ret < 0)
			return ret;
		if (ret == 0) {
			if (clock_now() > deadline)
				return -ETIMEDOUT;
			poll(&p, 1, 100);
		}
		ret = 0;
	}
	return ret;
}

int linkmon_follow(struct linkmon *m, int ifindex)
{
	const bool there = ifindex && find(m, ifindex);

	m->ifindex = there ? ifindex : 0;
	m->program_id = 0;
	m->state.xdp_lost = false;
	m->read_speed = true;
	look(m);
	return there || !ifindex ? 0 : -ENODEV;
}

int linkmon_open(const struct host_ops *host, struct loop *loop, struct linkmon **out, const struct fail *why)
{
	struct linkmon *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return fail_with(why, -ENOMEM, "out of memory");
	m->host = host;
	m->loop = loop;
	m->timer = (struct loop_timer){ .fn = on_timer, .arg = m };
	ret = m->fd = host->netlink(host, RTMGRP_LINK);
	if (ret < 0) {
		fail_with(why, ret, "cannot open a netlink socket: %s", strerror(-ret));
		goto err;
	}
	ret = first_picture(m);
	if (ret) {
		fail_with(why, ret, "cannot read the interfaces: %s", strerror(-ret));
		goto err;
	}
	look(m);
	m->watch = (struct loop_watch){ .fd = m->fd, .fn = on_readable, .arg = m };
	ret = loop_add(loop, &m->watch, EPOLLIN);
	if (ret) {
		fail_with(why, ret, "cannot watch the netlink socket: %s", strerror(-ret));
		goto err;
	}
	loop_timer_set(loop, &m->timer, clock_now() + PROGRAM_LOOK_NS);
	*out = m;
	return 0;
err:
	linkmon_close(m);
	return ret;
}

void linkmon_close(struct linkmon *m)
{
	if (!m)
		return;
	loop_del(m->loop, &m->watch);
	loop_timer_cancel(m->loop, &m->timer);
	if (m->fd >= 0)
		close(m->fd);
	free(m->devs);
	free(m);
}

void linkmon_expect_program(struct linkmon *m, uint32_t id, bool any)
{
	struct linkmon_dev *d = m->ifindex ? find(m, m->ifindex) : NULL;

	m->program_id = id;
	m->program_any = any;
	if (d)
		d->xdp_prog_id = id;	/* the message about it may still be on its way */
	m->state.xdp_lost = false;
}

void linkmon_on_change(struct linkmon *m, void (*fn)(void *arg, bool state_changed), void *arg)
{
	m->fn = fn;
	m->arg = arg;
}

/* A veth names its peer where other devices name what they are made on. */
static bool names_a_peer(const struct linkmon_dev *d)
{
	return !strcmp(d->kind, "veth") || !strcmp(d->kind, "netkit") || !strcmp(d->kind, "vxcan");
}

static bool above(const struct linkmon_dev *d, const struct linkmon_dev *below)
{
	return below->master == d->ifindex || (d->link == below->ifindex && !names_a_peer(d));
}

static bool is_above_any(const struct linkmon *m, const bool *in, unsigned i)
{
	unsigned k;

	for (k = 0; k < m->ndevs; k++)
		if (in[k] && above(&m->devs[i], &m->devs[k]))
			return true;
	return false;
}

static unsigned add_mac(uint8_t (*macs)[6], unsigned n, unsigned max, const uint8_t mac[6])
{
	static const uint8_t zero[6];
	unsigned i;

	if (n == max || (mac[0] & 1) || !memcmp(mac, zero, 6))
		return n;
	for (i = 0; i < n; i++)
		if (!memcmp(macs[i], mac, 6))
			return n;
	memcpy(macs[n], mac, 6);
	return n + 1;
}

unsigned linkmon_host_macs(const struct linkmon *m, uint8_t (*macs)[6], unsigned max)
{
	unsigned i, n = 0;
	bool *in, grown;

	if (!m->ifindex)
		return 0;
	in = calloc(m->ndevs + 1, sizeof(*in));
	if (!in)
		return UINT_MAX;
	for (i = 0; i < m->ndevs; i++)
		if (m->devs[i].ifindex == m->ifindex) {
			in[i] = true;
			n = add_mac(macs, n, max, m->devs[i].mac);
		}
	/* Each pass adds one storey; there are few. */
	do {
		grown = false;
		for (i = 0; i < m->ndevs; i++)
			if (!in[i] && is_above_any(m, in, i)) {
				in[i] = grown = true;
				n = add_mac(macs, n, max, m->devs[i].mac);
			}
	} while (grown);
	free(in);
	return n;
}
