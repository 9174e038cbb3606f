/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of a network device. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "vu_session.h"

/* --- SEND_RARP ------------------------------------------------------------------ */

static struct vhost_user_msg rarp(const uint8_t mac[6])
{
	struct vhost_user_msg m = vu_u64(VHOST_USER_SEND_RARP, UINT64_MAX);

	memcpy(m.payload.raw, mac, 6);
	return m;
}

static void the_address_of_a_rarp_is_its_first_six_bytes(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
	struct fixture *f = *state;

	negotiate(f);
	expect_ok(f, rarp(mac));
	assert_int_equal(f->fake.rarps, 1);
	assert_memory_equal(f->fake.mac, mac, 6);
}

static void a_rarp_for_an_address_that_no_guest_has_is_refused(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_nack(f, rarp((const uint8_t[6]){ 0 }));
	expect_nack(f, rarp((const uint8_t[6]){ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }));
	expect_nack(f, rarp((const uint8_t[6]){ 1, 0, 0x5e, 0, 0, 1 }));
	assert_int_equal(f->fake.rarps, 0);
	f->fake.fail = -EPERM;
	expect_nack(f, rarp((const uint8_t[6]){ 2, 0, 0, 0, 0, 1 }));
}

static void a_rarp_needs_its_protocol_feature(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack(f, rarp((const uint8_t[6]){ 2, 0, 0, 0, 0, 1 }));
	assert_int_equal(send_msg(f, rarp((const uint8_t[6]){ 2, 0, 0, 0, 0, 1 })), -EOPNOTSUPP);
	assert_int_equal(f->fake.rarps, 0);
}

/* --- NET_SET_MTU ----------------------------------------------------------------- */

static void an_mtu_is_one_that_ethernet_can_have(void **state)
{
	static const uint64_t bad[] = { 0, 67, 65536, 1ull << 32 | 1500, UINT64_MAX };
	static const uint64_t good[] = { 68, 1280, 1500, 9000, 65535 };
	struct fixture *f = *state;

	negotiate(f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_nack(f, vu_u64(VHOST_USER_NET_SET_MTU, bad[i]));
	assert_int_equal(f->fake.mtu, 0);
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		expect_ok(f, vu_u64(VHOST_USER_NET_SET_MTU, good[i]));
		assert_int_equal(f->fake.mtu, good[i]);
		assert_int_equal(session_state(f->s)->mtu, good[i]);
	}
}

static void an_mtu_needs_its_protocol_feature(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack(f, vu_u64(VHOST_USER_NET_SET_MTU, 1500));
}

/* --- RESET_DEVICE ---------------------------------------------------------------- */

static void a_device_reset_stops_and_disables_all_rings_and_keeps_the_memory(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_u64(VHOST_USER_NET_SET_MTU, 1400));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	run_ring(f, 0);
	run_ring(f, 1);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	expect_ok(f, vu_msg(VHOST_USER_RESET_DEVICE, 0, 0));
	assert_false(f->fake.running[0] || f->fake.running[1] || f->fake.enabled[0]);
	assert_int_equal(session_state(f->s)->features, 0);
	assert_int_equal(session_state(f->s)->protocol_features, VU_PROTOCOL);
	assert_int_equal(session_state(f->s)->mtu, 1400);
	assert_true(ring(f, 0)->callfd >= 0);
	assert_true(ring(f, 0)->num == 0 && ring(f, 0)->kickfd < 0);
	expect_ok(f, vu_msg(VHOST_USER_RESET_DEVICE, 0, 0));
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	run_ring(f, 0);
}

static void a_device_reset_needs_its_protocol_feature(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack(f, vu_msg(VHOST_USER_RESET_DEVICE, 0, 0));
}

/* --- configuration ---------------------------------------------------------------- */

#define NET_SIZE sizeof(struct virtio_net_config)
#define CONFIG_BITS                                                                                                  \
	(1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK | 1ull << VHOST_USER_PROTOCOL_F_CONFIG |                            \
	 1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ)

/* Return: the reply's data. */
static const uint8_t *get_config(struct fixture *f, uint32_t offset, uint32_t size)
{
	struct vhost_user_msg m = vu_config_msg(VHOST_USER_GET_CONFIG, offset, size);

	m.payload.config.flags = 7;
	assert_int_equal(send_msg(f, m), 1);
	assert_int_equal(f->reply.hdr.request, VHOST_USER_GET_CONFIG);
	assert_int_equal(f->reply.hdr.size, m.hdr.size);
	assert_int_equal(f->reply.payload.config.offset, offset);
	assert_int_equal(f->reply.payload.config.size, size);
	assert_int_equal(f->reply.payload.config.flags, 7);
	return f->reply.payload.config.data;
}

