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
 * that can complete a ring ends in ring_try_start(). Ring addresses are turned
 * into pointers there, never earlier: the memory table may change in between.
 * They are also tried out when they come, to refuse nonsense at once.
 *
 * fds: what a handler keeps it takes out of the caller's array with fd_take();
 * whatever is left there when the message is done is closed.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>

#include "base/eventfd.h"
#include "vhost/message.h"
#include "vhost/session.h"

#define BIT(n) (1ull << (n))
#define PACKED_BASE 0x80008000u
/* Feature bits that say nothing about the layout or the protocol of a ring. */
#define NOT_OF_RINGS (BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VHOST_F_LOG_ALL))

struct session {
	struct session_config cfg;
	const struct session_ops *ops;
	void *ctx;
	struct gmem *mem;
	struct session_state st;
};

/* One message on its way through its handler. */
struct request {
	const struct vhost_user_msg *msg;
	int *fds;
	unsigned nfds;
	struct vhost_user_msg *reply;
};

static void complain(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void complain(struct session *s, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->ops->complaint)
		s->ops->complaint(s->ctx, text);
}

/* A refusal with its reason; @index < 0 where no ring is concerned. */
static int refuse(struct session *s, const struct request *rq, int index, const char *why)
{
	const char *name = message_name(rq->msg->hdr.request);

	if (index < 0)
		complain(s, "%s refused: %s", name, why);
	else
		complain(s, "%s refused for ring %d: %s", name, index, why);
	return -EINVAL;
}

static int fd_take(struct request *rq, unsigned i)
{
	int fd = rq->fds[i];

	rq->fds[i] = -1;
	return fd;
}

static void fd_replace(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

/* The whole span of one part of a ring, in one piece, or NULL. */
static void *ring_part(const struct gmem *mem, unsigned *hint, uint64_t addr, uint64_t len, uint64_t align)
{
	struct iovec iov;

	if (addr % align || gmem_map(mem, GMEM_USER, addr, len, &iov, 1, hint) != 1)
		return NULL;
	/* The virtio alignment rules hold for our pointers too, or single loads would tear. */
	return (uintptr_t)iov.iov_base % align ? NULL : iov.iov_base;
}

static bool packed(const struct session *s)
{
	return s->st.features & BIT(VIRTIO_F_RING_PACKED);
}

/*
 * Ring addresses into pointers. Alignment and sizes: virtio, "Split Virtqueues";
 * with the two event fields behind the avail and the used ring, whether or not
 * they are negotiated. "Packed Virtqueues": avail and used are the addresses of
 * the driver's and the device's event suppression structure.
 */
static int ring_map(const struct session *s, const struct gmem *mem, const struct session_ring *r, uint32_t num,
		    struct virtq_config *cfg)
{
	uint64_t n = num;
	unsigned hint = 0;

	cfg->desc = ring_part(mem, &hint, r->desc_user, 16 * n, 16);
	cfg->avail = ring_part(mem, &hint, r->avail_user, packed(s) ? 4 : 6 + 2 * n, packed(s) ? 4 : 2);
	cfg->used = ring_part(mem, &hint, r->used_user, packed(s) ? 4 : 6 + 8 * n, 4);
	return cfg->desc && cfg->avail && cfg->used ? 0 : -EFAULT;
}

/* Where a new ring begins. A packed one does with both wrap counters at 1. */
static uint32_t first_base(const struct session *s)
{
	return packed(s) ? PACKED_BASE : 0;
}

static int ring_config(struct session *s, unsigned index, struct gmem *mem, struct virtq_config *cfg)
{
	const struct session_ring *r = &s->st.ring[index];

	*cfg = (struct virtq_config){
		.dir = index & 1 ? VIRTQ_TX : VIRTQ_RX,
		.size = r->num,
		.features = s->st.features,
		.mem = mem,
		.base = r->base_told ? first_base(s) : r->base,
		.max_frame = s->cfg.max_frame,
		.callfd = r->callfd,
		.kickfd = r->kickfd,
	};
	return ring_map(s, mem, r, r->num, cfg);
}

/* Starts the ring if nothing is missing. 0 also when something still is. */
static int ring_try_start(struct session *s, const struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	struct virtq_config cfg;
	int ret;

	if (r->started || !r->kicked || !r->num || !r->have_addr || !s->mem)
		return 0;
	if (ring_config(s, index, s->mem, &cfg) < 0)
		return refuse(s, rq, (int)index, "ring addresses are not in guest memory, or not in one piece");
	ret = s->ops->ring_start(s->ctx, index, &cfg);
	if (ret < 0)
		return refuse(s, rq, (int)index, strerror(-ret));
	r->base = cfg.base;
	r->base_told = false;
	r->started = true;
	r->broken = false;
	return 0;
}

static void ring_stop(struct session *s, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];

	if (r->started)
		r->base = s->ops->ring_stop(s->ctx, index);
	r->started = false;
	r->kicked = false;
	fd_replace(&r->kickfd, -1);
}

