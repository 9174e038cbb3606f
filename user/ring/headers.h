/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the headers of a frame are: Ethernet, up to two VLAN tags, IPv4 with
 * options or IPv6 with the extension headers that leave a packet whole. For
 * segment.c and coalesce.c. Pure; reads no byte beyond what it is given.
 */
#ifndef VIADUCT_RING_HEADERS_H
#define VIADUCT_RING_HEADERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ring/vlan.h"

#define HEADERS_ETH 14u
#define HEADERS_TAG ((uint32_t)VLAN_TAG_LEN)
#define HEADERS_IP4 20u
#define HEADERS_IP6 40u
#define HEADERS_TCP 20u
#define HEADERS_UDP 8u

#define HEADERS_PROTO_TCP 6
#define HEADERS_PROTO_UDP 17

/* Offsets in IPv4, IPv6, TCP and UDP headers. */
#define IP4_TOS 1
#define IP4_LEN 2
#define IP4_ID 4
#define IP4_FRAG 6
#define IP4_TTL 8
#define IP4_PROTO 9
#define IP4_CHECK 10
#define IP4_SADDR 12
#define IP6_LEN 4
#define IP6_NEXT 6
#define IP6_HOPS 7
#define IP6_SADDR 8
#define TCP_SEQ 4
#define TCP_ACK_SEQ 8
#define TCP_DOFF 12
#define TCP_FLAGS 13
#define TCP_WINDOW 14
#define TCP_CHECK 16
#define TCP_URGENT 18
#define UDP_LEN 4
#define UDP_CHECK 6

#define IP4_DF 0x4000
#define IP4_MF_OFFSET 0x3fff

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

struct headers {
	uint16_t l3, l4;	/* offsets from the beginning of the frame */
	uint8_t tags;		/* VLAN tags */
	uint8_t version;	/* 4 or 6 */
	uint8_t proto;		/* what begins at @l4 */
	bool fragment;		/* a part of a packet: what is at @l4 need not be a header */
	uint32_t end;		/* where the IP packet ends by its own account, bytes from the beginning of the frame */
};

static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)load_be16(p) << 16 | load_be16(p + 2);
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	store_be16(p, (uint16_t)(v >> 16));
	store_be16(p + 2, (uint16_t)v);
}

/* 16 bits as they are in memory: what sums are made of. */
static inline uint16_t load_raw16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void store_raw16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* The IPv4 header at h->l3. */
static inline bool headers_parse4(struct headers *h, const uint8_t *p, uint32_t len)
{
	const uint8_t *ip = p + h->l3;
	uint32_t ihl;

	if (len < h->l3 + HEADERS_IP4 || ip[0] >> 4 != 4)
		return false;
	ihl = (ip[0] & 15u) * 4;
	if (ihl < HEADERS_IP4 || len < h->l3 + ihl)
		return false;
	h->version = 4;
	h->proto = ip[IP4_PROTO];
	h->fragment = load_be16(ip + IP4_FRAG) & IP4_MF_OFFSET;
	h->l4 = (uint16_t)(h->l3 + ihl);
	h->end = h->l3 + load_be16(ip + IP4_LEN);
	return h->end >= h->l4;
}

/* The IPv6 header at h->l3, and the extension headers that any frame of a packet can repeat (RFC 8200, 4). */
static inline bool headers_parse6(struct headers *h, const uint8_t *p, uint32_t len)
{
	const uint8_t hop_by_hop = 0, routing = 43, fragment = 44, destination = 60;
	uint32_t at = h->l3 + HEADERS_IP6;

	if (len < at || p[h->l3] >> 4 != 6)
		return false;
	h->version = 6;
	h->proto = p[h->l3 + IP6_NEXT];
	h->end = at + load_be16(p + h->l3 + IP6_LEN);
	while (h->proto == hop_by_hop || h->proto == routing || h->proto == destination) {
		if (len < at + 8)
			return false;
		h->proto = p[at];
		at += 8 * (p[at + 1] + 1u);
		if (len < at)
			return false;
	}
	h->fragment = h->proto == fragment;
	h->l4 = (uint16_t)at;
	return h->end >= at;
}

/**
 * headers_parse() - find network and transport header
 * @h: filled
 * @p, @len: beginning of a frame, our copy or memory that nobody writes; at most 65535 bytes are looked at
 *
 * Return: false when it is not IP, or its headers do not end within @len or within the packet's own length.
 */
static inline bool headers_parse(struct headers *h, const uint8_t *p, uint32_t len)
{
	uint16_t type;

	if (len > UINT16_MAX)
		len = UINT16_MAX;
	if (len < HEADERS_ETH)
		return false;
	h->tags = 0;
	h->l3 = HEADERS_ETH;
	type = load_be16(p + VLAN_TYPE_AT);
	while (vlan_is_tag(type) && h->tags < 2) {
		if (len < h->l3 + HEADERS_TAG)
			return false;
		type = load_be16(p + h->l3 + 2);
		h->l3 = (uint16_t)(h->l3 + HEADERS_TAG);
		h->tags++;
	}
	if (type == 0x0800)
		return headers_parse4(h, p, len);
	return type == 0x86dd && headers_parse6(h, p, len);
}

/* TCP or UDP, whole, behind a network header without options or extension headers: nothing else to be taken for it. */
static inline bool headers_plain(const struct headers *h)
{
	return !h->fragment && h->l4 == h->l3 + (h->version == 6 ? HEADERS_IP6 : HEADERS_IP4) &&
	       (h->proto == HEADERS_PROTO_TCP || h->proto == HEADERS_PROTO_UDP);
}

#endif
