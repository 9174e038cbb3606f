/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session: what one front-end has told us so far.
 *
 * Theory of operation. message_check() settles everything that the table can
 * settle. A handler then checks the rest, and only when nothing can fail any
 * more changes the state: a refused message (nack) leaves no trace.
 *
 * A ring has two independent switches (specification, "Ring states"):
 *
 *   stopped  --- size, addresses, memory known and kicked -->  started
 *   started  --- GET_VRING_BASE, reset, broken ------------->  stopped
 *   disabled <-- SET_VRING_ENABLE, or SET_FEATURES without bit 30 --> enabled
 *
 * Front-ends differ in the order of NUM, BASE, ADDR, KICK, so each of those
 * that can complete a ring ends in session_ring_try_start(). Ring addresses are
 * turned into pointers there, never earlier: the memory table may change in
 * between. They are also tried out when they come, to refuse nonsense at once.
 *
 * fds: what a handler keeps it takes out of the caller's array with fd_take();
 * whatever is left there when the message is done is closed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/eventfd.h"
#include "vhost/bits.h"
#include "vhost/session_internal.h"

/* Feature bits that say nothing about the layout or the protocol of a ring. */
#define NOT_OF_RINGS (BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VHOST_F_LOG_ALL))

/*
 * Virtio reset: rings forget everything but the fds that signal the guest; memory and ownership stay. So does the
 * position, to be told only: QEMU 7.2 resets first and asks then, and a guest that was stopped goes on from there.
 * @lost: it is the end of the connection that does it, and rings may come back as they are.
 */
static void device_reset(struct session *s, bool lost)
{
	for (unsigned i = 0; i < s->st.rings; i++) {
		struct session_ring *r = &s->st.ring[i];

		session_ring_stop(s, i, lost);	/* first: a ring that runs disabled throws packets away */
		session_ring_enable(s, i, false);
		*r = (struct session_ring){
			.base = r->base, .base_told = true, .kickfd = -1, .callfd = r->callfd, .errfd = r->errfd,
		};
	}
	s->st.features = 0;
	s->st.features_set = false;
	s->st.status = 0;
}

/* By name: it may be a front-end that returns after the port's configuration, or the program, was changed. */
static int refuse_bits(struct session *s, const struct request *rq, uint64_t bits, const char *const names[64])
{
	char list[96], why[120];

	bits_text(bits, names, list, sizeof(list));
	snprintf(why, sizeof(why), "not offered: %s", list);
	return session_refuse(s, rq, -1, why);
}

