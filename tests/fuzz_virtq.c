/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzz target: the input is a small program of a hostile driver, of a split or a
 * packed ring. It writes descriptors, indirect tables, heads, indexes, wrap bits
 * and raw bytes into guest memory, between turns of the device side; and now and
 * then the ring stops and starts, or its memory is replaced, or a dirty log comes
 * or goes, or the device is killed and comes back with what was kept of a packed
 * ring, or it goes on elsewhere. Guest memory is two blocks of the heap, so that
 * the sanitizer sees one byte too many on either side of each, and whatever still
 * points into memory that was replaced.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "ring/packed.h"
#include "ring/vnet.h"

#define REGION 0x10000ull
#define GUEST 0x1000ull
#define USER 0x7f0000000000ull
#define MAX_SIZE 64
#define MAX_FRAME 1518
#define AVAIL 0x1000
#define USED 0x2000
#define TABLE 0x4000	/* where indirect tables lie in each region */

static struct gmem_mark mark;	/* of a memory that never breaks */
static struct gmem *mem;
static uint8_t *view[2];	/* the two regions */
static struct dirty *dirty;	/* for all that there is, and nothing in the file behind it */
static struct virtq_kept kept;
static struct virtq_batch batch;
static uint8_t frame[VNET_MAX_GSO];

/* A table without files, with what was in the one before if there was one: nothing is mapped or closed. */
static void set_up(void)
{
	struct gmem *new = calloc(1, sizeof(*new) + 2 * sizeof(new->region[0]));

	new->n = 2;
	new->mark = &mark;
	new->by_user[1] = 1;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *host = malloc(REGION);

		if (view[i])
			memcpy(host, view[i], REGION);
		free(view[i]);
		view[i] = host;
		new->region[i] = (struct gmem_region){
			.start = { GUEST + i * REGION, USER + i * REGION }, .size = REGION, .host = host,
		};
	}
	new->by_host[view[0] < view[1]] = 1;
	free(mem);
	mem = new;
}

/* Where the ring is in it. */
static void place(struct virtq_config *cfg)
{
	struct iovec iov;
	unsigned hint = 0;

	if (gmem_map(mem, GMEM_USER, USER, 0x4000, &iov, 1, &hint) != 1)
		abort();
	cfg->desc = iov.iov_base;
	cfg->avail = (uint8_t *)iov.iov_base + AVAIL;
	cfg->used = (uint8_t *)iov.iov_base + USED;
	cfg->mem = mem;
}

struct input {
	const uint8_t *p;
	size_t left;
};

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t v = 0;

	for (; bytes; bytes--) {
		v = v << 8 | (in->left ? *in->p : 0);
		in->p += in->left > 0;
		in->left -= in->left > 0;
	}
	return v;
}

/* Mostly inside memory, around the border of the regions and of memory, now and then anywhere. */
static uint64_t address(struct input *in)
{
	uint32_t v = take(in, 3);

	switch (v >> 20) {
	case 0:
		return (uint64_t)v << 40 | take(in, 3);
	case 1:
		return GUEST + REGION - (v & 0xff);
	case 2:
		return GUEST + 2 * REGION - (v & 0xff);
	case 3:
		return UINT64_MAX - (v & 0xff);
	}
	return GUEST + (v & 0x1fff0);
}

static uint32_t length(struct input *in)
{
	uint32_t v = take(in, 2);

	return v & 0x8000 ? (v & 0x3f) * 16 : v & 0x4000 ? v << 18 : v & 0x7ff;
}

static void write_desc(struct input *in, struct vring_desc *d, uint32_t size)
{
	uint8_t how = (uint8_t)take(in, 1);

	d->addr = address(in);
	d->len = length(in);
	d->flags = how & 7;
	d->next = how & 0x80 ? (uint16_t)take(in, 2) : (uint16_t)((how >> 3) % size);
}

/* The bits that make a descriptor of a packed ring the next available one, or one of those behind it. */
static uint16_t available(const struct virtq *vq, uint32_t slot)
{
	bool wrap = (vq->next_avail & PACKED_WRAP) != 0;

	if (slot < packed_slot(vq->next_avail))
		wrap = !wrap;
	return wrap ? PACKED_AVAIL : PACKED_USED;
}

