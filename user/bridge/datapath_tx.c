/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest to NIC. Theory of operation: a plain packet is copied into one UMEM
 * frame and that is all. Everything else (a checksum or segmentation that the
 * guest left to us, a frame longer than a chunk) takes the way through
 * segment_plan() and segment_write(), frame by frame.
 *
 * A turn of a virtqueue is counted in frames, not in packets, so a guest that
 * sends packets of 64 KiB gets no more of the NIC than one that sends short
 * ones. A packet that does not fit into its turn stays in the ring, untouched,
 * and vq->resume says how much of it is out already, in bytes of payload: the
 * MTU may change meanwhile, and then some of it goes out again, but none is left
 * out. The guest may change it too; then it sent something else, that is all.
 *
 * A frame of several chunks that finds room for some of them has the next turn,
 * and nobody else sends before it: what others take would never be enough again.
 */
#include <errno.h>
#include <unistd.h>

#include "bridge/datapath.h"
#include "bridge/mac.h"

/*
 * Source addresses we do not know yet go to the control thread, which decides. A guest that makes up a new
 * one for every packet, or sends from more than it may have, does not keep that thread busy.
 */
static void note_source(struct datapath *dp, struct dp_tx *tx, uint64_t src, uint64_t now_ns)
{
	struct learn_request req = { .mac = src, .when_ns = now_ns, .port = tx->port->index };
	uint64_t one = 1;

	tx->last_src = src;
	if (tx->port->cfg.nmac || fdb_lookup(dp->fdb, src) == tx->port->index)
		return;
	if (now_ns - tx->stats->learn_ns < DP_LEARN_NS || !learn_push(dp->learn, &req)) {
		tx->last_src = 0;
		return;
	}
	tx->stats->learn_ns = now_ns;
	if (dp->learn_fd >= 0 && write(dp->learn_fd, &one, sizeof(one)) < 0)
		return;	/* our own eventfd, non-blocking: full means it is signalled already */
}

/*
 * An address that was refused may be free by now, one that was known may have been taken out, and one that
 * is heard from the wire all the time must stay on record as heard.
 */
static void forget_sources(struct datapath *dp, uint64_t now_ns)
{
	dp->forget_ns = now_ns;
	dp->last_wire_src = 0;
	for (uint32_t i = 0; i < dp->ntx; i++)
		dp->tx[i].last_src = 0;
}

static void discard(struct datapath *dp, struct virtq *vq, uint64_t *counter, unsigned n)
{
	*counter += n;
	vq->resume = 0;
	virtq_tx_put(vq, &dp->batch, n);
}

/* Buffers for one Ethernet frame, as many chunks as it needs. The room was checked. Return: how many, 0 = none. */
static unsigned take_buffers(struct nicq *q, uint32_t len, uint32_t *frame, struct iovec *to)
{
	const uint32_t room = NICQ_MAX_FRAME(q->frames.chunk);
	unsigned n = 0;

	do {
		uint8_t *buf = nicq_tx_buf(q, &frame[n]);

		if (unlikely(!buf)) {	/* cannot be: the room was checked */
			q->stats.tx_errors++;
			while (n)
				nicq_tx_cancel(q, frame[--n]);
			return 0;
		}
		to[n] = (struct iovec){ buf, len < room ? len : room };
		len -= (uint32_t)to[n++].iov_len;
	} while (len);
	return n;
}

/* One of the Ethernet frames of a packet. Return: false when the guest's memory broke. */
static bool send_frame(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *p, uint32_t i, uint64_t now_ns)
{
	uint32_t frame[NICQ_PIECES];
	struct iovec to[NICQ_PIECES];
	unsigned n = take_buffers(dp->nicq, segment_len(&dp->plan, i), frame, to);
	uint64_t src;

	if (unlikely(!n))
		return true;
	/* Of a frame in pieces, a kernel that finishes the checksum in software sums the first piece only. */
	dp->plan.leave_checksum = dp->nicq->tx_checksum && n == 1 && segment_is_for_device(&dp->plan, p);
	segment_write(&dp->plan, p, i, to, n);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);	/* the mark is set by a handler on this thread */
	if (unlikely(gmem_broken(tx->vq->mem))) {	/* zeroes, not the guest's packet */
		while (n)
			nicq_tx_cancel(dp->nicq, frame[--n]);
		return false;
	}
	src = mac_load((const uint8_t *)to[0].iov_base + MAC_LEN);
	if (unlikely(src != tx->last_src))
		note_source(dp, tx, src, now_ns);
	for (unsigned k = 0; k < n; k++) {
		nicq_tx_stage(dp->nicq, frame[k], (uint32_t)to[k].iov_len, k + 1 < n);
		if (unlikely(dp->plan.leave_checksum))
			nicq_tx_request_checksum(dp->nicq, frame[0], dp->plan.csum_start, dp->plan.csum_offset);
	}
	return true;
}

