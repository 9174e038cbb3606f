/* SPDX-License-Identifier: BSD-2-Clause */
/* What the host sends to guests through its port, which the test plays by a socket; with both kinds of rings. */
#include "local.h"
#include "bridge/from_host.h"
#include "offload.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)
#define HOST 0x777u
#define MSS 1448u

static const struct port_config ports[DP_MOST] = {
	[2] = { .vlan = 10 }, [3] = { .isolated = true },
};

static struct dp_bed bed;
static struct from_host *h;
static int host;
static uint8_t packet[OFFLOAD_MAX], want[OFFLOAD_MAX], got[OFFLOAD_MAX];

static void begin(uint64_t features)
{
	local_open(&bed, ports, 4, FEATURES | features);
	host = local_host(&bed);
	h = from_host_create(bed.dp->host_fd);
	guest_must(h, "from_host_create");
}

DP_SETUPS(begin(packed))

static int teardown(void **state)
{
	dp_check(*state);
	from_host_destroy(h);
	local_close_host(*state, host);
	dp_close(*state);
	return 0;
}

static void host_sends(const struct virtio_net_hdr_v1 *hdr, const uint8_t *f, uint32_t len)
{
	struct iovec iov[2] = { { (void *)hdr, sizeof(*hdr) }, { (void *)f, len } };

	assert_int_equal(writev(host, iov, 2), sizeof(*hdr) + len);
}

/* A plain frame for a guest, number @number. */
static void host_to(unsigned port, uint32_t len, uint32_t number)
{
	static const struct virtio_net_hdr_v1 hdr;
	uint8_t f[DP_BUF];

	dp_frame(f, len, DP_MAC_GUEST + port, HOST, number);
	host_sends(&hdr, f, len);
}

static void pass(struct dp_bed *b)
{
	b->res = (struct dp_result){ 0 };
	from_host_ready(h);
	from_host(h, b->dp, b->now, &b->res);
}

static unsigned pair_of(struct dp_bed *b, unsigned port)
{
	uint8_t f[14];

	dp_frame(f, 14, DP_MAC_GUEST + port, HOST, 0);
	return port_pair(b->port[port], vd_flow_hash(f, 14));
}

static void expect_from_host(struct dp_bed *b, unsigned port, uint32_t len, uint32_t number)
{
	dp_frame(want, len, DP_MAC_GUEST + port, HOST, number);
	local_expect_bytes(b, port, pair_of(b, port), want, len);
}

static void packets_of_the_host_arrive_in_order(void **state)
{
	struct dp_bed *b = *state;
	uint32_t next[2] = { 0 };

	for (unsigned round = 0; round < 20; round++) {
		local_offer_all(b);
		for (uint32_t i = 0; i < 40; i++)
			host_to(i & 1, 60 + (next[i & 1] + i / 2) % 1400, next[i & 1] + i / 2);
		pass(b);
		assert_true(b->res.work >= 40);	/* all of them read */
		for (unsigned port = 0; port < 2; port++)
			for (uint32_t i = 0; i < 20; i++, next[port]++)
				expect_from_host(b, port, 60 + next[port] % 1400, next[port]);
		local_expect_nothing(b);
		assert_false(b->res.waiting);
	}
	assert_int_equal(h->packets, 800);
	assert_int_equal(h->dropped, 0);
	assert_int_equal(dp_port(b, 1)->count[DP_FROM_PORTS], 400);
}

static void a_guest_without_buffers_holds_up_nobody(void **state)
{
	struct dp_bed *b = *state;
	unsigned n = 0;

	dp_offer(&b->rx[1][pair_of(b, 1)], DP_QSIZE);
	for (uint32_t i = 0; i < 120; i++)
		host_to(i & 1, 60, i);
	for (unsigned i = 0; i < 20; i++)
		pass(b);
	for (uint32_t i = 1; i < 120; i += 2)
		expect_from_host(b, 1, 60, i);
	assert_true(b->res.waiting);
	/* Of the other's some wait, and are those that came first whenever there was room. */
	dp_offer(&b->rx[0][pair_of(b, 0)], DP_QSIZE);
	pass(b);
	for (int last = -1; dp_take(&b->rx[0][pair_of(b, 0)], want) >= 0; n++) {
		assert_true((int)dp_number(want) > last);
		last = (int)dp_number(want);
	}
	assert_in_range(n, FROM_HOST_SLOTS / 4, FROM_HOST_SLOTS);
	assert_int_equal(n + h->dropped, 60);
	assert_int_equal(dp_port(b, 0)->drop_hold, h->dropped);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS);
}

