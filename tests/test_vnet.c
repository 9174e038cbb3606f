/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What feature bits allow a virtio-net header to say, and a large packet on its
 * way from one guest to another that takes it as it is.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest.h"
#include "offload.h"
#include "ring/segment.h"

#define BIT(name) VNET_BIT(VIRTIO_NET_F_##name)
#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TCPV4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCPV6 VIRTIO_NET_HDR_GSO_TCPV6
#define UDP_L4 VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN

static struct virtio_net_hdr_v1 header(uint8_t flags, uint8_t gso_type)
{
	return (struct virtio_net_hdr_v1){ .flags = flags, .gso_type = gso_type };
}

static bool allowed(uint64_t features, uint8_t flags, uint8_t gso_type)
{
	struct virtio_net_hdr_v1 h = header(flags, gso_type);

	return vnet_allowed(features, &h);
}

static bool receivable(uint64_t features, uint8_t flags, uint8_t gso_type)
{
	struct virtio_net_hdr_v1 h = header(flags, gso_type);

	return vnet_receivable(features, &h);
}

/* --- features --------------------------------------------------------------- */

static void segmentation_goes_with_the_checksum_of_its_direction(void **state)
{
	(void)state;
	assert_int_equal(vnet_dependencies(VNET_OFFLOADS), VNET_OFFLOADS);
	assert_int_equal(vnet_dependencies(VNET_OFFLOADS & ~BIT(CSUM)), VNET_GUEST_OFFLOADS);
	assert_int_equal(vnet_dependencies(VNET_OFFLOADS & ~BIT(GUEST_CSUM)), VNET_HOST_OFFLOADS);
	assert_int_equal(vnet_dependencies(BIT(MRG_RXBUF) | BIT(HOST_USO)), BIT(MRG_RXBUF));
}

static void ecn_goes_with_tcp_segmentation(void **state)
{
	const uint64_t host = BIT(CSUM) | BIT(HOST_ECN), guest = BIT(GUEST_CSUM) | BIT(GUEST_ECN);

	(void)state;
	assert_int_equal(vnet_dependencies(host | BIT(HOST_USO)), BIT(CSUM) | BIT(HOST_USO));
	assert_int_equal(vnet_dependencies(host | BIT(HOST_TSO4)), host | BIT(HOST_TSO4));
	assert_int_equal(vnet_dependencies(host | BIT(HOST_TSO6)), host | BIT(HOST_TSO6));
	assert_int_equal(vnet_dependencies(guest | BIT(GUEST_USO4)), BIT(GUEST_CSUM) | BIT(GUEST_USO4));
	assert_int_equal(vnet_dependencies(guest | BIT(GUEST_TSO6)), guest | BIT(GUEST_TSO6));
}

/* --- what a sender may ask for ---------------------------------------------- */

static void a_packet_that_asks_for_nothing_is_always_allowed(void **state)
{
	(void)state;
	assert_true(allowed(0, 0, 0));
	assert_true(allowed(0, VIRTIO_NET_HDR_F_DATA_VALID, 0));
}

static void each_request_takes_its_feature(void **state)
{
	const struct {
		uint8_t flags, type;
		uint64_t need;
	} ask[] = {
		{ CSUM, 0, BIT(CSUM) },
		{ CSUM, TCPV4, BIT(CSUM) | BIT(HOST_TSO4) },
		{ CSUM, TCPV6, BIT(CSUM) | BIT(HOST_TSO6) },
		{ CSUM, UDP_L4, BIT(CSUM) | BIT(HOST_USO) },
		{ CSUM, TCPV4 | ECN, BIT(CSUM) | BIT(HOST_TSO4) | BIT(HOST_ECN) },
		{ CSUM, TCPV6 | ECN, BIT(CSUM) | BIT(HOST_TSO6) | BIT(HOST_ECN) },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(ask) / sizeof(ask[0]); i++) {
		assert_true(allowed(ask[i].need, ask[i].flags, ask[i].type));
		for (unsigned bit = 0; bit < 64; bit++) {
			if (ask[i].need & VNET_BIT(bit))
				assert_false(allowed(~VNET_BIT(bit), ask[i].flags, ask[i].type));
		}
	}
}

