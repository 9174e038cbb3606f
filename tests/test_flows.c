/* SPDX-License-Identifier: BSD-2-Clause */
/* Which queue pair a flow is on: the hash in both directions, the table, and the pair on which the guest sends it. */
#include "local.h"
#include "offload.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)

static const struct port_config plain[DP_MOST];
static uint8_t f[2048], g[2048];

LOCAL_FIXTURE(plain, 3, FEATURES)

/* --- the hash -------------------------------------------------------------------------- */

static void swap(uint8_t *a, uint8_t *b, unsigned n)
{
	for (; n; n--, a++, b++) {
		uint8_t x = *a;

		*a = *b;
		*b = x;
	}
}

/* The packet as the other side would send it. */
static void turn_round(uint8_t *p, const struct offload *o)
{
	uint8_t *ip = p + offload_l3(o), *l4 = p + offload_l4(o);

	swap(p, p + 6, 6);
	if (o->v6)
		swap(ip + 8, ip + 24, 16);
	else
		swap(ip + 12, ip + 16, 4);
	swap(l4, l4 + 2, 2);
}

static void both_directions_of_a_flow_have_one_hash(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (unsigned i = 0; i < 4096; i++) {
		struct offload o = i & 1 ? offload_tcp6(40) : offload_tcp4(40);
		uint32_t len;

		o.udp = i & 2;
		o.tags = i >> 2 & 3;
		o.tags = o.tags == 3 ? 0 : o.tags;
		o.frag = i & 16 && !o.v6 ? 0x2000 : 0;
		o.ip_options = i & 32 && !o.v6 ? 8 : 0;
		if (i & 64 && o.v6) {
			o.nnext = 1;
			o.next[0] = O_DSTOPTS;
			o.next_len = 8;
		}
		o.host = (uint8_t)(guest_random(&seed) % 199);
		o.sport = (uint16_t)guest_random(&seed);
		len = offload_build(f, &o, true);
		if (i & 128) {	/* not IP at all: its addresses */
			memcpy(f + offload_l3(&o) - 2, "\x08\x06", 2);
			for (unsigned k = 0; k < 12; k++)
				f[k] = (uint8_t)guest_random(&seed);
		}
		memcpy(g, f, len);
		turn_round(g, &o);
		assert_int_equal(vd_flow_hash_reverse(f, len), vd_flow_hash(g, len));
		assert_int_equal(vd_flow_hash_reverse(g, len), vd_flow_hash(f, len));
		assert_true(i & 128 || vd_flow_hash(f, len) != vd_flow_hash(g, len));
		/* However little of it there is. */
		len = guest_random(&seed) % 80;
		if (len >= offload_l4(&o) + 4 || len < offload_l3(&o))
			assert_int_equal(vd_flow_hash_reverse(f, len), vd_flow_hash(g, len));
	}
}

/* --- where flows go ---------------------------------------------------------------------- */

/* A packet of a TCP connection of port @sport between guests. Return: its length. */
static uint32_t connection(uint8_t *p, unsigned from, unsigned to, uint16_t sport, bool back)
{
	struct offload o = offload_tcp4(40);
	uint8_t mac[14];
	uint32_t len;

	o.sport = sport;
	len = offload_build(p, &o, true);
	if (back)
		turn_round(p, &o);
	local_frame(mac, 14, DP_MAC_GUEST + to, from, 0);
	memcpy(p, mac, 12);
	return len;
}

/* The pair on which guest @to gets the frame. */
static unsigned arrives_on(struct dp_bed *b, unsigned to, const uint8_t *frame, uint32_t len)
{
	uint8_t got[2048];

	for (unsigned k = 0; k < DP_PAIRS; k++) {
		if (dp_take(&b->rx[to][k], got) < 0)
			continue;
		assert_memory_equal(got, frame, len);
		return k;
	}
	fail_msg("it has not arrived");
	return 0;
}

/* What the worker has to tell the control thread. Return: how many flows. */
static unsigned told(struct dp_bed *b, unsigned port, uint32_t hash, unsigned pair)
{
	struct learn_request r;
	unsigned n = 0;

	while (learn_pop(b->dp->learn, &r)) {
		if (!r.flow)
			continue;
		n++;
		assert_int_equal(r.port, port);
		assert_int_equal(r.pair, pair);
		assert_int_equal(r.hash, hash);
	}
	return n;
}

