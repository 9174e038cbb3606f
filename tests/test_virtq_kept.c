/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packed ring whose device is killed and comes back, told by the front-end to
 * begin anew: it goes on from the position that was kept, wherever the other one
 * ended, and the driver gets every chain back, once and in order.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

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

static void open_kept(struct guest *g, enum virtq_dir dir, uint32_t size, uint64_t features, uint16_t base)
{
	guest_prepare(g, dir, size, features, base);
	memset(kept, 0, sizeof(*kept));
	g->cfg.kept = kept;
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

/* Another process takes the ring over, of which it knows what the front-end says. */
static void begin_at(struct guest *g, uint32_t base)
{
	memset(&g->vq, 0, sizeof(g->vq));
	g->vq.enabled = 1;
	g->cfg.base = base;
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

/* And that knows nothing. */
static void begin_again(struct guest *g)
{
	begin_at(g, NEW);
}

/* One chain of @n descriptors, large enough for a frame. */
static void offer(struct guest *g, unsigned n, uint16_t id)
{
	for (unsigned i = 0; i < n; i++)
		guest_raw(g, GUEST_DATA + 200ull * i, n > 1 ? 60 : 120, guest_dir(g) | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			  i + 1 < n ? 0xfffe : id);
}

/* Takes or delivers @n packets and gives them back, staged only. Received ones have 60, 61, ... bytes. */
static unsigned stage(struct guest *g, unsigned n)
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

static uint32_t staged_len(const struct guest *g, unsigned i)
{
	return g->cfg.dir == TX ? 0 : g->hdr_len + 60 + i;
}

/* Traffic of one batch after the other, every chain back in order. */
static void goes_on(struct guest *g, unsigned rounds, uint64_t *seed)
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

/* --- nothing under way ------------------------------------------------------------------ */

static void a_ring_goes_on_where_it_stood(void **state)
{
	uint64_t seed = 1;

	(void)state;
	FOR_SIZES(size)
		for (unsigned dir = RX; dir <= TX; dir++) {
			struct guest g;

			open_kept(&g, dir, *size, ALL, 0);
			for (unsigned i = 0; i < 50; i++) {
				bool stopped = i % 2;

				goes_on(&g, 1 + i % 3, &seed);
				if (stopped)
					virtq_stop(&g.vq);
				begin_again(&g);
				assert_int_equal(g.vq.next_avail, g.avail_idx);
				/* At the end of two rounds all may be as at the beginning. */
				assert_true(virtq_found_position(&g.vq) || g.avail_idx == GUEST_WRAP);
				assert_false(virtq_is_out_of_step(&g.vq));
				assert_int_equal(g.vq.stats.repeated, 0);
			}
			goes_on(&g, 5, &seed);
			guest_close(&g);
		}
}

static void a_ring_that_waits_with_buffers_goes_on(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned base = 1; base < 40; base++) {
		open_kept(&g, TX, 20, ALL, (uint16_t)(base < 20 ? base : (base - 20) | GUEST_WRAP));
		for (unsigned i = 0; i < 5; i++)
			offer(&g, 4, (uint16_t)i);
		guest_expose(&g);
		begin_again(&g);
		assert_true(virtq_found_position(&g.vq));
		assert_int_equal(stage(&g, 5), 5);
		virtq_publish(&g.vq);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(guest_take(&g).id, i);
		guest_close(&g);
	}
}

/* The driver made its ring anew while nobody was there. */
static void a_new_ring_begins_at_its_beginning(void **state)
{
	static const uint32_t busy[] = { 0, BUSY };
	uint64_t seed = 2;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct guest g;

		open_kept(&g, i & 1, 16, ALL, 0);
		goes_on(&g, i, &seed);
		kept->size |= busy[i / 2 % 2];
		if (i % 3 == 1)
			kept->next = guest_forward(&g, kept->next, 1 + i % 16);
		if (i && kept->published == GUEST_WRAP)
			kept->size &= ~BUSY;
		virtq_stop(&g.vq);
		memset(g.packed, 0, g.size * sizeof(*g.packed));	/* as drivers do */
		guest_prepare_packed(&g, 0);
		offer(&g, 3, 2);
		guest_expose(&g);
		begin_again(&g);
		assert_false(virtq_is_out_of_step(&g.vq));
		if (i)
			assert_false(virtq_found_position(&g.vq));
		if (!virtq_found_position(&g.vq)) {
			assert_int_equal(g.vq.next_avail, GUEST_WRAP);
			stage(&g, 1);
			virtq_publish(&g.vq);
		}
		assert_int_equal(guest_take(&g).id, 2);
		goes_on(&g, 10, &seed);
		guest_close(&g);
	}
}

