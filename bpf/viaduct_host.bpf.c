// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The host's port: two tc programs that join the host's stack to the bridge
 * without giving it another address. user/xdp/hostport.c has the whole picture.
 *
 * viaduct_out runs where the host's frames leave through the uplink. What is
 * for a guest goes to the tap instead, a copy of what is for a group goes
 * there too, and everything else goes on. Whenever it is in doubt (no guest of
 * that address, the guest isolated or its link down, the daemon dead) the frame
 * takes the way it would have taken without us.
 *
 * viaduct_in runs where the worker's frames enter through the tap, and moves
 * them to the uplink, as if they had been received there.
 *
 * Frames that guests send through AF_XDP sockets do not pass viaduct_out: in
 * copy mode the kernel hands them to the driver directly, in zero-copy mode
 * the driver takes them itself.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "viaduct_host.h"
#include "viaduct_steer.h"

#define ETH_P_8021Q 0x8100
#define VLAN_VID 0x0fff
#define TAGGED_LEN 18

/* The maps of maps.h are replaced by the XDP program's when the object is loaded. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vd_host);
} host SEC(".maps");

static __always_inline struct vd_host *host_entry(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&host, &zero);
}

/* Somebody reads the tap. */
static __always_inline int daemon_alive(void)
{
	__u32 zero = 0;
	struct vd_link *uplink = bpf_map_lookup_elem(&links, &zero);

	return uplink && READ_ONCE(uplink->reason) != VD_REASON_GONE &&
	       (__s64)(bpf_ktime_get_ns() - READ_ONCE(uplink->heartbeat_ns)) < (__s64)VD_HOST_ALIVE_NS;
}

/* Guests' VLANs are those of 802.1Q tags, wherever the tag is: beside the frame or in it. 0 = none, or a priority tag. */
static __always_inline __u16 vlan_of(const struct __sk_buff *skb)
{
	const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (skb->vlan_present)
		return skb->vlan_proto == bpf_htons(ETH_P_8021Q) ? skb->vlan_tci & VLAN_VID : 0;
	if (data + TAGGED_LEN > end || vd_load16(data + 12) != bpf_htons(ETH_P_8021Q))
		return 0;
	return bpf_ntohs(vd_load16(data + 14)) & VLAN_VID;
}

/* A guest that is there, and that may speak with the host. */
static __always_inline int reachable(__u32 port)
{
	__u32 index = 1 + port;
	struct vd_port *p;
	struct vd_link *l;

	if (port >= VD_MAX_PORTS)
		return 0;
	p = bpf_map_lookup_elem(&ports, &port);
	if (!p || READ_ONCE(p->flags) & VD_PORT_ISOLATED)
		return 0;
	l = bpf_map_lookup_elem(&links, &index);
	return l && READ_ONCE(l->up);
}

/* 01:80:c2:00:00:0x: between the host and its neighbour on the wire, not for a bridge (IEEE 802.1Q 8.6.3). */
static __always_inline int link_local(const __u8 *dst)
{
	return vd_load32(dst) == bpf_htonl(0x0180c200) && (vd_load16(dst + 4) & bpf_htons(0xfff0)) == 0;
}

SEC("tc")
int viaduct_out(struct __sk_buff *skb)
{
	const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct vd_fdb_value *v;
	struct vd_host *h;
	__u32 tap;

	h = host_entry();
	tap = h ? READ_ONCE(h->tap) : 0;
	if (!tap || data + VD_ETH_LEN > end)
		return TC_ACT_UNSPEC;
	if (data[0] & 1) {
		if (!link_local(data) && daemon_alive())
			bpf_clone_redirect(skb, tap, 0);
		return TC_ACT_UNSPEC;
	}
	v = fdb_find(data, vlan_of(skb));
	if (!v || !reachable(READ_ONCE(v->port)) || !daemon_alive())
		return TC_ACT_UNSPEC;
	return (int)bpf_redirect(tap, 0);
}

SEC("tc")
int viaduct_in(struct __sk_buff *skb)
{
	const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct vd_host *h = host_entry();
	__u32 uplink = h ? READ_ONCE(h->uplink) : 0;

	if (!uplink || data + VD_ETH_LEN > end)
		return TC_ACT_SHOT;
	if (data[0] & 1)
		bpf_set_hash(skb, VD_HOST_HASH);
	return (int)bpf_redirect(uplink, BPF_F_INGRESS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
