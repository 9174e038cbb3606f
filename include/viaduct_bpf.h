/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the XDP program and the viaduct process must agree on: frame metadata,
 * map keys and map values. Included from both sides, so: fixed-width fields,
 * no pointers, no padding the compiler invents, a static_assert per struct.
 *
 * Map names are also the names of the pins under /sys/fs/bpf/viaduct/NAME/.
 */
#ifndef VIADUCT_BPF_H
#define VIADUCT_BPF_H

#ifndef __bpf__
#include <assert.h>
#include <stdint.h>
#include <linux/types.h>
#endif

#define VD_PIN_ROOT "/sys/fs/bpf/viaduct"

#define VD_MAX_PORTS 256	/* ports on one uplink */
#define VD_MAX_PAIRS 128	/* queue pairs of one device */
#define VD_MAX_QUEUES 256	/* NIC queues of one uplink */
#define VD_INDIRECTION 128	/* entries of a port's indirection table (power of two) */
#define VD_PORT_NONE 0xffff
#define VD_PORT_HOST 0xfffe	/* fdb: this address belongs to the host, pass it up */

/*
 * Metadata right in front of the frame. Nothing clears it but us: the worker
 * wipes @magic before a frame goes back to the fill ring.
 */
#define VD_META_MAGIC 0x76647543u
struct vd_meta {
	__u32 magic;
	__u16 port;	/* port index */
	__u16 pair;	/* queue pair of that port */
	__u32 seq;	/* counts per (port, NIC queue) */
	__u32 hash;	/* the flow hash that chose @pair; 0 when there is one pair only */
};

/* links: why a link is up or down. The order is part of the map's format. */
enum vd_link_reason {
	VD_REASON_NONE = 0,		/* up */
	VD_REASON_NOT_CONFIGURED = 1,	/* entry unused */
	VD_REASON_ADMIN_DOWN = 2,	/* uplink: ip link set down; port: viaduct link PORT down */
	VD_REASON_NO_CARRIER = 3,	/* uplink: no carrier */
	VD_REASON_GONE = 4,		/* uplink: interface removed or moved away */
	VD_REASON_NOT_CONNECTED = 5,	/* port: no front-end connected */
	VD_REASON_NEGOTIATING = 6,	/* port: connected, rings not started */
	VD_REASON_NO_PAIR = 7,		/* port: no queue pair enabled */
	VD_REASON_BROKEN = 8,		/* port: rings broken by bad input */
	VD_REASON_ERROR = 9,		/* uplink: XDP program lost, or no device can be used */
	VD_REASON_UPLINK = 10,		/* port: link=close, and the uplink's link is down */
};

/* links: what a port's guest is told of its link. The order is part of the map's format. */
enum vd_guest_link {
	VD_GUEST_NONE = 0,	/* nobody is connected */
	VD_GUEST_UP = 1,
	VD_GUEST_DOWN = 2,
	VD_GUEST_UNTOLD = 3,	/* it is down, but there is no way to tell the guest, which thinks it is up */
};

/* links: what is not on the uplink as viaduct wants it; bits. */
#define VD_TROUBLE_PROGRAM 1u	/* the XDP program is another, or none */
#define VD_TROUBLE_CHANNELS 2u	/* there are NIC queues that are not served */
#define VD_TROUBLE_FILTER 4u	/* guests' addresses are not in the receive filter */
#define VD_TROUBLE_OFFLOAD 8u	/* VLAN tags are taken out of frames, or filtered */
#define VD_TROUBLE_MTU 16u	/* frames of the MTU are longer than buffers */
#define VD_TROUBLE_DEVICE 32u	/* there is a device, but it cannot be used */
#define VD_TROUBLES 6

/* links[0] is the uplink, links[1 + port] a port. mmap-able, single writer: the control thread. */
struct vd_link {
	__u32 up;		/* 1 up, 0 down */
	enum vd_link_reason reason;
	__u32 speed_mbps;	/* 0 = unknown */
	__u32 duplex;		/* 0 half, 1 full, 255 unknown */
	__u32 mtu;		/* bytes */
	__u32 generation;	/* +1 at every change of the fields above */
	__u64 last_change_ns;	/* CLOCK_MONOTONIC */
	__u64 heartbeat_ns;	/* CLOCK_MONOTONIC, stored every 100 ms while the daemon lives */
	__u32 ifindex;		/* uplink: interface index; port: 0 */
	__u32 pairs;		/* uplink: NIC queues; port: enabled queue pairs */
	char name[16];		/* interface (as it is called now) or port name, NUL-terminated */
	enum vd_guest_link guest;	/* port */
	__u32 trouble;		/* uplink: VD_TROUBLE_* */
	__u32 moves;		/* uplink: how often it went to another device, or came back */
	__u32 repairs;		/* uplink: how often something of it was put right */
};

