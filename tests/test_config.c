/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of `viaduct run`: every option, every error. */
#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/config.h"

#define UP "--uplink", "eth1"
#define PORT "--port", "name=vm0,socket=/run/vm0.sock"

static char err[512];

static int parse(struct config *c, char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	err[0] = 0;
	return config_parse(argc, argv, c, err, sizeof(err));
}

#define ARGS(...) ((char *[]){ __VA_ARGS__, NULL })

static void good(struct config *c, char **argv)
{
	int ret = parse(c, argv);

	if (ret)
		print_error("%s\n", err);
	assert_int_equal(ret, 0);
}

/* Refused, in one line, and the line contains @says. */
static void bad(char **argv, const char *says)
{
	struct config c;

	assert_int_equal(parse(&c, argv), -EINVAL);
	assert_null(strchr(err, '\n'));
	if (!strstr(err, says))
		print_error("'%s' does not say '%s'\n", err, says);
	assert_non_null(strstr(err, says));
}

static void bad_port(const char *port, const char *says)
{
	bad(ARGS(UP, "--port", (char *)port), says);
}

static void good_port(struct config *c, const char *port)
{
	good(c, ARGS(UP, "--port", (char *)port));
}

static void the_defaults_are_these(void **state)
{
	struct config c;

	(void)state;
	good(&c, ARGS(UP, PORT));
	assert_string_equal(c.uplink.ifname, "eth1");
	assert_string_equal(c.uplink.name, "eth1");
	assert_int_equal(c.uplink.queues, 0);
	assert_int_equal(c.uplink.mode, UPLINK_AUTO);
	assert_int_equal(c.uplink.attach, UPLINK_ATTACH_LINK);
	assert_int_equal(c.uplink.unknown, VD_UNKNOWN_PASS);
	assert_int_equal(c.wait, WAIT_ADAPTIVE);
	assert_int_equal(c.log_level, LOG_LEVEL_INFO);
	assert_int_equal(c.ncpus, 0);
	assert_int_equal(c.uplink.set_channels, 0);
	assert_false(c.uplink.hw_steer);
	assert_false(c.uplink.busy_poll);
	assert_true(c.host_port);
	assert_int_equal(c.aging_s, 300);
	assert_int_equal(c.nports, 1);
	assert_string_equal(c.ports[0].name, "vm0");
	assert_string_equal(c.ports[0].socket, "/run/vm0.sock");
	assert_int_equal(c.ports[0].role, ENDPOINT_SERVER);
	assert_int_equal(c.ports[0].pairs, 1);
	assert_int_equal(c.ports[0].nmac, 0);
	assert_int_equal(c.ports[0].owner, (uid_t)-1);
	assert_int_equal(c.ports[0].group, (gid_t)-1);
	assert_int_equal(c.ports[0].perm, 0600);
	assert_int_equal(c.ports[0].vlan, 0);
	assert_false(c.ports[0].have_trunk);
	assert_false(c.ports[0].mac_lock);
	assert_false(c.ports[0].isolated);
	assert_int_equal(c.ports[0].storm, PORT_STORM);
	assert_int_equal(c.ports[0].tx_bps | c.ports[0].rx_bps | c.ports[0].tx_pps | c.ports[0].rx_pps, 0);
	assert_int_equal(c.ports[0].steering, VD_STEER_AUTO);
	config_free(&c);
}

static void every_option_arrives(void **state)
{
	static const int cpus[] = { 0, 2, 3, 4, 7 };
	struct config c;

	(void)state;
	good(&c, ARGS("--uplink=enp1s0f0", "--name=front1_a-b", "--queues", "4", "--xdp-mode", "copy", "--xdp-attach",
		      "dispatcher", "--wait", "busy", "--cpus", "0,2-4,7", "--unknown", "guest", "--log-level",
		      "debug", "--set-channels", "8", "--hw-steer", "on", "--busy-poll", "on", "--host-port", "off",
		      "--aging", "0", PORT));
	assert_int_equal(c.uplink.set_channels, 8);
	assert_true(c.uplink.hw_steer);
	assert_true(c.uplink.busy_poll);
	assert_false(c.host_port);
	assert_int_equal(c.aging_s, 0);
	assert_string_equal(c.unknown_port, "");
	assert_string_equal(c.uplink.ifname, "enp1s0f0");
	assert_string_equal(c.uplink.name, "front1_a-b");
	assert_int_equal(c.uplink.queues, 4);
	assert_int_equal(c.uplink.mode, UPLINK_COPY);
	assert_int_equal(c.uplink.attach, UPLINK_ATTACH_DISPATCHER);
	assert_int_equal(c.wait, WAIT_BUSY);
	assert_int_equal(c.uplink.unknown, VD_UNKNOWN_GUEST);
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c.ncpus, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(c.cpus[i], cpus[i]);
	config_free(&c);
}

