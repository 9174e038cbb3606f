/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logging. One line is one write() below PIPE_BUF bytes, attempted only
 * when stderr has room: a reader that stopped reading costs lines, never time.
 * Lost lines are counted and told with the first line that gets through again.
 *
 * Where stderr is the journal's stream the line begins with the sd-daemon(3)
 * priority prefix, and the journal adds name and level; elsewhere we say both.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define LINE_MAX_LEN 1024	/* with what comes before it below PIPE_BUF: one pipe slot, no partial write */
#define LIMIT_WINDOW_NS (60 * NSEC_PER_SEC)

static enum log_level max_level = LOG_LEVEL_INFO;
static uint64_t lost_lines;

/* What is known of stderr. Looked at again for every line: it may be re-opened, and this is no fast path. */
enum sink { SINK_PLAIN, SINK_PIPE, SINK_SOCKET };

/**
 * log_set_level() - leave out what is less severe than @level
 */
void log_set_level(enum log_level level)
{
	max_level = level;
}

/**
 * log_get_level() - the least severe level that is written
 */
enum log_level log_get_level(void)
{
	return max_level;
}

static enum sink sink_kind(bool *journal)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char self[48];
	struct stat st;

	*journal = false;
	if (fstat(STDERR_FILENO, &st) < 0)
		return SINK_PLAIN;
	/* sd-daemon(3): the variable is inherited, so it counts only when it names this very stream. */
	snprintf(self, sizeof(self), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	*journal = stream && !strcmp(stream, self);
	if (S_ISFIFO(st.st_mode))
		return SINK_PIPE;
	return S_ISSOCK(st.st_mode) ? SINK_SOCKET : SINK_PLAIN;
}

static bool write_line(enum sink sink, const char *line, size_t len)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	struct iovec iov = { (void *)line, len };
	ssize_t n = -1;

	/* POLLERR is a pipe without a reader: writing would raise SIGPIPE. */
	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT) || (p.revents & (POLLERR | POLLNVAL)))
		return false;
	switch (sink) {
	case SINK_SOCKET:
		n = send(STDERR_FILENO, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case SINK_PIPE:	/* somebody else may have filled it since poll(); older kernels cannot be told not to wait */
		n = pwritev2(STDERR_FILENO, &iov, 1, -1, RWF_NOWAIT);
		if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
			n = write(STDERR_FILENO, line, len);
		break;
	case SINK_PLAIN:
		n = write(STDERR_FILENO, line, len);
		break;
	}
	return n >= 0;
}

static size_t line_start(char *line, size_t room, enum log_level level, bool journal)
{
	static const char *const name[] = { "error: ", "warning: ", "", "debug: " };
	static const int priority[] = { 3, 4, 6, 7 };

	if (journal)
		return (size_t)snprintf(line, room, "<%d>", priority[level]);
	return (size_t)snprintf(line, room, "viaduct: %s", name[level]);
}

static void emit(enum log_level level, const char *text)
{
	char line[LINE_MAX_LEN + 128];
	size_t at = 0;
	bool journal;
	enum sink sink = sink_kind(&journal);

	if (lost_lines) {
		at = line_start(line, sizeof(line), LOG_LEVEL_WARN, journal);
		at += (size_t)snprintf(line + at, sizeof(line) - at,
				       "%llu log lines were lost while nobody read the log\n",
				       (unsigned long long)lost_lines);
	}
	at += line_start(line + at, sizeof(line) - at, level, journal);
	/* Text may quote a peer: nothing of it may end the line or drive a terminal. */
	for (; *text && at < sizeof(line) - 1; text++)
		line[at++] = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
	line[at++] = '\n';
	if (write_line(sink, line, at))
		lost_lines = 0;
	else
		lost_lines++;
}

/*
 * At most LOG_BURST lines in a window, the line about those left out included.
 * Returns false when this one is to be left out; *left_out and *last say what
 * else there is to tell.
 */
static bool limit_allows(struct log_limit *limit, uint32_t *left_out, bool *last)
{
	uint64_t now = clock_now();

	if (!limit->window_start_ns || now - limit->window_start_ns >= LIMIT_WINDOW_NS) {
		*left_out = limit->suppressed;
		limit->window_start_ns = now;
		limit->suppressed = 0;
		limit->in_window = *left_out ? 1 : 0;
	}
	if (limit->in_window >= LOG_BURST) {
		limit->suppressed++;
		return false;
	}
	*last = ++limit->in_window == LOG_BURST;
	return true;
}

int log_at(enum log_level level, struct log_limit *limit, const char *fmt, ...)
{
	char text[LINE_MAX_LEN];
	uint32_t left_out = 0;
	bool last = false;
	va_list ap;
	int n;

	if (level > max_level)
		return 0;
	if (limit && !limit_allows(limit, &left_out, &last))
		return 0;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return 0;
	if (left_out) {
		char more[80];

		snprintf(more, sizeof(more), "%u more lines like the next one were left out", left_out);
		emit(level, more);
	}
	if (last && n < (int)sizeof(text) - 1)
		snprintf(text + n, sizeof(text) - (size_t)n, " (more of these are left out for up to a minute)");
	emit(level, text);
	return 1;
}
