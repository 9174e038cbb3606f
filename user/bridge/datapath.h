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
#define DP_TX_BATCH 64			/* packets taken at once */
#define DP_TX_ROOM 256			/* frames of one turn at most */
#define DP_HOLD_NS 100000000ull		/* longest wait of a frame for a guest without buffers */
#define DP_RECONCILE_NS 20000000ull	/* sequence numbers missing for so long are lost */
#define DP_FORGET_NS 1000000000ull	/* source addresses are looked at again after so long */
#define DP_NOTES 32			/* flows that a port tells of in DP_LEARN_NS */
#define DP_LEARN_NS 1000000ull		/* a port's requests to learn an address are so far apart */
#define DP_LOCAL_HOLD_NS 10000000ull	/* longest wait of a guest's packets for another guest without buffers */
#define DP_FRAME_CHARGE 512		/* bytes that each frame of a turn counts for, beside its own */
#define DP_OUT_PIECES (VIRTQ_PIECES + 4 * VIRTQ_BATCH)
#define DP_MAX_FRAME 12288		/* of a frame made here: the longest that any MTU allows, and more */
#define DP_NONE UINT32_MAX
#define DP_NO_MAC UINT64_MAX

/* Counters of a port beside those that have a place of their own. */
enum dp_count {
	/* packets its guest sent, by where they went */
	DP_TO_PORTS,
	DP_TO_THE_HOST,
	DP_TO_GROUPS,		/* broadcast and multicast */
	/* and those that went nowhere */
	DP_DROP_LOCK,		/* not from one of its own addresses */
	DP_DROP_VLAN,		/* of a VLAN that it, or the receiver, is not in */
	DP_DROP_STORM,		/* more broadcasts and multicasts than it may send */
	DP_DROP_ISOLATED,	/* to or from an isolated port */
	DP_DROP_LINK_LOCAL,	/* 802.1D addresses are not forwarded */
	DP_DROP_SELF,		/* for itself */
	DP_DROP_HOST,		/* the host did not take it */
	DP_DROP_LINK,		/* its link was set down, or that of the port it is for */
	/* packets for it from this host */
	DP_FROM_PORTS,		/* from other ports and the host: delivered, or in a counter of drops */
	DP_DROP_RATE,		/* beyond its limit */
	DP_DROP_HEADER,		/* from the host, with a header that is not true of it */
	DP_DROP_UPLINK,		/* from the wire: it waited in buffers of a device that is not in use any more */
	DP_DROP_UNFIT,		/* from the wire: its policy changed meanwhile, or a tag hid one of a VLAN that it is not in */
	DP_COUNTS
};

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
	uint32_t first;		/* sequence number of the first frame that can be for it */
	uint32_t expected;	/* next sequence number */
	uint32_t snap_seq;	/* program's counter at snap_ns, for losses at the tail */
	uint64_t snap_ns;
	uint64_t learn_ns;	/* of the last request to learn */
	uint64_t notes_ns;	/* since when @notes are left */
	uint32_t notes;		/* flows that may still be told of until DP_LEARN_NS has passed */
	/* counters, read by the control thread */
	uint64_t lost;		/* between program and ring, from the sequence */
	uint64_t without_meta;	/* frames that needed the lookup repeated */
	uint64_t drop_hold;	/* guest had no buffers for too long, or beyond the port's share */
	uint64_t drop_ring;	/* virtqueue stopped, disabled or broken when its frames came */
	uint64_t drop_mcast;	/* broadcast and multicast that found no room or no running virtqueue */
	uint64_t drop_uplink_down;	/* guest to NIC while the uplink is down */
	uint64_t count[DP_COUNTS];

	/* turns of sending */
	struct dp_tx *tx;	/* its tx virtqueues whose home this NIC queue is */
	uint32_t ntx;
	uint32_t round;		/* of the last turn; of the last one in which it had something, and something for the uplink: */
	uint32_t worked_round, sent_round;
	uint32_t served_round, served_at;	/* of the last one in which a ring had a turn: where the first of them was */
	int64_t deficit;	/* bytes it may still send in this round; negative: it has sent more */
};

/* A tx virtqueue whose home this NIC queue is. */
struct dp_tx {
	struct datapath *dp;
	struct port *port;
	struct dp_port *stats;
	struct virtq *vq;
	uint32_t armed;		/* kicks are asked for: skip it until one comes */
	uint16_t pair;
	bool listed;		/* on datapath.active */
	bool stuck;		/* its next packet has to wait for room, a receiver or its limit */
	uint8_t need;		/* chunks of room for the uplink that it waits for, 0 = for something else */
	uint64_t idle_ns;	/* since when it is empty, 0 = it is not */
	/*
	 * Until when a ring that has just started waits to be enabled, 0 = it does not. What is in it then was sent to a
	 * back-end before us that was cut off; front-ends start a ring first and enable it next. The virtq's lock.
	 */
	uint64_t enable_by_ns;
	uint64_t hold_ns;	/* since when its packets wait for a receiver on this host, 0 = they do not */
	uint16_t hold_dest;	/* for which */
	uint32_t held_up;	/* packets that it took since */
	/* the last packet with a destination of its own and no tag, and what came of it; last_dst DP_NO_MAC: none */
	uint64_t last_dst, last_src;
	uint64_t checked_ns;	/* when that was found out anew */
	uint32_t generation;	/* of the forwarding table then */
	uint16_t last_vlan, last_dest;
};

