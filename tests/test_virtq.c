/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueues with an honest guest: every combination of features that
 * changes the layout, payloads compared byte by byte, and the ring's life.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest.h"

#define MAX_PIECES 12

static struct virtq_batch batch;
static uint8_t frame[VIRTQ_BATCH][65536];

static void fill(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)guest_random(&seed);
}

/* Cuts a buffer of @len bytes at @addr into 1..@max pieces (none empty, if @len allows). */
static unsigned cut(struct guest *g, struct vring_desc *piece, unsigned max, uint64_t addr, uint32_t len, uint64_t *seed)
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
static bool send_one(struct guest *g, struct sent *s, uint64_t *seed)
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

static void check_sent(const struct virtq_pkt *p, const struct sent *s)
{
	static uint8_t want[GUEST_MAX_FRAME], got[GUEST_MAX_FRAME];

	assert_int_equal(p->len, s->len);
	assert_int_equal(p->head, s->head);
	assert_int_equal(p->hdr.flags, 0);
	fill(want, s->len, s->seed);
	virtq_pkt_copy(p, got);
	assert_memory_equal(got, want, s->len);
}

/* Fills the ring and empties it again, in batches of any size. Return: packets. */
static unsigned transmit_round(struct guest *g, uint64_t *seed)
{
	static struct sent sent[1024];
	unsigned n = 0, done = 0;

	guest_reset(g);
	g->next_data = GUEST_SEAM - guest_random(seed) % 4096;
	while (n < 200 && send_one(g, &sent[n], seed))
		n++;
	guest_expose(g);
	assert_int_equal(virtq_pending(&g->vq), n);
	while (done < n) {
		unsigned got = virtq_tx_get(&g->vq, &batch, guest_random(seed) % VIRTQ_BATCH + 1);

		assert_int_not_equal(got, 0);
		assert_int_equal(guest_pending(g), 0);
		for (unsigned i = 0; i < got; i++)
			check_sent(&batch.pkt[i], &sent[done + i]);
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

static void transmit(uint64_t features, uint32_t size)
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

static struct posted posted[1024];	/* by head */

/* The guest posts buffers until the ring is full. Return: how many. */
static unsigned post_buffers(struct guest *g, uint64_t *seed)
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
static unsigned check_received(struct guest *g, const struct virtq_src *src, bool pristine)
{
	static uint8_t buf[65536 + 16], got[65536];
	unsigned buffers = 1;
	uint32_t have = 0;

	for (unsigned i = 0; i < buffers; i++) {
		struct vring_used_elem e = guest_take(g);
		const struct posted *p = &posted[e.id];
		uint32_t skip = i ? 0 : g->hdr_len;

		assert_true(e.id < g->size && e.len >= skip && e.len <= p->len);
		guest_read(g, p->addr, buf, p->len + 16);
		if (!i) {
			static const uint8_t zero[10];

			assert_memory_equal(buf, zero, sizeof(zero));
			if (g->hdr_len == 12)
				buffers = buf[10] | buf[11] << 8;
			assert_true(buffers >= 1 && buffers <= guest_pending(g) + 1);
		}
		memcpy(got + have, buf + skip, e.len - skip);
		have += e.len - skip;
		for (uint32_t at = pristine ? e.len : p->len; at < p->len + 16; at++)
			assert_int_equal(buf[at], 0xee);
	}
	assert_int_equal(have, src->len);
	assert_memory_equal(got, src->data, have);
	return buffers;
}

/* Delivers frames until the buffers are used up. Return: frames. */
static unsigned receive_round(struct guest *g, uint64_t *seed)
{
	unsigned left = post_buffers(g, seed), total = 0;

	for (;;) {
		struct virtq_src src[VIRTQ_BATCH];
		unsigned n = guest_random(seed) % VIRTQ_BATCH + 1, put;

		for (unsigned i = 0; i < n; i++) {
			src[i] = (struct virtq_src){ frame[i], 14 + guest_random(seed) % (GUEST_MAX_FRAME - 13) };
			fill(frame[i], src[i].len, *seed);
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
		struct virtq_src src = { frame[0], g->hdr_len == 12 && g->cfg.features & GUEST_MRG ? 0 : 14 };

		assert_int_equal(virtq_rx_put(&g->vq, &src, 1), 1);
		virtq_publish(&g->vq);
		left -= check_received(g, &src, false);
		total++;
	}
	return total;
}

static void receive(uint64_t features, uint32_t size)
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

static void all_features(uint32_t size)
{
	for (unsigned mask = 0; mask < 16; mask++) {
		uint64_t f = (mask & 1 ? GUEST_V1 : 0) | (mask & 2 ? GUEST_INDIRECT : 0) |
			     (mask & 4 ? GUEST_EVENT : 0) | (mask & 8 ? GUEST_MRG : 0);

		transmit(f, size);
		receive(f, size);
	}
}

static void every_payload_passes_with_all_features_in_a_ring_of_1(void **state)
{
	(void)state;
	all_features(1);
}

static void every_payload_passes_with_all_features_in_a_ring_of_2(void **state)
{
	(void)state;
	all_features(2);
}

static void every_payload_passes_with_all_features_in_a_ring_of_256(void **state)
{
	(void)state;
	all_features(256);
}

static void every_payload_passes_with_all_features_in_a_ring_of_1024(void **state)
{
	(void)state;
	all_features(1024);
}

/* --- a few shapes by hand --------------------------------------------------- */

static void the_indexes_wrap_again_and_again(void **state)
{
	static const uint8_t data[60];
	const struct virtq_src src = { data, 60 };
	struct guest rx, tx;

	(void)state;
	guest_open(&rx, VIRTQ_RX, 256, GUEST_V1);
	guest_open(&tx, VIRTQ_TX, 256, GUEST_V1 | GUEST_EVENT);
	for (unsigned i = 0; i < 140000; i++) {
		guest_reset(&rx);
		guest_offer_one(&rx, 128);
		guest_expose(&rx);
		assert_int_equal(virtq_rx_put(&rx.vq, &src, 1), 1);
		virtq_publish(&rx.vq);
		assert_int_equal(guest_pending(&rx), 1);
		assert_int_equal(guest_take(&rx).len, 72);
		guest_reset(&tx);
		guest_offer_one(&tx, 72);
		guest_expose(&tx);
		assert_int_equal(virtq_tx_get(&tx.vq, &batch, 64), 1);
		virtq_tx_put(&tx.vq, &batch, 1);
		virtq_publish(&tx.vq);
		assert_int_equal(guest_pending(&tx), 1);
		guest_take(&tx);
	}
	guest_close(&rx);
	guest_close(&tx);
}

static void a_header_split_over_twelve_descriptors_works(void **state)
{
	struct vring_desc piece[13];
	uint8_t data[72], got[60];
	struct guest g;
	uint64_t addr;

	(void)state;
	fill(data, sizeof(data), 1);
	memset(data, 0, 12);
	for (unsigned dir = VIRTQ_RX; dir <= VIRTQ_TX; dir++) {
		guest_open(&g, dir, 16, GUEST_V1 | GUEST_MRG);
		addr = guest_alloc(&g, sizeof(data));
		for (unsigned i = 0; i < 13; i++)
			piece[i] = (struct vring_desc){ addr + i, i < 12 ? 1 : 60, guest_dir(&g), 0 };
		if (dir == VIRTQ_TX)
			guest_write(&g, addr, data, sizeof(data));
		guest_offer(&g, piece, 13, false);
		guest_expose(&g);
		if (dir == VIRTQ_TX) {
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
			assert_int_equal(batch.pkt[0].len, 60);
			virtq_pkt_copy(&batch.pkt[0], got);
		} else {
			const struct virtq_src src = { data + 12, 60 };
			uint8_t hdr[12];

			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
			guest_read(&g, addr, hdr, 12);
			assert_int_equal(hdr[10], 1);
			assert_int_equal(hdr[11], 0);
			guest_read(&g, addr + 12, got, 60);
		}
		assert_memory_equal(got, data + 12, 60);
		guest_close(&g);
	}
}

static void a_chain_exactly_as_long_as_the_ring_works(void **state)
{
	struct vring_desc piece[256];
	struct virtq_src src = { frame[0], 1024 };
	struct guest g;

	(void)state;
	for (unsigned dir = VIRTQ_RX; dir <= VIRTQ_TX; dir++) {
		guest_open(&g, dir, 256, GUEST_V1);
		/* Every other byte, so that nothing can be merged. */
		for (unsigned i = 0; i < 256; i++)
			piece[i] = (struct vring_desc){ guest_alloc(&g, 8), 5, guest_dir(&g), 0 };
		guest_offer(&g, piece, 256, false);
		guest_expose(&g);
		src.len = 256 * 5 - 12;
		if (dir == VIRTQ_TX) {
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
			assert_int_equal(batch.pkt[0].len, src.len);
		} else {
			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
			assert_int_equal(g.vq.stats.packets, 1);
		}
		assert_int_equal(g.vq.broken, 0);
		guest_close(&g);
	}
}

static void an_indirect_table_may_be_longer_than_the_ring(void **state)
{
	struct vring_desc piece[600];
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 2, GUEST_V1 | GUEST_INDIRECT);
	for (unsigned i = 0; i < 600; i++)
		piece[i] = (struct vring_desc){ guest_alloc(&g, 4), 2, 0, 0 };
	guest_offer(&g, piece, 600, true);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
	assert_int_equal(batch.pkt[0].len, 1188);
	guest_close(&g);
}

static void plain_descriptors_may_come_before_an_indirect_one(void **state)
{
	uint8_t data[12 + 60], got[60];
	struct guest g;
	uint64_t addr;

	(void)state;
	fill(data, sizeof(data), 3);
	memset(data, 0, 12);
	guest_open(&g, VIRTQ_TX, 4, GUEST_V1 | GUEST_INDIRECT);
	addr = guest_alloc(&g, sizeof(data));
	guest_write(&g, addr, data, sizeof(data));
	*(struct vring_desc *)guest_ptr(&g, GUEST_TABLE) = (struct vring_desc){ addr + 12, 60, 0, 0 };
	guest_desc(&g, 0, addr, 12, VRING_DESC_F_NEXT, 3);
	guest_desc(&g, 3, GUEST_TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	guest_avail(&g, 0);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
	assert_int_equal(batch.pkt[0].len, 60);
	virtq_pkt_copy(&batch.pkt[0], got);
	assert_memory_equal(got, data + 12, 60);
	guest_close(&g);
}

static void an_indirect_table_may_be_unaligned_and_cross_regions(void **state)
{
	static const unsigned before[] = { 1, 8, 16, 17, 24, 31 };
	struct vring_desc table[2];
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		uint64_t at = GUEST_SEAM - before[i];

		guest_open(&g, VIRTQ_TX, 4, GUEST_V1 | GUEST_INDIRECT);
		table[0] = (struct vring_desc){ guest_alloc(&g, 12), 12, VRING_DESC_F_NEXT, 1 };
		table[1] = (struct vring_desc){ guest_alloc(&g, 60), 60, 0, 0 };
		guest_write(&g, at, table, sizeof(table));
		guest_desc(&g, 0, at, sizeof(table), VRING_DESC_F_INDIRECT, 0);
		guest_avail(&g, 0);
		guest_expose(&g);
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
		assert_int_equal(batch.pkt[0].len, 60);
		guest_close(&g);
	}
}

/* 2.7.5.3.2: the device ignores the write flag of the descriptor that refers to the table. */
static void the_write_flag_of_an_indirect_descriptor_is_ignored(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 4, GUEST_V1 | GUEST_INDIRECT);
	*(struct vring_desc *)guest_ptr(&g, GUEST_TABLE) = (struct vring_desc){ guest_alloc(&g, 72), 72, 0, 0 };
	guest_desc(&g, 0, GUEST_TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
	guest_avail(&g, 0);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
	guest_close(&g);
}

static void a_frame_merged_from_two_byte_buffers_counts_them_all(void **state)
{
	struct virtq_src src = { frame[0], 600 };
	struct guest g;

	(void)state;
	fill(frame[0], 600, 9);
	guest_open(&g, VIRTQ_RX, 1024, GUEST_V1 | GUEST_MRG);
	for (unsigned i = 0; i < 301; i++) {
		uint32_t len = i ? 2 : 12;

		posted[i] = (struct posted){ guest_alloc(&g, len + 16), len };
		memset(guest_ptr(&g, posted[i].addr), 0xee, len + 16);
		guest_offer(&g, &(struct vring_desc){ posted[i].addr, len, VRING_DESC_F_WRITE, 0 }, 1, false);
	}
	guest_expose(&g);
	assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
	virtq_publish(&g.vq);
	assert_int_equal(guest_pending(&g), 301);
	assert_int_equal(check_received(&g, &src, true), 301);
	guest_close(&g);
}

/* --- the ring's life --------------------------------------------------------- */

static void starting_with(struct virtq_config c, int want)
{
	struct virtq vq = { 0 };

	assert_int_equal(virtq_start(&vq, &c), want);
	assert_int_equal(vq.started, !want);
	virtq_stop(&vq);
}

static void sizes_that_are_no_power_of_two_are_refused(void **state)
{
	static const uint32_t bad[] = { 0, 3, 100, 255, 32767, 32769, 65535, 65536, 0x80000000, UINT32_MAX };
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 256, GUEST_V1, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		g.cfg.size = bad[i];
		starting_with(g.cfg, -EINVAL);
	}
	g.cfg.size = 1;
	starting_with(g.cfg, 0);
	g.cfg.size = 32768;
	starting_with(g.cfg, 0);
	guest_close(&g);
}

static void a_base_of_more_than_16_bits_is_refused(void **state)
{
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 256, GUEST_V1, 0);
	g.cfg.base = 65536;
	starting_with(g.cfg, -EINVAL);
	g.cfg.base = UINT32_MAX;
	starting_with(g.cfg, -EINVAL);
	g.cfg.base = 65535;
	starting_with(g.cfg, 0);
	guest_close(&g);
}

