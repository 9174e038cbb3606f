/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver side of a virtqueue, split or packed (virtio 1.3, 2.7 and 2.8).
 * One thread owns it. The ring lies in memory shared with the device; the free
 * list and what was lent to the device are kept in private memory, so that a
 * device which writes nonsense can only waste its own buffers.
 *
 * Order of calls: add... -> kick; pending -> get...; before sleeping: arm (then look again).
 *
 * What the device gave back is checked and moved to a private queue by
 * dring_pending(), so that both kinds of ring, and runs of buffers that an
 * IN_ORDER device gives back with one entry, look the same to the caller.
 */
#ifndef VIADUCT_DRIVER_RING_H
#define VIADUCT_DRIVER_RING_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "base/atomics.h"

#define DRING_MAX_SIZE 32768
#define DRING_MAX_SG 36		/* pieces of one buffer: the longest frame with GSO, and a header of its own */
#define DRING_PACKED_BASE 0x80008000u	/* SET_VRING_BASE: both positions 0, both wrap counters 1 */

/* One piece of a buffer, by the address the device knows it under. */
struct dring_sg {
	uint64_t addr;
	uint32_t len;
};

/* A buffer lent to the device. Split: by its head; packed: by its buffer id. */
struct dring_slot {
	uint32_t token;		/* the caller's */
	uint32_t writable;	/* bytes the device may write */
	uint16_t ndesc;		/* descriptors of the ring that it takes; 0 = not lent */
	uint16_t next;		/* the free list; it stays as it was while lent, so it also joins a split chain */
};

/* A buffer that came back, not yet fetched by the caller. */
struct dring_done {
	uint32_t token, len;
};

struct dring {
	uint16_t size;
	bool packed, event_idx, in_order;
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *pdesc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device_event;
	};
	uint16_t *avail_event;	/* split: behind the used ring */
	void *table;		/* @table_sg descriptors per slot, NULL without INDIRECT_DESC */
	uint64_t table_addr;
	uint16_t table_sg;

	struct dring_slot *slot;	/* @size */
	uint16_t free_head;	/* slot */
	uint16_t nfree;		/* descriptors */
	uint16_t oldest;	/* IN_ORDER: the slot that comes back next */
	uint16_t next_avail;	/* split: entries written; packed: position */
	uint16_t next_used;	/* split: entries read; packed: position */
	uint16_t kicked_avail;	/* split: entries published */
	uint16_t avail_flags;	/* packed: what makes a descriptor available in this round */
	uint16_t used_flags;	/* packed: both bits of a used one in this round */
	uint16_t unkicked;	/* packed: descriptors written but not published */
	uint16_t first, first_flags;	/* packed: the first of them, whose flags are held back */
	uint16_t event_flags;	/* packed: ours as last written */

	struct dring_done *done;
	uint32_t done_mask, done_put, done_get;	/* free-running */
	int kickfd, callfd;	/* not owned; -1 = none */
	bool broken;		/* the device wrote nonsense: nothing more is read from it */

	uint64_t kicks, kicks_suppressed;
	uint64_t bad;		/* used entries that made no sense */
};

/**
 * dring_bytes() - memory that a ring of @size descriptors needs, a multiple of 64 bytes
 * @table_sg: pieces of a buffer for which indirect tables have room; 0 = no tables
 */
uint64_t dring_bytes(uint32_t size, uint32_t table_sg);

/**
 * dring_init() - lay out an empty ring
 * @r: ring; its kickfd and callfd are set to -1
 * @mem: dring_bytes() of shared memory, 64-byte aligned; zeroed here
 * @addr: the address of @mem for descriptors (guest-physical)
 * @size: descriptors, up to DRING_MAX_SIZE; split: a power of two
 * @table_sg: as for dring_bytes(), at most DRING_MAX_SG
 * @features: negotiated; RING_PACKED, EVENT_IDX, INDIRECT_DESC and IN_ORDER count here
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int dring_init(struct dring *r, void *mem, uint64_t addr, uint32_t size, uint32_t table_sg, uint64_t features);
void dring_fini(struct dring *r);

/**
 * dring_add() - lend a buffer of up to DRING_MAX_SG pieces
 * @sg: @out pieces to be read by the device, then @in pieces to be written by it
 * @token: given back by dring_get()
 *
 * Uses an indirect table when there are several pieces, the device takes them, and they fit in one.
 * Return: 0, -ENOSPC, -EINVAL (no piece, too many).
 */
