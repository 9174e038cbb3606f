/* SPDX-License-Identifier: BSD-2-Clause */
/* Members of the status object. Any thread. */
#ifndef VIADUCT_CTL_STATUS_PUT_H
#define VIADUCT_CTL_STATUS_PUT_H

#include <jansson.h>

#include "bridge/mac.h"

static inline void put_int(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static inline void put_str(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, json_string(v));
}

static inline void put_bool(json_t *o, const char *key, bool v)
{
	json_object_set_new(o, key, json_boolean(v));
}

static inline void put_mac(json_t *o, const char *key, const uint8_t *mac)
{
	char text[MAC_STRLEN];

	mac_format(mac, text);
	put_str(o, key, text);
}

/* Counters that are zero say nothing: only what happened is shown. */
static inline void put_nonzero(json_t *o, const char *key, uint64_t v)
{
	if (v)
		put_int(o, key, v);
}

#endif
