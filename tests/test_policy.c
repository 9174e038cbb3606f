/* SPDX-License-Identifier: BSD-2-Clause */
/* What a port's guest may not do, and what it may not have too much of; with both kinds of rings. */
#include "local.h"
#include "bridge/forward.h"	/* wants what cmocka includes */

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)
#define MS DP_MS

enum { ANY, LOCKED, ALONE, OTHER_ALONE };

static const struct port_config ports[DP_MOST] = {
	[ANY] = { .storm = 0 },
	[LOCKED] = { .mac_lock = true, .nmac = 2, .mac = { { 2, 0, 1, 0, 0xbb, 2 }, { 2, 0, 9, 9, 9, 9 } } },
	[ALONE] = { .isolated = true },
	[OTHER_ALONE] = { .isolated = true },
};

LOCAL_FIXTURE(ports, 4, FEATURES)

static void reconfigure(struct dp_bed *b, unsigned port, struct port_config c)
{
	c.pairs = DP_PAIRS;
	b->port[port]->cfg = c;
	policy_set(&b->port[port]->policy, &c);
	fdb_touch(&b->fdb);
}

static void sends(struct dp_bed *b, unsigned port, const uint8_t *f, uint32_t len)
{
	assert_true(dp_send_raw(&b->tx[port][0], f, len));
	dp_tx(b);
}

static uint64_t count(struct dp_bed *b, unsigned port, enum dp_count c)
{
	return dp_port(b, port)->count[c];
}

static void group_frame(uint8_t *f, uint32_t len, unsigned from, uint32_t number)
{
	local_frame(f, len, 0, from, number);
	memset(f, 0xff, 6);
}

/* --- addresses ------------------------------------------------------------------------ */

static void a_locked_port_sends_from_its_own_addresses_only(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	assert_memory_equal(&(uint64_t){ local_mac(DP_MAC_GUEST + LOCKED) }, ports[LOCKED].mac[0], 6);
	local_offer_all(b);
	for (uint32_t i = 0; i < 30; i++) {
		local_frame(f, 60, i % 2 ? DP_MAC_WIRE : DP_MAC_GUEST + ANY, LOCKED, i);
		if (i % 3 == 1)
			memcpy(f + 6, ports[LOCKED].mac[1], 6);
		if (i % 3 == 2)
			f[7] ^= 1 << i % 8;
		sends(b, LOCKED, f, 60);
		if (i % 3 == 2)
			continue;
		if (i % 2)
			local_expect_out(b, f, 60);
		else
			local_expect_bytes(b, ANY, port_pair(b->port[ANY], vd_flow_hash(f, 60)), f, 60);
	}
	assert_int_equal(count(b, LOCKED, DP_DROP_LOCK), 10);
	/* Broadcasts as well. */
	group_frame(f, 60, LOCKED, 1);
	f[11] ^= 1;
	sends(b, LOCKED, f, 60);
	assert_int_equal(count(b, LOCKED, DP_DROP_LOCK), 11);
	local_expect_nothing(b);
}

/* Also when good ones came right before it, and when the lock comes later. */
static void a_lock_holds_from_the_moment_it_is_given(void **state)
{
	struct dp_bed *b = *state;
	struct port_config c = ports[LOCKED];
	uint8_t f[DP_BUF];

	c.mac[0][5] ^= 1;
	for (unsigned i = 0; i < 2; i++) {
		local_frame(f, 60, DP_MAC_WIRE, ANY, i);
		sends(b, ANY, f, 60);
		if (!i)
			local_expect_out(b, f, 60);
		reconfigure(b, ANY, c);
	}
	local_expect_nothing(b);
	assert_int_equal(count(b, ANY, DP_DROP_LOCK), 1);
}

static void what_a_guest_sends_to_itself_does_not_leave_it(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	local_frame(f, 60, DP_MAC_GUEST + ANY, ANY, 1);
	sends(b, ANY, f, 60);
	assert_int_equal(count(b, ANY, DP_DROP_SELF), 1);
	local_expect_nothing(b);
}

