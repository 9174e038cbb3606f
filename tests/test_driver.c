// SPDX-License-Identifier: BSD-2-Clause
/* The virtio driver's queue pairs against the device's virtqueues, and against a device that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "driver/pair.h"
#include "driver/traffic.h"
#include "ring/virtq.h"

#define F(bit) (1ull << (bit))
#define MODERN F(VIRTIO_F_VERSION_1)
#define PACKED F(VIRTIO_F_RING_PACKED)
#define IN_ORDER F(VIRTIO_F_IN_ORDER)
#define BASE 0x40000000ull
#define USER 0x7f0000000000ull
#define DEV_FRAME 9018

/* A queue pair and the device behind it, joined by one memfd. */
struct wire {
	uint64_t features;
	uint32_t size;
	uint8_t *mem;
	uint64_t len;
	struct pair p;
	struct gmem *gmem;
	struct virtq rx, tx;	/* as the device has them, named from the guest's point of view */
	struct virtq_batch batch;
	bool device;
	unsigned first, held;	/* frames on their way back through the device */
	uint32_t copy_len[VIRTQ_BATCH];
	uint8_t copy[VIRTQ_BATCH][DEV_FRAME];
};

static void *dev_ptr(struct wire *w, const void *ours, uint64_t len)
{
	uint64_t off = (uint64_t)((const uint8_t *)ours - w->mem);
	struct iovec iov;
	unsigned hint = 0;

	assert_int_equal(gmem_map(w->gmem, GMEM_USER, USER + off, len, &iov, 1, &hint), 1);
	return iov.iov_base;
}

static void start_vq(struct wire *w, struct virtq *vq, struct dring *r, enum virtq_dir dir)
{
	struct virtq_config cfg = {
		.dir = dir,
		.size = r->size,
		.features = w->features,
		.desc = dev_ptr(w, r->desc, 16ull * r->size),
		.avail = dev_ptr(w, r->avail, 6 + 2ull * r->size),
		.used = dev_ptr(w, r->used, 6 + 8ull * r->size),
		.mem = w->gmem,
		.base = r->packed ? DRING_PACKED_BASE : 0,
		.max_frame = DEV_FRAME,
	};

	r->kickfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->callfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	cfg.kickfd = r->kickfd;
	cfg.callfd = r->callfd;
	assert_int_equal(virtq_start(vq, &cfg), 0);
	vq->started = vq->enabled = 1;
}

static struct wire *wire_open(uint64_t features, uint32_t size, bool device)
{
	struct wire *w = calloc(1, sizeof(*w));
	int fd = memfd_create("guest", MFD_CLOEXEC);

	w->features = features;
	w->size = size;
	w->len = pair_mem_size(size, features);
	assert_int_equal(ftruncate(fd, (off_t)w->len), 0);
	w->mem = mmap(NULL, w->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(w->mem, MAP_FAILED);
	assert_int_equal(pair_init(&w->p, size, w->mem, BASE, features), 0);
	w->device = device;
	if (device) {
		struct gmem_desc d = { .guest_addr = BASE, .size = w->len, .user_addr = USER };

		assert_int_equal(gmem_create(&d, &fd, 1, &w->gmem), 0);
		start_vq(w, &w->rx, &w->p.rx, VIRTQ_RX);
		start_vq(w, &w->tx, &w->p.tx, VIRTQ_TX);
	} else {
		close(fd);
	}
	return w;
}

static void wire_close(struct wire *w)
{
	if (w->device) {
		virtq_stop(&w->rx);
		virtq_stop(&w->tx);
		close(w->p.rx.kickfd);
		close(w->p.rx.callfd);
		close(w->p.tx.kickfd);
		close(w->p.tx.callfd);
		gmem_put(w->gmem);
	}
	pair_fini(&w->p);
	munmap(w->mem, w->len);
	free(w);
}

static uint32_t seed = 12345;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 8) * n >> 24);
}

/* Frame number @n: its length and bytes follow from the number. */
static uint32_t frame_len(uint32_t n, uint32_t max)
{
	uint32_t h = n * 2654435761u;

	return h >> 30 ? 14 + (h >> 8) % 200 : 14 + (h >> 8) % (max - 13);
}

