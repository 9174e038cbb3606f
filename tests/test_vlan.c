/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VLANs: who hears whom, and with which tag; between guests, to the uplink and
 * from it, and with broadcasts; with both kinds of rings.
 */
#include "local.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)

enum { A10, B10, C20, TRUNK };	/* two access ports of VLAN 10, one of 20, and a trunk of 10 and 20 whose native VLAN is 30 */

static const struct port_config ports[DP_MOST] = {
	{ .vlan = 10 }, { .vlan = 10 }, { .vlan = 20 },
	{ .vlan = 30, .have_trunk = true, .trunk = { 1ull << 10 | 1ull << 20 } },
};

LOCAL_FIXTURE(ports, 4, FEATURES)

/* Another configuration of a port, as at run time. */
static void reconfigure(struct dp_bed *b, unsigned port, struct port_config c)
{
	fdb_del(&b->fdb, fdb_key(b->port[port]->policy.key_vlan, local_mac(DP_MAC_GUEST + port)));
	c.pairs = DP_PAIRS;
	b->port[port]->cfg = c;
	policy_set(&b->port[port]->policy, &c);
	fdb_touch(&b->fdb);
	local_learned(b, port);
}

/* A guest sends a frame, with a tag in it unless @vid is 0; the tag has priority 5. */
static void send_tagged(struct dp_bed *b, unsigned from, uint32_t to, uint16_t vid, uint32_t len, uint32_t number)
{
	uint8_t f[DP_BUF];

	local_frame(f, len, to, from, number);
	if (vid)
		len = local_tag(f, len, vid);
	assert_true(dp_send_raw(&b->tx[from][0], f, len));
	dp_tx(b);
}

/* Guest @to has that frame, with @vid: 0 = without a tag; @ours: a tag that was put in here. */
static void expect_tagged(struct dp_bed *b, unsigned from, unsigned to, uint16_t vid, bool ours, uint32_t len,
			  uint32_t number)
{
	uint8_t want[DP_BUF];

	local_frame(want, len, DP_MAC_GUEST + to, from, number);
	if (vid)
		len = ours ? local_tag0(want, len, vid) : local_tag(want, len, vid);
	local_expect_bytes(b, to, local_pair(b, from, to), want, len);
}

static void expect_dropped(struct dp_bed *b, unsigned from, uint64_t n)
{
	assert_int_equal(dp_port(b, from)->count[DP_DROP_VLAN], n);
	local_expect_nothing(b);
}

static void guests_of_one_vlan_reach_each_other_without_a_tag(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t len = 14; len < 200; len++) {
		local_offer_all(b);
		send_tagged(b, A10, DP_MAC_GUEST + B10, 0, len, len);
		expect_tagged(b, A10, B10, 0, false, len, len);
	}
	expect_dropped(b, A10, 0);
}

/* The other's address is nobody's in this VLAN: the wire may know. */
static void guests_of_different_vlans_do_not_hear_each_other(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	send_tagged(b, A10, DP_MAC_GUEST + C20, 0, 60, 1);
	local_frame(f, 60, DP_MAC_GUEST + C20, A10, 1);
	local_expect_out(b, f, local_tag0(f, 60, 10));
	local_expect_nothing(b);
}

static void one_address_may_be_in_two_vlans_with_two_guests(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	fdb_set(&b->fdb, fdb_key(20, local_mac(DP_MAC_GUEST + B10)), C20, b->now);
	local_offer_all(b);
	send_tagged(b, A10, DP_MAC_GUEST + B10, 0, 60, 1);
	expect_tagged(b, A10, B10, 0, false, 60, 1);
	send_tagged(b, TRUNK, DP_MAC_GUEST + B10, 20, 60, 2);
	local_frame(f, 60, DP_MAC_GUEST + B10, TRUNK, 2);
	local_expect_bytes(b, C20, port_pair(b->port[C20], vd_flow_hash(f, 60)), f, 60);
	send_tagged(b, TRUNK, DP_MAC_GUEST + B10, 10, 60, 3);
	expect_tagged(b, TRUNK, B10, 0, false, 60, 3);
	expect_dropped(b, TRUNK, 0);
}

