/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/names.h"

const char *const names_status[64] = {
	[0] = "acknowledge", [1] = "driver",	   [2] = "driver_ok",
	[3] = "features_ok", [6] = "needs_reset", [7] = "failed",
};

json_t *names_json(uint64_t bits, const char *const names[64])
{
	json_t *list = json_array();

	for (int i = 0; list && i < 64; i++) {
		if (!(bits >> i & 1))
			continue;
		if (json_array_append_new(list, names[i] ? json_string(names[i]) : json_sprintf("bit_%d", i)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
