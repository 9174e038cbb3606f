/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host's port on a veth pair, in namespaces of its own. The test plays the
 * worker, and the guest behind it, or hands the frames on to a second tap whose
 * namespace is the guest. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
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

#include <bpf/bpf.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "base/clock.h"
#include "base/log.h"
#include "driver/tap.h"
#include "viaduct_host.h"
#include "xdp/hostport.h"
#include "xdp/mcast.h"
#include "xdp_env.h"

#define WAIT_NS (5 * NSEC_PER_SEC)
#define QUIET_MS 50			/* what the kernel does at once has happened by then */
#define HDR sizeof(struct virtio_net_hdr_v1)
#define VLAN 5

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0, 0, 1 }, other_mac[6] = { 0x52, 0x54, 0, 0, 0, 0x77 };
static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t lldp[6] = { 0x01, 0x80, 0xc2, 0, 0, 0x0e };

static struct host_ops host;	/* the real one, but for what a test plays */
static struct loop *loop;
static struct uplink *up;
static struct hostport *hp;
static struct mcast *mc;
static char err[256];
static int wire = -1, nic = -1;	/* packet sockets at both ends of the cable */
static uint8_t nic_mac[6];
static uint8_t got[70000];

static void beat(void)
{
	uplink_maps(up)->links[0].heartbeat_ns = clock_now();
}

static int no_links(const struct host_ops *h, int prog, int ifindex, bool egress)
{
	(void)h;
	(void)prog;
	(void)ifindex;
	(void)egress;
	return -EINVAL;
}

/* Uplink and host's port, as the bridge opens them. Return: 0 or -errno, the reason in err. */
static int open_both(enum uplink_mode_wish mode)
{
	const struct fail why = { err, sizeof(err) };
	struct hostport_config cfg;
	int ret = env_open(loop, mode, 0, &up, err);

	if (ret)
		return ret;
	env_port(up, guest_mac, 1);
	beat();
	uplink_hostport(up, &cfg);
	return hostport_open(&host, &cfg, &hp, &why);
}

static int setup_mode(enum uplink_mode_wish mode, bool links)
{
	up = NULL;
	hp = NULL;
	host = *host_linux();
	if (!links)
		host.bpf_link_tcx = no_links;
	env_veth(1);
	if (!env_run("ip addr add 10.0.0.1/24 dev " ENV_NIC))
		return -1;
	loop = loop_create();
	if (open_both(mode)) {
		print_error("%s\n", err);
		return -1;
	}
	memcpy(nic_mac, uplink_link(up)->mac, 6);
	wire = env_wire_socket();
	nic = host.packet_socket(&host, uplink_link(up)->ifindex, 0x0003);
	return wire < 0 || nic < 0 || mcast_open(&host, uplink_link(up)->ifindex, 2048, &mc) ? -1 : 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_mode(UPLINK_AUTO, true);
}

static int setup_clsact(void **state)
{
	(void)state;
	return setup_mode(UPLINK_AUTO, false);
}

static int setup_generic(void **state)
{
	(void)state;
	return setup_mode(UPLINK_GENERIC, true);
}

static void close_both(void)
{
	hostport_close(hp);
	hp = NULL;
	uplink_close(up);
	up = NULL;
}

static int teardown(void **state)
{
	(void)state;
	close_both();
	mcast_close(mc);
	mc = NULL;
	loop_destroy(loop);
	close(wire);
	close(nic);
	return 0;
}

/* A frame of our Ethernet type, told from others by @tag. Return: its length. */
static size_t build(uint8_t *f, const uint8_t dst[6], const uint8_t src[6], int vlan, uint8_t tag)
{
	size_t at = 12;

	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	if (vlan >= 0) {
		memcpy(f + at, "\x81\x00\x00", 4);
		f[at + 3] = (uint8_t)vlan;
		at += 4;
	}
	memcpy(f + at, "\x88\xb5", 2);
	memset(f + at + 2, tag, 64 - at - 2);
	return 64;
}

