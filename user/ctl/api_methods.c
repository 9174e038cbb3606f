/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One table: the methods, each with the parameters it takes. A request is
 * checked against it before anything is called, so that ops get parameters of
 * the right type and none that they do not know.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/api_methods.h"

enum param_type { STRING, BOOLEAN, STRING_OR_LIST };
enum { OPTIONAL, NEEDED };

struct param {
	const char *name;
	enum param_type type;
	int needed;
};

struct method {
	const char *name;
	size_t op;		/* its place in struct api_ops; 0 with @own */
	void (*own)(struct api_reply *r);
	const char *doc;
	struct param param[3];	/* ends with one without a name */
};

static void version(struct api_reply *r)
{
	r->result = json_pack("{s:s}", "version", VIADUCT_VERSION);
}

static void monitor(struct api_reply *r)
{
	r->result = json_pack("{s:b}", "monitoring", 1);
	r->monitor = true;
}

static void list_methods(struct api_reply *r);

#define OP(name) offsetof(struct api_ops, name), NULL

static const struct method methods[] = {
	{ "status", OP(status), "state and counters of uplink, NIC queues, workers and ports",
	  { { "port", STRING, OPTIONAL }, { "brief", BOOLEAN, OPTIONAL } } },
	{ "monitor", 0, monitor, "from now on one JSON object per line for everything that happens", { { 0 } } },
	{ "version", 0, version, "version of the running program", { { 0 } } },
	{ "methods", 0, list_methods, "this list", { { 0 } } },
	{ "port_list", OP(port_list), "all ports: configuration, link, addresses", { { 0 } } },
	{ "port_add", OP(port_add), "a new port; \"port\" is what --port takes", { { "port", STRING, NEEDED } } },
	{ "port_del", OP(port_del), "end a port and the connection it has", { { "name", STRING, NEEDED } } },
	{ "port_set", OP(port_set), "change a port that is there; \"set\" is KEY=VALUE,...",
	  { { "name", STRING, NEEDED }, { "set", STRING, NEEDED } } },
	{ "steer", OP(steer), "show a port's steering, or change its \"mode\" or \"pairs\"",
	  { { "port", STRING, NEEDED }, { "mode", STRING, OPTIONAL }, { "pairs", STRING_OR_LIST, OPTIONAL } } },
	{ "link", OP(link), "show a port's link, or set it \"up\" or \"down\"; \"state\" is one of these",
	  { { "port", STRING, NEEDED }, { "state", STRING, OPTIONAL } } },
};
#define METHODS (sizeof(methods) / sizeof(methods[0]))
#define PARAMS (sizeof(methods[0].param) / sizeof(methods[0].param[0]))

static void list_methods(struct api_reply *r)
{
	r->result = json_object();
	for (unsigned i = 0; i < METHODS; i++)
		json_object_set_new(r->result, methods[i].name, json_string(methods[i].doc));
}

static void fail(struct api_reply *r, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void fail(struct api_reply *r, const char *code, const char *fmt, ...)
{
	va_list ap;

	r->code = code;
	va_start(ap, fmt);
	vsnprintf(r->message, sizeof(r->message), fmt, ap);
	va_end(ap);
}

static const struct param *find_param(const struct method *m, const char *name)
{
	for (unsigned i = 0; i < PARAMS && m->param[i].name; i++)
		if (!strcmp(m->param[i].name, name))
			return &m->param[i];
	return NULL;
}

static bool fits(enum param_type type, const json_t *v)
{
	switch (type) {
	case STRING:
		return json_is_string(v);
	case BOOLEAN:
		return json_is_boolean(v);
	case STRING_OR_LIST:
		return json_is_string(v) || json_is_array(v);
	}
	return false;
}

static bool check_params(const struct method *m, const json_t *params, struct api_reply *r)
{
	static const char *const type_name[] = { [STRING] = "a string", [BOOLEAN] = "true or false",
						 [STRING_OR_LIST] = "a string or a list" };
	const char *name;
	json_t *v;

	if (params && !json_is_object(params)) {
		fail(r, "invalid_params", "\"params\" is an object");
		return false;
	}
	json_object_foreach((json_t *)params, name, v) {
		const struct param *p = find_param(m, name);

		if (!p) {
			fail(r, "invalid_params", "%s takes no \"%.64s\"", m->name, name);
			return false;
		}
		if (!fits(p->type, v)) {
			fail(r, "invalid_params", "\"%s\" of %s is %s", p->name, m->name, type_name[p->type]);
			return false;
		}
	}
	for (unsigned i = 0; i < PARAMS && m->param[i].name; i++) {
		if (!m->param[i].needed || json_object_get(params, m->param[i].name))
			continue;
		fail(r, "invalid_params", "%s needs \"%s\", %s", m->name, m->param[i].name,
		     type_name[m->param[i].type]);
		return false;
	}
	return true;
}

/* What programs tell errors by. */
static const char *error_code(int ret)
{
	switch (-ret) {
	case EINVAL:
		return "invalid_params";
	case ENODEV:
		return "no_such_port";
	case EEXIST:
	case EADDRINUSE:
		return "in_use";
	case EOPNOTSUPP:
		return "not_supported";
	case ENOMEM:
		return "internal";
	}
	return "failed";
}

static void call_op(const struct method *m, const struct api_ops *ops, void *ctx, const json_t *params,
		    struct api_reply *r)
{
	api_op *op = *(api_op *const *)((const char *)ops + m->op);
	char err[sizeof(r->message)] = "";
	int ret = op ? op(ctx, params, &r->result, err, sizeof(err)) : -EOPNOTSUPP;

	if (!ret && !r->result)
		ret = -ENOMEM;
	if (!ret)
		return;
	json_decref(r->result);
	r->result = NULL;
	fail(r, error_code(ret), "%s", *err ? err : ret == -ENOMEM ? "out of memory" : strerror(-ret));
}

void api_call(const struct api_ops *ops, void *ctx, const json_t *request, struct api_reply *r)
{
	const json_t *params = json_object_get(request, "params");
	const char *name = json_string_value(json_object_get(request, "method"));

	*r = (struct api_reply){ 0 };
	if (!name) {
		fail(r, "invalid_request", "a request is an object with a string \"method\"");
		return;
	}
	for (unsigned i = 0; i < METHODS; i++) {
		if (strcmp(methods[i].name, name))
			continue;
		if (!check_params(&methods[i], params, r))
			return;
		if (methods[i].own)
			methods[i].own(r);
		else
			call_op(&methods[i], ops, ctx, params, r);
		if (!r->result && !r->code)
			fail(r, "internal", "out of memory");
		return;
	}
	fail(r, "unknown_method", "no such method: the method \"methods\" lists what there is");
}
