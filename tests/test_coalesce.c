/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Joining of received frames, rule by rule. Whatever else a test looks at,
 * run() cuts each joined packet again and compares the frames.
 */
#include <sanitizer/asan_interface.h>

#include "coalesce.h"

/* --- what is joined --------------------------------------------------------- */

/* Three frames become the packet that would be cut into them, with the header that says so. */
static void whole(const struct offload *o, uint32_t last)
{
	struct offload f = *o, all = *o;
	struct virtio_net_hdr_v1 h;
	uint8_t *got;

	all.payload = 2 * o->payload + last;
	stream(&f, 2);
	f.payload = last;
	add(&f);
	run(JOIN_ALL);
	assert_int_equal(c.n, 1);
	h = offload_header(&all, o->payload);
	assert_memory_equal(&c.src[0].more->hdr, &h, sizeof(h));
	assert_int_equal(c.src[0].len, offload_len(&all));
	offload_build(buf, &all, false);
	got = gather(0);
	assert_memory_equal(got, buf, offload_len(&all));
	free(got);
	expect(3);
}

static void tcp_segments_become_the_packet_that_they_were_cut_from(void **state)
{
	struct offload o = offload_tcp4(1448);

	(void)state;
	o.tcp_options = 12;
	whole(&o, 1448);
	whole(&o, 1);
	o.v6 = true;
	whole(&o, 1448);
	whole(&o, 777);
}

static void udp_datagrams_become_the_packet_that_they_were_cut_from(void **state)
{
	struct offload o = offload_udp4(1200);

	(void)state;
	whole(&o, 1200);
	whole(&o, 1);
	o.v6 = true;
	whole(&o, 1200);
	whole(&o, 3);
}

static void frames_with_tags_are_joined(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	for (o.tags = 1; o.tags <= 2; o.tags++) {
		whole(&o, 1000);
		o.udp = !o.udp;
		whole(&o, 500);
	}
}

static void the_longest_headers_are_joined(void **state)
{
	struct offload o = offload_tcp6(1000);

	(void)state;
	o.tags = 2;
	o.tcp_options = 40;
	whole(&o, 1000);
}

static void tiny_segments_are_joined(void **state)
{
	struct offload o = offload_tcp4(7);

	(void)state;
	whole(&o, 7);
	whole(&o, 1);
	o.payload = 1;
	whole(&o, 1);
}

static void a_whole_batch_is_joined(void **state)
{
	struct offload o = offload_tcp4(900);

	(void)state;
	stream(&o, VIRTQ_BATCH);
	run(JOIN_ALL);
	expect(VIRTQ_BATCH);
	o = offload_udp6(900);
	stream(&o, VIRTQ_BATCH);
	run(JOIN_ALL);
	expect(VIRTQ_BATCH);
}

static void a_joined_packet_has_at_most_64_kib(void **state)
{
	struct offload o[2] = { offload_tcp4(8948), offload_tcp6(8948) };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		stream(&o[i], 8);
		run(JOIN_ALL);
		expect(7, 1);
	}
	/* To the byte: 5 * 13099 + 40 is 65535, and 20 bytes of IPv6 more is too much. */
	for (unsigned i = 0; i < 2; i++) {
		o[i].payload = 13099;
		stream(&o[i], 5);
		run(JOIN_ALL);
		if (i)
			expect(4, 1);
		else
			expect(5);
	}
}

static void sequence_number_and_identification_may_wrap(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.seq = UINT32_MAX - 1500;
	o.id = 65534;
	whole(&o, 1000);
}

/* --- how a packet ends ------------------------------------------------------ */

static void a_shorter_segment_is_the_last(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 2);
	o.payload = 999;
	stream(&o, 3);
	run(JOIN_ALL);
	expect(3, 2);
}

static void a_longer_segment_begins_another_packet(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 2);
	o.payload = 1001;
	stream(&o, 2);
	run(JOIN_ALL);
	expect(2, 2);
	o = offload_udp4(100);
	stream(&o, 1);
	o.payload = 101;
	stream(&o, 2);
	run(JOIN_ALL);
	expect(1, 2);
}

