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
/**
 * addresses_holder() - the port that has an address where a policy's VLANs are
 * @self: is not meant
 * @at: which of its addresses it is
 * Return: NULL when there is none.
 */
struct port *addresses_holder(struct bridge *b, const struct port *self, const struct policy *policy, uint64_t mac,
			      unsigned *at);
/* The host's own addresses, for the workers: as the uplink knows them now. Every tick. */
void addresses_host(struct bridge *b);
/* Forgets what has not been used for long, or is elsewhere now. Every tick. */
void addresses_age(struct bridge *b, uint64_t now_ns);
/**
 * addresses_announced() - a port's front-end says that an address is there
 *
 * Learned, or not, as if the guest had sent from it. Control thread.
 */
void addresses_announced(struct bridge *b, struct port *p, const uint8_t mac[6]);
/* Handles what the workers ask to learn. */
void addresses_learn(struct bridge *b);

/* Enters the NIC's rules for all addresses anew (--hw-steer). */
void addresses_steer(struct bridge *b);

#endif
