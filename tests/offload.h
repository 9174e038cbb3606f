/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets for tests of offloads. A packet is a description; what it is cut into
 * follows from the description too, not from the packet's bytes, and checksums
 * are summed byte by byte: nothing here is shared with what is tested.
 */
#ifndef TESTS_OFFLOAD_H
#define TESTS_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ring/vnet.h"

#define OFFLOAD_MAX (65535 + 62)	/* bytes of the longest packet */

#define O_FIN 0x01
#define O_SYN 0x02
#define O_RST 0x04
#define O_PSH 0x08
#define O_ACK 0x10
#define O_URG 0x20
#define O_ECE 0x40
#define O_CWR 0x80

/* IPv6 extension headers. */
#define O_HOP 0
#define O_ROUTING 43
#define O_FRAGMENT 44
#define O_DSTOPTS 60

struct offload {
	bool v6, udp;
	uint8_t tags;		/* VLAN tags */
	uint8_t ip_options;	/* IPv4: bytes, a multiple of 4 */
	uint8_t next[3];	/* IPv6: extension headers */
	uint8_t nnext;
	uint8_t next_len;	/* bytes of each, a multiple of 8; 24 for O_ROUTING */
	uint8_t tcp_options;	/* bytes, a multiple of 4 */
	uint8_t flags;		/* TCP's */
	uint8_t tos, ttl;
	uint8_t host;		/* last byte of the source address */
	uint16_t id, frag;	/* IPv4 */
	uint16_t sport;
	uint16_t window;
	uint32_t seq, ack;
	uint32_t from, payload;	/* the payload's first byte, how many; they follow from seed */
	uint32_t seed;
	uint16_t tweak;		/* the payload's bytes 0 and 1 when fixed is set, as in memory */
	bool fixed;
};

/* A TCP packet over IPv4 and how much payload; the rest may be changed. */
static inline struct offload offload_tcp4(uint32_t payload)
{
	return (struct offload){ .flags = O_ACK, .ttl = 64, .host = 1, .id = 0x1234, .sport = 40000, .window = 502,
				 .seq = 1000, .ack = 77, .payload = payload, .seed = 1 };
}

static inline struct offload offload_tcp6(uint32_t payload)
{
	struct offload o = offload_tcp4(payload);

	o.v6 = true;
	return o;
}

static inline struct offload offload_udp4(uint32_t payload)
{
	struct offload o = offload_tcp4(payload);

	o.udp = true;
	return o;
}

static inline struct offload offload_udp6(uint32_t payload)
{
	struct offload o = offload_udp4(payload);

	o.v6 = true;
	return o;
}

static inline uint32_t offload_l3(const struct offload *o)
{
	return 14 + 4u * o->tags;
}

static inline uint32_t offload_l4(const struct offload *o)
{
	return offload_l3(o) + (o->v6 ? 40u + (uint32_t)o->nnext * o->next_len : 20u + o->ip_options);
}

static inline uint32_t offload_head(const struct offload *o)
{
	return offload_l4(o) + (o->udp ? 8u : 20u + o->tcp_options);
}

static inline uint32_t offload_len(const struct offload *o)
{
	return offload_head(o) + o->payload;
}

