/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The uplink, put together.
 *
 * Order of opening: look first (interface kind, MTU, queues), then take what
 * can be given back (pin directory, program, sockets, receive filter, VLAN
 * settings), and fill the XSKMAP last: until then the program has nowhere to
 * redirect to, and the forwarding table is empty, so everything passes to the host.
 *
 * Mode ladder: native zero-copy, native copy, generic. All NIC queues use the
 * same rung. Why a better rung did not hold is kept for status.
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
#include <linux/if_link.h>
#include <linux/if_packet.h>

#include "base/atomics.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/node.h"
#include "xdp/hostport.h"
#include "xdp/uplink_internal.h"

#define DEFAULT_RING 2048
#define DEFAULT_FRAMES 4096
#define MAX_RING 32768
#define MAX_FRAMES (1u << 20)
#define BIND_WAIT_NS (5 * NSEC_PER_SEC)

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

static void sockets_close(struct uplink *u)
{
	while (u->nopen)
		nicq_fini(&u->nicq[--u->nopen]);
}

/* The NUMA node that the NIC is attached to. */
static int nic_node(const struct uplink *u)
{
	char path[64 + IF_NAMESIZE], text[16] = "";
	int fd, node = NODE_NONE;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/numa_node", u->cfg.ifname);
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
static int queue_node(const struct uplink *u, uint32_t queue)
{
	int node = NODE_NONE;

	if (node_count() < 2)
		return NODE_NONE;
	if (u->cfg.have_node)
		return u->cfg.node;
	if (u->cfg.ncpus)
		node = node_of_cpu(u->cfg.cpus[queue % u->cfg.ncpus]);
	return node == NODE_NONE ? nic_node(u) : node;
}

/* What a failed set-up of a socket means. */
static int explain_socket(const struct uplink *u, const struct rung *r, uint32_t queue, int err, const struct fail *why)
{
	if (err == -ENOPROTOOPT && u->helpers.checksum)
		return fail_with(why, err, "%s: this kernel takes no checksum requests (6.8 does): --tx-checksum software",
				 r->name);
	if (err == -EINVAL && u->info.sg)
		return fail_with(why, err,
				 "%s: MTU %u needs multi-buffer AF_XDP, which this kernel lacks (6.6 has it): ip link set dev %s mtu %d",
				 r->name, linkmon_uplink(u->linkmon)->mtu, u->cfg.ifname, IFCHECK_MTU_WITHOUT_SG);
	return fail_with(why, err, "%s: queue %u: %s", r->name, queue, socket_error(err));
}

/* One socket per NIC queue, all in the same mode, or none. */
static int sockets_open(struct uplink *u, const struct rung *r, uint64_t deadline_ns, const struct fail *why)
{
	struct afxdp_config c = {
		.ifindex = u->program.ifindex,
		.mode = r->mode,
		.ring_size = u->info.ring_size,
		.frames = u->info.frames,
		.chunk = u->info.chunk,
		.sg = u->info.sg,
		.busy_poll = u->cfg.busy_poll,
		.tx_checksum = u->helpers.checksum,
	};
	int ret;

	/* There is no kernel in between that could do it. */
	if (r->mode == VD_MODE_ZEROCOPY && u->helpers.checksum == AFXDP_CHECKSUM_KERNEL)
		c.tx_checksum = AFXDP_CHECKSUM_US;

	while (u->nopen < u->info.queues) {
		c.queue = u->nopen;
		node_prefer(queue_node(u, c.queue));
		ret = afxdp_create(u->host, &c, deadline_ns, &u->nicq[u->nopen]);
		node_prefer(NODE_NONE);
		if (ret == -ENOPROTOOPT && c.tx_checksum && u->cfg.tx_checksum == UPLINK_HELPER_AUTO) {
			helpers_no_checksum(&u->helpers, &u->info, "the kernel takes no requests");
			c.tx_checksum = AFXDP_CHECKSUM_US;
			continue;
		}
		if (ret) {
			sockets_close(u);
			return explain_socket(u, r, c.queue, ret, why);
		}
		u->nopen++;
	}
	u->info.nic_checksum = c.tx_checksum == AFXDP_CHECKSUM_NIC;
	u->info.kernel_checksum = c.tx_checksum == AFXDP_CHECKSUM_KERNEL;
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

static int try_rung(struct uplink *u, const struct rung *r, uint64_t deadline_ns, const struct fail *why)
{
	int ret;

	if (u->program.mode != r->attach) {
		program_detach(&u->program);
		ret = program_attach(&u->program, r->attach, why);
		if (ret)
			return ret;
	}
	return sockets_open(u, r, deadline_ns, why);
}

static int climb(struct uplink *u, const struct ifcheck *c, const struct fail *why)
{
	uint64_t deadline = clock_now() + BIND_WAIT_NS;
	uint32_t refused_attach = 0;
	int ret = -EOPNOTSUPP;
	unsigned i;

	if (c->generic_only && (u->cfg.mode == UPLINK_ZEROCOPY || u->cfg.mode == UPLINK_COPY))
		return fail_with(why, -EOPNOTSUPP, "%s", c->generic_why);
	if (c->generic_only)
		add_reason(&u->info, c->generic_why);
	for (i = 0; i < sizeof(ladder) / sizeof(ladder[0]); i++) {
		const struct rung *r = &ladder[i];

		if (u->cfg.mode != UPLINK_AUTO && u->cfg.mode != r->wish)
			continue;
		if (r->attach == refused_attach || (c->generic_only && r->attach != XDP_ATTACHED_SKB))
			continue;
		ret = try_rung(u, r, deadline, why);
		if (!ret) {
			u->info.mode = r->mode;
			return 0;
		}
		/* -EBUSY without a program attached: somebody else's program, in any mode. */
		if (is_final(u, ret) || (ret == -EBUSY && !u->program.mode))
			return ret;
		if (!u->program.mode)
			refused_attach = r->attach;
		add_reason(&u->info, why->text);
	}
	return ret;
}

void uplink_fdb_changed(struct uplink *u)
{
	struct vd_config *c = u->program.maps.config;

	WRITE_ONCE(c->fdb_generation, c->fdb_generation + 1);
}

/* Every change of fdb: @v is what stands there from now on, NULL for nothing. */
static int fdb_change(struct uplink *u, const struct vd_fdb_key *key, const struct vd_fdb_value *v)
{
	int fd = u->program.fds.map[PROGRAM_FDB];
	int ret = v ? u->host->bpf_map_update(u->host, fd, key, v) : u->host->bpf_map_delete(u->host, fd, key);

	uplink_fdb_changed(u);
	return ret;
}

static void sync_host_macs(struct uplink *u)
{
	uint8_t now[UPLINK_HOST_MACS][6];
	unsigned n = linkmon_host_macs(u->linkmon, now, UPLINK_HOST_MACS), i, k;
	struct vd_fdb_value host = { .port = VD_PORT_HOST, .kind = VD_FDB_HOST };
	struct vd_fdb_key key = { 0 };

	if (n > UPLINK_HOST_MACS)	/* out of memory: those that are known stay */
		return;
	for (i = 0; i < u->nhost; i++) {
		for (k = 0; k < n && memcmp(u->host_mac[i], now[k], 6); k++)
			;
		if (k < n)
			continue;
		memcpy(key.mac, u->host_mac[i], 6);
		fdb_change(u, &key, NULL);
	}
	memcpy(u->host_mac, now, sizeof(u->host_mac[0]) * n);
	u->nhost = n;
	for (i = 0; i < n; i++) {
		memcpy(key.mac, now[i], 6);
		fdb_change(u, &key, &host);
	}
}

static void sync_config(struct uplink *u)
{
	const struct uplink_link *l = linkmon_state(u->linkmon);
	struct vd_config *c = u->program.maps.config;

	memcpy(c->own_mac, l->mac, sizeof(c->own_mac));
	WRITE_ONCE(c->unknown, u->cfg.unknown);
	WRITE_ONCE(c->max_frame, u->info.max_frame);
	WRITE_ONCE(c->driver_hash, u->info.driver_hash);
	WRITE_ONCE(c->note_wire, u->info.mode != VD_MODE_GENERIC);
	WRITE_ONCE(c->restore_tag, u->info.vlan_tags == UPLINK_TAGS_RESTORED);
	if (l->mtu + 14 > u->info.max_frame && l->mtu != u->warned_mtu) {
		u->warned_mtu = l->mtu;
		log_warn("%s: MTU is now %u, but frames longer than %u bytes cannot reach guests: restart viaduct, or lower the MTU",
			 l->name, l->mtu, u->info.max_frame);
	}
}

static void on_change(void *arg, bool state_changed)
{
	struct uplink *u = arg;
	const struct uplink_link *l = linkmon_state(u->linkmon);

	sync_host_macs(u);
	sync_config(u);
	if (!state_changed)
		return;
	if (l->xdp_lost)
		log_warn("%s: its XDP program is not viaduct's any more: somebody detached or replaced it; guests receive nothing from the wire (restart viaduct)",
			 l->name);
	if (u->on_link)
		u->on_link(u->on_link_arg, l);
}

/* All multicast for the guests' groups; unicast entries come with the guests' addresses. */
static int open_filter(struct uplink *u, const struct fail *why)
{
	const int on = 1;
	int ret;

	u->filter_fd = u->host->packet_socket(u->host, u->program.ifindex, 0);
	if (u->filter_fd < 0)
		return fail_with(why, u->filter_fd, "cannot open a packet socket: %s: CAP_NET_RAW is needed",
				 strerror(-u->filter_fd));
	ret = u->host->packet_membership(u->host, u->filter_fd, u->program.ifindex, PACKET_MR_ALLMULTI, NULL, true);
	u->info.allmulti = !ret;
	if (ret)
		log_warn("%s: cannot receive all multicast: %s", u->cfg.ifname, strerror(-ret));
	/* What uplink_send() sends is no frame of the host's stack, and must not come back by the host's port (hostport.c). */
	if (setsockopt(u->filter_fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0)
		log_debug("%s: announcements pass the host's queueing discipline: %s", u->cfg.ifname, strerror(errno));
	return 0;
}

int uplink_apply_settings(struct uplink *u, const struct fail *why)
{
	struct uplink_info *info = &u->info;
	int ret = settings_apply(&u->settings, &u->cfg, u->nicq, u->nopen, info, why);

	if (ret)
		return ret;
	info->rxvlan_fixed = info->rxvlan_now == 1;
	return 0;
}

int uplink_check_vlans(const struct uplink *u, const struct fail *why)
{
	if (u->info.vlan_tags != UPLINK_TAGS_LOST)
		return 0;
	return fail_with(why, -EOPNOTSUPP, "%s cannot have ports with vlan= or trunk=: %s", u->cfg.ifname,
			 u->info.vlan_tags_why);
}

static int fill_xskmap(struct uplink *u, const struct fail *why)
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

int uplink_look(struct uplink *u, struct loop *loop, struct ifcheck *c, const struct fail *why)
{
	struct uplink_info *info = &u->info;
	const struct linkmon_dev *d;
	int ret;

	info->ring_size = u->cfg.ring_size ? u->cfg.ring_size : DEFAULT_RING;
	info->frames = u->cfg.frames ? u->cfg.frames : DEFAULT_FRAMES;
	if (info->ring_size > MAX_RING || (info->ring_size & (info->ring_size - 1)))
		return fail_with(why, -EINVAL, "ring size %u: must be a power of two up to %u", info->ring_size, MAX_RING);
	if (info->frames < 64 || info->frames > MAX_FRAMES)
		return fail_with(why, -EINVAL, "%u frames: must be 64 to %u", info->frames, MAX_FRAMES);
	ret = linkmon_open(u->host, loop, u->cfg.ifname, &u->linkmon, why);
	if (!ret)
		ret = ifcheck_kind(u->linkmon, c, why);
	if (ret)
		return ret;
	d = linkmon_uplink(u->linkmon);
	ret = ifcheck_chunk(d, &info->sg, why);
	if (ret < 0)
		return ret;
	info->chunk = (uint32_t)ret;
	info->max_frame = NICQ_MAX_FRAME(info->chunk) * (info->sg ? NICQ_PIECES : 1);
	/* Reads a file, so now and not later. */
	u->cpus = libbpf_num_possible_cpus();
	if (u->cpus < 1)
		u->cpus = 1;
	u->percpu = calloc((size_t)u->cpus, sizeof(*u->percpu));
	info->node = NODE_NONE;
	if (u->cfg.have_node && !node_exists(u->cfg.node))
		return fail_with(why, -EINVAL, "--numa-node %d: there is no such node (ls /sys/devices/system/node)",
				 u->cfg.node);
	return u->percpu ? 0 : fail_with(why, -ENOMEM, "out of memory");
}

/* How many NIC queues there are to serve, after --set-channels has made it so. */
static int count_queues(struct uplink *u, struct ifcheck *c, const struct fail *why)
{
	const struct linkmon_dev *d = linkmon_uplink(u->linkmon);
	struct uplink_info *info = &u->info;
	uint32_t want;
	int ret;

	/* Not while somebody else uses them. */
	ret = u->cfg.set_channels ? program_check(&u->program, why) : 0;
	if (!ret)
		ret = settings_open(&u->settings, u->host, &u->cfg, info, why);
	if (ret < 0)
		return ret;
	want = (uint32_t)ret;
	ifcheck_queues(u->host, d, c);
	memcpy(info->driver, c->driver, sizeof(info->driver));
	ret = ifcheck_choose_queues(c, d->name, want, why);
	if (ret < 0)
		return ret;
	info->queues = u->program.queues = (uint32_t)ret;
	u->nicq = calloc(info->queues, sizeof(*u->nicq));
	return u->nicq ? 0 : fail_with(why, -ENOMEM, "out of memory");
}

void uplink_settle(struct uplink *u)
{
	helpers_loaded(&u->helpers, u->program.bound, &u->cfg, &u->info);
	u->info.node = node_of_memory(u->nicq[0].umem);
	u->info.attach = u->cfg.attach;
	linkmon_expect_program(u->linkmon, u->program.id, u->cfg.attach == UPLINK_ATTACH_DISPATCHER);
	linkmon_on_change(u->linkmon, on_change, u);
	sync_host_macs(u);
	sync_config(u);
}

static int take(struct uplink *u, struct ifcheck *c, const struct fail *why)
{
	int ret;

	ret = program_init(&u->program, u->host, &u->cfg, linkmon_uplink(u->linkmon)->ifindex, why);
	if (!ret)
		ret = count_queues(u, c, why);
	if (!ret) {
		helpers_choose(&u->helpers, u->host, u->program.ifindex, &u->cfg, &u->info);
		u->program.want_bound = u->helpers.want_hash || u->helpers.offers_tag;
		ret = climb(u, c, why);
	}
	if (!ret)
		ret = program_publish(&u->program, why);
	if (!ret)
		ret = open_filter(u, why);
	if (!ret)
		ret = uplink_apply_settings(u, why);
	if (ret)
		return ret;
	u->info.adopted = u->program.adopted;
	u->info.links_id = u->program.links_id;
	uplink_settle(u);
	return fill_xskmap(u, why);
}

int uplink_open(const struct host_ops *host, struct loop *loop, const struct uplink_config *cfg,
		struct uplink **out, char *err, size_t errlen)
{
	const struct fail why = { .text = err, .len = errlen };
	struct uplink *u = calloc(1, sizeof(*u));
	struct ifcheck c;
	int ret;

	if (!u)
		return fail_with(&why, -ENOMEM, "out of memory");
	u->host = host;
	u->cfg = *cfg;
	u->filter_fd = -1;
	ret = uplink_look(u, loop, &c, &why);
	if (!ret)
		ret = take(u, &c, &why);
	if (ret) {
		uplink_close(u);
		return ret;
	}
	*out = u;
	return 0;
}

void uplink_close(struct uplink *u)
{
	const struct linkmon_dev *d;
	char name[IF_NAMESIZE];

	if (!u)
		return;
	d = u->linkmon ? linkmon_uplink(u->linkmon) : NULL;
	snprintf(name, sizeof(name), "%s", d ? d->name : "");
	linkmon_close(u->linkmon);
	program_close(&u->program);
	if (u->filter_fd >= 0)
		close(u->filter_fd);
	settings_restore(&u->settings, name[0] ? name : NULL);
	sockets_close(u);
	settings_close(&u->settings);
	free(u->nicq);
	free(u->percpu);
	free(u);
}

uint32_t uplink_queues(const struct uplink *u)
{
	return u->info.queues;
}

struct nicq *uplink_nicq(struct uplink *u, uint32_t queue)
{
	return queue < u->nopen ? &u->nicq[queue] : NULL;
}

const struct uplink_maps *uplink_maps(const struct uplink *u)
{
	return &u->program.maps;
}

const struct uplink_info *uplink_info(struct uplink *u)
{
	const struct linkmon_dev *d = linkmon_uplink(u->linkmon);

	if (d)
		settings_read(&u->settings, d->name, &u->info);
	u->info.xdp_prog_id = d ? (int)d->xdp_prog_id : 0;
	return &u->info;
}

const struct uplink_link *uplink_link(const struct uplink *u)
{
	return linkmon_state(u->linkmon);
}

void uplink_on_link(struct uplink *u, void (*fn)(void *arg, const struct uplink_link *l), void *arg)
{
	u->on_link = fn;
	u->on_link_arg = arg;
}

bool uplink_is_host_mac(const struct uplink *u, const uint8_t mac[6])
{
	unsigned i;

	for (i = 0; i < u->nhost; i++)
		if (!memcmp(u->host_mac[i], mac, 6))
			return true;
	return false;
}

const uint8_t (*uplink_host_macs(const struct uplink *u, unsigned *n))[6]
{
	*n = u->nhost;
	return u->host_mac;
}

int uplink_fdb_set(struct uplink *u, uint16_t vlan, const uint8_t mac[6], uint32_t port, enum vd_fdb_kind kind)
{
	struct vd_fdb_value v = { .port = port, .kind = kind };
	struct vd_fdb_key key = { .vlan = vlan };

	if (uplink_is_host_mac(u, mac))
		return -EADDRINUSE;
	memcpy(key.mac, mac, 6);
	return fdb_change(u, &key, &v);
}

int uplink_fdb_del(struct uplink *u, uint16_t vlan, const uint8_t mac[6])
{
	struct vd_fdb_key key = { .vlan = vlan };

	if (!vlan && uplink_is_host_mac(u, mac))
		return -EADDRINUSE;
	memcpy(key.mac, mac, 6);
	return fdb_change(u, &key, NULL);
}

int uplink_filter(struct uplink *u, const uint8_t mac[6], bool add)
{
	int ret = u->host->packet_membership(u->host, u->filter_fd, u->program.ifindex, PACKET_MR_UNICAST, mac, add);

	if (ret)
		return ret;
	if (add)
		u->info.filter_entries++;
	else if (u->info.filter_entries)
		u->info.filter_entries--;
	return 0;
}

int uplink_send(struct uplink *u, const uint8_t *frame, uint32_t len)
{
	return send(u->filter_fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int uplink_hw_steer(struct uplink *u, const uint8_t mac[6], uint32_t queue, bool add)
{
	const struct linkmon_dev *d = linkmon_uplink(u->linkmon);

	if (add && queue >= u->info.queues)
		return -EINVAL;
	if (!d)		/* its name may be another's by now */
		return -ENODEV;
	settings_rename(&u->settings, d->name);
	return add ? hwsteer_set(&u->settings.hwsteer, mac, queue) : hwsteer_del(&u->settings.hwsteer, mac);
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
		.uplink_ifindex = u->program.ifindex,
		.mtu = linkmon_state(u->linkmon)->mtu,
		.fdb = map[PROGRAM_FDB],
		.ports = map[PROGRAM_PORTS],
		.links = map[PROGRAM_LINKS],
	};
}

int uplink_queue_info(struct uplink *u, uint32_t queue, uint32_t worker)
{
	struct vd_queue q = { .worker = worker, .mode = u->info.mode, .state = VD_QUEUE_READY };
	const struct nicq *n;

	if (queue >= u->nopen)
		return -EINVAL;
	n = &u->nicq[queue];
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
