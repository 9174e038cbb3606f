/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge's own cost: a data path between AF_XDP rings in ordinary memory
 * and a guest's virtqueues, in one thread, without the kernel.
 *
 *   vd-bench-memory rx|tx LEN PACKETS [split|packed]
 *
 * Both ends are played by the loop itself and do as little as they can: the
 * guest's chains are written once and made available again by moving one index
 * (so it depends on chains coming back in order), or in a packed ring, which has
 * no index, one by one; the NIC writes descriptors and metadata but no frames. What the loop costs beside datapath_rx() and
 * datapath_tx() is therefore small, and callgrind can leave it out
 * (--toggle-collect=datapath_rx). Frames are checked to have arrived.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "base/clock.h"
#include "bridge/datapath.h"
#include "bridge/mac.h"

#define RING 256u		/* descriptors of a virtqueue, as guests have them */
#define NIC_RING 2048u
#define FRAMES 4096u
#define CHUNK 2048u
#define BUF 2048u
#define BURST 32u		/* frames the NIC hands over at a time */
#define HDR_LEN 12u
#define GUEST_ADDR 0x100000000ull
#define USER_ADDR 0x7f0000000000ull
#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_NET_F_MRG_RXBUF | \
		  1ull << VIRTIO_RING_F_INDIRECT_DESC)

static const uint8_t guest_mac[MAC_LEN] = { 0x52, 0x54, 0, 0, 0, 3 };
static const uint8_t wire_mac[MAC_LEN] = { 0x52, 0x54, 0, 0, 0, 2 };

/* One virtqueue as the guest sees it. */
struct side {
	struct vring_desc desc[RING];
	struct { uint16_t flags, idx, ring[RING], used_event; } avail;
	struct { uint16_t flags, idx; struct vring_used_elem ring[RING]; uint16_t avail_event; } used
		__attribute__((aligned(64)));
	struct vring_packed_desc packed[RING] __attribute__((aligned(64)));
	struct vring_packed_desc_event driver, device;
	uint8_t buf[RING][BUF] __attribute__((aligned(4096)));
} __attribute__((aligned(4096)));

struct bench {
	struct side *guest;	/* [VIRTQ_RX], [VIRTQ_TX] */
	struct gmem *mem;
	struct nicq nicq;
	struct port *port;
	struct datapath *dp;
	struct fdb fdb;
	struct vd_flow flow[VD_MAX_PORTS];
	uint32_t len;
	bool packed;
	unsigned next;		/* packed: the descriptor to be lent next, and the driver's wrap counter */
	bool wrap;
};

static void make_frame(uint8_t *to, const uint8_t *dst, const uint8_t *src, uint32_t len)
{
	memset(to, 0x5a, len);
	memcpy(to, dst, MAC_LEN);
	memcpy(to + MAC_LEN, src, MAC_LEN);
	to[12] = 0x08;
	to[13] = 0x00;
}

/* --- the guest ----------------------------------------------------------- */

static void lay_out(struct bench *b, enum virtq_dir dir)
{
	struct side *s = &b->guest[dir];

	for (unsigned i = 0; i < RING; i++) {
		s->desc[i] = (struct vring_desc){
			.addr = GUEST_ADDR + (uint64_t)((uint8_t *)s->buf[i] - (uint8_t *)b->guest),
			.len = dir == VIRTQ_RX ? BUF : HDR_LEN + b->len,
			.flags = dir == VIRTQ_RX ? VRING_DESC_F_WRITE : 0,
		};
		s->avail.ring[i] = (uint16_t)i;
		s->packed[i] = (struct vring_packed_desc){
			.addr = s->desc[i].addr,
			.len = s->desc[i].len,
			.flags = (uint16_t)(s->desc[i].flags | 1 << VRING_PACKED_DESC_F_AVAIL),
		};
		if (dir == VIRTQ_TX)
			make_frame(s->buf[i] + HDR_LEN, wire_mac, guest_mac, b->len);
	}
}

