/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueues, device side (virtio 1.x, section 2.7).
 *
 * Theory of operation. Everything in guest memory is hostile and may change
 * while we look: each field is read once into a local copy, checks and use are
 * on the copy. The positions are our own (next_avail, next_used); what the
 * guest writes into used or our event field is never read, but for the used
 * index when a ring starts.
 *
 * Transmit is three passes over a batch, so that cache misses overlap: read
 * heads (prefetching descriptors), translate descriptors (prefetching buffers),
 * read headers. Receive first looks at the chains of a batch the same way; a
 * frame that fits into a chain of one descriptor is copied at once, everything
 * else (merging, several descriptors, indirect) goes through put_slow(), which
 * is written for being right. Used entries are staged in the used ring's free
 * slots and become visible by one store of the used index.
 */
#include <errno.h>
#include <string.h>

#include "ring/copy.h"
#include "ring/split.h"

#define INDIRECT_MAX 1024	/* entries of an indirect table; Linux makes them longer than a small ring */
#define RX_PIECES 1024		/* pieces of one receive chain */
/*
 * Descriptors beyond the first of each chain that one batch looks at; empty ones cost time too. The chain
 * that passes the limit is finished, so a batch is bounded by this and one or two times the ring's size.
 */
#define WALK_MAX 4096

struct indirect {
	struct vring_desc desc[INDIRECT_MAX];
};

/* A chain of exactly one plain descriptor, seen in advance. */
struct rx_slot {
	uint16_t head;
	uint8_t *data;	/* NULL: look at it in put_slow() */
	uint32_t len;
};

static void break_ring(struct virtq *vq, enum virtq_error why)
{
	if (vq->broken)
		return;
	vq->stats.errors[why]++;
	WRITE_ONCE(vq->broken, why);
}

static inline uint16_t slot_of(const struct virtq *vq, uint16_t position)
{
	return position & (uint16_t)(vq->size - 1);
}

static inline void read_desc(struct vring_desc *to, const struct vring_desc *from)
{
	to->addr = READ_ONCE(from->addr);
	to->len = READ_ONCE(from->len);
	to->flags = READ_ONCE(from->flags);
	to->next = READ_ONCE(from->next);
}

static inline void stage_used(struct virtq *vq, uint16_t head, uint32_t len)
{
	struct vring_used_elem *e = &vq->used->ring[slot_of(vq, vq->next_used++)];

	WRITE_ONCE(e->id, head);
	WRITE_ONCE(e->len, len);
}

/* Asks for a kick at the next chain: 2.7.10. The event index lives behind the used ring's last element. */
static void arm(struct virtq *vq)
{
	uint16_t *avail_event = (uint16_t *)(void *)&vq->used->ring[vq->size];

	if (vq->event_idx)
		WRITE_ONCE(*avail_event, vq->next_avail);
	else
		WRITE_ONCE(vq->used->flags, 0);
	vq->notify_armed = true;
}

