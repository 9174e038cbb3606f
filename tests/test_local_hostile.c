/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that changes its packets while they are on their way to others: what
 * arrives begins with what was decided on, whatever the packet says by then; with
 * both kinds of rings.
 */
#include <pthread.h>
#include <sched.h>

#include "local.h"
#include "bridge/forward.h"
#include "bridge/local.h"
#include "offload.h"

#define FEATURES (GUEST_V1 | GUEST_MRG | GUEST_EVENT | GUEST_INDIRECT | VNET_OFFLOADS)
#define MSS 1400u
#define ROUNDS 200
#define MANY 16		/* packets in each */

enum { SENDER, SAME, OTHER, TRUNK };

static const struct port_config ports[DP_MOST] = {
	{ .vlan = 10 }, { .vlan = 10 }, { .vlan = 20 }, { .have_trunk = true, .trunk = { 1 << 10 } },
};
static uint8_t packet[OFFLOAD_MAX], got[OFFLOAD_MAX];

LOCAL_FIXTURE(ports, 4, FEATURES)

static struct {
	struct guest *g;
	uint32_t stop;
	uint64_t at[MANY];	/* where packets are */
} vandal;

/* Where to, mostly: that is what must not change; and all other headers. */
static void *change_headers(void *arg)
{
	uint64_t seed = 17;

	(void)arg;
	while (!READ_ONCE(vandal.stop)) {
		uint32_t v = guest_random(&seed);
		uint64_t at = READ_ONCE(vandal.at[v % MANY]);
		uint8_t *p = guest_ptr(vandal.g, at + DP_HDR), mac[14];

		local_frame(mac, 14, v >> 4 & 4 ? DP_MAC_WIRE : DP_MAC_GUEST + (v >> 4 & 3), v >> 6 & 3, 0);
		if (v & 0x100)
			memset(mac, 0xff, 6);
		switch (v >> 9 & 7) {
		case 0: case 1: case 2: case 3:
			memcpy(p, mac, 6);
			break;
		case 4:
			memcpy(p + 12, v & 0x1000 ? "\x81\x00\x00\x14" : "\x08\x00\x45\x00", 4);
			break;
		default:
			WRITE_ONCE(p[(v >> 12) % 60], (uint8_t)(v >> 20));
		}
		for (unsigned spin = v >> 24 & 63; spin; spin--)
			cpu_relax();
	}
	return NULL;
}

/* Packets for anybody, plain or large, where they will be changed. */
static void post_some(struct dp_bed *b, uint64_t *seed)
{
	struct dp_end *e = &b->tx[SENDER][0];

	for (unsigned i = 0; i < MANY; i++) {
		uint32_t v = guest_random(seed);
		struct offload o = v & 1 ? offload_tcp6(0) : offload_tcp4(0);
		struct virtio_net_hdr_v1 hdr = { 0 };
		uint8_t mac[14];

		o.udp = v & 2;
		o.payload = v & 4 ? 1 + v % 20000 : v % 1000;
		if (o.payload > 1400 || v & 8)
			hdr = offload_header(&o, o.payload > 1400 ? MSS : 0);
		offload_build(packet, &o, false);
		local_frame(mac, 14, v >> 8 & 4 ? DP_MAC_WIRE : DP_MAC_GUEST + (v >> 8 & 3), SENDER, 0);
		memcpy(packet, mac, 12);
		if ((v >> 12 & 7) == 0)
			memset(packet, 0xff, 6);
		if (!dp_send_hdr(e, &hdr, packet, offload_len(&o)))
			break;
		WRITE_ONCE(vandal.at[i], e->addr[e->idle[e->nidle]]);
	}
}

static void is_for(const uint8_t *f, unsigned port)
{
	uint8_t mac[14];

	local_frame(mac, 14, DP_MAC_GUEST + port, 0, 0);
	if (!(f[0] & 1))
		assert_memory_equal(f, mac, 6);
}

