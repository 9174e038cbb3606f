/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands that talk to a running instance, over a real socket. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "ctl/api.h"
#include "ctl/client.h"
#include "api_fixture.h"

struct fixture {
	API_FIXTURE_FIELDS;
	char last[256]; /* what was asked last */
	int fail;	/* what to answer */
	int stop;
	pthread_t thread;
};

static int answer(struct fixture *f, const char *method, const json_t *params, json_t *result, json_t **out, char *err,
		  size_t errlen)
{
	char *text = params ? json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	snprintf(f->last, sizeof(f->last), "%s%s%s", method, text ? " " : "", text ? text : "");
	free(text);
	if (f->fail)
		snprintf(err, errlen, "it cannot be");
	*out = result;
	return f->fail;
}

#define FAKE(name, ...)                                                                                    \
	static int fake_##name(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen) \
	{                                                                                                  \
		return answer(ctx, #name, params, json_pack(__VA_ARGS__), result, err, errlen);            \
	}
FAKE(status, "{s:s}", "name", "eth1")
FAKE(port_list, "{s:[{s:s, s:b, s:{s:i, s:i}}]}", "ports", "name", "vm0", "up", 1, "pairs", "max", 1, "enabled", 1)
FAKE(port_add, "{s:s}", "name", "x")
FAKE(port_del, "{s:s}", "name", "x")
FAKE(port_set, "{s:s}", "name", "x")
FAKE(link, "{s:s, s:b, s:s, s:{s:s,s:s,s:s,s:s}}", "port", "vm0", "up", 0, "reason", "admin_down", "link", "policy",
     "follow", "admin", "down", "guest", "down", "told_by", "qmp")
FAKE(steer, "{s:s, s:s, s:i, s:[i,i]}", "port", "vm0", "mode", "auto", "max", 2, "pairs", 0, 1)

static const struct api_ops ops = {
	fake_status, fake_port_list, fake_port_add, fake_port_del, fake_port_set, fake_steer, fake_link
};

API_FIXTURE

static void *serve(void *arg)
{
	struct fixture *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE))
		loop_once(f->loop, 5);
	return NULL;
}

struct output {
	char *out, *err;
	int code;
};

/* Runs a command with the API served by another thread. */
static struct output run(struct fixture *f, int (*command)(const struct client_env *, int, char **), char **argv)
{
	struct output o = { 0 };
	size_t outlen, errlen;
	struct client_env env = { .dir = f->dir,
				  .out = open_memstream(&o.out, &outlen),
				  .err = open_memstream(&o.err, &errlen) };
	int argc = 0;

	while (argv[argc])
		argc++;
	f->stop = 0;
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
	o.code = command(&env, argc, argv);
	__atomic_store_n(&f->stop, 1, __ATOMIC_RELEASE);
	pthread_join(f->thread, NULL);
	fclose(env.out);
	fclose(env.err);
	fake_settle(f->loop);
	return o;
}

static void output_free(struct output *o)
{
	free(o->out);
	free(o->err);
}

#define ARGS(...) ((char *[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void expect_of(struct fixture *f, int (*command)(const struct client_env *, int, char **), char **argv, int code,
		      const char *out, const char *err)
{
	struct output o = run(f, command, argv);

	if (o.code != code || !strstr(o.out, out) || !strstr(o.err, err))
		print_error("%d\n%s%s", o.code, o.out, o.err);
	assert_int_equal(o.code, code);
	assert_non_null(strstr(o.out, out));
	assert_non_null(strstr(o.err, err));
	output_free(&o);
}

static void expect(struct fixture *f, char **argv, int code, const char *out, const char *err)
{
	expect_of(f, client_status_in, argv, code, out, err);
}

static void status_finds_the_only_instance(void **state)
{
	struct fixture *f = *state;
	char other[128], lock[128], mine[128];
	int fd;

	snprintf(other, sizeof(other), "%s/eth2.sock", f->dir);
	snprintf(lock, sizeof(lock), "%s/eth2.lock", f->dir);
	snprintf(mine, sizeof(mine), "%s/eth1.lock", f->dir);
	expect(f, ARGS(), 1, "", "nothing runs");
	expect(f, ARGS("--name", "eth1"), 1, "", "no instance named eth1 runs");
	open_api(f);
	fclose(fopen(mine, "w"));
	expect(f, ARGS(), 0, "instance eth1", "");
	expect(f, ARGS("--name", "eth1"), 0, "instance eth1", "");
	expect(f, ARGS("--name=eth1", "--json"), 0, "\"name\": \"eth1\"", "");
	expect(f, ARGS("--name", "eth2"), 1, "", "no instance named eth2 runs");
	fd = fake_listen(NULL, other, 0600, 0, 0);
	expect(f, ARGS(), 0, "instance eth1", ""); /* a port's socket, say */
	fclose(fopen(lock, "w"));
	expect(f, ARGS(), 1, "", "several instances run");
	expect(f, ARGS("--name", "eth1"), 0, "instance eth1", "");
	close(fd);
	expect(f, ARGS(), 0, "instance eth1", ""); /* a dead one does not count */
	unlink(other);
	unlink(lock);
	unlink(mine);
}

