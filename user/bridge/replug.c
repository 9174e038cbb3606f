/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: ports, sessions and virtqueues know nothing of the
 * device. Data paths do: each has a NIC queue of the uplink's, whose sockets are
 * exchanged while the workers are parked. What was on its way to a guest in the
 * old device's buffers is lost then, and counted.
 *
 * Data paths are never fewer than before, for their counters belong to ports.
 * Those beyond the device's NIC queues have nothing to do: no tx virtqueue has
 * its home there (bridge->homes). More NIC queues get more data paths, and more
 * workers where there are CPUs for them.
 *
 * Behind that, with the workers at work again, comes what only waits for the
 * new device: a frame for each guest that tells the network where it is now, the
 * NIC's rules, broadcasts, and the host's port.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bridge/addresses.h"
#include "bridge/announce.h"
#include "bridge/bridge_parts.h"
#include "bridge/park.h"
#include "bridge/replug.h"

static void pause_workers(void *arg)
{
	struct bridge *b = arg;

	bridge_park(b);
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_forget_sockets(&b->worker[i]);
	for (uint32_t i = 0; i < b->queues; i++)
		datapath_unplug(b->dp[i]);
}

/* Every kick fd of a tx virtqueue, out of its worker's sight, or back into that of the worker it has now. */
static void watch_kicks(struct bridge *b, bool watch)
{
	for (uint32_t i = 0; i < b->nports; i++) {
		struct port *p = b->port[i];

		for (uint32_t pair = 0; p && pair < p->pairs; pair++) {
			const struct virtq *vq = port_txq(p, pair);
			int ret;

			if (!vq->started || vq->kickfd < 0)
				continue;
			ret = worker_kickfd(bridge_worker_of(b, pair % b->homes), watch ? bridge_tx(b, p, pair) : NULL,
					    vq->kickfd, watch);
			if (ret)
				log_at(LOG_LEVEL_ERROR, &p->complaints, "port %s: kicks of pair %u cannot be watched: %s",
				       p->cfg.name, pair, strerror(-ret));
		}
	}
}

/* One more data path, with all ports, none of whose virtqueues has its home there yet. */
static int add_datapath(struct bridge *b, uint32_t homes)
{
	struct datapath **more = reallocarray(b->dp, b->queues + 1, sizeof(*more)), *dp;
	int ret;

	if (!more)
		return -ENOMEM;
	b->dp = more;
	ret = bridge_make_datapath(b, b->queues, homes, &uplink_maps(b->uplink)->flows[(size_t)b->queues * VD_FLOW_ROW], &dp);
	for (uint32_t i = 0; i < b->nports && !ret; i++)
		if (b->port[i])
			ret = datapath_add_port(dp, b->port[i], homes);
	if (ret) {
		datapath_destroy(dp);
		return ret;
	}
	dp->room = b->dp[0]->room;
	dp->uplink_up = b->dp[0]->uplink_up;
	dp->unknown_port = b->dp[0]->unknown_port;
	dp->host_fd = b->dp[0]->host_fd;
	b->dp[b->queues++] = dp;
	return 0;
}

/* As many as there are CPUs for, and queues to serve. Those that are new are to be started. */
static void add_workers(struct bridge *b, uint32_t homes)
{
	const uint32_t most = b->cfg.cpus ? b->cfg.ncpus : 1;

	while (b->nworkers < most && b->nworkers < homes) {
		int ret = bridge_make_worker(b, b->nworkers);

		if (ret) {
			log_error("no worker for CPU %d: %s", b->cfg.cpus[b->nworkers], strerror(-ret));
			return;
		}
		b->nworkers++;
	}
}

static int share_queues(struct bridge *b)
{
	int ret = 0;

	for (uint32_t i = 0; i < b->nworkers; i++)
		b->worker[i].ndp = 0;
	for (uint32_t i = 0; i < b->queues; i++)
		ret = worker_add(bridge_worker_of(b, i), b->dp[i]) ? -ENOSPC : ret;
	return ret;
}

