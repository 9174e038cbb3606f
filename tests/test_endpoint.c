/* SPDX-License-Identifier: BSD-2-Clause */
/* Endpoints over real UNIX sockets in a directory of their own. */
#include "endpoint.h"

static void a_message_is_answered(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uid_t uid;
	int fd;

	open_endpoint(f);
	fd = peer(f);
	send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	fake_settle(f->loop);
	expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
	assert_int_equal(f->connected, 1);
	endpoint_peer(f->e, &pid, &uid);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
	close(fd);
	fake_settle(f->loop);
	assert_int_equal(f->disconnected, 1);
	assert_int_equal(endpoint_stats(f->e)->bad, 0);
	endpoint_peer(f->e, &pid, &uid);
	assert_int_equal(pid, 0);
}

static void a_message_may_come_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_u64(VHOST_USER_SET_VRING_CALL, 0);
	uint8_t wire[64];
	size_t len = flatten(&m, wire);
	int fd, ev;

	open_endpoint(f);
	fd = peer(f);
	ev = eventfd(0, EFD_CLOEXEC);
	for (size_t i = 0; i < len; i++) {
		send_raw(fd, wire + i, 1, &ev, i == 0);
		fake_settle(f->loop);
	}
	assert_true(session_state(endpoint_session(f->e))->ring[0].callfd >= 0);
	close(ev);
	close(fd);
}

static void a_message_cut_at_every_byte_then_closed_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_mem();
	uint8_t wire[64];
	size_t len = flatten(&m, wire);
	unsigned fds;
	int mem = vu_memfd(VU_MEM_SIZE);

	open_endpoint(f);
	fds = vu_open_fds();
	for (size_t cut = 0; cut < len; cut++) {
		int fd = peer(f);

		if (cut)
			send_raw(fd, wire, cut, &mem, 1);
		fake_settle(f->loop);
		assert_non_null(endpoint_session(f->e));
		close(fd);
		fake_settle(f->loop);
		assert_null(endpoint_session(f->e));
		assert_int_equal(vu_open_fds(), fds);
	}
	close(mem);
}

static void messages_sent_in_one_go_keep_their_own_fds(void **state)
{
	struct fixture *f = *state;
	const struct session_state *st;
	int fd, ev[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };

	open_endpoint(f);
	fd = peer(f);
	send_message(fd, vu_msg(VHOST_USER_SET_OWNER, 0, 0), NULL, 0);
	send_message(fd, vu_u64(VHOST_USER_SET_VRING_CALL, 0), &ev[0], 1);
	send_message(fd, vu_u64(VHOST_USER_SET_VRING_CALL, 1), &ev[1], 1);
	send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	fake_settle(f->loop);
	expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
	st = session_state(endpoint_session(f->e));
	assert_true(st->ring[0].callfd >= 0 && st->ring[1].callfd >= 0);
	close(ev[0]);
	close(ev[1]);
	close(fd);
}

static void too_many_fds_close_and_leave_nothing(void **state)
{
	static const unsigned counts[] = { 1, 2, 8, 9, 64, 253 };
	struct fixture *f = *state;
	unsigned fds;
	int many[253];

	for (unsigned i = 0; i < 253; i++)
		many[i] = 2;	/* the same one over and over: each arrives as a new one */
	open_endpoint(f);
	fds = vu_open_fds();
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		int fd = peer(f);

		send_message(fd, vu_msg(VHOST_USER_SET_OWNER, 0, 0), many, counts[i]);
		expect_closed(f, fd);
		assert_int_equal(vu_open_fds(), fds);
	}
	assert_int_equal(endpoint_stats(f->e)->bad, 6);
}

static void fds_behind_the_header_close(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_u64(VHOST_USER_SET_VRING_CALL, 0);
	uint8_t wire[64];
	size_t len = flatten(&m, wire);
	int ev = eventfd(0, EFD_CLOEXEC);

	open_endpoint(f);
	for (size_t at = HDR; at < len; at++) {
		int fd = peer(f);

		send_raw(fd, wire, at, NULL, 0);
		send_raw(fd, wire + at, len - at, &ev, 1);
		expect_closed(f, fd);
	}
	close(ev);
}

