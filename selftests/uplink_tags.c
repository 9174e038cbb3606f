/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VLAN tags that the driver hands over beside the frame: the program puts them
 * back, looks addresses up with them, and where it cannot, ports with VLANs are
 * refused. veth shows what NICs that strip tags do: a tag that the kernel added
 * at the other end is never in the frame. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cmocka.h>

#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>

#include "base/clock.h"
#include "base/log.h"
#include "xdp/fail.h"
#include "xdp_env.h"

#define WAIT_NS (5 * NSEC_PER_SEC)
#define LEN 100u
#define MAX_PIECES 4

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
static const uint8_t wire_mac[6] = { 0x52, 0x54, 0, 0, 0, 0xee };

static struct loop *loop;
static struct uplink *up;
static struct host_ops host;	/* the real one, but for what a test plays */
static char err[256];
static int wire, push_link;

static int setup(void **state)
{
	(void)state;
	up = NULL;
	push_link = -1;
	host = *host_linux();
	env_veth(1);
	loop = loop_create();
	wire = env_wire_socket();
	return wire < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	uplink_close(up);
	loop_destroy(loop);
	close(wire);
	if (push_link >= 0)
		close(push_link);
	return 0;
}

static void open_with(const struct uplink_config *cfg)
{
	up = env_open_with(&host, loop, cfg, guest_mac, 1);
}

/* Opens it, and skips where this kernel's veth (before 6.8) does not tell tags. */
static void open_restoring(void)
{
	const struct uplink_config cfg = env_config();

	open_with(&cfg);
	if (uplink_info(up)->vlan_tags != UPLINK_TAGS_RESTORED) {
		print_message("%s\n", uplink_info(up)->vlan_tags_why);
		assert_non_null(strstr(uplink_info(up)->vlan_tags_why, "Linux 6.8"));
		skip();
	}
}

/* The other end gives every packet that leaves it a tag, beside the packet. */
static void push_at_the_wire(uint16_t type, uint16_t tci)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = htons(type) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = tci },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_vlan_push },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const int ifindex = (int)if_nametoindex(ENV_WIRE);
	int prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "push_tag", "Dual BSD/GPL", insns,
				 sizeof(insns) / sizeof(insns[0]), NULL);

	assert_true(prog >= 0);
	push_link = host_linux()->bpf_link_tcx(host_linux(), prog, ifindex, true);
	/* Goes with the device. */
	if (push_link < 0)
		assert_true(host_linux()->tc_attach(host_linux(), prog, ifindex, true) >= 0);
	close(prog);
}

/* A frame of our Ethernet type, with @tags (of 4 bytes each, as on the wire) in it. */
static uint32_t fill(uint8_t *f, const uint8_t dst[6], uint32_t len, const void *tags, uint32_t tags_len)
{
	for (uint32_t i = 0; i < len; i++)
		f[i] = (uint8_t)(i * 11 + (i >> 8));
	memcpy(f, dst, 6);
	memcpy(f + 6, wire_mac, 6);
	if (tags_len)
		memcpy(f + 12, tags, tags_len);
	memcpy(f + 12 + tags_len, "\x88\xb5", 2);
	return len;
}

/* Sends a frame with one set of tags and expects it with another. */
static void expect_tags(uint32_t len, const void *sent, uint32_t sent_len, const void *got, uint32_t got_len)
{
	uint8_t f[10000], want[10000];
	struct nicq *q = uplink_nicq(up, 0);
	uint64_t end = clock_now() + WAIT_NS;
	struct nicq_pkt p[MAX_PIECES];
	uint32_t at = 0;
	unsigned n = 0;

	fill(f, guest_mac, len, sent, sent_len);
	/* What follows the tags is the same. */
	memcpy(want, f, 12);
	memcpy(want + 12, got, got_len);
	memcpy(want + 12 + got_len, f + 12 + sent_len, len - 12 - sent_len);
	len += got_len - sent_len;
	assert_int_equal(send(wire, f, len + sent_len - got_len, 0), len + sent_len - got_len);
	do {
		nicq_refill(q);
		n += nicq_rx(q, &p[n], 1);
	} while ((!n || p[n - 1].more) && n < MAX_PIECES && clock_now() < end);
	assert_int_not_equal(n, 0);
	assert_non_null(nicq_meta(&p[0]));
	assert_int_equal(nicq_meta(&p[0])->port, 0);
	for (unsigned k = 0; k < n; at += p[k++].len) {
		assert_true(p[k].len <= len - at);
		assert_memory_equal(p[k].data, want + at, p[k].len);
		nicq_recycle(q, &p[k]);
	}
	assert_int_equal(at, len);
}