static void what_waited_too_long_is_dropped_and_counted(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 10; i++)
		host_to(0, 60, i);
	pass(b);
	b->now += DP_HOLD_NS;
	pass(b);
	assert_int_equal(dp_port(b, 0)->drop_hold, 0);
	b->now += 1;
	pass(b);
	assert_int_equal(dp_port(b, 0)->drop_hold, 10);
	assert_int_equal(h->dropped, 10);
	assert_false(b->res.waiting);
	local_offer_all(b);
	host_to(0, 60, 11);
	pass(b);
	expect_from_host(b, 0, 60, 11);
	local_expect_nothing(b);
}

static void a_port_that_is_removed_takes_its_waiting_packets_with_it(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 10; i++)
		host_to(0, 60, i);
	pass(b);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS - 10);
	dp_remove(b, 0);
	from_host_forget(h, 0);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS);
	assert_int_equal(h->dropped, 10);
	host_to(0, 60, 10);	/* the table still says so */
	pass(b);
	assert_int_equal(h->dropped, 11);
	dp_bring_back(b, 0);
	local_offer_all(b);
	host_to(0, 60, 11);
	pass(b);
	expect_from_host(b, 0, 60, 11);
	local_expect_nothing(b);
}

static void what_is_for_nobody_here_is_dropped(void **state)
{
	static const struct virtio_net_hdr_v1 hdr;
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	host_to(3, 60, 0);	/* isolated */
	host_to(7, 60, 0);	/* not known */
	host_to(2, 60, 0);	/* in another VLAN */
	host_to(0, 13, 0);	/* no frame at all */
	assert_int_equal(write(host, &hdr, 5), 5);
	dp_frame(f, 60, 0, HOST, 1);
	memcpy(f, "\x01\x80\xc2\x00\x00\x0e", 6);
	host_sends(&hdr, f, 60);
	dp_frame(f, 60, DP_MAC_GUEST, HOST, 1);
	local_tag(f, 60, 10);
	host_sends(&hdr, f, 17);	/* a tag that is cut off */
	pass(b);
	assert_int_equal(h->dropped, 7);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS);
	local_expect_nothing(b);
}

static void a_vlan_device_of_the_host_reaches_the_guests_of_the_vlan(void **state)
{
	static const struct virtio_net_hdr_v1 hdr;
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	dp_frame(f, 60, DP_MAC_GUEST + 2, HOST, 1);
	host_sends(&hdr, f, local_tag(f, 60, 10));
	pass(b);
	dp_frame(f, 60, DP_MAC_GUEST + 2, HOST, 1);
	local_expect_bytes(b, 2, pair_of(b, 2), f, 60);
	/* One of no VLAN of its own gets the tag. */
	dp_frame(f, 60, DP_MAC_GUEST + 0, HOST, 2);
	host_sends(&hdr, f, local_tag(f, 60, 10));
	pass(b);
	local_expect_bytes(b, 0, pair_of(b, 0), f, 64);
	local_expect_nothing(b);
}

static void a_broadcast_of_the_host_reaches_all_but_isolated_ports(void **state)
{
	static const struct virtio_net_hdr_v1 hdr;
	struct dp_bed *b = *state;
	uint8_t f[DP_BUF];

	local_offer_all(b);
	dp_frame(f, 60, 0, HOST, 1);
	memset(f, 0xff, 6);
	host_sends(&hdr, f, 60);
	pass(b);
	local_expect_bytes(b, 0, 0, f, 60);
	local_expect_bytes(b, 1, 0, f, 60);
	local_expect_nothing(b);
	assert_int_equal(dp_port(b, 0)->count[DP_FROM_PORTS], 1);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS);
}

