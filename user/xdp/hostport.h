/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host's port: the host's stack as one more participant of the bridge,
 * under the address that it has on the uplink anyway. Control thread only,
 * except that one worker reads and writes hostport_fd().
 */
#ifndef VIADUCT_XDP_HOSTPORT_H
#define VIADUCT_XDP_HOSTPORT_H

#include <stdint.h>

#include "base/host_ops.h"
#include "base/parcel.h"
#include "xdp/fail.h"

struct hostport;

struct hostport_config {
	const char *name;		/* instance name; the tap is named after it */
	int uplink_ifindex;
	uint32_t mtu;			/* bytes, the uplink's */
	int fdb, ports, links;		/* fds of the running XDP program's maps; they stay the caller's */
};

/**
 * hostport_open() - make the tap and join the host's stack to it
 * @host: kept
 * @why: on failure one line that names the mend
 *
 * From its return on somebody must read hostport_fd(), and the heartbeat in `links` must go on.
 * Return: 0 or -errno; then nothing is left behind.
 */
int hostport_open(const struct host_ops *host, const struct hostport_config *cfg, struct hostport **out,
		  const struct fail *why);

/* For another process: tap, programs and how they are attached. */
void hostport_save(const struct hostport *hp, struct parcel *to);
/* The same in the other process. Return: 0 or -errno. */
int hostport_adopt(const struct host_ops *host, struct parcel *from, struct hostport **out);
/* This process' programs in the place of the other's, which is gone. Return: 0 or -errno: those go on. */
int hostport_replace(struct hostport *hp, const struct hostport_config *cfg);

/* Gives the host its way back, then removes both programs and the tap. NULL is fine. */
void hostport_close(struct hostport *hp);

/**
 * hostport_fd() - the tap, non-blocking
 *
 * read() gives one struct virtio_net_hdr_v1 (12 bytes, little-endian) and one frame that the host sends: up to 64 KiB, to
 * be cut or with its checksum to be finished as the header says, with its VLAN tag in place. write() takes the same; the
 * host receives the frame on the uplink. What is not read in time the kernel drops (and counts at the tap: tx_dropped).
 */
int hostport_fd(const struct hostport *hp);

const char *hostport_ifname(const struct hostport *hp);
int hostport_ifindex(const struct hostport *hp);

/* How the programs are attached, for status: "tcx" or "clsact". */
const char *hostport_hook(const struct hostport *hp);

/**
 * hostport_move() - the uplink is another interface, or the same one that came back
 *
 * Return: 0 or -errno: then guests and host do not reach each other.
 */
int hostport_move(struct hostport *hp, int uplink_ifindex);

/* Follows the uplink's MTU (bytes). */
void hostport_mtu(struct hostport *hp, uint32_t mtu);

#endif