static void a_position_that_the_front_end_knows_is_what_counts(void **state)
{
	struct guest g;
	uint64_t seed = 3;

	(void)state;
	open_kept(&g, TX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	g.cfg.base = virtq_stop(&g.vq);
	assert_int_equal(kept->published, g.avail_idx);
	kept->published = kept->next = 3;
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	assert_false(virtq_found_position(&g.vq));
	assert_int_equal(g.vq.next_avail, g.avail_idx);
	assert_int_equal(kept->published, g.avail_idx);
	assert_int_equal(kept->next, g.avail_idx);
	assert_int_equal(kept->size, 16);
	goes_on(&g, 3, &seed);
	guest_close(&g);
}

static void the_entry_stays_when_the_ring_stops(void **state)
{
	struct virtq_kept was;
	struct guest g;
	uint64_t seed = 4;

	(void)state;
	open_kept(&g, RX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	was = *kept;
	assert_int_equal(was.size, 16);
	assert_int_equal(was.published, g.avail_idx);
	virtq_stop(&g.vq);
	assert_memory_equal(kept, &was, sizeof(was));
	assert_null(g.vq.kept);
	guest_close(&g);
}

static void a_split_ring_keeps_nothing(void **state)
{
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, GUEST_V1, 7);
	guest_offer_one(&g, 100);
	guest_expose(&g);
	assert_int_equal(stage(&g, 1), 1);
	virtq_publish(&g.vq);
	assert_int_equal(kept->size, 0);
	assert_int_equal(kept->published, 0);
	guest_close(&g);
}

/* --- in the middle of a batch --------------------------------------------------------------- */

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
static void kill_at(struct guest *g, const struct plan *p)
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

/*
 * What the driver has back at once: all that was staged; where it is not known what was, two chains more, which are empty.
 * Return: chains.
 */
static unsigned came_back(struct guest *g, const struct plan *p)
{
	const bool complete = p->when == BEFORE_PUBLISH || p->when == AFTER_PUBLISH;
	const unsigned whole = p->when == IN_A_CHAIN ? p->staged - 1 : p->staged, n = guest_pending(g);
	/* With one chain staged it cannot be told from one that is not. */
	const bool shows = whole > 1 || complete || p->when == AT_THE_END;

	assert_in_range(n, p->staged, complete ? p->staged : p->staged + 2);
	assert_in_range(g->vq.stats.repeated, n - p->staged, complete ? 0 : 2);
	for (unsigned i = 0; i < n; i++) {
		struct vring_used_elem e = guest_take(g);

		assert_int_equal(e.id, i);
		assert_int_equal(e.len, shows && i < whole ? staged_len(g, i) : 0);
	}
	return n;
}

static void killed_and_back(enum virtq_dir dir, uint32_t size, uint16_t base, const struct plan *p)
{
	uint64_t seed = size + base;
	struct guest g;
	unsigned n;

	open_kept(&g, dir, size, ALL, base);
	kill_at(&g, p);
	begin_again(&g);
	assert_false(virtq_is_out_of_step(&g.vq));
	n = came_back(&g, p);
	assert_int_equal(stage(&g, p->n - n), p->n - n);
	virtq_publish(&g.vq);
	for (unsigned i = n; i < p->n; i++) {
		struct vring_used_elem e = guest_take(&g);

		assert_int_equal(e.id, i);
		assert_int_equal(e.len, staged_len(&g, i - n));
	}
	assert_int_equal(g.used_idx, g.avail_idx);
	goes_on(&g, 4, &seed);
	assert_int_equal(kept->size, size);
	guest_close(&g);
}

/* Positions 0 to 2 * size - 1, the first of them that of a new ring. */
static uint16_t position(uint32_t size, unsigned i)
{
	return (uint16_t)(i < size ? i : (i - size) | GUEST_WRAP);
}

static void killed_everywhere(enum virtq_dir dir, uint32_t size, unsigned base)
{
	uint64_t seed = base;

	for (unsigned when = 0; when < MOMENTS; when++)
		for (unsigned longest = 1; longest <= 3; longest++) {
			struct plan p = { .when = when };
			unsigned left = size;

			while (left && p.n < 5) {
				unsigned most = left < longest ? left : longest;

				p.len[p.n] = guest_random(&seed) % most + 1;
				left -= p.len[p.n++];
			}
			for (p.staged = 1; p.staged <= p.n; p.staged++)
				killed_and_back(dir, size, position(size, base), &p);
		}
}

static void a_device_killed_in_a_batch_leaves_a_ring_that_goes_on(void **state)
{
	static const uint32_t small[] = { 1, 2, 3, 5, 7 };

	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++)
		for (unsigned i = 0; i < 5; i++)
			for (unsigned base = 0; base < 2 * small[i]; base++)
				killed_everywhere(dir, small[i], base);
}

