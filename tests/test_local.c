/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offloads from guest to guest: what one left to its device the other gets as it
 * is when it has agreed to that, and finished when it has not; with both kinds
 * of rings.
 */
#include <signal.h>

#include "local.h"
#include "offload.h"

#define RINGS (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)
#define MSS 1448u
#define LARGE 60000u
#define SENDER 0
#define FULL 1		/* takes all */
#define BARE 2		/* takes nothing */
#define SUMS 3		/* takes unfinished checksums only */

static struct dp_bed bed;
static uint8_t packet[OFFLOAD_MAX + 8], want[OFFLOAD_MAX + 8], got[OFFLOAD_MAX + 8];

static void open_kind(uint64_t kind, const struct port_config *cfg)
{
	static const uint64_t offloads[] = {
		VNET_OFFLOADS, VNET_OFFLOADS, VNET_HOST_OFFLOADS, VNET_HOST_OFFLOADS | VNET_BIT(VIRTIO_NET_F_GUEST_CSUM),
	};

	dp_open_queue(&bed, DP_CHUNK, GUEST_MAX_FRAME);
	for (unsigned i = 0; i < 4; i++) {
		dp_open_port(&bed, i, &cfg[i], RINGS | offloads[i] | kind, GUEST_MAX_FRAME);
		bed.port[i]->map.enabled = 1;	/* one pair: flows are not what this is about */
		memset(bed.port[i]->map.route, 0, sizeof(bed.port[i]->map.route));
		local_learned(&bed, i);
	}
}

static const struct port_config plain[4];

static int setup(void **state)
{
	open_kind(0, plain);
	*state = &bed;
	return 0;
}

static int setup_packed(void **state)
{
	open_kind(GUEST_PACKED, plain);
	*state = &bed;
	return 0;
}

static int teardown(void **state)
{
	dp_check(*state);
	dp_close(*state);
	return 0;
}

/* Ethernet addresses of @from and @to over what offload_build() made. */
static void address(uint8_t *f, unsigned from, unsigned to)
{
	uint8_t mac[14];

	local_frame(mac, 14, to < DP_MOST ? DP_MAC_GUEST + to : DP_MAC_WIRE, from, 0);
	memcpy(f, mac, 12);
}

static uint32_t build(uint8_t *f, const struct offload *o, unsigned from, unsigned to, bool finished)
{
	uint32_t len = offload_build(f, o, finished);

	address(f, from, to);
	return len;
}

/* A packet with that header and no more. @mss 0: its checksum is to be finished. */
static void send_packet(struct dp_bed *b, unsigned from, unsigned to, const struct offload *o, uint32_t mss)
{
	struct virtio_net_hdr_v1 hdr = offload_header(o, mss);
	uint32_t len = build(packet, o, from, to, false);

	/* Fields that a sender has no business with do not reach the other. */
	hdr.num_buffers = 0x5a5a;
	hdr.flags |= VIRTIO_NET_HDR_F_DATA_VALID;
	assert_true(dp_send_hdr(&b->tx[from][0], &hdr, packet, len));
}

