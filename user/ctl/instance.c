/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ctl/instance.h"

static void lock_path(const char *name, char *path, size_t len)
{
	snprintf(path, len, INSTANCE_DIR "/%s.lock", name);
}

/* A file that was unlinked between open and flock is nobody's lock any more. */
static bool still_there(const struct host_ops *host, int fd, const char *path)
{
	struct stat ours, there;
	int again = host->open(host, path, O_RDONLY | O_NOFOLLOW, 0);
	bool same;

	if (again < 0)
		return false;
	same = !fstat(fd, &ours) && !fstat(again, &there) && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
	close(again);
	return same;
}

/* Text of another kind, or cut off, is no number: nothing is known then. */
static int read_note(int fd)
{
	char text[16], *end;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long number;

	if (n < 2 || text[n - 1] != '\n')
		return 0;
	text[n - 1] = '\0';
	number = strtol(text, &end, 10);
	return *end || number <= 0 || number > INT_MAX ? 0 : (int)number;
}

void instance_note(int fd, int number)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", number);

	/* One that cannot be written costs a successor some time. */
	if (number > 0 && (ftruncate(fd, 0) || pwrite(fd, text, (size_t)len, 0) != len))
		log_debug("cannot write to the lock file: %s", strerror(errno));
}

/* A lock goes with its last holder's end, which may be under way. */
static int lock_wait(int fd, uint64_t wait_ns)
{
	const struct timespec nap = { .tv_nsec = 5000000 };
	const uint64_t deadline = clock_now() + wait_ns;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || clock_now() >= deadline)
			return -errno;
		nanosleep(&nap, NULL);
	}
	return 0;
}

int instance_lock(const struct host_ops *host, const char *name, int *noted, uint64_t wait_ns, char *err, size_t errlen)
{
	char path[128];
	int fd, ret;

	lock_path(name, path, sizeof(path));
	ret = host->mkdir(host, INSTANCE_DIR, 0755);
	if (ret) {
		snprintf(err, errlen, "cannot make " INSTANCE_DIR ": %s: run as root", strerror(-ret));
		return ret;
	}
	for (;;) {
		fd = host->open(host, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
		if (fd < 0) {
			snprintf(err, errlen, "cannot open %s: %s: run as root", path, strerror(-fd));
			return fd;
		}
		ret = lock_wait(fd, wait_ns);
		if (ret) {
			close(fd);
			snprintf(err, errlen,
				 "an instance named %s is running: see `viaduct status --name %s`, stop it, or use "
				 "--name for a second one on another interface", name, name);
			return ret;
		}
		if (still_there(host, fd, path)) {
			*noted = read_note(fd);
			return fd;
		}
		close(fd);
	}
}

void instance_unlock(const struct host_ops *host, const char *name, int fd)
{
	char path[128];

	if (fd < 0)
		return;
	lock_path(name, path, sizeof(path));
	host->unlink(host, path);
	close(fd);
	host->rmdir(host, INSTANCE_DIR);	/* succeeds for the last instance only */
}
