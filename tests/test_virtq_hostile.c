/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues with a guest that lies: each test is one lie, told to tx and rx rings of both kinds where it fits them.
 * Lies that need a packed ring: test_virtq_packed.c.
 */
#include "guest_checks.h"

/* --- the ring itself --------------------------------------------------------- */

static void an_avail_index_that_jumps_breaks_the_ring(void **state)
{
	static const uint16_t jumps[] = { 17, 256, 32768, 65535 };
	struct guest g;

	(void)state;
	FOR_BOTH(dir)
		for (unsigned i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
			guest_open(&g, dir, 16, ALL);
			g.avail_idx = jumps[i];
			breaks(&g, VIRTQ_BROKEN_AVAIL);
		}
}

static void an_avail_index_that_goes_back_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		guest_open_at(&g, dir, 16, ALL, 100);
		g.avail_idx = 99;
		breaks(&g, VIRTQ_BROKEN_AVAIL);
	}
}

static void a_jump_is_not_counted_as_pending(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 16, ALL);
	g.avail_idx = 17;
	guest_expose(&g);
	assert_false(virtq_pending(&g.vq));
	guest_close(&g);
}

static void a_head_out_of_range_breaks_the_ring(void **state)
{
	static const uint16_t heads[] = { 16, 17, 32768, 65535 };
	struct guest g;

	(void)state;
	FOR_BOTH(dir)
		for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
			guest_open(&g, dir, 16, ALL);
			guest_avail(&g, heads[i]);
			breaks(&g, VIRTQ_BROKEN_HEAD);
		}
}

static void packets_before_a_bad_head_are_taken_but_not_published(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 16, ALL);
	guest_offer_one(&g, 72);
	guest_offer_one(&g, 72);
	guest_avail(&g, 16);
	guest_expose(&g);
	assert_int_equal(turn(&g, 60), 2);
	assert_int_equal(g.vq.broken, VIRTQ_BROKEN_HEAD);
	assert_false(virtq_publish(&g.vq));
	assert_int_equal(guest_pending(&g), 0);
	guest_close(&g);
}

static void the_same_head_for_ever_is_bounded(void **state)
{
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		guest_open(&g, dir, 16, ALL);
		guest_offer_one(&g, 128);
		for (unsigned i = 0; i < 15; i++)
			guest_avail(&g, 0);
		guest_expose(&g);
		assert_int_equal(turn(&g, 60), dir == VIRTQ_TX ? 16 : 2);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), dir == VIRTQ_TX ? 16 : 2);
		assert_int_equal(g.vq.broken, 0);
		guest_close(&g);
	}
}

/* --- chains ------------------------------------------------------------------- */

static void a_next_out_of_range_breaks_the_ring(void **state)
{
	static const uint16_t next[] = { 16, 17, 65535 };
	struct guest g;

	(void)state;
	FOR_BOTH(dir)
		for (unsigned i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
			guest_open(&g, dir, 16, ALL);
			guest_desc(&g, 0, GUEST_DATA, 4, VRING_DESC_F_NEXT | guest_dir(&g), next[i]);
			guest_avail(&g, 0);
			breaks(&g, VIRTQ_BROKEN_CHAIN);
		}
}

static void a_chain_that_loops_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		guest_open(&g, dir, 16, ALL);
		guest_desc(&g, 0, GUEST_DATA, 1, VRING_DESC_F_NEXT | guest_dir(&g), 0);
		guest_avail(&g, 0);
		breaks(&g, VIRTQ_BROKEN_CHAIN);
		/* and through others, and empty */
		guest_open(&g, dir, 16, ALL);
		for (unsigned i = 0; i < 3; i++)
			guest_desc(&g, i, GUEST_DATA, 0, VRING_DESC_F_NEXT | guest_dir(&g), (uint16_t)((i + 1) % 3));
		guest_avail(&g, 1);
		breaks(&g, VIRTQ_BROKEN_CHAIN);
	}
}

/* Once it has more data than any frame, nobody looks whether it ends. */
static void a_loop_with_much_data_is_dropped_as_too_long(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 16, ALL);
	guest_desc(&g, 0, GUEST_DATA, 1000, VRING_DESC_F_NEXT, 0);
	guest_avail(&g, 0);
	drops(&g, VIRTQ_DROP_LONG);
}