/* The next packet at @to is that one, as it is, with its header. */
static void expect_whole(struct dp_bed *b, unsigned from, unsigned to, const struct offload *o, uint32_t mss)
{
	struct virtio_net_hdr_v1 hdr, h = offload_header(o, mss);
	uint32_t len = build(want, o, from, to, false);

	assert_int_equal(dp_take_packet(&b->rx[to][0], got, &hdr), len);
	assert_memory_equal(got, want, len);
	assert_int_equal(hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(hdr.gso_type, h.gso_type);
	assert_int_equal(hdr.gso_size, h.gso_size);
	assert_int_equal(hdr.csum_start, h.csum_start);
	assert_int_equal(hdr.csum_offset, h.csum_offset);
	if (mss)
		assert_int_equal(hdr.hdr_len, h.hdr_len);
}

/* The frames that it stands for come, one by one, with a header that says nothing. */
static void expect_cut(struct dp_bed *b, unsigned from, unsigned to, const struct offload *o, uint32_t mss)
{
	for (uint32_t i = 0; i < offload_count(o, mss); i++) {
		struct virtio_net_hdr_v1 hdr, none = { .num_buffers = 1 };
		struct offload cut = offload_cut(o, mss ? mss : o->payload, i);
		uint32_t len = build(want, &cut, from, to, true);

		assert_int_equal(dp_take_packet(&b->rx[to][0], got, &hdr), len);
		assert_memory_equal(got, want, len);
		assert_memory_equal(&hdr, &none, sizeof(hdr));
	}
}

/* One of each kind. */
static struct offload kind(unsigned i, uint32_t payload)
{
	struct offload o = i & 1 ? offload_tcp6(payload) : offload_tcp4(payload);

	o.udp = i & 2;
	o.tcp_options = i & 4 ? 12 : 0;
	o.flags = i & 4 && !o.udp ? O_ACK | O_PSH | O_CWR : O_ACK;
	return o;
}

static void a_large_packet_stays_whole_for_a_guest_that_takes_it(void **state)
{
	struct dp_bed *b = *state;

	for (unsigned i = 0; i < 8; i++) {
		struct offload o = kind(i, LARGE);

		dp_offer(&b->rx[FULL][0], DP_QSIZE);
		send_packet(b, SENDER, FULL, &o, MSS - 20);
		dp_tx(b);
		expect_whole(b, SENDER, FULL, &o, MSS - 20);
		dp_expect_none(b, FULL, 0);
	}
	assert_int_equal(b->rx[FULL][0].vq->stats.packets, 8);
	assert_int_equal(dp_port(b, SENDER)->count[DP_TO_PORTS], 8);
}

static void a_large_packet_is_cut_for_a_guest_that_does_not_take_it(void **state)
{
	struct dp_bed *b = *state;
	uint32_t frames = 0;

	for (unsigned i = 0; i < 8; i++) {
		struct offload o = kind(i, LARGE);

		for (unsigned to = BARE; to <= SUMS; to++) {
			dp_offer(&b->rx[to][0], DP_QSIZE);
			send_packet(b, SENDER, to, &o, MSS - 20);
			dp_tx(b);
			expect_cut(b, SENDER, to, &o, MSS - 20);
			dp_expect_none(b, to, 0);
		}
		frames += offload_count(&o, MSS - 20);
	}
	assert_int_equal(b->rx[BARE][0].vq->stats.packets, frames);
	assert_int_equal(dp_port(b, BARE)->count[DP_FROM_PORTS], frames);
	assert_int_equal(dp_port(b, SENDER)->count[DP_TO_PORTS], 16);
}

static void an_unfinished_checksum_is_passed_on_or_finished(void **state)
{
	struct dp_bed *b = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct offload o = kind(i, 700 + i);

		local_offer_all(b);
		for (unsigned to = FULL; to <= SUMS; to++)
			send_packet(b, SENDER, to, &o, 0);
		dp_tx(b);
		expect_whole(b, SENDER, FULL, &o, 0);
		expect_cut(b, SENDER, BARE, &o, 0);
		expect_whole(b, SENDER, SUMS, &o, 0);
	}
	local_expect_nothing(b);
}

/* gso_size says more than the receiver's MTU allows: TCP is cut shorter, as on the way to the wire. */
static void segments_are_never_longer_than_the_wire_allows(void **state)
{
	const struct offload o = offload_tcp4(20000), u = offload_udp4(20000);
	struct dp_bed *b = *state;

	for (unsigned to = FULL; to <= BARE; to++) {
		dp_offer(&b->rx[to][0], DP_QSIZE);
		send_packet(b, SENDER, to, &o, 4000);
		dp_tx(b);
		expect_cut(b, SENDER, to, &o, 1514 - 54);
		/* A datagram is what it is. */
		send_packet(b, SENDER, to, &u, 4000);
		dp_tx(b);
		dp_expect_none(b, to, 0);
	}
	assert_int_equal(b->tx[SENDER][0].vq->stats.errors[VIRTQ_DROP_LONG], 2);
}

static void the_rest_of_a_cut_packet_is_counted_when_buffers_run_out(void **state)
{
	const struct offload o = offload_tcp4(10 * MSS);
	struct dp_bed *b = *state;

	dp_offer(&b->rx[BARE][0], 4);
	send_packet(b, SENDER, BARE, &o, MSS);
	dp_tx(b);
	for (uint32_t i = 0; i < 4; i++) {
		struct offload cut = offload_cut(&o, MSS, i);
		uint32_t len = build(want, &cut, SENDER, BARE, true);

		local_expect_bytes(b, BARE, 0, want, len);
	}
	assert_int_equal(dp_port(b, BARE)->drop_hold, 6);
	/* One that finds none at all waits. */
	send_packet(b, SENDER, BARE, &o, MSS);
	dp_tx(b);
	assert_true(dp_tx_of(b, SENDER, 0)->stuck);
	assert_int_equal(dp_port(b, BARE)->drop_hold, 6);
	dp_offer(&b->rx[BARE][0], DP_QSIZE);
	dp_tx(b);
	expect_cut(b, SENDER, BARE, &o, MSS);
}

