/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an uplink is on one device, put together.
 *
 * Order of opening: look first (interface kind, MTU, queues), then take what
 * can be given back (program, sockets, receive filter, VLAN settings). The
 * XSKMAP is filled when all of it is in use: until then the program has nowhere
 * to redirect to.
 *
 * Mode ladder: native zero-copy, native copy, generic. All NIC queues use the
 * same rung. Why a better rung did not hold is kept for status.
 *
 * Data paths use the uplink's NIC queues, which stay where they are in memory.
 * A device's sockets are put there once all of them exist, and taken away as a
 * whole. Then there are rings in memory in their place, which nobody serves: no
 * frame comes, and none is sent while the uplink's link is down.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_link.h>
#include <linux/if_packet.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/node.h"
#include "xdp/uplink_internal.h"

#define LINGER_SOCKETS 2
#define LEAST_QUEUES 16		/* that maps are made for: the device may get more */
#define LEAST_OF_SEVERAL 64	/* and where another may come that nobody knows yet */
#define MEMORY_RING 64
#define MEMORY_FRAMES 128

struct rung {
	enum vd_queue_mode mode;
	uint32_t attach;
	enum uplink_mode_wish wish;
	const char *name;
};

static const struct rung ladder[] = {
	{ VD_MODE_ZEROCOPY, XDP_ATTACHED_DRV, UPLINK_ZEROCOPY, "zero-copy" },
	{ VD_MODE_COPY, XDP_ATTACHED_DRV, UPLINK_COPY, "native copy" },
	{ VD_MODE_GENERIC, XDP_ATTACHED_SKB, UPLINK_GENERIC, "generic" },
};

/* What the error of a socket set-up means here. */
static const char *socket_error(int err)
{
	switch (-err) {
	case EOPNOTSUPP:
		return "not supported by the driver";
	case EBUSY:
		return "another AF_XDP socket holds the queue";
	case ENOBUFS:
		return "locked memory limit (ulimit -l unlimited, or LimitMEMLOCK=infinity)";
	case EMFILE:
		return "too many open files (ulimit -n)";
	case EPERM:
	case EACCES:
		return "no permission (CAP_NET_RAW, CAP_NET_ADMIN)";
	case EAFNOSUPPORT:
		return "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)";
	case ENETDOWN:
		return "the interface is down (ip link set up)";
	}
	return strerror(-err);
}

static void sockets_close(struct uplink_device *dev)
{
	while (dev->nopen)
		nicq_fini(&dev->nicq[--dev->nopen]);
}

