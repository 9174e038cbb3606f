/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The link monitor over a socket pair: the test plays the kernel's side of
 * RTNETLINK and ethtool. And the interface checks, which need only its picture.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>

#include "xdp/ifcheck.h"
#include "xdp/linkmon.h"

struct fake {
	struct host_ops ops;
	int kernel;		/* our end of the netlink socket */
	int given;		/* the monitor's */
	uint32_t speed;
	uint32_t channels_combined, channels_rx, channels_tx, rss_max;
};

/* What the test says about an interface. */
struct dev {
	int ifindex, link, master, foreign;
	const char *name, *kind;
	uint8_t mac_end;
	uint32_t mtu, flags, prog;
	bool no_carrier;
};

static struct fake fake;
static struct loop *loop;
static struct linkmon *mon;
static char text[256];
static const struct fail why = { .text = text, .len = sizeof(text) };
static unsigned changes, state_changes;

static int fake_netlink(const struct host_ops *h, uint32_t groups)
{
	(void)h;
	assert_int_equal(groups, RTMGRP_LINK);
	return fake.given;
}

static int fake_ethtool(const struct host_ops *h, const char *ifname, void *cmd)
{
	struct ethtool_link_settings *s = cmd;
	struct ethtool_rxfh_indir *r = cmd;
	struct ethtool_channels *c = cmd;
	uint32_t i;

	(void)h;
	(void)ifname;
	switch (*(uint32_t *)cmd) {
	case ETHTOOL_GLINKSETTINGS:
		if (!s->link_mode_masks_nwords) {
			s->link_mode_masks_nwords = -3;
			return 0;
		}
		s->speed = fake.speed;
		s->duplex = 1;
		return 0;
	case ETHTOOL_GCHANNELS:
		if (!fake.channels_combined && !fake.channels_rx)
			return -EOPNOTSUPP;
		c->combined_count = fake.channels_combined;
		c->rx_count = fake.channels_rx;
		c->tx_count = fake.channels_tx;
		return 0;
	case ETHTOOL_GRXFHINDIR:
		if (!fake.rss_max)
			return -EOPNOTSUPP;
		for (i = 0; r->size && i < 128; i++)
			r->ring_index[i] = i % fake.rss_max;
		r->size = 128;
		return 0;
	}
	return -EOPNOTSUPP;
}

static int fake_query(const struct host_ops *h, int ifindex, struct host_xdp_info *info)
{
	(void)h;
	(void)ifindex;
	(void)info;
	return -EOPNOTSUPP;
}

static void say(uint16_t type, uint8_t family, uint32_t seq, const struct dev *d)
{
	char buf[1024] __attribute__((aligned(8))) = { 0 };
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	uint8_t mac[6] = { 2, 0, 0, 0, 0, d->mac_end };
	struct ifinfomsg *ifi;
	struct nlattr *nest;

	h->nlmsg_type = type;
	h->nlmsg_seq = seq;
	ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	ifi->ifi_family = family;
	ifi->ifi_type = ARPHRD_ETHER;
	ifi->ifi_index = d->ifindex;
	ifi->ifi_flags = d->flags ? d->flags : IFF_UP;
	mnl_attr_put_strz(h, IFLA_IFNAME, d->name);
	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(h, IFLA_MTU, d->mtu ? d->mtu : 1500);
	mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 8);
	mnl_attr_put_u8(h, IFLA_CARRIER, !d->no_carrier);
	if (d->link)
		mnl_attr_put_u32(h, IFLA_LINK, (uint32_t)d->link);
	if (d->foreign)
		mnl_attr_put_u32(h, IFLA_LINK_NETNSID, 0);
	if (d->master)
		mnl_attr_put_u32(h, IFLA_MASTER, (uint32_t)d->master);
	if (d->kind) {
		nest = mnl_attr_nest_start(h, IFLA_LINKINFO);
		mnl_attr_put_strz(h, IFLA_INFO_KIND, d->kind);
		mnl_attr_nest_end(h, nest);
	}
	if (d->prog) {
		nest = mnl_attr_nest_start(h, IFLA_XDP);
		mnl_attr_put_u32(h, IFLA_XDP_PROG_ID, d->prog);
		mnl_attr_nest_end(h, nest);
	}
	assert_int_equal(send(fake.kernel, buf, h->nlmsg_len, 0), h->nlmsg_len);
}

