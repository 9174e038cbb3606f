/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Channel counts and RSS table through ethtool.
 *
 * The kernel refuses fewer channels than there are AF_XDP sockets, and a closed
 * socket leaves its queue some RCU grace periods later. So putting back waits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/ethtool.h>

#include "base/clock.h"
#include "base/log.h"
#include "viaduct_bpf.h"
#include "xdp/channels.h"

#define MAX_TABLE 4096		/* entries of an RSS table; the largest known has 2048 */
#define MAX_DIGITS 6		/* of one of them in the file, with its comma */
#define RETRY_NS 20000000

static const char channels_key[] = "channels", rss_key[] = "rss", rss_default[] = "default";

struct counts {
	uint32_t rx, tx, combined;
};

static int ask(const struct channels *c, void *cmd)
{
	return c->restore->host->ethtool(c->restore->host, c->restore->ifname, cmd);
}

static int get_counts(const struct channels *c, struct counts *n)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	int ret = ask(c, &ch);

	*n = (struct counts){ ch.rx_count, ch.tx_count, ch.combined_count };
	return ret < 0 ? ret : 0;
}

static int set_counts(const struct channels *c, const struct counts *n)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	int ret = ask(c, &ch);

	if (ret < 0)
		return ret;
	if (ch.rx_count == n->rx && ch.tx_count == n->tx && ch.combined_count == n->combined)
		return 0;
	ch.cmd = ETHTOOL_SCHANNELS;
	ch.rx_count = n->rx;
	ch.tx_count = n->tx;
	ch.combined_count = n->combined;
	ret = ask(c, &ch);
	return ret < 0 ? ret : 0;
}

/* Sockets that were closed a moment ago may still be there. */
static int set_counts_wait(const struct channels *c, const struct counts *n)
{
	const struct timespec ts = { .tv_nsec = RETRY_NS };
	uint64_t deadline = clock_now() + c->restore->wait_ns;
	int ret;

	while ((ret = set_counts(c, n)) == -EINVAL || ret == -EBUSY) {
		if (clock_now() >= deadline)
			break;
		nanosleep(&ts, NULL);
	}
	return ret;
}

/* Drivers count pairs, or each direction by itself. */
static struct counts counts_of(const struct counts *now, uint32_t n)
{
	if (now->combined)
		return (struct counts){ .combined = n, .tx = now->tx };
	return (struct counts){ .rx = n, .tx = n };
}

static int note_counts(const struct channels *c, const struct counts *n)
{
	char text[64];

	if (restore_get(c->restore, channels_key))
		return 0;	/* a dead instance's: older, so the right one */
	snprintf(text, sizeof(text), "%u,%u,%u", n->rx, n->tx, n->combined);
	return restore_note(c->restore, channels_key, text);
}

/* The table with its size; to be freed. NULL where the driver has none. */
static struct ethtool_rxfh_indir *get_table(const struct channels *c)
{
	struct ethtool_rxfh_indir head = { .cmd = ETHTOOL_GRXFHINDIR }, *t;

	if (ask(c, &head) < 0 || !head.size || head.size > MAX_TABLE)
		return NULL;
	t = calloc(1, sizeof(*t) + head.size * sizeof(t->ring_index[0]));
	if (!t)
		return NULL;
	t->cmd = ETHTOOL_GRXFHINDIR;
	t->size = head.size;
	if (ask(c, t) < 0 || t->size != head.size) {
		free(t);
		return NULL;
	}
	return t;
}

/* A table that the kernel made is put back by asking it for one. */
static bool is_default(const struct ethtool_rxfh_indir *t)
{
	uint32_t i, queues = 0;

	for (i = 0; i < t->size; i++)
		if (t->ring_index[i] >= queues)
			queues = t->ring_index[i] + 1;
	for (i = 0; i < t->size && t->ring_index[i] == i % queues; i++)
		;
	return i == t->size;
}

static int note_table(const struct channels *c, const struct ethtool_rxfh_indir *t)
{
	size_t at = 0, len = (size_t)t->size * MAX_DIGITS + 1;
	char *text;
	int ret;

	if (restore_get(c->restore, rss_key))
		return 0;
	if (is_default(t))
		return restore_note(c->restore, rss_key, rss_default);
	text = malloc(len);
	if (!text)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->size && at < len; i++)
		at += (size_t)snprintf(text + at, len - at, "%s%u", i ? "," : "", t->ring_index[i]);
	ret = at < len ? restore_note(c->restore, rss_key, text) : -E2BIG;
	free(text);
	return ret;
}

