/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "base/log.h"
#include "bridge/addresses.h"
#include "bridge/mac.h"

static void take_out(struct bridge *b, uint64_t mac)
{
	uint8_t addr[MAC_LEN];

	mac_store(mac, addr);
	fdb_del(&b->fdb, mac);
	uplink_fdb_del(b->uplink, addr);
	uplink_filter(b->uplink, addr, false);
}

static int enter(struct bridge *b, struct port *p, uint64_t mac, enum vd_fdb_kind kind)
{
	uint8_t addr[MAC_LEN];
	int ret;

	mac_store(mac, addr);
	ret = fdb_set(&b->fdb, mac, p->index);
	if (!ret)
		ret = uplink_filter(b->uplink, addr, true);
	/* The map last: from here on the program steers to the port. */
	if (!ret)
		ret = uplink_fdb_set(b->uplink, addr, p->index, kind);
	if (ret)
		take_out(b, mac);
	return ret;
}

int addresses_open(struct bridge *b, struct port *p)
{
	int ret = 0;

	for (unsigned i = 0; i < p->cfg.nmac && !ret; i++)
		ret = enter(b, p, p->mac[i], VD_FDB_CONFIGURED);
	return ret;
}

void addresses_close(struct bridge *b, struct port *p)
{
	for (unsigned i = 0; i < p->nmac; i++)
		take_out(b, p->mac[i]);
	p->nmac = 0;
}

/* Only what this session's guest has shown counts against the limit: earlier guests' addresses make room. */
static unsigned of_this_session(const struct port *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->nmac; i++)
		n += p->mac_session[i] == p->session;
	return n;
}

/* The place for a new address: a free one, or that of an earlier session. The limit was checked. */
static unsigned make_room(struct bridge *b, struct port *p)
{
	unsigned i = 0;

	if (p->nmac < PORT_MACS)
		return p->nmac++;
	while (i < PORT_MACS - 1 && p->mac_session[i] == p->session)
		i++;
	take_out(b, p->mac[i]);
	return i;
}

static void learn_one(struct bridge *b, const struct learn_request *r)
{
	struct port *p = r->port < VD_MAX_PORTS ? b->port[r->port] : NULL;
	struct learn_facts facts;
	enum learn_verdict v;
	uint8_t addr[MAC_LEN];
	char text[MAC_STRLEN];
	unsigned at;
	int ret;

	if (!p)
		return;
	mac_store(r->mac, addr);
	mac_format(addr, text);
	facts = (struct learn_facts){
		.fixed = p->cfg.nmac,
		.host = uplink_is_host_mac(b->uplink, addr),
		.owner = fdb_lookup(&b->fdb, r->mac),
		.count = of_this_session(p),
	};
	for (uint32_t i = 0; i < b->queues; i++) {
		uint64_t when = learn_wire_when(b->dp[i]->wire, r->mac);

		if (when > facts.wire_ns)
			facts.wire_ns = when;
	}
	v = learn_decide(r, &facts);
	p->refused[v]++;
	if (v == LEARN_KNOWN)
		return;
	if (v != LEARN_OK) {
		log_at(LOG_LEVEL_WARN, &p->learning, "port %s: address %s not learned: %s", p->cfg.name, text,
		       learn_verdict_name(v));
		return;
	}
	ret = enter(b, p, r->mac, VD_FDB_LEARNED);
	if (ret) {
		log_at(LOG_LEVEL_ERROR, &p->learning, "port %s: address %s not entered: error %d", p->cfg.name, text,
		       -ret);
		return;
	}
	at = make_room(b, p);
	p->mac[at] = r->mac;
	p->mac_session[at] = p->session;
	log_at(LOG_LEVEL_INFO, &p->learning, "port %s: learned %s", p->cfg.name, text);
	bridge_event(b, "address_learned", p->cfg.name, text, -1);
}

void addresses_learn(struct bridge *b)
{
	struct learn_request r;

	for (uint32_t i = 0; i < b->queues; i++)
		for (unsigned n = 0; n < LEARN_RING && learn_pop(b->dp[i]->learn, &r); n++)
			learn_one(b, &r);
}