static void the_tag_comes_on_the_way_to_a_trunk_and_goes_on_the_way_back(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t len = 14; len < 200; len++) {
		local_offer_all(b);
		send_tagged(b, A10, DP_MAC_GUEST + TRUNK, 0, len, len);
		expect_tagged(b, A10, TRUNK, 10, true, len, len);
		send_tagged(b, TRUNK, DP_MAC_GUEST + A10, 10, len, len);
		expect_tagged(b, TRUNK, A10, 0, false, len, len);
		send_tagged(b, TRUNK, DP_MAC_GUEST + C20, 20, len, len);
		expect_tagged(b, TRUNK, C20, 0, false, len, len);
	}
	expect_dropped(b, TRUNK, 0);
	expect_dropped(b, A10, 0);
}

static void a_trunk_sends_in_its_own_vlans_only(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	send_tagged(b, TRUNK, DP_MAC_WIRE, 40, 60, 1);
	send_tagged(b, TRUNK, DP_MAC_GUEST + A10, 40, 60, 1);
	send_tagged(b, TRUNK, DP_MAC_GUEST + A10, 4095, 60, 1);
	expect_dropped(b, TRUNK, 3);
	/* What has no tag is of the native VLAN, which has a tag on the wire. */
	send_tagged(b, TRUNK, DP_MAC_WIRE, 0, 60, 2);
	local_frame(f, 60, DP_MAC_WIRE, TRUNK, 2);
	local_expect_out(b, f, local_tag0(f, 60, 30));
	/* Of another's VLAN it is not, though it may send there. */
	send_tagged(b, TRUNK, DP_MAC_GUEST + A10, 20, 60, 3);
	local_frame(f, 60, DP_MAC_GUEST + A10, TRUNK, 3);
	local_expect_out(b, f, local_tag(f, 60, 20));
	expect_dropped(b, TRUNK, 3);
}

static void an_access_port_sends_no_tag_of_its_own(void **state)
{
	struct dp_bed *b = *state;

	local_offer_all(b);
	send_tagged(b, A10, DP_MAC_GUEST + B10, 10, 60, 1);
	send_tagged(b, A10, DP_MAC_GUEST + B10, 20, 60, 1);
	send_tagged(b, A10, DP_MAC_WIRE, 20, 60, 1);
	expect_dropped(b, A10, 3);
}

/* 802.1Q: VID 0 says a priority and no VLAN. */
static void a_priority_tag_becomes_that_of_the_vlan_and_keeps_its_priority(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	for (uint32_t i = 0; i < 3; i++) {
		local_frame(f, 60, i == 0 ? DP_MAC_WIRE : i == 1 ? DP_MAC_GUEST + TRUNK : DP_MAC_GUEST + B10, A10, i);
		assert_true(dp_send_raw(&b->tx[A10][0], f, local_tag(f, 60, 0)));
		dp_tx(b);
	}
	local_frame(f, 60, DP_MAC_WIRE, A10, 0);
	local_expect_out(b, f, local_tag(f, 60, 10));
	expect_tagged(b, A10, TRUNK, 10, false, 60, 1);
	expect_tagged(b, A10, B10, 0, false, 60, 2);
	expect_dropped(b, A10, 0);
}

