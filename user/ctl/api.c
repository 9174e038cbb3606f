/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation. Each client has a line being read and a queue being
 * written. While more than a little is queued no further request is read, so
 * only events can fill a queue; when one does not fit the client is told
 * "overrun", and closed as soon as that is out, or after a few seconds.
 * Clients are freed only by their own watch's callback, the sweep timer or
 * api_close(), never from api_event(), which may run anywhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ctl/api_methods.h"

#define READ_PAUSE (64 * 1024)	/* bytes queued that stop further requests */
#define READS_PER_CALL 4
#define ACCEPT_PAUSE_NS (100 * NSEC_PER_MSEC)
#define LINGER_NS (5 * NSEC_PER_SEC)	/* for a client that is to be closed to read its last line */

struct bytes {
	char *p;
	size_t len, cap;
};

struct client {
	struct api *api;	/* NULL = slot is free */
	struct loop_watch watch;
	struct loop_timer linger;
	struct bytes in, out;
	size_t sent;		/* of @out */
	size_t answers;		/* bytes that waited when the last answer was queued: events may come on top */
	bool monitor;
	bool more;		/* @in has whole lines that wait for room in @out */
	bool closing;		/* takes nothing more; goes when @out is empty */
};

struct api {
	struct loop *loop;
	const struct host_ops *host;
	const struct api_ops *ops;
	void *ctx;
	char path[108];
	dev_t dev;
	ino_t ino;
	struct loop_watch listener;
	struct loop_timer accept_again;
	struct log_limit limit;
	struct client client[API_CLIENTS];
};

static bool bytes_add(struct bytes *b, const void *data, size_t len)
{
	if (b->len + len > b->cap) {
		size_t cap = b->cap ? b->cap : 1024;
		char *p;

		while (cap < b->len + len)
			cap *= 2;
		p = realloc(b->p, cap);
		if (!p)
			return false;
		b->p = p;
		b->cap = cap;
	}
	memcpy(b->p + b->len, data, len);
	b->len += len;
	return true;
}

static void bytes_free(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){ 0 };
}

static void client_free(struct client *c)
{
	loop_del(c->api->loop, &c->watch);
	loop_timer_cancel(c->api->loop, &c->linger);
	close(c->watch.fd);
	bytes_free(&c->in);
	bytes_free(&c->out);
	c->api = NULL;
}

static void linger_due(struct loop_timer *t)
{
	client_free(t->arg);
}

static size_t waiting(const struct client *c)
{
	return c->out.len - c->sent;
}

/* What the client's watch has to look for now. */
static void client_rewatch(struct client *c)
{
	uint32_t events = 0;

	if (waiting(c) || c->more)
		events |= EPOLLOUT;
	if (!c->closing && waiting(c) < READ_PAUSE)
		events |= EPOLLIN;
	loop_mod(c->api->loop, &c->watch, events);
}

/* No more requests or events; whatever is queued still goes out, for a while. */
static void client_finish(struct client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	loop_timer_set(c->api->loop, &c->linger, clock_now() + LINGER_NS);
}

/* Queues one line. False: it does not fit into @max bytes. */
static bool client_put(struct client *c, const json_t *line, size_t max)
{
	char *text = json_dumps(line, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;
	bool ok;

	if (c->sent) {
		memmove(c->out.p, c->out.p + c->sent, waiting(c));
		c->out.len -= c->sent;
		c->sent = 0;
	}
	ok = text && c->out.len + len + 1 <= max && bytes_add(&c->out, text, len);
	if (ok && !bytes_add(&c->out, "\n", 1)) {
		c->out.len -= len;
		ok = false;
	}
	free(text);
	return ok;
}

static void answer(struct client *c, json_t *id, const char *kind, json_t *body)
{
	json_t *o = json_object();

	json_object_set(o, "id", id ? id : json_null());
	json_object_set_new(o, kind, body);
	if (client_put(c, o, API_ANSWER_MAX))
		c->answers = waiting(c);
	else
		client_finish(c);
	json_decref(o);
}

static void answer_error(struct client *c, json_t *id, const char *code, const char *message)
{
	answer(c, id, "error", json_pack("{s:s, s:s}", "code", code, "message", message));
}

static void handle_line(struct client *c, const char *line, size_t len)
{
	json_t *request, *id;
	struct api_reply r;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (!len)
		return;
	request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!request) {
		answer_error(c, NULL, "parse_error", "a request is one line of JSON");
		return;
	}
	id = json_object_get(request, "id");
	api_call(c->api->ops, c->api->ctx, request, &r);
	c->monitor |= r.monitor;
	if (r.result)
		answer(c, id, "result", r.result);
	else
		answer_error(c, id, r.code, r.message);
	json_decref(request);
}

