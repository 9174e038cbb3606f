/* SPDX-License-Identifier: BSD-2-Clause */
/* The arithmetic of rate limits: exact over a second, whatever the rate; the burst; threads that share one. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/atomics.h"
#include "viaduct_limit.h"

#define SEC 1000000000ull
#define START (1000 * SEC)

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Bytes that pass in @ns when frames of @len are offered all the time; the clock moves in steps of @step. */
static uint64_t passed(struct vd_limit *l, uint32_t len, uint64_t ns, uint64_t step)
{
	uint64_t bytes = 0;

	for (uint64_t t = START; t < START + ns; t += step)
		while (vd_limit_take(l, len, t))
			bytes += len;
	return bytes;
}

static void bits_a_second_are_exact_from_a_thousand_to_a_hundred_billion(void **state)
{
	static const uint64_t bps[] = { 1000, 64000, 1000000, 12345678, 100000000, 1000000000, 10000000000, 40000000000,
					100000000000 };
	static const uint32_t len[] = { 60, 1514, 65000 };
	struct vd_limit l;

	(void)state;
	for (unsigned i = 0; i < sizeof(bps) / sizeof(bps[0]); i++)
		for (unsigned k = 0; k < 3; k++) {
			/* Slow ones take longer to show. */
			uint64_t seconds = bps[i] < 1000000 ? 2000 : bps[i] > 1000000000 ? 1 : 10;
			uint64_t burst = larger(VD_LIMIT_MIN_BYTES, bps[i] / 8 / 100), want = bps[i] / 8 * seconds, got;

			vd_limit_set(&l, bps[i], 0);
			got = passed(&l, len[k], seconds * SEC, seconds * SEC / 10000);
			/* A frame is let through when the burst is not used up, and may end behind it. */
			assert_in_range(got, want - want / 1000, want + want / 1000 + burst + 2 * len[k]);
		}
}

static void frames_a_second_are_exact(void **state)
{
	static const uint64_t fps[] = { 1, 10, 999, 20000, 1000000, 14880952, 100000000 };
	struct vd_limit l;

	(void)state;
	for (unsigned i = 0; i < sizeof(fps) / sizeof(fps[0]); i++) {
		uint64_t seconds = fps[i] < 1000 ? 1000 : 1, want = fps[i] * seconds, got;
		uint64_t burst = larger(VD_LIMIT_MIN_FRAMES, fps[i] / 100);

		vd_limit_set(&l, 0, fps[i]);
		got = passed(&l, 1, seconds * SEC, seconds * SEC / 100000);
		assert_in_range(got, want - want / 1000 - 1, want + want / 1000 + burst + 2);
	}
}

static void both_limits_hold(void **state)
{
	struct vd_limit l;
	uint64_t bytes;

	(void)state;
	vd_limit_set(&l, 8000000, 1000);
	bytes = passed(&l, 60, 10 * SEC, SEC / 1000);
	assert_in_range(bytes, 600000 - 1000, 600000 + 60 * (VD_LIMIT_MIN_FRAMES + 3));
	vd_limit_set(&l, 8000000, 1000);
	bytes = passed(&l, 1500, 10 * SEC, SEC / 1000);
	assert_in_range(bytes, 10000000 - 10000, 10000000 + 10000 + VD_LIMIT_MIN_BYTES + 3000);
}

static void a_long_silence_is_worth_one_burst(void **state)
{
	struct vd_limit l;
	unsigned n = 0;

	(void)state;
	vd_limit_set(&l, 0, 1000);
	while (vd_limit_take(&l, 60, START))
		n++;
	assert_in_range(n, VD_LIMIT_MIN_FRAMES, VD_LIMIT_MIN_FRAMES + 1);
	for (n = 0; vd_limit_take(&l, 60, START + 3600 * SEC); n++)
		;
	assert_in_range(n, VD_LIMIT_MIN_FRAMES, VD_LIMIT_MIN_FRAMES + 1);
}

/* The longest packet there is passes at the lowest rate there is. */
static void no_packet_is_too_long_to_pass(void **state)
{
	struct vd_limit l;

	(void)state;
	vd_limit_set(&l, 1, 0);
	assert_true(vd_limit_take(&l, 65597, START));
	assert_true(vd_limit_take(&l, 65597, START));
	assert_false(vd_limit_take(&l, 60, START + SEC) && vd_limit_take(&l, 60, START + SEC) &&
		     vd_limit_take(&l, 60, START + SEC));
	assert_true(vd_limit_take(&l, 65597, START + 2000 * SEC));
}

static void without_a_limit_everything_passes(void **state)
{
	struct vd_limit l;

	(void)state;
	vd_limit_set(&l, 0, 0);
	for (unsigned i = 0; i < 1000000; i++)
		assert_true(vd_limit_take(&l, 65000, START));
}

static void looking_at_it_costs_nothing(void **state)
{
	struct vd_limit l;

	(void)state;
	vd_limit_set(&l, 0, 1000);
	for (unsigned i = 0; i < 100000; i++)
		assert_false(vd_limit_exceeded(&l, START));
	for (unsigned i = 0; i < 2 * VD_LIMIT_MIN_FRAMES; i++)
		vd_limit_charge(&l, 60, START);
	assert_true(vd_limit_exceeded(&l, START));
	assert_false(vd_limit_exceeded(&l, START + VD_LIMIT_MIN_FRAMES * SEC / 1000));
}

/* --- shared ---------------------------------------------------------------------------- */

#define THREADS 3

static struct {
	struct vd_limit l;
	uint64_t now;
	uint32_t stop;
	uint64_t taken[THREADS];
} shared;

static void *take_all(void *arg)
{
	uint64_t *n = arg;

	while (!READ_ONCE(shared.stop))
		if (vd_limit_take(&shared.l, 60, READ_ONCE(shared.now)))
			++*n;
	return NULL;
}

static void threads_that_share_a_limit_get_it_once(void **state)
{
	pthread_t t[THREADS];
	uint64_t sum = 0, late = START;

	(void)state;
	vd_limit_set(&shared.l, 0, 1000000);
	shared.now = START;
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, take_all, &shared.taken[i]), 0);
	/* A second, as fast as they keep up with it: each step waits until what there is has been taken. */
	for (; late < START + SEC; late += SEC / 200) {
		WRITE_ONCE(shared.now, late);
		while (!vd_limit_exceeded(&shared.l, late))
			sched_yield();
	}
	WRITE_ONCE(shared.stop, 1);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		sum += shared.taken[i];
	}
	/* A race lets through one frame more, now and then. */
	assert_in_range(sum, 999000, 1000000 + 10000 + 3 * 1000 + 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_a_second_are_exact_from_a_thousand_to_a_hundred_billion),
		cmocka_unit_test(frames_a_second_are_exact),
		cmocka_unit_test(both_limits_hold),
		cmocka_unit_test(a_long_silence_is_worth_one_burst),
		cmocka_unit_test(no_packet_is_too_long_to_pass),
		cmocka_unit_test(without_a_limit_everything_passes),
		cmocka_unit_test(looking_at_it_costs_nothing),
		cmocka_unit_test(threads_that_share_a_limit_get_it_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
