// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The XDP program steers, the AF_XDP socket only carries. For every frame that
 * the uplink receives it finds the port (by VLAN and destination MAC) and the
 * queue pair (by flow hash), writes both in front of the frame as metadata, and
 * redirects the frame to the one socket of this NIC queue. What is not for a
 * guest goes up to the host untouched.
 *
 * Order of the decision: malformed, group addresses, the host's own address,
 * the table, the policy for unknown addresses; then for a port: link state,
 * VLAN, queue pair, size, socket, share, limit. Every frame that is not passed
 * and does not arrive has a counter.
 *
 * A VLAN tag that the driver has taken out is put back and metadata is written
 * last, when redirecting is certain: left on a frame that is passed up it would
 * keep the host stack from merging packets.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <xdp/xdp_helpers.h>

#include "maps.h"
#include "viaduct_limit.h"

#define VLAN_TAG_LEN 4

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vd_last);
} last SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VD_MAX_PORTS);
	__type(key, __u32);
	__type(value, struct vd_steering);
} steering SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VD_MAX_PORTS);
	__type(key, __u32);
	__type(value, struct vd_vlans);
} vlans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VD_MAX_PORTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct vd_limit);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, VD_FLOW_PAIRS);
	__type(key, struct vd_flow_key);
	__type(value, __u32);
} flow_pairs SEC(".maps");

/* For people only: the program does not read it, user space creates it with the rest. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VD_MAX_QUEUES);
	__type(key, __u32);
	__type(value, struct vd_queue);
} queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VD_MAX_PORTS + 1);
	__type(key, __u32);
	__type(value, struct vd_stats);
} stats SEC(".maps");

/* Number of NIC queues * VD_FLOW_ROW; set at load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VD_FLOW_ROW);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct vd_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct vd_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VD_WIRE_SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} wire SEC(".maps");

/* Number of NIC queues; set at load. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* Beside other programs (libxdp's dispatcher): what we pass goes on to them. */
struct {
	__uint(priority, 50);
	__uint(XDP_PASS, 1);
} XDP_RUN_CONFIG(viaduct_xdp);

static __always_inline struct vd_stats *stats_of(__u32 index)
{
	return bpf_map_lookup_elem(&stats, &index);
}

/* For nobody: dropped. */
static __always_inline int drop(int malformed)
{
	struct vd_stats *host = stats_of(VD_STATS_HOST);

	if (host && malformed)
		host->drop_malformed++;
	else if (host)
		host->drop_unknown++;
	return XDP_DROP;
}

/* For the host, among others: passed up. */
static __always_inline int pass(struct xdp_md *ctx, int multicast)
{
	struct vd_stats *host = stats_of(VD_STATS_HOST);

	if (!host)
		return XDP_PASS;
	host->multicast += multicast;
	host->packets++;
	host->bytes += bpf_xdp_get_buff_len(ctx);
	return XDP_PASS;
}

/* Whom the host hears is on the wire, and no guest can have its address: user/bridge/addresses.c. */
static __always_inline void note_wire(const __u8 *src, const struct vd_config *cfg)
{
	__u64 mac = vd_load32(src) | (__u64)vd_load16(src + 4) << 32, now;
	__u32 slot = vd_wire_slot(mac);
	__u64 *e = bpf_map_lookup_elem(&wire, &slot);

	if (!e || !READ_ONCE(cfg->note_wire))
		return;
	now = vd_wire_entry(mac, bpf_ktime_get_coarse_ns());
	if (READ_ONCE(*e) != now)
		*e = now;
}

static __always_inline int link_up(__u32 index)
{
	struct vd_link *l = bpf_map_lookup_elem(&links, &index);

	return l && READ_ONCE(l->up);
}

static __always_inline int mac_equal(const __u8 *a, const __u8 *b)
{
	return vd_load32(a) == vd_load32(b) && vd_load16(a + 4) == vd_load16(b + 4);
}

static __always_inline __u64 both_of(__u64 found, __u64 key)
{
	return found * 0x9e3779b97f4a7c15ull ^ key;
}

