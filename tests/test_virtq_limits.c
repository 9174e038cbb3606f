/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues at their limits: receive buffers that do not suffice, chains
 * that cost too much, memory that goes away or is rewritten while we look.
 */
#include <pthread.h>
#include <sched.h>

#include "base/sigbus.h"
#include "guest_checks.h"

/* Offers one buffer. Return: its head, packed: its buffer id. */
static uint16_t offer(struct guest *g, uint32_t len)
{
	return guest_offer(g, &(struct vring_desc){ guest_alloc(g, len), len, guest_dir(g), 0 }, 1, false);
}

/* --- receive buffers ------------------------------------------------------------- */

static void receive_buffers_that_are_too_small_are_returned_empty(void **state)
{
	static const uint32_t lens[] = { 1, 9, 10, 12, 71 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			open_one(&g, kind, VIRTQ_RX, GUEST_DATA, lens[i], VRING_DESC_F_WRITE);
			drops(&g, VIRTQ_DROP_NO_BUFFER);
		}
}

static void merged_frame_that_waits(uint64_t kind)
{
	const struct virtq_src src = { .data = frame, .len = 300 };
	uint16_t id[8];
	struct guest g;

	guest_open(&g, VIRTQ_RX, 16, GUEST_V1 | GUEST_MRG | kind);
	for (unsigned i = 0; i < 3; i++)
		id[i] = offer(&g, 100);
	guest_expose(&g);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 0);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 0);
	}
	for (unsigned i = 3; i < 8; i++)
		id[i] = offer(&g, 100);
	guest_expose(&g);
	/* One after the other: that the first had to wait holds up no other. */
	assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
	assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
	virtq_publish(&g.vq);
	assert_int_equal(guest_pending(&g), 8);
	assert_int_equal(*(uint8_t *)guest_ptr(&g, GUEST_DATA + 10), 4);
	assert_int_equal(*(uint8_t *)guest_ptr(&g, GUEST_DATA + 410), 4);
	for (unsigned i = 0; i < 8; i++) {
		struct vring_used_elem e = guest_take(&g);

		assert_int_equal(e.id, id[i]);
		assert_int_equal(e.len, i % 4 < 3 ? 100 : 12);
	}
	guest_close(&g);
}

static void a_merged_frame_with_one_buffer_too_few_waits_for_it(void **state)
{
	(void)state;
	FOR_KINDS(kind)
		merged_frame_that_waits(kind);
}

/* Its chains stay as the guest wrote them: whoever serves the ring next finds them. */
static void a_frame_that_waits_writes_nothing(void **state)
{
	const struct virtq_src src = { .data = frame, .len = 300 };
	static uint8_t before[GUEST_REGION];
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 16, GUEST_V1 | GUEST_MRG | kind);
		for (unsigned i = 0; i < 3; i++)
			offer(&g, 100);
		guest_expose(&g);
		guest_read(&g, GUEST_BASE, before, GUEST_REGION);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 0);
		assert_false(virtq_publish(&g.vq));
		assert_memory_equal(guest_ptr(&g, GUEST_BASE), before, GUEST_REGION);
		guest_close(&g);
	}
}

static void a_shorter_frame_need_not_wait_for_a_longer_one(void **state)
{
	const struct virtq_src longer = { .data = frame, .len = 300 }, shorter = { .data = frame, .len = 60 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 16, GUEST_V1 | GUEST_MRG | kind);
		offer(&g, 100);
		guest_expose(&g);
		assert_int_equal(virtq_rx_put(&g.vq, &longer, 1), 0);
		assert_int_equal(virtq_rx_put(&g.vq, &shorter, 1), 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 1);
		guest_close(&g);
	}
}

static void a_ring_is_starved_until_buffers_are_added(void **state)
{
	const struct virtq_src src = { .data = frame, .len = 300 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 4, GUEST_V1 | GUEST_MRG | kind);
		assert_false(virtq_rx_starved(&g.vq, 300));
		offer(&g, 100);
		guest_expose(&g);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 0);
		assert_true(virtq_rx_starved(&g.vq, 300));
		assert_true(virtq_rx_starved(&g.vq, 1000));
		assert_false(virtq_rx_starved(&g.vq, 299));
		offer(&g, 100);
		guest_expose(&g);
		assert_false(virtq_rx_starved(&g.vq, 300));
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 0);
		assert_true(virtq_rx_starved(&g.vq, 300));
		offer(&g, 112);
		guest_expose(&g);
		assert_false(virtq_rx_starved(&g.vq, 300));
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		assert_false(virtq_rx_starved(&g.vq, 300));
		guest_close(&g);
	}
}

