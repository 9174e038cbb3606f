/* SPDX-License-Identifier: BSD-2-Clause */
/* The data path from guest to NIC when packets have to be cut or summed, with both kinds of rings. */
#include "base/sigbus.h"
#include "dp.h"
#include "offload.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | VNET_HOST_OFFLOADS)
#define MSS 1460u		/* a frame of 1514 bytes */
#define LARGE 65000u		/* payload of 45 frames */

#define TURN 64u		/* frames of full length in one turn */
#define TURN_ALONE (2 * TURN)	/* where no other port has anything */

static struct dp_bed bed;
static uint8_t packet[OFFLOAD_MAX], want[OFFLOAD_MAX];

static int setup(void **state)
{
	dp_open(&bed, FEATURES);
	*state = &bed;
	return 0;
}

static int setup_packed(void **state)
{
	dp_open(&bed, FEATURES | GUEST_PACKED);
	*state = &bed;
	return 0;
}

static int teardown(void **state)
{
	dp_check(*state);
	dp_close(*state);
	return 0;
}

/* The guest sends a packet that is to be cut (@mss 0: whose checksum is to be finished). */
static void send_packet(struct dp_end *e, const struct offload *o, uint32_t mss)
{
	struct virtio_net_hdr_v1 hdr = offload_header(o, mss);

	assert_true(dp_send_hdr(e, &hdr, packet, offload_build(packet, o, false)));
}

/* The frames from @i up to @end of a packet are the next that leave. */
static void expect_frames(struct dp_bed *b, const struct offload *o, uint32_t mss, uint32_t i, uint32_t end)
{
	const uint8_t *f = NULL;

	for (; i < end; i++) {
		struct offload cut = offload_cut(o, mss, i);
		uint32_t len = offload_build(want, &cut, true);

		assert_int_equal(dp_sent(b, &f), len);
		assert_memory_equal(f, want, len);
	}
}

static void expect_all(struct dp_bed *b, const struct offload *o, uint32_t mss)
{
	expect_frames(b, o, mss, 0, offload_count(o, mss));
}

static void expect_nothing(struct dp_bed *b)
{
	struct xdp_desc d;

	assert_false(dp_sent_piece(b, &d));
}

/* Packets that the guest has got back, all of them. */
static uint64_t back(struct dp_end *e)
{
	return e->taken + guest_pending(&e->g);
}

/* Where the packet lies that was sent last. */
static uint64_t sent_at(const struct dp_end *e)
{
	return e->addr[e->idle[e->nidle]];
}

/* --- cutting -------------------------------------------------------------- */

static void a_large_packet_leaves_as_frames_in_order_and_comes_back_once(void **state)
{
	struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[1][0];

	o.flags |= O_PSH | O_FIN;
	send_packet(e, &o, MSS);
	dp_tx(b);
	expect_all(b, &o, MSS);
	expect_nothing(b);
	assert_int_equal(back(e), 1);
	dp_complete(b, DP_RING);
	dp_tx(b);
	expect_nothing(b);
	assert_int_equal(back(e), 1);
	assert_int_equal(e->vq->stats.packets, 1);
	assert_int_equal(e->vq->stats.gso_packets, 1);
	assert_int_equal(e->vq->stats.gso_frames, 45);
	assert_int_equal(e->vq->resume, 0);
	assert_int_equal(b->q.stats.tx_packets, 45);
}

static void every_kind_of_packet_is_cut(void **state)
{
	struct offload o[6] = { offload_tcp4(9000), offload_tcp6(9000), offload_udp4(9000), offload_udp6(9000),
				offload_tcp4(9000), offload_tcp6(9000) };
	struct dp_bed *b = *state;

	o[4].tags = 1;
	o[4].tcp_options = 12;
	o[5].flags |= O_CWR;
	for (unsigned i = 0; i < 6; i++)
		send_packet(&b->tx[0][0], &o[i], 1200);
	dp_tx(b);
	for (unsigned i = 0; i < 6; i++)
		expect_all(b, &o[i], 1200);
	expect_nothing(b);
	assert_int_equal(back(&b->tx[0][0]), 6);
}

