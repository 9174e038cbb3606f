/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: in the round of its position, a descriptor is available,
 * or used, or still the one of the round before. Behind the place where a ring
 * stands, no descriptor is used in its round: only we make them so, in order. If
 * some are, they are of a batch that was being given back when the device ended,
 * and the driver has not looked at them yet, for it waits for the first of them.
 *
 * Chains of such a batch may be half overwritten, and are not taken again: a
 * length may be that of all the chain's buffers. They are
 *
 * - the first one, which is available until all is published, and the one behind
 *   it, when no other is used;
 * - two behind the last used descriptor, for the first of them may as well be the
 *   rest of its chain, which the driver is about to get back.
 *
 * Of what is sent the length tells: it is 0 once it is overwritten.
 *
 * They go back empty, up to the end of the chain as the flags say it. In the rest
 * of a chain the driver does not look at what stands there.
 */
#include "ring/kept.h"
#include "ring/marks.h"
#include "ring/packed.h"

static uint16_t flags_at(const struct virtq *vq, uint16_t position)
{
	return load_acquire(&vq->packed_desc[packed_slot(position)].flags);
}

static uint16_t used_flags(uint16_t position)
{
	return position & PACKED_WRAP ? PACKED_AVAIL | PACKED_USED : 0;
}

static bool is_used(uint16_t flags, uint16_t position)
{
	return (flags & (PACKED_AVAIL | PACKED_USED)) == used_flags(position);
}

/*
 * Looks at @n descriptors from @from on. Return: how many there are up to the last that is used in its round, 0: none;
 * -1: before it there is one that is neither used nor available, which no device leaves behind.
 */
static int used_from(const struct virtq *vq, uint16_t from, uint32_t n)
{
	uint32_t last = 0, open = n;

	for (uint32_t i = 0; i < n; i++) {
		uint16_t at = packed_forward(vq, from, i), flags = flags_at(vq, at);

		if (is_used(flags, at))
			last = i + 1;
		else if (!packed_is_available(flags, at) && open == n)
			open = i;
	}
	return last > open ? -1 : (int)last;
}

/* The end of the available chain at @at, at most @n descriptors further, and its buffer id. False: there is none. */
static bool chain_end(const struct virtq *vq, uint16_t at, uint32_t n, uint16_t *end, uint16_t *id)
{
	for (; n; n--) {
		uint16_t flags = flags_at(vq, at);

		if (!packed_is_available(flags, at))
			return false;
		*id = READ_ONCE(vq->packed_desc[packed_slot(at)].id);
		at = packed_forward(vq, at, 1);
		*end = at;
		if (!(flags & VRING_DESC_F_NEXT))
			return *id < vq->size;
	}
	return false;
}

/* Gives the chain at @at back, empty. The @first one of all gets its flags last. False: it is none. */
static bool give_back(struct virtq *vq, uint16_t first, uint16_t at, uint16_t *end)
{
	struct vring_packed_desc *d = &vq->packed_desc[packed_slot(at)];
	uint16_t id;

	if (!chain_end(vq, at, vq->size - packed_distance(vq, first, at), end, &id))
		return false;
	WRITE_ONCE(d->id, id);
	WRITE_ONCE(d->len, 0);
	if (at != first)
		store_release(&d->flags, used_flags(at));
	if (unlikely(vq->log_ring))
		mark_entry(vq, at, true);
	vq->stats.repeated++;
	return true;
}

/* True when the available descriptor at @at may have been overwritten in part. */
static bool may_be_touched(const struct virtq *vq, uint16_t at)
{
	return vq->dir == VIRTQ_RX || !READ_ONCE(vq->packed_desc[packed_slot(at)].len);
}

/* Is there another available chain at @at? One round behind @first there is none. */
static bool more(const struct virtq *vq, uint16_t first, uint16_t at)
{
	return packed_distance(vq, first, at) < vq->size && packed_is_available(flags_at(vq, at), at);
}

/*
 * The device ended between the first store of a batch and the last but one. Finishes it, up to *@next; that may be @first,
 * when nothing was stored. False: it cannot have been so.
 */