static void misaligned_parts_are_refused(void **state)
{
	struct virtq_config c;
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 256, GUEST_V1, 0);
	c = g.cfg;
	c.desc = (char *)c.desc + 8;
	starting_with(c, -EINVAL);
	c = g.cfg;
	c.avail = (char *)c.avail + 1;
	starting_with(c, -EINVAL);
	c = g.cfg;
	c.used = (char *)c.used + 2;
	starting_with(c, -EINVAL);
	guest_close(&g);
}

static void the_largest_ring_works(void **state)
{
	struct guest g;

	(void)state;
	guest_open_at(&g, VIRTQ_TX, 32768, GUEST_V1 | GUEST_EVENT, 40000);
	for (unsigned i = 0; i < 32768; i++)
		guest_desc(&g, i, GUEST_DATA, 72, 0, 0);
	for (unsigned i = 0; i < 32768; i++)
		guest_avail(&g, (uint16_t)i);
	guest_expose(&g);
	for (unsigned i = 0; i < 32768; i += 64) {
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 64);
		assert_int_equal(batch.pkt[63].head, i + 63);
		virtq_tx_put(&g.vq, &batch, 64);
	}
	virtq_publish(&g.vq);
	assert_int_equal(guest_pending(&g), 32768);
	for (unsigned i = 0; i < 32768; i++)
		assert_int_equal(guest_take(&g).id, i);
	guest_close(&g);
}

