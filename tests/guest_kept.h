/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packed ring whose position is kept, for tests: devices that serve it, end
 * anywhere, and begin again with what a front-end says.
 */
#ifndef TESTS_GUEST_KEPT_H
#define TESTS_GUEST_KEPT_H

#include "guest_packets.h"

#define TX VIRTQ_TX
#define RX VIRTQ_RX
#define ALL (GUEST_V1 | GUEST_EVENT | GUEST_PACKED)
#define NEW 0x80008000u		/* the base of a new ring, as QEMU says it */
#define BUSY (1u << 31)
#define CHAINS 8		/* in a batch at most */

static const uint32_t sizes[] = { 1, 2, 3, 5, 16, 100, 32768 };

#define FOR_SIZES(s) for (const uint32_t *s = sizes; s < sizes + sizeof(sizes) / sizeof(sizes[0]); s++)

static struct virtq_kept *kept;		/* shared with the processes that are killed */

static inline void open_kept(struct guest *g, enum virtq_dir dir, uint32_t size, uint64_t features, uint16_t base)
{
	guest_prepare(g, dir, size, features, base);
	memset(kept, 0, sizeof(*kept));
	g->cfg.kept = kept;
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

/* Another process takes the ring over, of which it knows what the front-end says. */
static inline void begin_at(struct guest *g, uint32_t base)
{
	memset(&g->vq, 0, sizeof(g->vq));
	g->vq.enabled = 1;
	g->cfg.base = base;
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

/* And that knows nothing. */
static inline void begin_again(struct guest *g)
{
	begin_at(g, NEW);
}

/* One chain of @n descriptors, large enough for a frame. */
static inline void offer(struct guest *g, unsigned n, uint16_t id)
{
	for (unsigned i = 0; i < n; i++)
		guest_raw(g, GUEST_DATA + 200ull * i, n > 1 ? 60 : 120, guest_dir(g) | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			  i + 1 < n ? 0xfffe : id);
}

/* Takes or delivers @n packets and gives them back, staged only. Received ones have 60, 61, ... bytes. */
static inline unsigned stage(struct guest *g, unsigned n)
{
	struct virtq_src src[CHAINS];

	if (g->cfg.dir == TX) {
		unsigned got = virtq_tx_get(&g->vq, &batch, CHAINS);

		n = n < got ? n : got;
		virtq_tx_put(&g->vq, &batch, n);
		return n;
	}
	for (unsigned i = 0; i < n; i++)
		src[i] = (struct virtq_src){ .data = frame[0], .len = 60 + i };
	return virtq_rx_put(&g->vq, src, n);
}

static inline uint32_t staged_len(const struct guest *g, unsigned i)
{
	return g->cfg.dir == TX ? 0 : g->hdr_len + 60 + i;
}

/* Traffic of one batch after the other, every chain back in order. */
static inline void goes_on(struct guest *g, unsigned rounds, uint64_t *seed)
{
	for (unsigned r = 0; r < rounds; r++) {
		unsigned left = g->size, n = 0;

		while (left && n < CHAINS) {
			unsigned len = guest_random(seed) % (left < 3 ? left : 3) + 1;

			offer(g, len, (uint16_t)n++);
			left -= len;
		}
		guest_expose(g);
		assert_int_equal(stage(g, n), n);
		virtq_publish(&g->vq);
		assert_int_equal(guest_pending(g), n);
		for (unsigned i = 0; i < n; i++) {
			struct vring_used_elem e = guest_take(g);

			assert_int_equal(e.id, i);
			assert_int_equal(e.len, staged_len(g, i));
		}
	}
	assert_int_equal(g->vq.broken, 0);
}

enum moment {
	IN_A_CHAIN,	/* the last one's id and length are stored, its flags are not */
	BETWEEN_CHAINS,
	BEFORE_PUBLISH,	/* next is stored, the first one's flags are not */
	AFTER_PUBLISH,	/* they are, published is not */
	AT_THE_END,	/* only size is not */
	MOMENTS
};

struct plan {
	unsigned n, len[CHAINS];	/* chains and their descriptors */
	unsigned staged;
	enum moment when;
};

/* The device is killed when it has given back so much of a batch. */
static inline void kill_at(struct guest *g, const struct plan *p)
{
	uint16_t first = g->vq.published_used, last = first;

	for (unsigned i = 0; i < p->n; i++)
		offer(g, p->len[i], (uint16_t)i);
	guest_expose(g);
	assert_int_equal(stage(g, p->staged), p->staged);
	assert_int_equal(kept->size, g->size | BUSY);
	assert_int_equal(kept->next, first);
	for (unsigned i = 0; i + 1 < p->staged; i++)
		last = guest_forward(g, last, p->len[i]);
	switch (p->when) {
	case IN_A_CHAIN:
		if (last != first)
			guest_at(g, last)->flags = (uint16_t)(guest_available(last) | guest_dir(g) |
							      (p->len[p->staged - 1] > 1 ? VRING_DESC_F_NEXT : 0));
		break;
	case BEFORE_PUBLISH:
		kept->next = g->vq.next_used;
		break;
	case AFTER_PUBLISH:
	case AT_THE_END:
		virtq_publish(&g->vq);
		assert_int_equal(kept->size, g->size);
		assert_int_equal(kept->published, kept->next);
		kept->size |= BUSY;
		if (p->when == AFTER_PUBLISH)
			kept->published = first;
		break;
	default:
		break;
	}
}

/* Positions 0 to 2 * size - 1, the first of them that of a new ring. */
static inline uint16_t position(uint32_t size, unsigned i)
{
	return (uint16_t)(i < size ? i : (i - size) | GUEST_WRAP);
}

/* Before the tests. */
static inline void share_kept(void)
{
	kept = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

#endif
