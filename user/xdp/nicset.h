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

struct nicset {
	struct restore *restore;
	int before[NICSET_FEATURES];		/* 1 on, 0 off, -1 not known by the driver */
	int now[NICSET_FEATURES];		/* as read back last */
	bool switched[NICSET_FEATURES];		/* by us: to be put back */
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
/* Puts back what nicset_apply() changed. Safe without a nicset_apply(). */
void nicset_restore(struct nicset *s);

#endif
