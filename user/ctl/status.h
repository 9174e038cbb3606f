/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of a running bridge as JSON: what `viaduct status` shows. */
#ifndef VIADUCT_CTL_STATUS_H
#define VIADUCT_CTL_STATUS_H

#include <jansson.h>

#include "bridge/state.h"

/**
 * status_json() - everything there is to know
 * @port: only this one of the ports; NULL = all
 * @brief: rings of several ports are left out
 * @out: a new object
 *
 * Control thread. Counters that workers write are read as they are at the moment.
 * Return: 0, -ENODEV (there is no such port) or -ENOMEM.
 */
int status_json(struct bridge *b, const char *port, bool brief, json_t **out);

/* status_port_list() - what all ports are, without counters. A new object, NULL when out of memory. Control thread. */
json_t *status_port_list(struct bridge *b);

#endif
