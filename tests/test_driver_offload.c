// SPDX-License-Identifier: BSD-2-Clause
/* The driver's queue pairs with offloads: virtio-net headers, and frames of up to 64 KiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "driver/pair.h"
#include "vdev.h"

#define CSUM F(VIRTIO_NET_F_CSUM)
#define MERGE F(VIRTIO_NET_F_MRG_RXBUF)
#define ALL (MODERN | MERGE | NETF_OFFLOADS)
#define NEEDS_CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define DATA_VALID VIRTIO_NET_HDR_F_DATA_VALID
#define TCPV4 VIRTIO_NET_HDR_GSO_TCPV4
#define ECN VIRTIO_NET_HDR_GSO_ECN

struct fix {
	struct pair p;
	struct vdev rx, tx;
	uint8_t *mem;
	struct virtio_net_hdr_v1 hdr;	/* of the frame that the device got */
	uint32_t len;
	uint8_t frame[DRING_MAX_SG * PAIR_BUF];
	bool header_apart, indirect;
	unsigned pieces;
};

static struct fix *fix_open(uint64_t features, uint32_t size)
{
	struct fix *f = calloc(1, sizeof(*f));
	uint64_t len = pair_mem_size(size, features);

	f->mem = aligned_alloc(4096, len);
	memset(f->mem, 0, len);
	assert_int_equal(pair_init(&f->p, size, f->mem, BASE, features), 0);
	vdev_init(&f->rx, &f->p.rx, f->mem);
	vdev_init(&f->tx, &f->p.tx, f->mem);
	return f;
}

static void fix_close(struct fix *f)
{
	pair_fini(&f->p);
	free(f->mem);
	free(f);
}

static uint8_t byte_of(uint32_t n, uint32_t i)
{
	return (uint8_t)(n * 37 + i * 5 + (i >> 8) * 3 + 1);
}

static uint8_t *frame_bytes(uint32_t n, uint32_t len)
{
	static uint8_t bytes[DRING_MAX_SG * PAIR_BUF];

	for (uint32_t i = 0; i < len; i++)
		bytes[i] = byte_of(n, i);
	return bytes;
}

static void expect_bytes(const uint8_t *got, uint32_t n, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (got[i] != byte_of(n, i))
			fail_msg("byte %u of frame %u is %#x", i, n, got[i]);
}

/* The device takes a frame from the tx ring. */
static bool device_takes(struct fix *f)
{
	uint8_t bytes[DRING_MAX_SG * PAIR_BUF];
	uint32_t len = 0;
	struct vdev_buf b;

	if (!vdev_take(&f->tx, &b))
		return false;
	assert_int_equal(b.in, 0);
	for (unsigned i = 0; i < b.out; i++) {
		assert_true(len + b.piece[i].len <= sizeof(bytes));
		memcpy(bytes + len, vdev_ptr(&f->tx, b.piece[i].addr), b.piece[i].len);
		len += b.piece[i].len;
	}
	assert_true(len >= f->p.hdr_len);
	memset(&f->hdr, 0, sizeof(f->hdr));
	memcpy(&f->hdr, bytes, f->p.hdr_len);
	f->len = len - f->p.hdr_len;
	memcpy(f->frame, bytes + f->p.hdr_len, f->len);
	f->header_apart = b.piece[0].len == f->p.hdr_len;
	f->indirect = b.indirect;
	f->pieces = b.out;
	vdev_give(&f->tx, &b, 0);
	return true;
}

/* The device delivers a frame, in as many buffers as it takes. Return: false when there are too few. */
static bool device_gives(struct fix *f, const struct virtio_net_hdr_v1 *hdr, uint32_t n, uint32_t len)
{
	uint32_t done = 0, left, count = (f->p.hdr_len + len + PAIR_BUF - 1) / PAIR_BUF;
	struct vdev_buf b[DRING_MAX_SG];
	struct virtio_net_hdr_v1 h = *hdr;
	struct vdev save = f->rx;

	for (uint32_t i = 0; i < count; i++) {
		if (!vdev_take(&f->rx, &b[i])) {
			f->rx = save;
			return false;
		}
	}
	h.num_buffers = (uint16_t)count;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *to = vdev_ptr(&f->rx, b[i].piece[0].addr);
		uint32_t skip = i ? 0 : f->p.hdr_len, part;

		assert_int_equal(b[i].in, 1);
		memcpy(to, &h, skip);
		left = len - done;
		part = left < PAIR_BUF - skip ? left : PAIR_BUF - skip;
		for (uint32_t k = 0; k < part; k++)
			to[skip + k] = byte_of(n, done + k);
		done += part;
		vdev_give(&f->rx, &b[i], skip + part);
	}
	return true;
}