static void tcp_is_cut_to_what_the_wire_takes_whatever_the_guest_says(void **state)
{
	const struct offload o = offload_tcp4(30000);
	struct dp_bed *b = *state;

	send_packet(&b->tx[0][0], &o, 9000);
	dp_tx(b);
	expect_all(b, &o, MSS);
	expect_nothing(b);
}

static void plain_packets_and_large_ones_keep_their_order(void **state)
{
	struct offload o = offload_tcp4(20000);
	struct dp_bed *b = *state;

	for (unsigned i = 0; i < 4; i++, o.seed++) {
		assert_true(dp_send(b, 0, 0, 60 + i, i));
		send_packet(&b->tx[0][0], &o, MSS);
	}
	o.seed = 1;
	dp_tx(b);
	for (unsigned i = 0; i < 4; i++, o.seed++) {
		dp_expect_sent(b, 0, 60 + i, i);
		expect_all(b, &o, MSS);
	}
	expect_nothing(b);
	assert_int_equal(back(&b->tx[0][0]), 8);
	assert_int_equal(b->tx[0][0].vq->stats.gso_packets, 4);
	assert_int_equal(b->tx[0][0].vq->stats.gso_frames, 4 * 14);
}

/* --- turns ------------------------------------------------------------------ */

/* Two packets of 45 frames, with room for @room frames at a time. */
static void check_room(struct dp_bed *b, unsigned room)
{
	struct offload o = offload_tcp4(LARGE);
	struct dp_end *e = &b->tx[0][1];
	unsigned out = 0, n;

	b->q.tx_limit = room;
	send_packet(e, &o, MSS);
	o.seed++;
	send_packet(e, &o, MSS);
	while (out < 90) {
		dp_tx(b);
		assert_int_not_equal(b->res.work, 0);
		n = 90 - out < room ? 90 - out : room;
		for (; n; n--, out++) {
			o.seed = 1 + out / 45;
			expect_frames(b, &o, MSS, out % 45, out % 45 + 1);
		}
		expect_nothing(b);
		assert_int_equal(e->vq->resume, out % 45 * MSS);
		assert_int_equal(back(e), out / 45);
		dp_complete(b, DP_RING);
		dp_check(b);
	}
	assert_int_equal(e->vq->stats.gso_frames, 90);
}

static void what_a_turn_has_no_room_for_goes_on_where_it_stopped(void **state)
{
	check_room(*state, 20);
}

static void a_large_packet_leaves_even_when_the_nic_has_room_for_one_frame_at_a_time(void **state)
{
	check_room(*state, 1);
}

static void without_any_room_a_packet_half_sent_waits(void **state)
{
	const struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;

	b->q.tx_limit = 7;
	send_packet(&b->tx[0][0], &o, MSS);
	dp_tx(b);
	expect_frames(b, &o, MSS, 0, 7);
	for (unsigned i = 0; i < 3; i++) {
		dp_tx(b);
		assert_int_equal(b->res.work, 0);
		assert_true(b->res.waiting);
		expect_nothing(b);
	}
	assert_int_equal(b->tx[0][0].vq->resume, 7 * MSS);
	assert_int_equal(back(&b->tx[0][0]), 0);
	dp_complete(b, DP_RING);
	b->q.tx_limit = DP_RING;
	dp_tx(b);
	expect_frames(b, &o, MSS, 7, 45);
	assert_int_equal(back(&b->tx[0][0]), 1);
}

static void a_turn_ends_after_so_many_frames_though_there_is_room(void **state)
{
	const struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;

	for (unsigned i = 0; i < 4; i++)
		send_packet(&b->tx[0][0], &o, MSS);
	dp_tx(b);
	assert_in_range(b->q.stats.tx_packets, TURN_ALONE, TURN_ALONE + 1);	/* the last frame of each is a short one */
	assert_int_equal(b->tx[0][0].vq->resume, (b->q.stats.tx_packets - 2 * 45) * MSS);
	dp_tx(b);
	for (unsigned i = 0; i < 4; i++)
		expect_all(b, &o, MSS);
	expect_nothing(b);
}

