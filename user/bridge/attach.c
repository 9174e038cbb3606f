/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: the session (user/vhost) checks every message and calls
 * the ops below with rings that are complete and mapped. Each op takes the
 * ring's lock for as long as it takes to swap pointers; workers only try-lock,
 * so they never wait for us, and we wait at most one batch for them.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/vhost_types.h>

#include "base/clock.h"
#include "base/eventfd.h"
#include "bridge/announce.h"
#include "bridge/attach.h"
#include "bridge/kept.h"
#include "bridge/links.h"
#include "bridge/park.h"
#include "bridge/portlink.h"

uint64_t attach_features(const struct port_config *cfg)
{
	uint64_t features = vnet_dependencies(PORT_FEATURES & ~cfg->without);

	if (!(features & VNET_BIT(VIRTIO_F_VERSION_1)))
		features &= UINT32_MAX;		/* there is no more of them for a legacy driver */
	if (cfg->nmac)
		features |= VNET_BIT(VIRTIO_NET_F_MAC);
	return features | 1ull << VHOST_F_LOG_ALL | 1ull << VHOST_USER_F_PROTOCOL_FEATURES;
}

uint64_t attach_protocol_features(void)
{
	static const uint8_t offered[] = {
		VHOST_USER_PROTOCOL_F_MQ,
		VHOST_USER_PROTOCOL_F_LOG_SHMFD,
		VHOST_USER_PROTOCOL_F_RARP,
		VHOST_USER_PROTOCOL_F_REPLY_ACK,
		VHOST_USER_PROTOCOL_F_NET_MTU,
		VHOST_USER_PROTOCOL_F_BACKEND_REQ,
		VHOST_USER_PROTOCOL_F_CONFIG,
		VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD,
		VHOST_USER_PROTOCOL_F_RESET_DEVICE,
		VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
		VHOST_USER_PROTOCOL_F_STATUS,
	};
	uint64_t bits = 0;

	for (unsigned i = 0; i < sizeof(offered); i++)
		bits |= 1ull << offered[i];
	return bits;
}

/*
 * The longest frame a ring may carry: what the uplink's MTU allows, and never more than UMEM chunks
 * hold, whatever the MTU was changed to since they were cut.
 */
static uint32_t max_frame(struct bridge *b)
{
	uint32_t room = nicq_max_frame(b->dp[0]->nicq);
	uint32_t want = uplink_link(b->uplink)->mtu + FRAME_OVERHEAD;

	return want < room ? want : room;
}

/* Whoever has it may be held by the call fd of another port, to which a packet of this one goes. */
static void vq_lock(struct port *p, struct virtq *vq)
{
	const struct timespec nap = { .tv_nsec = 20000 };
	uint64_t since = 0, now;

	while (!spin_trylock(&vq->lock)) {
		now = clock_now();
		since = since ? since : now;
		if (now - since > PARK_STUCK_NS) {
			park_rescue(p->bridge);
			since = now;
		}
		nanosleep(&nap, NULL);
	}
}

/* The state goes to the guest's memory; the frames stay where they are. */
static void follow_memory(struct port *p, const void *ring)
{
	int frames = uplink_info(p->bridge->uplink)->node, before = p->node;

	port_follow_memory(p, ring);
	if (p->node != before && frames >= 0 && p->node != frames)
		log_at(LOG_LEVEL_WARN, &p->complaints,
		       "port %s: guest memory is on NUMA node %d, the frame buffers are on node %d: give --cpus of node %d",
		       p->cfg.name, p->node, frames, p->node);
}

/* What came of the ring's position, for a front-end that may not have known it. */
static void tell_position(struct port *p, unsigned index, const struct virtq_config *c, bool found, bool out_of_step,
			  uint64_t unserved)
{
	if (found) {
		char lost[64] = "";

		if (unserved)
			snprintf(lost, sizeof(lost), "; %llu packets were given back unsent", (unsigned long long)unserved);
		log_at(LOG_LEVEL_INFO, &p->complaints, "port %s: ring %u goes on where it was left%s", p->cfg.name,
		       index, lost);
		if (c->callfd >= 0)	/* one that a dead instance owed the driver */
			eventfd_notify(c->callfd);
	}
	if (out_of_step)
		log_at(LOG_LEVEL_WARN, &p->complaints,
		       "port %s: ring %u is packed and seems to be in use, but begins anew: if the guest has no network, reset its device (its driver, or a reboot)",
		       p->cfg.name, index);
}

