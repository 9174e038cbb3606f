/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One table: the keys of a port. Each entry has a function that takes the
 * value as text and either stores it or says what is wrong with it. --port, the
 * configuration file and the control API all come here.
 */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/port_keys.h"
#include "vhost/bits.h"

#define MIN_RATE 8000			/* bits a second: one large frame takes more than a second below it */
#define MAX_RATE 1000000000000ull
#define MAX_PPS 1000000000u
#define VLAN_LAST 4094			/* 4095 is reserved */

static int key_name(struct port_keys *k, const struct parse *p, const char *v)
{
	if (!parse_plain_name(v, sizeof(k->port->name) - 1))
		return parse_wrong(p, "'%s' is not a name: use 1 to 31 letters, digits, '.', '_', '-'", v);
	snprintf(k->port->name, sizeof(k->port->name), "%s", v);
	return 0;
}

static int key_socket(struct port_keys *k, const struct parse *p, const char *v)
{
	char dir[4096] = "", *to = k->port->socket;
	size_t room = sizeof(k->port->socket);

	if (!*v)
		return parse_wrong(p, "an empty path: give one, for example socket=/run/vm0.sock");
	if (*v != '/' && k->absolute)
		return parse_wrong(p, "'%s' does not begin with '/': the running instance does not know your "
				      "working directory", v);
	if (*v != '/' && (!getcwd(dir, sizeof(dir) - 1) || *dir != '/'))
		return parse_wrong(p, "the working directory is gone: give a path that begins with '/'");
	if (*dir && strcmp(dir, "/"))
		strcat(dir, "/");
	if (strlen(dir) + strlen(v) >= room)
		return parse_wrong(p, "'%s%s' is longer than %zu bytes, which is all a UNIX socket can have: use a "
				      "shorter path", dir, v, room - 1);
	to = stpcpy(to, dir);
	strcpy(to, v);
	return 0;
}

static int key_mode(struct port_keys *k, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [ENDPOINT_SERVER] = "server", [ENDPOINT_CLIENT] = "client", NULL };
	int i = parse_choice(p, v, choices, "server, client");

	k->port->role = (enum endpoint_role)i;
	return i < 0 ? i : 0;
}

static int key_queues(struct port_keys *k, const struct parse *p, const char *v)
{
	return parse_number(p, v, 1, VD_MAX_PAIRS, &k->port->pairs);
}

static int read_mac(const struct parse *p, const char *v, uint8_t m[6])
{
	static const uint8_t zero[6];

	if (parse_mac(p, v, m))
		return -EINVAL;
	if (m[0] & 1)
		return parse_wrong(p, "'%s' is a multicast address: the second digit of a guest's own must be even", v);
	if (!memcmp(m, zero, 6))
		return parse_wrong(p, "'%s' is no guest's address: give the one the guest uses", v);
	return 0;
}

static int key_mac(struct port_keys *k, const struct parse *p, const char *v)
{
	struct port_config *c = k->port;
	uint8_t mac[6];
	int ret;

	if (k->first)
		c->nmac = 0;
	if (!strcmp(v, "auto")) {
		k->alone = true;
		return k->first ? 0 : parse_wrong(p, "'%s' stands alone", v);
	}
	ret = read_mac(p, v, mac);
	if (ret)
		return ret;
	for (unsigned i = 0; i < c->nmac; i++)
		if (!memcmp(c->mac[i], mac, 6))
			return parse_wrong(p, "'%s' is given twice", v);
	if (c->nmac == PORT_MACS)
		return parse_wrong(p, "more than %d addresses: without mac= as many are learned", PORT_MACS);
	memcpy(c->mac[c->nmac++], mac, 6);
	return 0;
}

static int key_mac_lock(struct port_keys *k, const struct parse *p, const char *v)
{
	return parse_on_off(p, v, &k->port->mac_lock);
}

static int key_isolated(struct port_keys *k, const struct parse *p, const char *v)
{
	return parse_on_off(p, v, &k->port->isolated);
}

static int key_vlan(struct port_keys *k, const struct parse *p, const char *v)
{
	unsigned n = 0;

	if (strcmp(v, "off") && parse_number(p, v, 1, VLAN_LAST, &n))
		return parse_wrong(p, "'%s' is neither 'off' nor a number from 1 to %u", v, VLAN_LAST);
	k->port->vlan = (uint16_t)n;
	return 0;
}

