/* SPDX-License-Identifier: BSD-2-Clause */
/* A port's part of the status. Control thread. */
#ifndef VIADUCT_CTL_STATUS_PORT_H
#define VIADUCT_CTL_STATUS_PORT_H

#include <jansson.h>

#include "bridge/state.h"

/* Its link, as the operator wants it and as its guest is told. A new object. */
json_t *status_port_link(const struct port *p);
/* What the port is: configuration, link, addresses. A new object. */
json_t *status_port_brief(struct bridge *b, struct port *p);
/* The same with its session and all that is counted; @rings: one by one, too. A new object. */
json_t *status_port(struct bridge *b, struct port *p, bool rings);
/* What the program dropped, by reason; only what happened. A new object. */
json_t *status_xdp_drops(const struct vd_stats *s);

#endif
