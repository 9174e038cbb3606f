/* SPDX-License-Identifier: BSD-2-Clause */
/* The keys of a port: addresses, VLANs, limits, and what may change while it runs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/port_keys.h"

static char err[512];
static const struct parse here = { .err = err, .errlen = sizeof(err) };

static struct port_config good(const char *keys)
{
	struct port_config c;
	char text[1024];
	int ret;

	snprintf(text, sizeof(text), "name=x,socket=/s%s%s", *keys ? "," : "", keys);
	ret = port_keys_parse(&here, text, true, &c);
	if (ret)
		print_error("%s: %s\n", keys, err);
	assert_int_equal(ret, 0);
	return c;
}

static void says(int ret, const char *what)
{
	assert_int_equal(ret, -EINVAL);
	assert_null(strchr(err, '\n'));
	if (!strstr(err, what))
		print_error("'%s' does not say '%s'\n", err, what);
	assert_non_null(strstr(err, what));
}

static void bad(const char *keys, const char *what)
{
	struct port_config c;
	char text[1024];

	snprintf(text, sizeof(text), "name=x,socket=/s,%s", keys);
	says(port_keys_parse(&here, text, true, &c), what);
}

static bool in(const struct port_config *c, unsigned vlan)
{
	return c->trunk[vlan / 64] >> (vlan % 64) & 1;
}

static unsigned vlans(const struct port_config *c)
{
	unsigned n = 0;

	for (unsigned v = 0; v < 4096; v++)
		n += in(c, v);
	return n;
}

static void a_port_may_have_eight_addresses(void **state)
{
	struct port_config c = good("mac=02:00:00:00:00:01,02:00:00:00:00:02,queues=2");

	(void)state;
	assert_int_equal(c.nmac, 2);
	assert_int_equal(c.pairs, 2);
	assert_memory_equal(c.mac[1], "\x02\0\0\0\0\x02", 6);
	c = good("mac=02:00:00:00:00:01,02:00:00:00:00:02,02:00:00:00:00:03,02:00:00:00:00:04,02:00:00:00:00:05,"
		 "02:00:00:00:00:06,02:00:00:00:00:07,02:00:00:00:00:08");
	assert_int_equal(c.nmac, 8);
	bad("mac=02:00:00:00:00:01,02:00:00:00:00:02,02:00:00:00:00:03,02:00:00:00:00:04,02:00:00:00:00:05,"
	    "02:00:00:00:00:06,02:00:00:00:00:07,02:00:00:00:00:08,02:00:00:00:00:09", "mac: more than 8 addresses");
	bad("mac=02:00:00:00:00:01,02:00:00:00:00:01", "mac: '02:00:00:00:00:01' is given twice");
	bad("mac=02:00:00:00:00:01,vm1", "mac: 'vm1' is not a MAC address");
	bad("mac=02:00:00:00:00:01,", "mac: '' is not a MAC address");
	bad("mac=02:00:00:00:00:01,01:00:5e:00:00:01", "multicast");
	assert_int_equal(good("mac=auto").nmac, 0);
	bad("mac=auto,02:00:00:00:00:01", "stands alone");
	bad("mac=02:00:00:00:00:01,auto", "'auto' stands alone");
}

static void locking_addresses_needs_addresses(void **state)
{
	(void)state;
	assert_true(good("mac-lock=on,mac=02:00:00:00:00:01").mac_lock);
	assert_false(good("mac-lock=off").mac_lock);
	bad("mac-lock=on", "mac-lock=on needs mac=");
	bad("mac-lock=yes,mac=02:00:00:00:00:01", "mac-lock: 'yes' is not one of on, off");
	assert_true(good("isolated=on").isolated);
}

static void vlans_are_access_trunk_or_both(void **state)
{
	struct port_config c = good("vlan=4094");

	(void)state;
	assert_int_equal(c.vlan, 4094);
	assert_false(c.have_trunk);
	c = good("trunk=0,10,20-22,4094");
	assert_true(c.have_trunk);
	assert_int_equal(vlans(&c), 6);
	assert_true(in(&c, 0) && in(&c, 10) && in(&c, 20) && in(&c, 21) && in(&c, 22) && in(&c, 4094));
	c = good("vlan=5,trunk=10");
	assert_int_equal(c.vlan, 5);
	assert_int_equal(vlans(&c), 1);
	c = good("trunk=off,vlan=off");
	assert_false(c.have_trunk);
	assert_int_equal(c.vlan, 0);
}

static void all_vlans_are_all_but_the_native_one(void **state)
{
	struct port_config c = good("trunk=all");

	(void)state;
	assert_int_equal(vlans(&c), 4095);
	assert_true(in(&c, 0) && in(&c, 4094) && !in(&c, 4095));
	c = good("trunk=all,vlan=7");
	assert_int_equal(vlans(&c), 4093);
	assert_false(in(&c, 0));
	assert_false(in(&c, 7));
}

static void vlans_that_contradict_are_refused(void **state)
{
	static const char *const wrong[] = { "trunk=", "trunk=4095", "trunk=-1", "trunk=5-", "trunk=9-5", "trunk=10,",
					     "trunk=x", "trunk=10,0x5" };

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		bad(wrong[i], "is not a VLAN: write the list like 10,20-29");
	bad("vlan=0", "vlan: '0' is neither 'off' nor a number from 1 to 4094");
	bad("vlan=4095", "vlan: ");
	bad("vlan=", "vlan: ");
	bad("vlan=20,trunk=10-30", "VLAN 20 is in vlan= and in trunk=");
	bad("vlan=20,trunk=0,10", "0 is in trunk=");
	bad("trunk=all,10", "stands alone");
	bad("trunk=10,all", "'all' stands alone");
	bad("trunk=off,10", "stands alone");
	bad("trunk=10,trunk=20", "trunk: given twice");
}

static void a_trunk_is_written_as_it_is_read(void **state)
{
	static const char *const lists[] = { "", "all", "0", "4094", "10,20-29", "0-4094", "1-4093", "0,2,4-5,63-64,4090" };
	char text[PORT_TRUNK_STRLEN], keys[128];
	struct port_config c;

	(void)state;
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		snprintf(keys, sizeof(keys), "trunk=%s", *lists[i] ? lists[i] : "off");
		c = good(keys);
		port_trunk_text(&c, text, sizeof(text));
		assert_string_equal(text, lists[i]);
	}
	memset(c.trunk, 0x55, sizeof(c.trunk));	/* the longest */
	port_trunk_text(&c, text, sizeof(text));
	assert_string_equal(text + strlen(text) - 10, ",4092,4094");
	port_trunk_text(&c, text, 5);
	assert_int_equal(strlen(text), 4);
}