static void answers_come_back_on_the_pair_that_asked(void **state)
{
	struct dp_bed *b = *state;
	unsigned other = 0;

	for (uint16_t sport = 1000; sport < 1100; sport++) {
		const unsigned pair = sport & 1;
		uint32_t len = connection(f, 0, 1, sport, false);

		b->now += DP_LEARN_NS;
		local_offer_all(b);
		assert_true(dp_send_raw(&b->tx[0][pair], f, len));
		dp_tx(b);
		arrives_on(b, 1, f, len);
		connection(g, 1, 0, sport, true);
		/* The program's map has it under the hash of the answer. */
		assert_int_equal(told(b, 0, vd_flow_hash(g, len), pair), 1);
		other += b->port[0]->steering.pair[vd_flow_hash(g, len) % VD_INDIRECTION] != pair;
		assert_true(dp_send_raw(&b->tx[1][0], g, len));
		dp_tx(b);
		assert_int_equal(arrives_on(b, 0, g, len), pair);
		while (learn_pop(b->dp->learn, &(struct learn_request){ 0 }))
			;
	}
	assert_true(other > 20);	/* by the table half of them would have come on the other one */
}

static void a_flow_is_told_once_until_it_changes_its_pair(void **state)
{
	struct dp_bed *b = *state;
	uint32_t len = connection(f, 0, 1, 7, false), hash;

	connection(g, 1, 0, 7, true);
	hash = vd_flow_hash(g, len);
	for (unsigned i = 0; i < 40; i++) {
		local_offer_all(b);
		assert_true(dp_send_raw(&b->tx[0][i / 10 % 2], f, len));
		dp_tx(b);
		arrives_on(b, 1, f, len);
		assert_int_equal(told(b, 0, hash, i / 10 % 2), i % 10 == 0);
	}
	/* And again after a while: the map may have forgotten it. */
	b->now += 1ull << PORT_FLOW_AGAIN;
	local_offer_all(b);
	assert_true(dp_send_raw(&b->tx[0][1], f, len));
	dp_tx(b);
	assert_int_equal(told(b, 0, hash, 1), 1);
}

/* A ring that is full of requests loses none of them for good. */
static void a_flow_that_could_not_be_told_is_told_later(void **state)
{
	struct learn_request junk = { .flow = true, .port = 77 };
	struct dp_bed *b = *state;
	uint32_t len = connection(f, 0, 1, 7, false);

	while (learn_push(b->dp->learn, &junk))
		;
	local_offer_all(b);
	assert_true(dp_send_raw(&b->tx[0][1], f, len));
	dp_tx(b);
	while (learn_pop(b->dp->learn, &junk))
		assert_int_equal(junk.port, 77);
	assert_true(dp_send_raw(&b->tx[0][1], f, len));
	dp_tx(b);
	connection(g, 1, 0, 7, true);
	assert_int_equal(told(b, 0, vd_flow_hash(g, len), 1), 1);
}

/* A guest that makes up flows: so many in a while, and a ring that has room for what others tell. */
static void flows_without_number_do_not_fill_the_ring(void **state)
{
	struct dp_bed *b = *state;
	struct learn_request r;
	unsigned n = 0;

	local_offer_all(b);
	for (uint16_t sport = 0; sport < 60; sport++) {
		uint32_t len = connection(f, 0, 1, sport, false);

		assert_true(dp_send_raw(&b->tx[0][0], f, len));
		dp_tx(b);
	}
	while (learn_pop(b->dp->learn, &r))
		n += r.flow;
	assert_int_equal(n, DP_NOTES);
	for (unsigned ms = 0; ms < 100; ms++) {
		uint8_t got[2048];

		b->now += DP_LEARN_NS;
		for (uint16_t i = 0; i < 60; i++)
			assert_true(dp_send_raw(&b->tx[0][0], f, connection(f, 0, 1, (uint16_t)(ms * 60 + i), false)));
		dp_tx(b);
		while (dp_take(&b->rx[1][0], got) >= 0 || dp_take(&b->rx[1][1], got) >= 0)
			;
		local_offer_all(b);
	}
	assert_in_range(learn_waiting(b->dp->learn), LEARN_RING / 4, LEARN_RING / 2 + 1);
	while (learn_pop(b->dp->learn, &r))
		;
}

