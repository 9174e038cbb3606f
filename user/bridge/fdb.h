/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Forwarding table: (VLAN, MAC) -> port. One writer (the control thread), any
 * number of lock-free readers (workers). The control thread mirrors it into the
 * pinned `fdb` map that the XDP program reads; workers use this copy to forward
 * what guests send, to recognise addresses they know already, and to repeat the
 * lookup where a driver carries no metadata.
 *
 * Open addressing. An entry's key stays where it is until the table is rebuilt,
 * and a reader looks at the key again after it has read the port, so it never
 * takes one entry's port for another's. VLAN 0 stands for any VLAN: addresses of
 * ports that are in several are there once.
 */
#ifndef VIADUCT_BRIDGE_FDB_H
#define VIADUCT_BRIDGE_FDB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "viaduct_bpf.h"

#define FDB_SLOTS 8192	/* power of two; at most half of it is used */
#define FDB_SEEN_SHIFT 30	/* entries remember when they were seen in units of about a second */

struct fdb {
	struct fdb_slot {
		uint64_t key;	/* vlan << 48 | mac; 0 = never used */
		uint32_t port;	/* VD_PORT_NONE: deleted */
		uint32_t seen;	/* now_ns >> FDB_SEEN_SHIFT when a guest last sent from it; workers write */
	} slot[FDB_SLOTS];
	uint32_t used;
	uint32_t generation;	/* +1 after every change: what was looked up before is worth nothing */
};

#define FDB_MAC_MASK 0xffffffffffffull

/* @mac: as mac_load() gives it. */
static inline uint64_t fdb_key(uint16_t vlan, uint64_t mac)
{
	return (uint64_t)vlan << 48 | mac;
}

static inline uint32_t fdb_hash(uint64_t key)
{
	return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40) & (FDB_SLOTS - 1);
}

/**
 * fdb_find() - the entry of a key, deleted or not
 * Any thread. Return: NULL when it was never there.
 */
static inline const struct fdb_slot *fdb_find(const struct fdb *f, uint64_t key)
{
	uint32_t i = fdb_hash(key);

	for (unsigned n = 0; n < FDB_SLOTS; n++, i = (i + 1) & (FDB_SLOTS - 1)) {
		uint64_t v = load_acquire(&f->slot[i].key);

		if (!v)
			return NULL;
		if (v == key)
			return &f->slot[i];
	}
	return NULL;
}

/**
 * fdb_lookup() - which port has this address in this very VLAN
 * @key: fdb_key()
 *
 * Any thread. Return: port index, VD_PORT_HOST, or VD_PORT_NONE.
 */
static inline uint32_t fdb_lookup(const struct fdb *f, uint64_t key)
{
	const struct fdb_slot *s = fdb_find(f, key);
	uint32_t port;

	if (!s)
		return VD_PORT_NONE;
	port = load_acquire(&s->port);
	return READ_ONCE(s->key) == key ? port : VD_PORT_NONE;	/* it was moved meanwhile: not known for this once */
}

/**
 * fdb_forward() - where a frame goes
 * @vlan: of the frame, 0 = it has no tag
 * @mac: its destination
 *
 * Entries of the VLAN first, then those of any. Whether the port is in the VLAN is for the caller to say.
 * Any thread. Return: as fdb_lookup().
 */
static inline uint32_t fdb_forward(const struct fdb *f, uint16_t vlan, uint64_t mac)
{
	uint32_t port = fdb_lookup(f, fdb_key(vlan, mac));

	return port == VD_PORT_NONE && vlan ? fdb_lookup(f, mac) : port;
}

/**
 * fdb_note() - a guest sends from this address
 * Workers. Keeps the entry from being forgotten; does nothing when there is none.
 */
static inline void fdb_note(struct fdb *f, uint64_t key, uint64_t now_ns)
{
	struct fdb_slot *s = (struct fdb_slot *)fdb_find(f, key);
	uint32_t seen = (uint32_t)(now_ns >> FDB_SEEN_SHIFT);

	if (s && READ_ONCE(s->seen) != seen)
		WRITE_ONCE(s->seen, seen);
}

/* Seconds (about) since a guest last sent from it; 0 when it is not there. Control thread. */
uint32_t fdb_age(const struct fdb *f, uint64_t key, uint64_t now_ns);

/* Control thread. @now_ns: counts as seen now. 0, or -ENOSPC. */
int fdb_set(struct fdb *f, uint64_t key, uint32_t port, uint64_t now_ns);
void fdb_del(struct fdb *f, uint64_t key);
/* What was looked up before is worth nothing, though no entry changed. */
void fdb_touch(struct fdb *f);

#endif
