// SPDX-License-Identifier: BSD-2-Clause
/* The driver's rings, split and packed, against a simple device and one that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vdev.h"

struct fix {
	struct dring r;
	struct vdev v;
	uint8_t *mem;
	uint64_t features;
};

static void fix_open(struct fix *f, uint32_t size, uint64_t features)
{
	uint64_t bytes = dring_bytes(size, DRING_MAX_SG);

	*f = (struct fix){ .mem = aligned_alloc(64, bytes), .features = features };
	memset(f->mem, 0xa5, bytes);
	assert_int_equal(dring_init(&f->r, f->mem, BASE, size, DRING_MAX_SG, features), 0);
	vdev_init(&f->v, &f->r, f->mem);
	f->r.kickfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void fix_close(struct fix *f)
{
	close(f->r.kickfd);
	dring_fini(&f->r);
	free(f->mem);
}

static uint32_t seed = 4711;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 8) * n >> 24);
}

/* Both kinds of ring. */
static const uint64_t kinds[] = { MODERN, MODERN | PACKED };

static void each_kind(void (*check)(uint64_t features))
{
	check(kinds[0]);
	check(kinds[1]);
}

/* A buffer that can be told from its number. */
static uint64_t addr_of(uint32_t token)
{
	return BASE + 4096ull * token;
}

static void add(struct fix *f, uint32_t token, bool in)
{
	assert_int_equal(dring_add_one(&f->r, addr_of(token), 1000 + token, in, token), 0);
}

static void expect_get(struct fix *f, uint32_t token, uint32_t len)
{
	uint32_t t, l;

	assert_true(dring_get(&f->r, &t, &l));
	assert_int_equal(t, token);
	assert_int_equal(l, len);
}

/* ---- round and round ---- */

static void goes_round(uint32_t size, uint64_t features)
{
	uint32_t next = 0, seen = 0, back = 0, rounds = size < 300 ? 3000 : 20000, idle = 0;
	struct vdev_buf b;
	struct fix f;

	fix_open(&f, size, features);
	while (back < rounds) {
		assert_true(idle++ < 100);
		for (unsigned n = below(size + 1); n && f.r.nfree; n--)
			add(&f, next++ % 1000, true);
		dring_kick(&f.r);
		for (unsigned n = below(size + 1); n && vdev_take(&f.v, &b); n--, seen++) {
			assert_int_equal(b.in, 1);
			assert_int_equal(b.piece[0].addr, addr_of(seen % 1000));
			assert_int_equal(b.piece[0].len, 1000 + seen % 1000);
			vdev_give(&f.v, &b, seen % 1000 + 1);
		}
		assert_int_equal(dring_pending(&f.r), seen - back);
		for (; back < seen; back++, idle = 0)
			expect_get(&f, back % 1000, back % 1000 + 1);
	}
	assert_false(f.r.broken);
	assert_int_equal(f.r.nfree, size - (next - back));
	fix_close(&f);
}

static void test_buffers_go_round_in_split_rings(void **state)
{
	(void)state;
	for (uint32_t size = 1; size <= 1024; size *= 2) {
		goes_round(size, MODERN);
		goes_round(size, MODERN | IN_ORDER | EVENT_IDX);
	}
}

static void test_buffers_go_round_in_packed_rings_of_any_size(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 5, 7, 8, 100, 255, 256, 1000, 1024 };

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		goes_round(sizes[i], MODERN | PACKED);
		goes_round(sizes[i], MODERN | PACKED | IN_ORDER | EVENT_IDX);
	}
}

static void test_ring_indexes_wrap(void **state)
{
	(void)state;
	goes_round(32768, MODERN);
	goes_round(32768, MODERN | PACKED);
}