static const struct virtio_net_hdr_v1 tso4 = { .flags = NEEDS_CSUM, .gso_type = TCPV4 | ECN, .hdr_len = 54,
					       .gso_size = 1448, .csum_start = 34, .csum_offset = 16 };
static const struct virtio_net_hdr_v1 plain;

static void expect_header(const struct virtio_net_hdr_v1 *got, const struct virtio_net_hdr_v1 *want)
{
	assert_memory_equal(got, want, sizeof(*want));
}

static const uint64_t kinds[] = { 0, PACKED, IN_ORDER, PACKED | IN_ORDER, INDIRECT, PACKED | INDIRECT };
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- sending ---- */

static void test_the_longest_frame_goes_out_whole_with_its_header(void **state)
{
	(void)state;
	for (unsigned k = 0; k < N_KINDS; k++) {
		struct fix *f = fix_open(ALL | kinds[k], 64);

		for (uint32_t n = 0; n < 50; n++) {
			uint32_t len = PAIR_MAX_GSO - 997 * n;
			uint8_t *bytes = frame_bytes(n, len);
			struct frame fr = { .data = bytes, .len = 1 + 991 * n, .tail = bytes + 1 + 991 * n,
					    .tail_len = len - 1 - 991 * n, .hdr = tso4 };

			assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
			assert_true(device_takes(f));
			assert_int_equal(f->len, len);
			expect_bytes(f->frame, n, len);
			expect_header(&f->hdr, &tso4);
			assert_int_equal(f->indirect, (kinds[k] & INDIRECT) && f->pieces > 1);
		}
		assert_int_equal(f->p.stats.tx_packets, 50);
		assert_int_equal(f->p.stats.tx_errors, 0);
		fix_close(f);
	}
}

static void test_a_frame_longer_than_that_is_refused(void **state)
{
	struct fix *f = fix_open(ALL, 64);
	struct frame fr = { .data = frame_bytes(0, PAIR_MAX_GSO + 1), .len = PAIR_MAX_GSO + 1, .hdr = tso4 };

	(void)state;
	assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
	fr.len = PAIR_MAX_FRAME + 1;
	fr.hdr = plain;	/* long, and nobody says how to cut it */
	assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
	fr.hdr = (struct virtio_net_hdr_v1){ .flags = NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 };
	assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
	assert_int_equal(f->p.stats.tx_errors, 3);
	assert_false(device_takes(f));
	fix_close(f);
}

static bool sends(uint64_t features, uint8_t flags, uint8_t gso)
{
	struct fix *f = fix_open(features, 64);
	struct frame fr = { .data = frame_bytes(0, 3000), .len = 3000,
			    .hdr = { .flags = flags, .gso_type = gso, .gso_size = 1000, .csum_start = 34 } };
	bool sent;

	assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
	sent = device_takes(f);
	assert_int_equal(f->p.stats.tx_errors, !sent);
	fix_close(f);
	return sent;
}

static void test_only_negotiated_offloads_may_be_asked_for(void **state)
{
	static const struct {
		unsigned bit;
		uint8_t gso;
	} need[] = {
		{ VIRTIO_NET_F_HOST_TSO4, TCPV4 },
		{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_HDR_GSO_TCPV6 },
		{ VIRTIO_NET_F_HOST_USO, VIRTIO_NET_HDR_GSO_UDP_L4 },
		{ VIRTIO_NET_F_HOST_ECN, TCPV4 | ECN },
		{ VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_HDR_GSO_TCPV6 | ECN },
	};

	(void)state;
	assert_true(sends(MODERN | CSUM, NEEDS_CSUM, 0));
	assert_false(sends(MODERN, NEEDS_CSUM, 0));
	for (unsigned i = 0; i < 5; i++) {
		assert_true(sends(MODERN | NETF_HOST, NEEDS_CSUM, need[i].gso));
		assert_false(sends(MODERN | (NETF_HOST & ~F(need[i].bit)), NEEDS_CSUM, need[i].gso));
		assert_false(sends(MODERN | NETF_HOST, 0, need[i].gso));
	}
	assert_false(sends(MODERN | NETF_HOST, NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP));
	assert_false(sends(MODERN | NETF_HOST, NEEDS_CSUM, 0x7f));
}