static void write_packed(struct input *in, struct vring_packed_desc *d, uint32_t size, uint16_t wrap_bits)
{
	uint8_t how = (uint8_t)take(in, 1);

	d->addr = address(in);
	d->len = length(in);
	d->id = how & 0x80 ? (uint16_t)take(in, 2) : (uint16_t)((how >> 3) % size);
	d->flags = (uint16_t)((how & 7) | wrap_bits);
}

static void check_packet(const struct virtq *vq, const struct virtq_pkt *p)
{
	if (p->len < 14 || !vnet_allowed(vq->features, &p->hdr))
		abort();
	if (p->len > (p->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE ? MAX_FRAME : VNET_MAX_GSO))
		abort();
	virtq_pkt_copy(p, frame);
}

static void drive_tx(struct virtq *vq, uint8_t op)
{
	unsigned n = virtq_tx_get(vq, &batch, (op >> 4) * 4);

	if (n != batch.n || batch.nchains > VIRTQ_BATCH || batch.n > batch.nchains)
		abort();
	for (unsigned i = 0; i < n; i++)
		check_packet(vq, &batch.pkt[i]);
	virtq_tx_put(vq, &batch, op & 8 ? n / 2 : n);
}

static void drive_rx(struct virtq *vq, uint8_t op)
{
	const struct iovec piece[3] = { { frame, 54 }, { frame + 100, 0 }, { frame + 54, 20000 } };
	const struct virtq_more more = { .hdr = { .flags = op, .gso_size = 1448 }, .piece = piece, .npieces = 3,
					.frames = op & 1 ? 14 : 1 };
	struct virtq_src src[8];
	unsigned n = op >> 4 & 7;

	for (unsigned i = 0; i < n; i++)
		src[i] = (struct virtq_src){ .data = frame, .len = 14 + (op * 37 + i * 211) % (MAX_FRAME - 13) };
	if (n && op & 8)
		src[n / 2] = (struct virtq_src){ .len = 20054, .more = &more };
	if (virtq_rx_put(vq, src, n) < n && n)
		virtq_rx_starved(vq, 60);
}

static void drive_device(struct virtq *vq, uint8_t op)
{
	if (vq->dir == VIRTQ_TX)
		drive_tx(vq, op);
	else
		drive_rx(vq, op);
	if (!vq->packed)
		return;
	/* What we have is never more than the ring, and every chain taken is given back in its turn. */
	if (packed_distance(vq, vq->published_used, vq->next_avail) > vq->size)
		abort();
	if (!vq->broken && vq->next_used != vq->next_avail)
		abort();
}

static void publish_packed(struct virtq *vq)
{
	struct vring_packed_desc *first = &vq->packed_desc[packed_slot(vq->published_used)];
	bool staged = vq->next_used != vq->published_used;
	uint16_t want = staged && !vq->broken ? vq->staged_flags : first->flags;

	virtq_publish(vq);
	if (first->flags != want || (!vq->broken && vq->published_used != vq->next_used))
		abort();
}

/* What was staged becomes visible, all of it and nothing else, unless the ring is broken. */
static void publish(struct virtq *vq)
{
	bool staged = vq->next_used != vq->published_used;
	uint16_t want;

	if (vq->packed) {
		publish_packed(vq);
		return;
	}
	want = staged && !vq->broken ? vq->next_used : vq->used->idx;
	virtq_publish(vq);
	if (vq->used->idx != want)
		abort();
}

/* Writes one thing into the ring. */
static void write_split(struct input *in, struct virtq *vq, uint8_t op)
{
	struct vring_desc *desc = (void *)view[0];
	struct vring_avail *avail = (void *)(view[0] + AVAIL);

	switch (op & 7) {
	case 0:
		write_desc(in, &desc[(op >> 3) % vq->size], vq->size);
		break;
	case 1:	/* an entry of an indirect table, which lies where addresses like to point */
		write_desc(in, (struct vring_desc *)(void *)(view[op >> 7] + TABLE) + (op >> 3 & 7), 8);
		break;
	case 2:
		avail->ring[avail->idx % vq->size] = op & 0x80 ? (uint16_t)take(in, 2) : (op >> 3) % vq->size;
		avail->idx++;
		break;
	case 3:
		avail->idx = (uint16_t)(op & 0x80 ? take(in, 2) : vq->next_avail + vq->size);
		break;
	}
}

