/* SPDX-License-Identifier: BSD-2-Clause */
/* The phases are in takeover.h. Both sides wait with deadlines; the running one keeps its heartbeat up meanwhile. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parcel.h"
#include "bridge/links.h"
#include "bridge/succession.h"
#include "ctl/instance.h"
#include "ctl/takeover.h"

#define TAG 0x72766f74u		/* "tovr" */
#define PREPARE_NS (10 * NSEC_PER_SEC)	/* workers go on meanwhile, but nothing else does */
#define FROZEN_NS (1 * NSEC_PER_SEC)	/* guests' packets wait */
#define DEATH_MS 2000
#define HEIR_NS (30 * NSEC_PER_SEC)

enum kind { HELLO = 1, LASTING, PREPARED, MOVING, READY, REFUSED };
enum { COMMIT = 'C', ABORT = 'A' };

struct hello {
	uint32_t version;
	char build[32];
};

struct takeover {
	struct loop *loop;
	const struct host_ops *host;
	struct takeover_estate estate;
	struct loop_watch listener;
	int self;		/* pidfd of this process */
	char path[108];
	void (*handed_over)(void *arg);
	void *arg;
};

static void socket_path(const char *name, char path[108])
{
	snprintf(path, 108, INSTANCE_DIR "/%.64s.handover", name);
}

static void put_hello(struct parcel *p)
{
	struct hello h = { .version = TAKEOVER_VERSION };

	snprintf(h.build, sizeof(h.build), "%s", VIADUCT_VERSION);
	parcel_put(p, TAG, &h, sizeof(h));
}

/* Sends a parcel that is nothing but its kind, or a text. */
static int say(const struct parcel_wire *w, enum kind kind, const char *text)
{
	struct parcel p = { 0 };
	int ret;

	if (text)
		parcel_put(&p, TAG, text, strlen(text));
	ret = parcel_send(w, kind, &p);
	parcel_free(&p);
	return ret;
}

/* The next parcel, which must be of @kind; a refusal's text goes into @why. */
static int expect(const struct parcel_wire *w, enum kind kind, struct parcel *p, const struct fail *why)
{
	const char *text;
	uint32_t got = 0;
	size_t len;
	int ret = parcel_recv(w, &got, p);

	if (ret)
		return fail_with(why, ret, "%s", ret == -ECONNRESET ? "the other process is gone" :
					 ret == -ETIMEDOUT ? "the other process did not answer in time" : strerror(-ret));
	if (got == kind)
		return 0;
	if (got != REFUSED)
		return fail_with(why, -EPROTO, "the other process says something else than belongs here");
	text = parcel_take(p, TAG, &len);
	return fail_with(why, -ECONNREFUSED, "%.*s", text ? (int)len : 0, text ? text : "");
}

/* --- the running process -------------------------------------------------------- */

static void stay_alive(void *arg)
{
	links_heartbeat(arg, clock_now());
}

static int greet(const struct parcel_wire *w, const struct fail *why)
{
	struct parcel p;
	struct hello h;
	char text[160];
	int ret;

	ret = expect(w, HELLO, &p, why);
	if (!ret)
		ret = parcel_get(&p, TAG, &h, sizeof(h));
	parcel_free(&p);
	if (ret || h.version == TAKEOVER_VERSION)
		return ret;
	snprintf(text, sizeof(text),
		 "the running instance (%s) hands over in form %u, and %.31s reads form %u: restart without --take-over",
		 VIADUCT_VERSION, TAKEOVER_VERSION, h.build, h.version);
	say(w, REFUSED, text);
	return fail_with(why, -EPROTO, "%s", text);
}