static void test_what_the_device_has_no_use_for_is_left_out_of_the_header(void **state)
{
	static const struct virtio_net_hdr_v1 valid = { .flags = DATA_VALID, .hdr_len = 42, .csum_start = 1,
							.num_buffers = 9 };
	const uint64_t features[] = { MODERN, ALL };
	struct virtio_net_hdr_v1 hdr = tso4;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct fix *f = fix_open(features[i], 64);
		struct frame fr = { .data = frame_bytes(1, 60), .len = 60, .hdr = valid };

		assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
		assert_true(device_takes(f));
		expect_header(&f->hdr, &plain);
		if (i) {
			fr.hdr = tso4;
			fr.hdr.flags |= DATA_VALID;
			fr.hdr.num_buffers = 3;
			assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
			assert_true(device_takes(f));
			expect_header(&f->hdr, &hdr);
		}
		fix_close(f);
	}
}

static void test_a_legacy_device_gets_ten_bytes_in_a_descriptor_of_their_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct fix *f = fix_open(NETF_HOST | (i ? INDIRECT : 0), 64);
		struct frame fr = { .data = frame_bytes(3, 40000), .len = 40000, .hdr = tso4 };

		assert_int_equal(f->p.hdr_len, 10);
		assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
		assert_true(device_takes(f));
		assert_true(f->header_apart);
		assert_int_equal(f->len, 40000);
		expect_bytes(f->frame, 3, 40000);
		expect_header(&f->hdr, &tso4);
		fr.len = PAIR_MAX_GSO;
		assert_int_equal(pair_tx(&f->p, &fr, 1), 1);
		assert_true(device_takes(f));
		assert_int_equal(f->len, PAIR_MAX_GSO);
		fix_close(f);
	}
}

/* ---- sending without a copy ---- */

static uint32_t write_pieces(const struct iovec *iov, unsigned pieces, uint32_t n, uint32_t len)
{
	uint32_t room = 0, done = 0;

	for (unsigned i = 0; i < pieces; i++) {
		uint8_t *to = iov[i].iov_base;

		room += (uint32_t)iov[i].iov_len;
		for (; done < len && done < room; done++)
			*to++ = byte_of(n, done);
	}
	return room;
}

static void test_a_frame_written_into_reserved_pieces_goes_out_as_it_is(void **state)
{
	const uint64_t features[] = { ALL, ALL | PACKED | INDIRECT, MODERN | PACKED, NETF_HOST, 0 };
	struct iovec iov[PAIR_TX_PIECES];

	(void)state;
	for (unsigned k = 0; k < 5; k++) {
		struct fix *f = fix_open(features[k], 64);
		bool gso = features[k] & NETF_HOST_GSO;

		for (uint32_t n = 0; n < 200; n++) {
			uint32_t len = 14 + n * 7919 % (f->p.max_tx - 13);
			unsigned pieces = pair_tx_reserve(&f->p, iov);

			assert_true(pieces && pieces <= PAIR_TX_PIECES);
			assert_true(write_pieces(iov, pieces, n, len) >= f->p.max_tx);
			assert_true(pair_tx_commit(&f->p, gso ? &tso4 : &plain, len));
			pair_tx_flush(&f->p);
			assert_true(device_takes(f));
			assert_int_equal(f->len, len);
			expect_bytes(f->frame, n, len);
			expect_header(&f->hdr, gso ? &tso4 : &plain);
		}
		assert_int_equal(pair_tx_room(&f->p, 100, 1000), f->p.split_hdr ? 32 : 64);
		fix_close(f);
	}
}

