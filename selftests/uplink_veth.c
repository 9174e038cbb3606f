/* SPDX-License-Identifier: BSD-2-Clause */
/* The uplink on a veth pair, in namespaces of its own. Needs root. */
#include <errno.h>
#include <poll.h>
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
#include <linux/if_packet.h>

#include "base/clock.h"
#include "base/log.h"
#include "xdp_env.h"
#include "xdp/afxdp.h"
#include "xdp/linkmon.h"
#include "xdp/mcast.h"

#define WAIT_NS (5 * NSEC_PER_SEC)

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
static const uint8_t wire_mac[6] = { 0x52, 0x54, 0, 0, 0, 0xee };

static struct loop *loop;
static struct uplink *up;
static char err[256];
static int wire;

static struct uplink_link last_link;
static unsigned link_calls;

static void on_link(void *arg, const struct uplink_link *l)
{
	(void)arg;
	last_link = *l;
	link_calls++;
}

static void open_or_fail(enum uplink_mode_wish mode, uint32_t queues)
{
	if (env_open(loop, mode, queues, &up, err)) {
		print_error("%s\n", err);
		fail();
	}
	uplink_on_link(up, on_link, NULL);
	env_port(up, guest_mac, 1);
}

static int setup_queues(unsigned queues)
{
	up = NULL;
	link_calls = 0;
	env_veth(queues);
	loop = loop_create();
	wire = env_wire_socket();
	return wire < 0 ? -1 : 0;
}

static int setup_one(void **state)
{
	(void)state;
	return setup_queues(1);
}

static int setup_four(void **state)
{
	(void)state;
	return setup_queues(4);
}

static int teardown(void **state)
{
	(void)state;
	uplink_close(up);
	loop_destroy(loop);
	close(wire);
	env_run("for d in mv0 br0; do ip link del $d 2>/dev/null; done; true");
	return 0;
}

static void wire_send(const uint8_t dst[6], uint32_t len, uint8_t fill)
{
	uint8_t f[2048];

	memset(f, fill, sizeof(f));
	memcpy(f, dst, 6);
	memcpy(f + 6, wire_mac, 6);
	f[12] = 0x88;
	f[13] = 0xb5;
	assert_int_equal(send(wire, f, len, 0), len);
}

/* The next frame that comes out at the wire's end and has our Ethernet type; 0 = none in time. */
static ssize_t wire_recv(uint8_t *buf, size_t len)
{
	struct pollfd p = { .fd = wire, .events = POLLIN };
	uint64_t end = clock_now() + WAIT_NS;
	ssize_t n;

	while (clock_now() < end && poll(&p, 1, 1000) >= 0) {
		n = recv(wire, buf, len, MSG_DONTWAIT);
		if (n > 14 && buf[12] == 0x88 && buf[13] == 0xb5)
			return n;
	}
	return 0;
}

static uint8_t *tx_buf(struct nicq *q, uint32_t *frame)
{
	uint8_t *buf = nicq_tx_buf(q, 0, frame);

	assert_non_null(buf);
	if (!buf)
		abort();	/* the compiler does not know that an assertion ends the test */
	return buf;
}

static void assert_traffic_flows(void)
{
	struct nicq_pkt p;
	struct nicq *q;
	uint8_t out[2048];
	uint32_t frame;
	uint8_t *buf;

	wire_send(guest_mac, 100, 0x41);
	q = env_receive(up, &p);
	assert_non_null(q);
	assert_int_equal(p.len, 100);
	assert_int_equal(p.data[99], 0x41);
	assert_non_null(nicq_meta(&p));
	assert_int_equal(nicq_meta(&p)->port, 0);
	assert_int_equal(nicq_tx_room(q, 1), 1);
	buf = tx_buf(q, &frame);
	memcpy(buf, p.data, 100);
	memcpy(buf, wire_mac, 6);
	memset(buf + 14, 0x42, 86);
	nicq_tx_stage(q, frame, 100, false);
	assert_int_equal(nicq_tx_flush(q), 0);
	do
		assert_int_equal(wire_recv(out, sizeof(out)), 100);
	while (out[99] != 0x42);	/* the socket also sees what the test sent itself */
	assert_memory_equal(out, wire_mac, 6);
	nicq_recycle(q, &p);
	while (q->tx_outstanding)
		nicq_reap(q);
	assert_int_equal(frames_check(&q->frames), 0);
	assert_int_equal(q->frames.violations, 0);
}

