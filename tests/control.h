/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bridge of one NIC queue in memory on an uplink without a NIC, for tests of the
 * control side. Its worker does not run: what it would tell, the test tells.
 */
#ifndef TESTS_CONTROL_H
#define TESTS_CONTROL_H

#include "bridge/addresses.h"
#include "bridge/ports.h"
#include "fake_uplink.h"
#include "fake_host.h"	/* wants what cmocka defines */

static struct control {
	struct bridge b;
	struct host_ops host;
	struct nicq q;
	struct datapath *dp;
	struct worker worker;
	char dir[32];
	char err[256];
	char events[512];	/* one a line, those since the last look */
} control;

static inline void note_event(void *arg, const struct bridge_event *ev)
{
	struct control *c = arg;
	size_t at = strlen(c->events);

	snprintf(c->events + at, sizeof(c->events) - at, "%s %s\n", ev->event, ev->subject);
}

static inline void control_open(struct control *c)
{
	memset(c, 0, sizeof(*c));
	fake_uplink_open();
	strcpy(c->dir, "/tmp/control-XXXXXX");
	guest_must(mkdtemp(c->dir), "mkdtemp");
	c->host = (struct host_ops){ .unix_listen = fake_listen, .unix_connect = fake_connect, .unlink = fake_unlink };
	guest_must(!nicq_init_memory(&c->q, 64, 128, DP_CHUNK), "nicq_init_memory");
	guest_must(!datapath_create(&c->q, uplink_flows, &c->b.fdb, NULL, 0, 1, &c->dp), "datapath_create");
	guest_must(!worker_init(&c->worker, 0, -1, WAIT_ADAPTIVE), "worker_init");
	guest_must(!worker_add(&c->worker, c->dp), "worker_add");
	c->b = (struct bridge){
		.host = &c->host, .uplink = &uplink, .dp = &c->dp, .queues = 1, .homes = 1, .worker = &c->worker, .nworkers = 1,
		.loop = loop_create(), .event = note_event, .event_arg = c,
	};
	guest_must(c->b.loop, "loop_create");
}

static inline void control_close(struct control *c)
{
	while (c->b.nports) {
		char name[32];

		memcpy(name, c->b.port[c->b.nports - 1]->cfg.name, sizeof(name));
		assert_int_equal(bridge_port_del(&c->b, name, c->err, sizeof(c->err)), 0);
	}
	assert_int_equal(uplink.filters, 0);
	assert_int_equal(uplink.nfdb, 0);
	assert_int_equal(c->dp->nport, 0);
	loop_destroy(c->b.loop);
	worker_fini(&c->worker);
	datapath_destroy(c->dp);
	assert_int_equal(frames_check(&c->q.frames), 0);
	nicq_fini(&c->q);
	assert_int_equal(rmdir(c->dir), 0);
}

static inline struct port_config control_port(struct control *c, const char *name)
{
	struct port_config cfg = { .pairs = 1, .perm = 0600, .owner = (uid_t)-1, .group = (gid_t)-1 };

	snprintf(cfg.name, sizeof(cfg.name), "%s", name);
	snprintf(cfg.socket, sizeof(cfg.socket), "%s/%s", c->dir, name);
	return cfg;
}

static inline int control_add(struct control *c, const struct port_config *cfg)
{
	c->err[0] = 0;
	return bridge_port_add(&c->b, cfg, c->err, sizeof(c->err));
}

static inline int control_set(struct control *c, const struct port_config *cfg)
{
	c->err[0] = 0;
	return bridge_port_set(&c->b, cfg->name, cfg, c->err, sizeof(c->err));
}

/* Those since the last time. */
static inline const char *control_events(struct control *c)
{
	static char events[sizeof(c->events)];

	memcpy(events, c->events, sizeof(events));
	c->events[0] = 0;
	return events;
}

#endif
