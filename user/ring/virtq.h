/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device side of a virtqueue, as the data path sees it. A virtq lives as
 * long as its port; a session starts and stops it. Whoever touches it holds
 * @lock: a worker for one batch, the control thread to change it.
 *
 * A worker's batch on a tx virtqueue:   tx_get -> copy out -> tx_put -> publish
 * A worker's batch on an rx virtqueue:  rx_put -> publish
 * and, before it sleeps:                arm (then look again)
 *
 * Which kind of ring it is (split or packed) is decided once per batch, inside
 * these calls. Chains are completed in the order in which the guest made them
 * available, always, so IN_ORDER costs nothing. Our own shadow of the ring's
 * positions decides, never what the guest wrote into used or event areas.
 */
#ifndef VIADUCT_RING_VIRTQ_H
#define VIADUCT_RING_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "base/atomics.h"
#include "ring/copy.h"
#include "ring/dirty.h"
#include "ring/gmem.h"

#define VIRTQ_BATCH 64		/* packets in one batch at most */
#define VIRTQ_PIECES 1024	/* iovecs in one batch at most */
#define VIRTQ_MAX_SIZE 32768

/* Why a packet was dropped or a ring was stopped. Counted per virtqueue. */
enum virtq_error {
	VIRTQ_OK = 0,
	/* the packet is dropped, its descriptors go back */
	VIRTQ_DROP_SHORT,	/* chain shorter than header + 14 bytes */
	VIRTQ_DROP_LONG,	/* longer than the largest frame, with GSO than any packet */
	VIRTQ_DROP_ADDRESS,	/* buffer outside guest memory */
	VIRTQ_DROP_PIECES,	/* too many pieces */
	VIRTQ_DROP_OFFLOAD,	/* asks for an offload that was not negotiated */
	VIRTQ_DROP_NO_BUFFER,	/* rx: no (or too small a) buffer within the allowed wait */
	VIRTQ_DROP_DISABLED,	/* ring disabled or stopped */
	/* the ring is broken: stop touching it, signal its err fd */
	VIRTQ_BROKEN_AVAIL,	/* split: avail index jumps by more than the ring's size */
	VIRTQ_BROKEN_HEAD,	/* head or buffer id out of range */
	VIRTQ_BROKEN_CHAIN,	/* next out of range, loop, chain longer than the ring, or into what we have already */
	VIRTQ_BROKEN_INDIRECT,	/* indirect table absurd or not negotiated */
	VIRTQ_BROKEN_DIRECTION,	/* writable/readable in the wrong place */
	VIRTQ_BROKEN_MEMORY,	/* SIGBUS in guest memory */
	VIRTQ_ERRORS
};
#define VIRTQ_FIRST_BROKEN VIRTQ_BROKEN_AVAIL

/* Short names for status and logs, one per virtq_error ("drop_short", "broken_head", ...). */
const char *virtq_error_name(enum virtq_error e);

enum virtq_dir { VIRTQ_RX, VIRTQ_TX };	/* from the guest's point of view */

/*
 * Where a packed ring stands, in memory that outlives the process: a file in /run, mapped by the caller. A front-end that
 * lost its back-end does not know the position of a packed ring; with this the next process finds it, wherever this one
 * was killed. What is in it is not believed but compared with the ring.
 */
struct virtq_kept {
	uint32_t size;		/* descriptors; 0: nothing is kept. The two highest bits are flags: kept.h */
	uint16_t published;	/* position up to which the driver has all descriptors back */
	uint16_t next;		/* the same when the batch under way is published */
};
_Static_assert(sizeof(struct virtq_kept) == 8, "virtq_kept");

#define VIRTQ_PACKED_BASE 0x80008000u

/* The base of a ring at its beginning; a packed one begins with both wrap counters at 1. @features: negotiated. */
static inline uint32_t virtq_first_base(uint64_t features)
{
	return features >> VIRTIO_F_RING_PACKED & 1 ? VIRTQ_PACKED_BASE : 0;
}

