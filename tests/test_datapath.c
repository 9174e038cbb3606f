/* SPDX-License-Identifier: BSD-2-Clause */
/* The data path from NIC to guest, with both kinds of rings; dp.h plays the kernel and the guests. */
#include "dp.h"
#include "viaduct_steer.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT)

DP_FIXTURE(FEATURES)

static void offer_all(struct dp_bed *b)
{
	for (unsigned i = 0; i < DP_PORTS; i++)
		for (unsigned k = 0; k < DP_PAIRS; k++)
			dp_offer(&b->rx[i][k], DP_QSIZE);
}

/* --- sorting ------------------------------------------------------------ */

static void frames_reach_the_ring_their_metadata_names_in_order(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	offer_all(b);
	for (i = 0; i < 60; i++)
		assert_true(dp_wire(b, i % 2, i / 2 % 2, 60 + i, i));
	dp_rx(b);
	assert_true(b->res.work > 0);
	for (i = 0; i < 60; i++)
		dp_expect(b, i % 2, i / 2 % 2, 60 + i, i);
	for (i = 0; i < 4; i++)
		dp_expect_none(b, i % 2, i / 2);
}

static void frames_of_any_length_arrive_undamaged(void **state)
{
	struct dp_bed *b = *state;
	unsigned len;

	for (len = 18; len <= GUEST_MAX_FRAME; len += 13) {
		dp_offer(&b->rx[0][1], 1);
		assert_true(dp_wire(b, 0, 1, len, len));
		dp_rx(b);
		dp_expect(b, 0, 1, len, len);
	}
}

static void a_frame_may_spread_over_several_small_buffers(void **state)
{
	struct dp_bed *b = *state;

	dp_offer_len(&b->rx[0][0], 8, 200);
	assert_true(dp_wire(b, 0, 0, 500, 1));
	dp_rx(b);
	assert_int_equal(b->rx[0][0].vq->stats.packets, 1);
	assert_int_equal(guest_pending(&b->rx[0][0].g), 3);
}

static void more_frames_than_a_batch_are_taken_batch_by_batch(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	offer_all(b);
	for (i = 0; i < DP_RX_BATCH + 10; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	assert_int_equal(b->rx[0][0].vq->stats.packets, DP_RX_BATCH);
	dp_rx(b);
	for (i = 0; i < DP_RX_BATCH + 10; i++)
		dp_expect(b, 0, 0, 60, i);
}

static void an_idle_pass_says_that_nothing_is_to_be_done(void **state)
{
	struct dp_bed *b = *state;

	offer_all(b);
	dp_rx(b);
	assert_int_equal(b->res.work, 0);
	assert_false(b->res.waiting || b->res.again || b->res.polled);
	assert_true(dp_wire(b, 0, 0, 60, 1));
	dp_rx(b);
	assert_int_not_equal(b->res.work, 0);
	assert_false(b->res.waiting);
	dp_expect(b, 0, 0, 60, 1);
	dp_rx(b);
	assert_int_equal(b->res.work, 0);
	assert_false(b->res.waiting || b->res.again || b->res.polled);
}

static void metadata_does_not_outlive_its_frame(void **state)
{
	const uint32_t magic = VD_META_MAGIC;
	struct dp_bed *b = *state;
	unsigned i;

	dp_offer(&b->rx[0][0], 4);
	b->rx[1][0].vq->enabled = 0;
	for (i = 0; i < 4; i++) {
		assert_true(dp_wire(b, 0, 0, 60, i));
		assert_true(dp_wire(b, 1, 0, 60, i));
		assert_true(dp_wire(b, 0, 7, 60, i));
	}
	dp_rx(b);
	for (i = 0; i < DP_FRAMES; i++)
		assert_memory_not_equal(b->q.umem + i * DP_CHUNK + NICQ_DATA_OFFSET - sizeof(struct vd_meta), &magic, 4);
}

/* --- sequence numbers ----------------------------------------------------- */

static void a_gap_in_the_sequence_is_counted_as_lost(void **state)
{
	struct dp_bed *b = *state;

	offer_all(b);
	assert_true(dp_wire(b, 0, 0, 60, 1));
	dp_wire_lost(b, 0, 5);
	assert_true(dp_wire(b, 0, 1, 60, 2));
	assert_true(dp_wire(b, 1, 0, 60, 3));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 5);
	assert_int_equal(dp_port(b, 1)->lost, 0);
	dp_wire_lost(b, 0, 1);
	assert_true(dp_wire(b, 0, 0, 60, 4));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 6);
}

