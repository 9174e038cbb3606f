/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Joining of received frames: flows that mix, what nothing passes, what was
 * negotiated, frames in pieces, and flows at random.
 */
#include "coalesce.h"

/* --- several flows ---------------------------------------------------------- */

static void flows_that_interleave_are_each_joined(void **state)
{
	const uint8_t order[9] = { 0, 3, 6, 1, 4, 7, 2, 5, 8 };
	struct offload a = offload_tcp4(1000), b = offload_tcp6(800), u = offload_udp4(600);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		stream(&a, 1);
		stream(&b, 1);
		stream(&u, 1);
	}
	run(JOIN_ALL);
	assert_memory_equal(c.order, order, 9);
	expect(3, 3, 3);
}

static void flows_that_differ_in_one_port_do_not_mix(void **state)
{
	struct offload a = offload_tcp4(1000), b = a;

	(void)state;
	b.sport++;
	for (unsigned i = 0; i < 4; i++) {
		stream(&a, 1);
		stream(&b, 1);
	}
	run(JOIN_ALL);
	expect(4, 4);
}

static void more_flows_than_can_be_open_keep_their_order(void **state)
{
	struct offload o[COALESCE_OPEN + 1];

	(void)state;
	for (unsigned k = 0; k <= COALESCE_OPEN; k++) {
		o[k] = offload_tcp4(100);
		o[k].host = (uint8_t)k;
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < COALESCE_OPEN; k++)
			stream(&o[k], 1);
	}
	run(JOIN_ALL);
	expect(2, 2, 2, 2, 2, 2, 2, 2);
	/* The ninth closes the first, whose second frame closes the second, and so on. */
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k <= COALESCE_OPEN; k++)
			stream(&o[k], 1);
	}
	run(JOIN_ALL);
	assert_int_equal(c.n, 2 * (COALESCE_OPEN + 1));
}

static void a_frame_that_is_alone_leaves_other_flows_open(void **state)
{
	struct offload a = offload_tcp4(1000), b = offload_tcp4(0);

	(void)state;
	b.host = 9;
	stream(&a, 2);
	add(&b);
	stream(&a, 2);
	run(JOIN_ALL);
	expect(4, 1);
}

/* --- barriers --------------------------------------------------------------- */

/* Frame 2 of five is made into something that nothing passes. */
static void nothing_passes(const uint8_t *data, uint32_t len)
{
	static uint8_t copy[OFFLOAD_MAX];
	struct offload o = offload_tcp4(1000);

	memcpy(copy, data, len);	/* which may be in buf */
	stream(&o, 2);
	add_raw(copy, len);
	stream(&o, 2);
	run(JOIN_ALL);
	expect(2, 1, 2);
}

static void nothing_passes_arp(void **state)
{
	const uint8_t arp[42] = { [12] = 8, [13] = 6 };

	(void)state;
	nothing_passes(arp, sizeof(arp));
}

static void nothing_passes_icmp(void **state)
{
	struct offload o = offload_udp4(1000);

	(void)state;
	offload_build(buf, &o, true);
	buf[23] = 1;
	nothing_passes(buf, offload_len(&o));
	o.v6 = true;
	offload_build(buf, &o, true);
	buf[20] = 58;
	nothing_passes(buf, offload_len(&o));
}

static void nothing_passes_a_fragment(void **state)
{
	struct offload o = offload_udp4(1000);

	(void)state;
	o.frag = 0x2000;
	nothing_passes(buf, offload_build(buf, &o, true));
	o.frag = 100;
	nothing_passes(buf, offload_build(buf, &o, true));
	o.v6 = true;
	o.nnext = 1;
	o.next[0] = O_FRAGMENT;
	o.next_len = 8;
	nothing_passes(buf, offload_build(buf, &o, true));
}

static void nothing_passes_ip_options_and_extension_headers(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.ip_options = 4;
	nothing_passes(buf, offload_build(buf, &o, true));
	o.v6 = true;
	o.nnext = 1;
	o.next[0] = O_HOP;
	o.next_len = 8;
	nothing_passes(buf, offload_build(buf, &o, true));
}

static void nothing_passes_truncated_frames(void **state)
{
	struct offload o[2] = { offload_tcp4(0), offload_udp6(0) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		for (uint32_t len = 0; len < offload_len(&o[k]); len++) {
			offload_build(buf, &o[k], true);
			nothing_passes(buf, len);
		}
	}
}

static void nothing_passes_three_tags(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.tags = 3;
	nothing_passes(buf, offload_build(buf, &o, true));
}

/* --- negotiation ------------------------------------------------------------ */

