/* SPDX-License-Identifier: BSD-2-Clause */
/* The control thread's loop, its log, and the lock it shares with workers. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/atomics.h"
#include "base/clock.h"
#include "base/eventfd.h"
#include "base/log.h"
#include "base/loop.h"

struct seen {
	struct loop *loop;
	struct loop_watch watch;
	struct loop_timer timer;
	struct seen *victim;
	uint32_t events;
	int calls;
};

static int setup(void **state)
{
	*state = loop_create();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	loop_destroy(*state);
	return 0;
}

static void count_watch(struct loop_watch *w, uint32_t events)
{
	struct seen *s = w->arg;

	s->calls++;
	s->events = events;
}

static void watch_eventfd(struct loop *loop, struct seen *s, void (*fn)(struct loop_watch *, uint32_t), uint64_t value)
{
	*s = (struct seen){ .loop = loop };
	s->watch.fd = eventfd((unsigned)value, EFD_NONBLOCK | EFD_CLOEXEC);
	s->watch.fn = fn;
	s->watch.arg = s;
	assert_true(s->watch.fd >= 0);
	assert_int_equal(loop_add(loop, &s->watch, EPOLLIN), 0);
}

static void forget(struct seen *s)
{
	loop_del(s->loop, &s->watch);
	close(s->watch.fd);
}

static void a_ready_fd_is_told_once_per_round(void **state)
{
	struct seen s;

	watch_eventfd(*state, &s, count_watch, 1);
	assert_int_equal(loop_once(*state, 0), 1);
	assert_int_equal(loop_once(*state, 0), 1);
	assert_int_equal(s.calls, 2);
	assert_int_equal(s.events, EPOLLIN);
	forget(&s);
	assert_int_equal(loop_once(*state, 0), 0);
}

static void events_can_be_changed(void **state)
{
	struct seen s;

	watch_eventfd(*state, &s, count_watch, 0);
	assert_int_equal(loop_once(*state, 0), 0);
	assert_int_equal(loop_mod(*state, &s.watch, EPOLLIN | EPOLLOUT), 0);
	assert_int_equal(loop_once(*state, 0), 1);
	assert_int_equal(s.events, EPOLLOUT);
	assert_int_equal(loop_mod(*state, &s.watch, 0), -EINVAL);
	forget(&s);
}

static void remove_victim(struct loop_watch *w, uint32_t events)
{
	struct seen *s = w->arg;

	count_watch(w, events);
	loop_del(s->loop, &s->victim->watch);
}

static void a_watch_removed_by_another_callback_is_not_called(void **state)
{
	struct seen a, b;

	watch_eventfd(*state, &a, remove_victim, 1);
	watch_eventfd(*state, &b, remove_victim, 1);
	a.victim = &b;
	b.victim = &a;
	assert_int_equal(loop_once(*state, 0), 1);
	assert_int_equal(a.calls + b.calls, 1);
	close(a.watch.fd);
	close(b.watch.fd);
	loop_del(*state, &a.watch);
	loop_del(*state, &b.watch);
}

static void remove_self(struct loop_watch *w, uint32_t events)
{
	struct seen *s = w->arg;

	count_watch(w, events);
	forget(s);
}

static void a_callback_may_remove_its_own_watch(void **state)
{
	struct seen s;

	watch_eventfd(*state, &s, remove_self, 1);
	assert_int_equal(loop_once(*state, 0), 1);
	assert_int_equal(loop_once(*state, 0), 0);
	loop_del(*state, &s.watch);
}

static int order[8], norder;

static void note_timer(struct loop_timer *t)
{
	order[norder++] = (int)(intptr_t)t->arg;
}

static void timers_fire_in_order_of_due_time(void **state)
{
	struct loop_timer t[3] = {
		{ .fn = note_timer, .arg = (void *)0 },
		{ .fn = note_timer, .arg = (void *)1 },
		{ .fn = note_timer, .arg = (void *)2 },
	};

	norder = 0;
	loop_timer_set(*state, &t[1], 200);
	loop_timer_set(*state, &t[2], 300);
	loop_timer_set(*state, &t[0], 100);
	assert_int_equal(loop_once(*state, -1), 3);
	assert_int_equal(norder, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(order[i], i);
}

static void a_cancelled_timer_does_not_fire(void **state)
{
	struct loop_timer t = { .fn = note_timer };

	norder = 0;
	loop_timer_set(*state, &t, 1);
	loop_timer_cancel(*state, &t);
	loop_timer_cancel(*state, &t);
	assert_int_equal(loop_once(*state, 0), 0);
	assert_int_equal(norder, 0);
}

static void the_wait_ends_when_a_timer_is_due(void **state)
{
	struct loop_timer t = { .fn = note_timer };

	norder = 0;
	loop_timer_set(*state, &t, clock_now() + 2 * NSEC_PER_MSEC);
	while (!norder)
		assert_true(loop_once(*state, -1) >= 0);
	assert_int_equal(t.due_ns, 0);
}

static void rearm(struct loop_timer *t)
{
	struct seen *s = t->arg;

	s->calls++;
	loop_timer_set(s->loop, t, 1);
}

static void a_timer_that_rearms_itself_in_the_past_fires_once_per_round(void **state)
{
	struct seen s = { .loop = *state, .timer = { .fn = rearm } };

	s.timer.arg = &s;
	loop_timer_set(*state, &s.timer, 1);
	assert_int_equal(loop_once(*state, 0), 1);
	assert_int_equal(s.calls, 1);
	loop_timer_cancel(*state, &s.timer);
}

/* stderr through a pipe or socket for the time of one test. */
static int saved_stderr;

