/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bridge/links.h"
#include "bridge/ports.h"
#include "ctl/config.h"
#include "ctl/limits.h"
#include "ctl/manage.h"
#include "ctl/port_keys.h"
#include "ctl/status.h"
#include "ctl/status_port.h"
#include "ctl/steer.h"

static const char *text_of(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

static int no_such_port(const char *name, char *err, size_t errlen)
{
	snprintf(err, errlen, "there is no port named '%.64s': `viaduct port list` shows those there are", name);
	return -ENODEV;
}

static int on_status(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)
{
	const char *port = text_of(params, "port");
	struct manage *m = ctx;
	int ret = status_json(m->bridge, port, json_is_true(json_object_get(params, "brief")), result);

	return ret == -ENODEV ? no_such_port(port, err, errlen) : ret;
}

static int on_port_list(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)
{
	struct manage *m = ctx;

	(void)params;
	(void)err;
	(void)errlen;
	*result = status_port_list(m->bridge);
	return 0;
}

/* May one more port like this have its files? */
static int check_files(struct bridge *b, const struct port_config *cfg, char *err, size_t errlen)
{
	uint64_t need = limits_files(cfg, 1), base = limits_files(NULL, 0);

	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			need += limits_files(&b->port[i]->cfg, 1) - base;
	return limits_raise_files(need, err, errlen);
}

static int on_port_add(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)
{
	const struct parse p = { .err = err, .errlen = errlen };
	struct manage *m = ctx;
	struct port_config cfg;
	int ret;

	ret = port_keys_parse(&p, text_of(params, "port"), true, &cfg);
	if (!ret)
		ret = config_check_socket(&p, m->instance, &cfg);
	if (!ret)
		ret = check_files(m->bridge, &cfg, err, errlen);
	if (!ret)
		ret = bridge_port_add(m->bridge, &cfg, err, errlen);
	if (!ret)
		*result = status_port_brief(m->bridge, bridge_port_find(m->bridge, cfg.name));
	return ret;
}

static int on_port_del(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)
{
	const char *name = text_of(params, "name");
	struct manage *m = ctx;
	int ret;

	if (!bridge_port_find(m->bridge, name))
		return no_such_port(name, err, errlen);
	ret = bridge_port_del(m->bridge, name, err, errlen);
	if (!ret)
		*result = json_pack("{s:s}", "name", name);
	return ret;
}

static int on_port_set(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)
{
	const struct parse p = { .err = err, .errlen = errlen };
	const char *name = text_of(params, "name");
	struct manage *m = ctx;
	struct port *port = bridge_port_find(m->bridge, name);
	struct port_config cfg;
	int ret;

	if (!port)
		return no_such_port(name, err, errlen);
	cfg = port->cfg;
	ret = port_keys_change(&p, text_of(params, "set"), &cfg);
	if (!ret)
		ret = bridge_port_set(m->bridge, name, &cfg, err, errlen);
	if (!ret)
		*result = status_port_brief(m->bridge, port);
	return ret;
}

static json_t *steering_json(const struct port *port, const struct vd_steering *s)
{
	json_t *o = json_object(), *pairs = json_array();

	json_object_set_new(o, "port", json_string(port->cfg.name));
	json_object_set_new(o, "mode", json_string(s->mode == VD_STEER_AUTO ? "auto" : "hash"));
	json_object_set_new(o, "max", json_integer(port->pairs));
	json_object_set_new(o, "enabled", json_integer(port->map.enabled));
	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		json_array_append_new(pairs, json_integer(s->pair[i] % VD_MAX_PAIRS));
	json_object_set_new(o, "pairs", pairs);
	return o;
}

static int on_steer(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)
{
	static const char *const modes[] = { [VD_STEER_AUTO] = "auto", [VD_STEER_HASH] = "hash", NULL };
	const json_t *mode = json_object_get(params, "mode"), *pairs = json_object_get(params, "pairs");
	struct parse p = { .err = err, .errlen = errlen, .what = "mode" };
	const char *name = text_of(params, "port");
	struct manage *m = ctx;
	struct port *port = bridge_port_find(m->bridge, name);
	struct vd_steering s;
	int ret;

	if (!port)
		return no_such_port(name, err, errlen);
	ret = bridge_steer_get(m->bridge, name, &s);
	if (ret) {
		snprintf(err, errlen, "cannot read the map `steering`: %s", strerror(-ret));
		return ret == -ENOENT ? -EIO : ret;
	}
	if (mode) {
		ret = parse_choice(&p, json_string_value(mode), modes, "auto, hash");
		if (ret < 0)
			return ret;
		s.mode = (enum vd_steer_mode)ret;
		ret = 0;
	}
	p.what = "pairs";
	if (pairs)
		ret = steer_change(&p, pairs, port->pairs, &s);
	if (!ret && (mode || pairs))
		ret = bridge_steer_set(m->bridge, name, &s, err, errlen);
	if (!ret)
		*result = steering_json(port, &s);
	return ret;
}

static int on_link(void *ctx, const json_t *params, json_t **result, char *err, size_t errlen)
{
	static const char *const states[] = { "down", "up", NULL };
	const char *name = text_of(params, "port"), *state = text_of(params, "state");
	const struct parse p = { .err = err, .errlen = errlen, .what = "state" };
	struct manage *m = ctx;
	struct port *port = bridge_port_find(m->bridge, name);
	int up, ret;

	if (!port)
		return no_such_port(name, err, errlen);
	if (state) {
		up = parse_choice(&p, state, states, "up, down");
		ret = up < 0 ? up : bridge_port_link(m->bridge, name, up, err, errlen);
		if (ret)
			return ret;
	}
	*result = json_pack("{s:s, s:b, s:s, s:o}", "port", port->cfg.name, "up", port->reason == VD_REASON_NONE,
			    "reason", links_reason_name(port->reason), "link", status_port_link(port));
	return 0;
}

const struct api_ops manage_ops = {
	.status = on_status,
	.port_list = on_port_list,
	.port_add = on_port_add,
	.port_del = on_port_del,
	.port_set = on_port_set,
	.steer = on_steer,
	.link = on_link,
};
