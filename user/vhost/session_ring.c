/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The messages that make a ring: size, addresses, base, event fds, enable. The
 * states they lead through are in session.c.
 */
#include <errno.h>
#include <string.h>

#include "base/eventfd.h"
#include "vhost/session_internal.h"

/* The whole span of one part of a ring, in one piece, or NULL. */
static void *ring_part(const struct gmem *mem, unsigned *hint, uint64_t addr, uint64_t len, uint64_t align)
{
	struct iovec iov;

	if (addr % align || gmem_map(mem, GMEM_USER, addr, len, &iov, 1, hint) != 1)
		return NULL;
	/* The virtio alignment rules hold for our pointers too, or single loads would tear. */
	return (uintptr_t)iov.iov_base % align ? NULL : iov.iov_base;
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
	const bool packed = session_is_packed(s);
	uint64_t n = num;
	unsigned hint = 0;

	cfg->desc = ring_part(mem, &hint, r->desc_user, 16 * n, 16);
	cfg->avail = ring_part(mem, &hint, r->avail_user, packed ? 4 : 6 + 2 * n, packed ? 4 : 2);
	cfg->used = ring_part(mem, &hint, r->used_user, packed ? 4 : 6 + 8 * n, 4);
	return cfg->desc && cfg->avail && cfg->used ? 0 : -EFAULT;
}

uint32_t session_first_base(const struct session *s)
{
	return virtq_first_base(s->st.features);
}

/* Where writes for rings are logged now; "Migration": from the moment LOG_ALL is acknowledged. */
static struct dirty *ring_log(const struct session *s)
{
	return s->st.features & BIT(VHOST_F_LOG_ALL) ? s->log : NULL;
}

static bool logs_ring(const struct session_ring *r)
{
	return r->addr_flags & BIT(VHOST_VRING_F_LOG);
}

int session_ring_config(struct session *s, unsigned index, struct gmem *mem, struct virtq_config *cfg)
{
	const struct session_ring *r = &s->st.ring[index];

	*cfg = (struct virtq_config){
		.dir = index & 1 ? VIRTQ_TX : VIRTQ_RX,
		.size = r->num,
		.features = s->st.features,
		.mem = mem,
		.base = r->base_told ? session_first_base(s) : r->base,
		.max_frame = s->cfg.max_frame,
		.callfd = r->callfd,
		.kickfd = r->kickfd,
		.log = ring_log(s),
		.log_ring = logs_ring(r),
		.log_addr = r->log_addr,
	};
	return ring_map(s, mem, r, r->num, cfg);
}

int session_ring_try_start(struct session *s, const struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	struct virtq_config cfg;
	int ret;

	if (r->started || !r->kicked || !r->num || !r->have_addr || !s->mem)
		return 0;
	if (session_ring_config(s, index, s->mem, &cfg) < 0)
		return session_refuse(s, rq, (int)index,
				      "ring addresses are not in guest memory, or not in one piece");
	ret = s->ops->ring_start(s->ctx, index, &cfg);
	if (ret < 0)
		return session_refuse(s, rq, (int)index, strerror(-ret));
	r->base = cfg.base;
	r->base_told = false;
	r->started = true;
	r->broken = false;
	return 0;
}

void session_ring_stop(struct session *s, unsigned index, bool lost)
{
	struct session_ring *r = &s->st.ring[index];

	if (r->started)
		r->base = s->ops->ring_stop(s->ctx, index, lost);
	r->started = false;
	r->kicked = false;
	fd_replace(&r->kickfd, -1);
}

void session_ring_enable(struct session *s, unsigned index, bool enable)
{
	struct session_ring *r = &s->st.ring[index];

	if (r->enabled == enable)
		return;
	r->enabled = enable;
	s->ops->ring_enable(s->ctx, index, enable);
}

/* @user, @len: of a ring that runs, so it is all in guest memory. */
static void mark_part(const struct session *s, uint64_t user, uint64_t len)
{
	uint64_t guest, part;
	struct iovec iov;
	unsigned hint = 0;

	if (gmem_map(s->mem, GMEM_USER, user, len, &iov, 1, &hint) != 1)
		return;
	for (uint8_t *p = iov.iov_base; len && !gmem_guest_of(s->mem, p, len, &guest, &part); p += part, len -= part)
		dirty_mark(s->log, guest, part);
}

/*
 * All of a ring that we write to. A front-end that comes back during a migration starts its rings first and gives the log
 * last; until then they are disabled, but what they send is consumed and given back.
 */
static void mark_ring(const struct session *s, const struct session_ring *r)
{
	if (!session_is_packed(s)) {
		dirty_mark(s->log, r->log_addr, 6 + 8ull * r->num);
		return;
	}
	mark_part(s, r->desc_user, 16ull * r->num);
	mark_part(s, r->used_user, 4);
}

static void ring_relog(struct session *s, unsigned index)
{
	const struct session_ring *r = &s->st.ring[index];

	s->ops->ring_log(s->ctx, index, ring_log(s), logs_ring(r), r->log_addr);
	if (ring_log(s) && logs_ring(r))
		mark_ring(s, r);
}