static void large_packets_and_small_ones_of_two_ports_take_turns_by_bytes(void **state)
{
	const struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;
	unsigned large = 0, small = 0;

	b->dp->talkers = DP_PORTS;
	for (unsigned i = 0; i < 6; i++)
		send_packet(&b->tx[0][0], &o, MSS);
	for (unsigned i = 0; i < DP_QSIZE; i++)
		assert_true(dp_send(b, 1, 0, 60, i));
	dp_tx(b);
	/* The last frame of each packet is a short one, so there may be one more of them. */
	large = (unsigned)b->q.stats.tx_packets - DP_QSIZE;
	assert_in_range(large, TURN, TURN + 1);
	expect_frames(b, &o, MSS, 0, 45);
	expect_frames(b, &o, MSS, 0, large - 45);
	while (small < DP_QSIZE)	/* more of them make up for a turn of long ones */
		dp_expect_sent(b, 1, 60, small++);
	dp_complete(b, DP_RING);
	dp_tx(b);
	assert_in_range(b->q.stats.tx_packets - DP_QSIZE - large, TURN, TURN + 2);
	expect_frames(b, &o, MSS, large - 45, 45);
}

/* --- what does not leave ---------------------------------------------------- */

static void a_packet_with_an_absurd_header_is_dropped_between_its_neighbours(void **state)
{
	const struct offload o = offload_tcp4(9000);
	struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	uint32_t len;

	send_packet(e, &o, MSS);
	hdr.gso_size = 0;
	len = offload_build(packet, &o, false);
	assert_true(dp_send_hdr(e, &hdr, packet, len));
	hdr = offload_header(&o, MSS);
	hdr.csum_start = 0xffff;
	assert_true(dp_send_hdr(e, &hdr, packet, len));
	hdr = offload_header(&o, MSS);
	hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_true(dp_send_hdr(e, &hdr, packet, len));
	send_packet(e, &o, MSS);
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	expect_all(b, &o, MSS);
	expect_all(b, &o, MSS);
	dp_expect_sent(b, 0, 60, 1);
	expect_nothing(b);
	assert_int_equal(back(e), 6);
	assert_int_equal(e->vq->stats.errors[VIRTQ_DROP_OFFLOAD], 3);
	assert_int_equal(e->vq->stats.gso_packets, 2);
	assert_int_equal(e->vq->broken, 0);
}

/* Seven frames of a packet are out, and the next turn would go on with the eighth. */
static void half_send(struct dp_bed *b, struct dp_end *e, const struct offload *o)
{
	b->q.tx_limit = 7;
	send_packet(e, o, MSS);
	dp_tx(b);
	expect_frames(b, o, MSS, 0, 7);
	assert_int_equal(e->vq->resume, 7 * MSS);
	dp_complete(b, DP_RING);
	b->q.tx_limit = DP_RING;
}

static void when_the_uplink_goes_down_what_is_left_of_a_packet_is_forgotten(void **state)
{
	struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];

	half_send(b, e, &o);
	b->dp->uplink_up = 0;
	dp_tx(b);
	expect_nothing(b);
	assert_int_equal(dp_port(b, 0)->drop_uplink_down, 1);
	assert_int_equal(e->vq->resume, 0);
	assert_int_equal(back(e), 1);
	b->dp->uplink_up = 1;
	o.seed++;
	send_packet(e, &o, MSS);
	dp_tx(b);
	expect_all(b, &o, MSS);
	assert_int_equal(back(e), 2);
}

static void when_the_ring_is_disabled_what_is_left_of_a_packet_is_forgotten(void **state)
{
	struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];

	half_send(b, e, &o);
	e->vq->enabled = 0;
	dp_tx(b);
	expect_nothing(b);
	assert_int_equal(e->vq->stats.errors[VIRTQ_DROP_DISABLED], 1);
	assert_int_equal(back(e), 1);
	e->vq->enabled = 1;
	o.seed++;
	send_packet(e, &o, MSS);
	dp_tx(b);
	expect_all(b, &o, MSS);
	assert_int_equal(back(e), 2);
}