/* Spanning tree, LACP, LLDP and such are between a station and its bridge. */
static void link_local_groups_are_never_forwarded(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];
	int host = local_host(b);

	local_offer_all(b);
	for (unsigned i = 0; i < 0x12; i++) {
		local_frame(f, 60, 0, ANY, i);
		memcpy(f, (const uint8_t[]){ 0x01, 0x80, 0xc2, 0, 0, (uint8_t)i }, 6);
		sends(b, ANY, f, 60);
		assert_int_equal(count(b, ANY, DP_DROP_LINK_LOCAL), i < 0x10 ? i + 1 : 0x10);
		if (i < 0x10)
			continue;
		local_expect_out(b, f, 60);
		local_expect_bytes(b, LOCKED, 0, f, 60);
		local_host_expect(host, f, 60);
	}
	local_expect_nothing(b);
	local_close_host(b, host);
}

/* --- isolation ---------------------------------------------------------------------------- */

static void an_isolated_port_reaches_the_uplink_and_nobody_else(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];
	int host = local_host(b);

	fdb_set(&b->fdb, local_mac(0x777), VD_PORT_HOST, 0);
	local_offer_all(b);
	for (unsigned i = 0; i < 3; i++) {
		const uint32_t to[] = { DP_MAC_GUEST + ANY, DP_MAC_GUEST + OTHER_ALONE, 0x777 };

		local_frame(f, 60, to[i], ALONE, i);
		sends(b, ALONE, f, 60);
		assert_int_equal(count(b, ALONE, DP_DROP_ISOLATED), i + 1);
		local_expect_nothing(b);
	}
	local_frame(f, 60, DP_MAC_WIRE, ALONE, 4);
	sends(b, ALONE, f, 60);
	local_expect_out(b, f, 60);
	/* Its broadcasts, too, go there only. */
	group_frame(f, 60, ALONE, 5);
	sends(b, ALONE, f, 60);
	local_expect_out(b, f, 60);
	local_expect_nothing(b);
	local_host_expect_nothing(host);
	/* With the uplink down they go nowhere. */
	b->dp->uplink_up = 0;
	sends(b, ALONE, f, 60);
	assert_int_equal(dp_port(b, ALONE)->drop_uplink_down, 1);
	local_expect_nothing(b);
	local_close_host(b, host);
}

static void an_isolated_port_is_reached_from_the_uplink_only(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];
	unsigned n;

	local_offer_all(b);
	local_frame(f, 60, DP_MAC_GUEST + ALONE, ANY, 1);
	sends(b, ANY, f, 60);
	assert_int_equal(count(b, ANY, DP_DROP_ISOLATED), 1);
	group_frame(f, 60, ANY, 2);
	sends(b, ANY, f, 60);
	local_expect_out(b, f, 60);
	local_expect_bytes(b, LOCKED, 0, f, 60);
	local_expect_nothing(b);
	dp_frame(f, 60, 0, DP_MAC_WIRE, 3);
	memset(f, 0xff, 6);
	n = local_from_wire(b->dp, f, 60, b->now);
	b->mcast += n;
	assert_int_equal(n, 4);
	for (unsigned i = 0; i < 4; i++)
		local_expect_bytes(b, i, 0, f, 60);
	assert_true(dp_wire(b, ALONE, 1, 60, 9));
	dp_rx(b);
	dp_expect(b, ALONE, 1, 60, 9);
}

/* --- links ---------------------------------------------------------------------------------- */

static void set_link(struct dp_bed *b, unsigned port, bool up)
{
	b->port[port]->policy.link_down = !up;
	b->port[port]->link.admin_down = !up;
	port_map(b->port[port], &b->port[port]->map);
	fdb_touch(&b->fdb);
}

