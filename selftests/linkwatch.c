// SPDX-License-Identifier: BSD-2-Clause
/*
 * linkwatch WATCH... -- COMMAND...: runs COMMAND, looks every 50 us until all of the watches have seen what they wait
 * for, and prints when that was, in milliseconds since COMMAND was started, as JSON: {"event":0.8,"map":0.9}.
 *
 *   event IFACE up|down           the kernel says so of the carrier (RTM_NEWLINK, in this namespace)
 *   event IFACE gone              ... that it is deleted, or has moved to another namespace (RTM_DELLINK)
 *   event IFACE mtu=N|name=NAME   ... that it has this MTU, or name; event2 is the same, where there are two
 *   map PIN INDEX FIELD VALUE     this entry of a pinned map of links; FIELD: up, guest, reason, mtu, ifindex, moves,
 *                                 repairs, name; map2 is the same, where there are two
 *   file NETNS PATH VALUE         a file begins with VALUE; /sys is as seen from the namespace, "-" = this one
 *   mark PATH TEXT                this is written to a file, behind what was there (within 4096 bytes)
 *   end                           COMMAND has ended
 *
 * Ends with 1 when something has not come after 20 s.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "base/atomics.h"
#include "base/clock.h"
#include "viaduct_bpf.h"

#define LOWER_UP 0x10000u	/* IFF_LOWER_UP, whose header does not go with net/if.h */
#define PATIENCE (20 * NSEC_PER_SEC)

struct watch {
	const char *kind;
	bool (*seen)(struct watch *w);
	int fd;
	unsigned ifindex, flag;		/* event: the flag's value that is waited for */
	const uint32_t *field;		/* map */
	uint32_t value;			/* map; event: MTU, 0 = another one */
	const char *text;		/* file, mark, map: name; event: what is waited for */
	off_t from;			/* mark */
	uint64_t at_ns;			/* 0 = not yet */
};

static void die(const char *what, const char *which)
{
	fprintf(stderr, "linkwatch: %s %s: %s\n", what, which, strerror(errno));
	exit(2);
}

/* Does this message say what is waited for? */
static bool event_is(const struct watch *w, const struct nlmsghdr *h)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	int left = (int)IFLA_PAYLOAD(h);
	const struct rtattr *a = IFLA_RTA(i);

	if ((unsigned)i->ifi_index != w->ifindex || i->ifi_family != AF_UNSPEC)
		return false;
	if (!strcmp(w->text, "gone"))
		return h->nlmsg_type == RTM_DELLINK;
	if (h->nlmsg_type != RTM_NEWLINK)
		return false;
	if (!strcmp(w->text, "up") || !strcmp(w->text, "down"))
		return (i->ifi_flags & LOWER_UP) == w->flag;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type == IFLA_MTU && w->value && *(const uint32_t *)RTA_DATA(a) == w->value) ||
		    (a->rta_type == IFLA_IFNAME && !w->value && !strcmp(RTA_DATA(a), w->text)))
			return true;
	return false;
}

static bool event_seen(struct watch *w)
{
	char buf[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t n = recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT);
	unsigned left = n > 0 ? (unsigned)n : 0;

	for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
		if (event_is(w, h))
			return true;
	return false;
}

static char **event_open(struct watch *w, char **a)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	w->ifindex = if_nametoindex(a[0]);
	w->flag = strcmp(a[1], "up") ? 0 : LOWER_UP;
	w->text = strncmp(a[1], "name=", 5) ? a[1] : a[1] + 5;
	w->value = strncmp(a[1], "mtu=", 4) ? 0 : (uint32_t)atoi(a[1] + 4);
	w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (!w->ifindex || w->fd < 0 || bind(w->fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("event", a[0]);
	return a + 2;
}

static bool map_seen(struct watch *w)
{
	if (w->text)
		return !strncmp((const char *)w->field, w->text, sizeof(((struct vd_link *)0)->name));
	return load_acquire(w->field) == w->value;
}

static const struct {
	const char *name;
	size_t at;
} fields[] = {
	{ "up", offsetof(struct vd_link, up) },
	{ "guest", offsetof(struct vd_link, guest) },
	{ "reason", offsetof(struct vd_link, reason) },
	{ "mtu", offsetof(struct vd_link, mtu) },
	{ "ifindex", offsetof(struct vd_link, ifindex) },
	{ "moves", offsetof(struct vd_link, moves) },
	{ "repairs", offsetof(struct vd_link, repairs) },
	{ "name", offsetof(struct vd_link, name) },
};

static const uint32_t *field_of(const struct vd_link *l, const char *name)
{
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!strcmp(fields[i].name, name))
			return (const uint32_t *)(const void *)((const char *)l + fields[i].at);
	errno = EINVAL;
	die("field", name);
	return NULL;
}

