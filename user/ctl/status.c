/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bridge/attach.h"
#include "bridge/links.h"
#include "bridge/mac.h"
#include "ctl/names.h"
#include "ctl/status.h"

static void put_int(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_str(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, json_string(v));
}

static void put_bool(json_t *o, const char *key, bool v)
{
	json_object_set_new(o, key, json_boolean(v));
}

static void put_mac(json_t *o, const char *key, const uint8_t *mac)
{
	char text[MAC_STRLEN];

	mac_format(mac, text);
	put_str(o, key, text);
}

/* Counters that are zero say nothing: only what happened is shown. */
static void put_nonzero(json_t *o, const char *key, uint64_t v)
{
	if (v)
		put_int(o, key, v);
}

static const char *duplex_name(uint32_t duplex)
{
	return duplex == 1 ? "full" : duplex == 0 ? "half" : "unknown";
}

static const char *mode_name(enum vd_queue_mode mode)
{
	switch (mode) {
	case VD_MODE_ZEROCOPY:
		return "zerocopy";
	case VD_MODE_COPY:
		return "copy";
	case VD_MODE_GENERIC:
		return "generic";
	case VD_MODE_NONE:
		break;
	}
	return "none";
}

static const char *on_off(int v)
{
	return v < 0 ? "not_supported" : v ? "on" : "off";
}

static json_t *frames_json(const struct frames *f)
{
	static const char *const owner[FRAME_OWNERS] = {
		[FRAME_FREE] = "free", [FRAME_FILL] = "fill", [FRAME_HELD] = "held",
		[FRAME_TX] = "tx",     [FRAME_LOST] = "lost",
	};
	json_t *o = json_object();

	for (unsigned i = 0; i < FRAME_OWNERS; i++)
		put_int(o, owner[i], READ_ONCE(f->count[i]));
	put_int(o, "total", f->total);
	put_nonzero(o, "violations", f->violations);
	return o;
}

static json_t *queue_json(struct bridge *b, uint32_t i)
{
	const struct datapath *dp = b->dp[i];
	const struct nicq *q = dp->nicq;
	json_t *o = json_object();

	put_int(o, "queue", i);
	put_int(o, "worker", i % b->nworkers);
	put_str(o, "mode", mode_name(q->mode));
	put_str(o, "state", q->stats.last_errno ? "failed" : "ready");
	put_int(o, "ring_size", q->rx.size);
	json_object_set_new(o, "frames", frames_json(&q->frames));
	put_int(o, "rx_packets", q->stats.rx_packets);
	put_int(o, "rx_bytes", q->stats.rx_bytes);
	put_int(o, "tx_packets", q->stats.tx_packets);
	put_int(o, "tx_bytes", q->stats.tx_bytes);
	put_int(o, "tx_wakeups", q->stats.tx_wakeups);
	put_int(o, "tx_errors", q->stats.tx_errors);
	put_nonzero(o, "rx_invalid", q->stats.rx_invalid);
	put_nonzero(o, "rx_stray", dp->drop_stray);
	put_str(o, "last_error", q->stats.last_errno ? strerror(q->stats.last_errno) : "");
	return o;
}

static json_t *xdp_drops(const struct vd_stats *s)
{
	json_t *o = json_object();

	put_nonzero(o, "link_down", s->drop_link_down);
	put_nonzero(o, "no_pair", s->drop_no_pair);
	put_nonzero(o, "share", s->drop_share);
	put_nonzero(o, "no_socket", s->drop_no_socket);
	put_nonzero(o, "unknown", s->drop_unknown);
	put_nonzero(o, "malformed", s->drop_malformed);
	return o;
}

static json_t *host_json(struct bridge *b)
{
	struct vd_stats s = { 0 };
	json_t *o = json_object();

	uplink_stats(b->uplink, VD_STATS_HOST, &s);
	put_int(o, "packets", s.packets);
	put_int(o, "bytes", s.bytes);
	put_int(o, "multicast", s.multicast);
	json_object_set_new(o, "drops", xdp_drops(&s));
	return o;
}

/* Seen in traffic: frames with metadata, without, or none yet. */
static const char *metadata_state(struct bridge *b)
{
	uint64_t with = 0, without = 0;

	for (uint32_t p = 0; p < b->nports; p++) {
		struct vd_stats s = { 0 };

		uplink_stats(b->uplink, b->port[p]->index, &s);
		with += s.packets - s.no_metadata;
		without += s.no_metadata;
	}
	return without ? "no" : with ? "yes" : "unknown";
}

