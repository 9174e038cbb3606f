/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include <unistd.h>

#include "bridge/forward.h"
#include "bridge/from_host.h"
#include "bridge/local.h"

#define BATCH 32	/* packets of one pass */

void from_host_init(struct from_host *h, int fd)
{
	memset(h, 0, sizeof(*h));
	h->fd = fd;
	h->ready = true;
}

/* Reads the next packet. False: there is none. */
static bool read_packet(struct from_host *h)
{
	ssize_t n = read(h->fd, &h->buf, sizeof(h->buf));

	if (n < 0) {
		h->ready = false;
		return false;
	}
	h->packets++;
	if ((size_t)n < sizeof(h->buf.hdr) + VD_ETH_LEN) {	/* cannot be */
		h->dropped++;
		return true;
	}
	h->piece = (struct iovec){ h->buf.data, (size_t)n - sizeof(h->buf.hdr) };
	h->pkt = (struct virtq_pkt){
		.chain = UINT16_MAX, .npieces = 1, .len = (uint32_t)h->piece.iov_len, .piece = &h->piece, .hdr = h->buf.hdr,
	};
	h->bytes += h->pkt.len;
	h->since_ns = 0;
	h->have = true;
	return true;
}

static void earn(struct from_host *h, uint64_t now_ns)
{
	h->credit_ns += (now_ns - h->credit_at_ns) / 2;
	h->credit_at_ns = now_ns;
	if (h->credit_ns > FROM_HOST_CREDIT_NS)
		h->credit_ns = FROM_HOST_CREDIT_NS;
}

/* The packet found no buffers. False: it has to wait. */
static bool give_up(struct from_host *h, uint64_t now_ns)
{
	earn(h, now_ns);
	if (!h->since_ns)
		h->since_ns = now_ns;
	if (now_ns - h->since_ns < h->credit_ns)
		return false;
	return true;
}

/* Hands over the packet that is there. False: it has to wait. */
static bool hand_over(struct from_host *h, struct datapath *dp, uint64_t now_ns)
{
	static const uint8_t first;
	const struct local_batch one = { &h->pkt, &h->fwd, &first, 1 };
	bool waited;

	forward_host(dp, &h->pkt, &h->fwd);
	if (h->fwd.dest == DP_TO_ALL) {
		local_to_all(dp, &h->pkt, &h->fwd, VD_PORT_NONE, false, now_ns);
	} else if (h->fwd.dest == DP_TO_NOBODY) {
		h->dropped++;
	} else if (!local_deliver(dp, h->fwd.dest, &one, now_ns)) {
		if (!give_up(h, now_ns))
			return false;
		local_drop(dp, h->fwd.dest, 1);
		h->dropped++;
	}
	waited = h->since_ns;
	if (waited) {
		uint64_t spent = now_ns - h->since_ns;

		h->credit_ns = h->credit_ns > spent ? h->credit_ns - spent : 0;
		h->credit_at_ns = now_ns;
	}
	h->have = false;
	return true;
}

void from_host(struct from_host *h, struct datapath *dp, uint64_t now_ns, struct dp_result *res)
{
	for (unsigned i = 0; i < BATCH && (h->have || (h->ready && read_packet(h))); i++) {
		if (h->have && !hand_over(h, dp, now_ns)) {
			res->waiting = true;
			return;
		}
		res->work++;
	}
}
