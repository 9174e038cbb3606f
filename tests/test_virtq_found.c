/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packed ring whose device is killed and comes back, and whose front-end is
 * wrong about its position, or has taken chains out of it meanwhile.
 */
#include "guest_kept.h"

/* As goes_on(), with chains of one descriptor each: the ring alone says where it stands. */
static void goes_on_simply(struct guest *g, unsigned chains)
{
	for (unsigned i = 0; i < chains; i++) {
		offer(g, 1, 0);
		guest_expose(g);
		assert_int_equal(stage(g, 1), 1);
		virtq_publish(&g->vq);
		assert_int_equal(guest_take(g).len, staged_len(g, 0));
	}
	assert_int_equal(g->vq.broken, 0);
}

/* The front-end asks where the ring stands. */
static uint32_t tell(struct guest *g)
{
	virtq_forget_kept(&g->vq);
	return virtq_stop(&g->vq);
}

/* It was told, the ring ran on, and the device was killed, up to three rounds later. */
static void a_position_that_was_told_once_is_not_believed(void **state)
{
	(void)state;
	FOR_SIZES(size)
		for (unsigned later = 0; *size < 100 && later <= 3 * *size; later++)
			for (unsigned offered = 0; offered <= *size; offered += *size) {
				struct guest g;
				uint32_t told;

				open_kept(&g, RX, *size, ALL, 0);
				goes_on_simply(&g, later % 7 + *size);
				told = tell(&g);
				begin_at(&g, told);
				assert_false(virtq_found_position(&g.vq));
				goes_on_simply(&g, later);
				told = told == NEW ? told ^ 0x80008000u : told;
				for (unsigned i = 0; i < offered; i++)
					offer(&g, 1, (uint16_t)i);
				guest_expose(&g);
				begin_at(&g, told);
				assert_int_equal(g.vq.next_avail, g.used_idx);
				assert_false(virtq_is_out_of_step(&g.vq));
				assert_int_equal(stage(&g, offered < CHAINS ? offered : CHAINS),
						 offered < CHAINS ? offered : CHAINS);
				assert_int_equal(g.vq.stats.unserved, 0);
				guest_close(&g);
			}
}

/* It was told, and others served the ring until it came back. The old position can be that of a ring that is all offered. */
static void what_was_kept_does_not_count_once_it_was_told(void **state)
{
	(void)state;
	for (unsigned away = 0; away < 33; away++)
		for (unsigned offered = 0; offered <= 16; offered++) {
			struct guest g;
			uint32_t told;

			open_kept(&g, RX, 16, ALL, 5);
			goes_on_simply(&g, 20);
			told = tell(&g);
			g.cfg.kept = NULL;
			begin_at(&g, told);
			goes_on_simply(&g, away);
			for (unsigned i = 0; i < offered; i++)
				offer(&g, 1, (uint16_t)i);
			guest_expose(&g);
			told = virtq_stop(&g.vq);
			g.cfg.kept = kept;
			begin_at(&g, told);
			assert_int_equal(g.vq.next_avail, g.used_idx);
			assert_int_equal(kept->size, 16);
			assert_int_equal(kept->published, g.used_idx);
			guest_close(&g);
		}
}

/* The answer did not arrive. */
static void what_was_told_counts_where_the_front_end_is_wrong(void **state)
{
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, ALL, 5);
	goes_on_simply(&g, 20);
	tell(&g);
	begin_at(&g, 0x80058005u);
	assert_int_equal(g.vq.next_avail, g.used_idx);
	assert_true(virtq_found_position(&g.vq));
	goes_on_simply(&g, 40);
	tell(&g);
	kept->size = 0;
	begin_at(&g, 0x80058005u);
	assert_false(virtq_found_position(&g.vq));
	assert_true(virtq_is_out_of_step(&g.vq));
	guest_close(&g);
}

/* The front-end takes what is available at @at and behind it, as QEMU does. Return: where it ends. */
static uint16_t others_take(struct guest *g, uint16_t at)
{
	for (;;) {
		struct vring_packed_desc *head = guest_at(g, at), *d = head;
		unsigned n = 1;

		if ((head->flags & GUEST_AVAIL_USED) != guest_available(at))
			return at;
		for (; d->flags & VRING_DESC_F_NEXT; n++)
			d = guest_at(g, guest_forward(g, at, n));
		*head = (struct vring_packed_desc){ head->addr, 0, d->id, guest_used(at) };
		at = guest_forward(g, at, n);
	}
}

