/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * JSON objects as text: reading what may be absent, "name  value" lines, and
 * tables. Whatever comes from a peer or from another version is only ever
 * printed as a value. Any thread.
 */
#ifndef VIADUCT_CTL_SHOW_TEXT_H
#define VIADUCT_CTL_SHOW_TEXT_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#define SHOW_N "%" JSON_INTEGER_FORMAT

/* Members of an object; absent or of another type: "", 0, false. */
const char *show_str(const json_t *o, const char *key);
json_int_t show_num(const json_t *o, const char *key);
bool show_yes(const json_t *o, const char *key);
bool show_has(const json_t *o, const char *key);

/* A value being put together; what does not fit is cut. */
struct show_text {
	char s[1024];
	size_t len;
};

void show_add(struct show_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "a 1, b 2" of an object of counters. */
void show_counters(struct show_text *t, const json_t *o);
/* Nothing is printed for an empty value. */
void show_line(FILE *out, const char *name, const struct show_text *t);

#define SHOW_COLUMNS 12
#define SHOW_CELL 40

/* Columns are as wide as their widest cell. Begins as { .text_columns = n }. */
struct show_table {
	unsigned columns, rows;
	unsigned text_columns;	/* the first ones are text and go left, the others right */
	unsigned width[SHOW_COLUMNS];
	char (*cell)[SHOW_COLUMNS][SHOW_CELL];
};

/* One row; cells are separated by '|'. */
void show_row(struct show_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints it, when it has more than a head, and frees what it holds. */
void show_table(FILE *out, struct show_table *t);

#endif
