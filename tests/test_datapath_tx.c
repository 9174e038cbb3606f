/* SPDX-License-Identifier: BSD-2-Clause */
/* The data path from guest to NIC, going to sleep, and both directions at random, with both kinds of rings. */
#include <sys/eventfd.h>

#include "base/sigbus.h"
#include "dp.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT)

DP_FIXTURE(FEATURES)

/* Packets that the device has not taken. */
static unsigned pending(const struct dp_end *e)
{
	unsigned n = 0;

	for (uint16_t at = e->vq->next_avail; at != e->g.avail_idx; at = guest_forward(&e->g, at, 1))
		n++;
	return n;
}

/* --- sending ------------------------------------------------------------ */

static void packets_leave_through_the_tx_ring_undamaged(void **state)
{
	struct dp_bed *b = *state;
	unsigned len;

	for (len = 18; len <= GUEST_MAX_FRAME; len += 13) {
		assert_true(dp_send(b, 1, 1, len, len));
		dp_tx(b);
		assert_int_equal(b->res.work, 1);
		dp_expect_sent(b, 1, len, len);
		dp_complete(b, 1);
	}
	/* And the guest has its descriptors back. */
	assert_int_equal(guest_pending(&b->tx[1][1].g), 1);
}

static void two_ports_take_turns(void **state)
{
	unsigned first[DP_PORTS] = { 0 };
	struct dp_bed *b = *state;
	uint32_t next = 0;

	b->dp->talkers = DP_PORTS;
	for (unsigned turn = 0; turn < 8; turn++, next += DP_TX_BATCH) {
		unsigned port;

		for (uint32_t i = 0; i < DP_TX_BATCH; i++)
			for (port = 0; port < DP_PORTS; port++)
				assert_true(dp_send(b, port, 0, 1514, next + i));
		dp_tx(b);
		port = b->q.umem[((struct xdp_desc *)b->q.tx.ring)[*b->q.tx.consumer & b->q.tx.mask].addr + 8];
		first[port]++;
		for (uint32_t i = 0; i < 2 * DP_TX_BATCH; i++)
			dp_expect_sent(b, i < DP_TX_BATCH ? port : !port, 1514, next + i % DP_TX_BATCH);
		dp_complete(b, DP_RING);
	}
	/* Whose ring is first changes, too. */
	assert_int_equal(first[0], first[1]);
}

static void who_found_no_room_has_the_next_turn(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	b->q.tx_limit = DP_TX_BATCH;
	b->dp->senders = DP_PORTS;
	for (i = 0; i < 2 * DP_TX_BATCH; i++) {
		assert_true(dp_send(b, 0, 0, 60, i));
		assert_true(dp_send(b, 1, 0, 60, i));
	}
	for (i = 0; i < 4; i++) {
		dp_tx(b);
		for (unsigned k = 0; k < DP_TX_BATCH; k++)
			dp_expect_sent(b, i % 2, 60, i / 2 * DP_TX_BATCH + k);
		dp_complete(b, DP_TX_BATCH);
	}
}

static void without_room_packets_stay_with_the_guest(void **state)
{
	struct dp_bed *b = *state;
	unsigned i;

	b->q.tx_limit = 10;
	for (i = 0; i < 25; i++)
		assert_true(dp_send(b, 0, 0, 60, i));
	dp_tx(b);
	assert_int_equal(pending(&b->tx[0][0]), 15);
	for (i = 0; i < 10; i++)
		dp_expect_sent(b, 0, 60, i);
	dp_tx(b);
	assert_int_equal(b->res.work, 0);
	assert_true(b->res.waiting);
	assert_int_equal(pending(&b->tx[0][0]), 15);
	dp_complete(b, 10);
	dp_tx(b);
	for (i = 10; i < 20; i++)
		dp_expect_sent(b, 0, 60, i);
}

static void a_disabled_ring_is_emptied_and_its_packets_counted(void **state)
{
	struct dp_bed *b = *state;
	const uint8_t *f;

	b->tx[0][1].vq->enabled = 0;
	for (unsigned i = 0; i < 7; i++)
		assert_true(dp_send(b, 0, 1, 60, i));
	dp_tx(b);
	assert_int_equal(b->tx[0][1].vq->stats.errors[VIRTQ_DROP_DISABLED], 7);
	assert_int_equal(guest_pending(&b->tx[0][1].g), 7);
	assert_int_equal(dp_sent(b, &f), -1);
}