static uint8_t frame_byte(uint32_t n, uint32_t i)
{
	return (uint8_t)(n * 31 + i * 7 + (i >> 8));
}

static void make_frame(uint8_t *to, uint32_t n, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		to[i] = frame_byte(n, i);
}

static void expect_frame(const struct frame *f, uint32_t n, uint32_t max)
{
	assert_int_equal(f->len, frame_len(n, max));
	for (uint32_t i = 0; i < f->len; i++)
		assert_int_equal(f->data[i], frame_byte(n, i));
}

/* The device takes up to @max frames and sends them back, as far as there are rx buffers. Return: frames returned. */
static unsigned reflect(struct wire *w, unsigned max)
{
	struct virtq_src src[VIRTQ_BATCH];
	unsigned done;

	if (w->first == w->held) {
		w->first = 0;
		w->held = virtq_tx_get(&w->tx, &w->batch, max);
		for (unsigned i = 0; i < w->held; i++) {
			virtq_pkt_copy(&w->batch.pkt[i], w->copy[i]);
			w->copy_len[i] = w->batch.pkt[i].len;
		}
		virtq_tx_put(&w->tx, &w->batch, w->held);
	}
	for (unsigned i = w->first; i < w->held; i++)
		src[i] = (struct virtq_src){ .data = w->copy[i], .len = w->copy_len[i] };
	done = virtq_rx_put(&w->rx, src + w->first, w->held - w->first);
	w->first += done;
	if (virtq_publish(&w->rx))
		virtq_call(&w->rx);
	if (virtq_publish(&w->tx))
		virtq_call(&w->tx);
	assert_int_equal(w->tx.broken, 0);
	assert_int_equal(w->rx.broken, 0);
	return done;
}

static unsigned send_some(struct wire *w, uint32_t *next, uint32_t last, uint32_t max_len)
{
	static uint8_t bytes[32][DEV_FRAME];
	unsigned n = 1 + below(32), sent;
	struct frame f[32];

	if (n > last - *next)
		n = last - *next;
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = frame_len(*next + i, max_len), cut = below(len);

		make_frame(bytes[i], *next + i, len);
		f[i] = (struct frame){ .data = bytes[i], .len = cut + 1, .tail = bytes[i] + cut + 1,
				       .tail_len = len - cut - 1 };
	}
	sent = pair_tx(&w->p, f, n);
	*next += sent;
	return sent;
}

static void frames_go_round(uint64_t features, uint32_t size, uint32_t count)
{
	bool merge = features & F(VIRTIO_NET_F_MRG_RXBUF);
	uint32_t max = merge && size >= 8 ? DEV_FRAME : 1518, next = 0, got = 0, idle = 0;
	struct wire *w = wire_open(features, size, true);
	struct frame f[PAIR_BATCH];

	while (got < count) {
		unsigned n, work = send_some(w, &next, count, max);

		work += reflect(w, 1 + below(VIRTQ_BATCH));
		n = pair_rx(&w->p, f, 1 + below(PAIR_BATCH));
		for (unsigned i = 0; i < n; i++)
			expect_frame(&f[i], got++, max);
		idle = work + n ? 0 : idle + 1;
		assert_true(idle < 10);
	}
	assert_false(w->p.broken);
	assert_int_equal(w->p.stats.rx_packets, count);
	assert_int_equal(w->p.stats.tx_packets, count);
	assert_int_equal(w->p.stats.rx_errors, 0);
	wire_close(w);
}

static uint64_t combination(unsigned i)
{
	static const unsigned bits[] = { VIRTIO_F_VERSION_1, VIRTIO_F_ANY_LAYOUT, VIRTIO_RING_F_INDIRECT_DESC,
					 VIRTIO_RING_F_EVENT_IDX, VIRTIO_NET_F_MRG_RXBUF };
	uint64_t features = 0;

	for (unsigned b = 0; b < 5; b++)
		features |= i >> b & 1 ? F(bits[b]) : 0;
	return features;
}

