/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port: one configured attachment point of the bridge. Lives as long as the
 * configuration says, whether or not a device is connected; its virtqs live as
 * long and are started and stopped by sessions.
 *
 * Owners: @vq by whoever holds each one's lock; @steering and the flags below
 * it are written by the control thread and read by workers; everything under
 * "control thread only" by nobody else.
 */
#ifndef VIADUCT_BRIDGE_PORT_H
#define VIADUCT_BRIDGE_PORT_H

#include "base/log.h"
#include "bridge/learn.h"
#include "bridge/port_config.h"
#include "ring/virtq.h"
#include "viaduct_bpf.h"

/* A virtq on cache lines of its own: two workers must not share one. */
struct port_vq {
	struct virtq q;
} __attribute__((aligned(128)));

struct bridge;

struct port {
	int node;			/* NUMA node of its state and of its guest's memory; control writes */
	uint32_t index;			/* in links, steering, fdb, metadata */
	uint32_t pairs;
	struct port_vq *vq;		/* 2 * pairs: rx, tx, rx, tx, ... */
	struct vd_steering steering;	/* the copy workers use where there is no metadata */

	/* control thread only */
	struct port_config cfg;
	struct bridge *bridge;
	struct endpoint *endpoint;
	bool connected;
	enum vd_link_reason reason;
	uint64_t mac[PORT_MACS];	/* learned, or mac= in [0] */
	uint32_t mac_session[PORT_MACS];	/* in which session each was learned */
	unsigned nmac;
	uint32_t session;		/* counts connections */
	uint64_t refused[LEARN_VERDICTS];	/* learning, by reason */
	uint32_t broken_seen[VD_MAX_PAIRS * 2 / 32];	/* rings already reported as broken */
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

/**
 * port_steering() - spread flows over the usable rx virtqueues
 * @share: frames the port may have in flight per NIC queue
 * @out: the table; enabled = 0 when there is none
 *
 * Control thread. Pure but for reading the virtqs' flags.
 */
void port_steering(struct port *p, uint32_t share, struct vd_steering *out);

#endif
