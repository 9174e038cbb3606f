/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: poll everything; when nothing came for as long as the
 * wait mode allows, arm every active ring, look once more, and sleep in epoll
 * on the AF_XDP sockets, the kick fds and the wake-up fd. A ring that is armed
 * is not polled again until its kick comes, so an idle ring costs nothing.
 *
 * A socket that epoll watches makes the kernel take locks and look for sleepers
 * at every frame it delivers or has sent, a tenth of the whole cost per frame. So
 * a worker that has not slept for some time stops watching its sockets, and
 * watches them again before it sleeps; a busy one never does.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/futex.h>

#include "base/clock.h"
#include "bridge/forward.h"
#include "bridge/local.h"
#include "bridge/worker.h"

#define SPIN_NS (50 * NSEC_PER_USEC)	/* adaptive: how long to poll on after the last packet */
#define MAX_EVENTS 64
#define MAX_SOCKET_ERRORS 64		/* then the sockets are not watched until the link changes */
#define PEEK_NS (50 * NSEC_PER_USEC)	/* busy worker: how often to look for kicks of sleeping rings, and for news */
#define UNWATCH_LOOPS 256		/* passes with work since the last sleep, until sockets are not watched */
#define SLEEP_WAITING_MS 1		/* something waits that nobody will announce */
#define MCAST_BATCH 16
#define MCAST_PER_SEC 20000u		/* broadcast and multicast from the wire, frames a second */

/* epoll data: NULL-like markers for what is not a dp_tx. */
static char mark_wake, mark_socket, mark_host;

int worker_init(struct worker *w, uint32_t index, int cpu, enum wait_mode wait)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &mark_wake };

	memset(w, 0, sizeof(*w));
	w->index = index;
	w->cpu = cpu;
	w->wait = wait;
	w->wakefd = -1;
	w->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epfd < 0)
		return -errno;
	w->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wakefd < 0)
		return -errno;
	return epoll_ctl(w->epfd, EPOLL_CTL_ADD, w->wakefd, &ev) < 0 ? -errno : 0;
}

void worker_fini(struct worker *w)
{
	if (w->wakefd >= 0)
		close(w->wakefd);
	if (w->epfd >= 0)
		close(w->epfd);
	w->wakefd = w->epfd = -1;
	from_host_destroy(w->host);
	w->host = NULL;
}

static int watch_socket(struct worker *w, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &mark_socket };

	if (fd < 0)
		return 0;
	return epoll_ctl(w->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 && errno != EEXIST ? -errno : 0;
}

static void unwatch_sockets(struct worker *w)
{
	for (uint32_t i = 0; i < w->ndp; i++)
		if (w->dp[i]->nicq->fd >= 0)
			epoll_ctl(w->epfd, EPOLL_CTL_DEL, w->dp[i]->nicq->fd, NULL);
	w->watching = false;
}

/*
 * A device that goes down or away leaves an error on its sockets, which makes epoll return at once until
 * somebody takes it. Should that not help, the sockets are left out until the control thread wakes us:
 * it does so at every change of the link.
 */
static void take_errors(struct worker *w)
{
	socklen_t len = sizeof(int);
	int err;

	for (uint32_t i = 0; i < w->ndp; i++)
		getsockopt(w->dp[i]->nicq->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (w->mcast)
		getsockopt(mcast_fd(w->mcast), SOL_SOCKET, SO_ERROR, &err, &len);
	if (++w->socket_errors < MAX_SOCKET_ERRORS)
		return;
	unwatch_sockets(w);
	if (w->mcast)
		epoll_ctl(w->epfd, EPOLL_CTL_DEL, mcast_fd(w->mcast), NULL);
}

/* True when all of them are watched. */
static bool watch_sockets(struct worker *w)
{
	bool all = true;

	if (w->socket_errors >= MAX_SOCKET_ERRORS)
		return true;	/* none is worth watching */
	if (w->mcast && watch_socket(w, mcast_fd(w->mcast)))
		all = false;

	for (uint32_t i = 0; i < w->ndp; i++)
		if (watch_socket(w, w->dp[i]->nicq->fd))
			all = false;
	w->watching = all;
	return all;
}

int worker_add(struct worker *w, struct datapath *dp)
{
	if (w->ndp == WORKER_QUEUES)
		return -ENOSPC;
	w->dp[w->ndp++] = dp;
	return 0;
}

int worker_add_mcast(struct worker *w, struct mcast *m)
{
	w->mcast = m;
	return watch_socket(w, mcast_fd(m));
}

int worker_change_mcast(struct worker *w, struct mcast *m)
{
	if (w->mcast)
		epoll_ctl(w->epfd, EPOLL_CTL_DEL, mcast_fd(w->mcast), NULL);
	return worker_add_mcast(w, m);
}

void worker_forget_sockets(struct worker *w)
{
	unwatch_sockets(w);
	w->socket_errors = 0;
}

int worker_add_host(struct worker *w, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = &mark_host };

	w->host = from_host_create(fd);
	if (!w->host)
		return -ENOMEM;
	return epoll_ctl(w->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int worker_kickfd(struct worker *w, struct dp_tx *tx, int fd, bool add)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = tx };

	if (epoll_ctl(w->epfd, add ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &ev) < 0)
		return -errno;
	return 0;
}