static void wrong_arguments_are_named(void **state)
{
	struct fixture *f = *state;

	expect(f, ARGS("--nam", "x"), 2, "", "unknown argument '--nam'");
	expect(f, ARGS("--name"), 2, "", "--name: a value is missing");
	expect(f, ARGS("--name", "../x"), 2, "", "no instance's name");
	expect(f, ARGS("--port"), 2, "", "--port: a value is missing");
	expect(f, ARGS("vm0"), 2, "",
	       "unknown argument 'vm0'; usage: viaduct status [--name NAME] [--port PORT] [--json]");
	expect_of(f, client_monitor_in, ARGS("--json"), 2, "", "unknown argument '--json'; usage: viaduct monitor");
	expect_of(f, client_port_in, ARGS(), 2, "", "'' is not one of add, del, set, list");
	expect_of(f, client_port_in, ARGS("remove", "vm0"), 2, "", "'remove' is not one of add, del, set, list");
	expect_of(f, client_port_in, ARGS("add"), 2, "", "something is missing; usage: viaduct port add KEY=VALUE");
	expect_of(f, client_port_in, ARGS("del", "a", "b"), 2, "",
		  "unknown argument 'b'; usage: viaduct port del PORT");
	expect_of(f, client_port_in, ARGS("set", "a"), 2, "", "something is missing; usage: viaduct port set PORT");
	expect_of(f, client_port_in, ARGS("list", "--port", "x"), 2, "", "unknown argument '--port'");
	expect_of(f, client_steer_in, ARGS(), 2, "", "something is missing; usage: viaduct steer PORT");
	expect_of(f, client_steer_in, ARGS("a", "auto", "hash"), 2, "", "given twice: 'hash'");
	expect_of(f, client_link_in, ARGS(), 2, "", "something is missing; usage: viaduct link PORT");
	expect_of(f, client_link_in, ARGS("a", "on"), 2, "", "neither up nor down: 'on'");
	expect_of(f, client_steer_in, ARGS("a", "0=1", "2=3"), 2, "", "given twice: '2=3'");
	expect_of(f, client_port_in, ARGS("del", "\xff"), 2, "", "no UTF-8 text");
}

/* Where a monitor prints to; the first line it prints tells the instance to end. */
struct printed {
	struct fixture *f;
	char text[4096];
	size_t len;
};

static ssize_t print_and_stop(void *cookie, const char *data, size_t len)
{
	struct printed *p = cookie;
	size_t room = sizeof(p->text) - 1 - p->len, n = len < room ? len : room;

	memcpy(p->text + p->len, data, n);
	p->len += n;
	__atomic_store_n(&p->f->stop, 1, __ATOMIC_RELEASE);
	return (ssize_t)len;
}

static void *send_events(void *arg)
{
	struct fixture *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
		loop_once(f->loop, 5);
		api_event(f->api, json_pack("{s:s}", "event", "port_up"));
	}
	api_close(f->api);
	f->api = NULL;
	return NULL;
}

static void monitor_prints_events_until_the_instance_ends(void **state)
{
	struct fixture *f = *state;
	struct printed p = { .f = f };
	struct client_env env = { .dir = f->dir,
				  .err = stderr,
				  .out = fopencookie(&p, "w", (cookie_io_functions_t){ .write = print_and_stop }) };
	json_t *first;

	open_api(f);
	assert_int_equal(pthread_create(&f->thread, NULL, send_events, f), 0);
	assert_int_equal(client_monitor_in(&env, 2, ((char *[]){ "--name", "eth1", NULL })), 0);
	pthread_join(f->thread, NULL);
	fclose(env.out);
	assert_non_null(strchr(p.text, '\n'));
	*strchr(p.text, '\n') = 0;
	first = json_loads(p.text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(first, "event")), "port_up");
	json_decref(first);
}

