/* SPDX-License-Identifier: BSD-2-Clause */
/* The session's rules, one by one: negotiation, memory, rings; those of the kinds differ where they must. */
#include <errno.h>
#include <fcntl.h>

#include "base/sigbus.h"
#include "vu_session.h"

/* ---- negotiation ---- */

static void what_is_offered_is_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask_u64(f, VHOST_USER_GET_FEATURES), VU_FEATURES);
	assert_int_equal(ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES), VU_PROTOCOL);
	assert_int_equal(ask_u64(f, VHOST_USER_GET_QUEUE_NUM), 2 * PAIRS);
}

static void features_not_offered_are_refused(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_nack(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | 1ull << VIRTIO_NET_F_CSUM));
	expect_nack(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL | 1ull << 63));
}

static void bits_that_are_not_offered_are_refused_by_name(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_nack(f, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | 1ull << 56 | 1ull << 41));
	assert_string_equal(f->fake.complaint, "SET_FEATURES refused: not offered: bit 41, host_uso");
	expect_nack(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES,
			      VU_PROTOCOL | 1ull << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD));
	assert_string_equal(f->fake.complaint, "SET_PROTOCOL_FEATURES refused: not offered: inflight_shmfd");
	expect_nack(f, vu_u64(VHOST_USER_SET_FEATURES, UINT64_MAX));
	assert_string_equal(f->fake.complaint + strlen(f->fake.complaint) - 5, ", ...");
}

static void negotiating_again_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct session_state before;

	with_memory(f);
	run_ring(f, 0);
	before = *session_state(f->s);
	for (int i = 0; i < 3; i++) {
		ask_u64(f, VHOST_USER_GET_FEATURES);
		expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL));
		expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
	}
	assert_memory_equal(&before, session_state(f->s), sizeof(before));
	assert_true(f->fake.running[0]);
}

static void features_of_a_running_ring_do_not_change(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	expect_nack(f, vu_u64(VHOST_USER_SET_FEATURES, f->features & ~(1ull << VIRTIO_RING_F_EVENT_IDX)));
	ask_base(f, 0);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features & ~(1ull << VIRTIO_RING_F_EVENT_IDX)));
}

static void an_ack_comes_only_when_negotiated_and_asked_for(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES);

	m.hdr.flags |= VHOST_USER_NEED_REPLY;
	assert_int_equal(send_msg(f, m), 0);
	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL));
	assert_int_equal(send_msg(f, m), 1);
	m.hdr.flags &= ~VHOST_USER_NEED_REPLY;
	assert_int_equal(send_msg(f, m), 0);
}

static void a_message_with_its_own_answer_is_answered_once(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_msg(VHOST_USER_GET_FEATURES, VHOST_USER_NEED_REPLY, 0);

	negotiate(f);
	assert_int_equal(send_msg(f, m), 1);
	assert_int_equal(f->reply.payload.u64, VU_FEATURES);
}

static void an_unknown_request_is_refused_when_a_reply_is_wanted_else_closes(void **state)
{
	struct fixture *f = *state;

	assert_true(send_msg(f, vu_u64(VHOST_USER_POSTCOPY_ADVISE, 1)) < 0);
	assert_true(send_msg(f, vu_msg(VHOST_USER_GET_STATUS, 0, 0)) < 0);
	negotiate(f);
	expect_nack(f, vu_u64(VHOST_USER_POSTCOPY_ADVISE, 1));
	expect_nack_fd(f, vu_u64(VHOST_USER_SET_INFLIGHT_FD, 0), event());
	expect_nack(f, vu_u64(1000, 1));
	assert_true(send_fd(f, vu_u64(VHOST_USER_SET_INFLIGHT_FD, 1), event()) < 0);
}

