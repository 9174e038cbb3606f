/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: see datapath.h. Who counts what:
 *
 *   program redirects a frame          flow.seq + 1
 *   ring full, frame lost              gap in seq -> dp_port.lost
 *   frame waits for buffers            dp_port.held; flow.consumed = expected - held
 *   waited too long or beyond share    dp_port.drop_hold
 *   virtqueue not usable               dp_port.drop_ring
 *   delivered or dropped as bad        virtq.stats
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bridge/datapath.h"
#include "bridge/mac.h"
#include "viaduct_steer.h"

#define ETH_MIN 14

static void wait_init(struct dp_wait *w)
{
	w->head = w->tail = DP_NONE;
}

static int add_port(struct datapath *dp, struct port *p, uint32_t nqueues)
{
	struct dp_port *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	dp->port[p->index] = d;
	if (p->index >= dp->nport)
		dp->nport = p->index + 1;
	d->port = p;
	d->wait = calloc(p->pairs, sizeof(*d->wait));
	if (!d->wait)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->pairs; i++)
		wait_init(&d->wait[i]);
	for (uint32_t i = 0; i < p->pairs; i++) {
		if (i % nqueues != dp->nicq->id)
			continue;
		dp->tx[dp->ntx++] = (struct dp_tx){ .port = p, .stats = d, .vq = port_txq(p, i) };
	}
	return 0;
}

int datapath_create(struct nicq *nicq, struct vd_flow *flow, const struct fdb *fdb, struct port *const *ports,
		    uint32_t nports, uint32_t nqueues, struct datapath **out)
{
	struct datapath *dp = calloc(1, sizeof(*dp));
	uint32_t pairs = 0;
	int ret = -ENOMEM;

	if (!dp)
		return -ENOMEM;
	for (uint32_t i = 0; i < nports; i++)
		pairs += ports[i]->pairs;
	dp->nicq = nicq;
	dp->flow = flow;
	dp->fdb = fdb;
	dp->learn_fd = -1;
	dp->uplink_up = 1;
	dp->unknown_port = VD_PORT_NONE;
	dp->tx = calloc(pairs + 1, sizeof(*dp->tx));
	dp->busy = calloc(pairs + 1, sizeof(*dp->busy));
	dp->frame = calloc(nicq->frames.total, sizeof(*dp->frame));
	dp->learn = calloc(1, sizeof(*dp->learn));
	dp->wire = calloc(1, sizeof(*dp->wire));
	if (!dp->tx || !dp->busy || !dp->frame || !dp->learn || !dp->wire)
		goto fail;
	for (uint32_t i = 0; i < nports; i++) {
		ret = add_port(dp, ports[i], nqueues);
		if (ret)
			goto fail;
	}
	*out = dp;
	return 0;
fail:
	datapath_destroy(dp);
	return ret;
}

void datapath_destroy(struct datapath *dp)
{
	if (!dp)
		return;
	for (unsigned i = 0; i < dp->nport; i++) {
		if (dp->port[i])
			free(dp->port[i]->wait);
		free(dp->port[i]);
	}
	free(dp->wire);
	free(dp->learn);
	free(dp->frame);
	free(dp->busy);
	free(dp->tx);
	free(dp);
}

/* --- NIC to guest ------------------------------------------------------ */

/* Sequence accounting: gaps are losses between program and ring; a late frame was not lost after all. */
static inline void count_seq(struct dp_port *d, uint32_t seq)
{
	int32_t gap = (int32_t)(seq - d->expected);

	if (likely(gap == 0)) {
		d->expected = seq + 1;
	} else if (gap > 0) {
		d->lost += (uint32_t)gap;
		d->expected = seq + 1;
	} else if (d->lost) {
		d->lost--;
	}
}

/* The program could not write metadata: the same lookup over the same tables, here. */
static struct dp_port *lookup(struct datapath *dp, const struct nicq_pkt *p, uint32_t *pair)
{
	uint32_t port = fdb_lookup(dp->fdb, mac_load(p->data));
	struct dp_port *d;

	if (port >= VD_MAX_PORTS)
		port = dp->unknown_port;
	d = port < VD_MAX_PORTS ? dp->port[port] : NULL;
	if (!d)
		return NULL;
	d->without_meta++;
	*pair = READ_ONCE(d->port->steering.pair[vd_flow_hash(p->data, p->len) & (VD_INDIRECTION - 1)]);
	return d;
}

