/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel, and a driver, can do for the uplink beyond moving frames, on a
 * veth pair in namespaces of its own: frames in several chunks, the driver's flow
 * hash, checksums of sent frames. Needs root.
 */
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

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_xdp.h>

#include "../tests/offload.h"
#include "base/clock.h"
#include "base/log.h"
#include "viaduct_steer.h"
#include "xdp/devfeat.h"
#include "xdp_env.h"

#define WAIT_NS (5 * NSEC_PER_SEC)
#define LONGEST 9014u
#define MAX_PIECES 8

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0, 0, 2 };	/* as offload_build() has it */
static const uint8_t wire_mac[6] = { 0x52, 0x54, 0, 0, 0, 0xee };

static struct loop *loop;
static struct uplink *up;
static struct host_ops host;	/* the real one, but for what a test plays */
static char err[256];
static int wire;
static uint8_t buf[LONGEST + 100], want[LONGEST + 100];

static int setup(void **state)
{
	(void)state;
	up = NULL;
	host = *host_linux();
	env_veth(1);
	loop = loop_create();
	wire = env_wire_socket();
	return wire < 0 ? -1 : 0;
}

static int setup_jumbo(void **state)
{
	int ret = setup(state);

	assert_true(env_run("ip link set " ENV_NIC " mtu 9000 && ip link set " ENV_WIRE " mtu 9000"));
	return ret;
}

static int teardown(void **state)
{
	(void)state;
	uplink_close(up);
	loop_destroy(loop);
	close(wire);
	return 0;
}

static void open_with(const struct uplink_config *cfg)
{
	up = env_open_with(&host, loop, cfg, guest_mac, 2);	/* with one there is no need of a hash */
}

static void assert_nothing_left(void)
{
	uplink_close(up);
	up = NULL;
	assert_false(env_exists(VD_PIN_ROOT));
	assert_true(env_run("! ip link show " ENV_NIC " | grep -q xdp"));
}

/* A frame of our Ethernet type. */
static void fill(uint8_t *f, const uint8_t dst[6], uint32_t len, uint32_t number)
{
	for (uint32_t i = 0; i < len; i++)
		f[i] = (uint8_t)(number * 37 + i * 11 + (i >> 8));
	memcpy(f, dst, 6);
	memcpy(f + 6, wire_mac, 6);
	memcpy(f + 12, "\x88\xb5", 2);
}

/* One Ethernet frame with all its pieces. Return: how many; 0 = none in time. */
static unsigned receive(struct nicq_pkt *p)
{
	struct nicq *q = uplink_nicq(up, 0);
	uint64_t end = clock_now() + WAIT_NS;
	unsigned n = 0;

	while (clock_now() < end && n < MAX_PIECES) {
		nicq_refill(q);
		if (nicq_rx(q, &p[n], 1) && !p[n++].more)
			return n;
	}
	return 0;
}

static void recycle(const struct nicq_pkt *p, unsigned n)
{
	struct nicq *q = uplink_nicq(up, 0);

	while (n--)
		nicq_recycle(q, &p[n]);
	nicq_refill(q);
	assert_int_equal(q->frames.count[FRAME_HELD], 0);
	assert_int_equal(frames_check(&q->frames), 0);
	assert_int_equal(q->frames.violations, 0);
}

/* The next frame for the wire's address that comes out there; 0 = none in time. */
static ssize_t wire_recv(void)
{
	struct pollfd p = { .fd = wire, .events = POLLIN };
	uint64_t end = clock_now() + WAIT_NS;
	ssize_t n;

	while (clock_now() < end && poll(&p, 1, 1000) >= 0) {
		n = recv(wire, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 14 && !memcmp(buf, wire_mac, 6))
			return n;
	}
	return 0;
}

/* Stages a frame, in as many pieces as it needs. Return: the number of the first. */
static uint32_t stage(const uint8_t *f, uint32_t len)
{
	struct nicq *q = uplink_nicq(up, 0);
	const uint32_t room = NICQ_MAX_FRAME(q->frames.chunk);
	uint32_t frame, first = UINT32_MAX;

	assert_int_equal(nicq_tx_room(q, NICQ_PIECES), NICQ_PIECES);
	for (uint32_t at = 0; at < len; at += room) {
		uint32_t n = len - at < room ? len - at : room;
		uint8_t *to = nicq_tx_buf(q, 0, &frame);

		assert_non_null(to);
		if (!to)
			abort();	/* the compiler does not know that an assertion ends the test */
		memcpy(to, f + at, n);
		nicq_tx_stage(q, frame, n, at + n < len);
		first = at ? first : frame;
	}
	return first;
}

