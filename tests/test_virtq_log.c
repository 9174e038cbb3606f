/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues during a migration. The measure is the memory itself: a look before
 * and a look after, and the pages that differ are those that are in the log, one
 * by one. What the device is about to write is filled with something else first,
 * so that no write goes unseen.
 */
#include <errno.h>

#include "base/sigbus.h"
#include "guest_packets.h"

#define PAGE 4096ull
#define FIRST (GUEST_BASE / PAGE)
#define PAGES (2 * GUEST_REGION / PAGE)	/* of the guest */
#define LOG_SIZE ((FIRST + PAGES) / 8 + 8)	/* bytes: a few pages more than the guest has */
#define BEHIND 64	/* bytes of the file behind the log */
#define ALL (GUEST_V1 | GUEST_INDIRECT | GUEST_EVENT | GUEST_MRG)
#define EMPTY 0xee	/* what nobody sends */

static uint8_t before[2 * GUEST_REGION];

static uint8_t *region(const struct guest *g, unsigned i)
{
	return g->mem->region[i].host;
}

static struct dirty *new_log(uint64_t size)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty *d = NULL;

	assert_int_equal(sigbus_install(), 0);	/* cmocka puts a handler of its own around every test */
	assert_true(fd >= 0 && !ftruncate(fd, (off_t)(size + BEHIND)));
	assert_int_equal(dirty_create(fd, size, 0, &d), 0);
	return d;
}

/* A guest with a log, its ring not started. */
static void prepare(struct guest *g, enum virtq_dir dir, uint32_t size, uint64_t features, uint16_t base)
{
	guest_prepare(g, dir, size, features, base);
	g->cfg.log = new_log(LOG_SIZE);
	g->cfg.log_ring = true;
	g->cfg.log_addr = GUEST_USED;
}

static void done(struct guest *g)
{
	struct dirty *d = g->cfg.log;

	guest_close(g);
	dirty_put(d);
}

static bool is_marked(const struct dirty *d, uint64_t page)
{
	return d->bits[page / 8] >> page % 8 & 1;
}

static unsigned count(const struct dirty *d)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < d->size; i++)
		n += (unsigned)__builtin_popcount(d->bits[i]);
	return n;
}

/* Fills what the device writes, and looks at the memory; the log begins anew. */
static void look(struct guest *g)
{
	if (g->packed)
		memset(g->device_event, EMPTY, sizeof(*g->device_event));
	else
		memset(g->used, EMPTY, 6 + 8 * g->size);
	memset(g->cfg.log->bits, 0, g->cfg.log->size);
	for (unsigned i = 0; i < 2; i++)
		memcpy(before + i * GUEST_REGION, region(g, i), GUEST_REGION);
}

static bool differs(const struct guest *g, unsigned page)
{
	const uint64_t at = page * PAGE;

	return memcmp(before + at, region(g, at >= GUEST_REGION) + at % GUEST_REGION, PAGE) != 0;
}

/* The pages that were written are the pages that are marked. Return: how many. */
static unsigned compare(const struct guest *g)
{
	unsigned n = 0;

	for (unsigned page = 0; page < PAGES; page++) {
		assert_int_equal(is_marked(g->cfg.log, FIRST + page), differs(g, page));
		n += differs(g, page);
	}
	assert_int_equal(count(g->cfg.log), n);
	return n;
}

static void random_frames(struct virtq_src *src, unsigned n, uint64_t *seed)
{
	static struct virtq_more more[VIRTQ_BATCH];
	static struct iovec piece[VIRTQ_BATCH][8];

	for (unsigned i = 0; i < n; i++) {
		uint32_t len = 14 + guest_random(seed) % (GUEST_MAX_FRAME - 13);

		for (uint32_t k = 0; k < len; k++)
			frame[i][k] = (uint8_t)(guest_random(seed) % EMPTY);
		src[i] = (struct virtq_src){ .data = frame[i], .len = len };
		if (!(guest_random(seed) % 3)) {
			in_pieces(&src[i], &more[i], piece[i], seed);
			memset(&more[i].hdr, 1, sizeof(more[i].hdr));
		} else if (guest_random(seed) & 1) {
			src[i].head = frame[i];
		}
	}
}