/* The sum of 16-bit words, first byte high; a last odd byte is followed by zero. */
static inline uint32_t offload_sum(uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static inline void offload_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void offload_put32(uint8_t *p, uint32_t v)
{
	offload_put16(p, v >> 16);
	offload_put16(p + 2, v);
}

/* From the IPv4 header on. Return: where it ends. */
static inline uint8_t *offload_ip4(uint8_t *p, const struct offload *o, uint32_t l4_len, uint32_t *pseudo)
{
	uint32_t len = 20u + o->ip_options;
	const uint8_t addr[8] = { 192, 168, 7, o->host, 192, 168, 7, 200 };

	memset(p, 0, 20);
	p[0] = (uint8_t)(0x40 | len / 4);
	p[1] = o->tos;
	offload_put16(p + 2, len + l4_len);
	offload_put16(p + 4, o->id);
	offload_put16(p + 6, o->frag);
	p[8] = o->ttl;
	p[9] = o->udp ? 17 : 6;
	memcpy(p + 12, addr, 8);
	memset(p + 20, 1, o->ip_options);	/* "no operation" */
	offload_put16(p + 10, ~offload_sum(0, p, len));
	*pseudo = offload_sum(0, addr, 8);
	return p + len;
}

static inline uint8_t *offload_ip6(uint8_t *p, const struct offload *o, uint32_t l4_len, uint32_t *pseudo)
{
	const uint8_t proto = o->udp ? 17 : 6;
	const uint8_t addr[32] = { 0xfd, 1, [15] = o->host, [16] = 0xfd, [17] = 1, [31] = 200 };

	offload_put32(p, 0x60000000u | (uint32_t)o->tos << 20 | 0x12345);
	offload_put16(p + 4, (uint32_t)o->nnext * o->next_len + l4_len);
	p[6] = o->nnext ? o->next[0] : proto;
	p[7] = o->ttl;
	memcpy(p + 8, addr, 32);
	*pseudo = offload_sum(0, addr, 32);
	p += 40;
	for (unsigned i = 0; i < o->nnext; i++, p += o->next_len) {
		memset(p, 0, o->next_len);
		p[0] = i + 1u < o->nnext ? o->next[i + 1] : proto;
		p[1] = (uint8_t)(o->next_len / 8 - 1);
		if (o->next[i] == O_ROUTING) {	/* type 2: one stop left, which the checksum goes to */
			p[2] = 2;
			p[3] = 1;
			memcpy(p + 8, "\xfd\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x63", 16);
			*pseudo = offload_sum(offload_sum(0, addr, 16), p + 8, 16);
		} else if (o->next[i] != O_FRAGMENT) {
			p[2] = 1;	/* PadN */
			p[3] = (uint8_t)(o->next_len - 4);
		}
	}
	return p;
}

/**
 * offload_build() - the packet's bytes
 * @to: room for offload_len()
 * @finished: with its checksum; otherwise the field holds the pseudo header's sum, as a driver leaves it
 *
 * Return: its length.
 */
static inline uint32_t offload_build(uint8_t *to, const struct offload *o, bool finished)
{
	uint32_t l4_len = offload_len(o) - offload_l4(o), head = offload_head(o) - offload_l4(o), pseudo, sum;
	uint8_t *p = to, *field;

	memcpy(p, "\x52\x54\0\0\0\2\x52\x54\0\0\0\1", 12);
	p += 12;
	for (unsigned i = o->tags; i; i--, p += 4)
		offload_put32(p, (i == 2 ? 0x88a80000u : 0x81000000u) | (100 + i));
	offload_put16(p, o->v6 ? 0x86dd : 0x0800);
	p += 2;
	p = o->v6 ? offload_ip6(p, o, l4_len, &pseudo) : offload_ip4(p, o, l4_len, &pseudo);
	pseudo = offload_sum(pseudo + l4_len, (const uint8_t[]){ 0, o->udp ? 17 : 6 }, 2);
	memset(p, 0, head);
	offload_put16(p, o->sport);
	offload_put16(p + 2, 5001);
	if (o->udp) {
		offload_put16(p + 4, l4_len);
	} else {
		offload_put32(p + 4, o->seq);
		offload_put32(p + 8, o->ack);
		p[12] = (uint8_t)(head / 4 << 4);
		p[13] = o->flags;
		offload_put16(p + 14, o->window);
		for (unsigned i = 0; i < o->tcp_options; i++)
			p[20 + i] = (uint8_t)(i < 2 ? 1 : i == 2 ? 8 : i == 3 ? 10 : i + o->seed);
	}
	for (uint32_t i = 0, k = o->from; i < o->payload; i++, k++)
		p[head + i] = (uint8_t)((k * 2654435761u ^ o->seed * 40503u) >> 11);
	if (o->fixed && !o->from && o->payload >= 2)
		memcpy(p + head, &o->tweak, 2);
	field = p + (o->udp ? 6 : 16);
	offload_put16(field, pseudo);
	if (finished) {
		sum = 0xffff & ~offload_sum(0, p, l4_len);
		offload_put16(field, o->udp && !sum ? 0xffff : sum);
	}
	return offload_len(o);
}

static inline uint32_t offload_count(const struct offload *o, uint32_t mss)
{
	return mss && o->payload > mss ? (o->payload + mss - 1) / mss : 1;
}

/* The packet that is number @i when the packet is cut, described. */
static inline struct offload offload_cut(const struct offload *o, uint32_t mss, uint32_t i)
{
	uint32_t last = offload_count(o, mss) - 1;
	struct offload f = *o;

	f.from += i * mss;
	f.payload = i < last ? mss : o->payload - i * mss;
	f.id = (uint16_t)(o->id + i);
	f.seq += i * mss;
	if (i)
		f.flags &= (uint8_t)~O_CWR;
	if (i < last)
		f.flags &= (uint8_t)~(O_FIN | O_PSH);
	return f;
}

/* The virtio-net header that goes with it; @gso_size 0: checksum only. */
static inline struct virtio_net_hdr_v1 offload_header(const struct offload *o, uint32_t gso_size)
{
	struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };

	h.csum_start = (uint16_t)offload_l4(o);
	h.csum_offset = o->udp ? 6 : 16;
	if (!gso_size)
		return h;
	h.hdr_len = (uint16_t)offload_head(o);
	h.gso_size = (uint16_t)gso_size;
	h.gso_type = o->udp ? VIRTIO_NET_HDR_GSO_UDP_L4 : o->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	if (!o->udp && o->flags & O_CWR)
		h.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	return h;
}

/* Chooses the payload's first two bytes so that the checksum comes out as zero. Only for a packet that stays whole. */
static inline void offload_make_zero(struct offload *o)
{
	static uint8_t buf[OFFLOAD_MAX];

	o->fixed = true;
	o->tweak = 0;
	offload_build(buf, o, true);
	memcpy(&o->tweak, buf + offload_l4(o) + (o->udp ? 6 : 16), 2);
}

#endif
