/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A batch of frames for coalesce_batch(), and what must hold of every result:
 * each frame is in one packet, flows keep their order, nothing passes a barrier,
 * and segment_write() makes the same frames of a joined packet again.
 */
#ifndef TESTS_COALESCE_H
#define TESTS_COALESCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "offload.h"
#include "ring/coalesce.h"
#include "ring/segment.h"

#define JOIN_BASE (VNET_BIT(VIRTIO_NET_F_MRG_RXBUF) | VNET_BIT(VIRTIO_NET_F_GUEST_CSUM))
#define JOIN_ALL (JOIN_BASE | VNET_GUEST_OFFLOADS)
#define MAX_PIECES 64

static struct coalesce c;
static struct coalesce_in in[VIRTQ_BATCH];
static struct iovec iov[VIRTQ_BATCH][MAX_PIECES];
static uint8_t *frame[VIRTQ_BATCH];	/* exactly as long as it is */
static uint8_t *before[VIRTQ_BATCH];	/* what it was */
static struct offload what[VIRTQ_BATCH];
static bool barrier[VIRTQ_BATCH];
static unsigned n;
static uint8_t buf[OFFLOAD_MAX];

static inline uint32_t number(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

static inline void clear(void)
{
	while (n) {
		free(frame[--n]);
		free(before[n]);
	}
}

static inline int cleanup(void **state)
{
	(void)state;
	clear();
	return 0;
}

/* Adds a frame. Return: its number. */
static inline unsigned add_raw(const void *data, uint32_t len)
{
	assert_in_range(n, 0, VIRTQ_BATCH - 1);
	frame[n] = malloc(len);
	before[n] = malloc(len);
	memcpy(frame[n], data, len);
	iov[n][0] = (struct iovec){ frame[n], len };
	in[n] = (struct coalesce_in){ .piece = iov[n], .npieces = 1, .len = len, .when = 1000 };
	barrier[n] = true;
	return n++;
}

static inline unsigned add(const struct offload *o)
{
	unsigned i = add_raw(buf, offload_build(buf, o, true));

	what[i] = *o;
	barrier[i] = false;
	return i;
}

/* A frame that belongs to no flow. */
static inline unsigned add_arp(void)
{
	uint8_t arp[42] = { [12] = 8, [13] = 6 };

	return add_raw(arp, sizeof(arp));
}

/* What the flow sends next. */
static inline void advance(struct offload *o)
{
	o->seq += o->payload;
	o->from += o->payload;
	o->id++;
}

/* @k frames of a flow, one after the other. */
static inline void stream(struct offload *o, unsigned k)
{
	for (; k; k--, advance(o))
		add(o);
}

/* Puts frame @i into pieces: the first of @first bytes, the others of @rest. */
static inline void cut_frame(unsigned i, uint32_t first, uint32_t rest)
{
	uint32_t at = 0, part = first;

	for (in[i].npieces = 0; at < in[i].len; at += part, part = rest) {
		if (part > in[i].len - at || in[i].npieces == MAX_PIECES - 1)
			part = in[i].len - at;
		iov[i][in[i].npieces++] = (struct iovec){ frame[i] + at, part };
	}
}

static inline bool same_flow(const struct offload *a, const struct offload *b)
{
	return a->v6 == b->v6 && a->udp == b->udp && a->host == b->host && a->sport == b->sport;
}

static inline void check_order(void)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = i + 1; k < n; k++) {
			unsigned a = c.order[i], b = c.order[k];

			if (barrier[a] || barrier[b] || same_flow(&what[a], &what[b]))
				assert_true(a < b);
		}
	}
}

/* All bytes of packet @p, in memory of its own. */
static inline uint8_t *gather(unsigned p)
{
	const struct virtq_src *s = &c.src[p];
	uint8_t *to = malloc(s->len);
	uint32_t at = 0;

	if (!s->more) {
		memcpy(to, s->data, s->len);
		return to;
	}
	for (uint32_t i = 0; i < s->more->npieces; i++) {
		assert_true(s->more->piece[i].iov_len <= s->len - at);
		memcpy(to + at, s->more->piece[i].iov_base, s->more->piece[i].iov_len);
		at += (uint32_t)s->more->piece[i].iov_len;
	}
	assert_int_equal(at, s->len);
	return to;
}

