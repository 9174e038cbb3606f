/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host sends to guests: read from its port (user/xdp/hostport.h), packet
 * by packet, and handed to the guests they are for. A guest without buffers may
 * hold up those behind it for a moment, because a packet that is lost costs the
 * host's TCP more; but all of them together never for more than half of the time.
 */
#ifndef VIADUCT_BRIDGE_FROM_HOST_H
#define VIADUCT_BRIDGE_FROM_HOST_H

#include "bridge/datapath.h"

#define FROM_HOST_CREDIT_NS 10000000ull	/* time that may be spent waiting at once */

struct from_host {
	int fd;			/* -1: there is no such port */
	bool ready;		/* there may be something to read */
	bool have;		/* a packet waits in @pkt */
	uint64_t since_ns;	/* when it began to wait */
	uint64_t credit_ns;	/* time that may still be spent waiting; grows with half of the time that passes */
	uint64_t credit_at_ns;
	uint64_t packets, bytes, dropped;	/* dropped: for nobody here, or the guest took too long */
	struct iovec piece;
	struct virtq_pkt pkt;
	struct dp_fwd fwd;
	struct {
		struct virtio_net_hdr_v1 hdr;
		uint8_t data[VNET_MAX_GSO + 64];
	} buf;
};

void from_host_init(struct from_host *h, int fd);

/* Something came. Worker. */
static inline void from_host_ready(struct from_host *h)
{
	h->ready = true;
}

/* A bounded number of packets. Worker. */
void from_host(struct from_host *h, struct datapath *dp, uint64_t now_ns, struct dp_result *res);

#endif
