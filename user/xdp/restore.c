/* SPDX-License-Identifier: BSD-2-Clause */
/* The file is one line: the interface's name, then keys and values in turn, all apart by a space. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xdp/restore.h"

#define RUN_DIR "/run/viaduct"
#define MAX_TEXT 65536		/* a table of 4096 queue numbers, and a little more */

/* Everything that is ever noted; what else a file says is not ours. */
static const char *const keys[] = { "rxvlan", "rx-vlan-filter", "ntuple", "channels", "rss", "busy-poll", "rules" };
static_assert(sizeof(keys) / sizeof(keys[0]) <= RESTORE_ENTRIES, "room for each");

static const char *known_key(const char *word)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(word, keys[i]))
			return keys[i];
	return NULL;
}

static struct restore_entry *find(const struct restore *r, const char *key)
{
	for (int i = 0; i < RESTORE_ENTRIES; i++)
		if (r->entry[i].key && !strcmp(r->entry[i].key, key))
			return (struct restore_entry *)&r->entry[i];
	return NULL;
}

static int set(struct restore *r, const char *key, const char *value)
{
	struct restore_entry *e = find(r, key);
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	for (int i = 0; !e && i < RESTORE_ENTRIES; i++)
		if (!r->entry[i].key)
			e = &r->entry[i];
	if (!e) {
		free(copy);
		return -ENOSPC;
	}
	free(e->value);
	*e = (struct restore_entry){ .key = key, .value = copy };
	return 0;
}

static void parse(struct restore *r, char *text)
{
	char *save, *word = strtok_r(text, " \n", &save), *value;
	const char *key;

	if (!word || strcmp(word, r->noted_as))
		return;
	while ((word = strtok_r(NULL, " \n", &save)) && (value = strtok_r(NULL, " \n", &save))) {
		key = known_key(word);
		if (key)
			set(r, key, value);
	}
}

void restore_open(struct restore *r, const struct host_ops *host, const char *ifname, const char *name)
{
	char *text = malloc(MAX_TEXT);
	ssize_t n = -1;
	int fd;

	memset(r, 0, sizeof(*r));
	r->host = host;
	snprintf(r->ifname, sizeof(r->ifname), "%s", ifname);
	memcpy(r->noted_as, r->ifname, sizeof(r->noted_as));
	snprintf(r->path, sizeof(r->path), "%s/%s.restore", RUN_DIR, name);
	fd = host->open(host, r->path, O_RDONLY, 0);
	if (fd >= 0) {
		if (text)
			n = read(fd, text, MAX_TEXT - 1);
		close(fd);
	}
	if (n > 0) {
		text[n] = '\0';
		parse(r, text);
	}
	free(text);
}

bool restore_any(const struct restore *r)
{
	for (int i = 0; i < RESTORE_ENTRIES; i++)
		if (r->entry[i].key)
			return true;
	return false;
}

const char *restore_get(const struct restore *r, const char *key)
{
	const struct restore_entry *e = find(r, key);

	return e ? e->value : NULL;
}

/* One write(), so that whoever reads the file later finds all of it or an older one. */
static int save(const struct restore *r)
{
	char *text = malloc(MAX_TEXT);
	size_t at;
	int fd, ret;

	if (!text)
		return -ENOMEM;
	at = (size_t)snprintf(text, MAX_TEXT, "%s", r->noted_as);
	for (int i = 0; i < RESTORE_ENTRIES && at < MAX_TEXT; i++)
		if (r->entry[i].key)
			at += (size_t)snprintf(text + at, MAX_TEXT - at, " %s %s", r->entry[i].key, r->entry[i].value);
	ret = at + 1 < MAX_TEXT ? r->host->mkdir(r->host, RUN_DIR, 0755) : -E2BIG;
	if (ret) {
		free(text);
		return ret;
	}
	text[at++] = '\n';
	ret = fd = r->host->open(r->host, r->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0) {
		ret = write(fd, text, at) == (ssize_t)at ? 0 : -EIO;
		close(fd);
	}
	free(text);
	return ret;
}

int restore_note(struct restore *r, const char *key, const char *value)
{
	const char *known = known_key(key);
	int ret = known ? set(r, known, value) : -EINVAL;

	return ret ? ret : save(r);
}

static void drop(struct restore_entry *e)
{
	free(e->value);
	*e = (struct restore_entry){ 0 };
}

void restore_forget(struct restore *r, const char *key)
{
	struct restore_entry *e = find(r, key);

	if (!e)
		return;
	drop(e);
	if (restore_any(r))
		save(r);
	else
		r->host->unlink(r->host, r->path);
}

void restore_abandon(struct restore *r, bool keep)
{
	if (!r->host)
		return;
	for (int i = 0; i < RESTORE_ENTRIES; i++)
		drop(&r->entry[i]);
	if (!keep)
		r->host->unlink(r->host, r->path);
	r->host = NULL;
}

void restore_close(struct restore *r)
{
	const bool any = restore_any(r);

	if (!r->host)
		return;
	for (int i = 0; i < RESTORE_ENTRIES; i++)
		drop(&r->entry[i]);
	if (!any)	/* also one that was of no use */
		r->host->unlink(r->host, r->path);
	r->host = NULL;
}
