/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that comes and goes in slots (ADD_MEM_REG, REM_MEM_REG), with rings running in it. */
#include "base/sigbus.h"
#include "vu_session.h"

#define ADD VHOST_USER_ADD_MEM_REG
#define REM VHOST_USER_REM_MEM_REG

static void add(struct fixture *f, uint64_t offset, uint64_t size)
{
	expect_ok_fd(f, vu_slot(ADD, offset, size), vu_memfd(size));
}

static void the_number_of_slots_is_told(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	assert_int_equal(ask_u64(f, VHOST_USER_GET_MAX_MEM_SLOTS), 509);
}

static void slots_need_their_protocol_feature(void **state)
{
	struct fixture *f = *state;

	assert_true(send_msg(f, vu_msg(VHOST_USER_GET_MAX_MEM_SLOTS, 0, 0)) < 0);
	assert_true(send_fd(f, vu_slot(ADD, 0, 0x1000), vu_memfd(0x1000)) < 0);
	expect_ok(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK));
	expect_nack_fd(f, vu_slot(ADD, 0, 0x1000), vu_memfd(0x1000));
	expect_nack(f, vu_slot(REM, 0, 0x1000));
}

static void rings_run_in_memory_that_came_in_slots(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_nack(f, vu_addr(0, VU_RING(0)));
	add(f, 0, 0x8000);
	add(f, 0x8000, 0x8000);
	run_ring(f, 0);
	run_ring(f, 2);
	((volatile char *)f->fake.ring[2].used)[0] = 1;
	expect_nack(f, vu_addr(3, VU_USER + 0x10000));
}

static void a_slot_added_under_traffic_moves_the_running_rings(void **state)
{
	struct fixture *f = *state;
	void *desc;

	negotiate(f);
	add(f, 0, 0x8000);
	run_ring(f, 0);
	desc = f->fake.ring[0].desc;
	f->fake.log[0] = 0;
	add(f, 0x8000, 0x1000);
	assert_string_equal(f->fake.log, "swap 0;");
	assert_ptr_equal(f->fake.ring[0].desc, desc);	/* not mapped again */
	assert_int_equal(gmem_regions(f->fake.ring[0].mem), 2);
	expect_ok(f, vu_slot(REM, 0x8000, 0x1000));
	assert_string_equal(f->fake.log, "swap 0;swap 0;");
	assert_int_equal(gmem_regions(f->fake.ring[0].mem), 1);
	((volatile char *)f->fake.ring[0].desc)[0] = 1;
}

static void a_slot_that_holds_a_running_ring_stays(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	add(f, 0, 0x8000);
	add(f, 0x8000, 0x8000);
	run_ring(f, 0);
	run_ring(f, 3);
	f->fake.log[0] = 0;
	expect_nack(f, vu_slot(REM, 0, 0x8000));
	expect_nack(f, vu_slot(REM, 0x8000, 0x8000));
	assert_string_equal(f->fake.log, "");
	((volatile char *)f->fake.ring[3].used)[0] = 1;
	ask_base(f, 3);
	expect_ok(f, vu_slot(REM, 0x8000, 0x8000));
	expect_nack(f, vu_slot(REM, 0, 0x8000));
}

static void a_slot_is_removed_by_its_addresses_and_size(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m;

	negotiate(f);
	expect_nack(f, vu_slot(REM, 0, 0x8000));	/* there is none at all */
	add(f, 0, 0x8000);
	expect_nack(f, vu_slot(REM, 0, 0x4000));
	expect_nack(f, vu_slot(REM, 0x1000, 0x8000));
	m = vu_slot(REM, 0, 0x8000);
	m.payload.mem_reg.region.user_addr++;
	expect_nack(f, m);
	m = vu_slot(REM, 0, 0x8000);
	m.payload.mem_reg.region.guest_addr--;
	expect_nack(f, m);
	m = vu_slot(REM, 0, 0x8000);
	m.payload.mem_reg.region.mmap_offset = 77;	/* not looked at */
	expect_ok(f, m);
}

static void an_fd_that_comes_with_a_removal_is_closed(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	negotiate(f);
	before = vu_open_fds();
	add(f, 0, 0x8000);
	expect_ok_fd(f, vu_slot(REM, 0, 0x8000), vu_memfd(0x8000));
	assert_int_equal(vu_open_fds(), before);
	expect_ok_fd(f, vu_slot(REM, 0, 0x8000), vu_memfd(0x8000));	/* once more */
	assert_int_equal(vu_open_fds(), before);
	expect_nack_fd(f, vu_slot(REM, 0x1000, 0x8000), vu_memfd(0x8000));
	assert_int_equal(vu_open_fds(), before);
}

static void without_its_last_slot_there_is_no_memory(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	add(f, 0, 0x8000);
	expect_ok(f, vu_slot(REM, 0, 0x8000));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 0, 256));
	expect_nack(f, vu_addr(0, VU_RING(0)));
	assert_non_null(strstr(f->fake.complaint, "no memory table yet"));
	add(f, 0, 0x8000);
	run_ring(f, 0);
}