static void test_sizes_that_are_not_legal_are_refused(void **state)
{
	struct dring r;
	uint8_t *mem = aligned_alloc(64, dring_bytes(1024, 0));

	(void)state;
	assert_int_equal(dring_init(&r, mem, BASE, 0, 0, MODERN), -EINVAL);
	assert_int_equal(dring_init(&r, mem, BASE, 0, 0, MODERN | PACKED), -EINVAL);
	assert_int_equal(dring_init(&r, mem, BASE, 3, 0, MODERN), -EINVAL);
	assert_int_equal(dring_init(&r, mem, BASE, 32769, 0, MODERN | PACKED), -EINVAL);
	assert_int_equal(dring_init(&r, mem, BASE, 65536, 0, MODERN), -EINVAL);
	assert_int_equal(dring_init(&r, mem, BASE, 4, DRING_MAX_SG + 1, MODERN), -EINVAL);
	assert_int_equal(dring_init(&r, mem, BASE, 3, 0, MODERN | PACKED), 0);
	dring_fini(&r);
	free(mem);
}

static void any_order(uint64_t features)
{
	struct vdev_buf b[16];
	unsigned n, held = 0;
	bool lent[16] = { 0 };
	struct fix f;

	fix_open(&f, 16, features);
	for (unsigned round = 0; round < 2000; round++) {
		for (uint32_t t = 0; t < 16; t++) {
			if (lent[t] || below(2))
				continue;
			add(&f, t, true);
			lent[t] = true;
		}
		dring_kick(&f.r);
		while (held < 16 && vdev_take(&f.v, &b[held]))
			held++;
		for (n = below(held + 1); n; n--) {
			unsigned i = below(held);

			vdev_give(&f.v, &b[i], (uint32_t)((b[i].piece[0].addr - BASE) / 4096 + 1));
			b[i] = b[--held];
		}
		for (n = dring_pending(&f.r); n; n--) {
			uint32_t t, len;

			assert_true(dring_get(&f.r, &t, &len));
			assert_true(t < 16 && lent[t]);
			assert_int_equal(len, t + 1);
			lent[t] = false;
		}
	}
	assert_false(f.r.broken);
	fix_close(&f);
}

static void test_buffers_may_come_back_in_any_order(void **state)
{
	(void)state;
	each_kind(any_order);
}

static void chains_go_round(uint32_t size, uint64_t features)
{
	unsigned most = size < DRING_MAX_SG ? size : DRING_MAX_SG;
	struct dring_sg sg[DRING_MAX_SG];
	struct vdev_buf b, want;
	uint32_t token, len;
	struct fix f;

	fix_open(&f, size, features);
	for (uint32_t round = 0; round < 1000; round++) {
		unsigned n = 1 + below(most), out = below(n + 1), total = 0;

		for (unsigned i = 0; i < n; i++) {
			sg[i] = (struct dring_sg){ BASE + 65536ull * i + round, 1 + below(5000) };
			total += i >= out ? sg[i].len : 0;
		}
		assert_int_equal(dring_add(&f.r, sg, out, n - out, round), 0);
		dring_kick(&f.r);
		assert_true(vdev_take(&f.v, &b));
		want = b;
		assert_int_equal(b.out, out);
		assert_int_equal(b.in, n - out);
		assert_int_equal(b.indirect, (features & INDIRECT) && n > 1);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(b.piece[i].addr, sg[i].addr);
			assert_int_equal(b.piece[i].len, sg[i].len);
		}
		vdev_give(&f.v, &want, total);
		assert_int_equal(dring_pending(&f.r), 1);
		assert_true(dring_get(&f.r, &token, &len));
		assert_int_equal(token, round);
		assert_int_equal(len, total);
		assert_int_equal(f.r.nfree, size);
	}
	fix_close(&f);
}

static void test_chains_and_indirect_tables_are_what_was_added(void **state)
{
	static const uint32_t sizes[] = { 1, 3, 7, 36, 100, 256 };
	const uint64_t more[] = { 0, INDIRECT, IN_ORDER, INDIRECT | IN_ORDER };

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		for (unsigned i = 0; i < 6; i++)
			chains_go_round(sizes[i], MODERN | PACKED | more[k]);
		for (uint32_t size = 1; size <= 64; size *= 2)
			chains_go_round(size, MODERN | more[k]);
	}
}

