/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: bridge_open() builds from the bottom up: uplink
 * (program, sockets), ports, one data path per NIC queue, workers, and the
 * ports' sockets last, so that a front-end that connects finds everything in
 * place. bridge_close() goes the other way: sockets first (guests see a clean
 * end), then workers, then the NIC.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bridge/addresses.h"
#include "bridge/attach.h"
#include "bridge/bridge.h"
#include "bridge/bridge_parts.h"
#include "bridge/kept.h"
#include "bridge/links.h"
#include "bridge/portlink.h"
#include "bridge/ports.h"
#include "bridge/replug.h"
#include "xdp/fail.h"

static void on_learn(struct loop_watch *w, uint32_t events)
{
	struct bridge *b = w->arg;
	uint64_t v;

	(void)events;
	if (read(b->learn_fd, &v, sizeof(v)) == sizeof(v))
		addresses_learn(b);
}

static void on_link(void *arg, const struct uplink_link *l)
{
	struct bridge *b = arg;
	const struct vd_link *u = &uplink_maps(b->uplink)->links[0];
	const struct vd_link was = *u;
	bool news;

	if (!links_set_uplink(b, l))
		return;
	news = was.up != u->up || was.reason != u->reason || was.mtu != u->mtu || was.speed_mbps != u->speed_mbps ||
	       was.ifindex != u->ifindex || memcmp(was.name, u->name, sizeof(was.name));
	for (uint32_t i = 0; i < b->queues; i++)
		WRITE_ONCE(b->dp[i]->uplink_up, u->up);
	if (u->mtu != was.mtu)
		bridge_mtu_changed(b, u->mtu);
	if (news)
		log_info("uplink %s: %s (%s), mtu %u", u->name, u->up ? "up" : "down", links_reason_name(u->reason),
			 u->mtu);
	if (news)
		bridge_event(b, u->up ? "uplink_up" : "uplink_down", u->name, links_reason_name(u->reason), -1);
	portlink_update_all(b);
	bridge_wake(b);
}

static void check_queues(struct bridge *b)
{
	for (uint32_t i = 0; i < b->queues; i++) {
		int e = READ_ONCE(b->dp[i]->nicq->stats.last_errno);

		if (e == b->dp[i]->reported_errno)
			continue;
		b->dp[i]->reported_errno = e;
		if (e && log_at(LOG_LEVEL_WARN, &b->queue_complaints, "uplink %s: sending on NIC queue %u: %s",
				uplink_link(b->uplink)->name, i, strerror(e)))
			bridge_event(b, "queue_error", uplink_link(b->uplink)->name, strerror(e), (int)i);
	}
}

static void on_tick(struct loop_timer *t)
{
	struct bridge *b = t->arg;
	uint64_t now = clock_now();

	links_heartbeat(b, now);
	uplink_fdb_changed(b->uplink);	/* bpftool may have written to the map */
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			attach_check(b->port[i], now);
	addresses_host(b);
	bridge_ports_tick(b);
	addresses_age(b, now);
	check_queues(b);
	replug_tick(b);
	/* Frames that were lost while a worker slept woke nobody, and use up the port's share. */
	for (uint32_t i = 0; i < b->queues; i++)
		if (datapath_missing(b->dp[i]))
			worker_wake(bridge_worker_of(b, i));
	loop_timer_set(b->loop, &b->tick, now + BRIDGE_TICK_NS);
}

/* Without it guests and host do not reach each other, and everything else works. */
static int open_host_port(struct bridge *b)
{
	struct hostport_config c;
	char text[256] = "";
	const struct fail why = { text, sizeof(text) };
	int ret;

	if (!b->cfg.host_port)
		return 0;
	uplink_hostport(b->uplink, &c);
	ret = hostport_open(b->host, &c, &b->host_port, &why);
	if (ret) {
		log_warn("the host and the guests will not reach each other: %s", text);
		return 0;
	}
	return bridge_join_host(b);
}

void bridge_begin(struct bridge *b)
{
	uplink_on_link(b->uplink, on_link, b);
	on_link(b, uplink_link(b->uplink));	/* the process before may not have seen it change */
	replug_begin(b);
	b->tick = (struct loop_timer){ .fn = on_tick, .arg = b };
	on_tick(&b->tick);
}

