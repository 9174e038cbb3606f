/* SPDX-License-Identifier: BSD-2-Clause */
/* One NIC queue over rings in memory; the test plays the kernel at their other ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xdp/nicq.h"

#define RING 64
#define FRAMES 128
#define CHUNK 2048

/* The kernel's side: takes a buffer from the fill ring; false when there is none. */
static bool kernel_take_fill(struct nicq *q, uint64_t *addr)
{
	if (*q->fill.consumer == *q->fill.producer)
		return false;
	*addr = ((uint64_t *)q->fill.ring)[(*q->fill.consumer)++ & q->fill.mask];
	return true;
}

static void kernel_put_rx(struct nicq *q, uint64_t addr, uint32_t len, uint32_t options)
{
	struct xdp_desc *d = &((struct xdp_desc *)q->rx.ring)[*q->rx.producer & q->rx.mask];

	assert_true(*q->rx.producer - *q->rx.consumer < q->rx.size);
	*d = (struct xdp_desc){ .addr = addr, .len = len, .options = options };
	(*q->rx.producer)++;
}

/* Receives a frame of @len bytes of @fill, with metadata if @meta. */
static bool kernel_receive(struct nicq *q, uint32_t len, uint8_t fill, const struct vd_meta *meta)
{
	uint64_t addr;

	if (!kernel_take_fill(q, &addr))
		return false;
	addr += NICQ_DATA_OFFSET;
	memset(q->umem + addr, fill, len);
	if (meta)
		memcpy(q->umem + addr - sizeof(*meta), meta, sizeof(*meta));
	kernel_put_rx(q, addr, len, 0);
	return true;
}

static void kernel_complete(struct nicq *q, uint64_t addr)
{
	assert_true(*q->completion.producer - *q->completion.consumer < q->completion.size);
	((uint64_t *)q->completion.ring)[(*q->completion.producer)++ & q->completion.mask] = addr;
}

/* Sends one frame and completes it; false when the tx ring is empty. */
static bool kernel_send(struct nicq *q, struct xdp_desc *out)
{
	if (*q->tx.consumer == *q->tx.producer)
		return false;
	*out = ((struct xdp_desc *)q->tx.ring)[(*q->tx.consumer)++ & q->tx.mask];
	return true;
}

static int setup(void **state)
{
	struct nicq *q = malloc(sizeof(*q));

	if (!q || nicq_init_memory(q, RING, FRAMES, CHUNK))
		return -1;
	*state = q;
	return 0;
}

static int teardown(void **state)
{
	struct nicq *q = *state;

	nicq_fini(q);
	free(q);
	return 0;
}

static void refill_gives_the_kernel_its_target_and_no_more(void **state)
{
	struct nicq *q = *state;

	nicq_refill(q);
	assert_int_equal(*q->fill.producer - *q->fill.consumer, q->fill_target);
	assert_int_equal(q->frames.count[FRAME_FILL], q->fill_target);
	nicq_refill(q);
	assert_int_equal(*q->fill.producer - *q->fill.consumer, q->fill_target);
	assert_int_equal(frames_check(&q->frames), 0);
}

static void a_received_frame_carries_its_data_and_metadata(void **state)
{
	const struct vd_meta meta = { .magic = VD_META_MAGIC, .port = 3, .pair = 2, .seq = 77, .hash = 5 };
	struct nicq *q = *state;
	struct nicq_pkt p[4];

	nicq_refill(q);
	assert_true(kernel_receive(q, 60, 0xab, &meta));
	assert_true(kernel_receive(q, 100, 0xcd, NULL));
	assert_int_equal(nicq_rx(q, p, 4), 2);
	assert_int_equal(p[0].len, 60);
	assert_int_equal(p[0].data[59], 0xab);
	assert_non_null(nicq_meta(&p[0]));
	assert_int_equal(nicq_meta(&p[0])->seq, 77);
	assert_null(nicq_meta(&p[1]));
	assert_int_equal(q->frames.count[FRAME_HELD], 2);
	assert_int_equal(q->stats.rx_packets, 2);
	assert_int_equal(q->stats.rx_bytes, 160);
	nicq_recycle(q, &p[0]);
	nicq_recycle(q, &p[1]);
	assert_int_equal(frames_check(&q->frames), 0);
}

