/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From guests. Theory of operation: a batch is taken from a ring, forward.h says
 * where each packet goes, and then they go there: all to the same place nearly
 * always, else what goes to the uplink first, then group by group. Packets are
 * given back in the order of the ring, so what one of them has to wait for holds
 * up those behind it; for others than the uplink that has an end (see below).
 *
 * To the uplink a plain packet is copied into one UMEM frame and that is all.
 * Everything else (a checksum or segmentation that the guest left to us, a frame
 * longer than a chunk) takes the way through segment_plan() and segment_write(),
 * frame by frame. A packet that finds room for a part of its frames stays in the
 * ring, untouched, and vq->resume says how much of it is out already, in bytes of
 * payload: the MTU may change meanwhile, and then some of it goes out again, but
 * none is left out. The guest may change it too; then it sent something else,
 * that is all. A frame of several chunks that finds room for some of them has the
 * next turn, and nobody else sends before it: what others take would never be
 * enough again.
 *
 * Ports take turns: deficit round robin in bytes, with a fixed charge for each
 * frame, because short frames cost no less to move than long ones. Where several
 * ports send, none of them has more than its part of the frames that are out.
 *
 * A receiver on this host without buffers: as long as all packets in sight are
 * for it they wait, DP_LOCAL_HOLD_NS at most; where others wait behind them, they
 * are dropped at once, so a guest that takes nothing holds up nobody.
 */
#include <errno.h>
#include <unistd.h>

#include "bridge/forward.h"
#include "bridge/local.h"
#include "bridge/mac.h"

#define QUANTUM (64 * (1514 + DP_FRAME_CHARGE))	/* of one turn; twice that for a port that is alone */
#define MIN_CAP 64		/* frames that a port may always have out for sending */
#define GETS 4			/* batches of one turn at most */
#define GETS_ALONE 1		/* where nobody waits for one: more would only make receiving late */
#define IDLE_NS 50000ull	/* a ring that is empty for so long is asked for kicks */
#define FEW 4			/* rings that are polled whether or not they are idle */

/* What a packet counts for, that nobody has cut. */
static inline int64_t charge(const struct virtq_pkt *p)
{
	return (int64_t)p->len + DP_FRAME_CHARGE;
}

static void discard(struct datapath *dp, struct virtq *vq, uint64_t *counter, unsigned n)
{
	*counter += n;
	vq->resume = 0;
	vq->gone = 0;
	virtq_tx_put(vq, &dp->batch, n);
}

/* --- to the uplink --------------------------------------------------------- */

/* Bytes of the tag that a packet gets. */
static inline uint32_t tag_len(const struct dp_fwd *f)
{
	return f->vlan && !f->tagged ? VLAN_TAG_LEN : 0;
}

/* What was decided on goes over the @len bytes of a frame at @to, and its tag in front: @tag bytes are free there. */
static inline void finish_head(uint8_t *to, uint32_t len, const struct dp_fwd *f, uint32_t tag)
{
	if (likely(len >= VIRTQ_HEAD))
		__builtin_memcpy(to, f->head, VIRTQ_HEAD);
	else
		memcpy(to, f->head, len);
	if (unlikely(f->pin))
		memcpy(to + VIRTQ_HEAD, f->inner, sizeof(f->inner));
	if (likely(!tag))
		return;
	memcpy(to - VLAN_TAG_LEN, f->head, 2 * MAC_LEN);
	vlan_write_tag(to - VLAN_TAG_LEN + VLAN_TYPE_AT, VLAN_TPID, f->vlan);
}