static void test_chains_in_order_stand_in_ring_order(void **state)
{
	struct dring_sg sg[3] = { { BASE, 10 }, { BASE, 20 }, { BASE, 30 } };
	struct vdev_buf b;
	uint16_t next = 0;
	struct fix f;

	(void)state;
	fix_open(&f, 8, MODERN | IN_ORDER);
	for (unsigned round = 0; round < 50; round++) {
		unsigned n = 1 + round % 3;
		uint32_t t, len;

		assert_int_equal(dring_add(&f.r, sg, n, 0, round), 0);
		dring_kick(&f.r);
		assert_true(vdev_take(&f.v, &b));
		for (unsigned i = 0; i < n; i++, next = (next + 1) % 8)
			assert_int_equal(b.at[i], next);
		vdev_give(&f.v, &b, 0);
		assert_int_equal(dring_pending(&f.r), 1);
		assert_true(dring_get(&f.r, &t, &len));
	}
	fix_close(&f);
}

static void limits(uint64_t features)
{
	struct dring_sg sg[DRING_MAX_SG + 1];
	struct fix f;

	for (unsigned i = 0; i <= DRING_MAX_SG; i++)
		sg[i] = (struct dring_sg){ BASE, 1 };
	fix_open(&f, 64, features);
	assert_int_equal(dring_add(&f.r, sg, 0, 0, 0), -EINVAL);
	assert_int_equal(dring_add(&f.r, sg, DRING_MAX_SG + 1, 0, 0), -EINVAL);
	assert_int_equal(dring_add(&f.r, sg, DRING_MAX_SG, 0, 0), 0);
	assert_int_equal(dring_add(&f.r, sg, 64 - DRING_MAX_SG + 1, 0, 0), -ENOSPC);
	assert_int_equal(dring_add(&f.r, sg, 64 - DRING_MAX_SG, 0, 0), 0);
	assert_int_equal(dring_add_one(&f.r, BASE, 1, true, 0), -ENOSPC);
	fix_close(&f);
	fix_open(&f, 4, features | INDIRECT);
	assert_int_equal(dring_add(&f.r, sg, 5, 0, 0), -EINVAL);	/* 2.7.5.3.1: no longer than the queue size */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(dring_add(&f.r, sg, 4, 0, 0), 0);
	assert_int_equal(dring_add(&f.r, sg, 4, 0, 0), -ENOSPC);
	fix_close(&f);
}

static void test_a_full_ring_and_a_chain_too_long_are_refused(void **state)
{
	(void)state;
	each_kind(limits);
}

/* ---- notification ---- */

static bool kicked(struct fix *f)
{
	eventfd_t n;

	return !eventfd_read(f->r.kickfd, &n);
}

static void give_all(struct fix *f)
{
	struct vdev_buf b;
	uint32_t t, len;

	while (vdev_take(&f->v, &b))
		vdev_give(&f->v, &b, 0);
	for (unsigned n = dring_pending(&f->r); n; n--)
		assert_true(dring_get(&f->r, &t, &len));
}

static void not_before_kick(uint64_t features)
{
	struct vdev_buf b;
	struct fix f;

	fix_open(&f, 8, features);
	for (unsigned round = 0; round < 20; round++) {
		for (uint32_t t = 0; t < 1 + round % 8; t++)
			add(&f, t, false);
		assert_false(vdev_take(&f.v, &b));
		dring_kick(&f.r);
		for (uint32_t t = 0; t < 1 + round % 8; t++) {
			assert_true(vdev_take(&f.v, &b));
			vdev_give(&f.v, &b, 0);
		}
		assert_false(vdev_take(&f.v, &b));
		give_all(&f);
	}
	fix_close(&f);
}

static void test_the_device_sees_nothing_before_the_kick_and_all_after_it(void **state)
{
	(void)state;
	each_kind(not_before_kick);
}

