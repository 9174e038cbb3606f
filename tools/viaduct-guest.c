// SPDX-License-Identifier: BSD-2-Clause
/*
 * viaduct-guest(1): a guest without a virtual machine. Plugs a virtio-net
 * driver into a vhost-user back-end and joins it to a tap interface, or
 * returns, counts or generates frames.
 *
 * Theory of operation: one thread, one loop. Each turn looks after the
 * connection (every millisecond), handles a batch of each queue pair, and when
 * there was nothing to do arms what may bring work and sleeps in epoll.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "driver/guest_options.h"
#include "driver/netdev.h"
#include "driver/tap.h"
#include "driver/traffic.h"

#define BATCH 32
#define SERVICE_NS NSEC_PER_MSEC
#define STALL_NS (500 * NSEC_PER_MSEC)	/* closed loop: no progress for so long, and what is out counts as lost */
#define DRAIN_NS (300 * NSEC_PER_MSEC)
#define DRAIN_TURNS 12			/* and so many looks: time alone says nothing of a process that had no CPU */

struct counters {
	uint64_t tx, rx, lost;
};

struct guest {
	struct guest_options o;
	struct netdev *dev;
	struct traffic_gen gen;
	struct traffic_check check;
	int epfd, sigfd;
	bool ready, stop, draining;
	bool link;			/* as it was last said */
	uint64_t link_changes;		/* since the first connection */
	uint64_t now, service_ns, start_ns, end_ns, report_ns;
	struct counters reported;
	uint64_t rx_per_pair[DRIVER_MAX_PAIRS];
	uint64_t same_pair;		/* own frames that came back on the pair that their flow is sent on */

	/* generator */
	uint64_t sent;
	uint64_t pace_ns, paced;	/* where the rate is counted from, and frames since then */
	uint32_t outstanding;
	uint32_t idle_turns;		/* since then, when all is sent */
	uint64_t progress_ns;		/* last time something came back, or was first sent */
	uint32_t turn[DRIVER_MAX_PAIRS];
	uint32_t next_pair;

	/* tap */
	int tap[DRIVER_MAX_PAIRS];
	bool tap_ready[DRIVER_MAX_PAIRS];
	uint64_t tap_drops;
};

enum tag { TAG_DEVICE = DRIVER_MAX_PAIRS, TAG_SIGNAL };	/* below: tap queues */

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	char line[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "viaduct-guest: %s\n", line);
}

/* ---- data ---- */

static void swap_macs(uint8_t *frame)
{
	uint8_t t[6];

	memcpy(t, frame, 6);
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, t, 6);
}

static void to_tap(struct guest *g, uint32_t pair, const struct frame *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (tap_write(g->tap[pair], &f[i]))
			g->tap_drops++;
}

static void check(struct guest *g, uint32_t pair, const struct frame *f, unsigned n)
{
	const uint32_t enabled = netdev_enabled(g->dev);

	for (unsigned i = 0; i < n; i++) {
		enum traffic_verdict v = traffic_check_frame(&g->check, f[i].data, f[i].len);

		if (v != TRAFFIC_OWN)
			continue;
		g->same_pair += enabled && g->check.last_flow % enabled == pair;
		if (g->outstanding)
			g->outstanding--;
		g->progress_ns = g->now;
		g->idle_turns = 0;
	}
}

/* One batch of one pair. An echo takes no more than it can send back: the rest waits in the ring. */
static unsigned receive(struct guest *g, uint32_t pair)
{
	struct frame f[BATCH];
	unsigned max = BATCH, n;

	if (g->o.mode == GUEST_ECHO)
		max = netdev_tx_room(g->dev, pair, BATCH, PAIR_MAX_FRAME);
	n = max ? netdev_rx(g->dev, pair, f, max) : 0;
	if (!n)
		return 0;
	g->rx_per_pair[pair] += n;
	switch (g->o.mode) {
	case GUEST_TAP:
		to_tap(g, pair, f, n);
		break;
	case GUEST_ECHO:
		for (unsigned i = 0; i < n; i++)
			g->o.answer ? traffic_answer(f[i].data, f[i].len) : swap_macs(f[i].data);
		netdev_tx(g->dev, pair, f, n);
		break;
	case GUEST_SINK:
	case GUEST_GENERATE:
	case GUEST_NONE:
		check(g, pair, f, n);
		break;
	}
	return n;
}