static json_t *mcast_json(struct bridge *b)
{
	const struct mcast_stats *m = mcast_stats(b->mcast);
	json_t *o = json_object();

	put_int(o, "packets", m->packets);
	put_int(o, "delivered", b->worker[0].stats.mcast_delivered);
	put_int(o, "drop_rate_limit", b->worker[0].stats.mcast_limited);
	put_int(o, "drop_ring_full", m->kernel_drops);
	put_int(o, "drop_malformed", m->malformed);
	return o;
}

/* Who does what software can do as well, and why it is not the driver. */
static void put_helper(json_t *o, const char *key, const char *by, const char *why_not)
{
	json_t *h = json_object();

	put_str(h, "by", by);
	put_str(h, "why_not_driver", why_not);
	json_object_set_new(o, key, h);
}

static json_t *uplink_json(struct bridge *b)
{
	const struct uplink_info *info = uplink_info(b->uplink);
	const struct uplink_link *l = uplink_link(b->uplink);
	const struct vd_link *map = &uplink_maps(b->uplink)->links[0];
	json_t *o = json_object(), *xdp = json_object(), *vlan = json_object(), *filter = json_object();
	json_t *queues = json_array();

	put_str(o, "interface", b->cfg.uplink.ifname);
	put_int(o, "ifindex", (uint64_t)l->ifindex);
	put_str(o, "driver", info->driver);
	put_bool(o, "up", map->up);
	put_str(o, "reason", links_reason_name(map->reason));
	put_int(o, "speed_mbps", l->speed_mbps);
	put_str(o, "duplex", duplex_name(l->duplex));
	put_int(o, "mtu", l->mtu);
	put_mac(o, "mac", l->mac);
	put_str(xdp, "mode", mode_name(info->mode));
	put_str(xdp, "why_not_better", info->mode_why);
	put_str(xdp, "attach", info->attach == UPLINK_ATTACH_LINK ? "link" : "dispatcher");
	put_int(xdp, "program_id", (uint64_t)info->xdp_prog_id);
	put_bool(xdp, "adopted", info->adopted);
	if (info->node >= 0)
		put_int(o, "numa_node", (uint64_t)info->node);
	put_str(xdp, "metadata", metadata_state(b));
	put_bool(xdp, "multi_buffer", info->sg);
	put_helper(xdp, "rx_hash", info->driver_hash ? "driver" : "software", info->driver_hash_why);
	put_helper(xdp, "tx_checksum", info->nic_checksum ? "driver" : info->kernel_checksum ? "kernel" : "software",
		   info->nic_checksum_why);
	json_object_set_new(o, "xdp", xdp);
	put_int(filter, "entries", info->filter_entries);
	put_bool(filter, "allmulti", info->allmulti);
	json_object_set_new(o, "receive_filter", filter);
	put_int(o, "room", uplink_maps(b->uplink)->config->room);
	put_bool(o, "host_port", b->host_port);
	put_str(vlan, "rxvlan_before", on_off(info->rxvlan_before));
	put_str(vlan, "rxvlan_now", on_off(info->rxvlan_now));
	put_str(vlan, "filter_before", on_off(info->rxvlan_filter_before));
	put_str(vlan, "filter_now", on_off(info->rxvlan_filter_now));
	put_bool(vlan, "fixed", info->rxvlan_fixed);
	json_object_set_new(o, "vlan", vlan);
	for (uint32_t i = 0; i < b->queues; i++)
		json_array_append_new(queues, queue_json(b, i));
	json_object_set_new(o, "queues", queues);
	json_object_set_new(o, "host", host_json(b));
	json_object_set_new(o, "multicast", mcast_json(b));
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
	pid_t pid = 0;
	uid_t uid = 0;

	endpoint_peer(p->endpoint, &pid, &uid);
	put_bool(o, "connected", p->connected);
	put_int(o, "peer_pid", (uint64_t)pid);
	put_int(o, "connections", es->connections);
	put_int(o, "refused", es->refused);
	put_int(o, "closed_for_bad_input", es->bad);
	json_object_set_new(o, "offered", names_json(attach_features(&p->cfg), names_feature));
	json_object_set_new(o, "features", names_json(st ? st->features : 0, names_feature));
	json_object_set_new(o, "protocol_features", names_json(st ? st->protocol_features : 0, names_protocol));
	json_object_set_new(o, "device_status", names_json(st ? st->status : 0, names_status));
}

