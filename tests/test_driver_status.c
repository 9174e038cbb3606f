// SPDX-License-Identifier: BSD-2-Clause
/* What the virtio driver learns of its link, and the channel on which the back-end says that there is news. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <endian.h>
#include <sys/ioctl.h>

#include "backend.h"

#define CHANGE VHOST_USER_BACKEND_CONFIG_CHANGE_MSG

/* ---- the device ---- */

static void backend_with_status(struct backend *b)
{
	backend_init(b);
	b->features |= BIT(VIRTIO_NET_F_STATUS);
	b->protocol |= BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ);
	b->config.status = htole16(VIRTIO_NET_S_LINK_UP);
}

static struct netdev *connect_to(struct backend *b)
{
	struct netdev *d;

	backend_start(b);
	d = open_dev(b, 1, false);
	wait_event(d, NETDEV_UP);
	return d;
}

static void end(struct netdev *d, struct backend *b)
{
	netdev_close(d);
	backend_join(b);
	backend_fini(b);
	if (b->channel >= 0)
		close(b->channel);
}

static void say(int fd, uint32_t request, uint32_t flags, uint32_t size)
{
	const struct vhost_user_hdr h = { request, flags, size };

	assert_int_equal(send(fd, &h, sizeof(h), MSG_NOSIGNAL), sizeof(h));
}

static void link_becomes(struct backend *b, struct netdev *d, bool up)
{
	b->config.status = htole16(up ? VIRTIO_NET_S_LINK_UP : 0);
	say(b->channel, CHANGE, VHOST_USER_VERSION, 0);
	wait_event(d, NETDEV_CONFIG);
	assert_int_equal(netdev_link(d), up);
	assert_true(netdev_connected(d));
}

static void test_the_link_is_read_at_the_start_and_whenever_the_back_end_says_that_it_changed(void **state)
{
	unsigned before = open_fds();
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_with_status(&b);
	d = connect_to(&b);
	assert_true(netdev_link(d));
	for (unsigned i = 0; i < 5; i++) {
		link_becomes(&b, d, false);
		assert_int_equal(netdev_tx_room(d, 0, 100, 60), 16);	/* the rings do not care */
		link_becomes(&b, d, true);
	}
	end(d, &b);
	assert_int_equal(b.configs, 11);
	assert_true(b.got_features & BIT(VIRTIO_NET_F_STATUS));
	assert_int_equal(b.got_protocol, b.protocol);
	assert_true(place(&b, VHOST_USER_SET_BACKEND_REQ_FD) < place(&b, VHOST_USER_GET_CONFIG));
	assert_int_equal(open_fds(), before);
}

static void test_a_link_that_is_down_at_the_start_is_down(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_with_status(&b);
	b.config.status = 0;
	d = connect_to(&b);
	assert_true(netdev_connected(d));
	assert_false(netdev_link(d));
	link_becomes(&b, d, true);
	end(d, &b);
}

static void test_a_device_without_a_back_end_has_no_link_and_the_next_one_says_what_it_is(void **state)
{
	struct backend b;
	struct netdev *d;
	int old;

	(void)state;
	backend_with_status(&b);
	d = connect_to(&b);
	old = b.channel;
	for (unsigned up = 0; up < 2; up++) {
		shutdown(d->fe.fd, SHUT_RDWR);
		backend_join(&b);
		wait_event(d, NETDEV_DOWN);
		assert_false(netdev_link(d));
		assert_int_equal(send(old, "", 1, MSG_NOSIGNAL), -1);	/* its channel went with it */
		close(old);
		b.config.status = htole16(up);
		backend_start(&b);
		wait_event(d, NETDEV_UP);
		old = b.channel;
		assert_int_equal(netdev_link(d), up);
	}
	end(d, &b);
}

static void test_news_that_are_none_are_no_event(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_with_status(&b);
	d = connect_to(&b);
	say(b.channel, CHANGE, VHOST_USER_VERSION, 0);
	b.config.max_virtqueue_pairs = 7;
	say(b.channel, CHANGE, VHOST_USER_VERSION, 0);
	assert_int_equal(netdev_service(d), NETDEV_SAME);
	assert_int_equal(netdev_service(d), NETDEV_SAME);
	assert_true(netdev_link(d));
	end(d, &b);
	assert_int_equal(b.configs, 2);
}

static void test_speed_and_mtu_are_known_where_they_are_offered(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	for (unsigned offered = 0; offered < 2; offered++) {
		backend_with_status(&b);
		b.features |= offered ? BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_SPEED_DUPLEX) : 0;
		b.config.mtu = htole16(1400);
		b.config.speed = htole32(25000);
		d = connect_to(&b);
		assert_int_equal(d->mtu, offered ? 1400 : 0);
		assert_int_equal(d->speed_mbps, offered ? 25000 : 0);
		if (offered) {
			b.config.speed = htole32(UINT32_MAX);	/* unknown */
			say(b.channel, CHANGE, VHOST_USER_VERSION, 0);
			wait_event(d, NETDEV_CONFIG);
			assert_int_equal(d->speed_mbps, 0);
		}
		end(d, &b);
		/* Nothing is promised by reading it. */
		assert_false(b.got_features & (BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_SPEED_DUPLEX)));
	}
}