/* What start needs. Pointers were made by gmem_map() for the whole ring and are contiguous. */
struct virtq_config {
	enum virtq_dir dir;
	uint32_t size;		/* descriptors */
	uint64_t features;	/* negotiated virtio feature bits */
	void *desc, *avail, *used;	/* packed: descriptors, driver's and device's event suppression */
	struct gmem *mem;	/* caller keeps a reference for as long as the ring runs */
	/*
	 * As in SET_VRING_BASE. Split: the next avail index. Packed: bits 0-14 the position, bit 15 its wrap
	 * counter; the upper half, which says the same of used, is not looked at: nothing is in flight.
	 */
	uint32_t base;
	uint32_t max_frame;	/* largest Ethernet frame without FCS, bytes */
	int callfd;		/* -1 = none; not owned */
	int kickfd;		/* -1 = none: the ring is polled; not owned */
	/* Migration. The caller keeps a reference to the log for as long as the ring runs with it. */
	struct dirty *log;	/* NULL: what is written is not logged */
	bool log_ring;		/* VHOST_VRING_F_LOG: writes to the ring are, too */
	uint64_t log_addr;	/* split: guest address at which writes to the used ring are logged */
	/*
	 * Packed: the position is kept there; NULL: nowhere. The caller's, who has it for as long as the ring runs, and
	 * gives the same to the next start of this ring, also in another process.
	 */
	struct virtq_kept *kept;
};

struct virtq_stats {
	uint64_t packets, bytes;
	uint64_t calls;		/* sent */
	uint64_t calls_suppressed;
	uint64_t repeated;	/* in flight at a reconnect: possibly repeated or lost */
	uint64_t unserved;	/* given back unused at a reconnect: the front-end took what came behind them */
	/* offloads, counted by the data path */
	uint64_t gso_packets;	/* tx: cut into frames; rx: joined from frames */
	uint64_t gso_frames;	/* the frames they were cut into, or joined from */
	uint64_t checksums;	/* tx: packets that stayed whole and had their checksum finished */
	uint64_t errors[VIRTQ_ERRORS];
};

struct virtq {
	struct spinlock lock;
	/* state, written under @lock, read by workers before they take it */
	uint32_t started;	/* addresses valid, kick seen */
	uint32_t enabled;
	uint32_t broken;	/* enum virtq_error that broke it, 0 = fine */
	uint64_t call_since_ns;	/* non-zero while a thread is inside the call fd's write */

	/* ring, valid while started */
	enum virtq_dir dir;
	uint32_t size;
	uint32_t max_frame;
	uint64_t features;
	bool packed, event_idx, indirect, mergeable;
	bool log_ring;		/* as in virtq_config; never without a log */
	uint8_t hdr_len;	/* 10 or 12 */
	uint32_t longest;	/* tx: longest chain, bytes, header included */
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *packed_desc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device_event;
	};
	struct gmem *mem;
	unsigned hint;		/* gmem_map()'s last region */
	int callfd, kickfd;

	/* shadow positions. Split: free-running; packed: bits 0-14 the descriptor, bit 15 the wrap counter */
	uint16_t next_avail;	/* next chain to take */
	uint16_t seen_avail;	/* split: avail index as last read and checked; packed: where rx last found no chain */
	uint16_t next_used;	/* next entry of used to write */
	uint16_t published_used;	/* next_used as last published */
	struct virtq_kept *kept;	/* packed: as in virtq_config */
	bool resumed;		/* started where it was kept, not where the front-end said */
	uint16_t staged_flags;	/* packed: of the descriptor at published_used, to be written last */
	bool signalled_valid;	/* there was a call decision before */
	bool notify_armed;	/* we asked for kicks */
	uint64_t gone;		/* tx, the caller's: bit per packet from next_avail on that has been where it was to go; 0 at start */
	uint32_t resume;	/* tx, the caller's: payload of the packet at next_avail already out, bytes; 0 at start */
	unsigned walked;	/* rx: chains and descriptors looked at since virtq_publish(): no lock hold is longer for them */
	uint32_t starved;	/* rx: length of the packet that found too few buffers up to seen_avail, 0 = none */
	struct dirty *log;	/* as in virtq_config, and so is log_addr */
	uint64_t log_addr;

	struct virtq_stats stats;
};

/*
 * What a running ring is, but for its memory and fds: what another process needs to go on with it. Without pointers or
 * padding, so it can be sent as it is to a process of the same version.
 */
struct virtq_saved {
	uint16_t next_avail, seen_avail, next_used, published_used;
	uint32_t resume;
	uint32_t starved;
	uint64_t gone;
	uint32_t broken;
	uint8_t signalled_valid, notify_armed, enabled, pad;
	struct virtq_stats stats;
};
_Static_assert(sizeof(struct virtq_saved) == 32 + sizeof(struct virtq_stats), "padding in virtq_saved");

/* One packet taken from a tx virtqueue. */
struct virtq_pkt {
	uint16_t chain;		/* into the batch's chains */
	uint16_t npieces;
	uint32_t len;		/* frame bytes, virtio-net header excluded */
	struct iovec *piece;	/* into the batch's pool */
	struct virtio_net_hdr_v1 hdr;	/* our copy */
};

