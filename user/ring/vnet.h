/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-net header and the feature bits that give its fields a meaning
 * (virtio 1.3, 5.1.3 and 5.1.6). Pure.
 */
#ifndef VIADUCT_RING_VNET_H
#define VIADUCT_RING_VNET_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_config.h>

#include "virtio_net_bits.h"

#define VNET_BIT(n) (1ull << (n))

/* What the driver may leave to us in packets it sends. */
#define VNET_HOST_GSO                                                                                                \
	(VNET_BIT(VIRTIO_NET_F_HOST_TSO4) | VNET_BIT(VIRTIO_NET_F_HOST_TSO6) | VNET_BIT(VIRTIO_NET_F_HOST_USO))
#define VNET_HOST_OFFLOADS (VNET_BIT(VIRTIO_NET_F_CSUM) | VNET_HOST_GSO | VNET_BIT(VIRTIO_NET_F_HOST_ECN))
/* What we may leave to the driver in packets it receives. */
#define VNET_GUEST_GSO                                                                                               \
	(VNET_BIT(VIRTIO_NET_F_GUEST_TSO4) | VNET_BIT(VIRTIO_NET_F_GUEST_TSO6) | VNET_BIT(VIRTIO_NET_F_GUEST_USO4) | \
	 VNET_BIT(VIRTIO_NET_F_GUEST_USO6))
#define VNET_GUEST_OFFLOADS (VNET_BIT(VIRTIO_NET_F_GUEST_CSUM) | VNET_GUEST_GSO | VNET_BIT(VIRTIO_NET_F_GUEST_ECN))
#define VNET_OFFLOADS (VNET_HOST_OFFLOADS | VNET_GUEST_OFFLOADS)

/* The longest packet with GSO: 64 KiB - 1 behind Ethernet, two VLAN tags and IPv6, which does not count its header. */
#define VNET_MAX_GSO (65535u + 14u + 8u + 40u)

/**
 * vnet_dependencies() - takes away what cannot stand alone
 * @features: bits that one would like to offer, or to use
 *
 * virtio 1.3, 5.1.3.1 "Feature bit requirements": TSO and USO need the checksum of their direction, ECN needs TSO.
 * Any thread. Return: @features without those whose condition is not there.
 */
static inline uint64_t vnet_dependencies(uint64_t features)
{
	const uint64_t host_tso = VNET_BIT(VIRTIO_NET_F_HOST_TSO4) | VNET_BIT(VIRTIO_NET_F_HOST_TSO6);
	const uint64_t guest_tso = VNET_BIT(VIRTIO_NET_F_GUEST_TSO4) | VNET_BIT(VIRTIO_NET_F_GUEST_TSO6);

	if (!(features & VNET_BIT(VIRTIO_NET_F_CSUM)))
		features &= ~VNET_HOST_OFFLOADS;
	if (!(features & VNET_BIT(VIRTIO_NET_F_GUEST_CSUM)))
		features &= ~VNET_GUEST_OFFLOADS;
	if (!(features & host_tso))
		features &= ~VNET_BIT(VIRTIO_NET_F_HOST_ECN);
	if (!(features & guest_tso))
		features &= ~VNET_BIT(VIRTIO_NET_F_GUEST_ECN);
	return features;
}

/**
 * vnet_allowed() - does a packet ask for no more than was negotiated?
 * @features: negotiated
 * @hdr: our copy of the header that came with the packet
 *
 * Fields that ask for nothing (hdr_len, num_buffers, F_DATA_VALID, F_RSC_INFO) are not looked at.
 * Any thread.
 */
static inline bool vnet_allowed(uint64_t features, const struct virtio_net_hdr_v1 *hdr)
{
	uint8_t type = hdr->gso_type;
	unsigned need;

	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !(features & VNET_BIT(VIRTIO_NET_F_CSUM)))
		return false;
	if (type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) /* 5.1.6.2.1: GSO goes with a partial checksum */
		return false;
	if (type & VIRTIO_NET_HDR_GSO_ECN && !(features & VNET_BIT(VIRTIO_NET_F_HOST_ECN)))
		return false;
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		need = VIRTIO_NET_F_HOST_TSO4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		need = VIRTIO_NET_F_HOST_TSO6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		need = VIRTIO_NET_F_HOST_USO;
		break;
	default:
		return false;
	}
	return features & VNET_BIT(need);
}

/* Does a packet leave nothing to be finished: no checksum, no segmentation? Any thread. */
static inline bool vnet_asks_nothing(const struct virtio_net_hdr_v1 *hdr)
{
	return !(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE;
}

/**
 * vnet_receivable() - may a guest get another guest's packet as it is, header included?
 * @features: negotiated with the receiver
 * @hdr: our copy of the header that came with the packet; segment_plan() found it to be true of the packet
 *
 * What one asks its device to finish, the other must have agreed to finish itself (virtio 1.3, 5.1.6.4.1). The header
 * does not say which IP a UDP packet is of, so that takes both of USO4 and USO6; and a flag that a sender has no
 * business to set is not passed on.
 * Any thread. Return: false when the packet has to be made into plain frames.
 */
static inline bool vnet_receivable(uint64_t features, const struct virtio_net_hdr_v1 *hdr)
{
	const uint64_t uso = VNET_BIT(VIRTIO_NET_F_GUEST_USO4) | VNET_BIT(VIRTIO_NET_F_GUEST_USO6);
	uint8_t type = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if (hdr->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return false;
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !(features & VNET_BIT(VIRTIO_NET_F_GUEST_CSUM)))
		return false;
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return false;
	if (hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN && !(features & VNET_BIT(VIRTIO_NET_F_GUEST_ECN)))
		return false;
	if (type == VIRTIO_NET_HDR_GSO_TCPV4)
		return features & VNET_BIT(VIRTIO_NET_F_GUEST_TSO4);
	if (type == VIRTIO_NET_HDR_GSO_TCPV6)
		return features & VNET_BIT(VIRTIO_NET_F_GUEST_TSO6);
	return hdr->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 && (features & uso) == uso;
}

#endif