/* The host sends a frame. */
static void host_sends(const uint8_t dst[6], int vlan, uint8_t tag)
{
	uint8_t f[64];
	size_t len = build(f, dst, nic_mac, vlan, tag);

	assert_int_equal(send(nic, f, len, 0), len);
}

/* The worker hands the host a frame of a guest. */
static void guest_sends(const uint8_t dst[6], int vlan, uint8_t tag)
{
	uint8_t f[HDR + 64] = { 0 };
	size_t len = HDR + build(f + HDR, dst, guest_mac, vlan, tag);

	assert_int_equal(write(hostport_fd(hp), f, len), len);
}

/* Waits for the frames that are to come, and a little for more than those. */
static bool more(int fd, unsigned n, unsigned want)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, n < want ? 5000 : QUIET_MS) > 0;
}

/* How often the frame with @tag comes out of the tap; @want: to be waited for. */
static unsigned tap_sees(uint8_t tag, unsigned want)
{
	unsigned n = 0;
	ssize_t len;

	while (more(hostport_fd(hp), n, want)) {
		len = read(hostport_fd(hp), got, sizeof(got));
		n += len == HDR + 64 && got[len - 1] == tag;
	}
	return n;
}

/* The same of a packet socket; those that are of @type only, -1 = any but outgoing. */
static unsigned socket_sees(int fd, uint8_t tag, int type, unsigned want)
{
	struct sockaddr_ll from;
	socklen_t fromlen;
	unsigned n = 0;
	ssize_t len;

	while (more(fd, n, want)) {
		fromlen = sizeof(from);
		len = recvfrom(fd, got, sizeof(got), MSG_DONTWAIT, (struct sockaddr *)&from, &fromlen);
		/* The kernel may have taken four bytes of tag out. */
		if ((len != 64 && len != 60) || got[len - 1] != tag || from.sll_pkttype == PACKET_OUTGOING)
			continue;
		n += type < 0 || from.sll_pkttype == type;
	}
	return n;
}

static unsigned mcast_sees(uint8_t tag, unsigned want)
{
	unsigned n = 0;
	int len;

	while (mcast_pending(mc) || more(mcast_fd(mc), n, want)) {
		len = mcast_recv(mc, got, sizeof(got));
		n += len == 64 && got[63] == tag;
	}
	return n;
}

#define assert_tap_sees(tag, want) assert_int_equal(tap_sees(tag, want), want)
#define assert_socket_sees(fd, tag, type, want) assert_int_equal(socket_sees(fd, tag, type, want), want)
#define assert_mcast_sees(tag, want) assert_int_equal(mcast_sees(tag, want), want)

static void assert_goes(const uint8_t dst[6], int vlan, bool to_tap, bool to_wire)
{
	static uint8_t tag = 0x10;

	beat();
	host_sends(dst, vlan, ++tag);
	assert_tap_sees(tag, to_tap);
	assert_socket_sees(wire, tag, -1, to_wire);
}

static void what_is_for_a_guest_comes_out_of_the_tap_only(void **state)
{
	(void)state;
	assert_goes(guest_mac, -1, true, false);
}

static void what_is_for_others_goes_to_the_wire_only(void **state)
{
	(void)state;
	assert_goes(other_mac, -1, false, true);
	assert_goes(lldp, -1, false, true);
}

static void what_is_for_a_group_goes_both_ways(void **state)
{
	static const uint8_t multicast[6] = { 0x01, 0, 0x5e, 1, 2, 3 };

	(void)state;
	assert_goes(broadcast, -1, true, true);
	assert_goes(multicast, -1, true, true);
}

static void a_guest_without_a_link_is_left_to_the_wire(void **state)
{
	(void)state;
	uplink_maps(up)->links[1].up = 0;
	assert_goes(guest_mac, -1, false, true);
	uplink_maps(up)->links[1].up = 1;
	assert_goes(guest_mac, -1, true, false);
}