/*
 * fdb: (vlan, MAC) -> port. vlan 0 = any VLAN: looked up after that of the frame. Written by the control thread.
 * Frames of VLAN 0 have no tag, or a priority tag.
 */
struct vd_fdb_key {
	__u16 vlan;
	__u8 mac[6];
};

enum vd_fdb_kind {
	VD_FDB_CONFIGURED = 0,	/* given with mac= */
	VD_FDB_LEARNED = 1,	/* from the guest's own frames */
	VD_FDB_HOST = 2,	/* uplink's own or a device above it */
};

struct vd_fdb_value {
	__u32 port;		/* port index, or VD_PORT_HOST */
	enum vd_fdb_kind kind;
};

/* How a flow finds its queue pair. */
enum vd_steer_mode {
	VD_STEER_AUTO = 0,	/* the one on which the guest last sent that flow, else by the table */
	VD_STEER_HASH = 1,	/* by flow hash and table only */
};

/*
 * steering[port]: flow hash -> queue pair. For operators to edit: viaduct writes it when the port begins, and never again.
 * A pair that is not enabled is replaced by one that is (ports[port].route), so the table need not follow the guest.
 */
struct vd_steering {
	enum vd_steer_mode mode;
	__u32 reserved;
	__u16 pair[VD_INDIRECTION];	/* modulo VD_MAX_PAIRS */
};

/* ports[port]: what the program has to know of it beside its link. Written by the control thread. */
#define VD_PORT_VLANS 1u	/* flags: it is in some VLANs only, see vlans */
#define VD_PORT_LIMIT 2u	/* it has a limit, see limits */
#define VD_PORT_ISOLATED 4u	/* the host does not reach it */
struct vd_port {
	__u32 enabled;		/* number of enabled queue pairs; 0 = none, drop */
	__u32 flags;
	__u16 vlan;		/* of the frames that its guest gets without a tag; 0 = none has one taken off */
	__u16 reserved;
	__u8 route[VD_MAX_PAIRS];	/* queue pair that is wanted -> one that is enabled */
};

/* vlans[port]: a bit per VLAN as it is on the wire, bit 0 = untagged. */
struct vd_vlans {
	__u64 word[64];
};

/* flow_pairs: (flow, port) -> queue pair on which the port's guest last sent that flow. LRU. */
struct vd_flow_key {
	__u32 hash;		/* of frames to the guest */
	__u32 port;
};
#define VD_FLOW_PAIRS 65536

/* queues[NIC queue]: what the XSKMAP holds, for people (it cannot be dumped). */
enum vd_queue_mode {
	VD_MODE_NONE = 0,
	VD_MODE_ZEROCOPY = 1,
	VD_MODE_COPY = 2,
	VD_MODE_GENERIC = 3,
};

enum vd_queue_state {
	VD_QUEUE_UNUSED = 0,
	VD_QUEUE_READY = 1,
	VD_QUEUE_FAILED = 2,
};

struct vd_queue {
	__u32 worker;
	enum vd_queue_mode mode;
	enum vd_queue_state state;
	__u32 rx_size, tx_size, fill_size, completion_size;	/* ring entries */
	__u32 frames;		/* frames in this queue's UMEM */
};

/* stats: per CPU, one entry per port plus one for the host at VD_STATS_HOST. */
#define VD_STATS_HOST VD_MAX_PORTS
struct vd_stats {
	__u64 packets, bytes;		/* redirected to the port, or passed to the host */
	__u64 multicast;		/* host: broadcast and multicast passed up */
	__u64 drop_link_down;		/* port or uplink down */
	__u64 drop_no_pair;		/* no queue pair enabled */
	__u64 drop_share;		/* more in flight than the port's share */
	__u64 drop_no_socket;		/* AF_XDP socket gone: the daemon is dead */
	__u64 drop_unknown;		/* host: unknown unicast with --unknown drop */
	/* host: shorter than an Ethernet header; port: longer than config.max_frame, or no room for its VLAN tag */
	__u64 drop_malformed;
	__u64 no_metadata;		/* redirected without metadata: driver has no room for it */
	__u64 drop_vlan;		/* of a VLAN that the port is not in */
	__u64 drop_rate;		/* beyond the port's limit */
};

