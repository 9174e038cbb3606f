/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's side of one split virtqueue, for tests and fuzzers: guest memory
 * of two regions that are neighbours for the guest and not for us, the ring at
 * fixed places in the first one, and helpers that write it, well or badly.
 *
 * Nothing here is careful with the ring; that is what the tests want.
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "ring/gmem.h"
#include "ring/virtq.h"

#define GUEST_BASE 0x100000000ull
#define GUEST_USER 0x7f0000000000ull
#define GUEST_REGION 0x200000ull	/* bytes of each of the two regions */
#define GUEST_SEAM (GUEST_BASE + GUEST_REGION)	/* where the second one begins */
#define GUEST_END (GUEST_BASE + 2 * GUEST_REGION)
#define GUEST_GAP 0x1000ull		/* the second region's mmap_offset, so never adjacent for us */

#define GUEST_DESC GUEST_BASE
#define GUEST_AVAIL (GUEST_BASE + 0x80000)
#define GUEST_USED (GUEST_BASE + 0xa0000)
#define GUEST_TABLE (GUEST_BASE + 0x100000)	/* free for indirect tables */
#define GUEST_DATA (GUEST_BASE + 0x180000)	/* free for buffers, over the seam to GUEST_END */

#define GUEST_MAX_FRAME 1518u
#define GUEST_V1 (1ull << VIRTIO_F_VERSION_1)
#define GUEST_INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define GUEST_EVENT (1ull << VIRTIO_RING_F_EVENT_IDX)
#define GUEST_MRG (1ull << VIRTIO_NET_F_MRG_RXBUF)

struct guest {
	struct virtq vq;
	struct virtq_config cfg;
	struct gmem *mem;
	uint32_t size;
	unsigned hdr_len;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t avail_idx;	/* next one to write */
	uint16_t used_idx;	/* next one to read */
	uint32_t next_desc;	/* next free descriptor; guest_reset() begins again */
	uint64_t next_data;	/* next free byte for buffers */
	uint64_t next_table;
};

/* What a test cannot go on without. */
static inline void guest_must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "test guest: %s\n", what);
	abort();
}

/* Two fresh memfds as a table. */
static inline struct gmem *guest_memory(void)
{
	const struct gmem_desc d[2] = {
		{ GUEST_BASE, GUEST_REGION, GUEST_USER, 0 },
		{ GUEST_SEAM, GUEST_REGION, GUEST_USER + GUEST_REGION, GUEST_GAP },
	};
	struct gmem *mem = NULL;
	int fd[2];

	for (int i = 0; i < 2; i++) {
		fd[i] = memfd_create("guest", MFD_CLOEXEC);
		guest_must(fd[i] >= 0 && !ftruncate(fd[i], (off_t)(GUEST_REGION + GUEST_GAP)), "memfd");
	}
	guest_must(!gmem_create(d, fd, 2, &mem), "gmem_create");
	return mem;
}

/* A pointer to guest address @addr; good to the end of its region. */
static inline void *guest_ptr(const struct guest *g, uint64_t addr)
{
	const struct gmem_region *r = &g->mem->region[addr >= GUEST_SEAM];

	return r->host + (addr - r->start[GMEM_GUEST]);
}

static inline void guest_write(struct guest *g, uint64_t addr, const void *data, size_t len)
{
	size_t first = addr < GUEST_SEAM && len > GUEST_SEAM - addr ? GUEST_SEAM - addr : len;

	memcpy(guest_ptr(g, addr), data, first);
	if (first < len)
		memcpy(guest_ptr(g, GUEST_SEAM), (const uint8_t *)data + first, len - first);
}

static inline void guest_read(const struct guest *g, uint64_t addr, void *data, size_t len)
{
	size_t first = addr < GUEST_SEAM && len > GUEST_SEAM - addr ? GUEST_SEAM - addr : len;

	memcpy(data, guest_ptr(g, addr), first);
	if (first < len)
		memcpy((uint8_t *)data + first, guest_ptr(g, GUEST_SEAM), len - first);
}

/* Begins with descriptors, tables and buffers from the start again: everything was returned. */
static inline void guest_reset(struct guest *g)
{
	g->next_desc = 0;
	g->next_data = GUEST_DATA;
	g->next_table = GUEST_TABLE;
}

