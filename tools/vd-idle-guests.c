/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that are there and do nothing: for each socket a device with one queue
 * pair that connects and stays connected, all from one process.
 *
 *   vd-idle-guests [--server] SOCKET...
 *
 * --server: they listen, and wait for the back-end. Says "ready" when all are connected, and sleeps but for a look at the
 * connections now and then. What they receive stays in their rings.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "driver/netdev.h"

#define LOOK_NS (100 * NSEC_PER_MSEC)

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int open_all(struct netdev **dev, char **path, int n, bool server)
{
	for (int i = 0; i < n; i++) {
		struct driver_args args;
		char text[160], err[200];

		snprintf(text, sizeof(text), "path=%s,server=%d", path[i], server);
		if (driver_args_parse(text, &args, err, sizeof(err)) || netdev_open(&args, &dev[i], err, sizeof(err))) {
			fprintf(stderr, "vd-idle-guests: %s: %s\n", path[i], err);
			return -1;
		}
	}
	return 0;
}

/* Return: how many of them are connected. */
static int look_after(struct netdev **dev, int n)
{
	int up = 0;

	for (int i = 0; i < n; i++) {
		netdev_service(dev[i]);
		netdev_ack(dev[i]);
		up += netdev_connected(dev[i]);
	}
	return up;
}

int main(int argc, char **argv)
{
	const struct timespec pause = { 0, LOOK_NS };
	const bool server = argc > 1 && !strcmp(argv[1], "--server");
	const int n = argc - 1 - server;
	struct netdev **dev = calloc((size_t)argc, sizeof(*dev));
	struct rlimit fds;
	bool ready = false;
	int ret;

	if (n < 1 || !dev) {
		fprintf(stderr, "usage: vd-idle-guests [--server] SOCKET...\n");
		return 2;
	}
	/* A device has eight of them. */
	if (!getrlimit(RLIMIT_NOFILE, &fds)) {
		fds.rlim_cur = fds.rlim_max;
		setrlimit(RLIMIT_NOFILE, &fds);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	ret = open_all(dev, argv + 1 + server, n, server);
	while (!ret && !stop) {
		if (look_after(dev, n) == n && !ready) {
			ready = true;
			fprintf(stderr, "vd-idle-guests: ready\n");
		}
		nanosleep(&pause, NULL);
	}
	for (int i = 0; i < n; i++)
		netdev_close(dev[i]);
	free(dev);
	return ret ? 1 : 0;
}
