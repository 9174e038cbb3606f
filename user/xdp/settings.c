/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel is asked for a NIC by its name, and an operator may give it another at any time: settings_rename(). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "xdp/settings.h"

#define WAIT_NS (5 * NSEC_PER_SEC)

void settings_rename(struct settings *s, const char *ifname)
{
	snprintf(s->restore.ifname, sizeof(s->restore.ifname), "%s", ifname);
}

int settings_open(struct settings *s, const struct host_ops *host, const struct uplink_config *cfg,
		  struct uplink_info *info, const struct fail *why)
{
	int ret;

	restore_open(&s->restore, host, cfg->ifname, cfg->notes[0] ? cfg->notes : cfg->name);
	if (cfg->called[0])
		settings_rename(s, cfg->called);
	s->restore.wait_ns = cfg->wait_ns ? cfg->wait_ns : WAIT_NS;
	info->channels = "";
	ret = channels_apply(&s->channels, &s->restore, cfg->set_channels, why);
	if (ret)
		return ret;
	if (s->channels.how == CHANNELS_LEFT)
		return (int)cfg->queues;
	info->channels = s->channels.how == CHANNELS_SET ? "channels" : "rss";
	/* With RSS the NIC has more, but these are all that get packets. */
	return (int)(cfg->queues ? cfg->queues : cfg->set_channels);
}

/* All sockets and the interface, or none. */
static void apply_busy_poll(struct settings *s, const struct uplink_config *cfg, struct nicq *q, uint32_t n,
			    struct uplink_info *info)
{
	bool on = cfg->busy_poll;
	int ret = -ENOPROTOOPT;
	uint32_t i;

	for (i = 0; i < n; i++)
		on &= q[i].busy_poll;
	if (on || !cfg->busy_poll)
		ret = busypoll_apply(&s->busypoll, &s->restore, on);
	info->busy_poll = on && !ret;
	for (i = 0; i < n; i++)
		q[i].busy_poll = info->busy_poll;
	if (info->busy_poll)
		return;
	snprintf(info->busy_poll_why, sizeof(info->busy_poll_why), "%s",
		 !cfg->busy_poll ? "not asked for" : strerror(-ret));
	if (cfg->busy_poll)
		log_warn("%s: --busy-poll is off, the kernel refuses it: %s", s->restore.ifname, strerror(-ret));
}

int settings_apply(struct settings *s, const struct uplink_config *cfg, struct nicq *q, uint32_t n,
		   struct uplink_info *info, const struct fail *why)
{
	int ret = nicset_apply(&s->nicset, &s->restore, cfg->hw_steer);

	if (ret)
		return fail_with(why, ret, "cannot write %s: %s", s->restore.path, strerror(-ret));
	info->rxvlan_before = s->nicset.before[NICSET_RXVLAN];
	info->rxvlan_filter_before = s->nicset.before[NICSET_RXVLAN_FILTER];
	info->rxvlan_now = s->nicset.now[NICSET_RXVLAN];
	info->rxvlan_filter_now = s->nicset.now[NICSET_RXVLAN_FILTER];
	apply_busy_poll(s, cfg, q, n, info);
	hwsteer_open(&s->hwsteer, &s->restore, cfg->hw_steer);
	return 0;
}

static void tell(const struct settings *s, struct uplink_info *info)
{
	info->rxvlan_now = s->nicset.now[NICSET_RXVLAN];
	info->rxvlan_filter_now = s->nicset.now[NICSET_RXVLAN_FILTER];
	info->hw_steer = s->hwsteer.on;
	info->hw_rules = s->hwsteer.count;
	memcpy(info->hw_steer_why, s->hwsteer.why, sizeof(info->hw_steer_why));
}

void settings_read(struct settings *s, const char *ifname, struct uplink_info *info)
{
	settings_rename(s, ifname);
	nicset_read(&s->nicset);
	tell(s, info);
}

struct nicset_found settings_check(struct settings *s, const char *ifname, struct uplink_info *info)
{
	struct nicset_found found;

	settings_rename(s, ifname);
	found = nicset_check(&s->nicset, clock_now());
	tell(s, info);
	return found;
}

void settings_restore(struct settings *s, const char *ifname)
{
	settings_rename(s, ifname);
	hwsteer_close(&s->hwsteer);
	busypoll_restore(&s->busypoll);
	nicset_restore(&s->nicset);
}

void settings_abandon(struct settings *s, bool keep)
{
	s->hwsteer.count = 0;	/* its rules went with the interface */
	hwsteer_close(&s->hwsteer);
	restore_abandon(&s->restore, keep);
	memset(s, 0, sizeof(*s));
}

void settings_close(struct settings *s)
{
	channels_restore(&s->channels);
	restore_close(&s->restore);
}
