/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One NIC queue as its worker sees it: an AF_XDP socket's four rings over its
 * UMEM, with the frame ledger. Exactly one worker touches it. Rings may be in
 * ordinary memory instead of a socket's (nicq_init_memory()), which is how the
 * data path is tested without root.
 */
#ifndef VIADUCT_XDP_NICQ_H
#define VIADUCT_XDP_NICQ_H

#include <assert.h>

#include <xdp/xsk.h>

#include "base/atomics.h"
#include "viaduct_bpf.h"
#include "xdp/frames.h"

#define NICQ_HEADROOM 0		/* the kernel adds XDP_PACKET_HEADROOM (256) itself in copy mode */
/*
 * Where a frame to send begins in its chunk: where the kernel puts a received
 * one too. So nothing but metadata is ever written right in front of that
 * place, and a guest cannot leave bytes there that look like metadata.
 */
#define NICQ_DATA_OFFSET 256
/* The most that a chunk holds of a frame: all of it, but for a socket with multi-buffer. */
#define NICQ_MAX_FRAME(chunk) ((chunk) - NICQ_DATA_OFFSET)
#define NICQ_PIECES 3		/* chunks of one frame at most: MTU 9000 in chunks of 4096 */

/* Multi-buffer, since Linux 6.6; older headers lack it and older kernels refuse it. */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

/*
 * What we can ask of the NIC with a frame, right in front of it (struct xsk_tx_metadata, since Linux 6.8; see the
 * kernel's Documentation/networking/xsk-tx-metadata.rst). It lies where the program's metadata lies on the way in, and
 * never looks like it: no frame is long enough for a csum_offset that would be the upper half of VD_META_MAGIC.
 */
#ifndef XDP_TX_METADATA
#define XDP_TX_METADATA (1 << 1)
#endif
struct nicq_tx_request {
	uint64_t flags;
	uint16_t csum_start, csum_offset;
	uint8_t unused[12];
};
#define NICQ_TX_CHECKSUM (1u << 1)	/* XDP_TXMD_FLAGS_CHECKSUM */
static_assert(sizeof(struct nicq_tx_request) == 24, "the kernel's format");

struct nicq_pkt {
	uint8_t *data;		/* first byte of the Ethernet frame, or of a further piece of it */
	uint32_t len;
	uint32_t frame;		/* frame number in the ledger */
	bool more;		/* the Ethernet frame goes on in the next one */
};

struct nicq_stats {
	uint64_t rx_packets, rx_bytes;	/* descriptors: a frame in pieces counts several times */
	uint64_t tx_packets, tx_bytes;
	uint64_t tx_wakeups, tx_errors;	/* sendto() calls; those that failed for good */
	uint64_t tx_device_gone;	/* given to the kernel to be sent, but the device went before it said they were */
	uint64_t rx_invalid;		/* descriptors we could not use */
	int last_errno;			/* why the last send failed, positive; 0 = it did not */
};

struct nicq {
	uint32_t id;		/* NIC queue number */
	int fd;			/* AF_XDP socket, -1 in memory */
	bool sg;		/* multi-buffer: one Ethernet frame in several chunks */
	bool busy_poll;		/* interrupts are put off: nicq_rx() runs the driver's receive loop when nothing is there */
	bool tx_checksum;	/* checksums may be left to the NIC: nicq_tx_request_checksum() */
	enum vd_queue_mode mode;
	struct xsk_ring_cons rx, completion;
	struct xsk_ring_prod tx, fill;
	uint8_t *umem;
	uint64_t umem_len;
	int umem_fd;
	struct frames frames;
	struct xdp_desc *tx_last;	/* staged last, not yet submitted */
	uint32_t tx_staged;	/* reserved in the tx ring, not yet submitted */
	uint32_t tx_outstanding;	/* staged or with the kernel */
	uint32_t tx_limit;	/* most frames out for sending, so that receiving never starves */
	uint32_t tx_of[VD_MAX_PORTS];	/* tx_outstanding, by the port they are of */
	uint32_t fill_target;	/* frames to keep with the kernel for receiving, for now */
	uint32_t fill_max;	/* at most */
	uint32_t fill_least;	/* fewest the kernel has had left since fill_since */
	uint64_t fill_since;	/* value of stats.rx_packets */
	struct nicq_stats stats;
	void *maps[5];		/* private: ring mappings for munmap */
	size_t map_len[5];
};

/* Longest Ethernet frame that the NIC queue carries, bytes. */
static inline uint32_t nicq_max_frame(const struct nicq *q)
{
	return NICQ_MAX_FRAME(q->frames.chunk) * (q->sg ? NICQ_PIECES : 1);
}

/*
 * Up to @max received frames (or pieces of them); each becomes FRAME_HELD until nicq_recycle(). Bad descriptors are
 * counted and refilled.
 */
