/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is different for a session with packed rings: sizes, addresses, positions (virtio 1.3, 2.8; vhost-user,
 * SET_VRING_BASE).
 */
#include <errno.h>

#include "bridge/attach.h"
#include "vu_session.h"

#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define LAST (VU_USER + VU_MEM_SIZE)	/* behind the memory */

static int packed_setup(void **state)
{
	const struct session_config cfg = { .max_pairs = PAIRS, .features = VU_FEATURES | PACKED,
					    .protocol_features = VU_PROTOCOL, .max_frame = 1518 };
	struct fixture *f;

	if (setup(state))
		return -1;
	f = *state;
	session_destroy(f->s);
	return session_create(&cfg, &vu_ops, &f->fake, &f->s);
}

static void choose(struct fixture *f, uint64_t features)
{
	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL)), 0);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, features));
}

static void with_packed_memory(struct fixture *f)
{
	choose(f, VU_FEATURES | PACKED);
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
}

static void a_packed_ring_has_any_size_up_to_32768(void **state)
{
	static const uint32_t good[] = { 1, 2, 3, 5, 100, 255, 256, 1000, 32767, 32768 };
	static const uint32_t bad[] = { 0, 32769, 65536, 1u << 31, UINT32_MAX };
	struct fixture *f = *state;

	choose(f, VU_FEATURES | PACKED);
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, good[i]));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_nack(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, bad[i]));
}

static void a_split_ring_of_the_same_port_still_needs_a_power_of_two(void **state)
{
	struct fixture *f = *state;

	choose(f, VU_FEATURES);
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 100));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 128));
}

static void packed_rings_that_were_not_offered_are_refused(void **state)
{
	const struct session_config cfg = { .max_pairs = PAIRS, .features = VU_FEATURES,
					    .protocol_features = VU_PROTOCOL, .max_frame = 1518 };
	struct fixture *f = *state;

	session_destroy(f->s);
	assert_int_equal(session_create(&cfg, &vu_ops, &f->fake, &f->s), 0);
	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL)), 0);
	expect_nack(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | PACKED));
}

/* Four bytes each, at the very end of memory: there a split ring's avail and used would not fit. */
static void the_event_areas_take_four_bytes_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_addr(0, VU_USER);

	with_packed_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	m.payload.addr.avail = LAST - 8;
	m.payload.addr.used = LAST - 4;
	expect_ok(f, m);
	m.payload.addr.used = LAST - 3;
	expect_nack(f, m);
	m.payload.addr.used = LAST - 4;
	m.payload.addr.avail = LAST;
	expect_nack(f, m);
}

static void unaligned_addresses_of_a_packed_ring_are_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m;

	with_packed_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	m = vu_addr(0, VU_USER + 8);
	expect_nack(f, m);
	m = vu_addr(0, VU_USER);
	m.payload.addr.avail += 2;
	expect_nack(f, m);
	m = vu_addr(0, VU_USER);
	m.payload.addr.used += 2;
	expect_nack(f, m);
}

static void the_last_descriptor_of_a_packed_ring_must_be_inside_memory(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_addr(0, VU_USER);

	with_packed_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 100));
	m.payload.addr.desc = LAST - 100 * 16;
	expect_ok(f, m);
	m.payload.addr.desc += 16;
	expect_nack(f, m);
}

static void a_base_beyond_the_packed_ring_is_refused(void **state)
{
	struct fixture *f = *state;

	choose(f, VU_FEATURES | PACKED);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 100));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, 0x8000 | 99));
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, 0x8000 | 100));
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, 0x7fff));
}

static void starts_at(struct fixture *f, uint32_t sent, uint32_t base)
{
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, sent));
	expect_ok(f, vu_addr(0, VU_RING(0)));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_true(f->fake.running[0]);
	assert_int_equal(f->fake.ring[0].base, base);
}

/* A ring whose front-end says nothing of its position. */
static void begins_at(struct fixture *f, uint32_t size, uint32_t base)
{
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, size));
	expect_ok(f, vu_addr(0, VU_RING(0)));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_int_equal(f->fake.ring[0].base, base);
}

