// SPDX-License-Identifier: BSD-2-Clause
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "driver/pair.h"

#define PAGE 4096ull
#define SCRATCH_FRAME 9216u
#define TX_PIECES ((PAIR_MAX_FRAME + 12 + PAIR_BUF - 1) / PAIR_BUF)

static_assert(SCRATCH_FRAME >= PAIR_MAX_FRAME, "a merged frame fits");
static_assert(TX_PIECES + 1 <= DRING_MAX_SG, "a frame to send fits in a chain");

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

/* Memory of a pair: rx ring, tx ring (each with room for indirect tables), rx buffers, tx buffers. */
static uint64_t ring_bytes(uint32_t size)
{
	return (dring_bytes(size, true) + PAGE - 1) & ~(PAGE - 1);
}

static uint64_t buf_bytes(uint32_t size)
{
	return ((uint64_t)size * PAIR_BUF + PAGE - 1) & ~(PAGE - 1);
}

uint64_t pair_mem_size(uint32_t size)
{
	return 2 * (ring_bytes(size) + buf_bytes(size));
}

static int bufs_init(struct pair_bufs *b, uint32_t size, uint8_t *base, uint64_t addr)
{
	*b = (struct pair_bufs){ .base = base, .addr = addr, .nfree = size };
	b->free = calloc(size, sizeof(*b->free));
	b->next = calloc(size, sizeof(*b->next));
	b->count = calloc(size, sizeof(*b->count));
	if (!b->free || !b->next || !b->count)
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++)
		b->free[i] = (uint16_t)(size - 1 - i);
	return 0;
}

static void bufs_fini(struct pair_bufs *b)
{
	free(b->free);
	free(b->next);
	free(b->count);
	*b = (struct pair_bufs){ 0 };
}

static uint8_t *buf_ptr(const struct pair_bufs *b, uint32_t i)
{
	return b->base + (size_t)i * PAIR_BUF;
}

static uint64_t buf_addr(const struct pair_bufs *b, uint32_t i)
{
	return b->addr + (uint64_t)i * PAIR_BUF;
}

/* Lends rx buffer @i to the device. A merging driver's buffers are one piece even in the legacy layout. */
static bool lend(struct pair *p, uint16_t i)
{
	uint64_t addr = buf_addr(&p->rxb, i);
	struct dring_sg sg[2] = { { addr, p->hdr_len }, { addr + p->hdr_len, PAIR_BUF - p->hdr_len } };

	if (p->split_hdr && !p->merge)
		return !dring_add(&p->rx, sg, 0, 2, i);
	return !dring_add_one(&p->rx, addr, PAIR_BUF, true, i);
}

static int init_rings(struct pair *p, uint32_t size, uint8_t *mem, uint64_t addr, uint64_t features)
{
	uint64_t ring = ring_bytes(size), buf = buf_bytes(size);
	int ret = dring_init(&p->rx, mem, addr, size, features);

	if (!ret)
		ret = dring_init(&p->tx, mem + ring, addr + ring, size, features);
	if (!ret)
		ret = bufs_init(&p->rxb, size, mem + 2 * ring, addr + 2 * ring);
	if (!ret)
		ret = bufs_init(&p->txb, size, mem + 2 * ring + buf, addr + 2 * ring + buf);
	return ret;
}

int pair_init(struct pair *p, uint32_t size, void *mem, uint64_t guest_addr, uint64_t features)
{
	bool v1 = has(features, VIRTIO_F_VERSION_1);
	int ret;

	*p = (struct pair){ .merge = has(features, VIRTIO_NET_F_MRG_RXBUF) };
	p->hdr_len = v1 || p->merge ? sizeof(struct virtio_net_hdr_v1) : sizeof(struct virtio_net_hdr);
	/* virtio: "Legacy Interface: Framing Requirements" */
	p->split_hdr = !v1 && !has(features, VIRTIO_F_ANY_LAYOUT);
	ret = init_rings(p, size, mem, guest_addr, features);
	/* Touched only when frames are merged. */
	if (!ret && p->merge && !(p->scratch = malloc((size_t)PAIR_BATCH * SCRATCH_FRAME)))
		ret = -ENOMEM;
	if (ret) {
		pair_fini(p);
		return ret;
	}
	dring_disarm(&p->rx);
	dring_disarm(&p->tx);
	for (uint32_t i = 0; i < size && lend(p, (uint16_t)i); i++)
		;
	dring_kick(&p->rx);	/* there is no kick fd yet: this only shows them */
	return 0;
}

