// SPDX-License-Identifier: BSD-2-Clause
/*
 * Buffers that the device gives back, for both kinds of rings: they are checked
 * against what was lent and wait in a private queue for the caller.
 */
#include "driver/ring_kinds.h"

unsigned dring_nonsense(struct dring *r)
{
	r->broken = true;
	r->bad++;
	return 0;
}

/* The slot after @i in order: split slots are descriptors, a packed ring's are buffer ids. */
static uint16_t in_order_next(const struct dring *r, uint16_t i)
{
	uint32_t next = i + (r->packed ? 1u : r->slot[i].ndesc);

	return (uint16_t)(next < r->size ? next : next - r->size);
}

static void free_slot(struct dring *r, uint16_t i)
{
	struct dring_slot *s = &r->slot[i];
	uint16_t last = i;

	r->nfree = (uint16_t)(r->nfree + s->ndesc);
	if (!r->in_order) {
		for (uint16_t k = 1; k < s->ndesc && !r->packed; k++)
			last = r->slot[last].next;
		r->slot[last].next = r->free_head;
		r->free_head = i;
	}
	s->ndesc = 0;
}

static void queue_done(struct dring *r, uint16_t i, uint32_t len)
{
	r->done[r->done_put++ & r->done_mask] = (struct dring_done){ r->slot[i].token, len };
	free_slot(r, i);
}

/* How many buffers come back with slot @id: all from the oldest one to it. */
static unsigned run_length(const struct dring *r, uint16_t id)
{
	unsigned n = 1;

	for (uint16_t i = r->oldest; i != id; i = in_order_next(r, i))
		n++;
	return n;
}

unsigned dring_take_back(struct dring *r, uint32_t id, uint32_t len, unsigned max, unsigned *ndesc)
{
	uint32_t room = r->done_mask + 1 - (r->done_put - r->done_get);
	unsigned n, before = r->nfree;
	const struct dring_slot *s;

	if (id >= r->size || !r->slot[id].ndesc)
		return dring_nonsense(r);
	s = &r->slot[id];
	if (s->writable && len > s->writable)	/* the length of a buffer for reading means nothing */
		return dring_nonsense(r);
	n = r->in_order ? run_length(r, (uint16_t)id) : 1;
	if (n > max)
		return dring_nonsense(r);
	if (n > room)
		return 0;
	for (unsigned k = 1; k < n; k++) {
		uint16_t i = r->oldest;

		r->oldest = in_order_next(r, i);
		queue_done(r, i, r->slot[i].writable);
	}
	if (r->in_order)
		r->oldest = in_order_next(r, (uint16_t)id);
	queue_done(r, (uint16_t)id, len);
	*ndesc = r->nfree - before;
	return n;
}