static void stopping_returns_the_next_avail_index(void **state)
{
	struct guest g;

	(void)state;
	guest_open_at(&g, VIRTQ_TX, 4, GUEST_V1, 65534);
	for (unsigned i = 0; i < 3; i++)
		guest_offer_one(&g, 72);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 3);
	virtq_tx_put(&g.vq, &batch, 3);
	virtq_publish(&g.vq);
	assert_int_equal(virtq_stop(&g.vq), 1);
	assert_false(virtq_usable(&g.vq));
	assert_int_equal(virtq_stop(&g.vq), 1);
	guest_close(&g);
}

static void stopping_a_ring_that_never_started_is_harmless(void **state)
{
	struct virtq vq = { 0 };

	(void)state;
	assert_int_equal(virtq_stop(&vq), 0);
}

static void a_ring_goes_on_where_it_was_stopped(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 4, GUEST_V1);
	guest_offer_one(&g, 72);
	guest_offer_one(&g, 72);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 1), 1);
	virtq_tx_put(&g.vq, &batch, 1);
	virtq_publish(&g.vq);
	g.cfg.base = virtq_stop(&g.vq);
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	assert_int_equal(g.vq.stats.repeated, 0);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 1);
	assert_int_equal(batch.pkt[0].head, 1);
	virtq_tx_put(&g.vq, &batch, 1);
	virtq_publish(&g.vq);
	assert_int_equal(guest_pending(&g), 2);
	guest_close(&g);
}

