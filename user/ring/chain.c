/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "ring/chain.h"

enum virtq_error walk_add(struct virtq *vq, struct walk *w, uint64_t addr, uint32_t len)
{
	struct iovec *last = w->n ? &w->iov[w->n - 1] : NULL;
	int n;

	if (!len)
		return VIRTQ_OK;
	n = gmem_map(vq->mem, GMEM_GUEST, addr, len, w->iov + w->n, w->max - w->n, &vq->hint);
	if (unlikely(n < 0))
		return n == -E2BIG ? VIRTQ_DROP_PIECES : VIRTQ_DROP_ADDRESS;
	w->total += len;
	if (last && n == 1 && (uint8_t *)last->iov_base + last->iov_len == w->iov[w->n].iov_base)
		last->iov_len += len;
	else
		w->n += n;
	return VIRTQ_OK;
}

enum virtq_error indirect_copy(struct virtq *vq, const struct ring_desc *d, struct indirect *table, unsigned *n)
{
	struct iovec iov[4];
	uint8_t *to = (uint8_t *)table;
	unsigned entries = d->len / sizeof(struct vring_desc);
	int pieces;

	if (!vq->indirect || !d->len || d->len % sizeof(struct vring_desc) || d->flags & VRING_DESC_F_NEXT)
		return VIRTQ_BROKEN_INDIRECT;
	if (entries > INDIRECT_MAX)
		return entries > vq->size ? VIRTQ_BROKEN_INDIRECT : VIRTQ_DROP_PIECES;
	pieces = gmem_map(vq->mem, GMEM_GUEST, d->addr, d->len, iov, 4, &vq->hint);
	if (pieces <= 0)
		return VIRTQ_BROKEN_INDIRECT;
	for (int i = 0; i < pieces; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	*n = entries;
	return VIRTQ_OK;
}
