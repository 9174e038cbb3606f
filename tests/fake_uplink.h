/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An uplink without a NIC, for tests of the control side: it remembers what it
 * was told, and the test can let it fail. With a bridge of one NIC queue in
 * memory, whose worker does not run: what it would tell, the test tells.
 */
#ifndef TESTS_FAKE_UPLINK_H
#define TESTS_FAKE_UPLINK_H

#include "base/node.h"
#include "bridge/addresses.h"
#include "bridge/ports.h"
#include "dp.h"
#include "fake_host.h"
#include "xdp/fail.h"

#define FAKE_ADDRESSES 64

struct uplink {
	struct uplink_link link;
	struct uplink_info info;
	struct uplink_maps maps;
	struct fake_address {
		struct vd_fdb_key key;
		struct vd_fdb_value value;
	} fdb[FAKE_ADDRESSES];
	unsigned nfdb;
	unsigned filters;	/* entries of the NIC's receive filter */
	uint8_t host[4][6];
	unsigned nhost;
	struct vd_port port[VD_MAX_PORTS];
	struct vd_vlans vlans[VD_MAX_PORTS];
	struct vd_steering steering[VD_MAX_PORTS];
	unsigned cleared[VD_MAX_PORTS];
	unsigned flows, forgotten;
	/* what fails, and with what */
	int filter_error, fdb_error, vlans_error, steering_error;
	unsigned fdb_room;
};

static struct uplink uplink;
static struct vd_link uplink_links[1 + VD_MAX_PORTS];
static struct vd_limit uplink_limits[VD_MAX_PORTS];
static struct vd_config uplink_config;
static struct vd_flow uplink_flows[VD_FLOW_ROW];
static uint64_t uplink_wire[VD_WIRE_SLOTS];

const struct uplink_link *uplink_link(const struct uplink *u)
{
	return &u->link;
}

const struct uplink_info *uplink_info(struct uplink *u)
{
	return &u->info;
}

const struct uplink_maps *uplink_maps(const struct uplink *u)
{
	return &u->maps;
}

static inline struct fake_address *fake_find(struct uplink *u, uint16_t vlan, const uint8_t *mac)
{
	for (unsigned i = 0; i < u->nfdb; i++)
		if (u->fdb[i].key.vlan == vlan && !memcmp(u->fdb[i].key.mac, mac, 6))
			return &u->fdb[i];
	return NULL;
}

int uplink_fdb_set(struct uplink *u, uint16_t vlan, const uint8_t mac[6], uint32_t port, enum vd_fdb_kind kind)
{
	struct fake_address *a = fake_find(u, vlan, mac);

	if (u->fdb_error || uplink_is_host_mac(u, mac))
		return u->fdb_error ? u->fdb_error : -EADDRINUSE;
	if (!a) {
		if (u->nfdb == u->fdb_room)
			return -ENOSPC;
		a = &u->fdb[u->nfdb++];
	}
	a->key.vlan = vlan;
	memcpy(a->key.mac, mac, 6);
	a->value = (struct vd_fdb_value){ port, kind };
	return 0;
}

int uplink_fdb_del(struct uplink *u, uint16_t vlan, const uint8_t mac[6])
{
	struct fake_address *a = fake_find(u, vlan, mac);

	if (!a)
		return -ENOENT;
	*a = u->fdb[--u->nfdb];
	return 0;
}

int uplink_filter(struct uplink *u, const uint8_t mac[6], bool add)
{
	(void)mac;
	if (add && u->filter_error)
		return u->filter_error;
	guest_must(add || u->filters, "an address is taken out of the filter that is not in it");
	u->filters += add ? 1 : -1u;
	return 0;
}

int uplink_hw_steer(struct uplink *u, const uint8_t mac[6], uint32_t queue, bool add)
{
	(void)u;
	(void)mac;
	(void)queue;
	(void)add;
	return -EOPNOTSUPP;
}

bool uplink_is_host_mac(const struct uplink *u, const uint8_t mac[6])
{
	for (unsigned i = 0; i < u->nhost; i++)
		if (!memcmp(u->host[i], mac, 6))
			return true;
	return false;
}

const uint8_t (*uplink_host_macs(const struct uplink *u, unsigned *n))[6]
{
	*n = u->nhost;
	return u->host;
}

int uplink_check_vlans(const struct uplink *u, const struct fail *why)
{
	return u->vlans_error ? fail_with(why, u->vlans_error, "no VLANs") : 0;
}

int uplink_steering(struct uplink *u, uint32_t port, const struct vd_steering *s)
{
	if (u->steering_error)
		return u->steering_error;
	u->steering[port] = *s;
	return 0;
}

int uplink_steering_read(struct uplink *u, uint32_t port, struct vd_steering *s)
{
	*s = u->steering[port];
	return 0;
}

int uplink_port(struct uplink *u, uint32_t port, const struct vd_port *p)
{
	u->port[port] = *p;
	return 0;
}

int uplink_port_vlans(struct uplink *u, uint32_t port, const struct vd_vlans *v)
{
	u->vlans[port] = *v;
	return 0;
}

int uplink_flow_pair(struct uplink *u, uint32_t port, uint32_t hash, uint32_t pair)
{
	(void)port;
	(void)hash;
	(void)pair;
	u->flows++;
	return 0;
}

void uplink_flow_pairs_forget(struct uplink *u, uint32_t port)
{
	(void)port;
	u->forgotten++;
}

void uplink_port_clear(struct uplink *u, uint32_t port)
{
	u->cleared[port]++;
	memset(&u->port[port], 0, sizeof(u->port[port]));
	memset(&u->vlans[port], 0, sizeof(u->vlans[port]));
	memset(&u->maps.limits[port], 0, sizeof(u->maps.limits[port]));
}

/* --- a bridge on it -------------------------------------------------------------------- */

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
	memset(uplink_links, 0, sizeof(uplink_links));
	memset(uplink_limits, 0, sizeof(uplink_limits));
	memset(uplink_flows, 0, sizeof(uplink_flows));
	memset(uplink_wire, 0, sizeof(uplink_wire));
	memset(&uplink_config, 0, sizeof(uplink_config));
	uplink = (struct uplink){
		.link = { .ifindex = 2, .mtu = 1500 }, .info = { .node = NODE_NONE }, .fdb_room = FAKE_ADDRESSES,
		.maps = { .links = uplink_links, .limits = uplink_limits, .config = &uplink_config,
			  .flows = uplink_flows, .wire = uplink_wire },
	};
	strcpy(c->dir, "/tmp/control-XXXXXX");
	guest_must(mkdtemp(c->dir), "mkdtemp");
	c->host = (struct host_ops){ .unix_listen = fake_listen, .unix_connect = fake_connect, .unlink = fake_unlink };
	guest_must(!nicq_init_memory(&c->q, 64, 128, DP_CHUNK), "nicq_init_memory");
	guest_must(!datapath_create(&c->q, uplink_flows, &c->b.fdb, NULL, 0, 1, &c->dp), "datapath_create");
	guest_must(!worker_init(&c->worker, 0, -1, WAIT_ADAPTIVE), "worker_init");
	guest_must(!worker_add(&c->worker, c->dp), "worker_add");
	c->b = (struct bridge){
		.host = &c->host, .uplink = &uplink, .dp = &c->dp, .queues = 1, .worker = &c->worker, .nworkers = 1,
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
