/* SPDX-License-Identifier: BSD-2-Clause */
/* A multi-queue tap interface in a network namespace: an ordinary netdev for a container. One thread. */
#ifndef VIADUCT_DRIVER_TAP_H
#define VIADUCT_DRIVER_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * tap_open() - create it, with its address set, up, carrier off, no offloads
 * @ifname: name of the interface
 * @netns: name under /run/netns or a process id; NULL = where we are
 * @mac: its Ethernet address
 * @fds, @queues: filled with one non-blocking descriptor per queue; closing all removes the interface
 * @err, @errlen: on failure one line that says what to do
 *
 * The calling thread is in its old namespace again on return. Return: 0 or -errno.
 */
int tap_open(const char *ifname, const char *netns, const uint8_t mac[6], int *fds, unsigned queues, char *err,
	     size_t errlen);
/* The carrier that the interface's users see. Return: 0 or -errno. */
int tap_carrier(int fd, bool on);

#endif
