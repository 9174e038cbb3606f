/* SPDX-License-Identifier: BSD-2-Clause */
/* What a request may say: methods, parameters, and which error means what. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/api_methods.h"

/* What the last op was called with, and what it is to return. */
struct called {
	const char *op;
	char params[256];
	int ret;
	bool no_result;
	const char *err;
};

static int call(struct called *c, const char *op, const json_t *params, json_t **result, char *err, size_t errlen)
{
	char *text = params ? json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	c->op = op;
	snprintf(c->params, sizeof(c->params), "%s", text ? text : "");
	free(text);
	if (c->err)
		snprintf(err, errlen, "%s", c->err);
	if (!c->no_result)
		*result = json_pack("{s:s}", "from", op);
	return c->ret;
}

#define FAKE(name)                                                                                                   \
	static int fake_##name(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)           \
	{                                                                                                            \
		return call(ctx, #name, params, result, err, errlen);                                                \
	}
FAKE(status)
FAKE(port_list)
FAKE(port_add)
FAKE(port_del)
FAKE(port_set)
FAKE(steer)
FAKE(link)

static const struct api_ops ops = { fake_status, fake_port_list, fake_port_add, fake_port_del, fake_port_set, fake_steer,
				    fake_link };

static void ask(const struct api_ops *o, struct called *c, const char *request, struct api_reply *r)
{
	json_t *req = json_loads(request, 0, NULL);

	assert_non_null(req);
	api_call(o, c, req, r);
	json_decref(req);
}

/* The op of this name gets these parameters, and its result comes back. */
static void good(const char *request, const char *op, const char *params)
{
	struct called c = { 0 };
	struct api_reply r;

	ask(&ops, &c, request, &r);
	if (!r.result)
		print_error("%s: %s\n", request, r.message);
	assert_non_null(r.result);
	assert_null(r.code);
	assert_string_equal(c.op, op);
	assert_string_equal(c.params, params);
	assert_string_equal(json_string_value(json_object_get(r.result, "from")), op);
	json_decref(r.result);
}

/* Refused before any op is called. */
static void bad(const char *request, const char *code, const char *says)
{
	struct called c = { 0 };
	struct api_reply r;

	ask(&ops, &c, request, &r);
	assert_null(r.result);
	assert_null(c.op);
	assert_string_equal(r.code, code);
	if (!strstr(r.message, says))
		print_error("%s: '%s' does not say '%s'\n", request, r.message, says);
	assert_non_null(strstr(r.message, says));
}

static void every_method_gets_its_parameters(void **state)
{
	(void)state;
	good("{\"method\":\"status\"}", "status", "");
	good("{\"method\":\"status\",\"params\":{\"port\":\"vm0\",\"brief\":true}}", "status",
	     "{\"brief\":true,\"port\":\"vm0\"}");
	good("{\"method\":\"port_list\",\"params\":{}}", "port_list", "{}");
	good("{\"method\":\"port_add\",\"params\":{\"port\":\"name=x,socket=/s\"}}", "port_add",
	     "{\"port\":\"name=x,socket=/s\"}");
	good("{\"method\":\"port_del\",\"params\":{\"name\":\"x\"}}", "port_del", "{\"name\":\"x\"}");
	good("{\"method\":\"port_set\",\"params\":{\"name\":\"x\",\"set\":\"vlan=1\"}}", "port_set",
	     "{\"name\":\"x\",\"set\":\"vlan=1\"}");
	good("{\"method\":\"steer\",\"params\":{\"port\":\"x\"}}", "steer", "{\"port\":\"x\"}");
	good("{\"method\":\"steer\",\"params\":{\"port\":\"x\",\"mode\":\"hash\",\"pairs\":[0,1]}}", "steer",
	     "{\"mode\":\"hash\",\"pairs\":[0,1],\"port\":\"x\"}");
	good("{\"method\":\"link\",\"params\":{\"port\":\"x\"}}", "link", "{\"port\":\"x\"}");
	good("{\"method\":\"link\",\"params\":{\"port\":\"x\",\"state\":\"down\"}}", "link",
	     "{\"port\":\"x\",\"state\":\"down\"}");
}

static void parameters_of_another_type_or_name_are_refused(void **state)
{
	(void)state;
	bad("{\"method\":\"port_list\",\"params\":[]}", "invalid_params", "\"params\" is an object");
	bad("{\"method\":\"port_list\",\"params\":null}", "invalid_params", "\"params\" is an object");
	bad("{\"method\":\"version\",\"params\":{\"x\":1}}", "invalid_params", "version takes no \"x\"");
	bad("{\"method\":\"status\",\"params\":{\"port\":1}}", "invalid_params", "\"port\" of status is a string");
	bad("{\"method\":\"status\",\"params\":{\"brief\":\"yes\"}}", "invalid_params", "is true or false");
	bad("{\"method\":\"port_add\"}", "invalid_params", "port_add needs \"port\", a string");
	bad("{\"method\":\"port_del\",\"params\":{\"port\":\"x\"}}", "invalid_params", "port_del takes no \"port\"");
	bad("{\"method\":\"port_set\",\"params\":{\"name\":\"x\"}}", "invalid_params", "port_set needs \"set\"");
	bad("{\"method\":\"steer\",\"params\":{\"port\":\"x\",\"pairs\":{}}}", "invalid_params",
	    "\"pairs\" of steer is a string or a list");
	bad("{\"method\":\"link\",\"params\":{\"state\":\"up\"}}", "invalid_params", "link needs \"port\", a string");
	bad("{\"method\":\"port_delete\"}", "unknown_method", "no such method");
	bad("{\"params\":{}}", "invalid_request", "a string \"method\"");
	bad("[\"status\"]", "invalid_request", "a string \"method\"");
}

static void what_an_op_returns_becomes_a_code(void **state)
{
	static const struct {
		int ret;
		const char *err, *code, *message;
	} cases[] = {
		{ -EINVAL, "vlan: no", "invalid_params", "vlan: no" },
		{ -ENODEV, "there is no port x", "no_such_port", "there is no port x" },
		{ -EEXIST, "a port x already", "in_use", "a port x already" },
		{ -EADDRINUSE, "socket taken", "in_use", "socket taken" },
		{ -EOPNOTSUPP, NULL, "not_supported", "Operation not supported" },
		{ -ENOMEM, NULL, "internal", "out of memory" },
		{ -ENOENT, "no directory", "failed", "no directory" },
		{ -EIO, NULL, "failed", "Input/output error" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct called c = { .ret = cases[i].ret, .err = cases[i].err };
		struct api_reply r;

		ask(&ops, &c, "{\"method\":\"port_list\"}", &r);	/* and its result is freed */
		assert_null(r.result);
		assert_string_equal(r.code, cases[i].code);
		assert_string_equal(r.message, cases[i].message);
	}
}

static void an_op_without_result_or_none_at_all_is_an_error(void **state)
{
	static const struct api_ops none;
	struct called c = { .no_result = true };
	struct api_reply r;

	(void)state;
	ask(&ops, &c, "{\"method\":\"status\"}", &r);
	assert_string_equal(r.code, "internal");
	ask(&none, &c, "{\"method\":\"status\"}", &r);
	assert_string_equal(r.code, "not_supported");
}

static void only_monitor_asks_for_events(void **state)
{
	struct called c = { 0 };
	struct api_reply r;

	(void)state;
	ask(&ops, &c, "{\"method\":\"monitor\"}", &r);
	assert_true(r.monitor);
	json_decref(r.result);
	ask(&ops, &c, "{\"method\":\"methods\"}", &r);
	assert_false(r.monitor);
	json_decref(r.result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_method_gets_its_parameters),
		cmocka_unit_test(parameters_of_another_type_or_name_are_refused),
		cmocka_unit_test(what_an_op_returns_becomes_a_code),
		cmocka_unit_test(an_op_without_result_or_none_at_all_is_an_error),
		cmocka_unit_test(only_monitor_asks_for_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