static void a_frame_larger_than_the_whole_ring_is_dropped(void **state)
{
	const struct virtq_src src[2] = { { .data = frame, .len = 300 }, { .data = frame, .len = 60 } };
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 2, GUEST_V1 | GUEST_MRG | kind);
		offer(&g, 100);
		offer(&g, 100);
		guest_expose(&g);
		assert_int_equal(virtq_rx_put(&g.vq, src, 1), 1);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_NO_BUFFER], 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 2);
		assert_int_equal(guest_take(&g).len, 0);
		assert_int_equal(guest_take(&g).len, 0);
		guest_close(&g);
	}
}

/* A packed ring is full when its descriptors are, however few chains they make. */
static void a_frame_larger_than_a_ring_full_of_chains_is_dropped(void **state)
{
	const struct virtq_src src = { .data = frame, .len = 300 };
	struct vring_desc piece[2];
	struct guest g;

	(void)state;
	guest_open_at(&g, VIRTQ_RX, 6, GUEST_V1 | GUEST_MRG | GUEST_PACKED, 5);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < 2; k++)
			piece[k] = (struct vring_desc){ guest_alloc(&g, 40), 40, VRING_DESC_F_WRITE, 0 };
		guest_offer(&g, piece, 2, false);
	}
	guest_expose(&g);
	assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
	assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_NO_BUFFER], 1);
	virtq_publish(&g.vq);
	assert_int_equal(guest_pending(&g), 3);
	guest_close(&g);
}

static void an_empty_buffer_ends_a_merged_frame(void **state)
{
	const struct virtq_src src = { .data = frame, .len = 300 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 16, GUEST_V1 | GUEST_MRG | kind);
		offer(&g, 100);
		offer(&g, 0);
		offer(&g, 400);
		guest_expose(&g);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_NO_BUFFER], 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 2);
		assert_int_equal(guest_take(&g).len, 0);
		assert_int_equal(guest_take(&g).len, 0);
		guest_close(&g);
	}
}

static void one_byte_buffers_drop_frames_and_do_not_spin(void **state)
{
	struct virtq_src src[VIRTQ_BATCH];
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < VIRTQ_BATCH; i++)
		src[i] = (struct virtq_src){ .data = frame, .len = 1514 };
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_RX, 1024, GUEST_V1 | GUEST_MRG | kind);
		for (unsigned i = 0; i < 1024; i++)
			offer(&g, 1);
		guest_expose(&g);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(virtq_rx_put(&g.vq, src, VIRTQ_BATCH), VIRTQ_BATCH);
		assert_int_equal(virtq_rx_put(&g.vq, src, VIRTQ_BATCH), 0);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 1024);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_NO_BUFFER], 1024);
		assert_int_equal(g.vq.stats.packets, 0);
		guest_close(&g);
	}
}

/* 64 KiB in buffers of 32 bytes go, in shorter ones they do not; what was taken for it comes back empty. */
static void a_packet_is_merged_from_2048_buffers_at_most(void **state)
{
	const struct virtq_src src = { .data = frame, .len = 65535 };
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (uint32_t len = 32; len >= 31; len--) {
			guest_open(&g, VIRTQ_RX, 4096, GUEST_V1 | GUEST_MRG | kind);
			offer(&g, 43);
			for (unsigned i = 1; i < 3000; i++)
				offer(&g, len);
			guest_expose(&g);
			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
			virtq_publish(&g.vq);
			assert_int_equal(guest_pending(&g), 2048);
			assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_PIECES], len == 31);
			assert_int_equal(g.vq.stats.packets, len == 32);
			assert_int_equal(guest_take(&g).len, len == 32 ? 43 : 0);
			for (unsigned i = 1; i < 2048; i++)
				assert_int_equal(guest_take(&g).len, len == 32 ? 32 : 0);
			guest_close(&g);
		}
}

/* --- cost ------------------------------------------------------------------------- */

/* Heads that share one chain of empty descriptors: a batch looks at a few thousand, not at heads times chain. */
static void chains_of_empty_descriptors_do_not_make_a_batch_long(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 32768, GUEST_V1);	/* a packed ring's chains share nothing */
	for (unsigned i = 0; i < 3000; i++)
		guest_desc(&g, i, GUEST_DATA, i == 2999 ? 72 : 0, i == 2999 ? 0 : VRING_DESC_F_NEXT, (uint16_t)(i + 1));
	for (unsigned i = 0; i < 64; i++)
		guest_avail(&g, 0);
	guest_expose(&g);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(turn(&g, 0), 2);
	assert_false(virtq_arm(&g.vq));
	guest_close(&g);
}

