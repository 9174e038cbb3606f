/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands print of what an instance answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/names.h"
#include "ctl/show.h"
#include "viaduct_bpf.h"

static char *shown_by(void (*show)(const json_t *, FILE *), const char *json)
{
	json_t *o = json_loads(json, 0, NULL);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(o);
	show(o, out);
	fclose(out);
	json_decref(o);
	return text;
}

static char *shown(const char *json)
{
	return shown_by(show_status, json);
}

/* All of them, and no line with blanks at its end. */
static void expect(char *text, const char *const *expected, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!strstr(text, expected[i]))
			print_error("'%s' is not in\n%s", expected[i], text);
		assert_non_null(strstr(text, expected[i]));
	}
	assert_null(strstr(text, " \n"));
	free(text);
}
#define EXPECT(text, ...)                                         \
	do {                                                      \
		static const char *const all[] = { __VA_ARGS__ }; \
		expect(text, all, sizeof(all) / sizeof(all[0]));  \
	} while (0)

static void a_status_is_shown_with_what_matters(void **state)
{
	static const char *const expected[] = {
		"instance eth1",
		"process 77",
		"up 1:02:03",
		"waiting adaptive",
		"uplink eth1 (veth, index 3): up\n",
		"10000 Mbit/s, full duplex, MTU 1500",
		"copy, attached by link, program 5, adopted",
		"not better    no zero-copy here",
		"1 guest address, all-multicast on",
		"tag stripping off (was on)",
		"port vm0 (server on /run/x.sock): down (not_connected)\n",
		"version_1 mrg_rxbuf",
		"1 of 4 enabled",
		"02:00:00:00:00:01 learned",
		"pair 0 rx drops: drop_short 2, broken_head 1",
		"  0          copy  ready  0       2048",
		"  0     rx    packed  running   256       10   1000     20      3\n",
		"pair 0 rx offloads: large_packets 4, frames_of_large_packets 40",
		"frames on node 1",
		"guest memory and rings on node 0",
		"flow hash       by software (veth has none)",
		"checksums       by driver",
		"yes; frames longer than a buffer come in pieces",
		"7 packets, 700 bytes; dropped: share 4; lost on the way to the worker: 9",
	};
	char *text = shown(
		"{\"version\":\"0.1.0\",\"name\":\"eth1\",\"pid\":77,\"uptime_s\":3723.5,\"wait\":\"adaptive\","
		"\"uplink\":{\"interface\":\"eth1\",\"ifindex\":3,\"driver\":\"veth\",\"up\":true,\"reason\":\"none\","
		"\"speed_mbps\":10000,\"duplex\":\"full\",\"mtu\":1500,\"mac\":\"02:00:00:00:00:09\","
		"\"xdp\":{\"mode\":\"copy\",\"why_not_better\":\"no zero-copy here\",\"attach\":\"link\","
		"\"program_id\":5,\"adopted\":true,\"metadata\":\"yes\",\"multi_buffer\":true,"
		"\"rx_hash\":{\"by\":\"software\",\"why_not_driver\":\"veth has none\"},"
		"\"tx_checksum\":{\"by\":\"driver\",\"why_not_driver\":\"\"}},\"numa_node\":1,"
		"\"receive_filter\":{\"entries\":1,\"allmulti\":true},"
		"\"vlan\":{\"rxvlan_before\":\"on\",\"rxvlan_now\":\"off\",\"filter_before\":\"on\","
		"\"filter_now\":\"off\",\"fixed\":false},"
		"\"queues\":[{\"queue\":0,\"worker\":0,\"mode\":\"copy\",\"state\":\"ready\",\"ring_size\":2048,"
		"\"frames\":{\"free\":1,\"fill\":2,\"held\":3,\"tx\":4,\"lost\":5,\"total\":15},"
		"\"rx_packets\":100,\"tx_packets\":200,\"last_error\":\"No such device\"}],"
		"\"host\":{\"packets\":5,\"multicast\":2,\"drops\":{\"unknown\":1}}},"
		"\"workers\":[{\"worker\":0,\"cpu\":-1,\"loops\":10,\"sleeps\":5}],"
		"\"ports\":[{\"name\":\"vm0\",\"socket\":\"/run/x.sock\",\"role\":\"server\",\"up\":false,"
		"\"reason\":\"not_connected\",\"connected\":true,\"peer_pid\":1,\"connections\":3,\"numa_node\":0,"
		"\"features\":[\"version_1\",\"mrg_rxbuf\"],\"pairs\":{\"max\":4,\"enabled\":1},"
		"\"addresses\":[{\"mac\":\"02:00:00:00:00:01\",\"kind\":\"learned\"}],"
		"\"pair\":[{\"pair\":0,\"rx\":{\"packets\":10,\"bytes\":1000,\"calls\":20,"
		"\"drops\":{\"drop_short\":2,\"broken_head\":1},\"state\":\"running\",\"kind\":\"packed\",\"size\":256,"
		"\"offloads\":{\"large_packets\":4,\"frames_of_large_packets\":40}},"
		"\"tx\":{\"packets\":0,\"state\":\"stopped\"}}],"
		"\"xdp\":{\"packets\":7,\"bytes\":700,\"drops\":{\"share\":4}},\"lost_in_ring\":9}]}");

	(void)state;
	expect(text, expected, sizeof(expected) / sizeof(expected[0]));
}