static bool in_trunk(const struct port_config *c, unsigned vlan)
{
	return c->trunk[vlan / 64] >> (vlan % 64) & 1;
}

static int key_trunk(struct port_keys *k, const struct parse *p, const char *v)
{
	struct port_config *c = k->port;
	unsigned first = 0, last = VLAN_LAST;

	if (k->first)
		memset(c->trunk, 0, sizeof(c->trunk));
	k->alone = !strcmp(v, "off") || !strcmp(v, "all");
	if (k->alone && !k->first)
		return parse_wrong(p, "'%s' stands alone", v);
	c->have_trunk = strcmp(v, "off");
	c->trunk_all = !strcmp(v, "all");
	if (k->alone)
		return 0;
	if (parse_range(v, VLAN_LAST, &first, &last))
		return parse_wrong(p, "'%s' is not a VLAN: write the list like 10,20-29 (0: untagged frames, at most "
				      "%u), or all, or off", v, VLAN_LAST);
	for (unsigned i = first; i <= last; i++)
		c->trunk[i / 64] |= 1ull << (i % 64);
	return 0;
}

static int key_storm(struct port_keys *k, const struct parse *p, const char *v)
{
	uint64_t n = 0;

	if (strcmp(v, "off") && (parse_amount(v, &n) || !n || n > MAX_PPS))
		return parse_wrong(p, "'%s' is neither 'off' nor a number of frames a second like 1000 or 20K", v);
	k->port->storm = (uint32_t)n;
	return 0;
}

static int read_bps(const struct parse *p, const char *v, uint64_t *out)
{
	uint64_t n = 0;

	if (strcmp(v, "off") && parse_amount(v, &n))
		return parse_wrong(p, "'%s' is neither 'off' nor a number of bits a second like 100M or 2.5G", v);
	if (n && n < MIN_RATE)
		return parse_wrong(p, "'%s' lets one large frame take more than a second: give at least 8K, or off "
				      "(bits a second; K, M and G stand for thousands)", v);
	if (n > MAX_RATE)
		return parse_wrong(p, "'%s' is more than 1000G, which no NIC has: say off", v);
	*out = n;
	return 0;
}

static int read_pps(const struct parse *p, const char *v, uint64_t *out)
{
	uint64_t n = 0;

	if (strcmp(v, "off") && (parse_amount(v, &n) || n > MAX_PPS))
		return parse_wrong(p, "'%s' is neither 'off' nor a number of frames a second like 100K or 1.5M", v);
	*out = n;
	return 0;
}

static int key_tx_rate(struct port_keys *k, const struct parse *p, const char *v)
{
	return read_bps(p, v, &k->port->tx_bps);
}

static int key_rx_rate(struct port_keys *k, const struct parse *p, const char *v)
{
	return read_bps(p, v, &k->port->rx_bps);
}

static int key_tx_pps(struct port_keys *k, const struct parse *p, const char *v)
{
	return read_pps(p, v, &k->port->tx_pps);
}

static int key_rx_pps(struct port_keys *k, const struct parse *p, const char *v)
{
	return read_pps(p, v, &k->port->rx_pps);
}

static int key_steering(struct port_keys *k, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [VD_STEER_AUTO] = "auto", [VD_STEER_HASH] = "hash", NULL };
	int i = parse_choice(p, v, choices, "auto, hash");

	if (i >= 0)
		k->port->steering = (enum vd_steer_mode)i;
	return i < 0 ? i : 0;
}

static int key_link(struct port_keys *k, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [PORT_LINK_FOLLOW] = "follow", [PORT_LINK_CLOSE] = "close",
					       [PORT_LINK_ALWAYS_UP] = "always-up", NULL };
	int i = parse_choice(p, v, choices, "follow, close, always-up");

	if (i >= 0)
		k->port->link = (enum port_link)i;
	return i < 0 ? i : 0;
}

