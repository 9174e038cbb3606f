/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path's life, and NIC to guest; guest to NIC is datapath_tx.c.
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

#include "bridge/datapath.h"
#include "bridge/mac.h"
#include "viaduct_steer.h"

#define ETH_MIN 14
#define FIRST_BEHIND (1u << 30)	/* frames */

static void wait_init(struct dp_wait *w)
{
	w->head = w->tail = DP_NONE;
}

const char *datapath_count_name(enum dp_count c)
{
	static const char *const names[] = {
		[DP_TO_PORTS] = "to_ports",
		[DP_TO_THE_HOST] = "to_host",
		[DP_TO_GROUPS] = "to_groups",
		[DP_DROP_LOCK] = "mac_lock",
		[DP_DROP_VLAN] = "vlan",
		[DP_DROP_STORM] = "storm",
		[DP_DROP_ISOLATED] = "isolated",
		[DP_DROP_LINK_LOCAL] = "link_local",
		[DP_DROP_SELF] = "for_itself",
		[DP_DROP_HOST] = "host_refused",
		[DP_DROP_LINK] = "link_down",
		[DP_FROM_PORTS] = "from_this_host",
		[DP_DROP_RATE] = "rate",
		[DP_DROP_HEADER] = "bad_header",
		[DP_DROP_UPLINK] = "device_gone",
		[DP_DROP_UNFIT] = "other_vlan",
	};

	_Static_assert(sizeof(names) / sizeof(names[0]) == DP_COUNTS, "a name for each counter");
	return c < DP_COUNTS ? names[c] : "unknown";
}

void datapath_notify(const struct datapath *dp)
{
	uint64_t one = 1;

	if (dp->learn_fd >= 0 && write(dp->learn_fd, &one, sizeof(one)) < 0)
		return;	/* our own eventfd, non-blocking: full means it is signalled already */
}

/* --- ports come and go: the worker is parked ------------------------------ */

static void free_port(struct dp_port *d)
{
	if (!d)
		return;
	free(d->wait);
	free(d->tx);
	free(d);
}

/* Its tx virtqueues whose home this NIC queue is, of @nqueues. */
static void find_homes(struct datapath *dp, struct dp_port *d, uint32_t nqueues)
{
	struct port *p = d->port;

	d->ntx = 0;
	for (uint32_t i = 0; i < p->pairs; i++) {
		if (i % nqueues != dp->nicq->id || dp->nicq->id >= nqueues)
			continue;
		d->tx[d->ntx++] = (struct dp_tx){
			.dp = dp, .port = p, .stats = d, .vq = port_txq(p, i), .pair = (uint16_t)i,
			.last_dst = DP_NO_MAC, .last_dest = DP_TO_UPLINK,
		};
	}
}

static struct dp_port *make_port(struct datapath *dp, struct port *p, uint32_t nqueues)
{
	struct dp_port *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->port = p;
	d->wait = calloc(p->pairs, sizeof(*d->wait));
	d->tx = calloc(p->pairs, sizeof(*d->tx));
	if (!d->wait || !d->tx) {
		free_port(d);
		return NULL;
	}
	for (uint32_t i = 0; i < p->pairs; i++)
		wait_init(&d->wait[i]);
	find_homes(dp, d, nqueues);
	/* What is on its way for the port that had the number before is not for this one. */
	d->first = d->expected = d->snap_seq = READ_ONCE(dp->flow[p->index].seq);
	WRITE_ONCE(dp->flow[p->index].consumed, d->expected);
	return d;
}

/* Room on the lists for @pairs queue pairs. */
static int make_room(struct datapath *dp, uint32_t pairs)
{
	struct dp_tx **active = reallocarray(dp->active, pairs, sizeof(*active));
	struct dp_ref *busy;

	if (!active)
		return -ENOMEM;
	dp->active = active;
	busy = reallocarray(dp->busy, pairs, sizeof(*busy));
	if (!busy)
		return -ENOMEM;
	dp->busy = busy;
	return 0;
}

