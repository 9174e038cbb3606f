// SPDX-License-Identifier: BSD-2-Clause
/* The virtio driver's device arguments, and the command line of viaduct-guest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "driver/guest_options.h"

/* ---- the device ---- */

static char err[300];

static int parse(const char *text, struct driver_args *a)
{
	return driver_args_parse(text, a, err, sizeof(err));
}

static void test_arguments_have_defaults(void **state)
{
	struct driver_args a, b;

	(void)state;
	assert_int_equal(parse("path=/run/x.sock", &a), 0);
	assert_string_equal(a.path, "/run/x.sock");
	assert_int_equal(a.queues, 1);
	assert_int_equal(a.queue_size, 256);
	assert_true(a.mrg_rxbuf);
	assert_false(a.server);
	assert_false(a.packed_vq);
	assert_true(a.in_order);
	assert_true(a.offloads);
	assert_false(a.mac_given);
	assert_int_equal(a.mac[0] & 3, 2);	/* unicast, locally administered */
	assert_int_equal(parse("path=/run/x.sock", &b), 0);
	assert_memory_not_equal(a.mac, b.mac, 6);
}

static void test_every_argument_is_read(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0xaB, 0xcd, 0xef };
	struct driver_args a;

	(void)state;
	assert_int_equal(parse("mac=52:54:00:aB:cd:ef,queues=4,path=s,queue_size=1024,server=1,mrg_rxbuf=0", &a), 0);
	assert_memory_equal(a.mac, mac, 6);
	assert_int_equal(a.queues, 4);
	assert_int_equal(a.queue_size, 1024);
	assert_true(a.server);
	assert_false(a.mrg_rxbuf);
	assert_int_equal(parse("path=s,packed_vq=1,in_order=0,offloads=0", &a), 0);
	assert_true(a.packed_vq);
	assert_false(a.in_order);
	assert_false(a.offloads);
}

static void test_only_packed_rings_have_any_size(void **state)
{
	struct driver_args a;

	(void)state;
	assert_int_equal(parse("path=s,queue_size=100", &a), -EINVAL);
	assert_non_null(strstr(err, "packed_vq=1"));
	assert_int_equal(parse("path=s,packed_vq=0,queue_size=100", &a), -EINVAL);
	assert_int_equal(parse("path=s,queue_size=100,packed_vq=1", &a), 0);
	assert_int_equal(a.queue_size, 100);
	assert_int_equal(parse("path=s,queue_size=32768,packed_vq=1", &a), 0);
	assert_int_equal(parse("path=s,queue_size=32769,packed_vq=1", &a), -EINVAL);
}

static void test_wrong_arguments_are_refused(void **state)
{
	static const char *const wrong[] = {
		"", "path", "path=", "queues=1", "path=s,", "path=s,queues=0", "path=s,queues=129", "path=s,queues=1x",
		"path=s,queues=-1", "path=s,queues= 1", "path=s,queues=99999999999", "path=s,queue_size=3",
		"path=s,queue_size=1", "path=s,queue_size=65536", "path=s,server=2", "path=s,server=",
		"path=s,mrg_rxbuf=yes", "path=s,mac=1", "path=s,mac=01:00:00:00:00:01", "path=s,mac=00:00:00:00:00:00",
		"path=s,mac=02:00:00:00:00:0g", "path=s,mac=02:00:00:00:00:01:", "path=s,mac=02:00:00:00:0:001",
		"path=s,path=t", "path=s,packed_vq=2", "path=s,in_order=", "path=s,offloads=on",
		"path=s,packed_vq=1,packed_vq=1",
	};
	char longest[160] = "path=";
	struct driver_args a;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(parse(wrong[i], &a), -EINVAL);
		assert_int_not_equal(err[0], 0);
	}
	memset(longest + 5, 'p', 107);
	assert_int_equal(parse(longest, &a), 0);
	longest[112] = 'p';
	assert_int_equal(parse(longest, &a), -EINVAL);
}

static void test_an_unknown_key_names_the_known_ones(void **state)
{
	struct driver_args a;

	(void)state;
	assert_int_equal(parse("path=s,speed=10", &a), -EINVAL);
	assert_non_null(strstr(err, "speed"));
	assert_non_null(strstr(err, "queue_size"));
}

static void test_what_does_not_work_yet_says_so(void **state)
{
	static const char *const later[] = { "path=s,cq=1", "path=s,iface=tap0", "path=s,iface=0" };
	struct driver_args a;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(parse(later[i], &a), -ENOTSUP);
		assert_non_null(strstr(err, "not yet"));
	}
	assert_int_equal(parse("path=s,cq=0", &a), 0);
}

/* ---- the command line ---- */

