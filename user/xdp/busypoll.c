/* SPDX-License-Identifier: BSD-2-Clause */
/* See the kernel's Documentation/networking/napi.rst, "IRQ mitigation". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "xdp/busypoll.h"

/* A worker that sleeps is woken so much later at most; after two rounds without a frame interrupts are on again. */
#define DEFER_IRQS 2
#define FLUSH_NS 200000

static const char key[] = "busy-poll", defer_file[] = "napi_defer_hard_irqs", flush_file[] = "gro_flush_timeout";

static int open_file(const struct busypoll *b, const char *file, int flags)
{
	char path[64 + IF_NAMESIZE];

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", b->restore->ifname, file);
	return b->restore->host->open(b->restore->host, path, flags, 0);
}

static int read_number(const struct busypoll *b, const char *file, unsigned long *value)
{
	int fd = open_file(b, file, O_RDONLY), ret = 0;
	char text[32], *end;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0) {
		ret = -EIO;
	} else {
		text[n] = '\0';
		*value = strtoul(text, &end, 10);
		if (end == text)
			ret = -EINVAL;
	}
	close(fd);
	return ret;
}

static int write_number(const struct busypoll *b, const char *file, unsigned long value)
{
	int fd = open_file(b, file, O_WRONLY | O_TRUNC), len, ret = 0;
	char text[32];

	if (fd < 0)
		return fd;
	len = snprintf(text, sizeof(text), "%lu", value);
	if (write(fd, text, (size_t)len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

static int write_both(const struct busypoll *b, unsigned long defer, unsigned long flush)
{
	int ret = write_number(b, flush_file, flush);

	return ret ? ret : write_number(b, defer_file, defer);
}

/* What is noted, by us or by a dead instance. */
static void put_back(const struct busypoll *b)
{
	const char *noted = restore_get(b->restore, key);
	unsigned long defer, flush;
	int ret = 0;

	if (noted && sscanf(noted, "%lu,%lu", &defer, &flush) == 2)
		ret = write_both(b, defer, flush);
	if (ret && ret != -ENOENT && ret != -ENODEV)
		log_warn("%s: cannot put %s and %s back (%s): %s", b->restore->ifname, defer_file, flush_file, noted,
			 strerror(-ret));
	restore_forget(b->restore, key);
}

int busypoll_apply(struct busypoll *b, struct restore *restore, bool on)
{
	unsigned long defer, flush;
	char text[64];
	int ret;

	*b = (struct busypoll){ .restore = restore, .on = on };
	if (!on) {
		put_back(b);
		return 0;
	}
	ret = read_number(b, defer_file, &defer);
	if (!ret)
		ret = read_number(b, flush_file, &flush);
	if (!ret && !restore_get(restore, key)) {
		snprintf(text, sizeof(text), "%lu,%lu", defer, flush);
		ret = restore_note(restore, key, text);
	}
	if (!ret)
		ret = write_both(b, DEFER_IRQS, FLUSH_NS);
	if (ret) {
		put_back(b);
		b->on = false;
	}
	return ret;
}

void busypoll_restore(struct busypoll *b)
{
	if (b->on)
		put_back(b);
	*b = (struct busypoll){ 0 };
}
