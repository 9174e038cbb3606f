/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A data path goes from one process to another: sequence numbers, counters, and
 * the frames that wait for a guest without buffers, in their order. The worker
 * stands still meanwhile, so nothing is in its hands but what is on these lists.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/datapath_move.h"

#define TAG 0x61746164u		/* "data" */

struct dp_saved {
	uint32_t total_expected, total_snap_seq, held, partial_n, partial_last, partial_frame, ports, frames;
	uint64_t drop_stray, reconcile_ns;
};

struct dp_port_saved {
	uint32_t index, pairs, held, first, expected, snap_seq;
	uint64_t snap_ns, lost, without_meta, drop_hold, drop_ring, drop_mcast, drop_uplink_down;
	uint64_t count[DP_COUNTS];
};

struct dp_wait_saved {
	uint32_t head, tail, count;
	uint64_t since_ns;
};

/* dp_frame with an offset into the UMEM, which lies elsewhere in the other process. */
struct dp_frame_saved {
	uint32_t next, rest, when;
	uint16_t len;
	uint8_t sums;
	uint64_t offset;
};

static void save_frames(const struct datapath *dp, struct parcel *to)
{
	for (uint32_t i = 0; i < dp->nicq->frames.total; i++) {
		const struct dp_frame *f = &dp->frame[i];
		struct dp_frame_saved s;

		memset(&s, 0, sizeof(s));
		if (dp->nicq->frames.owner[i] == FRAME_HELD)
			s = (struct dp_frame_saved){
				.next = f->next, .rest = f->rest, .when = f->when, .len = f->len, .sums = f->sums,
				.offset = (uint64_t)(f->data - dp->nicq->umem),
			};
		parcel_put(to, TAG, &s, sizeof(s));
	}
}

static void save_port(const struct dp_port *d, struct parcel *to)
{
	struct dp_port_saved s = {
		.index = d->port->index, .pairs = d->port->pairs, .held = d->held, .first = d->first,
		.expected = d->expected, .snap_seq = d->snap_seq, .snap_ns = d->snap_ns, .lost = d->lost,
		.without_meta = d->without_meta, .drop_hold = d->drop_hold, .drop_ring = d->drop_ring,
		.drop_mcast = d->drop_mcast, .drop_uplink_down = d->drop_uplink_down,
	};

	memcpy(s.count, d->count, sizeof(s.count));
	parcel_put(to, TAG, &s, sizeof(s));
	for (uint32_t i = 0; i < d->port->pairs; i++) {
		const struct dp_wait *w = &d->wait[i];
		const struct dp_wait_saved ws = { w->head, w->tail, w->count, w->since_ns };

		parcel_put(to, TAG, &ws, sizeof(ws));
	}
}

static uint32_t ports_of(const struct datapath *dp)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < dp->nport; i++)
		n += dp->port[i] != NULL;
	return n;
}

void datapath_save(const struct datapath *dp, struct parcel *to)
{
	struct dp_saved s = {
		.total_expected = dp->total.expected, .total_snap_seq = dp->total.snap_seq, .held = dp->held,
		.partial_n = dp->partial.n, .ports = ports_of(dp), .drop_stray = dp->drop_stray, .reconcile_ns = dp->reconcile_ns,
		.frames = dp->held || dp->partial.n ? dp->nicq->frames.total : 0,
	};

	if (dp->partial.n) {
		s.partial_last = dp->partial.last;
		s.partial_frame = dp->partial.first.frame;
	}
	parcel_put(to, TAG, &s, sizeof(s));
	parcel_put(to, TAG, dp->wire, sizeof(*dp->wire));
	if (s.frames)
		save_frames(dp, to);
	for (uint32_t i = 0; i < dp->nport; i++)
		if (dp->port[i])
			save_port(dp->port[i], to);
}

/* In its own chunk, with room for metadata in front: as nicq_rx() gives them. */
static bool inside(const struct datapath *dp, uint32_t frame, const struct dp_frame_saved *s)
{
	const uint32_t chunk = dp->nicq->frames.chunk, at = (uint32_t)(s->offset & (chunk - 1));

	return s->offset / chunk == frame && at >= sizeof(struct vd_meta) && s->len <= chunk - at;
}

static int resume_frames(struct datapath *dp, uint32_t frames, struct parcel *from)
{
	const uint32_t total = dp->nicq->frames.total;

	if (frames != total)
		return frames ? -EPROTO : 0;
	for (uint32_t i = 0; i < total; i++) {
		struct dp_frame_saved s;

		if (parcel_get(from, TAG, &s, sizeof(s)))
			return from->err;
		if (dp->nicq->frames.owner[i] != FRAME_HELD)
			continue;
		if (!inside(dp, i, &s))
			return -EPROTO;
		dp->frame[i] = (struct dp_frame){
			.next = s.next, .rest = s.rest, .when = s.when, .len = s.len, .sums = s.sums,
			.data = dp->nicq->umem + s.offset,
		};
	}
	return 0;
}

