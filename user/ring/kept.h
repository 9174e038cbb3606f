/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a packed ring stands, kept where it outlives the process (virtq.h,
 * struct virtq_kept), and going on from there. Private to user/ring.
 *
 * A device can be killed at any instruction, so the order of its stores is all
 * there is. Giving a batch back, it stores
 *
 *	size | BUSY					kept_begin()
 *	id and length of the first chain; id, length and flags of the others
 *	next						kept_publish()
 *	flags of the first chain: now the driver sees the batch
 *	published, then size				kept_published()
 *
 * The processor may not let others see them in this order, but for the release
 * stores; what a dead thread has stored they see all of. So the compiler's order
 * is enough.
 */
#ifndef VIADUCT_RING_KEPT_H
#define VIADUCT_RING_KEPT_H

#include "ring/virtq.h"

/* In virtq_kept.size: what lies behind published may be half given back. */
#define KEPT_BUSY (1u << 31)
/* And there: a front-end was told this position, or the ring was reset since. */
#define KEPT_TOLD (1u << 30)

/* Before the first store of a batch into the ring. */
static inline void kept_begin(const struct virtq *vq)
{
	if (!vq->kept)
		return;
	WRITE_ONCE(vq->kept->size, vq->size | KEPT_BUSY);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* After the last one but for the first chain's flags; those are stored with release. */
static inline void kept_publish(const struct virtq *vq)
{
	if (vq->kept)
		store_release(&vq->kept->next, vq->next_used);
}

/* After those. */
static inline void kept_published(const struct virtq *vq)
{
	if (!vq->kept)
		return;
	store_release(&vq->kept->published, vq->next_used);
	store_release(&vq->kept->size, vq->size);
}

/*
 * Has a ring been used, although no descriptor says so? With counters at 1 again there may be nothing left of the round
 * before but descriptors that look as in a new ring, and the rest of a chain that looks as if it were available. One case
 * cannot be told: that rest in front, and the driver has offered all that is behind it. It is taken for a new ring.
 */
bool kept_in_use(const struct virtq *vq);

/* Can the ring stand at @position? Its descriptor is not used in its round, and the one before is not left from the last. */
bool kept_may_be(const struct virtq *vq, uint16_t position);

/* Enters a position that is not the one that was kept. */
void kept_init(const struct virtq *vq, uint16_t position);

/**
 * kept_resume() - finish what a device before us had begun, and find where the ring stands
 * @vq: packed, attached, with an entry; lock held; not a new ring
 * @position: as the front-end says it; replaced
 *
 * The entry is not believed where the ring says something else, nor where the front-end was told it and what it says now
 * can be true. What was staged and not published is published; chains that may be half overwritten, two at most, are given
 * back empty and counted in stats.repeated. So are chains that others left out, in stats.unserved.
 * Return: true when there is such a position; false: what the front-end says is all there is.
 */
bool kept_resume(struct virtq *vq, uint16_t *position);

#endif
