/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets that offloads must leave alone, or for which there is nobody to be
 * joined with, and a guest that changes everything while its packets are cut and
 * summed; with both kinds of rings.
 */
#include <pthread.h>
#include <sched.h>

#include "dp.h"
#include "offload.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT | VNET_OFFLOADS)
#define MSS 1460u

static uint8_t packet[OFFLOAD_MAX], want[OFFLOAD_MAX];

DP_FIXTURE(FEATURES)

/* --- from the wire ---------------------------------------------------------- */

/* The next packet at @e is @len bytes as they are in @packet, with a header that says nothing. */
static void expect_as_it_came(struct dp_end *e, uint32_t len)
{
	struct virtio_net_hdr_v1 hdr, none = { .num_buffers = 1 };

	assert_int_equal(dp_take_packet(e, want, &hdr), len);
	assert_memory_equal(want, packet, len);
	assert_memory_equal(&hdr, &none, sizeof(hdr));
}

/* Nobody waits for a segment that may follow. */
static void a_segment_that_comes_alone_is_delivered_by_the_pass_that_took_it(void **state)
{
	struct offload o[4] = { offload_tcp4(MSS), offload_tcp6(MSS - 20), offload_udp4(1000), offload_tcp4(MSS) };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[1][1];

	o[3].flags |= O_PSH;
	dp_offer(e, DP_QSIZE);
	for (unsigned i = 0; i < 4; i++) {
		uint32_t len = offload_build(packet, &o[i], true);

		assert_true(dp_wire_bytes(b, 1, 1, packet, len));
		dp_rx(b);
		expect_as_it_came(e, len);
		assert_int_equal(dp_port(b, 1)->held, 0);
		assert_false(b->res.waiting);
	}
	assert_int_equal(e->vq->stats.gso_packets, 0);
}

static void the_segment_that_follows_in_the_next_pass_is_a_packet_of_its_own(void **state)
{
	struct offload o = offload_tcp4(3 * MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, DP_QSIZE);
	for (uint32_t i = 0; i < 3; i++) {
		struct offload cut = offload_cut(&o, MSS, i);
		uint32_t len = offload_build(packet, &cut, true);

		assert_true(dp_wire_bytes(b, 0, 0, packet, len));
		dp_rx(b);
		expect_as_it_came(e, len);
	}
}

static void short_frames_from_the_wire_arrive_as_they_came(void **state)
{
	static const uint32_t len[] = { 14, 59, 60, 61 };
	struct dp_bed *b = *state;

	dp_offer(&b->rx[0][0], DP_QSIZE);
	for (unsigned i = 0; i < 4; i++) {
		dp_frame(packet, len[i], 0, DP_MAC_WIRE, i);
		assert_true(dp_wire_bytes(b, 0, 0, packet, len[i]));
	}
	dp_rx(b);
	for (unsigned i = 0; i < 4; i++) {
		dp_frame(packet, len[i], 0, DP_MAC_WIRE, i);
		expect_as_it_came(&b->rx[0][0], len[i]);
	}
}

/* --- from the guest ----------------------------------------------------------- */

/* What the guest sends with a header that asks for nothing leaves bit for bit. */
static void leaves_as_it_is(struct dp_bed *b, uint32_t len)
{
	struct dp_end *e = &b->tx[0][1];
	const uint8_t *f = NULL;

	assert_true(dp_send_raw(e, packet, len));
	dp_tx(b);
	assert_int_equal(dp_sent(b, &f), len);
	assert_memory_equal(f, packet, len);
	assert_int_equal(dp_sent(b, &f), -1);
	assert_int_equal(e->vq->stats.checksums + e->vq->stats.gso_packets, 0);
	dp_complete(b, 1);
}

static void short_frames_of_the_guest_leave_as_they_are(void **state)
{
	static const uint32_t len[] = { 14, 59, 60, 61 };

	for (unsigned i = 0; i < 4; i++) {
		dp_frame(packet, len[i], DP_MAC_WIRE, DP_MAC_GUEST, i);
		leaves_as_it_is(*state, len[i]);
	}
}

/* RFC 768: the sender has made none. It is not for us to make one. */
static void a_datagram_without_a_checksum_leaves_without_one(void **state)
{
	struct offload o = offload_udp4(333);
	uint32_t len;

	for (o.tags = 0; o.tags <= 1; o.tags++) {
		len = offload_build(packet, &o, true);
		memset(packet + offload_l4(&o) + 6, 0, 2);
		leaves_as_it_is(*state, len);
	}
}

