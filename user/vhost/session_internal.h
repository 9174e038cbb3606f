/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of the session share; for nobody else. session.c has its life
 * and the messages that negotiate, session_ring.c those of rings,
 * session_memory.c those of memory, session_net.c those of a network device.
 * Control thread.
 */
#ifndef VIADUCT_VHOST_SESSION_INTERNAL_H
#define VIADUCT_VHOST_SESSION_INTERNAL_H

#include <unistd.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>

#include "vhost/message.h"
#include "vhost/session.h"

#define BIT(n) (1ull << (n))

#define SESSION_REMOVED 16	/* of the last ones; more go at once rarely */

struct session {
	struct session_config cfg;
	const struct session_ops *ops;
	void *ctx;
	struct gmem *mem;
	struct gmem_desc removed[SESSION_REMOVED];	/* slots that are gone, to be removed once more; size 0 = none */
	unsigned next_removed;
	struct dirty *log;	/* where to log while LOG_ALL is acked; NULL until a front-end gives one */
	bool lost;		/* it came from another process, and cannot go on: to be ended */
	struct session_state st;
};

/* One message on its way through its handler. */
struct request {
	const struct vhost_user_msg *msg;
	int *fds;
	unsigned nfds;
	struct vhost_user_msg *reply;
};

/* Keeps fd @i of a message: it is the session's from here on. */
static inline int fd_take(struct request *rq, unsigned i)
{
	int fd = rq->fds[i];

	rq->fds[i] = -1;
	return fd;
}

static inline void fd_replace(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

static inline bool session_is_packed(const struct session *s)
{
	return s->st.features & BIT(VIRTIO_F_RING_PACKED);
}

void session_complain(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Complains of a refusal with its reason; @index < 0 where no ring is concerned. Return: -EINVAL. */
int session_refuse(struct session *s, const struct request *rq, int index, const char *why);
/* The answer is one number. Return: 0. */
int session_reply_u64(struct request *rq, uint64_t value);
bool session_any_started(const struct session *s);

/* --- session_ring.c ---------------------------------------------------------- */

/* Where a new ring begins. A packed one does with both wrap counters at 1. */
uint32_t session_first_base(const struct session *s);
/**
 * session_ring_config() - all that a data path must know of ring @index, in @mem
 * Return: 0, -EFAULT when its addresses are unaligned, not in @mem, or not in one piece.
 */
int session_ring_config(struct session *s, unsigned index, struct gmem *mem, struct virtq_config *cfg);
/* Starts the ring if nothing is missing. Return: 0 also when something still is; refused: -EINVAL. */
int session_ring_try_start(struct session *s, const struct request *rq, unsigned index);
/* @lost: as for session_ops.ring_stop(). */
void session_ring_stop(struct session *s, unsigned index, bool lost);
void session_ring_enable(struct session *s, unsigned index, bool enable);
/* Tells the data path of running rings what to log now: LOG_ALL, or the log, has changed. */
void session_rings_log(struct session *s);

/* Messages: each returns 0, or -EINVAL when it was refused and nothing has changed. */
int session_set_vring_num(struct session *s, struct request *rq, unsigned index);
int session_set_vring_addr(struct session *s, struct request *rq, unsigned index);
int session_set_vring_base(struct session *s, struct request *rq, unsigned index);
int session_get_vring_base(struct session *s, struct request *rq, unsigned index);
int session_set_vring_kick(struct session *s, struct request *rq, unsigned index);
int session_set_vring_call(struct session *s, struct request *rq, unsigned index);
int session_set_vring_err(struct session *s, struct request *rq, unsigned index);
int session_set_vring_enable(struct session *s, struct request *rq, unsigned index);

/* --- session_memory.c -------------------------------------------------------- */

/* Messages, as above. */
int session_set_mem_table(struct session *s, struct request *rq);
int session_add_mem_reg(struct session *s, struct request *rq);
int session_rem_mem_reg(struct session *s, struct request *rq);
int session_set_log_base(struct session *s, struct request *rq);
int session_set_log_fd(struct session *s, struct request *rq);

/* --- session_net.c ----------------------------------------------------------- */

/* The device's configuration as it is now, little-endian. */
void session_config_now(struct session *s, struct virtio_net_config *cfg);

/* Messages, as above. */
int session_get_config(struct session *s, struct request *rq);
int session_set_config(struct session *s, struct request *rq);
int session_set_backend_req_fd(struct session *s, struct request *rq);
int session_net_set_mtu(struct session *s, struct request *rq);
int session_send_rarp(struct session *s, struct request *rq);

#endif
