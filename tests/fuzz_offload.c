/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzz target: the input describes a packet with a virtio-net header, or a batch
 * of frames; bytes of it are then changed at will. What is accepted must be cut
 * into frames that add up, within buffers that have not a byte too many; what is
 * joined must keep its order, and be cut into the same frames again.
 */
#include <stdlib.h>
#include <string.h>

#include "offload.h"
#include "ring/coalesce.h"
#include "ring/segment.h"

#define PIECES 32
#define FLOWS 10

struct input {
	const uint8_t *p;
	size_t left;
};

struct frame {
	uint8_t *data;
	uint32_t len;
	unsigned npieces;
	struct iovec piece[PIECES];
};

static uint8_t scratch[OFFLOAD_MAX + 1024];
static struct segment_plan plan;
static struct coalesce c;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t v = 0;

	for (; bytes; bytes--) {
		v = v << 8 | (in->left ? *in->p : 0);
		in->p += in->left > 0;
		in->left -= in->left > 0;
	}
	return v;
}

/* Memory of its own, in pieces that the input chooses. */
static void make_frame(struct frame *f, struct input *in, const uint8_t *data, uint32_t len, bool whole_headers)
{
	uint32_t at = 0;

	f->data = malloc(len ? len : 1);
	f->len = len;
	f->npieces = 0;
	memcpy(f->data, data, len);
	while (at < len || !f->npieces) {
		uint8_t cut = (uint8_t)take(in, 1);
		uint32_t part = cut < 0x80 || f->npieces == PIECES - 1 ? len - at : (cut & 0x7f) * 5u;

		if (!at && whole_headers)
			part += 128;
		part = part < len - at ? part : len - at;
		f->piece[f->npieces++] = (struct iovec){ f->data + at, part };
		at += part;
	}
}

/* A good packet. */
static struct offload describe(struct input *in)
{
	uint8_t how = (uint8_t)take(in, 1), more = (uint8_t)take(in, 1);
	struct offload o = offload_tcp4(take(in, 2) % (how & 0x80 ? 65400 : 3000));

	o.v6 = how & 1;
	o.udp = how & 2;
	o.tags = (how >> 2) % 4;
	o.ip_options = how & 0x10 ? (more & 7) * 4 : 0;
	o.nnext = how & 0x20 ? more % 4 : 0;
	o.next_len = 24;
	o.next[0] = more & 0x10 ? O_HOP : O_DSTOPTS;
	o.next[1] = more & 0x20 ? O_ROUTING : O_DSTOPTS;
	o.next[2] = more & 0x40 ? O_FRAGMENT : O_DSTOPTS;
	o.tcp_options = (more >> 3) % 11 * 4;
	o.flags = how & 0x40 ? (uint8_t)(more ^ O_ACK) : O_ACK;
	o.frag = more & 0x80 ? 0x4000 : 0;
	return o;
}

/* Changes bytes, mostly of headers. */
static void spoil(struct input *in, uint8_t *p, uint32_t len)
{
	for (unsigned k = take(in, 1) & 7; k && len; k--) {
		uint32_t at = take(in, 1);

		p[(at == 255 ? take(in, 2) : at) % len] = (uint8_t)take(in, 1);
	}
}

/* --- cutting ---------------------------------------------------------------- */

/* Frame @i into buffers of exactly its length, and from there to @out. @even: bytes of each but the last. */
static void write_frame(const struct virtq_pkt *p, uint32_t i, uint32_t even, int fill, uint8_t *out)
{
	uint32_t len = segment_len(&plan, i), at = 0;
	struct iovec to[16];
	unsigned n = 0;

	while (at < len) {
		uint32_t part = even && n < 15 && even < len - at ? even : len - at;

		to[n] = (struct iovec){ malloc(part), part };
		memset(to[n++].iov_base, fill, part);
		at += part;
	}
	segment_write(&plan, p, i, to, n);
	for (unsigned k = 0; k < n; k++) {
		memcpy(out, to[k].iov_base, to[k].iov_len);
		out += to[k].iov_len;
		free(to[k].iov_base);
	}
}

/* Every byte is written, whatever was there, and the IPv4 header's checksum is right. */
static void check_frame(const struct virtq_pkt *p, uint32_t i, uint32_t even)
{
	static uint8_t got[2][OFFLOAD_MAX];
	const uint8_t *ip = got[0] + plan.l3;

	write_frame(p, i, even, 0, got[0]);
	write_frame(p, i, even, 0xff, got[1]);
	must(!memcmp(got[0], got[1], segment_len(&plan, i)));
	if (plan.nframes > 1 && !plan.v6)
		must(offload_sum(0, ip, (ip[0] & 15) * 4) == 0xffff);
}

static void cut(struct input *in)
{
	struct offload o = describe(in);
	uint32_t len = offload_build(scratch, &o, false), max_frame = take(in, 1) & 1 ? 1518 : take(in, 2), even, step;
	struct virtq_pkt p = { .hdr = offload_header(&o, take(in, 2)) };
	struct frame f;
	uint64_t total = 0;

	len = take(in, 1) & 1 ? len : take(in, 2) % (len + 32);
	spoil(in, scratch, len);
	for (unsigned k = take(in, 1) & 3; k; k--) {
		uint8_t at = (uint8_t)take(in, 1);

		((uint8_t *)&p.hdr)[at % sizeof(p.hdr)] = (uint8_t)take(in, 1);
	}
	make_frame(&f, in, scratch, len, false);
	p.npieces = (uint16_t)f.npieces;
	p.piece = f.piece;
	p.len = len;
	if (segment_plan(&plan, &p, max_frame) == VIRTQ_OK) {
		must(plan.nframes && plan.frame_len <= max_frame);
		must(!plan.csum_start || (uint32_t)plan.csum_start + plan.csum_offset + 2 <= len);
		plan.leave_checksum = take(in, 1) & 1;
		even = take(in, 1) * 2;
		step = plan.nframes / 20 + 1;
		for (uint32_t i = 0; i < plan.nframes; i++) {
			must(segment_len(&plan, i) >= 14 && segment_len(&plan, i) <= plan.frame_len);
			total += segment_len(&plan, i) - plan.head_len;
			if (i % step == 0 || i + 1 == plan.nframes)
				check_frame(&p, i, even);
		}
		must(total == len - plan.head_len);
	}
	free(f.data);
}

