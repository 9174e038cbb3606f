/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ceiling of the kernel's part: an AF_XDP socket that sends frames to a
 * reflecting far end and takes them back, with no guest behind it.
 *
 *   vd-bench-xsk IFACE MAP LEN WINDOW SECONDS
 *
 * MAP is the pinned XSKMAP of the program that is on IFACE already (`to_socket`
 * of bpf/reflect.bpf.c). Queue 0 only. Closed loop: at most WINDOW frames are
 * under way; what is lost is replaced when nothing has come for a while.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <net/if.h>

#include "base/clock.h"
#include "base/host_linux.h"
#include "xdp/afxdp.h"

#define RING 2048u
#define FRAMES 4096u
#define CHUNK 2048u
#define BATCH 64u
#define STALL_NS (50 * NSEC_PER_MSEC)

struct load {
	struct nicq *q;
	uint32_t len, window;
	uint32_t under_way;
	uint64_t sent, received, lost;
	uint64_t last_rx_ns;
};

static const uint8_t template[14] = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 3, 0x88, 0xb5 };

static void receive(struct load *l, uint64_t now)
{
	struct nicq_pkt pkt[BATCH];
	unsigned n = nicq_rx(l->q, pkt, BATCH);

	for (unsigned i = 0; i < n; i++)
		nicq_recycle(l->q, &pkt[i]);
	nicq_refill(l->q);
	l->received += n;
	l->under_way -= n < l->under_way ? n : l->under_way;
	if (n) {
		l->last_rx_ns = now;
	} else if (l->under_way == l->window && now - l->last_rx_ns > STALL_NS) {
		l->lost += l->under_way;
		l->under_way = 0;
		l->last_rx_ns = now;
	}
}

static int transmit(struct load *l)
{
	unsigned want = l->window - l->under_way < BATCH ? l->window - l->under_way : BATCH;
	unsigned room = nicq_tx_room(l->q, want);
	int ret;

	for (unsigned i = 0; i < room; i++) {
		uint32_t frame;
		uint8_t *buf = nicq_tx_buf(l->q, &frame);

		memset(buf, 0, l->len);
		memcpy(buf, template, sizeof(template));
		nicq_tx_stage(l->q, frame, l->len);
	}
	l->under_way += room;
	l->sent += room;
	ret = nicq_tx_flush(l->q);
	return ret == -EAGAIN ? 0 : ret;
}

static int run(struct load *l, uint64_t ns, uint64_t *took)
{
	uint64_t from = clock_now(), now = from;
	int ret = 0;

	l->last_rx_ns = from;
	while (now - from < ns && !ret) {
		receive(l, now);
		ret = transmit(l);
		now = clock_now();
	}
	*took = now - from;
	return ret;
}

int main(int argc, char **argv)
{
	struct afxdp_config cfg = { .mode = VD_MODE_COPY, .ring_size = RING, .frames = FRAMES, .chunk = CHUNK };
	struct nicq q;
	struct load l = { .q = &q };
	uint64_t took = 0;
	uint32_t key = 0;
	int map, ret;

	if (argc != 6) {
		fprintf(stderr, "usage: vd-bench-xsk IFACE MAP LEN WINDOW SECONDS\n");
		return 2;
	}
	l.len = (uint32_t)strtoul(argv[3], NULL, 10);
	l.window = (uint32_t)strtoul(argv[4], NULL, 10);
	if (l.len < sizeof(template) || l.len > NICQ_MAX_FRAME(CHUNK) || !l.window || l.window > RING) {
		fprintf(stderr, "vd-bench-xsk: LEN is 14 to %u, WINDOW 1 to %u\n", NICQ_MAX_FRAME(CHUNK), RING);
		return 2;
	}
	cfg.ifindex = (int)if_nametoindex(argv[1]);
	map = bpf_obj_get(argv[2]);
	if (!cfg.ifindex || map < 0) {
		fprintf(stderr, "vd-bench-xsk: no interface %s or no map %s\n", argv[1], argv[2]);
		return 1;
	}
	ret = afxdp_create(host_linux(), &cfg, clock_now() + 5 * NSEC_PER_SEC, &q);
	if (!ret && bpf_map_update_elem(map, &key, &q.fd, BPF_ANY))
		ret = -errno;
	if (!ret)
		ret = run(&l, strtoull(argv[5], NULL, 10) * NSEC_PER_SEC, &took);
	if (ret) {
		fprintf(stderr, "vd-bench-xsk: %s\n", strerror(-ret));
		return 1;
	}
	printf("{\"len\": %u, \"window\": %u, \"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"pps\": %.0f}\n", l.len,
	       l.window, (unsigned long long)l.sent, (unsigned long long)l.received, (unsigned long long)l.lost,
	       (double)l.received * 1e9 / (double)took);
	nicq_fini(&q);
	return 0;
}