static void by_hash_only_the_table_decides(void **state)
{
	struct dp_bed *b = *state;

	for (unsigned i = 0; i < 3; i++)
		b->port[i]->steering.mode = VD_STEER_HASH;
	for (uint16_t sport = 1000; sport < 1100; sport++) {
		uint32_t len = connection(f, 0, 1, sport, false), hash;

		local_offer_all(b);
		assert_true(dp_send_raw(&b->tx[0][sport & 1], f, len));
		dp_tx(b);
		hash = vd_flow_hash(f, len);
		assert_int_equal(arrives_on(b, 1, f, len), hash % VD_INDIRECTION % DP_PAIRS);
		connection(g, 1, 0, sport, true);
		assert_true(dp_send_raw(&b->tx[1][0], g, len));
		dp_tx(b);
		hash = vd_flow_hash(g, len);
		assert_int_equal(arrives_on(b, 0, g, len), hash % VD_INDIRECTION % DP_PAIRS);
		assert_int_equal(told(b, 0, 0, 0), 0);
	}
	/* An operator's table, with pairs that there are not. */
	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		b->port[1]->steering.pair[i] = i & 1 ? 1 : 0xffff;
	for (uint16_t sport = 1000; sport < 1100; sport++) {
		uint32_t len = connection(f, 0, 1, sport, false), hash = vd_flow_hash(f, len);

		local_offer_all(b);
		assert_true(dp_send_raw(&b->tx[0][0], f, len));
		dp_tx(b);
		assert_int_equal(arrives_on(b, 1, f, len), hash & 1 ? 1 : b->port[1]->map.route[0xffff % VD_MAX_PAIRS]);
	}
}

static void a_pair_that_is_disabled_gets_no_flow_any_more(void **state)
{
	struct dp_bed *b = *state;

	for (unsigned off = 0; off < 2; off++) {
		b->rx[1][off].vq->enabled = 0;
		b->rx[1][!off].vq->enabled = 1;
		port_map(b->port[1], &b->port[1]->map);
		for (uint16_t sport = 1000; sport < 1100; sport++) {
			uint32_t len = connection(f, 0, 1, sport, false);

			local_offer_all(b);
			/* It sends on the pair on which it does not receive. */
			connection(g, 1, 0, sport, true);
			assert_true(dp_send_raw(&b->tx[1][off], g, len));
			assert_true(dp_send_raw(&b->tx[0][0], f, len));
			dp_tx(b);
			arrives_on(b, 0, g, len);
			assert_int_equal(arrives_on(b, 1, f, len), !off);
		}
	}
	assert_int_equal(dp_port(b, 1)->drop_ring, 0);
	while (learn_pop(b->dp->learn, &(struct learn_request){ 0 }))
		;
}

/* Frames without metadata are steered by user space, as the program would have. */
static void frames_from_the_wire_follow_the_flow_as_well(void **state)
{
	struct dp_bed *b = *state;

	for (uint16_t sport = 1000; sport < 1050; sport++) {
		struct offload o = offload_tcp4(40);
		uint32_t len;

		b->now += DP_LEARN_NS;
		o.sport = sport;
		len = offload_build(f, &o, true);
		dp_frame(f, 12, DP_MAC_WIRE, DP_MAC_GUEST, 0);
		assert_true(dp_send_raw(&b->tx[0][sport & 1], f, len));
		dp_tx(b);
		for (const uint8_t *out; dp_sent(b, &out) >= 0;)
			dp_complete(b, 1);
		memcpy(g, f, len);
		turn_round(g, &o);
		local_offer_all(b);
		assert_true(dp_wire_raw(b, g, len, NULL));
		dp_rx(b);
		assert_int_equal(arrives_on(b, 0, g, len), sport & 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_directions_of_a_flow_have_one_hash),
		DP_BOTH(answers_come_back_on_the_pair_that_asked),
		DP_BOTH(a_flow_is_told_once_until_it_changes_its_pair),
		DP_BOTH(a_flow_that_could_not_be_told_is_told_later),
		DP_BOTH(flows_without_number_do_not_fill_the_ring),
		DP_BOTH(by_hash_only_the_table_decides),
		DP_BOTH(a_pair_that_is_disabled_gets_no_flow_any_more),
		DP_BOTH(frames_from_the_wire_follow_the_flow_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
