/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What only packed virtqueues have: any size, wrap counters, buffer ids, used
 * descriptors written over available ones, event suppression; and the lies that
 * can be told with them.
 */
#include <errno.h>

#include "guest_packets.h"

#define TX VIRTQ_TX
#define RX VIRTQ_RX
#define ALL (GUEST_V1 | GUEST_INDIRECT | GUEST_EVENT | GUEST_PACKED)

static const uint32_t sizes[] = { 1, 2, 3, 5, 7, 100, 256, 32768 };

#define FOR_SIZES(s) for (const uint32_t *s = sizes; s < sizes + sizeof(sizes) / sizeof(sizes[0]); s++)

/* One turn of a worker. Return: packets taken or delivered. */
static unsigned turn(struct guest *g, uint32_t len)
{
	const struct virtq_src src[2] = { { .data = frame[0], .len = len }, { .data = frame[0], .len = len } };
	uint64_t before = g->vq.stats.packets;

	if (g->cfg.dir == TX)
		virtq_tx_put(&g->vq, &batch, virtq_tx_get(&g->vq, &batch, VIRTQ_BATCH));
	else
		virtq_rx_put(&g->vq, src, 2);
	return (unsigned)(g->vq.stats.packets - before);
}

/* The ring breaks for @why when a packet of @len bytes comes, and the guest hears nothing more from it. */
static void breaks_at(struct guest *g, uint32_t len, enum virtq_error why)
{
	guest_expose(g);
	turn(g, len);
	assert_string_equal(virtq_error_name(g->vq.broken), virtq_error_name(why));
	assert_false(virtq_publish(&g->vq));
	assert_int_equal(turn(g, 60), 0);
	assert_int_equal(guest_pending(g), 0);
	assert_int_equal(g->vq.stats.errors[why], 1);
	guest_close(g);
}

static void breaks(struct guest *g, enum virtq_error why)
{
	breaks_at(g, 1000, why);
}

/* One good buffer of 72 bytes with a buffer id that the test chooses. */
static void good(struct guest *g, uint16_t id)
{
	guest_raw(g, guest_alloc(g, 72), 72, guest_dir(g), id);
}

/* --- honest ----------------------------------------------------------------------- */

static void every_payload_passes_in_rings_of_any_size(void **state)
{
	(void)state;
	FOR_SIZES(size)
		for (unsigned mask = 0; mask < 4; mask++) {
			uint64_t f = ALL | (mask & 1 ? GUEST_MRG : 0) | (mask & 2 ? GUEST_IN_ORDER : 0);

			transmit(f, *size);
			receive(f, *size);
		}
}

static void the_wrap_counters_turn_many_rounds(void **state)
{
	(void)state;
	FOR_SIZES(size) {
		uint64_t seed = *size;
		unsigned rounds = *size == 32768 ? 2000 : 20000;
		struct guest g;

		guest_open(&g, TX, *size, GUEST_V1 | GUEST_PACKED);
		for (unsigned i = 0; i < rounds; i++) {
			unsigned most = *size < 40 ? *size : 40, n = guest_random(&seed) % most + 1;
			uint16_t first = g.avail_idx, id = (uint16_t)(guest_random(&seed) % *size);

			guest_reset(&g);
			for (unsigned k = 0; k < n; k++)
				guest_raw(&g, GUEST_DATA, k ? 1 : 72, k + 1 < n ? VRING_DESC_F_NEXT : 0, id);
			assert_false(virtq_pending(&g.vq));
			guest_expose(&g);
			assert_true(virtq_pending(&g.vq));
			assert_int_equal(turn(&g, 0), 1);
			assert_false(virtq_pending(&g.vq));
			virtq_publish(&g.vq);
			assert_int_equal(guest_pending(&g), 1);
			assert_int_equal(guest_take(&g).id, id);
			assert_int_equal(g.used_idx, guest_forward(&g, first, n));
		}
		assert_int_equal(virtq_stop(&g.vq), g.avail_idx * 0x10001u);
		guest_close(&g);
	}
}

