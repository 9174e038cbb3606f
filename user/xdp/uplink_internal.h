/* SPDX-License-Identifier: BSD-2-Clause */
/* What uplink.c and uplink_move.c share. Private to them. */
#ifndef VIADUCT_XDP_UPLINK_INTERNAL_H
#define VIADUCT_XDP_UPLINK_INTERNAL_H

#include "xdp/afxdp.h"
#include "xdp/fail.h"
#include "xdp/helpers.h"
#include "xdp/ifcheck.h"
#include "xdp/linkmon.h"
#include "xdp/program.h"
#include "xdp/settings.h"
#include "xdp/uplink.h"

struct uplink {
	const struct host_ops *host;
	struct uplink_config cfg;
	struct uplink_info info;
	struct linkmon *linkmon;
	struct program program;
	struct settings settings;
	struct nicq *nicq;		/* [info.queues] */
	uint32_t nopen;			/* nicqs that are set up */
	int filter_fd;			/* holds the receive filter entries, sends uplink_send()'s; receives nothing */
	uint8_t host_mac[UPLINK_HOST_MACS][6];
	unsigned nhost;
	int cpus;			/* possible CPUs: values of a per-CPU map entry */
	struct vd_stats *percpu;	/* [cpus] */
	uint32_t warned_mtu;
	struct helpers helpers;
	void (*on_link)(void *arg, const struct uplink_link *l);
	void *on_link_arg;
};

/**
 * uplink_look() - what can be known of the interface without a change to it
 * @c: filled
 *
 * Return: 0 or -errno with a reason.
 */
int uplink_look(struct uplink *u, struct loop *loop, struct ifcheck *c, const struct fail *why);

/* The NIC's settings; sockets are open. Return: 0 or -errno with a reason. */
int uplink_apply_settings(struct uplink *u, const struct fail *why);

/* Program and sockets are there: watch them, and tell the program what it has to know. */
void uplink_settle(struct uplink *u);

#endif
