/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Features are found by name in the kernel's string set, as ethtool(8) does:
 * their numbers differ between kernels.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/ethtool.h>

#include "base/log.h"
#include "xdp/nicset.h"

#define MAX_FEATURES 512	/* bits; 64 to 70 today */

static const char *const feature_name[NICSET_FEATURES] = {
	[NICSET_RXVLAN] = "rx-vlan-hw-parse",		/* ethtool -K DEV rxvlan */
	[NICSET_RXVLAN_FILTER] = "rx-vlan-filter",
	[NICSET_NTUPLE] = "rx-ntuple-filter",		/* ethtool -K DEV ntuple */
};

/* What they are called in the file that remembers. */
static const char *const key[NICSET_FEATURES] = {
	[NICSET_RXVLAN] = "rxvlan",
	[NICSET_RXVLAN_FILTER] = "rx-vlan-filter",
	[NICSET_NTUPLE] = "ntuple",
};

static int ask(const struct nicset *s, void *cmd)
{
	return s->restore->host->ethtool(s->restore->host, s->restore->ifname, cmd);
}

/* Bit number of each feature, -1 where the kernel has none of that name. */
static int find_bits(const struct nicset *s, int bit[NICSET_FEATURES], unsigned *blocks)
{
	union {
		struct ethtool_sset_info info;
		uint8_t room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
	} sset = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };
	struct ethtool_gstrings *strings;
	unsigned i, n;
	int ret, f;

	for (f = 0; f < NICSET_FEATURES; f++)
		bit[f] = -1;
	ret = ask(s, &sset);
	if (ret < 0)
		return ret;
	n = sset.info.sset_mask ? sset.info.data[0] : 0;
	if (!n || n > MAX_FEATURES)
		return -EOPNOTSUPP;
	strings = calloc(1, sizeof(*strings) + (size_t)n * ETH_GSTRING_LEN);
	if (!strings)
		return -ENOMEM;
	strings->cmd = ETHTOOL_GSTRINGS;
	strings->string_set = ETH_SS_FEATURES;
	strings->len = n;
	ret = ask(s, strings);
	for (i = 0; ret >= 0 && i < strings->len && i < n; i++)
		for (f = 0; f < NICSET_FEATURES; f++)
			if (!strncmp((char *)strings->data + i * ETH_GSTRING_LEN, feature_name[f], ETH_GSTRING_LEN))
				bit[f] = (int)i;
	free(strings);
	*blocks = (n + 31) / 32;
	return ret < 0 ? ret : 0;
}

static int get_features(const struct nicset *s, int value[NICSET_FEATURES])
{
	union {
		struct ethtool_gfeatures head;
		uint8_t room[sizeof(struct ethtool_gfeatures) +
			     MAX_FEATURES / 32 * sizeof(struct ethtool_get_features_block)];
	} req = { .head = { .cmd = ETHTOOL_GFEATURES } };
	int bit[NICSET_FEATURES], ret, f;
	unsigned blocks = 0;

	for (f = 0; f < NICSET_FEATURES; f++)
		value[f] = -1;
	ret = find_bits(s, bit, &blocks);
	if (ret)
		return ret;
	req.head.size = blocks;
	ret = ask(s, &req);
	if (ret < 0)
		return ret;
	for (f = 0; f < NICSET_FEATURES; f++) {
		const struct ethtool_get_features_block *b;
		uint32_t mask;

		if (bit[f] < 0)
			continue;
		b = &req.head.features[bit[f] / 32];
		mask = 1u << (bit[f] % 32);
		/* Neither on nor changeable: this device knows nothing of it. */
		if (b->active & mask)
			value[f] = 1;
		else if (b->available & mask)
			value[f] = 0;
	}
	return 0;
}

