/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A data path between a kernel and guests that the test plays itself: one NIC
 * queue with its rings in memory, and two ports of two queue pairs (or up to four
 * of any configuration), each ring split or packed as the features say, with a
 * driver in guest memory of its own.
 * dp_check() is what must hold after every test: each frame of the ledger has
 * one owner, and every frame and packet that was offered was delivered or is in
 * a counter.
 */
#ifndef TESTS_DP_H
#define TESTS_DP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bridge/datapath.h"
#include "bridge/local.h"
#include "bridge/mac.h"
#include "guest.h"

#define DP_RING 256
#define DP_FRAMES 512
#define DP_CHUNK 2048
#define DP_PORTS 2	/* of the usual bed */
#define DP_MOST 4	/* of any */
#define DP_PAIRS 2
#define DP_ROOM 80u
#define DP_SHARE (DP_ROOM / 2)	/* of a port that is alone */
#define DP_QSIZE 128
#define DP_BUF 2048u		/* bytes of each guest buffer */
#define DP_LARGE 0x10800u	/* bytes of a large one: 64 KiB and all headers */
#define DP_NLARGE 26
#define DP_HDR 12
#define DP_MS 1000000ull

/* One ring with its driver: descriptor i and buffer i belong together. */
struct dp_end {
	struct guest g;
	struct virtq *vq;
	uint16_t idle[DP_QSIZE];	/* descriptors the driver has */
	unsigned nidle;
	uint64_t addr[DP_QSIZE];	/* of each descriptor's buffer */
	uint32_t large;			/* large buffers the device has, one bit each */
	uint64_t got;			/* rx: frames taken */
	uint64_t offered;		/* tx: packets sent */
	uint64_t taken;			/* tx: packets that came back */
};

struct dp_bed {
	struct nicq q;
	struct fdb fdb;
	struct vd_flow flow[VD_FLOW_ROW];
	struct port *port[DP_MOST];
	struct dp_end rx[DP_MOST][DP_PAIRS], tx[DP_MOST][DP_PAIRS];
	struct datapath *dp;
	struct dp_result res;
	uint64_t now;
	uint64_t wired;		/* frames put into the rx ring */
	uint64_t never;		/* counted by the program, and lost before the ring */
	uint64_t mcast;		/* handed over by local_from_wire(), taken by rings */
	uint64_t taken_back;	/* frames that waited for a port that was removed */
	struct dp_port gone[DP_MOST];	/* counters of each port while it is removed */
	uint64_t mute;		/* broadcasts that did not go to the uplink, because it was down */
	uint64_t sent;		/* frames the kernel took from the tx ring */
	uint64_t done[DP_RING];	/* sent, not yet completed */
	unsigned ndone;
};

/* --- the kernel's side ---------------------------------------------------- */

static inline bool kernel_fill(struct nicq *q, uint64_t *addr)
{
	if (*q->fill.consumer == *q->fill.producer)
		return false;
	*addr = ((uint64_t *)q->fill.ring)[(*q->fill.consumer)++ & q->fill.mask];
	return true;
}

static inline void kernel_rx_piece(struct nicq *q, uint64_t addr, uint32_t len, bool more)
{
	struct xdp_desc *d = &((struct xdp_desc *)q->rx.ring)[*q->rx.producer & q->rx.mask];

	*d = (struct xdp_desc){ .addr = addr, .len = len, .options = more ? XDP_PKT_CONTD : 0 };
	store_release(q->rx.producer, *q->rx.producer + 1);
}

static inline void kernel_rx(struct nicq *q, uint64_t addr, uint32_t len)
{
	kernel_rx_piece(q, addr, len, false);
}

static inline bool kernel_tx(struct nicq *q, struct xdp_desc *d)
{
	if (*q->tx.consumer == load_acquire(q->tx.producer))
		return false;
	*d = ((struct xdp_desc *)q->tx.ring)[*q->tx.consumer & q->tx.mask];
	store_release(q->tx.consumer, *q->tx.consumer + 1);
	return true;
}