/* The driver's wrap counter is 1 in the first round, in which all were lent by lay_out(). */
static void lend_packed(struct bench *b, struct side *s)
{
	for (unsigned n = 0; n < RING; n++) {
		struct vring_packed_desc *d = &s->packed[b->next];
		uint16_t flags = load_acquire(&d->flags);
		bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1, used = flags >> VRING_PACKED_DESC_F_USED & 1;

		if (used != b->wrap || avail != used)
			return;
		d->addr = s->desc[b->next].addr;
		d->len = s->desc[b->next].len;
		d->id = 0;
		flags = (uint16_t)(s->desc[b->next].flags |
				   1 << (b->wrap ? VRING_PACKED_DESC_F_USED : VRING_PACKED_DESC_F_AVAIL));
		store_release(&d->flags, flags);
		if (++b->next == RING) {
			b->next = 0;
			b->wrap = !b->wrap;
		}
	}
}

/* Everything the bridge has given back is lent again. */
static void lend(struct bench *b, struct side *s)
{
	if (b->packed) {
		lend_packed(b, s);
		return;
	}
	store_release(&s->avail.idx, (uint16_t)(load_acquire(&s->used.idx) + RING));
}

static int start_ring(struct bench *b, enum virtq_dir dir)
{
	struct virtq *vq = dir == VIRTQ_RX ? port_rxq(b->port, 0) : port_txq(b->port, 0);
	uint64_t at = USER_ADDR + dir * sizeof(struct side);
	struct virtq_config cfg = {
		.dir = dir, .size = RING, .features = FEATURES, .mem = b->mem, .max_frame = NICQ_MAX_FRAME(CHUNK),
		.callfd = -1, .kickfd = -1,
	};
	struct iovec iov;
	unsigned hint = 0;

	if (gmem_map(b->mem, GMEM_USER, at, sizeof(struct side), &iov, 1, &hint) != 1)
		return -EFAULT;
	cfg.desc = ((struct side *)iov.iov_base)->desc;
	cfg.avail = (struct vring_avail *)(void *)&((struct side *)iov.iov_base)->avail;
	cfg.used = (struct vring_used *)(void *)&((struct side *)iov.iov_base)->used;
	if (b->packed) {
		cfg.features |= 1ull << VIRTIO_F_RING_PACKED;
		cfg.base = 0x80008000;
		cfg.desc = ((struct side *)iov.iov_base)->packed;
		cfg.avail = &((struct side *)iov.iov_base)->driver;
		cfg.used = &((struct side *)iov.iov_base)->device;
	}
	lay_out(b, dir);
	vq->enabled = 1;
	return virtq_start(vq, &cfg);
}

static int plug_guest(struct bench *b)
{
	const size_t len = 2 * sizeof(struct side);
	struct gmem_desc desc = { .guest_addr = GUEST_ADDR, .size = len, .user_addr = USER_ADDR };
	int fd = memfd_create("guest", MFD_CLOEXEC), ret;

	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	b->guest = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (b->guest == MAP_FAILED)
		return -errno;
	ret = gmem_create(&desc, &fd, 1, &b->mem);
	if (!ret)
		ret = start_ring(b, VIRTQ_RX);
	if (!ret)
		ret = start_ring(b, VIRTQ_TX);
	return ret;
}

/* --- the NIC ------------------------------------------------------------- */

/* Receives up to @n frames, as the kernel and the XDP program do. Return: frames. */
static unsigned nic_receive(struct bench *b, unsigned n)
{
	struct nicq *q = &b->nicq;
	uint32_t prod = *q->rx.producer, cons = *q->fill.consumer, i;
	uint32_t have = load_acquire(q->fill.producer) - cons;
	uint32_t room = NIC_RING - (prod - load_acquire(q->rx.consumer));

	n = n < have ? n : have;
	n = n < room ? n : room;
	for (i = 0; i < n; i++) {
		uint64_t addr = ((uint64_t *)q->fill.ring)[(cons + i) & q->fill.mask] + NICQ_DATA_OFFSET;
		struct vd_meta *m = (struct vd_meta *)(void *)(q->umem + addr - sizeof(*m));

		*m = (struct vd_meta){ .magic = VD_META_MAGIC, .seq = b->flow[0].seq++ };
		((struct xdp_desc *)q->rx.ring)[(prod + i) & q->rx.mask] =
			(struct xdp_desc){ .addr = addr, .len = b->len };
	}
	store_release(q->fill.consumer, cons + n);
	store_release(q->rx.producer, prod + n);
	return n;
}

