/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The uplink, put together: the link monitor, the program with its maps, and
 * the device that is in use. Which one that is, and what becomes of it, is
 * uplink_follow.c's; all that is done on a device is uplink_device.c's.
 *
 * The XSKMAP is filled last: until then the program has nowhere to redirect to,
 * and the forwarding table is empty, so everything passes to the host.
 *
 * Closing goes the other way round. The program comes off first, so no frame is
 * redirected to a socket that is about to close.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <linux/if_packet.h>

#include "base/clock.h"
#include "base/node.h"
#include "xdp/hostport.h"
#include "xdp/uplink_internal.h"

#define DEFAULT_RING 2048
#define DEFAULT_FRAMES 4096
#define MAX_RING 32768
#define MAX_FRAMES (1u << 20)
#define BIND_WAIT_NS (5 * NSEC_PER_SEC)

int uplink_check_vlans(const struct uplink *u, const struct fail *why)
{
	if (u->info.vlan_tags != UPLINK_TAGS_LOST)
		return 0;
	return fail_with(why, -EOPNOTSUPP, "%s cannot have ports with vlan= or trunk=: %s", u->link.name,
			 u->info.vlan_tags_why);
}

int uplink_look(struct uplink *u, struct loop *loop, const struct fail *why)
{
	struct uplink_info *info = &u->info;

	info->ring_size = u->cfg.ring_size ? u->cfg.ring_size : DEFAULT_RING;
	info->frames = u->cfg.frames ? u->cfg.frames : DEFAULT_FRAMES;
	if (info->ring_size > MAX_RING || (info->ring_size & (info->ring_size - 1)))
		return fail_with(why, -EINVAL, "ring size %u: must be a power of two up to %u", info->ring_size, MAX_RING);
	if (info->frames < 64 || info->frames > MAX_FRAMES)
		return fail_with(why, -EINVAL, "%u frames: must be 64 to %u", info->frames, MAX_FRAMES);
	if (u->cfg.have_node && !node_exists(u->cfg.node))
		return fail_with(why, -EINVAL, "--numa-node %d: there is no such node (ls /sys/devices/system/node)",
				 u->cfg.node);
	u->loop = loop;
	/* Reads a file, so now and not later. */
	u->cpus = libbpf_num_possible_cpus();
	if (u->cpus < 1)
		u->cpus = 1;
	u->percpu = calloc((size_t)u->cpus, sizeof(*u->percpu));
	info->node = NODE_NONE;
	info->channels = "";
	if (!u->percpu)
		return fail_with(why, -ENOMEM, "out of memory");
	return linkmon_open(u->host, loop, &u->linkmon, why);
}

static int make(struct uplink *u, const struct fail *why)
{
	struct uplink_device *dev;
	int ret = uplink_choose(u, why);

	if (ret < 0)
		return ret;
	ret = program_init(&u->program, u->host, &u->cfg, ret, why);
	if (!ret)
		ret = uplink_device_open(u, u->program.ifindex, BIND_WAIT_NS, &dev, why);
	if (ret)
		return ret;
	ret = uplink_make_nicqs(u);
	if (ret) {
		uplink_device_close(u, dev);
		return fail_with(why, ret, "out of memory");
	}
	uplink_device_use(u, dev);
	linkmon_follow(u->linkmon, dev->ifindex);
	uplink_settle(u);
	uplink_watch(u);
	uplink_clear_up(u);
	return uplink_fill(u, why);
}

int uplink_open(const struct host_ops *host, struct loop *loop, const struct uplink_config *cfg,
		struct uplink **out, char *err, size_t errlen)
{
	const struct fail why = { .text = err, .len = errlen };
	struct uplink *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return fail_with(&why, -ENOMEM, "out of memory");
	u->host = host;
	u->cfg = *cfg;
	ret = uplink_look(u, loop, &why);
	if (!ret)
		ret = make(u, &why);
	if (ret) {
		uplink_close(u);
		return ret;
	}
	*out = u;
	return 0;
}

void uplink_close(struct uplink *u)
{
	struct uplink_device *dev;

	if (!u)
		return;
	dev = u->dev;
	if (u->loop)
		loop_timer_cancel(u->loop, &u->timer);
	while (uplink_device_linger(u))
		;
	u->user = NULL;
	program_close(&u->program);
	for (uint32_t i = 0; dev && i < dev->nopen; i++) {
		dev->nicq[i] = u->nicq[i];
		u->nicq[i] = (struct nicq){ .fd = -1, .umem_fd = -1 };
	}
	uplink_device_close(u, dev);
	uplink_device_forget(u);
	for (uint32_t i = 0; u->nicq && i < u->most; i++)
		nicq_fini(&u->nicq[i]);
	linkmon_close(u->linkmon);
	free(u->nicq);
	free(u->percpu);
	free(u->filter);
	free(u);
}