/* Buffers for one Ethernet frame, as many chunks as it needs. The room was checked. Return: how many, 0 = none. */
static unsigned take_buffers(struct nicq *q, uint32_t port, uint32_t len, uint32_t *frame, struct iovec *to)
{
	const uint32_t room = NICQ_MAX_FRAME(q->frames.chunk);
	unsigned n = 0;

	do {
		uint8_t *buf = nicq_tx_buf(q, port, &frame[n]);

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
static bool send_frame(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *p, const struct dp_fwd *f,
		       uint32_t i)
{
	uint32_t frame[NICQ_PIECES], tag = tag_len(f), len = segment_len(&dp->plan, i);
	struct iovec to[NICQ_PIECES];
	unsigned n = take_buffers(dp->nicq, tx->port->index, len + tag, frame, to);
	uint8_t *start;

	if (unlikely(!n))
		return true;
	start = (uint8_t *)to[0].iov_base + tag;
	to[0].iov_base = start;
	to[0].iov_len -= tag;
	/* Of a frame in pieces, a kernel that finishes the checksum in software sums the first piece only. */
	dp->plan.leave_checksum = dp->nicq->tx_checksum && n == 1 && !tag && segment_is_for_device(&dp->plan, p);
	segment_write(&dp->plan, p, i, to, n);
	finish_head(start, len, f, tag);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);	/* the mark is set by a handler on this thread */
	if (unlikely(gmem_broken(tx->vq->mem))) {	/* zeroes, not the guest's packet */
		while (n)
			nicq_tx_cancel(dp->nicq, frame[--n]);
		return false;
	}
	to[0].iov_len += tag;
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
						     const struct dp_fwd *f, unsigned *room)
{
	const uint32_t chunk = NICQ_MAX_FRAME(dp->nicq->frames.chunk), tag = tag_len(f);
	struct virtq *vq = tx->vq;
	enum virtq_error e = segment_plan(&dp->plan, p, vq->max_frame);
	uint32_t first, i;
	bool done;

	if (!e && dp->plan.frame_len + tag > vq->max_frame)
		e = VIRTQ_DROP_LONG;
	if (unlikely(e)) {
		dp->batch.chain[p->chain].drop = e;
		vq->resume = 0;
		return true;
	}
	first = dp->plan.mss ? vq->resume / dp->plan.mss : 0;
	for (i = first; i < dp->plan.nframes && dp->spent < tx->stats->deficit; i++) {
		unsigned need = (segment_len(&dp->plan, i) + tag + chunk - 1) / chunk;

		if (need > *room) {
			dp->need = need;
			dp->blocked = true;
			break;
		}
		if (unlikely(!send_frame(dp, tx, p, f, i)))
			break;
		*room -= need;
		dp->spent += segment_len(&dp->plan, i) + DP_FRAME_CHARGE;
	}
	done = i >= dp->plan.nframes;
	vq->resume = done ? 0 : i * dp->plan.mss;
	count_offload(vq, p, i - first, done);
	return done;
}

static inline bool is_plain(const struct virtq_pkt *p, uint32_t chunk)
{
	return vnet_asks_nothing(&p->hdr) && p->len <= chunk;
}

/* A plain packet; there is room. @tag: bytes. Return: false when it stays in the ring: the guest's memory broke. */
static __always_inline bool send_plain(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *p,
				       const struct dp_fwd *f, uint32_t tag, unsigned *room)
{
	uint32_t frame;
	uint8_t *buf;

	buf = nicq_tx_buf(dp->nicq, tx->port->index, &frame);
	--*room;
	if (unlikely(!buf)) {	/* cannot be: the room was checked */
		dp->nicq->stats.tx_errors++;
		return true;
	}
	virtq_pkt_copy(p, buf + tag);
	finish_head(buf + tag, p->len, f, tag);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);	/* the mark is set by a handler on this thread */
	if (unlikely(gmem_broken(tx->vq->mem))) {	/* zeroes, not the guest's packet */
		nicq_tx_cancel(dp->nicq, frame);
		return false;
	}
	nicq_tx_stage(dp->nicq, frame, p->len + tag, false);
	dp->spent += p->len + DP_FRAME_CHARGE;
	return true;
}

/* One packet. Return: false when it stays in the ring: there is no room, or the guest's memory broke. */
static __attribute__((noinline)) bool send_packet(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *p,
						    const struct dp_fwd *f, unsigned *room)
{
	const uint32_t tag = tag_len(f), chunk = NICQ_MAX_FRAME(dp->nicq->frames.chunk);

	if (unlikely(!*room)) {
		dp->need = 1;
		dp->blocked = true;
		return false;
	}
	if (!is_plain(p, chunk - tag) || (tag && p->len + tag > tx->vq->max_frame))
		return send_complex(dp, tx, p, f, room);
	return send_plain(dp, tx, p, f, tag, room);
}

