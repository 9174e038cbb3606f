/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checksums and segmentation of what guests send: frames beside those that the
 * packet's description says.
 */
#include "segment.h"

/* --- TCP -------------------------------------------------------------------- */

static void tcp_over_ipv4_is_cut(void **state)
{
	struct offload o = offload_tcp4(4000);

	(void)state;
	check(&o, 1448);
}

static void tcp_over_ipv6_is_cut(void **state)
{
	struct offload o = offload_tcp6(4000);

	(void)state;
	check(&o, 1428);
}

static void the_longest_packets_are_cut(void **state)
{
	struct offload o = offload_tcp4(65535 - 40);

	(void)state;
	o.tags = 2;
	check(&o, 1400);
	o.v6 = true;
	o.payload = 65535 - 20;
	check(&o, 1400);
}

static void a_payload_that_is_a_multiple_of_gso_size_has_no_empty_frame(void **state)
{
	struct offload o = offload_tcp4(3 * 1000);

	(void)state;
	check(&o, 1000);
	assert_int_equal(plan.nframes, 3);
}

static void odd_lengths_are_cut(void **state)
{
	(void)state;
	for (uint32_t len = 1; len < 40; len++) {
		struct offload o = len & 1 ? offload_tcp4(500 + len) : offload_tcp6(500 + len);

		check(&o, 97 + len);
	}
}

static void a_gso_size_of_one_makes_a_frame_of_each_byte(void **state)
{
	struct offload o = offload_tcp4(65000);

	(void)state;
	check(&o, 1);
	assert_int_equal(plan.nframes, 65000);
}

static void ipv4_options_are_repeated(void **state)
{
	struct offload o = offload_tcp4(3000);

	(void)state;
	for (o.ip_options = 4; o.ip_options <= 40; o.ip_options += 4)
		check(&o, 700);
}

static void tcp_options_are_repeated(void **state)
{
	struct offload o = offload_tcp4(3000);

	(void)state;
	for (o.tcp_options = 4; o.tcp_options <= 40; o.tcp_options += 4)
		check(&o, 700);
}

static void vlan_tags_are_repeated(void **state)
{
	struct offload o = offload_tcp4(3000);

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		o.v6 = v6;
		for (o.tags = 0; o.tags <= 2; o.tags++)
			check(&o, 700);
	}
}

static void ipv6_extension_headers_are_repeated(void **state)
{
	struct offload o = offload_tcp6(3000);

	(void)state;
	o.next_len = 8;
	o.next[0] = O_HOP;
	for (o.nnext = 1; o.nnext <= 3; o.nnext++) {
		o.next[1] = o.next[2] = O_DSTOPTS;
		check(&o, 700);
	}
	o.nnext = 3;
	o.udp = true;
	check(&o, 700);
}

static void the_checksum_behind_a_routing_header_goes_to_the_last_stop(void **state)
{
	struct offload o = offload_tcp6(3000);

	(void)state;
	o.nnext = 1;
	o.next[0] = O_ROUTING;
	o.next_len = 24;
	check(&o, 700);
}

static void the_longest_extension_headers_are_repeated(void **state)
{
	struct offload o = offload_tcp6(3000);

	(void)state;
	o.nnext = 1;
	o.next[0] = O_DSTOPTS;
	o.next_len = 248;
	o.tags = 2;
	o.tcp_options = 40;
	check(&o, 700);
}

static void headers_longer_than_we_look_at_are_refused(void **state)
{
	struct offload o = offload_tcp6(3000);
	struct virtq_pkt p;

	(void)state;
	o.nnext = 2;
	o.next[0] = o.next[1] = O_DSTOPTS;
	o.next_len = 240;
	p = packet_of(&o, 700);
	refused(&p, VIRTQ_DROP_OFFLOAD);
}

static void fin_and_psh_are_on_the_last_frame_only(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p;
	uint8_t *first, *last;

	(void)state;
	o.flags = O_ACK | O_PSH | O_FIN | O_ECE;
	check(&o, 1000);
	p = packet_of(&o, 1000);
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	first = frame(&p, 0);
	last = frame(&p, 2);
	assert_int_equal(first[47], O_ACK | O_ECE);
	assert_int_equal(last[47], O_ACK | O_PSH | O_FIN | O_ECE);
	free(first);
	free(last);
}

