/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packed virtqueues, device side (virtio 1.3, section 2.8): the steps that the
 * passes of tx.c and rx.c take on a ring of this kind. Private to user/ring:
 * callers use virtq.h, which has the contracts.
 */
#ifndef VIADUCT_RING_PACKED_H
#define VIADUCT_RING_PACKED_H

#include "ring/chain.h"
#include "ring/kept.h"
#include "ring/position.h"

/* Reads a descriptor at @position. False: it is not available (behind the first of a chain that means nothing). */
static inline bool packed_read(const struct virtq *vq, struct ring_desc *to, uint16_t position)
{
	const struct vring_packed_desc *from = &vq->packed_desc[packed_slot(position)];
	uint16_t flags = load_acquire(&from->flags);	/* the driver writes them last */

	to->addr = READ_ONCE(from->addr);
	to->len = READ_ONCE(from->len);
	to->link = READ_ONCE(from->id);
	to->flags = flags & PACKED_MEANING;
	if (!packed_is_available(flags, position))
		return false;
	if (!(position & 3))	/* a line has four; it is to be written when they are given back */
		prefetch_write(from);
	return true;
}

/*
 * Stages one used descriptor where its chain began: we complete in order. Only its flags tell the driver that
 * it is there, and the driver looks at one place at a time, so the flags of the first one wait for publish.
 * Return: the position behind the chain.
 */
static inline uint16_t packed_stage(struct virtq *vq, uint16_t at, uint16_t id, uint16_t ndesc, uint32_t len)
{
	struct vring_packed_desc *d = &vq->packed_desc[packed_slot(at)];
	uint16_t flags = packed_used_flags(at) | (len ? VRING_DESC_F_WRITE : 0);
	const bool first = at == vq->published_used;

	if (unlikely(first))
		kept_begin(vq);
	WRITE_ONCE(d->id, id);
	WRITE_ONCE(d->len, len);
	if (unlikely(first))
		vq->staged_flags = flags;
	else
		store_release(&d->flags, flags);	/* kept.c: last of the three */
	return packed_forward(vq, at, ndesc);
}

/**
 * packed_walk() - the whole chain that begins at next_avail
 * @vq: the ring; lock held, packed_room() is not 0
 * @d: its first descriptor; clobbered
 * @write: direction
 * @w: up to w->enough bytes of it
 * @c: id and ndesc are filled in, also when the packet is to be dropped
 *
 * Return: VIRTQ_OK, or why the packet is dropped or the ring is broken.
 */
enum virtq_error packed_walk(struct virtq *vq, struct ring_desc *d, bool write, struct walk *w, struct virtq_chain *c);

/* What virtq.h says of the functions with these names. */
int packed_attach(struct virtq *vq, const struct virtq_config *cfg);
int packed_start(struct virtq *vq, uint32_t base);
/* Are these positions of such a ring? */
bool packed_makes_sense(const struct virtq *vq, const struct virtq_saved *s);
/* Makes staged entries visible; true when the guest wants a call. */
bool packed_publish(struct virtq *vq);
bool packed_arm(struct virtq *vq);
void packed_disarm(struct virtq *vq);
bool packed_is_out_of_step(const struct virtq *vq);

#endif