/* @frames went out, the last ones of the packet when it is @done. */
static void count_offload(struct virtq *vq, const struct virtq_pkt *p, uint32_t frames, bool done)
{
	if (p->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		vq->stats.gso_packets += done;
		vq->stats.gso_frames += frames;
	} else if (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		vq->stats.checksums += done;
	}
}

/*
 * A packet that needs more than a copy into one chunk. It may become more frames than there is room for: then it stays
 * in the ring, and the next turn goes on with the frame that vq->resume says. Return: false when it stays.
 */
static __attribute__((noinline)) bool send_complex(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *p,
						     unsigned *room, uint64_t now_ns)
{
	const uint32_t chunk = NICQ_MAX_FRAME(dp->nicq->frames.chunk);
	struct virtq *vq = tx->vq;
	enum virtq_error e = segment_plan(&dp->plan, p, vq->max_frame);
	uint32_t first, i;
	bool done;

	if (unlikely(e)) {
		dp->batch.chain[p->chain].drop = e;
		vq->resume = 0;
		return true;
	}
	first = dp->plan.mss ? vq->resume / dp->plan.mss : 0;
	for (i = first; i < dp->plan.nframes; i++) {
		unsigned need = (segment_len(&dp->plan, i) + chunk - 1) / chunk;

		if (need > *room) {
			dp->need = need;
			break;
		}
		if (unlikely(!send_frame(dp, tx, p, i, now_ns)))
			break;
		*room -= need;
	}
	done = i >= dp->plan.nframes;
	vq->resume = done ? 0 : i * dp->plan.mss;
	count_offload(vq, p, i - first, done);
	return done;
}

static inline bool is_plain(const struct virtq_pkt *p, uint32_t chunk)
{
	return !(p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && p->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE &&
	       p->len <= chunk;
}

/* Copies a batch into frames and stages them. Return: packets that are done; *@room: frames that may still be sent. */
static unsigned send_batch(struct datapath *dp, struct dp_tx *tx, unsigned n, unsigned *room, uint64_t now_ns)
{
	const uint32_t chunk = NICQ_MAX_FRAME(dp->nicq->frames.chunk);
	const struct gmem *mem = tx->vq->mem;
	struct virtq_batch *b = &dp->batch;
	unsigned i;

	for (i = 0; i < n && *room; i++) {
		const struct virtq_pkt *p = &b->pkt[i];
		uint32_t frame;
		uint8_t *buf;
		uint64_t src;

		if (unlikely(!is_plain(p, chunk))) {
			if (!send_complex(dp, tx, p, room, now_ns))
				break;
			continue;
		}
		buf = nicq_tx_buf(dp->nicq, &frame);
		--*room;
		if (unlikely(!buf)) {	/* cannot be: the room was checked */
			dp->nicq->stats.tx_errors++;
			continue;
		}
		if (likely(i + 1 < n))		/* the next one comes from the guest's core meanwhile */
			copy_fetch_from(p[1].piece->iov_base, p[1].piece->iov_len);
		virtq_pkt_copy(p, buf);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);	/* the mark is set by a handler on this thread */
		if (unlikely(gmem_broken(mem))) {	/* zeroes, not the guest's packet */
			nicq_tx_cancel(dp->nicq, frame);
			break;
		}
		src = mac_load(buf + MAC_LEN);
		if (unlikely(src != tx->last_src))
			note_source(dp, tx, src, now_ns);
		nicq_tx_stage(dp->nicq, frame, p->len, false);
	}
	virtq_tx_put(tx->vq, b, i);
	return i;
}

/* The packet that was half sent is at the ring's front, unless the guest changed it: then nothing is left of it. */
static __attribute__((noinline)) void check_resume(struct datapath *dp, struct virtq *vq)
{
	const struct virtq_batch *b = &dp->batch;

	if (b->nchains && (!b->n || b->pkt[0].chain || is_plain(&b->pkt[0], NICQ_MAX_FRAME(dp->nicq->frames.chunk))))
		vq->resume = 0;
}

