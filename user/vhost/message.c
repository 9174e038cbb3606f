/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vhost-user specification's "Front-end message types", as a table. Order
 * of the verdicts: what breaks the framing or the fd rules closes the
 * connection, what is merely wrong is refused.
 */
#include <stddef.h>

#include "vhost/message.h"

#define P(bit) (1ull << VHOST_USER_PROTOCOL_F_##bit)
#define SIZE(n) .size_min = (n), .size_max = (n)
#define U64 SIZE(sizeof(uint64_t))
#define STATE SIZE(sizeof(struct vhost_user_vring_state))
#define CONFIG .size_min = VHOST_USER_CONFIG_HDR, .size_max = sizeof(struct vhost_user_config)
#define FD_MESSAGE U64, .fds_max = 1, .index = MESSAGE_INDEX_FD, .changes = true

static const struct message_rule rules[VHOST_USER_REQUEST_MAX] = {
	[VHOST_USER_GET_FEATURES] = { "GET_FEATURES", SIZE(0), .replies = true },
	[VHOST_USER_SET_FEATURES] = { "SET_FEATURES", U64, .changes = true },
	[VHOST_USER_SET_OWNER] = { "SET_OWNER", SIZE(0) },
	[VHOST_USER_RESET_OWNER] = { "RESET_OWNER", SIZE(0), .changes = true },
	[VHOST_USER_SET_MEM_TABLE] = { "SET_MEM_TABLE", .size_min = offsetof(struct vhost_user_mem_table, region),
				       .size_max = sizeof(struct vhost_user_mem_table),
				       .fds_max = VHOST_USER_MAX_REGIONS, .size_exact = true, .changes = true },
	/* 8 bytes without an fd are what it was before LOG_SHMFD: the handler says no. */
	[VHOST_USER_SET_LOG_BASE] = { "SET_LOG_BASE", .size_min = sizeof(uint64_t),
				      .size_max = sizeof(struct vhost_user_log), .fds_max = 1, .replies = true,
				      .protocol = P(LOG_SHMFD) },
	/* "N/A" is its payload; some send a u64. */
	[VHOST_USER_SET_LOG_FD] = { "SET_LOG_FD", .size_max = sizeof(uint64_t), .fds_min = 1, .fds_max = 1 },
	[VHOST_USER_SET_VRING_NUM] = { "SET_VRING_NUM", STATE, .index = MESSAGE_INDEX_U32, .changes = true },
	[VHOST_USER_SET_VRING_ADDR] = { "SET_VRING_ADDR", SIZE(sizeof(struct vhost_user_vring_addr)),
					.index = MESSAGE_INDEX_U32, .needs_memory = true, .changes = true },
	[VHOST_USER_SET_VRING_BASE] = { "SET_VRING_BASE", STATE, .index = MESSAGE_INDEX_U32 },
	[VHOST_USER_GET_VRING_BASE] = { "GET_VRING_BASE", STATE, .index = MESSAGE_INDEX_U32, .replies = true,
					.changes = true },
	[VHOST_USER_SET_VRING_KICK] = { "SET_VRING_KICK", FD_MESSAGE },
	[VHOST_USER_SET_VRING_CALL] = { "SET_VRING_CALL", FD_MESSAGE },
	[VHOST_USER_SET_VRING_ERR] = { "SET_VRING_ERR", FD_MESSAGE },
	/* "Protocol features": both are legal before SET_FEATURES, bit 30 need not have been acked. */
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", SIZE(0), .replies = true },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", U64, .changes = true },
	/* Front-ends may ask as soon as they have seen MQ offered. */
	[VHOST_USER_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", SIZE(0), .replies = true },
	[VHOST_USER_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", STATE, .index = MESSAGE_INDEX_U32, .changes = true },
	[VHOST_USER_NET_SET_MTU] = { "NET_SET_MTU", U64, .changes = true, .protocol = P(NET_MTU) },
	[VHOST_USER_RESET_DEVICE] = { "RESET_DEVICE", SIZE(0), .changes = true, .protocol = P(RESET_DEVICE) },
	[VHOST_USER_GET_CONFIG] = { "GET_CONFIG", CONFIG, .replies = true, .protocol = P(CONFIG) },
	[VHOST_USER_SET_CONFIG] = { "SET_CONFIG", CONFIG, .protocol = P(CONFIG) },
	[VHOST_USER_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", .size_max = sizeof(uint64_t), .fds_min = 1,
					    .fds_max = 1, .changes = true, .protocol = P(BACKEND_REQ) },
	[VHOST_USER_SEND_RARP] = { "SEND_RARP", U64, .protocol = P(RARP) },
	[VHOST_USER_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", SIZE(0), .replies = true,
					   .protocol = P(CONFIGURE_MEM_SLOTS) },
	[VHOST_USER_ADD_MEM_REG] = { "ADD_MEM_REG", SIZE(sizeof(struct vhost_user_mem_reg)), .fds_min = 1, .fds_max = 1,
				     .changes = true, .protocol = P(CONFIGURE_MEM_SLOTS) },
	/* Older front-ends send the region's fd here as well. */
	[VHOST_USER_REM_MEM_REG] = { "REM_MEM_REG", SIZE(sizeof(struct vhost_user_mem_reg)), .fds_max = 1,
				     .changes = true, .protocol = P(CONFIGURE_MEM_SLOTS) },
	[VHOST_USER_SET_STATUS] = { "SET_STATUS", U64, .changes = true, .protocol = P(STATUS) },
	[VHOST_USER_GET_STATUS] = { "GET_STATUS", SIZE(0), .replies = true, .protocol = P(STATUS) },
};

const struct message_rule *message_rule(uint32_t request)
{
	if (request >= VHOST_USER_REQUEST_MAX || !rules[request].name)
		return NULL;
	return &rules[request];
}

const char *message_name(uint32_t request)
{
	const struct message_rule *r = message_rule(request);

	return r ? r->name : "unknown request";
}

static enum message_verdict closes(const char **why, const char *text)
{
	*why = text;
	return MESSAGE_CLOSE;
}

static enum message_verdict refused(const char **why, const char *text)
{
	*why = text;
	return MESSAGE_NACK;
}

enum message_verdict message_check_header(const struct vhost_user_hdr *hdr, const char **why)
{
	const struct message_rule *r = message_rule(hdr->request);

	if ((hdr->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return closes(why, "wrong protocol version");
	if (hdr->flags & VHOST_USER_REPLY)
		return closes(why, "a reply where a request belongs");
	if (hdr->flags & ~(VHOST_USER_VERSION_MASK | VHOST_USER_REPLY | VHOST_USER_NEED_REPLY))
		return closes(why, "reserved flags set");
	if (!r)
		return hdr->size <= VHOST_USER_PAYLOAD_MAX ? MESSAGE_OK : closes(why, "payload too large");
	if (hdr->size < r->size_min)
		return closes(why, "payload too short");
	if (hdr->size > r->size_max)
		return closes(why, "payload too long");
	return MESSAGE_OK;
}

/* "Memory regions description": the count says how long the rest is and how many fds come with it. */
static enum message_verdict check_mem_table(const struct vhost_user_msg *msg, unsigned nfds, const char **why)
{
	uint32_t n = msg->payload.mem.nregions;
	size_t size = offsetof(struct vhost_user_mem_table, region);

	if (n < 1 || n > VHOST_USER_MAX_REGIONS)
		return refused(why, "number of memory regions is not 1 to 8");
	if (msg->hdr.size != size + n * sizeof(struct vhost_user_mem_region))
		return closes(why, "payload size does not fit the number of regions");
	if (nfds != n)
		return closes(why, "number of fds is not the number of regions");
	return MESSAGE_OK;
}

static enum message_verdict check_fds(const struct message_rule *r, const struct vhost_user_msg *msg, unsigned nfds,
				      const char **why)
{
	if (r->index == MESSAGE_INDEX_FD && nfds != !(msg->payload.u64 & VHOST_USER_VRING_NOFD))
		return closes(why, nfds ? "an fd where the message says none" : "no fd where the message says one");
	if (nfds < r->fds_min)
		return closes(why, "too few fds");
	if (nfds > r->fds_max)
		return closes(why, "too many fds");
	return MESSAGE_OK;
}

static enum message_verdict check_index(const struct message_rule *r, const struct vhost_user_msg *msg, uint32_t rings,
					const char **why)
{
	uint64_t index = 0;

	switch (r->index) {
	case MESSAGE_NO_INDEX:
		return MESSAGE_OK;
	case MESSAGE_INDEX_U32:
		index = msg->payload.state.index;
		break;
	case MESSAGE_INDEX_FD:	/* reserved bits count as part of an index that is too large */
		index = msg->payload.u64 & ~VHOST_USER_VRING_NOFD;
		break;
	}
	return index < rings ? MESSAGE_OK : refused(why, "ring index beyond the queue pairs of this port");
}

enum message_verdict message_check(const struct vhost_user_msg *msg, unsigned nfds, const struct message_facts *facts,
				   const char **why)
{
	const struct message_rule *r = message_rule(msg->hdr.request);
	enum message_verdict v = message_check_header(&msg->hdr, why);

	if (v != MESSAGE_OK)
		return v;
	if (!r)
		return refused(why, "not supported");
	v = check_fds(r, msg, nfds, why);
	if (v == MESSAGE_OK && r->size_exact)
		v = check_mem_table(msg, nfds, why);
	if (v != MESSAGE_OK)
		return v;
	if ((facts->protocol_features & r->protocol) != r->protocol)
		return refused(why, "protocol feature not negotiated");
	v = check_index(r, msg, facts->rings, why);
	if (v != MESSAGE_OK)
		return v;
	if (r->needs_memory && !facts->have_memory)
		return refused(why, "no memory table yet");
	return MESSAGE_OK;
}

unsigned message_ring(const struct vhost_user_msg *msg)
{
	const struct message_rule *r = message_rule(msg->hdr.request);

	if (r && r->index == MESSAGE_INDEX_FD)
		return (unsigned)(msg->payload.u64 & VHOST_USER_VRING_IDX_MASK);
	return msg->payload.state.index;
}
