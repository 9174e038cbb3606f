/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receive: us to guest, for both kinds of rings. Each pass is written once and
 * made twice, with @packed a constant.
 *
 * First a look at the chains of a batch, so that cache misses overlap; a plain
 * frame that fits into a chain of one descriptor is copied at once. Everything
 * else (merging, several descriptors, indirect tables, packets in pieces or with
 * a header that says something) goes through put_slow(), which first finds all
 * the room that the packet needs and then writes: a packet that has to wait
 * costs no copy, and its chains stay in the ring as they are.
 */
#include <string.h>

#include "ring/copy.h"
#include "ring/marks.h"
#include "ring/packed.h"
#include "ring/split.h"

#define RX_PIECES 1024		/* pieces of one chain */
#define RX_CHAINS 2048		/* chains of one packet: 64 KiB in buffers of 32 bytes */

/* A chain of exactly one plain descriptor, seen in advance. */
struct rx_slot {
	uint16_t id;
	uint8_t *data;	/* NULL: look at it in put_slow() */
	uint32_t len;
};

/* The room for one packet. */
struct room {
	unsigned nchains, npieces;
	uint32_t ndesc;		/* of the ring, all chains */
	struct {
		uint16_t id, ndesc;
		uint32_t len;	/* bytes used of it */
	} chain[RX_CHAINS];
	struct iovec piece[RX_CHAINS + RX_PIECES];
};

/* The beginning of a buffer is sent for, to be written; a line with nothing but the header only to be read. */
static inline void fetch_start(const struct virtq *vq, const uint8_t *data, uint32_t len)
{
	const uint32_t at = (uintptr_t)data & (COPY_LINE - 1);

	if (at + vq->hdr_len >= COPY_LINE)
		__builtin_prefetch(data);
	else
		prefetch_write(data);
	if (at + vq->hdr_len + len > COPY_LINE)
		prefetch_write(data + COPY_LINE);
}

/*
 * Chains from next_avail on, those that are one plain buffer ready to be written. Of a packed ring: descriptors; the
 * inner ones of a chain are looked at in vain. Return: how far it looked.
 */
static __always_inline unsigned look_ahead(struct virtq *vq, struct rx_slot *slot, const struct virtq_src *src,
					   unsigned max, const bool packed)
{
	uint16_t head[VIRTQ_BATCH], at = vq->next_avail;
	unsigned i;

	if (packed)
		max = max < packed_room(vq) ? max : packed_room(vq);
	else
		max = split_heads(vq, head, max);
	for (i = 0; i < max; i++) {
		struct ring_desc d;
		struct iovec iov;

		if (!packed)
			split_read(&d, &vq->desc[head[i]]);
		else if (!packed_read(vq, &d, at))
			break;
		slot[i] = (struct rx_slot){ .id = packed ? d.link : head[i] };
		if (packed)
			at = packed_forward(vq, at, 1);
		if (unlikely(d.flags != VRING_DESC_F_WRITE) || (packed && unlikely(d.link >= vq->size)))
			continue;
		if (unlikely(gmem_map(vq->mem, GMEM_GUEST, d.addr, d.len, &iov, 1, &vq->hint) != 1))
			continue;
		slot[i].data = iov.iov_base;
		slot[i].len = d.len;
		fetch_start(vq, slot[i].data, src[i].len);
	}
	return i;
}

static __always_inline void give_back(struct virtq *vq, uint16_t id, uint16_t ndesc, uint32_t len, const bool packed)
{
	uint16_t at = vq->next_used;

	vq->next_used = packed ? packed_stage(vq, at, id, ndesc, len) : split_stage(vq, at, id, len);
}

static __always_inline uint16_t further(const struct virtq *vq, uint16_t ndesc, const bool packed)
{
	return packed ? packed_forward(vq, vq->next_avail, ndesc) : (uint16_t)(vq->next_avail + 1);
}