void worker_wake(struct worker *w)
{
	uint64_t one = 1;

	/* Our own non-blocking eventfd: when it is full the wake-up is already there. */
	if (write(w->wakefd, &one, sizeof(one)) < 0)
		return;
}

bool worker_post(struct worker *w, const uint8_t *frame, uint32_t len, uint32_t from)
{
	struct worker_post *m = &w->post[w->post_head % WORKER_POSTS];

	if (len > sizeof(m->frame) || w->post_head - load_acquire(&w->post_tail) >= WORKER_POSTS)
		return false;
	m->from = from;
	m->len = len;
	memcpy(m->frame, frame, len);
	store_release(&w->post_head, w->post_head + 1);
	worker_wake(w);
	return true;
}

static unsigned take_posts(struct worker *w, uint64_t now_ns)
{
	unsigned n = 0;

	for (; w->post_tail != load_acquire(&w->post_head); n++) {
		struct worker_post *m = &w->post[w->post_tail % WORKER_POSTS];
		struct iovec piece = { m->frame, m->len };
		const struct virtq_pkt pkt = { .chain = UINT16_MAX, .npieces = 1, .len = m->len, .piece = &piece };
		struct dp_fwd f;

		if (forward_peek(&pkt, &f))
			local_to_all(w->dp[0], &pkt, &f, m->from, false, now_ns);
		store_release(&w->post_tail, w->post_tail + 1);
	}
	return n;
}

/* A token bucket: a storm of broadcasts must not cost the unicast of everybody. */
static bool mcast_token(struct worker *w, uint64_t now_ns)
{
	uint64_t since = now_ns - w->mcast_tokens_ns;
	uint64_t gained = (since < NSEC_PER_SEC ? since : NSEC_PER_SEC) * MCAST_PER_SEC / NSEC_PER_SEC;

	if (gained) {
		w->mcast_tokens_ns = now_ns;
		w->mcast_tokens = gained + w->mcast_tokens > MCAST_PER_SEC / 10 ?
					  MCAST_PER_SEC / 10 :
					  w->mcast_tokens + (uint32_t)gained;
	}
	if (!w->mcast_tokens)
		return false;
	w->mcast_tokens--;
	return true;
}

static unsigned take_mcast(struct worker *w, uint64_t now_ns)
{
	unsigned n = 0;

	for (; n < MCAST_BATCH && mcast_pending(w->mcast); n++) {
		int len = mcast_recv(w->mcast, w->mcast_buf, sizeof(w->mcast_buf));

		if (len <= 0)
			continue;
		if (!mcast_token(w, now_ns))
			w->stats.mcast_limited++;
		else if (local_from_wire(w->dp[0], w->mcast_buf, (uint32_t)len, now_ns))
			w->stats.mcast_delivered++;
	}
	return n;
}

static struct dp_result pass(struct worker *w, uint64_t now_ns)
{
	struct dp_result res = { 0 };

	for (uint32_t i = 0; i < w->ndp; i++)
		datapath_rx(w->dp[i], now_ns, &res);
	for (uint32_t i = 0; i < w->ndp; i++)
		datapath_tx(w->dp[i], now_ns, &res);
	if (w->mcast && mcast_pending(w->mcast))
		res.work += take_mcast(w, now_ns);
	if (unlikely(w->post_tail != READ_ONCE(w->post_head)))
		res.work += take_posts(w, now_ns);
	if (w->host)
		from_host(w->host, w->dp[0], now_ns, &res);
	w->stats.loops++;
	return res;
}

/* A kick. */
static void wake_ring(struct dp_tx *tx)
{
	WRITE_ONCE(tx->armed, 0);
	datapath_activate(tx->dp, tx);
}

