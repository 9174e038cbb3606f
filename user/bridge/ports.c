/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: whatever a worker looks at through a data path changes
 * while all workers are parked between two passes (bridge_park()); that takes as
 * long as one pass. Everything else (maps, sockets, memory) is done before or
 * after, in an order in which the program never steers to a port that is not
 * there yet, or no longer.
 *
 * An index that was given back is used again as late as possible, and frames
 * that were on their way to its old port are told by their sequence number.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "bridge/addresses.h"
#include "bridge/attach.h"
#include "bridge/kept.h"
#include "bridge/links.h"
#include "bridge/mac.h"
#include "bridge/park.h"
#include "bridge/portlink.h"
#include "bridge/ports.h"
#include "xdp/fail.h"

struct port *bridge_port_find(struct bridge *b, const char *name)
{
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i] && !strcmp(b->port[i]->cfg.name, name))
			return b->port[i];
	return NULL;
}

static int no_such_port(const struct fail *why, const char *name)
{
	return fail_with(why, -ENOENT, "there is no port %s: `viaduct port list` shows those there are", name);
}

/* --- the port that gets what nobody knows ------------------------------------ */

void bridge_ports_update_unknown(struct bridge *b)
{
	struct port *p = NULL;
	uint32_t index = VD_PORT_NONE;

	if (b->cfg.uplink.unknown != VD_UNKNOWN_GUEST)
		return;
	if (b->cfg.unknown_port[0])
		p = bridge_port_find(b, b->cfg.unknown_port);
	for (uint32_t i = 0; i < b->nports && !p && !b->cfg.unknown_port[0]; i++)
		p = b->port[i];
	if (p)
		index = p->index;
	else if (b->cfg.unknown_port[0])
		log_warn("--unknown guest=%s: there is no such port now: what nobody knows passes to the host", b->cfg.unknown_port);
	WRITE_ONCE(uplink_maps(b->uplink)->config->unknown_port, (uint16_t)index);
	for (uint32_t i = 0; i < b->queues; i++)
		WRITE_ONCE(b->dp[i]->unknown_port, index);
}

/* --- policy ------------------------------------------------------------------- */

/* What the program is to know of the port's configuration, but for its rings. */
static int publish_policy(struct bridge *b, struct port *p)
{
	struct vd_limit *l = &uplink_maps(b->uplink)->limits[p->index];
	struct vd_vlans v;

	policy_wire_vlans(&p->policy, &v);
	vd_limit_set(l, p->cfg.rx_bps, p->cfg.rx_pps);
	return uplink_port_vlans(b->uplink, p->index, &v);
}

/* Another port's addresses, or the host's, can be no one else's; and VLANs must come with their tags. */
static int check_policy(struct bridge *b, const struct port *self, const struct port_config *cfg,
			   const struct fail *why)
{
	int ret = cfg->vlan || cfg->have_trunk ? uplink_check_vlans(b->uplink, why) : 0;
	struct policy policy = { 0 };

	if (ret)
		return ret;
	policy_set(&policy, cfg);
	for (uint32_t i = 0; i < cfg->nmac; i++) {
		const struct port *owner;
		char text[MAC_STRLEN];
		unsigned at;

		mac_format(cfg->mac[i], text);
		if (uplink_is_host_mac(b->uplink, cfg->mac[i]))
			return fail_with(why, -EADDRINUSE, "port %s: %s is the host's own address: give the guest another",
					 cfg->name, text);
		owner = addresses_holder(b, self, &policy, mac_load(cfg->mac[i]), &at);
		if (owner && owner->cfg.nmac)
			return fail_with(why, -EADDRINUSE, "port %s: %s is an address of port %s: give one of them another",
					 cfg->name, text, owner->cfg.name);
	}
	return 0;
}

/* --- add --------------------------------------------------------------------- */

static int free_index(const struct bridge *b)
{
	for (uint32_t i = 0; i < VD_MAX_PORTS; i++) {
		uint32_t at = (b->next_port + i) % VD_MAX_PORTS;

		if (!b->port[at])
			return (int)at;
	}
	return -ENOSPC;
}

