/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run of packets that the receiver can have as they are is one batch for its
 * ring (virtq_rx_put()). A plain packet in one piece needs nothing but a pointer;
 * what has several pieces, a header that says something, or a VLAN tag that comes
 * or goes is described by pieces, the first of them our copy of what was checked.
 *
 * A packet that the receiver cannot have as it is is made into plain frames in
 * memory of our own first; that is the one case of two copies.
 */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bridge/forward.h"
#include "bridge/local.h"
#include "bridge/mac.h"

#define MACS (2 * MAC_LEN)
#define MAX_PLAIN 2048		/* frames that a packet is made into at most: 64 KiB in segments of 32 bytes */
#define LOCK_TRIES 200		/* looks at a lock that another worker holds for one batch */

static bool lock_briefly(struct virtq *vq)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (spin_trylock(&vq->lock))
			return true;
		cpu_relax();
	}
	return false;
}

/* --- one packet as pieces --------------------------------------------------- */

/* What changes of a packet on its way: bytes that its tag adds (4), or takes away (-4). */
static int tag_change(const struct dp_fwd *f, bool want_tag)
{
	return (want_tag && f->vlan && !f->tagged) * VLAN_TAG_LEN - (f->tagged && !want_tag) * VLAN_TAG_LEN;
}

static struct iovec *put(struct iovec *to, const void *data, size_t len)
{
	if (len)
		*to++ = (struct iovec){ (void *)data, len };
	return to;
}

/* The pieces of @p behind its first @skip bytes. */
static struct iovec *put_rest(struct iovec *to, const struct virtq_pkt *p, uint32_t skip)
{
	for (unsigned i = 0; i < p->npieces; i++) {
		const struct iovec *v = &p->piece[i];

		if (v->iov_len <= skip) {
			skip -= (uint32_t)v->iov_len;
			continue;
		}
		to = put(to, (const uint8_t *)v->iov_base + skip, v->iov_len - skip);
		skip = 0;
	}
	return to;
}

/*
 * A packet as pieces, the first of which are ours: @head_len bytes of headers that segment_check() looked at, or
 * (0) those that were decided on. @tag: four bytes for the tag.
 */
static void describe(struct virtq_more *m, struct iovec *iov, uint8_t *tag, const struct virtq_pkt *p,
		     const struct dp_fwd *f, uint8_t *head, uint32_t head_len, int change)
{
	const uint8_t *h = f->head;
	struct iovec *end = iov;
	uint32_t len = p->len < VIRTQ_HEAD ? p->len : VIRTQ_HEAD;

	if (head_len || f->pin) {	/* longer than what follows: there is IP in it, or a whole tag */
		memcpy(head, f->head, VIRTQ_HEAD);
		if (f->pin)
			memcpy(head + VIRTQ_HEAD, f->inner, sizeof(f->inner));
		h = head;
		len = head_len ? head_len : VIRTQ_HEAD + sizeof(f->inner);
	}
	if (change > 0) {
		vlan_write_tag(tag, VLAN_TPID, f->vlan);
		end = put(end, h, MACS);
		end = put(end, tag, VLAN_TAG_LEN);
		end = put(end, h + MACS, len - MACS);
	} else if (change < 0) {	/* it has a whole one: at least 18 bytes */
		end = put(end, h, MACS);
		end = put(end, h + MACS + VLAN_TAG_LEN, len - MACS - VLAN_TAG_LEN);
	} else {
		end = put(end, h, len);
	}
	end = put_rest(end, p, len);
	*m = (struct virtq_more){ .piece = iov, .npieces = (uint32_t)(end - iov) };
	if (vnet_asks_nothing(&p->hdr))
		return;
	m->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	m->hdr.gso_type = p->hdr.gso_type;
	m->hdr.gso_size = p->hdr.gso_type ? p->hdr.gso_size : 0;
	m->hdr.hdr_len = head_len ? (uint16_t)((int)head_len + change) : 0;
	m->hdr.csum_start = (uint16_t)(p->hdr.csum_start + change);
	m->hdr.csum_offset = p->hdr.csum_offset;
}

