/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames that are longer than a UMEM chunk, both ways, with both kinds of rings. */
#include "base/sigbus.h"
#include "dp.h"
#include "offload.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | VNET_OFFLOADS)
#define CHUNK 4096u
#define ROOM (CHUNK - NICQ_DATA_OFFSET)
#define MAX 9018u		/* MTU 9000 */
#define MSS 8960u

static struct dp_bed bed;
static uint8_t frame[OFFLOAD_MAX], buf[OFFLOAD_MAX], want[OFFLOAD_MAX];

static int setup(void **state)
{
	dp_open_with(&bed, FEATURES, CHUNK, MAX);
	*state = &bed;
	return 0;
}

static int setup_packed(void **state)
{
	dp_open_with(&bed, FEATURES | GUEST_PACKED, CHUNK, MAX);
	*state = &bed;
	return 0;
}

static int teardown(void **state)
{
	dp_check(*state);
	dp_close(*state);
	return 0;
}

static struct vd_meta meta(struct dp_bed *b, unsigned port)
{
	return (struct vd_meta){ .magic = VD_META_MAGIC, .port = (uint16_t)port, .seq = b->flow[port].seq++ };
}

/* The bytes of @f come in as pieces of @piece bytes, from @at to @end. Only the frame's first piece has metadata. */
static void wire_part(struct dp_bed *b, const struct vd_meta *m, const uint8_t *f, uint32_t len, uint32_t piece,
		      uint32_t at, uint32_t end)
{
	for (; at < end; at += piece) {
		uint32_t n = len - at < piece ? len - at : piece;

		dp_wire_piece(b, f + at, n, at ? NULL : m, at + n < len);
	}
}

/* A frame of @len bytes for pair 0 of @port comes in, in pieces. */
static void wire(struct dp_bed *b, unsigned port, uint32_t len, uint32_t piece, uint32_t number)
{
	struct vd_meta m = meta(b, port);

	dp_frame(frame, len, port, DP_MAC_WIRE, number);
	wire_part(b, &m, frame, len, piece, 0, len);
	b->wired++;
}

/* What comes next at @e is this frame, as it was. Return: in how many buffers. */
static unsigned expect(struct dp_end *e, unsigned port, uint32_t len, uint32_t number)
{
	struct virtio_net_hdr_v1 hdr, none = { 0 };

	assert_int_equal(dp_take_packet(e, buf, &hdr), len);
	dp_frame(want, len, port, DP_MAC_WIRE, number);
	assert_memory_equal(buf, want, len);
	none.num_buffers = hdr.num_buffers;
	assert_memory_equal(&hdr, &none, sizeof(hdr));
	return hdr.num_buffers;
}

static void expect_none(struct dp_end *e)
{
	struct virtio_net_hdr_v1 hdr;

	assert_int_equal(dp_take_packet(e, buf, &hdr), -1);
}

/* Nothing of what came is kept. */
static void check_released(struct dp_bed *b)
{
	assert_int_equal(b->q.frames.count[FRAME_HELD], 0);
	dp_check(b);
}

/* --- from the wire ---------------------------------------------------------- */

static void a_frame_in_pieces_arrives_whole_in_merged_buffers(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, 40);
	wire(b, 0, ROOM + 1, ROOM, 1);
	wire(b, 0, 2 * ROOM, ROOM, 2);
	wire(b, 0, 2 * ROOM + 1, ROOM, 3);
	wire(b, 0, 9014, ROOM, 4);
	wire(b, 0, 60, ROOM, 5);
	wire(b, 0, 3000, 1000, 6);
	dp_rx(b);
	assert_int_equal(expect(e, 0, ROOM + 1, 1), 2);
	assert_int_equal(expect(e, 0, 2 * ROOM, 2), 4);
	assert_int_equal(expect(e, 0, 2 * ROOM + 1, 3), 4);
	assert_int_equal(expect(e, 0, 9014, 4), 5);
	assert_int_equal(expect(e, 0, 60, 5), 1);
	assert_int_equal(expect(e, 0, 3000, 6), 2);
	expect_none(e);
	assert_int_equal(b->flow[0].consumed, 6);
	check_released(b);
}

