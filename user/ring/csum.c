/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "ring/csum.h"

/* Two 32-bit halves per lane are added up in 64 bits: no carry is lost below 2^32 additions. */
typedef uint64_t lanes __attribute__((vector_size(16)));

static inline lanes load(const uint8_t *p)
{
	lanes v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline lanes halves(lanes v)
{
	return (v & 0xffffffff) + (v >> 32);
}

/* Whole blocks of 64 bytes; four sums, so that the additions need not wait for each other. */
static uint64_t blocks(const uint8_t *p, uint32_t n)
{
	lanes a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	for (; n; n--, p += 64) {
		a += halves(load(p));
		b += halves(load(p + 16));
		c += halves(load(p + 32));
		d += halves(load(p + 48));
	}
	a += b + c + d;
	return a[0] + a[1];
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

uint64_t csum_add(uint64_t sum, const void *data, uint32_t len)
{
	const uint8_t *p = data;
	uint64_t part = 0, last = 0;

	if (len >= 64) {
		part = blocks(p, len / 64);
		p += len & ~63u;
		len &= 63;
	}
	for (; len >= 8; len -= 8, p += 8)
		part += (load64(p) & 0xffffffff) + (load64(p) >> 32);
	if (len) {
		memcpy(&last, p, len);
		part += (last & 0xffffffff) + (last >> 32);
	}
	/* What is added is small, so that sums of sums do not overflow either. */
	part = (part & 0xffffffff) + (part >> 32);
	sum += part;
	return sum + (sum < part);
}
