/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path of one NIC queue: frames between its AF_XDP rings and the
 * guests' virtqueues. A struct datapath belongs to the worker that owns the NIC
 * queue; nobody else touches it, except that the control thread reads counters.
 *
 * NIC to guest, three passes over a batch: take and sort (by port and queue
 * pair, from the metadata), then per virtqueue copy and publish, then recycle.
 * The lists that sort a batch are also where frames wait for a guest without
 * buffers, so order is kept and there is one mechanism for both.
 *
 * Guest to NIC: take, copy into frames, stage, give back and publish, one
 * wake-up of the kernel for all of a pass.
 *
 * What guest and NIC understand differently is made up for on the way: packets
 * that a guest left to be cut or summed (ring/segment.h), frames that a guest
 * takes joined (ring/coalesce.h), frames longer than a UMEM chunk. None of it
 * costs a plain packet more than a look at its header.
 */
#ifndef VIADUCT_BRIDGE_DATAPATH_H
#define VIADUCT_BRIDGE_DATAPATH_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/fdb.h"
#include "bridge/learn.h"
#include "bridge/port.h"
#include "ring/coalesce.h"
#include "ring/segment.h"
#include "xdp/nicq.h"

#define DP_RX_BATCH 64
#define DP_TX_BATCH 64			/* packets taken at once; frames of one turn beside other ports */
#define DP_TX_TURN 128			/* frames of one turn of a virtqueue that has no other port beside it */
#define DP_HOLD_NS 100000000ull		/* longest wait of a frame for a guest without buffers */
#define DP_RECONCILE_NS 20000000ull	/* sequence numbers missing for so long are lost */
#define DP_FORGET_NS 1000000000ull	/* source addresses are looked at again after so long */
#define DP_LEARN_NS 1000000ull		/* a port's requests to learn an address are so far apart */
#define DP_NONE UINT32_MAX

/* Ethernet frames on their way to one rx virtqueue, oldest first; linked by the number of their (first) UMEM frame. */
struct dp_wait {
	uint32_t head, tail;	/* frame numbers, DP_NONE = empty */
	uint32_t count;
	bool listed;		/* on datapath.busy */
	uint64_t since_ns;	/* when the head began to wait for buffers, 0 = it does not */
};

/* What the NIC queue keeps per port. */
struct dp_port {
	struct port *port;
	struct dp_wait *wait;	/* per queue pair */
	uint32_t held;		/* frames in all of them */
	uint32_t expected;	/* next sequence number */
	uint32_t snap_seq;	/* program's counter at snap_ns, for losses at the tail */
	uint64_t snap_ns;
	uint64_t learn_ns;	/* of the last request to learn */
	/* counters, read by the control thread */
	uint64_t lost;		/* between program and ring, from the sequence */
	uint64_t without_meta;	/* frames that needed the lookup repeated */
	uint64_t drop_hold;	/* guest had no buffers for too long, or beyond the port's share */
	uint64_t drop_ring;	/* virtqueue stopped, disabled or broken when its frames came */
	uint64_t drop_mcast;	/* broadcast and multicast that found no room or no running virtqueue */
	uint64_t drop_uplink_down;	/* guest to NIC while the uplink is down */
};

/* A tx virtqueue whose home this NIC queue is. */
struct dp_tx {
	struct port *port;
	struct dp_port *stats;
	struct virtq *vq;
	uint64_t last_src;	/* source address of its last frame */
	uint32_t armed;		/* kicks are asked for: skip it until one comes */
};

struct datapath {
	struct nicq *nicq;
	struct vd_flow *flow;	/* this NIC queue's row of the flows map */
	const struct fdb *fdb;
	struct learn_ring *learn;
	struct learn_wire *wire;
	int learn_fd;		/* tells the control thread of requests, -1 = no one listens */
	uint32_t uplink_up;	/* written by control */
	int reported_errno;	/* control only: send error last told of */
	uint32_t unknown_port;	/* VD_PORT_NONE unless --unknown guest */

	struct dp_port *port[VD_MAX_PORTS];
	uint32_t nport;		/* highest index of a port, plus one */
	struct dp_tx *tx;
	uint32_t ntx, next_tx;	/* round robin */
	uint32_t need;		/* chunks that the next frame to be sent needs, of which there was less room */
	bool one_port;		/* all of @tx are of one port */

	struct dp_frame {
		uint32_t next;	/* in the list, or DP_NONE */
		uint32_t rest;	/* further pieces of the same Ethernet frame, or DP_NONE */
		uint32_t when;	/* when it came, in units of about a millisecond */
		uint16_t len;	/* of this piece, bytes */
		uint8_t sums;	/* enum coalesce_sums */
		uint8_t *data;
	} *frame;		/* per frame number */
	struct {		/* an Ethernet frame of which pieces are still to come */
		struct nicq_pkt first;
		uint32_t last, n;
	} partial;		/* n = 0: none */
	struct dp_ref {
		struct dp_wait *wait;
		struct dp_port *port;
		uint32_t pair;
	} *busy;		/* lists with frames in them */
	uint32_t nbusy;
	uint64_t last_wire_src;
	uint64_t reconcile_ns;
	uint32_t reconcile_pos;	/* of the rx ring's producer when the time had come */
	bool reconcile_due;
	uint64_t forget_ns;
	uint64_t drop_stray;	/* frames for no port we know */

	/* scratch */
	struct nicq_pkt pkt[DP_RX_BATCH];
	struct virtq_src src[VIRTQ_BATCH];
	struct virtq_more more[VIRTQ_BATCH];
	struct iovec piece[VIRTQ_BATCH * NICQ_PIECES];
	struct coalesce_in in[VIRTQ_BATCH];
	struct coalesce coalesce;
	struct virtq_batch batch;
	struct segment_plan plan;
};

/* What a pass did, so that the worker knows whether and how long to sleep. */
struct dp_result {
	uint32_t work;		/* packets moved */
	bool again;		/* something is left that no notification will announce */
	bool waiting;		/* frames wait for a guest's buffers: come back in about a millisecond */
	bool polled;		/* a ring without kick fd has to be polled */
};

/**
 * datapath_create() - for one NIC queue
 * @ports, @nports: ports to serve; tx virtqueue j is ours when j mod @nqueues == nicq->id
 * Control thread. Return: 0 or -ENOMEM.
 */
int datapath_create(struct nicq *nicq, struct vd_flow *flow, const struct fdb *fdb, struct port *const *ports,
		    uint32_t nports, uint32_t nqueues, struct datapath **out);
void datapath_destroy(struct datapath *dp);

/* One bounded pass in each direction. Worker. */
void datapath_rx(struct datapath *dp, uint64_t now_ns, struct dp_result *res);
void datapath_tx(struct datapath *dp, uint64_t now_ns, struct dp_result *res);

/**
 * datapath_arm() - before sleeping: ask every active ring for kicks, then look again
 * Worker. Return: true when there is work already (do not sleep).
 */
bool datapath_arm(struct datapath *dp);

/**
 * datapath_missing() - has the program counted frames that have not come?
 *
 * They are on their way, or lost, and then no socket will announce anything: look again after
 * DP_RECONCILE_NS. Any thread. Return: true when there are such frames.
 */
bool datapath_missing(const struct datapath *dp);

/**
 * datapath_deliver() - hand one frame to the rx virtqueues of all usable ports (broadcast, multicast)
 * Worker. Return: number of ports that got it.
 */
unsigned datapath_deliver(struct datapath *dp, const uint8_t *frame, uint32_t len);

#endif
