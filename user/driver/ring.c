// SPDX-License-Identifier: BSD-2-Clause
/* What split and packed rings have in common. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "driver/ring_kinds.h"

#define ALIGN64(x) (((x) + 63) & ~63ull)

static_assert(sizeof(struct vring_desc) == sizeof(struct vring_packed_desc), "one layout for both kinds");

/* The two event structures of a packed ring are smaller than what lies in their place in a split one. */
static uint64_t avail_offset(uint64_t size)
{
	return ALIGN64(size * sizeof(struct vring_desc));
}

static uint64_t used_offset(uint64_t size)
{
	return avail_offset(size) + ALIGN64(6 + 2 * size);
}

static uint64_t table_offset(uint64_t size)
{
	return used_offset(size) + ALIGN64(6 + 8 * size);
}

uint64_t dring_bytes(uint32_t size, uint32_t table_sg)
{
	return table_offset(size) + ALIGN64(sizeof(struct vring_desc) * table_sg * (uint64_t)size);
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

static int init_private(struct dring *r)
{
	uint32_t room = 1;

	while (room < r->size)
		room *= 2;
	r->done_mask = room - 1;
	r->done = calloc(room, sizeof(*r->done));
	r->slot = calloc(r->size, sizeof(*r->slot));
	if (!r->done || !r->slot)
		return -ENOMEM;
	/* In order the list is a circle: slots are used in ring order, starting from 0 (2.7.5). */
	for (uint32_t i = 0; i < r->size; i++)
		r->slot[i].next = (uint16_t)(i + 1u == r->size ? 0 : i + 1);
	return 0;
}

int dring_init(struct dring *r, void *mem, uint64_t addr, uint32_t size, uint32_t table_sg, uint64_t features)
{
	bool indirect = has(features, VIRTIO_RING_F_INDIRECT_DESC) && table_sg;
	bool packed = has(features, VIRTIO_F_RING_PACKED);
	uint8_t *p = mem;
	int ret;

	*r = (struct dring){ .kickfd = -1, .callfd = -1 };
	if (!size || size > DRING_MAX_SIZE || (!packed && size & (size - 1)) || table_sg > DRING_MAX_SG)
		return -EINVAL;
	*r = (struct dring){
		.size = (uint16_t)size,
		.packed = packed,
		.event_idx = has(features, VIRTIO_RING_F_EVENT_IDX),
		.in_order = has(features, VIRTIO_F_IN_ORDER),
		.desc = mem,
		.avail = (void *)(p + avail_offset(size)),
		.used = (void *)(p + used_offset(size)),
		.avail_event = (void *)(p + used_offset(size) + 4 + 8 * (uint64_t)size),
		.table = indirect ? p + table_offset(size) : NULL,
		.table_addr = addr + table_offset(size),
		.table_sg = (uint16_t)table_sg,
		.nfree = (uint16_t)size,
		.avail_flags = 1u << VRING_PACKED_DESC_F_AVAIL,
		.used_flags = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED,
		.kickfd = -1,
		.callfd = -1,
	};
	memset(mem, 0, table_offset(size));
	ret = init_private(r);
	if (ret)
		dring_fini(r);
	return ret;
}

void dring_fini(struct dring *r)
{
	free(r->slot);
	free(r->done);
	*r = (struct dring){ .kickfd = -1, .callfd = -1 };
}

/* ---- lending ---- */

static void add_indirect(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t i)
{
	uint64_t addr = r->table_addr + (uint64_t)i * r->table_sg * sizeof(struct vring_desc);
	uint32_t len = (uint32_t)(n * sizeof(struct vring_desc));

	if (r->packed) {
		dring_packed_table(r, sg, out, n, i);
		dring_packed_put(r, addr, len, VRING_DESC_F_INDIRECT, i);
	} else {
		dring_split_table(r, sg, out, n, i);
		dring_split_put(r, addr, len, VRING_DESC_F_INDIRECT, i);
	}
}

int dring_add(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned in, uint32_t token)
{
	unsigned n = out + in;
	bool indirect = r->table && n > 1 && n <= r->table_sg;
	uint64_t writable = 0;
	uint16_t i;

	if (!n || n > DRING_MAX_SG || n > r->size)
		return -EINVAL;
	if (r->nfree < (indirect ? 1 : n))
		return -ENOSPC;
	for (unsigned k = out; k < n; k++)
		writable += sg[k].len;
	i = dring_lend(r, (uint16_t)(indirect ? 1 : n), writable > UINT32_MAX ? UINT32_MAX : (uint32_t)writable,
		       token);
	if (indirect)
		add_indirect(r, sg, out, n, i);
	else if (r->packed)
		dring_packed_chain(r, sg, out, n, i);
	else
		dring_split_chain(r, sg, out, n, i);
	return 0;
}

bool dring_kick(struct dring *r)
{
	uint64_t one = 1;
	bool wanted;

	if (!(r->packed ? dring_packed_publish(r, &wanted) : dring_split_publish(r, &wanted)))
		return false;
	if (!wanted || r->kickfd < 0) {
		r->kicks_suppressed++;
		return false;
	}
	if (write(r->kickfd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		return false;	/* non-blocking and full: the kick is there already */
	r->kicks++;
	return true;
}

/* ---- taking back ---- */

unsigned dring_pending(struct dring *r)
{
	if (r->broken)
		return 0;
	/* Started again from 0 whenever possible, so that a large ring needs only a few lines of it. */
	if (r->done_get == r->done_put)
		r->done_get = r->done_put = 0;
	if (r->packed)
		dring_packed_harvest(r);
	else
		dring_split_harvest(r);
	return r->broken ? 0 : r->done_put - r->done_get;
}

bool dring_arm(struct dring *r)
{
	if (r->packed)
		dring_packed_notify(r, true);
	else
		dring_split_notify(r, true);
	full_barrier();	/* our wish before our second look */
	return dring_pending(r) > 0;
}

void dring_disarm(struct dring *r)
{
	if (r->packed)
		dring_packed_notify(r, false);
	else
		dring_split_notify(r, false);
}