static void test_frames_go_round_whole_and_in_order_with_every_set_of_features(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 32; i++)
		frames_go_round(combination(i), 64, 3000);
	for (unsigned i = 0; i < 32; i++) {
		frames_go_round(MODERN | PACKED | combination(i), 64, 1000);
		frames_go_round(MODERN | IN_ORDER | combination(i), 64, 1000);
		frames_go_round(MODERN | PACKED | IN_ORDER | combination(i), 64, 1000);
	}
}

static void test_frames_go_round_in_rings_of_many_sizes(void **state)
{
	(void)state;
	for (uint32_t size = 4; size <= 1024; size *= 2) {
		frames_go_round(MODERN | F(VIRTIO_NET_F_MRG_RXBUF) | F(VIRTIO_RING_F_EVENT_IDX), size, 500);
		frames_go_round(0, size, 500);
	}
	frames_go_round(MODERN, 2, 100);
}

static void test_frames_go_round_in_packed_rings_whose_size_is_no_power_of_two(void **state)
{
	static const uint32_t sizes[] = { 2, 3, 5, 7, 9, 33, 100, 255, 1000 };
	const uint64_t more[] = { 0, F(VIRTIO_NET_F_MRG_RXBUF), IN_ORDER | F(VIRTIO_RING_F_EVENT_IDX),
				  F(VIRTIO_NET_F_MRG_RXBUF) | F(VIRTIO_RING_F_INDIRECT_DESC) };

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (unsigned k = 0; k < 4; k++)
			frames_go_round(MODERN | PACKED | more[k], sizes[i], 500);
}

static void test_ring_indexes_may_wrap(void **state)
{
	(void)state;
	frames_go_round(MODERN | F(VIRTIO_RING_F_EVENT_IDX), 256, 150000);
	frames_go_round(MODERN | PACKED | F(VIRTIO_RING_F_EVENT_IDX), 256, 150000);
}

/* ---- notification ---- */

static unsigned count_of(int fd)
{
	eventfd_t n;

	return eventfd_read(fd, &n) ? 0 : (unsigned)n;
}

static const struct frame *one_frame(void)
{
	static uint8_t bytes[60];
	static const struct frame f = { .data = bytes, .len = 60 };

	return &f;
}

static void test_kick_follows_the_devices_wish(void **state)
{
	const struct frame *f = one_frame();

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct wire *w = wire_open(MODERN | (i ? F(VIRTIO_RING_F_EVENT_IDX) : 0), 16, true);

		virtq_disarm(&w->tx);
		count_of(w->p.tx.kickfd);
		/* Event index: what it said before the disarm may still be due once. */
		assert_int_equal(pair_tx(&w->p, f, 1), 1);
		reflect(w, 4);
		count_of(w->p.tx.kickfd);
		assert_int_equal(pair_tx(&w->p, f, 1), 1);
		assert_int_equal(count_of(w->p.tx.kickfd), 0);
		reflect(w, 4);
		assert_false(virtq_arm(&w->tx));
		assert_int_equal(pair_tx(&w->p, f, 1), 1);
		assert_int_equal(count_of(w->p.tx.kickfd), 1);
		wire_close(w);
	}
}

static void test_a_batch_is_kicked_once(void **state)
{
	struct wire *w = wire_open(MODERN | F(VIRTIO_RING_F_EVENT_IDX), 64, true);
	struct frame f[32];

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		f[i] = *one_frame();
	assert_false(virtq_arm(&w->tx));
	count_of(w->p.tx.kickfd);
	assert_int_equal(pair_tx(&w->p, f, 32), 32);
	assert_int_equal(count_of(w->p.tx.kickfd), 1);
	wire_close(w);
}