/* The driver had its chains back, and offered them again in the next round, before anybody came. */
static void a_driver_that_goes_on_meanwhile_loses_nothing(void **state)
{
	(void)state;
	for (unsigned base = 0; base < 10; base++) {
		const struct plan p = { .n = 3, .len = { 1, 2, 1 }, .staged = 3, .when = AFTER_PUBLISH };
		uint64_t seed = base;
		struct guest g;

		open_kept(&g, TX, 5, ALL, position(5, base));
		kill_at(&g, &p);
		while (guest_pending(&g))
			guest_take(&g);
		for (unsigned i = 0; i < 5; i++)
			offer(&g, 1, (uint16_t)i);
		guest_expose(&g);
		begin_again(&g);
		assert_true(virtq_found_position(&g.vq) || g.vq.next_avail == GUEST_WRAP);
		assert_false(virtq_is_out_of_step(&g.vq));
		assert_int_equal(stage(&g, 5), 5);
		virtq_publish(&g.vq);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(guest_take(&g).id, i);
		goes_on(&g, 4, &seed);
		guest_close(&g);
	}
}

static void what_is_finished_for_another_device_is_logged(void **state)
{
	const struct plan p = { .n = 3, .len = { 2, 1, 2 }, .staged = 2, .when = BETWEEN_CHAINS };
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty *log = NULL;
	struct guest g;

	(void)state;
	assert_true(fd >= 0 && !ftruncate(fd, 0x21000));
	assert_int_equal(dirty_create(fd, 0x21000, 0, &log), 0);
	open_kept(&g, RX, 512, ALL, 254);	/* the third begins a page */
	kill_at(&g, &p);
	g.cfg.log = log;
	g.cfg.log_ring = true;
	begin_again(&g);
	assert_true(virtq_found_position(&g.vq));
	assert_int_equal(log->bits[GUEST_BASE >> 15], 3);
	guest_close(&g);
	dirty_put(log);
}

/* --- a front-end that is wrong ---------------------------------------------------------------- */