static void rates_have_units_and_bounds(void **state)
{
	struct port_config c = good("tx-rate=100M,rx-rate=2.5G,tx-pps=1K,rx-pps=0.5M");

	(void)state;
	assert_int_equal(c.tx_bps, 100000000);
	assert_int_equal(c.rx_bps, 2500000000);
	assert_int_equal(c.tx_pps, 1000);
	assert_int_equal(c.rx_pps, 500000);
	c = good("tx-rate=off,rx-rate=0,tx-pps=off,rx-pps=0");
	assert_int_equal(c.tx_bps | c.rx_bps | c.tx_pps | c.rx_pps, 0);
	assert_int_equal(good("rx-rate=8k").rx_bps, 8000);
	assert_int_equal(good("rx-rate=1000G").rx_bps, 1000000000000);
	bad("tx-rate=7999", "tx-rate: '7999' lets one large frame take more than a second: give at least 8K");
	bad("tx-rate=100", "lets one large frame take more than a second");
	bad("rx-rate=1001G", "rx-rate: '1001G' is more than 1000G");
	bad("rx-pps=2G", "rx-pps: '2G' is neither 'off' nor a number of frames a second");
}

static void what_is_no_amount_is_refused(void **state)
{
	static const char *const wrong[] = { "", "-5", "M", "1.M", ".5M", "1.5", "1T", "10Mbit", "1e6", " 5M", "5 M",
					     "99999999999999999999", "999999999999G", "1.0000000001G", "0x10" };
	char keys[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(keys, sizeof(keys), "tx-rate=%s", wrong[i]);
		bad(keys, "tx-rate: ");
		snprintf(keys, sizeof(keys), "rx-pps=%s", wrong[i]);
		bad(keys, "rx-pps: ");
		snprintf(keys, sizeof(keys), "storm=%s", wrong[i]);
		bad(keys, "storm: ");
	}
}

static void storms_and_steering_are_read(void **state)
{
	(void)state;
	assert_int_equal(good("storm=100").storm, 100);
	assert_int_equal(good("storm=2K").storm, 2000);
	assert_int_equal(good("storm=off").storm, 0);
	bad("storm=0", "storm: '0' is neither 'off' nor a number of frames a second");
	assert_int_equal(good("steering=hash").steering, VD_STEER_HASH);
	assert_int_equal(good("steering=auto").steering, VD_STEER_AUTO);
	bad("steering=rss", "steering: 'rss' is not one of auto, hash");
}

static void a_path_from_elsewhere_must_be_absolute(void **state)
{
	struct port_config c;

	(void)state;
	says(port_keys_parse(&here, "name=x,socket=vm.sock", true, &c), "socket: 'vm.sock' does not begin with '/'");
	assert_int_equal(port_keys_parse(&here, "name=x,socket=vm.sock", false, &c), 0);
}