static void a_guest_whose_link_was_set_down_reaches_nobody(void **state)
{
	struct dp_bed *b = *state;
	const uint32_t to[] = { DP_MAC_WIRE, DP_MAC_GUEST + ALONE, 0x777, DP_MAC_GUEST + LOCKED };
	uint8_t f[DP_BUF];
	int host = local_host(b);

	fdb_set(&b->fdb, local_mac(0x777), VD_PORT_HOST, 0);
	local_offer_all(b);
	for (unsigned i = 0; i < 4; i++) {	/* what was decided before counts no longer */
		local_frame(f, 60, to[i], ANY, i);
		if (i == 0) {
			sends(b, ANY, f, 60);
			local_expect_out(b, f, 60);
			set_link(b, ANY, false);
		}
		sends(b, ANY, f, 60);
		assert_int_equal(count(b, ANY, DP_DROP_LINK), i + 1);
		local_expect_nothing(b);
		local_host_expect_nothing(host);
	}
	group_frame(f, 60, ANY, 5);
	sends(b, ANY, f, 60);
	assert_int_equal(count(b, ANY, DP_DROP_LINK), 5);
	local_expect_nothing(b);
	local_host_expect_nothing(host);
	/* Its policy may change meanwhile. */
	reconfigure(b, ANY, (struct port_config){ .mac_lock = false });
	local_frame(f, 60, DP_MAC_WIRE, ANY, 6);
	sends(b, ANY, f, 60);
	assert_int_equal(count(b, ANY, DP_DROP_LINK), 6);
	set_link(b, ANY, true);
	sends(b, ANY, f, 60);
	local_expect_out(b, f, 60);
	assert_int_equal(count(b, ANY, DP_DROP_LINK), 6);
	local_close_host(b, host);
}

static void a_guest_whose_link_was_set_down_is_reached_by_nobody(void **state)
{
	struct dp_bed *b = *state;
	struct dp_fwd fwd;
	uint8_t f[DP_BUF];
	struct iovec piece = { f, 60 };
	const struct virtq_pkt pkt = { .chain = UINT16_MAX, .npieces = 1, .len = 60, .piece = &piece };
	unsigned n;

	local_offer_all(b);
	local_frame(f, 60, DP_MAC_GUEST + LOCKED, ANY, 1);
	sends(b, ANY, f, 60);
	local_expect_bytes(b, LOCKED, 0, f, 60);
	set_link(b, LOCKED, false);
	sends(b, ANY, f, 60);
	assert_int_equal(count(b, ANY, DP_DROP_LINK), 1);
	local_expect_nothing(b);
	forward_host(b->dp, &pkt, &fwd);
	assert_int_equal(fwd.dest, DP_TO_NOBODY);
	group_frame(f, 60, ANY, 2);
	sends(b, ANY, f, 60);
	local_expect_out(b, f, 60);
	local_expect_nothing(b);
	dp_frame(f, 60, 0, DP_MAC_WIRE, 3);
	memset(f, 0xff, 6);
	n = local_from_wire(b->dp, f, 60, b->now);
	b->mcast += n;
	assert_int_equal(n, 3);
	local_expect_bytes(b, ANY, 0, f, 60);
	local_expect_bytes(b, ALONE, 0, f, 60);
	local_expect_bytes(b, OTHER_ALONE, 0, f, 60);
	local_expect_nothing(b);
	set_link(b, LOCKED, true);
	local_frame(f, 60, DP_MAC_GUEST + LOCKED, ANY, 4);
	sends(b, ANY, f, 60);
	local_expect_bytes(b, LOCKED, 0, f, 60);
}

/* --- limits ------------------------------------------------------------------------------- */

/* Time goes on by @ns in steps of 100 us, in which the guest sends what its ring holds. Return: frames that left. */
static unsigned flood_uplink(struct dp_bed *b, unsigned port, const uint8_t *f, uint32_t len, uint64_t ns)
{
	const uint8_t *out;
	unsigned n = 0;

	for (uint64_t end = b->now + ns; b->now < end; b->now += MS / 10) {
		while (dp_send_raw(&b->tx[port][0], f, len))
			;
		dp_tx(b);
		for (; dp_sent(b, &out) >= 0; n++)
			dp_complete(b, 1);
	}
	return n;
}

