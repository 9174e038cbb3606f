/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>

#include "bridge/fdb.h"
#include "bridge/mac.h"

void mac_format(const uint8_t mac[MAC_LEN], char *out)
{
	snprintf(out, MAC_STRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* The key's entry, or the one it would get. */
static struct fdb_slot *fdb_slot(struct fdb *f, uint64_t key)
{
	uint32_t i = fdb_hash(key);

	for (unsigned n = 0; n < FDB_SLOTS; n++, i = (i + 1) & (FDB_SLOTS - 1))
		if (!f->slot[i].key || f->slot[i].key == key)
			return &f->slot[i];
	return NULL;
}

/* The key last: whoever finds it finds the rest. */
static void enter(struct fdb_slot *s, uint64_t key, uint32_t port, uint32_t seen)
{
	WRITE_ONCE(s->port, port);
	WRITE_ONCE(s->seen, seen);
	store_release(&s->key, key);
}

/* A table without readers' locks cannot move entries: one whose slots are used up is rebuilt in place. */
static void fdb_compact(struct fdb *f)
{
	struct fdb_slot keep[FDB_SLOTS / 2];
	unsigned n = 0;

	for (unsigned i = 0; i < FDB_SLOTS; i++)
		if (f->slot[i].key && f->slot[i].port != VD_PORT_NONE && n < FDB_SLOTS / 2)
			keep[n++] = f->slot[i];
	/* A reader in between may miss an address and treats it as unknown for that one packet. */
	for (unsigned i = 0; i < FDB_SLOTS; i++)
		store_release(&f->slot[i].key, 0);
	for (unsigned i = 0; i < n; i++)
		enter(fdb_slot(f, keep[i].key), keep[i].key, keep[i].port, keep[i].seen);
	f->used = n;
}

void fdb_touch(struct fdb *f)
{
	store_release(&f->generation, f->generation + 1);
}

int fdb_set(struct fdb *f, uint64_t key, uint32_t port, uint64_t now_ns)
{
	struct fdb_slot *s = fdb_slot(f, key);

	if (!s)
		return -ENOSPC;
	if (s->key) {
		WRITE_ONCE(s->seen, (uint32_t)(now_ns >> FDB_SEEN_SHIFT));
		store_release(&s->port, port);
		fdb_touch(f);
		return 0;
	}
	if (f->used >= FDB_SLOTS / 2) {
		fdb_compact(f);
		if (f->used >= FDB_SLOTS / 2)
			return -ENOSPC;
		s = fdb_slot(f, key);
	}
	f->used++;
	enter(s, key, port, (uint32_t)(now_ns >> FDB_SEEN_SHIFT));
	fdb_touch(f);
	return 0;
}

void fdb_del(struct fdb *f, uint64_t key)
{
	struct fdb_slot *s = fdb_slot(f, key);

	if (s && s->key) {
		store_release(&s->port, VD_PORT_NONE);
		fdb_touch(f);
	}
}

uint32_t fdb_age(const struct fdb *f, uint64_t key, uint64_t now_ns)
{
	const struct fdb_slot *s = fdb_find(f, key);
	int32_t age = s ? (int32_t)((uint32_t)(now_ns >> FDB_SEEN_SHIFT) - READ_ONCE(s->seen)) : 0;

	return age > 0 ? (uint32_t)age : 0;	/* a worker's clock was read later than the caller's */
}
