/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation. An endpoint has at most one connection, a connection
 * exactly one session. Reading goes header first, then payload, never further:
 * the fds of a message are attached to its first byte, and a read that ran on
 * into the next message would bring that one's fds along with it.
 *
 * Nothing here waits. What a peer starts and does not finish ends by a timer:
 *   begun   from a message's first byte until its last
 *   unread  from a reply until the peer has read something of what it owes
 * While a reply does not fit into the socket no further message is read, so
 * one reply is all that is ever queued.
 *
 * An endpoint that is held has neither connection nor listener. The connection
 * goes from the loop, by a timer that is due at once: whoever holds it may have
 * been called by its session.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "base/clock.h"
#include "base/log.h"
#include "vhost/endpoint.h"
#include "vhost/message.h"

#define DEADLINE_MS 5000
#define MESSAGES_PER_CALL 64	/* then other connections have their turn */
#define ACCEPTS_PER_CALL 16
#define BACKOFF_MIN_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS NSEC_PER_SEC	/* nobody there: a socket and a refusal, some microseconds */
#define LASTED_NS NSEC_PER_SEC	/* a connection that lived so long ends the back-off */

#define HDR_LEN sizeof(struct vhost_user_hdr)

/* Bytes on their way in: @got of the current message, and the fds of its first byte. */
struct inbox {
	struct vhost_user_msg msg;
	size_t got;
	int fds[VHOST_USER_MAX_FDS];
	unsigned nfds;
};

/* The reply on its way out, and what the peer has left unread in the socket. */
struct outbox {
	uint8_t bytes[HDR_LEN + VHOST_USER_PAYLOAD_MAX];
	size_t len, sent;
	int unread;		/* the socket's measure of bytes, as it would be had the peer read nothing since */
};

struct endpoint {
	struct loop *loop;
	const struct host_ops *host;
	struct endpoint_config cfg;
	const struct session_ops *session_ops;
	const struct endpoint_events *events;
	void *ctx;
	struct endpoint_stats stats;
	struct log_limit limit;

	struct loop_watch listener;	/* server */
	dev_t dev;			/* of our socket file */
	ino_t ino;
	struct loop_timer again;	/* client: connect; server: accept after running out of fds */
	uint64_t backoff_ns, since_ns;
	int last_error;			/* client: of the last attempt that was logged */
	bool closing;
	bool held;			/* by endpoint_hold() */
	struct loop_timer cut;		/* held: what is open is to be closed */
	char why_held[64];

	/* the connection */
	struct loop_watch conn;
	struct session *session;
	struct inbox in;
	struct outbox out;
	struct loop_timer begun, unread;
	pid_t pid;
	uid_t uid;
};

static void inbox_drop_fds(struct inbox *in)
{
	for (unsigned i = 0; i < in->nfds; i++)
		close(in->fds[i]);
	in->nfds = 0;
}

static void retry_later(struct endpoint *e)
{
	loop_timer_set(e->loop, &e->again, clock_now() + e->backoff_ns);
	e->backoff_ns = e->backoff_ns * 2 < BACKOFF_MAX_NS ? e->backoff_ns * 2 : BACKOFF_MAX_NS;
}

static void conn_close(struct endpoint *e, const char *why)
{
	struct session *s = e->session;

	if (e->conn.fd < 0)
		return;
	loop_del(e->loop, &e->conn);
	loop_timer_cancel(e->loop, &e->begun);
	loop_timer_cancel(e->loop, &e->unread);
	close(e->conn.fd);
	e->conn.fd = -1;
	inbox_drop_fds(&e->in);
	e->session = NULL;	/* whoever asks while its rings stop finds nobody connected */
	session_destroy(s);
	e->pid = 0;
	e->uid = 0;
	if (e->cfg.role == ENDPOINT_CLIENT && !e->closing && !e->held) {
		if (clock_now() - e->since_ns >= LASTED_NS)
			e->backoff_ns = BACKOFF_MIN_NS;
		retry_later(e);
	}
	if (e->events->disconnected)
		e->events->disconnected(e->ctx, why);
}

