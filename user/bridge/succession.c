/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: see succession.h. Every part writes and reads its own
 * records (uplink_move.c, session_move.c, datapath_move.c, ...); here is their
 * order, and what belongs to the bridge and its ports.
 *
 * Nothing of it is believed before its tag and length were right, but the two
 * processes trust each other: both are the operator's, and the socket between
 * them is root's. What a guest wrote is not in it, but for frames on their way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bridge/addresses.h"
#include "bridge/attach.h"
#include "bridge/bridge_parts.h"
#include "bridge/datapath_move.h"
#include "bridge/kept.h"
#include "bridge/mac.h"
#include "bridge/park.h"
#include "bridge/portlink.h"
#include "bridge/ports.h"
#include "bridge/succession.h"
#include "viaduct_host.h"
#include "viaduct_limit.h"

#define TAG 0x64697262u		/* "brid" */
#define LAYOUT 11

struct bridge_saved {
	/* Of the maps, and of the file of positions, which both processes use: other lengths are others. */
	uint32_t layout[LAYOUT];
	uint32_t ports, queues, homes, next_port;
	uint32_t host_port_wanted, host_port;	/* it may have been refused by the kernel */
	uint64_t moves, started_ns;
};

struct port_saved {
	uint32_t index, nmac, session, reason, connected;
	uint32_t admin_down, guest, said, qmp_told;
	uint64_t down_since_ns;
	uint64_t announced_ns, not_announced;
	uint32_t announced;
	uint32_t mac_session[PORT_MACS];
	uint64_t arrived_ns;
	uint64_t mac[PORT_MACS];
	uint64_t refused[LEARN_VERDICTS];
	uint32_t broken_seen[VD_MAX_PAIRS * 2 / 32];
	struct vd_port map;
	struct vd_steering steering;
	struct port_config cfg;
};

static void layout(uint32_t to[LAYOUT])
{
	const uint32_t sizes[LAYOUT] = {
		sizeof(struct vd_link), sizeof(struct vd_flow), sizeof(struct vd_config), sizeof(struct vd_port),
		sizeof(struct vd_steering), sizeof(struct vd_limit), sizeof(struct vd_stats), sizeof(struct vd_meta),
		sizeof(struct vd_host), KEPT_VERSION, sizeof(struct virtq_kept),
	};

	memcpy(to, sizes, sizeof(sizes));
}

/* --- the old process ------------------------------------------------------------ */

static void save_port(struct port *p, struct parcel *to)
{
	struct port_saved *s = calloc(1, sizeof(*s));

	if (!s) {
		to->err = -ENOMEM;
		return;
	}
	s->index = p->index;
	s->nmac = p->nmac;
	s->session = p->session;
	s->arrived_ns = p->arrived_ns;
	s->reason = p->reason;
	s->connected = p->connected;
	s->admin_down = p->link.admin_down;
	s->guest = p->link.guest;
	s->said = p->link.said;
	s->qmp_told = p->link.qmp_told;
	s->down_since_ns = p->link.down_since_ns;
	s->announced_ns = p->announced_ns;
	s->announced = p->announced;
	s->not_announced = p->not_announced;
	memcpy(s->mac, p->mac, sizeof(s->mac));
	memcpy(s->mac_session, p->mac_session, sizeof(s->mac_session));
	memcpy(s->refused, p->refused, sizeof(s->refused));
	memcpy(s->broken_seen, p->broken_seen, sizeof(s->broken_seen));
	s->map = p->map;
	s->steering = p->steering;
	s->cfg = p->cfg;
	parcel_put(to, TAG, s, sizeof(*s));
	free(s);
	endpoint_save(p->endpoint, to);
}

