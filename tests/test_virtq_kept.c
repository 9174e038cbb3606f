/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packed ring whose device is killed and comes back, told by the front-end to
 * begin anew: it goes on from the position that was kept, wherever the other one
 * ended, and the driver gets every chain back, once and in order.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "guest_kept.h"

/* --- nothing under way ------------------------------------------------------------------ */

static void a_ring_goes_on_where_it_stood(void **state)
{
	uint64_t seed = 1;

	(void)state;
	FOR_SIZES(size)
		for (unsigned dir = RX; dir <= TX; dir++) {
			struct guest g;

			open_kept(&g, dir, *size, ALL, 0);
			for (unsigned i = 0; i < 50; i++) {
				bool stopped = i % 2;

				goes_on(&g, 1 + i % 3, &seed);
				if (stopped)
					virtq_stop(&g.vq);
				begin_again(&g);
				assert_int_equal(g.vq.next_avail, g.avail_idx);
				/* At the end of two rounds all may be as at the beginning. */
				assert_true(virtq_found_position(&g.vq) || g.avail_idx == GUEST_WRAP);
				assert_false(virtq_is_out_of_step(&g.vq));
				assert_int_equal(g.vq.stats.repeated, 0);
			}
			goes_on(&g, 5, &seed);
			guest_close(&g);
		}
}

static void a_ring_that_waits_with_buffers_goes_on(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned base = 1; base < 40; base++) {
		open_kept(&g, TX, 20, ALL, (uint16_t)(base < 20 ? base : (base - 20) | GUEST_WRAP));
		for (unsigned i = 0; i < 5; i++)
			offer(&g, 4, (uint16_t)i);
		guest_expose(&g);
		begin_again(&g);
		assert_true(virtq_found_position(&g.vq));
		assert_int_equal(stage(&g, 5), 5);
		virtq_publish(&g.vq);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(guest_take(&g).id, i);
		guest_close(&g);
	}
}

/* The driver made its ring anew while nobody was there. */
static void a_new_ring_begins_at_its_beginning(void **state)
{
	static const uint32_t busy[] = { 0, BUSY };
	uint64_t seed = 2;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct guest g;

		open_kept(&g, i & 1, 16, ALL, 0);
		goes_on(&g, i, &seed);
		kept->size |= busy[i / 2 % 2];
		if (i % 3 == 1)
			kept->next = guest_forward(&g, kept->next, 1 + i % 16);
		if (i && kept->published == GUEST_WRAP)
			kept->size &= ~BUSY;
		virtq_stop(&g.vq);
		memset(g.packed, 0, g.size * sizeof(*g.packed));	/* as drivers do */
		guest_prepare_packed(&g, 0);
		offer(&g, 3, 2);
		guest_expose(&g);
		begin_again(&g);
		assert_false(virtq_is_out_of_step(&g.vq));
		if (i)
			assert_false(virtq_found_position(&g.vq));
		if (!virtq_found_position(&g.vq)) {
			assert_int_equal(g.vq.next_avail, GUEST_WRAP);
			stage(&g, 1);
			virtq_publish(&g.vq);
		}
		assert_int_equal(guest_take(&g).id, 2);
		goes_on(&g, 10, &seed);
		guest_close(&g);
	}
}

