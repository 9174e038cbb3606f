/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The uplink: a NIC that stays with its kernel driver, its XDP program, the
 * maps, and one AF_XDP socket per NIC queue. Its device may go, come back, or be
 * another; guests come and go without touching it. Control thread only, except the
 * nicqs, which belong to their workers, and the mmap-ed map areas.
 */
#ifndef VIADUCT_XDP_UPLINK_H
#define VIADUCT_XDP_UPLINK_H

#include <net/if.h>

#include "base/host_ops.h"
#include "base/loop.h"
#include "base/parcel.h"
#include "viaduct_limit.h"
#include "xdp/nicq.h"

enum uplink_mode_wish { UPLINK_AUTO, UPLINK_ZEROCOPY, UPLINK_COPY, UPLINK_GENERIC };
enum uplink_attach { UPLINK_ATTACH_LINK, UPLINK_ATTACH_DISPATCHER };

/* Who does what we can do ourselves. */
enum uplink_helper {
	UPLINK_HELPER_AUTO,		/* the NIC where its driver offers it, else we */
	UPLINK_HELPER_SOFTWARE,		/* we */
	UPLINK_HELPER_DRIVER,		/* the driver, even where it would not be chosen */
};

/* How the operator says which device it is. */
enum uplink_by {
	UPLINK_BY_NAME,			/* --uplink IFACE */
	UPLINK_BY_MAC,			/* --uplink mac=MAC: the fast one of those that have it */
	UPLINK_BY_AUTO,			/* --uplink auto: the one synthetic device, and the fast one enslaved to it */
};

struct uplink_config {
	char called[IF_NAMESIZE];	/* private: what @ifname is called now, "" = that */
	uint64_t wait_ns;		/* private: how long to wait for our own closed sockets, 0 = as at start */
	char notes[80];			/* private: names the file for a device's settings, "" = @name does */
	enum uplink_by by;
	char ifname[IF_NAMESIZE];	/* by name; otherwise "" */
	uint8_t mac[6];			/* by MAC */
	char standby[IF_NAMESIZE];	/* used while the others are away or down, "" = none */
	bool force;			/* also a device that the host routes through */
	char name[64];			/* pins go to VD_PIN_ROOT/name */
	int dead_links;			/* id of the map `links` of an instance known to be dead, 0 = none is known */
	uint32_t queues;		/* 0 = all channels */
	uint32_t set_channels;		/* make as many first, until the end; 0 = leave them */
	bool hw_steer;			/* a guest gets NIC queues of its own, by the NIC's rules */
	bool busy_poll;			/* workers drive the NIC */
	enum uplink_mode_wish mode;
	enum uplink_attach attach;
	enum vd_unknown unknown;
	enum uplink_helper rx_hash;	/* who computes the flow hash of received frames */
	enum uplink_helper tx_checksum;	/* who finishes checksums of sent frames */
	bool have_node;			/* --numa-node: where frames and rings are to be */
	int node;
	const int *cpus;		/* without it: NIC queue i is served on cpus[i % ncpus], or anywhere */
	uint32_t ncpus;
	uint32_t ring_size;		/* 0 = default 2048 */
	uint32_t frames;		/* per NIC queue, 0 = default 4096 */
};

/* May there be another device than the first one? */
static inline bool uplink_has_several(const struct uplink_config *c)
{
	return c->by != UPLINK_BY_NAME || c->standby[0];
}

/* Link state as netlink and ethtool tell it. */
struct uplink_link {
	int ifindex;			/* 0 = gone */
	bool admin_up, carrier;
	uint32_t mtu, speed_mbps, duplex;
	uint8_t mac[6];
	char name[IF_NAMESIZE];		/* as it is called now */
	bool xdp_lost;			/* the interface's XDP program is not ours any more */
	uint32_t trouble;		/* VD_TROUBLE_* */
	bool standby;			/* the device in use is the slow one */
	uint32_t moves;			/* to another device, or back to one that had gone */
	uint32_t repairs;
};

/* Where the VLAN tags of received frames are. */
enum uplink_tags {
	UPLINK_TAGS_INLINE,		/* in the frame, as on the wire */
	UPLINK_TAGS_RESTORED,		/* the driver takes them out, the program puts them back */
	UPLINK_TAGS_LOST,		/* the driver takes them out, or may */
};

/* What another tool may do to the device, and we undo. */
enum uplink_repair {
	UPLINK_REPAIR_PROGRAM,		/* the XDP program was detached or replaced */
	UPLINK_REPAIR_CHANNELS,		/* the number of NIC queues is another */
	UPLINK_REPAIR_MTU,		/* buffers are longer now */
	UPLINK_REPAIR_OFFLOAD,		/* VLAN tags are left in frames again */
	UPLINK_REPAIR_FILTER,		/* guests' addresses are in the receive filter again */
	UPLINK_REPAIRS
};

