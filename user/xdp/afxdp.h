/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One AF_XDP socket with its UMEM: made for a NIC queue, or adopted from a
 * process that handed both fds over. Only the ring inlines of libxdp are used,
 * because its own socket object cannot be made from an existing socket.
 * Control thread only; the nicq then belongs to its worker.
 */
#ifndef VIADUCT_XDP_AFXDP_H
#define VIADUCT_XDP_AFXDP_H

#include "base/host_ops.h"
#include "xdp/nicq.h"

/* Who finishes checksums of frames that we send. */
enum afxdp_checksum {
	AFXDP_CHECKSUM_US,	/* nobody else */
	AFXDP_CHECKSUM_NIC,	/* TX metadata; the driver offers it */
	AFXDP_CHECKSUM_KERNEL,	/* TX metadata; in copy mode the kernel does it in software: when asked for */
};

/* A plain struct without pointers: it describes a socket to another process, too. */
struct afxdp_config {
	int ifindex;
	uint32_t queue;			/* NIC queue */
	enum vd_queue_mode mode;
	uint32_t ring_size;		/* entries of each of the four rings, power of two */
	uint32_t frames, chunk;		/* UMEM: frames of chunk bytes */
	uint32_t tx_checksum;		/* enum afxdp_checksum */
	uint32_t busy_poll;		/* the worker runs the driver's receive loop; see q->busy_poll for whether it may */
	uint32_t sg;			/* multi-buffer: one Ethernet frame in up to NICQ_PIECES chunks */
};

/**
 * afxdp_create() - make socket, UMEM and rings, and bind them
 * @deadline_ns: until when to retry while the queue is still held by a socket that is being closed
 *
 * The fill ring is filled before the bind, so a zero-copy driver finds buffers at once.
 * Return: 0 or -errno; -EBUSY when the queue stayed taken, -EOPNOTSUPP when the mode is not supported,
 * -ENOPROTOOPT when the kernel takes no TX metadata, -EINVAL when it does not know multi-buffer.
 */
int afxdp_create(const struct host_ops *host, const struct afxdp_config *cfg, uint64_t deadline_ns, struct nicq *q);

/**
 * afxdp_adopt() - map the socket and UMEM of another process, which may still be using them
 * @fd: bound AF_XDP socket; @umem_fd: its UMEM memfd; both are owned by @q on success
 *
 * The UMEM may lie at another address here: rings hold offsets. Nothing may be done with @q before afxdp_resume().
 * Return: 0 or -errno.
 */
int afxdp_adopt(int fd, int umem_fd, const struct afxdp_config *cfg, struct nicq *q);

/**
 * afxdp_resume() - go on where the other process has stopped
 * @owners, @tags: the predecessor's ledger, one value of each per frame
 *
 * The rings are read, nothing is written to them. Return: 0 or -errno.
 */
int afxdp_resume(struct nicq *q, const uint8_t *owners, const uint16_t *tags);

/* What the kernel says about losses of the socket (XDP_STATISTICS). Return: 0 or -errno. */
int afxdp_statistics(const struct nicq *q, struct xdp_statistics *st);

#endif