int split_start(struct virtq *vq, const struct virtq_config *cfg)
{
	uint16_t used, base = (uint16_t)cfg->base, apart;

	if (cfg->size & (cfg->size - 1) || cfg->base > UINT16_MAX)
		return -EINVAL;
	if ((uintptr_t)cfg->desc % VRING_DESC_ALIGN_SIZE || (uintptr_t)cfg->avail % VRING_AVAIL_ALIGN_SIZE ||
	    (uintptr_t)cfg->used % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	vq->desc = cfg->desc;
	vq->avail = cfg->avail;
	vq->used = cfg->used;
	used = READ_ONCE(vq->used->idx);
	/*
	 * We complete in order and publish what we took, so a base other than the used index means that
	 * somebody who served this ring before us was cut off, or that the front-end does not know the
	 * position (DPDK's virtio-user always says 0). The used index is what the guest has seen: go on from
	 * there, unless it makes no sense. At most what was in flight is repeated.
	 */
	apart = (uint16_t)(base - used);
	if (apart && (uint16_t)(READ_ONCE(vq->avail->idx) - used) <= vq->size) {
		vq->stats.repeated += apart <= vq->size ? apart : 0;
		base = used;
	}
	vq->next_avail = vq->seen_avail = base;
	vq->next_used = vq->published_used = used;
	vq->signalled_used = used;
	if (vq->event_idx)	/* 2.7.10.1: the flags stay 0 then, whatever a device before us left there */
		WRITE_ONCE(vq->used->flags, 0);
	arm(vq);
	return 0;
}

/* How many chains are there to take. Breaks the ring when the index is absurd. */
static unsigned available(struct virtq *vq)
{
	uint16_t n = (uint16_t)(vq->seen_avail - vq->next_avail);

	if (n >= VIRTQ_BATCH)
		return n;
	vq->seen_avail = load_acquire(&vq->avail->idx);
	n = (uint16_t)(vq->seen_avail - vq->next_avail);
	if (unlikely(n > vq->size)) {
		vq->seen_avail = vq->next_avail;
		break_ring(vq, VIRTQ_BROKEN_AVAIL);
		return 0;
	}
	return n;
}

/* Reads up to @max heads. A bad one breaks the ring; those before it count. */
static unsigned read_heads(struct virtq *vq, uint16_t *head, unsigned max)
{
	unsigned n = available(vq);

	if (n > max)
		n = max;
	for (unsigned i = 0; i < n; i++) {
		head[i] = READ_ONCE(vq->avail->ring[slot_of(vq, (uint16_t)(vq->next_avail + i))]);
		if (unlikely(head[i] >= vq->size)) {
			break_ring(vq, VIRTQ_BROKEN_HEAD);
			return i;
		}
		__builtin_prefetch(&vq->desc[head[i]]);
	}
	return n;
}

/* Copies an indirect table. VIRTQ_OK and *@n entries, or why not. */
static enum virtq_error copy_indirect(struct virtq *vq, const struct vring_desc *d, struct indirect *table, unsigned *n)
{
	struct iovec iov[4];
	uint8_t *to = (uint8_t *)table->desc;
	unsigned entries = d->len / sizeof(struct vring_desc);
	int pieces;

	if (!vq->indirect || !d->len || d->len % sizeof(struct vring_desc) || d->flags & VRING_DESC_F_NEXT)
		return VIRTQ_BROKEN_INDIRECT;
	if (entries > INDIRECT_MAX)
		return entries > vq->size ? VIRTQ_BROKEN_INDIRECT : VIRTQ_DROP_PIECES;
	pieces = gmem_map(vq->mem, GMEM_GUEST, d->addr, d->len, iov, 4, &vq->hint);
	if (pieces <= 0)
		return VIRTQ_BROKEN_INDIRECT;
	for (int i = 0; i < pieces; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	*n = entries;
	return VIRTQ_OK;
}

/* Where a walk puts what it finds. */
struct walk {
	struct iovec *iov;
	int max, n;
	uint64_t total;		/* bytes found */
	uint64_t enough;	/* stop once this many are found */
	unsigned *walked;	/* counts the descriptors looked at behind the first of a chain */
};

static enum virtq_error add_piece(struct virtq *vq, struct walk *w, uint64_t addr, uint32_t len)
{
	struct iovec *last = w->n ? &w->iov[w->n - 1] : NULL;
	int n;

	if (!len)
		return VIRTQ_OK;
	n = gmem_map(vq->mem, GMEM_GUEST, addr, len, w->iov + w->n, w->max - w->n, &vq->hint);
	if (unlikely(n < 0))
		return n == -E2BIG ? VIRTQ_DROP_PIECES : VIRTQ_DROP_ADDRESS;
	w->total += len;
	if (last && n == 1 && (uint8_t *)last->iov_base + last->iov_len == w->iov[w->n].iov_base)
		last->iov_len += len;
	else
		w->n += n;
	return VIRTQ_OK;
}

static enum virtq_error walk_indirect(struct virtq *vq, const struct vring_desc *d, bool write, struct walk *w);

/*
 * Follows a chain through one table of descriptors, starting with @d. In the ring's own table the last
 * one may refer to an indirect table (2.7.5.3.2), in an indirect table none may.
 */
static inline enum virtq_error walk_table(struct virtq *vq, struct vring_desc *d, const struct vring_desc *table,
					  unsigned entries, bool write, struct walk *w)
{
	for (unsigned visited = 1;; visited++) {
		enum virtq_error e;

		if (visited > entries)
			return VIRTQ_BROKEN_CHAIN;
		if (unlikely(d->flags & VRING_DESC_F_INDIRECT))
			return table == vq->desc ? walk_indirect(vq, d, write, w) : VIRTQ_BROKEN_INDIRECT;
		if (!(d->flags & VRING_DESC_F_WRITE) == write)
			return VIRTQ_BROKEN_DIRECTION;
		e = add_piece(vq, w, d->addr, d->len);
		if (e)
			return e;
		if (w->total >= w->enough || !(d->flags & VRING_DESC_F_NEXT))
			return VIRTQ_OK;
		if (d->next >= entries)
			return VIRTQ_BROKEN_CHAIN;
		++*w->walked;
		read_desc(d, &table[d->next]);
	}
}

/* Not inlined: the copy of the table belongs on the stack only when there is one. */
static __attribute__((noinline)) enum virtq_error walk_indirect(struct virtq *vq, const struct vring_desc *d,
								 bool write, struct walk *w)
{
	struct indirect table;
	struct vring_desc first;
	enum virtq_error e;
	unsigned n = 0;

	e = copy_indirect(vq, d, &table, &n);
	if (e)
		return e;
	*w->walked += n;
	first = table.desc[0];
	return walk_table(vq, &first, table.desc, n, write, w);
}

/* The whole chain behind @head, direct or indirect. */
static enum virtq_error walk_chain(struct virtq *vq, uint16_t head, bool write, struct walk *w)
{
	struct vring_desc d;

	read_desc(&d, &vq->desc[head]);
	return walk_table(vq, &d, vq->desc, vq->size, write, w);
}

/* --- transmit: guest to us ---------------------------------------------- */

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

/* Offloads that were not negotiated are not used; a header that asks for one is not believed. */
static bool wants_offload(const struct virtq_pkt *p)
{
	return p->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE || p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
}

static void drop_tx(struct virtq *vq, uint16_t head, enum virtq_error why)
{
	vq->stats.errors[why]++;
	stage_used(vq, head, 0);
}

/* Enters a chain whose bytes lie in @n pieces behind the pool's end. */
static inline void enter(const struct virtq *vq, struct virtq_batch *b, uint16_t head, unsigned n, uint32_t total)
{
	struct virtq_pkt *p = &b->pkt[b->n];

	p->head = head;
	p->piece = &b->piece[b->npieces];
	p->npieces = (uint16_t)n;
	p->len = total - vq->hdr_len;
	b->npieces += n;
	__builtin_prefetch(p->piece->iov_base);
}

/* Second pass: one chain into the batch. VIRTQ_OK, or why it is not there. */
static inline enum virtq_error collect(struct virtq *vq, struct virtq_batch *b, uint16_t head)
{
	const uint64_t least = vq->hdr_len + 14u, most = (uint64_t)vq->hdr_len + vq->max_frame;
	int room = (int)(VIRTQ_PIECES - b->npieces);
	struct walk w;
	struct vring_desc d;
	enum virtq_error e;

	read_desc(&d, &vq->desc[head]);
	/* Nearly always: one plain descriptor in one piece. */
	if (likely(!d.flags && d.len >= least && d.len <= most) &&
	    likely(gmem_map(vq->mem, GMEM_GUEST, d.addr, d.len, &b->piece[b->npieces], room, &vq->hint) == 1)) {
		enter(vq, b, head, 1, d.len);
		return VIRTQ_OK;
	}
	w = (struct walk){
		.iov = &b->piece[b->npieces],
		.max = room,
		.enough = most + 1,	/* one more tells that it is too long */
		.walked = &b->walked,
	};
	e = walk_table(vq, &d, vq->desc, vq->size, false, &w);
	if (unlikely(e))
		return e;
	if (unlikely(w.total < least))
		return VIRTQ_DROP_SHORT;
	if (unlikely(w.total > most))
		return VIRTQ_DROP_LONG;
	enter(vq, b, head, (unsigned)w.n, (uint32_t)w.total);
	return VIRTQ_OK;
}

/* Third pass: headers, whose lines have been on their way since the second. */
static void read_headers(struct virtq *vq, struct virtq_batch *b)
{
	unsigned keep = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct virtq_pkt *p = &b->pkt[i];

		if (likely(p->piece->iov_len > sizeof(p->hdr)))
			split_header(vq, p);
		else
			take_header(vq, p);
		if (unlikely(wants_offload(p))) {
			drop_tx(vq, p->head, VIRTQ_DROP_OFFLOAD);
			continue;
		}
		if (keep != i)
			b->pkt[keep] = *p;
		keep++;
	}
	b->n = keep;
}

unsigned split_tx_get(struct virtq *vq, struct virtq_batch *b, unsigned max)
{
	uint16_t head[VIRTQ_BATCH];
	unsigned n;

	b->n = b->npieces = b->walked = 0;
	if (unlikely(vq->broken))
		return 0;
	n = read_heads(vq, head, max);
	for (unsigned i = 0; i < n && likely(b->walked <= WALK_MAX); i++) {
		enum virtq_error e = collect(vq, b, head[i]);

		if (likely(!e)) {
			b->n++;
		} else if (e == VIRTQ_DROP_PIECES && b->npieces) {
			break;	/* the pool is used up by others: next batch */
		} else if (e < VIRTQ_FIRST_BROKEN) {
			drop_tx(vq, head[i], e);
		} else {
			break_ring(vq, e);
			break;
		}
		vq->next_avail++;
	}
	read_headers(vq, b);
	return b->n;
}

void split_tx_put(struct virtq *vq, const struct virtq_batch *b, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		bytes += b->pkt[i].len;
		stage_used(vq, b->pkt[i].head, 0);
	}
	vq->stats.packets += n;
	vq->stats.bytes += bytes;
}