/* Large and plain ones, for three places, in one batch that is worth more than a turn. */
static void a_mixture_of_large_packets_goes_to_all_its_places(void **state)
{
	const uint32_t payload = 20000;
	struct dp_bed *b = *state;
	const uint8_t *f = NULL;

	for (uint32_t i = 0; i < 24; i++) {
		struct offload o = offload_tcp4(payload);

		o.seq = i;
		send_packet(b, SENDER, i % 3 == 0 ? DP_MOST : i % 3, &o, MSS);
	}
	for (unsigned pass = 0; pass < 200; pass++) {
		dp_offer(&b->rx[FULL][0], DP_QSIZE);
		dp_offer(&b->rx[BARE][0], DP_QSIZE);
		dp_tx(b);
		while (dp_sent(b, &f) >= 0)
			dp_complete(b, 1);
		dp_take_sent(&b->tx[SENDER][0]);
		if (b->tx[SENDER][0].taken == 24)
			break;
		while (dp_take_packet(&b->rx[BARE][0], got, &(struct virtio_net_hdr_v1){ 0 }) >= 0)
			;
		while (dp_take_packet(&b->rx[FULL][0], got, &(struct virtio_net_hdr_v1){ 0 }) >= 0)
			;
	}
	assert_int_equal(b->tx[SENDER][0].taken, 24);
	assert_int_equal(b->sent, 8 * 14);
	assert_int_equal(dp_port(b, FULL)->count[DP_FROM_PORTS], 8);
	assert_int_equal(dp_port(b, BARE)->count[DP_FROM_PORTS], 8 * 14);
	assert_int_equal(dp_port(b, FULL)->drop_hold + dp_port(b, BARE)->drop_hold, 0);
}

/* Half of it is out when its address becomes that of another guest: it goes there whole, and the next one goes whole, too. */
static void a_packet_half_sent_that_goes_elsewhere_does_not_cut_the_next_one_short(void **state)
{
	const struct offload o[2] = { offload_tcp4(30 * MSS), offload_tcp4(20 * MSS) };
	struct dp_bed *b = *state;
	const uint8_t *f = NULL;

	dp_offer(&b->rx[FULL][0], DP_QSIZE);
	fdb_del(&b->fdb, local_mac(DP_MAC_GUEST + FULL));
	send_packet(b, SENDER, FULL, &o[0], MSS);
	b->q.tx_limit = 10;
	dp_tx(b);
	assert_int_equal(b->tx[SENDER][0].vq->resume, 10 * MSS);
	send_packet(b, SENDER, DP_MOST, &o[1], MSS);
	local_learned(b, FULL);
	b->q.tx_limit = DP_RING;
	dp_tx(b);
	dp_tx(b);
	expect_whole(b, SENDER, FULL, &o[0], MSS);
	for (unsigned i = 0; i < 10; i++)
		assert_true(dp_sent(b, &f) > 0);
	for (uint32_t i = 0; i < 20; i++) {
		const struct offload cut = offload_cut(&o[1], MSS, i);
		uint32_t len = build(want, &cut, SENDER, DP_MOST, true);

		assert_int_equal(dp_sent(b, &f), len);
		assert_memory_equal(f, want, len);
	}
	b->sent -= 10;		/* of the packet that went elsewhere in the end */
	b->q.stats.tx_packets -= 10;
	b->tx[SENDER][0].vq->stats.gso_frames -= 10;
	local_expect_nothing_out(b);
}

/* --- headers that are not true of their packet ----------------------------------------- */