/* @got: of CONFIG, BACKEND_REQ what is used; the link is up in any case. */
static void without(uint64_t features, uint64_t protocol, uint64_t got, unsigned configs)
{
	struct backend b;
	struct netdev *d;

	backend_with_status(&b);
	b.features &= ~features;
	b.protocol &= ~protocol;
	d = connect_to(&b);
	assert_true(netdev_link(d));
	end(d, &b);
	assert_int_equal(b.got_protocol & (BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ)), got);
	assert_int_equal(b.got_features >> VIRTIO_NET_F_STATUS & 1, configs > 0);
	assert_int_equal(b.configs, configs);
	assert_int_equal(b.channel >= 0, got & BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) ? 1 : 0);
}

static void test_without_status_configuration_or_channel_the_link_is_up_as_long_as_the_back_end_is_there(void **state)
{
	const uint64_t config = BIT(VHOST_USER_PROTOCOL_F_CONFIG), channel = BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ);

	(void)state;
	without(BIT(VIRTIO_NET_F_STATUS), 0, 0, 0);
	without(0, config, 0, 0);
	without(0, channel, config, 1);
	without(0, config | channel, 0, 0);
	without(BIT(VHOST_USER_F_PROTOCOL_FEATURES), 0, 0, 0);
}

static void test_a_back_end_that_has_no_configuration_after_all_is_served_with_its_link_up(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_with_status(&b);
	b.config.status = 0;
	b.no_config = true;
	d = connect_to(&b);
	assert_true(netdev_link(d));
	end(d, &b);
}

/* As an attempt to connect, and as an answer to a device that runs. */
static void test_an_answer_that_is_not_the_configuration_ends_the_connection(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	for (unsigned running = 0; running < 2; running++) {
		for (unsigned how = 0; how < 3; how++) {
			unsigned before = open_fds();

			backend_with_status(&b);
			backend_start(&b);
			d = open_dev(&b, 1, false);
			if (running)
				wait_event(d, NETDEV_UP);
			b.shift = how == 0;
			b.garble = how == 1 ? VHOST_USER_GET_CONFIG : 0;
			b.hang_up = how == 2 ? VHOST_USER_GET_CONFIG : 0;
			if (running)
				say(b.channel, CHANGE, VHOST_USER_VERSION, 0);
			wait_event(d, running ? NETDEV_DOWN : NETDEV_WAITING);
			assert_non_null(strstr(netdev_why(d), how == 0 ? "another part" : "answer"));
			end(d, &b);
			assert_int_equal(open_fds(), before);
		}
	}
}

static void test_nonsense_on_the_channel_costs_the_channel_and_not_the_connection(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_with_status(&b);
	d = connect_to(&b);
	say(b.channel, CHANGE, 0, 0);
	while (d->channel.fd >= 0)
		assert_int_equal(netdev_service(d), NETDEV_SAME);
	assert_int_equal(netdev_service(d), NETDEV_SAME);
	assert_true(netdev_link(d));
	end(d, &b);
}

/* ---- the channel ---- */

static int open_channel(struct channel *c, bool acks)
{
	int theirs;

	assert_int_equal(channel_open(c, acks, &theirs), 0);
	return theirs;
}

/* What was answered: -1 nothing, else whether it was a failure. */
static int answer_to(int fd, uint32_t request)
{
	struct vhost_user_hdr h;
	uint64_t failure;

	if (recv(fd, &h, sizeof(h), MSG_DONTWAIT) < 0)
		return -1;
	assert_int_equal(h.request, request);
	assert_int_equal(h.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_int_equal(h.size, sizeof(failure));
	assert_int_equal(recv(fd, &failure, sizeof(failure), MSG_DONTWAIT), sizeof(failure));
	return failure != 0;
}

static void test_what_asks_for_an_answer_gets_one_where_answers_were_agreed_on(void **state)
{
	struct channel c;
	uint8_t payload[VHOST_USER_PAYLOAD_MAX] = { 0 };

	(void)state;
	for (unsigned acks = 0; acks < 2; acks++) {
		int fd = open_channel(&c, acks);

		assert_false(channel_read(&c));
		say(fd, CHANGE, VHOST_USER_VERSION, 0);
		assert_true(channel_read(&c));
		assert_int_equal(answer_to(fd, CHANGE), -1);
		say(fd, CHANGE, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 0);
		assert_true(channel_read(&c));
		assert_int_equal(answer_to(fd, CHANGE), acks ? 0 : -1);
		/* Another message, with a payload; and one that claims to be ours. */
		for (uint32_t r = 0; r < 10; r++) {
			say(fd, r, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, sizeof(payload));
			assert_int_equal(send(fd, payload, sizeof(payload), 0), sizeof(payload));
			assert_false(channel_read(&c));
			assert_int_equal(answer_to(fd, r), acks ? 1 : -1);
		}
		assert_true(c.fd >= 0);
		channel_close(&c);
		close(fd);
	}
}

static void test_a_message_may_come_in_pieces(void **state)
{
	const struct vhost_user_hdr other = { 3, VHOST_USER_VERSION, 5 }, change = { CHANGE, VHOST_USER_VERSION, 0 };
	uint8_t bytes[2 * sizeof(change) + 5] = { 0 };
	struct channel c;
	int fd = open_channel(&c, true);

	(void)state;
	memcpy(bytes, &other, sizeof(other));
	memcpy(bytes + sizeof(other) + 5, &change, sizeof(change));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(send(fd, bytes + i, 1, 0), 1);
		assert_int_equal(channel_read(&c), i + 1 == sizeof(bytes));
	}
	/* And two in one piece. */
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_true(channel_read(&c));
	assert_false(channel_read(&c));
	channel_close(&c);
	close(fd);
}

