/* SPDX-License-Identifier: BSD-2-Clause */
/* AF_XDP sockets: set-up, adoption, ring mappings. See the kernel's Documentation/networking/af_xdp.rst. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_xdp.h>

#include "base/atomics.h"
#include "base/clock.h"
#include "xdp/afxdp.h"

#ifndef SOL_XDP
#define SOL_XDP 283
#endif
/* Since 6.17; older headers lack it and older kernels refuse it. */
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif
#define TX_BUDGET 256
/* Since 5.11. */
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif
#define BUSY_POLL_US 20		/* any but 0: a call without waiting makes one round */
#define BUSY_POLL_BUDGET 64	/* frames per round, as NAPI has it */
#define UMEM_TX_SW_CSUM (1u << 1)	/* since 6.8 */
#define UMEM_TX_METADATA_LEN (1u << 2)	/* since 6.11 */

#define BIND_RETRY_MS 20

enum { SLOT_RX, SLOT_TX, SLOT_FILL, SLOT_COMPLETION, SLOT_UMEM };

static void sleep_ms(unsigned ms)
{
	const struct timespec ts = { .tv_nsec = (long)ms * 1000000 };

	nanosleep(&ts, NULL);
}

static int set_ring_size(int fd, int option, uint32_t size)
{
	return setsockopt(fd, SOL_XDP, option, &size, sizeof(size)) < 0 ? -errno : 0;
}

static int set_ring_sizes(int fd, uint32_t size)
{
	static const int options[] = { XDP_RX_RING, XDP_TX_RING, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING };
	uint32_t budget = size < TX_BUDGET ? size : TX_BUDGET;
	unsigned i;
	int ret;

	for (i = 0; i < 4; i++) {
		ret = set_ring_size(fd, options[i], size);
		if (ret)
			return ret;
	}
	/* Fewer system calls per batch in copy mode; a kernel without it keeps its 32. */
	setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget));
	return 0;
}

static void *map_ring(struct nicq *q, int slot, const struct xdp_ring_offset *off, uint32_t size, size_t entry,
		      uint64_t pgoff)
{
	size_t len = off->desc + size * entry;
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, q->fd, (off_t)pgoff);

	if (mem == MAP_FAILED)
		return NULL;
	q->maps[slot] = mem;
	q->map_len[slot] = len;
	return mem;
}

/* Positions are taken from the ring: zero on a new one, where the predecessor stopped on an adopted one. */
static int map_prod(struct nicq *q, int slot, const struct xdp_ring_offset *off, uint32_t size, size_t entry,
		    uint64_t pgoff, struct xsk_ring_prod *r)
{
	uint8_t *mem = map_ring(q, slot, off, size, entry, pgoff);

	if (!mem)
		return -errno;
	r->mask = size - 1;
	r->size = size;
	r->producer = (void *)(mem + off->producer);
	r->consumer = (void *)(mem + off->consumer);
	r->flags = (void *)(mem + off->flags);
	r->ring = mem + off->desc;
	r->cached_prod = *r->producer;
	r->cached_cons = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE) + size;
	return 0;
}

static int map_cons(struct nicq *q, int slot, const struct xdp_ring_offset *off, uint32_t size, size_t entry,
		    uint64_t pgoff, struct xsk_ring_cons *r)
{
	uint8_t *mem = map_ring(q, slot, off, size, entry, pgoff);

	if (!mem)
		return -errno;
	r->mask = size - 1;
	r->size = size;
	r->producer = (void *)(mem + off->producer);
	r->consumer = (void *)(mem + off->consumer);
	r->flags = (void *)(mem + off->flags);
	r->ring = mem + off->desc;
	r->cached_cons = *r->consumer;
	r->cached_prod = r->cached_cons;
	return 0;
}