static void metadata_is_wiped_when_a_frame_is_given_back(void **state)
{
	const struct vd_meta meta = { .magic = VD_META_MAGIC, .port = 1 };
	struct nicq *q = *state;
	struct nicq_pkt p;
	uint32_t i;

	nicq_refill(q);
	assert_true(kernel_receive(q, 60, 1, &meta));
	assert_int_equal(nicq_rx(q, &p, 1), 1);
	nicq_recycle(q, &p);
	assert_null(nicq_meta(&p));
	/* Nor does any frame that comes round later without metadata show the old one. */
	for (i = 0; i < 3 * FRAMES; i++) {
		nicq_refill(q);
		assert_true(kernel_receive(q, 60, 1, NULL));
		assert_int_equal(nicq_rx(q, &p, 1), 1);
		assert_null(nicq_meta(&p));
		nicq_recycle(q, &p);
	}
}

static void a_sender_cannot_leave_metadata_behind(void **state)
{
	struct vd_meta forged = { .magic = VD_META_MAGIC, .port = 9 };
	struct nicq *q = *state;
	struct xdp_desc d;
	struct nicq_pkt p;
	uint32_t frame, i;

	/* Fill every chunk with forged metadata as frames to send, at every multiple of its size. */
	while (nicq_tx_room(q, 1)) {
		uint8_t *buf = nicq_tx_buf(q, 0, &frame);

		for (i = 0; i + sizeof(forged) <= NICQ_MAX_FRAME(CHUNK); i += sizeof(forged))
			memcpy(buf + i, &forged, sizeof(forged));
		nicq_tx_stage(q, frame, NICQ_MAX_FRAME(CHUNK), false);
	}
	assert_int_equal(nicq_tx_flush(q), 0);
	while (kernel_send(q, &d))
		kernel_complete(q, d.addr);
	nicq_reap(q);
	for (i = 0; i < FRAMES; i++) {
		nicq_refill(q);
		assert_true(kernel_receive(q, 60, 0, NULL));
		assert_int_equal(nicq_rx(q, &p, 1), 1);
		assert_null(nicq_meta(&p));
		nicq_recycle(q, &p);
	}
}

static void descriptors_that_cannot_be_are_counted_and_skipped(void **state)
{
	struct nicq *q = *state;
	struct nicq_pkt p[8];
	uint64_t a, b, c, d, good;

	nicq_refill(q);
	assert_true(kernel_take_fill(q, &a));
	assert_true(kernel_take_fill(q, &b));
	assert_true(kernel_take_fill(q, &c));
	assert_true(kernel_take_fill(q, &d));
	assert_true(kernel_take_fill(q, &good));
	kernel_put_rx(q, a + 256, CHUNK, 0);			/* beyond its chunk */
	kernel_put_rx(q, b, 60, 0);				/* no room for metadata */
	kernel_put_rx(q, c + 256, 0, 0);			/* empty */
	kernel_put_rx(q, d + 256, 60, 1);			/* part of a frame */
	kernel_put_rx(q, (uint64_t)FRAMES * CHUNK + 256, 60, 0);	/* outside */
	kernel_put_rx(q, UINT64_MAX - 10, 60, 0);		/* far outside */
	kernel_put_rx(q, good + 256, 60, 0);
	kernel_put_rx(q, good + 256, 60, 0);			/* the same twice */
	assert_int_equal(nicq_rx(q, p, 8), 1);
	assert_ptr_equal(p[0].data, q->umem + good + 256);
	assert_int_equal(q->stats.rx_invalid, 7);
	assert_int_equal(q->frames.violations, 3);
	nicq_recycle(q, &p[0]);
	assert_int_equal(frames_check(&q->frames), 0);
	/* The four frames that were usable again have not been lost. */
	assert_int_equal(q->frames.count[FRAME_FREE] + q->frames.count[FRAME_FILL], FRAMES);
}

