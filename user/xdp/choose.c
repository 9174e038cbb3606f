/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation. A fast device and a slow one stand for the same port of
 * the hypervisor's switch: a virtual function and the synthetic device that it
 * is enslaved to (hv_netvsc), or both enslaved to a device that only joins them
 * (net_failover). They have one address. So "by MAC" is all devices that have
 * it, and "auto" the one synthetic device and what belongs to it; both are put
 * in order by the same comparison, the fast ones first.
 *
 * What the host routes through is most likely its own way to the world. Such a
 * device is taken only when the operator names it, or says --force; or when it,
 * or its fast or slow partner, is in use already: a route that is added later
 * does not take the uplink away.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/ethtool.h>

#include "xdp/choose.h"
#include "xdp/routes.h"

#define NETVSC_CLASS "{f8615163-df3e-46c5-913f-f2d2f965ed0e}"
#define MASTERS 8		/* storeys of masters that are looked at: bond, bridge, ... */

struct chooser {
	const struct host_ops *host;
	const struct linkmon *m;
	const struct uplink_config *cfg;
	int current;
	bool routes_tried;
	int routes_err;
	struct routes routes;
};

/* A device and what decides its place. */
struct candidate {
	const struct linkmon_dev *d;
	bool slow;		/* the synthetic one itself */
	bool enslaved;		/* to another of the set */
	bool pci;
	int speed;		/* Mbit/s, 0 = not known */
};

struct set {
	struct candidate c[CHOOSE_MAX];
	unsigned n, max;
};

/* ---- facts ---- */

