/* SPDX-License-Identifier: BSD-2-Clause */
/* The control API over a real socket. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "ctl/api.h"
#include "api_fixture.h"

struct fixture {
	API_FIXTURE_FIELDS;
	unsigned asked;
	size_t padding;		/* bytes to make a status larger */
};

static int fake_status(void *ctx, const json_t *params, json_t **result, char *errtext, size_t errlen)
{
	struct fixture *f = ctx;
	char *pad = calloc(1, f->padding + 1);

	(void)errtext;
	(void)errlen;
	memset(pad, 'x', f->padding);
	*result = json_pack("{s:s, s:i, s:s}", "name", "eth1", "asked", (int)++f->asked, "padding", pad);
	if (params)
		json_object_set(*result, "params", (json_t *)params);
	free(pad);
	return 0;
}

static const struct api_ops ops = { .status = fake_status };

API_FIXTURE

static int dial(struct fixture *f)
{
	int fd = fake_connect(NULL, f->path);

	assert_true(fd >= 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* One line, parsed; NULL at the end of the connection or when there is none. */
static json_t *hear(struct fixture *f, int fd)
{
	size_t len = 0, cap = 4096;
	char *line = malloc(cap);
	json_t *o = NULL;

	for (;;) {
		ssize_t n = recv(fd, line + len, 1, 0);

		if (n < 0 && errno == EAGAIN) {	/* more may come now that there is room */
			fake_settle(f->loop);
			n = recv(fd, line + len, 1, 0);
		}
		if (n != 1)
			break;
		if (line[len] == '\n') {
			o = json_loadb(line, len, 0, NULL);
			assert_non_null(o);
			break;
		}
		if (++len == cap)
			line = realloc(line, cap *= 2);
	}
	free(line);
	return o;
}

static bool is_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

/* Says one line, hears one answer. */
static json_t *ask(struct fixture *f, const char *line)
{
	int fd = dial(f);
	json_t *o;

	say(fd, line);
	fake_settle(f->loop);
	o = hear(f, fd);
	assert_non_null(o);
	close(fd);
	fake_settle(f->loop);
	return o;
}

static void expect_error(struct fixture *f, const char *line, const char *code)
{
	json_t *o = ask(f, line), *e = json_object_get(o, "error");

	assert_string_equal(json_string_value(json_object_get(e, "code")), code);
	assert_true(strlen(json_string_value(json_object_get(e, "message"))) > 0);
	assert_null(json_object_get(o, "result"));
	json_decref(o);
}

static void status_is_answered_with_the_requests_id(void **state)
{
	struct fixture *f = *state;
	json_t *o, *id;

	open_api(f);
	o = ask(f, "{\"method\":\"status\",\"id\":17}\n");
	assert_int_equal(json_integer_value(json_object_get(o, "id")), 17);
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "result"), "name")), "eth1");
	assert_null(json_object_get(o, "error"));
	json_decref(o);
	o = ask(f, "{\"id\":{\"a\":[1,\"x\"]},\"method\":\"version\"}\r\n");
	id = json_pack("{s:[i,s]}", "a", 1, "x");
	assert_true(json_equal(json_object_get(o, "id"), id));
	json_decref(id);
	json_decref(o);
	o = ask(f, "{\"method\":\"version\"}\n");
	assert_true(json_is_null(json_object_get(o, "id")));
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "result"), "version")), VIADUCT_VERSION);
	json_decref(o);
}

static void what_is_not_a_request_gets_an_error(void **state)
{
	struct fixture *f = *state;

	open_api(f);
	expect_error(f, "{\"method\":\"no such thing\",\"id\":1}\n", "unknown_method");
	expect_error(f, "hello\n", "parse_error");
	expect_error(f, "{\"method\":\"status\"\n", "parse_error");
	expect_error(f, "\xff\xfe\n", "parse_error");
	expect_error(f, "[\"status\"]\n", "invalid_request");
	expect_error(f, "{}\n", "invalid_request");
	expect_error(f, "{\"method\":7}\n", "invalid_request");
	expect_error(f, "{\"method\":\"status\",\"params\":7}\n", "invalid_params");
	assert_int_equal(f->asked, 0);
}

static void every_method_is_listed_and_every_listed_one_exists(void **state)
{
	struct fixture *f = *state;
	json_t *o, *list, *doc, *reply;
	const char *name, *code;
	char line[80];

	open_api(f);
	o = ask(f, "{\"method\":\"methods\"}\n");
	list = json_object_get(o, "result");
	assert_int_equal(json_object_size(list), 10);
	json_object_foreach(list, name, doc) {
		assert_true(strlen(json_string_value(doc)) > 0);
		snprintf(line, sizeof(line), "{\"method\":\"%s\"}\n", name);
		reply = ask(f, line);
		code = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));
		assert_true(json_object_get(reply, "result") || strcmp(code, "unknown_method"));
		json_decref(reply);
	}
	json_decref(o);
}

