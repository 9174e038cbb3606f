/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What chains of split and packed virtqueues have in common: descriptors in a
 * copy of our own, the walk that turns them into pieces of our memory, indirect
 * tables. Private to user/ring.
 */
#ifndef VIADUCT_RING_CHAIN_H
#define VIADUCT_RING_CHAIN_H

#include "ring/virtq.h"

#define INDIRECT_MAX 1024	/* entries of an indirect table; Linux makes them longer than a small ring */
/*
 * Descriptors beyond the first of each chain that one batch looks at; empty ones cost time too. The packet
 * that passes the limit is finished, so a batch is bounded by twice this, twice the ring's size
 * and two indirect tables.
 */
#define WALK_MAX 4096

/* Our copy of a descriptor. Both kinds have 16 bytes. */
struct ring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;		/* NEXT, WRITE, INDIRECT; split: whatever the guest wrote */
	uint16_t link;		/* split: the next descriptor; packed: the buffer id */
};

/* Our copy of an indirect table, as the guest wrote it. */
struct indirect {
	union {
		struct vring_desc split[INDIRECT_MAX];
		struct vring_packed_desc packed[INDIRECT_MAX];
	};
};

/* Where a walk puts what it finds. */
struct walk {
	struct iovec *iov;
	int max, n;
	uint64_t total;		/* bytes found */
	uint64_t enough;	/* look for no more pieces once this many are found */
	unsigned *walked;	/* counts the descriptors looked at behind the first of a chain */
};

static inline void break_ring(struct virtq *vq, enum virtq_error why)
{
	if (vq->broken)
		return;
	vq->stats.errors[why]++;
	WRITE_ONCE(vq->broken, why);
}

/**
 * walk_add() - enter the buffer of one descriptor
 * @vq: the ring; lock held
 * @w: the walk
 * @addr, @len: guest-physical span, hostile; nothing is at the address of an empty one
 *
 * Return: VIRTQ_OK, VIRTQ_DROP_ADDRESS or VIRTQ_DROP_PIECES.
 */
enum virtq_error walk_add(struct virtq *vq, struct walk *w, uint64_t addr, uint32_t len);

/**
 * indirect_copy() - copy an indirect table, so that it is looked at once
 * @vq: the ring; lock held
 * @d: the descriptor that refers to it
 * @table: as much of it is filled as there are entries
 * @n: number of entries
 *
 * virtio 1.3, 2.7.5.3 and 2.8.7. Longer than the ring it may be, as Linux makes it so, up to INDIRECT_MAX.
 * Return: VIRTQ_OK, VIRTQ_BROKEN_INDIRECT or VIRTQ_DROP_PIECES.
 */
enum virtq_error indirect_copy(struct virtq *vq, const struct ring_desc *d, struct indirect *table, unsigned *n);

#endif
