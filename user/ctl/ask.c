/* SPDX-License-Identifier: BSD-2-Clause */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/ask.h"

#define ANSWER_TIMEOUT_S 5

int ask_complain(const struct client_env *env, const char *fmt, ...)
{
	va_list ap;

	fputs("viaduct: ", env->err);
	va_start(ap, fmt);
	vfprintf(env->err, fmt, ap);
	va_end(ap);
	fputc('\n', env->err);
	return 1;
}

/* Connected socket, or -errno. */
static int dial(const struct client_env *env, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, ret;

	ret = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s.sock", env->dir, name);
	if (ret < 0 || (size_t)ret >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

/* Ports may have their sockets here too; an instance has its lock file beside the socket (see instance.h). */
static bool is_instance(DIR *dir, const char *name)
{
	char lock[300];

	snprintf(lock, sizeof(lock), "%s.lock", name);
	return faccessat(dirfd(dir), lock, F_OK, 0) == 0;
}

/*
 * The socket of the only instance that answers. Sockets of dead ones do not
 * count; one that we may not open does, or a user without rights would be told
 * that nothing runs.
 */
static int find_only(const struct client_env *env)
{
	char names[512] = "";
	int fd = -1, refused = 0;
	unsigned found = 0;
	struct dirent *d;
	DIR *dir = opendir(env->dir);

	while (dir && (d = readdir(dir))) {
		size_t len = strlen(d->d_name), at = strlen(names);
		char *name = d->d_name;
		int one;

		if (len < 6 || strcmp(name + len - 5, ".sock"))
			continue;
		name[len - 5] = 0;
		if (!is_instance(dir, name))
			continue;
		one = dial(env, name);
		if (one < 0 && one != -EACCES && one != -EPERM && one != -EAGAIN)
			continue;
		snprintf(names + at, sizeof(names) - at, "%s%s", found ? ", " : "", name);
		found++;
		if (one < 0)
			refused = one;
		else if (fd < 0)
			fd = one;
		else
			close(one);
	}
	if (dir)
		closedir(dir);
	if (found == 1 && !refused)
		return fd;
	if (fd >= 0)
		close(fd);
	if (!found)
		ask_complain(env, "nothing runs (no socket in %s answers): start it with `viaduct run`", env->dir);
	else if (found > 1)
		ask_complain(env, "several instances run: %s; choose one with --name", names);
	else
		ask_complain(env, "cannot open the control socket of %s: %s: run as root", names, strerror(-refused));
	return -1;
}

static int find(const struct client_env *env, const char *name)
{
	int fd;

	if (!name)
		return find_only(env);
	fd = dial(env, name);
	if (fd >= 0)
		return fd;
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		ask_complain(env, "no instance named %s runs: `viaduct status` without --name finds the one that does",
			     name);
	else
		ask_complain(env, "cannot open %s/%s.sock: %s%s", env->dir, name, strerror(-fd),
			     fd == -EACCES || fd == -EPERM ? ": run as root" : "");
	return -1;
}

static bool send_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

FILE *ask(const struct client_env *env, const char *name, const char *method, json_t *params)
{
	const struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	json_t *request = json_pack("{s:s, s:i}", "method", method, "id", 1);
	char *line = NULL;
	FILE *f = NULL;
	int fd = -1;

	if (params)
		json_object_set_new(request, "params", params);
	line = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (!line)
		ask_complain(env, "the request is not UTF-8 text, or out of memory");
	else
		fd = find(env, name);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
		if (send_all(fd, line, strlen(line)) && send_all(fd, "\n", 1))
			f = fdopen(fd, "r");
		if (!f) {
			ask_complain(env, "cannot talk to the running instance: %s", strerror(errno));
			close(fd);
		}
	}
	free(line);
	return f;
}

/* Says what the error is; returns the exit code for it. */
static int tell_error(const struct client_env *env, const json_t *error)
{
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));

	if (!code || !message)
		return ask_complain(env, "the running instance says something that is not an answer");
	if (!strcmp(code, "unknown_method"))
		return ask_complain(env, "the running instance is too old for this command: restart it");
	ask_complain(env, "%s", message);
	return strcmp(code, "invalid_params") ? 1 : 2;
}

json_t *ask_answer(const struct client_env *env, FILE *f, int *code)
{
	json_t *o = NULL, *result;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	*code = 0;
	errno = 0;
	n = getline(&line, &cap, f);
	if (n > 0)
		o = json_loadb(line, (size_t)n, 0, NULL);
	result = json_incref(json_object_get(o, "result"));
	if (n <= 0)
		*code = ask_complain(env, "the running instance does not answer%s",
				     errno == EAGAIN ? ": it may be stopped or overloaded" : "");
	else if (!result)
		*code = tell_error(env, json_object_get(o, "error"));
	json_decref(o);
	free(line);
	return result;
}

json_t *ask_once(const struct client_env *env, const char *name, const char *method, json_t *params, int *code)
{
	FILE *f = ask(env, name, method, params);
	json_t *result;

	*code = 1;
	if (!f)
		return NULL;
	result = ask_answer(env, f, code);
	fclose(f);
	return result;
}
