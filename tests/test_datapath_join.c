/* SPDX-License-Identifier: BSD-2-Clause */
/* The data path from NIC to guests that take frames joined, with both kinds of rings. */
#include "dp.h"
#include "offload.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | VNET_GUEST_OFFLOADS)
#define MSS 1460u

static uint8_t buf[OFFLOAD_MAX], want[OFFLOAD_MAX];

DP_FIXTURE(FEATURES)

/* The frames from @i up to @end of what @o describes come from the wire, for pair 0 of @port. */
static void wire(struct dp_bed *b, unsigned port, const struct offload *o, uint32_t i, uint32_t end)
{
	for (; i < end; i++) {
		struct offload cut = offload_cut(o, MSS, i);

		assert_true(dp_wire_bytes(b, (uint16_t)port, 0, buf, offload_build(buf, &cut, true)));
	}
}

/* The next packet at @e is made of frames of @o, the first of which is @i. Return: how many. */
static uint32_t expect_part(struct dp_end *e, const struct offload *o, uint32_t i)
{
	struct virtio_net_hdr_v1 hdr, h = { 0 };
	struct offload part = offload_cut(o, MSS, i);
	int len = dp_take_packet(e, buf, &hdr);
	uint32_t n;

	assert_true(len > (int)offload_head(o));
	part.payload = (uint32_t)len - offload_head(o);
	n = offload_count(&part, MSS);
	assert_int_equal(offload_build(want, &part, n == 1), len);
	assert_memory_equal(buf, want, len);
	if (n > 1)
		h = offload_header(&part, MSS);
	h.num_buffers = hdr.num_buffers;
	assert_memory_equal(&hdr, &h, sizeof(h));
	return n;
}

/* What comes next at @e is the frames from @i up to @end of @o, in packets of any size. Return: how many packets. */
static unsigned expect_frames(struct dp_end *e, const struct offload *o, uint32_t i, uint32_t end)
{
	unsigned packets = 0;

	for (; i < end; packets++)
		i += expect_part(e, o, i);
	assert_int_equal(i, end);
	return packets;
}

static void expect_none(struct dp_end *e)
{
	struct virtio_net_hdr_v1 hdr;

	assert_int_equal(dp_take_packet(e, buf, &hdr), -1);
}

/* --- joining -------------------------------------------------------------- */

static void consecutive_segments_of_a_batch_arrive_as_one_packet(void **state)
{
	const struct offload o[2] = { offload_tcp4(10 * MSS), offload_tcp6(10 * MSS - 700) };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, DP_QSIZE);
	for (unsigned i = 0; i < 2; i++) {
		wire(b, 0, &o[i], 0, 10);
		dp_rx(b);
		assert_int_equal(expect_part(e, &o[i], 0), 10);
	}
	expect_none(e);
	assert_int_equal(e->vq->stats.packets, 2);
	assert_int_equal(e->vq->stats.gso_packets, 2);
	assert_int_equal(e->vq->stats.gso_frames, 20);
	assert_int_equal(b->flow[0].consumed, 20);
	assert_int_equal(b->q.frames.count[FRAME_HELD], 0);
}

static void datagrams_of_one_size_arrive_as_one_packet(void **state)
{
	const struct offload o = offload_udp4(5 * MSS);
	struct dp_bed *b = *state;

	dp_offer(&b->rx[0][0], DP_QSIZE);
	wire(b, 0, &o, 0, 5);
	dp_rx(b);
	assert_int_equal(expect_part(&b->rx[0][0], &o, 0), 5);
}

static void a_guest_that_does_not_take_joined_packets_gets_frames_as_they_came(void **state)
{
	const struct offload o = offload_tcp4(10 * MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	virtq_stop(e->vq);
	e->g.cfg.features &= ~(uint64_t)VNET_GUEST_GSO;
	assert_int_equal(virtq_start(e->vq, &e->g.cfg), 0);
	dp_offer(e, DP_QSIZE);
	dp_offer(&b->rx[1][0], DP_QSIZE);
	for (unsigned i = 0; i < 10; i++) {
		wire(b, 0, &o, i, i + 1);
		wire(b, 1, &o, i, i + 1);
	}
	dp_rx(b);
	assert_int_equal(expect_frames(e, &o, 0, 10), 10);
	assert_int_equal(e->vq->stats.gso_packets, 0);
	/* Its neighbour takes them joined. */
	assert_int_equal(expect_part(&b->rx[1][0], &o, 0), 10);
}

static void flows_that_come_interleaved_keep_their_order(void **state)
{
	struct offload o[3] = { offload_tcp4(12 * MSS), offload_tcp4(12 * MSS), offload_tcp6(12 * MSS) };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	o[1].sport++;
	o[1].seed = 2;
	o[2].seed = 3;
	dp_offer(e, DP_QSIZE);
	for (uint32_t i = 0; i < 12; i++)
		for (unsigned k = 0; k < 3; k++)
			wire(b, 0, &o[k], i, i + 1);
	dp_rx(b);
	for (unsigned k = 0; k < 3; k++)
		assert_int_equal(expect_part(e, &o[k], 0), 12);
	expect_none(e);
}

static void frames_that_are_not_of_a_flow_stay_where_they_are(void **state)
{
	const struct offload o = offload_tcp4(8 * MSS);
	struct dp_bed *b = *state;
	struct virtio_net_hdr_v1 hdr;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, DP_QSIZE);
	wire(b, 0, &o, 0, 4);
	assert_true(dp_wire(b, 0, 0, 70, 5));
	wire(b, 0, &o, 4, 8);
	dp_rx(b);
	assert_int_equal(expect_part(e, &o, 0), 4);
	assert_int_equal(dp_take_packet(e, buf, &hdr), 70);
	assert_int_equal(dp_number(buf), 5);
	assert_int_equal(expect_part(e, &o, 4), 4);
}

