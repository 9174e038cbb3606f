/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nearly all packets of a batch are of one flow or a few: the last addresses and
 * what came of them are kept per ring, for as long as the forwarding table stays
 * as it is. Everything else takes the long way through the port's policy and the
 * table.
 */
#include <unistd.h>

#include "bridge/forward.h"
#include "bridge/mac.h"
#include "viaduct_steer.h"

#define HASH_BYTES 96	/* of a frame: Ethernet, two tags, IPv6, ports; or IPv4 with options */

static uint16_t ether_type(const struct dp_fwd *f)
{
	return load_be16(f->head + VLAN_TYPE_AT);
}

/* Copies a packet's first bytes, up to @len. Return: how many there were. */
static uint32_t copy_head(const struct virtq_pkt *pkt, uint8_t *to, uint32_t len)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < pkt->npieces && done < len; i++) {
		size_t part = pkt->piece[i].iov_len < len - done ? pkt->piece[i].iov_len : len - done;

		memcpy(to + done, pkt->piece[i].iov_base, part);
		done += (uint32_t)part;
	}
	return done;
}

/* A packet's first bytes, anywhere in memory; in one register, so that they are read and written at once. */
typedef uint64_t head_words __attribute__((vector_size(VIRTQ_HEAD), aligned(1), may_alias));

static inline head_words read_head(const struct virtq_pkt *pkt, struct dp_fwd *f)
{
	head_words w;

	if (likely(pkt->piece->iov_len >= VIRTQ_HEAD)) {
		/* Volatile: the compiler must not look there again for what stands in @f. */
		w = *(const volatile head_words *)pkt->piece->iov_base;
		__builtin_memcpy(f->head, &w, VIRTQ_HEAD);
		return w;
	}
	memset(f->head, 0, sizeof(f->head));
	copy_head(pkt, f->head, sizeof(f->head));
	__builtin_memcpy(&w, f->head, VIRTQ_HEAD);
	return w;
}

/* The type behind a tag decides, too: where one tag is taken off, another must not come to light. */
static void read_inner(const struct virtq_pkt *pkt, struct dp_fwd *f)
{
	uint8_t again[VIRTQ_HEAD + sizeof(f->inner)];

	f->pin = vlan_is_tag(ether_type(f)) && copy_head(pkt, again, sizeof(again)) == sizeof(again);
	if (f->pin)
		memcpy(f->inner, again + VIRTQ_HEAD, sizeof(f->inner));
}

bool forward_tag_behind(const struct dp_fwd *f)
{
	return f->pin && vlan_is_tag(load_be16(f->inner));
}

/* The VLAN of its tag, 0 = it has none or a priority tag. False: there is no whole tag. */
static bool vlan_of(const struct dp_fwd *f, uint32_t len, uint16_t *vid)
{
	*vid = 0;
	if (likely(ether_type(f) != VLAN_TPID))
		return true;
	*vid = vlan_of_tag(f->head + VLAN_TYPE_AT);
	return len >= VD_ETH_LEN + VLAN_TAG_LEN;
}

bool forward_peek(const struct virtq_pkt *pkt, struct dp_fwd *f)
{
	bool whole;

	read_head(pkt, f);
	read_inner(pkt, f);
	whole = vlan_of(f, pkt->len, &f->vlan);
	f->tagged = f->vlan;
	return whole;
}

/* --- queue pairs ---------------------------------------------------------- */

/* The flow's hash, as the XDP program has it for frames to the guest; @reverse: for those from the guest. */
static uint32_t flow_hash(const struct virtq_pkt *pkt, const struct dp_fwd *f, bool reverse)
{
	uint8_t head[HASH_BYTES];
	uint32_t n = copy_head(pkt, head, sizeof(head));

	memcpy(head, f->head, n < sizeof(f->head) ? n : sizeof(f->head));
	return reverse ? vd_flow_hash_reverse(head, n) : vd_flow_hash(head, n);
}

uint32_t forward_pair(const struct port *p, const struct virtq_pkt *pkt, const struct dp_fwd *f)
{
	if (likely(READ_ONCE(p->map.enabled) <= 1))
		return READ_ONCE(p->map.route[0]);
	return port_pair(p, flow_hash(pkt, f, false));
}

/* A guest with flows without number keeps neither the control thread busy nor others' addresses out of the ring. */
static bool may_note(struct datapath *dp, struct dp_port *d, uint64_t now_ns)
{
	if (now_ns - d->notes_ns >= DP_LEARN_NS) {
		d->notes_ns = now_ns;
		d->notes = DP_NOTES;
	}
	if (!d->notes || learn_waiting(dp->learn) > LEARN_RING / 2)
		return false;
	d->notes--;
	return true;
}

/*
 * Automatic steering (virtio 1.3, 5.1.6.5.5): the pair on which a guest sends a flow is the one that gets it. What is
 * new is noted here, for packets from this host, and told the control thread, for the program's map.
 */