/* Only the first has ports, none has a checksum that we could judge. */
static void ip_fragments_leave_as_they_are(void **state)
{
	static const uint16_t frag[] = { 0x2000, 0x2000 | 185, 370 };
	struct offload o[2] = { offload_udp4(1400), offload_tcp6(1200) };

	for (unsigned i = 0; i < 3; i++) {
		o[0].frag = frag[i];
		leaves_as_it_is(*state, offload_build(packet, &o[0], true));
		leaves_as_it_is(*state, offload_build(packet, &o[0], false));
	}
	o[1].nnext = 1;
	o[1].next[0] = O_FRAGMENT;
	o[1].next_len = 8;
	leaves_as_it_is(*state, offload_build(packet, &o[1], true));
}

/* --- a guest that changes everything ------------------------------------------- */

/* Half of it is out when it is no packet any more: the next one is sent from its first frame on. */
static void a_packet_that_turns_bad_when_half_sent_does_not_cut_the_next_one_short(void **state)
{
	const struct offload o[2] = { offload_tcp4(30 * MSS), offload_tcp6(20 * MSS) };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	struct virtio_net_hdr_v1 hdr;
	const uint8_t *f = NULL;

	for (unsigned i = 0; i < 2; i++) {
		hdr = offload_header(&o[i], MSS - 20);
		assert_true(dp_send_hdr(e, &hdr, packet, offload_build(packet, &o[i], false)));
	}
	b->q.tx_limit = 10;
	dp_tx(b);
	assert_int_equal(e->vq->resume, 10 * (MSS - 20));
	for (unsigned i = 0; i < 10; i++)
		assert_true(dp_sent(b, &f) > 0);
	hdr = offload_header(&o[0], MSS - 20);
	hdr.csum_offset = 3;
	guest_write(&e->g, e->addr[e->idle[e->nidle + 1]], &hdr, sizeof(hdr));
	b->q.tx_limit = DP_RING;
	dp_tx(b);
	assert_int_equal(e->vq->stats.errors[VIRTQ_DROP_OFFLOAD], 1);
	for (uint32_t i = 0; i < offload_count(&o[1], MSS - 20); i++) {
		const struct offload cut = offload_cut(&o[1], MSS - 20, i);
		uint32_t len = offload_build(want, &cut, true);

		assert_int_equal(dp_sent(b, &f), len);
		assert_memory_equal(f, want, len);
	}
	assert_int_equal(dp_sent(b, &f), -1);
	assert_int_equal(e->vq->resume, 0);
}

#define LARGE_AT (dp_buf(DP_QSIZE) - GUEST_SEAM)	/* in the second region */
#define ROUNDS 500
#define MANY 8		/* packets in each */

static struct {
	struct guest *g;
	uint32_t stop;
	uint32_t may, did;	/* writes */
} vandal;

static uint16_t *word_at(uint8_t *p, uint32_t offset)
{
	return (uint16_t *)(void *)(p + (offset & ~1u));
}

/*
 * Headers mostly: that is where there is something to get wrong. So many writes as it may, spread over a pass: with more
 * of them nothing would be left that is worth a look.
 */
static void *write_at_random(void *arg)
{
	uint8_t *ring = guest_ptr(vandal.g, GUEST_DESC), *data = guest_ptr(vandal.g, GUEST_SEAM) + LARGE_AT;
	uint8_t *driver = guest_ptr(vandal.g, GUEST_AVAIL), *device = guest_ptr(vandal.g, GUEST_USED);
	uint64_t seed = 11;

	(void)arg;
	while (!READ_ONCE(vandal.stop)) {
		uint32_t v = guest_random(&seed), at = guest_random(&seed), k = guest_random(&seed) % MANY * DP_LARGE;

		if (vandal.did == READ_ONCE(vandal.may)) {
			sched_yield();
			continue;
		}
		for (unsigned spin = v >> 16 & 127; spin; spin--)
			cpu_relax();
		switch (v % 64) {
		case 0: case 1:		/* descriptors */
			WRITE_ONCE(*word_at(ring, at % (MANY * 16)), (uint16_t)(v >> 8));
			break;
		case 2:
			WRITE_ONCE(*word_at(driver, at % (4 + 2 * MANY)), (uint16_t)(v >> 8));
			break;
		case 3:
			WRITE_ONCE(*word_at(device, at % (4 + 8 * MANY)), (uint16_t)(v >> 8));
			break;
		case 4: case 5: case 6: case 7:
			WRITE_ONCE(*word_at(data, k + at % (DP_LARGE - 2)), (uint16_t)(v >> 8));
			break;
		case 8: case 9: case 10: case 11:	/* what to do with the packet: small numbers, mostly legal ones */
			WRITE_ONCE(data[k + at % 2], (uint8_t)(v >> 8 & 5));
			break;
		default:
			WRITE_ONCE(data[k + at % 80], (uint8_t)(v >> 8));
		}
		store_release(&vandal.did, vandal.did + 1);
	}
	return NULL;
}

/* The ring begins anew, whatever is left in it. */
static void restart(struct dp_end *e)
{
	virtq_stop(e->vq);
	e->g.avail_idx = e->g.used_idx = e->g.cfg.base = 0;
	e->g.avail->idx = e->g.used->idx = 0;
	e->g.hidden = e->g.open = e->g.chains = e->g.visible = 0;
	if (e->g.packed)
		guest_prepare_packed(&e->g, 0);
	assert_int_equal(virtq_start(e->vq, &e->g.cfg), 0);
}