static void a_late_frame_was_not_lost_after_all(void **state)
{
	struct vd_meta m = { .magic = VD_META_MAGIC, .seq = 0 };
	struct dp_bed *b = *state;
	uint8_t f[60];

	offer_all(b);
	dp_wire_lost(b, 0, 2);
	assert_true(dp_wire(b, 0, 0, 60, 1));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 2);
	dp_frame(f, 60, 0, DP_MAC_WIRE, 2);
	assert_true(dp_wire_raw(b, f, 60, &m));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 1);
	assert_int_equal(b->flow[0].consumed, 3);
	dp_expect(b, 0, 0, 60, 1);
	dp_expect(b, 0, 0, 60, 2);
}

static void sequence_numbers_may_wrap(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	offer_all(b);
	b->flow[0].seq = UINT32_MAX - 2;
	dp_port(b, 0)->expected = UINT32_MAX - 2;
	dp_port(b, 0)->first = UINT32_MAX - 2;
	for (i = 0; i < 6; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 0);
	assert_int_equal(b->flow[0].consumed, 3);
	b->flow[0].seq = dp_port(b, 0)->expected = UINT32_MAX;
	dp_wire_lost(b, 0, 3);
	assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 3);
	assert_int_equal(b->flow[0].consumed, b->flow[0].seq);
}

static void losses_behind_the_last_frame_are_found_after_20_ms(void **state)
{
	struct dp_bed *b = *state;

	offer_all(b);
	dp_rx(b);
	dp_wire_lost(b, 0, DP_SHARE);
	assert_true(datapath_missing(b->dp));
	b->now += DP_RECONCILE_NS;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 0);
	b->now += DP_RECONCILE_NS - 1;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, 0);
	b->now += 1;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->lost, DP_SHARE);
	assert_int_equal(b->flow[0].consumed, DP_SHARE);
	assert_false(datapath_missing(b->dp));
}

static void losses_that_wrap_the_sequence_are_found_too(void **state)
{
	struct dp_bed *b = *state;

	b->flow[1].seq = dp_port(b, 1)->expected = UINT32_MAX - 1;
	dp_rx(b);
	dp_wire_lost(b, 1, 4);
	b->now += DP_RECONCILE_NS;
	dp_rx(b);
	b->now += DP_RECONCILE_NS;
	dp_rx(b);
	assert_int_equal(dp_port(b, 1)->lost, 4);
	assert_int_equal(b->flow[1].consumed, 2);
}

static void a_neighbour_that_keeps_the_queue_busy_does_not_hide_losses(void **state)
{
	struct dp_bed *b = *state;

	dp_offer(&b->rx[1][0], 64);
	dp_wire_lost(b, 0, 3);
	for (unsigned i = 0; i < 6; i++) {
		assert_true(dp_wire(b, 1, 0, 60, i));
		dp_rx(b);
		dp_expect(b, 1, 0, 60, i);
		b->now += DP_RECONCILE_NS / 2;
	}
	assert_int_equal(dp_port(b, 0)->lost, 3);
	assert_int_equal(dp_port(b, 1)->lost, 0);
	assert_int_equal(b->flow[0].consumed, 3);
}

