/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operator says of a port (--port). */
#ifndef VIADUCT_BRIDGE_PORT_CONFIG_H
#define VIADUCT_BRIDGE_PORT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/virtio_ring.h>

#include "ring/vnet.h"
#include "vhost/endpoint.h"

/* Every virtio feature a port can offer. It depends on nothing: software fills in what a NIC or kernel lacks. */
#define PORT_FEATURES                                                                                                \
	(VNET_BIT(VIRTIO_F_VERSION_1) | VNET_BIT(VIRTIO_F_ANY_LAYOUT) | VNET_BIT(VIRTIO_F_RING_PACKED) |              \
	 VNET_BIT(VIRTIO_F_IN_ORDER) | VNET_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VNET_BIT(VIRTIO_RING_F_EVENT_IDX) |    \
	 VNET_BIT(VIRTIO_NET_F_MRG_RXBUF) | VNET_BIT(VIRTIO_NET_F_MQ) | VNET_BIT(VIRTIO_NET_F_MTU) | VNET_OFFLOADS)

struct port_config {
	char name[32];
	char socket[108];
	enum endpoint_role role;
	uint32_t pairs;		/* queue pairs offered */
	uint64_t without;	/* of PORT_FEATURES: those not to be offered */
	bool have_mac;
	uint8_t mac[6];
	uid_t owner;		/* (uid_t)-1: as the process */
	gid_t group;
	mode_t perm;
};

#endif
