/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a front-end's messages do to virtqueues that are there: a port with its
 * socket, a session, the data path and a worker that is not running (the test
 * takes its turns), with both kinds of rings, on an uplink without a NIC.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "bridge/attach.h"
#include "bridge/local.h"
#include "dp.h"
#include "fake_host.h"
#include "fake_uplink.h"
#include "vu.h"

#define SIZE 256
#define BASE 200u	/* so that the end of the ring is near */
#define PAIRS 2
#define LEN 60

/* --- the bridge, and its front-end ------------------------------------------- */

static struct bed {
	struct bridge b;
	struct host_ops host;
	struct nicq q;
	struct vd_flow flow[VD_FLOW_ROW];
	struct datapath *dp;
	struct worker worker;
	struct port *p;
	struct session *s;
	char dir[32];
	int fd;			/* the front-end's end of the socket */
	uint64_t features;
	struct guest g;		/* its memory, and the driver of one of its rings */
	struct vhost_user_msg reply;
} bed;

static void open_bridge(struct bed *b)
{
	struct port_config cfg = { .name = "vm0", .pairs = PAIRS, .perm = 0600 };

	memset(b, 0, sizeof(*b));
	fake_uplink_open();
	strcpy(b->dir, "/tmp/attach-XXXXXX");
	guest_must(mkdtemp(b->dir), "mkdtemp");
	snprintf(cfg.socket, sizeof(cfg.socket), "%s/socket", b->dir);
	b->host = (struct host_ops){ .unix_listen = fake_listen, .unix_connect = fake_connect, .unlink = fake_unlink };
	guest_must(!nicq_init_memory(&b->q, 64, 128, DP_CHUNK), "nicq_init_memory");
	b->p = b->b.port[0] = port_create(0, &cfg);
	b->b.nports = b->b.queues = b->b.homes = b->b.nworkers = 1;
	guest_must(!datapath_create(&b->q, b->flow, &b->b.fdb, b->b.port, 1, 1, &b->dp), "datapath_create");
	guest_must(!worker_init(&b->worker, 0, -1, WAIT_ADAPTIVE), "worker_init");
	guest_must(!worker_add(&b->worker, b->dp), "worker_add");
	b->b.dp = &b->dp;
	b->b.worker = &b->worker;
	b->b.host = &b->host;
	b->b.uplink = &uplink;
	b->b.loop = loop_create();
	guest_must(b->b.loop && !attach_open(&b->b, b->p), "attach_open");
	b->fd = fake_connect(NULL, cfg.socket);
	fake_settle(b->b.loop);
	b->s = endpoint_session(b->p->endpoint);
	guest_must(b->fd >= 0 && b->s, "connect");
}

static int teardown(void **state)
{
	struct bed *b = *state;

	attach_close(b->p);
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		assert_false(port_vq(b->p, i)->started);
	close(b->fd);
	rmdir(b->dir);
	loop_destroy(b->b.loop);
	worker_fini(&b->worker);
	datapath_destroy(b->dp);
	port_destroy(b->p);
	assert_int_equal(frames_check(&b->q.frames), 0);
	nicq_fini(&b->q);
	gmem_put(b->g.mem);
	return 0;
}

/* Sends a message that wants an ack. Return: it was acknowledged. */
static bool say_fds(struct bed *b, struct vhost_user_msg m, int *fds, unsigned n)
{
	m.hdr.flags |= VHOST_USER_NEED_REPLY;
	assert_int_equal(session_handle(b->s, &m, fds, n, &b->reply), 1);
	return !b->reply.payload.u64;
}

static bool say(struct bed *b, struct vhost_user_msg m)
{
	return say_fds(b, m, NULL, 0);
}

static bool say_fd(struct bed *b, struct vhost_user_msg m, int fd)
{
	return say_fds(b, m, &fd, 1);
}

/* An event fd is sent. Return: ours, of the same. */
static int say_event(struct bed *b, uint32_t request, uint32_t index)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), mine = dup(fd);

	assert_true(say_fd(b, vu_u64(request, index), fd));
	return mine;
}