/* A packet of one frame is that frame. */
static inline void check_lone(unsigned p, unsigned i)
{
	static const struct virtio_net_hdr_v1 zero;
	const struct virtq_src *s = &c.src[p];

	assert_int_equal(s->len, in[i].len);
	if (in[i].npieces == 1) {
		assert_null(s->more);
		assert_ptr_equal(s->data, frame[i]);
		return;
	}
	assert_non_null(s->more);
	assert_memory_equal(&s->more->hdr, &zero, sizeof(zero));
	assert_int_equal(s->more->npieces, in[i].npieces);
	assert_ptr_equal(s->more->piece, in[i].piece);
}

/* A joined packet is cut again: the same frames. Identifications count up where they were all the same. */
static inline void check_joined(unsigned p, const uint8_t *order)
{
	static struct segment_plan plan;
	const struct virtq_src *s = &c.src[p];
	bool same_id = !what[order[0]].v6 && what[order[0]].id == what[order[1]].id;
	struct iovec piece = { gather(p), s->len };
	struct virtq_pkt pkt = { .npieces = 1, .len = s->len, .piece = &piece, .hdr = s->more->hdr };

	assert_int_equal(s->more->hdr.num_buffers, 0);
	assert_int_equal(segment_plan(&plan, &pkt, OFFLOAD_MAX), VIRTQ_OK);
	assert_int_equal(plan.nframes, c.frames[p]);
	for (unsigned i = 0; i < plan.nframes; i++) {
		struct offload want = what[order[i]];
		struct iovec to = { buf, sizeof(buf) };

		segment_write(&plan, &pkt, i, &to, 1);
		assert_int_equal(segment_len(&plan, i), in[order[i]].len);
		if (same_id) {
			want.id = (uint16_t)(want.id + i);
			free(before[order[i]]);
			before[order[i]] = malloc(in[order[i]].len);
			offload_build(before[order[i]], &want, true);
		}
		assert_memory_equal(buf, before[order[i]], segment_len(&plan, i));
	}
	free(piece.iov_base);
}

/* Joins, and checks all that holds of any result. */
static inline void run(uint64_t features)
{
	bool seen[VIRTQ_BATCH] = { false };
	unsigned at = 0, packets;

	for (unsigned i = 0; i < n; i++)
		memcpy(before[i], frame[i], in[i].len);
	packets = coalesce_batch(&c, features, in, n);
	assert_int_equal(packets, c.n);
	for (unsigned i = 0; i < n; i++)
		assert_memory_equal(before[i], frame[i], in[i].len);
	for (unsigned p = 0; p < c.n; p++) {
		assert_in_range(c.frames[p], 1, n - at);
		for (unsigned k = 0; k < c.frames[p]; k++) {
			assert_in_range(c.order[at + k], 0, n - 1);
			assert_false(seen[c.order[at + k]]);
			seen[c.order[at + k]] = true;
		}
		if (c.frames[p] == 1)
			check_lone(p, c.order[at]);
		else
			check_joined(p, &c.order[at]);
		at += c.frames[p];
	}
	assert_int_equal(at, n);
	check_order();
}

/* A test leaves no frames to the next one, even when it fails. */
#define TEST(test) cmocka_unit_test_teardown(test, cleanup)

/* The result is packets of so many frames; the frames are forgotten. */
#define expect(...)                                                                                                  \
	do {                                                                                                         \
		const uint8_t want_[] = { __VA_ARGS__ };                                                             \
		assert_int_equal(c.n, sizeof(want_));                                                                \
		assert_memory_equal(c.frames, want_, sizeof(want_));                                                 \
		clear();                                                                                             \
	} while (0)

#endif
