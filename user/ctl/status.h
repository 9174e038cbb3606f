/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of a running bridge as JSON: what `viaduct status` shows. */
#ifndef VIADUCT_CTL_STATUS_H
#define VIADUCT_CTL_STATUS_H

#include <jansson.h>

#include "bridge/state.h"

/**
 * status_json() - everything there is to know
 * Control thread. Counters that workers write are read as they are at the moment.
 * Return: a new object, NULL when out of memory.
 */
json_t *status_json(struct bridge *b);

#endif