/* Without a back-end what the tap has is read, counted and forgotten. */
static unsigned drain_tap(struct guest *g, uint32_t queue)
{
	struct virtio_net_hdr_v1 hdr;
	uint8_t bytes[64];
	struct iovec iov = { bytes, sizeof(bytes) };
	unsigned n = 0;
	ssize_t len;

	do
		len = tap_read(g->tap[queue], &hdr, &iov, 1);
	while ((len >= 0 || len == -EMSGSIZE) && ++n < BATCH);
	g->tap_drops += n;
	g->tap_ready[queue] = n == BATCH;
	return n;
}

/*
 * Reads what a tap queue has, straight into buffers of the tx ring. Without room for the longest frame nothing is
 * read: frames wait in the interface.
 */
static unsigned from_tap(struct guest *g, uint32_t queue)
{
	uint32_t enabled = netdev_enabled(g->dev);
	struct virtio_net_hdr_v1 hdr = { 0 };
	struct iovec iov[PAIR_TX_PIECES];
	struct pair *p;
	unsigned n, pieces;

	if (!enabled)
		return drain_tap(g, queue);
	p = netdev_pair(g->dev, queue % enabled);
	for (n = 0; n < BATCH && (pieces = pair_tx_reserve(p, iov)); n++) {
		ssize_t len = tap_read(g->tap[queue], &hdr, iov, pieces);

		if (len < 0 && len != -EMSGSIZE) {
			g->tap_ready[queue] = false;
			break;
		}
		if (len < 0 || !pair_tx_commit(p, &hdr, (uint32_t)len))
			g->tap_drops++;
	}
	pair_tx_flush(p);
	return n;
}

/* ---- generator ---- */

/* How many frames may be sent now; 0 also when all is sent. */
static uint64_t budget(struct guest *g)
{
	uint64_t n = UINT64_MAX, due;

	if (g->draining || !g->start_ns)
		return 0;
	if (g->o.count)
		n = g->o.count - g->sent;
	if (g->o.window && g->o.window - g->outstanding < n)
		n = g->o.window - g->outstanding;
	if (!g->o.pps)
		return n;
	due = (uint64_t)((double)(g->now - g->pace_ns) * (double)g->o.pps / NSEC_PER_SEC);
	/* What could not be sent in time is not made up for later in one burst. */
	if (due > g->paced + 1024) {
		g->pace_ns = g->now;
		g->paced = 0;
		due = BATCH;
	}
	if (due <= g->paced)	/* a batch that was sent early counts */
		return 0;
	return due - g->paced < n ? due - g->paced : n;
}

/* Flows of pair p, of e enabled ones: p, p + e, p + 2e, ... */
static unsigned send_batch(struct guest *g, uint32_t pair, uint32_t enabled, uint64_t allowed)
{
	uint32_t flows = pair < g->o.flows ? (g->o.flows - pair + enabled - 1) / enabled : 0;
	uint8_t head[BATCH][TRAFFIC_HEAD];
	struct frame f[BATCH];
	unsigned n;

	if (!flows)
		return 0;
	n = netdev_tx_room(g->dev, pair, allowed < BATCH ? (unsigned)allowed : BATCH, g->o.len);
	for (unsigned i = 0; i < n; i++) {
		if (g->turn[pair] >= flows)
			g->turn[pair] = 0;
		traffic_frame(&g->gen, pair + enabled * g->turn[pair]++, head[i], &f[i]);
	}
	if (n)
		netdev_tx(g->dev, pair, f, n);
	return n;
}