/* What the instance was asked last, and how the command ended. */
static void asks(struct fixture *f, int (*command)(const struct client_env *, int, char **), char **argv,
		 const char *asked)
{
	struct output o = run(f, command, argv);

	if (o.code || strcmp(f->last, asked))
		print_error("%s'%s' is not '%s'\n", o.err, f->last, asked);
	assert_int_equal(o.code, 0);
	assert_string_equal(f->last, asked);
	output_free(&o);
}

#define INSTANCE "--name", "eth1"

static void every_command_asks_for_what_it_says(void **state)
{
	struct fixture *f = *state;

	open_api(f);
	asks(f, client_status_in, ARGS(INSTANCE), "status {\"brief\":true}");
	asks(f, client_status_in, ARGS(INSTANCE, "--json"), "status");
	asks(f, client_status_in, ARGS("--port=vm0", INSTANCE), "status {\"port\":\"vm0\"}");
	asks(f, client_port_in, ARGS("add", "name=x,socket=/s", INSTANCE), "port_add {\"port\":\"name=x,socket=/s\"}");
	asks(f, client_port_in, ARGS("del", INSTANCE, "x"), "port_del {\"name\":\"x\"}");
	asks(f, client_port_in, ARGS("set", "x", "vlan=5,storm=off", INSTANCE),
	     "port_set {\"name\":\"x\",\"set\":\"vlan=5,storm=off\"}");
	asks(f, client_port_in, ARGS("list", INSTANCE), "port_list");
	asks(f, client_steer_in, ARGS("x", INSTANCE), "steer {\"port\":\"x\"}");
	asks(f, client_steer_in, ARGS("x", "0-63=1", "hash", INSTANCE),
	     "steer {\"mode\":\"hash\",\"pairs\":\"0-63=1\",\"port\":\"x\"}");
	asks(f, client_steer_in, ARGS("x", "spread", INSTANCE), "steer {\"pairs\":\"spread\",\"port\":\"x\"}");
	asks(f, client_link_in, ARGS("x", INSTANCE), "link {\"port\":\"x\"}");
	asks(f, client_link_in, ARGS("x", INSTANCE, "down"), "link {\"port\":\"x\",\"state\":\"down\"}");
}

static void answers_are_printed_and_changes_are_silent(void **state)
{
	struct fixture *f = *state;

	open_api(f);
	expect_of(f, client_port_in, ARGS("list", INSTANCE), 0, "  vm0   up    1/1 ", "");
	expect_of(f, client_port_in, ARGS("list", "--json", INSTANCE), 0, "[\n  {\n    \"name\": \"vm0\"", "");
	expect_of(f, client_steer_in, ARGS("vm0", INSTANCE), 0, "port vm0: mode auto", "");
	expect_of(f, client_steer_in, ARGS("vm0", INSTANCE, "--json"), 0, "\"mode\": \"auto\"", "");
	expect_of(f, client_link_in, ARGS("vm0", INSTANCE), 0,
		  "port vm0: down (admin_down)\n  link            follow, set down; the guest's is down, told by qmp\n", "");
	expect_of(f, client_link_in, ARGS("vm0", INSTANCE, "--json"), 0, "\"told_by\": \"qmp\"", "");
	for (int i = 0; i < 3; i++) {
		struct output o = i > 1 ? run(f, client_link_in, ARGS("vm0", "up", INSTANCE)) :
				  i ? run(f, client_port_in, ARGS("set", "x", "vlan=5", INSTANCE))
				    : run(f, client_steer_in, ARGS("vm0", "hash", INSTANCE));

		assert_int_equal(o.code, 0);
		assert_string_equal(o.out, "");
		assert_string_equal(o.err, "");
		output_free(&o);
	}
}

static void what_is_refused_says_why_and_whose_fault_it_is(void **state)
{
	struct fixture *f = *state;

	open_api(f);
	f->fail = -ENODEV;
	expect_of(f, client_port_in, ARGS("del", "x", INSTANCE), 1, "", "viaduct: it cannot be\n");
	f->fail = -EINVAL;
	expect_of(f, client_port_in, ARGS("set", "x", "vlan=y", INSTANCE), 2, "", "viaduct: it cannot be\n");
	f->fail = -EOPNOTSUPP;
	expect_of(f, client_steer_in, ARGS("x", INSTANCE), 1, "", "viaduct: it cannot be\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(status_finds_the_only_instance),
		T(wrong_arguments_are_named),
		T(every_command_asks_for_what_it_says),
		T(answers_are_printed_and_changes_are_silent),
		T(what_is_refused_says_why_and_whose_fault_it_is),
		T(monitor_prints_events_until_the_instance_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