static void write_ring_packed(struct input *in, struct virtq *vq, uint8_t op)
{
	struct vring_packed_desc *desc = (void *)view[0];
	uint32_t slot = (packed_slot(vq->next_avail) + (op >> 3)) % vq->size;

	switch (op & 7) {
	case 0:	/* one of the next descriptors */
		write_packed(in, &desc[slot], vq->size, available(vq, slot));
		break;
	case 1:
		write_packed(in, (struct vring_packed_desc *)(void *)(view[op >> 7] + TABLE) + (op >> 3 & 7), 8, 0);
		break;
	case 2:	/* what is there is made available */
		desc[slot].flags = (uint16_t)((desc[slot].flags & PACKED_MEANING) | available(vq, slot));
		break;
	case 3:
		if (op & 0x80)
			desc[slot].flags = (uint16_t)take(in, 2);
		else
			*(uint32_t *)(void *)(view[0] + AVAIL) = take(in, 4);
		break;
	}
}

static void restart(struct virtq *vq, const struct virtq_config *cfg)
{
	struct virtq_config again = *cfg;

	if (vq->stats.packets & 1)
		virtq_forget_kept(vq);
	again.base = virtq_stop(vq);
	if (virtq_start(vq, &again) || vq->broken || vq->resume)
		abort();
	if (vq->packed && !virtq_found_position(vq) &&
	    (vq->next_avail != (uint16_t)again.base || vq->next_avail != again.base >> 16))
		abort();
}

/* The device ends as it is, and another one knows only what was kept, if that. */
static void killed(struct input *in, struct virtq *vq, const struct virtq_config *cfg, bool garbled)
{
	struct virtq_config again = *cfg;

	if (garbled) {
		kept.size ^= (take(in, 1) & 1) << 31;
		kept.published ^= (uint16_t)(take(in, 1) * 0x101 & 0x801f);
		kept.next ^= (uint16_t)(take(in, 1) * 0x101 & 0x801f);
	}
	*vq = (struct virtq){ .enabled = 1 };
	again.base = cfg->features >> VIRTIO_F_RING_PACKED & 1 ? 0x80008000 : 0;
	if (garbled && again.base) {	/* and what a front-end believes */
		again.base = take(in, 1);
		again.base = again.base % cfg->size | (again.base & 0x80 ? PACKED_WRAP : 0);
	}
	if (virtq_start(vq, &again) || (vq->packed && packed_slot(vq->next_avail) >= vq->size))
		abort();
}

static void elsewhere(struct virtq *vq, const struct virtq_config *cfg)
{
	struct virtq_saved saved;

	virtq_save(vq, &saved);
	*vq = (struct virtq){ 0 };
	if (virtq_restore(vq, cfg, &saved) || vq->next_avail != saved.next_avail || !vq->enabled)
		abort();
}

/* What the control thread does between batches: what is staged has been published, the lock is free. */
static void control(struct input *in, struct virtq *vq, struct virtq_config *cfg, uint8_t op)
{
	uint16_t avail = vq->next_avail, used = vq->next_used;

	if ((op & 0x38) == 0x38) {
		killed(in, vq, cfg, op & 0x80);
		return;
	}
	publish(vq);
	if (op & 8) {
		set_up();
		place(cfg);
		virtq_relocate(vq, cfg->mem, cfg->desc, cfg->avail, cfg->used);
		if (vq->next_avail != avail || vq->next_used != used)
			abort();
	}
	if (op & 0x10)
		restart(vq, cfg);
	if (!(op & 0x20))
		return;
	virtq_set_max_frame(vq, MAX_FRAME);
	cfg->log = vq->log ? NULL : dirty;
	cfg->log_addr = address(in);
	virtq_log(vq, cfg->log, cfg->log_ring, cfg->log_addr);
	if (op & 0x80)
		elsewhere(vq, cfg);
}