static void a_packet_with_an_absurd_header_reaches_nobody_and_is_counted_once(void **state)
{
	struct dp_bed *b = *state;
	struct offload o = offload_tcp4(5000);
	int host = local_host(b);
	uint64_t bad = 0;

	local_offer_all(b);
	fdb_set(&b->fdb, local_mac(0x777), VD_PORT_HOST, 0);
	for (unsigned how = 0; how < 4; how++) {
		struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS);
		uint32_t len;

		hdr.csum_offset = how == 0 ? 3 : hdr.csum_offset;
		hdr.csum_start = how == 1 ? 14 : hdr.csum_start;
		hdr.gso_size = how == 2 ? 0 : hdr.gso_size;
		hdr.gso_type = how == 3 ? VIRTIO_NET_HDR_GSO_TCPV6 : hdr.gso_type;
		for (unsigned to = FULL; to < SUMS + 4; to++) {
			len = build(packet, &o, SENDER, to, false);
			if (to == SUMS + 1)	/* the host */
				dp_frame(packet, 12, 0x777, DP_MAC_GUEST, 0);
			if (to >= SUMS + 2)	/* all, with the uplink and without */
				memset(packet, 0xff, 6);
			b->dp->uplink_up = to != SUMS + 3;
			assert_true(dp_send_hdr(&b->tx[SENDER][0], &hdr, packet, len));
			dp_tx(b);
			assert_int_equal(b->tx[SENDER][0].vq->stats.errors[VIRTQ_DROP_OFFLOAD], ++bad);
		}
	}
	local_expect_nothing(b);
	local_host_expect_nothing(host);
	assert_int_equal(dp_port(b, SENDER)->count[DP_TO_PORTS] + dp_port(b, SENDER)->count[DP_TO_GROUPS] +
			 dp_port(b, SENDER)->count[DP_TO_THE_HOST], 0);
	for (unsigned to = FULL; to <= SUMS; to++)
		assert_int_equal(dp_port(b, to)->count[DP_FROM_PORTS], 0);
	local_close_host(b, host);
}

static void a_bad_packet_between_good_ones_takes_nothing_with_it(void **state)
{
	struct dp_bed *b = *state;
	struct offload o = offload_tcp4(3000);

	for (unsigned to = FULL; to <= BARE; to++) {
		dp_offer(&b->rx[to][0], DP_QSIZE);
		for (uint32_t i = 0; i < 9; i++) {
			struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS);

			if (i % 3 == 1) {
				hdr.csum_offset = 2;
				assert_true(dp_send_hdr(&b->tx[SENDER][0], &hdr, packet,
							build(packet, &o, SENDER, to, false)));
			} else if (i % 3 == 0) {
				o.seq = i;
				send_packet(b, SENDER, to, &o, MSS);
			} else {
				assert_true(local_send(b, SENDER, to, 60, i));
			}
		}
		dp_tx(b);
		for (uint32_t i = 0; i < 9; i++) {
			uint8_t f[60];

			o.seq = i;
			local_frame(f, 60, DP_MAC_GUEST + to, SENDER, i);
			if (i % 3 == 0 && to == FULL)
				expect_whole(b, SENDER, to, &o, MSS);
			else if (i % 3 == 0)
				expect_cut(b, SENDER, to, &o, MSS);
			else if (i % 3 == 2)
				local_expect_bytes(b, to, 0, f, 60);
		}
		dp_expect_none(b, to, 0);
	}
	assert_int_equal(b->tx[SENDER][0].vq->stats.errors[VIRTQ_DROP_OFFLOAD], 6);
	assert_int_equal(dp_port(b, SENDER)->count[DP_TO_PORTS], 12);
}

/* Behind one that waits it waits too, and is counted when it has had its turn. */
static void a_bad_packet_behind_one_that_waits_is_counted_once(void **state)
{
	struct dp_bed *b = *state;
	struct offload o = offload_tcp4(3000);
	struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS);

	hdr.csum_offset = 2;
	assert_true(local_send(b, SENDER, FULL, 60, 1));
	assert_true(dp_send_hdr(&b->tx[SENDER][0], &hdr, packet, build(packet, &o, SENDER, FULL, false)));
	assert_true(local_send(b, SENDER, FULL, 60, 2));
	for (unsigned i = 0; i < 10; i++)
		dp_tx(b);
	assert_int_equal(dp_port(b, SENDER)->count[DP_TO_PORTS], 0);
	dp_offer(&b->rx[FULL][0], DP_QSIZE);
	dp_tx(b);
	assert_int_equal(dp_port(b, SENDER)->count[DP_TO_PORTS], 2);
	assert_int_equal(dp_port(b, FULL)->count[DP_FROM_PORTS], 2);
	assert_int_equal(b->tx[SENDER][0].vq->stats.errors[VIRTQ_DROP_OFFLOAD], 1);
	for (uint32_t i = 1; i <= 2; i++) {
		uint8_t f[60];

		local_frame(f, 60, DP_MAC_GUEST + FULL, SENDER, i);
		local_expect_bytes(b, FULL, 0, f, 60);
	}
	local_expect_nothing(b);
}

