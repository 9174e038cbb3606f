/* SPDX-License-Identifier: BSD-2-Clause */
/* The control API over a real socket, its clients, and what they print. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
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
#include "ctl/client.h"
#include "ctl/names.h"
#include "ctl/show.h"
#include "fake_host.h"
#include "vu.h"

struct fixture {
	struct loop *loop;
	struct host_ops host;
	struct api *api;
	char dir[64], path[108];
	unsigned fds_before, asked;
	size_t padding;		/* bytes to make a status larger */
	int stop;
	pthread_t thread;
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

static void open_api(struct fixture *f)
{
	assert_int_equal(api_open(f->loop, &f->host, f->path, &ops, f, &f->api), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fds_before = vu_open_fds();
	f->loop = loop_create();
	f->host = (struct host_ops){ .unix_listen = fake_listen, .unlink = fake_unlink };
	strcpy(f->dir, "/tmp/test_ctl.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/eth1.sock", f->dir);
	log_set_level(LOG_LEVEL_ERROR);
	*state = f;
	return 0;
}

/* Every test ends here: no fd, no file is left. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	int bad = 0;

	api_close(f->api);
	loop_destroy(f->loop);
	bad = vu_open_fds() != f->fds_before;
	bad |= rmdir(f->dir) < 0;
	free(f);
	return bad ? -1 : 0;
}

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
	assert_int_equal(json_object_size(list), 9);
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

/* ---- the commands ---- */

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
	struct client_env env = { .dir = f->dir, .out = open_memstream(&o.out, &outlen),
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

#define ARGS(...) ((char *[]){ __VA_ARGS__ __VA_OPT__(,) NULL })

static void expect(struct fixture *f, char **argv, int code, const char *out, const char *err)
{
	struct output o = run(f, client_status_in, argv);

	if (o.code != code || !strstr(o.out, out) || !strstr(o.err, err))
		print_error("%d\n%s%s", o.code, o.out, o.err);
	assert_int_equal(o.code, code);
	assert_non_null(strstr(o.out, out));
	assert_non_null(strstr(o.err, err));
	output_free(&o);
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
	expect(f, ARGS(), 0, "instance eth1", "");	/* a port's socket, say */
	fclose(fopen(lock, "w"));
	expect(f, ARGS(), 1, "", "several instances run");
	expect(f, ARGS("--name", "eth1"), 0, "instance eth1", "");
	close(fd);
	expect(f, ARGS(), 0, "instance eth1", "");	/* a dead one does not count */
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
	struct client_env env = { .dir = f->dir, .err = stderr,
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

/* ---- printing ---- */

static char *shown(const char *json)
{
	json_t *o = json_loads(json, 0, NULL);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(o);
	show_status(o, out);
	fclose(out);
	json_decref(o);
	return text;
}

static void a_status_is_shown_with_what_matters(void **state)
{
	static const char *const expected[] = {
		"instance eth1", "process 77", "up 1:02:03", "waiting adaptive",
		"uplink eth1 (veth, index 3): up\n", "10000 Mbit/s, full duplex, MTU 1500",
		"copy, attached by link, program 5, adopted", "not better    no zero-copy here",
		"1 guest address, all-multicast on", "tag stripping off (was on)",
		"port vm0 (server on /run/x.sock): down (not_connected)\n", "version_1 mrg_rxbuf",
		"1 of 4 enabled", "02:00:00:00:00:01 learned", "pair 0 rx drops: drop_short 2, broken_head 1",
		"  0          copy  ready  0       2048", "  0     rx    packed  running   256       10   1000     20      3\n",
		"pair 0 rx offloads: large_packets 4, frames_of_large_packets 40", "frames on node 1",
		"guest memory and rings on node 0", "flow hash       by software (veth has none)", "checksums       by driver",
		"yes; frames longer than a buffer come in pieces",
		"7 packets, 700 bytes; dropped: share 4; lost on the way to the worker: 9",
	};
	char *text = shown(
		"{\"version\":\"0.1.0\",\"name\":\"eth1\",\"pid\":77,\"uptime_s\":3723.5,\"wait\":\"adaptive\","
		"\"uplink\":{\"interface\":\"eth1\",\"ifindex\":3,\"driver\":\"veth\",\"up\":true,\"reason\":\"none\","
		"\"speed_mbps\":10000,\"duplex\":\"full\",\"mtu\":1500,\"mac\":\"02:00:00:00:00:09\","
		"\"xdp\":{\"mode\":\"copy\",\"why_not_better\":\"no zero-copy here\",\"attach\":\"link\","
		"\"program_id\":5,\"adopted\":true,\"metadata\":\"yes\",\"multi_buffer\":true,"
		"\"rx_hash\":{\"by\":\"software\",\"why_not_driver\":\"veth has none\"},"
		"\"tx_checksum\":{\"by\":\"driver\",\"why_not_driver\":\"\"}},\"numa_node\":1,"
		"\"receive_filter\":{\"entries\":1,\"allmulti\":true},"
		"\"vlan\":{\"rxvlan_before\":\"on\",\"rxvlan_now\":\"off\",\"filter_before\":\"on\","
		"\"filter_now\":\"off\",\"fixed\":false},"
		"\"queues\":[{\"queue\":0,\"worker\":0,\"mode\":\"copy\",\"state\":\"ready\",\"ring_size\":2048,"
		"\"frames\":{\"free\":1,\"fill\":2,\"held\":3,\"tx\":4,\"lost\":5,\"total\":15},"
		"\"rx_packets\":100,\"tx_packets\":200,\"last_error\":\"No such device\"}],"
		"\"host\":{\"packets\":5,\"multicast\":2,\"drops\":{\"unknown\":1}}},"
		"\"workers\":[{\"worker\":0,\"cpu\":-1,\"loops\":10,\"sleeps\":5}],"
		"\"ports\":[{\"name\":\"vm0\",\"socket\":\"/run/x.sock\",\"role\":\"server\",\"up\":false,"
		"\"reason\":\"not_connected\",\"connected\":true,\"peer_pid\":1,\"connections\":3,\"numa_node\":0,"
		"\"features\":[\"version_1\",\"mrg_rxbuf\"],\"pairs\":{\"max\":4,\"enabled\":1},"
		"\"addresses\":[{\"mac\":\"02:00:00:00:00:01\",\"kind\":\"learned\"}],"
		"\"pair\":[{\"pair\":0,\"rx\":{\"packets\":10,\"bytes\":1000,\"calls\":20,"
		"\"drops\":{\"drop_short\":2,\"broken_head\":1},\"state\":\"running\",\"kind\":\"packed\",\"size\":256,"
		"\"offloads\":{\"large_packets\":4,\"frames_of_large_packets\":40}},"
		"\"tx\":{\"packets\":0,\"state\":\"stopped\"}}],"
		"\"xdp\":{\"packets\":7,\"bytes\":700,\"drops\":{\"share\":4}},\"lost_in_ring\":9}]}");

	(void)state;
	for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		if (!strstr(text, expected[i]))
			print_error("'%s' is not in\n%s", expected[i], text);
		assert_non_null(strstr(text, expected[i]));
	}
	assert_null(strstr(text, " \n"));
	free(text);
}

static void a_status_without_anything_is_shown_too(void **state)
{
	char *text = shown("{}");

	(void)state;
	assert_non_null(strstr(text, "viaduct"));
	free(text);
	text = shown("{\"uplink\":7,\"ports\":[1,{}],\"workers\":{}}");
	free(text);
}

static void bits_have_names(void **state)
{
	json_t *list = json_pack("[s,s,s]", "mrg_rxbuf", "version_1", "bit_51"), *got;

	(void)state;
	got = names_json(1ull << 15 | 1ull << 32 | 1ull << 51, names_feature);
	assert_true(json_equal(list, got));
	json_decref(got);
	json_decref(list);
	list = json_pack("[s,s,s]", "mq", "reply_ack", "status");
	got = names_json(1ull << 0 | 1ull << 3 | 1ull << 16, names_protocol);
	assert_true(json_equal(list, got));
	json_decref(got);
	json_decref(list);
	got = names_json(0xf, names_status);
	assert_int_equal(json_array_size(got), 4);
	json_decref(got);
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
		T(status_finds_the_only_instance),
		T(wrong_arguments_are_named),
		T(monitor_prints_events_until_the_instance_ends),
		cmocka_unit_test(a_status_is_shown_with_what_matters),
		cmocka_unit_test(a_status_without_anything_is_shown_too),
		cmocka_unit_test(bits_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