static int set_features(struct session *s, struct request *rq)
{
	uint64_t want = rq->msg->payload.u64, changed = want ^ s->st.features;

	if (want & ~s->cfg.features)
		return refuse_bits(s, rq, want & ~s->cfg.features, bits_feature);
	if (changed & ~NOT_OF_RINGS && session_any_started(s))
		return session_refuse(s, rq, -1, "other features while rings run");
	s->st.features = want;
	if (changed & BIT(VHOST_F_LOG_ALL))
		session_rings_log(s);
	/* In another kind of ring a position of the old kind means nothing. */
	for (unsigned i = 0; changed & BIT(VIRTIO_F_RING_PACKED) && i < s->st.rings; i++) {
		s->st.ring[i].base = session_first_base(s);
		s->st.ring[i].base_told = false;
	}
	s->st.features_set = true;
	/* "Ring states": without protocol features there is no SET_VRING_ENABLE, rings are enabled as they are. */
	if (!(want & BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
		for (unsigned i = 0; i < s->st.rings; i++)
			session_ring_enable(s, i, true);
	return 0;
}

static int set_protocol_features(struct session *s, struct request *rq)
{
	uint64_t want = rq->msg->payload.u64;

	if (want & ~s->cfg.protocol_features)
		return refuse_bits(s, rq, want & ~s->cfg.protocol_features, bits_protocol);
	s->st.protocol_features = want;
	return 0;
}

/* Deprecated; the specification recommends to disable all rings and to do nothing else. */
static int reset_owner(struct session *s)
{
	for (unsigned i = 0; i < s->st.rings; i++)
		session_ring_enable(s, i, false);
	return 0;
}

static int set_status(struct session *s, struct request *rq)
{
	uint64_t status = rq->msg->payload.u64;

	if (status > UINT8_MAX)
		return session_refuse(s, rq, -1, "device status has 8 bits");
	if (!status)
		device_reset(s, false);
	s->st.status = (uint8_t)status;
	return 0;
}

static int dispatch(struct session *s, struct request *rq)
{
	unsigned index = message_ring(rq->msg);

	switch (rq->msg->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		return session_reply_u64(rq, s->cfg.features);
	case VHOST_USER_SET_FEATURES:
		return set_features(s, rq);
	case VHOST_USER_SET_OWNER:
		s->st.owner_set = true;
		return 0;
	case VHOST_USER_RESET_OWNER:
		return reset_owner(s);
	case VHOST_USER_SET_MEM_TABLE:
		return session_set_mem_table(s, rq);
	case VHOST_USER_SET_LOG_BASE:
		return session_set_log_base(s, rq);
	case VHOST_USER_SET_LOG_FD:
		return session_set_log_fd(s, rq);
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		return session_reply_u64(rq, GMEM_SLOTS);
	case VHOST_USER_ADD_MEM_REG:
		return session_add_mem_reg(s, rq);
	case VHOST_USER_REM_MEM_REG:
		return session_rem_mem_reg(s, rq);
	case VHOST_USER_SET_VRING_NUM:
		return session_set_vring_num(s, rq, index);
	case VHOST_USER_SET_VRING_ADDR:
		return session_set_vring_addr(s, rq, index);
	case VHOST_USER_SET_VRING_BASE:
		return session_set_vring_base(s, rq, index);
	case VHOST_USER_GET_VRING_BASE:
		return session_get_vring_base(s, rq, index);
	case VHOST_USER_SET_VRING_KICK:
		return session_set_vring_kick(s, rq, index);
	case VHOST_USER_SET_VRING_CALL:
		return session_set_vring_call(s, rq, index);
	case VHOST_USER_SET_VRING_ERR:
		return session_set_vring_err(s, rq, index);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return session_reply_u64(rq, s->cfg.protocol_features);
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		return set_protocol_features(s, rq);
	case VHOST_USER_GET_QUEUE_NUM:
		/* QEMU compares the answer with queue pairs, cloud-hypervisor with rings: the larger suits both. */
		return session_reply_u64(rq, s->st.rings);
	case VHOST_USER_SET_VRING_ENABLE:
		return session_set_vring_enable(s, rq, index);
	case VHOST_USER_GET_CONFIG:
		return session_get_config(s, rq);
	case VHOST_USER_SET_CONFIG:
		return session_set_config(s, rq);
	case VHOST_USER_SET_BACKEND_REQ_FD:
		return session_set_backend_req_fd(s, rq);
	case VHOST_USER_RESET_DEVICE:
		device_reset(s, false);
		return 0;
	case VHOST_USER_NET_SET_MTU:
		return session_net_set_mtu(s, rq);
	case VHOST_USER_SEND_RARP:
		return session_send_rarp(s, rq);
	case VHOST_USER_SET_STATUS:
		return set_status(s, rq);
	case VHOST_USER_GET_STATUS:
		return session_reply_u64(rq, s->st.status);
	}
	return -EOPNOTSUPP;
}

/* What a message that has an answer of its own gets when it is refused. */
static int refused_reply(struct request *rq)
{
	struct vhost_user_msg *reply = rq->reply;

	switch (rq->msg->hdr.request) {
	case VHOST_USER_GET_VRING_BASE:	/* a base that no split ring has */
		reply->payload.state.index = rq->msg->payload.state.index;
		reply->payload.state.num = UINT32_MAX;
		reply->hdr.size = sizeof(reply->payload.state);
		break;
	case VHOST_USER_GET_CONFIG:	/* "zero length of payload" */
		break;
	default:
		session_reply_u64(rq, 1);
		break;
	}
	return 1;
}

static int handle(struct session *s, struct request *rq)
{
	const struct message_facts facts = {
		.rings = s->st.rings,
		.protocol_features = s->st.protocol_features,
		.have_memory = s->mem != NULL,
	};
	const struct message_rule *rule = message_rule(rq->msg->hdr.request);
	uint64_t acks = s->st.protocol_features;
	enum message_verdict verdict;
	const char *why = "";
	bool ack;
	int ret;

	verdict = message_check(rq->msg, rq->nfds, &facts, &why);
	if (verdict == MESSAGE_OK) {
		ret = dispatch(s, rq);
	} else {
		session_complain(s, "%s (%u) refused: %s", message_name(rq->msg->hdr.request), rq->msg->hdr.request, why);
		ret = -EINVAL;
	}
	if (verdict == MESSAGE_CLOSE)
		return -EPROTO;

	/* REPLY_ACK counts for the message that negotiates it as well: front-ends that ask there wait for it. */
	acks |= s->st.protocol_features;
	ack = rq->msg->hdr.flags & VHOST_USER_NEED_REPLY && acks & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	if (!rule || (facts.protocol_features & rule->protocol) != rule->protocol)
		return ack ? !session_reply_u64(rq, 1) : -EOPNOTSUPP;
	if (!ret && rule->changes && s->ops->changed)
		s->ops->changed(s->ctx);
	if (rule->replies)
		return ret ? refused_reply(rq) : 1;
	return ack ? !session_reply_u64(rq, ret ? 1 : 0) : 0;
}

int session_handle(struct session *s, const struct vhost_user_msg *msg, int *fds, unsigned nfds,
		   struct vhost_user_msg *reply)
{
	struct request rq = { .msg = msg, .fds = fds, .nfds = nfds, .reply = reply };
	int ret;

	memset(reply, 0, sizeof(*reply));
	reply->hdr.request = msg->hdr.request;
	reply->hdr.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	if (session_memory_broken(s)) {
		session_complain(s, "guest memory or its log was truncated or is not backed");
		ret = -EFAULT;
	} else {
		ret = handle(s, &rq);
	}
	for (unsigned i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return ret;
}

int session_create(const struct session_config *cfg, const struct session_ops *ops, void *ctx, struct session **out)
{
	struct session *s;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	s->ops = ops;
	s->ctx = ctx;
	s->st.rings = 2 * cfg->max_pairs;
	if (!s->st.rings || s->st.rings > sizeof(s->st.ring) / sizeof(s->st.ring[0])) {
		free(s);
		return -EINVAL;
	}
	for (unsigned i = 0; i < s->st.rings; i++)
		s->st.ring[i].kickfd = s->st.ring[i].callfd = s->st.ring[i].errfd = -1;
	s->st.channel = -1;
	session_config_now(s, &s->st.config);
	*out = s;
	return 0;
}

void session_destroy(struct session *s)
{
	if (!s)
		return;
	device_reset(s, true);
	for (unsigned i = 0; i < s->st.rings; i++) {
		fd_replace(&s->st.ring[i].callfd, -1);
		fd_replace(&s->st.ring[i].errfd, -1);
	}
	fd_replace(&s->st.channel, -1);
	gmem_put(s->mem);
	dirty_put(s->log);
	free(s);
}

void session_ring_broken(struct session *s, unsigned index)
{
	struct session_ring *r;
	int ret;

	if (index >= s->st.rings || !s->st.ring[index].started)
		return;
	r = &s->st.ring[index];
	session_ring_stop(s, index, true);
	r->broken = true;
	ret = r->errfd >= 0 ? eventfd_notify(r->errfd) : 0;
	if (ret < 0)
		session_complain(s, "cannot signal the err fd of ring %u: %s", index, strerror(-ret));
	if (s->ops->changed)
		s->ops->changed(s->ctx);
}

bool session_memory_broken(const struct session *s)
{
	return s->lost || (s->mem && gmem_broken(s->mem)) || (s->log && dirty_broken(s->log));
}

const struct session_state *session_state(const struct session *s)
{
	return &s->st;
}