static const struct linkmon_dev *by_name(const struct linkmon *m, const char *name)
{
	const struct linkmon_dev *d = NULL;

	while (*name && (d = linkmon_next(m, d)))
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

/* First line of a file of the device in sysfs; "" when there is none. */
static const char *sysfs(const struct chooser *c, const struct linkmon_dev *d, const char *file, char *buf, size_t len)
{
	char path[96];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", d->name, file);
	fd = c->host->open(c->host, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd >= 0) {
		n = read(fd, buf, len - 1);
		close(fd);
	}
	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

static bool is_synthetic(const struct chooser *c, const struct linkmon_dev *d)
{
	char id[64];

	return d->type == ARPHRD_ETHER &&
	       !strcmp(sysfs(c, d, "device/class_id", id, sizeof(id)), NETVSC_CLASS);
}

/* net_failover's device has no kind, and passes on what its members receive. */
static bool joins_others(const struct chooser *c, const struct linkmon_dev *d)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	const struct linkmon_dev *other = NULL;

	while ((other = linkmon_next(c->m, other)))
		if (other->master == d->ifindex)
			return c->host->ethtool(c->host, d->name, &info) >= 0 && !strcmp(info.driver, "net_failover");
	return false;
}

/* May be an uplink by itself. What other devices carry, or joins them, is what viaduct only takes by its name. */
static bool is_nic(const struct chooser *c, const struct linkmon_dev *d)
{
	if (d->type != ARPHRD_ETHER || (d->flags & IFF_LOOPBACK))
		return false;
	if (!*d->kind)
		return !joins_others(c, d);
	return !strcmp(d->kind, "veth") || !strcmp(d->kind, "netdevsim");
}

static void say_kind(const struct linkmon_dev *d, char *why, size_t len)
{
	if (d->type != ARPHRD_ETHER || (d->flags & IFF_LOOPBACK))
		snprintf(why, len, "%s is no Ethernet interface: choose a NIC", d->name);
	else
		snprintf(why, len, "%s is a %s, which only passes on: choose the device that receives", d->name,
			 *d->kind ? d->kind : "net_failover");
}

/* It, or the other of its pair, is the uplink now. */
static bool in_use(const struct chooser *c, const struct linkmon_dev *d)
{
	const struct linkmon_dev *now = c->current ? linkmon_find(c->m, c->current) : NULL;

	return now && (now == d || now->master == d->ifindex || d->master == now->ifindex ||
		       (d->master && d->master == now->master && !memcmp(d->mac, now->mac, sizeof(d->mac))));
}

/* Why the host's routes forbid it; "" when they do not. */
static void check_routes(struct chooser *c, const struct linkmon_dev *d, char *why, size_t len)
{
	const struct linkmon_dev *up = d;
	int i;

	*why = '\0';
	if (c->cfg->force || in_use(c, d))
		return;
	if (!c->routes_tried) {
		c->routes_tried = true;
		c->routes_err = routes_read(c->host, &c->routes);
	}
	for (i = 0; up && i < MASTERS; i++) {
		if (routes_through(&c->routes, up->ifindex)) {
			snprintf(why, len, "the host routes through %s%s: --force on takes %s all the same", up->name,
				 up == d ? "" : ", its master", d->name);
			return;
		}
		up = up->master ? linkmon_find(c->m, up->master) : NULL;
	}
	if (c->routes_err)
		snprintf(why, len, "the host's routes cannot be read (%s): --force on takes %s all the same",
			 strerror(-c->routes_err), d->name);
}

/* ---- order ---- */

static int compare(const struct candidate *a, const struct candidate *b)
{
	if (a->slow != b->slow)
		return a->slow - b->slow;
	if (a->enslaved != b->enslaved)
		return b->enslaved - a->enslaved;
	if (a->pci != b->pci)
		return b->pci - a->pci;
	if (a->speed != b->speed)
		return a->speed > b->speed ? -1 : 1;
	return a->d->ifindex < b->d->ifindex ? -1 : 1;
}

/* Into its place; the last goes where there is no room. */
static void set_add(const struct chooser *c, struct set *s, const struct linkmon_dev *d, bool slow, bool enslaved)
{
	struct candidate new = { .d = d, .slow = slow, .enslaved = enslaved };
	char text[64];
	unsigned at = s->n;

	new.pci = !strncmp(sysfs(c, d, "device/modalias", text, sizeof(text)), "pci:", 4);
	new.speed = atoi(sysfs(c, d, "speed", text, sizeof(text)));
	if (new.speed < 0)
		new.speed = 0;
	while (at && compare(&new, &s->c[at - 1]) < 0)
		at--;
	if (at == s->max)
		return;
	if (s->n < s->max)
		s->n++;
	memmove(&s->c[at + 1], &s->c[at], (s->n - at - 1) * sizeof(s->c[0]));
	s->c[at] = new;
}

static bool same_mac(const struct linkmon_dev *d, const uint8_t mac[6])
{
	return !memcmp(d->mac, mac, 6);
}

/* ---- the list ---- */

static struct choose_device *list_add(struct choose_device *out, unsigned *n, const struct linkmon_dev *d, bool standby)
{
	struct choose_device *e = &out[(*n)++];

	memset(e, 0, sizeof(*e));
	e->ifindex = d->ifindex;
	memcpy(e->name, d->name, sizeof(e->name));
	e->up = (d->flags & IFF_UP) && d->carrier;
	e->standby = standby;
	return e;
}

static void list_set(struct chooser *c, const struct set *s, struct choose_device *out, unsigned *n)
{
	unsigned i;

	for (i = 0; i < s->n; i++) {
		const struct candidate *it = &s->c[i];
		struct choose_device *e = list_add(out, n, it->d, i > 0 || it->slow);

		check_routes(c, it->d, e->why_not, sizeof(e->why_not));
	}
}

static void list_named(const struct chooser *c, struct choose_known *known, const struct linkmon_dev *standby,
		       struct choose_device *out, unsigned *n)
{
	const struct linkmon_dev *d = known->first ? linkmon_find(c->m, known->first) : NULL;

	if (!d || d == standby)
		d = by_name(c->m, c->cfg->ifname);
	if (!d || d == standby)
		d = by_name(c->m, known->last_name);
	if (d == standby)
		d = NULL;
	known->first = d ? d->ifindex : 0;
	if (!d)
		return;
	memcpy(known->last_name, d->name, sizeof(known->last_name));
	list_add(out, n, d, false);
}

/* By its index where it was seen before, whatever it is called now. */
static const struct linkmon_dev *find_standby(const struct linkmon *m, const struct uplink_config *cfg,
					      struct choose_known *known)
{
	const struct linkmon_dev *d = known->standby ? linkmon_find(m, known->standby) : NULL;

	if (!d)
		d = by_name(m, cfg->standby);
	if (d && d->ifindex == known->first)	/* the first was given its name */
		d = NULL;
	known->standby = d ? d->ifindex : 0;
	return d;
}

static void list_by_mac(struct chooser *c, struct choose_device *out, unsigned *n, unsigned max)
{
	const struct linkmon_dev *d = NULL, *master;
	struct set s = { .max = max };

	while ((d = linkmon_next(c->m, d))) {
		if (!same_mac(d, c->cfg->mac) || !is_nic(c, d))
			continue;
		master = d->master ? linkmon_find(c->m, d->master) : NULL;
		set_add(c, &s, d, false, master && same_mac(master, c->cfg->mac) && is_nic(c, master));
	}
	list_set(c, &s, out, n);
	/* Only what cannot be an uplink has it: that is worth a word. */
	for (d = NULL; !s.n && *n < max && (d = linkmon_next(c->m, d));)
		if (same_mac(d, c->cfg->mac)) {
			struct choose_device *e = list_add(out, n, d, *n > 0);

			say_kind(d, e->why_not, sizeof(e->why_not));
		}
}

/* Fast: enslaved to the synthetic device, or with its address. */
static bool belongs_to(const struct chooser *c, const struct linkmon_dev *d, const struct linkmon_dev *synthetic)
{
	return d != synthetic && (d->master == synthetic->ifindex || same_mac(d, synthetic->mac)) && is_nic(c, d) &&
	       !is_synthetic(c, d);
}

static void list_pair(struct chooser *c, const struct linkmon_dev *synthetic, struct choose_device *out, unsigned *n,
		      unsigned max)
{
	struct set s = { .max = max - 1 };	/* it is listed, however many there are */
	const struct linkmon_dev *d = NULL;

	while ((d = linkmon_next(c->m, d)))
		if (belongs_to(c, d, synthetic))
			set_add(c, &s, d, false, d->master == synthetic->ifindex);
	s.max = max;
	set_add(c, &s, synthetic, true, false);
	list_set(c, &s, out, n);
}

/* Is the uplink now, or what belongs to it is. */
static bool pair_in_use(const struct chooser *c, const struct linkmon_dev *synthetic)
{
	const struct linkmon_dev *now = c->current ? linkmon_find(c->m, c->current) : NULL;

	return now && (now == synthetic || belongs_to(c, now, synthetic));
}

static void list_auto(struct chooser *c, struct choose_device *out, unsigned *n, unsigned max)
{
	const struct linkmon_dev *d = NULL, *only = NULL, *used = NULL;
	struct choose_device *e;
	unsigned fine = 0, i;

	while ((d = linkmon_next(c->m, d))) {
		if (!is_synthetic(c, d))
			continue;
		if (pair_in_use(c, d))
			used = d;
		if (*n == max)
			continue;
		e = list_add(out, n, d, true);
		check_routes(c, d, e->why_not, sizeof(e->why_not));
		if (!*e->why_not && !fine++)
			only = d;
	}
	if (used || fine == 1) {
		*n = 0;
		list_pair(c, used ? used : only, out, n, max);
		return;
	}
	for (i = 0; i < *n && fine > 1; i++)
		if (!*out[i].why_not)
			snprintf(out[i].why_not, sizeof(out[i].why_not),
				 "several synthetic devices: say which with --uplink mac=MAC");
}

/* Behind all others; where it is one of them, it moves there. */
static void list_standby(struct chooser *c, const struct linkmon_dev *standby, struct choose_device *out, unsigned *n)
{
	struct choose_device *e;
	unsigned i;

	for (i = 0; i < *n && out[i].ifindex != standby->ifindex; i++)
		;
	if (i < *n) {
		memmove(&out[i], &out[i + 1], (*n - i - 1) * sizeof(*out));
		(*n)--;
		if (!i && *n)
			out[0].standby = false;
	}
	e = list_add(out, n, standby, true);
	if (!is_nic(c, standby) && strcmp(standby->kind, "vlan"))
		say_kind(standby, e->why_not, sizeof(e->why_not));
	else
		check_routes(c, standby, e->why_not, sizeof(e->why_not));
}

unsigned choose_devices(const struct host_ops *host, const struct linkmon *m, const struct uplink_config *cfg, int current,
			struct choose_known *known, struct choose_device *out, unsigned max)
{
	static struct chooser c;	/* control thread only: large for a stack */
	const struct linkmon_dev *standby = find_standby(m, cfg, known);
	unsigned n = 0, room = max < CHOOSE_MAX ? max : CHOOSE_MAX;

	if (room < 2)
		return 0;
	memset(&c, 0, sizeof(c));
	c.host = host;
	c.m = m;
	c.cfg = cfg;
	c.current = current;
	if (standby)
		room--;
	switch (cfg->by) {
	case UPLINK_BY_NAME:
		list_named(&c, known, standby, out, &n);
		break;
	case UPLINK_BY_MAC:
		list_by_mac(&c, out, &n, room);
		break;
	case UPLINK_BY_AUTO:
		list_auto(&c, out, &n, room);
		break;
	}
	if (standby)
		list_standby(&c, standby, out, &n);
	return n;
}

int choose_best(const struct choose_device *list, unsigned n, int current)
{
	int first = -1, in_use = -1;
	unsigned i;

	for (i = 0; i < n; i++) {
		if (*list[i].why_not)
			continue;
		if (list[i].up)
			return (int)i;
		if (current && list[i].ifindex == current)
			in_use = (int)i;
		if (first < 0)
			first = (int)i;
	}
	return in_use >= 0 ? in_use : first;
}

/* Is the device in use to be thought of as up? */
static bool seems_up(struct choose_hold *hold, bool up, uint64_t now_ns)
{
	hold->was_up |= up;
	return up || (!hold->was_up && now_ns - hold->opened_ns < CHOOSE_SETTLE_NS);
}

int choose_move(const struct choose_device *list, unsigned n, int current, struct choose_hold *hold, uint64_t now_ns)
{
	const int best = choose_best(list, n, current);
	unsigned at = 0;
	bool up;

	while (at < n && list[at].ifindex != current)
		at++;
	up = seems_up(hold, at < n && list[at].up, now_ns);
	if (best < 0 || (unsigned)best == at || !list[best].up) {
		hold->better_ns = 0;
		return -1;
	}
	if (!up)
		return best;
	if ((unsigned)best > at)	/* it is best only as long as the one in use has not come up */
		return -1;
	if (!hold->better_ns)
		hold->better_ns = now_ns;
	return now_ns - hold->better_ns >= CHOOSE_BACK_NS ? best : -1;
}

static void nothing_there(const struct uplink_config *cfg, char *text, size_t len)
{
	const uint8_t *a = cfg->mac;
	char standby[40] = "";

	if (*cfg->standby)
		snprintf(standby, sizeof(standby), ", nor its standby %s", cfg->standby);
	switch (cfg->by) {
	case UPLINK_BY_NAME:
		snprintf(text, len, "no interface %s%s in this network namespace (ip link show)", cfg->ifname, standby);
		break;
	case UPLINK_BY_MAC:
		snprintf(text, len, "no interface with address %02x:%02x:%02x:%02x:%02x:%02x%s in this network namespace (ip link show)",
			 a[0], a[1], a[2], a[3], a[4], a[5], standby);
		break;
	case UPLINK_BY_AUTO:
		snprintf(text, len, "no synthetic network device (VMBus)%s in this network namespace: name the NIC with --uplink IFACE",
			 standby);
		break;
	}
}

void choose_explain(const struct uplink_config *cfg, const struct choose_device *list, unsigned n, char *text, size_t len)
{
	size_t at = 0;
	unsigned i;

	text[0] = '\0';
	if (!n)
		nothing_there(cfg, text, len);
	if (choose_best(list, n, 0) >= 0)
		return;
	/* Several may have one reason. */
	for (i = 0; i < n && at < len; i++)
		if (!i || strcmp(list[i].why_not, list[i - 1].why_not))
			at += (size_t)snprintf(text + at, len - at, "%s%s", at ? "; " : "", list[i].why_not);
}
