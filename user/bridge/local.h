/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * To a guest from somewhere on this host: another guest, or the host itself.
 * One copy, from the sender's buffer into the receiver's, header and all: what
 * one guest left its device to finish (a checksum, segmentation), another that
 * has agreed to takes as it is. For one that has not, it is finished here.
 */
#ifndef VIADUCT_BRIDGE_LOCAL_H
#define VIADUCT_BRIDGE_LOCAL_H

#include "bridge/datapath.h"

/* Packets and what was decided for them; @index says which of them, in order. */
struct local_batch {
	const struct virtq_pkt *pkt;
	const struct dp_fwd *fwd;
	const uint8_t *index;
	unsigned n;
};

/**
 * local_deliver() - to one queue pair of a port
 * @dest: a queue pair, as dp_dest() says it
 * @b: packets, at most VIRTQ_BATCH
 *
 * Counts at the receiver what it cannot have (ring not running, limit). A packet whose header is not true of it is
 * marked as dropped in its chain. Worker; takes the receiver's lock, for this one batch.
 * Return: packets that are done with, from the first on; fewer than there are: it has no buffers, or its lock is taken.
 */
unsigned local_deliver(struct datapath *dp, uint16_t dest, const struct local_batch *b, uint64_t now_ns);

/* Packets that a port cannot have after all. Counts at the receiver. Worker. */
void local_drop(struct datapath *dp, uint16_t dest, unsigned n);

/**
 * local_to_all() - to every port of the packet's VLAN
 * @pkt: in memory of our own
 * @from: port that sent it, VD_PORT_NONE: none of ours; it does not get it back
 *
 * Ports that are isolated only get what came from the wire (@wire). Counts at each receiver what it cannot have.
 * Worker. Return: ports that got it.
 */
unsigned local_to_all(struct datapath *dp, const struct virtq_pkt *pkt, const struct dp_fwd *f, uint32_t from, bool wire,
		      uint64_t now_ns);

/**
 * local_to_host() - to the host, through its port
 * Worker. Counts at @from what could not be handed over. Return: false when its header is not true of it.
 */
bool local_to_host(struct datapath *dp, struct dp_port *from, const struct virtq_pkt *pkt, const struct dp_fwd *f);

/**
 * local_from_wire() - hand one frame from the wire to all ports of its VLAN (broadcast, multicast)
 * Worker. Return: number of ports that got it.
 */
unsigned local_from_wire(struct datapath *dp, const uint8_t *frame, uint32_t len, uint64_t now_ns);

#endif