static unsigned generate(struct guest *g)
{
	uint32_t enabled = netdev_enabled(g->dev);
	uint64_t allowed;
	unsigned total = 0;

	if (g->o.window && g->outstanding && g->now - g->progress_ns > STALL_NS)
		g->outstanding = 0;
	allowed = budget(g);
	for (uint32_t i = 0; i < enabled && allowed; i++) {
		uint32_t pair = g->next_pair++ % enabled;
		unsigned n = send_batch(g, pair, enabled, allowed);

		if (n && !g->outstanding)
			g->progress_ns = g->now;
		if (g->o.window)
			g->outstanding += n;
		allowed -= n;
		total += n;
	}
	g->sent += total;
	g->paced += total;
	return total;
}

/* ---- connection and time ---- */

/* The link that the device has, or lost together with its back-end, is that of the interface. */
static void follow_link(struct guest *g)
{
	bool link = netdev_link(g->dev);

	if (g->o.mode == GUEST_TAP)
		tap_carrier(g->tap[0], link);
	g->link_changes += g->ready && link != g->link;
	g->link = link;
}

static void say_config(const struct guest *g)
{
	const struct netdev *d = g->dev;
	char mtu[24] = "", speed[32] = "";

	if (d->mtu)
		snprintf(mtu, sizeof(mtu), ", MTU %u", d->mtu);
	if (d->speed_mbps)
		snprintf(speed, sizeof(speed), ", %u Mb/s", d->speed_mbps);
	say("link %s%s%s", netdev_link(d) ? "up" : "down", mtu, speed);
}

static void connected(struct guest *g)
{
	uint64_t features = netdev_features(g->dev);
	char words[250];
	int ret;

	netfeatures_describe(features, words, sizeof(words));
	say("connected: %u of %u queue pairs enabled, features %#llx: %s", netdev_enabled(g->dev), netdev_pairs(g->dev),
	    (unsigned long long)features, words);
	say_config(g);
	/* Before the carrier: the interface offers its users what this device does for us. */
	ret = g->o.mode == GUEST_TAP ? tap_set_offloads(g->tap[0], features) : 0;
	if (ret)
		say("%s: offloads cannot be set: %s", g->o.tap, strerror(-ret));
	follow_link(g);
}

static void service(struct guest *g)
{
	switch (netdev_service(g->dev)) {
	case NETDEV_SAME:
		return;
	case NETDEV_WAITING:
		say("waiting: %s", netdev_why(g->dev));
		return;
	case NETDEV_DOWN:
		say("back-end gone, reconnecting (%s)", netdev_why(g->dev));
		g->outstanding = 0;
		follow_link(g);
		return;
	case NETDEV_CONFIG:
		say_config(g);
		follow_link(g);
		return;
	case NETDEV_UP:
		break;
	}
	g->now = clock_now();
	g->pace_ns = g->now;
	g->paced = 0;
	connected(g);
	if (g->ready)
		return;
	g->ready = true;
	g->start_ns = g->report_ns = g->now;
	fprintf(stderr, "viaduct-guest: ready\n");
}

static struct counters count(const struct guest *g)
{
	struct pair_stats s;

	netdev_stats(g->dev, &s);
	/* In a window what has not come back yet is not lost yet: while it runs, gaps are what is known. */
	return (struct counters){ s.tx_packets, s.rx_packets, traffic_lost(&g->check, false) };
}

static void report(struct guest *g)
{
	struct counters c = count(g), *r = &g->reported;
	const struct traffic_counts *t = &g->check.counts;
	double s = (double)(g->now - g->report_ns) / NSEC_PER_SEC;

	say("tx %.0f/s rx %.0f/s, so far lost %llu reordered %llu duplicated %llu damaged %llu other %llu",
	    (double)(c.tx - r->tx) / s, (double)(c.rx - r->rx) / s, (unsigned long long)c.lost,
	    (unsigned long long)t->reordered, (unsigned long long)t->duplicated, (unsigned long long)t->damaged,
	    (unsigned long long)t->other);
	*r = c;
	g->report_ns = g->now;
}

