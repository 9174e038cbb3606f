/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kicks and calls: when a guest is called, that no call ever blocks, and that
 * no kick is lost between arming and sleeping.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "guest_checks.h"

/* Returns @n tx buffers in one batch. Return: whether the guest wants a call. */
static bool complete(struct guest *g, unsigned n)
{
	if (g->next_desc + n > g->size)
		guest_reset(g);
	for (unsigned i = 0; i < n; i++)
		guest_offer_one(g, 72);
	guest_expose(g);
	assert_int_equal(turn(g, 0), n);
	return virtq_publish(&g->vq);
}

static uint16_t *used_event(struct guest *g)
{
	return &g->avail->ring[g->size];
}

static uint16_t *avail_event(struct guest *g)
{
	return (uint16_t *)(void *)&g->used->ring[g->size];
}

static void open_event(struct guest *g, uint16_t base)
{
	guest_prepare(g, VIRTQ_TX, 256, GUEST_V1 | GUEST_EVENT, base);
	g->cfg.callfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

static void open_flags(struct guest *g)
{
	guest_prepare(g, VIRTQ_TX, 256, GUEST_V1, 0);
	g->cfg.callfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

static void shut(struct guest *g)
{
	close(g->cfg.callfd);
	guest_close(g);
}

static uint64_t count(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

/* --- when to call -------------------------------------------------------------- */

static void without_event_index_the_guests_flag_decides(void **state)
{
	struct guest g;

	(void)state;
	open_flags(&g);
	assert_true(complete(&g, 1));
	assert_true(complete(&g, 3));
	WRITE_ONCE(g.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	assert_false(complete(&g, 1));
	assert_int_equal(g.vq.stats.calls_suppressed, 1);
	WRITE_ONCE(g.avail->flags, 0xfffe);	/* the other bits mean nothing */
	assert_true(complete(&g, 1));
	shut(&g);
}

static void the_first_batch_always_calls(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned event = 0; event < 65536; event += 255) {
		open_event(&g, 100);
		WRITE_ONCE(*used_event(&g), (uint16_t)event);
		assert_true(complete(&g, 1));
		shut(&g);
	}
}

static void with_event_index_only_the_batch_that_passes_it_calls(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 65530);	/* over the wrap as well */
	assert_true(complete(&g, 1));
	WRITE_ONCE(*used_event(&g), (uint16_t)(65530 + 11));
	assert_false(complete(&g, 5));
	assert_false(complete(&g, 5));
	assert_true(complete(&g, 1));		/* entry 11, the twelfth */
	assert_false(complete(&g, 60));
	WRITE_ONCE(*used_event(&g), g.used->idx);
	assert_true(complete(&g, 60));
	shut(&g);
}

static void an_event_index_at_the_extremes_decides_by_distance(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 0);
	assert_true(complete(&g, 1));
	WRITE_ONCE(*used_event(&g), (uint16_t)(g.used->idx - 1));	/* just passed */
	assert_false(complete(&g, 1));
	WRITE_ONCE(*used_event(&g), (uint16_t)(g.used->idx + 32767));	/* far ahead */
	assert_false(complete(&g, 1));
	WRITE_ONCE(*used_event(&g), (uint16_t)(g.used->idx + 1));	/* one ahead of the next */
	assert_false(complete(&g, 1));
	WRITE_ONCE(*used_event(&g), 0xffff);
	assert_false(complete(&g, 1));
	shut(&g);
}

static void the_flag_means_nothing_with_event_index(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 0);
	complete(&g, 1);
	WRITE_ONCE(g.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	WRITE_ONCE(*used_event(&g), g.used->idx);
	assert_true(complete(&g, 1));
	shut(&g);
}

static void nothing_new_asks_for_no_call(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 0);
	assert_false(virtq_publish(&g.vq));
	assert_true(complete(&g, 1));
	WRITE_ONCE(*used_event(&g), g.used->idx);
	assert_false(virtq_publish(&g.vq));
	assert_int_equal(g.vq.stats.calls_suppressed, 0);
	shut(&g);
}

static void dropped_packets_are_published_and_called_as_well(void **state)
{
	struct guest g;

	(void)state;
	open_flags(&g);
	guest_offer_one(&g, 5);
	guest_expose(&g);
	assert_int_equal(turn(&g, 0), 0);
	assert_true(virtq_publish(&g.vq));
	assert_int_equal(guest_pending(&g), 1);
	shut(&g);
}

static void a_ring_without_call_fd_is_never_called(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 16, GUEST_V1);
	assert_false(complete(&g, 1));
	assert_int_equal(guest_pending(&g), 1);
	virtq_call(&g.vq);
	assert_int_equal(g.vq.stats.calls, 0);
	guest_close(&g);
}