static void take_stderr(int fd)
{
	saved_stderr = dup(STDERR_FILENO);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
}

static void give_stderr_back(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
}

static size_t drain(int fd, char *buf, size_t room)
{
	size_t at = 0;
	ssize_t n;

	while (at < room - 1 && (n = read(fd, buf + at, room - 1 - at)) > 0)
		at += (size_t)n;
	buf[at] = 0;
	return at;
}

static unsigned lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void lines_carry_their_level(void **state)
{
	char buf[512];
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	take_stderr(p[1]);
	log_info("ready %d", 1);
	log_warn("odd");
	log_error("bad\nname\x1b[1m");
	log_debug("not shown");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("shown");
	log_set_level(LOG_LEVEL_INFO);
	give_stderr_back();
	drain(p[0], buf, sizeof(buf));
	close(p[0]);
	assert_string_equal(buf, "viaduct: ready 1\nviaduct: warning: odd\nviaduct: error: bad?name?[1m\n"
				 "viaduct: debug: shown\n");
}

static void the_journal_gets_priority_prefixes(void **state)
{
	char buf[256], id[64];
	struct stat st;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	assert_int_equal(fstat(sv[1], &st), 0);
	snprintf(id, sizeof(id), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", id, 1);
	take_stderr(sv[1]);
	log_info("ready");
	log_error("bad");
	give_stderr_back();
	unsetenv("JOURNAL_STREAM");
	drain(sv[0], buf, sizeof(buf));
	close(sv[0]);
	assert_string_equal(buf, "<6>ready\n<3>bad\n");
}

static void a_full_log_pipe_loses_lines_and_tells_how_many(void **state)
{
	static char buf[1 << 20];
	unsigned written, total = 3000;
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);	/* blocking writer: a blocking log would hang here */
	assert_true(fcntl(p[1], F_SETPIPE_SZ, 4096) >= 4096);
	take_stderr(p[1]);
	for (unsigned i = 0; i < total; i++)
		log_info("line %u of many that nobody reads", i);
	assert_int_equal(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
	drain(p[0], buf, sizeof(buf));
	written = lines(buf);
	assert_true(written > 0 && written < total);
	log_info("after");
	give_stderr_back();
	drain(p[0], buf, sizeof(buf));
	close(p[0]);
	{
		char want[128];

		snprintf(want, sizeof(want), "viaduct: warning: %u log lines were lost while nobody read the log\n"
					     "viaduct: after\n", total - written);
		assert_string_equal(buf, want);
	}
}

static void a_log_pipe_without_reader_raises_no_signal(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	take_stderr(p[1]);
	assert_int_equal(log_info("into the void"), 1);
	give_stderr_back();
	/* Tell the lost line here, not in the next test. */
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	take_stderr(p[1]);
	log_info("x");
	give_stderr_back();
	close(p[0]);
}

static void a_cause_writes_twenty_lines_a_minute_then_their_count(void **state)
{
	static char buf[65536];
	struct log_limit limit = { 0 };
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	take_stderr(p[1]);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(log_at(LOG_LEVEL_INFO, &limit, "again"), i < LOG_BURST);
	drain(p[0], buf, sizeof(buf));
	assert_int_equal(lines(buf), LOG_BURST);
	assert_non_null(strstr(buf, "left out for up to a minute"));

	limit.window_start_ns -= 61 * NSEC_PER_SEC;
	for (int i = 0; i < 1000; i++)
		log_at(LOG_LEVEL_INFO, &limit, "again");
	give_stderr_back();
	drain(p[0], buf, sizeof(buf));
	close(p[0]);
	assert_int_equal(lines(buf), LOG_BURST);
	assert_true(strstr(buf, "viaduct: 980 more lines like the next one were left out\n") == buf);
}

static void notifying_an_eventfd_adds_one(void **state)
{
	uint64_t count = 0;
	int fd = eventfd(0, EFD_CLOEXEC), two[2];

	(void)state;
	assert_int_equal(eventfd_check(fd), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(eventfd_notify(fd), 0);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 100);
	close(fd);
	assert_int_equal(eventfd_notify(fd), -EBADF);
	assert_int_equal(pipe2(two, O_CLOEXEC), 0);
	assert_int_equal(eventfd_check(two[1]), -EINVAL);
	assert_true(eventfd_notify(two[1]) < 0);
	close(two[0]);
	close(two[1]);
}

/* Somebody else fills the counter and makes it blocking all the time: a plain write() would hang here. */
static void *fill(void *arg)
{
	struct seen *s = arg;
	uint64_t v;

	while (!__atomic_load_n(&s->calls, __ATOMIC_ACQUIRE)) {
		fcntl(s->watch.fd, F_SETFL, O_NONBLOCK);
		if (read(s->watch.fd, &v, sizeof(v)) < 0)
			continue;
		fcntl(s->watch.fd, F_SETFL, 0);
		v = UINT64_MAX - 1;
		fcntl(s->watch.fd, F_SETFL, O_NONBLOCK);
		if (write(s->watch.fd, &v, sizeof(v)) < 0)
			continue;
		fcntl(s->watch.fd, F_SETFL, 0);
	}
	return NULL;
}

static void notifying_never_waits_whatever_others_do_to_the_eventfd(void **state)
{
	struct seen s = { .watch.fd = eventfd(1, EFD_CLOEXEC) };
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, fill, &s), 0);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(eventfd_notify(s.watch.fd), 0);
	__atomic_store_n(&s.calls, 1, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	close(s.watch.fd);
}