static inline void kernel_complete(struct nicq *q, uint64_t addr)
{
	((uint64_t *)q->completion.ring)[*q->completion.producer & q->completion.mask] = addr;
	store_release(q->completion.producer, *q->completion.producer + 1);
}

/* --- frames --------------------------------------------------------------- */

#define DP_MAC_WIRE 0x02aa0000u
#define DP_MAC_GUEST 0x02bb0000u

/* A frame of @len bytes that says who it is for and which one it is; the rest follows from both. */
static inline void dp_frame(uint8_t *f, uint32_t len, uint32_t dst, uint32_t src, uint32_t number)
{
	uint8_t mac[12] = { 2, 0 };
	uint32_t i;

	memcpy(mac + 2, &dst, 4);
	mac[6] = 2;
	memcpy(mac + 8, &src, 4);
	for (i = 0; i < len; i++)
		f[i] = (uint8_t)(number * 37 + i * 11 + (i >> 8));
	memcpy(f, mac, len < 12 ? len : 12);
	if (len >= 14)
		memcpy(f + 12, "\x88\xb5", 2);
	if (len >= 18)
		memcpy(f + 14, &number, 4);
}

static inline uint32_t dp_number(const uint8_t *f)
{
	uint32_t n;

	memcpy(&n, f + 14, 4);
	return n;
}

/* A frame comes in from the wire, with metadata unless @meta is NULL. False when the fill ring is empty. */
static inline bool dp_wire_raw(struct dp_bed *b, const uint8_t *f, uint32_t len, const struct vd_meta *meta)
{
	uint64_t addr;

	if (*b->q.rx.producer - *b->q.rx.consumer == b->q.rx.size || !kernel_fill(&b->q, &addr))
		return false;
	addr += NICQ_DATA_OFFSET;
	memcpy(b->q.umem + addr, f, len);
	if (meta)
		memcpy(b->q.umem + addr - sizeof(*meta), meta, sizeof(*meta));
	kernel_rx(&b->q, addr, len);
	b->wired++;
	return true;
}

/* One piece of a frame comes in; only the first one has metadata. The test counts the frame. */
static inline void dp_wire_piece(struct dp_bed *b, const uint8_t *f, uint32_t len, const struct vd_meta *meta,
				 bool more)
{
	uint64_t addr = 0;

	guest_must(*b->q.rx.producer - *b->q.rx.consumer < b->q.rx.size, "rx ring is full");
	guest_must(kernel_fill(&b->q, &addr), "fill ring is empty");
	addr += NICQ_DATA_OFFSET;
	memcpy(b->q.umem + addr, f, len);
	if (meta)
		memcpy(b->q.umem + addr - sizeof(*meta), meta, sizeof(*meta));
	kernel_rx_piece(&b->q, addr, len, more);
}

/* A frame of any bytes, for a port and queue pair. */
static inline bool dp_wire_bytes(struct dp_bed *b, uint16_t port, uint16_t pair, const uint8_t *f, uint32_t len)
{
	struct vd_meta m = { .magic = VD_META_MAGIC, .port = port, .pair = pair };

	m.seq = b->flow[port].seq++;
	b->flow[VD_MAX_PORTS].seq++;
	if (dp_wire_raw(b, f, len, &m))
		return true;
	b->never++;
	return false;
}

/* As the XDP program does it: the next sequence number, then the ring. */
static inline bool dp_wire(struct dp_bed *b, uint16_t port, uint16_t pair, uint32_t len, uint32_t number)
{
	struct vd_meta m = { .magic = VD_META_MAGIC, .port = port, .pair = pair };
	uint8_t f[DP_BUF];

	m.seq = b->flow[port].seq++;
	b->flow[VD_MAX_PORTS].seq++;
	dp_frame(f, len, port, DP_MAC_WIRE, number);
	if (dp_wire_raw(b, f, len, &m))
		return true;
	b->never++;
	return false;
}

/* The program counts @n frames that never reach the ring. */
static inline void dp_wire_lost(struct dp_bed *b, uint16_t port, uint32_t n)
{
	b->flow[port].seq += n;
	b->flow[VD_MAX_PORTS].seq += n;
	b->never += n;
}

