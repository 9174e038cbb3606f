/* SPDX-License-Identifier: BSD-2-Clause */
/* A session to test: sent messages by hand, its effects recorded; every test ends with nothing left. */
#ifndef TESTS_VU_SESSION_H
#define TESTS_VU_SESSION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vu.h"

#define PAIRS 2
#define VU_PACKED (1ull << VIRTIO_F_RING_PACKED)
#define VU_PACKED_BASE 0x80008000u	/* of a new packed ring */

struct fixture {
	struct session *s;
	uint64_t features;	/* offered, and what negotiate() takes */
	struct vu_fake fake;
	struct vhost_user_msg reply;
	unsigned fds_before;
};

static inline int setup_features(void **state, uint64_t features)
{
	const struct session_config cfg = { .max_pairs = PAIRS, .features = features,
					    .protocol_features = VU_PROTOCOL, .max_frame = 1518 };
	struct fixture *f = calloc(1, sizeof(*f));

	f->features = features;
	f->fds_before = vu_open_fds();
	*state = f;
	return session_create(&cfg, &vu_ops, &f->fake, &f->s);
}

static inline int setup(void **state)
{
	return setup_features(state, VU_FEATURES);
}

static inline int setup_packed(void **state)
{
	return setup_features(state, VU_FEATURES | VU_PACKED);
}

static inline bool is_packed(const struct fixture *f)
{
	return f->features & VU_PACKED;
}

/* The base that @base of a split ring is with a packed one, in its first round. */
static inline uint32_t base_of_kind(const struct fixture *f, uint32_t base)
{
	return is_packed(f) ? VU_PACKED_BASE | base << 16 | base : base;
}

/* Every test ends here: when the session is gone, so is every ring and every fd. */
static inline int teardown(void **state)
{
	struct fixture *f = *state;
	int bad = 0;

	session_destroy(f->s);
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		bad |= f->fake.running[i] || f->fake.enabled[i];
	if (vu_open_fds() != f->fds_before) {
		print_error("%u fds before, %u after\n", f->fds_before, vu_open_fds());
		bad = 1;
	}
	free(f);
	return bad ? -1 : 0;
}

static inline int send_fds(struct fixture *f, struct vhost_user_msg m, int *fds, unsigned n)
{
	return session_handle(f->s, &m, fds, n, &f->reply);
}

static inline int send_msg(struct fixture *f, struct vhost_user_msg m)
{
	return send_fds(f, m, NULL, 0);
}

static inline int send_fd(struct fixture *f, struct vhost_user_msg m, int fd)
{
	return send_fds(f, m, &fd, 1);
}

/* Sends with NEED_REPLY and expects an ack with this verdict. */
static inline void expect_ack_fds(struct fixture *f, struct vhost_user_msg m, int *fds, unsigned n, bool good)
{
	m.hdr.flags |= VHOST_USER_NEED_REPLY;
	assert_int_equal(send_fds(f, m, fds, n), 1);
	assert_int_equal(f->reply.hdr.request, m.hdr.request);
	assert_int_equal(f->reply.hdr.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_int_equal(f->reply.hdr.size, 8);
	if (good && f->reply.payload.u64)
		print_error("refused: %s\n", f->fake.complaint);
	assert_int_equal(f->reply.payload.u64 == 0, good);
}

static inline void expect_ok(struct fixture *f, struct vhost_user_msg m)
{
	expect_ack_fds(f, m, NULL, 0, true);
}

static inline void expect_nack(struct fixture *f, struct vhost_user_msg m)
{
	struct session_state before = *session_state(f->s);

	expect_ack_fds(f, m, NULL, 0, false);
	assert_memory_equal(&before, session_state(f->s), sizeof(before));
}

static inline void expect_ok_fd(struct fixture *f, struct vhost_user_msg m, int fd)
{
	expect_ack_fds(f, m, &fd, 1, true);
}

static inline void expect_nack_fd(struct fixture *f, struct vhost_user_msg m, int fd)
{
	struct session_state before = *session_state(f->s);
	unsigned fds = vu_open_fds();

	expect_ack_fds(f, m, &fd, 1, false);
	assert_memory_equal(&before, session_state(f->s), sizeof(before));
	assert_int_equal(vu_open_fds(), fds - 1);	/* the one that came is closed, no other */
}

static inline void negotiate(struct fixture *f)
{
	assert_int_equal(send_msg(f, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL)), 0);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features));
}

static inline int event(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

static inline void run_ring(struct fixture *f, unsigned index)
{
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, index, 256));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, index, base_of_kind(f, 0)));
	expect_ok(f, vu_addr(index, VU_RING(index)));
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_KICK, index), event());
	assert_true(f->fake.running[index]);
}

static inline void with_memory(struct fixture *f)
{
	negotiate(f);
	expect_ok_fd(f, vu_mem(), vu_memfd(VU_MEM_SIZE));
}

static inline const struct session_ring *ring(struct fixture *f, unsigned index)
{
	return &session_state(f->s)->ring[index];
}

static inline uint64_t ask_u64(struct fixture *f, uint32_t request)
{
	assert_int_equal(send_msg(f, vu_msg(request, 0, 0)), 1);
	assert_int_equal(f->reply.hdr.request, request);
	assert_int_equal(f->reply.hdr.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_int_equal(f->reply.hdr.size, 8);
	return f->reply.payload.u64;
}

static inline uint32_t ask_base(struct fixture *f, unsigned index)
{
	assert_int_equal(send_msg(f, vu_state(VHOST_USER_GET_VRING_BASE, index, 0)), 1);
	assert_int_equal(f->reply.hdr.size, 8);
	assert_int_equal(f->reply.payload.state.index, index);
	return f->reply.payload.state.num;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* With split rings, and with packed ones. */
#define T_BOTH(name)                                                                                                 \
	{ #name ", split", name, setup, teardown, NULL }, { #name ", packed", name, setup_packed, teardown, NULL }

#endif