static void what_a_guest_learns_of_the_uplink_is_read(void **state)
{
	struct port_config c = good("");
	char text[200];

	(void)state;
	assert_int_equal(c.link, PORT_LINK_FOLLOW);
	assert_string_equal(c.qmp, "");
	assert_string_equal(c.netdev, "");
	c = good("link=close");
	assert_int_equal(c.link, PORT_LINK_CLOSE);
	c = good("link=always-up,qmp=/run/q.sock,netdev=hostnet0");
	assert_int_equal(c.link, PORT_LINK_ALWAYS_UP);
	assert_string_equal(c.qmp, "/run/q.sock");
	assert_string_equal(c.netdev, "hostnet0");
	assert_int_equal(port_keys_change(&here, "link=follow,netdev=off", &c), 0);
	assert_int_equal(c.link, PORT_LINK_FOLLOW);
	assert_string_equal(c.qmp, "/run/q.sock");
	assert_string_equal(c.netdev, "");
	assert_int_equal(port_keys_change(&here, "qmp=off", &c), 0);
	assert_string_equal(c.qmp, "");
	bad("link=down", "follow, close, always-up");
	bad("qmp=q.sock", "nor a path that begins with '/'");
	bad("qmp=", "nor a path that begins with '/'");
	bad("qmp=/s", "the monitor has a socket of its own");
	bad("netdev=n0", "netdev= needs qmp=");
	bad("qmp=/q,netdev=0n", "nor an id of QEMU's");
	bad("qmp=/q,netdev=n\"", "nor an id of QEMU's");
	bad("qmp=/q,netdev=", "nor an id of QEMU's");
	memset(text, 'a', sizeof(text));
	memcpy(text, "qmp=/", 5);
	text[4 + 108] = '\0';
	bad(text, "longer than 107 bytes");
	memcpy(text, "qmp=/q,netdev=", 14);
	text[14 + 64] = '\0';
	bad(text, "63 characters at most");
}

static void a_change_keeps_what_it_does_not_name(void **state)
{
	struct port_config c = good("mac=02:00:00:00:00:01,02:00:00:00:00:02,queues=4,vlan=7,trunk=8,9,storm=5,tx-rate=1M");

	(void)state;
	assert_int_equal(port_keys_change(&here, "vlan=10,storm=off", &c), 0);
	assert_int_equal(c.vlan, 10);
	assert_int_equal(c.storm, 0);
	assert_int_equal(c.pairs, 4);
	assert_int_equal(c.nmac, 2);
	assert_int_equal(vlans(&c), 2);
	assert_int_equal(c.tx_bps, 1000000);
	assert_int_equal(port_keys_change(&here, "mac=02:00:00:00:00:03,trunk=20-21,30", &c), 0);
	assert_int_equal(c.nmac, 1);
	assert_int_equal(c.mac[0][5], 3);
	assert_int_equal(vlans(&c), 3);
	assert_false(in(&c, 8));
	assert_int_equal(port_keys_change(&here, "trunk=all", &c), 0);
	assert_false(in(&c, 10));
	assert_int_equal(port_keys_change(&here, "vlan=off", &c), 0);
	assert_true(in(&c, 10) && in(&c, 0));
	assert_int_equal(port_keys_change(&here, "trunk=off,mac=auto", &c), 0);
	assert_int_equal(vlans(&c), 0);
	assert_int_equal(c.nmac, 0);
}

static void a_change_is_checked_as_a_whole(void **state)
{
	struct port_config was = good("mac=02:00:00:00:00:01,mac-lock=on,trunk=8,9"), c = was;

	(void)state;
	says(port_keys_change(&here, "vlan=9", &c), "VLAN 9 is in vlan= and in trunk=");
	c = was;
	says(port_keys_change(&here, "mac=auto", &c), "mac-lock=on needs mac=");
	c = was;
	assert_int_equal(port_keys_change(&here, "mac=auto,mac-lock=off", &c), 0);
}

static void what_cannot_change_says_what_to_do(void **state)
{
	static const char *const fixed[] = { "name=y", "socket=/t", "mode=client", "queues=2", "owner=0", "perm=0600",
					     "offloads=off", "features=-packed" };
	struct port_config c = good("");

	(void)state;
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		says(port_keys_change(&here, fixed[i], &c), "use `viaduct port del` and `viaduct port add`");
	says(port_keys_change(&here, "speed=1", &c), "unknown key 'speed'; known keys: mac, mac-lock, isolated");
	says(port_keys_change(&here, "", &c), "'' is not KEY=VALUE");
	says(port_keys_change(&here, "vlan=1,vlan=2", &c), "vlan: given twice");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_may_have_eight_addresses),
		cmocka_unit_test(locking_addresses_needs_addresses),
		cmocka_unit_test(vlans_are_access_trunk_or_both),
		cmocka_unit_test(all_vlans_are_all_but_the_native_one),
		cmocka_unit_test(vlans_that_contradict_are_refused),
		cmocka_unit_test(a_trunk_is_written_as_it_is_read),
		cmocka_unit_test(rates_have_units_and_bounds),
		cmocka_unit_test(what_is_no_amount_is_refused),
		cmocka_unit_test(storms_and_steering_are_read),
		cmocka_unit_test(a_path_from_elsewhere_must_be_absolute),
		cmocka_unit_test(what_a_guest_learns_of_the_uplink_is_read),
		cmocka_unit_test(a_change_keeps_what_it_does_not_name),
		cmocka_unit_test(a_change_is_checked_as_a_whole),
		cmocka_unit_test(what_cannot_change_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
