/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bridge/links.h"
#include "bridge/ports.h"
#include "ctl/status.h"
#include "ctl/status_port.h"
#include "ctl/status_put.h"

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
	uint32_t count[FRAME_OWNERS];
	json_t *o = json_object();

	frames_counts(f, count);
	for (unsigned i = 0; i < FRAME_OWNERS; i++)
		put_int(o, owner[i], count[i]);
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
	put_str(o, "mode", q->fd < 0 ? "none" : mode_name(q->mode));
	put_str(o, "state", q->fd < 0 ? "unused" : q->stats.last_errno ? "failed" : "ready");
	put_int(o, "ring_size", q->rx.size);
	json_object_set_new(o, "frames", frames_json(&q->frames));
	put_int(o, "rx_packets", q->stats.rx_packets);
	put_int(o, "rx_bytes", q->stats.rx_bytes);
	put_int(o, "tx_packets", q->stats.tx_packets);
	put_int(o, "tx_bytes", q->stats.tx_bytes);
	put_int(o, "tx_wakeups", q->stats.tx_wakeups);
	put_int(o, "tx_errors", q->stats.tx_errors);
	put_nonzero(o, "tx_device_gone", q->stats.tx_device_gone);
	put_nonzero(o, "rx_invalid", q->stats.rx_invalid);
	put_nonzero(o, "rx_stray", dp->drop_stray);
	put_str(o, "last_error", q->stats.last_errno ? strerror(q->stats.last_errno) : "");
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
	json_object_set_new(o, "drops", status_xdp_drops(&s));
	return o;
}