static inline void append(struct datapath *dp, struct dp_port *d, uint32_t pair, const struct nicq_pkt *p)
{
	struct dp_wait *w = &d->wait[pair];
	struct dp_frame *f = &dp->frame[p->frame];

	f->next = DP_NONE;
	f->len = p->len;
	f->data = p->data;
	if (w->head == DP_NONE)
		w->head = p->frame;
	else
		dp->frame[w->tail].next = p->frame;
	w->tail = p->frame;
	w->count++;
	d->held++;
	if (!w->listed) {
		w->listed = true;
		dp->busy[dp->nbusy++] = (struct dp_ref){ w, d, pair };
	}
}

/* First pass: sort what came by port and queue pair. */
static void sort_batch(struct datapath *dp, unsigned n, uint64_t now_ns)
{
	for (unsigned i = 0; i < n; i++) {
		const struct nicq_pkt *p = &dp->pkt[i];
		const struct vd_meta *m = nicq_meta(p);
		struct dp_port *d;
		uint64_t src;
		uint32_t pair = 0;

		if (i + 4 < n)
			__builtin_prefetch(dp->pkt[i + 4].data - sizeof(*m));
		if (unlikely(p->len < ETH_MIN)) {
			dp->drop_stray++;
			nicq_recycle(dp->nicq, p);
			continue;
		}
		if (likely(m)) {
			d = m->port < VD_MAX_PORTS ? dp->port[m->port] : NULL;
			pair = m->pair;
			if (likely(d))
				count_seq(d, m->seq);
		} else {
			d = lookup(dp, p, &pair);
		}
		if (unlikely(!d || pair >= d->port->pairs)) {
			dp->drop_stray++;
			nicq_recycle(dp->nicq, p);
			continue;
		}
		src = mac_load(p->data + MAC_LEN);
		if (src != dp->last_wire_src) {
			dp->last_wire_src = src;
			learn_wire_note(dp->wire, src, now_ns);
		}
		append(dp, d, pair, p);
	}
}

/* Takes @n frames off the list's front and gives them back to the NIC queue. */
static void pop(struct datapath *dp, struct dp_port *d, struct dp_wait *w, unsigned n)
{
	while (n--) {
		struct dp_frame *f = &dp->frame[w->head];
		struct nicq_pkt p = { .data = f->data, .len = f->len, .frame = w->head };

		w->head = f->next;
		w->count--;
		d->held--;
		nicq_recycle(dp->nicq, &p);
	}
	if (w->head == DP_NONE)
		w->tail = DP_NONE;
}

static unsigned gather(struct datapath *dp, const struct dp_wait *w)
{
	unsigned n = 0;

	for (uint32_t f = w->head; f != DP_NONE && n < VIRTQ_BATCH; f = dp->frame[f].next, n++)
		dp->src[n] = (struct virtq_src){ dp->frame[f].data, dp->frame[f].len };
	return n;
}

/*
 * The guest has no buffers for what is left. It may wait within the port's share, but not for ever:
 * a frame that comes a tenth of a second late does more harm than one that is lost.
 */
static void expire(struct datapath *dp, struct dp_port *d, struct dp_wait *w, uint64_t now_ns)
{
	uint32_t share = READ_ONCE(d->port->steering.share);
	unsigned n = 0;

	if (!w->count) {
		w->since_ns = 0;
		return;
	}
	if (!w->since_ns)
		w->since_ns = now_ns;
	if (now_ns - w->since_ns > DP_HOLD_NS)
		n = w->count;
	else if (share && d->held > share)
		n = d->held - share < w->count ? d->held - share : w->count;
	if (!n)
		return;
	d->drop_hold += n;
	pop(dp, d, w, n);
	w->since_ns = w->count ? now_ns : 0;
}

/* Second pass, one virtqueue: copy, publish, call. Return: frames that left the list. */
static unsigned deliver(struct datapath *dp, const struct dp_ref *r, uint64_t now_ns)
{
	struct dp_port *d = r->port;
	struct dp_wait *w = r->wait;
	struct virtq *vq = port_rxq(d->port, r->pair);
	unsigned done = 0, n, got;

	if (unlikely(!virtq_usable(vq)))
		goto unusable;
	if (unlikely(!spin_trylock(&vq->lock))) {
		expire(dp, d, w, now_ns);
		return 0;
	}
	if (unlikely(!virtq_usable(vq))) {
		spin_unlock(&vq->lock);
		goto unusable;
	}
	if (unlikely(vq->notify_armed))	/* refills need no kick: frames that wait are looked at in time */
		virtq_disarm(vq);
	while ((n = gather(dp, w))) {
		got = virtq_rx_put(vq, dp->src, n);
		pop(dp, d, w, got);
		done += got;
		if (got < n)
			break;
	}
	if (virtq_publish(vq))
		virtq_call(vq);
	spin_unlock(&vq->lock);
	if (done)
		w->since_ns = 0;
	expire(dp, d, w, now_ns);
	return done;
unusable:
	n = w->count;
	d->drop_ring += n;
	pop(dp, d, w, n);
	w->since_ns = 0;
	return n;
}