static void without_negotiation_nothing_is_joined(void **state)
{
	const uint64_t gso = VNET_GUEST_GSO;
	const uint64_t features[4] = { 0, gso, gso | VNET_BIT(VIRTIO_NET_F_GUEST_CSUM),
				       gso | VNET_BIT(VIRTIO_NET_F_MRG_RXBUF) };
	struct offload o = offload_tcp4(1000);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_false(coalesce_wanted(features[i]));
		stream(&o, 3);
		run(features[i]);
		expect(1, 1, 1);
	}
	assert_false(coalesce_wanted(JOIN_BASE));
	stream(&o, 3);
	run(JOIN_BASE);
	expect(1, 1, 1);
}

static void only_what_was_negotiated_is_joined(void **state)
{
	const unsigned bit[4] = { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4,
				  VIRTIO_NET_F_GUEST_USO6 };

	(void)state;
	for (unsigned f = 0; f < 4; f++) {
		struct offload o[4] = { offload_tcp4(1000), offload_tcp6(1000), offload_udp4(1000),
					offload_udp6(1000) };

		assert_true(coalesce_wanted(JOIN_BASE | VNET_BIT(bit[f])));
		for (unsigned k = 0; k < 4; k++)
			stream(&o[k], 2);
		run(JOIN_BASE | VNET_BIT(bit[f]));
		assert_int_equal(c.n, 7);
		for (unsigned p = 0; p < 7; p++)
			assert_int_equal(c.frames[p], p == 2 * f ? 2 : 1);
		clear();
	}
}

static void frames_that_are_never_joined_for_this_guest_are_passed(void **state)
{
	struct offload a = offload_tcp4(1000), u = offload_udp4(1000);

	(void)state;
	stream(&a, 1);
	stream(&u, 1);
	stream(&a, 1);
	run(JOIN_BASE | VNET_BIT(VIRTIO_NET_F_GUEST_TSO4));
	expect(2, 1);
}

/* --- time ------------------------------------------------------------------- */

static void frames_that_came_far_apart_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 6);
	for (unsigned i = 0; i < n; i++)
		in[i].when = UINT32_MAX - 1 + i * COALESCE_IDLE + (i >= 4);	/* wraps */
	run(JOIN_ALL);
	expect(4, 2);
	stream(&o, 2);
	in[1].when = in[0].when - COALESCE_IDLE;
	run(JOIN_ALL);
	assert_int_equal(c.n, 1);
	in[1].when--;
	run(JOIN_ALL);
	expect(1, 1);
}

/* --- pieces ----------------------------------------------------------------- */

static void frames_in_pieces_are_joined(void **state)
{
	struct offload o = offload_tcp6(1001);

	(void)state;
	for (uint32_t rest = 1; rest < 50; rest++) {
		stream(&o, 3);
		cut_frame(0, offload_head(&o) + rest - 1, 40 + rest);	/* the first time not a byte of payload */
		cut_frame(1, 500, 101);
		run(JOIN_ALL);
		expect(3);
	}
}

static void a_lone_frame_in_pieces_has_an_empty_header(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 1);
	cut_frame(0, 500, 300);
	add_arp();
	cut_frame(1, 20, 10);
	run(JOIN_ALL);	/* looks at it */
	expect(1, 1);
}

static void headers_in_two_pieces_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 3);
	cut_frame(1, 53, 500);
	run(JOIN_ALL);
	expect(1, 1, 1);
}

static void a_packet_ends_when_the_pieces_run_out(void **state)
{
	struct offload o = offload_tcp4(1000);
	unsigned frames;

	(void)state;
	stream(&o, VIRTQ_BATCH);
	for (unsigned i = 0; i < n; i++)
		cut_frame(i, 100, 100);
	frames = (COALESCE_PIECES - 1) / in[0].npieces;
	run(JOIN_ALL);
	assert_int_equal(c.frames[0], frames);
	assert_int_equal(c.n, VIRTQ_BATCH - frames + 1);
	clear();
}

static void an_empty_batch_is_no_packets(void **state)
{
	(void)state;
	run(JOIN_ALL);
	assert_int_equal(c.n, 0);
}

static void a_frame_without_pieces_is_passed_on(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	in[0] = (struct coalesce_in){ 0 };
	in[1] = (struct coalesce_in){ 0 };
	assert_int_equal(coalesce_batch(&c, JOIN_ALL, in, 2), 2);
	assert_int_equal(c.src[0].len, 0);
	stream(&o, 2);
	run(JOIN_ALL);
	expect(2);
}

/* --- at random -------------------------------------------------------------- */

