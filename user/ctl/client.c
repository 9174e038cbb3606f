/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands that talk to a running instance: their arguments, what they ask, what they print. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "ctl/ask.h"
#include "ctl/config.h"
#include "ctl/instance.h"
#include "ctl/show.h"
#include "ctl/steer.h"

#define WORDS 3

enum { TAKES_JSON = 1, TAKES_PORT = 2 };

struct command {
	const char *usage; /* behind "viaduct" */
	unsigned takes;
	int min, max; /* words that are not options */
};

struct options {
	const char *name; /* NULL: the only one */
	const char *port; /* NULL: all of them */
	bool json;
	const char *word[WORDS];
	int words;
};

static int misuse(const struct client_env *env, const struct command *c, const char *what, const char *arg)
{
	ask_complain(env, "%s%s%s%s; usage: viaduct %s", what, *arg ? " '" : "", arg, *arg ? "'" : "", c->usage);
	return 2;
}

/* "--name=x", or "--name" and the next argument. Return: arguments used, 0 = it is another option, -1 = no value. */
static int valued(int argc, char **argv, const char *option, const char **value)
{
	size_t len = strlen(option);

	if (!strncmp(argv[0], option, len) && argv[0][len] == '=') {
		*value = argv[0] + len + 1;
		return 1;
	}
	if (strcmp(argv[0], option))
		return 0;
	*value = argv[1];
	return argc > 1 ? 2 : -1;
}

static int one_argument(const struct client_env *env, const struct command *c, int argc, char **argv, struct options *o)
{
	int used = valued(argc, argv, "--name", &o->name);

	if (!used && c->takes & TAKES_PORT)
		used = valued(argc, argv, "--port", &o->port);
	if (used < 0) {
		ask_complain(env, "%s: a value is missing", argv[0]);
		return -1;
	}
	if (used)
		return used;
	if (c->takes & TAKES_JSON && !strcmp(argv[0], "--json")) {
		o->json = true;
		return 1;
	}
	if (argv[0][0] == '-' || o->words == c->max) {
		misuse(env, c, "unknown argument", argv[0]);
		return -1;
	}
	o->word[o->words++] = argv[0];
	return 1;
}

static int parse(const struct client_env *env, const struct command *c, int argc, char **argv, struct options *o)
{
	*o = (struct options){ 0 };
	for (int i = 0, used; i < argc; i += used) {
		used = one_argument(env, c, argc - i, argv + i, o);
		if (used < 0)
			return 2;
	}
	if (o->words < c->min)
		return misuse(env, c, "something is missing", "");
	if (o->name && !config_name_ok(o->name)) {
		ask_complain(env, "--name: '%s' is no instance's name: use letters, digits, '_', '-'", o->name);
		return 2;
	}
	return 0;
}

static int print_json(const struct client_env *env, const json_t *o)
{
	json_dumpf(o, env->out, JSON_INDENT(2));
	fputc('\n', env->out);
	return 0;
}

static int flushed(const struct client_env *env)
{
	if (fflush(env->out) || ferror(env->out))
		return ask_complain(env, "cannot write: %s", strerror(errno));
	return 0;
}

int client_status_in(const struct client_env *env, int argc, char **argv)
{
	static const struct command command = {
		"status [--name NAME] [--port PORT] [--json]",
		TAKES_JSON | TAKES_PORT,
		0,
		0,
	};
	json_t *status, *params = NULL;
	struct options o;
	int code;

	code = parse(env, &command, argc, argv, &o);
	if (code)
		return code;
	if (o.port)
		params = json_pack("{s:s}", "port", o.port);
	else if (!o.json)
		params = json_pack("{s:b}", "brief", 1);
	status = ask_once(env, o.name, "status", params, &code);
	if (!status)
		return code;
	if (o.json)
		print_json(env, status);
	else if (o.port)
		show_one_port(status, env->out);
	else
		show_status(status, env->out);
	json_decref(status);
	return flushed(env);
}

