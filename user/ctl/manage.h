/* SPDX-License-Identifier: BSD-2-Clause */
/* What the control API's methods do to a running bridge. Control thread. */
#ifndef VIADUCT_CTL_MANAGE_H
#define VIADUCT_CTL_MANAGE_H

#include "bridge/state.h"
#include "ctl/api.h"

/* What the ops get as @ctx. */
struct manage {
	struct bridge *bridge;
	const char *instance;	/* its name */
};

extern const struct api_ops manage_ops;

#endif
