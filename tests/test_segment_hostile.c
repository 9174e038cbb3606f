/* SPDX-License-Identifier: BSD-2-Clause */
/* Segmentation of packets whose headers lie: each is dropped with the right reason. */
#include "segment.h"

/* One 16-bit field of a good packet is changed, the packet refused. */
static void bad16(const struct offload *o, uint32_t at, uint16_t v)
{
	struct virtq_pkt p = packet_of(o, 1000);

	assert_int_equal(segment_plan(&plan, &p, WIRE), VIRTQ_OK);
	offload_put16(packet + at, v);
	refused(&p, VIRTQ_DROP_OFFLOAD);
}

static void a_frame_shorter_than_ethernet_is_refused(void **state)
{
	static const uint8_t data[14];

	(void)state;
	for (uint32_t len = 0; len <= 14; len++) {
		struct virtq_pkt p = raw(data, len);

		refused(&p, len < 14 ? VIRTQ_DROP_SHORT : VIRTQ_OK);
	}
}

static void a_packet_longer_than_the_wire_takes_is_refused(void **state)
{
	struct offload o = offload_udp4(WIRE - 42);
	struct virtq_pkt p = packet_of(&o, 0);

	(void)state;
	check(&o, 0);
	o.payload++;
	p = packet_of(&o, 0);
	refused(&p, VIRTQ_DROP_LONG);
	p.hdr.flags = 0;
	refused(&p, VIRTQ_DROP_LONG);
}

static void gso_without_a_partial_checksum_is_refused(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p = packet_of(&o, 1000);

	(void)state;
	p.hdr.flags = 0;
	refused(&p, VIRTQ_DROP_OFFLOAD);
}

static void a_gso_size_of_zero_is_refused(void **state)
{
	struct offload o[2] = { offload_tcp4(3000), offload_udp6(3000) };
	struct virtq_pkt p;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		p = packet_of(&o[i], 1000);
		p.hdr.gso_size = 0;
		refused(&p, VIRTQ_DROP_OFFLOAD);
	}
}

static void an_unknown_gso_type_is_refused(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p = packet_of(&o, 1000);

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		p.hdr.gso_type = (uint8_t)type;
		if (type && (type & 0x7f) != VIRTIO_NET_HDR_GSO_TCPV4)
			refused(&p, VIRTQ_DROP_OFFLOAD);
	}
}

static void a_gso_type_of_another_protocol_is_refused(void **state)
{
	const uint8_t type[3] = { VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP_L4 };
	struct offload o[4] = { offload_tcp4(3000), offload_tcp6(3000), offload_udp4(3000), offload_udp6(3000) };

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		for (unsigned i = 0; i < 3; i++) {
			struct virtq_pkt p = packet_of(&o[k], 1000);
			bool good = type[i] == p.hdr.gso_type;

			p.hdr.gso_type = type[i];
			refused(&p, good ? VIRTQ_OK : VIRTQ_DROP_OFFLOAD);
		}
	}
}

static void ecn_of_udp_is_refused(void **state)
{
	struct offload o = offload_udp4(3000);
	struct virtq_pkt p = packet_of(&o, 1000);

	(void)state;
	p.hdr.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	refused(&p, VIRTQ_DROP_OFFLOAD);
}

static void gso_of_what_is_not_ip_is_refused(void **state)
{
	struct offload o = offload_tcp4(3000);

	(void)state;
	bad16(&o, 12, 0x0806);	/* ARP */
	bad16(&o, 12, 0x88b5);
	bad16(&o, 12, 0x86dd);
	bad16(&o, 12, 0x8100);	/* a tag that is none */
	bad16(&o, 14, 0x5500);	/* IP version 5 */
	o.v6 = true;
	bad16(&o, 12, 0x0800);
	bad16(&o, 14, 0x4500);
}

static void gso_behind_three_tags_is_refused(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p;

	(void)state;
	o.tags = 3;
	p = packet_of(&o, 1000);
	refused(&p, VIRTQ_DROP_OFFLOAD);
}

static void gso_of_other_protocols_is_refused(void **state)
{
	struct offload o = offload_tcp4(3000);
	struct offload tunnel = offload_tcp4(3000);

	(void)state;
	bad16(&o, 22, 64 << 8 | 1);	/* ICMP */
	bad16(&o, 22, 64 << 8 | 4);	/* IPv4 in IPv4 */
	bad16(&tunnel, 22, 64 << 8 | 47);	/* GRE */
	o.v6 = true;
	bad16(&o, 20, 58 << 8 | 64);
	bad16(&o, 20, 51 << 8 | 64);	/* AH */
	bad16(&o, 20, 59 << 8 | 64);	/* nothing follows */
}

static void gso_of_a_fragment_is_refused(void **state)
{
	struct offload o = offload_tcp4(3000);

	(void)state;
	bad16(&o, 20, 0x2000);
	bad16(&o, 20, 1);
	bad16(&o, 20, 0x1fff);
	o.frag = 0x4000;	/* DF is no fragment */
	check(&o, 1000);
	o = offload_tcp6(3000);
	o.nnext = 1;
	o.next_len = 8;
	o.next[0] = O_DSTOPTS;
	bad16(&o, 20, O_FRAGMENT << 8 | 64);
}

