/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports come and go while frames are on their way to them; with both kinds of rings. */
#include "local.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)

static const struct port_config plain[DP_MOST];

LOCAL_FIXTURE(plain, 3, FEATURES)

/* What the program may count as on its way is on a list, or nowhere. */
static void expect_sums(struct dp_bed *b)
{
	/* Losses are found when they are old enough. */
	for (unsigned i = 0; i < 4; i++) {
		b->now += DP_RECONCILE_NS;
		dp_rx(b);
	}
	for (unsigned i = 0; i < DP_MOST; i++)
		if (b->dp->port[i])
			assert_int_equal(b->flow[i].seq - b->flow[i].consumed, dp_port(b, i)->held);
	assert_int_equal(b->flow[VD_MAX_PORTS].seq - b->flow[VD_MAX_PORTS].consumed, b->dp->held);
	assert_false(datapath_missing(b->dp));
}

static void frames_that_waited_for_a_port_go_back_when_it_is_removed(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 20; i++) {
		assert_true(dp_wire(b, 0, i & 1, 60, i));
		assert_true(dp_wire(b, 1, i & 1, 60, i));
	}
	dp_rx(b);
	assert_int_equal(b->dp->held, 40);
	dp_remove(b, 0);
	assert_int_equal(b->dp->held, 20);
	assert_int_equal(b->taken_back, 20);
	assert_int_equal(frames_check(&b->q.frames), 0);
	expect_sums(b);
	/* The other's are delivered as ever. */
	local_offer_all(b);
	dp_rx(b);
	for (uint32_t i = 0; i < 20; i++)
		dp_expect(b, 1, i & 1, 60, i);
	expect_sums(b);
}

static void frames_on_their_way_to_a_removed_port_are_strays(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 20; i++)
		assert_true(dp_wire(b, i & 1, 0, 60, i));
	dp_remove(b, 0);
	local_offer_all(b);
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 10);
	for (uint32_t i = 1; i < 20; i += 2)
		dp_expect(b, 1, 0, 60, i);
	expect_sums(b);
}

/* The new one is another guest: it must not get a frame that was for the one before. */
static void frames_for_the_port_before_do_not_reach_the_one_that_has_its_number(void **state)
{
	struct dp_bed *b = *state;

	local_offer_all(b);
	for (uint32_t i = 0; i < 10; i++)
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_wire_lost(b, 0, 3);
	dp_remove(b, 0);
	dp_bring_back(b, 0);
	for (uint32_t i = 100; i < 110; i++)
		assert_true(dp_wire(b, 0, 1, 60, i));
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 10);
	dp_expect_none(b, 0, 0);
	for (uint32_t i = 100; i < 110; i++)
		dp_expect(b, 0, 1, 60, i);
	assert_int_equal(dp_port(b, 0)->lost, 0);	/* of it nothing was */
	expect_sums(b);
}

static void a_port_may_be_removed_amid_a_frame_of_several_pieces(void **state)
{
	struct dp_bed *b = *state;
	struct vd_meta m = { .magic = VD_META_MAGIC, .seq = b->flow[0].seq++ };
	uint8_t f[1000] = { 2 };

	b->flow[VD_MAX_PORTS].seq++;
	dp_wire_piece(b, f, sizeof(f), &m, true);
	dp_rx(b);
	dp_remove(b, 0);
	dp_wire_piece(b, f, sizeof(f), NULL, false);
	b->wired++;
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 1);
	dp_bring_back(b, 0);
	expect_sums(b);
}

static void its_rings_are_not_looked_at_any_more(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 30; i++)
		for (unsigned port = 0; port < 2; port++)
			assert_true(dp_send(b, port, i & 1, 60, i));
	dp_remove(b, 0);
	for (unsigned i = 0; i < 4; i++)
		dp_tx(b);
	assert_int_equal(b->tx[0][0].vq->next_avail & 0x7fff, 0);
	assert_int_equal(b->tx[0][1].vq->next_avail & 0x7fff, 0);
	for (unsigned i = 0; i < 2; i++)
		for (uint32_t n = i; n < 30; n += 2)
			dp_expect_sent(b, 1, 60, n);
	dp_bring_back(b, 0);
	for (unsigned i = 0; i < 4; i++)
		dp_tx(b);
	for (unsigned i = 0; i < 2; i++)
		for (uint32_t n = i; n < 30; n += 2)
			dp_expect_sent(b, 0, 60, n);
}

/* Its addresses are still in the table for a moment. */
static void what_others_send_to_a_removed_port_is_dropped(void **state)
{
	struct dp_bed *b = *state;

	local_offer_all(b);
	assert_true(local_send(b, 1, 0, 60, 1));
	dp_tx(b);
	local_expect(b, 1, 0, 60, 1);
	dp_remove(b, 0);
	fdb_touch(&b->fdb);	/* as taking out an address does */
	assert_true(local_send(b, 1, 0, 60, 2));
	dp_tx(b);
	assert_int_equal(dp_port(b, 1)->count[DP_DROP_SELF], 1);
	dp_bring_back(b, 0);
	fdb_touch(&b->fdb);
	assert_true(local_send(b, 1, 0, 60, 3));
	dp_tx(b);
	local_expect(b, 1, 0, 60, 3);
	local_expect_nothing(b);
}

