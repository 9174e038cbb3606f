/* SPDX-License-Identifier: BSD-2-Clause */
/* The bridge goes on when the uplink's device changes. Control thread. */
#ifndef VIADUCT_BRIDGE_REPLUG_H
#define VIADUCT_BRIDGE_REPLUG_H

#include "bridge/state.h"

/* From now on the uplink may change its device. */
void replug_begin(struct bridge *b);

/* Tries again what could not be had when the device came. Every tick. */
void replug_tick(struct bridge *b);

#endif