int bridge_save(struct bridge *b, struct parcel *to, const struct fail *why)
{
	struct bridge_saved s = {
		.queues = b->queues, .homes = b->homes, .next_port = b->next_port, .host_port_wanted = b->cfg.host_port,
		.host_port = b->host_port != NULL, .moves = b->moves,
		.started_ns = b->started_ns,
	};
	int ret;

	addresses_learn(b);
	layout(s.layout);
	for (uint32_t i = 0; i < b->nports; i++)
		s.ports += b->port[i] != NULL;
	parcel_put(to, TAG, &s, sizeof(s));
	ret = uplink_save(b->uplink, to, why);
	if (ret)
		return ret;
	mcast_save(b->mcast, to);
	if (b->host_port)
		hostport_save(b->host_port, to);
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			save_port(b->port[i], to);
	return to->err ? fail_with(why, to->err, "cannot describe what is running: %s", strerror(-to->err)) : 0;
}

/* For what the wire sends meanwhile the kernel gets all the room there is. */
void bridge_freeze(struct bridge *b)
{
	bridge_park(b);
	for (uint32_t i = 0; i < b->queues; i++) {
		struct nicq *q = b->dp[i]->nicq;

		q->fill_target = q->fill_max;
		nicq_refill(q);
	}
}

void bridge_thaw(struct bridge *b)
{
	bridge_unpark(b);
	bridge_wake(b);
}

int bridge_save_moving(struct bridge *b, struct parcel *to)
{
	const uint64_t now = clock_now();

	parcel_put(to, TAG, &now, sizeof(now));
	uplink_save_frames(b->uplink, to);
	mcast_save_position(b->mcast, to);
	parcel_put(to, TAG, &b->worker[0].stats.mcast_delivered, sizeof(uint64_t));
	parcel_put(to, TAG, &b->worker[0].stats.mcast_limited, sizeof(uint64_t));
	if (b->host_port)
		from_host_save(b->worker[0].host, to);
	for (uint32_t i = 0; i < b->queues; i++)
		datapath_save(b->dp[i], to);
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			attach_save_rings(b->port[i], to);
	return to->err;
}

/* --- the new process ------------------------------------------------------------ */

static const struct port_config *configured(const struct bridge *b, const char *name)
{
	for (uint32_t i = 0; i < b->cfg.nports; i++)
		if (!strcmp(b->cfg.ports[i].name, name))
			return &b->cfg.ports[i];
	return NULL;
}

/* What the front-end was told cannot be taken back; the rest can change once the port is ours. */
static int check_port(const struct bridge *b, const struct port_saved *s, const struct fail *why)
{
	const struct port_config *c = configured(b, s->cfg.name);
	const char *fixed = c ? bridge_port_fixed_change(&s->cfg, c) : NULL;

	if (!fixed)
		return 0;
	return fail_with(why, -EINVAL,
			 "port %s: %s cannot change while it is in use: give the same, or restart without --take-over",
			 s->cfg.name, fixed);
}

/* The port as it was, but for its rings. The maps have it already. */
static int make_port(struct bridge *b, const struct port_saved *s, struct port **out)
{
	struct port *p = port_create(s->index, &s->cfg);
	int ret = p ? 0 : -ENOMEM;

	if (ret)
		return ret;
	p->bridge = b;
	p->rx_limit = &uplink_maps(b->uplink)->limits[p->index];
	p->nmac = s->nmac < PORT_MACS ? s->nmac : PORT_MACS;
	memcpy(p->mac, s->mac, sizeof(p->mac));
	memcpy(p->mac_session, s->mac_session, sizeof(p->mac_session));
	memcpy(p->refused, s->refused, sizeof(p->refused));
	memcpy(p->broken_seen, s->broken_seen, sizeof(p->broken_seen));
	p->session = s->session;
	p->arrived_ns = s->arrived_ns;
	p->reason = s->reason;
	p->connected = s->connected;
	p->link.admin_down = p->policy.link_down = s->admin_down;
	p->link.guest = s->guest;
	p->link.said = s->said;
	p->link.qmp_told = s->qmp_told;
	p->link.down_since_ns = s->down_since_ns;
	portlink_adopted(p);
	p->announced_ns = s->announced_ns;
	p->announced = s->announced;
	p->not_announced = s->not_announced;
	p->map = s->map;
	p->steering = s->steering;
	bridge_port_take_kept(b, p);
	for (unsigned i = 0; i < p->nmac && !ret; i++)
		ret = fdb_set(&b->fdb, fdb_key(p->policy.key_vlan, p->mac[i]), p->index, clock_now());
	for (uint32_t i = 0; i < b->queues && !ret; i++)
		ret = datapath_add_port(b->dp[i], p, b->homes);
	*out = p;
	return ret;
}

