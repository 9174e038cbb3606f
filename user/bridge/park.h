/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workers that stand still, and workers that a peer holds. A call fd's
 * O_NONBLOCK is the front-end's to change, so a worker can be held inside
 * write(): whoever waits for it interrupts it. Control thread.
 */
#ifndef VIADUCT_BRIDGE_PARK_H
#define VIADUCT_BRIDGE_PARK_H

#include "bridge/state.h"

#define PARK_STUCK_NS 50000000ull	/* longer than any write to an eventfd that has room */

/* Between the two no worker is inside anything, and ports, policies and data paths may change. */
void bridge_park(struct bridge *b);
void bridge_unpark(struct bridge *b);

/* Has a worker been inside the call of this ring for longer than it takes, for want of room? */
bool park_call_stuck(const struct virtq *vq, uint64_t now_ns);
/* Interrupts all workers: one that a call fd holds goes on. */
void park_interrupt(struct bridge *b);
/* The same when there is one that is held: for whoever has waited PARK_STUCK_NS. */
void park_rescue(struct bridge *b);

#endif
