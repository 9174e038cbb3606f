/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which devices may be the uplink now, best first. Reads the link monitor's
 * picture and a few facts of the host; keeps nothing. Control thread only.
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

/**
 * choose_devices() - the devices that the operator's words mean
 * @current: ifindex in use, 0 = none
 * @last_name: what the uplink was last called ("" = never had one): a device named so counts where the configured name is
 *	not there
 * @out: room for @max of them
 *
 * May read sysfs and the host's routes (then it may wait for a second): only where it must, so not for a device that is
 * named and has no standby. A standby that gets another name while it is in use counts as the uplink itself from then on.
 * Return: how many.
 */
unsigned choose_devices(const struct host_ops *host, const struct linkmon *m, const struct uplink_config *cfg, int current,
			const char *last_name, struct choose_device *out, unsigned max);

/**
 * choose_best() - the device to use
 *
 * The first that is up and may be taken; else @current if it is among them and may be; else the first that may be.
 * Return: index into @list, -1 = none.
 */
int choose_best(const struct choose_device *list, unsigned n, int current);

/* One line for a person: why there is none, with the mend. "" when there is one. */
void choose_explain(const struct uplink_config *cfg, const struct choose_device *list, unsigned n, char *text, size_t len);

#endif
