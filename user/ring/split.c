/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueues, device side (virtio 1.3, section 2.7): start, walk, publish,
 * notifications.
 *
 * Used entries are staged in the used ring's free slots and become visible by
 * one store of the used index. What the guest writes into used or our event
 * field is never read, but for the used index when a ring starts.
 */
#include <errno.h>

#include "ring/marks.h"
#include "ring/split.h"

static void write_flags(struct virtq *vq, uint16_t flags)
{
	WRITE_ONCE(vq->used->flags, flags);
	if (unlikely(vq->log_ring))
		mark_ring(vq, &vq->used->flags, sizeof(flags));
}

/* Asks for a kick at the next chain: 2.7.10. The event index lives behind the used ring's last element. */
static void arm(struct virtq *vq)
{
	uint16_t *avail_event = (uint16_t *)(void *)&vq->used->ring[vq->size];

	vq->notify_armed = true;
	if (!vq->event_idx) {
		write_flags(vq, 0);
		return;
	}
	WRITE_ONCE(*avail_event, vq->next_avail);
	if (unlikely(vq->log_ring))
		mark_ring(vq, avail_event, sizeof(*avail_event));
}

int split_attach(struct virtq *vq, const struct virtq_config *cfg)
{
	if (cfg->size & (cfg->size - 1))
		return -EINVAL;
	if ((uintptr_t)cfg->desc % VRING_DESC_ALIGN_SIZE || (uintptr_t)cfg->avail % VRING_AVAIL_ALIGN_SIZE ||
	    (uintptr_t)cfg->used % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	vq->desc = cfg->desc;
	vq->avail = cfg->avail;
	vq->used = cfg->used;
	return 0;
}

int split_start(struct virtq *vq, uint32_t base)
{
	uint16_t used, at = (uint16_t)base, apart;

	if (base > UINT16_MAX)
		return -EINVAL;
	used = READ_ONCE(vq->used->idx);
	/*
	 * We complete in order and publish what we took, so a base other than the used index means that
	 * somebody who served this ring before us was cut off, or that the front-end does not know the
	 * position (DPDK's virtio-user always says 0). The used index is what the guest has seen: go on from
	 * there, unless it makes no sense. At most what was in flight is repeated.
	 */
	apart = (uint16_t)(at - used);
	if (apart && (uint16_t)(READ_ONCE(vq->avail->idx) - used) <= vq->size) {
		vq->stats.repeated += apart <= vq->size ? apart : 0;
		at = used;
	}
	vq->next_avail = vq->seen_avail = at;
	vq->next_used = vq->published_used = used;
	if (vq->event_idx)	/* 2.7.10.1: the flags stay 0 then, whatever a device before us left there */
		write_flags(vq, 0);
	arm(vq);
	return 0;
}

/* How far avail and used are apart is as the front-end said when it started. */
bool split_makes_sense(const struct virtq *vq, const struct virtq_saved *s)
{
	return (uint16_t)(s->seen_avail - s->next_avail) <= vq->size &&
	       (uint16_t)(s->next_used - s->published_used) <= vq->size;
}

static enum virtq_error walk_indirect(struct virtq *vq, const struct ring_desc *d, bool write, struct walk *w);

/*
 * Follows a chain through one table of descriptors, starting with @d. In the ring's own table the last
 * one may refer to an indirect table (2.7.5.3.2), in an indirect table none may.
 */
static inline enum virtq_error walk_table(struct virtq *vq, struct ring_desc *d, const struct vring_desc *table,
					  unsigned entries, bool write, struct walk *w)
{
	for (unsigned visited = 1;; visited++) {
		enum virtq_error e;

		if (visited > entries)
			return VIRTQ_BROKEN_CHAIN;
		if (unlikely(d->flags & VRING_DESC_F_INDIRECT))
			return table == vq->desc ? walk_indirect(vq, d, write, w) : VIRTQ_BROKEN_INDIRECT;
		if (!(d->flags & VRING_DESC_F_WRITE) == write)
			return VIRTQ_BROKEN_DIRECTION;
		e = walk_add(vq, w, d->addr, d->len);
		if (e)
			return e;
		if (w->total >= w->enough || !(d->flags & VRING_DESC_F_NEXT))
			return VIRTQ_OK;
		if (d->link >= entries)
			return VIRTQ_BROKEN_CHAIN;
		++*w->walked;
		split_read(d, &table[d->link]);
	}
}

/* Not inlined: the copy of the table belongs on the stack only when there is one. */
static __attribute__((noinline)) enum virtq_error walk_indirect(struct virtq *vq, const struct ring_desc *d,
								 bool write, struct walk *w)
{
	struct indirect table;
	struct ring_desc first;
	enum virtq_error e;
	unsigned n = 0;

	e = indirect_copy(vq, d, &table, &n);
	if (e)
		return e;
	*w->walked += n;
	split_read(&first, &table.split[0]);
	return walk_table(vq, &first, table.split, n, write, w);
}

enum virtq_error split_walk(struct virtq *vq, struct ring_desc *d, bool write, struct walk *w)
{
	return walk_table(vq, d, vq->desc, vq->size, write, w);
}

bool split_publish(struct virtq *vq)
{
	uint16_t old = vq->published_used, now = vq->next_used, event;
	bool valid = vq->signalled_valid;

	store_release(&vq->used->idx, now);	/* pairs with the guest's read barrier after used->idx */
	vq->published_used = now;
	if (unlikely(vq->log_ring))
		mark_ring(vq, &vq->used->idx, sizeof(vq->used->idx));
	full_barrier();		/* our used index before our read of its event index: 2.7.7.2, 2.7.10 */
	if (!vq->event_idx)
		return !(READ_ONCE(vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	event = READ_ONCE(vq->avail->ring[vq->size]);
	vq->signalled_valid = true;
	return !valid || vring_need_event(event, now, old);
}

bool split_arm(struct virtq *vq)
{
	arm(vq);
	full_barrier();		/* our wish before our second look */
	return split_moved(vq, vq->next_avail);
}

void split_disarm(struct virtq *vq)
{
	/* With EVENT_IDX the event stays behind, so no kick comes until the next arm. */
	if (!vq->event_idx)
		write_flags(vq, VRING_USED_F_NO_NOTIFY);
	vq->notify_armed = false;
}

bool split_pending(const struct virtq *vq)
{
	uint16_t n = (uint16_t)(load_acquire(&vq->avail->idx) - vq->next_avail);

	return n && n <= vq->size;
}