/* 2.8.6: the id is that of the last descriptor; the others may say what they like. */
static void a_chain_over_the_end_of_the_ring_works(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned at = 0; at < 5; at++)
		for (unsigned dir = RX; dir <= TX; dir++) {
			guest_open_at(&g, dir, 5, GUEST_V1 | GUEST_PACKED, (uint16_t)at);
			for (unsigned i = 0; i < 4; i++)
				guest_raw(&g, guest_alloc(&g, 40), 20, guest_dir(&g) | (i < 3 ? VRING_DESC_F_NEXT : 0),
					  i < 3 ? 0xffff : 4);
			good(&g, 0);
			guest_expose(&g);
			assert_int_equal(turn(&g, 60), 2);
			virtq_publish(&g.vq);
			assert_int_equal(guest_pending(&g), 2);
			assert_int_equal(guest_take(&g).id, 4);
			assert_int_equal(guest_take(&g).id, 0);
			guest_close(&g);
		}
}

/* 2.8.1, 2.8.3: AVAIL and USED as the round has it, WRITE when something was written, where the chain began. */
static void a_used_descriptor_says_what_was_done(void **state)
{
	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++)
		for (unsigned round = 0; round < 2; round++) {
			const uint16_t used = round ? 0 : GUEST_AVAIL_USED;
			struct vring_packed_desc tail;
			struct guest g;

			guest_open_at(&g, dir, 4, GUEST_V1 | GUEST_PACKED, round ? 0x8000 : 0);
			guest_raw(&g, guest_alloc(&g, 12), 12, guest_dir(&g) | VRING_DESC_F_NEXT, 9);
			guest_raw(&g, guest_alloc(&g, 100), 100, guest_dir(&g), 3);
			good(&g, 2);
			guest_raw(&g, 0, 100, guest_dir(&g), 1);	/* nowhere: dropped */
			guest_expose(&g);
			tail = g.packed[1];
			turn(&g, 60);
			turn(&g, 60);
			virtq_publish(&g.vq);
			assert_int_equal(g.packed[0].flags, used | (dir == RX ? VRING_DESC_F_WRITE : 0));
			assert_int_equal(g.packed[0].id, 3);
			assert_int_equal(g.packed[0].len, dir == RX ? 72 : 0);
			assert_memory_equal(&g.packed[1], &tail, sizeof(tail));
			assert_int_equal(g.packed[2].flags, used | (dir == RX ? VRING_DESC_F_WRITE : 0));
			assert_int_equal(g.packed[2].id, 2);
			assert_int_equal(g.packed[2].len, dir == RX ? 72 : 0);
			assert_int_equal(g.packed[3].flags, used);
			assert_int_equal(g.packed[3].id, 1);
			assert_int_equal(g.packed[3].len, 0);
			guest_close(&g);
		}
}

/* 2.8.9: the guest never sees a part of a merged packet, or of a batch. */
static void a_batch_becomes_visible_at_once(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++) {
		guest_open_at(&g, dir, 7, GUEST_V1 | GUEST_PACKED | GUEST_MRG, 4);
		for (unsigned i = 0; i < 6; i++)
			guest_offer_one(&g, 72);
		guest_expose(&g);
		assert_int_equal(turn(&g, 120), dir == RX ? 2 : 6);
		assert_int_equal(guest_at(&g, g.used_idx)->flags,
				 guest_available(g.used_idx) | (dir == RX ? VRING_DESC_F_WRITE : 0));
		assert_int_equal(guest_pending(&g), 0);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), dir == RX ? 4 : 6);
		guest_close(&g);
	}
}

static void bits_in_an_indirect_table_that_mean_nothing_are_ignored(void **state)
{
	struct vring_packed_desc *table;
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++) {
		guest_open(&g, dir, 4, ALL);
		guest_raw(&g, GUEST_TABLE, 32, VRING_DESC_F_INDIRECT, 0);
		table = guest_ptr(&g, GUEST_TABLE);
		for (unsigned i = 0; i < 2; i++)
			table[i] = (struct vring_packed_desc){
				guest_alloc(&g, 50), 36, 0xffff, 0xfffd | guest_dir(&g),
			};
		guest_expose(&g);
		assert_int_equal(turn(&g, 60), 1);
		assert_int_equal(g.vq.broken, 0);
		guest_close(&g);
	}
}