static uint32_t ask_base(struct bed *b, uint32_t index)
{
	const struct vhost_user_msg m = vu_state(VHOST_USER_GET_VRING_BASE, index, 0);

	assert_int_equal(session_handle(b->s, &m, NULL, 0, &b->reply), 1);
	return b->reply.payload.state.num;
}

static bool say_memory(struct bed *b)
{
	struct vhost_user_msg m = vu_msg(VHOST_USER_SET_MEM_TABLE, 0, 8 + 2 * 32);
	struct gmem_desc d;
	int fd[2];

	m.payload.mem.nregions = 2;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(gmem_region(b->g.mem, i, &d, &fd[i]), 0);
		fd[i] = dup(fd[i]);
		m.payload.mem.region[i] = (struct vhost_user_mem_region){ d.guest_addr, d.size, d.user_addr,
									  d.mmap_offset };
	}
	return say_fds(b, m, fd, 2);
}

static bool say_addr_flags(struct bed *b, uint32_t index, uint32_t flags)
{
	struct vhost_user_msg m = vu_addr(index, 0);

	m.payload.addr.flags = flags;
	m.payload.addr.log = GUEST_USED;
	m.payload.addr.desc = GUEST_DESC - GUEST_BASE + GUEST_USER;
	m.payload.addr.avail = GUEST_AVAIL - GUEST_BASE + GUEST_USER;
	m.payload.addr.used = GUEST_USED - GUEST_BASE + GUEST_USER;
	return say(b, m);
}

static bool say_addr(struct bed *b, uint32_t index)
{
	return say_addr_flags(b, index, 0);
}

static bool say_addr_log(struct bed *b, uint32_t index)
{
	return say_addr_flags(b, index, 1 << VHOST_VRING_F_LOG);
}

static void negotiate(struct bed *b)
{
	const struct vhost_user_msg m = vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, VU_PROTOCOL);

	assert_int_equal(session_handle(b->s, &m, NULL, 0, &b->reply), 0);
	assert_true(say(b, vu_u64(VHOST_USER_SET_FEATURES, b->features)));
}

static int setup_kind(void **state, uint64_t kind)
{
	open_bridge(&bed);
	bed.features = VU_FEATURES | kind;
	guest_prepare(&bed.g, VIRTQ_TX, SIZE, bed.features, BASE);
	negotiate(&bed);
	guest_must(say_memory(&bed), "memory");
	*state = &bed;
	return 0;
}

static int setup(void **state)
{
	return setup_kind(state, 0);
}

static int setup_packed(void **state)
{
	return setup_kind(state, GUEST_PACKED);
}

/* Both halves of a packed ring's base say the same. */
static uint32_t base_at(const struct guest *g, uint16_t position)
{
	return g->packed ? position | (uint32_t)position << 16 : position;
}

/* Ring @index runs, with the guest's driver. Return: our copy of its kick fd. */
static int run(struct bed *b, uint32_t index)
{
	int kick;

	b->g.cfg.dir = index & 1 ? VIRTQ_TX : VIRTQ_RX;
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_NUM, index, SIZE)));
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_BASE, index, base_at(&b->g, b->g.used_idx))));
	assert_true(say_addr(b, index));
	kick = say_event(b, VHOST_USER_SET_VRING_KICK, index);
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_ENABLE, index, 1)));
	assert_true(port_vq(b->p, index)->started);
	return kick;
}

/* The driver makes @n buffers available. */
static void offer(struct bed *b, unsigned n)
{
	while (n--)
		guest_offer_one(&b->g, DP_HDR + LEN);
	guest_expose(&b->g);
}

/* One turn of a worker; what is sent is sent. Return: frames that left, or reached the guest. */
static unsigned turn(struct bed *b)
{
	struct dp_result res = { 0 };
	uint8_t frame[LEN] = { 2, 0 };
	struct xdp_desc d;
	unsigned n = 0;

	if (b->g.cfg.dir == VIRTQ_RX)
		return local_from_wire(b->dp, frame, LEN, 1);
	datapath_activate_all(b->dp);	/* what the worker does when it is woken */
	for (datapath_tx(b->dp, clock_now(), &res); kernel_tx(&b->q, &d); n++)
		kernel_complete(&b->q, d.addr);
	return n;
}

