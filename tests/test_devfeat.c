/* SPDX-License-Identifier: BSD-2-Clause */
/* What a driver offers, asked of a kernel that the test plays at the other end of a socket pair. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

#include "xdp/devfeat.h"

#define FAMILY_ID 33

static struct host_ops ops;
static int kernel, given;
static struct devfeat f;

static int give_socket(const struct host_ops *h)
{
	(void)h;
	return given;
}

static int no_socket(const struct host_ops *h)
{
	(void)h;
	return -EPROTONOSUPPORT;
}

static int setup(void **state)
{
	int s[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		return -1;
	kernel = s[0];
	given = s[1];
	ops = (struct host_ops){ .genl = give_socket };
	memset(&f, 0xff, sizeof(f));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(kernel);
	return 0;
}

/* Answers lie ready before the question: the kernel's do as well, as far as the asker can tell. */
static struct nlmsghdr *answer(char *buf, uint16_t type)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = type;
	mnl_nlmsg_put_extra_header(h, GENL_HDRLEN);
	return h;
}

static void send_answer(const struct nlmsghdr *h)
{
	assert_int_equal(send(kernel, h, h->nlmsg_len, 0), h->nlmsg_len);
}

static void answer_family(void)
{
	char buf[256];
	struct nlmsghdr *h = answer(buf, GENL_ID_CTRL);

	mnl_attr_put_u16(h, CTRL_ATTR_FAMILY_ID, FAMILY_ID);
	send_answer(h);
}

static void answer_error(int err)
{
	char buf[256];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nlmsgerr *e;

	h->nlmsg_type = NLMSG_ERROR;
	e = mnl_nlmsg_put_extra_header(h, sizeof(*e));
	e->error = err;
	send_answer(h);
}

static void features_of_the_device_are_read_and_the_right_device_is_asked_for(void **state)
{
	char buf[8192];
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
	struct nlattr *a;

	(void)state;
	answer_family();
	h = answer(buf, FAMILY_ID);
	mnl_attr_put_u32(h, 1, 7);
	mnl_attr_put_u64(h, 5, DEVFEAT_RX_HASH | 1);
	mnl_attr_put_u64(h, 6, DEVFEAT_TX_CHECKSUM);
	send_answer(h);
	assert_int_equal(devfeat_read(&ops, 7, &f), 0);
	assert_int_equal(f.rx_metadata, DEVFEAT_RX_HASH | 1);
	assert_int_equal(f.xsk, DEVFEAT_TX_CHECKSUM);
	assert_true(recv(kernel, buf, sizeof(buf), 0) > 0);
	a = mnl_nlmsg_get_payload_offset((void *)buf, GENL_HDRLEN);
	assert_string_equal(mnl_attr_get_str(a), "netdev");
	assert_true(recv(kernel, buf, sizeof(buf), 0) > 0);
	assert_int_equal(((struct nlmsghdr *)(void *)buf)->nlmsg_type, FAMILY_ID);
	a = mnl_nlmsg_get_payload_offset((void *)buf, GENL_HDRLEN);
	assert_int_equal(mnl_attr_get_u32(a), 7);
}

static void a_kernel_without_the_family_offers_nothing(void **state)
{
	(void)state;
	answer_error(-ENOENT);
	assert_int_equal(devfeat_read(&ops, 7, &f), -ENOENT);
	assert_int_equal(f.rx_metadata, 0);
	assert_int_equal(f.xsk, 0);
}

static void a_kernel_that_does_not_know_the_attributes_offers_nothing(void **state)
{
	char buf[256];
	struct nlmsghdr *h;

	(void)state;
	answer_family();
	h = answer(buf, FAMILY_ID);
	mnl_attr_put_u32(h, 1, 7);
	send_answer(h);
	assert_int_equal(devfeat_read(&ops, 7, &f), 0);
	assert_int_equal(f.rx_metadata, 0);
	assert_int_equal(f.xsk, 0);
}

static void a_device_that_is_gone_offers_nothing(void **state)
{
	(void)state;
	answer_family();
	answer_error(-ENODEV);
	assert_int_equal(devfeat_read(&ops, 7, &f), -ENODEV);
	assert_int_equal(f.rx_metadata, 0);
}

static void no_answer_is_no_wait(void **state)
{
	(void)state;
	assert_int_equal(devfeat_read(&ops, 7, &f), -EAGAIN);
	assert_int_equal(f.xsk, 0);
}

static void a_host_without_generic_netlink_offers_nothing(void **state)
{
	(void)state;
	close(given);
	ops.genl = no_socket;
	assert_int_equal(devfeat_read(&ops, 7, &f), -EPROTONOSUPPORT);
	assert_int_equal(f.xsk, 0);
}

#define devfeat_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		devfeat_test(features_of_the_device_are_read_and_the_right_device_is_asked_for),
		devfeat_test(a_kernel_without_the_family_offers_nothing),
		devfeat_test(a_kernel_that_does_not_know_the_attributes_offers_nothing),
		devfeat_test(a_device_that_is_gone_offers_nothing),
		devfeat_test(no_answer_is_no_wait),
		devfeat_test(a_host_without_generic_netlink_offers_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