static void step(struct input *in, struct virtq *vq, struct virtq_config *cfg)
{
	uint8_t op = (uint8_t)take(in, 1);

	switch (op & 7) {
	case 4: {
		uint32_t at = take(in, 2);

		view[at & 1][at] = op;
		break;
	}
	case 5:
	case 6:
		drive_device(vq, op);
		break;
	case 7:
		if (op & 0x80)
			virtq_arm(vq);
		else
			virtq_disarm(vq);
		virtq_pending(vq);
		if (op & 0x40)
			publish(vq);
		if (op & 0x38)
			control(in, vq, cfg, op);
		break;
	default:
		if (vq->packed)
			write_ring_packed(in, vq, op);
		else
			write_split(in, vq, op);
	}
	if (vq->broken)
		restart(vq, cfg);
}

/* The ring's kind, size, position and features, from the first four bytes. */
static struct virtq_config configure(struct input *in)
{
	static const uint64_t offloads[8] = {
		0, VNET_BIT(VIRTIO_NET_F_CSUM), VNET_HOST_OFFLOADS, VNET_OFFLOADS,
		VNET_BIT(VIRTIO_NET_F_CSUM) | VNET_BIT(VIRTIO_NET_F_HOST_TSO4),
		VNET_BIT(VIRTIO_NET_F_CSUM) | VNET_BIT(VIRTIO_NET_F_HOST_TSO6) | VNET_BIT(VIRTIO_NET_F_HOST_ECN),
		VNET_BIT(VIRTIO_NET_F_CSUM) | VNET_BIT(VIRTIO_NET_F_HOST_USO), VNET_GUEST_OFFLOADS,
	};
	uint8_t how = (uint8_t)take(in, 1), kind = (uint8_t)take(in, 1), offset = (uint8_t)take(in, 1);
	uint8_t position = (uint8_t)take(in, 1);
	bool is_packed = kind & 1;
	uint32_t size = is_packed ? 1u + position % MAX_SIZE : 1u << (how >> 1) % 7;

	((struct vring_avail *)(void *)(view[0] + AVAIL))->idx = is_packed ? 0 : (uint16_t)(65536 - offset);
	return (struct virtq_config){
		.dir = how & 1 ? VIRTQ_TX : VIRTQ_RX,
		.size = size,
		.features = (how & 0x10 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0) |
			    (how & 0x20 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0) |
			    (how & 0x40 ? 1ull << VIRTIO_NET_F_MRG_RXBUF : 0) |
			    (how & 0x80 ? 1ull << VIRTIO_F_VERSION_1 : 0) |
			    (is_packed ? 1ull << VIRTIO_F_RING_PACKED : 0) | offloads[kind >> 1 & 7],
		.base = is_packed ? offset % size | (offset & 0x80 ? PACKED_WRAP : 0) : (uint16_t)(65536 - offset),
		.max_frame = MAX_FRAME,
		.callfd = -1,
		.kickfd = -1,
		.log = kind & 0x40 ? dirty : NULL,
		.log_ring = kind & 0x20,
		.log_addr = GUEST + USED,
		.kept = kind & 0x80 ? &kept : NULL,
	};
}

static void open_log(void)
{
	const uint64_t size = (GUEST + 2 * REGION) / 0x8000 + 1;
	int fd = memfd_create("log", 0);

	if (ftruncate(fd, (off_t)size) || dirty_create(fd, size, 0, &dirty))
		abort();
}

/* No page is marked that is not the guest's, but where the ring is said to be logged. */
static void check_log(const struct virtq_config *cfg)
{
	if (!(cfg->features >> VIRTIO_F_RING_PACKED & 1))
		return;
	if (dirty->bits[0] & 1 || dirty->bits[dirty->size - 1] >> ((GUEST + 2 * REGION) / 0x1000 % 8))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct virtq vq = { .enabled = 1 };
	struct virtq_config cfg;

	if (!mem) {
		set_up();
		open_log();
	}
	memset(dirty->bits, 0, dirty->size);
	kept = (struct virtq_kept){ 0 };
	memset(view[0], 0, REGION);
	memset(view[1], 0, REGION);
	cfg = configure(&in);
	place(&cfg);
	if (virtq_start(&vq, &cfg))
		abort();
	while (in.left)
		step(&in, &vq, &cfg);
	virtq_stop(&vq);
	check_log(&cfg);
	return 0;
}