void pair_fini(struct pair *p)
{
	dring_fini(&p->rx);
	dring_fini(&p->tx);
	bufs_fini(&p->rxb);
	bufs_fini(&p->txb);
	free(p->scratch);
	p->scratch = NULL;
}

/* Buffers that the caller has looked at go back to the device. */
static void give_back(struct pair *p)
{
	for (unsigned i = 0; i < p->nheld; i++)
		lend(p, p->held[i]);
	p->nheld = 0;
	dring_kick(&p->rx);
}

/*
 * The rest of a frame in several buffers: copied together with the first one,
 * and all go straight back. Only the first has a header (virtio: "Processing of
 * Incoming Packets"). A device that shows a part of a frame broke the rules.
 */
static bool take_merged(struct pair *p, uint32_t buf, uint32_t len, unsigned n, struct frame *f)
{
	uint32_t total = 0, skip = p->hdr_len;
	bool good = true;

	for (unsigned i = 0;;) {
		if (len < skip || len - skip > SCRATCH_FRAME - total) {
			good = false;
		} else if (good) {
			memcpy(f->data + total, buf_ptr(&p->rxb, buf) + skip, len - skip);
			total += len - skip;
		}
		lend(p, (uint16_t)buf);
		if (++i == n)
			break;
		skip = 0;
		if (!dring_get(&p->rx, &buf, &len)) {
			p->broken = true;
			return false;
		}
	}
	f->len = total;
	return good && total >= ETH_HLEN && total <= PAIR_MAX_FRAME;
}

/* How many buffers a frame has; 0 = nonsense. */
static unsigned merged_count(const struct pair *p, uint32_t buf, unsigned waiting)
{
	const struct virtio_net_hdr_v1 *hdr = (const void *)buf_ptr(&p->rxb, buf);
	unsigned n = p->merge ? READ_ONCE(hdr->num_buffers) : 1;

	return n <= waiting ? n : 0;
}

/* Takes the next frame. @used: buffers it had. Return: false when there is none, or it is no good. */
static bool take(struct pair *p, struct frame *f, unsigned slot, unsigned waiting, unsigned *used)
{
	uint32_t buf, len;

	*used = 1;
	if (!dring_get(&p->rx, &buf, &len)) {
		p->broken = true;
		return false;
	}
	*used = merged_count(p, buf, waiting);
	if (!*used) {
		p->broken = true;
		return false;
	}
	if (*used > 1) {
		*f = (struct frame){ .data = p->scratch + (size_t)slot * SCRATCH_FRAME };
		return take_merged(p, buf, len, *used, f);
	}
	p->held[p->nheld++] = (uint16_t)buf;
	if (len < p->hdr_len + (uint32_t)ETH_HLEN)
		return false;
	*f = (struct frame){ .data = buf_ptr(&p->rxb, buf) + p->hdr_len, .len = len - p->hdr_len };
	return true;
}

unsigned pair_rx(struct pair *p, struct frame *f, unsigned max)
{
	unsigned waiting, got = 0, used;

	if (p->nheld)
		give_back(p);
	waiting = dring_pending(&p->rx);
	p->broken |= p->rx.broken;
	while (got < max && waiting && p->nheld < PAIR_BATCH && !p->broken) {
		if (take(p, &f[got], got, waiting, &used))
			p->stats.rx_bytes += f[got++].len;
		else if (!p->broken)
			p->stats.rx_errors++;
		waiting -= used;
	}
	p->stats.rx_packets += got;
	/* Merged frames are copied already, their buffers need not wait for the next call. */
	if (!p->nheld)
		give_back(p);
	return got;
}

static void reap(struct pair *p)
{
	struct pair_bufs *b = &p->txb;
	uint32_t first, len;

	for (unsigned n = dring_pending(&p->tx); n && dring_get(&p->tx, &first, &len); n--) {
		uint16_t buf = (uint16_t)first;

		for (unsigned k = b->count[first]; k; k--) {
			b->free[b->nfree++] = buf;
			buf = b->next[buf];
		}
	}
	p->broken |= p->tx.broken;
}

