// SPDX-License-Identifier: BSD-2-Clause
#include <assert.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <linux/if_ether.h>

#include "driver/traffic.h"

#define MAGIC 0x7664u
#define PORT_BASE 10000
#define PORT_DST 9009
#define SHIFTS 64u		/* places where a frame's pattern may begin */
#define WINDOW 16384u		/* sequence numbers per flow in which repeated and late ones are told apart */
#define L4 (ETH_HLEN + sizeof(struct iphdr))
#define PAYLOAD (L4 + sizeof(struct udphdr))

/* Host byte order: both ends are this program on this machine. */
struct payload {
	uint16_t magic, run;
	uint64_t seq;
	uint16_t flow;
	uint32_t sum;
} __attribute__((packed));

static_assert(PAYLOAD + sizeof(struct payload) == TRAFFIC_HEAD, "the head of a frame is all that changes");

struct traffic_flow {
	uint64_t first, next;	/* lowest seen, highest seen + 1 */
	uint64_t good;
	uint64_t seen[WINDOW / 64];	/* bit per sequence number modulo WINDOW */
};

/* The same for every generator and checker; written once, before any of them is used. */
static uint8_t pattern[PAIR_MAX_FRAME + SHIFTS];

static void make_pattern(void)
{
	uint32_t x = 0x2545f491;

	if (pattern[0] | pattern[1])
		return;
	for (size_t i = 0; i < sizeof(pattern); i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = (uint8_t)(x >> 11);
	}
}

static const uint8_t *tail_of(uint64_t seq)
{
	return pattern + seq % SHIFTS;
}

static uint32_t checksum(const struct payload *p, uint32_t len)
{
	uint64_t x = p->seq * 0x9e3779b97f4a7c15ull;

	x ^= (uint64_t)p->run << 48 | (uint64_t)p->flow << 32 | len;
	x *= 0xd6e8feb86659fd93ull;
	return (uint32_t)(x >> 32);
}

static uint16_t ip_checksum(const struct iphdr *ip)
{
	const uint8_t *p = (const uint8_t *)ip;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*ip); i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~(sum + (sum >> 16)));
}

static void make_head(struct traffic_gen *g, const uint8_t src[6], const uint8_t dst[6])
{
	uint32_t ip_len = g->len - ETH_HLEN;
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
			    .tot_len = htons((uint16_t)ip_len), .frag_off = htons(IP_DF),
			    .saddr = htonl(0x0a4d0003), .daddr = htonl(0x0a4d0002) };
	/* No UDP checksum: ours covers more. */
	struct udphdr udp = { .dest = htons(PORT_DST), .len = htons((uint16_t)(ip_len - sizeof(ip))) };
	uint16_t type = htons(ETH_P_IP);

	ip.check = ip_checksum(&ip);
	memcpy(g->head, dst, 6);
	memcpy(g->head + 6, src, 6);
	memcpy(g->head + 12, &type, 2);
	memcpy(g->head + ETH_HLEN, &ip, sizeof(ip));
	memcpy(g->head + L4, &udp, sizeof(udp));
}

int traffic_gen_init(struct traffic_gen *g, uint32_t len, uint32_t flows, const uint8_t src[6], const uint8_t dst[6])
{
	*g = (struct traffic_gen){ .len = len, .flows = flows };
	if (len < TRAFFIC_HEAD || len > PAIR_MAX_FRAME || !flows || flows > TRAFFIC_MAX_FLOWS)
		return -EINVAL;
	if (getrandom(&g->run, sizeof(g->run), 0) != sizeof(g->run))
		return -EIO;
	g->seq = calloc(flows, sizeof(*g->seq));
	if (!g->seq)
		return -ENOMEM;
	make_pattern();
	make_head(g, src, dst);
	return 0;
}

void traffic_gen_fini(struct traffic_gen *g)
{
	free(g->seq);
	g->seq = NULL;
}

void traffic_frame(struct traffic_gen *g, uint32_t flow, uint8_t head[TRAFFIC_HEAD], struct frame *f)
{
	struct payload p = { .magic = MAGIC, .run = g->run, .seq = g->seq[flow]++, .flow = (uint16_t)flow };
	uint16_t port = htons((uint16_t)(PORT_BASE + flow));

	p.sum = checksum(&p, g->len);
	memcpy(head, g->head, PAYLOAD);
	memcpy(head + L4, &port, 2);
	memcpy(head + PAYLOAD, &p, sizeof(p));
	*f = (struct frame){ .data = head, .len = TRAFFIC_HEAD, .tail = tail_of(p.seq),
			     .tail_len = g->len - TRAFFIC_HEAD };
}

int traffic_check_init(struct traffic_check *c, const struct traffic_gen *own)
{
	*c = (struct traffic_check){ .own = own };
	make_pattern();
	for (int i = 0; i < 2; i++) {
		c->flow[i] = calloc(TRAFFIC_MAX_FLOWS, sizeof(*c->flow[i]));
		if (!c->flow[i]) {
			traffic_check_fini(c);
			return -ENOMEM;
		}
	}
	return 0;
}

static void free_flows(struct traffic_flow **flow)
{
	for (unsigned i = 0; flow && i < TRAFFIC_MAX_FLOWS; i++) {
		free(flow[i]);
		flow[i] = NULL;
	}
}

void traffic_check_fini(struct traffic_check *c)
{
	for (int i = 0; i < 2; i++) {
		free_flows(c->flow[i]);
		free(c->flow[i]);
		c->flow[i] = NULL;
	}
}

