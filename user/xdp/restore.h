/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What settings of the NIC were before viaduct changed them, kept in
 * /run/viaduct/NAME.restore, so that an instance that follows a killed one puts
 * the right thing back. One file, one owner (the uplink); each setting has a key
 * and a word as value, and is noted before it is changed. Control thread only.
 */
#ifndef VIADUCT_XDP_RESTORE_H
#define VIADUCT_XDP_RESTORE_H

#include <net/if.h>

#include "base/host_ops.h"

#define RESTORE_ENTRIES 8

struct restore {
	const struct host_ops *host;
	char ifname[IF_NAMESIZE];	/* as the interface is called now */
	char noted_as[IF_NAMESIZE];	/* as it was called when it was opened: what the file says */
	char path[128];
	uint64_t wait_ns;		/* how long closed sockets may take to let go of the interface */
	struct restore_entry {
		const char *key;	/* NULL = unused */
		char *value;
	} entry[RESTORE_ENTRIES];
};

/**
 * restore_open() - read what a dead instance of this name left
 * @host: kept
 * @name: instance name, part of the file's name
 *
 * No file, one for another interface or one that makes no sense is the same as none.
 */
void restore_open(struct restore *r, const struct host_ops *host, const char *ifname, const char *name);

/* Is there anything to put back? */
bool restore_any(const struct restore *r);

/* What was noted under @key, or NULL. Valid until the entry changes. */
const char *restore_get(const struct restore *r, const char *key);

/**
 * restore_note() - note what a setting was, in memory and in the file
 * @value: without a space
 *
 * Return: 0 or -errno: then the setting must not be changed.
 */
int restore_note(struct restore *r, const char *key, const char *value);

/* Forgets a setting that was put back. With the last one the file goes. */
void restore_forget(struct restore *r, const char *key);

/* Frees, where nothing can be put back. @keep: the file stays for when the interface is there again. */
void restore_abandon(struct restore *r, bool keep);

/* Frees; the file stays if there is something left to put back. */
void restore_close(struct restore *r);

#endif
