/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation. One command at a time is on its way; its number is the
 * id that the answer must have. Events and anything else that is no answer to
 * it are skipped. Which of QEMU's network back-ends is the port's:
 *
 *   info network		lines like " \ net0: index=0,type=vhost-user,vhost-user0 to CHARDEV"
 *   qom-get /chardevs/CHARDEV addr	its socket's path, which must be the port's
 *
 * (query-chardev does not say the path of a socket that is connected.) What
 * was found is kept until the front-end returns or an attempt fails.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "vhost/qmp.h"

#define DEADLINE_MS 5000
#define BACKOFF_MIN_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (5 * NSEC_PER_SEC)
#define LINE_MAX_BYTES (64 * 1024)
#define TOTAL_BYTES (1024 * 1024)	/* of an attempt */
#define READS_PER_CALL 4	/* of READ_BYTES; then others have their turn */
#define READ_BYTES (16 * 1024)
#define CANDIDATES 64		/* network back-ends of vhost-user in one QEMU */
#define ID_LEN 64

enum step { GREETING, CAPABILITIES, NETWORK, ADDRESS, SET_LINK };
enum wanted { NOTHING, UP, DOWN };

/* What goes on while the monitor is connected. */
struct dialogue {
	enum step step;
	unsigned number;	/* of the command that waits for its answer */
	struct {
		char netdev[ID_LEN], chardev[ID_LEN];
	} candidate[CANDIDATES];
	unsigned candidates, at;
	size_t len, total;
	char line[LINE_MAX_BYTES];
};

struct qmp {
	struct loop *loop;
	const struct host_ops *host;
	struct qmp_config cfg;
	void (*changed)(void *ctx);
	void *ctx;
	enum wanted wanted;
	bool confirmed;
	char found[ID_LEN];	/* the network back-end, "" = not known */
	char error[160];
	uint64_t backoff_ns;
	struct loop_watch conn;
	struct loop_timer timer;	/* connected: the deadline; else the next attempt */
	struct loop_timer tell;		/* due at once: whoever is told may close us */
	struct dialogue *d;	/* NULL: not connected */
};

static void hang_up(struct qmp *q)
{
	loop_timer_cancel(q->loop, &q->timer);
	if (q->conn.fd >= 0) {
		loop_del(q->loop, &q->conn);
		close(q->conn.fd);
		q->conn.fd = -1;
	}
	free(q->d);
	q->d = NULL;
}

