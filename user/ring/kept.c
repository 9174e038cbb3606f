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
 *
 * A front-end without a back-end may take what is sent out of the ring itself, from
 * where it believes the ring to be: QEMU does. Then descriptors ahead of the place
 * where the ring stands are used by somebody else, in order, and the driver does not
 * come to them before it has those up to there. So all between goes back empty, and
 * the ring goes on behind the last of them.
 *
 * Such a front-end tells a position that is wrong, as does one that tells what it was
 * told once. Where every chain is one descriptor, the ring says where it stands: the
 * descriptor before that place was passed, and the one there was not. Then a position
 * can be tested. Where there are longer chains, the rest of one looks like before.
 */
#include "ring/kept.h"
#include "ring/marks.h"
#include "ring/position.h"

static uint16_t flags_at(const struct virtq *vq, uint16_t position)
{
	return load_acquire(&vq->packed_desc[packed_slot(position)].flags);
}

static bool is_used(uint16_t flags, uint16_t position)
{
	return (flags & (PACKED_AVAIL | PACKED_USED)) == packed_used_flags(position);
}

/* Has a device been past @position? Then its descriptor is used in its round, or is offered again in the next one. */
static bool is_passed(uint16_t flags, uint16_t position)
{
	return is_used(flags, position) || packed_is_available(flags, (uint16_t)(position ^ PACKED_WRAP));
}

/* The test of a position for rings whose chains are one descriptor each. One that is wrong does not pass it. */
static bool stands_at(const struct virtq *vq, uint16_t at)
{
	uint16_t before = packed_back(vq, at, 1);

	return is_passed(flags_at(vq, before), before) && !is_passed(flags_at(vq, at), at);
}