static void completions_that_cannot_be_are_counted_and_change_nothing(void **state)
{
	struct nicq *q = *state;
	struct xdp_desc d;
	uint32_t frame;

	assert_int_equal(nicq_tx_room(q, 1), 1);
	assert_non_null(nicq_tx_buf(q, 0, &frame));
	nicq_tx_stage(q, frame, 60, false);
	nicq_tx_flush(q);
	assert_true(kernel_send(q, &d));
	kernel_complete(q, (uint64_t)FRAMES * CHUNK);
	kernel_complete(q, d.addr & ~1ull);
	kernel_complete(q, d.addr);
	assert_int_equal(nicq_reap(q), 1);
	assert_int_equal(q->tx_outstanding, 0);
	assert_int_equal(q->frames.violations, 2);
	assert_int_equal(q->frames.nfree, FRAMES);
	assert_int_equal(frames_check(&q->frames), 0);
}

static void staged_frames_are_seen_only_after_the_flush(void **state)
{
	struct nicq *q = *state;
	struct xdp_desc d;
	uint32_t frame;
	uint8_t *buf;

	buf = nicq_tx_buf(q, 0, &frame);
	memset(buf, 0x5a, 60);
	nicq_tx_stage(q, frame, 60, false);
	assert_false(kernel_send(q, &d));
	assert_int_equal(nicq_tx_flush(q), 0);
	assert_true(nicq_tx_unsent(q));
	assert_true(kernel_send(q, &d));
	assert_false(nicq_tx_unsent(q));
	assert_int_equal(d.len, 60);
	assert_int_equal(d.addr & 1, 0);
	assert_int_equal(q->umem[d.addr + 59], 0x5a);
	assert_int_equal(q->stats.tx_packets, 1);
	kernel_complete(q, d.addr);
	assert_int_equal(nicq_reap(q), 1);
}

static void sending_stops_at_its_limit_and_leaves_frames_for_receiving(void **state)
{
	struct nicq *q = *state;
	uint32_t frame, n = 0;

	while (nicq_tx_room(q, 8)) {
		assert_non_null(nicq_tx_buf(q, 0, &frame));
		nicq_tx_stage(q, frame, 60, false);
		nicq_tx_flush(q);
		n++;
	}
	assert_int_equal(n, q->tx_limit);
	nicq_refill(q);
	assert_int_equal(q->frames.count[FRAME_FILL], q->fill_target);
	assert_int_equal(frames_check(&q->frames), 0);
}

static void a_frame_that_is_not_sent_after_all_goes_back(void **state)
{
	struct nicq *q = *state;
	uint32_t frame;

	assert_non_null(nicq_tx_buf(q, 0, &frame));
	nicq_tx_cancel(q, frame);
	assert_int_equal(q->tx_outstanding, 0);
	/* Nor does one of an impossible length reach the kernel. */
	assert_non_null(nicq_tx_buf(q, 0, &frame));
	nicq_tx_stage(q, frame, CHUNK, false);
	assert_non_null(nicq_tx_buf(q, 0, &frame));
	nicq_tx_stage(q, frame, 0, false);
	assert_int_equal(q->stats.tx_errors, 2);
	assert_int_equal(q->tx_staged, 0);
	assert_int_equal(q->frames.nfree, FRAMES);
	assert_int_equal(frames_check(&q->frames), 0);
}

/* A burst of @n frames comes and goes. */
static void burst(struct nicq *q, unsigned n)
{
	struct nicq_pkt p[64];
	unsigned got;

	while (n-- && kernel_receive(q, 60, 0, NULL))
		;
	while ((got = nicq_rx(q, p, 64)))
		while (got--)
			nicq_recycle(q, &p[got]);
	nicq_refill(q);
}

static void the_kernel_gets_more_frames_when_it_runs_low(void **state)
{
	struct nicq q;

	(void)state;
	assert_int_equal(nicq_init_memory(&q, 2048, 4096, CHUNK), 0);
	nicq_refill(&q);
	assert_int_equal(q.fill_target, 256);
	burst(&q, 100);
	assert_int_equal(q.fill_target, 256);
	burst(&q, 150);
	assert_int_equal(q.fill_target, 512);
	assert_int_equal(*q.fill.producer - *q.fill.consumer, 512);
	burst(&q, 512);
	burst(&q, 1024);
	burst(&q, 2048);
	burst(&q, 2048);
	assert_int_equal(q.fill_target, 2048);
	assert_int_equal(*q.fill.producer - *q.fill.consumer, 2048);
	assert_int_equal(frames_check(&q.frames), 0);
	nicq_fini(&q);
}

