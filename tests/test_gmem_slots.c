/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory tables that gain and lose single regions: what they share, what stays, and the way back from pointers. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/sigbus.h"
#include "files.h"
#include "ring/gmem.h"

#define PAGE 4096ull
#define SIZE (4 * PAGE)
#define GUEST 0x40000000ull
#define USER 0x7f0000000000ull

/* Slot @i: regions follow each other for the guest, the other way round for the front-end. */
static struct gmem_desc slot(unsigned i)
{
	return (struct gmem_desc){ GUEST + i * SIZE, SIZE, USER + (1000 - i) * SIZE, i % 3 * PAGE };
}

/* *@m with one more; the old one goes. */
static void add(struct gmem **m, unsigned i)
{
	struct gmem_desc d = slot(i);
	struct gmem *next = NULL;

	assert_int_equal(gmem_add(*m, &d, memfd(d.size + d.mmap_offset), &next), 0);
	gmem_put(*m);
	*m = next;
}

static void take_out(struct gmem **m, unsigned i)
{
	struct gmem_desc d = slot(i);
	struct gmem *next = NULL;

	assert_int_equal(gmem_remove(*m, &d, &next), 0);
	gmem_put(*m);
	*m = next;
}

static struct gmem *slots(unsigned n)
{
	struct gmem *m = NULL;

	assert_int_equal(sigbus_install(), 0);	/* cmocka puts a handler of its own around every test */
	for (unsigned i = 0; i < n; i++)
		add(&m, i);
	return m;
}

/* Where guest address @addr is for us, NULL: nowhere. */
static uint8_t *at(const struct gmem *m, uint64_t addr)
{
	struct iovec iov;
	unsigned hint = 0;

	return gmem_map(m, GMEM_GUEST, addr, 1, &iov, 1, &hint) == 1 ? iov.iov_base : NULL;
}