static int map_rings(struct nicq *q, uint32_t size)
{
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	int ret;

	if (getsockopt(q->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) < 0)
		return -errno;
	if (len != sizeof(off))		/* no ring flags: kernel before 5.4 */
		return -EOPNOTSUPP;
	ret = map_cons(q, SLOT_RX, &off.rx, size, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING, &q->rx);
	if (!ret)
		ret = map_prod(q, SLOT_TX, &off.tx, size, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING, &q->tx);
	if (!ret)
		ret = map_prod(q, SLOT_FILL, &off.fr, size, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING, &q->fill);
	if (!ret)
		ret = map_cons(q, SLOT_COMPLETION, &off.cr, size, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING,
			       &q->completion);
	return ret;
}

static int map_umem(struct nicq *q, uint64_t len)
{
	/* Populated now: no page fault on the data path later. */
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, q->umem_fd, 0);

	if (mem == MAP_FAILED)
		return -errno;
	q->umem = mem;
	q->umem_len = len;
	q->maps[SLOT_UMEM] = mem;
	q->map_len[SLOT_UMEM] = len;
	return 0;
}

static void nicq_prepare(struct nicq *q, const struct afxdp_config *cfg)
{
	memset(q, 0, sizeof(*q));
	q->fd = -1;
	q->umem_fd = -1;
	q->id = cfg->queue;
	q->mode = cfg->mode;
	q->sg = cfg->sg;
	q->busy_poll = cfg->busy_poll;
	q->tx_checksum = cfg->tx_checksum != AFXDP_CHECKSUM_US;
}

/* A kernel without it goes on by interrupts. */
static bool set_busy_poll(int fd)
{
	const int prefer = 1, us = BUSY_POLL_US, budget = BUSY_POLL_BUDGET;

	return !setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &prefer, sizeof(prefer)) &&
	       !setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us)) &&
	       !setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget));
}

/* A socket that was closed a moment ago holds its queue for some RCU grace periods. */
static int bind_wait(const struct host_ops *host, const struct afxdp_config *cfg, int fd, uint64_t deadline_ns)
{
	uint16_t flags = XDP_USE_NEED_WAKEUP | (cfg->mode == VD_MODE_ZEROCOPY ? XDP_ZEROCOPY : XDP_COPY);
	int ret;

	if (cfg->sg)
		flags |= XDP_USE_SG;
	for (;;) {
		ret = host->xsk_bind(host, fd, cfg->ifindex, cfg->queue, flags);
		if (ret != -EBUSY || clock_now() >= deadline_ns)
			return ret;
		sleep_ms(BIND_RETRY_MS);
	}
}

/*
 * Registers the UMEM. The length of TX metadata lies where older headers have the end of the struct. Linux 6.8 to 6.10
 * look at it always; since 6.11 a flag has to say that it means something, which those before do not know. A kernel that
 * knows neither ignores the length, but then no driver offers anything and the flag for the kernel's own sum is refused.
 */
static int register_umem(const struct host_ops *host, const struct nicq *q, const struct afxdp_config *cfg)
{
	struct xdp_umem_reg reg = {
		.addr = (uintptr_t)q->umem, .len = q->umem_len, .chunk_size = cfg->chunk, .headroom = NICQ_HEADROOM,
	};
	const uint32_t len = sizeof(struct nicq_tx_request);
	int ret;

	static_assert(sizeof(reg) == 32, "the length is the last of its words");
	if (cfg->tx_checksum == AFXDP_CHECKSUM_US)
		return host->xsk_umem_reg(host, q->fd, &reg);
	memcpy((uint8_t *)&reg + sizeof(reg) - sizeof(len), &len, sizeof(len));
	reg.flags |= UMEM_TX_METADATA_LEN | (cfg->tx_checksum == AFXDP_CHECKSUM_KERNEL ? UMEM_TX_SW_CSUM : 0);
	ret = host->xsk_umem_reg(host, q->fd, &reg);
	if (ret == -EINVAL) {
		reg.flags &= ~UMEM_TX_METADATA_LEN;
		ret = host->xsk_umem_reg(host, q->fd, &reg);
	}
	return ret == -EINVAL ? -ENOPROTOOPT : ret;
}