/* @n packets pass, and the driver has their buffers back. */
static void pass(struct bed *b, unsigned n)
{
	offer(b, n);
	for (unsigned done = 0; done < n;) {
		unsigned now = turn(b);

		assert_int_not_equal(now, 0);
		done += now;
	}
	assert_int_equal(guest_pending(&b->g), n);
	while (guest_pending(&b->g))
		guest_take(&b->g);
}

static uint64_t count(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

/* Somebody kicks. Return: the worker would wake up for tx ring 1. */
static bool kick_wakes(struct bed *b, int kick)
{
	struct epoll_event ev[8];
	uint64_t one = 1;
	bool found = false;
	int n;

	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
	n = epoll_wait(b->worker.epfd, ev, 8, 0);
	for (int i = 0; i < n; i++)
		found |= ev[i].data.ptr == bridge_tx(&b->b, b->p, 0);
	return found;
}

/* --- positions --------------------------------------------------------------- */

static void a_ring_goes_on_where_its_base_says_and_tells_how_far_it_came(void **state)
{
	struct bed *b = *state;

	for (uint32_t index = 0; index < 2; index++) {
		guest_reset(&b->g);
		b->p->arrived_ns = 0;
		close(run(b, index));
		assert_int_not_equal(b->p->arrived_ns, 0);	/* its guest ran before, somewhere */
		pass(b, 100);	/* over the end of the ring */
		assert_int_equal(ask_base(b, index), base_at(&b->g, b->g.avail_idx));
		assert_false(port_vq(b->p, index)->started);
		/* It remembers by itself. */
		close(say_event(b, VHOST_USER_SET_VRING_KICK, index));
		pass(b, 10);
		assert_int_equal(ask_base(b, index), base_at(&b->g, b->g.avail_idx));
	}
}

static void what_was_not_taken_when_a_ring_stopped_is_taken_after_it(void **state)
{
	struct bed *b = *state;
	uint16_t at = b->g.avail_idx;

	close(run(b, 1));
	offer(b, 7);
	assert_int_equal(ask_base(b, 1), base_at(&b->g, at));
	assert_int_equal(turn(b), 0);
	close(say_event(b, VHOST_USER_SET_VRING_KICK, 1));
	assert_int_equal(turn(b), 7);
	assert_int_equal(guest_pending(&b->g), 7);
}

static void begin_anew(struct bed *b)
{
	assert_true(say(b, vu_u64(VHOST_USER_SET_STATUS, 0)));
	assert_false(port_vq(b->p, 1)->started || port_vq(b->p, 1)->enabled);
	memset(b->g.used, 0, 4);
	memset(b->g.avail, 0, 4);
	b->g.avail_idx = b->g.used_idx = 0;
	if (b->g.packed)
		guest_prepare_packed(&b->g, 0);
	guest_reset(&b->g);
	assert_true(say(b, vu_u64(VHOST_USER_SET_FEATURES, b->features)));
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_NUM, 1, SIZE)));
	assert_true(say_addr(b, 1));
	close(say_event(b, VHOST_USER_SET_VRING_KICK, 1));
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_ENABLE, 1, 1)));
}

static void after_a_reset_a_ring_without_a_base_begins_at_its_beginning(void **state)
{
	struct bed *b = *state;

	close(run(b, 1));
	pass(b, 30);
	for (unsigned i = 0; i < 3; i++) {
		b->p->arrived_ns = 0;
		begin_anew(b);
		assert_int_equal(b->p->arrived_ns, 0);
		pass(b, 20 + i);
		assert_int_equal(ask_base(b, 1), base_at(&b->g, b->g.avail_idx));
		close(say_event(b, VHOST_USER_SET_VRING_KICK, 1));
	}
}

