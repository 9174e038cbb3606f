/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copying frames. Most are short, and for those the call, the length dispatch
 * and the size classes of a library memcpy() cost as much as the bytes.
 */
#ifndef VIADUCT_RING_COPY_H
#define VIADUCT_RING_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/atomics.h"

#define COPY_SHORT 128
#define COPY_LINE 64		/* bytes of a cache line */
#define COPY_AHEAD 1600		/* bytes that are fetched ahead at most: a core has so many of them under way */

/**
 * copy_bytes() - memcpy(), inlined for 16 to COPY_SHORT bytes
 * @to, @from: not overlapping
 * @len: bytes
 *
 * Moves of 16 bytes; the last one ends at the last byte and may overlap its neighbour. Any thread.
 */
static inline void copy_bytes(void *to, const void *from, size_t len)
{
	const uint8_t *s = from;
	uint8_t *d = to;

	if (__builtin_expect(len < 16 || len > COPY_SHORT, 0)) {
		memcpy(d, s, len);
		return;
	}
	for (size_t i = 0; i < len - 16; i += 16)
		__builtin_memcpy(d + i, s + i, 16);
	__builtin_memcpy(d + len - 16, s + len - 16, 16);
}

/*
 * A copy waits for lines that another core has, one after the other as they are touched. So the next copy's lines are
 * sent for while this one goes on; all but the first, which was when the buffer's address became known.
 */
static inline void copy_fetch_from(const void *from, size_t len)
{
	for (size_t i = COPY_LINE; i < len && i < COPY_AHEAD; i += COPY_LINE)
		__builtin_prefetch((const uint8_t *)from + i);
}

static inline void copy_fetch_to(const void *to, size_t len)
{
	for (size_t i = 2 * COPY_LINE; i < len && i < COPY_AHEAD; i += COPY_LINE)
		prefetch_write((const uint8_t *)to + i);
}

#endif
