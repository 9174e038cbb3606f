/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An uplink without a NIC, for tests of the control side: it remembers what it
 * was told, and the test can let it fail.
 */
#ifndef TESTS_FAKE_UPLINK_H
#define TESTS_FAKE_UPLINK_H

#include <errno.h>

#include "base/node.h"
#include "dp.h"
#include "xdp/fail.h"
#include "xdp/uplink.h"

#define FAKE_ADDRESSES 64

struct uplink {
	struct uplink_link link;
	struct uplink_info info;
	struct uplink_maps maps;
	struct fake_address {
		struct vd_fdb_key key;
		struct vd_fdb_value value;
	} fdb[FAKE_ADDRESSES];
	unsigned nfdb;
	unsigned filters;	/* entries of the NIC's receive filter */
	uint8_t host[4][6];
	unsigned nhost;
	struct vd_port port[VD_MAX_PORTS];
	struct vd_vlans vlans[VD_MAX_PORTS];
	struct vd_steering steering[VD_MAX_PORTS];
	unsigned cleared[VD_MAX_PORTS];
	unsigned flows, forgotten;
	uint8_t frame[64];	/* the last that was sent */
	uint32_t frame_len;
	unsigned sent;
	/* what fails, and with what */
	int filter_error, fdb_error, vlans_error, steering_error;
	unsigned fdb_room;
};

static struct uplink uplink;
static struct vd_link uplink_links[1 + VD_MAX_PORTS];
static struct vd_limit uplink_limits[VD_MAX_PORTS];
static struct vd_config uplink_config;
static struct vd_flow uplink_flows[VD_FLOW_ROW];
static uint64_t uplink_wire[VD_WIRE_SLOTS];

const struct uplink_link *uplink_link(const struct uplink *u)
{
	return &u->link;
}

const struct uplink_info *uplink_info(struct uplink *u)
{
	return &u->info;
}

const struct uplink_maps *uplink_maps(const struct uplink *u)
{
	return &u->maps;
}

static inline struct fake_address *fake_find(struct uplink *u, uint16_t vlan, const uint8_t *mac)
{
	for (unsigned i = 0; i < u->nfdb; i++)
		if (u->fdb[i].key.vlan == vlan && !memcmp(u->fdb[i].key.mac, mac, 6))
			return &u->fdb[i];
	return NULL;
}

int uplink_fdb_set(struct uplink *u, uint16_t vlan, const uint8_t mac[6], uint32_t port, enum vd_fdb_kind kind)
{
	struct fake_address *a = fake_find(u, vlan, mac);

	if (u->fdb_error || uplink_is_host_mac(u, mac))
		return u->fdb_error ? u->fdb_error : -EADDRINUSE;
	if (!a) {
		if (u->nfdb == u->fdb_room)
			return -ENOSPC;
		a = &u->fdb[u->nfdb++];
	}
	a->key.vlan = vlan;
	memcpy(a->key.mac, mac, 6);
	a->value = (struct vd_fdb_value){ port, kind };
	return 0;
}

int uplink_fdb_del(struct uplink *u, uint16_t vlan, const uint8_t mac[6])
{
	struct fake_address *a = fake_find(u, vlan, mac);

	if (!a)
		return -ENOENT;
	*a = u->fdb[--u->nfdb];
	return 0;
}

int uplink_filter(struct uplink *u, const uint8_t mac[6], bool add)
{
	(void)mac;
	if (add && u->filter_error)
		return u->filter_error;
	guest_must(add || u->filters, "an address is taken out of the filter that is not in it");
	u->filters += add ? 1 : -1u;
	return 0;
}

int uplink_send(struct uplink *u, const uint8_t *frame, uint32_t len)
{
	guest_must(len <= sizeof(u->frame), "a frame longer than any that is sent so");
	memcpy(u->frame, frame, len);
	u->frame_len = len;
	u->sent++;
	return u->link.carrier ? 0 : -ENETDOWN;
}

int uplink_hw_steer(struct uplink *u, const uint8_t mac[6], uint32_t queue, bool add)
{
	(void)u;
	(void)mac;
	(void)queue;
	(void)add;
	return -EOPNOTSUPP;
}

bool uplink_is_host_mac(const struct uplink *u, const uint8_t mac[6])
{
	for (unsigned i = 0; i < u->nhost; i++)
		if (!memcmp(u->host[i], mac, 6))
			return true;
	return false;
}

const uint8_t (*uplink_host_macs(const struct uplink *u, unsigned *n))[6]
{
	*n = u->nhost;
	return u->host;
}

int uplink_check_vlans(const struct uplink *u, const struct fail *why)
{
	return u->vlans_error ? fail_with(why, u->vlans_error, "no VLANs") : 0;
}

int uplink_steering(struct uplink *u, uint32_t port, const struct vd_steering *s)
{
	if (u->steering_error)
		return u->steering_error;
	u->steering[port] = *s;
	return 0;
}

int uplink_steering_read(struct uplink *u, uint32_t port, struct vd_steering *s)
{
	*s = u->steering[port];
	return 0;
}

int uplink_port(struct uplink *u, uint32_t port, const struct vd_port *p)
{
	u->port[port] = *p;
	return 0;
}

int uplink_port_vlans(struct uplink *u, uint32_t port, const struct vd_vlans *v)
{
	u->vlans[port] = *v;
	return 0;
}

int uplink_flow_pair(struct uplink *u, uint32_t port, uint32_t hash, uint32_t pair)
{
	(void)port;
	(void)hash;
	(void)pair;
	u->flows++;
	return 0;
}

void uplink_flow_pairs_forget(struct uplink *u, uint32_t port)
{
	(void)port;
	u->forgotten++;
}

void uplink_port_clear(struct uplink *u, uint32_t port)
{
	u->cleared[port]++;
	memset(&u->port[port], 0, sizeof(u->port[port]));
	memset(&u->vlans[port], 0, sizeof(u->vlans[port]));
	memset(&u->maps.limits[port], 0, sizeof(u->maps.limits[port]));
}

/* As it is when nobody has told it anything. */
static inline void fake_uplink_open(void)
{
	memset(uplink_links, 0, sizeof(uplink_links));
	memset(uplink_limits, 0, sizeof(uplink_limits));
	memset(uplink_flows, 0, sizeof(uplink_flows));
	memset(uplink_wire, 0, sizeof(uplink_wire));
	memset(&uplink_config, 0, sizeof(uplink_config));
	uplink = (struct uplink){
		.link = { .ifindex = 2, .mtu = 1500 }, .info = { .node = NODE_NONE }, .fdb_room = FAKE_ADDRESSES,
		.maps = { .links = uplink_links, .limits = uplink_limits, .config = &uplink_config,
			  .flows = uplink_flows, .wire = uplink_wire },
	};
}

#endif