static void assert_nothing_left(void)
{
	assert_false(env_exists(VD_PIN_ROOT));
	assert_false(env_exists("/run/viaduct/t.restore"));
	assert_true(env_run("! ip link show " ENV_NIC " | grep -q xdp"));
}

static void frames_travel_both_ways_and_nothing_is_left_after_close(void **state)
{
	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(uplink_info(up)->mode, VD_MODE_COPY);
	assert_non_null(strstr(uplink_info(up)->mode_why, "zero-copy"));
	print_message("%s\n", uplink_info(up)->mode_why);
	assert_string_equal(uplink_info(up)->driver, "veth");
	assert_false(uplink_info(up)->adopted);
	assert_true(env_exists(ENV_PINS "/link"));
	assert_true(env_exists(ENV_PINS "/links"));
	assert_true(env_exists(ENV_PINS "/fdb"));
	assert_true(env_exists(ENV_PINS "/steering"));
	assert_true(env_exists(ENV_PINS "/queues"));
	assert_true(env_exists(ENV_PINS "/stats"));
	assert_traffic_flows();
	uplink_close(up);
	up = NULL;
	assert_nothing_left();
}

static void four_queues_have_four_sockets(void **state)
{
	unsigned i;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(uplink_queues(up), 4);
	for (i = 0; i < 8; i++)
		assert_traffic_flows();
	assert_true(env_run("bpftool map dump pinned " ENV_PINS "/queues | grep -q VD_QUEUE_READY"));
}

static void generic_mode_works_too(void **state)
{
	(void)state;
	open_or_fail(UPLINK_GENERIC, 0);
	assert_int_equal(uplink_info(up)->mode, VD_MODE_GENERIC);
	assert_traffic_flows();
}

static void a_mode_that_is_asked_for_is_the_mode_or_an_error(void **state)
{
	(void)state;
	assert_true(env_open(loop, UPLINK_ZEROCOPY, 0, &up, err) < 0);
	assert_non_null(strstr(err, "zero-copy"));
	assert_nothing_left();
	open_or_fail(UPLINK_COPY, 0);
	assert_int_equal(uplink_info(up)->mode, VD_MODE_COPY);
}

/* An instance that is killed while it holds the uplink. */
static void kill_an_instance(enum uplink_mode_wish mode)
{
	struct uplink *u;
	char e[256];
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (env_open(loop_create(), mode, 0, &u, e))
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(env_exists(ENV_PINS "/link"));
}

static void a_killed_instances_link_is_adopted(void **state)
{
	(void)state;
	kill_an_instance(UPLINK_AUTO);
	assert_true(env_run("bpftool -j link show pinned " ENV_PINS "/link | grep -o '\"id\":[0-9]*' | head -1 > /run/before"));
	open_or_fail(UPLINK_AUTO, 0);
	assert_true(uplink_info(up)->adopted);
	assert_true(env_run("bpftool -j link show pinned " ENV_PINS "/link | grep -o '\"id\":[0-9]*' | head -1 > /run/after"));
	assert_true(env_run("cmp -s /run/before /run/after"));
	assert_traffic_flows();
	uplink_close(up);
	up = NULL;
	assert_nothing_left();
}

static void a_killed_instance_of_another_mode_is_cleared_away(void **state)
{
	(void)state;
	kill_an_instance(UPLINK_GENERIC);
	open_or_fail(UPLINK_AUTO, 0);
	assert_false(uplink_info(up)->adopted);
	assert_int_equal(uplink_info(up)->mode, VD_MODE_COPY);
	assert_traffic_flows();
}