static void what_an_indirect_table_sends_is_read_whatever_direction_it_says(void **state)
{
	struct vring_packed_desc *table;
	struct guest g;

	(void)state;
	guest_open(&g, TX, 4, ALL);
	guest_raw(&g, GUEST_TABLE, 32, VRING_DESC_F_INDIRECT, 0);
	table = guest_ptr(&g, GUEST_TABLE);
	table[0] = (struct vring_packed_desc){ guest_alloc(&g, 12), 12, 0, VRING_DESC_F_WRITE };
	table[1] = (struct vring_packed_desc){ guest_alloc(&g, 60), 60, 0, 0 };
	guest_expose(&g);
	assert_int_equal(turn(&g, 60), 1);
	assert_int_equal(g.vq.broken, 0);
	guest_close(&g);
}

static void empty_buffers_in_a_batch_are_dropped_or_passed_over(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, TX, 16, ALL);
	for (unsigned i = 0; i < 16; i++) {
		if (i % 4 == 1)		/* nothing at all */
			guest_raw(&g, 0, 0, 0, (uint16_t)i);
		else if (i % 4 == 2)	/* nothing, and then a packet */
			guest_raw(&g, UINT64_MAX, 0, VRING_DESC_F_NEXT, 99);
		else
			good(&g, (uint16_t)i);
	}
	guest_expose(&g);
	assert_int_equal(turn(&g, 0), 8);
	assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_SHORT], 4);
	assert_int_equal(g.vq.broken, 0);
	virtq_publish(&g.vq);
	assert_int_equal(guest_pending(&g), 12);
	guest_close(&g);
}

/* --- the ring's life ------------------------------------------------------------------ */

static void starting_with(struct virtq_config c, int want)
{
	struct virtq vq = { 0 };

	assert_int_equal(virtq_start(&vq, &c), want);
	assert_int_equal(vq.started, !want);
	virtq_stop(&vq);
}

static void any_size_up_to_32768_is_legal(void **state)
{
	static const uint32_t bad[] = { 0, 32769, 65535, 65536, 0x80000000, UINT32_MAX };
	struct guest g;

	(void)state;
	guest_prepare(&g, TX, 256, ALL, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		g.cfg.size = bad[i];
		starting_with(g.cfg, -EINVAL);
	}
	FOR_SIZES(size) {
		g.cfg.size = *size;
		starting_with(g.cfg, 0);
	}
	guest_close(&g);
}

static void a_position_outside_the_ring_is_refused(void **state)
{
	struct guest g;

	(void)state;
	guest_prepare(&g, TX, 100, ALL, 0);
	for (unsigned wrap = 0; wrap <= GUEST_WRAP; wrap += GUEST_WRAP) {
		g.cfg.base = 100 | wrap;
		starting_with(g.cfg, -EINVAL);
		g.cfg.base = 0x7fff | wrap;
		starting_with(g.cfg, -EINVAL);
		g.cfg.base = 99 | wrap;
		starting_with(g.cfg, 0);
		/* The upper half, the position of used, is not looked at: some front-ends leave it empty. */
		g.cfg.base = 99 | wrap | 0xffff0000;
		starting_with(g.cfg, 0);
	}
	g.cfg.size = 32768;
	g.cfg.base = 0xffff;
	starting_with(g.cfg, 0);
	guest_close(&g);
}

static void misaligned_parts_are_refused(void **state)
{
	struct virtq_config c;
	struct guest g;

	(void)state;
	guest_prepare(&g, TX, 100, ALL, 0);
	c = g.cfg;
	c.desc = (char *)c.desc + 8;
	starting_with(c, -EINVAL);
	c = g.cfg;
	c.avail = (char *)c.avail + 2;
	starting_with(c, -EINVAL);
	c = g.cfg;
	c.used = (char *)c.used + 2;
	starting_with(c, -EINVAL);
	guest_close(&g);
}

