/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Broadcast and multicast from the wire. An XDP program can give a frame only
 * one way, so it passes these up to the host, and a packet socket takes a copy.
 *
 * On its way up the kernel may have taken the VLAN tag out of the frame, and
 * the sender (a veth peer) may have left the checksum to the hardware. Both are
 * told beside the frame in the ring, and both are put right here: guests get
 * what was on the wire. Frames that the host itself sends are not shown to us.
 *
 * The ring is of version 2: one slot per frame, owned by turns by the kernel
 * and by us, tp_status says whose it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "base/atomics.h"
#include "ring/csum.h"
#include "ring/vlan.h"
#include "viaduct_host.h"
#include "xdp/mcast.h"

#define TAG 0x7473636du	/* of its records in a parcel */
#define SLOTS 256
#define SLOT_OVERHEAD 256	/* the kernel's header, the virtio-net header, a tag, alignment */
#define BLOCK_SIZE 65536	/* a multiple of every slot size */

struct mcast {
	int fd;
	uint8_t *ring;
	uint32_t slot_size;
	unsigned next;
	struct mcast_stats stats;
};

/*
 * Group addresses, but not 01:80:c2:00:00:0x, which a bridge must not forward (IEEE 802.1Q 8.6.3), and not what the host's
 * port moved to the uplink (hostport.c): guests have that already.
 */
static int set_filter(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RXHASH)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, VD_HOST_HASH, 8, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x01, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0180c200, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0x40000),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