/* Packed rings only: a position is a place in the ring. */
static void a_size_below_an_earlier_base_is_refused_at_the_kick(void **state)
{
	struct bed *b = *state;
	int kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_NUM, 1, SIZE)));
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_BASE, 1, 0x80c880c8)));
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_NUM, 1, BASE)));
	assert_true(say_addr(b, 1));
	assert_false(say_fd(b, vu_u64(VHOST_USER_SET_VRING_KICK, 1), dup(kick)));
	assert_false(port_vq(b->p, 1)->started);
	assert_false(session_state(b->s)->ring[1].kicked);
	assert_false(kick_wakes(b, kick));
	/* And one more descriptor would do. */
	assert_true(say(b, vu_state(VHOST_USER_SET_VRING_NUM, 1, BASE + 1)));
	assert_true(say_fd(b, vu_u64(VHOST_USER_SET_VRING_KICK, 1), kick));
	assert_true(port_vq(b->p, 1)->started);
}

/* --- memory -------------------------------------------------------------------- */

static void new_memory_takes_over_under_a_running_ring(void **state)
{
	struct bed *b = *state;

	for (uint32_t index = 0; index < 2; index++) {
		const unsigned n = index ? 5 : 1;
		struct gmem *old;
		uint8_t *seen;

		guest_reset(&b->g);
		close(run(b, index));
		pass(b, 60);
		offer(b, 5);
		guest_move(&b->g, &old);
		seen = malloc(GUEST_REGION);
		memcpy(seen, old->region[0].host, GUEST_REGION);
		assert_true(say_memory(b));
		assert_int_equal(turn(b), n);
		assert_int_equal(guest_pending(&b->g), n);
		assert_memory_equal(old->region[0].host, seen, GUEST_REGION);
		for (unsigned i = 1; i < 5; i++)
			turn(b);
		for (unsigned i = 0; i < 5; i++)
			guest_take(&b->g);
		pass(b, 60);
		assert_int_equal(ask_base(b, index), base_at(&b->g, b->g.avail_idx));
		free(seen);
		gmem_put(old);
	}
}

static void after_get_vring_base_the_rings_memory_is_left_alone(void **state)
{
	struct bed *b = *state;

	for (uint32_t index = 0; index < 2; index++) {
		uint8_t *seen = malloc(2 * GUEST_REGION);

		guest_reset(&b->g);
		close(run(b, index));
		pass(b, 40);
		offer(b, 9);
		ask_base(b, index);
		for (unsigned i = 0; i < 2; i++)
			memcpy(seen + i * GUEST_REGION, b->g.mem->region[i].host, GUEST_REGION);
		for (unsigned i = 0; i < 10; i++) {
			assert_int_equal(turn(b), 0);
			datapath_arm(b->dp);
			attach_check(b->p, clock_now());
			attach_mtu_changed(b->p);
		}
		assert_true(say(b, vu_state(VHOST_USER_SET_VRING_ENABLE, index, 0)));
		close(say_event(b, VHOST_USER_SET_VRING_CALL, index));
		assert_true(say_memory(b));
		for (unsigned i = 0; i < 2; i++)
			assert_memory_equal(seen + i * GUEST_REGION, b->g.mem->region[i].host, GUEST_REGION);
		free(seen);
		/* What it was given it gives back when it goes on. */
		assert_true(say(b, vu_state(VHOST_USER_SET_VRING_ENABLE, index, 1)));
		close(say_event(b, VHOST_USER_SET_VRING_KICK, index));
		for (unsigned i = 0; i < 9; i++)
			turn(b);
		assert_int_equal(guest_pending(&b->g), 9);
		while (guest_pending(&b->g))
			guest_take(&b->g);
		ask_base(b, index);
	}
}

/* --- migration ------------------------------------------------------------------- */

static unsigned pages_marked(const uint8_t *log, uint64_t size)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < size; i++)
		n += (unsigned)__builtin_popcount(log[i]);
	return n;
}

