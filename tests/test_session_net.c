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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_address_of_a_rarp_is_its_first_six_bytes),
		T(a_rarp_for_an_address_that_no_guest_has_is_refused),
		T(a_rarp_needs_its_protocol_feature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
