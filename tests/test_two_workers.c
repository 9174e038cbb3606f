/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two workers, each with a NIC queue of its own, that hand packets to the same
 * guests at the same time: a ring is one worker's at a time, and nothing is lost,
 * doubled or out of order for it; with both kinds of rings.
 */
#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "local.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)
#define PACKETS 20000u
#define DEADLINE_NS (60 * NSEC_PER_SEC)

static struct dp_bed bed;
static struct nicq second;
static struct vd_flow second_flow[VD_FLOW_ROW];
static struct datapath *other;
static uint32_t stop;

static const struct port_config plain[DP_MOST];

/* Tx ring j is served by worker j. */
static void begin(uint64_t features)
{
	local_open(&bed, plain, DP_MOST, FEATURES | features);
	guest_must(!nicq_init_memory(&second, DP_RING, DP_FRAMES, DP_CHUNK), "nicq_init_memory");
	second.id = 1;
	guest_must(!datapath_create(&second, second_flow, &bed.fdb, NULL, 0, 2, &other), "datapath_create");
	for (unsigned i = 0; i < DP_MOST; i++) {
		datapath_del_port(bed.dp, bed.port[i]);
		guest_must(!datapath_add_port(bed.dp, bed.port[i], 2), "datapath_add_port");
		guest_must(!datapath_add_port(other, bed.port[i], 2), "datapath_add_port");
	}
	stop = 0;
}

DP_SETUPS(begin(packed))

static int teardown(void **state)
{
	for (unsigned i = 0; i < DP_MOST; i++)
		datapath_del_port(other, bed.port[i]);
	datapath_destroy(other);
	assert_int_equal(frames_check(&second.frames), 0);
	assert_int_equal(frames_check(&bed.q.frames), 0);
	nicq_fini(&second);
	dp_close(*state);
	return 0;
}

static void *work(void *arg)
{
	struct datapath *dp = arg;

	while (!READ_ONCE(stop)) {
		struct dp_result res = { 0 };

		/* Time stands still: a guest that the machine does not let run is not one that takes nothing. */
		datapath_rx(dp, bed.now, &res);
		datapath_tx(dp, bed.now, &res);
		if (!res.work)
			sched_yield();
	}
	return NULL;
}

/* @guests says what was wrong, or NULL: nobody fails while threads run. */
static void run(const char *(*guests)(struct dp_bed *b))
{
	const char *wrong;
	pthread_t t[2];

	assert_int_equal(pthread_create(&t[0], NULL, work, bed.dp), 0);
	assert_int_equal(pthread_create(&t[1], NULL, work, other), 0);
	wrong = guests(&bed);
	WRITE_ONCE(stop, 1);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	if (wrong)
		fail_msg("%s", wrong);
}

static uint64_t both(unsigned port, enum dp_count c)
{
	return bed.dp->port[port]->count[c] + other->port[port]->count[c];
}

/* Each of two guests sends on both of its rings to a third, that has enough buffers in time, or not. */
static const char *four_rings_to_one_guest(struct dp_bed *b)
{
	uint32_t next[2][2] = { { 0 } }, last[2][2] = { { 0 } };
	uint64_t end = clock_now() + DEADLINE_NS, got = 0;
	uint8_t f[DP_BUF];

	while (got < 4 * PACKETS) {
		bool none = true;

		if (clock_now() > end)
			return "not all has come";
		for (unsigned i = 0; i < 4; i++) {
			uint32_t *n = &next[i / 2][i % 2];

			/* The pair is in the number, so that the order of each can be told. */
			if (*n < PACKETS && local_send_pair(b, i / 2, i % 2, 2, 60 + *n % 1000, *n * 2 + i % 2)) {
				++*n;
				none = false;
			}
		}
		for (unsigned k = 0; k < DP_PAIRS; k++) {
			dp_offer(&b->rx[2][k], DP_QSIZE);
			for (int len; (len = dp_take(&b->rx[2][k], f)) >= 0; got++) {
				uint32_t number = dp_number(f), *was = &last[f[8]][number & 1];

				none = false;
				if (f[8] > 1 || len != (int)(60 + number / 2 % 1000) || number / 2 != *was)
					return "a packet is not the next one of its ring";
				++*was;
			}
		}
		if (none)
			sched_yield();
	}
	return NULL;
}

static void rings_of_two_workers_reach_one_guest_in_order(void **state)
{
	(void)state;
	run(four_rings_to_one_guest);
	assert_int_equal(both(0, DP_TO_PORTS) + both(1, DP_TO_PORTS), 4 * PACKETS);
	assert_int_equal(both(2, DP_FROM_PORTS), 4 * PACKETS);
	assert_int_equal(bed.dp->port[2]->drop_hold + other->port[2]->drop_hold, 0);
}

static bool receive(struct dp_bed *b, unsigned port, unsigned pair)
{
	struct dp_end *e = &b->rx[port][pair];
	uint8_t f[DP_BUF];

	dp_offer(e, DP_QSIZE);
	while (dp_take(e, f) >= 0)
		if (!(f[0] & 1) && mac_load(f) != local_mac(DP_MAC_GUEST + port))
			return false;
	return true;
}

/* All to all at once, broadcasts among them, so that each worker wants rings that the other has. */
static const char *a_mesh(struct dp_bed *b)
{
	uint64_t end = clock_now() + DEADLINE_NS, seed = 6;
	uint8_t f[DP_BUF];

	for (uint32_t n = 0; n < 4 * PACKETS; n++) {
		unsigned from = guest_random(&seed) % DP_MOST, pair = guest_random(&seed) % 2;
		unsigned to = (from + 1 + guest_random(&seed) % 3) % DP_MOST;

		local_frame(f, 60, DP_MAC_GUEST + to, from, n);
		if (guest_random(&seed) % 16 == 0)
			memset(f, 0xff, 6);
		while (!dp_send_raw(&b->tx[from][pair], f, 60)) {
			if (clock_now() > end)
				return "a ring is not served any more";
			for (unsigned i = 0; i < DP_MOST * DP_PAIRS; i++)
				receive(b, i / DP_PAIRS, i % DP_PAIRS);
			sched_yield();
		}
		if (n % 8 == 0 && !receive(b, n / 8 % DP_MOST, n / 32 % DP_PAIRS))
			return "a packet for somebody else";
	}
	return NULL;
}

/* The NICs send what they get. */
static void *nics(void *arg)
{
	struct nicq *q[2] = { &bed.q, &second };

	(void)arg;
	while (!READ_ONCE(stop)) {
		struct xdp_desc d;

		for (unsigned i = 0; i < 2; i++)
			while (kernel_tx(q[i], &d))
				kernel_complete(q[i], d.addr);
		sched_yield();
	}
	return NULL;
}

static void everything_in_a_mesh_of_two_workers_is_counted(void **state)
{
	uint64_t to_ports = 0, from_ports = 0, ended = 0;
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, nics, NULL), 0);
	run(a_mesh);
	pthread_join(t, NULL);
	for (unsigned i = 0; i < DP_MOST; i++) {
		to_ports += both(i, DP_TO_PORTS);
		from_ports += both(i, DP_FROM_PORTS);
		ended += dp_ended(&bed, i) + other->port[i]->drop_hold + other->port[i]->drop_ring;
		assert_int_equal(both(i, DP_DROP_SELF) + both(i, DP_DROP_VLAN), 0);
	}
	assert_true(to_ports > PACKETS);
	assert_true(from_ports >= to_ports);
	assert_int_equal(ended, from_ports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(rings_of_two_workers_reach_one_guest_in_order),
		DP_BOTH(everything_in_a_mesh_of_two_workers_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