static void an_isolated_guest_is_left_to_the_wire(void **state)
{
	const struct vd_port alone = { .enabled = 1, .flags = VD_PORT_ISOLATED }, again = { .enabled = 1 };

	(void)state;
	assert_int_equal(uplink_port(up, 0, &alone), 0);
	assert_goes(guest_mac, -1, false, true);
	assert_int_equal(uplink_port(up, 0, &again), 0);
	assert_goes(guest_mac, -1, true, false);
}

static void a_nic_without_a_carrier_parts_nobody(void **state)
{
	(void)state;
	assert_true(env_run("ip link set " ENV_WIRE " down"));
	beat();
	host_sends(guest_mac, -1, 0x42);
	assert_tap_sees(0x42, 1);
	guest_sends(nic_mac, -1, 0x43);
	assert_socket_sees(nic, 0x43, PACKET_HOST, 1);
	assert_true(env_run("ip link set " ENV_WIRE " up"));
	close(wire);	/* has the error of its interface going down */
	wire = env_wire_socket();
}

static void without_a_heartbeat_all_goes_to_the_wire(void **state)
{
	(void)state;
	uplink_maps(up)->links[0].heartbeat_ns = clock_now() - VD_HOST_ALIVE_NS;
	host_sends(guest_mac, -1, 0x44);
	host_sends(broadcast, -1, 0x45);
	assert_tap_sees(0x44, 0);
	assert_socket_sees(wire, 0x44, -1, 1);
	host_sends(broadcast, -1, 0x45);
	assert_tap_sees(0x45, 0);
}

/* fdb: the guest's address in @vlan only. */
static void enter_vlan(uint16_t vlan)
{
	const struct vd_fdb_value v = { .port = 0 };
	struct vd_fdb_key key = { 0 };
	int fd = host.bpf_get(&host, ENV_PINS "/fdb");

	assert_true(fd >= 0);
	memcpy(key.mac, guest_mac, 6);
	assert_int_equal(host.bpf_map_delete(&host, fd, &key), 0);
	key.vlan = vlan;
	assert_int_equal(host.bpf_map_update(&host, fd, &key, &v), 0);
	close(fd);
}

static void a_tag_in_the_frame_is_looked_at(void **state)
{
	(void)state;
	assert_goes(guest_mac, VLAN, true, false);	/* (0, mac): any VLAN */
	assert_goes(guest_mac, 0, true, false);		/* a priority tag */
	enter_vlan(VLAN);
	assert_goes(guest_mac, VLAN, true, false);
	assert_goes(guest_mac, VLAN + 1, false, true);
	assert_goes(guest_mac, 0, false, true);
	assert_goes(guest_mac, -1, false, true);
}

#define INSN(c, d, s, o, i) { .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }

/* As a VLAN device above the uplink does: a tag beside the frame. Return: the link that holds it. */
static int tag_what_the_host_sends(uint16_t vlan)
{
	const struct bpf_insn code[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 0x0081),	/* htons(ETH_P_8021Q) */
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, vlan),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_vlan_push),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, -1),		/* TCX_NEXT */
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	int prog, link;

	prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "tag", "Dual BSD/GPL", code, sizeof(code) / sizeof(code[0]), NULL);
	assert_true(prog >= 0);
	link = host_linux()->bpf_link_tcx(host_linux(), prog, uplink_link(up)->ifindex, true);
	close(prog);
	return link;
}

static void a_tag_beside_the_frame_is_looked_at(void **state)
{
	const struct fail why = { err, sizeof(err) };
	struct hostport_config cfg;
	int link;

	(void)state;
	hostport_close(hp);	/* programs run in the order in which they came */
	hp = NULL;
	link = tag_what_the_host_sends(VLAN);
	if (link < 0)
		skip();
	uplink_hostport(up, &cfg);
	assert_int_equal(hostport_open(&host, &cfg, &hp, &why), 0);
	enter_vlan(VLAN);
	beat();
	host_sends(guest_mac, -1, 0x51);
	assert_true(read(hostport_fd(hp), got, sizeof(got)) == HDR + 68);
	assert_memory_equal(got + HDR + 12, "\x81\x00\x00\x05\x88\xb5", 6);
	close(link);
	host_sends(guest_mac, -1, 0x52);
	assert_tap_sees(0x52, 0);
}