static void a_large_packet_is_cut_for_a_guest_that_takes_no_large_ones(void **state)
{
	struct dp_bed *b = *state;
	struct offload o = offload_tcp4(40000);
	struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS), seen;
	uint32_t len = offload_build(packet, &o, false);
	unsigned pair;

	dp_frame(packet, 12, DP_MAC_GUEST + 1, HOST, 0);
	pair = port_pair(b->port[1], vd_flow_hash(packet, len));
	local_offer_all(b);
	host_sends(&hdr, packet, len);
	pass(b);
	for (uint32_t i = 0; i < offload_count(&o, MSS); i++) {
		struct offload cut = offload_cut(&o, MSS, i);

		len = offload_build(want, &cut, true);
		dp_frame(want, 12, DP_MAC_GUEST + 1, HOST, 0);
		assert_int_equal(dp_take_packet(&b->rx[1][pair], got, &seen), len);
		assert_memory_equal(got, want, len);
	}
	/* With a header that is not true of it it is dropped. */
	hdr.csum_offset = 4;
	host_sends(&hdr, packet, offload_len(&o));
	pass(b);
	assert_int_equal(dp_port(b, 1)->count[DP_DROP_HEADER], 1);
	local_expect_nothing(b);
}

/* What waits, and what was counted, goes to another process. */
static void hand_over_to_another(struct dp_bed *b)
{
	struct parcel p = { 0 };

	from_host_save(h, &p);
	from_host_destroy(h);
	h = from_host_create(b->dp->host_fd);
	guest_must(h, "from_host_create");
	assert_int_equal(from_host_resume(h, b->dp, &p), 0);
	assert_int_equal(parcel_end(&p), 0);
	parcel_free(&p);
}

static void what_waits_goes_along_to_another_process_in_order(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 20; i++)
		host_to(i % 2, 60 + i, i);
	pass(b);
	b->now += DP_MS;
	hand_over_to_another(b);
	host_to(0, 100, 20);	/* behind those that wait */
	host_to(1, 100, 21);
	local_offer_all(b);
	pass(b);
	for (uint32_t i = 0; i < 22; i++)
		expect_from_host(b, i % 2, i < 20 ? 60 + i : 100, i);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS);
	assert_int_equal(h->packets, 22);
	assert_int_equal(h->dropped, 0);
}

static void what_waits_there_waits_no_longer_for_it(void **state)
{
	struct dp_bed *b = *state;

	host_to(0, 60, 1);
	pass(b);
	b->now += DP_HOLD_NS - DP_MS;
	hand_over_to_another(b);
	pass(b);
	assert_int_equal(h->dropped, 0);
	b->now += 2 * DP_MS;
	pass(b);
	assert_int_equal(h->dropped, 1);
}

static void a_large_packet_that_waits_goes_along_whole(void **state)
{
	struct dp_bed *b = *state;
	struct offload o = offload_tcp4(40000);
	struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS), seen;
	uint32_t len = offload_build(packet, &o, false);
	unsigned pair;

	dp_frame(packet, 12, DP_MAC_GUEST + 1, HOST, 0);
	pair = port_pair(b->port[1], vd_flow_hash(packet, len));
	host_sends(&hdr, packet, len);
	pass(b);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS - 1);
	hand_over_to_another(b);
	local_offer_all(b);
	pass(b);
	for (uint32_t i = 0; i < offload_count(&o, MSS); i++) {
		struct offload cut = offload_cut(&o, MSS, i);

		len = offload_build(want, &cut, true);
		dp_frame(want, 12, DP_MAC_GUEST + 1, HOST, 0);
		assert_int_equal(dp_take_packet(&b->rx[1][pair], got, &seen), len);
		assert_memory_equal(got, want, len);
	}
}

/* With one of the packets that wait for guest 0 as @change leaves it. */
static void refused(struct dp_bed *b, void (*change)(struct from_host *o, uint8_t slot))
{
	struct from_host *new = from_host_create(-1), *o = malloc(sizeof(*o));
	struct parcel p = { 0 };

	*o = *h;
	change(o, o->queue[0].slot[0]);
	from_host_save(o, &p);
	assert_int_equal(from_host_resume(new, b->dp, &p), -EPROTO);
	parcel_free(&p);
	free(o);
	from_host_destroy(new);
}