static void publish_position(struct datapath *dp, struct dp_port *d)
{
	WRITE_ONCE(dp->flow[d->port->index].consumed, d->expected - d->held);
}

/*
 * Losses behind which nothing came any more: what the program had counted 20 ms ago and is in neither
 * ring nor list is lost. Without this a burst that was lost whole would keep the port's share used up.
 * The ring need not be empty for it, or a port that keeps it busy would hold up the others: it is enough
 * to have passed the place where it ended when the time had come.
 */
static void reconcile(struct datapath *dp, uint64_t now_ns)
{
	if (!dp->reconcile_due) {
		if (now_ns - dp->reconcile_ns < DP_RECONCILE_NS)
			return;
		dp->reconcile_due = true;
		dp->reconcile_pos = load_acquire(dp->nicq->rx.producer);
	}
	if ((int32_t)(dp->nicq->rx.cached_cons - dp->reconcile_pos) < 0)
		return;
	dp->reconcile_due = false;
	dp->reconcile_ns = now_ns;
	for (unsigned i = 0; i < dp->nport; i++) {
		struct dp_port *d = dp->port[i];

		if (!d)
			continue;
		if (d->snap_ns && (int32_t)(d->snap_seq - d->expected) > 0) {
			d->lost += d->snap_seq - d->expected;
			WRITE_ONCE(d->expected, d->snap_seq);
		}
		publish_position(dp, d);
		d->snap_seq = READ_ONCE(dp->flow[i].seq);
		d->snap_ns = now_ns;
	}
}

bool datapath_missing(const struct datapath *dp)
{
	for (unsigned i = 0; i < dp->nport; i++)
		if (dp->port[i] && (int32_t)(READ_ONCE(dp->flow[i].seq) - READ_ONCE(dp->port[i]->expected)) > 0)
			return true;
	return false;
}

void datapath_rx(struct datapath *dp, uint64_t now_ns, struct dp_result *res)
{
	unsigned n = nicq_rx(dp->nicq, dp->pkt, DP_RX_BATCH);
	uint32_t keep = 0;

	if (n)
		sort_batch(dp, n, now_ns);
	reconcile(dp, now_ns);
	res->work += n;
	for (uint32_t i = 0; i < dp->nbusy; i++) {
		struct dp_ref r = dp->busy[i];

		res->work += deliver(dp, &r, now_ns);
		publish_position(dp, r.port);
		if (!r.wait->count) {
			r.wait->listed = false;
			continue;
		}
		dp->busy[keep++] = r;
		res->waiting = true;
	}
	dp->nbusy = keep;
	nicq_refill(dp->nicq);
}

unsigned datapath_deliver(struct datapath *dp, const uint8_t *frame, uint32_t len)
{
	struct virtq_src src = { frame, len };
	unsigned ports = 0;

	learn_wire_note(dp->wire, mac_load(frame + MAC_LEN), clock_now());
	for (unsigned i = 0; i < dp->nport; i++) {
		struct dp_port *d = dp->port[i];
		struct virtq *vq;

		if (!d)
			continue;
		vq = port_rxq(d->port, READ_ONCE(d->port->steering.pair[0]) % d->port->pairs);
		if (!virtq_usable(vq) || !spin_trylock(&vq->lock)) {
			d->drop_mcast++;
			continue;
		}
		if (!virtq_usable(vq))
			d->drop_mcast++;
		else if (virtq_rx_put(vq, &src, 1))
			ports++;
		else
			d->drop_mcast++;
		if (virtq_publish(vq))
			virtq_call(vq);
		spin_unlock(&vq->lock);
	}
	return ports;
}

/* --- guest to NIC ------------------------------------------------------ */

/*
 * Source addresses we do not know yet go to the control thread, which decides. A guest that makes up a new
 * one for every packet, or sends from more than it may have, does not keep that thread busy.
 */
