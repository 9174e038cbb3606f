/* SPDX-License-Identifier: BSD-2-Clause */
#include "ring/dirty.h"
#include "ring/marks.h"

void mark_host(const struct virtq *vq, const void *p, uint64_t len)
{
	uint64_t addr, part;

	for (; len; p = (const uint8_t *)p + part, len -= part) {
		if (gmem_guest_of(vq->mem, p, len, &addr, &part))
			return;
		dirty_mark(vq->log, addr, part);
	}
}

void mark_ring(const struct virtq *vq, const void *p, uint32_t len)
{
	uint64_t addr, offset = (uintptr_t)p - (uintptr_t)vq->used;

	if (vq->packed)
		mark_host(vq, p, len);
	else if (!__builtin_add_overflow(vq->log_addr, offset, &addr))	/* hostile, and in no log when it wraps */
		dirty_mark(vq->log, addr, len);
}