static void a_chain_one_longer_than_the_ring_breaks_it(void **state)
{
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		guest_open(&g, dir, 16, ALL);
		for (unsigned i = 0; i < 16; i++)
			guest_desc(&g, i, GUEST_DATA, 1, VRING_DESC_F_NEXT | guest_dir(&g), (uint16_t)((i + 1) % 16));
		guest_avail(&g, 0);
		breaks(&g, VIRTQ_BROKEN_CHAIN);
	}
}

static void a_buffer_of_the_wrong_direction_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		open_one(&g, kind, dir, GUEST_DATA, 128, dir == VIRTQ_RX ? 0 : VRING_DESC_F_WRITE);
		breaks(&g, VIRTQ_BROKEN_DIRECTION);
	}
}

static void a_wrong_direction_later_in_the_chain_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		guest_open(&g, dir, 16, ALL | kind);
		tell(&g, GUEST_DATA, 12, VRING_DESC_F_NEXT | guest_dir(&g));
		tell(&g, GUEST_DATA + 12, 100, dir == VIRTQ_RX ? 0 : VRING_DESC_F_WRITE);
		breaks(&g, VIRTQ_BROKEN_DIRECTION);
	}
}

/* --- indirect tables ------------------------------------------------------------ */

static void an_indirect_table_that_was_not_negotiated_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		open_indirect(&g, kind, dir, GUEST_TABLE, 16, 0);
		g.cfg.features = GUEST_V1 | kind;
		virtq_stop(&g.vq);
		virtq_start(&g.vq, &g.cfg);
		breaks(&g, VIRTQ_BROKEN_INDIRECT);
	}
}

static void indirect_table_of(uint32_t len)
{
	struct guest g;

	FOR_EACH_RING(kind, dir) {
		open_indirect(&g, kind, dir, GUEST_TABLE, len, 0);
		breaks(&g, VIRTQ_BROKEN_INDIRECT);
	}
}

static void an_indirect_table_of_no_length_breaks_the_ring(void **state)
{
	(void)state;
	indirect_table_of(0);
}

static void an_indirect_table_of_part_of_an_entry_breaks_the_ring(void **state)
{
	(void)state;
	indirect_table_of(1);
	indirect_table_of(15);
	indirect_table_of(17);
	indirect_table_of(UINT32_MAX);
}

static void an_indirect_table_that_is_too_large_breaks_the_ring(void **state)
{
	(void)state;
	indirect_table_of(1025 * 16);
	indirect_table_of(65536 * 16);
	indirect_table_of(UINT32_MAX - 15);
}

static void an_indirect_table_outside_memory_breaks_the_ring(void **state)
{
	static const uint64_t at[] = { 0, GUEST_BASE - 1, GUEST_BASE - 16, GUEST_END - 31, GUEST_END, UINT64_MAX - 15 };
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir)
		for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
			open_indirect(&g, kind, dir, at[i], 32, 0);
			breaks(&g, VIRTQ_BROKEN_INDIRECT);
		}
}

static void a_nested_indirect_table_breaks_the_ring(void **state)
{
	struct vring_desc *table;
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		table = open_indirect(&g, 0, dir, GUEST_TABLE, 32, 0);
		table[0] = (struct vring_desc){ GUEST_TABLE, 32, VRING_DESC_F_INDIRECT, 0 };
		breaks(&g, VIRTQ_BROKEN_INDIRECT);
		table = open_indirect(&g, 0, dir, GUEST_TABLE, 32, 0);
		table[0] = (struct vring_desc){ GUEST_DATA, 4, VRING_DESC_F_NEXT | guest_dir(&g), 1 };
		table[1] = (struct vring_desc){ GUEST_TABLE, 32, VRING_DESC_F_INDIRECT, 0 };
		breaks(&g, VIRTQ_BROKEN_INDIRECT);
	}
}

static void an_indirect_descriptor_with_next_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		open_indirect(&g, kind, dir, GUEST_TABLE, 16, VRING_DESC_F_NEXT);
		breaks(&g, VIRTQ_BROKEN_INDIRECT);
	}
}