static int hand_lasting(struct takeover *t, const struct parcel_wire *w, const struct fail *why)
{
	struct parcel p = { 0 };
	int ret;

	parcel_put_fd(&p, TAG, t->estate.lock);
	parcel_put_fd(&p, TAG, api_listener(t->estate.api));
	parcel_put_fd(&p, TAG, t->listener.fd);
	parcel_put_fd(&p, TAG, t->self);
	ret = bridge_save(t->estate.bridge, &p, why);
	if (ret)
		say(w, REFUSED, why->text);
	else
		ret = parcel_send(w, LASTING, &p);
	parcel_free(&p);
	if (ret)
		return ret;
	ret = expect(w, PREPARED, &p, why);
	parcel_free(&p);
	return ret;
}

/* Workers stand still. 0: COMMIT was sent. */
static int hand_moving(struct takeover *t, struct parcel_wire *w, const struct fail *why)
{
	struct parcel p = { 0 };
	int ret = bridge_save_moving(t->estate.bridge, &p);

	w->deadline_ns = clock_now() + FROZEN_NS;
	if (!ret)
		ret = parcel_send(w, MOVING, &p);
	parcel_free(&p);
	if (ret)
		return fail_with(why, ret, "cannot send the state: %s", strerror(-ret));
	ret = expect(w, READY, &p, why);
	parcel_free(&p);
	if (ret)
		return ret;
	ret = parcel_send_byte(w, COMMIT);
	return ret ? fail_with(why, ret, "the other process is gone") : 0;
}

static int hand_over(struct takeover *t, int fd, const struct fail *why)
{
	struct parcel_wire w = {
		.fd = fd, .deadline_ns = clock_now() + PREPARE_NS, .idle = stay_alive, .arg = t->estate.bridge,
	};
	int ret = greet(&w, why);

	if (!ret)
		ret = hand_lasting(t, &w, why);
	if (ret)
		return ret;
	bridge_freeze(t->estate.bridge);
	ret = hand_moving(t, &w, why);
	if (!ret)
		return 0;
	/* First the word, then the deed: whoever sees the socket end without it may go on in our place. */
	w.deadline_ns = clock_now() + FROZEN_NS;
	parcel_send_byte(&w, ABORT);
	bridge_thaw(t->estate.bridge);
	return ret;
}

static void on_heir(struct loop_watch *l, uint32_t events)
{
	struct takeover *t = l->arg;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	char text[512] = "";
	const struct fail why = { text, sizeof(text) };
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	log_info("process %d asks to take over", (int)peer.pid);
	if (hand_over(t, fd, &why)) {
		log_warn("process %d does not take over: %s: going on", (int)peer.pid, text);
		close(fd);
		return;
	}
	log_info("handed over to process %d", (int)peer.pid);
	sd_notifyf(0, "MAINPID=%d", (int)peer.pid);
	t->handed_over(t->arg);
}

int takeover_listen(struct loop *loop, const struct host_ops *host, const char *name, int fd,
		    const struct takeover_estate *estate, void (*handed_over)(void *arg), void *arg,
		    struct takeover **out)
{
	struct takeover *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	t->loop = loop;
	t->host = host;
	t->estate = *estate;
	t->handed_over = handed_over;
	t->arg = arg;
	socket_path(name, t->path);
	if (fd < 0)
		fd = host->unix_listen(host, t->path, 0600, (uid_t)-1, (gid_t)-1);
	if (fd < 0) {
		free(t);
		return fd;
	}
	t->self = (int)syscall(SYS_pidfd_open, getpid(), 0);	/* close-on-exec by nature */
	t->listener = (struct loop_watch){ .fd = fd, .fn = on_heir, .arg = t };
	ret = loop_add(loop, &t->listener, EPOLLIN);
	if (ret) {
		takeover_close(t);
		return ret;
	}
	*out = t;
	return 0;
}

void takeover_close(struct takeover *t)
{
	if (!t)
		return;
	loop_del(t->loop, &t->listener);
	t->host->unlink(t->host, t->path);
	close(t->listener.fd);
	if (t->self >= 0)
		close(t->self);
	free(t);
}

/* --- the new process ------------------------------------------------------------ */

