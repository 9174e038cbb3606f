/* SPDX-License-Identifier: BSD-2-Clause */
/* From guest to guest: what is sent arrives, once, whole and in order, or is counted; with both kinds of rings. */
#include "local.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)

static const struct port_config plain[DP_MOST];

LOCAL_FIXTURE(plain, 4, FEATURES)

static void expect_counts(struct dp_bed *b, unsigned port, uint64_t to_ports, uint64_t from_ports)
{
	assert_int_equal(dp_port(b, port)->count[DP_TO_PORTS], to_ports);
	assert_int_equal(dp_port(b, port)->count[DP_FROM_PORTS], from_ports);
}

static void every_length_arrives_with_every_byte(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t len = 14; len <= GUEST_MAX_FRAME; len += len < 90 || len > 1500 ? 1 : 13) {
		dp_offer(local_rx(b, 0, 1), 1);
		assert_true(local_send(b, 0, 1, len, len));
		dp_tx(b);
		local_expect(b, 0, 1, len, len);
	}
	local_expect_nothing(b);
}

static void batches_arrive_in_order_in_both_directions(void **state)
{
	struct dp_bed *b = *state;
	uint32_t n = 0;

	for (unsigned round = 0; round < 40; round++) {
		local_offer_all(b);
		for (uint32_t i = 0; i < DP_QSIZE; i++) {
			assert_true(local_send(b, 0, 1, 60 + (n + i) % 900, n + i));
			assert_true(local_send(b, 1, 0, 60 + (n + i) % 700, ~(n + i)));
		}
		for (unsigned i = 0; i < 8; i++)
			dp_tx(b);
		for (uint32_t i = 0; i < DP_QSIZE; i++, n++) {
			local_expect(b, 0, 1, 60 + n % 900, n);
			local_expect(b, 1, 0, 60 + n % 700, ~n);
		}
	}
	local_expect_nothing(b);
	expect_counts(b, 0, n, n);
	expect_counts(b, 1, n, n);
}

static void a_packet_in_many_pieces_arrives_whole(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[2][0];
	struct vring_desc d[8];
	uint8_t f[12 + 600] = { 0 }, want[600];
	uint64_t seed = 3;

	dp_offer(local_rx(b, 2, 1), DP_QSIZE);
	for (unsigned round = 0; round < 100; round++) {
		uint32_t at = 0, n = 0, len = DP_HDR + 60 + guest_random(&seed) % 500;

		local_frame(want, len - DP_HDR, DP_MAC_GUEST + 1, 2, round);
		memcpy(f + DP_HDR, want, len - DP_HDR);
		guest_write(&e->g, dp_buf(0), f, len);
		while (at < len) {
			uint32_t part = n == 7 ? len - at : guest_random(&seed) % (len - at) / 2 + 1;

			d[n++] = (struct vring_desc){ dp_buf(0) + at, part, 0, 0 };
			at += part;
		}
		guest_reset(&e->g);
		guest_offer(&e->g, d, n, round & 1);
		guest_expose(&e->g);
		dp_tx(b);
		assert_int_equal(guest_pending(&e->g), 1);
		guest_take(&e->g);
		e->offered++;
		e->taken++;
		local_expect(b, 2, 1, len - DP_HDR, round);
		dp_offer(local_rx(b, 2, 1), 1);
	}
}

/* Uplink, two ports, a group and nobody, mixed in one batch. */
static void a_mixed_batch_goes_to_all_its_places_in_order(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];
	uint32_t n;

	for (n = 0; n < 1200; n += 60) {
		local_offer_all(b);
		b->now += DP_MS;
		for (uint32_t i = n; i < n + 60; i++) {
			local_frame(f, 100, i % 5 == 0 ? DP_MAC_WIRE : DP_MAC_GUEST + i % 5 % 4, 0, i);
			if (i % 5 == 3)
				memset(f, 0xff, 6);
			assert_true(dp_send_raw(&b->tx[0][0], f, 100));
		}
		for (unsigned i = 0; i < 4; i++)
			dp_tx(b);
		for (uint32_t i = n; i < n + 60; i++) {
			local_frame(f, 100, i % 5 == 0 ? DP_MAC_WIRE : DP_MAC_GUEST + i % 5 % 4, 0, i);
			if (i % 5 == 3)
				memset(f, 0xff, 6);
			if (i % 5 == 0 || i % 5 == 3)
				local_expect_out(b, f, 100);
			if (i % 5 == 3)
				local_expect_bytes(b, 3, 0, f, 100);
		}
		/* Packets for one port keep their order; the group goes before them. */
		for (unsigned port = 1; port <= 2; port++) {
			for (uint32_t i = n + 3; i < n + 60; i += 5) {
				local_frame(f, 100, 0, 0, i);
				memset(f, 0xff, 6);
				local_expect_bytes(b, port, 0, f, 100);
			}
			for (uint32_t i = n + port; i < n + 60; i += 5)
				local_expect(b, 0, port, 100, i);
		}
		local_expect_nothing(b);
	}
	expect_counts(b, 0, 2 * n / 5, 0);
	expect_counts(b, 1, 0, 2 * n / 5);
	expect_counts(b, 3, 0, n / 5);
	assert_int_equal(dp_port(b, 0)->count[DP_TO_GROUPS], n / 5);
	assert_int_equal(dp_port(b, 0)->count[DP_DROP_SELF], n / 5);
}

