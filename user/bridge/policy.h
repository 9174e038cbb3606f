/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a port's guest may do, as workers look at it: VLANs, addresses, limits.
 * Made from the port's configuration; the control thread changes it while the
 * workers are parked, so that nobody sees half of a change.
 *
 * VLANs. A port has a set of VLANs as they are on the wire. Frames without a tag
 * in the guest (or with a priority tag, IEEE 802.1Q 9.6) are of VLAN @vlan, and
 * get and lose their tag here; tagged frames pass as they are when their VLAN is
 * one of the trunk's. Only 802.1Q tags (0x8100) say a VLAN.
 */
#ifndef VIADUCT_BRIDGE_POLICY_H
#define VIADUCT_BRIDGE_POLICY_H

#include "bridge/port_config.h"
#include "ring/vlan.h"
#include "viaduct_limit.h"

#define VLAN_NONE 0xffffu	/* a frame that the port may not send */

struct policy {
	bool all_vlans;		/* neither vlan= nor trunk=: everything passes as it is */
	bool has_trunk;		/* its guest gets tagged frames, too */
	bool untagged;		/* frames without a tag may be sent and received */
	bool mac_lock, isolated;
	bool link_down;		/* viaduct link PORT down: nothing from it or to it. Not of the configuration */
	bool tx_limited, rx_limited;
	uint16_t vlan;		/* of untagged frames, 0 = they are untagged on the wire */
	uint16_t key_vlan;	/* policy_key_vlan() */
	uint64_t vlans[PORT_VLAN_WORDS];	/* of tagged frames that pass as they are */
	uint64_t mac[PORT_MACS];	/* with mac_lock */
	uint32_t nmac;
	/* shared by the workers that take this port's packets */
	struct vd_limit storm __attribute__((aligned(128)));
	struct vd_limit tx;
};

/* The VLAN under which such a port's addresses are in the forwarding table: 0, any, where it is in several. */
static inline uint16_t policy_key_vlan(const struct port_config *cfg)
{
	return cfg->have_trunk ? 0 : cfg->vlan;
}

/* Makes it anew, but for @link_down. Control thread, workers parked or not yet there. */
void policy_set(struct policy *p, const struct port_config *cfg);
/* What the XDP program is to know of it: VLANs on the wire, bit 0 = untagged. */
void policy_wire_vlans(const struct policy *p, struct vd_vlans *out);

static inline bool policy_in_trunk(const struct policy *p, uint16_t vlan)
{
	return p->vlans[vlan >> 6 & (PORT_VLAN_WORDS - 1)] >> (vlan & 63) & 1;
}

/**
 * policy_from_guest() - the VLAN of a frame that the guest sends
 * @vid: of its 802.1Q tag, 0 = it has none, or a priority tag
 *
 * Return: VLAN on the wire (0: no tag), or VLAN_NONE.
 */
static inline uint16_t policy_from_guest(const struct policy *p, uint16_t vid)
{
	if (p->all_vlans)
		return vid;
	if (!vid)
		return p->untagged ? p->vlan : VLAN_NONE;
	return policy_in_trunk(p, vid) ? vid : VLAN_NONE;
}

/**
 * policy_member() - does the port get frames of this VLAN?
 * @vlan: on the wire, 0 = untagged
 */
static inline bool policy_member(const struct policy *p, uint16_t vlan)
{
	if (p->all_vlans)
		return true;
	if (vlan && policy_in_trunk(p, vlan))
		return true;
	return p->untagged && vlan == p->vlan;
}

/* A frame of this VLAN (of which the port is a member) is tagged when its guest gets it. */
static inline bool policy_tagged(const struct policy *p, uint16_t vlan)
{
	return vlan && vlan != p->vlan;
}

/* @mac: source address of a frame. False: the guest may not send from it. */
static inline bool policy_own_mac(const struct policy *p, uint64_t mac)
{
	if (!p->mac_lock)
		return true;
	for (uint32_t i = 0; i < p->nmac; i++)
		if (p->mac[i] == mac)
			return true;
	return false;
}

#endif
