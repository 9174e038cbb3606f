/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker's thread over rings of both kinds: when it sleeps, what wakes it, and that no kick is missed. */
#include <sched.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "bridge/worker.h"
#include "dp.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT)
#define DEADLINE_NS (20 * NSEC_PER_SEC)

static struct dp_bed bed;
static struct worker worker;
static int kick[DP_PORTS][DP_PAIRS];

static void start(enum wait_mode wait)
{
	assert_int_equal(worker_init(&worker, 0, -1, wait), 0);
	assert_int_equal(worker_add(&worker, bed.dp), 0);
	for (unsigned i = 0; i < DP_PORTS; i++)
		for (unsigned k = 0; k < DP_PAIRS; k++) {
			bed.tx[i][k].vq->kickfd = kick[i][k];
			assert_int_equal(worker_kickfd(&worker, dp_tx_of(&bed, i, k), kick[i][k], true), 0);
		}
	assert_int_equal(worker_start(&worker), 0);
}

static int setup_with(void **state, uint64_t features)
{
	dp_open(&bed, features);
	for (unsigned i = 0; i < DP_PORTS * DP_PAIRS; i++)
		kick[i / DP_PAIRS][i % DP_PAIRS] = eventfd(0, EFD_NONBLOCK);
	*state = &bed;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, FEATURES);
}

static int setup_packed(void **state)
{
	return setup_with(state, FEATURES | GUEST_PACKED);
}

static int teardown(void **state)
{
	worker_stop(&worker);
	worker_fini(&worker);
	for (unsigned i = 0; i < DP_PORTS * DP_PAIRS; i++)
		close(kick[i / DP_PAIRS][i % DP_PAIRS]);
	dp_check(*state);
	dp_close(*state);
	return 0;
}

#define wait_until(what) do { \
	const uint64_t end_ = clock_now() + DEADLINE_NS; \
	while (!(what)) { \
		assert_true(clock_now() < end_); \
		sched_yield(); \
	} \
} while (0)

static bool all_armed(void)
{
	for (unsigned i = 0; i < DP_PORTS * DP_PAIRS; i++)
		if (!READ_ONCE(dp_tx_of(&bed, i / DP_PAIRS, i % DP_PAIRS)->armed))
			return false;
	return true;
}

/* As a driver with event indexes does it: no kick unless the device wants one. Return: it was kicked. */
static bool send_and_kick(unsigned port, unsigned pair, uint32_t number)
{
	struct dp_end *e = &bed.tx[port][pair];
	uint16_t old = e->g.avail_idx;
	uint64_t one = 1;

	if (!dp_send(&bed, port, pair, 60, number) || !guest_kick_wanted(&e->g, old))
		return false;
	assert_int_equal(write(kick[port][pair], &one, sizeof(one)), sizeof(one));
	return true;
}

static bool sent(uint32_t *number)
{
	const uint8_t *f;

	if (dp_sent(&bed, &f) < 0)
		return false;
	*number = dp_number(f);
	dp_complete(&bed, 1);
	return true;
}

static void no_kick_is_missed(enum wait_mode wait)
{
	unsigned i, kicks = 0;
	uint32_t number = 0;
	uint64_t seed = 3;

	start(wait);
	for (i = 1; i <= 20000; i++) {
		unsigned port = i % 2, pair = i / 2 % 2;

		/* Around the moment when it goes to sleep, and at any other. */
		if (wait != WAIT_BUSY && i % 8 == 0)
			wait_until(READ_ONCE(dp_tx_of(&bed, port, pair)->armed));
		for (unsigned n = guest_random(&seed) % 300; n; n--)
			cpu_relax();
		kicks += send_and_kick(port, pair, i);
		wait_until(sent(&number));
		assert_int_equal(number, i);
	}
	assert_true(wait == WAIT_BUSY ? kicks <= 4 : kicks > 100);
}