static void test_calls_come_only_while_armed(void **state)
{
	const struct frame *f = one_frame();
	struct frame in[PAIR_BATCH];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct wire *w = wire_open(MODERN | (i ? F(VIRTIO_RING_F_EVENT_IDX) : 0), 16, true);

		pair_tx(&w->p, f, 1);
		reflect(w, 1);
		assert_int_equal(pair_rx(&w->p, in, PAIR_BATCH), 1);
		count_of(w->p.rx.callfd);
		pair_tx(&w->p, f, 1);
		reflect(w, 1);
		assert_int_equal(count_of(w->p.rx.callfd), 0);
		assert_int_equal(pair_rx(&w->p, in, PAIR_BATCH), 1);
		assert_false(dring_arm(&w->p.rx));
		pair_tx(&w->p, f, 1);
		reflect(w, 1);
		assert_int_equal(count_of(w->p.rx.callfd), 1);
		/* Arming with something there says so instead of waiting for a call. */
		assert_true(dring_arm(&w->p.rx));
		wire_close(w);
	}
}

/* ---- sending ---- */

static void test_room_is_what_can_be_sent(void **state)
{
	static uint8_t bytes[DEV_FRAME];
	struct wire *w = wire_open(MODERN, 16, false);
	struct frame f = { .data = bytes, .len = DEV_FRAME };
	unsigned room = pair_tx_room(&w->p, 100, DEV_FRAME);

	(void)state;
	assert_int_equal(room, 16 / 5);
	for (unsigned i = 0; i < room; i++)
		assert_int_equal(pair_tx(&w->p, &f, 1), 1);
	assert_int_equal(pair_tx(&w->p, &f, 1), 0);
	assert_int_equal(pair_tx_room(&w->p, 100, 60), 1);
	wire_close(w);
}

static void test_frames_that_cannot_be_sent_are_counted(void **state)
{
	static uint8_t bytes[DEV_FRAME + 1];
	struct wire *w = wire_open(MODERN, 16, false);
	struct frame f[3] = { { .data = bytes, .len = 13 },
			      { .data = bytes, .len = DEV_FRAME + 1 },
			      { .data = bytes, .len = 14 } };

	(void)state;
	assert_int_equal(pair_tx(&w->p, f, 3), 3);
	assert_int_equal(w->p.stats.tx_errors, 2);
	assert_int_equal(w->p.stats.tx_packets, 1);
	wire_close(w);
}

/* ---- a device that lies: written by hand ---- */

static void give(struct dring *r, uint16_t at, uint32_t id, uint32_t len)
{
	r->used->ring[at % r->size] = (struct vring_used_elem){ id, len };
}

static void lie(uint64_t features, uint16_t idx, uint32_t id, uint32_t len, bool broken)
{
	struct wire *w = wire_open(features, 16, false);
	struct frame f[PAIR_BATCH];

	for (uint16_t i = 0; i < 16; i++)
		give(&w->p.rx, i, id, len);
	store_release(&w->p.rx.used->idx, idx);
	for (unsigned i = 0; i < 4; i++)
		pair_rx(&w->p, f, PAIR_BATCH);
	assert_int_equal(w->p.broken, broken);
	wire_close(w);
}

static void test_a_used_index_that_jumps_breaks_the_pair(void **state)
{
	(void)state;
	lie(MODERN, 17, 0, 72, true);
	lie(MODERN, 0x8000, 0, 72, true);
	lie(MODERN, 0xffff, 0, 72, true);
}

static void test_a_used_head_out_of_range_breaks_the_pair(void **state)
{
	(void)state;
	lie(MODERN, 1, 16, 72, true);
	lie(MODERN, 1, UINT32_MAX, 72, true);
	lie(MODERN, 1, 65536, 72, true);
}

static void test_the_same_head_twice_breaks_the_pair(void **state)
{
	(void)state;
	lie(MODERN, 1, 3, 72, false);
	lie(MODERN, 2, 3, 72, true);
	lie(MODERN | F(VIRTIO_NET_F_MRG_RXBUF), 2, 3, 72, true);
}

static void test_a_length_beyond_the_buffer_breaks_the_pair(void **state)
{
	(void)state;
	lie(MODERN, 1, 0, 2048, false);
	lie(MODERN, 1, 0, 2049, true);
	lie(0, 1, 0, UINT32_MAX, true);
}