static void a_position_that_the_front_end_knows_is_what_counts(void **state)
{
	struct guest g;
	uint64_t seed = 3;

	(void)state;
	open_kept(&g, TX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	g.cfg.base = virtq_stop(&g.vq);
	assert_int_equal(kept->published, g.avail_idx);
	kept->published = kept->next = 3;
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	assert_false(virtq_found_position(&g.vq));
	assert_int_equal(g.vq.next_avail, g.avail_idx);
	assert_int_equal(kept->published, g.avail_idx);
	assert_int_equal(kept->next, g.avail_idx);
	assert_int_equal(kept->size, 16);
	goes_on(&g, 3, &seed);
	guest_close(&g);
}

static void the_entry_stays_when_the_ring_stops(void **state)
{
	struct virtq_kept was;
	struct guest g;
	uint64_t seed = 4;

	(void)state;
	open_kept(&g, RX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	was = *kept;
	assert_int_equal(was.size, 16);
	assert_int_equal(was.published, g.avail_idx);
	virtq_stop(&g.vq);
	assert_memory_equal(kept, &was, sizeof(was));
	assert_null(g.vq.kept);
	guest_close(&g);
}

static void a_split_ring_keeps_nothing(void **state)
{
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, GUEST_V1, 7);
	guest_offer_one(&g, 100);
	guest_expose(&g);
	assert_int_equal(stage(&g, 1), 1);
	virtq_publish(&g.vq);
	assert_int_equal(kept->size, 0);
	assert_int_equal(kept->published, 0);
	guest_close(&g);
}

/* --- in the middle of a batch --------------------------------------------------------------- */

/*
 * What the driver has back at once: all that was staged; where it is not known what was, two chains more, which are empty.
 * Return: chains.
 */
static unsigned came_back(struct guest *g, const struct plan *p)
{
	const bool complete = p->when == BEFORE_PUBLISH || p->when == AFTER_PUBLISH;
	const unsigned whole = p->when == IN_A_CHAIN ? p->staged - 1 : p->staged, n = guest_pending(g);
	/* With one chain staged it cannot be told from one that is not. */
	const bool shows = whole > 1 || complete || p->when == AT_THE_END;

	assert_in_range(n, p->staged, complete ? p->staged : p->staged + 2);
	assert_in_range(g->vq.stats.repeated, n - p->staged, complete ? 0 : 2);
	for (unsigned i = 0; i < n; i++) {
		struct vring_used_elem e = guest_take(g);

		assert_int_equal(e.id, i);
		assert_int_equal(e.len, shows && i < whole ? staged_len(g, i) : 0);
	}
	return n;
}

static void killed_and_back(enum virtq_dir dir, uint32_t size, uint16_t base, const struct plan *p)
{
	uint64_t seed = size + base;
	struct guest g;
	unsigned n;

	open_kept(&g, dir, size, ALL, base);
	kill_at(&g, p);
	begin_again(&g);
	assert_false(virtq_is_out_of_step(&g.vq));
	n = came_back(&g, p);
	assert_int_equal(stage(&g, p->n - n), p->n - n);
	virtq_publish(&g.vq);
	for (unsigned i = n; i < p->n; i++) {
		struct vring_used_elem e = guest_take(&g);

		assert_int_equal(e.id, i);
		assert_int_equal(e.len, staged_len(&g, i - n));
	}
	assert_int_equal(g.used_idx, g.avail_idx);
	goes_on(&g, 4, &seed);
	assert_int_equal(kept->size, size);
	guest_close(&g);
}

static void killed_everywhere(enum virtq_dir dir, uint32_t size, unsigned base)
{
	uint64_t seed = base;

	for (unsigned when = 0; when < MOMENTS; when++)
		for (unsigned longest = 1; longest <= 3; longest++) {
			struct plan p = { .when = when };
			unsigned left = size;

			while (left && p.n < 5) {
				unsigned most = left < longest ? left : longest;

				p.len[p.n] = guest_random(&seed) % most + 1;
				left -= p.len[p.n++];
			}
			for (p.staged = 1; p.staged <= p.n; p.staged++)
				killed_and_back(dir, size, position(size, base), &p);
		}
}

static void a_device_killed_in_a_batch_leaves_a_ring_that_goes_on(void **state)
{
	static const uint32_t small[] = { 1, 2, 3, 5, 7 };

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++)
		for (unsigned i = 0; i < 5; i++)
			for (unsigned base = 0; base < 2 * small[i]; base++)
				killed_everywhere(dir, small[i], base);
}

/* The driver had its chains back, and offered them again in the next round, before anybody came. */
static void a_driver_that_goes_on_meanwhile_loses_nothing(void **state)
{
	(void)state;
	for (unsigned base = 0; base < 10; base++) {
		const struct plan p = { .n = 3, .len = { 1, 2, 1 }, .staged = 3, .when = AFTER_PUBLISH };
		uint64_t seed = base;
		struct guest g;

		open_kept(&g, TX, 5, ALL, position(5, base));
		kill_at(&g, &p);
		while (guest_pending(&g))
			guest_take(&g);
		for (unsigned i = 0; i < 5; i++)
			offer(&g, 1, (uint16_t)i);
		guest_expose(&g);
		begin_again(&g);
		assert_true(virtq_found_position(&g.vq) || g.vq.next_avail == GUEST_WRAP);
		assert_false(virtq_is_out_of_step(&g.vq));
		assert_int_equal(stage(&g, 5), 5);
		virtq_publish(&g.vq);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(guest_take(&g).id, i);
		goes_on(&g, 4, &seed);
		guest_close(&g);
	}
}

