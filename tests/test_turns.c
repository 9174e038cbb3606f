/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may send how much when several want to: turns by port, in bytes and a
 * charge for each frame; and who may have how much waiting. With both kinds of
 * rings.
 */
#include "local.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)
#define CHARGE 512u	/* bytes that a frame counts for beside its own */
#define LONG 1514u
#define SHORT 60u
#define TURN 64u	/* frames of LONG in one turn */

static const struct port_config plain[DP_MOST];

LOCAL_FIXTURE(plain, 4, FEATURES)

/* What a port sends. */
struct flow {
	uint32_t len;
	uint32_t to;	/* station */
	bool pairs[DP_PAIRS];
};

static void keep_full(struct dp_bed *b, unsigned port, const struct flow *f)
{
	uint8_t frame[DP_BUF];

	local_frame(frame, f->len, f->to, port, 0);
	for (unsigned k = 0; k < DP_PAIRS; k++)
		while (f->pairs[k] && dp_send_raw(&b->tx[port][k], frame, f->len))
			;
}

/* So many passes, each with @drain frames that the NIC sends; what a port's guest sent is counted in @charge. */
static void run(struct dp_bed *b, const struct flow *flow, unsigned n, unsigned passes, unsigned drain, uint64_t *charge)
{
	uint64_t before[DP_MOST][2];
	uint8_t f[DP_BUF];
	const uint8_t *out;

	for (unsigned settle = 0; settle < 2; settle++) {
		for (unsigned i = 0; i < n; i++) {
			before[i][0] = before[i][1] = 0;
			for (unsigned k = 0; k < DP_PAIRS; k++) {
				before[i][0] += b->tx[i][k].vq->stats.packets;
				before[i][1] += b->tx[i][k].vq->stats.bytes;
			}
		}
		for (unsigned p = 0; p < (settle ? passes : 20); p++) {
			local_offer_all(b);
			for (unsigned i = 0; i < n; i++)
				keep_full(b, i, &flow[i]);
			dp_tx(b);
			for (unsigned i = 0; i < drain && dp_sent(b, &out) >= 0; i++)
				;
			dp_complete(b, DP_RING);
			for (unsigned i = 0; i < DP_MOST; i++)
				while (dp_take(&b->rx[i][0], f) >= 0 || dp_take(&b->rx[i][1], f) >= 0)
					;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		charge[i] = 0;
		for (unsigned k = 0; k < DP_PAIRS; k++)
			charge[i] += b->tx[i][k].vq->stats.packets * CHARGE + b->tx[i][k].vq->stats.bytes;
		charge[i] -= before[i][0] * CHARGE + before[i][1];
	}
}

static void assert_even(uint64_t a, uint64_t b)
{
	assert_true(a > 0 && b > 0);
	assert_in_range(100 * a / b, 90, 111);
}

static void long_frames_and_short_ones_share_the_nic_by_bytes_and_a_charge(void **state)
{
	const struct flow flow[2] = { { LONG, DP_MAC_WIRE, { true } }, { SHORT, DP_MAC_WIRE, { true } } };
	struct dp_bed *b = *state;
	uint64_t charge[2];

	run(b, flow, 2, 2000, DP_RING, charge);
	/* The short ones are limited by their ring, 128 of them, before they have had their turn. */
	assert_true(charge[0] >= charge[1]);
	run(b, (const struct flow[]){ { LONG, DP_MAC_WIRE, { true } }, { 700, DP_MAC_WIRE, { true } } }, 2, 2000, DP_RING,
	    charge);
	assert_even(charge[0], charge[1]);
}

static void a_nic_that_is_slow_is_shared_evenly_among_ports(void **state)
{
	struct flow flow[DP_MOST];
	struct dp_bed *b = *state;
	uint64_t charge[DP_MOST];

	for (unsigned drain = 1; drain <= 40; drain += 13) {
		for (unsigned i = 0; i < DP_MOST; i++)
			flow[i] = (struct flow){ 400, DP_MAC_WIRE, { true } };
		run(b, flow, DP_MOST, 4000, drain, charge);
		for (unsigned i = 1; i < DP_MOST; i++)
			assert_even(charge[0], charge[i]);
	}
}

static void many_rings_of_one_port_get_no_more_than_one_of_another(void **state)
{
	const struct flow flow[2] = { { LONG, DP_MAC_WIRE, { true, true } }, { LONG, DP_MAC_WIRE, { true } } };
	struct dp_bed *b = *state;
	uint64_t charge[2], one;

	run(b, flow, 2, 1000, DP_RING, charge);
	assert_even(charge[0], charge[1]);
	/* Of which each ring has a part. */
	one = b->tx[0][0].vq->stats.packets;
	assert_in_range(one * 100 / (one + b->tx[0][1].vq->stats.packets), 20, 80);
}

static void packets_for_another_guest_count_in_the_turn_as_well(void **state)
{
	const struct flow flow[2] = { { LONG, DP_MAC_GUEST + 2, { true, true } }, { LONG, DP_MAC_WIRE, { true, true } } };
	struct dp_bed *b = *state;
	uint64_t charge[2];

	run(b, flow, 2, 1000, DP_RING, charge);
	assert_even(charge[0], charge[1]);
}

static void a_port_that_had_nothing_to_send_has_saved_up_nothing(void **state)
{
	struct dp_bed *b = *state;
	const struct flow one = { LONG, DP_MAC_WIRE, { true, true } };
	uint64_t charge[1];

	run(b, &one, 1, 100, DP_RING, charge);
	keep_full(b, 0, &one);
	keep_full(b, 1, &one);
	b->q.tx_limit = DP_RING;
	b->dp->talkers = 2;
	b->dp->senders = 1;
	dp_tx(b);
	assert_in_range(b->tx[1][0].vq->stats.packets + b->tx[1][1].vq->stats.packets, TURN, TURN + 1);
}

/* Where several send to the uplink none of them has more out than its part, so that others find room when they come. */
static void no_port_has_all_of_the_nics_frames_when_others_send(void **state)
{
	const struct flow one = { 100, DP_MAC_WIRE, { true, true } };
	struct dp_bed *b = *state;
	const uint8_t *out;

	for (unsigned pass = 0; pass < 400; pass++) {
		for (unsigned i = 0; i < DP_MOST; i++)
			keep_full(b, i, &one);
		dp_tx(b);
		for (unsigned i = 0; i < 10 && dp_sent(b, &out) >= 0; i++)
			;
		dp_complete(b, DP_RING);
		if (pass < 100)
			continue;
		for (unsigned i = 0; i < DP_MOST; i++)
			assert_in_range(b->q.tx_of[i], 1, DP_RING / DP_MOST);
	}
}

/* The others' packets for guests go on when the NIC takes nothing. */
static void a_nic_that_takes_nothing_holds_up_nobody_who_does_not_need_it(void **state)
{
	const struct flow flow[2] = { { LONG, DP_MAC_WIRE, { true, true } }, { LONG, DP_MAC_GUEST + 2, { true, true } } };
	struct dp_bed *b = *state;
	uint64_t charge[2];

	b->q.tx_limit = 0;
	run(b, flow, 2, 100, 0, charge);
	assert_int_equal(charge[0], 0);
	assert_true(charge[1] >= 100 * TURN * LONG);
	b->q.tx_limit = DP_RING;
}

/* --- rings without packets ------------------------------------------------------------- */

/* Where there are many, what has nothing is asked for a kick, and costs nothing more until it comes. */
static void of_many_rings_only_those_with_packets_are_looked_at(void **state)
{
	struct dp_bed *b = *state;
	const struct flow one = { 100, DP_MAC_WIRE, { true } };
	const uint8_t *out;

	for (unsigned i = 0; i < DP_MOST * DP_PAIRS; i++)
		b->tx[i / DP_PAIRS][i % DP_PAIRS].vq->kickfd = 0;	/* any fd will do */
	for (unsigned pass = 0; pass < 200; pass++) {
		keep_full(b, 2, &one);
		dp_tx(b);
		while (dp_sent(b, &out) >= 0)
			dp_complete(b, 1);
		b->now += 1000;
	}
	/* A few are looked at all the time. */
	assert_in_range(b->dp->nactive, 1, 4);
	assert_int_equal(dp_tx_of(b, 2, 0)->armed, 0);
	for (unsigned i = 0, armed = 0; i < DP_MOST * DP_PAIRS; i++) {
		struct dp_tx *tx = dp_tx_of(b, i / DP_PAIRS, i % DP_PAIRS);

		armed += tx->armed;
		assert_int_equal(tx->listed, !tx->armed);
		assert_true(i < DP_MOST * DP_PAIRS - 1 || armed >= DP_MOST * DP_PAIRS - 4);
		/* The kick comes, with a packet, or for nothing. */
		if (!tx->armed)
			continue;
		if (i & 1)
			assert_true(dp_send(b, i / DP_PAIRS, i % DP_PAIRS, 60, 5));
		dp_kick(b, i / DP_PAIRS, i % DP_PAIRS);
		dp_tx(b);
		assert_int_equal(b->res.work > 0, 1);
		assert_int_equal(b->tx[i / DP_PAIRS][i % DP_PAIRS].vq->stats.packets, i & 1);
		while (dp_sent(b, &out) >= 0)
			dp_complete(b, 1);
		keep_full(b, 2, &one);
	}
	for (unsigned i = 0; i < DP_MOST * DP_PAIRS; i++)
		b->tx[i / DP_PAIRS][i % DP_PAIRS].vq->kickfd = -1;
}

/* --- frames that wait for guests ------------------------------------------------------- */

static void flood_guests(struct dp_bed *b, unsigned n)
{
	for (unsigned pass = 0; pass < 100; pass++) {
		for (unsigned i = 0; i < n; i++)
			for (unsigned k = 0; k < 4; k++)
				dp_wire(b, (uint16_t)i, (uint16_t)(k & 1), 60, pass);
		b->now += DP_MS / 10;
		dp_rx(b);
	}
}

/* A dynamic threshold: each may have as many waiting as there is room left, so n of them have room / (n + 1). */
static void the_room_for_waiting_frames_is_shared_by_those_that_wait(void **state)
{
	struct dp_bed *b = *state;

	for (unsigned n = 1; n <= DP_MOST; n++) {
		flood_guests(b, n);
		for (unsigned i = 0; i < n; i++)
			assert_in_range(dp_port(b, i)->held, DP_ROOM / (n + 1) - 4, DP_ROOM / (n + 1) + 8);
		assert_true(b->dp->held < DP_ROOM + DP_MOST * VD_SHARE_MIN);
	}
	/* When they take again there is room for all. */
	for (unsigned i = 0; i < 4; i++) {
		uint8_t f[DP_BUF];

		local_offer_all(b);
		dp_rx(b);
		for (unsigned k = 0; k < DP_MOST * DP_PAIRS; k++)
			while (dp_take(&b->rx[k / DP_PAIRS][k % DP_PAIRS], f) >= 0)
				;
	}
	assert_int_equal(b->dp->held, 0);
	assert_int_equal(b->flow[VD_MAX_PORTS].seq, b->flow[VD_MAX_PORTS].consumed);
}

static void however_many_wait_each_may_have_a_few(void **state)
{
	struct dp_bed *b = *state;

	b->dp->room = VD_SHARE_MIN;
	flood_guests(b, DP_MOST);
	for (unsigned i = 0; i < DP_MOST; i++)
		assert_in_range(dp_port(b, i)->held, VD_SHARE_MIN, VD_SHARE_MIN + 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(long_frames_and_short_ones_share_the_nic_by_bytes_and_a_charge),
		DP_BOTH(a_nic_that_is_slow_is_shared_evenly_among_ports),
		DP_BOTH(many_rings_of_one_port_get_no_more_than_one_of_another),
		DP_BOTH(packets_for_another_guest_count_in_the_turn_as_well),
		DP_BOTH(a_port_that_had_nothing_to_send_has_saved_up_nothing),
		DP_BOTH(no_port_has_all_of_the_nics_frames_when_others_send),
		DP_BOTH(a_nic_that_takes_nothing_holds_up_nobody_who_does_not_need_it),
		DP_BOTH(of_many_rings_only_those_with_packets_are_looked_at),
		DP_BOTH(the_room_for_waiting_frames_is_shared_by_those_that_wait),
		DP_BOTH(however_many_wait_each_may_have_a_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
