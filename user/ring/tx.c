/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transmit: guest to us, for both kinds of rings. Each pass is written once and
 * made twice, with @packed a constant.
 *
 * Three passes over a batch, so that cache misses overlap: read heads
 * (prefetching descriptors; a packed ring has none), translate descriptors
 * (prefetching buffers), read headers. Everything in guest memory is hostile and
 * may change while we look: each field is read once into a local copy, checks
 * and use are on the copy. Nothing is counted or given back before its turn in
 * the ring, so that what the caller does not take is as if it was never seen.
 */
#include <string.h>

#include "ring/marks.h"
#include "ring/packed.h"
#include "ring/split.h"
#include "ring/vnet.h"

/* Moves the header out of the pieces into our copy. The chain has at least hdr_len bytes. */
static void take_header(const struct virtq *vq, struct virtq_pkt *p)
{
	uint8_t *to = (uint8_t *)&p->hdr;
	size_t left = vq->hdr_len;

	while (left) {
		size_t part = p->piece->iov_len < left ? p->piece->iov_len : left;

		memcpy(to, p->piece->iov_base, part);
		to += part;
		left -= part;
		p->piece->iov_base = (uint8_t *)p->piece->iov_base + part;
		p->piece->iov_len -= part;
		if (!p->piece->iov_len) {
			p->piece++;
			p->npieces--;
		}
	}
}

/* The same for a first piece that holds more than the header: one fixed-size copy. */
static inline void split_header(const struct virtq *vq, struct virtq_pkt *p)
{
	__builtin_memcpy(&p->hdr, p->piece->iov_base, sizeof(p->hdr));
	p->piece->iov_base = (uint8_t *)p->piece->iov_base + vq->hdr_len;
	p->piece->iov_len -= vq->hdr_len;
}

/* A header that asks for what was not negotiated is not believed. */
static enum virtq_error check_header(const struct virtq *vq, const struct virtq_pkt *p)
{
	if (!vnet_allowed(vq->features, &p->hdr))
		return VIRTQ_DROP_OFFLOAD;
	if (p->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE && p->len > vq->max_frame)
		return VIRTQ_DROP_LONG;
	return VIRTQ_OK;
}

/* Enters a chain whose bytes lie in @n pieces behind the pool's end. */
static inline void enter(const struct virtq *vq, struct virtq_batch *b, unsigned n, uint32_t total)
{
	struct virtq_pkt *p = &b->pkt[b->n];

	p->chain = (uint16_t)b->nchains;
	p->piece = &b->piece[b->npieces];
	p->npieces = (uint16_t)n;
	p->len = total - vq->hdr_len;
	b->npieces += n;
	__builtin_prefetch(p->piece->iov_base);
	/* Often the header ends a line, and the packet begins the next. */
	__builtin_prefetch((const uint8_t *)p->piece->iov_base + COPY_LINE);
}

/* Second pass, other than one plain descriptor in one piece. */
static __always_inline enum virtq_error collect_walk(struct virtq *vq, struct virtq_batch *b, struct ring_desc *d,
						     struct virtq_chain *c, const bool packed)
{
	struct walk w = {
		.iov = &b->piece[b->npieces],
		.max = (int)(VIRTQ_PIECES - b->npieces),
		.enough = vq->longest + 1ull,	/* one more tells that it is too long */
		.walked = &b->walked,
	};
	enum virtq_error e = packed ? packed_walk(vq, d, false, &w, c) : split_walk(vq, d, false, &w);

	if (unlikely(e))
		return e;
	if (unlikely(w.total < vq->hdr_len + 14u))
		return VIRTQ_DROP_SHORT;
	if (unlikely(w.total > vq->longest))
		return VIRTQ_DROP_LONG;
	enter(vq, b, (unsigned)w.n, (uint32_t)w.total);
	return VIRTQ_OK;
}

/* Second pass: the chain that begins with @d into the batch. VIRTQ_OK, or why it is not there. */
static __always_inline enum virtq_error collect(struct virtq *vq, struct virtq_batch *b, struct ring_desc *d,
						struct virtq_chain *c, const bool packed)
{
	if (packed)	/* of a split ring the caller has it: the head */
		c->id = d->link;
	c->ndesc = 1;
	/* Nearly always: one plain descriptor in one piece. */
	if (likely(!d->flags && d->len >= vq->hdr_len + 14u && d->len <= vq->longest) &&
	    likely(!packed || d->link < vq->size) &&
	    likely(gmem_map(vq->mem, GMEM_GUEST, d->addr, d->len, &b->piece[b->npieces],
			    (int)(VIRTQ_PIECES - b->npieces), &vq->hint) == 1)) {
		enter(vq, b, 1, d->len);
		return VIRTQ_OK;
	}
	return collect_walk(vq, b, d, c, packed);
}

