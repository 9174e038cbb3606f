/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that send to each other, to the host, and to all: what tests of
 * forwarding share. Guest i has the address DP_MAC_GUEST + i.
 */
#ifndef TESTS_LOCAL_H
#define TESTS_LOCAL_H

#include <errno.h>
#include <sys/socket.h>

#include "dp.h"
#include "viaduct_steer.h"

#define TAG 4u		/* bytes of a VLAN tag */
#define MOST (DP_BUF - DP_HDR)

/* Address of a station, as the forwarding table has it. */
static inline uint64_t local_mac(uint32_t station)
{
	uint8_t f[14];

	dp_frame(f, sizeof(f), station, 0, 0);
	return mac_load(f);
}

/* Where guests are, in the VLANs of their ports, is known. */
static inline void local_learned(struct dp_bed *b, unsigned port)
{
	uint64_t key = fdb_key(b->port[port]->policy.key_vlan, local_mac(DP_MAC_GUEST + port));

	guest_must(!fdb_set(&b->fdb, key, port, b->now), "fdb_set");
}

/* As many ports, that the table knows. */
static inline void local_open(struct dp_bed *b, const struct port_config *cfg, unsigned n, uint64_t features)
{
	dp_open_queue(b, DP_CHUNK, GUEST_MAX_FRAME);
	for (unsigned i = 0; i < n; i++) {
		dp_open_port(b, i, &cfg[i], features, GUEST_MAX_FRAME);
		local_learned(b, i);
	}
}

/* Puts a tag of VLAN @vid, priority 5, into a frame. Return: its length now. */
static inline uint32_t local_tag(uint8_t *f, uint32_t len, uint16_t vid)
{
	memmove(f + 16, f + 12, len - 12);
	f[12] = 0x81;
	f[13] = 0;
	f[14] = (uint8_t)(0xa0 | vid >> 8);
	f[15] = (uint8_t)vid;
	return len + TAG;
}

/* A tag as this side puts it in: priority 0. */
static inline uint32_t local_tag0(uint8_t *f, uint32_t len, uint16_t vid)
{
	len = local_tag(f, len, vid);
	f[14] &= 0x0f;
	return len;
}

static inline void local_frame(uint8_t *f, uint32_t len, uint32_t to, unsigned from, uint32_t number)
{
	dp_frame(f, len, to, DP_MAC_GUEST + from, number);
}

/* Guest @from sends a frame to guest @to. */
static inline bool local_send_pair(struct dp_bed *b, unsigned from, unsigned pair, unsigned to, uint32_t len,
				   uint32_t number)
{
	uint8_t f[DP_BUF];

	local_frame(f, len, DP_MAC_GUEST + to, from, number);
	return dp_send_raw(&b->tx[from][pair], f, len);
}

static inline bool local_send(struct dp_bed *b, unsigned from, unsigned to, uint32_t len, uint32_t number)
{
	return local_send_pair(b, from, 0, to, len, number);
}

/* The next frame at this guest is this one. */
static inline void local_expect_bytes(struct dp_bed *b, unsigned port, unsigned pair, const uint8_t *want, uint32_t len)
{
	uint8_t got[DP_BUF];

	assert_int_equal(dp_take(&b->rx[port][pair], got), len);
	assert_memory_equal(got, want, len);
}

/* The queue pair on which a guest gets what another sends it: its flow is their two addresses. */
static inline unsigned local_pair(struct dp_bed *b, unsigned from, unsigned to)
{
	uint8_t f[14];

	local_frame(f, sizeof(f), DP_MAC_GUEST + to, from, 0);
	return port_pair(b->port[to], vd_flow_hash(f, sizeof(f)));
}

/* Its rx ring there. */
static inline struct dp_end *local_rx(struct dp_bed *b, unsigned from, unsigned to)
{
	return &b->rx[to][local_pair(b, from, to)];
}

static inline void local_expect(struct dp_bed *b, unsigned from, unsigned to, uint32_t len, uint32_t number)
{
	uint8_t want[DP_BUF];

	local_frame(want, len, DP_MAC_GUEST + to, from, number);
	local_expect_bytes(b, to, local_pair(b, from, to), want, len);
}

/* The next frame that leaves is this one. */
static inline void local_expect_out(struct dp_bed *b, const uint8_t *want, uint32_t len)
{
	const uint8_t *f = NULL;

	assert_int_equal(dp_sent(b, &f), len);
	assert_memory_equal(f, want, len);
	dp_complete(b, 1);
}

static inline void local_expect_nothing_out(struct dp_bed *b)
{
	const uint8_t *f = NULL;

	assert_int_equal(dp_sent(b, &f), -1);
}

/* No guest has anything but what was taken. */
static inline void local_expect_nothing(struct dp_bed *b)
{
	for (unsigned i = 0; i < DP_MOST && b->port[i]; i++)
		for (unsigned k = 0; k < DP_PAIRS; k++)
			dp_expect_none(b, i, k);
	local_expect_nothing_out(b);
}

static inline void local_offer_all(struct dp_bed *b)
{
	for (unsigned i = 0; i < DP_MOST && b->port[i]; i++)
		for (unsigned k = 0; k < DP_PAIRS; k++)
			dp_offer(&b->rx[i][k], DP_QSIZE);
}

/* The host's port is a socket that keeps packets apart. Return: the host's end. */
static inline int local_host(struct dp_bed *b)
{
	int fd[2];

	guest_must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), "socketpair");
	b->dp->host_fd = fd[1];
	return fd[0];
}

static inline void local_close_host(struct dp_bed *b, int fd)
{
	close(fd);
	close(b->dp->host_fd);
	b->dp->host_fd = -1;
}

/* The next packet that the host gets. Return: its length without header, -1 = there is none. */
static inline int local_host_take(int fd, struct virtio_net_hdr_v1 *hdr, uint8_t *f, uint32_t max)
{
	struct iovec iov[2] = { { hdr, sizeof(*hdr) }, { f, max } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = recvmsg(fd, &m, 0);

	return n < (ssize_t)sizeof(*hdr) ? -1 : (int)(n - (ssize_t)sizeof(*hdr));
}

static inline void local_host_expect(int fd, const uint8_t *want, uint32_t len)
{
	static const struct virtio_net_hdr_v1 plain;
	struct virtio_net_hdr_v1 hdr;
	uint8_t got[DP_BUF];

	assert_int_equal(local_host_take(fd, &hdr, got, sizeof(got)), len);
	assert_memory_equal(&hdr, &plain, 10);
	assert_memory_equal(got, want, len);
}

static inline void local_host_expect_nothing(int fd)
{
	struct virtio_net_hdr_v1 hdr;
	uint8_t got[DP_BUF];

	assert_int_equal(local_host_take(fd, &hdr, got, sizeof(got)), -1);
}

/* The bed of a file's tests, @n ports of which @cfg says the rest. */
#define LOCAL_FIXTURE(cfg, n, features) DP_FIXTURE_BY(local_open(&bed, cfg, n, (features) | packed))

#endif
