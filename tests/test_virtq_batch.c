/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Batches of both kinds of rings: packets that the caller does not take, drops
 * between packets, completion in order; and packets with offloads, which are
 * long, come in pieces and have a header that says something.
 */
#include <pthread.h>
#include <sched.h>

#include "guest_checks.h"

#define BIT(n) VNET_BIT(n)
#define TSO (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4))
#define ROUND 200

/* Offers a packet in @n descriptors; @len: of the frame, too short ones are dropped. Return: head or buffer id. */
static uint16_t send_chain(struct guest *g, uint32_t len, unsigned n, bool indirect)
{
	static const struct virtio_net_hdr_v1 none;
	uint64_t addr = guest_alloc(g, 12 + len);
	struct vring_desc piece[4];

	guest_write(g, addr, &none, sizeof(none));
	for (unsigned i = 0; i + 1 < n; i++)
		piece[i] = (struct vring_desc){ addr + 2 * i, 2, 0, 0 };
	piece[n - 1] = (struct vring_desc){ addr + 2 * (n - 1), 12 + len - 2 * (n - 1), 0, 0 };
	return guest_offer(g, piece, n, indirect);
}

static void came_back(struct guest *g, const uint16_t *id, unsigned n)
{
	assert_int_equal(guest_pending(g), n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(guest_take(g).id, id[i]);
}

/* --- what was taken and what was not ----------------------------------------------- */

static void packets_that_are_not_put_are_found_again(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned put = 0; put <= 6; put++) {
			uint16_t id[6];

			/* The chains go over the end of the ring, and of the index. */
			guest_open_at(&g, VIRTQ_TX, 16, ALL | kind, 65530);
			for (unsigned i = 0; i < 6; i++)
				id[i] = send_chain(&g, 60 + i, 1 + i % 3, false);
			guest_expose(&g);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 6);
			virtq_tx_put(&g.vq, &batch, put);
			virtq_publish(&g.vq);
			came_back(&g, id, put);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 6 - put);
			for (unsigned i = 0; i < 6 - put; i++)
				assert_int_equal(batch.pkt[i].len, 60 + put + i);
			virtq_tx_put(&g.vq, &batch, 6 - put);
			virtq_publish(&g.vq);
			came_back(&g, id + put, 6 - put);
			assert_int_equal(g.vq.stats.packets, 6);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 0);
			guest_close(&g);
		}
}

static void nothing_is_written_into_the_ring_for_what_is_not_put(void **state)
{
	static uint8_t before[16 * sizeof(struct vring_desc)];
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 16, ALL | GUEST_PACKED);
	for (unsigned i = 0; i < 5; i++)
		send_chain(&g, 60, 2, false);
	guest_expose(&g);
	guest_read(&g, GUEST_DESC, before, sizeof(before));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 5);
		assert_memory_equal(g.packed, before, sizeof(before));
		virtq_tx_put(&g.vq, &batch, 0);
		assert_false(virtq_publish(&g.vq));
		assert_memory_equal(g.packed, before, sizeof(before));
	}
	guest_close(&g);
}

/* Chains 0, 2, 3 and 5 are too short: 0 comes back by itself, 2 and 3 with packet 1, 5 with packet 4. */
static void dropped_chains_come_back_with_the_packets_around_them(void **state)
{
	static const unsigned back[] = { 1, 4, 6 };	/* chains that are back when so many packets are put */
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned put = 0; put <= 2; put++) {
			uint16_t id[6];

			guest_open(&g, VIRTQ_TX, 16, ALL | kind);
			for (unsigned i = 0; i < 6; i++)
				id[i] = send_chain(&g, i == 1 || i == 4 ? 60 : 13, 1 + i % 2, false);
			guest_expose(&g);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 2);
			assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_SHORT], 1);
			virtq_tx_put(&g.vq, &batch, put);
			assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_SHORT], back[put] - put);
			virtq_publish(&g.vq);
			came_back(&g, id, back[put]);
			assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 2 - put);
			virtq_tx_put(&g.vq, &batch, 2 - put);
			virtq_publish(&g.vq);
			came_back(&g, id + back[put], 6 - back[put]);
			assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_SHORT], 4);
			assert_int_equal(g.vq.stats.packets, 2);
			guest_close(&g);
		}
}

