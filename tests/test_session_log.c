/* SPDX-License-Identifier: BSD-2-Clause */
/* Migration: what is logged from when on, with rings running. */
#include <errno.h>

#include "base/sigbus.h"
#include "vu_session.h"

#define LOG_ALL (1ull << VHOST_F_LOG_ALL)
#define LOG_SIZE 0x2000ull
#define USED_AT 0x40003000ull	/* where used is for the guest */

static int setup_log(void **state)
{
	return setup_features(state, VU_FEATURES | LOG_ALL);
}

static int setup_log_packed(void **state)
{
	return setup_features(state, VU_FEATURES | VU_PACKED | LOG_ALL);
}

static int begin(void **state, int (*how)(void **))
{
	struct fixture *f;

	if (how(state))
		return -1;
	f = *state;
	negotiate(f);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features & ~LOG_ALL));
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	return 0;
}

static int setup_split_memory(void **state)
{
	return begin(state, setup_log);
}

static int setup_packed_memory(void **state)
{
	return begin(state, setup_log_packed);
}

#define LOGGED(name)                                                                                                 \
	{ #name ", split", name, setup_split_memory, teardown, NULL },                                               \
	{ #name ", packed", name, setup_packed_memory, teardown, NULL }

static void set_log(struct fixture *f, uint64_t size)
{
	int fd = vu_memfd(size);

	assert_int_equal(send_fd(f, vu_log(size, 0), fd), 1);
	assert_int_equal(f->reply.hdr.request, VHOST_USER_SET_LOG_BASE);
	assert_int_equal(f->reply.hdr.size, 8);
	assert_int_equal(f->reply.payload.u64, 0);
}

static void refused_log(struct fixture *f, struct vhost_user_msg m, int fd)
{
	unsigned fds = vu_open_fds();

	assert_int_equal(send_fds(f, m, &fd, fd >= 0), 1);
	assert_int_equal(f->reply.payload.u64, 1);
	assert_int_equal(vu_open_fds(), fd >= 0 ? fds - 1 : fds);
}

static void log_all(struct fixture *f, bool on)
{
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, on ? f->features : f->features & ~LOG_ALL));
}

static void log_ring(struct fixture *f, uint32_t index, bool on)
{
	struct vhost_user_msg m = vu_addr(index, VU_RING(index));

	m.payload.addr.flags = on << VHOST_VRING_F_LOG;
	m.payload.addr.log = on ? USED_AT : 0;
	expect_ok(f, m);
}

static void a_migration_begins_and_ends_with_rings_running(void **state)
{
	struct fixture *f = *state;

	run_ring(f, 0);
	run_ring(f, 1);
	f->fake.log[0] = 0;
	set_log(f, LOG_SIZE);
	assert_string_equal(f->fake.log, "");
	log_all(f, true);
	assert_string_equal(f->fake.log, "log 0;log 1;");
	log_ring(f, 0, true);
	log_ring(f, 1, true);
	assert_string_equal(f->fake.log, "log 0;log 1;log+ 0;log+ 1;");
	assert_int_equal(f->fake.ring[1].log_addr, USED_AT);
	f->fake.log[0] = 0;
	log_all(f, false);
	log_ring(f, 0, false);
	log_ring(f, 1, false);
	assert_string_equal(f->fake.log, "nolog 0;nolog 1;nolog 0;nolog 1;");
}

static void a_log_that_comes_last_is_used_at_once(void **state)
{
	struct fixture *f = *state;

	log_all(f, true);
	run_ring(f, 0);
	assert_null(f->fake.ring[0].log);
	f->fake.log[0] = 0;
	set_log(f, LOG_SIZE);
	assert_string_equal(f->fake.log, "log 0;");
}