static void a_frame_in_pieces_arrives_whole_in_one_large_buffer(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[1][0];

	dp_offer_len(e, 2, 9014 + DP_HDR);
	wire(b, 1, 9014, ROOM, 1);
	wire(b, 1, ROOM + 100, ROOM, 2);
	dp_rx(b);
	assert_int_equal(expect(e, 1, 9014, 1), 1);
	assert_int_equal(expect(e, 1, ROOM + 100, 2), 1);
	check_released(b);
}

static void pieces_may_come_in_different_batches(void **state)
{
	struct vd_meta m = meta(*state, 0);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, DP_QSIZE);
	dp_frame(frame, 9014, 0, DP_MAC_WIRE, 1);
	for (uint32_t at = 0; at < 9014; at += ROOM) {
		expect_none(e);
		wire_part(b, &m, frame, 9014, ROOM, at, at + 1);
		dp_rx(b);
	}
	b->wired++;
	expect(e, 0, 9014, 1);
	/* The batch ends behind each of its pieces once. */
	for (unsigned before = DP_RX_BATCH - 3; before <= DP_RX_BATCH; before++) {
		for (unsigned i = 0; i < before; i++)
			assert_true(dp_wire(b, 1, 0, 60, i));
		wire(b, 0, 9014, ROOM, before);
		wire(b, 0, 100, ROOM, 7);
		dp_rx(b);
		dp_rx(b);
		expect(e, 0, 9014, before);
		expect(e, 0, 100, 7);
		dp_offer(e, DP_QSIZE);
		b->now += 2 * DP_HOLD_NS;	/* the neighbour has no buffers */
		dp_rx(b);
		check_released(b);
	}
}

static void a_frame_of_too_many_pieces_is_dropped_and_counted(void **state)
{
	struct vd_meta m = meta(*state, 0);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, 40);
	dp_frame(frame, 20000, 0, DP_MAC_WIRE, 1);
	wire_part(b, &m, frame, 3 * ROOM + 1, ROOM, 0, 3 * ROOM + 1);
	dp_rx(b);
	expect_none(e);
	assert_int_equal(b->q.stats.rx_invalid, 1);
	check_released(b);
	m = meta(b, 0);
	wire_part(b, &m, frame, 20000, 100, 0, 20000);	/* 200 of them */
	for (unsigned i = 0; i < 4; i++)
		dp_rx(b);
	assert_int_equal(b->q.stats.rx_invalid, 2);
	check_released(b);
	/* What follows is not taken for a part of it. */
	wire(b, 0, 9014, ROOM, 2);
	dp_rx(b);
	expect(e, 0, 9014, 2);
	assert_int_equal(dp_port(b, 0)->lost, 2);
	check_released(b);
}

static void a_long_frame_waits_for_enough_buffers(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	wire(b, 0, 9014, ROOM, 1);
	wire(b, 0, 60, ROOM, 2);
	for (unsigned i = 0; i < 4; i++) {
		dp_offer(e, 1);
		dp_rx(b);
		expect_none(e);
		assert_true(b->res.waiting);
		assert_int_equal(dp_port(b, 0)->held, 2);
		assert_int_equal(b->q.frames.count[FRAME_HELD], 4);
		dp_check(b);
	}
	dp_offer(e, 1);
	dp_rx(b);
	assert_int_equal(expect(e, 0, 9014, 1), 5);
	expect_none(e);
	dp_offer(e, 1);
	dp_rx(b);
	expect(e, 0, 60, 2);
	check_released(b);
}

/* Nobody gains by looking at what waits before there are more buffers. */
static void long_frames_that_wait_are_not_joined_anew_every_time(void **state)
{
	struct dp_bed *b = *state;

	wire(b, 0, 9014, ROOM, 1);
	wire(b, 0, 9014, ROOM, 2);
	dp_rx(b);
	assert_int_equal(b->dp->coalesce.n, 2);
	b->dp->coalesce.n = 99;
	for (unsigned i = 0; i < 10; i++)
		dp_rx(b);
	assert_int_equal(b->dp->coalesce.n, 99);
	assert_true(b->res.waiting);
	dp_offer(&b->rx[0][0], 10);
	dp_rx(b);
	expect(&b->rx[0][0], 0, 9014, 1);
	expect(&b->rx[0][0], 0, 9014, 2);
}