static void a_batch_of_nothing_but_drops_comes_back_at_once(void **state)
{
	uint16_t id[5];
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_TX, 16, ALL | kind);
		for (unsigned i = 0; i < 5; i++)
			id[i] = send_chain(&g, 13, 1, false);
		guest_expose(&g);
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 3), 0);
		virtq_tx_put(&g.vq, &batch, 0);
		virtq_publish(&g.vq);
		came_back(&g, id, 3);
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 3), 0);
		virtq_publish(&g.vq);
		came_back(&g, id + 3, 2);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_SHORT], 5);
		guest_close(&g);
	}
}

/* Any number of chains, some bad, taken and put in any portions: each comes back once, in order, counted once. */
static void take_in_portions(uint64_t features, uint32_t size)
{
	uint64_t seed = features + size, bad = 0, good = 0;
	struct guest g;

	guest_open_at(&g, VIRTQ_TX, size, features, 65500);
	for (unsigned round = 0; round < ROUND; round++) {
		uint16_t id[ROUND];
		unsigned n = 0, back = 0;

		guest_reset(&g);
		while (n < ROUND && g.next_desc + 3 <= g.size) {
			bool is_bad = !(guest_random(&seed) % 3);

			id[n++] = send_chain(&g, is_bad ? 5 : 60, 1 + guest_random(&seed) % 3,
					     features & GUEST_INDIRECT && guest_random(&seed) % 2);
			bad += is_bad;
			good += !is_bad;
		}
		guest_expose(&g);
		while (back < n) {
			unsigned got = virtq_tx_get(&g.vq, &batch, 1 + guest_random(&seed) % VIRTQ_BATCH);

			virtq_tx_put(&g.vq, &batch, got ? guest_random(&seed) % (got + 1) : 0);
			virtq_publish(&g.vq);
			for (; guest_pending(&g); back++)
				assert_int_equal(guest_take(&g).id, id[back]);
		}
		assert_int_equal(virtq_tx_get(&g.vq, &batch, VIRTQ_BATCH), 0);
	}
	assert_int_equal(g.vq.stats.packets, good);
	assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_SHORT], bad);
	assert_int_equal(g.vq.broken, 0);
	guest_close(&g);
}

static void chains_come_back_in_order_whatever_portions_are_taken(void **state)
{
	static const uint32_t sizes[] = { 3, 4, 5, 7, 64, 100, 256, 1024 };

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (!(sizes[i] & (sizes[i] - 1)))
			take_in_portions(ALL | GUEST_IN_ORDER, sizes[i]);
		take_in_portions(GUEST_V1 | GUEST_PACKED, sizes[i]);
		take_in_portions(ALL | GUEST_PACKED | GUEST_IN_ORDER, sizes[i]);
	}
}

/* --- transmit with offloads ---------------------------------------------------------- */

/* Offers a packet of @len bytes with header @h in one descriptor, and looks whether it comes through. */
static void offloaded(uint64_t features, const struct virtio_net_hdr_v1 *h, uint32_t len, enum virtq_error want)
{
	struct guest g;

	FOR_KINDS(kind) {
		guest_open(&g, VIRTQ_TX, 4, GUEST_V1 | features | kind);
		guest_write(&g, GUEST_DATA, h, sizeof(*h));
		guest_offer(&g, &(struct vring_desc){ GUEST_DATA, 12 + len, 0, 0 }, 1, false);
		guest_expose(&g);
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), !want);
		if (!want) {
			assert_int_equal(batch.pkt[0].len, len);
			assert_memory_equal(&batch.pkt[0].hdr, h, sizeof(*h));
		}
		virtq_tx_put(&g.vq, &batch, !want);
		assert_int_equal(g.vq.stats.errors[want], !!want);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 1);
		guest_close(&g);
	}
}