static void what_was_in_flight_at_a_reconnect_is_counted(void **state)
{
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 16, GUEST_V1, 65535);
	g.cfg.base = 4;		/* five were taken and not returned */
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	assert_int_equal(g.vq.stats.repeated, 5);
	guest_close(&g);
}

static void moving_a_ring_keeps_its_positions(void **state)
{
	struct gmem *old;
	struct guest g;

	(void)state;
	guest_open_at(&g, VIRTQ_TX, 8, GUEST_V1, 65530);
	guest_offer_one(&g, 72);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 1);
	virtq_tx_put(&g.vq, &batch, 1);
	virtq_publish(&g.vq);
	/* The same content in another place, as after SET_MEM_TABLE. */
	old = g.mem;
	g.mem = guest_memory();
	memcpy(guest_ptr(&g, GUEST_BASE), old->region[0].host, GUEST_REGION);
	g.desc = guest_ptr(&g, GUEST_DESC);
	g.avail = guest_ptr(&g, GUEST_AVAIL);
	g.used = guest_ptr(&g, GUEST_USED);
	virtq_relocate(&g.vq, g.mem, g.desc, g.avail, g.used);
	gmem_put(old);
	guest_offer_one(&g, 72);
	guest_expose(&g);
	assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 1);
	assert_int_equal(batch.pkt[0].head, 1);
	virtq_tx_put(&g.vq, &batch, 1);
	virtq_publish(&g.vq);
	assert_int_equal(guest_pending(&g), 2);
	assert_int_equal(virtq_stop(&g.vq), 65532);
	guest_close(&g);
}

