/* SPDX-License-Identifier: BSD-2-Clause */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "ctl/client.h"
#include "ctl/config.h"
#include "ctl/instance.h"
#include "ctl/show.h"

#define ANSWER_TIMEOUT_S 5

struct options {
	const char *name;	/* NULL: the only one */
	bool json;
};

static int complain(const struct client_env *env, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int complain(const struct client_env *env, const char *fmt, ...)
{
	va_list ap;

	fputs("viaduct: ", env->err);
	va_start(ap, fmt);
	vfprintf(env->err, fmt, ap);
	va_end(ap);
	fputc('\n', env->err);
	return 1;
}

static int parse(const struct client_env *env, const char *command, int argc, char **argv, bool json_ok,
		 struct options *o)
{
	*o = (struct options){ 0 };
	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--json") && json_ok)
			o->json = true;
		else if (!strncmp(argv[i], "--name=", 7))
			o->name = argv[i] + 7;
		else if (!strcmp(argv[i], "--name") && i + 1 < argc)
			o->name = argv[++i];
		else if (!strcmp(argv[i], "--name"))
			return complain(env, "--name: a value is missing"), 2;
		else
			return complain(env, "unknown argument '%s'; known: --name NAME%s; usage: viaduct %s "
					"[--name NAME]%s", argv[i], json_ok ? ", --json" : "", command,
					json_ok ? " [--json]" : ""), 2;
	}
	if (o->name && !config_name_ok(o->name))
		return complain(env, "--name: '%s' is no instance's name: use letters, digits, '.', '_', '-'", o->name), 2;
	return 0;
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
		complain(env, "nothing runs (no socket in %s answers): start it with `viaduct run`", env->dir);
	else if (found > 1)
		complain(env, "several instances run: %s; choose one with --name", names);
	else
		complain(env, "cannot open the control socket of %s: %s: run as root", names, strerror(-refused));
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
		complain(env, "no instance named %s runs: `viaduct status` without --name finds the one that does", name);
	else
		complain(env, "cannot open %s/%s.sock: %s%s", env->dir, name, strerror(-fd),
			 fd == -EACCES || fd == -EPERM ? ": run as root" : "");
	return -1;
}

/* Connects and asks; NULL after it has said why not. */
static FILE *ask(const struct client_env *env, const char *name, const char *method)
{
	const struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	char line[80];
	int fd = find(env, name), n;
	FILE *f;

	if (fd < 0)
		return NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	n = snprintf(line, sizeof(line), "{\"method\":\"%s\",\"id\":1}\n", method);
	f = fdopen(fd, "r");
	if (!f || send(fd, line, (size_t)n, MSG_NOSIGNAL) != n) {
		complain(env, "cannot talk to the running instance: %s", strerror(errno));
		if (f)
			fclose(f);
		else
			close(fd);
		return NULL;
	}
	return f;
}

/* Reads the answer to the one request there was; NULL after it has said why not. */
static json_t *answer(const struct client_env *env, FILE *f)
{
	json_t *o = NULL, *result, *error;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	errno = 0;
	n = getline(&line, &cap, f);
	if (n > 0)
		o = json_loadb(line, (size_t)n, 0, NULL);
	result = json_incref(json_object_get(o, "result"));
	error = json_object_get(json_object_get(o, "error"), "message");
	if (n <= 0)
		complain(env, "the running instance does not answer%s",
			 errno == EAGAIN ? ": it may be stopped or overloaded" : "");
	else if (!result)
		complain(env, "the running instance says: %s",
			 error ? json_string_value(error) : "something that is not an answer");
	json_decref(o);
	free(line);
	return result;
}

int client_status_in(const struct client_env *env, int argc, char **argv)
{
	struct options o;
	json_t *status;
	FILE *f;
	int ret;

	ret = parse(env, "status", argc, argv, true, &o);
	if (ret)
		return ret;
	f = ask(env, o.name, "status");
	if (!f)
		return 1;
	status = answer(env, f);
	fclose(f);
	if (!status)
		return 1;
	if (o.json) {
		json_dumpf(status, env->out, JSON_INDENT(2));
		fputc('\n', env->out);
	} else {
		show_status(status, env->out);
	}
	json_decref(status);
	if (fflush(env->out) || ferror(env->out))
		return complain(env, "cannot write: %s", strerror(errno));
	return 0;
}

int client_monitor_in(const struct client_env *env, int argc, char **argv)
{
	const struct timeval forever = { 0 };
	struct options o;
	char *line = NULL;
	size_t cap = 0;
	json_t *ok;
	FILE *f;
	int ret;

	ret = parse(env, "monitor", argc, argv, false, &o);
	if (ret)
		return ret;
	f = ask(env, o.name, "monitor");
	if (!f)
		return 1;
	ok = answer(env, f);
	if (!ok) {
		fclose(f);
		return 1;
	}
	json_decref(ok);
	setsockopt(fileno(f), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
	while (getline(&line, &cap, f) > 0)
		if (fputs(line, env->out) < 0 || fflush(env->out))
			break;
	free(line);
	fclose(f);
	return ferror(env->out) ? 1 : 0;
}

static struct client_env real(void)
{
	return (struct client_env){ .dir = INSTANCE_DIR, .out = stdout, .err = stderr };
}

int client_status(int argc, char **argv)
{
	struct client_env env = real();

	return client_status_in(&env, argc, argv);
}

int client_monitor(int argc, char **argv)
{
	struct client_env env = real();

	return client_monitor_in(&env, argc, argv);
}