static void test_the_flag_decides_about_kicks(void **state)
{
	struct fix f;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		fix_open(&f, 8, kinds[k]);
		for (unsigned on = 0; on < 2; on++) {
			if (k)
				f.r.device_event->flags = on ? VRING_PACKED_EVENT_FLAG_ENABLE :
							       VRING_PACKED_EVENT_FLAG_DISABLE;
			else
				f.r.used->flags = on ? 0 : VRING_USED_F_NO_NOTIFY;
			add(&f, 1, false);
			assert_int_equal(dring_kick(&f.r), on);
			assert_int_equal(kicked(&f), on);
			assert_false(dring_kick(&f.r));	/* nothing was added */
		}
		fix_close(&f);
	}
}

/* The device's position moves through the ring; its event lies up to a round behind or ahead of what is added. */
static void test_the_event_index_decides_about_kicks(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		uint32_t size = k ? 7 : 8, added = 0;
		struct fix f;

		fix_open(&f, size, kinds[k] | EVENT_IDX);
		for (unsigned round = 0; round < 500; round++) {
			unsigned n = 1 + below(size), event = added + below(n + 1);

			if (k) {
				f.r.device_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
				f.r.device_event->off_wrap =
					(uint16_t)(event % size | (event / size % 2 ? 0 : 1u << 15));
			} else {
				*f.r.avail_event = (uint16_t)event;
			}
			for (unsigned i = 0; i < n; i++)
				add(&f, i, false);
			/* Asked for: the one at @event. Were added: added .. added + n - 1. */
			assert_int_equal(dring_kick(&f.r), event < added + n);
			assert_int_equal(kicked(&f), event < added + n);
			added += n;
			give_all(&f);
		}
		fix_close(&f);
	}
}

static void test_an_event_index_that_is_garbage_does_no_harm(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct fix f;

		fix_open(&f, k ? 7 : 8, kinds[k] | EVENT_IDX);
		for (unsigned round = 0; round < 2000; round++) {
			if (k)
				*f.r.device_event = (struct vring_packed_desc_event){ (uint16_t)below(65536),
										       (uint16_t)below(65536) };
			else
				*f.r.avail_event = (uint16_t)below(65536);
			add(&f, 1, false);
			dring_kick(&f.r);
			give_all(&f);
		}
		assert_false(f.r.broken);
		fix_close(&f);
	}
}

/* Would a device that just used the buffer at packed position @at call? */
static bool packed_call(const struct fix *f, uint16_t at, bool wrap)
{
	const struct vring_packed_desc_event *e = f->r.driver_event;

	if (e->flags == VRING_PACKED_EVENT_FLAG_DESC)
		return e->off_wrap == (at | wrap << 15);
	return e->flags == VRING_PACKED_EVENT_FLAG_ENABLE;
}

static void test_an_armed_packed_ring_asks_for_a_call_at_the_next_buffer_only(void **state)
{
	struct vdev_buf b;
	struct fix f;

	(void)state;
	for (unsigned event = 0; event < 2; event++) {
		fix_open(&f, 5, MODERN | PACKED | (event ? EVENT_IDX : 0));
		for (unsigned round = 0; round < 40; round++) {
			uint16_t at = f.v.next_used;
			bool wrap = f.v.used_wrap;

			dring_disarm(&f.r);
			assert_false(packed_call(&f, at, wrap));
			assert_false(dring_arm(&f.r));
			assert_true(packed_call(&f, at, wrap));
			add(&f, 1, true);
			dring_kick(&f.r);
			assert_true(vdev_take(&f.v, &b));
			vdev_give(&f.v, &b, 1);
			if (event)
				assert_false(packed_call(&f, f.v.next_used, f.v.used_wrap));
			assert_true(dring_arm(&f.r));	/* there is one already */
			expect_get(&f, 1, 1);
		}
		fix_close(&f);
	}
}