static void unexpected_fds_close_and_do_not_leak(void **state)
{
	struct fixture *f = *state;
	unsigned before = vu_open_fds();
	int fds[8];

	for (unsigned i = 0; i < 8; i++)
		fds[i] = event();
	assert_true(send_fds(f, vu_msg(VHOST_USER_SET_OWNER, 0, 0), fds, 8) < 0);
	assert_int_equal(vu_open_fds(), before);
	fds[0] = event();
	fds[1] = event();
	assert_true(send_fds(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), fds, 2) < 0);
	assert_int_equal(vu_open_fds(), before);
	assert_true(f->fake.complaints >= 2);
}

/* ---- memory ---- */

static void a_memory_table_replaces_the_old_one(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	with_memory(f);
	fds = vu_open_fds();
	for (int i = 0; i < 50; i++)
		expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	assert_int_equal(vu_open_fds(), fds);
}

static void a_bad_memory_table_leaves_the_old_one(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m;

	with_memory(f);
	m = vu_mem();
	m.payload.mem.region[0].size = 0;
	expect_nack_fd(f, m, vu_memfd(VU_MEM_SIZE));
	m = vu_mem();
	m.payload.mem.region[0].size = UINT64_MAX;
	expect_nack_fd(f, m, vu_memfd(VU_MEM_SIZE));
	m = vu_mem();
	m.payload.mem.region[0].guest_addr = UINT64_MAX - 100;
	expect_nack_fd(f, m, vu_memfd(VU_MEM_SIZE));
	m = vu_mem();
	m.payload.mem.region[0].mmap_offset = UINT64_MAX - 0xfff;
	expect_nack_fd(f, m, vu_memfd(VU_MEM_SIZE));
	expect_nack_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE - 1));	/* file too short */
	expect_nack_fd(f, vu_mem(), event());
	expect_nack_fd(f, vu_mem(), open("/dev/zero", O_RDWR | O_CLOEXEC));
	m = vu_mem();
	m.payload.mem.nregions = 0;
	m.hdr.size = 8;
	expect_nack(f, m);
	run_ring(f, 0);	/* the old one still works */
}

static void overlapping_regions_are_refused_and_their_fds_closed(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_mem();
	int fds[2] = { vu_memfd(VU_MEM_SIZE), vu_memfd(VU_MEM_SIZE) };
	unsigned open_fds = vu_open_fds();

	negotiate(f);
	m.payload.mem.nregions = 2;
	m.hdr.size += 32;
	m.payload.mem.region[1] = m.payload.mem.region[0];
	m.payload.mem.region[1].guest_addr += VU_MEM_SIZE - 0x1000;
	m.payload.mem.region[1].user_addr += 2 * VU_MEM_SIZE;
	expect_ack_fds(f, m, fds, 2, false);
	assert_int_equal(vu_open_fds(), open_fds - 2);
}

static void new_memory_moves_running_rings(void **state)
{
	struct fixture *f = *state;
	void *desc;

	with_memory(f);
	run_ring(f, 0);
	run_ring(f, 3);
	desc = f->fake.ring[3].desc;
	f->fake.log[0] = 0;
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	assert_string_equal(f->fake.log, "swap 0;swap 3;");
	assert_int_equal(f->fake.swaps, 1);
	assert_ptr_not_equal(f->fake.ring[3].desc, desc);
	((volatile char *)f->fake.ring[3].desc)[0] = 1;	/* mapped */
}

static void memory_that_does_not_cover_a_running_ring_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_mem();

	with_memory(f);
	run_ring(f, 0);
	run_ring(f, 1);
	m.payload.mem.region[0].size = 0x7000;	/* ring 1's used part is beyond */
	f->fake.log[0] = 0;
	expect_nack_fd(f, m, vu_memfd(VU_MEM_SIZE));
	assert_string_equal(f->fake.log, "");
	((volatile char *)f->fake.ring[1].used)[0] = 1;	/* the old one is still mapped */
	ask_base(f, 1);
	expect_ok_fd(f, m, vu_memfd(VU_MEM_SIZE));
	assert_string_equal(f->fake.log, "stop 1;swap 0;");
}