/* A batch that is all for the uplink. Return: packets that are done; *@room: frames that may still be sent. */
static unsigned send_batch(struct datapath *dp, struct dp_tx *tx, unsigned n, unsigned *room)
{
	const uint32_t chunk = NICQ_MAX_FRAME(dp->nicq->frames.chunk);
	const struct virtq_pkt *p = dp->batch.pkt;
	const struct dp_fwd *f = dp->fwd;
	unsigned i;

	for (i = 0; i < n; i++, p++, f++) {
		if (likely(i + 1 < n))		/* the next one comes from the guest's core meanwhile */
			copy_fetch_from(p[1].piece->iov_base, p[1].piece->iov_len);
		if (likely(*room && !tag_len(f) && is_plain(p, chunk))) {
			if (!send_plain(dp, tx, p, f, 0, room))
				break;
		} else if (!send_packet(dp, tx, p, f, room)) {
			break;
		}
	}
	return i;
}

/* --- to many places ---------------------------------------------------------- */

/*
 * Broadcast and multicast: from a copy of our own, so that everybody gets the same. What the uplink has no room for
 * stays with all of it. Return: false when it stays.
 */
static bool send_to_all(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *p, const struct dp_fwd *f,
			unsigned *room, bool up, uint64_t now_ns)
{
	struct policy *pol = &tx->port->policy;
	struct iovec piece = { dp->flood, p->len };
	struct virtq_pkt copy = *p;

	if (p->len > sizeof(dp->flood)) {	/* cannot be: no packet is that long */
		dp->batch.chain[p->chain].drop = VIRTQ_DROP_LONG;
		return true;
	}
	/* Counted when it has gone: until then it may have many turns. */
	if (vd_limit_exceeded(&pol->storm, now_ns)) {
		tx->stats->count[DP_DROP_STORM]++;
		tx->vq->resume = 0;
		return true;
	}
	virtq_pkt_copy(p, dp->flood);
	memcpy(dp->flood, f->head, p->len < VIRTQ_HEAD ? p->len : VIRTQ_HEAD);
	copy.piece = &piece;
	copy.npieces = 1;
	if (!up)	/* nobody else has looked at its header */
		dp->batch.chain[p->chain].drop = segment_plan(&dp->plan, &copy, tx->vq->max_frame);
	else if (!send_packet(dp, tx, &copy, f, room))
		return false;
	forward_charge(&pol->storm, p, now_ns);
	if (dp->batch.chain[p->chain].drop)
		return true;
	if (pol->isolated && !up) {
		tx->stats->drop_uplink_down++;
		return true;
	}
	tx->stats->count[DP_TO_GROUPS]++;
	if (pol->isolated)
		return true;
	if (dp->host_fd >= 0)
		local_to_host(dp, tx->stats, &copy, f);
	dp->spent += charge(p) * local_to_all(dp, &copy, f, tx->port->index, false, now_ns);
	return true;
}

/* What goes to the uplink, or also there, or nowhere. Return: packets that may be finished, from the first on. */
static unsigned send_outwards(struct datapath *dp, struct dp_tx *tx, unsigned n, unsigned *room, bool up, uint64_t now_ns)
{
	for (unsigned i = 0; i < n; i++) {
		const struct virtq_pkt *p = &dp->batch.pkt[i];
		const struct dp_fwd *f = &dp->fwd[i];

		if (f->dest == DP_TO_NOBODY) {
			tx->stats->count[f->why]++;
			dp->spent += charge(p);
		} else if (f->dest == DP_TO_HOST) {
			dp->spent += charge(p);
			if (local_to_host(dp, tx->stats, p, f))
				tx->stats->count[DP_TO_THE_HOST]++;
		} else if (f->dest == DP_TO_ALL) {
			if (!send_to_all(dp, tx, p, f, room, up, now_ns))
				return i;
		} else if (f->dest == DP_TO_UPLINK && !up) {
			tx->stats->drop_uplink_down++;
			dp->spent += charge(p);
		} else if (f->dest == DP_TO_UPLINK && !send_packet(dp, tx, p, f, room)) {
			return i;
		}
	}
	return n;
}

