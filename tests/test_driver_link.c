// SPDX-License-Identifier: BSD-2-Clause
/* The virtio driver's connection to a back-end that a thread of the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "backend.h"

static void test_a_connection_negotiates_and_starts_every_ring(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_init(&b);
	backend_start(&b);
	d = open_dev(&b, 2, false);
	assert_int_equal(netdev_enable(d, 1), 0);
	wait_event(d, NETDEV_UP);
	assert_int_equal(netdev_pairs(d), 2);
	assert_int_equal(netdev_enabled(d), 1);
	assert_int_equal(netdev_enable(d, 2), 0);
	netdev_close(d);
	backend_join(&b);
	assert_int_equal(b.got_features, b.features & ~BIT(VIRTIO_NET_F_CSUM));
	assert_int_equal(b.got_protocol, b.protocol & ~BIT(VHOST_USER_PROTOCOL_F_CONFIG));	/* without STATUS nobody reads it */
	assert_int_equal(b.got_status, 15);
	assert_int_equal(b.kicked, 0xf);
	for (unsigned i = 0; i < 4; i++)
		assert_true(b.enabled[i]);
	assert_true(place(&b, VHOST_USER_SET_FEATURES) < place(&b, VHOST_USER_SET_MEM_TABLE));
	assert_true(place(&b, VHOST_USER_SET_VRING_ADDR) < place(&b, VHOST_USER_SET_VRING_CALL));
	assert_true(place(&b, VHOST_USER_SET_VRING_CALL) < place(&b, VHOST_USER_SET_VRING_KICK));
	backend_fini(&b);
}

static void test_an_old_back_end_without_protocol_features_will_do(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_init(&b);
	b.features = 0;
	backend_start(&b);
	d = open_dev(&b, 4, false);
	wait_event(d, NETDEV_UP);
	assert_int_equal(netdev_pairs(d), 1);
	assert_int_equal(netdev_features(d), 0);
	netdev_close(d);
	backend_join(&b);
	backend_fini(&b);
}

static void test_a_lost_back_end_is_noticed_and_found_again(void **state)
{
	unsigned before = open_fds();
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_init(&b);
	backend_listen(&b);
	d = open_dev(&b, 1, false);
	for (unsigned i = 0; i < 5; i++) {
		backend_start(&b);
		wait_event(d, NETDEV_UP);
		assert_int_equal(netdev_tx_room(d, 0, 100, 60), 16);
		/* As if the back-end died: the socket's other end closes. */
		shutdown(d->fe.fd, SHUT_RDWR);
		backend_join(&b);
		wait_event(d, NETDEV_DOWN);
		assert_int_equal(netdev_tx_room(d, 0, 100, 60), 0);
	}
	assert_int_equal(b.connections, 5);
	netdev_close(d);
	backend_fini(&b);
	assert_int_equal(open_fds(), before);
}

static void test_the_device_can_be_the_server(void **state)
{
	struct backend b, c;
	struct netdev *d;

	(void)state;
	backend_init(&b);
	b.client = true;
	d = open_dev(&b, 1, true);
	assert_int_equal(netdev_timeout_ms(d), -1);
	backend_start(&b);
	wait_event(d, NETDEV_UP);
	/* A second one is turned away while the first is there. */
	c = b;
	c.connections = 0;
	backend_start(&c);
	while (netdev_service(d) == NETDEV_SAME && pthread_tryjoin_np(c.thread, NULL))
		;
	assert_true(netdev_link(d));
	netdev_close(d);
	backend_join(&b);
	assert_int_equal(access(b.path, F_OK), -1);
	backend_fini(&b);
}

