/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NIC settings that viaduct changes and gives back: VLAN tag stripping and the
 * VLAN receive filter. A NIC that strips tags does so before the XDP program
 * sees the frame, and guests would lose them. What the settings were before is
 * also kept in /run/viaduct/NAME.restore, so that an instance that follows a
 * killed one restores the right thing. Control thread only.
 */
#ifndef VIADUCT_XDP_NICSET_H
#define VIADUCT_XDP_NICSET_H

#include <net/if.h>

#include "base/host_ops.h"

enum nicset_feature { NICSET_RXVLAN, NICSET_RXVLAN_FILTER, NICSET_FEATURES };

struct nicset {
	const struct host_ops *host;
	char ifname[IF_NAMESIZE];
	char path[128];				/* of the file that remembers */
	int before[NICSET_FEATURES];		/* 1 on, 0 off, -1 not known by the driver */
	int now[NICSET_FEATURES];		/* as read back last */
	bool active;
};

/**
 * nicset_apply() - switch both features off and remember what they were
 * @name: instance name, part of the file's name
 *
 * A driver that does not know or does not allow it is no error; see @s->now afterwards.
 * Return: 0, or -errno when the file cannot be written (then nothing was changed).
 */
int nicset_apply(struct nicset *s, const struct host_ops *host, const char *ifname, const char *name);
/* Reads the features back into @s->now, under the interface's present name. */
void nicset_read(struct nicset *s, const char *ifname);
/* Puts back what nicset_apply() changed and removes the file. Safe without a nicset_apply(). */
void nicset_restore(struct nicset *s);

#endif
