/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front-end's half of the vhost-user protocol, with the messages that
 * real front-ends send and in their order. Listens or connects; one connection
 * at a time. A message waits for its answer, for FRONTEND_TIMEOUT_S at most,
 * so every call here may block that long. One thread.
 */
#ifndef VIADUCT_DRIVER_FRONTEND_H
#define VIADUCT_DRIVER_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_net.h>

#define FRONTEND_TIMEOUT_S 5

struct frontend {
	char path[108];
	bool server;
	int listen_fd;		/* -1 as client */
	int fd;			/* the connection, -1 = none */
	uint64_t offered;	/* virtio and vhost-user feature bits */
	uint64_t features;	/* of these, those in force */
	uint64_t protocol;	/* protocol feature bits in force */
	uint32_t max_pairs;	/* what the back-end has */
	char why[160];		/* what went wrong last */
};

/* One ring, as the back-end is to see it. */
struct frontend_ring {
	uint32_t index, size, base;
	/* Our addresses, also those in the memory table's user space; packed: the two event areas. */
	uint64_t desc, avail, used;
	int kickfd, callfd, errfd;	/* -1 = none */
};

/**
 * frontend_open() - be ready to connect; listen when @server
 * A socket file whose listener is dead is replaced, one that is alive is left alone.
 * Return: 0; -EADDRINUSE or -errno, with a reason in @f->why.
 */
int frontend_open(struct frontend *f, const char *path, bool server);
/* Closes everything, removes the socket file it made. */
void frontend_close(struct frontend *f);

/**
 * frontend_connect() - one attempt to get a connection
 * As server it accepts one that waits. Return: 0; -errno: nobody there, try later.
 */
int frontend_connect(struct frontend *f);
void frontend_disconnect(struct frontend *f);

/**
 * frontend_negotiate() - features, owner, number of queues
 * @wanted: virtio features to use where offered (VHOST_USER_F_PROTOCOL_FEATURES is added), as far as
 *          netfeatures_usable() lets them
 * @required: of these, those that must be there
 *
 * vhost-user: "Communication", "Feature negotiation". Sets features, protocol, max_pairs.
 * Return: 0 or -errno with a reason.
 */
int frontend_negotiate(struct frontend *f, uint64_t wanted, uint64_t required);

/* One region: @size bytes of @memfd, at @guest_addr for the device and @user for us. Return: 0 or -errno. */
int frontend_mem_table(struct frontend *f, int memfd, uint64_t size, uint64_t guest_addr, const void *user);
/* Sets a ring up and starts it (KICK last). It stays disabled until frontend_enable() if bit 30 is in force. */
int frontend_ring_start(struct frontend *f, const struct frontend_ring *r);
/* Stops a ring (GET_VRING_BASE). @base may be NULL. Return: 0 or -errno. */
int frontend_ring_stop(struct frontend *f, uint32_t index, uint32_t *base);
/* Return: 0; -ENOTSUP without VHOST_USER_F_PROTOCOL_FEATURES (rings are always enabled then); -errno. */
int frontend_enable(struct frontend *f, uint32_t index, bool on);
/* DRIVER_OK where STATUS is in force; nothing otherwise. Return: 0 or -errno. */
int frontend_driver_ok(struct frontend *f);

/* The back-end and the device have what it takes to read the device's configuration, and to hear of its changes. */
bool frontend_has_config(const struct frontend *f);
bool frontend_has_channel(const struct frontend *f);
/* Gives the back-end its end of a channel, which stays the caller's, too. Return: 0 or -errno. */
int frontend_channel(struct frontend *f, int fd);
/**
 * frontend_get_config() - read the device's configuration
 * @cfg: what was offered of it, little-endian; the rest is zero
 *
 * Return: 0; -ENODATA: the back-end says that it has none, and all else goes on; -errno with a reason.
 */
int frontend_get_config(struct frontend *f, struct virtio_net_config *cfg);

/* True when the back-end has closed the connection, or sent what nobody asked for. Does not block. */
bool frontend_lost(struct frontend *f);
/* As server, with a connection: turns away whoever else connects. Does not block. */
void frontend_turn_away(struct frontend *f);

#endif