int dring_add(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned in, uint32_t token);

/* Takes a slot for a buffer of @ndesc descriptors; there is room. */
static inline uint16_t dring_lend(struct dring *r, uint16_t ndesc, uint32_t writable, uint32_t token)
{
	uint16_t i = r->free_head;
	struct dring_slot *s = &r->slot[i];

	s->token = token;
	s->writable = writable;
	s->ndesc = ndesc;
	r->nfree = (uint16_t)(r->nfree - ndesc);
	r->free_head = s->next;
	return i;
}

/* Split: one descriptor that stands alone. */
static inline void dring_split_put(struct dring *r, uint64_t addr, uint32_t len, uint16_t flags, uint16_t head)
{
	r->desc[head] = (struct vring_desc){ .addr = addr, .len = len, .flags = flags };
	r->avail->ring[r->next_avail++ & (r->size - 1)] = head;
}

/*
 * Packed: the next descriptor. The flags of the first one since the last kick are held back, so the device sees
 * nothing of a batch until it is complete (2.8.21: the flags of a chain's first descriptor come last).
 */
static inline void dring_packed_put(struct dring *r, uint64_t addr, uint32_t len, uint16_t flags, uint16_t id)
{
	struct vring_packed_desc *d = &r->pdesc[r->next_avail];

	d->addr = addr;
	d->len = len;
	d->id = id;
	flags |= r->avail_flags;
	if (r->unkicked++) {
		WRITE_ONCE(d->flags, flags);
	} else {
		r->first = r->next_avail;
		r->first_flags = flags;
	}
	if (++r->next_avail == r->size) {
		r->next_avail = 0;
		r->avail_flags ^= 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
	}
}

/* dring_add() for one piece, for the data path. Return: 0 or -ENOSPC. */
static inline int dring_add_one(struct dring *r, uint64_t addr, uint32_t len, bool in, uint32_t token)
{
	uint16_t flags = in ? VRING_DESC_F_WRITE : 0, i;

	if (unlikely(!r->nfree))
		return -ENOSPC;
	i = dring_lend(r, 1, in ? len : 0, token);
	if (r->packed)
		dring_packed_put(r, addr, len, flags, i);
	else
		dring_split_put(r, addr, len, flags, i);
	return 0;
}

/**
 * dring_kick() - make what was added visible and tell the device when it asks for that
 * Return: true when the kick fd was written.
 */
bool dring_kick(struct dring *r);

/**
 * dring_pending() - look at what the device gave back
 * A buffer that was not lent, or more bytes than were lent, break the ring.
 * Return: number of buffers for dring_get(); 0 on a broken ring.
 */
unsigned dring_pending(struct dring *r);

/**
 * dring_get() - the next buffer the device gave back
 * @token, @len: its token, and how many bytes were written into it
 *
 * With IN_ORDER a device may leave out entries; such buffers count as written completely (2.7.9, 2.8.9).
 * Return: false when dring_pending() saw no more, or the ring is broken.
 */
static inline bool dring_get(struct dring *r, uint32_t *token, uint32_t *len)
{
	const struct dring_done *d = &r->done[r->done_get & r->done_mask];

	if (unlikely(r->done_get == r->done_put || r->broken))
		return false;
	r->done_get++;
	*token = d->token;
	*len = d->len;
	return true;
}

/* Asks for a call at the next used buffer. True when there is one already: do not sleep. */
bool dring_arm(struct dring *r);
/* Asks for no calls. */
void dring_disarm(struct dring *r);

#endif