static void a_ring_that_stops_amid_a_packet_begins_it_anew(void **state)
{
	const struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];

	half_send(b, e, &o);
	e->g.cfg.base = virtq_stop(e->vq);
	dp_tx(b);
	expect_nothing(b);
	assert_int_equal(virtq_start(e->vq, &e->g.cfg), 0);
	dp_kick(b, 0, 0);
	dp_tx(b);
	expect_all(b, &o, MSS);
	expect_nothing(b);
	assert_int_equal(back(e), 1);
}

static void a_packet_that_changes_while_it_is_being_sent_harms_nobody_else(void **state)
{
	struct offload o = offload_tcp4(LARGE), small = offload_tcp4(3000);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	struct virtio_net_hdr_v1 hdr = { 0 };

	half_send(b, e, &o);
	/* Now it says that it is not to be cut at all, which it is too long for. */
	guest_write(&e->g, sent_at(e), &hdr, sizeof(hdr));
	dp_tx(b);
	expect_nothing(b);
	assert_int_equal(back(e), 1);
	assert_int_equal(e->vq->stats.errors[VIRTQ_DROP_LONG], 1);
	/* What follows is a packet of its own. */
	send_packet(e, &small, MSS);
	send_packet(&b->tx[1][0], &small, MSS);
	dp_tx(b);
	expect_all(b, &small, MSS);
	expect_all(b, &small, MSS);
	expect_nothing(b);
}

static void a_packet_that_becomes_a_plain_one_while_it_is_being_sent_harms_nobody_else(void **state)
{
	struct offload o = offload_tcp4(LARGE), small = offload_tcp4(9000);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	struct virtio_net_hdr_v1 hdr = { 0 };
	uint16_t d;

	half_send(b, e, &o);
	d = e->idle[e->nidle];
	guest_write(&e->g, sent_at(e), &hdr, sizeof(hdr));
	if (e->g.packed)
		e->g.packed[0].len = DP_HDR + 60;
	else
		e->g.desc[d].len = DP_HDR + 60;
	send_packet(e, &small, MSS);
	dp_tx(b);
	assert_int_equal(dp_sent(b, &(const uint8_t *){ NULL }), 60);
	expect_all(b, &small, MSS);
	expect_nothing(b);
	assert_int_equal(back(e), 2);
}

static void memory_that_breaks_amid_a_packet_lets_no_frame_out_that_is_not_the_guests(void **state)
{
	const struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	struct gmem_desc desc;
	int fd;

	assert_int_equal(sigbus_install(), 0);
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	dp_expect_sent(b, 0, 60, 1);
	dp_complete(b, 1);
	send_packet(e, &o, MSS);
	assert_int_equal(gmem_region(e->g.mem, 1, &desc, &fd), 0);
	/* Two pages of it stay. */
	assert_int_equal(ftruncate(fd, (off_t)(GUEST_GAP + sent_at(e) - GUEST_SEAM + 0x2000)), 0);
	dp_tx(b);
	expect_frames(b, &o, MSS, 0, 5);
	expect_nothing(b);
	assert_int_equal(e->vq->broken, VIRTQ_BROKEN_MEMORY);
	assert_int_equal(back(e), 1);
	dp_complete(b, DP_RING);
	nicq_reap(&b->q);
	assert_int_equal(b->q.tx_outstanding, 0);
	assert_int_equal(b->q.frames.count[FRAME_TX], 0);
	/* The neighbour goes on. */
	send_packet(&b->tx[1][0], &o, MSS);
	dp_tx(b);
	expect_all(b, &o, MSS);
}

/* --- checksums -------------------------------------------------------------- */

static void a_checksum_that_the_guest_left_is_finished(void **state)
{
	struct offload o[4] = { offload_tcp4(1001), offload_tcp6(700), offload_udp4(13), offload_udp6(500) };
	struct dp_bed *b = *state;

	o[3].tags = 1;
	for (unsigned i = 0; i < 4; i++)
		send_packet(&b->tx[0][0], &o[i], 0);
	dp_tx(b);
	for (unsigned i = 0; i < 4; i++)
		expect_all(b, &o[i], 0);
	expect_nothing(b);
	assert_int_equal(b->tx[0][0].vq->stats.checksums, 4);
	assert_int_equal(b->tx[0][0].vq->stats.gso_packets, 0);
	assert_int_equal(back(&b->tx[0][0]), 4);
}