static void a_status_without_anything_is_shown_too(void **state)
{
	char *text = shown("{}");

	(void)state;
	assert_non_null(strstr(text, "viaduct"));
	free(text);
	text = shown("{\"uplink\":7,\"ports\":[1,{}],\"workers\":{}}");
	free(text);
}

static void what_a_port_may_do_is_shown(void **state)
{
	(void)state;
	EXPECT(shown_by(show_one_port,
			"{\"uplink\":{\"interface\":\"eth1\"},\"ports\":[{\"name\":\"vm0\",\"role\":\"server\","
			"\"socket\":\"/s\","
			"\"up\":true,\"link\":{\"policy\":\"follow\",\"admin\":\"up\",\"guest\":\"untold\","
			"\"told_by\":\"nothing\",\"why\":\"no way\"},\"config\":{\"vlan\":5,\"trunk\":\"10,20-29\",\"isolated\":true,\"mac_lock\":true,"
			"\"steering\":\"hash\",\"storm\":20000,\"tx_rate\":2500000000,\"rx_rate\":8000,\"tx_pps\":1500,"
			"\"rx_pps\":0},\"addresses\":[{\"mac\":\"02:00:00:00:00:01\",\"kind\":\"learned\",\"vlan\":5,"
			"\"age_s\":12}],\"forwarded\":{\"to_ports\":3,\"to_host\":4},\"drops\":{\"storm\":9}}]}"),
	       "port vm0 (server on /s): up\n",
	       "link            follow; the guest's is down, but it does not know: no way\n",
	       "VLAN            5, trunk 10,20-29\n",
	       "limits          tx-rate 2500M, rx-rate 8K, tx-pps 1500, storm 20K\n",
	       "policy          isolated, mac-lock, steering hash\n",
	       "02:00:00:00:00:01 learned in VLAN 5, silent for 12 s\n", "on this host    to_ports 3, to_host 4\n",
	       "worker drops    storm 9\n");
}

static void the_host_and_unknown_addresses_are_shown(void **state)
{
	(void)state;
	EXPECT(shown("{\"wait\":\"busy\",\"forwarding\":{\"unknown\":\"guest\",\"unknown_port\":\"vm0\",\"aging_s\":"
		     "300},"
		     "\"uplink\":{\"mac\":\"x\",\"address_moves\":2,\"host_port\":{\"interface\":\"vd-eth1\",\"attach\":\"tcx\","
		     "\"packets\":7,\"dropped\":1}}}"),
	       "from the host   vd-eth1 (tcx), 7 packets, 1 dropped\n",
	       "unknown addresses: guest vm0; learned ones go after 300 s; 2 moved\n");
	EXPECT(shown("{\"wait\":\"busy\",\"uplink\":{\"mac\":\"x\",\"channels_set\":\"rss\",\"busy_poll\":{\"on\":false,"
		     "\"why_not\":\"Not here\"},\"hw_steer\":{\"on\":true,\"rules\":3}}}"),
	       "NIC             rss set until the end, busy polling off (Not here), rules for addresses on: 3\n");
	EXPECT(shown("{\"wait\":\"busy\",\"forwarding\":{\"unknown\":\"pass\",\"aging_s\":0},\"uplink\":{\"mac\":\"x\"}}"),
	       "unknown addresses: pass; learned ones stay\n");
}

