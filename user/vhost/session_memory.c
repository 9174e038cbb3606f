/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory and its dirty log: how running rings get from an old one to a new one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/eventfd.h"
#include "vhost/session_internal.h"

/* Makes @new the memory of all running rings; refuses when one of them would not be covered. */
static int memory_install(struct session *s, const struct request *rq, struct gmem *new)
{
	unsigned idx[2 * 128], n = 0;
	struct virtq_config *cfgs;
	struct gmem *old = s->mem;

	cfgs = calloc(s->st.rings, sizeof(*cfgs));
	if (!cfgs)
		return session_refuse(s, rq, -1, "out of memory");
	for (unsigned i = 0; i < s->st.rings; i++) {
		if (!s->st.ring[i].started)
			continue;
		if (session_ring_config(s, i, new, &cfgs[n]) < 0) {
			free(cfgs);
			return session_refuse(s, rq, (int)i, "the new memory table does not cover this running ring");
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

static struct gmem_desc desc_of(const struct vhost_user_mem_region *r)
{
	return (struct gmem_desc){
		.guest_addr = r->guest_addr,
		.size = r->size,
		.user_addr = r->user_addr,
		.mmap_offset = r->mmap_offset,
	};
}

static int refuse_memory(struct session *s, const struct request *rq, int error)
{
	char why[80];

	snprintf(why, sizeof(why), "memory regions cannot be used: %s", strerror(-error));
	return session_refuse(s, rq, -1, why);
}

int session_set_mem_table(struct session *s, struct request *rq)
{
	const struct vhost_user_mem_table *t = &rq->msg->payload.mem;
	struct gmem_desc descs[VHOST_USER_MAX_REGIONS];
	struct gmem *new;
	int ret;

	for (unsigned i = 0; i < t->nregions; i++)
		descs[i] = desc_of(&t->region[i]);
	ret = gmem_create(descs, rq->fds, t->nregions, &new);
	if (ret < 0)
		return refuse_memory(s, rq, ret);
	for (unsigned i = 0; i < t->nregions; i++)
		fd_take(rq, i);
	ret = memory_install(s, rq, new);
	if (ret < 0)
		gmem_put(new);
	else
		memset(s->removed, 0, sizeof(s->removed));
	return ret;
}

/*
 * QEMU 7.2 says of each slot once per queue pair that it comes, and that it goes. To be told twice is no mistake, as
 * long as it is the same slot: the same addresses, and the same place in the same file.
 */
static bool is_there(const struct gmem *mem, const struct gmem_desc *desc, int fd)
{
	struct gmem_desc d;
	struct stat a, b;
	int theirs;

	for (unsigned i = 0; mem && !gmem_region(mem, i, &d, &theirs); i++)
		if (!memcmp(&d, desc, sizeof(d)))
			return !fstat(fd, &a) && !fstat(theirs, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
	return false;
}

static struct gmem_desc *find_removed(struct session *s, const struct gmem_desc *desc)
{
	for (unsigned i = 0; i < SESSION_REMOVED; i++) {
		struct gmem_desc *r = &s->removed[i];

		if (r->size && r->size == desc->size && r->guest_addr == desc->guest_addr && r->user_addr == desc->user_addr)
			return r;
	}
	return NULL;
}

/* "Memory region description": one more, beside those that are there. */
int session_add_mem_reg(struct session *s, struct request *rq)
{
	const struct gmem_desc desc = desc_of(&rq->msg->payload.mem_reg.region);
	struct gmem_desc *removed = find_removed(s, &desc);
	struct gmem *new;
	int ret;

	if (is_there(s->mem, &desc, rq->fds[0]))
		return 0;
	ret = gmem_add(s->mem, &desc, rq->fds[0], &new);
	if (ret == -ENOSPC)
		return session_refuse(s, rq, -1, "there are as many memory slots as there can be");
	if (ret < 0)
		return refuse_memory(s, rq, ret);
	fd_take(rq, 0);
	ret = memory_install(s, rq, new);
	if (ret < 0)
		gmem_put(new);
	else if (removed)
		removed->size = 0;
	return ret;
}

/* Its fd, should there be one, is closed with the message. */
int session_rem_mem_reg(struct session *s, struct request *rq)
{
	const struct gmem_desc desc = desc_of(&rq->msg->payload.mem_reg.region);
	struct gmem *new;
	int ret;

	ret = s->mem ? gmem_remove(s->mem, &desc, &new) : -ENOENT;
	if (ret == -ENOENT && find_removed(s, &desc))
		return 0;
	if (ret == -ENOENT)
		return session_refuse(s, rq, -1, "no memory slot has these addresses and this size");
	if (ret < 0)
		return refuse_memory(s, rq, ret);
	ret = memory_install(s, rq, new);
	if (ret < 0) {
		gmem_put(new);
		return ret;
	}
	s->removed[s->next_removed++ % SESSION_REMOVED] = desc;
	if (!gmem_regions(new)) {	/* as before the first one: no ring runs */
		gmem_put(new);
		s->mem = NULL;
	}
	return 0;
}

/*
 * "Migration": the log is a bitmap in a file of the front-end's. It may come with rings running, and again when it has
 * to be larger. The answer (the request's number is all that QEMU looks at) is a status.
 */
int session_set_log_base(struct session *s, struct request *rq)
{
	const struct vhost_user_log *l = &rq->msg->payload.log;
	struct dirty *old = s->log, *new;
	char why[80];
	int ret;

	if (rq->msg->hdr.size != sizeof(*l) || !rq->nfds)
		return session_refuse(s, rq, -1, "it has no fd, or no size and offset");
	ret = dirty_create(rq->fds[0], l->mmap_size, l->mmap_offset, &new);
	if (ret < 0) {
		snprintf(why, sizeof(why), "the log cannot be used: %s", strerror(-ret));
		return session_refuse(s, rq, -1, why);
	}
	fd_take(rq, 0);
	s->log = new;
	if (s->st.features & BIT(VHOST_F_LOG_ALL))
		session_rings_log(s);
	dirty_put(old);		/* no ring writes to it any more */
	return session_reply_u64(rq, 0);
}

/* An eventfd to be signalled when something was logged. Nobody waits for it: front-ends look when they want to. */
int session_set_log_fd(struct session *s, struct request *rq)
{
	return eventfd_check(rq->fds[0]) < 0 ? session_refuse(s, rq, -1, "the fd is not an eventfd") : 0;
}