/* Third pass: headers, whose lines have been on their way since the second. */
static void read_headers(struct virtq *vq, struct virtq_batch *b)
{
	unsigned keep = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct virtq_pkt *p = &b->pkt[i];
		uint16_t asks;

		if (likely(p->piece->iov_len > sizeof(p->hdr)))
			split_header(vq, p);
		else
			take_header(vq, p);
		__builtin_memcpy(&asks, &p->hdr, sizeof(asks));	/* flags and gso_type at once */
		if (unlikely(asks || p->len > vq->max_frame)) {
			enum virtq_error e = check_header(vq, p);

			if (unlikely(e)) {
				b->chain[p->chain].drop = e;
				continue;
			}
		}
		if (keep != i)
			b->pkt[keep] = *p;
		keep++;
	}
	b->n = keep;
}

/* The entries of chains @i to @end, the first of them at @at, were written. */
static __attribute__((noinline)) void mark_entries(const struct virtq *vq, const struct virtq_batch *b, uint16_t at,
						   unsigned i, unsigned end, const bool packed)
{
	for (; i < end; i++) {
		mark_entry(vq, at, packed);
		at = packed ? packed_forward(vq, at, b->chain[i].ndesc) : (uint16_t)(at + 1);
	}
}

/* Gives chains back, those before @end, from @i on. */
static __always_inline void complete(struct virtq *vq, const struct virtq_batch *b, unsigned i, unsigned end,
				     const bool packed)
{
	const unsigned first = i;
	uint16_t at = vq->next_used;

	for (; i < end; i++) {
		const struct virtq_chain *c = &b->chain[i];

		if (unlikely(c->drop))
			vq->stats.errors[c->drop]++;
		at = packed ? packed_stage(vq, at, c->id, c->ndesc, 0) : split_stage(vq, at, c->id, 0);
	}
	if (unlikely(vq->log_ring))
		mark_entries(vq, b, vq->next_used, first, end, packed);
	vq->next_used = at;
}

static __always_inline unsigned tx_get(struct virtq *vq, struct virtq_batch *b, unsigned max, const bool packed)
{
	uint32_t room = packed ? packed_room(vq) : 0;
	uint16_t head[VIRTQ_BATCH];

	b->n = b->nchains = b->npieces = b->walked = 0;
	if (unlikely(vq->broken))
		return 0;
	if (!packed)
		max = split_heads(vq, head, max);
	while (b->nchains < max && likely(b->walked <= WALK_MAX)) {
		struct virtq_chain *c = &b->chain[b->nchains];
		struct ring_desc d;
		enum virtq_error e;

		if (packed) {
			if (!room || !packed_read(vq, &d, vq->next_avail))
				break;
		} else {
			c->id = head[b->nchains];
			split_read(&d, &vq->desc[c->id]);
		}
		e = collect(vq, b, &d, c, packed);
		if (likely(!e)) {
			b->n++;
		} else if (e >= VIRTQ_FIRST_BROKEN) {
			break_ring(vq, e);
			break;
		} else if (e == VIRTQ_DROP_PIECES && b->npieces) {
			break;	/* the pool is used up by others: next batch */
		}
		c->drop = e;
		b->nchains++;
		room -= c->ndesc;
		vq->next_avail = packed ? packed_forward(vq, vq->next_avail, c->ndesc) : (uint16_t)(vq->next_avail + 1);
	}
	read_headers(vq, b);
	/* Without a packet before them nobody else gives them back. */
	complete(vq, b, 0, b->n ? b->pkt[0].chain : b->nchains, packed);
	return b->n;
}

static __always_inline void tx_put(struct virtq *vq, const struct virtq_batch *b, unsigned n, const bool packed)
{
	unsigned end = n < b->n ? b->pkt[n].chain : b->nchains;
	uint64_t bytes = 0;
	uint32_t left = 0, bad = 0;

	if (!b->n)
		return;
	complete(vq, b, b->pkt[0].chain, end, packed);
	for (unsigned i = 0; i < n; i++) {
		if (unlikely(b->chain[b->pkt[i].chain].drop)) {	/* the caller found it to be no good */
			bad++;
			continue;
		}
		bytes += b->pkt[i].len;
	}
	vq->stats.packets += n - bad;
	vq->stats.bytes += bytes;
	if (likely(end == b->nchains))
		return;
	for (unsigned i = end; i < b->nchains; i++)
		left += b->chain[i].ndesc;
	vq->next_avail = packed ? packed_back(vq, vq->next_avail, left) : (uint16_t)(vq->next_avail - left);
}

unsigned virtq_tx_get(struct virtq *vq, struct virtq_batch *b, unsigned max)
{
	max = max < VIRTQ_BATCH ? max : VIRTQ_BATCH;
	return vq->packed ? tx_get(vq, b, max, true) : tx_get(vq, b, max, false);
}

void virtq_tx_put(struct virtq *vq, const struct virtq_batch *b, unsigned n)
{
	if (vq->packed)
		tx_put(vq, b, n, true);
	else
		tx_put(vq, b, n, false);
}
