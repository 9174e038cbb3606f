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

/* Returns @n tx buffers in one batch, and the guest takes them. Return: whether the guest wants a call. */
static bool complete(struct guest *g, unsigned n)
{
	bool call;

	guest_reset(g);
	for (unsigned i = 0; i < n; i++)
		guest_offer_one(g, 72);
	guest_expose(g);
	assert_int_equal(turn(g, 0), n);
	call = virtq_publish(&g->vq);
	assert_int_equal(guest_pending(g), n);
	for (unsigned i = 0; i < n; i++)
		guest_take(g);
	return call;
}

static void open_event(struct guest *g, uint64_t kind, uint16_t base)
{
	guest_prepare(g, VIRTQ_TX, 256, GUEST_V1 | GUEST_EVENT | kind, base);
	g->cfg.callfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

static void open_flags(struct guest *g, uint64_t kind)
{
	guest_prepare(g, VIRTQ_TX, 256, GUEST_V1 | kind, 0);
	g->cfg.callfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(virtq_start(&g->vq, &g->cfg), 0);
}

/* The place that the driver writes for EVENT_IDX: a split ring's used_event, a packed ring's off_wrap. */
static void set_event(struct guest *g, uint16_t event)
{
	if (g->packed) {
		WRITE_ONCE(g->driver_event->off_wrap, event);
		WRITE_ONCE(g->driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
	} else {
		WRITE_ONCE(g->avail->ring[g->size], event);
	}
}

/* The driver has been asked to kick for the next thing it does, or not at all. */
static bool asks_for_kick(struct guest *g)
{
	return guest_kick_wanted_at(g, g->avail_idx, guest_forward(g, g->avail_idx, 1));
}

static void open_without_call(struct guest *g, bool event, bool packed)
{
	guest_open_at(g, VIRTQ_TX, 16, GUEST_V1 | (event ? GUEST_EVENT : 0) | (packed ? GUEST_PACKED : 0), 65535);
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
	FOR_KINDS(kind) {
		open_flags(&g, kind);
		assert_true(complete(&g, 1));
		assert_true(complete(&g, 3));
		guest_want_call(&g, false);
		assert_false(complete(&g, 1));
		assert_int_equal(g.vq.stats.calls_suppressed, 1);
		if (kind)	/* the other bits mean nothing */
			WRITE_ONCE(g.driver_event->flags, 0xfffc);
		else
			WRITE_ONCE(g.avail->flags, 0xfffe);
		assert_true(complete(&g, 1));
		if (kind)
			WRITE_ONCE(g.driver_event->flags, 0xfffd);
		else
			WRITE_ONCE(g.avail->flags, 0xffff);
		assert_false(complete(&g, 1));
		shut(&g);
	}
}

static void the_first_batch_always_calls(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned event = 0; event < 65536; event += 255) {
			open_event(&g, kind, 100);
			set_event(&g, (uint16_t)event);
			assert_true(complete(&g, 1));
			shut(&g);
		}
}

static void with_event_index_only_the_batch_that_passes_it_calls(void **state)
{
	static const uint16_t bases[] = { 0, 120, 240, 250, 255, 65530 };	/* over the end of the ring as well */
	struct guest g;

	(void)state;
	FOR_KINDS(kind)
		for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
			open_event(&g, kind, bases[i]);
			assert_true(complete(&g, 1));
			guest_call_after(&g, 10);
			assert_false(complete(&g, 5));
			assert_false(complete(&g, 5));
			assert_true(complete(&g, 1));	/* the eleventh */
			assert_false(complete(&g, 60));
			guest_call_after(&g, 0);
			assert_true(complete(&g, 60));
			guest_call_after(&g, 59);
			assert_true(complete(&g, 60));
			guest_call_after(&g, 60);
			assert_false(complete(&g, 60));
			assert_true(complete(&g, 1));
			shut(&g);
		}
}

static void an_event_index_at_the_extremes_decides_by_distance(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 0, 0);
	assert_true(complete(&g, 1));
	set_event(&g, (uint16_t)(g.used->idx - 1));	/* just passed */
	assert_false(complete(&g, 1));
	set_event(&g, (uint16_t)(g.used->idx + 32767));	/* far ahead */
	assert_false(complete(&g, 1));
	set_event(&g, (uint16_t)(g.used->idx + 1));	/* one ahead of the next */
	assert_false(complete(&g, 1));
	set_event(&g, 0xffff);
	assert_false(complete(&g, 1));
	shut(&g);
}

