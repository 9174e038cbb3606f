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
#include "base/node.h"
#include "bridge/addresses.h"
#include "bridge/attach.h"
#include "bridge/bridge.h"
#include "bridge/links.h"
#include "xdp/fail.h"

static void on_learn(struct loop_watch *w, uint32_t events)
{
	struct bridge *b = w->arg;
	uint64_t v;

	(void)events;
	if (read(b->learn_fd, &v, sizeof(v)) == sizeof(v))
		addresses_learn(b);
}

/* Frames that a port may have in flight per NIC queue: those that are as long as the MTU fill half of the ring. */
static uint32_t share(const struct uplink_info *info, uint32_t mtu)
{
	uint32_t room = NICQ_MAX_FRAME(info->chunk), chunks = (mtu + FRAME_OVERHEAD + room - 1) / room;

	return info->ring_size / 2 / (info->sg ? chunks : 1);
}

static void mtu_changed(struct bridge *b, uint32_t mtu)
{
	b->share = share(uplink_info(b->uplink), mtu);
	for (uint32_t i = 0; i < b->nports; i++) {
		attach_mtu_changed(b->port[i]);
		attach_update(b->port[i]);
	}
}

static void on_link(void *arg, const struct uplink_link *l)
{
	struct bridge *b = arg;
	uint32_t mtu = uplink_maps(b->uplink)->links[0].mtu;
	const struct vd_link *u = &uplink_maps(b->uplink)->links[0];

	if (!links_set_uplink(b, l))
		return;
	for (uint32_t i = 0; i < b->queues; i++)
		WRITE_ONCE(b->dp[i]->uplink_up, u->up);
	if (u->mtu != mtu)
		mtu_changed(b, u->mtu);
	log_info("uplink %s: %s (%s), mtu %u", b->cfg.uplink.ifname, u->up ? "up" : "down",
		 links_reason_name(u->reason), u->mtu);
	bridge_event(b, u->up ? "uplink_up" : "uplink_down", b->cfg.uplink.ifname, links_reason_name(u->reason), -1);
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
				b->cfg.uplink.ifname, i, strerror(e)))
			bridge_event(b, "queue_error", b->cfg.uplink.ifname, strerror(e), (int)i);
	}
}

static void on_tick(struct loop_timer *t)
{
	struct bridge *b = t->arg;
	uint64_t now = clock_now();

	links_heartbeat(b, now);
	uplink_fdb_changed(b->uplink);	/* bpftool may have written to the map */
	for (uint32_t i = 0; i < b->nports; i++)
		attach_check(b->port[i], now);
	check_queues(b);
	/* Frames that were lost while a worker slept woke nobody, and use up the port's share. */
	for (uint32_t i = 0; i < b->queues; i++)
		if (datapath_missing(b->dp[i]))
			worker_wake(bridge_worker_of(b, i));
	loop_timer_set(b->loop, &b->tick, now + BRIDGE_TICK_NS);
}

static int make_ports(struct bridge *b)
{
	for (uint32_t i = b->cfg.nports; i < VD_MAX_PORTS; i++)
		uplink_maps(b->uplink)->links[1 + i].reason = VD_REASON_NOT_CONFIGURED;
	for (uint32_t i = 0; i < b->cfg.nports; i++) {
		b->port[i] = port_create(i, &b->cfg.ports[i]);
		if (!b->port[i])
			return -ENOMEM;
		b->port[i]->bridge = b;
		b->nports++;
		links_set_port(b, b->port[i], VD_REASON_NOT_CONNECTED, 0);
	}
	return 0;
}

static int make_datapaths(struct bridge *b)
{
	b->queues = uplink_queues(b->uplink);
	b->dp = calloc(b->queues, sizeof(*b->dp));
	if (!b->dp)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->queues; i++) {
		struct vd_flow *flow = &uplink_maps(b->uplink)->flows[(size_t)i * VD_MAX_PORTS];
		int ret;

		node_prefer(node_of_memory(uplink_nicq(b->uplink, i)->umem));
		ret = datapath_create(uplink_nicq(b->uplink, i), flow, &b->fdb, b->port, b->nports, b->queues,
					  &b->dp[i]);
		node_prefer(NODE_NONE);
		if (ret)
			return ret;
		b->dp[i]->learn_fd = b->learn_fd;
		if (b->cfg.uplink.unknown == VD_UNKNOWN_GUEST)
			b->dp[i]->unknown_port = 0;
	}
	return 0;
}