int datapath_add_port(struct datapath *dp, struct port *p, uint32_t nqueues)
{
	struct dp_port *d = make_port(dp, p, nqueues);

	if (!d || make_room(dp, dp->pairs + p->pairs)) {
		free_port(d);
		return -ENOMEM;
	}
	dp->pairs += p->pairs;
	dp->port[p->index] = d;
	if (p->index >= dp->nport)
		dp->nport = p->index + 1;
	for (uint32_t i = 0; i < d->ntx; i++)
		datapath_activate(dp, &d->tx[i]);
	return 0;
}

void datapath_activate_all(struct datapath *dp)
{
	for (uint32_t i = 0; i < dp->nport; i++)
		for (uint32_t k = 0; dp->port[i] && k < dp->port[i]->ntx; k++) {
			WRITE_ONCE(dp->port[i]->tx[k].armed, 0);
			datapath_activate(dp, &dp->port[i]->tx[k]);
		}
}

int datapath_create(struct nicq *nicq, struct vd_flow *flow, struct fdb *fdb, struct port *const *ports,
		    uint32_t nports, uint32_t nqueues, struct datapath **out)
{
	struct datapath *dp = calloc(1, sizeof(*dp));
	int ret = -ENOMEM;

	if (!dp)
		return -ENOMEM;
	dp->nicq = nicq;
	dp->flow = flow;
	dp->fdb = fdb;
	dp->learn_fd = dp->host_fd = -1;
	dp->uplink_up = 1;
	dp->unknown_port = VD_PORT_NONE;
	dp->frame = calloc(nicq->frames.total, sizeof(*dp->frame));
	dp->learn = calloc(1, sizeof(*dp->learn));
	dp->wire = calloc(1, sizeof(*dp->wire));
	if (!dp->frame || !dp->learn || !dp->wire)
		goto fail;
	for (uint32_t i = 0; i < nports; i++) {
		ret = datapath_add_port(dp, ports[i], nqueues);
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
	for (unsigned i = 0; i < dp->nport; i++)
		free_port(dp->port[i]);
	free(dp->wire);
	free(dp->learn);
	free(dp->frame);
	free(dp->busy);
	free(dp->active);
	free(dp);
}

/* --- NIC to guest ------------------------------------------------------ */

/*
 * Sequence accounting: gaps are losses between program and ring; a late frame was not lost after all. The sum of all ports
 * has no sequence of its own in frames: it counts what comes, and what is found to be lost.
 */
static inline void count_seq(struct datapath *dp, struct dp_port *d, uint32_t seq)
{
	int32_t gap = (int32_t)(seq - d->expected);

	if (likely(gap == 0)) {
		d->expected = seq + 1;
		dp->total.expected++;
	} else if (gap > 0) {
		d->lost += (uint32_t)gap;
		d->expected = seq + 1;
		dp->total.expected += (uint32_t)gap + 1;
	} else if (d->lost) {
		d->lost--;
	}
}

/* The VLAN of a frame, 0 = it has no tag, or a priority tag. */
static inline uint16_t frame_vlan(const struct nicq_pkt *p)
{
	if (likely(load_be16(p->data + VLAN_TYPE_AT) != VLAN_TPID || p->len < ETH_MIN + VLAN_TAG_LEN))
		return 0;
	return vlan_of_tag(p->data + VLAN_TYPE_AT);
}

/*
 * Takes the tag off a frame of a VLAN whose tag the guest does not get. Metadata goes with it: it has been read. Return:
 * false when the guest believes tags, and there is another one behind: that is no way into its VLAN.
 */
static __attribute__((noinline)) bool strip_tag(struct datapath *dp, const struct port *port, const struct nicq_pkt *p)
{
	struct dp_frame *f = &dp->frame[p->frame];
	struct vd_meta *m = nicq_meta(p);

	if (frame_vlan(p) != port->policy.vlan)
		return true;
	if (port->policy.has_trunk && vlan_is_tag(load_be16(p->data + VLAN_TYPE_AT + VLAN_TAG_LEN)))
		return false;
	if (m)
		m->magic = 0;
	memmove(f->data + VLAN_TAG_LEN, f->data, 2 * MAC_LEN);
	f->data += VLAN_TAG_LEN;
	f->len = (uint16_t)(f->len - VLAN_TAG_LEN);
	return true;
}

/* The program could not write metadata: the same lookup over the same tables, here. */
static struct dp_port *lookup(struct datapath *dp, const struct nicq_pkt *p, uint32_t *pair)
{
	const uint16_t vlan = frame_vlan(p);
	uint32_t port = fdb_forward(dp->fdb, vlan, mac_load(p->data));
	struct dp_port *d;

	if (port >= VD_MAX_PORTS)
		port = dp->unknown_port;
	d = port < VD_MAX_PORTS ? dp->port[port] : NULL;
	if (!d || d->port->policy.link_down || !policy_member(&d->port->policy, vlan))
		return NULL;
	d->without_meta++;
	*pair = port_pair(d->port, vd_flow_hash(p->data, p->len));
	return d;
}

/* Notes one UMEM frame: a whole Ethernet frame, or the first piece of it. */
static inline void note_frame(struct datapath *dp, const struct nicq_pkt *p, uint64_t now_ns)
{
	struct dp_frame *f = &dp->frame[p->frame];

	f->next = f->rest = DP_NONE;
	f->when = (uint32_t)(now_ns >> 20);
	f->len = (uint16_t)p->len;
	f->sums = COALESCE_UNKNOWN;
	f->data = p->data;
}

/* Puts an Ethernet frame that was noted on the list of its virtqueue. */
static inline void append(struct datapath *dp, struct dp_port *d, uint32_t pair, const struct nicq_pkt *p)
{
	struct dp_wait *w = &d->wait[pair];

	if (w->head == DP_NONE)
		w->head = p->frame;
	else
		dp->frame[w->tail].next = p->frame;
	w->tail = p->frame;
	w->count++;
	d->held++;
	dp->held++;
	if (!w->listed) {
		w->listed = true;
		dp->busy[dp->nbusy++] = (struct dp_ref){ w, d, pair };
	}
}

/* Gives an Ethernet frame that was noted back to the NIC queue, all pieces of it. */
static void recycle(struct datapath *dp, uint32_t frame)
{
	while (frame != DP_NONE) {
		struct dp_frame *f = &dp->frame[frame];
		struct nicq_pkt p = { .data = f->data, .len = f->len, .frame = frame };

		frame = f->rest;
		nicq_recycle(dp->nicq, &p);
	}
}

/*
 * Collects the pieces of an Ethernet frame that is longer than a chunk; they come one behind the other, maybe in
 * several batches. Return: the first piece when the frame is whole, NULL otherwise.
 */
static __attribute__((noinline)) const struct nicq_pkt *collect(struct datapath *dp, const struct nicq_pkt *p,
								  uint64_t now_ns)
{
	note_frame(dp, p, now_ns);
	if (!dp->partial.n++) {
		dp->partial.first = *p;
		dp->partial.last = p->frame;
		return NULL;
	}
	dp->frame[dp->partial.last].rest = p->frame;
	dp->partial.last = p->frame;
	if (p->more)
		return NULL;
	if (dp->partial.n <= NICQ_PIECES) {
		dp->partial.n = 0;
		return &dp->partial.first;
	}
	dp->nicq->stats.rx_invalid++;	/* longer than any MTU we serve */
	recycle(dp, dp->partial.first.frame);
	dp->partial.n = 0;
	return NULL;
}

/* The port and queue pair of an Ethernet frame, from its metadata or, without, by the same tables. NULL: for nobody. */
static inline struct dp_port *find_port(struct datapath *dp, const struct nicq_pkt *p, uint32_t *pair)
{
	const struct vd_meta *m = nicq_meta(p);
	struct dp_port *d;

	if (unlikely(p->len < ETH_MIN))
		return NULL;
	if (unlikely(!m)) {
		d = lookup(dp, p, pair);
	} else {
		d = m->port < VD_MAX_PORTS ? dp->port[m->port] : NULL;
		*pair = m->pair;
		if (unlikely(!d)) {
			dp->total.expected++;
		} else if (unlikely((int32_t)(m->seq - d->first) < 0)) {	/* for the port that was */
			dp->total.expected++;
			return NULL;
		} else {
			count_seq(dp, d, m->seq);
		}
	}
	return likely(d && *pair < d->port->pairs) ? d : NULL;
}

/* First pass: sort what came by port and queue pair. */
static void sort_batch(struct datapath *dp, unsigned n, uint64_t now_ns)
{
	for (unsigned i = 0; i < n; i++) {
		const struct nicq_pkt *p = &dp->pkt[i];
		struct dp_port *d;
		uint64_t src;
		uint32_t pair = 0;

		if (i + 4 < n)
			__builtin_prefetch(dp->pkt[i + 4].data - sizeof(struct vd_meta));
		if (unlikely(p->more || dp->partial.n)) {
			p = collect(dp, p, now_ns);
			if (!p)
				continue;
		} else {
			note_frame(dp, p, now_ns);
		}
		d = find_port(dp, p, &pair);
		if (unlikely(!d)) {
			dp->drop_stray++;
			recycle(dp, p->frame);
			continue;
		}
		src = mac_load(p->data + MAC_LEN);
		if (src != dp->last_wire_src) {
			dp->last_wire_src = src;
			learn_wire_note(dp->wire, src, now_ns);
		}
		if (unlikely(d->port->policy.vlan) && !strip_tag(dp, d->port, p)) {
			d->count[DP_DROP_UNFIT]++;
			recycle(dp, p->frame);
			continue;
		}
		append(dp, d, pair, p);
	}
}

/* Takes @n Ethernet frames off the list's front and gives them back to the NIC queue. */
static void pop(struct datapath *dp, struct dp_port *d, struct dp_wait *w, unsigned n)
{
	while (n--) {
		struct dp_frame *f = &dp->frame[w->head];
		struct nicq_pkt p = { .data = f->data, .len = f->len, .frame = w->head };

		if (unlikely(f->rest != DP_NONE))
			recycle(dp, f->rest);
		w->head = f->next;
		w->count--;
		d->held--;
		dp->held--;
		nicq_recycle(dp->nicq, &p);
	}
	if (w->head == DP_NONE)
		w->tail = DP_NONE;
}

/* The pieces of an Ethernet frame. Return: how many. */
static unsigned pieces_of(const struct datapath *dp, uint32_t frame, struct iovec *iov, uint32_t *len)
{
	unsigned n = 0;

	*len = 0;
	for (; frame != DP_NONE; frame = dp->frame[frame].rest) {
		iov[n++] = (struct iovec){ dp->frame[frame].data, dp->frame[frame].len };
		*len += dp->frame[frame].len;
	}
	return n;
}

/* Length of an Ethernet frame, all pieces of it. */
static uint32_t whole_len(const struct datapath *dp, uint32_t frame)
{
	uint32_t len = 0;

	for (; frame != DP_NONE; frame = dp->frame[frame].rest)
		len += dp->frame[frame].len;
	return len;
}

/* The front of a list, as it came. Return: packets in dp->src. */
static unsigned gather(struct datapath *dp, const struct dp_wait *w)
{
	struct iovec *iov = dp->piece;
	unsigned n = 0;

	for (uint32_t f = w->head; f != DP_NONE && n < VIRTQ_BATCH; f = dp->frame[f].next, n++) {
		struct virtq_more *more = &dp->more[n];

		dp->src[n] = (struct virtq_src){ dp->frame[f].data, dp->frame[f].len, NULL, NULL };
		if (likely(dp->frame[f].rest == DP_NONE))
			continue;
		*more = (struct virtq_more){ .piece = iov };
		more->npieces = pieces_of(dp, f, iov, &dp->src[n].len);
		iov += more->npieces;
		dp->src[n].more = more;
	}
	return n;
}

/*
 * The front of a list, joined where the guest takes it. Joining may put frames of one flow before those of another;
 * the list is put into the same order, so that what is delivered is always its front. Return: packets in dp->coalesce.
 */
static unsigned gather_joined(struct datapath *dp, struct dp_wait *w, uint64_t features)
{
	uint32_t frame[VIRTQ_BATCH], f = w->head;
	struct coalesce *c = &dp->coalesce;
	struct iovec *iov = dp->piece;
	unsigned n = 0;

	for (; f != DP_NONE && n < VIRTQ_BATCH; f = dp->frame[f].next, n++) {
		struct coalesce_in *in = &dp->in[n];

		frame[n] = f;
		in->piece = iov;
		in->npieces = pieces_of(dp, f, iov, &in->len);
		in->when = dp->frame[f].when;
		in->sums = dp->frame[f].sums;
		iov += in->npieces;
	}
	if (!n)
		return 0;
	coalesce_batch(c, features, dp->in, n);
	for (unsigned i = 0; i < n; i++)
		dp->frame[frame[i]].sums = dp->in[i].sums;
	w->head = frame[c->order[0]];
	for (unsigned i = 0; i < n; i++)
		dp->frame[frame[c->order[i]]].next = i + 1 < n ? frame[c->order[i + 1]] : f;
	if (f == DP_NONE)
		w->tail = frame[c->order[n - 1]];
	return c->n;
}

/* Frames that a port may have waiting, as the program has it: what the others leave, and so it shrinks when they come. */
static uint32_t share_of(const struct datapath *dp)
{
	uint32_t room = READ_ONCE(dp->room);

	if (!room)
		return 0;
	room = room > dp->held ? room - dp->held : 0;
	return room > VD_SHARE_MIN ? room : VD_SHARE_MIN;
}

/*
 * The guest has no buffers for what is left. It may wait within the port's share, but not for ever:
 * a frame that comes a tenth of a second late does more harm than one that is lost.
 */
static void expire(struct datapath *dp, struct dp_port *d, struct dp_wait *w, uint64_t now_ns)
{
	const uint32_t share = share_of(dp);
	unsigned n = 0;

	if (!w->count) {
		w->since_ns = 0;
		return;
	}
	if (!w->since_ns)
		w->since_ns = now_ns;
	if (now_ns - w->since_ns > DP_HOLD_NS)
		n = w->count;
	else if (share && d->held > share)	/* each that goes leaves room for one more */
		n = (d->held - share + 1) / 2 < w->count ? (d->held - share + 1) / 2 : w->count;
	if (!n)
		return;
	d->drop_hold += n;
	pop(dp, d, w, n);
	w->since_ns = w->count ? now_ns : 0;
}

/* The front of a list, once, frame by frame. Return: Ethernet frames that left the list; *@stop: no more go. */
static unsigned deliver_frames(struct datapath *dp, struct dp_port *d, struct dp_wait *w, struct virtq *vq, bool *stop)
{
	unsigned n = gather(dp, w), got = virtq_rx_put(vq, dp->src, n);

	*stop = got < n || !n;
	pop(dp, d, w, got);
	return got;
}

/* The same, joined where it can be. What does not fit joined is tried again frame by frame. */
static unsigned deliver_joined(struct datapath *dp, struct dp_port *d, struct dp_wait *w, struct virtq *vq, bool *stop)
{
	const struct coalesce *c = &dp->coalesce;
	unsigned n = gather_joined(dp, w, vq->features), got = virtq_rx_put(vq, c->src, n), frames = 0;

	for (unsigned i = 0; i < got; i++)
		frames += c->frames[i];
	pop(dp, d, w, frames);
	*stop = got < n || !n;
	if (*stop && got < n && c->frames[got] > 1)
		frames += deliver_frames(dp, d, w, vq, stop);
	return frames;
}

/* Second pass, one virtqueue: copy, publish, call. Return: Ethernet frames that left the list. */
static unsigned deliver(struct datapath *dp, const struct dp_ref *r, uint64_t now_ns)
{
	struct dp_port *d = r->port;
	struct dp_wait *w = r->wait;
	struct virtq *vq = port_rxq(d->port, r->pair);
	unsigned done = 0, n;
	bool stop, join;

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
	/* What waits for buffers is not joined anew every time round. */
	stop = w->since_ns && virtq_rx_starved(vq, whole_len(dp, w->head));
	join = coalesce_wanted(vq->features);
	while (!stop)
		done += join ? deliver_joined(dp, d, w, vq, &stop) : deliver_frames(dp, d, w, vq, &stop);
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
	WRITE_ONCE(dp->flow[VD_MAX_PORTS].consumed, dp->total.expected - dp->held);
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
		if (d->expected - d->first > FIRST_BEHIND)	/* numbers go round: it must not come to be ahead */
			d->first = d->expected - FIRST_BEHIND / 2;
		publish_position(dp, d);
		d->snap_seq = READ_ONCE(dp->flow[i].seq);
		d->snap_ns = now_ns;
	}
	/* Not the sum of what the ports found: those that are gone count, too. */
	if ((int32_t)(dp->total.snap_seq - dp->total.expected) > 0)
		WRITE_ONCE(dp->total.expected, dp->total.snap_seq);
	dp->total.snap_seq = READ_ONCE(dp->flow[VD_MAX_PORTS].seq);
	if ((int32_t)(dp->total.expected - dp->total.snap_seq) > 0)	/* a loss that was found twice */
		WRITE_ONCE(dp->total.expected, dp->total.snap_seq);
	WRITE_ONCE(dp->flow[VD_MAX_PORTS].consumed, dp->total.expected - dp->held);
}

