/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver side of a split virtqueue (virtio 1.x, 2.7). One thread owns it.
 * The descriptors, the avail ring and the used ring lie in memory shared with
 * the device; the free list and what was lent to the device are kept in private
 * memory, so that a device which writes nonsense can only waste its own buffers.
 *
 * Order of calls: add... -> kick; get...; before sleeping: arm (then look again).
 */
#ifndef VIADUCT_DRIVER_RING_H
#define VIADUCT_DRIVER_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "base/atomics.h"

#define DRING_MAX_SIZE 32768
#define DRING_MAX_SG 16		/* pieces of one buffer */
#define DRING_NONE UINT16_MAX

/* One piece of a buffer, by the address the device knows it under. */
struct dring_sg {
	uint64_t addr;
	uint32_t len;
};

/* A chain lent to the device, by its head. */
struct dring_slot {
	uint32_t token;		/* the caller's */
	uint32_t writable;	/* bytes the device may write */
	uint16_t ndesc;		/* descriptors taken from the free list; 0 = not lent */
	uint16_t next;		/* free list, and the rest of a chain */
};

struct dring {
	uint16_t size;
	bool event_idx;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t *avail_event;	/* behind the used ring */
	struct vring_desc *table;	/* DRING_MAX_SG entries per descriptor, NULL without INDIRECT_DESC */
	uint64_t table_addr;

	struct dring_slot *slot;	/* per descriptor */
	uint16_t free_head, nfree;
	uint16_t next_avail;	/* entries written */
	uint16_t kicked_avail;	/* entries published */
	uint16_t next_used;	/* entries read */
	int kickfd, callfd;	/* not owned; -1 = none */
	bool broken;		/* the device wrote nonsense: nothing more is read from it */

	uint64_t kicks, kicks_suppressed;
	uint64_t bad;		/* used entries that made no sense */
};

/**
 * dring_bytes() - memory that a ring of @size descriptors needs, a multiple of 64 bytes
 * @indirect: with room for indirect tables
 */
uint64_t dring_bytes(uint32_t size, bool indirect);

/**
 * dring_init() - lay out an empty ring
 * @r: ring; its kickfd and callfd are set to -1
 * @mem: dring_bytes() of shared memory, 64-byte aligned; zeroed here
 * @addr: the address of @mem for descriptors (guest-physical)
 * @size: descriptors, a power of two up to DRING_MAX_SIZE
 * @features: negotiated; EVENT_IDX and INDIRECT_DESC count here
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int dring_init(struct dring *r, void *mem, uint64_t addr, uint32_t size, uint64_t features);
void dring_fini(struct dring *r);

/**
 * dring_add() - lend a buffer of up to DRING_MAX_SG pieces
 * @sg: @out pieces to be read by the device, then @in pieces to be written by it
 * @token: given back by dring_get()
 *
 * Uses an indirect table when there are several pieces and the device takes them.
 * Return: 0, -ENOSPC, -EINVAL (no piece, too many).
 */
int dring_add(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned in, uint32_t token);

/* The same for one piece, for the data path. */
static inline int dring_add_one(struct dring *r, uint64_t addr, uint32_t len, bool in, uint32_t token)
{
	uint16_t head = r->free_head;
	struct vring_desc *d = &r->desc[head];
	struct dring_slot *s = &r->slot[head];

	if (unlikely(!r->nfree))
		return -1;
	r->nfree--;
	r->free_head = s->next;
	*s = (struct dring_slot){ .token = token, .writable = in ? len : 0, .ndesc = 1, .next = DRING_NONE };
	d->addr = addr;
	d->len = len;
	d->flags = in ? VRING_DESC_F_WRITE : 0;
	d->next = 0;
	r->avail->ring[r->next_avail++ & (r->size - 1)] = head;
	return 0;
}

/**
 * dring_kick() - make what was added visible and tell the device when it asks for that
 * Return: true when the kick fd was written.
 */
bool dring_kick(struct dring *r);

/* Used entries that wait; 0 on a broken ring. */
unsigned dring_pending(struct dring *r);

/* Takes entry @head of @len bytes back. False when it makes no sense (ring broken then). */
bool dring_take(struct dring *r, uint32_t head, uint32_t len, uint32_t *token);

/**
 * dring_get() - the next buffer the device gave back
 * @token, @len: its token, and how many bytes were written into it
 *
 * Caller has called dring_pending() and takes no more than that.
 * Return: false when there is none, or the ring is broken.
 */
static inline bool dring_get(struct dring *r, uint32_t *token, uint32_t *len)
{
	const struct vring_used_elem *e = &r->used->ring[r->next_used & (r->size - 1)];
	uint32_t head = READ_ONCE(e->id);
	struct dring_slot *s;

	*len = READ_ONCE(e->len);
	if (unlikely(head >= r->size || r->slot[head].ndesc != 1 || *len > r->slot[head].writable))
		return dring_take(r, head, *len, token);
	s = &r->slot[head];
	*token = s->token;
	s->ndesc = 0;
	s->next = r->free_head;
	r->free_head = (uint16_t)head;
	r->nfree++;
	r->next_used++;
	return true;
}

/* Asks for a call at the next used entry. True when there is one already: do not sleep. */
bool dring_arm(struct dring *r);
/* Asks for no calls. */
void dring_disarm(struct dring *r);

#endif
