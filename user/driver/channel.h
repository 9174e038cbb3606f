/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The channel on which a back-end speaks to its front-end by itself
 * (vhost-user: "Back-end communication"). Of what it may say we understand that
 * the configuration has changed. The back-end is not trusted: reading is
 * bounded and waits for nothing, and nonsense ends the channel, not the
 * connection. Pure; one thread.
 */
#ifndef VIADUCT_DRIVER_CHANNEL_H
#define VIADUCT_DRIVER_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_user.h"

#define CHANNEL_TURN 64		/* messages, or parts of one, that are read at once */

struct channel {
	int fd;			/* ours; -1 = none */
	bool acks;		/* REPLY_ACK is in force */
	struct vhost_user_hdr hdr;	/* as much of the next message as has come */
	uint32_t have;		/* bytes of it */
	uint32_t skip;		/* bytes of its payload that are still to come */
};

/**
 * channel_open() - make one
 * @acks: whether VHOST_USER_PROTOCOL_F_REPLY_ACK is in force
 * @theirs: set to the end that the back-end gets; the caller closes it
 *
 * Return: 0 or -errno.
 */
int channel_open(struct channel *c, bool acks, int *theirs);
/* Safe on one that is closed. */
void channel_close(struct channel *c);

/**
 * channel_read() - take what has come
 *
 * Answers what asks for an answer: what we do not know with a failure. A back-end that breaks the framing, takes no
 * answers or closes its end has no channel any more. There may be more to read afterwards.
 * Return: true when the configuration has changed.
 */
bool channel_read(struct channel *c);

#endif
