/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtio-net feature bits that the driver knows, by name, and which of them go together. Any thread. */
#ifndef VIADUCT_DRIVER_NETFEATURES_H
#define VIADUCT_DRIVER_NETFEATURES_H

#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_config.h>
#include "virtio_net_bits.h"

#define NETF(name) (1ull << (name))

/* What a driver leaves to its device. */
#define NETF_HOST_TSO (NETF(VIRTIO_NET_F_HOST_TSO4) | NETF(VIRTIO_NET_F_HOST_TSO6))
#define NETF_HOST_GSO (NETF_HOST_TSO | NETF(VIRTIO_NET_F_HOST_USO))
#define NETF_HOST (NETF(VIRTIO_NET_F_CSUM) | NETF_HOST_GSO | NETF(VIRTIO_NET_F_HOST_ECN))
/* What a device may leave to its driver. */
#define NETF_GUEST_TSO (NETF(VIRTIO_NET_F_GUEST_TSO4) | NETF(VIRTIO_NET_F_GUEST_TSO6))
#define NETF_GUEST_GSO (NETF_GUEST_TSO | NETF(VIRTIO_NET_F_GUEST_USO4) | NETF(VIRTIO_NET_F_GUEST_USO6))
#define NETF_GUEST (NETF(VIRTIO_NET_F_GUEST_CSUM) | NETF_GUEST_GSO | NETF(VIRTIO_NET_F_GUEST_ECN))
#define NETF_OFFLOADS (NETF_HOST | NETF_GUEST)

/**
 * netfeatures_usable() - takes away what cannot stand alone
 * @features: that are offered and wanted
 *
 * virtio 1.3, 5.1.3.1 "Feature bit requirements". GUEST_TSO and GUEST_USO also need MRG_RXBUF: one rx buffer
 * does not hold such a packet. Bits from 32 on need VERSION_1. Return: the rest.
 */
uint64_t netfeatures_usable(uint64_t features);

/**
 * netfeatures_names() - a list such as "mrg_rxbuf csum guest_tso4"
 * @to, @len: the text, cut when it is too long; "none" when nothing in @features has a name
 */
void netfeatures_names(uint64_t features, char *to, size_t len);

/**
 * netfeatures_describe() - a connection in words: "packed in_order mrg_rxbuf, offloads csum host_tso4"
 * @to, @len: the text, cut when it is too long
 */
void netfeatures_describe(uint64_t features, char *to, size_t len);

#endif
