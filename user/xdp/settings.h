/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every setting of the NIC that the uplink changes while it runs, in the order
 * in which they are to be made and put back: channels, features, put-off
 * interrupts, rules. Control thread only.
 */
#ifndef VIADUCT_XDP_SETTINGS_H
#define VIADUCT_XDP_SETTINGS_H

#include "xdp/busypoll.h"
#include "xdp/channels.h"
#include "xdp/hwsteer.h"
#include "xdp/nicset.h"
#include "xdp/uplink.h"

struct settings {
	struct restore restore;
	struct channels channels;
	struct nicset nicset;
	struct busypoll busypoll;
	struct hwsteer hwsteer;
};

/**
 * settings_open() - see what a dead instance left, and set the number of channels
 * @cfg: names of interface and instance, --set-channels
 *
 * Before the queues are counted. Return: how many of them are to be served, 0 = all there are; or -errno with a reason.
 */
int settings_open(struct settings *s, const struct host_ops *host, const struct uplink_config *cfg,
		  struct uplink_info *info, const struct fail *why);

/**
 * settings_apply() - make the others
 * @q, @n: the open NIC queues
 * @info: gets what became of them
 *
 * Return: 0 or -errno with a reason.
 */
int settings_apply(struct settings *s, const struct uplink_config *cfg, struct nicq *q, uint32_t n,
		   struct uplink_info *info, const struct fail *why);

/* What the interface is called from now on. */
void settings_rename(struct settings *s, const char *ifname);

/* What stands there now. @ifname: what the interface is called now. */
void settings_read(struct settings *s, const char *ifname, struct uplink_info *info);

/**
 * settings_check() - features that another tool switched back: notice it and switch them again
 * @ifname: what the interface is called now
 * @info: gets what stands there now, as from settings_read()
 *
 * About once a second and after link messages: a few ethtool requests. Return: see nicset_check(); changed and not
 * repaired = tags are taken out of frames (or frames filtered, or rules off) until the other tool stops.
 */
struct nicset_found settings_check(struct settings *s, const char *ifname, struct uplink_info *info);

/* Puts back all but the channels. @ifname: what the interface is called now. */
void settings_restore(struct settings *s, const char *ifname);

/*
 * The interface is gone, and another may have its name: nothing is put back. @keep: what was changed is remembered for an
 * interface that has the name again. In the place of settings_restore() and settings_close().
 */
void settings_abandon(struct settings *s, bool keep);

/* Puts back the channels; when the sockets are closed. Both are safe without a settings_open(). */
void settings_close(struct settings *s);

#endif
