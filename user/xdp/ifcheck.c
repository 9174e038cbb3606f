/* SPDX-License-Identifier: BSD-2-Clause */
/* Interface checks; each refusal says how to mend it. */
#include <assert.h>
#include <errno.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include <linux/ethtool.h>

#include "base/log.h"
#include "xdp/ifcheck.h"
#include "xdp/nicq.h"

#define MAX_RSS_TABLE 4096	/* entries we read; the largest known is 2048 */
#define FRAME_EXTRA (14 + 8)	/* Ethernet header and two VLAN tags */
/*
 * The longest packet of a 4096-byte page in native mode: the driver keeps 256
 * bytes in front and struct skb_shared_info (320) behind; what is longer comes
 * in pieces, which only a socket with multi-buffer takes.
 */
#define MAX_MTU_4096 (4096 - 256 - 320 - FRAME_EXTRA)
static_assert(MAX_MTU_4096 == IFCHECK_MTU_WITHOUT_SG, "messages tell the truth");
#define MAX_MTU (NICQ_PIECES * NICQ_MAX_FRAME(4096) - FRAME_EXTRA)

/* Devices that pass frames on from others: the receive check of AF_XDP sees the lower one. */
static bool is_master_kind(const char *kind)
{
	return !strcmp(kind, "bond") || !strcmp(kind, "team") || !strcmp(kind, "bridge");
}

static bool is_stacked_kind(const char *kind)
{
	return !strcmp(kind, "macvlan") || !strcmp(kind, "macvtap") || !strcmp(kind, "ipvlan") ||
	       !strcmp(kind, "ipvtap");
}

static void name_members(const struct linkmon *m, int master, char *buf, size_t len)
{
	const struct linkmon_dev *d = NULL;
	size_t at = 0;

	buf[0] = '\0';
	while ((d = linkmon_next(m, d)) && at < len)
		if (d->master == master)
			at += (size_t)snprintf(buf + at, len - at, "%s%s", at ? ", " : "", d->name);
	if (!buf[0])
		snprintf(buf, len, "none now");
}

static const char *lower_name(const struct linkmon *m, const struct linkmon_dev *d)
{
	const struct linkmon_dev *lower = d->link ? linkmon_find(m, d->link) : NULL;

	return lower ? lower->name : "in another namespace";
}

int ifcheck_kind(const struct linkmon *m, const struct linkmon_dev *d, struct ifcheck *c, const struct fail *why)
{
	char members[128];

	memset(c, 0, sizeof(*c));
	if (d->type == ARPHRD_LOOPBACK || (d->flags & IFF_LOOPBACK))
		return fail_with(why, -EOPNOTSUPP, "%s is the loopback interface: choose a NIC", d->name);
	if (d->type != ARPHRD_ETHER)
		return fail_with(why, -EOPNOTSUPP, "%s is not an Ethernet interface: choose a NIC", d->name);
	if (is_master_kind(d->kind)) {
		name_members(m, d->ifindex, members, sizeof(members));
		return fail_with(why, -EOPNOTSUPP,
				 "%s is a %s, and AF_XDP needs the device that receives: use one of its members (%s)",
				 d->name, d->kind, members);
	}
	if (is_stacked_kind(d->kind))
		return fail_with(why, -EOPNOTSUPP,
				 "%s is a %s, and AF_XDP needs the device that receives: use the one below it (%s)",
				 d->name, d->kind, lower_name(m, d));
	if (!strcmp(d->kind, "vlan")) {
		c->generic_only = true;
		snprintf(c->generic_why, sizeof(c->generic_why), "a VLAN device runs generic XDP only; faster: %s",
			 lower_name(m, d));
		log_warn("%s: %s", d->name, c->generic_why);
	}
	return 0;
}

static void read_driver(const struct host_ops *host, const char *ifname, struct ifcheck *c)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };

	if (host->ethtool(host, ifname, &info) >= 0)
		snprintf(c->driver, sizeof(c->driver), "%.31s", info.driver);
}