static void what_running_rings_write_is_logged_from_the_acknowledgement_on(void **state)
{
	const uint64_t size = (GUEST_BASE + 4 * GUEST_REGION) >> 15, all = 1ull << VHOST_F_LOG_ALL;
	struct bed *b = *state;
	int fd = vu_memfd(size), mine = dup(fd);
	uint8_t *log = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mine, 0);
	struct vhost_user_msg m = vu_log(size, 0);

	for (uint32_t index = 0; index < 2; index++) {
		guest_reset(&b->g);
		close(run(b, index));
		pass(b, 3);
		if (!index)
			assert_int_equal(session_handle(b->s, &m, &fd, 1, &b->reply), 1);
		assert_int_equal(pages_marked(log, size), 0);
		assert_true(say(b, vu_u64(VHOST_USER_SET_FEATURES, b->features | all)));
		assert_int_equal(pages_marked(log, size), 0);
		pass(b, 3);
		/* A guest's own buffers are only written when it receives. */
		assert_int_equal(pages_marked(log, size) > 0, !index);
		assert_true(say_addr_log(b, index));
		memset(log, 0, size);
		pass(b, 3);
		assert_true(pages_marked(log, size) > 0);
		assert_true(say_addr(b, index));
		assert_true(say(b, vu_u64(VHOST_USER_SET_FEATURES, b->features)));
		memset(log, 0, size);
		pass(b, 3);
		assert_int_equal(pages_marked(log, size), 0);
		ask_base(b, index);
	}
	munmap(log, size);
	close(mine);
}

/* --- event fds ------------------------------------------------------------------- */

static void a_new_kick_fd_wakes_the_worker_and_the_old_one_does_not(void **state)
{
	struct bed *b = *state;
	struct dp_tx *tx = bridge_tx(&b->b, b->p, 0);
	int old = run(b, 1), new;

	assert_true(kick_wakes(b, old));
	pass(b, 3);
	assert_false(datapath_arm(b->dp));
	assert_int_equal(tx->armed, 1);
	new = say_event(b, VHOST_USER_SET_VRING_KICK, 1);
	assert_int_equal(tx->armed, 0);	/* a kick that went to the old one may have been missed */
	assert_int_equal(tx->vq->kickfd, session_state(b->s)->ring[1].kickfd);
	assert_false(kick_wakes(b, old));
	assert_true(kick_wakes(b, new));
	pass(b, 3);
	ask_base(b, 1);
	assert_false(kick_wakes(b, new));
	close(old);
	close(new);
}

static void a_ring_whose_kick_fd_is_taken_away_is_polled(void **state)
{
	struct bed *b = *state;
	struct dp_result res = { 0 };
	int old = run(b, 1);

	datapath_activate_all(b->dp);
	datapath_tx(b->dp, clock_now(), &res);
	assert_false(res.polled);
	assert_true(say(b, vu_u64(VHOST_USER_SET_VRING_KICK, 1 | VHOST_USER_VRING_NOFD)));
	assert_false(kick_wakes(b, old));
	datapath_activate_all(b->dp);
	datapath_tx(b->dp, clock_now(), &res);
	assert_true(res.polled);
	pass(b, 3);
	close(old);
}

static void the_kick_fd_of_an_rx_ring_is_never_waited_for(void **state)
{
	struct bed *b = *state;
	int old = run(b, 0), new = say_event(b, VHOST_USER_SET_VRING_KICK, 0);

	assert_int_equal(port_vq(b->p, 0)->kickfd, session_state(b->s)->ring[0].kickfd);
	assert_false(kick_wakes(b, old));
	assert_false(kick_wakes(b, new));
	pass(b, 3);
	close(old);
	close(new);
}

static void a_call_fd_that_is_replaced_is_signalled_once_and_then_by_calls(void **state)
{
	struct bed *b = *state;

	for (uint32_t index = 0; index < 2; index++) {
		int old = say_event(b, VHOST_USER_SET_VRING_CALL, index), new;

		guest_reset(&b->g);
		close(run(b, index));
		assert_int_equal(count(old), 0);
		guest_call_after(&b->g, 0);
		pass(b, 1);
		assert_int_equal(count(old), 1);
		new = say_event(b, VHOST_USER_SET_VRING_CALL, index);
		assert_int_equal(count(new), 1);
		guest_call_after(&b->g, 0);
		pass(b, 1);
		assert_int_equal(count(new), 1);
		assert_true(say(b, vu_u64(VHOST_USER_SET_VRING_CALL, index | VHOST_USER_VRING_NOFD)));
		guest_call_after(&b->g, 0);
		pass(b, 1);
		assert_int_equal(count(new) + count(old), 0);
		ask_base(b, index);
		close(old);
		close(new);
	}
}

