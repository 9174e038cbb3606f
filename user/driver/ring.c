/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/ring.h"

#define ALIGN64(x) (((x) + 63) & ~63ull)

static uint64_t avail_offset(uint64_t size)
{
	return ALIGN64(size * sizeof(struct vring_desc));
}

static uint64_t used_offset(uint64_t size)
{
	return avail_offset(size) + ALIGN64(6 + 2 * size);
}

static uint64_t table_offset(uint64_t size)
{
	return used_offset(size) + ALIGN64(6 + 8 * size);
}

uint64_t dring_bytes(uint32_t size, bool indirect)
{
	return table_offset(size) + (indirect ? sizeof(struct vring_desc) * DRING_MAX_SG * (uint64_t)size : 0);
}

int dring_init(struct dring *r, void *mem, uint64_t addr, uint32_t size, uint64_t features)
{
	bool indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	uint8_t *p = mem;

	if (!size || size > DRING_MAX_SIZE || size & (size - 1))
		return -EINVAL;
	*r = (struct dring){
		.size = (uint16_t)size,
		.event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1,
		.desc = mem,
		.avail = (void *)(p + avail_offset(size)),
		.used = (void *)(p + used_offset(size)),
		.avail_event = (void *)(p + used_offset(size) + 4 + 8 * (uint64_t)size),
		.table = indirect ? (void *)(p + table_offset(size)) : NULL,
		.table_addr = addr + table_offset(size),
		.nfree = (uint16_t)size,
		.kickfd = -1,
		.callfd = -1,
	};
	memset(mem, 0, table_offset(size));
	r->slot = calloc(size, sizeof(*r->slot));
	if (!r->slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++)
		r->slot[i].next = (uint16_t)(i + 1);
	return 0;
}

void dring_fini(struct dring *r)
{
	free(r->slot);
	*r = (struct dring){ .kickfd = -1, .callfd = -1 };
}

static uint16_t take_free(struct dring *r)
{
	uint16_t i = r->free_head;

	r->free_head = r->slot[i].next;
	r->nfree--;
	return i;
}

/* One chain of descriptors in @table; indexes come from the free list, or count up in an indirect table. */
static uint16_t write_chain(struct dring *r, struct vring_desc *table, const struct dring_sg *sg, unsigned out,
			    unsigned n)
{
	bool direct = table == r->desc;
	uint16_t at = direct ? take_free(r) : 0, head = at;

	for (unsigned i = 0; i < n; i++) {
		uint16_t next = i + 1 == n ? 0 : direct ? take_free(r) : (uint16_t)(at + 1);

		table[at] = (struct vring_desc){
			.addr = sg[i].addr,
			.len = sg[i].len,
			.flags = (uint16_t)((i >= out ? VRING_DESC_F_WRITE : 0) | (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
			.next = next,
		};
		if (direct)
			r->slot[at].next = i + 1 < n ? next : DRING_NONE;
		at = next;
	}
	return head;
}

int dring_add(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned in, uint32_t token)
{
	unsigned n = out + in;
	bool indirect = r->table && n > 1;
	uint64_t writable = 0;
	uint16_t head;

	if (!n || n > DRING_MAX_SG)
		return -EINVAL;
	if (r->nfree < (indirect ? 1 : n))
		return -ENOSPC;
	for (unsigned i = out; i < n; i++)
		writable += sg[i].len;
	if (indirect) {
		uint32_t first;

		head = take_free(r);
		first = head * DRING_MAX_SG;
		write_chain(r, r->table + first, sg, out, n);
		r->desc[head] = (struct vring_desc){
			.addr = r->table_addr + first * sizeof(struct vring_desc),
			.len = (uint32_t)(n * sizeof(struct vring_desc)),
			.flags = VRING_DESC_F_INDIRECT,
		};
		r->slot[head].next = DRING_NONE;
	} else {
		head = write_chain(r, r->desc, sg, out, n);
	}
	r->slot[head].token = token;
	r->slot[head].writable = writable > UINT32_MAX ? UINT32_MAX : (uint32_t)writable;
	r->slot[head].ndesc = (uint16_t)(indirect ? 1 : n);
	r->avail->ring[r->next_avail++ & (r->size - 1)] = head;
	return 0;
}

bool dring_kick(struct dring *r)
{
	uint16_t old = r->kicked_avail, now = r->next_avail;
	uint64_t one = 1;
	bool wanted;

	if (old == now)
		return false;
	store_release(&r->avail->idx, now);
	r->kicked_avail = now;
	full_barrier();	/* our avail index before our read of the device's wish: 2.7.13.4 */
	if (r->event_idx)
		wanted = vring_need_event(READ_ONCE(*r->avail_event), now, old);
	else
		wanted = !(READ_ONCE(r->used->flags) & VRING_USED_F_NO_NOTIFY);
	if (!wanted || r->kickfd < 0) {
		r->kicks_suppressed++;
		return false;
	}
	if (write(r->kickfd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		return false;	/* non-blocking and full: the kick is there already */
	r->kicks++;
	return true;
}

unsigned dring_pending(struct dring *r)
{
	uint16_t n = (uint16_t)(load_acquire(&r->used->idx) - r->next_used);

	if (r->broken || !n)
		return 0;
	/* More than was ever lent: the device's index is nonsense. */
	if (n > r->size - r->nfree) {
		r->broken = true;
		r->bad++;
		return 0;
	}
	return n;
}

bool dring_take(struct dring *r, uint32_t head, uint32_t len, uint32_t *token)
{
	struct dring_slot *s;
	uint16_t last;

	if (r->broken || head >= r->size || !r->slot[head].ndesc ||
	    (r->slot[head].writable && len > r->slot[head].writable)) {	/* the length of a read buffer means nothing */
		r->broken = true;
		r->bad++;
		return false;
	}
	s = &r->slot[head];
	*token = s->token;
	r->nfree = (uint16_t)(r->nfree + s->ndesc);
	s->ndesc = 0;
	for (last = (uint16_t)head; r->slot[last].next != DRING_NONE;)
		last = r->slot[last].next;
	r->slot[last].next = r->free_head;
	r->free_head = (uint16_t)head;
	r->next_used++;
	return true;
}

bool dring_arm(struct dring *r)
{
	if (r->event_idx)
		WRITE_ONCE(r->avail->ring[r->size], r->next_used);
	else
		WRITE_ONCE(r->avail->flags, 0);
	full_barrier();	/* our wish before our second look */
	return dring_pending(r) > 0;
}

void dring_disarm(struct dring *r)
{
	/* With EVENT_IDX the event index stays behind, so no call comes before the next arm. */
	if (!r->event_idx)
		WRITE_ONCE(r->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

_Static_assert(DRING_NONE > DRING_MAX_SIZE, "no descriptor has this number");