static void a_packet_with_gso_is_as_long_as_ip_allows(void **state)
{
	const struct virtio_net_hdr_v1 h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = 54,
		.gso_size = 1448, .csum_start = 34, .csum_offset = 16,
	};

	(void)state;
	offloaded(TSO, &h, VNET_MAX_GSO, VIRTQ_OK);
	offloaded(TSO, &h, VNET_MAX_GSO + 1, VIRTQ_DROP_LONG);
	offloaded(TSO, &h, GUEST_MAX_FRAME + 1, VIRTQ_OK);
	offloaded(TSO, &h, 60, VIRTQ_OK);
	offloaded(0, &h, VNET_MAX_GSO, VIRTQ_DROP_LONG);
	offloaded(BIT(VIRTIO_NET_F_CSUM), &h, VNET_MAX_GSO, VIRTQ_DROP_LONG);
	offloaded(BIT(VIRTIO_NET_F_CSUM), &h, 60, VIRTQ_DROP_OFFLOAD);
	offloaded(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_USO), &h, 9000, VIRTQ_DROP_OFFLOAD);
}

static void a_packet_without_gso_is_no_longer_than_a_frame(void **state)
{
	const struct virtio_net_hdr_v1 plain = { 0 }, csum = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };

	(void)state;
	offloaded(TSO, &plain, GUEST_MAX_FRAME, VIRTQ_OK);
	offloaded(TSO, &plain, GUEST_MAX_FRAME + 1, VIRTQ_DROP_LONG);
	offloaded(TSO, &plain, VNET_MAX_GSO, VIRTQ_DROP_LONG);
	offloaded(TSO, &csum, GUEST_MAX_FRAME, VIRTQ_OK);
	offloaded(TSO, &csum, GUEST_MAX_FRAME + 1, VIRTQ_DROP_LONG);
}

static void gso_without_a_partial_checksum_is_dropped(void **state)
{
	const struct virtio_net_hdr_v1 h = { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448 };

	(void)state;
	offloaded(TSO, &h, 9000, VIRTQ_DROP_OFFLOAD);
}

/* Fields that ask for nothing are the guest's business; what they say is passed on. */
static void a_header_that_asks_for_nothing_is_passed_on(void **state)
{
	const struct virtio_net_hdr_v1 h = {
		.flags = 0xfe, .hdr_len = 0xffff, .gso_size = 1, .csum_start = 2, .csum_offset = 3, .num_buffers = 4,
	};

	(void)state;
	offloaded(0, &h, 60, VIRTQ_OK);
}

/* As when the uplink's MTU changes. */
static void the_longest_frame_may_change_while_the_ring_runs(void **state)
{
	static const struct { uint32_t max, len; } frames[] = {
		{ GUEST_MAX_FRAME, 1518 }, { 9018, 1519 }, { 9018, 9018 }, { 200, 200 }, { 200, 201 },
	};
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		guest_open(&g, VIRTQ_TX, 16, GUEST_V1 | (i & 1 ? GUEST_PACKED : 0) | (i & 2 ? TSO : 0));
		for (unsigned k = 0; k < sizeof(frames) / sizeof(frames[0]); k++) {
			virtq_set_max_frame(&g.vq, frames[k].max);
			send_chain(&g, frames[k].len, 1, false);
			guest_expose(&g);
			assert_int_equal(turn(&g, 0), frames[k].len <= frames[k].max);
		}
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_LONG], 1);
		guest_close(&g);
	}
}

