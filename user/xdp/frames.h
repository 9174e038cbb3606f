/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame ledger of one NIC queue's UMEM: every frame has exactly one owner
 * at any time, and the ledger can be checked at any time:
 *   free + fill/rx (kernel) + held (worker) + tx/completion (kernel) + lost = total
 * Worker that owns the NIC queue only; frames_check() also from the control
 * thread while the worker is parked, frames_counts() from any thread at any time.
 */
#ifndef VIADUCT_XDP_FRAMES_H
#define VIADUCT_XDP_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

enum frame_owner {
	FRAME_FREE,	/* on our free list */
	FRAME_FILL,	/* given to the kernel for receiving: fill ring, driver, or rx ring */
	FRAME_HELD,	/* received, in the worker's hands */
	FRAME_TX,	/* given to the kernel for sending: tx ring, driver, or completion ring */
	FRAME_LOST,	/* written off */
	FRAME_OWNERS
};

struct frames {
	uint32_t total;
	uint32_t chunk;		/* bytes, power of two */
	uint32_t nfree;
	uint32_t *free;		/* stack of frame numbers */
	uint8_t *owner;		/* enum frame_owner per frame */
	uint16_t *tag;		/* per frame, for its owner to use; of one in FRAME_TX the port it is of */
	uint32_t count[FRAME_OWNERS];
	uint64_t violations;	/* a frame came from where it cannot have been */
};

/**
 * frames_init() - a ledger with every frame free
 * @total: frames in the UMEM, at least 1
 * @chunk: bytes per frame, power of two
 *
 * Return: 0, -EINVAL or -ENOMEM.
 */
int frames_init(struct frames *f, uint32_t total, uint32_t chunk);
/**
 * frames_import() - a ledger as another process left it
 * @owners: @total values of enum frame_owner
 *
 * For a socket and UMEM that were handed over. Return: 0, -EINVAL or -ENOMEM.
 */
int frames_import(struct frames *f, uint32_t total, uint32_t chunk, const uint8_t *owners);
void frames_fini(struct frames *f);
/* 0 when every frame has one owner and the sums are right, else -EUCLEAN. */
int frames_check(const struct frames *f);
/**
 * frames_counts() - how many frames each owner has, as one reading
 * @count: set, one value per enum frame_owner
 *
 * The worker may move frames meanwhile: a reading that does not sum up to the
 * total caught a move half done and is taken again, a bounded number of times.
 * A ledger that is wrong stays so and is reported as it is. Any thread, while
 * the ledger exists.
 */
void frames_counts(const struct frames *f, uint32_t count[FRAME_OWNERS]);

/* Takes a free frame for @to; UINT32_MAX when there is none. */
static inline uint32_t frames_take(struct frames *f, enum frame_owner to)
{
	uint32_t n;

	if (!f->nfree)
		return UINT32_MAX;
	n = f->free[--f->nfree];
	f->owner[n] = (uint8_t)to;
	f->count[FRAME_FREE]--;
	f->count[to]++;
	return n;
}

/* True when frame @n exists and is @from's; a violation is counted otherwise. */
static inline bool frames_owned(struct frames *f, uint32_t n, enum frame_owner from)
{
	if (__builtin_expect(n < f->total && f->owner[n] == from, 1))
		return true;
	f->violations++;
	return false;
}

/* Moves frame @n from one owner to another (not FREE: see below); false (counted) when it was not @from's. */
static inline bool frames_move(struct frames *f, uint32_t n, enum frame_owner from, enum frame_owner to)
{
	if (!frames_owned(f, n, from))
		return false;
	f->owner[n] = (uint8_t)to;
	f->count[from]--;
	f->count[to]++;
	return true;
}

/* Gives it back to the free list. */
static inline bool frames_release(struct frames *f, uint32_t n, enum frame_owner from)
{
	if (!frames_move(f, n, from, FRAME_FREE))
		return false;
	f->free[f->nfree++] = n;
	return true;
}

#endif