static void frames_that_were_not_needed_for_long_are_taken_back(void **state)
{
	struct nicq q;

	(void)state;
	assert_int_equal(nicq_init_memory(&q, 2048, 4096, CHUNK), 0);
	nicq_refill(&q);
	burst(&q, 150);
	assert_int_equal(q.fill_target, 512);
	for (unsigned i = 0; i < 1100000 / 32; i++)
		burst(&q, 32);
	assert_int_equal(q.fill_target, 256);
	assert_int_equal(*q.fill.producer - *q.fill.consumer, 256);
	assert_int_equal(frames_check(&q.frames), 0);
	nicq_fini(&q);
}

/* The kernel's part of the churn: may receive, send, and complete in any order. */
struct kernel {
	struct nicq *q;
	uint64_t sending[FRAMES];
	unsigned nsending;
};

static void kernel_step(struct kernel *k, unsigned r)
{
	const struct vd_meta meta = { .magic = VD_META_MAGIC };
	struct nicq *q = k->q;
	struct xdp_desc d;
	unsigned i;

	for (i = 0; i < (r >> 4) % 9 && *q->rx.producer - *q->rx.consumer < q->rx.size; i++)
		kernel_receive(q, 60 + r % 1000, (uint8_t)r, r & 1 ? &meta : NULL);
	for (i = 0; i < (r >> 8) % 9 && kernel_send(q, &d); i++)
		k->sending[k->nsending++] = d.addr;
	for (i = 0; i < (r >> 12) % 9 && k->nsending; i++) {
		unsigned which = r % k->nsending;

		kernel_complete(q, k->sending[which]);
		k->sending[which] = k->sending[--k->nsending];
	}
}

static void no_frame_is_lost_or_doubled_whatever_the_order(void **state)
{
	struct nicq_pkt held[FRAMES], got[8];
	struct kernel k = { .q = *state };
	unsigned round, i, n, nheld = 0;
	uint32_t seed = 1, frame;
	struct nicq *q = *state;

	for (round = 0; round < 100000; round++) {
		seed = seed * 1664525 + 1013904223;
		kernel_step(&k, seed >> 3);
		n = nicq_rx(q, got, (seed >> 7) % 9);
		for (i = 0; i < n; i++)
			held[nheld++] = got[i];
		for (i = 0; i < (seed >> 11) % 9 && nheld; i++) {
			unsigned which = seed % nheld;

			nicq_recycle(q, &held[which]);
			held[which] = held[--nheld];
		}
		n = nicq_tx_room(q, (seed >> 15) % 9);
		for (i = 0; i < n; i++) {
			assert_non_null(nicq_tx_buf(q, 0, &frame));
			nicq_tx_stage(q, frame, 60, false);
		}
		nicq_tx_flush(q);
		if (seed & 0x10000)
			nicq_reap(q);
		if (seed & 0x20000)
			nicq_refill(q);
		if (round % 64 == 0)
			assert_int_equal(frames_check(&q->frames), 0);
	}
	assert_int_equal(q->frames.violations, 0);
	assert_int_equal(q->stats.rx_invalid, 0);
	assert_int_equal(q->frames.count[FRAME_HELD], nheld);
	assert_true(q->stats.rx_packets > 1000 && q->stats.tx_packets > 1000);
	assert_int_equal(frames_check(&q->frames), 0);
}