static void the_flag_means_nothing_with_event_index(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 0, 0);
	complete(&g, 1);
	WRITE_ONCE(g.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	guest_call_after(&g, 0);
	assert_true(complete(&g, 1));
	shut(&g);
}

/* 2.8.10: one structure says both, so the flags come first. */
static void a_packed_driver_may_want_all_calls_or_none_with_event_index(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, GUEST_PACKED, 0);
	complete(&g, 1);
	guest_call_after(&g, 0);
	guest_want_call(&g, false);
	assert_false(complete(&g, 1));
	guest_want_call(&g, true);
	assert_true(complete(&g, 1));
	WRITE_ONCE(g.driver_event->flags, 3);	/* reserved: rather one too many */
	assert_true(complete(&g, 1));
	shut(&g);
	/* Asking for one place without having negotiated it: the same. */
	open_flags(&g, GUEST_PACKED);
	complete(&g, 1);
	guest_call_after(&g, 100);
	assert_true(complete(&g, 1));
	shut(&g);
}

static void nothing_new_asks_for_no_call(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		open_event(&g, kind, 0);
		assert_false(virtq_publish(&g.vq));
		assert_true(complete(&g, 1));
		guest_call_after(&g, 0);
		assert_false(virtq_publish(&g.vq));
		assert_int_equal(g.vq.stats.calls_suppressed, 0);
		shut(&g);
	}
}

static void dropped_packets_are_published_and_called_as_well(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		open_flags(&g, kind);
		guest_offer_one(&g, 5);
		guest_expose(&g);
		assert_int_equal(turn(&g, 0), 0);
		assert_true(virtq_publish(&g.vq));
		assert_int_equal(guest_pending(&g), 1);
		shut(&g);
	}
}

static void a_ring_without_call_fd_is_never_called(void **state)
{
	struct guest g;

	(void)state;
	guest_open(&g, VIRTQ_TX, 16, GUEST_V1);
	assert_false(complete(&g, 1));
	virtq_call(&g.vq);
	assert_int_equal(g.vq.stats.calls, 0);
	guest_close(&g);
}

/* --- calling ------------------------------------------------------------------- */

static void a_call_adds_one_to_the_eventfd(void **state)
{
	struct guest g;

	(void)state;
	open_flags(&g, 0);
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

	open_flags(&g, 0);
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
	open_flags(&g, 0);
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
	FOR_KINDS(kind)
		for (unsigned event = 0; event < 2; event++) {
			guest_prepare(&g, VIRTQ_TX, 16, GUEST_V1 | kind | (event ? GUEST_EVENT : 0), 77);
			/* Left by whoever served it before. */
			if (kind)
				g.device_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
			else
				g.used->flags = VRING_USED_F_NO_NOTIFY;
			assert_int_equal(virtq_start(&g.vq, &g.cfg), 0);
			assert_true(g.vq.notify_armed);
			assert_true(asks_for_kick(&g));
			if (!kind)
				assert_int_equal(g.used->flags, 0);
			guest_close(&g);
		}
}

static void arming_says_whether_something_is_there(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		open_without_call(&g, i & 1, i & 2);
		virtq_disarm(&g.vq);
		assert_false(g.vq.notify_armed);
		assert_true(asks_for_kick(&g) == (i == 1));	/* the event stays where it was */
		assert_false(virtq_arm(&g.vq));
		assert_true(g.vq.notify_armed);
		assert_true(asks_for_kick(&g));
		guest_offer_one(&g, 72);
		guest_expose(&g);
		assert_true(virtq_arm(&g.vq));
		assert_int_equal(turn(&g, 0), 1);
		assert_false(virtq_arm(&g.vq));
		assert_true(asks_for_kick(&g));
		guest_close(&g);
	}
}

/* Some drivers look at the event index only: it stays behind, so that one kick comes and then none. */
static void disarming_with_event_index_leaves_the_event_behind(void **state)
{
	struct guest g;

	(void)state;
	open_event(&g, 0, 10);
	virtq_disarm(&g.vq);
	complete(&g, 5);
	assert_int_equal(*guest_avail_event(&g), 10);
	assert_false(asks_for_kick(&g));
	shut(&g);
}