static void an_uplink_is_named_by_mac_or_found(void **state)
{
	struct config c;

	(void)state;
	good(&c, ARGS(UP));
	assert_int_equal(c.uplink.by, UPLINK_BY_NAME);
	assert_string_equal(c.uplink.standby, "");
	assert_false(c.uplink.force);
	config_free(&c);
	good(&c, ARGS("--uplink", "mac=52:54:00:aB:cd:Ef", "--standby=eth2", "--force", "on"));
	assert_int_equal(c.uplink.by, UPLINK_BY_MAC);
	assert_memory_equal(c.uplink.mac, "\x52\x54\x00\xab\xcd\xef", 6);
	assert_string_equal(c.uplink.ifname, "");
	assert_string_equal(c.uplink.name, "mac-525400abcdef");
	assert_string_equal(c.uplink.standby, "eth2");
	assert_true(c.uplink.force);
	config_free(&c);
	good(&c, ARGS("--uplink=auto", "--force=off"));
	assert_int_equal(c.uplink.by, UPLINK_BY_AUTO);
	assert_string_equal(c.uplink.ifname, "");
	assert_string_equal(c.uplink.name, "auto");
	config_free(&c);
	good(&c, ARGS("--uplink=mac=02:00:00:00:00:01", "--name", "front"));
	assert_int_equal(c.uplink.by, UPLINK_BY_MAC);
	assert_string_equal(c.uplink.name, "front");
	config_free(&c);
	bad(ARGS("--uplink", "mac="), "--uplink: '' is not a MAC address: write it like 52:54:00:12:34:56");
	bad(ARGS("--uplink", "mac=02:00:00:00:00"), "is not a MAC address");
	bad(ARGS("--uplink", "mac=03:00:00:00:00:01"), "is no device's address");
	bad(ARGS("--uplink", "mac=00:00:00:00:00:00"), "is no device's address");
}

static void a_standby_is_another_interface(void **state)
{
	struct config c;

	(void)state;
	good(&c, ARGS(UP, "--standby", "eth2"));
	assert_string_equal(c.uplink.ifname, "eth1");
	assert_string_equal(c.uplink.standby, "eth2");
	config_free(&c);
	bad(ARGS(UP, "--standby", "eth1"), "--standby: eth1 is the uplink itself: name another interface");
	bad(ARGS(UP, "--standby", "eth/1"), "--standby: 'eth/1' is not an interface name");
	bad(ARGS("--standby", "eth1"), "--uplink is missing");
}

static void a_dispatcher_stays_on_a_device_that_is_named(void **state)
{
	static const char *const refused = "--xdp-attach: dispatcher stays on the one device that --uplink IFACE names";
	struct config c;

	(void)state;
	good(&c, ARGS(UP, "--xdp-attach", "dispatcher"));
	config_free(&c);
	bad(ARGS(UP, "--xdp-attach", "dispatcher", "--standby", "eth2"), refused);
	bad(ARGS("--uplink", "auto", "--xdp-attach", "dispatcher"), refused);
	bad(ARGS("--xdp-attach", "dispatcher", "--uplink", "mac=02:00:00:00:00:01"), refused);
}