/* The packets of @b that are for one queue pair, as many of the first @n as are left; they are taken off dp->fwd. */
static unsigned pick_group(struct datapath *dp, uint8_t *index, unsigned from, unsigned n)
{
	const uint16_t dest = dp->fwd[from].dest;
	unsigned m = 0;

	for (unsigned i = from; i < n; i++) {
		if (dp->fwd[i].dest != dest)
			continue;
		index[m++] = (uint8_t)i;
		dp->fwd[i].dest = DP_TO_NOBODY;
	}
	return m;
}

/* Packets that were done with when others before them had to stay have nothing left to be done. */
static void skip_gone(struct datapath *dp, uint64_t gone, unsigned n)
{
	for (unsigned i = 0; gone && i < n; i++, gone >>= 1)
		if (gone & 1)
			dp->fwd[i].dest = DP_TO_MANY;
}

/*
 * Of the batch's first @n packets those in @stay are for rings that other workers have: their time is still to come. A packet
 * that is no good is found to be so again. Return: packets that may be finished.
 */
static unsigned keep(struct datapath *dp, struct virtq *vq, uint64_t stay, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!(stay >> i & 1) && !dp->batch.chain[dp->batch.pkt[i].chain].drop)
			vq->gone |= 1ull << i;
	return (unsigned)__builtin_ctzll(stay);
}

/* A batch for many places. What a receiver on this host cannot take at once is dropped: others wait behind it. */
static unsigned send_mixed(struct datapath *dp, struct dp_tx *tx, unsigned n, unsigned *room, bool up, uint64_t now_ns)
{
	uint8_t index[VIRTQ_BATCH];
	uint64_t stay = 0;

	skip_gone(dp, tx->vq->gone, n);
	n = send_outwards(dp, tx, n, room, up, now_ns);
	for (unsigned i = 0; i < n; i++) {
		const uint16_t dest = dp->fwd[i].dest;
		struct local_batch b = { dp->batch.pkt, dp->fwd, index, 0 };
		unsigned done;

		if (dest >= DP_TO_UPLINK)
			continue;
		b.n = pick_group(dp, index, i, n);
		for (unsigned k = 0; k < b.n; k++)
			dp->spent += charge(&dp->batch.pkt[index[k]]);
		dp->rejected = 0;
		dp->contended = false;
		done = local_deliver(dp, dest, &b, now_ns);
		if (unlikely(dp->contended && !tx->vq->resume)) {
			for (unsigned k = 0; k < b.n; k++)
				stay |= 1ull << index[k];
			continue;
		}
		local_drop(dp, dest, b.n - done);
		tx->stats->count[DP_TO_PORTS] += b.n - dp->rejected;
	}
	dp->contended = stay;
	dp->blocked |= dp->contended;
	return unlikely(stay) ? keep(dp, tx->vq, stay, n) : n;
}

/* A batch that is all for one queue pair of a port. Return: packets that are done. */
static unsigned send_local(struct datapath *dp, struct dp_tx *tx, uint16_t dest, unsigned n, uint64_t now_ns)
{
	static const uint8_t index[VIRTQ_BATCH] = {
		0,  1,	2,  3,	4,  5,	6,  7,	8,  9,	10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
		22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
		44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
	};
	const struct local_batch b = { dp->batch.pkt, dp->fwd, index, n };
	unsigned done, taken;

	dp->rejected = 0;
	done = taken = local_deliver(dp, dest, &b, now_ns);
	if (likely(done == n || dp->contended)) {
		tx->hold_ns = 0;
	} else if (!tx->hold_ns || tx->hold_dest != dest || tx->held_up >= DP_TX_BATCH) {
		tx->hold_ns = now_ns;
		tx->hold_dest = dest;
		tx->held_up = 0;
	} else if (now_ns - tx->hold_ns > DP_LOCAL_HOLD_NS) {
		/* It has taken less than a batch for long: until it does, what it does not take at once is dropped. */
		local_drop(dp, dest, n - done);
		done = n;
	}
	tx->held_up += taken;	/* what was dropped is no sign of life */
	dp->blocked |= done < n;
	for (unsigned i = 0; i < done; i++)
		dp->spent += charge(&dp->batch.pkt[i]);
	tx->stats->count[DP_TO_PORTS] += done - dp->rejected;
	return done;
}

