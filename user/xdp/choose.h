/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which devices may be the uplink now, best first. Reads the link monitor's
 * picture and a few facts of the host. Control thread only.
 */
#ifndef VIADUCT_XDP_CHOOSE_H
#define VIADUCT_XDP_CHOOSE_H

#include "xdp/linkmon.h"
#include "xdp/uplink.h"

#define CHOOSE_MAX 8

struct choose_device {
	int ifindex;
	char name[IF_NAMESIZE];
	bool up;		/* admin up and carrier */
	bool standby;		/* the slow one: used while no other is up */
	char why_not[128];	/* "" or why it is not taken (routed, ambiguous, kind) with the mend */
};

/* Which devices they were: a device that gets another name stays what it is. All 0: not known yet. */
struct choose_known {
	int first, standby;		/* interface indices of those that are named, 0 = not there */
	char last_name[IF_NAMESIZE];	/* of the first: one of this name counts where the configured name is not there */
};

/**
 * choose_devices() - the devices that the operator's words mean
 * @current: ifindex in use, 0 = none
 * @known: as the call before left it
 * @out: room for @max of them
 *
 * May read sysfs and the host's routes (then it may wait for a second): only where it must, so not for a device that is
 * named and has no standby.
 * Return: how many.
 */
unsigned choose_devices(const struct host_ops *host, const struct linkmon *m, const struct uplink_config *cfg, int current,
			struct choose_known *known, struct choose_device *out, unsigned max);

/**
 * choose_best() - the device to use
 *
 * The first that is up and may be taken; else @current if it is among them and may be; else the first that may be.
 * Return: index into @list, -1 = none.
 */
int choose_best(const struct choose_device *list, unsigned n, int current);

/* What has to last for a while before another device is taken. Begins anew with each device. */
struct choose_hold {
	uint64_t opened_ns;	/* when the one in use was taken */
	bool was_up;		/* it was up since */
	uint64_t better_ns;	/* since when a better one is up, 0 = none is */
};

#define CHOOSE_BACK_NS 1000000000ull	/* a better device has to stay up for so long */
#define CHOOSE_SETTLE_NS 5000000000ull	/* a driver may take the link down when XDP is attached, for so long at most */

/**
 * choose_move() - should another device be taken?
 * @current: ifindex in use, not 0
 *
 * One whose link is lost is left at once for one that is up. Return: index into @list, -1 = it stays.
 */
int choose_move(const struct choose_device *list, unsigned n, int current, struct choose_hold *hold, uint64_t now_ns);

/* One line for a person: why there is none, with the mend. "" when there is one. */
void choose_explain(const struct uplink_config *cfg, const struct choose_device *list, unsigned n, char *text, size_t len);

#endif
