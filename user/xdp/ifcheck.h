/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an interface allows: is it a kind that AF_XDP can serve, how many queues
 * does it have, which of them get packets, does its MTU fit a UMEM chunk.
 * Control thread only, at start.
 */
#ifndef VIADUCT_XDP_IFCHECK_H
#define VIADUCT_XDP_IFCHECK_H

#include "base/host_ops.h"
#include "xdp/fail.h"
#include "xdp/linkmon.h"

struct ifcheck {
	bool generic_only;	/* native XDP is not to be tried */
	char generic_why[96];
	uint32_t queues;	/* channels that receive */
	uint32_t tx_queues;
	uint32_t fed;		/* queues that RSS spreads over */
	bool combined;		/* counted as combined channels, not as rx and tx */
	char driver[32];
};

/**
 * ifcheck_kind() - refuse what AF_XDP cannot serve, and name the device that it can
 * Return: 0 or -EOPNOTSUPP with a reason.
 */
int ifcheck_kind(const struct linkmon *m, const struct linkmon_dev *d, struct ifcheck *c, const struct fail *why);

/* Reads driver, channels and the RSS table; an interface without ethtool has one queue. */
void ifcheck_queues(const struct host_ops *host, const struct linkmon_dev *d, struct ifcheck *c);

/**
 * ifcheck_choose_queues() - how many NIC queues to serve
 * @want: 0 = all
 *
 * Return: the number, or -EINVAL with a reason: a queue that gets packets but is not served loses them.
 */
int ifcheck_choose_queues(const struct ifcheck *c, const char *ifname, uint32_t want, const struct fail *why);

/* The largest MTU that goes without multi-buffer sockets, for messages. */
#define IFCHECK_MTU_WITHOUT_SG 3498

/**
 * ifcheck_chunk() - UMEM chunk for frames of this MTU
 * @sg: set when a frame may need several of them
 *
 * Return: 2048 or 4096 bytes, or -EMSGSIZE with a reason.
 */
int ifcheck_chunk(const struct linkmon_dev *d, bool *sg, const struct fail *why);

#endif
