/* SPDX-License-Identifier: BSD-2-Clause */
#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "bridge/park.h"

/* A worker that a hostile call fd holds inside write() is interrupted; see main.c for the (empty) handler. */
void park_interrupt(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nworkers; i++)
		if (b->worker[i].running)
			pthread_kill(b->worker[i].thread, SIGUSR2);
}

/* A worker that has been inside write() for long and could not leave it: without room, not just without a CPU. */
bool park_call_stuck(const struct virtq *vq, uint64_t now_ns)
{
	uint64_t since = READ_ONCE(vq->call_since_ns);
	struct pollfd pfd = { .fd = READ_ONCE(vq->callfd), .events = POLLOUT };

	if (!since || now_ns <= since || now_ns - since <= PARK_STUCK_NS)
		return false;
	return poll(&pfd, 1, 0) == 0;
}

void park_rescue(struct bridge *b)
{
	const uint64_t now = clock_now();

	for (uint32_t i = 0; i < b->nports; i++)
		for (unsigned k = 0; b->port[i] && k < 2 * b->port[i]->pairs; k++)
			if (park_call_stuck(port_vq(b->port[i], k), now)) {
				park_interrupt(b);
				return;
			}
}

void bridge_park(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_pause(&b->worker[i]);
	for (uint32_t i = 0; i < b->nworkers; i++)
		while (!worker_parked(&b->worker[i], PARK_STUCK_NS))
			park_rescue(b);
}

void bridge_unpark(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nworkers; i++)
		worker_unpark(&b->worker[i]);
}
