/* SPDX-License-Identifier: BSD-2-Clause */
/* The limit of open files follows what the ports need. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "ctl/limits.h"

static void every_ring_of_every_port_counts(void **state)
{
	static struct port_config ports[256];

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		ports[i].pairs = 4;
	assert_true(limits_files(ports, 256) - limits_files(ports, 255) >= 4 * 4 + 8);
	assert_true(limits_files(NULL, 0) > 0 && limits_files(NULL, 0) < 1024);
	ports[0].pairs = VD_MAX_PAIRS;
	assert_true(limits_files(ports, 1) >= 4 * VD_MAX_PAIRS);
}

static void the_limit_is_raised_when_it_must_be(void **state)
{
	struct rlimit was, now;
	char err[256] = "";

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = (struct rlimit){ .rlim_cur = 64, .rlim_max = was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(limits_raise_files(64, err, sizeof(err)), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(now.rlim_cur, 64);
	assert_int_equal(limits_raise_files(65, err, sizeof(err)), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
	assert_true(now.rlim_cur >= 65);
	assert_true(now.rlim_max >= was.rlim_max);
}

static void what_the_kernel_does_not_allow_is_said(void **state)
{
	char err[256] = "";

	(void)state;
	assert_int_equal(limits_raise_files(1ull << 40, err, sizeof(err)), -EMFILE);
	assert_non_null(strstr(err, "LimitNOFILE="));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ring_of_every_port_counts),
		cmocka_unit_test(the_limit_is_raised_when_it_must_be),
		cmocka_unit_test(what_the_kernel_does_not_allow_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