/* The header is true of the packet that came with it. */
static void header_is_true(const struct virtio_net_hdr_v1 *h, const uint8_t *f, uint32_t len)
{
	uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	const uint8_t *l4 = f + h->csum_start;

	assert_int_equal(h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
	if (!h->flags) {
		assert_int_equal(h->gso_type, 0);
		return;
	}
	assert_in_range(h->csum_start, SEGMENT_MIN_START - TAG, len - h->csum_offset - 2);
	if (!type)
		return;
	assert_true(h->gso_size > 0 && h->hdr_len <= len);
	assert_int_equal(h->hdr_len, h->csum_start + (type == VIRTIO_NET_HDR_GSO_UDP_L4 ? 8 : (l4[12] >> 4) * 4));
}

/* Everything a guest has. Return: packets. */
static unsigned take_all(struct dp_bed *b, unsigned port)
{
	struct virtio_net_hdr_v1 hdr;
	unsigned n = 0;

	for (unsigned k = 0; k < DP_PAIRS; k++)
		for (int len; (len = dp_take_packet(&b->rx[port][k], got, &hdr)) >= 0; n++) {
			is_for(got, port);
			header_is_true(&hdr, got, (uint32_t)len);
			if (port == TRUNK)
				assert_memory_equal(got + 12, "\x81\x00\x00\x0a", 4);
		}
	return n;
}

static void what_arrives_begins_with_what_was_decided_on(void **state)
{
	struct dp_bed *b = *state;
	unsigned same = 0, trunk = 0, out = 0;
	const uint8_t *f = NULL;
	uint64_t seed = 4;
	pthread_t thread;

	vandal.g = &b->tx[SENDER][0].g;
	vandal.stop = 0;
	for (unsigned i = 0; i < MANY; i++)
		vandal.at[i] = dp_buf(i);
	assert_int_equal(pthread_create(&thread, NULL, change_headers, NULL), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		post_some(b, &seed);
		local_offer_all(b);
		b->now += DP_LOCAL_HOLD_NS;
		for (unsigned i = 0; i < 4; i++) {
			dp_tx(b);
			for (int len; (len = dp_sent(b, &f)) >= 0; out++) {
				assert_in_range(len, 18, GUEST_MAX_FRAME);
				assert_memory_equal(f + 12, "\x81\x00\x00\x0a", 4);
				dp_complete(b, 1);
			}
			same += take_all(b, SAME);
			trunk += take_all(b, TRUNK);
			/* Of the other VLAN nobody sends anything. */
			assert_int_equal(take_all(b, OTHER), 0);
			sched_yield();
		}
	}
	WRITE_ONCE(vandal.stop, 1);
	pthread_join(thread, NULL);
	assert_true(same > 100 && trunk > 100 && out > 100);
	assert_int_equal(dp_port(b, OTHER)->count[DP_FROM_PORTS], 0);
}

/* The same in one thread: a batch is decided on, its packets change, and then they are delivered. */
static void a_packet_that_changes_right_after_the_decision_arrives_as_it_was(void **state)
{
	static const uint8_t index[MANY] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[SENDER][0];
	struct datapath *dp = b->dp;
	struct local_batch batch = { dp->batch.pkt, dp->fwd, index, 0 };
	uint64_t seed = 3;

	for (unsigned round = 0; round < 200; round++) {
		const unsigned to = round & 1 ? TRUNK : SAME;
		const struct offload o = offload_tcp4(round & 2 ? 5000 : 500);
		struct virtio_net_hdr_v1 hdr = offload_header(&o, round & 2 ? MSS : 0), seen;
		uint8_t f[OFFLOAD_MAX], mac[14];
		uint32_t len = offload_build(f, &o, false);

		if (round & 4 && !(round & 2))
			hdr = (struct virtio_net_hdr_v1){ 0 };
		local_frame(mac, 14, DP_MAC_GUEST + to, SENDER, 0);
		memcpy(f, mac, 12);
		assert_true(dp_send_hdr(e, &hdr, f, len));
		local_offer_all(b);
		batch.n = virtq_tx_get(e->vq, &dp->batch, MANY);
		assert_int_equal(batch.n, 1);
		assert_in_range(forward_batch(dp, dp_tx_of(b, SENDER, 0), 1, b->now), 0, DP_TO_UPLINK - 1);
		/* Of a large one the headers are looked at only now, and are to be what was decided on. */
		for (unsigned i = 0; i < (round & 2 ? 12 : 16); i++)
			((uint8_t *)dp->batch.pkt->piece->iov_base)[i] = (uint8_t)guest_random(&seed);
		assert_int_equal(local_deliver(dp, dp->fwd[0].dest, &batch, b->now), 1);
		virtq_tx_put(e->vq, &dp->batch, 1);
		virtq_publish(e->vq);
		dp_port(b, SENDER)->count[DP_TO_PORTS]++;
		if (to == TRUNK)
			len = local_tag0(f, len, 10);
		assert_int_equal(dp_take_packet(&b->rx[to][dp->fwd[0].dest & 1], got, &seen), len);
		assert_memory_equal(got, f, to == TRUNK ? 16 + TAG : 16);
		header_is_true(&seen, got, len);
	}
}

/* A large packet whose tag is followed by another type when its headers are looked at: nobody gets a header that lies. */
static void a_large_packet_of_another_type_than_decided_on_is_not_handed_on_whole(void **state)
{
	static const uint8_t index[1];
	struct dp_bed *b = *state;
	struct dp_end *e = &b->tx[TRUNK][0];
	struct datapath *dp = b->dp;
	const struct local_batch batch = { dp->batch.pkt, dp->fwd, index, 1 };
	const struct offload four = offload_tcp4(5000), six = offload_tcp6(4980);	/* as long */
	struct virtio_net_hdr_v1 hdr = offload_header(&six, MSS), seen;
	uint8_t f[OFFLOAD_MAX], mac[14];
	uint32_t len = local_tag(f, offload_build(f, &four, false), 10);

	hdr.csum_start += TAG;
	local_frame(mac, 14, DP_MAC_GUEST + SAME, TRUNK, 0);
	memcpy(f, mac, 12);
	assert_true(dp_send_hdr(e, &hdr, f, len));
	local_offer_all(b);
	assert_int_equal(virtq_tx_get(e->vq, &dp->batch, MANY), 1);
	assert_in_range(forward_batch(dp, dp_tx_of(b, TRUNK, 0), 1, b->now), 0, DP_TO_UPLINK - 1);
	/* It was IPv4, and is IPv6, as its header says. */
	len = local_tag(f, offload_build(f, &six, false), 10);
	memcpy(dp->batch.pkt->piece->iov_base, f, len < 200 ? len : 200);
	local_deliver(dp, dp->fwd[0].dest, &batch, b->now);
	virtq_tx_put(e->vq, &dp->batch, 1);
	virtq_publish(e->vq);
	dp_port(b, TRUNK)->count[DP_TO_PORTS] += !dp->batch.chain[0].drop;
	for (unsigned k = 0; k < DP_PAIRS; k++)
		while (dp_take_packet(&b->rx[SAME][k], got, &seen) >= 0) {
			assert_int_equal(seen.gso_type, 0);
			assert_memory_equal(got, mac, 12);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_HOSTILE(a_packet_that_changes_right_after_the_decision_arrives_as_it_was),
		DP_HOSTILE(a_large_packet_of_another_type_than_decided_on_is_not_handed_on_whole),
		DP_HOSTILE(what_arrives_begins_with_what_was_decided_on),
	};

	(void)teardown;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