/* As goes_on(), with chains of one descriptor each: the ring alone says where it stands. */
static void goes_on_simply(struct guest *g, unsigned chains)
{
	for (unsigned i = 0; i < chains; i++) {
		offer(g, 1, 0);
		guest_expose(g);
		assert_int_equal(stage(g, 1), 1);
		virtq_publish(&g->vq);
		assert_int_equal(guest_take(g).len, staged_len(g, 0));
	}
	assert_int_equal(g->vq.broken, 0);
}

/* The front-end asks where the ring stands. */
static uint32_t tell(struct guest *g)
{
	virtq_forget_kept(&g->vq);
	return virtq_stop(&g->vq);
}

/* It was told, the ring ran on, and the device was killed, up to three rounds later. */
static void a_position_that_was_told_once_is_not_believed(void **state)
{
	(void)state;
	FOR_SIZES(size)
		for (unsigned later = 0; *size < 100 && later <= 3 * *size; later++)
			for (unsigned offered = 0; offered <= *size; offered += *size) {
				struct guest g;
				uint32_t told;

				open_kept(&g, RX, *size, ALL, 0);
				goes_on_simply(&g, later % 7 + *size);
				told = tell(&g);
				begin_at(&g, told);
				assert_false(virtq_found_position(&g.vq));
				goes_on_simply(&g, later);
				told = told == NEW ? told ^ 0x80008000u : told;
				for (unsigned i = 0; i < offered; i++)
					offer(&g, 1, (uint16_t)i);
				guest_expose(&g);
				begin_at(&g, told);
				assert_int_equal(g.vq.next_avail, g.used_idx);
				assert_false(virtq_is_out_of_step(&g.vq));
				assert_int_equal(stage(&g, offered < CHAINS ? offered : CHAINS),
						 offered < CHAINS ? offered : CHAINS);
				assert_int_equal(g.vq.stats.unserved, 0);
				guest_close(&g);
			}
}

/* It was told, and others served the ring until it came back. The old position can be that of a ring that is all offered. */
static void what_was_kept_does_not_count_once_it_was_told(void **state)
{
	(void)state;
	for (unsigned away = 0; away < 33; away++)
		for (unsigned offered = 0; offered <= 16; offered++) {
			struct guest g;
			uint32_t told;

			open_kept(&g, RX, 16, ALL, 5);
			goes_on_simply(&g, 20);
			told = tell(&g);
			g.cfg.kept = NULL;
			begin_at(&g, told);
			goes_on_simply(&g, away);
			for (unsigned i = 0; i < offered; i++)
				offer(&g, 1, (uint16_t)i);
			guest_expose(&g);
			told = virtq_stop(&g.vq);
			g.cfg.kept = kept;
			begin_at(&g, told);
			assert_int_equal(g.vq.next_avail, g.used_idx);
			assert_int_equal(kept->size, 16);
			assert_int_equal(kept->published, g.used_idx);
			guest_close(&g);
		}
}

/* The answer did not arrive. */
static void what_was_told_counts_where_the_front_end_is_wrong(void **state)
{
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, ALL, 5);
	goes_on_simply(&g, 20);
	tell(&g);
	begin_at(&g, 0x80058005u);
	assert_int_equal(g.vq.next_avail, g.used_idx);
	assert_true(virtq_found_position(&g.vq));
	goes_on_simply(&g, 40);
	tell(&g);
	kept->size = 0;
	begin_at(&g, 0x80058005u);
	assert_false(virtq_found_position(&g.vq));
	assert_true(virtq_is_out_of_step(&g.vq));
	guest_close(&g);
}

/* The front-end takes what is available at @at and behind it, as QEMU does. Return: where it ends. */
static uint16_t others_take(struct guest *g, uint16_t at)
{
	for (;;) {
		struct vring_packed_desc *head = guest_at(g, at), *d = head;
		unsigned n = 1;

		if ((head->flags & GUEST_AVAIL_USED) != guest_available(at))
			return at;
		for (; d->flags & VRING_DESC_F_NEXT; n++)
			d = guest_at(g, guest_forward(g, at, n));
		*head = (struct vring_packed_desc){ head->addr, 0, d->id, guest_used(at) };
		at = guest_forward(g, at, n);
	}
}

