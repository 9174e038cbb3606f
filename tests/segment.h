/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets for segment_plan(), and frames of segment_write() beside what they must be. */
#ifndef TESTS_SEGMENT_H
#define TESTS_SEGMENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "offload.h"
#include "ring/segment.h"

#define WIRE 1518u	/* longest frame, as in segment_plan() */

static struct segment_plan plan;
static struct iovec piece[OFFLOAD_MAX];
static uint8_t *packet;		/* exactly as long as it is, so that the sanitizer sees one byte too many */
static uint8_t want[OFFLOAD_MAX];

static inline uint32_t number(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

/* --- packets and frames ----------------------------------------------------- */

static inline struct virtq_pkt raw(const void *data, uint32_t len)
{
	free(packet);
	packet = malloc(len);
	memcpy(packet, data, len);
	piece[0] = (struct iovec){ packet, len };
	return (struct virtq_pkt){ .npieces = 1, .len = len, .piece = piece };
}

/* As a driver leaves it, in one piece. @gso_size 0: the checksum only. */
static inline struct virtq_pkt packet_of(const struct offload *o, uint32_t gso_size)
{
	uint32_t len = offload_build(want, o, false);
	struct virtq_pkt p = raw(want, len);

	p.hdr = offload_header(o, gso_size);
	return p;
}

/* The same packet in pieces of 1..@max bytes. */
static inline void scatter(struct virtq_pkt *p, uint32_t max, uint64_t *seed)
{
	uint32_t at = 0;

	for (p->npieces = 0; at < p->len; p->npieces++) {
		uint32_t len = number(seed) % max + 1;

		len = len < p->len - at ? len : p->len - at;
		piece[p->npieces] = (struct iovec){ packet + at, len };
		at += len;
	}
}

/* Writes frame @i into one buffer that has not a byte too many. Free it. */
static inline uint8_t *frame(const struct virtq_pkt *p, uint32_t i)
{
	struct iovec to = { malloc(segment_len(&plan, i)), segment_len(&plan, i) };

	memset(to.iov_base, 0xee, to.iov_len);
	segment_write(&plan, p, i, &to, 1);
	return to.iov_base;
}

static inline void check_frame(const struct virtq_pkt *p, const struct offload *o, uint32_t mss, uint32_t i)
{
	struct offload f = offload_cut(o, mss, i);
	uint8_t *got;

	assert_int_equal(segment_len(&plan, i), offload_build(want, &f, true));
	assert_true(segment_len(&plan, i) <= plan.frame_len);
	got = frame(p, i);
	assert_memory_equal(got, want, segment_len(&plan, i));
	free(got);
}

/* The plan of @p is to cut it every @mss bytes, and all frames are right. */
static inline void check_packet(const struct virtq_pkt *p, const struct offload *o, uint32_t mss, uint32_t max_frame)
{
	assert_int_equal(segment_plan(&plan, p, max_frame), VIRTQ_OK);
	assert_int_equal(plan.nframes, offload_count(o, mss));
	for (uint32_t i = 0; i < plan.nframes; i++)
		check_frame(p, o, mss, i);
}

static inline void check(const struct offload *o, uint32_t gso_size)
{
	struct virtq_pkt p = packet_of(o, gso_size);

	check_packet(&p, o, gso_size, WIRE);
}

static inline void refused(const struct virtq_pkt *p, enum virtq_error e)
{
	assert_int_equal(segment_plan(&plan, p, WIRE), e);
}

static inline int cleanup(void **state)
{
	(void)state;
	free(packet);
	return 0;
}

#endif