/* --- turns ------------------------------------------------------------------- */

/* The packet that was half sent is at the ring's front, unless the guest changed it: then nothing is left of it. */
static __attribute__((noinline)) void check_resume(struct datapath *dp, struct virtq *vq)
{
	const struct virtq_batch *b = &dp->batch;

	if (b->nchains && (!b->n || b->pkt[0].chain || is_plain(&b->pkt[0], NICQ_MAX_FRAME(dp->nicq->frames.chunk))))
		vq->resume = 0;
}

/* How many of the batch's first @n packets the port's limit allows now. */
static unsigned within_limit(const struct datapath *dp, const struct dp_tx *tx, unsigned n, uint64_t now_ns)
{
	struct vd_limit l = tx->port->policy.tx;
	unsigned i;

	for (i = 0; i < n && !vd_limit_exceeded(&l, now_ns); i++)
		forward_charge(&l, &dp->batch.pkt[i], now_ns);
	return i;
}

static void charge_limit(const struct datapath *dp, struct dp_tx *tx, unsigned n, uint64_t now_ns)
{
	for (unsigned i = 0; i < n; i++)
		forward_charge(&tx->port->policy.tx, &dp->batch.pkt[i], now_ns);
}

/* How many of the batch's first @n packets are enough for this turn, large ones as they are. */
static unsigned within_turn(const struct datapath *dp, const struct dp_tx *tx, unsigned n)
{
	int64_t sum = 0;
	unsigned i;

	for (i = 0; i < n && sum < tx->stats->deficit; i++)
		sum += charge(&dp->batch.pkt[i]);
	return i;
}

static bool goes_out(const struct dp_fwd *f)
{
	return f->dest == DP_TO_UPLINK || f->dest == DP_TO_ALL;
}

/* The first @n packets of the batch, each to its place. Return: packets that are done. */
static unsigned send(struct datapath *dp, struct dp_tx *tx, unsigned n, unsigned *room, bool up, uint64_t now_ns)
{
	uint16_t dest = forward_batch(dp, tx, n, now_ns);

	dp->contended = false;
	if (likely(dest == DP_TO_UPLINK && up && !tx->vq->gone))
		return send_batch(dp, tx, n, room);
	n = within_turn(dp, tx, n);
	if (unlikely(tx->vq->resume) && !(up && goes_out(&dp->fwd[0])))
		tx->vq->resume = 0;	/* the rest of it goes elsewhere, or nowhere */
	if (dest < DP_TO_UPLINK && !tx->vq->gone)
		return send_local(dp, tx, dest, n, now_ns);
	return send_mixed(dp, tx, n, room, up, now_ns);
}

/* One tx virtqueue, one batch, lock held. Return: packets that are done. */
static unsigned tx_ring(struct datapath *dp, struct dp_tx *tx, unsigned *room, bool up, uint64_t now_ns)
{
	const bool limited = tx->port->policy.tx_limited;
	struct virtq *vq = tx->vq;
	unsigned n, max = DP_TX_BATCH, got;

	if (unlikely(vq->notify_armed))
		virtq_disarm(vq);
	if (unlikely(!READ_ONCE(vq->enabled) && now_ns < tx->enable_by_ns && virtq_pending(vq))) {
		dp->blocked = true;
		return 0;
	}
	if (tx->last_dest == DP_TO_UPLINK && *room && *room < max)	/* no use to look at more than can go */
		max = *room;
	got = n = virtq_tx_get(vq, &dp->batch, max);
	if (unlikely(vq->resume))
		check_resume(dp, vq);
	if (!n)
		goto publish;
	if (unlikely(!READ_ONCE(vq->enabled))) {	/* started but disabled: consume and discard */
		discard(dp, vq, &vq->stats.errors[VIRTQ_DROP_DISABLED], n);
		goto publish;
	}
	if (unlikely(limited)) {
		n = within_limit(dp, tx, n, now_ns);
		dp->blocked = n < got;
	}
	if (likely(n))
		n = send(dp, tx, n, room, up, now_ns);
	if (unlikely(limited))
		charge_limit(dp, tx, n, now_ns);
	virtq_tx_put(vq, &dp->batch, n);
	if (unlikely(vq->gone))
		vq->gone = n < VIRTQ_BATCH ? vq->gone >> n : 0;
publish:
	if (virtq_publish(vq))
		virtq_call(vq);
	return n;
}

