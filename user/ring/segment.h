/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a guest's packet to frames for a wire. What the guest left to its device
 * (a checksum, segmentation: virtio 1.3, 5.1.6.2) is done here, in software,
 * because an AF_XDP frame carries no request for it: none for segmentation, and
 * for a checksum only where the driver takes it (segment_is_for_device()).
 *
 * segment_plan() looks at the headers once, in a copy of our own, and decides;
 * segment_write() then makes the frames one by one, in any order, straight into
 * their buffers. The guest can change the packet at any time: headers come from
 * the copy, payload is read exactly once per frame, and the checksum is that of
 * what was written.
 *
 * Pure; a plan belongs to one thread.
 */
#ifndef VIADUCT_RING_SEGMENT_H
#define VIADUCT_RING_SEGMENT_H

#include "ring/virtq.h"

#define SEGMENT_MAX_HEADERS 512	/* Ethernet, two tags, IP with options or extension headers, TCP */
/* A checksum starts behind Ethernet and two tags, so that finishing it never changes what forwarding looked at. */
#define SEGMENT_MIN_START 22

struct segment_plan {
	uint32_t nframes;	/* 1 when the packet stays whole */
	uint32_t frame_len;	/* of the longest one, bytes */
	bool leave_checksum;	/* the caller may set it when segment_is_for_device() says so, see segment_write() */
	uint16_t csum_start, csum_offset;	/* 0, 0: there is no checksum to finish */
	uint32_t head_len;	/* headers that every frame begins with; 0 when the packet stays whole */
	uint8_t head[SEGMENT_MAX_HEADERS];	/* of the frame made last; after segment_check(), of the packet */
	/* private */
	uint32_t mss;		/* payload of each frame but the last */
	uint32_t len;
	uint16_t l3, l4;	/* offsets in @head */
	bool udp, v6, plain;	/* plain: headers_plain() */
	uint8_t flags;		/* TCP's, of the packet */
	uint16_t id;		/* IPv4 identification of the first frame */
	uint32_t seq;		/* TCP sequence number of the first frame */
	uint64_t ip_sum;	/* of the IPv4 header, without what differs between frames */
	uint64_t pseudo_sum;	/* of the pseudo header, without the length */
	uint64_t l4_sum;	/* of pseudo header and TCP or UDP header, without what differs between frames */
	uint32_t piece, piece_at;	/* where reading goes on: piece, and the packet's bytes before it */
};

/**
 * segment_plan() - decide what a packet needs
 * @s: filled
 * @pkt: from virtq_tx_get(): its header was checked against the negotiated features, nothing else was
 * @max_frame: longest frame the wire takes, bytes without FCS, one VLAN tag included (MTU + 18)
 *
 * TCP is cut to what the wire takes even when gso_size says more, and a frame without a tag does not use the tag's
 * room; UDP datagrams (USO) are as long as gso_size says, or the packet is dropped. A packet that needs no cutting
 * stays as it is but for its checksum. Absurd headers are dropped (hostile-input (d)): GSO of what is not TCP or UDP
 * over IP, of fragments, of tunnels; lengths that contradict each other (the IP packet, and the UDP datagram, must end
 * where the frame does); gso_size 0; checksum fields outside the packet or before SEGMENT_MIN_START.
 * Return: VIRTQ_OK, VIRTQ_DROP_OFFLOAD, VIRTQ_DROP_SHORT or VIRTQ_DROP_LONG.
 */
enum virtq_error segment_plan(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t max_frame);

/**
 * segment_check() - may a packet be handed to another guest as it is, with its header?
 * @s: filled: @head_len bytes of @head are the headers that were looked at, to be handed on in place of the packet's own,
 *     which its guest can change; 0 bytes when there is only a checksum to finish
 * @pkt, @max_frame: as segment_plan()'s
 *
 * What vnet_receivable() wants to be true of the header. Return: VIRTQ_OK, VIRTQ_DROP_OFFLOAD when it is not, or
 * VIRTQ_DROP_LONG when the frames that the packet stands for are longer than @max_frame: segment_plan() cuts it shorter.
 */
enum virtq_error segment_check(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t max_frame);

/* Length of frame @i, bytes. */
static inline uint32_t segment_len(const struct segment_plan *s, uint32_t i)
{
	return i + 1 < s->nframes ? s->head_len + s->mss : s->len - i * s->mss;
}

/**
 * segment_is_for_device() - may a NIC finish the checksum?
 * @s: plan of this very packet
 * @pkt: the packet; of one that stays whole the headers are read
 *
 * A NIC need not go by where the checksum is said to be: many parse the frame and finish what they find. So it gets what
 * has nothing else to find: TCP or UDP over IP that is no fragment, in no tunnel, behind no IP option or extension header
 * (some say where the packet goes in the end, and so what the pseudo header is), and ends where the frame does.
 * Return: false when there is no checksum to finish, or it is for software.
 */
bool segment_is_for_device(struct segment_plan *s, const struct virtq_pkt *pkt);

/**
 * segment_write() - make one frame
 * @s: plan of this very packet; constant time when the last frame written was the one before @i
 * @pkt: the packet; its pieces are read
 * @i: which frame, 0..nframes-1
 * @to, @nto: where it goes: pieces with room for segment_len(), all but the last of even length
 *
 * IPv4 identification counts up, length fields, TCP sequence number and flags (FIN and PSH on the last frame only, CWR
 * on the first only) and checksums are those of the frame. With leave_checksum the checksum field holds the pseudo
 * header's sum, to be finished from csum_start over the rest of the frame and stored at csum_start + csum_offset.
 */
void segment_write(struct segment_plan *s, const struct virtq_pkt *pkt, uint32_t i, const struct iovec *to,
		   unsigned nto);

#endif
