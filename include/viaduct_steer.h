/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The flow hash that chooses a queue pair, shared by the XDP program and by
 * user space (which repeats the choice where a driver has no room for
 * metadata). One implementation, so both always agree.
 *
 * Hashed are the addresses of IPv4 and IPv6, plus the ports of TCP, UDP and
 * SCTP; fragments and IPv6 packets with extension headers by their addresses
 * only, so that all parts of a datagram stay together; anything else by its
 * two MAC addresses. Up to two VLAN tags are skipped and do not count.
 *
 * Written for the BPF verifier: every access follows a comparison with @end,
 * there is no loop, and offsets are bounded.
 */
#ifndef VIADUCT_STEER_H
#define VIADUCT_STEER_H

#include "viaduct_bpf.h"

#ifdef __bpf__
#define VD_INLINE static __attribute__((always_inline)) inline
/* Packets are read unaligned on purpose; the verifier and the JIT allow it. */
#define vd_load16(p) (*(const __u16 *)(p))
#define vd_load32(p) (*(const __u32 *)(p))
#else
#include <string.h>
#define VD_INLINE static inline
VD_INLINE __u16 vd_load16(const __u8 *p)
{
	__u16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}
VD_INLINE __u32 vd_load32(const __u8 *p)
{
	__u32 v;

	memcpy(&v, p, sizeof(v));
	return v;
}
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define vd_be16(x) ((__u16)((((x) & 0xff) << 8) | (((x) >> 8) & 0xff)))
#else
#define vd_be16(x) ((__u16)(x))
#endif

enum {
	VD_ETH_LEN = 14,
	VD_ETH_P_IP = 0x0800,
	VD_ETH_P_IPV6 = 0x86dd,
	VD_ETH_P_8021Q = 0x8100,
	VD_ETH_P_8021AD = 0x88a8,
	VD_IPPROTO_TCP = 6,
	VD_IPPROTO_UDP = 17,
	VD_IPPROTO_SCTP = 132,
};

/* Multiplying carries entropy upwards, the shift brings it down again. */
VD_INLINE __u64 vd_mix(__u64 h, __u32 hi, __u32 lo)
{
	h = (h ^ ((__u64)hi << 32 | lo)) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

VD_INLINE int vd_has_ports(__u8 proto)
{
	return proto == VD_IPPROTO_TCP || proto == VD_IPPROTO_UDP || proto == VD_IPPROTO_SCTP;
}

VD_INLINE __u64 vd_mix_ports(__u64 h, __u8 proto, const __u8 *l4, const __u8 *end, int reverse)
{
	__u32 ports;

	if (!vd_has_ports(proto) || l4 + 4 > end)
		return h;
	ports = vd_load32(l4);
	return vd_mix(h, proto, reverse ? ports << 16 | ports >> 16 : ports);
}

/* Two IPv6 addresses. */
VD_INLINE __u64 vd_mix_ip6(__u64 h, const __u8 *first, const __u8 *second)
{
	h = vd_mix(h, vd_load32(first), vd_load32(first + 4));
	h = vd_mix(h, vd_load32(first + 8), vd_load32(first + 12));
	h = vd_mix(h, vd_load32(second), vd_load32(second + 4));
	return vd_mix(h, vd_load32(second + 8), vd_load32(second + 12));
}

/**
 * vd_flow_hash_range() - flow hash of the frame in [@p, @end)
 * @reverse: as if it went the other way, source and destination swapped. A constant.
 *
 * @p must hold at least an Ethernet header; shorter frames hash to 0.
 */
VD_INLINE __u32 vd_flow_hash_range(const __u8 *p, const __u8 *end, int reverse)
{
	const __u8 *ip;
	__u64 h = 0;
	__u16 proto;

	if (p + VD_ETH_LEN > end)
		return 0;
	proto = vd_be16(vd_load16(p + 12));
	ip = p + VD_ETH_LEN;
	if (proto == VD_ETH_P_8021Q || proto == VD_ETH_P_8021AD) {
		if (ip + 4 > end)
			goto macs;
		proto = vd_be16(vd_load16(ip + 2));
		ip += 4;
		if (proto == VD_ETH_P_8021Q || proto == VD_ETH_P_8021AD) {
			if (ip + 4 > end)
				goto macs;
			proto = vd_be16(vd_load16(ip + 2));
			ip += 4;
		}
	}
	if (proto == VD_ETH_P_IP && ip + 20 <= end) {
		__u32 ihl = (ip[0] & 0xf) * 4;

		h = vd_mix(h, vd_load32(ip + (reverse ? 16 : 12)), vd_load32(ip + (reverse ? 12 : 16)));
		/* Neither MF nor an offset: only a whole datagram's ports count. */
		if (ihl >= 20 && !(vd_be16(vd_load16(ip + 6)) & 0x3fff))
			h = vd_mix_ports(h, ip[9], ip + ihl, end, reverse);
		return (__u32)h;
	}
	if (proto == VD_ETH_P_IPV6 && ip + 40 <= end) {
		h = vd_mix_ip6(h, ip + (reverse ? 24 : 8), ip + (reverse ? 8 : 24));
		h = vd_mix_ports(h, ip[6], ip + 40, end, reverse);
		return (__u32)h;
	}
macs:
	if (reverse) {
		h = vd_mix(h, vd_load32(p + 6), (__u32)vd_load16(p + 10) | (__u32)vd_load16(p) << 16);
		h = vd_mix(h, 0, vd_load32(p + 2));
	} else {
		h = vd_mix(h, vd_load32(p), vd_load32(p + 4));
		h = vd_mix(h, 0, vd_load32(p + 8));
	}
	return (__u32)h;
}

#ifndef __bpf__
/**
 * vd_flow_hash() - flow hash of a frame, as the XDP program computes it
 * @frame: first byte of the Ethernet header
 * @len: bytes of the frame
 *
 * Any thread. Return: the hash; its low bits index a port's indirection table.
 */
static inline uint32_t vd_flow_hash(const uint8_t *frame, uint32_t len)
{
	return vd_flow_hash_range(frame, frame + len, 0);
}

/* The same of a frame that goes the other way: what a guest sends and what it gets of one flow have one hash. */
static inline uint32_t vd_flow_hash_reverse(const uint8_t *frame, uint32_t len)
{
	return vd_flow_hash_range(frame, frame + len, 1);
}
#endif

#endif