/* What status shows. */
struct uplink_info {
	enum vd_queue_mode mode;
	char mode_why[256];		/* why not a better one, "" when it is the best */
	bool adopted;			/* took over the pinned link of a dead instance */
	enum uplink_attach attach;
	char driver[32];
	uint32_t queues;
	uint32_t chunk, frames, ring_size;
	int node;			/* NUMA node of the frames of NIC queue 0, NODE_NONE on a machine with one */
	bool driver_hash;		/* the program asks the driver for the flow hash */
	char driver_hash_why[96];	/* why not, "" when it does */
	bool nic_checksum;		/* checksums are left to the NIC (TX metadata) */
	bool kernel_checksum;		/* they are left to the kernel, which does it in software */
	char nic_checksum_why[96];	/* why not to the NIC, "" when they are */
	const char *channels;		/* what --set-channels changed: "channels", "rss", or "" */
	bool busy_poll;			/* the workers run the driver's receive loop */
	char busy_poll_why[96];		/* why not, "" when they do */
	bool hw_steer;			/* the NIC takes rules for addresses */
	char hw_steer_why[96];		/* why not, "" when it does */
	uint32_t hw_rules;		/* rules in the NIC now */
	bool sg;			/* multi-buffer sockets: a frame may take several chunks */
	uint32_t max_frame;		/* longest frame that chunks and sockets allow, bytes */
	int rxvlan_before, rxvlan_now;	/* 1 on, 0 off, -1 not known by the driver */
	int rxvlan_filter_before, rxvlan_filter_now;
	bool rxvlan_fixed;		/* could not be switched off */
	enum uplink_tags vlan_tags;
	char vlan_tags_why[160];	/* why they are lost and how to mend it, "" when they are not */
	bool allmulti;
	uint32_t filter_entries;	/* guest addresses entered in the NIC's receive filter */
	int xdp_prog_id;
	char refused[128];		/* why a device that could be used is not, "" = there is none */
	char trouble_why[320];		/* of the first of uplink_link()'s troubles, "" = there is none */
	uint32_t repaired[UPLINK_REPAIRS];
	int links_id;			/* of the map `links` */
};

/* Areas of mmap-able maps, for lock-free stores by the daemon. */
struct uplink_maps {
	struct vd_link *links;		/* 1 + VD_MAX_PORTS */
	struct vd_flow *flows;		/* queues * VD_FLOW_ROW */
	struct vd_limit *limits;	/* VD_MAX_PORTS */
	uint64_t *wire;			/* VD_WIRE_SLOTS */
	struct vd_config *config;
};

/* Who uses the NIC queues of an uplink whose device may change. */
struct uplink_user {
	/* Nobody may use the NIC queues from its return on: another device's take their place. */
	void (*pause)(void *arg);
	/* They are as uplink_queues() and uplink_nicq() say, and may be used. @device: there is one. */
	void (*changed)(void *arg, bool device);
	/* A device is in use, and the link told of: time for what takes longer. */
	void (*arrived)(void *arg);
	/* Have ports VLANs of their own, so that a device that loses tags cannot be used? */
	bool (*needs_tags)(void *arg);
	/* Something happened that a person may want to know of. */
	void (*event)(void *arg, const char *event, const char *detail);
};

/* Short names for status. */
const char *uplink_repair_name(enum uplink_repair r);

struct uplink;
struct hostport_config;
struct fail;

/**
 * uplink_open() - attach to an interface
 * @err, @errlen: on failure one line that says what is wrong and names the mend
 *
 * Checks the interface kind, RSS coverage, existing programs, bpffs, limits; loads and attaches the
 * program (adopting a pinned link of a dead instance), makes the sockets down the mode ladder, switches
 * VLAN stripping off, sets all-multicast. The XSKMAP is filled last.
 * Return: 0 or -errno.
 */
int uplink_open(const struct host_ops *host, struct loop *loop, const struct uplink_config *cfg,
		struct uplink **out, char *err, size_t errlen);
/* Detaches, restores NIC settings, removes the pins and their directory. Workers must be stopped. NULL is fine. */
void uplink_close(struct uplink *u);

/**
 * uplink_save() - for another process: all that lasts
 *
 * The workers may go on. Return: 0 or -errno with a reason.
 */
int uplink_save(struct uplink *u, struct parcel *to, const struct fail *why);
/* What changes with every packet. The workers stand still, and do so until the other process has it, or this one goes on. */
int uplink_save_frames(struct uplink *u, struct parcel *to);

/**
 * uplink_adopt() - take what uplink_save() gave
 * @cfg: must ask for the same uplink; else it is refused with the option's name in the reason
 *
 * Changes nothing outside this process. After a failure the process is to end without uplink_close(): it is the other's.
 * Return: 0 or -errno with a reason.
 */