static void psh_ends_a_packet(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 2);
	o.flags |= O_PSH;
	stream(&o, 1);
	o.flags = O_ACK;
	stream(&o, 2);
	run(JOIN_ALL);
	assert_int_equal(((uint8_t *)c.src[0].more->piece[0].iov_base)[47], O_ACK | O_PSH);
	assert_int_equal(((uint8_t *)c.src[1].more->piece[0].iov_base)[47], O_ACK);
	expect(3, 2);
}

static void a_frame_with_psh_begins_no_packet(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.flags |= O_PSH;
	stream(&o, 3);
	run(JOIN_ALL);
	expect(1, 1, 1);
}

static void a_frame_that_cannot_be_joined_ends_its_flows_packet(void **state)
{
	struct offload o = offload_tcp4(1000), ack;

	(void)state;
	stream(&o, 2);
	ack = o;
	ack.payload = 0;
	ack.ack += 5;
	add(&ack);
	stream(&o, 2);
	run(JOIN_ALL);
	expect(2, 1, 2);
}

/* --- what is not joined: TCP ------------------------------------------------ */

/* Two frames of a flow, the second of them @b: not joined. */
static void apart(const struct offload *a, const struct offload *b)
{
	add(a);
	add(b);
	run(JOIN_ALL);
	expect(1, 1);
}

static struct offload following(const struct offload *a)
{
	struct offload b = *a;

	advance(&b);
	return b;
}

static void fin_syn_rst_and_urg_are_never_joined(void **state)
{
	const uint8_t never[4] = { O_FIN, O_SYN, O_RST, O_URG };
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		b = following(&o);
		b.flags |= never[i];
		apart(&o, &b);
		b.flags = O_ACK;
		o.flags |= never[i];
		apart(&o, &b);
		b.flags = o.flags;
		apart(&o, &b);
		o.flags = O_ACK;
	}
}

static void segments_without_ack_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	o.flags = 0;
	b = following(&o);
	apart(&o, &b);
	b.flags = O_ACK;
	apart(&o, &b);
}

static void pure_acks_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(0);

	(void)state;
	stream(&o, 4);
	run(JOIN_ALL);
	expect(1, 1, 1, 1);
}

static void a_gap_or_an_overlap_in_sequence_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b = following(&o);

	(void)state;
	b.seq++;
	apart(&o, &b);
	b.seq -= 2;
	apart(&o, &b);
	b.seq = o.seq;
	apart(&o, &b);
}

static void frames_that_came_in_the_wrong_order_stay_so(void **state)
{
	struct offload o = offload_tcp4(1000), b = following(&o);

	(void)state;
	apart(&b, &o);
}

/* Changes 16 bits of frame @i, of TCP over IPv4, and its checksum so that it is right again. */
static void change(unsigned i, uint32_t at, uint16_t v)
{
	uint8_t *f = frame[i];
	uint32_t sum = ~((uint32_t)f[50] << 8 | f[51]) & 0xffff;

	sum = offload_sum(sum, (const uint8_t[]){ (uint8_t)~f[at], (uint8_t)~f[at + 1] }, 2);
	offload_put16(f + at, v);
	offload_put16(f + 50, ~offload_sum(sum, f + at, 2));
}

static void another_acknowledgement_window_or_urgent_pointer_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	b = following(&o);
	b.ack++;
	apart(&o, &b);
	b = following(&o);
	b.window++;
	apart(&o, &b);
	stream(&o, 2);
	change(1, 52, 9);
	run(JOIN_ALL);
	expect(1, 1);
}

static void other_options_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	o.tcp_options = 12;
	b = following(&o);
	b.seed++;	/* time stamp, and payload */
	apart(&o, &b);
	b = following(&o);
	b.tcp_options = 8;
	apart(&o, &b);
}

static void reserved_bits_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 2);
	change(0, 46, 0x5110);
	change(1, 46, 0x5110);
	run(JOIN_ALL);
	expect(1, 1);
}

/* --- ECN -------------------------------------------------------------------- */