static void frames_that_still_wait_in_the_ring_are_not_lost(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	offer_all(b);
	dp_rx(b);
	/* Counted and in the ring, but the worker was away for long: two batches and a bit. */
	for (i = 0; i < 2 * DP_RX_BATCH + 1; i++)
		assert_true(dp_wire(b, i % 2, 0, 60, i));
	for (i = 0; i < 4; i++) {
		b->now += DP_RECONCILE_NS;
		dp_rx(b);
		assert_int_equal(dp_port(b, 0)->lost + dp_port(b, 1)->lost, 0);
	}
}

static void the_position_published_is_what_was_expected_less_what_is_held(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	for (i = 0; i < 10; i++)
		assert_true(dp_wire(b, 0, i % 2, 60, i));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 10);
	assert_int_equal(b->flow[0].consumed, 0);
	dp_offer(&b->rx[0][1], 3);
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 7);
	assert_int_equal(b->flow[0].consumed, 3);
	offer_all(b);
	dp_rx(b);
	assert_int_equal(b->flow[0].consumed, 10);
	assert_int_equal(b->flow[1].consumed, 0);
}

/* --- guests without buffers ------------------------------------------------ */

static void frames_wait_for_buffers_and_are_delivered_when_they_come(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	dp_offer(&b->rx[0][0], 2);
	for (i = 0; i < 20; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 18);
	assert_true(b->res.waiting);
	b->now += DP_HOLD_NS / 2;
	dp_offer(&b->rx[0][0], 8);
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 10);
	b->now += DP_HOLD_NS - 1;	/* it took some meanwhile: the wait begins anew */
	dp_offer(&b->rx[0][0], 5);
	dp_rx(b);
	b->now += DP_HOLD_NS - 1;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 5);
	dp_offer(&b->rx[0][0], 5);
	dp_rx(b);
	assert_false(b->res.waiting);
	for (i = 0; i < 20; i++)
		dp_expect(b, 0, 0, 60, i);
	assert_int_equal(dp_port(b, 0)->drop_hold, 0);
}

static void beyond_the_share_the_oldest_frames_are_dropped_and_counted(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	for (i = 0; i < DP_SHARE + 7; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->drop_hold, 7);
	assert_int_equal(dp_port(b, 0)->held, DP_SHARE);
	offer_all(b);
	dp_rx(b);
	for (i = 7; i < DP_SHARE + 7; i++)
		dp_expect(b, 0, 0, 60, i);
}

static void a_stalled_guest_does_not_hold_up_its_neighbour(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	dp_offer(&b->rx[1][1], DP_QSIZE);
	for (i = 0; i < 2 * DP_FRAMES; i++) {
		dp_wire(b, 0, 0, 60, i);
		assert_true(dp_wire(b, 1, 1, 60, i));
		dp_rx(b);
		dp_expect(b, 1, 1, 60, i);
		dp_offer(&b->rx[1][1], 1);
		assert_true(dp_port(b, 0)->held <= DP_SHARE);
	}
	assert_int_equal(b->q.frames.count[FRAME_FILL], b->q.fill_target);
}

static void frames_that_waited_too_long_are_dropped_and_counted(void **state)
{
	struct dp_bed *b = *state;

	for (unsigned i = 0; i < 5; i++)
		assert_true(dp_wire(b, 0, 1, 60, i));
	dp_rx(b);
	b->now += DP_HOLD_NS;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 5);
	b->now += 1;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 0);
	assert_int_equal(dp_port(b, 0)->drop_hold, 5);
	assert_int_equal(b->flow[0].consumed, 5);
	assert_false(b->res.waiting);
	dp_rx(b);
	assert_false(b->res.waiting);
}

