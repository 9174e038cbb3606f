/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/forward.h"
#include "bridge/from_host.h"
#include "bridge/local.h"

struct from_host *from_host_create(int fd)
{
	struct from_host *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->fd = fd;
	h->ready = true;
	for (unsigned i = 0; i < FROM_HOST_SLOTS; i++)
		h->free[h->nfree++] = (uint8_t)(FROM_HOST_SLOTS - 1 - i);
	return h;
}

void from_host_destroy(struct from_host *h)
{
	free(h);
}

static void give_back(struct from_host *h, uint8_t slot)
{
	h->free[h->nfree++] = slot;
}

/* The first @n of a queue have left it. */
static void shift(struct from_host *h, struct from_host_queue *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		give_back(h, q->slot[i]);
	q->n = (uint8_t)(q->n - n);
	memmove(q->slot, q->slot + n, q->n);
}

void from_host_forget(struct from_host *h, uint32_t port)
{
	h->dropped += h->queue[port].n;
	shift(h, &h->queue[port], h->queue[port].n);
}

/* Reads the next packet into a slot. False: there is none. */
static bool read_packet(struct from_host *h, uint8_t slot, uint64_t now_ns)
{
	struct from_host_slot *s = &h->slot[slot];
	ssize_t n = read(h->fd, s, sizeof(*s));

	if (n < 0) {
		h->ready = false;
		return false;
	}
	h->packets++;
	h->when_ns[slot] = now_ns;
	n -= (ssize_t)sizeof(s->hdr);
	h->piece[slot] = (struct iovec){ s->data, n > 0 ? (size_t)n : 0 };
	h->pkt[slot] = (struct virtq_pkt){
		.chain = UINT16_MAX, .npieces = 1, .len = (uint32_t)h->piece[slot].iov_len, .piece = &h->piece[slot],
		.hdr = s->hdr,
	};
	h->bytes += h->pkt[slot].len;
	return true;
}

/* Packets of a queue's front that are for the same queue pair. */
static unsigned run_of(const struct from_host *h, const struct from_host_queue *q)
{
	unsigned n = 1;

	while (n < q->n && h->fwd[q->slot[n]].dest == h->fwd[q->slot[0]].dest)
		n++;
	return n;
}

/* As much of a queue as the guest has buffers for. Return: packets that left it. */
static unsigned hand_over(struct from_host *h, struct datapath *dp, uint32_t port, uint64_t now_ns)
{
	struct from_host_queue *q = &h->queue[port];
	unsigned total = 0;

	if (unlikely(!dp->port[port])) {
		from_host_forget(h, port);
		return 0;
	}
	while (q->n) {
		const struct local_batch b = { h->pkt, h->fwd, q->slot, run_of(h, q) };
		unsigned done = local_deliver(dp, h->fwd[q->slot[0]].dest, &b, now_ns), want = b.n;

		shift(h, q, done);
		total += done;
		if (done < want)
			break;
	}
	while (q->n && now_ns - h->when_ns[q->slot[0]] > DP_HOLD_NS) {	/* too late to be of use */
		local_drop(dp, h->fwd[q->slot[0]].dest, 1);
		h->dropped++;
		shift(h, q, 1);
	}
	return total;
}

/* One packet, now or never. True: it is done with. */
static bool offer(struct from_host *h, struct datapath *dp, uint8_t slot, uint64_t now_ns)
{
	const struct local_batch one = { h->pkt, h->fwd, &slot, 1 };

	if (!local_deliver(dp, h->fwd[slot].dest, &one, now_ns))
		return false;
	give_back(h, slot);
	return true;
}

