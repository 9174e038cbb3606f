/* SPDX-License-Identifier: BSD-2-Clause */
/* What another tool changed, on a device that the test plays: its channels, and the list of addresses that it lets in. */
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
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "xdp/watch.h"

#define IFINDEX 7
#define SOCKET 99

static struct {
	struct host_ops ops;
	uint8_t mac[WATCH_MACS][6];	/* in the filter */
	unsigned n;
	unsigned joined[256];		/* memberships by the last byte of the address */
	bool hidden, refused;
	bool others;			/* the same address in other tables */
	uint32_t combined, rss;
	int error;			/* of ethtool */
	uint16_t end;			/* NLMSG_DONE or _ERROR */
	uint16_t end_flags;
	unsigned dumps, changes;
	int garbage;
	int peer[64];
	unsigned npeer;
} dev;

static const struct linkmon_dev nic = { .ifindex = IFINDEX, .name = "nic", .rx_queues = 16 };
static const uint8_t three[3][6] = { { 2, 0, 0, 0, 0, 9 }, { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 5 } };
static unsigned missing;

static int fake_ethtool(const struct host_ops *h, const char *ifname, void *cmd)
{
	struct ethtool_channels *c = cmd;
	struct ethtool_rxfh_indir *r = cmd;

	(void)h;
	assert_string_equal(ifname, "nic");
	switch (*(uint32_t *)cmd) {
	case ETHTOOL_GCHANNELS:
		if (!dev.error)
			c->combined_count = dev.combined;
		return dev.error;
	case ETHTOOL_GRXFHINDIR:
		if (!dev.rss)
			return -EOPNOTSUPP;
		for (uint32_t i = 0; r->size && i < 128; i++)
			r->ring_index[i] = i % dev.rss;
		r->size = 128;
		return 0;
	}
	return -EOPNOTSUPP;
}

static size_t put(void *buf, int ifindex, uint8_t family, uint8_t flags, const uint8_t *mac, size_t len)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ndmsg *ndm;

	h->nlmsg_type = RTM_NEWNEIGH;
	h->nlmsg_seq = 1;
	ndm = mnl_nlmsg_put_extra_header(h, sizeof(*ndm));
	ndm->ndm_family = family;
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_flags = flags;
	mnl_attr_put(h, NDA_LLADDR, len, mac);
	return h->nlmsg_len;
}

/* Many to a datagram, as the kernel does. */
static void say_filter(int s)
{
	static char buf[16384] __attribute__((aligned(8)));
	size_t at = 0;

	for (unsigned i = 0; i < dev.n && !dev.hidden; i++) {
		at += put(buf + at, IFINDEX, AF_BRIDGE, NTF_SELF, dev.mac[i], 6);
		if (i + 1 == dev.n || at + 64 > sizeof(buf)) {
			assert_int_equal(send(s, buf, at, 0), at);
			at = 0;
		}
	}
}

static void say(int s, int ifindex, uint8_t family, uint8_t flags, size_t len)
{
	char buf[64] __attribute__((aligned(8)));
	size_t n = put(buf, ifindex, family, flags, three[0], len);

	assert_int_equal(send(s, buf, n, 0), n);
}

static void say_garbage(int s)
{
	uint8_t junk[256];

	for (int i = 0; i < dev.garbage; i++) {
		struct nlmsghdr h = { .nlmsg_type = RTM_NEWNEIGH, .nlmsg_seq = 1,
				      .nlmsg_len = (uint32_t)rand() % (rand() % 8 ? 256 : UINT32_MAX) };
		struct ndmsg ndm = { .ndm_family = AF_BRIDGE, .ndm_ifindex = IFINDEX, .ndm_flags = NTF_SELF };

		for (unsigned k = 0; k < sizeof(junk); k++)
			junk[k] = (uint8_t)(rand() % 8 ? rand() % 16 : rand());
		memcpy(junk, &h, sizeof(h));
		memcpy(junk + sizeof(h), &ndm, sizeof(ndm));
		assert_true(send(s, junk, 1 + (size_t)rand() % 255, 0) > 0);
	}
}