/* Sets the features whose @value is 0 or 1; the kernel ignores what the driver does not allow. */
static int set_features(const struct nicset *s, const int value[NICSET_FEATURES])
{
	union {
		struct ethtool_sfeatures head;
		uint8_t room[sizeof(struct ethtool_sfeatures) +
			     MAX_FEATURES / 32 * sizeof(struct ethtool_set_features_block)];
	} req = { .head = { .cmd = ETHTOOL_SFEATURES } };
	int bit[NICSET_FEATURES], ret, f;
	unsigned blocks = 0;

	ret = find_bits(s, bit, &blocks);
	if (ret)
		return ret;
	req.head.size = blocks;
	for (f = 0; f < NICSET_FEATURES; f++) {
		struct ethtool_set_features_block *b;

		if (bit[f] < 0 || value[f] < 0)
			continue;
		b = &req.head.features[bit[f] / 32];
		b->valid |= 1u << (bit[f] % 32);
		b->requested |= (uint32_t)value[f] << (bit[f] % 32);
	}
	ret = ask(s, &req);
	return ret < 0 ? ret : 0;
}

void nicset_read(struct nicset *s)
{
	if (s->restore)
		get_features(s, s->now);
}

/* What a dead instance noted, or -1. */
static int noted(const struct nicset *s, int f)
{
	const char *v = restore_get(s->restore, key[f]);

	return v && (!strcmp(v, "0") || !strcmp(v, "1")) ? *v - '0' : -1;
}

/* First note, then change. Return: 0 or -errno. */
static int note(const struct nicset *s)
{
	int ret, f;

	for (f = 0; f < NICSET_FEATURES; f++) {
		if (!s->switched[f])
			continue;
		ret = restore_note(s->restore, key[f], s->before[f] ? "1" : "0");
		if (ret)
			return ret;
	}
	return 0;
}

/* From now on what is as it is wanted must stay so. What a driver does not know, or keeps otherwise, it is not asked again. */
static void keep(struct nicset *s, const int want[NICSET_FEATURES])
{
	int f;

	for (f = 0; f < NICSET_FEATURES; f++)
		s->want[f] = s->now[f] == want[f] ? want[f] : -1;
}

int nicset_apply(struct nicset *s, struct restore *restore, bool ntuple)
{
	const int want[NICSET_FEATURES] = { [NICSET_RXVLAN] = 0, [NICSET_RXVLAN_FILTER] = 0, [NICSET_NTUPLE] = ntuple ? 1 : -1 };
	int value[NICSET_FEATURES], ret, f;
	bool any = false;

	memset(s, 0, sizeof(*s));
	s->restore = restore;
	get_features(s, s->before);
	memcpy(s->now, s->before, sizeof(s->now));
	for (f = 0; f < NICSET_FEATURES; f++) {
		if (s->before[f] >= 0 && noted(s, f) >= 0)
			s->before[f] = noted(s, f);
		/* What we do not want otherwise, but a dead instance did, is put back now. */
		value[f] = want[f] >= 0 ? want[f] : s->before[f];
		s->switched[f] = s->before[f] >= 0 && s->before[f] != value[f];
		if (s->now[f] < 0 || s->now[f] == value[f])
			value[f] = -1;
		any |= value[f] >= 0;
	}
	ret = note(s);
	if (ret) {
		s->restore = NULL;	/* what a dead instance noted stays in the file */
		return ret;
	}
	ret = any ? set_features(s, value) : 0;
	if (ret)
		log_warn("%s: cannot switch VLAN tag stripping off%s: %s", restore->ifname,
			 ntuple ? " and receive rules on" : "", strerror(-ret));
	for (f = 0; f < NICSET_FEATURES; f++)
		if (!s->switched[f])
			restore_forget(restore, key[f]);
	get_features(s, s->now);
	keep(s, want);
	return 0;
}

static const char *on_off(int value)
{
	return value ? "on" : "off";
}