static void a_ring_that_begins_anew_while_its_driver_goes_on_is_noticed(void **state)
{
	struct guest g;

	(void)state;
	FOR_SIZES(size) {
		guest_open(&g, TX, *size, ALL);
		assert_false(virtq_is_out_of_step(&g.vq));
		for (unsigned i = 0; i < 3 * *size && i < 1000; i++) {
			guest_reset(&g);
			good(&g, (uint16_t)(i % *size));
			guest_expose(&g);
			turn(&g, 1);
			virtq_publish(&g.vq);
			guest_take(&g);
			g.cfg.base = virtq_stop(&g.vq);
			assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
			assert_false(virtq_is_out_of_step(&g.vq) && g.cfg.base != 0x80008000);
			virtq_stop(&g.vq);
			g.cfg.base = 0x80008000;
			assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
			/* After two rounds all is as in a new ring, and it begins where a new one does. */
			assert_int_equal(virtq_is_out_of_step(&g.vq), (i + 1) % (2 * *size) != 0);
			virtq_stop(&g.vq);
			g.cfg.base = g.avail_idx;
			assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		}
		virtq_stop(&g.vq);
		guest_close(&g);
	}
}

static void both_halves_of_the_base_are_the_same_when_stopped(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, TX, 5, ALL);
	assert_int_equal(virtq_stop(&g.vq), 0x80008000);
	assert_int_equal(virtq_stop(&g.vq), 0x80008000);
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	for (unsigned i = 0; i < 3; i++)
		good(&g, (uint16_t)i);
	guest_expose(&g);
	/* What was taken and not put is not gone. */
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 3), 3);
	virtq_tx_put(&g.vq, &batch, 2);
	virtq_publish(&g.vq);
	assert_int_equal(virtq_stop(&g.vq), 0x80028002);
	guest_close(&g);
}

/* --- event suppression ---------------------------------------------------------------- */

/* Every place in the ring that the driver can ask for, from every place where the device can be. */
static void ask_everywhere(uint32_t size)
{
	for (unsigned start = 0; start < 2 * size; start++)
		for (unsigned n = 1; n <= size; n++)
			for (unsigned after = 0; after < size; after++) {
				uint16_t base = (uint16_t)(start % size | (start < size ? 0 : 0x8000));
				struct guest g;

				guest_open_at(&g, TX, size, ALL, base);
				g.vq.signalled_valid = true;
				g.vq.callfd = 0;
				guest_call_after(&g, after);
				for (unsigned i = 0; i < n; i++)
					good(&g, (uint16_t)i);
				guest_expose(&g);
				assert_int_equal(turn(&g, 0), n);
				assert_int_equal(virtq_publish(&g.vq), after < n);
				guest_close(&g);
			}
}

static void the_place_of_the_event_decides_in_rings_of_any_size(void **state)
{
	(void)state;
	for (uint32_t size = 1; size <= 5; size++)
		ask_everywhere(size);
}

/* The largest ring: positions and the distance of a whole round take all the bits there are. */
static void ask_in_the_largest(struct guest *g, uint16_t base, unsigned n, unsigned after)
{
	guest_prepare_packed(g, base);
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
	g->vq.signalled_valid = true;
	g->vq.callfd = 0;
	guest_call_after(g, after);
	for (unsigned i = 0; i < n; i++)
		guest_raw(g, GUEST_DATA, 72, 0, (uint16_t)i);
	guest_expose(g);
	assert_int_equal(turn(g, 0), n);
	assert_int_equal(virtq_publish(&g->vq), after < n);
	assert_int_equal(guest_pending(g), n);
	while (guest_pending(g))
		guest_take(g);
	virtq_stop(&g->vq);
}