static uint32_t bufs_of(const struct pair *p, uint32_t len)
{
	return (p->hdr_len + len + PAIR_BUF - 1) / PAIR_BUF;
}

/* Descriptors for a frame in @bufs buffers; with an indirect table one, whatever the number of pieces. */
static uint32_t descs_of(const struct pair *p, uint32_t bufs)
{
	return p->tx.table ? 1 : bufs + p->split_hdr;
}

static bool fits(const struct pair *p, uint32_t n, uint32_t bufs)
{
	return p->txb.nfree >= n * bufs && p->tx.nfree >= n * descs_of(p, bufs);
}

unsigned pair_tx_room(struct pair *p, unsigned want, uint32_t len)
{
	uint32_t bufs = bufs_of(p, len);
	unsigned n;

	if (!fits(p, want, bufs))
		reap(p);
	for (n = p->broken ? 0 : want; n && !fits(p, n, bufs);)
		n--;
	return n;
}

/* Copies up to @space bytes of what is left of a frame; the frame's parts are consumed. */
static uint32_t fill(uint8_t *to, uint32_t space, struct frame *f)
{
	uint32_t a = f->len < space ? f->len : space, b;

	memcpy(to, f->data, a);
	f->data += a;
	f->len -= a;
	if (f->len || !f->tail_len)
		return a;
	b = f->tail_len < space - a ? f->tail_len : space - a;
	memcpy(to + a, f->tail, b);
	f->tail += b;
	f->tail_len -= b;
	return a + b;
}

/* Everything in one buffer and one descriptor: nearly always. */
static void send_one(struct pair *p, struct frame f)
{
	struct pair_bufs *b = &p->txb;
	uint16_t buf = b->free[--b->nfree];
	uint8_t *to = buf_ptr(b, buf);
	uint32_t len;

	b->count[buf] = 1;
	/* No offload is negotiated, so the header says nothing: all zero. A 10-byte header is overwritten behind. */
	memset(to, 0, sizeof(struct virtio_net_hdr_v1));
	len = p->hdr_len + fill(to + p->hdr_len, PAIR_BUF - p->hdr_len, &f);
	dring_add_one(&p->tx, buf_addr(b, buf), len, false, buf);
}

/* Several buffers, or a descriptor for the header alone. */
static void send_pieces(struct pair *p, struct frame f, uint32_t nbufs)
{
	struct dring_sg sg[TX_PIECES + 1];
	struct pair_bufs *b = &p->txb;
	uint16_t first = 0, prev = 0;
	unsigned n = 0;

	for (uint32_t i = 0; i < nbufs; i++) {
		uint16_t buf = b->free[--b->nfree];
		uint8_t *to = buf_ptr(b, buf);
		uint32_t hdr = i ? 0 : p->hdr_len, len;

		memset(to, 0, hdr);
		len = fill(to + hdr, PAIR_BUF - hdr, &f);
		if (hdr && p->split_hdr) {
			sg[n++] = (struct dring_sg){ buf_addr(b, buf), hdr };
			sg[n++] = (struct dring_sg){ buf_addr(b, buf) + hdr, len };
		} else {
			sg[n++] = (struct dring_sg){ buf_addr(b, buf), hdr + len };
		}
		if (i)
			b->next[prev] = buf;
		else
			first = buf;
		prev = buf;
	}
	b->count[first] = (uint8_t)nbufs;
	dring_add(&p->tx, sg, n, 0, first);
}

unsigned pair_tx(struct pair *p, const struct frame *f, unsigned n)
{
	unsigned i;

	for (i = 0; i < n && !p->broken; i++) {
		uint32_t len = f[i].len + f[i].tail_len, bufs = bufs_of(p, len);

		if (len < ETH_HLEN || len > PAIR_MAX_FRAME || descs_of(p, bufs) > p->tx.size ||
		    bufs > p->tx.size) {
			p->stats.tx_errors++;
			continue;
		}
		if (!fits(p, 1, bufs) && !pair_tx_room(p, 1, len))
			break;
		if (bufs == 1 && !p->split_hdr)
			send_one(p, f[i]);
		else
			send_pieces(p, f[i], bufs);
		p->stats.tx_packets++;
		p->stats.tx_bytes += len;
	}
	dring_kick(&p->tx);
	return i;
}
