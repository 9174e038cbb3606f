/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What another tool changed on the uplink: how many channels it has, and what
 * its receive filter lets in. For features see settings_check(). Cheap enough
 * for once a second and after every link message. Control thread only.
 */
#ifndef VIADUCT_XDP_WATCH_H
#define VIADUCT_XDP_WATCH_H

#include "base/host_ops.h"
#include "xdp/ifcheck.h"

#define WATCH_MACS 2048

/**
 * watch_channels() - how many NIC queues there are now
 * @d: the uplink; its name, and how many queues it was made with
 * @c: gets what is known of them (ifcheck_queues())
 *
 * Return: the number, or -errno (-ENODEV: gone, or called otherwise by now): then it is not known.
 */
int watch_channels(const struct host_ops *host, const struct linkmon_dev *d, struct ifcheck *c);

/**
 * watch_filter() - are all guests' addresses in the receive filter? Enter again those that are not
 * @fd: packet socket whose memberships (PACKET_MR_UNICAST) they are
 * @macs: each as often as it was entered by @fd; any order
 * @n: WATCH_MACS at most
 * @missing: how many different ones were not there
 *
 * Reads the device's forwarding entries (bridge fdb show dev DEV), and after a repair once more. Waits for a quarter of a
 * second at most. Return: how many are still not there: 0 = all are. More: the driver refuses them, does not show its
 * filter, or somebody takes them out at once; then it is better not to look again for a minute, because an address that
 * is only not shown is out of the filter for an instant. -errno: not known, nothing was changed.
 */
int watch_filter(const struct host_ops *host, int fd, int ifindex, const uint8_t (*macs)[6], unsigned n,
		 unsigned *missing);

#endif