/* Seventeen pages and a header, as Linux sends them, four of them in one batch. */
static void long_packets_come_in_many_pieces(void **state)
{
	const struct virtio_net_hdr_v1 h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448,
	};
	struct vring_desc piece[18];
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		guest_open(&g, VIRTQ_TX, 256, ALL | TSO | (i & 1 ? GUEST_PACKED : 0));
		for (unsigned k = 0; k < 4; k++) {
			for (unsigned j = 0; j < 18; j++) {
				uint32_t len = j ? 3850 : 12 + 54;

				piece[j] = (struct vring_desc){ guest_alloc(&g, len + 16), len, 0, 0 };
			}
			guest_write(&g, piece[0].addr, &h, sizeof(h));
			memset(guest_ptr(&g, piece[17].addr) + 3849, (int)(0x40 + k), 1);
			guest_offer(&g, piece, 18, i & 2);
		}
		guest_expose(&g);
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 4);
		for (unsigned k = 0; k < 4; k++) {
			assert_int_equal(batch.pkt[k].npieces, 18);
			assert_int_equal(batch.pkt[k].len, 54 + 17 * 3850);
			virtq_pkt_copy(&batch.pkt[k], frame);
			assert_int_equal(frame[54 + 17 * 3850 - 1], 0x40 + k);
		}
		guest_close(&g);
	}
}

/* --- receive with offloads ------------------------------------------------------------- */

static const struct virtio_net_hdr_v1 joined = {
	.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = 54, .gso_size = 1448,
	.csum_start = 34, .csum_offset = 16, .num_buffers = 0x5555,
};

/* A packet of 54 + @n * 1448 bytes: headers and the payload of @n frames. */
static struct virtq_src joined_from(unsigned n, struct virtq_more *more, struct iovec *piece)
{
	for (unsigned i = 0; i < 54 + n * 1448; i++)
		frame[i] = (uint8_t)(i * 7 + (i >> 8));
	piece[0] = (struct iovec){ frame, 54 };
	for (unsigned i = 0; i < n; i++)
		piece[i + 1] = (struct iovec){ frame + 54 + i * 1448, 1448 };
	*more = (struct virtq_more){ .hdr = joined, .piece = piece, .npieces = n + 1, .frames = n };
	return (struct virtq_src){ .len = 54 + n * 1448, .more = more };
}

/* What the guest finds: the header, and the packet over @n buffers of @size bytes, and nothing behind it. */
static void arrived(struct guest *g, const uint64_t *addr, uint32_t size, unsigned n, uint32_t len)
{
	struct virtio_net_hdr_v1 hdr = { 0 };
	static uint8_t got[70000], after[65536];
	uint32_t have = 0, total = g->hdr_len + len;

	assert_int_equal(guest_pending(g), n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t part = guest_take(g).len;

		assert_int_equal(part, total - have < size ? total - have : size);
		guest_read(g, addr[i], got + have, part);
		guest_read(g, addr[i] + part, after, size - part);
		for (uint32_t k = 0; k < size - part; k++)
			assert_int_equal(after[k], 0xee);
		have += part;
	}
	assert_int_equal(have, total);
	memcpy(&hdr, got, g->hdr_len);
	if (g->hdr_len == 12)
		assert_int_equal(hdr.num_buffers, n);
	assert_memory_equal(&hdr, &joined, 10);
	assert_memory_equal(got + g->hdr_len, frame, len);
}

static void post(struct guest *g, uint64_t *addr, uint32_t size, unsigned n)
{
	uint8_t ee[64];

	memset(ee, 0xee, sizeof(ee));
	for (unsigned i = 0; i < n; i++) {
		addr[i] = guest_alloc(g, size);
		for (uint32_t k = 0; k < size; k += 64)
			guest_write(g, addr[i] + k, ee, size - k < 64 ? size - k : 64);
		guest_offer(g, &(struct vring_desc){ addr[i], size, VRING_DESC_F_WRITE, 0 }, 1, false);
	}
	guest_expose(g);
}

