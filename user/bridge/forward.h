/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where packets that a guest sends go: to the uplink, to the host, to one of
 * the other ports, to all of them, or nowhere. Decided for a whole batch before
 * anything is copied.
 *
 * A guest can change a packet while we look at it. So the bytes that decide
 * (addresses, VLAN tag) are read once, into struct dp_fwd, and these are what
 * goes out, whatever the packet says by then.
 */
#ifndef VIADUCT_BRIDGE_FORWARD_H
#define VIADUCT_BRIDGE_FORWARD_H

#include "bridge/datapath.h"

#define FORWARD_MAX_FRAMES 8192		/* of one packet, for the purpose of counting */
#define FORWARD_HEADERS 54		/* Ethernet, IPv4, TCP */

/* A queue pair of a port as a destination. */
static inline uint16_t dp_dest(uint32_t port, uint32_t pair)
{
	return (uint16_t)(port << 7 | pair);
}

static inline uint32_t dp_dest_port(uint16_t dest)
{
	return dest >> 7;
}

static inline uint32_t dp_dest_pair(uint16_t dest)
{
	return dest & (VD_MAX_PAIRS - 1);
}

/**
 * forward_batch() - decide for the first @n packets of dp->batch, into dp->fwd
 * @tx: the ring they come from, lock held
 *
 * What may not be sent is counted, and goes to DP_TO_NOBODY. Worker.
 * Return: the destination that all of them have, or DP_TO_MANY.
 */
uint16_t forward_batch(struct datapath *dp, struct dp_tx *tx, unsigned n, uint64_t now_ns);

/**
 * forward_host() - decide for a packet that the host sends
 * @pkt: in memory of our own
 * @f: filled. Worker.
 */
void forward_host(struct datapath *dp, const struct virtq_pkt *pkt, struct dp_fwd *f);

/* Frames that a packet is, or will be cut into. What its header says is what it will be cut by. */
static inline uint32_t forward_frames(const struct virtq_pkt *p)
{
	uint32_t n;

	if (likely(p->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE || !p->hdr.gso_size))
		return 1;
	n = (p->len + p->hdr.gso_size - 1) / p->hdr.gso_size;
	return n < FORWARD_MAX_FRAMES ? n : FORWARD_MAX_FRAMES;
}

/* Counts a packet against a limit: as the frames it is cut into, each with headers. */
static inline void forward_charge(struct vd_limit *l, const struct virtq_pkt *p, uint64_t now_ns)
{
	uint32_t n = forward_frames(p);

	vd_limit_charge_many(l, p->len + (n - 1) * FORWARD_HEADERS, n, now_ns);
}

/* Reads what decides; the VLAN tag, if there is one, included. False: the tag is cut off. */
bool forward_peek(const struct virtq_pkt *pkt, struct dp_fwd *f);

/* Is there another tag behind the frame's tag? */
bool forward_tag_behind(const struct dp_fwd *f);

/**
 * forward_hides_vlan() - would the frame come to be of another VLAN at a port?
 *
 * Where its tag is taken off, and the port's guest believes tags: the one behind would be believed.
 */
static inline bool forward_hides_vlan(const struct policy *to, const struct dp_fwd *f)
{
	return unlikely(f->pin) && to->has_trunk && f->tagged && f->vlan == to->vlan && forward_tag_behind(f);
}

/**
 * forward_pair() - the queue pair on which a port gets a packet from this host
 * @p: the port, enabled
 * Worker.
 */
uint32_t forward_pair(const struct port *p, const struct virtq_pkt *pkt, const struct dp_fwd *f);

#endif
