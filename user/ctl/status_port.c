/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/clock.h"
#include "bridge/attach.h"
#include "bridge/links.h"
#include "bridge/portlink.h"
#include "ctl/names.h"
#include "ctl/port_keys.h"
#include "ctl/status_port.h"
#include "ctl/status_put.h"

/* A counter of the program's for a port or the host. */
static const struct {
	const char *name;
	size_t at;
} xdp_drop[] = {
	{ "link_down", offsetof(struct vd_stats, drop_link_down) },
	{ "no_pair", offsetof(struct vd_stats, drop_no_pair) },
	{ "share", offsetof(struct vd_stats, drop_share) },
	{ "no_socket", offsetof(struct vd_stats, drop_no_socket) },
	{ "unknown", offsetof(struct vd_stats, drop_unknown) },
	{ "malformed", offsetof(struct vd_stats, drop_malformed) },
	{ "vlan", offsetof(struct vd_stats, drop_vlan) },
	{ "rate", offsetof(struct vd_stats, drop_rate) },
};

json_t *status_xdp_drops(const struct vd_stats *s)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < sizeof(xdp_drop) / sizeof(xdp_drop[0]); i++)
		put_nonzero(o, xdp_drop[i].name, *(const __u64 *)((const char *)s + xdp_drop[i].at));
	return o;
}

static const char *ring_state(const struct virtq *vq)
{
	return READ_ONCE(vq->broken)   ? "broken" :
	       !READ_ONCE(vq->started) ? "stopped" :
	       !READ_ONCE(vq->enabled) ? "disabled" :
					 "running";
}

static json_t *ring_json(const struct virtq *vq)
{
	json_t *o = json_object(), *drops = json_object(), *offloads = json_object();

	put_str(o, "state", ring_state(vq));
	put_str(o, "kind", vq->packed ? "packed" : "split");
	put_int(o, "size", vq->size);
	put_int(o, "packets", vq->stats.packets);
	put_int(o, "bytes", vq->stats.bytes);
	put_int(o, "calls", vq->stats.calls);
	put_int(o, "calls_suppressed", vq->stats.calls_suppressed);
	put_nonzero(o, "repeated", vq->stats.repeated);
	put_nonzero(o, "unserved", vq->stats.unserved);
	for (unsigned e = VIRTQ_OK + 1; e < VIRTQ_ERRORS; e++)
		put_nonzero(drops, virtq_error_name(e), vq->stats.errors[e]);
	json_object_set_new(o, "drops", drops);
	put_nonzero(offloads, "large_packets", vq->stats.gso_packets);
	put_nonzero(offloads, "frames_of_large_packets", vq->stats.gso_frames);
	put_nonzero(offloads, "checksums", vq->stats.checksums);
	json_object_set_new(o, "offloads", offloads);
	return o;
}

static void session_json(json_t *o, struct port *p)
{
	const struct endpoint_stats *es = endpoint_stats(p->endpoint);
	struct session *s = endpoint_session(p->endpoint);
	const struct session_state *st = s ? session_state(s) : NULL;

	put_int(o, "connections", es->connections);
	put_int(o, "refused", es->refused);
	put_int(o, "closed_for_bad_input", es->bad);
	json_object_set_new(o, "offered", names_json(attach_features(&p->cfg), bits_feature));
	json_object_set_new(o, "features", names_json(st ? st->features : 0, bits_feature));
	json_object_set_new(o, "protocol_features", names_json(st ? st->protocol_features : 0, bits_protocol));
	json_object_set_new(o, "device_status", names_json(st ? st->status : 0, names_status));
}

/* As `viaduct port set` would be given it; 0 = no limit. */
static json_t *config_json(const struct port_config *c)
{
	char trunk[PORT_TRUNK_STRLEN];
	json_t *o = json_object();

	put_int(o, "vlan", c->vlan);
	port_trunk_text(c, trunk, sizeof(trunk));
	put_str(o, "trunk", trunk);
	put_bool(o, "mac_lock", c->mac_lock);
	put_bool(o, "isolated", c->isolated);
	put_int(o, "storm", c->storm);
	put_int(o, "tx_rate", c->tx_bps);
	put_int(o, "rx_rate", c->rx_bps);
	put_int(o, "tx_pps", c->tx_pps);
	put_int(o, "rx_pps", c->rx_pps);
	put_str(o, "steering", c->steering == VD_STEER_AUTO ? "auto" : "hash");
	put_str(o, "link", portlink_policy_name(c->link));
	put_str(o, "qmp", c->qmp);
	put_str(o, "netdev", c->netdev);
	return o;
}

json_t *status_port_link(const struct port *p)
{
	const char *why = portlink_why(p);
	json_t *o = json_object();

	put_str(o, "policy", portlink_policy_name(p->cfg.link));
	put_str(o, "admin", p->link.admin_down ? "down" : "up");
	put_str(o, "guest", portlink_guest_name(p->link.guest));
	put_str(o, "told_by", portlink_by(p));
	if (*why)
		put_str(o, "why", why);
	return o;
}