static void cwr_is_on_the_first_frame_only(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p;
	uint8_t *first, *second;

	(void)state;
	o.flags = O_ACK | O_CWR;
	p = packet_of(&o, 1000);
	assert_int_equal(p.hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	check_packet(&p, &o, 1000, WIRE);
	first = frame(&p, 0);
	second = frame(&p, 1);
	assert_int_equal(first[47], O_ACK | O_CWR);
	assert_int_equal(second[47], O_ACK);
	free(first);
	free(second);
}

static void identification_and_sequence_number_wrap(void **state)
{
	struct offload o = offload_tcp4(5000);

	(void)state;
	o.id = 65534;
	o.seq = UINT32_MAX - 1500;
	check(&o, 1000);
}

/* A packet over IPv4 whose first frame sums up to zero: that has @want in its checksum field, @at bytes behind IP. */
static void check_zero(struct offload o, uint32_t at, const char want[2])
{
	struct offload f = offload_cut(&o, 1000, 0);
	struct virtq_pkt p;
	uint8_t *got;

	offload_make_zero(&f);
	o.fixed = true;
	o.tweak = f.tweak;
	p = packet_of(&o, 1000);
	check_packet(&p, &o, 1000, WIRE);
	got = frame(&p, 0);
	assert_memory_equal(got + 14 + 20 + at, want, 2);
	free(got);
}

static void a_tcp_checksum_of_zero_stays_zero_in_a_packet_that_is_cut(void **state)
{
	(void)state;
	check_zero(offload_tcp4(2000), 16, "\0\0");
}

static void tcp_is_cut_to_what_the_wire_takes(void **state)
{
	struct offload o = offload_tcp4(8000);
	struct virtq_pkt p = packet_of(&o, 8960);

	(void)state;
	check_packet(&p, &o, 1460, WIRE);
	o.tags = 1;
	p = packet_of(&o, 8960);
	check_packet(&p, &o, 1460, WIRE);
	assert_int_equal(plan.frame_len, WIRE);
	o.tags = 2;
	p = packet_of(&o, 8960);
	check_packet(&p, &o, 1456, WIRE);
	assert_int_equal(plan.frame_len, WIRE);
}

static void a_frame_without_a_tag_does_not_use_the_room_of_the_tag(void **state)
{
	struct offload o = offload_tcp4(1461);
	struct virtq_pkt p = packet_of(&o, 1461);

	(void)state;
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	assert_int_equal(plan.nframes, 2);
	assert_int_equal(plan.frame_len, WIRE - 4);
}

static void headers_that_fill_the_wire_are_too_long(void **state)
{
	struct offload o = offload_tcp4(100);
	struct virtq_pkt p = packet_of(&o, 10);

	(void)state;
	for (uint32_t max = 0; max <= 58; max++)
		assert_int_equal(segment_plan(&plan, &p, max), VIRTQ_DROP_LONG);
	check_packet(&p, &o, 1, 59);
}

static void a_payload_of_gso_size_is_one_frame_with_its_checksum_finished(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	o.flags = O_ACK | O_PSH | O_CWR;
	for (o.payload = 0; o.payload <= 1000; o.payload += 250) {
		check(&o, 1000);
		assert_int_equal(plan.nframes, 1);
		assert_int_equal(plan.frame_len, offload_len(&o));
	}
}

/* --- UDP -------------------------------------------------------------------- */

static void udp_over_ipv4_is_cut(void **state)
{
	struct offload o = offload_udp4(10000);

	(void)state;
	check(&o, 1200);
}

static void udp_over_ipv6_is_cut(void **state)
{
	struct offload o = offload_udp6(10001);

	(void)state;
	o.tags = 1;
	check(&o, 1200);
}

static void a_udp_checksum_of_zero_becomes_ffff_in_a_packet_that_is_cut(void **state)
{
	(void)state;
	check_zero(offload_udp4(2000), 6, "\xff\xff");
}

static void a_datagram_longer_than_the_wire_takes_is_dropped(void **state)
{
	struct offload o = offload_udp4(5000);
	struct virtq_pkt p = packet_of(&o, WIRE - 42);

	(void)state;
	check_packet(&p, &o, WIRE - 42, WIRE);
	p.hdr.gso_size++;
	refused(&p, VIRTQ_DROP_LONG);
	p.hdr.gso_size = 5000;
	refused(&p, VIRTQ_DROP_LONG);
}

/* --- checksum only ---------------------------------------------------------- */

static void a_checksum_is_finished(void **state)
{
	struct offload o[4] = { offload_tcp4(333), offload_tcp6(0), offload_udp4(1), offload_udp6(1400) };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		for (o[i].tags = 0; o[i].tags <= 2; o[i].tags++) {
			check(&o[i], 0);
			assert_int_equal(plan.csum_start, offload_l4(&o[i]));
			assert_int_equal(plan.csum_offset, i < 2 ? 16 : 6);
		}
	}
}