static void say_done(uint32_t seq)
{
	struct nlmsghdr h = { .nlmsg_len = sizeof(h), .nlmsg_type = NLMSG_DONE, .nlmsg_seq = seq };

	assert_int_equal(send(fake.kernel, &h, sizeof(h), 0), sizeof(h));
}

static void on_change(void *arg, bool state_changed)
{
	(void)arg;
	changes++;
	state_changes += state_changed;
}

static const struct dev nic = { .ifindex = 2, .name = "nic", .mac_end = 2 };

/* The first dump has number 1. */
static void open_with(const struct dev *devs, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		say(RTM_NEWLINK, AF_UNSPEC, 1, &devs[i]);
	say_done(1);
	assert_int_equal(linkmon_open(&fake.ops, loop, &mon, &why), 0);
	assert_int_equal(linkmon_follow(mon, 2), 0);
	linkmon_on_change(mon, on_change, NULL);
}

static void turn(void)
{
	while (loop_once(loop, 0) > 0)
		;
}

static int setup(void **state)
{
	int s[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s))
		return -1;
	memset(&fake, 0, sizeof(fake));
	fake.ops.netlink = fake_netlink;
	fake.ops.ethtool = fake_ethtool;
	fake.ops.bpf_xdp_query = fake_query;
	fake.kernel = s[0];
	fake.given = s[1];
	fake.speed = 1000;
	mon = NULL;
	changes = state_changes = 0;
	loop = loop_create();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	linkmon_close(mon);
	loop_destroy(loop);
	close(fake.kernel);
	return 0;
}

static void the_first_picture_is_the_dump(void **state)
{
	(void)state;
	open_with(&nic, 1);
	assert_int_equal(linkmon_state(mon)->ifindex, 2);
	assert_true(linkmon_state(mon)->admin_up);
	assert_true(linkmon_state(mon)->carrier);
	assert_int_equal(linkmon_state(mon)->mtu, 1500);
	assert_int_equal(linkmon_state(mon)->speed_mbps, 1000);
	assert_int_equal(linkmon_state(mon)->duplex, 1);
	assert_int_equal(linkmon_state(mon)->mac[5], 2);
}

static void an_interface_that_is_not_there_cannot_be_followed(void **state)
{
	const struct dev other = { .ifindex = 3, .name = "other" };

	(void)state;
	say(RTM_NEWLINK, AF_UNSPEC, 1, &other);
	say_done(1);
	assert_int_equal(linkmon_open(&fake.ops, loop, &mon, &why), 0);
	assert_int_equal(linkmon_follow(mon, 2), -ENODEV);
	assert_int_equal(linkmon_state(mon)->ifindex, 0);
}

static void another_interface_can_be_followed_and_none(void **state)
{
	const struct dev two[] = { nic, { .ifindex = 3, .name = "other", .mac_end = 3 } };

	(void)state;
	open_with(two, 2);
	linkmon_expect_program(mon, 7, false);
	assert_int_equal(linkmon_follow(mon, 3), 0);
	assert_string_equal(linkmon_state(mon)->name, "other");
	assert_int_equal(linkmon_state(mon)->mac[5], 3);
	assert_false(linkmon_state(mon)->xdp_lost);
	assert_int_equal(linkmon_follow(mon, 0), 0);
	assert_int_equal(linkmon_state(mon)->ifindex, 0);
	assert_false(linkmon_state(mon)->carrier);
	assert_int_equal(state_changes, 0);
}