/* Answers before it is asked: the filter, a closing word. */
static int fake_netlink(const struct host_ops *h, uint32_t groups)
{
	struct {
		struct nlmsghdr h;
		int err;
	} end = { { .nlmsg_len = sizeof(end), .nlmsg_type = dev.end, .nlmsg_seq = 1, .nlmsg_flags = dev.end_flags },
		  dev.end == NLMSG_ERROR ? -EPERM : 0 };
	int s[2];

	(void)h;
	(void)groups;
	dev.dumps++;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s), 0);
	say_filter(s[0]);
	if (dev.others) {
		say(s[0], IFINDEX + 1, AF_BRIDGE, NTF_SELF, 6);
		say(s[0], IFINDEX, AF_BRIDGE, NTF_MASTER, 6);
		say(s[0], IFINDEX, AF_INET, NTF_SELF, 6);
		say(s[0], IFINDEX, AF_BRIDGE, NTF_SELF, 5);
	}
	say_garbage(s[0]);
	assert_int_equal(send(s[0], &end, sizeof(end), 0), sizeof(end));
	assert_true(dev.npeer < 64);
	dev.peer[dev.npeer++] = s[0];
	return s[1];
}

static void take_out(const uint8_t mac[6])
{
	for (unsigned i = 0; i < dev.n; i++)
		if (!memcmp(dev.mac[i], mac, 6)) {
			memcpy(dev.mac[i], dev.mac[--dev.n], 6);
			return;
		}
}

/* As the kernel does: only the first and the last of a socket reach the device. */
static int fake_membership(const struct host_ops *h, int fd, int ifindex, uint16_t type, const uint8_t mac[6], bool add)
{
	unsigned *joined = &dev.joined[mac[5]];

	(void)h;
	assert_int_equal(fd, SOCKET);
	assert_int_equal(ifindex, IFINDEX);
	assert_int_equal(type, PACKET_MR_UNICAST);
	dev.changes++;
	if (add && !(*joined)++ && !dev.refused)
		memcpy(dev.mac[dev.n++], mac, 6);
	if (!add && *joined && !--*joined)
		take_out(mac);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memset(&dev, 0, sizeof(dev));
	dev.ops = (struct host_ops){ .netlink = fake_netlink, .ethtool = fake_ethtool,
				     .packet_membership = fake_membership };
	dev.end = NLMSG_DONE;
	dev.combined = 4;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (dev.npeer)
		close(dev.peer[--dev.npeer]);
	return 0;
}

static void channels_and_what_rss_feeds_are_counted(void **state)
{
	struct ifcheck c = { 0 };

	(void)state;
	assert_int_equal(watch_channels(&dev.ops, &nic, &c), 4);
	assert_int_equal(c.fed, 4);
	dev.combined = 8;
	dev.rss = 3;
	assert_int_equal(watch_channels(&dev.ops, &nic, &c), 8);
	assert_int_equal(c.fed, 3);
	dev.error = -EOPNOTSUPP;
	assert_int_equal(watch_channels(&dev.ops, &nic, &c), 1);
}

static void channels_of_a_device_that_is_gone_are_not_known(void **state)
{
	struct ifcheck c = { .fed = 77 };

	(void)state;
	dev.error = -ENODEV;
	assert_int_equal(watch_channels(&dev.ops, &nic, &c), -ENODEV);
	assert_int_equal(c.fed, 77);
}

static void join(const uint8_t (*macs)[6], unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fake_membership(NULL, SOCKET, IFINDEX, PACKET_MR_UNICAST, macs[i], true);
	dev.changes = 0;
}

static int look(const uint8_t (*macs)[6], unsigned n)
{
	return watch_filter(&dev.ops, SOCKET, IFINDEX, macs, n, &missing);
}