static bool reports(const struct guest *g)
{
	return g->start_ns && g->o.mode != GUEST_TAP;
}

/* The end of sending, and the end of waiting for what is still on its way. */
static void check_end(struct guest *g)
{
	uint64_t quiet;

	if (!g->start_ns)
		return;
	if (!g->draining) {
		bool time = g->o.time_ns && g->now - g->start_ns >= g->o.time_ns;
		bool sent = g->o.mode == GUEST_GENERATE && g->o.count && g->sent >= g->o.count;

		if (!time && !sent)
			return;
		g->draining = true;
		g->end_ns = g->now;
		g->stop = g->o.mode != GUEST_GENERATE;
		return;
	}
	quiet = g->progress_ns > g->end_ns ? g->progress_ns : g->end_ns;
	g->stop |= (g->now - quiet > DRAIN_NS && ++g->idle_turns > DRAIN_TURNS) || g->check.own_good == g->sent;
}

/* ---- sleeping ---- */

static bool full(struct guest *g, uint32_t pair, uint32_t len)
{
	return netdev_tx_room(g->dev, pair, 1, len) == 0;
}

/* Has the tap queue to wait for room in the pair's tx ring? */
static bool tap_waits(struct guest *g, uint32_t pair)
{
	struct pair *p = netdev_pair(g->dev, pair);

	return !pair_tx_room(p, 1, p->max_tx);
}

/* Asks for calls from every ring that could bring work. True = there is some already. */
static bool arm(struct guest *g)
{
	uint32_t enabled = netdev_enabled(g->dev);
	bool work = false;

	for (uint32_t i = 0; i < netdev_pairs(g->dev); i++) {
		if (g->o.mode == GUEST_ECHO && netdev_tx_room(g->dev, i, BATCH, PAIR_MAX_FRAME) == 0)
			work |= netdev_arm_tx(g->dev, i);
		else
			work |= netdev_arm_rx(g->dev, i);
	}
	for (uint32_t i = 0; g->o.mode == GUEST_TAP && enabled && i < g->o.dev.queues; i++)
		if (g->tap_ready[i])
			work |= !tap_waits(g, i % enabled) || netdev_arm_tx(g->dev, i % enabled);
	for (uint32_t i = 0; g->o.mode == GUEST_GENERATE && !g->draining && i < enabled; i++)
		if (full(g, i, g->o.len))
			work |= netdev_arm_tx(g->dev, i);
	return work;
}

static void sooner(uint64_t *wait, uint64_t now, uint64_t when)
{
	uint64_t left = when > now ? when - now : 0;

	if (left < *wait)
		*wait = left;
}

/* Nanoseconds until time alone brings work; UINT64_MAX = never. */
static uint64_t longest_sleep(struct guest *g)
{
	int ms = netdev_timeout_ms(g->dev);
	uint64_t wait = ms < 0 ? UINT64_MAX : (uint64_t)ms * NSEC_PER_MSEC;

	if (reports(g))
		sooner(&wait, g->now, g->report_ns + NSEC_PER_SEC);
	if (g->start_ns && g->o.time_ns && !g->draining)
		sooner(&wait, g->now, g->start_ns + g->o.time_ns);
	if (g->draining)
		sooner(&wait, g->now, g->now + 20 * NSEC_PER_MSEC);
	if (g->o.window && g->outstanding)
		sooner(&wait, g->now, g->progress_ns + STALL_NS + 1);
	if (g->o.pps && netdev_connected(g->dev) && !g->draining)
		sooner(&wait, g->now, g->pace_ns + (g->paced + 1) * NSEC_PER_SEC / g->o.pps + 1);
	return wait;
}