static void every_error_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VIRTQ_ERRORS; i++) {
		assert_non_null(virtq_error_name(i));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(virtq_error_name(i), virtq_error_name(j));
	}
	assert_string_equal(virtq_error_name(VIRTQ_ERRORS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_1),
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_2),
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_256),
		cmocka_unit_test(every_payload_passes_with_all_features_in_a_ring_of_1024),
		cmocka_unit_test(the_indexes_wrap_again_and_again),
		cmocka_unit_test(a_header_split_over_twelve_descriptors_works),
		cmocka_unit_test(a_chain_exactly_as_long_as_the_ring_works),
		cmocka_unit_test(an_indirect_table_may_be_longer_than_the_ring),
		cmocka_unit_test(plain_descriptors_may_come_before_an_indirect_one),
		cmocka_unit_test(an_indirect_table_may_be_unaligned_and_cross_regions),
		cmocka_unit_test(the_write_flag_of_an_indirect_descriptor_is_ignored),
		cmocka_unit_test(a_frame_merged_from_two_byte_buffers_counts_them_all),
		cmocka_unit_test(sizes_that_are_no_power_of_two_are_refused),
		cmocka_unit_test(a_base_of_more_than_16_bits_is_refused),
		cmocka_unit_test(misaligned_parts_are_refused),
		cmocka_unit_test(the_largest_ring_works),
		cmocka_unit_test(stopping_returns_the_next_avail_index),
		cmocka_unit_test(stopping_a_ring_that_never_started_is_harmless),
		cmocka_unit_test(a_ring_goes_on_where_it_was_stopped),
		cmocka_unit_test(what_was_in_flight_at_a_reconnect_is_counted),
		cmocka_unit_test(moving_a_ring_keeps_its_positions),
		cmocka_unit_test(every_error_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