static void what_nobody_here_has_goes_to_the_uplink(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_frame(f, 60, 0x12345678, 1, 4);
	assert_true(dp_send_raw(&b->tx[1][0], f, 60));
	dp_tx(b);
	local_expect_out(b, f, 60);
	/* As long as the uplink is down it goes nowhere, and what is for other guests still arrives. */
	b->dp->uplink_up = 0;
	local_offer_all(b);
	for (uint32_t i = 0; i < 10; i++) {
		assert_true(dp_send_raw(&b->tx[1][0], f, 60));
		assert_true(local_send(b, 1, 2, 60, i));
	}
	dp_tx(b);
	for (uint32_t i = 0; i < 10; i++)
		local_expect(b, 1, 2, 60, i);
	assert_int_equal(dp_port(b, 1)->drop_uplink_down, 10);
	local_expect_nothing(b);
}

static void when_an_address_moves_packets_follow_with_the_next_batch(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	local_frame(f, 60, DP_MAC_GUEST + 1, 0, 7);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(dp_send_raw(&b->tx[0][0], f, 60));
		dp_tx(b);
		if (i == 1)
			fdb_set(&b->fdb, local_mac(DP_MAC_GUEST + 1), 3, b->now);
		if (i == 2)
			fdb_del(&b->fdb, local_mac(DP_MAC_GUEST + 1));
	}
	local_expect(b, 0, 1, 60, 7);
	local_expect(b, 0, 1, 60, 7);
	local_expect_bytes(b, 3, local_pair(b, 0, 1), f, 60);
	local_expect_out(b, f, 60);
	local_expect_nothing(b);
}

/* --- receivers that do not take ------------------------------------------------------ */

static void a_sender_waits_for_a_receiver_without_buffers_and_nothing_is_lost(void **state)
{
	struct dp_bed *b = *state;
	uint32_t sent = 0, got = 0;

	while (got < 2000) {
		while (sent < 2000 && local_send(b, 0, 1, 60, sent))
			sent++;
		dp_offer(local_rx(b, 0, 1), DP_TX_BATCH - 1);
		b->now += DP_LOCAL_HOLD_NS - 1;		/* each time so much comes */
		dp_tx(b);
		for (unsigned i = 0; i < DP_TX_BATCH - 1 && got < 2000; i++)
			local_expect(b, 0, 1, 60, got++);
		assert_true(got == 2000 || b->res.waiting);
		assert_false(datapath_arm(b->dp));	/* it is no reason to stay awake */
		for (unsigned k = 0; k < DP_MOST * DP_PAIRS; k++)
			dp_kick(b, k / DP_PAIRS, k % DP_PAIRS);
	}
	expect_counts(b, 1, 0, 2000);
	assert_int_equal(dp_port(b, 1)->drop_hold, 0);
}