static void handle_events(struct worker *w, const struct epoll_event *ev, int n)
{
	uint64_t v;

	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr == &mark_socket) {
			if (ev[i].events & (EPOLLERR | EPOLLHUP))
				take_errors(w);
			continue;
		}
		if (ev[i].data.ptr == &mark_wake) {
			w->socket_errors = 0;
			w->watching = false;
			if (read(w->wakefd, &v, sizeof(v)) < 0)
				continue;
			for (uint32_t d = 0; d < w->ndp; d++)
				datapath_activate_all(w->dp[d]);
			continue;
		}
		if (ev[i].data.ptr == &mark_host) {
			from_host_ready(w->host);
			continue;
		}
		wake_ring(ev[i].data.ptr);
	}
}

static void wait_events(struct worker *w, int timeout_ms)
{
	struct epoll_event ev[MAX_EVENTS];
	int n = epoll_wait(w->epfd, ev, MAX_EVENTS, timeout_ms);

	if (n > 0)
		handle_events(w, ev, n);
}

/* Sleeps unless there is work. */
static void doze(struct worker *w, const struct dp_result *res)
{
	int timeout = res->waiting || res->polled ? SLEEP_WAITING_MS : -1;

	w->busy_loops = 0;
	if (!w->watching && !watch_sockets(w))
		timeout = SLEEP_WAITING_MS;
	for (uint32_t i = 0; i < w->ndp; i++)
		if (datapath_arm(w->dp[i]))
			timeout = 0;
		else if (timeout < 0 && datapath_missing(w->dp[i]))
			timeout = DP_RECONCILE_NS / NSEC_PER_MSEC;
	if (timeout)
		w->stats.sleeps++;
	wait_events(w, timeout);
}

static long futex(uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

/* Between two passes: nothing of a ring or a port is in our hands. */
static void stay_parked(struct worker *w, uint32_t pause)
{
	store_release(&w->parked, pause);
	futex(&w->parked, FUTEX_WAKE, 1, NULL);
	while (load_acquire(&w->pause) == pause)
		futex(&w->pause, FUTEX_WAIT, pause, NULL);
}

void worker_pause(struct worker *w)
{
	if (!w->running)
		return;
	store_release(&w->pause, w->pause + 1);
	worker_wake(w);
}

bool worker_parked(struct worker *w, uint64_t ns)
{
	const struct timespec t = { .tv_sec = (time_t)(ns / NSEC_PER_SEC), .tv_nsec = (long)(ns % NSEC_PER_SEC) };
	uint32_t parked = load_acquire(&w->parked);

	if (!w->running || parked == w->pause)
		return true;
	futex(&w->parked, FUTEX_WAIT, parked, &t);
	return load_acquire(&w->parked) == w->pause;
}

void worker_unpark(struct worker *w)
{
	if (!w->running)
		return;
	store_release(&w->pause, w->pause + 1);
	futex(&w->pause, FUTEX_WAKE, 1, NULL);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t spin = 0;

	if (w->wait == WAIT_ADAPTIVE)
		spin = SPIN_NS;
	while (!READ_ONCE(w->stop)) {
		uint64_t now = clock_now();
		uint32_t pause = READ_ONCE(w->pause);
		struct dp_result res;

		if (unlikely(pause & 1))
			stay_parked(w, pause);
		res = pass(w, now);
		if (now - w->peek_ns >= PEEK_NS && (res.work || res.again || w->wait == WAIT_BUSY)) {
			w->peek_ns = now;
			wait_events(w, 0);
		}
		if (res.work) {
			w->last_work_ns = now;
			if (w->watching && ++w->busy_loops >= UNWATCH_LOOPS)
				unwatch_sockets(w);
		} else if (w->wait == WAIT_BUSY) {
			cpu_relax();
		} else if (!res.again && now - w->last_work_ns >= (res.waiting ? SPIN_NS : spin)) {
			/* What waits for a lock or for the NIC is mostly there in a moment, in any mode. */
			doze(w, &res);
		}
	}
	return NULL;
}

int worker_start(struct worker *w)
{
	pthread_attr_t attr;
	cpu_set_t set;
	char name[16];
	int ret;

	pthread_attr_init(&attr);
	if (w->cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET((unsigned)w->cpu, &set);
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	ret = pthread_create(&w->thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	if (ret)
		return -ret;
	w->running = true;
	snprintf(name, sizeof(name), "worker-%u", w->index);
	pthread_setname_np(w->thread, name);
	return 0;
}

void worker_stop(struct worker *w)
{
	if (!w->running)
		return;
	WRITE_ONCE(w->stop, 1);
	worker_wake(w);
	pthread_join(w->thread, NULL);
	w->running = false;
}
