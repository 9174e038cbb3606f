/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues of both kinds with an honest guest: every combination of features
 * that changes the layout, payloads compared byte by byte, and the ring's life.
 * What only packed ones have: test_virtq_packed.c.
 */
#include <errno.h>
#include "guest_packets.h"

static void all_features(uint32_t size)
{
	for (unsigned mask = 0; mask < 32; mask++) {
		uint64_t f = (mask & 1 ? GUEST_V1 : 0) | (mask & 2 ? GUEST_INDIRECT : 0) |
			     (mask & 4 ? GUEST_EVENT : 0) | (mask & 8 ? GUEST_MRG : 0) | (mask & 16 ? GUEST_PACKED : 0);

		transmit(f, size);
		receive(f, size);
	}
}

static void every_payload_passes_with_all_features_in_a_ring_of_1(void **state)
{
	(void)state;
	all_features(1);
}

static void every_payload_passes_with_all_features_in_a_ring_of_2(void **state)
{
	(void)state;
	all_features(2);
}

static void every_payload_passes_with_all_features_in_a_ring_of_256(void **state)
{
	(void)state;
	all_features(256);
}

static void every_payload_passes_with_all_features_in_a_ring_of_1024(void **state)
{
	(void)state;
	all_features(1024);
}

/* --- a few shapes by hand --------------------------------------------------- */

static void one_at_a_time(uint64_t kind, uint32_t size, unsigned rounds)
{
	static const uint8_t data[60];
	const struct virtq_src src = { .data = data, .len = 60 };
	struct guest rx, tx;

	guest_open(&rx, VIRTQ_RX, size, GUEST_V1 | kind);
	guest_open(&tx, VIRTQ_TX, size, GUEST_V1 | GUEST_EVENT | kind);
	for (unsigned i = 0; i < rounds; i++) {
		guest_reset(&rx);
		guest_offer_one(&rx, 128);
		guest_expose(&rx);
		assert_int_equal(virtq_rx_put(&rx.vq, &src, 1), 1);
		virtq_publish(&rx.vq);
		assert_int_equal(guest_pending(&rx), 1);
		assert_int_equal(guest_take(&rx).len, 72);
		guest_reset(&tx);
		guest_offer_one(&tx, 72);
		guest_expose(&tx);
		assert_int_equal(virtq_tx_get(&tx.vq, &batch, 64), 1);
		virtq_tx_put(&tx.vq, &batch, 1);
		virtq_publish(&tx.vq);
		assert_int_equal(guest_pending(&tx), 1);
		guest_take(&tx);
	}
	guest_close(&rx);
	guest_close(&tx);
}

static void the_indexes_wrap_again_and_again(void **state)
{
	(void)state;
	one_at_a_time(0, 256, 140000);
	one_at_a_time(GUEST_PACKED, 256, 140000);
	one_at_a_time(GUEST_PACKED, 3, 1000);
}

static void a_header_split_over_twelve_descriptors_works(void **state)
{
	struct vring_desc piece[13];
	uint8_t data[72], got[60];
	struct guest g;
	uint64_t addr;

	(void)state;
	fill(data, sizeof(data), 1);
	memset(data, 0, 12);
	FOR_EACH_RING(kind, dir) {
		guest_open(&g, dir, 16, GUEST_V1 | GUEST_MRG | kind);
		addr = guest_alloc(&g, sizeof(data));
		for (unsigned i = 0; i < 13; i++)
			piece[i] = (struct vring_desc){ addr + i, i < 12 ? 1 : 60, guest_dir(&g), 0 };
		if (dir == VIRTQ_TX)
			guest_write(&g, addr, data, sizeof(data));
		guest_offer(&g, piece, 13, false);
		guest_expose(&g);
		if (dir == VIRTQ_TX) {
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
			assert_int_equal(batch.pkt[0].len, 60);
			virtq_pkt_copy(&batch.pkt[0], got);
		} else {
			const struct virtq_src src = { .data = data + 12, .len = 60 };
			uint8_t hdr[12];

			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
			guest_read(&g, addr, hdr, 12);
			assert_int_equal(hdr[10], 1);
			assert_int_equal(hdr[11], 0);
			guest_read(&g, addr + 12, got, 60);
		}
		assert_memory_equal(got, data + 12, 60);
		guest_close(&g);
	}
}

