/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hot path of one NIC queue.
 *
 * Theory of operation. Every UMEM frame circulates on one of two ways:
 *
 *   free -> fill ring -> kernel -> rx ring -> held by the worker -> free
 *   free -> tx ring   -> kernel -> completion ring              -> free
 *
 * and the ledger (frames.h) knows for each frame on which of them it is. What
 * the kernel hands us is checked against it: a frame that comes from where it
 * cannot have been is counted and left alone, so one wrong descriptor cannot
 * put a frame into circulation twice.
 *
 * Ring positions are moved once per batch. Frame counts are kept so that
 * receiving and sending cannot starve each other: nicq_refill() keeps
 * fill_target frames with the kernel, and at most tx_limit are out for sending.
 *
 * The fill ring is a queue: every frame in it goes round before one is used
 * again, so with many of them none is in the cache any more when its turn comes.
 * Therefore fill_target begins low where the kernel takes frames one by one as
 * packets come (copy and generic mode). It doubles whenever the kernel was found
 * with less than half of it left, and falls again when much of it was not needed
 * for long. A zero-copy driver takes its frames in advance and gets all at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/atomics.h"
#include "xdp/nicq.h"

/* Copy mode sends 32 frames per call (more where XDP_MAX_TX_SKB_BUDGET is known): enough calls for 512. */
#define FLUSH_ROUNDS 16
#define FILL_LOW 256	/* frames in the fill ring to begin with */
#define FILL_REVIEW 1000000	/* received frames after which fill_target may fall */

static uint32_t frame_of(const struct nicq *q, uint64_t addr)
{
	uint64_t n = addr / q->frames.chunk;

	return n < q->frames.total ? (uint32_t)n : UINT32_MAX;
}

/* It lies in one chunk, with room for metadata in front of it; it is complete, or may go on. */
static bool rx_desc_usable(const struct nicq *q, const struct xdp_desc *d)
{
	uint32_t offset = (uint32_t)(d->addr & (q->frames.chunk - 1));

	return !(d->options & ~(q->sg ? (uint32_t)XDP_PKT_CONTD : 0)) && offset >= sizeof(struct vd_meta) && d->len && d->len <= q->frames.chunk - offset;
}

/*
 * A zero-copy driver sleeps until told that there are frames to receive into; copy and generic mode never ask for it. With
 * busy polling the call runs the driver's receive loop once.
 */
