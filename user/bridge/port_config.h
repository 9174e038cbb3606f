/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operator says of a port (--port). */
#ifndef VIADUCT_BRIDGE_PORT_CONFIG_H
#define VIADUCT_BRIDGE_PORT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vhost/endpoint.h"

struct port_config {
	char name[32];
	char socket[108];
	enum endpoint_role role;
	uint32_t pairs;		/* queue pairs offered */
	bool have_mac;
	uint8_t mac[6];
	uid_t owner;		/* (uid_t)-1: as the process */
	gid_t group;
	mode_t perm;
};

#endif