/* --- the guests' side ------------------------------------------------------ */

/* Buffers lie in the second region, rings in the first: their files can be damaged one by one. */
static inline uint64_t dp_buf(unsigned desc)
{
	return GUEST_SEAM + (uint64_t)desc * DP_BUF;
}

/* Large buffers lie behind those of the descriptors. Return: address of one that is free, 0 = none is. */
static inline uint64_t dp_large(struct dp_end *e)
{
	for (unsigned i = 0; i < DP_NLARGE; i++) {
		if (e->large & 1u << i)
			continue;
		e->large |= 1u << i;
		return dp_buf(DP_QSIZE) + (uint64_t)i * DP_LARGE;
	}
	return 0;
}

/* The driver takes what the device gives back next. */
static inline struct vring_used_elem dp_take_used(struct dp_end *e)
{
	struct vring_used_elem u = guest_take(&e->g);

	if (e->addr[u.id] >= dp_buf(DP_QSIZE))
		e->large &= ~(1u << (e->addr[u.id] - dp_buf(DP_QSIZE)) / DP_LARGE);
	e->idle[e->nidle++] = (uint16_t)u.id;
	return u;
}

/* Makes a chain of one descriptor available, in either kind of ring; guest_expose() makes it visible. */
static inline void dp_post(struct dp_end *e, uint16_t d, uint64_t addr, uint32_t len, uint16_t flags)
{
	e->addr[d] = addr;
	if (e->g.packed) {
		guest_raw(&e->g, addr, len, flags, d);
	} else {
		guest_desc(&e->g, d, addr, len, flags, 0);
		guest_avail(&e->g, d);
	}
}

/* Offers up to @n buffers of @len bytes for receiving, as long as there are some. */
static inline void dp_offer_len(struct dp_end *e, unsigned n, uint32_t len)
{
	for (; n && e->nidle; n--) {
		uint16_t d = e->idle[e->nidle - 1];
		uint64_t addr = len > DP_BUF ? dp_large(e) : dp_buf(d);

		if (!addr)
			break;
		e->nidle--;
		dp_post(e, d, addr, len, VRING_DESC_F_WRITE);
	}
	guest_expose(&e->g);
}

static inline void dp_offer(struct dp_end *e, unsigned n)
{
	dp_offer_len(e, n, DP_BUF);
}

/* Takes one received frame. Return: its length, -1 when there is none. */
static inline int dp_take(struct dp_end *e, uint8_t *f)
{
	struct vring_used_elem u;

	while (guest_pending(&e->g)) {
		u = dp_take_used(e);
		if (!u.len)	/* given back empty: dropped and counted */
			continue;
		guest_read(&e->g, e->addr[u.id] + DP_HDR, f, u.len - DP_HDR);
		e->got++;
		return (int)u.len - DP_HDR;
	}
	return -1;
}

/* Takes one received packet of any length, merged if it is, with its header. Return: its length, -1: there is none. */
static inline int dp_take_packet(struct dp_end *e, uint8_t *f, struct virtio_net_hdr_v1 *hdr)
{
	struct vring_used_elem u = { 0 };
	uint32_t len = 0, skip = DP_HDR;

	do {
		if (!guest_pending(&e->g))
			return -1;
		u = dp_take_used(e);
	} while (!u.len);
	guest_read(&e->g, e->addr[u.id], hdr, sizeof(*hdr));
	for (unsigned i = 1;; i++, skip = 0) {
		guest_read(&e->g, e->addr[u.id] + skip, f + len, u.len - skip);
		len += u.len - skip;
		if (i >= hdr->num_buffers)
			break;
		guest_must(guest_pending(&e->g), "a packet's buffers come together");
		u = dp_take_used(e);
	}
	e->got++;
	return (int)len;
}

