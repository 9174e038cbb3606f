/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control thread's event loop: file descriptors and timers over one epoll
 * instance. Single-threaded; a callback may add, modify or remove any watch or
 * timer, its own included.
 */
#ifndef VIADUCT_BASE_LOOP_H
#define VIADUCT_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Embedded in its owner; the owner closes the fd after loop_del(). */
struct loop_watch {
	int fd;
	uint32_t events;	/* EPOLLIN, EPOLLOUT, EPOLLRDHUP, ... as registered; 0 = not registered */
	void (*fn)(struct loop_watch *w, uint32_t events);
	void *arg;
};

struct loop_timer {
	uint64_t due_ns;	/* CLOCK_MONOTONIC; 0 = not armed */
	void (*fn)(struct loop_timer *t);
	void *arg;
	struct loop_timer *next;	/* private */
};

struct loop *loop_create(void);
void loop_destroy(struct loop *loop);

/**
 * loop_add() - watch @w->fd for @events (epoll bits); @w stays in place until loop_del()
 * Return: 0 or -errno.
 */
int loop_add(struct loop *loop, struct loop_watch *w, uint32_t events);
int loop_mod(struct loop *loop, struct loop_watch *w, uint32_t events);
/* Safe on a watch that is not registered; pending events of @w are forgotten. */
void loop_del(struct loop *loop, struct loop_watch *w);

/* Arms (or re-arms) a one-shot timer at an absolute time. */
void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t due_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);

/**
 * loop_once() - wait for and run what is due
 * @max_wait_ms: longest wait; -1 = until something happens
 * Return: number of callbacks run, or -errno.
 */
int loop_once(struct loop *loop, int max_wait_ms);

#endif
