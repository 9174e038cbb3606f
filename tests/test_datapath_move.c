/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A data path goes on in other hands: saved from one, resumed by another one,
 * over the same AF_XDP rings and a UMEM that is mapped elsewhere. Guests and the
 * program must not notice.
 */
#include <errno.h>
#include <sys/mman.h>

#include "bridge/datapath_move.h"
#include "arrived.h"
#include "local.h"
#include "xdp/afxdp.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT)
#define CHUNK 4096u
#define ROOM (CHUNK - NICQ_DATA_OFFSET)
#define MAX 9018u
#define LEN 200u

static struct dp_bed bed;
static uint8_t frame[MAX], buf[0x10800], want[MAX];

static void begin(uint64_t features)
{
	static const struct port_config ports[3] = { [2] = { .vlan = 10 } };

	dp_open_queue(&bed, CHUNK, MAX);
	for (unsigned i = 0; i < 3; i++)
		dp_open_port(&bed, i, &ports[i], FEATURES | features, MAX);
}

DP_FIXTURE_BY(begin(packed))

/* Until it is told where it stands, it writes there. */
static struct vd_flow nowhere[VD_FLOW_ROW];

/* The NIC queue as another process has it: with rings that are where they were, frames that are not, and the ledger. */
static void move_queue(struct dp_bed *b)
{
	struct nicq old = b->q;
	uint8_t *umem = mmap(NULL, old.umem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	guest_must(umem != MAP_FAILED, "mmap");
	memcpy(umem, old.umem, old.umem_len);
	b->q.umem = b->q.maps[4] = umem;
	b->q.tx_outstanding = 12345;
	memset(b->q.tx_of, 0, sizeof(b->q.tx_of));
	b->q.rx.cached_cons = b->q.rx.cached_prod = b->q.completion.cached_cons = b->q.completion.cached_prod = 99999;
	b->q.tx.cached_cons = b->q.tx.cached_prod = b->q.fill.cached_cons = b->q.fill.cached_prod = 99999;
	guest_must(!frames_init(&b->q.frames, old.frames.total, old.frames.chunk), "frames_init");
	guest_must(!afxdp_resume(&b->q, old.frames.owner, old.frames.tag), "afxdp_resume");
	b->q.fill_target = old.fill_target;
	frames_fini(&old.frames);
	munmap(old.umem, old.umem_len);
}

static struct datapath *fresh(struct dp_bed *b)
{
	struct datapath *dp;

	memset(nowhere, 0, sizeof(nowhere));
	guest_must(!datapath_create(&b->q, nowhere, &b->fdb, NULL, 0, 1, &dp), "datapath_create");
	for (unsigned i = 0; i < DP_MOST && b->port[i]; i++)
		guest_must(!datapath_add_port(dp, b->port[i], 1), "datapath_add_port");
	dp->room = DP_ROOM;
	return dp;
}

static void hand_over(struct dp_bed *b)
{
	struct datapath *old = b->dp;
	struct vd_flow before[VD_FLOW_ROW];
	struct parcel p = { 0 };

	memcpy(before, b->flow, sizeof(before));
	datapath_save(old, &p);
	arrive(&p);
	b->dp = fresh(b);
	b->dp->host_fd = old->host_fd;
	move_queue(b);
	datapath_destroy(old);
	assert_int_equal(datapath_resume(b->dp, b->flow, &p), 0);
	assert_int_equal(parcel_end(&p), 0);
	assert_memory_equal(before, b->flow, sizeof(before));	/* the other one's until it is over */
	assert_int_equal(frames_check(&b->q.frames), 0);
	parcel_free(&p);
}

/* A frame of @len bytes for pair 0 of @port in pieces, from byte @at to @end of it. */
static void wire_part(struct dp_bed *b, unsigned port, uint32_t len, uint32_t number, uint32_t at, uint32_t end)
{
	struct vd_meta m = { .magic = VD_META_MAGIC, .port = (uint16_t)port };

	if (!at) {
		m.seq = b->flow[port].seq++;
		b->flow[VD_MAX_PORTS].seq++;
		b->wired++;
	}
	dp_frame(frame, len, port, DP_MAC_WIRE, number);
	for (; at < end; at += ROOM) {
		uint32_t n = len - at < ROOM ? len - at : ROOM;

		dp_wire_piece(b, frame + at, n, at ? NULL : &m, at + n < len);
	}
}

static void expect_long(struct dp_bed *b, unsigned port, uint32_t len, uint32_t number)
{
	struct virtio_net_hdr_v1 hdr;

	assert_int_equal(dp_take_packet(&b->rx[port][0], buf, &hdr), len);
	dp_frame(want, len, port, DP_MAC_WIRE, number);
	assert_memory_equal(buf, want, len);
}

static void frames_that_wait_for_buffers_arrive_in_order(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 30; i++)
		assert_true(dp_wire(b, i % 2, i / 2 % 2, LEN, i));
	dp_rx(b);
	hand_over(b);
	assert_int_equal(b->dp->held, 30);
	for (uint32_t i = 30; i < 36; i++)	/* behind those that wait */
		assert_true(dp_wire(b, i % 2, i / 2 % 2, LEN, i));
	for (unsigned i = 0; i < 4; i++)
		dp_offer(&b->rx[i % 2][i / 2], 20);
	dp_rx(b);
	for (uint32_t i = 0; i < 36; i++)
		dp_expect(b, i % 2, i / 2 % 2, LEN, i);
	assert_int_equal(b->q.frames.count[FRAME_HELD], 0);
}

