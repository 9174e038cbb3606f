/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One pass over the batch. A frame is parsed, its flow is looked for among the
 * few packets that are open, and it is joined or begins a packet of its own.
 * Packets come out in the order of their first frames, so an order within a
 * flow can only be lost by joining to a packet that is not the flow's newest:
 * whatever of a flow is not joined closes the flow's open packet, and whatever
 * belongs to no flow closes all of them.
 *
 * Checksums cost a look at every byte, so they are verified last, when a frame
 * has found its partner; the first frame's then, too.
 */
#include <arpa/inet.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "base/atomics.h"
#include "ring/coalesce.h"
#include "ring/csum.h"
#include "ring/headers.h"

_Static_assert(VIRTQ_BATCH <= 64, "a UDP packet has at most 64 datagrams, a batch no more frames");

enum kind {
	BARRIER,	/* belongs to no flow that we know: nothing passes it */
	PASS,		/* of a kind that is never joined for this guest */
	ALONE,		/* of a flow, and cannot be joined */
	JOINABLE,
};

static bool wanted(uint64_t features, bool v6, bool udp)
{
	unsigned bit = udp ? v6 ? VIRTIO_NET_F_GUEST_USO6 : VIRTIO_NET_F_GUEST_USO4 :
			     v6 ? VIRTIO_NET_F_GUEST_TSO6 : VIRTIO_NET_F_GUEST_TSO4;

	return features & VNET_BIT(bit);
}

/* --- one frame ------------------------------------------------------------ */

static const uint8_t *addresses(const uint8_t *p, uint16_t l3, bool v6, uint32_t *len)
{
	*len = v6 ? 32 : 8;
	return p + l3 + (v6 ? IP6_SADDR : IP4_SADDR);
}

/* Tells flows apart quickly; equal hashes are compared in full. */
static uint32_t flow_hash(const struct coalesce_part *f)
{
	uint32_t len, ports, word;
	const uint8_t *a = addresses(f->p, f->l3, f->v6, &len);

	memcpy(&ports, f->p + f->l4, 4);
	for (uint32_t i = 0; i < len; i += 4) {
		memcpy(&word, a + i, 4);
		ports = (ports ^ word) * 0x9e3779b1u;
	}
	return ports ^ ((uint32_t)f->v6 << 1 | f->udp);
}

/* What TCP's own header says about joining. */
static enum kind look_tcp(struct coalesce_part *f, const uint8_t *tcp, uint64_t features)
{
	const uint8_t never = TCP_FIN | TCP_SYN | TCP_RST | TCP_URG;

	f->flags = tcp[TCP_FLAGS];
	if (tcp[TCP_DOFF] & 15 || f->flags & never || !(f->flags & TCP_ACK))
		return ALONE;
	return f->flags & TCP_CWR && !(features & VNET_BIT(VIRTIO_NET_F_GUEST_ECN)) ? ALONE : JOINABLE;
}

static enum kind look(struct coalesce_part *f, const struct coalesce_in *in, uint64_t features)
{
	struct headers h;
	uint32_t room, l4_len = HEADERS_UDP;
	const uint8_t *l4;
	enum kind kind;

	if (!in->npieces)
		return BARRIER;
	f->p = in->piece[0].iov_base;
	room = in->piece[0].iov_len < in->len ? (uint32_t)in->piece[0].iov_len : in->len;
	if (!headers_parse(&h, f->p, room) || !headers_plain(&h))
		return BARRIER;
	f->v6 = h.version == 6;
	f->udp = h.proto == HEADERS_PROTO_UDP;
	if (room < h.l4 + (f->udp ? HEADERS_UDP : HEADERS_TCP))
		return BARRIER;
	if (!wanted(features, f->v6, f->udp))
		return PASS;
	f->l3 = h.l3;
	f->l4 = h.l4;
	f->hash = flow_hash(f);
	l4 = f->p + h.l4;
	if (f->udp) {
		f->flags = 0;
		kind = load_raw16(l4 + UDP_CHECK) && load_be16(l4 + UDP_LEN) == in->len - h.l4 ? JOINABLE : ALONE;
	} else {
		l4_len = (l4[TCP_DOFF] >> 4) * 4u;
		kind = l4_len < HEADERS_TCP ? ALONE : look_tcp(f, l4, features);
	}
	f->head_len = (uint16_t)(h.l4 + l4_len);
	/* Padding, of which there is some behind short packets, would become payload. */
	if (h.end != in->len || f->head_len > room || f->head_len >= in->len)
		return ALONE;
	f->payload = (uint16_t)(in->len - f->head_len);
	return kind;
}

