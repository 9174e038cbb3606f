/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session's event fds and device status, and the orders in which real front-ends speak; with both kinds of rings.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "vu_session.h"

/* ---- event fds ---- */

static void only_eventfds_signal(void **state)
{
	static const uint32_t request[] = { VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL,
					    VHOST_USER_SET_VRING_ERR };
	struct fixture *f = *state;
	sigset_t none;
	int two[2];

	sigemptyset(&none);
	negotiate(f);
	for (unsigned i = 0; i < 3; i++) {
		const struct vhost_user_msg m = vu_u64(request[i], 0);

		assert_int_equal(pipe2(two, O_CLOEXEC), 0);
		expect_nack_fd(f, m, two[0]);
		expect_nack_fd(f, m, two[1]);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, two), 0);
		expect_nack_fd(f, m, two[0]);
		expect_nack_fd(f, m, two[1]);
		expect_nack_fd(f, m, vu_memfd(8));
		expect_nack_fd(f, m, open("/proc/self", O_RDONLY | O_CLOEXEC));
		expect_nack_fd(f, m, open("/dev/null", O_RDWR | O_CLOEXEC));
		expect_nack_fd(f, m, epoll_create1(EPOLL_CLOEXEC));
		expect_nack_fd(f, m, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
		expect_nack_fd(f, m, signalfd(-1, &none, SFD_CLOEXEC));
		expect_ok_fd(f, m, eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE));
	}
}

static void received_event_fds_become_non_blocking(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	assert_true(fcntl(ring(f, 0)->callfd, F_GETFL) & O_NONBLOCK);
}

static void a_call_fd_is_replaced_while_the_ring_runs(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	with_memory(f);
	run_ring(f, 0);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	fds = vu_open_fds();
	f->fake.log[0] = 0;
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	assert_string_equal(f->fake.log, "call 0;");
	assert_int_equal(f->fake.ring[0].callfd, ring(f, 0)->callfd);
	assert_int_equal(vu_open_fds(), fds);
	expect_ok(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0 | VHOST_USER_VRING_NOFD));
	assert_int_equal(f->fake.ring[0].callfd, -1);
	assert_int_equal(vu_open_fds(), fds - 1);
}

static void a_kick_fd_is_replaced_while_the_ring_runs(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	with_memory(f);
	run_ring(f, 0);
	fds = vu_open_fds();
	f->fake.log[0] = 0;
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_string_equal(f->fake.log, "kick 0;");
	assert_int_equal(f->fake.ring[0].kickfd, ring(f, 0)->kickfd);
	assert_int_equal(vu_open_fds(), fds);
}

static void a_broken_ring_stops_and_signals_its_err_fd(void **state)
{
	struct fixture *f = *state;
	int err = event(), mine = dup(err);
	uint64_t count = 0;

	with_memory(f);
	run_ring(f, 0);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_ERR, 0), err);
	session_ring_broken(f->s, 0);
	session_ring_broken(f->s, 0);	/* told once */
	session_ring_broken(f->s, 1);	/* never ran */
	assert_false(f->fake.running[0]);
	assert_true(ring(f, 0)->broken);
	assert_int_equal(read(mine, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	close(mine);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_true(f->fake.running[0]);
	assert_false(ring(f, 0)->broken);
}

static void a_full_err_fd_that_blocks_does_not_hold_us(void **state)
{
	struct fixture *f = *state;
	int err = event(), mine = dup(err);
	uint64_t full = UINT64_MAX - 1;

	with_memory(f);
	run_ring(f, 0);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_ERR, 0), err);
	assert_int_equal(fcntl(mine, F_SETFL, 0), 0);
	assert_int_equal(write(mine, &full, sizeof(full)), sizeof(full));
	session_ring_broken(f->s, 0);
	assert_false(f->fake.running[0]);
	close(mine);
}

/* ---- device status ---- */

