/* SPDX-License-Identifier: BSD-2-Clause */
/* The dirty log: what is refused, which bits stand for what, and a file that shrinks. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/sigbus.h"
#include "files.h"
#include "ring/dirty.h"

#define PAGE 4096ull
#define SIZE 64ull	/* bytes of the log: 512 pages */

static struct dirty *d;

/* Whatever a test marked must be seen through the file. */
static void open_log(uint64_t size, uint64_t offset)
{
	assert_int_equal(sigbus_install(), 0);	/* cmocka puts a handler of its own around every test */
	assert_int_equal(dirty_create(memfd(offset + size + SIZE), size, offset, &d), 0);
}

static bool is_marked(uint64_t page)
{
	uint64_t size, offset;
	int fd = dirty_export(d, &size, &offset);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)(offset + page / 8)), 1);
	return byte >> page % 8 & 1;
}

/* Pages @first to @last, and no others that the file has room for. */
static void marked(uint64_t first, uint64_t last)
{
	for (uint64_t page = 0; page < (d->size + SIZE) * 8; page++)
		assert_int_equal(is_marked(page), page >= first && page <= last);
}

static void not_marked(void)
{
	marked(1, 0);
}

static void refused(int fd, uint64_t size, uint64_t offset, int want)
{
	struct dirty *out = (void *)1;
	unsigned before = open_fds(), maps = mappings();

	assert_int_equal(dirty_create(fd, size, offset, &out), want);
	assert_ptr_equal(out, (void *)1);
	assert_int_equal(open_fds(), before);
	assert_int_equal(mappings(), maps);
	if (fd >= 0)
		close(fd);
}

static void a_byte_marks_the_bit_of_its_page(void **state)
{
	static const uint64_t pages[] = { 0, 1, 7, 8, 255, 511 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		open_log(SIZE, 0);
		dirty_mark(d, pages[i] * PAGE + 4095 * (i % 2), 1);
		marked(pages[i], pages[i]);
		dirty_put(d);
	}
}

static void a_span_marks_all_its_pages_and_no_other(void **state)
{
	(void)state;
	for (uint64_t len = 1; len < 5 * PAGE; len += 511) {
		open_log(SIZE, 0);
		dirty_mark(d, 10 * PAGE - 3, len);
		marked(9, (10 * PAGE - 3 + len - 1) / PAGE);
		dirty_put(d);
	}
}

static void no_bytes_mark_nothing(void **state)
{
	(void)state;
	open_log(SIZE, 0);
	dirty_mark(d, 0, 0);
	dirty_mark(d, 5 * PAGE, 0);
	not_marked();
	dirty_put(d);
}

static void what_was_marked_stays_marked(void **state)
{
	(void)state;
	open_log(SIZE, 0);
	dirty_mark(d, 8 * PAGE, PAGE);
	dirty_mark(d, 9 * PAGE, PAGE);
	dirty_mark(d, 8 * PAGE, PAGE);
	marked(8, 9);
	dirty_put(d);
}

static void what_lies_beyond_the_log_is_left_out(void **state)
{
	(void)state;
	open_log(SIZE, 0);
	dirty_mark(d, SIZE * 8 * PAGE, PAGE);
	dirty_mark(d, 1ull << 40, 1ull << 40);
	dirty_mark(d, UINT64_MAX, 1);
	not_marked();
	dirty_mark(d, (SIZE * 8 - 2) * PAGE, 10 * PAGE);
	marked(SIZE * 8 - 2, SIZE * 8 - 1);
	dirty_put(d);
}

static void a_span_that_wraps_ends_with_the_log(void **state)
{
	(void)state;
	open_log(SIZE, 0);
	dirty_mark(d, UINT64_MAX, UINT64_MAX);
	dirty_mark(d, UINT64_MAX - 5, 100);
	not_marked();
	dirty_mark(d, 500 * PAGE, UINT64_MAX);
	marked(500, SIZE * 8 - 1);
	dirty_put(d);
}

static void the_offset_into_the_file_is_honoured(void **state)
{
	(void)state;
	for (uint64_t offset = 1; offset < 3 * PAGE; offset += 1000) {
		open_log(SIZE, offset);
		dirty_mark(d, 3 * PAGE, 2 * PAGE);
		marked(3, 4);
		dirty_put(d);
	}
}