static void a_message_without_a_change_is_no_change(void **state)
{
	(void)state;
	open_with(&nic, 1);
	say(RTM_NEWLINK, AF_UNSPEC, 0, &nic);
	turn();
	assert_int_equal(state_changes, 0);
}

static void carrier_speed_and_name_are_followed(void **state)
{
	struct dev d = nic;

	(void)state;
	open_with(&nic, 1);
	d.no_carrier = true;
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_int_equal(state_changes, 1);
	assert_false(linkmon_state(mon)->carrier);
	d.no_carrier = false;
	fake.speed = (uint32_t)SPEED_UNKNOWN;
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_int_equal(state_changes, 2);
	assert_int_equal(linkmon_state(mon)->speed_mbps, 0);
	/* The speed alone: nothing else in the message is new. */
	fake.speed = 2500;
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_int_equal(linkmon_state(mon)->speed_mbps, 2500);
	d.name = "eth9";
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_string_equal(linkmon_state(mon)->name, "eth9");
	assert_int_equal(linkmon_state(mon)->ifindex, 2);
}

static void removal_is_for_ever_until_it_is_followed_again(void **state)
{
	(void)state;
	open_with(&nic, 1);
	say(RTM_DELLINK, AF_UNSPEC, 0, &nic);
	turn();
	assert_int_equal(linkmon_state(mon)->ifindex, 0);
	assert_false(linkmon_state(mon)->carrier);
	assert_null(linkmon_uplink(mon));
	/* An index may be used again, but it is another interface. */
	say(RTM_NEWLINK, AF_UNSPEC, 0, &nic);
	turn();
	assert_int_equal(linkmon_state(mon)->ifindex, 0);
	assert_int_equal(linkmon_follow(mon, 2), 0);
	assert_true(linkmon_state(mon)->carrier);
}

static void what_a_bridge_says_about_its_port_is_not_about_the_interface(void **state)
{
	(void)state;
	open_with(&nic, 1);
	say(RTM_DELLINK, AF_BRIDGE, 0, &nic);
	turn();
	assert_int_equal(linkmon_state(mon)->ifindex, 2);
	assert_int_equal(state_changes, 0);
}

static void a_program_that_is_not_ours_is_noticed(void **state)
{
	struct dev d = nic;

	(void)state;
	open_with(&nic, 1);
	linkmon_expect_program(mon, 7, false);
	d.prog = 7;
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_false(linkmon_state(mon)->xdp_lost);
	d.prog = 8;
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_true(linkmon_state(mon)->xdp_lost);
	linkmon_expect_program(mon, 7, true);	/* a dispatcher's number may change */
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_false(linkmon_state(mon)->xdp_lost);
	d.prog = 0;
	say(RTM_NEWLINK, AF_UNSPEC, 0, &d);
	turn();
	assert_true(linkmon_state(mon)->xdp_lost);
}

static void garbage_is_ignored(void **state)
{
	uint8_t junk[512];
	unsigned i, k;

	(void)state;
	open_with(&nic, 1);
	srand(1);
	for (i = 0; i < 2000; i++) {
		struct nlmsghdr h = { .nlmsg_type = RTM_NEWLINK, .nlmsg_len = 16 + (uint32_t)rand() % 496 };

		for (k = 0; k < sizeof(junk); k++)
			junk[k] = (uint8_t)(rand() % 8 ? rand() % 64 : rand());
		memcpy(junk, &h, sizeof(h));
		junk[16] = AF_UNSPEC;
		memcpy(junk + 20, "\x63\x00\x00\x00", 4);	/* interface 99 */
		send(fake.kernel, junk, (size_t)(rand() % 4 ? h.nlmsg_len : (uint32_t)rand() % 512), 0);
		turn();
	}
	assert_int_equal(linkmon_state(mon)->ifindex, 2);
}

static bool is_host_mac(uint8_t mac_end)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, mac_end };
	uint8_t macs[32][6];
	unsigned n = linkmon_host_macs(mon, macs, 32), i;

	for (i = 0; i < n; i++)
		if (!memcmp(macs[i], mac, 6))
			return true;
	return false;
}