#define DP_ENABLE_NS 1000000000ull

/* Where a packet goes: a queue pair of a port (forward.h), or one of these. */
enum dp_dest {
	DP_TO_UPLINK = 0x8000,
	DP_TO_HOST,
	DP_TO_ALL,	/* uplink, host and the ports of its VLAN */
	DP_TO_NOBODY,
	DP_TO_MANY,	/* of a batch: not all of it to the same */
};

/* What was read of a packet, once, and decided. */
struct dp_fwd {
	/* its first bytes; zeroes behind its end. On one cache line, or reading them after writing them takes long */
	uint8_t head[VIRTQ_HEAD] __attribute__((aligned(2 * VIRTQ_HEAD)));
	uint16_t dest;		/* enum dp_dest, or a queue pair */
	uint16_t vlan;		/* on the wire, 0 = untagged */
	bool tagged;		/* @head has that tag already */
	uint8_t why;		/* enum dp_count, with DP_TO_NOBODY */
	bool pin;		/* there is a tag, of 802.1Q or 802.1ad, and @inner was read, too: */
	uint8_t inner[2];	/* the bytes behind @head: the type behind the tag */
};

struct datapath {
	struct nicq *nicq;
	struct vd_flow *flow;	/* this NIC queue's row of the flows map */
	struct fdb *fdb;	/* workers only note in it when an address was seen */
	struct learn_ring *learn;
	struct learn_wire *wire;
	int learn_fd;		/* tells the control thread of requests, -1 = no one listens */
	uint32_t uplink_up;	/* written by control */
	uint32_t room;		/* as vd_config's; written by control */
	int reported_errno;	/* control only: send error last told of */
	uint32_t unknown_port;	/* VD_PORT_NONE unless --unknown guest */

	struct dp_port *port[VD_MAX_PORTS];
	uint32_t nport;		/* highest index of a port, plus one */
	struct {
		uint32_t expected, snap_seq;
	} total;		/* of all ports, those that are gone included */
	uint32_t held;		/* frames on all lists */
	struct dp_tx **active;	/* tx virtqueues that are polled; the others have nothing, or are asked for kicks */
	uint32_t nactive, next_tx;	/* round robin */
	uint32_t pairs;		/* of all ports: room in @active and @busy */
	uint32_t need;		/* chunks that the next frame to be sent needs, of which there was less room; 0 = enough */
	uint32_t round;		/* of turns */
	uint32_t talkers, talkers_now;	/* ports that had something in the last round, in this one so far */
	uint32_t senders, senders_now;	/* and something for the uplink */
	int64_t spent;		/* of a turn: bytes, and the charge for frames */
	bool blocked;		/* the next packet of the ring has to wait */
	bool closed;		/* the NIC's room is for whoever waits for more of it */
	struct dp_tx *first;	/* of the next round, NULL = by turns */
	bool contended;		/* another worker has a ring that packets are for */
	uint32_t rejected;	/* packets of the batch whose header was not true */
	int host_fd;		/* the host's port, -1 = there is none */

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
	struct dp_fwd fwd[VIRTQ_BATCH];
	struct iovec out_piece[DP_OUT_PIECES];
	uint8_t out_tag[VIRTQ_BATCH][4];
	uint8_t out_head[VIRTQ_BATCH][SEGMENT_MAX_HEADERS];
	uint8_t out_frame[DP_MAX_FRAME];
	uint8_t flood[VNET_MAX_GSO + 64];
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
int datapath_create(struct nicq *nicq, struct vd_flow *flow, struct fdb *fdb, struct port *const *ports,
		    uint32_t nports, uint32_t nqueues, struct datapath **out);
void datapath_destroy(struct datapath *dp);

/**
 * datapath_add_port() - serve another port
 * Control thread, the worker parked or not started. Return: 0 or -ENOMEM, then nothing has changed.
 */
int datapath_add_port(struct datapath *dp, struct port *p, uint32_t nqueues);

/**
 * datapath_del_port() - serve it no longer; its frames go back, what is still on its way counts as a stray
 * Control thread, the worker parked or not started.
 */
void datapath_del_port(struct datapath *dp, struct port *p);

/* What is on its way to the port goes nowhere, and counts as @why: it was let in under another policy. Worker parked. */
void datapath_flush_port(struct datapath *dp, struct port *p, enum dp_count why);

/**
 * datapath_rehome() - another number of NIC queues: which of a port's tx virtqueues are at home here
 * Control thread, the worker parked.
 */
void datapath_rehome(struct datapath *dp, struct port *p, uint32_t nqueues);

/* Nothing of the NIC queue is in its hands any more: it is about to be another. Worker parked. */
void datapath_unplug(struct datapath *dp);

/* Poll a tx virtqueue from now on. Worker. */
void datapath_activate(struct datapath *dp, struct dp_tx *tx);
/* All of them: something changed. Worker. */
void datapath_activate_all(struct datapath *dp);

/* Tells the control thread that there are requests on dp->learn. */
void datapath_notify(const struct datapath *dp);

/* Short names for status, one per enum dp_count. */
const char *datapath_count_name(enum dp_count c);

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
#endif