static void what_is_finished_for_another_device_is_logged(void **state)
{
	const struct plan p = { .n = 3, .len = { 2, 1, 2 }, .staged = 2, .when = BETWEEN_CHAINS };
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty *log = NULL;
	struct guest g;

	(void)state;
	assert_true(fd >= 0 && !ftruncate(fd, 0x21000));
	assert_int_equal(dirty_create(fd, 0x21000, 0, &log), 0);
	open_kept(&g, RX, 512, ALL, 254);	/* the third begins a page */
	kill_at(&g, &p);
	g.cfg.log = log;
	g.cfg.log_ring = true;
	begin_again(&g);
	assert_true(virtq_found_position(&g.vq));
	assert_int_equal(log->bits[GUEST_BASE >> 15], 3);
	guest_close(&g);
	dirty_put(log);
}

/* --- what is in the entry ----------------------------------------------------------------------- */

static void an_entry_that_the_ring_contradicts_is_not_believed(void **state)
{
	uint64_t seed = 5;
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	while ((g.avail_idx & 0x7fff) < 4)
		goes_on(&g, 1, &seed);
	for (unsigned i = 0; i < 32; i++)
		for (unsigned busy = 0; busy < 2; busy++)
			for (unsigned far = 0; far < (busy ? 16u : 1u); far++) {
				uint16_t at = position(16, i);

				*kept = (struct virtq_kept){ 16 | (busy ? BUSY : 0), at, guest_forward(&g, at, far) };
				begin_again(&g);
				if (virtq_found_position(&g.vq))
					assert_int_equal(g.vq.next_avail, g.avail_idx);
				else
					assert_true(virtq_is_out_of_step(&g.vq));
			}
	guest_close(&g);
}

static void an_entry_of_another_ring_is_not_believed(void **state)
{
	static const struct virtq_kept bad[] = {
		{ 0, 0, 0 }, { 8, 3, 3 }, { 15, 3, 3 }, { 17, 3, 3 }, { 16 | BUSY >> 1, 3, 3 }, { UINT32_MAX, 3, 3 },
		{ 16, 16, 3 }, { 16, 3, 16 }, { 16, 0xffff, 3 }, { 16 | BUSY, 3, 0xffff }, { 16 | BUSY, 0x7fff, 3 },
	};
	uint64_t seed = 6;
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		*kept = bad[i];
		begin_again(&g);
		assert_false(virtq_found_position(&g.vq));
		assert_int_equal(g.vq.next_avail, GUEST_WRAP);
		assert_true(virtq_is_out_of_step(&g.vq));
	}
	guest_close(&g);
}

/* Only bounds count: whatever a guest makes of its ring, it is its own. */
static void garbage_in_entry_and_ring_is_looked_at_with_bounds(void **state)
{
	uint64_t seed = 7;
	unsigned found = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		static uint8_t before[GUEST_AVAIL - GUEST_BASE];
		static struct guest g;
		uint32_t size = 1 + guest_random(&seed) % 20;

		if (!i)
			guest_prepare(&g, TX, 20, ALL, 0);
		g.cfg.size = g.size = size;
		g.cfg.kept = kept;
		fill((uint8_t *)g.packed, size * sizeof(*g.packed), guest_random(&seed));
		if (i % 2)
			for (unsigned k = 0; k < size; k++)
				g.packed[k].flags &= guest_random(&seed) % 2 ? GUEST_AVAIL_USED : 1u << 7 | 1;
		*kept = (struct virtq_kept){ size | (i & 4 ? BUSY : 0), (uint16_t)guest_random(&seed) & 0x801f,
					     (uint16_t)guest_random(&seed) & 0x801f };
		memcpy(before, g.packed, sizeof(before));
		if (i & 8)
			begin_again(&g);
		else
			begin_at(&g, (uint32_t)guest_random(&seed) % size | (i & 16 ? GUEST_WRAP : 0));
		assert_true((g.vq.next_avail & 0x7fffu) < size);
		assert_memory_equal(before + size * sizeof(*g.packed), (uint8_t *)g.packed + size * sizeof(*g.packed),
				    sizeof(before) - size * sizeof(*g.packed));
		found += virtq_found_position(&g.vq);
		for (unsigned k = 0; k < 3; k++) {
			stage(&g, CHAINS);
			virtq_publish(&g.vq);
		}
		if (i == 19999)
			guest_close(&g);
	}
	assert_int_not_equal(found, 0);
}