/* The next frame asks the NIC to finish its checksum. */
static void expect_request(struct dp_bed *b, const struct offload *o)
{
	uint32_t len = offload_build(want, o, false);
	struct nicq_tx_request r;
	struct xdp_desc d;

	assert_true(dp_sent_piece(b, &d));
	assert_int_equal(d.options, XDP_TX_METADATA);
	memcpy(&r, b->q.umem + d.addr - sizeof(r), sizeof(r));
	assert_int_equal(r.flags, NICQ_TX_CHECKSUM);
	assert_int_equal(r.csum_start, offload_l4(o));
	assert_int_equal(r.csum_offset, o->udp ? 6 : 16);
	assert_int_equal(d.len, len);
	assert_memory_equal(b->q.umem + d.addr, want, len);
}

static void a_nic_that_finishes_checksums_is_asked_to(void **state)
{
	const struct offload o[3] = { offload_tcp4(4000), offload_tcp6(700), offload_udp4(3000) };
	struct dp_bed *b = *state;

	b->q.tx_checksum = true;
	send_packet(&b->tx[0][0], &o[0], 1400);
	send_packet(&b->tx[0][0], &o[1], 0);
	send_packet(&b->tx[0][0], &o[2], 1000);
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	for (unsigned i = 0; i < 3; i++) {
		struct offload cut = offload_cut(&o[0], 1400, i);

		expect_request(b, &cut);
	}
	expect_request(b, &o[1]);
	for (unsigned i = 0; i < 3; i++) {
		struct offload cut = offload_cut(&o[2], 1000, i);

		expect_request(b, &cut);
	}
	/* A plain packet asks for nothing, though its chunk may have held a request before. */
	dp_expect_sent(b, 0, 60, 1);
	assert_int_equal(((struct xdp_desc *)b->q.tx.ring)[(*b->q.tx.consumer - 1) & b->q.tx.mask].options, 0);
}

/* Sends a packet that stays whole, with a header of its own, and expects its checksum to be finished already. */
static void expect_finished(struct dp_bed *b, const struct virtio_net_hdr_v1 *hdr, uint32_t len)
{
	uint32_t start = hdr->csum_start, field = start + hdr->csum_offset;
	uint32_t sum = (uint32_t)packet[field] << 8 | packet[field + 1];	/* of the pseudo header */
	struct xdp_desc d = { 0 };
	const uint8_t *f;

	assert_true(dp_send_hdr(&b->tx[0][0], hdr, packet, len));
	dp_tx(b);
	assert_true(dp_sent_piece(b, &d));
	assert_int_equal(d.len, len);
	assert_int_equal(d.options, 0);
	f = b->q.umem + d.addr;
	for (uint32_t i = start; i < len; i++)
		sum += (i - start) % 2 ? f[i] : (uint32_t)f[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
}

/* A NIC may look for itself, and find other headers than the guest meant. */
static void a_checksum_that_a_nic_could_mistake_is_finished_here(void **state)
{
	const struct offload tcp = offload_tcp4(700), udp = offload_udp4(700);
	struct virtio_net_hdr_v1 hdr = offload_header(&udp, 0);
	struct offload routed = offload_tcp6(700), optional = offload_tcp4(700);
	struct dp_bed *b = *state;
	uint32_t len = offload_build(packet, &udp, false);

	b->q.tx_checksum = true;
	/* Of something inside, as in a tunnel. */
	hdr.csum_start += 28;
	expect_finished(b, &hdr, len);
	/* In another place than UDP's. */
	hdr = offload_header(&udp, 0);
	hdr.csum_offset += 2;
	expect_finished(b, &hdr, len);
	/* In a fragment. */
	hdr = offload_header(&tcp, 0);
	len = offload_build(packet, &tcp, false);
	packet[offload_l3(&tcp) + 6] = 0x20;
	expect_finished(b, &hdr, len);
	/* With bytes behind the packet. */
	len = offload_build(packet, &tcp, false);
	memset(packet + len, 0x77, 10);
	expect_finished(b, &hdr, len + 10);
	/* Behind an extension header: a routing header would change what the pseudo header is. */
	routed.next[0] = 60;
	routed.nnext = 1;
	routed.next_len = 8;
	hdr = offload_header(&routed, 0);
	len = offload_build(packet, &routed, false);
	expect_finished(b, &hdr, len);
	send_packet(&b->tx[0][0], &routed, 300);
	dp_tx(b);
	expect_all(b, &routed, 300);
	/* So would an option of IPv4. */
	optional.ip_options = 4;
	hdr = offload_header(&optional, 0);
	len = offload_build(packet, &optional, false);
	expect_finished(b, &hdr, len);
	send_packet(&b->tx[0][0], &optional, 300);
	dp_tx(b);
	expect_all(b, &optional, 300);
	hdr = offload_header(&tcp, 0);
	/* Of what is not IP. */
	len = offload_build(packet, &tcp, false) + 10;
	packet[12] = 0x88;
	packet[13] = 0xb5;
	expect_finished(b, &hdr, len);
}

/* --- MTU -------------------------------------------------------------------- */

static void another_mtu_changes_what_packets_are_cut_to(void **state)
{
	const struct offload o = offload_tcp4(9000);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];

	virtq_set_max_frame(e->vq, 1000 + 18);
	send_packet(e, &o, MSS);
	assert_true(dp_send(b, 0, 0, 1019, 1));	/* too long now */
	assert_true(dp_send(b, 0, 0, 1018, 2));
	dp_tx(b);
	expect_all(b, &o, 960);
	dp_expect_sent(b, 0, 1018, 2);
	expect_nothing(b);
	assert_int_equal(e->vq->stats.errors[VIRTQ_DROP_LONG], 1);
	virtq_set_max_frame(e->vq, GUEST_MAX_FRAME);
	send_packet(e, &o, MSS);
	dp_tx(b);
	expect_all(b, &o, MSS);
}