/* Closes for something the peer did wrong, and says what. */
static void conn_bad(struct endpoint *e, const char *why)
{
	e->stats.bad++;
	if (e->session_ops->complaint)
		e->session_ops->complaint(e->ctx, why);
	conn_close(e, why);
}

/* unix(7) measures in buffer memory, not bytes; only zero and comparisons mean something. */
static int socket_unread(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) < 0 ? 0 : n;
}

/* Sends what is queued. 0 sent or still queued, -errno: the connection is of no use. */
static int outbox_send(struct endpoint *e)
{
	struct outbox *out = &e->out;
	int before = socket_unread(e->conn.fd), after;

	while (out->sent < out->len) {
		ssize_t n = send(e->conn.fd, out->bytes + out->sent, out->len - out->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		out->sent += (size_t)n;
	}
	if (out->sent == out->len)
		out->sent = out->len = 0;
	after = socket_unread(e->conn.fd);
	if (!e->unread.due_ns) {
		out->unread = after;
		loop_timer_set(e->loop, &e->unread, clock_now() + e->cfg.deadline_ms * NSEC_PER_MSEC);
	} else if (after > before) {
		out->unread += after - before;
	}
	return loop_mod(e->loop, &e->conn, (out->len ? EPOLLOUT : EPOLLIN) | EPOLLRDHUP);
}

static void unread_due(struct loop_timer *t)
{
	struct endpoint *e = t->arg;
	int now = socket_unread(e->conn.fd);

	if (!now && !e->out.len)
		return;
	if (now >= e->out.unread) {
		conn_bad(e, "the front-end does not read replies");
		return;
	}
	e->out.unread = now;	/* slow, but it reads */
	loop_timer_set(e->loop, &e->unread, clock_now() + e->cfg.deadline_ms * NSEC_PER_MSEC);
}

static void begun_due(struct loop_timer *t)
{
	conn_bad(t->arg, "the front-end does not complete a message");
}

/* Takes the fds out of a received control message; all of them, wanted or not. */
static void collect_fds(struct inbox *in, struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		const uint8_t *data = CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); n; n--, data += sizeof(int)) {
			int fd;

			memcpy(&fd, data, sizeof(fd));
			if (in->nfds < VHOST_USER_MAX_FDS)
				in->fds[in->nfds++] = fd;
			else
				close(fd);
		}
	}
}

/* Reads towards the end of the current message. 1 progress, 0 nothing there, -1 the connection was closed. */
static int inbox_read(struct endpoint *e)
{
	/* Room for as many fds as a message may have: of more the kernel installs none, and says so. */
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_LEN(VHOST_USER_MAX_FDS * sizeof(int))];
	} control;
	struct inbox *in = &e->in;
	struct iovec iov;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			     .msg_controllen = sizeof(control.bytes) };
	unsigned had_fds = in->nfds;
	ssize_t n;

	if (in->got < HDR_LEN)
		iov = (struct iovec){ (uint8_t *)&in->msg.hdr + in->got, HDR_LEN - in->got };
	else
		iov = (struct iovec){ in->msg.payload.raw + (in->got - HDR_LEN),
				      HDR_LEN + in->msg.hdr.size - in->got };
	n = recvmsg(e->conn.fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		conn_close(e, "connection reset");
		return -1;
	}
	collect_fds(in, &mh);
	if (!n) {
		conn_close(e, "front-end disconnected");
		return -1;
	}
	if (mh.msg_flags & MSG_CTRUNC) {
		conn_bad(e, "more fds than any message has, or than this process may open");
		return -1;
	}
	if (in->got && in->nfds > had_fds) {
		conn_bad(e, "fds behind the first byte of a message");
		return -1;
	}
	in->got += (size_t)n;
	return 1;
}

