/* SPDX-License-Identifier: BSD-2-Clause */
/* Endpoints go on in other hands, over real UNIX sockets: listener and connection, at any byte of a message. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "arrived.h"
#include "base/clock.h"
#include "base/log.h"
#include "fake_host.h"
#include "vhost/endpoint.h"
#include "vu.h"

#define HDR 12

struct side {
	struct loop *loop;
	struct endpoint *e;
	struct vu_fake fake;
	unsigned connected, disconnected;
};

struct fixture {
	struct side old, heir;
	struct host_ops host, dead;
	struct endpoint_config cfg;
	struct parcel p;
	char dir[64];
	unsigned fds_before;
};

static struct side *side_of(void *ctx)
{
	return (struct side *)((char *)ctx - offsetof(struct side, fake));
}

static void on_connected(void *ctx)
{
	side_of(ctx)->connected++;
}

static void on_disconnected(void *ctx, const char *why)
{
	(void)why;
	side_of(ctx)->disconnected++;
}

static const struct endpoint_events events = { .connected = on_connected, .disconnected = on_disconnected };

/* The file is the heir's. */
static int unlink_nothing(const struct host_ops *h, const char *path)
{
	(void)h;
	(void)path;
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fds_before = vu_open_fds();
	f->old.loop = loop_create();
	f->heir.loop = loop_create();
	f->host = (struct host_ops){ .unix_listen = fake_listen, .unix_connect = fake_connect,
				     .unlink = fake_unlink };
	f->dead = (struct host_ops){ .unix_listen = fake_listen, .unix_connect = fake_connect,
				     .unlink = unlink_nothing };
	strcpy(f->dir, "/tmp/test_endpoint.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->cfg.role = ENDPOINT_SERVER;
	snprintf(f->cfg.path, sizeof(f->cfg.path), "%s/socket", f->dir);
	f->cfg.session = (struct session_config){ .max_pairs = 1, .features = VU_FEATURES,
						  .protocol_features = VU_PROTOCOL, .max_frame = 1518 };
	log_set_level(LOG_LEVEL_ERROR);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int bad = 0;

	endpoint_close(f->old.e);
	endpoint_close(f->heir.e);
	parcel_free(&f->p);
	loop_destroy(f->old.loop);
	loop_destroy(f->heir.loop);
	bad |= vu_open_fds() != f->fds_before;
	bad |= rmdir(f->dir) < 0;
	free(f);
	return bad ? -1 : 0;
}

static void begin(struct fixture *f)
{
	assert_int_equal(endpoint_open(f->old.loop, &f->dead, &f->cfg, &vu_ops, &events, &f->old.fake, &f->old.e), 0);
	fake_settle(f->old.loop);
}

static int peer(struct fixture *f)
{
	int fd = fake_connect(NULL, f->cfg.path);

	assert_true(fd >= 0);
	fake_settle(f->old.loop);
	return fd;
}

/* From here on the old one's loop runs no more. It closes its descriptors at the end, as a process does. */
static void hand_over(struct fixture *f)
{
	endpoint_save(f->old.e, &f->p);
	arrive(&f->p);
	assert_int_equal(endpoint_adopt(f->heir.loop, &f->host, &f->cfg, &vu_ops, &events, &f->heir.fake, &f->p,
					&f->heir.e), 0);
	assert_int_equal(parcel_end(&f->p), 0);
	assert_int_equal(endpoint_resume(f->heir.e), 0);
	endpoint_close(f->old.e);
	f->old.e = NULL;
}

static void send_part(int fd, const struct vhost_user_msg *m, size_t from, size_t to, const int *fds, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = { 0 };
	uint8_t wire[HDR + VHOST_USER_PAYLOAD_MAX];
	struct iovec iov = { wire + from, to - from };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(wire, &m->hdr, HDR);
	memcpy(wire + HDR, &m->payload, m->hdr.size);
	if (nfds) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		*CMSG_FIRSTHDR(&mh) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
							.cmsg_len = CMSG_LEN(nfds * sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)), fds, nfds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &mh, MSG_NOSIGNAL), to - from);
}

static void send_message(int fd, struct vhost_user_msg m)
{
	send_part(fd, &m, 0, HDR + m.hdr.size, NULL, 0);
}

static void expect_reply(int fd, uint32_t request, uint64_t value)
{
	struct {
		struct vhost_user_hdr hdr;
		uint64_t value;
	} __attribute__((packed)) r;

	assert_int_equal(recv(fd, &r, sizeof(r), MSG_DONTWAIT), sizeof(r));
	assert_int_equal(r.hdr.request, request);
	assert_int_equal(r.value, value);
}

static void a_listener_goes_along_with_who_is_at_its_door(void **state)
{
	struct fixture *f = *state;
	int fd;

	begin(f);
	fd = fake_connect(NULL, f->cfg.path);	/* the old one has not looked yet */
	assert_true(fd >= 0);
	hand_over(f);
	send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0));
	fake_settle(f->heir.loop);
	expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
	assert_int_equal(f->old.connected, 0);
	assert_int_equal(f->heir.connected, 1);
	close(fd);
}