static int options(struct guest_options *o, const char *line)
{
	static char copy[400];
	char *argv[32] = { "viaduct-guest" }, *rest = copy;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	while (argc < 31 && (argv[argc] = strsep(&rest, " ")))
		argc++;
	return guest_options_parse(argc, argv, o, err, sizeof(err));
}

static void test_options_have_defaults(void **state)
{
	static const uint8_t dst[6] = { 2, 0, 0, 0, 0, 1 };
	struct guest_options o;

	(void)state;
	assert_int_equal(options(&o, "path=s --tap tap0"), 0);
	assert_int_equal(o.mode, GUEST_TAP);
	assert_string_equal(o.tap, "tap0");
	assert_null(o.netns);
	assert_int_equal(o.mtu, 1500);
	assert_int_equal(o.cpu, -1);
	assert_int_equal(o.flows, 1);
	assert_memory_equal(o.dst, dst, 6);
	assert_false(o.busy || o.json || o.help || o.version);
}

static void test_every_option_is_read(void **state)
{
	static const uint8_t dst[6] = { 2, 0, 0, 0, 0, 9 };
	struct guest_options o;

	(void)state;
	assert_int_equal(options(&o, "--generate 1500,2000 --time 1.5 --count 7 --window 8 --flows 9 --busy --json "
				     "path=s,queues=2 --cpu 1 --enable 2 --dst 02:00:00:00:00:09"), 0);
	assert_int_equal(o.mode, GUEST_GENERATE);
	assert_int_equal(o.len, 1500);
	assert_int_equal(o.pps, 2000);
	assert_int_equal(o.time_ns, 1500000000);
	assert_int_equal(o.count, 7);
	assert_int_equal(o.window, 8);
	assert_int_equal(o.flows, 9);
	assert_true(o.busy && o.json);
	assert_int_equal(o.cpu, 1);
	assert_int_equal(o.enable, 2);
	assert_memory_equal(o.dst, dst, 6);
	assert_int_equal(options(&o, "path=s --tap t --netns ns --mtu 9000"), 0);
	assert_string_equal(o.netns, "ns");
	assert_int_equal(o.mtu, 9000);
	assert_int_equal(options(&o, "path=s --sink"), 0);
	assert_int_equal(o.mode, GUEST_SINK);
	assert_int_equal(options(&o, "path=s --echo"), 0);
	assert_int_equal(o.mode, GUEST_ECHO);
	assert_false(o.answer);
	assert_int_equal(options(&o, "path=s --answer"), 0);
	assert_true(o.mode == GUEST_ECHO && o.answer);
}

static void test_a_wrong_command_line_is_refused_with_a_reason(void **state)
{
	static const char *const wrong[] = {
		"", "path=s", "--echo", "path=s --echo --sink", "path=s --echo --answer", "path=s path=t --echo", "path=s --echo --mtu 1500",
		"path=s --echo --netns x", "path=s --tap t --mtu 67", "path=s --tap t --mtu 9001",
		"path=s --tap t --mtu x", "path=s --tap t --count 1", "path=s --sink --window 1",
		"path=s --echo --flows 2", "path=s --echo --enable 2", "path=s --generate", "path=s --generate 59",
		"path=s --generate 9019", "path=s --generate 64,0",
		"path=s --generate 64 --dst 1", "path=s --echo --time 0", "path=s --echo --time x",
		"path=s --echo --bogus",
		"path=s,queue_size=3 --echo", "path=s --tap",
	};
	struct guest_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(options(&o, wrong[i]), -EINVAL);
		assert_int_not_equal(err[0], 0);
	}
}

static void test_a_window_is_no_larger_than_the_rings(void **state)
{
	struct guest_options o;

	(void)state;
	assert_int_equal(options(&o, "path=s,queues=2,queue_size=64 --generate 64 --window 1000"), 0);
	assert_int_equal(o.window, 128);
}

static void test_help_and_version_need_nothing_else(void **state)
{
	struct guest_options o;

	(void)state;
	assert_int_equal(options(&o, "--help"), 0);
	assert_true(o.help);
	assert_int_equal(options(&o, "--version"), 0);
	assert_true(o.version);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments_have_defaults),
		cmocka_unit_test(test_every_argument_is_read),
		cmocka_unit_test(test_only_packed_rings_have_any_size),
		cmocka_unit_test(test_wrong_arguments_are_refused),
		cmocka_unit_test(test_an_unknown_key_names_the_known_ones),
		cmocka_unit_test(test_what_does_not_work_yet_says_so),
		cmocka_unit_test(test_options_have_defaults),
		cmocka_unit_test(test_every_option_is_read),
		cmocka_unit_test(test_a_wrong_command_line_is_refused_with_a_reason),
		cmocka_unit_test(test_a_window_is_no_larger_than_the_rings),
		cmocka_unit_test(test_help_and_version_need_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