/*
 * Are the checksums what segment_write() would put there? There are two zeroes, and a frame with the unusual
 * one would not come back as it was.
 */
static bool sums_are_right(const struct coalesce_part *f, const struct coalesce_in *in)
{
	uint32_t l4_len = in->len - f->l4, done, alen, skip = f->l4;
	const uint8_t *a = addresses(f->p, f->l3, f->v6, &alen), *check;
	uint64_t sum;
	uint16_t want;

	if (!f->v6) {
		check = f->p + f->l3 + IP4_CHECK;
		sum = csum_add(0, f->p + f->l3, HEADERS_IP4) + (uint16_t)~load_raw16(check);
		want = (uint16_t)~csum_fold(sum);
		if (want != load_raw16(check))
			return false;
	}
	sum = csum_add(htons(f->udp ? HEADERS_PROTO_UDP : HEADERS_PROTO_TCP) + htons((uint16_t)l4_len), a, alen);
	for (uint32_t i = done = 0; i < in->npieces && done < l4_len; i++, skip = 0) {
		const struct iovec *v = &in->piece[i];

		sum = csum_add_at(sum, done, (const uint8_t *)v->iov_base + skip, (uint32_t)v->iov_len - skip);
		done += (uint32_t)v->iov_len - skip;
	}
	check = f->p + f->l4 + (f->udp ? UDP_CHECK : TCP_CHECK);
	want = (uint16_t)~csum_fold(sum + (uint16_t)~load_raw16(check));
	if (f->udp && !want)
		want = 0xffff;
	return done == l4_len && want == load_raw16(check);
}

/* A frame may come again and again while its guest has no buffers; it is summed once. */
static bool verify(const struct coalesce_part *f, struct coalesce_in *in)
{
	if (in->sums == COALESCE_UNKNOWN)
		in->sums = sums_are_right(f, in) ? COALESCE_RIGHT : COALESCE_WRONG;
	return in->sums == COALESCE_RIGHT;
}

/* --- packets that are open ------------------------------------------------ */

static unsigned new_packet(struct coalesce *c, unsigned i)
{
	c->first[c->n] = (uint8_t)i;
	c->frames[c->n] = 1;
	return c->n++;
}

/* The header of a joined packet: that of a packet which was never cut. */
static void write_header(struct coalesce *c, const struct coalesce_open *o)
{
	const struct coalesce_part *f = &o->part;
	uint16_t l4_len = (uint16_t)(f->head_len - f->l4 + o->payload);
	uint8_t *head = c->head[o->packet], *ip = head + f->l3, *l4 = head + f->l4;
	uint32_t alen, pseudo;
	const uint8_t *a = addresses(head, f->l3, f->v6, &alen);
	struct virtio_net_hdr_v1 *h = &c->more[o->packet].hdr;

	memcpy(head, f->p, f->head_len);
	if (f->v6) {
		store_be16(ip + IP6_LEN, l4_len);
	} else {
		store_be16(ip + IP4_LEN, (uint16_t)(HEADERS_IP4 + l4_len));
		store_raw16(ip + IP4_CHECK, 0);
		store_raw16(ip + IP4_CHECK, (uint16_t)~csum_fold(csum_add(0, ip, HEADERS_IP4)));
	}
	*h = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.hdr_len = f->head_len,
		.gso_size = f->payload,
		.csum_start = f->l4,
		.csum_offset = f->udp ? UDP_CHECK : TCP_CHECK,
	};
	if (f->udp) {
		h->gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		store_be16(l4 + UDP_LEN, l4_len);
	} else {
		h->gso_type = f->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		if (o->flags & TCP_CWR)
			h->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		l4[TCP_FLAGS] = o->flags;
	}
	pseudo = htons(f->udp ? HEADERS_PROTO_UDP : HEADERS_PROTO_TCP) + htons(l4_len);
	store_raw16(l4 + h->csum_offset, csum_fold(csum_add(pseudo, a, alen)));
	c->head_len[o->packet] = f->head_len;
	c->src[o->packet].len = f->head_len + o->payload;
}