#define VD_FLOW_ROW (VD_MAX_PORTS + 1)	/* entries of flows per NIC queue; the last one is the sum of the others */
#define VD_SHARE_MIN 8		/* frames that a port may always have in flight per NIC queue */

/*
 * flows[NIC queue * VD_FLOW_ROW + port]: mmap-able. @seq is written by the XDP
 * program, @consumed by the queue's worker; separate cache lines.
 * In flight = seq - consumed. seq is the number the next frame gets.
 */
struct vd_flow {
	__u32 seq;
	__u32 pad0[15];
	__u32 consumed;
	__u32 pad1[15];
};

/* config[0]: mmap-able switches of the program. */
enum vd_unknown {
	VD_UNKNOWN_PASS = 0,
	VD_UNKNOWN_DROP = 1,
	VD_UNKNOWN_GUEST = 2,
};

struct vd_config {
	__u8 own_mac[6];	/* the uplink's own address: checked before the table */
	__u16 unknown_port;	/* VD_UNKNOWN_GUEST: port index */
	enum vd_unknown unknown;
	__u32 max_frame;	/* longest frame a socket's buffer holds, bytes; 0 = no limit */
	__u32 room;		/* frames that all ports of one NIC queue may have in flight; 0 = no limit */
	__u32 note_wire;	/* 1: whom the host hears is from the wire; in generic mode guests may be among them */
	__u32 restore_tag;	/* 1: the driver has taken the VLAN tag out of the frame, and says it beside it */
	__u32 driver_hash;	/* 1: the driver is asked for the flow hash */
	__u32 fdb_generation;	/* +1 after every change of fdb, and now and then without: see struct vd_last */
};

/*
 * last, per CPU: what the last frame's destination was in fdb, believed while the generation is the same. Nearly all
 * frames follow one for the same guest, and a look here costs a tenth of that in a hash table.
 */
struct vd_last {
	__u64 found;		/* generation << 32 | port */
	__u64 both;		/* of found and struct vd_fdb_key: half of one entry and half of another are found out */
};

/*
 * wire: stations of the wire that the host hears: an address, and when, in one word: mac | time << 48, time in units of
 * 2^28 ns, modulo 2^16 (about five hours). Direct-mapped, mmap-able. What guests sent does not come that way.
 */
#define VD_WIRE_SLOTS 4096
#define VD_WIRE_SHIFT 28
#define VD_WIRE_MAC 0xffffffffffffull

static __inline __u32 vd_wire_slot(__u64 mac)
{
	return (__u32)(mac * 0x9e3779b97f4a7c15ull >> 40) & (VD_WIRE_SLOTS - 1);
}

static __inline __u64 vd_wire_entry(__u64 mac, __u64 now_ns)
{
	return mac | now_ns >> VD_WIRE_SHIFT << 48;
}

static __inline __u64 vd_wire_mac(__u64 e)
{
	return e & VD_WIRE_MAC;
}

/* When it was, ns, given that it was not long ago. */
static __inline __u64 vd_wire_when(__u64 e, __u64 now_ns)
{
	__u64 ago = ((now_ns >> VD_WIRE_SHIFT) - (e >> 48)) & 0xffff;

	return ((now_ns >> VD_WIRE_SHIFT) - ago) << VD_WIRE_SHIFT;
}

#ifndef __bpf__
static_assert(sizeof(struct vd_meta) == 16, "metadata is 16 bytes: works native and generic");
static_assert(sizeof(struct vd_link) == 80, "map format");
static_assert(sizeof(struct vd_fdb_key) == 8, "map format");
static_assert(sizeof(struct vd_fdb_value) == 8, "map format");
static_assert(sizeof(struct vd_steering) == 8 + 2 * VD_INDIRECTION, "map format");
static_assert(sizeof(struct vd_queue) == 32, "map format");
static_assert(sizeof(struct vd_port) == 12 + VD_MAX_PAIRS, "map format");
static_assert(sizeof(struct vd_vlans) == 512, "map format");
static_assert(sizeof(struct vd_flow_key) == 8, "map format");
static_assert(sizeof(struct vd_stats) == 96, "map format");
static_assert(sizeof(struct vd_flow) == 128, "map format");
static_assert(sizeof(struct vd_config) == 36, "map format");
static_assert(sizeof(struct vd_last) == 16, "map format");
#endif

#endif