static void an_adaptive_worker_misses_no_kick(void **state)
{
	(void)state;
	no_kick_is_missed(WAIT_ADAPTIVE);
}

static void an_interrupt_worker_misses_no_kick(void **state)
{
	(void)state;
	no_kick_is_missed(WAIT_INTERRUPT);
}

static void a_busy_worker_needs_no_kick(void **state)
{
	(void)state;
	no_kick_is_missed(WAIT_BUSY);
	assert_int_equal(worker.stats.sleeps, 0);
}

static void an_idle_worker_sleeps_until_it_is_woken(void **state)
{
	uint64_t loops, sleeps;

	(void)state;
	start(WAIT_ADAPTIVE);
	wait_until(all_armed() && READ_ONCE(worker.stats.sleeps));
	loops = READ_ONCE(worker.stats.loops);
	sleeps = READ_ONCE(worker.stats.sleeps);
	usleep(30000);		/* a worker that polls does thousands of rounds */
	assert_in_range(READ_ONCE(worker.stats.loops) - loops, 0, 2);
	worker_wake(&worker);
	wait_until(READ_ONCE(worker.stats.sleeps) > sleeps);
}

static void a_frame_of_our_own_reaches_every_port_but_its_own(void **state)
{
	uint8_t frame[60], got[DP_CHUNK];
	int len = -1;

	(void)state;
	dp_offer(&bed.rx[0][0], 40);
	dp_offer(&bed.rx[1][0], 40);
	start(WAIT_ADAPTIVE);
	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	memset(frame + 12, 0x80, 48);
	for (uint8_t i = 0; i < 3 * WORKER_POSTS; i++) {
		frame[59] = i;
		while (!worker_post(&worker, frame, sizeof(frame), 0))
			sched_yield();
		if (i >= 40)
			continue;
		wait_until((len = dp_take(&bed.rx[1][0], got)) >= 0);
		assert_int_equal(len, sizeof(frame));
		assert_memory_equal(got, frame, sizeof(frame));
	}
	wait_until(load_acquire(&worker.post_tail) == worker.post_head);
	dp_expect_none(&bed, 0, 0);
	assert_false(worker_post(&worker, frame, WORKER_POST_LEN + 1, 0));
}

/* A ring as long as can be, disabled, so that its packets cost the worker time and nothing else. */
static void long_ring(struct dp_end *e)
{
	virtq_stop(e->vq);
	e->g.cfg.size = e->g.size = VIRTQ_MAX_SIZE;
	if (e->g.packed)
		guest_prepare_packed(&e->g, 0);
	for (unsigned i = 0; !e->g.packed && i < VIRTQ_MAX_SIZE; i++)
		guest_desc(&e->g, i, dp_buf(0), DP_HDR + 60, 0, 0);
	assert_int_equal(virtq_start(e->vq, &e->g.cfg), 0);
	e->vq->enabled = 0;
}

/* As many packets as it holds. */
static void fill_long_ring(struct dp_end *e)
{
	for (unsigned i = 0; i < VIRTQ_MAX_SIZE; i++) {
		if (e->g.packed)
			guest_raw(&e->g, dp_buf(0), DP_HDR + 60, 0, (uint16_t)i);
		else
			guest_avail(&e->g, (uint16_t)i);
	}
	guest_expose(&e->g);
}

static void empty_long_ring(struct dp_end *e)
{
	wait_until(guest_pending(&e->g) == VIRTQ_MAX_SIZE);
	for (unsigned i = 0; i < VIRTQ_MAX_SIZE; i++)
		guest_take(&e->g);
	e->taken += VIRTQ_MAX_SIZE;
}