static void a_pin_of_an_interface_that_is_gone_is_cleared_away(void **state)
{
	(void)state;
	kill_an_instance(UPLINK_AUTO);
	close(wire);
	env_veth(1);
	wire = env_wire_socket();
	open_or_fail(UPLINK_AUTO, 0);
	assert_false(uplink_info(up)->adopted);
	assert_traffic_flows();
}

static void another_program_on_the_interface_is_named_with_the_mend(void **state)
{
	struct uplink_config cfg = { .ifname = ENV_NIC, .name = "second" };
	struct uplink *second;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(uplink_open(host_linux(), loop, &cfg, &second, err, sizeof(err)), -EBUSY);
	assert_non_null(strstr(err, "bpftool net show dev " ENV_NIC));
	assert_non_null(strstr(err, "--xdp-attach dispatcher"));
	assert_false(env_exists(VD_PIN_ROOT "/second"));
	assert_traffic_flows();
}

static void a_running_instance_of_the_same_name_is_left_alone(void **state)
{
	struct uplink *second;
	uint64_t end;
	pid_t pid;
	char e[256];
	int status = -1;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	pid = fork();
	if (!pid) {
		int ret = env_open(loop_create(), UPLINK_AUTO, 0, &second, e);

		_exit(ret == -EBUSY && strstr(e, "running already") ? 0 : 1);
	}
	end = clock_now() + WAIT_NS;
	while (waitpid(pid, &status, WNOHANG) == 0 && clock_now() < end) {
		uplink_maps(up)->links[0].heartbeat_ns = clock_now();
		usleep(10000);
	}
	assert_int_equal(status, 0);
	assert_traffic_flows();
}

static bool feature_is(const char *name, const char *value)
{
	return env_run("ethtool -k " ENV_NIC " | grep -q '^%s: %s'", name, value);
}

static void vlan_stripping_is_off_while_we_run_and_restored(void **state)
{
	(void)state;
	assert_true(feature_is("rx-vlan-offload", "on"));
	open_or_fail(UPLINK_AUTO, 0);
	assert_true(feature_is("rx-vlan-offload", "off"));
	assert_int_equal(uplink_info(up)->rxvlan_before, 1);
	assert_int_equal(uplink_info(up)->rxvlan_now, 0);
	assert_false(uplink_info(up)->rxvlan_fixed);
	uplink_close(up);
	up = NULL;
	assert_true(feature_is("rx-vlan-offload", "on"));
}

static void vlan_stripping_is_restored_by_the_successor_of_a_killed_instance(void **state)
{
	(void)state;
	kill_an_instance(UPLINK_AUTO);
	assert_true(feature_is("rx-vlan-offload", "off"));
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(uplink_info(up)->rxvlan_before, 1);
	uplink_close(up);
	up = NULL;
	assert_true(feature_is("rx-vlan-offload", "on"));
	assert_nothing_left();
}

static void a_setting_the_operator_made_is_not_changed_by_our_exit(void **state)
{
	(void)state;
	assert_true(env_run("ethtool -K " ENV_NIC " rxvlan off"));
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(uplink_info(up)->rxvlan_before, 0);
	uplink_close(up);
	up = NULL;
	assert_true(feature_is("rx-vlan-offload", "off"));
}

static void guest_addresses_are_in_the_receive_filter(void **state)
{
	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_true(uplink_info(up)->allmulti);
	assert_int_equal(uplink_filter(up, guest_mac, true), 0);
	assert_int_equal(uplink_info(up)->filter_entries, 1);
	assert_true(env_run("bridge fdb show dev " ENV_NIC " | grep -q 52:54:00:00:00:01"));
	assert_int_equal(uplink_filter(up, guest_mac, false), 0);
	assert_true(env_run("! bridge fdb show dev " ENV_NIC " | grep -q 52:54:00:00:00:01"));
	assert_true(env_run("! ip -d link show " ENV_NIC " | grep -q 'promiscuity 1'"));
}

static void turn_loop_until(bool (*done)(void))
{
	uint64_t end = clock_now() + WAIT_NS;

	while (!done() && clock_now() < end)
		loop_once(loop, 100);
	assert_true(done());
}