static void flush(void)
{
	struct nicq *q = uplink_nicq(up, 0);
	uint64_t end = clock_now() + WAIT_NS;

	do {
		nicq_tx_flush(q);
		nicq_reap(q);
	} while (q->tx_outstanding && clock_now() < end);
	assert_int_equal(q->tx_outstanding, 0);
	assert_int_equal(q->stats.tx_errors, 0);
}

/* --- frames in several chunks --------------------------------------------- */

static const uint32_t lengths[] = { 60, 1514, 3000, 3839, 3840, 3841, 4097, 7679, 7680, 7681, 9000, LONGEST };

static void long_frames_come_in_pieces_that_are_the_frame(void **state)
{
	const struct uplink_config cfg = env_config();
	struct nicq_pkt p[MAX_PIECES];

	(void)state;
	open_with(&cfg);
	assert_true(uplink_info(up)->sg);
	assert_int_equal(uplink_info(up)->chunk, 4096);
	assert_true(uplink_info(up)->max_frame >= 9018);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint32_t at = 0;
		unsigned n;

		fill(want, guest_mac, lengths[i], i);
		assert_int_equal(send(wire, want, lengths[i], 0), lengths[i]);
		n = receive(p);
		assert_in_range(n, 1, NICQ_PIECES);
		assert_non_null(nicq_meta(&p[0]));
		assert_int_equal(nicq_meta(&p[0])->port, 0);
		assert_int_equal(nicq_meta(&p[0])->seq, i);
		for (unsigned k = 0; k < n; at += p[k++].len) {
			assert_true(p[k].len <= lengths[i] - at);
			assert_memory_equal(p[k].data, want + at, p[k].len);
		}
		assert_int_equal(at, lengths[i]);
		recycle(p, n);
	}
	assert_int_equal(uplink_nicq(up, 0)->stats.rx_invalid, 0);
	assert_nothing_left();
}

static void long_frames_leave_in_pieces_and_arrive_whole(void **state)
{
	const struct uplink_config cfg = env_config();
	const int room = 4 << 20;

	(void)state;
	open_with(&cfg);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		fill(want, wire_mac, lengths[i], i);
		stage(want, lengths[i]);
		flush();
		assert_int_equal(wire_recv(), lengths[i]);
		assert_memory_equal(buf, want, lengths[i]);
	}
	/* Many at once. */
	assert_int_equal(setsockopt(wire, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), 0);
	for (unsigned i = 0; i < 40; i++) {
		fill(want, wire_mac, LONGEST, i);
		stage(want, LONGEST);
	}
	flush();
	for (unsigned i = 0; i < 40; i++) {
		fill(want, wire_mac, LONGEST, i);
		assert_int_equal(wire_recv(), LONGEST);
		assert_memory_equal(buf, want, LONGEST);
	}
}

static void generic_mode_carries_long_frames_or_says_why_not(void **state)
{
	struct uplink_config cfg = env_config();
	struct nicq_pkt p[MAX_PIECES];
	unsigned n;

	(void)state;
	cfg.mode = UPLINK_GENERIC;
	if (uplink_open(host_linux(), loop, &cfg, &up, err, sizeof(err))) {
		print_message("%s\n", err);
		assert_non_null(strstr(err, "mtu"));
		assert_nothing_left();
		return;
	}
	env_port(up, guest_mac, 1);
	fill(want, guest_mac, LONGEST, 1);
	assert_int_equal(send(wire, want, LONGEST, 0), LONGEST);
	n = receive(p);
	assert_in_range(n, 2, NICQ_PIECES);
	for (unsigned k = 0, at = 0; k < n; at += p[k++].len)
		assert_memory_equal(p[k].data, want + at, p[k].len);
	recycle(p, n);
}

