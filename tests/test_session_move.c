/* SPDX-License-Identifier: BSD-2-Clause */
/* A session goes on in other hands: saved from one, adopted by another one, whose effects are recorded apart. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "arrived.h"
#include "vu_session.h"

#define LOG_ALL (1ull << VHOST_F_LOG_ALL)
#define LOG_SIZE 0x2000ull

/* Whoever gets it. */
struct heir {
	struct session_config cfg;
	struct session *s;
	struct vu_fake fake;
	struct parcel p;
};

static struct heir heir;

static void save(struct fixture *f)
{
	memset(&heir, 0, sizeof(heir));
	heir.cfg = (struct session_config){ .max_pairs = PAIRS, .features = f->features,
					    .protocol_features = VU_PROTOCOL, .max_frame = 1518 };
	session_save(f->s, &heir.p);
	arrive(&heir.p);
}

static int adopt(void)
{
	return session_adopt(&heir.cfg, &vu_ops, &heir.fake, &heir.p, &heir.s);
}

static void hand_over(struct fixture *f)
{
	save(f);
	assert_int_equal(adopt(), 0);
	assert_int_equal(parcel_end(&heir.p), 0);
	assert_string_equal(heir.fake.log, "");		/* nothing has happened yet */
	assert_int_equal(heir.fake.changes, 0);
	assert_int_equal(heir.fake.complaints, 0);
}

/* The heir's end: no ring of it is left. Descriptors are counted by teardown(). */
static void end(void)
{
	session_destroy(heir.s);
	parcel_free(&heir.p);
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		assert_false(heir.fake.running[i]);
}

/* It was not adopted: nothing of it is left, and the one it came from goes on. */
static void expect_refused(struct fixture *f, int error, unsigned fds_before)
{
	assert_int_equal(adopt(), error);
	assert_string_equal(heir.fake.log, "");
	parcel_free(&heir.p);
	assert_int_equal(vu_open_fds(), fds_before);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 1, 1));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 1, 0));
}

/* The next message goes to the heir. */
static int heir_gets(struct fixture *f, struct vhost_user_msg m)
{
	return session_handle(heir.s, &m, NULL, 0, &f->reply);
}

static bool is_signalled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static bool is_same_eventfd(int a, int b)
{
	bool before = is_signalled(b);

	return a != b && !before && eventfd_write(a, 1) == 0 && is_signalled(b);
}

static void what_the_front_end_has_told_goes_along(void **state)
{
	struct fixture *f = *state;
	struct session_state before, after;

	with_memory(f);
	expect_ok(f, vu_msg(VHOST_USER_SET_OWNER, 0, 0));
	expect_ok(f, vu_u64(VHOST_USER_SET_STATUS, 15));
	expect_ok(f, vu_u64(VHOST_USER_NET_SET_MTU, 1400));
	run_ring(f, 0);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 2, 64));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 2, base_of_kind(f, 5)));
	hand_over(f);
	before = *session_state(f->s);
	after = *session_state(heir.s);
	assert_int_equal(after.mtu, 1400);
	assert_int_equal(after.status, 15);
	assert_true(after.ring[0].started && after.ring[0].enabled && !after.ring[2].started);
	for (unsigned i = 0; i < 2 * PAIRS; i++) {
		struct session_ring *a = &before.ring[i], *b = &after.ring[i];

		assert_int_equal(a->kickfd < 0, b->kickfd < 0);
		a->kickfd = b->kickfd = a->callfd = b->callfd = a->errfd = b->errfd = -1;
	}
	assert_memory_equal(&before, &after, sizeof(before));
	end();
}

static void exactly_the_rings_that_ran_are_resumed(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	run_ring(f, 1);
	run_ring(f, 3);
	ask_base(f, 1);
	hand_over(f);
	assert_int_equal(session_resume(heir.s), 0);
	assert_string_equal(heir.fake.log, "resume 0;resume 3;");
	end();
}

static void a_ring_that_cannot_be_resumed_loses_its_session_and_no_other(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	hand_over(f);
	heir.fake.fail = -EINVAL;
	assert_int_equal(session_resume(heir.s), 0);
	assert_true(session_memory_broken(heir.s));
	end();
}