static void gso_without_a_partial_checksum_is_never_allowed(void **state)
{
	(void)state;
	assert_false(allowed(~0ull, 0, TCPV4));
	assert_false(allowed(~0ull, VIRTIO_NET_HDR_F_DATA_VALID, UDP_L4));
}

static void other_gso_types_are_never_allowed(void **state)
{
	(void)state;
	assert_false(allowed(~0ull, CSUM, VIRTIO_NET_HDR_GSO_UDP));
	assert_false(allowed(~0ull, CSUM, 2));
	assert_false(allowed(~0ull, CSUM, ECN));
	assert_false(allowed(~0ull, CSUM, 0x40 | TCPV4));
}

/* --- what a receiver takes as it is ----------------------------------------- */

static void every_receiver_takes_a_plain_packet(void **state)
{
	(void)state;
	assert_true(receivable(0, 0, 0));
}

static void each_kind_takes_the_receivers_feature(void **state)
{
	const struct {
		uint8_t flags, type;
		uint64_t need;
	} kind[] = {
		{ CSUM, 0, BIT(GUEST_CSUM) },
		{ CSUM, TCPV4, BIT(GUEST_CSUM) | BIT(GUEST_TSO4) },
		{ CSUM, TCPV6, BIT(GUEST_CSUM) | BIT(GUEST_TSO6) },
		{ CSUM, UDP_L4, BIT(GUEST_CSUM) | BIT(GUEST_USO4) | BIT(GUEST_USO6) },
		{ CSUM, TCPV4 | ECN, BIT(GUEST_CSUM) | BIT(GUEST_TSO4) | BIT(GUEST_ECN) },
		{ CSUM, TCPV6 | ECN, BIT(GUEST_CSUM) | BIT(GUEST_TSO6) | BIT(GUEST_ECN) },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(kind) / sizeof(kind[0]); i++) {
		assert_true(receivable(kind[i].need, kind[i].flags, kind[i].type));
		for (unsigned bit = 0; bit < 64; bit++) {
			if (kind[i].need & VNET_BIT(bit))
				assert_false(receivable(~VNET_BIT(bit), kind[i].flags, kind[i].type));
		}
	}
}

static void flags_that_a_sender_has_no_right_to_are_not_passed_on(void **state)
{
	(void)state;
	assert_false(receivable(~0ull, VIRTIO_NET_HDR_F_DATA_VALID, 0));
	assert_false(receivable(~0ull, CSUM | VIRTIO_NET_HDR_F_DATA_VALID, TCPV4));
	assert_false(receivable(~0ull, 0x80, 0));
}

static void what_no_feature_stands_for_is_not_passed_on(void **state)
{
	(void)state;
	assert_false(receivable(~0ull, 0, TCPV4));
	assert_false(receivable(~0ull, CSUM, VIRTIO_NET_HDR_GSO_UDP));
	assert_false(receivable(~0ull, CSUM, UDP_L4 | ECN));
	assert_false(receivable(~0ull, CSUM, ECN));
}

/* --- from guest to guest ---------------------------------------------------- */

static struct virtq_batch batch;
static uint8_t packet[OFFLOAD_MAX], got[OFFLOAD_MAX + 4096];

/* The sender's driver offers header and packet, in some pieces. */
static void offer(struct guest *g, const struct virtio_net_hdr_v1 *h, uint32_t len)
{
	struct vring_desc piece[4];
	uint64_t addr;

	addr = guest_alloc(g, sizeof(*h) + len);
	guest_write(g, addr, h, sizeof(*h));
	guest_write(g, addr + sizeof(*h), packet, len);
	piece[0] = (struct vring_desc){ addr, 12, 0, 0 };
	piece[1] = (struct vring_desc){ addr + 12, 60, 0, 0 };
	piece[2] = (struct vring_desc){ addr + 72, 4096, 0, 0 };
	piece[3] = (struct vring_desc){ addr + 72 + 4096, len - 60 - 4096, 0, 0 };
	guest_offer(g, piece, 4, false);
	guest_expose(g);
}