static void signals(struct guest *g)
{
	struct signalfd_siginfo si;

	while (read(g->sigfd, &si, sizeof(si)) == sizeof(si)) {
		uint32_t n = si.ssi_signo == SIGUSR1 ? g->o.dev.queues : 1;

		if (si.ssi_signo != SIGUSR1 && si.ssi_signo != SIGUSR2) {
			/* What is out in a closed loop may still come back; who cannot wait asks twice. */
			g->stop = !g->o.window || g->draining || !g->start_ns;
			g->draining = true;
			if (!g->end_ns)
				g->end_ns = clock_now();
			continue;
		}
		if (netdev_enable(g->dev, n))
			say("cannot enable %u queue pairs: %s", n, g->dev->fe.why);
		else
			say("%u queue pairs enabled", netdev_enabled(g->dev));
	}
}

/* Waits for at most @ns (0 = just look) and notes what happened. */
static void poll_events(struct guest *g, uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC) };
	struct epoll_event ev[16];
	int n = epoll_pwait2(g->epfd, ev, 16, ns == UINT64_MAX ? NULL : &ts, NULL);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u32 == TAG_DEVICE)
			netdev_ack(g->dev);
		else if (ev[i].data.u32 == TAG_SIGNAL)
			signals(g);
		else
			g->tap_ready[ev[i].data.u32] = true;
	}
}

static void rest(struct guest *g)
{
	if (g->o.busy) {
		cpu_relax();
		return;
	}
	if (!arm(g))
		poll_events(g, longest_sleep(g));
	netdev_disarm(g->dev);
}

static void turn(struct guest *g)
{
	unsigned work = 0;

	g->now = clock_now();
	if (!netdev_connected(g->dev) || g->now - g->service_ns >= SERVICE_NS) {
		g->service_ns = g->now;
		service(g);
		/* A loop that always finds work, or never sleeps, has to look for signals and the like. */
		poll_events(g, 0);
	}
	for (uint32_t i = 0; i < netdev_pairs(g->dev); i++)
		work += receive(g, i);
	for (uint32_t i = 0; g->o.mode == GUEST_TAP && i < g->o.dev.queues; i++)
		if (g->tap_ready[i])
			work += from_tap(g, i);
	if (g->o.mode == GUEST_GENERATE)
		work += generate(g);
	check_end(g);
	if (reports(g) && g->now - g->report_ns >= NSEC_PER_SEC)
		report(g);
	if (!work && !g->stop)
		rest(g);
}

/* ---- the end ---- */

static void summary(struct guest *g)
{
	const struct traffic_counts *t = &g->check.counts;
	bool reflected = g->o.mode == GUEST_GENERATE && (g->o.window || g->check.own_good);
	uint64_t end = g->end_ns ? g->end_ns : g->now, lost = traffic_lost(&g->check, reflected);
	double s = g->start_ns ? (double)(end - g->start_ns) / NSEC_PER_SEC : 0;
	struct pair_stats p;
	json_t *pairs, *j;

	netdev_stats(g->dev, &p);
	say("total tx %llu rx %llu lost %llu reordered %llu duplicated %llu damaged %llu other %llu in %.3f s",
	    (unsigned long long)p.tx_packets, (unsigned long long)p.rx_packets, (unsigned long long)lost,
	    (unsigned long long)t->reordered, (unsigned long long)t->duplicated, (unsigned long long)t->damaged,
	    (unsigned long long)t->other, s);
	if (!g->o.json)
		return;
	pairs = json_array();
	for (uint32_t i = 0; i < g->o.dev.queues; i++)
		json_array_append_new(pairs, json_integer((json_int_t)g->rx_per_pair[i]));
	j = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:s,s:I,s:o}", "tx_packets",
		      (json_int_t)p.tx_packets, "rx_packets", (json_int_t)p.rx_packets, "good", (json_int_t)t->good, "lost",
		      (json_int_t)lost, "reordered", (json_int_t)t->reordered, "duplicated", (json_int_t)t->duplicated, "damaged",
		      (json_int_t)t->damaged, "other", (json_int_t)t->other, "tx_errors", (json_int_t)p.tx_errors,
		      "rx_errors", (json_int_t)p.rx_errors, "tap_drops", (json_int_t)g->tap_drops, "returned",
		      (json_int_t)g->check.own_good, "same_pair", (json_int_t)g->same_pair, "tx_pps", s > 0 ? (double)p.tx_packets / s : 0, "rx_pps",
		      s > 0 ? (double)p.rx_packets / s : 0, "seconds", s, "link", g->link ? "up" : "down",
		      "link_changes", (json_int_t)g->link_changes, "rx_per_pair", pairs);
	if (j)
		json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	printf("\n");
	fflush(stdout);
	json_decref(j);
}