int afxdp_create(const struct host_ops *host, const struct afxdp_config *cfg, uint64_t deadline_ns, struct nicq *q)
{
	uint64_t len = (uint64_t)cfg->frames * cfg->chunk;
	int ret;

	nicq_prepare(q, cfg);
	ret = frames_init(&q->frames, cfg->frames, cfg->chunk);
	if (ret)
		goto err;
	ret = q->umem_fd = host->memfd(host, "viaduct-umem", len);
	if (ret < 0)
		goto err;
	ret = map_umem(q, len);
	if (ret)
		goto err;
	ret = q->fd = host->xsk_socket(host);
	if (ret < 0)
		goto err;
	q->busy_poll = q->busy_poll && set_busy_poll(q->fd);
	ret = register_umem(host, q, cfg);
	if (!ret)
		ret = set_ring_sizes(q->fd, cfg->ring_size);
	if (!ret)
		ret = map_rings(q, cfg->ring_size);
	if (ret)
		goto err;
	nicq_set_targets(q);
	nicq_refill(q);
	ret = bind_wait(host, cfg, q->fd, deadline_ns);
	if (ret)
		goto err;
	return 0;
err:
	nicq_fini(q);
	return ret;
}

int afxdp_adopt(int fd, int umem_fd, const struct afxdp_config *cfg, struct nicq *q)
{
	struct stat st;
	int ret;

	nicq_prepare(q, cfg);
	if (fstat(umem_fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size < (uint64_t)cfg->frames * cfg->chunk)
		return -EPROTO;
	ret = frames_init(&q->frames, cfg->frames, cfg->chunk);	/* their owners are told later */
	if (ret)
		return ret;
	q->fd = fd;
	q->umem_fd = umem_fd;
	ret = map_umem(q, (uint64_t)cfg->frames * cfg->chunk);
	if (!ret)
		ret = map_rings(q, cfg->ring_size);
	if (ret) {
		/* The fds stay the caller's. */
		q->fd = -1;
		q->umem_fd = -1;
		nicq_fini(q);
	}
	return ret;
}

/* Where the predecessor stopped; it may have gone on since the rings were mapped. */
static void resume_prod(struct xsk_ring_prod *r)
{
	r->cached_prod = READ_ONCE(*r->producer);
	r->cached_cons = load_acquire(r->consumer) + r->size;
}

static void resume_cons(struct xsk_ring_cons *r)
{
	r->cached_prod = r->cached_cons = READ_ONCE(*r->consumer);
}

int afxdp_resume(struct nicq *q, const uint8_t *owners, const uint16_t *tags)
{
	const uint32_t frames = q->frames.total, chunk = q->frames.chunk;
	int ret;

	frames_fini(&q->frames);
	ret = frames_import(&q->frames, frames, chunk, owners);
	if (ret)
		return ret;
	for (uint32_t n = 0; n < frames; n++) {
		if (q->frames.owner[n] != FRAME_TX)
			continue;
		if (tags[n] >= VD_MAX_PORTS)
			return -EINVAL;
		q->frames.tag[n] = tags[n];
		q->tx_of[tags[n]]++;
	}
	q->tx_outstanding = q->frames.count[FRAME_TX];
	resume_cons(&q->rx);
	resume_cons(&q->completion);
	resume_prod(&q->tx);
	resume_prod(&q->fill);
	nicq_set_targets(q);
	return 0;
}

int afxdp_statistics(const struct nicq *q, struct xdp_statistics *st)
{
	socklen_t len = sizeof(*st);

	memset(st, 0, sizeof(*st));
	return getsockopt(q->fd, SOL_XDP, XDP_STATISTICS, st, &len) < 0 ? -errno : 0;
}
