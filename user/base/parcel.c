/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * On the wire a parcel is a header, then its fds, FDS_AT_ONCE with each four
 * bytes that say how many they are, then its data. The receiver reads each of
 * those by itself: fds come with the first byte of what they were sent with.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parcel.h"

#define MAGIC 0x70616476u	/* "vdap" */
#define FDS_AT_ONCE 200		/* the kernel takes 253 */
#define IDLE_MS 50

struct record {
	uint32_t tag, len;
};

struct head {
	uint32_t magic, kind;
	uint64_t len, nfds;
};

static void failed(struct parcel *p, int err)
{
	if (!p->err)
		p->err = err;
}

void parcel_free(struct parcel *p)
{
	for (size_t i = p->fd_at; p->received && i < p->nfds; i++)
		close(p->fd[i]);
	free(p->data);
	free(p->fd);
	*p = (struct parcel){ 0 };
}

/* @mem with room for @need elements of @unit bytes; NULL, and @mem as it was, when there is no memory. */
static void *grown(void *mem, size_t *cap, size_t need, size_t unit)
{
	size_t want = *cap ? *cap : 64;
	void *more;

	while (want < need)
		want *= 2;
	if (want == *cap)
		return mem;
	more = reallocarray(mem, want, unit);
	if (more)
		*cap = want;
	return more;
}

static bool room_for(struct parcel *p, size_t bytes)
{
	uint8_t *data = grown(p->data, &p->cap, p->len + bytes, 1);

	if (data)
		p->data = data;
	return data;
}

static bool room_for_fds(struct parcel *p, size_t n)
{
	int *fd = grown(p->fd, &p->fd_cap, p->nfds + n, sizeof(*fd));

	if (fd)
		p->fd = fd;
	return fd;
}

void parcel_put(struct parcel *p, uint32_t tag, const void *data, size_t len)
{
	const struct record r = { tag, (uint32_t)len };

	if (len > PARCEL_MAX || p->len + len > PARCEL_MAX)
		failed(p, -E2BIG);
	else if (!room_for(p, sizeof(r) + len))
		failed(p, -ENOMEM);
	if (p->err)
		return;
	memcpy(p->data + p->len, &r, sizeof(r));
	if (len)
		memcpy(p->data + p->len + sizeof(r), data, len);
	p->len += sizeof(r) + len;
}

void parcel_put_fd(struct parcel *p, uint32_t tag, int fd)
{
	const uint8_t there = fd >= 0;

	parcel_put(p, tag, &there, sizeof(there));
	if (!there || p->err)
		return;
	if (!room_for_fds(p, 1))
		failed(p, -ENOMEM);
	else
		p->fd[p->nfds++] = fd;
}

const void *parcel_take(struct parcel *p, uint32_t tag, size_t *len)
{
	const uint8_t *data;
	struct record r;

	*len = 0;
	if (p->err)
		return NULL;
	if (p->len - p->at < sizeof(r)) {
		failed(p, -EPROTO);
		return NULL;
	}
	memcpy(&r, p->data + p->at, sizeof(r));
	if (r.tag != tag || r.len > p->len - p->at - sizeof(r)) {
		failed(p, -EPROTO);
		return NULL;
	}
	data = p->data + p->at + sizeof(r);
	p->at += sizeof(r) + r.len;
	*len = r.len;
	return data;
}

int parcel_get(struct parcel *p, uint32_t tag, void *data, size_t len)
{
	size_t got;
	const void *from = parcel_take(p, tag, &got);

	if (from && got != len)
		failed(p, -EPROTO);
	if (p->err)
		memset(data, 0, len);
	else if (len)
		memcpy(data, from, len);
	return p->err;
}

int parcel_get_fd(struct parcel *p, uint32_t tag)
{
	uint8_t there;

	if (parcel_get(p, tag, &there, sizeof(there)) || !there)
		return -1;
	if (p->fd_at == p->nfds) {
		failed(p, -EPROTO);
		return -1;
	}
	return p->fd[p->fd_at++];
}

int parcel_end(struct parcel *p)
{
	if (p->at != p->len || p->fd_at != p->nfds)
		failed(p, -EPROTO);
	return p->err;
}

/* --- on the wire ---------------------------------------------------------------- */