static void a_long_packet_is_merged_from_many_buffers(void **state)
{
	static const uint32_t sizes[] = { 1536, 1526, 256, 70000 };
	struct iovec piece[46];
	struct virtq_more more;
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			const struct virtq_src src = joined_from(45, &more, piece);
			unsigned n = (12 + src.len + sizes[i] - 1) / sizes[i];
			uint64_t addr[300];

			guest_open_at(&g, VIRTQ_RX, 512, GUEST_V1 | GUEST_MRG | kind, 65500);
			post(&g, addr, sizes[i], n + 1);
			assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
			virtq_publish(&g.vq);
			arrived(&g, addr, sizes[i], n, src.len);
			assert_int_equal(g.vq.stats.packets, 1);
			assert_int_equal(g.vq.stats.bytes, src.len);
			assert_int_equal(g.vq.stats.gso_packets, 1);
			assert_int_equal(g.vq.stats.gso_frames, 45);
			guest_close(&g);
		}
}

static void a_long_packet_fits_into_one_large_buffer_without_merging(void **state)
{
	static const uint64_t features[] = { 0, GUEST_V1, GUEST_PACKED, GUEST_PACKED | GUEST_V1 };
	struct iovec piece[46];
	struct virtq_more more;
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const struct virtq_src src = joined_from(45, &more, piece);
		uint64_t addr[1];

		guest_open(&g, VIRTQ_RX, 4, features[i]);
		post(&g, addr, 65550, 1);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		virtq_publish(&g.vq);
		arrived(&g, addr, 65550, 1, src.len);
		guest_close(&g);
	}
}

/* Joined from frames it stays: they may fit where it does not. What was one packet from the beginning is dropped. */
static void a_joined_packet_that_does_not_fit_is_not_dropped(void **state)
{
	struct iovec piece[46];
	struct virtq_more more;
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		const struct virtq_src src = joined_from(2, &more, piece), plain = { .data = frame, .len = 60 };
		uint64_t addr[4];

		guest_open(&g, VIRTQ_RX, 4, GUEST_V1 | kind);
		post(&g, addr, 1536, 4);
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 0);
		assert_false(virtq_publish(&g.vq));
		assert_int_equal(virtq_rx_put(&g.vq, &plain, 1), 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 1);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_NO_BUFFER], 0);
		guest_close(&g);
		guest_open(&g, VIRTQ_RX, 4, GUEST_V1 | kind);
		post(&g, addr, 1536, 4);
		more.frames = 1;
		assert_int_equal(virtq_rx_put(&g.vq, &src, 1), 1);
		assert_int_equal(g.vq.stats.errors[VIRTQ_DROP_NO_BUFFER], 1);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 1);
		assert_int_equal(guest_take(&g).len, 0);
		guest_close(&g);
	}
}

/* Plain frames before and behind a long one: order stays, each has its own header. */
static void long_and_plain_packets_go_in_one_batch(void **state)
{
	struct iovec piece[4];
	struct virtq_more more;
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		const struct virtq_src src[3] = {
			{ .data = frame, .len = 60 }, joined_from(3, &more, piece), { .data = frame, .len = 61 },
		};
		uint64_t addr[16];
		uint8_t flags[6];

		guest_open(&g, VIRTQ_RX, 16, GUEST_V1 | GUEST_MRG | kind);
		post(&g, addr, 1536, 16);
		assert_int_equal(virtq_rx_put(&g.vq, src, 3), 3);
		virtq_publish(&g.vq);
		assert_int_equal(guest_pending(&g), 5);
		assert_int_equal(guest_take(&g).len, 72);
		assert_int_equal(guest_take(&g).len, 1536);
		assert_int_equal(guest_take(&g).len, 1536);
		assert_int_equal(guest_take(&g).len, 12 + 54 + 3 * 1448 - 2 * 1536);
		assert_int_equal(guest_take(&g).len, 73);
		for (unsigned i = 0; i < 5; i++)
			guest_read(&g, addr[i], &flags[i], 1);
		assert_int_equal(flags[0], 0);
		assert_int_equal(flags[1], VIRTIO_NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(flags[4], 0);
		guest_close(&g);
	}
}

/* --- a guest on another CPU ------------------------------------------------------------ */

#define PLAYED 20000

struct reader {
	struct guest g;
	uint32_t wrong;
};