static void a_chain_exactly_as_long_as_the_ring_works(void **state)
{
	struct vring_desc piece[256];
	struct virtq_src src = { .data = frame[0], .len = 1024 };
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		guest_open(&g, dir, 256, GUEST_V1 | kind);
		/* Every other byte, so that nothing can be merged. */
		for (unsigned i = 0; i < 256; i++)
			piece[i] = (struct vring_desc){ guest_alloc(&g, 8), 5, guest_dir(&g), 0 };
		guest_offer(&g, piece, 256, false);
		guest_expose(&g);
		src.len = 256 * 5 - 12;
		if (dir == VIRTQ_TX) {
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
			assert_int_equal(batch.pkt[0].len, src.len);
		} else {
			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
			assert_int_equal(g.vq.stats.packets, 1);
		}
		assert_int_equal(g.vq.broken, 0);
		guest_close(&g);
	}
}

static void an_indirect_table_may_be_longer_than_the_ring(void **state)
{
	struct vring_desc piece[600];
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_TX, 2, GUEST_V1 | GUEST_INDIRECT | kind);
		for (unsigned i = 0; i < 600; i++)
			piece[i] = (struct vring_desc){ guest_alloc(&g, 4), 2, 0, 0 };
		guest_offer(&g, piece, 600, true);
		guest_expose(&g);
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
		assert_int_equal(batch.pkt[0].len, 1188);
		guest_close(&g);
	}
}

static void plain_descriptors_may_come_before_an_indirect_one(void **state)
{
	uint8_t data[12 + 60], got[60];
	struct guest g;
	uint64_t addr;

	(void)state;
	fill(data, sizeof(data), 3);
	memset(data, 0, 12);
	guest_open(&g, VIRTQ_TX, 4, GUEST_V1 | GUEST_INDIRECT);
	addr = guest_alloc(&g, sizeof(data));
	guest_write(&g, addr, data, sizeof(data));
	*(struct vring_desc *)guest_ptr(&g, GUEST_TABLE) = (struct vring_desc){ addr + 12, 60, 0, 0 };
	guest_desc(&g, 0, addr, 12, VRING_DESC_F_NEXT, 3);
	guest_desc(&g, 3, GUEST_TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	guest_avail(&g, 0);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
	assert_int_equal(batch.pkt[0].len, 60);
	virtq_pkt_copy(&batch.pkt[0], got);
	assert_memory_equal(got, data + 12, 60);
	guest_close(&g);
}

static void an_indirect_table_may_be_unaligned_and_cross_regions(void **state)
{
	static const unsigned before[] = { 1, 8, 16, 17, 24, 31 };
	struct vring_desc piece[2];
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
			guest_open(&g, VIRTQ_TX, 4, GUEST_V1 | GUEST_INDIRECT | kind);
			piece[0] = (struct vring_desc){ guest_alloc(&g, 12), 12, 0, 0 };
			piece[1] = (struct vring_desc){ guest_alloc(&g, 60), 60, 0, 0 };
			guest_table_at(&g, GUEST_SEAM - before[i], piece, 2);
			guest_expose(&g);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
			assert_int_equal(batch.pkt[0].len, 60);
			guest_close(&g);
		}
}

/* 2.7.5.3.2, 2.8.7: the device ignores the write flag of the descriptor that refers to the table. */
static void the_write_flag_of_an_indirect_descriptor_is_ignored(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		const uint16_t flags = VRING_DESC_F_INDIRECT | (dir == VIRTQ_TX ? VRING_DESC_F_WRITE : 0);
		const struct virtq_src src = { .data = frame[0], .len = 60 };
		struct vring_desc piece;

		guest_open(&g, dir, 4, GUEST_V1 | GUEST_INDIRECT | kind);
		piece = (struct vring_desc){ guest_alloc(&g, 72), 72, guest_dir(&g), 0 };
		guest_offer(&g, &piece, 1, true);
		if (kind)
			g.first_flags = (uint16_t)((g.first_flags & GUEST_AVAIL_USED) | flags);
		else
			g.desc[0].flags = flags;
		guest_expose(&g);
		if (dir == VIRTQ_TX)
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
		else
			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		assert_int_equal(g.vq.broken, 0);
		guest_close(&g);
	}
}