/* A ring of @size, stopped at position @base, without starting it. */
static inline void guest_prepare(struct guest *g, enum virtq_dir dir, uint32_t size, uint64_t features, uint16_t base)
{
	memset(g, 0, sizeof(*g));
	g->mem = guest_memory();
	g->size = size;
	g->hdr_len = features & (GUEST_V1 | GUEST_MRG) ? 12 : 10;
	g->desc = guest_ptr(g, GUEST_DESC);
	g->avail = guest_ptr(g, GUEST_AVAIL);
	g->used = guest_ptr(g, GUEST_USED);
	g->avail_idx = g->used_idx = base;
	g->avail->idx = g->used->idx = base;
	g->vq.enabled = 1;
	guest_reset(g);
	g->cfg = (struct virtq_config){
		.dir = dir, .size = size, .features = features, .desc = g->desc, .avail = g->avail, .used = g->used,
		.mem = g->mem, .base = base, .max_frame = GUEST_MAX_FRAME, .callfd = -1, .kickfd = -1,
	};
}

static inline void guest_open_at(struct guest *g, enum virtq_dir dir, uint32_t size, uint64_t features, uint16_t base)
{
	guest_prepare(g, dir, size, features, base);
	guest_must(!virtq_start(&g->vq, &g->cfg), "virtq_start");
}

static inline void guest_open(struct guest *g, enum virtq_dir dir, uint32_t size, uint64_t features)
{
	guest_open_at(g, dir, size, features, 0);
}

static inline void guest_close(struct guest *g)
{
	virtq_stop(&g->vq);
	gmem_put(g->mem);
}

static inline uint64_t guest_alloc(struct guest *g, size_t len)
{
	uint64_t at = g->next_data;

	g->next_data += len;
	guest_must(g->next_data <= GUEST_END, "out of guest memory");
	return at;
}

/* The data-direction flag of this ring's buffers. */
static inline uint16_t guest_dir(const struct guest *g)
{
	return g->vq.dir == VIRTQ_RX ? VRING_DESC_F_WRITE : 0;
}

static inline void guest_desc(struct guest *g, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	g->desc[i] = (struct vring_desc){ addr, len, flags, next };
}

/* Puts a head into avail; guest_expose() makes it visible. */
static inline void guest_avail(struct guest *g, uint16_t head)
{
	g->avail->ring[g->avail_idx++ & (g->size - 1)] = head;
}

static inline void guest_expose(struct guest *g)
{
	store_release(&g->avail->idx, g->avail_idx);
}

/* Chains @n pieces in table @d, from entry @first on. */
static inline void guest_chain(struct vring_desc *d, unsigned first, const struct vring_desc *piece, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		d[first + i] = piece[i];
		d[first + i].next = (uint16_t)(i + 1 < n ? first + i + 1 : 0);
		if (i + 1 < n)
			d[first + i].flags |= VRING_DESC_F_NEXT;
	}
}

/* Offers a good chain of @n pieces (addr, len, direction given), through an indirect table if asked. Return: its head. */
static inline uint16_t guest_offer(struct guest *g, const struct vring_desc *piece, unsigned n, bool indirect)
{
	uint16_t head = (uint16_t)g->next_desc;

	g->next_desc += indirect ? 1 : n;
	guest_must(g->next_desc <= g->size, "out of descriptors");
	if (indirect) {
		guest_chain(guest_ptr(g, g->next_table), 0, piece, n);
		guest_desc(g, head, g->next_table, (uint32_t)(n * sizeof(*piece)), VRING_DESC_F_INDIRECT, 0);
		g->next_table += n * sizeof(*piece);
		guest_must(g->next_table <= GUEST_DATA, "out of table memory");
	} else {
		guest_chain(g->desc, head, piece, n);
	}
	guest_avail(g, head);
	return head;
}

/* Offers one buffer of @len bytes. Return: its address. */
static inline uint64_t guest_offer_one(struct guest *g, uint32_t len)
{
	const struct vring_desc d = { guest_alloc(g, len), len, guest_dir(g), 0 };

	guest_offer(g, &d, 1, false);
	return d.addr;
}

/* Entries the device published that were not read yet. */
static inline unsigned guest_pending(const struct guest *g)
{
	return (uint16_t)(load_acquire(&g->used->idx) - g->used_idx);
}

static inline struct vring_used_elem guest_take(struct guest *g)
{
	return g->used->ring[g->used_idx++ & (g->size - 1)];
}

/* Small and repeatable. */
static inline uint32_t guest_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

#endif
