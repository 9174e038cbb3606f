/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of a bridge's control side share: its state, and the few
 * things each of them needs of the others. Everything here belongs to the
 * control thread; what workers see are the data paths, the virtqs and the fdb.
 */
#ifndef VIADUCT_BRIDGE_STATE_H
#define VIADUCT_BRIDGE_STATE_H

#include "base/host_ops.h"
#include "base/loop.h"
#include "base/wait.h"
#include "bridge/datapath.h"
#include "bridge/fdb.h"
#include "bridge/kept.h"
#include "bridge/port.h"
#include "bridge/worker.h"
#include "xdp/hostport.h"
#include "xdp/uplink.h"

#define FRAME_OVERHEAD 18	/* Ethernet header and one VLAN tag */
#define BRIDGE_TICK_NS 100000000ull	/* heartbeat and health check */

struct bridge_config {
	struct uplink_config uplink;
	enum wait_mode wait;
	const int *cpus;		/* one worker per entry; NULL: one, unpinned */
	uint32_t ncpus;
	const struct port_config *ports;
	uint32_t nports;
	char unknown_port[32];		/* --unknown guest: name of that port; "": the first one */
	bool host_port;			/* the host and the guests reach each other */
	uint32_t aging_s;		/* learned addresses are forgotten after so many seconds, 0 = never */
	const char *kept;		/* file for the positions of packed rings, to be had again after a kill; NULL: none */
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
	struct kept *kept;		/* NULL: positions of packed rings end with the process */
	struct fdb fdb;
	struct port *port[VD_MAX_PORTS];	/* by index; NULL: free */
	uint32_t nports;		/* highest index of a port, plus one */
	uint32_t next_port;		/* where to look for a free index: those given back last come last */
	struct datapath **dp;		/* one per NIC queue that there is, or was */
	uint32_t queues;		/* so many */
	uint32_t homes;			/* NIC queues that there are: tx virtqueue j has its home at j mod this */
	struct worker *worker;
	uint32_t nworkers;
	int learn_fd;
	struct loop_watch learn_watch;
	struct loop_timer tick;
	struct hostport *host_port;	/* NULL: there is none */
	bool mcast_due, host_due;	/* that of a new device could not be had yet */
	struct log_limit replug_complaints;
	uint64_t aged_ns;		/* when addresses were looked through for old ones */
	uint8_t host_mac[UPLINK_HOST_MACS][6];	/* as the workers know them */
	unsigned nhost;
	struct vd_flow *adopted_flows;	/* scratch, between bridge_adopt() and bridge_resume() */
	uint64_t moves;			/* addresses that went from one port to another */
	uint64_t started_ns;
	struct log_limit queue_complaints;
	void (*event)(void *arg, const struct bridge_event *ev);
	void *event_arg;
};

/* Tells whoever listens. @number: queue or ring, -1 = none. */
void bridge_event(struct bridge *b, const char *event, const char *subject, const char *detail, int number);
/* The worker that owns a NIC queue. */
struct worker *bridge_worker_of(struct bridge *b, uint32_t queue);
/* The data path's entry for a port's tx virtqueue. */
struct dp_tx *bridge_tx(struct bridge *b, struct port *p, unsigned pair);
/* Makes all workers look at their rings again. */
void bridge_wake(struct bridge *b);

#endif
