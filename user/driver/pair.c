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
#define SCRATCH (8u * 65560)	/* merged frames of one batch; touched only as far as used */
#define JUMBO_PIECES ((PAIR_MAX_FRAME + 12 + PAIR_BUF - 1) / PAIR_BUF)

static_assert(SCRATCH >= PAIR_MAX_GSO && PAIR_MAX_GSO >= PAIR_MAX_FRAME, "a merged frame fits");
static_assert(PAIR_TX_PIECES + 1 <= DRING_MAX_SG && PAIR_TX_PIECES + 1 <= PAIR_GSO_RING, "a frame fits in a chain");
static_assert(PAIR_TX_PIECES <= UINT8_MAX, "the buffers of a frame are counted in a byte");

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

/* virtio: "Legacy Interface: Framing Requirements" */
static bool header_apart(uint64_t features)
{
	return !has(features, VIRTIO_F_VERSION_1) && !has(features, VIRTIO_F_ANY_LAYOUT);
}

/* Pieces of the longest buffer, as room in indirect tables. */
static uint32_t rx_pieces(uint64_t features)
{
	return header_apart(features) && !has(features, VIRTIO_NET_F_MRG_RXBUF) ? 2 : 0;
}

static uint32_t tx_pieces(uint64_t features)
{
	return 1 + (features & NETF_HOST_GSO ? PAIR_TX_PIECES : JUMBO_PIECES);
}

/* Memory of a pair: rx ring, tx ring (each with its indirect tables), rx buffers, tx buffers. */
static uint64_t ring_bytes(uint32_t size, uint32_t pieces)
{
	return (dring_bytes(size, pieces) + PAGE - 1) & ~(PAGE - 1);
}

static uint64_t buf_bytes(uint32_t size)
{
	return ((uint64_t)size * PAIR_BUF + PAGE - 1) & ~(PAGE - 1);
}

uint64_t pair_mem_size(uint32_t size, uint64_t features)
{
	return ring_bytes(size, rx_pieces(features)) + ring_bytes(size, tx_pieces(features)) + 2 * buf_bytes(size);
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
	uint64_t rx_ring = ring_bytes(size, rx_pieces(features)), tx_ring = ring_bytes(size, tx_pieces(features));
	uint64_t bufs = rx_ring + tx_ring, buf = buf_bytes(size);
	int ret = dring_init(&p->rx, mem, addr, size, rx_pieces(features), features);

	if (!ret)
		ret = dring_init(&p->tx, mem + rx_ring, addr + rx_ring, size, tx_pieces(features), features);
	if (!ret)
		ret = bufs_init(&p->rxb, size, mem + bufs, addr + bufs);
	if (!ret)
		ret = bufs_init(&p->txb, size, mem + bufs + buf, addr + bufs + buf);
	return ret;
}

static void init_limits(struct pair *p, uint32_t size)
{
	uint64_t ring = (uint64_t)(size - p->split_hdr) * PAIR_BUF - p->hdr_len;

	p->max_rx = p->features & NETF_GUEST_GSO ? PAIR_MAX_GSO : PAIR_MAX_FRAME;
	p->max_tx = p->features & NETF_HOST_GSO ? PAIR_MAX_GSO : PAIR_MAX_FRAME;
	if (p->max_tx > ring)
		p->max_tx = (uint32_t)ring;
}