/* --- receive: us to guest ------------------------------------------------ */

/* First look at the chains of a batch: those of one plain, large enough descriptor are ready to be written. */
static unsigned look_ahead(struct virtq *vq, struct rx_slot *slot, unsigned max)
{
	uint16_t head[VIRTQ_BATCH];
	unsigned n = read_heads(vq, head, max);

	for (unsigned i = 0; i < n; i++) {
		struct vring_desc d;
		struct iovec iov;

		read_desc(&d, &vq->desc[head[i]]);
		slot[i] = (struct rx_slot){ .head = head[i] };
		if (unlikely(d.flags != VRING_DESC_F_WRITE))
			continue;
		if (unlikely(gmem_map(vq->mem, GMEM_GUEST, d.addr, d.len, &iov, 1, &vq->hint) != 1))
			continue;
		slot[i].data = iov.iov_base;
		slot[i].len = d.len;
		__builtin_prefetch(slot[i].data, 1);
	}
	return n;
}

static inline void put_fast(struct virtq *vq, const struct rx_slot *slot, const struct virtq_src *src)
{
	static const struct virtio_net_hdr_mrg_rxbuf hdr = { .num_buffers = 1 };

	if (likely(vq->hdr_len == sizeof(hdr)))
		__builtin_memcpy(slot->data, &hdr, sizeof(hdr));
	else
		__builtin_memcpy(slot->data, &hdr, sizeof(hdr.hdr));
	copy_bytes(slot->data + vq->hdr_len, src->data, src->len);
	stage_used(vq, slot->head, src->len + vq->hdr_len);
	vq->next_avail++;
}