static int set_option(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int map_ring(struct mcast *m)
{
	void *ring = mmap(NULL, (size_t)SLOTS * m->slot_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);

	if (ring == MAP_FAILED)
		return -errno;
	m->ring = ring;
	return 0;
}

/* Filter and options first, the protocol last: not one wrong frame gets in. */
static int configure(struct mcast *m, int ifindex)
{
	const struct tpacket_req req = {
		.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = SLOTS * m->slot_size / BLOCK_SIZE,
		.tp_frame_size = m->slot_size,
		.tp_frame_nr = SLOTS,
	};
	struct sockaddr_ll sa = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = ifindex,
	};
	int ret;

	ret = set_filter(m->fd);
	if (!ret)
		ret = set_option(m->fd, PACKET_VERSION, TPACKET_V2);
	if (!ret)
		ret = set_option(m->fd, PACKET_IGNORE_OUTGOING, 1);
	if (!ret)
		ret = set_option(m->fd, PACKET_VNET_HDR, 1);
	if (ret)
		return ret;
	if (setsockopt(m->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		return -errno;
	ret = map_ring(m);
	if (ret)
		return ret;
	return bind(m->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
}

int mcast_open(const struct host_ops *host, int ifindex, uint32_t max_frame, struct mcast **out)
{
	struct mcast *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	for (m->slot_size = 4096; m->slot_size < max_frame + SLOT_OVERHEAD && m->slot_size < BLOCK_SIZE;)
		m->slot_size *= 2;
	ret = m->fd = host->packet_socket(host, ifindex, 0);
	if (ret >= 0)
		ret = configure(m, ifindex);
	if (ret < 0) {
		mcast_close(m);
		return ret;
	}
	*out = m;
	return 0;
}

void mcast_continue(struct mcast *m, const struct mcast *past)
{
	m->stats = past->stats;
}

void mcast_save(const struct mcast *m, struct parcel *to)
{
	parcel_put(to, TAG, &m->slot_size, sizeof(m->slot_size));
	parcel_put_fd(to, TAG, m->fd);
}

int mcast_adopt(struct parcel *from, struct mcast **out)
{
	struct mcast *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	parcel_get(from, TAG, &m->slot_size, sizeof(m->slot_size));
	m->fd = parcel_get_fd(from, TAG);
	ret = from->err;
	if (!ret && (m->slot_size < 4096 || m->slot_size > BLOCK_SIZE || m->slot_size & (m->slot_size - 1)))
		ret = -EPROTO;
	if (!ret)
		ret = map_ring(m);
	if (ret) {
		mcast_close(m);
		return ret;
	}
	*out = m;
	return 0;
}

void mcast_save_position(const struct mcast *m, struct parcel *to)
{
	parcel_put(to, TAG, &m->next, sizeof(m->next));
	parcel_put(to, TAG, &m->stats, sizeof(m->stats));
}

void mcast_resume(struct mcast *m, struct parcel *from)
{
	parcel_get(from, TAG, &m->next, sizeof(m->next));
	parcel_get(from, TAG, &m->stats, sizeof(m->stats));
	m->next %= SLOTS;
}

void mcast_close(struct mcast *m)
{
	if (!m)
		return;
	if (m->ring)
		munmap(m->ring, (size_t)SLOTS * m->slot_size);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

int mcast_fd(const struct mcast *m)
{
	return m->fd;
}

static struct tpacket2_hdr *slot(const struct mcast *m)
{
	return (struct tpacket2_hdr *)(void *)(m->ring + (size_t)m->next * m->slot_size);
}

bool mcast_pending(const struct mcast *m)
{
	return load_acquire(&slot(m)->tp_status) & TP_STATUS_USER;
}

/* Over [start, len), complemented and stored; what the sender put there already is the pseudo header's sum. */
static int finish_checksum(uint8_t *frame, uint32_t len, uint32_t start, uint32_t offset)
{
	uint16_t result;

	if (start > len || offset > len - start || len - start - offset < 2)
		return -EINVAL;
	result = (uint16_t)~csum_fold(csum_add(0, frame + start, len - start));
	if (!result)		/* zero would mean "no checksum" in UDP, and is the same number elsewhere */
		result = 0xffff;
	memcpy(frame + start + offset, &result, sizeof(result));
	return 0;
}

static uint32_t insert_tag(uint8_t *frame, uint32_t len, uint16_t tpid, uint16_t tci)
{
	memmove(frame + VLAN_TYPE_AT + VLAN_TAG_LEN, frame + VLAN_TYPE_AT, len - VLAN_TYPE_AT);
	vlan_write_tag(frame + VLAN_TYPE_AT, tpid, tci);
	return len + VLAN_TAG_LEN;
}

/* The frame of one slot, repaired. Return: its length or -errno. */
static int take(const struct mcast *m, const struct tpacket2_hdr *h, uint8_t *buf, uint32_t room)
{
	const uint32_t status = h->tp_status, len = h->tp_snaplen, mac = h->tp_mac;
	const uint8_t *base = (const uint8_t *)h;
	struct virtio_net_hdr vnet;
	uint16_t tpid = ETH_P_8021Q;
	int ret;

	if (len != h->tp_len)			/* longer than a slot: a merged packet, not a frame of the wire */
		return -EMSGSIZE;
	if (mac < sizeof(*h) + sizeof(vnet) || mac > m->slot_size || len > m->slot_size - mac || len < ETH_HLEN)
		return -EINVAL;
	if (len + VLAN_TAG_LEN > room)
		return -EMSGSIZE;
	memcpy(&vnet, base + mac - sizeof(vnet), sizeof(vnet));
	if (vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return -EMSGSIZE;
	memcpy(buf, base + mac, len);
	if (vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		ret = finish_checksum(buf, len, vnet.csum_start, vnet.csum_offset);
		if (ret)
			return ret;
	}
	if (!(status & TP_STATUS_VLAN_VALID))
		return (int)len;
	if ((status & TP_STATUS_VLAN_TPID_VALID) && h->tp_vlan_tpid)
		tpid = h->tp_vlan_tpid;
	return (int)insert_tag(buf, len, tpid, h->tp_vlan_tci);
}

int mcast_recv(struct mcast *m, uint8_t *buf, uint32_t len)
{
	struct tpacket2_hdr *h = slot(m);
	int ret;

	if (!mcast_pending(m))
		return 0;
	ret = take(m, h, buf, len);
	store_release(&h->tp_status, TP_STATUS_KERNEL);
	m->next = (m->next + 1) % SLOTS;
	if (ret < 0)
		m->stats.malformed++;
	else
		m->stats.packets++;
	return ret;
}

const struct mcast_stats *mcast_stats(struct mcast *m)
{
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	/* The kernel's count starts again at every look. */
	if (!getsockopt(m->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len))
		m->stats.kernel_drops += st.tp_drops;
	return &m->stats;
}
