/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segmentation and checksums beside the kernel's own: a packet socket gives the
 * kernel a packet with its virtio-net header, for a tap that can do nothing, so
 * the kernel has to cut it and sum it in software; what comes out of the tap is
 * compared, byte by byte, with what segment_write() makes. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>

#include "../tests/offload.h"
#include "ring/coalesce.h"
#include "ring/segment.h"

#define VNET_LEN 10	/* the header without num_buffers */
#define QUEUE 4000	/* frames that wait in the tap at most */
#define DIFFERENT 3000	/* packets at random */

static int tap_fd, packet_fd;
static uint32_t marks;
static bool uso;	/* the kernel takes UDP to be cut */
static struct segment_plan plan;
static uint8_t packet[OFFLOAD_MAX], ours[OFFLOAD_MAX], theirs[OFFLOAD_MAX];

/* --- the kernel ------------------------------------------------------------- */

/* Return: 0, or the reason why the kernel does not take it. */
static int give(const struct virtq_pkt *p)
{
	struct iovec iov[1 + VIRTQ_BATCH * 4] = { { (void *)&p->hdr, VNET_LEN } };

	memcpy(iov + 1, p->piece, p->npieces * sizeof(*iov));
	return writev(packet_fd, iov, p->npieces + 1) == (ssize_t)(p->len + VNET_LEN) ? 0 : errno;
}

/* A frame of our own, which no test sends, says where the frames of a packet end. */
static bool mark(void)
{
	uint8_t data[60] = { 0 };
	struct iovec iov = { data, sizeof(data) };
	const struct virtq_pkt p = { .npieces = 1, .len = sizeof(data), .piece = &iov };

	memcpy(data, "\x52\x54\0\0\0\2\x52\x54\0\0\0\1\x88\xb6", 14);
	memcpy(data + 14, &(uint32_t){ ++marks }, 4);
	return !give(&p);
}

/* Reads on to @theirs. Return: the frame's length; 0 at the mark made last, or when nothing comes. */
static uint32_t read_frame(void)
{
	struct pollfd pfd = { .fd = tap_fd, .events = POLLIN };
	ssize_t len;

	for (;;) {
		len = read(tap_fd, theirs, sizeof(theirs));
		if (len < 0 && poll(&pfd, 1, 2000) <= 0)
			return 0;
		/* The interface itself has things to say. */
		if (len < 18 || memcmp(theirs + 6, "\x52\x54\0\0\0\1", 6))
			continue;
		if (memcmp(theirs + 12, "\x88\xb6", 2))
			return (uint32_t)len;
		if (!memcmp(theirs + 14, &marks, 4))
			return 0;
	}
}

/* Whatever a test that failed has left. */
static void drain(void)
{
	assert_true(mark());
	while (read_frame())
		;
}

/* Kernels before 6.2 do not. */
static bool takes_uso(void)
{
	struct offload o = offload_udp4(200);
	struct iovec iov = { packet, offload_build(packet, &o, false) };
	const struct virtq_pkt p = { .npieces = 1, .len = (uint32_t)iov.iov_len, .piece = &iov,
				     .hdr = offload_header(&o, 100) };

	return !give(&p);
}

static int set_up(void **state)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct sockaddr_ll sll = { .sll_family = AF_PACKET };
	int on = 1;

	(void)state;
	strcpy(ifr.ifr_name, "corpus");
	if (unshare(CLONE_NEWNET))
		return -1;
	tap_fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	packet_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (tap_fd < 0 || packet_fd < 0 || ioctl(tap_fd, TUNSETIFF, &ifr) || ioctl(tap_fd, TUNSETOFFLOAD, 0))
		return -1;
	ifr.ifr_qlen = QUEUE;
	if (ioctl(packet_fd, SIOCSIFTXQLEN, &ifr) || ioctl(packet_fd, SIOCGIFINDEX, &ifr))
		return -1;
	sll.sll_ifindex = ifr.ifr_ifindex;
	ifr.ifr_flags = IFF_UP;
	if (ioctl(packet_fd, SIOCSIFFLAGS, &ifr) ||
	    setsockopt(packet_fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)))
		return -1;
	if (bind(packet_fd, (struct sockaddr *)&sll, sizeof(sll)))
		return -1;
	uso = takes_uso();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(packet_fd);
	return close(tap_fd);
}