static void an_mtu_beyond_the_limit_is_refused_with_the_mend(void **state)
{
	struct uplink_config cfg = env_config();

	(void)state;
	assert_true(env_run("ip link set " ENV_NIC " mtu 20000"));
	assert_true(uplink_open(host_linux(), loop, &cfg, &up, err, sizeof(err)) < 0);
	print_message("%s\n", err);
	assert_non_null(strstr(err, "MTU 20000"));
	assert_non_null(strstr(err, "ip link set dev " ENV_NIC " mtu "));
	/* The mend mends. */
	assert_true(env_run("%s", strstr(err, "ip link set dev")));
	open_with(&cfg);
}

/* --- the driver's hash ---------------------------------------------------- */

static bool program_is(const char *condition)
{
	return env_run("test \"$(bpftool -j prog show id %d | jq '%s')\" = true", uplink_info(up)->xdp_prog_id,
		       condition);
}

/*
 * A UDP packet with so much payload comes in, in at least so many pieces.
 * Return: the hash in its metadata. *@ours: the one that we would have computed.
 */
static uint32_t hash_of(uint32_t payload, unsigned pieces, uint32_t *ours)
{
	struct offload o = offload_udp4(payload);
	struct nicq_pkt p[MAX_PIECES];
	uint32_t hash, len = offload_build(want, &o, true), at = 0;
	unsigned n;

	assert_int_equal(send(wire, want, len, 0), len);
	n = receive(p);
	assert_in_range(n, pieces, NICQ_PIECES);
	for (unsigned k = 0; k < n; at += p[k++].len) {
		assert_true(p[k].len <= len - at);
		assert_memory_equal(p[k].data, want + at, p[k].len);
	}
	assert_int_equal(at, len);
	assert_non_null(nicq_meta(&p[0]));
	hash = nicq_meta(&p[0])->hash;
	*ours = vd_flow_hash(want, len);
	recycle(p, n);
	return hash;
}

static uint32_t received_hash(uint32_t *ours)
{
	return hash_of(100, 1, ours);
}

static void the_drivers_hash_is_taken_when_asked_for(void **state)
{
	struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	open_with(&cfg);
	if (!uplink_info(up)->driver_hash) {
		print_message("%s\n", uplink_info(up)->driver_hash_why);
		assert_string_not_equal(uplink_info(up)->driver_hash_why, "");
		skip();
	}
	assert_int_equal(uplink_info(up)->mode, VD_MODE_COPY);
	assert_string_equal(uplink_info(up)->driver_hash_why, "");
	hash = received_hash(&ours);
	assert_int_not_equal(hash, 0);
	assert_int_not_equal(hash, ours);
	assert_int_equal(received_hash(&ours), hash);	/* of one flow it is the same */
	assert_nothing_left();
}

/* Flows are known by the hash of what the guest sends, and that is ours. */
static void where_flows_are_followed_the_hash_is_ours(void **state)
{
	struct uplink_config cfg = env_config();
	struct vd_steering s;
	uint32_t ours, hash;

	(void)state;
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	open_with(&cfg);
	assert_int_equal(uplink_steering_read(up, 0, &s), 0);
	s.mode = VD_STEER_AUTO;
	assert_int_equal(uplink_steering(up, 0, &s), 0);
	hash = received_hash(&ours);
	assert_int_equal(hash, ours);
}

static void by_itself_a_hash_that_the_driver_computes_in_software_is_not_taken(void **state)
{
	const struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	open_with(&cfg);
	assert_false(uplink_info(up)->driver_hash);
	print_message("%s\n", uplink_info(up)->driver_hash_why);
	assert_string_not_equal(uplink_info(up)->driver_hash_why, "");
	hash = received_hash(&ours);
	assert_int_equal(hash, ours);
}

static void generic_mode_has_no_driver_to_ask_for_a_hash(void **state)
{
	struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	cfg.mode = UPLINK_GENERIC;
	open_with(&cfg);
	assert_int_equal(uplink_info(up)->mode, VD_MODE_GENERIC);
	assert_false(uplink_info(up)->driver_hash);
	print_message("%s\n", uplink_info(up)->driver_hash_why);
	assert_string_not_equal(uplink_info(up)->driver_hash_why, "");
	hash = received_hash(&ours);
	assert_int_equal(hash, ours);
}

