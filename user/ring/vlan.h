/* SPDX-License-Identifier: BSD-2-Clause */
/* VLAN tags in a frame (IEEE 802.1Q 9.3), and 16 bits in the order of the network. Pure. */
#ifndef VIADUCT_RING_VLAN_H
#define VIADUCT_RING_VLAN_H

#include <stdbool.h>
#include <stdint.h>

#define VLAN_TAG_LEN 4
#define VLAN_TYPE_AT 12		/* where a frame's type is, or its tag begins */
#define VLAN_TPID 0x8100u	/* 802.1Q: the only tag that says a VLAN */
#define VLAN_TPID_SERVICE 0x88a8u	/* 802.1ad */
#define VLAN_VID(tci) ((tci) & 0xfffu)

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Is what has this type a tag, of either kind? */
static inline bool vlan_is_tag(uint16_t type)
{
	return type == VLAN_TPID || type == VLAN_TPID_SERVICE;
}

/* The VLAN in a tag of which @tag is the first of four bytes, whichever kind it is; 0: a priority tag. */
static inline uint16_t vlan_of_tag(const uint8_t *tag)
{
	return (uint16_t)VLAN_VID(load_be16(tag + 2));
}

/* Writes a tag of four bytes. @tci: priority and VLAN. */
static inline void vlan_write_tag(uint8_t *tag, uint16_t tpid, uint16_t tci)
{
	store_be16(tag, tpid);
	store_be16(tag + 2, tci);
}

#endif