static void memory_is_the_same_but_mapped_anew(void **state)
{
	struct fixture *f = *state;
	volatile uint64_t *here, *there;

	with_memory(f);
	run_ring(f, 0);
	hand_over(f);
	assert_int_equal(session_resume(heir.s), 0);
	here = (uint64_t *)f->fake.ring[0].desc;
	there = (uint64_t *)heir.fake.ring[0].desc;
	assert_ptr_not_equal(here, there);
	*here = 0x1234567890abcdef;
	assert_int_equal(*there, 0x1234567890abcdef);
	assert_int_equal(heir.fake.ring[0].size, 256);
	assert_int_equal(heir.fake.ring[0].features, f->features);
	end();
}

static void memory_slots_go_along_one_by_one(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	expect_ok_fd(f, vu_slot(VHOST_USER_ADD_MEM_REG, 0, 0x8000), vu_memfd(0x8000));
	expect_ok_fd(f, vu_slot(VHOST_USER_ADD_MEM_REG, 0x8000, 0x8000), vu_memfd(0x8000));
	expect_ok_fd(f, vu_slot(VHOST_USER_ADD_MEM_REG, 0x10000, 0x1000), vu_memfd(0x1000));
	run_ring(f, 1);
	hand_over(f);
	assert_int_equal(session_resume(heir.s), 0);
	assert_int_equal(gmem_regions(heir.fake.ring[1].mem), 3);
	assert_int_equal(heir_gets(f, vu_slot(VHOST_USER_REM_MEM_REG, 0x8000, 0x8000)), 0);
	assert_int_equal(gmem_regions(heir.fake.ring[1].mem), 2);
	assert_int_equal(heir_gets(f, vu_slot(VHOST_USER_REM_MEM_REG, 0, 0x8000)), 0);	/* the ring is in it */
	assert_int_equal(gmem_regions(heir.fake.ring[1].mem), 2);
	end();
}

static void event_fds_are_the_front_ends(void **state)
{
	struct fixture *f = *state;
	const struct session_ring *r;

	with_memory(f);
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_CALL, 0), event());
	expect_ok_fd(f, vu_u64(VHOST_USER_SET_VRING_ERR, 0), event());
	run_ring(f, 0);
	hand_over(f);
	r = &session_state(heir.s)->ring[0];
	assert_true(is_same_eventfd(ring(f, 0)->kickfd, r->kickfd));
	assert_true(is_same_eventfd(r->callfd, ring(f, 0)->callfd));
	assert_int_equal(session_resume(heir.s), 0);
	assert_int_equal(heir.fake.ring[0].kickfd, r->kickfd);
	assert_int_equal(heir.fake.ring[0].callfd, r->callfd);
	assert_false(is_signalled(ring(f, 0)->errfd));
	session_ring_broken(heir.s, 0);
	assert_true(is_signalled(ring(f, 0)->errfd));
	end();
}

static void messages_go_on_where_they_stopped(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	run_ring(f, 0);
	hand_over(f);
	assert_int_equal(session_resume(heir.s), 0);
	heir.fake.base = base_of_kind(f, 77);
	assert_int_equal(heir_gets(f, vu_state(VHOST_USER_GET_VRING_BASE, 0, 0)), 1);
	assert_int_equal(f->reply.payload.state.num, base_of_kind(f, 77));
	assert_int_equal(heir_gets(f, vu_state(VHOST_USER_SET_VRING_ENABLE, 3, 1)), 0);
	assert_string_equal(heir.fake.log, "resume 0;stop 0;enable 3;");
	end();
}

static void a_ring_can_be_completed_by_what_was_told_before(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_u64(VHOST_USER_SET_VRING_KICK, 2);
	int fd = event();

	with_memory(f);
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_NUM, 2, 64));
	expect_ok(f, vu_addr(2, VU_RING(2)));
	expect_ok(f, vu_state(VHOST_USER_SET_VRING_BASE, 2, base_of_kind(f, 9)));
	hand_over(f);
	assert_int_equal(session_handle(heir.s, &m, &fd, 1, &f->reply), 0);
	assert_string_equal(heir.fake.log, "start 2;");
	assert_int_equal(heir.fake.ring[2].base, base_of_kind(f, 9));
	end();
}

static void a_session_without_memory_goes_along(void **state)
{
	struct fixture *f = *state;

	negotiate(f);
	hand_over(f);
	assert_int_equal(session_resume(heir.s), 0);
	assert_string_equal(heir.fake.log, "");
	end();
}