static void a_filter_that_is_whole_is_not_touched(void **state)
{
	struct { struct nlmsghdr h; struct ndmsg ndm; } asked;

	(void)state;
	join(three, 3);
	assert_int_equal(look(three, 3), 0);
	assert_int_equal(missing, 0);
	assert_int_equal(dev.changes, 0);
	assert_int_equal(recv(dev.peer[0], &asked, sizeof(asked), 0), sizeof(asked));
	assert_int_equal(asked.h.nlmsg_type, RTM_GETNEIGH);
	assert_int_equal(asked.ndm.ndm_family, AF_BRIDGE);
	assert_int_equal(asked.ndm.ndm_ifindex, IFINDEX);
	assert_int_equal(look(NULL, 0), 0);
	assert_int_equal(dev.dumps, 1);
}

static void an_address_that_was_taken_out_is_entered_again(void **state)
{
	(void)state;
	join(three, 3);
	take_out(three[1]);
	assert_int_equal(look(three, 3), 0);
	assert_int_equal(missing, 1);
	assert_int_equal(dev.changes, 2);
	assert_int_equal(look(three, 3), 0);
	assert_int_equal(missing, 0);
}

static void an_address_of_two_guests_in_two_vlans_is_entered_again_for_both(void **state)
{
	const uint8_t twice[3][6] = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 }, { 2, 0, 0, 0, 0, 1 } };

	(void)state;
	join(twice, 3);
	take_out(twice[0]);
	assert_int_equal(look(twice, 3), 0);
	assert_int_equal(missing, 1);
	assert_int_equal(dev.joined[1], 2);
	assert_int_equal(dev.joined[2], 1);
}

static void as_many_as_there_may_be_are_compared_in_any_order(void **state)
{
	static uint8_t many[WATCH_MACS][6];

	(void)state;
	for (unsigned i = 0; i < WATCH_MACS; i++) {
		unsigned k = i * 1021 % WATCH_MACS;

		many[i][0] = 2;
		many[i][3] = (uint8_t)(k >> 8);
		many[i][4] = (uint8_t)k;
		many[i][5] = 3;
		memcpy(dev.mac[dev.n++], many[i], 6);
	}
	assert_int_equal(look(many, WATCH_MACS), 0);
	assert_int_equal(missing, 0);
	take_out(many[1234]);
	assert_int_equal(look(many, WATCH_MACS), 0);
	assert_int_equal(missing, 1);
	assert_int_equal(look(many, WATCH_MACS + 1), -E2BIG);
}

static void what_stays_away_is_told(void **state)
{
	(void)state;
	join(three, 3);
	dev.hidden = true;		/* a driver that does not show its filter */
	assert_int_equal(look(three, 3), 3);
	assert_int_equal(missing, 3);
	dev.hidden = false;
	assert_int_equal(look(three, 3), 0);
	dev.refused = true;
	take_out(three[0]);
	assert_int_equal(look(three, 3), 1);
	assert_int_equal(missing, 1);
}

static void entries_of_others_do_not_count(void **state)
{
	(void)state;
	join(three, 1);
	take_out(three[0]);
	dev.refused = dev.others = true;
	assert_int_equal(look(three, 1), 1);
}

static void without_an_answer_nothing_is_changed(void **state)
{
	(void)state;
	join(three, 3);
	dev.n = 0;
	dev.end = NLMSG_ERROR;
	assert_int_equal(look(three, 3), -EPERM);
	dev.end = NLMSG_DONE;
	dev.end_flags = NLM_F_DUMP_INTR;	/* perhaps they are there */
	assert_int_equal(look(three, 3), -EAGAIN);
	assert_int_equal(dev.changes, 0);
}

static void garbage_is_read_without_harm(void **state)
{
	(void)state;
	srand(1);
	dev.garbage = 50;
	for (int i = 0; i < 100; i++) {
		look(three, 3);
		teardown(state);
	}
}

#define t(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(channels_and_what_rss_feeds_are_counted),
		t(channels_of_a_device_that_is_gone_are_not_known),
		t(a_filter_that_is_whole_is_not_touched),
		t(an_address_that_was_taken_out_is_entered_again),
		t(an_address_of_two_guests_in_two_vlans_is_entered_again_for_both),
		t(as_many_as_there_may_be_are_compared_in_any_order),
		t(what_stays_away_is_told),
		t(entries_of_others_do_not_count),
		t(without_an_answer_nothing_is_changed),
		t(garbage_is_read_without_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