static void ring_enable(struct session *s, unsigned index, bool enable)
{
	struct session_ring *r = &s->st.ring[index];

	if (r->enabled == enable)
		return;
	r->enabled = enable;
	s->ops->ring_enable(s->ctx, index, enable);
}

/*
 * Virtio reset: rings forget everything but the fds that signal the guest; memory and ownership stay. So does the
 * position, to be told only: QEMU 7.2 resets first and asks then, and a guest that was stopped goes on from there.
 */
static void device_reset(struct session *s)
{
	for (unsigned i = 0; i < s->st.rings; i++) {
		struct session_ring *r = &s->st.ring[i];

		ring_stop(s, i);	/* first: a ring that runs disabled throws packets away */
		ring_enable(s, i, false);
		*r = (struct session_ring){
			.base = r->base, .base_told = true, .kickfd = -1, .callfd = r->callfd, .errfd = r->errfd,
		};
	}
	s->st.features = 0;
	s->st.features_set = false;
	s->st.status = 0;
}

static bool any_started(const struct session *s)
{
	for (unsigned i = 0; i < s->st.rings; i++)
		if (s->st.ring[i].started)
			return true;
	return false;
}

static int set_features(struct session *s, struct request *rq)
{
	uint64_t want = rq->msg->payload.u64, changed = want ^ s->st.features;

	if (want & ~s->cfg.features)
		return refuse(s, rq, -1, "feature bits that were not offered");
	if (changed & ~NOT_OF_RINGS && any_started(s))
		return refuse(s, rq, -1, "other features while rings run");
	s->st.features = want;
	/* In another kind of ring a position of the old kind means nothing. */
	for (unsigned i = 0; changed & BIT(VIRTIO_F_RING_PACKED) && i < s->st.rings; i++) {
		s->st.ring[i].base = first_base(s);
		s->st.ring[i].base_told = false;
	}
	s->st.features_set = true;
	/* "Ring states": without protocol features there is no SET_VRING_ENABLE, rings are enabled as they are. */
	if (!(want & BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
		for (unsigned i = 0; i < s->st.rings; i++)
			ring_enable(s, i, true);
	return 0;
}

static int set_protocol_features(struct session *s, struct request *rq)
{
	if (rq->msg->payload.u64 & ~s->cfg.protocol_features)
		return refuse(s, rq, -1, "protocol feature bits that were not offered");
	s->st.protocol_features = rq->msg->payload.u64;
	return 0;
}

/* Deprecated; the specification recommends to disable all rings and to do nothing else. */
static int reset_owner(struct session *s)
{
	for (unsigned i = 0; i < s->st.rings; i++)
		ring_enable(s, i, false);
	return 0;
}

/* Makes @new the memory of all running rings; refuses when one of them would not be covered. */
static int memory_install(struct session *s, const struct request *rq, struct gmem *new)
{
	unsigned idx[2 * 128], n = 0;
	struct virtq_config *cfgs;
	struct gmem *old = s->mem;

	cfgs = calloc(s->st.rings, sizeof(*cfgs));
	if (!cfgs)
		return refuse(s, rq, -1, "out of memory");
	for (unsigned i = 0; i < s->st.rings; i++) {
		if (!s->st.ring[i].started)
			continue;
		if (ring_config(s, i, new, &cfgs[n]) < 0) {
			free(cfgs);
			return refuse(s, rq, (int)i, "the new memory table does not cover this running ring");
		}
		idx[n++] = i;
	}
	if (n)
		s->ops->mem_swap(s->ctx, idx, cfgs, n);
	free(cfgs);
	s->mem = new;
	gmem_put(old);	/* no ring points into it any more */
	return 0;
}

static int set_mem_table(struct session *s, struct request *rq)
{
	const struct vhost_user_mem_table *t = &rq->msg->payload.mem;
	struct gmem_desc descs[VHOST_USER_MAX_REGIONS];
	struct gmem *new;
	char why[80];
	int ret;

	for (unsigned i = 0; i < t->nregions; i++)
		descs[i] = (struct gmem_desc){
			.guest_addr = t->region[i].guest_addr,
			.size = t->region[i].size,
			.user_addr = t->region[i].user_addr,
			.mmap_offset = t->region[i].mmap_offset,
		};
	ret = gmem_create(descs, rq->fds, t->nregions, &new);
	if (ret < 0) {
		snprintf(why, sizeof(why), "memory regions cannot be used: %s", strerror(-ret));
		return refuse(s, rq, -1, why);
	}
	for (unsigned i = 0; i < t->nregions; i++)
		fd_take(rq, i);
	ret = memory_install(s, rq, new);
	if (ret < 0)
		gmem_put(new);
	return ret;
}

static int set_vring_num(struct session *s, struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	uint32_t num = rq->msg->payload.state.num, old = r->num;

	if (!num || num > VIRTQ_MAX_SIZE)
		return refuse(s, rq, (int)index, "size is not from 1 to 32768");
	if (!packed(s) && num & (num - 1))
		return refuse(s, rq, (int)index, "a split ring's size is not a power of two");
	if (r->started)
		return num == r->num ? 0 : refuse(s, rq, (int)index, "other size while the ring runs");
	r->num = num;
	if (ring_try_start(s, rq, index) < 0) {
		r->num = old;
		return -EINVAL;
	}
	return 0;
}

static bool same_addr(const struct session_ring *a, const struct session_ring *b)
{
	return a->have_addr && a->desc_user == b->desc_user && a->avail_user == b->avail_user &&
	       a->used_user == b->used_user && a->log_addr == b->log_addr && a->addr_flags == b->addr_flags;
}

static int set_vring_addr(struct session *s, struct request *rq, unsigned index)
{
	const struct vhost_user_vring_addr *a = &rq->msg->payload.addr;
	struct session_ring *r = &s->st.ring[index], old = *r, new = *r;
	struct virtq_config unused;

	new.have_addr = true;
	new.desc_user = a->desc;
	new.avail_user = a->avail;
	new.used_user = a->used;
	new.log_addr = a->log;
	new.addr_flags = a->flags;
	if (a->flags & ~BIT(VHOST_VRING_F_LOG))
		return refuse(s, rq, (int)index, "unknown flags");
	if (a->flags && !(s->st.features & BIT(VHOST_F_LOG_ALL)))
		return refuse(s, rq, (int)index, "logging was not negotiated");
	/* The size may come later: then this is a first look, and the start has the last word. */
	if (ring_map(s, s->mem, &new, r->num ? r->num : 1, &unused) < 0)
		return refuse(s, rq, (int)index, "addresses unaligned, outside guest memory, or not in one piece");
	if (r->started)
		return same_addr(r, &new) ? 0 : refuse(s, rq, (int)index, "other addresses while the ring runs");
	*r = new;
	if (ring_try_start(s, rq, index) < 0) {
		*r = old;
		return -EINVAL;
	}
	return 0;
}

/*
 * Split rings: the low 16 bits are the next available index, there is nothing above. Packed rings: bits 0 to 14 are the
 * position, 15 its wrap counter; the upper half says the same of used, and some front-ends leave it empty.
 */
static int set_vring_base(struct session *s, struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	uint32_t num = rq->msg->payload.state.num;

	if (!packed(s) && num > UINT16_MAX)
		return refuse(s, rq, (int)index, "base is beyond 65535");
	if (packed(s) && r->num && (num & 0x7fff) >= r->num)
		return refuse(s, rq, (int)index, "base is beyond the ring");
	if (r->started)
		return refuse(s, rq, (int)index, "the ring runs");
	/* Nothing is in flight where a ring begins, so the lower half speaks for both. */
	r->base = packed(s) ? (num & 0xffff) * 0x10001u : num;
	r->base_told = false;
	return 0;
}

static int get_vring_base(struct session *s, struct request *rq, unsigned index)
{
	ring_stop(s, index);
	s->st.ring[index].broken = false;
	rq->reply->payload.state.index = index;
	rq->reply->payload.state.num = s->st.ring[index].base;
	rq->reply->hdr.size = sizeof(rq->reply->payload.state);
	return 0;
}

/* The fd of a KICK, CALL or ERR message: still the request's; -1 when there is none. */
static int event_fd(struct session *s, struct request *rq, unsigned index, int *fd)
{
	*fd = -1;
	if (!rq->nfds)
		return 0;
	if (eventfd_check(rq->fds[0]) < 0)
		return refuse(s, rq, (int)index, "the fd is not an eventfd");
	*fd = rq->fds[0];
	return 0;
}

static void event_fd_keep(struct request *rq, int *slot)
{
	fd_replace(slot, rq->nfds ? fd_take(rq, 0) : -1);
}

static int set_vring_kick(struct session *s, struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	int fd, old = r->kickfd, ret;
	bool was = r->kicked;

	if (event_fd(s, rq, index, &fd) < 0)
		return -EINVAL;
	if (r->started) {
		ret = s->ops->ring_kick(s->ctx, index, fd);
		if (ret < 0)
			return refuse(s, rq, (int)index, strerror(-ret));
		event_fd_keep(rq, &r->kickfd);
		return 0;
	}
	r->kickfd = fd;
	r->kicked = true;
	if (ring_try_start(s, rq, index) < 0) {
		r->kickfd = old;
		r->kicked = was;
		return -EINVAL;
	}
	r->kickfd = old;
	event_fd_keep(rq, &r->kickfd);
	return 0;
}

static int set_vring_call(struct session *s, struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	int fd;

	if (event_fd(s, rq, index, &fd) < 0)
		return -EINVAL;
	if (r->started)
		s->ops->ring_call(s->ctx, index, fd);
	event_fd_keep(rq, &r->callfd);
	return 0;
}

static int set_vring_err(struct session *s, struct request *rq, unsigned index)
{
	int fd;

	if (event_fd(s, rq, index, &fd) < 0)
		return -EINVAL;
	event_fd_keep(rq, &s->st.ring[index].errfd);
	return 0;
}

static int set_vring_enable(struct session *s, struct request *rq, unsigned index)
{
	if (rq->msg->payload.state.num > 1)
		return refuse(s, rq, (int)index, "neither 0 nor 1");
	ring_enable(s, index, rq->msg->payload.state.num);
	return 0;
}

static int set_status(struct session *s, struct request *rq)
{
	uint64_t status = rq->msg->payload.u64;

	if (status > UINT8_MAX)
		return refuse(s, rq, -1, "device status has 8 bits");
	if (!status)
		device_reset(s);
	s->st.status = (uint8_t)status;
	return 0;
}

static int reply_u64(struct request *rq, uint64_t value)
{
	rq->reply->payload.u64 = value;
	rq->reply->hdr.size = sizeof(value);
	return 0;
}

static int dispatch(struct session *s, struct request *rq)
{
	unsigned index = message_ring(rq->msg);

	switch (rq->msg->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		return reply_u64(rq, s->cfg.features);
	case VHOST_USER_SET_FEATURES:
		return set_features(s, rq);
	case VHOST_USER_SET_OWNER:
		s->st.owner_set = true;
		return 0;
	case VHOST_USER_RESET_OWNER:
		return reset_owner(s);
	case VHOST_USER_SET_MEM_TABLE:
		return set_mem_table(s, rq);
	case VHOST_USER_SET_VRING_NUM:
		return set_vring_num(s, rq, index);
	case VHOST_USER_SET_VRING_ADDR:
		return set_vring_addr(s, rq, index);
	case VHOST_USER_SET_VRING_BASE:
		return set_vring_base(s, rq, index);
	case VHOST_USER_GET_VRING_BASE:
		return get_vring_base(s, rq, index);
	case VHOST_USER_SET_VRING_KICK:
		return set_vring_kick(s, rq, index);
	case VHOST_USER_SET_VRING_CALL:
		return set_vring_call(s, rq, index);
	case VHOST_USER_SET_VRING_ERR:
		return set_vring_err(s, rq, index);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return reply_u64(rq, s->cfg.protocol_features);
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		return set_protocol_features(s, rq);
	case VHOST_USER_GET_QUEUE_NUM:
		/* QEMU compares the answer with queue pairs, cloud-hypervisor with rings: the larger suits both. */
		return reply_u64(rq, s->st.rings);
	case VHOST_USER_SET_VRING_ENABLE:
		return set_vring_enable(s, rq, index);
	case VHOST_USER_SET_STATUS:
		return set_status(s, rq);
	case VHOST_USER_GET_STATUS:
		return reply_u64(rq, s->st.status);
	}
	return -EOPNOTSUPP;
}

/* What a message that has an answer of its own gets when it is refused: a base that no split ring has. */
static int refused_reply(const struct vhost_user_msg *msg, struct vhost_user_msg *reply)
{
	reply->payload.state.index = msg->payload.state.index;
	reply->payload.state.num = UINT32_MAX;
	reply->hdr.size = sizeof(reply->payload.state);
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
		complain(s, "%s (%u) refused: %s", message_name(rq->msg->hdr.request), rq->msg->hdr.request, why);
		ret = -EINVAL;
	}
	if (verdict == MESSAGE_CLOSE)
		return -EPROTO;

	/* REPLY_ACK counts for the message that negotiates it as well: front-ends that ask there wait for it. */
	acks |= s->st.protocol_features;
	ack = rq->msg->hdr.flags & VHOST_USER_NEED_REPLY && acks & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	if (!rule || (facts.protocol_features & rule->protocol) != rule->protocol)
		return ack ? !reply_u64(rq, 1) : -EOPNOTSUPP;
	if (!ret && rule->changes && s->ops->changed)
		s->ops->changed(s->ctx);
	if (rule->replies)
		return ret ? refused_reply(rq->msg, rq->reply) : 1;
	return ack ? !reply_u64(rq, ret ? 1 : 0) : 0;
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
		complain(s, "guest memory was truncated or is not backed");
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
	*out = s;
	return 0;
}

void session_destroy(struct session *s)
{
	if (!s)
		return;
	device_reset(s);
	for (unsigned i = 0; i < s->st.rings; i++) {
		fd_replace(&s->st.ring[i].callfd, -1);
		fd_replace(&s->st.ring[i].errfd, -1);
	}
	gmem_put(s->mem);
	free(s);
}

void session_ring_broken(struct session *s, unsigned index)
{
	struct session_ring *r;
	int ret;

	if (index >= s->st.rings || !s->st.ring[index].started)
		return;
	r = &s->st.ring[index];
	ring_stop(s, index);
	r->broken = true;
	ret = r->errfd >= 0 ? eventfd_notify(r->errfd) : 0;
	if (ret < 0)
		complain(s, "cannot signal the err fd of ring %u: %s", index, strerror(-ret));
	if (s->ops->changed)
		s->ops->changed(s->ctx);
}

bool session_memory_broken(const struct session *s)
{
	return s->mem && gmem_broken(s->mem);
}

const struct session_state *session_state(const struct session *s)
{
	return &s->st;
}