/* What workers use without another look. */
static bool makes_sense(const struct port_saved *s)
{
	if (s->index >= VD_MAX_PORTS || !s->cfg.pairs || s->cfg.pairs > VD_MAX_PAIRS || s->cfg.nmac > PORT_MACS)
		return false;
	for (unsigned i = 0; i < VD_MAX_PAIRS; i++)
		if (s->map.route[i] >= s->cfg.pairs)
			return false;
	return true;
}

static int adopt_port(struct bridge *b, struct parcel *from, const struct fail *why)
{
	struct port_saved *s = calloc(1, sizeof(*s));
	struct port *p;
	int ret;

	if (!s)
		return fail_with(why, -ENOMEM, "out of memory");
	ret = parcel_get(from, TAG, s, sizeof(*s));
	s->cfg.name[sizeof(s->cfg.name) - 1] = '\0';
	s->cfg.socket[sizeof(s->cfg.socket) - 1] = '\0';
	s->cfg.qmp[sizeof(s->cfg.qmp) - 1] = '\0';
	s->cfg.netdev[sizeof(s->cfg.netdev) - 1] = '\0';
	if (ret || !makes_sense(s) || b->port[s->index])
		ret = fail_with(why, -EPROTO, "the running instance's state of a port cannot be read");
	if (!ret)
		ret = check_port(b, s, why);
	if (!ret) {
		ret = make_port(b, s, &p);
		if (!ret) {
			b->port[p->index] = p;
			b->nports = p->index >= b->nports ? p->index + 1 : b->nports;
			ret = attach_adopt(b, p, from);
		}
		if (ret)
			fail_with(why, ret, "port %s: cannot go on with its connection: %s", s->cfg.name, strerror(-ret));
	}
	free(s);
	return ret;
}

static int adopt_parts(struct bridge *b, const struct bridge_saved *s, struct parcel *from, const struct fail *why)
{
	/* Where the data paths write until they are told where they stand: the map is still the other process'. */
	struct vd_flow *nowhere = calloc((size_t)s->queues * VD_FLOW_ROW, sizeof(*nowhere));
	int ret = nowhere ? bridge_make_datapaths(b, s->queues, nowhere) : -ENOMEM;

	b->adopted_flows = nowhere;
	if (!ret)
		ret = mcast_adopt(from, &b->mcast);
	if (!ret)
		ret = bridge_make_workers(b);
	if (!ret && s->host_port)
		ret = hostport_adopt(b->host, from, &b->host_port);
	if (!ret && b->host_port)
		ret = bridge_join_host(b);
	if (ret)
		return fail_with(why, ret, "cannot set up the workers: %s", strerror(-ret));
	addresses_host(b);
	bridge_open_kept(b);
	for (uint32_t i = 0; i < b->queues; i++) {
		b->dp[i]->room = uplink_maps(b->uplink)->config->room;
		b->dp[i]->uplink_up = uplink_maps(b->uplink)->links[0].up;
		if (b->cfg.uplink.unknown == VD_UNKNOWN_GUEST)
			b->dp[i]->unknown_port = uplink_maps(b->uplink)->config->unknown_port;
	}
	return 0;
}