static void test_reserving_takes_nothing_and_needs_room_for_the_longest_frame(void **state)
{
	struct fix *f = fix_open(ALL, 64);
	struct iovec iov[PAIR_TX_PIECES], again[PAIR_TX_PIECES];
	unsigned sent = 0;

	(void)state;
	assert_int_equal(pair_tx_reserve(&f->p, iov), PAIR_TX_PIECES);
	assert_int_equal(pair_tx_reserve(&f->p, again), PAIR_TX_PIECES);
	assert_memory_equal(iov, again, sizeof(iov));
	assert_false(pair_tx_commit(&f->p, &plain, 13));
	assert_int_equal(f->p.stats.tx_errors, 1);
	assert_int_equal(pair_tx_room(&f->p, 100, 60), 64);
	for (; pair_tx_reserve(&f->p, iov); sent++) {
		write_pieces(iov, 1, sent, 60);
		assert_true(pair_tx_commit(&f->p, &plain, 60));
	}
	assert_int_equal(sent, 64 - PAIR_TX_PIECES + 1);
	assert_false(device_takes(f));
	pair_tx_flush(&f->p);
	for (unsigned i = 0; i < sent; i++) {
		assert_true(device_takes(f));
		assert_int_equal(f->len, 60);
		expect_bytes(f->frame, i, 60);
	}
	assert_int_equal(pair_tx_reserve(&f->p, iov), PAIR_TX_PIECES);
	fix_close(f);
}

static void test_a_small_ring_limits_what_is_sent(void **state)
{
	struct iovec iov[PAIR_TX_PIECES];
	struct fix *f = fix_open(MODERN, 2);

	(void)state;
	assert_int_equal(f->p.max_tx, 2 * PAIR_BUF - 12);
	assert_int_equal(pair_tx_reserve(&f->p, iov), 2);
	fix_close(f);
	f = fix_open(0, 2);
	assert_int_equal(f->p.max_tx, PAIR_BUF - 10);
	assert_int_equal(pair_tx_reserve(&f->p, iov), 1);
	fix_close(f);
}

/* ---- receiving ---- */

static void test_the_longest_merged_frame_comes_in_whole_with_its_header(void **state)
{
	struct frame in[PAIR_BATCH];

	(void)state;
	for (unsigned k = 0; k < N_KINDS; k++) {
		struct fix *f = fix_open(ALL | kinds[k], 64);

		for (uint32_t n = 0; n < 60; n++) {
			uint32_t len = PAIR_MAX_GSO - 1093 * n;

			assert_true(device_gives(f, &tso4, n, len));
			assert_int_equal(pair_rx(&f->p, in, PAIR_BATCH), 1);
			assert_int_equal(in[0].len, len);
			expect_bytes(in[0].data, n, len);
			expect_header(&in[0].hdr, &tso4);
		}
		assert_int_equal(f->p.stats.rx_errors, 0);
		assert_false(f->p.broken);
		fix_close(f);
	}
}

/* More than fits beside one another: the rest comes with the next call, and no frame lies on another. */
static void test_many_long_frames_come_in_over_several_calls(void **state)
{
	struct frame in[PAIR_BATCH];
	unsigned got = 0, calls = 0;
	struct fix *f = fix_open(ALL | PACKED, 1000);

	(void)state;
	for (uint32_t n = 0; n < 30; n++)
		assert_true(device_gives(f, n % 3 ? &tso4 : &plain, n, n % 3 ? PAIR_MAX_GSO - n : 60 + n));
	while (got < 30) {
		unsigned n = pair_rx(&f->p, in, PAIR_BATCH);

		assert_true(n);
		calls++;
		for (unsigned i = 0; i < n; i++, got++) {
			assert_int_equal(in[i].len, got % 3 ? PAIR_MAX_GSO - got : 60 + got);
			expect_bytes(in[i].data, got, in[i].len);
			expect_header(&in[i].hdr, got % 3 ? &tso4 : &plain);
		}
	}
	assert_true(calls > 1);
	assert_int_equal(pair_rx(&f->p, in, PAIR_BATCH), 0);
	assert_int_equal(f->p.stats.rx_packets, 30);
	fix_close(f);
}