/* Nothing of it reaches a socket. */
static void expect_dropped(uint32_t len, const void *tags, uint32_t tags_len)
{
	const struct timespec ts = { .tv_nsec = 50000000 };
	uint8_t f[10000];
	struct nicq_pkt p;

	assert_int_equal(send(wire, f, fill(f, guest_mac, len, tags, tags_len), 0), len);
	nanosleep(&ts, NULL);
	nicq_refill(uplink_nicq(up, 0));
	assert_int_equal(nicq_rx(uplink_nicq(up, 0), &p, 1), 0);
}

static struct vd_stats stats_of(uint32_t index)
{
	struct vd_stats s;

	assert_int_equal(uplink_stats(up, index, &s), 0);
	return s;
}

static void a_tag_beside_the_frame_is_put_back_into_it(void **state)
{
	struct vd_stats before, after;

	(void)state;
	push_at_the_wire(0x8100, 0x6005);
	open_restoring();
	before = stats_of(0);
	expect_tags(LEN, NULL, 0, "\x81\x00\x60\x05", 4);
	after = stats_of(0);
	assert_int_equal(after.packets - before.packets, 1);
	assert_int_equal(after.bytes - before.bytes, LEN + 4);
	assert_int_equal(after.no_metadata, before.no_metadata);
}

static void a_second_tag_stays_behind_it(void **state)
{
	(void)state;
	push_at_the_wire(0x8100, 5);
	open_restoring();
	expect_tags(LEN, "\x81\x00\x00\x07", 4, "\x81\x00\x00\x05\x81\x00\x00\x07", 8);
}

static void a_service_tag_is_put_back_too(void **state)
{
	(void)state;
	push_at_the_wire(0x88a8, 5);
	open_restoring();
	expect_tags(LEN, NULL, 0, "\x88\xa8\x00\x05", 4);
	expect_tags(LEN, "\x81\x00\x00\x07", 4, "\x88\xa8\x00\x05\x81\x00\x00\x07", 8);
}

static void tags_that_are_in_the_frame_stay_as_they_are(void **state)
{
	(void)state;
	open_restoring();
	expect_tags(LEN, NULL, 0, NULL, 0);
	expect_tags(LEN, "\x81\x00\x00\x05", 4, "\x81\x00\x00\x05", 4);
	expect_tags(LEN, "\x88\xa8\x00\x05\x81\x00\x00\x07", 8, "\x88\xa8\x00\x05\x81\x00\x00\x07", 8);
}

/* As for a VLAN device at the other end: without the offload (on by default) the kernel puts the tag into the frame there. */
static void it_does_not_matter_whether_the_other_end_offloads_tags(void **state)
{
	static const char *const offload[] = { "off", "on" };

	(void)state;
	push_at_the_wire(0x8100, 5);
	open_restoring();
	for (unsigned i = 0; i < 2; i++) {
		assert_true(env_run("ethtool -K " ENV_WIRE " tx-vlan-offload %s >/dev/null", offload[i]));
		expect_tags(LEN, NULL, 0, "\x81\x00\x00\x05", 4);
	}
}

static void addresses_are_looked_up_with_the_tag_beside_the_frame(void **state)
{
	(void)state;
	push_at_the_wire(0x8100, 5);
	open_restoring();
	/* Known in VLAN 5 only; the tag in the frame, 7, is the inner one. */
	assert_int_equal(uplink_fdb_del(up, 0, guest_mac), 0);
	assert_int_equal(uplink_fdb_set(up, 7, guest_mac, VD_PORT_HOST, VD_FDB_HOST), 0);
	expect_dropped(LEN, "\x81\x00\x00\x07", 4);
	assert_int_equal(stats_of(VD_STATS_HOST).packets, 1);
	assert_int_equal(uplink_fdb_set(up, 5, guest_mac, 0, VD_FDB_CONFIGURED), 0);
	expect_tags(LEN, "\x81\x00\x00\x07", 4, "\x81\x00\x00\x05\x81\x00\x00\x07", 8);
	expect_tags(LEN, NULL, 0, "\x81\x00\x00\x05", 4);
}

