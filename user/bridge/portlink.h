/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a port's guest is told of its link: by the configuration of its device
 * where the front-end asks for it, by QEMU's monitor where there is one (qmp=),
 * by the end of its connection (link=close), or by nothing. Control thread.
 */
#ifndef VIADUCT_BRIDGE_PORTLINK_H
#define VIADUCT_BRIDGE_PORTLINK_H

#include "bridge/state.h"

#define CLOSE_AFTER_NS 1000000000ull	/* link=close: a carrier that is back sooner closes nothing */

/* Is the guest's link to be up, by policy, uplink and operator? */
bool portlink_up(const struct port *p);

/**
 * portlink_update() - the guest is told at once what it does not know yet
 *
 * Whenever something of uplink, port or session may have changed, and every tick. Enters the guest's side into the
 * `links` map and tells listeners when it changes.
 */
void portlink_update(struct port *p);
/* The same for all ports. */
void portlink_update_all(struct bridge *b);

/* A front-end has connected: it thinks that the link is up. Before portlink_update(). */
void portlink_connected(struct port *p);
/* The port's configuration has changed. Before portlink_update(). */
void portlink_configure(struct port *p);
/* The port came from another process, connected or not. Before portlink_update(). */
void portlink_adopted(struct port *p);
/* Nobody is told anything any more. */
void portlink_close(struct port *p);

/* How the guest is told: "config_change", "qmp", "connection", "nothing". */
const char *portlink_by(const struct port *p);
/* What keeps the guest from being told, one line; "": nothing does. Valid until the next call. */
const char *portlink_why(const struct port *p);
/* "none", "up", "down", "untold"; "follow", "close", "always-up". */
const char *portlink_guest_name(enum vd_guest_link g);
const char *portlink_policy_name(enum port_link l);

#endif