/* As QEMU 7.2 does, once for each queue pair. */
static void a_slot_may_be_added_and_removed_more_than_once(void **state)
{
	struct fixture *f = *state;
	int fd = vu_memfd(0x8000);
	unsigned fds;

	negotiate(f);
	expect_ok_fd(f, vu_slot(ADD, 0, 0x8000), dup(fd));
	run_ring(f, 0);
	fds = vu_open_fds();
	f->fake.log[0] = 0;
	expect_ok_fd(f, vu_slot(ADD, 0, 0x8000), dup(fd));
	expect_ok_fd(f, vu_slot(ADD, 0, 0x8000), dup(fd));
	assert_string_equal(f->fake.log, "");	/* rings go on as they were */
	assert_int_equal(vu_open_fds(), fds);
	add(f, 0x10000, 0x8000);
	expect_ok(f, vu_slot(REM, 0x10000, 0x8000));
	expect_ok(f, vu_slot(REM, 0x10000, 0x8000));
	expect_nack(f, vu_slot(REM, 0x20000, 0x8000));	/* that was never there */
	add(f, 0x10000, 0x8000);
	expect_ok(f, vu_slot(REM, 0x10000, 0x8000));
	close(fd);
}

static void bad_slots_are_refused_and_leave_the_others(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m;

	negotiate(f);
	add(f, 0, 0x8000);
	run_ring(f, 0);
	f->fake.log[0] = 0;
	expect_nack_fd(f, vu_slot(ADD, 0, 0x8000), vu_memfd(0x8000));	/* another file in the same place */
	expect_nack_fd(f, vu_slot(ADD, 0x7000, 0x8000), vu_memfd(0x8000));
	m = vu_slot(ADD, 0x10000, 0x8000);
	m.payload.mem_reg.region.user_addr = VU_USER + 0x1000;	/* overlaps in one space */
	expect_nack_fd(f, m, vu_memfd(0x8000));
	expect_nack_fd(f, vu_slot(ADD, 0x8000, 0), vu_memfd(0x8000));
	expect_nack_fd(f, vu_slot(ADD, 0x8000, UINT64_MAX), vu_memfd(0x8000));
	expect_nack_fd(f, vu_slot(ADD, 0x8000, 0x8000), vu_memfd(0x7000));	/* file too short */
	expect_nack_fd(f, vu_slot(ADD, 0x8000, 0x8000), event());
	m = vu_slot(ADD, 0x8000, 0x8000);
	m.payload.mem_reg.region.mmap_offset = UINT64_MAX - 0xfff;
	expect_nack_fd(f, m, vu_memfd(0x8000));
	assert_string_equal(f->fake.log, "");
	((volatile char *)f->fake.ring[0].used)[0] = 1;
}

static void one_slot_more_than_there_are_is_refused(void **state)
{
	struct fixture *f = *state;
	int fd = vu_memfd(0x1000);

	negotiate(f);
	for (uint64_t i = 0; i < 509; i++)
		expect_ok_fd(f, vu_slot(ADD, 0x1000 * i, 0x1000), dup(fd));
	expect_nack_fd(f, vu_slot(ADD, 0x1000 * 509, 0x1000), dup(fd));
	expect_ok(f, vu_slot(REM, 0x1000 * 100, 0x1000));
	expect_ok_fd(f, vu_slot(ADD, 0x1000 * 509, 0x1000), dup(fd));
	close(fd);
}

static void slots_added_and_removed_for_long_leave_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	negotiate(f);
	add(f, 0, 0x8000);
	run_ring(f, 0);
	before = vu_open_fds();
	for (int i = 0; i < 1000; i++) {
		add(f, 0x10000, 0x4000);
		expect_ok(f, vu_slot(REM, 0x10000, 0x4000));
		f->fake.log[0] = 0;
	}
	assert_int_equal(vu_open_fds(), before);
}

static void a_memory_table_replaces_all_slots(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	add(f, 0, 0x8000);
	add(f, 0x8000, 0x1000);
	run_ring(f, 0);
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
	assert_int_equal(gmem_regions(f->fake.ring[0].mem), 1);
	expect_nack(f, vu_slot(REM, 0x8000, 0x1000));
	expect_nack(f, vu_slot(REM, 0, VU_MEM_SIZE));
	ask_base(f, 0);
	expect_ok(f, vu_slot(REM, 0, VU_MEM_SIZE));
}

static void a_truncated_slot_ends_the_session(void **state)
{
	struct fixture *f = *state;
	int mem = vu_memfd(0x8000), mine = dup(mem);

	assert_int_equal(sigbus_install(), 0);
	negotiate(f);
	expect_ok_fd(f, vu_slot(ADD, 0, 0x8000), mem);
	run_ring(f, 0);
	add(f, 0x8000, 0x1000);
	assert_int_equal(ftruncate(mine, 0), 0);
	close(mine);
	((volatile char *)f->fake.ring[0].used)[0] = 1;	/* as a worker would */
	assert_true(session_memory_broken(f->s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_number_of_slots_is_told),
		T(slots_need_their_protocol_feature),
		T_BOTH(rings_run_in_memory_that_came_in_slots),
		T_BOTH(a_slot_added_under_traffic_moves_the_running_rings),
		T(a_slot_that_holds_a_running_ring_stays),
		T(a_slot_is_removed_by_its_addresses_and_size),
		T(an_fd_that_comes_with_a_removal_is_closed),
		T(without_its_last_slot_there_is_no_memory),
		T(a_slot_may_be_added_and_removed_more_than_once),
		T(bad_slots_are_refused_and_leave_the_others),
		T(one_slot_more_than_there_are_is_refused),
		T(slots_added_and_removed_for_long_leave_nothing),
		T(a_memory_table_replaces_all_slots),
		T(a_truncated_slot_ends_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