unsigned nicq_rx(struct nicq *q, struct nicq_pkt *pkts, unsigned max);
/* The frame's metadata if the program wrote one (magic matches), else NULL. */
static inline struct vd_meta *nicq_meta(const struct nicq_pkt *p)
{
	struct vd_meta *m = (struct vd_meta *)(void *)(p->data - sizeof(*m));

	return m->magic == VD_META_MAGIC ? m : NULL;
}
/* Held frame back: metadata's magic (if any) must be wiped by this call (at pkt data - 16); goes to the free list; refill posts it. */
static inline void nicq_recycle(struct nicq *q, const struct nicq_pkt *p)
{
	struct vd_meta *m = nicq_meta(p);

	if (m)
		m->magic = 0;
	frames_release(&q->frames, p->frame, FRAME_HELD);
}

/* Tops the fill ring up to fill_target from the free list, in bulk; wakes the driver when it asks for it. */
void nicq_refill(struct nicq *q);

/* How many frames can be sent now, up to @want (free frames and tx ring room); collects sent frames first. */
unsigned nicq_tx_room(struct nicq *q, unsigned want);
/*
 * Buffer for the next frame to send (room was checked); NICQ_MAX_FRAME(chunk) bytes. NULL when there is none.
 * A frame that is not sent after all goes back by nicq_tx_cancel(). @port: whose it is, an index.
 */
static inline uint8_t *nicq_tx_buf(struct nicq *q, uint32_t port, uint32_t *frame)
{
	uint32_t n = frames_take(&q->frames, FRAME_TX);

	*frame = n;
	if (n == UINT32_MAX)
		return NULL;
	q->tx_outstanding++;
	q->frames.tag[n] = (uint16_t)port;
	q->tx_of[port]++;
	return q->umem + (uint64_t)n * q->frames.chunk + NICQ_DATA_OFFSET;
}

/* A frame that was sent, or is not to be. False: it was neither. */
static inline bool nicq_tx_done(struct nicq *q, uint32_t frame)
{
	if (unlikely(!frames_release(&q->frames, frame, FRAME_TX)))
		return false;
	q->tx_of[q->frames.tag[frame]]--;
	return true;
}

static inline void nicq_tx_cancel(struct nicq *q, uint32_t frame)
{
	if (nicq_tx_done(q, frame))
		q->tx_outstanding--;
}

/*
 * Stages it on the tx ring; visible to the kernel at nicq_tx_flush(). @more: the Ethernet frame goes on in the one that
 * is staged next; there must be room for all of it.
 */
static __always_inline void nicq_tx_stage(struct nicq *q, uint32_t frame, uint32_t len, bool more)
{
	struct xdp_desc *d;
	uint32_t idx;

	if (unlikely(!len || len > NICQ_MAX_FRAME(q->frames.chunk) || xsk_ring_prod__reserve(&q->tx, 1, &idx) != 1)) {
		q->stats.tx_errors++;
		nicq_tx_cancel(q, frame);
		return;
	}
	d = xsk_ring_prod__tx_desc(&q->tx, idx);
	d->addr = (uint64_t)frame * q->frames.chunk + NICQ_DATA_OFFSET;
	d->len = len;
	d->options = more ? XDP_PKT_CONTD : 0;
	q->tx_last = d;
	q->tx_staged++;
	q->stats.tx_packets += !more;
	q->stats.tx_bytes += len;
}

/*
 * Asks the NIC to finish the checksum of the frame that was staged last, in one piece, when tx_checksum says that it
 * can. The field holds the pseudo header's sum. @start, @offset: as in the virtio-net header, bytes.
 */
static inline void nicq_tx_request_checksum(struct nicq *q, uint32_t frame, uint16_t start, uint16_t offset)
{
	struct nicq_tx_request *r = (struct nicq_tx_request *)(void *)(q->umem + (uint64_t)frame * q->frames.chunk +
								     NICQ_DATA_OFFSET - sizeof(*r));

	*r = (struct nicq_tx_request){ .flags = NICQ_TX_CHECKSUM, .csum_start = start, .csum_offset = offset };
	q->tx_last->options |= XDP_TX_METADATA;
}

/*
 * Submits what is staged and wakes the kernel when it wants it. 0, or -errno: -EAGAIN = call again (soon, not
 * at once), anything else (-ENETDOWN, -ENXIO = device down or gone) = no use to call again before the link changes.
 */
int nicq_tx_flush(struct nicq *q);
/* True while the kernel has not yet taken all of the tx ring (copy mode needs more wake-ups). */
bool nicq_tx_unsent(const struct nicq *q);
/* Collects sent frames. */
unsigned nicq_reap(struct nicq *q);

/* Rings and UMEM in plain memory; the test plays the kernel through the same pointers. */
int nicq_init_memory(struct nicq *q, uint32_t ring_size, uint32_t frames, uint32_t chunk);
/* Unmaps and closes everything; safe after a failed or no set-up if fd and umem_fd are -1. */
void nicq_fini(struct nicq *q);
/* Divides the frames between receiving and sending; part of every set-up. */
void nicq_set_targets(struct nicq *q);

#endif