/* Writes @len bytes into pieces from offset *@off on, and moves it. The room is there. */
static void scatter(const struct iovec *iov, int n, size_t *off, const void *data, size_t len)
{
	const uint8_t *from = data;
	size_t skip = *off;

	for (int i = 0; i < n && len; i++) {
		size_t part;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - skip < len ? iov[i].iov_len - skip : len;
		memcpy((uint8_t *)iov[i].iov_base + skip, from, part);
		skip = 0;
		from += part;
		*off += part;
		len -= part;
	}
}

/* The byte at offset @off. */
static uint8_t *byte_at(const struct iovec *iov, int n, size_t off)
{
	for (int i = 0; i < n; i++) {
		if (off < iov[i].iov_len)
			return (uint8_t *)iov[i].iov_base + off;
		off -= iov[i].iov_len;
	}
	return NULL;
}

enum put_result { PUT_DONE, PUT_DROPPED, PUT_WAIT, PUT_BROKEN };

/* The frame is dropped: every chain taken for it goes back empty. */
static enum put_result drop_rx(struct virtq *vq, uint16_t first_used, enum virtq_error why)
{
	for (uint16_t u = first_used; u != vq->next_used; u++)
		WRITE_ONCE(vq->used->ring[slot_of(vq, u)].len, 0);
	vq->stats.errors[why]++;
	return PUT_DROPPED;
}

