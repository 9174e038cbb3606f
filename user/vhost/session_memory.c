/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory: what the front-end says of it, and how running rings get from an old table to a new one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int session_set_mem_table(struct session *s, struct request *rq)
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
		return session_refuse(s, rq, -1, why);
	}
	for (unsigned i = 0; i < t->nregions; i++)
		fd_take(rq, i);
	ret = memory_install(s, rq, new);
	if (ret < 0)
		gmem_put(new);
	return ret;
}