static void equal_ece_is_joined_and_other_is_not(void **state)
{
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	o.flags |= O_ECE;
	stream(&o, 3);
	run(JOIN_ALL);
	assert_int_equal(c.src[0].more->hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	expect(3);
	b = following(&o);
	b.flags = O_ACK;
	apart(&o, &b);
	apart(&b, &o);
}

static void cwr_may_be_on_the_first_frame_of_a_guest_with_ecn(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.flags |= O_CWR;
	stream(&o, 1);
	o.flags = O_ACK;
	stream(&o, 2);
	run(JOIN_ALL);
	assert_int_equal(c.src[0].more->hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	run(JOIN_ALL & ~VNET_BIT(VIRTIO_NET_F_GUEST_ECN));
	expect(1, 2);
}

static void cwr_on_a_later_frame_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	stream(&o, 2);
	o.flags |= O_CWR;
	stream(&o, 2);
	run(JOIN_ALL);
	expect(2, 1, 1);
}

/* --- what is not joined: IP and below --------------------------------------- */

static void other_ethernet_addresses_or_tags_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	for (unsigned at = 0; at < 12; at++) {
		stream(&o, 2);
		frame[1][at] ^= 2;
		run(JOIN_ALL);
		expect(1, 1);
	}
	for (o.tags = 1; o.tags <= 2; o.tags++) {
		stream(&o, 2);
		frame[1][15] ^= 1;
		run(JOIN_ALL);
		expect(1, 1);
	}
}

static void another_number_of_tags_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b = following(&o);

	(void)state;
	b.tags = 1;
	apart(&o, &b);
	apart(&b, &o);
}

static void other_addresses_or_ports_are_another_flow(void **state)
{
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		o.v6 = v6;
		b = following(&o);
		b.host++;
		apart(&o, &b);
		b = following(&o);
		b.sport++;
		apart(&o, &b);
		b = following(&o);
		b.v6 = !v6;
		apart(&o, &b);
		b = following(&o);
		b.udp = true;
		apart(&o, &b);
	}
}

static void other_tos_or_ttl_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		o.v6 = v6;
		b = following(&o);
		b.tos = 2;
		apart(&o, &b);
		b = following(&o);
		b.ttl--;
		apart(&o, &b);
	}
}

static void another_flow_label_is_not_joined(void **state)
{
	struct offload o = offload_tcp6(1000);

	(void)state;
	stream(&o, 2);
	frame[1][17]++;
	run(JOIN_ALL);
	expect(1, 1);
}

static void a_gap_in_identification_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b = following(&o);

	(void)state;
	b.id++;
	apart(&o, &b);
	b.id = (uint16_t)(o.id - 1);
	apart(&o, &b);
	b.id = o.id;
	apart(&o, &b);
	o.frag = b.frag = 0x8000;	/* not DF */
	apart(&o, &b);
}

static void other_df_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b = following(&o);

	(void)state;
	b.frag = 0x4000;
	apart(&o, &b);
	apart(&b, &o);
}

static void one_identification_is_joined_with_df(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.frag = 0x4000;
	for (o.id = 0; o.id < 2; o.id++) {
		for (unsigned i = 0; i < 3; i++) {
			stream(&o, 1);
			o.id--;
		}
		run(JOIN_ALL);
		expect(3);
	}
}

static void identification_stays_as_it_began(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.frag = 0x4000;
	stream(&o, 2);
	o.id--;
	stream(&o, 1);	/* counted up, then stayed */
	run(JOIN_ALL);
	expect(2, 1);
	o.id = 7;
	stream(&o, 1);
	o.id = 7;
	stream(&o, 2);	/* stayed, then counted up */
	run(JOIN_ALL);
	expect(2, 1);
	o.id = 7;
	stream(&o, 2);
	o.id = 7;
	stream(&o, 1);	/* counted up, then began again */
	run(JOIN_ALL);
	expect(2, 1);
}

static void frames_with_padding_are_not_joined(void **state)
{
	struct offload o = offload_tcp4(1);
	uint8_t padded[60] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 3; i++, advance(&o)) {
		offload_build(padded, &o, true);
		barrier[add_raw(padded, sizeof(padded))] = false;
		what[i] = o;
	}
	run(JOIN_ALL);
	expect(1, 1, 1);
}

