/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An address is in three places: the workers' table, the NIC's receive filter,
 * and the program's map. A learned one is forgotten when its guest has not sent
 * from it for long, when another port or the wire has it now, or when a later
 * guest of the port needs the room.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bridge/addresses.h"
#include "bridge/mac.h"

#define MOVE_NS (10 * NSEC_PER_SEC)	/* an address stays with a port that has sent from it since */
#define ECHO_NS (2 * NSEC_PER_SEC)	/* what comes back from the wire so soon is a guest's own echo */
#define CONFLICT_NS (2 * NSEC_PER_SEC)	/* a station that the host heard so lately is there */
#define LOOK_NS NSEC_PER_SEC		/* how often addresses are looked through */
#define SEEN_NS (1ull << FDB_SEEN_SHIFT)

static uint64_t key_of(const struct port *p, uint64_t mac)
{
	return fdb_key(p->policy.key_vlan, mac);
}

static void take_out(struct bridge *b, struct port *p, uint64_t mac)
{
	uint8_t addr[MAC_LEN];

	mac_store(mac, addr);
	if (fdb_lookup(&b->fdb, key_of(p, mac)) == p->index)	/* it may be the host's by now */
		fdb_del(&b->fdb, key_of(p, mac));
	uplink_fdb_del(b->uplink, p->policy.key_vlan, addr);
	uplink_filter(b->uplink, addr, false);
	if (b->cfg.uplink.hw_steer)
		uplink_hw_steer(b->uplink, addr, 0, false);
}

/* With rules of the NIC's own a guest's frames come by one NIC queue; without, by any, and that works, too. */
static void steer(struct bridge *b, const struct port *p, const uint8_t addr[MAC_LEN])
{
	if (b->cfg.uplink.hw_steer)
		uplink_hw_steer(b->uplink, addr, p->index % b->homes, true);
}

static int enter(struct bridge *b, struct port *p, uint64_t mac, enum vd_fdb_kind kind)
{
	uint8_t addr[MAC_LEN];
	int ret;

	mac_store(mac, addr);
	if (uplink_is_host_mac(b->uplink, addr))	/* workers have it as the host's, and keep it */
		return -EADDRINUSE;
	ret = uplink_filter(b->uplink, addr, true);
	if (ret)
		return ret;
	ret = fdb_set(&b->fdb, key_of(p, mac), p->index, clock_now());
	/* The map last: from here on the program steers to the port. */
	if (!ret)
		ret = uplink_fdb_set(b->uplink, p->policy.key_vlan, addr, p->index, kind);
	if (ret) {
		take_out(b, p, mac);
		return ret;
	}
	steer(b, p, addr);
	return 0;
}

void addresses_steer(struct bridge *b)
{
	uint8_t addr[MAC_LEN];

	for (uint32_t i = 0; i < b->nports; i++)
		for (unsigned k = 0; b->port[i] && k < b->port[i]->nmac; k++) {
			mac_store(b->port[i]->mac[k], addr);
			steer(b, b->port[i], addr);
		}
}

/* Off the port's list, and out of the tables. */
static void forget(struct bridge *b, struct port *p, unsigned i)
{
	take_out(b, p, p->mac[i]);
	p->nmac--;
	p->mac[i] = p->mac[p->nmac];
	p->mac_session[i] = p->mac_session[p->nmac];
}

/* Do the VLANs of two ports' addresses meet? One that is in several has its addresses in all of them. */
static bool vlans_meet(const struct policy *a, const struct policy *b)
{
	if (a->key_vlan && b->key_vlan)
		return a->key_vlan == b->key_vlan;
	if (a->key_vlan || b->key_vlan)
		return a->key_vlan ? policy_member(b, a->key_vlan) : policy_member(a, b->key_vlan);
	return true;
}

struct port *addresses_holder(struct bridge *b, const struct port *self, const struct policy *policy, uint64_t mac,
			      unsigned *at)
{
	for (uint32_t i = 0; i < b->nports; i++) {
		struct port *p = b->port[i];

		if (!p || p == self || !vlans_meet(&p->policy, policy))
			continue;
		for (*at = 0; *at < p->nmac; ++*at)
			if (p->mac[*at] == mac)
				return p;
	}
	return NULL;
}

/* An address that other ports learned gives way. */
static void make_way(struct bridge *b, const struct port *self, uint64_t mac)
{
	struct port *p;
	unsigned at;

	while ((p = addresses_holder(b, self, &self->policy, mac, &at)))
		forget(b, p, at);
}

