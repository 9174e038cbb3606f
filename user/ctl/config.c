/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two tables: options, and the keys of --port. Each entry has a function that
 * takes the value as text and either stores it or says what is wrong with it.
 */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/config.h"
#include "ctl/instance.h"
#include "ctl/names.h"

#define CPU_LIMIT 1024

/* What a value's function works on. */
struct target {
	struct config *c;
	struct port_config *port;	/* keys of --port only */
	const struct entry *list;	/* key of --port whose value goes on behind the comma */
	const char *what;		/* option or key, for messages */
	char *err;
	size_t errlen;
};

static int wrong(const struct target *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int wrong(const struct target *t, const char *fmt, ...)
{
	int n = snprintf(t->err, t->errlen, "%s: ", t->what);
	va_list ap;

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < t->errlen)
		vsnprintf(t->err + n, t->errlen - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int choose(const struct target *t, const char *v, const char *const *choices, const char *list)
{
	for (int i = 0; choices[i]; i++)
		if (!strcmp(v, choices[i]))
			return i;
	return wrong(t, "'%s' is not one of %s", v, list);
}

/* A decimal number from @min to @max, and nothing else. */
static int number(const struct target *t, const char *v, unsigned min, unsigned max, unsigned *out)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(v, &end, 10);
	if (!isdigit((unsigned char)*v) || *end || errno || n < min || n > max)
		return wrong(t, "'%s' is not a number from %u to %u", v, min, max);
	*out = (unsigned)n;
	return 0;
}

static bool plain_name(const char *v, size_t max)
{
	size_t len = strlen(v);

	return len && len <= max && *v != '.' &&
	       strspn(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

bool config_name_ok(const char *name)
{
	/* Part of a path under bpffs, which takes no dots. */
	return plain_name(name, sizeof(((struct uplink_config *)0)->name) - 1) && !strchr(name, '.');
}

/* ---- options ---- */

static int opt_uplink(struct target *t, const char *v)
{
	size_t len = strlen(v);

	if (!len || len >= IF_NAMESIZE || strpbrk(v, "/: \t\n"))
		return wrong(t, "'%s' is not an interface name: `ip link` lists them", v);
	memcpy(t->c->uplink.ifname, v, len + 1);
	return 0;
}

static int opt_name(struct target *t, const char *v)
{
	if (!config_name_ok(v))
		return wrong(t, "'%s' is not a name: use 1 to 63 letters, digits, '_', '-'", v);
	snprintf(t->c->uplink.name, sizeof(t->c->uplink.name), "%s", v);
	return 0;
}

static int opt_queues(struct target *t, const char *v)
{
	if (!strcmp(v, "all")) {
		t->c->uplink.queues = 0;
		return 0;
	}
	if (number(t, v, 1, VD_MAX_QUEUES, &t->c->uplink.queues))
		return wrong(t, "'%s' is neither 'all' nor a number from 1 to %u", v, VD_MAX_QUEUES);
	return 0;
}

static int opt_xdp_mode(struct target *t, const char *v)
{
	static const char *const choices[] = { [UPLINK_AUTO] = "auto", [UPLINK_ZEROCOPY] = "zerocopy",
					       [UPLINK_COPY] = "copy", [UPLINK_GENERIC] = "generic", NULL };
	int i = choose(t, v, choices, "auto, zerocopy, copy, generic");

	t->c->uplink.mode = (enum uplink_mode_wish)i;
	return i < 0 ? i : 0;
}

static int opt_xdp_attach(struct target *t, const char *v)
{
	static const char *const choices[] = { [UPLINK_ATTACH_LINK] = "link",
					       [UPLINK_ATTACH_DISPATCHER] = "dispatcher", NULL };
	int i = choose(t, v, choices, "link, dispatcher");

	t->c->uplink.attach = (enum uplink_attach)i;
	return i < 0 ? i : 0;
}

static int opt_wait(struct target *t, const char *v)
{
	static const char *const choices[] = { [WAIT_ADAPTIVE] = "adaptive", [WAIT_BUSY] = "busy",
					       [WAIT_INTERRUPT] = "interrupt", NULL };
	int i = choose(t, v, choices, "adaptive, busy, interrupt");

	t->c->wait = (enum wait_mode)i;
	return i < 0 ? i : 0;
}

static int opt_unknown(struct target *t, const char *v)
{
	static const char *const choices[] = { [VD_UNKNOWN_PASS] = "pass", [VD_UNKNOWN_DROP] = "drop",
					       [VD_UNKNOWN_GUEST] = "guest", NULL };
	int i = choose(t, v, choices, "pass, drop, guest");

	t->c->uplink.unknown = (enum vd_unknown)i;
	return i < 0 ? i : 0;
}

static int helper(struct target *t, const char *v, enum uplink_helper *out)
{
	static const char *const choices[] = { [UPLINK_HELPER_AUTO] = "auto", [UPLINK_HELPER_SOFTWARE] = "software",
					       [UPLINK_HELPER_DRIVER] = "driver", NULL };
	int i = choose(t, v, choices, "auto, software, driver");

	*out = (enum uplink_helper)i;
	return i < 0 ? i : 0;
}

static int opt_rx_hash(struct target *t, const char *v)
{
	return helper(t, v, &t->c->uplink.rx_hash);
}

static int opt_tx_checksum(struct target *t, const char *v)
{
	return helper(t, v, &t->c->uplink.tx_checksum);
}

static int opt_numa_node(struct target *t, const char *v)
{
	unsigned node;

	if (!strcmp(v, "auto")) {
		t->c->uplink.have_node = false;
		return 0;
	}
	if (number(t, v, 0, 1023, &node))
		return wrong(t, "'%s' is neither 'auto' nor a number from 0 to 1023", v);
	t->c->uplink.have_node = true;
	t->c->uplink.node = (int)node;
	return 0;
}

static int opt_log_level(struct target *t, const char *v)
{
	static const char *const choices[] = { [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn",
					       [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug", NULL };
	int i = choose(t, v, choices, "error, warn, info, debug");

	t->c->log_level = (enum log_level)i;
	return i < 0 ? i : 0;
}

/* "2" or "2-5" */
static int add_cpus(struct target *t, const char *part)
{
	unsigned long first = 0, last = 0;
	struct config *c = t->c;
	char *end = (char *)part;

	if (isdigit((unsigned char)*part))
		first = last = strtoul(part, &end, 10);
	if (end != part && *end == '-' && isdigit((unsigned char)end[1]))
		last = strtoul(end + 1, &end, 10);
	if (end == part || *end || last < first || last >= CPU_LIMIT)
		return wrong(t, "'%s' is not a CPU or a range of CPUs: write it like 0,2-3", part);
	for (unsigned long cpu = first; cpu <= last; cpu++) {
		for (unsigned i = 0; i < c->ncpus; i++)
			if (c->cpus[i] == (int)cpu)
				return wrong(t, "CPU %lu is given twice: each gets one worker", cpu);
		if (c->ncpus == CONFIG_CPUS)
			return wrong(t, "more than %u CPUs: one worker each is the most", CONFIG_CPUS);
		c->cpus[c->ncpus++] = (int)cpu;
	}
	return 0;
}

static int opt_cpus(struct target *t, const char *v)
{
	char *list = strdup(v), *rest = list, *part;
	int ret = 0;

	if (!list)
		return -ENOMEM;
	while (!ret && (part = strsep(&rest, ",")))
		ret = add_cpus(t, part);
	free(list);
	return ret;
}

/* ---- keys of --port ---- */

static int key_name(struct target *t, const char *v)
{
	if (!plain_name(v, sizeof(t->port->name) - 1))
		return wrong(t, "'%s' is not a name: use 1 to 31 letters, digits, '.', '_', '-'", v);
	snprintf(t->port->name, sizeof(t->port->name), "%s", v);
	return 0;
}

static int key_socket(struct target *t, const char *v)
{
	char dir[4096] = "", *to = t->port->socket;
	size_t room = sizeof(t->port->socket);

	if (!*v)
		return wrong(t, "an empty path: give one, for example socket=/run/vm0.sock");
	if (*v != '/' && (!getcwd(dir, sizeof(dir) - 1) || *dir != '/'))
		return wrong(t, "the working directory is gone: give a path that begins with '/'");
	if (*dir && strcmp(dir, "/"))
		strcat(dir, "/");
	if (strlen(dir) + strlen(v) >= room)
		return wrong(t, "'%s%s' is longer than %zu bytes, which is all a UNIX socket can have: use a shorter path",
			     dir, v, room - 1);
	to = stpcpy(to, dir);
	strcpy(to, v);
	return 0;
}

static int key_mode(struct target *t, const char *v)
{
	static const char *const choices[] = { [ENDPOINT_SERVER] = "server", [ENDPOINT_CLIENT] = "client", NULL };
	int i = choose(t, v, choices, "server, client");

	t->port->role = (enum endpoint_role)i;
	return i < 0 ? i : 0;
}

static int key_queues(struct target *t, const char *v)
{
	return number(t, v, 1, VD_MAX_PAIRS, &t->port->pairs);
}

static int key_mac(struct target *t, const char *v)
{
	uint8_t *m = t->port->mac[0];
	static const uint8_t zero[6];

	if (strlen(v) != 17)
		return wrong(t, "'%s' is not a MAC address: write it like 52:54:00:12:34:56", v);
	for (int i = 0; i < 6; i++) {
		const char *p = v + 3 * i;
		const char pair[3] = { p[0], p[1], 0 };

		if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]) || (p[2] != ':' && i < 5))
			return wrong(t, "'%s' is not a MAC address: write it like 52:54:00:12:34:56", v);
		m[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	if (m[0] & 1)
		return wrong(t, "'%s' is a multicast address: the second digit of a guest's own must be even", v);
	if (!memcmp(m, zero, 6))
		return wrong(t, "'%s' is no guest's address: give the one the guest uses", v);
	t->port->nmac = 1;
	return 0;
}

/* By name, or by number where there is no such name. */
static int find_id(const struct target *t, const char *v, bool group, unsigned *id)
{
	struct passwd *pw = group ? NULL : getpwnam(v);
	struct group *gr = group ? getgrnam(v) : NULL;

	if (pw)
		*id = pw->pw_uid;
	else if (gr)
		*id = gr->gr_gid;
	else if (!isdigit((unsigned char)*v) || number(t, v, 0, UINT32_MAX - 1, id))
		return wrong(t, "there is no %s '%s' on this machine: give the one QEMU runs as",
			     group ? "group" : "user", v);
	return 0;
}

static int key_owner(struct target *t, const char *v)
{
	char *user = strdup(v), *group;
	unsigned id;
	int ret;

	if (!user)
		return -ENOMEM;
	group = strchr(user, ':');
	if (group)
		*group++ = 0;
	ret = find_id(t, user, false, &id);
	if (!ret) {
		t->port->owner = id;
		if (group)
			ret = find_id(t, group, true, &id);
		if (!ret && group)
			t->port->group = id;
	}
	free(user);
	return ret;
}

static int key_perm(struct target *t, const char *v)
{
	size_t len = strlen(v);

	if (!len || len > 4 || strspn(v, "01234567") != len || strtoul(v, NULL, 8) > 0777)
		return wrong(t, "'%s' is not a file mode: write it in octal, like 0660", v);
	t->port->perm = (mode_t)strtoul(v, NULL, 8);
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
		if (names_feature[i] && !strcmp(name, names_feature[i]))
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
static int switch_feature(struct target *t, const char *v, uint64_t among, const char *list)
{
	const char *name = v + (*v == '-' || *v == '+');
	uint64_t bits = feature_bits(name, among);

	if (!bits)
		return wrong(t, "'%s' is not one of %s", name, list);
	if (*v == '-')
		t->port->without |= bits;
	else
		t->port->without &= ~prerequisites(bits);
	return 0;
}

static int key_features(struct target *t, const char *v)
{
	return switch_feature(t, v, PORT_FEATURES,
			      "packed, in_order, indirect, event_idx, mrg_rxbuf, mq, mtu, any_layout, version_1, "
			      "or an offload (with a '-' in front: not offered)");
}

static int key_offloads(struct target *t, const char *v)
{
	bool first = !t->list;

	t->port->without |= first && *v != '-' ? VNET_OFFLOADS : 0;	/* a list of what there is to be */
	if (!strcmp(v, "on") || !strcmp(v, "off")) {
		if (!first)
			return wrong(t, "'%s' stands alone", v);
		if (v[1] == 'n')
			t->port->without &= ~VNET_OFFLOADS;
		return 0;
	}
	return switch_feature(t, v, VNET_OFFLOADS,
			      "on, off, csum, tso, uso, guest_csum, guest_tso, guest_uso, host_tso4, host_tso6, host_ecn, "
			      "host_uso, guest_tso4, guest_tso6, guest_ecn, guest_uso4, guest_uso6");
}

/* ---- the tables ---- */

struct entry {
	const char *name;
	int (*set)(struct target *t, const char *v);
	bool list;	/* the value is a list: "key=a,b,c" */
};

static const struct entry keys[] = {
	{ "name", key_name, false },	     { "socket", key_socket, false },	  { "mode", key_mode, false },
	{ "queues", key_queues, false },     { "mac", key_mac, false },		  { "owner", key_owner, false },
	{ "perm", key_perm, false },	     { "offloads", key_offloads, true }, { "features", key_features, true },
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))
#define KEY_LIST "name, socket, mode, queues, mac, owner, perm, offloads, features"
enum { KEY_NAME = 1 << 0, KEY_SOCKET = 1 << 1, KEY_OWNER = 1 << 5, KEY_PERM = 1 << 6 };

static int opt_port(struct target *t, const char *v);

static const struct entry options[] = {
	{ "--uplink", opt_uplink, false },     { "--name", opt_name, false },
	{ "--queues", opt_queues, false },     { "--xdp-mode", opt_xdp_mode, false },
	{ "--xdp-attach", opt_xdp_attach, false }, { "--wait", opt_wait, false },
	{ "--cpus", opt_cpus, false },	       { "--unknown", opt_unknown, false },
	{ "--rx-hash", opt_rx_hash, false },   { "--tx-checksum", opt_tx_checksum, false },
	{ "--numa-node", opt_numa_node, false },
	{ "--log-level", opt_log_level, false }, { "--port", opt_port, false },
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))
#define OPTION_LIST                                                                                                  \
	"--uplink, --name, --queues, --xdp-mode, --xdp-attach, --wait, --cpus, --unknown, --rx-hash, "  \
	"--tx-checksum, --numa-node, --log-level, --port"

const char *config_help(void)
{
	return "  --uplink IFACE         the NIC; it stays with its kernel driver\n"
	       "  --port KEY=VALUE,...   a guest's attachment point:\n"
	       "      name=NAME            for status, logs and maps\n"
	       "      socket=PATH          vhost-user socket\n"
	       "      mode=server|client   who listens on it (server)\n"
	       "      queues=N             queue pairs offered, 1 to 128 (1)\n"
	       "      mac=MAC              the guest's address; without it addresses are learned\n"
	       "      owner=USER[:GROUP]   who owns the socket file: the user QEMU runs as\n"
	       "      perm=MODE            its mode in octal (0600)\n"
	       "      offloads=on|off|LIST what is done in software for the guest, like csum,tso or -uso (on)\n"
	       "      features=-NAME,...   virtio features not to offer, like -packed,-mrg_rxbuf\n"
	       "  --name NAME            of this instance (the interface's name)\n"
	       "  --queues N|all         NIC queues to serve (all)\n"
	       "  --xdp-mode MODE        auto, zerocopy, copy, generic (auto: the best that works)\n"
	       "  --xdp-attach HOW       link, dispatcher (link)\n"
	       "  --wait HOW             adaptive, busy, interrupt (adaptive)\n"
	       "  --cpus LIST            one worker thread per CPU, like 0,2-3 (one, unpinned)\n"
	       "  --unknown WHAT         unicast to an address nobody has: pass, drop, guest (pass)\n"
	       "  --rx-hash WHO          who computes the flow hash: auto, software, driver (auto)\n"
	       "  --tx-checksum WHO      who finishes checksums: auto, software, driver (auto)\n"
	       "  --numa-node N|auto     where frame buffers are (auto: near the workers' CPUs, else the NIC)\n"
	       "  --log-level LEVEL      error, warn, info, debug (info)\n";
}

/* One key=value of --port; @seen has a bit per key. */
static int port_key(struct target *t, char *pair, unsigned *seen)
{
	struct target k = *t;
	char *value = strchr(pair, '=');
	char what[48];

	if (!value && t->list) {
		snprintf(what, sizeof(what), "%s: %s", t->what, t->list->name);
		k.what = what;
		return t->list->set(&k, pair);
	}
	if (!value)
		return wrong(t, "'%s' is not KEY=VALUE; known keys: " KEY_LIST, pair);
	t->list = k.list = NULL;
	*value++ = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		if (strcmp(pair, keys[i].name))
			continue;
		snprintf(what, sizeof(what), "%s: %s", t->what, pair);
		k.what = what;
		if (*seen & 1u << i)
			return wrong(&k, "given twice: keep one");
		*seen |= 1u << i;
		t->list = keys[i].list ? &keys[i] : NULL;
		return keys[i].set(&k, value);
	}
	return wrong(t, "unknown key '%s'; known keys: " KEY_LIST, pair);
}

static int port_check(struct target *t, unsigned seen)
{
	if (!(seen & KEY_NAME))
		return wrong(t, "name is missing: add name=NAME");
	if (!(seen & KEY_SOCKET))
		return wrong(t, "socket is missing: add socket=PATH");
	if (t->port->role == ENDPOINT_CLIENT && seen & (KEY_OWNER | KEY_PERM))
		return wrong(t, "owner and perm are for sockets that viaduct makes: leave them out with mode=client");
	return 0;
}

static int opt_port(struct target *t, const char *v)
{
	struct config *c = t->c;
	char *list, *rest, *pair;
	unsigned seen = 0;
	int ret = 0;

	t->port = reallocarray(c->ports, c->nports + 1, sizeof(*c->ports));
	list = rest = strdup(v);
	if (t->port)
		c->ports = t->port;
	if (!t->port || !list) {
		free(list);
		return -ENOMEM;
	}
	t->port = &c->ports[c->nports++];
	t->list = NULL;
	*t->port = (struct port_config){ .pairs = 1, .owner = (uid_t)-1, .group = (gid_t)-1, .perm = 0600,
					 .storm = PORT_STORM };
	while (!ret && (pair = strsep(&rest, ",")))
		ret = port_key(t, pair, &seen);
	free(list);
	return ret ? ret : port_check(t, seen);
}

/* ---- the command line ---- */

/* Takes one option with its value; returns the number of arguments used. */
static int parse_option(struct target *t, int argc, char **argv, unsigned *seen)
{
	const char *value = strchr(argv[0], '=');
	size_t len = value ? (size_t)(value - argv[0]) : strlen(argv[0]);

	for (unsigned i = 0; i < OPTIONS; i++) {
		int ret;

		if (strlen(options[i].name) != len || strncmp(argv[0], options[i].name, len))
			continue;
		t->what = options[i].name;
		if (*seen & 1u << i && options[i].set != opt_port)
			return wrong(t, "given twice: keep one");
		*seen |= 1u << i;
		if (!value && argc < 2)
			return wrong(t, "a value is missing: see `viaduct help`");
		ret = options[i].set(t, value ? value + 1 : argv[1]);
		return ret ? ret : 1 + !value;
	}
	snprintf(t->err, t->errlen, "unknown %s '%.*s'; known options: " OPTION_LIST,
		 argv[0][0] == '-' ? "option" : "argument", (int)len, argv[0]);
	return -EINVAL;
}

static int check_all(struct target *t)
{
	struct config *c = t->c;
	char control[128];

	if (!*c->uplink.ifname) {
		snprintf(t->err, t->errlen, "--uplink is missing: name the NIC, for example --uplink eth1");
		return -EINVAL;
	}
	if (!c->nports) {
		snprintf(t->err, t->errlen,
			 "--port is missing: give one, for example --port name=vm0,socket=/run/vm0.sock");
		return -EINVAL;
	}
	if (c->nports > 1) {
		snprintf(t->err, t->errlen,
			 "--port: one port per bridge in this version; start a second viaduct on another uplink");
		return -EINVAL;
	}
	if (!*c->uplink.name) {
		t->what = "--name";
		if (!config_name_ok(c->uplink.ifname))
			return wrong(t, "the name of interface '%s' cannot be used as this instance's name: "
				     "give one with --name", c->uplink.ifname);
		memcpy(c->uplink.name, c->uplink.ifname, sizeof(c->uplink.ifname));
	}
	snprintf(control, sizeof(control), INSTANCE_DIR "/%s.sock", c->uplink.name);
	t->what = "--port: socket";
	if (!strcmp(c->ports[0].socket, control))
		return wrong(t, "'%s' is this instance's control socket: use another path", control);
	return 0;
}

int config_parse(int argc, char **argv, struct config *c, char *err, size_t errlen)
{
	struct target t = { .c = c, .err = err, .errlen = errlen };
	unsigned seen = 0;
	int ret = 0;

	*c = (struct config){ .log_level = LOG_LEVEL_INFO };
	for (int i = 0; i < argc && ret >= 0; i += ret)
		ret = parse_option(&t, argc - i, argv + i, &seen);
	if (ret >= 0)
		ret = check_all(&t);
	if (ret == -ENOMEM)
		snprintf(err, errlen, "out of memory");
	if (ret < 0)
		config_free(c);
	return ret < 0 ? ret : 0;
}

void config_free(struct config *c)
{
	free(c->ports);
	c->ports = NULL;
	c->nports = 0;
}