static void test_a_frame_longer_than_was_negotiated_is_dropped(void **state)
{
	const uint64_t features[] = { ALL, MODERN | MERGE | F(VIRTIO_NET_F_GUEST_CSUM) };
	struct frame in[PAIR_BATCH];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct fix *f = fix_open(features[i], 64);

		assert_true(device_gives(f, &plain, 0, (i ? PAIR_MAX_FRAME : PAIR_MAX_GSO) + 1));
		assert_true(device_gives(f, &plain, 1, 60));
		assert_int_equal(pair_rx(&f->p, in, PAIR_BATCH), 1);
		expect_bytes(in[0].data, 1, 60);
		assert_int_equal(f->p.stats.rx_errors, 1);
		assert_false(f->p.broken);
		fix_close(f);
	}
}

static void test_a_received_header_says_nothing_that_was_not_negotiated(void **state)
{
	static const struct virtio_net_hdr_v1 noise = { .flags = 0xff, .gso_type = 0xff, .hdr_len = 0xffff,
							.gso_size = 0xffff, .csum_start = 0xffff,
							.csum_offset = 0xffff };
	struct frame in[PAIR_BATCH];
	struct fix *f = fix_open(MODERN | MERGE, 64);

	(void)state;
	assert_true(device_gives(f, &noise, 0, 60));
	assert_true(device_gives(f, &noise, 1, 5000));
	assert_int_equal(pair_rx(&f->p, in, PAIR_BATCH), 2);
	expect_header(&in[0].hdr, &plain);
	expect_header(&in[1].hdr, &plain);
	fix_close(f);
	f = fix_open(ALL, 64);
	assert_true(device_gives(f, &noise, 0, 60));
	assert_int_equal(pair_rx(&f->p, in, PAIR_BATCH), 1);
	assert_int_equal(in[0].hdr.flags, NEEDS_CSUM | DATA_VALID);
	assert_int_equal(in[0].hdr.num_buffers, 0);
	fix_close(f);
}

static void test_a_legacy_header_of_ten_bytes_comes_in(void **state)
{
	struct frame in[PAIR_BATCH];
	struct fix *f = fix_open(F(VIRTIO_F_ANY_LAYOUT) | F(VIRTIO_NET_F_GUEST_CSUM), 16);
	struct virtio_net_hdr_v1 hdr = { .flags = NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 };

	(void)state;
	assert_int_equal(f->p.hdr_len, 10);
	assert_true(device_gives(f, &hdr, 5, 1500));
	assert_int_equal(pair_rx(&f->p, in, PAIR_BATCH), 1);
	assert_int_equal(in[0].len, 1500);
	expect_bytes(in[0].data, 5, 1500);
	expect_header(&in[0].hdr, &hdr);
	fix_close(f);
}

/* 2.7.9, 2.8.9: "assumed to have been used (read or written) by the device completely". */
static void test_buffers_that_a_run_leaves_out_count_as_full(void **state)
{
	struct frame in[PAIR_BATCH];

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct fix *f = fix_open(MODERN | IN_ORDER | (k ? PACKED : 0), 16);
		struct vdev_buf b;

		for (unsigned i = 0; i < 5; i++)
			assert_true(vdev_take(&f->rx, &b));
		vdev_give_run(&f->rx, b.id, 12 + 60, 5, 5);
		assert_int_equal(pair_rx(&f->p, in, PAIR_BATCH), 5);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(in[i].len, i < 4 ? PAIR_BUF - 12 : 60);
		fix_close(f);
	}
}

static void test_sent_frames_given_back_in_one_run_free_all_their_buffers(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		struct fix *f = fix_open(ALL | IN_ORDER | (k & 1 ? PACKED : 0) | (k & 2 ? INDIRECT : 0), 128);
		struct frame fr[4];

		for (unsigned round = 0; round < 100; round++) {
			unsigned ndesc = 0;
			struct vdev_buf b;

			for (unsigned i = 0; i < 4; i++)
				fr[i] = (struct frame){ .data = frame_bytes(0, 30000), .len = 60 + 9001 * i,
							.hdr = tso4 };
			assert_int_equal(pair_tx(&f->p, fr, 4), 4);
			for (unsigned i = 0; i < 4; i++) {
				assert_true(vdev_take(&f->tx, &b));
				ndesc += b.ndesc;
			}
			vdev_give_run(&f->tx, b.id, 0, 4, ndesc);
			assert_int_equal(pair_tx_room(&f->p, 1000, 60), 128);
		}
		assert_false(f->p.broken);
		fix_close(f);
	}
}