/* ---- the beginning ---- */

static int watch(struct guest *g, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event ev = { .events = events, .data.u32 = tag };

	return epoll_ctl(g->epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int setup_tap(struct guest *g)
{
	uint32_t n = g->o.dev.queues;
	char err[200];
	int ret;

	ret = tap_open(g->o.tap, g->o.netns, g->o.dev.mac, g->o.mtu, g->tap, n, err, sizeof(err));
	if (ret) {
		say("%s", err);
		g->tap[0] = -1;
		return ret;
	}
	/* Edge-triggered: tap_ready remembers until a read finds nothing. */
	for (uint32_t i = 0; i < n && !ret; i++)
		ret = watch(g, g->tap[i], EPOLLIN | EPOLLET, i);
	return ret;
}

static int setup_process(struct guest *g)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	g->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	g->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (g->sigfd < 0 || g->epfd < 0)
		return -errno;
	if (g->o.cpu >= 0) {
		cpu_set_t cpus;

		CPU_ZERO(&cpus);
		CPU_SET((unsigned)g->o.cpu, &cpus);
		if (sched_setaffinity(0, sizeof(cpus), &cpus))
			say("--cpu %d: %s", g->o.cpu, strerror(errno));
	}
	return watch(g, g->sigfd, EPOLLIN, TAG_SIGNAL);
}

static int setup(struct guest *g)
{
	const struct guest_options *o = &g->o;
	char err[200] = "";
	int ret = setup_process(g);

	if (!ret && o->mode == GUEST_GENERATE)
		ret = traffic_gen_init(&g->gen, o->len, o->flows, o->dev.mac, o->dst);
	if (!ret)
		ret = traffic_check_init(&g->check, o->mode == GUEST_GENERATE ? &g->gen : NULL);
	if (!ret && o->mode == GUEST_TAP) {
		ret = setup_tap(g);
		if (ret)
			return ret;
	}
	if (!ret)
		ret = netdev_open(&o->dev, &g->dev, err, sizeof(err));
	if (!ret && o->mode == GUEST_TAP)
		netdev_offloads(g->dev, tap_offloads(g->tap[0]));
	if (!ret && o->enable)
		ret = netdev_enable(g->dev, o->enable);
	if (!ret)
		ret = watch(g, netdev_fd(g->dev), EPOLLIN, TAG_DEVICE);
	if (ret)
		say("%s", err[0] ? err : strerror(-ret));
	return ret;
}

static void cleanup(struct guest *g)
{
	netdev_close(g->dev);
	for (uint32_t i = 0; i < g->o.dev.queues && g->o.mode == GUEST_TAP && g->tap[0] >= 0; i++)
		close(g->tap[i]);
	traffic_check_fini(&g->check);
	traffic_gen_fini(&g->gen);
	if (g->epfd >= 0)
		close(g->epfd);
	if (g->sigfd >= 0)
		close(g->sigfd);
}

int main(int argc, char **argv)
{
	static struct guest g = { .epfd = -1, .sigfd = -1, .tap[0] = -1 };
	char err[300];
	int ret = guest_options_parse(argc, argv, &g.o, err, sizeof(err));

	if (ret) {
		say("%s", err);
		return 2;
	}
	if (g.o.help || g.o.version) {
		fputs(g.o.help ? guest_usage : "viaduct-guest " VIADUCT_VERSION "\n", stdout);
		return 0;
	}
	ret = setup(&g);
	while (!ret && !g.stop)
		turn(&g);
	if (!ret)
		summary(&g);
	cleanup(&g);
	return ret ? 1 : 0;
}
