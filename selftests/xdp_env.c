/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "xdp_env.h"

#define WAIT_NS (5 * NSEC_PER_SEC)

int env_enter(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		return -errno;
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0)
		return -errno;
	return env_run("ip link set lo up") ? 0 : -EIO;
}

bool env_run(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd) == 0;
}

void env_veth(unsigned queues)
{
	env_run("ip link del " ENV_WIRE " 2>/dev/null");
	if (!env_run("ip link add " ENV_NIC " numtxqueues %u numrxqueues %u type veth peer name " ENV_WIRE
		     " numtxqueues %u numrxqueues %u", queues, queues, queues, queues) ||
	    !env_run("for d in " ENV_NIC " " ENV_WIRE "; do echo 1 > /proc/sys/net/ipv6/conf/$d/disable_ipv6; done") ||
	    !env_run("ip link set " ENV_NIC " up && ip link set " ENV_WIRE " up")) {
		fprintf(stderr, "cannot make the veth pair\n");
		exit(1);
	}
}

int env_open(struct loop *loop, enum uplink_mode_wish mode, uint32_t queues, struct uplink **out, char *err)
{
	struct uplink_config cfg = {
		.ifname = ENV_NIC, .name = "t", .queues = queues, .mode = mode, .ring_size = 256, .frames = 512,
	};

	err[0] = '\0';
	return uplink_open(host_linux(), loop, &cfg, out, err, 256);
}

bool env_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

void env_port(struct uplink *u, const uint8_t mac[6], unsigned pairs)
{
	struct vd_steering s = { .mode = VD_STEER_HASH };
	struct vd_port p = { .enabled = pairs };
	unsigned i;

	for (i = 0; i < VD_INDIRECTION && pairs; i++)
		s.pair[i] = (uint16_t)(i % pairs);
	for (i = 0; i < VD_MAX_PAIRS && pairs; i++)
		p.route[i] = (uint8_t)(i % pairs);
	uplink_steering(u, 0, &s);
	uplink_port(u, 0, &p);
	uplink_maps(u)->links[0].up = 1;
	uplink_maps(u)->links[1].up = 1;
	if (!uplink_is_host_mac(u, mac))
		uplink_fdb_set(u, 0, mac, 0, VD_FDB_CONFIGURED);
}

int env_wire_socket(void)
{
	const struct host_ops *h = host_linux();

	return h->packet_socket(h, (int)if_nametoindex(ENV_WIRE), 0x0003);
}

struct uplink_config env_config(void)
{
	return (struct uplink_config){ .ifname = ENV_NIC, .name = "t", .ring_size = 256, .frames = 512 };
}

struct uplink *env_open_with(const struct host_ops *host, struct loop *loop, const struct uplink_config *cfg,
			     const uint8_t mac[6], unsigned pairs)
{
	struct uplink *up = NULL;
	char err[256] = "";

	if (uplink_open(host, loop, cfg, &up, err, sizeof(err)))
		fail_msg("%s", err);
	env_port(up, mac, pairs);
	return up;
}

struct nicq *env_receive(struct uplink *u, struct nicq_pkt *p)
{
	const uint64_t end = clock_now() + WAIT_NS;

	while (clock_now() < end)
		for (uint32_t q = 0; q < uplink_queues(u); q++) {
			nicq_refill(uplink_nicq(u, q));
			if (nicq_rx(uplink_nicq(u, q), p, 1))
				return uplink_nicq(u, q);
		}
	return NULL;
}