static int check_new(struct bridge *b, const struct port_config *cfg, const struct fail *why)
{
	for (uint32_t i = 0; i < b->nports; i++) {
		const struct port *p = b->port[i];

		if (!p)
			continue;
		if (!strcmp(p->cfg.name, cfg->name))
			return fail_with(why, -EEXIST, "there is a port %s already: choose another name, or `viaduct port del %s` first",
					 cfg->name, cfg->name);
		if (!strcmp(p->cfg.socket, cfg->socket))
			return fail_with(why, -EEXIST, "port %s: port %s has the socket %s: give another socket=", cfg->name,
					 p->cfg.name, cfg->socket);
	}
	return check_policy(b, NULL, cfg, why);
}

void bridge_port_take_kept(struct bridge *b, struct port *p)
{
	if (!b->kept)
		return;
	p->kept_slot = kept_take(b->kept, p->cfg.name, 2 * p->pairs);
	if (p->kept_slot < 0)
		log_warn("port %s: positions of its packed rings are not kept for the next instance: %s",
			 p->cfg.name, strerror(-p->kept_slot));
}

static int add_to_workers(struct bridge *b, struct port *p)
{
	int ret = 0;

	bridge_park(b);
	for (uint32_t i = 0; i < b->queues && !ret; i++)
		ret = datapath_add_port(b->dp[i], p, b->homes);
	if (ret)
		for (uint32_t i = 0; i < b->queues; i++)
			datapath_del_port(b->dp[i], p);
	bridge_unpark(b);
	return ret;
}

static void del_from_workers(struct bridge *b, struct port *p)
{
	bridge_park(b);
	for (uint32_t i = 0; i < b->queues; i++)
		datapath_del_port(b->dp[i], p);
	if (b->worker[0].host)
		from_host_forget(b->worker[0].host, p->index);
	b->port[p->index] = NULL;
	bridge_unpark(b);
	addresses_learn(b);	/* what they had to tell of it comes to nothing now, and later would be another's */
}

static void remove_port(struct bridge *b, struct port *p)
{
	uint32_t index = p->index;

	attach_close(p);
	kept_give_back(b->kept, p->kept_slot);
	addresses_close(b, p);
	del_from_workers(b, p);
	uplink_port_clear(b->uplink, index);
	if (p->pairs > 1)
		uplink_flow_pairs_forget(b->uplink, index);
	links_clear_port(b, index);
	while (b->nports && !b->port[b->nports - 1])
		b->nports--;
	port_destroy(p);
	bridge_ports_update_unknown(b);
}

static int make_port(struct bridge *b, uint32_t index, const struct port_config *cfg, struct port **out)
{
	struct port *p = port_create(index, cfg);
	int ret;

	if (!p)
		return -ENOMEM;
	p->bridge = b;
	p->rx_limit = &uplink_maps(b->uplink)->limits[index];
	uplink_port_clear(b->uplink, index);
	ret = publish_policy(b, p);
	if (!ret)
		ret = uplink_steering(b->uplink, index, &p->steering);
	if (!ret)
		ret = add_to_workers(b, p);
	if (ret) {
		port_destroy(p);
		return ret;
	}
	bridge_port_take_kept(b, p);
	b->port[index] = p;
	if (index >= b->nports)
		b->nports = index + 1;
	b->next_port = (index + 1) % VD_MAX_PORTS;
	links_set_port(b, p, VD_REASON_NOT_CONNECTED, 0);
	*out = p;
	return 0;
}

static int open_port(struct bridge *b, struct port *p, const struct fail *why)
{
	int ret = addresses_open(b, p);

	if (ret)
		return fail_with(why, ret, "port %s: cannot enter its MAC address: %s", p->cfg.name, strerror(-ret));
	ret = attach_open(b, p);
	if (ret == -EADDRINUSE)
		return fail_with(why, ret,
				 "port %s: another process listens on %s: stop it, or give the port another socket=",
				 p->cfg.name, p->cfg.socket);
	if (ret == -EMFILE)
		return fail_with(why, ret, "port %s: too many open files: raise the limit (ulimit -n, or LimitNOFILE= in the unit)",
				 p->cfg.name);
	if (ret)
		return fail_with(why, ret, "port %s: cannot open %s: %s: check that the directory exists "
				 "and that nothing but a socket is there", p->cfg.name, p->cfg.socket, strerror(-ret));
	attach_update(p);
	return 0;
}