/* Seen in traffic: frames with metadata, without, or none yet. */
static const char *metadata_state(struct bridge *b)
{
	uint64_t with = 0, without = 0;

	for (uint32_t p = 0; p < b->nports; p++) {
		struct vd_stats s = { 0 };

		if (!b->port[p])
			continue;
		uplink_stats(b->uplink, p, &s);
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

static json_t *host_port_json(struct bridge *b)
{
	const struct from_host *h = b->worker[0].host;
	json_t *o = json_object();

	put_str(o, "interface", hostport_ifname(b->host_port));
	put_str(o, "attach", hostport_hook(b->host_port));
	put_int(o, "packets", h->packets);
	put_int(o, "bytes", h->bytes);
	put_int(o, "dropped", h->dropped);
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

static const char *const tags_name[] = {
	[UPLINK_TAGS_INLINE] = "inline",
	[UPLINK_TAGS_RESTORED] = "restored",
	[UPLINK_TAGS_LOST] = "lost",
};

/* What is done with the NIC when it is asked for. */
static void put_nic(json_t *o, const struct uplink_info *info)
{
	json_t *poll = json_object(), *steer = json_object();

	put_str(o, "channels_set", info->channels ? info->channels : "");
	put_bool(poll, "on", info->busy_poll);
	put_str(poll, "why_not", info->busy_poll_why);
	json_object_set_new(o, "busy_poll", poll);
	put_bool(steer, "on", info->hw_steer);
	put_str(steer, "why_not", info->hw_steer_why);
	put_int(steer, "rules", info->hw_rules);
	json_object_set_new(o, "hw_steer", steer);
}

/* How it was asked for, and which of the devices that may be it is in use. */
static json_t *device_json(struct bridge *b, const struct uplink_info *info)
{
	const struct uplink_config *c = &b->cfg.uplink;
	const struct uplink_link *l = uplink_link(b->uplink);
	json_t *o = json_object();

	if (c->by == UPLINK_BY_MAC)
		put_mac(o, "mac", c->mac);
	else
		put_str(o, "name", c->by == UPLINK_BY_AUTO ? "auto" : c->ifname);
	if (c->standby[0])
		put_str(o, "standby", c->standby);
	put_str(o, "in_use", !l->ifindex ? "none" : l->standby ? "standby" : "first");
	put_int(o, "moves", l->moves);
	if (info->refused[0])
		put_str(o, "refused", info->refused);
	return o;
}

/* What is not as it should be, and what was put right. */
static void put_trouble(json_t *o, const struct uplink_link *l, const struct uplink_info *info)
{
	static const char *const names[] = { "program", "channels", "filter", "offload", "mtu", "device" };
	json_t *list = json_array(), *repaired = json_object();

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (l->trouble & 1u << i)
			json_array_append_new(list, json_string(names[i]));
	for (int i = 0; i < UPLINK_REPAIRS; i++)
		put_nonzero(repaired, uplink_repair_name(i), info->repaired[i]);
	json_object_set_new(o, "trouble", list);
	put_str(o, "trouble_why", info->trouble_why);
	json_object_set_new(o, "repaired", repaired);
}

static json_t *uplink_json(struct bridge *b)
{
	const struct uplink_info *info = uplink_info(b->uplink);
	const struct uplink_link *l = uplink_link(b->uplink);
	const struct vd_link *map = &uplink_maps(b->uplink)->links[0];
	json_t *o = json_object(), *xdp = json_object(), *vlan = json_object(), *filter = json_object();
	json_t *queues = json_array();

	put_str(o, "interface", l->name);
	put_int(o, "ifindex", (uint64_t)l->ifindex);
	json_object_set_new(o, "device", device_json(b, info));
	put_str(o, "driver", info->driver);
	put_bool(o, "up", map->up);
	put_str(o, "reason", links_reason_name(map->reason));
	put_int(o, "speed_mbps", l->speed_mbps);
	put_str(o, "duplex", duplex_name(l->duplex));
	put_int(o, "mtu", l->mtu);
	put_mac(o, "mac", l->mac);
	put_trouble(o, l, info);
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
	put_str(vlan, "rxvlan_before", on_off(info->rxvlan_before));
	put_str(vlan, "rxvlan_now", on_off(info->rxvlan_now));
	put_str(vlan, "filter_before", on_off(info->rxvlan_filter_before));
	put_str(vlan, "filter_now", on_off(info->rxvlan_filter_now));
	put_bool(vlan, "fixed", info->rxvlan_fixed);
	put_str(vlan, "tags", tags_name[info->vlan_tags]);
	put_str(vlan, "tags_why_lost", info->vlan_tags_why);
	json_object_set_new(o, "vlan", vlan);
	put_nic(o, info);
	for (uint32_t i = 0; i < b->queues; i++)
		json_array_append_new(queues, queue_json(b, i));
	json_object_set_new(o, "queues", queues);
	json_object_set_new(o, "host", host_json(b));
	json_object_set_new(o, "multicast", mcast_json(b));
	if (b->host_port)
		json_object_set_new(o, "host_port", host_port_json(b));
	put_nonzero(o, "address_moves", b->moves);
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

static json_t *forwarding_json(struct bridge *b)
{
	static const char *const unknown[] = {
		[VD_UNKNOWN_PASS] = "pass", [VD_UNKNOWN_DROP] = "drop", [VD_UNKNOWN_GUEST] = "guest",
	};
	json_t *o = json_object();

	put_str(o, "unknown", unknown[b->cfg.uplink.unknown]);
	if (b->cfg.unknown_port[0])
		put_str(o, "unknown_port", b->cfg.unknown_port);
	put_int(o, "aging_s", b->cfg.aging_s);
	return o;
}

int status_json(struct bridge *b, const char *port, bool brief, json_t **out)
{
	static const char *const wait[] = {
		[WAIT_ADAPTIVE] = "adaptive", [WAIT_BUSY] = "busy", [WAIT_INTERRUPT] = "interrupt",
	};
	json_t *o, *ports;
	uint32_t n = 0;

	if (port && !bridge_port_find(b, port))
		return -ENODEV;
	o = json_object();
	ports = json_array();
	put_str(o, "version", VIADUCT_VERSION);
	put_str(o, "name", b->cfg.uplink.name);
	put_int(o, "pid", (uint64_t)getpid());
	json_object_set_new(o, "uptime_s", json_real((double)(clock_now() - b->started_ns) / 1e9));
	put_str(o, "wait", wait[b->cfg.wait]);
	json_object_set_new(o, "forwarding", forwarding_json(b));
	json_object_set_new(o, "uplink", uplink_json(b));
	json_object_set_new(o, "workers", workers_json(b));
	for (uint32_t i = 0; i < b->nports; i++)
		n += b->port[i] != NULL;
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i] && (!port || !strcmp(b->port[i]->cfg.name, port)))
			json_array_append_new(ports, status_port(b, b->port[i], port || !brief || n == 1));
	json_object_set_new(o, "ports", ports);
	*out = o;
	return o ? 0 : -ENOMEM;
}

json_t *status_port_list(struct bridge *b)
{
	json_t *o = json_object(), *list = json_array();

	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			json_array_append_new(list, status_port_brief(b, b->port[i]));
	json_object_set_new(o, "ports", list);
	return o;
}