static void broadcasts_beyond_the_limit_are_dropped_and_unicast_is_not(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];
	unsigned n;

	reconfigure(b, ANY, (struct port_config){ .storm = 1000 });
	group_frame(f, 60, ANY, 2);
	n = flood_uplink(b, ANY, f, 60, 1000 * MS);
	/* A second's worth, and the burst. */
	assert_in_range(n, 1000, 1000 + VD_LIMIT_MIN_FRAMES + 2);
	assert_true(count(b, ANY, DP_DROP_STORM) > n);
	assert_int_equal(count(b, ANY, DP_TO_GROUPS), n);
	dp_tx(b);	/* what is left of them in the ring */
	local_frame(f, 60, DP_MAC_WIRE, ANY, 2);
	n = (unsigned)count(b, ANY, DP_DROP_STORM);
	assert_true(flood_uplink(b, ANY, f, 60, 100 * MS) > 10000);
	assert_int_equal(count(b, ANY, DP_DROP_STORM), n);
}

static void broadcasts_that_wait_for_the_nic_are_counted_once(void **state)
{
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	reconfigure(b, ANY, (struct port_config){ .storm = 1000 });
	b->q.tx_limit = 0;
	group_frame(f, 60, ANY, 2);
	for (unsigned i = 0; i < 60; i++)
		assert_true(dp_send_raw(&b->tx[ANY][0], f, 60));
	for (unsigned i = 0; i < 100; i++)
		dp_tx(b);
	b->q.tx_limit = DP_RING;
	for (unsigned i = 0; i < 4; i++)
		dp_tx(b);
	for (unsigned i = 0; i < 60; i++)
		local_expect_out(b, f, 60);
	assert_int_equal(count(b, ANY, DP_DROP_STORM), 0);
}

static void a_guest_beyond_its_sending_limit_waits_and_loses_nothing(void **state)
{
	struct dp_bed *b = *state;
	uint32_t next = 0, got = 0;
	uint64_t start = b->now;
	uint8_t f[DP_BUF];

	reconfigure(b, ANY, (struct port_config){ .tx_pps = 2000 });
	while (b->now < start + 1000 * MS) {
		while (dp_send(b, ANY, 0, 60, next))
			next++;
		dp_tx(b);
		assert_true(b->res.waiting);
		for (const uint8_t *out = NULL; dp_sent(b, &out) >= 0; got++) {
			dp_frame(f, 60, DP_MAC_WIRE, DP_MAC_GUEST + ANY, got);
			assert_memory_equal(f, out, 60);
			dp_complete(b, 1);
		}
		b->now += MS / 2;
	}
	assert_in_range(got, 2000 - 2, 2000 + VD_LIMIT_MIN_FRAMES + 2);
	/* It does not keep the worker awake meanwhile. */
	b->tx[ANY][0].vq->kickfd = 0;
	assert_false(datapath_arm(b->dp));
	b->tx[ANY][0].vq->kickfd = -1;
	reconfigure(b, ANY, (struct port_config){ 0 });
	dp_kick(b, ANY, 0);
	while (got < next) {
		dp_tx(b);
		for (unsigned n = 0; n < DP_TX_BATCH && got < next; n++, got++)
			dp_expect_sent(b, ANY, 60, got);
	}
}

static void a_sending_limit_in_bits_counts_bytes_to_anywhere(void **state)
{
	struct dp_bed *b = *state;
	uint64_t start = b->now, bytes = 0;
	uint32_t n = 0;
	uint8_t f[DP_BUF];

	reconfigure(b, ANY, (struct port_config){ .tx_bps = 80000000 });	/* 10 MB/s */
	while (b->now < start + 1000 * MS) {
		local_offer_all(b);
		for (; local_send(b, ANY, LOCKED, 60 + n % 1400, n); n++)
			;
		dp_tx(b);
		for (int len; (len = dp_take(local_rx(b, ANY, LOCKED), f)) >= 0; bytes += (unsigned)len)
			;
		b->now += MS;
	}
	assert_in_range(bytes, 9990000, 10000000 + VD_LIMIT_MIN_BYTES + 2000);
}