static void every_choice_is_known(void **state)
{
	static const struct {
		char *option, *value;
	} choices[] = {
		{ "--xdp-mode", "auto" }, { "--xdp-mode", "zerocopy" }, { "--xdp-mode", "copy" },
		{ "--xdp-mode", "generic" }, { "--xdp-attach", "link" }, { "--xdp-attach", "dispatcher" },
		{ "--wait", "adaptive" }, { "--wait", "busy" }, { "--wait", "interrupt" }, { "--unknown", "pass" },
		{ "--unknown", "drop" }, { "--unknown", "guest" }, { "--log-level", "error" },
		{ "--log-level", "warn" }, { "--log-level", "info" }, { "--log-level", "debug" },
		{ "--queues", "all" }, { "--queues", "256" }, { "--rx-hash", "auto" }, { "--rx-hash", "software" },
		{ "--numa-node", "auto" }, { "--numa-node", "1" }, { "--rx-hash", "driver" }, { "--tx-checksum", "auto" }, { "--tx-checksum", "software" },
		{ "--tx-checksum", "driver" }, { "--hw-steer", "on" }, { "--hw-steer", "off" }, { "--busy-poll", "on" },
		{ "--busy-poll", "off" }, { "--host-port", "on" }, { "--host-port", "off" }, { "--force", "on" }, { "--force", "off" }, { "--aging", "1000000" },
		{ "--set-channels", "256" }, { "--unknown", "guest=vm1" },
	};
	struct config c;

	(void)state;
	for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		good(&c, ARGS(UP, PORT, choices[i].option, choices[i].value));
		config_free(&c);
		bad(ARGS(UP, PORT, choices[i].option, "nonsense"), choices[i].option);
		bad(ARGS(UP, PORT, choices[i].option, ""), choices[i].option);
	}
	bad(ARGS(UP, PORT, "--wait", "lazy"), "--wait: 'lazy' is not one of adaptive, busy, interrupt");
}

static void every_key_of_a_port_arrives(void **state)
{
	struct passwd *root = getpwuid(0);
	struct config c;
	char port[256];

	(void)state;
	assert_non_null(root);
	snprintf(port, sizeof(port), "name=vm0,socket=/run/a b.sock,mode=server,queues=128,mac=52:54:00:aB:cd:Ef,"
				     "owner=%s:0,perm=0660", root->pw_name);
	good_port(&c, port);
	assert_string_equal(c.ports[0].socket, "/run/a b.sock");
	assert_int_equal(c.ports[0].pairs, 128);
	assert_int_equal(c.ports[0].nmac, 1);
	assert_memory_equal(c.ports[0].mac[0], "\x52\x54\x00\xab\xcd\xef", 6);
	assert_int_equal(c.ports[0].owner, 0);
	assert_int_equal(c.ports[0].group, 0);
	assert_int_equal(c.ports[0].perm, 0660);
	config_free(&c);
	good_port(&c, "mode=client,socket=/s,name=x");
	assert_int_equal(c.ports[0].role, ENDPOINT_CLIENT);
	config_free(&c);
	good_port(&c, "socket=/s,name=x,owner=12345");
	assert_int_equal(c.ports[0].owner, 12345);
	assert_int_equal(c.ports[0].group, (gid_t)-1);
	config_free(&c);
}

static void a_relative_socket_path_becomes_absolute(void **state)
{
	struct config c;
	char old[4096];

	(void)state;
	assert_non_null(getcwd(old, sizeof(old)));
	assert_int_equal(chdir("/tmp"), 0);
	good_port(&c, "name=x,socket=vm.sock");
	assert_string_equal(c.ports[0].socket, "/tmp/vm.sock");
	config_free(&c);
	assert_int_equal(chdir("/"), 0);
	good_port(&c, "name=x,socket=run/vm.sock");
	assert_string_equal(c.ports[0].socket, "/run/vm.sock");
	config_free(&c);
	assert_int_equal(chdir(old), 0);
}

static void a_socket_path_has_at_most_107_bytes(void **state)
{
	char port[512], path[160];
	struct config c;

	(void)state;
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[107] = 0;
	snprintf(port, sizeof(port), "name=x,socket=%s", path);
	good_port(&c, port);
	assert_string_equal(c.ports[0].socket, path);
	config_free(&c);
	path[107] = 'a';
	path[108] = 0;
	snprintf(port, sizeof(port), "name=x,socket=%s", path);
	bad_port(port, "use a shorter path");
}

