/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker: a thread that owns some NIC queues and their data paths. It never
 * allocates, logs or waits for the control thread. The control thread starts
 * and stops it, tells it of kick fds, and wakes it.
 */
#ifndef VIADUCT_BRIDGE_WORKER_H
#define VIADUCT_BRIDGE_WORKER_H

#include <pthread.h>
#include <stdint.h>

#include "base/wait.h"
#include "bridge/datapath.h"
#include "bridge/from_host.h"
#include "xdp/mcast.h"

#define WORKER_QUEUES 64	/* NIC queues one worker can own */

#define WORKER_POSTS 16
#define WORKER_POST_LEN 64

/* A frame of our own for all ports of its VLAN. */
struct worker_post {
	uint32_t from;		/* port that does not get it */
	uint32_t len;
	uint8_t frame[WORKER_POST_LEN];
};

struct worker_stats {
	uint64_t loops, sleeps;
	uint64_t mcast_delivered, mcast_limited;
};

struct worker {
	/* set up by control before the thread starts, constant afterwards */
	uint32_t index;
	int cpu;		/* -1: not pinned */
	enum wait_mode wait;
	struct datapath *dp[WORKER_QUEUES];
	uint32_t ndp;
	struct mcast *mcast;	/* NULL but for one worker */
	struct from_host *host;	/* NULL but for the same one */
	int epfd, wakefd;
	bool running;
	pthread_t thread;

	uint32_t stop;		/* control stores, worker reads */
	uint32_t pause;		/* control stores, one more each time: odd = stay out of everything */
	uint32_t parked;	/* worker stores: the last odd one, since when it does */
	uint32_t post_head;	/* control stores, worker reads */
	uint32_t post_tail;	/* the other way round */
	struct worker_post post[WORKER_POSTS];
	struct worker_stats stats;	/* worker writes, control reads */

	/* worker only */
	bool watching;		/* the sockets are in epfd */
	uint32_t socket_errors;	/* seen since the control thread last woke us */
	uint32_t busy_loops;	/* passes with work since the last sleep */
	uint64_t peek_ns;	/* when kicks were looked for */
	uint64_t last_work_ns;
	uint64_t mcast_tokens_ns;
	uint32_t mcast_tokens;
	uint8_t mcast_buf[65536];
};

/**
 * worker_init() - epoll instance and wake-up fd
 * Control thread. Return: 0 or -errno; worker_fini() in both cases.
 */
int worker_init(struct worker *w, uint32_t index, int cpu, enum wait_mode wait);
void worker_fini(struct worker *w);

/* Hands it a NIC queue's data path (before start). 0, -errno. */
int worker_add(struct worker *w, struct datapath *dp);
/* Gives it the uplink's broadcast and multicast (before start). */
int worker_add_mcast(struct worker *w, struct mcast *m);

/* Another one in its place, at rest: that is parked. Return: 0 or -errno, then its frames are found with the next event. */
int worker_change_mcast(struct worker *w, struct mcast *m);
/* The sockets of its NIC queues are about to be closed. At rest. */
void worker_forget_sockets(struct worker *w);

int worker_start(struct worker *w);
/* Stops and joins. Harmless when it does not run. */
void worker_stop(struct worker *w);

/**
 * worker_kickfd() - watch or forget the kick fd of a tx virtqueue
 * @fd: the eventfd; @add false: forget it (before it is closed)
 *
 * Control thread. Edge-triggered, so that the counter is never read: a front-end that makes its fd
 * blocking, semaphore-like or full cannot hold us. Return: 0 or -errno.
 */
int worker_kickfd(struct worker *w, struct dp_tx *tx, int fd, bool add);

/* Asks it to stay between two passes until worker_unpark(). Control thread. */
void worker_pause(struct worker *w);
/**
 * worker_parked() - waits until it is there
 * @ns: so long at most; a pass takes less, unless a peer holds the worker
 *
 * Control thread. Return: true when it is: ports, policies and data paths may be changed.
 */
bool worker_parked(struct worker *w, uint64_t ns);
void worker_unpark(struct worker *w);

/**
 * worker_add_host() - gives it the host's port (before start)
 * @fd: non-blocking, see user/xdp/hostport.h
 */
int worker_add_host(struct worker *w, int fd);

/**
 * worker_post() - a frame of our own for the ports
 * @frame, @len: as on the wire, at most WORKER_POST_LEN bytes
 * @from: index of the port that it is to seem to come from
 *
 * Control thread. Return: false when there are too many waiting.
 */
bool worker_post(struct worker *w, const uint8_t *frame, uint32_t len, uint32_t from);

/* Makes it look at its rings again (one was started, enabled, ...). Control thread. */
void worker_wake(struct worker *w);

#endif