static void a_migration_goes_on(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_msg m = vu_addr(0, VU_RING(0));

	with_memory(f);
	assert_int_equal(send_fd(f, vu_log(LOG_SIZE, 0), vu_memfd(LOG_SIZE)), 1);
	m.payload.addr.flags = 1u << VHOST_VRING_F_LOG;
	m.payload.addr.log = VU_GUEST + 0x3000;
	run_ring(f, 0);
	expect_ok(f, m);
	run_ring(f, 1);
	hand_over(f);
	assert_int_equal(session_resume(heir.s), 0);
	assert_non_null(heir.fake.ring[0].log);
	assert_ptr_not_equal(heir.fake.ring[0].log, f->fake.ring[0].log);
	assert_ptr_equal(heir.fake.ring[0].log, heir.fake.ring[1].log);
	assert_true(heir.fake.ring[0].log_ring);
	assert_int_equal(heir.fake.ring[0].log_addr, VU_GUEST + 0x3000);
	assert_false(heir.fake.ring[1].log_ring);
	assert_int_equal(heir_gets(f, vu_u64(VHOST_USER_SET_FEATURES, f->features & ~LOG_ALL)), 0);
	assert_null(heir.fake.ring[0].log);
	end();
}

static void the_channel_goes_along_and_only_news_is_told(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_hdr h;
	int pair[2];

	negotiate(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	expect_ok_fd(f, vu_msg(VHOST_USER_SET_BACKEND_REQ_FD, 0, 0), pair[0]);
	hand_over(f);
	session_tick(heir.s);
	assert_true(recv(pair[1], &h, sizeof(h), MSG_DONTWAIT) < 0);
	heir.fake.config.mtu = 1400;
	session_tick(heir.s);
	assert_int_equal(recv(pair[1], &h, sizeof(h), MSG_DONTWAIT), sizeof(h));
	assert_int_equal(h.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	close(pair[1]);
	end();
}

/* --- what cannot be adopted ------------------------------------------------------- */

static void a_feature_that_is_not_offered_any_more_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	with_memory(f);
	run_ring(f, 0);
	fds = vu_open_fds();
	save(f);
	heir.cfg.features &= ~(1ull << VIRTIO_NET_F_MRG_RXBUF);
	expect_refused(f, -EOPNOTSUPP, fds);
	assert_int_equal(heir.fake.complaints, 1);
	assert_non_null(strcasestr(heir.fake.complaint, "mrg_rxbuf"));
	assert_null(strcasestr(heir.fake.complaint, "event_idx"));
}

static void a_protocol_feature_that_is_not_offered_any_more_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	with_memory(f);
	run_ring(f, 0);
	fds = vu_open_fds();
	save(f);
	heir.cfg.protocol_features &= ~(1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK);
	expect_refused(f, -EOPNOTSUPP, fds);
	assert_non_null(strcasestr(heir.fake.complaint, "reply_ack"));
}

static void what_is_offered_but_not_used_may_go(void **state)
{
	struct fixture *f = *state;

	with_memory(f);
	expect_ok(f, vu_u64(VHOST_USER_SET_FEATURES, f->features & ~(1ull << VIRTIO_NET_F_MRG_RXBUF)));
	save(f);
	heir.cfg.features &= ~(1ull << VIRTIO_NET_F_MRG_RXBUF);
	assert_int_equal(adopt(), 0);
	end();
}

static void another_number_of_rings_is_refused(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	with_memory(f);
	run_ring(f, 3);
	fds = vu_open_fds();
	save(f);
	heir.cfg.max_pairs = PAIRS - 1;
	expect_refused(f, -EPROTO, fds);
	save(f);
	heir.cfg.max_pairs = PAIRS + 1;
	expect_refused(f, -EPROTO, fds);
}

static void memory_that_has_shrunk_loses_its_session_and_no_other(void **state)
{
	struct fixture *f = *state;
	int fd = vu_memfd(VU_MEM_SIZE), mine = dup(fd);
	unsigned fds;

	negotiate(f);
	expect_ok_fd(f, vu_mem(), fd);
	run_ring(f, 0);
	assert_int_equal(ftruncate(mine, 0x1000), 0);
	fds = vu_open_fds();
	hand_over(f);
	assert_true(session_memory_broken(heir.s));
	assert_int_equal(session_resume(heir.s), 0);
	assert_string_equal(heir.fake.log, "");
	end();
	assert_int_equal(vu_open_fds(), fds);
	close(mine);
}