/* The same, where others say that they came to @base. If that is one round ahead, the one before was theirs. */
static bool stood_at(const struct virtq *vq, uint16_t at, uint16_t base)
{
	return stands_at(vq, at) || (base == (at ^ PACKED_WRAP) && !is_passed(flags_at(vq, at), at));
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

/* Gives the chain at @at back, empty, and counts it. The @first one of all gets its flags last. False: it is none. */
static bool give_back(struct virtq *vq, uint16_t first, uint16_t at, uint16_t *end, uint64_t *counter)
{
	struct vring_packed_desc *d = &vq->packed_desc[packed_slot(at)];
	uint16_t id;

	if (!chain_end(vq, at, vq->size - packed_distance(vq, first, at), end, &id))
		return false;
	WRITE_ONCE(d->id, id);
	WRITE_ONCE(d->len, 0);
	if (at != first)
		store_release(&d->flags, packed_used_flags(at));
	if (unlikely(vq->log_ring))
		mark_entry(vq, at, true);
	++*counter;
	return true;
}

/* As above, where a chain may have been overwritten. */
static bool give_back_touched(struct virtq *vq, uint16_t first, uint16_t at, uint16_t *end)
{
	return give_back(vq, first, at, end, &vq->stats.repeated);
}

/*
 * Gives back all chains that are available from @at up to @end, before which one is used. Of a chain that is used only the
 * first descriptor says so; the rest is taken for another chain, and the driver does not look there.
 */
static bool fill_up(struct virtq *vq, uint16_t first, uint16_t at, uint16_t end)
{
	while (packed_distance(vq, first, at) < packed_distance(vq, first, end)) {
		if (is_used(flags_at(vq, at), at))
			at = packed_forward(vq, at, 1);
		else if (!give_back(vq, first, at, &at, &vq->stats.unserved))
			return false;
	}
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
	uint16_t end, id;

	if (n < 0)
		return false;
	*next = n ? packed_forward(vq, first, (uint32_t)n + 1) : first;
	if (n && (!chain_end(vq, first, vq->size, &end, &id) || !fill_up(vq, first, end, *next)))
		return false;
	if (!n && !may_be_touched(vq, first))
		return true;
	/* It was not staged if what is used is another's. */
	if (n && !may_be_touched(vq, first) && !give_back_touched(vq, first, first, &end))
		return false;
	if (more(vq, first, *next) && !give_back_touched(vq, first, *next, next))
		return false;
	return !more(vq, first, *next) || !may_be_touched(vq, *next) || give_back_touched(vq, first, *next, next);
}

/*
 * The device ended when the batch up to *@next was staged. Does the ring look like that? What others gave back behind it
 * comes to it.
 */
static bool finish_staged(struct virtq *vq, uint16_t first, uint16_t base, uint16_t *next)
{
	uint32_t n = packed_distance(vq, first, *next);
	uint16_t end, id, from = *next;
	int ahead;

	if (!n || n > vq->size)
		return false;
	ahead = used_from(vq, from, vq->size - n);
	if (ahead < 0 || (ahead && !stood_at(vq, first, base)))
		return false;
	/* Behind the first chain comes the next one of the batch, which is used, or the end of it. */
	if (!chain_end(vq, first, n, &end, &id) || (end != from && !is_used(flags_at(vq, end), end)) ||
	    used_from(vq, end, packed_distance(vq, end, from)) < 0)
		return false;
	*next = packed_forward(vq, from, (uint32_t)ahead);
	return fill_up(vq, first, from, *next);
}

/* Nothing was under way. What others gave back ahead of @first is stepped over, up to *@next; @base is what they say. */
static bool step_over(struct virtq *vq, uint16_t first, uint16_t base, uint16_t *next)
{
	int ahead = used_from(vq, packed_forward(vq, first, 1), vq->size - 1);

	*next = first;
	if (ahead <= 0)
		return !ahead;
	if (!stood_at(vq, first, base))
		return false;
	*next = packed_forward(vq, first, (uint32_t)ahead + 1);
	if (!fill_up(vq, first, first, *next))
		return false;
	/* Unless they say that it ends there, the last chain may go on. */
	return (*next == base && base != PACKED_WRAP) || !more(vq, first, *next) ||
	       give_back(vq, first, *next, next, &vq->stats.unserved);
}

/* Shows the driver a batch that is complete but for the first chain's flags. */
static void finish_publish(const struct virtq *vq, uint16_t first, uint16_t next)
{
	struct vring_packed_desc *d = &vq->packed_desc[packed_slot(first)];

	/* Should we end here, too: what is before @first was published. */
	store_release(&vq->kept->next, first);
	store_release(&vq->kept->published, first);
	store_release(&vq->kept->size, vq->size | KEPT_BUSY);
	store_release(&vq->kept->next, next);
	store_release(&d->flags, packed_used_flags(first) | (READ_ONCE(d->len) ? VRING_DESC_F_WRITE : 0));
	if (unlikely(vq->log_ring))
		mark_entry(vq, first, true);
}

bool kept_may_be(const struct virtq *vq, uint16_t position)
{
	uint16_t before = packed_back(vq, position, 1);

	return !is_used(flags_at(vq, position), position) &&
	       !is_used(flags_at(vq, before), (uint16_t)(before ^ PACKED_WRAP));
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

/* The first descriptor from *@at on that was not passed, at most a round ahead. */
static bool first_open(const struct virtq *vq, uint16_t *at)
{
	for (uint32_t i = 0; i <= vq->size; i++, *at = packed_forward(vq, *at, 1))
		if (!is_passed(flags_at(vq, *at), *at))
			return true;
	return false;
}

/* Goes on from @first, which the driver waits for, when @busy and @next are what was kept. */
static bool finish(struct virtq *vq, uint16_t first, bool busy, uint16_t base, uint16_t *next)
{
	if (!(busy ? *next == first ? finish_staging(vq, first, next) : finish_staged(vq, first, base, next) :
		     step_over(vq, first, base, next)))
		return false;
	if (*next != first)
		finish_publish(vq, first, *next);
	return true;
}

bool kept_resume(struct virtq *vq, uint16_t *position)
{
	const uint16_t base = *position;
	const bool known = base != PACKED_WRAP && stands_at(vq, base);	/* the other is said where nothing is known */
	uint32_t size = READ_ONCE(vq->kept->size);
	uint16_t first = READ_ONCE(vq->kept->published), next = READ_ONCE(vq->kept->next);
	bool busy = size & KEPT_BUSY;

	if ((size & ~(KEPT_BUSY | KEPT_TOLD)) != vq->size || packed_slot(first) >= vq->size ||
	    packed_slot(next) >= vq->size || (!busy && next != first))
		return false;
	if (size & KEPT_TOLD && (known || base == first))
		return false;
	if (next != first && is_passed(flags_at(vq, first), first)) {	/* the batch was published */
		first = next;
		busy = false;
	} else if (busy && base == packed_forward(vq, first, 1) && is_passed(flags_at(vq, first), first)) {
		/* Others have, all but what was not staged. */
		if (!first_open(vq, &first))
			return false;
		next = first;
	}
	if (known && !stood_at(vq, first, base))
		return false;
	if (!packed_is_available(flags_at(vq, first), first)) {
		*position = first;
		return !used_from(vq, first, vq->size);
	}
	if (!finish(vq, first, busy, base, &next))
		return false;
	*position = next;
	return true;
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
