/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sums are those of csum.h: of 16-bit words as they are in memory. What two
 * frames of a packet have in common is summed once, by segment_plan(); the
 * rest is a few additions and the payload. The pseudo header's sum is taken
 * from where the guest left it (virtio 1.3, 5.1.6.2: it is in the checksum
 * field), so a routing header, whose last stop counts, needs no thought.
 */
#include <arpa/inet.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "base/atomics.h"
#include "ring/copy.h"
#include "ring/csum.h"
#include "ring/headers.h"
#include "ring/segment.h"
#include "ring/vnet.h"

/* Copies @len bytes of the packet, from @at on. Bytes that no piece has, which cannot be, are zero. */
static void read_packet(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t at, uint8_t *to, uint32_t len)
{
	if (at < s->piece_at)
		s->piece = s->piece_at = 0;
	while (len && s->piece < pkt->npieces) {
		const struct iovec *iov = &pkt->piece[s->piece];
		uint32_t skip = at - s->piece_at, part;

		if (skip >= iov->iov_len) {
			s->piece_at += (uint32_t)iov->iov_len;
			s->piece++;
			continue;
		}
		part = iov->iov_len - skip < len ? (uint32_t)(iov->iov_len - skip) : len;
		copy_bytes(to, (const uint8_t *)iov->iov_base + skip, part);
		at += part;
		to += part;
		len -= part;
	}
	if (unlikely(len))
		memset(to, 0, len);
}

/* --- where frames go ------------------------------------------------------ */

struct dest {
	const struct iovec *to;
	unsigned n;
};

/* The piece with byte @at of the frame. Return: how many bytes are there, at most @len; 0 when there is no room. */
static uint32_t dest_at(struct dest d, uint32_t at, uint32_t len, uint8_t **p)
{
	for (; d.n; d.n--, d.to++) {
		size_t room = d.to->iov_len;

		if (at < room) {
			*p = (uint8_t *)d.to->iov_base + at;
			return room - at < len ? (uint32_t)(room - at) : len;
		}
		at -= (uint32_t)room;
	}
	return 0;
}

static void dest_put(struct dest d, uint32_t at, const void *data, uint32_t len)
{
	const uint8_t *from = data;
	uint32_t part;
	uint8_t *p;

	for (; len && (part = dest_at(d, at, len, &p)); at += part, from += part, len -= part)
		memcpy(p, from, part);
}

static void dest_payload(struct dest d, uint32_t at, struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t from,
			 uint32_t len)
{
	uint32_t part;
	uint8_t *p;

	for (; len && (part = dest_at(d, at, len, &p)); at += part, from += part, len -= part)
		read_packet(s, pkt, from, p, part);
}

/* Adds @len bytes of the frame from @at on to a sum of an even number of bytes. */
static uint64_t dest_sum(struct dest d, uint32_t at, uint32_t len, uint64_t sum)
{
	uint32_t part, done;
	uint8_t *p;

	for (done = 0; done < len && (part = dest_at(d, at + done, len - done, &p)); done += part)
		sum = csum_add_at(sum, done, p, part);
	return sum;
}

/* --- the plan ------------------------------------------------------------- */

/* A packet that leaves as it came, but for its checksum. */
static enum virtq_error plan_whole(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t max_frame)
{
	uint16_t start = pkt->hdr.csum_start, offset = pkt->hdr.csum_offset;

