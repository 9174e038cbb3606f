/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Positions of packed rings, kept in a file that outlives the process.
 *
 * A front-end that lost its back-end does not know where a packed ring stands,
 * and nothing in guest memory says so for certain. So each ring's position is
 * written to /run/viaduct/NAME.rings, which all instances of one name share one
 * after the other. The file is sparse: a port costs one page or a few.
 *
 * Slots belong to ports by name. Control thread only, but for the entries
 * themselves: those are written by whoever holds the ring's lock.
 */
#ifndef VIADUCT_BRIDGE_KEPT_H
#define VIADUCT_BRIDGE_KEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/host_ops.h"
#include "ring/virtq.h"
#include "viaduct_bpf.h"

#define KEPT_VERSION 1	/* of the file; instances that hand over to each other share it while both live */
#define KEPT_SLOTS VD_MAX_PORTS
#define KEPT_RINGS (2 * VD_MAX_PAIRS)

struct kept;

/**
 * kept_open() - make the file, or take over what a dead instance left in it
 * @path: the file; the caller holds the lock of the instance that it belongs to
 *
 * What is there and is no file of this version, or makes no sense, is begun anew (a log line says so).
 * Return: 0 or -errno.
 */
int kept_open(const struct host_ops *host, const char *path, struct kept **out);

/**
 * kept_close() - give it up; NULL is fine
 * @remove: the file goes, too; not what a dead instance left as long as kept_confirm() was not called
 */
void kept_close(struct kept *k, bool remove);

/* The start that opened it has succeeded: what ports did not ask for is of no use any more. */
void kept_confirm(struct kept *k);

/* Were positions of a dead instance found? */
bool kept_adopted(const struct kept *k);

/**
 * kept_take() - the slot of a port
 * @name: the port's
 * @rings: as many entries as it needs, at most KEPT_RINGS
 *
 * Has what an earlier instance's port of that name left, if there was one. Return: the slot, or -errno (-ENOSPC also
 * when the file system is full: entries that could not be written are never given away).
 */
int kept_take(struct kept *k, const char *name, unsigned rings);

/* The port is gone: its name and its positions are forgotten, but not by a start that fails. */
void kept_give_back(struct kept *k, int slot);

/* The entry of a ring of a port that has a slot. NULL when it has none (@slot < 0). */
struct virtq_kept *kept_ring(struct kept *k, int slot, unsigned ring);

#endif