static void devices_above_the_uplink_are_the_hosts(void **state)
{
	const struct dev devs[] = {
		/* listed upside down: the order of the dump does not matter */
		{ .ifindex = 9, .name = "mv", .kind = "macvlan", .link = 8, .mac_end = 9 },
		{ .ifindex = 8, .name = "vl", .kind = "vlan", .link = 7, .mac_end = 8 },
		{ .ifindex = 7, .name = "bond0", .kind = "bond", .mac_end = 7 },
		{ .ifindex = 2, .name = "nic", .master = 7, .mac_end = 2 },
		{ .ifindex = 3, .name = "slave", .master = 7, .mac_end = 3 },
		{ .ifindex = 4, .name = "peer", .kind = "veth", .link = 2, .mac_end = 4 },
		{ .ifindex = 5, .name = "far", .kind = "macvlan", .link = 2, .foreign = 1, .mac_end = 5 },
		{ .ifindex = 6, .name = "other", .mac_end = 6 },
	};

	(void)state;
	open_with(devs, 8);
	assert_true(is_host_mac(2));
	assert_true(is_host_mac(7));
	assert_true(is_host_mac(8));
	assert_true(is_host_mac(9));
	assert_false(is_host_mac(3));
	assert_false(is_host_mac(4));
	assert_false(is_host_mac(5));
	assert_false(is_host_mac(6));
}

static void a_change_above_is_told_though_the_link_is_the_same(void **state)
{
	const struct dev vlan = { .ifindex = 3, .name = "vl", .kind = "vlan", .link = 2, .mac_end = 3 };

	(void)state;
	open_with(&nic, 1);
	say(RTM_NEWLINK, AF_UNSPEC, 0, &vlan);
	turn();
	assert_int_equal(changes, 1);
	assert_int_equal(state_changes, 0);
	assert_true(is_host_mac(3));
	say(RTM_DELLINK, AF_UNSPEC, 0, &vlan);
	turn();
	assert_int_equal(changes, 2);
	assert_false(is_host_mac(3));
}

static void a_bond_is_refused_and_its_members_named(void **state)
{
	const struct dev devs[] = {
		{ .ifindex = 2, .name = "nic", .kind = "bond" },
		{ .ifindex = 3, .name = "eth7", .master = 2 },
		{ .ifindex = 4, .name = "eth8", .master = 2 },
	};
	struct ifcheck c;

	(void)state;
	open_with(devs, 3);
	assert_int_equal(ifcheck_kind(mon, linkmon_uplink(mon), &c, &why), -EOPNOTSUPP);
	assert_non_null(strstr(text, "eth7, eth8"));
}

static void a_vlan_device_is_generic_only(void **state)
{
	const struct dev devs[] = {
		{ .ifindex = 2, .name = "nic", .kind = "vlan", .link = 3 },
		{ .ifindex = 3, .name = "eth7" },
	};
	struct ifcheck c;

	(void)state;
	open_with(devs, 2);
	assert_int_equal(ifcheck_kind(mon, linkmon_uplink(mon), &c, &why), 0);
	assert_true(c.generic_only);
	assert_non_null(strstr(c.generic_why, "eth7"));
}

static void channels_are_counted_however_the_driver_counts_them(void **state)
{
	struct ifcheck c = { 0 };

	(void)state;
	open_with(&nic, 1);
	ifcheck_queues(&fake.ops, linkmon_uplink(mon), &c);
	assert_int_equal(c.queues, 1);		/* no ethtool */
	fake.channels_combined = 4;
	ifcheck_queues(&fake.ops, linkmon_uplink(mon), &c);
	assert_int_equal(c.queues, 4);
	assert_int_equal(c.tx_queues, 4);
	assert_int_equal(c.fed, 4);
	fake.channels_combined = 0;
	fake.channels_rx = 3;
	fake.channels_tx = 2;
	ifcheck_queues(&fake.ops, linkmon_uplink(mon), &c);
	assert_int_equal(c.queues, 3);
	assert_int_equal(c.tx_queues, 2);
	assert_false(c.combined);
	fake.channels_combined = 64;		/* more than the interface was made with */
	ifcheck_queues(&fake.ops, linkmon_uplink(mon), &c);
	assert_int_equal(c.queues, 8);
}