#define UNIT (1ull << 20)	/* nanoseconds, in which the data path notes when a frame came */

/* Two pairs of segments, the second @apart ns after the first, which came @in ns into a unit. Return: how many join. */
static uint32_t join_apart(struct dp_bed *b, const struct offload *o, uint64_t in, uint64_t apart)
{
	struct dp_end *e = &b->rx[0][0];
	uint32_t n;

	b->now = (b->now / UNIT + 1) * UNIT + in;
	wire(b, 0, o, 0, 2);
	dp_rx(b);
	b->now += apart;
	wire(b, 0, o, 2, 4);
	dp_rx(b);
	expect_none(e);
	dp_offer(e, 16);
	dp_rx(b);
	n = expect_part(e, o, 0);
	expect_frames(e, o, n, 4);
	/* What is left of the buffers goes to something else. */
	for (unsigned i = 0; virtq_pending(e->vq); i++) {
		assert_true(dp_wire(b, 0, 0, 70, i));
		dp_rx(b);
		dp_expect(b, 0, 0, 70, i);
	}
	return n;
}

static void segments_that_came_apart_by_more_than_the_limit_are_not_joined(void **state)
{
	const struct offload o = offload_tcp4(4 * MSS);
	const uint64_t limit = COALESCE_IDLE * UNIT;
	struct dp_bed *b = *state;

	assert_int_equal(join_apart(b, &o, 0, 0), 4);
	assert_int_equal(join_apart(b, &o, 0, limit), 4);
	assert_int_equal(join_apart(b, &o, 0, limit + UNIT - 1), 4);
	assert_int_equal(join_apart(b, &o, 0, limit + UNIT), 2);
	/* Parts of a unit do not count: the same, from the end of one. */
	assert_int_equal(join_apart(b, &o, UNIT - 1, limit), 4);
	assert_int_equal(join_apart(b, &o, UNIT - 1, limit + 1), 2);
	assert_int_equal(join_apart(b, &o, 0, 3 * DP_MS), 2);
}

/* It is the last one that counts: a packet may be longer under way than the limit. */
static void segments_that_come_one_after_the_other_within_the_limit_are_joined(void **state)
{
	const struct offload o = offload_tcp4(6 * MSS);
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 6; i++) {
		wire(b, 0, &o, i, i + 1);
		dp_rx(b);
		b->now += COALESCE_IDLE * UNIT;
	}
	dp_offer(&b->rx[0][0], DP_QSIZE);
	dp_rx(b);
	assert_int_equal(expect_part(&b->rx[0][0], &o, 0), 6);
}

/* --- too few buffers -------------------------------------------------------- */

static void what_finds_too_few_buffers_joined_arrives_frame_by_frame(void **state)
{
	const struct offload o = offload_tcp4(10 * MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, 3);
	wire(b, 0, &o, 0, 10);
	dp_rx(b);
	assert_int_equal(expect_frames(e, &o, 0, 3), 3);
	expect_none(e);
	assert_int_equal(dp_port(b, 0)->held, 7);
	assert_true(b->res.waiting);
	dp_rx(b);
	expect_none(e);
	dp_offer(e, DP_QSIZE);
	dp_rx(b);
	expect_frames(e, &o, 3, 10);
	expect_none(e);
	assert_int_equal(dp_port(b, 0)->held, 0);
	assert_false(b->res.waiting);
}