static void a_next_outside_the_indirect_table_breaks_the_ring(void **state)
{
	struct vring_desc *table;
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		table = open_indirect(&g, 0, dir, GUEST_TABLE, 32, 0);
		table[0] = (struct vring_desc){ GUEST_DATA, 4, VRING_DESC_F_NEXT | guest_dir(&g), 2 };
		breaks(&g, VIRTQ_BROKEN_CHAIN);
	}
}

static void a_loop_in_an_indirect_table_breaks_the_ring(void **state)
{
	struct vring_desc *table;
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		table = open_indirect(&g, 0, dir, GUEST_TABLE, 32, 0);
		table[0] = (struct vring_desc){ GUEST_DATA, 4, VRING_DESC_F_NEXT | guest_dir(&g), 1 };
		table[1] = (struct vring_desc){ GUEST_DATA, 4, VRING_DESC_F_NEXT | guest_dir(&g), 0 };
		breaks(&g, VIRTQ_BROKEN_CHAIN);
	}
}

static void a_wrong_direction_in_an_indirect_table_breaks_the_ring(void **state)
{
	struct vring_desc *table;
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		if (kind && dir == VIRTQ_TX)	/* DPDK does it: test_virtq_packed.c */
			continue;
		table = open_indirect(&g, kind, dir, GUEST_TABLE, 16, 0);
		if (kind)
			((struct vring_packed_desc *)(void *)table)->flags ^= VRING_DESC_F_WRITE;
		else
			table->flags ^= VRING_DESC_F_WRITE;
		breaks(&g, VIRTQ_BROKEN_DIRECTION);
	}
}

/* --- buffers ---------------------------------------------------------------------- */

static void buffer_at(uint64_t addr, uint32_t len)
{
	struct guest g;

	FOR_EACH_RING(kind, dir) {
		open_one(&g, kind, dir, addr, len, dir == VIRTQ_RX ? VRING_DESC_F_WRITE : 0);
		drops(&g, VIRTQ_DROP_ADDRESS);
	}
}

static void a_buffer_outside_memory_is_dropped(void **state)
{
	(void)state;
	buffer_at(0, 128);
	buffer_at(GUEST_END, 128);
	buffer_at(UINT64_MAX, 1);
}

static void a_buffer_whose_first_byte_is_outside_is_dropped(void **state)
{
	(void)state;
	buffer_at(GUEST_BASE - 1, 128);
}

static void a_buffer_whose_last_byte_is_outside_is_dropped(void **state)
{
	(void)state;
	buffer_at(GUEST_END - 127, 128);
	buffer_at(GUEST_DATA, UINT32_MAX);
}

static void one_bad_buffer_of_a_chain_drops_all_of_it(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir)
		for (unsigned bad = 0; bad < 3; bad++) {
			guest_open(&g, dir, 16, ALL | kind);
			for (unsigned i = 0; i < 3; i++)
				tell(&g, i == bad ? GUEST_END : GUEST_DATA, 26,
				     guest_dir(&g) | (i < 2 ? VRING_DESC_F_NEXT : 0));
			drops(&g, VIRTQ_DROP_ADDRESS);
		}
}

static void a_buffer_that_wraps_is_dropped(void **state)
{
	(void)state;
	buffer_at(UINT64_MAX - 100, 128);
	buffer_at(UINT64_MAX - UINT32_MAX + 2, UINT32_MAX);
}

static void a_front_end_address_is_no_guest_address(void **state)
{
	(void)state;
	buffer_at(GUEST_USER, 128);
}

static void a_buffer_over_two_regions_works(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		open_one(&g, kind, dir, GUEST_SEAM - 20, 72, dir == VIRTQ_RX ? VRING_DESC_F_WRITE : 0);
		guest_expose(&g);
		memset(frame, 5, 60);
		if (dir == VIRTQ_TX)
			guest_write(&g, GUEST_SEAM - 20 + 12, frame, 60);
		assert_int_equal(turn(&g, 60), 1);
		assert_int_equal(*(uint8_t *)guest_ptr(&g, GUEST_SEAM - 1), 5);
		assert_int_equal(*(uint8_t *)guest_ptr(&g, GUEST_SEAM + 51), 5);
		assert_int_equal(frame[59], 5);
		guest_close(&g);
	}
}

