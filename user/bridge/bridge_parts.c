/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/node.h"
#include "bridge/attach.h"
#include "bridge/bridge_parts.h"
#include "bridge/kept.h"

void bridge_set_room(struct bridge *b, uint32_t mtu)
{
	const struct nicq *q = b->dp[0]->nicq;
	uint32_t chunk = NICQ_MAX_FRAME(q->frames.chunk), chunks = (mtu + FRAME_OVERHEAD + chunk - 1) / chunk;
	uint32_t room = q->rx.size / (q->sg ? chunks : 1);

	WRITE_ONCE(uplink_maps(b->uplink)->config->room, room);
	for (uint32_t i = 0; i < b->queues; i++)
		WRITE_ONCE(b->dp[i]->room, room);
}

void bridge_mtu_changed(struct bridge *b, uint32_t mtu)
{
	bridge_set_room(b, mtu);
	if (b->host_port)
		hostport_mtu(b->host_port, mtu);
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			attach_mtu_changed(b->port[i]);
}

int bridge_make_datapath(struct bridge *b, uint32_t queue, uint32_t homes, struct vd_flow *row, struct datapath **out)
{
	struct nicq *q = uplink_nicq(b->uplink, queue);
	int ret;

	*out = NULL;
	node_prefer(node_of_memory(q->umem));
	ret = datapath_create(q, row, &b->fdb, NULL, 0, homes, out);
	node_prefer(NODE_NONE);
	if (!ret)
		(*out)->learn_fd = b->learn_fd;
	return ret;
}

int bridge_make_datapaths(struct bridge *b, uint32_t n, struct vd_flow *flows)
{
	b->queues = n;
	b->homes = uplink_queues(b->uplink);
	b->dp = calloc(b->queues, sizeof(*b->dp));
	if (!b->dp)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->queues; i++) {
		int ret = bridge_make_datapath(b, i, b->homes, &flows[(size_t)i * VD_FLOW_ROW], &b->dp[i]);

		if (ret)
			return ret;
	}
	return 0;
}

int bridge_make_worker(struct bridge *b, uint32_t i)
{
	int ret = worker_init(&b->worker[i], i, b->cfg.cpus ? b->cfg.cpus[i] : -1, b->cfg.wait);

	if (ret)
		worker_fini(&b->worker[i]);
	return ret;
}

int bridge_make_workers(struct bridge *b)
{
	const uint32_t most = b->cfg.cpus ? b->cfg.ncpus : 1;
	int ret = 0;

	b->worker = calloc(most, sizeof(*b->worker));
	if (!b->worker)
		return -ENOMEM;
	/* A queue has one owner: more workers than queues would have nothing to do. */
	for (; b->nworkers < most && b->nworkers < b->queues; b->nworkers++) {
		ret = bridge_make_worker(b, b->nworkers);
		if (ret)
			return ret;
	}
	for (uint32_t i = 0; i < b->queues && !ret; i++)
		ret = worker_add(bridge_worker_of(b, i), b->dp[i]);
	return ret ? ret : worker_add_mcast(&b->worker[0], b->mcast);
}

int bridge_join_host(struct bridge *b)
{
	for (uint32_t i = 0; i < b->queues; i++)
		b->dp[i]->host_fd = hostport_fd(b->host_port);
	return worker_add_host(&b->worker[0], hostport_fd(b->host_port));
}

int bridge_start_workers(struct bridge *b)
{
	int ret = 0;

	for (uint32_t i = 0; i < b->nworkers && !ret; i++)
		ret = worker_start(&b->worker[i]);
	return ret;
}

/* Without it a guest with packed rings has to reset its device after a restart, and everything else works. */
void bridge_open_kept(struct bridge *b)
{
	int ret = b->cfg.kept ? kept_open(b->host, b->cfg.kept, &b->kept) : 0;

	if (ret)
		log_warn("%s: %s: positions of packed rings are not kept for the next instance",
			 b->cfg.kept, strerror(-ret));
}

int bridge_tell_queues(struct bridge *b)
{
	int ret = 0;

	for (uint32_t i = 0; i < b->queues && !ret; i++)
		ret = uplink_queue_info(b->uplink, i, i % b->nworkers);
	return ret;
}