static void a_receiver_that_takes_nothing_for_long_loses_its_packets_until_it_does(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 20; i++)
		assert_true(local_send(b, 0, 1, 60, i));
	dp_tx(b);
	assert_true(b->res.waiting);
	b->now += DP_LOCAL_HOLD_NS;
	dp_tx(b);
	assert_int_equal(dp_port(b, 1)->drop_hold, 0);
	b->now += 1;
	dp_tx(b);
	assert_int_equal(dp_port(b, 1)->drop_hold, 20);
	/* Those that come now do not wait. */
	assert_true(local_send(b, 0, 1, 60, 20));
	dp_tx(b);
	assert_int_equal(dp_port(b, 1)->drop_hold, 21);
	/* Those for another one do. */
	assert_true(local_send(b, 0, 2, 60, 21));
	dp_tx(b);
	assert_int_equal(dp_port(b, 2)->drop_hold, 0);
	dp_offer(local_rx(b, 0, 2), 1);
	dp_tx(b);
	local_expect(b, 0, 2, 60, 21);
	dp_offer(local_rx(b, 0, 1), 1);
	assert_true(local_send(b, 0, 1, 60, 22));
	dp_tx(b);
	local_expect(b, 0, 1, 60, 22);
	/* It is waited for again. */
	assert_true(local_send(b, 0, 1, 60, 23));
	dp_tx(b);
	assert_int_equal(dp_port(b, 1)->drop_hold, 21);
	dp_offer(local_rx(b, 0, 1), 1);
	dp_tx(b);
	local_expect(b, 0, 1, 60, 23);
	expect_counts(b, 1, 0, 23);
}

static void nobody_waits_behind_a_receiver_without_buffers(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	dp_offer(local_rx(b, 0, 1), 5);
	dp_offer(local_rx(b, 0, 3), DP_QSIZE);
	for (uint32_t i = 0; i < 60; i++) {
		local_frame(f, 60, i % 3 ? DP_MAC_GUEST + (i % 3 == 1 ? 1 : 3) : DP_MAC_WIRE, 0, i);
		assert_true(dp_send_raw(&b->tx[0][0], f, 60));
	}
	dp_tx(b);
	assert_false(dp_tx_of(b, 0, 0)->stuck);
	for (uint32_t i = 0; i < 60; i++) {
		if (i % 3 == 0) {
			local_frame(f, 60, DP_MAC_WIRE, 0, i);
			local_expect_out(b, f, 60);
		} else if (i % 3 == 2) {
			local_expect(b, 0, 3, 60, i);
		} else if (i < 15) {
			local_expect(b, 0, 1, 60, i);
		}
	}
	assert_int_equal(dp_port(b, 1)->drop_hold, 15);
	expect_counts(b, 1, 0, 20);
	expect_counts(b, 0, 40, 0);
	local_expect_nothing(b);
}

static void a_receiver_whose_ring_does_not_run_loses_its_packets_at_once(void **state)
{
	struct dp_bed *b = *state;
	struct virtq *vq = local_rx(b, 0, 1)->vq;

	local_offer_all(b);
	for (unsigned how = 0; how < 3; how++) {
		vq->enabled = how != 0;
		vq->broken = how == 1 ? VIRTQ_BROKEN_CHAIN : 0;
		vq->started = how != 2;
		for (uint32_t i = 0; i < 10; i++)
			assert_true(local_send(b, 0, 1, 60, i));
		dp_tx(b);
		assert_false(b->res.waiting);
		assert_int_equal(dp_port(b, 1)->drop_ring, 10 * (how + 1));
		expect_counts(b, 1, 0, 10 * (how + 1));
	}
	vq->started = vq->enabled = 1;
	assert_true(local_send(b, 0, 1, 60, 77));
	dp_tx(b);
	local_expect(b, 0, 1, 60, 77);
}

/* A ring that breaks amid a batch: what it had is gone, the sender goes on. */
static void a_receiver_that_breaks_its_ring_does_not_hold_up_the_sender(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = local_rx(b, 0, 1);

	dp_offer(e, 4);
	if (e->g.packed)
		guest_raw(&e->g, dp_buf(3), 2000, VRING_DESC_F_WRITE, DP_QSIZE + 5);
	else
		guest_avail(&e->g, DP_QSIZE + 5);
	guest_expose(&e->g);
	for (uint32_t i = 0; i < 10; i++)
		assert_true(local_send(b, 0, 1, 60, i));
	for (unsigned i = 0; i < 3; i++)
		dp_tx(b);
	assert_int_equal(e->vq->broken, VIRTQ_BROKEN_HEAD);
	assert_int_equal(b->tx[0][0].vq->broken, 0);
	dp_take_sent(&b->tx[0][0]);
	assert_int_equal(b->tx[0][0].taken, 10);
	dp_offer(local_rx(b, 0, 2), 1);
	assert_true(local_send(b, 0, 2, 60, 5));
	dp_tx(b);
	local_expect(b, 0, 2, 60, 5);
}

