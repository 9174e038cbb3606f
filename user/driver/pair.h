/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One queue pair of the driver: Ethernet frames in and out of two rings, with
 * the virtio-net header that the negotiated features ask for (virtio: "Network
 * Device", "Device Operation"). pair_rx() and pair_tx() are the whole data
 * interface. Pure: shared memory and two event fds are all it needs. One thread.
 */
#ifndef VIADUCT_DRIVER_PAIR_H
#define VIADUCT_DRIVER_PAIR_H

#include <stddef.h>
#include <sys/uio.h>

#include "driver/netfeatures.h"
#include "driver/ring.h"

#define PAIR_BATCH 64
#define PAIR_BUF 2048u		/* bytes of one buffer */
#define PAIR_MAX_FRAME 9018	/* Ethernet frame without FCS: MTU 9000, one VLAN tag */
#define PAIR_MAX_GSO (65535 + 14 + 8)	/* with GSO: 64 KiB - 1 of IP, Ethernet header, two VLAN tags */
#define PAIR_TX_PIECES ((PAIR_MAX_GSO + 12 + PAIR_BUF - 1) / PAIR_BUF)
#define PAIR_GSO_RING 64	/* descriptors of a ring that carries GSO frames, at least */

/*
 * A frame; to send it may be in two parts. The header is all zero but for what was negotiated: a checksum that is to
 * be finished (or need not be looked at), and how to segment the frame. num_buffers is 0 in both directions.
 */
struct frame {
	uint8_t *data;
	uint32_t len;
	const uint8_t *tail;
	uint32_t tail_len;
	struct virtio_net_hdr_v1 hdr;
};

struct pair_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_errors;	/* too short, or too long when merged */
	uint64_t tx_errors;	/* too short or too long to send, or with an offload that was not negotiated */
};

/* The buffers of a ring: as many as it has descriptors, known by their number. */
struct pair_bufs {
	uint8_t *base;
	uint64_t addr;		/* of @base, for the device */
	uint32_t nfree;
	uint16_t *free;		/* stack */
	uint16_t *next;		/* tx: the rest of a frame that takes several */
	uint8_t *count;		/* tx: buffers of the frame, by its first one */
};

struct pair {
	struct dring rx, tx;
	struct pair_bufs rxb, txb;
	uint64_t features;	/* negotiated */
	uint8_t hdr_len;	/* 10 or 12 */
	bool merge;		/* VIRTIO_NET_F_MRG_RXBUF */
	bool split_hdr;		/* legacy: the header has a descriptor of its own */
	bool broken;		/* the device wrote nonsense: start again with a new connection */
	uint32_t max_rx, max_tx;	/* bytes of a frame; to send, as far as the ring takes it */
	unsigned nheld;
	uint16_t held[PAIR_BATCH];	/* rx buffers that the caller is looking at */
	uint8_t *scratch;	/* merged frames, one behind the other */
	uint32_t scratch_used;
	struct pair_stats stats;
};

/* Bytes of shared memory, a multiple of the page size, for a pair whose rings have @size descriptors. */
uint64_t pair_mem_size(uint32_t size, uint64_t features);

/**
 * pair_init() - lay both rings out and fill the rx ring
 * @size: descriptors per ring, at least 2; split rings: a power of two
 * @mem: zeroed, page-aligned, pair_mem_size(@size, @features) bytes
 * @guest_addr: what the device calls @mem
 * @features: negotiated; with GSO in one direction @size is at least PAIR_GSO_RING, or such frames do not pass
 *
 * The rx buffers are published, not kicked: do that once the device knows the ring.
 * Return: 0 or -ENOMEM.
 */
int pair_init(struct pair *p, uint32_t size, void *mem, uint64_t guest_addr, uint64_t features);
/* Frees what pair_init() allocated; safe on a zeroed struct. */
void pair_fini(struct pair *p);

/**
 * pair_rx() - receive frames
 * @f: filled; the data stays valid (and may be written) until the next call for this pair
 * @max: at most so many (<= PAIR_BATCH)
 *
 * First gives the buffers of the last call back to the device.
 * Return: number of frames. p->broken says that the device wrote nonsense.
 */
unsigned pair_rx(struct pair *p, struct frame *f, unsigned max);

/**
 * pair_tx_room() - how many frames can be sent now
 * @want: do not bother beyond this
 * @len: bytes of each frame, both parts
 *
 * Collects what the device has sent. Return: 0..@want.
 */
unsigned pair_tx_room(struct pair *p, unsigned want, uint32_t len);

/**
 * pair_tx() - send frames: one copy into the pair's buffers, one publish, one kick at most
 * Return: frames taken; fewer than @n = the ring is full (or the pair is broken). Frames that can never
 * be sent (under 14 bytes, over PAIR_MAX_FRAME, or with GSO PAIR_MAX_GSO) are taken and counted.
 */
unsigned pair_tx(struct pair *p, const struct frame *f, unsigned n);

/**
 * pair_tx_reserve() - where the next frame to send can be written, to save the copy
 * @iov: PAIR_TX_PIECES entries, filled with pieces for a frame of p->max_tx bytes, and often some more
 *
 * Nothing is taken until pair_tx_commit(). Return: number of pieces; 0 = no room now.
 */
unsigned pair_tx_reserve(struct pair *p, struct iovec *iov);

/**
 * pair_tx_commit() - send the frame that was written there
 * @hdr: its header
 * @len: its bytes, without the header
 *
 * Straight after pair_tx_reserve(). pair_tx_flush() shows it to the device.
 * Return: false when it cannot be sent, which is counted.
 */
bool pair_tx_commit(struct pair *p, const struct virtio_net_hdr_v1 *hdr, uint32_t len);
void pair_tx_flush(struct pair *p);

#endif