/* Wherever it ends. Nothing is closed that is not the heir's. */
static void half_a_session_is_refused(void **state)
{
	struct fixture *f = *state;
	struct parcel whole;
	unsigned fds;

	with_memory(f);
	assert_int_equal(send_fd(f, vu_log(LOG_SIZE, 0), vu_memfd(LOG_SIZE)), 1);
	run_ring(f, 0);
	run_ring(f, 1);
	fds = vu_open_fds();
	save(f);
	whole = heir.p;
	for (size_t len = 0; len < whole.len; len += len < 200 || len > whole.len - 600 ? 1 : 37) {
		heir.p = cut(&whole, len);
		arrive(&heir.p);
		assert_true(adopt() < 0);
		assert_string_equal(heir.fake.log, "");
		parcel_free(&heir.p);
	}
	heir.p = cut(&whole, whole.len);
	heir.p.nfds -= 2;
	arrive(&heir.p);
	assert_int_equal(adopt(), -EPROTO);
	parcel_free(&heir.p);
	heir.p = whole;
	parcel_free(&heir.p);
	assert_int_equal(vu_open_fds(), fds);
}

/* C knows no other than 0 and 1, and the other process is the same program. */
static bool is_a_truth(size_t at)
{
	const size_t state = 8, fixed = offsetof(struct session_state, ring);

	if (at < state || at >= state + fixed + 2 * PAIRS * sizeof(struct session_ring))
		return false;
	at -= state;
	if (at < fixed)
		return at == offsetof(struct session_state, features_set) ||
		       at == offsetof(struct session_state, owner_set) ||
		       at == offsetof(struct session_state, config_changed);
	at = (at - fixed) % sizeof(struct session_ring);
	return at >= offsetof(struct session_ring, have_addr) && at <= offsetof(struct session_ring, base_told);
}

/* Bytes that are not what they were: adopted or refused, but nothing else. Descriptors go nowhere. */
static void any_byte_may_be_wrong(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 5;
	struct parcel whole;
	unsigned fds;

	with_memory(f);
	assert_int_equal(send_fd(f, vu_log(LOG_SIZE, 0), vu_memfd(LOG_SIZE)), 1);
	run_ring(f, 0);
	run_ring(f, 1);
	fds = vu_open_fds();
	save(f);
	whole = heir.p;
	for (unsigned i = 0; i < 4000; i++) {
		size_t at;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		at = (size_t)(seed >> 33) % whole.len;
		if (is_a_truth(at))
			continue;
		heir.p = cut(&whole, whole.len);
		heir.p.data[at] ^= (uint8_t)(1u << (seed >> 29 & 7));
		arrive(&heir.p);
		heir.s = NULL;
		if (!adopt()) {
			session_resume(heir.s);
			session_destroy(heir.s);
		}
		heir.fake.log[0] = '\0';
		parcel_free(&heir.p);
	}
	heir.p = whole;
	parcel_free(&heir.p);
	assert_int_equal(vu_open_fds(), fds);
}

static int setup_log(void **state)
{
	return setup_features(state, VU_FEATURES | LOG_ALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BOTH(what_the_front_end_has_told_goes_along),
		T(exactly_the_rings_that_ran_are_resumed),
		T(a_ring_that_cannot_be_resumed_loses_its_session_and_no_other),
		T_BOTH(memory_is_the_same_but_mapped_anew),
		T(memory_slots_go_along_one_by_one),
		T(event_fds_are_the_front_ends),
		T_BOTH(messages_go_on_where_they_stopped),
		T_BOTH(a_ring_can_be_completed_by_what_was_told_before),
		T(a_session_without_memory_goes_along),
		cmocka_unit_test_setup_teardown(a_migration_goes_on, setup_log, teardown),
		T(the_channel_goes_along_and_only_news_is_told),
		T(a_feature_that_is_not_offered_any_more_is_refused_by_name),
		T(a_protocol_feature_that_is_not_offered_any_more_is_refused_by_name),
		T(what_is_offered_but_not_used_may_go),
		T(another_number_of_rings_is_refused),
		T(memory_that_has_shrunk_loses_its_session_and_no_other),
		cmocka_unit_test_setup_teardown(half_a_session_is_refused, setup_log, teardown),
		cmocka_unit_test_setup_teardown(any_byte_may_be_wrong, setup_log, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
