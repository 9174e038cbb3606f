/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets of any length, in chains of any form, through a ring of any kind, with
 * an honest guest: what goes in must come out, byte by byte and in order.
 */
#ifndef TESTS_GUEST_PACKETS_H
#define TESTS_GUEST_PACKETS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest.h"

#define MAX_PIECES 12

static struct virtq_batch batch;
static uint8_t frame[VIRTQ_BATCH][65536];

static inline void fill(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)guest_random(&seed);
}

/* Cuts a buffer of @len bytes at @addr into 1..@max pieces (none empty, if @len allows). */
static inline unsigned cut(struct guest *g, struct vring_desc *piece, unsigned max, uint64_t addr, uint32_t len,
			   uint64_t *seed)
{
	unsigned want = guest_random(seed) % max + 1, n = 0;

	while (len) {
		/* Short first pieces, so that the header is split often. */
		uint32_t part = n + 1 == want ? len : guest_random(seed) % (n < 4 ? 8 : len) + 1;

		if (part > len)
			part = len;
		piece[n++] = (struct vring_desc){ addr, part, guest_dir(g), 0 };
		addr += part;
		len -= part;
	}
	return n;
}

/* --- transmit ------------------------------------------------------------- */

struct sent {
	uint16_t head;
	uint32_t len;
	uint64_t seed;
};

/* The guest puts one packet into the ring. Return: false when the ring has no room for it. */
static inline bool send_one(struct guest *g, struct sent *s, uint64_t *seed)
{
	unsigned left = g->size - g->next_desc, n;
	bool indirect = g->cfg.features & GUEST_INDIRECT && guest_random(seed) % 3;
	struct vring_desc piece[MAX_PIECES];
	uint8_t data[12 + GUEST_MAX_FRAME] = { 0 };
	uint64_t addr;

	if (!left)
		return false;
	s->len = 14 + guest_random(seed) % (GUEST_MAX_FRAME - 13);
	s->seed = *seed;
	fill(data + g->hdr_len, s->len, s->seed);
	addr = guest_alloc(g, g->hdr_len + s->len);
	guest_write(g, addr, data, g->hdr_len + s->len);
	n = cut(g, piece, indirect || left > MAX_PIECES ? MAX_PIECES : left, addr, g->hdr_len + s->len, seed);
	s->head = guest_offer(g, piece, n, indirect);
	return true;
}

static inline void check_sent(unsigned i, const struct sent *s)
{
	const struct virtq_pkt *p = &batch.pkt[i];
	static uint8_t want[GUEST_MAX_FRAME], got[GUEST_MAX_FRAME];

	assert_int_equal(p->len, s->len);
	assert_int_equal(batch.chain[p->chain].id, s->head);
	assert_int_equal(p->hdr.flags, 0);
	fill(want, s->len, s->seed);
	virtq_pkt_copy(p, got);
	assert_memory_equal(got, want, s->len);
}

/* Fills the ring and empties it again, in batches of any size. Return: packets. */
static inline unsigned transmit_round(struct guest *g, uint64_t *seed)
{
	static struct sent sent[1024];
	unsigned n = 0, done = 0;

	guest_reset(g);
	g->next_data = GUEST_SEAM - guest_random(seed) % 4096;
	while (n < 200 && send_one(g, &sent[n], seed))
		n++;
	guest_expose(g);
	assert_int_equal(virtq_pending(&g->vq), n > 0);
	while (done < n) {
		unsigned got = virtq_tx_get(&g->vq, &batch, guest_random(seed) % VIRTQ_BATCH + 1);

		assert_int_not_equal(got, 0);
		assert_int_equal(guest_pending(g), 0);
		for (unsigned i = 0; i < got; i++)
			check_sent(i, &sent[done + i]);
		virtq_tx_put(&g->vq, &batch, got);
		assert_int_equal(guest_pending(g), 0);
		virtq_publish(&g->vq);
		assert_int_equal(guest_pending(g), got);
		for (unsigned i = 0; i < got; i++) {
			struct vring_used_elem e = guest_take(g);

			assert_int_equal(e.id, sent[done + i].head);
			assert_int_equal(e.len, 0);
		}
		done += got;
	}
	assert_int_equal(virtq_tx_get(&g->vq, &batch, VIRTQ_BATCH), 0);
	return n;
}

static inline void transmit(uint64_t features, uint32_t size)
{
	uint64_t seed = features + size, packets = 0, errors = 0;
	struct guest g;

	guest_open_at(&g, VIRTQ_TX, size, features, 65500);	/* soon past 65535 */
	for (unsigned i = 0; i < (size < 8 ? 200 : 8); i++)
		packets += transmit_round(&g, &seed);
	assert_int_equal(g.vq.stats.packets, packets);
	for (unsigned i = 0; i < VIRTQ_ERRORS; i++)
		errors += g.vq.stats.errors[i];
	assert_int_equal(errors, 0);
	assert_int_equal(g.vq.broken, 0);
	guest_close(&g);
}

/* --- receive -------------------------------------------------------------- */

struct posted {
	uint64_t addr;
	uint32_t len;
};

static struct posted posted[VIRTQ_MAX_SIZE];	/* by head or buffer id */

