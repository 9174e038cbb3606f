/* SPDX-License-Identifier: BSD-2-Clause */
/* The routes that a kernel tells, over a socket pair at whose other end the test sits. */
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
#include <linux/rtnetlink.h>

#include "base/clock.h"
#include "xdp/nldump.h"
#include "xdp/routes.h"

#define DUMPS 8
#define MESSAGES 64

/* What each dump is answered with: datagrams, and the kernel's closing word. */
static struct answer {
	uint8_t datagram[MESSAGES][512];
	size_t len[MESSAGES];
	unsigned n;
} answer[DUMPS];

static struct host_ops ops;
static unsigned dumps;
static int peer[DUMPS];
static int refuse;

static int fake_netlink(const struct host_ops *h, uint32_t groups)
{
	struct answer *a = &answer[dumps];
	int s[2];

	(void)h;
	assert_int_equal(groups, 0);
	if (refuse)
		return refuse;
	assert_true(dumps < DUMPS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s), 0);
	for (unsigned i = 0; i < a->n; i++)
		assert_int_equal(send(s[0], a->datagram[i], a->len[i], 0), a->len[i]);
	peer[dumps++] = s[0];
	return s[1];
}

static void raw(unsigned dump, const void *data, size_t len)
{
	struct answer *a = &answer[dump];

	assert_true(a->n < MESSAGES && len <= sizeof(a->datagram[0]));
	memcpy(a->datagram[a->n], data, len);
	a->len[a->n++] = len;
}

/* A route without attributes, of the main table. */
static struct nlmsghdr *route(char *buf, uint8_t family, uint8_t type, uint8_t table)
{
	struct nlmsghdr *h;
	struct rtmsg *rtm;

	memset(buf, 0, 512);
	h = mnl_nlmsg_put_header(buf);
	h->nlmsg_type = RTM_NEWROUTE;
	h->nlmsg_seq = 1;
	rtm = mnl_nlmsg_put_extra_header(h, sizeof(*rtm));
	rtm->rtm_family = family;
	rtm->rtm_type = type;
	rtm->rtm_table = table;
	return h;
}

static void say_route(unsigned dump, uint8_t family, uint8_t type, uint8_t table, int oif)
{
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *h = route(buf, family, type, table);

	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)oif);
	raw(dump, h, h->nlmsg_len);
}

static void say_prefix(unsigned dump, const char *dst, uint8_t len, int oif)
{
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *h = route(buf, AF_INET6, RTN_UNICAST, RT_TABLE_MAIN);

	((struct rtmsg *)mnl_nlmsg_get_payload(h))->rtm_dst_len = len;
	mnl_attr_put(h, RTA_DST, 16, dst);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)oif);
	raw(dump, h, h->nlmsg_len);
}

static void say_end(unsigned dump, uint16_t type, int err, uint16_t flags)
{
	struct {
		struct nlmsghdr h;
		int err;
	} m = { { .nlmsg_len = sizeof(m), .nlmsg_type = type, .nlmsg_seq = 1, .nlmsg_flags = flags }, err };

	raw(dump, &m, sizeof(m));
}

static void done(unsigned dump)
{
	say_end(dump, NLMSG_DONE, 0, 0);
}

static int setup(void **state)
{
	(void)state;
	memset(answer, 0, sizeof(answer));
	ops = (struct host_ops){ .netlink = fake_netlink };
	dumps = 0;
	refuse = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < dumps; i++)
		close(peer[i]);
	return 0;
}

static struct routes r;

