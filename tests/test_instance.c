/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock of an instance, and what it tells its successor. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/instance.h"

static char dir[32];	/* stands for INSTANCE_DIR: nothing else is ever touched */

static const char *real(const char *path, char *buf, size_t len)
{
	assert_int_equal(strncmp(path, INSTANCE_DIR "/", strlen(INSTANCE_DIR "/")), 0);
	snprintf(buf, len, "%s/%s", dir, path + strlen(INSTANCE_DIR "/"));
	return buf;
}

static int fake_open(const struct host_ops *h, const char *path, int flags, mode_t mode)
{
	char buf[256];
	int fd = open(real(path, buf, sizeof(buf)), flags | O_CLOEXEC, mode);

	(void)h;
	return fd < 0 ? -errno : fd;
}

static int fake_unlink(const struct host_ops *h, const char *path)
{
	char buf[256];

	(void)h;
	return unlink(real(path, buf, sizeof(buf))) ? -errno : 0;
}

static int fake_mkdir(const struct host_ops *h, const char *path, mode_t mode)
{
	(void)h;
	(void)path;
	(void)mode;
	return 0;
}

static int fake_rmdir(const struct host_ops *h, const char *path)
{
	(void)h;
	(void)path;
	return 0;
}

static const struct host_ops host = { .open = fake_open, .unlink = fake_unlink, .mkdir = fake_mkdir,
				      .rmdir = fake_rmdir };

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/instance-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);	/* nothing was left in it */
}

static int lock(int *noted)
{
	char err[256];

	*noted = -1;
	return instance_lock(&host, "nic0", noted, 0, err, sizeof(err));
}

static void a_name_is_given_once_and_given_back(void **state)
{
	int noted, fd = lock(&noted);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(noted, 0);
	assert_true(lock(&noted) < 0);
	instance_unlock(&host, "nic0", fd);
	fd = lock(&noted);
	assert_true(fd >= 0);
	assert_int_equal(noted, 0);
	instance_unlock(&host, "nic0", fd);
}

static void what_a_killed_instance_noted_is_known_to_the_next(void **state)
{
	int noted, fd = lock(&noted);

	(void)state;
	instance_note(fd, 123456);
	instance_note(fd, 17);
	instance_note(fd, -ENOENT);	/* not a number to note: the last one stays */
	close(fd);
	fd = lock(&noted);
	assert_true(fd >= 0);
	assert_int_equal(noted, 17);
	instance_unlock(&host, "nic0", fd);
}

static void what_is_no_note_says_nothing(void **state)
{
	static const char *const text[] = { "17", "17\n18\n", "x\n", "\n", "0\n", "-4\n", "99999999999\n", "17 \n",
					    "123456789012345678\n" };
	int noted, fd;

	(void)state;
	for (unsigned i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		fd = lock(&noted);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, text[i], strlen(text[i]), 0), strlen(text[i]));
		close(fd);
		fd = lock(&noted);
		assert_int_equal(noted, 0);
		instance_unlock(&host, "nic0", fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_given_once_and_given_back),
		cmocka_unit_test(what_a_killed_instance_noted_is_known_to_the_next),
		cmocka_unit_test(what_is_no_note_says_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