/* ---- input and output ---- */

/* Handles complete lines until enough is queued; the rest stays for later. */
static void handle_input(struct client *c)
{
	size_t at = 0;
	char *end;

	while (!c->closing && waiting(c) < READ_PAUSE && (end = memchr(c->in.p + at, '\n', c->in.len - at))) {
		size_t len = (size_t)(end - (c->in.p + at));

		if (len > API_REQUEST_MAX)
			break;
		handle_line(c, c->in.p + at, len);
		at += len + 1;
	}
	c->in.len -= at;
	memmove(c->in.p, c->in.p + at, c->in.len);
	end = memchr(c->in.p, '\n', c->in.len);
	c->more = end && !c->closing;
	if (!c->closing && (end ? end - c->in.p : (ssize_t)c->in.len) > API_REQUEST_MAX) {
		answer_error(c, NULL, "too_large", "a request may have 65536 bytes");
		client_finish(c);
	}
}

/* False: the client is gone. */
static bool client_read(struct client *c)
{
	char chunk[16 * 1024];

	for (int i = 0; i < READS_PER_CALL && !c->closing && waiting(c) < READ_PAUSE; i++) {
		ssize_t n = recv(c->watch.fd, chunk, sizeof(chunk), MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (!n) {	/* it may still be reading */
			client_finish(c);
			break;
		}
		if (!bytes_add(&c->in, chunk, (size_t)n))
			return false;
		handle_input(c);
	}
	return true;
}

static bool client_write(struct client *c)
{
	while (waiting(c)) {
		ssize_t n = send(c->watch.fd, c->out.p + c->sent, waiting(c), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->sent += (size_t)n;
	}
	bytes_free(&c->out);
	c->sent = c->answers = 0;
	return !c->closing;
}

static void client_ready(struct loop_watch *w, uint32_t events)
{
	struct client *c = w->arg;
	bool alive = !(events & (EPOLLHUP | EPOLLERR));

	if (alive && events & EPOLLOUT)
		alive = client_write(c);
	if (alive && c->in.len)	/* lines that waited for room in the queue */
		handle_input(c);
	if (alive && events & EPOLLIN)
		alive = client_read(c);
	if (alive && client_write(c))
		client_rewatch(c);
	else
		client_free(c);
}

static struct client *free_slot(struct api *a)
{
	for (unsigned i = 0; i < API_CLIENTS; i++)
		if (!a->client[i].api)
			return &a->client[i];
	return NULL;
}

static void add_client(struct api *a, int fd)
{
	struct client *c = free_slot(a);

	if (!c) {
		log_at(LOG_LEVEL_WARN, &a->limit, "%s: more than %d clients: one was turned away", a->path,
		       API_CLIENTS);
		close(fd);
		return;
	}
	*c = (struct client){
		.api = a,
		.watch = { .fd = fd, .fn = client_ready, .arg = c },
		.linger = { .fn = linger_due, .arg = c },
	};
	if (loop_add(a->loop, &c->watch, EPOLLIN) < 0) {
		close(fd);
		c->api = NULL;
	}
}

static void listener_ready(struct loop_watch *w, uint32_t events)
{
	struct api *a = w->arg;

	(void)events;
	for (int i = 0; i < API_CLIENTS; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			add_client(a, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* It stays readable: look away for a moment instead of spinning. */
			log_at(LOG_LEVEL_WARN, &a->limit, "%s: cannot accept: %s", a->path, strerror(errno));
			loop_del(a->loop, w);
			loop_timer_set(a->loop, &a->accept_again, clock_now() + ACCEPT_PAUSE_NS);
			return;
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

static void accept_again_due(struct loop_timer *t)
{
	struct api *a = t->arg;

	if (loop_add(a->loop, &a->listener, EPOLLIN) < 0)
		loop_timer_set(a->loop, t, clock_now() + ACCEPT_PAUSE_NS);
}

int api_adopt(struct loop *loop, const struct host_ops *host, const char *path, int fd, const struct api_ops *ops,
	      void *ctx, struct api **out)
{
	struct api *a = calloc(1, sizeof(*a));
	struct stat st;
	int ret;

	if (!a) {
		close(fd);
		return -ENOMEM;
	}
	a->loop = loop;
	a->host = host;
	a->ops = ops;
	a->ctx = ctx;
	snprintf(a->path, sizeof(a->path), "%s", path);
	a->accept_again = (struct loop_timer){ .fn = accept_again_due, .arg = a };
	a->listener = (struct loop_watch){ .fd = fd, .fn = listener_ready, .arg = a };
	if (lstat(path, &st) == 0) {
		a->dev = st.st_dev;
		a->ino = st.st_ino;
	}
	ret = loop_add(loop, &a->listener, EPOLLIN);
	if (ret < 0) {
		api_close(a);
		return ret;
	}
	*out = a;
	return 0;
}

int api_open(struct loop *loop, const struct host_ops *host, const char *path, const struct api_ops *ops, void *ctx,
	     struct api **out)
{
	int fd = host->unix_listen(host, path, 0600, (uid_t)-1, (gid_t)-1);

	return fd < 0 ? fd : api_adopt(loop, host, path, fd, ops, ctx, out);
}

int api_listener(const struct api *a)
{
	return a->listener.fd;
}

void api_close(struct api *a)
{
	struct stat st;

	if (!a)
		return;
	for (unsigned i = 0; i < API_CLIENTS; i++)
		if (a->client[i].api)
			client_free(&a->client[i]);
	loop_timer_cancel(a->loop, &a->accept_again);
	loop_del(a->loop, &a->listener);
	if (a->ino && lstat(a->path, &st) == 0 && st.st_dev == a->dev && st.st_ino == a->ino)
		a->host->unlink(a->host, a->path);
	close(a->listener.fd);
	free(a);
}

/* ---- events ---- */

static json_t *with_time(const json_t *event)
{
	struct timespec now;
	char text[40];
	struct tm tm;
	size_t n;
	json_t *o;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03ldZ", now.tv_nsec / 1000000);
	o = json_pack("{s:s}", "time", text);
	if (o && event)
		json_object_update(o, (json_t *)event);
	return o;
}

/* The last line of a client that does not read: what it had not begun to read makes room for it. */
static void overrun(struct client *c)
{
	json_t *o = with_time(NULL);
	size_t at = c->sent, room = API_QUEUE_MAX + c->answers - 256;

	if (c->out.len - at > room) {
		at += room;
		while (at > c->sent && c->out.p[at - 1] != '\n')
			at--;
		c->out.len = at;
	}
	if (o && !json_object_set_new(o, "event", json_string("overrun")))
		client_put(c, o, API_QUEUE_MAX + c->answers);
	json_decref(o);
	client_finish(c);
}

void api_event(struct api *a, json_t *event)
{
	json_t *line = NULL;

	for (unsigned i = 0; a && event && i < API_CLIENTS; i++) {
		struct client *c = &a->client[i];

		if (!c->api || !c->monitor || c->closing)
			continue;
		if (!line)
			line = with_time(event);
		if (!line)
			break;
		if (!client_put(c, line, API_QUEUE_MAX + c->answers))
			overrun(c);
		client_rewatch(c);
	}
	json_decref(line);
	json_decref(event);
}
