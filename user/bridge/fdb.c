/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>

#include "bridge/fdb.h"
#include "bridge/mac.h"

void mac_format(const uint8_t mac[MAC_LEN], char *out)
{
	snprintf(out, MAC_STRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static uint64_t *fdb_slot(struct fdb *f, uint64_t mac)
{
	uint32_t i = fdb_hash(mac);

	for (unsigned n = 0; n < FDB_SLOTS; n++, i = (i + 1) & (FDB_SLOTS - 1))
		if (!f->slot[i] || (f->slot[i] & FDB_MAC_MASK) == mac)
			return &f->slot[i];
	return NULL;
}

/* A table without readers' locks cannot move entries: one whose slots are used up is rebuilt in place. */
static void fdb_compact(struct fdb *f)
{
	uint64_t keep[FDB_SLOTS / 2];
	unsigned n = 0;

	for (unsigned i = 0; i < FDB_SLOTS; i++)
		if (f->slot[i] && f->slot[i] >> 48 != VD_PORT_NONE && n < FDB_SLOTS / 2)
			keep[n++] = f->slot[i];
	/* A reader in between may miss an address and treats it as unknown for that one packet. */
	for (unsigned i = 0; i < FDB_SLOTS; i++)
		WRITE_ONCE(f->slot[i], 0);
	for (unsigned i = 0; i < n; i++)
		WRITE_ONCE(*fdb_slot(f, keep[i] & FDB_MAC_MASK), keep[i]);
	f->used = n;
}

int fdb_set(struct fdb *f, uint64_t mac, uint32_t port)
{
	uint64_t *s = fdb_slot(f, mac);

	if (!s)
		return -ENOSPC;
	if (!*s) {
		if (f->used >= FDB_SLOTS / 2) {
			fdb_compact(f);
			if (f->used >= FDB_SLOTS / 2)
				return -ENOSPC;
			s = fdb_slot(f, mac);
		}
		f->used++;
	}
	WRITE_ONCE(*s, (uint64_t)port << 48 | mac);
	return 0;
}

void fdb_del(struct fdb *f, uint64_t mac)
{
	uint64_t *s = fdb_slot(f, mac);

	if (s && *s)
		WRITE_ONCE(*s, (uint64_t)VD_PORT_NONE << 48 | mac);
}