static void what_is_missing_is_named(void **state)
{
	(void)state;
	bad(ARGS(PORT), "--uplink is missing");
	bad(ARGS(UP, "--port", "socket=/s"), "--port: name is missing");
	bad(ARGS(UP, "--port", "name=x"), "--port: socket is missing");
	bad(ARGS(UP, PORT, "--wait"), "--wait: a value is missing");
	bad(ARGS(UP, "--port"), "--port: a value is missing");
	bad(ARGS(UP, "--config"), "--config: a value is missing");
	bad(ARGS("--uplink"), "--uplink: a value is missing");
}

static void what_is_unknown_is_named_with_what_is_known(void **state)
{
	(void)state;
	bad(ARGS(UP, PORT, "--que", "4"), "unknown option '--que'; known options: --config, --port, --uplink, --standby, --force, --name");
	bad(ARGS(UP, PORT, "--queuesX=4"), "unknown option '--queuesX'");
	bad(ARGS(UP, PORT, "eth2"), "unknown argument 'eth2'");
	bad_port("name=x,socket=/s,queue=4",
		 "--port: unknown key 'queue'; known keys: name, socket, mode, queues, mac, mac-lock, isolated, vlan");
	bad_port("name=x,socket=/s,queues", "'queues' is not KEY=VALUE");
	bad_port("name=x,socket=/s,", "'' is not KEY=VALUE");
}

static void nothing_may_be_given_twice(void **state)
{
	(void)state;
	bad(ARGS(UP, UP, PORT), "--uplink: given twice");
	bad(ARGS(UP, PORT, "--wait", "busy", "--wait=busy"), "--wait: given twice");
	bad_port("name=x,name=y,socket=/s", "--port: name: given twice");
	bad_port("name=x,socket=/s,mac=02:00:00:00:00:01,mac=02:00:00:00:00:01", "--port: mac: given twice");
}

static void ports_may_be_none_or_many(void **state)
{
	struct config c;

	(void)state;
	good(&c, ARGS(UP));
	assert_int_equal(c.nports, 0);
	config_free(&c);
	good(&c, ARGS(UP, PORT, "--port", "name=vm1,socket=/run/vm1.sock", "--port=name=vm2,socket=/run/vm2.sock"));
	assert_int_equal(c.nports, 3);
	assert_string_equal(c.ports[2].name, "vm2");
	config_free(&c);
}

static void two_hundred_and_fifty_six_ports_are_the_most(void **state)
{
	char *argv[2 + 2 * 257 + 1] = { "--uplink", "eth1" }, text[257][48];
	struct config c;

	(void)state;
	for (unsigned i = 0; i < 257; i++) {
		snprintf(text[i], sizeof(text[i]), "name=vm%u,socket=/run/%u.sock", i, i);
		argv[2 + 2 * i] = "--port";
		argv[3 + 2 * i] = text[i];
	}
	bad(argv, "--port: more than 256 ports: start a second viaduct on another uplink");
	argv[2 + 2 * 256] = NULL;
	good(&c, argv);
	assert_int_equal(c.nports, 256);
	config_free(&c);
}

static void a_name_a_socket_and_an_address_are_one_ports(void **state)
{
	struct config c;

	(void)state;
	bad(ARGS(UP, PORT, "--port", "name=vm0,socket=/s"), "--port: there is a port named vm0 already");
	bad(ARGS(UP, PORT, "--port", "name=vm1,socket=/run/vm0.sock"), "socket: /run/vm0.sock is port vm0's already");
	bad(ARGS(UP, "--port", "name=a,socket=/a,mac=02:00:00:00:00:01,02:00:00:00:00:02", "--port",
		 "name=b,socket=/b,mac=02:00:00:00:00:02"), "mac: 02:00:00:00:00:02 is port a's already");
	bad(ARGS(UP, "--port", "name=a,socket=/a,vlan=5,mac=02:00:00:00:00:02", "--port",
		 "name=b,socket=/b,vlan=5,mac=02:00:00:00:00:02"), "mac: 02:00:00:00:00:02 is port a's already");
	good(&c, ARGS(UP, "--port", "name=a,socket=/a,vlan=5,mac=02:00:00:00:00:02", "--port",
		      "name=b,socket=/b,vlan=6,mac=02:00:00:00:00:02"));
	config_free(&c);
}