static void reject(struct datapath *dp, struct dp_port *at, const struct virtq_pkt *p, enum virtq_error e)
{
	if (p->chain < dp->batch.nchains) {
		dp->batch.chain[p->chain].drop = e;
		dp->rejected++;
	} else {
		at->count[DP_DROP_HEADER]++;
	}
}

/*
 * The headers were read a second time, and what was decided on goes over them. Addresses may differ, they contradict
 * nothing; the type, and the first bytes of IP or the tag, must not.
 */
static bool same_head(const struct segment_plan *plan, const struct dp_fwd *f)
{
	if (!plan->head_len)
		return true;
	if (f->pin && memcmp(plan->head + VIRTQ_HEAD, f->inner, sizeof(f->inner)))
		return false;
	return !memcmp(plan->head + MACS, f->head + MACS, (f->tagged ? VD_ETH_LEN : VIRTQ_HEAD) - MACS);
}

/* --- to one port ------------------------------------------------------------- */

/* Nearly always: a plain packet in one piece, whose tag stays as it is. */
static inline bool is_simple(const struct dp_port *d, const struct virtq_pkt *p, const struct dp_fwd *f)
{
	return vnet_asks_nothing(&p->hdr) && p->npieces == 1 && p->len >= VIRTQ_HEAD && likely(!f->pin) &&
	       (likely(!f->vlan) || !tag_change(f, policy_tagged(&d->port->policy, f->vlan)));
}

/*
 * Enters packet @p, which is not simple, as number @k of the run for @vq. Return: false when it cannot go as it is: it has
 * to be made plain, and whether that can be is found out when its turn has come.
 */
static __attribute__((noinline)) bool enter(struct datapath *dp, const struct dp_port *d, const struct virtq *vq,
					    const struct virtq_pkt *p, const struct dp_fwd *f, unsigned k,
					    unsigned *pieces)
{
	int change = tag_change(f, policy_tagged(&d->port->policy, f->vlan));
	struct iovec *iov = &dp->out_piece[*pieces];
	struct virtio_net_hdr_v1 asks = p->hdr;
	uint32_t head_len = 0;

	if (!vnet_asks_nothing(&p->hdr)) {
		enum virtq_error e = segment_check(&dp->plan, p, vq->max_frame);

		asks.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		if (e || !vnet_receivable(vq->features, &asks))
			return false;
		head_len = dp->plan.head_len;
		if (!same_head(&dp->plan, f))	/* plain frames have nothing in them to contradict */
			return false;
		memcpy(dp->out_head[k], dp->plan.head, head_len);
	}
	describe(&dp->more[k], iov, dp->out_tag[k], p, f, dp->out_head[k], head_len, change);
	*pieces += dp->more[k].npieces;
	dp->src[k] = (struct virtq_src){ .len = (uint32_t)((int)p->len + change), .more = &dp->more[k] };
	return true;
}

/* One plain frame in memory of our own. Return: it was taken, or dropped for good. */
static bool put_frame(struct datapath *dp, struct dp_port *d, struct virtq *vq, const struct dp_fwd *f, uint8_t *frame,
		      uint32_t len)
{
	struct iovec piece = { frame, len };
	const struct virtq_pkt plain = { .chain = UINT16_MAX, .npieces = 1, .len = len, .piece = &piece };
	unsigned pieces = 0;

	enter(dp, d, vq, &plain, f, 0, &pieces);
	return virtq_rx_put(vq, dp->src, 1);
}

