/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses of ports, control side: configured and learned MACs go into the
 * workers' table, the pinned fdb map and the NIC's receive filter together, and
 * leave together.
 */
#ifndef VIADUCT_BRIDGE_ADDRESSES_H
#define VIADUCT_BRIDGE_ADDRESSES_H

#include "bridge/state.h"

/* Enters a port's configured address. 0 or -errno. */
int addresses_open(struct bridge *b, struct port *p);
/* Takes all addresses of a port out again. */
void addresses_close(struct bridge *b, struct port *p);
/* Handles what the workers ask to learn. */
/* The host's own addresses, for the workers: as the uplink knows them now. Every tick. */
void addresses_host(struct bridge *b);
/* Forgets what has not been used for long, or is elsewhere now. Every tick. */
void addresses_age(struct bridge *b, uint64_t now_ns);
void addresses_learn(struct bridge *b);

#endif