/* One batch of a worker. Return: packets. */
static unsigned turn(struct guest *g, uint64_t *seed)
{
	unsigned n = guest_random(seed) % VIRTQ_BATCH + 1;
	struct virtq_src src[VIRTQ_BATCH];

	if (g->cfg.dir == VIRTQ_TX) {
		n = virtq_tx_get(&g->vq, &batch, n);
		n = n ? guest_random(seed) % n + 1 : 0;
		virtq_tx_put(&g->vq, &batch, n);
	} else {
		random_frames(src, n, seed);
		n = virtq_rx_put(&g->vq, src, n);
	}
	virtq_publish(&g->vq);
	return n;
}

/* A full ring, honest, of chains of all forms. */
static void offer(struct guest *g, uint64_t *seed)
{
	struct sent s;

	if (g->cfg.dir == VIRTQ_RX) {
		post_buffers(g, seed);
		return;
	}
	guest_reset(g);
	g->next_data = GUEST_SEAM - guest_random(seed) % 4096;
	for (unsigned n = 0; n < 200 && send_one(g, &s, seed); n++)
		;
	guest_expose(g);
}

/* --- exactly ----------------------------------------------------------------------- */

static void every_page_that_is_written_is_marked_and_no_other(void **state)
{
	static const uint32_t sizes[] = { 1, 4, 64, 256, 1024 };
	uint64_t seed = 11;

	(void)state;
	FOR_EACH_RING(kind, dir)
		for (unsigned mask = 0; mask < 8; mask++)
			for (unsigned i = 0; i < 5; i++) {
				uint64_t f = kind | GUEST_V1 | (mask & 1 ? GUEST_MRG : 0) |
					     (mask & 2 ? GUEST_INDIRECT : 0) | (mask & 4 ? GUEST_EVENT : 0);
				struct guest g;

				prepare(&g, dir, sizes[i], f, (uint16_t)guest_random(&seed));
				assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
				offer(&g, &seed);
				look(&g);
				if (turn(&g, &seed))
					assert_true(compare(&g) >= 1);
				done(&g);
			}
}

static void starting_arming_and_disarming_mark_what_they_write(void **state)
{
	(void)state;
	FOR_KINDS(kind)
		for (unsigned event = 0; event < 2; event++) {
			struct guest g;

			prepare(&g, VIRTQ_TX, 1024, kind | GUEST_V1 | (event ? GUEST_EVENT : 0), 3);
			look(&g);
			g.used->idx = 3;	/* a start reads it */
			before[GUEST_USED - GUEST_BASE + 2] = 3;
			before[GUEST_USED - GUEST_BASE + 3] = 0;
			assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
			assert_int_equal(compare(&g), kind || !event ? 1 : 2);	/* split: flags, and behind the entries */
			look(&g);
			virtq_arm(&g.vq);
			assert_int_equal(compare(&g), 1);
			look(&g);
			virtq_disarm(&g.vq);
			assert_int_equal(compare(&g), kind || !event);
			done(&g);
		}
}

/* Its descriptors fill more than one page, and only the first is written. */
static void a_long_chain_of_a_packed_ring_marks_its_first_descriptor(void **state)
{
	struct guest g;

	(void)state;
	prepare(&g, VIRTQ_TX, 1024, GUEST_V1 | GUEST_PACKED, 0);
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	for (unsigned i = 0; i < 600; i++)
		guest_raw(&g, GUEST_DATA, i ? 1 : 72, i < 599 ? VRING_DESC_F_NEXT : 0, 5);
	guest_raw(&g, GUEST_DATA, 72, 0, 6);
	guest_expose(&g);
	look(&g);
	virtq_tx_put(&g.vq, &batch, virtq_tx_get(&g.vq, &batch, 2));
	virtq_publish(&g.vq);
	assert_int_equal(compare(&g), 2);
	assert_true(is_marked(g.cfg.log, FIRST) && is_marked(g.cfg.log, FIRST + 2));
	done(&g);
}

