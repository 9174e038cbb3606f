/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One table: the options. Each entry has a function that takes the value as
 * text and either stores it or says what is wrong with it. The section [uplink]
 * of the configuration file has the same entries.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/config.h"
#include "ctl/config_file.h"
#include "ctl/instance.h"
#include "ctl/port_keys.h"

#define CPU_LIMIT 1024
#define AGING_DEFAULT 300
#define AGING_MAX 1000000	/* seconds */

bool config_name_ok(const char *name)
{
	/* Part of a path under bpffs, which takes no dots. */
	return parse_plain_name(name, sizeof(((struct uplink_config *)0)->name) - 1) && !strchr(name, '.');
}

/* ---- options ---- */

static int interface(const struct parse *p, const char *v, char out[IF_NAMESIZE])
{
	size_t len = strlen(v);

	if (!len || len >= IF_NAMESIZE || strpbrk(v, "/: \t\n"))
		return parse_wrong(p, "'%s' is not an interface name: `ip link` lists them", v);
	memcpy(out, v, len + 1);
	return 0;
}

static int uplink_by_mac(struct uplink_config *u, const struct parse *p, const char *v)
{
	static const uint8_t zero[6];

	u->by = UPLINK_BY_MAC;
	if (parse_mac(p, v, u->mac))
		return -EINVAL;
	if ((u->mac[0] & 1) || !memcmp(u->mac, zero, 6))
		return parse_wrong(p, "mac=%s is no device's address: `ip link` shows them", v);
	return 0;
}

static int opt_uplink(struct config *c, const struct parse *p, const char *v)
{
	struct uplink_config *u = &c->uplink;

	/* The command line replaces what the file says, however that names the device. */
	memset(u->mac, 0, sizeof(u->mac));
	u->ifname[0] = 0;
	if (!strncmp(v, "mac=", 4))
		return uplink_by_mac(u, p, v + 4);
	if (!strcmp(v, "auto")) {
		u->by = UPLINK_BY_AUTO;
		return 0;
	}
	u->by = UPLINK_BY_NAME;
	return interface(p, v, u->ifname);
}

static int opt_standby(struct config *c, const struct parse *p, const char *v)
{
	return interface(p, v, c->uplink.standby);
}

static int opt_force(struct config *c, const struct parse *p, const char *v)
{
	return parse_on_off(p, v, &c->uplink.force);
}

static int opt_name(struct config *c, const struct parse *p, const char *v)
{
	if (!config_name_ok(v))
		return parse_wrong(p, "'%s' is not a name: use 1 to 63 letters, digits, '_', '-'", v);
	snprintf(c->uplink.name, sizeof(c->uplink.name), "%s", v);
	return 0;
}

static int opt_queues(struct config *c, const struct parse *p, const char *v)
{
	if (!strcmp(v, "all")) {
		c->uplink.queues = 0;
		return 0;
	}
	if (parse_number(p, v, 1, VD_MAX_QUEUES, &c->uplink.queues))
		return parse_wrong(p, "'%s' is neither 'all' nor a number from 1 to %u", v, VD_MAX_QUEUES);
	return 0;
}

static int opt_xdp_mode(struct config *c, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [UPLINK_AUTO] = "auto", [UPLINK_ZEROCOPY] = "zerocopy",
					       [UPLINK_COPY] = "copy", [UPLINK_GENERIC] = "generic", NULL };
	int i = parse_choice(p, v, choices, "auto, zerocopy, copy, generic");

	c->uplink.mode = (enum uplink_mode_wish)i;
	return i < 0 ? i : 0;
}

static int opt_xdp_attach(struct config *c, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [UPLINK_ATTACH_LINK] = "link",
					       [UPLINK_ATTACH_DISPATCHER] = "dispatcher", NULL };
	int i = parse_choice(p, v, choices, "link, dispatcher");

	c->uplink.attach = (enum uplink_attach)i;
	return i < 0 ? i : 0;
}