static void status_is_kept_and_zero_resets(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0xf));
	assert_int_equal(ask_u64(f, VHOST_USER_GET_STATUS), 0xf);
	expect_nack(f, vu_u64(VHOST_USER_SET_STATUS, 0x100));
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	assert_int_equal(ask_u64(f, VHOST_USER_GET_STATUS), 0);
	assert_false(f->fake.running[0]);
	assert_false(f->fake.enabled[0]);
	assert_int_equal(ring(f, 0)->num, 0);
	assert_true(ring(f, 0)->callfd >= 0);	/* QEMU does not send it again */
	assert_int_equal(session_state(f->s)->protocol_features, VU_PROTOCOL);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	run_ring(f, 0);	/* memory is still there */
}

/* Where it came to before means nothing any more, not even to a front-end that says no base. */
static void a_reset_ring_begins_at_its_beginning(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	for (unsigned i = 0; i < 3; i++) {
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
		expect_ok(f, vu_addr(0, VU_RING(0)));
		expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
		assert_true(f->fake.running[0]);
		assert_int_equal(f->fake.ring[0].base, base_of_kind(f, 0));
		f->fake.base = base_of_kind(f, 77);
		if (i)
			ask_base(f, 0);
		expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
		expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	}
}

/* ---- orders of real front-ends ---- */

/* Ring @index runs, enabled or not, at the base that its front-end said. */
static void runs(struct fixture *f, unsigned index, bool enabled, uint32_t base)
{
	assert_true(f->fake.running[index]);
	assert_int_equal(f->fake.enabled[index], enabled);
	assert_int_equal(f->fake.ring[index].base, base);
	assert_int_equal(f->fake.ring[index].features, f->features);
}

static void qemu_start(struct fixture *f, unsigned pair)
{
	for (unsigned i = 2 * pair; i < 2 * pair + 2; i++)
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, i, 1));
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	ask_u64(f, VHOST_USER_GET_STATUS);
	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_STATUS, 8)), 0);
	if (!pair)
		expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	for (unsigned i = 2 * pair; i < 2 * pair + 2; i++) {
		assert_int_equal(send_msg(f, vu_state(VHOST_USER_SET_VRING_NUM, i, 256)), 0);
		assert_int_equal(send_msg(f, vu_state(VHOST_USER_SET_VRING_BASE, i, base_of_kind(f, 0))), 0);
		expect_ok(f, vu_addr(i, VU_RING(i)));
		assert_int_equal(send_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, i), event()), 0);
		assert_true(f->fake.running[i]);
		assert_int_equal(send_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, i), event()), 0);
	}
}

static void qemus_order_works(void **state)
{
	struct fixture *f = *state;

	for (unsigned pair = 0; pair < PAIRS; pair++) {
		ask_u64(f, VHOST_USER_GET_FEATURES);
		ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
		assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL)), 0);
		assert_true(ask_u64(f, VHOST_USER_GET_QUEUE_NUM) >= PAIRS);
		if (!pair)
			assert_int_equal(send_msg(f, vu_msg(VHOST_USER_SET_OWNER, 0, 0)), 0);
		ask_u64(f, VHOST_USER_GET_FEATURES);
		for (unsigned i = 2 * pair; i < 2 * pair + 2; i++) {
			assert_int_equal(send_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, i), event()), 0);
			assert_int_equal(send_fd(f, vu_u64(VHOST_USER_SET_VRING_ERR, i), event()), 0);
		}
	}
	f->fake.base = base_of_kind(f, 99);
	for (int reboot = 0; reboot < 3; reboot++) {
		for (unsigned pair = 0; pair < PAIRS; pair++)
			qemu_start(f, pair);
		assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_STATUS, 0xf)), 0);
		for (unsigned i = 0; i < 2 * PAIRS; i++)
			runs(f, i, true, base_of_kind(f, 0));
		for (unsigned i = 0; i < 2 * PAIRS; i++)
			assert_int_equal(ask_base(f, i), base_of_kind(f, 99));
		assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_STATUS, 0)), 0);
		for (unsigned i = 0; i < 2 * PAIRS; i++)
			assert_false(f->fake.running[i] || f->fake.enabled[i]);
	}
	assert_int_equal(f->fake.complaints, 0);
}

