/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of session and endpoint share: messages, guest memory, and a session's effects recorded. */
#ifndef TESTS_VU_H
#define TESTS_VU_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>

#include "vhost/session.h"

#define VU_MEM_SIZE 0x100000ull
#define VU_GUEST 0x40000000ull	/* guest-physical base */
#define VU_USER 0x7f0000000000ull	/* front-end base */
#define VU_RING(i) (VU_USER + 0x4000ull * (i))	/* ring i: descriptors, +0x2000 avail, +0x3000 used */

#define VU_FEATURES                                                                                                  \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_NET_F_MRG_RXBUF |             \
	 1ull << VHOST_USER_F_PROTOCOL_FEATURES)
#define VU_PROTOCOL                                                                                                  \
	(1ull << VHOST_USER_PROTOCOL_F_MQ | 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK |                                \
	 1ull << VHOST_USER_PROTOCOL_F_STATUS | 1ull << VHOST_USER_PROTOCOL_F_LOG_SHMFD |                            \
	 1ull << VHOST_USER_PROTOCOL_F_RARP | 1ull << VHOST_USER_PROTOCOL_F_NET_MTU |                                \
	 1ull << VHOST_USER_PROTOCOL_F_CONFIG | 1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ |                          \
	 1ull << VHOST_USER_PROTOCOL_F_RESET_DEVICE | 1ull << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)

static inline unsigned vu_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline int vu_memfd(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	return fd >= 0 && ftruncate(fd, (off_t)size) == 0 ? fd : -1;
}

static inline struct vhost_user_msg vu_msg(uint32_t request, uint32_t flags, uint32_t size)
{
	return (struct vhost_user_msg){ .hdr = { request, VHOST_USER_VERSION | flags, size } };
}

static inline struct vhost_user_msg vu_u64(uint32_t request, uint64_t value)
{
	struct vhost_user_msg m = vu_msg(request, 0, 8);

	m.payload.u64 = value;
	return m;
}

static inline struct vhost_user_msg vu_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_msg m = vu_msg(request, 0, 8);

	m.payload.state = (struct vhost_user_vring_state){ index, num };
	return m;
}

static inline struct vhost_user_msg vu_addr(uint32_t index, uint64_t base)
{
	struct vhost_user_msg m = vu_msg(VHOST_USER_SET_VRING_ADDR, 0, sizeof(struct vhost_user_vring_addr));

	m.payload.addr = (struct vhost_user_vring_addr){ .index = index, .desc = base, .avail = base + 0x2000,
							 .used = base + 0x3000 };
	return m;
}

/* One region of VU_MEM_SIZE at the usual addresses. */
static inline struct vhost_user_msg vu_mem(void)
{
	struct vhost_user_msg m = vu_msg(VHOST_USER_SET_MEM_TABLE, 0, 8 + 32);

	m.payload.mem.nregions = 1;
	m.payload.mem.region[0] = (struct vhost_user_mem_region){ VU_GUEST, VU_MEM_SIZE, VU_USER, 0 };
	return m;
}

/* A memory slot: @size bytes at @offset behind the usual addresses. */
static inline struct vhost_user_msg vu_slot(uint32_t request, uint64_t offset, uint64_t size)
{
	struct vhost_user_msg m = vu_msg(request, 0, sizeof(struct vhost_user_mem_reg));

	m.payload.mem_reg.region = (struct vhost_user_mem_region){ VU_GUEST + offset, size, VU_USER + offset, 0 };
	return m;
}

static inline struct vhost_user_msg vu_log(uint64_t size, uint64_t offset)
{
	struct vhost_user_msg m = vu_msg(VHOST_USER_SET_LOG_BASE, 0, sizeof(struct vhost_user_log));

	m.payload.log = (struct vhost_user_log){ size, offset };
	return m;
}

/* GET_CONFIG or SET_CONFIG of a span, bytes. */
static inline struct vhost_user_msg vu_config_msg(uint32_t request, uint32_t offset, uint32_t size)
{
	struct vhost_user_msg m = vu_msg(request, 0, VHOST_USER_CONFIG_HDR + size);

	m.payload.config.offset = offset;
	m.payload.config.size = size;
	return m;
}