static void a_port_for_unknown_addresses_may_be_named(void **state)
{
	struct config c;

	(void)state;
	good(&c, ARGS(UP, PORT, "--unknown=guest=vm0"));
	assert_int_equal(c.uplink.unknown, VD_UNKNOWN_GUEST);
	assert_string_equal(c.unknown_port, "vm0");
	config_free(&c);
	bad(ARGS(UP, PORT, "--unknown", "guest="), "--unknown: '' is no port's name");
	bad(ARGS(UP, PORT, "--unknown", "guest=a b"), "--unknown: 'a b' is no port's name");
	bad(ARGS(UP, PORT, "--unknown", "vm0"), "'vm0' is not one of pass, drop, guest, guest=NAME");
}

static void seconds_and_channels_are_checked(void **state)
{
	(void)state;
	bad(ARGS(UP, "--aging", "-1"), "--aging: '-1' is not a number from 0 to 1000000");
	bad(ARGS(UP, "--aging", "1000001"), "--aging: ");
	bad(ARGS(UP, "--set-channels", "0"), "--set-channels: '0' is not a number from 1 to 256");
	bad(ARGS(UP, "--host-port", "yes"), "--host-port: 'yes' is not one of on, off");
}

static void numbers_are_checked(void **state)
{
	static const char *const wrong[] = { "0", "-1", "+1", " 1", "1 ", "1x", "0x10", "", "4294967297", "129",
					     "99999999999999999999" };
	char port[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(port, sizeof(port), "name=x,socket=/s,queues=%s", wrong[i]);
		bad_port(port, "--port: queues: ");
	}
	bad(ARGS(UP, PORT, "--queues", "0"), "--queues: '0' is neither 'all' nor a number from 1 to 256");
	bad(ARGS(UP, PORT, "--queues", "257"), "--queues");
}

static void cpu_lists_are_checked(void **state)
{
	static char *const wrong[] = { "", ",", "0,", "-", "1-", "-1", "3-2", "0-0x3", "a", "1024", "0,,1", "0 1",
				       "1--2", "99999999999999999999", "1-2-3" };
	struct config c;

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		bad(ARGS(UP, PORT, "--cpus", wrong[i]), "write it like 0,2-3");
	bad(ARGS(UP, PORT, "--cpus", "1,0-2"), "CPU 1 is given twice");
	bad(ARGS(UP, PORT, "--cpus", "0-64"), "more than 64 CPUs");
	good(&c, ARGS(UP, PORT, "--cpus", "1023"));
	config_free(&c);
}

static void names_are_checked(void **state)
{
	char longest[65];
	struct config c;

	(void)state;
	bad(ARGS(UP, PORT, "--name", "../x"), "--name: ");
	bad(ARGS(UP, PORT, "--name", "a/b"), "--name: ");
	bad(ARGS(UP, PORT, "--name", "a.b"), "--name: ");
	bad(ARGS("--uplink", "eth0.5", PORT), "--name");
	bad(ARGS(UP, PORT, "--name", ".hidden"), "--name: ");
	bad(ARGS(UP, PORT, "--name", ""), "--name: ");
	bad(ARGS("--uplink", "", PORT), "not an interface name");
	bad(ARGS("--uplink", "a-name-too-long-", PORT), "not an interface name");
	bad(ARGS("--uplink", "a/b", PORT), "not an interface name");
	bad(ARGS("--uplink", "eth1@x", PORT), "--name: the name of interface 'eth1@x' cannot be used");
	good(&c, ARGS("--uplink", "eth1@x", PORT, "--name", "x"));
	config_free(&c);
	bad_port("name=,socket=/s", "--port: name: ");
	bad_port("name=a b,socket=/s", "--port: name: ");
	bad_port("name=x2345678901234567890123456789012,socket=/s", "--port: name: ");
	bad_port("name=x,socket=", "--port: socket: an empty path");
	memset(longest, 'n', sizeof(longest));
	longest[64] = 0;
	bad(ARGS(UP, PORT, "--name", longest), "--name: ");
	longest[63] = 0;
	good(&c, ARGS(UP, PORT, "--name", longest));
	assert_string_equal(c.uplink.name, longest);
	config_free(&c);
}

static void a_port_cannot_take_the_control_socket(void **state)
{
	struct config c;

	(void)state;
	bad_port("name=x,socket=/run/viaduct/eth1.sock", "is this instance's control socket");
	good_port(&c, "name=x,socket=/run/viaduct/vm0.sock");
	config_free(&c);
}