static void a_long_frame_that_is_dropped_takes_all_its_pieces_along(void **state)
{
	const struct vd_meta stranger = { .magic = VD_META_MAGIC, .port = 900 };
	struct dp_bed *b = *state;

	/* No buffers for too long. */
	wire(b, 0, 9014, ROOM, 1);
	dp_rx(b);
	b->now += 2 * DP_HOLD_NS;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->drop_hold, 1);
	check_released(b);
	/* A ring that is not usable. */
	b->rx[0][0].vq->enabled = 0;
	wire(b, 0, 9014, ROOM, 2);
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->drop_ring, 1);
	check_released(b);
	/* For nobody; with metadata and without. */
	dp_frame(frame, 9014, 77, DP_MAC_WIRE, 3);
	wire_part(b, &stranger, frame, 9014, ROOM, 0, 9014);
	wire_part(b, NULL, frame, 9014, ROOM, 0, 9014);
	b->wired += 2;
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, 2);
	check_released(b);
}

static void without_metadata_a_long_frame_is_looked_up_as_a_short_one(void **state)
{
	struct dp_bed *b = *state;

	dp_frame(frame, 9014, 1, DP_MAC_WIRE, 3);
	assert_int_equal(fdb_set(&b->fdb, mac_load(frame), 1, 0), 0);
	dp_offer(&b->rx[1][0], 8);
	dp_offer(&b->rx[1][1], 8);
	wire_part(b, NULL, frame, 9014, ROOM, 0, 9014);
	b->wired++;
	dp_rx(b);
	expect(&b->rx[1][guest_pending(&b->rx[1][1].g) ? 1 : 0], 1, 9014, 3);
	check_released(b);
}

static void long_segments_are_joined_too(void **state)
{
	const struct offload o = offload_tcp4(5 * MSS);
	struct virtio_net_hdr_v1 hdr, h = offload_header(&o, MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, DP_QSIZE);
	for (uint32_t i = 0; i < 5; i++) {
		struct offload cut = offload_cut(&o, MSS, i);
		uint32_t len = offload_build(frame, &cut, true);
		struct vd_meta m = meta(b, 0);

		wire_part(b, &m, frame, len, ROOM, 0, len);
		b->wired++;
	}
	dp_rx(b);
	assert_int_equal(dp_take_packet(e, buf, &hdr), offload_build(want, &o, false));
	assert_memory_equal(buf, want, offload_len(&o));
	h.num_buffers = hdr.num_buffers;
	assert_memory_equal(&hdr, &h, sizeof(h));
	assert_int_equal(e->vq->stats.gso_frames, 5);
	check_released(b);
}

static void long_segments_without_buffers_for_all_of_them_arrive_one_by_one(void **state)
{
	const struct offload o = offload_tcp4(5 * MSS);
	struct virtio_net_hdr_v1 hdr;
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	for (uint32_t i = 0; i < 5; i++) {
		struct offload cut = offload_cut(&o, MSS, i);
		uint32_t len = offload_build(frame, &cut, true);
		struct vd_meta m = meta(b, 0);

		wire_part(b, &m, frame, len, ROOM, 0, len);
		b->wired++;
	}
	for (uint32_t i = 0; i < 5; i++) {
		struct offload cut = offload_cut(&o, MSS, i);

		dp_offer(e, 5);
		dp_rx(b);
		assert_int_equal(dp_take_packet(e, buf, &hdr), offload_build(want, &cut, true));
		assert_memory_equal(buf, want, offload_len(&cut));
		expect_none(e);
	}
	check_released(b);
}

/* --- to the wire ------------------------------------------------------------ */

/* One frame of @len bytes leaves, in as few pieces as it needs. Its bytes are in buf then. */
static void expect_pieces(struct dp_bed *b, uint32_t len, uint32_t first_options)
{
	struct xdp_desc d;

	for (uint32_t at = 0; at < len; at += ROOM) {
		uint32_t n = len - at < ROOM ? len - at : ROOM;

		assert_true(dp_sent_piece(b, &d));
		assert_int_equal(d.len, n);
		assert_int_equal(d.options, (at + n < len ? XDP_PKT_CONTD : 0) | (at ? 0 : first_options));
		memcpy(buf + at, b->q.umem + d.addr, n);
	}
}

static bool send_long(struct dp_bed *b, unsigned port, uint32_t len, uint32_t number)
{
	dp_frame(frame, len, DP_MAC_WIRE, DP_MAC_GUEST + port, number);
	return dp_send_raw(&b->tx[port][0], frame, len);
}