/* The next frame at @e is number @number of @len bytes, for @dst, undamaged. */
static inline void dp_expect_to(struct dp_end *e, uint32_t dst, uint32_t len, uint32_t number)
{
	uint8_t got[DP_BUF], want[DP_BUF];

	assert_int_equal(dp_take(e, got), len);
	dp_frame(want, len, dst, DP_MAC_WIRE, number);
	assert_memory_equal(got, want, len);
}

static inline void dp_expect(struct dp_bed *b, unsigned port, unsigned pair, uint32_t len, uint32_t number)
{
	dp_expect_to(&b->rx[port][pair], port, len, number);
}

static inline void dp_expect_none(struct dp_bed *b, unsigned port, unsigned pair)
{
	uint8_t got[DP_BUF];

	assert_int_equal(dp_take(&b->rx[port][pair], got), -1);
}

/* Takes back what was sent. */
static inline void dp_take_sent(struct dp_end *e)
{
	for (; guest_pending(&e->g); e->taken++)
		dp_take_used(e);
}

/* The guest sends a packet with a header of its own. False when it has no descriptor or buffer left. */
static inline bool dp_send_hdr(struct dp_end *e, const struct virtio_net_hdr_v1 *hdr, const uint8_t *f, uint32_t len)
{
	uint64_t addr;
	uint16_t d;

	dp_take_sent(e);
	if (!e->nidle)
		return false;
	d = e->idle[e->nidle - 1];
	addr = len + DP_HDR > DP_BUF ? dp_large(e) : dp_buf(d);
	if (!addr)
		return false;
	e->nidle--;
	guest_write(&e->g, addr, hdr, sizeof(*hdr));
	guest_write(&e->g, addr + DP_HDR, f, len);
	dp_post(e, d, addr, DP_HDR + len, 0);
	guest_expose(&e->g);
	e->offered++;
	return true;
}

/* The guest sends a frame. False when it has no descriptor left. */
static inline bool dp_send_raw(struct dp_end *e, const uint8_t *f, uint32_t len)
{
	static const struct virtio_net_hdr_v1 hdr;

	return dp_send_hdr(e, &hdr, f, len);
}

static inline bool dp_send(struct dp_bed *b, unsigned port, unsigned pair, uint32_t len, uint32_t number)
{
	uint8_t f[DP_BUF];

	dp_frame(f, len, DP_MAC_WIRE, DP_MAC_GUEST + port, number);
	return dp_send_raw(&b->tx[port][pair], f, len);
}

/* The kernel takes one piece of a frame and remembers to complete it. False when there is none. */
static inline bool dp_sent_piece(struct dp_bed *b, struct xdp_desc *d)
{
	if (!kernel_tx(&b->q, d))
		return false;
	b->done[b->ndone++] = d->addr;
	b->sent += !(d->options & XDP_PKT_CONTD);
	return true;
}

/* The same for a frame in one piece. Return: its length, -1 when there is none. */
static inline int dp_sent(struct dp_bed *b, const uint8_t **f)
{
	struct xdp_desc d;

	if (!dp_sent_piece(b, &d))
		return -1;
	*f = b->q.umem + d.addr;
	return (int)d.len;
}

static inline void dp_complete(struct dp_bed *b, unsigned n)
{
	for (; n && b->ndone; n--)
		kernel_complete(&b->q, b->done[--b->ndone]);
}

static inline void dp_expect_sent(struct dp_bed *b, unsigned port, uint32_t len, uint32_t number)
{
	const uint8_t *f = NULL;
	uint8_t want[DP_BUF];

	assert_int_equal(dp_sent(b, &f), len);
	dp_frame(want, len, DP_MAC_WIRE, DP_MAC_GUEST + port, number);
	assert_memory_equal(f, want, len);
}

/* --- the worker's side ------------------------------------------------------ */

static inline void dp_rx(struct dp_bed *b)
{
	b->res = (struct dp_result){ 0 };
	datapath_rx(b->dp, b->now, &b->res);
}

static inline void dp_tx(struct dp_bed *b)
{
	b->res = (struct dp_result){ 0 };
	datapath_tx(b->dp, b->now, &b->res);
}

