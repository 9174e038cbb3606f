/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the programs of the host's port (bpf/viaduct_host.bpf.c) and user space must agree on. */
#ifndef VIADUCT_HOST_H
#define VIADUCT_HOST_H

#ifndef __bpf__
#include <assert.h>
#include <linux/types.h>
#endif

/*
 * The flow hash of group frames that come from the host's port. The packet socket for broadcasts of the wire (mcast.c)
 * knows them by it and leaves them alone: guests have them already.
 */
#define VD_HOST_HASH 0x7664486fu

/* A heartbeat in `links` older than this is a dead instance's: the host's frames go their own way. */
#define VD_HOST_ALIVE_NS 1000000000ull

/* host: one entry, not pinned. Interface indices, 0 = none: the programs then change nothing. */
struct vd_host {
	__u32 tap;
	__u32 uplink;
};

#ifndef __bpf__
static_assert(sizeof(struct vd_host) == 8, "map format");
#endif

#endif