static void a_frame_merged_from_two_byte_buffers_counts_them_all(void **state)
{
	struct virtq_src src = { .data = frame[0], .len = 600 };
	struct guest g;

	(void)state;
	fill(frame[0], 600, 9);
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 1024, GUEST_V1 | GUEST_MRG | kind);
		for (unsigned i = 0; i < 301; i++) {
			const struct vring_desc d = { guest_alloc(&g, 32), i ? 2 : 12, VRING_DESC_F_WRITE, 0 };

			posted[guest_offer(&g, &d, 1, false)] = (struct posted){ d.addr, d.len };
			memset(guest_ptr(&g, d.addr), 0xee, d.len + 16);
		}
		guest_expose(&g);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 301);
		assert_int_equal(check_received(&g, &src, true), 301);
		guest_close(&g);
	}
}

/* The header is left alone where it is right already: where one bit is wrong it is not. */
static void the_header_is_right_whatever_stood_there(void **state)
{
	static const uint8_t right[12] = { [10] = 1 };
	const struct virtq_src src = { .data = frame[0], .len = 60 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 16, GUEST_V1 | GUEST_MRG | kind);
		for (unsigned bit = 0; bit <= 96; bit++) {
			uint8_t hdr[12];
			uint64_t addr;

			guest_reset(&g);
			addr = guest_offer_one(&g, 72);
			memcpy(hdr, right, sizeof(hdr));
			if (bit < 96)
				hdr[bit / 8] ^= (uint8_t)(1u << bit % 8);
			guest_write(&g, addr, hdr, sizeof(hdr));
			guest_expose(&g);
			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
			virtq_publish(&g.vq);
			guest_take(&g);
			guest_read(&g, addr, hdr, sizeof(hdr));
			assert_memory_equal(hdr, right, sizeof(hdr));
		}
		guest_close(&g);
	}
}

/* --- the ring's life --------------------------------------------------------- */

static void starting_with(struct virtq_config c, int want)
{
	struct virtq vq = { 0 };

	assert_int_equal(virtq_start(&vq, &c), want);
	assert_int_equal(vq.started, !want);
	virtq_stop(&vq);
}

static void sizes_that_are_no_power_of_two_are_refused(void **state)
{
	static const uint32_t bad[] = { 0, 3, 100, 255, 32767, 32769, 65535, 65536, 0x80000000, UINT32_MAX };
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 256, GUEST_V1, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		g.cfg.size = bad[i];
		starting_with(g.cfg, -EINVAL);
	}
	g.cfg.size = 1;
	starting_with(g.cfg, 0);
	g.cfg.size = 32768;
	starting_with(g.cfg, 0);
	guest_close(&g);
}

static void a_base_of_more_than_16_bits_is_refused(void **state)
{
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 256, GUEST_V1, 0);
	g.cfg.base = 65536;
	starting_with(g.cfg, -EINVAL);
	g.cfg.base = UINT32_MAX;
	starting_with(g.cfg, -EINVAL);
	g.cfg.base = 65535;
	starting_with(g.cfg, 0);
	guest_close(&g);
}

static void misaligned_parts_are_refused(void **state)
{
	struct virtq_config c;
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 256, GUEST_V1, 0);
	c = g.cfg;
	c.desc = (char *)c.desc + 8;
	starting_with(c, -EINVAL);
	c = g.cfg;
	c.avail = (char *)c.avail + 1;
	starting_with(c, -EINVAL);
	c = g.cfg;
	c.used = (char *)c.used + 2;
	starting_with(c, -EINVAL);
	guest_close(&g);
}

static void the_largest_ring_works(void **state)
{
	static uint16_t id[32768];
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open_at(&g, VIRTQ_TX, 32768, GUEST_V1 | GUEST_EVENT | kind, 40000);
		for (unsigned i = 0; i < 32768; i++)
			id[i] = guest_offer(&g, &(struct vring_desc){ GUEST_DATA, 72, 0, 0 }, 1, false);
		guest_expose(&g);
		for (unsigned i = 0; i < 32768; i += 64) {
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 64);
			assert_int_equal(batch.chain[batch.pkt[63].chain].id, id[i + 63]);
			virtq_tx_put(&g.vq, &batch, 64);
		}
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 0);
		assert_int_equal(guest_pending(&g), 0);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 32768);
		for (unsigned i = 0; i < 32768; i++)
			assert_int_equal(guest_take(&g).id, id[i]);
		guest_close(&g);
	}
}

/* Sends and gives back @n packets. */
static void send_some(struct guest *g, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		guest_offer_one(g, 72);
	guest_expose(g);
	assert_int_equal(virtq_tx_get(&g->vq, &batch, 64), n);
	virtq_tx_put(&g->vq, &batch, n);
	virtq_publish(&g->vq);
}

