/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MAC learning: which source addresses of a guest's frames become its own.
 *
 * A worker that meets a source it does not know puts a request on its ring
 * (bounded; what does not fit is met again with the next frame). The control
 * thread decides by the rules below. Workers also note whom they hear from the
 * wire, because an address that lives out there must not be captured by a guest.
 */
#ifndef VIADUCT_BRIDGE_LEARN_H
#define VIADUCT_BRIDGE_LEARN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"

#define LEARN_RING 256		/* requests a worker may have waiting */
#define LEARN_WIRE_SLOTS 1024
#define LEARN_WIRE_NS (30ull * 1000000000ull)	/* "recently seen from the wire" */

/* What a worker has to tell: a source address it does not know, or on which pair a guest sends a flow. */
struct learn_request {
	uint64_t mac;
	uint64_t when_ns;
	uint32_t port;
	bool flow;
	uint16_t pair;		/* of a flow */
	uint32_t hash;		/* of a flow, as the XDP program has it */
};

/* Single producer (a worker), single consumer (control). */
struct learn_ring {
	uint32_t head;	/* producer */
	uint32_t tail;	/* consumer */
	struct learn_request req[LEARN_RING];
};

/* Sources heard on the wire, direct-mapped; written by one worker, read by control. Torn entries do no harm. */
struct learn_wire {
	struct {
		uint64_t mac, when_ns;
	} seen[LEARN_WIRE_SLOTS];
};

enum learn_verdict {
	LEARN_OK,
	LEARN_KNOWN,		/* this port has it already */
	LEARN_GROUP,		/* multicast or broadcast source */
	LEARN_ZERO,
	LEARN_HOST,		/* the uplink's or a device's above it */
	LEARN_OTHER_PORT,	/* configured or learned by another port */
	LEARN_WIRE,		/* heard from the wire lately */
	LEARN_LIMIT,		/* the port has its full number */
	LEARN_FIXED,		/* mac= given: nothing is learned */
	LEARN_VERDICTS
};

/* Facts the decision needs; gathered by the caller so that the rules stay pure. */
struct learn_facts {
	bool fixed;		/* port has mac= */
	bool movable;		/* @owner learned it, and has not sent from it for a while or is not there */
	bool host;		/* address belongs to the host */
	uint32_t owner;		/* fdb's port for it, VD_PORT_NONE */
	unsigned count;		/* addresses the port has learned */
	uint64_t wire_ns;	/* last heard from the wire, 0 = never */
};

/**
 * learn_decide() - the rules of "MAC learning", in order
 * Any thread (pure).
 */
enum learn_verdict learn_decide(const struct learn_request *r, const struct learn_facts *f);
const char *learn_verdict_name(enum learn_verdict v);

/* Worker: false when the ring is full. */
bool learn_push(struct learn_ring *r, const struct learn_request *req);
/* Worker: requests that wait, about. */
static inline uint32_t learn_waiting(const struct learn_ring *r)
{
	return r->head - READ_ONCE(r->tail);
}

/* Control: false when it is empty. */
bool learn_pop(struct learn_ring *r, struct learn_request *req);

static inline uint32_t learn_wire_slot(uint64_t mac)
{
	return (uint32_t)((mac * 0x9e3779b97f4a7c15ull) >> 40) & (LEARN_WIRE_SLOTS - 1);
}

/* Worker: a frame with this source came from the wire. */
static inline void learn_wire_note(struct learn_wire *w, uint64_t mac, uint64_t now_ns)
{
	uint32_t i = learn_wire_slot(mac);

	WRITE_ONCE(w->seen[i].mac, mac);
	WRITE_ONCE(w->seen[i].when_ns, now_ns);
}

/* Control: when it was last heard, 0 = not on record. */
static inline uint64_t learn_wire_when(const struct learn_wire *w, uint64_t mac)
{
	uint32_t i = learn_wire_slot(mac);

	return READ_ONCE(w->seen[i].mac) == mac ? READ_ONCE(w->seen[i].when_ns) : 0;
}

#endif