static void a_buffer_over_the_border_of_regions_marks_both(void **state)
{
	(void)state;
	FOR_KINDS(kind) {
		struct virtq_src src = { .data = frame[0], .len = 1000 };
		struct guest g;

		prepare(&g, VIRTQ_RX, 16, kind | GUEST_V1, 0);
		g.cfg.log_ring = false;
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		g.next_data = GUEST_SEAM - 13;
		guest_offer_one(&g, 2000);
		guest_expose(&g);
		look(&g);
		memset(frame[0], 1, 1000);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		virtq_publish(&g.vq);
		assert_int_equal(count(g.cfg.log), 2);
		assert_true(is_marked(g.cfg.log, GUEST_SEAM / PAGE - 1) && is_marked(g.cfg.log, GUEST_SEAM / PAGE));
		done(&g);
	}
}

static void a_chain_that_is_too_small_marks_only_the_ring(void **state)
{
	(void)state;
	FOR_KINDS(kind) {
		struct virtq_src src = { .data = frame[0], .len = 1000 };
		struct guest g;

		prepare(&g, VIRTQ_RX, 16, kind | GUEST_V1, 0);
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		guest_offer_one(&g, 500);
		guest_expose(&g);
		look(&g);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		virtq_publish(&g.vq);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_NO_BUFFER], 1);
		assert_int_equal(compare(&g), 1);
		done(&g);
	}
}

/* --- where the ring is logged --------------------------------------------------------- */

static void the_ring_is_logged_only_where_that_was_asked_for(void **state)
{
	uint64_t seed = 3;

	(void)state;
	FOR_KINDS(kind) {
		struct guest g;

		prepare(&g, VIRTQ_TX, 64, kind | ALL, 0);
		g.cfg.log_ring = false;
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		offer(&g, &seed);
		assert_int_not_equal(turn(&g, &seed), 0);
		virtq_arm(&g.vq);
		assert_int_equal(count(g.cfg.log), 0);
		done(&g);
	}
}

/* As QEMU may give another address than the ring's own; entries of 8 bytes lie behind 4 bytes of flags and index. */
static void a_split_ring_is_logged_at_the_address_given_for_it(void **state)
{
	struct guest g;

	(void)state;
	prepare(&g, VIRTQ_TX, 1024, GUEST_V1 | GUEST_EVENT, 600);
	g.cfg.log_addr = GUEST_DATA + 0xffe;	/* the index begins the next page, entry 600 is on the one after */
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	memset(g.cfg.log->bits, 0, LOG_SIZE);
	guest_offer_one(&g, 100);
	guest_expose(&g);
	virtq_tx_put(&g.vq, &batch, virtq_tx_get(&g.vq, &batch, 1));
	assert_int_equal(count(g.cfg.log), 1);
	assert_true(is_marked(g.cfg.log, GUEST_DATA / PAGE + 2));
	virtq_publish(&g.vq);
	assert_true(is_marked(g.cfg.log, GUEST_DATA / PAGE + 1));
	virtq_arm(&g.vq);
	assert_true(is_marked(g.cfg.log, GUEST_DATA / PAGE + 3));
	assert_int_equal(count(g.cfg.log), 3);
	done(&g);
}

static void an_address_at_the_end_of_the_world_marks_nothing(void **state)
{
	static const uint64_t addrs[] = { UINT64_MAX, UINT64_MAX - 4, UINT64_MAX - 100, 1ull << 63 };
	uint64_t seed = 4;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct guest g;

		prepare(&g, VIRTQ_TX, 64, ALL, 0);
		g.cfg.log_addr = addrs[i];
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		offer(&g, &seed);
		assert_int_not_equal(turn(&g, &seed), 0);
		virtq_arm(&g.vq);
		assert_int_equal(count(g.cfg.log), 0);
		assert_int_equal(g.vq.broken, 0);
		done(&g);
	}
}

/* --- logs that do not do ---------------------------------------------------------------- */

static void a_log_that_is_too_small_has_what_it_has_room_for(void **state)
{
	uint64_t seed = 5;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		struct dirty *small = new_log(FIRST / 8 + 1);	/* the ring's first pages */
		struct guest g;

		guest_prepare(&g, dir, 64, kind | ALL, 0);
		g.cfg.log = small;
		g.cfg.log_ring = true;
		g.cfg.log_addr = GUEST_USED;
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		offer(&g, &seed);
		assert_int_not_equal(turn(&g, &seed), 0);
		assert_int_equal(g.vq.broken, 0);
		assert_int_equal(count(small), kind ? 1 : 0);	/* packed: the descriptors are the guest's first page */
		for (unsigned i = 0; i < BEHIND; i++)
			assert_int_equal(small->bits[small->size + i], 0);
		done(&g);
	}
}