static void a_connection_goes_on_and_nobody_is_told_of_one(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uid_t uid;
	int fd;

	begin(f);
	fd = peer(f);
	send_message(fd, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL));
	fake_settle(f->old.loop);
	hand_over(f);
	send_message(fd, vu_msg(VHOST_USER_GET_STATUS, 0, 0));
	fake_settle(f->heir.loop);
	expect_reply(fd, VHOST_USER_GET_STATUS, 0);
	assert_int_equal(f->heir.connected, 0);
	assert_int_equal(endpoint_stats(f->heir.e)->connections, 1);
	assert_int_equal(session_state(endpoint_session(f->heir.e))->protocol_features, VU_PROTOCOL);
	endpoint_peer(f->heir.e, &pid, &uid);
	assert_int_equal(pid, getpid());
	close(fd);
	fake_settle(f->heir.loop);
	assert_int_equal(f->heir.disconnected, 1);
}

/* Wherever it is cut. Its descriptors came with its first byte. */
static void a_message_that_is_half_there_is_completed(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_msg m = vu_mem();
	const size_t len = HDR + m.hdr.size;

	for (size_t at = 1; at < len; at++) {
		int fd, mem = vu_memfd(VU_MEM_SIZE);

		begin(f);
		fd = peer(f);
		send_part(fd, &m, 0, at, &mem, 1);
		close(mem);
		fake_settle(f->old.loop);
		hand_over(f);
		fake_settle(f->heir.loop);
		send_part(fd, &m, at, len, NULL, 0);
		send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0));
		fake_settle(f->heir.loop);
		assert_int_equal(f->heir.fake.complaints, 0);
		expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
		close(fd);
		fake_settle(f->heir.loop);
		endpoint_close(f->heir.e);
		f->heir.e = NULL;
		parcel_free(&f->p);
	}
}

/* The socket is full: an answer waits, and messages behind it, too. */
static void an_answer_that_is_not_out_yet_goes_along(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_msg(VHOST_USER_GET_FEATURES, 0, 0);
	unsigned sent = 0, got = 0, had;
	uint8_t buf[20];
	int fd;

	begin(f);
	fd = peer(f);
	do {
		had = sent;
		while (send(fd, &m.hdr, HDR, MSG_DONTWAIT | MSG_NOSIGNAL) == HDR)
			sent++;
		fake_settle(f->old.loop);
	} while (sent > had);
	hand_over(f);
	while (got < sent) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0) {
			had = got;
			fake_settle(f->heir.loop);
			n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		}
		assert_int_equal(n, sizeof(buf));
		assert_memory_equal(buf, &(uint32_t){ VHOST_USER_GET_FEATURES }, 4);
		assert_memory_equal(buf + HDR, &(uint64_t){ VU_FEATURES }, 8);
		got++;
	}
	fake_settle(f->heir.loop);
	assert_true(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) < 0);
	assert_int_equal(f->heir.disconnected, 0);
	close(fd);
}

static void the_deadline_of_a_message_goes_on(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_msg m = vu_msg(VHOST_USER_GET_FEATURES, 0, 0);
	int fd;

	f->cfg.deadline_ms = 30;
	begin(f);
	fd = peer(f);
	send_part(fd, &m, 0, 5, NULL, 0);
	fake_settle(f->old.loop);
	hand_over(f);
	while (!f->heir.disconnected)
		assert_true(loop_once(f->heir.loop, -1) >= 0);
	assert_int_equal(endpoint_stats(f->heir.e)->bad, 1);
	close(fd);
}

/* It came in time, but nobody looked: the deadline has passed during the hand-over. */
static void a_message_that_was_completed_meanwhile_is_in_time(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_msg m = vu_msg(VHOST_USER_GET_FEATURES, 0, 0);
	int fd;

	f->cfg.deadline_ms = 5;
	begin(f);
	fd = peer(f);
	send_part(fd, &m, 0, 5, NULL, 0);
	fake_settle(f->old.loop);
	send_part(fd, &m, 5, HDR, NULL, 0);
	usleep(10000);
	hand_over(f);
	assert_true(loop_once(f->heir.loop, 0) >= 0);
	expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
	assert_int_equal(f->heir.disconnected, 0);
	close(fd);
}

/* The heir's loop alone tells it, for the old one's runs no more. */
static void a_front_end_that_leaves_meanwhile_is_missed_by_the_heir(void **state)
{
	struct fixture *f = *state;
	int fd;

	begin(f);
	fd = peer(f);
	endpoint_save(f->old.e, &f->p);
	arrive(&f->p);
	close(fd);
	assert_int_equal(endpoint_adopt(f->heir.loop, &f->host, &f->cfg, &vu_ops, &events, &f->heir.fake, &f->p,
					&f->heir.e), 0);
	endpoint_close(f->old.e);
	f->old.e = NULL;
	fake_settle(f->heir.loop);
	assert_int_equal(f->heir.disconnected, 1);
	fd = fake_connect(NULL, f->cfg.path);
	fake_settle(f->heir.loop);
	assert_int_equal(f->heir.connected, 1);
	close(fd);
}

