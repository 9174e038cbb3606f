/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Link state as the outside sees it: the mmap-ed `links` map. Plain stores by
 * the control thread; @up is stored last when a link comes up and first when it
 * goes down, so the XDP program never steers by half an entry.
 */
#ifndef VIADUCT_BRIDGE_LINKS_H
#define VIADUCT_BRIDGE_LINKS_H

#include "bridge/state.h"

void links_set_port(struct bridge *b, const struct port *p, enum vd_link_reason reason, uint32_t pairs);
/* The entry of a port that is no more. */
void links_clear_port(struct bridge *b, uint32_t index);
/* Stores the uplink's state; returns true when anything changed. */
bool links_set_uplink(struct bridge *b, const struct uplink_link *l);
void links_heartbeat(struct bridge *b, uint64_t now_ns);
const char *links_reason_name(enum vd_link_reason reason);

#endif