static void the_drivers_hash_goes_with_long_frames(void **state)
{
	struct offload o = offload_udp4(0);
	const uint32_t payload = LONGEST - offload_head(&o);
	struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	open_with(&cfg);
	assert_true(uplink_info(up)->sg);
	if (!uplink_info(up)->driver_hash) {
		print_message("%s\n", uplink_info(up)->driver_hash_why);
		skip();
	}
	hash = hash_of(payload, 2, &ours);
	assert_int_not_equal(hash, 0);
	assert_int_not_equal(hash, ours);
	assert_int_equal(hash_of(payload, 2, &ours), hash);
	assert_int_equal(received_hash(&ours), hash);	/* a short one of the same flow */
}

/* An instance that is killed while it holds the uplink. Return: true when it had the driver's hash. */
static bool kill_an_instance(const struct uplink_config *cfg)
{
	struct uplink *u;
	char e[256];
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (uplink_open(host_linux(), loop_create(), cfg, &u, e, sizeof(e)))
			_exit(1);
		if (!uplink_info(u)->driver_hash && cfg->rx_hash == UPLINK_HELPER_DRIVER)
			raise(SIGTERM);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	return WTERMSIG(status) == SIGKILL;
}

static void an_instance_without_the_drivers_hash_adopts_one_that_had_it(void **state)
{
	struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	if (!kill_an_instance(&cfg))
		skip();
	cfg.rx_hash = UPLINK_HELPER_SOFTWARE;
	open_with(&cfg);
	assert_true(uplink_info(up)->adopted);
	assert_false(uplink_info(up)->driver_hash);
	hash = received_hash(&ours);
	assert_int_equal(hash, ours);
	assert_nothing_left();
}

static void an_instance_with_the_drivers_hash_adopts_one_that_had_it_not(void **state)
{
	struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	kill_an_instance(&cfg);
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	open_with(&cfg);
	if (!uplink_info(up)->driver_hash) {
		print_message("%s\n", uplink_info(up)->driver_hash_why);
		skip();
	}
	assert_true(uplink_info(up)->adopted);
	hash = received_hash(&ours);
	assert_int_not_equal(hash, ours);
	assert_nothing_left();
}

static void an_instance_of_the_same_kind_adopts_the_drivers_hash(void **state)
{
	struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	if (!kill_an_instance(&cfg))
		skip();
	open_with(&cfg);
	assert_true(uplink_info(up)->adopted);
	assert_true(uplink_info(up)->driver_hash);
	assert_true(program_is(".type == \"xdp\""));
	hash = received_hash(&ours);
	assert_int_not_equal(hash, ours);
	assert_nothing_left();
}

/* --- checksums of sent frames --------------------------------------------- */

/* Sends it with its checksum left to the kernel, and expects it whole. */
static void check_checksum(struct offload o)
{
	uint32_t len = offload_build(want, &o, false), frame;

	memcpy(want, wire_mac, 6);
	frame = stage(want, len);
	nicq_tx_request_checksum(uplink_nicq(up, 0), frame, (uint16_t)offload_l4(&o), o.udp ? 6 : 16);
	flush();
	assert_int_equal(wire_recv(), len);
	offload_build(want, &o, true);
	memcpy(want, wire_mac, 6);
	assert_memory_equal(buf, want, len);
}

static void a_checksum_that_is_left_to_the_kernel_arrives_whole(void **state)
{
	struct uplink_config cfg = env_config();

	(void)state;
	cfg.tx_checksum = UPLINK_HELPER_DRIVER;
	if (uplink_open(&host, loop, &cfg, &up, err, sizeof(err))) {
		print_message("%s\n", err);
		assert_non_null(strstr(err, "--tx-checksum software"));
		skip();
	}
	env_port(up, guest_mac, 1);
	assert_true(uplink_info(up)->kernel_checksum);
	assert_false(uplink_info(up)->nic_checksum);
	assert_true(uplink_nicq(up, 0)->tx_checksum);
	for (uint32_t len = 1; len < 1400; len += 117) {
		check_checksum(offload_tcp4(len));
		check_checksum(offload_udp4(len));
		check_checksum(offload_tcp6(len));
		check_checksum(offload_udp6(len));
	}
	/* Frames that ask for nothing are left as they are. */
	fill(want, wire_mac, 500, 1);
	stage(want, 500);
	flush();
	assert_int_equal(wire_recv(), 500);
	assert_memory_equal(buf, want, 500);
	assert_nothing_left();
}