static inline bool is_fast(const struct rx_slot *slot, const struct virtq_src *src, uint32_t hdr_len)
{
	return slot->data && !src->more && slot->len >= (uint64_t)src->len + hdr_len;
}

/*
 * The header of a plain frame. Where it stands already, from the frame before in this buffer, nothing is written: the
 * guest's core may go on having the line.
 */
static inline void write_header(uint8_t *to, uint32_t hdr_len)
{
	static const struct virtio_net_hdr_mrg_rxbuf hdr = { .num_buffers = 1 };
	uint64_t first, want_first;
	uint32_t last, want_last;

	if (unlikely(hdr_len != sizeof(hdr))) {
		__builtin_memcpy(to, &hdr, sizeof(hdr.hdr));
		return;
	}
	__builtin_memcpy(&first, to, sizeof(first));
	__builtin_memcpy(&last, to + sizeof(first), sizeof(last));
	__builtin_memcpy(&want_first, &hdr, sizeof(first));
	__builtin_memcpy(&want_last, (const uint8_t *)&hdr + sizeof(first), sizeof(last));
	if (first != want_first || last != want_last)
		__builtin_memcpy(to, &hdr, sizeof(hdr));
}

/* Plain frames into chains of one descriptor, from the first on. Return: how many. */
static __always_inline unsigned put_fast(struct virtq *vq, const struct rx_slot *slot, const struct virtq_src *src,
					 unsigned n, const bool packed)
{
	const uint32_t hdr_len = vq->hdr_len;
	uint16_t avail = vq->next_avail, used = vq->next_used;
	uint64_t bytes = 0;
	unsigned i;

	for (i = 0; i < n && likely(is_fast(&slot[i], &src[i], hdr_len)); i++) {
		uint8_t *to = slot[i].data + hdr_len;
		const uint32_t len = src[i].len;

		if (likely(i + 1 < n && slot[i + 1].data))
			copy_fetch_to(slot[i + 1].data, src[i + 1].len + sizeof(struct virtio_net_hdr_v1));
		write_header(slot[i].data, hdr_len);
		copy_bytes(to, src[i].data, len);
		if (src[i].head)
			__builtin_memcpy(to, src[i].head, VIRTQ_HEAD);
		used = packed ? packed_stage(vq, used, slot[i].id, 1, len + hdr_len) :
				split_stage(vq, used, slot[i].id, len + hdr_len);
		avail = packed ? packed_forward(vq, avail, 1) : (uint16_t)(avail + 1);
		bytes += len;
	}
	vq->next_avail = avail;
	vq->next_used = used;
	vq->stats.packets += i;
	vq->stats.bytes += bytes;
	return i;
}

enum put_result { PUT_DONE, PUT_DROPPED, PUT_WAIT, PUT_BROKEN };

/* The chain at next_avail: into @room, up to @need bytes of it. *@e says why it is of no use. False: there is none. */
static __always_inline bool take_chain(struct virtq *vq, struct room *room, uint64_t need, unsigned *walked,
				       uint64_t *total, enum virtq_error *e, const bool packed)
{
	struct walk w = {
		.iov = room->piece + room->npieces, .max = RX_PIECES, .enough = need, .walked = walked,
	};
	struct virtq_chain c = { .ndesc = 1 };
	struct ring_desc d;

	if (packed) {
		if (!packed_room(vq) || !packed_read(vq, &d, vq->next_avail))
			return false;
		*e = packed_walk(vq, &d, true, &w, &c);
	} else {
		if (!split_heads(vq, &c.id, 1))
			return false;
		split_read(&d, &vq->desc[c.id]);
		*e = split_walk(vq, &d, true, &w);
	}
	++*walked;
	*total = w.total;
	if (*e >= VIRTQ_FIRST_BROKEN)
		return true;
	if (w.n)
		prefetch_write(w.iov->iov_base);
	room->chain[room->nchains].id = c.id;
	room->chain[room->nchains].ndesc = c.ndesc;
	room->chain[room->nchains++].len = (uint32_t)(w.total < need ? w.total : need);
	room->npieces += (unsigned)w.n;
	room->ndesc += c.ndesc;
	vq->next_avail = further(vq, c.ndesc, packed);
	return true;
}

