/* SPDX-License-Identifier: BSD-2-Clause */
/* Endpoints that are held: no connection until they are released. */
#include "endpoint.h"

static bool is_refused(struct fixture *f)
{
	int fd = fake_connect(NULL, f->cfg.path);

	if (fd < 0)
		return fd == -ENOENT;
	close(fd);
	return false;
}

static void a_server_that_is_held_cannot_be_reached_until_it_is_released(void **state)
{
	struct fixture *f = *state;
	int fd, waiting;

	f->cfg.mode = 0640;
	open_endpoint(f);
	fd = peer(f);
	fake_settle(f->loop);
	waiting = peer(f);	/* at the door */
	for (int i = 1; i <= 2; i++) {
		struct stat st;

		endpoint_hold(f->e, "no carrier");
		endpoint_hold(f->e, "no matter");
		assert_true(endpoint_is_held(f->e));
		fake_settle(f->loop);
		assert_int_equal(f->disconnected, i);
		assert_string_equal(f->why, "no carrier");
		assert_true(is_closed(fd) && is_refused(f));
		if (i == 1) {
			assert_true(is_closed(waiting));
			close(waiting);
		}
		close(fd);
		endpoint_release(f->e);
		endpoint_release(f->e);
		assert_false(endpoint_is_held(f->e));
		assert_int_equal(f->held, 2 * i);
		assert_int_equal(stat(f->cfg.path, &st), 0);	/* at once, and as it was */
		assert_int_equal(st.st_mode & 0777, 0640);
		fd = peer(f);
		fake_settle(f->loop);
		assert_int_equal(f->connected, 1 + i);
	}
	close(fd);
}

static void what_was_held_for_no_time_goes_on(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_endpoint(f);
	fd = peer(f);
	fake_settle(f->loop);
	endpoint_hold(f->e, "no carrier");
	endpoint_release(f->e);
	fake_settle(f->loop);
	send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	fake_settle(f->loop);
	expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
	assert_int_equal(f->disconnected, 0);
	close(fd);
}

static struct fixture *holder;

static void hold_now(void *ctx)
{
	vu_changed(ctx);
	endpoint_hold(holder->e, "in the middle");
}

static void it_may_be_held_by_what_a_message_brings_about(void **state)
{
	struct session_ops ops = vu_ops;
	struct fixture *f = *state;
	int fd;

	holder = f;
	ops.changed = hold_now;
	assert_int_equal(endpoint_open(f->loop, &f->host, &f->cfg, &ops, &events, &f->fake, &f->e), 0);
	fd = peer(f);
	send_message(fd, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL), NULL, 0);
	send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0), NULL, 0);
	fake_settle(f->loop);
	assert_int_equal(f->disconnected, 1);
	assert_string_equal(f->why, "in the middle");
	assert_true(is_refused(f));
	close(fd);
}

static void a_client_that_is_held_calls_nobody_until_it_is_released(void **state)
{
	struct fixture *f = *state;
	int listener = fake_listen(NULL, f->cfg.path, 0600, 0, 0), fd;
	struct pollfd door = { .fd = listener, .events = POLLIN };

	f->cfg.role = ENDPOINT_CLIENT;
	open_endpoint(f);
	fd = accept_from(f, listener);
	endpoint_hold(f->e, "no carrier");
	fake_settle(f->loop);
	assert_true(is_closed(fd));
	close(fd);
	assert_int_equal(f->disconnected, 1);
	assert_int_equal(loop_once(f->loop, 0), 0);
	assert_int_equal(poll(&door, 1, 0), 0);
	endpoint_release(f->e);
	fake_settle(f->loop);
	assert_int_equal(poll(&door, 1, 0), 1);
	fd = accept_from(f, listener);
	assert_int_equal(f->connected, 2);
	/* Whoever goes while it is being held is not called again. */
	endpoint_hold(f->e, "no carrier");
	close(fd);
	fake_settle(f->loop);
	assert_int_equal(loop_once(f->loop, 0), 0);
	assert_int_equal(poll(&door, 1, 0), 0);
	close(listener);
	unlink(f->cfg.path);
}

static void a_path_that_was_taken_meanwhile_is_had_again_when_it_is_free(void **state)
{
	struct fixture *f = *state;
	int other, fd;

	open_endpoint(f);
	endpoint_hold(f->e, "no carrier");
	fake_settle(f->loop);
	other = fake_listen(NULL, f->cfg.path, 0600, 0, 0);
	assert_true(other >= 0);
	endpoint_release(f->e);
	assert_int_equal(loop_once(f->loop, -1), 1);	/* in vain */
	assert_int_equal(f->fake.complaints, 1);
	assert_non_null(strstr(f->fake.complaint, "another process does; it is tried on"));
	close(other);
	unlink(f->cfg.path);
	while (is_refused(f))
		assert_true(loop_once(f->loop, -1) >= 0);
	fd = peer(f);
	fake_settle(f->loop);
	assert_non_null(endpoint_session(f->e));
	close(fd);
	/* And somebody else's file stays when it ends. */
	endpoint_hold(f->e, "no carrier");
	fake_settle(f->loop);
	other = fake_listen(NULL, f->cfg.path, 0600, 0, 0);
	endpoint_close(f->e);
	f->e = NULL;
	assert_int_equal(unlink(f->cfg.path), 0);
	close(other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_server_that_is_held_cannot_be_reached_until_it_is_released),
		T(what_was_held_for_no_time_goes_on),
		T(it_may_be_held_by_what_a_message_brings_about),
		T(a_client_that_is_held_calls_nobody_until_it_is_released),
		T(a_path_that_was_taken_meanwhile_is_had_again_when_it_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
