/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Features are found by name in the kernel's string set, as ethtool(8) does:
 * their numbers differ between kernels.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/ethtool.h>

#include "base/log.h"
#include "xdp/nicset.h"

#define RUN_DIR "/run/viaduct"
#define MAX_FEATURES 512	/* bits; 64 to 70 today */

static const char *const feature_name[NICSET_FEATURES] = {
	[NICSET_RXVLAN] = "rx-vlan-hw-parse",		/* ethtool -K DEV rxvlan */
	[NICSET_RXVLAN_FILTER] = "rx-vlan-filter",
};

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
	ret = s->host->ethtool(s->host, s->ifname, &sset);
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
	ret = s->host->ethtool(s->host, s->ifname, strings);
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
	ret = s->host->ethtool(s->host, s->ifname, &req);
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
	ret = s->host->ethtool(s->host, s->ifname, &req);
	return ret < 0 ? ret : 0;
}

/* What a killed instance found before it changed anything; 0 when there is a usable file. */
static int load_remembered(const struct nicset *s, int value[NICSET_FEATURES])
{
	char text[256], ifname[IF_NAMESIZE];
	int fd, rxvlan, filter;
	ssize_t n;

	fd = s->host->open(s->host, s->path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ENODATA;
	text[n] = '\0';
	if (sscanf(text, "%15s rxvlan %d rx-vlan-filter %d", ifname, &rxvlan, &filter) != 3 ||
	    strcmp(ifname, s->ifname) || rxvlan < -1 || rxvlan > 1 || filter < -1 || filter > 1)
		return -EINVAL;
	value[NICSET_RXVLAN] = rxvlan;
	value[NICSET_RXVLAN_FILTER] = filter;
	return 0;
}

static int remember(const struct nicset *s)
{
	char text[256];
	int fd, len, ret = 0;

	len = snprintf(text, sizeof(text), "%s rxvlan %d rx-vlan-filter %d\n", s->ifname, s->before[NICSET_RXVLAN],
		       s->before[NICSET_RXVLAN_FILTER]);
	fd = s->host->open(s->host, s->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	if (write(fd, text, (size_t)len) != len)
		ret = -EIO;
	close(fd);
	return ret;
}

void nicset_read(struct nicset *s, const char *ifname)
{
	if (!s->host)
		return;
	if (ifname[0])
		snprintf(s->ifname, sizeof(s->ifname), "%s", ifname);
	get_features(s, s->now);
}

int nicset_apply(struct nicset *s, const struct host_ops *host, const char *ifname, const char *name)
{
	static const int off[NICSET_FEATURES] = { 0, 0 };
	int remembered[NICSET_FEATURES], ret, f;

	memset(s, 0, sizeof(*s));
	s->host = host;
	snprintf(s->ifname, sizeof(s->ifname), "%s", ifname);
	snprintf(s->path, sizeof(s->path), "%s/%s.restore", RUN_DIR, name);
	get_features(s, s->before);
	memcpy(s->now, s->before, sizeof(s->now));
	if (!load_remembered(s, remembered))
		for (f = 0; f < NICSET_FEATURES; f++)
			if (s->before[f] >= 0 && remembered[f] >= 0)
				s->before[f] = remembered[f];
	if (s->before[NICSET_RXVLAN] != 1 && s->before[NICSET_RXVLAN_FILTER] != 1) {
		host->unlink(host, s->path);
		return 0;
	}
	/* First remember, then change. */
	ret = host->mkdir(host, RUN_DIR, 0755);
	if (!ret)
		ret = remember(s);
	if (ret)
		return ret;
	s->active = true;
	ret = set_features(s, off);
	if (ret)
		log_warn("%s: cannot switch VLAN tag stripping off: %s", s->ifname, strerror(-ret));
	get_features(s, s->now);
	return 0;
}

void nicset_restore(struct nicset *s)
{
	int ret;

	if (!s->active)
		return;
	ret = set_features(s, s->before);
	if (ret && ret != -ENODEV)
		log_warn("%s: cannot restore VLAN settings (ethtool -K %s rxvlan on): %s", s->ifname, s->ifname,
			 strerror(-ret));
	s->host->unlink(s->host, s->path);
	s->active = false;
}
