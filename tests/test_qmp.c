/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU is told of a link over its monitor, which may be busy, gone, wrong or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "monitor.h"
#include "vhost/qmp.h"
#include "vu.h"

#define SOCKET "/run/vm1.sock"

struct fixture {
	struct loop *loop;
	struct host_ops host;
	struct qmp_config cfg;
	struct qmp *q;
	struct monitor m;
	unsigned changed, fds_before;
	bool close_when_told;
	char dir[64];
};

static void on_changed(void *ctx)
{
	struct fixture *f = ctx;

	f->changed++;
	if (f->close_when_told) {
		qmp_close(f->q);
		f->q = NULL;
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fds_before = vu_open_fds();
	f->loop = loop_create();
	f->host = (struct host_ops){ .unix_connect = fake_connect };
	strcpy(f->dir, "/tmp/test_qmp.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	monitor_open(&f->m, f->dir);
	f->m.socket = SOCKET;
	memcpy(f->cfg.path, f->m.path, sizeof(f->cfg.path));
	strcpy(f->cfg.socket, SOCKET);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int bad;

	qmp_close(f->q);
	monitor_close(&f->m);
	loop_destroy(f->loop);
	bad = vu_open_fds() != f->fds_before;
	bad |= rmdir(f->dir) < 0;
	free(f);
	return bad ? -1 : 0;
}

static void begin(struct fixture *f)
{
	assert_int_equal(qmp_open(f->loop, &f->host, &f->cfg, on_changed, f, &f->q), 0);
}

/* Until an attempt has come to an end. */
static void wait_for_news(struct fixture *f)
{
	for (unsigned had = f->changed; f->changed == had;) {
		monitor_turn(&f->m);
		assert_true(loop_once(f->loop, 1) >= 0);
	}
}

static void expect_log(struct fixture *f, const char *log)
{
	assert_string_equal(f->m.log, log);
	f->m.log[0] = '\0';
}

static void the_device_is_found_by_its_socket_and_told(void **state)
{
	struct fixture *f = *state;

	begin(f);
	assert_false(qmp_confirmed(f->q));
	qmp_want(f->q, false);
	monitor_settle(&f->m, f->loop);
	assert_true(qmp_confirmed(f->q) && !qmp_wanted(f->q));
	assert_int_equal(f->changed, 1);
	assert_string_equal(qmp_error(f->q), "");
	expect_log(f, "caps;list;addr c0;addr c1;net1 down;");
	assert_int_equal(f->m.conn, -1);	/* others want to talk to it, too */
	/* Nothing is said twice, and what was found is known. */
	qmp_want(f->q, false);
	monitor_settle(&f->m, f->loop);
	expect_log(f, "");
	qmp_want(f->q, true);
	monitor_settle(&f->m, f->loop);
	assert_true(qmp_confirmed(f->q) && qmp_wanted(f->q));
	expect_log(f, "caps;net1 up;");
}

static void a_device_that_was_named_is_not_looked_for(void **state)
{
	struct fixture *f = *state;

	strcpy(f->cfg.netdev, "hostnet7");
	f->m.socket = NULL;
	begin(f);
	qmp_want(f->q, true);
	monitor_settle(&f->m, f->loop);
	expect_log(f, "caps;hostnet7 up;");
	assert_true(qmp_confirmed(f->q));
}

static void a_device_that_began_anew_is_told_anew(void **state)
{
	struct fixture *f = *state;

	begin(f);
	qmp_want(f->q, false);
	monitor_settle(&f->m, f->loop);
	qmp_forget(f->q);
	assert_false(qmp_confirmed(f->q));
	monitor_settle(&f->m, f->loop);
	expect_log(f, "caps;list;addr c0;addr c1;net1 down;");
	qmp_want(f->q, false);
	monitor_settle(&f->m, f->loop);
	expect_log(f, "caps;list;addr c0;addr c1;net1 down;");
}

static void the_newest_wish_wins(void **state)
{
	struct fixture *f = *state;

	strcpy(f->cfg.netdev, "n");
	begin(f);
	qmp_want(f->q, false);
	qmp_want(f->q, true);
	monitor_settle(&f->m, f->loop);
	expect_log(f, "caps;n up;");
	/* In the middle of an attempt, too. */
	f->m.mute = true;
	qmp_want(f->q, false);
	monitor_settle(&f->m, f->loop);
	f->m.mute = false;
	qmp_want(f->q, true);
	monitor_settle(&f->m, f->loop);
	expect_log(f, "caps;n up;");
	assert_true(qmp_confirmed(f->q) && qmp_wanted(f->q));
}

static void a_monitor_that_is_not_there_yet_is_waited_for(void **state)
{
	struct fixture *f = *state;

	monitor_close(&f->m);
	begin(f);
	qmp_want(f->q, false);
	wait_for_news(f);
	assert_false(qmp_confirmed(f->q));
	assert_non_null(strstr(qmp_error(f->q), "cannot connect to the monitor at"));
	monitor_open(&f->m, f->dir);
	f->m.socket = SOCKET;
	wait_for_news(f);
	assert_true(qmp_confirmed(f->q));
	assert_string_equal(qmp_error(f->q), "");
}

static void a_device_that_is_not_found_says_what_to_do(void **state)
{
	struct fixture *f = *state;

	f->m.socket = "/run/other.sock";
	begin(f);
	qmp_want(f->q, false);
	wait_for_news(f);
	assert_string_equal(qmp_error(f->q), "QEMU has no vhost-user network device on " SOCKET
					     ": give its id, netdev=ID");
}

static void what_qemu_refuses_is_told_in_one_printable_line(void **state)
{
	struct fixture *f = *state;

	strcpy(f->cfg.netdev, "x");
	f->m.refuses = true;
	begin(f);
	qmp_want(f->q, false);
	wait_for_news(f);
	assert_string_equal(qmp_error(f->q), "QEMU refuses: Device 'x' not found??? (netdev=)");
	f->m.refuses = false;	/* it is tried again */
	wait_for_news(f);
	assert_true(qmp_confirmed(f->q));
}

static void events_and_answers_to_others_are_skipped(void **state)
{
	struct fixture *f = *state;

	f->m.before = "{\"event\":\"NIC_RX_FILTER_CHANGED\",\"data\":{\"name\":\"x\"}}\r\n\r\n"
		      "{\"return\":{},\"id\":\"1\"}\n{\"return\":{},\"id\":99}\n{\"error\":{}}\n{}\n";
	begin(f);
	qmp_want(f->q, false);
	monitor_settle(&f->m, f->loop);
	assert_true(qmp_confirmed(f->q));
	expect_log(f, "caps;list;addr c0;addr c1;net1 down;");
}

static void a_monitor_that_says_nothing_is_given_up_at_the_deadline(void **state)
{
	struct fixture *f = *state;

	f->cfg.deadline_ms = 20;
	f->m.greeting = "";
	begin(f);
	qmp_want(f->q, false);
	wait_for_news(f);
	assert_non_null(strstr(qmp_error(f->q), "it serves one client at a time"));
	f->m.greeting = NULL;
	f->m.mute = true;
	wait_for_news(f);
	assert_non_null(strstr(qmp_error(f->q), "no answer from the monitor"));
	assert_int_equal(f->m.connections, 2);
}

static void a_monitor_that_speaks_something_else_ends_the_attempt(void **state)
{
	static const char *const nonsense[] = {
		"SSH-2.0-OpenSSH_9.2\r\n", "[]\n", "{\"return\":{}}\n", "{\"QMP\"\n", "\"QMP\"\n", "\xff\xfe\n", "7\n",
		"{\"QMP\":{}}\n{\n", "[[[[[[[[\n",
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		begin(f);
		f->m.greeting = nonsense[i];
		qmp_want(f->q, false);
		wait_for_news(f);
		assert_false(qmp_confirmed(f->q));
		assert_string_not_equal(qmp_error(f->q), "");
		qmp_close(f->q);
		f->q = NULL;
		monitor_hang_up(&f->m);
	}
}

static void a_line_without_end_and_lines_without_end_are_given_up(void **state)
{
	struct fixture *f = *state;
	char *flood = malloc(70000);

	for (unsigned kind = 0; kind < 2; kind++) {
		unsigned had = f->changed;

		memset(flood, 'x', 70000);
		for (unsigned i = 0; kind && i + 2 < 70000; i += 3)
			memcpy(flood + i, "{}\n", 3);
		begin(f);
		f->m.greeting = "{\"QMP\":{}}\n";
		f->m.mute = true;
		qmp_want(f->q, false);
		while (f->changed == had) {
			monitor_turn(&f->m);
			if (f->m.conn >= 0)
				send(f->m.conn, flood, 69999, MSG_DONTWAIT | MSG_NOSIGNAL);
			assert_true(loop_once(f->loop, 0) >= 0);
		}
		assert_non_null(strstr(qmp_error(f->q), "too long"));
		qmp_close(f->q);
		f->q = NULL;
		monitor_hang_up(&f->m);
	}
	free(flood);
}

static void whoever_is_told_may_close_it(void **state)
{
	struct fixture *f = *state;

	f->close_when_told = true;
	for (unsigned i = 0; i < 2; i++) {
		f->m.refuses = i;
		begin(f);
		qmp_want(f->q, true);
		wait_for_news(f);
		assert_null(f->q);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_device_is_found_by_its_socket_and_told),
		T(a_device_that_was_named_is_not_looked_for),
		T(a_device_that_began_anew_is_told_anew),
		T(the_newest_wish_wins),
		T(a_monitor_that_is_not_there_yet_is_waited_for),
		T(a_device_that_is_not_found_says_what_to_do),
		T(what_qemu_refuses_is_told_in_one_printable_line),
		T(events_and_answers_to_others_are_skipped),
		T(a_monitor_that_says_nothing_is_given_up_at_the_deadline),
		T(a_monitor_that_speaks_something_else_ends_the_attempt),
		T(a_line_without_end_and_lines_without_end_are_given_up),
		T(whoever_is_told_may_close_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
