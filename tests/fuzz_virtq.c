/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzz target: the input is a small program of a hostile driver. It writes
 * descriptors, indirect tables, heads, indexes and raw bytes into guest memory,
 * between turns of the device side. Guest memory is two blocks of the heap, so
 * that the sanitizer sees one byte too many on either side of each.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "ring/virtq.h"

#define REGION 0x10000ull
#define GUEST 0x1000ull
#define USER 0x7f0000000000ull
#define MAX_SIZE 64
#define MAX_FRAME 1518
#define AVAIL 0x1000
#define USED 0x2000

static struct gmem *mem;
static uint8_t *view[2];	/* the two regions */
static struct virtq_batch batch;
static uint8_t frame[65536];

/* A table without files: nothing is mapped or closed. */
static void set_up(void)
{
	mem = calloc(1, sizeof(*mem) + 2 * sizeof(mem->region[0]));
	mem->n = 2;
	for (unsigned i = 0; i < 2; i++) {
		view[i] = malloc(REGION);
		mem->region[i] = (struct gmem_region){
			.start = { GUEST + i * REGION, USER + i * REGION }, .size = REGION, .host = view[i],
		};
	}
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

static void drive_device(struct virtq *vq, uint8_t op)
{
	struct virtq_src src[8];
	unsigned n = op >> 4;

	if (vq->dir == VIRTQ_TX) {
		n = virtq_tx_get(vq, &batch, n * 4);
		for (unsigned i = 0; i < n; i++) {
			if (batch.pkt[i].len < 14 || batch.pkt[i].len > MAX_FRAME)
				abort();
			virtq_pkt_copy(&batch.pkt[i], frame);
		}
		virtq_tx_put(vq, &batch, n);
		return;
	}
	for (unsigned i = 0; i < (n & 7); i++)
		src[i] = (struct virtq_src){ frame, 14 + (op * 37 + i * 211) % (MAX_FRAME - 13) };
	virtq_rx_put(vq, src, n & 7);
}

/* What was staged becomes visible, all of it and nothing else, unless the ring is broken. */
static void publish(struct virtq *vq)
{
	bool staged = vq->next_used != vq->published_used;
	uint16_t want = staged && !vq->broken ? vq->next_used : vq->used->idx;

	virtq_publish(vq);
	if (vq->used->idx != want)
		abort();
}

static void step(struct input *in, struct virtq *vq, const struct virtq_config *cfg)
{
	struct vring_desc *desc = (void *)view[0];
	struct vring_avail *avail = (void *)(view[0] + AVAIL);
	uint8_t op = (uint8_t)take(in, 1);

	switch (op & 7) {
	case 0:
		write_desc(in, &desc[(op >> 3) % vq->size], vq->size);
		break;
	case 1:	/* an entry of an indirect table, which lies where addresses like to point */
		write_desc(in, (struct vring_desc *)(void *)(view[op >> 7] + 0x4000) + (op >> 3 & 7), 8);
		break;
	case 2:
		avail->ring[avail->idx % vq->size] = op & 0x80 ? (uint16_t)take(in, 2) : (op >> 3) % vq->size;
		avail->idx++;
		break;
	case 3:
		avail->idx = (uint16_t)(op & 0x80 ? take(in, 2) : vq->next_avail + vq->size);
		break;
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
		if (virtq_pending(vq) > vq->size)
			abort();
		if (op & 0x40)
			publish(vq);
		break;
	}
	if (vq->broken) {
		struct virtq_config again = *cfg;

		again.base = virtq_stop(vq);
		if (virtq_start(vq, &again))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct virtq vq = { .enabled = 1 };
	struct virtq_config cfg;
	uint8_t how, offset;
	struct iovec iov;
	unsigned hint = 0;

	if (!mem)
		set_up();
	memset(view[0], 0, REGION);
	memset(view[1], 0, REGION);
	how = (uint8_t)take(&in, 1);
	offset = (uint8_t)take(&in, 1);
	((struct vring_avail *)(void *)(view[0] + AVAIL))->idx = (uint16_t)(65536 - offset);
	if (gmem_map(mem, GMEM_USER, USER, 0x4000, &iov, 1, &hint) != 1)
		abort();
	cfg = (struct virtq_config){
		.dir = how & 1 ? VIRTQ_TX : VIRTQ_RX,
		.size = 1u << (how >> 1) % 7,
		.features = (how & 0x10 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0) |
			    (how & 0x20 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0) |
			    (how & 0x40 ? 1ull << VIRTIO_NET_F_MRG_RXBUF : 0) |
			    (how & 0x80 ? 1ull << VIRTIO_F_VERSION_1 : 0),
		.desc = iov.iov_base,
		.avail = (uint8_t *)iov.iov_base + AVAIL,
		.used = (uint8_t *)iov.iov_base + USED,
		.mem = mem,
		.base = (uint16_t)(65536 - offset),
		.max_frame = MAX_FRAME,
		.callfd = -1,
		.kickfd = -1,
	};
	if (virtq_start(&vq, &cfg))
		abort();
	while (in.left)
		step(&in, &vq, &cfg);
	virtq_stop(&vq);
	return 0;
}
