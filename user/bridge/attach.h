/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device attaches to a port: the session's effects on virtqs, workers, link
 * state and steering. This is where the control thread takes ring locks.
 */
#ifndef VIADUCT_BRIDGE_ATTACH_H
#define VIADUCT_BRIDGE_ATTACH_H

#include "bridge/state.h"

/* Opens the port's socket. 0 or -errno. */
int attach_open(struct bridge *b, struct port *p);
void attach_close(struct port *p);
/* Its configuration has changed: what the next front-end is offered. */
void attach_offer(struct port *p);

/* The port's socket and connection come from another process (endpoint_save()). 0 or -errno: see endpoint_adopt(). */
int attach_adopt(struct bridge *b, struct port *p, struct parcel *from);
/* Where its rings stand. Workers stand still. */
void attach_save_rings(struct port *p, struct parcel *to);
/* The rings of an adopted connection go on there, once workers run. Touches nothing of them. 0 or -errno. */
int attach_resume(struct port *p, struct parcel *from);

/* Recomputes link state and steering of a port from its rings and tells map, program, listeners and the guest. */
void attach_update(struct port *p);

/* Looks for rings that workers found broken, memory that is gone, call fds that hold a worker. Every tick. */
void attach_check(struct port *p, uint64_t now_ns);

/* The uplink's MTU changed: largest frame of every running ring. */
void attach_mtu_changed(struct port *p);

/* Virtio and vhost-user feature bits that a port offers; of configuration and version only. */
uint64_t attach_features(const struct port_config *cfg);
uint64_t attach_protocol_features(void);

#endif
