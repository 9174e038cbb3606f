/* SPDX-License-Identifier: BSD-2-Clause */
/* Parcels: records in order, descriptors, what does not fit, and the way over a socket. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/parcel.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_records_come_out_as_they_went_in(void **state)
{
	struct parcel p = { 0 };
	uint64_t v = 0;
	char text[6];

	(void)state;
	parcel_put(&p, 1, &(uint64_t){ 7 }, 8);
	parcel_put(&p, 2, "hello", 6);
	parcel_put(&p, 3, NULL, 0);
	assert_int_equal(parcel_get(&p, 1, &v, sizeof(v)), 0);
	assert_int_equal(v, 7);
	assert_int_equal(parcel_get(&p, 2, text, sizeof(text)), 0);
	assert_string_equal(text, "hello");
	assert_int_equal(parcel_get(&p, 3, NULL, 0), 0);
	assert_int_equal(parcel_end(&p), 0);
	parcel_free(&p);
}

static void test_a_record_with_another_tag_stops_the_reader(void **state)
{
	struct parcel p = { 0 };
	uint32_t v = 9;

	(void)state;
	parcel_put(&p, 1, &v, sizeof(v));
	parcel_put(&p, 1, &v, sizeof(v));
	assert_int_equal(parcel_get(&p, 2, &v, sizeof(v)), -EPROTO);
	assert_int_equal(v, 0);
	assert_int_equal(parcel_get(&p, 1, &v, sizeof(v)), -EPROTO);	/* it does not find its way back */
	parcel_free(&p);
}

static void test_a_record_of_another_length_stops_the_reader(void **state)
{
	struct parcel p = { 0 };
	uint64_t v;

	(void)state;
	parcel_put(&p, 1, &(uint32_t){ 1 }, 4);
	assert_int_equal(parcel_get(&p, 1, &v, sizeof(v)), -EPROTO);
	assert_int_equal(v, 0);
	parcel_free(&p);
}

static void test_a_parcel_that_is_cut_off_is_refused_wherever_it_is_cut(void **state)
{
	struct parcel whole = { 0 };
	uint8_t v[16];

	(void)state;
	parcel_put(&whole, 1, "0123456789abcdef", 16);
	for (size_t len = 0; len < whole.len; len++) {
		struct parcel p = { .data = malloc(len ? len : 1), .len = len };

		memcpy(p.data, whole.data, len);
		assert_int_equal(parcel_get(&p, 1, v, sizeof(v)), -EPROTO);
		parcel_free(&p);
	}
	parcel_free(&whole);
}

static void test_something_left_over_is_found_at_the_end(void **state)
{
	struct parcel p = { 0 };

	(void)state;
	parcel_put(&p, 1, "x", 1);
	assert_int_equal(parcel_end(&p), -EPROTO);
	parcel_free(&p);
}

static void test_a_descriptor_that_is_not_there_stays_not_there(void **state)
{
	struct parcel p = { 0 };

	(void)state;
	parcel_put_fd(&p, 1, -1);
	assert_int_equal(parcel_get_fd(&p, 1), -1);
	assert_int_equal(parcel_end(&p), 0);
	parcel_free(&p);
}

/* --- over a socket ----------------------------------------------------------------- */

struct way {
	int fd[2];
	struct parcel_wire w[2];
	struct parcel sent;
	int ret;
};

static void *send_it(void *arg)
{
	struct way *y = arg;

	y->ret = parcel_send(&y->w[0], 5, &y->sent);
	return NULL;
}

static int setup(void **state)
{
	struct way *y = calloc(1, sizeof(*y));

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, y->fd), 0);
	for (int i = 0; i < 2; i++)
		y->w[i] = (struct parcel_wire){ .fd = y->fd[i], .deadline_ns = clock_now() + 20 * NSEC_PER_SEC };
	*state = y;
	return 0;
}

static int teardown(void **state)
{
	struct way *y = *state;

	for (int i = 0; i < 2; i++)
		if (y->fd[i] >= 0)
			close(y->fd[i]);
	parcel_free(&y->sent);
	free(y);
	return 0;
}

