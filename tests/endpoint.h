/* SPDX-License-Identifier: BSD-2-Clause */
/* An endpoint over real UNIX sockets in a directory of its own, and its peer. */
#ifndef TESTS_ENDPOINT_H
#define TESTS_ENDPOINT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "vhost/endpoint.h"
#include "fake_host.h"
#include "vu.h"

#define HDR 12

struct fixture {
	struct loop *loop;
	struct host_ops host;
	struct endpoint_config cfg;
	struct endpoint *e;
	struct vu_fake fake;
	char dir[64];
	unsigned connected, disconnected, held, fds_before;
	char why[128];
};

/* ---- a host that offers UNIX sockets and nothing else ---- */

static inline void on_connected(void *ctx)
{
	struct fixture *f = (struct fixture *)((char *)ctx - offsetof(struct fixture, fake));

	f->connected++;
	assert_non_null(endpoint_session(f->e));
}

static inline void on_disconnected(void *ctx, const char *why)
{
	struct fixture *f = (struct fixture *)((char *)ctx - offsetof(struct fixture, fake));

	f->disconnected++;
	snprintf(f->why, sizeof(f->why), "%s", why);
	assert_null(endpoint_session(f->e));
}

static inline void on_held(void *ctx)
{
	struct fixture *f = (struct fixture *)((char *)ctx - offsetof(struct fixture, fake));

	f->held++;
}

static const struct endpoint_events events = {
	.connected = on_connected, .disconnected = on_disconnected, .held = on_held
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fds_before = vu_open_fds();
	f->loop = loop_create();
	f->host = (struct host_ops){ .unix_listen = fake_listen, .unix_connect = fake_connect,
				     .unlink = fake_unlink };
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

/* Every test ends here: no fd, no file is left. */
static inline int teardown(void **state)
{
	struct fixture *f = *state;
	int bad = 0;

	endpoint_close(f->e);
	loop_destroy(f->loop);
	bad |= f->connected != f->disconnected;
	bad |= vu_open_fds() != f->fds_before;
	bad |= rmdir(f->dir) < 0;
	if (bad)
		print_error("connected %u, disconnected %u, fds %u -> %u\n", f->connected, f->disconnected,
			    f->fds_before, vu_open_fds());
	free(f);
	return bad ? -1 : 0;
}

static inline void open_endpoint(struct fixture *f)
{
	assert_int_equal(endpoint_open(f->loop, &f->host, &f->cfg, &vu_ops, &events, &f->fake, &f->e), 0);
}

static inline int peer(struct fixture *f)
{
	int fd = fake_connect(NULL, f->cfg.path);

	assert_true(fd >= 0);
	return fd;
}

static inline void send_raw(int fd, const void *data, size_t len, const int *fds, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct iovec iov = { (void *)data, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		memset(&control, 0, sizeof(control));
		*CMSG_FIRSTHDR(&mh) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
							.cmsg_len = CMSG_LEN(nfds * sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)), fds, nfds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &mh, MSG_NOSIGNAL), len);
}

/* As on the wire: header and payload without the gap between them. */
static inline size_t flatten(const struct vhost_user_msg *m, uint8_t *wire)
{
	memcpy(wire, &m->hdr, HDR);
	memcpy(wire + HDR, &m->payload, m->hdr.size);
	return HDR + m->hdr.size;
}

static inline void send_message(int fd, struct vhost_user_msg m, const int *fds, unsigned nfds)
{
	uint8_t wire[HDR + VHOST_USER_PAYLOAD_MAX];

	send_raw(fd, wire, flatten(&m, wire), fds, nfds);
}

static inline void expect_reply(int fd, uint32_t request, uint64_t value)
{
	struct {
		struct vhost_user_hdr hdr;
		uint64_t value;
	} __attribute__((packed)) r;

	assert_int_equal(recv(fd, &r, sizeof(r), 0), sizeof(r));
	assert_int_equal(r.hdr.request, request);
	assert_int_equal(r.value, value);
}

static inline bool is_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

static inline void expect_closed(struct fixture *f, int fd)
{
	fake_settle(f->loop);
	assert_true(is_closed(fd));
	assert_null(endpoint_session(f->e));
	close(fd);
}

static inline int accept_from(struct fixture *f, int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	while (poll(&p, 1, 0) == 0)
		assert_true(loop_once(f->loop, -1) >= 0);
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

#endif
