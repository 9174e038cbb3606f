/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --set-channels: how many queues the NIC spreads packets over. By the number of
 * its channels, or where the driver has none to set, by its RSS indirection
 * table. Both are put back at the end, or by the successor of a killed instance.
 * Control thread only.
 */
#ifndef VIADUCT_XDP_CHANNELS_H
#define VIADUCT_XDP_CHANNELS_H

#include "xdp/fail.h"
#include "xdp/restore.h"

enum channels_how { CHANNELS_LEFT, CHANNELS_SET, CHANNELS_RSS };

struct channels {
	struct restore *restore;
	enum channels_how how;		/* what was changed */
};

/**
 * channels_apply() - have packets spread over @n queues, the first ones
 * @restore: kept; what a dead instance noted is how it was
 * @n: 0 = leave it, and put back what a dead instance changed
 *
 * Before the queues are counted, and while no AF_XDP socket of ours is open.
 * Return: 0 or -errno with a reason; then all is as it was.
 */
int channels_apply(struct channels *c, struct restore *restore, uint32_t n, const struct fail *why);

/* Puts back what was changed, after the sockets are closed. Safe without a channels_apply(). */
void channels_restore(struct channels *c);

#endif