/* One tx virtqueue, one batch, lock held. Return: packets taken; *@room: frames that may still be sent. */
static unsigned tx_ring(struct datapath *dp, struct dp_tx *tx, unsigned *room, bool up, uint64_t now_ns)
{
	struct virtq *vq = tx->vq;
	unsigned n;

	if (unlikely(vq->notify_armed))
		virtq_disarm(vq);
	n = virtq_tx_get(vq, &dp->batch, *room < DP_TX_BATCH ? *room : DP_TX_BATCH);
	if (unlikely(vq->resume))
		check_resume(dp, vq);
	if (!n)
		goto publish;
	if (unlikely(!READ_ONCE(vq->enabled)))	/* started but disabled: consume and discard */
		discard(dp, vq, &vq->stats.errors[VIRTQ_DROP_DISABLED], n);
	else if (unlikely(!up))
		discard(dp, vq, &tx->stats->drop_uplink_down, n);
	else
		n = send_batch(dp, tx, n, room, now_ns);
publish:
	if (virtq_publish(vq))
		virtq_call(vq);
	return n;
}

/* One tx virtqueue's turn, lock held. Return: false when its next frame needs more room than there is. */
static bool tx_turn(struct datapath *dp, struct dp_tx *tx, unsigned room, bool up, uint64_t now_ns,
		    struct dp_result *res)
{
	const unsigned before = room;

	dp->need = 1;
	res->work += tx_ring(dp, tx, &room, up, now_ns);
	if (tx->vq->kickfd < 0)
		res->polled = true;
	/* Frames of a packet that is not done yet are work too. */
	if (unlikely(dp->need > room))
		res->work += before - room;
	return likely(dp->need <= before);
}

void datapath_tx(struct datapath *dp, uint64_t now_ns, struct dp_result *res)
{
	const unsigned want = dp->one_port ? DP_TX_TURN : DP_TX_BATCH;
	bool up = READ_ONCE(dp->uplink_up), fits = true;
	uint32_t start = dp->next_tx;
	int ret;

	if (unlikely(now_ns - dp->forget_ns >= DP_FORGET_NS))
		forget_sources(dp, now_ns);
	dp->need = 1;
	for (uint32_t i = 0; i < dp->ntx; i++) {
		struct dp_tx *tx = &dp->tx[(start + i) % dp->ntx];
		struct virtq *vq = tx->vq;
		unsigned room;

		if (READ_ONCE(tx->armed) || !READ_ONCE(vq->started) || READ_ONCE(vq->broken))
			continue;
		room = likely(up) ? nicq_tx_room(dp->nicq, want) : want;
		if (room) {
			if (!spin_trylock(&vq->lock)) {
				res->again = true;
				continue;
			}
			if (READ_ONCE(vq->started) && !READ_ONCE(vq->broken))
				fits = tx_turn(dp, tx, room, up, now_ns, res);
			spin_unlock(&vq->lock);
		}
		if (!room || unlikely(!fits)) {	/* the NIC is the bottleneck: the guest's packets stay where they are */
			res->waiting = true;
			dp->next_tx = (start + i) % dp->ntx;
			break;
		}
	}
	ret = nicq_tx_flush(dp->nicq);
	if (up && (ret == -EAGAIN || nicq_tx_unsent(dp->nicq)))
		res->waiting = true;
}

bool datapath_arm(struct datapath *dp)
{
	/* While nothing can be sent, a guest's packets are no reason to stay awake. */
	bool can_send = !READ_ONCE(dp->uplink_up) || !dp->ntx || nicq_tx_room(dp->nicq, dp->need) >= dp->need;
	bool work = false;

	for (uint32_t i = 0; i < dp->ntx; i++) {
		struct dp_tx *tx = &dp->tx[i];
		struct virtq *vq = tx->vq;

		if (READ_ONCE(tx->armed) || !READ_ONCE(vq->started) || READ_ONCE(vq->broken) ||
		    READ_ONCE(vq->kickfd) < 0)
			continue;
		if (!spin_trylock(&vq->lock)) {
			work = true;
			continue;
		}
		if (READ_ONCE(vq->started) && !READ_ONCE(vq->broken) && vq->kickfd >= 0) {
			/* The mark first: a kick that comes right now must find it and clear it. */
			WRITE_ONCE(tx->armed, 1);
			if (virtq_arm(vq)) {
				WRITE_ONCE(tx->armed, 0);
				work |= can_send;
			}
		}
		spin_unlock(&vq->lock);
	}
	return work;
}