static void test_an_armed_split_ring_asks_for_a_call_at_the_next_buffer_only(void **state)
{
	struct vdev_buf b;
	struct fix f;

	(void)state;
	for (unsigned event = 0; event < 2; event++) {
		fix_open(&f, 4, MODERN | (event ? EVENT_IDX : 0));
		for (unsigned round = 0; round < 40; round++) {
			dring_disarm(&f.r);
			if (!event)
				assert_int_equal(f.r.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
			assert_false(dring_arm(&f.r));
			if (event)
				assert_int_equal(f.r.avail->ring[4], round);
			else
				assert_int_equal(f.r.avail->flags, 0);
			add(&f, 1, true);
			dring_kick(&f.r);
			assert_true(vdev_take(&f.v, &b));
			vdev_give(&f.v, &b, 1);
			assert_true(dring_arm(&f.r));
			expect_get(&f, 1, 1);
		}
		fix_close(&f);
	}
}

/* ---- in order: one used entry for a run ---- */

static void runs_come_back(uint32_t size, uint64_t features)
{
	unsigned most = size < 4 ? size : 4;
	struct dring_sg sg[4] = { { BASE, 100 }, { BASE, 100 }, { BASE, 100 }, { BASE, 100 } };
	uint32_t next = 0, back = 0, idle = 0, full[1024];
	struct fix f;

	fix_open(&f, size, features | IN_ORDER);
	while (back < 3000) {
		unsigned count = 0, ndesc = 0, run = 1 + below(size);
		struct vdev_buf b, last = { 0 };
		uint32_t token, len;

		for (unsigned n = below(size + 1); n; n--) {
			unsigned pieces = 1 + below(most);

			if (dring_add(&f.r, sg, 0, pieces, next))
				break;
			full[next++ % 1024] = 100 * pieces;
		}
		dring_kick(&f.r);
		for (; count < run && vdev_take(&f.v, &b); count++) {
			last = b;
			ndesc += b.ndesc;
		}
		if (count)
			vdev_give_run(&f.v, last.id, 7, count, ndesc);
		assert_int_equal(dring_pending(&f.r), count);
		assert_true(idle++ < 100);
		for (; count; count--, back++, idle = 0) {
			assert_true(dring_get(&f.r, &token, &len));
			assert_int_equal(token, back);
			assert_int_equal(len, count == 1 ? 7 : full[back % 1024]);
		}
	}
	assert_false(f.r.broken);
	fix_close(&f);
}

static void test_one_used_entry_gives_a_whole_run_back_in_order(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 7, 100, 256 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		runs_come_back(sizes[i], MODERN | PACKED);
		runs_come_back(sizes[i], MODERN | PACKED | INDIRECT);
	}
	for (uint32_t size = 1; size <= 256; size *= 2) {
		runs_come_back(size, MODERN);
		runs_come_back(size, MODERN | INDIRECT);
	}
}

static void test_what_is_not_fetched_waits_and_nothing_is_lost(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		uint32_t next = 0, back = 0;
		struct vdev_buf b;
		struct fix f;

		fix_open(&f, 8, kinds[k % 2] | (k > 1 ? IN_ORDER : 0));
		/* More come back than the caller fetches, again and again. */
		for (unsigned round = 0; round < 300; round++) {
			unsigned waiting;

			while (f.r.nfree)
				add(&f, next++, true);
			dring_kick(&f.r);
			while (vdev_take(&f.v, &b))
				vdev_give(&f.v, &b, 5);
			waiting = dring_pending(&f.r);
			assert_true(waiting >= 8);
			for (unsigned n = 1 + below(8); n; n--)
				expect_get(&f, back++, 5);
		}
		for (unsigned n = dring_pending(&f.r); n; n = dring_pending(&f.r))
			for (; n; n--)
				expect_get(&f, back++, 5);
		assert_int_equal(next, back);
		assert_int_equal(f.r.nfree, 8);
		fix_close(&f);
	}
}

/* ---- a device that lies ---- */

/* Eight buffers of 1000 bytes and more for writing (0-3) and reading (4-7), all with the device. */
static void lend_eight(struct fix *f, uint64_t features, struct vdev_buf b[8])
{
	fix_open(f, 8, features);
	for (uint32_t t = 0; t < 8; t++)
		add(f, t, t < 4);
	dring_kick(&f->r);
	for (unsigned i = 0; i < 8; i++)
		assert_true(vdev_take(&f->v, &b[i]));
}