uint32_t uplink_queues(const struct uplink *u)
{
	return u->info.queues;
}

struct nicq *uplink_nicq(struct uplink *u, uint32_t queue)
{
	return queue < u->most ? &u->nicq[queue] : NULL;
}

const struct uplink_maps *uplink_maps(const struct uplink *u)
{
	return &u->program.maps;
}

const struct uplink_info *uplink_info(struct uplink *u)
{
	const struct linkmon_dev *d = linkmon_uplink(u->linkmon);

	if (d && u->dev)
		settings_read(&u->dev->settings, d->name, &u->info);
	u->info.filter_entries = u->nfilter;
	u->info.xdp_prog_id = d ? (int)d->xdp_prog_id : 0;
	memcpy(u->info.repaired, u->repaired, sizeof(u->info.repaired));
	memcpy(u->info.refused, u->refused, sizeof(u->info.refused));
	u->info.trouble_why[0] = '\0';
	if (u->trouble)
		memcpy(u->info.trouble_why, u->trouble_why[__builtin_ctz(u->trouble)], sizeof(u->info.trouble_why));
	return &u->info;
}

const struct uplink_link *uplink_link(const struct uplink *u)
{
	return &u->link;
}

void uplink_on_link(struct uplink *u, void (*fn)(void *arg, const struct uplink_link *l), void *arg)
{
	u->on_link = fn;
	u->on_link_arg = arg;
}

/* The list of what is to be in the filter of whatever device is in use. */
static int note_filter(struct uplink *u, const uint8_t mac[6])
{
	const uint32_t cap = u->filter_cap ? 2 * u->filter_cap : 64;
	uint8_t (*more)[6];

	if (u->nfilter == u->filter_cap) {
		more = reallocarray(u->filter, cap, sizeof(*more));
		if (!more)
			return -ENOMEM;
		u->filter = more;
		u->filter_cap = cap;
	}
	memcpy(u->filter[u->nfilter++], mac, sizeof(*u->filter));
	return 0;
}

static void forget_filter(struct uplink *u, uint32_t i)
{
	memcpy(u->filter[i], u->filter[--u->nfilter], sizeof(*u->filter));
}

static int set_filter(struct uplink *u, const uint8_t mac[6], bool add)
{
	if (!u->dev)
		return 0;	/* the next one gets it from the list */
	return u->host->packet_membership(u->host, u->dev->filter_fd, u->dev->ifindex, PACKET_MR_UNICAST, mac, add);
}

int uplink_filter(struct uplink *u, const uint8_t mac[6], bool add)
{
	uint32_t i = 0;
	int ret;

	if (add) {
		ret = note_filter(u, mac);
		if (ret)
			return ret;
		ret = set_filter(u, mac, true);
		if (ret)
			forget_filter(u, u->nfilter - 1);
		return ret;
	}
	while (i < u->nfilter && memcmp(u->filter[i], mac, sizeof(*u->filter)))
		i++;
	if (i == u->nfilter)
		return -ENOENT;
	forget_filter(u, i);
	return set_filter(u, mac, false);
}