/* --- with VLANs ------------------------------------------------------------------------ */

static void set_vlans(struct dp_bed *b, unsigned port, struct port_config c)
{
	c.pairs = DP_PAIRS;
	fdb_del(&b->fdb, local_mac(DP_MAC_GUEST + port));
	policy_set(&b->port[port]->policy, &c);
	fdb_touch(&b->fdb);
	local_learned(b, port);
}

/* The same packet with a tag of VLAN 10. */
static uint32_t build_tagged(uint8_t *f, const struct offload *o, unsigned from, unsigned to, bool finished)
{
	return local_tag0(f, build(f, o, from, to, finished), 10);
}

/* Where headers begin changes with the tag, and the header that says so with it. */
static void a_large_packet_gets_and_loses_its_tag(void **state)
{
	struct dp_bed *b = *state;

	set_vlans(b, SENDER, (struct port_config){ .vlan = 10 });
	set_vlans(b, FULL, (struct port_config){ .have_trunk = true, .trunk = { 1 << 10 } });
	set_vlans(b, BARE, (struct port_config){ .have_trunk = true, .trunk = { 1 << 10 } });
	for (unsigned i = 0; i < 16; i++) {
		const uint32_t mss = i & 8 ? 0 : MSS - 40;
		struct offload o = kind(i & 7, mss ? LARGE : 1000);
		struct virtio_net_hdr_v1 hdr, h = offload_header(&o, mss);
		uint32_t len;

		dp_offer(&b->rx[FULL][0], DP_QSIZE);
		dp_offer(&b->rx[BARE][0], DP_QSIZE);
		dp_offer(&b->rx[SENDER][0], DP_QSIZE);
		/* There it comes... */
		send_packet(b, SENDER, FULL, &o, mss);
		dp_tx(b);
		len = build_tagged(want, &o, SENDER, FULL, false);
		assert_int_equal(dp_take_packet(&b->rx[FULL][0], got, &hdr), len);
		assert_memory_equal(got, want, len);
		assert_int_equal(hdr.csum_start, h.csum_start + TAG);
		assert_int_equal(hdr.csum_offset, h.csum_offset);
		assert_int_equal(hdr.gso_size, mss);
		assert_true(!mss || hdr.hdr_len == h.hdr_len + TAG);
		/* ...or each of its frames has it... */
		send_packet(b, SENDER, BARE, &o, mss);
		dp_tx(b);
		for (uint32_t k = 0; k < offload_count(&o, mss); k++) {
			struct offload cut = offload_cut(&o, mss ? mss : o.payload, k);

			len = build_tagged(want, &cut, SENDER, BARE, true);
			assert_int_equal(dp_take_packet(&b->rx[BARE][0], got, &hdr), len);
			assert_memory_equal(got, want, len);
		}
		/* ...and on the way back it goes. */
		len = build_tagged(packet, &o, FULL, SENDER, false);
		h.csum_start += TAG;
		h.hdr_len += mss ? TAG : 0;
		assert_true(dp_send_hdr(&b->tx[FULL][0], &h, packet, len));
		dp_tx(b);
		expect_whole(b, FULL, SENDER, &o, mss);
	}
	local_expect_nothing(b);
}

static void each_frame_for_the_uplink_gets_the_tag(void **state)
{
	struct dp_bed *b = *state;
	const uint8_t *f = NULL;

	set_vlans(b, SENDER, (struct port_config){ .vlan = 10 });
	for (unsigned i = 0; i < 16; i++) {
		const uint32_t mss = i & 8 ? 0 : i & 7 & 2 ? 1400 : 1514 - (i & 1 ? 74 : 54) - (i & 4 ? 12 : 0);
		struct offload o = kind(i & 7, mss ? 20000 : 1000);

		send_packet(b, SENDER, DP_MOST, &o, mss);
		dp_tx(b);
		for (uint32_t k = 0; k < offload_count(&o, mss); k++) {
			struct offload cut = offload_cut(&o, mss ? mss : o.payload, k);
			uint32_t len = build_tagged(want, &cut, SENDER, DP_MOST, true);

			assert_int_equal(dp_sent(b, &f), len);
			assert_memory_equal(f, want, len);
			dp_complete(b, 1);
		}
	}
	local_expect_nothing(b);
}