static void a_log_that_is_cut_off_does_not_stop_the_traffic(void **state)
{
	uint64_t seed = 6, size, offset;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		struct guest g;

		prepare(&g, dir, 64, kind | ALL, 0);
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		assert_int_equal(ftruncate(dirty_export(g.cfg.log, &size, &offset), 0), 0);
		offer(&g, &seed);
		assert_int_not_equal(turn(&g, &seed), 0);
		assert_true(dirty_broken(g.cfg.log));
		assert_false(gmem_broken(g.mem));
		assert_int_equal(g.vq.broken, 0);
		assert_int_not_equal(guest_pending(&g), 0);
		done(&g);
	}
}

/* --- while the ring runs ------------------------------------------------------------------ */

static void logging_begins_changes_and_ends_between_batches(void **state)
{
	uint64_t seed = 7;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		struct dirty *first = new_log(LOG_SIZE), *second = new_log(LOG_SIZE);
		struct dirty *const logs[] = { NULL, first, second, NULL };
		struct guest g;

		guest_open(&g, dir, 64, kind | ALL);
		for (unsigned i = 0; i < 4; i++) {
			uint64_t packets = g.vq.stats.packets;
			unsigned n = 0;

			memset(first->bits, 0, LOG_SIZE);
			memset(second->bits, 0, LOG_SIZE);
			virtq_log(&g.vq, logs[i], true, GUEST_USED);
			offer(&g, &seed);
			while (guest_pending(&g) < 20 && (n = turn(&g, &seed)))
				;
			assert_true(g.vq.stats.packets > packets);
			assert_int_equal(count(first) > 0, logs[i] == first);
			assert_int_equal(count(second) > 0, logs[i] == second);
			/* All is used up, so that the next round can begin: by frames that fit into anything. */
			for (struct virtq_src src = { .data = frame[0] }; dir == VIRTQ_RX && virtq_rx_put(&g.vq, &src, 1);)
				virtq_publish(&g.vq);
			while (dir == VIRTQ_TX && turn(&g, &seed))
				;
			virtq_publish(&g.vq);
			while (guest_pending(&g))
				guest_take(&g);
		}
		guest_close(&g);
		dirty_put(first);
		dirty_put(second);
	}
}

static void a_new_memory_table_keeps_the_log(void **state)
{
	uint64_t seed = 8;

	(void)state;
	FOR_EACH_RING(kind, dir) {
		struct gmem *old;
		struct guest g;

		prepare(&g, dir, 64, kind | ALL, 0);
		assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
		offer(&g, &seed);
		guest_move(&g, &old);
		virtq_relocate(&g.vq, g.mem, g.desc, g.avail, g.used);
		gmem_put(old);
		look(&g);
		assert_int_not_equal(turn(&g, &seed), 0);
		assert_true(compare(&g) >= 1);
		done(&g);
	}
}

static void a_ring_that_stopped_has_no_log(void **state)
{
	struct guest g;

	(void)state;
	prepare(&g, VIRTQ_RX, 64, ALL, 0);
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	virtq_stop(&g.vq);
	assert_null(g.vq.log);
	assert_false(g.vq.log_ring);
	done(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_that_is_written_is_marked_and_no_other),
		cmocka_unit_test(starting_arming_and_disarming_mark_what_they_write),
		cmocka_unit_test(a_long_chain_of_a_packed_ring_marks_its_first_descriptor),
		cmocka_unit_test(a_buffer_over_the_border_of_regions_marks_both),
		cmocka_unit_test(a_chain_that_is_too_small_marks_only_the_ring),
		cmocka_unit_test(the_ring_is_logged_only_where_that_was_asked_for),
		cmocka_unit_test(a_split_ring_is_logged_at_the_address_given_for_it),
		cmocka_unit_test(an_address_at_the_end_of_the_world_marks_nothing),
		cmocka_unit_test(a_log_that_is_too_small_has_what_it_has_room_for),
		cmocka_unit_test(a_log_that_is_cut_off_does_not_stop_the_traffic),
		cmocka_unit_test(logging_begins_changes_and_ends_between_batches),
		cmocka_unit_test(a_new_memory_table_keeps_the_log),
		cmocka_unit_test(a_ring_that_stopped_has_no_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
