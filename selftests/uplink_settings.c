/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings of the NIC that are asked for on the command line, on a veth pair in
 * namespaces of its own: channels, put-off interrupts, receive rules. What the
 * driver here cannot do is in tests/test_settings.c. Needs root.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "xdp_env.h"

#define NOTES "/run/viaduct/t.restore"

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };

static struct loop *loop;
static struct uplink *up;
static char err[256];

static int setup(void **state)
{
	(void)state;
	up = NULL;
	env_veth(4);
	loop = loop_create();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	uplink_close(up);
	loop_destroy(loop);
	return 0;
}

static int open_with(struct uplink_config cfg)
{
	snprintf(cfg.ifname, sizeof(cfg.ifname), ENV_NIC);
	snprintf(cfg.name, sizeof(cfg.name), "t");
	cfg.ring_size = 256;
	cfg.frames = 512;
	return uplink_open(host_linux(), loop, &cfg, &up, err, sizeof(err));
}

static void open_or_fail(struct uplink_config cfg)
{
	if (open_with(cfg))
		fail_msg("%s", err);
	env_port(up, guest_mac, 1);
}

static void close_it(void)
{
	uplink_close(up);
	up = NULL;
}

/* An instance that is killed while it holds the uplink. */
static void kill_an_instance(struct uplink_config cfg)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (open_with(cfg))
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static bool channels_are(unsigned n)
{
	return env_run("test \"$(ethtool -l " ENV_NIC " | sed -n '/^Current/,$s/^[RT]X:[[:space:]]*//p' | tr '\\n' ' ')\" = '%u %u '", n, n);
}

static bool interrupts_are_put_off(unsigned rounds, unsigned ns)
{
	return env_run("cd /sys/class/net/" ENV_NIC " && test \"$(cat napi_defer_hard_irqs gro_flush_timeout | tr '\\n' ' ')\" = '%u %u '",
		       rounds, ns);
}

static void assert_frames_arrive(unsigned n)
{
	uint8_t f[64] = { 0 };
	int wire = env_wire_socket();
	struct nicq_pkt p;
	struct nicq *q;

	memcpy(f, guest_mac, 6);
	memcpy(f + 12, "\x88\xb5", 2);
	for (uint8_t i = 0; i < n; i++) {
		f[63] = i;
		assert_int_equal(send(wire, f, sizeof(f), 0), sizeof(f));
		q = env_receive(up, &p);
		assert_non_null(q);
		assert_int_equal(p.data[63], i);
		nicq_recycle(q, &p);
	}
	close(wire);
}

static void channels_are_set_before_the_queues_are_counted_and_put_back(void **state)
{
	(void)state;
	env_run("ethtool -L " ENV_WIRE " rx 2 tx 2");	/* veth's native XDP wants no more senders than receivers */
	open_or_fail((struct uplink_config){ .set_channels = 2 });
	assert_int_equal(uplink_queues(up), 2);
	assert_string_equal(uplink_info(up)->channels, "channels");
	assert_true(channels_are(2));
	assert_frames_arrive(4);
	close_it();
	assert_true(channels_are(4));
	assert_false(env_exists(NOTES));
}

static void more_channels_than_there_are_cannot_be_set(void **state)
{
	(void)state;
	assert_true(open_with((struct uplink_config){ .set_channels = 5 }) < 0);
	print_message("%s\n", err);
	assert_non_null(strstr(err, "--set-channels 5"));
	assert_true(channels_are(4));
	assert_false(env_exists(NOTES));
	assert_false(env_exists(VD_PIN_ROOT));
}

static void channels_are_put_back_by_the_successor_of_a_killed_instance(void **state)
{
	const struct uplink_config two = { .set_channels = 2 };

	(void)state;
	env_run("ethtool -L " ENV_WIRE " rx 2 tx 2");
	kill_an_instance(two);
	assert_true(channels_are(2));
	open_or_fail(two);
	assert_int_equal(uplink_queues(up), 2);
	assert_frames_arrive(1);
	close_it();
	assert_true(channels_are(4));
	kill_an_instance(two);
	open_or_fail((struct uplink_config){ 0 });
	assert_true(channels_are(4));
	assert_int_equal(uplink_queues(up), 4);
	close_it();
	assert_false(env_exists(NOTES));
}

static void channels_of_an_interface_in_other_hands_are_left_alone(void **state)
{
	struct uplink_config cfg = { .ifname = ENV_NIC, .name = "second", .set_channels = 2 };
	struct uplink *second;

	(void)state;
	open_or_fail((struct uplink_config){ 0 });
	assert_int_equal(uplink_open(host_linux(), loop, &cfg, &second, err, sizeof(err)), -EBUSY);
	assert_true(channels_are(4));
	assert_false(env_exists("/run/viaduct/second.restore"));
}

static void with_busy_polling_frames_arrive_and_interrupts_are_put_off_meanwhile(void **state)
{
	const struct uplink_config cfg = { .busy_poll = true };

	(void)state;
	assert_true(interrupts_are_put_off(0, 0));
	open_or_fail(cfg);
	if (!uplink_info(up)->busy_poll) {
		print_message("%s\n", uplink_info(up)->busy_poll_why);
		skip();
	}
	assert_true(interrupts_are_put_off(2, 200000));
	assert_frames_arrive(100);
	close_it();
	assert_true(interrupts_are_put_off(0, 0));
	assert_false(env_exists(NOTES));
	env_run("echo 1000 > /sys/class/net/" ENV_NIC "/gro_flush_timeout");
	kill_an_instance(cfg);
	assert_true(interrupts_are_put_off(2, 200000));
	open_or_fail((struct uplink_config){ 0 });
	assert_true(interrupts_are_put_off(0, 1000));
	assert_false(uplink_info(up)->busy_poll);
}

static void a_driver_without_rules_says_so(void **state)
{
	(void)state;
	open_or_fail((struct uplink_config){ .hw_steer = true });
	assert_false(uplink_info(up)->hw_steer);
	assert_string_equal(uplink_info(up)->hw_steer_why, "the driver takes no rules");
	assert_int_equal(uplink_hw_steer(up, guest_mac, 0, true), -EOPNOTSUPP);
	assert_int_equal(uplink_hw_steer(up, guest_mac, 4, true), -EINVAL);
	assert_frames_arrive(4);
	close_it();
	assert_false(env_exists(NOTES));
}

#define t(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(channels_are_set_before_the_queues_are_counted_and_put_back),
		t(more_channels_than_there_are_cannot_be_set),
		t(channels_are_put_back_by_the_successor_of_a_killed_instance),
		t(channels_of_an_interface_in_other_hands_are_left_alone),
		t(with_busy_polling_frames_arrive_and_interrupts_are_put_off_meanwhile),
		t(a_driver_without_rules_says_so),
	};

	/* The interfaces of this namespace, not those of the one around it. */
	if (env_enter() || !env_run("mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf")) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