static void the_place_of_the_event_decides_in_the_largest_ring(void **state)
{
	static const uint16_t slots[] = { 0, 1, 16383, 16384, 32704, 32705, 32766, 32767 };
	static const unsigned batches[] = { 1, 2, 63, 64 };
	struct guest g;

	(void)state;
	guest_prepare(&g, TX, 32768, ALL, 0);
	for (unsigned s = 0; s < 8; s++)
		for (unsigned wrap = 0; wrap <= GUEST_WRAP; wrap += GUEST_WRAP)
			for (unsigned k = 0; k < 4; k++) {
				const unsigned n = batches[k], after[] = { 0, n - 1, n, n + 1, 16384, 32766, 32767 };

				for (unsigned i = 0; i < 7; i++)
					ask_in_the_largest(&g, (uint16_t)(slots[s] | wrap), n, after[i]);
			}
	guest_close(&g);
}

/* One chain is the whole ring: whatever place in it was asked for is passed. */
static void a_chain_as_long_as_the_largest_ring_passes_every_event(void **state)
{
	static const uint16_t bases[] = { 0, 1, 32767, GUEST_WRAP, GUEST_WRAP | 20000 };
	static const unsigned after[] = { 0, 1, 16384, 32766, 32767 };
	struct guest g;

	(void)state;
	guest_prepare(&g, TX, 32768, ALL, 0);
	for (unsigned k = 0; k < 25; k++) {
		guest_prepare_packed(&g, bases[k / 5]);
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		g.vq.signalled_valid = true;
		g.vq.callfd = 0;
		guest_call_after(&g, after[k % 5]);
		guest_raw(&g, GUEST_DATA, 72, VRING_DESC_F_NEXT, 9);
		for (unsigned i = 0; i < 32766; i++)
			guest_raw(&g, GUEST_DATA, 0, VRING_DESC_F_NEXT, 9);
		guest_raw(&g, GUEST_DATA, 0, 0, 1);
		guest_expose(&g);
		assert_int_equal(turn(&g, 0), 1);
		assert_true(virtq_publish(&g.vq));
		assert_int_equal(guest_take(&g).id, 1);
		virtq_stop(&g.vq);
	}
	guest_close(&g);
}

/* Chains count by the place where they begin, which is where they are used. */
static void an_event_inside_a_chain_is_passed_with_it(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned after = 0; after < 5; after++) {
		guest_open_at(&g, TX, 7, ALL, 5);
		g.vq.signalled_valid = true;
		g.vq.callfd = 0;
		guest_call_after(&g, after);
		guest_raw(&g, GUEST_DATA, 72, VRING_DESC_F_NEXT, 9);
		guest_raw(&g, GUEST_DATA, 72, VRING_DESC_F_NEXT, 9);
		guest_raw(&g, GUEST_DATA, 72, 0, 1);
		guest_expose(&g);
		assert_int_equal(turn(&g, 0), 1);
		assert_int_equal(virtq_publish(&g.vq), after < 3);
		guest_close(&g);
	}
}