static void expect_long(struct dp_bed *b, unsigned port, uint32_t len, uint32_t number)
{
	expect_pieces(b, len, 0);
	dp_frame(want, len, DP_MAC_WIRE, DP_MAC_GUEST + port, number);
	assert_memory_equal(buf, want, len);
}

static void a_long_frame_leaves_in_pieces(void **state)
{
	static const uint32_t len[] = { 60, ROOM, ROOM + 1, 2 * ROOM, 2 * ROOM + 1, 9014, MAX, 100 };
	struct dp_bed *b = *state;
	struct xdp_desc d;

	for (unsigned i = 0; i < 8; i++)
		assert_true(send_long(b, 0, len[i], i));
	assert_true(send_long(b, 0, MAX + 1, 9));	/* too long */
	dp_tx(b);
	for (unsigned i = 0; i < 8; i++)
		expect_long(b, 0, len[i], i);
	assert_false(dp_sent_piece(b, &d));
	assert_int_equal(b->q.stats.tx_packets, 8);
	assert_int_equal(b->tx[0][0].vq->stats.errors[VIRTQ_DROP_LONG], 1);
	dp_complete(b, DP_RING);
	nicq_reap(&b->q);
	assert_int_equal(b->q.tx_outstanding, 0);
}

static void a_long_frame_leaves_whole_or_not_at_all(void **state)
{
	struct dp_bed *b = *state;
	struct xdp_desc d;

	assert_true(send_long(b, 0, 60, 1));
	assert_true(send_long(b, 0, 9014, 2));
	assert_true(send_long(b, 0, 60, 3));
	for (unsigned i = 0; i < 3; i++) {
		b->q.tx_limit = 1 + i % 2;
		dp_tx(b);
		assert_true(b->res.waiting || !i);
		if (!i)
			expect_long(b, 0, 60, 1);
		assert_false(dp_sent_piece(b, &d));
		dp_complete(b, 1);
		dp_check(b);
	}
	b->q.tx_limit = 3;
	dp_tx(b);
	expect_long(b, 0, 9014, 2);
	assert_false(dp_sent_piece(b, &d));
	dp_complete(b, 3);
	dp_tx(b);
	expect_long(b, 0, 60, 3);
}

/* Another ring that can send does not take the room for ever that a long frame waits for. */
static void a_long_frame_gets_its_turn_though_a_neighbour_sends_all_the_time(void **state)
{
	struct dp_bed *b = *state;
	const uint8_t *f;
	unsigned passes;

	b->q.tx_limit = 4;
	for (unsigned i = 0; i < 4; i++)
		assert_true(dp_send(b, 1, 0, 60, i));
	dp_tx(b);
	assert_int_equal(b->q.tx_outstanding, 4);
	assert_true(send_long(b, 0, 9014, 1));
	for (passes = 0; passes < 200 && !guest_pending(&b->tx[0][0].g); passes++) {
		struct xdp_desc d;

		dp_send(b, 1, 0, 60, passes);
		dp_tx(b);
		/* The NIC sends one frame in the time of a pass. */
		if (dp_sent_piece(b, &d))
			dp_complete(b, 1);
	}
	assert_in_range(passes, 0, 199);
	while (dp_sent(b, &f) >= 0)
		;
}

static void a_long_frame_without_enough_room_does_not_keep_the_worker_awake(void **state)
{
	struct dp_bed *b = *state;

	b->tx[0][0].vq->kickfd = 1000;	/* there is one, that is all */
	b->q.tx_limit = 2;
	assert_true(send_long(b, 0, 9014, 1));
	dp_tx(b);
	assert_int_equal(b->res.work, 0);
	assert_true(b->res.waiting);
	assert_false(datapath_arm(b->dp));
	b->q.tx_limit = 3;
	assert_true(datapath_arm(b->dp));
	dp_tx(b);
	expect_long(b, 0, 9014, 1);
}

