/* SPDX-License-Identifier: BSD-2-Clause */
/* A socket of its own for each dump: the answer to an earlier one, given up, cannot be mistaken for this one's. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "base/clock.h"
#include "xdp/nldump.h"

#define SEQ 1
#define DUMP_SIZE 65536		/* the kernel fills 32 KiB at most */

/* linux/netlink.h has it since 4.20. */
#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

struct dump {
	int fd;
	uint64_t deadline;
	int (*fn)(void *arg, const struct nlmsghdr *h);
	void *arg;
	bool done, changed;
};

/* The error in NLMSG_DONE and NLMSG_ERROR; none there is none. */
static int error_of(const struct nlmsghdr *h)
{
	int err = 0;

	if (mnl_nlmsg_get_payload_len(h) >= sizeof(err))
		memcpy(&err, mnl_nlmsg_get_payload(h), sizeof(err));
	return err < 0 ? err : 0;
}

static int on_message(struct dump *d, const struct nlmsghdr *h)
{
	int ret;

	if (h->nlmsg_seq != SEQ)
		return 0;
	d->changed |= h->nlmsg_flags & NLM_F_DUMP_INTR;
	switch (h->nlmsg_type) {
	case NLMSG_DONE:
		d->done = true;
		return error_of(h);
	case NLMSG_ERROR:
		ret = error_of(h);
		return ret ? ret : -EPROTO;	/* a list is no yes */
	}
	return d->fn(d->arg, h);
}

/* Waits for the next part of the answer. Return: its bytes or -errno. */
static ssize_t receive(const struct dump *d, char *buf, size_t len)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	uint64_t now;
	ssize_t n;

	for (;;) {
		now = clock_now();
		if (now >= d->deadline)
			return -ETIMEDOUT;
		n = recv(d->fd, buf, len, MSG_DONTWAIT);
		if (n > 0)
			return n;
		if (!n)
			return -EPROTO;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		poll(&p, 1, (int)((d->deadline - now) / NSEC_PER_MSEC) + 1);
	}
}

static int read_all(struct dump *d)
{
	static char buf[DUMP_SIZE] __attribute__((aligned(8)));		/* control thread only */
	const struct nlmsghdr *h;
	int left, ret;

	while (!d->done) {
		left = (int)receive(d, buf, sizeof(buf));
		if (left < 0)
			return left;
		h = (const struct nlmsghdr *)(void *)buf;
		/* libmnl compares lengths as signed numbers: one beyond 2^31 would pass. */
		for (; mnl_nlmsg_ok(h, left) && h->nlmsg_len <= (uint32_t)left && !d->done; h = mnl_nlmsg_next(h, &left)) {
			ret = on_message(d, h);
			if (ret < 0)
				return ret;
		}
	}
	return d->changed;
}

int nldump(const struct host_ops *host, struct nlmsghdr *request, int (*fn)(void *arg, const struct nlmsghdr *h),
	   void *arg, uint64_t deadline)
{
	struct dump d = { .fn = fn, .arg = arg, .deadline = deadline };
	int on = 1, ret;

	d.fd = host->netlink(host, 0);
	if (d.fd < 0)
		return d.fd;
	setsockopt(d.fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = SEQ;
	if (send(d.fd, request, request->nlmsg_len, 0) < 0)
		ret = -errno;
	else
		ret = read_all(&d);
	close(d.fd);
	return ret;
}
