/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbered frames on an ordinary interface: what viaduct-guest generates and
 * checks at a virtqueue, for the other end of the wire and for the inside of a
 * virtual machine.
 *
 *   vd-numbered IFACE SRC-MAC DST-MAC LEN,PPS STATE
 *
 * Sends PPS frames of LEN bytes a second (0: none), and checks those that come:
 * another's, or its own that somebody returned. A frame that the interface
 * refuses is sent again, so none is missing that was not taken from us.
 *
 * SIGUSR1: the account so far goes to the file STATE, as JSON. SIGUSR2: send no
 * more, or again. SIGTERM, SIGINT: write the account, end. In "pauses" are the times
 * (seconds since the epoch) of the last and the next frame around each moment in
 * which nothing came for as long as PAUSE_NS.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "base/clock.h"
#include "driver/traffic.h"

#define PAUSE_NS (20 * NSEC_PER_MSEC)
#define PAUSES 256
#define REFUSED_NS NSEC_PER_MSEC	/* when to try again */
#define RCVBUF (16 << 20)

struct numbered {
	int fd, sigfd;
	const char *state;
	double pps;
	bool silent, stop;
	uint64_t start_ns, sent, refused, dropped;
	struct traffic_gen gen;
	struct traffic_check check;
	/* a frame that was made and not taken yet */
	bool waiting;
	uint64_t again_ns;
	uint8_t frame[PAIR_MAX_FRAME];
	/* arrivals, CLOCK_REALTIME */
	uint64_t last_ns;
	unsigned npauses;
	uint64_t pause[PAUSES][2];
};