static void note_flow(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *pkt, const struct dp_fwd *f,
		      uint64_t now_ns)
{
	uint32_t hash = flow_hash(pkt, f, true), *slot = port_flow_slot(tx->port, hash);
	uint32_t want = port_flow_entry(hash, tx->pair, now_ns);
	struct learn_request n = { .flow = true, .port = tx->port->index, .hash = hash, .pair = tx->pair };

	if (likely(READ_ONCE(*slot) == want) || !may_note(dp, tx->stats, now_ns))
		return;
	if (learn_push(dp->learn, &n)) {
		WRITE_ONCE(*slot, want);
		datapath_notify(dp);
	}
}

/* --- source addresses ------------------------------------------------------ */

/*
 * Source addresses we do not know yet go to the control thread, which decides. A guest that makes up a new one for every
 * packet, or sends from more than it may have, does not keep that thread busy. Return: false when it is to be asked again.
 */
static bool note_source(struct datapath *dp, struct dp_tx *tx, uint64_t src, uint64_t now_ns)
{
	const uint64_t key = fdb_key(tx->port->policy.key_vlan, src);
	struct learn_request n = { .mac = src, .when_ns = now_ns, .port = tx->port->index };

	if (fdb_lookup(dp->fdb, key) == tx->port->index) {
		fdb_note(dp->fdb, key, now_ns);
		return true;
	}
	if (tx->port->policy.nmac)
		return true;
	if (now_ns - tx->stats->learn_ns < DP_LEARN_NS || !learn_push(dp->learn, &n))
		return false;
	tx->stats->learn_ns = now_ns;
	datapath_notify(dp);
	return true;
}

/* --- destinations ----------------------------------------------------------- */

/* Counted when the packet has had its turn: until then it may be decided on several times. */
static uint16_t refuse(struct dp_fwd *f, enum dp_count why)
{
	f->why = (uint8_t)why;
	return DP_TO_NOBODY;
}

/* 01:80:c2:00:00:00 to 0f: a bridge's own business, never forwarded (IEEE 802.1Q 8.6.3). */
static bool is_link_local(const uint8_t *mac)
{
	return mac[0] == 0x01 && mac[1] == 0x80 && mac[2] == 0xc2 && !mac[3] && !mac[4] && mac[5] < 0x10;
}

static uint16_t to_port(struct datapath *dp, struct dp_tx *tx, uint32_t port, const struct virtq_pkt *pkt,
			struct dp_fwd *f)
{
	const struct dp_port *d = dp->port[port];

	if (!d || port == tx->port->index)	/* it is there already */
		return refuse(f, DP_DROP_SELF);
	if (d->port->policy.link_down)
		return refuse(f, DP_DROP_LINK);
	if (tx->port->policy.isolated || d->port->policy.isolated)
		return refuse(f, DP_DROP_ISOLATED);
	if (!policy_member(&d->port->policy, f->vlan) || forward_hides_vlan(&d->port->policy, f))
		return refuse(f, DP_DROP_VLAN);
	return dp_dest(port, forward_pair(d->port, pkt, f));
}

static uint16_t to_station(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *pkt, struct dp_fwd *f)
{
	uint32_t port = fdb_forward(dp->fdb, f->vlan, mac_load(f->head));

	if (port < VD_MAX_PORTS)
		return to_port(dp, tx, port, pkt, f);
	if (port == VD_PORT_HOST && dp->host_fd >= 0)
		return tx->port->policy.isolated ? refuse(f, DP_DROP_ISOLATED) : DP_TO_HOST;
	return DP_TO_UPLINK;
}

static bool says_no_vlan(const struct dp_fwd *f)
{
	return f->pin && !vlan_of_tag(f->head + VLAN_TYPE_AT);
}

/* Link, VLAN and source of a frame, by the port's policy. False: it may not be sent. */
static bool may_send(struct dp_tx *tx, struct dp_fwd *f, uint32_t len)
{
	const struct policy *pol = &tx->port->policy;
	uint16_t vid;

	if (pol->link_down) {
		refuse(f, DP_DROP_LINK);
		return false;
	}
	/* A tag that says no VLAN is taken off by whoever gets it, and the next one is believed. */
	if (!vlan_of(f, len, &vid) || (!pol->all_vlans && says_no_vlan(f) && forward_tag_behind(f))) {
		refuse(f, DP_DROP_VLAN);
		return false;
	}
	f->vlan = policy_from_guest(pol, vid);
	if (f->vlan == VLAN_NONE) {
		refuse(f, DP_DROP_VLAN);
		return false;
	}
	f->tagged = vid;
	if (unlikely(!vid && f->vlan && ether_type(f) == VLAN_TPID)) {
		/* A priority tag becomes the VLAN's, its priority stays. */
		store_be16(f->head + VLAN_TYPE_AT + 2,
			   (uint16_t)((load_be16(f->head + VLAN_TYPE_AT + 2) & 0xf000) | f->vlan));
		f->tagged = true;
	}
	if (!policy_own_mac(pol, mac_load(f->head + MAC_LEN))) {
		refuse(f, DP_DROP_LOCK);
		return false;
	}
	return true;
}

