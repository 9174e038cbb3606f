// SPDX-License-Identifier: BSD-2-Clause
/* The driver's packed ring (virtio 1.3, 2.8). */
#include <assert.h>
#include <string.h>

#include "driver/ring_kinds.h"

#define POSITION(off_wrap) ((uint16_t)((off_wrap) & ~(1u << VRING_PACKED_EVENT_F_WRAP_CTR)))
#define WRAP(off_wrap) ((off_wrap) >> VRING_PACKED_EVENT_F_WRAP_CTR & 1)
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

static_assert(sizeof(struct vring_packed_desc_event) == sizeof(uint32_t), "read in one piece");

/* In a table neither NEXT nor the id means anything: its order is what counts (2.8.8). */
void dring_packed_table(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t i)
{
	struct vring_packed_desc *table = (struct vring_packed_desc *)r->table + (size_t)i * r->table_sg;

	for (unsigned k = 0; k < n; k++)
		table[k] = (struct vring_packed_desc){ .addr = sg[k].addr, .len = sg[k].len,
						       .flags = k >= out ? VRING_DESC_F_WRITE : 0 };
}

void dring_packed_chain(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t id)
{
	for (unsigned k = 0; k < n; k++)
		dring_packed_put(r, sg[k].addr, sg[k].len,
				 (uint16_t)((k >= out ? VRING_DESC_F_WRITE : 0) | (k + 1 < n ? VRING_DESC_F_NEXT : 0)),
				 id);
}

/* Does the device ask for a kick, now that the @n descriptors before next_avail are available? (2.8.21.3.1) */
static bool kick_wanted(const struct dring *r, uint16_t n)
{
	uint32_t word = READ_ONCE(*(const uint32_t *)r->device_event);
	struct vring_packed_desc_event e;
	uint16_t at;

	memcpy(&e, &word, sizeof(e));
	if ((e.flags & 3) == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	if ((e.flags & 3) != VRING_PACKED_EVENT_FLAG_DESC || !r->event_idx)
		return true;
	at = POSITION(e.off_wrap);
	/* It names a descriptor of the round before ours. */
	if (WRAP(e.off_wrap) != !!(r->avail_flags & AVAIL))
		at = (uint16_t)(at - r->size);
	return vring_need_event(at, r->next_avail, (uint16_t)(r->next_avail - n));
}

bool dring_packed_publish(struct dring *r, bool *wanted)
{
	uint16_t n = r->unkicked;

	if (!n)
		return false;
	store_release(&r->pdesc[r->first].flags, r->first_flags);
	r->unkicked = 0;
	full_barrier();	/* our flags before our read of the device's wish */
	*wanted = kick_wanted(r, n);
	return true;
}

void dring_packed_harvest(struct dring *r)
{
	unsigned ndesc;

	for (;;) {
		struct vring_packed_desc *d = &r->pdesc[r->next_used];
		uint16_t id;
		uint32_t len;

		if ((load_acquire(&d->flags) & (AVAIL | USED)) != r->used_flags)
			return;
		id = READ_ONCE(d->id);
		len = READ_ONCE(d->len);
		if (!dring_take_back(r, id, len, r->size, &ndesc))
			return;
		/* The next one stands behind all descriptors of what came back, a run's too (2.8.9). */
		ndesc += r->next_used;
		if (ndesc >= r->size) {
			ndesc -= r->size;
			r->used_flags ^= AVAIL | USED;
		}
		r->next_used = (uint16_t)ndesc;
	}
}

void dring_packed_notify(struct dring *r, bool on)
{
	uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;

	if (on && r->event_idx) {
		unsigned wrap = !!(r->used_flags & AVAIL);

		flags = VRING_PACKED_EVENT_FLAG_DESC;
		WRITE_ONCE(r->driver_event->off_wrap,
			   (uint16_t)(r->next_used | wrap << VRING_PACKED_EVENT_F_WRAP_CTR));
	} else if (on) {
		flags = VRING_PACKED_EVENT_FLAG_ENABLE;
	}
	if (flags == r->event_flags)
		return;
	r->event_flags = flags;
	store_release(&r->driver_event->flags, flags);
}