static void any_part_of_the_configuration_can_be_read(void **state)
{
	struct fixture *f = *state;
	uint8_t zero[VHOST_USER_CONFIG_MAX] = { 0 };
	const uint8_t *all = (const uint8_t *)&f->fake.config;

	negotiate(f);
	f->fake.config = (struct virtio_net_config){ .mac = { 2, 3, 4, 5, 6, 7 }, .status = 1,
						     .max_virtqueue_pairs = 2, .mtu = 1500, .speed = 1000, .duplex = 1 };
	assert_memory_equal(get_config(f, 0, NET_SIZE), all, NET_SIZE);
	for (uint32_t at = 0; at < NET_SIZE; at++)
		assert_memory_equal(get_config(f, at, 1), all + at, 1);
	assert_memory_equal(get_config(f, 6, 2), all + 6, 2);
	/* Behind the last field there is nothing. */
	assert_memory_equal(get_config(f, 0, 256), all, NET_SIZE);
	assert_memory_equal(f->reply.payload.config.data + NET_SIZE, zero, 256 - NET_SIZE);
	assert_memory_equal(get_config(f, NET_SIZE, 256 - NET_SIZE), zero, 256 - NET_SIZE);
	get_config(f, 256, 0);
}

static void a_part_beyond_the_configuration_is_answered_with_nothing(void **state)
{
	static const uint32_t bad[][2] = { { 1, 256 }, { 257, 0 }, { 250, 7 }, { UINT32_MAX, 2 }, { UINT32_MAX - 1, 2 } };
	struct fixture *f = *state;
	struct vhost_user_msg m;

	negotiate(f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(send_msg(f, vu_config_msg(VHOST_USER_GET_CONFIG, bad[i][0], bad[i][1])), 1);
		assert_int_equal(f->reply.hdr.size, 0);
	}
	m = vu_config_msg(VHOST_USER_GET_CONFIG, 0, 10);
	for (uint32_t size = 0; size < 300; size++) {
		m.payload.config.size = size;
		if (size == 10)
			continue;
		assert_int_equal(send_msg(f, m), 1);
		assert_int_equal(f->reply.hdr.size, 0);
	}
	m.payload.config.size = UINT32_MAX - 1;
	assert_int_equal(send_msg(f, m), 1);
	assert_int_equal(f->reply.hdr.size, 0);
}

static void the_mtu_that_was_set_is_the_one_of_the_configuration(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	f->fake.config.mtu = 1500;
	assert_int_equal(((const struct virtio_net_config *)get_config(f, 0, NET_SIZE))->mtu, 1500);
	expect_ok(f, vu_u64(VHOST_USER_NET_SET_MTU, 1400));
	assert_int_equal(((const struct virtio_net_config *)get_config(f, 0, NET_SIZE))->mtu, 1400);
}

static void the_configuration_is_read_only(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_config_msg(VHOST_USER_SET_CONFIG, 0, 6);

	negotiate(f);
	expect_nack(f, m);
	m.payload.config.flags = 1;	/* of a migration */
	expect_nack(f, m);
	expect_nack(f, vu_config_msg(VHOST_USER_SET_CONFIG, 300, 6));
}

static void the_configuration_needs_its_protocol_feature(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack(f, vu_config_msg(VHOST_USER_GET_CONFIG, 0, 6));
	expect_nack(f, vu_config_msg(VHOST_USER_SET_CONFIG, 0, 6));
	expect_nack_fd(f, vu_msg(VHOST_USER_SET_BACKEND_REQ_FD, 0, 0), event());
	assert_true(send_msg(f, vu_config_msg(VHOST_USER_GET_CONFIG, 0, 6)) < 0);
}

/* --- the channel ------------------------------------------------------------------ */

static int open_channel(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	expect_ok_fd(f, vu_msg(VHOST_USER_SET_BACKEND_REQ_FD, 0, 0), pair[0]);
	return pair[1];
}

/* Return: messages that say that the configuration has changed. */
static unsigned told(int fd)
{
	struct vhost_user_hdr h;
	unsigned n = 0;

	for (; recv(fd, &h, sizeof(h), MSG_DONTWAIT) == sizeof(h); n++) {
		assert_int_equal(h.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
		assert_int_equal(h.flags, VHOST_USER_VERSION);	/* no answer is wanted */
		assert_int_equal(h.size, 0);
	}
	return n;
}

static void a_change_of_the_configuration_is_told_once(void **state)
{
	struct fixture *f = *state;
	int fd;

	negotiate(f);
	fd = open_channel(f);
	session_tick(f->s);
	assert_int_equal(told(fd), 0);
	f->fake.config.status = 1;
	session_tick(f->s);
	session_tick(f->s);
	assert_int_equal(told(fd), 1);
	f->fake.config.mtu = 1400;
	session_tick(f->s);
	assert_int_equal(told(fd), 1);
	expect_ok(f, vu_u64(VHOST_USER_NET_SET_MTU, 1300));	/* who says it knows it */
	session_tick(f->s);
	assert_int_equal(told(fd), 0);
	close(fd);
}

static void a_change_that_is_back_before_the_tick_is_told_to_whoever_was_shown_it(void **state)
{
	struct fixture *f = *state;
	int fd;

	negotiate(f);
	fd = open_channel(f);
	f->fake.config.status = 1;
	get_config(f, 0, NET_SIZE);
	f->fake.config.status = 0;
	session_tick(f->s);
	assert_int_equal(told(fd), 1);
	close(fd);
}

static void a_change_waits_for_the_channel(void **state)
{
	struct fixture *f = *state;
	int fd;

	negotiate(f);
	f->fake.config.status = 1;
	session_tick(f->s);
	fd = open_channel(f);
	assert_int_equal(told(fd), 1);
	close(fd);
}

static void without_its_protocol_features_no_change_is_told(void **state)
{
	struct fixture *f = *state;
	int fd;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, CONFIG_BITS & ~(1ull << VHOST_USER_PROTOCOL_F_CONFIG)));
	fd = open_channel(f);
	f->fake.config.status = 1;
	session_tick(f->s);
	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, CONFIG_BITS));
	session_tick(f->s);
	assert_int_equal(told(fd), 0);
	f->fake.config.status = 0;
	session_tick(f->s);
	assert_int_equal(told(fd), 1);
	close(fd);
}

