/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "vhost/bits.h"
#include "vhost_user.h"

/* Bits younger than the oldest headers we build with are given by number. */
const char *const bits_feature[64] = {
	[VIRTIO_NET_F_CSUM] = "csum",
	[VIRTIO_NET_F_GUEST_CSUM] = "guest_csum",
	[VIRTIO_NET_F_CTRL_GUEST_OFFLOADS] = "ctrl_guest_offloads",
	[VIRTIO_NET_F_MTU] = "mtu",
	[VIRTIO_NET_F_MAC] = "mac",
	[VIRTIO_NET_F_GSO] = "gso",
	[VIRTIO_NET_F_GUEST_TSO4] = "guest_tso4",
	[VIRTIO_NET_F_GUEST_TSO6] = "guest_tso6",
	[VIRTIO_NET_F_GUEST_ECN] = "guest_ecn",
	[VIRTIO_NET_F_GUEST_UFO] = "guest_ufo",
	[VIRTIO_NET_F_HOST_TSO4] = "host_tso4",
	[VIRTIO_NET_F_HOST_TSO6] = "host_tso6",
	[VIRTIO_NET_F_HOST_ECN] = "host_ecn",
	[VIRTIO_NET_F_HOST_UFO] = "host_ufo",
	[VIRTIO_NET_F_MRG_RXBUF] = "mrg_rxbuf",
	[VIRTIO_NET_F_STATUS] = "status",
	[VIRTIO_NET_F_CTRL_VQ] = "ctrl_vq",
	[VIRTIO_NET_F_CTRL_RX] = "ctrl_rx",
	[VIRTIO_NET_F_CTRL_VLAN] = "ctrl_vlan",
	[VIRTIO_NET_F_CTRL_RX_EXTRA] = "ctrl_rx_extra",
	[VIRTIO_NET_F_GUEST_ANNOUNCE] = "guest_announce",
	[VIRTIO_NET_F_MQ] = "mq",
	[VIRTIO_NET_F_CTRL_MAC_ADDR] = "ctrl_mac_addr",
	[VIRTIO_F_NOTIFY_ON_EMPTY] = "notify_on_empty",
	[VHOST_F_LOG_ALL] = "log_all",
	[VIRTIO_F_ANY_LAYOUT] = "any_layout",
	[VIRTIO_RING_F_INDIRECT_DESC] = "indirect_desc",
	[VIRTIO_RING_F_EVENT_IDX] = "event_idx",
	[VHOST_USER_F_PROTOCOL_FEATURES] = "protocol_features",
	[VIRTIO_F_VERSION_1] = "version_1",
	[33] = "access_platform",
	[34] = "ring_packed",
	[35] = "in_order",
	[36] = "order_platform",
	[37] = "sr_iov",
	[38] = "notification_data",
	[40] = "ring_reset",
	[52] = "vq_notf_coal",
	[53] = "notf_coal",
	[54] = "guest_uso4",
	[55] = "guest_uso6",
	[56] = "host_uso",
	[57] = "hash_report",
	[59] = "guest_hdrlen",
	[60] = "rss",
	[61] = "rsc_ext",
	[62] = "standby",
	[63] = "speed_duplex",
};

const char *const bits_protocol[64] = {
	[VHOST_USER_PROTOCOL_F_MQ] = "mq",
	[VHOST_USER_PROTOCOL_F_LOG_SHMFD] = "log_shmfd",
	[VHOST_USER_PROTOCOL_F_RARP] = "rarp",
	[VHOST_USER_PROTOCOL_F_REPLY_ACK] = "reply_ack",
	[VHOST_USER_PROTOCOL_F_NET_MTU] = "net_mtu",
	[VHOST_USER_PROTOCOL_F_BACKEND_REQ] = "backend_req",
	[6] = "cross_endian",
	[7] = "crypto_session",
	[8] = "pagefault",
	[VHOST_USER_PROTOCOL_F_CONFIG] = "config",
	[VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD] = "backend_send_fd",
	[11] = "host_notifier",
	[VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD] = "inflight_shmfd",
	[VHOST_USER_PROTOCOL_F_RESET_DEVICE] = "reset_device",
	[14] = "inband_notifications",
	[VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS] = "configure_mem_slots",
	[VHOST_USER_PROTOCOL_F_STATUS] = "status",
	[17] = "xen_mmap",
	[18] = "shared_object",
	[VHOST_USER_PROTOCOL_F_DEVICE_STATE] = "device_state",
};

void bits_text(uint64_t bits, const char *const names[64], char *to, size_t len)
{
	const char *comma = "";
	size_t at = 0;

	to[0] = 0;
	for (int i = 0; i < 64; i++) {
		char one[40];
		int n;

		if (!(bits >> i & 1))
			continue;
		if (names[i])
			n = snprintf(one, sizeof(one), "%s%s", comma, names[i]);
		else
			n = snprintf(one, sizeof(one), "%sbit %d", comma, i);
		if (at + (size_t)n + sizeof(", ...") > len) {
			snprintf(to + at, len - at, ", ...");
			return;
		}
		at += (size_t)snprintf(to + at, len - at, "%s", one);
		comma = ", ";
	}
}