bool datapath_missing(const struct datapath *dp)
{
	return (int32_t)(READ_ONCE(dp->flow[VD_MAX_PORTS].seq) - READ_ONCE(dp->total.expected)) > 0;
}

/* Off the list of lists with frames, the lists' frames back to the NIC queue. */
static void drop_waiting(struct datapath *dp, struct dp_port *d)
{
	uint32_t keep = 0;

	for (uint32_t i = 0; i < dp->nbusy; i++)
		if (dp->busy[i].port != d)
			dp->busy[keep++] = dp->busy[i];
	dp->nbusy = keep;
	for (uint32_t i = 0; i < d->port->pairs; i++) {
		pop(dp, d, &d->wait[i], d->wait[i].count);
		d->wait[i].listed = false;
		d->wait[i].since_ns = 0;
	}
	publish_position(dp, d);
}

void datapath_flush_port(struct datapath *dp, struct port *p, enum dp_count why)
{
	struct dp_port *d = dp->port[p->index];

	if (!d)
		return;
	d->first = d->expected = d->snap_seq = READ_ONCE(dp->flow[p->index].seq);
	d->count[why] += d->held;
	drop_waiting(dp, d);
}

void datapath_unplug(struct datapath *dp)
{
	for (uint32_t i = 0; i < dp->nport; i++) {
		struct dp_port *d = dp->port[i];

		if (!d)
			continue;
		d->count[DP_DROP_UPLINK] += d->held;
		drop_waiting(dp, d);
		for (uint32_t k = 0; k < d->ntx; k++)
			d->tx[k].need = 0;
	}
	if (dp->partial.n)
		recycle(dp, dp->partial.first.frame);
	dp->partial.n = 0;
	dp->need = 0;
	dp->reconcile_due = false;
}