static void expensive_receive_chains_do_not_make_a_batch_long(void **state)
{
	struct virtq_src src[VIRTQ_BATCH];
	struct guest g;
	unsigned n;

	(void)state;
	for (unsigned i = 0; i < VIRTQ_BATCH; i++)
		src[i] = (struct virtq_src){ .data = frame, .len = 60 };
	guest_open(&g, VIRTQ_RX, 32768, GUEST_V1 | GUEST_MRG);
	for (unsigned i = 0; i < 3000; i++)
		guest_desc(&g, i, GUEST_DATA, i == 2999 ? 128 : 0,
			   (i == 2999 ? 0 : VRING_DESC_F_NEXT) | VRING_DESC_F_WRITE, (uint16_t)(i + 1));
	for (unsigned i = 0; i < 1024; i++)
		guest_avail(&g, 0);
	guest_expose(&g);
	n = virtq_rx_put(&g.vq, src, VIRTQ_BATCH);
	assert_int_equal(n, 2);
	/* However often it is called: as long as nothing is published the lock is held. */
	assert_int_equal(virtq_rx_put(&g.vq, src, VIRTQ_BATCH), 0);
	virtq_publish(&g.vq);
	assert_int_equal(virtq_rx_put(&g.vq, src, VIRTQ_BATCH), 2);
	virtq_publish(&g.vq);
	/* A frame that would need very many of them is dropped rather than tried again for ever. */
	g.desc[2999].len = 12;
	src[0].len = 1514;
	assert_int_equal(virtq_rx_put(&g.vq, src, 1), 1);
	assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_PIECES], 1);
	guest_close(&g);
}

/* --- garbage beside the ring ----------------------------------------------------- */

static void garbage_in_the_used_ring_changes_nothing(void **state)
{
	struct guest g;

	(void)state;
	FOR_BOTH(dir)
		for (unsigned round = 0; round < 2; round++) {
			guest_open(&g, dir, 16, ALL);
			for (unsigned i = 0; i < 16; i++)
				guest_offer_one(&g, 72);
			guest_expose(&g);
			memset(g.used, round ? 0xff : 0x5a, 6 + 8 * 16);
			assert_int_equal(turn(&g, 60), dir == VIRTQ_TX ? 16 : 2);
			virtq_publish(&g.vq);
			assert_int_equal(g.used->idx, dir == VIRTQ_TX ? 16 : 2);
			for (unsigned i = 0; i < g.used->idx; i++)
				assert_int_equal(g.used->ring[i].id, i);
			guest_close(&g);
		}
}

static void a_ring_whose_parts_overlap_harms_only_itself(void **state)
{
	struct guest g;

	(void)state;
	FOR_BOTH(dir) {
		guest_prepare(&g, dir, 16, ALL, 0);
		g.cfg.avail = g.cfg.used = g.cfg.desc;
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		for (unsigned i = 0; i < 1000 && !g.vq.broken; i++) {
			((uint16_t *)g.cfg.desc)[1] = (uint16_t)(g.vq.next_avail + i % 17);
			turn(&g, 60);
			virtq_publish(&g.vq);
		}
		guest_close(&g);
	}
}

static void a_broken_ring_works_again_after_a_restart(void **state)
{
	struct virtq vq;
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		open_one(&g, kind, VIRTQ_TX, GUEST_DATA, 72, VRING_DESC_F_WRITE);
		guest_expose(&g);
		turn(&g, 0);
		assert_int_equal(g.vq.broken, VIRTQ_BROKEN_DIRECTION);
		virtq_stop(&g.vq);
		vq = g.vq;
		gmem_put(g.mem);
		guest_prepare(&g, VIRTQ_TX, 16, ALL | kind, 0);
		g.vq = vq;
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		assert_int_equal(g.vq.broken, 0);
		offer(&g, 72);
		guest_expose(&g);
		assert_int_equal(turn(&g, 0), 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 1);
		guest_close(&g);
	}
}