static void a_chain_without_any_bytes_is_dropped(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		open_one(&g, kind, VIRTQ_TX, GUEST_DATA, 0, 0);
		drops(&g, VIRTQ_DROP_SHORT);
		open_one(&g, kind, VIRTQ_RX, GUEST_DATA, 0, VRING_DESC_F_WRITE);
		drops(&g, VIRTQ_DROP_NO_BUFFER);
	}
}

/* Nothing is read or written at the address of an empty buffer. */
static void an_empty_buffer_may_be_anywhere(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		guest_open(&g, dir, 16, ALL | kind);
		tell(&g, 0, 0, VRING_DESC_F_NEXT | guest_dir(&g));
		tell(&g, GUEST_DATA, 72, guest_dir(&g));
		guest_expose(&g);
		assert_int_equal(turn(&g, 60), 1);
		guest_close(&g);
	}
}

static void a_chain_shorter_than_header_and_ethernet_is_dropped(void **state)
{
	static const uint32_t lens[] = { 1, 11, 12, 13, 25 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			open_one(&g, kind, VIRTQ_TX, GUEST_DATA, lens[i], 0);
			drops(&g, VIRTQ_DROP_SHORT);
		}
		open_one(&g, kind, VIRTQ_TX, GUEST_DATA, 26, 0);
		guest_expose(&g);
		assert_int_equal(turn(&g, 0), 1);
		guest_close(&g);
	}
}

static void a_packet_longer_than_the_largest_frame_is_dropped(void **state)
{
	static const uint32_t lens[] = { 12 + GUEST_MAX_FRAME + 1, 65535, 65536, 65537, 0x100000 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			open_one(&g, kind, VIRTQ_TX, GUEST_DATA, lens[i], 0);
			drops(&g, VIRTQ_DROP_LONG);
		}
		guest_open(&g, VIRTQ_TX, 16, ALL | kind);
		tell(&g, GUEST_DATA, 12 + GUEST_MAX_FRAME, VRING_DESC_F_NEXT);
		tell(&g, GUEST_DATA, 1, 0);
		drops(&g, VIRTQ_DROP_LONG);
		open_one(&g, kind, VIRTQ_TX, GUEST_DATA, 12 + GUEST_MAX_FRAME, 0);
		guest_expose(&g);
		assert_int_equal(turn(&g, 0), 1);
		guest_close(&g);
	}
}

/* 16 * (2^32 - 1) would be small again in 32 bits; each part alone is inside memory or is not looked at. */
static void lengths_that_add_up_beyond_32_bits_are_dropped(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_TX, 16, ALL | kind);
		tell(&g, GUEST_DATA, 72, VRING_DESC_F_NEXT);
		tell(&g, GUEST_DATA, UINT32_MAX - 71, 0);
		drops_or(&g, VIRTQ_DROP_LONG, VIRTQ_DROP_ADDRESS);
	}
}

static void an_offload_that_was_not_negotiated_is_dropped(void **state)
{
	const struct virtio_net_hdr_v1 bad[] = {
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 },
		{ .gso_type = 0xff },
		{ .gso_type = VIRTIO_NET_HDR_GSO_ECN },
		{ .flags = 0xff, .gso_type = 0xff, .hdr_len = 0xffff, .gso_size = 0xffff, .csum_start = 0xffff },
	};
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			open_one(&g, kind, VIRTQ_TX, GUEST_DATA, 72, 0);
			guest_write(&g, GUEST_DATA, &bad[i], sizeof(bad[i]));
			g.next_data = GUEST_DATA + 4096;
			drops(&g, VIRTQ_DROP_OFFLOAD);
		}
}

/* More pieces than one batch holds, in chains that are fine one by one: the rest comes with the next batch. */
static void a_batch_that_runs_out_of_pieces_leaves_the_rest(void **state)
{
	struct vring_desc piece[200];
	unsigned taken, turns;
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		guest_open(&g, VIRTQ_TX, 4096, ALL | (i & 1 ? GUEST_PACKED : 0));
		for (unsigned k = 0; k < 200; k++)
			piece[k] = (struct vring_desc){ guest_alloc(&g, 4), 2, 0, 0 };
		for (unsigned k = 0; k < 16; k++)
			guest_offer(&g, piece, 200, i & 2);
		guest_expose(&g);
		for (taken = turns = 0; taken < 16 && turns < 16; turns++) {
			taken += turn(&g, 0);
			virtq_publish(&g.vq);
		}
		assert_int_equal(taken, 16);
		assert_int_equal(turns, 4);
		assert_int_equal(guest_pending(&g), 16);
		guest_close(&g);
	}
}