static void a_hand_over_after_every_pass_loses_and_repeats_nothing(void **state)
{
	struct dp_bed *b = *state;
	uint32_t in[2][2] = { 0 }, out[2][2] = { 0 }, sent = 0, gone = 0;
	uint64_t seed = 3;

	for (unsigned round = 0; round < 200; round++) {
		for (unsigned n = guest_random(&seed) % 20; n; n--) {
			unsigned port = guest_random(&seed) % 2, pair = guest_random(&seed) % 2;

			if (in[port][pair] - out[port][pair] == 8)
				continue;
			assert_true(dp_wire(b, port, pair, 60 + in[port][pair] % 1000, in[port][pair]));
			in[port][pair]++;
		}
		if (dp_send(b, 0, 0, LEN, sent))
			sent++;
		b->now += DP_MS;
		dp_rx(b);
		dp_tx(b);
		hand_over(b);
		for (unsigned i = 0; i < 4; i++) {
			unsigned port = i % 2, pair = i / 2, n = guest_random(&seed) % 8;

			dp_offer(&b->rx[port][pair], n);
		}
		dp_rx(b);
		for (unsigned i = 0; i < 4; i++)
			for (unsigned port = i % 2, pair = i / 2; guest_pending(&b->rx[port][pair].g); out[port][pair]++)
				dp_expect(b, port, pair, 60 + out[port][pair] % 1000, out[port][pair]);
		for (; b->q.tx_outstanding > b->ndone && gone < sent; gone++)
			dp_expect_sent(b, 0, LEN, gone);
		if (round % 3 == 0)
			dp_complete(b, b->ndone);
		dp_check(b);
	}
	assert_int_equal(gone, sent);
	assert_int_equal(b->dp->port[0]->lost + b->dp->port[1]->lost, 0);
	assert_true(out[0][0] + out[0][1] + out[1][0] + out[1][1] > 1000);
}