/* --- calling ------------------------------------------------------------------- */

static void a_call_adds_one_to_the_eventfd(void **state)
{
	struct guest g;

	(void)state;
	open_flags(&g);
	virtq_call(&g.vq);
	assert_int_equal(count(g.cfg.callfd), 1);
	assert_int_equal(g.vq.stats.calls, 1);
	assert_int_equal(g.vq.call_since_ns, 0);
	shut(&g);
}

/* The count is at its maximum, and O_NONBLOCK is as the front-end last set it. */
static void call_a_full_one(bool blocking)
{
	uint64_t full = UINT64_MAX - 1;
	struct guest g;

	open_flags(&g);
	assert_int_equal(write(g.cfg.callfd, &full, sizeof(full)), sizeof(full));
	if (blocking)
		assert_int_equal(fcntl(g.cfg.callfd, F_SETFL, 0), 0);
	for (unsigned i = 0; i < 100; i++)
		virtq_call(&g.vq);
	assert_int_equal(count(g.cfg.callfd), full);
	virtq_call(&g.vq);
	assert_int_equal(count(g.cfg.callfd), 1);
	shut(&g);
}

static void a_full_call_fd_counts_as_called(void **state)
{
	(void)state;
	call_a_full_one(false);
}

static void a_full_call_fd_that_blocks_does_not_block_us(void **state)
{
	(void)state;
	call_a_full_one(true);
}

static void a_semaphore_eventfd_is_called_like_any_other(void **state)
{
	struct guest g;

	(void)state;
	open_flags(&g);
	close(g.cfg.callfd);
	g.vq.callfd = g.cfg.callfd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
	virtq_call(&g.vq);
	virtq_call(&g.vq);
	assert_int_equal(count(g.cfg.callfd), 1);
	assert_int_equal(count(g.cfg.callfd), 1);
	assert_int_equal(count(g.cfg.callfd), 0);
	shut(&g);
}

/* --- asking for kicks ------------------------------------------------------------- */

static void a_ring_starts_armed(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 77);
	assert_true(g.vq.notify_armed);
	assert_int_equal(*avail_event(&g), 77);
	shut(&g);
	guest_prepare(&g, VIRTQ_TX, 16, GUEST_V1, 0);
	g.used->flags = VRING_USED_F_NO_NOTIFY;	/* left by whoever served it before */
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	assert_int_equal(g.used->flags, 0);
	guest_close(&g);
}

static void flags_left_by_an_earlier_device_are_cleared_with_event_index(void **state)
{
	struct guest g;

	(void)state;
	guest_prepare(&g, VIRTQ_TX, 16, GUEST_V1 | GUEST_EVENT, 0);
	g.used->flags = VRING_USED_F_NO_NOTIFY;
	assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
	assert_int_equal(g.used->flags, 0);
	guest_close(&g);
}

static void arming_says_whether_something_is_there(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned event = 0; event < 2; event++) {
		guest_open_at(&g, VIRTQ_TX, 16, event ? GUEST_V1 | GUEST_EVENT : GUEST_V1, 65535);
		virtq_disarm(&g.vq);
		assert_false(g.vq.notify_armed);
		assert_int_equal(g.used->flags, event ? 0 : VRING_USED_F_NO_NOTIFY);
		assert_false(virtq_arm(&g.vq));
		assert_true(g.vq.notify_armed);
		assert_int_equal(g.used->flags, 0);
		guest_offer_one(&g, 72);
		guest_expose(&g);
		assert_true(virtq_arm(&g.vq));
		assert_int_equal(turn(&g, 0), 1);
		assert_false(virtq_arm(&g.vq));
		if (event)
			assert_int_equal(*avail_event(&g), 0);
		guest_close(&g);
	}
}

/* Some drivers look at the event index only: it stays behind, so that one kick comes and then none. */
static void disarming_with_event_index_leaves_the_event_behind(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 10);
	virtq_disarm(&g.vq);
	complete(&g, 5);
	assert_int_equal(*avail_event(&g), 10);
	assert_false(vring_need_event(*avail_event(&g), 16, 15));
	shut(&g);
}

/*
 * The guest publishes one buffer at a time, kicks when it is asked to, and waits until it came back.
 * The device arms, and sleeps on the kick fd when there is nothing. A kick lost once stops both for ever:
 * the poll's limit is only there to end such a test.
 */
struct player {
	struct guest *g;
	int kick;
	uint32_t rounds;
};

