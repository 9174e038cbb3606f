/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Test traffic: UDP frames that carry a run number, a flow number, a sequence
 * number and a checksum, and the other end's account of what became of them.
 *
 * Everything behind the first 60 bytes is a piece of a fixed pattern that
 * begins somewhere else in every frame, so bytes left over from an older frame
 * show as damage. One thread.
 */
#ifndef VIADUCT_DRIVER_TRAFFIC_H
#define VIADUCT_DRIVER_TRAFFIC_H

#include "driver/pair.h"

#define TRAFFIC_HEAD 60		/* rewritten for each frame; also the shortest frame */
#define TRAFFIC_MAX_FLOWS 4096

struct traffic_gen {
	uint8_t head[TRAFFIC_HEAD];	/* template */
	uint32_t len;		/* frame without FCS, bytes */
	uint16_t run;		/* random: tells our frames from an earlier or another generator's */
	uint32_t flows;
	uint64_t *seq;		/* next one, per flow */
};

/**
 * traffic_gen_init() - prepare a generator
 * @len: bytes of a frame, TRAFFIC_HEAD..PAIR_MAX_FRAME
 * @flows: UDP source ports to use, 1..TRAFFIC_MAX_FLOWS
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int traffic_gen_init(struct traffic_gen *g, uint32_t len, uint32_t flows, const uint8_t src[6], const uint8_t dst[6]);
void traffic_gen_fini(struct traffic_gen *g);

/* The next frame of a flow. @head holds its first part; the frame refers to it and to the fixed pattern. */
void traffic_frame(struct traffic_gen *g, uint32_t flow, uint8_t head[TRAFFIC_HEAD], struct frame *f);

enum traffic_verdict {
	TRAFFIC_OTHER,		/* not a test frame */
	TRAFFIC_DAMAGED,
	TRAFFIC_DUPLICATED,
	TRAFFIC_OWN,		/* good, and of our own generator */
	TRAFFIC_PEER,		/* good, of another one */
};

struct traffic_counts {
	uint64_t good, reordered, duplicated, damaged, other;
};

struct traffic_flow;

struct traffic_check {
	struct traffic_counts counts;
	const struct traffic_gen *own;	/* NULL = none */
	uint64_t own_good;
	uint32_t last_flow;		/* of the last good frame */
	bool peer_seen;
	uint16_t peer_run;		/* a new run of the other generator starts a new account */
	uint64_t past_lost;		/* of earlier runs */
	struct traffic_flow **flow[2];	/* own, peer */
};

/* @own: the generator whose frames may come back, or NULL. Return: 0 or -ENOMEM. */
int traffic_check_init(struct traffic_check *c, const struct traffic_gen *own);
void traffic_check_fini(struct traffic_check *c);

/* Makes a received frame its answer: addresses and, of a test frame, IP addresses and ports change places. */
void traffic_answer(uint8_t *data, uint32_t len);

/* Judges one received frame. The frame may lie in memory that others write: fields are copied before the checks. */
enum traffic_verdict traffic_check_frame(struct traffic_check *c, const uint8_t *data, uint32_t len);

/**
 * traffic_lost() - frames that are missing
 * @reflected: our own frames were to come back, so one that did not is lost
 *
 * Otherwise a frame counts as lost when a later one of its flow came and it did not.
 */
uint64_t traffic_lost(const struct traffic_check *c, bool reflected);

#endif