static void breaks(struct fix *f)
{
	uint32_t t, len;

	assert_int_equal(dring_pending(&f->r), 0);
	assert_true(f->r.broken);
	assert_int_equal(f->r.bad, 1);
	assert_false(dring_get(&f->r, &t, &len));
	assert_int_equal(dring_pending(&f->r), 0);
	assert_false(dring_arm(&f->r));
	fix_close(f);
}

static void test_a_run_longer_than_the_used_index_says_breaks_the_ring(void **state)
{
	struct vdev_buf b;
	struct fix f;

	(void)state;
	fix_open(&f, 8, MODERN | IN_ORDER);
	for (uint32_t t = 0; t < 4; t++)
		add(&f, t, true);
	dring_kick(&f.r);
	while (vdev_take(&f.v, &b))
		;
	vdev_give_run(&f.v, b.id, 1, 3, 3);
	breaks(&f);
}

static void bad_ids(uint64_t features)
{
	static const uint32_t ids[] = { 8, 9, 255, 32768, 65535 };
	struct vdev_buf b[8];
	struct fix f;

	for (unsigned i = 0; i < 5; i++) {
		lend_eight(&f, features, b);
		vdev_give_run(&f.v, ids[i], 1, 1, 1);
		breaks(&f);
	}
}

static void test_an_id_out_of_range_breaks_the_ring(void **state)
{
	(void)state;
	each_kind(bad_ids);
}

static void twice(uint64_t features)
{
	struct vdev_buf b[8];
	struct fix f;

	lend_eight(&f, features, b);
	vdev_give(&f.v, &b[3], 1);
	vdev_give(&f.v, &b[3], 1);
	breaks(&f);
	lend_eight(&f, features, b);
	vdev_give(&f.v, &b[3], 1);
	assert_int_equal(dring_pending(&f.r), 1);
	expect_get(&f, 3, 1);
	vdev_give(&f.v, &b[3], 1);
	breaks(&f);
}

static void test_the_same_buffer_twice_breaks_the_ring(void **state)
{
	(void)state;
	each_kind(twice);
}

static void test_the_same_buffer_twice_in_order_breaks_the_ring(void **state)
{
	struct vdev_buf b[8];
	struct fix f;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		lend_eight(&f, kinds[k] | IN_ORDER, b);
		vdev_give_run(&f.v, b[3].id, 1, 4, 4);
		vdev_give_run(&f.v, b[2].id, 1, 1, 1);
		breaks(&f);
	}
}

static void lengths(uint64_t features)
{
	struct vdev_buf b[8];
	struct fix f;

	for (unsigned bad = 0; bad < 2; bad++) {
		lend_eight(&f, features, b);
		vdev_give(&f.v, &b[0], 1000);
		vdev_give(&f.v, &b[4], UINT32_MAX);	/* means nothing: it was for reading */
		vdev_give(&f.v, &b[1], 1001 + bad);
		if (bad) {
			breaks(&f);
			continue;
		}
		assert_int_equal(dring_pending(&f.r), 3);
		fix_close(&f);
	}
}

static void test_a_length_beyond_what_may_be_written_breaks_the_ring(void **state)
{
	(void)state;
	each_kind(lengths);
}

static void test_the_middle_of_a_chain_is_no_buffer(void **state)
{
	struct dring_sg sg[3] = { { BASE, 10 }, { BASE, 20 }, { BASE, 30 } };
	struct vdev_buf b;
	struct fix f;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		fix_open(&f, 8, MODERN | (k ? IN_ORDER : 0));
		assert_int_equal(dring_add(&f.r, sg, 3, 0, 0), 0);
		dring_kick(&f.r);
		assert_true(vdev_take(&f.v, &b));
		vdev_give_run(&f.v, b.at[1], 0, 1, 1);
		breaks(&f);
	}
}

static void test_a_used_index_that_jumps_breaks_the_ring(void **state)
{
	static const uint16_t jumps[] = { 9, 100, 32768, 65535 };
	struct vdev_buf b[8];
	struct fix f;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		lend_eight(&f, MODERN, b);
		f.r.used->idx = jumps[i];
		breaks(&f);
	}
}