static int key_qmp(struct port_keys *k, const struct parse *p, const char *v)
{
	if (!strcmp(v, "off"))
		v = "";
	else if (*v != '/')
		return parse_wrong(p, "'%s' is neither 'off' nor a path that begins with '/': give the one of QEMU's "
				      "-qmp unix:PATH,server=on,wait=off", v);
	if (strlen(v) >= sizeof(k->port->qmp))
		return parse_wrong(p, "'%s' is longer than %zu bytes, which is all a UNIX socket can have: use a "
				      "shorter path", v, sizeof(k->port->qmp) - 1);
	snprintf(k->port->qmp, sizeof(k->port->qmp), "%s", v);
	return 0;
}

/* As QEMU checks it (id_wellformed()). */
static int key_netdev(struct port_keys *k, const struct parse *p, const char *v)
{
	if (!strcmp(v, "off"))
		v = "";
	else if (!isalpha((unsigned char)*v) || !parse_plain_name(v, sizeof(k->port->netdev) - 1))
		return parse_wrong(p, "'%s' is neither 'off' nor an id of QEMU's: give the one of -netdev "
				      "vhost-user,id=ID, 63 characters at most", v);
	snprintf(k->port->netdev, sizeof(k->port->netdev), "%s", v);
	return 0;
}

/* By name, or by number where there is no such name. */
static int find_id(const struct parse *p, const char *v, bool group, unsigned *id)
{
	struct passwd *pw = group ? NULL : getpwnam(v);
	struct group *gr = group ? getgrnam(v) : NULL;

	if (pw)
		*id = pw->pw_uid;
	else if (gr)
		*id = gr->gr_gid;
	else if (!isdigit((unsigned char)*v) || parse_number(p, v, 0, UINT32_MAX - 1, id))
		return parse_wrong(p, "there is no %s '%s' on this machine: give the one QEMU runs as",
				   group ? "group" : "user", v);
	return 0;
}

static int key_owner(struct port_keys *k, const struct parse *p, const char *v)
{
	char *user = strdup(v), *group;
	unsigned id;
	int ret;

	if (!user)
		return -ENOMEM;
	group = strchr(user, ':');
	if (group)
		*group++ = 0;
	ret = find_id(p, user, false, &id);
	if (!ret) {
		k->port->owner = id;
		if (group)
			ret = find_id(p, group, true, &id);
		if (!ret && group)
			k->port->group = id;
	}
	free(user);
	return ret;
}

static int key_perm(struct port_keys *k, const struct parse *p, const char *v)
{
	size_t len = strlen(v);

	if (!len || len > 4 || strspn(v, "01234567") != len || strtoul(v, NULL, 8) > 0777)
		return parse_wrong(p, "'%s' is not a file mode: write it in octal, like 0660", v);
	k->port->perm = (mode_t)strtoul(v, NULL, 8);
	return 0;
}

/* Names that people use beside those of the specification, and groups. */
static const struct {
	const char *name;
	uint64_t bits;
} aliases[] = {
	{ "packed", VNET_BIT(VIRTIO_F_RING_PACKED) },
	{ "indirect", VNET_BIT(VIRTIO_RING_F_INDIRECT_DESC) },
	{ "tso", VNET_BIT(VIRTIO_NET_F_HOST_TSO4) | VNET_BIT(VIRTIO_NET_F_HOST_TSO6) | VNET_BIT(VIRTIO_NET_F_HOST_ECN) },
	{ "uso", VNET_BIT(VIRTIO_NET_F_HOST_USO) },
	{ "guest_tso", VNET_BIT(VIRTIO_NET_F_GUEST_TSO4) | VNET_BIT(VIRTIO_NET_F_GUEST_TSO6) |
			       VNET_BIT(VIRTIO_NET_F_GUEST_ECN) },
	{ "guest_uso", VNET_BIT(VIRTIO_NET_F_GUEST_USO4) | VNET_BIT(VIRTIO_NET_F_GUEST_USO6) },
};