int bridge_port_add(struct bridge *b, const struct port_config *cfg, char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct port *p;
	int index, ret;

	ret = check_new(b, cfg, &why);
	if (ret)
		return ret;
	index = free_index(b);
	if (index < 0)
		return fail_with(&why, index, "port %s: there are %u ports, which is all a bridge can have: `viaduct port del` one first",
				 cfg->name, VD_MAX_PORTS);
	ret = make_port(b, (uint32_t)index, cfg, &p);
	if (ret)
		return fail_with(&why, ret, "port %s: cannot set it up: %s", cfg->name, strerror(-ret));
	ret = open_port(b, p, &why);
	if (ret) {
		remove_port(b, p);
		return ret;
	}
	bridge_ports_update_unknown(b);
	bridge_event(b, "port_added", cfg->name, "", -1);
	return 0;
}

int bridge_port_del(struct bridge *b, const char *name, char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct port *p = bridge_port_find(b, name);
	char copy[sizeof(p->cfg.name)];

	if (!p)
		return no_such_port(&why, name);
	memcpy(copy, p->cfg.name, sizeof(copy));
	remove_port(b, p);
	bridge_event(b, "port_removed", copy, "", -1);
	return 0;
}

/* --- set ---------------------------------------------------------------------- */

const char *bridge_port_fixed_change(const struct port_config *a, const struct port_config *b)
{
	return strcmp(a->name, b->name)						? "name" :
	       strcmp(a->socket, b->socket)					? "socket" :
	       a->role != b->role						? "mode" :
	       a->pairs != b->pairs						? "queues" :
	       a->without != b->without						? "features and offloads" :
	       a->owner != b->owner || a->group != b->group || a->perm != b->perm ? "owner and perm" :
										  NULL;
}

static bool same_addresses(const struct port_config *a, const struct port_config *b)
{
	return policy_key_vlan(a) == policy_key_vlan(b) && a->nmac == b->nmac && !memcmp(a->mac, b->mac, sizeof(a->mac[0]) * a->nmac);
}

static void change_policy(struct bridge *b, struct port *p, const struct port_config *cfg)
{
	const bool reach = p->cfg.vlan != cfg->vlan || p->cfg.have_trunk != cfg->have_trunk ||
			   memcmp(p->cfg.trunk, cfg->trunk, sizeof(cfg->trunk)) || p->cfg.isolated != cfg->isolated;

	bridge_park(b);
	for (uint32_t i = 0; i < b->queues && reach; i++)	/* what was on its way under the old policy */
		datapath_flush_port(b->dp[i], p, DP_DROP_UNFIT);
	if (reach && b->worker[0].host)
		from_host_forget(b->worker[0].host, p->index);
	p->cfg = *cfg;
	policy_set(&p->policy, cfg);
	fdb_touch(&b->fdb);	/* nothing that was decided for it, or for others that send to it, holds any longer */
	bridge_unpark(b);
}

static void change_mode(struct bridge *b, struct port *p)
{
	struct vd_steering s;

	if (uplink_steering_read(b->uplink, p->index, &s) || s.mode == p->cfg.steering)
		return;
	s.mode = p->cfg.steering;
	uplink_steering(b->uplink, p->index, &s);
	p->steering = s;
}

int bridge_port_set(struct bridge *b, const char *name, const struct port_config *cfg, char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct port *p = bridge_port_find(b, name);
	struct port_config old;
	const char *fixed;
	bool readdress;
	int ret;

	if (!p)
		return no_such_port(&why, name);
	fixed = bridge_port_fixed_change(&p->cfg, cfg);
	if (fixed)
		return fail_with(&why, -EBUSY, "port %s: %s cannot change while it exists: `viaduct port del` and `port add` it",
				 name, fixed);
	ret = check_policy(b, p, cfg, &why);
	if (ret)
		return ret;
	old = p->cfg;
	readdress = !same_addresses(&old, cfg);
	if (readdress)
		addresses_close(b, p);
	change_policy(b, p, cfg);
	if (readdress)
		ret = addresses_open(b, p);
	if (ret) {
		addresses_close(b, p);
		change_policy(b, p, &old);
		addresses_open(b, p);
		return fail_with(&why, ret, "port %s: cannot enter its addresses: %s", name, strerror(-ret));
	}
	ret = publish_policy(b, p);
	attach_offer(p);
	if (cfg->steering != old.steering)
		change_mode(b, p);
	if (strcmp(cfg->qmp, old.qmp) || strcmp(cfg->netdev, old.netdev))
		portlink_configure(p);
	attach_update(p);
	bridge_event(b, "port_changed", name, "", -1);
	return ret ? fail_with(&why, ret, "port %s: cannot write the maps: %s", name, strerror(-ret)) : 0;
}