/* --- groups and the host ------------------------------------------------------------------ */

static void a_broadcast_is_finished_for_each_as_each_needs_it(void **state)
{
	struct offload o = offload_udp4(700);
	struct virtio_net_hdr_v1 hdr, h = offload_header(&o, 0);
	struct dp_bed *b = *state;
	const uint8_t *f = NULL;
	int host = local_host(b);
	uint32_t len;

	local_offer_all(b);
	len = build(packet, &o, SENDER, 0, false);
	memset(packet, 0xff, 6);
	assert_true(dp_send_hdr(&b->tx[SENDER][0], &h, packet, len));
	dp_tx(b);
	for (unsigned to = FULL; to <= SUMS; to++) {
		build(want, &o, SENDER, 0, to == BARE);
		memset(want, 0xff, 6);
		assert_int_equal(dp_take_packet(&b->rx[to][0], got, &hdr), len);
		assert_memory_equal(got, want, len);
		assert_int_equal(hdr.flags, to == BARE ? 0 : VIRTIO_NET_HDR_F_NEEDS_CSUM);
	}
	assert_int_equal(local_host_take(host, &hdr, got, sizeof(got)), len);
	assert_memory_equal(got, want, len);
	assert_int_equal(hdr.csum_start, h.csum_start);
	assert_int_equal(hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	build(want, &o, SENDER, 0, true);
	memset(want, 0xff, 6);
	assert_int_equal(dp_sent(b, &f), len);
	assert_memory_equal(f, want, len);
	local_expect_nothing(b);
	local_close_host(b, host);
}

static void the_host_gets_large_packets_whole(void **state)
{
	struct dp_bed *b = *state;
	int host = local_host(b);

	fdb_set(&b->fdb, local_mac(0x777), VD_PORT_HOST, 0);
	for (unsigned i = 0; i < 8; i++) {
		struct offload o = kind(i, LARGE);
		struct virtio_net_hdr_v1 hdr, h = offload_header(&o, 1400);
		uint32_t len = offload_build(packet, &o, false);

		dp_frame(packet, 12, 0x777, DP_MAC_GUEST, 0);
		assert_true(dp_send_hdr(&b->tx[SENDER][0], &h, packet, len));
		dp_tx(b);
		assert_int_equal(local_host_take(host, &hdr, got, sizeof(got)), len);
		assert_memory_equal(got, packet, len);
		assert_memory_equal(&hdr, &h, 10);
	}
	assert_int_equal(dp_port(b, SENDER)->count[DP_TO_THE_HOST], 8);
	/* One that is not read any more does not hold up the guest. */
	close(host);
	assert_true(dp_send_raw(&b->tx[SENDER][0], packet, 60));
	dp_tx(b);
	assert_int_equal(dp_port(b, SENDER)->count[DP_DROP_HOST], 1);
	close(b->dp->host_fd);
	b->dp->host_fd = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(a_large_packet_stays_whole_for_a_guest_that_takes_it),
		DP_BOTH(a_large_packet_is_cut_for_a_guest_that_does_not_take_it),
		DP_BOTH(an_unfinished_checksum_is_passed_on_or_finished),
		DP_BOTH(segments_are_never_longer_than_the_wire_allows),
		DP_BOTH(the_rest_of_a_cut_packet_is_counted_when_buffers_run_out),
		DP_BOTH(a_mixture_of_large_packets_goes_to_all_its_places),
		DP_BOTH(a_packet_half_sent_that_goes_elsewhere_does_not_cut_the_next_one_short),
		DP_BOTH(a_packet_with_an_absurd_header_reaches_nobody_and_is_counted_once),
		DP_BOTH(a_bad_packet_between_good_ones_takes_nothing_with_it),
		DP_BOTH(a_bad_packet_behind_one_that_waits_is_counted_once),
		DP_BOTH(a_large_packet_gets_and_loses_its_tag),
		DP_BOTH(each_frame_for_the_uplink_gets_the_tag),
		DP_BOTH(a_broadcast_is_finished_for_each_as_each_needs_it),
		DP_BOTH(the_host_gets_large_packets_whole),
	};

	signal(SIGPIPE, SIG_IGN);	/* as main() does, and a tap sends none */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