static void requests_may_come_in_any_pieces(void **state)
{
	static const char two[] = "{\"method\":\"version\",\"id\":1}\n\n{\"method\":\"version\",\"id\":2}\n";
	struct fixture *f = *state;
	int fd;

	open_api(f);
	fd = dial(f);
	for (size_t i = 0; i < sizeof(two) - 1; i++) {
		assert_int_equal(send(fd, two + i, 1, 0), 1);
		fake_settle(f->loop);
	}
	say(fd, two);
	fake_settle(f->loop);
	for (int i = 0; i < 4; i++) {
		json_t *o = hear(f, fd);

		assert_int_equal(json_integer_value(json_object_get(o, "id")), i % 2 + 1);
		json_decref(o);
	}
	close(fd);
}

static void a_client_that_only_reads_on_gets_its_answer(void **state)
{
	struct fixture *f = *state;
	int fd;
	json_t *o;

	open_api(f);
	fd = dial(f);
	say(fd, "{\"method\":\"status\",\"id\":1}\n");
	shutdown(fd, SHUT_WR);
	fake_settle(f->loop);
	o = hear(f, fd);
	assert_non_null(json_object_get(o, "result"));
	json_decref(o);
	assert_true(is_closed(fd));
	close(fd);
}

static void a_request_that_is_too_long_is_refused_and_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	char *big = malloc(API_REQUEST_MAX + 2);
	json_t *o;
	int fd;

	open_api(f);
	memset(big, ' ', API_REQUEST_MAX + 2);
	memcpy(big, "{\"method\":\"version\"}", 20);
	big[API_REQUEST_MAX] = '\n';
	big[API_REQUEST_MAX + 1] = 0;
	for (int over = 0; over < 2; over++) {
		size_t at = 0, len;

		if (over)
			memmove(big + 20, big + 19, API_REQUEST_MAX - 18);	/* one byte more */
		len = (size_t)API_REQUEST_MAX + 1 + (size_t)over;
		big[len - 1] = '\n';
		big[len - 2] = ' ';
		big[19] = '}';
		big[20] = ' ';
		fd = dial(f);
		while (at < len) {
			ssize_t n = send(fd, big + at, len - at, MSG_NOSIGNAL);

			if (n > 0)
				at += (size_t)n;
			fake_settle(f->loop);
		}
		fake_settle(f->loop);
		o = hear(f, fd);
		assert_non_null(json_object_get(o, over ? "error" : "result"));
		if (over)
			assert_string_equal(json_string_value(json_object_get(json_object_get(o, "error"), "code")),
					    "too_large");
		assert_int_equal(is_closed(fd), over);
		json_decref(o);
		close(fd);
		fake_settle(f->loop);
	}
	free(big);
}

static void a_monitor_sees_events_and_others_do_not(void **state)
{
	struct fixture *f = *state;
	int monitor, other;
	const char *time;
	json_t *o;

	open_api(f);
	monitor = dial(f);
	other = dial(f);
	say(monitor, "{\"method\":\"monitor\",\"id\":5}\n");
	say(other, "{\"method\":\"version\"}\n");
	fake_settle(f->loop);
	json_decref(hear(f, other));
	o = hear(f, monitor);
	assert_int_equal(json_integer_value(json_object_get(o, "id")), 5);
	json_decref(o);
	api_event(f->api, json_pack("{s:s, s:s}", "event", "port_up", "subject", "vm0"));
	api_event(f->api, NULL);
	fake_settle(f->loop);
	o = hear(f, monitor);
	assert_string_equal(json_string_value(json_object_get(o, "event")), "port_up");
	assert_string_equal(json_string_value(json_object_get(o, "subject")), "vm0");
	time = json_string_value(json_object_get(o, "time"));
	assert_int_equal(strlen(time), strlen("2024-01-02T03:04:05.678Z"));
	assert_true(time[10] == 'T' && time[19] == '.' && time[23] == 'Z');
	json_decref(o);
	assert_null(hear(f, monitor));
	assert_null(hear(f, other));
	say(monitor, "{\"method\":\"version\",\"id\":6}\n");	/* may still ask */
	fake_settle(f->loop);
	o = hear(f, monitor);
	assert_int_equal(json_integer_value(json_object_get(o, "id")), 6);
	json_decref(o);
	close(monitor);
	close(other);
}

