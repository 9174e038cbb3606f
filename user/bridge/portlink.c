/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: portlink_update() looks at everything anew and does what
 * is missing, so it may be called too often but never too rarely. What came of
 * it is in port.link.guest, and from there in the `links` map.
 *
 * QEMU's vhost-user network device does not ask for the configuration. It sets
 * its guest's link down when the connection ends and up when it is there again;
 * for anything else its monitor has to be told. It sets the link up in the same
 * breath in which it sends its first messages, so nothing is said before those.
 */
#include <string.h>

#include <linux/virtio_net.h>

#include "base/clock.h"
#include "base/log.h"
#include "bridge/links.h"
#include "bridge/portlink.h"
#include "vhost/qmp.h"

/* Does the guest learn of the device's configuration when it changes? */
enum config_way { CONFIG_NOT_YET_KNOWN, CONFIG_NOT_ASKED_FOR, CONFIG_WITHOUT_STATUS, CONFIG_TOLD };

static enum config_way config_way(const struct session_state *st)
{
	const uint64_t both = 1ull << VHOST_USER_PROTOCOL_F_CONFIG | 1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ;
	const bool asks = (st->protocol_features & both) == both;

	if (!st->features_set && (asks || !st->protocol_features))
		return CONFIG_NOT_YET_KNOWN;
	if (!asks || st->channel < 0)
		return CONFIG_NOT_ASKED_FOR;
	return st->features >> VIRTIO_NET_F_STATUS & 1 ? CONFIG_TOLD : CONFIG_WITHOUT_STATUS;
}

static const struct session_state *state_of(const struct port *p)
{
	struct session *s = endpoint_session(p->endpoint);

	return s ? session_state(s) : NULL;
}

bool portlink_up(const struct port *p)
{
	return !p->link.admin_down &&
	       (p->cfg.link == PORT_LINK_ALWAYS_UP || uplink_maps(p->bridge->uplink)->links[0].up);
}

/* --- by the connection ------------------------------------------------------------- */

static void hold(struct port *p)
{
	endpoint_hold(p->endpoint, p->link.admin_down ? "the port's link was set down" : "the uplink is down");
}

static void close_due(struct loop_timer *t)
{
	struct port *p = t->arg;

	if (p->cfg.link == PORT_LINK_CLOSE && !portlink_up(p))
		hold(p);
}

static void follow_connection(struct port *p, bool up)
{
	struct portlink *l = &p->link;
	uint64_t due;

	if (up)
		l->down_since_ns = 0;
	else if (!l->down_since_ns)
		l->down_since_ns = clock_now();
	if (up || p->cfg.link != PORT_LINK_CLOSE) {
		loop_timer_cancel(p->bridge->loop, &l->close);
		if (endpoint_is_held(p->endpoint))
			endpoint_release(p->endpoint);
		return;
	}
	due = l->down_since_ns + CLOSE_AFTER_NS;
	if (endpoint_is_held(p->endpoint) || l->close.due_ns == due)
		return;
	l->close.fn = close_due;
	l->close.arg = p;
	loop_timer_set(p->bridge->loop, &l->close, due);
}

/* --- by QEMU's monitor --------------------------------------------------------------- */

static void on_qmp(void *ctx)
{
	struct port *p = ctx;
	struct portlink *l = &p->link;

	if (qmp_confirmed(l->qmp)) {
		l->qmp_told = qmp_wanted(l->qmp) ? VD_GUEST_UP : VD_GUEST_DOWN;
		l->tell_up &= l->qmp_told != VD_GUEST_UP;
		l->complained = false;
	} else if (*qmp_error(l->qmp) && !l->complained) {	/* once: it is tried on */
		l->complained = true;
		log_at(LOG_LEVEL_WARN, &p->complaints, "port %s: QEMU is not told of the link: %s", p->cfg.name,
		       qmp_error(l->qmp));
		bridge_event(p->bridge, "error", p->cfg.name, qmp_error(l->qmp), -1);
	}
	portlink_update(p);
}

static void open_qmp(struct port *p)
{
	struct qmp_config c = { 0 };
	int ret;

	memcpy(c.path, p->cfg.qmp, sizeof(c.path));
	memcpy(c.netdev, p->cfg.netdev, sizeof(c.netdev));
	memcpy(c.socket, p->cfg.socket, sizeof(c.socket));
	ret = qmp_open(p->bridge->loop, p->bridge->host, &c, on_qmp, p, &p->link.qmp);
	if (ret)
		log_at(LOG_LEVEL_ERROR, &p->complaints, "port %s: out of memory", p->cfg.name);
}

static void follow_qmp(struct port *p, const struct session_state *st, bool up)
{
	struct portlink *l = &p->link;

	if (!*p->cfg.qmp && l->qmp) {	/* taken away: QEMU must not be left with a link that nobody sets up again */
		up = true;
		if (!l->tell_up) {
			qmp_close(l->qmp);
			l->qmp = NULL;
		}
	} else if (*p->cfg.qmp && !l->qmp) {
		open_qmp(p);
	}
	if (!l->qmp)
		return;
	if (!st || (!st->owner_set && !st->protocol_features && !st->features_set)) {
		qmp_forget(l->qmp);
		l->qmp_told = VD_GUEST_NONE;
		return;
	}
	if (up && !l->tell_up)
		return;
	l->tell_up = true;	/* from here on QEMU may think that it is down */
	qmp_want(l->qmp, up);
}

