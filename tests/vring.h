/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest for tests of virtqueues: two regions of memory that are neighbours
 * in guest addresses but not in files, a driver's ring in them, and the device's
 * virtq on the other side. Descriptors can be written by hand as well.
 */
#ifndef TESTS_VRING_H
#define TESTS_VRING_H

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "driver/ring.h"
#include "ring/virtq.h"

#define VG_REGION 0x100000ull		/* bytes of each of the two regions */
#define VG_GUEST 0x80000000ull		/* first guest address */
#define VG_END (VG_GUEST + 2 * VG_REGION)
#define VG_USER 0x7f0000000000ull
#define VG_BUF (VG_GUEST + 0x80000)	/* buffers from here on; the ring lies before */
#define VG_EDGE (VG_GUEST + VG_REGION)	/* where the regions meet */
#define VG_MAX_FRAME 1518

#define VG_F(bit) (1ull << (bit))
#define VG_MODERN (VG_F(VIRTIO_F_VERSION_1) | VG_F(VIRTIO_NET_F_MRG_RXBUF))

struct vguest {
	uint8_t *mem[2];	/* the guest's own view */
	struct gmem *gmem;
	struct dring ring;
	struct virtq vq;
	int call, kick;
	uint16_t offered;	/* by hand */
};

static inline void *vg_at(struct vguest *g, uint64_t addr)
{
	uint64_t off = addr - VG_GUEST;

	return off < 2 * VG_REGION ? g->mem[off / VG_REGION] + off % VG_REGION : NULL;
}

static inline void *vg_user(struct vguest *g, const void *guest_pointer, uint64_t len)
{
	uint64_t off = (uint64_t)((const uint8_t *)guest_pointer - g->mem[0]);
	struct iovec iov;
	unsigned hint = 0;

	return gmem_map(g->gmem, GMEM_USER, VG_USER + off, len, &iov, 1, &hint) == 1 ? iov.iov_base : NULL;
}

static inline struct virtq_config vg_config(struct vguest *g, enum virtq_dir dir, uint64_t features, uint32_t base)
{
	uint64_t n = g->ring.size;

	return (struct virtq_config){
		.dir = dir,
		.size = g->ring.size,
		.features = features,
		.desc = vg_user(g, g->ring.desc, 16 * n),
		.avail = vg_user(g, g->ring.avail, 6 + 2 * n),
		.used = vg_user(g, g->ring.used, 6 + 8 * n),
		.mem = g->gmem,
		.base = base,
		.max_frame = VG_MAX_FRAME,
		.callfd = g->call,
		.kickfd = g->kick,
	};
}

/* Both sides ready, all positions at @base. Return: 0 or -errno. */
static inline int vg_open(struct vguest *g, enum virtq_dir dir, uint32_t size, uint64_t features, uint16_t base)
{
	struct gmem_desc d[2];
	struct virtq_config cfg;
	int fds[2], ret;

	memset(g, 0, sizeof(*g));
	for (unsigned i = 0; i < 2; i++) {
		d[i] = (struct gmem_desc){ VG_GUEST + i * VG_REGION, VG_REGION, VG_USER + i * VG_REGION, i * 4096 };
		fds[i] = memfd_create("guest", MFD_CLOEXEC);
		if (fds[i] < 0 || ftruncate(fds[i], VG_REGION + i * 4096) < 0)
			return -1;
		g->mem[i] = mmap(NULL, VG_REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], i * 4096);
	}
	ret = gmem_create(d, fds, 2, &g->gmem);
	if (ret)
		return ret;
	g->call = eventfd(0, EFD_NONBLOCK);
	g->kick = eventfd(0, EFD_NONBLOCK);
	ret = dring_init(&g->ring, g->mem[0], VG_GUEST, size, features);
	if (ret)
		return ret;
	g->ring.kickfd = g->kick;
	g->ring.next_avail = g->ring.kicked_avail = g->ring.next_used = g->offered = base;
	g->ring.avail->idx = g->ring.used->idx = base;
	cfg = vg_config(g, dir, features, base);
	ret = virtq_start(&g->vq, &cfg);
	g->vq.enabled = 1;
	return ret;
}

static inline void vg_close(struct vguest *g)
{
	virtq_stop(&g->vq);
	dring_fini(&g->ring);
	gmem_put(g->gmem);
	for (unsigned i = 0; i < 2; i++)
		munmap(g->mem[i], VG_REGION);
	close(g->call);
	close(g->kick);
}

/* By hand: descriptor @i, and its chain made available. */
static inline void vg_desc(struct vguest *g, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	g->ring.desc[i] = (struct vring_desc){ addr, len, flags, next };
}

static inline void vg_offer(struct vguest *g, uint16_t head)
{
	g->ring.avail->ring[g->offered % g->ring.size] = head;
	store_release(&g->ring.avail->idx, ++g->offered);
}

/* How often an eventfd was written since the last look. */
static inline uint64_t vg_events(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static inline void vg_fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

#endif