/* A complete message: hand it to the session, queue its reply. False: the connection was closed. */
static bool inbox_deliver(struct endpoint *e)
{
	struct vhost_user_msg reply;
	unsigned nfds = e->in.nfds;
	int ret;

	e->in.nfds = 0;
	e->in.got = 0;
	loop_timer_cancel(e->loop, &e->begun);
	ret = session_handle(e->session, &e->in.msg, e->in.fds, nfds, &reply);
	if (ret < 0) {
		e->stats.bad++;
		conn_close(e, ret == -EFAULT ? "guest memory is gone" : "bad message");
		return false;
	}
	if (ret > 0) {
		memcpy(e->out.bytes, &reply.hdr, HDR_LEN);
		memcpy(e->out.bytes + HDR_LEN, &reply.payload, reply.hdr.size);
		e->out.len = HDR_LEN + reply.hdr.size;
		e->out.sent = 0;
		if (outbox_send(e) < 0) {
			conn_close(e, "front-end disconnected");
			return false;
		}
	}
	return true;
}

static void conn_read(struct endpoint *e)
{
	struct inbox *in = &e->in;
	unsigned budget = MESSAGES_PER_CALL;
	const char *why;

	while (budget && !e->out.len) {
		int ret = inbox_read(e);

		if (ret < 0)
			return;
		if (!ret)
			break;
		if (in->got == HDR_LEN && message_check_header(&in->msg.hdr, &why) != MESSAGE_OK) {
			conn_bad(e, why);
			return;
		}
		if (in->got < HDR_LEN || in->got < HDR_LEN + in->msg.hdr.size)
			continue;
		if (!inbox_deliver(e))
			return;
		budget--;
	}
	if (in->got && !e->begun.due_ns)
		loop_timer_set(e->loop, &e->begun, clock_now() + e->cfg.deadline_ms * NSEC_PER_MSEC);
}

static void conn_ready(struct loop_watch *w, uint32_t events)
{
	struct endpoint *e = w->arg;

	/* Whatever it may have sent before, nobody is there any more for whom it would have to be done. */
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		conn_close(e, "front-end disconnected");
		return;
	}
	if (events & EPOLLOUT && outbox_send(e) < 0) {
		conn_close(e, "front-end disconnected");
		return;
	}
	if (events & EPOLLIN)
		conn_read(e);
}

/* Takes over @fd as the endpoint's connection. */
static void conn_open(struct endpoint *e, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int ret;

	ret = session_create(&e->cfg.session, e->session_ops, e->ctx, &e->session);
	if (!ret) {
		e->conn.fd = fd;
		ret = loop_add(e->loop, &e->conn, EPOLLIN | EPOLLRDHUP);
	}
	if (ret < 0) {
		log_at(LOG_LEVEL_WARN, &e->limit, "%s: cannot serve a connection: %s", e->cfg.path, strerror(-ret));
		session_destroy(e->session);
		e->session = NULL;
		e->conn.fd = -1;
		close(fd);
		if (e->cfg.role == ENDPOINT_CLIENT)
			retry_later(e);
		return;
	}
	memset(&e->in, 0, sizeof(e->in));
	memset(&e->out, 0, sizeof(e->out));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
		e->pid = peer.pid;
		e->uid = peer.uid;
	}
	e->since_ns = clock_now();
	e->stats.connections++;
	if (e->events->connected)
		e->events->connected(e->ctx);
}

/* The loop may not have told us yet that the old front-end is gone when its successor knocks. */
static void reap_dead(struct endpoint *e)
{
	struct pollfd p = { .fd = e->conn.fd, .events = POLLRDHUP };

	if (e->conn.fd >= 0 && poll(&p, 1, 0) == 1)
		conn_close(e, "front-end disconnected");
}

static void listener_ready(struct loop_watch *w, uint32_t events)
{
	struct endpoint *e = w->arg;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_CALL; i++) {
		int fd = accept4(e->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
			/* It stays readable: look away for a moment instead of spinning. */
			log_at(LOG_LEVEL_WARN, &e->limit, "%s: cannot accept: %s", e->cfg.path, strerror(errno));
			loop_del(e->loop, &e->listener);
			loop_timer_set(e->loop, &e->again, clock_now() + BACKOFF_MIN_NS);
			return;
		}
		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0)
			return;
		reap_dead(e);
		if (e->conn.fd >= 0) {
			e->stats.refused++;
			close(fd);
			log_at(LOG_LEVEL_INFO, &e->limit, "%s: second connection refused, process %d is connected",
			       e->cfg.path, (int)e->pid);
			continue;
		}
		conn_open(e, fd);
	}
}

