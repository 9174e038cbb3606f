/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzz target: bytes become a sequence of messages, each with up to three real
 * fds, into a session whose effects go nowhere. Checks what no sanitizer sees:
 * that no fd is left, and that a ring runs only over memory that is mapped.
 *
 * Each message takes 4 bytes (request, flags, fds, payload recipe) and then
 * its payload, made legal more often than chance would make it.
 */
#include <stdlib.h>

#include <fcntl.h>
#include <sys/socket.h>

#include "vu.h"
#include "vhost/message.h"

#define LOG_ALL (1ull << VHOST_F_LOG_ALL)

struct input {
	const uint8_t *data;
	size_t len;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (; bytes && in->len; bytes--, in->len--)
		v = v << 8 | *in->data++;
	return v;
}

/* Whose other end is gone, or will never be read. */
static int make_channel(bool gone)
{
	static int other = -1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	if (other >= 0)
		close(other);
	other = gone ? -1 : fcntl(pair[1], F_DUPFD_CLOEXEC, 500);	/* above those that are counted */
	close(pair[1]);
	return pair[0];
}

static int right_fd(uint32_t request)
{
	switch (request) {
	case VHOST_USER_SET_MEM_TABLE:
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		return vu_memfd(VU_MEM_SIZE);
	case VHOST_USER_SET_LOG_BASE:
		return vu_memfd(0x9000);
	case VHOST_USER_SET_BACKEND_REQ_FD:
		return make_channel(false);
	default:
		return eventfd(0, EFD_CLOEXEC);
	}
}

static int make_fd(uint32_t request, unsigned kind)
{
	switch (kind % 4) {
	case 0:
		return right_fd(request);
	case 1:
		return request == VHOST_USER_SET_BACKEND_REQ_FD ? make_channel(true) : eventfd(0, EFD_CLOEXEC);
	case 2:
		return vu_memfd(0x3000);
	default:
		return dup(0);
	}
}

/* The number of fds the message should have. */
static unsigned right_nfds(const struct vhost_user_msg *m)
{
	const struct message_rule *r = message_rule(m->hdr.request);

	if (m->hdr.request == VHOST_USER_SET_MEM_TABLE)
		return m->payload.mem.nregions > 3 ? 3 : m->payload.mem.nregions;
	if (r && r->index == MESSAGE_INDEX_FD)
		return !(m->payload.u64 & VHOST_USER_VRING_NOFD);
	return r ? r->fds_max : 0;
}

/* An address near the places where something begins or ends. */
static uint64_t make_addr(struct input *in, uint64_t base)
{
	static const uint64_t at[] = { 0, 0x1000, 0x2000, 0x3000, 0x4000, 0x8000, VU_MEM_SIZE - 0x1000, VU_MEM_SIZE };
	uint64_t v = take(in, 2);

	if (v >> 15)
		return take(in, 8);
	return base + at[v & 7] + (uint64_t)(int64_t)(int8_t)(v >> 3);
}