static void the_host_receives_a_guests_frame_on_its_nic(void **state)
{
	(void)state;
	guest_sends(nic_mac, -1, 0x61);
	assert_socket_sees(nic, 0x61, PACKET_HOST, 1);
	guest_sends(nic_mac, VLAN, 0x62);
	assert_socket_sees(nic, 0x62, PACKET_HOST, 1);
	assert_socket_sees(wire, 0x61, -1, 0);
}

static void a_guests_group_frame_is_not_mistaken_for_the_wires(void **state)
{
	uint8_t f[64];

	(void)state;
	guest_sends(broadcast, -1, 0x63);
	assert_socket_sees(nic, 0x63, PACKET_BROADCAST, 1);
	assert_mcast_sees(0x63, 0);
	guest_sends(broadcast, VLAN, 0x64);
	assert_socket_sees(nic, 0x64, PACKET_BROADCAST, 1);
	assert_mcast_sees(0x64, 0);
	build(f, broadcast, other_mac, -1, 0x65);
	assert_int_equal(send(wire, f, 64, 0), 64);
	assert_mcast_sees(0x65, 1);
	assert_tap_sees(0x65, 0);
}

static void what_a_guest_sends_through_the_nic_does_not_come_back_from_the_tap(void **state)
{
	struct nicq *q = uplink_nicq(up, 0);
	uint32_t frame;
	uint8_t *buf;

	(void)state;
	beat();
	assert_int_equal(nicq_tx_room(q, 2), 2);
	for (int i = 0; i < 2; i++) {
		buf = nicq_tx_buf(q, 0, &frame);
		assert_non_null(buf);
		nicq_tx_stage(q, frame, (uint32_t)build(buf, i ? broadcast : guest_mac, other_mac, -1, 0x66), false);
	}
	assert_int_equal(nicq_tx_flush(q), 0);
	assert_socket_sees(wire, 0x66, -1, 2);
	assert_tap_sees(0x66, 0);
	assert_mcast_sees(0x66, 0);
}

static bool tap_exists(void)
{
	return env_run("ip link show vd-t >/dev/null 2>&1");
}

static void the_tap_is_nothing_that_the_host_would_use(void **state)
{
	(void)state;
	assert_string_equal(hostport_ifname(hp), "vd-t");
	assert_true(env_run("ip link show vd-t | grep -q 'NOARP.*UP.*mtu 1500'"));
	assert_true(env_run("test -z \"$(ip -o addr show dev vd-t)\""));
	hostport_mtu(hp, 1400);
	assert_true(env_run("ip link show vd-t | grep -q 'UP.*mtu 1400'"));
	assert_tap_sees(0, 0);
}

static void nothing_is_left_after_close(void **state)
{
	(void)state;
	assert_true(tap_exists());
	hostport_close(hp);
	hp = NULL;
	assert_false(tap_exists());
	assert_true(env_run("! bpftool net show dev " ENV_NIC " | grep -q viaduct_out"));
	assert_true(env_run("! tc qdisc show dev " ENV_NIC " | grep -q clsact"));
	beat();
	host_sends(guest_mac, -1, 0x71);
	assert_socket_sees(wire, 0x71, -1, 1);
}

static void the_operators_own_classifiers_stay(void **state)
{
	const struct fail why = { err, sizeof(err) };
	struct hostport_config cfg;

	(void)state;
	assert_string_equal(hostport_hook(hp), "clsact");
	assert_true(env_run("tc filter add dev " ENV_NIC " ingress bpf bytecode '1,6 0 0 0' flowid 1:1"));
	hostport_close(hp);
	assert_true(env_run("tc filter show dev " ENV_NIC " ingress | grep -q bytecode"));
	assert_true(env_run("! tc filter show dev " ENV_NIC " egress | grep -q viaduct_out"));
	uplink_hostport(up, &cfg);
	assert_int_equal(hostport_open(&host, &cfg, &hp, &why), 0);
	assert_goes(guest_mac, -1, true, false);
	assert_true(env_run("tc filter del dev " ENV_NIC " ingress"));
	hostport_close(hp);
	hp = NULL;
	/* It was there before us. */
	assert_true(env_run("tc qdisc show dev " ENV_NIC " | grep -q clsact && tc qdisc del dev " ENV_NIC " clsact"));
}