/* What fdb says of a destination, VD_PORT_NONE when it does not know it. Entries of the VLAN first, then those of any. */
static __always_inline __u32 look_up(const __u8 *dst, __u16 vlan, const struct vd_config *cfg)
{
	/* Before the table: what changes after this makes the generation old. */
	__u32 zero = 0, generation = READ_ONCE(cfg->fdb_generation);
	struct vd_last *l = bpf_map_lookup_elem(&last, &zero);
	__u64 found, word = fdb_word(dst, vlan);
	struct vd_fdb_value *v;

	if (!l)
		return VD_PORT_NONE;
	found = READ_ONCE(l->found);
	if (found >> 32 == generation && READ_ONCE(l->both) == both_of(found, word))
		return (__u32)found;
	v = fdb_find(dst, vlan);
	if (!v)
		return VD_PORT_NONE;
	found = (__u64)generation << 32 | READ_ONCE(v->port);
	l->found = found;
	l->both = both_of(found, word);
	return (__u32)found;
}

/* The port for a destination; VD_PORT_HOST to pass the frame up, VD_PORT_NONE to drop it. */
static __always_inline __u32 find_port(const __u8 *dst, __u16 vlan, const struct vd_config *cfg)
{
	__u32 port = look_up(dst, vlan, cfg);

	if (port != VD_PORT_NONE)
		return port;
	switch (READ_ONCE(cfg->unknown)) {
	case VD_UNKNOWN_DROP:
		return VD_PORT_NONE;
	case VD_UNKNOWN_GUEST:
		port = READ_ONCE(cfg->unknown_port);
		return port < VD_MAX_PORTS ? port : VD_PORT_HOST;
	case VD_UNKNOWN_PASS:
		break;
	}
	return VD_PORT_HOST;
}

/*
 * The VLAN of a frame, 0 when it has no tag or a priority tag.
 * @tag: the tag that the driver has taken out, 0 = none; another one may stand in the frame
 */
static __always_inline __u16 vlan_of(const __u8 *data, const __u8 *end, __u32 tag)
{
	if (tag)
		return tag >> 16 == vd_be16(VD_ETH_P_8021Q) ? tag & 0xfff : 0;
	if (vd_load16(data + 12) != vd_be16(VD_ETH_P_8021Q) || data + VD_ETH_LEN + 4 > end)
		return 0;
	return vd_be16(vd_load16(data + VD_ETH_LEN)) & 0xfff;
}

/* Writes the metadata and takes the sequence number. False when the driver has no room for it. */
static __always_inline int write_meta(struct xdp_md *ctx, struct vd_flow *flow, struct vd_flow *sum, __u16 port,
				      __u16 pair, __u32 hash)
{
	struct vd_meta *meta;
	void *data;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		return 0;
	meta = (void *)(long)ctx->data_meta;
	data = (void *)(long)ctx->data;
	if ((void *)(meta + 1) > data)
		return 0;
	meta->magic = VD_META_MAGIC;
	meta->port = port;
	meta->pair = pair;
	meta->hash = hash;
	/* Atomic: in generic mode several CPUs may receive for one queue. */
	meta->seq = __sync_fetch_and_add(&flow->seq, 1);
	__sync_fetch_and_add(&sum->seq, 1);
	return 1;
}

#ifdef VD_DEVICE_BOUND
/* The kernel's bits for what a hash covers; ours must cover the ports. */
enum xdp_rss_hash_type {
	XDP_RSS_L4 = 1 << 3,
};

extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, enum xdp_rss_hash_type *rss_type) __ksym;
/* Since Linux 6.8; a kernel without it takes the call for dead code. */
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __u16 *vlan_proto, __u16 *vlan_tci) __ksym __weak;

static __always_inline int driver_hash(struct xdp_md *ctx, const struct vd_config *cfg, __u32 *hash)
{
	enum xdp_rss_hash_type type = 0;

	return READ_ONCE(cfg->driver_hash) && !bpf_xdp_metadata_rx_hash(ctx, hash, &type) && type & XDP_RSS_L4;
}