static void make_payload(struct input *in, struct vhost_user_msg *m, unsigned recipe)
{
	const struct message_rule *r = message_rule(m->hdr.request);

	if (recipe & 0x80) {	/* anything */
		m->hdr.size = (uint32_t)take(in, 2) % (VHOST_USER_PAYLOAD_MAX + 2);
		for (unsigned i = 0; i < VHOST_USER_PAYLOAD_MAX && in->len; i++)
			m->payload.raw[i] = (uint8_t)take(in, 1);
		return;
	}
	m->hdr.size = r ? r->size_max : 0;
	switch (m->hdr.request) {
	case VHOST_USER_SET_MEM_TABLE:
		m->payload.mem.nregions = recipe % 3 + !(recipe & 0x40);
		m->hdr.size = 8 + 32 * m->payload.mem.nregions;
		for (unsigned i = 0; i < m->payload.mem.nregions; i++)
			m->payload.mem.region[i] = (struct vhost_user_mem_region){
				make_addr(in, VU_GUEST), take(in, 2) << 8, make_addr(in, VU_USER), take(in, 1) << 12,
			};
		break;
	case VHOST_USER_SET_VRING_ADDR:
		m->payload.addr = (struct vhost_user_vring_addr){
			.index = recipe & 7, .flags = recipe >> 6, .desc = make_addr(in, VU_USER),
			.avail = make_addr(in, VU_USER), .used = make_addr(in, VU_USER),
		};
		break;
	case VHOST_USER_SET_FEATURES:
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		m->payload.u64 = recipe & 1 ? VU_FEATURES | (recipe & 4 ? LOG_ALL : 0) :
				 recipe & 2 ? VU_PROTOCOL : take(in, 8);
		break;
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:	/* beside each other, and often the same ones again */
		m->payload.mem_reg.region = (struct vhost_user_mem_region){
			VU_GUEST + 0x8000ull * (recipe & 7), 0x8000, VU_USER + 0x8000ull * (recipe & 7), 0,
		};
		if (recipe & 0x40)
			m->payload.mem_reg.region.size = take(in, 2) << 4;
		break;
	case VHOST_USER_SET_LOG_BASE:
		m->payload.log = (struct vhost_user_log){ 0x8000, recipe & 8 ? 0x1000 : 0 };
		if (recipe & 0x40)
			m->payload.log = (struct vhost_user_log){ take(in, 3), recipe & 4 ? take(in, 8) : take(in, 2) };
		break;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		m->payload.config.offset = (uint32_t)take(in, recipe & 0x40 ? 4 : 1);
		m->payload.config.size = (uint32_t)take(in, recipe & 0x20 ? 4 : 1);
		m->hdr.size = 12 + m->payload.config.size % 257;
		break;
	case VHOST_USER_NET_SET_MTU:
		m->payload.u64 = take(in, recipe & 0x40 ? 8 : 2);
		break;
	case VHOST_USER_SET_VRING_NUM:
		m->payload.state = (struct vhost_user_vring_state){ recipe & 7, 1u << (recipe >> 3) };
		break;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		m->payload.u64 = (recipe & 7) | (recipe & 0x40 ? VHOST_USER_VRING_NOFD : 0);
		break;
	default:
		m->payload.state = (struct vhost_user_vring_state){ recipe & 7, (uint32_t)take(in, 1) };
		break;
	}
}

/* A running ring's memory can be read and written to its last byte. */
static void touch_rings(const struct vu_fake *f, unsigned rings)
{
	for (unsigned i = 0; i < rings; i++) {
		const struct virtq_config *c = &f->ring[i];

		if (!f->running[i])
			continue;
		*(volatile char *)c->desc = 1;
		((volatile char *)c->desc)[16 * c->size - 1] = 1;
		((volatile char *)c->avail)[6 + 2 * c->size - 1] = 1;
		((volatile char *)c->used)[6 + 8 * c->size - 1] = 1;
		if (c->log)
			dirty_mark(c->log, c->log_addr, 6 + 8 * c->size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct vu_fake fake;
	const struct session_config cfg = { .max_pairs = 3, .features = VU_FEATURES | LOG_ALL,
					    .protocol_features = VU_PROTOCOL, .max_frame = 1518 };
	struct input in = { data, len };
	struct session *s;
	int before = dup(0);

	memset(&fake, 0, sizeof(fake));
	if (session_create(&cfg, &vu_ops, &fake, &s) < 0)
		abort();
	while (in.len) {
		struct vhost_user_msg m = { .hdr.request = (uint32_t)take(&in, 1) }, reply;
		unsigned flags = (unsigned)take(&in, 1), kinds = (unsigned)take(&in, 1);
		unsigned recipe = (unsigned)take(&in, 1), nfds = kinds >> 6;
		int fds[3];

		m.hdr.flags = flags & 0x80 ? flags : VHOST_USER_VERSION | (flags & VHOST_USER_NEED_REPLY);
		make_payload(&in, &m, recipe);
		if (!(kinds & 0x20))
			nfds = right_nfds(&m);
		for (unsigned i = 0; i < nfds; i++)
			fds[i] = make_fd(m.hdr.request, kinds >> 2 * i);
		fake.log[0] = 0;
		if (session_handle(s, &m, fds, nfds, &reply) < 0)
			break;
		if (reply.hdr.size > VHOST_USER_PAYLOAD_MAX)
			abort();
		fake.config.status = (flags >> 5) & 1;
		session_tick(s);
		touch_rings(&fake, 6);
		if (flags & 0x40)
			session_ring_broken(s, recipe & 7);
	}
	session_destroy(s);
	for (unsigned i = 0; i < 6; i++)
		if (fake.running[i] || fake.enabled[i])
			abort();
	/* The lowest free fd is where it was: none is left open. */
	close(before);
	int after = dup(0);
	close(after);
	if (after != before)
		abort();
	return 0;
}