static void test_a_frame_too_short_is_dropped_and_its_buffer_goes_back(void **state)
{
	struct wire *w = wire_open(MODERN, 16, false);
	struct frame f[PAIR_BATCH];

	(void)state;
	for (uint16_t i = 0; i < 100; i++) {
		/* The head that comes back first is the one that was lent first. */
		give(&w->p.rx, i, w->p.rx.avail->ring[i % 16], i % 26);
		store_release(&w->p.rx.used->idx, (uint16_t)(i + 1));
		assert_int_equal(pair_rx(&w->p, f, PAIR_BATCH), 0);
		assert_int_equal(pair_rx(&w->p, f, PAIR_BATCH), 0);
	}
	assert_false(w->p.broken);
	assert_int_equal(w->p.stats.rx_errors, 100);
	assert_int_equal((uint16_t)(w->p.rx.avail->idx - w->p.rx.used->idx), 16);
	wire_close(w);
}

static void set_num_buffers(struct wire *w, uint16_t head, uint16_t n)
{
	struct virtio_net_hdr_v1 *h = (void *)(w->p.rxb.base + (size_t)head * PAIR_BUF);

	h->num_buffers = n;
}

static bool merged_lie(uint16_t num_buffers, uint16_t given)
{
	struct wire *w = wire_open(MODERN | F(VIRTIO_NET_F_MRG_RXBUF), 16, false);
	struct frame f[PAIR_BATCH];
	bool broken;

	set_num_buffers(w, 0, num_buffers);
	for (uint16_t i = 0; i < given; i++)
		give(&w->p.rx, i, i, 2048);
	store_release(&w->p.rx.used->idx, given);
	assert_int_equal(pair_rx(&w->p, f, 1), 0);
	broken = w->p.broken;
	assert_int_equal(w->p.stats.rx_errors, broken ? 0 : 1);
	wire_close(w);
	return broken;
}

static void test_a_number_of_buffers_that_is_not_there_breaks_the_pair(void **state)
{
	(void)state;
	assert_true(merged_lie(0, 3));
	assert_true(merged_lie(4, 3));
	assert_true(merged_lie(65535, 16));
}

static void test_a_merged_frame_too_long_is_dropped(void **state)
{
	(void)state;
	assert_false(merged_lie(5, 5));
	assert_false(merged_lie(16, 16));
}

static void test_a_device_that_writes_at_random_does_no_harm(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct wire *w = wire_open(combination(below(32)), 8, false);
		struct frame f[PAIR_BATCH];

		for (unsigned turn = 0; turn < 10 && !w->p.broken; turn++) {
			struct dring *r = below(2) ? &w->p.rx : &w->p.tx;
			uint16_t n = (uint16_t)(r->used->idx + below(4));

			for (uint16_t i = r->used->idx; i != n; i++) {
				uint32_t head = below(10);

				give(r, i, head, below(8) ? below(2049) : seed);
				set_num_buffers(w, (uint16_t)(head % 8), (uint16_t)below(4));
			}
			store_release(&r->used->idx, n);
			pair_tx(&w->p, one_frame(), 1);
			for (unsigned i = pair_rx(&w->p, f, PAIR_BATCH); i; i--)
				assert_true(f[i - 1].len >= 14 && f[i - 1].len <= PAIR_MAX_FRAME);
		}
		wire_close(w);
	}
}

/* ---- test traffic ---- */

struct traffic {
	struct traffic_gen gen;
	struct traffic_check check;
	uint8_t frame[200][128];
};

#define T_LEN 100u

/* @n frames of flow 0 in a row, as bytes. */
static void traffic_open(struct traffic *t, unsigned n, bool own)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	uint8_t head[TRAFFIC_HEAD];
	struct frame f;

	assert_int_equal(traffic_gen_init(&t->gen, T_LEN, 4, mac, mac), 0);
	assert_int_equal(traffic_check_init(&t->check, own ? &t->gen : NULL), 0);
	for (unsigned i = 0; i < n; i++) {
		traffic_frame(&t->gen, 0, head, &f);
		memcpy(t->frame[i], f.data, f.len);
		memcpy(t->frame[i] + f.len, f.tail, f.tail_len);
	}
}