static bool carrier_lost(void) { return link_calls && last_link.ifindex && !last_link.carrier; }
static bool carrier_back(void) { return last_link.carrier; }
static bool admin_down(void) { return link_calls && !last_link.admin_up; }
static bool mtu_1400(void) { return last_link.mtu == 1400; }
static bool renamed(void) { return !strcmp(last_link.name, "nic2"); }
static bool gone(void) { return link_calls && !last_link.ifindex; }
static bool program_lost(void) { return last_link.xdp_lost; }

static void link_changes_are_reported(void **state)
{
	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_true(uplink_link(up)->carrier);
	assert_int_equal(uplink_link(up)->speed_mbps, 10000);
	assert_int_equal(uplink_link(up)->duplex, 1);
	env_run("ip link set " ENV_WIRE " down");
	turn_loop_until(carrier_lost);
	assert_true(last_link.admin_up);
	env_run("ip link set " ENV_WIRE " up");
	turn_loop_until(carrier_back);
	env_run("ip link set " ENV_NIC " mtu 1400");
	turn_loop_until(mtu_1400);
	env_run("ip link set " ENV_NIC " down");
	turn_loop_until(admin_down);
	env_run("ip link set " ENV_NIC " name nic2; ip link set nic2 up");
	turn_loop_until(renamed);
	turn_loop_until(carrier_back);
	close(wire);	/* has the error of its own interface going down */
	wire = env_wire_socket();
	assert_traffic_flows();
	env_run("ip link set nic2 down; ip link set nic2 name " ENV_NIC "; ip link set " ENV_NIC " up");
	turn_loop_until(carrier_back);
}

/* The real thing, with a netlink socket that holds only a few messages. */
static int small_netlink(const struct host_ops *h, uint32_t groups)
{
	int fd = host_linux()->netlink(h, groups), small = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	return fd;
}

static struct linkmon *monitor;
static bool monitor_sees_it_all(void)
{
	const struct linkmon_dev *d = NULL;
	unsigned n = 0;

	while ((d = linkmon_next(monitor, d)))
		n += !strncmp(d->name, "dd", 2);
	return n == 20 && !linkmon_state(monitor)->carrier;
}

static void lost_netlink_messages_lead_to_a_new_picture(void **state)
{
	const struct fail why = { .text = err, .len = sizeof(err) };
	struct host_ops h = *host_linux();

	(void)state;
	h.netlink = small_netlink;
	assert_int_equal(linkmon_open(&h, loop, &monitor, &why), 0);
	linkmon_follow(monitor, (int)if_nametoindex(ENV_NIC));
	env_run("i=0; while [ $i -lt 60 ]; do echo link add dd$i type bridge; i=$((i+1)); done | ip -batch -");
	env_run("i=20; while [ $i -lt 60 ]; do echo link del dd$i; i=$((i+1)); done | ip -batch -");
	env_run("ip link set " ENV_WIRE " down");
	turn_loop_until(monitor_sees_it_all);
	linkmon_close(monitor);
	env_run("i=0; while [ $i -lt 20 ]; do echo link del dd$i; i=$((i+1)); done | ip -batch -");
}

static void unchanged_states_are_not_reported(void **state)
{
	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	link_calls = 0;
	env_run("ip link add br0 type bridge; ip link set br0 up; ip link del br0; ip link set " ENV_NIC " alias x");
	while (loop_once(loop, 200) > 0 && !link_calls)
		;
	assert_int_equal(link_calls, 0);
}

static void removal_of_the_interface_is_reported_and_sending_fails_at_once(void **state)
{
	struct nicq *q;
	uint32_t frame;
	int ret;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	env_run("ip link del " ENV_NIC);
	turn_loop_until(gone);
	q = uplink_nicq(up, 0);
	assert_non_null(nicq_tx_buf(q, 0, &frame));
	nicq_tx_stage(q, frame, 60, false);
	ret = nicq_tx_flush(q);
	assert_true(ret == -ENXIO || ret == -ENETDOWN);
	assert_int_equal(q->stats.tx_wakeups, 1);
	uplink_close(up);
	up = NULL;
	assert_false(env_exists(VD_PIN_ROOT));
	assert_false(env_exists("/run/viaduct/t.restore"));
}