static void close_packet(struct coalesce *c, struct coalesce_open *o)
{
	c->frames[o->packet] = o->frames;
	if (o->frames > 1)
		write_header(c, o);
	c->nopen--;
	memmove(o, o + 1, (size_t)(c->open + c->nopen - o) * sizeof(*o));
}

static void close_all(struct coalesce *c)
{
	while (c->nopen)
		close_packet(c, &c->open[c->nopen - 1]);
}

static void open_packet(struct coalesce *c, const struct coalesce_part *f, unsigned packet, uint32_t when)
{
	struct coalesce_open *o;

	if (c->nopen == COALESCE_OPEN)
		close_packet(c, &c->open[0]);
	o = &c->open[c->nopen++];
	*o = (struct coalesce_open){
		.part = *f,
		.packet = (uint8_t)packet,
		.frames = 1,
		.last = c->first[packet],
		.flags = f->flags,
		.payload = f->payload,
		.when = when,
	};
	if (!f->v6)
		o->next_id = (uint16_t)(load_be16(f->p + f->l3 + IP4_ID) + 1);
	if (!f->udp)
		o->next_seq = load_be32(f->p + f->l4 + TCP_SEQ) + f->payload;
}

static struct coalesce_open *find(struct coalesce *c, const struct coalesce_part *f)
{
	uint32_t len;
	const uint8_t *a = addresses(f->p, f->l3, f->v6, &len);

	for (unsigned i = 0; i < c->nopen; i++) {
		const struct coalesce_part *g = &c->open[i].part;

		if (g->hash == f->hash && g->v6 == f->v6 && g->udp == f->udp &&
		    !memcmp(g->p + g->l4, f->p + f->l4, 4) && !memcmp(addresses(g->p, g->l3, g->v6, &len), a, len))
			return &c->open[i];
	}
	return NULL;
}

/* --- joining -------------------------------------------------------------- */

static bool follows_ip(const struct coalesce_open *o, const struct coalesce_part *f)
{
	const uint8_t *a = o->part.p + o->part.l3, *b = f->p + f->l3;
	uint16_t id;

	if (f->v6)
		return !memcmp(a, b, IP6_LEN) && a[IP6_HOPS] == b[IP6_HOPS];
	if (a[IP4_TOS] != b[IP4_TOS] || a[IP4_TTL] != b[IP4_TTL] ||
	    load_raw16(a + IP4_FRAG) != load_raw16(b + IP4_FRAG))
		return false;
	id = load_be16(b + IP4_ID);
	if (o->same_id)
		return id == load_be16(a + IP4_ID);
	return id == o->next_id ||
	       (o->frames == 1 && load_be16(a + IP4_FRAG) & IP4_DF && id == load_be16(a + IP4_ID));
}

static bool follows_tcp(const struct coalesce_open *o, const struct coalesce_part *f)
{
	const uint8_t *a = o->part.p + o->part.l4, *b = f->p + f->l4;

	return load_be32(b + TCP_SEQ) == o->next_seq && (f->flags & ~TCP_PSH) == (o->flags & ~TCP_CWR) &&
	       !memcmp(a + TCP_ACK_SEQ, b + TCP_ACK_SEQ, 5) && !memcmp(a + TCP_WINDOW, b + TCP_WINDOW, 2) &&
	       !memcmp(a + TCP_URGENT, b + TCP_URGENT, f->head_len - f->l4 - TCP_URGENT);
}

/* Is frame @i what segment_write() would make of the packet's next part? All but checksums. */
static bool follows(const struct coalesce *c, const struct coalesce_open *o, const struct coalesce_part *f,
		    const struct coalesce_in *in, unsigned i)
{
	const struct coalesce_part *g = &o->part;
	unsigned pieces = c->npieces + in[i].npieces + (o->frames == 1 ? 1 + in[o->last].npieces : 0);

	return g->l3 == f->l3 && g->head_len == f->head_len && f->payload <= g->payload &&
	       g->head_len - g->l3 + o->payload + f->payload <= UINT16_MAX && pieces <= COALESCE_PIECES &&
	       in[i].when - o->when + COALESCE_IDLE <= 2 * COALESCE_IDLE && !memcmp(g->p, f->p, f->l3) &&
	       follows_ip(o, f) && (f->udp || follows_tcp(o, f));
}