static void test_a_channel_with_broken_framing_or_without_another_end_is_closed(void **state)
{
	static const struct vhost_user_hdr bad[] = {
		{ CHANGE, 0, 0 },
		{ CHANGE, 2, 0 },
		{ CHANGE, VHOST_USER_VERSION | VHOST_USER_REPLY, 0 },
		{ CHANGE, VHOST_USER_VERSION | 0x10, 0 },
		{ CHANGE, VHOST_USER_VERSION, VHOST_USER_PAYLOAD_MAX + 1 },
		{ CHANGE, VHOST_USER_VERSION, UINT32_MAX },
	};
	struct channel c;

	(void)state;
	for (unsigned i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = open_channel(&c, true);

		if (i < sizeof(bad) / sizeof(bad[0]))
			assert_int_equal(send(fd, &bad[i], sizeof(bad[i]), 0), sizeof(bad[i]));
		else
			shutdown(fd, SHUT_WR);
		assert_false(channel_read(&c));
		assert_int_equal(c.fd, -1);
		assert_false(channel_read(&c));
		channel_close(&c);
		close(fd);
	}
}

static void test_a_flood_is_read_in_turns(void **state)
{
	const struct vhost_user_hdr h = { CHANGE, VHOST_USER_VERSION, 0 };
	unsigned sent = 0, turns = 0;
	struct channel c;
	int fd = open_channel(&c, true), left;

	(void)state;
	while (sent < 10 * CHANNEL_TURN && send(fd, &h, sizeof(h), MSG_DONTWAIT) == (ssize_t)sizeof(h))
		sent++;
	assert_true(sent > 2 * CHANNEL_TURN);
	do {
		assert_true(channel_read(&c));
		turns++;
		assert_int_equal(ioctl(c.fd, FIONREAD, &left), 0);
	} while (left);
	assert_int_equal(turns, (sent + CHANNEL_TURN - 1) / CHANNEL_TURN);
	channel_close(&c);
	close(fd);
}

static void test_a_back_end_that_takes_no_answers_loses_its_channel(void **state)
{
	const struct vhost_user_hdr h = { CHANGE, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 0 };
	struct channel c;
	int fd = open_channel(&c, true);

	(void)state;
	for (unsigned i = 0; c.fd >= 0; i++) {
		assert_true(i < 1000000);
		assert_int_equal(send(fd, &h, sizeof(h), MSG_NOSIGNAL), sizeof(h));
		channel_read(&c);
	}
	close(fd);
}

static void test_fds_that_come_along_are_not_kept(void **state)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS } };
	struct vhost_user_hdr h = { CHANGE, VHOST_USER_VERSION, 0 };
	struct iovec iov = { &h, sizeof(h) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct channel c;
	int fd = open_channel(&c, true);
	unsigned before = open_fds();

	(void)state;
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	assert_int_equal(sendmsg(fd, &msg, 0), sizeof(h));
	assert_true(channel_read(&c));
	assert_int_equal(open_fds(), before);
	channel_close(&c);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_link_is_read_at_the_start_and_whenever_the_back_end_says_that_it_changed),
		cmocka_unit_test(test_a_link_that_is_down_at_the_start_is_down),
		cmocka_unit_test(test_a_device_without_a_back_end_has_no_link_and_the_next_one_says_what_it_is),
		cmocka_unit_test(test_news_that_are_none_are_no_event),
		cmocka_unit_test(test_speed_and_mtu_are_known_where_they_are_offered),
		cmocka_unit_test(test_without_status_configuration_or_channel_the_link_is_up_as_long_as_the_back_end_is_there),
		cmocka_unit_test(test_a_back_end_that_has_no_configuration_after_all_is_served_with_its_link_up),
		cmocka_unit_test(test_an_answer_that_is_not_the_configuration_ends_the_connection),
		cmocka_unit_test(test_nonsense_on_the_channel_costs_the_channel_and_not_the_connection),
		cmocka_unit_test(test_what_asks_for_an_answer_gets_one_where_answers_were_agreed_on),
		cmocka_unit_test(test_a_message_may_come_in_pieces),
		cmocka_unit_test(test_a_channel_with_broken_framing_or_without_another_end_is_closed),
		cmocka_unit_test(test_a_flood_is_read_in_turns),
		cmocka_unit_test(test_a_back_end_that_takes_no_answers_loses_its_channel),
		cmocka_unit_test(test_fds_that_come_along_are_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