static void a_chain_of_more_pieces_than_a_batch_holds_is_dropped(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		guest_open(&g, dir, 4096, GUEST_V1 | kind);
		g.cfg.max_frame = 9018;
		virtq_stop(&g.vq);
		virtq_start(&g.vq, &g.cfg);
		for (unsigned i = 0; i < 1500; i++)
			tell(&g, GUEST_DATA + 4 * i, 2, (i < 1499 ? VRING_DESC_F_NEXT : 0) | guest_dir(&g));
		guest_expose(&g);
		assert_int_equal(turn(&g, 2500), 0);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_PIECES], 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 1);
		guest_close(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_avail_index_that_jumps_breaks_the_ring),
		cmocka_unit_test(an_avail_index_that_goes_back_breaks_the_ring),
		cmocka_unit_test(a_jump_is_not_counted_as_pending),
		cmocka_unit_test(a_head_out_of_range_breaks_the_ring),
		cmocka_unit_test(packets_before_a_bad_head_are_taken_but_not_published),
		cmocka_unit_test(the_same_head_for_ever_is_bounded),
		cmocka_unit_test(a_next_out_of_range_breaks_the_ring),
		cmocka_unit_test(a_chain_that_loops_breaks_the_ring),
		cmocka_unit_test(a_loop_with_much_data_is_dropped_as_too_long),
		cmocka_unit_test(a_chain_one_longer_than_the_ring_breaks_it),
		cmocka_unit_test(a_buffer_of_the_wrong_direction_breaks_the_ring),
		cmocka_unit_test(a_wrong_direction_later_in_the_chain_breaks_the_ring),
		cmocka_unit_test(an_indirect_table_that_was_not_negotiated_breaks_the_ring),
		cmocka_unit_test(an_indirect_table_of_no_length_breaks_the_ring),
		cmocka_unit_test(an_indirect_table_of_part_of_an_entry_breaks_the_ring),
		cmocka_unit_test(an_indirect_table_that_is_too_large_breaks_the_ring),
		cmocka_unit_test(an_indirect_table_outside_memory_breaks_the_ring),
		cmocka_unit_test(a_nested_indirect_table_breaks_the_ring),
		cmocka_unit_test(an_indirect_descriptor_with_next_breaks_the_ring),
		cmocka_unit_test(a_next_outside_the_indirect_table_breaks_the_ring),
		cmocka_unit_test(a_loop_in_an_indirect_table_breaks_the_ring),
		cmocka_unit_test(a_wrong_direction_in_an_indirect_table_breaks_the_ring),
		cmocka_unit_test(a_buffer_outside_memory_is_dropped),
		cmocka_unit_test(a_buffer_whose_first_byte_is_outside_is_dropped),
		cmocka_unit_test(a_buffer_whose_last_byte_is_outside_is_dropped),
		cmocka_unit_test(one_bad_buffer_of_a_chain_drops_all_of_it),
		cmocka_unit_test(a_buffer_that_wraps_is_dropped),
		cmocka_unit_test(a_front_end_address_is_no_guest_address),
		cmocka_unit_test(a_buffer_over_two_regions_works),
		cmocka_unit_test(a_chain_without_any_bytes_is_dropped),
		cmocka_unit_test(an_empty_buffer_may_be_anywhere),
		cmocka_unit_test(a_chain_shorter_than_header_and_ethernet_is_dropped),
		cmocka_unit_test(a_packet_longer_than_the_largest_frame_is_dropped),
		cmocka_unit_test(lengths_that_add_up_beyond_32_bits_are_dropped),
		cmocka_unit_test(an_offload_that_was_not_negotiated_is_dropped),
		cmocka_unit_test(a_batch_that_runs_out_of_pieces_leaves_the_rest),
		cmocka_unit_test(a_chain_of_more_pieces_than_a_batch_holds_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