int addresses_open(struct bridge *b, struct port *p)
{
	int ret = 0;

	for (p->nmac = 0; p->nmac < p->cfg.nmac && !ret;) {
		uint64_t mac = mac_load(p->cfg.mac[p->nmac]);

		make_way(b, p, mac);
		ret = enter(b, p, mac, VD_FDB_CONFIGURED);
		if (!ret)
			p->mac[p->nmac++] = mac;
	}
	return ret;
}

void addresses_close(struct bridge *b, struct port *p)
{
	while (p->nmac)
		forget(b, p, p->nmac - 1);
}

/* Only what this session's guest has shown counts against the limit: earlier guests' addresses make room. */
static unsigned of_this_session(const struct port *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->nmac; i++)
		n += p->mac_session[i] == p->session;
	return n;
}

/* Makes room for one more address: one of an earlier session goes. The limit was checked. */
static void make_room(struct bridge *b, struct port *p)
{
	unsigned i = 0;

	if (p->nmac < PORT_MACS)
		return;
	while (i < PORT_MACS - 1 && p->mac_session[i] == p->session)
		i++;
	forget(b, p, i);
}

static uint64_t heard_from_wire(struct bridge *b, uint64_t mac)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < b->queues; i++) {
		uint64_t when = learn_wire_when(b->dp[i]->wire, mac);

		last = when > last ? when : last;
	}
	return last;
}

/* Time since the address's guest last sent from it: at least so long, for it is noted in steps. */
static uint64_t silent_for(struct bridge *b, uint64_t key, uint64_t now_ns)
{
	uint64_t age = fdb_age(&b->fdb, key, now_ns);

	return age ? (age - 1) * SEEN_NS : 0;
}

/* The program's record of those the host hears; when, 0 = it does not know. */
static uint64_t heard_by_host(struct bridge *b, uint64_t mac, uint64_t now_ns)
{
	uint64_t e = READ_ONCE(uplink_maps(b->uplink)->wire[vd_wire_slot(mac)]);

	return vd_wire_mac(e) == mac ? vd_wire_when(e, now_ns) : 0;
}

/* What the wire said before a guest began here that ran already may have been that guest: it was somewhere. */
static uint64_t since_arrival(const struct port *p, uint64_t heard_ns)
{
	return heard_ns > p->arrived_ns ? heard_ns : 0;
}

static void gather(struct bridge *b, struct port *p, const struct learn_request *r, struct learn_facts *facts)
{
	const uint64_t now = clock_now(), host = since_arrival(p, heard_by_host(b, r->mac, now));
	struct port *owner;
	uint8_t addr[MAC_LEN];
	unsigned at;

	mac_store(r->mac, addr);
	*facts = (struct learn_facts){
		.fixed = p->cfg.nmac,
		.host = uplink_is_host_mac(b->uplink, addr),
		.owner = fdb_lookup(&b->fdb, key_of(p, r->mac)),
		.count = of_this_session(p),
		.wire_ns = since_arrival(p, heard_from_wire(b, r->mac)),
	};
	/* What the host hears is no echo: guests' frames for it do not come from the wire. */
	if (host && now - host < LEARN_WIRE_NS)
		facts->wire_ns = r->when_ns - 1;
	if (facts->owner == p->index)
		return;
	owner = addresses_holder(b, p, &p->policy, r->mac, &at);
	if (!owner)
		return;
	facts->owner = owner->index;
	facts->movable = !owner->cfg.nmac && silent_for(b, key_of(owner, r->mac), now) > MOVE_NS;
}

static void learn_it(struct bridge *b, struct port *p, const struct learn_request *r, uint32_t owner, const char *text)
{
	int ret;

	if (owner < VD_MAX_PORTS) {
		log_at(LOG_LEVEL_INFO, &p->learning, "port %s: address %s moved here from port %s", p->cfg.name, text,
		       b->port[owner]->cfg.name);
		bridge_event(b, "address_moved", p->cfg.name, text, -1);
		make_way(b, p, r->mac);
		b->moves++;
	}
	make_room(b, p);
	ret = enter(b, p, r->mac, VD_FDB_LEARNED);
	if (ret) {
		log_at(LOG_LEVEL_ERROR, &p->learning, "port %s: address %s not entered: error %d", p->cfg.name, text,
		       -ret);
		return;
	}
	p->mac[p->nmac] = r->mac;
	p->mac_session[p->nmac++] = p->session;
	if (owner >= VD_MAX_PORTS) {
		log_at(LOG_LEVEL_INFO, &p->learning, "port %s: learned %s", p->cfg.name, text);
		bridge_event(b, "address_learned", p->cfg.name, text, -1);
	}
}