/* An instance that is killed while it holds all of it. */
static void kill_an_instance(void)
{
	int status;
	pid_t pid;

	close_both();
	pid = fork();
	if (!pid) {
		if (open_both(UPLINK_AUTO))
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void a_killed_instance_leaves_the_host_its_way_and_a_successor_takes_over(void **state)
{
	bool links = !strcmp(hostport_hook(hp), "tcx");
	uint64_t end = clock_now() + WAIT_NS;
	uint8_t f[64];
	bool through;

	(void)state;
	build(f, guest_mac, nic_mac, -1, 0x72);
	kill_an_instance();
	assert_false(tap_exists());
	/* Where a classifier is left, it is still before the heartbeat is a second old. */
	do {
		assert_int_equal(send(nic, f, sizeof(f), 0), sizeof(f));
		through = socket_sees(wire, 0x72, -1, links) == 1;
		assert_true(through || !links);
	} while (!through && clock_now() < end);
	assert_true(through);
	host_sends(broadcast, -1, 0x73);
	assert_socket_sees(wire, 0x73, -1, 1);
	if (open_both(UPLINK_AUTO))
		fail_msg("%s", err);
	assert_goes(guest_mac, -1, true, false);
	hostport_close(hp);
	hp = NULL;
	assert_true(env_run("! tc qdisc show dev " ENV_NIC " | grep -q clsact"));
	beat();
	host_sends(guest_mac, -1, 0x74);
	assert_socket_sees(wire, 0x74, -1, 1);
}

/* --- a guest with a stack of its own: a tap in another namespace --- */

static int guest_tap = -1;
static size_t longest[2];	/* to the guest, from it */
static unsigned unfinished[2];

/* One frame from @from to @to, header and all. */
static bool hand_on(int from, int to, int dir)
{
	const struct virtio_net_hdr_v1 *h = (const void *)got;
	ssize_t n = read(from, got, sizeof(got));

	if (n <= (ssize_t)HDR)
		return false;
	if ((size_t)n > longest[dir])
		longest[dir] = (size_t)n;
	unfinished[dir] += h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	((struct virtio_net_hdr_v1 *)(void *)got)->num_buffers = 0;
	while (write(to, got, (size_t)n) < 0 && errno == EAGAIN)
		;
	return true;
}

/* Plays the worker until @cmd has ended. Return: whether it succeeded. */
static bool run_beside(const char *cmd)
{
	struct pollfd p[2] = { { .fd = hostport_fd(hp), .events = POLLIN }, { .fd = guest_tap, .events = POLLIN } };
	uint64_t end = clock_now() + 30 * NSEC_PER_SEC;
	int status = -1;
	pid_t pid;

	memset(longest, 0, sizeof(longest));
	memset(unfinished, 0, sizeof(unfinished));
	pid = fork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c", cmd, NULL);
		_exit(127);
	}
	while (!waitpid(pid, &status, WNOHANG) && clock_now() < end) {
		beat();
		poll(p, 2, 20);
		for (int i = 0; i < 64 && hand_on(p[0].fd, p[1].fd, 0); i++)
			;
		for (int i = 0; i < 64 && hand_on(p[1].fd, p[0].fd, 1); i++)
			;
	}
	if (status == -1)
		kill(pid, SIGKILL);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void make_guest(void)
{
	assert_true(env_run("mkdir -p /run/netns && ip netns add guest"));
	if (tap_open("eth0", "guest", guest_mac, 1500, &guest_tap, 1, err, sizeof(err)))
		fail_msg("%s", err);
	tap_carrier(guest_tap, true);
	tap_set_offloads(guest_tap, tap_offloads(guest_tap));
	assert_true(env_run("ip -n guest addr add 10.0.0.2/24 dev eth0 && ip -n guest link set lo up && "
			    "ip -n guest -6 addr add fd00::2/64 dev eth0 nodad"));
	assert_true(env_run("echo 0 > /proc/sys/net/ipv6/conf/" ENV_NIC "/disable_ipv6 && "
			    "ip -6 addr add fd00::1/64 dev " ENV_NIC " nodad"));
}

static int drop_guest(void **state)
{
	close(guest_tap);
	guest_tap = -1;
	env_run("ip netns pids guest | xargs -r kill; ip netns del guest");
	return teardown(state);
}

static void host_and_guest_reach_each_other(void **state)
{
	(void)state;
	make_guest();
	assert_true(run_beside("ping -c2 -i0.1 -W3 10.0.0.2 >/dev/null && ping -c1 -W3 fd00::2 >/dev/null"));
	assert_true(run_beside("ip netns exec guest ping -c2 -i0.1 -W3 10.0.0.1 >/dev/null"));
	assert_true(run_beside("ip neigh flush dev " ENV_NIC "; ip netns exec guest ip neigh flush dev eth0; "
			       "ip netns exec guest ping -c1 -W3 10.0.0.1 >/dev/null"));
	/* Their requests were for everybody, their packets only for each other. */
	assert_true(env_run("ip neigh show dev " ENV_NIC " | grep -q 52:54:00:00:00:01"));
}

static void large_tcp_packets_stay_whole_both_ways(void **state)
{
	(void)state;
	make_guest();
	assert_true(env_run("ip netns exec guest iperf3 -s -D && "
			    "until ip netns exec guest ss -ntl | grep -q :5201; do sleep 0.05; done"));
	assert_true(run_beside("iperf3 -c 10.0.0.2 -n 50M >/dev/null"));
	print_message("%zu bytes to the guest, %zu from it\n", longest[0], longest[1]);
	assert_true(longest[0] > 20000);
	assert_true(unfinished[0] > 0);
	assert_true(run_beside("iperf3 -c 10.0.0.2 -n 50M -R >/dev/null"));
	assert_true(longest[1] > 20000);
	assert_true(run_beside("iperf3 -6 -c fd00::2 -n 50M >/dev/null"));
	assert_true(longest[0] > 20000);
	assert_true(run_beside("iperf3 -6 -c fd00::2 -n 50M -R >/dev/null"));
	assert_true(longest[1] > 20000);
	assert_true(env_run("nstat -az TcpInCsumErrors | grep -q 'TcpInCsumErrors *0 '"));
}

static void a_vlan_device_on_the_uplink_reaches_guests_in_that_vlan(void **state)
{
	(void)state;
	make_guest();
	if (!env_run("ip link add link " ENV_NIC " name vlan5 type vlan id 5 2>/dev/null")) {
		print_message("this kernel has no VLAN devices\n");
		return;
	}
	assert_true(env_run("ip addr add 10.5.0.1/24 dev vlan5 && ip link set vlan5 up && "
			    "ip -n guest link add link eth0 name vlan5 type vlan id 5 && "
			    "ip -n guest addr add 10.5.0.2/24 dev vlan5 && ip -n guest link set vlan5 up"));
	assert_true(run_beside("ping -c2 -i0.1 -W3 10.5.0.2 >/dev/null"));
	assert_true(run_beside("ip netns exec guest ping -c2 -i0.1 -W3 10.5.0.1 >/dev/null"));
	assert_true(env_run("ip netns exec guest iperf3 -s -D && "
			    "until ip netns exec guest ss -ntl | grep -q :5201; do sleep 0.05; done"));
	assert_true(run_beside("iperf3 -c 10.5.0.2 -n 5M >/dev/null"));
	assert_true(longest[0] > 10000);
	assert_true(run_beside("iperf3 -c 10.5.0.2 -n 5M -R >/dev/null"));
	assert_true(longest[1] > 10000);
}

static void large_udp_packets_stay_whole_both_ways(void **state)
{
	static const char echo[] =
		"import socket,sys\n"
		"s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
		"s.settimeout(5)\n"
		"if sys.argv[1]=='serve':\n"
		" s.bind(('10.0.0.2',7))\n"
		" while s.recvfrom(65536)[0]!=b'end': pass\n"
		"else:\n"
		" s.setsockopt(17,103,1000)\n"
		" s.sendto(b'x'*20000,('10.0.0.2',7))\n"
		" s.sendto(b'end',('10.0.0.2',7))\n";
	char cmd[1024];

	(void)state;
	make_guest();
	snprintf(cmd, sizeof(cmd),
		 "cat > /run/echo.py <<'X'\n%sX\n"
		 "ip netns exec guest python3 /run/echo.py serve & "
		 "until ip netns exec guest ss -nul | grep -q :7; do sleep 0.05; done; python3 /run/echo.py send && wait $!",
		 echo);
	assert_true(run_beside(cmd));
	print_message("%zu bytes to the guest\n", longest[0]);
	assert_true(longest[0] > 1500);
	assert_true(unfinished[0] > 0);
}

#define with(start, fn) cmocka_unit_test_setup_teardown(fn, start, teardown)
#define guest(start, fn) cmocka_unit_test_setup_teardown(fn, start, drop_guest)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		with(setup, what_is_for_a_guest_comes_out_of_the_tap_only),
		with(setup_clsact, what_is_for_a_guest_comes_out_of_the_tap_only),
		with(setup_generic, what_is_for_a_guest_comes_out_of_the_tap_only),
		with(setup, what_is_for_others_goes_to_the_wire_only),
		with(setup, what_is_for_a_group_goes_both_ways),
		with(setup_clsact, what_is_for_a_group_goes_both_ways),
		with(setup, a_guest_without_a_link_is_left_to_the_wire),
		with(setup, an_isolated_guest_is_left_to_the_wire),
		with(setup, a_nic_without_a_carrier_parts_nobody),
		with(setup, without_a_heartbeat_all_goes_to_the_wire),
		with(setup, a_tag_in_the_frame_is_looked_at),
		with(setup, a_tag_beside_the_frame_is_looked_at),
		with(setup, the_host_receives_a_guests_frame_on_its_nic),
		with(setup_clsact, the_host_receives_a_guests_frame_on_its_nic),
		with(setup_generic, the_host_receives_a_guests_frame_on_its_nic),
		with(setup, a_guests_group_frame_is_not_mistaken_for_the_wires),
		with(setup_generic, a_guests_group_frame_is_not_mistaken_for_the_wires),
		with(setup, what_a_guest_sends_through_the_nic_does_not_come_back_from_the_tap),
		with(setup_generic, what_a_guest_sends_through_the_nic_does_not_come_back_from_the_tap),
		with(setup, the_tap_is_nothing_that_the_host_would_use),
		with(setup, nothing_is_left_after_close),
		with(setup_clsact, nothing_is_left_after_close),
		with(setup_clsact, the_operators_own_classifiers_stay),
		with(setup, a_killed_instance_leaves_the_host_its_way_and_a_successor_takes_over),
		with(setup_clsact, a_killed_instance_leaves_the_host_its_way_and_a_successor_takes_over),
		guest(setup, host_and_guest_reach_each_other),
		guest(setup_generic, host_and_guest_reach_each_other),
		guest(setup, large_tcp_packets_stay_whole_both_ways),
		guest(setup_generic, large_tcp_packets_stay_whole_both_ways),
		guest(setup, a_vlan_device_on_the_uplink_reaches_guests_in_that_vlan),
		guest(setup, large_udp_packets_stay_whole_both_ways),
	};

	if (env_enter()) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	log_set_level(LOG_LEVEL_ERROR);
	if (argc > 1)		/* a pattern: only those tests */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
