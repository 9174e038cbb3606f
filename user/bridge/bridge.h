/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge: one uplink, its workers, its ports, and the control thread's work
 * between them. Everything here belongs to the control thread; what workers
 * see are the data paths, the virtqs and the fdb inside it.
 */
#ifndef VIADUCT_BRIDGE_BRIDGE_H
#define VIADUCT_BRIDGE_BRIDGE_H

#include "base/host_ops.h"
#include "base/loop.h"
#include "base/wait.h"
#include "bridge/datapath.h"
#include "bridge/fdb.h"
#include "bridge/port.h"
#include "bridge/worker.h"
#include "xdp/uplink.h"

#define BRIDGE_WORKERS 64
#define BRIDGE_TICK_NS 100000000ull	/* heartbeat and health check */

struct bridge_config {
	struct uplink_config uplink;
	enum wait_mode wait;
	const int *cpus;		/* one worker per entry; NULL: one, unpinned */
	uint32_t ncpus;
	const struct port_config *ports;
	uint32_t nports;
};

/* Something a person or script wants to know of, as it happens. */
struct bridge_event {
	const char *event;	/* port_connected, port_lost, port_up, port_down, uplink_up, ... */
	const char *subject;	/* port or interface name */
	const char *detail;	/* reason, or "" */
	int number;		/* queue or ring, -1 = none */
};

struct bridge {
	const struct host_ops *host;
	struct loop *loop;
	struct bridge_config cfg;
	struct uplink *uplink;
	struct mcast *mcast;
	struct fdb fdb;
	struct port *port[VD_MAX_PORTS];
	uint32_t nports;
	struct datapath **dp;		/* one per NIC queue */
	uint32_t queues;
	struct worker *worker;
	uint32_t nworkers;
	int learn_fd;
	struct loop_watch learn_watch;
	struct loop_timer tick;
	uint32_t share;			/* frames a port may have in flight per NIC queue */
	uint64_t started_ns;
	struct log_limit queue_complaints;
	void (*event)(void *arg, const struct bridge_event *ev);
	void *event_arg;
};

/**
 * bridge_open() - uplink, workers and ports; packets flow when it returns
 * @event, @event_arg: told of every bridge_event, from the loop
 * @err, @errlen: one line that names the mend when it fails
 *
 * Control thread, SIGBUS handler installed, signals blocked. Return: 0 or -errno.
 */
int bridge_open(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct bridge **out,
		char *err, size_t errlen);
/* Stops and removes everything, in the order that loses least. NULL is fine. */
void bridge_close(struct bridge *b);

/* For the parts of the bridge among themselves. */
void bridge_event(struct bridge *b, const char *event, const char *subject, const char *detail, int number);
struct worker *bridge_worker_of(struct bridge *b, uint32_t queue);
struct dp_tx *bridge_tx(struct bridge *b, struct port *p, unsigned pair);
void bridge_wake(struct bridge *b);

#endif