static void a_checksum_of_zero_becomes_ffff(void **state)
{
	struct offload o = offload_udp4(100);
	struct virtq_pkt p;
	uint8_t *got;

	(void)state;
	for (unsigned tcp = 0; tcp < 2; tcp++) {
		o.udp = !tcp;
		offload_make_zero(&o);
		p = packet_of(&o, 0);
		assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
		got = frame(&p, 0);
		assert_memory_equal(got + 34 + p.hdr.csum_offset, "\xff\xff", 2);
		free(got);
	}
}

static void a_packet_that_asks_for_nothing_stays_as_it_is(void **state)
{
	struct offload o = offload_udp4(100);
	struct virtq_pkt p = packet_of(&o, 0);
	uint8_t *got;

	(void)state;
	p.hdr.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	assert_int_equal(plan.nframes, 1);
	assert_int_equal(plan.csum_start, 0);
	assert_int_equal(plan.csum_offset, 0);
	got = frame(&p, 0);
	assert_memory_equal(got, packet, p.len);
	free(got);
}

/* Any protocol: from @start on, summed in the plainest way. */
static void plain(uint32_t len, uint16_t start, uint16_t offset)
{
	uint8_t data[256];
	struct virtq_pkt p;
	uint32_t sum;
	uint8_t *got;

	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 89 + len);
	memcpy(data + 12, "\x88\xb5", 2);
	p = raw(data, len);
	p.hdr = (struct virtio_net_hdr_v1){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = start,
					    .csum_offset = offset };
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	got = frame(&p, 0);
	sum = 0xffff & ~offload_sum(0, data + start, len - start);
	offload_put16(data + start + offset, sum ? sum : 0xffff);
	assert_memory_equal(got, data, len);
	free(got);
}

static void a_checksum_may_be_anywhere_in_a_packet_of_any_protocol(void **state)
{
	(void)state;
	for (uint16_t start = SEGMENT_MIN_START; start <= 98; start++) {
		for (uint16_t offset = 0; start + offset <= 98; offset++) {
			plain(100, start, offset);
			plain(101, start, offset);
		}
	}
}

static void a_checksum_field_outside_the_packet_is_refused(void **state)
{
	struct offload o = offload_udp4(100);
	struct virtq_pkt p = packet_of(&o, 0);
	uint16_t len = (uint16_t)p.len;
	uint16_t bad[][2] = { { 0, 0 }, { 13, 20 }, { 21, 20 }, { 34, len - 35 }, { len - 1, 0 }, { 34, 65502 },
			      { 65535, 3 }, { 65535, 65535 }, { 34, 65535 } };

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		p.hdr.csum_start = bad[i][0];
		p.hdr.csum_offset = bad[i][1];
		refused(&p, VIRTQ_DROP_OFFLOAD);
	}
	p.hdr.csum_start = 34;
	p.hdr.csum_offset = (uint16_t)(p.len - 36);
	refused(&p, VIRTQ_OK);
}

static void a_checksum_never_changes_addresses_or_tags(void **state)
{
	static const uint8_t data[60];
	struct virtq_pkt p = raw(data, sizeof(data));

	(void)state;
	p.hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	for (uint16_t start = 0; start < 14 + 8; start++) {
		p.hdr.csum_start = start;
		for (p.hdr.csum_offset = 0; p.hdr.csum_offset < 40; p.hdr.csum_offset++)
			refused(&p, VIRTQ_DROP_OFFLOAD);
	}
}

/* --- left to the device ----------------------------------------------------- */

/* Finishes a frame as a device does that is told where. */
static void finish(uint8_t *f, uint32_t len, bool udp)
{
	uint32_t sum = 0xffff & ~offload_sum(0, f + plan.csum_start, len - plan.csum_start);

	offload_put16(f + plan.csum_start + plan.csum_offset, udp && !sum ? 0xffff : sum);
}

static void a_checksum_left_to_the_device_is_finished_from_the_pseudo_header(void **state)
{
	struct offload o[5] = { offload_tcp4(4001), offload_tcp6(4001), offload_udp4(4001), offload_udp6(4001),
				offload_udp4(800) };

	(void)state;
	for (unsigned k = 0; k < 5; k++) {
		struct virtq_pkt p = packet_of(&o[k], 1000);

		assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
		assert_false(plan.leave_checksum);
		plan.leave_checksum = true;
		for (uint32_t i = 0; i < plan.nframes; i++) {
			struct offload f = offload_cut(&o[k], 1000, i);
			uint8_t *got = frame(&p, i);

			offload_build(want, &f, false);
			assert_memory_equal(got, want, segment_len(&plan, i));
			offload_build(want, &f, true);
			finish(got, segment_len(&plan, i), f.udp);
			assert_memory_equal(got, want, segment_len(&plan, i));
			free(got);
		}
	}
}