static void frames_in_several_pieces_wait_whole(void **state)
{
	struct dp_bed *b = *state;

	wire_part(b, 0, 9000, 1, 0, 9000);
	wire_part(b, 0, 100, 2, 0, 100);
	wire_part(b, 0, ROOM + 1, 3, 0, ROOM + 1);
	wire_part(b, 1, 2 * ROOM, 4, 0, 2 * ROOM);
	dp_rx(b);
	assert_int_equal(b->q.frames.count[FRAME_HELD], 8);
	hand_over(b);
	dp_offer(&b->rx[0][0], 40);
	dp_offer(&b->rx[1][0], 40);
	dp_rx(b);
	expect_long(b, 0, 9000, 1);
	expect_long(b, 0, 100, 2);
	expect_long(b, 0, ROOM + 1, 3);
	expect_long(b, 1, 2 * ROOM, 4);
	assert_int_equal(b->q.frames.count[FRAME_HELD], 0);
}

/* Wherever it is cut: its first piece is with us, the others come to the heir. */
static void a_frame_of_which_pieces_are_still_to_come_is_completed(void **state)
{
	struct dp_bed *b = *state;

	dp_offer(&b->rx[0][0], 60);
	for (uint32_t i = 1; i <= 2; i++) {
		wire_part(b, 0, 9000, i, 0, i * ROOM);
		dp_rx(b);
		assert_int_equal(b->dp->partial.n, i);
		hand_over(b);
		assert_int_equal(b->dp->partial.n, i);
		wire_part(b, 0, 9000, i, i * ROOM, 9000);
		dp_rx(b);
		expect_long(b, 0, 9000, i);
	}
	assert_int_equal(b->q.frames.count[FRAME_HELD], 0);
}

/* Its tag was taken off: it does not begin where the kernel put it. */
static void a_frame_without_its_tag_stays_without_it(void **state)
{
	struct dp_bed *b = *state;
	uint32_t len;

	dp_frame(frame, LEN, 2, DP_MAC_WIRE, 7);
	len = local_tag(frame, LEN, 10);
	assert_true(dp_wire_bytes(b, 2, 0, frame, len));
	dp_rx(b);
	hand_over(b);
	dp_offer(&b->rx[2][0], 1);
	dp_rx(b);
	dp_expect(b, 2, 0, LEN, 7);
}

static void a_frame_waits_no_longer_for_it(void **state)
{
	struct dp_bed *b = *state;

	assert_true(dp_wire(b, 0, 0, LEN, 1));
	dp_rx(b);
	b->now += DP_HOLD_NS - DP_MS;
	hand_over(b);
	dp_rx(b);
	assert_int_equal(b->dp->held, 1);
	b->now += 2 * DP_MS;
	dp_rx(b);
	assert_int_equal(b->dp->held, 0);
	assert_int_equal(b->dp->port[0]->drop_hold, 1);
}

static void losses_before_and_after_are_counted_once(void **state)
{
	struct dp_bed *b = *state;

	dp_offer(&b->rx[0][0], 10);
	dp_wire_lost(b, 0, 3);
	assert_true(dp_wire(b, 0, 0, LEN, 1));
	dp_rx(b);
	assert_int_equal(b->dp->port[0]->lost, 3);
	dp_wire_lost(b, 0, 2);
	hand_over(b);
	assert_true(dp_wire(b, 0, 0, LEN, 2));
	dp_rx(b);
	assert_int_equal(b->dp->port[0]->lost, 5);
	assert_int_equal(b->flow[0].consumed, 7);
	assert_int_equal(b->flow[VD_MAX_PORTS].consumed, 7);
}

/* A snapshot must be old enough, whoever took it. */
static void frames_on_their_way_are_not_taken_for_lost(void **state)
{
	struct dp_bed *b = *state;

	dp_rx(b);
	b->now += DP_RECONCILE_NS;
	b->flow[0].seq++;	/* counted, and not yet in the ring */
	b->flow[VD_MAX_PORTS].seq++;
	dp_rx(b);
	b->now += DP_MS;
	hand_over(b);
	dp_rx(b);
	assert_int_equal(b->dp->port[0]->lost, 0);
	b->now += DP_RECONCILE_NS;
	dp_rx(b);
	assert_int_equal(b->dp->port[0]->lost, 1);	/* by now it is */
	b->never++;
}

