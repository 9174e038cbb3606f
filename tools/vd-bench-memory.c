/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge's own cost: a data path between AF_XDP rings in ordinary memory
 * and guests' virtqueues, in one thread, without the kernel.
 *
 *   vd-bench-memory rx|tx|local LEN PACKETS [split|packed [IDLE]]
 *
 * rx: NIC to guest, tx: guest to NIC, local: guest to guest. IDLE: further ports
 * whose rings run and stay empty.
 *
 * All ends are played by the loop itself and do as little as they can: the
 * guest's chains are written once and made available again by moving one index
 * (so it depends on chains coming back in order), or in a packed ring, which has
 * no index, one by one; the NIC writes descriptors and metadata but no frames.
 * What the loop costs beside datapath_rx() and datapath_tx() is therefore small,
 * and callgrind can leave it out (--toggle-collect=datapath_rx). Time is counted
 * in passes, so that a run does the same every time. Frames are checked to have
 * arrived.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
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
#define GUESTS 2u		/* with buffers */
#define PASS_NS 2000u		/* what a pass of the worker takes, about */
#define GUEST_ADDR 0x100000000ull
#define USER_ADDR 0x7f0000000000ull
#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_NET_F_MRG_RXBUF | \
		  1ull << VIRTIO_RING_F_INDIRECT_DESC)

static const uint8_t wire_mac[MAC_LEN] = { 0x52, 0x54, 0, 0, 0, 2 };

enum direction { NIC_TO_GUEST, GUEST_TO_NIC, GUEST_TO_GUEST };
static const char *const direction_name[] = { "rx", "tx", "local" };

/* One virtqueue as the guest sees it. */
struct rings {
	struct vring_desc desc[RING];
	struct { uint16_t flags, idx, ring[RING], used_event; } avail;
	struct { uint16_t flags, idx; struct vring_used_elem ring[RING]; uint16_t avail_event; } used
		__attribute__((aligned(64)));
	struct vring_packed_desc packed[RING] __attribute__((aligned(64)));
	struct vring_packed_desc_event driver, device;
} __attribute__((aligned(4096)));

struct side {
	struct rings r;
	uint8_t buf[RING][BUF] __attribute__((aligned(4096)));
};

/* What all guests have in one piece of memory. */
struct guests {
	struct side side[GUESTS][2];	/* [port][VIRTQ_RX], [VIRTQ_TX] */
	struct rings idle[][2];		/* of the ports behind them */
};

struct bench {
	enum direction dir;
	struct guests *guests;
	size_t guests_len;
	struct gmem *mem;
	struct nicq nicq;
	struct port *port[VD_MAX_PORTS];
	uint32_t nport, loaded;	/* ports, and those of them that are not idle */
	struct datapath *dp;
	struct fdb fdb;
	struct vd_flow flow[VD_FLOW_ROW];
	uint32_t len;
	bool packed;
	struct {
		unsigned next;	/* packed: the descriptor to be lent next, and the driver's wrap counter */
		bool clear;	/* is it 0? */
	} lent[GUESTS][2];
};

static void mac_of(uint8_t mac[MAC_LEN], uint32_t port)
{
	memcpy(mac, (uint8_t[MAC_LEN]){ 0x52, 0x54, 0, 0, 1, (uint8_t)port }, MAC_LEN);
}

static void make_frame(uint8_t *to, const uint8_t *dst, const uint8_t *src, uint32_t len)
{
	memset(to, 0x5a, len);
	memcpy(to, dst, MAC_LEN);
	memcpy(to + MAC_LEN, src, MAC_LEN);
	to[12] = 0x08;
	to[13] = 0x00;
}

/* --- the guest ----------------------------------------------------------- */

static struct rings *rings_of(const struct bench *b, struct guests *g, uint32_t port, enum virtq_dir dir)
{
	return port < b->loaded ? &g->side[port][dir].r : &g->idle[port - b->loaded][dir];
}