static void arming_asks_at_the_next_place_with_its_wrap_counter(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, TX, 3, ALL);
	for (unsigned i = 0; i < 20; i++) {
		assert_false(virtq_arm(&g.vq));
		assert_int_equal(g.device_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
		assert_int_equal(g.device_event->off_wrap, i % 3 | (i / 3 % 2 ? 0 : GUEST_WRAP));
		virtq_disarm(&g.vq);
		assert_int_equal(g.device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
		good(&g, 1);
		guest_expose(&g);
		assert_int_equal(turn(&g, 0), 1);
		virtq_publish(&g.vq);
		guest_take(&g);
		guest_reset(&g);
	}
	guest_close(&g);
	guest_open(&g, TX, 3, GUEST_V1 | GUEST_PACKED);
	assert_int_equal(g.device_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	virtq_disarm(&g.vq);
	assert_int_equal(g.device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	assert_false(virtq_arm(&g.vq));
	assert_int_equal(g.device_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	guest_close(&g);
}

/* --- lies -------------------------------------------------------------------------------- */

static void a_buffer_id_out_of_range_breaks_the_ring(void **state)
{
	static const uint16_t ids[] = { 5, 6, 0x7fff, 0x8000, 0xffff };
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++)
		for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
			guest_open(&g, dir, 5, ALL);
			good(&g, ids[i]);
			breaks_at(&g, 60, VIRTQ_BROKEN_HEAD);
			guest_open(&g, dir, 5, ALL);
			guest_raw(&g, GUEST_DATA, 36, guest_dir(&g) | VRING_DESC_F_NEXT, 0);
			guest_raw(&g, GUEST_DATA, 2000, guest_dir(&g), ids[i]);
			breaks(&g, VIRTQ_BROKEN_HEAD);
			guest_open(&g, dir, 5, ALL);
			guest_table_at(&g, GUEST_TABLE, &(struct vring_desc){ GUEST_DATA, 1072, guest_dir(&g), 0 }, 1);
			guest_at(&g, g.first)->id = ids[i];
			breaks(&g, VIRTQ_BROKEN_HEAD);
			guest_open(&g, RX, 5, ALL | GUEST_MRG);	/* of the second chain of a packet */
			good(&g, 1);
			good(&g, ids[i]);
			breaks(&g, VIRTQ_BROKEN_HEAD);
		}
}

static void packets_before_a_bad_id_are_taken_but_not_published(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, TX, 7, ALL);
	good(&g, 3);
	good(&g, 6);
	good(&g, 7);
	guest_expose(&g);
	assert_int_equal(turn(&g, 0), 2);
	assert_int_equal(g.vq.broken, VIRTQ_BROKEN_HEAD);
	assert_false(virtq_publish(&g.vq));
	assert_int_equal(guest_pending(&g), 0);
	guest_close(&g);
}

static void the_same_id_for_ever_is_bounded(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++) {
		guest_open(&g, dir, 16, ALL);
		for (unsigned i = 0; i < 16; i++)
			good(&g, 3);
		guest_expose(&g);
		assert_int_equal(turn(&g, 60), dir == TX ? 16 : 2);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), dir == TX ? 16 : 2);
		assert_int_equal(guest_take(&g).id, 3);
		assert_int_equal(g.vq.broken, 0);
		guest_close(&g);
	}
}

static void a_chain_without_end_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	FOR_SIZES(size)
		for (unsigned dir = RX; dir <= TX; dir++)
			for (unsigned len = 0; len < 3000; len += 1000) {	/* also once there is data enough */
				guest_open_at(&g, dir, *size, ALL, 1);
				for (unsigned i = 0; i < *size; i++)
					guest_raw(&g, GUEST_DATA, len, guest_dir(&g) | VRING_DESC_F_NEXT, 0);
				breaks(&g, VIRTQ_BROKEN_CHAIN);
			}
}

/* Behind two good chains a third one that goes on until it meets them. */
static void a_chain_into_what_was_taken_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++) {
		guest_open_at(&g, dir, 5, ALL | (dir == RX ? GUEST_MRG : 0), 3);
		good(&g, 0);
		good(&g, 1);
		for (unsigned i = 0; i < 3; i++)
			guest_raw(&g, GUEST_DATA, 1, guest_dir(&g) | VRING_DESC_F_NEXT, 2);
		breaks(&g, VIRTQ_BROKEN_CHAIN);
	}
}

static void an_indirect_descriptor_in_a_chain_breaks_the_ring(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++) {
		guest_open(&g, dir, 5, ALL);
		guest_raw(&g, GUEST_DATA, 12, guest_dir(&g) | VRING_DESC_F_NEXT, 0);
		guest_raw(&g, GUEST_TABLE, 16, VRING_DESC_F_INDIRECT, 1);
		breaks(&g, VIRTQ_BROKEN_INDIRECT);
	}
}

/* Before anything is published the guest says that it is all there again, one round later. */
static void what_we_have_is_not_taken_a_second_time(void **state)
{
	const struct virtq_src src = { .data = frame[0], .len = 60 };

	(void)state;
	for (uint32_t size = 1; size <= 5; size++) {
		struct guest g;

		guest_open_at(&g, RX, size, ALL, 1);
		for (unsigned i = 0; i < size; i++)
			good(&g, (uint16_t)i);
		guest_expose(&g);
		for (unsigned i = 0; i < size; i++)
			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		for (unsigned i = 0; i < size; i++)
			g.packed[i].flags = guest_available(guest_forward(&g, g.vq.next_avail, i)) | VRING_DESC_F_WRITE;
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 0);
		assert_int_equal(g.vq.broken, 0);
		guest_close(&g);
	}
}