static enum put_result undo_rx(struct virtq *vq, uint16_t first_avail, uint16_t first_used, enum put_result why)
{
	vq->next_avail = first_avail;
	vq->next_used = first_used;
	return why;
}

/*
 * One frame, any kind of chains, merging where it was negotiated. @walked counts chains and descriptors
 * over the batch. An honest frame needs no more descriptors than the ring has, or short indirect tables.
 */
static __attribute__((noinline)) enum put_result put_slow(struct virtq *vq, const struct virtq_src *src,
							  unsigned *walked)
{
	const unsigned limit = *walked + vq->size + WALK_MAX;
	const uint16_t first_avail = vq->next_avail, first_used = vq->next_used;
	struct virtio_net_hdr_mrg_rxbuf hdr = { .num_buffers = 1 };
	uint8_t *count[2] = { NULL, NULL };
	uint32_t done = 0;	/* frame bytes written */
	uint16_t head, buffers = 0;

	if (*walked > WALK_MAX)		/* the next batch goes on */
		return PUT_WAIT;
	do {
		struct iovec iov[RX_PIECES];
		struct walk w = { .iov = iov, .max = RX_PIECES, .walked = walked };
		size_t off = 0, part;
		enum virtq_error e;

		w.enough = src->len - done + (buffers ? 0 : vq->hdr_len);
		if (buffers == vq->size)	/* the whole ring is too small for it */
			return drop_rx(vq, first_used, VIRTQ_DROP_NO_BUFFER);
		if (*walked > limit)
			return drop_rx(vq, first_used, VIRTQ_DROP_PIECES);
		if (!read_heads(vq, &head, 1)) {
			vq->starved = src->len;
			return undo_rx(vq, first_avail, first_used, vq->broken ? PUT_BROKEN : PUT_WAIT);
		}
		e = walk_chain(vq, head, true, &w);
		++*walked;
		if (e >= VIRTQ_FIRST_BROKEN) {
			undo_rx(vq, first_avail, first_used, PUT_BROKEN);
			break_ring(vq, e);
			return PUT_BROKEN;
		}
		vq->next_avail++;
		stage_used(vq, head, 0);
		if (e)
			return drop_rx(vq, first_used, e);
		if (!w.total || (!buffers && w.total < vq->hdr_len) || (!vq->mergeable && w.total < w.enough))
			return drop_rx(vq, first_used, VIRTQ_DROP_NO_BUFFER);
		if (!buffers) {
			scatter(iov, w.n, &off, &hdr, vq->hdr_len);
			count[0] = byte_at(iov, w.n, sizeof(hdr) - 2);
			count[1] = byte_at(iov, w.n, sizeof(hdr) - 1);
		}
		part = w.total - off < src->len - done ? w.total - off : src->len - done;
		scatter(iov, w.n, &off, (const uint8_t *)src->data + done, part);
		done += (uint32_t)part;
		WRITE_ONCE(vq->used->ring[slot_of(vq, (uint16_t)(vq->next_used - 1))].len, (uint32_t)off);
		buffers++;
	} while (done < src->len);
	if (buffers > 1) {
		*count[0] = (uint8_t)buffers;
		*count[1] = (uint8_t)(buffers >> 8);
	}
	return PUT_DONE;
}

