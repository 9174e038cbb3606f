/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A running bridge goes from one process to another, with everything that is
 * connected to it. In this order:
 *
 *   old process                               new process
 *   bridge_save()     workers go on           bridge_adopt()    changes nothing that can be seen
 *   bridge_freeze()   workers stand still
 *   bridge_save_moving()                      bridge_resume()   the same
 *   ends                                      bridge_commit()   workers start
 *   or bridge_thaw()  goes on as if nothing had been
 *
 * Between freeze and commit nobody touches a ring. Control thread only.
 */
#ifndef VIADUCT_BRIDGE_SUCCESSION_H
#define VIADUCT_BRIDGE_SUCCESSION_H

#include "base/parcel.h"
#include "bridge/state.h"
#include "xdp/fail.h"

/* What lasts: uplink, ports, connections, sessions. Return: 0 or -errno with a reason. */
int bridge_save(struct bridge *b, struct parcel *to, const struct fail *why);
void bridge_freeze(struct bridge *b);
/* What moves with every packet: positions, frames, counters. Workers stand still. Return: 0 or -errno. */
int bridge_save_moving(struct bridge *b, struct parcel *to);
void bridge_thaw(struct bridge *b);

/**
 * bridge_adopt() - a bridge from what bridge_save() gave
 * @cfg: as for bridge_open(). The uplink's options must be the same. Ports that run keep what their front-ends were told;
 *       a configuration that says otherwise is refused, with the port's and the option's name
 *
 * After a failure the process is to end: nothing here may be closed in order, it is the other's.
 * Return: 0 or -errno with a reason.
 */
int bridge_adopt(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		 void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct parcel *from,
		 struct bridge **out, const struct fail *why);
/* Takes what bridge_save_moving() gave. @frozen_ns: set to when the other process' workers stopped. 0 or -errno. */
int bridge_resume(struct bridge *b, struct parcel *from, uint64_t *frozen_ns);
/* From here on the bridge is this process'. What fails now is logged, and the rest goes on. Return: when packets moved again. */
uint64_t bridge_commit(struct bridge *b);

#endif