/* Without vlan= and trunk= everything passes as it is. */
static void a_transparent_port_gets_and_sends_tags_as_they_are(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	reconfigure(b, C20, (struct port_config){ 0 });
	local_offer_all(b);
	send_tagged(b, A10, DP_MAC_GUEST + C20, 0, 60, 1);	/* the table says: in any VLAN */
	expect_tagged(b, A10, C20, 10, true, 60, 1);
	send_tagged(b, C20, DP_MAC_GUEST + A10, 10, 60, 2);
	expect_tagged(b, C20, A10, 0, false, 60, 2);
	send_tagged(b, C20, DP_MAC_WIRE, 77, 60, 3);
	local_frame(f, 60, DP_MAC_WIRE, C20, 3);
	local_expect_out(b, f, local_tag(f, 60, 77));
	send_tagged(b, C20, DP_MAC_WIRE, 0, 60, 4);
	local_frame(f, 60, DP_MAC_WIRE, C20, 4);
	local_expect_out(b, f, 60);
	local_frame(f, 60, DP_MAC_GUEST + TRUNK, C20, 5);
	assert_true(dp_send_raw(&b->tx[C20][0], f, local_tag(f, 60, 0)));
	dp_tx(b);
	expect_dropped(b, C20, 1);	/* the trunk takes no untagged ones of no VLAN */
	reconfigure(b, TRUNK, (struct port_config){ .have_trunk = true, .trunk = { 1 | 1ull << 10 } });
	local_frame(f, 60, DP_MAC_GUEST + TRUNK, C20, 5);
	assert_true(dp_send_raw(&b->tx[C20][0], f, local_tag(f, 60, 0)));
	dp_tx(b);
	local_frame(f, 60, DP_MAC_GUEST + TRUNK, C20, 5);
	local_expect_bytes(b, TRUNK, local_pair(b, C20, TRUNK), f, local_tag(f, 60, 0));
	expect_dropped(b, C20, 1);
}

static void the_inner_one_of_two_tags_means_nothing(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF], want[DP_BUF];

	local_offer_all(b);
	/* In the trunk's VLAN 10, with a tag of VLAN 20 inside. */
	local_frame(f, 60, DP_MAC_GUEST + A10, TRUNK, 1);
	local_tag(f, 60, 20);
	memcpy(want, f, 64);
	assert_true(dp_send_raw(&b->tx[TRUNK][0], f, local_tag(f, 64, 10)));
	dp_tx(b);
	local_expect_bytes(b, A10, local_pair(b, TRUNK, A10), want, 64);
	/* An 802.1ad tag is not one of these: the frame is of the port's VLAN. */
	local_frame(f, 60, DP_MAC_GUEST + B10, A10, 2);
	local_tag(f, 60, 20);
	f[12] = 0x88;
	f[13] = 0xa8;
	memcpy(want, f, 64);
	assert_true(dp_send_raw(&b->tx[A10][0], f, 64));
	dp_tx(b);
	local_expect_bytes(b, B10, local_pair(b, A10, B10), want, 64);
	expect_dropped(b, TRUNK, 0);
}

static void a_tag_that_is_cut_off_belongs_to_no_vlan(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	for (uint32_t len = 14; len <= 18; len++) {
		local_frame(f, 60, DP_MAC_GUEST + A10, TRUNK, 1);
		local_tag(f, 60, 10);
		assert_true(dp_send_raw(&b->tx[TRUNK][0], f, len));
		dp_tx(b);
	}
	local_frame(f, 60, DP_MAC_GUEST + A10, TRUNK, 1);
	local_expect_bytes(b, A10, local_pair(b, TRUNK, A10), f, 14);
	expect_dropped(b, TRUNK, 4);
}

/* --- uplink ------------------------------------------------------------------------ */

static void the_tag_is_put_in_on_the_way_to_the_uplink(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	for (uint32_t len = 14; len <= GUEST_MAX_FRAME - TAG; len += len < 90 || len > 1500 ? 1 : 13) {
		send_tagged(b, C20, DP_MAC_WIRE, 0, len, len);
		local_frame(f, len, DP_MAC_WIRE, C20, len);
		local_expect_out(b, f, local_tag0(f, len, 20));
	}
	/* There is no room for a tag in a frame that has used it. */
	for (uint32_t len = GUEST_MAX_FRAME - TAG + 1; len <= GUEST_MAX_FRAME; len++)
		send_tagged(b, C20, DP_MAC_WIRE, 0, len, len);
	assert_int_equal(b->tx[C20][0].vq->stats.errors[VIRTQ_DROP_LONG], TAG);
	local_expect_nothing(b);
}

/* As the program redirects it: with its tag. */
static void from_wire(struct dp_bed *b, unsigned port, uint16_t vid, uint32_t len, uint32_t number, bool meta)
{
	uint8_t f[DP_BUF];

	dp_frame(f, len, DP_MAC_GUEST + port, DP_MAC_WIRE, number);
	if (vid)
		len = local_tag(f, len, vid);
	if (meta)
		assert_true(dp_wire_bytes(b, (uint16_t)port, 0, f, len));
	else
		assert_true(dp_wire_raw(b, f, len, NULL));
	dp_rx(b);
}

