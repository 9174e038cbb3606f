/* SPDX-License-Identifier: BSD-2-Clause */
/* host_ops over real UNIX sockets without privileges, and a loop run until it is quiet: for tests of what listens. */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/host_ops.h"
#include "base/loop.h"

static inline int unix_socket(const char *path, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(sa->sun_path, sizeof(sa->sun_path), "%.107s", path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static inline int fake_listen(const struct host_ops *h, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct sockaddr_un sa;
	int fd = unix_socket(path, &sa);

	(void)h;
	(void)uid;
	(void)gid;
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, mode) < 0 ||
	    listen(fd, 64) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static inline int fake_connect(const struct host_ops *h, const char *path)
{
	struct sockaddr_un sa;
	int fd = unix_socket(path, &sa);

	(void)h;
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static inline int fake_unlink(const struct host_ops *h, const char *path)
{
	(void)h;
	return unlink(path) < 0 ? -errno : 0;
}

/* Runs the loop until it has nothing more to do. */
static inline void fake_settle(struct loop *loop)
{
	for (int i = 0; i < 100000; i++) {
		int n = loop_once(loop, 0);

		assert_true(n >= 0);
		if (!n)
			return;
	}
	fail_msg("the loop spins");
}

#endif
