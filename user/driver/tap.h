/* SPDX-License-Identifier: BSD-2-Clause */
/* A multi-queue tap interface in a network namespace: an ordinary netdev for a container. One thread. */
#ifndef VIADUCT_DRIVER_TAP_H
#define VIADUCT_DRIVER_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "driver/pair.h"

#define TAP_PIECES (PAIR_TX_PIECES + 1)

/**
 * tap_open() - create it, with its address and MTU set, up, carrier off, no offloads
 * @ifname: name of the interface
 * @netns: name under /run/netns or a process id; NULL = where we are
 * @mac: its Ethernet address
 * @mtu: bytes
 * @fds, @queues: filled with one non-blocking descriptor per queue; closing all removes the interface
 * @err, @errlen: on failure one line that says what to do
 *
 * The calling thread is in its old namespace again on return. Return: 0 or -errno.
 */
int tap_open(const char *ifname, const char *netns, const uint8_t mac[6], uint32_t mtu, int *fds, unsigned queues,
	     char *err, size_t errlen);
/* The carrier that the interface's users see. Return: 0 or -errno. */
int tap_carrier(int fd, bool on);

/* Offloads that the kernel's tap interfaces know, in both directions, as virtio feature bits. Turns all off. */
uint64_t tap_offloads(int fd);
/**
 * tap_set_offloads() - what the interface's users need not do themselves
 * @features: negotiated; what the device does for us (VIRTIO_NET_F_CSUM, HOST_*) is offered to them, nothing else
 *
 * For all queues at once. Return: 0 or -errno.
 */
int tap_set_offloads(int fd, uint64_t features);

/**
 * tap_read() - the next frame that the interface's users send
 * @hdr: its header
 * @iov: @n pieces (at most PAIR_TX_PIECES) to write it to
 *
 * Return: bytes of the frame; -EMSGSIZE: it was too long, and is gone; -errno (-EAGAIN: there is none).
 */
ssize_t tap_read(int fd, struct virtio_net_hdr_v1 *hdr, const struct iovec *iov, unsigned n);
/* Gives a frame to the interface's users, with its header. Return: 0 or -errno. */
int tap_write(int fd, const struct frame *f);

#endif