static void expect_from_wire(struct dp_bed *b, unsigned port, uint16_t vid, uint32_t len, uint32_t number, unsigned pair)
{
	uint8_t want[DP_BUF];

	dp_frame(want, len, DP_MAC_GUEST + port, DP_MAC_WIRE, number);
	if (vid)
		len = local_tag(want, len, vid);
	local_expect_bytes(b, port, pair, want, len);
}

static void the_tag_of_a_frame_from_the_wire_is_taken_out(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t len = 14; len < 90; len++) {
		local_offer_all(b);
		from_wire(b, A10, 10, len, len, true);
		expect_from_wire(b, A10, 0, len, len, 0);
		from_wire(b, TRUNK, 10, len, len, true);
		expect_from_wire(b, TRUNK, 10, len, len, 0);
		from_wire(b, TRUNK, 30, len, len, true);
		expect_from_wire(b, TRUNK, 0, len, len, 0);
	}
	local_expect_nothing(b);
}

/* Where the guest believes tags, none may come to light behind the one that is taken out. */
static void no_tag_comes_to_light_behind_one_that_is_taken_out(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF], want[DP_BUF];

	local_offer_all(b);
	for (unsigned port = A10; port <= TRUNK; port += TRUNK) {
		dp_frame(f, 60, DP_MAC_GUEST + port, DP_MAC_WIRE, 1);
		local_tag(f, 60, 20);
		memcpy(want, f, 64);
		assert_true(dp_wire_bytes(b, (uint16_t)port, 0, f, local_tag(f, 64, port == TRUNK ? 30 : 10)));
		dp_rx(b);
		if (port == A10)	/* to it a tag means nothing */
			local_expect_bytes(b, A10, 0, want, 64);
	}
	assert_int_equal(dp_port(b, TRUNK)->count[DP_DROP_UNFIT], 1);
	local_expect_nothing(b);
	/* From guests neither. */
	local_frame(f, 60, DP_MAC_GUEST + TRUNK, A10, 1);
	local_tag(f, 60, 20);
	assert_true(dp_send_raw(&b->tx[A10][0], f, local_tag(f, 64, 0)));
	dp_tx(b);
	expect_dropped(b, A10, 1);
}

static void a_driver_without_metadata_changes_nothing(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];
	unsigned pair;

	dp_frame(f, 60, DP_MAC_GUEST + A10, DP_MAC_WIRE, 0);
	pair = port_pair(b->port[A10], vd_flow_hash(f, 60));
	local_offer_all(b);
	from_wire(b, A10, 10, 60, 1, false);
	expect_from_wire(b, A10, 0, 60, 1, pair);
	/* Of a VLAN that it is not in, or of none. */
	from_wire(b, A10, 20, 60, 2, false);
	from_wire(b, A10, 0, 60, 3, false);
	from_wire(b, TRUNK, 40, 60, 4, false);
	assert_int_equal(b->dp->drop_stray, 3);
	from_wire(b, TRUNK, 20, 60, 5, false);
	dp_frame(f, 60, DP_MAC_GUEST + TRUNK, DP_MAC_WIRE, 0);
	expect_from_wire(b, TRUNK, 20, 60, 5, port_pair(b->port[TRUNK], vd_flow_hash(f, 60)));
	local_expect_nothing(b);
}

/* --- groups -------------------------------------------------------------------------- */

static void group_frame(uint8_t *f, uint32_t len, uint32_t from, uint32_t number)
{
	dp_frame(f, len, 0, from, number);
	memset(f, 0xff, 6);
}

