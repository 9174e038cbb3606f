/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods of the control API, without the sockets (those are in api.c). Pure but for what the ops do. */
#ifndef VIADUCT_CTL_API_METHODS_H
#define VIADUCT_CTL_API_METHODS_H

#include "ctl/api.h"

struct api_reply {
	json_t *result;		/* a new reference, or NULL: there is an error */
	const char *code;	/* of the error */
	char message[512];
	bool monitor;		/* this client wants events from now on */
};

/**
 * api_call() - do what a request says
 * @request: an object
 * @r: filled; the caller owns @r->result
 *
 * Control thread.
 */
void api_call(const struct api_ops *ops, void *ctx, const json_t *request, struct api_reply *r);

#endif