static int adopt(struct bridge *b, struct parcel *from, const struct fail *why)
{
	struct bridge_saved s, ours;
	int ret;

	layout(ours.layout);
	if (parcel_get(from, TAG, &s, sizeof(s)) || memcmp(s.layout, ours.layout, sizeof(s.layout)) || !s.queues ||
	    s.queues > VD_MAX_QUEUES || s.homes > s.queues || s.ports > VD_MAX_PORTS)
		return fail_with(why, -EPROTO, "the running instance keeps its state in another form: restart without --take-over");
	if (b->cfg.host_port != !!s.host_port_wanted)
		return fail_with(why, -EINVAL, "--host-port is not as the running instance has it: give the same, or restart without --take-over");
	ret = uplink_adopt(b->host, b->loop, &b->cfg.uplink, from, &b->uplink, why);
	if (!ret && (uplink_queues(b->uplink) != s.homes || uplink_spare_queues(b->uplink, s.queues)))
		ret = fail_with(why, -EPROTO, "the running instance's state of the NIC queues cannot be read");
	if (!ret)
		ret = adopt_parts(b, &s, from, why);
	for (uint32_t i = 0; i < s.ports && !ret; i++)
		ret = adopt_port(b, from, why);
	b->next_port = s.next_port % VD_MAX_PORTS;
	b->moves = s.moves;
	b->started_ns = s.started_ns;
	return ret;
}

int bridge_adopt(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		 void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct parcel *from,
		 struct bridge **out, const struct fail *why)
{
	int ret = bridge_create(host, loop, cfg, event, event_arg, out, why);

	return ret ? ret : adopt(*out, from, why);
}

int bridge_resume(struct bridge *b, struct parcel *from, uint64_t *frozen_ns)
{
	struct vd_flow *flows = uplink_maps(b->uplink)->flows;
	int ret;

	parcel_get(from, TAG, frozen_ns, sizeof(*frozen_ns));
	ret = uplink_resume(b->uplink, from);
	if (ret)
		return ret;
	mcast_resume(b->mcast, from);
	parcel_get(from, TAG, &b->worker[0].stats.mcast_delivered, sizeof(uint64_t));
	parcel_get(from, TAG, &b->worker[0].stats.mcast_limited, sizeof(uint64_t));
	if (b->host_port)
		ret = from_host_resume(b->worker[0].host, b->dp[0], from);
	for (uint32_t i = 0; i < b->queues && !ret; i++)
		ret = datapath_resume(b->dp[i], &flows[(size_t)i * VD_FLOW_ROW], from);
	for (uint32_t i = 0; i < b->nports && !ret; i++)
		if (b->port[i])
			ret = attach_resume(b->port[i], from);
	free(b->adopted_flows);
	b->adopted_flows = NULL;
	return ret ? ret : parcel_end(from);
}

/* Ports of the configuration that were not there, or are to be other than they were. */
static void follow_config(struct bridge *b)
{
	char err[512];

	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i] && !configured(b, b->port[i]->cfg.name))
			log_info("port %s: not in this configuration; it stays, as it was added while the bridge ran",
				 b->port[i]->cfg.name);
	for (uint32_t i = 0; i < b->cfg.nports; i++) {
		const struct port_config *c = &b->cfg.ports[i];
		struct port *p = bridge_port_find(b, c->name);
		int ret;

		if (p && !memcmp(&p->cfg, c, sizeof(*c)))
			continue;
		ret = p ? bridge_port_set(b, c->name, c, err, sizeof(err)) : bridge_port_add(b, c, err, sizeof(err));
		if (ret)
			log_warn("%s", err);
	}
}

uint64_t bridge_commit(struct bridge *b)
{
	struct hostport_config c;
	int ret = bridge_start_workers(b);
	const uint64_t moving = clock_now();

	if (ret)
		log_error("not all workers run: %s", strerror(-ret));
	uplink_commit(b->uplink);
	if (b->host_port) {
		uplink_hostport(b->uplink, &c);
		ret = hostport_replace(b->host_port, &c);
		if (ret)
			log_warn("the host port's programs of the instance before go on: %s", strerror(-ret));
	}
	ret = bridge_tell_queues(b);
	if (ret)
		log_error("cannot write the queues map: %s", strerror(-ret));
	addresses_host(b);
	addresses_steer(b);
	follow_config(b);
	kept_confirm(b->kept);
	bridge_ports_update_unknown(b);
	bridge_begin(b);
	bridge_wake(b);
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			attach_update(b->port[i]);
	return moving;
}