static void test_a_packed_ring_with_nothing_lent_takes_nothing_back(void **state)
{
	struct vdev_buf b = { 0 };
	struct fix f;

	(void)state;
	fix_open(&f, 5, MODERN | PACKED);
	vdev_give(&f.v, &b, 0);
	breaks(&f);
}

/* Random writes all over the ring between all calls: whatever comes out, it is a buffer that was lent, once. */
static void garbage(uint32_t size, uint64_t features)
{
	bool lent[64] = { 0 };
	struct fix f;

	fix_open(&f, size, features);
	for (unsigned turn = 0; turn < 100 && !f.r.broken; turn++) {
		uint64_t span = dring_bytes(size, 0);
		uint32_t t = 0, len;

		while (t < size && lent[t])
			t++;
		if (t < size && !dring_add_one(&f.r, addr_of(t), 100, true, t))
			lent[t] = true;
		dring_kick(&f.r);
		for (unsigned n = below(20); n; n--)
			f.mem[below((uint32_t)span)] = (uint8_t)(below(2) ? below(size + 1) : below(256));
		for (unsigned n = dring_pending(&f.r); n; n--) {
			assert_true(dring_get(&f.r, &t, &len));
			assert_true(t < size && lent[t] && len <= 100);
			lent[t] = false;
		}
		dring_arm(&f.r);
		dring_disarm(&f.r);
	}
	fix_close(&f);
}

static void test_random_writes_give_back_only_what_was_lent(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		garbage(1u << below(6), MODERN | (i % 2 ? IN_ORDER : 0) | (i % 3 ? EVENT_IDX : 0));
		garbage(1 + below(40), MODERN | PACKED | (i % 2 ? IN_ORDER : 0) | (i % 3 ? EVENT_IDX : 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffers_go_round_in_split_rings),
		cmocka_unit_test(test_buffers_go_round_in_packed_rings_of_any_size),
		cmocka_unit_test(test_ring_indexes_wrap),
		cmocka_unit_test(test_sizes_that_are_not_legal_are_refused),
		cmocka_unit_test(test_buffers_may_come_back_in_any_order),
		cmocka_unit_test(test_chains_and_indirect_tables_are_what_was_added),
		cmocka_unit_test(test_chains_in_order_stand_in_ring_order),
		cmocka_unit_test(test_a_full_ring_and_a_chain_too_long_are_refused),
		cmocka_unit_test(test_the_device_sees_nothing_before_the_kick_and_all_after_it),
		cmocka_unit_test(test_the_flag_decides_about_kicks),
		cmocka_unit_test(test_the_event_index_decides_about_kicks),
		cmocka_unit_test(test_an_event_index_that_is_garbage_does_no_harm),
		cmocka_unit_test(test_an_armed_packed_ring_asks_for_a_call_at_the_next_buffer_only),
		cmocka_unit_test(test_an_armed_split_ring_asks_for_a_call_at_the_next_buffer_only),
		cmocka_unit_test(test_one_used_entry_gives_a_whole_run_back_in_order),
		cmocka_unit_test(test_a_run_longer_than_the_used_index_says_breaks_the_ring),
		cmocka_unit_test(test_what_is_not_fetched_waits_and_nothing_is_lost),
		cmocka_unit_test(test_an_id_out_of_range_breaks_the_ring),
		cmocka_unit_test(test_the_same_buffer_twice_breaks_the_ring),
		cmocka_unit_test(test_the_same_buffer_twice_in_order_breaks_the_ring),
		cmocka_unit_test(test_a_length_beyond_what_may_be_written_breaks_the_ring),
		cmocka_unit_test(test_the_middle_of_a_chain_is_no_buffer),
		cmocka_unit_test(test_a_used_index_that_jumps_breaks_the_ring),
		cmocka_unit_test(test_a_packed_ring_with_nothing_lent_takes_nothing_back),
		cmocka_unit_test(test_random_writes_give_back_only_what_was_lent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
