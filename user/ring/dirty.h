/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dirty log of a migration: a bitmap in a file of the front-end's, one bit
 * per 4 KiB page of guest-physical memory (vhost-user, "Migration"). Whoever
 * writes guest memory marks it afterwards; the front-end takes bits and pages
 * while that goes on.
 *
 * The file is the peer's and can shrink like guest memory: what is marked then
 * is lost, and dirty_broken() says so.
 */
#ifndef VIADUCT_RING_DIRTY_H
#define VIADUCT_RING_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/filemap.h"

#define DIRTY_PAGE_SHIFT 12	/* whatever the pages of host and guest are */

struct dirty {
	uint32_t refs;		/* control thread */
	uint32_t broken;	/* set by the SIGBUS handler */
	uint8_t *bits;
	uint64_t npages;	/* that there are bits for */
	uint64_t size, offset;	/* as the front-end gave them */
	struct filemap file;
};

/**
 * dirty_create() - map a log (vhost-user SET_LOG_BASE)
 * @fd: the file; owned by the log on success, the caller's on failure
 * @size, @offset: of the bitmap in the file, bytes; hostile
 * @out: the log, with one reference
 *
 * Control thread. Return: 0, -EINVAL when size is 0, the sum wraps, the file is too small or of the wrong kind, -EBADF,
 * -ENOMEM or what mmap() says.
 */
int dirty_create(int fd, uint64_t size, uint64_t offset, struct dirty **out);

/* One reference more. Control thread. */
struct dirty *dirty_get(struct dirty *d);
/* Drops a reference; the last one unmaps and closes. NULL is fine. Control thread. */
void dirty_put(struct dirty *d);

/**
 * dirty_mark() - say that a span of guest memory was written
 * @d: the log
 * @guest_addr, @len: guest-physical, bytes; hostile: what lies beyond the log, or wraps, is left out
 *
 * After the write: who takes the bit must find what was written. Any thread that holds a ring lock, or a reference.
 * Costs an atomic instruction per page, and no more of them than the log has bits.
 */
void dirty_mark(struct dirty *d, uint64_t guest_addr, uint64_t len);

/* True once the file was found to be shorter than it was. Any thread. */
static inline bool dirty_broken(const struct dirty *d)
{
	return __atomic_load_n(&d->broken, __ATOMIC_RELAXED);
}

/* For hand-over: size and offset as given to dirty_create(), bytes. Return: the fd, still owned by the log. */
int dirty_export(const struct dirty *d, uint64_t *size, uint64_t *offset);

#endif