/* Posts small buffers, and looks at each packet as soon as its first one is there: all of it must be. */
static void *read_packets(void *arg)
{
	struct reader *r = arg;
	struct guest *g = &r->g;

	for (uint32_t i = 0; i < PLAYED;) {
		struct virtio_net_hdr_v1 hdr;
		uint32_t number, last;
		unsigned n = 7;

		guest_reset(g);
		for (unsigned k = 0; k < n; k++)
			guest_offer_one(g, 40);
		guest_expose(g);
		for (; n >= 3; i++) {
			while (!guest_pending(g))
				sched_yield();
			guest_read(g, GUEST_DATA + 40 * (7 - n), &hdr, sizeof(hdr));
			guest_read(g, GUEST_DATA + 40 * (7 - n) + 12, &number, 4);
			guest_read(g, GUEST_DATA + 40 * (9 - n) + 16, &last, 4);
			r->wrong += hdr.num_buffers != 3 || guest_pending(g) < 3 || number != i || last != i;
			for (unsigned k = 0; k < 3; k++)
				r->wrong += guest_take(g).len != (k < 2 ? 40 : 20);
			n -= 3;
		}
		/* One is left over: a packet that fits into it. */
		while (!guest_pending(g))
			sched_yield();
		r->wrong += guest_take(g).len != 32;
	}
	return NULL;
}

/* 2.8.9: no part of a packet before all of it is there. Each turn has two long packets and a short one. */
static void a_guest_never_sees_a_part_of_a_packet(void **state)
{
	static uint8_t data[3][88];

	(void)state;
	FOR_KINDS(kind) {
		struct virtq_src src[3] = {
			{ .data = data[0], .len = 88 }, { .data = data[1], .len = 88 }, { .data = data[2], .len = 20 },
		};
		struct reader r = { .wrong = 0 };
		unsigned at = 0;
		pthread_t thread;

		guest_open_at(&r.g, VIRTQ_RX, 8, GUEST_V1 | GUEST_MRG | kind, 65533);
		assert_int_equal(pthread_create(&thread, NULL, read_packets, &r), 0);
		for (uint32_t i = 0; i < PLAYED;) {
			for (uint32_t k = 0; k < 2; k++) {
				memcpy(data[k], &(uint32_t){ i + k }, 4);
				memcpy(data[k] + 84, &(uint32_t){ i + k }, 4);
			}
			at += virtq_rx_put(&r.g.vq, src + at, 3 - at);
			virtq_publish(&r.g.vq);
			if (at < 3) {
				sched_yield();
				continue;
			}
			at = 0;
			i += 2;
		}
		pthread_join(thread, NULL);
		assert_int_equal(r.wrong, 0);
		assert_int_equal(r.g.vq.broken, 0);
		guest_close(&r.g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_that_are_not_put_are_found_again),
		cmocka_unit_test(nothing_is_written_into_the_ring_for_what_is_not_put),
		cmocka_unit_test(dropped_chains_come_back_with_the_packets_around_them),
		cmocka_unit_test(a_batch_of_nothing_but_drops_comes_back_at_once),
		cmocka_unit_test(chains_come_back_in_order_whatever_portions_are_taken),
		cmocka_unit_test(a_packet_with_gso_is_as_long_as_ip_allows),
		cmocka_unit_test(a_packet_without_gso_is_no_longer_than_a_frame),
		cmocka_unit_test(gso_without_a_partial_checksum_is_dropped),
		cmocka_unit_test(a_header_that_asks_for_nothing_is_passed_on),
		cmocka_unit_test(the_longest_frame_may_change_while_the_ring_runs),
		cmocka_unit_test(long_packets_come_in_many_pieces),
		cmocka_unit_test(a_long_packet_is_merged_from_many_buffers),
		cmocka_unit_test(a_long_packet_fits_into_one_large_buffer_without_merging),
		cmocka_unit_test(a_joined_packet_that_does_not_fit_is_not_dropped),
		cmocka_unit_test(long_and_plain_packets_go_in_one_batch),
		cmocka_unit_test(a_guest_never_sees_a_part_of_a_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