static int take_lasting(struct takeover_heir *h, const struct parcel_wire *w, const struct fail *why)
{
	struct parcel p = { 0 };
	int ret;

	put_hello(&p);
	ret = parcel_send(w, HELLO, &p);
	parcel_free(&p);
	if (ret)
		return fail_with(why, ret == -EPIPE ? -ECONNRESET : ret, "cannot ask the running instance: %s", strerror(-ret));
	ret = expect(w, LASTING, &p, why);
	if (!ret) {
		h->lock = parcel_get_fd(&p, TAG);
		h->api_fd = parcel_get_fd(&p, TAG);
		h->listener = parcel_get_fd(&p, TAG);
		h->pidfd = parcel_get_fd(&p, TAG);
		ret = bridge_adopt(h->host, h->loop, h->cfg, h->event, h->event_arg, &p, &h->bridge, why);
		if (!ret && parcel_end(&p))
			ret = fail_with(why, p.err, "the running instance sends more than this one understands");
		if (ret)
			say(w, REFUSED, why->text);
		ret = ret == -ECONNRESET || ret == -ENOENT ? -EPROTO : ret;	/* which would mean something else */
	}
	parcel_free(&p);
	if (!ret)
		ret = say(w, PREPARED, NULL);
	return ret == -EPIPE ? -ECONNRESET : ret;
}

/* The socket has ended; a process that ends closes it first. */
static bool is_dead(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return pidfd >= 0 && poll(&p, 1, DEATH_MS) == 1;
}

/* 0: it may go on. */
static int take_moving(struct takeover_heir *h, struct parcel_wire *w, uint64_t *frozen_ns, const struct fail *why)
{
	uint8_t byte = 0;
	struct parcel p;
	int ret;

	ret = expect(w, MOVING, &p, why);
	if (ret) {
		parcel_free(&p);
		return ret;
	}
	ret = bridge_resume(h->bridge, &p, frozen_ns);
	parcel_free(&p);
	if (ret) {
		fail_with(why, -EPROTO, "the running instance's state does not fit together: %s", strerror(-ret));
		say(w, REFUSED, why->text);
		return -EPROTO;
	}
	say(w, READY, NULL);	/* when nobody is there to hear it, the next line finds out */
	w->deadline_ns = UINT64_MAX;	/* to give up alone would leave the bridge without an owner */
	ret = parcel_recv_byte(w, &byte);
	if (ret == -ECONNRESET && is_dead(h->pidfd)) {
		log_warn("the instance before ended while it handed over: going on in its place");
		return 0;
	}
	if (ret || byte != COMMIT)
		return fail_with(why, -ECANCELED, "the running instance did not wait, and goes on");
	return 0;
}

int takeover_run(struct takeover_heir *h, const char *name, const struct fail *why)
{
	struct parcel_wire w = { .deadline_ns = clock_now() + HEIR_NS };
	uint64_t frozen_ns;
	char path[108];
	int ret;

	h->lock = h->api_fd = h->listener = h->pidfd = -1;
	socket_path(name, path);
	w.fd = h->host->unix_connect(h->host, path);
	if (w.fd == -ENOENT || w.fd == -ECONNREFUSED)
		return -ENOENT;
	if (w.fd < 0)
		return fail_with(why, w.fd, "cannot reach the running instance at %s: %s", path, strerror(-w.fd));
	ret = take_lasting(h, &w, why);
	if (!ret)
		ret = take_moving(h, &w, &frozen_ns, why);
	/* One that lives has had enough of waiting; to begin anew would be to ask it again, for ever. */
	if (ret == -ECONNRESET && h->pidfd >= 0 && !is_dead(h->pidfd))
		ret = fail_with(why, -ECANCELED, "the running instance did not wait, and goes on");
	if (!ret)
		h->gap_ns = bridge_commit(h->bridge) - frozen_ns;
	if (h->pidfd >= 0)
		close(h->pidfd);
	close(w.fd);
	return ret;
}