/* The long way. What holds for every packet with these addresses and no tag is kept. */
static __attribute__((noinline)) uint16_t decide(struct datapath *dp, struct dp_tx *tx, const struct virtq_pkt *pkt,
						   struct dp_fwd *f, uint64_t now_ns)
{
	uint64_t dst = mac_load(f->head), src = mac_load(f->head + MAC_LEN);
	uint16_t dest;
	bool noted = true;

	read_inner(pkt, f);
	if (!may_send(tx, f, pkt->len))
		return DP_TO_NOBODY;
	if (src != tx->last_src || tx->last_dst == DP_NO_MAC)
		noted = note_source(dp, tx, src, now_ns);
	if (mac_is_group(f->head))
		return is_link_local(f->head) ? refuse(f, DP_DROP_LINK_LOCAL) : DP_TO_ALL;
	dest = to_station(dp, tx, pkt, f);
	tx->last_dst = DP_NO_MAC;
	if (noted && !f->tagged && !vlan_is_tag(ether_type(f)) && dest != DP_TO_NOBODY) {
		tx->last_dst = dst;
		tx->last_src = src;
		tx->last_vlan = f->vlan;
		tx->last_dest = dest;
	}
	return dest;
}

/* The last packet's addresses as the first words of a packet. */
struct last_words {
	uint64_t first, rest;	/* @rest: 32 bits; more: there was none */
};

static inline struct last_words last_words(const struct dp_tx *tx)
{
	if (tx->last_dst == DP_NO_MAC)
		return (struct last_words){ 0, UINT64_MAX };
	return (struct last_words){ tx->last_dst | tx->last_src << 48, tx->last_src >> 16 };
}

/* Has it the last one's addresses, and no tag of either kind? */
static inline bool as_the_last(head_words w, const struct last_words *last)
{
	static const uint16_t tag = __builtin_bswap16(VLAN_TPID), service = __builtin_bswap16(VLAN_TPID_SERVICE);
	const uint16_t type = (uint16_t)(w[1] >> 32);

	return w[0] == last->first && (uint32_t)w[1] == last->rest && type != tag && type != service;
}

/* What was decided for the last packet holds for this one, but for the queue pair. */
static inline uint16_t decided(const struct datapath *dp, const struct dp_tx *tx, const struct virtq_pkt *pkt,
			       struct dp_fwd *f)
{
	uint16_t dest = tx->last_dest;

	f->vlan = tx->last_vlan;
	f->tagged = f->pin = false;
	if (dest < DP_TO_UPLINK) {
		const struct port *p = dp->port[dp_dest_port(dest)]->port;

		dest = dp_dest(p->index, forward_pair(p, pkt, f));
	}
	return dest;
}

/* A port with several pairs has its flows noted. */
static bool flows_matter(const struct port *p)
{
	return READ_ONCE(p->map.enabled) > 1 && READ_ONCE(p->steering.mode) == VD_STEER_AUTO;
}

uint16_t forward_batch(struct datapath *dp, struct dp_tx *tx, unsigned n, uint64_t now_ns)
{
	const uint32_t generation = load_acquire(&dp->fdb->generation);
	const bool note = flows_matter(tx->port);
	uint16_t all = DP_TO_NOBODY;
	struct last_words last;

	/* Now and then anew: an address that was refused may be free by now, one that is used must not be forgotten. */
	if (unlikely(generation != tx->generation || now_ns - tx->checked_ns >= DP_FORGET_NS)) {
		tx->generation = generation;
		tx->checked_ns = now_ns;
		tx->last_dst = DP_NO_MAC;
	}
	last = last_words(tx);
	for (unsigned i = 0; i < n; i++) {
		const struct virtq_pkt *pkt = &dp->batch.pkt[i];
		struct dp_fwd *f = &dp->fwd[i];

		if (likely(as_the_last(read_head(pkt, f), &last))) {
			f->dest = decided(dp, tx, pkt, f);
		} else {
			f->dest = decide(dp, tx, pkt, f, now_ns);
			last = last_words(tx);
		}
		if (unlikely(note) && f->dest != DP_TO_NOBODY)
			note_flow(dp, tx, pkt, f, now_ns);
		all = !i || f->dest == all ? f->dest : DP_TO_MANY;
	}
	return all;
}

void forward_host(struct datapath *dp, const struct virtq_pkt *pkt, struct dp_fwd *f)
{
	const struct dp_port *d;
	uint32_t port;

	f->dest = DP_TO_NOBODY;
	if (!forward_peek(pkt, f) || is_link_local(f->head))
		return;
	if (mac_is_group(f->head)) {
		f->dest = DP_TO_ALL;
		return;
	}
	port = fdb_forward(dp->fdb, f->vlan, mac_load(f->head));
	d = port < VD_MAX_PORTS ? dp->port[port] : NULL;
	if (d && !d->port->policy.link_down && !d->port->policy.isolated && policy_member(&d->port->policy, f->vlan) &&
	    !forward_hides_vlan(&d->port->policy, f))
		f->dest = dp_dest(port, forward_pair(d->port, pkt, f));
}