/* What is left goes out in frames of the new length; where the last one ended, a part may go out again. */
static void a_smaller_mtu_leaves_no_hole_in_a_packet_half_sent(void **state)
{
	const struct offload o = offload_tcp4(LARGE), next = offload_tcp6(9000);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	const unsigned from = 7 * MSS / 960, end = offload_count(&o, 960);

	half_send(b, e, &o);
	virtq_set_max_frame(e->vq, 1000 + 18);
	dp_tx(b);
	expect_frames(b, &o, 960, from, end);
	assert_int_equal(back(e), 1);
	assert_int_equal(e->vq->resume, 0);
	assert_int_equal(e->vq->stats.gso_frames, 7 + end - from);
	send_packet(e, &next, MSS);
	dp_tx(b);
	expect_all(b, &next, 940);
}

static void a_larger_mtu_leaves_no_hole_in_a_packet_half_sent(void **state)
{
	const struct offload o = offload_tcp4(LARGE);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];

	virtq_set_max_frame(e->vq, 1000 + 18);
	b->q.tx_limit = 7;
	send_packet(e, &o, MSS);
	dp_tx(b);
	expect_frames(b, &o, 960, 0, 7);
	dp_complete(b, DP_RING);
	b->q.tx_limit = DP_RING;
	virtq_set_max_frame(e->vq, GUEST_MAX_FRAME);
	dp_tx(b);
	expect_frames(b, &o, MSS, 7 * 960 / MSS, 45);
	expect_nothing(b);
	assert_int_equal(back(e), 1);
}

static void without_segmentation_large_packets_are_too_long_for_any_mtu(void **state)
{
	const struct offload o = offload_tcp4(4000);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];

	virtq_stop(e->vq);
	e->g.cfg.features &= ~(uint64_t)VNET_HOST_OFFLOADS;
	assert_int_equal(virtq_start(e->vq, &e->g.cfg), 0);
	virtq_set_max_frame(e->vq, 1000 + 18);
	send_packet(e, &o, MSS);
	assert_true(dp_send(b, 0, 0, 1019, 1));
	assert_true(dp_send(b, 0, 0, 1018, 2));
	dp_tx(b);
	dp_expect_sent(b, 0, 1018, 2);
	expect_nothing(b);
	assert_int_equal(back(e), 3);
	assert_int_equal(e->vq->stats.errors[VIRTQ_DROP_LONG], 2);
}