static void for_another_port(struct from_host *o, uint8_t slot)
{
	o->fwd[slot].dest += VD_MAX_PAIRS;
}

static void for_the_uplink(struct from_host *o, uint8_t slot)
{
	o->fwd[slot].dest = DP_TO_UPLINK;
}

static void for_no_port(struct from_host *o, uint8_t slot)
{
	o->queue[200] = o->queue[0];
	o->fwd[slot].dest = 200 * VD_MAX_PAIRS;
	o->queue[0].n = 0;
}

static void fewer_than_it_says(struct from_host *o, uint8_t slot)
{
	(void)slot;
	o->queue[0].n--;
}

static void waiting_packets_that_make_no_sense_are_refused(void **state)
{
	struct dp_bed *b = *state;

	host_to(0, 60, 1);
	host_to(0, 60, 2);
	pass(b);
	refused(b, for_another_port);
	refused(b, for_the_uplink);
	refused(b, for_no_port);
	refused(b, fewer_than_it_says);
}

/* Many more packets than there is room for, for guests some of which take nothing. */
static void flood(struct dp_bed *b, bool moving)
{
	uint64_t seed = 3, sent = 0, ended = 0;
	uint8_t f[DP_BUF];

	for (unsigned round = 0; round < 1000; round++) {
		for (unsigned n = guest_random(&seed) % 100; n; n--, sent++)
			host_to(guest_random(&seed) % 2, 60, (uint32_t)sent);
		if (guest_random(&seed) % 3 == 0)
			dp_offer(&b->rx[0][pair_of(b, 0)], guest_random(&seed) % 60);
		if (guest_random(&seed) % 30 == 0)
			dp_offer(&b->rx[1][pair_of(b, 1)], 1);
		b->now += guest_random(&seed) % (DP_HOLD_NS / 8);
		for (unsigned i = 0; i < 4; i++) {
			pass(b);
			if (moving)
				hand_over_to_another(b);
		}
		for (unsigned port = 0; port < 2; port++)
			while (dp_take(&b->rx[port][pair_of(b, port)], f) >= 0)
				ended++;
	}
	b->now += 2 * DP_HOLD_NS;
	pass(b);
	b->now += 2 * DP_HOLD_NS;
	pass(b);
	assert_int_equal(h->nfree, FROM_HOST_SLOTS);
	assert_int_equal(h->packets, sent);
	assert_int_equal(ended + h->dropped, sent);
	assert_int_equal(h->dropped, dp_port(b, 0)->drop_hold + dp_port(b, 1)->drop_hold);
}

static void in_a_flood_everything_is_counted(void **state)
{
	flood(*state, false);
}

static void in_a_flood_it_is_counted_across_processes_too(void **state)
{
	flood(*state, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(packets_of_the_host_arrive_in_order),
		DP_BOTH(a_guest_without_buffers_holds_up_nobody),
		DP_BOTH(what_waited_too_long_is_dropped_and_counted),
		DP_BOTH(a_port_that_is_removed_takes_its_waiting_packets_with_it),
		DP_BOTH(what_is_for_nobody_here_is_dropped),
		DP_BOTH(a_vlan_device_of_the_host_reaches_the_guests_of_the_vlan),
		DP_BOTH(a_broadcast_of_the_host_reaches_all_but_isolated_ports),
		DP_BOTH(a_large_packet_is_cut_for_a_guest_that_takes_no_large_ones),
		DP_BOTH(in_a_flood_everything_is_counted),
		DP_BOTH(what_waits_goes_along_to_another_process_in_order),
		DP_BOTH(what_waits_there_waits_no_longer_for_it),
		DP_BOTH(a_large_packet_that_waits_goes_along_whole),
		DP_BOTH(waiting_packets_that_make_no_sense_are_refused),
		DP_BOTH(in_a_flood_it_is_counted_across_processes_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