/* --- comparing -------------------------------------------------------------- */

/* We make of @p, for a wire that takes frames of @max_frame bytes, what the kernel makes of @as. */
static void compare_with(const struct virtq_pkt *p, const struct virtq_pkt *as, uint32_t max_frame)
{
	struct iovec to = { ours, sizeof(ours) };

	drain();
	assert_int_equal(segment_plan(&plan, p, max_frame), VIRTQ_OK);
	assert_true(plan.nframes <= QUEUE);
	assert_int_equal(give(as), 0);
	assert_true(mark());
	for (uint32_t i = 0; i < plan.nframes; i++) {
		segment_write(&plan, p, i, &to, 1);
		assert_int_equal(read_frame(), segment_len(&plan, i));
		assert_memory_equal(ours, theirs, segment_len(&plan, i));
	}
	assert_int_equal(read_frame(), 0);
}

/* Both make the same frames of it. */
static void compare(const struct virtq_pkt *p)
{
	compare_with(p, p, OFFLOAD_MAX);
}

/* The kernel is told the largest gso_size for @mtu, we are told @gso_size, which is more. A second tag takes room. */
static void compare_reduced(struct offload o, uint32_t mtu, uint32_t gso_size)
{
	const uint32_t mss = mtu - (offload_head(&o) - offload_l3(&o)) - (o.tags == 2 ? 4 : 0);
	struct iovec iov = { packet, offload_build(packet, &o, false) };
	struct virtq_pkt p = { .npieces = 1, .len = (uint32_t)iov.iov_len, .piece = &iov }, as = p;

	p.hdr = offload_header(&o, gso_size);
	as.hdr = offload_header(&o, mss);
	compare_with(&p, &as, mtu + 18);
}

static void compare_packet(const struct offload *o, uint32_t gso_size)
{
	struct iovec iov = { packet, offload_build(packet, o, false) };
	const struct virtq_pkt p = { .npieces = 1, .len = (uint32_t)iov.iov_len, .piece = &iov,
				     .hdr = offload_header(o, gso_size) };

	if (uso || !o->udp || !gso_size)
		compare(&p);
}

/* Lengths around multiples of gso_size, odd ones among them. */
static void compare_lengths(struct offload o, uint32_t gso_size)
{
	const uint32_t len[8] = { gso_size + 1, 2 * gso_size - 1, 2 * gso_size, 2 * gso_size + 1, 3 * gso_size + 17,
				  5 * gso_size, 1, gso_size };

	for (unsigned i = 0; i < 8; i++) {
		/* The kernel drops a payload of just gso_size behind TCP options: its two looks at it disagree. */
		if (len[i] == gso_size && o.tcp_options)
			continue;
		o.payload = len[i];
		o.seed = i;
		compare_packet(&o, gso_size);
	}
}

/* --- segmentation ----------------------------------------------------------- */

static void tcp_over_ipv4(void **state)
{
	(void)state;
	compare_lengths(offload_tcp4(0), 1448);
	compare_lengths(offload_tcp4(0), 537);
}

static void tcp_over_ipv6(void **state)
{
	(void)state;
	compare_lengths(offload_tcp6(0), 1428);
	compare_lengths(offload_tcp6(0), 1001);
}

static void udp_over_ipv4(void **state)
{
	(void)state;
	if (!uso)
		skip();
	compare_lengths(offload_udp4(0), 1472);
	compare_lengths(offload_udp4(0), 333);
}

static void udp_over_ipv6(void **state)
{
	(void)state;
	if (!uso)
		skip();
	compare_lengths(offload_udp6(0), 1452);
	compare_lengths(offload_udp6(0), 333);
}

static void tcp_with_ecn(void **state)
{
	struct offload o = offload_tcp4(0);

	(void)state;
	o.flags = O_ACK | O_CWR | O_ECE;
	compare_lengths(o, 1000);
	o.v6 = true;
	compare_lengths(o, 1000);
}