static void traffic_close(struct traffic *t)
{
	traffic_check_fini(&t->check);
	traffic_gen_fini(&t->gen);
}

static void test_generated_frames_that_come_back_are_good(void **state)
{
	struct traffic t;

	(void)state;
	traffic_open(&t, 200, true);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(traffic_check_frame(&t.check, t.frame[i], T_LEN), TRAFFIC_OWN);
	assert_int_equal(traffic_lost(&t.check, true), 0);
	traffic_close(&t);
}

static void test_an_answer_is_of_the_same_flow_with_addresses_and_ports_swapped(void **state)
{
	uint8_t was[T_LEN], *frame;
	struct traffic t;

	(void)state;
	traffic_open(&t, 1, true);
	frame = t.frame[0];
	frame[0] = 6;
	memcpy(was, frame, T_LEN);
	traffic_answer(frame, T_LEN);
	assert_memory_equal(frame, was + 6, 6);
	assert_memory_equal(frame + 6, was, 6);
	assert_memory_equal(frame + 26, was + 30, 4);
	assert_memory_equal(frame + 30, was + 26, 4);
	assert_memory_equal(frame + 34, was + 36, 2);
	assert_memory_equal(frame + 36, was + 34, 2);
	assert_memory_equal(frame + 38, was + 38, T_LEN - 38);
	assert_int_equal(traffic_check_frame(&t.check, frame, T_LEN), TRAFFIC_OWN);
	assert_int_equal(t.check.last_flow, 0);
	traffic_answer(frame, T_LEN);
	assert_memory_equal(frame, was, T_LEN);
	/* Of other frames only the Ethernet addresses. */
	frame[23] = was[23] = 6;
	traffic_answer(frame, T_LEN);
	assert_memory_equal(frame, was + 6, 6);
	assert_memory_equal(frame + 12, was + 12, T_LEN - 12);
	traffic_close(&t);
}

static void test_a_missing_frame_is_lost_and_a_late_one_reordered(void **state)
{
	struct traffic t;

	(void)state;
	traffic_open(&t, 10, false);
	for (unsigned i = 0; i < 10; i++)
		if (i != 3 && i != 5)
			assert_int_equal(traffic_check_frame(&t.check, t.frame[i], T_LEN), TRAFFIC_PEER);
	assert_int_equal(traffic_lost(&t.check, false), 2);
	assert_int_equal(traffic_check_frame(&t.check, t.frame[3], T_LEN), TRAFFIC_PEER);
	assert_int_equal(traffic_lost(&t.check, false), 1);
	assert_int_equal(t.check.counts.reordered, 1);
	traffic_close(&t);
}

static void test_a_frame_seen_twice_is_duplicated(void **state)
{
	struct traffic t;

	(void)state;
	traffic_open(&t, 3, false);
	for (unsigned i = 0; i < 3; i++)
		traffic_check_frame(&t.check, t.frame[i], T_LEN);
	assert_int_equal(traffic_check_frame(&t.check, t.frame[1], T_LEN), TRAFFIC_DUPLICATED);
	assert_int_equal(t.check.counts.duplicated, 1);
	assert_int_equal(traffic_lost(&t.check, false), 0);
	traffic_close(&t);
}

static void test_every_changed_byte_of_the_payload_is_damage(void **state)
{
	struct traffic t;

	(void)state;
	traffic_open(&t, 2, true);
	for (unsigned i = 42; i < T_LEN; i++) {
		t.frame[0][i] ^= 0x10;
		assert_int_not_equal(traffic_check_frame(&t.check, t.frame[0], T_LEN), TRAFFIC_OWN);
		t.frame[0][i] ^= 0x10;
	}
	assert_int_equal(t.check.counts.damaged, T_LEN - 42);
	/* What an older frame left behind the head of a newer one. */
	memcpy(t.frame[1] + TRAFFIC_HEAD, t.frame[0] + TRAFFIC_HEAD, T_LEN - TRAFFIC_HEAD);
	assert_int_equal(traffic_check_frame(&t.check, t.frame[1], T_LEN), TRAFFIC_DAMAGED);
	assert_int_equal(traffic_check_frame(&t.check, t.frame[0], T_LEN - 1), TRAFFIC_DAMAGED);
	assert_int_equal(traffic_check_frame(&t.check, t.frame[0], T_LEN), TRAFFIC_OWN);
	traffic_close(&t);
}