static void pieces_of_a_frame_are_taken_only_with_multi_buffer(void **state)
{
	struct nicq *q = *state;
	struct nicq_pkt p[4];
	uint64_t addr;

	nicq_refill(q);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(kernel_take_fill(q, &addr));
		kernel_put_rx(q, addr + NICQ_DATA_OFFSET, 100, i % 2 ? 0 : XDP_PKT_CONTD);
	}
	assert_int_equal(nicq_rx(q, p, 4), 2);
	assert_int_equal(q->stats.rx_invalid, 2);
	assert_false(p[0].more || p[1].more);
	nicq_recycle(q, &p[0]);
	nicq_recycle(q, &p[1]);
	q->sg = true;
	for (unsigned i = 0; i < 4; i++) {
		assert_true(kernel_take_fill(q, &addr));
		kernel_put_rx(q, addr + NICQ_DATA_OFFSET, 100, i == 3 ? 1u << 5 : i % 2 ? 0 : XDP_PKT_CONTD);
	}
	assert_int_equal(nicq_rx(q, p, 4), 3);	/* an option that we do not know is not taken */
	assert_int_equal(q->stats.rx_invalid, 3);
	assert_true(p[0].more && !p[1].more && p[2].more);
	for (unsigned i = 0; i < 3; i++)
		nicq_recycle(q, &p[i]);
	assert_int_equal(q->frames.count[FRAME_HELD], 0);
}

static void a_frame_in_pieces_counts_once_and_says_where_it_goes_on(void **state)
{
	struct nicq *q = *state;
	struct xdp_desc d;
	uint32_t frame;

	q->sg = true;
	assert_int_equal(nicq_max_frame(q), NICQ_PIECES * NICQ_MAX_FRAME(CHUNK));
	assert_int_equal(nicq_tx_room(q, 3), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_non_null(nicq_tx_buf(q, 0, &frame));
		nicq_tx_stage(q, frame, 1000, i < 2);
	}
	nicq_tx_flush(q);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(kernel_send(q, &d));
		assert_int_equal(d.options, i < 2 ? XDP_PKT_CONTD : 0);
		assert_int_equal(d.len, 1000);
	}
	assert_int_equal(q->stats.tx_packets, 1);
	assert_int_equal(q->stats.tx_bytes, 3000);
	nicq_reap(q);
}

static void a_request_for_a_checksum_lies_in_front_of_the_frame_and_is_not_metadata(void **state)
{
	struct nicq *q = *state;
	struct nicq_tx_request r;
	struct nicq_pkt p;
	struct xdp_desc d;
	uint32_t frame;

	assert_int_equal(nicq_tx_room(q, 1), 1);
	assert_non_null(nicq_tx_buf(q, 0, &frame));
	nicq_tx_stage(q, frame, 100, false);
	nicq_tx_request_checksum(q, frame, 34, 16);
	nicq_tx_flush(q);
	assert_true(kernel_send(q, &d));
	assert_int_equal(d.options, XDP_TX_METADATA);
	memcpy(&r, q->umem + d.addr - sizeof(r), sizeof(r));
	assert_int_equal(r.flags, NICQ_TX_CHECKSUM);
	assert_int_equal(r.csum_start, 34);
	assert_int_equal(r.csum_offset, 16);
	p = (struct nicq_pkt){ .data = q->umem + d.addr };
	assert_null(nicq_meta(&p));
	nicq_reap(q);
}

#define nicq_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		nicq_test(refill_gives_the_kernel_its_target_and_no_more),
		nicq_test(a_received_frame_carries_its_data_and_metadata),
		nicq_test(metadata_is_wiped_when_a_frame_is_given_back),
		nicq_test(a_sender_cannot_leave_metadata_behind),
		nicq_test(descriptors_that_cannot_be_are_counted_and_skipped),
		nicq_test(completions_that_cannot_be_are_counted_and_change_nothing),
		nicq_test(staged_frames_are_seen_only_after_the_flush),
		nicq_test(sending_stops_at_its_limit_and_leaves_frames_for_receiving),
		nicq_test(a_frame_that_is_not_sent_after_all_goes_back),
		cmocka_unit_test(the_kernel_gets_more_frames_when_it_runs_low),
		cmocka_unit_test(frames_that_were_not_needed_for_long_are_taken_back),
		nicq_test(pieces_of_a_frame_are_taken_only_with_multi_buffer),
		nicq_test(a_frame_in_pieces_counts_once_and_says_where_it_goes_on),
		nicq_test(a_request_for_a_checksum_lies_in_front_of_the_frame_and_is_not_metadata),
		nicq_test(no_frame_is_lost_or_doubled_whatever_the_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
