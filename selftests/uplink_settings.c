/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings of the NIC that are asked for on the command line, on a veth pair in
 * namespaces of its own: channels, put-off interrupts, receive rules; and what
 * another tool changed there. What the driver here cannot do is in
 * tests/test_settings.c. Needs root.
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
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/if_packet.h>

#include "base/log.h"
#include "xdp/routes.h"
#include "xdp/settings.h"
#include "xdp/watch.h"
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

static const struct host_ops *host(void)
{
	return host_linux();
}

static long since_us(const struct timespec *from)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - from->tv_sec) * 1000000 + (now.tv_nsec - from->tv_nsec) / 1000;
}

static void addresses_that_another_tool_took_out_of_the_filter_are_entered_again(void **state)
{
	static uint8_t macs[WATCH_MACS][6];
	const int ifindex = (int)if_nametoindex(ENV_NIC), fd = host()->packet_socket(host(), ifindex, 0);
	struct timespec from;
	unsigned missing;

	(void)state;
	assert_true(fd >= 0);
	for (unsigned i = 0; i < WATCH_MACS; i++) {
		/* The last is another guest's in another VLAN. */
		const unsigned k = i + 1 < WATCH_MACS ? i : 0;
		const uint8_t mac[6] = { 0x52, 0x54, 0, 0, (uint8_t)(k / 256), (uint8_t)k };

		memcpy(macs[i], mac, 6);
		assert_int_equal(host()->packet_membership(host(), fd, ifindex, PACKET_MR_UNICAST, mac, true), 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(watch_filter(host(), fd, ifindex, macs, WATCH_MACS, &missing), 0);
	print_message("%d addresses: %ld us\n", WATCH_MACS, since_us(&from));
	assert_int_equal(missing, 0);
	assert_true(env_run("bridge fdb del 52:54:00:00:00:00 dev " ENV_NIC " self && "
			    "bridge fdb del 52:54:00:00:07:07 dev " ENV_NIC " self"));
	assert_int_equal(watch_filter(host(), fd, ifindex, macs, WATCH_MACS, &missing), 0);
	assert_int_equal(missing, 2);
	assert_true(env_run("bridge fdb show dev " ENV_NIC " | grep -q ^52:54:00:00:00:00"));
	assert_true(env_run("bridge fdb show dev " ENV_NIC " | grep -q ^52:54:00:00:07:07"));
	assert_int_equal(watch_filter(host(), fd, ifindex, macs, WATCH_MACS, &missing), 0);
	assert_int_equal(missing, 0);
	close(fd);
	assert_false(env_run("bridge fdb show dev " ENV_NIC " | grep -q ^52:54"));
}

static void channels_that_another_tool_changed_are_seen(void **state)
{
	struct linkmon_dev d = { .ifindex = (int)if_nametoindex(ENV_NIC), .name = ENV_NIC, .rx_queues = 4 };
	struct ifcheck c = { 0 };

	(void)state;
	assert_int_equal(watch_channels(host(), &d, &c), 4);
	assert_int_equal(c.fed, 4);
	assert_true(env_run("ethtool -L " ENV_NIC " rx 2 tx 2"));
	assert_int_equal(watch_channels(host(), &d, &c), 2);
	assert_int_equal(c.fed, 2);
	snprintf(d.name, sizeof(d.name), "gone");
	assert_int_equal(watch_channels(host(), &d, &c), -ENODEV);
}

static void routes_of_the_host_are_found(void **state)
{
	const int nic = (int)if_nametoindex(ENV_NIC), wire = (int)if_nametoindex(ENV_WIRE);
	struct routes r;

	(void)state;
	assert_true(env_run("sysctl -q -w net.ipv6.conf." ENV_NIC ".disable_ipv6=0 net.ipv6.conf." ENV_WIRE
			    ".disable_ipv6=0"));
	assert_true(env_run("ip -6 route show dev " ENV_NIC " | grep -q ^fe80::/64"));
	assert_int_equal(routes_read(host(), &r), 0);
	assert_false(routes_through(&r, nic));
	assert_true(env_run("ip route add 192.0.2.0/24 dev " ENV_NIC));
	assert_int_equal(routes_read(host(), &r), 0);
	assert_true(routes_through(&r, nic));
	assert_false(routes_through(&r, wire));
	assert_true(env_run("ip route del 192.0.2.0/24 && ip route add 192.0.2.0/24 dev " ENV_NIC " table 1000"));
	assert_int_equal(routes_read(host(), &r), 0);
	assert_false(routes_through(&r, nic));
	assert_true(env_run("ip -6 route add 2001:db8::/64 dev " ENV_WIRE));
	assert_int_equal(routes_read(host(), &r), 0);
	assert_true(routes_through(&r, wire));
	assert_true(env_run("ip route add 198.51.100.0/24 nexthop dev " ENV_NIC " nexthop dev " ENV_WIRE));
	assert_int_equal(routes_read(host(), &r), 0);
	assert_true(routes_through(&r, nic));
}

static void a_route_by_a_nexthop_object_is_found_or_said_to_be_unknown(void **state)
{
	const int nic = (int)if_nametoindex(ENV_NIC);
	struct routes r;

	(void)state;
	if (!env_run("ip nexthop add id 7 dev " ENV_NIC " && ip route add 203.0.113.0/24 nhid 7"))
		skip();
	assert_int_equal(routes_read(host(), &r), 0);
	assert_true(routes_through(&r, nic));
	assert_true(env_run("sysctl -q -w net.ipv4.nexthop_compat_mode=0"));
	assert_int_equal(routes_read(host(), &r), -ENODATA);
	assert_true(env_run("sysctl -q -w net.ipv4.nexthop_compat_mode=1"));
}

static bool rxvlan_is(const char *value)
{
	return env_run("ethtool -k " ENV_NIC " | grep -q '^rx-vlan-offload: %s'", value);
}

static void tag_stripping_that_another_tool_switched_on_is_switched_off_again(void **state)
{
	static char text[256];
	const struct uplink_config cfg = { .ifname = ENV_NIC, .name = "t" };
	const struct fail why = { text, sizeof(text) };
	struct settings s = { 0 };
	struct uplink_info info = { 0 };
	struct nicset_found found;

	(void)state;
	assert_true(rxvlan_is("on"));
	assert_int_equal(settings_open(&s, host(), &cfg, &info, &why), 0);
	assert_int_equal(settings_apply(&s, &cfg, NULL, 0, &info, &why), 0);
	assert_true(rxvlan_is("off"));
	assert_false(settings_check(&s, ENV_NIC, &info).changed);
	assert_true(env_run("ethtool -K " ENV_NIC " rxvlan on"));
	found = settings_check(&s, ENV_NIC, &info);
	assert_true(found.changed && found.repaired);
	assert_int_equal(info.rxvlan_now, 0);
	assert_true(rxvlan_is("off"));
	settings_restore(&s, ENV_NIC);
	settings_close(&s);
	assert_true(rxvlan_is("on"));
	assert_false(env_exists(NOTES));
}

static void many_routes_are_read_in_time(void **state)
{
	struct timespec from;
	struct routes r;

	(void)state;
	assert_true(env_run("for i in $(seq 0 255); do for k in $(seq 0 63); do echo route add 10.$i.$k.0/24 dev " ENV_NIC
			    "; done; done | ip -batch -"));
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(routes_read(host(), &r), 0);
	print_message("%d routes: %ld us\n", 256 * 64, since_us(&from));
	assert_int_equal(r.n, 1);
	assert_true(env_run("ip route flush table main"));
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
		t(addresses_that_another_tool_took_out_of_the_filter_are_entered_again),
		t(channels_that_another_tool_changed_are_seen),
		t(routes_of_the_host_are_found),
		t(a_route_by_a_nexthop_object_is_found_or_said_to_be_unknown),
		t(many_routes_are_read_in_time),
		t(tag_stripping_that_another_tool_switched_on_is_switched_off_again),
	};

	/* The interfaces of this namespace, not those of the one around it. */
	if (env_enter() || !env_run("mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf")) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
