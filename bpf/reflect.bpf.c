// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The two ends of a benchmark's wire: `reflect` sends every frame back where it
 * came from, with its addresses swapped; `to_socket` gives every frame to the
 * AF_XDP socket of its queue, which is the least that any user of AF_XDP needs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define ETH_ALEN 6
#define ETH_HLEN 14

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 dst[ETH_ALEN];

	if (data + ETH_HLEN > end)
		return XDP_DROP;
	__builtin_memcpy(dst, data, ETH_ALEN);
	__builtin_memcpy(data, data + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(data + ETH_ALEN, dst, ETH_ALEN);
	return XDP_TX;
}

SEC("xdp")
int to_socket(struct xdp_md *ctx)
{
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