/* Highest queue in the RSS indirection table, plus one; 0 when the driver has no table. */
static uint32_t read_rss(const struct host_ops *host, const char *ifname)
{
	struct ethtool_rxfh_indir head = { .cmd = ETHTOOL_GRXFHINDIR }, *table;
	uint32_t i, n, most = 0;

	if (host->ethtool(host, ifname, &head) < 0 || !head.size || head.size > MAX_RSS_TABLE)
		return 0;
	table = calloc(1, sizeof(*table) + head.size * sizeof(table->ring_index[0]));
	if (!table)
		return 0;
	table->cmd = ETHTOOL_GRXFHINDIR;
	table->size = n = head.size;
	if (host->ethtool(host, ifname, table) >= 0)
		for (i = 0; i < n && i < table->size; i++)
			if (table->ring_index[i] >= most)
				most = table->ring_index[i] + 1;
	free(table);
	return most;
}

void ifcheck_queues(const struct host_ops *host, const struct linkmon_dev *d, struct ifcheck *c)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };

	read_driver(host, d->name, c);
	c->queues = c->tx_queues = 1;
	c->combined = true;
	if (host->ethtool(host, d->name, &ch) >= 0) {
		/* Some drivers count pairs, some (veth) each direction by itself, some have both. */
		if (ch.combined_count + ch.rx_count)
			c->queues = ch.combined_count + ch.rx_count;
		if (ch.combined_count + ch.tx_count)
			c->tx_queues = ch.combined_count + ch.tx_count;
		c->combined = ch.combined_count > 0;
	}
	/* What the interface was made with is the limit, whatever the driver says. */
	if (d->rx_queues && c->queues > d->rx_queues)
		c->queues = d->rx_queues;
	c->fed = read_rss(host, d->name);
	if (!c->fed || c->fed > c->queues)
		c->fed = c->queues;
}

/* The ethtool command that makes the interface have @n queues. */
static const char *channels_command(const struct ifcheck *c, const char *ifname, uint32_t n, char *buf, size_t len)
{
	if (c->combined)
		snprintf(buf, len, "ethtool -L %s combined %u", ifname, n);
	else
		snprintf(buf, len, "ethtool -L %s rx %u tx %u", ifname, n, n);
	return buf;
}

int ifcheck_choose_queues(const struct ifcheck *c, const char *ifname, uint32_t want, const struct fail *why)
{
	uint32_t n = want ? want : c->queues;
	char mend[96];

	if (n > c->queues)
		return fail_with(why, -EINVAL, "--queues %u, but %s has %u: %s, or a smaller number", n, ifname,
				 c->queues, channels_command(c, ifname, n, mend, sizeof(mend)));
	if (n < c->fed)
		return fail_with(why, -EINVAL,
				 "--queues wants %u of %u queues, but the NIC spreads packets over %u: add --set-channels %u, or %s, or ethtool -X %s equal %u",
				 n, c->queues, c->fed, n, channels_command(c, ifname, n, mend, sizeof(mend)), ifname, n);
	if (n > VD_MAX_QUEUES)
		return fail_with(why, -EINVAL, "%s has %u queues, %u can be served: %s", ifname, n, VD_MAX_QUEUES,
				 channels_command(c, ifname, VD_MAX_QUEUES, mend, sizeof(mend)));
	if (n > c->tx_queues)
		return fail_with(why, -EINVAL, "%s has %u queues for receiving, but %u for sending: %s", ifname, n,
				 c->tx_queues, channels_command(c, ifname, c->tx_queues, mend, sizeof(mend)));
	return (int)n;
}

int ifcheck_chunk(const struct linkmon_dev *d, bool *sg, const struct fail *why)
{
	*sg = d->mtu > MAX_MTU_4096;
	if (d->mtu <= NICQ_MAX_FRAME(2048) - FRAME_EXTRA)
		return 2048;
	if (d->mtu <= MAX_MTU)
		return 4096;
	return fail_with(why, -EMSGSIZE, "%s has MTU %u, and the largest that can be served is %d: ip link set dev %s mtu %d",
			 d->name, d->mtu, MAX_MTU, d->name, MAX_MTU);
}