static void large_packets_are_cut_to_long_frames(void **state)
{
	const struct offload o = offload_tcp4(60000);
	struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	unsigned i = 0;

	assert_true(dp_send_hdr(e, &hdr, frame, offload_build(frame, &o, false)));
	b->q.tx_limit = 7;	/* two frames and a bit */
	while (i < 7) {
		dp_tx(b);
		for (unsigned k = 0; k < 2 && i < 7; k++, i++) {
			struct offload cut = offload_cut(&o, MSS, i);

			expect_pieces(b, offload_len(&cut), 0);
			offload_build(want, &cut, true);
			assert_memory_equal(buf, want, offload_len(&cut));
		}
		dp_complete(b, DP_RING);
		dp_check(b);
	}
	assert_int_equal(e->vq->stats.gso_frames, 7);
	assert_int_equal(e->vq->resume, 0);
}

static void a_checksum_is_finished_over_all_pieces(void **state)
{
	struct offload o = offload_tcp4(8901);
	struct virtio_net_hdr_v1 hdr = offload_header(&o, 0);
	struct dp_bed *b = *state;

	assert_true(dp_send_hdr(&b->tx[0][0], &hdr, frame, offload_build(frame, &o, false)));
	dp_tx(b);
	expect_pieces(b, offload_len(&o), 0);
	offload_build(want, &o, true);
	assert_memory_equal(buf, want, offload_len(&o));
}

static void only_a_frame_in_one_piece_leaves_its_checksum_to_the_nic(void **state)
{
	const struct offload o = offload_tcp6(2 * MSS + 100);
	struct virtio_net_hdr_v1 hdr = offload_header(&o, MSS);
	struct dp_bed *b = *state;
	struct offload cut;

	b->q.tx_checksum = true;
	assert_true(dp_send_hdr(&b->tx[0][0], &hdr, frame, offload_build(frame, &o, false)));
	dp_tx(b);
	for (unsigned i = 0; i < offload_count(&o, 8940); i++) {
		cut = offload_cut(&o, 8940, i);
		expect_pieces(b, offload_len(&cut), i == 2 ? XDP_TX_METADATA : 0);
		offload_build(want, &cut, i != 2);
		assert_memory_equal(buf, want, offload_len(&cut));
	}
}

static void memory_that_breaks_amid_a_long_frame_cancels_all_its_pieces(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	struct gmem_desc desc;
	struct xdp_desc d;
	uint64_t at;
	int fd;

	assert_int_equal(sigbus_install(), 0);
	assert_true(send_long(b, 0, 9014, 1));
	at = e->addr[e->idle[e->nidle]];
	assert_int_equal(gmem_region(e->g.mem, 1, &desc, &fd), 0);
	assert_int_equal(ftruncate(fd, (off_t)(GUEST_GAP + at - GUEST_SEAM + 0x1000)), 0);
	dp_tx(b);
	assert_false(dp_sent_piece(b, &d));
	assert_int_equal(e->vq->broken, VIRTQ_BROKEN_MEMORY);
	assert_int_equal(b->q.tx_outstanding, 0);
	assert_int_equal(b->q.frames.count[FRAME_TX], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(a_frame_in_pieces_arrives_whole_in_merged_buffers),
		DP_BOTH(a_frame_in_pieces_arrives_whole_in_one_large_buffer),
		DP_BOTH(pieces_may_come_in_different_batches),
		DP_BOTH(a_frame_of_too_many_pieces_is_dropped_and_counted),
		DP_BOTH(a_long_frame_waits_for_enough_buffers),
		DP_BOTH(long_frames_that_wait_are_not_joined_anew_every_time),
		DP_BOTH(a_long_frame_that_is_dropped_takes_all_its_pieces_along),
		DP_BOTH(without_metadata_a_long_frame_is_looked_up_as_a_short_one),
		DP_BOTH(long_segments_are_joined_too),
		DP_BOTH(long_segments_without_buffers_for_all_of_them_arrive_one_by_one),
		DP_BOTH(a_long_frame_leaves_in_pieces),
		DP_BOTH(a_long_frame_leaves_whole_or_not_at_all),
		DP_BOTH(a_long_frame_gets_its_turn_though_a_neighbour_sends_all_the_time),
		DP_BOTH(a_long_frame_without_enough_room_does_not_keep_the_worker_awake),
		DP_BOTH(large_packets_are_cut_to_long_frames),
		DP_BOTH(a_checksum_is_finished_over_all_pieces),
		DP_BOTH(only_a_frame_in_one_piece_leaves_its_checksum_to_the_nic),
		DP_BOTH(memory_that_breaks_amid_a_long_frame_cancels_all_its_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