static int start_listening(struct endpoint *e);

/* After endpoint_release(). Somebody else may have taken the path meanwhile. */
static void listen_again(struct endpoint *e)
{
	int ret = start_listening(e);
	char text[200];

	if (ret) {
		snprintf(text, sizeof(text), "cannot listen on %s again: %s; it is tried on", e->cfg.path,
			 ret == -EADDRINUSE ? "another process does" : strerror(-ret));
		if (ret != e->last_error && e->session_ops->complaint)
			e->session_ops->complaint(e->ctx, text);
		retry_later(e);
	} else {
		e->backoff_ns = BACKOFF_MIN_NS;
	}
	e->last_error = ret;
}

static void again_due(struct loop_timer *t)
{
	struct endpoint *e = t->arg;
	int fd;

	if (e->cfg.role == ENDPOINT_SERVER && e->listener.fd < 0) {
		listen_again(e);
		return;
	}
	if (e->cfg.role == ENDPOINT_SERVER) {
		if (loop_add(e->loop, &e->listener, EPOLLIN) < 0)
			loop_timer_set(e->loop, &e->again, clock_now() + BACKOFF_MAX_NS);
		return;
	}
	fd = e->host->unix_connect(e->host, e->cfg.path);
	if (fd < 0) {
		if (fd != e->last_error)
			log_at(LOG_LEVEL_INFO, &e->limit, "%s: nobody to connect to yet (%s), trying again",
			       e->cfg.path, strerror(-fd));
		e->last_error = fd;
		retry_later(e);
		return;
	}
	e->last_error = 0;
	conn_open(e, fd);
}

static void note_socket_file(struct endpoint *e)
{
	struct stat st;

	if (lstat(e->cfg.path, &st) == 0) {
		e->dev = st.st_dev;
		e->ino = st.st_ino;
	}
}

static int start_listening(struct endpoint *e)
{
	const struct endpoint_config *c = &e->cfg;
	int fd, ret;

	fd = e->host->unix_listen(e->host, c->path, c->mode ? c->mode : 0600, c->uid, c->gid);
	if (fd < 0)
		return fd;
	e->listener.fd = fd;
	note_socket_file(e);
	ret = loop_add(e->loop, &e->listener, EPOLLIN);
	if (ret < 0) {
		e->host->unlink(e->host, c->path);
		close(fd);
		e->listener.fd = -1;
		e->ino = 0;
	}
	return ret;
}

static void cut_due(struct loop_timer *t);

static struct endpoint *make(struct loop *loop, const struct host_ops *host, const struct endpoint_config *cfg,
			     const struct session_ops *session_ops, const struct endpoint_events *events, void *ctx)
{
	struct endpoint *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->loop = loop;
	e->host = host;
	e->cfg = *cfg;
	if (!e->cfg.deadline_ms)
		e->cfg.deadline_ms = DEADLINE_MS;
	e->session_ops = session_ops;
	e->events = events;
	e->ctx = ctx;
	e->backoff_ns = BACKOFF_MIN_NS;
	e->listener = (struct loop_watch){ .fd = -1, .fn = listener_ready, .arg = e };
	e->conn = (struct loop_watch){ .fd = -1, .fn = conn_ready, .arg = e };
	e->again = (struct loop_timer){ .fn = again_due, .arg = e };
	e->cut = (struct loop_timer){ .fn = cut_due, .arg = e };
	e->begun = (struct loop_timer){ .fn = begun_due, .arg = e };
	e->unread = (struct loop_timer){ .fn = unread_due, .arg = e };
	return e;
}

int endpoint_open(struct loop *loop, const struct host_ops *host, const struct endpoint_config *cfg,
		  const struct session_ops *session_ops, const struct endpoint_events *events, void *ctx,
		  struct endpoint **out)
{
	struct endpoint *e = make(loop, host, cfg, session_ops, events, ctx);
	int ret;