static void the_kick_of_a_sleeping_ring_is_seen_while_another_is_busy(void **state)
{
	struct dp_end *e = &bed.tx[0][0];
	const uint64_t end = clock_now() + DEADLINE_NS;
	uint32_t number = 0, n;
	uint64_t one = 1;
	bool in_time = false;

	(void)state;
	long_ring(e);
	start(WAIT_ADAPTIVE);
	/* We may be too slow to see it, but not every time. */
	for (n = 1; clock_now() < end && !in_time; n++) {
		wait_until(all_armed());
		fill_long_ring(e);
		assert_int_equal(write(kick[0][0], &one, sizeof(one)), sizeof(one));
		wait_until(guest_pending(&e->g));
		assert_true(send_and_kick(1, 1, n));
		wait_until(sent(&number));
		assert_int_equal(number, n);
		in_time = guest_pending(&e->g) < VIRTQ_MAX_SIZE / 2;
		empty_long_ring(e);
	}
	assert_true(in_time);
}

static void a_ring_is_not_left_with_packets_because_those_before_were_bad(void **state)
{
	struct dp_end *e = &bed.tx[0][0];
	uint8_t f[4] = { 0 };

	(void)state;
	for (unsigned i = 0; i < DP_QSIZE; i++)
		assert_true(dp_send_raw(e, f, sizeof(f)));
	start(WAIT_ADAPTIVE);	/* no kick will come */
	wait_until(guest_pending(&e->g) == DP_QSIZE);
	worker_stop(&worker);
	assert_int_equal(e->vq->stats.errors[VIRTQ_DROP_SHORT], DP_QSIZE);
}

static void a_nic_that_takes_nothing_lets_the_worker_sleep(void **state)
{
	uint64_t loops, sleeps;
	uint32_t number = 0;

	(void)state;
	bed.q.tx_limit = 0;
	start(WAIT_ADAPTIVE);
	wait_until(all_armed());
	send_and_kick(0, 0, 5);
	wait_until(!READ_ONCE(dp_tx_of(&bed, 0, 0)->armed));
	sleeps = READ_ONCE(worker.stats.sleeps);
	loops = READ_ONCE(worker.stats.loops);
	wait_until(READ_ONCE(worker.stats.sleeps) > sleeps + 10);
	assert_in_range(READ_ONCE(worker.stats.loops) - loops, 1, 2 * (READ_ONCE(worker.stats.sleeps) - sleeps));
	WRITE_ONCE(bed.q.tx_limit, DP_RING);
	wait_until(sent(&number));
	assert_int_equal(number, 5);
}

static void frames_lost_while_it_slept_are_found_once_it_is_woken(void **state)
{
	(void)state;
	start(WAIT_ADAPTIVE);
	wait_until(all_armed());
	WRITE_ONCE(bed.flow[1].seq, DP_SHARE);
	WRITE_ONCE(bed.flow[VD_MAX_PORTS].seq, DP_SHARE);
	bed.never += DP_SHARE;
	worker_wake(&worker);
	wait_until(READ_ONCE(bed.flow[1].consumed) == DP_SHARE);
	assert_int_equal(READ_ONCE(dp_port(&bed, 1)->lost), DP_SHARE);
}

static void a_ring_that_loses_its_kick_fd_is_polled(void **state)
{
	struct virtq *vq = bed.tx[1][0].vq;
	uint32_t number = 0;

	(void)state;
	start(WAIT_INTERRUPT);
	wait_until(all_armed());
	spin_lock(&vq->lock);
	vq->kickfd = -1;
	WRITE_ONCE(dp_tx_of(&bed, 1, 0)->armed, 0);
	spin_unlock(&vq->lock);
	assert_int_equal(worker_kickfd(&worker, NULL, kick[1][0], false), 0);
	worker_wake(&worker);
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(dp_send(&bed, 1, 0, 60, i));
		wait_until(sent(&number));
		assert_int_equal(number, i);
	}
}

/* --- parked ------------------------------------------------------------------ */

static void park(void)
{
	worker_pause(&worker);
	while (!worker_parked(&worker, 1000000))
		;
}