static void learn_one(struct bridge *b, const struct learn_request *r)
{
	struct port *p = r->port < VD_MAX_PORTS ? b->port[r->port] : NULL;
	struct learn_facts facts;
	enum learn_verdict v;
	uint8_t addr[MAC_LEN];
	char text[MAC_STRLEN];

	if (!p)
		return;
	if (r->flow) {
		uplink_flow_pair(b->uplink, r->port, r->hash, r->pair);
		return;
	}
	mac_store(r->mac, addr);
	mac_format(addr, text);
	gather(b, p, r, &facts);
	v = learn_decide(r, &facts);
	p->refused[v]++;
	if (v == LEARN_OK)
		learn_it(b, p, r, facts.owner, text);
	else if (v != LEARN_KNOWN)
		log_at(LOG_LEVEL_WARN, &p->learning, "port %s: address %s not learned: %s", p->cfg.name, text,
		       learn_verdict_name(v));
}

void addresses_announced(struct bridge *b, struct port *p, const uint8_t mac[6])
{
	const struct learn_request r = { .mac = mac_load(mac), .when_ns = clock_now(), .port = p->index };

	if (fdb_lookup(&b->fdb, key_of(p, r.mac)) == p->index)
		fdb_note(&b->fdb, key_of(p, r.mac), r.when_ns);
	else
		learn_one(b, &r);
}

void addresses_learn(struct bridge *b)
{
	struct learn_request r;

	for (uint32_t i = 0; i < b->queues; i++)
		for (unsigned n = 0; n < LEARN_RING && learn_pop(b->dp[i]->learn, &r); n++)
			learn_one(b, &r);
}

/* An address that the host has from now on is no port's any more, in no VLAN. */
static void yield_to_host(struct bridge *b, uint64_t mac)
{
	for (uint32_t i = 0; i < b->nports; i++)
		for (unsigned k = b->port[i] ? b->port[i]->nmac : 0; k--;)
			if (b->port[i]->mac[k] == mac) {
				log_warn("port %s: one of its addresses is the host's own now", b->port[i]->cfg.name);
				forget(b, b->port[i], k);
			}
}

void addresses_host(struct bridge *b)
{
	const uint8_t (*now)[6];
	unsigned n, k;

	now = uplink_host_macs(b->uplink, &n);
	if (n == b->nhost && !memcmp(now, b->host_mac, n * sizeof(now[0])))
		return;
	for (unsigned i = 0; i < b->nhost; i++) {
		for (k = 0; k < n && memcmp(b->host_mac[i], now[k], MAC_LEN); k++)
			;
		if (k == n)
			fdb_del(&b->fdb, mac_load(b->host_mac[i]));
	}
	for (k = 0; k < n; k++)
		yield_to_host(b, mac_load(now[k]));
	for (k = 0; k < n; k++)
		if (fdb_set(&b->fdb, mac_load(now[k]), VD_PORT_HOST, 0))
			log_error("no room for the host's address: guests reach it by the uplink only");
	memcpy(b->host_mac, now, n * sizeof(now[0]));
	b->nhost = n;
	for (uint32_t i = 0; i < b->nports; i++)	/* a given address that was the host's may be free now */
		if (b->port[i] && b->port[i]->nmac < b->port[i]->cfg.nmac) {
			addresses_close(b, b->port[i]);
			addresses_open(b, b->port[i]);
		}
}

/* Why a learned address should go; NULL: it stays. */
static const char *outdated(struct bridge *b, struct port *p, uint64_t mac, uint64_t now_ns)
{
	uint64_t silent = silent_for(b, key_of(p, mac), now_ns), wire = heard_from_wire(b, mac);

	if (b->cfg.aging_s && silent > b->cfg.aging_s * NSEC_PER_SEC)
		return "not used for long";
	/* What comes back right after the guest sent it is its own echo. */
	if (wire && wire + silent > now_ns + ECHO_NS)
		return "it is on the wire now";
	wire = since_arrival(p, heard_by_host(b, mac, now_ns));
	if (wire && now_ns - wire < CONFLICT_NS)
		return "the host hears it from the wire";
	return NULL;
}

void addresses_age(struct bridge *b, uint64_t now_ns)
{
	if (now_ns - b->aged_ns < LOOK_NS)
		return;
	b->aged_ns = now_ns;
	for (uint32_t i = 0; i < b->nports; i++) {
		struct port *p = b->port[i];

		for (unsigned k = p && !p->cfg.nmac ? p->nmac : 0; k--;) {
			const char *why = outdated(b, p, p->mac[k], now_ns);
			uint8_t addr[MAC_LEN];
			char text[MAC_STRLEN];

			if (!why)
				continue;
			mac_store(p->mac[k], addr);
			mac_format(addr, text);
			forget(b, p, k);
			log_at(LOG_LEVEL_INFO, &p->learning, "port %s: forgot %s: %s", p->cfg.name, text, why);
			bridge_event(b, "address_forgotten", p->cfg.name, text, -1);
		}
	}
}