/* One tx virtqueue's turn, lock held. Return: packets that are done. */
static unsigned tx_turn(struct datapath *dp, struct dp_tx *tx, unsigned *room, bool up, uint64_t now_ns)
{
	const unsigned gets = dp->talkers > 1 ? GETS : GETS_ALONE;
	struct dp_port *d = tx->stats;
	unsigned total = 0, n;

	dp->blocked = false;
	for (unsigned i = 0; i < gets && d->deficit > 0; i++) {
		dp->spent = 0;
		n = tx_ring(dp, tx, room, up, now_ns);
		d->deficit -= dp->spent;
		total += n;
		if (n < DP_TX_BATCH || dp->blocked)
			break;
	}
	tx->stuck = dp->blocked;
	tx->need = (uint8_t)(dp->blocked ? dp->need : 0);
	return total;
}

/* Frames that a port may have out for sending: all there are when it is alone. */
static uint32_t cap(const struct datapath *dp)
{
	uint32_t part = dp->senders > 1 ? dp->nicq->tx_limit / dp->senders : dp->nicq->tx_limit;

	return part > MIN_CAP ? part : MIN_CAP;
}

/* Frames of a turn: what the NIC takes, and of that what the port may have. */
static unsigned room_for(struct datapath *dp, const struct dp_tx *tx)
{
	unsigned room = nicq_tx_room(dp->nicq, DP_TX_ROOM);	/* what was sent comes back first */
	uint32_t out = dp->nicq->tx_of[tx->port->index], may = cap(dp);

	if (out >= may)
		return 0;
	return room < may - out ? room : may - out;
}

static void new_round(struct datapath *dp, struct dp_port *d)
{
	const int64_t quantum = dp->talkers > 1 ? QUANTUM : 2 * QUANTUM;

	if (d->round == dp->round)
		return;
	d->round = dp->round;
	d->deficit = d->deficit < 0 ? d->deficit + quantum : quantum;
}

/* Counts the ports that had something, and those that sent, or would have. */
static void count_turn(struct datapath *dp, struct dp_port *d, bool worked, bool sent)
{
	dp->talkers_now += worked && d->worked_round != dp->round;
	dp->senders_now += sent && d->sent_round != dp->round;
	if (worked)
		d->worked_round = dp->round;
	if (sent)
		d->sent_round = dp->round;
}

/*
 * Of a port's rings the first that has its turn may use up what the port has. Each that was left without takes its place
 * on the list, so that they all come first by turns, however many rings of others there are between them.
 */
static void take_turns(struct datapath *dp, struct dp_tx *tx, uint32_t at)
{
	const struct dp_port *d = tx->stats;

	if (d->served_round != dp->round)
		return;
	dp->active[at] = dp->active[d->served_at];
	dp->active[d->served_at] = tx;
}

/* A ring without packets: polled on for a moment, then it is asked for kicks. Lock held. Return: false when it is. */
static bool still_polled(struct datapath *dp, struct dp_tx *tx, uint64_t now_ns)
{
	if (!tx->idle_ns || dp->nactive <= FEW || tx->vq->kickfd < 0) {
		tx->idle_ns = tx->idle_ns ? tx->idle_ns : now_ns;
		return true;
	}
	if (now_ns - tx->idle_ns < IDLE_NS)
		return true;
	WRITE_ONCE(tx->armed, 1);	/* the mark first: a kick that comes right now must find it and clear it */
	if (!virtq_arm(tx->vq))
		return false;
	WRITE_ONCE(tx->armed, 0);
	return true;
}

/* There is nothing left of the NIC's room for it: it is first in the next round. */
static void passed_over(struct datapath *dp, struct dp_tx *tx)
{
	if (!dp->first)
		dp->first = tx;
}