static void on_signal(int sig)
{
	(void)sig;
}

static uint32_t holds;

/* A worker that has a ring of its own, and is inside the write to the call fd of another, which is full and blocks. */
static void *hang_in_a_call(void *arg)
{
	struct bed *b = arg;
	struct virtq *mine = port_vq(b->p, 3), *other = port_vq(b->p, 0);
	uint64_t one = 1;

	spin_lock(&mine->lock);
	spin_lock(&other->lock);
	WRITE_ONCE(other->call_since_ns, clock_now());
	store_release(&holds, 1);
	assert_int_equal(write(other->callfd, &one, sizeof(one)), -1);
	WRITE_ONCE(other->call_since_ns, 0);
	spin_unlock(&other->lock);
	spin_unlock(&mine->lock);
	return NULL;
}

static void whoever_has_a_ring_is_freed_from_the_call_fd_of_another(void **state)
{
	const struct sigaction rescue = { .sa_handler = on_signal };
	struct bed *b = *state;
	uint64_t full = UINT64_MAX - 1;
	struct sigaction before;
	int call, kick, own;

	assert_int_equal(sigaction(SIGUSR2, &rescue, &before), 0);
	call = say_event(b, VHOST_USER_SET_VRING_CALL, 0);
	own = run(b, 0);
	guest_reset(&b->g);
	kick = run(b, 3);
	count(call);
	assert_int_equal(write(call, &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(call, F_SETFL, 0), 0);
	holds = 0;
	assert_int_equal(pthread_create(&b->worker.thread, NULL, hang_in_a_call, b), 0);
	b->worker.running = true;
	while (!load_acquire(&holds))
		sched_yield();
	ask_base(b, 3);		/* comes back */
	pthread_join(b->worker.thread, NULL);
	b->worker.running = false;
	ask_base(b, 0);
	sigaction(SIGUSR2, &before, NULL);
	close(call);
	close(kick);
	close(own);
}

/* --- the uplink's MTU --------------------------------------------------------------- */

static void another_mtu_reaches_every_ring(void **state)
{
	struct bed *b = *state;

	/* The last one starts when it has changed. */
	for (uint32_t index = 0; index < 2 * PAIRS - 1; index++)
		close(run(b, index));
	uplink.link.mtu = 1200;
	attach_mtu_changed(b->p);
	close(run(b, 2 * PAIRS - 1));
	for (uint32_t index = 0; index < 2 * PAIRS; index++)
		assert_int_equal(port_vq(b->p, index)->max_frame, 1218);
	uplink.link.mtu = 9000;	/* more than the frames hold, which were made for less */
	attach_mtu_changed(b->p);
	for (uint32_t index = 0; index < 2 * PAIRS; index++)
		assert_int_equal(port_vq(b->p, index)->max_frame, nicq_max_frame(&b->q));
}

static void with_a_smaller_mtu_longer_frames_are_dropped_and_counted(void **state)
{
	struct bed *b = *state;

	close(run(b, 1));
	guest_offer_one(&b->g, DP_HDR + 1219);
	uplink.link.mtu = 1200;
	attach_mtu_changed(b->p);
	guest_offer_one(&b->g, DP_HDR + 1218);
	guest_expose(&b->g);
	assert_int_equal(turn(b), 1);
	assert_int_equal(port_vq(b->p, 1)->stats.errors[VIRTQ_DROP_LONG], 1);
	assert_int_equal(guest_pending(&b->g), 2);
}

/* --- the device's configuration ------------------------------------------------------ */

static struct virtio_net_config ask_config(struct bed *b)
{
	const struct vhost_user_msg m = vu_config_msg(VHOST_USER_GET_CONFIG, 0, sizeof(struct virtio_net_config));
	struct virtio_net_config c;

	assert_int_equal(session_handle(b->s, &m, NULL, 0, &b->reply), 1);
	memcpy(&c, b->reply.payload.config.data, sizeof(c));
	return c;
}

static void the_guests_link_is_the_uplinks_and_changes_are_told(void **state)
{
	struct bed *b = *state;
	struct vhost_user_hdr h;
	int pair[2];

	assert_int_equal(ask_config(b).status, 0);
	assert_int_equal(ask_config(b).max_virtqueue_pairs, PAIRS);
	assert_int_equal(ask_config(b).mtu, 1500);
	assert_int_equal(ask_config(b).speed, UINT32_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(say_fd(b, vu_msg(VHOST_USER_SET_BACKEND_REQ_FD, 0, 0), pair[0]));
	attach_check(b->p, clock_now());
	assert_int_equal(recv(pair[1], &h, sizeof(h), MSG_DONTWAIT), -1);
	uplink_links[0].up = 1;
	uplink.link.speed_mbps = 10000;
	uplink.link.duplex = 1;
	attach_check(b->p, clock_now());
	attach_check(b->p, clock_now());
	assert_int_equal(recv(pair[1], &h, sizeof(h), MSG_DONTWAIT), sizeof(h));
	assert_int_equal(h.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(recv(pair[1], &h, sizeof(h), MSG_DONTWAIT), -1);
	assert_int_equal(ask_config(b).status, VIRTIO_NET_S_LINK_UP);
	assert_int_equal(ask_config(b).speed, 10000);
	assert_int_equal(ask_config(b).duplex, 1);
	close(pair[1]);
}

static void the_configuration_has_the_address_that_the_port_was_given(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 }, none[6];
	const uint64_t has = 1ull << VIRTIO_NET_F_MAC;
	struct bed *b = *state;

	assert_memory_equal(ask_config(b).mac, none, 6);
	assert_false(attach_features(&b->p->cfg) & has);
	memcpy(b->p->cfg.mac[0], mac, 6);
	b->p->cfg.nmac = 1;
	assert_memory_equal(ask_config(b).mac, mac, 6);
	assert_true(attach_features(&b->p->cfg) & has);
	b->p->cfg.nmac = 0;
}

static void an_mtu_beyond_the_uplinks_is_accepted(void **state)
{
	struct bed *b = *state;

	assert_true(say(b, vu_u64(VHOST_USER_NET_SET_MTU, 1500)));
	assert_true(say(b, vu_u64(VHOST_USER_NET_SET_MTU, 9000)));
	assert_false(say(b, vu_u64(VHOST_USER_NET_SET_MTU, 60)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DP_BOTH(a_ring_goes_on_where_its_base_says_and_tells_how_far_it_came),
		DP_BOTH(what_was_not_taken_when_a_ring_stopped_is_taken_after_it),
		DP_BOTH(after_a_reset_a_ring_without_a_base_begins_at_its_beginning),
		cmocka_unit_test_setup_teardown(a_size_below_an_earlier_base_is_refused_at_the_kick, setup_packed,
						teardown),
		DP_BOTH(new_memory_takes_over_under_a_running_ring),
		DP_BOTH(after_get_vring_base_the_rings_memory_is_left_alone),
		DP_BOTH(what_running_rings_write_is_logged_from_the_acknowledgement_on),
		DP_BOTH(a_new_kick_fd_wakes_the_worker_and_the_old_one_does_not),
		DP_BOTH(a_ring_whose_kick_fd_is_taken_away_is_polled),
		DP_BOTH(the_kick_fd_of_an_rx_ring_is_never_waited_for),
		DP_BOTH(a_call_fd_that_is_replaced_is_signalled_once_and_then_by_calls),
		DP_BOTH(whoever_has_a_ring_is_freed_from_the_call_fd_of_another),
		DP_BOTH(another_mtu_reaches_every_ring),
		DP_BOTH(with_a_smaller_mtu_longer_frames_are_dropped_and_counted),
		cmocka_unit_test_setup_teardown(the_guests_link_is_the_uplinks_and_changes_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(the_configuration_has_the_address_that_the_port_was_given, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_mtu_beyond_the_uplinks_is_accepted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