/* --- killed in earnest ---------------------------------------------------------------------------- */

/* A device without end. */
static void __attribute__((noreturn)) serve(const struct guest *parent)
{
	struct guest g = *parent;

	g.mem = guest_memory_again(parent->mem);	/* guest memory is not inherited */
	guest_find_ring(&g);
	begin_again(&g);
	for (;;) {
		stage(&g, 1 + g.vq.stats.packets % CHAINS);
		virtq_publish(&g.vq);
	}
}

/* The driver: chains that are out, by number. */
struct driver {
	struct guest g;
	uint64_t offered, taken, empty;
	unsigned ndesc[64];
	unsigned out;	/* descriptors */
};

static void drive(struct driver *d, bool more, uint64_t *seed)
{
	unsigned n = guest_random(seed) % 3 + 1;

	while (more && d->out + n <= d->g.size) {
		offer(&d->g, n, (uint16_t)(d->offered % d->g.size));
		d->ndesc[d->offered++ % 64] = n;
		d->out += n;
		n = guest_random(seed) % 3 + 1;
	}
	guest_expose(&d->g);
	while (guest_pending(&d->g)) {
		struct vring_used_elem e = guest_take(&d->g);

		assert_int_equal(e.id, d->taken % d->g.size);
		d->out -= d->ndesc[d->taken++ % 64];
		d->empty += d->g.cfg.dir == RX && !e.len;
	}
}

static void a_device_killed_again_and_again_serves_every_chain_once(void **state)
{
	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++) {
		const unsigned kills = 150;
		struct driver d = { 0 };
		uint64_t seed = dir;

		guest_prepare(&d.g, dir, 37, ALL, 0);
		memset(kept, 0, sizeof(*kept));
		d.g.cfg.kept = kept;
		for (unsigned k = 0; k < kills; k++) {
			uint64_t until = d.taken + 20 + guest_random(&seed) % 300;
			pid_t pid = fork();

			if (!pid)
				serve(&d.g);
			assert_true(pid > 0);
			while (d.taken < until)
				drive(&d, true, &seed);
			kill(pid, SIGKILL);
			assert_int_equal(waitpid(pid, NULL, 0), pid);
		}
		begin_again(&d.g);
		for (unsigned i = 0; i < 100 && d.taken < d.offered; i++) {
			stage(&d.g, CHAINS);
			virtq_publish(&d.g.vq);
			drive(&d, false, &seed);
		}
		assert_int_equal(d.taken, d.offered);
		assert_true(d.empty <= 3 * kills);
		guest_close(&d.g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_goes_on_where_it_stood),
		cmocka_unit_test(a_ring_that_waits_with_buffers_goes_on),
		cmocka_unit_test(a_new_ring_begins_at_its_beginning),
		cmocka_unit_test(a_position_that_the_front_end_knows_is_what_counts),
		cmocka_unit_test(the_entry_stays_when_the_ring_stops),
		cmocka_unit_test(a_split_ring_keeps_nothing),
		cmocka_unit_test(a_device_killed_in_a_batch_leaves_a_ring_that_goes_on),
		cmocka_unit_test(a_driver_that_goes_on_meanwhile_loses_nothing),
		cmocka_unit_test(what_is_finished_for_another_device_is_logged),
		cmocka_unit_test(an_entry_that_the_ring_contradicts_is_not_believed),
		cmocka_unit_test(an_entry_of_another_ring_is_not_believed),
		cmocka_unit_test(garbage_in_entry_and_ring_is_looked_at_with_bounds),
		cmocka_unit_test(a_device_killed_again_and_again_serves_every_chain_once),
	};

	share_kept();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
