/* SPDX-License-Identifier: BSD-2-Clause */
/* Which interfaces the host routes through. Control thread only. */
#ifndef VIADUCT_XDP_ROUTES_H
#define VIADUCT_XDP_ROUTES_H

#include "base/host_ops.h"

#define ROUTES_DEVICES 4096

struct routes {
	int ifindex[ROUTES_DEVICES];
	unsigned n;
};

/**
 * routes_read() - the devices of all unicast routes of the main table, IPv4 and IPv6
 * @r: filled
 *
 * Without what every interface has: IPv6 link-local and multicast. Waits for a second at most. Return: 0; or -errno: then
 * it is not known through which devices the host routes, and @r has only a part.
 */
int routes_read(const struct host_ops *host, struct routes *r);

bool routes_through(const struct routes *r, int ifindex);

#endif
