/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring that runs goes on in other hands: saved from one virtqueue, restored on
 * another one, over another mapping of the same memory. The guest must not
 * notice, and no byte of its memory may change for it.
 */
#include <errno.h>

#include "guest_packets.h"

#define ALL (GUEST_V1 | GUEST_INDIRECT | GUEST_EVENT | GUEST_MRG)
#define ROUNDS 60

static uint8_t before[2 * GUEST_REGION];

static void remember(const struct guest *g)
{
	for (unsigned i = 0; i < 2; i++)
		memcpy(before + i * GUEST_REGION, g->mem->region[i].host, GUEST_REGION);
}

static void unchanged(const struct guest *g)
{
	for (unsigned i = 0; i < 2; i++)
		assert_memory_equal(before + i * GUEST_REGION, g->mem->region[i].host, GUEST_REGION);
}

/* From here on the guest is served by another virtqueue. What the old one does is of no matter any more. */
static void hand_over(struct guest *g)
{
	struct gmem *old = g->mem;
	struct virtq_saved s;

	virtq_save(&g->vq, &s);
	memset(&g->vq, 0xa5, sizeof(g->vq));
	memset(&g->vq, 0, offsetof(struct virtq, dir));
	remember(g);
	g->mem = guest_memory_again(old);
	gmem_put(old);
	guest_find_ring(g);
	assert_int_equal(virtq_restore(&g->vq, &g->cfg, &s), 0);
	unchanged(g);
}

static void refused(struct guest *g, struct virtq_saved s)
{
	struct virtq vq = { 0 };

	assert_int_equal(virtq_restore(&vq, &g->cfg, &s), -EINVAL);
	assert_int_equal(vq.started, 0);
	unchanged(g);
}

static void packets_go_on_after_every_hand_over(void **state)
{
	static const uint32_t sizes[] = { 1, 4, 64, 256 };

	(void)state;
	FOR_EACH_RING(kind, dir)
		for (unsigned mask = 0; mask < 4; mask++)
			for (unsigned i = 0; i < 4; i++) {
				uint64_t f = kind | GUEST_V1 | GUEST_INDIRECT | (mask & 1 ? GUEST_EVENT : 0) |
					     (mask & 2 ? GUEST_MRG : 0), seed = f + i, packets = 0;
				struct guest g;

				guest_open_at(&g, dir, sizes[i], f, 65500);
				for (unsigned round = 0; round < 12; round++) {
					hand_over(&g);
					packets += dir == VIRTQ_TX ? transmit_round(&g, &seed) : receive_round(&g, &seed);
				}
				assert_int_equal(g.vq.stats.packets, packets);
				assert_int_equal(g.vq.broken, 0);
				guest_close(&g);
			}
}

/* In the middle: packets lie in the ring, some of them were taken and are to be found again. */
static void what_lies_in_the_ring_is_taken_in_order_across_a_hand_over(void **state)
{
	(void)state;
	FOR_KINDS(kind) {
		uint64_t seed = 9;
		struct guest g;

		guest_open_at(&g, VIRTQ_TX, 64, kind | ALL, 65500);
		for (unsigned round = 0; round < ROUNDS; round++) {
			struct sent sent[64];
			unsigned n = 0, done = 0;

			guest_reset(&g);
			while (n < 64 && send_one(&g, &sent[n], &seed))
				n++;
			guest_expose(&g);
			while (done < n) {
				unsigned got = virtq_tx_get(&g.vq, &batch, 7), put = got - guest_random(&seed) % got;

				for (unsigned i = 0; i < put; i++)
					check_sent(i, &sent[done + i]);
				virtq_tx_put(&g.vq, &batch, put);
				virtq_publish(&g.vq);
				for (unsigned i = 0; i < put; i++)
					assert_int_equal(guest_take(&g).id, sent[done + i].head);
				assert_int_equal(guest_pending(&g), 0);
				done += put;
				hand_over(&g);
			}
		}
		guest_close(&g);
	}
}

/* One packet at a time; the guest asks for a call at every third, and gets it there and nowhere else. */
static void calls_and_kicks_go_on_as_they_were_asked_for(void **state)
{
	(void)state;
	FOR_KINDS(kind)
		for (unsigned hand = 0; hand < 2; hand++) {
			struct guest g;

			guest_open_at(&g, VIRTQ_TX, 16, kind | GUEST_V1 | GUEST_EVENT, 65530);
			g.vq.callfd = g.cfg.callfd = 0;
			for (unsigned i = 0; i < ROUNDS; i++) {
				uint16_t old = g.avail_idx;

				if (i % 3 == 0)
					guest_call_after(&g, 2);
				if (i % 2)
					assert_false(virtq_arm(&g.vq));
				else
					virtq_disarm(&g.vq);
				if (hand)
					hand_over(&g);
				assert_int_equal(g.vq.notify_armed, i % 2);
				guest_reset(&g);
				guest_offer_one(&g, 100);
				guest_expose(&g);
				if (i % 2)
					assert_true(guest_kick_wanted(&g, old));
				virtq_tx_put(&g.vq, &batch, virtq_tx_get(&g.vq, &batch, 1));
				assert_int_equal(virtq_publish(&g.vq), i % 3 == 2 || !i);
				guest_take(&g);
			}
			guest_close(&g);
		}
}

