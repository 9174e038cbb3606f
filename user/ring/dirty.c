/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "ring/dirty.h"

int dirty_create(int fd, uint64_t size, uint64_t offset, struct dirty **out)
{
	struct dirty *d;
	uint64_t end;
	int ret;

	if (!size || __builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	ret = filemap_open(&d->file, fd, end, &d->broken);
	if (ret) {
		free(d);
		return ret;
	}
	d->file.fd = fd;
	d->refs = 1;
	d->size = size;
	d->offset = offset;
	d->bits = d->file.map + offset;
	/* A bit for the last page of the address space is all that a longer log could have. */
	d->npages = size < 1ull << (64 - DIRTY_PAGE_SHIFT - 3) ? size * 8 : 1ull << (64 - DIRTY_PAGE_SHIFT);
	*out = d;
	return 0;
}

struct dirty *dirty_get(struct dirty *d)
{
	d->refs++;
	return d;
}

void dirty_put(struct dirty *d)
{
	if (!d || --d->refs)
		return;
	filemap_close(&d->file);
	free(d);
}

void dirty_mark(struct dirty *d, uint64_t guest_addr, uint64_t len)
{
	uint64_t page = guest_addr >> DIRTY_PAGE_SHIFT, last;

	if (!len)
		return;
	if (__builtin_add_overflow(guest_addr, len - 1, &last))
		last = UINT64_MAX;
	last >>= DIRTY_PAGE_SHIFT;
	if (last >= d->npages)
		last = d->npages - 1;
	/*
	 * Never only a look whether the bit is set already: it could be taken, and the page read, before what we wrote has
	 * left the processor.
	 */
	for (; page <= last; page++)
		__atomic_fetch_or(&d->bits[page / 8], (uint8_t)(1u << page % 8), __ATOMIC_SEQ_CST);
}

int dirty_export(const struct dirty *d, uint64_t *size, uint64_t *offset)
{
	*size = d->size;
	*offset = d->offset;
	return d->file.fd;
}