/* --- what it comes to ------------------------------------------------------------------ */

static enum vd_guest_link guest_of(const struct port *p, const struct session_state *st, bool up)
{
	const struct portlink *l = &p->link;
	enum config_way way;

	if (endpoint_is_held(p->endpoint))
		return VD_GUEST_DOWN;
	if (!st)
		return VD_GUEST_NONE;
	if (l->qmp && l->qmp_told == VD_GUEST_DOWN)
		return VD_GUEST_DOWN;
	if (up)
		return VD_GUEST_UP;
	way = config_way(st);
	if (way == CONFIG_TOLD)	/* what does not fit into the channel is said with the next tick */
		return !st->config_changed ? VD_GUEST_DOWN : l->guest == VD_GUEST_NONE ? VD_GUEST_UP : l->guest;
	if (l->qmp)
		return *qmp_error(l->qmp) ? VD_GUEST_UNTOLD : VD_GUEST_UP;
	if (p->cfg.link == PORT_LINK_CLOSE)	/* until its connection is closed */
		return VD_GUEST_UP;
	return way == CONFIG_NOT_YET_KNOWN ? VD_GUEST_NONE : VD_GUEST_UNTOLD;
}

/* A guest that is as it was is no news, but after it returned in another state than up. */
static void tell_listeners(struct port *p, enum vd_guest_link guest)
{
	struct portlink *l = &p->link;

	if (guest == VD_GUEST_NONE || (guest == l->said && !l->again))
		return;
	l->said = guest;
	l->again = false;
	if (guest == VD_GUEST_UNTOLD)
		log_at(LOG_LEVEL_WARN, &p->complaints, "port %s: its guest goes on believing that the link is up: %s",
		       p->cfg.name, portlink_why(p));
	bridge_event(p->bridge, guest == VD_GUEST_UP ? "guest_link_up" : "guest_link_down", p->cfg.name,
		     guest == VD_GUEST_UNTOLD ? "untold" : portlink_by(p), -1);
}

void portlink_update(struct port *p)
{
	const bool up = portlink_up(p);
	const struct session_state *st;
	enum vd_guest_link guest;

	follow_connection(p, up);
	if (endpoint_session(p->endpoint))
		session_tick(endpoint_session(p->endpoint));
	st = state_of(p);
	follow_qmp(p, st, up);
	guest = guest_of(p, st, up);
	if (guest != p->link.guest) {
		p->link.guest = guest;
		links_set_port(p->bridge, p, p->reason, p->map.enabled);
		tell_listeners(p, guest);
	}
}

void portlink_update_all(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			portlink_update(b->port[i]);
}

void portlink_connected(struct port *p)
{
	p->link.again = p->link.said != VD_GUEST_UP;
	p->link.qmp_told = VD_GUEST_NONE;
	if (p->link.qmp)
		qmp_forget(p->link.qmp);
}

void portlink_configure(struct port *p)
{
	struct portlink *l = &p->link;

	if (!l->qmp || !*p->cfg.qmp)
		return;
	qmp_close(l->qmp);	/* another QEMU, or another of its devices; or the same, and it is told again */
	l->qmp = NULL;
	l->complained = false;
	open_qmp(p);
}

/* What QEMU was told, and whether it has heard it, is known up to when the state was saved only: it is told again. */
void portlink_adopted(struct port *p)
{
	p->link.tell_up = *p->cfg.qmp && p->connected;
}

void portlink_close(struct port *p)
{
	struct portlink *l = &p->link;

	loop_timer_cancel(p->bridge->loop, &l->close);
	qmp_close(l->qmp);
	l->qmp = NULL;
}

/* --- for people ---------------------------------------------------------------------- */

const char *portlink_by(const struct port *p)
{
	const struct session_state *st = state_of(p);

	if (endpoint_is_held(p->endpoint))
		return "connection";
	if (st && config_way(st) == CONFIG_TOLD)
		return "config_change";
	if (*p->cfg.qmp)
		return "qmp";
	return p->cfg.link == PORT_LINK_CLOSE ? "connection" : "nothing";
}

const char *portlink_why(const struct port *p)
{
	const struct session_state *st = state_of(p);

	if (p->link.qmp && *qmp_error(p->link.qmp))
		return qmp_error(p->link.qmp);
	if (p->link.guest != VD_GUEST_UNTOLD || !st)
		return "";
	if (config_way(st) == CONFIG_WITHOUT_STATUS)
		return "its driver did not take VIRTIO_NET_F_STATUS: give qmp=PATH of QEMU's monitor, or link=close";
	return "the front-end does not ask for the configuration of the device: give qmp=PATH of QEMU's monitor, or link=close";
}

const char *portlink_guest_name(enum vd_guest_link g)
{
	switch (g) {
	case VD_GUEST_NONE:
		break;
	case VD_GUEST_UP:
		return "up";
	case VD_GUEST_DOWN:
		return "down";
	case VD_GUEST_UNTOLD:
		return "untold";
	}
	return "none";
}

const char *portlink_policy_name(enum port_link l)
{
	return l == PORT_LINK_ALWAYS_UP ? "always-up" : l == PORT_LINK_CLOSE ? "close" : "follow";
}