void session_rings_log(struct session *s)
{
	for (unsigned i = 0; i < s->st.rings; i++)
		if (s->st.ring[i].started)
			ring_relog(s, i);
}

int session_set_vring_num(struct session *s, struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	uint32_t num = rq->msg->payload.state.num, old = r->num;

	if (!num || num > VIRTQ_MAX_SIZE)
		return session_refuse(s, rq, (int)index, "size is not from 1 to 32768");
	if (!session_is_packed(s) && num & (num - 1))
		return session_refuse(s, rq, (int)index, "a split ring's size is not a power of two");
	if (r->started)
		return num == r->num ? 0 : session_refuse(s, rq, (int)index, "other size while the ring runs");
	r->num = num;
	if (session_ring_try_start(s, rq, index) < 0) {
		r->num = old;
		return -EINVAL;
	}
	return 0;
}

static bool same_place(const struct session_ring *a, const struct session_ring *b)
{
	return a->have_addr && a->desc_user == b->desc_user && a->avail_user == b->avail_user &&
	       a->used_user == b->used_user;
}

static bool same_log(const struct session_ring *a, const struct session_ring *b)
{
	return a->log_addr == b->log_addr && a->addr_flags == b->addr_flags;
}

int session_set_vring_addr(struct session *s, struct request *rq, unsigned index)
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
		return session_refuse(s, rq, (int)index, "unknown flags");
	if (a->flags && !(s->st.features & BIT(VHOST_F_LOG_ALL)))
		return session_refuse(s, rq, (int)index, "logging was not negotiated");
	/* The size may come later: then this is a first look, and the start has the last word. */
	if (ring_map(s, s->mem, &new, r->num ? r->num : 1, &unused) < 0)
		return session_refuse(s, rq, (int)index, "addresses unaligned, outside guest memory, or not in one piece");
	if (r->started && !same_place(r, &new))
		return session_refuse(s, rq, (int)index, "other addresses while the ring runs");
	if (r->started) {	/* when a migration begins or ends */
		*r = new;
		if (!same_log(&old, &new))
			ring_relog(s, index);
		return 0;
	}
	*r = new;
	if (session_ring_try_start(s, rq, index) < 0) {
		*r = old;
		return -EINVAL;
	}
	return 0;
}

/*
 * Split rings: the low 16 bits are the next available index, there is nothing above. Packed rings: bits 0 to 14 are the
 * position, 15 its wrap counter; the upper half says the same of used, and some front-ends leave it empty.
 */
int session_set_vring_base(struct session *s, struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	uint32_t num = rq->msg->payload.state.num;

	if (!session_is_packed(s) && num > UINT16_MAX)
		return session_refuse(s, rq, (int)index, "base is beyond 65535");
	if (session_is_packed(s) && r->num && (num & 0x7fff) >= r->num)
		return session_refuse(s, rq, (int)index, "base is beyond the ring");
	if (r->started)
		return session_refuse(s, rq, (int)index, "the ring runs");
	/* Nothing is in flight where a ring begins, so the lower half speaks for both. */
	r->base = session_is_packed(s) ? (num & 0xffff) * 0x10001u : num;
	r->base_told = false;
	return 0;
}

int session_get_vring_base(struct session *s, struct request *rq, unsigned index)
{
	session_ring_stop(s, index, false);
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
		return session_refuse(s, rq, (int)index, "the fd is not an eventfd");
	*fd = rq->fds[0];
	return 0;
}

static void event_fd_keep(struct request *rq, int *slot)
{
	fd_replace(slot, rq->nfds ? fd_take(rq, 0) : -1);
}

int session_set_vring_kick(struct session *s, struct request *rq, unsigned index)
{
	struct session_ring *r = &s->st.ring[index];
	int fd, old = r->kickfd, ret;
	bool was = r->kicked;

	if (event_fd(s, rq, index, &fd) < 0)
		return -EINVAL;
	if (r->started) {
		ret = s->ops->ring_kick(s->ctx, index, fd);
		if (ret < 0)
			return session_refuse(s, rq, (int)index, strerror(-ret));
		event_fd_keep(rq, &r->kickfd);
		return 0;
	}
	r->kickfd = fd;
	r->kicked = true;
	if (session_ring_try_start(s, rq, index) < 0) {
		r->kickfd = old;
		r->kicked = was;
		return -EINVAL;
	}
	r->kickfd = old;
	event_fd_keep(rq, &r->kickfd);
	return 0;
}

int session_set_vring_call(struct session *s, struct request *rq, unsigned index)
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

int session_set_vring_err(struct session *s, struct request *rq, unsigned index)
{
	int fd;

	if (event_fd(s, rq, index, &fd) < 0)
		return -EINVAL;
	event_fd_keep(rq, &s->st.ring[index].errfd);
	return 0;
}

int session_set_vring_enable(struct session *s, struct request *rq, unsigned index)
{
	if (rq->msg->payload.state.num > 1)
		return session_refuse(s, rq, (int)index, "neither 0 nor 1");
	session_ring_enable(s, index, rq->msg->payload.state.num);
	return 0;
}
