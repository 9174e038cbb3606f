/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's side of one virtqueue, split or packed as the features say, for
 * tests: guest memory of two regions that are neighbours for the guest and not
 * for us, the ring at fixed places in the first one, and helpers that write it,
 * well or badly. guest_offer(), guest_expose(), guest_pending() and guest_take()
 * are an honest driver of either kind; guest_desc() and guest_avail() write a
 * split ring as they are told, guest_raw() a packed one.
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
#define GUEST_NOTES (GUEST_AVAIL + 0x1000)	/* packed: the driver's own, descriptors of each buffer id */
#define GUEST_TABLE (GUEST_BASE + 0x100000)	/* free for indirect tables */
#define GUEST_DATA (GUEST_BASE + 0x180000)	/* free for buffers, over the seam to GUEST_END */

#define GUEST_MAX_FRAME 1518u
#define GUEST_V1 (1ull << VIRTIO_F_VERSION_1)
#define GUEST_INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define GUEST_EVENT (1ull << VIRTIO_RING_F_EVENT_IDX)
#define GUEST_MRG (1ull << VIRTIO_NET_F_MRG_RXBUF)
#define GUEST_PACKED (1ull << VIRTIO_F_RING_PACKED)
#define GUEST_IN_ORDER (1ull << VIRTIO_F_IN_ORDER)

#define FOR_KINDS(kind) for (uint64_t kind = 0; kind <= GUEST_PACKED; kind += GUEST_PACKED)
#define FOR_EACH_RING(kind, dir) FOR_KINDS(kind) for (unsigned dir = VIRTQ_RX; dir <= VIRTQ_TX; dir++)

#define GUEST_WRAP 0x8000u	/* packed: of a position */
#define GUEST_AVAIL_USED (1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED)