/* May it be put right once more? */
static bool may_repair(struct nicset *s, int f, uint64_t now_ns)
{
	struct nicset_fight *t = &s->fight[f];

	if (t->left)
		return false;
	if (!t->repairs || now_ns - t->since_ns > NICSET_REPAIRS_NS) {
		t->since_ns = now_ns;
		t->repairs = 0;
	}
	if (t->repairs++ < NICSET_REPAIRS)
		return true;
	t->left = true;
	log_error("%s: another tool switches %s %s again and again, and now it stays so: stop it, then ethtool -K %s %s %s",
		  s->restore->ifname, key[f], on_off(!s->want[f]), s->restore->ifname, feature_name[f],
		  on_off(s->want[f]));
	return false;
}

/* A feature that had been right gets what the other tool made of it back at the end. */
static int note_change(struct nicset *s, int f)
{
	int ret;

	if (s->switched[f])
		return 0;
	ret = restore_note(s->restore, key[f], s->now[f] ? "1" : "0");
	if (ret) {
		log_warn("%s: another tool switched %s %s, and it stays so: cannot write %s: %s", s->restore->ifname,
			 key[f], on_off(s->now[f]), s->restore->path, strerror(-ret));
		return ret;
	}
	s->before[f] = s->now[f];
	s->switched[f] = true;
	return 0;
}

/* Switches those of @value that may be; the others become -1. */
static void repair(struct nicset *s, int value[NICSET_FEATURES], uint64_t now_ns)
{
	bool any = false;
	int ret = 0, f;

	for (f = 0; f < NICSET_FEATURES; f++) {
		if (value[f] < 0)
			continue;
		if (!may_repair(s, f, now_ns) || note_change(s, f)) {
			value[f] = -1;
			continue;
		}
		any = true;
	}
	if (!any)
		return;
	ret = set_features(s, value);
	get_features(s, s->now);
	for (f = 0; f < NICSET_FEATURES; f++)
		if (value[f] >= 0 && s->now[f] == value[f])
			log_warn("%s: another tool switched %s %s: switched %s again", s->restore->ifname, key[f],
				 on_off(!value[f]), on_off(value[f]));
		else if (value[f] >= 0)
			log_warn("%s: another tool switched %s %s, and it cannot be switched back%s%s: ethtool -K %s %s %s",
				 s->restore->ifname, key[f], on_off(!value[f]), ret ? ": " : "", ret ? strerror(-ret) : "",
				 s->restore->ifname, feature_name[f], on_off(value[f]));
}

struct nicset_found nicset_check(struct nicset *s, uint64_t now_ns)
{
	struct nicset_found found = { 0 };
	int value[NICSET_FEATURES], f;

	if (!s->restore || get_features(s, s->now))
		return found;
	for (f = 0; f < NICSET_FEATURES; f++) {
		value[f] = -1;
		if (s->want[f] < 0 || s->now[f] < 0)
			continue;
		if (s->now[f] != s->want[f]) {
			found.changed = true;
			value[f] = s->want[f];
		} else if (s->fight[f].left) {
			s->fight[f] = (struct nicset_fight){ 0 };
		}
	}
	if (!found.changed)
		return found;
	repair(s, value, now_ns);
	found.repaired = true;
	for (f = 0; f < NICSET_FEATURES; f++)
		if (s->want[f] >= 0 && s->now[f] >= 0 && s->now[f] != s->want[f])
			found.repaired = false;
	return found;
}

void nicset_restore(struct nicset *s)
{
	int value[NICSET_FEATURES], ret = 0, f;
	bool any = false;

	if (!s->restore)
		return;
	for (f = 0; f < NICSET_FEATURES; f++) {
		value[f] = s->switched[f] ? s->before[f] : -1;
		any |= s->switched[f];
	}
	if (any)
		ret = set_features(s, value);
	if (ret && ret != -ENODEV)
		log_warn("%s: cannot restore its settings (ethtool -K %s rxvlan on): %s", s->restore->ifname,
			 s->restore->ifname, strerror(-ret));
	for (f = 0; f < NICSET_FEATURES; f++)
		restore_forget(s->restore, key[f]);
	memset(s, 0, sizeof(*s));
}