static void by_itself_nothing_is_left_to_a_driver_that_does_not_offer_it(void **state)
{
	const struct uplink_config cfg = env_config();

	(void)state;
	open_with(&cfg);
	assert_false(uplink_info(up)->nic_checksum);
	assert_false(uplink_nicq(up, 0)->tx_checksum);
	assert_string_not_equal(uplink_info(up)->nic_checksum_why, "");
}

/* --- what other drivers and kernels say, played ----------------------------- */

#define UMEM_TX_METADATA_LEN (1u << 2)

/* A kernel's answers about a device that offers @rx_metadata and @xsk, as devfeat_read() asks for them. */
static uint64_t play_rx, play_xsk;
static int play_peer;

static void play_answer(uint16_t type, uint16_t id, const uint64_t *rx, const uint64_t *xsk)
{
	char msg[512];
	struct nlmsghdr *h = mnl_nlmsg_put_header(msg);

	h->nlmsg_type = type;
	mnl_nlmsg_put_extra_header(h, GENL_HDRLEN);
	if (id)
		mnl_attr_put_u16(h, CTRL_ATTR_FAMILY_ID, id);
	if (rx)
		mnl_attr_put_u64(h, 5, *rx);
	if (xsk)
		mnl_attr_put_u64(h, 6, *xsk);
	assert_int_equal(send(play_peer, h, h->nlmsg_len, 0), h->nlmsg_len);
}

static int play_genl(const struct host_ops *h)
{
	int s[2];

	(void)h;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		return -errno;
	play_peer = s[0];	/* stays open until the process ends: the asker writes to it */
	play_answer(GENL_ID_CTRL, 33, NULL, NULL);
	play_answer(33, 0, &play_rx, &play_xsk);
	return s[1];
}

static void play_driver(uint64_t rx, uint64_t xsk)
{
	host.genl = play_genl;
	play_rx = rx;
	play_xsk = xsk;
}

static void checksums_are_left_to_a_driver_that_offers_to_finish_them(void **state)
{
	const struct uplink_config cfg = env_config();
	struct offload o = offload_tcp4(700);
	uint32_t len = offload_build(want, &o, false), frame;

	(void)state;
	play_driver(0, DEVFEAT_TX_CHECKSUM);
	open_with(&cfg);
	if (!uplink_info(up)->nic_checksum)
		skip();	/* a kernel without TX metadata */
	assert_true(uplink_nicq(up, 0)->tx_checksum);
	assert_string_equal(uplink_info(up)->nic_checksum_why, "");
	/* This driver does not finish it, so that it can be seen: veth hands the request on to its other end. */
	memcpy(want, wire_mac, 6);
	frame = stage(want, len);
	nicq_tx_request_checksum(uplink_nicq(up, 0), frame, (uint16_t)offload_l4(&o), 16);
	flush();
	assert_int_equal(wire_recv(), len);
	assert_memory_equal(buf, want, len);
}

/* Linux 6.8 to 6.10: TX metadata, but no flag for its length. */
static unsigned refusals;
static int reg_without_flag(const struct host_ops *h, int fd, const struct xdp_umem_reg *reg)
{
	struct xdp_umem_reg r = *reg;

	if (r.flags & UMEM_TX_METADATA_LEN) {
		refusals++;
		return -EINVAL;
	}
	r.flags |= UMEM_TX_METADATA_LEN;	/* for the kernel that is really there */
	return host_linux()->xsk_umem_reg(h, fd, &r);
}

static void a_kernel_that_knows_no_flag_for_metadata_is_asked_without_it(void **state)
{
	const struct uplink_config cfg = env_config();

	(void)state;
	play_driver(0, DEVFEAT_TX_CHECKSUM);
	host.xsk_umem_reg = reg_without_flag;
	refusals = 0;
	open_with(&cfg);
	assert_true(refusals);
	if (!uplink_info(up)->nic_checksum)
		skip();	/* a kernel without TX metadata */
	assert_true(uplink_nicq(up, 0)->tx_checksum);
}

