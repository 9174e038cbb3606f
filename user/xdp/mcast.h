/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Broadcast and multicast from the wire: the XDP program passes them up to the
 * host; a packet socket with a filter gives us a copy, with the VLAN tag put
 * back and the checksum finished. Bounded ring, counted losses. Opened by the
 * control thread, then used by one worker.
 */
#ifndef VIADUCT_XDP_MCAST_H
#define VIADUCT_XDP_MCAST_H

#include "base/host_ops.h"
#include "base/parcel.h"

struct mcast_stats { uint64_t packets, kernel_drops, malformed; };

struct mcast;

/**
 * mcast_open() - begin to listen
 * @max_frame: longest frame to expect, bytes; longer ones are dropped and counted
 *
 * Return: 0 or -errno.
 */
int mcast_open(const struct host_ops *host, int ifindex, uint32_t max_frame, struct mcast **out);
void mcast_close(struct mcast *m);

/* What @past has counted is counted on. Nobody uses either. */
void mcast_continue(struct mcast *m, const struct mcast *past);

/* For another process: the socket. Then, once the worker stands still, where it is in the ring. */
void mcast_save(const struct mcast *m, struct parcel *to);
void mcast_save_position(const struct mcast *m, struct parcel *to);
/* The same in the other process. Return: 0 or -errno. */
int mcast_adopt(struct parcel *from, struct mcast **out);
void mcast_resume(struct mcast *m, struct parcel *from);
int mcast_fd(const struct mcast *m);	/* readable = frames wait */
/* True when mcast_recv() would find something; no system call. */
bool mcast_pending(const struct mcast *m);
/**
 * mcast_recv() - copy the next frame, repaired, to @buf
 * Return: frame length, 0 when there is none, -errno on a frame that had to be dropped (counted).
 */
int mcast_recv(struct mcast *m, uint8_t *buf, uint32_t len);
const struct mcast_stats *mcast_stats(struct mcast *m);	/* updates kernel_drops */

#endif
