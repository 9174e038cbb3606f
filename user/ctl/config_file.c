/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation. libinih takes lines apart. It cuts them at 200 bytes,
 * forgets sections that are empty, and takes an indented key for the rest of
 * the line before; so it gets its lines from next_line(), which sees sections
 * begin, refuses what is too long, and removes the blanks in front of a key.
 * What is indented and is no key goes on with the list of the line before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "ctl/config_file.h"
#include "ctl/port_keys.h"

enum section { SECTION_NONE, SECTION_UPLINK, SECTION_PORT };

struct file {
	struct config *c;
	const char *path;
	FILE *f;
	char *line;
	size_t cap;
	int lineno, head;		/* the line being read; the one with the section's head */
	enum section section;
	bool uplink_seen;
	unsigned seen;			/* options */
	bool goes_on;			/* the line has no key: it goes on with the list before it */
	struct port_config port;
	struct port_keys keys;
	int ret, failed_at;		/* the first error, and its line */
	char *err;
	size_t errlen;
	char where[300];
};

static struct parse place(struct file *f, int line)
{
	snprintf(f->where, sizeof(f->where), "%.280s:%d", f->path, line);
	return (struct parse){ .where = f->where, .err = f->err, .errlen = f->errlen };
}

static void fail(struct file *f, int ret)
{
	if (ret && !f->ret) {
		f->ret = ret;
		f->failed_at = f->lineno;
	}
}

static void end_section(struct file *f)
{
	struct parse p = place(f, f->head);

	if (f->section == SECTION_PORT && !f->ret)
		fail(f, port_keys_end(&f->keys, &p) ?: config_add_port(f->c, &p, &f->port));
	f->section = SECTION_NONE;
}

static void begin_section(struct file *f, char *name)
{
	struct parse p;

	end_section(f);
	if (f->ret)
		return;
	f->head = f->lineno;
	p = place(f, f->lineno);
	if (!strcmp(name, "uplink")) {
		f->section = SECTION_UPLINK;
		if (f->uplink_seen)
			fail(f, parse_wrong(&p, "a second section [uplink]: keep one, a viaduct has one uplink"));
		f->uplink_seen = true;
	} else if (!strncmp(name, "port", 4) && (name[4] == ' ' || name[4] == '\t')) {
		f->section = SECTION_PORT;
		port_keys_start(&f->keys, &f->port);
		name += 4 + strspn(name + 4, " \t");
		fail(f, port_keys_set(&f->keys, &p, "name", name));
	} else {
		fail(f, parse_wrong(&p, "unknown section [%.40s]; known are [uplink] and [port NAME]", name));
	}
}

/* "[name]": gives the name without the blanks around it; NULL when it is no whole head, which libinih complains of. */
static char *head_name(char *line)
{
	char *end = strchr(line, ']'), *name = line + 1 + strspn(line + 1, " \t");

	if (!end)
		return NULL;
	while (end > name && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = 0;
	return name;
}

/* libinih does so too, but not in all versions where a line goes on. */
static void cut_comment(char *text)
{
	for (char *at = text; (at = strchr(at, ';')); at++)
		if (at > text && (at[-1] == ' ' || at[-1] == '\t')) {
			*at = 0;
			return;
		}
}

/* What libinih sees of a line; NULL when it is not to see more. */
static const char *look_at(struct file *f, size_t len, int room)
{
	char *text = f->line, *name, copy[256];
	struct parse p = place(f, f->lineno);

	if (strlen(text) != len) {
		fail(f, parse_wrong(&p, "a zero byte: this is not a text file"));
		return NULL;
	}
	if (f->lineno == 1 && !strncmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	text += strspn(text, " \t");
	cut_comment(text);
	f->goes_on = text > f->line && *text && !strchr("[;#\r\n", *text) && !strchr(text, '=');
	if (strlen(text) + 2 > (size_t)room) {
		fail(f, parse_wrong(&p, "longer than %d bytes: let a list go on in the next line, with a blank in "
				       "front of it", room - 2));
		return NULL;
	}
	snprintf(copy, sizeof(copy), "%s", text);
	if (*copy == '[' && (name = head_name(copy)))
		begin_section(f, name);
	return f->ret ? NULL : text;
}

static char *next_line(char *str, int num, void *stream)
{
	struct file *f = stream;
	const char *text;
	ssize_t n;

	if (f->ret)
		return NULL;
	errno = 0;
	n = getline(&f->line, &f->cap, f->f);
	if (n < 0)
		return NULL;
	f->lineno++;
	text = look_at(f, (size_t)n, num);
	if (!text)
		return NULL;
	snprintf(str, (size_t)num, "%s%s", f->goes_on ? " " : "", text);
	return str;
}

static int set_option(struct file *f, struct parse *p, const char *name, const char *value)
{
	char list[512];
	int ret;

	if (f->goes_on)
		return parse_wrong(p, "'%s' is not KEY = VALUE: remove the blanks in front if it is to be one", value);
	if (!strcmp(name, "interface"))
		name = "uplink";
	p->what = name;
	ret = config_option(f->c, p, name, value, &f->seen);
	p->what = NULL;
	if (ret == -ENOENT)
		return parse_wrong(p, "unknown key '%s' in [uplink]; known keys: interface, %s", name,
				   config_option_list("", list, sizeof(list)));
	return ret;
}

static int set_key(struct file *f, const struct parse *p, const char *name, const char *value)
{
	if (f->goes_on)
		return port_keys_more(&f->keys, p, value);
	if (!strcmp(name, "name"))
		return parse_wrong(p, "name: the head of the section names the port: leave this line out");
	return port_keys_set(&f->keys, p, name, value);
}

/* Not 0 = go on. */
static int on_pair(void *user, const char *section, const char *name, const char *value)
{
	struct file *f = user;
	struct parse p = place(f, f->lineno);

	(void)section;
	switch (f->section) {
	case SECTION_NONE:
		fail(f, parse_wrong(&p, "'%s' is in no section: write [uplink] or [port NAME] above it", name));
		break;
	case SECTION_UPLINK:
		fail(f, set_option(f, &p, name, value));
		break;
	case SECTION_PORT:
		fail(f, set_key(f, &p, name, value));
		break;
	}
	return !f->ret;
}

int config_file_read(struct config *c, const char *path, char *err, size_t errlen)
{
	struct file f = { .c = c, .path = path, .err = err, .errlen = errlen };
	struct parse p = { .where = path, .err = err, .errlen = errlen };
	int line;

	f.f = fopen(path, "re");
	if (!f.f)
		return parse_wrong(&p, "cannot be opened: %s: give --config the path of a file that exists",
				   strerror(errno));
	line = ini_parse_stream(next_line, &f, on_pair, &f);
	end_section(&f);
	if (line > 0 && (!f.ret || line < f.failed_at)) {
		p = place(&f, line);
		f.ret = parse_wrong(&p, "neither KEY = VALUE nor [SECTION] nor a comment (# or ; in front)");
	} else if (line < 0) {
		f.ret = -ENOMEM;
	} else if (ferror(f.f) && !f.ret) {
		f.ret = parse_wrong(&p, "cannot be read: %s", strerror(errno));
	}
	free(f.line);
	fclose(f.f);
	return f.ret;
}