int client_monitor_in(const struct client_env *env, int argc, char **argv)
{
	static const struct command command = { "monitor [--name NAME]", 0, 0, 0 };
	const struct timeval forever = { 0 };
	struct options o;
	char *line = NULL;
	size_t cap = 0;
	json_t *ok;
	FILE *f;
	int code;

	code = parse(env, &command, argc, argv, &o);
	if (code)
		return code;
	f = ask(env, o.name, "monitor", NULL);
	if (!f)
		return 1;
	ok = ask_answer(env, f, &code);
	if (!ok) {
		fclose(f);
		return code;
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

/* ---- viaduct port ---- */

static int port_list(const struct client_env *env, int argc, char **argv)
{
	static const struct command command = { "port list [--name NAME] [--json]", TAKES_JSON, 0, 0 };
	struct options o;
	json_t *list;
	int code;

	code = parse(env, &command, argc, argv, &o);
	if (code)
		return code;
	list = ask_once(env, o.name, "port_list", NULL, &code);
	if (!list)
		return code;
	if (o.json)
		print_json(env, json_object_get(list, "ports"));
	else
		show_port_list(list, env->out);
	json_decref(list);
	return flushed(env);
}

/* Those that change something print nothing when it is done. */
static int port_change(const struct client_env *env, const struct command *command, const char *method,
		       const char *const key[2], int argc, char **argv)
{
	json_t *params, *result;
	struct options o;
	int code;

	code = parse(env, command, argc, argv, &o);
	if (code)
		return code;
	params = json_object();
	for (int i = 0; i < o.words; i++)
		if (json_object_set_new(params, key[i], json_string(o.word[i])) < 0) {
			json_decref(params);
			return misuse(env, command, "no UTF-8 text:", o.word[i]);
		}
	result = ask_once(env, o.name, method, params, &code);
	json_decref(result);
	return code;
}

int client_port_in(const struct client_env *env, int argc, char **argv)
{
	static const struct {
		const char *verb, *method;
		struct command command;
		const char *key[2];
	} verbs[] = {
		{ "add", "port_add", { "port add KEY=VALUE,... [--name NAME]", 0, 1, 1 }, { "port", NULL } },
		{ "del", "port_del", { "port del PORT [--name NAME]", 0, 1, 1 }, { "name", NULL } },
		{ "set", "port_set", { "port set PORT KEY=VALUE,... [--name NAME]", 0, 2, 2 }, { "name", "set" } },
	};
	const char *verb = argc ? argv[0] : "";

	if (!strcmp(verb, "list"))
		return port_list(env, argc - 1, argv + 1);
	for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verb, verbs[i].verb))
			return port_change(env, &verbs[i].command, verbs[i].method, verbs[i].key, argc - 1, argv + 1);
	ask_complain(env, "port: '%s' is not one of add, del, set, list; `viaduct help` shows their arguments", verb);
	return 2;
}

/* Asks about a port, or has it changed; what it is like is shown only where nothing was to change. Takes @params. */
static int ask_of_port(const struct client_env *env, const struct options *o, const char *method, json_t *params,
		       void (*show)(const json_t *result, FILE *out))
{
	json_t *result;
	int code;

	result = ask_once(env, o->name, method, params, &code);
	if (!result)
		return code;
	if (o->json)
		print_json(env, result);
	else if (o->words == 1)
		show(result, env->out);
	json_decref(result);
	return flushed(env);
}

/* ---- viaduct steer ---- */

/* "auto", "hash", or what is to be in the table. */
static int steer_params(const struct client_env *env, const struct command *c, const struct options *o, json_t *params)
{
	for (int i = 1; i < o->words; i++) {
		const char *w = o->word[i], *key = strcmp(w, "auto") && strcmp(w, "hash") ? "pairs" : "mode";

		if (json_object_get(params, key))
			return misuse(env, c, "given twice:", w);
		json_object_set_new(params, key, json_string(w));
	}
	return 0;
}

int client_steer_in(const struct client_env *env, int argc, char **argv)
{
	static const struct command command = {
		"steer PORT [auto|hash] [INDEX[-INDEX]=PAIR,...|spread] [--name NAME] [--json]",
		TAKES_JSON,
		1,
		3,
	};
	struct options o;
	json_t *params;
	int code;

	code = parse(env, &command, argc, argv, &o);
	if (code)
		return code;
	params = json_pack("{s:s}", "port", o.word[0]);
	code = steer_params(env, &command, &o, params);
	if (code) {
		json_decref(params);
		return code;
	}
	return ask_of_port(env, &o, "steer", params, show_steering);
}

/* ---- viaduct link ---- */

int client_link_in(const struct client_env *env, int argc, char **argv)
{
	static const struct command command = { "link PORT [up|down] [--name NAME] [--json]", TAKES_JSON, 1, 2 };
	struct options o;
	json_t *params;
	int code;

	code = parse(env, &command, argc, argv, &o);
	if (code)
		return code;
	if (o.words > 1 && strcmp(o.word[1], "up") && strcmp(o.word[1], "down"))
		return misuse(env, &command, "neither up nor down:", o.word[1]);
	params = json_pack("{s:s, s:s*}", "port", o.word[0], "state", o.words > 1 ? o.word[1] : NULL);
	if (!params)
		return misuse(env, &command, "no UTF-8 text:", o.word[0]);
	return ask_of_port(env, &o, "link", params, show_link_state);
}

/* ---- with the real places ---- */

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

int client_port(int argc, char **argv)
{
	struct client_env env = real();

	return client_port_in(&env, argc, argv);
}

int client_steer(int argc, char **argv)
{
	struct client_env env = real();

	return client_steer_in(&env, argc, argv);
}

int client_link(int argc, char **argv)
{
	struct client_env env = real();

	return client_link_in(&env, argc, argv);
}