/* --- pieces ----------------------------------------------------------------- */

static void pieces_of_one_byte_work(void **state)
{
	struct offload o = offload_tcp6(3000);
	struct virtq_pkt p;
	uint64_t seed = 1;

	(void)state;
	o.tags = 1;
	p = packet_of(&o, 1000);
	scatter(&p, 1, &seed);
	check_packet(&p, &o, 1000, WIRE);
	o = offload_udp4(777);
	p = packet_of(&o, 0);
	scatter(&p, 1, &seed);
	check_packet(&p, &o, 777, WIRE);
}

static void pieces_of_any_length_work(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (unsigned k = 0; k < 200; k++) {
		struct offload o = k & 1 ? offload_tcp4(number(&seed) % 9000) : offload_udp6(number(&seed) % 9000);
		uint32_t mss = number(&seed) % 1300 + 1;
		struct virtq_pkt p = packet_of(&o, mss);

		scatter(&p, number(&seed) % 3000 + 1, &seed);
		check_packet(&p, &o, mss, WIRE);
	}
}

static void an_empty_piece_is_passed_over(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p = packet_of(&o, 1000);

	(void)state;
	piece[0] = (struct iovec){ packet, 0 };
	piece[1] = (struct iovec){ packet, 100 };
	piece[2] = (struct iovec){ packet + 100, 0 };
	piece[3] = (struct iovec){ packet + 100, p.len - 100 };
	p.npieces = 4;
	check_packet(&p, &o, 1000, WIRE);
}

static void frames_may_be_written_in_any_order(void **state)
{
	struct offload o = offload_tcp4(20000);
	struct virtq_pkt p = packet_of(&o, 100);
	uint64_t seed = 5;

	(void)state;
	scatter(&p, 300, &seed);
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	for (uint32_t i = plan.nframes; i-- > 0;)
		check_frame(&p, &o, 100, i);
	for (uint32_t k = 0; k < 300; k++)
		check_frame(&p, &o, 100, number(&seed) % plan.nframes);
}

/* Writes frame @i into pieces of even length, the last of any, each a buffer of its own. */
static void write_scattered(const struct virtq_pkt *p, uint32_t i, uint8_t *got, uint64_t *seed)
{
	uint32_t len = segment_len(&plan, i), at = 0;
	struct iovec to[2048] = { 0 };
	unsigned n = 0;

	while (at < len) {
		uint32_t part = number(seed) % 40 * 2 + 2;

		if (part >= len - at)
			part = len - at;
		to[n++] = (struct iovec){ malloc(part), part };
		at += part;
	}
	segment_write(&plan, p, i, to, n);
	for (unsigned k = 0; k < n; k++) {
		memcpy(got, to[k].iov_base, to[k].iov_len);
		got += to[k].iov_len;
		free(to[k].iov_base);
	}
}

static void a_frame_may_go_into_several_pieces(void **state)
{
	struct offload o[3] = { offload_tcp6(5001), offload_udp4(5001), offload_udp4(1401) };
	static uint8_t got[OFFLOAD_MAX];
	uint64_t seed = 3;

	(void)state;
	for (unsigned k = 0; k < 300; k++) {
		const struct offload *q = &o[k % 3];
		uint32_t mss = 1401 - k;
		struct virtq_pkt p = packet_of(q, mss);

		if (k & 8)
			scatter(&p, 500, &seed);
		assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
		for (uint32_t i = 0; i < plan.nframes; i++) {
			struct offload f = offload_cut(q, mss, i);

			offload_build(want, &f, true);
			write_scattered(&p, i, got, &seed);
			assert_memory_equal(got, want, segment_len(&plan, i));
		}
	}
}

static void a_checksum_field_may_lie_in_two_pieces(void **state)
{
	uint8_t data[80], got[80];
	struct iovec to[2] = { { got, 50 }, { got + 50, 30 } };
	struct virtq_pkt p;

	(void)state;
	memset(data, 0x35, sizeof(data));
	p = raw(data, sizeof(data));
	p.hdr = (struct virtio_net_hdr_v1){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 33, .csum_offset = 16 };
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	segment_write(&plan, &p, 0, to, 2);
	offload_put16(data + 49, ~offload_sum(0, data + 33, 80 - 33));
	assert_memory_equal(got, data, 80);
}

