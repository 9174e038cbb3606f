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
	struct dp_port *d = b->dp[pair % b->homes]->port[p->index];

	return d && pair / b->homes < d->ntx ? &d->tx[pair / b->homes] : NULL;
}

void bridge_wake(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_wake(&b->worker[i]);
}
