/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Positions in a virtqueue. Private to user/ring.
 *
 * Split: free-running, 16 bits. Packed: 16 bits as in an event suppression
 * structure, the descriptor, and the wrap counter in the highest bit. Between
 * published_used and next_avail lies what was taken and is not yet the driver's
 * again; it is never more than the ring.
 */
#ifndef VIADUCT_RING_POSITION_H
#define VIADUCT_RING_POSITION_H

#include "ring/virtq.h"

static inline uint16_t split_slot(const struct virtq *vq, uint16_t position)
{
	return position & (uint16_t)(vq->size - 1);
}

#define PACKED_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)
#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED (1u << VRING_PACKED_DESC_F_USED)
#define PACKED_MEANING (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)

static inline uint16_t packed_slot(uint16_t position)
{
	return position & (uint16_t)~PACKED_WRAP;
}

/* @n descriptors further; at most one round. */
static inline uint16_t packed_forward(const struct virtq *vq, uint16_t position, uint32_t n)
{
	uint32_t slot = packed_slot(position) + n, wrap = position & PACKED_WRAP;

	if (slot >= vq->size) {
		slot -= vq->size;
		wrap ^= PACKED_WRAP;
	}
	return (uint16_t)(slot | wrap);
}

static inline uint16_t packed_back(const struct virtq *vq, uint16_t position, uint32_t n)
{
	uint32_t slot = packed_slot(position), wrap = position & PACKED_WRAP;

	if (slot < n) {
		slot += vq->size;
		wrap ^= PACKED_WRAP;
	}
	return (uint16_t)((slot - n) | wrap);
}

/* Descriptors from one position to another, which is at most one round ahead. */
static inline uint32_t packed_distance(const struct virtq *vq, uint16_t from, uint16_t to)
{
	return (uint32_t)packed_slot(to) - packed_slot(from) + ((from ^ to) & PACKED_WRAP ? vq->size : 0);
}

/* Descriptors of the ring that we do not have. */
static inline uint32_t packed_room(const struct virtq *vq)
{
	return vq->size - packed_distance(vq, vq->published_used, vq->next_avail);
}

/* Flags as they are where the driver has made a descriptor available in the round of @position: 2.8.1. */
static inline bool packed_is_available(uint16_t flags, uint16_t position)
{
	return (flags & (PACKED_AVAIL | PACKED_USED)) == (position & PACKED_WRAP ? PACKED_AVAIL : PACKED_USED);
}

/* Flags of a descriptor that a device has used in the round of @position. */
static inline uint16_t packed_used_flags(uint16_t position)
{
	return position & PACKED_WRAP ? PACKED_AVAIL | PACKED_USED : 0;
}

/* True when a chain begins at @position, as far as one look tells. */
static inline bool packed_there(const struct virtq *vq, uint16_t position)
{
	return packed_is_available(load_acquire(&vq->packed_desc[packed_slot(position)].flags), position);
}

#endif