static void a_ring_that_was_just_started_keeps_its_packets_until_it_is_enabled(void **state)
{
	struct dp_bed *b = *state;
	struct dp_tx *tx = &dp_port(b, 0)->tx[1];
	const uint8_t *f;

	tx->enable_by_ns = b->now + DP_ENABLE_NS;
	tx->vq->enabled = 0;
	dp_tx(b);
	assert_false(b->res.waiting);
	for (unsigned i = 0; i < 7; i++)
		assert_true(dp_send(b, 0, 1, 60, i));
	dp_tx(b);
	assert_true(b->res.waiting);
	assert_int_equal(guest_pending(&b->tx[0][1].g), 0);
	tx->vq->enabled = 1;
	dp_tx(b);
	for (unsigned i = 0; i < 7; i++)
		dp_expect_sent(b, 0, 60, i);
	/* It was enabled once: now it is really disabled. */
	tx->enable_by_ns = b->now;
	tx->vq->enabled = 0;
	assert_true(dp_send(b, 0, 1, 60, 7));
	dp_tx(b);
	assert_int_equal(tx->vq->stats.errors[VIRTQ_DROP_DISABLED], 1);
	assert_int_equal(dp_sent(b, &f), -1);
}

static void while_the_uplink_is_down_packets_are_counted_and_given_back(void **state)
{
	struct dp_bed *b = *state;
	const uint8_t *f;
	unsigned i;

	b->dp->uplink_up = 0;
	b->q.tx_limit = 0;	/* nor is room needed for that */
	for (i = 0; i < DP_TX_BATCH + 1; i++)
		assert_true(dp_send(b, 1, 0, 60, i));
	dp_tx(b);
	dp_tx(b);
	assert_int_equal(dp_port(b, 1)->drop_uplink_down, DP_TX_BATCH + 1);
	assert_int_equal(dp_port(b, 0)->drop_uplink_down, 0);
	assert_int_equal(guest_pending(&b->tx[1][0].g), DP_TX_BATCH + 1);
	assert_int_equal(dp_sent(b, &f), -1);
	assert_false(b->res.waiting);
}

static void stopped_and_broken_rings_are_left_alone(void **state)
{
	struct dp_bed *b = *state;

	assert_true(dp_send(b, 0, 0, 60, 1));
	b->tx[0][0].vq->broken = VIRTQ_BROKEN_CHAIN;
	dp_tx(b);
	assert_int_equal(b->res.work, 0);
	assert_false(datapath_arm(b->dp));
	b->tx[0][0].vq->broken = 0;
	virtq_stop(b->tx[0][0].vq);
	dp_tx(b);
	assert_int_equal(b->res.work, 0);
	assert_int_equal(guest_pending(&b->tx[0][0].g), 0);
}

static void a_ring_whose_lock_is_busy_is_served_later(void **state)
{
	struct dp_bed *b = *state;

	assert_true(dp_send(b, 0, 0, 60, 1));
	assert_true(dp_send(b, 1, 0, 60, 2));
	assert_true(spin_trylock(&b->tx[0][0].vq->lock));
	dp_tx(b);
	assert_true(b->res.again);
	dp_expect_sent(b, 1, 60, 2);
	spin_unlock(&b->tx[0][0].vq->lock);
	dp_tx(b);
	assert_false(b->res.again);
	dp_expect_sent(b, 0, 60, 1);
}

static void frames_the_kernel_has_not_taken_are_not_forgotten(void **state)
{
	struct dp_bed *b = *state;

	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	dp_tx(b);
	assert_true(b->res.waiting);
	dp_expect_sent(b, 0, 60, 1);
	dp_tx(b);
	assert_false(b->res.waiting);
}