static void a_ring_split_over_two_regions_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_mem();
	int fds[2] = { vu_memfd(VU_MEM_SIZE), vu_memfd(VU_MEM_SIZE) };

	negotiate(f);
	m.payload.mem.nregions = 2;
	m.hdr.size += 32;
	m.payload.mem.region[0].size = 0x1000;	/* 64 descriptors take 0x400: fits; 256 take 0x1000 */
	m.payload.mem.region[1] = (struct vhost_user_mem_region){ VU_GUEST + 0x1000, VU_MEM_SIZE - 0x1000,
								  VU_USER + 0x1000, 0 };
	expect_ack_fds(f, m, fds, 2, true);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 512));
	expect_nack(f, vu_addr(0, VU_USER));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_ok(f, vu_addr(0, VU_USER));
}

static void truncated_memory_ends_the_session(void **state)
{
	struct fixture *f = *state;
	int mem = vu_memfd(VU_MEM_SIZE), mine = dup(mem);

	assert_int_equal(sigbus_install(), 0);
	negotiate(f);
	expect_ok_fd(f, vu_mem(), mem);
	run_ring(f, 0);
	assert_int_equal(ftruncate(mine, 0), 0);
	close(mine);
	((volatile char *)f->fake.ring[0].used)[0] = 1;	/* as a worker would */
	assert_true(session_memory_broken(f->s));
	assert_int_equal(send_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event()), -EFAULT);
}

/* ---- ring size, base, addresses ---- */

static void a_ring_size_is_a_power_of_two_up_to_32768(void **state)
{
	static const uint32_t bad[] = { 0, 3, 100, 32769, 65535, 65536, 1u << 31, UINT32_MAX };
	struct fixture *f = *state;

	negotiate(f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_nack(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, bad[i]));
	for (uint32_t n = 1; n <= 32768; n *= 2)
		expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, n));
}

static void a_running_ring_keeps_size_base_and_addresses(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 128));
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, base_of_kind(f, 5)));
	expect_nack(f, vu_addr(0, VU_RING(2)));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_ok(f, vu_addr(0, VU_RING(0)));
	assert_true(f->fake.running[0]);
}

static void a_base_has_sixteen_bits(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, 65536));
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, UINT32_MAX));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, 65535));
	assert_int_equal(ask_base(f, 0), 65535);
}

static void where_logging_is_not_offered_no_ring_can_ask_for_it(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_addr(0, VU_RING(0));

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	m.payload.addr.flags = 1 << VHOST_VRING_F_LOG;
	expect_nack(f, m);
	expect_nack(f, vu_u64(VHOST_USER_SET_FEATURES, f->features | 1ull << VHOST_F_LOG_ALL));
	run_ring(f, 0);
	expect_nack(f, m);
	assert_true(f->fake.running[0]);
}

static void ring_addresses_are_checked_when_they_come(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m;

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	m = vu_addr(0, VU_USER + 8);	/* descriptors: 16 bytes */
	expect_nack(f, m);
	m = vu_addr(0, VU_USER);
	m.payload.addr.avail++;
	expect_nack(f, m);
	m = vu_addr(0, VU_USER);
	m.payload.addr.used += 2;
	expect_nack(f, m);
	expect_nack(f, vu_addr(0, 0));
	expect_nack(f, vu_addr(0, VU_USER + VU_MEM_SIZE));
	m = vu_addr(0, VU_USER);
	m.payload.addr.desc = UINT64_MAX - 15;
	expect_nack(f, m);
	m = vu_addr(0, VU_USER);
	m.payload.addr.flags = 2;
	expect_nack(f, m);
	expect_ok(f, vu_addr(0, VU_USER));
}

/* Each part may end on the last byte of memory, and not one step later. */
static void the_whole_ring_must_be_inside_memory(void **state)
{
	struct fixture *f = *state;
	const uint64_t end = VU_USER + VU_MEM_SIZE;
	struct vhost_user_msg m;

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	m = vu_addr(0, VU_USER);
	m.payload.addr.desc = end - 16 * 256;
	expect_ok(f, m);
	m.payload.addr.desc += 16;
	expect_nack(f, m);

	m = vu_addr(0, VU_USER);
	m.payload.addr.avail = end - (6 + 2 * 256);
	expect_ok(f, m);
	m.payload.addr.avail += 2;
	expect_nack(f, m);

	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 1));
	m = vu_addr(0, VU_USER);
	m.payload.addr.used = end - 16;	/* 14 bytes, on a multiple of 4 */
	expect_ok(f, m);
	m.payload.addr.used += 4;
	expect_nack(f, m);
}

