/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One viaduct hands a running bridge to the next, over a UNIX socket of its
 * instance: /run/viaduct/NAME.handover, which only root may open.
 *
 *      new process                      running process
 *      HELLO version      ---------->
 *                         <----------   LASTING            its workers go on
 *      PREPARED           ---------->
 *                                       freeze: its workers stand still
 *                         <----------   MOVING
 *      READY              ---------->                      verified: it could go on
 *                         <----------   COMMIT, one byte, and it ends
 *      workers start
 *
 * At any time there is one owner. Before COMMIT only the running process may
 * touch a ring. If the new one refuses, dies, or is not ready in time, the running
 * one says ABORT and goes on. When the running one dies while it stands still, which
 * shows as an end without ABORT, the new one has all it needs, and goes on. A COMMIT that
 * was sent ends the running process, whether or not it was received.
 *
 * Control thread only.
 */
#ifndef VIADUCT_CTL_TAKEOVER_H
#define VIADUCT_CTL_TAKEOVER_H

#include "base/host_ops.h"
#include "base/loop.h"
#include "bridge/state.h"
#include "ctl/api.h"
#include "xdp/fail.h"

#define TAKEOVER_VERSION 1	/* of everything in the parcels: other numbers do not understand each other */

/* What there is to hand over. */
struct takeover_estate {
	struct bridge *bridge;
	struct api *api;
	int lock;		/* instance_lock() */
};

struct takeover;

/**
 * takeover_listen() - be ready to hand over
 * @name: instance name
 * @fd: the listening socket, when it was taken over itself; -1: make one
 * @handed_over: called when everything is another process': does not return (closes or removes nothing)
 *
 * Return: 0 or -errno.
 */
int takeover_listen(struct loop *loop, const struct host_ops *host, const char *name, int fd,
		    const struct takeover_estate *estate, void (*handed_over)(void *arg), void *arg,
		    struct takeover **out);
/* Closes and removes the socket. NULL is fine. */
void takeover_close(struct takeover *t);

/* What a successor gets. */
struct takeover_heir {
	const struct host_ops *host;
	struct loop *loop;
	const struct bridge_config *cfg;
	void (*event)(void *arg, const struct bridge_event *ev);
	void *event_arg;
	/* set on success */
	struct bridge *bridge;
	int lock, api_fd, listener;
	int pidfd;		/* of the other process; for takeover_run() itself */
	uint64_t gap_ns;	/* for so long nobody moved a packet */
};

/**
 * takeover_run() - take over the running instance of this name
 *
 * Return: 0: it is ours, and runs. -ENOENT: there is none; start as usual. -ECONNRESET: it died before anything could be
 * taken over: start anew, in a new process image, for its fds are still open here. Else -errno with a reason: it goes on, and
 * this process is to end without closing anything in order.
 */
int takeover_run(struct takeover_heir *h, const char *name, const struct fail *why);

#endif