static void lengths_that_contradict_each_other_are_refused(void **state)
{
	struct offload o = offload_tcp4(3000);

	(void)state;
	for (int d = -1; d <= 1; d += 2) {
		bad16(&o, 16, (uint16_t)(3040 + d));
		o.v6 = true;
		bad16(&o, 18, (uint16_t)(3020 + d));
		o.udp = true;
		bad16(&o, 14 + 40 + 4, (uint16_t)(3008 + d));
		o.v6 = false;
		bad16(&o, 14 + 20 + 4, (uint16_t)(3008 + d));
		o.udp = false;
	}
	bad16(&o, 16, 0);
	bad16(&o, 16, 19);
	bad16(&o, 16, 65535);
}

static void bytes_behind_the_ip_packet_are_not_cut_into_frames(void **state)
{
	struct offload o = offload_tcp4(3000);
	uint32_t len = offload_build(want, &o, false);
	struct virtq_pkt p = raw(want, len + 6);

	(void)state;
	p.hdr = offload_header(&o, 1000);
	refused(&p, VIRTQ_DROP_OFFLOAD);
}

static void absurd_header_lengths_are_refused(void **state)
{
	struct offload o = offload_tcp4(0);
	struct virtq_pkt p;

	(void)state;
	o.payload = 20;
	for (unsigned ihl = 0; ihl < 16; ihl++) {
		p = packet_of(&o, 10);
		packet[14] = (uint8_t)(0x40 | ihl);
		refused(&p, ihl == 5 ? VIRTQ_OK : VIRTQ_DROP_OFFLOAD);
	}
	for (unsigned doff = 0; doff < 16; doff++) {
		p = packet_of(&o, 10);
		packet[46] = (uint8_t)(doff << 4);
		/* 20 bytes of payload can be 20 bytes of options. */
		refused(&p, doff >= 5 && doff <= 10 ? VIRTQ_OK : VIRTQ_DROP_OFFLOAD);
	}
	o = offload_tcp6(100);
	o.nnext = 1;
	o.next_len = 8;
	o.next[0] = O_HOP;
	for (unsigned len = 0; len < 256; len++) {
		p = packet_of(&o, 10);
		packet[55] = (uint8_t)len;
		refused(&p, len ? VIRTQ_DROP_OFFLOAD : VIRTQ_OK);
	}
}

static void truncated_packets_are_refused(void **state)
{
	struct offload o[3] = { offload_tcp4(20), offload_tcp6(20), offload_udp4(20) };

	(void)state;
	o[0].tags = o[1].tags = 2;
	o[1].nnext = 2;
	o[1].next_len = 16;
	o[1].next[1] = O_DSTOPTS;
	for (unsigned k = 0; k < 3; k++) {
		uint32_t len = offload_len(&o[k]);

		for (uint32_t cut = 14; cut < len; cut++) {
			struct virtq_pkt p;

			offload_build(want, &o[k], false);
			p = raw(want, cut);
			p.hdr = offload_header(&o[k], 5);
			refused(&p, VIRTQ_DROP_OFFLOAD);
		}
	}
}

static void checksum_fields_elsewhere_are_refused(void **state)
{
	struct offload o[2] = { offload_tcp4(3000), offload_udp6(3000) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct virtq_pkt p = packet_of(&o[k], 1000), q = p;

		for (uint32_t v = 0; v < 65536; v++) {
			q = p;
			q.hdr.csum_start = (uint16_t)v;
			refused(&q, v == p.hdr.csum_start ? VIRTQ_OK : VIRTQ_DROP_OFFLOAD);
			q = p;
			q.hdr.csum_offset = (uint16_t)v;
			refused(&q, v == p.hdr.csum_offset ? VIRTQ_OK : VIRTQ_DROP_OFFLOAD);
		}
	}
}

static void hdr_len_is_not_believed(void **state)
{
	const uint16_t len[4] = { 0, 1, 60, 65535 };
	struct offload o = offload_tcp4(3000);
	struct virtq_pkt p = packet_of(&o, 1000);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		p.hdr.hdr_len = len[i];
		check_packet(&p, &o, 1000, WIRE);
	}
}

static void more_than_64_kib_is_refused(void **state)
{
	struct virtq_pkt p = { .npieces = 1, .len = VNET_MAX_GSO + 1, .piece = piece };
	struct offload o = offload_tcp4(3000);

	(void)state;
	free(packet);
	packet = calloc(1, p.len);
	offload_build(packet, &o, false);
	piece[0] = (struct iovec){ packet, p.len };
	p.hdr = offload_header(&o, 1000);
	refused(&p, VIRTQ_DROP_OFFLOAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_shorter_than_ethernet_is_refused),
		cmocka_unit_test(a_packet_longer_than_the_wire_takes_is_refused),
		cmocka_unit_test(gso_without_a_partial_checksum_is_refused),
		cmocka_unit_test(a_gso_size_of_zero_is_refused),
		cmocka_unit_test(an_unknown_gso_type_is_refused),
		cmocka_unit_test(a_gso_type_of_another_protocol_is_refused),
		cmocka_unit_test(ecn_of_udp_is_refused),
		cmocka_unit_test(gso_of_what_is_not_ip_is_refused),
		cmocka_unit_test(gso_behind_three_tags_is_refused),
		cmocka_unit_test(gso_of_other_protocols_is_refused),
		cmocka_unit_test(gso_of_a_fragment_is_refused),
		cmocka_unit_test(lengths_that_contradict_each_other_are_refused),
		cmocka_unit_test(bytes_behind_the_ip_packet_are_not_cut_into_frames),
		cmocka_unit_test(absurd_header_lengths_are_refused),
		cmocka_unit_test(truncated_packets_are_refused),
		cmocka_unit_test(checksum_fields_elsewhere_are_refused),
		cmocka_unit_test(hdr_len_is_not_believed),
		cmocka_unit_test(more_than_64_kib_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, cleanup);
}