static void give_up(struct qmp *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The attempt has failed; the dialogue is gone. Some of the text is the peer's. */
static void give_up(struct qmp *q, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(q->error, sizeof(q->error), fmt, ap);
	va_end(ap);
	for (char *c = q->error; *c; c++)
		if (!isascii((unsigned char)*c) || !isprint((unsigned char)*c))
			*c = '?';
	hang_up(q);
	q->found[0] = '\0';
	loop_timer_set(q->loop, &q->timer, clock_now() + q->backoff_ns);
	q->backoff_ns = q->backoff_ns * 2 < BACKOFF_MAX_NS ? q->backoff_ns * 2 : BACKOFF_MAX_NS;
	loop_timer_set(q->loop, &q->tell, clock_now());
}

static void confirm(struct qmp *q)
{
	hang_up(q);
	q->confirmed = true;
	q->error[0] = '\0';
	q->backoff_ns = BACKOFF_MIN_NS;
	loop_timer_set(q->loop, &q->tell, clock_now());
}

/* Commands are short: they go into an empty socket at once, or there is something wrong with it. */
static void command(struct qmp *q, enum step step, const char *name, json_t *arguments)
{
	json_t *o = json_pack("{s:s, s:i, s:o*}", "execute", name, "id", (int)++q->d->number, "arguments", arguments);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	ssize_t n;

	json_decref(o);
	if (!text) {
		give_up(q, "out of memory");
		return;
	}
	text[len] = '\n';	/* in the place of the NUL */
	n = send(q->conn.fd, text, len + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	free(text);
	if (n != (ssize_t)len + 1)
		give_up(q, "cannot send to the monitor: %s", n < 0 ? strerror(errno) : "it takes half a command");
	else
		q->d->step = step;
}

static void set_link(struct qmp *q)
{
	command(q, SET_LINK, "set_link",
		json_pack("{s:s, s:b}", "name", *q->cfg.netdev ? q->cfg.netdev : q->found, "up", q->wanted == UP));
}

/* --- which one it is --------------------------------------------------------------- */

/* The line of a vhost-user back-end; @line is taken apart. */
static void read_candidate(struct dialogue *d, char *line)
{
	char *end = strstr(line, ": index="), *to = NULL;

	line += strspn(line, " \\");
	if (!end || end <= line || !strstr(end, ",type=vhost-user,"))
		return;
	*end = '\0';
	for (char *s = end + 1; (s = strstr(s, " to ")); s++)
		to = s + 4;
	if (!to || !*to || strlen(to) >= ID_LEN || strlen(line) >= ID_LEN || d->candidates == CANDIDATES)
		return;
	for (unsigned i = 0; i < d->candidates; i++)	/* there is a line for each of its queue pairs */
		if (!strcmp(d->candidate[i].netdev, line))
			return;
	strcpy(d->candidate[d->candidates].netdev, line);
	strcpy(d->candidate[d->candidates++].chardev, to);
}

static void ask_address(struct qmp *q)
{
	struct dialogue *d = q->d;
	char path[ID_LEN + 16];

	if (d->at == d->candidates) {
		give_up(q, "QEMU has no vhost-user network device on %s: give its id, netdev=ID", q->cfg.socket);
		return;
	}
	snprintf(path, sizeof(path), "/chardevs/%s", d->candidate[d->at].chardev);
	command(q, ADDRESS, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", "addr"));
}

static void take_network(struct qmp *q, const json_t *answer)
{
	const char *text = json_string_value(answer);
	char *copy = text ? strdup(text) : NULL, *line, *rest = copy;

	if (!copy) {
		give_up(q, "QEMU does not list its network devices: give the id of this one, netdev=ID");
		return;
	}
	while ((line = strsep(&rest, "\r\n")))
		read_candidate(q->d, line);
	free(copy);
	ask_address(q);
}

static void take_address(struct qmp *q, const json_t *answer)
{
	const char *path = json_string_value(json_object_get(answer, "path"));
	struct dialogue *d = q->d;

	if (!path || strcmp(path, q->cfg.socket)) {
		d->at++;
		ask_address(q);
		return;
	}
	memcpy(q->found, d->candidate[d->at].netdev, sizeof(q->found));
	set_link(q);
}

/* --- what QEMU says ------------------------------------------------------------------ */

static void take_answer(struct qmp *q, const json_t *answer)
{
	switch (q->d->step) {
	case GREETING:
		break;
	case CAPABILITIES:
		if (*q->cfg.netdev || *q->found)
			set_link(q);
		else
			command(q, NETWORK, "human-monitor-command", json_pack("{s:s}", "command-line", "info network"));
		break;
	case NETWORK:
		take_network(q, answer);
		break;
	case ADDRESS:
		take_address(q, answer);
		break;
	case SET_LINK:
		confirm(q);
		break;
	}
}

static void take_refusal(struct qmp *q, const json_t *error)
{
	const char *desc = json_string_value(json_object_get(error, "desc"));

	if (q->d->step == ADDRESS)
		take_address(q, NULL);	/* another kind of character device */
	else
		give_up(q, "QEMU refuses: %s%s", desc ? desc : "no reason given",
			q->d->step == SET_LINK && *q->cfg.netdev ? " (netdev=)" : "");
}

static void take_message(struct qmp *q, const json_t *m)
{
	const json_t *answer = json_object_get(m, "return"), *error = json_object_get(m, "error");
	const json_t *id = json_object_get(m, "id");

	if (q->d->step == GREETING) {
		if (json_object_get(m, "QMP"))
			command(q, CAPABILITIES, "qmp_capabilities", NULL);
		else
			give_up(q, "what listens on %s is no QMP monitor", q->cfg.path);
		return;
	}
	if (!json_is_integer(id) || json_integer_value(id) != (json_int_t)q->d->number)
		return;
	if (error)
		take_refusal(q, error);
	else if (answer)
		take_answer(q, answer);
}

/* Return: false: the dialogue has ended. */
static bool take_line(struct qmp *q, const char *line, size_t len)
{
	json_t *m;

	if (len && line[len - 1] == '\r')
		len--;
	if (!len)
		return true;
	m = json_loadb(line, len, 0, NULL);
	if (json_is_object(m))
		take_message(q, m);
	else
		give_up(q, "what listens on %s does not speak QMP", q->cfg.path);
	json_decref(m);
	return q->d;
}

/* Return: false: the dialogue has ended. */
static bool take_lines(struct qmp *q)
{
	struct dialogue *d = q->d;
	size_t at = 0;
	char *end;

	while ((end = memchr(d->line + at, '\n', d->len - at))) {
		size_t len = (size_t)(end - (d->line + at));

		if (!take_line(q, d->line + at, len))
			return false;
		at += len + 1;
	}
	d->len -= at;
	memmove(d->line, d->line + at, d->len);
	return true;
}

static void conn_ready(struct loop_watch *w, uint32_t events)
{
	struct qmp *q = w->arg;

	(void)events;
	for (unsigned i = 0; i < READS_PER_CALL; i++) {
		struct dialogue *d = q->d;
		size_t room = sizeof(d->line) - d->len;
		ssize_t n = recv(q->conn.fd, d->line + d->len, room < READ_BYTES ? room : READ_BYTES, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			give_up(q, "the monitor closed the connection");
			return;
		}
		d->len += (size_t)n;
		d->total += (size_t)n;
		if (!take_lines(q))
			return;
		if (d->len == sizeof(d->line) || d->total > TOTAL_BYTES) {
			give_up(q, "the monitor's answer is too long: give the id of the network device, netdev=ID");
			return;
		}
	}
}

/* --- attempts ----------------------------------------------------------------------- */

static void attempt(struct qmp *q)
{
	int fd = q->host->unix_connect(q->host, q->cfg.path), ret;

	if (fd < 0) {
		give_up(q, "cannot connect to the monitor at %s: %s", q->cfg.path, strerror(-fd));
		return;
	}
	q->d = calloc(1, sizeof(*q->d));
	q->conn.fd = fd;
	ret = q->d ? loop_add(q->loop, &q->conn, EPOLLIN) : -ENOMEM;
	if (ret)
		give_up(q, "cannot watch the monitor: %s", strerror(-ret));
	else
		loop_timer_set(q->loop, &q->timer, clock_now() + q->cfg.deadline_ms * NSEC_PER_MSEC);
}

static void timer_due(struct loop_timer *t)
{
	struct qmp *q = t->arg;

	if (!q->d)
		attempt(q);
	else if (q->d->step == GREETING)
		give_up(q, "no greeting from the monitor at %s: it serves one client at a time, end the other one",
			q->cfg.path);
	else
		give_up(q, "no answer from the monitor at %s", q->cfg.path);
}

static void tell_due(struct loop_timer *t)
{
	struct qmp *q = t->arg;

	q->changed(q->ctx);
}

int qmp_open(struct loop *loop, const struct host_ops *host, const struct qmp_config *cfg, void (*changed)(void *ctx),
	     void *ctx, struct qmp **out)
{
	struct qmp *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->loop = loop;
	q->host = host;
	q->cfg = *cfg;
	if (!q->cfg.deadline_ms)
		q->cfg.deadline_ms = DEADLINE_MS;
	q->changed = changed;
	q->ctx = ctx;
	q->backoff_ns = BACKOFF_MIN_NS;
	q->conn = (struct loop_watch){ .fd = -1, .fn = conn_ready, .arg = q };
	q->timer = (struct loop_timer){ .fn = timer_due, .arg = q };
	q->tell = (struct loop_timer){ .fn = tell_due, .arg = q };
	*out = q;
	return 0;
}

void qmp_close(struct qmp *q)
{
	if (!q)
		return;
	hang_up(q);
	loop_timer_cancel(q->loop, &q->tell);
	free(q);
}

void qmp_want(struct qmp *q, bool up)
{
	const enum wanted wanted = up ? UP : DOWN;

	if (q->wanted == wanted)
		return;
	hang_up(q);
	q->wanted = wanted;
	q->confirmed = false;
	q->error[0] = '\0';
	q->backoff_ns = BACKOFF_MIN_NS;
	loop_timer_set(q->loop, &q->timer, clock_now());
}

void qmp_forget(struct qmp *q)
{
	hang_up(q);
	loop_timer_cancel(q->loop, &q->tell);
	q->wanted = NOTHING;
	q->confirmed = false;
	q->error[0] = q->found[0] = '\0';
}

bool qmp_confirmed(const struct qmp *q)
{
	return q->confirmed;
}

bool qmp_wanted(const struct qmp *q)
{
	return q->wanted == UP;
}

const char *qmp_error(const struct qmp *q)
{
	return q->error;
}