/* Not from where a new ring begins. */
static bool ran_elsewhere(const struct virtq_config *c)
{
	return c->base != virtq_first_base(c->features);
}

/* The worker that polls a tx virtqueue. */
static struct worker *tx_worker(struct port *p, unsigned index)
{
	return bridge_worker_of(p->bridge, (index / 2) % p->bridge->homes);
}

/*
 * What is to be done before a ring runs, here for the first time or from another process: all that the session does not
 * know of it goes into @c, its worker watches its kicks, and its front-end has until enable_by_ns to enable it.
 */
static int prepare(struct port *p, unsigned index, const struct virtq_config *cfg, struct virtq_config *c)
{
	struct dp_tx *tx;
	int ret;

	*c = *cfg;
	c->dir = index & 1 ? VIRTQ_TX : VIRTQ_RX;
	c->max_frame = max_frame(p->bridge);
	c->kept = kept_ring(p->bridge->kept, p->kept_slot, index);
	if (c->dir == VIRTQ_TX) {
		tx = bridge_tx(p->bridge, p, index / 2);
		ret = c->kickfd >= 0 ? worker_kickfd(tx_worker(p, index), tx, c->kickfd, true) : 0;
		if (ret)
			return ret;
		if (c->kickfd >= 0)
			WRITE_ONCE(tx->armed, 0);
		tx->enable_by_ns = clock_now() + DP_ENABLE_NS;
	}
	follow_memory(p, c->desc);
	return 0;
}

static int op_ring_start(void *ctx, unsigned index, const struct virtq_config *cfg)
{
	struct port *p = ctx;
	struct virtq *vq = port_vq(p, index);
	struct virtq_config c;
	bool out_of_step, found;
	uint64_t unserved;
	int ret;

	p->broken_seen[index / 32] &= ~(1u << index % 32);
	ret = prepare(p, index, cfg, &c);
	if (ret)
		return ret;
	vq_lock(p, vq);
	unserved = vq->stats.unserved;
	ret = virtq_start(vq, &c);
	unserved = vq->stats.unserved - unserved;
	out_of_step = !ret && virtq_is_out_of_step(vq);
	found = !ret && virtq_found_position(vq);
	spin_unlock(&vq->lock);
	if (ret) {
		if (c.dir == VIRTQ_TX && c.kickfd >= 0)
			worker_kickfd(tx_worker(p, index), NULL, c.kickfd, false);
		return ret;
	}
	if (ran_elsewhere(cfg))
		p->arrived_ns = clock_now();
	tell_position(p, index, &c, found, out_of_step, unserved);
	attach_update(p);
	bridge_wake(p->bridge);
	return 0;
}

/* As op_ring_start(), where it was in another process: nothing of the ring is touched. */
static int op_ring_resume(void *ctx, unsigned index, const struct virtq_config *cfg)
{
	struct port *p = ctx;
	struct virtq_config c;
	int ret = prepare(p, index, cfg, &c);

	return ret ? ret : virtq_restore(port_vq(p, index), &c, &p->moved[index]);
}

static uint32_t op_ring_stop(void *ctx, unsigned index, bool lost)
{
	struct port *p = ctx;
	struct virtq *vq = port_vq(p, index);
	int kickfd;
	uint32_t base;

	vq_lock(p, vq);
	kickfd = vq->kickfd;
	if (!lost)
		virtq_forget_kept(vq);
	base = virtq_stop(vq);
	spin_unlock(&vq->lock);
	if (index & 1 && kickfd >= 0)
		worker_kickfd(tx_worker(p, index), NULL, kickfd, false);
	attach_update(p);
	return base;
}

static void op_ring_enable(void *ctx, unsigned index, bool enable)
{
	struct port *p = ctx;
	struct virtq *vq = port_vq(p, index);

	vq_lock(p, vq);
	WRITE_ONCE(vq->enabled, enable);
	if (index & 1)
		bridge_tx(p->bridge, p, index / 2)->enable_by_ns = 0;
	spin_unlock(&vq->lock);
	attach_update(p);
	bridge_wake(p->bridge);
}

