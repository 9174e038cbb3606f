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
/* @n of them, one per NIC queue that there is or was. @flows: rows as in the program's map. 0 or -errno. */
int bridge_make_datapaths(struct bridge *b, uint32_t n, struct vd_flow *flows);
/* That of one NIC queue, without ports; *@out is to be destroyed, NULL or not. @homes: see state.h. 0 or -errno. */
int bridge_make_datapath(struct bridge *b, uint32_t queue, uint32_t homes, struct vd_flow *row, struct datapath **out);
/* Worker number @i, which does not run yet. 0 or -errno. */
int bridge_make_worker(struct bridge *b, uint32_t i);
/* They have their data paths, and do not run yet. 0 or -errno. */
int bridge_make_workers(struct bridge *b);
/* The host's port, open, is given to the data paths and a worker. 0 or -errno. */
int bridge_join_host(struct bridge *b);
/* The map that shows who serves which NIC queue. 0 or -errno. */
int bridge_tell_queues(struct bridge *b);
int bridge_start_workers(struct bridge *b);
/* The file for the positions of packed rings; goes on without. */
void bridge_open_kept(struct bridge *b);
/* Frames that all ports may have in flight per NIC queue: those that are as long as the MTU (bytes) fill the ring. */
void bridge_set_room(struct bridge *b, uint32_t mtu);
/* That, and all else that depends on it. */
void bridge_mtu_changed(struct bridge *b, uint32_t mtu);
/* From here on link changes are followed and the clock ticks. */
void bridge_begin(struct bridge *b);

#endif