static int opt_wait(struct config *c, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [WAIT_ADAPTIVE] = "adaptive", [WAIT_BUSY] = "busy",
					       [WAIT_INTERRUPT] = "interrupt", NULL };
	int i = parse_choice(p, v, choices, "adaptive, busy, interrupt");

	c->wait = (enum wait_mode)i;
	return i < 0 ? i : 0;
}

static int opt_unknown(struct config *c, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [VD_UNKNOWN_PASS] = "pass", [VD_UNKNOWN_DROP] = "drop",
					       [VD_UNKNOWN_GUEST] = "guest", NULL };
	bool named = !strncmp(v, "guest=", 6);
	int i = parse_choice(p, named ? "guest" : v, choices, "pass, drop, guest, guest=NAME");

	if (i < 0)
		return i;
	if (named && !parse_plain_name(v + 6, sizeof(c->unknown_port) - 1))
		return parse_wrong(p, "'%s' is no port's name: give one as in guest=vm0", v + 6);
	c->uplink.unknown = (enum vd_unknown)i;
	snprintf(c->unknown_port, sizeof(c->unknown_port), "%s", named ? v + 6 : "");
	return 0;
}

static int helper(const struct parse *p, const char *v, enum uplink_helper *out)
{
	static const char *const choices[] = { [UPLINK_HELPER_AUTO] = "auto", [UPLINK_HELPER_SOFTWARE] = "software",
					       [UPLINK_HELPER_DRIVER] = "driver", NULL };
	int i = parse_choice(p, v, choices, "auto, software, driver");

	*out = (enum uplink_helper)i;
	return i < 0 ? i : 0;
}

static int opt_rx_hash(struct config *c, const struct parse *p, const char *v)
{
	return helper(p, v, &c->uplink.rx_hash);
}

static int opt_tx_checksum(struct config *c, const struct parse *p, const char *v)
{
	return helper(p, v, &c->uplink.tx_checksum);
}

static int opt_numa_node(struct config *c, const struct parse *p, const char *v)
{
	unsigned node;

	if (!strcmp(v, "auto")) {
		c->uplink.have_node = false;
		return 0;
	}
	if (parse_number(p, v, 0, 1023, &node))
		return parse_wrong(p, "'%s' is neither 'auto' nor a number from 0 to 1023", v);
	c->uplink.have_node = true;
	c->uplink.node = (int)node;
	return 0;
}

