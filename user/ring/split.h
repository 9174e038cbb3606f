/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueues, device side (virtio 1.3, section 2.7): the steps that the
 * passes of tx.c and rx.c take on a ring of this kind. Private to user/ring:
 * callers use virtq.h, which has the contracts.
 */
#ifndef VIADUCT_RING_SPLIT_H
#define VIADUCT_RING_SPLIT_H

#include "ring/chain.h"
#include "ring/position.h"

static inline void split_read(struct ring_desc *to, const struct vring_desc *from)
{
	to->addr = READ_ONCE(from->addr);
	to->len = READ_ONCE(from->len);
	to->flags = READ_ONCE(from->flags);
	to->link = READ_ONCE(from->next);
}

/* How many chains are there to take. Breaks the ring when the index is absurd. */
static inline unsigned split_available(struct virtq *vq)
{
	uint16_t n = (uint16_t)(vq->seen_avail - vq->next_avail);

	if (n >= VIRTQ_BATCH)
		return n;
	vq->seen_avail = load_acquire(&vq->avail->idx);
	n = (uint16_t)(vq->seen_avail - vq->next_avail);
	if (unlikely(n > vq->size)) {
		vq->seen_avail = vq->next_avail;
		break_ring(vq, VIRTQ_BROKEN_AVAIL);
		return 0;
	}
	return n;
}

/* Reads up to @max heads. A bad one breaks the ring; those before it count. */
static inline unsigned split_heads(struct virtq *vq, uint16_t *head, unsigned max)
{
	unsigned n = split_available(vq);

	if (n > max)
		n = max;
	for (unsigned i = 0; i < n; i++) {
		if (!(i & 7))	/* a line has eight used entries */
			prefetch_write(&vq->used->ring[split_slot(vq, (uint16_t)(vq->next_used + i))]);
		head[i] = READ_ONCE(vq->avail->ring[split_slot(vq, (uint16_t)(vq->next_avail + i))]);
		if (unlikely(head[i] >= vq->size)) {
			break_ring(vq, VIRTQ_BROKEN_HEAD);
			return i;
		}
		__builtin_prefetch(&vq->desc[head[i]]);
	}
	return n;
}

/* Stages one used element in the used ring's free slots. Return: the position behind it. */
static inline uint16_t split_stage(struct virtq *vq, uint16_t at, uint16_t head, uint32_t len)
{
	struct vring_used_elem *e = &vq->used->ring[split_slot(vq, at)];

	WRITE_ONCE(e->id, head);
	WRITE_ONCE(e->len, len);
	return (uint16_t)(at + 1);
}

/* True when the driver has moved its index from @seen. */
static inline bool split_moved(const struct virtq *vq, uint16_t seen)
{
	return load_acquire(&vq->avail->idx) != seen;
}

/* The whole chain that begins with @d, direct or indirect; up to w->enough bytes of it. */
enum virtq_error split_walk(struct virtq *vq, struct ring_desc *d, bool write, struct walk *w);

/* What virtq.h says of the functions with these names. */
int split_attach(struct virtq *vq, const struct virtq_config *cfg);
int split_start(struct virtq *vq, uint32_t base);
/* Are these positions of such a ring? */
bool split_makes_sense(const struct virtq *vq, const struct virtq_saved *s);
/* Makes staged entries visible; true when the guest wants a call. */
bool split_publish(struct virtq *vq);
bool split_arm(struct virtq *vq);
void split_disarm(struct virtq *vq);
bool split_pending(const struct virtq *vq);

#endif