/* --- its link ------------------------------------------------------------------- */

/* What is on its way to it, or was let in before its link went down, comes nowhere. */
static void set_link(struct bridge *b, struct port *p, bool up)
{
	bridge_park(b);
	p->policy.link_down = !up;
	for (uint32_t i = 0; i < b->queues && !up; i++)
		datapath_flush_port(b->dp[i], p, DP_DROP_LINK);
	if (!up && b->worker[0].host)
		from_host_forget(b->worker[0].host, p->index);
	fdb_touch(&b->fdb);
	bridge_unpark(b);
}

int bridge_port_link(struct bridge *b, const char *name, bool up, char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct port *p = bridge_port_find(b, name);

	if (!p)
		return no_such_port(&why, name);
	if (p->link.admin_down == !up)
		return 0;
	p->link.admin_down = !up;
	if (up)
		set_link(b, p, true);
	bridge_event(b, up ? "link_admin_up" : "link_admin_down", name, "", -1);
	attach_update(p);	/* the program stops before, and begins after the workers */
	if (!up)
		set_link(b, p, false);
	bridge_wake(b);
	return 0;
}

/* --- all of them ---------------------------------------------------------------- */

int bridge_ports_open(struct bridge *b, char *err, size_t errlen)
{
	int ret = 0;

	for (uint32_t i = 0; i < VD_MAX_PORTS; i++)
		uplink_maps(b->uplink)->links[1 + i].reason = VD_REASON_NOT_CONFIGURED;
	for (uint32_t i = 0; i < b->cfg.nports && !ret; i++)
		ret = bridge_port_add(b, &b->cfg.ports[i], err, errlen);
	bridge_ports_update_unknown(b);
	return ret;
}

void bridge_ports_close(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nports; i++) {
		if (!b->port[i])
			continue;
		addresses_close(b, b->port[i]);
		port_destroy(b->port[i]);
		b->port[i] = NULL;
	}
	b->nports = 0;
}

/* --- steering ------------------------------------------------------------------- */

/* For workers, and for whoever asks. */
static void take_steering(struct port *p, const struct vd_steering *s)
{
	if (!memcmp(s, &p->steering, sizeof(*s)))
		return;
	for (unsigned k = 0; k < VD_INDIRECTION; k++)
		WRITE_ONCE(p->steering.pair[k], s->pair[k]);
	WRITE_ONCE(p->steering.mode, s->mode);
	p->cfg.steering = s->mode;
}

void bridge_ports_tick(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nports; i++) {
		struct port *p = b->port[i];
		struct vd_steering s;

		if (p && p->pairs > 1 && p->connected && !uplink_steering_read(b->uplink, i, &s))
			take_steering(p, &s);
	}
}

int bridge_steer_get(struct bridge *b, const char *name, struct vd_steering *s)
{
	struct port *p = bridge_port_find(b, name);
	int ret = p ? uplink_steering_read(b->uplink, p->index, s) : -ENOENT;

	/* Whoever wrote it with other tools may have written any number; the program takes it modulo, too. */
	for (unsigned i = 0; !ret && i < VD_INDIRECTION; i++)
		s->pair[i] = (uint16_t)(s->pair[i] % p->pairs);
	return ret;
}

int bridge_steer_set(struct bridge *b, const char *name, const struct vd_steering *s, char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct port *p = bridge_port_find(b, name);
	int ret;

	if (!p)
		return no_such_port(&why, name);
	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		if (s->pair[i] >= p->pairs)
			return fail_with(&why, -EINVAL, "port %s has %u queue pairs, from 0 on: %u is none of them", name,
					 p->pairs, s->pair[i]);
	ret = uplink_steering(b->uplink, p->index, s);
	if (ret)
		return fail_with(&why, ret, "port %s: cannot write the steering map: %s", name, strerror(-ret));
	take_steering(p, s);
	return 0;
}