static int opt_log_level(struct config *c, const struct parse *p, const char *v)
{
	static const char *const choices[] = { [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn",
					       [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug", NULL };
	int i = parse_choice(p, v, choices, "error, warn, info, debug");

	c->log_level = (enum log_level)i;
	return i < 0 ? i : 0;
}

/* "2" or "2-5" */
static int add_cpus(struct config *c, const struct parse *p, const char *part)
{
	unsigned first = 0, last = 0;

	if (parse_range(part, CPU_LIMIT - 1, &first, &last))
		return parse_wrong(p, "'%s' is not a CPU or a range of CPUs: write it like 0,2-3", part);
	for (unsigned cpu = first; cpu <= last; cpu++) {
		for (unsigned i = 0; i < c->ncpus; i++)
			if (c->cpus[i] == (int)cpu)
				return parse_wrong(p, "CPU %u is given twice: each gets one worker", cpu);
		if (c->ncpus == CONFIG_CPUS)
			return parse_wrong(p, "more than %u CPUs: one worker each is the most", CONFIG_CPUS);
		c->cpus[c->ncpus++] = (int)cpu;
	}
	return 0;
}

static int opt_cpus(struct config *c, const struct parse *p, const char *v)
{
	char *list = strdup(v), *rest = list, *part;
	int ret = 0;

	if (!list)
		return -ENOMEM;
	c->ncpus = 0;	/* the command line replaces what the file says */
	while (!ret && (part = strsep(&rest, ",")))
		ret = add_cpus(c, p, part);
	free(list);
	return ret;
}

static int opt_set_channels(struct config *c, const struct parse *p, const char *v)
{
	return parse_number(p, v, 1, VD_MAX_QUEUES, &c->uplink.set_channels);
}

static int opt_hw_steer(struct config *c, const struct parse *p, const char *v)
{
	return parse_on_off(p, v, &c->uplink.hw_steer);
}

static int opt_busy_poll(struct config *c, const struct parse *p, const char *v)
{
	return parse_on_off(p, v, &c->uplink.busy_poll);
}

static int opt_host_port(struct config *c, const struct parse *p, const char *v)
{
	return parse_on_off(p, v, &c->host_port);
}

static int opt_aging(struct config *c, const struct parse *p, const char *v)
{
	return parse_number(p, v, 0, AGING_MAX, &c->aging_s);
}

/* ---- the table ---- */

static const struct {
	const char *name;
	int (*set)(struct config *c, const struct parse *p, const char *v);
} options[] = {
	{ "uplink", opt_uplink },	    { "standby", opt_standby },
	{ "force", opt_force },		    { "name", opt_name },
	{ "queues", opt_queues },	    { "set-channels", opt_set_channels },
	{ "xdp-mode", opt_xdp_mode },	    { "xdp-attach", opt_xdp_attach },
	{ "wait", opt_wait },		    { "cpus", opt_cpus },
	{ "busy-poll", opt_busy_poll },	    { "hw-steer", opt_hw_steer },
	{ "unknown", opt_unknown },	    { "aging", opt_aging },
	{ "host-port", opt_host_port },	    { "rx-hash", opt_rx_hash },
	{ "tx-checksum", opt_tx_checksum }, { "numa-node", opt_numa_node },
	{ "log-level", opt_log_level },
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

void config_help(FILE *f)
{
	fprintf(f,
		"  --uplink IFACE         the NIC; it stays with its kernel driver\n"
		"           mac=MAC       the best device of those with this address\n"
		"           auto          the one synthetic device of a hypervisor, or the fast one behind it\n"
		"  --standby IFACE        used while the uplink's own devices are away or down (none)\n"
		"  --force on|off         also a device that is not named and that the host routes through (off)\n"
		"  --config FILE          options and ports from a file: [uplink], [port NAME], KEY = VALUE;\n"
		"                         the command line's options come first, its ports are added\n"
		"  --port KEY=VALUE,...   a guest's attachment point, any number of them:\n%s"
		"  --name NAME            of this instance (the interface's name, mac-AABBCCDDEEFF or auto)\n"
		"  --queues N|all         NIC queues to serve (all)\n"
		"  --set-channels N       give the NIC as many queues, until the end\n"
		"  --xdp-mode MODE        auto, zerocopy, copy, generic (auto: the best that works)\n"
		"  --xdp-attach HOW       link, dispatcher (link)\n"
		"  --wait HOW             adaptive, busy, interrupt (adaptive)\n"
		"  --cpus LIST            one worker thread per CPU, like 0,2-3 (one, unpinned)\n"
		"  --busy-poll on|off     workers drive the NIC instead of its interrupts (off)\n"
		"  --hw-steer on|off      a guest gets NIC queues of its own where the NIC takes rules (off)\n"
		"  --unknown WHAT         unicast to an address nobody has: pass, drop, guest, guest=PORT (pass)\n"
		"  --aging SECONDS        learned addresses that are silent go; 0: never (300)\n"
		"  --host-port on|off     guests and the host reach each other on this NIC (on)\n"
		"  --rx-hash WHO          who computes the flow hash: auto, software, driver (auto)\n"
		"  --tx-checksum WHO      who finishes checksums: auto, software, driver (auto)\n"
		"  --numa-node N|auto     where frame buffers are (auto: near the workers' CPUs, else the NIC)\n"
		"  --log-level LEVEL      error, warn, info, debug (info)\n", port_keys_help());
}

int config_option(struct config *c, const struct parse *p, const char *name, const char *value, unsigned *seen)
{
	for (unsigned i = 0; i < OPTIONS; i++) {
		if (strcmp(name, options[i].name))
			continue;
		if (*seen & 1u << i)
			return parse_wrong(p, "given twice: keep one");
		*seen |= 1u << i;
		if (!value)
			return parse_wrong(p, "a value is missing: see `viaduct help`");
		return options[i].set(c, p, value);
	}
	return -ENOENT;
}

const char *config_option_list(const char *before, char *text, size_t len)
{
	size_t n = 0;

	*text = 0;
	for (unsigned i = 0; i < OPTIONS; i++)
		if (n < len)
			n += (size_t)snprintf(text + n, len - n, "%s%s%s", n ? ", " : "", before, options[i].name);
	return text;
}

/* ---- ports ---- */

/* The VLAN under which a port's addresses are found; 0 = any. */
static unsigned vlan_of_addresses(const struct port_config *port)
{
	return port->have_trunk ? 0 : port->vlan;
}

/* An address is one port's, within a VLAN. */
static int check_addresses(const struct parse *p, const struct port_config *a, const struct port_config *b)
{
	for (unsigned i = 0; i < a->nmac; i++) {
		const uint8_t *m = a->mac[i];

		for (unsigned j = 0; j < b->nmac; j++)
			if (!memcmp(m, b->mac[j], 6) && vlan_of_addresses(a) == vlan_of_addresses(b))
				return parse_wrong(p, "mac: %02x:%02x:%02x:%02x:%02x:%02x is port %s's already: give "
						      "each port its own", m[0], m[1], m[2], m[3], m[4], m[5], b->name);
	}
	return 0;
}

int config_add_port(struct config *c, const struct parse *p, const struct port_config *port)
{
	struct port_config *more;
	int ret = 0;

	if (c->nports == VD_MAX_PORTS)
		return parse_wrong(p, "more than %d ports: start a second viaduct on another uplink", VD_MAX_PORTS);
	for (unsigned i = 0; i < c->nports && !ret; i++) {
		if (!strcmp(c->ports[i].name, port->name))
			return parse_wrong(p, "there is a port named %s already: give each its own name", port->name);
		if (!strcmp(c->ports[i].socket, port->socket))
			return parse_wrong(p, "socket: %s is port %s's already: give each port its own", port->socket,
					   c->ports[i].name);
		ret = check_addresses(p, port, &c->ports[i]);
	}
	if (ret)
		return ret;
	more = reallocarray(c->ports, c->nports + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	c->ports = more;
	c->ports[c->nports++] = *port;
	return 0;
}

int config_check_socket(const struct parse *p, const char *instance, const struct port_config *port)
{
	char control[128];

	snprintf(control, sizeof(control), INSTANCE_DIR "/%s.sock", instance);
	if (!strcmp(port->socket, control))
		return parse_wrong(p, "socket: '%s' is this instance's control socket: use another path", control);
	return 0;
}

/* ---- the command line ---- */

static int add_port(struct config *c, const struct parse *p, const char *v)
{
	const struct parse port = { .where = p->what, .err = p->err, .errlen = p->errlen };
	struct port_config cfg;
	int ret;

	if (!v)
		return parse_wrong(p, "a value is missing: see `viaduct help`");
	ret = port_keys_parse(&port, v, false, &cfg);
	return ret ? ret : config_add_port(c, &port, &cfg);
}

/* Takes one option with its value; returns the number of arguments used. */
static int parse_option(struct config *c, const struct parse *p, int argc, char **argv, unsigned *seen)
{
	const char *equals = strchr(argv[0], '='), *value = equals ? equals + 1 : argc > 1 ? argv[1] : NULL;
	size_t len = equals ? (size_t)(equals - argv[0]) : strlen(argv[0]);
	struct parse here = *p;
	char option[32] = "", list[512];
	int ret = -ENOENT;

	if (len < sizeof(option))
		memcpy(option, argv[0], len);
	here.what = option;
	if (!strcmp(option, "--port"))
		ret = add_port(c, &here, value);
	else if (!strcmp(option, "--config"))
		ret = 0;	/* was read before */
	else if (!strncmp(option, "--", 2))
		ret = config_option(c, &here, option + 2, value, seen);
	if (ret == -ENOENT)
		return parse_wrong(p, "unknown %s '%.*s'; known options: --config, --port, %s",
				   argv[0][0] == '-' ? "option" : "argument", (int)len, argv[0],
				   config_option_list("--", list, sizeof(list)));
	return ret ? ret : 1 + !equals;
}

/* --config comes before all others, wherever it stands. */
static int read_file(struct config *c, const struct parse *p, int argc, char **argv)
{
	struct parse here = *p;
	const char *file = NULL;

	here.what = "--config";
	for (int i = 0; i < argc; i += strchr(argv[i], '=') ? 1 : 2) {
		const char *value = NULL;

		if (!strncmp(argv[i], "--config=", 9))
			value = argv[i] + 9;
		else if (strcmp(argv[i], "--config"))
			continue;
		else if (i + 1 == argc)
			return parse_wrong(&here, "a value is missing: see `viaduct help`");
		else
			value = argv[i + 1];
		if (file)
			return parse_wrong(&here, "given twice: keep one");
		file = value;
	}
	return file ? config_file_read(c, file, p->err, p->errlen) : 0;
}

static int default_name(struct uplink_config *u)
{
	const uint8_t *m = u->mac;

	switch (u->by) {
	case UPLINK_BY_MAC:
		snprintf(u->name, sizeof(u->name), "mac-%02x%02x%02x%02x%02x%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
		return 0;
	case UPLINK_BY_AUTO:
		snprintf(u->name, sizeof(u->name), "auto");
		return 0;
	case UPLINK_BY_NAME:
		break;
	}
	if (!config_name_ok(u->ifname))
		return -EINVAL;
	snprintf(u->name, sizeof(u->name), "%s", u->ifname);
	return 0;
}

static int check_all(struct config *c, const struct parse *p)
{
	struct parse here = *p;
	int ret = 0;

	if (c->uplink.by == UPLINK_BY_NAME && !*c->uplink.ifname)
		return parse_wrong(p, "--uplink is missing: name the NIC, for example --uplink eth1 (or interface = eth1 "
				      "in the file of --config)");
	here.what = "--standby";
	if (*c->uplink.standby && !strcmp(c->uplink.standby, c->uplink.ifname))
		return parse_wrong(&here, "%s is the uplink itself: name another interface", c->uplink.standby);
	here.what = "--xdp-attach";
	if (c->uplink.attach == UPLINK_ATTACH_DISPATCHER && uplink_has_several(&c->uplink))
		return parse_wrong(&here, "dispatcher stays on the one device that --uplink IFACE names: leave out --standby, "
				      "mac= and auto, or give link");
	here.what = "--name";
	if (!*c->uplink.name && default_name(&c->uplink))
		return parse_wrong(&here, "the name of interface '%s' cannot be used as this instance's name: "
					  "give one with --name", c->uplink.ifname);
	here.what = "--port";
	for (unsigned i = 0; i < c->nports && !ret; i++)
		ret = config_check_socket(&here, c->uplink.name, &c->ports[i]);
	return ret;
}

int config_parse(int argc, char **argv, struct config *c, char *err, size_t errlen)
{
	const struct parse p = { .err = err, .errlen = errlen };
	unsigned seen = 0;
	int ret;

	*c = (struct config){ .log_level = LOG_LEVEL_INFO, .host_port = true, .aging_s = AGING_DEFAULT };
	ret = read_file(c, &p, argc, argv);
	for (int i = 0; i < argc && ret >= 0; i += ret)
		ret = parse_option(c, &p, argc - i, argv + i, &seen);
	if (ret >= 0)
		ret = check_all(c, &p);
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