/*
 * Finds room for one packet, in chains of any kind, merging where it was negotiated. *@why: of a drop.
 * @walked counts chains and descriptors over the batch. An honest packet needs no more descriptors than the
 * ring has, or short indirect tables.
 */
static __always_inline enum put_result find_room(struct virtq *vq, struct room *room, uint32_t len, unsigned *walked,
						 enum virtq_error *why, const bool packed)
{
	const unsigned limit = *walked + vq->size + WALK_MAX;
	uint64_t need = (uint64_t)vq->hdr_len + len, total;

	room->nchains = room->npieces = room->ndesc = 0;
	for (;;) {
		*why = VIRTQ_DROP_NO_BUFFER;
		if (room->ndesc == vq->size)	/* the whole ring is too small for it */
			return PUT_DROPPED;
		if (*walked > limit || room->nchains == RX_CHAINS || room->npieces > RX_CHAINS) {
			*why = VIRTQ_DROP_PIECES;
			return PUT_DROPPED;
		}
		if (!take_chain(vq, room, need, walked, &total, why, packed)) {
			vq->starved = len;
			if (packed)
				vq->seen_avail = vq->next_avail;
			return vq->broken ? PUT_BROKEN : PUT_WAIT;
		}
		if (*why >= VIRTQ_FIRST_BROKEN) {
			break_ring(vq, *why);
			return PUT_BROKEN;
		}
		if (*why)
			return PUT_DROPPED;
		if (total >= need)
			return PUT_DONE;
		*why = VIRTQ_DROP_NO_BUFFER;
		if (!total || (room->nchains == 1 && total < vq->hdr_len) || !vq->mergeable)
			return PUT_DROPPED;
		need -= total;
	}
}

/* Writes @len bytes to *@to, and moves it on. The room is there. */
static void scatter(const struct virtq *vq, struct iovec **to, const void *data, size_t len)
{
	const uint8_t *from = data;

	while (len) {
		struct iovec *v = *to;
		size_t part = v->iov_len < len ? v->iov_len : len;

		memcpy(v->iov_base, from, part);
		if (unlikely(vq->log))
			mark_host(vq, v->iov_base, part);
		from += part;
		len -= part;
		v->iov_base = (uint8_t *)v->iov_base + part;
		v->iov_len -= part;
		if (!v->iov_len)
			++*to;
	}
}

static void write_packet(const struct virtq *vq, struct room *room, const struct virtq_src *src)
{
	struct virtio_net_hdr_v1 hdr = { 0 };
	struct iovec *to = room->piece;
	uint32_t left = src->len;

	if (src->more)
		hdr = src->more->hdr;
	hdr.num_buffers = (uint16_t)room->nchains;
	scatter(vq, &to, &hdr, vq->hdr_len);
	if (!src->more) {
		uint32_t head = src->head ? VIRTQ_HEAD : 0;

		scatter(vq, &to, src->head, head);
		scatter(vq, &to, (const uint8_t *)src->data + head, left - head);
		return;
	}
	for (uint32_t i = 0; i < src->more->npieces && left; i++) {
		const struct iovec *piece = &src->more->piece[i];
		uint32_t part = piece->iov_len < left ? (uint32_t)piece->iov_len : left;

		scatter(vq, &to, piece->iov_base, part);
		left -= part;
	}
}

