/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port's UNIX socket: listens (server) or connects again and again with
 * back-off (client), and runs at most one session over it. Never blocks; a
 * message begun must be complete, and a reply read, within 5 s. A second
 * connection while one lives is refused. Control thread only.
 */
#ifndef VIADUCT_VHOST_ENDPOINT_H
#define VIADUCT_VHOST_ENDPOINT_H

#include "base/host_ops.h"
#include "base/loop.h"
#include "vhost/session.h"

enum endpoint_role { ENDPOINT_SERVER, ENDPOINT_CLIENT };

struct endpoint_config {
	enum endpoint_role role;
	char path[108];
	mode_t mode;		/* server: of the socket file, default 0600 */
	uid_t uid;		/* server: owner; (uid_t)-1 = leave */
	gid_t gid;
	uint32_t deadline_ms;	/* for an incomplete message and an unread reply; 0 = 5000 */
	struct session_config session;
};

struct endpoint_events {
	void (*connected)(void *ctx);		/* before the first message */
	void (*disconnected)(void *ctx, const char *why);	/* after the session is gone */
	void (*held)(void *ctx);		/* endpoint_is_held() says something else now; may be NULL */
};

struct endpoint;

/**
 * endpoint_open() - start listening or connecting
 * @session_ops, @events, @ctx: called from the loop, see above
 * Return: 0 or -errno (-EADDRINUSE: somebody listens on the path).
 */
int endpoint_open(struct loop *loop, const struct host_ops *host, const struct endpoint_config *cfg,
		  const struct session_ops *session_ops, const struct endpoint_events *events, void *ctx,
		  struct endpoint **out);

/* For another process: socket, connection and session. Where the rings are is not in it. */
void endpoint_save(const struct endpoint *e, struct parcel *to);
/**
 * endpoint_adopt() - take what endpoint_save() gave
 * @cfg: as the other process had it
 *
 * No event is told: the connection was there before. Rings run only from endpoint_resume() on. After a failure the process
 * is to end, for everything is the other's still. Return: 0, -EOPNOTSUPP (complained of) when the front-end uses what
 * @cfg does not offer, or another -errno.
 */
int endpoint_adopt(struct loop *loop, const struct host_ops *host, const struct endpoint_config *cfg,
		   const struct session_ops *session_ops, const struct endpoint_events *events, void *ctx,
		   struct parcel *from, struct endpoint **out);
/* Calls ring_resume() for each running ring. Return: 0 or its error. */
int endpoint_resume(struct endpoint *e);

/* Closes the connection and the listener, unlinks the path (server). NULL is fine. */
void endpoint_close(struct endpoint *e);
/* Drops the connection only, from outside a callback chain (for example on broken memory). */
void endpoint_kick_out(struct endpoint *e, const char *why);
/**
 * endpoint_hold() - no connection until endpoint_release()
 * @why: what disconnected() is told, 63 characters at most
 *
 * The connection is closed and, as a server, the socket's path removed, so that a front-end that returns is refused
 * instead of waiting in the backlog; as a client nobody is called. It happens from the loop, at once: may be called from
 * any callback. Twice is as good as once.
 */
void endpoint_hold(struct endpoint *e, const char *why);
/*
 * Listens or connects again, at once; where another process listens on the path by now, as soon as it can. From any
 * callback. Without endpoint_hold() nothing happens.
 */
void endpoint_release(struct endpoint *e);
/* NULL is fine: false. */
bool endpoint_is_held(const struct endpoint *e);
/* What front-ends are offered from the next connection on. */
void endpoint_set_features(struct endpoint *e, uint64_t features);
/* NULL when nobody is connected. */
struct session *endpoint_session(struct endpoint *e);
/* Peer's pid/uid as SO_PEERCRED says, 0 when none. */
void endpoint_peer(const struct endpoint *e, pid_t *pid, uid_t *uid);
/* Connections accepted or made, refused second ones, connections closed for bad input. */
struct endpoint_stats { uint64_t connections, refused, bad; };
const struct endpoint_stats *endpoint_stats(const struct endpoint *e);

#endif