	if (!e)
		return -ENOMEM;
	switch (cfg->role) {
	case ENDPOINT_SERVER:
		ret = start_listening(e);
		if (ret < 0) {
			free(e);
			return ret;
		}
		break;
	case ENDPOINT_CLIENT:	/* from the loop: the caller has no handle on us yet */
		loop_timer_set(loop, &e->again, clock_now());
		break;
	}
	*out = e;
	return 0;
}

/* Our socket file, unless it was removed or replaced meanwhile. */
static void remove_socket_file(struct endpoint *e)
{
	struct stat st;

	if (e->ino && lstat(e->cfg.path, &st) == 0 && st.st_dev == e->dev && st.st_ino == e->ino)
		e->host->unlink(e->host, e->cfg.path);
}

static void stop_listening(struct endpoint *e)
{
	if (e->listener.fd < 0)
		return;
	loop_del(e->loop, &e->listener);
	remove_socket_file(e);
	close(e->listener.fd);
	e->listener.fd = -1;
	e->ino = 0;
}

void endpoint_close(struct endpoint *e)
{
	if (!e)
		return;
	e->closing = true;
	loop_timer_cancel(e->loop, &e->again);
	loop_timer_cancel(e->loop, &e->cut);
	stop_listening(e);
	conn_close(e, "the port was closed");
	free(e);
}

static void cut_due(struct loop_timer *t)
{
	struct endpoint *e = t->arg;

	loop_timer_cancel(e->loop, &e->again);
	stop_listening(e);	/* first: whoever returns at once must not find it */
	conn_close(e, e->why_held);
}

void endpoint_hold(struct endpoint *e, const char *why)
{
	if (e->closing || e->held)
		return;
	e->held = true;
	snprintf(e->why_held, sizeof(e->why_held), "%s", why);
	loop_timer_set(e->loop, &e->cut, clock_now());
	if (e->events->held)
		e->events->held(e->ctx);
}

void endpoint_release(struct endpoint *e)
{
	if (e->closing || !e->held)
		return;
	e->held = false;
	loop_timer_cancel(e->loop, &e->cut);	/* then nothing was closed yet */
	e->backoff_ns = BACKOFF_MIN_NS;
	if (e->cfg.role == ENDPOINT_SERVER && e->listener.fd < 0)
		listen_again(e);
	else if (e->cfg.role == ENDPOINT_CLIENT && e->conn.fd < 0)
		loop_timer_set(e->loop, &e->again, clock_now());
	if (e->events->held)
		e->events->held(e->ctx);
}

bool endpoint_is_held(const struct endpoint *e)
{
	return e && e->held;
}

void endpoint_kick_out(struct endpoint *e, const char *why)
{
	conn_close(e, why);
}

void endpoint_set_features(struct endpoint *e, uint64_t features)
{
	e->cfg.session.features = features;
}

struct session *endpoint_session(struct endpoint *e)
{
	return e ? e->session : NULL;
}

void endpoint_peer(const struct endpoint *e, pid_t *pid, uid_t *uid)
{
	*pid = e->pid;
	*uid = e->uid;
}

const struct endpoint_stats *endpoint_stats(const struct endpoint *e)
{
	return &e->stats;
}

/* --- from one process to another -------------------------------------------------- */

#define TAG 0x6f706e65u		/* "enpo" */

/* No pointers. A message that is half there goes along, and so does an answer that is not yet out. */
struct endpoint_saved {
	uint32_t role, connected, held;
	char why_held[64];
	uint64_t backoff_ns, since_ns, begun_ns, unread_ns;
	struct endpoint_stats stats;
	uint64_t dev, ino;
	int32_t pid;
	uint32_t uid;
	struct inbox in;
	struct outbox out;
};