static void a_padded_ack_ends_its_flows_packet(void **state)
{
	struct offload o = offload_tcp4(1000), ack;
	uint8_t padded[60] = { 0 };

	(void)state;
	stream(&o, 2);
	ack = o;
	ack.payload = 0;
	offload_build(padded, &ack, true);
	what[n] = ack;
	barrier[add_raw(padded, sizeof(padded))] = false;
	stream(&o, 2);
	run(JOIN_ALL);
	expect(2, 1, 2);
}

static void lengths_that_contradict_the_frame_are_not_joined(void **state)
{
	struct offload o[3] = { offload_tcp4(1000), offload_tcp6(1000), offload_udp4(1000) };
	const uint32_t at[3] = { 17, 19, 39 };

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		for (unsigned d = 1; d < 3; d++) {
			stream(&o[k], 2);
			frame[1][at[k]] = (uint8_t)(frame[1][at[k]] + (d == 1 ? 1 : -1));
			run(JOIN_ALL);
			expect(1, 1);
		}
	}
}

static void a_wrong_udp_length_is_not_joined_even_with_a_right_checksum(void **state)
{
	struct offload o = offload_udp6(1000);

	(void)state;
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		uint8_t *udp;

		stream(&o, 2);
		udp = frame[wrong] + offload_l4(&o);
		offload_put16(udp + 4, 1007);
		/* One less there is one more here, where the complement is. */
		offload_put16(udp + 6, (uint32_t)(udp[6] << 8 | udp[7]) + 1);
		run(JOIN_ALL);
		expect(1, 1);
	}
}

/* --- checksums -------------------------------------------------------------- */

static void a_wrong_checksum_stays_alone_as_it_is(void **state)
{
	struct offload o[4] = { offload_tcp4(1000), offload_tcp6(1001), offload_udp4(1000), offload_udp6(1001) };

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		for (unsigned bad = 0; bad < 5; bad++) {
			stream(&o[k], 5);
			frame[bad][900] ^= 1;
			run(JOIN_ALL);
			switch (bad) {
			case 0:
				expect(1, 4);
				break;
			case 1:
				expect(1, 1, 3);
				break;
			case 2:
				expect(2, 1, 2);
				break;
			case 3:
				expect(3, 1, 1);
				break;
			case 4:
				expect(4, 1);
				break;
			}
		}
	}
}

static void a_wrong_ip_header_checksum_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	for (unsigned bad = 0; bad < 3; bad++) {
		stream(&o, 3);
		frame[bad][24] ^= 1;
		run(JOIN_ALL);
		assert_int_equal(c.n, bad == 1 ? 3 : 2);
		clear();
	}
}

static void the_other_zero_is_not_joined(void **state)
{
	struct offload o = offload_tcp4(1000), b;

	(void)state;
	b = following(&o);
	b.from = 0;
	offload_make_zero(&b);
	add(&o);
	add(&b);
	run(JOIN_ALL);
	assert_int_equal(c.n, 1);
	memset(frame[1] + 50, 0xff, 2);
	in[1].sums = COALESCE_UNKNOWN;
	run(JOIN_ALL);
	expect(1, 1);
}

static void a_udp_checksum_of_zero_is_not_joined(void **state)
{
	struct offload o[2] = { offload_udp4(1000), offload_udp6(1000) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned none = 0; none < 2; none++) {
			stream(&o[k], 2);
			memset(frame[none] + offload_l4(&o[k]) + 6, 0, 2);
			run(JOIN_ALL);
			expect(1, 1);
		}
	}
}

static void a_udp_checksum_of_ffff_is_joined(void **state)
{
	struct offload o = offload_udp4(1000);

	(void)state;
	offload_make_zero(&o);
	stream(&o, 2);
	run(JOIN_ALL);
	expect(2);
}