static void note_source(struct datapath *dp, struct dp_tx *tx, uint64_t src, uint64_t now_ns)
{
	struct learn_request req = { .mac = src, .when_ns = now_ns, .port = tx->port->index };
	uint64_t one = 1;

	tx->last_src = src;
	if (tx->port->cfg.have_mac || fdb_lookup(dp->fdb, src) == tx->port->index)
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
	virtq_tx_put(vq, &dp->batch, n);
}

/* Copies a batch into frames and stages them; the room was checked. */
static void send_batch(struct datapath *dp, struct dp_tx *tx, unsigned n, uint64_t now_ns)
{
	const struct gmem *mem = tx->vq->mem;
	struct virtq_batch *b = &dp->batch;
	unsigned i;

	for (i = 0; i < n; i++) {
		const struct virtq_pkt *p = &b->pkt[i];
		uint32_t frame;
		uint8_t *buf = nicq_tx_buf(dp->nicq, &frame);
		uint64_t src;

		if (unlikely(!buf)) {	/* cannot be: the room was checked */
			dp->nicq->stats.tx_errors++;
			continue;
		}
		virtq_pkt_copy(p, buf);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);	/* the mark is set by a handler on this thread */
		if (unlikely(gmem_broken(mem))) {	/* zeroes, not the guest's packet */
			nicq_tx_cancel(dp->nicq, frame);
			break;
		}
		src = mac_load(buf + MAC_LEN);
		if (unlikely(src != tx->last_src))
			note_source(dp, tx, src, now_ns);
		nicq_tx_stage(dp->nicq, frame, p->len);
	}
	virtq_tx_put(tx->vq, b, i);
}

/* One tx virtqueue, one batch, lock held. Return: packets taken. */
static unsigned tx_ring(struct datapath *dp, struct dp_tx *tx, unsigned room, bool up, uint64_t now_ns)
{
	struct virtq *vq = tx->vq;
	unsigned n;

	if (unlikely(vq->notify_armed))
		virtq_disarm(vq);
	n = virtq_tx_get(vq, &dp->batch, room);
	if (!n)
		goto publish;
	if (unlikely(!READ_ONCE(vq->enabled)))	/* started but disabled: consume and discard */
		discard(dp, vq, &vq->stats.errors[VIRTQ_DROP_DISABLED], n);
	else if (unlikely(!up))
		discard(dp, vq, &tx->stats->drop_uplink_down, n);
	else
		send_batch(dp, tx, n, now_ns);
publish:
	if (virtq_publish(vq))
		virtq_call(vq);
	return n;
}

void datapath_tx(struct datapath *dp, uint64_t now_ns, struct dp_result *res)
{
	bool up = READ_ONCE(dp->uplink_up);
	uint32_t start = dp->next_tx;
	int ret;

	if (unlikely(now_ns - dp->forget_ns >= DP_FORGET_NS))
		forget_sources(dp, now_ns);
	for (uint32_t i = 0; i < dp->ntx; i++) {
		struct dp_tx *tx = &dp->tx[(start + i) % dp->ntx];
		struct virtq *vq = tx->vq;
		unsigned room, n;

		if (READ_ONCE(tx->armed) || !READ_ONCE(vq->started) || READ_ONCE(vq->broken))
			continue;
		room = likely(up) ? nicq_tx_room(dp->nicq, DP_TX_BATCH) : DP_TX_BATCH;
		if (!room) {	/* the NIC is the bottleneck: the guest's packets stay where they are */
			res->waiting = true;
			dp->next_tx = (start + i) % dp->ntx;
			break;
		}
		if (!spin_trylock(&vq->lock)) {
			res->again = true;
			continue;
		}
		if (READ_ONCE(vq->started) && !READ_ONCE(vq->broken)) {
			n = tx_ring(dp, tx, room < DP_TX_BATCH ? room : DP_TX_BATCH, up, now_ns);
			res->work += n;
			if (vq->kickfd < 0)
				res->polled = true;
		}
		spin_unlock(&vq->lock);
	}
	ret = nicq_tx_flush(dp->nicq);
	if (up && (ret == -EAGAIN || nicq_tx_unsent(dp->nicq)))
		res->waiting = true;
}

bool datapath_arm(struct datapath *dp)
{
	/* While nothing can be sent, a guest's packets are no reason to stay awake. */
	bool can_send = !READ_ONCE(dp->uplink_up) || !dp->ntx || nicq_tx_room(dp->nicq, 1), work = false;

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