/* Sends what is in the tx ring, and returns the frames. */
static unsigned nic_send(struct bench *b)
{
	struct nicq *q = &b->nicq;
	uint32_t cons = *q->tx.consumer, prod = *q->completion.producer, i;
	uint32_t n = load_acquire(q->tx.producer) - cons;

	for (i = 0; i < n; i++)
		((uint64_t *)q->completion.ring)[(prod + i) & q->completion.mask] =
			((struct xdp_desc *)q->tx.ring)[(cons + i) & q->tx.mask].addr;
	store_release(q->tx.consumer, cons + n);
	store_release(q->completion.producer, prod + n);
	return n;
}

static int plug_nic(struct bench *b)
{
	int ret = nicq_init_memory(&b->nicq, NIC_RING, FRAMES, CHUNK);

	if (ret)
		return ret;
	for (uint32_t i = 0; i < FRAMES; i++)
		make_frame(b->nicq.umem + (uint64_t)i * CHUNK + NICQ_DATA_OFFSET, guest_mac, wire_mac, b->len);
	nicq_refill(&b->nicq);
	return datapath_create(&b->nicq, b->flow, &b->fdb, &b->port, 1, 1, &b->dp);
}

/* --- the loop ------------------------------------------------------------ */

static uint64_t run_rx(struct bench *b, uint64_t packets)
{
	uint64_t sent = 0;

	while (sent < packets) {
		struct dp_result res = { 0 };

		lend(b, &b->guest[VIRTQ_RX]);
		sent += nic_receive(b, packets - sent < BURST ? (unsigned)(packets - sent) : BURST);
		datapath_rx(b->dp, sent, &res);
	}
	return port_rxq(b->port, 0)->stats.packets;
}

static uint64_t run_tx(struct bench *b, uint64_t packets)
{
	uint64_t got = 0;

	while (got < packets) {
		struct dp_result res = { 0 };

		lend(b, &b->guest[VIRTQ_TX]);
		datapath_tx(b->dp, got, &res);
		got += nic_send(b);
		if (!res.work)
			break;
	}
	return got;
}

static int set_up(struct bench *b)
{
	struct port_config cfg = { .name = "bench", .pairs = 1, .nmac = 1 };
	int ret;

	memcpy(cfg.mac[0], guest_mac, MAC_LEN);
	b->port = port_create(0, &cfg);
	if (!b->port)
		return -ENOMEM;
	ret = plug_guest(b);
	return ret ? ret : plug_nic(b);
}

static void tear_down(struct bench *b)
{
	datapath_destroy(b->dp);
	nicq_fini(&b->nicq);
	port_destroy(b->port);
	gmem_put(b->mem);
	munmap(b->guest, 2 * sizeof(struct side));
}

int main(int argc, char **argv)
{
	static struct bench b;
	uint64_t packets, done, from, ns;
	bool rx = argc > 1 && !strcmp(argv[1], "rx");
	int ret;

	if (argc < 4 || argc > 5 || (!rx && strcmp(argv[1], "tx")) ||
	    (argc == 5 && strcmp(argv[4], "split") && strcmp(argv[4], "packed"))) {
		fprintf(stderr, "usage: vd-bench-memory rx|tx LEN PACKETS [split|packed]\n");
		return 2;
	}
	b.packed = argc == 5 && !strcmp(argv[4], "packed");
	b.wrap = true;
	b.len = (uint32_t)strtoul(argv[2], NULL, 10);
	packets = strtoull(argv[3], NULL, 10);
	if (b.len < 14 || b.len > NICQ_MAX_FRAME(CHUNK) || !packets) {
		fprintf(stderr, "vd-bench-memory: LEN is 14 to %u, PACKETS at least 1\n", NICQ_MAX_FRAME(CHUNK));
		return 2;
	}
	ret = set_up(&b);
	if (ret) {
		fprintf(stderr, "vd-bench-memory: %s\n", strerror(-ret));
		return 1;
	}
	from = clock_now();
	done = rx ? run_rx(&b, packets) : run_tx(&b, packets);
	ns = clock_now() - from;
	printf("{\"direction\": \"%s\", \"ring\": \"%s\", \"len\": %u, \"packets\": %llu, \"pps\": %.0f}\n", rx ? "rx" : "tx",
	       b.packed ? "packed" : "split", b.len,
	       (unsigned long long)done, (double)done * 1e9 / (double)ns);
	tear_down(&b);
	if (done < packets) {
		fprintf(stderr, "vd-bench-memory: %llu of %llu packets arrived\n", (unsigned long long)done,
			(unsigned long long)packets);
		return 1;
	}
	return 0;
}