/* The guest posts buffers until the ring is full. Return: how many. */
static inline unsigned post_buffers(struct guest *g, uint64_t *seed)
{
	bool merge = g->cfg.features & GUEST_MRG;
	struct vring_desc piece[MAX_PIECES];
	unsigned n = 0;

	guest_reset(g);
	g->next_data = GUEST_SEAM - guest_random(seed) % 4096;
	memset(guest_ptr(g, GUEST_DATA), 0xee, GUEST_SEAM - GUEST_DATA);
	memset(guest_ptr(g, GUEST_SEAM), 0xee, GUEST_REGION);
	while (g->next_desc < g->size && n < 300) {
		unsigned left = g->size - g->next_desc, k = 1;
		bool indirect = g->cfg.features & GUEST_INDIRECT && guest_random(seed) % 3;
		uint32_t len = g->hdr_len + GUEST_MAX_FRAME;
		uint16_t head;
		uint64_t addr;

		if (merge && g->size > 8)
			len = g->hdr_len + guest_random(seed) % 1000;
		addr = guest_alloc(g, len + 16);	/* the bytes behind it must stay as they are */
		if (guest_random(seed) % 4)
			k = indirect || left > MAX_PIECES ? MAX_PIECES : left;
		k = cut(g, piece, k, addr, len, seed);
		head = guest_offer(g, piece, k, indirect);
		posted[head] = (struct posted){ addr, len };
		n++;
	}
	guest_expose(g);
	return n;
}

/*
 * Takes one frame from the used ring and compares it; with @pristine, its buffers hold nothing else.
 * Return: buffers it came in.
 */
static inline unsigned check_received(struct guest *g, const struct virtq_src *src, bool pristine)
{
	static uint8_t buf[65536 + 16], got[65536];
	unsigned buffers = 1;
	uint32_t have = 0, at = 0;

	for (unsigned i = 0; i < buffers; i++) {
		struct vring_used_elem e = guest_take(g);
		const struct posted *p = &posted[e.id];
		uint32_t skip = i ? 0 : g->hdr_len;

		assert_true(e.id < g->size && e.len >= skip && e.len <= p->len);
		guest_read(g, p->addr, buf, p->len + 16);
		if (!i) {
			static const struct virtio_net_hdr_v1 plain;

			assert_memory_equal(buf, src->more ? &src->more->hdr : &plain, 10);
			if (g->hdr_len == 12)
				buffers = buf[10] | buf[11] << 8;
			assert_true(buffers >= 1 && buffers <= guest_pending(g) + 1);
		}
		memcpy(got + have, buf + skip, e.len - skip);
		have += e.len - skip;
		for (uint32_t k = pristine ? e.len : p->len; k < p->len + 16; k++)
			assert_int_equal(buf[k], 0xee);
	}
	assert_int_equal(have, src->len);
	for (uint32_t i = 0; src->more && i < src->more->npieces; i++) {
		assert_memory_equal(got + at, src->more->piece[i].iov_base, src->more->piece[i].iov_len);
		at += (uint32_t)src->more->piece[i].iov_len;
	}
	assert_memory_equal(got, src->more ? got : src->data, have);
	return buffers;
}

/* A packet in 1..8 pieces, some of them empty, with a header that says something. */
static inline void in_pieces(struct virtq_src *src, struct virtq_more *more, struct iovec *piece, uint64_t *seed)
{
	uint32_t at = 0;

	*more = (struct virtq_more){ .piece = piece };
	fill((uint8_t *)&more->hdr, sizeof(more->hdr), *seed);
	while (at < src->len) {
		uint32_t left = src->len - at, part = more->npieces == 7 ? left : guest_random(seed) % (left + 1);

		piece[more->npieces++] = (struct iovec){ (uint8_t *)src->data + at, part };
		at += part;
	}
	src->data = NULL;
	src->more = more;
}

/* Delivers frames until the buffers are used up. Return: frames. */
static inline unsigned receive_round(struct guest *g, uint64_t *seed)
{
	static struct virtq_more more[VIRTQ_BATCH];
	static struct iovec piece[VIRTQ_BATCH][8];
	unsigned left = post_buffers(g, seed), total = 0;

	for (;;) {
		struct virtq_src src[VIRTQ_BATCH];
		unsigned n = guest_random(seed) % VIRTQ_BATCH + 1, put;

		for (unsigned i = 0; i < n; i++) {
			src[i] = (struct virtq_src){
				.data = frame[i], .len = 14 + guest_random(seed) % (GUEST_MAX_FRAME - 13),
			};
			fill(frame[i], src[i].len, *seed);
			if (!(guest_random(seed) % 3))
				in_pieces(&src[i], &more[i], piece[i], seed);
		}
		put = virtq_rx_put(&g->vq, src, n);
		assert_int_equal(guest_pending(g), 0);
		virtq_publish(&g->vq);
		for (unsigned i = 0; i < put; i++)
			left -= check_received(g, &src[i], true);
		assert_int_equal(guest_pending(g), 0);
		total += put;
		if (put < n)
			break;
	}
	/* What is left was too little for a merged frame, which may have been begun; take it with short ones. */
	while (left) {
		struct virtq_src src = { .data = frame[0], .len = g->cfg.features & GUEST_MRG ? 0 : 14 };

		assert_int_equal(virtq_rx_put(&g->vq, &src, 1), 1);
		virtq_publish(&g->vq);
		left -= check_received(g, &src, false);
		total++;
	}
	return total;
}

static inline void receive(uint64_t features, uint32_t size)
{
	uint64_t seed = features + size, frames = 0, errors = 0;
	struct guest g;

	guest_open_at(&g, VIRTQ_RX, size, features, 65500);
	for (unsigned i = 0; i < (size < 8 ? 200 : 8); i++)
		frames += receive_round(&g, &seed);
	assert_int_equal(g.vq.stats.packets, frames);
	for (unsigned i = 0; i < VIRTQ_ERRORS; i++)
		errors += g.vq.stats.errors[i];
	assert_int_equal(errors, 0);
	assert_int_equal(g.vq.broken, 0);
	guest_close(&g);
}

#endif