/* The NUMA node that the NIC is attached to. */
static int nic_node(const struct uplink *u, const struct uplink_device *dev)
{
	char path[64 + IF_NAMESIZE], text[16] = "";
	int fd, node = NODE_NONE;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/numa_node", dev->name);
	fd = u->host->open(u->host, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return NODE_NONE;
	if (read(fd, text, sizeof(text) - 1) > 0)
		node = atoi(text);
	close(fd);
	return node < 0 ? NODE_NONE : node;
}

/*
 * Where the frames of a NIC queue should be: where they are copied. They cannot move later, the kernel holds them, so the
 * operator who knows where the guests are says so with --cpus or --numa-node.
 */
static int queue_node(const struct uplink *u, const struct uplink_device *dev, uint32_t queue)
{
	int node = NODE_NONE;

	if (node_count() < 2)
		return NODE_NONE;
	if (u->cfg.have_node)
		return u->cfg.node;
	if (u->cfg.ncpus)
		node = node_of_cpu(u->cfg.cpus[queue % u->cfg.ncpus]);
	return node == NODE_NONE ? nic_node(u, dev) : node;
}

/* What a failed set-up of a socket means. */
static int explain_socket(const struct uplink *u, const struct uplink_device *dev, const struct rung *r, int err,
			  const struct fail *why)
{
	if (err == -ENOPROTOOPT && dev->helpers.checksum)
		return fail_with(why, err, "%s: this kernel takes no checksum requests (6.8 does): --tx-checksum software",
				 r->name);
	if (err == -EINVAL && dev->info.sg)
		return fail_with(why, err,
				 "%s: MTU %u needs multi-buffer AF_XDP, which this kernel lacks (6.6 has it): ip link set dev %s mtu %d",
				 r->name, linkmon_find(u->linkmon, dev->ifindex)->mtu, dev->name, IFCHECK_MTU_WITHOUT_SG);
	return fail_with(why, err, "%s: queue %u: %s", r->name, dev->nopen, socket_error(err));
}

/* One socket per NIC queue, all in the same mode, or none. */
static int sockets_open(struct uplink *u, struct uplink_device *dev, const struct rung *r, uint64_t deadline_ns,
			const struct fail *why)
{
	struct afxdp_config c = {
		.ifindex = dev->ifindex,
		.mode = r->mode,
		.ring_size = dev->info.ring_size,
		.frames = dev->info.frames,
		.chunk = dev->info.chunk,
		.sg = dev->info.sg,
		.busy_poll = u->cfg.busy_poll,
		.tx_checksum = dev->helpers.checksum,
	};
	int ret;

	/* There is no kernel in between that could do it. */
	if (r->mode == VD_MODE_ZEROCOPY && dev->helpers.checksum == AFXDP_CHECKSUM_KERNEL)
		c.tx_checksum = AFXDP_CHECKSUM_US;

	while (dev->nopen < dev->info.queues) {
		c.queue = dev->nopen;
		node_prefer(queue_node(u, dev, c.queue));
		ret = afxdp_create(u->host, &c, deadline_ns, &dev->nicq[dev->nopen]);
		node_prefer(NODE_NONE);
		if (ret == -ENOPROTOOPT && c.tx_checksum && u->cfg.tx_checksum == UPLINK_HELPER_AUTO) {
			helpers_no_checksum(&dev->helpers, &dev->info, "the kernel takes no requests");
			c.tx_checksum = AFXDP_CHECKSUM_US;
			continue;
		}
		if (ret) {
			explain_socket(u, dev, r, ret, why);
			sockets_close(dev);
			return ret;
		}
		dev->nopen++;
	}
	dev->info.nic_checksum = c.tx_checksum == AFXDP_CHECKSUM_NIC;
	dev->info.kernel_checksum = c.tx_checksum == AFXDP_CHECKSUM_KERNEL;
	return 0;
}

static void add_reason(struct uplink_info *info, const char *reason)
{
	size_t at = strlen(info->mode_why);

	snprintf(info->mode_why + at, sizeof(info->mode_why) - at, "%s%s", at ? "; " : "", reason);
}

/* Failures that no other rung can mend. */
static bool is_final(const struct uplink *u, int err)
{
	bool loaded = u->program.fds.prog >= 0 || u->program.attach == UPLINK_ATTACH_DISPATCHER;

	return err == -EPERM || err == -EMFILE || err == -ENOMEM || err == -ENOBUFS || err == -EAFNOSUPPORT || !loaded;
}

static int try_rung(struct uplink *u, struct uplink_device *dev, const struct rung *r, uint64_t deadline_ns,
		    const struct fail *why)
{
	int ret;

	if (u->program.mode != r->attach) {
		program_detach(&u->program);
		ret = program_attach(&u->program, r->attach, why);
		if (ret)
			return ret;
	}
	return sockets_open(u, dev, r, deadline_ns, why);
}

static int climb(struct uplink *u, struct uplink_device *dev, const struct ifcheck *c, uint64_t wait_ns,
		 const struct fail *why)
{
	const uint64_t deadline = clock_now() + wait_ns;
	uint32_t refused_attach = 0;
	int ret = -EOPNOTSUPP;
	unsigned i;

	if (c->generic_only && (u->cfg.mode == UPLINK_ZEROCOPY || u->cfg.mode == UPLINK_COPY))
		return fail_with(why, -EOPNOTSUPP, "%s", c->generic_why);
	if (c->generic_only)
		add_reason(&dev->info, c->generic_why);
	for (i = 0; i < sizeof(ladder) / sizeof(ladder[0]); i++) {
		const struct rung *r = &ladder[i];

		if (u->cfg.mode != UPLINK_AUTO && u->cfg.mode != r->wish)
			continue;
		if (r->attach == refused_attach || (c->generic_only && r->attach != XDP_ATTACHED_SKB))
			continue;
		ret = try_rung(u, dev, r, deadline, why);
		if (!ret) {
			dev->info.mode = r->mode;
			return 0;
		}
		/* -EBUSY without a program attached: somebody else's program, in any mode. */
		if (is_final(u, ret) || (ret == -EBUSY && !u->program.mode))
			return ret;
		if (!u->program.mode)
			refused_attach = r->attach;
		add_reason(&dev->info, why->text);
	}
	return ret;
}

/* All multicast for the guests' groups, and the guests' addresses that are known. */
static int open_filter(struct uplink *u, struct uplink_device *dev, const struct fail *why)
{
	const int on = 1;
	int ret;

	dev->filter_fd = u->host->packet_socket(u->host, dev->ifindex, 0);
	if (dev->filter_fd < 0)
		return fail_with(why, dev->filter_fd, "cannot open a packet socket: %s: CAP_NET_RAW is needed",
				 strerror(-dev->filter_fd));
	ret = u->host->packet_membership(u->host, dev->filter_fd, dev->ifindex, PACKET_MR_ALLMULTI, NULL, true);
	dev->info.allmulti = !ret;
	if (ret)
		log_warn("%s: cannot receive all multicast: %s", dev->name, strerror(-ret));
	ret = 0;
	for (uint32_t i = 0; i < u->nfilter; i++) {
		int err = u->host->packet_membership(u->host, dev->filter_fd, dev->ifindex, PACKET_MR_UNICAST, u->filter[i], true);

		ret = ret ? ret : err;
	}
	if (ret)
		log_warn("%s: not all guests' addresses fit into its receive filter: %s", dev->name, strerror(-ret));
	/* What uplink_send() sends is no frame of the host's stack, and must not come back by the host's port (hostport.c). */
	if (setsockopt(dev->filter_fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0)
		log_debug("%s: announcements pass the host's queueing discipline: %s", dev->name, strerror(errno));
	return 0;
}

int uplink_device_settings(struct uplink *u, struct uplink_device *dev, struct nicq *q, struct uplink_info *info,
			   const struct fail *why)
{
	int ret = settings_apply(&dev->settings, &u->cfg, q, dev->nopen, info, why);

	if (ret)
		return ret;
	info->rxvlan_fixed = info->rxvlan_now == 1;
	return 0;
}

/* The configuration, for settings of a device. Two may be in use for a moment, each with its own file. */
static void settings_of(const struct uplink *u, const char *name, struct uplink_config *c)
{
	*c = u->cfg;
	c->wait_ns = u->user ? UPLINK_WAIT_NS : 0;
	snprintf(c->ifname, sizeof(c->ifname), "%s", name);
	if (uplink_has_several(c))
		snprintf(c->notes, sizeof(c->notes), "%s.%s", c->name, name);
}

int uplink_device_begin(struct uplink *u, struct uplink_device *dev, struct uplink_info *info, const struct fail *why)
{
	const struct linkmon_dev *d = linkmon_find(u->linkmon, dev->ifindex);
	struct uplink_config c;

	settings_of(u, dev->name, &c);
	if (d)
		memcpy(c.called, d->name, sizeof(c.called));
	return settings_open(&dev->settings, u->host, &c, info, why);
}

void uplink_device_forget(struct uplink *u)
{
	for (unsigned i = 0; i < UPLINK_AWAY; i++) {
		const char *name = u->away[i];
		struct uplink_config c;
		struct restore r;

		if (!name[0])
			continue;
		settings_of(u, name, &c);
		restore_open(&r, u->host, c.ifname, c.notes[0] ? c.notes : c.name);
		if (restore_any(&r)) {
			log_warn("%s is away: what viaduct has changed on it stays (see ethtool -K %s rxvlan on)", name, name);
			restore_abandon(&r, false);
		}
	}
}

/* Settings are made and put back: then they are what they were before the dead instance. */
void uplink_device_clear_up(struct uplink *u, const char *name)
{
	struct uplink_info info = { 0 };
	struct settings s = { 0 };
	struct uplink_config c;
	char text[128];
	const struct fail why = { text, sizeof(text) };
	int ret;

	settings_of(u, name, &c);
	c.busy_poll = c.hw_steer = false;
	c.set_channels = 0;
	ret = settings_open(&s, u->host, &c, &info, &why);
	if (ret >= 0 && restore_any(&s.restore) && !settings_apply(&s, &c, NULL, 0, &info, &why))
		settings_restore(&s, name);
	settings_close(&s);
}

int uplink_fill(struct uplink *u, const struct fail *why)
{
	uint32_t q;
	int ret;

	for (q = 0; q < u->info.queues; q++) {
		ret = uplink_queue_info(u, q, 0);
		if (!ret)
			ret = u->host->bpf_map_update(u->host, u->program.fds.map[PROGRAM_XSKS], &q, &u->nicq[q].fd);
		if (ret)
			return fail_with(why, ret, "cannot enter the socket of queue %u: %s", q, strerror(-ret));
	}
	return 0;
}

/* How many NIC queues the maps should be for: the device may get more, and so may another that follows it. */
static uint32_t most_queues(struct uplink *u, uint32_t now)
{
	const bool several = uplink_has_several(&u->cfg);
	uint32_t most = several ? LEAST_OF_SEVERAL : LEAST_QUEUES;
	struct choose_device list[CHOOSE_MAX];
	unsigned n = choose_devices(u->host, u->linkmon, &u->cfg, 0, &u->known, list, CHOOSE_MAX);

	most = now > most ? now : most;
	for (unsigned i = 0; i < n; i++) {
		const struct linkmon_dev *d = linkmon_find(u->linkmon, list[i].ifindex);

		if (d && d->rx_queues > most)
			most = d->rx_queues;
	}
	return most < VD_MAX_QUEUES ? most : VD_MAX_QUEUES;
}

int uplink_count_queues(const struct uplink *u, const struct linkmon_dev *d, const struct ifcheck *c, uint32_t want,
			const struct fail *why)
{
	const bool several = uplink_has_several(&u->cfg);

	/* Where there may be another device the number is meant for the one that has so many. */
	return ifcheck_choose_queues(c, d->name, several && want > c->queues ? c->queues : want, why);
}

/* How many NIC queues there are to serve, after --set-channels has made it so. */
static int count_queues(struct uplink *u, struct uplink_device *dev, const struct linkmon_dev *d, struct ifcheck *c,
			const struct fail *why)
{
	struct uplink_info *info = &dev->info;
	uint32_t want;
	int ret;

	/* Not while somebody else uses them. */
	ret = u->cfg.set_channels ? program_check(&u->program, why) : 0;
	if (!ret)
		ret = uplink_device_begin(u, dev, info, why);
	if (ret < 0)
		return ret;
	want = (uint32_t)ret;
	ifcheck_queues(u->host, d, c);
	memcpy(info->driver, c->driver, sizeof(info->driver));
	ret = uplink_count_queues(u, d, c, want, why);
	if (ret < 0)
		return ret;
	info->queues = (uint32_t)ret;
	if (!u->program.queues)
		u->program.queues = most_queues(u, info->queues);
	if (info->queues > u->program.queues)
		return fail_with(why, -ENOSPC, "%s has %u NIC queues, and viaduct was started for %u at most: restart it, or ethtool -L %s",
				 d->name, info->queues, u->program.queues, d->name);
	dev->nicq = calloc(info->queues, sizeof(*dev->nicq));
	return dev->nicq ? 0 : fail_with(why, -ENOMEM, "out of memory");
}

int uplink_fit(const struct uplink *u, const struct linkmon_dev *d, struct uplink_info *info, const struct fail *why)
{
	int ret = ifcheck_chunk(d, &info->sg, why);

	if (ret < 0)
		return ret;
	info->ring_size = u->info.ring_size;
	info->frames = u->info.frames;
	info->chunk = (uint32_t)ret;
	info->max_frame = NICQ_MAX_FRAME(info->chunk) * (info->sg ? NICQ_PIECES : 1);
	return 0;
}

int uplink_make_nicqs(struct uplink *u)
{
	u->most = u->program.queues;
	u->nicq = calloc(u->most, sizeof(*u->nicq));
	for (uint32_t i = 0; u->nicq && i < u->most; i++)
		u->nicq[i].fd = u->nicq[i].umem_fd = -1;
	return u->nicq ? 0 : -ENOMEM;
}

struct uplink_device *uplink_device_new(const struct linkmon_dev *d)
{
	struct uplink_device *dev = calloc(1, sizeof(*dev));

	if (!dev)
		return NULL;
	dev->ifindex = d->ifindex;
	memcpy(dev->name, d->name, sizeof(dev->name));
	dev->filter_fd = -1;
	dev->link.link = -1;
	dev->info.node = NODE_NONE;
	dev->info.channels = "";
	return dev;
}

static int take(struct uplink *u, struct uplink_device *dev, const struct linkmon_dev *d, uint64_t wait_ns,
		const struct fail *why)
{
	struct ifcheck c;
	int ret = ifcheck_kind(u->linkmon, d, &c, why);

	if (!ret)
		ret = uplink_fit(u, d, &dev->info, why);
	if (!ret)
		ret = count_queues(u, dev, d, &c, why);
	if (!ret) {
		helpers_choose(&dev->helpers, u->host, dev->ifindex, &u->cfg, &dev->info);
		u->program.want_bound = dev->helpers.want_hash || dev->helpers.offers_tag;
		ret = climb(u, dev, &c, wait_ns, why);
	}
	if (!ret)
		ret = program_publish(&u->program, why);
	if (!ret)
		ret = open_filter(u, dev, why);
	if (!ret)
		ret = uplink_device_settings(u, dev, dev->nicq, &dev->info, why);
	if (ret)
		return ret;
	dev->info.adopted = u->program.adopted;
	dev->info.links_id = u->program.links_id;
	dev->info.attach = u->cfg.attach;
	dev->info.node = node_of_memory(dev->nicq[0].umem);
	helpers_loaded(&dev->helpers, u->program.bound, &u->cfg, &dev->info);
	return 0;
}

int uplink_device_open(struct uplink *u, int ifindex, uint64_t wait_ns, struct uplink_device **out, const struct fail *why)
{
	const struct linkmon_dev *d = linkmon_find(u->linkmon, ifindex);
	struct uplink_device *dev;
	int ret;

	if (!d)
		return fail_with(why, -ENODEV, "the interface is gone");
	dev = uplink_device_new(d);
	if (!dev)
		return fail_with(why, -ENOMEM, "out of memory");
	u->program.ifindex = ifindex;
	ret = take(u, dev, d, wait_ns, why);
	if (ret) {
		program_detach(&u->program);
		uplink_device_close(u, dev);
		return ret;
	}
	*out = dev;
	return 0;
}

/* What was counted goes on. */
static void put(struct nicq *at, const struct nicq *q)
{
	const struct nicq_stats stats = at->stats;
	const uint64_t violations = at->frames.violations;

	*at = *q;
	at->stats = stats;
	at->stats.last_errno = 0;
	at->frames.violations = violations;
}

void uplink_device_use(struct uplink *u, struct uplink_device *dev)
{
	for (uint32_t i = 0; i < dev->nopen; i++) {
		struct nicq was = u->nicq[i];

		u->nicq[i].stats.tx_device_gone += was.tx_outstanding;	/* while there was none */
		put(&u->nicq[i], &dev->nicq[i]);
		nicq_fini(&was);
		dev->nicq[i] = (struct nicq){ .fd = -1, .umem_fd = -1 };
	}
	u->info = dev->info;
	u->dev = dev;
}

int uplink_device_leave(struct uplink *u)
{
	struct uplink_device *dev = u->dev;
	struct nicq *memory = calloc(dev->nopen, sizeof(*memory));
	uint32_t n = 0;
	int ret = memory ? 0 : -ENOMEM;

	for (; n < dev->nopen && !ret; n += !ret)
		ret = nicq_init_memory(&memory[n], MEMORY_RING, MEMORY_FRAMES, u->info.chunk);
	for (uint32_t i = 0; i < n; i++) {
		struct nicq *q = &u->nicq[i];

		if (ret) {
			nicq_fini(&memory[i]);
			continue;
		}
		memory[i].id = i;
		memory[i].sg = q->sg;	/* how long frames may be does not change with it */
		nicq_reap(q);
		q->stats.tx_device_gone += q->tx_outstanding;
		dev->nicq[i] = *q;
		put(q, &memory[i]);
	}
	free(memory);
	if (!ret)
		u->dev = NULL;
	return ret;
}

/* All but the sockets, and what has to wait for those. */
static void leave_interface(struct uplink *u, struct uplink_device *dev)
{
	const struct linkmon_dev *d;

	if (dev->link.ifindex)
		program_link_close(&u->program, &dev->link);
	if (dev->filter_fd >= 0)
		close(dev->filter_fd);
	dev->filter_fd = -1;
	d = linkmon_find(u->linkmon, dev->ifindex);
	if (d)
		settings_restore(&dev->settings, d->name);
}

static void end_device(struct uplink *u, struct uplink_device *dev)
{
	if (linkmon_find(u->linkmon, dev->ifindex)) {
		settings_close(&dev->settings);
	} else {	/* another may have its name */
		if (restore_any(&dev->settings.restore))
			memcpy(u->away[u->naway++ % UPLINK_AWAY], dev->name, IF_NAMESIZE);
		settings_abandon(&dev->settings, u->user != NULL);
	}
	free(dev->nicq);
	free(dev);
}

/* From here on its NIC queues are ours to wait for, for a moment. */
static void note_closed(struct uplink *u, const struct uplink_device *dev)
{
	if (!dev->nopen)
		return;
	u->closed_ifindex = dev->ifindex;
	u->closed_ns = clock_now();
}

void uplink_device_close(struct uplink *u, struct uplink_device *dev)
{
	if (!dev)
		return;
	leave_interface(u, dev);
	note_closed(u, dev);
	sockets_close(dev);
	end_device(u, dev);
}

void uplink_device_close_slowly(struct uplink *u, struct uplink_device *dev)
{
	if (!dev)
		return;
	while (uplink_device_linger(u))		/* one at a time */
		;
	leave_interface(u, dev);
	u->lingering = dev;
}

bool uplink_device_linger(struct uplink *u)
{
	struct uplink_device *dev = u->lingering;

	if (dev)
		note_closed(u, dev);
	for (int i = 0; dev && dev->nopen && i < LINGER_SOCKETS; i++)
		nicq_fini(&dev->nicq[--dev->nopen]);
	if (!dev || dev->nopen)
		return dev;
	u->lingering = NULL;
	end_device(u, dev);
	return false;
}