static void an_uplink_that_is_as_it_should_be_has_no_line_about_its_device(void **state)
{
	char *text = shown("{\"uplink\":{\"interface\":\"eth1\",\"device\":{\"name\":\"eth1\",\"standby\":\"eth2\","
			   "\"in_use\":\"first\",\"moves\":2},\"trouble\":[],\"trouble_why\":\"\",\"repaired\":{}}}");

	(void)state;
	assert_null(strstr(text, "device"));
	assert_null(strstr(text, "trouble"));
	assert_null(strstr(text, "put right"));
	free(text);
}

static void a_standby_in_use_and_a_device_that_is_awaited_are_shown(void **state)
{
	(void)state;
	EXPECT(shown("{\"wait\":\"busy\",\"uplink\":{\"mac\":\"x\",\"device\":{\"mac\":\"02:00:00:00:00:01\","
		     "\"standby\":\"eth2\",\"in_use\":\"standby\",\"moves\":1}}}"),
	       "device          standby in use: the better one is away or down; moved 1 time\n");
	EXPECT(shown("{\"wait\":\"busy\",\"uplink\":{\"mac\":\"x\",\"reason\":\"gone\",\"device\":{"
		     "\"name\":\"eth1\",\"standby\":\"eth2\",\"in_use\":\"none\",\"moves\":0}}}"),
	       "): down (gone)\n  device          none: waiting for eth1 or eth2\n");
	EXPECT(shown("{\"wait\":\"busy\",\"uplink\":{\"mac\":\"x\",\"device\":{\"name\":\"auto\","
		     "\"in_use\":\"none\",\"moves\":3}}}"),
	       "device          none: waiting for auto; moved 3 times\n");
	EXPECT(shown("{\"wait\":\"busy\",\"uplink\":{\"mac\":\"x\",\"device\":{\"name\":\"eth1\",\"standby\":\"eth2\","
		     "\"in_use\":\"first\",\"moves\":0,\"refused\":\"the host routes through eth2\"}}}"),
	       "  not taken     the host routes through eth2\n");
}

static void without_a_device_nothing_is_said_of_the_last_one(void **state)
{
	char *text = shown("{\"wait\":\"busy\",\"uplink\":{\"mac\":\"02:00:00:00:00:09\",\"mtu\":1500,\"device\":{\"name\":\"eth1\","
			   "\"in_use\":\"none\"},\"xdp\":{\"mode\":\"copy\",\"attach\":\"link\",\"program_id\":0}}}");

	(void)state;
	assert_null(strstr(text, "MTU"));
	assert_null(strstr(text, "XDP"));
	free(text);
}

static void each_trouble_of_the_uplink_is_shown_with_what_mends_it(void **state)
{
	(void)state;
	EXPECT(shown("{\"wait\":\"busy\",\"uplink\":{\"mac\":\"x\",\"trouble\":[\"program\",\"mtu\","
		     "\"one_of_a_later_version\",7],"
		     "\"trouble_why\":\"eth1 has an XDP program already\",\"repaired\":{\"program\":5,\"filter\":1}}}"),
	       "trouble         program: guests receive nothing from the wire: take the other XDP program off",
	       "trouble         mtu: longer frames than buffers hold are dropped: a smaller MTU",
	       "trouble         one_of_a_later_version\n", "  why           eth1 has an XDP program already\n",
	       "put right       program 5, filter 1\n");
}

static void several_ports_are_a_line_each(void **state)
{
	(void)state;
	EXPECT(shown("{\"wait\":\"busy\",\"ports\":[{\"name\":\"a-name-of-31-characters-is-long\",\"up\":true,"
		     "\"pairs\":{\"max\":4,"
		     "\"enabled\":2},\"config\":{\"vlan\":5},\"totals\":{\"rx_packets\":10,\"tx_packets\":20,\"rx_"
		     "drops\":1,"
		     "\"tx_drops\":2},\"xdp\":{\"drops\":{\"share\":4,\"rate\":8}},\"drops\":{\"storm\":16},"
		     "\"lost_in_ring\":32,\"pair\":[{\"pair\":0}]},"
		     "{\"name\":\"vm1\",\"up\":false,\"reason\":\"not_connected\",\"pairs\":{\"max\":1,\"enabled\":0}}]"
		     "}"),
	       "\n2 ports; all of one: viaduct status --port PORT\n",
	       "  port                             link                  VLAN  pairs  rx packets  tx packets  drops\n",
	       "  a-name-of-31-characters-is-long  up                    5     2/4            10          20     63\n",
	       "  vm1                              down (not_connected)  -     0/1             0           0      0\n");
}