static void a_channel_that_is_full_is_tried_again(void **state)
{
	struct fixture *f = *state;
	unsigned n;
	int fd;

	negotiate(f);
	fd = open_channel(f);
	for (unsigned i = 1; i <= 20000; i++) {
		f->fake.config.mtu = (uint16_t)i;
		session_tick(f->s);
	}
	assert_true(session_state(f->s)->config_changed);
	n = told(fd);
	assert_in_range(n, 1, 19999);
	session_tick(f->s);
	assert_false(session_state(f->s)->config_changed);
	assert_int_equal(told(fd), 1);
	close(fd);
}

static void a_channel_whose_reader_is_gone_is_closed(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	negotiate(f);
	fds = vu_open_fds();
	close(open_channel(f));
	assert_int_equal(vu_open_fds(), fds + 1);
	f->fake.config.status = 1;
	session_tick(f->s);	/* no SIGPIPE */
	assert_int_equal(vu_open_fds(), fds);
	assert_int_equal(session_state(f->s)->channel, -1);
	f->fake.config.status = 0;
	session_tick(f->s);
}

static void a_new_channel_closes_the_old_one(void **state)
{
	struct fixture *f = *state;
	unsigned fds;
	int old, new;

	negotiate(f);
	old = open_channel(f);
	fds = vu_open_fds();
	for (int i = 0; i < 100; i++) {
		new = open_channel(f);
		assert_int_equal(recv(old, &fds, 1, MSG_DONTWAIT), 0);
		close(old);
		old = new;
	}
	assert_int_equal(vu_open_fds(), fds);
	close(old);
}

static void what_the_front_end_writes_into_the_channel_does_not_matter(void **state)
{
	struct fixture *f = *state;
	static const uint8_t noise[4096];
	int fd;

	negotiate(f);
	fd = open_channel(f);
	while (send(fd, noise, sizeof(noise), MSG_DONTWAIT) > 0)
		;
	f->fake.config.status = 1;
	session_tick(f->s);
	assert_int_equal(told(fd), 1);
	close(fd);
}

static void a_channel_is_a_connected_unix_stream_socket(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_msg m = vu_msg(VHOST_USER_SET_BACKEND_REQ_FD, 0, 0);
	int pair[2];

	negotiate(f);
	expect_nack_fd(f, m, event());
	expect_nack_fd(f, m, vu_memfd(10));
	expect_nack_fd(f, m, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	expect_nack_fd(f, m, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	expect_nack_fd(f, m, pair[0]);
	close(pair[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	expect_nack_fd(f, m, pair[0]);
	close(pair[1]);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	expect_nack_fd(f, m, pair[1]);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_address_of_a_rarp_is_its_first_six_bytes),
		T(a_rarp_for_an_address_that_no_guest_has_is_refused),
		T(a_rarp_needs_its_protocol_feature),
		T(an_mtu_is_one_that_ethernet_can_have),
		T(an_mtu_needs_its_protocol_feature),
		T_BOTH(a_device_reset_stops_and_disables_all_rings_and_keeps_the_memory),
		T(a_device_reset_needs_its_protocol_feature),
		T(any_part_of_the_configuration_can_be_read),
		T(a_part_beyond_the_configuration_is_answered_with_nothing),
		T(the_mtu_that_was_set_is_the_one_of_the_configuration),
		T(the_configuration_is_read_only),
		T(the_configuration_needs_its_protocol_feature),
		T(a_change_of_the_configuration_is_told_once),
		T(a_change_that_is_back_before_the_tick_is_told_to_whoever_was_shown_it),
		T(a_change_waits_for_the_channel),
		T(without_its_protocol_features_no_change_is_told),
		T(a_channel_that_is_full_is_tried_again),
		T(a_channel_whose_reader_is_gone_is_closed),
		T(a_new_channel_closes_the_old_one),
		T(what_the_front_end_writes_into_the_channel_does_not_matter),
		T(a_channel_is_a_connected_unix_stream_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
