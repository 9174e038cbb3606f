/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an interface's driver offers to XDP programs and AF_XDP sockets beyond
 * moving frames. The kernel tells it through generic netlink, family "netdev"
 * (Documentation/netlink/specs/netdev.yaml). Control thread, at start.
 */
#ifndef VIADUCT_XDP_DEVFEAT_H
#define VIADUCT_XDP_DEVFEAT_H

#include "base/host_ops.h"

#define DEVFEAT_RX_HASH (1u << 1)	/* in @rx_metadata: bpf_xdp_metadata_rx_hash() */
#define DEVFEAT_RX_VLAN_TAG (1u << 2)	/* bpf_xdp_metadata_rx_vlan_tag() */
#define DEVFEAT_TX_CHECKSUM (1u << 1)	/* in @xsk: XDP_TXMD_FLAGS_CHECKSUM */

struct devfeat {
	uint64_t rx_metadata;	/* since Linux 6.7 */
	uint64_t xsk;		/* since Linux 6.8 */
};

/**
 * devfeat_read() - ask the kernel
 * @f: filled; all zero when the kernel does not say
 *
 * Return: 0, or -errno when nothing is known (-ENOENT: the kernel has no such family).
 */
int devfeat_read(const struct host_ops *host, int ifindex, struct devfeat *f);

#endif
