// SPDX-License-Identifier: BSD-2-Clause
#include <stdbool.h>
#include <stdio.h>

#include <linux/virtio_ring.h>

#include "driver/netfeatures.h"

static const struct {
	unsigned bit;
	const char *name;	/* as in the arguments of the device, where it is one */
} names[] = {
	{ VIRTIO_F_IN_ORDER, "in_order" },
	{ VIRTIO_NET_F_MRG_RXBUF, "mrg_rxbuf" },
	{ VIRTIO_NET_F_STATUS, "status" },
	{ VIRTIO_F_RING_PACKED, "packed_vq" },
	{ VIRTIO_F_VERSION_1, "version_1" },
	{ VIRTIO_NET_F_CSUM, "csum" },
	{ VIRTIO_NET_F_HOST_TSO4, "host_tso4" },
	{ VIRTIO_NET_F_HOST_TSO6, "host_tso6" },
	{ VIRTIO_NET_F_HOST_ECN, "host_ecn" },
	{ VIRTIO_NET_F_HOST_USO, "host_uso" },
	{ VIRTIO_NET_F_GUEST_CSUM, "guest_csum" },
	{ VIRTIO_NET_F_GUEST_TSO4, "guest_tso4" },
	{ VIRTIO_NET_F_GUEST_TSO6, "guest_tso6" },
	{ VIRTIO_NET_F_GUEST_ECN, "guest_ecn" },
	{ VIRTIO_NET_F_GUEST_USO4, "guest_uso4" },
	{ VIRTIO_NET_F_GUEST_USO6, "guest_uso6" },
};

uint64_t netfeatures_usable(uint64_t features)
{
	if (!(features & NETF(VIRTIO_F_VERSION_1)))
		features &= UINT32_MAX;
	if (!(features & NETF(VIRTIO_NET_F_CSUM)))
		features &= ~NETF_HOST;
	if (!(features & NETF(VIRTIO_NET_F_GUEST_CSUM)))
		features &= ~NETF_GUEST;
	if (!(features & NETF(VIRTIO_NET_F_MRG_RXBUF)))
		features &= ~NETF_GUEST_GSO;
	if (!(features & NETF_HOST_TSO))
		features &= ~NETF(VIRTIO_NET_F_HOST_ECN);
	if (!(features & NETF_GUEST_TSO))
		features &= ~NETF(VIRTIO_NET_F_GUEST_ECN);
	return features;
}

void netfeatures_names(uint64_t features, char *to, size_t len)
{
	const char *space = "";
	size_t at = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && at < len; i++) {
		if (!(features & NETF(names[i].bit)))
			continue;
		at += (size_t)snprintf(to + at, len - at, "%s%s", space, names[i].name);
		space = " ";
	}
	if (!at)
		snprintf(to, len, "none");
}

void netfeatures_describe(uint64_t features, char *to, size_t len)
{
	const uint64_t plain = NETF(VIRTIO_F_IN_ORDER) | NETF(VIRTIO_NET_F_MRG_RXBUF) |
			       NETF(VIRTIO_NET_F_STATUS);
	char offloads[200], others[40];

	netfeatures_names(features & plain, others, sizeof(others));
	netfeatures_names(features & NETF_OFFLOADS, offloads, sizeof(offloads));
	snprintf(to, len, "%s%s%s, offloads %s", features & NETF(VIRTIO_F_RING_PACKED) ? "packed" : "split",
		 features & plain ? " " : "", features & plain ? others : "", offloads);
}