static void a_move_to_another_namespace_is_a_removal(void **state)
{
	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_true(env_run("ip netns add other && ip link set " ENV_NIC " netns other"));
	turn_loop_until(gone);
	env_run("ip netns del other");
}

static void sending_while_down_is_an_error_that_passes(void **state)
{
	struct nicq *q;
	uint32_t frame;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	env_run("ip link set " ENV_NIC " down");
	q = uplink_nicq(up, 0);
	assert_non_null(nicq_tx_buf(q, 0, &frame));
	nicq_tx_stage(q, frame, 60, false);
	assert_int_equal(nicq_tx_flush(q), -ENETDOWN);
	env_run("ip link set " ENV_NIC " up");
	assert_int_equal(nicq_tx_flush(q), 0);
	assert_false(nicq_tx_unsent(q));
	assert_traffic_flows();
}

static void a_program_taken_off_by_somebody_else_is_reported(void **state)
{
	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_true(env_run("bpftool link detach pinned " ENV_PINS "/link"));
	turn_loop_until(program_lost);
	assert_int_equal(uplink_info(up)->xdp_prog_id, 0);
}

static bool upper_mac_known(void) { return uplink_is_host_mac(up, (const uint8_t[]){ 2, 0, 0, 0, 0, 0x11 }); }
static bool bridge_mac_known(void) { return uplink_is_host_mac(up, (const uint8_t[]){ 2, 0, 0, 0, 0, 0x22 }); }
static bool upper_mac_gone(void) { return !upper_mac_known(); }

static void addresses_of_devices_above_belong_to_the_host(void **state)
{
	struct vd_stats s;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_true(uplink_is_host_mac(up, uplink_link(up)->mac));
	assert_true(env_run("ip link add br0 address 02:00:00:00:00:22 type bridge && ip link set " ENV_NIC " master br0 && "
			    "ip link add link br0 name mv0 address 02:00:00:00:00:11 type macvlan"));
	turn_loop_until(bridge_mac_known);
	turn_loop_until(upper_mac_known);
	assert_int_equal(uplink_fdb_set(up, 0, (const uint8_t[]){ 2, 0, 0, 0, 0, 0x11 }, 0, VD_FDB_LEARNED), -EADDRINUSE);
	uplink_maps(up)->config->unknown = VD_UNKNOWN_DROP;
	wire_send((const uint8_t[]){ 2, 0, 0, 0, 0, 0x11 }, 64, 0);
	assert_int_equal(uplink_stats(up, VD_STATS_HOST, &s), 0);
	assert_int_equal(s.packets, 1);
	assert_int_equal(s.drop_unknown, 0);
	env_run("ip link del mv0");
	turn_loop_until(upper_mac_gone);
	assert_true(bridge_mac_known());
}

static void the_address_of_a_veth_peer_is_not_the_hosts(void **state)
{
	uint8_t peer[6];
	FILE *f = popen("ip -br link show " ENV_WIRE " | awk '{print $3}'", "r");

	(void)state;
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &peer[0], &peer[1], &peer[2], &peer[3], &peer[4],
				&peer[5]), 6);
	pclose(f);
	open_or_fail(UPLINK_AUTO, 0);
	assert_false(uplink_is_host_mac(up, peer));
}

static void assert_refused(const char *ifname, uint32_t queues, const char *mend)
{
	struct uplink_config cfg = { .name = "t", .queues = queues };
	struct uplink *u;

	snprintf(cfg.ifname, sizeof(cfg.ifname), "%s", ifname);
	assert_true(uplink_open(host_linux(), loop, &cfg, &u, err, sizeof(err)) < 0);
	print_message("%s\n", err);
	assert_non_null(strstr(err, mend));
	assert_false(env_exists(VD_PIN_ROOT));
}