static void ports_that_come_and_go_amid_traffic_lose_no_frame_of_others(void **state)
{
	struct dp_bed *b = *state;
	uint32_t sent = 0, got = 0;
	uint64_t seed = 9;
	uint8_t f[DP_BUF];

	for (unsigned round = 0; round < 2000; round++) {
		unsigned port = guest_random(&seed) % 2;

		if (guest_random(&seed) % 4 == 0) {
			if (b->dp->port[port])
				dp_remove(b, port);
			else
				dp_bring_back(b, port);
			fdb_touch(&b->fdb);
		}
		for (unsigned n = guest_random(&seed) % 8; n; n--) {
			dp_wire(b, (uint16_t)port, (uint16_t)(n & 1), 60, round);
			if (b->dp->port[port])
				dp_send(b, port, n & 1, 60, round);
			dp_wire(b, 2, 0, 60, sent++);
		}
		if (guest_random(&seed) % 2)
			dp_offer(&b->rx[port][0], 10);
		dp_offer(&b->rx[2][0], DP_QSIZE);
		b->now += guest_random(&seed) % DP_MS;
		dp_rx(b);
		dp_tx(b);
		for (const uint8_t *out; dp_sent(b, &out) >= 0;)
			dp_complete(b, 1);
		for (unsigned i = 0; i < 2; i++)
			while (dp_take(&b->rx[i][0], f) >= 0 || dp_take(&b->rx[i][1], f) >= 0)
				;
		while (got < sent)
			dp_expect(b, 2, 0, 60, got++);
		assert_int_equal(frames_check(&b->q.frames), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		if (!b->dp->port[i])
			dp_bring_back(b, i);
	expect_sums(b);
	assert_int_equal(dp_port(b, 2)->lost, 0);
}

/* Its VLANs have changed: what waits was let in by the old ones. */
static void what_is_on_its_way_to_a_port_can_be_called_off(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 20; i++) {
		assert_true(dp_wire(b, 0, i & 1, 60, i));
		assert_true(dp_wire(b, 1, i & 1, 60, i));
	}
	dp_rx(b);
	for (uint32_t i = 0; i < 5; i++)	/* and these are in the ring */
		assert_true(dp_wire(b, 0, 0, 60, i));
	dp_wire_lost(b, 0, 3);
	datapath_flush_port(b->dp, b->port[0], DP_DROP_UNFIT);
	assert_int_equal(dp_port(b, 0)->count[DP_DROP_UNFIT], 20);
	assert_int_equal(b->dp->held, 20);
	local_offer_all(b);
	assert_true(dp_wire(b, 0, 1, 60, 77));
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 5);
	dp_expect(b, 0, 1, 60, 77);
	for (uint32_t i = 0; i < 20; i++)
		dp_expect(b, 1, i & 1, 60, i);
	local_expect_nothing(b);
	expect_sums(b);
	/* Lists are used as before. */
	for (uint32_t i = 0; i < 300; i++) {
		local_offer_all(b);
		assert_true(dp_wire(b, 0, i & 1, 60, i));
		dp_rx(b);
		dp_expect(b, 0, i & 1, 60, i);
	}
}

static void the_list_of_rings_has_room_for_as_many_as_there_are(void **state)
{
	static const struct port_config cfg = { .pairs = VD_MAX_PAIRS };
	struct dp_bed *b = *state;
	struct port *p[8];

	for (uint32_t i = 0; i < 8; i++) {
		p[i] = port_create(10 + i, &cfg);
		assert_int_equal(datapath_add_port(b->dp, p[i], 1), 0);
	}
	assert_int_equal(b->dp->nport, 18);
	datapath_activate_all(b->dp);
	assert_int_equal(b->dp->nactive, 8 * VD_MAX_PAIRS + 3 * DP_PAIRS);
	dp_tx(b);
	assert_int_equal(b->dp->nactive, 3 * DP_PAIRS);	/* the others do not run */
	for (uint32_t i = 0; i < 8; i++) {
		datapath_del_port(b->dp, p[i]);
		port_destroy(p[i]);
	}
	assert_int_equal(b->dp->nport, 3);
	assert_int_equal(b->dp->pairs, 3 * DP_PAIRS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(frames_that_waited_for_a_port_go_back_when_it_is_removed),
		DP_BOTH(frames_on_their_way_to_a_removed_port_are_strays),
		DP_BOTH(frames_for_the_port_before_do_not_reach_the_one_that_has_its_number),
		DP_BOTH(a_port_may_be_removed_amid_a_frame_of_several_pieces),
		DP_BOTH(its_rings_are_not_looked_at_any_more),
		DP_BOTH(what_others_send_to_a_removed_port_is_dropped),
		DP_BOTH(ports_that_come_and_go_amid_traffic_lose_no_frame_of_others),
		DP_BOTH(what_is_on_its_way_to_a_port_can_be_called_off),
		DP_BOTH(the_list_of_rings_has_room_for_as_many_as_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