/* The other rings of loaded ports stay empty. */
static bool is_used(const struct bench *b, uint32_t port, enum virtq_dir dir)
{
	if (b->dir == GUEST_TO_GUEST)
		return dir == (port ? VIRTQ_RX : VIRTQ_TX);
	return dir == (b->dir == NIC_TO_GUEST ? VIRTQ_RX : VIRTQ_TX);
}

/* Lends all buffers, the frames to be sent in them. */
static void lay_out(struct bench *b, uint32_t port, enum virtq_dir dir)
{
	struct side *s = &b->guests->side[port][dir];
	struct rings *r = &s->r;
	uint8_t src[MAC_LEN], dst[MAC_LEN];

	mac_of(src, port);
	memcpy(dst, wire_mac, MAC_LEN);
	if (b->dir == GUEST_TO_GUEST)
		mac_of(dst, !port);
	for (unsigned i = 0; i < RING; i++) {
		r->desc[i] = (struct vring_desc){
			.addr = GUEST_ADDR + (uint64_t)((uint8_t *)s->buf[i] - (uint8_t *)b->guests),
			.len = dir == VIRTQ_RX ? BUF : HDR_LEN + b->len,
			.flags = dir == VIRTQ_RX ? VRING_DESC_F_WRITE : 0,
		};
		r->avail.ring[i] = (uint16_t)i;
		r->packed[i] = (struct vring_packed_desc){
			.addr = r->desc[i].addr,
			.len = r->desc[i].len,
			.flags = (uint16_t)(r->desc[i].flags | 1 << VRING_PACKED_DESC_F_AVAIL),
		};
		if (dir == VIRTQ_TX)
			make_frame(s->buf[i] + HDR_LEN, dst, src, b->len);
	}
}

/* The driver's wrap counter is 1 in the first round, in which all were lent by lay_out(). */
static void lend_packed(struct bench *b, uint32_t port, enum virtq_dir dir)
{
	struct rings *r = &b->guests->side[port][dir].r;
	unsigned next = b->lent[port][dir].next;
	bool wrap = !b->lent[port][dir].clear;

	for (unsigned n = 0; n < RING; n++) {
		struct vring_packed_desc *d = &r->packed[next];
		uint16_t flags = load_acquire(&d->flags);
		bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1, used = flags >> VRING_PACKED_DESC_F_USED & 1;

		if (used != wrap || avail != used)
			break;
		d->addr = r->desc[next].addr;
		d->len = r->desc[next].len;
		d->id = 0;
		flags = (uint16_t)(r->desc[next].flags | 1 << (wrap ? VRING_PACKED_DESC_F_USED : VRING_PACKED_DESC_F_AVAIL));
		store_release(&d->flags, flags);
		if (++next == RING) {
			next = 0;
			wrap = !wrap;
		}
	}
	b->lent[port][dir].next = next;
	b->lent[port][dir].clear = !wrap;
}

/* Everything the bridge has given back is lent again. */
static void lend(struct bench *b, uint32_t port, enum virtq_dir dir)
{
	struct rings *r = &b->guests->side[port][dir].r;

	if (b->packed) {
		lend_packed(b, port, dir);
		return;
	}
	store_release(&r->avail.idx, (uint16_t)(load_acquire(&r->used.idx) + RING));
}