static void devices_of_both_families_are_found_once(void **state)
{
	struct { struct nlmsghdr h; struct rtmsg rtm; } asked;

	(void)state;
	say_route(0, AF_INET, RTN_UNICAST, RT_TABLE_MAIN, 2);
	say_route(0, AF_INET, RTN_UNICAST, RT_TABLE_MAIN, 2);
	done(0);
	say_route(1, AF_INET6, RTN_UNICAST, RT_TABLE_MAIN, 3);
	done(1);
	assert_int_equal(routes_read(&ops, &r), 0);
	assert_int_equal(r.n, 2);
	assert_true(routes_through(&r, 2));
	assert_true(routes_through(&r, 3));
	assert_false(routes_through(&r, 4));
	assert_int_equal(recv(peer[1], &asked, sizeof(asked), 0), sizeof(asked));
	assert_int_equal(asked.h.nlmsg_type, RTM_GETROUTE);
	assert_int_equal(asked.h.nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
	assert_int_equal(asked.rtm.rtm_family, AF_INET6);
	assert_int_equal(asked.rtm.rtm_table, RT_TABLE_MAIN);
}

static void other_tables_and_other_types_do_not_count(void **state)
{
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *h;

	(void)state;
	say_route(0, AF_INET, RTN_LOCAL, RT_TABLE_LOCAL, 2);
	say_route(0, AF_INET, RTN_BROADCAST, RT_TABLE_MAIN, 3);
	say_route(0, AF_INET, RTN_UNICAST, 100, 4);
	h = route(buf, AF_INET, RTN_UNICAST, RT_TABLE_UNSPEC);	/* a number of a table that needs more than a byte */
	mnl_attr_put_u32(h, RTA_TABLE, 1000);
	mnl_attr_put_u32(h, RTA_OIF, 5);
	raw(0, h, h->nlmsg_len);
	h = route(buf, AF_INET, RTN_UNICAST, RT_TABLE_COMPAT);
	mnl_attr_put_u32(h, RTA_OIF, 6);
	mnl_attr_put_u32(h, RTA_TABLE, RT_TABLE_MAIN);
	raw(0, h, h->nlmsg_len);
	h = route(buf, AF_INET, RTN_BLACKHOLE, RT_TABLE_MAIN);
	raw(0, h, h->nlmsg_len);
	done(0);
	done(1);
	assert_int_equal(routes_read(&ops, &r), 0);
	assert_int_equal(r.n, 1);
	assert_true(routes_through(&r, 6));
}

static void what_every_interface_has_does_not_count(void **state)
{
	(void)state;
	done(0);
	say_prefix(1, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0", 64, 2);
	say_prefix(1, "\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 8, 3);
	say_prefix(1, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0", 64, 4);
	say_prefix(1, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 8, 5);
	say_prefix(1, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0, 6);
	done(1);
	assert_int_equal(routes_read(&ops, &r), 0);
	assert_int_equal(r.n, 3);
	assert_true(routes_through(&r, 4) && routes_through(&r, 5) && routes_through(&r, 6));
}

/* Next hops to devices 2, 3, ...; the last says that it is @last_len long. */
static void say_multipath(unsigned n, uint16_t last_len)
{
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *h = route(buf, AF_INET, RTN_UNICAST, RT_TABLE_MAIN);
	struct {
		struct rtnexthop nh;
		uint8_t gateway[8];
	} hop[8] = { 0 };

	for (unsigned i = 0; i < n; i++)
		hop[i].nh = (struct rtnexthop){ .rtnh_len = i + 1 < n ? sizeof(hop[0]) : last_len,
						.rtnh_ifindex = 2 + (int)i };
	mnl_attr_put(h, RTA_MULTIPATH, n * sizeof(hop[0]), hop);
	raw(0, h, h->nlmsg_len);
	done(0);
	done(1);
}

static void every_next_hop_of_a_multipath_route_counts(void **state)
{
	(void)state;
	say_multipath(3, 16);
	assert_int_equal(routes_read(&ops, &r), 0);
	assert_int_equal(r.n, 3);
	assert_true(routes_through(&r, 2) && routes_through(&r, 3) && routes_through(&r, 4));
}

static void a_next_hop_with_a_false_length_ends_in_an_error(void **state)
{
	static const uint16_t len[] = { 0, 7, 17, 0xffff };

	for (unsigned i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		say_multipath(2, len[i]);
		assert_int_equal(routes_read(&ops, &r), -EPROTO);
		teardown(state);
		setup(state);
	}
}

static void a_route_whose_device_is_not_told_makes_all_unknown(void **state)
{
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *h = route(buf, AF_INET, RTN_UNICAST, RT_TABLE_MAIN);

	(void)state;
	mnl_attr_put_u32(h, 30, 7);	/* RTA_NH_ID */
	raw(0, h, h->nlmsg_len);
	done(0);
	assert_int_equal(routes_read(&ops, &r), -ENODATA);
}

static void errors_of_the_kernel_are_passed_on(void **state)
{
	(void)state;
	say_end(0, NLMSG_ERROR, -EPERM, 0);
	assert_int_equal(routes_read(&ops, &r), -EPERM);
	say_end(1, NLMSG_DONE, -EMSGSIZE, 0);
	assert_int_equal(routes_read(&ops, &r), -EMSGSIZE);
	say_end(2, NLMSG_ERROR, 0, 0);
	assert_int_equal(routes_read(&ops, &r), -EPROTO);
	refuse = -EMFILE;
	assert_int_equal(routes_read(&ops, &r), -EMFILE);
}

static void no_table_and_no_ipv6_is_no_route(void **state)
{
	(void)state;
	say_end(0, NLMSG_ERROR, -ENOENT, 0);
	say_end(1, NLMSG_ERROR, -EAFNOSUPPORT, 0);
	assert_int_equal(routes_read(&ops, &r), 0);
	assert_int_equal(r.n, 0);
}

static void a_table_that_changed_meanwhile_is_read_again_a_few_times(void **state)
{
	(void)state;
	say_end(0, NLMSG_DONE, 0, NLM_F_DUMP_INTR);
	say_route(1, AF_INET, RTN_UNICAST, RT_TABLE_MAIN, 2);
	done(1);
	for (unsigned i = 2; i < 5; i++)
		say_end(i, NLMSG_DONE, 0, NLM_F_DUMP_INTR);
	assert_int_equal(routes_read(&ops, &r), 0);
	assert_int_equal(dumps, 5);
	assert_true(routes_through(&r, 2));
}

static int nobody(void *arg, const struct nlmsghdr *h)
{
	(void)arg;
	(void)h;
	return 0;
}

static void an_answer_that_does_not_come_is_not_waited_for_longer_than_asked(void **state)
{
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *h = route(buf, AF_INET, RTN_UNICAST, RT_TABLE_MAIN);

	(void)state;
	assert_int_equal(nldump(&ops, h, nobody, NULL, 0), -ETIMEDOUT);
	assert_int_equal(nldump(&ops, h, nobody, NULL, clock_now() + NSEC_PER_MSEC), -ETIMEDOUT);
	raw(2, "", 0);	/* the end of the other side */
	assert_int_equal(nldump(&ops, h, nobody, NULL, clock_now() + 10 * NSEC_PER_SEC), -EPROTO);
}

static void the_answer_to_another_question_is_none(void **state)
{
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *h = route(buf, AF_INET, RTN_UNICAST, RT_TABLE_MAIN);

	(void)state;
	mnl_attr_put_u32(h, RTA_OIF, 2);
	h->nlmsg_seq = 2;
	raw(0, h, h->nlmsg_len);
	done(0);
	done(1);
	assert_int_equal(routes_read(&ops, &r), 0);
	assert_int_equal(r.n, 0);
}

static void garbage_is_read_without_harm(void **state)
{
	(void)state;
	srand(1);
	for (unsigned round = 0; round < 400; round++) {
		for (unsigned i = 0; i < 20; i++) {
			struct nlmsghdr h = { .nlmsg_type = RTM_NEWROUTE, .nlmsg_seq = 1,
					      .nlmsg_len = 16 + (uint32_t)rand() % 480 };
			struct rtmsg rtm = { .rtm_family = rand() % 2 ? AF_INET : AF_INET6, .rtm_type = RTN_UNICAST,
					     .rtm_table = RT_TABLE_MAIN, .rtm_dst_len = (uint8_t)rand() };
			uint8_t junk[512];

			for (unsigned k = 0; k < sizeof(junk); k++)
				junk[k] = (uint8_t)(rand() % 8 ? rand() % 32 : rand());
			if (!(rand() % 16))
				h.nlmsg_len = (uint32_t)rand() * 3;
			memcpy(junk, &h, sizeof(h));
			memcpy(junk + sizeof(h), &rtm, sizeof(rtm));
			raw(0, junk, rand() % 4 ? 1 + (size_t)rand() % 511 : sizeof(junk));
		}
		done(0);
		done(1);
		routes_read(&ops, &r);
		teardown(state);
		setup(state);
	}
}

#define t(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(devices_of_both_families_are_found_once),
		t(other_tables_and_other_types_do_not_count),
		t(what_every_interface_has_does_not_count),
		t(every_next_hop_of_a_multipath_route_counts),
		t(a_next_hop_with_a_false_length_ends_in_an_error),
		t(a_route_whose_device_is_not_told_makes_all_unknown),
		t(errors_of_the_kernel_are_passed_on),
		t(no_table_and_no_ipv6_is_no_route),
		t(a_table_that_changed_meanwhile_is_read_again_a_few_times),
		t(an_answer_that_does_not_come_is_not_waited_for_longer_than_asked),
		t(the_answer_to_another_question_is_none),
		t(garbage_is_read_without_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