static int reg_without_metadata(const struct host_ops *h, int fd, const struct xdp_umem_reg *reg)
{
	static const struct xdp_umem_reg none;
	const uint8_t *last = (const uint8_t *)reg + sizeof(none) - 4;

	if (memcmp(last, (const uint8_t *)&none + sizeof(none) - 4, 4))
		return -EINVAL;
	return host_linux()->xsk_umem_reg(h, fd, reg);
}

static void a_kernel_that_takes_no_requests_leaves_checksums_to_software(void **state)
{
	struct uplink_config cfg = env_config();

	(void)state;
	play_driver(0, DEVFEAT_TX_CHECKSUM);
	host.xsk_umem_reg = reg_without_metadata;
	open_with(&cfg);
	assert_int_equal(uplink_info(up)->mode, VD_MODE_COPY);
	assert_false(uplink_info(up)->nic_checksum);
	assert_false(uplink_nicq(up, 0)->tx_checksum);
	assert_string_equal(uplink_info(up)->nic_checksum_why, "the kernel takes no requests");
	assert_nothing_left();
	/* Asked for by name it is an error, with the mend. */
	cfg.tx_checksum = UPLINK_HELPER_DRIVER;
	assert_true(uplink_open(&host, loop, &cfg, &up, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "--tx-checksum software"));
}

static int ethtool_of_a_nic(const struct host_ops *h, const char *ifname, void *cmd)
{
	int ret = host_linux()->ethtool(h, ifname, cmd);
	struct ethtool_drvinfo *info = cmd;

	if (!ret && info->cmd == ETHTOOL_GDRVINFO)
		strcpy(info->driver, "nic");
	return ret;
}

static void by_itself_the_hash_of_a_nic_is_taken(void **state)
{
	const struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	host.ethtool = ethtool_of_a_nic;
	open_with(&cfg);
	if (!uplink_info(up)->driver_hash)
		skip();	/* a kernel whose veth offers none */
	hash = received_hash(&ours);
	assert_int_not_equal(hash, 0);
	assert_int_not_equal(hash, ours);
}

static int load_nothing_bound(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds)
{
	return spec->bound_to ? -EINVAL : host_linux()->bpf_load(h, spec, fds);
}

static void where_the_program_for_the_device_is_refused_the_plain_one_serves(void **state)
{
	struct uplink_config cfg = env_config();
	uint32_t ours, hash;

	(void)state;
	play_driver(DEVFEAT_RX_HASH, 0);
	host.bpf_load = load_nothing_bound;
	cfg.rx_hash = UPLINK_HELPER_DRIVER;
	open_with(&cfg);
	assert_false(uplink_info(up)->driver_hash);
	assert_string_not_equal(uplink_info(up)->driver_hash_why, "");
	hash = received_hash(&ours);
	assert_int_equal(hash, ours);
	assert_nothing_left();
}

#define plain(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define jumbo(fn) cmocka_unit_test_setup_teardown(fn, setup_jumbo, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		jumbo(long_frames_come_in_pieces_that_are_the_frame),
		jumbo(long_frames_leave_in_pieces_and_arrive_whole),
		jumbo(generic_mode_carries_long_frames_or_says_why_not),
		plain(an_mtu_beyond_the_limit_is_refused_with_the_mend),
		plain(the_drivers_hash_is_taken_when_asked_for),
		plain(where_flows_are_followed_the_hash_is_ours),
		plain(by_itself_a_hash_that_the_driver_computes_in_software_is_not_taken),
		plain(generic_mode_has_no_driver_to_ask_for_a_hash),
		jumbo(the_drivers_hash_goes_with_long_frames),
		plain(an_instance_without_the_drivers_hash_adopts_one_that_had_it),
		plain(an_instance_with_the_drivers_hash_adopts_one_that_had_it_not),
		plain(an_instance_of_the_same_kind_adopts_the_drivers_hash),
		plain(a_checksum_that_is_left_to_the_kernel_arrives_whole),
		plain(by_itself_nothing_is_left_to_a_driver_that_does_not_offer_it),
		plain(checksums_are_left_to_a_driver_that_offers_to_finish_them),
		plain(a_kernel_that_knows_no_flag_for_metadata_is_asked_without_it),
		plain(a_kernel_that_takes_no_requests_leaves_checksums_to_software),
		plain(by_itself_the_hash_of_a_nic_is_taken),
		plain(where_the_program_for_the_device_is_refused_the_plain_one_serves),
	};

	if (env_enter()) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