static char **map_open(struct watch *w, char **a)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), index = (uint32_t)atoi(a[1]);
	struct vd_link *links;

	w->fd = bpf_obj_get(a[0]);
	if (w->fd < 0 || bpf_obj_get_info_by_fd(w->fd, &info, &len))
		die("map", a[0]);
	errno = ERANGE;
	if (info.value_size != sizeof(*links) || index >= info.max_entries)
		die("map", a[0]);
	links = mmap(NULL, (size_t)info.max_entries * sizeof(*links), PROT_READ, MAP_SHARED, w->fd, 0);
	if (links == MAP_FAILED)
		die("map", a[0]);
	w->field = field_of(&links[index], a[2]);
	w->text = strcmp(a[2], "name") ? NULL : a[3];
	w->value = (uint32_t)atoi(a[3]);
	return a + 4;
}

static bool file_seen(struct watch *w)
{
	char now[64] = "";

	return pread(w->fd, now, sizeof(now) - 1, 0) > 0 && !strncmp(now, w->text, strlen(w->text));
}

/* Which interfaces /sys shows is settled when it is mounted, so that is done over there, for this process alone. */
static void enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) || unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL))
		die("namespace", netns);
	close(fd);
}

static char **file_open(struct watch *w, char **a)
{
	int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), mnt = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (strcmp(a[0], "-"))
		enter(a[0]);
	w->fd = open(a[1], O_RDONLY | O_CLOEXEC);
	if (w->fd < 0)
		die("file", a[1]);
	if (setns(mnt, CLONE_NEWNS) || setns(netns, CLONE_NEWNET))
		die("leaving", a[0]);
	close(netns);
	close(mnt);
	w->text = a[2];
	return a + 3;
}

/* All that is new, again and again: it may come in pieces, and is not long. */
static bool mark_seen(struct watch *w)
{
	char new[4096];
	ssize_t n = pread(w->fd, new, sizeof(new), w->from);

	return n > 0 && memmem(new, (size_t)n, w->text, strlen(w->text));
}

static char **mark_open(struct watch *w, char **a)
{
	w->fd = open(a[0], O_RDONLY | O_CLOEXEC);
	w->from = w->fd < 0 ? -1 : lseek(w->fd, 0, SEEK_END);
	if (w->from < 0)
		die("file", a[0]);
	w->text = a[1];
	return a + 2;
}

/* The command: it is waited for in main(). */
static bool end_seen(struct watch *w)
{
	siginfo_t info = { 0 };

	(void)w;
	return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid;
}

static char **end_open(struct watch *w, char **a)
{
	(void)w;
	return a;
}

static const struct {
	const char *kind;
	int args;
	char **(*open)(struct watch *w, char **a);
	bool (*seen)(struct watch *w);
} kinds[] = {
	{ "event", 2, event_open, event_seen },
	{ "event2", 2, event_open, event_seen },
	{ "map", 4, map_open, map_seen },
	{ "map2", 4, map_open, map_seen },
	{ "file", 3, file_open, file_seen },
	{ "mark", 2, mark_open, mark_seen },
	{ "end", 0, end_open, end_seen },
};

static char **open_watch(struct watch *w, char **a, char **end)
{
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].kind, *a) || end - a <= kinds[i].args)
			continue;
		w->kind = kinds[i].kind;
		w->seen = kinds[i].seen;
		return kinds[i].open(w, a + 1);
	}
	errno = EINVAL;
	die("watch", *a);
	return NULL;
}

/* Return: all have come. */
static bool look(struct watch *w, unsigned n)
{
	bool all = true;

	for (unsigned i = 0; i < n; i++) {
		if (!w[i].at_ns && w[i].seen(&w[i]))
			w[i].at_ns = clock_now();
		all &= w[i].at_ns != 0;
	}
	return all;
}

static pid_t run(char **command)
{
	pid_t pid = fork();

	if (pid == 0) {
		execvp(command[0], command);
		die("command", command[0]);
	}
	return pid;
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 50000 };
	char **a = argv + 1, **end = argv + argc;
	struct watch w[8] = { 0 };
	unsigned n = 0;
	uint64_t start;
	bool all;
	pid_t pid;
	int rc;

	while (a < end && strcmp(*a, "--") && n < 8)
		a = open_watch(&w[n++], a, end);
	if (end - a < 2 || strcmp(*a, "--")) {
		fprintf(stderr, "usage: linkwatch WATCH... -- COMMAND...\n");
		return 2;
	}
	prctl(PR_SET_TIMERSLACK, 1);
	start = clock_now();
	pid = run(a + 1);
	while (!(all = look(w, n)) && clock_now() - start < PATIENCE)
		nanosleep(&pause, NULL);	/* whoever is to make it happen may need this CPU */
	for (unsigned i = 0; i < n; i++)
		printf("%s\"%s\":%.3f", i ? "," : "{", w[i].kind,
		       w[i].at_ns ? (double)(w[i].at_ns - start) / NSEC_PER_MSEC : -1);
	printf("}\n");
	waitpid(pid, &rc, 0);
	return all ? 0 : 1;
}