static void test_a_dead_socket_file_is_replaced_and_a_live_one_is_not(void **state)
{
	struct driver_args a = { .queues = 1, .queue_size = 16, .server = true };
	struct backend b;
	struct netdev *d;
	FILE *file;

	(void)state;
	backend_init(&b);
	backend_listen(&b);
	strcpy(a.path, b.path);
	assert_int_equal(netdev_open(&a, &d, err, sizeof(err)), -EADDRINUSE);
	assert_null(d);
	close(b.listen_fd);
	b.listen_fd = -1;
	assert_int_equal(netdev_open(&a, &d, err, sizeof(err)), 0);
	netdev_close(d);
	file = fopen(b.path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(netdev_open(&a, &d, err, sizeof(err)), -EADDRINUSE);
	assert_int_equal(access(b.path, F_OK), 0);
	backend_fini(&b);
}

/* A handshake that fails leaves nothing open and says why; the next one may do. */
static void fails_once(struct backend *b, const char *why)
{
	unsigned before = open_fds();
	struct netdev *d;

	backend_listen(b);
	backend_start(b);
	d = open_dev(b, 2, false);
	wait_event(d, NETDEV_WAITING);
	assert_non_null(strstr(netdev_why(d), why));
	assert_false(netdev_link(d));
	backend_join(b);
	b->refuse = b->garble = b->hang_up = 0;
	backend_start(b);
	wait_event(d, NETDEV_UP);
	netdev_close(d);
	backend_join(b);
	backend_fini(b);
	assert_int_equal(open_fds(), before);
}

static void test_a_refused_message_ends_the_attempt(void **state)
{
	struct backend b;

	(void)state;
	for (uint32_t r = VHOST_USER_SET_VRING_NUM; r <= VHOST_USER_SET_VRING_CALL; r++) {
		if (r == VHOST_USER_GET_VRING_BASE)
			continue;
		backend_init(&b);
		b.refuse = r;
		fails_once(&b, "refuses");
	}
}

static void test_an_answer_of_the_wrong_size_ends_the_attempt(void **state)
{
	static const uint32_t request[] = { VHOST_USER_GET_FEATURES, VHOST_USER_GET_PROTOCOL_FEATURES,
					    VHOST_USER_GET_QUEUE_NUM, VHOST_USER_SET_MEM_TABLE };
	struct backend b;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		backend_init(&b);
		b.garble = request[i];
		fails_once(&b, "bad answer");
	}
}

static void test_a_back_end_that_hangs_up_ends_the_attempt(void **state)
{
	static const uint32_t request[] = { VHOST_USER_GET_FEATURES, VHOST_USER_SET_FEATURES,
					    VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_STATUS };
	struct backend b;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		backend_init(&b);
		b.hang_up = request[i];
		fails_once(&b, "request");
	}
}

static void test_a_back_end_without_queues_is_refused(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_init(&b);
	b.pairs = 0;
	backend_start(&b);
	d = open_dev(&b, 1, false);
	wait_event(d, NETDEV_WAITING);
	assert_non_null(strstr(netdev_why(d), "no queues"));
	netdev_close(d);
	backend_join(&b);
	backend_fini(&b);
}

static void test_a_ring_that_the_back_end_calls_broken_ends_the_connection(void **state)
{
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_init(&b);
	backend_start(&b);
	d = open_dev(&b, 1, false);
	wait_event(d, NETDEV_UP);
	assert_int_equal(write(d->errfd, &(uint64_t){ 1 }, 8), 8);
	wait_event(d, NETDEV_DOWN);
	backend_join(&b);
	netdev_close(d);
	backend_fini(&b);
}

/* ---- kinds of ring, and offloads ---- */

/* What is negotiated with these arguments, when @can is what the device's user deals with. */
static uint64_t negotiates(struct backend *b, struct driver_args a, uint64_t can)
{
	struct netdev *d;
	uint64_t features;

	a.queues = 1;
	backend_start(b);
	d = open_args(b, &a);
	netdev_offloads(d, can);
	wait_event(d, NETDEV_UP);
	features = netdev_features(d);
	assert_int_equal(d->pair[0].rx.packed, features >> VIRTIO_F_RING_PACKED & 1);
	netdev_close(d);
	backend_join(b);
	backend_fini(b);
	assert_int_equal(b->got_features, features);
	return features & ~BIT(VHOST_USER_F_PROTOCOL_FEATURES);
}

static void test_packed_rings_begin_with_both_wrap_counters_set(void **state)
{
	struct driver_args a = { .queue_size = 100, .packed_vq = true };
	struct backend b;

	(void)state;
	backend_init(&b);
	b.features |= BIT(VIRTIO_F_RING_PACKED);
	assert_true(negotiates(&b, a, 0) & BIT(VIRTIO_F_RING_PACKED));
	assert_int_equal(b.base[0], 0x80008000);
	assert_int_equal(b.base[1], 0x80008000);
	assert_int_equal(b.num[0], 100);
	backend_init(&b);
	b.features |= BIT(VIRTIO_F_RING_PACKED);
	a = (struct driver_args){ .queue_size = 64 };
	assert_false(negotiates(&b, a, 0) & BIT(VIRTIO_F_RING_PACKED));
	assert_int_equal(b.base[0], 0);
}