static void a_frame_for_the_port_that_was_is_still_told(void **state)
{
	struct dp_bed *b = *state;
	uint64_t stray = b->dp->drop_stray;

	b->flow[0].seq += 5;
	dp_remove(b, 0);
	dp_bring_back(b, 0);
	assert_int_equal(b->dp->port[0]->first, 5);
	hand_over(b);
	b->flow[0].seq = 4;	/* late */
	assert_true(dp_wire(b, 0, 0, LEN, 1));
	dp_rx(b);
	assert_int_equal(b->dp->drop_stray, stray + 1);
}

static void counters_go_on(void **state)
{
	struct dp_bed *b = *state;
	struct dp_port *d = b->dp->port[1];
	struct dp_port before;

	for (unsigned i = 0; i < DP_COUNTS; i++)
		d->count[i] = 100 + i;
	d->lost = 1;
	d->without_meta = 2;
	d->drop_hold = 3;
	d->drop_ring = 4;
	d->drop_mcast = 5;
	d->drop_uplink_down = 6;
	b->dp->drop_stray = 7;
	before = *d;
	hand_over(b);
	d = b->dp->port[1];
	assert_memory_equal(d->count, before.count, sizeof(d->count));
	assert_int_equal(d->lost, 1);
	assert_int_equal(d->without_meta, 2);
	assert_int_equal(d->drop_hold, 3);
	assert_int_equal(d->drop_ring, 4);
	assert_int_equal(d->drop_mcast, 5);
	assert_int_equal(d->drop_uplink_down, 6);
	assert_int_equal(b->dp->drop_stray, 7);
	/* They were made up. */
	memset(d->count, 0, sizeof(d->count));
	d->drop_hold = d->drop_ring = d->drop_uplink_down = b->dp->drop_stray = 0;
}

static void whom_the_wire_has_is_remembered(void **state)
{
	struct dp_bed *b = *state;
	uint64_t when;

	dp_offer(&b->rx[0][0], 1);
	assert_true(dp_wire(b, 0, 0, LEN, 1));
	dp_rx(b);
	when = learn_wire_when(b->dp->wire, local_mac(DP_MAC_WIRE));
	assert_true(when);
	hand_over(b);
	assert_int_equal(learn_wire_when(b->dp->wire, local_mac(DP_MAC_WIRE)), when);
}

static void frames_that_are_being_sent_come_back_to_the_heir(void **state)
{
	struct dp_bed *b = *state;

	for (uint32_t i = 0; i < 6; i++)
		assert_true(dp_send(b, i % 2, 0, LEN, i));
	dp_tx(b);
	assert_int_equal(b->q.tx_outstanding, 6);
	for (unsigned i = 0; i < 2; i++) {
		struct xdp_desc d;

		assert_true(dp_sent_piece(b, &d));
	}
	hand_over(b);
	assert_int_equal(b->q.tx_outstanding, 6);
	assert_int_equal(b->q.tx_of[0], 3);
	assert_int_equal(b->q.tx_of[1], 3);
	for (unsigned i = 0; i < 4; i++) {
		struct xdp_desc d;

		assert_true(dp_sent_piece(b, &d));
	}
	dp_complete(b, 6);
	assert_int_equal(nicq_reap(&b->q), 6);
	assert_int_equal(b->q.tx_outstanding, 0);
	assert_int_equal(b->q.tx_of[0] + b->q.tx_of[1], 0);
	assert_int_equal(b->q.frames.count[FRAME_TX], 0);
}

/* --- what makes no sense ------------------------------------------------------------ */

/* What the data path has become for the purpose is refused. */
static void refused(struct dp_bed *b)
{
	struct datapath *dp = fresh(b);
	struct parcel p = { 0 };

	datapath_save(b->dp, &p);
	assert_int_equal(datapath_resume(dp, b->flow, &p), -EPROTO);
	parcel_free(&p);
	datapath_destroy(dp);
}

