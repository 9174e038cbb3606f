// SPDX-License-Identifier: BSD-2-Clause
/* The virtio driver's connection to a back-end that a thread of the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "driver/netdev.h"
#include "vhost_user.h"

#define BIT(n) (1ull << (n))

static char err[300];

/* ---- a back-end ---- */

struct backend {
	char path[64];
	uint64_t features, protocol, pairs;
	uint32_t refuse;	/* answer this request's NEED_REPLY with a failure */
	uint32_t garble;	/* answer this request with the wrong size */
	uint32_t hang_up;	/* close instead of handling this request */
	bool client;
	int listen_fd;
	pthread_t thread;
	/* what it has seen; read after the thread is joined */
	unsigned connections;
	uint64_t got_features, got_protocol, got_status;
	unsigned order[64], norder;	/* requests, in order */
	unsigned base[256], num[256];
	bool enabled[256];
	uint64_t kicked;		/* rings with a kick fd */
};

static void backend_reply(struct backend *b, int fd, struct vhost_user_msg *m, const void *payload, uint32_t size)
{
	uint8_t out[12 + 64];
	struct vhost_user_hdr h = { m->hdr.request, VHOST_USER_VERSION | VHOST_USER_REPLY, size };

	if (b->garble == m->hdr.request)
		h.size = size + 4;
	memcpy(out, &h, 12);
	memcpy(out + 12, payload, size);
	(void)!send(fd, out, 12 + size, MSG_NOSIGNAL);
}

static void backend_u64(struct backend *b, int fd, struct vhost_user_msg *m, uint64_t v)
{
	backend_reply(b, fd, m, &v, 8);
}

static void backend_handle(struct backend *b, int fd, struct vhost_user_msg *m)
{
	struct vhost_user_vring_state s = m->payload.state;
	uint32_t r = m->hdr.request;

	if (b->norder < 64)
		b->order[b->norder++] = r;
	if (r == VHOST_USER_SET_FEATURES)
		b->got_features = m->payload.u64;
	if (r == VHOST_USER_SET_PROTOCOL_FEATURES)
		b->got_protocol = m->payload.u64;
	if (r == VHOST_USER_SET_STATUS)
		b->got_status = m->payload.u64;
	if (r == VHOST_USER_SET_VRING_ENABLE)
		b->enabled[s.index % 256] = s.num;
	if (r == VHOST_USER_SET_VRING_NUM)
		b->num[s.index % 256] = s.num;
	if (r == VHOST_USER_SET_VRING_BASE)
		b->base[s.index % 256] = s.num;
	if (r == VHOST_USER_SET_VRING_KICK)
		b->kicked |= BIT(m->payload.u64 & 63);
	if (r == VHOST_USER_GET_FEATURES)
		backend_u64(b, fd, m, b->features);
	else if (r == VHOST_USER_GET_PROTOCOL_FEATURES)
		backend_u64(b, fd, m, b->protocol);
	else if (r == VHOST_USER_GET_QUEUE_NUM)
		backend_u64(b, fd, m, b->pairs);
	else if (r == VHOST_USER_GET_STATUS)
		backend_u64(b, fd, m, b->got_status);
	else if (r == VHOST_USER_GET_VRING_BASE)
		backend_reply(b, fd, m, &s, sizeof(s));
	else if (m->hdr.flags & VHOST_USER_NEED_REPLY)
		backend_u64(b, fd, m, b->refuse == r);
}

/* One message; its fd, if any, is closed. False at the end of the connection. */
static bool backend_message(struct backend *b, int fd)
{
	char control[CMSG_SPACE(8 * sizeof(int))];
	struct vhost_user_msg m = { 0 };
	struct iovec iov = { &m.hdr, 12 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int got;

	if (recvmsg(fd, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != 12)
		return false;
	c = CMSG_FIRSTHDR(&msg);
	if (c) {
		memcpy(&got, CMSG_DATA(c), sizeof(got));
		close(got);
	}
	if (m.hdr.size > sizeof(m.payload) ||
	    (m.hdr.size && recv(fd, &m.payload, m.hdr.size, MSG_WAITALL) != (ssize_t)m.hdr.size))
		return false;
	if (b->hang_up == m.hdr.request)
		return false;
	backend_handle(b, fd, &m);
	return true;
}

static int backend_connect(struct backend *b)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, b->path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Serves one connection to its end. */
static void *backend_run(void *arg)
{
	struct backend *b = arg;
	int fd = b->client ? backend_connect(b) : accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	b->connections++;
	while (fd >= 0 && backend_message(b, fd))
		;
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void backend_listen(struct backend *b)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, b->path);
	unlink(b->path);
	b->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(b->listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(b->listen_fd, 4), 0);
}

static unsigned serial;

static void backend_init(struct backend *b)
{
	*b = (struct backend){ .pairs = 4, .listen_fd = -1 };
	b->features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_EVENT_IDX) |
		      BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CSUM) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	b->protocol = BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
		      BIT(VHOST_USER_PROTOCOL_F_STATUS) | BIT(VHOST_USER_PROTOCOL_F_CONFIG);
	snprintf(b->path, sizeof(b->path), "/tmp/viaduct-test-%d-%u.sock", (int)getpid(), serial++);
}

static void backend_start(struct backend *b)
{
	if (!b->client && b->listen_fd < 0)
		backend_listen(b);
	assert_int_equal(pthread_create(&b->thread, NULL, backend_run, b), 0);
}

static void backend_join(struct backend *b)
{
	pthread_join(b->thread, NULL);
}

static void backend_fini(struct backend *b)
{
	if (b->listen_fd >= 0)
		close(b->listen_fd);
	unlink(b->path);
}

static struct netdev *open_args(const struct backend *b, struct driver_args *a)
{
	struct netdev *d;

	strcpy(a->path, b->path);
	assert_int_equal(netdev_open(a, &d, err, sizeof(err)), 0);
	return d;
}

static struct netdev *open_dev(const struct backend *b, uint32_t queues, bool server)
{
	struct driver_args a = { .queues = queues, .queue_size = 16, .mrg_rxbuf = true, .server = server };

	return open_args(b, &a);
}

/* Until the device says so; it waits for events, not for time to pass. */
static void wait_event(struct netdev *d, enum netdev_event want)
{
	for (;;) {
		struct pollfd p = { .fd = netdev_fd(d), .events = POLLIN };
		enum netdev_event e = netdev_service(d);

		if (e == want)
			return;
		assert_true(e == NETDEV_SAME || e == NETDEV_WAITING);
		assert_true(poll(&p, 1, netdev_timeout_ms(d) < 0 ? 5000 : netdev_timeout_ms(d)) >= 0);
		netdev_ack(d);
	}
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static unsigned place(const struct backend *b, uint32_t request)
{
	unsigned i = 0;

	while (i < b->norder && b->order[i] != request)
		i++;
	assert_true(i < b->norder);
	return i;
}

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
	assert_int_equal(b.got_protocol, b.protocol & ~BIT(VHOST_USER_PROTOCOL_F_CONFIG));
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