static void every_queue_that_rss_feeds_must_be_served(void **state)
{
	struct ifcheck c = { 0 };

	(void)state;
	open_with(&nic, 1);
	fake.channels_combined = 8;
	fake.rss_max = 2;
	ifcheck_queues(&fake.ops, linkmon_uplink(mon), &c);
	assert_int_equal(c.fed, 2);
	assert_int_equal(ifcheck_choose_queues(&c, "nic", 0, &why), 8);
	assert_int_equal(ifcheck_choose_queues(&c, "nic", 2, &why), 2);
	assert_int_equal(ifcheck_choose_queues(&c, "nic", 1, &why), -EINVAL);
	assert_non_null(strstr(text, "ethtool -L nic combined 1"));
	assert_non_null(strstr(text, "ethtool -X nic equal 1"));
	assert_int_equal(ifcheck_choose_queues(&c, "nic", 9, &why), -EINVAL);
}

static void the_chunk_follows_the_mtu_and_beyond_one_chunk_frames_come_in_pieces(void **state)
{
	struct linkmon_dev d = { .name = "nic", .mtu = 1500 };
	bool sg = true;

	(void)state;
	assert_int_equal(ifcheck_chunk(&d, &sg, &why), 2048);
	assert_false(sg);
	d.mtu = 2000;
	assert_int_equal(ifcheck_chunk(&d, &sg, &why), 4096);
	d.mtu = 3498;
	assert_int_equal(ifcheck_chunk(&d, &sg, &why), 4096);
	assert_false(sg);
	d.mtu = 3499;
	assert_int_equal(ifcheck_chunk(&d, &sg, &why), 4096);
	assert_true(sg);
	d.mtu = 9216;
	assert_int_equal(ifcheck_chunk(&d, &sg, &why), 4096);
	assert_true(sg);
}

static void an_mtu_beyond_all_pieces_is_refused_with_the_largest_that_works(void **state)
{
	struct linkmon_dev d = { .name = "nic", .mtu = 11499 };
	bool sg;

	(void)state;
	assert_int_equal(ifcheck_chunk(&d, &sg, &why), -EMSGSIZE);
	assert_non_null(strstr(text, "ip link set dev nic mtu 11498"));
	d.mtu = UINT32_MAX;
	assert_int_equal(ifcheck_chunk(&d, &sg, &why), -EMSGSIZE);
}

#define linkmon_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		linkmon_test(the_first_picture_is_the_dump),
		linkmon_test(an_interface_that_is_not_there_cannot_be_followed),
		linkmon_test(another_interface_can_be_followed_and_none),
		linkmon_test(a_message_without_a_change_is_no_change),
		linkmon_test(carrier_speed_and_name_are_followed),
		linkmon_test(removal_is_for_ever_until_it_is_followed_again),
		linkmon_test(what_a_bridge_says_about_its_port_is_not_about_the_interface),
		linkmon_test(a_program_that_is_not_ours_is_noticed),
		linkmon_test(garbage_is_ignored),
		linkmon_test(devices_above_the_uplink_are_the_hosts),
		linkmon_test(a_change_above_is_told_though_the_link_is_the_same),
		linkmon_test(a_bond_is_refused_and_its_members_named),
		linkmon_test(a_vlan_device_is_generic_only),
		linkmon_test(channels_are_counted_however_the_driver_counts_them),
		linkmon_test(every_queue_that_rss_feeds_must_be_served),
		cmocka_unit_test(the_chunk_follows_the_mtu_and_beyond_one_chunk_frames_come_in_pieces),
		cmocka_unit_test(an_mtu_beyond_all_pieces_is_refused_with_the_largest_that_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
