/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a virtqueue's device enters into the dirty log, always after it was
 * written: buffers where there is a log (vq->log), the ring where the front-end
 * asked for that as well (vq->log_ring). Callers test these first; without a log
 * nothing of this is on their way. Private to user/ring.
 */
#ifndef VIADUCT_RING_MARKS_H
#define VIADUCT_RING_MARKS_H

#include "ring/position.h"

/**
 * mark_host() - guest memory was written
 * @vq: the ring, with a log; lock held
 * @p, @len: our pointer, from gmem_map(), and bytes; may go on in regions that are neighbours for us only
 */
void mark_host(const struct virtq *vq, const void *p, uint64_t len);

/**
 * mark_ring() - a part of the ring was written
 * @vq: the ring, with log_ring; lock held
 * @p, @len: the field, and bytes
 *
 * Split: in the used ring, which is logged at the address given for it (vhost-user, "Migration"). Packed: anywhere.
 * That address is the descriptors' for one back-end and the event suppression structure's for one front-end, so it is
 * not used: where the part is in guest memory is known.
 */
void mark_ring(const struct virtq *vq, const void *p, uint32_t len);

/* The used entry, or packed descriptor, at position @at was written. */
static inline void mark_entry(const struct virtq *vq, uint16_t at, const bool packed)
{
	if (packed)
		mark_ring(vq, &vq->packed_desc[packed_slot(at)], sizeof(struct vring_packed_desc));
	else
		mark_ring(vq, &vq->used->ring[split_slot(vq, at)], sizeof(struct vring_used_elem));
}

#endif
