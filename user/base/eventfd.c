/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O_NONBLOCK belongs to the open file, so whoever else holds an event fd can
 * take it away from us, and a write() to a full counter then waits for as long
 * as the peer likes. Looking first does not help: it can be filled in between.
 * The kernel itself signals an eventfd without waiting when an asynchronous
 * request with IOCB_FLAG_RESFD completes (io_submit(2)), so that is what
 * eventfd_notify() makes it do; the request is a poll that is ready at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/aio_abi.h>

#include "base/eventfd.h"

int eventfd_check(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char self[40], target[64];
	ssize_t n;
	int flags;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, target, sizeof(target));
	if (n < 0)
		return -errno;
	if ((size_t)n != sizeof(want) - 1 || memcmp(target, want, sizeof(want) - 1))
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* One for the whole process, for ever: taking one down costs the kernel a grace period. 0 and errno when there is none. */
static aio_context_t context(void)
{
	static aio_context_t ctx;

	if (!ctx && syscall(SYS_io_setup, 8, &ctx) < 0)
		ctx = 0;
	return ctx;
}

int eventfd_notify(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct iocb req = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = POLLIN | POLLOUT,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	}, *list = &req;
	struct timespec no_wait = { 0 };
	struct io_event done[8];
	aio_context_t ctx;
	int ret;

	ret = poll(&p, 1, 0);
	if (ret < 0)
		return -errno;
	if (p.revents & POLLNVAL)
		return -EBADF;
	if (!(p.revents & POLLOUT))	/* full: the reader has not even seen the last one */
		return 0;
	ctx = context();
	if (!ctx)
		return -errno;
	ret = syscall(SYS_io_submit, ctx, 1, &list) == 1 ? 0 : -errno;
	syscall(SYS_io_getevents, ctx, 0, 8, done, &no_wait);
	return ret;
}