static inline struct dp_tx *dp_tx_of(struct dp_bed *b, unsigned port, unsigned pair)
{
	return &b->dp->port[port]->tx[pair];
}

/* What the worker does when a kick comes. */
static inline void dp_kick(struct dp_bed *b, unsigned port, unsigned pair)
{
	dp_tx_of(b, port, pair)->armed = 0;
	datapath_activate(b->dp, dp_tx_of(b, port, pair));
}

/* The data path's counters of a port, also while it is removed. */
static inline struct dp_port *dp_port(struct dp_bed *b, unsigned port)
{
	return b->dp->port[port] ? b->dp->port[port] : &b->gone[port];
}

/* Takes a port out of the data path; its guest and its rings stay. */
static inline void dp_remove(struct dp_bed *b, unsigned port)
{
	b->gone[port] = *b->dp->port[port];
	b->taken_back += b->gone[port].held;
	b->gone[port].held = 0;
	datapath_del_port(b->dp, b->port[port]);
}

/* Puts it in again, under the same number, with the counters it had. */
static inline void dp_bring_back(struct dp_bed *b, unsigned port)
{
	struct dp_port *d;

	guest_must(!datapath_add_port(b->dp, b->port[port], 1), "datapath_add_port");
	d = b->dp->port[port];
	memcpy(d->count, b->gone[port].count, sizeof(d->count));
	d->drop_hold = b->gone[port].drop_hold;
	d->drop_ring = b->gone[port].drop_ring;
	d->drop_uplink_down = b->gone[port].drop_uplink_down;
}

/* --- set-up and what must hold afterwards ------------------------------------ */

static inline void dp_end_open(struct dp_end *e, struct virtq *vq, enum virtq_dir dir, uint64_t features, uint32_t max)
{
	guest_prepare(&e->g, dir, DP_QSIZE, features, 0);
	e->g.vq.dir = dir;
	e->g.cfg.max_frame = max;
	e->vq = vq;
	for (unsigned i = 0; i < DP_QSIZE; i++)
		e->idle[e->nidle++] = (uint16_t)(DP_QSIZE - 1 - i);
	guest_must(!virtq_start(vq, &e->g.cfg), "virtq_start");
	vq->enabled = 1;
}

/* A NIC queue without ports. UMEM chunks of @chunk bytes; frames of up to @max bytes take several if they must. */
static inline void dp_open_queue(struct dp_bed *b, uint32_t chunk, uint32_t max)
{
	memset(b, 0, sizeof(*b));
	b->now = 1000000 * DP_MS;
	guest_must(!nicq_init_memory(&b->q, DP_RING, DP_FRAMES, chunk), "nicq_init_memory");
	b->q.sg = max > NICQ_MAX_FRAME(chunk);
	nicq_refill(&b->q);
	guest_must(!datapath_create(&b->q, b->flow, &b->fdb, NULL, 0, 1, &b->dp), "datapath_create");
	b->dp->room = DP_ROOM;
}

/* Another port, its guest connected. @cfg: all but the queue pairs. */
static inline void dp_open_port(struct dp_bed *b, unsigned i, const struct port_config *cfg, uint64_t features,
				uint32_t max)
{
	struct port_config c = *cfg;
	struct port *p;

	c.pairs = DP_PAIRS;
	p = b->port[i] = port_create(i, &c);
	guest_must(p, "port_create");
	for (unsigned k = 0; k < DP_PAIRS; k++) {
		dp_end_open(&b->rx[i][k], port_rxq(p, k), VIRTQ_RX, features, max);
		dp_end_open(&b->tx[i][k], port_txq(p, k), VIRTQ_TX, features, max);
	}
	port_map(p, &p->map);
	guest_must(!datapath_add_port(b->dp, p, 1), "datapath_add_port");
}

static inline void dp_open_with(struct dp_bed *b, uint64_t features, uint32_t chunk, uint32_t max)
{
	const struct port_config cfg = { 0 };

	dp_open_queue(b, chunk, max);
	for (unsigned i = 0; i < DP_PORTS; i++)
		dp_open_port(b, i, &cfg, features, max);
}