static void op_ring_call(void *ctx, unsigned index, int callfd)
{
	struct port *p = ctx;
	struct virtq *vq = port_vq(p, index);

	vq_lock(p, vq);
	vq->callfd = callfd;
	spin_unlock(&vq->lock);
	/* A call that went to the old fd's reader may have been missed. This way never waits. */
	if (callfd >= 0)
		eventfd_notify(callfd);
}

static int op_ring_kick(void *ctx, unsigned index, int kickfd)
{
	struct port *p = ctx;
	struct virtq *vq = port_vq(p, index);
	int ret = 0, old;

	if (index & 1) {
		struct worker *w = tx_worker(p, index);
		struct dp_tx *tx = bridge_tx(p->bridge, p, index / 2);

		if (kickfd >= 0)
			ret = worker_kickfd(w, tx, kickfd, true);
		if (ret)
			return ret;
		vq_lock(p, vq);
		old = vq->kickfd;
		WRITE_ONCE(vq->kickfd, kickfd);
		WRITE_ONCE(tx->armed, 0);
		spin_unlock(&vq->lock);
		if (old >= 0)
			worker_kickfd(w, tx, old, false);
		worker_wake(w);
		return 0;
	}
	vq_lock(p, vq);
	vq->kickfd = kickfd;
	spin_unlock(&vq->lock);
	return 0;
}

static void op_mem_swap(void *ctx, const unsigned *idx, const struct virtq_config *cfgs, unsigned n)
{
	struct port *p = ctx;

	for (unsigned i = 0; i < n; i++) {
		struct virtq *vq = port_vq(p, idx[i]);

		vq_lock(p, vq);
		virtq_relocate(vq, cfgs[i].mem, cfgs[i].desc, cfgs[i].avail, cfgs[i].used);
		spin_unlock(&vq->lock);
	}
}

static void op_ring_log(void *ctx, unsigned index, struct dirty *log, bool log_ring, uint64_t log_addr)
{
	struct port *p = ctx;
	struct virtq *vq = port_vq(p, index);

	vq_lock(p, vq);
	virtq_log(vq, log, log_ring, log_addr);
	spin_unlock(&vq->lock);
}

static int op_rarp(void *ctx, const uint8_t mac[6])
{
	struct port *p = ctx;

	if (p->link.admin_down)
		return 0;
	return announce_rarp(p->bridge, p, mac);
}

/* The guest's view of the link is the uplink's, but where its policy or the operator says otherwise. */
static void op_config(void *ctx, struct virtio_net_config *c)
{
	struct port *p = ctx;
	const struct uplink_link *u = uplink_link(p->bridge->uplink);

	if (p->cfg.nmac)
		memcpy(c->mac, p->cfg.mac[0], sizeof(c->mac));
	c->status = htole16(portlink_up(p) ? VIRTIO_NET_S_LINK_UP : 0);
	c->max_virtqueue_pairs = htole16((uint16_t)p->pairs);
	c->mtu = htole16(u->mtu < UINT16_MAX ? (uint16_t)u->mtu : UINT16_MAX);
	c->speed = htole32(u->speed_mbps ? u->speed_mbps : UINT32_MAX);	/* all ones: not known */
	c->duplex = u->duplex <= 1 ? (uint8_t)u->duplex : UINT8_MAX;
}

static void op_mtu(void *ctx, uint32_t mtu)
{
	struct port *p = ctx;
	uint32_t here = uplink_link(p->bridge->uplink)->mtu;

	if (mtu > here)
		log_at(LOG_LEVEL_WARN, &p->complaints,
		       "port %s: its guest is told an MTU of %u, the uplink has %u: longer frames get lost (host_mtu= of QEMU)",
		       p->cfg.name, mtu, here);
}

static void op_changed(void *ctx)
{
	attach_update(ctx);
}

static void op_complaint(void *ctx, const char *text)
{
	struct port *p = ctx;

	if (log_at(LOG_LEVEL_WARN, &p->complaints, "port %s: %s", p->cfg.name, text))
		bridge_event(p->bridge, "error", p->cfg.name, text, -1);
}