static struct spinlock lock;
static unsigned shared;

static void *add_many(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		spin_lock(&lock);
		shared++;
		spin_unlock(&lock);
	}
	return arg;
}

static void the_spin_lock_excludes(void **state)
{
	pthread_t t[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, add_many, NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(shared, 60000);
	assert_true(spin_trylock(&lock));
	assert_false(spin_trylock(&lock));
	spin_unlock(&lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_ready_fd_is_told_once_per_round, setup, teardown),
		cmocka_unit_test_setup_teardown(events_can_be_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_removed_by_another_callback_is_not_called, setup, teardown),
		cmocka_unit_test_setup_teardown(a_callback_may_remove_its_own_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_fire_in_order_of_due_time, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cancelled_timer_does_not_fire, setup, teardown),
		cmocka_unit_test_setup_teardown(the_wait_ends_when_a_timer_is_due, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_that_rearms_itself_in_the_past_fires_once_per_round, setup,
						teardown),
		cmocka_unit_test(lines_carry_their_level),
		cmocka_unit_test(the_journal_gets_priority_prefixes),
		cmocka_unit_test(a_full_log_pipe_loses_lines_and_tells_how_many),
		cmocka_unit_test(a_log_pipe_without_reader_raises_no_signal),
		cmocka_unit_test(a_cause_writes_twenty_lines_a_minute_then_their_count),
		cmocka_unit_test(notifying_an_eventfd_adds_one),
		cmocka_unit_test(notifying_never_waits_whatever_others_do_to_the_eventfd),
		cmocka_unit_test(the_spin_lock_excludes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