static void wrap_bits_of_another_round_mean_nothing_is_there(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++)
		for (unsigned bits = 0; bits < 4; bits++) {
			guest_open(&g, dir, 5, ALL);	/* the first round: AVAIL and not USED */
			good(&g, 1);
			g.first_flags = (uint16_t)((g.first_flags & ~GUEST_AVAIL_USED) |
						   (bits & 1 ? 1u << VRING_PACKED_DESC_F_AVAIL : 0) |
						   (bits & 2 ? 1u << VRING_PACKED_DESC_F_USED : 0));
			guest_expose(&g);
			assert_int_equal(virtq_pending(&g.vq), bits == 1);
			assert_int_equal(virtq_arm(&g.vq), bits == 1);
			assert_int_equal(turn(&g, 60), bits == 1);
			assert_int_equal(g.vq.broken, 0);
			guest_close(&g);
		}
}

/* Wherever its bits stand, a look at the ring is one look. */
static void garbage_all_over_the_ring_is_looked_at_with_bounds(void **state)
{
	uint64_t seed = 5;
	struct guest g;

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++)
		for (unsigned i = 0; i < 300; i++) {
			guest_open(&g, dir, 1 + guest_random(&seed) % 300, ALL);
			fill((uint8_t *)g.packed, g.size * sizeof(*g.packed), guest_random(&seed));
			fill((uint8_t *)g.driver_event, sizeof(*g.driver_event), guest_random(&seed));
			virtq_pending(&g.vq);
			for (unsigned k = 0; k < 10; k++) {
				turn(&g, 60);
				virtq_publish(&g.vq);
				virtq_arm(&g.vq);
			}
			guest_close(&g);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_payload_passes_in_rings_of_any_size),
		cmocka_unit_test(the_wrap_counters_turn_many_rounds),
		cmocka_unit_test(a_chain_over_the_end_of_the_ring_works),
		cmocka_unit_test(a_used_descriptor_says_what_was_done),
		cmocka_unit_test(a_batch_becomes_visible_at_once),
		cmocka_unit_test(bits_in_an_indirect_table_that_mean_nothing_are_ignored),
		cmocka_unit_test(what_an_indirect_table_sends_is_read_whatever_direction_it_says),
		cmocka_unit_test(empty_buffers_in_a_batch_are_dropped_or_passed_over),
		cmocka_unit_test(any_size_up_to_32768_is_legal),
		cmocka_unit_test(a_position_outside_the_ring_is_refused),
		cmocka_unit_test(misaligned_parts_are_refused),
		cmocka_unit_test(a_ring_that_begins_anew_while_its_driver_goes_on_is_noticed),
		cmocka_unit_test(both_halves_of_the_base_are_the_same_when_stopped),
		cmocka_unit_test(the_place_of_the_event_decides_in_rings_of_any_size),
		cmocka_unit_test(the_place_of_the_event_decides_in_the_largest_ring),
		cmocka_unit_test(a_chain_as_long_as_the_largest_ring_passes_every_event),
		cmocka_unit_test(an_event_inside_a_chain_is_passed_with_it),
		cmocka_unit_test(arming_asks_at_the_next_place_with_its_wrap_counter),
		cmocka_unit_test(a_buffer_id_out_of_range_breaks_the_ring),
		cmocka_unit_test(packets_before_a_bad_id_are_taken_but_not_published),
		cmocka_unit_test(the_same_id_for_ever_is_bounded),
		cmocka_unit_test(a_chain_without_end_breaks_the_ring),
		cmocka_unit_test(a_chain_into_what_was_taken_breaks_the_ring),
		cmocka_unit_test(an_indirect_descriptor_in_a_chain_breaks_the_ring),
		cmocka_unit_test(what_we_have_is_not_taken_a_second_time),
		cmocka_unit_test(wrap_bits_of_another_round_mean_nothing_is_there),
		cmocka_unit_test(garbage_all_over_the_ring_is_looked_at_with_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