static void everything_but_the_memory_goes_with_it(void **state)
{
	(void)state;
	FOR_EACH_RING(kind, dir) {
		struct virtq_saved s, again;
		struct guest g;

		guest_open_at(&g, dir, 16, kind | ALL, 3);
		g.vq.resume = 5000;
		g.vq.gone = 0x123456789abcdef0;
		g.vq.starved = 900;
		g.vq.signalled_valid = true;
		memset(&g.vq.stats, 7, sizeof(g.vq.stats));
		virtq_save(&g.vq, &s);
		hand_over(&g);
		virtq_save(&g.vq, &again);
		assert_memory_equal(&s, &again, sizeof(s));
		assert_int_equal(g.vq.started, 1);
		assert_int_equal(g.vq.enabled, 1);
		assert_int_equal(g.vq.walked, 0);
		g.vq.enabled = 0;
		hand_over(&g);
		assert_int_equal(g.vq.enabled, 0);
		guest_close(&g);
	}
}

/* What was staged on it is never published, by nobody. */
static void a_broken_ring_stays_broken(void **state)
{
	(void)state;
	FOR_KINDS(kind) {
		struct guest g;

		guest_open(&g, VIRTQ_TX, 16, kind | GUEST_V1);
		guest_offer_one(&g, 100);
		if (kind)
			guest_raw(&g, GUEST_DATA, 100, 0, 16);
		else
			guest_avail(&g, 16);
		guest_expose(&g);
		virtq_tx_put(&g.vq, &batch, virtq_tx_get(&g.vq, &batch, 2));
		assert_false(virtq_publish(&g.vq));
		hand_over(&g);
		assert_int_equal(g.vq.broken, VIRTQ_BROKEN_HEAD);
		assert_false(virtq_usable(&g.vq));
		assert_false(virtq_publish(&g.vq));
		assert_int_equal(guest_pending(&g), 0);
		guest_close(&g);
	}
}

static void positions_that_no_ring_has_are_refused(void **state)
{
	(void)state;
	FOR_KINDS(kind) {
		const struct virtq_saved *good;
		struct virtq_saved s, bad;
		struct guest g;

		guest_open_at(&g, VIRTQ_TX, 16, kind | GUEST_V1, 5);
		virtq_save(&g.vq, &s);
		good = &s;
		remember(&g);
		bad = *good, bad.next_used ^= 1, refused(&g, bad);
		bad = *good, bad.published_used ^= 3, refused(&g, bad);
		bad = *good, bad.broken = VIRTQ_ERRORS, refused(&g, bad);
		bad = *good, bad.broken = VIRTQ_DROP_LONG, refused(&g, bad);
		bad = *good, bad.broken = VIRTQ_BROKEN_HEAD, bad.published_used -= 17, refused(&g, bad);
		if (kind) {
			bad = *good, bad.next_avail = 16, refused(&g, bad);
			bad = *good, bad.next_avail = 0x7fff | GUEST_WRAP, refused(&g, bad);
			bad = *good, bad.next_avail ^= 1, refused(&g, bad);
			bad = *good, bad.seen_avail = 16, refused(&g, bad);
			bad = *good, bad.next_used = bad.published_used = bad.next_avail = 16, refused(&g, bad);
			bad = *good, bad.next_avail ^= GUEST_WRAP, refused(&g, bad);
		} else {
			bad = *good, bad.seen_avail += 17, refused(&g, bad);
			bad = *good, bad.next_avail++, refused(&g, bad);
		}
		g.cfg.size = 0;
		refused(&g, *good);
		g.cfg.size = VIRTQ_MAX_SIZE + 1;
		refused(&g, *good);
		g.cfg.size = 16;
		g.cfg.used = (uint8_t *)g.cfg.used + 2;
		refused(&g, *good);
		guest_close(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_go_on_after_every_hand_over),
		cmocka_unit_test(what_lies_in_the_ring_is_taken_in_order_across_a_hand_over),
		cmocka_unit_test(calls_and_kicks_go_on_as_they_were_asked_for),
		cmocka_unit_test(everything_but_the_memory_goes_with_it),
		cmocka_unit_test(a_broken_ring_stays_broken),
		cmocka_unit_test(positions_that_no_ring_has_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
