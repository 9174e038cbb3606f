/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From frames of a wire to large packets for a guest that takes them: runs of
 * consecutive TCP segments (or UDP datagrams of one size) of one flow become one
 * packet with a virtio-net header that says how it was cut (virtio 1.3, 5.1.6.3),
 * so that segment.h would cut it into the very same frames again.
 *
 * It works on one batch and keeps nothing: a lone frame is never held back.
 * Within a flow the order stays; a frame that is neither TCP nor UDP, and a
 * fragment, is passed by nothing. Checksums of frames to be joined are verified
 * first; a wrong one stays alone, as it is, for the guest to find.
 *
 * The one thing that cutting does not bring back is the identification of IPv4
 * frames that all have the same one: they may not be fragmented (DF), so it has
 * no meaning (RFC 6864, 4.1), and it counts up when they are cut again.
 *
 * Pure; struct coalesce is one thread's scratch.
 */
#ifndef VIADUCT_RING_COALESCE_H
#define VIADUCT_RING_COALESCE_H

#include "ring/virtq.h"
#include "ring/vnet.h"

#define COALESCE_PIECES (4 * VIRTQ_BATCH)
#define COALESCE_HEADERS 128	/* of a packet that can be joined */
#define COALESCE_IDLE 1		/* frames that came further apart (see @when) are not joined */
#define COALESCE_OPEN 8		/* flows that are joined at the same time */

/* What is known of a frame's checksums. They are looked at when they matter, and once in the frame's life. */
enum coalesce_sums { COALESCE_UNKNOWN, COALESCE_RIGHT, COALESCE_WRONG };

/* One frame as it came. All headers lie in the first piece, and stay untouched. */
struct coalesce_in {
	const struct iovec *piece;
	uint32_t npieces;
	uint32_t len;		/* bytes, all pieces */
	uint32_t when;		/* when it came, in units of about a millisecond; may wrap */
	uint8_t sums;		/* enum coalesce_sums; what is found out is kept here, for the next time the frame comes */
};

/* What there is to know of a TCP or UDP frame. */
struct coalesce_part {
	const uint8_t *p;	/* its first piece */
	uint16_t l3, l4, head_len;	/* offsets; all headers, bytes */
	uint16_t payload;	/* bytes */
	bool v6, udp;
	uint8_t flags;		/* TCP's */
	uint32_t hash;		/* of addresses and ports */
};

/* A packet that the next frame of its flow may be joined to. */
struct coalesce_open {
	struct coalesce_part part;	/* the first frame */
	uint8_t packet;		/* its number */
	uint8_t frames, last;	/* how many frames, the last one's number */
	uint8_t flags;		/* TCP's, for the packet's header */
	bool same_id;		/* IPv4: all frames have one identification */
	uint16_t next_id;
	uint32_t next_seq;
	uint32_t payload;	/* of all frames, bytes */
	uint32_t when;		/* the last one's */
};

struct coalesce {
	/* result */
	unsigned n;			/* packets */
	struct virtq_src src[VIRTQ_BATCH];	/* each refers to what follows, and to the frames given */
	uint8_t frames[VIRTQ_BATCH];	/* frames in each packet */
	uint8_t order[VIRTQ_BATCH];	/* the frames' numbers, packet by packet */
	/* private */
	unsigned nopen, npieces;
	struct coalesce_open open[COALESCE_OPEN];	/* the oldest first */
	uint8_t first[VIRTQ_BATCH];	/* number of each packet's first frame */
	uint8_t next[VIRTQ_BATCH];	/* number of the frame that follows in its packet */
	uint16_t head_len[VIRTQ_BATCH];	/* of each joined packet */
	struct virtq_more more[VIRTQ_BATCH];
	struct iovec piece[COALESCE_PIECES];
	uint8_t head[VIRTQ_BATCH][COALESCE_HEADERS];
};

/**
 * coalesce_wanted() - may this guest get large packets?
 * @features: negotiated. It needs MRG_RXBUF, GUEST_CSUM and one of GUEST_TSO4, TSO6, USO4, USO6.
 */
static inline bool coalesce_wanted(uint64_t features)
{
	return features & VNET_BIT(VIRTIO_NET_F_MRG_RXBUF) && features & VNET_BIT(VIRTIO_NET_F_GUEST_CSUM) &&
	       features & VNET_GUEST_GSO;
}

/**
 * coalesce_batch() - join what can be joined
 * @c: scratch; its result is valid until the next call, or until the frames go
 * @features: negotiated; only what they allow is done
 * @in, @n: frames in the order they came (n <= VIRTQ_BATCH); only their @sums is written
 *
 * Every frame is in exactly one packet. Worker. Return: number of packets, c->n.
 */
unsigned coalesce_batch(struct coalesce *c, uint64_t features, struct coalesce_in *in, unsigned n);

#endif
