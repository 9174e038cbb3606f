/* SPDX-License-Identifier: BSD-2-Clause */
/* A vhost-user back-end that a thread of the test plays, and the driver's device that is plugged into it. */
#ifndef TESTS_BACKEND_H
#define TESTS_BACKEND_H

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

struct backend {
	char path[64];
	uint64_t features, protocol, pairs;
	uint32_t refuse;	/* answer this request's NEED_REPLY with a failure */
	uint32_t garble;	/* answer this request with the wrong size */
	uint32_t hang_up;	/* close instead of handling this request */
	bool client;
	struct virtio_net_config config;	/* what GET_CONFIG finds; may change at any time */
	bool no_config;		/* it has none to give */
	uint32_t shift;		/* it answers with another offset than was asked for */
	int listen_fd;
	pthread_t thread;
	/* what it has seen; read after the thread is joined */
	unsigned connections;
	uint64_t got_features, got_protocol, got_status;
	unsigned order[64], norder;	/* requests, in order */
	unsigned base[256], num[256];
	bool enabled[256];
	uint64_t kicked;		/* rings with a kick fd */
	int channel;			/* to speak on, from NETDEV_UP on; the test closes it */
	unsigned configs;		/* how often it was asked for its configuration */
};

static inline void backend_reply(struct backend *b, int fd, struct vhost_user_msg *m, const void *payload, uint32_t size)
{
	uint8_t out[12 + sizeof(struct vhost_user_config)];
	struct vhost_user_hdr h = { m->hdr.request, VHOST_USER_VERSION | VHOST_USER_REPLY, size };

	if (b->garble == m->hdr.request)
		h.size = size + 4;
	memcpy(out, &h, 12);
	memcpy(out + 12, payload, size);
	(void)!send(fd, out, 12 + size, MSG_NOSIGNAL);
}

static inline void backend_u64(struct backend *b, int fd, struct vhost_user_msg *m, uint64_t v)
{
	backend_reply(b, fd, m, &v, 8);
}

static inline void backend_config(struct backend *b, int fd, struct vhost_user_msg *m)
{
	struct vhost_user_config *c = &m->payload.config;
	uint32_t room = c->offset < sizeof(b->config) ? (uint32_t)sizeof(b->config) - c->offset : 0;

	b->configs++;
	memset(c->data, 0, sizeof(c->data));
	memcpy(c->data, (uint8_t *)&b->config + c->offset, c->size < room ? c->size : room);
	c->offset += b->shift;
	backend_reply(b, fd, m, c, b->no_config ? 0 : m->hdr.size);
}

static inline void backend_handle(struct backend *b, int fd, struct vhost_user_msg *m)
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
	else if (r == VHOST_USER_GET_CONFIG)
		backend_config(b, fd, m);
	else if (m->hdr.flags & VHOST_USER_NEED_REPLY)
		backend_u64(b, fd, m, b->refuse == r);
}

/* One message; its fd, if any, is closed, but for the channel. False at the end of the connection. */
static inline bool backend_message(struct backend *b, int fd)
{
	char control[CMSG_SPACE(8 * sizeof(int))];
	struct vhost_user_msg m = { 0 };
	struct iovec iov = { &m.hdr, 12 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int got = -1;

	if (recvmsg(fd, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != 12)
		return false;
	c = CMSG_FIRSTHDR(&msg);
	if (c)
		memcpy(&got, CMSG_DATA(c), sizeof(got));
	if (m.hdr.request == VHOST_USER_SET_BACKEND_REQ_FD)
		b->channel = got;
	else if (got >= 0)
		close(got);
	if (m.hdr.size > sizeof(m.payload) ||
	    (m.hdr.size && recv(fd, &m.payload, m.hdr.size, MSG_WAITALL) != (ssize_t)m.hdr.size))
		return false;
	if (b->hang_up == m.hdr.request)
		return false;
	backend_handle(b, fd, &m);
	return true;
}

static inline int backend_connect(struct backend *b)
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
static inline void *backend_run(void *arg)
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

static inline void backend_listen(struct backend *b)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, b->path);
	unlink(b->path);
	b->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(b->listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(b->listen_fd, 4), 0);
}

static unsigned serial;

static inline void backend_init(struct backend *b)
{
	*b = (struct backend){ .pairs = 4, .listen_fd = -1, .channel = -1 };
	b->features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_EVENT_IDX) |
		      BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CSUM) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	b->protocol = BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
		      BIT(VHOST_USER_PROTOCOL_F_STATUS) | BIT(VHOST_USER_PROTOCOL_F_CONFIG);
	snprintf(b->path, sizeof(b->path), "/tmp/viaduct-test-%d-%u.sock", (int)getpid(), serial++);
}

static inline void backend_start(struct backend *b)
{
	if (!b->client && b->listen_fd < 0)
		backend_listen(b);
	assert_int_equal(pthread_create(&b->thread, NULL, backend_run, b), 0);
}

static inline void backend_join(struct backend *b)
{
	pthread_join(b->thread, NULL);
}

static inline void backend_fini(struct backend *b)
{
	if (b->listen_fd >= 0)
		close(b->listen_fd);
	unlink(b->path);
}

static inline struct netdev *open_args(const struct backend *b, struct driver_args *a)
{
	struct netdev *d;

	strcpy(a->path, b->path);
	assert_int_equal(netdev_open(a, &d, err, sizeof(err)), 0);
	return d;
}

static inline struct netdev *open_dev(const struct backend *b, uint32_t queues, bool server)
{
	struct driver_args a = { .queues = queues, .queue_size = 16, .mrg_rxbuf = true, .server = server };

	return open_args(b, &a);
}

/* Until the device says so; it waits for events, not for time to pass. */
static inline void wait_event(struct netdev *d, enum netdev_event want)
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

static inline unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Where in the order of requests it came first. */
static inline unsigned place(const struct backend *b, uint32_t request)
{
	unsigned i = 0;

	while (i < b->norder && b->order[i] != request)
		i++;
	assert_true(i < b->norder);
	return i;
}

#endif
