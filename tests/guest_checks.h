/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of hostile guests share: one turn of a worker, and what must
 * hold after a lie. A broken ring has said why, publishes nothing and stays
 * silent; a dropped packet is counted and its descriptors come back.
 */
#ifndef TESTS_GUEST_CHECKS_H
#define TESTS_GUEST_CHECKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest.h"
#include "ring/vnet.h"

#define FOR_BOTH(dir) for (unsigned dir = VIRTQ_RX; dir <= VIRTQ_TX; dir++)
#define ALL (GUEST_V1 | GUEST_INDIRECT | GUEST_EVENT)
#define BAD_ID 5	/* packed: of every chain that tell() makes */

static struct virtq_batch batch;
static uint8_t frame[VNET_MAX_GSO];

/* One turn of a worker. Return: packets taken or delivered. */
static inline unsigned turn(struct guest *g, uint32_t len)
{
	const struct virtq_src src[2] = { { .data = frame, .len = len }, { .data = frame, .len = len } };
	uint64_t before = g->vq.stats.packets;
	unsigned n;

	if (g->vq.dir == VIRTQ_TX) {
		n = virtq_tx_get(&g->vq, &batch, VIRTQ_BATCH);
		for (unsigned i = 0; i < n; i++)
			virtq_pkt_copy(&batch.pkt[i], frame);
		virtq_tx_put(&g->vq, &batch, n);
	} else {
		virtq_rx_put(&g->vq, src, 2);
	}
	return (unsigned)(g->vq.stats.packets - before);
}

/* The ring breaks for @why, says so once, and the guest hears nothing more from it. */
static inline void breaks(struct guest *g, enum virtq_error why)
{
	unsigned before = guest_pending(g);

	guest_expose(g);
	turn(g, 60);
	assert_string_equal(virtq_error_name(g->vq.broken), virtq_error_name(why));
	assert_false(virtq_usable(&g->vq));
	assert_false(virtq_publish(&g->vq));
	assert_int_equal(turn(g, 60), 0);
	assert_false(virtq_publish(&g->vq));
	assert_int_equal(guest_pending(g), before);
	assert_int_equal(g->vq.stats.errors[why], 1);
	guest_close(g);
}

/* The first chain is dropped for @why (or for @or), a good one behind it works, and both come back. */
static inline void drops_or(struct guest *g, enum virtq_error why, enum virtq_error or)
{
	uint16_t first = g->packed ? BAD_ID : g->avail->ring[0], good;
	struct vring_used_elem e;

	g->next_desc = g->size / 2;
	good = guest_offer(g, &(struct vring_desc){ guest_alloc(g, 72), 72, guest_dir(g), 0 }, 1, false);
	guest_expose(g);
	assert_int_equal(turn(g, 60), 1);
	assert_int_equal(g->vq.stats.errors[why] + (or == why ? 0 : g->vq.stats.errors[or]), 1);
	assert_int_equal(g->vq.broken, 0);
	virtq_publish(&g->vq);
	assert_int_equal(guest_pending(g), 2);
	e = guest_take(g);
	assert_int_equal(e.id, first);
	assert_int_equal(e.len, 0);
	e = guest_take(g);
	assert_int_equal(e.id, good);
	assert_int_equal(e.len, g->vq.dir == VIRTQ_RX ? 72 : 0);
	guest_close(g);
}

static inline void drops(struct guest *g, enum virtq_error why)
{
	drops_or(g, why, why);
}

/* Adds one descriptor; with @flags NEXT the chain goes on, and the next call adds to it. */
static inline void tell(struct guest *g, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint16_t i = (uint16_t)g->next_desc++;

	if (g->packed) {
		guest_raw(g, addr, len, flags, BAD_ID);
		return;
	}
	guest_desc(g, i, addr, len, flags, (uint16_t)(i + 1));
	if (!g->open)
		guest_avail(g, i);
	g->open = flags & VRING_DESC_F_NEXT;
}

/* A ring of 16 with one descriptor, or the beginning of a chain. */
static inline void open_one(struct guest *g, uint64_t kind, unsigned dir, uint64_t addr, uint32_t len, uint16_t flags)
{
	guest_open(g, dir, 16, ALL | kind);
	tell(g, addr, len, flags);
}

/* The same, referring to an indirect table of @len bytes whose first entry is good. Return: a split ring's table. */
static inline struct vring_desc *open_indirect(struct guest *g, uint64_t kind, unsigned dir, uint64_t at, uint32_t len,
					       uint16_t flags)
{
	struct vring_desc *table, good;

	open_one(g, kind, dir, at, len, VRING_DESC_F_INDIRECT | flags);
	good = (struct vring_desc){ guest_alloc(g, 128), 128, guest_dir(g), 0 };
	table = guest_ptr(g, GUEST_TABLE);
	if (kind)
		guest_packed_table((struct vring_packed_desc *)(void *)table, &good, 1);
	else
		table[0] = good;
	return table;
}

#endif
