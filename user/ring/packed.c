/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packed virtqueues, device side (virtio 1.3, section 2.8): start, walk,
 * publish, notifications.
 *
 * Descriptors and used entries share one ring. What was taken is overwritten
 * when it is given back and not before: until then the next look finds it again.
 * Between giving back and publish the descriptors of a batch are overwritten, all
 * but the flags of the first: a device that comes after us, should we end right
 * there, finds the ring standing at that one, and kept.c finishes what we began.
 */
#include <errno.h>

#include "ring/marks.h"
#include "ring/packed.h"

static void mark_event(const struct virtq *vq)
{
	if (unlikely(vq->log_ring))
		mark_ring(vq, vq->device_event, sizeof(*vq->device_event));
}

/* Asks for a kick at the next chain: 2.8.10. The driver reads the place only when the flags say so. */
static void arm(struct virtq *vq)
{
	if (vq->event_idx)
		WRITE_ONCE(vq->device_event->off_wrap, vq->next_avail);
	store_release(&vq->device_event->flags,
		      vq->event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE);
	mark_event(vq);
	vq->notify_armed = true;
}

int packed_attach(struct virtq *vq, const struct virtq_config *cfg)
{
	/* 2.8.10.1: an event suppression structure is one aligned 32-bit word */
	if ((uintptr_t)cfg->desc % VRING_DESC_ALIGN_SIZE || (uintptr_t)cfg->avail % 4 || (uintptr_t)cfg->used % 4)
		return -EINVAL;
	vq->packed_desc = cfg->desc;
	vq->driver_event = cfg->avail;
	vq->device_event = cfg->used;
	return 0;
}

int packed_start(struct virtq *vq, uint32_t base)
{
	uint16_t at = (uint16_t)base;

	if (packed_slot(at) >= vq->size)
		return -EINVAL;
	vq->next_avail = at;
	if (vq->kept && (at != PACKED_WRAP || packed_is_out_of_step(vq) || kept_in_use(vq)))
		vq->resumed = kept_resume(vq, &at);
	if (!vq->resumed)
		at = (uint16_t)base;
	vq->next_avail = vq->seen_avail = at;
	vq->next_used = vq->published_used = at;
	if (vq->resumed)
		kept_published(vq);	/* in its order: we may be killed, too */
	else if (vq->kept)
		kept_init(vq, at);
	arm(vq);
	return 0;
}

/* Everything taken was given back, but on a broken ring; there it is at most what the ring has. */
bool packed_makes_sense(const struct virtq *vq, const struct virtq_saved *s)
{
	uint32_t used, avail;

	if (packed_slot(s->next_avail) >= vq->size || packed_slot(s->seen_avail) >= vq->size ||
	    packed_slot(s->next_used) >= vq->size || packed_slot(s->published_used) >= vq->size)
		return false;
	used = packed_distance(vq, s->published_used, s->next_used);
	avail = packed_distance(vq, s->published_used, s->next_avail);
	return avail <= vq->size && used <= avail && (s->broken || !avail);
}

/*
 * 2.8.7: the table's length says how many entries there are, and of their flags only WRITE means something. In what is
 * sent not even that does: everything is for reading, and DPDK 22.11 leaves the flag on the header.
 * Not inlined: the copy of the table belongs on the stack only when there is one.
 */
static __attribute__((noinline)) enum virtq_error walk_indirect(struct virtq *vq, const struct ring_desc *d,
								 bool write, struct walk *w)
{
	struct indirect table;
	enum virtq_error e;
	unsigned n = 0;

	e = indirect_copy(vq, d, &table, &n);
	if (e)
		return e;
	*w->walked += n;
	for (unsigned i = 0; i < n && w->total < w->enough; i++) {
		if (write && !(table.packed[i].flags & VRING_DESC_F_WRITE))
			return VIRTQ_BROKEN_DIRECTION;
		e = walk_add(vq, w, table.packed[i].addr, table.packed[i].len);
		if (e)
			return e;
	}
	return VIRTQ_OK;
}

/* The buffer id is in the last descriptor (2.8.6): the walk goes there even when nothing more is needed. */
enum virtq_error packed_walk(struct virtq *vq, struct ring_desc *d, bool write, struct walk *w, struct virtq_chain *c)
{
	enum virtq_error drop = VIRTQ_OK;
	uint32_t room = packed_room(vq);
	uint16_t at = vq->next_avail;

	c->ndesc = 1;
	if (d->flags & VRING_DESC_F_INDIRECT) {
		drop = walk_indirect(vq, d, write, w);
		if (drop >= VIRTQ_FIRST_BROKEN)
			return drop;
		goto end;
	}
	for (;;) {
		if (unlikely(d->flags & VRING_DESC_F_INDIRECT))	/* 2.8.19: not in a chain */
			return VIRTQ_BROKEN_INDIRECT;
		if (!drop && w->total < w->enough) {
			if (!(d->flags & VRING_DESC_F_WRITE) == write)
				return VIRTQ_BROKEN_DIRECTION;
			drop = walk_add(vq, w, d->addr, d->len);
		}
		if (!(d->flags & VRING_DESC_F_NEXT))
			break;
		if (c->ndesc == room)
			return VIRTQ_BROKEN_CHAIN;
		c->ndesc++;
		at = packed_forward(vq, at, 1);
		++*w->walked;
		packed_read(vq, d, at);
	}
end:
	if (d->link >= vq->size)
		return VIRTQ_BROKEN_HEAD;
	c->id = d->link;
	return drop;
}

bool packed_publish(struct virtq *vq)
{
	uint16_t old = packed_slot(vq->published_used), now = packed_slot(vq->next_used), where, event;
	struct vring_packed_desc *first = &vq->packed_desc[old];
	bool valid = vq->signalled_valid;

	kept_publish(vq);
	/* Pairs with the driver's read barrier after the flags; all the others are visible before this one is. */
	store_release(&first->flags, vq->staged_flags);
	kept_published(vq);
	if (unlikely(vq->log_ring))
		mark_ring(vq, &first->flags, sizeof(first->flags));
	if ((vq->published_used ^ vq->next_used) & PACKED_WRAP)
		old -= (uint16_t)vq->size;
	vq->published_used = vq->next_used;
	vq->signalled_valid = true;
	full_barrier();		/* our used descriptors before our read of its event suppression: 2.8.10 */
	switch (load_acquire(&vq->driver_event->flags) & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		if (!vq->event_idx || !valid)
			return true;
		break;
	default:
		return true;
	}
	where = READ_ONCE(vq->driver_event->off_wrap);
	event = packed_slot(where);
	if ((where ^ vq->next_used) & PACKED_WRAP)
		event -= (uint16_t)vq->size;
	return vring_need_event(event, now, old);
}

/* In the first round of a new ring nobody has set a used flag: 2.8.1. */
bool packed_is_out_of_step(const struct virtq *vq)
{
	if (vq->next_avail != PACKED_WRAP)
		return !kept_may_be(vq, vq->next_avail);
	for (uint32_t i = 0; i < vq->size; i++)
		if (READ_ONCE(vq->packed_desc[i].flags) & PACKED_USED)
			return true;
	return false;
}

bool packed_arm(struct virtq *vq)
{
	arm(vq);
	full_barrier();		/* our wish before our second look */
	return packed_there(vq, vq->next_avail);
}

void packed_disarm(struct virtq *vq)
{
	WRITE_ONCE(vq->device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	mark_event(vq);
	vq->notify_armed = false;
}