/* One packet of any form into chains of any kind. */
static __always_inline enum put_result put_any(struct virtq *vq, const struct virtq_src *src, unsigned *walked,
					       const bool packed)
{
	const uint32_t frames = src->more ? src->more->frames : 0;
	const uint16_t first = vq->next_avail;
	enum virtq_error why = VIRTQ_OK;
	enum put_result r;
	struct room room;

	if (*walked > WALK_MAX)		/* the next batch goes on */
		return PUT_WAIT;
	r = find_room(vq, &room, src->len, walked, &why, packed);
	if (r == PUT_DROPPED && frames > 1)	/* one by one its frames may fit */
		r = PUT_WAIT;
	if (r == PUT_WAIT || r == PUT_BROKEN) {
		vq->next_avail = first;
		return r;
	}
	if (r == PUT_DONE)
		write_packet(vq, &room, src);
	else
		vq->stats.errors[why]++;
	if (r == PUT_DONE && frames > 1) {
		vq->stats.gso_packets++;
		vq->stats.gso_frames += frames;
	}
	for (unsigned i = 0; i < room.nchains; i++) {
		const uint16_t at = vq->next_used;

		give_back(vq, room.chain[i].id, room.chain[i].ndesc, r == PUT_DONE ? room.chain[i].len : 0, packed);
		if (unlikely(vq->log_ring))
			mark_entry(vq, at, packed);
	}
	return r;
}

/* Not inlined: what it needs belongs on the stack only when there is such a packet. */
static __attribute__((noinline)) enum put_result put_slow_split(struct virtq *vq, const struct virtq_src *src,
								unsigned *walked)
{
	return put_any(vq, src, walked, false);
}

static __attribute__((noinline)) enum put_result put_slow_packed(struct virtq *vq, const struct virtq_src *src,
								 unsigned *walked)
{
	return put_any(vq, src, walked, true);
}

/* Slots behind the first that was looked at. */
static __always_inline unsigned passed(const struct virtq *vq, uint16_t base, const bool packed)
{
	return packed ? packed_distance(vq, base, vq->next_avail) : (uint16_t)(vq->next_avail - base);
}

static __always_inline unsigned rx_put(struct virtq *vq, const struct virtq_src *src, unsigned n, const bool packed)
{
	struct rx_slot slot[VIRTQ_BATCH];
	uint16_t base = vq->next_avail;
	unsigned ready, at = 0, i = 0;

	/* While there is a log all goes through put_slow(), where the pieces that are written are at hand. */
	ready = unlikely(vq->log) ? 0 : look_ahead(vq, slot, src, n, packed);
	if (unlikely(vq->broken))	/* nothing written now would be published */
		return 0;
	for (;;) {
		enum put_result r;

		if (likely(at < ready)) {
			unsigned run = n - i < ready - at ? n - i : ready - at;

			i += put_fast(vq, &slot[at], &src[i], run, packed);
		}
		if (likely(i == n))
			return i;
		r = packed ? put_slow_packed(vq, &src[i], &vq->walked) : put_slow_split(vq, &src[i], &vq->walked);
		if (r == PUT_WAIT || r == PUT_BROKEN)
			return i;
		if (r == PUT_DONE) {
			vq->stats.packets++;
			vq->stats.bytes += src[i].len;
		}
		i++;
		at = passed(vq, base, packed);
	}
}

/* A packet that found too few buffers is tried again when there are more of them, or when it is a shorter one. */
bool virtq_rx_starved(const struct virtq *vq, uint32_t len)
{
	if (!vq->starved || len < vq->starved)
		return false;
	return vq->packed ? !packed_there(vq, vq->seen_avail) : !split_moved(vq, vq->seen_avail);
}

unsigned virtq_rx_put(struct virtq *vq, const struct virtq_src *src, unsigned n)
{
	n = n < VIRTQ_BATCH ? n : VIRTQ_BATCH;
	if (unlikely(vq->starved && n)) {
		if (virtq_rx_starved(vq, src->len))
			return 0;
		vq->starved = 0;
	}
	return vq->packed ? rx_put(vq, src, n, true) : rx_put(vq, src, n, false);
}