/* All @n chains come back in their order; the device serves what nobody did. */
static void all_come_back(struct guest *g, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!guest_pending(g)) {
			assert_int_not_equal(stage(g, CHAINS), 0);
			virtq_publish(&g->vq);
		}
		assert_int_equal(guest_take(g).id, i);
	}
	assert_int_equal(g->used_idx, g->avail_idx);
	assert_int_equal(g->vq.next_avail, g->avail_idx);
}

static void what_others_took_ahead_is_stepped_over(void **state)
{
	(void)state;
	for (uint32_t size = 1; size < 8; size++)
		for (unsigned base = 0; base < 2 * size; base++)
			for (unsigned offered = 1; offered <= size; offered++)
				for (unsigned from = 0; from < offered; from++) {
					uint64_t seed = base;
					struct guest g;
					uint16_t at;

					open_kept(&g, TX, size, ALL, position(size, base));
					at = guest_forward(&g, g.avail_idx, from);
					for (unsigned i = 0; i < offered; i++)
						offer(&g, 1, (uint16_t)i);
					guest_expose(&g);
					at = others_take(&g, at);
					assert_int_equal(at, g.avail_idx);
					begin_at(&g, at);
					assert_int_equal(guest_pending(&g), offered);
					assert_int_equal(g.vq.stats.unserved, from);
					assert_int_equal(g.vq.stats.repeated, 0);
					all_come_back(&g, offered);
					goes_on(&g, 4, &seed);
					guest_close(&g);
				}
}

static void chains_that_others_took_ahead_are_stepped_over(void **state)
{
	(void)state;
	for (unsigned base = 0; base < 40; base++)
		for (unsigned from = 0; from < 6; from++)
			for (unsigned unknown = 0; unknown < 2; unknown++) {
				uint64_t seed = base + 100 * from;
				struct guest g;
				uint16_t at;

				open_kept(&g, TX, 20, ALL, position(20, base));
				at = g.avail_idx;
				for (unsigned i = 0; i < 6; i++) {
					offer(&g, guest_random(&seed) % 3 + 1, (uint16_t)i);
					at = i < from ? g.avail_idx : at;
				}
				guest_expose(&g);
				at = others_take(&g, at);
				begin_at(&g, unknown && from ? NEW : at);
				assert_int_equal(g.vq.stats.unserved >= from, 1);
				assert_int_equal(guest_pending(&g), 6);
				all_come_back(&g, 6);
				goes_on(&g, 4, &seed);
				guest_close(&g);
			}
}

/* The device was killed in a batch, and then others took what they found at @from. */
static void killed_and_taken(uint32_t size, unsigned base, const struct plan *p, unsigned from)
{
	uint64_t seed = base;
	struct guest g;
	uint16_t at;

	open_kept(&g, TX, size, ALL, position(size, base));
	at = guest_forward(&g, g.avail_idx, from);
	kill_at(&g, p);
	at = others_take(&g, at);
	begin_at(&g, at);
	assert_false(virtq_is_out_of_step(&g.vq));
	all_come_back(&g, p->n);
	goes_on(&g, 4, &seed);
	guest_close(&g);
}

static void what_others_took_behind_a_batch_is_stepped_over(void **state)
{
	struct plan p = { .len = { 1, 1, 1, 1, 1, 1, 1, 1 } };

	(void)state;
	for (uint32_t size = 1; size < 8; size++)
		for (unsigned base = 0; base < 2 * size; base++)
			for (p.n = 1; p.n <= size; p.n++)
				for (p.staged = 1; p.staged <= p.n; p.staged++)
					for (p.when = 0; p.when < MOMENTS; p.when++)
						for (unsigned from = 0; from < p.n; from++)
							killed_and_taken(size, base, &p, from);
}

/* --- what is in the entry ----------------------------------------------------------------------- */