/* A chain taken from the ring, to be given back. */
struct virtq_chain {
	uint16_t id;		/* split: head; packed: buffer id */
	uint16_t ndesc;		/* ring entries it takes: split 1 */
	/*
	 * enum virtq_error: counted when the chain is given back; 0 = it is a packet. The caller may set it for a packet
	 * that it cannot use.
	 */
	uint32_t drop;
};

/* Scratch for one batch; one per worker, never on a hot stack. */
struct virtq_batch {
	unsigned nchains;
	struct virtq_chain chain[VIRTQ_BATCH];	/* in ring order, dropped ones included */
	unsigned n;
	struct virtq_pkt pkt[VIRTQ_BATCH];
	unsigned npieces;
	unsigned walked;	/* descriptors looked at, the first of each chain excluded */
	struct iovec piece[VIRTQ_PIECES];
};

/* What there is to say of a packet for an rx virtqueue that is not one plain frame. */
struct virtq_more {
	struct virtio_net_hdr_v1 hdr;	/* num_buffers is filled in when it is delivered */
	const struct iovec *piece;	/* all of it */
	uint32_t npieces;
	/*
	 * Frames it was joined from, 0 or 1: it was not. Losses and deliveries are counted in frames. Such a packet is
	 * never dropped for want of room, it waits: its frames may fit where it does not.
	 */
	uint32_t frames;
};

#define VIRTQ_HEAD 16		/* bytes of a packet's beginning that may come from elsewhere */

/* One packet for an rx virtqueue. */
struct virtq_src {
	const void *data;		/* all of it, when @more is NULL */
	uint32_t len;			/* bytes, virtio-net header excluded */
	const struct virtq_more *more;	/* several pieces, or a header that says something */
	/*
	 * Without @more: the packet's first VIRTQ_HEAD bytes, whatever @data says: another guest may change that after we
	 * looked at it. NULL: @data is ours. @len is at least VIRTQ_HEAD then.
	 */
	const uint8_t *head;
};

/**
 * virtq_start() - attach a ring
 * Caller holds @vq->lock (control thread). Kick notification starts armed. A packed ring that is not new goes on where
 * cfg->kept says, if there it can and the front-end does not know better (virtq_found_position()).
 * Return: 0, or -EINVAL when size, base or the alignment of the pointers are not legal.
 */
int virtq_start(struct virtq *vq, const struct virtq_config *cfg);

/**
 * virtq_stop() - detach it; after this nothing of the ring's memory is touched
 * Caller holds @vq->lock. Everything taken was completed already (batches never span the lock).
 * Return: the base for GET_VRING_BASE; packed: both halves, with used = avail.
 */
uint32_t virtq_stop(struct virtq *vq);

/**
 * virtq_forget_kept() - the front-end is told where the ring stands, or that it is to be a new one
 * Caller holds @vq->lock; before virtq_stop(). What was kept counts only where the next base cannot be true.
 */
void virtq_forget_kept(struct virtq *vq);

/**
 * virtq_save() - what virtq_restore() needs, of a ring that runs
 * Caller holds @vq->lock, between two batches, and lets no other batch follow if the ring is to go on elsewhere.
 */
void virtq_save(const struct virtq *vq, struct virtq_saved *out);

/**
 * virtq_restore() - go on with a ring that runs
 * @vq: stopped
 * @cfg: as for virtq_start(), made from this process's mapping of the same memory; base is not looked at
 * @s: what virtq_save() said
 *
 * Nothing of the ring's memory is read or written, and the guest notices nothing. Counters go on, and whether it is enabled
 * or broken is as it was. Caller holds @vq->lock (control thread).
 * Return: 0, or -EINVAL when size or alignment are not legal, or the positions are none that such a ring can have.
 */
int virtq_restore(struct virtq *vq, const struct virtq_config *cfg, const struct virtq_saved *s);

/**
 * virtq_relocate() - same ring, new mapping (memory table replaced while running)
 * Caller holds @vq->lock. Positions and the log are kept.
 */
void virtq_relocate(struct virtq *vq, struct gmem *mem, void *desc, void *avail, void *used);

/**
 * virtq_log() - start, change or stop logging while the ring runs
 * @log: NULL: stop
 * @log_ring, @log_addr: as in virtq_config
 *
 * Caller holds @vq->lock. Positions are kept. When it returns, all that is written from now on is logged, and the old
 * log is not touched any more. vhost-user, "Migration".
 */
void virtq_log(struct virtq *vq, struct dirty *log, bool log_ring, uint64_t log_addr);

/* The uplink's MTU changed: @len as virtq_config.max_frame. Lock held. */
void virtq_set_max_frame(struct virtq *vq, uint32_t len);

/* True when the worker may use it. Cheap; repeated under the lock. */
static inline bool virtq_usable(const struct virtq *vq)
{
	return READ_ONCE(vq->started) && READ_ONCE(vq->enabled) && !READ_ONCE(vq->broken);
}