static json_t *addresses_json(struct bridge *b, const struct port *p)
{
	uint64_t now = clock_now();
	json_t *list = json_array();

	for (unsigned i = 0; i < p->nmac; i++) {
		uint8_t mac[MAC_LEN];
		json_t *o = json_object();

		mac_store(p->mac[i], mac);
		put_mac(o, "mac", mac);
		put_nonzero(o, "vlan", p->policy.key_vlan);
		put_str(o, "kind", p->cfg.nmac ? "configured" : "learned");
		if (!p->cfg.nmac)
			put_int(o, "age_s", fdb_age(&b->fdb, fdb_key(p->policy.key_vlan, p->mac[i]), now));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *refused_json(const struct port *p)
{
	json_t *o = json_object();

	for (unsigned v = LEARN_GROUP; v < LEARN_VERDICTS; v++)
		put_nonzero(o, learn_verdict_name(v), p->refused[v]);
	return o;
}

/* What the NIC queues' data paths count for this port, summed. */
static void datapath_sum(struct bridge *b, const struct port *p, struct dp_port *sum)
{
	*sum = (struct dp_port){ 0 };
	for (uint32_t i = 0; i < b->queues; i++) {
		const struct dp_port *d = b->dp[i]->port[p->index];

		sum->lost += d->lost;
		sum->held += d->held;
		sum->without_meta += d->without_meta;
		sum->drop_hold += d->drop_hold;
		sum->drop_ring += d->drop_ring;
		sum->drop_mcast += d->drop_mcast;
		sum->drop_uplink_down += d->drop_uplink_down;
		for (unsigned c = 0; c < DP_COUNTS; c++)
			sum->count[c] += d->count[c];
	}
}

/* Neither lost nor kept back. */
static bool is_forwarding(enum dp_count c)
{
	return c == DP_TO_PORTS || c == DP_TO_THE_HOST || c == DP_TO_GROUPS || c == DP_FROM_PORTS;
}

static void datapath_json(json_t *o, struct bridge *b, const struct port *p)
{
	json_t *drops = json_object(), *forwarded = json_object();
	struct dp_port sum;

	datapath_sum(b, p, &sum);
	put_int(o, "lost_in_ring", sum.lost);
	put_int(o, "held", sum.held);
	put_nonzero(o, "without_metadata", sum.without_meta);
	put_nonzero(drops, "no_guest_buffers", sum.drop_hold);
	put_nonzero(drops, "ring_not_running", sum.drop_ring);
	put_nonzero(drops, "multicast", sum.drop_mcast);
	put_nonzero(drops, "uplink_down", sum.drop_uplink_down);
	for (unsigned c = 0; c < DP_COUNTS; c++) {
		if (is_forwarding(c))
			put_nonzero(forwarded, datapath_count_name(c), sum.count[c]);
		else
			put_nonzero(drops, datapath_count_name(c), sum.count[c]);
	}
	json_object_set_new(o, "forwarded", forwarded);
	json_object_set_new(o, "drops", drops);
}

/* All rings together, for those who do not look at each. */
static json_t *totals_json(struct port *p)
{
	uint64_t packets[2] = { 0 }, bytes[2] = { 0 }, drops[2] = { 0 };
	json_t *o = json_object();

	for (uint32_t i = 0; i < 2 * p->pairs; i++) {
		const struct virtq *vq = port_vq(p, i);

		packets[i & 1] += vq->stats.packets;
		bytes[i & 1] += vq->stats.bytes;
		for (unsigned e = VIRTQ_OK + 1; e < VIRTQ_ERRORS; e++)
			drops[i & 1] += vq->stats.errors[e];
	}
	put_int(o, "rx_packets", packets[0]);
	put_int(o, "rx_bytes", bytes[0]);
	put_int(o, "rx_drops", drops[0]);
	put_int(o, "tx_packets", packets[1]);
	put_int(o, "tx_bytes", bytes[1]);
	put_int(o, "tx_drops", drops[1]);
	return o;
}

json_t *status_port_brief(struct bridge *b, struct port *p)
{
	json_t *o = json_object(), *pairs = json_object();
	pid_t pid = 0;
	uid_t uid = 0;

	endpoint_peer(p->endpoint, &pid, &uid);
	put_str(o, "name", p->cfg.name);
	put_int(o, "index", p->index);
	put_str(o, "socket", p->cfg.socket);
	put_str(o, "role", p->cfg.role == ENDPOINT_SERVER ? "server" : "client");
	put_bool(o, "up", p->reason == VD_REASON_NONE);
	put_str(o, "reason", links_reason_name(p->reason));
	json_object_set_new(o, "link", status_port_link(p));
	put_bool(o, "connected", p->connected);
	put_int(o, "peer_pid", (uint64_t)pid);
	put_int(pairs, "max", p->pairs);
	put_int(pairs, "enabled", p->map.enabled);
	json_object_set_new(o, "pairs", pairs);
	json_object_set_new(o, "config", config_json(&p->cfg));
	json_object_set_new(o, "addresses", addresses_json(b, p));
	return o;
}

static json_t *rings_json(struct port *p)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < p->pairs; i++) {
		json_t *pair = json_object();

		put_int(pair, "pair", i);
		json_object_set_new(pair, "rx", ring_json(port_rxq(p, i)));
		json_object_set_new(pair, "tx", ring_json(port_txq(p, i)));
		json_array_append_new(list, pair);
	}
	return list;
}

json_t *status_port(struct bridge *b, struct port *p, bool rings)
{
	json_t *o = status_port_brief(b, p), *xdp = json_object();
	struct vd_stats s = { 0 };

	if (p->node >= 0)
		put_int(o, "numa_node", (uint64_t)p->node);
	session_json(o, p);
	json_object_set_new(o, "addresses_refused", refused_json(p));
	put_nonzero(o, "not_announced", p->not_announced);
	json_object_set_new(o, "totals", totals_json(p));
	if (rings)
		json_object_set_new(o, "pair", rings_json(p));
	uplink_stats(b->uplink, p->index, &s);
	put_int(xdp, "packets", s.packets);
	put_int(xdp, "bytes", s.bytes);
	json_object_set_new(xdp, "drops", status_xdp_drops(&s));
	json_object_set_new(o, "xdp", xdp);
	datapath_json(o, b, p);
	return o;
}