static void a_broadcast_stays_in_its_vlan_and_has_the_tag_that_each_wants(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];
	int host = local_host(b);

	local_offer_all(b);
	group_frame(f, 60, DP_MAC_GUEST + A10, 1);
	assert_true(dp_send_raw(&b->tx[A10][0], f, 60));
	dp_tx(b);
	local_expect_bytes(b, B10, 0, f, 60);
	local_tag0(f, 60, 10);
	local_expect_bytes(b, TRUNK, 0, f, 64);
	local_expect_out(b, f, 64);
	local_host_expect(host, f, 64);
	local_expect_nothing(b);
	/* The trunk's, tagged and not. */
	group_frame(f, 60, DP_MAC_GUEST + TRUNK, 2);
	assert_true(dp_send_raw(&b->tx[TRUNK][0], f, local_tag(f, 60, 20)));
	dp_tx(b);
	local_expect_out(b, f, 64);
	local_host_expect(host, f, 64);
	group_frame(f, 60, DP_MAC_GUEST + TRUNK, 2);
	local_expect_bytes(b, C20, 0, f, 60);
	assert_true(dp_send_raw(&b->tx[TRUNK][0], f, 60));
	dp_tx(b);
	local_tag0(f, 60, 30);
	local_expect_out(b, f, 64);
	local_host_expect(host, f, 64);
	local_host_expect_nothing(host);
	local_expect_nothing(b);
	local_close_host(b, host);
}

static void a_broadcast_from_the_wire_stays_in_its_vlan(void **state)
{
	static const struct {
		uint16_t vid;
		unsigned got;
	} wire[] = { { 10, 3 }, { 20, 2 }, { 30, 1 }, { 40, 0 }, { 0, 0 } };
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF], bare[DP_BUF];

	local_offer_all(b);
	for (unsigned i = 0; i < 5; i++) {
		uint16_t vid = wire[i].vid;
		uint32_t len = 60;
		unsigned n;

		group_frame(bare, 60, DP_MAC_WIRE, i);
		memcpy(f, bare, 60);
		if (vid)
			len = local_tag(f, len, vid);
		n = local_from_wire(b->dp, f, len, b->now);
		b->mcast += n;
		assert_int_equal(n, wire[i].got);
		if (vid == 10) {
			local_expect_bytes(b, A10, 0, bare, 60);
			local_expect_bytes(b, B10, 0, bare, 60);
		}
		if (vid == 20)
			local_expect_bytes(b, C20, 0, bare, 60);
		if (vid == 10 || vid == 20)
			local_expect_bytes(b, TRUNK, 0, f, 64);
		if (vid == 30)
			local_expect_bytes(b, TRUNK, 0, bare, 60);
		local_expect_nothing(b);
	}
	/* A tag that is cut off. */
	assert_int_equal(local_from_wire(b->dp, f, 14, b->now), 0);
	group_frame(f, 60, DP_MAC_WIRE, 1);
	local_tag(f, 60, 10);
	assert_int_equal(local_from_wire(b->dp, f, 16, b->now), 0);
	local_expect_nothing(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(guests_of_one_vlan_reach_each_other_without_a_tag),
		DP_BOTH(guests_of_different_vlans_do_not_hear_each_other),
		DP_BOTH(one_address_may_be_in_two_vlans_with_two_guests),
		DP_BOTH(the_tag_comes_on_the_way_to_a_trunk_and_goes_on_the_way_back),
		DP_BOTH(a_trunk_sends_in_its_own_vlans_only),
		DP_BOTH(an_access_port_sends_no_tag_of_its_own),
		DP_BOTH(a_priority_tag_becomes_that_of_the_vlan_and_keeps_its_priority),
		DP_BOTH(a_transparent_port_gets_and_sends_tags_as_they_are),
		DP_BOTH(the_inner_one_of_two_tags_means_nothing),
		DP_BOTH(a_tag_that_is_cut_off_belongs_to_no_vlan),
		DP_BOTH(the_tag_is_put_in_on_the_way_to_the_uplink),
		DP_BOTH(the_tag_of_a_frame_from_the_wire_is_taken_out),
		DP_BOTH(no_tag_comes_to_light_behind_one_that_is_taken_out),
		DP_BOTH(a_driver_without_metadata_changes_nothing),
		DP_BOTH(a_broadcast_stays_in_its_vlan_and_has_the_tag_that_each_wants),
		DP_BOTH(a_broadcast_from_the_wire_stays_in_its_vlan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
