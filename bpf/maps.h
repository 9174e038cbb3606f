/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The maps that the XDP program and those of the host's port look into, and how a
 * destination is found in them. One definition: both must be the same for the
 * second to be given the first's.
 */
#ifndef VIADUCT_BPF_MAPS_H
#define VIADUCT_BPF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "viaduct_steer.h"

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 + VD_MAX_PORTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct vd_link);
} links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct vd_fdb_key);
	__type(value, struct vd_fdb_value);
} fdb SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VD_MAX_PORTS);
	__type(key, __u32);
	__type(value, struct vd_port);
} ports SEC(".maps");

/* struct vd_fdb_key in one register: put together on the stack it could not be read back before all stores are done. */
static __always_inline __u64 fdb_word(const __u8 *mac, __u16 vlan)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u64)vd_load16(mac + 4) << 48 | (__u64)vd_load32(mac) << 16 | vlan;
#else
	return (__u64)vlan << 48 | (__u64)vd_load32(mac) << 16 | vd_load16(mac + 4);
#endif
}

/* What fdb has of a destination; NULL: nothing. Entries of the VLAN first, then those of any. */
static __always_inline struct vd_fdb_value *fdb_find(const __u8 *dst, __u16 vlan)
{
	__u64 key = fdb_word(dst, vlan);
	struct vd_fdb_value *v = bpf_map_lookup_elem(&fdb, &key);

	if (v || !vlan)
		return v;
	key = fdb_word(dst, 0);
	return bpf_map_lookup_elem(&fdb, &key);
}

#endif