static void tcp_with_fin_and_psh(void **state)
{
	struct offload o = offload_tcp4(0);

	(void)state;
	o.flags = O_ACK | O_PSH;
	compare_lengths(o, 1000);
	o.flags |= O_FIN;
	compare_lengths(o, 1000);
	o.flags = O_ACK | O_PSH | O_FIN | O_CWR;
	o.v6 = true;
	compare_lengths(o, 1000);
}

static void numbers_that_wrap(void **state)
{
	struct offload o = offload_tcp4(0);

	(void)state;
	o.id = 65534;
	o.seq = UINT32_MAX - 1700;
	o.frag = 0x4000;
	compare_lengths(o, 1000);
}

static void tcp_options(void **state)
{
	struct offload o = offload_tcp4(0);

	(void)state;
	for (o.tcp_options = 4; o.tcp_options <= 40; o.tcp_options += 12) {
		o.v6 = !o.v6;
		compare_lengths(o, 1000);
	}
}

static void ipv4_options(void **state)
{
	struct offload o = offload_tcp4(0);

	(void)state;
	for (o.ip_options = 4; o.ip_options <= 40; o.ip_options += 12) {
		o.udp = !o.udp;
		compare_lengths(o, 1000);
	}
}

static void ipv6_extension_headers(void **state)
{
	struct offload o = offload_tcp6(0);

	(void)state;
	o.next[0] = O_HOP;
	o.next[1] = O_DSTOPTS;
	for (unsigned udp = 0; udp < 2; udp++) {
		o.udp = udp;
		o.next_len = 8;
		for (o.nnext = 1; o.nnext <= 2; o.nnext++)
			compare_lengths(o, 1000);
		o.next_len = 24;
		o.nnext = 3;
		o.next[2] = O_ROUTING;
		compare_lengths(o, 1000);
	}
}

static void one_vlan_tag(void **state)
{
	struct offload o = offload_tcp4(0);

	(void)state;
	o.tags = 1;
	compare_lengths(o, 1000);
	o.v6 = true;
	compare_lengths(o, 1000);
	o.udp = true;
	compare_lengths(o, 1000);
}

static void two_vlan_tags(void **state)
{
	struct offload o = offload_udp4(0);

	(void)state;
	o.tags = 2;
	compare_lengths(o, 1000);
	o.udp = false;
	compare_lengths(o, 1000);
	o.v6 = true;
	compare_lengths(o, 1000);
}

static void the_longest_packets(void **state)
{
	struct offload o = offload_tcp4(65535 - 40);

	(void)state;
	compare_packet(&o, 1400);
	o.udp = true;
	o.payload = 65535 - 28;
	compare_packet(&o, 1400);
	o.v6 = true;
	o.payload = 65535 - 8;
	compare_packet(&o, 1400);
	o.udp = false;
	o.payload = 65535 - 20;
	compare_packet(&o, 1400);
}

static void a_gso_size_that_is_too_large_for_the_wire(void **state)
{
	static const uint32_t mtu[] = { 1500, 1280, 9000 };

	(void)state;
	for (unsigned k = 0; k < 3; k++)
		for (unsigned tags = 0; tags <= 2; tags++)
			for (unsigned options = 0; options <= 12; options += 12) {
				struct offload o = offload_tcp4(40000);

				o.tags = (uint8_t)tags;
				o.tcp_options = (uint8_t)options;
				o.flags |= O_PSH | O_CWR;
				compare_reduced(o, mtu[k], 9001);
				compare_reduced(o, mtu[k], 65000);
				o.v6 = true;
				compare_reduced(o, mtu[k], 9001);
			}
}

static void frames_of_few_bytes(void **state)
{
	struct offload o = offload_tcp4(2000);

	(void)state;
	compare_packet(&o, 1);
	o.udp = true;	/* the kernel takes at most 128 datagrams at a time */
	o.payload = 128;
	compare_packet(&o, 1);
}

static void checksums_of_zero_in_a_packet_that_is_cut(void **state)
{
	struct offload o[2] = { offload_tcp4(2000), offload_udp4(2000) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct offload f = offload_cut(&o[k], 1000, 0);

		offload_make_zero(&f);
		o[k].fixed = true;
		o[k].tweak = f.tweak;
		compare_packet(&o[k], 1000);
	}
}

/* --- checksums -------------------------------------------------------------- */