static inline void dp_open(struct dp_bed *b, uint64_t features)
{
	dp_open_with(b, features, DP_CHUNK, GUEST_MAX_FRAME);
}

/* A test with split rings and the same with packed ones: the file's setup() and setup_packed(), and its teardown(). */
#define DP_BOTH(fn)                                                                                                  \
	{ #fn ", split", fn, setup, teardown, NULL }, { #fn ", packed", fn, setup_packed, teardown, NULL }

/* Drops of one ring that are not breakage. */
static inline uint64_t dp_dropped(const struct virtq *vq)
{
	uint64_t n = 0;

	for (unsigned e = VIRTQ_OK + 1; e < VIRTQ_FIRST_BROKEN; e++)
		n += vq->stats.errors[e];
	return n;
}

/* Frames in the rx ring; the pieces of one count once. */
static inline uint64_t dp_in_ring(struct dp_bed *b)
{
	uint64_t n = 0;

	for (uint32_t i = *b->q.rx.consumer; i != *b->q.rx.producer; i++)
		n += !(((struct xdp_desc *)b->q.rx.ring)[i & b->q.rx.mask].options & XDP_PKT_CONTD);
	return n;
}

/* Frames and packets that came to an end at a port's guest: it has them, or they are in a counter of its. */
static inline uint64_t dp_ended(struct dp_bed *b, unsigned port)
{
	const struct dp_port *d = dp_port(b, port);
	uint64_t n = d->drop_hold + d->drop_ring + d->count[DP_DROP_RATE] + d->count[DP_DROP_HEADER] +
		     d->count[DP_DROP_UNFIT];

	for (unsigned k = 0; k < DP_PAIRS; k++) {
		const struct virtq_stats *s = &b->rx[port][k].vq->stats;

		n += s->packets - s->gso_packets + s->gso_frames + dp_dropped(b->rx[port][k].vq);
	}
	return n;
}

/* Every frame from the wire, and every packet from this host, is with a guest, in a counter, on a list or in the ring. */
static inline void dp_check_rx(struct dp_bed *b)
{
	uint64_t n = b->dp->drop_stray + b->taken_back + dp_in_ring(b), local = 0;

	for (unsigned i = 0; i < DP_MOST && b->port[i]; i++) {
		struct dp_port *d = dp_port(b, i);
		uint32_t listed = 0;

		n += dp_ended(b, i) + d->held;
		local += d->count[DP_FROM_PORTS];
		for (unsigned k = 0; b->dp->port[i] && k < DP_PAIRS; k++)
			listed += d->wait[k].count;
		assert_int_equal(listed, d->held);
	}
	assert_int_equal(n, b->wired + b->mcast + local);
}

/* What a tx ring took is what its guest has back, as far as it goes: the positions of a broken one say nothing. */
static inline void dp_check_ring(struct dp_end *e)
{
	const struct virtq *vq = e->vq;
	uint64_t chains = vq->stats.packets + dp_dropped(vq) - vq->stats.errors[VIRTQ_DROP_DISABLED];

	if (vq->broken)
		return;
	if (!vq->packed)
		assert_int_equal((uint16_t)chains, vq->next_avail);
	else if (vq->started)
		assert_int_equal(chains, e->taken + guest_pending(&e->g));
}

/* Packets of a port's guest that did not go out, though its ring has nothing against them. */
static inline uint64_t dp_kept_here(const struct dp_port *d)
{
	static const enum dp_count here[] = {
		DP_TO_PORTS, DP_TO_THE_HOST, DP_DROP_LOCK, DP_DROP_VLAN, DP_DROP_STORM, DP_DROP_ISOLATED,
		DP_DROP_LINK_LOCAL, DP_DROP_SELF, DP_DROP_LINK,
	};
	uint64_t n = d->drop_uplink_down;

	for (unsigned i = 0; i < sizeof(here) / sizeof(here[0]); i++)
		n += d->count[here[i]];
	return n;
}

/*
 * Every frame of a guest was taken by the kernel, is in the tx ring, in a counter (those for others on this
 * host included), or still the guest's. Nothing that a guest can write is looked at.
 */
static inline void dp_check_sent(struct dp_bed *b)
{
	uint64_t left = 0, gone = b->q.stats.tx_errors + b->mute, in_ring = 0;

	for (unsigned i = 0; i < DP_MOST && b->port[i]; i++) {
		gone += dp_kept_here(dp_port(b, i));
		for (unsigned k = 0; k < DP_PAIRS; k++) {
			struct dp_end *e = &b->tx[i][k];
			const struct virtq_stats *s = &e->vq->stats;

			left += s->packets - s->gso_packets + s->gso_frames;
			gone += s->errors[VIRTQ_DROP_DISABLED];
		}
	}
	for (uint32_t i = *b->q.tx.consumer; i != *b->q.tx.producer; i++)
		in_ring += !(((struct xdp_desc *)b->q.tx.ring)[i & b->q.tx.mask].options & XDP_PKT_CONTD);
	assert_int_equal(left, gone + b->q.stats.tx_packets);
	assert_int_equal(b->q.stats.tx_packets, b->sent + in_ring);
}

/* What holds whatever the guests do. */
static inline void dp_check_hostile(struct dp_bed *b)
{
	assert_int_equal(frames_check(&b->q.frames), 0);
	assert_int_equal(b->q.frames.violations, 0);
	dp_check_rx(b);
	dp_check_sent(b);
}

static inline void dp_check(struct dp_bed *b)
{
	dp_check_hostile(b);
	for (unsigned i = 0; i < DP_MOST * DP_PAIRS && b->port[i / DP_PAIRS]; i++)
		dp_check_ring(&b->tx[i / DP_PAIRS][i % DP_PAIRS]);
}

static inline void dp_close(struct dp_bed *b)
{
	datapath_destroy(b->dp);
	for (unsigned i = 0; i < DP_MOST && b->port[i]; i++) {
		for (unsigned k = 0; k < DP_PAIRS; k++) {
			virtq_stop(b->rx[i][k].vq);
			virtq_stop(b->tx[i][k].vq);
			gmem_put(b->rx[i][k].g.mem);
			gmem_put(b->tx[i][k].g.mem);
		}
		port_destroy(b->port[i]);
	}
	nicq_fini(&b->q);
}

/* A file's setup() and setup_packed(): @open makes its bed, with @packed (0, or GUEST_PACKED) among the features. */
#define DP_SETUPS(open)                                                                                              \
	static int setup(void **state)                                                                               \
	{                                                                                                            \
		const uint64_t packed = 0;                                                                           \
		open;                                                                                                \
		*state = &bed;                                                                                       \
		return 0;                                                                                            \
	}                                                                                                            \
	static int setup_packed(void **state)                                                                        \
	{                                                                                                            \
		const uint64_t packed = GUEST_PACKED;                                                                \
		open;                                                                                                \
		*state = &bed;                                                                                       \
		return 0;                                                                                            \
	}

/* The bed of a file's tests, opened by @open. What must hold is checked at the end. */
#define DP_FIXTURE_BY(open)                                                                                          \
	static struct dp_bed bed;                                                                                    \
	DP_SETUPS(open)                                                                                              \
	static int teardown(void **state)                                                                            \
	{                                                                                                            \
		dp_check(*state);                                                                                    \
		dp_close(*state);                                                                                    \
		return 0;                                                                                            \
	}

/* Opened with @features and split rings or packed ones. */
#define DP_FIXTURE(features) DP_FIXTURE_BY(dp_open(&bed, (features) | packed))

/* For tests in which a guest breaks its rings: what holds even then is checked. */
static inline int dp_hostile_teardown(void **state)
{
	dp_check_hostile(*state);
	dp_close(*state);
	return 0;
}

#define DP_HOSTILE(fn)                                                                                               \
	{ #fn ", split", fn, setup, dp_hostile_teardown, NULL },                                                     \
	{                                                                                                            \
		#fn ", packed", fn, setup_packed, dp_hostile_teardown, NULL                                          \
	}

#endif
