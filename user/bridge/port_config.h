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
#include "viaduct_bpf.h"

#define PORT_MACS 8		/* addresses of one port, given or learned */
#define PORT_VLAN_WORDS 64	/* 4096 VLANs, a bit each */
#define PORT_STORM 20000	/* broadcasts and multicasts a second that a guest may send unless storm= says more */

/*
 * Every virtio feature a port can offer, beside MAC (with mac=) and LOG_ALL. It depends on nothing: software fills in
 * what a NIC or kernel lacks. The control queue, which MQ and GUEST_ANNOUNCE need, is the front-end's own.
 */
#define PORT_FEATURES                                                                                                \
	(VNET_BIT(VIRTIO_F_VERSION_1) | VNET_BIT(VIRTIO_F_ANY_LAYOUT) | VNET_BIT(VIRTIO_F_RING_PACKED) |              \
	 VNET_BIT(VIRTIO_F_IN_ORDER) | VNET_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VNET_BIT(VIRTIO_RING_F_EVENT_IDX) |    \
	 VNET_BIT(VIRTIO_NET_F_MRG_RXBUF) | VNET_BIT(VIRTIO_NET_F_MQ) | VNET_BIT(VIRTIO_NET_F_MTU) |                  \
	 VNET_BIT(VIRTIO_NET_F_STATUS) | VNET_BIT(VIRTIO_NET_F_SPEED_DUPLEX) |                                        \
	 VNET_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | VNET_OFFLOADS)

/* link=: what a guest learns of the uplink's carrier. */
enum port_link {
	PORT_LINK_FOLLOW,	/* it is told, where there is a way to tell it */
	PORT_LINK_CLOSE,	/* as FOLLOW, and without carrier for long its connection is closed */
	PORT_LINK_ALWAYS_UP,	/* nothing */
};

struct port_config {
	char name[32];
	char socket[108];
	enum endpoint_role role;
	uint32_t pairs;		/* queue pairs offered */
	uint64_t without;	/* of PORT_FEATURES: those not to be offered */
	uint32_t nmac;		/* addresses given; 0: they are learned from what the guest sends */
	uint8_t mac[PORT_MACS][6];
	bool mac_lock;		/* the guest sends from these addresses only */
	bool isolated;		/* reaches the uplink and nothing else */
	/*
	 * VLANs. @vlan: of the frames that have no tag in the guest, 0 = they have none on the wire either. @trunk: bit v:
	 * tagged frames of VLAN v pass as they are; bit 0: so do untagged ones. Neither given: everything passes as it is.
	 */
	uint16_t vlan;
	bool have_trunk;
	bool trunk_all;		/* it was not a list but "all": every VLAN but @vlan */
	uint64_t trunk[PORT_VLAN_WORDS];
	/* Limits, seen from the guest (tx: it sends); 0 = none. */
	uint32_t storm;		/* broadcast and multicast frames a second that it sends */
	uint64_t tx_bps, rx_bps;	/* bits a second, Ethernet frames without FCS */
	uint64_t tx_pps, rx_pps;	/* frames a second */
	enum vd_steer_mode steering;	/* how flows are spread over its queue pairs */
	enum port_link link;
	char qmp[108];		/* QEMU's monitor, to tell it of the link; "": none */
	char netdev[64];	/* what QEMU calls the port, "": it is asked for */
	uid_t owner;		/* (uid_t)-1: as the process */
	gid_t group;
	mode_t perm;
};

#endif