static void a_list_of_ports_shows_what_they_are(void **state)
{
	(void)state;
	EXPECT(shown_by(
		       show_port_list,
		       "{\"ports\":[{\"name\":\"vm0\",\"up\":true,\"pairs\":{\"max\":1,\"enabled\":1},\"connected\":"
		       "true,"
		       "\"peer_pid\":77,\"config\":{\"trunk\":\"1,3,5,7,9,11,13,15,17,19,21,23,25,27\"},\"addresses\":["
		       "{\"mac\":\"02:00:00:00:00:01\"},{\"mac\":\"02:00:00:00:00:02\"},{\"mac\":\"02:00:00:00:00:03\"}"
		       "]},"
		       "{\"name\":\"vm1\",\"reason\":\"not_connected\"}]}"),
	       "port  link                  pairs  VLAN", "session     addresses\n",
	       "  vm0   up                    1/1    trunk 1,3,5,7,9,11,13,15,17,19,21,23...  process 77  "
	       "02:00:00:00:00:01 +2\n",
	       "  vm1   down (not_connected)  0/0    -");
	EXPECT(shown_by(show_port_list, "{\"ports\":[]}"), "no ports: `viaduct port add` makes one\n");
	free(shown_by(show_port_list, "{\"ports\":[7,[]]}"));
	free(shown_by(show_port_list, "[]"));
}

/* What viaduct steer prints of a table whose entry i is @pair(i). */
static char *table(unsigned (*pair)(unsigned i))
{
	json_t *o = json_pack("{s:s, s:s, s:i, s:i}", "port", "vm0", "mode", "auto", "max", 4, "enabled", 2);
	json_t *pairs = json_array();
	char *json, *text;

	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		json_array_append_new(pairs, json_integer(pair(i)));
	json_object_set_new(o, "pairs", pairs);
	json = json_dumps(o, 0);
	text = shown_by(show_steering, json);
	free(json);
	json_decref(o);
	return text;
}

static unsigned spread(unsigned i)
{
	return i % 4;
}

static unsigned halves(unsigned i)
{
	return i == 64 ? 3 : i < 64;
}

static unsigned wild(unsigned i)
{
	return i * 7 % 4 ^ i / 9 % 4;
}

static void a_steering_table_is_shown_compactly(void **state)
{
	char *text, *line, *rest;

	(void)state;
	EXPECT(table(spread), "port vm0: mode auto, 2 of 4 queue pairs enabled\n",
	       "flow hash modulo 128 = queue pair: spread\n");
	EXPECT(table(halves), "queue pair: 0-63=1,64=3,65-127=0\n");
	text = rest = table(wild);
	while ((line = strsep(&rest, "\n")))
		assert_true(strlen(line) < 132);
	free(text);
	free(shown_by(show_steering, "{}"));
	free(shown_by(show_steering, "{\"pairs\":[\"x\",-1],\"max\":-1}"));
}

static void bits_have_names(void **state)
{
	json_t *list = json_pack("[s,s,s]", "mrg_rxbuf", "version_1", "bit_51"), *got;

	(void)state;
	got = names_json(1ull << 15 | 1ull << 32 | 1ull << 51, bits_feature);
	assert_true(json_equal(list, got));
	json_decref(got);
	json_decref(list);
	list = json_pack("[s,s,s]", "mq", "reply_ack", "status");
	got = names_json(1ull << 0 | 1ull << 3 | 1ull << 16, bits_protocol);
	assert_true(json_equal(list, got));
	json_decref(got);
	json_decref(list);
	got = names_json(0xf, names_status);
	assert_int_equal(json_array_size(got), 4);
	json_decref(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_is_shown_with_what_matters),
		cmocka_unit_test(a_status_without_anything_is_shown_too),
		cmocka_unit_test(what_a_port_may_do_is_shown),
		cmocka_unit_test(the_host_and_unknown_addresses_are_shown),
		cmocka_unit_test(an_uplink_that_is_as_it_should_be_has_no_line_about_its_device),
		cmocka_unit_test(a_standby_in_use_and_a_device_that_is_awaited_are_shown),
		cmocka_unit_test(without_a_device_nothing_is_said_of_the_last_one),
		cmocka_unit_test(each_trouble_of_the_uplink_is_shown_with_what_mends_it),
		cmocka_unit_test(several_ports_are_a_line_each),
		cmocka_unit_test(a_list_of_ports_shows_what_they_are),
		cmocka_unit_test(a_steering_table_is_shown_compactly),
		cmocka_unit_test(bits_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