/* All @n chains come back in their order; the device serves what nobody did. */
static void all_come_back(struct guest *g, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!guest_pending(g)) {
			assert_int_not_equal(stage(g, CHAINS), 0);
			virtq_publish(&g->vq);
		}
		assert_int_equal(guest_take(g).id, i);
	}
	assert_int_equal(g->used_idx, g->avail_idx);
	assert_int_equal(g->vq.next_avail, g->avail_idx);
}

static void what_others_took_ahead_is_stepped_over(void **state)
{
	(void)state;
	for (uint32_t size = 1; size < 8; size++)
		for (unsigned base = 0; base < 2 * size; base++)
			for (unsigned offered = 1; offered <= size; offered++)
				for (unsigned from = 0; from < offered; from++) {
					uint64_t seed = base;
					struct guest g;
					uint16_t at;

					open_kept(&g, TX, size, ALL, position(size, base));
					at = guest_forward(&g, g.avail_idx, from);
					for (unsigned i = 0; i < offered; i++)
						offer(&g, 1, (uint16_t)i);
					guest_expose(&g);
					at = others_take(&g, at);
					assert_int_equal(at, g.avail_idx);
					begin_at(&g, at);
					assert_int_equal(guest_pending(&g), offered);
					assert_int_equal(g.vq.stats.unserved, from);
					assert_int_equal(g.vq.stats.repeated, 0);
					all_come_back(&g, offered);
					goes_on(&g, 4, &seed);
					guest_close(&g);
				}
}

static void chains_that_others_took_ahead_are_stepped_over(void **state)
{
	(void)state;
	for (unsigned base = 0; base < 40; base++)
		for (unsigned from = 0; from < 6; from++)
			for (unsigned unknown = 0; unknown < 2; unknown++) {
				uint64_t seed = base + 100 * from;
				struct guest g;
				uint16_t at;

				open_kept(&g, TX, 20, ALL, position(20, base));
				at = g.avail_idx;
				for (unsigned i = 0; i < 6; i++) {
					offer(&g, guest_random(&seed) % 3 + 1, (uint16_t)i);
					at = i < from ? g.avail_idx : at;
				}
				guest_expose(&g);
				at = others_take(&g, at);
				begin_at(&g, unknown && from ? NEW : at);
				assert_int_equal(g.vq.stats.unserved >= from, 1);
				assert_int_equal(guest_pending(&g), 6);
				all_come_back(&g, 6);
				goes_on(&g, 4, &seed);
				guest_close(&g);
			}
}

/* The device was killed in a batch, and then others took what they found at @from. */
static void killed_and_taken(uint32_t size, unsigned base, const struct plan *p, unsigned from)
{
	uint64_t seed = base;
	struct guest g;
	uint16_t at;

	open_kept(&g, TX, size, ALL, position(size, base));
	at = guest_forward(&g, g.avail_idx, from);
	kill_at(&g, p);
	at = others_take(&g, at);
	begin_at(&g, at);
	assert_false(virtq_is_out_of_step(&g.vq));
	all_come_back(&g, p->n);
	goes_on(&g, 4, &seed);
	guest_close(&g);
}

static void what_others_took_behind_a_batch_is_stepped_over(void **state)
{
	struct plan p = { .len = { 1, 1, 1, 1, 1, 1, 1, 1 } };

	(void)state;
	for (uint32_t size = 1; size < 8; size++)
		for (unsigned base = 0; base < 2 * size; base++)
			for (p.n = 1; p.n <= size; p.n++)
				for (p.staged = 1; p.staged <= p.n; p.staged++)
					for (p.when = 0; p.when < MOMENTS; p.when++)
						for (unsigned from = 0; from < p.n; from++)
							killed_and_taken(size, base, &p, from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_position_that_was_told_once_is_not_believed),
		cmocka_unit_test(what_was_kept_does_not_count_once_it_was_told),
		cmocka_unit_test(what_was_told_counts_where_the_front_end_is_wrong),
		cmocka_unit_test(what_others_took_ahead_is_stepped_over),
		cmocka_unit_test(chains_that_others_took_ahead_are_stepped_over),
		cmocka_unit_test(what_others_took_behind_a_batch_is_stepped_over),
	};

	share_kept();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