static void test_a_large_parcel_with_many_descriptors_arrives_whole(void **state)
{
	struct way *y = *state;
	const size_t big = 3u << 20;
	uint8_t *data = malloc(big);
	struct parcel got;
	uint32_t kind;
	pthread_t t;
	size_t len;
	int fd = eventfd(0, EFD_CLOEXEC);

	for (size_t i = 0; i < big; i++)
		data[i] = (uint8_t)(i * 7);
	parcel_put(&y->sent, 1, data, big);
	for (int i = 0; i < 450; i++)
		parcel_put_fd(&y->sent, 2, fd);
	assert_int_equal(pthread_create(&t, NULL, send_it, y), 0);
	assert_int_equal(parcel_recv(&y->w[1], &kind, &got), 0);
	pthread_join(t, NULL);
	assert_int_equal(y->ret, 0);
	assert_int_equal(kind, 5);
	assert_memory_equal(parcel_take(&got, 1, &len), data, big);
	assert_int_equal(len, big);
	for (int i = 0; i < 450; i++) {
		uint64_t v = 1;
		int mine = parcel_get_fd(&got, 2);

		assert_true(mine >= 0 && mine != fd);
		assert_int_equal(write(mine, &v, sizeof(v)), sizeof(v));
		close(mine);
	}
	assert_int_equal(eventfd_read(fd, &(eventfd_t){ 0 }), 0);
	assert_int_equal(parcel_end(&got), 0);
	parcel_free(&got);
	close(fd);
	free(data);
}

static void test_descriptors_that_nobody_took_are_closed(void **state)
{
	struct way *y = *state;
	struct parcel got;
	int fd = eventfd(0, EFD_CLOEXEC), theirs;
	uint32_t kind;

	parcel_put_fd(&y->sent, 2, fd);
	assert_int_equal(parcel_send(&y->w[0], 5, &y->sent), 0);
	assert_int_equal(parcel_recv(&y->w[1], &kind, &got), 0);
	theirs = got.fd[0];
	assert_true(is_open(theirs));
	assert_int_equal(fcntl(theirs, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	parcel_free(&got);
	assert_false(is_open(theirs));
	assert_true(is_open(fd));	/* the sender's own */
	close(fd);
}

static void test_the_end_of_the_other_side_is_told_from_silence(void **state)
{
	struct way *y = *state;
	struct parcel got;
	uint32_t kind;

	y->w[1].deadline_ns = clock_now() + 20 * NSEC_PER_MSEC;
	assert_int_equal(parcel_recv(&y->w[1], &kind, &got), -ETIMEDOUT);
	parcel_free(&got);
	close(y->fd[0]);
	y->fd[0] = -1;
	assert_int_equal(parcel_recv(&y->w[1], &kind, &got), -ECONNRESET);
	parcel_free(&got);
}

static void test_something_else_than_a_parcel_is_refused(void **state)
{
	struct way *y = *state;
	struct parcel got;
	uint32_t kind;

	assert_int_equal(write(y->fd[0], "GET / HTTP/1.1\r\nHost: example\r\n", 31), 31);
	assert_int_equal(parcel_recv(&y->w[1], &kind, &got), -EPROTO);
	parcel_free(&got);
}

static void test_a_header_that_promises_too_much_is_refused(void **state)
{
	const struct { uint32_t magic, kind; uint64_t len, nfds; } head = { 0x70616476, 1, 1ull << 40, 0 };
	struct way *y = *state;
	struct parcel got;
	uint32_t kind;

	assert_int_equal(write(y->fd[0], &head, sizeof(head)), sizeof(head));
	assert_int_equal(parcel_recv(&y->w[1], &kind, &got), -EPROTO);
	parcel_free(&got);
}

static void count_idle(void *arg)
{
	++*(int *)arg;
}

static void test_whoever_waits_is_called_meanwhile(void **state)
{
	struct way *y = *state;
	int calls = 0;
	uint8_t byte;

	y->w[1].idle = count_idle;
	y->w[1].arg = &calls;
	y->w[1].deadline_ns = clock_now() + 120 * NSEC_PER_MSEC;
	assert_int_equal(parcel_recv_byte(&y->w[1], &byte), -ETIMEDOUT);
	assert_true(calls >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_come_out_as_they_went_in),
		cmocka_unit_test(test_a_record_with_another_tag_stops_the_reader),
		cmocka_unit_test(test_a_record_of_another_length_stops_the_reader),
		cmocka_unit_test(test_a_parcel_that_is_cut_off_is_refused_wherever_it_is_cut),
		cmocka_unit_test(test_something_left_over_is_found_at_the_end),
		cmocka_unit_test(test_a_descriptor_that_is_not_there_stays_not_there),
		cmocka_unit_test_setup_teardown(test_a_large_parcel_with_many_descriptors_arrives_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors_that_nobody_took_are_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_end_of_the_other_side_is_told_from_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_something_else_than_a_parcel_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_header_that_promises_too_much_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whoever_waits_is_called_meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
