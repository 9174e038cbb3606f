/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host sends to guests: read from its port (user/xdp/hostport.h), packet
 * by packet, and handed over in batches. A guest without buffers holds up nobody:
 * its packets wait in a queue of their own, and each port may have as many waiting
 * as there is room left.
 */
#ifndef VIADUCT_BRIDGE_FROM_HOST_H
#define VIADUCT_BRIDGE_FROM_HOST_H

#include "base/parcel.h"
#include "bridge/datapath.h"

#define FROM_HOST_SLOTS VIRTQ_BATCH	/* packets that may wait, all ports together */

/* A packet as it came from the host. */
struct from_host_slot {
	struct virtio_net_hdr_v1 hdr;
	uint8_t data[VNET_MAX_GSO + 64];
};

#define FROM_HOST_PASSING 16	/* of them for packets that do not wait: guests that take nothing cannot have all */

struct from_host_queue {
	uint8_t slot[FROM_HOST_SLOTS];	/* in order */
	uint8_t n;
};

struct from_host {
	int fd;			/* -1: there is no such port */
	bool ready;		/* there may be something to read */
	uint8_t free[FROM_HOST_SLOTS];
	unsigned nfree;
	struct from_host_queue queue[VD_MAX_PORTS];
	uint64_t packets, bytes;
	uint64_t dropped;	/* for nobody here, or the guest had no buffers for too long */
	struct iovec piece[FROM_HOST_SLOTS];
	struct virtq_pkt pkt[FROM_HOST_SLOTS];
	struct dp_fwd fwd[FROM_HOST_SLOTS];
	uint64_t when_ns[FROM_HOST_SLOTS];	/* when it was read */
	struct from_host_slot slot[FROM_HOST_SLOTS];
};

/* @fd: non-blocking. Control thread. Return: NULL when out of memory. */
struct from_host *from_host_create(int fd);
void from_host_destroy(struct from_host *h);

/* Something came. Worker. */
static inline void from_host_ready(struct from_host *h)
{
	h->ready = true;
}

/* A bounded number of packets. Worker. */
void from_host(struct from_host *h, struct datapath *dp, uint64_t now_ns, struct dp_result *res);

/* A port that is gone has nothing waiting. Control thread, the worker parked. */
void from_host_forget(struct from_host *h, uint32_t port);

/* What waits goes along to another process. Control thread, the worker parked. */
void from_host_save(const struct from_host *h, struct parcel *to);
/* The same there. @dp: with the same ports. Control thread, the worker not started. 0 or -errno (-EPROTO: no sense). */
int from_host_resume(struct from_host *h, const struct datapath *dp, struct parcel *from);

#endif
