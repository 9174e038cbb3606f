/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session goes from one process to another: what the front-end has told, the
 * fds it gave, its memory. The memory is mapped anew there; the mark of broken
 * memory does not go along, for a truncated file breaks the new mapping, too.
 *
 * What a front-end can do to its memory or rings must not hold up the others:
 * a session that cannot go on is adopted as one that is lost, and ended by the
 * first look at it (session_memory_broken()).
 *
 * Where the rings are is not known before the workers of the old process stand
 * still; so rings are taken in two steps: described by session_adopt(), run by
 * session_resume().
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/bits.h"
#include "vhost/session_internal.h"

#define TAG 0x73736573u		/* "sess" */

static void save_memory(const struct session *s, struct parcel *to)
{
	const uint32_t n = s->mem ? gmem_regions(s->mem) : 0;

	parcel_put(to, TAG, &n, sizeof(n));
	for (uint32_t i = 0; i < n; i++) {
		struct gmem_desc d;
		int fd;

		gmem_region(s->mem, i, &d, &fd);
		parcel_put(to, TAG, &d, sizeof(d));
		parcel_put_fd(to, TAG, fd);
	}
}

static void save_log(const struct session *s, struct parcel *to)
{
	uint64_t at[2] = { 0 };		/* size, offset; bytes */
	int fd = s->log ? dirty_export(s->log, &at[0], &at[1]) : -1;

	parcel_put(to, TAG, at, sizeof(at));
	parcel_put_fd(to, TAG, fd);
}

void session_save(const struct session *s, struct parcel *to)
{
	const struct session_state *st = &s->st;

	parcel_put(to, TAG, st, offsetof(struct session_state, ring) + st->rings * sizeof(st->ring[0]));
	for (unsigned i = 0; i < st->rings; i++) {
		parcel_put_fd(to, TAG, st->ring[i].kickfd);
		parcel_put_fd(to, TAG, st->ring[i].callfd);
		parcel_put_fd(to, TAG, st->ring[i].errfd);
	}
	parcel_put_fd(to, TAG, st->channel);
	save_memory(s, to);
	save_log(s, to);
}

/* A failure that is the front-end's doing, a file that it made shorter for example, is not one of the hand-over. */
static int unless_lost(struct session *s, int ret, const struct parcel *from)
{
	if (!ret || from->err || ret == -ENOMEM || ret == -EPROTO)
		return ret;
	s->lost = true;
	return 0;
}

static int adopt_memory(struct session *s, struct parcel *from)
{
	struct gmem_desc *desc;
	uint32_t n, taken = 0;
	int *fd, ret;

	parcel_get(from, TAG, &n, sizeof(n));
	if (from->err || n > GMEM_MAX_REGIONS)
		return -EPROTO;
	if (!n)
		return 0;
	desc = calloc(n, sizeof(*desc));
	fd = calloc(n, sizeof(*fd));
	for (; desc && fd && taken < n; taken++) {
		parcel_get(from, TAG, &desc[taken], sizeof(desc[taken]));
		fd[taken] = parcel_get_fd(from, TAG);
	}
	ret = !desc || !fd ? -ENOMEM : from->err ? from->err : gmem_create(desc, fd, n, &s->mem);
	for (uint32_t i = 0; ret && fd && i < taken; i++)
		fd_replace(&fd[i], -1);
	free(desc);
	free(fd);
	return unless_lost(s, ret, from);
}

static int adopt_log(struct session *s, struct parcel *from)
{
	uint64_t at[2];
	int fd, ret;

	parcel_get(from, TAG, at, sizeof(at));
	fd = parcel_get_fd(from, TAG);
	if (from->err || fd < 0)
		return from->err;
	ret = dirty_create(fd, at[0], at[1], &s->log);
	if (ret)
		close(fd);
	return unless_lost(s, ret, from);
}

static int adopt_state(struct session *s, struct parcel *from)
{
	const size_t fixed = offsetof(struct session_state, ring);
	const void *st;
	size_t len;

	st = parcel_take(from, TAG, &len);
	if (!st || len != fixed + s->st.rings * sizeof(s->st.ring[0]) ||
	    memcmp((const uint8_t *)st + offsetof(struct session_state, rings), &s->st.rings, sizeof(s->st.rings)))
		return -EPROTO;
	memcpy(&s->st, st, len);
	for (unsigned i = 0; i < s->st.rings; i++) {
		s->st.ring[i].kickfd = parcel_get_fd(from, TAG);
		s->st.ring[i].callfd = parcel_get_fd(from, TAG);
		s->st.ring[i].errfd = parcel_get_fd(from, TAG);
	}
	s->st.channel = parcel_get_fd(from, TAG);
	return from->err;
}

/* Features that this configuration or version does not offer, but the front-end uses. */
static int check_offer(struct session *s)
{
	const uint64_t bits = s->st.features & ~s->cfg.features;
	const uint64_t protocol = s->st.protocol_features & ~s->cfg.protocol_features;
	char list[128];

	if (!bits && !protocol)
		return 0;
	bits_text(bits ? bits : protocol, bits ? bits_feature : bits_protocol, list, sizeof(list));
	session_complain(s, "the front-end uses what is not offered any more: %s", list);
	return -EOPNOTSUPP;
}

/* Of a session that was not adopted: what is here. Its rings are the other's. */
static void forget(struct session *s)
{
	for (unsigned i = 0; i < s->st.rings; i++)
		s->st.ring[i].started = s->st.ring[i].enabled = false;
	session_destroy(s);
}

int session_adopt(const struct session_config *cfg, const struct session_ops *ops, void *ctx, struct parcel *from,
		  struct session **out)
{
	struct session *s;
	int ret = session_create(cfg, ops, ctx, &s);

	if (ret)
		return ret;
	ret = adopt_state(s, from);
	if (!ret)
		ret = adopt_memory(s, from);
	if (!ret)
		ret = adopt_log(s, from);
	if (!ret)
		ret = check_offer(s);
	if (ret)
		forget(s);
	else
		*out = s;
	return ret;
}

int session_resume(struct session *s)
{
	struct virtq_config cfg;
	int ret = 0;

	for (unsigned i = 0; i < s->st.rings && !ret && !s->lost; i++) {
		if (!s->st.ring[i].started)
			continue;
		ret = s->mem ? session_ring_config(s, i, s->mem, &cfg) : -EPROTO;
		if (!ret)
			ret = s->ops->ring_resume(s->ctx, i, &cfg);
		s->lost = ret && ret != -EPROTO && ret != -ENOMEM;
		ret = s->lost ? 0 : ret;
	}
	return ret;
}