static void addresses_that_no_longer_fit_stop_the_kick(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_mem();

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_ok(f, vu_addr(0, VU_RING(8)));
	m.payload.mem.region[0].size = 0x1000;
	expect_ok_fd(f, m, vu_memfd(VU_MEM_SIZE));
	expect_nack_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_false(ring(f, 0)->kicked);
	assert_false(f->fake.running[0]);
}

static void a_size_that_makes_the_ring_too_long_is_refused_at_the_start(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 1));
	expect_ok(f, vu_addr(0, VU_USER + VU_MEM_SIZE - 0x4000));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 32768));
	expect_nack_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
}

/* ---- start and stop ---- */

static void a_ring_starts_at_the_kick_with_everything_it_needs(void **state)
{
	struct fixture *f = *state;
	const struct virtq_config *c = &f->fake.ring[1];

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 1, 256));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 1, base_of_kind(f, 77)));
	expect_ok(f, vu_addr(1, VU_RING(1)));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 1), event());
	assert_false(f->fake.running[1]);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 1), event());
	assert_true(f->fake.running[1]);
	assert_int_equal(c->dir, VIRTQ_TX);
	assert_int_equal(c->size, 256);
	assert_int_equal(c->base, base_of_kind(f, 77));
	assert_int_equal(c->features, f->features);
	assert_int_equal(c->max_frame, 1518);
	assert_int_equal(c->kickfd, ring(f, 1)->kickfd);
	assert_int_equal(c->callfd, ring(f, 1)->callfd);
	assert_non_null(c->mem);
	assert_int_equal((char *)c->avail - (char *)c->desc, 0x2000);
	assert_int_equal((char *)c->used - (char *)c->desc, 0x3000);
}

static void a_kick_before_the_addresses_starts_the_ring_when_they_come(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	assert_false(f->fake.running[0]);
	expect_ok(f, vu_addr(0, VU_RING(0)));
	assert_true(f->fake.running[0]);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 1), event());
	expect_ok(f, vu_addr(1, VU_RING(1)));
	assert_false(f->fake.running[1]);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 1, 256));
	assert_true(f->fake.running[1]);
}

static void a_kick_without_fd_starts_a_polled_ring(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_ok(f, vu_addr(0, VU_RING(0)));
	expect_ok(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0 | VHOST_USER_VRING_NOFD));
	assert_true(f->fake.running[0]);
	assert_int_equal(f->fake.ring[0].kickfd, -1);
}

static void a_ring_of_size_one_runs(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 1));
	expect_ok(f, vu_addr(0, VU_RING(0)));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_int_equal(f->fake.ring[0].size, 1);
}

static void a_ring_that_cannot_start_is_reported_and_stays_stopped(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_ok(f, vu_addr(0, VU_RING(0)));
	f->fake.fail = -ENOMEM;
	expect_nack_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	f->fake.fail = 0;
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	f->fake.fail = -ENOMEM;
	expect_nack_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());	/* replaced while it runs */
	assert_true(f->fake.running[0]);
}

static void get_vring_base_stops_the_ring_and_tells_where_it_was(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	run_ring(f, 1);
	f->fake.base = base_of_kind(f, 123);
	assert_int_equal(ask_base(f, 0), base_of_kind(f, 123));
	assert_false(f->fake.running[0]);
	assert_true(f->fake.running[1]);
	assert_int_equal(ring(f, 0)->kickfd, -1);
	assert_int_equal(ask_base(f, 0), base_of_kind(f, 123));	/* asking again stops nothing twice */
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_int_equal(f->fake.ring[0].base, base_of_kind(f, 123));
}