static void the_payload_of_a_frame_without_a_partner_is_not_read(void **state)
{
	struct offload o = offload_tcp4(1000), b = offload_udp6(1000), d = following(&o);

	(void)state;
	add(&o);
	add(&b);
	d.seq++;
	add(&d);
	for (unsigned i = 0; i < n; i++)
		ASAN_POISON_MEMORY_REGION(frame[i] + offload_head(&what[i]), 1000);
	coalesce_batch(&c, JOIN_ALL, in, n);
	for (unsigned i = 0; i < n; i++)
		ASAN_UNPOISON_MEMORY_REGION(frame[i] + offload_head(&what[i]), 1000);
	expect(1, 1, 1);
}

/* Frames come again while their guest has no buffers. */
static void a_frame_that_comes_again_is_not_summed_again(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	add(&o);
	o.seq += 1000;
	o.id++;
	add(&o);
	o.seq += 1000;
	o.id++;
	frame[add(&o)][offload_len(&o) - 1] ^= 1;	/* a wrong checksum is remembered, too */
	coalesce_batch(&c, JOIN_ALL, in, n);
	assert_int_equal(c.n, 2);
	for (unsigned i = 0; i < n; i++)
		ASAN_POISON_MEMORY_REGION(frame[i] + offload_head(&what[i]), 1000);
	coalesce_batch(&c, JOIN_ALL, in, n);
	for (unsigned i = 0; i < n; i++)
		ASAN_UNPOISON_MEMORY_REGION(frame[i] + offload_head(&what[i]), 1000);
	expect(2, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tcp_segments_become_the_packet_that_they_were_cut_from),
		TEST(udp_datagrams_become_the_packet_that_they_were_cut_from),
		TEST(frames_with_tags_are_joined),
		TEST(the_longest_headers_are_joined),
		TEST(tiny_segments_are_joined),
		TEST(a_whole_batch_is_joined),
		TEST(a_joined_packet_has_at_most_64_kib),
		TEST(sequence_number_and_identification_may_wrap),
		TEST(a_shorter_segment_is_the_last),
		TEST(a_longer_segment_begins_another_packet),
		TEST(psh_ends_a_packet),
		TEST(a_frame_with_psh_begins_no_packet),
		TEST(a_frame_that_cannot_be_joined_ends_its_flows_packet),
		TEST(fin_syn_rst_and_urg_are_never_joined),
		TEST(segments_without_ack_are_not_joined),
		TEST(pure_acks_are_not_joined),
		TEST(a_gap_or_an_overlap_in_sequence_is_not_joined),
		TEST(frames_that_came_in_the_wrong_order_stay_so),
		TEST(another_acknowledgement_window_or_urgent_pointer_is_not_joined),
		TEST(other_options_are_not_joined),
		TEST(reserved_bits_are_not_joined),
		TEST(equal_ece_is_joined_and_other_is_not),
		TEST(cwr_may_be_on_the_first_frame_of_a_guest_with_ecn),
		TEST(cwr_on_a_later_frame_is_not_joined),
		TEST(other_ethernet_addresses_or_tags_are_not_joined),
		TEST(another_number_of_tags_is_not_joined),
		TEST(other_addresses_or_ports_are_another_flow),
		TEST(other_tos_or_ttl_is_not_joined),
		TEST(another_flow_label_is_not_joined),
		TEST(a_gap_in_identification_is_not_joined),
		TEST(other_df_is_not_joined),
		TEST(one_identification_is_joined_with_df),
		TEST(identification_stays_as_it_began),
		TEST(frames_with_padding_are_not_joined),
		TEST(a_padded_ack_ends_its_flows_packet),
		TEST(lengths_that_contradict_the_frame_are_not_joined),
		TEST(a_wrong_udp_length_is_not_joined_even_with_a_right_checksum),
		TEST(a_wrong_checksum_stays_alone_as_it_is),
		TEST(a_frame_that_comes_again_is_not_summed_again),
		TEST(a_wrong_ip_header_checksum_is_not_joined),
		TEST(the_other_zero_is_not_joined),
		TEST(a_udp_checksum_of_zero_is_not_joined),
		TEST(a_udp_checksum_of_ffff_is_joined),
		TEST(the_payload_of_a_frame_without_a_partner_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