static void checksums_alone(void **state)
{
	struct offload o[4] = { offload_tcp4(0), offload_tcp6(0), offload_udp4(0), offload_udp6(0) };

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		for (o[k].payload = 0; o[k].payload <= 1400; o[k].payload += 175) {
			o[k].tags = o[k].payload % 3;
			compare_packet(&o[k], 0);
		}
	}
}

static void checksums_of_zero(void **state)
{
	struct offload o[2] = { offload_tcp4(100), offload_udp4(101) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		offload_make_zero(&o[k]);
		compare_packet(&o[k], 0);
	}
}

static void checksums_of_other_protocols(void **state)
{
	struct offload o = offload_udp4(200);
	struct iovec iov = { packet, offload_build(packet, &o, false) };
	struct virtq_pkt p = { .npieces = 1, .len = (uint32_t)iov.iov_len, .piece = &iov };

	(void)state;
	p.hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	memcpy(packet + 12, "\x88\xb5", 2);
	for (p.hdr.csum_start = 34; p.hdr.csum_start < p.len - 2; p.hdr.csum_start += 13) {
		p.hdr.csum_offset = (uint16_t)((p.len - 2 - p.hdr.csum_start) / 3);
		compare(&p);
		p.hdr.csum_offset = (uint16_t)(p.len - 2 - p.hdr.csum_start);
		compare(&p);
	}
}

/* Zero is not the sum, it says that there is none; nobody asks for one. */
static void a_udp_checksum_that_is_not_there(void **state)
{
	struct offload o = offload_udp4(999);
	struct iovec iov = { packet, 0 };
	struct virtq_pkt p = { .npieces = 1, .piece = &iov };

	(void)state;
	for (o.tags = 0; o.tags <= 2; o.tags++) {
		iov.iov_len = p.len = offload_build(packet, &o, true);
		memset(packet + offload_l4(&o) + 6, 0, 2);
		compare(&p);
		assert_memory_equal(ours + offload_l4(&o) + 6, "\0\0", 2);
	}
}

static void packets_that_ask_for_nothing(void **state)
{
	struct offload o = offload_udp6(999);
	struct iovec iov = { packet, offload_build(packet, &o, true) };
	struct virtq_pkt p = { .npieces = 1, .len = (uint32_t)iov.iov_len, .piece = &iov };

	(void)state;
	compare(&p);
}

/* --- joined packets --------------------------------------------------------- */

/* Frames are joined, the kernel cuts the packet, and they are there again. */
static void join_and_cut(struct offload o, unsigned n, uint32_t last)
{
	static struct coalesce c;
	static uint8_t frame[VIRTQ_BATCH][2048];
	struct iovec iov[VIRTQ_BATCH];
	struct coalesce_in in[VIRTQ_BATCH];
	struct virtq_pkt p;

	for (unsigned i = 0; i < n; i++) {
		if (i == n - 1) {
			o.payload = last;
			o.flags |= O_PSH;
		}
		iov[i] = (struct iovec){ frame[i], offload_build(frame[i], &o, true) };
		in[i] = (struct coalesce_in){ .piece = &iov[i], .npieces = 1, .len = (uint32_t)iov[i].iov_len };
		o.seq += o.payload;
		o.from += o.payload;
		o.id++;
		o.flags &= (uint8_t)~O_CWR;
	}
	assert_int_equal(coalesce_batch(&c, ~0ull, in, n), 1);
	p = (struct virtq_pkt){ .npieces = (uint16_t)c.src[0].more->npieces, .len = c.src[0].len,
				.piece = (struct iovec *)c.src[0].more->piece, .hdr = c.src[0].more->hdr };
	drain();
	assert_int_equal(give(&p), 0);
	assert_true(mark());
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(read_frame(), in[i].len);
		assert_memory_equal(theirs, frame[i], in[i].len);
	}
	assert_int_equal(read_frame(), 0);
}

static void joined_tcp_segments(void **state)
{
	struct offload o = offload_tcp4(1000);

	(void)state;
	join_and_cut(o, 2, 1000);
	join_and_cut(o, 60, 1);
	o.flags |= O_CWR;
	o.tcp_options = 12;
	o.v6 = true;
	join_and_cut(o, 7, 999);
	o.tags = 1;
	join_and_cut(o, 7, 999);
}