static void cloud_hypervisors_order_works(void **state)
{
	struct fixture *f = *state;
	const unsigned rings = 2 * PAIRS;

	assert_int_equal(send_msg(f, vu_msg(VHOST_USER_SET_OWNER, 0, 0)), 0);
	ask_u64(f, VHOST_USER_GET_FEATURES);
	ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL)), 0);
	assert_true(ask_u64(f, VHOST_USER_GET_QUEUE_NUM) >= rings);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	for (unsigned i = 0; i < rings; i++)
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, i, 256));
	for (unsigned i = 0; i < rings; i++) {
		expect_ok(f, vu_addr(i, VU_RING(i)));
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, i, base_of_kind(f, 0)));
		expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, i), event());
		expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, i), event());
	}
	for (unsigned i = 0; i < rings; i++)
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, i, 1));
	for (unsigned i = 0; i < rings; i++)
		runs(f, i, true, base_of_kind(f, 0));
	/* Pause: disabled and stopped. Resume: the same rings again. */
	for (unsigned i = 0; i < rings; i++)
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, i, 0));
	for (unsigned i = 0; i < rings; i++)
		ask_base(f, i);
	for (unsigned i = 0; i < rings; i++)
		run_ring(f, i);
	assert_int_equal(f->fake.complaints, 0);
}

/* It says only the lower half of a packed ring's base. */
static void virtio_users_order_works(void **state)
{
	struct fixture *f = *state;
	const uint32_t base = base_of_kind(f, 0) & 0xffff;
	const unsigned rings = 2 * PAIRS;

	assert_int_equal(send_msg(f, vu_msg(VHOST_USER_SET_OWNER, 0, 0)), 0);
	ask_u64(f, VHOST_USER_GET_FEATURES);
	ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL)), 0);
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 1));
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 3));
	for (unsigned i = 0; i < rings; i++)
		assert_int_equal(send_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, i), event()), 0);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0xb));
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	for (unsigned i = 0; i < rings; i++) {
		assert_int_equal(send_msg(f, vu_state(VHOST_USER_SET_VRING_NUM, i, 256)), 0);
		assert_int_equal(send_msg(f, vu_state(VHOST_USER_SET_VRING_BASE, i, base)), 0);
		assert_int_equal(send_msg(f, vu_addr(i, VU_RING(i))), 0);
		assert_int_equal(send_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, i), event()), 0);
	}
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 1, 1));
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0xf));
	for (unsigned i = 0; i < rings; i++)
		runs(f, i, i < 2, base_of_kind(f, 0));
	assert_int_equal(f->fake.complaints, 0);
}

/* ---- robustness ---- */

static void every_message_sent_often_grows_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	with_memory(f);
	run_ring(f, 0);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_ERR, 0), event());
	fds = vu_open_fds();
	for (int i = 0; i < 1000; i++) {
		f->fake.log[0] = 0;
		for (uint32_t r = 0; r < VHOST_USER_REQUEST_MAX; r++) {
			struct vhost_user_msg m = vu_u64(r, 0);

			send_msg(f, m);
			send_fd(f, m, event());
		}
	}
	assert_true(vu_open_fds() <= fds);	/* GET_VRING_BASE gave the kick fd back */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(only_eventfds_signal),
		T(received_event_fds_become_non_blocking),
		T_BOTH(a_call_fd_is_replaced_while_the_ring_runs),
		T_BOTH(a_kick_fd_is_replaced_while_the_ring_runs),
		T_BOTH(a_broken_ring_stops_and_signals_its_err_fd),
		T(a_full_err_fd_that_blocks_does_not_hold_us),
		T_BOTH(status_is_kept_and_zero_resets),
		T_BOTH(a_reset_ring_begins_at_its_beginning),
		T_BOTH(qemus_order_works),
		T_BOTH(cloud_hypervisors_order_works),
		T_BOTH(virtio_users_order_works),
		T_BOTH(every_message_sent_often_grows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