static json_t *addresses_json(const struct port *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < p->nmac; i++) {
		uint8_t mac[MAC_LEN];
		json_t *o = json_object();

		mac_store(p->mac[i], mac);
		put_mac(o, "mac", mac);
		put_str(o, "kind", p->cfg.nmac ? "configured" : "learned");
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
static void datapath_json(json_t *o, struct bridge *b, const struct port *p)
{
	struct dp_port sum = { 0 };
	json_t *drops = json_object();

	for (uint32_t i = 0; i < b->queues; i++) {
		const struct dp_port *d = b->dp[i]->port[p->index];

		sum.lost += d->lost;
		sum.held += d->held;
		sum.without_meta += d->without_meta;
		sum.drop_hold += d->drop_hold;
		sum.drop_ring += d->drop_ring;
		sum.drop_mcast += d->drop_mcast;
		sum.drop_uplink_down += d->drop_uplink_down;
	}
	put_int(o, "lost_in_ring", sum.lost);
	put_int(o, "held", sum.held);
	put_nonzero(o, "without_metadata", sum.without_meta);
	put_nonzero(drops, "no_guest_buffers", sum.drop_hold);
	put_nonzero(drops, "ring_not_running", sum.drop_ring);
	put_nonzero(drops, "multicast", sum.drop_mcast);
	put_nonzero(drops, "uplink_down", sum.drop_uplink_down);
	json_object_set_new(o, "drops", drops);
}

static json_t *port_json(struct bridge *b, struct port *p)
{
	json_t *o = json_object(), *pairs = json_object(), *list = json_array(), *xdp = json_object();
	struct vd_stats s = { 0 };

	put_str(o, "name", p->cfg.name);
	put_str(o, "socket", p->cfg.socket);
	put_str(o, "role", p->cfg.role == ENDPOINT_SERVER ? "server" : "client");
	put_bool(o, "up", p->reason == VD_REASON_NONE);
	put_str(o, "reason", links_reason_name(p->reason));
	if (p->node >= 0)
		put_int(o, "numa_node", (uint64_t)p->node);
	session_json(o, p);
	put_int(pairs, "max", p->pairs);
	put_int(pairs, "enabled", p->map.enabled);
	json_object_set_new(o, "pairs", pairs);
	json_object_set_new(o, "addresses", addresses_json(p));
	json_object_set_new(o, "addresses_refused", refused_json(p));
	for (uint32_t i = 0; i < p->pairs; i++) {
		json_t *pair = json_object();

		put_int(pair, "pair", i);
		json_object_set_new(pair, "rx", ring_json(port_rxq(p, i)));
		json_object_set_new(pair, "tx", ring_json(port_txq(p, i)));
		json_array_append_new(list, pair);
	}
	json_object_set_new(o, "pair", list);
	uplink_stats(b->uplink, p->index, &s);
	put_int(xdp, "packets", s.packets);
	put_int(xdp, "bytes", s.bytes);
	json_object_set_new(xdp, "drops", xdp_drops(&s));
	json_object_set_new(o, "xdp", xdp);
	datapath_json(o, b, p);
	return o;
}

static json_t *workers_json(struct bridge *b)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < b->nworkers; i++) {
		json_t *o = json_object();

		put_int(o, "worker", i);
		json_object_set_new(o, "cpu", json_integer(b->worker[i].cpu));
		put_int(o, "loops", b->worker[i].stats.loops);
		put_int(o, "sleeps", b->worker[i].stats.sleeps);
		json_array_append_new(list, o);
	}
	return list;
}

json_t *status_json(struct bridge *b)
{
	static const char *const wait[] = {
		[WAIT_ADAPTIVE] = "adaptive", [WAIT_BUSY] = "busy", [WAIT_INTERRUPT] = "interrupt",
	};
	json_t *o = json_object(), *ports = json_array();

	put_str(o, "version", VIADUCT_VERSION);
	put_str(o, "name", b->cfg.uplink.name);
	put_int(o, "pid", (uint64_t)getpid());
	json_object_set_new(o, "uptime_s", json_real((double)(clock_now() - b->started_ns) / 1e9));
	put_str(o, "wait", wait[b->cfg.wait]);
	json_object_set_new(o, "uplink", uplink_json(b));
	json_object_set_new(o, "workers", workers_json(b));
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			json_array_append_new(ports, port_json(b, b->port[i]));
	json_object_set_new(o, "ports", ports);
	return o;
}