void endpoint_save(const struct endpoint *e, struct parcel *to)
{
	struct endpoint_saved s = {
		.role = e->cfg.role, .connected = e->conn.fd >= 0, .held = e->held,
		.backoff_ns = e->backoff_ns, .since_ns = e->since_ns,
		.begun_ns = e->begun.due_ns, .unread_ns = e->unread.due_ns, .stats = e->stats,
		.dev = e->dev, .ino = e->ino, .pid = e->pid,
		.uid = e->uid, .in = e->in, .out = e->out,
	};

	memcpy(s.why_held, e->why_held, sizeof(s.why_held));
	parcel_put(to, TAG, &s, sizeof(s));
	parcel_put_fd(to, TAG, e->listener.fd);
	parcel_put_fd(to, TAG, e->conn.fd);
	for (unsigned i = 0; i < e->in.nfds; i++)
		parcel_put_fd(to, TAG, e->in.fds[i]);
	if (s.connected)
		session_save(e->session, to);
}

/* A message that is half there, and an answer that is half out. */
static bool makes_sense(const struct endpoint_saved *s)
{
	const struct inbox *in = &s->in;
	const char *why;

	if (in->nfds > VHOST_USER_MAX_FDS || s->out.len > sizeof(s->out.bytes) || s->out.sent > s->out.len)
		return false;
	return in->got < HDR_LEN || (message_check_header(&in->msg.hdr, &why) == MESSAGE_OK &&
				     in->got < HDR_LEN + in->msg.hdr.size);
}

static int adopt_connection(struct endpoint *e, const struct endpoint_saved *s, struct parcel *from)
{
	int ret;

	if (!makes_sense(s) || e->conn.fd < 0)
		return -EPROTO;
	e->in = s->in;
	e->out = s->out;
	for (unsigned i = 0; i < e->in.nfds; i++)
		e->in.fds[i] = parcel_get_fd(from, TAG);
	ret = session_adopt(&e->cfg.session, e->session_ops, e->ctx, from, &e->session);
	if (ret)
		return ret;
	if (s->begun_ns)
		loop_timer_set(e->loop, &e->begun, s->begun_ns);
	if (s->unread_ns)
		loop_timer_set(e->loop, &e->unread, s->unread_ns);
	return loop_add(e->loop, &e->conn, (e->out.len ? EPOLLOUT : EPOLLIN) | EPOLLRDHUP);
}

int endpoint_adopt(struct loop *loop, const struct host_ops *host, const struct endpoint_config *cfg,
		   const struct session_ops *session_ops, const struct endpoint_events *events, void *ctx,
		   struct parcel *from, struct endpoint **out)
{
	struct endpoint *e = make(loop, host, cfg, session_ops, events, ctx);
	struct endpoint_saved s;
	int ret;

	if (!e)
		return -ENOMEM;
	parcel_get(from, TAG, &s, sizeof(s));
	e->listener.fd = parcel_get_fd(from, TAG);
	e->conn.fd = parcel_get_fd(from, TAG);
	if (from->err || s.role != cfg->role || (cfg->role != ENDPOINT_SERVER && e->listener.fd >= 0))
		return -EPROTO;		/* the process ends: nothing is given back */
	e->held = s.held;
	memcpy(e->why_held, s.why_held, sizeof(e->why_held) - 1);
	e->backoff_ns = s.backoff_ns;
	e->since_ns = s.since_ns;
	e->stats = s.stats;
	e->pid = s.pid;
	e->uid = s.uid;
	ret = s.connected ? adopt_connection(e, &s, from) : 0;
	if (!ret && e->listener.fd >= 0) {
		e->dev = (dev_t)s.dev;	/* what is there now may be somebody else's */
		e->ino = (ino_t)s.ino;
		ret = loop_add(loop, &e->listener, EPOLLIN);
	}
	if (!ret && e->held)	/* what is still open was about to be closed */
		loop_timer_set(loop, &e->cut, clock_now());
	else if (!ret && e->listener.fd < 0 && (cfg->role == ENDPOINT_SERVER || !s.connected))
		loop_timer_set(loop, &e->again, clock_now());
	if (!ret)
		*out = e;
	return ret;
}

int endpoint_resume(struct endpoint *e)
{
	return e->session ? session_resume(e->session) : 0;
}
