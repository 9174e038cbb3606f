/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of vhost-user messages: what each request must look like. All
 * checks that do not depend on a ring's state are made from this table, before
 * any handler runs. Pure; any thread.
 */
#ifndef VIADUCT_VHOST_MESSAGE_H
#define VIADUCT_VHOST_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_user.h"

/* Where the ring index is in the payload. */
enum message_index {
	MESSAGE_NO_INDEX,
	MESSAGE_INDEX_U32,	/* first 32 bits: vring state, vring address */
	MESSAGE_INDEX_FD,	/* u64 with VHOST_USER_VRING_NOFD: KICK, CALL, ERR */
};

struct message_rule {
	const char *name;
	uint16_t size_min, size_max;	/* payload bytes */
	uint8_t fds_min, fds_max;
	enum message_index index;	/* MESSAGE_INDEX_FD also decides the exact number of fds */
	bool replies;		/* has an answer of its own; otherwise NEED_REPLY asks for an ack */
	bool needs_memory;	/* only after SET_MEM_TABLE */
	bool changes;		/* may change what running rings do, or what status shows */
	bool size_exact;	/* a memory table: its region count fixes size and fds */
	uint64_t protocol;	/* protocol feature bits (mask) that must have been acked */
};

enum message_verdict {
	MESSAGE_OK,
	MESSAGE_NACK,	/* refuse it: non-zero ack when asked for, nothing changes */
	MESSAGE_CLOSE,	/* close the connection */
};

/* What the checks need to know of the session. */
struct message_facts {
	uint32_t rings;
	uint64_t protocol_features;	/* acked */
	bool have_memory;
};

/* NULL for a request that is not supported. */
const struct message_rule *message_rule(uint32_t request);
/* Name for logs; "unknown request" when there is no rule. */
const char *message_name(uint32_t request);

/**
 * message_check_header() - checks that need the header only
 * @why: set to a constant text when the verdict is not MESSAGE_OK
 *
 * Version, flags, and the payload size against the table: a payload of the wrong size is not even
 * read. Return: MESSAGE_OK or MESSAGE_CLOSE.
 */
enum message_verdict message_check_header(const struct vhost_user_hdr *hdr, const char **why);

/**
 * message_check() - everything the table says of a complete message
 * @nfds: fds that came with it
 * @why: set to a constant text when the verdict is not MESSAGE_OK
 *
 * An unknown request, or one whose protocol feature was not acked, gets MESSAGE_NACK; the caller
 * closes instead when no ack was asked for.
 */
enum message_verdict message_check(const struct vhost_user_msg *msg, unsigned nfds, const struct message_facts *facts,
				   const char **why);

/* The ring index of a message that passed message_check(). */
unsigned message_ring(const struct vhost_user_msg *msg);

#endif
