/* SPDX-License-Identifier: BSD-2-Clause */
/* One question to RTNETLINK whose answer is a list, with a deadline. Control thread only. */
#ifndef VIADUCT_XDP_NLDUMP_H
#define VIADUCT_XDP_NLDUMP_H

#include "base/host_ops.h"

struct nlmsghdr;

/**
 * nldump() - ask, and hand over each message of the answer
 * @request: type and payload filled; flags and number are set here. The kernel is asked to be strict, so that it leaves
 *	out what the payload does not ask for; an older one does not know that, so @fn looks for itself.
 * @fn: takes one message whose length is right; what is in it is for @fn to check. Negative ends the dump.
 * @deadline: on the clock of clock_now()
 *
 * Waits, but not beyond @deadline. Return: 0; 1 when the list changed meanwhile, so that some of it may be missing or old;
 * -ETIMEDOUT, what @fn returned, or another -errno.
 */
int nldump(const struct host_ops *host, struct nlmsghdr *request, int (*fn)(void *arg, const struct nlmsghdr *h),
	   void *arg, uint64_t deadline);

#endif