int uplink_send(struct uplink *u, const uint8_t *frame, uint32_t len)
{
	if (!u->dev)
		return -ENETDOWN;
	return send(u->dev->filter_fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int uplink_hw_steer(struct uplink *u, const uint8_t mac[6], uint32_t queue, bool add)
{
	const struct linkmon_dev *d = linkmon_uplink(u->linkmon);

	if (add && queue >= u->info.queues)
		return -EINVAL;
	if (!d || !u->dev)		/* its name may be another's by now */
		return -ENODEV;
	settings_rename(&u->dev->settings, d->name);
	return add ? hwsteer_set(&u->dev->settings.hwsteer, mac, queue) : hwsteer_del(&u->dev->settings.hwsteer, mac);
}

static int port_update(struct uplink *u, enum program_map map, uint32_t port, const void *value)
{
	if (port >= VD_MAX_PORTS)
		return -EINVAL;
	return u->host->bpf_map_update(u->host, u->program.fds.map[map], &port, value);
}

int uplink_steering(struct uplink *u, uint32_t port, const struct vd_steering *s)
{
	return port_update(u, PROGRAM_STEERING, port, s);
}

int uplink_steering_read(struct uplink *u, uint32_t port, struct vd_steering *s)
{
	if (port >= VD_MAX_PORTS)
		return -EINVAL;
	return u->host->bpf_map_lookup(u->host, u->program.fds.map[PROGRAM_STEERING], &port, s);
}

int uplink_port(struct uplink *u, uint32_t port, const struct vd_port *p)
{
	return port_update(u, PROGRAM_PORTS, port, p);
}

int uplink_port_vlans(struct uplink *u, uint32_t port, const struct vd_vlans *v)
{
	return port_update(u, PROGRAM_VLANS, port, v);
}

int uplink_flow_pair(struct uplink *u, uint32_t port, uint32_t hash, uint32_t pair)
{
	const struct vd_flow_key key = { .hash = hash, .port = port };

	return u->host->bpf_map_update(u->host, u->program.fds.map[PROGRAM_FLOW_PAIRS], &key, &pair);
}

/* The map's keys are gone through once; what is new meanwhile is not this port's: it sends no more. */
void uplink_flow_pairs_forget(struct uplink *u, uint32_t port)
{
	const int fd = u->program.fds.map[PROGRAM_FLOW_PAIRS];
	struct vd_flow_key key, next;
	int more = u->host->bpf_map_next_key(u->host, fd, NULL, &next);

	for (unsigned i = 0; !more && i < VD_FLOW_PAIRS; i++) {
		key = next;
		more = u->host->bpf_map_next_key(u->host, fd, &key, &next);
		if (key.port == port)
			u->host->bpf_map_delete(u->host, fd, &key);
	}
}

void uplink_port_clear(struct uplink *u, uint32_t port)
{
	static const struct vd_port none;
	static const struct vd_vlans nowhere;
	static const struct vd_steering no_table;

	uplink_port(u, port, &none);
	uplink_port_vlans(u, port, &nowhere);
	uplink_steering(u, port, &no_table);
	memset(&u->program.maps.limits[port], 0, sizeof(u->program.maps.limits[port]));
	memset(u->percpu, 0, (size_t)u->cpus * sizeof(*u->percpu));
	port_update(u, PROGRAM_STATS, port, u->percpu);
}

void uplink_hostport(const struct uplink *u, struct hostport_config *c)
{
	const int *map = u->program.fds.map;

	*c = (struct hostport_config){
		.name = u->cfg.name,
		.uplink_ifindex = u->dev ? u->dev->ifindex : 0,
		.mtu = u->link.mtu,
		.fdb = map[PROGRAM_FDB],
		.ports = map[PROGRAM_PORTS],
		.links = map[PROGRAM_LINKS],
	};
}

int uplink_queue_info(struct uplink *u, uint32_t queue, uint32_t worker)
{
	struct vd_queue q = { .worker = worker, .mode = u->info.mode, .state = VD_QUEUE_READY };
	const struct nicq *n;

	if (queue >= u->most)
		return -EINVAL;
	n = &u->nicq[queue];
	if (n->fd < 0)
		q = (struct vd_queue){ .worker = worker };
	q.rx_size = n->rx.size;
	q.tx_size = n->tx.size;
	q.fill_size = n->fill.size;
	q.completion_size = n->completion.size;
	q.frames = n->frames.total;
	return u->host->bpf_map_update(u->host, u->program.fds.map[PROGRAM_QUEUES], &queue, &q);
}

int uplink_stats(struct uplink *u, uint32_t index, struct vd_stats *sum)
{
	const uint64_t *from;
	uint64_t *to = (uint64_t *)sum;
	size_t i;
	int ret, cpu;

	static_assert(sizeof(*sum) % sizeof(*to) == 0, "summed as an array of counters");
	memset(sum, 0, sizeof(*sum));
	if (index > VD_STATS_HOST)
		return -EINVAL;
	ret = u->host->bpf_map_lookup(u->host, u->program.fds.map[PROGRAM_STATS], &index, u->percpu);
	if (ret)
		return ret;
	for (cpu = 0; cpu < u->cpus; cpu++) {
		from = (const uint64_t *)&u->percpu[cpu];
		for (i = 0; i < sizeof(*sum) / sizeof(*to); i++)
			to[i] += from[i];
	}
	return 0;
}