int uplink_adopt(const struct host_ops *host, struct loop *loop, const struct uplink_config *cfg, struct parcel *from,
		 struct uplink **out, const struct fail *why);
/* NIC queues beyond those that there are now, @n in all, are in memory: data paths of the other process had them. 0 or -errno. */
int uplink_spare_queues(struct uplink *u, uint32_t n);
/* Takes what uplink_save_frames() gave. Return: 0 or -errno. */
int uplink_resume(struct uplink *u, struct parcel *from);
/* The other process is out: our program, our settings, and the maps kept from here on. */
void uplink_commit(struct uplink *u);

uint32_t uplink_queues(const struct uplink *u);
struct nicq *uplink_nicq(struct uplink *u, uint32_t queue);
const struct uplink_maps *uplink_maps(const struct uplink *u);
const struct uplink_info *uplink_info(struct uplink *u);	/* re-reads rxvlan and filter */
const struct uplink_link *uplink_link(const struct uplink *u);
/* Link changes (netlink, debounced to real changes of state), and XDP program detached by somebody else. */
void uplink_on_link(struct uplink *u, void (*fn)(void *arg, const struct uplink_link *l), void *arg);

/**
 * uplink_set_user() - from now on the uplink looks for the best device by itself, and keeps it in order
 * @user: called from the loop; NULL: no longer
 *
 * Before that it stays with the device it has, whatever becomes of that.
 */
void uplink_set_user(struct uplink *u, const struct uplink_user *user, void *arg);

/**
 * uplink_check_vlans() - can there be ports with VLANs of their own?
 *
 * Return: 0, or -EOPNOTSUPP with a reason that names the mend: tags of received frames are lost.
 */
int uplink_check_vlans(const struct uplink *u, const struct fail *why);

/* @vlan 0: in any. -EADDRINUSE for the host's own. */
int uplink_fdb_set(struct uplink *u, uint16_t vlan, const uint8_t mac[6], uint32_t port, enum vd_fdb_kind kind);
int uplink_fdb_del(struct uplink *u, uint16_t vlan, const uint8_t mac[6]);
/* Makes the program look into fdb again: after changes that were made by hand. uplink_fdb_set() and _del() do it themselves. */
void uplink_fdb_changed(struct uplink *u);
/* Enter or remove a guest address in the NIC's receive filter (PACKET_MR_UNICAST on a held socket). */
int uplink_filter(struct uplink *u, const uint8_t mac[6], bool add);
/**
 * uplink_send() - send one frame of our own, by way of the kernel
 * @frame, @len: Ethernet without FCS, bytes
 *
 * For the few that are not a guest's. Never waits. Control thread. Return: 0 or -errno (-ENETDOWN, -ENOBUFS, ...).
 */
int uplink_send(struct uplink *u, const uint8_t *frame, uint32_t len);
/*
 * With --hw-steer: have the NIC put frames for a guest's address into NIC queue @queue, or no longer (@add false).
 * Return: 0, or -errno: then the NIC spreads them as it does all others (-EOPNOTSUPP: it takes no rules).
 */
int uplink_hw_steer(struct uplink *u, const uint8_t mac[6], uint32_t queue, bool add);
/* True for the uplink's own address and those of devices above it. */
bool uplink_is_host_mac(const struct uplink *u, const uint8_t mac[6]);
#define UPLINK_HOST_MACS 256
/* All of them, for as long as the loop does not run. */
const uint8_t (*uplink_host_macs(const struct uplink *u, unsigned *n))[6];
/* The operator's table: written when the port begins; read, because anybody may edit it. */
int uplink_steering(struct uplink *u, uint32_t port, const struct vd_steering *s);
int uplink_steering_read(struct uplink *u, uint32_t port, struct vd_steering *s);
int uplink_port(struct uplink *u, uint32_t port, const struct vd_port *p);
int uplink_port_vlans(struct uplink *u, uint32_t port, const struct vd_vlans *v);
/* On which pair a port's guest sends the flow. */
int uplink_flow_pair(struct uplink *u, uint32_t port, uint32_t hash, uint32_t pair);
/* Forgets all flows of a port that is gone. Takes as long as there are entries of all ports. */
void uplink_flow_pairs_forget(struct uplink *u, uint32_t port);
/**
 * uplink_port_clear() - nothing of a port that was stays in the maps: counters, VLANs, limits
 * Before its index is used anew.
 */
void uplink_port_clear(struct uplink *u, uint32_t port);
/* Fills what hostport_open() must know of the uplink. */
void uplink_hostport(const struct uplink *u, struct hostport_config *c);
int uplink_queue_info(struct uplink *u, uint32_t queue, uint32_t worker);	/* fills queues[queue] */
/* Sums of the per-CPU stats entry (port index or VD_STATS_HOST). */
int uplink_stats(struct uplink *u, uint32_t index, struct vd_stats *sum);

#endif