/* Bits of a feature by its name, 0 = there is none that could be chosen. */
static uint64_t feature_bits(const char *name, uint64_t among)
{
	for (unsigned i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (!strcmp(name, aliases[i].name))
			return aliases[i].bits & among;
	for (unsigned i = 0; i < 64; i++)
		if (bits_feature[i] && !strcmp(name, bits_feature[i]))
			return VNET_BIT(i) & among;
	return 0;
}

/* What has to be there for @bits to count. */
static uint64_t prerequisites(uint64_t bits)
{
	if (bits & VNET_HOST_OFFLOADS)
		bits |= VNET_BIT(VIRTIO_NET_F_CSUM);
	if (bits & VNET_GUEST_OFFLOADS)
		bits |= VNET_BIT(VIRTIO_NET_F_GUEST_CSUM);
	return bits;
}

/* "-name" or "name", of the features @among. */
static int switch_feature(struct port_keys *k, const struct parse *p, const char *v, uint64_t among, const char *list)
{
	const char *name = v + (*v == '-' || *v == '+');
	uint64_t bits = feature_bits(name, among);

	if (!bits)
		return parse_wrong(p, "'%s' is not one of %s", name, list);
	if (*v == '-')
		k->port->without |= bits;
	else
		k->port->without &= ~prerequisites(bits);
	return 0;
}

static int key_features(struct port_keys *k, const struct parse *p, const char *v)
{
	return switch_feature(k, p, v, PORT_FEATURES,
			      "packed, in_order, indirect, event_idx, mrg_rxbuf, mq, mtu, status, speed_duplex, "
			      "guest_announce, any_layout, version_1, "
			      "or an offload (with a '-' in front: not offered)");
}

static int key_offloads(struct port_keys *k, const struct parse *p, const char *v)
{
	k->port->without |= k->first && *v != '-' ? VNET_OFFLOADS : 0;	/* a list of what there is to be */
	if (!strcmp(v, "on") || !strcmp(v, "off")) {
		if (!k->first)
			return parse_wrong(p, "'%s' stands alone", v);
		if (v[1] == 'n')
			k->port->without &= ~VNET_OFFLOADS;
		return 0;
	}
	return switch_feature(k, p, v, VNET_OFFLOADS,
			      "on, off, csum, tso, uso, guest_csum, guest_tso, guest_uso, host_tso4, host_tso6, host_ecn, "
			      "host_uso, guest_tso4, guest_tso6, guest_ecn, guest_uso4, guest_uso6");
}

/* ---- the table ---- */

enum { LIST = 1, LIVE = 2 };	/* "key=a,b,c"; may change while the port runs */

struct key {
	const char *name;
	int (*set)(struct port_keys *k, const struct parse *p, const char *v);
	unsigned kind;
};

static const struct key keys[] = {
	{ "name", key_name, 0 },
	{ "socket", key_socket, 0 },
	{ "mode", key_mode, 0 },
	{ "queues", key_queues, 0 },
	{ "mac", key_mac, LIST | LIVE },
	{ "mac-lock", key_mac_lock, LIVE },
	{ "isolated", key_isolated, LIVE },
	{ "vlan", key_vlan, LIVE },
	{ "trunk", key_trunk, LIST | LIVE },
	{ "storm", key_storm, LIVE },
	{ "tx-rate", key_tx_rate, LIVE },
	{ "rx-rate", key_rx_rate, LIVE },
	{ "tx-pps", key_tx_pps, LIVE },
	{ "rx-pps", key_rx_pps, LIVE },
	{ "steering", key_steering, LIVE },
	{ "link", key_link, LIVE },
	{ "qmp", key_qmp, LIVE },
	{ "netdev", key_netdev, LIVE },
	{ "owner", key_owner, 0 },
	{ "perm", key_perm, 0 },
	{ "offloads", key_offloads, LIST },
	{ "features", key_features, LIST },
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const char *known(bool live, char *text, size_t len)
{
	size_t n = 0;

	*text = 0;
	for (unsigned i = 0; i < KEYS; i++)
		if (n < len && (!live || keys[i].kind & LIVE))
			n += (size_t)snprintf(text + n, len - n, "%s%s", n ? ", " : "", keys[i].name);
	return text;
}

static bool was_given(const struct port_keys *k, const char *name)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (!strcmp(name, keys[i].name))
			return k->seen >> i & 1;
	return false;
}

const char *port_keys_help(void)
{
	return "      name=NAME            for status, logs and maps\n"
	       "      socket=PATH          vhost-user socket\n"
	       "      mode=server|client   who listens on it (server)\n"
	       "      queues=N             queue pairs offered, 1 to 128 (1)\n"
	       "      mac=MAC,...|auto     the guest's addresses; auto: they are learned (auto)\n"
	       "      mac-lock=on|off      it sends from these only; needs mac= (off)\n"
	       "      isolated=on|off      reaches the uplink, but neither other guests nor the host (off)\n"
	       "      vlan=N|off           its untagged frames are in this VLAN on the wire (off)\n"
	       "      trunk=LIST|all|off   tagged frames of these VLANs pass, like 10,20-29; 0: untagged ones (off)\n"
	       "      storm=N|off          broadcasts and multicasts a second that it may send (20000)\n"
	       "      tx-rate=R|off        bits a second that it may send, like 100M or 2.5G (off)\n"
	       "      rx-rate=R|off        bits a second that it may receive (off)\n"
	       "      tx-pps=N|off         frames a second that it may send, like 100K (off)\n"
	       "      rx-pps=N|off         frames a second that it may receive (off)\n"
	       "      steering=auto|hash   a flow's queue pair: as the guest sends it, or by hash only (auto)\n"
	       "      link=follow|close|always-up  what it learns of the uplink's carrier (follow)\n"
	       "      qmp=PATH|off         QEMU's monitor (-qmp unix:PATH,server=on,wait=off), to set its link (off)\n"
	       "      netdev=ID|off        QEMU's id of the port's -netdev (off: it is asked for)\n"
	       "      owner=USER[:GROUP]   who owns the socket file: the user QEMU runs as\n"
	       "      perm=MODE            its mode in octal (0600)\n"
	       "      offloads=on|off|LIST what is done in software for the guest, like csum,tso or -uso (on)\n"
	       "      features=-NAME,...   virtio features not to offer, like -packed,-mrg_rxbuf\n";
}

/* ---- one port ---- */

void port_keys_start(struct port_keys *k, struct port_config *port)
{
	*port = (struct port_config){ .pairs = 1, .owner = (uid_t)-1, .group = (gid_t)-1, .perm = 0600,
				      .storm = PORT_STORM };
	*k = (struct port_keys){ .port = port };
}

/* One value, or one of a list. */
static int set_one(struct port_keys *k, const struct parse *place, const struct key *key, const char *v)
{
	struct parse p = *place;
	int ret;

	p.what = key->name;
	if (!k->first && k->alone)
		return parse_wrong(&p, "'%s' stands behind a word that stands alone", v);
	ret = key->set(k, &p, v);
	k->first = false;
	return ret;
}

static int begin(struct port_keys *k, const struct parse *place, const char *name, const char *value)
{
	struct parse p = *place;
	char list[256];

	k->list = NULL;
	for (unsigned i = 0; i < KEYS; i++) {
		if (strcmp(name, keys[i].name))
			continue;
		p.what = name;
		if (k->seen & 1u << i)
			return parse_wrong(&p, "given twice: keep one");
		k->seen |= 1u << i;
		if (k->live && !(keys[i].kind & LIVE))
			return parse_wrong(&p, "cannot change while the port is there: use `viaduct port del` and "
					       "`viaduct port add`");
		k->first = true;
		k->alone = false;
		k->list = keys[i].kind & LIST ? &keys[i] : NULL;
		return k->list && !value ? 0 : set_one(k, place, &keys[i], value);
	}
	return parse_wrong(place, "unknown key '%s'; known keys: %s", name, known(k->live, list, sizeof(list)));
}

int port_keys_set(struct port_keys *k, const struct parse *p, const char *name, const char *value)
{
	bool list = false;

	for (unsigned i = 0; i < KEYS; i++)
		list |= keys[i].kind & LIST && !strcmp(name, keys[i].name);
	if (!list)
		return begin(k, p, name, value);
	return begin(k, p, name, NULL) ?: port_keys_more(k, p, value);
}

int port_keys_more(struct port_keys *k, const struct parse *p, const char *values)
{
	char *copy, *rest, *v;
	size_t len;
	int ret = 0;

	if (!k->list)
		return parse_wrong(p, "'%s' is not KEY=VALUE, and what is before it is not a list", values);
	copy = rest = strdup(values);
	if (!copy)
		return -ENOMEM;
	len = strlen(copy);
	if (len && copy[len - 1] == ',')
		copy[len - 1] = 0;	/* goes on in the next line */
	while (!ret && (v = strsep(&rest, ","))) {
		char *end = v + strlen(v);

		v += strspn(v, " \t");
		while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
			*--end = 0;
		ret = set_one(k, p, k->list, v);
	}
	free(copy);
	return ret;
}

/* The items between the commas of --port: KEY=VALUE, or what a list goes on with. */
static int read_items(struct port_keys *k, const struct parse *p, const char *text)
{
	char *copy = strdup(text), *rest = copy, *item, list[256];
	int ret = 0;

	if (!copy)
		return -ENOMEM;
	while (!ret && (item = strsep(&rest, ","))) {
		char *value = strchr(item, '=');

		if (value) {
			*value++ = 0;
			ret = begin(k, p, item, value);
		} else if (k->list) {
			ret = set_one(k, p, k->list, item);
		} else {
			ret = parse_wrong(p, "'%s' is not KEY=VALUE; known keys: %s", item,
					  known(k->live, list, sizeof(list)));
		}
	}
	free(copy);
	return ret;
}

static int check_vlans(const struct parse *p, struct port_config *c)
{
	if (c->trunk_all) {
		for (unsigned i = 0; i <= VLAN_LAST; i++)
			c->trunk[i / 64] |= 1ull << (i % 64);
		if (c->vlan) {
			c->trunk[0] &= ~1ull;
			c->trunk[c->vlan / 64] &= ~(1ull << (c->vlan % 64));
		}
		return 0;
	}
	if (!c->have_trunk || !c->vlan)
		return 0;
	if (in_trunk(c, c->vlan))
		return parse_wrong(p, "VLAN %u is in vlan= and in trunk=: its frames cannot have a tag in the guest and "
				      "none; leave it out of one", c->vlan);
	if (in_trunk(c, 0))
		return parse_wrong(p, "0 is in trunk=, but with vlan= untagged frames are in VLAN %u: leave out one",
				   c->vlan);
	return 0;
}

int port_keys_end(struct port_keys *k, const struct parse *p)
{
	struct port_config *c = k->port;

	if (!*c->name)
		return parse_wrong(p, "name is missing: add name=NAME");
	if (!*c->socket)
		return parse_wrong(p, "socket is missing: add socket=PATH");
	if (c->role == ENDPOINT_CLIENT && (was_given(k, "owner") || was_given(k, "perm")))
		return parse_wrong(p, "owner and perm are for sockets that viaduct makes: leave them out with "
				      "mode=client");
	if (c->mac_lock && !c->nmac)
		return parse_wrong(p, "mac-lock=on needs mac=: give the addresses that the guest may send from");
	if (*c->netdev && !*c->qmp)
		return parse_wrong(p, "netdev= needs qmp=: give the path of QEMU's monitor");
	if (!strcmp(c->qmp, c->socket))
		return parse_wrong(p, "qmp= and socket= are the same path: the monitor has a socket of its own");
	return check_vlans(p, c);
}

int port_keys_parse(const struct parse *p, const char *text, bool absolute, struct port_config *port)
{
	struct port_keys k;

	port_keys_start(&k, port);
	k.absolute = absolute;
	return read_items(&k, p, text) ?: port_keys_end(&k, p);
}

int port_keys_change(const struct parse *p, const char *text, struct port_config *port)
{
	struct port_keys k = { .port = port, .live = true };

	return read_items(&k, p, text) ?: port_keys_end(&k, p);
}

void port_trunk_text(const struct port_config *c, char *text, size_t len)
{
	size_t n = 0;

	snprintf(text, len, "%s", c->trunk_all ? "all" : "");
	for (unsigned v = 0; c->have_trunk && !c->trunk_all && v <= VLAN_LAST; v++) {
		unsigned first = v;

		if (!in_trunk(c, v))
			continue;
		while (v < VLAN_LAST && in_trunk(c, v + 1))
			v++;
		if (n < len)
			n += (size_t)snprintf(text + n, len - n, v > first ? "%s%u-%u" : "%s%u", n ? "," : "", first, v);
	}
}
