/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzz target: the input is a small program of three hostile guests that send to
 * each other, to the uplink, the host and to all, through a whole data path. They
 * post good packets and buffers, or write descriptors, indexes and bytes as they
 * like; in between the NIC sends and receives, and the control thread changes
 * policies, addresses and rings, and takes ports out and puts them in again. What
 * must hold: the frame ledger, the sums of what waits, and that whatever was on
 * its way to a guest came to an end there. Guest memory is blocks of the heap, so
 * that the sanitizer sees one byte too many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "bridge/datapath.h"
#include "bridge/from_host.h"
#include "bridge/local.h"
#include "bridge/mac.h"
#include "ring/packed.h"

#define PORTS 3
#define SIZE 16		/* of each ring */
#define REGION 0x10000ull
#define GUEST 0x1000ull
#define USER 0x7f0000000000ull
#define MAX_FRAME 1518u
#define DESC(ring) ((ring) * 0x1000u)
#define AVAIL(ring) (DESC(ring) + 0x400u)
#define USED(ring) (DESC(ring) + 0x800u)
#define TABLE 0x4000u	/* where indirect tables lie */
#define DATA 0x5000u	/* and packets, to the end */
#define SLOT 0x800u
#define STEPS 150	/* of the program, at least */
#define FEATURES                                                                                                     \
	(VNET_OFFLOADS | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |                         \
	 1ull << VIRTIO_RING_F_EVENT_IDX)

struct side {
	struct gmem *mem;
	uint8_t *view[2];
	struct port *port;
	struct dp_port gone;	/* counters while it is removed */
	uint16_t avail[2];	/* where an honest driver would go on: rx, tx */
	uint64_t features;
	struct vd_limit limit;
};

static struct gmem_mark mark;	/* of a memory that never breaks */
static struct side side[PORTS];
static struct nicq q;
static struct fdb fdb;
static struct vd_flow flow[VD_FLOW_ROW];
static struct datapath *dp;
static struct from_host *host;
static int host_fd[2] = { -1, -1 };
static uint64_t now, wired, mcast, taken_back;

/* When it is used up, chance goes on: what happens is worth a look only when much has happened before. */
struct input {
	const uint8_t *p;
	size_t left;
	uint64_t seed;
};

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t v = 0;

	for (; bytes; bytes--) {
		in->seed = in->seed * 6364136223846793005ull + (in->left ? *in->p : 0) + 1442695040888963407ull;
		v = v << 8 | (in->left ? *in->p : (uint8_t)(in->seed >> 56));
		in->p += in->left > 0;
		in->left -= in->left > 0;
	}
	return v;
}

