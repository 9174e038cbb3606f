/* SPDX-License-Identifier: BSD-2-Clause */
/* The Internet checksum (RFC 1071) over bytes in memory. Pure, any thread. */
#ifndef VIADUCT_RING_CSUM_H
#define VIADUCT_RING_CSUM_H

#include <stdint.h>

/**
 * csum_add() - add bytes to a sum
 * @sum: of what came before, 0 at the beginning; what came before must have had an even length
 * @data, @len: bytes; a last odd one counts as if a zero followed
 *
 * Return: an unfolded sum, in network byte order when folded.
 */
uint64_t csum_add(uint64_t sum, const void *data, uint32_t len);

/* To 16 bits, not complemented; store it as it is. */
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/**
 * csum_add_at() - csum_add() for a part that may begin at an odd place
 * @sum: of what came before
 * @before: how many bytes that were
 * @data, @len: the part
 *
 * Return: as csum_add().
 */
static inline uint64_t csum_add_at(uint64_t sum, uint32_t before, const void *data, uint32_t len)
{
	if (!(before & 1))
		return csum_add(sum, data, len);
	return sum + __builtin_bswap16(csum_fold(csum_add(0, data, len)));
}

#endif
