/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control API: a UNIX socket that only its owner may open. A request is one
 * line of JSON, so is an answer:
 *
 *   {"method":"port_del","params":{"name":"vm0"},"id":1}
 *        ->   {"id":1,"result":{...}}
 *        or   {"id":1,"error":{"code":"no_such_port","message":"..."}}
 *
 * "id" may be any JSON value and comes back as it was. After "monitor" events
 * follow, one object a line, each with "time" and "event", until the client
 * goes. Methods, their parameters and error codes: api_methods.c.
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
#define API_QUEUE_MAX (1024 * 1024)	/* bytes of events waiting to be read by one client */
#define API_ANSWER_MAX (32 * 1024 * 1024)	/* the same with an answer: the status of 256 ports is long */

/**
 * api_op - what a method does
 * @params: those that the method takes, of the right types; NULL = none
 * @result: a new object on success
 * @err, @errlen: on failure one line that names the mend
 *
 * Called from the loop; everything else waits meanwhile. Return: 0 or -errno: -EINVAL the parameters make no sense,
 * -ENODEV there is no such port, -EEXIST and -EADDRINUSE another port or process has it.
 */
typedef int api_op(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen);

/* One per method of that name; NULL: not supported. */
struct api_ops {
	api_op *status, *port_list, *port_add, *port_del, *port_set, *steer, *link;
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
/* The same with a socket that listens there already, @fd, owned in any case. */
int api_adopt(struct loop *loop, const struct host_ops *host, const char *path, int fd, const struct api_ops *ops,
	      void *ctx, struct api **out);
/* For api_adopt() in another process. */
int api_listener(const struct api *a);
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