static int start_ring(struct bench *b, uint32_t port, enum virtq_dir dir)
{
	struct virtq *vq = dir == VIRTQ_RX ? port_rxq(b->port[port], 0) : port_txq(b->port[port], 0);
	uint64_t at = USER_ADDR + (uint64_t)((uint8_t *)rings_of(b, b->guests, port, dir) - (uint8_t *)b->guests);
	struct virtq_config cfg = {
		.dir = dir, .size = RING, .features = FEATURES, .mem = b->mem, .max_frame = NICQ_MAX_FRAME(CHUNK),
		.callfd = -1, .kickfd = -1,
	};
	unsigned hint = 0;
	struct rings *r;
	struct iovec iov;

	if (gmem_map(b->mem, GMEM_USER, at, sizeof(*r), &iov, 1, &hint) != 1)
		return -EFAULT;
	r = iov.iov_base;
	cfg.desc = r->desc;
	cfg.avail = (struct vring_avail *)(void *)&r->avail;
	cfg.used = (struct vring_used *)(void *)&r->used;
	if (b->packed) {
		cfg.features |= 1ull << VIRTIO_F_RING_PACKED;
		cfg.base = 0x80008000;
		cfg.desc = r->packed;
		cfg.avail = &r->driver;
		cfg.used = &r->device;
	}
	if (port < b->loaded) {
		if (is_used(b, port, dir))
			lay_out(b, port, dir);
	} else {
		cfg.kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (cfg.kickfd < 0)
			return -errno;
	}
	vq->enabled = 1;
	return virtq_start(vq, &cfg);
}

static int start_port(struct bench *b, uint32_t i)
{
	struct port_config cfg = { .pairs = 1, .nmac = 1 };
	int ret;

	snprintf(cfg.name, sizeof(cfg.name), "bench%u", i);
	mac_of(cfg.mac[0], i);
	b->port[i] = port_create(i, &cfg);
	if (!b->port[i])
		return -ENOMEM;
	ret = start_ring(b, i, VIRTQ_RX);
	if (!ret)
		ret = start_ring(b, i, VIRTQ_TX);
	port_map(b->port[i], &b->port[i]->map);
	return ret ? ret : fdb_set(&b->fdb, mac_load(cfg.mac[0]), i, 0);
}

