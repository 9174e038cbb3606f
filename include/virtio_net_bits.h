/* SPDX-License-Identifier: BSD-2-Clause */
/* linux/virtio_net.h, with what is younger than the oldest of its kind that we build with. */
#ifndef VIADUCT_VIRTIO_NET_BITS_H
#define VIADUCT_VIRTIO_NET_BITS_H

#include <linux/virtio_net.h>

#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#endif
