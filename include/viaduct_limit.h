/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Rate limits that the XDP program and the workers share: token buckets, kept as
 * the time at which the next frame would be due at exactly the rate (GCRA). Being
 * one number, that time can be moved on by whoever has a frame, without a lock. A
 * frame may come @burst before it is due.
 *
 * A race lets through a frame more or less, never a rate.
 */
#ifndef VIADUCT_LIMIT_H
#define VIADUCT_LIMIT_H

#include "viaduct_steer.h"

#define VD_LIMIT_SHIFT 20		/* costs are in nanoseconds << VD_LIMIT_SHIFT */
#define VD_LIMIT_TICK 6			/* times are in nanoseconds << VD_LIMIT_TICK: short frames take few of them */
#define VD_LIMIT_BURST_NS 10000000u	/* what may come at once: so much of the rate, but at least: */
#define VD_LIMIT_MIN_BYTES 131072u	/* two of the longest packets */
#define VD_LIMIT_MIN_FRAMES 64u

/* limits[port]: mmap-able. Of frames to the guest. */
struct vd_limit {
	__u64 bit_due, frame_due;	/* ticks, CLOCK_MONOTONIC */
	__u64 byte_cost, frame_cost;	/* ns << VD_LIMIT_SHIFT; 0 = no limit */
	__u64 bit_burst, frame_burst;	/* ticks */
	__u64 reserved[2];
};

VD_INLINE int vd_limit_late(const __u64 *due, __u64 burst, __u64 now_ns)
{
	return *(const volatile __u64 *)due > (now_ns << VD_LIMIT_TICK) + burst;
}

/* A due time in the past is no credit beyond the burst. */
VD_INLINE void vd_limit_move(__u64 *due, __u64 cost, __u64 now_ns)
{
	__u64 was = *(const volatile __u64 *)due, now = now_ns << VD_LIMIT_TICK;

	if (was < now)
		__sync_val_compare_and_swap(due, was, now);
	__sync_fetch_and_add(due, (cost + (1ull << (VD_LIMIT_SHIFT - VD_LIMIT_TICK - 1))) >> (VD_LIMIT_SHIFT - VD_LIMIT_TICK));
}

/* Counts @n frames of @bytes together; both are small enough for costs not to overflow: 8192, and a megabyte. */
VD_INLINE void vd_limit_charge_many(struct vd_limit *l, __u32 bytes, __u32 n, __u64 now_ns)
{
	if (l->byte_cost)
		vd_limit_move(&l->bit_due, l->byte_cost * bytes, now_ns);
	if (l->frame_cost)
		vd_limit_move(&l->frame_due, l->frame_cost * n, now_ns);
}

/**
 * vd_limit_charge() - count a frame, whether or not it was within the limit
 * @len: bytes. Any thread, and the program.
 */
VD_INLINE void vd_limit_charge(struct vd_limit *l, __u32 len, __u64 now_ns)
{
	if (l->byte_cost)
		vd_limit_move(&l->bit_due, l->byte_cost * len, now_ns);
	if (l->frame_cost)
		vd_limit_move(&l->frame_due, l->frame_cost, now_ns);
}

/* Is there no room for a frame? Any thread, and the program. */
VD_INLINE int vd_limit_exceeded(const struct vd_limit *l, __u64 now_ns)
{
	return (l->byte_cost && vd_limit_late(&l->bit_due, l->bit_burst, now_ns)) ||
	       (l->frame_cost && vd_limit_late(&l->frame_due, l->frame_burst, now_ns));
}

/**
 * vd_limit_take() - may a frame pass? It is counted if it may
 * @len: bytes. Any thread, and the program.
 */
VD_INLINE int vd_limit_take(struct vd_limit *l, __u32 len, __u64 now_ns)
{
	if (vd_limit_exceeded(l, now_ns))
		return 0;
	vd_limit_charge(l, len, now_ns);
	return 1;
}

#ifndef __bpf__
/**
 * vd_limit_set() - begin anew with these rates
 * @bps: bits a second, 0 = any. @fps: frames a second, 0 = any.
 *
 * Nobody may be using it. Rates below 1000 bits, or above a frame per ns, are taken for that.
 */
static inline void vd_limit_set(struct vd_limit *l, uint64_t bps, uint64_t fps)
{
	memset(l, 0, sizeof(*l));
	if (bps) {
		bps = bps < 1000 ? 1000 : bps;
		l->byte_cost = (8000000000ull << VD_LIMIT_SHIFT) / bps;
		l->byte_cost = l->byte_cost ? l->byte_cost : 1;
		l->bit_burst = (VD_LIMIT_MIN_BYTES * l->byte_cost) >> VD_LIMIT_SHIFT;
		l->bit_burst = (l->bit_burst > VD_LIMIT_BURST_NS ? l->bit_burst : VD_LIMIT_BURST_NS) << VD_LIMIT_TICK;
	}
	if (fps) {
		l->frame_cost = (1000000000ull << VD_LIMIT_SHIFT) / fps;
		l->frame_cost = l->frame_cost ? l->frame_cost : 1;
		l->frame_burst = (VD_LIMIT_MIN_FRAMES * l->frame_cost) >> VD_LIMIT_SHIFT;
		l->frame_burst = (l->frame_burst > VD_LIMIT_BURST_NS ? l->frame_burst : VD_LIMIT_BURST_NS)
				 << VD_LIMIT_TICK;
	}
}

static_assert(sizeof(struct vd_limit) == 64, "map format");
#endif

#endif