/* What the guest left to its device is done here. Return: false when not even its first frame found a buffer. */
static bool put_plain(struct datapath *dp, struct dp_port *d, struct virtq *vq, const struct virtq_pkt *p,
		      const struct dp_fwd *f)
{
	enum virtq_error e = segment_plan(&dp->plan, p, vq->max_frame);
	struct iovec to = { dp->out_frame, sizeof(dp->out_frame) };

	if (e || dp->plan.frame_len > sizeof(dp->out_frame) || dp->plan.nframes > MAX_PLAIN) {
		reject(dp, d, p, e ? e : VIRTQ_DROP_LONG);
		return true;
	}
	dp->spent += (int64_t)dp->plan.nframes * DP_FRAME_CHARGE;
	for (uint32_t i = 0; i < dp->plan.nframes; i++) {
		uint32_t len = segment_len(&dp->plan, i);

		segment_write(&dp->plan, p, i, &to, 1);
		if (put_frame(dp, d, vq, f, dp->out_frame, len))
			continue;
		if (!i)
			return false;
		d->drop_hold += dp->plan.nframes - i;	/* the rest of it: what was delivered is not taken back */
		break;
	}
	d->count[DP_FROM_PORTS] += dp->plan.nframes - 1;	/* it gets them one by one */
	return true;
}

/* Counts @n packets, from number @i on, that the guest has, or that are in its counters of drops. */
static void charge_limit(struct dp_port *d, const struct local_batch *b, unsigned i, unsigned n, uint64_t now_ns)
{
	if (likely(!d->port->policy.rx_limited))
		return;
	for (n += i; i < n; i++)
		forward_charge(d->port->rx_limit, &b->pkt[b->index[i]], now_ns);
}

/* All of @b for a ring whose lock is held and that is usable. Return: packets done with. */
static unsigned deliver_runs(struct datapath *dp, struct dp_port *d, struct virtq *vq, const struct local_batch *b,
			     uint64_t now_ns)
{
	const bool has_limit = d->port->policy.rx_limited;
	struct vd_limit limit;	/* what it will be: packets may have to wait after all, and are counted when they do not */
	unsigned i = 0;

	while (i < b->n) {
		unsigned pieces = 0, m = 0, got;
		bool limited = false, fits = true;

		if (unlikely(has_limit))
			limit = *d->port->rx_limit;
		for (; i + m < b->n; m++) {
			const struct virtq_pkt *p = &b->pkt[b->index[i + m]];
			const struct dp_fwd *f = &b->fwd[b->index[i + m]];

			if (unlikely(has_limit)) {
				limited = vd_limit_exceeded(&limit, now_ns);
				if (limited)
					break;
				forward_charge(&limit, p, now_ns);
			}
			if (likely(is_simple(d, p, f))) {
				dp->src[m] = (struct virtq_src){ p->piece->iov_base, p->len, NULL, f->head };
				continue;
			}
			fits = enter(dp, d, vq, p, f, m, &pieces);
			if (unlikely(!fits))
				break;
		}
		got = m ? virtq_rx_put(vq, dp->src, m) : 0;
		charge_limit(d, b, i, got, now_ns);
		i += got;
		if (unlikely(got < m))
			break;
		if (unlikely(limited)) {
			d->count[DP_DROP_RATE]++;
			i++;
		} else if (unlikely(!fits)) {
			if (!put_plain(dp, d, vq, &b->pkt[b->index[i]], &b->fwd[b->index[i]]))
				break;
			charge_limit(d, b, i, 1, now_ns);
			i++;
		}
	}
	return i;
}

unsigned local_deliver(struct datapath *dp, uint16_t dest, const struct local_batch *b, uint64_t now_ns)
{
	struct dp_port *d = dp->port[dp_dest_port(dest)];
	struct virtq *vq = port_rxq(d->port, dp_dest_pair(dest) % d->port->pairs);
	const uint32_t rejected = dp->rejected;
	unsigned done;

	if (unlikely(!virtq_usable(vq)))
		goto unusable;
	if (unlikely(!lock_briefly(vq))) {
		dp->contended = true;
		return 0;
	}
	if (unlikely(!virtq_usable(vq))) {
		spin_unlock(&vq->lock);
		goto unusable;
	}
	if (unlikely(vq->notify_armed))
		virtq_disarm(vq);
	done = deliver_runs(dp, d, vq, b, now_ns);
	if (virtq_publish(vq))
		virtq_call(vq);
	spin_unlock(&vq->lock);
	d->count[DP_FROM_PORTS] += done - (dp->rejected - rejected);
	return done;
unusable:
	d->drop_ring += b->n;
	d->count[DP_FROM_PORTS] += b->n;
	return b->n;
}