/* As QEMU does it when it lost its back-end during a migration: the rings have been written to already. */
static void a_log_that_comes_last_has_the_rings_in_it(void **state)
{
	const uint64_t size = 0x10000, page = USED_AT >> 12;
	struct fixture *f = *state;
	int fd = vu_memfd(size), mine = dup(fd);
	uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mine, 0);

	log_all(f, true);
	run_ring(f, 0);
	run_ring(f, 1);
	log_ring(f, 0, true);	/* the other one's used is not to be logged */
	assert_int_equal(send_fd(f, vu_log(size, 0), fd), 1);
	assert_true(map[page / 8] & 1 << page % 8);
	/* Packed: the descriptors, too. */
	assert_int_equal(map[page / 8] & 1 << (page - 3) % 8, is_packed(f) ? 1 : 0);
	assert_int_equal(map[page / 8] & 0xf0, 0);
	munmap(map, size);
	close(mine);
}

static void a_ring_that_starts_during_a_migration_logs_from_its_first_write(void **state)
{
	struct fixture *f = *state;

	set_log(f, LOG_SIZE);
	log_all(f, true);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	log_ring(f, 0, true);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_true(f->fake.running[0]);
	assert_non_null(f->fake.ring[0].log);
	assert_true(f->fake.ring[0].log_ring);
	assert_int_equal(f->fake.ring[0].log_addr, USED_AT);
}

static void new_memory_during_a_migration_keeps_the_log(void **state)
{
	struct fixture *f = *state;

	run_ring(f, 0);
	set_log(f, LOG_SIZE);
	log_all(f, true);
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	assert_non_null(f->fake.ring[0].log);
}

static void a_larger_log_takes_over_and_the_old_one_goes(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	run_ring(f, 0);
	log_all(f, true);
	set_log(f, LOG_SIZE);
	fds = vu_open_fds();
	for (uint64_t i = 1; i < 100; i++) {
		f->fake.log[0] = 0;
		set_log(f, LOG_SIZE * i);
		assert_string_equal(f->fake.log, "log 0;");
		assert_int_equal(f->fake.ring[0].log->size, LOG_SIZE * i);
		dirty_mark(f->fake.ring[0].log, 0, 1);
	}
	assert_int_equal(vu_open_fds(), fds);
}

static void the_logs_offset_counts_once(void **state)
{
	struct fixture *f = *state;
	int fd = vu_memfd(0x3000), mine = dup(fd);
	uint8_t *map = mmap(NULL, 0x3000, PROT_READ | PROT_WRITE, MAP_SHARED, mine, 0);

	run_ring(f, 0);
	log_all(f, true);
	assert_int_equal(send_fd(f, vu_log(0x2000, 0x1000), fd), 1);
	assert_int_equal(f->reply.payload.u64, 0);
	dirty_mark(f->fake.ring[0].log, 9 << 12, 1);
	assert_int_equal(map[0x1001], 2);
	munmap(map, 0x3000);
	close(mine);
}

static void bad_logs_are_refused_and_the_old_one_stays(void **state)
{
	struct fixture *f = *state;

	run_ring(f, 0);
	log_all(f, true);
	set_log(f, LOG_SIZE);
	f->fake.log[0] = 0;
	refused_log(f, vu_log(0, 0), vu_memfd(LOG_SIZE));
	refused_log(f, vu_log(LOG_SIZE, 1), vu_memfd(LOG_SIZE));
	refused_log(f, vu_log(LOG_SIZE, UINT64_MAX - 0xfff), vu_memfd(LOG_SIZE));
	refused_log(f, vu_log(UINT64_MAX, 0), vu_memfd(LOG_SIZE));
	refused_log(f, vu_log(LOG_SIZE + 1, 0), vu_memfd(LOG_SIZE));
	refused_log(f, vu_log(LOG_SIZE, 0), event());
	refused_log(f, vu_log(LOG_SIZE, 0), -1);
	refused_log(f, vu_u64(VHOST_USER_SET_LOG_BASE, 0), -1);	/* as it was before there was an fd */
	assert_string_equal(f->fake.log, "");
	dirty_mark(f->fake.ring[0].log, 0, 1);
}

static void a_log_is_answered_once_whether_or_not_an_ack_is_wanted(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_log(LOG_SIZE, 0);

	m.hdr.flags |= VHOST_USER_NEED_REPLY;
	assert_int_equal(send_fd(f, m, vu_memfd(LOG_SIZE)), 1);
	assert_int_equal(f->reply.payload.u64, 0);
}