static void the_base_of_qemu_has_both_halves(void **state)
{
	with_packed_memory(*state);
	starts_at(*state, 0x80008000, 0x80008000);
}

static void the_base_of_virtio_user_has_only_the_lower_half(void **state)
{
	with_packed_memory(*state);
	starts_at(*state, 0x8000, 0x80008000);
}

/* Nothing is in flight where a ring begins: used is where avail is, whatever the upper half says. */
static void the_lower_half_of_a_base_speaks_for_both(void **state)
{
	with_packed_memory(*state);
	starts_at(*state, 0x00058007, 0x80078007);
}

static void a_ring_that_never_started_answers_with_both_halves(void **state)
{
	struct fixture *f = *state;

	choose(f, VU_FEATURES | PACKED);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 1, 0x8000));
	assert_int_equal(ask_base(f, 1), 0x80008000);
}

static void a_packed_ring_without_a_base_begins_with_both_wrap_counters_at_one(void **state)
{
	struct fixture *f = *state;

	with_packed_memory(f);
	begins_at(f, 256, 0x80008000);
}

static void the_position_of_the_other_kind_of_ring_is_forgotten(void **state)
{
	struct fixture *f = *state;

	choose(f, VU_FEATURES);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, 77));
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | PACKED));
	assert_int_equal(ring(f, 0)->base, 0x80008000);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES));
	assert_int_equal(ring(f, 0)->base, 0);
}

static void the_same_features_again_leave_the_position_alone(void **state)
{
	struct fixture *f = *state;

	choose(f, VU_FEATURES | PACKED);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, 0x80058005));
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | PACKED));
	assert_int_equal(ring(f, 0)->base, 0x80058005);
}

static void get_vring_base_answers_with_both_halves(void **state)
{
	struct fixture *f = *state;

	with_packed_memory(f);
	starts_at(f, 0x80008000, 0x80008000);
	f->fake.base = 0x00120012;
	assert_int_equal(ask_base(f, 0), 0x00120012);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_int_equal(f->fake.ring[0].base, 0x00120012);
}

static void the_kind_of_rings_cannot_change_while_one_runs(void **state)
{
	struct fixture *f = *state;

	with_packed_memory(f);
	starts_at(f, 0x80008000, 0x80008000);
	expect_nack(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES));
}

/* QEMU 7.2 resets first when its guest is stopped, and asks then. */
static void after_a_reset_the_position_is_still_told_and_taken_back(void **state)
{
	struct fixture *f = *state;

	with_packed_memory(f);
	starts_at(f, 0x80008000, 0x80008000);
	f->fake.base = 0x80058005;
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	assert_int_equal(ask_base(f, 0), 0x80058005);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | PACKED));
	starts_at(f, 0x80058005, 0x80058005);
}

/* Who lost its back-end comes back with what it was told before, if that. */
static void only_where_the_connection_ends_the_position_is_not_told(void **state)
{
	struct fixture *f = *state;

	with_packed_memory(f);
	starts_at(f, 0x80008000, 0x80008000);
	f->fake.lost[0] = true;
	ask_base(f, 0);
	assert_false(f->fake.lost[0]);
	starts_at(f, 0x80008000, 0x80008000);
	f->fake.lost[0] = true;
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	assert_false(f->fake.lost[0]);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | PACKED));
	starts_at(f, 0x80008000, 0x80008000);
	session_destroy(f->s);
	f->s = NULL;
	assert_false(f->fake.running[0]);
	assert_true(f->fake.lost[0]);
}

static void after_a_reset_a_ring_begins_anew_unless_told_otherwise(void **state)
{
	struct fixture *f = *state;

	with_packed_memory(f);
	starts_at(f, 0x80008000, 0x80008000);
	f->fake.base = 0x80058005;
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | PACKED));
	begins_at(f, 256, 0x80008000);
}

static void after_a_reset_a_split_ring_begins_anew_unless_told_otherwise(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	f->fake.base = 77;
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	assert_int_equal(ask_base(f, 0), 77);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES));
	begins_at(f, 256, 0);
}