/* Where a packet goes: to its port's queue, to all ports at once, or nowhere. */
static void sort(struct from_host *h, struct datapath *dp, uint8_t slot, uint64_t now_ns)
{
	struct dp_fwd *f = &h->fwd[slot];
	struct from_host_queue *q;

	f->dest = DP_TO_NOBODY;
	if (h->pkt[slot].len >= VD_ETH_LEN)
		forward_host(dp, &h->pkt[slot], f);
	if (f->dest < DP_TO_UPLINK) {
		q = &h->queue[dp_dest_port(f->dest)];
		/* What was read in this pass has not been offered yet. */
		if ((unsigned)q->n + FROM_HOST_PASSING > h->nfree && q->n)
			hand_over(h, dp, dp_dest_port(f->dest), now_ns);
		if ((unsigned)q->n + FROM_HOST_PASSING <= h->nfree) {
			q->slot[q->n++] = slot;
			return;
		}
		if (!q->n && offer(h, dp, slot, now_ns))
			return;
		local_drop(dp, f->dest, 1);
	} else if (f->dest == DP_TO_ALL) {
		local_to_all(dp, &h->pkt[slot], f, VD_PORT_NONE, false, now_ns);
		give_back(h, slot);
		return;
	}
	h->dropped++;
	give_back(h, slot);
}

void from_host(struct from_host *h, struct datapath *dp, uint64_t now_ns, struct dp_result *res)
{
	unsigned room = h->nfree;

	while (room-- && h->ready) {
		uint8_t slot = h->free[--h->nfree];

		if (!read_packet(h, slot, now_ns)) {
			give_back(h, slot);
			break;
		}
		sort(h, dp, slot, now_ns);
		res->work++;
	}
	if (h->nfree == FROM_HOST_SLOTS)
		return;
	for (uint32_t i = 0; i < dp->nport; i++)
		if (h->queue[i].n)
			res->work += hand_over(h, dp, i, now_ns);
	res->waiting |= h->nfree < FROM_HOST_SLOTS;
}

/* --- from one process to another -------------------------------------------------- */

#define TAG 0x74736866u		/* "fhst" */

struct from_host_saved {
	uint32_t waiting;
	uint64_t packets, bytes, dropped;
};

struct from_host_packet {
	uint32_t port, len;
	uint64_t when_ns;
	struct virtio_net_hdr_v1 hdr;
	struct dp_fwd fwd;
};

void from_host_save(const struct from_host *h, struct parcel *to)
{
	const struct from_host_saved s = {
		.waiting = FROM_HOST_SLOTS - h->nfree, .packets = h->packets, .bytes = h->bytes, .dropped = h->dropped,
	};

	parcel_put(to, TAG, &s, sizeof(s));
	for (uint32_t port = 0; s.waiting && port < VD_MAX_PORTS; port++)
		for (unsigned i = 0; i < h->queue[port].n; i++) {
			const uint8_t slot = h->queue[port].slot[i];
			const struct from_host_packet p = {
				.port = port, .len = h->pkt[slot].len, .when_ns = h->when_ns[slot],
				.hdr = h->pkt[slot].hdr, .fwd = h->fwd[slot],
			};

			parcel_put(to, TAG, &p, sizeof(p));
			parcel_put(to, TAG, h->slot[slot].data, p.len);
		}
}

/* For a guest that is there; which of its pairs local_deliver() sees to. */
static bool makes_sense(const struct from_host *h, const struct datapath *dp, const struct from_host_packet *p)
{
	return p->port < VD_MAX_PORTS && dp->port[p->port] && p->fwd.dest < DP_TO_UPLINK &&
	       dp_dest_port(p->fwd.dest) == p->port && p->len <= sizeof(h->slot[0].data) && h->nfree;
}

int from_host_resume(struct from_host *h, const struct datapath *dp, struct parcel *from)
{
	struct from_host_saved s;

	parcel_get(from, TAG, &s, sizeof(s));
	h->packets = s.packets;
	h->bytes = s.bytes;
	h->dropped = s.dropped;
	while (s.waiting--) {
		struct from_host_packet p;
		uint8_t slot;

		if (parcel_get(from, TAG, &p, sizeof(p)))
			return from->err;
		if (!makes_sense(h, dp, &p))
			return -EPROTO;
		slot = h->free[--h->nfree];
		if (parcel_get(from, TAG, h->slot[slot].data, p.len))
			return from->err;
		h->piece[slot] = (struct iovec){ h->slot[slot].data, p.len };
		h->pkt[slot] = (struct virtq_pkt){
			.chain = UINT16_MAX, .npieces = 1, .len = p.len, .piece = &h->piece[slot], .hdr = p.hdr,
		};
		h->fwd[slot] = p.fwd;
		h->when_ns[slot] = p.when_ns;
		h->queue[p.port].slot[h->queue[p.port].n++] = slot;
	}
	return from->err;
}