/* With @what as @value for once. */
#define REFUSED(b, what, value)                                                                                      \
	do {                                                                                                         \
		__typeof__(what) saved_ = (what);                                                                    \
		(what) = (value);                                                                                    \
		refused(b);                                                                                          \
		(what) = saved_;                                                                                     \
	} while (0)

static void lists_that_make_no_sense_are_refused(void **state)
{
	struct dp_bed *b = *state;
	struct dp_wait *w = &b->dp->port[0]->wait[0], *other = &b->dp->port[1]->wait[1];
	struct dp_frame *f = b->dp->frame;
	uint8_t *owner = b->q.frames.owner;

	for (uint32_t i = 0; i < 4; i++)
		assert_true(dp_wire(b, 0, 0, LEN, i));
	wire_part(b, 0, 9000, 4, 0, 9000);
	assert_true(dp_wire(b, 1, 1, LEN, 1));
	dp_rx(b);
	REFUSED(b, w->count, w->count + 1);
	REFUSED(b, w->count, w->count - 1);
	REFUSED(b, w->count, 0);
	REFUSED(b, w->count, UINT32_MAX);
	REFUSED(b, w->head, f[w->head].next);
	REFUSED(b, w->head, DP_NONE);
	REFUSED(b, w->head, DP_FRAMES);
	REFUSED(b, w->head, other->head);
	REFUSED(b, w->tail, w->head);
	REFUSED(b, w->tail, DP_NONE);
	REFUSED(b, f[w->head].next, w->head);
	REFUSED(b, f[w->head].next, DP_NONE);
	REFUSED(b, f[w->head].next, DP_FRAMES + 7);
	REFUSED(b, f[w->tail].next, w->head);
	REFUSED(b, f[w->tail].next, other->head);
	REFUSED(b, f[w->head].rest, w->head);
	REFUSED(b, f[w->head].rest, w->tail);
	REFUSED(b, f[w->head].rest, DP_FRAMES);
	REFUSED(b, f[f[w->tail].rest].rest, w->tail);
	REFUSED(b, f[w->head].data, b->q.umem);
	REFUSED(b, f[w->head].data, f[w->head].data + CHUNK);
	REFUSED(b, f[w->head].data, f[w->head].data - NICQ_DATA_OFFSET + 8);
	REFUSED(b, f[w->head].len, CHUNK);
	REFUSED(b, b->dp->port[0]->held, 0);
	REFUSED(b, b->dp->held, b->dp->held + 1);
	REFUSED(b, b->dp->held, 0);	/* then no frame is described at all */
	REFUSED(b, owner[w->head], FRAME_FREE);
	REFUSED(b, owner[w->tail], FRAME_LOST);
	REFUSED(b, owner[f[w->tail].rest], FRAME_TX);
	REFUSED(b, other->head, w->head);
}

static void half_a_frame_that_makes_no_sense_is_refused(void **state)
{
	struct dp_bed *b = *state;
	struct dp_frame *f = b->dp->frame;
	uint32_t first;

	assert_true(dp_wire(b, 1, 1, LEN, 1));
	wire_part(b, 0, 9000, 1, 0, 2 * ROOM);
	dp_rx(b);
	first = b->dp->partial.first.frame;
	REFUSED(b, b->dp->partial.n, 1);
	REFUSED(b, b->dp->partial.n, 3);
	REFUSED(b, b->dp->partial.last, first);
	REFUSED(b, b->dp->partial.last, DP_NONE);
	REFUSED(b, b->dp->partial.first.frame, b->dp->partial.last);
	REFUSED(b, b->dp->partial.first.frame, DP_FRAMES);
	REFUSED(b, b->dp->partial.first.frame, b->dp->port[1]->wait[1].head);
	REFUSED(b, f[first].rest, first);
	REFUSED(b, f[first].rest, b->dp->port[1]->wait[1].head);
	dp_offer(&b->rx[0][0], 10);
	wire_part(b, 0, 9000, 1, 2 * ROOM, 9000);
	dp_rx(b);
	expect_long(b, 0, 9000, 1);
}

