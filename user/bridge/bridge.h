/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge: one uplink, its workers, its ports, and the control thread's work
 * between them, put together and taken apart.
 */
#ifndef VIADUCT_BRIDGE_BRIDGE_H
#define VIADUCT_BRIDGE_BRIDGE_H

#include "bridge/state.h"

/**
 * bridge_open() - uplink, workers and ports; packets flow when it returns
 * @event, @event_arg: told of every bridge_event, from the loop
 * @err, @errlen: one line that names the mend when it fails
 *
 * Control thread, SIGBUS handler installed, signals blocked. Return: 0 or -errno.
 */
int bridge_open(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct bridge **out,
		char *err, size_t errlen);
/* Stops and removes everything, in the order that loses least. NULL is fine. */
void bridge_close(struct bridge *b);

#endif
