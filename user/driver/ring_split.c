// SPDX-License-Identifier: BSD-2-Clause
/* The driver's split ring (virtio 1.3, 2.7). */
#include <stddef.h>

#include "driver/ring_kinds.h"

static struct vring_desc describe(const struct dring_sg *sg, unsigned i, unsigned out, unsigned n, unsigned next)
{
	return (struct vring_desc){
		.addr = sg[i].addr,
		.len = sg[i].len,
		.flags = (uint16_t)((i >= out ? VRING_DESC_F_WRITE : 0) | (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
		.next = (uint16_t)(i + 1 < n ? next : 0),
	};
}

void dring_split_table(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t i)
{
	struct vring_desc *table = (struct vring_desc *)r->table + (size_t)i * r->table_sg;

	for (unsigned k = 0; k < n; k++)
		table[k] = describe(sg, k, out, n, k + 1);
}

/* The slots of a chain are those that follow its head in the free list. */
void dring_split_chain(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t head)
{
	uint16_t at = head;

	for (unsigned k = 0; k < n; k++) {
		uint16_t next = r->slot[at].next;

		r->desc[at] = describe(sg, k, out, n, next);
		at = next;
	}
	r->free_head = at;
	r->avail->ring[r->next_avail++ & (r->size - 1)] = head;
}

bool dring_split_publish(struct dring *r, bool *wanted)
{
	uint16_t old = r->kicked_avail, now = r->next_avail;

	if (old == now)
		return false;
	store_release(&r->avail->idx, now);
	r->kicked_avail = now;
	full_barrier();	/* our avail index before our read of the device's wish: 2.7.13.4 */
	if (r->event_idx)
		*wanted = vring_need_event(READ_ONCE(*r->avail_event), now, old);
	else
		*wanted = !(READ_ONCE(r->used->flags) & VRING_USED_F_NO_NOTIFY);
	return true;
}

void dring_split_harvest(struct dring *r)
{
	uint16_t n = (uint16_t)(load_acquire(&r->used->idx) - r->next_used);
	unsigned ndesc;

	/* More than was ever lent: the device's index is nonsense. */
	if (n > r->size - r->nfree) {
		dring_nonsense(r);
		return;
	}
	while (n) {
		const struct vring_used_elem *e = &r->used->ring[r->next_used & (r->size - 1)];
		uint32_t id = READ_ONCE(e->id), len = READ_ONCE(e->len);
		unsigned got = dring_take_back(r, id, len, n, &ndesc);

		if (!got)
			return;
		/* An entry for a run stands where the run's first one would (2.7.9). */
		r->next_used = (uint16_t)(r->next_used + got);
		n = (uint16_t)(n - got);
	}
}

void dring_split_notify(struct dring *r, bool on)
{
	if (!r->event_idx)
		WRITE_ONCE(r->avail->flags, on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
	else if (on)	/* off: the event index stays behind, so no call comes before the next arm */
		WRITE_ONCE(r->avail->ring[r->size], r->next_used);
}