static void get_vring_base_answers_for_a_ring_that_never_started(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask_base(f, 3), 0);
	assert_int_equal(send_msg(f, vu_state(VHOST_USER_SET_VRING_BASE, 3, 9)), 0);
	assert_int_equal(ask_base(f, 3), 9);
	assert_string_equal(f->fake.log, "");
}

static void get_vring_base_beyond_the_rings_gets_an_impossible_base(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask_base(f, 2 * PAIRS), UINT32_MAX);
}

static void base_before_addresses_survives_them(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 0, base_of_kind(f, 42)));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_ok(f, vu_addr(0, VU_RING(0)));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, 0), event());
	assert_int_equal(f->fake.ring[0].base, base_of_kind(f, 42));
}

/* ---- enable ---- */

static void rings_begin_disabled_and_enable_is_remembered_while_stopped(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	assert_false(f->fake.enabled[0]);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_true(f->fake.enabled[0]);
	assert_false(f->fake.running[0]);
	run_ring(f, 0);
	assert_true(f->fake.enabled[0]);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_true(f->fake.running[0]);
	assert_false(f->fake.enabled[0]);
	expect_nack(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 2));
}

static void without_protocol_features_all_rings_are_enabled(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_FEATURES,
					    VU_FEATURES & ~(1ull << VHOST_USER_F_PROTOCOL_FEATURES))), 0);
	assert_string_equal(f->fake.log, "enable 0;enable 1;enable 2;enable 3;");
}

static void reset_owner_disables_all_rings(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	expect_ok(f, vu_msg(VHOST_USER_RESET_OWNER, 0, 0));
	assert_false(f->fake.enabled[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_offered_is_told),
		T(features_not_offered_are_refused),
		T(bits_that_are_not_offered_are_refused_by_name),
		T_BOTH(negotiating_again_changes_nothing),
		T_BOTH(features_of_a_running_ring_do_not_change),
		T(an_ack_comes_only_when_negotiated_and_asked_for),
		T(a_message_with_its_own_answer_is_answered_once),
		T(an_unknown_request_is_refused_when_a_reply_is_wanted_else_closes),
		T(unexpected_fds_close_and_do_not_leak),
		T_BOTH(a_memory_table_replaces_the_old_one),
		T(a_bad_memory_table_leaves_the_old_one),
		T(overlapping_regions_are_refused_and_their_fds_closed),
		T_BOTH(new_memory_moves_running_rings),
		T_BOTH(memory_that_does_not_cover_a_running_ring_is_refused),
		T(a_ring_split_over_two_regions_is_refused),
		T_BOTH(truncated_memory_ends_the_session),
		T(a_ring_size_is_a_power_of_two_up_to_32768),
		T_BOTH(a_running_ring_keeps_size_base_and_addresses),
		T(a_base_has_sixteen_bits),
		T_BOTH(where_logging_is_not_offered_no_ring_can_ask_for_it),
		T(ring_addresses_are_checked_when_they_come),
		T(the_whole_ring_must_be_inside_memory),
		T_BOTH(addresses_that_no_longer_fit_stop_the_kick),
		T(a_size_that_makes_the_ring_too_long_is_refused_at_the_start),
		T_BOTH(a_ring_starts_at_the_kick_with_everything_it_needs),
		T_BOTH(a_kick_before_the_addresses_starts_the_ring_when_they_come),
		T_BOTH(a_kick_without_fd_starts_a_polled_ring),
		T_BOTH(a_ring_of_size_one_runs),
		T_BOTH(a_ring_that_cannot_start_is_reported_and_stays_stopped),
		T_BOTH(get_vring_base_stops_the_ring_and_tells_where_it_was),
		T(get_vring_base_answers_for_a_ring_that_never_started),
		T(get_vring_base_beyond_the_rings_gets_an_impossible_base),
		T_BOTH(base_before_addresses_survives_them),
		T_BOTH(rings_begin_disabled_and_enable_is_remembered_while_stopped),
		T(without_protocol_features_all_rings_are_enabled),
		T_BOTH(reset_owner_disables_all_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