/* The receiver's driver takes one packet. Return: its length. */
static uint32_t receive(struct guest *g, const uint64_t *addr, struct virtio_net_hdr_v1 *h)
{
	uint32_t len = 0;

	h->num_buffers = 1;
	for (unsigned i = 0; i < h->num_buffers; i++) {
		struct vring_used_elem e = guest_take(g);
		uint32_t skip = i ? 0 : sizeof(*h);

		assert_true(e.len >= skip && e.len <= 2048);
		if (!i)
			guest_read(g, addr[i], h, sizeof(*h));
		guest_read(g, addr[i] + skip, got + len, e.len - skip);
		len += e.len - skip;
	}
	return len;
}

static void between_guests_a_large_packet_stays_whole(void **state)
{
	const uint64_t tx_features = GUEST_V1 | BIT(CSUM) | BIT(HOST_TSO4);
	const uint64_t rx_features = GUEST_V1 | GUEST_MRG | BIT(GUEST_CSUM) | BIT(GUEST_TSO4);
	static struct segment_plan plan;
	struct offload o = offload_tcp4(60001);
	uint32_t len = offload_build(packet, &o, false);
	struct virtio_net_hdr_v1 h = offload_header(&o, 1448), there;

	(void)state;
	FOR_KINDS(kind) {
		struct guest tx, rx;
		struct virtq_more more;
		struct virtq_src src = { .more = &more };
		uint64_t addr[32];

		guest_open(&tx, VIRTQ_TX, 64, tx_features | kind);
		guest_open(&rx, VIRTQ_RX, 64, rx_features | kind);
		offer(&tx, &h, len);
		for (unsigned i = 0; i < 32; i++)
			addr[i] = guest_offer_one(&rx, 2048);
		guest_expose(&rx);

		assert_int_equal(virtq_tx_get(&tx.vq, &batch, 1), 1);
		assert_int_equal(segment_plan(&plan, &batch.pkt[0], GUEST_MAX_FRAME), VIRTQ_OK);
		assert_true(vnet_receivable(rx.vq.features, &batch.pkt[0].hdr));
		more = (struct virtq_more){ .hdr = batch.pkt[0].hdr, .piece = batch.pkt[0].piece,
							.npieces = batch.pkt[0].npieces };
		src.len = batch.pkt[0].len;
		assert_int_equal(virtq_rx_put(&rx.vq, &src, 1), 1);
		virtq_tx_put(&tx.vq, &batch, 1);
		virtq_publish(&tx.vq);
		virtq_publish(&rx.vq);

		assert_int_equal(receive(&rx, addr, &there), len);
		assert_memory_equal(got, packet, len);
		assert_int_equal(there.num_buffers, (len + 12 + 2047) / 2048);
		assert_memory_equal(&there, &h, 10);
		guest_close(&tx);
		guest_close(&rx);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segmentation_goes_with_the_checksum_of_its_direction),
		cmocka_unit_test(ecn_goes_with_tcp_segmentation),
		cmocka_unit_test(a_packet_that_asks_for_nothing_is_always_allowed),
		cmocka_unit_test(each_request_takes_its_feature),
		cmocka_unit_test(gso_without_a_partial_checksum_is_never_allowed),
		cmocka_unit_test(other_gso_types_are_never_allowed),
		cmocka_unit_test(every_receiver_takes_a_plain_packet),
		cmocka_unit_test(each_kind_takes_the_receivers_feature),
		cmocka_unit_test(flags_that_a_sender_has_no_right_to_are_not_passed_on),
		cmocka_unit_test(what_no_feature_stands_for_is_not_passed_on),
		cmocka_unit_test(between_guests_a_large_packet_stays_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
