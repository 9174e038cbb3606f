/* SPDX-License-Identifier: BSD-2-Clause */
/* The Internet checksum, beside one that is too simple to be wrong. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "offload.h"
#include "ring/csum.h"

static uint8_t bytes[70000];

static void fill(void)
{
	uint32_t x = 1;

	for (uint32_t i = 0; i < sizeof(bytes); i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
}

static void check(const uint8_t *p, uint32_t len)
{
	assert_int_equal(ntohs(csum_fold(csum_add(0, p, len))), offload_sum(0, p, len));
}

static void every_short_length_at_every_alignment_is_right(void **state)
{
	(void)state;
	fill();
	for (uint32_t len = 0; len < 300; len++) {
		for (uint32_t at = 0; at < 17; at++)
			check(bytes + at, len);
	}
}

static void long_lengths_are_right(void **state)
{
	(void)state;
	fill();
	for (uint32_t len = 60000; len < 65536; len += 61)
		check(bytes + len % 5, len);
}

static void carries_are_not_lost(void **state)
{
	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	for (uint32_t len = 0; len < 200; len++)
		check(bytes, len);
	check(bytes, 65535);
	memset(bytes, 0, sizeof(bytes));
	check(bytes, 65535);
	bytes[65534] = 0xff;
	check(bytes, 65535);
}

static void no_byte_behind_the_end_is_read(void **state)
{
	(void)state;
	for (uint32_t len = 0; len < 150; len++) {
		uint8_t *p = malloc(len ? len : 1);

		memset(p, 0x5a, len);
		check(p, len);
		free(p);
	}
}

static void sums_of_even_parts_add_up(void **state)
{
	(void)state;
	fill();
	for (uint32_t cut = 0; cut <= 256; cut += 2) {
		uint64_t sum = csum_add(csum_add(0, bytes, cut), bytes + cut, 999 - cut);

		assert_int_equal(ntohs(csum_fold(sum)), offload_sum(0, bytes, 999));
	}
}

static void parts_may_begin_at_odd_places(void **state)
{
	(void)state;
	fill();
	for (uint32_t a = 0; a < 40; a++) {
		for (uint32_t b = a; b < 100; b++) {
			uint64_t sum = csum_add_at(0, 0, bytes, a);

			sum = csum_add_at(sum, a, bytes + a, b - a);
			sum = csum_add_at(sum, b, bytes + b, 131 - b);
			assert_int_equal(ntohs(csum_fold(sum)), offload_sum(0, bytes, 131));
		}
	}
}

static void a_sum_at_the_top_of_its_range_does_not_overflow(void **state)
{
	const uint8_t two[2] = { 0, 2 };

	(void)state;
	/* 2^64 - 1 is zero modulo 65535. */
	assert_int_equal(ntohs(csum_fold(csum_add(UINT64_MAX, two, 2))), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_short_length_at_every_alignment_is_right),
		cmocka_unit_test(long_lengths_are_right),
		cmocka_unit_test(carries_are_not_lost),
		cmocka_unit_test(no_byte_behind_the_end_is_read),
		cmocka_unit_test(sums_of_even_parts_add_up),
		cmocka_unit_test(parts_may_begin_at_odd_places),
		cmocka_unit_test(a_sum_at_the_top_of_its_range_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