static void a_busy_ring_lock_keeps_frames_waiting(void **state)
{
	struct dp_bed *b = *state;
	struct virtq *vq = b->rx[0][0].vq;

	offer_all(b);
	assert_true(spin_trylock(&vq->lock));
	assert_true(dp_wire(b, 0, 0, 60, 1));
	assert_true(dp_wire(b, 0, 1, 60, 2));
	dp_rx(b);
	dp_expect(b, 0, 1, 60, 2);
	assert_int_equal(dp_port(b, 0)->held, 1);
	assert_true(b->res.waiting);
	spin_unlock(&vq->lock);
	dp_rx(b);
	dp_expect(b, 0, 0, 60, 1);
}

static void a_lock_that_stays_busy_costs_no_more_than_the_share(void **state)
{
	struct dp_bed *b = *state;
	struct virtq *vq = b->rx[0][0].vq;
	unsigned i;

	assert_true(spin_trylock(&vq->lock));
	for (i = 0; i < DP_SHARE + 3; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, DP_SHARE);
	assert_int_equal(dp_port(b, 0)->drop_hold, 3);
	b->now += DP_HOLD_NS + 1;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 0);
	spin_unlock(&vq->lock);
}

/* --- rings that do not run --------------------------------------------------- */

static void expect_ring_drop(struct dp_bed *b, uint64_t before)
{
	assert_true(dp_wire(b, 0, 0, 60, 1));
	assert_true(dp_wire(b, 0, 1, 60, 2));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->drop_ring, before + 1);
	assert_int_equal(dp_port(b, 0)->held, 0);
	assert_false(b->res.waiting);
	dp_expect(b, 0, 1, 60, 2);
}

static void frames_for_a_ring_that_does_not_run_are_dropped_and_counted(void **state)
{
	struct dp_bed *b = *state;
	struct virtq *vq = b->rx[0][0].vq;

	offer_all(b);
	vq->enabled = 0;
	expect_ring_drop(b, 0);
	vq->enabled = 1;
	vq->broken = VIRTQ_BROKEN_HEAD;
	expect_ring_drop(b, 1);
	vq->broken = 0;
	virtq_stop(vq);
	expect_ring_drop(b, 2);
	assert_int_equal(b->flow[0].consumed, 6);
}

static void frames_that_wait_for_a_ring_that_stops_are_dropped_and_counted(void **state)
{
	struct dp_bed *b = *state;

	for (unsigned i = 0; i < 9; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->held, 9);
	virtq_stop(b->rx[0][0].vq);
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->drop_ring, 9);
	assert_int_equal(dp_port(b, 0)->held, 0);
}

static void what_a_ring_that_breaks_did_not_take_is_dropped_and_counted(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, 3);
	if (e->g.packed)
		guest_raw(&e->g, dp_buf(0), DP_BUF, VRING_DESC_F_WRITE, DP_QSIZE + 1);
	else
		guest_avail(&e->g, DP_QSIZE + 1);
	guest_expose(&e->g);
	for (unsigned i = 0; i < 8; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_rx(b);
	dp_rx(b);
	assert_int_equal(e->vq->broken, VIRTQ_BROKEN_HEAD);
	assert_int_equal(e->vq->stats.packets + dp_port(b, 0)->drop_ring, 8);
	assert_false(b->res.waiting);
}

/* --- frames without metadata, frames for nobody ------------------------------ */

static void frames_without_metadata_are_looked_up(void **state)
{
	struct dp_bed *b = *state;
	unsigned i, pair, hit[DP_PAIRS] = { 0 };
	uint8_t f[60];

	offer_all(b);
	dp_frame(f, 60, 1, DP_MAC_WIRE, 0);
	assert_int_equal(fdb_set(&b->fdb, mac_load(f), 1, 0), 0);
	for (i = 0; i < 32; i++) {
		dp_frame(f, 60, 1, DP_MAC_WIRE, i);
		f[12] = 0x08;	/* IPv4, so that addresses choose the pair */
		f[13] = 0;
		f[14] = 0x45;
		pair = b->port[1]->steering.pair[vd_flow_hash(f, 60) & (VD_INDIRECTION - 1)];
		assert_true(dp_wire_raw(b, f, 60, NULL));
		dp_rx(b);
		assert_int_equal(b->rx[1][pair].vq->stats.packets, ++hit[pair]);
	}
	assert_int_equal(dp_port(b, 1)->without_meta, 32);
	assert_true(hit[0] && hit[1]);
}