static void an_entry_that_the_ring_contradicts_is_not_believed(void **state)
{
	uint64_t seed = 5;
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	while ((g.avail_idx & 0x7fff) < 4)
		goes_on(&g, 1, &seed);
	for (unsigned i = 0; i < 32; i++)
		for (unsigned busy = 0; busy < 2; busy++)
			for (unsigned far = 0; far < (busy ? 16u : 1u); far++) {
				uint16_t at = position(16, i);

				*kept = (struct virtq_kept){ 16 | (busy ? BUSY : 0), at, guest_forward(&g, at, far) };
				begin_again(&g);
				if (virtq_found_position(&g.vq))
					assert_int_equal(g.vq.next_avail, g.avail_idx);
				else
					assert_true(virtq_is_out_of_step(&g.vq));
			}
	guest_close(&g);
}

static void an_entry_of_another_ring_is_not_believed(void **state)
{
	static const struct virtq_kept bad[] = {
		{ 0, 0, 0 }, { 8, 3, 3 }, { 15, 3, 3 }, { 17, 3, 3 }, { 16 | BUSY >> 1, 3, 3 }, { UINT32_MAX, 3, 3 },
		{ 16, 16, 3 }, { 16, 3, 16 }, { 16, 0xffff, 3 }, { 16 | BUSY, 3, 0xffff }, { 16 | BUSY, 0x7fff, 3 },
	};
	uint64_t seed = 6;
	struct guest g;

	(void)state;
	open_kept(&g, TX, 16, ALL, 0);
	goes_on(&g, 3, &seed);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		*kept = bad[i];
		begin_again(&g);
		assert_false(virtq_found_position(&g.vq));
		assert_int_equal(g.vq.next_avail, GUEST_WRAP);
		assert_true(virtq_is_out_of_step(&g.vq));
	}
	guest_close(&g);
}

/* Only bounds count: whatever a guest makes of its ring, it is its own. */
static void garbage_in_entry_and_ring_is_looked_at_with_bounds(void **state)
{
	uint64_t seed = 7;
	unsigned found = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		static uint8_t before[GUEST_AVAIL - GUEST_BASE];
		static struct guest g;
		uint32_t size = 1 + guest_random(&seed) % 20;

		if (!i)
			guest_prepare(&g, TX, 20, ALL, 0);
		g.cfg.size = g.size = size;
		g.cfg.kept = kept;
		fill((uint8_t *)g.packed, size * sizeof(*g.packed), guest_random(&seed));
		if (i % 2)
			for (unsigned k = 0; k < size; k++)
				g.packed[k].flags &= guest_random(&seed) % 2 ? GUEST_AVAIL_USED : 1u << 7 | 1;
		*kept = (struct virtq_kept){ size | (i & 4 ? BUSY : 0), (uint16_t)guest_random(&seed) & 0x801f,
					     (uint16_t)guest_random(&seed) & 0x801f };
		memcpy(before, g.packed, sizeof(before));
		if (i & 8)
			begin_again(&g);
		else
			begin_at(&g, (uint32_t)guest_random(&seed) % size | (i & 16 ? GUEST_WRAP : 0));
		assert_true((g.vq.next_avail & 0x7fffu) < size);
		assert_memory_equal(before + size * sizeof(*g.packed), (uint8_t *)g.packed + size * sizeof(*g.packed),
				    sizeof(before) - size * sizeof(*g.packed));
		found += virtq_found_position(&g.vq);
		for (unsigned k = 0; k < 3; k++) {
			stage(&g, CHAINS);
			virtq_publish(&g.vq);
		}
		if (i == 19999)
			guest_close(&g);
	}
	assert_int_not_equal(found, 0);
}

/* --- killed in earnest ---------------------------------------------------------------------------- */

