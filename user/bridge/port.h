/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port: one configured attachment point of the bridge. Lives as long as the
 * configuration says, whether or not a device is connected; its virtqs live as
 * long and are started and stopped by sessions.
 *
 * Owners: @vq by whoever holds each one's lock; what stands between it and
 * "control thread only" is written by the control thread and read by workers;
 * @policy only while the workers are parked; everything below by nobody else.
 */
#ifndef VIADUCT_BRIDGE_PORT_H
#define VIADUCT_BRIDGE_PORT_H

#include "base/log.h"
#include "bridge/learn.h"
#include "bridge/policy.h"
#include "bridge/port_config.h"
#include "ring/virtq.h"
#include "viaduct_bpf.h"

/* A virtq on cache lines of its own: two workers must not share one. */
struct port_vq {
	struct virtq q;
} __attribute__((aligned(128)));

struct bridge;

/* What its guest is told of its link (portlink.c). */
struct portlink {
	bool admin_down;		/* viaduct link PORT down; lasts until up */
	enum vd_guest_link guest;	/* as in the map */
	enum vd_guest_link said;	/* the last one that listeners were told of: never NONE */
	bool again;			/* they are to be told even if it is the same */
	enum vd_guest_link qmp_told;	/* what QEMU has confirmed since the front-end connected, NONE = nothing */
	bool tell_up;			/* QEMU may think that it is down: it is to be told when it is up */
	bool complained;		/* of the monitor */
	uint64_t down_since_ns;		/* 0 = it is up */
	struct qmp *qmp;		/* NULL: there is no monitor */
	struct loop_timer close;	/* link=close: it has been down for long enough */
};

struct port {
	int node;			/* NUMA node of its state and of its guest's memory; control writes */
	uint32_t index;			/* in links, steering, fdb, metadata */
	uint32_t pairs;
	struct port_vq *vq;		/* 2 * pairs: rx, tx, rx, tx, ... */
	/* What the program's maps say of it, for workers. */
	struct vd_port map;
	struct vd_steering steering;
	struct vd_limit *rx_limit;	/* in the map: the program and all workers count in one place */
	struct policy policy;
	uint32_t *flow;			/* [PORT_FLOWS], see port_flow_slot(); NULL with one pair */

	/* control thread only */
	struct port_config cfg;
	struct bridge *bridge;
	struct endpoint *endpoint;
	struct virtq_saved *moved;	/* while its rings come from another process */
	bool connected;
	enum vd_link_reason reason;
	struct portlink link;
	uint64_t mac[PORT_MACS];	/* learned, or those of mac= */
	uint32_t mac_session[PORT_MACS];	/* in which session each was learned */
	unsigned nmac;
	uint32_t session;		/* counts connections */
	uint64_t arrived_ns;		/* a guest that ran elsewhere before began here, 0 = none */
	uint64_t refused[LEARN_VERDICTS];	/* learning, by reason */
	int kept_slot;			/* of the bridge's kept positions, -1 = none */
	uint32_t broken_seen[VD_MAX_PAIRS * 2 / 32];	/* rings already reported as broken */
	uint64_t announced_ns;		/* since when @announced counts */
	unsigned announced;		/* times that the network was told of an address */
	uint64_t not_announced;		/* it was asked too often */
	struct log_limit complaints, learning, breakage;
};

static inline struct virtq *port_vq(struct port *p, unsigned index)
{
	return &p->vq[index].q;
}

static inline struct virtq *port_rxq(struct port *p, unsigned pair)
{
	return port_vq(p, 2 * pair);
}

static inline struct virtq *port_txq(struct port *p, unsigned pair)
{
	return port_vq(p, 2 * pair + 1);
}

/**
 * port_create() - a port with its virtqs, nothing connected
 * Control thread. Return: NULL when out of memory.
 */
struct port *port_create(uint32_t index, const struct port_config *cfg);
void port_destroy(struct port *p);

/**
 * port_follow_memory() - the state of the virtqs goes to the NUMA node of the guest's memory
 * @ring: a ring in that memory
 *
 * Control thread; workers may be using the virtqs. Nothing happens on a machine with one node.
 */
void port_follow_memory(struct port *p, const void *ring);

/* What it begins with: flows spread over all its pairs, enabled or not. */
void port_spread(const struct port *p, struct vd_steering *out);

/**
 * port_map() - what the XDP program is to know of a port
 * @out: enabled = 0 when no rx virtqueue is usable, or its link was set down
 *
 * Control thread. Pure but for reading the virtqs' flags.
 */
void port_map(struct port *p, struct vd_port *out);

/*
 * Where flows were last sent, for packets from this host; the program has the map flow_pairs. A slot says of one flow:
 * bits 31-8 of its hash, a bit that changes now and then, so that what the map has forgotten is told again, and the pair.
 * Those of different flows displace each other.
 */
#define PORT_FLOWS 4096		/* at least 256: bits 7-0 of the hash must follow from the slot */
#define PORT_FLOW_AGAIN 33	/* now_ns >> this: about nine seconds */

static inline uint32_t *port_flow_slot(const struct port *p, uint32_t hash)
{
	return &p->flow[hash & (PORT_FLOWS - 1)];
}

static inline uint32_t port_flow_entry(uint32_t hash, uint32_t pair, uint64_t now_ns)
{
	return (hash & 0xffffff00) | (uint32_t)(now_ns >> PORT_FLOW_AGAIN & 1) << 7 | pair;
}

/**
 * port_pair() - the queue pair for a flow, as the XDP program chooses it
 * @hash: vd_flow_hash() of a frame to the guest
 *
 * Any thread. Return: a pair of the port, an enabled one when there is one.
 */
static inline uint32_t port_pair(const struct port *p, uint32_t hash)
{
	uint32_t pair = READ_ONCE(p->steering.pair[hash & (VD_INDIRECTION - 1)]) & (VD_MAX_PAIRS - 1);

	if (p->flow && READ_ONCE(p->steering.mode) == VD_STEER_AUTO) {
		uint32_t e = READ_ONCE(*port_flow_slot(p, hash)), sent = e & (VD_MAX_PAIRS - 1);

		if (((e ^ hash) & 0xffffff00) == 0 && e && READ_ONCE(p->map.route[sent]) == sent)
			return sent;
	}
	return READ_ONCE(p->map.route[pair]);
}

#endif