/* --- joining ---------------------------------------------------------------- */

static struct frame frame[VIRTQ_BATCH];
static struct coalesce_in batch[VIRTQ_BATCH];
static uint8_t flow_of[VIRTQ_BATCH];	/* 0: changed, so nobody knows */

static unsigned make_batch(struct input *in)
{
	struct offload flow[FLOWS] = { describe(in), describe(in), describe(in) };
	unsigned n = 0, changes, which;

	for (unsigned k = 0; k < FLOWS; k++) {
		flow[k] = flow[k % 3];
		flow[k].payload %= 2000;
		flow[k].host = (uint8_t)k;
	}
	for (; in->left && n < VIRTQ_BATCH; n++) {
		uint8_t op = (uint8_t)take(in, 1);
		struct offload *o, f;

		which = op & 128 ? take(in, 1) % FLOWS : op % 3;
		o = &flow[which];
		f = *o;
		if (op & 4)
			f.flags ^= (uint8_t)take(in, 1);
		if (op & 8)
			f.payload = take(in, 1);
		if (op & 16)
			f.id = (uint16_t)(f.id - take(in, 1));
		offload_build(scratch, &f, true);
		o->seq += f.payload;
		o->from += f.payload;
		o->id++;
		changes = in->left && op & 32 && *in->p & 7;
		if (op & 32)
			spoil(in, scratch, offload_len(&f));
		flow_of[n] = changes ? 0 : (uint8_t)(which + 1);
		if (op & 64)
			make_frame(&frame[n], in, scratch, offload_len(&f), take(in, 1) & 3);
		else
			make_frame(&frame[n], &(struct input){ 0 }, scratch, offload_len(&f), true);
		batch[n] = (struct coalesce_in){ .piece = frame[n].piece, .npieces = frame[n].npieces, .len = frame[n].len,
						.when = (op & 0x60) == 0x60 ? n : 0 };
	}
	return n;
}

/* Packet @p, of several frames, is cut again. */
static void cut_again(unsigned p, const uint8_t *order)
{
	const struct virtq_src *s = &c.src[p];
	struct virtq_pkt pkt = { .hdr = s->more->hdr, .npieces = (uint16_t)s->more->npieces, .len = s->len,
				 .piece = (struct iovec *)s->more->piece };
	struct iovec to = { scratch, sizeof(scratch) };

	must(segment_plan(&plan, &pkt, OFFLOAD_MAX) == VIRTQ_OK && plan.nframes == c.frames[p]);
	for (unsigned i = 0; i < c.frames[p]; i++) {
		const struct frame *f = &frame[order[i]];
		uint32_t l3 = plan.l3, id_end = l3 + 12;

		segment_write(&plan, &pkt, i, &to, 1);
		must(segment_len(&plan, i) == f->len);
		/* One identification for all frames becomes several, and so a checksum changes. */
		if (scratch[l3] >> 4 == 6 || !(scratch[l3 + 6] & 0x40)) {
			must(!memcmp(scratch, f->data, f->len));
			continue;
		}
		must(!memcmp(scratch, f->data, l3 + 4) && !memcmp(scratch + l3 + 6, f->data + l3 + 6, 4));
		must(!memcmp(scratch + id_end, f->data + id_end, f->len - id_end));
	}
}

static void check_batch(unsigned n)
{
	bool seen[VIRTQ_BATCH] = { false };
	unsigned at = 0, last[FLOWS + 1] = { 0 };

	for (unsigned p = 0; p < c.n; p++) {
		uint32_t len = 0;

		must(c.frames[p] && c.frames[p] <= n - at);
		for (unsigned i = 0; c.src[p].more && i < c.src[p].more->npieces; i++)
			len += (uint32_t)c.src[p].more->piece[i].iov_len;
		must(!c.src[p].more || len == c.src[p].len);
		if (c.frames[p] > 1)
			cut_again(p, &c.order[at]);
		else
			must(c.src[p].len == frame[c.order[at]].len);
		for (unsigned end = at + c.frames[p]; at < end; at++) {
			unsigned i = c.order[at], flow = flow_of[i];

			must(i < n && !seen[i]);
			seen[i] = true;
			must(!flow || i >= last[flow]);
			last[flow] = i;
		}
	}
	must(at == n);
}

static void join(struct input *in)
{
	const uint64_t need = VNET_BIT(VIRTIO_NET_F_MRG_RXBUF) | VNET_BIT(VIRTIO_NET_F_GUEST_CSUM);
	uint8_t how = (uint8_t)take(in, 1);
	uint64_t features = how & 1 ? ~0ull : need | ((uint64_t)(how >> 1 & 7) << VIRTIO_NET_F_GUEST_TSO4 |
						      (uint64_t)(how >> 4 & 3) << VIRTIO_NET_F_GUEST_USO4);
	unsigned n = make_batch(in);

	must(coalesce_batch(&c, features, batch, n) == c.n);
	check_batch(n);
	while (n)
		free(frame[--n].data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (take(&in, 1) & 1)
		cut(&in);
	else
		join(&in);
	return 0;
}