static void test_a_back_end_without_packed_rings_is_refused_by_name_until_it_has_them(void **state)
{
	struct driver_args a = { .queues = 1, .queue_size = 100, .packed_vq = true };
	struct backend b;
	struct netdev *d;

	(void)state;
	backend_init(&b);
	backend_start(&b);
	d = open_args(&b, &a);
	wait_event(d, NETDEV_WAITING);
	assert_string_equal(netdev_why(d), "the back-end does not offer packed_vq");
	backend_join(&b);
	b.features |= BIT(VIRTIO_F_RING_PACKED);
	b.features &= ~BIT(VIRTIO_F_VERSION_1);	/* no such bit counts without this one */
	backend_start(&b);
	while (netdev_service(d) != NETDEV_SAME || !b.norder || pthread_tryjoin_np(b.thread, NULL))
		assert_false(netdev_link(d));
	assert_string_equal(netdev_why(d), "the back-end does not offer packed_vq");
	b.features |= BIT(VIRTIO_F_VERSION_1);
	backend_start(&b);
	wait_event(d, NETDEV_UP);
	netdev_close(d);
	backend_join(&b);
	backend_fini(&b);
}

static void test_in_order_is_used_where_offered_unless_switched_off(void **state)
{
	struct driver_args a = { .queue_size = 64 };
	struct backend b;

	(void)state;
	for (unsigned offered = 0; offered < 2; offered++) {
		for (unsigned on = 0; on < 2; on++) {
			backend_init(&b);
			b.features |= offered ? BIT(VIRTIO_F_IN_ORDER) : 0;
			a.in_order = on;
			assert_int_equal(negotiates(&b, a, 0) >> VIRTIO_F_IN_ORDER & 1, offered && on);
		}
	}
}

static void test_offloads_are_negotiated_only_for_who_asks_for_them(void **state)
{
	const uint64_t plain = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX);
	const uint64_t merge = BIT(VIRTIO_NET_F_MRG_RXBUF);
	struct driver_args a = { .queue_size = 64, .mrg_rxbuf = true, .offloads = true };
	struct backend b;

	(void)state;
	backend_init(&b);
	b.features |= NETF_OFFLOADS;
	assert_int_equal(negotiates(&b, a, NETF_OFFLOADS), plain | merge | NETF_OFFLOADS);
	backend_init(&b);
	b.features |= NETF_OFFLOADS;
	assert_int_equal(negotiates(&b, a, 0), plain | merge);
	a.offloads = false;
	backend_init(&b);
	b.features |= NETF_OFFLOADS;
	assert_int_equal(negotiates(&b, a, NETF_OFFLOADS), plain | merge);
	a.offloads = true;
	a.mrg_rxbuf = false;
	backend_init(&b);
	b.features |= NETF_OFFLOADS;
	assert_int_equal(negotiates(&b, a, NETF_OFFLOADS), plain | NETF_HOST | BIT(VIRTIO_NET_F_GUEST_CSUM));
	a.queue_size = 32;	/* no room for long frames */
	backend_init(&b);
	b.features |= NETF_OFFLOADS;
	assert_int_equal(negotiates(&b, a, NETF_OFFLOADS),
			 plain | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM));
}

static void test_an_offload_is_not_used_when_the_back_end_lacks_what_it_needs(void **state)
{
	struct driver_args a = { .queue_size = 64, .mrg_rxbuf = true, .offloads = true };
	struct backend b;

	(void)state;
	backend_init(&b);
	b.features |= NETF_OFFLOADS;
	b.features &= ~(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_MRG_RXBUF));
	assert_int_equal(negotiates(&b, a, NETF_OFFLOADS) & NETF_OFFLOADS, BIT(VIRTIO_NET_F_GUEST_CSUM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_connection_negotiates_and_starts_every_ring),
		cmocka_unit_test(test_an_old_back_end_without_protocol_features_will_do),
		cmocka_unit_test(test_a_lost_back_end_is_noticed_and_found_again),
		cmocka_unit_test(test_the_device_can_be_the_server),
		cmocka_unit_test(test_a_dead_socket_file_is_replaced_and_a_live_one_is_not),
		cmocka_unit_test(test_a_refused_message_ends_the_attempt),
		cmocka_unit_test(test_an_answer_of_the_wrong_size_ends_the_attempt),
		cmocka_unit_test(test_a_back_end_that_hangs_up_ends_the_attempt),
		cmocka_unit_test(test_a_back_end_without_queues_is_refused),
		cmocka_unit_test(test_a_ring_that_the_back_end_calls_broken_ends_the_connection),
		cmocka_unit_test(test_packed_rings_begin_with_both_wrap_counters_set),
		cmocka_unit_test(test_a_back_end_without_packed_rings_is_refused_by_name_until_it_has_them),
		cmocka_unit_test(test_in_order_is_used_where_offered_unless_switched_off),
		cmocka_unit_test(test_offloads_are_negotiated_only_for_who_asks_for_them),
		cmocka_unit_test(test_an_offload_is_not_used_when_the_back_end_lacks_what_it_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