/* Something that ends a run, now and then. */
static void disturb(struct offload *o, uint64_t *seed)
{
	switch (number(seed) % 24) {
	case 0:
		o->flags ^= O_PSH;
		break;
	case 1:
		o->flags ^= O_CWR;
		break;
	case 2:
		o->flags ^= O_ECE;
		break;
	case 3:
		o->ack++;
		break;
	case 4:
		o->payload = number(seed) % 1400;
		break;
	case 5:
		o->seq += number(seed) % 3;
		break;
	case 6:
		o->id = (uint16_t)(o->id + number(seed) % 3);
		break;
	case 7:
		o->flags ^= O_FIN;
		break;
	case 8:
		o->tos ^= 2;
		break;
	case 9:
		o->tags = number(seed) % 3;
		break;
	case 10:
		o->frag ^= 0x4000;
		break;
	case 11:
		o->tcp_options = number(seed) % 4 * 4;
		break;
	case 12:
		o->payload = 1000;
		o->flags = O_ACK;
		break;
	}
}

static struct offload some_flow(uint64_t *seed)
{
	struct offload o = offload_tcp4(number(seed) % 3 ? 1000 : number(seed) % 1400);

	o.v6 = number(seed) & 1;
	o.udp = number(seed) % 3 == 0;
	o.host = (uint8_t)(number(seed) % 250);
	o.id = (uint16_t)number(seed);
	o.seq = number(seed);
	o.seed = number(seed);
	o.tags = number(seed) % 6 ? 0 : number(seed) % 3;
	o.frag = number(seed) & 1 ? 0x4000 : 0;
	o.tcp_options = number(seed) & 1 ? 12 : 0;
	return o;
}

/* Return: how many frames were joined to one before them. */
static unsigned random_batch(uint64_t *seed)
{
	unsigned flows = number(seed) % 11 + 1, left = number(seed) % VIRTQ_BATCH + 1, now = number(seed);
	bool quiet = number(seed) & 1;
	struct offload o[11];
	unsigned joined;

	for (unsigned k = 0; k < flows; k++)
		o[k] = some_flow(seed);
	for (; left; left--) {
		struct offload *f = &o[number(seed) % flows];
		unsigned i;

		if (!quiet)
			disturb(f, seed);
		i = number(seed) % 40 ? add(f) : add_arp();
		if (!barrier[i])
			advance(f);
		if (!quiet && number(seed) % 4 == 0)
			f->id--;
		if (number(seed) % 8 == 0)
			cut_frame(i, number(seed) % 400 + 20, number(seed) % 600 + 30);
		if (!quiet && number(seed) % 20 == 0)
			frame[i][number(seed) % in[i].len] ^= (uint8_t)number(seed);
		/* A frame that was changed may be of no flow, or of another, by now. */
		if (memcmp(frame[i], buf, in[i].len))
			what[i].sport = (uint16_t)(5000 + i);
		now += number(seed) % 20 ? 0 : number(seed) % 3;
		in[i].when = now;
	}
	run(number(seed) % 8 ? JOIN_ALL : JOIN_BASE | (number(seed) * 0x2001ull & VNET_GUEST_OFFLOADS));
	joined = n - c.n;
	clear();
	return joined;
}

static void whatever_is_joined_can_be_cut_again(void **state)
{
	uint64_t seed = 20;
	unsigned joined = 0;

	(void)state;
	for (unsigned i = 0; i < 4000; i++)
		joined += random_batch(&seed);
	assert_true(joined > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(flows_that_interleave_are_each_joined),
		TEST(flows_that_differ_in_one_port_do_not_mix),
		TEST(more_flows_than_can_be_open_keep_their_order),
		TEST(a_frame_that_is_alone_leaves_other_flows_open),
		TEST(nothing_passes_arp),
		TEST(nothing_passes_icmp),
		TEST(nothing_passes_a_fragment),
		TEST(nothing_passes_ip_options_and_extension_headers),
		TEST(nothing_passes_truncated_frames),
		TEST(nothing_passes_three_tags),
		TEST(without_negotiation_nothing_is_joined),
		TEST(only_what_was_negotiated_is_joined),
		TEST(frames_that_are_never_joined_for_this_guest_are_passed),
		TEST(frames_that_came_far_apart_are_not_joined),
		TEST(frames_in_pieces_are_joined),
		TEST(a_lone_frame_in_pieces_has_an_empty_header),
		TEST(headers_in_two_pieces_are_not_joined),
		TEST(a_packet_ends_when_the_pieces_run_out),
		TEST(an_empty_batch_is_no_packets),
		TEST(a_frame_without_pieces_is_passed_on),
		TEST(whatever_is_joined_can_be_cut_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
