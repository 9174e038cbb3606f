/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loaded XDP program run on a frame (BPF_PROG_TEST_RUN), as if queue N of the
 * uplink had received it: verdict, metadata, frame, counters.
 */
#ifndef VIADUCT_SELFTESTS_PROG_RUN_H
#define VIADUCT_SELFTESTS_PROG_RUN_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cmocka.h>
#include <linux/bpf.h>

#include "xdp_env.h"
#include "viaduct_steer.h"

#define QUEUES 4

static const uint8_t guest_mac[6] __attribute__((unused)) = { 0x52, 0x54, 0, 0, 0, 1 };
static const uint8_t other_mac[6] __attribute__((unused)) = { 0x52, 0x54, 0, 0, 0, 9 };

static struct loop *loop;
static struct uplink *up;
static int prog_fd, xsks_fd, nic_index;

/* What the program made of a frame. */
struct result {
	int verdict;
	bool has_meta;
	struct vd_meta meta;
	uint8_t frame[2048];
	uint32_t len;
};

/* The kernel puts metadata in front of the frame it gives back. */
static inline struct result run_meta(const uint8_t *frame, uint32_t len, uint32_t queue, uint32_t meta_len)
{
	struct xdp_md ctx = { .data = meta_len, .data_end = meta_len + len, .ingress_ifindex = (uint32_t)nic_index,
			      .rx_queue_index = queue };
	struct xdp_md ctx_out = { 0 };
	uint8_t in[2048] = { 0 }, out[4096];
	struct result r = { 0 };
	uint32_t got;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = meta_len + len, .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .ctx_out = &ctx_out,
		    .ctx_size_out = sizeof(ctx_out));

	memcpy(in + meta_len, frame, len);
	r.verdict = -1;
	if (bpf_prog_test_run_opts(prog_fd, &opts))
		return r;
	r.verdict = (int)opts.retval;
	got = ctx_out.data - ctx_out.data_meta;
	if (got == sizeof(r.meta)) {
		r.has_meta = true;
		memcpy(&r.meta, out, sizeof(r.meta));
	}
	r.len = opts.data_size_out - got;
	memcpy(r.frame, out + got, r.len);
	return r;
}

static inline struct result run(const uint8_t *frame, uint32_t len, uint32_t queue)
{
	return run_meta(frame, len, queue, 0);
}

static inline struct vd_stats stats_of(uint32_t index)
{
	struct vd_stats s;

	assert_int_equal(uplink_stats(up, index, &s), 0);
	return s;
}

/* An IPv4 UDP frame of a flow. */
static inline uint32_t udp4(uint8_t *f, const uint8_t dst[6], uint32_t flow, uint32_t len)
{
	const uint8_t src[6] = { 2, 0, 0, 0, 0, 2 };

	memset(f, 0, len);
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	f[12] = 0x08;
	f[14] = 0x45;
	f[17] = (uint8_t)(len - 14);
	f[23] = 17;
	memcpy(f + 26, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
	f[34] = (uint8_t)(flow >> 8);
	f[35] = (uint8_t)flow;
	f[37] = 53;
	return len;
}

static inline void assert_passed_untouched(const uint8_t *f, uint32_t len)
{
	struct vd_stats before = stats_of(VD_STATS_HOST), after;
	struct result r = run(f, len, 0);

	assert_int_equal(r.verdict, XDP_PASS);
	assert_false(r.has_meta);
	assert_int_equal(r.len, len);
	assert_memory_equal(r.frame, f, len);
	after = stats_of(VD_STATS_HOST);
	assert_int_equal(after.packets - before.packets, 1);
	assert_int_equal(after.bytes - before.bytes, len);
}

/* The maps that are not pinned are found through the program. */
static inline int map_of_program(const char *name)
{
	struct bpf_prog_info info = { 0 };
	uint32_t ids[16], len = sizeof(info), i;

	info.map_ids = (uintptr_t)ids;
	info.nr_map_ids = 16;
	if (bpf_obj_get_info_by_fd(prog_fd, &info, &len))
		return -errno;
	for (i = 0; i < info.nr_map_ids; i++) {
		struct bpf_map_info mi = { 0 };
		uint32_t milen = sizeof(mi);
		int fd = bpf_map_get_fd_by_id(ids[i]);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &mi, &milen) && !strcmp(mi.name, name))
			return fd;
		close(fd);
	}
	return -ENOENT;
}

static inline int no_genl(const struct host_ops *h)
{
	(void)h;
	return -EPROTONOSUPPORT;
}

/* A driver that offers nothing: the program that is bound to one that does cannot be test-run. */
static inline int open_uplink(void **state)
{
	const struct uplink_config cfg = { .ifname = ENV_NIC, .name = "t", .ring_size = 256, .frames = 512 };
	static struct host_ops host;
	char err[256] = "";

	(void)state;
	host = *host_linux();
	host.genl = no_genl;
	env_veth(QUEUES);
	loop = loop_create();
	if (uplink_open(&host, loop, &cfg, &up, err, sizeof(err))) {
		fprintf(stderr, "%s\n", err);
		return -1;
	}
	prog_fd = bpf_prog_get_fd_by_id((uint32_t)uplink_info(up)->xdp_prog_id);
	xsks_fd = map_of_program("xsks");
	nic_index = (int)if_nametoindex(ENV_NIC);
	return prog_fd < 0 || xsks_fd < 0 ? -1 : 0;
}

static inline int close_uplink(void **state)
{
	(void)state;
	close(xsks_fd);
	close(prog_fd);
	uplink_close(up);
	loop_destroy(loop);
	return 0;
}

#endif
