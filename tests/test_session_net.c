/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of a network device. */
#include <errno.h>

#include "vu_session.h"

/* --- SEND_RARP ------------------------------------------------------------------ */

static struct vhost_user_msg rarp(const uint8_t mac[6])
{
	struct vhost_user_msg m = vu_u64(VHOST_USER_SEND_RARP, UINT64_MAX);

	memcpy(m.payload.raw, mac, 6);
	return m;
}

static void the_address_of_a_rarp_is_its_first_six_bytes(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
	struct fixture *f = *state;

	negotiate(f);
	expect_ok(f, rarp(mac));
	assert_int_equal(f->fake.rarps, 1);
	assert_memory_equal(f->fake.mac, mac, 6);
}

static void a_rarp_for_an_address_that_no_guest_has_is_refused(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_nack(f, rarp((const uint8_t[6]){ 0 }));
	expect_nack(f, rarp((const uint8_t[6]){ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }));
	expect_nack(f, rarp((const uint8_t[6]){ 1, 0, 0x5e, 0, 0, 1 }));
	assert_int_equal(f->fake.rarps, 0);
	f->fake.fail = -EPERM;
	expect_nack(f, rarp((const uint8_t[6]){ 2, 0, 0, 0, 0, 1 }));
}

static void a_rarp_needs_its_protocol_feature(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack(f, rarp((const uint8_t[6]){ 2, 0, 0, 0, 0, 1 }));
	assert_int_equal(send_msg(f, rarp((const uint8_t[6]){ 2, 0, 0, 0, 0, 1 })), -EOPNOTSUPP);
	assert_int_equal(f->fake.rarps, 0);
}

/* --- NET_SET_MTU ----------------------------------------------------------------- */

static void an_mtu_is_one_that_ethernet_can_have(void **state)
{
	static const uint64_t bad[] = { 0, 67, 65536, 1ull << 32 | 1500, UINT64_MAX };
	static const uint64_t good[] = { 68, 1280, 1500, 9000, 65535 };
	struct fixture *f = *state;

	negotiate(f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_nack(f, vu_u64(VHOST_USER_NET_SET_MTU, bad[i]));
	assert_int_equal(f->fake.mtu, 0);
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		expect_ok(f, vu_u64(VHOST_USER_NET_SET_MTU, good[i]));
		assert_int_equal(f->fake.mtu, good[i]);
		assert_int_equal(session_state(f->s)->mtu, good[i]);
	}
}

static void an_mtu_needs_its_protocol_feature(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack(f, vu_u64(VHOST_USER_NET_SET_MTU, 1500));
}

/* --- RESET_DEVICE ---------------------------------------------------------------- */

static void a_device_reset_stops_and_disables_all_rings_and_keeps_the_memory(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_u64(VHOST_USER_NET_SET_MTU, 1400));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	run_ring(f, 0);
	run_ring(f, 1);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	expect_ok(f, vu_msg(VHOST_USER_RESET_DEVICE, 0, 0));
	assert_false(f->fake.running[0] || f->fake.running[1] || f->fake.enabled[0]);
	assert_int_equal(session_state(f->s)->features, 0);
	assert_int_equal(session_state(f->s)->protocol_features, VU_PROTOCOL);
	assert_int_equal(session_state(f->s)->mtu, 1400);
	assert_true(ring(f, 0)->callfd >= 0);
	assert_true(ring(f, 0)->num == 0 && ring(f, 0)->kickfd < 0);
	expect_ok(f, vu_msg(VHOST_USER_RESET_DEVICE, 0, 0));
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	run_ring(f, 0);
}

static void a_device_reset_needs_its_protocol_feature(void **state)
{
	struct fixture *f = *state;

	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack(f, vu_msg(VHOST_USER_RESET_DEVICE, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_address_of_a_rarp_is_its_first_six_bytes),
		T(a_rarp_for_an_address_that_no_guest_has_is_refused),
		T(a_rarp_needs_its_protocol_feature),
		T(an_mtu_is_one_that_ethernet_can_have),
		T(an_mtu_needs_its_protocol_feature),
		T_BOTH(a_device_reset_stops_and_disables_all_rings_and_keeps_the_memory),
		T(a_device_reset_needs_its_protocol_feature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
