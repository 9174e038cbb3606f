/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame ledger: each frame has one owner, and the ledger notices when that is not so. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "xdp/frames.h"

static void a_new_ledger_has_every_frame_free(void **state)
{
	struct frames f;

	(void)state;
	assert_int_equal(frames_init(&f, 16, 2048), 0);
	assert_int_equal(f.count[FRAME_FREE], 16);
	assert_int_equal(f.nfree, 16);
	assert_int_equal(frames_check(&f), 0);
	frames_fini(&f);
}

static void odd_sizes_are_refused(void **state)
{
	struct frames f;

	(void)state;
	assert_int_equal(frames_init(&f, 0, 2048), -EINVAL);
	assert_int_equal(frames_init(&f, 16, 0), -EINVAL);
	assert_int_equal(frames_init(&f, 16, 3000), -EINVAL);
	assert_int_equal(frames_init(&f, UINT32_MAX, 2048), -EINVAL);
}

static void every_frame_is_taken_once_and_then_there_is_none(void **state)
{
	uint8_t seen[8] = { 0 };
	struct frames f;
	uint32_t n, i;

	(void)state;
	assert_int_equal(frames_init(&f, 8, 2048), 0);
	for (i = 0; i < 8; i++) {
		n = frames_take(&f, FRAME_TX);
		assert_true(n < 8);
		assert_int_equal(seen[n]++, 0);
	}
	assert_int_equal(frames_take(&f, FRAME_FILL), UINT32_MAX);
	assert_int_equal(f.count[FRAME_TX], 8);
	assert_int_equal(frames_check(&f), 0);
	frames_fini(&f);
}

static void a_frame_moves_only_from_its_owner(void **state)
{
	struct frames f;
	uint32_t n;

	(void)state;
	assert_int_equal(frames_init(&f, 8, 2048), 0);
	n = frames_take(&f, FRAME_FILL);
	assert_false(frames_move(&f, n, FRAME_TX, FRAME_HELD));
	assert_int_equal(f.violations, 1);
	assert_true(frames_move(&f, n, FRAME_FILL, FRAME_HELD));
	assert_true(frames_move(&f, n, FRAME_HELD, FRAME_LOST));
	assert_int_equal(f.count[FRAME_LOST], 1);
	assert_int_equal(frames_check(&f), 0);
	frames_fini(&f);
}

static void a_frame_given_back_twice_is_counted_and_not_listed_twice(void **state)
{
	struct frames f;
	uint32_t n;

	(void)state;
	assert_int_equal(frames_init(&f, 4, 2048), 0);
	n = frames_take(&f, FRAME_HELD);
	assert_true(frames_release(&f, n, FRAME_HELD));
	assert_false(frames_release(&f, n, FRAME_HELD));
	assert_int_equal(f.violations, 1);
	assert_int_equal(f.nfree, 4);
	assert_int_equal(frames_check(&f), 0);
	frames_fini(&f);
}

static void the_counts_of_a_wrong_ledger_are_reported_as_they_are(void **state)
{
	uint32_t count[FRAME_OWNERS];
	struct frames f;

	(void)state;
	assert_int_equal(frames_init(&f, 16, 2048), 0);
	frames_take(&f, FRAME_TX);
	f.count[FRAME_HELD] = 2;
	frames_counts(&f, count);
	assert_int_equal(count[FRAME_FREE], 15);
	assert_int_equal(count[FRAME_TX], 1);
	assert_int_equal(count[FRAME_HELD], 2);
	frames_fini(&f);
}

static void a_frame_that_does_not_exist_is_a_violation(void **state)
{
	struct frames f;

	(void)state;
	assert_int_equal(frames_init(&f, 4, 2048), 0);
	assert_false(frames_release(&f, 4, FRAME_TX));
	assert_false(frames_move(&f, UINT32_MAX, FRAME_FILL, FRAME_HELD));
	assert_int_equal(f.violations, 2);
	assert_int_equal(frames_check(&f), 0);
	frames_fini(&f);
}

static void a_damaged_ledger_is_noticed(void **state)
{
	struct frames f;

	(void)state;
	assert_int_equal(frames_init(&f, 4, 2048), 0);
	f.owner[2] = FRAME_HELD;	/* one owner too many */
	assert_int_equal(frames_check(&f), -EUCLEAN);
	f.owner[2] = FRAME_FREE;
	f.free[0] = f.free[1];		/* on the list twice */
	assert_int_equal(frames_check(&f), -EUCLEAN);
	frames_fini(&f);
	assert_int_equal(frames_init(&f, 4, 2048), 0);
	f.count[FRAME_FREE]--;
	assert_int_equal(frames_check(&f), -EUCLEAN);
	frames_fini(&f);
}

static void a_ledger_is_taken_over_as_it_was(void **state)
{
	const uint8_t owners[5] = { FRAME_FREE, FRAME_FILL, FRAME_TX, FRAME_FREE, FRAME_HELD };
	const uint8_t wrong[2] = { FRAME_FREE, FRAME_OWNERS };
	struct frames f;

	(void)state;
	assert_int_equal(frames_import(&f, 5, 2048, owners), 0);
	assert_int_equal(f.nfree, 2);
	assert_int_equal(f.count[FRAME_TX], 1);
	assert_int_equal(frames_check(&f), 0);
	assert_int_equal(frames_take(&f, FRAME_TX), 0);
	assert_int_equal(frames_take(&f, FRAME_TX), 3);
	frames_fini(&f);
	assert_int_equal(frames_import(&f, 2, 2048, wrong), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_ledger_has_every_frame_free),
		cmocka_unit_test(odd_sizes_are_refused),
		cmocka_unit_test(every_frame_is_taken_once_and_then_there_is_none),
		cmocka_unit_test(a_frame_moves_only_from_its_owner),
		cmocka_unit_test(a_frame_given_back_twice_is_counted_and_not_listed_twice),
		cmocka_unit_test(the_counts_of_a_wrong_ledger_are_reported_as_they_are),
		cmocka_unit_test(a_frame_that_does_not_exist_is_a_violation),
		cmocka_unit_test(a_damaged_ledger_is_noticed),
		cmocka_unit_test(a_ledger_is_taken_over_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