/* A frame that found too few buffers is tried again when there are more of them, or when it is a shorter one. */
static bool retry(struct virtq *vq, uint32_t len)
{
	if (len >= vq->starved && load_acquire(&vq->avail->idx) == vq->seen_avail)
		return false;
	vq->starved = 0;
	return true;
}

unsigned split_rx_put(struct virtq *vq, const struct virtq_src *src, unsigned n)
{
	struct rx_slot slot[VIRTQ_BATCH];
	uint16_t base = vq->next_avail;
	unsigned ready, walked = 0, i;

	if (unlikely(vq->starved && n && !retry(vq, src->len)))
		return 0;
	ready = look_ahead(vq, slot, n);
	if (unlikely(vq->broken))	/* nothing written now would be published */
		return 0;
	for (i = 0; i < n; i++) {
		unsigned at = (uint16_t)(vq->next_avail - base);
		enum put_result r = PUT_DONE;

		if (likely(at < ready && slot[at].data && slot[at].len >= (uint64_t)src[i].len + vq->hdr_len))
			put_fast(vq, &slot[at], &src[i]);
		else
			r = vq->broken ? PUT_BROKEN : put_slow(vq, &src[i], &walked);
		if (unlikely(r == PUT_WAIT || r == PUT_BROKEN))
			break;
		if (likely(r == PUT_DONE)) {
			vq->stats.packets++;
			vq->stats.bytes += src[i].len;
		}
	}
	return i;
}

/* --- publishing and notification ----------------------------------------- */

bool split_publish(struct virtq *vq)
{
	uint16_t old = vq->signalled_used, now = vq->next_used, event;
	bool valid = vq->signalled_valid;

	store_release(&vq->used->idx, now);	/* pairs with the guest's read barrier after used->idx */
	vq->published_used = now;
	full_barrier();		/* our used index before our read of its event index: 2.7.7.2, 2.7.10 */
	if (!vq->event_idx)
		return !(READ_ONCE(vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	event = READ_ONCE(vq->avail->ring[vq->size]);
	vq->signalled_used = now;
	vq->signalled_valid = true;
	return !valid || vring_need_event(event, now, old);
}

bool split_arm(struct virtq *vq)
{
	arm(vq);
	full_barrier();		/* our wish before our second look */
	return load_acquire(&vq->avail->idx) != vq->next_avail;
}

void split_disarm(struct virtq *vq)
{
	/* With EVENT_IDX the event stays behind, so no kick comes until the next arm. */
	if (!vq->event_idx)
		WRITE_ONCE(vq->used->flags, VRING_USED_F_NO_NOTIFY);
	vq->notify_armed = false;
}

unsigned split_pending(struct virtq *vq)
{
	uint16_t n = (uint16_t)(load_acquire(&vq->avail->idx) - vq->next_avail);

	return n <= vq->size ? n : 0;
}