void local_drop(struct datapath *dp, uint16_t dest, unsigned n)
{
	struct dp_port *d = dp->port[dp_dest_port(dest)];

	d->drop_hold += n;
	d->count[DP_FROM_PORTS] += n;
}

/* --- to all, and to the host --------------------------------------------------- */

unsigned local_to_all(struct datapath *dp, const struct virtq_pkt *pkt, const struct dp_fwd *f, uint32_t from, bool wire,
		      uint64_t now_ns)
{
	static const uint8_t first;
	const struct local_batch one = { pkt, f, &first, 1 };
	unsigned ports = 0;

	for (uint32_t i = 0; i < dp->nport; i++) {
		struct dp_port *d = dp->port[i];
		uint64_t before, offered;
		uint32_t pair;

		if (!d || i == from || !READ_ONCE(d->port->map.enabled) || !policy_member(&d->port->policy, f->vlan) ||
		    forward_hides_vlan(&d->port->policy, f) ||
		    (d->port->policy.isolated && !wire))
			continue;
		dp->spent += DP_FRAME_CHARGE;	/* it takes its time, whether or not the port has room */
		pair = READ_ONCE(d->port->map.route[0]) % d->port->pairs;
		before = d->count[DP_DROP_RATE];
		offered = d->count[DP_FROM_PORTS];
		if (!virtq_usable(port_rxq(d->port, pair)) || !local_deliver(dp, dp_dest(i, pair), &one, now_ns))
			d->drop_mcast++;
		else
			ports += before == d->count[DP_DROP_RATE];
		if (wire)
			d->count[DP_FROM_PORTS] = offered;
	}
	return ports;
}

unsigned local_from_wire(struct datapath *dp, const uint8_t *frame, uint32_t len, uint64_t now_ns)
{
	struct iovec piece = { (void *)frame, len };
	const struct virtq_pkt pkt = { .chain = UINT16_MAX, .npieces = 1, .len = len, .piece = &piece };
	struct dp_fwd f;

	learn_wire_note(dp->wire, mac_load(frame + MAC_LEN), now_ns);
	return forward_peek(&pkt, &f) ? local_to_all(dp, &pkt, &f, VD_PORT_NONE, true, now_ns) : 0;
}

bool local_to_host(struct datapath *dp, struct dp_port *from, const struct virtq_pkt *pkt, const struct dp_fwd *f)
{
	struct iovec *iov = dp->out_piece;
	struct virtq_more more;
	uint32_t head_len = 0;
	enum virtq_error e;
	ssize_t n;

	if (!vnet_asks_nothing(&pkt->hdr)) {
		e = segment_check(&dp->plan, pkt, UINT32_MAX);
		if (e) {
			reject(dp, from, pkt, e);
			return false;
		}
		head_len = dp->plan.head_len;
		if (!same_head(&dp->plan, f)) {
			reject(dp, from, pkt, VIRTQ_DROP_OFFLOAD);
			return false;
		}
	}
	describe(&more, iov + 1, dp->out_tag[0], pkt, f, dp->plan.head, head_len, tag_change(f, true));
	iov[0] = (struct iovec){ &more.hdr, sizeof(more.hdr) };
	/* The kernel takes so many pieces at most; no driver makes such a packet. */
	n = more.npieces < 1024 ? writev(dp->host_fd, iov, (int)more.npieces + 1) : -1;
	if (n < 0)
		from->count[DP_DROP_HOST]++;
	return true;
}
