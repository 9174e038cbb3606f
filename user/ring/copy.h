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

#define COPY_SHORT 128

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

#endif