static void stopping_returns_the_next_avail_index(void **state)
{
	struct guest g;

	(void)state;
	guest_open_at(&g, VIRTQ_TX, 4, GUEST_V1, 65534);
	send_some(&g, 3);
	assert_int_equal(virtq_stop(&g.vq), 1);
	assert_false(virtq_usable(&g.vq));
	assert_int_equal(virtq_stop(&g.vq), 1);
	guest_close(&g);
}

static void stopping_a_ring_that_never_started_is_harmless(void **state)
{
	struct virtq vq = { 0 };

	(void)state;
	assert_int_equal(virtq_stop(&vq), 0);
}

static void a_ring_goes_on_where_it_was_stopped(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned put = 1; put <= 4; put++) {
			guest_open_at(&g, VIRTQ_TX, 4, GUEST_V1 | kind, 2);
			for (unsigned i = 0; i < 4; i++)
				guest_offer_one(&g, 72);
			guest_expose(&g);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, put), put);
			virtq_tx_put(&g.vq, &batch, put);
			virtq_publish(&g.vq);
			g.vq.resume = 7;
			g.cfg.base = virtq_stop(&g.vq);
			assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
			assert_int_equal(g.vq.resume, 0);
			assert_int_equal(g.vq.stats.repeated, 0);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 4 - put);
			virtq_tx_put(&g.vq, &batch, 4 - put);
			virtq_publish(&g.vq);
			assert_int_equal(guest_pending(&g), 4);
			for (unsigned i = 0; i < 4; i++)
				assert_int_equal(guest_take(&g).id, kind ? 3 - i : i);
			guest_close(&g);
		}
}

static void what_was_in_flight_at_a_reconnect_is_counted(void **state)
{
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 16, GUEST_V1, 65535);
	g.cfg.base = 4;		/* five were taken and not returned */
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	assert_int_equal(g.vq.stats.repeated, 5);
	guest_close(&g);
}

static void moving_a_ring_keeps_its_positions(void **state)
{
	struct gmem *old;
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open_at(&g, VIRTQ_TX, 8, GUEST_V1 | kind, 65530);
		send_some(&g, 7);
		for (unsigned i = 0; i < 7; i++)
			guest_take(&g);
		guest_reset(&g);
		guest_move(&g, &old);
		virtq_relocate(&g.vq, g.mem, g.cfg.desc, g.cfg.avail, g.cfg.used);
		gmem_put(old);
		send_some(&g, 2);
		assert_int_equal(guest_pending(&g), 2);
		assert_int_equal(guest_take(&g).id, kind ? 7 : 0);
		assert_int_equal(virtq_stop(&g.vq) & 0xffff, g.avail_idx);
		guest_close(&g);
	}
}

static void every_error_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VIRTQ_ERRORS; i++) {
		assert_non_null(virtq_error_name(i));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(virtq_error_name(i), virtq_error_name(j));
	}
	assert_string_equal(virtq_error_name(VIRTQ_ERRORS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_1),
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_2),
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_256),
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_1024),
		cmocka_unit_test(the_indexes_wrap_again_and_again),
		cmocka_unit_test(a_header_split_over_twelve_descriptors_works),
		cmocka_unit_test(a_chain_exactly_as_long_as_the_ring_works),
		cmocka_unit_test(an_indirect_table_may_be_longer_than_the_ring),
		cmocka_unit_test(plain_descriptors_may_come_before_an_indirect_one),
		cmocka_unit_test(an_indirect_table_may_be_unaligned_and_cross_regions),
		cmocka_unit_test(the_write_flag_of_an_indirect_descriptor_is_ignored),
		cmocka_unit_test(a_frame_merged_from_two_byte_buffers_counts_them_all),
		cmocka_unit_test(the_header_is_right_whatever_stood_there),
		cmocka_unit_test(sizes_that_are_no_power_of_two_are_refused),
		cmocka_unit_test(a_base_of_more_than_16_bits_is_refused),
		cmocka_unit_test(misaligned_parts_are_refused),
		cmocka_unit_test(the_largest_ring_works),
		cmocka_unit_test(stopping_returns_the_next_avail_index),
		cmocka_unit_test(stopping_a_ring_that_never_started_is_harmless),
		cmocka_unit_test(a_ring_goes_on_where_it_was_stopped),
		cmocka_unit_test(what_was_in_flight_at_a_reconnect_is_counted),
		cmocka_unit_test(moving_a_ring_keeps_its_positions),
		cmocka_unit_test(every_error_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
