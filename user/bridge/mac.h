/* SPDX-License-Identifier: BSD-2-Clause */
/* MAC addresses as 48-bit numbers: cheap to compare, hash and cache. */
#ifndef VIADUCT_BRIDGE_MAC_H
#define VIADUCT_BRIDGE_MAC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAC_LEN 6
#define MAC_STRLEN 18

/*
 * The address at @p as a number (byte order of the machine; only equality and the group bit matter). Put together in
 * registers: in memory, reading the whole would have to wait until both parts are written.
 */
static inline uint64_t mac_load(const uint8_t *p)
{
	uint32_t low;
	uint16_t high;

	memcpy(&low, p, sizeof(low));
	memcpy(&high, p + sizeof(low), sizeof(high));
	return (uint64_t)high << 32 | low;
}

static inline void mac_store(uint64_t mac, uint8_t p[MAC_LEN])
{
	memcpy(p, &mac, MAC_LEN);
}

/* Group bit of the first byte: broadcast or multicast. */
static inline bool mac_is_group(const uint8_t *p)
{
	return p[0] & 1;
}

/* @out has MAC_STRLEN bytes. */
void mac_format(const uint8_t mac[MAC_LEN], char *out);

#endif
