/* SPDX-License-Identifier: BSD-2-Clause */
/* Steps of which bridge_open() and bridge_adopt() are made. Control thread, private to those two. */
#ifndef VIADUCT_BRIDGE_BRIDGE_PARTS_H
#define VIADUCT_BRIDGE_BRIDGE_PARTS_H

#include "bridge/state.h"
#include "xdp/fail.h"

/* An empty one. *@out is to be closed also after a failure. Return: 0 or -errno with a reason. */
int bridge_create(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		  void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct bridge **out,
		  const struct fail *why);
/* One per NIC queue. @flows: rows as in the program's map. 0 or -errno. */
int bridge_make_datapaths(struct bridge *b, struct vd_flow *flows);
/* They have their data paths, and do not run yet. 0 or -errno. */
int bridge_make_workers(struct bridge *b);
/* The host's port, open, is given to the data paths and a worker. 0 or -errno. */
int bridge_join_host(struct bridge *b);
/* The map that shows who serves which NIC queue. 0 or -errno. */
int bridge_tell_queues(struct bridge *b);
int bridge_start_workers(struct bridge *b);
/* The file for the positions of packed rings; goes on without. */
void bridge_open_kept(struct bridge *b);
/* From here on link changes are followed and the clock ticks. */
void bridge_begin(struct bridge *b);

#endif
