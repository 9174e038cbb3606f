/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event loop. Callbacks may take away any watch while events for it have
 * been fetched but not yet delivered; loop_del() therefore strikes it from the
 * batch being delivered. Timers are a list sorted by due time: there are a few
 * per port, and nearly all are cancelled before they fire.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

#define BATCH 64

struct loop {
	int epfd;
	struct loop_timer *timers;
	uint64_t running_ns;	/* while timers run: the time they are run for, else 0 */
	int npending;		/* pending[i], i < npending, is being delivered */
	struct epoll_event pending[BATCH];
};

/**
 * loop_create() - make an empty loop
 * Return: the loop, or NULL with errno set.
 */
struct loop *loop_create(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epfd < 0) {
		int err = errno;

		free(loop);
		errno = err;
		return NULL;
	}
	return loop;
}

/**
 * loop_destroy() - free a loop; its watches and timers stay their owners'
 * @loop: may be NULL
 */
void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	close(loop->epfd);
	free(loop);
}

static int control(struct loop *loop, int op, struct loop_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (!events)
		return -EINVAL;
	if (epoll_ctl(loop->epfd, op, w->fd, &ev) < 0)
		return -errno;
	w->events = events;
	return 0;
}

int loop_add(struct loop *loop, struct loop_watch *w, uint32_t events)
{
	return control(loop, EPOLL_CTL_ADD, w, events);
}

/**
 * loop_mod() - watch for other events
 * Return: 0 or -errno (-EINVAL: no events, use loop_del()).
 */
int loop_mod(struct loop *loop, struct loop_watch *w, uint32_t events)
{
	return w->events == events ? 0 : control(loop, EPOLL_CTL_MOD, w, events);
}

void loop_del(struct loop *loop, struct loop_watch *w)
{
	if (!w->events)
		return;
	epoll_ctl(loop->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	w->events = 0;
	for (int i = 0; i < loop->npending; i++)
		if (loop->pending[i].data.ptr == w)
			loop->pending[i].data.ptr = NULL;
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *t)
{
	struct loop_timer **p;

	if (!t->due_ns)
		return;
	for (p = &loop->timers; *p; p = &(*p)->next) {
		if (*p != t)
			continue;
		*p = t->next;
		break;
	}
	t->next = NULL;
	t->due_ns = 0;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t due_ns)
{
	struct loop_timer **p;

	loop_timer_cancel(loop, t);
	/* Set from a timer's callback it waits for the next round, or the round might never end. */
	t->due_ns = due_ns > loop->running_ns ? due_ns : loop->running_ns + 1;
	for (p = &loop->timers; *p && (*p)->due_ns <= t->due_ns; p = &(*p)->next)
		;
	t->next = *p;
	*p = t;
}

/* Milliseconds to wait: rounded up, so that a timer is due when we come back. */
static int wait_ms(const struct loop *loop, int max_wait_ms)
{
	uint64_t now, ms;

	if (!loop->timers)
		return max_wait_ms;
	now = clock_now();
	if (loop->timers->due_ns <= now)
		return 0;
	ms = (loop->timers->due_ns - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	if (max_wait_ms >= 0 && ms > (uint64_t)max_wait_ms)
		return max_wait_ms;
	return ms > 3600000 ? 3600000 : (int)ms;
}

static int run_watches(struct loop *loop)
{
	int ran = 0;

	for (int i = 0; i < loop->npending; i++) {
		struct loop_watch *w = loop->pending[i].data.ptr;
		uint32_t events;

		if (!w)
			continue;
		/* An earlier callback of this batch may have asked for less by now. */
		events = loop->pending[i].events & (w->events | EPOLLERR | EPOLLHUP);
		if (!events)
			continue;
		w->fn(w, events);
		ran++;
	}
	loop->npending = 0;
	return ran;
}

static int run_timers(struct loop *loop)
{
	struct loop_timer *t;
	int ran = 0;

	if (!loop->timers)
		return 0;
	loop->running_ns = clock_now();
	while ((t = loop->timers) && t->due_ns <= loop->running_ns) {
		loop->timers = t->next;
		t->next = NULL;
		t->due_ns = 0;
		t->fn(t);
		ran++;
	}
	loop->running_ns = 0;
	return ran;
}

int loop_once(struct loop *loop, int max_wait_ms)
{
	int n = epoll_wait(loop->epfd, loop->pending, BATCH, wait_ms(loop, max_wait_ms));

	if (n < 0 && errno != EINTR)
		return -errno;
	loop->npending = n < 0 ? 0 : n;
	n = run_watches(loop);
	return n + run_timers(loop);
}