/* The buffers' region is truncated, the ring's is not: what the guest could see is still there to look at. */
static void memory_broken_by_sigbus_publishes_nothing(void **state)
{
	struct gmem_desc d;
	struct guest g;
	int fd;

	(void)state;
	sigbus_install();
	FOR_EACH_RING(kind, dir) {
		open_one(&g, kind, dir, GUEST_SEAM + 4096, 128, dir == VIRTQ_RX ? VRING_DESC_F_WRITE : 0);
		guest_expose(&g);
		gmem_region(g.mem, 1, &d, &fd);
		assert_int_equal(ftruncate(fd, 0), 0);
		turn(&g, 60);
		assert_true(gmem_broken(g.mem));
		assert_int_equal(g.vq.broken, 0);
		assert_false(virtq_publish(&g.vq));
		assert_int_equal(g.vq.broken, VIRTQ_BROKEN_MEMORY);
		assert_int_equal(g.vq.stats.errors[VIRTQ_BROKEN_MEMORY], 1);
		assert_int_equal(guest_pending(&g), 0);
		assert_false(virtq_publish(&g.vq));
		assert_int_equal(g.vq.stats.errors[VIRTQ_BROKEN_MEMORY], 1);
		guest_close(&g);
	}
}

static void a_ring_in_truncated_memory_breaks_quietly(void **state)
{
	struct gmem_desc d;
	struct guest g;
	int fd;

	(void)state;
	sigbus_install();
	FOR_EACH_RING(kind, dir) {
		guest_open(&g, dir, 16, ALL | kind);
		gmem_region(g.mem, 0, &d, &fd);
		assert_int_equal(ftruncate(fd, 0), 0);
		turn(&g, 60);
		assert_false(virtq_publish(&g.vq));
		assert_int_equal(g.vq.broken, VIRTQ_BROKEN_MEMORY);
		guest_close(&g);
	}
}

/* --- a guest that rewrites everything while we look ---------------------------------- */

static uint64_t some_address(uint64_t *seed)
{
	static const uint64_t addrs[] = {
		GUEST_DATA, GUEST_SEAM - 40, GUEST_END - 60, GUEST_TABLE, 0, UINT64_MAX - 50,
	};

	return addrs[guest_random(seed) % 8 < 6 ? guest_random(seed) % 4 : guest_random(seed) % 6];
}

static uint32_t some_length(uint64_t *seed)
{
	return guest_random(seed) % 4 ? 16 * (guest_random(seed) % 32) : guest_random(seed);
}

static void scribble(struct guest *g, uint64_t *seed)
{
	struct vring_desc *d = guest_random(seed) % 2 ? g->desc : guest_ptr(g, GUEST_TABLE);
	unsigned i = guest_random(seed) % 16;

	WRITE_ONCE(d[i].addr, some_address(seed));
	WRITE_ONCE(d[i].len, some_length(seed));
	WRITE_ONCE(d[i].flags, (uint16_t)(guest_dir(g) | guest_random(seed) % 8));
	WRITE_ONCE(d[i].next, (uint16_t)(guest_random(seed) % 17));
	WRITE_ONCE(g->avail->ring[i], (uint16_t)(guest_random(seed) % 1000 ? i : guest_random(seed)));
	WRITE_ONCE(g->avail->ring[16], (uint16_t)guest_random(seed));
	WRITE_ONCE(g->used->ring[i].id, guest_random(seed));
}

/* The same for a packed ring, with wrap bits of either round or none. */
static void scribble_packed(struct guest *g, uint64_t *seed)
{
	struct vring_packed_desc *d = guest_random(seed) % 2 ? g->packed : guest_ptr(g, GUEST_TABLE);
	uint16_t round = READ_ONCE(g->vq.next_avail);
	unsigned i = guest_random(seed) % 16;

	if (!(guest_random(seed) % 8))
		round = (uint16_t)guest_random(seed);
	WRITE_ONCE(d[i].addr, some_address(seed));
	WRITE_ONCE(d[i].len, some_length(seed));
	WRITE_ONCE(d[i].id, (uint16_t)(guest_random(seed) % 1000 ? guest_random(seed) % 16 : guest_random(seed)));
	WRITE_ONCE(d[i].flags, (uint16_t)(guest_available(round) | guest_dir(g) | guest_random(seed) % 8));
	WRITE_ONCE(g->driver_event->flags, (uint16_t)guest_random(seed));
	WRITE_ONCE(g->driver_event->off_wrap, (uint16_t)guest_random(seed));
	WRITE_ONCE(g->device_event->flags, (uint16_t)guest_random(seed));
}

/* Rewrites a good part of the ring, and offers up to as many chains as it has. */
static void vandalise(struct guest *g, uint64_t *seed)
{
	for (unsigned i = 0; i < 16; i++) {
		if (g->packed)
			scribble_packed(g, seed);
		else
			scribble(g, seed);
	}
	if (!g->packed)
		WRITE_ONCE(g->avail->idx, (uint16_t)(READ_ONCE(g->vq.next_avail) + guest_random(seed) % 17));
	else if (!(guest_random(seed) % 64))	/* now and then a chain without end */
		for (unsigned i = 0; i < 16; i++)
			WRITE_ONCE(g->packed[i].flags, (uint16_t)(guest_available(READ_ONCE(g->vq.next_avail)) |
								  guest_dir(g) | VRING_DESC_F_NEXT));
}