static int make_workers(struct bridge *b)
{
	uint32_t n = b->cfg.cpus ? b->cfg.ncpus : 1;
	int ret = 0;

	if (n > b->queues)
		n = b->queues;	/* a queue has one owner: more workers than queues would have nothing to do */
	b->worker = calloc(n, sizeof(*b->worker));
	if (!b->worker)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		b->worker[i].epfd = b->worker[i].wakefd = -1;
		b->nworkers++;
		ret = worker_init(&b->worker[i], i, b->cfg.cpus ? b->cfg.cpus[i] : -1, b->cfg.wait);
		if (ret)
			return ret;
	}
	for (uint32_t i = 0; i < b->queues && !ret; i++) {
		ret = worker_add(bridge_worker_of(b, i), b->dp[i]);
		if (!ret)
			ret = uplink_queue_info(b->uplink, i, i % n);
	}
	if (!ret)
		ret = worker_add_mcast(&b->worker[0], b->mcast);
	for (uint32_t i = 0; i < n && !ret; i++)
		ret = worker_start(&b->worker[i]);
	return ret;
}

static int open_ports(struct bridge *b, const struct fail *why)
{
	for (uint32_t i = 0; i < b->nports; i++) {
		struct port *p = b->port[i];
		int ret = addresses_open(b, p);

		if (ret)
			return fail_with(why, ret, "port %s: cannot enter its MAC address: %s", p->cfg.name,
				    strerror(-ret));
		ret = attach_open(b, p);
		if (ret == -EADDRINUSE)
			return fail_with(why, ret,
				    "port %s: another process listens on %s: stop it, or give the port another socket=",
				    p->cfg.name, p->cfg.socket);
		if (ret)
			return fail_with(why, ret, "port %s: cannot open %s: %s: check that the directory exists "
				    "and that nothing but a socket is there", p->cfg.name, p->cfg.socket, strerror(-ret));
	}
	return 0;
}

static int start(struct bridge *b, const struct fail *why)
{
	int ret;

	b->learn_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->learn_fd < 0)
		return fail_with(why, -errno, "eventfd: %s", strerror(errno));
	b->learn_watch = (struct loop_watch){ .fd = b->learn_fd, .fn = on_learn, .arg = b };
	ret = loop_add(b->loop, &b->learn_watch, EPOLLIN);
	if (!ret)
		ret = uplink_open(b->host, b->loop, &b->cfg.uplink, &b->uplink, why->text, why->len);
	if (ret)
		return ret;
	ret = mcast_open(b->host, uplink_link(b->uplink)->ifindex, uplink_info(b->uplink)->max_frame, &b->mcast);
	if (ret)
		return fail_with(why, ret, "cannot receive broadcasts of %s: %s", b->cfg.uplink.ifname,
			    strerror(-ret));
	b->share = share(uplink_info(b->uplink), uplink_link(b->uplink)->mtu);
	ret = make_ports(b);
	if (!ret)
		ret = make_datapaths(b);
	if (!ret)
		ret = make_workers(b);
	if (ret)
		return fail_with(why, ret, "cannot set up the workers: %s", strerror(-ret));
	links_set_uplink(b, uplink_link(b->uplink));
	for (uint32_t i = 0; i < b->queues; i++)
		WRITE_ONCE(b->dp[i]->uplink_up, uplink_maps(b->uplink)->links[0].up);
	uplink_on_link(b->uplink, on_link, b);
	ret = open_ports(b, why);
	if (ret)
		return ret;
	b->tick = (struct loop_timer){ .fn = on_tick, .arg = b };
	on_tick(&b->tick);
	return 0;
}

int bridge_open(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct bridge **out,
		char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct bridge *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return fail_with(&why, -ENOMEM, "out of memory");
	b->host = host;
	b->loop = loop;
	b->cfg = *cfg;
	b->cfg.uplink.cpus = cfg->cpus;
	b->cfg.uplink.ncpus = cfg->cpus ? cfg->ncpus : 0;
	b->event = event;
	b->event_arg = event_arg;
	b->learn_fd = -1;
	b->started_ns = clock_now();
	ret = start(b, &why);
	if (ret) {
		bridge_close(b);
		return ret;
	}
	*out = b;
	return 0;
}

void bridge_close(struct bridge *b)
{
	if (!b)
		return;
	loop_timer_cancel(b->loop, &b->tick);
	for (uint32_t i = 0; i < b->nports; i++)
		attach_close(b->port[i]);
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_stop(&b->worker[i]);
	for (uint32_t i = 0; i < b->nports; i++)
		addresses_close(b, b->port[i]);
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_fini(&b->worker[i]);
	free(b->worker);
	for (uint32_t i = 0; b->dp && i < b->queues; i++)
		datapath_destroy(b->dp[i]);
	free(b->dp);
	for (uint32_t i = 0; i < b->nports; i++)
		port_destroy(b->port[i]);
	mcast_close(b->mcast);
	uplink_close(b->uplink);
	loop_del(b->loop, &b->learn_watch);
	if (b->learn_fd >= 0)
		close(b->learn_fd);
	free(b);
}