static void other_ports_are_refused(void **state)
{
	struct dp_bed *b = *state;

	static const struct {
		uint32_t index, pairs;
	} wrong[] = { { 0, 2 }, { 3, 2 }, { VD_MAX_PORTS, 2 }, { UINT32_MAX, 2 }, { 1, 1 }, { 1, 0 } };

	assert_true(dp_wire(b, 0, 0, LEN, 1));
	dp_rx(b);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct datapath *dp = fresh(b);
		struct parcel p = { 0 };

		b->port[1]->index = wrong[i].index;
		b->port[1]->pairs = wrong[i].pairs;
		datapath_save(b->dp, &p);
		b->port[1]->index = 1;
		b->port[1]->pairs = DP_PAIRS;
		assert_int_equal(datapath_resume(dp, b->flow, &p), -EPROTO);
		parcel_free(&p);
		datapath_destroy(dp);
	}
	dp_remove(b, 1);
	refused(b);
	dp_bring_back(b, 1);
}

/* Any byte of it: resumed or refused, but nothing out of bounds, and what was resumed can be worked with. */
static void any_byte_may_be_wrong(void **state)
{
	struct dp_bed *b = *state;
	struct parcel whole = { 0 };
	uint64_t seed = 11;

	for (uint32_t i = 0; i < 5; i++)
		assert_true(dp_wire(b, 0, i % 2, LEN, i));
	wire_part(b, 1, 9000, 1, 0, 9000);
	wire_part(b, 0, 9000, 2, 0, ROOM);
	dp_rx(b);
	datapath_save(b->dp, &whole);
	for (unsigned i = 0; i < 3000; i++) {
		struct parcel p = cut(&whole, whole.len);
		struct datapath *dp = fresh(b);

		p.data[guest_random(&seed) % p.len] ^= (uint8_t)(1u << guest_random(&seed) % 8);
		if (!datapath_resume(dp, b->flow, &p))
			assert_true(dp->held <= DP_FRAMES && dp->nbusy <= dp->pairs);
		parcel_free(&p);
		datapath_destroy(dp);
	}
	for (size_t len = 0; len < whole.len; len += len < 200 || len > whole.len - 1200 ? 1 : 311) {
		struct parcel p = cut(&whole, len);
		struct datapath *dp = fresh(b);

		assert_int_equal(datapath_resume(dp, b->flow, &p), -EPROTO);
		parcel_free(&p);
		datapath_destroy(dp);
	}
	parcel_free(&whole);
	dp_offer(&b->rx[0][0], 10);
	wire_part(b, 0, 9000, 2, ROOM, 9000);
	dp_rx(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(frames_that_wait_for_buffers_arrive_in_order),
		DP_BOTH(a_hand_over_after_every_pass_loses_and_repeats_nothing),
		DP_BOTH(frames_in_several_pieces_wait_whole),
		DP_BOTH(a_frame_of_which_pieces_are_still_to_come_is_completed),
		DP_BOTH(a_frame_without_its_tag_stays_without_it),
		DP_BOTH(a_frame_waits_no_longer_for_it),
		DP_BOTH(losses_before_and_after_are_counted_once),
		DP_BOTH(frames_on_their_way_are_not_taken_for_lost),
		DP_BOTH(a_frame_for_the_port_that_was_is_still_told),
		DP_BOTH(counters_go_on),
		DP_BOTH(whom_the_wire_has_is_remembered),
		DP_BOTH(frames_that_are_being_sent_come_back_to_the_heir),
		DP_BOTH(lists_that_make_no_sense_are_refused),
		DP_BOTH(half_a_frame_that_makes_no_sense_is_refused),
		DP_BOTH(other_ports_are_refused),
		DP_BOTH(any_byte_may_be_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