	s->nframes = 1;
	s->frame_len = s->len;
	s->head_len = s->mss = 0;
	if (s->len > max_frame)
		return VIRTQ_DROP_LONG;
	if (!(pkt->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return VIRTQ_OK;
	if (start < SEGMENT_MIN_START || (uint32_t)start + offset + 2 > s->len)
		return VIRTQ_DROP_OFFLOAD;
	s->csum_start = start;
	s->csum_offset = offset;
	return VIRTQ_OK;
}

/*
 * Is it what its header says? s->head holds @have bytes, which reach a full TCP header beyond csum_start where
 * the packet does.
 */
static bool check_headers(struct segment_plan *s, const struct virtq_pkt *pkt, struct headers *h, uint32_t have)
{
	uint8_t type = pkt->hdr.gso_type;
	uint32_t l4_len = HEADERS_UDP;

	if (!headers_parse(h, s->head, have) || h->fragment || h->end != s->len || h->l4 != pkt->hdr.csum_start)
		return false;
	s->udp = (type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_UDP_L4;
	s->v6 = h->version == 6;
	if (have < h->l4 + (s->udp ? HEADERS_UDP : HEADERS_TCP))
		return false;
	if (s->udp) {
		if (type & VIRTIO_NET_HDR_GSO_ECN || h->proto != HEADERS_PROTO_UDP ||
		    pkt->hdr.csum_offset != UDP_CHECK || load_be16(s->head + h->l4 + UDP_LEN) != s->len - h->l4)
			return false;
	} else {
		if (h->proto != HEADERS_PROTO_TCP || pkt->hdr.csum_offset != TCP_CHECK ||
		    s->v6 != ((type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV6))
			return false;
		l4_len = (s->head[h->l4 + TCP_DOFF] >> 4) * 4u;
		if (l4_len < HEADERS_TCP)
			return false;
	}
	s->plain = headers_plain(h);
	s->l3 = h->l3;
	s->l4 = h->l4;
	s->head_len = h->l4 + l4_len;
	return have >= s->head_len;
}

/* Sums what all frames have in common. The fields that differ are taken out of s->head, and left zero there. */
static void sum_headers(struct segment_plan *s)
{
	uint8_t *ip = s->head + s->l3, *l4 = s->head + s->l4;
	uint16_t len = htons((uint16_t)(s->len - s->l4));

	s->pseudo_sum = (uint64_t)load_raw16(l4 + s->csum_offset) + (uint16_t)~len;
	store_raw16(l4 + s->csum_offset, 0);
	if (s->udp) {
		store_raw16(l4 + UDP_LEN, 0);
	} else {
		s->seq = load_be32(l4 + TCP_SEQ);
		s->flags = l4[TCP_FLAGS];
		memset(l4 + TCP_SEQ, 0, 4);
		l4[TCP_FLAGS] = 0;
	}
	s->l4_sum = csum_add(s->pseudo_sum, l4, s->head_len - s->l4);
	if (s->v6)
		return;
	s->id = load_be16(ip + IP4_ID);
	store_raw16(ip + IP4_LEN, 0);
	store_raw16(ip + IP4_ID, 0);
	store_raw16(ip + IP4_CHECK, 0);
	s->ip_sum = csum_add(0, ip, (ip[0] & 15u) * 4);
}

/* Reads the headers of a packet to be cut, into s->head, and sees whether they are what the packet says. */
static enum virtq_error read_gso(struct segment_plan *s, const struct virtq_pkt *pkt, struct headers *h)
{
	uint32_t have = pkt->hdr.csum_start + 15u * 4;

	if (!(pkt->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !pkt->hdr.gso_size)
		return VIRTQ_DROP_OFFLOAD;
	have = have < s->len ? have : s->len;
	have = have < sizeof(s->head) ? have : sizeof(s->head);
	read_packet(s, pkt, 0, s->head, have);
	return check_headers(s, pkt, h, have) ? VIRTQ_OK : VIRTQ_DROP_OFFLOAD;
}

static enum virtq_error plan_gso(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t max_frame)
{
	struct headers h;
	enum virtq_error e = read_gso(s, pkt, &h);
	uint32_t payload;

	if (e)
		return e;
	payload = s->len - s->head_len;
	s->mss = pkt->hdr.gso_size;
	if (!s->udp) {
		/* The tag's room is the tag's only: behind a frame without one there may be a host that looks. */
		uint32_t room = h.tags ? max_frame : max_frame - HEADERS_TAG;

		if (max_frame < HEADERS_TAG || room <= s->head_len)
			return VIRTQ_DROP_LONG;
		s->mss = s->mss < room - s->head_len ? s->mss : room - s->head_len;
	}
	if (payload <= s->mss)
		return plan_whole(s, pkt, max_frame);
	s->frame_len = s->head_len + s->mss;
	if (s->frame_len > max_frame)
		return VIRTQ_DROP_LONG;
	s->nframes = (payload + s->mss - 1) / s->mss;
	s->csum_start = pkt->hdr.csum_start;
	s->csum_offset = pkt->hdr.csum_offset;
	sum_headers(s);
	return VIRTQ_OK;
}

static void begin(struct segment_plan *s, const struct virtq_pkt *pkt)
{
	s->leave_checksum = false;
	s->csum_start = s->csum_offset = 0;
	s->piece = s->piece_at = 0;
	s->len = pkt->len;
}

enum virtq_error segment_check(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t max_frame)
{
	struct headers h;
	enum virtq_error e;

	begin(s, pkt);
	if (pkt->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return plan_whole(s, pkt, UINT32_MAX);
	e = read_gso(s, pkt, &h);
	if (!e && s->head_len + (uint32_t)pkt->hdr.gso_size > max_frame)
		return VIRTQ_DROP_LONG;
	return e;
}

enum virtq_error segment_plan(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t max_frame)
{
	begin(s, pkt);
	if (s->len < HEADERS_ETH)
		return VIRTQ_DROP_SHORT;
	switch (pkt->hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return pkt->hdr.gso_type ? VIRTQ_DROP_OFFLOAD : plan_whole(s, pkt, max_frame);
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return plan_gso(s, pkt, max_frame);
	}
	return VIRTQ_DROP_OFFLOAD;
}

bool segment_is_for_device(struct segment_plan *s, const struct virtq_pkt *pkt)
{
	uint32_t have = s->len < sizeof(s->head) ? s->len : sizeof(s->head);
	struct headers h;

	if (!s->csum_start)
		return false;
	if (s->nframes > 1)	/* what is cut was parsed already */
		return s->plain;
	read_packet(s, pkt, 0, s->head, have);
	return headers_parse(&h, s->head, have) && headers_plain(&h) && h.end == s->len && h.l4 == s->csum_start &&
	       s->csum_offset == (h.proto == HEADERS_PROTO_TCP ? TCP_CHECK : UDP_CHECK);
}

/* --- the frames ----------------------------------------------------------- */

static void write_whole(struct segment_plan *s, const struct virtq_pkt *pkt, struct dest d)
{
	uint16_t sum;

	dest_payload(d, 0, s, pkt, 0, s->len);
	if (!s->csum_start || s->leave_checksum)
		return;
	/* The field itself is in the sum: it holds the pseudo header's. */
	sum = (uint16_t)~csum_fold(dest_sum(d, s->csum_start, s->len - s->csum_start, 0));
	sum = sum ? sum : 0xffff;
	dest_put(d, (uint32_t)s->csum_start + s->csum_offset, &sum, sizeof(sum));
}

/* Makes s->head that of frame @i. Return: sum of pseudo header and TCP or UDP header. */
static uint64_t write_head(struct segment_plan *s, uint32_t i, uint32_t payload)
{
	uint8_t *ip = s->head + s->l3, *l4 = s->head + s->l4;
	uint16_t l4_len = (uint16_t)(s->head_len - s->l4 + payload);
	uint64_t sum = s->l4_sum;

	if (s->v6) {
		store_be16(ip + IP6_LEN, (uint16_t)(s->l4 - s->l3 - HEADERS_IP6 + l4_len));
	} else {
		store_be16(ip + IP4_LEN, (uint16_t)(s->l4 - s->l3 + l4_len));
		store_be16(ip + IP4_ID, (uint16_t)(s->id + i));
		store_raw16(ip + IP4_CHECK,
			    (uint16_t)~csum_fold(s->ip_sum + load_raw16(ip + IP4_LEN) + load_raw16(ip + IP4_ID)));
	}
	if (s->udp) {
		store_be16(l4 + UDP_LEN, l4_len);
		/* Once in the datagram's header, once in the pseudo header. */
		sum += 2u * load_raw16(l4 + UDP_LEN);
	} else {
		uint8_t flags = s->flags;

		if (i)
			flags &= (uint8_t)~TCP_CWR;
		if (i + 1 < s->nframes)
			flags &= (uint8_t)~(TCP_FIN | TCP_PSH);
		store_be32(l4 + TCP_SEQ, s->seq + i * s->mss);
		l4[TCP_FLAGS] = flags;
		sum += (uint64_t)load_raw16(l4 + TCP_SEQ) + load_raw16(l4 + TCP_SEQ + 2) + htons(l4_len);
		/* The data offset next to the flags is in the common sum already. */
		sum += htons(flags);
	}
	return sum;
}

/* What stands in the checksum field when the device is to finish it. */
static uint16_t pseudo_field(const struct segment_plan *s, uint32_t payload)
{
	return csum_fold(s->pseudo_sum + htons((uint16_t)(s->head_len - s->l4 + payload)));
}

void segment_write(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t i, const struct iovec *to,
		   unsigned nto)
{
	struct dest d = { to, nto };
	uint32_t payload;
	uint64_t sum;
	uint16_t field;

	if (s->nframes == 1) {
		write_whole(s, pkt, d);
		return;
	}
	payload = segment_len(s, i) - s->head_len;
	sum = write_head(s, i, payload);
	dest_payload(d, s->head_len, s, pkt, s->head_len + i * s->mss, payload);
	if (s->leave_checksum) {
		field = pseudo_field(s, payload);
	} else {
		field = (uint16_t)~csum_fold(dest_sum(d, s->head_len, payload, sum));
		if (s->udp && !field)
			field = 0xffff;
	}
	store_raw16(s->head + s->l4 + s->csum_offset, field);
	dest_put(d, 0, s->head, s->head_len);
}