static void interfaces_that_cannot_serve_are_refused_with_the_one_that_can(void **state)
{
	(void)state;
	assert_refused("nosuch", 0, "no interface nosuch");
	assert_refused("lo", 0, "loopback");
	if (env_run("ip link add mv0 link " ENV_NIC " type macvlan"))
		assert_refused("mv0", 0, ENV_NIC);
	env_run("ip link del mv0");
	assert_true(env_run("ip link add br0 type bridge && ip link set " ENV_NIC " master br0"));
	assert_refused("br0", 0, ENV_NIC);
}

static void serving_fewer_queues_than_rss_feeds_is_refused(void **state)
{
	(void)state;
	assert_refused(ENV_NIC, 2, "ethtool -L " ENV_NIC " rx 2 tx 2");
	assert_refused(ENV_NIC, 5, "has 4");
	env_run("ethtool -L " ENV_NIC " rx 4 tx 2");
	assert_refused(ENV_NIC, 0, "2 for sending");
	env_run("ethtool -L " ENV_NIC " rx 2 tx 2");
	open_or_fail(UPLINK_AUTO, 2);
	assert_int_equal(uplink_queues(up), 2);
}

static void without_privilege_the_mend_is_named(void **state)
{
	struct uplink *u;
	char e[256];
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		status = env_open(loop_create(), UPLINK_AUTO, 0, &u, e);
		fprintf(stderr, "%s\n", e);
		_exit(status < 0 && (strstr(e, "run as root") || strstr(e, "CAP_")) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_nothing_left();
}

static void a_missing_bpffs_is_named_with_the_mend(void **state)
{
	(void)state;
	/* Below ours may be the machine's. */
	assert_true(env_run("while umount /sys/fs/bpf 2>/dev/null; do :; done"));
	assert_refused(ENV_NIC, 0, "mount -t bpf bpf /sys/fs/bpf");
	assert_true(env_run("mount -t bpf bpf /sys/fs/bpf"));
}

static void the_longest_frame_of_a_single_chunk_arrives_whole(void **state)
{
	struct nicq_pkt p;
	uint8_t f[3600];

	(void)state;
	env_run("ip link set " ENV_NIC " mtu 3498; ip link set " ENV_WIRE " mtu 3498");
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(uplink_info(up)->chunk, 4096);
	assert_int_equal(uplink_info(up)->mode, VD_MODE_COPY);
	memset(f, 7, sizeof(f));
	memcpy(f, guest_mac, 6);
	assert_int_equal(send(wire, f, 3498 + 14, 0), 3498 + 14);
	assert_non_null(env_receive(up, &p));
	assert_int_equal(p.len, 3498 + 14);
	assert_int_equal(p.data[3511], 7);
}

static void the_dispatcher_works_or_says_why_not(void **state)
{
	struct uplink_config cfg = { .ifname = ENV_NIC, .name = "t", .attach = UPLINK_ATTACH_DISPATCHER };
	int ret;

	(void)state;
	ret = uplink_open(host_linux(), loop, &cfg, &up, err, sizeof(err));
	if (ret) {
		print_message("%s\n", err);
		up = NULL;
		assert_non_null(strstr(err, "--xdp-attach link"));
		assert_nothing_left();
		return;
	}
	env_port(up, guest_mac, 1);
	assert_traffic_flows();
}

static void a_socket_goes_on_in_other_hands(void **state)
{
	struct afxdp_config c = { .mode = VD_MODE_COPY, .ring_size = 256, .frames = 512, .chunk = 2048 };
	struct nicq *old, heir;
	uint64_t end;
	struct nicq_pkt p;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_traffic_flows();
	old = uplink_nicq(up, 0);
	wire_send(guest_mac, 100, 0x43);
	assert_int_equal(afxdp_adopt(dup(old->fd), dup(old->umem_fd), &c, &heir), 0);
	assert_int_equal(afxdp_resume(&heir, old->frames.owner, old->frames.tag), 0);
	assert_ptr_not_equal(heir.umem, old->umem);
	for (end = clock_now() + WAIT_NS; !nicq_rx(&heir, &p, 1) && clock_now() < end;)
		;
	assert_int_equal(p.data[99], 0x43);
	assert_non_null(nicq_meta(&p));
	nicq_recycle(&heir, &p);
	nicq_refill(&heir);
	assert_int_equal(frames_check(&heir.frames), 0);
	assert_int_equal(heir.frames.violations, 0);
	nicq_fini(&heir);
}

/* Waits for one broadcast that @m delivers. */
static int mcast_wait(struct mcast *m, uint8_t *buf, uint32_t len)
{
	struct pollfd p = { .fd = mcast_fd(m), .events = POLLIN };

	if (!mcast_pending(m))
		poll(&p, 1, 5000);
	return mcast_recv(m, buf, len);
}

static void broadcasts_are_copied_with_their_vlan_tag(void **state)
{
	const uint8_t tag[4] = { 0x81, 0x00, 0x20, 0x05 };
	uint8_t f[64], buf[4096];
	struct mcast *m;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(mcast_open(host_linux(), uplink_link(up)->ifindex, uplink_info(up)->max_frame, &m), 0);
	assert_false(mcast_pending(m));
	assert_int_equal(mcast_recv(m, buf, sizeof(buf)), 0);
	memset(f, 0x33, sizeof(f));
	memset(f, 0xff, 6);
	memcpy(f + 6, wire_mac, 6);
	memcpy(f + 12, tag, 4);
	f[16] = 0x88;
	f[17] = 0xb5;
	assert_int_equal(send(wire, f, 64, 0), 64);
	assert_int_equal(mcast_wait(m, buf, sizeof(buf)), 64);
	assert_memory_equal(buf, f, 64);
	assert_int_equal(mcast_stats(m)->packets, 1);
	mcast_close(m);
}

static void only_group_addresses_that_may_be_forwarded_are_copied(void **state)
{
	static const uint8_t lldp[6] = { 0x01, 0x80, 0xc2, 0, 0, 0x0e }, other[6] = { 2, 0, 0, 0, 0, 0x77 };
	static const uint8_t multicast[6] = { 0x01, 0, 0x5e, 1, 2, 3 };
	uint8_t buf[4096];
	struct mcast *m;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(mcast_open(host_linux(), uplink_link(up)->ifindex, uplink_info(up)->max_frame, &m), 0);
	wire_send(lldp, 64, 1);
	wire_send(other, 64, 2);
	/* What the host itself sends is not from the wire. */
	assert_true(env_run("ip addr add 10.9.9.1/24 dev " ENV_NIC "; ping -c1 -W1 -b 10.9.9.255 >/dev/null 2>&1; true"));
	wire_send(multicast, 64, 3);
	assert_int_equal(mcast_wait(m, buf, sizeof(buf)), 64);
	assert_int_equal(buf[63], 3);
	mcast_close(m);
}

static void an_unfinished_checksum_is_finished(void **state)
{
	uint32_t sum = 0, i;
	uint8_t buf[4096];
	struct mcast *m;
	int len;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(mcast_open(host_linux(), uplink_link(up)->ifindex, uplink_info(up)->max_frame, &m), 0);
	/* A UDP broadcast of the peer's stack: with tx checksum offload on, veth carries only the pseudo header's sum. */
	assert_true(env_run("ip addr add 10.8.8.2/24 dev " ENV_WIRE " 2>/dev/null; ethtool -K " ENV_WIRE " tx on >/dev/null; "
			    "python3 -c \"import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
			    "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind(('10.8.8.2', 68)); "
			    "s.sendto(b'hello', ('10.8.8.255', 67))\""));
	do {
		len = mcast_wait(m, buf, sizeof(buf));
		assert_true(len > 0);
	} while (buf[12] != 8 || buf[13] != 0);
	assert_int_equal(len, 14 + 20 + 8 + 5);
	for (i = 26; i < 34; i += 2)
		sum += (uint32_t)buf[i] << 8 | buf[i + 1];
	sum += 17 + 13;
	buf[len] = 0;
	for (i = 34; i < (uint32_t)len; i += 2)
		sum += (uint32_t)buf[i] << 8 | buf[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
	mcast_close(m);
}

static void a_lossy_multicast_reader_is_told(void **state)
{
	uint8_t f[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };
	uint8_t buf[4096];
	struct mcast *m;
	int i, n = 0;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	assert_int_equal(mcast_open(host_linux(), uplink_link(up)->ifindex, uplink_info(up)->max_frame, &m), 0);
	for (i = 0; i < 400; i++)
		assert_int_equal(send(wire, f, 64, 0), 64);
	while (mcast_recv(m, buf, sizeof(buf)) > 0)
		n++;
	assert_int_equal(n + (int)mcast_stats(m)->kernel_drops, 400);
	assert_true(mcast_stats(m)->kernel_drops > 0);
	mcast_close(m);
}

static void a_batch_longer_than_the_kernels_is_sent_whole(void **state)
{
	struct nicq *q;
	uint32_t frame, i;

	(void)state;
	open_or_fail(UPLINK_AUTO, 0);
	q = uplink_nicq(up, 0);
	assert_int_equal(nicq_tx_room(q, 200), 200);
	for (i = 0; i < 200; i++) {
		uint8_t *buf = tx_buf(q, &frame);

		memset(buf, 0, 60);
		memcpy(buf, wire_mac, 6);
		nicq_tx_stage(q, frame, 60, false);
	}
	while (nicq_tx_flush(q) == -EAGAIN)
		;
	assert_false(nicq_tx_unsent(q));
	print_message("%u wake-ups for 200 frames\n", (unsigned)q->stats.tx_wakeups);
	while (q->tx_outstanding)
		nicq_reap(q);
	assert_int_equal(frames_check(&q->frames), 0);
}

#define one(fn) cmocka_unit_test_setup_teardown(fn, setup_one, teardown)
#define four(fn) cmocka_unit_test_setup_teardown(fn, setup_four, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		one(frames_travel_both_ways_and_nothing_is_left_after_close),
		four(four_queues_have_four_sockets),
		one(generic_mode_works_too),
		four(generic_mode_works_too),
		one(a_mode_that_is_asked_for_is_the_mode_or_an_error),
		one(a_killed_instances_link_is_adopted),
		four(a_killed_instances_link_is_adopted),
		one(a_killed_instance_of_another_mode_is_cleared_away),
		one(a_pin_of_an_interface_that_is_gone_is_cleared_away),
		one(another_program_on_the_interface_is_named_with_the_mend),
		one(a_running_instance_of_the_same_name_is_left_alone),
		one(vlan_stripping_is_off_while_we_run_and_restored),
		one(vlan_stripping_is_restored_by_the_successor_of_a_killed_instance),
		one(a_setting_the_operator_made_is_not_changed_by_our_exit),
		one(guest_addresses_are_in_the_receive_filter),
		one(link_changes_are_reported),
		one(lost_netlink_messages_lead_to_a_new_picture),
		one(unchanged_states_are_not_reported),
		one(removal_of_the_interface_is_reported_and_sending_fails_at_once),
		one(a_move_to_another_namespace_is_a_removal),
		one(sending_while_down_is_an_error_that_passes),
		one(a_program_taken_off_by_somebody_else_is_reported),
		one(addresses_of_devices_above_belong_to_the_host),
		one(the_address_of_a_veth_peer_is_not_the_hosts),
		one(interfaces_that_cannot_serve_are_refused_with_the_one_that_can),
		four(serving_fewer_queues_than_rss_feeds_is_refused),
		one(without_privilege_the_mend_is_named),
		one(a_missing_bpffs_is_named_with_the_mend),
		one(the_longest_frame_of_a_single_chunk_arrives_whole),
		one(the_dispatcher_works_or_says_why_not),
		one(a_socket_goes_on_in_other_hands),
		one(broadcasts_are_copied_with_their_vlan_tag),
		one(only_group_addresses_that_may_be_forwarded_are_copied),
		one(an_unfinished_checksum_is_finished),
		one(a_lossy_multicast_reader_is_told),
		one(a_batch_longer_than_the_kernels_is_sent_whole),
	};

	if (env_enter()) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