static void a_bad_header_closes_before_any_payload(void **state)
{
	static const struct vhost_user_hdr bad[] = {
		{ VHOST_USER_SET_FEATURES, 0, 8 },
		{ VHOST_USER_SET_FEATURES, 2, 8 },
		{ VHOST_USER_SET_FEATURES, VHOST_USER_VERSION | VHOST_USER_REPLY, 8 },
		{ VHOST_USER_SET_FEATURES, VHOST_USER_VERSION | 1u << 31, 8 },
		{ VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 7 },
		{ VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 9 },
		{ VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 0 },
		{ VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, UINT32_MAX },
		{ 1000, VHOST_USER_VERSION, VHOST_USER_PAYLOAD_MAX + 1 },
		{ 1000, VHOST_USER_VERSION, 1u << 31 },
	};
	struct fixture *f = *state;

	open_endpoint(f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = peer(f);

		send_raw(fd, &bad[i], HDR, NULL, 0);
		expect_closed(f, fd);
	}
	assert_int_equal(endpoint_stats(f->e)->bad, sizeof(bad) / sizeof(bad[0]));
	assert_int_equal(f->fake.complaints, sizeof(bad) / sizeof(bad[0]));
}

static void a_second_connection_is_refused_and_the_first_unharmed(void **state)
{
	struct fixture *f = *state;
	int first, second;

	open_endpoint(f);
	first = peer(f);
	fake_settle(f->loop);
	second = peer(f);
	send_message(second, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	fake_settle(f->loop);
	assert_true(is_closed(second));
	send_message(first, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	fake_settle(f->loop);
	expect_reply(first, VHOST_USER_GET_FEATURES, VU_FEATURES);
	assert_int_equal(endpoint_stats(f->e)->refused, 1);
	assert_int_equal(f->connected, 1);
	close(first);
	close(second);
}

static void a_dead_connection_does_not_keep_its_successor_out(void **state)
{
	struct fixture *f = *state;
	int first, second;

	open_endpoint(f);
	for (int i = 0; i < 10; i++) {
		first = peer(f);
		fake_settle(f->loop);
		second = peer(f);	/* both events come in one round, in either order */
		close(first);
		fake_settle(f->loop);
		send_message(second, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
		fake_settle(f->loop);
		expect_reply(second, VHOST_USER_GET_FEATURES, VU_FEATURES);
		close(second);
		fake_settle(f->loop);
	}
	assert_int_equal(endpoint_stats(f->e)->refused, 0);
}

static void a_thousand_connections_leave_nothing(void **state)
{
	struct fixture *f = *state;
	int ev = eventfd(0, EFD_CLOEXEC), mem = vu_memfd(VU_MEM_SIZE);
	unsigned fds;

	open_endpoint(f);
	fds = vu_open_fds();
	for (int i = 0; i < 1000; i++) {
		int fd = peer(f);

		send_message(fd, vu_mem(), &mem, 1);
		send_message(fd, vu_u64(VHOST_USER_SET_VRING_CALL, 1), &ev, 1);
		send_message(fd, vu_state(VHOST_USER_SET_VRING_NUM, 1, 256), NULL, 0);
		send_message(fd, vu_addr(1, VU_RING(1)), NULL, 0);
		send_message(fd, vu_u64(VHOST_USER_SET_VRING_KICK, 1), &ev, 1);
		f->fake.log[0] = 0;
		fake_settle(f->loop);
		assert_string_equal(f->fake.log, "start 1;");
		close(fd);
		fake_settle(f->loop);
		assert_string_equal(f->fake.log, "start 1;stop 1;");
	}
	assert_int_equal(vu_open_fds(), fds);
	assert_int_equal(f->connected, 1000);
	close(ev);
	close(mem);
}

static void an_incomplete_message_is_given_up_at_the_deadline(void **state)
{
	struct fixture *f = *state;
	int fd;

	f->cfg.deadline_ms = 20;
	open_endpoint(f);
	fd = peer(f);
	send_raw(fd, "\1", 1, NULL, 0);
	while (!f->disconnected)
		assert_true(loop_once(f->loop, -1) >= 0);
	expect_closed(f, fd);
	assert_int_equal(endpoint_stats(f->e)->bad, 1);
	assert_string_equal(f->why, "the front-end does not complete a message");
}

static void a_connection_without_a_message_has_no_deadline(void **state)
{
	struct fixture *f = *state;
	uint64_t end;
	int fd;

	f->cfg.deadline_ms = 1;
	open_endpoint(f);
	fd = peer(f);
	send_message(fd, vu_msg(VHOST_USER_SET_OWNER, 0, 0), NULL, 0);
	fake_settle(f->loop);
	end = clock_now() + 5 * NSEC_PER_MSEC;
	while (clock_now() < end)
		assert_true(loop_once(f->loop, 1) >= 0);
	assert_int_equal(f->disconnected, 0);
	close(fd);
}

static void a_reply_that_is_never_read_is_given_up_at_the_deadline(void **state)
{
	struct fixture *f = *state;
	int fd;

	f->cfg.deadline_ms = 20;
	open_endpoint(f);
	fd = peer(f);
	send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	while (!f->disconnected)
		assert_true(loop_once(f->loop, -1) >= 0);
	assert_string_equal(f->why, "the front-end does not read replies");
	close(fd);
}

static void a_flood_whose_replies_are_never_read_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_msg(VHOST_USER_GET_FEATURES, 0, 0);
	unsigned sent = 0;
	int fd;

	f->cfg.deadline_ms = 20;
	open_endpoint(f);
	fd = peer(f);
	while (!f->disconnected) {
		while (send(fd, &m.hdr, HDR, MSG_DONTWAIT | MSG_NOSIGNAL) == HDR)
			sent++;
		assert_true(loop_once(f->loop, -1) >= 0);
		assert_true(sent < 100000);	/* not read without end */
	}
	assert_string_equal(f->why, "the front-end does not read replies");
	close(fd);
}

static void a_slow_reader_of_replies_stays(void **state)
{
	struct fixture *f = *state;
	unsigned left = 3;
	int fd;

	f->cfg.deadline_ms = 700;
	open_endpoint(f);
	fd = peer(f);
	for (unsigned i = 0; i < left; i++)
		send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	fake_settle(f->loop);
	while (left--) {	/* one before each deadline */
		expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
		assert_int_equal(loop_once(f->loop, -1), 1);
		assert_int_equal(f->disconnected, 0);
	}
	assert_int_equal(loop_once(f->loop, 0), 0);
	close(fd);
}

static void replies_beyond_the_sockets_room_wait_for_the_reader(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_msg(VHOST_USER_GET_FEATURES, 0, 0);
	unsigned sent = 0, got = 0;
	char reply[HDR + 8];
	int fd;

	open_endpoint(f);
	fd = peer(f);
	while (got < 5000) {
		while (sent < 5000 && send(fd, &m.hdr, HDR, MSG_DONTWAIT | MSG_NOSIGNAL) == HDR)
			sent++;
		assert_true(loop_once(f->loop, 0) >= 0);
		if (recv(fd, reply, sizeof(reply), MSG_DONTWAIT) == sizeof(reply))
			got++;
		assert_int_equal(f->disconnected, 0);
	}
	close(fd);
}

static void one_round_handles_a_bounded_number_of_messages(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_msg(VHOST_USER_RESET_OWNER, 0, 0);
	int fd;

	open_endpoint(f);
	fd = peer(f);
	fake_settle(f->loop);
	for (int i = 0; i < 150; i++)
		send_raw(fd, &m.hdr, HDR, NULL, 0);
	for (unsigned want = 64; want <= 128; want += 64) {
		assert_int_equal(loop_once(f->loop, 0), 1);
		assert_int_equal(f->fake.changes, want);
	}
	fake_settle(f->loop);
	assert_int_equal(f->fake.changes, 150);
	close(fd);
}

static void a_refused_message_leaves_the_connection_open(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_u64(VHOST_USER_SET_FEATURES, 1ull << 63);
	int fd;

	open_endpoint(f);
	fd = peer(f);
	send_message(fd, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL), NULL, 0);
	m.hdr.flags |= VHOST_USER_NEED_REPLY;
	send_message(fd, m, NULL, 0);
	fake_settle(f->loop);
	expect_reply(fd, VHOST_USER_SET_FEATURES, 1);
	assert_non_null(endpoint_session(f->e));
	assert_int_equal(endpoint_stats(f->e)->bad, 0);
	close(fd);
}

static void a_connection_can_be_thrown_out(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_endpoint(f);
	fd = peer(f);
	fake_settle(f->loop);
	endpoint_kick_out(f->e, "tired of it");
	assert_string_equal(f->why, "tired of it");
	endpoint_kick_out(f->e, "again");
	expect_closed(f, fd);
	assert_int_equal(f->disconnected, 1);
	fd = peer(f);	/* and may come back */
	fake_settle(f->loop);
	assert_int_equal(f->connected, 2);
	close(fd);
}

static void running_out_of_fds_does_not_spin(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, low;
	int fd;

	open_endpoint(f);
	fd = peer(f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	fake_settle(f->loop);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(f->connected, 0);
	while (!f->connected)
		assert_true(loop_once(f->loop, -1) >= 0);
	close(fd);
}

static void the_socket_file_goes_with_the_endpoint(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	f->cfg.mode = 0660;
	open_endpoint(f);
	assert_int_equal(stat(f->cfg.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	endpoint_close(f->e);
	f->e = NULL;
	assert_int_equal(stat(f->cfg.path, &st), -1);
}

static void a_socket_file_that_is_not_ours_stays(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int other;

	open_endpoint(f);
	assert_int_equal(unlink(f->cfg.path), 0);
	other = fake_listen(NULL, f->cfg.path, 0600, 0, 0);
	assert_true(other >= 0);
	endpoint_close(f->e);
	f->e = NULL;
	assert_int_equal(stat(f->cfg.path, &st), 0);
	close(other);
	unlink(f->cfg.path);
}

static void a_path_in_use_is_reported(void **state)
{
	struct fixture *f = *state;
	int other = fake_listen(NULL, f->cfg.path, 0600, 0, 0);

	assert_int_equal(endpoint_open(f->loop, &f->host, &f->cfg, &vu_ops, &events, &f->fake, &f->e), -EADDRINUSE);
	close(other);
	unlink(f->cfg.path);
}

static void a_client_connects_again_and_again(void **state)
{
	struct fixture *f = *state;
	int listener = fake_listen(NULL, f->cfg.path, 0600, 0, 0), fd;

	f->cfg.role = ENDPOINT_CLIENT;
	open_endpoint(f);
	for (int i = 0; i < 3; i++) {
		fd = accept_from(f, listener);
		send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
		fake_settle(f->loop);
		expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
		close(fd);
		fake_settle(f->loop);
		assert_int_equal(f->disconnected, i + 1);
	}
	close(listener);
	unlink(f->cfg.path);
}

static void a_client_waits_for_its_server_to_appear(void **state)
{
	struct fixture *f = *state;
	int listener, fd;

	f->cfg.role = ENDPOINT_CLIENT;
	open_endpoint(f);
	assert_int_equal(loop_once(f->loop, -1), 1);
	assert_int_equal(f->connected, 0);
	listener = fake_listen(NULL, f->cfg.path, 0600, 0, 0);
	fd = accept_from(f, listener);
	assert_int_equal(f->connected, 1);
	close(listener);
	unlink(f->cfg.path);
	close(fd);
	fake_settle(f->loop);
	assert_int_equal(loop_once(f->loop, -1), 1);	/* tries on, in vain */
	assert_int_equal(f->connected, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_message_is_answered),
		T(a_message_may_come_byte_by_byte),
		T(a_message_cut_at_every_byte_then_closed_leaves_nothing),
		T(messages_sent_in_one_go_keep_their_own_fds),
		T(too_many_fds_close_and_leave_nothing),
		T(fds_behind_the_header_close),
		T(a_bad_header_closes_before_any_payload),
		T(a_second_connection_is_refused_and_the_first_unharmed),
		T(a_dead_connection_does_not_keep_its_successor_out),
		T(a_thousand_connections_leave_nothing),
		T(an_incomplete_message_is_given_up_at_the_deadline),
		T(a_connection_without_a_message_has_no_deadline),
		T(a_reply_that_is_never_read_is_given_up_at_the_deadline),
		T(a_flood_whose_replies_are_never_read_is_given_up),
		T(a_slow_reader_of_replies_stays),
		T(replies_beyond_the_sockets_room_wait_for_the_reader),
		T(one_round_handles_a_bounded_number_of_messages),
		T(a_refused_message_leaves_the_connection_open),
		T(a_connection_can_be_thrown_out),
		T(running_out_of_fds_does_not_spin),
		T(the_socket_file_goes_with_the_endpoint),
		T(a_socket_file_that_is_not_ours_stays),
		T(a_path_in_use_is_reported),
		T(a_client_connects_again_and_again),
		T(a_client_waits_for_its_server_to_appear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