static int plug_guests(struct bench *b)
{
	struct gmem_desc desc = { .guest_addr = GUEST_ADDR, .user_addr = USER_ADDR };
	int fd = memfd_create("guests", MFD_CLOEXEC), ret;

	b->guests_len = sizeof(struct guests) + (b->nport - b->loaded) * sizeof(b->guests->idle[0]);
	desc.size = b->guests_len;
	if (fd < 0 || ftruncate(fd, (off_t)b->guests_len) < 0)
		return -errno;
	b->guests = mmap(NULL, b->guests_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (b->guests == MAP_FAILED)
		return -errno;
	ret = gmem_create(&desc, &fd, 1, &b->mem);
	for (uint32_t i = 0; i < b->nport && !ret; i++)
		ret = start_port(b, i);
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
		b->flow[VD_MAX_PORTS].seq++;
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
	uint8_t mac[MAC_LEN];

	if (ret)
		return ret;
	mac_of(mac, 0);
	for (uint32_t i = 0; i < FRAMES; i++)
		make_frame(b->nicq.umem + (uint64_t)i * CHUNK + NICQ_DATA_OFFSET, mac, wire_mac, b->len);
	nicq_refill(&b->nicq);
	return datapath_create(&b->nicq, b->flow, &b->fdb, b->port, b->nport, 1, &b->dp);
}

/* --- the loop ------------------------------------------------------------ */

static uint64_t run_rx(struct bench *b, uint64_t packets)
{
	uint64_t sent = 0;

	for (uint64_t now = PASS_NS; sent < packets; now += PASS_NS) {
		struct dp_result res = { 0 };

		lend(b, 0, VIRTQ_RX);
		sent += nic_receive(b, packets - sent < BURST ? (unsigned)(packets - sent) : BURST);
		datapath_rx(b->dp, now, &res);
		if (b->nport > b->loaded)
			datapath_tx(b->dp, now, &res);
	}
	return port_rxq(b->port[0], 0)->stats.packets;
}

static uint64_t run_tx(struct bench *b, uint64_t packets)
{
	uint64_t got = 0;

	for (uint64_t now = PASS_NS; got < packets; now += PASS_NS) {
		struct dp_result res = { 0 };

		lend(b, 0, VIRTQ_TX);
		datapath_tx(b->dp, now, &res);
		got += nic_send(b);
		if (!res.work && !res.again)
			break;
	}
	return got;
}

/* What the second guest has from the first. */
static uint64_t run_local(struct bench *b, uint64_t packets)
{
	const struct virtq *to = port_rxq(b->port[1], 0);

	for (uint64_t now = PASS_NS; to->stats.packets < packets; now += PASS_NS) {
		struct dp_result res = { 0 };

		lend(b, 0, VIRTQ_TX);
		lend(b, 1, VIRTQ_RX);
		datapath_tx(b->dp, now, &res);
		if (!res.work && !res.again)
			break;
	}
	return to->stats.packets;
}

static uint64_t run(struct bench *b, uint64_t packets)
{
	switch (b->dir) {
	case NIC_TO_GUEST:
		return run_rx(b, packets);
	case GUEST_TO_NIC:
		return run_tx(b, packets);
	case GUEST_TO_GUEST:
		break;
	}
	return run_local(b, packets);
}

static void tear_down(struct bench *b)
{
	datapath_destroy(b->dp);
	nicq_fini(&b->nicq);
	for (uint32_t i = 0; i < b->nport; i++) {
		for (unsigned k = 0; i >= b->loaded && k < 2; k++)
			close(port_vq(b->port[i], k)->kickfd);
		port_destroy(b->port[i]);
	}
	gmem_put(b->mem);
	munmap(b->guests, b->guests_len);
}

static bool parse(struct bench *b, int argc, char **argv, uint64_t *packets)
{
	unsigned long idle = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
	unsigned d = 0;

	if (argc < 4 || argc > 6 || (argc > 4 && strcmp(argv[4], "split") && strcmp(argv[4], "packed")))
		return false;
	while (d < 3 && strcmp(argv[1], direction_name[d]))
		d++;
	if (d == 3)
		return false;
	b->dir = (enum direction)d;
	b->loaded = b->dir == GUEST_TO_GUEST ? 2 : 1;
	b->packed = argc > 4 && !strcmp(argv[4], "packed");
	b->len = (uint32_t)strtoul(argv[2], NULL, 10);
	*packets = strtoull(argv[3], NULL, 10);
	b->nport = b->loaded + (uint32_t)idle;
	return b->len >= 14 && b->len <= NICQ_MAX_FRAME(CHUNK) && *packets && idle <= VD_MAX_PORTS - b->loaded;
}

int main(int argc, char **argv)
{
	const struct rlimit fds = { 4096, 4096 };
	static struct bench b;
	uint64_t packets, done, from, ns;
	int ret;

	if (!parse(&b, argc, argv, &packets)) {
		fprintf(stderr,
			"usage: vd-bench-memory rx|tx|local LEN PACKETS [split|packed [IDLE]]\n"
			"LEN is 14 to %u, PACKETS at least 1, IDLE (ports) at most %u, with local %u\n",
			NICQ_MAX_FRAME(CHUNK), VD_MAX_PORTS - 1, VD_MAX_PORTS - 2);
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &fds);	/* whether it was needed eventfd() will say */
	ret = plug_guests(&b);
	if (!ret)
		ret = plug_nic(&b);
	if (ret) {
		fprintf(stderr, "vd-bench-memory: %s\n", strerror(-ret));
		return 1;
	}
	from = clock_now();
	done = run(&b, packets);
	ns = clock_now() - from;
	printf("{\"direction\": \"%s\", \"ring\": \"%s\", \"len\": %u, \"idle\": %u, \"packets\": %llu, \"pps\": %.0f}\n",
	       direction_name[b.dir], b.packed ? "packed" : "split", b.len, b.nport - b.loaded, (unsigned long long)done,
	       (double)done * 1e9 / (double)ns);
	tear_down(&b);
	if (done < packets) {
		fprintf(stderr, "vd-bench-memory: %llu of %llu packets arrived\n", (unsigned long long)done,
			(unsigned long long)packets);
		return 1;
	}
	return 0;
}