/*
 * The pieces of an Ethernet frame: each in our hands, and met here for the first time (@met: a mark per frame).
 * Return: how many, @last the last of them; 0: they make no sense.
 */
static uint32_t meet_pieces(const struct datapath *dp, uint8_t *met, uint32_t f, uint32_t *last)
{
	const struct frames *l = &dp->nicq->frames;
	uint32_t n = 0;

	do {
		if (f >= l->total || l->owner[f] != FRAME_HELD || !dp->frame[f].data || met[f])
			return 0;
		met[f] = 1;
		*last = f;
		f = dp->frame[f].rest;
		n++;
	} while (f != DP_NONE);
	return n;
}

/* As many frames as it says, and the last one where it says. */
static int check_list(const struct datapath *dp, uint8_t *met, const struct dp_wait *w)
{
	uint32_t f = w->head, tail = DP_NONE, end;

	for (uint32_t n = 0; n < w->count; n++) {
		uint32_t pieces = meet_pieces(dp, met, f, &end);

		if (!pieces || pieces > NICQ_PIECES)
			return -EPROTO;
		tail = f;
		f = dp->frame[f].next;
	}
	return f == DP_NONE && tail == w->tail ? 0 : -EPROTO;
}

static int resume_port(struct datapath *dp, uint8_t *met, struct parcel *from)
{
	struct dp_port_saved s;
	struct dp_port *d;

	if (parcel_get(from, TAG, &s, sizeof(s)))
		return from->err;
	d = s.index < VD_MAX_PORTS ? dp->port[s.index] : NULL;
	if (!d || d->port->pairs != s.pairs)
		return -EPROTO;
	d->first = s.first;
	d->expected = s.expected;
	d->snap_seq = s.snap_seq;
	d->snap_ns = s.snap_ns;
	d->lost = s.lost;
	d->without_meta = s.without_meta;
	d->drop_hold = s.drop_hold;
	d->drop_ring = s.drop_ring;
	d->drop_mcast = s.drop_mcast;
	d->drop_uplink_down = s.drop_uplink_down;
	memcpy(d->count, s.count, sizeof(d->count));
	for (uint32_t i = 0; i < s.pairs; i++) {
		struct dp_wait *w = &d->wait[i];
		struct dp_wait_saved ws;

		if (parcel_get(from, TAG, &ws, sizeof(ws)))
			return from->err;
		*w = (struct dp_wait){ .head = ws.head, .tail = ws.tail, .count = ws.count, .since_ns = ws.since_ns };
		if (check_list(dp, met, w) || dp->nbusy == dp->pairs)
			return -EPROTO;
		d->held += w->count;
		dp->held += w->count;
		if (!w->count)
			continue;
		w->listed = true;
		dp->busy[dp->nbusy++] = (struct dp_ref){ w, d, i };
	}
	return d->held == s.held ? 0 : -EPROTO;
}

/* An Ethernet frame of which pieces are still to come. */
static int resume_partial(struct datapath *dp, uint8_t *met, const struct dp_saved *s)
{
	uint32_t last;

	if (meet_pieces(dp, met, s->partial_frame, &last) != s->partial_n || last != s->partial_last)
		return -EPROTO;
	dp->partial.n = s->partial_n;
	dp->partial.last = s->partial_last;
	dp->partial.first = (struct nicq_pkt){
		.data = dp->frame[s->partial_frame].data, .len = dp->frame[s->partial_frame].len,
		.frame = s->partial_frame, .more = true,
	};
	return 0;
}

int datapath_resume(struct datapath *dp, struct vd_flow *flow, struct parcel *from)
{
	struct dp_saved s;
	uint8_t *met;
	int ret;

	parcel_get(from, TAG, &s, sizeof(s));
	if (parcel_get(from, TAG, dp->wire, sizeof(*dp->wire)))
		return from->err;
	dp->flow = flow;
	dp->total.expected = s.total_expected;
	dp->total.snap_seq = s.total_snap_seq;
	dp->drop_stray = s.drop_stray;
	dp->reconcile_ns = s.reconcile_ns;	/* of the snapshots that the ports bring */
	if (s.ports != ports_of(dp))
		return -EPROTO;
	met = calloc(dp->nicq->frames.total, 1);
	ret = met ? resume_frames(dp, s.frames, from) : -ENOMEM;
	if (!ret && s.partial_n)
		ret = resume_partial(dp, met, &s);
	for (uint32_t i = 0; i < s.ports && !ret; i++)
		ret = resume_port(dp, met, from);
	free(met);
	return !ret && dp->held != s.held ? -EPROTO : ret;
}