static bool finish_staging(struct virtq *vq, uint16_t first, uint16_t *next)
{
	int n = used_from(vq, packed_forward(vq, first, 1), vq->size - 1);

	if (n < 0)
		return false;
	*next = n ? packed_forward(vq, first, (uint32_t)n + 1) : first;
	if (!n && !may_be_touched(vq, first))
		return true;
	if (more(vq, first, *next) && !give_back(vq, first, *next, next))
		return false;
	return !more(vq, first, *next) || !may_be_touched(vq, *next) || give_back(vq, first, *next, next);
}

/* The device ended when the batch up to @next was staged. Does the ring look like that? */
static bool is_staged(const struct virtq *vq, uint16_t first, uint16_t next)
{
	uint32_t n = packed_distance(vq, first, next);
	uint16_t end, id;

	if (!n || n > vq->size || used_from(vq, next, vq->size - n))
		return false;
	/* Behind the first chain comes the next one of the batch, which is used, or the end of it. */
	return chain_end(vq, first, n, &end, &id) && (end == next || is_used(flags_at(vq, end), end)) &&
	       used_from(vq, end, packed_distance(vq, end, next)) >= 0;
}

/* Shows the driver a batch that is complete but for the first chain's flags. */
static void finish_publish(const struct virtq *vq, uint16_t first, uint16_t next)
{
	struct vring_packed_desc *d = &vq->packed_desc[packed_slot(first)];

	store_release(&vq->kept->next, next);	/* should we end here, too */
	store_release(&d->flags, used_flags(first) | (READ_ONCE(d->len) ? VRING_DESC_F_WRITE : 0));
	if (unlikely(vq->log_ring))
		mark_entry(vq, first, true);
}

bool kept_in_use(const struct virtq *vq)
{
	const struct vring_packed_desc *last = &vq->packed_desc[vq->size - 1];
	uint16_t first = READ_ONCE(vq->kept->published);

	/* Drivers begin with a ring of zeroes, and fill it from the front. */
	if (!(load_acquire(&last->flags) & (PACKED_AVAIL | PACKED_USED)) && READ_ONCE(last->addr))
		return true;
	if (READ_ONCE(vq->kept->size) != (vq->size | KEPT_BUSY) || packed_slot(first) >= vq->size ||
	    !packed_is_available(flags_at(vq, first), first))
		return false;
	/* A batch was under way. It is the first, or shows: a new ring has nothing used behind what is available. */
	return first == PACKED_WRAP || used_from(vq, packed_forward(vq, first, 1), vq->size - 1) > 0;
}

bool kept_resume(struct virtq *vq, uint16_t *position)
{
	uint32_t size = READ_ONCE(vq->kept->size);
	uint16_t first = READ_ONCE(vq->kept->published), next = READ_ONCE(vq->kept->next), flags;

	if ((size & ~KEPT_BUSY) != vq->size || packed_slot(first) >= vq->size || packed_slot(next) >= vq->size)
		return false;
	*position = first;
	flags = flags_at(vq, first);
	/* A batch was begun, and the driver waits for it. */
	if (size & KEPT_BUSY && packed_is_available(flags, first)) {
		if (next == first ? !finish_staging(vq, first, &next) : !is_staged(vq, first, next))
			return false;
		if (next != first)
			finish_publish(vq, first, next);
		*position = next;
		return true;
	}
	if (!(size & KEPT_BUSY) && next != first)
		return false;
	/* Used, or used and offered again: the batch was published. */
	if (next != first && (is_used(flags, first) || packed_is_available(flags, first ^ PACKED_WRAP)))
		*position = next;
	return !used_from(vq, *position, vq->size);
}

void kept_init(const struct virtq *vq, uint16_t position)
{
	struct virtq_kept *kept = vq->kept;

	if (READ_ONCE(kept->size) == vq->size && READ_ONCE(kept->published) == position &&
	    READ_ONCE(kept->next) == position)
		return;
	/* In no moment a position of before with a size of now. */
	WRITE_ONCE(kept->size, 0);
	store_release(&kept->published, position);
	store_release(&kept->next, position);
	store_release(&kept->size, vq->size);
}