static int spread(const struct channels *c, struct ethtool_rxfh_indir *t, uint32_t n)
{
	int ret;

	t->cmd = ETHTOOL_SRXFHINDIR;
	for (uint32_t i = 0; i < t->size; i++)
		t->ring_index[i] = i % n;
	ret = ask(c, t);
	return ret < 0 ? ret : 0;
}

static int put_table_back(const struct channels *c, const char *noted)
{
	struct ethtool_rxfh_indir *t = get_table(c), reset = { .cmd = ETHTOOL_SRXFHINDIR };
	char *end;
	int ret;

	if (!t)
		return -EOPNOTSUPP;
	if (!strcmp(noted, rss_default)) {
		ret = ask(c, &reset);
		free(t);
		return ret < 0 ? ret : 0;
	}
	t->cmd = ETHTOOL_SRXFHINDIR;
	for (uint32_t i = 0; i < t->size; i++, noted = *end ? end + 1 : end) {
		t->ring_index[i] = (uint32_t)strtoul(noted, &end, 10);
		if (end == noted)
			break;
	}
	ret = ask(c, t);
	free(t);
	return ret < 0 ? ret : 0;
}

/* Whatever is noted, by us or by a dead instance. */
static void put_back(const struct channels *c)
{
	const char *channels = restore_get(c->restore, channels_key), *rss = restore_get(c->restore, rss_key);
	struct counts n;
	int ret = 0;

	if (channels && sscanf(channels, "%u,%u,%u", &n.rx, &n.tx, &n.combined) == 3)
		ret = set_counts_wait(c, &n);
	if (rss && !ret)
		ret = put_table_back(c, rss);
	if (ret && ret != -ENODEV)
		log_warn("%s: cannot put its queues back as they were (ethtool -L, ethtool -X): %s", c->restore->ifname,
			 strerror(-ret));
	restore_forget(c->restore, channels_key);
	restore_forget(c->restore, rss_key);
}

static int refused(const struct channels *c, uint32_t n, int err, const struct fail *why)
{
	return fail_with(why, err, "--set-channels %u: the driver of %s refuses it, and spreading packets over fewer queues, too (%s; ethtool -l %s shows what it can)",
			 n, c->restore->ifname, strerror(-err), c->restore->ifname);
}

/* By the table: the NIC keeps its channels, and those beyond @n get nothing. */
static int by_table(struct channels *c, uint32_t n, uint32_t queues, int err, const struct fail *why)
{
	struct ethtool_rxfh_indir *t = n <= queues ? get_table(c) : NULL;
	int ret = t ? note_table(c, t) : 0;

	if (t && !ret)
		err = spread(c, t, n);
	free(t);
	if (ret)
		return fail_with(why, ret, "cannot write %s: %s", c->restore->path, strerror(-ret));
	if (err)
		return refused(c, n, err, why);
	c->how = CHANNELS_RSS;
	return 0;
}

int channels_apply(struct channels *c, struct restore *restore, uint32_t n, const struct fail *why)
{
	struct counts now, want;
	int ret;

	*c = (struct channels){ .restore = restore };
	if (!n) {
		if (restore_get(restore, channels_key) || restore_get(restore, rss_key))
			put_back(c);
		return 0;
	}
	if (n > VD_MAX_QUEUES)
		return fail_with(why, -EINVAL, "--set-channels %u: %u can be served", n, VD_MAX_QUEUES);
	ret = get_counts(c, &now);
	if (ret)
		return refused(c, n, ret, why);
	want = counts_of(&now, n);
	if (!memcmp(&now, &want, sizeof(now)) && !restore_get(restore, channels_key) && !restore_get(restore, rss_key))
		return 0;
	ret = note_counts(c, &now);
	if (ret)
		return fail_with(why, ret, "cannot write %s: %s", restore->path, strerror(-ret));
	ret = set_counts(c, &want);
	if (!ret) {
		c->how = CHANNELS_SET;
		return 0;
	}
	ret = by_table(c, n, now.combined + now.rx, ret, why);
	if (ret)
		put_back(c);
	return ret;
}

void channels_restore(struct channels *c)
{
	if (c->restore && c->how != CHANNELS_LEFT)
		put_back(c);
	*c = (struct channels){ 0 };
}