/* None of its tx virtqueues is polled. */
static void deactivate(struct datapath *dp, const struct dp_port *d)
{
	uint32_t keep = 0;

	for (uint32_t i = 0; i < dp->nactive; i++)
		if (dp->active[i]->stats != d)
			dp->active[keep++] = dp->active[i];
	dp->nactive = keep;
}

void datapath_rehome(struct datapath *dp, struct port *p, uint32_t nqueues)
{
	struct dp_port *d = dp->port[p->index];

	if (!d)
		return;
	deactivate(dp, d);
	find_homes(dp, d, nqueues);
	for (uint32_t i = 0; i < d->ntx; i++)
		datapath_activate(dp, &d->tx[i]);
}

void datapath_del_port(struct datapath *dp, struct port *p)
{
	struct dp_port *d = dp->port[p->index];

	if (!d)
		return;
	drop_waiting(dp, d);
	deactivate(dp, d);
	dp->pairs -= p->pairs;
	dp->port[p->index] = NULL;
	while (dp->nport && !dp->port[dp->nport - 1])
		dp->nport--;
	free_port(d);
}

void datapath_rx(struct datapath *dp, uint64_t now_ns, struct dp_result *res)
{
	unsigned n = nicq_rx(dp->nicq, dp->pkt, DP_RX_BATCH);
	uint32_t keep = 0;

	if (unlikely(now_ns - dp->forget_ns >= DP_FORGET_NS)) {	/* whoever is heard all the time stays on record */
		dp->forget_ns = now_ns;
		dp->last_wire_src = 0;
	}
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
