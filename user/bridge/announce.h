/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest has moved here: the network learns it from a frame that looks as if the guest had sent it. */
#ifndef VIADUCT_BRIDGE_ANNOUNCE_H
#define VIADUCT_BRIDGE_ANNOUNCE_H

#include "bridge/state.h"

#define ANNOUNCE_PER_SEC 10	/* of one port; QEMU sends five after a migration */

/**
 * announce_rarp() - a reverse ARP request from an address, to everybody in the port's VLAN (vhost-user, SEND_RARP)
 * @mac: the guest's; not a group address
 *
 * Out of the uplink, to the other ports, and to the forwarding table, by its rules. Those beyond ANNOUNCE_PER_SEC are
 * counted and left out. Control thread. Return: 0; -EPERM when the guest may not send from @mac, -EADDRINUSE when it is
 * the host's or another port's.
 */
int announce_rarp(struct bridge *b, struct port *p, const uint8_t mac[6]);

/*
 * A guest's port has come up. Where the uplink may be one of several devices the network may think that the guest is behind
 * another: it is told of the addresses that are known.
 */
void announce_arrival(struct bridge *b, const struct port *p);

/* The network is to learn anew where every guest is: a frame for each of their addresses, to the wire only. */
void announce_all(struct bridge *b);

#endif