static const struct session_ops session_ops = {
	.ring_start = op_ring_start,
	.ring_resume = op_ring_resume,
	.ring_stop = op_ring_stop,
	.ring_enable = op_ring_enable,
	.ring_call = op_ring_call,
	.ring_kick = op_ring_kick,
	.mem_swap = op_mem_swap,
	.ring_log = op_ring_log,
	.rarp = op_rarp,
	.config = op_config,
	.mtu = op_mtu,
	.changed = op_changed,
	.complaint = op_complaint,
};

static void on_connected(void *ctx)
{
	struct port *p = ctx;

	p->connected = true;
	p->session++;
	for (unsigned i = 0; i < 2 * p->pairs; i++)	/* none of them runs: what broke belongs to the last guest */
		WRITE_ONCE(port_vq(p, i)->broken, 0);
	portlink_connected(p);
	log_at(LOG_LEVEL_INFO, &p->complaints, "port %s: front-end connected", p->cfg.name);
	bridge_event(p->bridge, "port_connected", p->cfg.name, "", -1);
	attach_update(p);
}

static void on_disconnected(void *ctx, const char *why)
{
	struct port *p = ctx;

	p->connected = false;
	log_at(LOG_LEVEL_INFO, &p->complaints, "port %s: front-end gone: %s", p->cfg.name, why);
	bridge_event(p->bridge, "port_lost", p->cfg.name, why, -1);
	attach_update(p);
}

static void on_held(void *ctx)
{
	attach_update(ctx);
}

static const struct endpoint_events endpoint_events = {
	.connected = on_connected,
	.disconnected = on_disconnected,
	.held = on_held,
};

static void endpoint_config(const struct port *p, struct endpoint_config *cfg)
{
	*cfg = (struct endpoint_config){
		.role = p->cfg.role,
		.mode = p->cfg.perm,
		.uid = p->cfg.owner,
		.gid = p->cfg.group,
		.session = {
			.max_pairs = p->pairs,
			.features = attach_features(&p->cfg),
			.protocol_features = attach_protocol_features(),
			.max_frame = 1500 + FRAME_OVERHEAD,
		},
	};

	memcpy(cfg->path, p->cfg.socket, sizeof(cfg->path));
}

int attach_open(struct bridge *b, struct port *p)
{
	struct endpoint_config cfg;

	p->bridge = b;
	endpoint_config(p, &cfg);
	return endpoint_open(b->loop, b->host, &cfg, &session_ops, &endpoint_events, p, &p->endpoint);
}

int attach_adopt(struct bridge *b, struct port *p, struct parcel *from)
{
	struct endpoint_config cfg;

	endpoint_config(p, &cfg);
	return endpoint_adopt(b->loop, b->host, &cfg, &session_ops, &endpoint_events, p, from, &p->endpoint);
}

#define TAG 0x676e6972u		/* "ring" */

void attach_save_rings(struct port *p, struct parcel *to)
{
	struct virtq_saved s;

	for (unsigned i = 0; i < 2 * p->pairs; i++) {
		virtq_save(port_vq(p, i), &s);
		parcel_put(to, TAG, &s, sizeof(s));
	}
}

int attach_resume(struct port *p, struct parcel *from)
{
	int ret = 0;

	p->moved = calloc(2 * p->pairs, sizeof(*p->moved));
	if (!p->moved)
		return -ENOMEM;
	for (unsigned i = 0; i < 2 * p->pairs && !ret; i++) {
		struct virtq *vq = port_vq(p, i);

		ret = parcel_get(from, TAG, &p->moved[i], sizeof(p->moved[i]));
		vq->enabled = p->moved[i].enabled;	/* of those that do not run, too */
		vq->broken = p->moved[i].broken;
		vq->stats = p->moved[i].stats;
	}
	if (!ret)
		ret = endpoint_resume(p->endpoint);
	free(p->moved);
	p->moved = NULL;
	return ret;
}

void attach_offer(struct port *p)
{
	endpoint_set_features(p->endpoint, attach_features(&p->cfg));
}

void attach_close(struct port *p)
{
	endpoint_close(p->endpoint);
	p->endpoint = NULL;
	p->connected = false;
	attach_update(p);
	portlink_close(p);
}