/* ---- which features go together ---- */

static void test_offloads_that_cannot_stand_alone_are_taken_away(void **state)
{
	const uint64_t guest = F(VIRTIO_NET_F_GUEST_CSUM), v1 = MODERN;

	(void)state;
	assert_int_equal(netfeatures_usable(ALL | PACKED | IN_ORDER), ALL | PACKED | IN_ORDER);
	assert_int_equal(netfeatures_usable(ALL & ~CSUM), ALL & ~NETF_HOST);
	assert_int_equal(netfeatures_usable(ALL & ~guest), ALL & ~NETF_GUEST);
	assert_int_equal(netfeatures_usable(ALL & ~MERGE), MODERN | NETF_HOST | guest);
	assert_int_equal(netfeatures_usable(v1 | CSUM | F(VIRTIO_NET_F_HOST_ECN)), v1 | CSUM);
	assert_int_equal(netfeatures_usable(v1 | CSUM | F(VIRTIO_NET_F_HOST_ECN) | F(VIRTIO_NET_F_HOST_USO)),
			 v1 | CSUM | F(VIRTIO_NET_F_HOST_USO));
	assert_int_equal(netfeatures_usable(v1 | MERGE | guest | F(VIRTIO_NET_F_GUEST_ECN)), v1 | MERGE | guest);
	assert_int_equal(netfeatures_usable(PACKED | IN_ORDER | NETF_HOST), NETF_HOST & UINT32_MAX);
}

static void test_a_connection_is_described_in_words(void **state)
{
	char text[250];

	(void)state;
	netfeatures_describe(MODERN, text, sizeof(text));
	assert_string_equal(text, "split, offloads none");
	netfeatures_describe(MODERN | PACKED | IN_ORDER | MERGE | CSUM | F(VIRTIO_NET_F_GUEST_TSO4), text,
			     sizeof(text));
	assert_string_equal(text, "packed in_order mrg_rxbuf, offloads csum guest_tso4");
	netfeatures_describe(UINT64_MAX, text, sizeof(text));
	assert_true(strlen(text) < 200);
	netfeatures_describe(UINT64_MAX, text, 10);
	assert_int_equal(strlen(text), 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_longest_frame_goes_out_whole_with_its_header),
		cmocka_unit_test(test_a_frame_longer_than_that_is_refused),
		cmocka_unit_test(test_only_negotiated_offloads_may_be_asked_for),
		cmocka_unit_test(test_what_the_device_has_no_use_for_is_left_out_of_the_header),
		cmocka_unit_test(test_a_legacy_device_gets_ten_bytes_in_a_descriptor_of_their_own),
		cmocka_unit_test(test_a_frame_written_into_reserved_pieces_goes_out_as_it_is),
		cmocka_unit_test(test_reserving_takes_nothing_and_needs_room_for_the_longest_frame),
		cmocka_unit_test(test_a_small_ring_limits_what_is_sent),
		cmocka_unit_test(test_the_longest_merged_frame_comes_in_whole_with_its_header),
		cmocka_unit_test(test_many_long_frames_come_in_over_several_calls),
		cmocka_unit_test(test_a_frame_longer_than_was_negotiated_is_dropped),
		cmocka_unit_test(test_a_received_header_says_nothing_that_was_not_negotiated),
		cmocka_unit_test(test_a_legacy_header_of_ten_bytes_comes_in),
		cmocka_unit_test(test_buffers_that_a_run_leaves_out_count_as_full),
		cmocka_unit_test(test_sent_frames_given_back_in_one_run_free_all_their_buffers),
		cmocka_unit_test(test_offloads_that_cannot_stand_alone_are_taken_away),
		cmocka_unit_test(test_a_connection_is_described_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