static uint64_t gaps(struct traffic_flow *const *flow)
{
	uint64_t lost = 0;

	for (unsigned i = 0; i < TRAFFIC_MAX_FLOWS; i++)
		if (flow[i])
			lost += flow[i]->next - flow[i]->first - flow[i]->good;
	return lost;
}

uint64_t traffic_lost(const struct traffic_check *c, bool reflected)
{
	uint64_t lost = c->past_lost + gaps(c->flow[1]), sent = 0;

	if (!c->own || !reflected)
		return lost + gaps(c->flow[0]);
	for (uint32_t i = 0; i < c->own->flows; i++)
		sent += c->own->seq[i];
	return lost + sent - c->own_good;
}

/* Marks a sequence number as seen; true when it was already. */
static bool mark(struct traffic_flow *f, uint64_t seq)
{
	uint64_t *word = &f->seen[seq % WINDOW / 64], bit = 1ull << seq % 64;
	bool was = *word & bit;

	*word |= bit;
	return was;
}

static void advance(struct traffic_flow *f, uint64_t seq)
{
	if (seq - f->next >= WINDOW)
		memset(f->seen, 0, sizeof(f->seen));
	else
		for (uint64_t s = f->next; s < seq; s++)
			f->seen[s % WINDOW / 64] &= ~(1ull << s % 64);
	f->next = seq + 1;
	mark(f, seq);
}

/* Enters a good frame in its flow's account. Return: false when it was there already. */
static bool account(struct traffic_check *c, struct traffic_flow *f, uint64_t seq)
{
	if (seq >= f->next) {
		advance(f, seq);
	} else if (f->next - seq > WINDOW || mark(f, seq)) {
		c->counts.duplicated++;
		return false;
	} else {
		c->counts.reordered++;
		if (seq < f->first)
			f->first = seq;
	}
	f->good++;
	c->counts.good++;
	return true;
}

static struct traffic_flow *find_flow(struct traffic_check *c, bool own, const struct payload *p)
{
	struct traffic_flow **slot;

	if (!own && (!c->peer_seen || c->peer_run != p->run)) {
		c->past_lost += gaps(c->flow[1]);
		free_flows(c->flow[1]);
		c->peer_run = p->run;
		c->peer_seen = true;
	}
	slot = &c->flow[own ? 0 : 1][p->flow];
	if (*slot)
		return *slot;
	*slot = calloc(1, sizeof(**slot));
	/* Our own begin at 0; of another's we count from where we came in. */
	if (*slot && !own)
		(*slot)->first = (*slot)->next = p->seq;
	return *slot;
}

/* Is it UDP to our port? Addresses may have been swapped or rewritten on the way. */
static bool is_test_frame(const uint8_t *head)
{
	struct iphdr ip;
	uint16_t type, port;

	memcpy(&type, head + 12, 2);
	memcpy(&ip, head + ETH_HLEN, sizeof(ip));
	memcpy(&port, head + L4 + 2, 2);
	if (port != htons(PORT_DST))	/* an answer comes from that port */
		memcpy(&port, head + L4, 2);
	return type == htons(ETH_P_IP) && ip.ihl == 5 && ip.protocol == IPPROTO_UDP && port == htons(PORT_DST);
}

static void swap(uint8_t *a, uint8_t *b, uint32_t len)
{
	uint8_t t[6];

	memcpy(t, a, len);
	memcpy(a, b, len);
	memcpy(b, t, len);
}

void traffic_answer(uint8_t *data, uint32_t len)
{
	if (len < TRAFFIC_HEAD)
		return;
	swap(data, data + 6, 6);
	if (!is_test_frame(data))
		return;
	swap(data + ETH_HLEN + offsetof(struct iphdr, saddr), data + ETH_HLEN + offsetof(struct iphdr, daddr), 4);
	swap(data + L4, data + L4 + 2, 2);
}

static bool is_whole(const struct payload *p, const uint8_t *head, const uint8_t *data, uint32_t len)
{
	uint16_t ip_len;

	memcpy(&ip_len, head + ETH_HLEN + 2, 2);
	return p->magic == MAGIC && ntohs(ip_len) == len - ETH_HLEN && p->sum == checksum(p, len) &&
	       p->flow < TRAFFIC_MAX_FLOWS && len <= PAIR_MAX_FRAME &&
	       !memcmp(data + TRAFFIC_HEAD, tail_of(p->seq), len - TRAFFIC_HEAD);
}

enum traffic_verdict traffic_check_frame(struct traffic_check *c, const uint8_t *data, uint32_t len)
{
	uint8_t head[TRAFFIC_HEAD];
	struct traffic_flow *f;
	struct payload p;
	bool own;

	if (len >= TRAFFIC_HEAD)
		memcpy(head, data, TRAFFIC_HEAD);
	if (len < TRAFFIC_HEAD || !is_test_frame(head)) {
		c->counts.other++;
		return TRAFFIC_OTHER;
	}
	memcpy(&p, head + PAYLOAD, sizeof(p));
	if (!is_whole(&p, head, data, len)) {
		c->counts.damaged++;
		return TRAFFIC_DAMAGED;
	}
	own = c->own && p.run == c->own->run && p.flow < c->own->flows;
	f = find_flow(c, own, &p);
	if (!f || !account(c, f, p.seq))
		return TRAFFIC_DUPLICATED;
	c->last_flow = p.flow;
	if (own)
		c->own_good++;
	return own ? TRAFFIC_OWN : TRAFFIC_PEER;
}