/* The tag that the driver has taken out of the frame: type (as on the wire) << 16 | TCI, 0 = none. */
static __always_inline __u32 taken_tag(struct xdp_md *ctx, const struct vd_config *cfg)
{
	__u16 type = 0, tci = 0;

	if (!&bpf_xdp_metadata_rx_vlan_tag || !READ_ONCE(cfg->restore_tag) ||
	    bpf_xdp_metadata_rx_vlan_tag(ctx, &type, &tci))
		return 0;
	return (__u32)type << 16 | tci;
}
#else
static __always_inline int driver_hash(struct xdp_md *ctx, const struct vd_config *cfg, __u32 *hash)
{
	(void)ctx;
	(void)cfg;
	(void)hash;
	return 0;
}

static __always_inline __u32 taken_tag(struct xdp_md *ctx, const struct vd_config *cfg)
{
	(void)ctx;
	(void)cfg;
	return 0;
}
#endif

/* Puts the tag back in front of what follows the addresses. No pointer into the frame is good after that. */
static __always_inline int put_tag(struct xdp_md *ctx, __u32 tag)
{
	__u32 a, b, c;
	__u8 *p;

	if (bpf_xdp_adjust_head(ctx, -VLAN_TAG_LEN))
		return 0;
	p = (void *)(long)ctx->data;
	if (p + VLAN_TAG_LEN + VD_ETH_LEN > (__u8 *)(long)ctx->data_end)
		return 0;
	a = vd_load32(p + 4);
	b = vd_load32(p + 8);
	c = vd_load32(p + 12);
	*(__u32 *)p = a;
	*(__u32 *)(p + 4) = b;
	*(__u32 *)(p + 8) = c;
	*(__u16 *)(p + 12) = (__u16)(tag >> 16);
	*(__u16 *)(p + 14) = vd_be16(tag & 0xffff);
	return 1;
}

/* The queue pair of a frame, among those that are enabled; *@hash: its flow's, where there is something to choose. */
static __always_inline __u16 choose_pair(struct xdp_md *ctx, __u32 port, const struct vd_port *p,
					 const struct vd_config *cfg, __u32 *hash)
{
	const struct vd_steering *steer;
	__u32 pair;
	int automatic;

	if (READ_ONCE(p->enabled) < 2)
		return p->route[0];
	steer = bpf_map_lookup_elem(&steering, &port);
	if (!steer)
		return p->route[0];
	automatic = READ_ONCE(steer->mode) == VD_STEER_AUTO;
	/* What the guest sends is hashed by us, so what it gets must be, too. */
	if (automatic || !driver_hash(ctx, cfg, hash))
		*hash = vd_flow_hash_range((void *)(long)ctx->data, (void *)(long)ctx->data_end, 0);
	if (automatic) {
		struct vd_flow_key key = { .hash = *hash, .port = port };
		__u32 *sent = bpf_map_lookup_elem(&flow_pairs, &key);

		pair = sent ? READ_ONCE(*sent) & (VD_MAX_PAIRS - 1) : 0;
		if (sent && p->route[pair] == pair)
			return (__u16)pair;
	}
	pair = READ_ONCE(steer->pair[*hash & (VD_INDIRECTION - 1)]) & (VD_MAX_PAIRS - 1);
	return p->route[pair];
}

static __always_inline int in_vlan(__u32 port, __u16 vlan)
{
	struct vd_vlans *v = bpf_map_lookup_elem(&vlans, &port);

	return v && READ_ONCE(v->word[vlan >> 6 & 63]) >> (vlan & 63) & 1;
}

/* Counts the frame, so it comes last. */
static __always_inline int within_limit(__u32 port, __u64 len)
{
	struct vd_limit *l = bpf_map_lookup_elem(&limits, &port);

	return !l || vd_limit_take(l, (__u32)len, bpf_ktime_get_ns());
}

