/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control API: a UNIX socket that only its owner may open. A request is one
 * line of JSON, so is an answer:
 *
 *   {"method":"status","id":1}   ->   {"id":1,"result":{...}}
 *                                or   {"id":1,"error":{"code":"unknown_method","message":"..."}}
 *
 * "id" may be any JSON value and comes back as it was. After "monitor" events
 * follow, one object a line, each with "time" and "event", until the client
 * goes. Methods: see "methods". Error codes: parse_error, invalid_request,
 * unknown_method, too_large, internal.
 *
 * Nothing a client does costs another one, or the bridge, more than a bounded
 * amount of memory and time. Control thread only.
 */
#ifndef VIADUCT_CTL_API_H
#define VIADUCT_CTL_API_H

#include <jansson.h>

#include "base/host_ops.h"
#include "base/loop.h"

#define API_CLIENTS 32
#define API_REQUEST_MAX (64 * 1024)	/* bytes in one line */
#define API_QUEUE_MAX (1024 * 1024)	/* bytes waiting to be read by one client */

struct api_ops {
	json_t *(*status)(void *ctx);	/* a new object, NULL when out of memory */
};

struct api;

/**
 * api_open() - listen for control clients
 * @path: of the socket, made with mode 0600
 * @ops, @ctx: called from the loop
 *
 * Return: 0 or -errno (-EADDRINUSE: somebody listens there).
 */
int api_open(struct loop *loop, const struct host_ops *host, const char *path, const struct api_ops *ops, void *ctx,
	     struct api **out);
/* Drops all clients and removes the socket file. NULL is fine. */
void api_close(struct api *a);

/**
 * api_event() - tell all monitoring clients
 * @event: an object with at least "event"; the reference is taken, also on failure; NULL is fine
 *
 * Adds "time" (RFC 3339, UTC, milliseconds). Never waits: a client that does not read gets a last
 * event "overrun" and is cut off. May be called from any loop callback.
 */
void api_event(struct api *a, json_t *event);

#endif
