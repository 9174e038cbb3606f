/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logging to stderr with levels, and a rate limit per cause for everything a
 * peer can provoke. Never blocks: a full log pipe loses lines, and says how
 * many once it drains. Control thread only; workers count instead.
 */
#ifndef VIADUCT_BASE_LOG_H
#define VIADUCT_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* One per cause and port. At most LOG_BURST lines a minute, then one line with the count. */
#define LOG_BURST 20
struct log_limit {
	uint64_t window_start_ns;
	uint32_t in_window;
	uint32_t suppressed;
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/**
 * log_at() - write one line
 * @level: severity
 * @limit: rate limit of this cause, or NULL for lines no peer can provoke
 * @fmt: printf format, no newline
 *
 * Return: 1 when the line was due to be written, 0 when it was suppressed.
 */
int log_at(enum log_level level, struct log_limit *limit, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...) log_at(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, NULL, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)

#endif
