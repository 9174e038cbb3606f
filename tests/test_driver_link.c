// SPDX-License-Identifier: BSD-2-Clause
/* The virtio driver's device arguments, and its connection to a back-end that a thread of the test plays. */
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

/* ---- arguments ---- */

static char err[300];

static int parse(const char *text, struct driver_args *a)
{
	return driver_args_parse(text, a, err, sizeof(err));
}

static void arguments_have_defaults(void **state)
{
	struct driver_args a, b;

	(void)state;
	assert_int_equal(parse("path=/run/x.sock", &a), 0);
	assert_string_equal(a.path, "/run/x.sock");
	assert_int_equal(a.queues, 1);
	assert_int_equal(a.queue_size, 256);
	assert_true(a.mrg_rxbuf);
	assert_false(a.server);
	assert_false(a.mac_given);
	assert_int_equal(a.mac[0] & 3, 2);	/* unicast, locally administered */
	assert_int_equal(parse("path=/run/x.sock", &b), 0);
	assert_memory_not_equal(a.mac, b.mac, 6);
}

static void every_argument_is_read(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0xaB, 0xcd, 0xef };
	struct driver_args a;

	(void)state;
	assert_int_equal(parse("mac=52:54:00:aB:cd:ef,queues=4,path=s,queue_size=1024,server=1,mrg_rxbuf=0", &a), 0);
	assert_memory_equal(a.mac, mac, 6);
	assert_int_equal(a.queues, 4);
	assert_int_equal(a.queue_size, 1024);
	assert_true(a.server);
	assert_false(a.mrg_rxbuf);
}

static void wrong_arguments_are_refused(void **state)
{
	static const char *const wrong[] = {
		"", "path", "path=", "queues=1", "path=s,", "path=s,queues=0", "path=s,queues=129", "path=s,queues=1x",
		"path=s,queues=-1", "path=s,queues= 1", "path=s,queues=99999999999", "path=s,queue_size=3",
		"path=s,queue_size=1", "path=s,queue_size=65536", "path=s,server=2", "path=s,server=",
		"path=s,mrg_rxbuf=yes", "path=s,mac=1", "path=s,mac=01:00:00:00:00:01", "path=s,mac=00:00:00:00:00:00",
		"path=s,mac=02:00:00:00:00:0g", "path=s,mac=02:00:00:00:00:01:", "path=s,mac=02:00:00:00:0:001",
		"path=s,path=t",
	};
	char longest[160] = "path=";
	struct driver_args a;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(parse(wrong[i], &a), -EINVAL);
		assert_int_not_equal(err[0], 0);
	}
	memset(longest + 5, 'p', 107);
	assert_int_equal(parse(longest, &a), 0);
	longest[112] = 'p';
	assert_int_equal(parse(longest, &a), -EINVAL);
}

static void an_unknown_key_names_the_known_ones(void **state)
{
	struct driver_args a;

	(void)state;
	assert_int_equal(parse("path=s,speed=10", &a), -EINVAL);
	assert_non_null(strstr(err, "speed"));
	assert_non_null(strstr(err, "queue_size"));
}

static void what_does_not_work_yet_says_so(void **state)
{
	static const char *const later[] = { "path=s,cq=1", "path=s,iface=tap0", "path=s,in_order=1",
					     "path=s,packed_vq=1" };
	struct driver_args a;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(parse(later[i], &a), -ENOTSUP);
		assert_non_null(strstr(err, "not yet"));
	}
	assert_int_equal(parse("path=s,cq=0,packed_vq=0", &a), 0);
}

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
	unsigned base[256];
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

static struct netdev *open_dev(const struct backend *b, uint32_t queues, bool server)
{
	struct driver_args a = { .queues = queues, .queue_size = 16, .mrg_rxbuf = true, .server = server };
	struct netdev *d;

	strcpy(a.path, b->path);
	assert_int_equal(netdev_open(&a, &d, err, sizeof(err)), 0);
	return d;
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

static void a_connection_negotiates_and_starts_every_ring(void **state)
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

static void an_old_back_end_without_protocol_features_will_do(void **state)
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

static void a_lost_back_end_is_noticed_and_found_again(void **state)
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

static void the_device_can_be_the_server(void **state)
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

static void a_dead_socket_file_is_replaced_and_a_live_one_is_not(void **state)
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

static void a_refused_message_ends_the_attempt(void **state)
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

static void an_answer_of_the_wrong_size_ends_the_attempt(void **state)
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

static void a_back_end_that_hangs_up_ends_the_attempt(void **state)
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

static void a_back_end_without_queues_is_refused(void **state)
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

static void a_ring_that_the_back_end_calls_broken_ends_the_connection(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_have_defaults),
		cmocka_unit_test(every_argument_is_read),
		cmocka_unit_test(wrong_arguments_are_refused),
		cmocka_unit_test(an_unknown_key_names_the_known_ones),
		cmocka_unit_test(what_does_not_work_yet_says_so),
		cmocka_unit_test(a_connection_negotiates_and_starts_every_ring),
		cmocka_unit_test(an_old_back_end_without_protocol_features_will_do),
		cmocka_unit_test(a_lost_back_end_is_noticed_and_found_again),
		cmocka_unit_test(the_device_can_be_the_server),
		cmocka_unit_test(a_dead_socket_file_is_replaced_and_a_live_one_is_not),
		cmocka_unit_test(a_refused_message_ends_the_attempt),
		cmocka_unit_test(an_answer_of_the_wrong_size_ends_the_attempt),
		cmocka_unit_test(a_back_end_that_hangs_up_ends_the_attempt),
		cmocka_unit_test(a_back_end_without_queues_is_refused),
		cmocka_unit_test(a_ring_that_the_back_end_calls_broken_ends_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