static void *play_guest(void *arg)
{
	struct player *p = arg;
	struct guest *g = p->g;
	uint64_t seed = 7, one = 1;

	for (uint32_t i = 0; i < p->rounds; i++) {
		uint16_t old = g->avail_idx;
		bool kick;

		for (unsigned spin = guest_random(&seed) % 64; spin; spin--)
			cpu_relax();
		guest_avail(g, 0);
		guest_expose(g);
		full_barrier();
		if (g->cfg.features & GUEST_EVENT)
			kick = vring_need_event(READ_ONCE(*avail_event(g)), g->avail_idx, old);
		else
			kick = !(READ_ONCE(g->used->flags) & VRING_USED_F_NO_NOTIFY);
		if (kick && write(p->kick, &one, sizeof(one)) != (ssize_t)sizeof(one))
			return p;
		while (!guest_pending(g))
			sched_yield();
		g->used_idx++;
	}
	return NULL;
}

static void no_kick_is_lost(uint64_t features)
{
	struct player p = { .kick = eventfd(0, EFD_NONBLOCK), .rounds = 70000 };
	struct pollfd pfd = { .fd = p.kick, .events = POLLIN };
	uint32_t taken = 0, slept = 0;
	bool lost = false;
	pthread_t thread;
	struct guest g;
	void *failed;

	guest_open_at(&g, VIRTQ_TX, 2, features, 65000);
	guest_desc(&g, 0, GUEST_DATA, 72, 0, 0);
	p.g = &g;
	assert_int_equal(pthread_create(&thread, NULL, play_guest, &p), 0);
	while (taken < p.rounds) {
		unsigned n = virtq_tx_get(&g.vq, &batch, 64);

		virtq_tx_put(&g.vq, &batch, n);
		virtq_publish(&g.vq);
		taken += n;
		if (n || taken == p.rounds)
			continue;
		if (!virtq_arm(&g.vq)) {
			slept++;
			/* Never a second time: whoever is late by that much lost a kick. */
			if (!lost && poll(&pfd, 1, 20000) != 1)
				lost = true;
			count(p.kick);
		}
		virtq_disarm(&g.vq);
	}
	pthread_join(thread, &failed);
	assert_false(lost);
	assert_null(failed);
	assert_true(slept > 0);
	assert_int_equal(g.vq.stats.packets, p.rounds);
	close(p.kick);
	guest_close(&g);
}

static void no_kick_is_lost_without_event_index(void **state)
{
	(void)state;
	no_kick_is_lost(GUEST_V1);
}

static void no_kick_is_lost_with_event_index(void **state)
{
	(void)state;
	no_kick_is_lost(GUEST_V1 | GUEST_EVENT);
}

/* What the guest writes over our event index is its own loss; the ring still moves when it is looked at. */
static void garbage_in_the_event_index_stops_nothing(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 0);
	for (unsigned i = 0; i < 1000; i++) {
		WRITE_ONCE(*avail_event(&g), (uint16_t)(i * 7919));
		WRITE_ONCE(*used_event(&g), (uint16_t)(i * 104729));
		WRITE_ONCE(g.used->flags, 0xffff);
		complete(&g, 1);
		assert_false(virtq_arm(&g.vq));
		assert_int_equal(*avail_event(&g), g.vq.next_avail);
	}
	assert_int_equal(g.used->idx, 1000);
	shut(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_event_index_the_guests_flag_decides),
		cmocka_unit_test(the_first_batch_always_calls),
		cmocka_unit_test(with_event_index_only_the_batch_that_passes_it_calls),
		cmocka_unit_test(an_event_index_at_the_extremes_decides_by_distance),
		cmocka_unit_test(the_flag_means_nothing_with_event_index),
		cmocka_unit_test(nothing_new_asks_for_no_call),
		cmocka_unit_test(dropped_packets_are_published_and_called_as_well),
		cmocka_unit_test(a_ring_without_call_fd_is_never_called),
		cmocka_unit_test(a_call_adds_one_to_the_eventfd),
		cmocka_unit_test(a_full_call_fd_counts_as_called),
		cmocka_unit_test(a_full_call_fd_that_blocks_does_not_block_us),
		cmocka_unit_test(a_semaphore_eventfd_is_called_like_any_other),
		cmocka_unit_test(a_ring_starts_armed),
		cmocka_unit_test(flags_left_by_an_earlier_device_are_cleared_with_event_index),
		cmocka_unit_test(arming_says_whether_something_is_there),
		cmocka_unit_test(disarming_with_event_index_leaves_the_event_behind),
		cmocka_unit_test(no_kick_is_lost_without_event_index),
		cmocka_unit_test(no_kick_is_lost_with_event_index),
		cmocka_unit_test(garbage_in_the_event_index_stops_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
