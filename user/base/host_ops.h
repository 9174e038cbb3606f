/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_ops: every privileged act of viaduct behind one struct: bpf(2), AF_XDP
 * sockets and their bind, packet and netlink sockets, netlink and ethtool
 * changes, opening a path. What creates something returns an fd. After "ready"
 * nothing outside it opens a path or gains an fd, except accept and SCM_RIGHTS.
 * That makes the process ready to be split by privilege, and lets a unit test
 * hand in a fake.
 *
 * Every op: control thread only; returns >= 0 (an fd where it makes one) or -errno.
 * A fake embeds struct host_ops in its own struct and gets it back from @h.
 */
#ifndef VIADUCT_BASE_HOST_OPS_H
#define VIADUCT_BASE_HOST_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct xdp_umem_reg;

/* What bpf_load() is to load, and the fds it gives back. */
#define HOST_BPF_MAPS 16
struct host_bpf_spec {
	const void *elf;	/* BPF object file in memory */
	size_t elf_len;
	const char *prog;	/* program (function) name; others of the object are not loaded */
	int bound_to;		/* interface index: the program is for this device only; 0 = for any */
	struct host_bpf_size {	/* map sizes to set before loading */
		const char *map;
		uint32_t max_entries;
	} sizes[HOST_BPF_MAPS];
	const char *maps[HOST_BPF_MAPS];	/* maps whose fds are wanted, NULL-terminated */
	struct host_bpf_reuse {	/* maps that exist already and take the place of the object's own */
		const char *map;
		int fd;
	} reuse[HOST_BPF_MAPS];
};

struct host_bpf_fds {
	int prog;
	int map[HOST_BPF_MAPS];	/* same order as spec.maps, -1 where absent */
};

/* What is attached to an interface. */
struct host_xdp_info {
	uint32_t prog_id;	/* 0 = nothing */
	uint32_t mode;		/* XDP_ATTACHED_* of linux/if_link.h */
};

struct host_ops {
	/* Paths and UNIX sockets. */
	int (*open)(const struct host_ops *h, const char *path, int flags, mode_t mode);
	int (*mkdir)(const struct host_ops *h, const char *path, mode_t mode);	/* 0 also when it exists */
	int (*unlink)(const struct host_ops *h, const char *path);
	int (*rmdir)(const struct host_ops *h, const char *path);
	/*
	 * Listening SOCK_STREAM socket, non-blocking, mode 0600 from its first instant, then owned by
	 * uid:gid (-1 = leave) with @mode. -EADDRINUSE when somebody listens there; a dead socket file
	 * (nobody accepts) is replaced.
	 */
	int (*unix_listen)(const struct host_ops *h, const char *path, mode_t mode, uid_t uid, gid_t gid);
	int (*unix_connect)(const struct host_ops *h, const char *path);	/* non-blocking, CLOEXEC */
	int (*is_bpffs)(const struct host_ops *h, const char *path);	/* 1 yes, 0 no */

	/* The interface. */
	int (*netlink)(const struct host_ops *h, uint32_t groups);	/* NETLINK_ROUTE, non-blocking */
	int (*genl)(const struct host_ops *h);	/* NETLINK_GENERIC, non-blocking */
	int (*ethtool)(const struct host_ops *h, const char *ifname, void *cmd);	/* SIOCETHTOOL */
	/* AF_PACKET/SOCK_RAW bound to @ifindex for @protocol (host order, 0 = receives nothing). */
	int (*packet_socket)(const struct host_ops *h, int ifindex, uint16_t protocol);
	/* PACKET_ADD/DROP_MEMBERSHIP; @type PACKET_MR_UNICAST, PACKET_MR_ALLMULTI, PACKET_MR_PROMISC. */
	int (*packet_membership)(const struct host_ops *h, int fd, int ifindex, uint16_t type,
				 const uint8_t mac[6], bool add);

	/*
	 * A tap interface (IFF_VNET_HDR, header of 12 bytes, every offload that the kernel knows), down. Non-blocking, and
	 * gone with its last fd. -EBUSY when the name is taken.
	 */
	int (*tap)(const struct host_ops *h, const char *ifname, int *ifindex);
	/* MTU, and when @up: no ARP, no IPv6 addresses of its own, then up. */
	int (*link_set)(const struct host_ops *h, int ifindex, uint32_t mtu, bool up);

	/* AF_XDP. */
	int (*memfd)(const struct host_ops *h, const char *name, size_t len);	/* sealed against shrinking */
	int (*xsk_socket)(const struct host_ops *h);
	int (*xsk_umem_reg)(const struct host_ops *h, int fd, const struct xdp_umem_reg *reg);
	int (*xsk_bind)(const struct host_ops *h, int fd, int ifindex, uint32_t queue, uint16_t flags);

	/* bpf(2). */
	int (*bpf_load)(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds);
	int (*bpf_xdp_query)(const struct host_ops *h, int ifindex, struct host_xdp_info *info);
	int (*bpf_link_xdp)(const struct host_ops *h, int prog, int ifindex, uint32_t flags);	/* link fd */
	int (*bpf_link_update)(const struct host_ops *h, int link, int prog);
	int (*bpf_link_ifindex)(const struct host_ops *h, int link);	/* 0 = detached */
	int (*bpf_link_detach)(const struct host_ops *h, int link);	/* now, whoever else has the link */
	int (*bpf_link_prog_id)(const struct host_ops *h, int link);
	int (*bpf_pin)(const struct host_ops *h, int fd, const char *path);	/* replaces an old pin */
	int (*bpf_get)(const struct host_ops *h, const char *path);
	int (*bpf_map_id)(const struct host_ops *h, int map);	/* no other map had it before, or will have it soon */
	int (*bpf_map_update)(const struct host_ops *h, int map, const void *key, const void *value);
	int (*bpf_map_delete)(const struct host_ops *h, int map, const void *key);
	/* @key NULL: the first one. -ENOENT at the end. */
	int (*bpf_map_next_key)(const struct host_ops *h, int map, const void *key, void *next);
	int (*bpf_map_lookup)(const struct host_ops *h, int map, const void *key, void *value);
	/* tc programs, in direct-action mode. By link, which ends with its fd; -errno where the kernel (before 6.6) has none. */
	int (*bpf_link_tcx)(const struct host_ops *h, int prog, int ifindex, bool egress);
	/*
	 * By a classifier that stays until it is removed; replaces what a dead instance left. 1 when the hook (clsact) was made
	 * for it or by such an instance, so that tc_detach() may remove it once it is empty.
	 */
	int (*tc_attach)(const struct host_ops *h, int prog, int ifindex, bool egress);
	int (*tc_detach)(const struct host_ops *h, int ifindex, bool egress, bool remove_hook);
	/* libxdp's dispatcher; a handle >= 0, or -errno (-EPERM: this kernel refuses it). */
	int (*dispatcher_attach)(const struct host_ops *h, const struct host_bpf_spec *spec, int ifindex,
				 uint32_t mode, struct host_bpf_fds *fds);
	int (*dispatcher_detach)(const struct host_ops *h, int ifindex);
};

/**
 * host_linux() - the real thing
 */
const struct host_ops *host_linux(void);

#endif