static int open_socket(const char *ifname)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = (int)if_nametoindex(ifname) };
	struct packet_mreq all = { .mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, size = RCVBUF;

	if (fd < 0 || !at.sll_ifindex)
		return -1;
	/* Past the queueing discipline: it takes what the device does not, and throws it away when the link goes. */
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void arrived(struct numbered *n, uint64_t ns)
{
	if (n->last_ns && ns > n->last_ns + PAUSE_NS) {
		uint64_t *p = n->pause[n->npauses++ % PAUSES];

		p[0] = n->last_ns;
		p[1] = ns;
	}
	n->last_ns = ns;
}

static void receive(struct numbered *n)
{
	static uint8_t frame[PAIR_MAX_FRAME];
	union {
		struct cmsghdr align;
		uint8_t bytes[256];
	} control;

	for (;;) {
		struct iovec iov = { frame, sizeof(frame) };
		struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				     .msg_controllen = sizeof(control) };
		ssize_t len = recvmsg(n->fd, &mh, 0);
		struct cmsghdr *c;
		struct timespec ts;

		if (len < 0)
			return;
		if (traffic_check_frame(&n->check, frame, (uint32_t)len) == TRAFFIC_OTHER)
			continue;
		for (c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
				memcpy(&ts, CMSG_DATA(c), sizeof(ts));
				arrived(n, (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec);
			}
	}
}

static void make_frame(struct numbered *n)
{
	struct frame f;

	traffic_frame(&n->gen, 0, n->frame, &f);
	memcpy(n->frame + f.len, f.tail, f.tail_len);
	n->waiting = true;
}

/* Sends what is due. Return: nanoseconds until there is something to do again. */
static uint64_t send_due(struct numbered *n)
{
	uint64_t now = clock_now(), due;

	if (n->silent || n->pps <= 0)
		return NSEC_PER_SEC;
	if (n->waiting && now < n->again_ns)
		return n->again_ns - now;
	due = (uint64_t)((double)(now - n->start_ns) / NSEC_PER_SEC * n->pps);
	if (due > n->sent + (uint64_t)n->pps / 20 + 1) {	/* no more than 50 ms are made up for */
		n->start_ns = now - (uint64_t)((double)n->sent / n->pps * NSEC_PER_SEC);
		due = n->sent + 1;
	}
	while (n->sent < due) {
		if (!n->waiting)
			make_frame(n);
		if (send(n->fd, n->frame, n->gen.len, MSG_DONTWAIT) < 0) {
			n->refused++;
			n->again_ns = now + REFUSED_NS;
			return REFUSED_NS;
		}
		n->waiting = false;
		n->sent++;
	}
	return (uint64_t)(NSEC_PER_SEC / n->pps);
}

static void write_state(struct numbered *n)
{
	const struct traffic_counts *t = &n->check.counts;
	unsigned from = n->npauses > PAUSES ? n->npauses - PAUSES : 0;
	struct tpacket_stats st = { 0 };
	socklen_t len = sizeof(st);
	char tmp[256];
	FILE *f;

	if (!getsockopt(n->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len))
		n->dropped += st.tp_drops;
	snprintf(tmp, sizeof(tmp), "%s.new", n->state);
	f = fopen(tmp, "we");
	if (!f)
		return;
	fprintf(f, "{\"sent\":%llu,\"refused\":%llu,\"good\":%llu,\"lost\":%llu,\"repeated\":%llu,\"reordered\":%llu,"
		"\"damaged\":%llu,\"not_received\":%llu,\"pauses\":[",
		(unsigned long long)n->sent, (unsigned long long)n->refused, (unsigned long long)t->good,
		(unsigned long long)traffic_lost(&n->check, false), (unsigned long long)t->duplicated,
		(unsigned long long)t->reordered, (unsigned long long)t->damaged, (unsigned long long)n->dropped);
	for (unsigned i = from; i < n->npauses; i++) {
		const uint64_t *p = n->pause[i % PAUSES];

		fprintf(f, "%s[%.6f,%.6f]", i == from ? "" : ",", (double)p[0] / NSEC_PER_SEC,
			(double)p[1] / NSEC_PER_SEC);
	}
	fprintf(f, "]}\n");
	if (!fclose(f))
		rename(tmp, n->state);
}

static void signals(struct numbered *n)
{
	struct signalfd_siginfo si;

	while (read(n->sigfd, &si, sizeof(si)) == sizeof(si)) {
		n->silent ^= si.ssi_signo == SIGUSR2;
		n->stop |= si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT;
		if (si.ssi_signo != SIGUSR2) {
			receive(n);
			write_state(n);
		}
	}
}

static int setup(struct numbered *n, char **argv)
{
	unsigned mac[2][6], len, pps;
	uint8_t bytes[2][6];
	sigset_t set;

	for (int i = 0; i < 2; i++) {
		unsigned *m = mac[i];

		if (sscanf(argv[2 + i], "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6)
			return -EINVAL;
		for (int k = 0; k < 6; k++)
			bytes[i][k] = (uint8_t)m[k];
	}
	if (sscanf(argv[4], "%u,%u", &len, &pps) != 2 || traffic_gen_init(&n->gen, len, 1, bytes[0], bytes[1]))
		return -EINVAL;
	n->pps = pps;
	n->state = argv[5];
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	n->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	n->fd = open_socket(argv[1]);
	if (n->sigfd < 0 || n->fd < 0)
		return -errno;
	n->start_ns = clock_now();
	return traffic_check_init(&n->check, &n->gen);
}

int main(int argc, char **argv)
{
	static struct numbered n;
	int ret;

	if (argc != 6) {
		fprintf(stderr, "usage: vd-numbered IFACE SRC-MAC DST-MAC LEN,PPS STATE\n");
		return 2;
	}
	ret = setup(&n, argv);
	if (ret) {
		fprintf(stderr, "vd-numbered: %s: %s\n", argv[1], strerror(-ret));
		return 1;
	}
	while (!n.stop) {
		struct pollfd p[2] = { { .fd = n.fd, .events = POLLIN }, { .fd = n.sigfd, .events = POLLIN } };
		uint64_t wait = send_due(&n);
		struct timespec ts = { (time_t)(wait / NSEC_PER_SEC), (long)(wait % NSEC_PER_SEC) };

		ppoll(p, 2, &ts, NULL);
		receive(&n);
		if (p[1].revents)
			signals(&n);
	}
	return 0;
}