static void join(struct coalesce *c, struct coalesce_open *o, const struct coalesce_part *f,
		 const struct coalesce_in *in, unsigned i)
{
	if (o->frames == 1) {
		c->npieces += 1 + in[o->last].npieces;
		o->same_id = !f->v6 && load_be16(f->p + f->l3 + IP4_ID) != o->next_id;
	}
	c->npieces += in[i].npieces;
	c->next[o->last] = (uint8_t)i;
	o->last = (uint8_t)i;
	o->frames++;
	o->payload += f->payload;
	o->next_seq += f->payload;
	o->next_id++;
	o->when = in[i].when;
	o->flags |= f->flags & TCP_PSH;
	if (f->payload < o->part.payload || f->flags & TCP_PSH)
		close_packet(c, o);
}

/* Finds the place of a frame of a flow. */
static void place(struct coalesce *c, const struct coalesce_part *f, struct coalesce_in *in, unsigned i, bool joinable)
{
	struct coalesce_open *o = find(c, f);
	unsigned packet;

	if (o && joinable && follows(c, o, f, in, i) && verify(&o->part, &in[c->first[o->packet]])) {
		joinable = verify(f, &in[i]);
		if (joinable) {
			join(c, o, f, in, i);
			return;
		}
	}
	if (o)
		close_packet(c, o);
	packet = new_packet(c, i);
	/* PSH ends a packet, so this one is complete. */
	if (joinable && !(f->flags & TCP_PSH))
		open_packet(c, f, packet, in[i].when);
}

/* --- the result ----------------------------------------------------------- */

/* Adds a frame's pieces from byte @skip on; that lies in the first. Return: pieces added. */
static unsigned add_pieces(struct iovec *to, const struct coalesce_in *in, uint32_t skip)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < in->npieces; i++, skip = 0) {
		if (in->piece[i].iov_len > skip)
			to[n++] = (struct iovec){ (uint8_t *)in->piece[i].iov_base + skip,
						  in->piece[i].iov_len - skip };
	}
	return n;
}

static void lay_out(struct coalesce *c, const struct coalesce_in *in)
{
	unsigned order = 0, used = 0;

	for (unsigned p = 0; p < c->n; p++) {
		unsigned i = c->first[p], start = used;
		struct virtq_src *src = &c->src[p];

		if (c->frames[p] == 1) {
			c->order[order++] = (uint8_t)i;
			src->len = in[i].len;
			src->more = NULL;
			src->data = in[i].npieces ? in[i].piece[0].iov_base : NULL;
			if (in[i].npieces > 1) {
				c->more[p] = (struct virtq_more){ .piece = in[i].piece, .npieces = in[i].npieces };
				src->more = &c->more[p];
			}
			continue;
		}
		c->piece[used++] = (struct iovec){ c->head[p], c->head_len[p] };
		for (unsigned k = 0; k < c->frames[p]; k++, i = c->next[i]) {
			c->order[order++] = (uint8_t)i;
			used += add_pieces(&c->piece[used], &in[i], c->head_len[p]);
		}
		c->more[p].piece = &c->piece[start];
		c->more[p].npieces = used - start;
		c->more[p].frames = c->frames[p];
		src->data = NULL;
		src->more = &c->more[p];
	}
}

unsigned coalesce_batch(struct coalesce *c, uint64_t features, struct coalesce_in *in, unsigned n)
{
	struct coalesce_part f;

	c->n = c->nopen = c->npieces = 0;
	if (!coalesce_wanted(features))
		features = 0;
	for (unsigned i = 0; i < n; i++) {
		enum kind kind = n > 1 && features ? look(&f, &in[i], features) : PASS;

		if (kind == ALONE || kind == JOINABLE) {
			place(c, &f, in, i, kind == JOINABLE);
			continue;
		}
		if (kind == BARRIER)
			close_all(c);
		new_packet(c, i);
	}
	close_all(c);
	lay_out(c, in);
	return c->n;
}
