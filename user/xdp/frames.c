/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame ledger: what is not on the hot path. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomics.h"
#include "xdp/frames.h"

#define COUNTS_READINGS 64	/* of a ledger whose worker moves frames meanwhile; one takes nanoseconds */

int frames_import(struct frames *f, uint32_t total, uint32_t chunk, const uint8_t *owners)
{
	uint32_t n;

	memset(f, 0, sizeof(*f));
	if (!total || total == UINT32_MAX || !chunk || (chunk & (chunk - 1)))
		return -EINVAL;
	f->free = calloc(total, sizeof(*f->free));
	f->owner = calloc(total, sizeof(*f->owner));
	f->tag = calloc(total, sizeof(*f->tag));
	if (!f->free || !f->owner || !f->tag) {
		frames_fini(f);
		return -ENOMEM;
	}
	f->total = total;
	f->chunk = chunk;
	/* Downwards: the lowest numbers are taken first, and stay warm in the caches. */
	for (n = total; n-- > 0;) {
		uint8_t owner = owners ? owners[n] : FRAME_FREE;

		if (owner >= FRAME_OWNERS) {
			frames_fini(f);
			return -EINVAL;
		}
		f->owner[n] = owner;
		f->count[owner]++;
		if (owner == FRAME_FREE)
			f->free[f->nfree++] = n;
	}
	return 0;
}

int frames_init(struct frames *f, uint32_t total, uint32_t chunk)
{
	return frames_import(f, total, chunk, NULL);
}

void frames_fini(struct frames *f)
{
	free(f->free);
	free(f->owner);
	free(f->tag);
	memset(f, 0, sizeof(*f));
}

int frames_check(const struct frames *f)
{
	uint32_t count[FRAME_OWNERS] = { 0 }, n, on_list = 0;
	uint8_t *seen;
	int ret = 0;

	for (n = 0; n < f->total; n++) {
		if (f->owner[n] >= FRAME_OWNERS)
			return -EUCLEAN;
		count[f->owner[n]]++;
	}
	if (memcmp(count, f->count, sizeof(count)) || f->nfree != count[FRAME_FREE])
		return -EUCLEAN;
	/* Every frame of the list is free, and none is on it twice. */
	seen = calloc(f->total ? f->total : 1, 1);
	if (!seen)
		return -ENOMEM;
	for (n = 0; n < f->nfree && !ret; n++) {
		uint32_t frame = f->free[n];

		if (frame >= f->total || f->owner[frame] != FRAME_FREE || seen[frame])
			ret = -EUCLEAN;
		else
			seen[frame] = 1, on_list++;
	}
	if (!ret && on_list != count[FRAME_FREE])
		ret = -EUCLEAN;
	free(seen);
	return ret;
}

void frames_counts(const struct frames *f, uint32_t count[FRAME_OWNERS])
{
	unsigned tries = COUNTS_READINGS;
	uint32_t sum;

	do {
		sum = 0;
		for (unsigned i = 0; i < FRAME_OWNERS; i++) {
			count[i] = READ_ONCE(f->count[i]);
			sum += count[i];
		}
	} while (sum != f->total && --tries);
}