static void frames_that_nothing_says_whose_they_are_are_stray(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[60];

	offer_all(b);
	dp_frame(f, 60, 77, DP_MAC_WIRE, 0);
	assert_true(dp_wire_raw(b, f, 60, NULL));
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 1);
	/* Unless a port takes what is unknown. */
	b->dp->unknown_port = 0;
	assert_true(dp_wire_raw(b, f, 60, NULL));
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 1);
	assert_int_equal(dp_port(b, 0)->without_meta, 1);
}

static void metadata_out_of_range_makes_a_stray(void **state)
{
	static const struct vd_meta bad[] = {
		{ .magic = VD_META_MAGIC, .port = DP_PORTS },
		{ .magic = VD_META_MAGIC, .port = VD_MAX_PORTS },
		{ .magic = VD_META_MAGIC, .port = 0xffff, .pair = 0xffff },
		{ .magic = VD_META_MAGIC, .port = 1, .pair = DP_PAIRS },
		{ .magic = VD_META_MAGIC, .port = 1, .pair = 0xffff, .seq = 1 },
	};
	const unsigned n = sizeof(bad) / sizeof(bad[0]);
	struct dp_bed *b = *state;
	uint8_t f[60];
	unsigned i;

	offer_all(b);
	dp_frame(f, 60, 0, DP_MAC_WIRE, 0);
	for (i = 0; i < n; i++)
		assert_true(dp_wire_raw(b, f, 60, &bad[i]));
	b->flow[1].seq = 2;
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, n);
	/* They take nothing from the port's share for ever. */
	b->now += DP_RECONCILE_NS;
	dp_rx(b);
	assert_int_equal(b->flow[1].consumed, 2);
}

static void frames_shorter_than_an_ethernet_header_are_stray(void **state)
{
	struct dp_bed *b = *state;

	offer_all(b);
	assert_true(dp_wire(b, 0, 0, 13, 0));
	assert_true(dp_wire(b, 0, 0, 1, 0));
	assert_true(dp_wire(b, 0, 0, 14, 0));
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 2);
	assert_int_equal(b->rx[0][0].vq->stats.packets, 1);
}

/* --- broadcast and multicast --------------------------------------------------- */

static unsigned hand_over(struct dp_bed *b, uint32_t number)
{
	uint8_t f[100];
	unsigned n;

	dp_frame(f, sizeof(f), 0xffff, DP_MAC_WIRE, number);
	n = local_from_wire(b->dp, f, sizeof(f), b->now);
	b->mcast += n;
	return n;
}

static void a_broadcast_reaches_every_port_once(void **state)
{
	struct dp_bed *b = *state;

	offer_all(b);
	assert_int_equal(hand_over(b, 3), 2);
	dp_expect_to(&b->rx[0][0], 0xffff, 100, 3);
	dp_expect_to(&b->rx[1][0], 0xffff, 100, 3);
	dp_expect_none(b, 0, 1);
	dp_expect_none(b, 1, 1);
}

static void a_broadcast_goes_to_a_pair_that_runs(void **state)
{
	struct dp_bed *b = *state;

	offer_all(b);
	b->rx[0][0].vq->enabled = 0;
	port_map(b->port[0], &b->port[0]->map);
	assert_int_equal(hand_over(b, 3), 2);
	dp_expect_to(&b->rx[0][1], 0xffff, 100, 3);
}