/* What came back and was not sent is still there to take. */
static void arming_finds_packets_that_were_not_taken(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		open_without_call(&g, i & 1, i & 2);
		guest_offer_one(&g, 72);
		guest_offer_one(&g, 72);
		guest_expose(&g);
		assert_int_equal(virtq_tx_get(&g.vq, &batch, 64), 2);
		assert_false(virtq_pending(&g.vq));
		virtq_tx_put(&g.vq, &batch, 1);
		virtq_publish(&g.vq);
		assert_true(virtq_pending(&g.vq));
		assert_true(virtq_arm(&g.vq));
		assert_int_equal(turn(&g, 0), 1);
		assert_false(virtq_arm(&g.vq));
		guest_close(&g);
	}
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

		for (unsigned spin = guest_random(&seed) % 64; spin; spin--)
			cpu_relax();
		if (g->packed)
			guest_raw(g, GUEST_DATA, 72, 0, 0);
		else
			guest_avail(g, 0);
		guest_expose(g);
		if (guest_kick_wanted(g, old) && write(p->kick, &one, sizeof(one)) != (ssize_t)sizeof(one))
			return p;
		while (!guest_pending(g))
			sched_yield();
		guest_take(g);
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
	if (!g.packed)
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
	FOR_KINDS(kind)
		no_kick_is_lost(GUEST_V1 | kind);
}

static void no_kick_is_lost_with_event_index(void **state)
{
	(void)state;
	FOR_KINDS(kind)
		no_kick_is_lost(GUEST_V1 | GUEST_EVENT | kind);
}

/* What the guest writes over our event index is its own loss; the ring still moves when it is looked at. */
static void garbage_in_the_event_index_stops_nothing(void **state)
{
	struct guest g;

	(void)state;
	FOR_KINDS(kind) {
		open_event(&g, kind, 0);
		for (unsigned i = 0; i < 1000; i++) {
			if (kind) {
				WRITE_ONCE(g.device_event->off_wrap, (uint16_t)(i * 7919));
				WRITE_ONCE(g.device_event->flags, (uint16_t)(i * 31));
				WRITE_ONCE(g.driver_event->off_wrap, (uint16_t)(i * 104729));
				WRITE_ONCE(g.driver_event->flags, (uint16_t)(i * 17));
			} else {
				WRITE_ONCE(*guest_avail_event(&g), (uint16_t)(i * 7919));
				WRITE_ONCE(g.used->flags, 0xffff);
				set_event(&g, (uint16_t)(i * 104729));
			}
			complete(&g, 1 + i % 64);
			assert_false(virtq_arm(&g.vq));
			WRITE_ONCE(g.used->flags, kind ? g.used->flags : 0);
			assert_true(asks_for_kick(&g));
		}
		shut(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_event_index_the_guests_flag_decides),
		cmocka_unit_test(the_first_batch_always_calls),
		cmocka_unit_test(with_event_index_only_the_batch_that_passes_it_calls),
		cmocka_unit_test(an_event_index_at_the_extremes_decides_by_distance),
		cmocka_unit_test(the_flag_means_nothing_with_event_index),
		cmocka_unit_test(a_packed_driver_may_want_all_calls_or_none_with_event_index),
		cmocka_unit_test(nothing_new_asks_for_no_call),
		cmocka_unit_test(dropped_packets_are_published_and_called_as_well),
		cmocka_unit_test(a_ring_without_call_fd_is_never_called),
		cmocka_unit_test(a_call_adds_one_to_the_eventfd),
		cmocka_unit_test(a_full_call_fd_counts_as_called),
		cmocka_unit_test(a_full_call_fd_that_blocks_does_not_block_us),
		cmocka_unit_test(a_semaphore_eventfd_is_called_like_any_other),
		cmocka_unit_test(a_ring_starts_armed),
		cmocka_unit_test(arming_says_whether_something_is_there),
		cmocka_unit_test(disarming_with_event_index_leaves_the_event_behind),
		cmocka_unit_test(arming_finds_packets_that_were_not_taken),
		cmocka_unit_test(no_kick_is_lost_without_event_index),
		cmocka_unit_test(no_kick_is_lost_with_event_index),
		cmocka_unit_test(garbage_in_the_event_index_stops_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