static void a_port_gets_no_frame_of_a_vlan_that_it_is_not_in(void **state)
{
	struct vd_port p = { .enabled = 1, .flags = VD_PORT_VLANS };
	struct vd_vlans v = { .word[0] = 1 | 1u << 7 };

	(void)state;
	push_at_the_wire(0x8100, 5);
	open_restoring();
	assert_int_equal(uplink_port(up, 0, &p), 0);
	assert_int_equal(uplink_port_vlans(up, 0, &v), 0);
	expect_dropped(LEN, NULL, 0);
	expect_dropped(LEN, "\x81\x00\x00\x07", 4);
	assert_int_equal(stats_of(0).drop_vlan, 2);
	v.word[0] = 1u << 5;
	assert_int_equal(uplink_port_vlans(up, 0, &v), 0);
	expect_tags(LEN, NULL, 0, "\x81\x00\x00\x05", 4);
}

/* The tag that a received packet has beside it, -1 = none. */
static int tag_of_packet(int fd)
{
	union {
		struct cmsghdr align;
		uint8_t room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	uint8_t f[LEN];
	struct iovec iov = { f, sizeof(f) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct tpacket_auxdata aux;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(recvmsg(fd, &msg, 0), LEN);
	assert_memory_equal(f + 12, "\x88\xb5", 2);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	memcpy(&aux, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(aux));
	return aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci : -1;
}

static void the_hosts_own_frames_keep_their_tag_beside_them(void **state)
{
	const int on = 1;
	uint8_t f[LEN];
	int fd;

	(void)state;
	push_at_the_wire(0x8100, 5);
	open_restoring();
	fd = host.packet_socket(&host, (int)if_nametoindex(ENV_NIC), 0x0003);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)), 0);
	fill(f, uplink_link(up)->mac, LEN, NULL, 0);
	assert_int_equal(send(wire, f, LEN, 0), LEN);
	assert_int_equal(tag_of_packet(fd), 5);
	close(fd);
	assert_int_equal(stats_of(VD_STATS_HOST).packets, 1);
}

static void long_frames_get_their_tag_back(void **state)
{
	(void)state;
	assert_true(env_run("ip link set " ENV_NIC " mtu 9000 && ip link set " ENV_WIRE " mtu 9000"));
	push_at_the_wire(0x8100, 5);
	open_restoring();
	assert_true(uplink_info(up)->sg);
	expect_tags(9014, NULL, 0, "\x81\x00\x00\x05", 4);
	expect_tags(3840, NULL, 0, "\x81\x00\x00\x05", 4);
}

static void what_has_no_room_for_its_tag_is_dropped_and_counted(void **state)
{
	(void)state;
	push_at_the_wire(0x8100, 5);
	open_restoring();
	uplink_maps(up)->config->max_frame = 1000;
	expect_tags(996, NULL, 0, "\x81\x00\x00\x05", 4);
	expect_dropped(997, NULL, 0);
	assert_int_equal(stats_of(0).drop_malformed, 1);
}

/* --- where it cannot be done ------------------------------------------------ */

static void assert_vlans_refused(const char *mend)
{
	const struct fail why = { .text = err, .len = sizeof(err) };

	assert_int_equal(uplink_info(up)->vlan_tags, UPLINK_TAGS_LOST);
	assert_string_not_equal(uplink_info(up)->vlan_tags_why, "");
	assert_int_equal(uplink_maps(up)->config->restore_tag, 0);
	assert_int_equal(uplink_check_vlans(up, &why), -EOPNOTSUPP);
	print_message("%s\n", err);
	assert_non_null(strstr(err, mend));
}

static void assert_vlans_allowed(enum uplink_tags where)
{
	const struct fail why = { .text = err, .len = sizeof(err) };

	assert_int_equal(uplink_info(up)->vlan_tags, where);
	assert_string_equal(uplink_info(up)->vlan_tags_why, "");
	assert_int_equal(uplink_check_vlans(up, &why), 0);
}

static void where_the_driver_tells_tags_ports_may_have_vlans(void **state)
{
	(void)state;
	open_restoring();
	assert_vlans_allowed(UPLINK_TAGS_RESTORED);
	assert_int_equal(uplink_maps(up)->config->restore_tag, 1);
}

