/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ceiling of the kernel's part: an AF_XDP socket that sends frames to a
 * reflecting far end and takes them back, with no guest behind it.
 *
 *   vd-bench-xsk IFACE MAP LEN WINDOW SECONDS [QUEUES]
 *
 * MAP is the pinned XSKMAP of the program that is on IFACE already (`to_socket`
 * of bpf/reflect.bpf.c). One socket per queue, which take turns at sending.
 * Closed loop: at most WINDOW frames are under way; what is lost is replaced
 * when nothing has come for a while.
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
#define MAX_QUEUES 64u
#define STALL_NS (50 * NSEC_PER_MSEC)

struct load {
	struct nicq q[MAX_QUEUES];
	uint32_t queues;
	uint32_t len, window;
	uint32_t under_way;
	uint64_t sent, received, lost;
	uint64_t last_rx_ns;
};

static const uint8_t template[14] = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 3, 0x88, 0xb5 };

static void receive(struct load *l, uint64_t now)
{
	struct nicq_pkt pkt[BATCH];
	unsigned total = 0;

	for (uint32_t i = 0; i < l->queues; i++) {
		unsigned n = nicq_rx(&l->q[i], pkt, BATCH);

		total += n;
		while (n--)
			nicq_recycle(&l->q[i], &pkt[n]);
		nicq_refill(&l->q[i]);
	}
	l->received += total;
	l->under_way -= total < l->under_way ? total : l->under_way;
	if (total) {
		l->last_rx_ns = now;
	} else if (l->under_way == l->window && now - l->last_rx_ns > STALL_NS) {
		l->lost += l->under_way;
		l->under_way = 0;
		l->last_rx_ns = now;
	}
}

static int transmit(struct load *l, struct nicq *q, unsigned want)
{
	unsigned room = nicq_tx_room(q, want);
	int ret;

	for (unsigned i = 0; i < room; i++) {
		uint32_t frame;
		uint8_t *buf = nicq_tx_buf(q, 0, &frame);

		if (!buf)
			return -ENOBUFS;
		memset(buf, 0, l->len);
		memcpy(buf, template, sizeof(template));
		nicq_tx_stage(q, frame, l->len, false);
	}
	l->under_way += room;
	l->sent += room;
	ret = nicq_tx_flush(q);
	return ret == -EAGAIN ? 0 : ret;
}

/* What may be sent is shared out evenly. */
static int transmit_all(struct load *l)
{
	uint32_t each = (l->window - l->under_way + l->queues - 1) / l->queues;
	int ret = 0;

	for (uint32_t i = 0; i < l->queues && !ret; i++) {
		uint32_t left = l->window - l->under_way, want = each < left ? each : left;

		ret = transmit(l, &l->q[i], want < BATCH ? want : BATCH);
	}
	return ret;
}

static int run(struct load *l, uint64_t ns, uint64_t *took)
{
	uint64_t from = clock_now(), now = from;
	int ret = 0;

	l->last_rx_ns = from;
	while (now - from < ns && !ret) {
		receive(l, now);
		ret = transmit_all(l);
		now = clock_now();
	}
	*took = now - from;
	return ret;
}

static int open_queues(struct load *l, int ifindex, int map)
{
	struct afxdp_config cfg = { .ifindex = ifindex, .mode = VD_MODE_COPY, .ring_size = RING, .frames = FRAMES,
				    .chunk = CHUNK };
	int ret = 0;

	for (uint32_t i = 0; i < l->queues && !ret; i++) {
		cfg.queue = i;
		ret = afxdp_create(host_linux(), &cfg, clock_now() + 5 * NSEC_PER_SEC, &l->q[i]);
		if (!ret && bpf_map_update_elem(map, &i, &l->q[i].fd, BPF_ANY))
			ret = -errno;
	}
	return ret;
}

int main(int argc, char **argv)
{
	static struct load l = { .queues = 1 };
	uint64_t took = 0;
	int ifindex, map, ret;

	if (argc != 6 && argc != 7) {
		fprintf(stderr, "usage: vd-bench-xsk IFACE MAP LEN WINDOW SECONDS [QUEUES]\n");
		return 2;
	}
	l.len = (uint32_t)strtoul(argv[3], NULL, 10);
	l.window = (uint32_t)strtoul(argv[4], NULL, 10);
	if (argc == 7)
		l.queues = (uint32_t)strtoul(argv[6], NULL, 10);
	if (l.len < sizeof(template) || l.len > NICQ_MAX_FRAME(CHUNK) || !l.window || l.window > RING || !l.queues ||
	    l.queues > MAX_QUEUES) {
		fprintf(stderr, "vd-bench-xsk: LEN is 14 to %u, WINDOW 1 to %u, QUEUES 1 to %u\n", NICQ_MAX_FRAME(CHUNK),
			RING, MAX_QUEUES);
		return 2;
	}
	ifindex = (int)if_nametoindex(argv[1]);
	map = bpf_obj_get(argv[2]);
	if (!ifindex || map < 0) {
		fprintf(stderr, "vd-bench-xsk: no interface %s or no map %s\n", argv[1], argv[2]);
		return 1;
	}
	ret = open_queues(&l, ifindex, map);
	if (!ret)
		ret = run(&l, strtoull(argv[5], NULL, 10) * NSEC_PER_SEC, &took);
	if (ret) {
		fprintf(stderr, "vd-bench-xsk: %s\n", strerror(-ret));
		return 1;
	}
	printf("{\"len\": %u, \"window\": %u, \"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"pps\": %.0f}\n", l.len,
	       l.window, (unsigned long long)l.sent, (unsigned long long)l.received, (unsigned long long)l.lost,
	       (double)l.received * 1e9 / (double)took);
	for (uint32_t i = 0; i < l.queues; i++)
		nicq_fini(&l.q[i]);
	return 0;
}