/* The device has another number of NIC queues than the one before. Workers are parked. */
static void move_homes(struct bridge *b, uint32_t homes)
{
	int ret = 0;

	watch_kicks(b, false);
	while (b->queues < homes && !ret)
		ret = add_datapath(b, homes);
	if (ret) {
		log_error("there is not enough memory for %u NIC queues: %u are served", homes, b->queues);
		homes = b->queues;
	}
	add_workers(b, homes);
	if (share_queues(b))
		log_error("%u NIC queues are more than %u workers can serve: give --cpus", b->queues, b->nworkers);
	for (uint32_t i = 0; i < b->queues; i++)
		for (uint32_t k = 0; k < b->nports; k++)
			if (b->port[k])
				datapath_rehome(b->dp[i], b->port[k], homes);
	b->homes = homes;
	watch_kicks(b, true);
}

/* Broadcasts of the new device; until then there are none. */
static void follow_mcast(struct bridge *b)
{
	struct mcast *past = b->mcast, *next;
	int ret = mcast_open(b->host, uplink_link(b->uplink)->ifindex, uplink_info(b->uplink)->max_frame, &next);

	b->mcast_due = ret;
	if (ret) {
		log_at(LOG_LEVEL_WARN, &b->replug_complaints, "cannot receive broadcasts of %s, and tries again: %s",
		       uplink_link(b->uplink)->name, strerror(-ret));
		return;
	}
	bridge_park(b);
	mcast_continue(next, past);
	ret = worker_change_mcast(&b->worker[0], next);
	b->mcast = next;
	bridge_unpark(b);
	if (ret)	/* they wait until the worker has something else to do */
		log_debug("broadcasts of %s do not wake their worker: %s", uplink_link(b->uplink)->name, strerror(-ret));
	mcast_close(past);
}

static void follow_host(struct bridge *b)
{
	int ret;

	if (!b->host_port)
		return;
	ret = hostport_move(b->host_port, uplink_link(b->uplink)->ifindex);
	b->host_due = ret;
	if (ret)
		log_at(LOG_LEVEL_WARN, &b->replug_complaints, "the host and the guests do not reach each other by %s, tried again: %s",
		       uplink_link(b->uplink)->name, strerror(-ret));
}

static void changed(void *arg, bool device)
{
	struct bridge *b = arg;
	const uint32_t before = b->nworkers;

	if (device && uplink_queues(b->uplink) != b->homes)
		move_homes(b, uplink_queues(b->uplink));
	bridge_set_room(b, uplink_link(b->uplink)->mtu);
	bridge_unpark(b);
	for (uint32_t i = before; i < b->nworkers; i++)
		if (worker_start(&b->worker[i]))
			log_error("worker %u cannot be started: NIC queues %u, %u, ... are not served: restart viaduct", i, i,
				  i + b->nworkers);
	bridge_wake(b);
}

static void arrived(void *arg)
{
	struct bridge *b = arg;

	announce_all(b);	/* from then on the network sends here */
	addresses_host(b);
	addresses_steer(b);
	bridge_mtu_changed(b, uplink_link(b->uplink)->mtu);
	bridge_tell_queues(b);
	follow_mcast(b);
	follow_host(b);
}

void replug_tick(struct bridge *b)
{
	const bool device = uplink_link(b->uplink)->ifindex;

	if (device && b->mcast_due)
		follow_mcast(b);
	if (device && b->host_due)
		follow_host(b);
}

static bool needs_tags(void *arg)
{
	const struct bridge *b = arg;

	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i] && !b->port[i]->policy.all_vlans)
			return true;
	return false;
}

static void on_event(void *arg, const char *event, const char *detail)
{
	struct bridge *b = arg;

	bridge_event(b, event, uplink_link(b->uplink)->name, detail, -1);
}

static const struct uplink_user user = {
	.pause = pause_workers,
	.changed = changed,
	.arrived = arrived,
	.needs_tags = needs_tags,
	.event = on_event,
};

void replug_begin(struct bridge *b)
{
	uplink_set_user(b->uplink, &user, b);
}
