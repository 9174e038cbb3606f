/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * n-tuple rules through ethtool. Each has a place in the NIC's table; a smaller
 * number wins. Some drivers choose the place themselves, for the others we take
 * free ones from the end, behind the operator's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/ethtool.h>

#include "base/log.h"
#include "xdp/hwsteer.h"

#define MAX_PLACES 65536
#define MAX_DIGITS 11		/* of a place in the file, with its comma */

static const char key[] = "rules";

static int ask(const struct hwsteer *h, void *cmd)
{
	int ret = h->restore->host->ethtool(h->restore->host, h->restore->ifname, cmd);

	return ret < 0 ? ret : 0;
}

/* A rule as we make them: the destination address, all of it, and nothing else. */
static bool is_like_ours(const struct ethtool_rx_flow_spec *f)
{
	static const union ethtool_flow_union address_only = { .ether_spec.h_dest = { 255, 255, 255, 255, 255, 255 } };

	return f->flow_type == ETHER_FLOW && !memcmp(&f->m_u, &address_only, sizeof(f->m_u));
}

static int remove_place(const struct hwsteer *h, uint32_t place)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_SRXCLSRLDEL, .fs.location = place };

	return ask(h, &cmd);
}

/* Of a dead instance; somebody else may have put another rule there since. */
static void remove_left(const struct hwsteer *h)
{
	const char *at = restore_get(h->restore, key);
	char *end;

	while (at && *at) {
		struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_GRXCLSRULE };

		cmd.fs.location = (uint32_t)strtoul(at, &end, 10);
		if (end == at)
			break;
		at = *end ? end + 1 : end;
		if (!ask(h, &cmd) && is_like_ours(&cmd.fs))
			remove_place(h, cmd.fs.location);
	}
	restore_forget(h->restore, key);
}

static void off(struct hwsteer *h, const char *why)
{
	h->on = false;
	snprintf(h->why, sizeof(h->why), "%s", why);
}

void hwsteer_open(struct hwsteer *h, struct restore *restore, bool wanted)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_GRXCLSRLCNT };

	*h = (struct hwsteer){ .restore = restore };
	remove_left(h);
	if (!wanted) {
		off(h, "not asked for");
		return;
	}
	if (ask(h, &cmd)) {
		off(h, "the driver takes no rules");
		log_warn("%s: --hw-steer: the driver takes no rules (ethtool -n %s): the program steers alone",
			 restore->ifname, restore->ifname);
		return;
	}
	h->any_place = cmd.data & RX_CLS_LOC_SPECIAL;
	h->places = (uint32_t)cmd.data & ~RX_CLS_LOC_SPECIAL;
	if (h->places > MAX_PLACES)
		h->places = MAX_PLACES;
	h->rule = calloc(HWSTEER_RULES, sizeof(*h->rule));
	h->on = h->rule;
	if (!h->on)
		off(h, "out of memory");
}

static bool used(const uint32_t *places, uint32_t n, uint32_t place)
{
	while (n)
		if (places[--n] == place)
			return true;
	return false;
}

/* The last free place of the table. Return: 0 or -errno. */
static int find_place(const struct hwsteer *h, uint32_t *place)
{
	struct ethtool_rxnfc count = { .cmd = ETHTOOL_GRXCLSRLCNT }, *all;
	int ret = ask(h, &count);
	uint32_t p;

	if (ret)
		return ret;
	if (count.rule_cnt >= h->places)
		return -ENOSPC;
	all = calloc(1, sizeof(*all) + count.rule_cnt * sizeof(all->rule_locs[0]));
	if (!all)
		return -ENOMEM;
	all->cmd = ETHTOOL_GRXCLSRLALL;
	all->rule_cnt = count.rule_cnt;
	ret = ask(h, all);
	if (!ret && all->rule_cnt > count.rule_cnt)
		ret = -EPROTO;
	/* At most rule_cnt + 1 rounds: so many places cannot all be used. */
	for (p = h->places; !ret && p && used(all->rule_locs, all->rule_cnt, p - 1); p--)
		;
	if (!ret && !p)
		ret = -ENOSPC;
	if (!ret)
		*place = p - 1;
	free(all);
	return ret;
}

static int note(const struct hwsteer *h)
{
	size_t at = 0, len = (size_t)h->count * MAX_DIGITS + 1;
	char *text;
	int ret;

	if (!h->count) {
		restore_forget(h->restore, key);
		return 0;
	}
	text = malloc(len);
	if (!text)
		return -ENOMEM;
	for (uint32_t i = 0; i < h->count && at < len; i++)
		at += (size_t)snprintf(text + at, len - at, "%s%u", i ? "," : "", h->rule[i].place);
	ret = at < len ? restore_note(h->restore, key, text) : -E2BIG;
	free(text);
	return ret;
}

/* Once; and what the driver cannot do at all it will not be asked for again. */
static int refused(struct hwsteer *h, int err)
{
	if (!h->complained)
		log_warn("%s: --hw-steer: the driver refuses a rule (%s): the program steers those frames alone",
			 h->restore->ifname, strerror(-err));
	h->complained = true;
	if (err == -EOPNOTSUPP || err == -EINVAL)
		off(h, "the driver refuses rules for addresses");
	return err;
}

static struct hwsteer_rule *find(const struct hwsteer *h, const uint8_t mac[6])
{
	for (uint32_t i = 0; i < h->count; i++)
		if (!memcmp(h->rule[i].mac, mac, 6))
			return &h->rule[i];
	return NULL;
}

static int insert(const struct hwsteer *h, struct hwsteer_rule *r)
{
	struct ethtool_rxnfc cmd = {
		.cmd = ETHTOOL_SRXCLSRLINS,
		.fs = { .flow_type = ETHER_FLOW, .ring_cookie = r->queue, .location = r->place },
	};
	int ret;

	memcpy(cmd.fs.h_u.ether_spec.h_dest, r->mac, 6);
	memset(cmd.fs.m_u.ether_spec.h_dest, 0xff, 6);
	ret = ask(h, &cmd);
	r->place = cmd.fs.location;
	return ret;
}

int hwsteer_set(struct hwsteer *h, const uint8_t mac[6], uint32_t queue)
{
	struct hwsteer_rule r = { .queue = queue, .place = RX_CLS_LOC_ANY }, *old = find(h, mac);
	int ret = 0;

	if (!h->on)
		return -EOPNOTSUPP;
	if (old && old->queue == queue)
		return 0;
	if (old)
		hwsteer_del(h, mac);
	if (h->count == HWSTEER_RULES)
		return refused(h, -ENOSPC);
	memcpy(r.mac, mac, 6);
	if (!h->any_place)
		ret = find_place(h, &r.place);
	if (!ret)
		ret = insert(h, &r);
	if (ret)
		return refused(h, ret);
	h->rule[h->count++] = r;
	ret = note(h);
	if (ret) {	/* a rule that nobody would remove */
		remove_place(h, r.place);
		h->count--;
	}
	return ret;
}

int hwsteer_del(struct hwsteer *h, const uint8_t mac[6])
{
	struct hwsteer_rule *r = find(h, mac);
	int ret;

	if (!r)
		return -ENOENT;
	ret = remove_place(h, r->place);
	*r = h->rule[--h->count];
	note(h);
	return ret;
}

void hwsteer_close(struct hwsteer *h)
{
	for (uint32_t i = 0; i < h->count; i++)
		remove_place(h, h->rule[i].place);
	if (h->count)
		restore_forget(h->restore, key);
	free(h->rule);
	*h = (struct hwsteer){ 0 };
}