static void wake_rx(const struct nicq *q)
{
	if (q->fd >= 0)
		recvfrom(q->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

unsigned nicq_rx(struct nicq *q, struct nicq_pkt *pkts, unsigned max)
{
	uint32_t idx, n, i, got = 0;
	uint64_t bytes = 0;

	n = xsk_ring_cons__peek(&q->rx, max, &idx);
	if (!n && q->busy_poll) {
		wake_rx(q);
		n = xsk_ring_cons__peek(&q->rx, max, &idx);
	}
	if (!n)
		return 0;
	for (i = 0; i < n; i++) {
		const struct xdp_desc d = *xsk_ring_cons__rx_desc(&q->rx, idx + i);
		uint32_t frame = frame_of(q, d.addr);

		if (unlikely(!frames_owned(&q->frames, frame, FRAME_FILL))) {
			q->stats.rx_invalid++;
			continue;
		}
		if (unlikely(!rx_desc_usable(q, &d))) {
			frames_release(&q->frames, frame, FRAME_FILL);
			q->stats.rx_invalid++;
			continue;
		}
		q->frames.owner[frame] = FRAME_HELD;
		pkts[got].data = q->umem + d.addr;
		pkts[got].len = d.len;
		pkts[got].frame = frame;
		pkts[got].more = d.options & XDP_PKT_CONTD;
		/* Metadata and headers are looked at next; they share no line, so fetch both. */
		__builtin_prefetch(pkts[got].data - sizeof(struct vd_meta));
		__builtin_prefetch(pkts[got].data);
		bytes += d.len;
		got++;
	}
	xsk_ring_cons__release(&q->rx, n);
	q->frames.count[FRAME_FILL] -= got;
	q->frames.count[FRAME_HELD] += got;
	q->stats.rx_packets += got;
	q->stats.rx_bytes += bytes;
	return got;
}

/* What the kernel has left to receive into decides how much it is to have. */
static void review_target(struct nicq *q)
{
	uint32_t left = READ_ONCE(*q->fill.producer) - load_acquire(q->fill.consumer);

	if (!q->stats.rx_packets)	/* it has not had anything yet */
		return;
	if (left < q->fill_least)
		q->fill_least = left;
	if (unlikely(left < q->fill_target / 2)) {
		if (q->fill_target == q->fill_max)
			return;
		q->fill_target = q->fill_target < q->fill_max / 2 ? 2 * q->fill_target : q->fill_max;
	} else if (likely(q->stats.rx_packets - q->fill_since < FILL_REVIEW)) {
		return;
	} else if (q->fill_target > FILL_LOW && q->fill_least > q->fill_target - q->fill_target / 8) {
		q->fill_target = q->fill_target / 2 > FILL_LOW ? q->fill_target / 2 : FILL_LOW;
	}
	q->fill_least = UINT32_MAX;
	q->fill_since = q->stats.rx_packets;
}

void nicq_refill(struct nicq *q)
{
	uint32_t have = q->frames.count[FRAME_FILL], n, room, idx, i;

	if (have < q->fill_target) {
		review_target(q);
		n = q->fill_target - have;
		if (n > q->frames.nfree)
			n = q->frames.nfree;
		room = xsk_prod_nb_free(&q->fill, n);
		if (n > room)
			n = room;
		if (n && xsk_ring_prod__reserve(&q->fill, n, &idx) == n) {
			for (i = 0; i < n; i++)
				*xsk_ring_prod__fill_addr(&q->fill, idx + i) =
					(uint64_t)frames_take(&q->frames, FRAME_FILL) * q->frames.chunk;
			xsk_ring_prod__submit(&q->fill, n);
		}
	}
	/* Waking it for an empty ring would be a system call for nothing, every time round. */
	if (xsk_ring_prod__needs_wakeup(&q->fill) && load_acquire(q->fill.consumer) != READ_ONCE(*q->fill.producer))
		wake_rx(q);
}

unsigned nicq_reap(struct nicq *q)
{
	uint32_t idx, n, i, good = 0;

	n = xsk_ring_cons__peek(&q->completion, q->completion.size, &idx);
	if (!n)
		return 0;
	for (i = 0; i < n; i++) {
		/* Bit 0 may have been cleared by the kernel; chunks begin at even addresses, so it does not matter. */
		uint64_t addr = *xsk_ring_cons__comp_addr(&q->completion, idx + i);

		good += nicq_tx_done(q, frame_of(q, addr));
	}
	xsk_ring_cons__release(&q->completion, n);
	q->tx_outstanding -= good;
	return good;
}

static unsigned tx_room_now(struct nicq *q, uint32_t want)
{
	uint32_t room = xsk_prod_nb_free(&q->tx, want);

	if (room > q->frames.nfree)
		room = q->frames.nfree;
	if (q->tx_outstanding >= q->tx_limit)
		return 0;
	if (room > q->tx_limit - q->tx_outstanding)
		room = q->tx_limit - q->tx_outstanding;
	return room < want ? room : want;
}

unsigned nicq_tx_room(struct nicq *q, unsigned want)
{
	/* Every time: the fewer frames go round, the more of them are in the cache. */
	if (q->tx_outstanding)
		nicq_reap(q);
	return tx_room_now(q, want);
}

bool nicq_tx_unsent(const struct nicq *q)
{
	return load_acquire(q->tx.consumer) != READ_ONCE(*q->tx.producer);
}

/* One wake-up. 0 = accepted, -EAGAIN = call again, else the socket cannot send. */
static int wake_tx(struct nicq *q)
{
	q->stats.tx_wakeups++;
	if (sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0) {
		q->stats.last_errno = 0;
		return 0;
	}
	if (errno == EAGAIN || errno == EBUSY || errno == ENOBUFS || errno == EINTR)
		return -EAGAIN;
	q->stats.tx_errors++;
	q->stats.last_errno = errno;
	return -errno;
}

int nicq_tx_flush(struct nicq *q)
{
	uint32_t before, after, round;
	int ret;

	if (q->tx_staged) {
		xsk_ring_prod__submit(&q->tx, q->tx_staged);
		q->tx_staged = 0;
	}
	if (q->fd < 0 || !nicq_tx_unsent(q) || !xsk_ring_prod__needs_wakeup(&q->tx))
		return 0;
	if (q->mode == VD_MODE_ZEROCOPY)	/* the driver sends in its own time */
		return wake_tx(q);
	before = load_acquire(q->tx.consumer);
	for (round = 0; round < FLUSH_ROUNDS; round++) {
		ret = wake_tx(q);
		if (ret < 0 && ret != -EAGAIN)
			return ret;
		if (!nicq_tx_unsent(q))
			return 0;
		after = load_acquire(q->tx.consumer);
		if (after == before)
			break;
		before = after;
	}
	return -EAGAIN;
}

/* A ring in ordinary memory. The xsk_ring_* inlines see no difference. */
static int ring_memory(struct nicq *q, int slot, uint32_t size, size_t entry, struct xsk_ring_prod *prod,
		       struct xsk_ring_cons *cons)
{
	/* producer and consumer positions and flags on lines of their own, then the entries */
	size_t len = 3 * 64 + size * entry;
	uint8_t *mem;

	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	q->maps[slot] = mem;
	q->map_len[slot] = len;
	if (prod)
		*prod = (struct xsk_ring_prod){ .cached_cons = size, .mask = size - 1, .size = size,
			.producer = (__u32 *)mem, .consumer = (__u32 *)(mem + 64), .flags = (__u32 *)(mem + 128),
			.ring = mem + 192 };
	if (cons)
		*cons = (struct xsk_ring_cons){ .mask = size - 1, .size = size,
			.producer = (__u32 *)mem, .consumer = (__u32 *)(mem + 64), .flags = (__u32 *)(mem + 128),
			.ring = mem + 192 };
	return 0;
}

int nicq_init_memory(struct nicq *q, uint32_t ring_size, uint32_t frames, uint32_t chunk)
{
	int ret;

	memset(q, 0, sizeof(*q));
	q->fd = -1;
	q->umem_fd = -1;
	q->mode = VD_MODE_COPY;
	if (!ring_size || (ring_size & (ring_size - 1)))
		return -EINVAL;
	ret = frames_init(&q->frames, frames, chunk);
	if (ret)
		return ret;
	q->umem_len = (uint64_t)frames * chunk;
	q->umem = mmap(NULL, q->umem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (q->umem == MAP_FAILED) {
		ret = -errno;
		goto err;
	}
	q->maps[4] = q->umem;
	q->map_len[4] = q->umem_len;
	ret = ring_memory(q, 0, ring_size, sizeof(struct xdp_desc), NULL, &q->rx);
	if (!ret)
		ret = ring_memory(q, 1, ring_size, sizeof(struct xdp_desc), &q->tx, NULL);
	if (!ret)
		ret = ring_memory(q, 2, ring_size, sizeof(uint64_t), &q->fill, NULL);
	if (!ret)
		ret = ring_memory(q, 3, ring_size, sizeof(uint64_t), NULL, &q->completion);
	if (ret)
		goto err;
	nicq_set_targets(q);
	return 0;
err:
	nicq_fini(q);
	return ret;
}

void nicq_set_targets(struct nicq *q)
{
	uint32_t half = q->frames.total / 2;

	q->fill_max = half < q->fill.size ? half : q->fill.size;
	q->fill_target = q->mode == VD_MODE_ZEROCOPY || q->fill_max < FILL_LOW ? q->fill_max : FILL_LOW;
	q->fill_least = UINT32_MAX;
	q->tx_limit = q->frames.total - q->fill_max;
	if (q->tx_limit > q->completion.size)
		q->tx_limit = q->completion.size;
}

void nicq_fini(struct nicq *q)
{
	int i;

	for (i = 0; i < 5; i++)
		if (q->maps[i])
			munmap(q->maps[i], q->map_len[i]);
	if (q->fd >= 0)
		close(q->fd);
	if (q->umem_fd >= 0)
		close(q->umem_fd);
	frames_fini(&q->frames);
	memset(q, 0, sizeof(*q));
	q->fd = -1;
	q->umem_fd = -1;
}