static void a_monitor_that_does_not_read_is_cut_off_and_told(void **state)
{
	struct fixture *f = *state;
	char text[1024], last[32] = "";
	unsigned lines = 0, sent = 100000;
	int fd;
	json_t *o;

	open_api(f);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	fd = dial(f);
	say(fd, "{\"method\":\"monitor\"}\n");
	fake_settle(f->loop);
	for (unsigned i = 0; i < 100000; i++) {
		api_event(f->api, json_pack("{s:s, s:s}", "event", "test", "detail", text));
		if (i % 64 == 0)
			fake_settle(f->loop);
	}
	fake_settle(f->loop);
	while ((o = hear(f, fd))) {	/* whole lines only */
		snprintf(last, sizeof(last), "%s", json_string_value(json_object_get(o, "event")) ?: "");
		json_decref(o);
		lines++;
	}
	assert_string_equal(last, "overrun");
	assert_true(lines > 100 && lines < sent / 10);
	assert_true(is_closed(fd));
	close(fd);
}

static void requests_whose_answers_are_not_read_are_not_taken(void **state)
{
	static const char line[] = "{\"method\":\"status\"}\n";
	struct fixture *f = *state;
	unsigned sent = 0, heard = 0;
	json_t *o;
	int fd;

	f->padding = 4000;
	open_api(f);
	fd = dial(f);
	while (send(fd, line, sizeof(line) - 1, MSG_NOSIGNAL) == sizeof(line) - 1) {
		sent++;
		fake_settle(f->loop);
		assert_true(sent < 1000000);
	}
	assert_true(f->asked < 1000);
	/* None is lost: they are answered as the answers are read. */
	while ((o = hear(f, fd))) {
		json_decref(o);
		heard++;
	}
	assert_int_equal(heard, sent);
	close(fd);
}

static void an_answer_too_large_for_the_queue_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	int fd;

	f->padding = API_ANSWER_MAX;
	open_api(f);
	fd = dial(f);
	say(fd, "{\"method\":\"status\"}\n");
	fake_settle(f->loop);
	assert_true(is_closed(fd));
	close(fd);
}

static void a_long_answer_does_not_cost_a_monitor_its_events(void **state)
{
	struct fixture *f = *state;
	json_t *o;
	int fd;

	f->padding = 3 * API_QUEUE_MAX;
	open_api(f);
	fd = dial(f);
	say(fd, "{\"method\":\"monitor\"}\n{\"method\":\"status\",\"id\":2}\n");
	fake_settle(f->loop);
	api_event(f->api, json_pack("{s:s}", "event", "test"));
	for (int i = 0; i < 3; i++) {
		o = hear(f, fd);
		assert_non_null(o);
		if (i == 1)
			assert_int_equal(json_integer_value(json_object_get(o, "id")), 2);
		if (i == 2)
			assert_string_equal(json_string_value(json_object_get(o, "event")), "test");
		json_decref(o);
	}
	close(fd);
}

static void at_most_thirty_two_clients_are_served(void **state)
{
	struct fixture *f = *state;
	int fd[API_CLIENTS + 1];
	json_t *o;

	open_api(f);
	for (int i = 0; i <= API_CLIENTS; i++) {
		fd[i] = dial(f);
		fake_settle(f->loop);
	}
	assert_true(is_closed(fd[API_CLIENTS]));
	assert_false(is_closed(fd[0]));
	close(fd[API_CLIENTS]);
	close(fd[0]);
	fake_settle(f->loop);
	fd[0] = dial(f);
	say(fd[0], "{\"method\":\"version\"}\n");
	fake_settle(f->loop);
	o = hear(f, fd[0]);
	assert_non_null(o);
	json_decref(o);
	for (int i = 0; i < API_CLIENTS; i++)
		close(fd[i]);
}

static void the_socket_is_for_its_owner_and_goes_with_the_api(void **state)
{
	struct fixture *f = *state;
	struct api *second;
	struct stat st;

	open_api(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(api_open(f->loop, &f->host, f->path, &ops, f, &second), -EADDRINUSE);
	api_close(f->api);
	f->api = NULL;
	assert_int_equal(stat(f->path, &st), -1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(status_is_answered_with_the_requests_id),
		T(what_is_not_a_request_gets_an_error),
		T(every_method_is_listed_and_every_listed_one_exists),
		T(requests_may_come_in_any_pieces),
		T(a_client_that_only_reads_on_gets_its_answer),
		T(a_request_that_is_too_long_is_refused_and_ends_the_connection),
		T(a_monitor_sees_events_and_others_do_not),
		T(a_monitor_that_does_not_read_is_cut_off_and_told),
		T(requests_whose_answers_are_not_read_are_not_taken),
		T(an_answer_too_large_for_the_queue_ends_the_connection),
		T(a_long_answer_does_not_cost_a_monitor_its_events),
		T(at_most_thirty_two_clients_are_served),
		T(the_socket_is_for_its_owner_and_goes_with_the_api),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