#define must(what)                                                                                                   \
	do {                                                                                                         \
		if (!(what)) {                                                                                       \
			fprintf(stderr, "line %d: not so: %s\n", __LINE__, #what);                                   \
			abort();                                                                                     \
		}                                                                                                    \
	} while (0)

/* --- guests -------------------------------------------------------------------------- */

static void make_memory(struct side *s)
{
	if (s->mem) {
		memset(s->view[0], 0, REGION);
		memset(s->view[1], 0, REGION);
		return;
	}
	s->mem = calloc(1, sizeof(*s->mem) + 2 * sizeof(s->mem->region[0]));
	s->mem->n = 2;
	s->mem->mark = &mark;
	s->mem->by_user[1] = 1;
	for (unsigned i = 0; i < 2; i++) {
		s->view[i] = calloc(1, REGION);
		s->mem->region[i] = (struct gmem_region){
			.start = { GUEST + i * REGION, USER + i * REGION }, .size = REGION, .host = s->view[i],
		};
	}
}

static void start_ring(struct side *s, unsigned ring)
{
	struct virtq *vq = port_vq(s->port, ring);
	struct virtq_config cfg = {
		.dir = ring ? VIRTQ_TX : VIRTQ_RX, .size = SIZE, .features = s->features, .mem = s->mem,
		.desc = s->view[0] + DESC(ring), .avail = s->view[0] + AVAIL(ring), .used = s->view[0] + USED(ring),
		.max_frame = MAX_FRAME, .callfd = -1, .kickfd = -1,
	};
	bool is_packed = s->features & 1ull << VIRTIO_F_RING_PACKED;

	virtq_stop(vq);
	memset(s->view[0] + DESC(ring), 0, 0x1000);
	cfg.base = is_packed ? PACKED_WRAP : 0;
	s->avail[ring] = (uint16_t)cfg.base;
	must(!virtq_start(vq, &cfg));
}

static uint64_t address(struct input *in)
{
	uint32_t v = take(in, 2);

	switch (v >> 13) {
	case 0:
		return GUEST + REGION - (v & 0xff);
	case 1:
		return GUEST + 2 * REGION - (v & 0xff);
	case 2:
		return (uint64_t)v << 40;
	}
	return GUEST + DATA + v % (2 * REGION - DATA);
}

/* A descriptor that an honest driver would write next. */
static void post(struct side *s, unsigned ring, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint16_t at = s->avail[ring];

	if (s->features & 1ull << VIRTIO_F_RING_PACKED) {
		struct vring_packed_desc *d = (void *)(s->view[0] + DESC(ring));
		uint16_t slot = at & 0x7fff, wrap = at & PACKED_WRAP;

		d[slot % SIZE] = (struct vring_packed_desc){
			addr, len, slot, (uint16_t)(flags | (wrap ? PACKED_AVAIL : PACKED_USED)),
		};
		s->avail[ring] = slot + 1 >= SIZE ? (uint16_t)(wrap ^ PACKED_WRAP) : (uint16_t)((slot + 1) | wrap);
	} else {
		struct vring_desc *d = (void *)(s->view[0] + DESC(ring));
		struct vring_avail *a = (void *)(s->view[0] + AVAIL(ring));

		d[at % SIZE] = (struct vring_desc){ addr, len, flags, 0 };
		a->ring[at % SIZE] = at % SIZE;
		a->idx = ++s->avail[ring];
	}
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Who a packet is for: another guest, the wire, the host, all, or a link-local group. */
static void station(uint8_t *mac, uint32_t who)
{
	static const uint8_t link_local[6] = { 0x01, 0x80, 0xc2, 0, 0, 0x0e };

	memset(mac, 0xff, 6);
	if (who < PORTS + 2)
		memcpy(mac, (const uint8_t[6]){ 2, 0, 0, 0, 0, (uint8_t)who }, 6);
	else if (who == PORTS + 2)
		memcpy(mac, link_local, 6);
}

/* A packet that is nearly good: Ethernet, maybe a tag, IP, TCP or UDP. Return: its length without payload. */
static uint32_t headers(struct input *in, uint8_t *p, unsigned from, uint32_t how, uint32_t payload, bool v6, bool udp)
{
	uint8_t *start = p;
	uint32_t l4 = udp ? 8 : 20;

	station(p, how & 7);
	station(p + 6, how & 0x40 ? take(in, 1) : from);
	p += 12;
	if (how & 0x80) {
		put16(p, 0x8100);
		put16(p + 2, take(in, 2) & 0xe01f);
		p += 4;
	}
	put16(p, v6 ? 0x86dd : 0x0800);
	p += 2;
	memset(p, 0, 60);
	p[0] = v6 ? 0x60 : 0x45;
	put16(p + (v6 ? 4 : 2), (v6 ? 0 : 20) + l4 + payload);
	p[v6 ? 6 : 9] = udp ? 17 : 6;
	p += v6 ? 40 : 20;
	p[1] = (uint8_t)how;
	if (udp)
		put16(p + 4, l4 + payload);
	else
		p[12] = 0x50;
	return (uint32_t)(p - start) + l4;
}

/* A guest sends a packet, good but for what the input changes of its header. */
static void send_packet(struct input *in, struct side *s, unsigned from)
{
	uint32_t how = take(in, 1), kind = take(in, 1), at = DATA + take(in, 1) % 64 * SLOT / 2;
	uint32_t payload = kind & 0x10 ? take(in, 2) % 20000 : take(in, 1), len;
	struct virtio_net_hdr_v1 hdr = { 0 };
	bool v6 = kind & 1, udp = kind & 2;
	uint8_t *p;

	if (at + 200 > REGION)
		at = DATA;
	if (payload > REGION - 200)
		payload = 100;
	p = s->view[0] + at;
	len = headers(in, p + sizeof(hdr), from, how, payload, v6, udp);
	if (kind & 4) {
		hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr.csum_start = (uint16_t)(len - (udp ? 8 : 20));
		hdr.csum_offset = udp ? 6 : 16;
	}
	if (kind & 8) {
		hdr.gso_type = udp ? VIRTIO_NET_HDR_GSO_UDP_L4 : v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		hdr.gso_size = (uint16_t)(take(in, 1) * 8 + 1);
		hdr.hdr_len = (uint16_t)len;
	}
	if (kind & 0x20)
		((uint8_t *)&hdr)[take(in, 1) % sizeof(hdr)] = (uint8_t)take(in, 1);
	memcpy(p, &hdr, sizeof(hdr));
	post(s, 1, GUEST + at, (uint32_t)sizeof(hdr) + len + payload, 0);
}

/* Anything, anywhere in a guest's memory. */
static void scribble(struct input *in, struct side *s, uint8_t op)
{
	uint32_t at = take(in, 2), ring = op >> 7;

	switch (op >> 4 & 7) {
	case 0:
		s->view[0][at & 0x1fff] = (uint8_t)take(in, 1);
		break;
	case 1:
		s->view[at & 1][at] = (uint8_t)take(in, 1);
		break;
	case 2:
		s->avail[ring] = (uint16_t)at;
		break;
	case 3:		/* an indirect table */
		for (unsigned i = 0; i < 4; i++)
			((struct vring_desc *)(void *)(s->view[0] + TABLE))[i] = (struct vring_desc){
				address(in), take(in, 2), (uint16_t)(take(in, 1) & 3), (uint16_t)(i + 1),
			};
		post(s, ring, GUEST + TABLE, 64, VRING_DESC_F_INDIRECT);
		break;
	default:
		post(s, ring, address(in), take(in, 2), (uint16_t)(take(in, 1) & 7));
	}
}

/* --- the NIC, the host, and the control thread ------------------------------------------- */

static bool from_wire(struct input *in, uint8_t op)
{
	uint32_t len = 14 + take(in, 1) * 6u, at;
	uint32_t to = op >> 4 & 3;
	struct vd_meta m = { .magic = VD_META_MAGIC, .port = (uint16_t)to };
	uint64_t addr;
	uint8_t *p;

	if (*q.fill.consumer == *q.fill.producer)
		return false;
	addr = ((uint64_t *)q.fill.ring)[(*q.fill.consumer)++ & q.fill.mask] + NICQ_DATA_OFFSET;
	p = q.umem + addr;
	memset(p, 0x55, len);
	station(p, to);
	station(p + 6, PORTS);
	if (op & 0x40 && len >= 18) {
		put16(p + 12, 0x8100);
		put16(p + 14, take(in, 2));
		put16(p + 16, take(in, 1) & 1 ? 0x8100 : 0x0800);
	}
	if (op & 0x80) {
		m.pair = (uint16_t)(take(in, 1) >> 7);
		m.seq = flow[to].seq++;
		flow[VD_MAX_PORTS].seq++;
		memcpy(p - sizeof(m), &m, sizeof(m));
	}
	at = *q.rx.producer & q.rx.mask;
	((struct xdp_desc *)q.rx.ring)[at] = (struct xdp_desc){ .addr = addr, .len = len };
	store_release(q.rx.producer, *q.rx.producer + 1);
	wired++;
	return true;
}

/* The NIC sends what there is, up to @n. */
static void nic_sends(unsigned n)
{
	for (; n && *q.tx.consumer != *q.tx.producer; n--) {
		const struct xdp_desc *d = &((struct xdp_desc *)q.tx.ring)[*q.tx.consumer & q.tx.mask];

		must(d->len >= 14 && d->len <= MAX_FRAME && d->addr + d->len <= q.umem_len);
		((uint64_t *)q.completion.ring)[*q.completion.producer & q.completion.mask] = d->addr;
		store_release(q.completion.producer, *q.completion.producer + 1);
		++*q.tx.consumer;
	}
}

/* What its limit kept from a guest is in a counter of its, wherever it came from. */
static uint64_t beyond_limits(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PORTS; i++)
		n += dp->port[i] ? dp->port[i]->count[DP_DROP_RATE] : 0;
	return n;
}

static void pass(struct input *in, uint8_t op)
{
	static uint8_t frame[64 + 65600];
	struct dp_result res = { 0 };

	now += op & 0x10 ? DP_LOCAL_HOLD_NS + 1 : 1000;
	switch (op >> 5) {
	case 0:
		from_wire(in, (uint8_t)take(in, 1));
		break;
	case 1:
		nic_sends(take(in, 1) & 63);
		break;
	case 2:		/* the host's */
		memset(frame, 0, 12);
		frame[0] = (uint8_t)(take(in, 1) & 1);
		if (write(host_fd[0], frame, 12 + headers(in, frame + 12, 4, take(in, 1), 10, false, false) + 10) < 0)
			return;
		from_host_ready(host);
		from_host(host, dp, now, &res);
		break;
	case 3:
		station(frame, 7);
		put16(frame + 12, op & 0x10 ? 0x8100 : 0x0806);
		put16(frame + 14, take(in, 1));
		mcast -= beyond_limits();
		mcast += local_from_wire(dp, frame, 60, now);
		mcast += beyond_limits();
		break;
	}
	datapath_rx(dp, now, &res);
	datapath_tx(dp, now, &res);
	while (recv(host_fd[0], frame, sizeof(frame), MSG_DONTWAIT) >= 0)
		;
}

static void learned(unsigned i, bool add)
{
	uint8_t mac[6];
	uint64_t key;

	station(mac, i);
	key = fdb_key(side[i].port->policy.key_vlan, mac_load(mac));
	if (add)
		fdb_set(&fdb, key, i, now);
	else
		fdb_del(&fdb, key);
}

static void configure(struct input *in, unsigned i)
{
	struct port_config c = { .pairs = 1 };
	struct port *p = side[i].port;
	uint32_t how = take(in, 1);

	c.vlan = how & 1 ? (uint16_t)(1 + take(in, 1) % 31) : 0;
	c.have_trunk = how & 2;
	c.trunk[0] = how & 2 ? take(in, 4) : 0;
	c.isolated = (how & 0x0c) == 0x0c;
	c.storm = how & 0x10 ? 100 : 0;
	c.tx_bps = how & 0x20 ? 100000000 : 0;
	c.rx_pps = how & 0x40 ? 1000 : 0;
	vd_limit_set(&side[i].limit, 0, 1000);
	c.mac_lock = (how & 0x84) == 0x84;
	c.nmac = 1;
	station(c.mac[0], i);
	learned(i, false);
	policy_set(&p->policy, &c);
	if (dp->port[i])
		datapath_flush_port(dp, p, DP_DROP_UNFIT);
	fdb_touch(&fdb);
	learned(i, true);
}

static void come_or_go(unsigned i)
{
	struct side *s = &side[i];

	if (dp->port[i]) {
		s->gone = *dp->port[i];
		taken_back += s->gone.held;
		datapath_del_port(dp, s->port);
		from_host_forget(host, i);
		return;
	}
	must(!datapath_add_port(dp, s->port, 1));
	memcpy(dp->port[i]->count, s->gone.count, sizeof(s->gone.count));
	dp->port[i]->drop_hold = s->gone.drop_hold;
	dp->port[i]->drop_ring = s->gone.drop_ring;
}

static void control(struct input *in, uint8_t op, unsigned i)
{
	struct virtq *vq = port_vq(side[i].port, op >> 7);

	switch (op >> 4 & 7) {
	case 0:
		configure(in, i);
		break;
	case 1:
		WRITE_ONCE(vq->enabled, !vq->enabled);
		break;
	case 2:
		start_ring(&side[i], op >> 7);
		datapath_activate_all(dp);
		break;
	case 3:
		come_or_go(i);
		fdb_touch(&fdb);
		break;
	case 4:
		learned(i, take(in, 1) & 1);
		break;
	case 5:
		WRITE_ONCE(dp->uplink_up, !dp->uplink_up);
		break;
	case 6:
		q.tx_limit = take(in, 1) & 63;
		break;
	default:
		dp->room = take(in, 1) & 31;
	}
	port_map(side[i].port, &side[i].port->map);
}

/* --- what must hold ------------------------------------------------------------------------ */

static uint64_t ended(const struct dp_port *d, const struct virtq *vq)
{
	uint64_t n = d->drop_hold + d->drop_ring + d->count[DP_DROP_RATE] + d->count[DP_DROP_HEADER] +
		     d->count[DP_DROP_UNFIT] + vq->stats.packets - vq->stats.gso_packets + vq->stats.gso_frames;

	for (unsigned e = VIRTQ_OK + 1; e < VIRTQ_FIRST_BROKEN; e++)
		n += vq->stats.errors[e];
	return n;
}

static void check(void)
{
	uint64_t n = dp->drop_stray + taken_back + (*q.rx.producer - *q.rx.consumer), local = 0, held = 0;

	must(!frames_check(&q.frames) && !q.frames.violations);
	for (unsigned i = 0; i < PORTS; i++) {
		const struct dp_port *d = dp->port[i] ? dp->port[i] : &side[i].gone;

		n += ended(d, port_rxq(side[i].port, 0));
		local += d->count[DP_FROM_PORTS];
		held += dp->port[i] ? d->held : 0;
	}
	must(held == dp->held);
	must(n + held == wired + mcast + local);
}

static void begin(struct input *in)
{
	uint8_t kinds = (uint8_t)take(in, 1);

	must(!nicq_init_memory(&q, 64, 128, 2048));
	nicq_refill(&q);
	memset(&fdb, 0, sizeof(fdb));
	memset(flow, 0, sizeof(flow));
	now = 1000000000;
	wired = mcast = taken_back = 0;
	must(!datapath_create(&q, flow, &fdb, NULL, 0, 1, &dp));
	dp->room = 20;
	must(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, host_fd));
	dp->host_fd = host_fd[1];
	host = host ? host : from_host_create(-1);
	host->fd = host_fd[1];
	fdb_set(&fdb, fdb_key(0, mac_load((const uint8_t[6]){ 2, 0, 0, 0, 0, PORTS + 1 })), VD_PORT_HOST, 0);
	for (unsigned i = 0; i < PORTS; i++) {
		const struct port_config cfg = { .pairs = 1 };
		struct side *s = &side[i];

		make_memory(s);
		memset(&s->gone, 0, sizeof(s->gone));
		memset(&s->limit, 0, sizeof(s->limit));
		s->features = FEATURES | (kinds >> i & 1 ? 1ull << VIRTIO_F_RING_PACKED : 0) |
			      (kinds >> (3 + i) & 1 ? 1ull << VIRTIO_NET_F_MRG_RXBUF : 0);
		if (i == 2 && kinds & 0x40)
			s->features &= ~VNET_GUEST_OFFLOADS;
		s->port = port_create(i, &cfg);
		s->port->rx_limit = &s->limit;
		for (unsigned ring = 0; ring < 2; ring++) {
			start_ring(s, ring);
			port_vq(s->port, ring)->enabled = 1;
		}
		port_map(s->port, &s->port->map);
		must(!datapath_add_port(dp, s->port, 1));
		learned(i, true);
	}
}