struct guest {
	struct virtq vq;
	struct virtq_config cfg;
	struct gmem *mem;
	uint32_t size;
	unsigned hdr_len;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_packed_desc *packed;	/* NULL: a split ring */
	struct vring_packed_desc_event *driver_event, *device_event;
	uint16_t avail_idx;	/* next one to write; packed: position and wrap counter */
	uint16_t used_idx;	/* next one to read */
	uint16_t first, first_flags;	/* packed: of the first descriptor not yet exposed */
	unsigned hidden;	/* packed: descriptors not yet exposed */
	unsigned open;		/* packed: descriptors of a chain that has no end yet */
	unsigned chains, visible;	/* packed: chains the device has, those it may see */
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

/* The same files, mapped once more. */
static inline struct gmem *guest_memory_again(const struct gmem *m)
{
	struct gmem_desc d[2];
	struct gmem *out = NULL;
	int fd[2];

	for (unsigned i = 0; i < 2; i++) {
		guest_must(!gmem_region(m, i, &d[i], &fd[i]), "gmem_region");
		fd[i] = dup(fd[i]);
	}
	guest_must(!gmem_create(d, fd, 2, &out), "gmem_create");
	return out;
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

/* --- positions in the ring ---------------------------------------------------- */

static inline uint16_t guest_forward(const struct guest *g, uint16_t position, unsigned n)
{
	unsigned slot = (position & 0x7fff) + n, wrap = position & GUEST_WRAP;

	if (!g->packed)
		return (uint16_t)(position + n);
	return (uint16_t)(slot >= g->size ? (slot - g->size) | (wrap ^ GUEST_WRAP) : slot | wrap);
}

static inline struct vring_packed_desc *guest_at(const struct guest *g, uint16_t position)
{
	return &g->packed[position & 0x7fff];
}

/* AVAIL and USED of a descriptor that is available, or used, in the round of @position: 2.8.1. */
static inline uint16_t guest_available(uint16_t position)
{
	return position & GUEST_WRAP ? 1u << VRING_PACKED_DESC_F_AVAIL : 1u << VRING_PACKED_DESC_F_USED;
}

static inline uint16_t guest_used(uint16_t position)
{
	return position & GUEST_WRAP ? GUEST_AVAIL_USED : 0;
}

/* Where the parts of the ring are for us. */
static inline void guest_find_ring(struct guest *g)
{
	g->cfg.mem = g->mem;
	g->cfg.desc = g->desc = guest_ptr(g, GUEST_DESC);
	g->cfg.avail = g->avail = guest_ptr(g, GUEST_AVAIL);
	g->cfg.used = g->used = guest_ptr(g, GUEST_USED);
	g->driver_event = g->cfg.avail;
	g->device_event = g->cfg.used;
	if (g->packed)
		g->packed = g->cfg.desc;
}

/*
 * Makes the ring a packed one that has come to @base, counted as if it were split: 0 is a new ring, whose wrap
 * counters are 1. What was before is used, in this round or the one before.
 */
static inline void guest_prepare_packed(struct guest *g, uint16_t base)
{
	uint16_t at = (uint16_t)((base & 0x7fff) % g->size | (~base & GUEST_WRAP));

	g->packed = guest_ptr(g, GUEST_DESC);
	g->driver_event->off_wrap = 0;
	g->device_event->off_wrap = 0;
	for (unsigned i = 0; i < g->size; i++)
		g->packed[i].flags = guest_used(i < (at & 0x7fffu) ? at : at ^ GUEST_WRAP);
	g->avail_idx = g->used_idx = at;
	g->cfg.base = at;
}

/* A ring of @size, stopped at position @base, without starting it. */
static inline void guest_prepare(struct guest *g, enum virtq_dir dir, uint32_t size, uint64_t features, uint16_t base)
{
	memset(g, 0, sizeof(*g));
	g->mem = guest_memory();
	g->size = size;
	g->hdr_len = features & (GUEST_V1 | GUEST_MRG) ? 12 : 10;
	guest_find_ring(g);
	g->avail_idx = g->used_idx = base;
	g->avail->idx = g->used->idx = base;
	g->vq.enabled = 1;
	guest_reset(g);
	g->cfg = (struct virtq_config){
		.dir = dir, .size = size, .features = features, .desc = g->desc, .avail = g->avail, .used = g->used,
		.mem = g->mem, .base = base, .max_frame = GUEST_MAX_FRAME, .callfd = -1, .kickfd = -1,
	};
	if (features & GUEST_PACKED)
		guest_prepare_packed(g, base);
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

/* The same content in another place, as after SET_MEM_TABLE; the caller drops *@old. */
static inline void guest_move(struct guest *g, struct gmem **old)
{
	*old = g->mem;
	g->mem = guest_memory();
	for (unsigned i = 0; i < 2; i++)
		memcpy(g->mem->region[i].host, (*old)->region[i].host, GUEST_REGION);
	guest_find_ring(g);
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
	return g->cfg.dir == VIRTQ_RX ? VRING_DESC_F_WRITE : 0;
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

/* Makes all that was written since the last time visible, at once. */
static inline void guest_expose(struct guest *g)
{
	if (!g->packed) {
		store_release(&g->avail->idx, g->avail_idx);
		return;
	}
	if (g->hidden)
		store_release(&guest_at(g, g->first)->flags, g->first_flags);
	g->hidden = 0;
	g->visible = g->chains;
}

/* Writes the next descriptor of a packed ring, whatever it says; with @flags NEXT the chain goes on. */
static inline void guest_raw(struct guest *g, uint64_t addr, uint32_t len, uint16_t flags, uint16_t id)
{
	struct vring_packed_desc *d = guest_at(g, g->avail_idx);
	uint16_t *notes = guest_ptr(g, GUEST_NOTES);

	d->addr = addr;
	d->len = len;
	d->id = id;
	flags |= guest_available(g->avail_idx);
	if (g->hidden++) {
		d->flags = flags;
	} else {
		g->first = g->avail_idx;
		g->first_flags = flags;
	}
	g->avail_idx = guest_forward(g, g->avail_idx, 1);
	g->open++;
	if (flags & VRING_DESC_F_NEXT)
		return;
	notes[id % VIRTQ_MAX_SIZE] = (uint16_t)g->open;
	g->open = 0;
	g->chains++;
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

/* An indirect table of a packed ring: the ids in it mean nothing. */
static inline void guest_packed_table(struct vring_packed_desc *d, const struct vring_desc *piece, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		d[i] = (struct vring_packed_desc){
			piece[i].addr, piece[i].len, (uint16_t)(0xfff0 + i), piece[i].flags,
		};
}

/* As guest_offer(), into a packed ring. No buffer id is the place of its descriptor. */
static inline uint16_t guest_offer_packed(struct guest *g, const struct vring_desc *piece, unsigned n, bool indirect)
{
	uint16_t id = (uint16_t)(g->size - 1 - g->next_desc);

	if (indirect) {
		guest_packed_table(guest_ptr(g, g->next_table), piece, n);
		guest_raw(g, g->next_table, (uint32_t)(n * sizeof(*piece)), VRING_DESC_F_INDIRECT, id);
		return id;
	}
	for (unsigned i = 0; i < n; i++)	/* the id is that of the last one; the others have none */
		guest_raw(g, piece[i].addr, piece[i].len, piece[i].flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			  i + 1 < n ? 0xfffe : id);
	return id;
}

/*
 * Offers a good chain of @n pieces (addr, len, direction given), through an indirect table if asked.
 * Return: its head, packed: its buffer id.
 */
static inline uint16_t guest_offer(struct guest *g, const struct vring_desc *piece, unsigned n, bool indirect)
{
	uint16_t head = (uint16_t)g->next_desc;

	guest_must(g->next_desc + (indirect ? 1 : n) <= g->size, "out of descriptors");
	guest_must(!indirect || g->next_table + n * sizeof(*piece) <= GUEST_DATA, "out of table memory");
	if (g->packed) {
		head = guest_offer_packed(g, piece, n, indirect);
	} else if (indirect) {
		guest_chain(guest_ptr(g, g->next_table), 0, piece, n);
		guest_desc(g, head, g->next_table, (uint32_t)(n * sizeof(*piece)), VRING_DESC_F_INDIRECT, 0);
		guest_avail(g, head);
	} else {
		guest_chain(g->desc, head, piece, n);
		guest_avail(g, head);
	}
	g->next_desc += indirect ? 1 : n;
	g->next_table += indirect ? n * sizeof(*piece) : 0;
	return head;
}

/* Offers a table of @n pieces at @at, which may cross the regions' border. */
static inline void guest_table_at(struct guest *g, uint64_t at, const struct vring_desc *piece, unsigned n)
{
	struct vring_desc split[16];
	struct vring_packed_desc packed[16];

	if (g->packed) {
		guest_packed_table(packed, piece, n);
		guest_write(g, at, packed, n * sizeof(packed[0]));
		guest_raw(g, at, (uint32_t)(n * sizeof(packed[0])), VRING_DESC_F_INDIRECT, (uint16_t)g->next_desc++);
	} else {
		guest_chain(split, 0, piece, n);
		guest_write(g, at, split, n * sizeof(split[0]));
		guest_desc(g, g->next_desc, at, (uint32_t)(n * sizeof(split[0])), VRING_DESC_F_INDIRECT, 0);
		guest_avail(g, (uint16_t)g->next_desc++);
	}
}

/* Offers one buffer of @len bytes. Return: its address. */
static inline uint64_t guest_offer_one(struct guest *g, uint32_t len)
{
	const struct vring_desc d = { guest_alloc(g, len), len, guest_dir(g), 0 };

	guest_offer(g, &d, 1, false);
	return d.addr;
}

/* True when the packed descriptor at @position was given back in its round. */
static inline bool guest_is_used(const struct guest *g, uint16_t position)
{
	return (load_acquire(&guest_at(g, position)->flags) & GUEST_AVAIL_USED) == guest_used(position);
}

/* Entries the device published that were not read yet. */
static inline unsigned guest_pending(const struct guest *g)
{
	const uint16_t *notes = guest_ptr(g, GUEST_NOTES);
	uint16_t at = g->used_idx;
	unsigned n = 0;

	if (!g->packed)
		return (uint16_t)(load_acquire(&g->used->idx) - g->used_idx);
	for (; n < g->visible && guest_is_used(g, at); n++)
		at = guest_forward(g, at, notes[guest_at(g, at)->id % VIRTQ_MAX_SIZE]);
	return n;
}

/* Takes the next of them. With a packed ring the length counts only if something was written. */
static inline struct vring_used_elem guest_take(struct guest *g)
{
	const uint16_t *notes = guest_ptr(g, GUEST_NOTES);
	const struct vring_packed_desc *d;

	if (!g->packed)
		return g->used->ring[g->used_idx++ & (g->size - 1)];
	d = guest_at(g, g->used_idx);
	guest_must(g->visible && guest_is_used(g, g->used_idx), "nothing was given back");
	guest_must(d->id < g->size && notes[d->id], "an id that was not given");
	g->used_idx = guest_forward(g, g->used_idx, notes[d->id]);
	g->chains--;
	g->visible--;
	return (struct vring_used_elem){ d->id, d->flags & VRING_DESC_F_WRITE ? d->len : 0 };
}

/* The event suppression structure, or the field of it that a split ring has, by which the driver asks for calls. */
static inline void guest_want_call(struct guest *g, bool want)
{
	if (g->packed)
		WRITE_ONCE(g->driver_event->flags,
			   want ? VRING_PACKED_EVENT_FLAG_ENABLE : VRING_PACKED_EVENT_FLAG_DISABLE);
	else
		WRITE_ONCE(g->avail->flags, want ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
}

/* With EVENT_IDX: asks for a call when the device gives back the @n-th entry from the one read next (0: that one). */
static inline void guest_call_after(struct guest *g, unsigned n)
{
	if (g->packed) {
		WRITE_ONCE(g->driver_event->off_wrap, guest_forward(g, g->used_idx, n));
		store_release(&g->driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
	} else {
		WRITE_ONCE(g->avail->ring[g->size], (uint16_t)(g->used_idx + n));
	}
}

/* Where a split ring's device writes for EVENT_IDX: behind the used ring's last element. */
static inline uint16_t *guest_avail_event(const struct guest *g)
{
	return (uint16_t *)(void *)&g->used->ring[g->size];
}

/* Does the device want a kick for what the driver adds from position @old to position @new? */
static inline bool guest_kick_wanted_at(const struct guest *g, uint16_t old, uint16_t new)
{
	uint16_t event, *split = guest_avail_event(g);

	if (!g->packed && g->cfg.features & GUEST_EVENT)
		return vring_need_event(READ_ONCE(*split), new, old);
	if (!g->packed)
		return !(READ_ONCE(g->used->flags) & VRING_USED_F_NO_NOTIFY);
	switch (load_acquire(&g->device_event->flags)) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		break;
	default:
		return true;
	}
	event = READ_ONCE(g->device_event->off_wrap);
	/* All three in the round of @new. */
	old = (uint16_t)((old & 0x7fff) - ((old ^ new) & GUEST_WRAP ? g->size : 0));
	event = (uint16_t)((event & 0x7fff) - ((event ^ new) & GUEST_WRAP ? g->size : 0));
	return vring_need_event(event, new & 0x7fff, old);
}

/* The driver has exposed what lies behind position @old. */
static inline bool guest_kick_wanted(const struct guest *g, uint16_t old)
{
	full_barrier();
	return guest_kick_wanted_at(g, old, g->avail_idx);
}

/* Small and repeatable. */
static inline uint32_t guest_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

#endif
