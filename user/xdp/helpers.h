/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who does what a NIC may do for us: flow hash, checksums, VLAN tags. Not to know
 * what a driver can do is to do it ourselves. Control thread, at start.
 */
#ifndef VIADUCT_XDP_HELPERS_H
#define VIADUCT_XDP_HELPERS_H

#include "xdp/afxdp.h"
#include "xdp/uplink.h"

struct helpers {
	bool want_hash;		/* the driver's; it offers it */
	bool offers_tag;	/* the driver can say which VLAN tag it has taken out of a frame */
	enum afxdp_checksum checksum;
};

/**
 * helpers_choose() - ask what the driver offers, and choose
 * @info: gets the reasons of what is not left to it; has driver's name
 *
 * Before the program is loaded: want_hash and offers_tag need the one that is bound to the device.
 */
void helpers_choose(struct helpers *h, const struct host_ops *host, int ifindex, const struct uplink_config *cfg,
		    struct uplink_info *info);

/* The NIC finishes no checksums for us after all. */
void helpers_no_checksum(struct helpers *h, struct uplink_info *info, const char *why);

/**
 * helpers_loaded() - what became of hash and tags
 * @bound: the program that is bound to the device is loaded
 * @info: has mode and VLAN settings as they are now
 */
void helpers_loaded(const struct helpers *h, bool bound, const struct uplink_config *cfg, struct uplink_info *info);

#endif
