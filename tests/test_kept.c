/* SPDX-License-Identifier: BSD-2-Clause */
/* The file with the positions of packed rings: made, left behind, adopted, refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "bridge/kept.h"

#define VERSION_AT 8		/* bytes into the file */
#define NAMES_AT 16
#define NAME_LEN 32
#define RINGS_AT 12288
#define RING_LEN 64

static char dir[32], path[64];

static int real_open(const struct host_ops *h, const char *p, int flags, mode_t mode)
{
	int fd;

	(void)h;
	if (strncmp(p, dir, strlen(dir)))
		return -EPERM;
	fd = open(p, flags | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

static int real_unlink(const struct host_ops *h, const char *p)
{
	(void)h;
	if (strncmp(p, dir, strlen(dir)))	/* whatever goes wrong, it goes wrong in here */
		return -EPERM;
	return unlink(p) ? -errno : 0;
}

static const struct host_ops host = { .open = real_open, .unlink = real_unlink };

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	strcpy(dir, "/tmp/kept-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/nic0.rings", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static bool exists(void)
{
	struct stat st;

	return !lstat(path, &st);
}

static struct kept *open_kept(void)
{
	struct kept *k = NULL;

	assert_int_equal(kept_open(&host, path, &k), 0);
	assert_non_null(k);
	return k;
}

/* What SIGKILL does: nothing is said, and nothing is removed. */
static void killed(struct kept *k)
{
	kept_close(k, false);
}

/* Cut off while it gave a batch back, and with the other flag. */
static const struct virtq_kept somewhere = { .size = 3u << 30 | 256, .published = 0x8000 | 17, .next = 0x8000 | 20 };

static void assert_same(const struct virtq_kept *a, const struct virtq_kept *b)
{
	assert_non_null(a);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->published, b->published);
	assert_int_equal(a->next, b->next);
}

static const struct virtq_kept nothing;

/* A file with a port vm0 whose second ring stands somewhere. */
static void leave_one(void)
{
	struct kept *k = open_kept();
	int slot = kept_take(k, "vm0", 2);

	assert_true(slot >= 0);
	*kept_ring(k, slot, 1) = somewhere;
	kept_confirm(k);
	killed(k);
}

static void spoil(off_t at, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
	close(fd);
}

/* Opens the file and finds nothing of it. */
static void assert_begun_anew(void)
{
	struct kept *k = open_kept();
	int slot = kept_take(k, "vm0", 2);

	assert_false(kept_adopted(k));
	assert_true(slot >= 0);
	assert_same(kept_ring(k, slot, 0), &nothing);
	assert_same(kept_ring(k, slot, 1), &nothing);
	kept_close(k, true);
	assert_false(exists());
}

/* --- the tests ------------------------------------------------------------------ */

static void a_new_file_is_private_and_sparse_and_goes_at_the_end(void **state)
{
	struct kept *k = open_kept();
	struct stat st;

	(void)state;
	assert_false(kept_adopted(k));
	assert_int_equal(kept_take(k, "vm0", 2), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(st.st_blocks * 512 < st.st_size / 16);
	kept_confirm(k);
	kept_close(k, true);
	assert_false(exists());
}

static void a_position_survives_a_kill_and_is_found_by_the_ports_name(void **state)
{
	struct kept *k;
	int slot;

	(void)state;
	leave_one();
	k = open_kept();
	assert_true(kept_adopted(k));
	slot = kept_take(k, "vm1", 2);
	assert_same(kept_ring(k, slot, 1), &nothing);
	slot = kept_take(k, "vm0", 2);
	assert_same(kept_ring(k, slot, 0), &nothing);
	assert_same(kept_ring(k, slot, 1), &somewhere);
	kept_close(k, true);
}

static void a_start_that_fails_leaves_what_it_found(void **state)
{
	struct kept *k;

	(void)state;
	leave_one();
	k = open_kept();
	kept_give_back(k, kept_take(k, "vm0", 2));
	kept_close(k, true);
	assert_true(exists());
	k = open_kept();
	assert_same(kept_ring(k, kept_take(k, "vm0", 2), 1), &somewhere);
	kept_confirm(k);
	kept_close(k, true);
	assert_false(exists());
}

static void a_port_that_is_gone_takes_its_positions_along(void **state)
{
	struct kept *k;
	int slot;

	(void)state;
	leave_one();
	k = open_kept();
	slot = kept_take(k, "vm0", 2);
	kept_confirm(k);
	kept_give_back(k, slot);
	assert_same(kept_ring(k, kept_take(k, "vm0", 2), 1), &nothing);
	*kept_ring(k, slot, 1) = somewhere;
	killed(k);
	/* Not configured any more: what it had is nobody's when a port of that name comes later. */
	k = open_kept();
	assert_true(kept_take(k, "vm1", 2) >= 0);
	kept_confirm(k);
	assert_same(kept_ring(k, kept_take(k, "vm0", 2), 1), &nothing);
	kept_close(k, true);
}

static void a_name_has_one_slot_and_must_be_one(void **state)
{
	struct kept *k = open_kept();

	(void)state;
	assert_true(kept_take(k, "vm0", 2) >= 0);
	assert_int_equal(kept_take(k, "vm0", 2), -EEXIST);
	assert_int_equal(kept_take(k, "", 2), -EINVAL);
	assert_int_equal(kept_take(k, "a-name-that-is-longer-than-any-port-has", 2), -EINVAL);
	assert_int_equal(kept_take(k, "vm1", 0), -EINVAL);
	assert_int_equal(kept_take(k, "vm1", KEPT_RINGS + 1), -EINVAL);
	assert_null(kept_ring(k, -ENOSPC, 0));
	assert_null(kept_ring(NULL, 0, 0));
	kept_close(k, true);
}

static void every_port_and_ring_there_can_be_has_an_entry_and_not_one_more(void **state)
{
	struct kept *k = open_kept();
	struct virtq_kept at = somewhere;
	char name[16];

	(void)state;
	for (unsigned i = 0; i < KEPT_SLOTS; i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		assert_int_equal(kept_take(k, name, KEPT_RINGS), i);
		at.next = (uint16_t)i;
		*kept_ring(k, (int)i, KEPT_RINGS - 1) = at;
	}
	assert_int_equal(kept_take(k, "one-more", 2), -ENOSPC);
	killed(k);
	k = open_kept();
	/* Other ports now: they push out those that nobody asked for, and find nothing. */
	at.next = 100;
	assert_same(kept_ring(k, kept_take(k, "vm100", KEPT_RINGS), KEPT_RINGS - 1), &at);
	for (unsigned i = 1; i < KEPT_SLOTS; i++) {
		snprintf(name, sizeof(name), "new%u", i);
		assert_same(kept_ring(k, kept_take(k, name, KEPT_RINGS), KEPT_RINGS - 1), &nothing);
	}
	assert_int_equal(kept_take(k, "one-more", 2), -ENOSPC);
	kept_close(k, true);
}

static void garbage_is_begun_anew(void **state)
{
	uint8_t junk[4096];

	(void)state;
	memset(junk, 0xa5, sizeof(junk));
	leave_one();
	spoil(0, junk, sizeof(junk));
	assert_begun_anew();
	/* Another length, too. */
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_begun_anew();
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	spoil(0, junk, sizeof(junk));
	assert_begun_anew();
	leave_one();
	assert_int_equal(truncate(path, RINGS_AT), 0);
	assert_begun_anew();
}

static void another_version_is_begun_anew(void **state)
{
	const uint32_t version = 2;

	(void)state;
	leave_one();
	spoil(VERSION_AT, &version, sizeof(version));
	assert_begun_anew();
}

static void names_that_cannot_be_are_begun_anew(void **state)
{
	char name[NAME_LEN] = "vm0";

	(void)state;
	leave_one();
	spoil(NAMES_AT + 3 * NAME_LEN, name, sizeof(name));	/* twice */
	assert_begun_anew();
	leave_one();
	memset(name, 'x', sizeof(name));	/* without an end */
	spoil(NAMES_AT + 3 * NAME_LEN, name, sizeof(name));
	assert_begun_anew();
}

static void positions_that_no_ring_can_have_are_none(void **state)
{
	static const struct virtq_kept bad[] = {
		{ .size = 0, .published = 1, .next = 1 },
		{ .size = 1u << 31, .published = 0, .next = 0 },
		{ .size = 1u << 30, .published = 0, .next = 0 },
		{ .size = VIRTQ_MAX_SIZE + 1, .published = 1, .next = 1 },
		{ .size = 256, .published = 256, .next = 1 },
		{ .size = 256, .published = 1, .next = 0x8000 | 256 },
		{ .size = UINT32_MAX, .published = UINT16_MAX, .next = UINT16_MAX },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct kept *k;
		int slot;

		leave_one();
		spoil(RINGS_AT, &bad[i], sizeof(bad[i]));
		k = open_kept();
		assert_true(kept_adopted(k));
		slot = kept_take(k, "vm0", 2);
		assert_same(kept_ring(k, slot, 0), &nothing);
		assert_same(kept_ring(k, slot, 1), &somewhere);
		kept_confirm(k);
		kept_close(k, true);
	}
}

static void what_is_no_file_is_refused_and_left_alone(void **state)
{
	struct kept *k = NULL;
	char beyond[96];

	(void)state;
	assert_int_equal(symlink("elsewhere", path), 0);
	assert_int_equal(kept_open(&host, path, &k), -ELOOP);
	assert_true(exists());
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(kept_open(&host, path, &k), -EINVAL);
	assert_true(exists());
	assert_int_equal(unlink(path), 0);
	snprintf(beyond, sizeof(beyond), "%s/at/all", path);
	assert_int_equal(kept_open(&host, beyond, &k), -ENOENT);
	assert_null(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_file_is_private_and_sparse_and_goes_at_the_end),
		cmocka_unit_test(a_position_survives_a_kill_and_is_found_by_the_ports_name),
		cmocka_unit_test(a_start_that_fails_leaves_what_it_found),
		cmocka_unit_test(a_port_that_is_gone_takes_its_positions_along),
		cmocka_unit_test(a_name_has_one_slot_and_must_be_one),
		cmocka_unit_test(every_port_and_ring_there_can_be_has_an_entry_and_not_one_more),
		cmocka_unit_test(garbage_is_begun_anew),
		cmocka_unit_test(another_version_is_begun_anew),
		cmocka_unit_test(names_that_cannot_be_are_begun_anew),
		cmocka_unit_test(positions_that_no_ring_can_have_are_none),
		cmocka_unit_test(what_is_no_file_is_refused_and_left_alone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