static void end(void)
{
	datapath_destroy(dp);
	for (unsigned i = 0; i < PORTS; i++)
		from_host_forget(host, i);
	must(host->nfree == FROM_HOST_SLOTS);
	close(host_fd[0]);
	close(host_fd[1]);
	for (unsigned i = 0; i < PORTS; i++) {
		for (unsigned ring = 0; ring < 2; ring++)
			virtq_stop(port_vq(side[i].port, ring));
		port_destroy(side[i].port);
	}
	nicq_fini(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size, 0 };

	begin(&in);
	for (unsigned n = 0; in.left || n < STEPS; n++) {
		uint8_t op = (uint8_t)take(&in, 1);
		unsigned i = (op >> 2 & 3) % PORTS;

		switch (op & 3) {
		case 0:
			if (op & 0x80)
				send_packet(&in, &side[i], i);
			else if (op & 0x40)
				post(&side[i], 0, GUEST + DATA + take(&in, 1) * 0x100u, (op & 0x30) * 32 + 100, VRING_DESC_F_WRITE);
			else
				scribble(&in, &side[i], (uint8_t)take(&in, 1));
			break;
		case 1:
			control(&in, (uint8_t)take(&in, 1), i);
			break;
		default:
			pass(&in, (uint8_t)take(&in, 1));
			check();
		}
	}
	end();
	return 0;
}
