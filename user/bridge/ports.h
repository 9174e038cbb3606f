/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports of a running bridge: they come, go and change while the others go on.
 * Control thread only.
 */
#ifndef VIADUCT_BRIDGE_PORTS_H
#define VIADUCT_BRIDGE_PORTS_H

#include "bridge/state.h"

/**
 * bridge_port_add() - a port with its socket, open to front-ends when it returns
 * @err, @errlen: one line that names the mend when it fails
 *
 * The workers are parked for the moment in which they are told. Return: 0 or -errno, then nothing has changed.
 */
int bridge_port_add(struct bridge *b, const struct port_config *cfg, char *err, size_t errlen);

/**
 * bridge_port_del() - ends the port's connection and removes it, with all that was known of it
 * Return: 0, or -ENOENT with a line in @err.
 */
int bridge_port_del(struct bridge *b, const char *name, char *err, size_t errlen);

/**
 * bridge_port_set() - change what can be changed of a port that is in use
 * @cfg: all of its configuration, as it is to be
 *
 * Name, socket, role, queue pairs, features, owner and mode cannot: they are part of what the front-end was told.
 * Return: 0 or -errno with a line in @err, then nothing has changed.
 */
int bridge_port_set(struct bridge *b, const char *name, const struct port_config *cfg, char *err, size_t errlen);

/**
 * bridge_port_link() - pull the cable of a port, or put it in again
 *
 * Down: nothing passes in either direction, and the guest is told, whatever link= says. It is not configuration: it lasts,
 * across connections, until it is set up. Return: 0, or -ENOENT with a line in @err.
 */
int bridge_port_link(struct bridge *b, const char *name, bool up, char *err, size_t errlen);

/* What differs of two configurations that cannot change while a port exists, in words; NULL: nothing. */
const char *bridge_port_fixed_change(const struct port_config *a, const struct port_config *b);

/* Finds where the positions of the port's packed rings are kept. */
void bridge_port_take_kept(struct bridge *b, struct port *p);

/* Which port gets what nobody knows (--unknown guest), for program and workers. */
void bridge_ports_update_unknown(struct bridge *b);

/* NULL when there is none. */
struct port *bridge_port_find(struct bridge *b, const char *name);

/* All of bridge_config.ports, in order. 0 or -errno with a line in @err. */
int bridge_ports_open(struct bridge *b, char *err, size_t errlen);
/* All of them; the workers have been stopped or not begun. */
void bridge_ports_close(struct bridge *b);

/* What an operator wrote into the steering map, for packets from this host. Every tick. */
void bridge_ports_tick(struct bridge *b);

int bridge_steer_get(struct bridge *b, const char *name, struct vd_steering *s);
/* Pairs that the port does not have are refused with a line in @err. */
int bridge_steer_set(struct bridge *b, const char *name, const struct vd_steering *s, char *err, size_t errlen);

#endif