static void after_a_reset_the_guest_may_choose_split_rings(void **state)
{
	struct fixture *f = *state;

	with_packed_memory(f);
	starts_at(f, 0x80008000, 0x80008000);
	f->fake.base = 0x80058005;
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 0));
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES));
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 100));
	begins_at(f, 128, 0);
}

static void a_size_that_makes_the_packed_ring_too_long_is_refused_at_the_kick(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_addr(0, VU_USER);

	with_packed_memory(f);
	m.payload.addr.desc = LAST - 100 * 16;
	expect_ok(f, m);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 101));
	expect_nack_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 100));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_true(f->fake.running[0]);
}

static void what_is_not_offered_takes_away_nothing_but_what_depends_on_it(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		const struct port_config cfg = { .pairs = 1, .without = 1ull << bit & PORT_FEATURES };
		uint64_t gone = attach_features(&(struct port_config){ .pairs = 1 }) & ~attach_features(&cfg);

		if (!cfg.without)
			continue;
		assert_true(gone & cfg.without);
		if (bit == VIRTIO_NET_F_CSUM)
			gone &= ~VNET_HOST_OFFLOADS;
		if (bit == VIRTIO_NET_F_GUEST_CSUM)
			gone &= ~VNET_GUEST_OFFLOADS;
		if (bit == VIRTIO_F_VERSION_1) {
			assert_int_equal(attach_features(&cfg) >> 32, 0);
			gone &= UINT32_MAX;
		}
		assert_int_equal(gone & ~cfg.without, 0);
	}
}

static void what_a_port_offers_depends_on_its_configuration_only(void **state)
{
	const struct port_config all = { .pairs = 1 }, same = { .pairs = 4 };
	const struct port_config less = { .pairs = 1, .without = PACKED | VNET_BIT(VIRTIO_NET_F_CSUM) };
	const uint64_t host = VNET_HOST_OFFLOADS;

	(void)state;
	assert_int_equal(attach_features(&all),
			 PORT_FEATURES | 1ull << VHOST_F_LOG_ALL | 1ull << VHOST_USER_F_PROTOCOL_FEATURES);
	assert_int_equal(attach_features(&same), attach_features(&all));
	assert_int_equal(attach_features(&less), attach_features(&all) & ~(PACKED | host));
}

#define P(name) cmocka_unit_test_setup_teardown(name, packed_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		P(a_packed_ring_has_any_size_up_to_32768),
		P(a_split_ring_of_the_same_port_still_needs_a_power_of_two),
		P(packed_rings_that_were_not_offered_are_refused),
		P(the_event_areas_take_four_bytes_and_no_more),
		P(unaligned_addresses_of_a_packed_ring_are_refused),
		P(the_last_descriptor_of_a_packed_ring_must_be_inside_memory),
		P(a_base_beyond_the_packed_ring_is_refused),
		P(the_base_of_qemu_has_both_halves),
		P(the_base_of_virtio_user_has_only_the_lower_half),
		P(the_lower_half_of_a_base_speaks_for_both),
		P(a_ring_that_never_started_answers_with_both_halves),
		P(a_packed_ring_without_a_base_begins_with_both_wrap_counters_at_one),
		P(the_position_of_the_other_kind_of_ring_is_forgotten),
		P(the_same_features_again_leave_the_position_alone),
		P(get_vring_base_answers_with_both_halves),
		P(the_kind_of_rings_cannot_change_while_one_runs),
		P(after_a_reset_the_position_is_still_told_and_taken_back),
		P(only_where_the_connection_ends_the_position_is_not_told),
		P(after_a_reset_a_ring_begins_anew_unless_told_otherwise),
		P(after_a_reset_a_split_ring_begins_anew_unless_told_otherwise),
		P(after_a_reset_the_guest_may_choose_split_rings),
		P(a_size_that_makes_the_packed_ring_too_long_is_refused_at_the_kick),
		cmocka_unit_test(what_is_not_offered_takes_away_nothing_but_what_depends_on_it),
		cmocka_unit_test(what_a_port_offers_depends_on_its_configuration_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