static void room_beyond_the_frame_is_left_alone(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p = packet_of(&o, 1000);
	uint8_t got[2048];
	struct iovec to[2] = { { got, 600 }, { got + 600, sizeof(got) - 600 } };

	(void)state;
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	memset(got, 0xee, sizeof(got));
	segment_write(&plan, &p, 0, to, 2);
	for (uint32_t i = segment_len(&plan, 0); i < sizeof(got); i++)
		assert_int_equal(got[i], 0xee);
}

static void headers_that_change_after_the_plan_change_nothing(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p = packet_of(&o, 1000);

	(void)state;
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	memset(packet, 0xff, 54);
	for (uint32_t i = 0; i < plan.nframes; i++)
		check_frame(&p, &o, 1000, i);
}

static void payload_that_changes_is_summed_as_it_was_written(void **state)
{
	struct offload o = offload_tcp4(2000), f = offload_cut(&o, 1000, 1);
	struct virtq_pkt p = packet_of(&o, 1000);
	uint8_t *got;

	(void)state;
	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	packet[1054] ^= 0x55;
	got = frame(&p, 1);
	offload_build(want, &f, true);
	want[54] ^= 0x55;
	want[50] = want[51] = 0;
	/* The pseudo header once more: 192.168.7.1, 192.168.7.200, TCP, 1020 bytes. */
	offload_put16(want + 50, ~offload_sum(offload_sum(6 + 1020, want + 26, 8), want + 34, 1020));
	assert_memory_equal(got, want, 1054);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_over_ipv4_is_cut),
		cmocka_unit_test(tcp_over_ipv6_is_cut),
		cmocka_unit_test(the_longest_packets_are_cut),
		cmocka_unit_test(a_payload_that_is_a_multiple_of_gso_size_has_no_empty_frame),
		cmocka_unit_test(odd_lengths_are_cut),
		cmocka_unit_test(a_gso_size_of_one_makes_a_frame_of_each_byte),
		cmocka_unit_test(ipv4_options_are_repeated),
		cmocka_unit_test(tcp_options_are_repeated),
		cmocka_unit_test(vlan_tags_are_repeated),
		cmocka_unit_test(ipv6_extension_headers_are_repeated),
		cmocka_unit_test(the_checksum_behind_a_routing_header_goes_to_the_last_stop),
		cmocka_unit_test(the_longest_extension_headers_are_repeated),
		cmocka_unit_test(headers_longer_than_we_look_at_are_refused),
		cmocka_unit_test(fin_and_psh_are_on_the_last_frame_only),
		cmocka_unit_test(cwr_is_on_the_first_frame_only),
		cmocka_unit_test(identification_and_sequence_number_wrap),
		cmocka_unit_test(a_tcp_checksum_of_zero_stays_zero_in_a_packet_that_is_cut),
		cmocka_unit_test(tcp_is_cut_to_what_the_wire_takes),
		cmocka_unit_test(a_frame_without_a_tag_does_not_use_the_room_of_the_tag),
		cmocka_unit_test(headers_that_fill_the_wire_are_too_long),
		cmocka_unit_test(a_payload_of_gso_size_is_one_frame_with_its_checksum_finished),
		cmocka_unit_test(udp_over_ipv4_is_cut),
		cmocka_unit_test(udp_over_ipv6_is_cut),
		cmocka_unit_test(a_udp_checksum_of_zero_becomes_ffff_in_a_packet_that_is_cut),
		cmocka_unit_test(a_datagram_longer_than_the_wire_takes_is_dropped),
		cmocka_unit_test(a_checksum_is_finished),
		cmocka_unit_test(a_checksum_of_zero_becomes_ffff),
		cmocka_unit_test(a_packet_that_asks_for_nothing_stays_as_it_is),
		cmocka_unit_test(a_checksum_may_be_anywhere_in_a_packet_of_any_protocol),
		cmocka_unit_test(a_checksum_field_outside_the_packet_is_refused),
		cmocka_unit_test(a_checksum_never_changes_addresses_or_tags),
		cmocka_unit_test(a_checksum_left_to_the_device_is_finished_from_the_pseudo_header),
		cmocka_unit_test(pieces_of_one_byte_work),
		cmocka_unit_test(pieces_of_any_length_work),
		cmocka_unit_test(an_empty_piece_is_passed_over),
		cmocka_unit_test(frames_may_be_written_in_any_order),
		cmocka_unit_test(a_frame_may_go_into_several_pieces),
		cmocka_unit_test(a_checksum_field_may_lie_in_two_pieces),
		cmocka_unit_test(room_beyond_the_frame_is_left_alone),
		cmocka_unit_test(headers_that_change_after_the_plan_change_nothing),
		cmocka_unit_test(payload_that_changes_is_summed_as_it_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, cleanup);
}