static void what_is_left_of_truncated_memory_does_not_leave(void **state)
{
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[0][0];
	struct gmem_desc desc;
	const uint8_t *f;
	int fd;

	assert_int_equal(sigbus_install(), 0);
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	dp_expect_sent(b, 0, 60, 1);
	for (unsigned i = 0; i < 5; i++)
		assert_true(dp_send(b, 0, 0, 60, i));
	assert_int_equal(gmem_region(e->g.mem, 1, &desc, &fd), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	dp_tx(b);
	assert_int_equal(dp_sent(b, &f), -1);
	assert_int_equal(e->vq->broken, VIRTQ_BROKEN_MEMORY);
	assert_int_equal(e->vq->stats.packets, 1);
	assert_int_equal(guest_pending(&e->g), 0);
	/* The neighbour goes on. */
	assert_true(dp_send(b, 1, 0, 60, 9));
	dp_tx(b);
	dp_expect_sent(b, 1, 60, 9);
}

/* --- learning ------------------------------------------------------------ */

static unsigned requests(struct dp_bed *b, struct learn_request *last)
{
	unsigned n = 0;

	struct learn_request r;

	while (learn_pop(b->dp->learn, &r)) {
		if (r.flow)	/* on which pair it sends is another matter */
			continue;
		*last = r;
		n++;
	}
	return n;
}

static uint64_t guest_mac(unsigned port)
{
	uint8_t f[60];

	dp_frame(f, 60, 0, DP_MAC_GUEST + port, 0);
	return mac_load(f + MAC_LEN);
}

static void a_new_source_is_asked_for_once(void **state)
{
	struct dp_bed *b = *state;
	struct learn_request r;
	uint64_t bell;

	b->dp->learn_fd = eventfd(0, EFD_NONBLOCK);
	for (unsigned i = 0; i < 10; i++)
		assert_true(dp_send(b, 1, 0, 60, i));
	dp_tx(b);
	assert_int_equal(read(b->dp->learn_fd, &bell, sizeof(bell)), sizeof(bell));
	assert_int_equal(bell, 2);	/* and on which pair it sends */
	close(b->dp->learn_fd);
	b->dp->learn_fd = -1;
	assert_int_equal(requests(b, &r), 1);
	assert_int_equal(r.mac, guest_mac(1));
	assert_int_equal(r.port, 1);
	assert_int_equal(r.when_ns, b->now);
}

static void a_source_that_is_known_is_not_asked_for(void **state)
{
	struct dp_bed *b = *state;
	struct learn_request r;

	assert_int_equal(fdb_set(&b->fdb, guest_mac(0), 0, 0), 0);
	assert_int_equal(fdb_set(&b->fdb, guest_mac(1), 0, 0), 0);
	assert_true(dp_send(b, 0, 0, 60, 1));
	assert_true(dp_send(b, 1, 0, 60, 2));	/* the other port's */
	dp_tx(b);
	assert_int_equal(requests(b, &r), 1);
	assert_int_equal(r.port, 1);
}

static void a_port_with_a_given_address_learns_nothing(void **state)
{
	struct dp_bed *b = *state;
	struct learn_request r;

	b->port[0]->policy.nmac = 1;
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	assert_int_equal(requests(b, &r), 0);
}

static void a_source_that_was_refused_is_asked_for_again_after_a_second(void **state)
{
	struct dp_bed *b = *state;
	struct learn_request r;
	unsigned i, n = 0;

	dp_tx(b);
	for (i = 0; i < 30; i++) {
		assert_true(dp_send(b, 0, 0, 60, i));
		dp_tx(b);
		n += requests(b, &r);
		b->now += DP_FORGET_NS / 10;
	}
	assert_int_equal(n, 3);
}

static void a_guest_that_makes_up_sources_is_not_listened_to_all_the_time(void **state)
{
	struct dp_bed *b = *state;
	struct learn_request r;
	uint8_t f[60];
	unsigned i, n = 0;

	for (i = 0; i < 1000; i++) {
		dp_frame(f, 60, DP_MAC_WIRE, DP_MAC_GUEST + 2 + i, i);
		assert_true(dp_send_raw(&b->tx[0][0], f, 60));
		dp_tx(b);
		n += requests(b, &r);
		assert_int_equal(dp_sent(b, &(const uint8_t *){ NULL }), 60);
		dp_complete(b, 1);
		b->now += DP_LEARN_NS / 100;
	}
	assert_int_equal(n, 10);
	/* The neighbour is. */
	assert_true(dp_send(b, 1, 0, 60, 1));
	dp_tx(b);
	assert_int_equal(requests(b, &r), 1);
}

static void a_full_ring_of_requests_loses_none_for_ever(void **state)
{
	struct dp_bed *b = *state;
	struct learn_request r = { .port = 1 };

	while (learn_push(b->dp->learn, &r))
		;
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	assert_int_equal(requests(b, &r), LEARN_RING);
	assert_true(dp_send(b, 0, 0, 60, 2));
	dp_tx(b);
	assert_int_equal(requests(b, &r), 1);
	assert_int_equal(r.mac, guest_mac(0));
}

/* --- before sleeping -------------------------------------------------------- */

/* Any fd will do: nobody reads kicks here. */
static void with_kicks(struct dp_bed *b)
{
	for (unsigned i = 0; i < DP_PORTS; i++)
		for (unsigned k = 0; k < DP_PAIRS; k++)
			b->tx[i][k].vq->kickfd = 0;
}

static void rings_without_packets_are_armed_and_not_polled_any_more(void **state)
{
	struct dp_bed *b = *state;
	struct guest *g = &b->tx[0][1].g;
	uint16_t second;

	with_kicks(b);
	assert_true(dp_send(b, 0, 1, 60, 1));
	dp_tx(b);
	second = g->avail_idx;
	assert_false(datapath_arm(b->dp));
	assert_int_equal(dp_tx_of(b, 0, 1)->armed, 1);
	assert_true(dp_send(b, 0, 1, 60, 2));
	assert_true(guest_kick_wanted(g, second));
	dp_tx(b);
	assert_int_equal(b->res.work, 0);
	/* The kick comes. */
	dp_kick(b, 0, 1);
	dp_tx(b);
	assert_int_equal(b->res.work, 1);
	assert_false(b->tx[0][1].vq->notify_armed);
}

static void a_packet_that_came_before_the_ring_was_armed_is_seen(void **state)
{
	struct dp_bed *b = *state;

	with_kicks(b);
	dp_tx(b);
	assert_true(dp_send(b, 1, 1, 60, 1));
	assert_true(datapath_arm(b->dp));
	assert_int_equal(dp_tx_of(b, 1, 1)->armed, 0);
	assert_int_equal(dp_tx_of(b, 0, 0)->armed, 1);
	dp_tx(b);
	assert_int_equal(b->res.work, 1);
}

static void a_busy_lock_keeps_the_worker_awake(void **state)
{
	struct dp_bed *b = *state;

	with_kicks(b);
	assert_true(spin_trylock(&b->tx[0][0].vq->lock));
	assert_true(datapath_arm(b->dp));
	spin_unlock(&b->tx[0][0].vq->lock);
	assert_false(datapath_arm(b->dp));
}

static void a_ring_without_kicks_is_polled(void **state)
{
	struct dp_bed *b = *state;

	dp_tx(b);
	assert_true(b->res.polled);
	assert_false(datapath_arm(b->dp));
	assert_int_equal(dp_tx_of(b, 0, 0)->armed, 0);
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	assert_int_equal(b->res.work, 1);
	with_kicks(b);
	dp_tx(b);
	assert_false(b->res.polled);
}

static void packets_that_cannot_be_sent_do_not_keep_the_worker_awake(void **state)
{
	struct dp_bed *b = *state;

	with_kicks(b);
	b->q.tx_limit = 0;
	assert_true(dp_send(b, 0, 0, 60, 1));
	dp_tx(b);
	assert_true(b->res.waiting);
	assert_false(datapath_arm(b->dp));
	assert_int_equal(dp_tx_of(b, 0, 0)->armed, 0);
	/* Nor do rings that have nothing to send keep it looking. */
	assert_int_equal(dp_tx_of(b, 1, 0)->armed, 1);
	dp_tx(b);
	assert_true(b->res.waiting);
	b->q.tx_limit = DP_RING;
	dp_tx(b);
	assert_int_equal(b->res.work, 1);
}

static void with_nothing_to_send_a_stuck_nic_is_not_waited_for(void **state)
{
	struct dp_bed *b = *state;

	with_kicks(b);
	b->q.tx_limit = 0;
	dp_tx(b);
	assert_false(datapath_arm(b->dp));
	dp_tx(b);
	assert_false(b->res.waiting || b->res.again || b->res.polled);
}

/* --- both directions at random ------------------------------------------------ */

struct soak {
	struct dp_bed *b;
	uint64_t seed;
	uint32_t number;
	uint32_t last_rx[DP_PORTS][DP_PAIRS], last_tx[DP_PORTS][DP_PAIRS];
	uint64_t taken;
};

static uint32_t pick(struct soak *s, uint32_t n)
{
	return guest_random(&s->seed) % n;
}

static void soak_wire(struct soak *s)
{
	struct dp_bed *b = s->b;
	struct vd_meta bad = { .magic = VD_META_MAGIC, .port = (uint16_t)(DP_PORTS + pick(s, 1000)) };
	uint16_t port = (uint16_t)pick(s, DP_PORTS), pair = (uint16_t)pick(s, DP_PAIRS);
	uint32_t len = 18 + pick(s, GUEST_MAX_FRAME - 18);
	uint8_t f[DP_BUF];

	switch (pick(s, 16)) {
	case 0:
		dp_wire_lost(b, port, 1 + pick(s, 5));
		return;
	case 1:
		dp_frame(f, len, 77, DP_MAC_WIRE, 0);
		dp_wire_raw(b, f, len, pick(s, 2) ? &bad : NULL);
		return;
	default:
		dp_wire(b, port, pair, len, ++s->number);
	}
}

/* What a guest receives is undamaged, and newer than what it had. */
static void soak_take(struct soak *s, unsigned port, unsigned pair, unsigned n)
{
	uint8_t got[DP_BUF], want[DP_BUF];
	uint32_t number;
	int len;

	while (n-- && (len = dp_take(&s->b->rx[port][pair], got)) >= 0) {
		number = dp_number(got);
		assert_true(!number || number > s->last_rx[port][pair]);
		if (number)
			s->last_rx[port][pair] = number;
		dp_frame(want, (uint32_t)len, number ? port : 0xffff, DP_MAC_WIRE, number);
		assert_memory_equal(got, want, (size_t)len);
		s->taken++;
	}
}

static void soak_kernel(struct soak *s, unsigned n)
{
	uint8_t want[DP_BUF];
	const uint8_t *f;
	unsigned port, pair;
	uint32_t number;
	int len;

	while (n-- && s->b->ndone < DP_RING && (len = dp_sent(s->b, &f)) >= 0) {
		number = dp_number(f);
		port = number & 1;
		pair = number >> 1 & 1;
		assert_true(number > s->last_tx[port][pair]);
		s->last_tx[port][pair] = number;
		dp_frame(want, (uint32_t)len, DP_MAC_WIRE, DP_MAC_GUEST + port, number);
		assert_memory_equal(f, want, (size_t)len);
	}
}

/* What the worker does when a kick comes. */
static void soak_kick(struct soak *s, const struct virtq *vq)
{
	for (unsigned i = 0; i < DP_PORTS * DP_PAIRS; i++)
		if (dp_tx_of(s->b, i / DP_PAIRS, i % DP_PAIRS)->vq == vq)
			dp_kick(s->b, i / DP_PAIRS, i % DP_PAIRS);
}

static void soak_send(struct soak *s, unsigned port, unsigned pair)
{
	uint32_t len = 18 + pick(s, GUEST_MAX_FRAME);	/* some are too long */

	s->number = (s->number | 3) + 1 + port + 2 * pair;
	dp_send(s->b, port, pair, len, s->number);
	soak_kick(s, s->b->tx[port][pair].vq);
}

/* A ring stops, and goes on later where it was. */
static void soak_flip(struct soak *s, struct dp_end *e)
{
	switch (pick(s, 8)) {
	case 0: case 1: case 2: case 3:
		e->vq->enabled = pick(s, 4) > 0;
		return;
	case 4:
		e->g.cfg.base = virtq_stop(e->vq);
		return;
	default:
		if (e->vq->started)
			return;
		assert_int_equal(virtq_start(e->vq, &e->g.cfg), 0);
	}
}

static void soak_pass(struct soak *s)
{
	struct dp_bed *b = s->b;
	struct virtq *vq = pick(s, 2) ? b->rx[pick(s, DP_PORTS)][0].vq : b->tx[pick(s, DP_PORTS)][0].vq;
	bool locked = pick(s, 16) == 0 && spin_trylock(&vq->lock);

	b->now += pick(s, 1000) ? pick(s, 50000) : pick(s, 200 * DP_MS);
	if (pick(s, 2))
		dp_rx(b);
	else
		dp_tx(b);
	if (pick(s, 64) == 0)
		datapath_arm(b->dp);
	if (locked)
		spin_unlock(&vq->lock);
}

/* May overtake frames that wait, so it says number 0. */
static void soak_broadcast(struct soak *s)
{
	struct dp_bed *b = s->b;
	uint64_t before = 0, after = 0;
	uint8_t f[200];

	for (unsigned i = 0; i < DP_PORTS * DP_PAIRS; i++)
		before += b->rx[i / DP_PAIRS][i % DP_PAIRS].vq->stats.packets;
	dp_frame(f, sizeof(f), 0xffff, DP_MAC_WIRE, 0);
	b->mcast += local_from_wire(b->dp, f, sizeof(f), b->now);
	for (unsigned i = 0; i < DP_PORTS * DP_PAIRS; i++)
		after += b->rx[i / DP_PAIRS][i % DP_PAIRS].vq->stats.packets;
	assert_in_range(after - before, 0, DP_PORTS);
}

static void soak_step(struct soak *s)
{
	struct dp_bed *b = s->b;
	unsigned port = pick(s, DP_PORTS), pair = pick(s, DP_PAIRS);

	switch (pick(s, 12)) {
	case 0: case 1: case 2:
		soak_wire(s);
		break;
	case 3: case 4:
		soak_send(s, port, pair);
		break;
	case 5:
		dp_offer(&b->rx[port][pair], pick(s, 20));
		break;
	case 6:
		soak_take(s, port, pair, pick(s, 20));
		break;
	case 7:
		soak_kernel(s, pick(s, 20));
		dp_complete(b, pick(s, 20));
		break;
	case 8:
		if (pick(s, 200) == 0)
			soak_flip(s, pick(s, 2) ? &b->rx[port][pair] : &b->tx[port][pair]);
		else if (pick(s, 500) == 0)
			b->dp->uplink_up = pick(s, 4) > 0;
		else if (pick(s, 10) == 0)
			soak_broadcast(s);
		break;
	default:
		soak_pass(s);
	}
}

static void whatever_happens_every_packet_is_delivered_or_counted(void **state)
{
	struct soak s = { .b = *state, .seed = 7 };
	struct dp_bed *b = *state;
	uint64_t lost = 0, accounted = 0;
	unsigned i, port, pair;

	with_kicks(b);
	for (i = 0; i < 200000; i++) {
		soak_step(&s);
		if (i % 500 == 0)
			dp_check(b);
	}
	/* Let it come to rest: what waits is too old, what is missing is lost. */
	for (i = 0; i < 10; i++) {
		soak_kernel(&s, DP_RING);
		dp_complete(b, DP_RING);
		b->now += 2 * DP_HOLD_NS;
		dp_rx(b);
	}
	for (port = 0; port < DP_PORTS; port++) {
		struct dp_port *d = dp_port(b, port);

		assert_int_equal(d->held, 0);
		assert_int_equal(b->flow[port].consumed, b->flow[port].seq);
		lost += d->lost;
		for (pair = 0; pair < DP_PAIRS; pair++) {
			soak_take(&s, port, pair, DP_QSIZE);
			accounted += b->rx[port][pair].vq->stats.packets;
			assert_int_equal(b->rx[port][pair].vq->broken, 0);
			assert_int_equal(b->tx[port][pair].vq->broken, 0);
		}
	}
	assert_false(datapath_missing(b->dp));
	assert_int_equal(lost, b->never);
	assert_int_equal(accounted, s.taken);
	assert_true(s.taken > 10000 && b->sent > 5000 && b->dp->drop_stray && lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(packets_leave_through_the_tx_ring_undamaged),
		DP_BOTH(two_ports_take_turns),
		DP_BOTH(who_found_no_room_has_the_next_turn),
		DP_BOTH(without_room_packets_stay_with_the_guest),
		DP_BOTH(a_disabled_ring_is_emptied_and_its_packets_counted),
		DP_BOTH(a_ring_that_was_just_started_keeps_its_packets_until_it_is_enabled),
		DP_BOTH(while_the_uplink_is_down_packets_are_counted_and_given_back),
		DP_BOTH(stopped_and_broken_rings_are_left_alone),
		DP_BOTH(a_ring_whose_lock_is_busy_is_served_later),
		DP_BOTH(frames_the_kernel_has_not_taken_are_not_forgotten),
		DP_BOTH(what_is_left_of_truncated_memory_does_not_leave),
		DP_BOTH(a_new_source_is_asked_for_once),
		DP_BOTH(a_source_that_is_known_is_not_asked_for),
		DP_BOTH(a_port_with_a_given_address_learns_nothing),
		DP_BOTH(a_source_that_was_refused_is_asked_for_again_after_a_second),
		DP_BOTH(a_guest_that_makes_up_sources_is_not_listened_to_all_the_time),
		DP_BOTH(a_full_ring_of_requests_loses_none_for_ever),
		DP_BOTH(rings_without_packets_are_armed_and_not_polled_any_more),
		DP_BOTH(a_packet_that_came_before_the_ring_was_armed_is_seen),
		DP_BOTH(a_busy_lock_keeps_the_worker_awake),
		DP_BOTH(a_ring_without_kicks_is_polled),
		DP_BOTH(packets_that_cannot_be_sent_do_not_keep_the_worker_awake),
		DP_BOTH(with_nothing_to_send_a_stuck_nic_is_not_waited_for),
		DP_BOTH(whatever_happens_every_packet_is_delivered_or_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
