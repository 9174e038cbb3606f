/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Forwarding table: MAC -> port. One writer (the control thread), any number of
 * lock-free readers (workers). The control thread mirrors it into the pinned
 * `fdb` map that the XDP program reads; workers use this copy to recognise
 * addresses they know already, and to repeat the lookup where a driver carries
 * no metadata.
 *
 * Open addressing over 64-bit words, key and port in one word, so that a
 * reader never sees one without the other.
 */
#ifndef VIADUCT_BRIDGE_FDB_H
#define VIADUCT_BRIDGE_FDB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "viaduct_bpf.h"

#define FDB_SLOTS 8192	/* power of two; at most half of it is used */

struct fdb {
	uint64_t slot[FDB_SLOTS];	/* port << 48 | mac; 0 = never used */
	uint32_t used;
};

static inline uint32_t fdb_hash(uint64_t mac)
{
	return (uint32_t)((mac * 0x9e3779b97f4a7c15ull) >> 40) & (FDB_SLOTS - 1);
}

#define FDB_MAC_MASK 0xffffffffffffull

/**
 * fdb_lookup() - which port has this address
 * @mac: as mac_load() gives it
 *
 * Any thread. Return: port index, VD_PORT_HOST, or VD_PORT_NONE.
 */
static inline uint32_t fdb_lookup(const struct fdb *f, uint64_t mac)
{
	uint32_t i = fdb_hash(mac);

	for (unsigned n = 0; n < FDB_SLOTS; n++, i = (i + 1) & (FDB_SLOTS - 1)) {
		uint64_t v = READ_ONCE(f->slot[i]);

		if (!v)
			return VD_PORT_NONE;
		if ((v & FDB_MAC_MASK) == mac)
			return (uint32_t)(v >> 48);	/* VD_PORT_NONE where it was deleted */
	}
	return VD_PORT_NONE;
}

/* Control thread. 0, or -ENOSPC. */
int fdb_set(struct fdb *f, uint64_t mac, uint32_t port);
void fdb_del(struct fdb *f, uint64_t mac);

#endif