static int start(struct bridge *b, const struct fail *why)
{
	int ret;

	ret = uplink_open(b->host, b->loop, &b->cfg.uplink, &b->uplink, why->text, why->len);
	if (ret)
		return ret;
	ret = mcast_open(b->host, uplink_link(b->uplink)->ifindex, uplink_info(b->uplink)->max_frame, &b->mcast);
	if (ret)
		return fail_with(why, ret, "cannot receive broadcasts of %s: %s", uplink_link(b->uplink)->name,
			    strerror(-ret));
	ret = bridge_make_datapaths(b, uplink_queues(b->uplink), uplink_maps(b->uplink)->flows);
	if (!ret) {
		bridge_set_room(b, uplink_link(b->uplink)->mtu);
		links_heartbeat(b, clock_now());
		ret = bridge_make_workers(b);
	}
	if (!ret)
		ret = bridge_tell_queues(b);
	if (!ret)
		ret = open_host_port(b);
	if (!ret)
		ret = bridge_start_workers(b);
	if (ret)
		return fail_with(why, ret, "cannot set up the workers: %s", strerror(-ret));
	links_set_uplink(b, uplink_link(b->uplink));
	for (uint32_t i = 0; i < b->queues; i++)
		WRITE_ONCE(b->dp[i]->uplink_up, uplink_maps(b->uplink)->links[0].up);
	addresses_host(b);
	bridge_open_kept(b);
	ret = bridge_ports_open(b, why->text, why->len);
	if (ret)
		return ret;
	kept_confirm(b->kept);
	bridge_begin(b);
	return 0;
}

int bridge_create(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		  void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct bridge **out,
		  const struct fail *why)
{
	struct bridge *b = calloc(1, sizeof(*b));

	if (!b)
		return fail_with(why, -ENOMEM, "out of memory");
	b->host = host;
	b->loop = loop;
	b->cfg = *cfg;
	b->cfg.uplink.cpus = cfg->cpus;
	b->cfg.uplink.ncpus = cfg->cpus ? cfg->ncpus : 0;
	b->event = event;
	b->event_arg = event_arg;
	b->started_ns = clock_now();
	*out = b;
	b->learn_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->learn_fd < 0)
		return fail_with(why, -errno, "eventfd: %s", strerror(errno));
	b->learn_watch = (struct loop_watch){ .fd = b->learn_fd, .fn = on_learn, .arg = b };
	return loop_add(b->loop, &b->learn_watch, EPOLLIN);
}

int bridge_open(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct bridge **out,
		char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct bridge *b = NULL;
	int ret = bridge_create(host, loop, cfg, event, event_arg, &b, &why);

	if (!ret)
		ret = start(b, &why);
	if (ret)
		bridge_close(b);
	else
		*out = b;
	return ret;
}

/* Has a front-end packed rings that run? If it is QEMU, it does not know where they stand. */
static bool runs_packed(struct port *p)
{
	for (unsigned i = 0; i < 2 * p->pairs; i++) {
		const struct virtq *vq = port_vq(p, i);

		if (vq->started && vq->packed && vq->kept)
			return true;
	}
	return false;
}

void bridge_close(struct bridge *b)
{
	bool keep = false;

	if (!b)
		return;
	loop_timer_cancel(b->loop, &b->tick);
	for (uint32_t i = 0; i < b->nports; i++) {
		struct port *p = b->port[i];

		if (!p)
			continue;
		if (runs_packed(p)) {
			p->kept_slot = -1;	/* what it says stays */
			keep = true;
		}
		attach_close(p);
	}
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_stop(&b->worker[i]);
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_fini(&b->worker[i]);
	free(b->worker);
	for (uint32_t i = 0; b->dp && i < b->queues; i++)
		datapath_destroy(b->dp[i]);
	free(b->dp);
	bridge_ports_close(b);
	kept_close(b->kept, !keep);
	hostport_close(b->host_port);
	mcast_close(b->mcast);
	uplink_close(b->uplink);
	loop_del(b->loop, &b->learn_watch);
	if (b->learn_fd >= 0)
		close(b->learn_fd);
	free(b);
}
