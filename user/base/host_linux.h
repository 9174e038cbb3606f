/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bpf(2), AF_XDP and libxdp half of host_linux(): one function per member
 * of struct host_ops, with the member's contract. Only host_linux.c refers to them.
 */
#ifndef VIADUCT_BASE_HOST_LINUX_H
#define VIADUCT_BASE_HOST_LINUX_H

#include "base/host_ops.h"

int host_linux_memfd(const struct host_ops *h, const char *name, size_t len);
int host_linux_xsk_socket(const struct host_ops *h);
int host_linux_xsk_umem_reg(const struct host_ops *h, int fd, const struct xdp_umem_reg *reg);
int host_linux_xsk_bind(const struct host_ops *h, int fd, int ifindex, uint32_t queue, uint16_t flags);

int host_linux_bpf_load(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds);
int host_linux_bpf_xdp_query(const struct host_ops *h, int ifindex, struct host_xdp_info *info);
int host_linux_bpf_link_xdp(const struct host_ops *h, int prog, int ifindex, uint32_t flags);
int host_linux_bpf_link_update(const struct host_ops *h, int link, int prog);
int host_linux_bpf_link_ifindex(const struct host_ops *h, int link);
int host_linux_bpf_pin(const struct host_ops *h, int fd, const char *path);
int host_linux_bpf_get(const struct host_ops *h, const char *path);
int host_linux_bpf_map_update(const struct host_ops *h, int map, const void *key, const void *value);
int host_linux_bpf_map_delete(const struct host_ops *h, int map, const void *key);
int host_linux_bpf_map_lookup(const struct host_ops *h, int map, const void *key, void *value);
int host_linux_dispatcher_attach(const struct host_ops *h, const struct host_bpf_spec *spec, int ifindex,
				 uint32_t mode, struct host_bpf_fds *fds);
int host_linux_dispatcher_detach(const struct host_ops *h, int ifindex);

#endif