/* The receiver's limit: what is beyond it is dropped there, whoever sends. */
static void a_guest_beyond_its_receiving_limit_loses_frames_that_are_counted(void **state)
{
	struct dp_bed *b = *state;
	struct port *p = b->port[LOCKED];
	struct vd_limit limit;
	uint64_t start = b->now;
	uint32_t n = 0, got = 0;
	uint8_t f[DP_BUF];

	vd_limit_set(&limit, 0, 3000);
	p->rx_limit = &limit;
	p->policy.rx_limited = true;
	while (b->now < start + 1000 * MS) {
		local_offer_all(b);
		for (unsigned i = 0; i < 20; i++, n++)
			assert_true(local_send(b, ANY, LOCKED, 60, n));
		dp_tx(b);
		while (dp_take(local_rx(b, ANY, LOCKED), f) >= 0)
			got++;
		b->now += MS;
	}
	assert_in_range(got, 3000 - 1, 3000 + VD_LIMIT_MIN_FRAMES + 1);
	assert_int_equal(got + count(b, LOCKED, DP_DROP_RATE), n);
	assert_int_equal(count(b, ANY, DP_TO_PORTS), n);
	/* Broadcasts as well. */
	group_frame(f, 60, ANY, 1);
	for (unsigned i = 0; i < 50; i++)
		sends(b, ANY, f, 60);
	while (dp_take(&b->rx[LOCKED][0], f) >= 0)
		got++;
	assert_true(count(b, LOCKED, DP_DROP_RATE) + got == n + 50);
	p->policy.rx_limited = false;
}

static void packets_that_wait_for_buffers_count_once_against_the_receiving_limit(void **state)
{
	struct dp_bed *b = *state;
	struct port *p = b->port[LOCKED];
	struct vd_limit limit;

	vd_limit_set(&limit, 0, 1000);
	p->rx_limit = &limit;
	p->policy.rx_limited = true;
	for (uint32_t i = 0; i < 60; i++)
		assert_true(local_send(b, ANY, LOCKED, 60, i));
	for (unsigned i = 0; i < 100; i++) {
		dp_tx(b);
		b->now += 1000;
	}
	assert_int_equal(count(b, LOCKED, DP_DROP_RATE), 0);
	local_offer_all(b);
	dp_tx(b);
	for (uint32_t i = 0; i < 60; i++)
		local_expect(b, ANY, LOCKED, 60, i);
	p->policy.rx_limited = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(a_locked_port_sends_from_its_own_addresses_only),
		DP_BOTH(a_lock_holds_from_the_moment_it_is_given),
		DP_BOTH(what_a_guest_sends_to_itself_does_not_leave_it),
		DP_BOTH(link_local_groups_are_never_forwarded),
		DP_BOTH(an_isolated_port_reaches_the_uplink_and_nobody_else),
		DP_BOTH(an_isolated_port_is_reached_from_the_uplink_only),
		DP_BOTH(a_guest_whose_link_was_set_down_reaches_nobody),
		DP_BOTH(a_guest_whose_link_was_set_down_is_reached_by_nobody),
		DP_BOTH(broadcasts_beyond_the_limit_are_dropped_and_unicast_is_not),
		DP_BOTH(broadcasts_that_wait_for_the_nic_are_counted_once),
		DP_BOTH(a_guest_beyond_its_sending_limit_waits_and_loses_nothing),
		DP_BOTH(a_sending_limit_in_bits_counts_bytes_to_anywhere),
		DP_BOTH(a_guest_beyond_its_receiving_limit_loses_frames_that_are_counted),
		DP_BOTH(packets_that_wait_for_buffers_count_once_against_the_receiving_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