static void worker_turn(struct guest *g, unsigned i)
{
	turn(g, 1 + i % 1514);
	virtq_publish(&g->vq);
	virtq_arm(&g->vq);
	virtq_pending(&g->vq);
	WRITE_ONCE(g->vq.broken, 0);
}

static void open_vandalised(struct guest *g, uint64_t kind, unsigned dir)
{
	guest_open(g, dir, 16, ALL | kind | (dir == VIRTQ_RX ? GUEST_MRG : 0));
}

static void a_guest_that_writes_at_random_meets_every_check(void **state)
{
	static const enum virtq_error met[] = {
		VIRTQ_DROP_SHORT, VIRTQ_DROP_LONG, VIRTQ_DROP_ADDRESS, VIRTQ_DROP_OFFLOAD, VIRTQ_DROP_NO_BUFFER,
		VIRTQ_BROKEN_HEAD, VIRTQ_BROKEN_CHAIN, VIRTQ_BROKEN_INDIRECT, VIRTQ_BROKEN_DIRECTION,
	};
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		uint64_t reasons[VIRTQ_ERRORS] = { 0 }, packets = 0, seed = 1;

		FOR_BOTH(dir) {
			open_vandalised(&g, kind, dir);
			for (unsigned i = 0; i < 40000; i++) {
				vandalise(&g, &seed);
				worker_turn(&g, i);
			}
			for (unsigned i = 0; i < VIRTQ_ERRORS; i++)
				reasons[i] += g.vq.stats.errors[i];
			packets += g.vq.stats.packets;
			guest_close(&g);
		}
		assert_true(packets > 0);
		for (unsigned i = 0; i < sizeof(met) / sizeof(met[0]); i++)
			assert_true(reasons[met[i]] > 0);
	}
}

struct vandal {
	struct guest *g;
	uint32_t started, stop;
};

static void *run_vandal(void *arg)
{
	struct vandal *v = arg;
	uint64_t seed = 1;

	while (!READ_ONCE(v->stop)) {
		vandalise(v->g, &seed);
		WRITE_ONCE(v->started, 1);
	}
	return NULL;
}

static void a_guest_that_writes_at_random_meanwhile_crashes_nothing(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		struct vandal v = { .g = &g };
		pthread_t thread;

		open_vandalised(&g, kind, dir);
		assert_int_equal(pthread_create(&thread, NULL, run_vandal, &v), 0);
		while (!READ_ONCE(v.started))
			sched_yield();
		for (unsigned i = 0; i < 100000; i++)
			worker_turn(&g, i);
		WRITE_ONCE(v.stop, 1);
		pthread_join(thread, NULL);
		guest_close(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receive_buffers_that_are_too_small_are_returned_empty),
		cmocka_unit_test(a_merged_frame_with_one_buffer_too_few_waits_for_it),
		cmocka_unit_test(a_frame_that_waits_writes_nothing),
		cmocka_unit_test(a_ring_is_starved_until_buffers_are_added),
		cmocka_unit_test(a_shorter_frame_need_not_wait_for_a_longer_one),
		cmocka_unit_test(a_frame_larger_than_the_whole_ring_is_dropped),
		cmocka_unit_test(a_frame_larger_than_a_ring_full_of_chains_is_dropped),
		cmocka_unit_test(an_empty_buffer_ends_a_merged_frame),
		cmocka_unit_test(one_byte_buffers_drop_frames_and_do_not_spin),
		cmocka_unit_test(a_packet_is_merged_from_2048_buffers_at_most),
		cmocka_unit_test(chains_of_empty_descriptors_do_not_make_a_batch_long),
		cmocka_unit_test(expensive_receive_chains_do_not_make_a_batch_long),
		cmocka_unit_test(garbage_in_the_used_ring_changes_nothing),
		cmocka_unit_test(a_ring_whose_parts_overlap_harms_only_itself),
		cmocka_unit_test(a_broken_ring_works_again_after_a_restart),
		cmocka_unit_test(memory_broken_by_sigbus_publishes_nothing),
		cmocka_unit_test(a_ring_in_truncated_memory_breaks_quietly),
		cmocka_unit_test(a_guest_that_writes_at_random_meets_every_check),
		cmocka_unit_test(a_guest_that_writes_at_random_meanwhile_crashes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