/* A session's effects, recorded. */
struct vu_fake {
	char log[4096];		/* "start 0;enable 0 1;..." */
	struct virtq_config ring[256];
	bool running[256], enabled[256], lost[256];
	uint32_t base;		/* what ring_stop() answers */
	int fail;		/* what ring_start(), ring_kick() and rarp() answer */
	unsigned swaps, changes, complaints, rarps;
	uint8_t mac[6];		/* of the last rarp() */
	uint32_t mtu;
	struct virtio_net_config config;	/* what config() answers */
	char complaint[160];
};

static inline void vu_note(struct vu_fake *f, const char *what, unsigned index)
{
	size_t at = strlen(f->log);

	snprintf(f->log + at, sizeof(f->log) - at, "%s %u;", what, index);
}

static inline int vu_ring_start(void *ctx, unsigned index, const struct virtq_config *cfg)
{
	struct vu_fake *f = ctx;

	if (f->fail)
		return f->fail;
	vu_note(f, "start", index);
	f->ring[index] = *cfg;
	f->running[index] = true;
	return 0;
}

static inline int vu_ring_resume(void *ctx, unsigned index, const struct virtq_config *cfg)
{
	struct vu_fake *f = ctx;

	if (f->fail)
		return f->fail;
	vu_note(f, "resume", index);
	f->ring[index] = *cfg;
	f->running[index] = true;
	return 0;
}

static inline uint32_t vu_ring_stop(void *ctx, unsigned index, bool lost)
{
	struct vu_fake *f = ctx;

	vu_note(f, "stop", index);
	f->lost[index] = lost;
	f->running[index] = false;
	return f->base;
}

static inline void vu_ring_enable(void *ctx, unsigned index, bool enable)
{
	struct vu_fake *f = ctx;

	vu_note(f, enable ? "enable" : "disable", index);
	f->enabled[index] = enable;
}

static inline void vu_ring_call(void *ctx, unsigned index, int callfd)
{
	struct vu_fake *f = ctx;

	vu_note(f, "call", index);
	f->ring[index].callfd = callfd;
}

static inline int vu_ring_kick(void *ctx, unsigned index, int kickfd)
{
	struct vu_fake *f = ctx;

	if (f->fail)
		return f->fail;
	vu_note(f, "kick", index);
	f->ring[index].kickfd = kickfd;
	return 0;
}

static inline void vu_mem_swap(void *ctx, const unsigned *idx, const struct virtq_config *cfgs, unsigned n)
{
	struct vu_fake *f = ctx;

	f->swaps++;
	for (unsigned i = 0; i < n; i++) {
		vu_note(f, "swap", idx[i]);
		f->ring[idx[i]] = cfgs[i];
	}
}

static inline void vu_ring_log(void *ctx, unsigned index, struct dirty *log, bool log_ring, uint64_t log_addr)
{
	struct vu_fake *f = ctx;

	vu_note(f, log ? log_ring ? "log+" : "log" : "nolog", index);
	f->ring[index].log = log;
	f->ring[index].log_ring = log_ring;
	f->ring[index].log_addr = log_addr;
}

static inline int vu_rarp(void *ctx, const uint8_t mac[6])
{
	struct vu_fake *f = ctx;

	memcpy(f->mac, mac, sizeof(f->mac));
	f->rarps++;
	return f->fail;
}

static inline void vu_config(void *ctx, struct virtio_net_config *cfg)
{
	*cfg = ((struct vu_fake *)ctx)->config;
}

static inline void vu_mtu(void *ctx, uint32_t mtu)
{
	((struct vu_fake *)ctx)->mtu = mtu;
}

static inline void vu_changed(void *ctx)
{
	((struct vu_fake *)ctx)->changes++;
}

static inline void vu_complaint(void *ctx, const char *text)
{
	struct vu_fake *f = ctx;

	f->complaints++;
	snprintf(f->complaint, sizeof(f->complaint), "%s", text);
}

static const struct session_ops vu_ops __attribute__((unused)) = {
	.ring_start = vu_ring_start,
	.ring_resume = vu_ring_resume,
	.ring_stop = vu_ring_stop,
	.ring_enable = vu_ring_enable,
	.ring_call = vu_ring_call,
	.ring_kick = vu_ring_kick,
	.mem_swap = vu_mem_swap,
	.ring_log = vu_ring_log,
	.rarp = vu_rarp,
	.config = vu_config,
	.mtu = vu_mtu,
	.changed = vu_changed,
	.complaint = vu_complaint,
};

#endif
