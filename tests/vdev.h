/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device's side of a driver's ring, written by hand and as simply as the
 * specification allows: it trusts the driver, and lies when a test tells it to.
 */
#ifndef VIADUCT_TESTS_VDEV_H
#define VIADUCT_TESTS_VDEV_H

#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "driver/ring.h"

#define F(bit) (1ull << (bit))
#define MODERN F(VIRTIO_F_VERSION_1)
#define PACKED F(VIRTIO_F_RING_PACKED)
#define IN_ORDER F(VIRTIO_F_IN_ORDER)
#define EVENT_IDX F(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT F(VIRTIO_RING_F_INDIRECT_DESC)
#define BASE 0x40000000ull	/* what the device calls the start of the memory */

struct vdev {
	struct dring *r;
	uint8_t *mem;		/* at BASE */
	uint16_t next_avail, next_used;	/* split: free-running; packed: position */
	bool avail_wrap, used_wrap;
};

/* A buffer as the device finds it. */
struct vdev_buf {
	uint16_t id, ndesc;	/* ring entries: split 1 */
	unsigned out, in;	/* pieces to read, pieces to write */
	struct dring_sg piece[DRING_MAX_SG];
	bool indirect;
	uint16_t at[DRING_MAX_SG];	/* split, direct: descriptors of the chain */
};

static inline void vdev_init(struct vdev *v, struct dring *r, uint8_t *mem)
{
	*v = (struct vdev){ .r = r, .mem = mem, .avail_wrap = true, .used_wrap = true };
}

static inline void *vdev_ptr(const struct vdev *v, uint64_t addr)
{
	return v->mem + (addr - BASE);
}

static inline void vdev_piece(struct vdev_buf *b, uint64_t addr, uint32_t len, uint16_t flags)
{
	bool in = flags & VRING_DESC_F_WRITE;

	assert_true(b->out + b->in < DRING_MAX_SG);
	assert_true(in || !b->in);	/* what is to be read comes first */
	b->piece[b->out + b->in] = (struct dring_sg){ addr, len };
	if (in)
		b->in++;
	else
		b->out++;
}

static inline bool vdev_take_split(struct vdev *v, struct vdev_buf *b)
{
	struct dring *r = v->r;
	struct vring_desc *table = r->desc;
	uint16_t at;

	if (v->next_avail == load_acquire(&r->avail->idx))
		return false;
	at = b->id = r->avail->ring[v->next_avail++ % r->size];
	b->ndesc = 1;
	if (table[at].flags & VRING_DESC_F_INDIRECT) {
		assert_int_equal(table[at].flags, VRING_DESC_F_INDIRECT);
		b->indirect = true;
		table = vdev_ptr(v, table[at].addr);
		at = 0;
	}
	for (;; at = table[at].next) {
		b->at[b->out + b->in] = at;
		vdev_piece(b, table[at].addr, table[at].len, table[at].flags);
		if (!(table[at].flags & VRING_DESC_F_NEXT))
			return true;
	}
}

static inline void vdev_step(struct vdev *v, uint16_t *at, bool *wrap, unsigned n)
{
	unsigned next = *at + n;

	if (next >= v->r->size) {
		next -= v->r->size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)next;
}

static inline bool vdev_take_packed(struct vdev *v, struct vdev_buf *b)
{
	for (;;) {
		struct vring_packed_desc *d = &v->r->pdesc[v->next_avail];
		uint16_t flags = load_acquire(&d->flags);
		bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1, used = flags >> VRING_PACKED_DESC_F_USED & 1;

		if (avail != v->avail_wrap || used == v->avail_wrap) {
			assert_int_equal(b->ndesc, 0);	/* a chain is there as a whole */
			return false;
		}
		if (flags & VRING_DESC_F_INDIRECT) {
			struct vring_packed_desc *table = vdev_ptr(v, d->addr);

			b->indirect = true;
			for (unsigned i = 0; i < d->len / sizeof(*table); i++)
				vdev_piece(b, table[i].addr, table[i].len, table[i].flags);
		} else {
			vdev_piece(b, d->addr, d->len, flags);
		}
		b->ndesc++;
		b->id = d->id;
		vdev_step(v, &v->next_avail, &v->avail_wrap, 1);
		if (!(flags & VRING_DESC_F_NEXT))
			return true;
	}
}

/* The next available buffer. Return: false when there is none. */
static inline bool vdev_take(struct vdev *v, struct vdev_buf *b)
{
	*b = (struct vdev_buf){ 0 };
	return v->r->packed ? vdev_take_packed(v, b) : vdev_take_split(v, b);
}

/* One used entry. It stands for @count buffers of @ndesc ring entries together: more than one needs IN_ORDER. */
static inline void vdev_give_run(struct vdev *v, uint32_t id, uint32_t len, unsigned count, unsigned ndesc)
{
	struct dring *r = v->r;

	if (r->packed) {
		struct vring_packed_desc *d = &r->pdesc[v->next_used];

		d->id = (uint16_t)id;
		d->len = len;
		store_release(&d->flags, (uint16_t)(v->used_wrap ? 1u << VRING_PACKED_DESC_F_AVAIL |
							1u << VRING_PACKED_DESC_F_USED : 0));
		vdev_step(v, &v->next_used, &v->used_wrap, ndesc);
		return;
	}
	r->used->ring[v->next_used % r->size] = (struct vring_used_elem){ id, len };
	v->next_used = (uint16_t)(v->next_used + count);
	store_release(&r->used->idx, v->next_used);
}

static inline void vdev_give(struct vdev *v, const struct vdev_buf *b, uint32_t len)
{
	vdev_give_run(v, b->id, len, 1, b->ndesc);
}

#endif
