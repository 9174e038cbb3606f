/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of `viaduct run --config`: what it may say, and errors that name the line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/config.h"

static char path[] = "/tmp/test_config_file.XXXXXX", err[512];

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static void write_file(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

/* Parses the file with these options beside it. */
static int parse(struct config *c, const char *text, char **more)
{
	char *argv[16] = { "--config", path };
	int argc = 2;

	write_file(text, strlen(text));
	while (*more)
		argv[argc++] = *more++;
	err[0] = 0;
	return config_parse(argc, argv, c, err, sizeof(err));
}

#define MORE(...) ((char *[]){ __VA_ARGS__ __VA_OPT__(,) NULL })

static void good(struct config *c, const char *text, char **more)
{
	int ret = parse(c, text, more);

	if (ret)
		print_error("%s\n", err);
	assert_int_equal(ret, 0);
}

/* Refused, naming the line (0: none) and saying @says. */
static void bad(const char *text, int line, const char *says)
{
	struct config c;
	char where[64];

	assert_int_equal(parse(&c, text, MORE()), -EINVAL);
	snprintf(where, sizeof(where), "%s:%d: ", path, line);
	if ((line && strncmp(err, where, strlen(where))) || !strstr(err, says))
		print_error("'%s' is not '%s%s'\n", err, line ? where : "", says);
	assert_true(!line || !strncmp(err, where, strlen(where)));
	assert_non_null(strstr(err, says));
	assert_null(strchr(err, '\n'));
}

#define UPLINK "[uplink]\ninterface = eth1\n"
#define VM0 "[port vm0]\nsocket = /run/vm0.sock\n"

static void a_file_says_all_that_the_command_line_can(void **state)
{
	struct config c;

	(void)state;
	good(&c, "# a comment\n\n[uplink]\ninterface=enp1s0 ; the NIC\n  name = front\nqueues=4\nset-channels=4\n"
		 "xdp-mode = copy\nwait = busy\ncpus = 0,2-3\nunknown = guest=vm1\naging = 60\nhost-port = off\n"
		 "; another\n[port vm0]\nsocket = /run/a,b.sock\nqueues = 2\nmac = 02:00:00:00:00:01, 02:00:00:00:00:02\n"
		 "\n[ port\tvm1 ]\n\tsocket=/run/vm1.sock\n\tmode=client\n\ttrunk = 10,20-29\n\tvlan = 5\r\n\tstorm = off", MORE());
	assert_string_equal(c.uplink.ifname, "enp1s0");
	assert_string_equal(c.uplink.name, "front");
	assert_int_equal(c.uplink.queues, 4);
	assert_int_equal(c.uplink.set_channels, 4);
	assert_int_equal(c.uplink.mode, UPLINK_COPY);
	assert_int_equal(c.wait, WAIT_BUSY);
	assert_int_equal(c.ncpus, 3);
	assert_int_equal(c.uplink.unknown, VD_UNKNOWN_GUEST);
	assert_string_equal(c.unknown_port, "vm1");
	assert_int_equal(c.aging_s, 60);
	assert_false(c.host_port);
	assert_int_equal(c.nports, 2);
	assert_string_equal(c.ports[0].name, "vm0");
	assert_string_equal(c.ports[0].socket, "/run/a,b.sock");
	assert_int_equal(c.ports[0].pairs, 2);
	assert_int_equal(c.ports[0].nmac, 2);
	assert_string_equal(c.ports[1].name, "vm1");
	assert_int_equal(c.ports[1].role, ENDPOINT_CLIENT);
	assert_int_equal(c.ports[1].vlan, 5);
	assert_true(c.ports[1].have_trunk);
	assert_int_equal(c.ports[1].storm, 0);
	config_free(&c);
}

static void a_file_may_have_no_ports_and_start_with_a_mark(void **state)
{
	struct config c;

	(void)state;
	good(&c, "\xef\xbb\xbf[uplink]\nuplink = eth1", MORE());
	assert_string_equal(c.uplink.ifname, "eth1");
	assert_int_equal(c.nports, 0);
	config_free(&c);
	good(&c, "", MORE("--uplink", "eth1"));
	config_free(&c);
}

static void a_file_names_the_uplink_in_every_way(void **state)
{
	struct config c;

	(void)state;
	good(&c, "[uplink]\ninterface = mac=02:00:00:00:00:01\nstandby = eth2\nforce = on\n", MORE());
	assert_int_equal(c.uplink.by, UPLINK_BY_MAC);
	assert_int_equal(c.uplink.mac[5], 1);
	assert_string_equal(c.uplink.standby, "eth2");
	assert_true(c.uplink.force);
	config_free(&c);
	good(&c, "[uplink]\nuplink = auto\n", MORE());
	assert_int_equal(c.uplink.by, UPLINK_BY_AUTO);
	config_free(&c);
	good(&c, "[uplink]\ninterface = mac=02:00:00:00:00:01\n", MORE("--uplink", "eth1"));
	assert_int_equal(c.uplink.by, UPLINK_BY_NAME);
	assert_string_equal(c.uplink.ifname, "eth1");
	assert_string_equal(c.uplink.name, "eth1");
	config_free(&c);
	good(&c, UPLINK "force = on\n", MORE("--uplink=auto", "--force", "off"));
	assert_int_equal(c.uplink.by, UPLINK_BY_AUTO);
	assert_string_equal(c.uplink.ifname, "");
	assert_false(c.uplink.force);
	config_free(&c);
	bad(UPLINK "standby = eth1\n", 0, "--standby: eth1 is the uplink itself");
	bad("[uplink]\ninterface = mac=1\n", 2, "uplink: '1' is not a MAC address");
}

static void options_replace_what_the_file_says_and_ports_are_added(void **state)
{
	struct config c;

	(void)state;
	good(&c, UPLINK "cpus = 0-3\nwait = busy\nunknown = guest=vm0\nnuma-node = 1\n" VM0,
	     MORE("--cpus", "7", "--uplink=eth2", "--unknown", "guest", "--port", "name=vm1,socket=/run/vm1.sock"));
	assert_string_equal(c.uplink.ifname, "eth2");
	assert_int_equal(c.ncpus, 1);
	assert_int_equal(c.cpus[0], 7);
	assert_int_equal(c.wait, WAIT_BUSY);
	assert_string_equal(c.unknown_port, "");
	assert_true(c.uplink.have_node);
	assert_int_equal(c.nports, 2);
	assert_string_equal(c.ports[1].name, "vm1");
	config_free(&c);
	assert_int_equal(parse(&c, UPLINK VM0, MORE("--port", "name=vm0,socket=/run/vm1.sock")), -EINVAL);
	assert_non_null(strstr(err, "--port: there is a port named vm0 already"));
	assert_int_equal(parse(&c, UPLINK VM0, MORE("--config", path)), -EINVAL);
	assert_non_null(strstr(err, "--config: given twice"));
}

static void a_list_may_go_on_in_the_next_line(void **state)
{
	struct config c;

	(void)state;
	good(&c, UPLINK VM0 "trunk = 10,20,\n  30-31\n\t# a comment\n\t40,\n\n\t50 ; so does this\n  queues = 3\n"
		 "mac = 02:00:00:00:00:01\n 02:00:00:00:00:02\n", MORE());
	assert_int_equal(c.ports[0].trunk[0], 1ull << 10 | 1ull << 20 | 3ull << 30 | 1ull << 40 | 1ull << 50);
	assert_int_equal(c.ports[0].nmac, 2);
	assert_int_equal(c.ports[0].pairs, 3);
	config_free(&c);
	bad(UPLINK VM0 "queues = 3\n 4\n", 6, "'4' is not KEY=VALUE, and what is before it is not a list");
	bad(UPLINK " eth2\n", 3, "'eth2' is not KEY = VALUE");
	bad(UPLINK VM0 "trunk = all,\n 4\n", 6, "trunk: ");
}

static void errors_name_file_and_line(void **state)
{
	(void)state;
	bad(UPLINK "que = 4\n", 3, "unknown key 'que' in [uplink]; known keys: interface, uplink, standby, force, name, queues");
	bad(UPLINK "port = name=x\n", 3, "unknown key 'port'");
	bad(UPLINK "wait = lazy\n", 3, "wait: 'lazy' is not one of adaptive");
	bad(UPLINK "uplink = eth2\n", 3, "uplink: given twice");
	bad(UPLINK "\n\nwait = busy\nwait = busy\n", 6, "wait: given twice");
	bad(UPLINK VM0 "vlam = 4\n", 5, "unknown key 'vlam'; known keys: name, socket");
	bad(UPLINK VM0 "vlan = 5000\n", 5, "vlan: '5000' is neither");
	bad(UPLINK VM0 "mac = 02:00:00:00:00:01,x\n", 5, "mac: 'x' is not a MAC");
	bad(UPLINK VM0 "vlan = 5\nvlan = 6\n", 6, "vlan: given twice");
	bad(UPLINK VM0 "name = vm1\n", 5, "the head of the section names the port");
	bad(UPLINK "[port a b]\n", 3, "name: 'a b' is not a name");
	bad(UPLINK "[port ]\n", 3, "unknown section [port]");
	bad(UPLINK "[ports vm0]\n", 3, "unknown section [ports vm0]; known are [uplink] and [port NAME]");
	bad("interface = eth1\n" UPLINK, 1, "'interface' is in no section");
	bad(UPLINK VM0 UPLINK, 5, "a second section [uplink]");
}

static void a_port_is_checked_where_its_section_begins(void **state)
{
	(void)state;
	bad(UPLINK "[port vm1]\n\n" VM0, 3, "socket is missing");
	bad(UPLINK "[port vm1]\n", 3, "socket is missing");
	bad(UPLINK VM0 "mac-lock = on\n", 3, "mac-lock=on needs mac=");
	bad(UPLINK VM0 VM0, 5, "there is a port named vm0 already");
	bad(UPLINK VM0 "[port vm1]\nsocket = /run/vm0.sock\n", 5, "socket: /run/vm0.sock is port vm0's already");
	bad(UPLINK "[port vm0]\nsocket = /run/viaduct/eth1.sock\n", 0, "is this instance's control socket");
}

static void what_is_no_such_file_is_named(void **state)
{
	char text[600], *argv[] = { "--config", "/nonexistent/viaduct.ini", NULL };
	struct config c;

	(void)state;
	assert_int_equal(config_parse(2, argv, &c, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "/nonexistent/viaduct.ini: cannot be opened: No such file or directory"));
	argv[1] = "/tmp";
	assert_int_equal(config_parse(2, argv, &c, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "/tmp: cannot be read: Is a directory"));
	bad(UPLINK "just words\n" VM0, 3, "neither KEY = VALUE nor [SECTION] nor a comment");
	bad("[uplink\ninterface = eth1\n", 1, "neither KEY = VALUE");
	bad("just words\n[x]\n", 1, "neither KEY = VALUE");
	memset(text, 'x', sizeof(text));
	memcpy(text, UPLINK, strlen(UPLINK));
	text[sizeof(text) - 1] = 0;
	bad(text, 3, "longer than 198 bytes: let a list go on in the next line");
	memset(text, '[', 300);
	text[300] = 0;
	bad(text, 1, "longer than");
}

static void a_zero_byte_is_no_text(void **state)
{
	static const char text[] = "[uplink]\ninterface = eth1\0\nwait = busy\n";
	char *argv[] = { "--config", path, NULL };
	struct config c;

	(void)state;
	write_file(text, sizeof(text) - 1);
	assert_int_equal(config_parse(2, argv, &c, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, ":2: a zero byte"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_says_all_that_the_command_line_can),
		cmocka_unit_test(a_file_may_have_no_ports_and_start_with_a_mark),
		cmocka_unit_test(a_file_names_the_uplink_in_every_way),
		cmocka_unit_test(options_replace_what_the_file_says_and_ports_are_added),
		cmocka_unit_test(a_list_may_go_on_in_the_next_line),
		cmocka_unit_test(errors_name_file_and_line),
		cmocka_unit_test(a_port_is_checked_where_its_section_begins),
		cmocka_unit_test(what_is_no_such_file_is_named),
		cmocka_unit_test(a_zero_byte_is_no_text),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