static void mac_addresses_are_checked(void **state)
{
	static const char *const wrong[] = { "", "52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:567",
					     "52-54-00-12-34-56", "52:54:00:12:34:5g", "5254.0012.3456", " 2:54:00:12:34:56" };
	char port[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(port, sizeof(port), "name=x,socket=/s,mac=%s", wrong[i]);
		bad_port(port, "not a MAC address");
	}
	bad_port("name=x,socket=/s,mac=01:00:5e:00:00:01", "multicast");
	bad_port("name=x,socket=/s,mac=ff:ff:ff:ff:ff:ff", "multicast");
	bad_port("name=x,socket=/s,mac=00:00:00:00:00:00", "no guest's address");
}

static void owner_and_mode_are_checked(void **state)
{
	(void)state;
	bad_port("name=x,socket=/s,owner=nobody-has-this-name", "there is no user 'nobody-has-this-name'");
	bad_port("name=x,socket=/s,owner=0:nobody-has-this-name", "there is no group 'nobody-has-this-name'");
	bad_port("name=x,socket=/s,owner=", "there is no user ''");
	bad_port("name=x,socket=/s,owner=0:", "there is no group ''");
	bad_port("name=x,socket=/s,owner=4294967295", "there is no user");
	bad_port("name=x,socket=/s,perm=", "not a file mode");
	bad_port("name=x,socket=/s,perm=rw", "not a file mode");
	bad_port("name=x,socket=/s,perm=0888", "not a file mode");
	bad_port("name=x,socket=/s,perm=1777", "not a file mode");
	bad_port("name=x,socket=/s,mode=client,perm=0660", "leave them out with mode=client");
	bad_port("name=x,socket=/s,mode=master", "'master' is not one of server, client");
}

/* What a port with this value of offloads= or features= offers. */
static uint64_t offered(const char *what)
{
	struct config c;
	char port[256];
	uint64_t bits;

	snprintf(port, sizeof(port), "name=x,%s,socket=/s", what);
	good_port(&c, port);
	bits = vnet_dependencies(PORT_FEATURES & ~c.ports[0].without);
	config_free(&c);
	return bits;
}

#define BIT(n) (1ull << (n))

static void a_port_offers_everything_unless_told_otherwise(void **state)
{
	(void)state;
	assert_int_equal(offered("queues=1"), PORT_FEATURES);
	assert_int_equal(offered("offloads=on"), PORT_FEATURES);
}

static void features_are_taken_away_by_name_one_behind_the_other(void **state)
{
	(void)state;
	assert_int_equal(offered("features=-packed"), PORT_FEATURES & ~BIT(VIRTIO_F_RING_PACKED));
	assert_int_equal(offered("features=-packed,-mrg_rxbuf"),
			 PORT_FEATURES & ~BIT(VIRTIO_F_RING_PACKED) & ~BIT(VIRTIO_NET_F_MRG_RXBUF));
	assert_int_equal(offered("features=-ring_packed,-in_order,-indirect_desc,-event_idx,-mtu"),
			 PORT_FEATURES & ~(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) |
					   BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
					   BIT(VIRTIO_NET_F_MTU)));
}

static void offloads_can_be_switched_off_all_or_one_by_one_or_chosen(void **state)
{
	const uint64_t plain = PORT_FEATURES & ~VNET_OFFLOADS;

	(void)state;
	assert_int_equal(offered("offloads=off"), plain);
	assert_int_equal(offered("offloads=-uso"), PORT_FEATURES & ~BIT(VIRTIO_NET_F_HOST_USO));
	assert_int_equal(offered("offloads=-host_tso4,-guest_tso6"),
			 PORT_FEATURES & ~BIT(VIRTIO_NET_F_HOST_TSO4) & ~BIT(VIRTIO_NET_F_GUEST_TSO6));
	assert_int_equal(offered("offloads=csum"), plain | BIT(VIRTIO_NET_F_CSUM));
	assert_int_equal(offered("offloads=csum,guest_csum"),
			 plain | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM));
}