/*
 * A port's share of a NIC queue is what the others leave: it may have as many frames in flight as there is room left
 * (Choudhury and Hahne's dynamic threshold). Alone it gets half of the room, and n that want all of it an n+1st each.
 */
static __always_inline int beyond_share(const struct vd_flow *flow, const struct vd_flow *sum, __u32 room)
{
	__u32 mine = READ_ONCE(flow->seq) - READ_ONCE(flow->consumed);
	__s32 all = (__s32)(READ_ONCE(sum->seq) - READ_ONCE(sum->consumed));
	__s32 share = (__s32)room - (all > 0 ? all : 0);

	if (share < VD_SHARE_MIN)
		share = VD_SHARE_MIN;
	return room && mine >= (__u32)share;
}

static __always_inline int to_port(struct xdp_md *ctx, __u32 port, __u16 vlan, __u32 tag, struct vd_stats *st,
				   const struct vd_config *cfg)
{
	__u64 len = bpf_xdp_get_buff_len(ctx) + (tag ? VLAN_TAG_LEN : 0);
	__u32 queue = ctx->rx_queue_index, limit, index, flags, hash = 0;
	struct vd_flow *flow, *sum;
	struct vd_port *p;
	__u16 pair;

	if (!link_up(1 + port) || !link_up(0)) {
		st->drop_link_down++;
		return XDP_DROP;
	}
	p = bpf_map_lookup_elem(&ports, &port);
	if (!p || !READ_ONCE(p->enabled)) {
		st->drop_no_pair++;
		return XDP_DROP;
	}
	flags = READ_ONCE(p->flags);
	if (flags & VD_PORT_VLANS && !in_vlan(port, vlan)) {
		st->drop_vlan++;
		return XDP_DROP;
	}
	pair = choose_pair(ctx, port, p, cfg, &hash);
	limit = READ_ONCE(cfg->max_frame);
	if (limit && len > limit) {
		st->drop_malformed++;
		return XDP_DROP;
	}
	index = queue * VD_FLOW_ROW + port;
	flow = bpf_map_lookup_elem(&flows, &index);
	index = queue * VD_FLOW_ROW + VD_MAX_PORTS;
	sum = bpf_map_lookup_elem(&flows, &index);
	/* Only notes where to; what this program returns decides. */
	if (!flow || !sum || bpf_redirect_map(&xsks, queue, XDP_DROP) != XDP_REDIRECT) {
		st->drop_no_socket++;
		return XDP_DROP;
	}
	if (beyond_share(flow, sum, READ_ONCE(cfg->room))) {
		st->drop_share++;
		return XDP_DROP;
	}
	if (flags & VD_PORT_LIMIT && !within_limit(port, len)) {
		st->drop_rate++;
		return XDP_DROP;
	}
	if (tag && !put_tag(ctx, tag)) {
		st->drop_malformed++;
		return XDP_DROP;
	}
	st->packets++;
	st->bytes += len;
	if (!write_meta(ctx, flow, sum, port, pair, hash))
		st->no_metadata++;
	return XDP_REDIRECT;
}

SEC("xdp.frags")
int viaduct_xdp(struct xdp_md *ctx)
{
	const __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct vd_config *cfg;
	struct vd_stats *st;
	__u32 zero = 0, port, tag;
	__u16 vlan;

	cfg = bpf_map_lookup_elem(&config, &zero);
	if (!cfg)
		return XDP_PASS;
	if (data + VD_ETH_LEN > end)
		return drop(1);
	if (data[0] & 1)
		return pass(ctx, 1);
	if (mac_equal(data, cfg->own_mac)) {
		note_wire(data + 6, cfg);
		return pass(ctx, 0);
	}
	tag = taken_tag(ctx, cfg);
	vlan = vlan_of(data, end, tag);
	port = find_port(data, vlan, cfg);
	if (port == VD_PORT_NONE)
		return drop(0);
	st = port < VD_MAX_PORTS ? stats_of(port) : 0;
	if (!st) {
		note_wire(data + 6, cfg);
		return pass(ctx, 0);
	}
	return to_port(ctx, port, vlan, tag, st, cfg);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