int pair_init(struct pair *p, uint32_t size, void *mem, uint64_t guest_addr, uint64_t features)
{
	bool merge = has(features, VIRTIO_NET_F_MRG_RXBUF), v1 = has(features, VIRTIO_F_VERSION_1);
	int ret;

	*p = (struct pair){ .features = features, .merge = merge, .split_hdr = header_apart(features) };
	p->hdr_len = v1 || merge ? sizeof(struct virtio_net_hdr_v1) : sizeof(struct virtio_net_hdr);
	init_limits(p, size);
	ret = init_rings(p, size, mem, guest_addr, features);
	if (!ret && merge && !(p->scratch = malloc(SCRATCH)))
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

/* Our copy of what the device says of a frame, as far as it may say that. */
static struct virtio_net_hdr_v1 read_header(const struct pair *p, uint32_t buf)
{
	struct virtio_net_hdr_v1 hdr = { 0 };

	if (!(p->features & NETF_GUEST))
		return hdr;
	memcpy(&hdr, buf_ptr(&p->rxb, buf), sizeof(struct virtio_net_hdr));
	hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;
	return hdr;
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
		if (len < skip || len - skip > p->max_rx - total) {
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
	return good && total >= ETH_HLEN;
}

/* How many buffers a frame has; 0 = nonsense. */
static unsigned merged_count(const struct pair *p, uint32_t buf, unsigned waiting)
{
	const struct virtio_net_hdr_v1 *hdr = (const void *)buf_ptr(&p->rxb, buf);
	unsigned n = p->merge ? READ_ONCE(hdr->num_buffers) : 1;

	return n <= waiting ? n : 0;
}

/* Takes the next frame. @used: buffers it had. Return: false when there is none, or it is no good. */
static bool take(struct pair *p, struct frame *f, unsigned waiting, unsigned *used)
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
	*f = (struct frame){ .hdr = read_header(p, buf) };
	if (*used > 1) {
		f->data = p->scratch + p->scratch_used;
		if (!take_merged(p, buf, len, *used, f))
			return false;
		p->scratch_used += f->len;
		return true;
	}
	p->held[p->nheld++] = (uint16_t)buf;
	if (len < p->hdr_len + (uint32_t)ETH_HLEN)
		return false;
	f->data = buf_ptr(&p->rxb, buf) + p->hdr_len;
	f->len = len - p->hdr_len;
	return true;
}

static bool take_more(const struct pair *p)
{
	return !p->broken && p->nheld < PAIR_BATCH && (!p->merge || SCRATCH - p->scratch_used >= p->max_rx);
}

unsigned pair_rx(struct pair *p, struct frame *f, unsigned max)
{
	unsigned waiting, got = 0, used;

	if (p->nheld)
		give_back(p);
	p->scratch_used = 0;
	waiting = dring_pending(&p->rx);
	p->broken |= p->rx.broken;
	while (got < max && waiting && take_more(p)) {
		if (take(p, &f[got], waiting, &used))
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

/* The buffers that the next frame gets: from the top of the stack. */
static uint8_t *next_buf(const struct pair *p, uint32_t i)
{
	return buf_ptr(&p->txb, p->txb.free[p->txb.nfree - 1 - i]);
}

/* May a frame ask for that? What the header says otherwise is not for the device, and left out. */
static bool may_ask(const struct pair *p, const struct virtio_net_hdr_v1 *hdr)
{
	bool csum = hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	if (csum && !has(p->features, VIRTIO_NET_F_CSUM))
		return false;
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (!csum || (hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN && !has(p->features, VIRTIO_NET_F_HOST_ECN)))
		return false;
	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return has(p->features, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return has(p->features, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return has(p->features, VIRTIO_NET_F_HOST_USO);
	}
	return false;
}

/* Can a frame of @len bytes be sent at all? */
static bool sendable(const struct pair *p, const struct virtio_net_hdr_v1 *hdr, uint32_t len)
{
	if (len < ETH_HLEN || len > p->max_tx)
		return false;
	if (likely(!(hdr->flags | hdr->gso_type)))
		return len <= PAIR_MAX_FRAME;
	return may_ask(p, hdr) && (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE || len <= PAIR_MAX_FRAME);
}

static void write_header(const struct pair *p, uint8_t *to, const struct virtio_net_hdr_v1 *hdr)
{
	struct virtio_net_hdr_v1 h = { 0 };

	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		h = *hdr;
		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	}
	memcpy(to, &h, sizeof(struct virtio_net_hdr));
	if (p->hdr_len == sizeof(h))	/* num_buffers: 5.1.6.2 */
		memset(to + sizeof(struct virtio_net_hdr), 0, sizeof(h) - sizeof(struct virtio_net_hdr));
}

/* Lends the next @nbufs buffers, which hold header and frame. */
static void submit(struct pair *p, uint32_t len, uint32_t nbufs)
{
	struct pair_bufs *b = &p->txb;
	uint16_t first = b->free[b->nfree - 1], prev = first;
	uint32_t left = p->hdr_len + len;
	struct dring_sg sg[PAIR_TX_PIECES + 1];
	unsigned n = 0;

	p->stats.tx_packets++;
	p->stats.tx_bytes += len;
	b->count[first] = (uint8_t)nbufs;
	if (likely(nbufs == 1 && !p->split_hdr)) {
		b->nfree--;
		dring_add_one(&p->tx, buf_addr(b, first), left, false, first);
		return;
	}
	for (uint32_t i = 0; i < nbufs; i++) {
		uint16_t buf = b->free[--b->nfree];
		uint32_t skip = !i && p->split_hdr ? p->hdr_len : 0, part = left < PAIR_BUF ? left : PAIR_BUF;

		if (skip)
			sg[n++] = (struct dring_sg){ buf_addr(b, buf), skip };
		sg[n++] = (struct dring_sg){ buf_addr(b, buf) + skip, part - skip };
		left -= part;
		b->next[prev] = buf;
		prev = buf;
	}
	dring_add(&p->tx, sg, n, 0, first);
}

unsigned pair_tx(struct pair *p, const struct frame *f, unsigned n)
{
	unsigned i;

	for (i = 0; i < n && !p->broken; i++) {
		uint32_t len = f[i].len + f[i].tail_len, bufs = bufs_of(p, len), skip = p->hdr_len;
		struct frame rest = f[i];

		if (!sendable(p, &f[i].hdr, len)) {
			p->stats.tx_errors++;
			continue;
		}
		if (!fits(p, 1, bufs) && !pair_tx_room(p, 1, len))
			break;
		write_header(p, next_buf(p, 0), &f[i].hdr);
		for (uint32_t k = 0; k < bufs; k++, skip = 0)
			fill(next_buf(p, k) + skip, PAIR_BUF - skip, &rest);
		submit(p, len, bufs);
	}
	dring_kick(&p->tx);
	return i;
}

unsigned pair_tx_reserve(struct pair *p, struct iovec *iov)
{
	uint32_t bufs = bufs_of(p, p->max_tx), skip = p->hdr_len;

	if (!pair_tx_room(p, 1, p->max_tx))
		return 0;
	for (uint32_t i = 0; i < bufs; i++, skip = 0)
		iov[i] = (struct iovec){ next_buf(p, i) + skip, PAIR_BUF - skip };
	return bufs;
}

bool pair_tx_commit(struct pair *p, const struct virtio_net_hdr_v1 *hdr, uint32_t len)
{
	if (!sendable(p, hdr, len)) {
		p->stats.tx_errors++;
		return false;
	}
	write_header(p, next_buf(p, 0), hdr);
	submit(p, len, bufs_of(p, len));
	return true;
}

void pair_tx_flush(struct pair *p)
{
	dring_kick(&p->tx);
}
