/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU's monitor, played over a real UNIX socket by the thread that runs the loop: for tests of who tells it of links. */
#ifndef TESTS_MONITOR_H
#define TESTS_MONITOR_H

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "fake_host.h"

struct monitor {
	char path[108];
	int listener, conn;	/* -1 = none */
	char line[4096];
	size_t len;
	char log[1024];		/* what was executed: "caps;list;addr c0;net0 down;" */
	/* how it behaves */
	const char *socket;	/* of chardev c1, which net1 uses */
	const char *greeting;	/* NULL: as QEMU; "": none */
	const char *before;	/* said before every answer */
	bool mute;		/* answers nothing */
	bool refuses;		/* set_link */
	unsigned connections;
};

static inline void monitor_open(struct monitor *m, const char *dir)
{
	*m = (struct monitor){ .listener = -1, .conn = -1 };
	snprintf(m->path, sizeof(m->path), "%s/qmp", dir);
	m->listener = fake_listen(NULL, m->path, 0600, 0, 0);
	assert_true(m->listener >= 0);
}

static inline void monitor_hang_up(struct monitor *m)
{
	if (m->conn >= 0)
		close(m->conn);
	m->conn = -1;
	m->len = 0;
}

static inline void monitor_close(struct monitor *m)
{
	monitor_hang_up(m);
	if (m->listener < 0)
		return;
	close(m->listener);
	unlink(m->path);
	m->listener = -1;
}

static inline void monitor_note(struct monitor *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline void monitor_note(struct monitor *m, const char *fmt, ...)
{
	size_t at = strlen(m->log);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->log + at, sizeof(m->log) - at, fmt, ap);
	va_end(ap);
}

static inline void monitor_say(struct monitor *m, const char *text)
{
	if (m->conn >= 0 && send(m->conn, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		monitor_hang_up(m);
}

static inline void monitor_answer(struct monitor *m, const char *kind, json_t *what, json_t *id)
{
	json_t *o = json_object();
	char *text;

	json_object_set_new(o, kind, what);
	if (id)
		json_object_set(o, "id", id);
	text = json_dumps(o, 0);
	if (m->before)
		monitor_say(m, m->before);
	monitor_say(m, text);
	monitor_say(m, "\r\n");
	free(text);
	json_decref(o);
}

/* Network devices and their sockets as QEMU 7.2 has them. */
static inline void monitor_execute(struct monitor *m, json_t *o)
{
	static const char *const list = "nic.0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\r\n"
					" \\ net0: index=0,type=vhost-user,vhost-user0 to c0\r\n"
					"user0: index=0,type=user,net=10.0.2.0\r\n"
					"nic.1: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:57\r\n"
					" \\ net1: index=0,type=vhost-user,vhost-user0 to c1\r\n"
					" \\ net1: index=1,type=vhost-user,vhost-user1 to c1\r\n";
	const char *name = json_string_value(json_object_get(o, "execute")), *path;
	json_t *id = json_object_get(o, "id"), *a = json_object_get(o, "arguments");

	if (!strcmp(name, "qmp_capabilities")) {
		monitor_note(m, "caps;");
		monitor_answer(m, "return", json_object(), id);
	} else if (!strcmp(name, "human-monitor-command")) {
		monitor_note(m, "list;");
		monitor_answer(m, "return", json_string(list), id);
	} else if (!strcmp(name, "qom-get")) {
		path = json_string_value(json_object_get(a, "path"));
		monitor_note(m, "addr %s;", strrchr(path, '/') + 1);
		monitor_answer(m, "return",
			       json_pack("{s:s, s:s}", "type", "unix", "path",
					 m->socket && strstr(path, "c1") ? m->socket : "/elsewhere"),
			       id);
	} else {
		assert_string_equal(name, "set_link");
		monitor_note(m, "%s %s;", json_string_value(json_object_get(a, "name")),
			     json_is_true(json_object_get(a, "up")) ? "up" : "down");
		if (m->refuses)
			monitor_answer(m, "error", json_pack("{s:s}", "desc", "Device 'x' not found\n\xc3\xa9"), id);
		else
			monitor_answer(m, "return", json_object(), id);
	}
}

/* One turn: whoever knocks is let in, what was asked is answered. */
static inline void monitor_turn(struct monitor *m)
{
	ssize_t n;
	char *end;

	if (m->conn < 0 && m->listener >= 0) {
		m->conn = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		m->connections += m->conn >= 0;
		monitor_say(m, m->greeting ? m->greeting : "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n");
	}
	if (m->conn < 0)
		return;
	n = recv(m->conn, m->line + m->len, sizeof(m->line) - m->len, MSG_DONTWAIT);
	if (!n)
		monitor_hang_up(m);
	m->len += n > 0 ? (size_t)n : 0;
	while (m->conn >= 0 && (end = memchr(m->line, '\n', m->len))) {
		json_t *o = json_loadb(m->line, (size_t)(end - m->line), 0, NULL);
		size_t used = (size_t)(end - m->line) + 1;

		assert_non_null(o);
		m->len -= used;
		memmove(m->line, m->line + used, m->len);
		if (!m->mute)
			monitor_execute(m, o);
		json_decref(o);
	}
}

/* The loop and the monitor in turn, until both have nothing to do at this time. */
static inline void monitor_settle(struct monitor *m, struct loop *loop)
{
	for (unsigned quiet = 0; quiet < 4; quiet++) {
		monitor_turn(m);
		if (loop_once(loop, 0) > 0)
			quiet = 0;
	}
}

#endif