static void without_log_shmfd_there_is_no_log(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack_fd(f, vu_log(LOG_SIZE, 0), vu_memfd(LOG_SIZE));
	expect_nack(f, vu_u64(VHOST_USER_SET_LOG_BASE, 0));
	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_LOG_BASE, 0)), -EOPNOTSUPP);
}

static void other_addresses_with_the_log_flag_are_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_addr(0, VU_RING(2));

	run_ring(f, 0);
	m.payload.addr.flags = 1 << VHOST_VRING_F_LOG;
	expect_nack(f, m);	/* before LOG_ALL, too */
	m = vu_addr(0, VU_RING(0));
	m.payload.addr.flags = 1 << VHOST_VRING_F_LOG;
	expect_nack(f, m);
	log_all(f, true);
	f->fake.log[0] = 0;
	m = vu_addr(0, VU_RING(2));
	m.payload.addr.flags = 1 << VHOST_VRING_F_LOG;
	expect_nack(f, m);
	assert_string_equal(f->fake.log, "");
}

static void the_same_addresses_again_change_nothing(void **state)
{
	struct fixture *f = *state;

	run_ring(f, 0);
	log_all(f, true);
	set_log(f, LOG_SIZE);
	log_ring(f, 0, true);
	f->fake.log[0] = 0;
	log_ring(f, 0, true);
	log_all(f, true);
	assert_string_equal(f->fake.log, "");
}

static void after_a_reset_nothing_is_logged(void **state)
{
	struct fixture *f = *state;

	run_ring(f, 0);
	set_log(f, LOG_SIZE);
	log_all(f, true);
	log_ring(f, 0, true);
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	log_all(f, false);
	run_ring(f, 0);
	assert_null(f->fake.ring[0].log);
	assert_false(f->fake.ring[0].log_ring);
}

static void a_log_fd_is_an_eventfd_that_nobody_needs(void **state)
{
	struct fixture *f = *state;
	unsigned fds = vu_open_fds();

	for (int i = 0; i < 10; i++) {
		expect_ok_fd(f, vu_u64(VHOST_USER_SET_LOG_FD, 0), event());
		expect_ok_fd(f, vu_msg(VHOST_USER_SET_LOG_FD, 0, 0), event());
	}
	assert_int_equal(vu_open_fds(), fds);
	expect_nack_fd(f, vu_msg(VHOST_USER_SET_LOG_FD, 0, 0), vu_memfd(10));
}

static void a_truncated_log_ends_the_session(void **state)
{
	struct fixture *f = *state;
	int fd = vu_memfd(LOG_SIZE), mine = dup(fd);

	assert_int_equal(sigbus_install(), 0);
	run_ring(f, 0);
	log_all(f, true);
	assert_int_equal(send_fd(f, vu_log(LOG_SIZE, 0), fd), 1);
	assert_int_equal(ftruncate(mine, 0), 0);
	close(mine);
	dirty_mark(f->fake.ring[0].log, 0, 1);	/* as a worker would */
	assert_true(session_memory_broken(f->s));
	assert_int_equal(send_msg(f, vu_msg(VHOST_USER_GET_FEATURES, 0, 0)), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOGGED(a_migration_begins_and_ends_with_rings_running),
		LOGGED(a_log_that_comes_last_is_used_at_once),
		LOGGED(a_log_that_comes_last_has_the_rings_in_it),
		LOGGED(a_ring_that_starts_during_a_migration_logs_from_its_first_write),
		LOGGED(new_memory_during_a_migration_keeps_the_log),
		LOGGED(a_larger_log_takes_over_and_the_old_one_goes),
		LOGGED(the_logs_offset_counts_once),
		LOGGED(bad_logs_are_refused_and_the_old_one_stays),
		LOGGED(a_log_is_answered_once_whether_or_not_an_ack_is_wanted),
		LOGGED(without_log_shmfd_there_is_no_log),
		LOGGED(other_addresses_with_the_log_flag_are_refused),
		LOGGED(the_same_addresses_again_change_nothing),
		LOGGED(after_a_reset_nothing_is_logged),
		LOGGED(a_log_fd_is_an_eventfd_that_nobody_needs),
		LOGGED(a_truncated_log_ends_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
