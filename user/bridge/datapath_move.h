/* SPDX-License-Identifier: BSD-2-Clause */
/* A data path goes from one process to another. */
#ifndef VIADUCT_BRIDGE_DATAPATH_MOVE_H
#define VIADUCT_BRIDGE_DATAPATH_MOVE_H

#include "base/parcel.h"
#include "bridge/datapath.h"

/* Where it stands. Control thread, the worker parked. */
void datapath_save(const struct datapath *dp, struct parcel *to);

/**
 * datapath_resume() - go on from there
 * @dp: with the same ports, over a NIC queue that has resumed
 * @flow: the NIC queue's row in the program's map, from here on the data path's to write
 *
 * Control thread, the worker not started. Writes to nothing but @dp. Return: 0 or -errno (-EPROTO: it makes no sense).
 */
int datapath_resume(struct datapath *dp, struct vd_flow *flow, struct parcel *from);

#endif