static void cut_file(const struct gmem *m, unsigned i)
{
	struct gmem_desc d;
	int fd;

	assert_int_equal(gmem_region(m, i, &d, &fd), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
}

static void refused(const struct gmem *old, struct gmem_desc d, int fd, int want)
{
	unsigned before = open_fds(), maps = mappings();
	struct gmem *m = (void *)1;

	assert_int_equal(gmem_add(old, &d, fd, &m), want);
	assert_ptr_equal(m, (void *)1);
	assert_int_equal(open_fds(), before);
	assert_int_equal(mappings(), maps);
	if (fd >= 0)
		close(fd);
}

/* --- more and less ---------------------------------------------------------------- */

static void a_region_can_be_added_to_nothing(void **state)
{
	struct gmem *m = slots(1);

	(void)state;
	assert_int_equal(gmem_regions(m), 1);
	assert_non_null(at(m, GUEST));
	assert_non_null(at(m, GUEST + SIZE - 1));
	assert_null(at(m, GUEST + SIZE));
	gmem_put(m);
}

static void a_table_stays_as_it_is_when_another_is_made_from_it(void **state)
{
	struct gmem *one = slots(1), *two = NULL, *none = NULL;
	struct gmem_desc d = slot(1);

	(void)state;
	assert_int_equal(gmem_add(one, &d, memfd(SIZE + PAGE), &two), 0);
	assert_int_equal(gmem_regions(one), 1);
	assert_null(at(one, GUEST + SIZE));
	assert_non_null(at(two, GUEST + SIZE));
	d = slot(0);
	assert_int_equal(gmem_remove(two, &d, &none), 0);
	assert_non_null(at(two, GUEST));
	assert_null(at(none, GUEST));
	assert_non_null(at(none, GUEST + SIZE));
	gmem_put(none);
	gmem_put(one);
	gmem_put(two);
}

static void what_both_tables_have_is_mapped_once(void **state)
{
	unsigned maps = mappings(), fds = open_fds();
	struct gmem *two = slots(2), *three = NULL;
	struct gmem_desc d = slot(2);

	(void)state;
	assert_int_equal(gmem_add(two, &d, memfd(SIZE + 2 * PAGE), &three), 0);
	assert_int_equal(mappings(), maps + 3);
	assert_int_equal(open_fds(), fds + 3);
	for (unsigned i = 0; i < 2; i++)
		assert_ptr_equal(at(two, GUEST + i * SIZE + 5), at(three, GUEST + i * SIZE + 5));
	gmem_put(two);
	assert_int_equal(mappings(), maps + 3);
	gmem_put(three);
	assert_int_equal(mappings(), maps);
	assert_int_equal(open_fds(), fds);
}

static void a_removed_region_stays_mapped_for_the_older_table(void **state)
{
	unsigned maps = mappings(), fds = open_fds();
	struct gmem *two = slots(2), *one = NULL;
	struct gmem_desc d = slot(0);

	(void)state;
	memset(at(two, GUEST), 7, SIZE);
	assert_int_equal(gmem_remove(two, &d, &one), 0);
	assert_int_equal(*at(two, GUEST + 9), 7);
	gmem_put(two);
	assert_int_equal(mappings(), maps + 1);
	assert_int_equal(open_fds(), fds + 1);
	gmem_put(one);
	assert_int_equal(mappings(), maps);
}

static void the_last_region_leaves_a_table_that_maps_nothing(void **state)
{
	struct gmem *m = slots(1);
	uint64_t addr, part;
	struct gmem_desc d;
	struct iovec iov;
	unsigned hint = 3;
	uint8_t *was = at(m, GUEST);
	int fd;

	(void)state;
	take_out(&m, 0);
	assert_int_equal(gmem_regions(m), 0);
	assert_int_equal(gmem_region(m, 0, &d, &fd), -ENOENT);
	assert_int_equal(gmem_map(m, GMEM_GUEST, GUEST, 1, &iov, 1, &hint), -EFAULT);
	assert_int_equal(gmem_map(m, GMEM_GUEST, 0, 1, &iov, 1, &hint), -EFAULT);
	assert_int_equal(gmem_map(m, GMEM_USER, USER + 1000 * SIZE, 1, &iov, 1, &hint), -EFAULT);
	assert_int_equal(gmem_map(m, GMEM_GUEST, GUEST, 0, &iov, 1, &hint), 0);
	assert_int_equal(gmem_guest_of(m, was, 1, &addr, &part), -EFAULT);
	assert_int_equal(gmem_guest_of(m, NULL, 1, &addr, &part), -EFAULT);
	assert_false(gmem_broken(m));
	add(&m, 4);
	assert_non_null(at(m, GUEST + 4 * SIZE));
	gmem_put(m);
}

static void only_the_region_that_is_meant_is_removed(void **state)
{
	struct gmem *m = slots(3), *out = NULL;
	struct gmem_desc d;

	(void)state;
	d = slot(1);
	d.guest_addr++;
	assert_int_equal(gmem_remove(m, &d, &out), -ENOENT);
	d = slot(1);
	d.user_addr = slot(2).user_addr;
	assert_int_equal(gmem_remove(m, &d, &out), -ENOENT);
	d = slot(1);
	d.size--;
	assert_int_equal(gmem_remove(m, &d, &out), -ENOENT);
	d = slot(3);
	assert_int_equal(gmem_remove(m, &d, &out), -ENOENT);
	assert_null(out);
	d = slot(1);
	d.mmap_offset = 12345;
	assert_int_equal(gmem_remove(m, &d, &out), 0);
	assert_int_equal(gmem_regions(out), 2);
	assert_null(at(out, GUEST + SIZE));
	gmem_put(out);
	gmem_put(m);
}

static void regions_can_be_added_to_a_table_that_came_as_a_whole(void **state)
{
	const struct gmem_desc d[2] = { slot(5), slot(2) };
	int fds[2] = { memfd(SIZE + 2 * PAGE), memfd(SIZE + 2 * PAGE) };
	struct gmem *m = NULL;

	(void)state;
	assert_int_equal(gmem_create(d, fds, 2, &m), 0);
	add(&m, 3);
	take_out(&m, 2);
	assert_int_equal(gmem_regions(m), 2);
	assert_non_null(at(m, GUEST + 3 * SIZE));
	assert_non_null(at(m, GUEST + 5 * SIZE));
	gmem_put(m);
}

/* In an order of their own, so that every place of the order is tried. */
static void as_many_slots_as_there_can_be_come_and_go(void **state)
{
	unsigned fds = open_fds(), maps = mappings();
	struct gmem *m = NULL, *next;
	struct gmem_desc d;
	struct iovec iov[GMEM_SLOTS];
	unsigned hint = 0;
	int fd;

	(void)state;
	for (unsigned i = 0; i < GMEM_SLOTS; i++)
		add(&m, i * 100 % GMEM_SLOTS);
	assert_int_equal(gmem_regions(m), GMEM_SLOTS);
	for (unsigned i = 0; i < GMEM_SLOTS; i++) {
		assert_int_equal(gmem_region(m, i, &d, &fd), 0);
		assert_int_equal(d.guest_addr, GUEST + i * SIZE);
		assert_int_equal(d.mmap_offset, i % 3 * PAGE);
		assert_int_equal(gmem_map(m, GMEM_USER, d.user_addr + 7, SIZE - 7, iov, 1, &hint), 1);
		assert_ptr_equal(iov[0].iov_base, at(m, d.guest_addr + 7));
	}
	assert_in_range(gmem_map(m, GMEM_GUEST, GUEST, GMEM_SLOTS * SIZE, iov, GMEM_SLOTS, &hint), 1, GMEM_SLOTS);
	assert_null(at(m, GUEST - 1));
	assert_null(at(m, GUEST + GMEM_SLOTS * SIZE));
	d = slot(GMEM_SLOTS);
	fd = memfd(SIZE + 2 * PAGE);
	assert_int_equal(gmem_add(m, &d, fd, &next), -ENOSPC);
	close(fd);
	for (unsigned i = 0; i < GMEM_SLOTS; i++) {
		take_out(&m, i * 77 % GMEM_SLOTS);
		assert_null(at(m, GUEST + i * 77 % GMEM_SLOTS * SIZE));
		if (i + 1 < GMEM_SLOTS)
			assert_non_null(at(m, GUEST + (i + 1) * 77 % GMEM_SLOTS * SIZE));
	}
	gmem_put(m);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(mappings(), maps);
}

/* --- refused ---------------------------------------------------------------------- */

static void a_region_that_overlaps_another_is_refused(void **state)
{
	struct gmem *m = slots(3);
	struct gmem_desc d;

	(void)state;
	refused(m, slot(1), memfd(SIZE + PAGE), -EINVAL);
	d = slot(7);
	d.guest_addr = GUEST + 3 * SIZE - 1;
	refused(m, d, memfd(SIZE + PAGE), -EINVAL);
	d.guest_addr = GUEST - SIZE + 1;
	refused(m, d, memfd(SIZE + PAGE), -EINVAL);
	d = slot(7);
	d.user_addr = slot(2).user_addr - SIZE + 1;
	refused(m, d, memfd(SIZE + PAGE), -EINVAL);
	gmem_put(m);
}

static void a_region_that_no_whole_table_could_have_is_refused(void **state)
{
	struct gmem *m = slots(1);
	struct gmem_desc d = slot(1);

	(void)state;
	refused(m, d, memfd(SIZE), -EINVAL);	/* an offset of one page */
	refused(m, d, -1, -EBADF);
	refused(m, d, open("/dev/null", O_RDWR), -EINVAL);
	d.size = 0;
	refused(m, d, memfd(SIZE), -EINVAL);
	refused(NULL, d, memfd(SIZE), -EINVAL);
	d.size = UINT64_MAX;
	refused(m, d, memfd(SIZE), -EINVAL);
	gmem_put(m);
}

/* --- what breaks ------------------------------------------------------------------ */

static void a_file_that_shrinks_marks_all_tables_that_share_it(void **state)
{
	struct gmem *one = slots(1), *two = NULL, *other = NULL, *strange = slots(1);
	struct gmem_desc d = slot(1);

	(void)state;
	assert_int_equal(gmem_add(one, &d, memfd(SIZE + PAGE), &two), 0);
	d = slot(0);
	assert_int_equal(gmem_remove(two, &d, &other), 0);
	cut_file(two, 1);
	assert_int_equal(*(volatile uint8_t *)at(other, GUEST + SIZE), 0);
	assert_true(gmem_broken(two));
	assert_true(gmem_broken(other));
	assert_false(gmem_broken(strange));
	gmem_put(one);
	gmem_put(two);
	assert_true(gmem_broken(other));
	gmem_put(other);
	gmem_put(strange);
}

static void a_mapping_is_protected_when_the_table_that_made_it_is_gone(void **state)
{
	struct gmem *m = slots(1);

	(void)state;
	for (unsigned i = 1; i < 6; i++)
		add(&m, i);
	take_out(&m, 3);
	cut_file(m, 0);
	assert_false(gmem_broken(m));
	*(volatile uint8_t *)at(m, GUEST) = 1;
	assert_true(gmem_broken(m));
	gmem_put(m);
}

/* --- the way back ------------------------------------------------------------------- */

static void a_pointer_leads_back_to_its_guest_address(void **state)
{
	struct gmem *m = slots(40);
	uint64_t addr, part;

	(void)state;
	for (uint64_t a = GUEST; a < GUEST + 40 * SIZE; a += 777) {
		assert_int_equal(gmem_guest_of(m, at(m, a), 10, &addr, &part), 0);
		assert_int_equal(addr, a);
		assert_int_equal(part, SIZE - (a - GUEST) % SIZE < 10 ? SIZE - (a - GUEST) % SIZE : 10);
	}
	gmem_put(m);
}

static void a_span_of_pointers_ends_with_its_region(void **state)
{
	struct gmem *m = slots(2);
	uint64_t addr, part;

	(void)state;
	assert_int_equal(gmem_guest_of(m, at(m, GUEST + 5), UINT64_MAX, &addr, &part), 0);
	assert_int_equal(part, SIZE - 5);
	assert_int_equal(gmem_guest_of(m, at(m, GUEST + SIZE - 1), 2, &addr, &part), 0);
	assert_int_equal(part, 1);
	gmem_put(m);
}

static void a_pointer_into_no_region_has_no_guest_address(void **state)
{
	struct gmem *m = slots(2);
	uint64_t addr, part;

	(void)state;
	assert_int_equal(gmem_guest_of(m, &addr, 1, &addr, &part), -EFAULT);
	assert_int_equal(gmem_guest_of(m, NULL, 1, &addr, &part), -EFAULT);
	assert_int_equal(gmem_guest_of(m, (void *)UINTPTR_MAX, 1, &addr, &part), -EFAULT);
	/* Mapped, in front of where the region begins in its file. */
	assert_int_equal(gmem_guest_of(m, at(m, GUEST + SIZE) - 1, 1, &addr, &part), -EFAULT);
	gmem_put(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_region_can_be_added_to_nothing),
		cmocka_unit_test(a_table_stays_as_it_is_when_another_is_made_from_it),
		cmocka_unit_test(what_both_tables_have_is_mapped_once),
		cmocka_unit_test(a_removed_region_stays_mapped_for_the_older_table),
		cmocka_unit_test(the_last_region_leaves_a_table_that_maps_nothing),
		cmocka_unit_test(only_the_region_that_is_meant_is_removed),
		cmocka_unit_test(regions_can_be_added_to_a_table_that_came_as_a_whole),
		cmocka_unit_test(as_many_slots_as_there_can_be_come_and_go),
		cmocka_unit_test(a_region_that_overlaps_another_is_refused),
		cmocka_unit_test(a_region_that_no_whole_table_could_have_is_refused),
		cmocka_unit_test(a_file_that_shrinks_marks_all_tables_that_share_it),
		cmocka_unit_test(a_mapping_is_protected_when_the_table_that_made_it_is_gone),
		cmocka_unit_test(a_pointer_leads_back_to_its_guest_address),
		cmocka_unit_test(a_span_of_pointers_ends_with_its_region),
		cmocka_unit_test(a_pointer_into_no_region_has_no_guest_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