static void size_offset_and_fd_can_be_asked_back(void **state)
{
	uint64_t size = 0, offset = 0;

	(void)state;
	open_log(SIZE, 128);
	assert_true(fcntl(dirty_export(d, &size, &offset), F_GETFD) >= 0);
	assert_int_equal(size, SIZE);
	assert_int_equal(offset, 128);
	dirty_put(d);
}

static void a_log_of_no_size_or_beyond_its_file_is_refused(void **state)
{
	(void)state;
	refused(memfd(PAGE), 0, 0, -EINVAL);
	refused(memfd(PAGE), PAGE + 1, 0, -EINVAL);
	refused(memfd(PAGE), PAGE, 1, -EINVAL);
	refused(memfd(PAGE), 1, PAGE, -EINVAL);
	refused(memfd(PAGE), UINT64_MAX, 2, -EINVAL);
	refused(memfd(PAGE), 2, UINT64_MAX, -EINVAL);
	refused(memfd(PAGE), 1ull << 63, 0, -EINVAL);
}

static void what_is_no_file_of_memory_is_refused(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	close(p[1]);
	refused(p[0], 1, 0, -EINVAL);
	refused(-1, 1, 0, -EBADF);
	refused(open("/dev/null", O_RDWR), 1, 0, -EINVAL);
	refused(open("/proc/self/mem", O_RDWR), 1, 0, -EINVAL);
}

static void the_last_reference_unmaps_and_closes(void **state)
{
	unsigned before = open_fds(), maps = mappings();

	(void)state;
	open_log(SIZE, 0);
	assert_int_equal(mappings(), maps + 1);
	assert_ptr_equal(dirty_get(d), d);
	dirty_put(d);
	dirty_mark(d, 0, 1);
	marked(0, 0);
	dirty_put(d);
	dirty_put(NULL);
	assert_int_equal(open_fds(), before);
	assert_int_equal(mappings(), maps);
}

static void a_file_that_shrinks_is_contained(void **state)
{
	uint64_t size, offset;

	(void)state;
	open_log(2 * PAGE, 0);
	assert_int_equal(ftruncate(dirty_export(d, &size, &offset), 0), 0);
	assert_false(dirty_broken(d));
	dirty_mark(d, 5 * PAGE, 1);
	assert_true(dirty_broken(d));
	dirty_mark(d, 0, 2 * PAGE * 8 * PAGE);
	dirty_put(d);
}

static void *mark_every_eighth(void *arg)
{
	const uint64_t first = (uintptr_t)arg;

	for (unsigned round = 0; round < 200; round++)
		for (uint64_t page = first; page < SIZE * 8; page += 8)
			dirty_mark(d, page * PAGE, 1);
	return NULL;
}

/* Neighbouring bits, as two rings mark them. */
static void two_threads_lose_no_bit_of_each_other(void **state)
{
	pthread_t t[4];

	(void)state;
	open_log(SIZE, 0);
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, mark_every_eighth, (void *)i), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (uint64_t page = 0; page < SIZE * 8; page++)
		assert_int_equal(is_marked(page), page % 8 < 4);
	dirty_put(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_byte_marks_the_bit_of_its_page),
		cmocka_unit_test(a_span_marks_all_its_pages_and_no_other),
		cmocka_unit_test(no_bytes_mark_nothing),
		cmocka_unit_test(what_was_marked_stays_marked),
		cmocka_unit_test(what_lies_beyond_the_log_is_left_out),
		cmocka_unit_test(a_span_that_wraps_ends_with_the_log),
		cmocka_unit_test(the_offset_into_the_file_is_honoured),
		cmocka_unit_test(size_offset_and_fd_can_be_asked_back),
		cmocka_unit_test(a_log_of_no_size_or_beyond_its_file_is_refused),
		cmocka_unit_test(what_is_no_file_of_memory_is_refused),
		cmocka_unit_test(the_last_reference_unmaps_and_closes),
		cmocka_unit_test(a_file_that_shrinks_is_contained),
		cmocka_unit_test(two_threads_lose_no_bit_of_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