static void an_offload_brings_what_it_needs_and_goes_with_it(void **state)
{
	const uint64_t plain = PORT_FEATURES & ~VNET_OFFLOADS;

	(void)state;
	assert_int_equal(offered("offloads=host_tso4"), plain | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4));
	assert_int_equal(offered("offloads=-csum"), PORT_FEATURES & ~VNET_HOST_OFFLOADS);
	assert_int_equal(offered("features=-guest_csum"), PORT_FEATURES & ~VNET_GUEST_OFFLOADS);
	assert_int_equal(offered("offloads=-host_tso4,-host_tso6"),
			 PORT_FEATURES & ~(BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |
					   BIT(VIRTIO_NET_F_HOST_ECN)));
}

static void unknown_features_are_named_with_what_is_known(void **state)
{
	(void)state;
	bad_port("name=x,socket=/s,features=-speed", "--port: features: 'speed' is not one of packed, in_order");
	bad_port("name=x,socket=/s,features=-packed,oops", "--port: features: 'oops' is not one of");
	bad_port("name=x,socket=/s,features=-protocol_features", "'protocol_features' is not one of");
	bad_port("name=x,socket=/s,features=", "'' is not one of");
	bad_port("name=x,socket=/s,offloads=-packed", "--port: offloads: 'packed' is not one of on, off, csum");
	bad_port("name=x,socket=/s,offloads=csum,off", "--port: offloads: 'off' stands alone");
	bad_port("name=x,socket=/s,offloads=on,offloads=off", "--port: offloads: given twice");
}

static void every_option_is_in_the_help(void **state)
{
	static const char *const words[] = { "--config FILE", "--port KEY", "name=NAME", "socket=", "mode=", "queues=",
					     "mac=", "mac-lock=", "isolated=", "vlan=", "trunk=", "storm=", "tx-rate=",
					     "rx-rate=", "tx-pps=", "rx-pps=", "steering=", "owner=", "perm=",
					     "offloads=", "features=" };
	char list[512], *help = NULL, *rest, *option;
	size_t len;
	FILE *f = open_memstream(&help, &len);

	(void)state;
	config_help(f);
	fclose(f);
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_non_null(strstr(help, words[i]));
	rest = (char *)config_option_list("--", list, sizeof(list));
	assert_true(strlen(list) < sizeof(list) - 1);
	while ((option = strsep(&rest, ","))) {
		if (!strstr(help, option + (*option == ' ')))
			print_error("%s is not in the help\n", option);
		assert_non_null(strstr(help, option + (*option == ' ')));
	}
	free(help);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_these),
		cmocka_unit_test(every_option_arrives),
		cmocka_unit_test(an_uplink_is_named_by_mac_or_found),
		cmocka_unit_test(a_standby_is_another_interface),
		cmocka_unit_test(a_dispatcher_stays_on_a_device_that_is_named),
		cmocka_unit_test(every_choice_is_known),
		cmocka_unit_test(every_key_of_a_port_arrives),
		cmocka_unit_test(a_relative_socket_path_becomes_absolute),
		cmocka_unit_test(a_socket_path_has_at_most_107_bytes),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(what_is_unknown_is_named_with_what_is_known),
		cmocka_unit_test(nothing_may_be_given_twice),
		cmocka_unit_test(ports_may_be_none_or_many),
		cmocka_unit_test(two_hundred_and_fifty_six_ports_are_the_most),
		cmocka_unit_test(a_name_a_socket_and_an_address_are_one_ports),
		cmocka_unit_test(a_port_for_unknown_addresses_may_be_named),
		cmocka_unit_test(seconds_and_channels_are_checked),
		cmocka_unit_test(numbers_are_checked),
		cmocka_unit_test(cpu_lists_are_checked),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(a_port_cannot_take_the_control_socket),
		cmocka_unit_test(mac_addresses_are_checked),
		cmocka_unit_test(owner_and_mode_are_checked),
		cmocka_unit_test(a_port_offers_everything_unless_told_otherwise),
		cmocka_unit_test(features_are_taken_away_by_name_one_behind_the_other),
		cmocka_unit_test(offloads_can_be_switched_off_all_or_one_by_one_or_chosen),
		cmocka_unit_test(an_offload_brings_what_it_needs_and_goes_with_it),
		cmocka_unit_test(unknown_features_are_named_with_what_is_known),
		cmocka_unit_test(every_option_is_in_the_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
