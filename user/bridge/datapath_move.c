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
	uint64_t drop_stray, partial_offset, reconcile_ns;
	uint32_t partial_len;
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

void datapath_save(const struct datapath *dp, struct parcel *to)
{
	struct dp_saved s = {
		.total_expected = dp->total.expected, .total_snap_seq = dp->total.snap_seq, .held = dp->held,
		.partial_n = dp->partial.n, .drop_stray = dp->drop_stray, .reconcile_ns = dp->reconcile_ns,
		.frames = dp->held || dp->partial.n ? dp->nicq->frames.total : 0,
	};

	if (dp->partial.n) {
		s.partial_last = dp->partial.last;
		s.partial_frame = dp->partial.first.frame;
		s.partial_len = dp->partial.first.len;
		s.partial_offset = (uint64_t)(dp->partial.first.data - dp->nicq->umem);
	}
	for (uint32_t i = 0; i < dp->nport; i++)
		s.ports += dp->port[i] != NULL;
	parcel_put(to, TAG, &s, sizeof(s));
	parcel_put(to, TAG, dp->wire, sizeof(*dp->wire));
	if (s.frames)
		save_frames(dp, to);
	for (uint32_t i = 0; i < dp->nport; i++)
		if (dp->port[i])
			save_port(dp->port[i], to);
}

static bool inside(const struct datapath *dp, uint64_t offset, uint32_t len)
{
	return len <= dp->nicq->umem_len && offset <= dp->nicq->umem_len - len;
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
		if ((s.next >= total && s.next != DP_NONE) || (s.rest >= total && s.rest != DP_NONE) ||
		    !inside(dp, s.offset, s.len))
			return -EPROTO;
		dp->frame[i] = (struct dp_frame){
			.next = s.next, .rest = s.rest, .when = s.when, .len = s.len, .sums = s.sums,
			.data = dp->nicq->umem + s.offset,
		};
	}
	return 0;
}

/* As many frames as it says, all of them in our hands, and the last one where it says. */
static int check_list(const struct datapath *dp, const struct dp_wait *w)
{
	uint32_t f = w->head, last = DP_NONE, n = 0;

	for (; f != DP_NONE && n < w->count; f = dp->frame[f].next, n++) {
		if (f >= dp->nicq->frames.total || dp->nicq->frames.owner[f] != FRAME_HELD)
			return -EPROTO;
		last = f;
	}
	return n == w->count && last == w->tail ? 0 : -EPROTO;
}

static int resume_port(struct datapath *dp, struct parcel *from)
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
		if (check_list(dp, w))
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

int datapath_resume(struct datapath *dp, struct vd_flow *flow, struct parcel *from)
{
	struct dp_saved s;
	int ret;

	parcel_get(from, TAG, &s, sizeof(s));
	if (parcel_get(from, TAG, dp->wire, sizeof(*dp->wire)))
		return from->err;
	dp->flow = flow;
	dp->total.expected = s.total_expected;
	dp->total.snap_seq = s.total_snap_seq;
	dp->drop_stray = s.drop_stray;
	dp->reconcile_ns = s.reconcile_ns;	/* of the snapshots that the ports bring */
	ret = resume_frames(dp, s.frames, from);
	if (!ret && s.partial_n) {
		if (s.partial_frame >= dp->nicq->frames.total || s.partial_last >= dp->nicq->frames.total ||
		    !inside(dp, s.partial_offset, s.partial_len))
			return -EPROTO;
		dp->partial.n = s.partial_n;
		dp->partial.last = s.partial_last;
		dp->partial.first = (struct nicq_pkt){
			.data = dp->nicq->umem + s.partial_offset, .len = s.partial_len, .frame = s.partial_frame,
			.more = true,
		};
	}
	for (uint32_t i = 0; i < s.ports && !ret; i++)
		ret = resume_port(dp, from);
	return !ret && dp->held != s.held ? -EPROTO : ret;
}