static void one_buffer_at_a_time_is_enough(void **state)
{
	const struct offload o = offload_tcp4(10 * MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	wire(b, 0, &o, 0, 10);
	dp_rx(b);
	for (uint32_t i = 0; i < 10; i++) {
		dp_offer(e, 1);
		dp_rx(b);
		assert_int_equal(expect_part(e, &o, i), 1);
		expect_none(e);
	}
	assert_int_equal(dp_port(b, 0)->held, 0);
}

static void a_joined_packet_may_end_amid_its_frames_and_go_on_later(void **state)
{
	struct offload o[2] = { offload_tcp4(5 * MSS), offload_tcp6(10 * MSS) };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	/* Room for the first packet (4 buffers), and for two frames of the second. */
	dp_offer(e, 6);
	for (uint32_t i = 0; i < 10; i++) {
		if (i < 5)
			wire(b, 0, &o[0], i, i + 1);
		wire(b, 0, &o[1], i, i + 1);
	}
	dp_rx(b);
	assert_int_equal(expect_part(e, &o[0], 0), 5);
	assert_int_equal(expect_frames(e, &o[1], 0, 2), 2);
	expect_none(e);
	assert_int_equal(dp_port(b, 0)->held, 8);
	dp_offer(e, DP_QSIZE);
	dp_rx(b);
	expect_frames(e, &o[1], 2, 10);
	expect_none(e);
}

static void a_ring_that_is_too_small_for_a_joined_packet_gets_frames(void **state)
{
	const struct offload o = offload_tcp4(10 * MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer_len(e, DP_QSIZE, 100);		/* 16 of them for each frame */
	wire(b, 0, &o, 0, 10);
	dp_rx(b);
	assert_int_equal(expect_frames(e, &o, 0, 8), 8);
	assert_int_equal(dp_port(b, 0)->held, 2);
	dp_offer_len(e, DP_QSIZE, 100);
	dp_rx(b);
	expect_frames(e, &o, 8, 10);
	assert_int_equal(dp_dropped(e->vq), 0);
	assert_int_equal(e->vq->broken, 0);
}

static void the_share_of_a_port_counts_frames_not_packets(void **state)
{
	const struct offload o = offload_tcp4(40 * MSS);
	struct offload other = offload_tcp6(30 * MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	wire(b, 0, &other, 0, 24);
	wire(b, 0, &o, 0, DP_SHARE);
	dp_rx(b);
	/* The oldest ones are gone. */
	assert_int_equal(dp_port(b, 0)->drop_hold, 24);
	assert_int_equal(dp_port(b, 0)->held, DP_SHARE);
	dp_offer(e, DP_QSIZE);
	dp_rx(b);
	expect_frames(e, &o, 0, DP_SHARE);
	expect_none(e);
}

static void frames_that_waited_too_long_are_dropped_all_of_them(void **state)
{
	const struct offload o = offload_tcp4(10 * MSS), later = offload_tcp6(3 * MSS);
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	dp_offer(e, 4);
	wire(b, 0, &o, 0, 10);
	dp_rx(b);
	assert_int_equal(expect_frames(e, &o, 0, 4), 4);
	b->now += DP_HOLD_NS + DP_MS;
	dp_rx(b);
	assert_int_equal(dp_port(b, 0)->drop_hold, 6);
	assert_int_equal(dp_port(b, 0)->held, 0);
	assert_int_equal(b->q.frames.count[FRAME_HELD], 0);
	dp_offer(e, DP_QSIZE);
	wire(b, 0, &later, 0, 3);
	dp_rx(b);
	assert_int_equal(expect_part(e, &later, 0), 3);
}

/* Two batches that wait, and more that come, while joining changes the order in which they stand in line. */
static void a_long_line_is_joined_piece_by_piece_and_loses_nothing(void **state)
{
	struct offload o[3] = { offload_tcp4(60 * MSS), offload_tcp4(60 * MSS), offload_tcp6(60 * MSS) };
	uint32_t in = 0, out[3] = { 0 };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];

	b->dp->room = 0;
	o[1].host = 9;
	o[0].seed = 5;
	o[1].seed = 6;
	while (in < 60) {
		for (unsigned n = 0; n < 15; n++, in++)
			for (unsigned k = 0; k < 3; k++)
				wire(b, 0, &o[k], in, in + 1);
		dp_rx(b);
		dp_check(b);
	}
	assert_int_equal(dp_port(b, 0)->held, 180);
	while (out[0] + out[1] + out[2] < 180) {
		dp_offer(e, 5);
		dp_rx(b);
		dp_check(b);
		while (guest_pending(&e->g)) {
			/* Whose turn it is follows from the packet: look at its address and port. */
			uint64_t at = e->addr[e->g.packed ? e->g.packed[e->g.used_idx & 0x7fff].id :
							    e->g.used->ring[e->g.used_idx & (DP_QSIZE - 1)].id];
			uint8_t head[54];
			unsigned k;

			guest_read(&e->g, at + DP_HDR, head, sizeof(head));
			k = head[12] == 0x86 ? 2 : head[29] == 9;
			out[k] += expect_part(e, &o[k], out[k]);
		}
	}
	for (unsigned k = 0; k < 3; k++)
		assert_int_equal(out[k], 60);
	assert_int_equal(dp_port(b, 0)->held, 0);
}

/* --- at random -------------------------------------------------------------- */

#define FLOWS 4

struct soak {
	uint64_t seed;
	struct offload o[FLOWS];
	uint32_t in[FLOWS], out[FLOWS];
	uint64_t joined;
};

/* A packet of one of the flows, with frames that are newer than what came before. Some may be missing in between. */
static void soak_take(struct soak *s, struct dp_end *e)
{
	struct virtio_net_hdr_v1 hdr;
	int len = dp_take_packet(e, buf, &hdr);
	struct offload part;
	uint32_t i, n;
	unsigned k;

	if (len < 0)
		return;
	k = (unsigned)(buf[offload_l4(&s->o[0]) + 1] - s->o[0].sport) % FLOWS;
	i = ((uint32_t)buf[38] << 24 | buf[39] << 16 | buf[40] << 8 | buf[41]) / MSS;
	part = s->o[k];
	part.from = i * MSS;
	part.seq = i * MSS;
	part.id = (uint16_t)i;
	part.payload = (uint32_t)len - offload_head(&part);
	n = offload_count(&part, MSS);
	assert_in_range(i, s->out[k], s->in[k] - n);
	s->out[k] = i + n;
	s->joined += n > 1;
	assert_int_equal(offload_build(want, &part, n == 1), len);
	assert_memory_equal(buf, want, len);
	assert_int_equal(hdr.gso_size, n > 1 ? MSS : 0);
}

static void soak_wire(struct dp_bed *b, struct soak *s)
{
	unsigned k = guest_random(&s->seed) % FLOWS, n = guest_random(&s->seed) % 20;
	struct offload *o = &s->o[k];

	while (n--) {
		o->from = o->seq = s->in[k] * MSS;
		o->id = (uint16_t)s->in[k];
		if (!dp_wire_bytes(b, 0, 0, buf, offload_build(buf, o, true)))
			break;
		s->in[k]++;
		if (guest_random(&s->seed) % 3 == 0) {
			k = guest_random(&s->seed) % FLOWS;
			o = &s->o[k];
		}
	}
}

static void whatever_buffers_there_are_no_frame_arrives_twice_or_out_of_order(void **state)
{
	static const uint32_t size[] = { 64, 200, 1600, DP_BUF, 20000 };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->rx[0][0];
	struct soak s = { .seed = 3 };

	for (unsigned k = 0; k < FLOWS; k++) {
		s.o[k] = offload_tcp4(MSS);
		s.o[k].sport = (uint16_t)(s.o[k].sport + k);
		s.o[k].seed = k + 1;
	}
	for (unsigned i = 0; i < 20000; i++) {
		switch (guest_random(&s.seed) % 8) {
		case 0: case 1:
			soak_wire(b, &s);
			break;
		case 2: case 3:
			dp_offer_len(e, guest_random(&s.seed) % 24, size[guest_random(&s.seed) % 5]);
			break;
		case 4: case 5:
			soak_take(&s, e);
			break;
		default:
			b->now += guest_random(&s.seed) % (2 * DP_MS);
			dp_rx(b);
		}
		if (i % 100 == 0)
			dp_check(b);
	}
	assert_true(s.joined > 300 && e->vq->stats.packets > 1000);
	assert_int_equal(e->vq->broken, 0);
	assert_int_equal(dp_dropped(e->vq), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(consecutive_segments_of_a_batch_arrive_as_one_packet),
		DP_BOTH(datagrams_of_one_size_arrive_as_one_packet),
		DP_BOTH(a_guest_that_does_not_take_joined_packets_gets_frames_as_they_came),
		DP_BOTH(flows_that_come_interleaved_keep_their_order),
		DP_BOTH(frames_that_are_not_of_a_flow_stay_where_they_are),
		DP_BOTH(segments_that_came_apart_by_more_than_the_limit_are_not_joined),
		DP_BOTH(segments_that_come_one_after_the_other_within_the_limit_are_joined),
		DP_BOTH(what_finds_too_few_buffers_joined_arrives_frame_by_frame),
		DP_BOTH(one_buffer_at_a_time_is_enough),
		DP_BOTH(a_joined_packet_may_end_amid_its_frames_and_go_on_later),
		DP_BOTH(a_ring_that_is_too_small_for_a_joined_packet_gets_frames),
		DP_BOTH(the_share_of_a_port_counts_frames_not_packets),
		DP_BOTH(frames_that_waited_too_long_are_dropped_all_of_them),
		DP_BOTH(a_long_line_is_joined_piece_by_piece_and_loses_nothing),
		DP_BOTH(whatever_buffers_there_are_no_frame_arrives_twice_or_out_of_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