/**
 * virtq_tx_get() - take packets the guest sends
 * @vq: tx virtqueue, lock held, started (it may be disabled: the caller then discards)
 * @b: batch to fill; b->n packets on return
 * @max: at most so many (<= VIRTQ_BATCH)
 *
 * Bad packets are dropped; they are counted and go back with the packets around them (when there are none, at
 * once). Packets ask for no more than was negotiated (vnet_allowed()); with GSO they are at most VNET_MAX_GSO bytes,
 * without at most max_frame. On a broken ring vq->broken is set and what was taken before it is still in @b.
 * Bounded: looks at no more than @max chains, dropped ones included, and a few thousand descriptors plus
 * one chain. Return: b->n; 0 does not mean that nothing is left (virtq_arm() tells).
 */
unsigned virtq_tx_get(struct virtq *vq, struct virtq_batch *b, unsigned max);

/* Copies one packet's pieces to @dst (at least pkt->len bytes). */
static inline void virtq_pkt_copy(const struct virtq_pkt *pkt, void *dst)
{
	uint8_t *p = dst;

	for (unsigned i = 0; i < pkt->npieces; i++) {
		copy_bytes(p, pkt->piece[i].iov_base, pkt->piece[i].iov_len);
		p += pkt->piece[i].iov_len;
	}
}

/**
 * virtq_tx_put() - give the first @n packets of the batch back (staged; publish makes them visible)
 * Once per batch. The rest was not taken, then: the next virtq_tx_get() finds it again.
 */
void virtq_tx_put(struct virtq *vq, const struct virtq_batch *b, unsigned n);

/**
 * virtq_rx_put() - deliver frames
 * @vq: rx virtqueue, lock held, usable
 * @src, @n: frames, in order (n <= VIRTQ_BATCH)
 *
 * Writes header (num_buffers; the other fields 0 unless src->more says otherwise) and payload into one chain, or
 * several with MRG_RXBUF. A chain that is too small without MRG_RXBUF drops that frame (counted), chain returned
 * with length 0. Stops at the first frame for which the guest has no (complete set of) buffers, and at a joined packet
 * that does not fit into what there is.
 * Bounded in descriptors as virtq_tx_get() is.
 * Return: frames consumed, delivered or dropped; fewer than @n = guest is out of buffers, the ring broke, or
 * the batch was too expensive (the rest goes with the next one).
 */
unsigned virtq_rx_put(struct virtq *vq, const struct virtq_src *src, unsigned n);

/**
 * virtq_publish() - make staged used entries visible: one release store, one call decision
 * Tests gmem_broken() first: on a broken memory nothing is published and the ring is marked broken.
 * Return: true when the guest wants a call: the caller then uses virtq_call(), still under the lock.
 */
bool virtq_publish(struct virtq *vq);

/**
 * virtq_call() - signal the guest, never blocking whatever the fd's other holders do to it
 * Caller holds @vq->lock (the fd must stay). Polls for room first; a full counter is a delivered call.
 */
void virtq_call(struct virtq *vq);

/**
 * virtq_arm() - ask for a kick at the next available buffer, then look again
 * Return: true when buffers are there already (do not sleep). Lock held.
 */
bool virtq_arm(struct virtq *vq);
/* Asks for no kicks (the worker polls). Lock held. */
void virtq_disarm(struct virtq *vq);

/**
 * virtq_is_out_of_step() - a ring that just started as a new one, though it is not new?
 *
 * A front-end that lost its back-end may not know the position of a packed ring, and begins anew, or somewhere, while the
 * driver goes on in the middle: nothing will move. Lock held. Return: true when there are descriptors in it that a device
 * has used, or the one where it stands is, and its position was not kept.
 */
bool virtq_is_out_of_step(const struct virtq *vq);

/**
 * virtq_found_position() - did the ring go on where its position was kept, not where the front-end said?
 *
 * Then the driver may wait for a call that a device before us owed it: the caller sends one. Lock held. What may have got
 * lost or repeated is in stats.repeated, as far as it is known, and what is lost in stats.unserved.
 */
static inline bool virtq_found_position(const struct virtq *vq)
{
	return vq->resumed;
}

/* True when there is something to take, as far as one look at the ring tells. Lock held. */
bool virtq_pending(const struct virtq *vq);

/**
 * virtq_rx_starved() - is it of no use to try again?
 * @len: of the packet to be delivered, bytes
 *
 * The last virtq_rx_put() found too few buffers for such a packet, and none were added since. Lock held.
 */
bool virtq_rx_starved(const struct virtq *vq, uint32_t len);

#endif
