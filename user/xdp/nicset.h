/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Features of the NIC that viaduct switches and gives back: VLAN tag stripping
 * and the VLAN receive filter go off, because a NIC that strips tags does so
 * before the XDP program sees the frame, and guests would lose them. With
 * --hw-steer rules for the receive queue go on. Control thread only.
 */
#ifndef VIADUCT_XDP_NICSET_H
#define VIADUCT_XDP_NICSET_H

#include "xdp/restore.h"

enum nicset_feature { NICSET_RXVLAN, NICSET_RXVLAN_FILTER, NICSET_NTUPLE, NICSET_FEATURES };

/* Another tool wants it otherwise: so many times within so long we put it right, then it is left. */
#define NICSET_REPAIRS 5
#define NICSET_REPAIRS_NS (60ull * 1000000000)

/* How often we had to put one right. */
struct nicset_fight {
	uint64_t since_ns;			/* of the first of the repairs that count */
	unsigned repairs;
	bool left;				/* it stays as the other tool wants it, until that puts it right */
};

/* What nicset_check() found. */
struct nicset_found {
	bool changed;				/* something had been switched back */
	bool repaired;				/* and all of it stands as we need it again */
};

struct nicset {
	struct restore *restore;
	int before[NICSET_FEATURES];		/* 1 on, 0 off, -1 not known by the driver */
	int now[NICSET_FEATURES];		/* as read back last */
	bool switched[NICSET_FEATURES];		/* by us: to be put back */
	int want[NICSET_FEATURES];		/* -1 = as it may be, or as the driver has it */
	struct nicset_fight fight[NICSET_FEATURES];
};

/**
 * nicset_apply() - switch the features as we need them and note what they were
 * @restore: kept; what a dead instance noted is what they were
 * @ntuple: rules for the receive queue are wanted
 *
 * A driver that does not know or does not allow it is no error; see @s->now afterwards.
 * Return: 0, or -errno when it cannot be noted (then nothing was changed).
 */
int nicset_apply(struct nicset *s, struct restore *restore, bool ntuple);
/* Reads the features back into @s->now. */
void nicset_read(struct nicset *s);
/**
 * nicset_check() - read the features back, and switch again what somebody switched back
 * @now_ns: on the clock of clock_now()
 *
 * What did not become as we need it by nicset_apply() is the driver's wish, and no change. What is to be put back at the
 * end is what it was before, or, of a feature that had been right, what the other tool made of it. Logs each repair, and
 * once when it is given up.
 */
struct nicset_found nicset_check(struct nicset *s, uint64_t now_ns);
/* Puts back what nicset_apply() changed. Safe without a nicset_apply(). */
void nicset_restore(struct nicset *s);

#endif