/* --- at random -------------------------------------------------------------- */

/* Everything that a guest sends leaves, in order, each frame once, whatever room there is. */
static void whatever_room_there_is_no_frame_is_lost_or_sent_twice(void **state)
{
	struct { struct offload o; uint32_t mss; } sent[64];
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[1][1];
	unsigned in = 0, out = 0, frame = 0;
	uint64_t seed = 11;

	while (out < 1500) {
		b->q.tx_limit = guest_random(&seed) % 9 ? guest_random(&seed) % 40 : 0;
		while (in - out < 16 && guest_random(&seed) % 3) {
			unsigned i = in++ % 64, kind = guest_random(&seed) % 5;
			struct offload *o = &sent[i].o;

			*o = kind & 1 ? offload_tcp6(0) : offload_tcp4(0);
			o->udp = kind & 2;
			o->tags = guest_random(&seed) % 2;
			o->seed = in;
			sent[i].mss = kind == 4 ? 0 : 300 + guest_random(&seed) % 1100;
			o->payload = 1 + guest_random(&seed) % (sent[i].mss ? 20000 : 1400);
			if (sent[i].mss >= o->payload)
				sent[i].mss = 0;
			send_packet(e, o, sent[i].mss);
		}
		dp_tx(b);
		while (*b->q.tx.consumer != *b->q.tx.producer && b->ndone < DP_RING && guest_random(&seed) % 50) {
			expect_frames(b, &sent[out % 64].o, sent[out % 64].mss, frame, frame + 1);
			if (++frame < offload_count(&sent[out % 64].o, sent[out % 64].mss))
				continue;
			frame = 0;
			out++;
		}
		dp_complete(b, guest_random(&seed) % 40);
		dp_check(b);
	}
	assert_int_equal(e->vq->broken, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(a_large_packet_leaves_as_frames_in_order_and_comes_back_once),
		DP_BOTH(every_kind_of_packet_is_cut),
		DP_BOTH(tcp_is_cut_to_what_the_wire_takes_whatever_the_guest_says),
		DP_BOTH(plain_packets_and_large_ones_keep_their_order),
		DP_BOTH(what_a_turn_has_no_room_for_goes_on_where_it_stopped),
		DP_BOTH(a_large_packet_leaves_even_when_the_nic_has_room_for_one_frame_at_a_time),
		DP_BOTH(without_any_room_a_packet_half_sent_waits),
		DP_BOTH(a_turn_ends_after_so_many_frames_though_there_is_room),
		DP_BOTH(large_packets_and_small_ones_of_two_ports_take_turns_by_bytes),
		DP_BOTH(a_packet_with_an_absurd_header_is_dropped_between_its_neighbours),
		DP_BOTH(when_the_uplink_goes_down_what_is_left_of_a_packet_is_forgotten),
		DP_BOTH(when_the_ring_is_disabled_what_is_left_of_a_packet_is_forgotten),
		DP_BOTH(a_ring_that_stops_amid_a_packet_begins_it_anew),
		DP_BOTH(a_packet_that_changes_while_it_is_being_sent_harms_nobody_else),
		DP_BOTH(a_packet_that_becomes_a_plain_one_while_it_is_being_sent_harms_nobody_else),
		DP_BOTH(memory_that_breaks_amid_a_packet_lets_no_frame_out_that_is_not_the_guests),
		DP_BOTH(a_checksum_that_the_guest_left_is_finished),
		DP_BOTH(a_nic_that_finishes_checksums_is_asked_to),
		DP_BOTH(a_checksum_that_a_nic_could_mistake_is_finished_here),
		DP_BOTH(another_mtu_changes_what_packets_are_cut_to),
		DP_BOTH(a_smaller_mtu_leaves_no_hole_in_a_packet_half_sent),
		DP_BOTH(a_larger_mtu_leaves_no_hole_in_a_packet_half_sent),
		DP_BOTH(without_segmentation_large_packets_are_too_long_for_any_mtu),
		DP_BOTH(whatever_room_there_is_no_frame_is_lost_or_sent_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