static void test_other_frames_are_only_counted(void **state)
{
	static const uint8_t arp[60] = { [12] = 0x08, [13] = 0x06 };
	struct traffic t;

	(void)state;
	traffic_open(&t, 1, true);
	assert_int_equal(traffic_check_frame(&t.check, arp, 60), TRAFFIC_OTHER);
	assert_int_equal(traffic_check_frame(&t.check, arp, 14), TRAFFIC_OTHER);
	assert_int_equal(t.check.counts.other, 2);
	traffic_close(&t);
}

static void test_a_new_run_of_the_generator_starts_a_new_account(void **state)
{
	struct traffic a, b;

	(void)state;
	traffic_open(&a, 10, false);
	traffic_open(&b, 10, false);
	b.gen.run = (uint16_t)(a.gen.run + 1);
	traffic_check_frame(&a.check, a.frame[0], T_LEN);
	traffic_check_frame(&a.check, a.frame[9], T_LEN);
	for (unsigned i = 0; i < 5; i++) {
		uint8_t head[TRAFFIC_HEAD], whole[T_LEN];
		struct frame f;

		traffic_frame(&b.gen, 1, head, &f);
		memcpy(whole, head, TRAFFIC_HEAD);
		memcpy(whole + TRAFFIC_HEAD, f.tail, f.tail_len);
		assert_int_equal(traffic_check_frame(&a.check, whole, T_LEN), TRAFFIC_PEER);
	}
	assert_int_equal(traffic_lost(&a.check, false), 8);
	assert_int_equal(a.check.counts.duplicated, 0);
	traffic_close(&a);
	traffic_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_go_round_whole_and_in_order_with_every_set_of_features),
		cmocka_unit_test(test_frames_go_round_in_rings_of_many_sizes),
		cmocka_unit_test(test_frames_go_round_in_packed_rings_whose_size_is_no_power_of_two),
		cmocka_unit_test(test_ring_indexes_may_wrap),
		cmocka_unit_test(test_kick_follows_the_devices_wish),
		cmocka_unit_test(test_a_batch_is_kicked_once),
		cmocka_unit_test(test_calls_come_only_while_armed),
		cmocka_unit_test(test_room_is_what_can_be_sent),
		cmocka_unit_test(test_frames_that_cannot_be_sent_are_counted),
		cmocka_unit_test(test_a_used_index_that_jumps_breaks_the_pair),
		cmocka_unit_test(test_a_used_head_out_of_range_breaks_the_pair),
		cmocka_unit_test(test_the_same_head_twice_breaks_the_pair),
		cmocka_unit_test(test_a_length_beyond_the_buffer_breaks_the_pair),
		cmocka_unit_test(test_a_frame_too_short_is_dropped_and_its_buffer_goes_back),
		cmocka_unit_test(test_a_number_of_buffers_that_is_not_there_breaks_the_pair),
		cmocka_unit_test(test_a_merged_frame_too_long_is_dropped),
		cmocka_unit_test(test_a_device_that_writes_at_random_does_no_harm),
		cmocka_unit_test(test_generated_frames_that_come_back_are_good),
		cmocka_unit_test(test_an_answer_is_of_the_same_flow_with_addresses_and_ports_swapped),
		cmocka_unit_test(test_a_missing_frame_is_lost_and_a_late_one_reordered),
		cmocka_unit_test(test_a_frame_seen_twice_is_duplicated),
		cmocka_unit_test(test_every_changed_byte_of_the_payload_is_damage),
		cmocka_unit_test(test_other_frames_are_only_counted),
		cmocka_unit_test(test_a_new_run_of_the_generator_starts_a_new_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
