/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/show_text.h"

/* ---- reading without surprises: absent means empty ---- */

const char *show_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

json_int_t show_num(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

bool show_yes(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

bool show_has(const json_t *o, const char *key)
{
	return json_object_get(o, key) != NULL;
}

/* ---- "name  value" lines ---- */

void show_add(struct show_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len = t->len + (size_t)n < sizeof(t->s) ? t->len + (size_t)n : sizeof(t->s) - 1;
}

void show_line(FILE *out, const char *name, const struct show_text *t)
{
	if (t->len)
		fprintf(out, "  %-15s %s\n", name, t->s);
}

/* "a 1, b 2" of an object of counters. */
void show_counters(struct show_text *t, const json_t *o)
{
	const char *key, *sep = "";
	json_t *v;

	json_object_foreach((json_t *)o, key, v) {
		show_add(t, "%s%s %" JSON_INTEGER_FORMAT, sep, key, json_integer_value(v));
		sep = ", ";
	}
}

/* ---- tables: rows of cells, columns as wide as their widest ---- */

void show_row(struct show_table *t, const char *fmt, ...)
{
	char text[1024], *rest = text, *cell;
	unsigned col = 0;
	va_list ap;
	void *more;

	more = reallocarray(t->cell, t->rows + 1, sizeof(*t->cell));
	if (!more)
		return;
	t->cell = more;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memset(t->cell[t->rows], 0, sizeof(*t->cell));
	for (; col < SHOW_COLUMNS && (cell = strsep(&rest, "|")); col++) {
		unsigned n = (unsigned)snprintf(t->cell[t->rows][col], SHOW_CELL, "%s", cell);

		if (n >= SHOW_CELL)
			n = SHOW_CELL - 1;
		if (n > t->width[col])
			t->width[col] = n;
	}
	if (col > t->columns)
		t->columns = col;
	t->rows++;
}

void show_table(FILE *out, struct show_table *t)
{
	for (unsigned r = 0; t->rows > 1 && r < t->rows; r++) {
		fputs("  ", out);
		for (unsigned c = 0; c < t->columns; c++) {
			int width = (int)t->width[c];

			if (c + 1 == t->columns && c < t->text_columns)
				width = 0; /* no blanks at the end of a line */
			fprintf(out, "%s%*s", c ? "  " : "", c < t->text_columns ? -width : width, t->cell[r][c]);
		}
		fputc('\n', out);
	}
	free(t->cell);
}
