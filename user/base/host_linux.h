/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of host_linux() is in host_linux_bpf.c and host_linux_tc.c: one function per member
 * of struct host_ops, with the member's contract. Only host_linux.c refers to them.
 */
#ifndef VIADUCT_BASE_HOST_LINUX_H
#define VIADUCT_BASE_HOST_LINUX_H

#include "base/host_ops.h"

/* Sends what libbpf and libxdp say to the debug log. Before calls of theirs that may fail. */
void host_linux_libraries_quiet(void);

int host_linux_tap(const struct host_ops *h, const char *ifname, int *ifindex);
int host_linux_link_set(const struct host_ops *h, int ifindex, uint32_t mtu, bool up);
int host_linux_bpf_link_tcx(const struct host_ops *h, int prog, int ifindex, bool egress);
int host_linux_tc_attach(const struct host_ops *h, int prog, int ifindex, bool egress);
int host_linux_tc_detach(const struct host_ops *h, int ifindex, bool egress, bool remove_hook);

int host_linux_memfd(const struct host_ops *h, const char *name, size_t len);
int host_linux_xsk_socket(const struct host_ops *h);
int host_linux_xsk_umem_reg(const struct host_ops *h, int fd, const struct xdp_umem_reg *reg);
int host_linux_xsk_bind(const struct host_ops *h, int fd, int ifindex, uint32_t queue, uint16_t flags);

int host_linux_bpf_load(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds);
int host_linux_bpf_xdp_query(const struct host_ops *h, int ifindex, struct host_xdp_info *info);
int host_linux_bpf_link_xdp(const struct host_ops *h, int prog, int ifindex, uint32_t flags);
int host_linux_bpf_link_update(const struct host_ops *h, int link, int prog);
int host_linux_bpf_link_ifindex(const struct host_ops *h, int link);
int host_linux_bpf_link_detach(const struct host_ops *h, int link);
int host_linux_bpf_link_prog_id(const struct host_ops *h, int link);
int host_linux_bpf_map_id(const struct host_ops *h, int map);
int host_linux_bpf_pin(const struct host_ops *h, int fd, const char *path);
int host_linux_bpf_get(const struct host_ops *h, const char *path);
int host_linux_bpf_map_update(const struct host_ops *h, int map, const void *key, const void *value);
int host_linux_bpf_map_delete(const struct host_ops *h, int map, const void *key);
int host_linux_bpf_map_next_key(const struct host_ops *h, int map, const void *key, void *next);
int host_linux_bpf_map_lookup(const struct host_ops *h, int map, const void *key, void *value);
int host_linux_dispatcher_attach(const struct host_ops *h, const struct host_bpf_spec *spec, int ifindex,
				 uint32_t mode, struct host_bpf_fds *fds);
int host_linux_dispatcher_detach(const struct host_ops *h, int ifindex);

#endif