/* Until something can be done. */
static int wait_for(const struct parcel_wire *w, short events)
{
	struct pollfd pfd = { .fd = w->fd, .events = events };

	for (;;) {
		uint64_t now = clock_now();
		uint64_t left = w->deadline_ns > now ? (w->deadline_ns - now) / NSEC_PER_MSEC + 1 : 0;
		int ret;

		if (!left)
			return -ETIMEDOUT;
		ret = poll(&pfd, 1, left < IDLE_MS ? (int)left : IDLE_MS);
		if (ret > 0)
			return 0;
		if (ret < 0 && errno != EINTR)
			return -errno;
		if (w->idle)
			w->idle(w->arg);
	}
}

/* All of @len bytes, with @nfds descriptors at the first of them. */
static int send_all(const struct parcel_wire *w, const void *data, size_t len, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
	} control;
	const uint8_t *from = data;

	while (len) {
		struct iovec iov = { (void *)from, len };
		struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (nfds) {
			struct cmsghdr *c = &control.align;

			memset(&control, 0, sizeof(control));
			mh.msg_control = &control;
			mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
			memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
		}
		n = sendmsg(w->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n <= 0) {
			int ret = wait_for(w, POLLOUT);

			if (ret)
				return ret;
			continue;
		}
		from += n;
		len -= (size_t)n;
		nfds = 0;
	}
	return 0;
}

static int keep_fds(struct parcel *p, struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		if (!room_for_fds(p, n))
			return -ENOMEM;		/* those of this message are lost, and so is the parcel */
		memcpy(p->fd + p->nfds, CMSG_DATA(c), n * sizeof(int));
		p->nfds += n;
	}
	return mh->msg_flags & MSG_CTRUNC ? -EMFILE : 0;
}

/* All of @len bytes; descriptors that come with them go to @p, when there may be any. */
static int recv_all(const struct parcel_wire *w, void *data, size_t len, struct parcel *p)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
	} control;
	uint8_t *to = data;

	while (len) {
		struct iovec iov = { to, len };
		struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;
		int ret;

		if (p) {
			mh.msg_control = &control;
			mh.msg_controllen = sizeof(control);
		}
		n = recvmsg(w->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (!n)
			return -ECONNRESET;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		ret = n < 0 ? wait_for(w, POLLIN) : p ? keep_fds(p, &mh) : 0;
		if (ret)
			return ret;
		if (n < 0)
			continue;
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

int parcel_send(const struct parcel_wire *w, uint32_t kind, const struct parcel *p)
{
	const struct head h = { .magic = MAGIC, .kind = kind, .len = p->len, .nfds = p->nfds };
	int ret = p->err ? p->err : send_all(w, &h, sizeof(h), NULL, 0);

	for (size_t at = 0; at < p->nfds && !ret;) {
		uint32_t n = (uint32_t)(p->nfds - at < FDS_AT_ONCE ? p->nfds - at : FDS_AT_ONCE);

		ret = send_all(w, &n, sizeof(n), p->fd + at, n);
		at += n;
	}
	return ret ? ret : send_all(w, p->data, p->len, NULL, 0);
}

int parcel_recv(const struct parcel_wire *w, uint32_t *kind, struct parcel *p)
{
	struct head h = { 0 };
	int ret;

	*p = (struct parcel){ .received = true };
	ret = recv_all(w, &h, sizeof(h), NULL);
	if (!ret && (h.magic != MAGIC || h.len > PARCEL_MAX + sizeof(struct record) || h.nfds > PARCEL_FDS))
		ret = -EPROTO;
	*kind = h.kind;
	while (!ret && p->nfds < h.nfds) {
		size_t before = p->nfds;
		uint32_t n;

		ret = recv_all(w, &n, sizeof(n), p);
		if (!ret && (p->nfds - before != n || !n))
			ret = -EPROTO;
	}
	if (!ret && h.len) {
		p->data = malloc(h.len);
		ret = p->data ? recv_all(w, p->data, h.len, NULL) : -ENOMEM;
		p->len = p->cap = h.len;
	}
	failed(p, ret);
	return ret;
}

int parcel_send_byte(const struct parcel_wire *w, uint8_t byte)
{
	return send_all(w, &byte, 1, NULL, 0);
}

int parcel_recv_byte(const struct parcel_wire *w, uint8_t *byte)
{
	return recv_all(w, byte, 1, NULL);
}