static void generic_mode_refuses_vlans_on_veth(void **state)
{
	struct uplink_config cfg = env_config();

	(void)state;
	cfg.mode = UPLINK_GENERIC;
	open_with(&cfg);
	assert_vlans_refused("--xdp-mode");
	/* Ports without go on. */
	expect_tags(LEN, NULL, 0, NULL, 0);
}

static int no_genl(const struct host_ops *h)
{
	(void)h;
	return -EPROTONOSUPPORT;
}

static void a_driver_that_tells_no_tags_refuses_vlans(void **state)
{
	const struct uplink_config cfg = env_config();

	(void)state;
	host.genl = no_genl;
	open_with(&cfg);
	assert_vlans_refused("Linux 6.8");
	expect_tags(LEN, NULL, 0, NULL, 0);
}

static int load_nothing_bound(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds)
{
	return spec->bound_to ? -EINVAL : host_linux()->bpf_load(h, spec, fds);
}

static void a_kernel_that_refuses_the_program_refuses_vlans(void **state)
{
	const struct uplink_config cfg = env_config();

	(void)state;
	host.bpf_load = load_nothing_bound;
	open_with(&cfg);
	assert_vlans_refused("kernel");
	expect_tags(LEN, NULL, 0, NULL, 0);
}

static int ethtool_of_a_nic(const struct host_ops *h, const char *ifname, void *cmd)
{
	int ret = host_linux()->ethtool(h, ifname, cmd);
	struct ethtool_drvinfo *info = cmd;

	if (!ret && info->cmd == ETHTOOL_GDRVINFO)
		strcpy(info->driver, "nic");
	return ret;
}

static void a_nic_that_strips_nothing_needs_no_help(void **state)
{
	struct uplink_config cfg = env_config();

	(void)state;
	host.ethtool = ethtool_of_a_nic;
	open_with(&cfg);
	if (uplink_info(up)->rxvlan_now == 1)
		skip();
	assert_vlans_allowed(UPLINK_TAGS_INLINE);
	assert_int_equal(uplink_maps(up)->config->restore_tag, 0);
	uplink_close(up);
	cfg.mode = UPLINK_GENERIC;
	open_with(&cfg);
	assert_vlans_allowed(UPLINK_TAGS_INLINE);
}

/* A switch that pretends. */
static int ethtool_that_changes_nothing(const struct host_ops *h, const char *ifname, void *cmd)
{
	return *(uint32_t *)cmd == ETHTOOL_SFEATURES ? 0 : ethtool_of_a_nic(h, ifname, cmd);
}

static void a_nic_that_goes_on_stripping_is_made_up_for_or_refuses_vlans(void **state)
{
	struct uplink_config cfg = env_config();

	(void)state;
	host.ethtool = ethtool_that_changes_nothing;
	open_with(&cfg);
	if (uplink_info(up)->rxvlan_now != 1)
		skip();	/* a kernel whose veth strips nothing anyway */
	if (uplink_info(up)->vlan_tags != UPLINK_TAGS_LOST)
		assert_vlans_allowed(UPLINK_TAGS_RESTORED);
	uplink_close(up);
	cfg.mode = UPLINK_GENERIC;
	open_with(&cfg);
	assert_vlans_refused("--xdp-mode");
}

#define tags_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		tags_test(a_tag_beside_the_frame_is_put_back_into_it),
		tags_test(a_second_tag_stays_behind_it),
		tags_test(a_service_tag_is_put_back_too),
		tags_test(tags_that_are_in_the_frame_stay_as_they_are),
		tags_test(it_does_not_matter_whether_the_other_end_offloads_tags),
		tags_test(addresses_are_looked_up_with_the_tag_beside_the_frame),
		tags_test(a_port_gets_no_frame_of_a_vlan_that_it_is_not_in),
		tags_test(the_hosts_own_frames_keep_their_tag_beside_them),
		tags_test(long_frames_get_their_tag_back),
		tags_test(what_has_no_room_for_its_tag_is_dropped_and_counted),
		tags_test(where_the_driver_tells_tags_ports_may_have_vlans),
		tags_test(generic_mode_refuses_vlans_on_veth),
		tags_test(a_driver_that_tells_no_tags_refuses_vlans),
		tags_test(a_kernel_that_refuses_the_program_refuses_vlans),
		tags_test(a_nic_that_strips_nothing_needs_no_help),
		tags_test(a_nic_that_goes_on_stripping_is_made_up_for_or_refuses_vlans),
	};

	if (env_enter()) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
