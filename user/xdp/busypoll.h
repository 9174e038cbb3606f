/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --busy-poll: the worker runs the driver's receive loop by its own system calls
 * (nicq_rx()), and interrupts of the NIC are put off as long as it does. For
 * that the interface's napi_defer_hard_irqs and gro_flush_timeout are set, and
 * put back at the end. The sockets' options are set by afxdp.c. Control thread only.
 */
#ifndef VIADUCT_XDP_BUSYPOLL_H
#define VIADUCT_XDP_BUSYPOLL_H

#include "xdp/restore.h"

struct busypoll {
	struct restore *restore;
	bool on;
};

/**
 * busypoll_apply() - put interrupts off, or put back what a dead instance changed
 * @restore: kept
 *
 * Return: 0 or -errno; then all is as it was.
 */
int busypoll_apply(struct busypoll *b, struct restore *restore, bool on);

/* Puts back what was changed. Safe without a busypoll_apply(). */
void busypoll_restore(struct busypoll *b);

#endif