/* A device without end. */
static void __attribute__((noreturn)) serve(const struct guest *parent)
{
	struct guest g = *parent;

	g.mem = guest_memory_again(parent->mem);	/* guest memory is not inherited */
	guest_find_ring(&g);
	begin_again(&g);
	for (;;) {
		stage(&g, 1 + g.vq.stats.packets % CHAINS);
		virtq_publish(&g.vq);
	}
}

/* The driver: chains that are out, by number. */
struct driver {
	struct guest g;
	uint64_t offered, taken, empty;
	unsigned ndesc[64];
	unsigned out;	/* descriptors */
};

static void drive(struct driver *d, bool more, uint64_t *seed)
{
	unsigned n = guest_random(seed) % 3 + 1;

	while (more && d->out + n <= d->g.size) {
		offer(&d->g, n, (uint16_t)(d->offered % d->g.size));
		d->ndesc[d->offered++ % 64] = n;
		d->out += n;
		n = guest_random(seed) % 3 + 1;
	}
	guest_expose(&d->g);
	while (guest_pending(&d->g)) {
		struct vring_used_elem e = guest_take(&d->g);

		assert_int_equal(e.id, d->taken % d->g.size);
		d->out -= d->ndesc[d->taken++ % 64];
		d->empty += d->g.cfg.dir == RX && !e.len;
	}
}

static void a_device_killed_again_and_again_serves_every_chain_once(void **state)
{
	(void)state;
	for (unsigned dir = RX; dir <= TX; dir++) {
		const unsigned kills = 150;
		struct driver d = { 0 };
		uint64_t seed = dir;

		guest_prepare(&d.g, dir, 37, ALL, 0);
		memset(kept, 0, sizeof(*kept));
		d.g.cfg.kept = kept;
		for (unsigned k = 0; k < kills; k++) {
			uint64_t until = d.taken + 20 + guest_random(&seed) % 300;
			pid_t pid = fork();

			if (!pid)
				serve(&d.g);
			assert_true(pid > 0);
			while (d.taken < until)
				drive(&d, true, &seed);
			kill(pid, SIGKILL);
			assert_int_equal(waitpid(pid, NULL, 0), pid);
		}
		begin_again(&d.g);
		for (unsigned i = 0; i < 100 && d.taken < d.offered; i++) {
			stage(&d.g, CHAINS);
			virtq_publish(&d.g.vq);
			drive(&d, false, &seed);
		}
		assert_int_equal(d.taken, d.offered);
		assert_true(d.empty <= 3 * kills);
		guest_close(&d.g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_goes_on_where_it_stood),
		cmocka_unit_test(a_ring_that_waits_with_buffers_goes_on),
		cmocka_unit_test(a_new_ring_begins_at_its_beginning),
		cmocka_unit_test(a_position_that_the_front_end_knows_is_what_counts),
		cmocka_unit_test(the_entry_stays_when_the_ring_stops),
		cmocka_unit_test(a_split_ring_keeps_nothing),
		cmocka_unit_test(a_device_killed_in_a_batch_leaves_a_ring_that_goes_on),
		cmocka_unit_test(a_driver_that_goes_on_meanwhile_loses_nothing),
		cmocka_unit_test(what_is_finished_for_another_device_is_logged),
		cmocka_unit_test(a_position_that_was_told_once_is_not_believed),
		cmocka_unit_test(what_was_kept_does_not_count_once_it_was_told),
		cmocka_unit_test(what_was_told_counts_where_the_front_end_is_wrong),
		cmocka_unit_test(what_others_took_ahead_is_stepped_over),
		cmocka_unit_test(chains_that_others_took_ahead_are_stepped_over),
		cmocka_unit_test(what_others_took_behind_a_batch_is_stepped_over),
		cmocka_unit_test(an_entry_that_the_ring_contradicts_is_not_believed),
		cmocka_unit_test(an_entry_of_another_ring_is_not_believed),
		cmocka_unit_test(garbage_in_entry_and_ring_is_looked_at_with_bounds),
		cmocka_unit_test(a_device_killed_again_and_again_serves_every_chain_once),
	};

	kept = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