static void joined_udp_datagrams(void **state)
{
	struct offload o = offload_udp4(1000);

	(void)state;
	if (!uso)
		skip();
	join_and_cut(o, 2, 1000);
	join_and_cut(o, 60, 1);
	o.v6 = true;
	o.tags = 2;
	join_and_cut(o, 7, 999);
}

/* --- at random -------------------------------------------------------------- */

static uint32_t number(void)
{
	static uint64_t seed = 4;

	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33);
}

static struct offload some_packet(void)
{
	struct offload o = offload_tcp4(number() % 6000);

	o.v6 = number() & 1;
	o.udp = number() & 1;
	o.tags = number() % 3;
	o.ip_options = (uint8_t)(number() % 11 * 4);
	o.tcp_options = (uint8_t)(number() % 11 * 4);
	o.nnext = number() % 3;
	o.next_len = 8;
	o.next[0] = number() & 1 ? O_HOP : O_DSTOPTS;
	o.next[1] = O_DSTOPTS;
	o.flags = (uint8_t)(number() | O_ACK);
	o.frag = number() & 1 ? 0x4000 : 0;
	o.id = (uint16_t)number();
	o.seq = number();
	o.seed = number();
	return o;
}

static void whatever_we_cut_the_kernel_cuts_alike(void **state)
{
	unsigned both = 0;

	(void)state;
	drain();
	for (unsigned k = 0; k < DIFFERENT; k++) {
		struct offload o = some_packet();
		struct iovec iov = { packet, offload_build(packet, &o, false) }, to = { ours, sizeof(ours) };
		struct virtq_pkt p = { .npieces = 1, .len = (uint32_t)iov.iov_len, .piece = &iov };

		p.hdr = offload_header(&o, number() % 10 ? number() % 1400 + 20 : 0);
		/* Headers that lie, somewhere. What we refuse the kernel may take: it believes more. */
		if (number() & 1)
			packet[12 + number() % 90] = (uint8_t)number();
		if (number() % 4 == 0)
			((uint8_t *)&p.hdr)[number() % VNET_LEN] = (uint8_t)number();
		if (segment_plan(&plan, &p, OFFLOAD_MAX) || plan.nframes > QUEUE || give(&p))
			continue;
		assert_true(mark());
		for (uint32_t i = 0; i < plan.nframes; i++) {
			uint32_t len = read_frame();

			if (!i && !len)	/* taken, and dropped on the way out */
				break;
			segment_write(&plan, &p, i, &to, 1);
			assert_int_equal(len, segment_len(&plan, i));
			assert_memory_equal(ours, theirs, len);
			if (i + 1 == plan.nframes) {
				assert_int_equal(read_frame(), 0);
				both++;
			}
		}
	}
	assert_true(both > DIFFERENT / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_over_ipv4),
		cmocka_unit_test(tcp_over_ipv6),
		cmocka_unit_test(udp_over_ipv4),
		cmocka_unit_test(udp_over_ipv6),
		cmocka_unit_test(tcp_with_ecn),
		cmocka_unit_test(tcp_with_fin_and_psh),
		cmocka_unit_test(numbers_that_wrap),
		cmocka_unit_test(tcp_options),
		cmocka_unit_test(ipv4_options),
		cmocka_unit_test(ipv6_extension_headers),
		cmocka_unit_test(one_vlan_tag),
		cmocka_unit_test(two_vlan_tags),
		cmocka_unit_test(the_longest_packets),
		cmocka_unit_test(a_gso_size_that_is_too_large_for_the_wire),
		cmocka_unit_test(frames_of_few_bytes),
		cmocka_unit_test(checksums_of_zero_in_a_packet_that_is_cut),
		cmocka_unit_test(checksums_alone),
		cmocka_unit_test(checksums_of_zero),
		cmocka_unit_test(checksums_of_other_protocols),
		cmocka_unit_test(a_udp_checksum_that_is_not_there),
		cmocka_unit_test(packets_that_ask_for_nothing),
		cmocka_unit_test(joined_tcp_segments),
		cmocka_unit_test(joined_udp_datagrams),
		cmocka_unit_test(whatever_we_cut_the_kernel_cuts_alike),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