/* Packets to be cut and summed, or too long for that and asking for nothing, into buffers that others write to. */
static void post_some(struct dp_end *e, uint64_t *seed)
{
	for (uint16_t i = 0; i < MANY; i++) {
		uint32_t kind = guest_random(seed), mss = guest_random(seed) % 4 ? 300 + guest_random(seed) % 1160 : 0;
		struct offload o = kind & 1 ? offload_tcp6(0) : offload_tcp4(0);
		uint64_t at = dp_buf(DP_QSIZE) + i * DP_LARGE;
		struct virtio_net_hdr_v1 hdr;
		uint32_t len;

		o.udp = kind & 2;
		o.tags = kind >> 2 & 1;
		o.payload = 1 + guest_random(seed) % (mss ? 40000 : 1400);
		if (guest_random(seed) % 4 == 0)
			o.payload = 1400 + guest_random(seed) % 400;
		len = offload_build(packet, &o, false);
		hdr = offload_header(&o, mss);
		if (guest_random(seed) % 8 == 0)
			hdr = (struct virtio_net_hdr_v1){ 0 };
		guest_write(&e->g, at, &hdr, sizeof(hdr));
		guest_write(&e->g, at + DP_HDR, packet, len);
		dp_post(e, i, at, DP_HDR + len, 0);
	}
	guest_expose(&e->g);
}

/* What leaves is frames that the wire takes. Return: how many. */
static unsigned take_frames(struct dp_bed *b)
{
	unsigned n = 0;
	struct xdp_desc d;

	for (; dp_sent_piece(b, &d); n++) {
		assert_int_equal(d.options & XDP_PKT_CONTD, 0);
		assert_in_range(d.len, 14, GUEST_MAX_FRAME);
		dp_complete(b, 1);
	}
	return n;
}

/* So many things become something else: before the pass that follows, or while it works. */
static void let_it_write(uint32_t n, bool before)
{
	WRITE_ONCE(vandal.may, vandal.may + n);
	while (before && load_acquire(&vandal.did) != vandal.may)
		sched_yield();
}

/* A pass. Every frame that left is in the counters, whatever its packet has become meanwhile. */
static void hostile_pass(struct dp_bed *b, struct dp_end *e)
{
	const struct virtq_stats before = e->vq->stats, *s = &e->vq->stats;
	uint64_t sent = b->q.stats.tx_packets, counted;

	dp_tx(b);
	sent = b->q.stats.tx_packets - sent;
	counted = s->packets - s->gso_packets + s->gso_frames - (before.packets - before.gso_packets + before.gso_frames);
	assert_int_equal(sent, counted);
}

static void a_guest_that_changes_all_while_packets_are_cut_harms_nobody_else(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	uint64_t seed = 5, frames = 0;
	pthread_t thread;

	vandal.g = &e->g;
	vandal.stop = vandal.may = vandal.did = 0;
	assert_int_equal(pthread_create(&thread, NULL, write_at_random, NULL), 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		restart(e);
		dp_kick(b, 0, 0);	/* a ring that broke had left the list */
		post_some(e, &seed);
		for (unsigned n = guest_random(&seed) % 12; n; n--) {
			b->q.tx_limit = guest_random(&seed) % 5 ? guest_random(&seed) % 60 : DP_RING;
			let_it_write(guest_random(&seed) % 30, guest_random(&seed) % 2);
			hostile_pass(b, e);
			frames += take_frames(b);
			dp_check_hostile(b);
		}
	}
	WRITE_ONCE(vandal.stop, 1);
	pthread_join(thread, NULL);
	assert_true(frames > 0);
	/* The neighbour's packets leave as ever. */
	b->q.tx_limit = DP_RING;
	assert_true(dp_send(b, 1, 0, 100, 7));
	restart(e);
	dp_kick(b, 0, 0);	/* a ring that broke had left the list */
	dp_tx(b);
	dp_expect_sent(b, 1, 100, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(a_segment_that_comes_alone_is_delivered_by_the_pass_that_took_it),
		DP_BOTH(the_segment_that_follows_in_the_next_pass_is_a_packet_of_its_own),
		DP_BOTH(short_frames_from_the_wire_arrive_as_they_came),
		DP_BOTH(short_frames_of_the_guest_leave_as_they_are),
		DP_BOTH(a_datagram_without_a_checksum_leaves_without_one),
		DP_BOTH(ip_fragments_leave_as_they_are),
		DP_BOTH(a_packet_that_turns_bad_when_half_sent_does_not_cut_the_next_one_short),
		DP_HOSTILE(a_guest_that_changes_all_while_packets_are_cut_harms_nobody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
