/* SPDX-License-Identifier: BSD-2-Clause */
#include "bridge/state.h"

void bridge_event(struct bridge *b, const char *event, const char *subject, const char *detail, int number)
{
	struct bridge_event ev = { event, subject, detail, number };

	if (b->event)
		b->event(b->event_arg, &ev);
}

struct worker *bridge_worker_of(struct bridge *b, uint32_t queue)
{
	return &b->worker[queue % b->nworkers];
}

struct dp_tx *bridge_tx(struct bridge *b, struct port *p, unsigned pair)
{
	struct datapath *dp = b->dp[pair % b->queues];

	for (uint32_t i = 0; i < dp->ntx; i++)
		if (dp->tx[i].vq == port_txq(p, pair))
			return &dp->tx[i];
	return NULL;
}

void bridge_wake(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_wake(&b->worker[i]);
}