static enum vd_link_reason port_reason(struct port *p, const struct vd_port *s)
{
	bool started = false, broken = false;

	if (p->link.admin_down)
		return VD_REASON_ADMIN_DOWN;
	if (endpoint_is_held(p->endpoint))
		return VD_REASON_UPLINK;
	if (s->enabled)
		return VD_REASON_NONE;
	if (!p->connected)
		return VD_REASON_NOT_CONNECTED;
	for (uint32_t i = 0; i < p->pairs; i++) {
		started |= READ_ONCE(port_rxq(p, i)->started);
		broken |= READ_ONCE(port_rxq(p, i)->broken) != 0;
	}
	return broken ? VD_REASON_BROKEN : started ? VD_REASON_NO_PAIR : VD_REASON_NEGOTIATING;
}

/* The copy that workers use, and the program's. */
static void publish_map(struct port *p, const struct vd_port *m)
{
	for (unsigned i = 0; i < VD_MAX_PAIRS; i++)
		WRITE_ONCE(p->map.route[i], m->route[i]);
	WRITE_ONCE(p->map.flags, m->flags);
	WRITE_ONCE(p->map.vlan, m->vlan);
	WRITE_ONCE(p->map.enabled, m->enabled);
	if (uplink_port(p->bridge->uplink, p->index, m) < 0)
		log_error("port %s: cannot write the ports map", p->cfg.name);
}

static void update_map(struct port *p)
{
	struct bridge *b = p->bridge;
	enum vd_link_reason reason;
	struct vd_port m;
	bool same;

	port_map(p, &m);
	reason = port_reason(p, &m);
	same = !memcmp(&m, &p->map, sizeof(m));
	if (same && reason == p->reason)
		return;
	if (reason != VD_REASON_NONE)	/* going down: the program stops before the table empties */
		links_set_port(b, p, reason, m.enabled);
	if (!same)
		publish_map(p, &m);
	if (reason == VD_REASON_NONE)
		links_set_port(b, p, reason, m.enabled);
	if (reason != p->reason)
		bridge_event(b, reason == VD_REASON_NONE ? "port_up" : "port_down", p->cfg.name,
			     links_reason_name(reason), -1);
	if (reason == VD_REASON_NONE && reason != p->reason)
		announce_arrival(b, p);
	p->reason = reason;
}

void attach_update(struct port *p)
{
	update_map(p);
	portlink_update(p);
}

static void report_broken(struct port *p, unsigned index, enum virtq_error why)
{
	struct session *s = endpoint_session(p->endpoint);

	if (log_at(LOG_LEVEL_WARN, &p->breakage, "port %s: ring %u stopped: %s", p->cfg.name, index,
		   virtq_error_name(why)))
		bridge_event(p->bridge, "ring_broken", p->cfg.name, virtq_error_name(why), (int)index);
	if (s)
		session_ring_broken(s, index);
	attach_update(p);
}

void attach_check(struct port *p, uint64_t now_ns)
{
	struct session *s = endpoint_session(p->endpoint);

	if (!s)
		return;
	if (session_memory_broken(s)) {
		endpoint_kick_out(p->endpoint, "guest memory or its log was truncated or is not backed");
		return;
	}
	portlink_update(p);
	for (unsigned i = 0; i < 2 * p->pairs; i++) {
		struct virtq *vq = port_vq(p, i);
		uint32_t *seen = &p->broken_seen[i / 32], bit = 1u << i % 32;

		if (park_call_stuck(vq, now_ns)) {
			park_interrupt(p->bridge);
			endpoint_kick_out(p->endpoint, "its call fd blocks");
			return;
		}
		if (READ_ONCE(vq->broken) && !(*seen & bit)) {
			*seen |= bit;
			report_broken(p, i, READ_ONCE(vq->broken));
		}
	}
}

void attach_mtu_changed(struct port *p)
{
	uint32_t len = max_frame(p->bridge);

	for (unsigned i = 0; i < 2 * p->pairs; i++) {
		struct virtq *vq = port_vq(p, i);

		vq_lock(p, vq);
		virtq_set_max_frame(vq, len);
		spin_unlock(&vq->lock);
	}
}