/* Another worker has the ring: packets stay with the sender, whatever else is in the batch, and keep their order. */
static void packets_for_a_ring_that_somebody_else_has_stay_and_go_later_once(void **state)
{
	struct dp_bed *b = *state;
	struct virtq *vq = local_rx(b, 0, 1)->vq;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	for (unsigned mixed = 0; mixed < 2; mixed++) {
		spin_lock(&vq->lock);
		for (uint32_t i = 0; i < 40; i++) {
			bool out = mixed && i % 4 == 1, other = mixed && i % 4 == 2;

			local_frame(f, 60, out ? DP_MAC_WIRE : DP_MAC_GUEST + (other ? 2 : 1), 0, i);
			assert_true(dp_send_raw(&b->tx[0][0], f, 60));
		}
		for (unsigned i = 0; i < 3; i++) {
			dp_tx(b);
			assert_true(b->res.again || b->res.waiting);
			b->now += DP_LOCAL_HOLD_NS + 1;
		}
		spin_unlock(&vq->lock);
		dp_tx(b);
		for (uint32_t i = 0; i < 40; i++) {
			if (mixed && i % 4 == 1) {
				local_frame(f, 60, DP_MAC_WIRE, 0, i);
				local_expect_out(b, f, 60);
			} else {
				local_expect(b, 0, mixed && i % 4 == 2 ? 2 : 1, 60, i);
			}
		}
		local_expect_nothing(b);
	}
	expect_counts(b, 0, 70, 0);
	expect_counts(b, 1, 0, 60);
	expect_counts(b, 2, 0, 10);
}

/* --- the soak ------------------------------------------------------------------------ */

/* Random packets between all; each that arrives is one that was sent to it, and none comes before an earlier one. */
static void a_mesh_under_load_loses_nothing_but_what_it_counts(void **state)
{
	struct dp_bed *b = *state;
	uint32_t next[DP_MOST][DP_MOST] = { 0 }, last[DP_MOST][DP_MOST] = { 0 };
	uint64_t seed = 7, got = 0, ended = 0;
	uint8_t f[DP_BUF], want[DP_BUF];

	for (unsigned round = 0; round < 3000; round++) {
		unsigned from = guest_random(&seed) % 4;

		for (unsigned i = guest_random(&seed) % 70; i; i--) {
			unsigned to = (from + 1 + guest_random(&seed) % 3) % 4;
			uint32_t n = next[from][to] + 1;

			if (!local_send(b, from, to, 60 + n % 1000, n))
				break;
			next[from][to] = n;
		}
		for (unsigned i = guest_random(&seed) % 3; i; i--)
			dp_offer(&b->rx[guest_random(&seed) % 4][guest_random(&seed) % 2], guest_random(&seed) % 60);
		b->now += guest_random(&seed) % (DP_LOCAL_HOLD_NS / 4);
		dp_tx(b);
		for (unsigned to = 0; to < 4; to++)
			for (int len; (len = dp_take(&b->rx[to][0], f)) >= 0 || (len = dp_take(&b->rx[to][1], f)) >= 0;
			     got++) {
				unsigned who = f[8];

				assert_in_range(who, 0, 3);
				assert_true(dp_number(f) > last[who][to]);
				last[who][to] = dp_number(f);
				local_frame(want, (uint32_t)len, DP_MAC_GUEST + to, who, last[who][to]);
				assert_memory_equal(f, want, (size_t)len);
			}
	}
	for (unsigned i = 0; i < 4; i++)
		ended += dp_ended(b, i);
	assert_true(got > 20000);
	assert_true(ended >= got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(every_length_arrives_with_every_byte),
		DP_BOTH(batches_arrive_in_order_in_both_directions),
		DP_BOTH(a_packet_in_many_pieces_arrives_whole),
		DP_BOTH(a_mixed_batch_goes_to_all_its_places_in_order),
		DP_BOTH(what_nobody_here_has_goes_to_the_uplink),
		DP_BOTH(when_an_address_moves_packets_follow_with_the_next_batch),
		DP_BOTH(a_sender_waits_for_a_receiver_without_buffers_and_nothing_is_lost),
		DP_BOTH(a_receiver_that_takes_nothing_for_long_loses_its_packets_until_it_does),
		DP_BOTH(nobody_waits_behind_a_receiver_without_buffers),
		DP_BOTH(a_receiver_whose_ring_does_not_run_loses_its_packets_at_once),
		DP_BOTH(a_receiver_that_breaks_its_ring_does_not_hold_up_the_sender),
		DP_BOTH(packets_for_a_ring_that_somebody_else_has_stay_and_go_later_once),
		DP_BOTH(a_mesh_under_load_loses_nothing_but_what_it_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