/* The ring at @at of the list of active ones. Return: false when it leaves the list. */
static bool visit(struct datapath *dp, uint32_t at, bool up, uint64_t now_ns, struct dp_result *res)
{
	struct dp_tx *tx = dp->active[at];
	struct virtq *vq = tx->vq;
	unsigned room, before, done = 0;
	bool keep = true, long_one;

	if (READ_ONCE(tx->armed) || !READ_ONCE(vq->started) || READ_ONCE(vq->broken))
		return false;
	new_round(dp, tx->stats);
	if (unlikely(tx->stats->deficit <= 0)) {
		take_turns(dp, tx, at);
		res->again = true;
		return true;
	}
	before = room = !up ? DP_TX_ROOM : dp->closed ? 0 : room_for(dp, tx);
	if (unlikely(!room && tx->need)) {
		res->waiting = true;	/* the NIC is the bottleneck: the guest's packets stay where they are */
		passed_over(dp, tx);
		count_turn(dp, tx->stats, true, true);
		return true;
	}
	if (!spin_trylock(&vq->lock)) {
		res->again = true;
		return true;
	}
	dp->need = 0;
	if (READ_ONCE(vq->started) && !READ_ONCE(vq->broken)) {
		done = tx_turn(dp, tx, &room, up, now_ns);
		if (vq->kickfd < 0)
			res->polled = true;
		if (done || tx->stuck || room < before)
			tx->idle_ns = 0;
		else
			keep = still_polled(dp, tx, now_ns);
	}
	spin_unlock(&vq->lock);
	/* Frames of a packet that is not done yet are work too. */
	res->work += done ? done : room < before;
	count_turn(dp, tx->stats, done || tx->stuck, room < before || tx->need);
	if (done && tx->stats->served_round != dp->round) {
		tx->stats->served_round = dp->round;
		tx->stats->served_at = at;
	}
	if (unlikely(tx->stuck)) {
		if (dp->contended)
			res->again = true;
		else
			res->waiting = true;
		/* Whoever finds too little room for a long frame has the next turn. */
		long_one = dp->need > 1 && room == before && nicq_tx_room(dp->nicq, dp->need) < dp->need;
		if (!before || long_one)
			passed_over(dp, tx);
		dp->closed |= long_one;
	}
	return keep;
}

void datapath_activate(struct datapath *dp, struct dp_tx *tx)
{
	if (tx->listed)
		return;
	tx->listed = true;
	tx->idle_ns = 0;
	dp->active[dp->nactive++] = tx;
}

void datapath_tx(struct datapath *dp, uint64_t now_ns, struct dp_result *res)
{
	const uint32_t n = dp->nactive, start = n ? dp->next_tx % n : 0;
	bool up = READ_ONCE(dp->uplink_up);
	uint32_t keep = 0;
	int ret;

	dp->round++;
	dp->senders_now = dp->talkers_now = 0;
	dp->next_tx = start + 1;
	dp->first = NULL;
	dp->closed = false;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t at = start + i < n ? start + i : start + i - n;
		struct dp_tx *tx = dp->active[at];

		tx->listed = visit(dp, at, up, now_ns, res);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!dp->active[i]->listed)
			continue;
		if (unlikely(dp->active[i] == dp->first))
			dp->next_tx = keep;
		dp->active[keep++] = dp->active[i];
	}
	dp->nactive = keep;
	dp->senders = dp->senders_now;
	dp->talkers = dp->talkers_now;
	ret = nicq_tx_flush(dp->nicq);
	if (up && (ret == -EAGAIN || nicq_tx_unsent(dp->nicq)))
		res->waiting = true;
}

/* The room that it waited for has come. */
static bool can_send_now(struct datapath *dp, const struct dp_tx *tx)
{
	return tx->need && (!READ_ONCE(dp->uplink_up) || nicq_tx_room(dp->nicq, tx->need) >= tx->need);
}

bool datapath_arm(struct datapath *dp)
{
	bool work = false;

	for (uint32_t i = 0; i < dp->nactive; i++) {
		struct dp_tx *tx = dp->active[i];
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
				/* What waits for room, for a receiver or for its limit is no reason to stay awake. */
				work |= !tx->stuck || can_send_now(dp, tx);
			}
		}
		spin_unlock(&vq->lock);
	}
	return work;
}