static void a_broadcast_that_a_port_cannot_take_is_counted(void **state)
{
	struct dp_bed *b = *state;

	assert_int_equal(hand_over(b, 1), 0);	/* no buffers */
	assert_int_equal(dp_port(b, 0)->drop_mcast, 1);
	assert_int_equal(dp_port(b, 1)->drop_mcast, 1);
	offer_all(b);
	assert_true(spin_trylock(&b->rx[0][0].vq->lock));
	assert_int_equal(hand_over(b, 2), 1);
	spin_unlock(&b->rx[0][0].vq->lock);
	assert_int_equal(dp_port(b, 0)->drop_mcast, 2);
	virtq_stop(b->rx[1][0].vq);
	assert_int_equal(hand_over(b, 3), 1);
	assert_int_equal(dp_port(b, 1)->drop_mcast, 2);
}

/* --- whom the wire shows ---------------------------------------------------------- */

static void addresses_heard_from_the_wire_stay_on_record(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[60];
	uint64_t mac;

	dp_frame(f, 60, 0, DP_MAC_WIRE, 0);
	mac = mac_load(f + MAC_LEN);
	dp_offer(&b->rx[0][0], 64);
	/* One sender only, for longer than the memory of it lasts. */
	for (unsigned i = 0; i < 50; i++) {
		b->now += LEARN_WIRE_NS / 20;
		assert_true(dp_wire(b, 0, 0, 60, i));
		dp_rx(b);
		dp_tx(b);
		assert_true(b->now - learn_wire_when(b->dp->wire, mac) <= LEARN_WIRE_NS / 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(frames_reach_the_ring_their_metadata_names_in_order),
		DP_BOTH(frames_of_any_length_arrive_undamaged),
		DP_BOTH(a_frame_may_spread_over_several_small_buffers),
		DP_BOTH(more_frames_than_a_batch_are_taken_batch_by_batch),
		DP_BOTH(an_idle_pass_says_that_nothing_is_to_be_done),
		DP_BOTH(metadata_does_not_outlive_its_frame),
		DP_BOTH(a_gap_in_the_sequence_is_counted_as_lost),
		DP_BOTH(a_late_frame_was_not_lost_after_all),
		DP_BOTH(sequence_numbers_may_wrap),
		DP_BOTH(losses_behind_the_last_frame_are_found_after_20_ms),
		DP_BOTH(losses_that_wrap_the_sequence_are_found_too),
		DP_BOTH(a_neighbour_that_keeps_the_queue_busy_does_not_hide_losses),
		DP_BOTH(frames_that_still_wait_in_the_ring_are_not_lost),
		DP_BOTH(the_position_published_is_what_was_expected_less_what_is_held),
		DP_BOTH(frames_wait_for_buffers_and_are_delivered_when_they_come),
		DP_BOTH(beyond_the_share_the_oldest_frames_are_dropped_and_counted),
		DP_BOTH(a_stalled_guest_does_not_hold_up_its_neighbour),
		DP_BOTH(frames_that_waited_too_long_are_dropped_and_counted),
		DP_BOTH(a_busy_ring_lock_keeps_frames_waiting),
		DP_BOTH(a_lock_that_stays_busy_costs_no_more_than_the_share),
		DP_BOTH(frames_for_a_ring_that_does_not_run_are_dropped_and_counted),
		DP_BOTH(frames_that_wait_for_a_ring_that_stops_are_dropped_and_counted),
		DP_BOTH(what_a_ring_that_breaks_did_not_take_is_dropped_and_counted),
		DP_BOTH(frames_without_metadata_are_looked_up),
		DP_BOTH(frames_that_nothing_says_whose_they_are_are_stray),
		DP_BOTH(metadata_out_of_range_makes_a_stray),
		DP_BOTH(frames_shorter_than_an_ethernet_header_are_stray),
		DP_BOTH(a_broadcast_reaches_every_port_once),
		DP_BOTH(a_broadcast_goes_to_a_pair_that_runs),
		DP_BOTH(a_broadcast_that_a_port_cannot_take_is_counted),
		DP_BOTH(addresses_heard_from_the_wire_stay_on_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