static void a_client_goes_on_with_its_connection(void **state)
{
	struct fixture *f = *state;
	int listener = fake_listen(NULL, f->cfg.path, 0600, 0, 0), fd;

	f->cfg.role = ENDPOINT_CLIENT;
	begin(f);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	hand_over(f);
	send_message(fd, vu_msg(VHOST_USER_GET_FEATURES, 0, 0));
	fake_settle(f->heir.loop);
	expect_reply(fd, VHOST_USER_GET_FEATURES, VU_FEATURES);
	fcntl(listener, F_SETFL, O_NONBLOCK);
	assert_true(accept(listener, NULL, NULL) < 0);	/* no second one was made */
	close(fd);
	close(listener);
	unlink(f->cfg.path);
}

static void a_client_that_is_not_connected_tries_at_once(void **state)
{
	struct fixture *f = *state;
	int listener;

	f->cfg.role = ENDPOINT_CLIENT;
	begin(f);
	hand_over(f);
	listener = fake_listen(NULL, f->cfg.path, 0600, 0, 0);
	fake_settle(f->heir.loop);
	assert_int_equal(f->heir.connected, 1);
	close(listener);
	unlink(f->cfg.path);
}

static void a_socket_file_that_was_replaced_is_not_removed(void **state)
{
	struct fixture *f = *state;
	int other;

	begin(f);
	assert_int_equal(unlink(f->cfg.path), 0);
	other = fake_listen(NULL, f->cfg.path, 0600, 0, 0);
	hand_over(f);
	endpoint_close(f->heir.e);
	f->heir.e = NULL;
	assert_int_equal(access(f->cfg.path, F_OK), 0);
	close(other);
	unlink(f->cfg.path);
}

static void one_that_is_held_stays_so_until_the_heir_releases_it(void **state)
{
	struct fixture *f = *state;
	int fd;

	begin(f);
	fd = peer(f);
	endpoint_hold(f->old.e, "no carrier");
	f->dead.unlink = fake_unlink;	/* the old one does that before */
	fake_settle(f->old.loop);
	f->dead.unlink = unlink_nothing;
	close(fd);
	hand_over(f);
	fake_settle(f->heir.loop);
	assert_true(endpoint_is_held(f->heir.e));
	assert_int_equal(fake_connect(NULL, f->cfg.path), -ENOENT);
	endpoint_release(f->heir.e);
	fd = fake_connect(NULL, f->cfg.path);
	assert_true(fd >= 0);
	fake_settle(f->heir.loop);
	assert_int_equal(f->heir.connected, 1);
	close(fd);
}

static void what_was_about_to_be_closed_the_heir_closes(void **state)
{
	struct fixture *f = *state;
	char byte;
	int fd;

	begin(f);
	fd = peer(f);
	endpoint_hold(f->old.e, "no carrier");
	hand_over(f);
	assert_int_equal(f->heir.disconnected, 0);
	fake_settle(f->heir.loop);
	assert_int_equal(f->heir.disconnected, 1);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(fake_connect(NULL, f->cfg.path), -ENOENT);
	close(fd);
}

static void one_that_could_not_listen_again_is_tried_on(void **state)
{
	struct fixture *f = *state;
	int other, fd;

	begin(f);
	endpoint_hold(f->old.e, "no carrier");
	f->dead.unlink = fake_unlink;
	fake_settle(f->old.loop);
	f->dead.unlink = unlink_nothing;
	other = fake_listen(NULL, f->cfg.path, 0600, 0, 0);
	endpoint_release(f->old.e);
	hand_over(f);
	close(other);
	unlink(f->cfg.path);
	fake_settle(f->heir.loop);
	fd = fake_connect(NULL, f->cfg.path);
	assert_true(fd >= 0);
	close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_listener_goes_along_with_who_is_at_its_door),
		T(a_connection_goes_on_and_nobody_is_told_of_one),
		T(a_message_that_is_half_there_is_completed),
		T(an_answer_that_is_not_out_yet_goes_along),
		T(the_deadline_of_a_message_goes_on),
		T(a_message_that_was_completed_meanwhile_is_in_time),
		T(a_front_end_that_leaves_meanwhile_is_missed_by_the_heir),
		T(a_client_goes_on_with_its_connection),
		T(a_client_that_is_not_connected_tries_at_once),
		T(a_socket_file_that_was_replaced_is_not_removed),
		T(one_that_is_held_stays_so_until_the_heir_releases_it),
		T(what_was_about_to_be_closed_the_heir_closes),
		T(one_that_could_not_listen_again_is_tried_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