static void a_parked_worker_does_nothing_until_it_is_let_go(void **state)
{
	uint32_t number = 0;

	(void)state;
	start(bed.tx[0][0].g.packed ? WAIT_BUSY : WAIT_ADAPTIVE);
	for (uint32_t i = 1; i <= 50; i++) {
		uint64_t loops;

		park();
		loops = READ_ONCE(worker.stats.loops);
		send_and_kick(0, 0, i);
		worker_wake(&worker);
		for (unsigned n = 0; n < 20; n++)
			sched_yield();
		assert_int_equal(READ_ONCE(worker.stats.loops), loops);
		assert_false(sent(&number));
		worker_unpark(&worker);
		wait_until(sent(&number));
		assert_int_equal(number, i);
	}
	/* One that does not run is parked. */
	worker_stop(&worker);
	worker_pause(&worker);
	assert_true(worker_parked(&worker, 1));
	worker_unpark(&worker);
}

static void watch(unsigned port, bool add)
{
	for (unsigned k = 0; k < DP_PAIRS; k++)
		assert_int_equal(worker_kickfd(&worker, add ? dp_tx_of(&bed, port, k) : NULL, kick[port][k], add), 0);
}

/* A port leaves and comes back while the other one's packets go on. */
static void ports_come_and_go_while_the_worker_runs(void **state)
{
	uint32_t next = 1, number = 0, other = 0;

	(void)state;
	start(WAIT_ADAPTIVE);
	for (unsigned i = 0; i < 300; i++) {
		const uint8_t *f;

		send_and_kick(0, i & 1, next);
		if (i % 2)
			send_and_kick(1, 0, 1000000 + i);
		if (bed.dp->port[1])
			watch(1, false);
		park();
		if (bed.dp->port[1])
			dp_remove(&bed, 1);
		else
			dp_bring_back(&bed, 1);
		worker_unpark(&worker);
		if (bed.dp->port[1])
			watch(1, true);
		while (number != next) {
			wait_until(dp_sent(&bed, &f) >= 0);
			dp_complete(&bed, 1);
			if (dp_number(f) < 1000000)
				number = dp_number(f);
			else
				other++;
		}
		next++;
	}
	if (!bed.dp->port[1]) {
		park();
		dp_bring_back(&bed, 1);
		worker_unpark(&worker);
		watch(1, true);
	}
	for (; other < 150; other++)	/* what it sent while it was away has waited */
		wait_until(sent(&number));
}

static void a_worker_that_never_started_can_be_taken_down(void **state)
{
	(void)state;
	assert_int_equal(worker_init(&worker, 0, -1, WAIT_ADAPTIVE), 0);
	worker_stop(&worker);
	worker_fini(&worker);
	worker_fini(&worker);
	assert_int_equal(worker_init(&worker, 0, 1 << 9, WAIT_ADAPTIVE), 0);
	assert_true(worker_start(&worker) < 0);	/* there is no such CPU */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(an_adaptive_worker_misses_no_kick),
		DP_BOTH(an_interrupt_worker_misses_no_kick),
		DP_BOTH(a_busy_worker_needs_no_kick),
		DP_BOTH(an_idle_worker_sleeps_until_it_is_woken),
		DP_BOTH(the_kick_of_a_sleeping_ring_is_seen_while_another_is_busy),
		DP_BOTH(a_ring_is_not_left_with_packets_because_those_before_were_bad),
		DP_BOTH(a_frame_of_our_own_reaches_every_port_but_its_own),
		DP_BOTH(a_nic_that_takes_nothing_lets_the_worker_sleep),
		DP_BOTH(frames_lost_while_it_slept_are_found_once_it_is_woken),
		DP_BOTH(a_ring_that_loses_its_kick_fd_is_polled),
		DP_BOTH(a_parked_worker_does_nothing_until_it_is_let_go),
		DP_BOTH(ports_come_and_go_while_the_worker_runs),
		/* No ring is looked at. */
		cmocka_unit_test_setup_teardown(a_worker_that_never_started_can_be_taken_down, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
