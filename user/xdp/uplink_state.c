/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of the uplink's device, for the program and for whoever
 * listens: link state, and the forwarding table's entries, the host's own among
 * them.
 */
#include <errno.h>
#include <string.h>

#include "base/atomics.h"
#include "base/clock.h"
#include "xdp/uplink_internal.h"

void uplink_fdb_changed(struct uplink *u)
{
	struct vd_config *c = u->program.maps.config;

	WRITE_ONCE(c->fdb_generation, c->fdb_generation + 1);
}

/* Every change of fdb: @v is what stands there from now on, NULL for nothing. */
static int fdb_change(struct uplink *u, const struct vd_fdb_key *key, const struct vd_fdb_value *v)
{
	int fd = u->program.fds.map[PROGRAM_FDB];
	int ret = v ? u->host->bpf_map_update(u->host, fd, key, v) : u->host->bpf_map_delete(u->host, fd, key);

	uplink_fdb_changed(u);
	return ret;
}

bool uplink_is_host_mac(const struct uplink *u, const uint8_t mac[6])
{
	unsigned i;

	for (i = 0; i < u->nhost; i++)
		if (!memcmp(u->host_mac[i], mac, 6))
			return true;
	return false;
}

int uplink_fdb_set(struct uplink *u, uint16_t vlan, const uint8_t mac[6], uint32_t port, enum vd_fdb_kind kind)
{
	struct vd_fdb_value v = { .port = port, .kind = kind };
	struct vd_fdb_key key = { .vlan = vlan };

	if (uplink_is_host_mac(u, mac))
		return -EADDRINUSE;
	memcpy(key.mac, mac, 6);
	return fdb_change(u, &key, &v);
}

int uplink_fdb_del(struct uplink *u, uint16_t vlan, const uint8_t mac[6])
{
	struct vd_fdb_key key = { .vlan = vlan };

	if (!vlan && uplink_is_host_mac(u, mac))
		return -EADDRINUSE;
	memcpy(key.mac, mac, 6);
	return fdb_change(u, &key, NULL);
}

static void sync_host_macs(struct uplink *u)
{
	uint8_t now[UPLINK_HOST_MACS][6];
	unsigned n, i, k;
	struct vd_fdb_value host = { .port = VD_PORT_HOST, .kind = VD_FDB_HOST };
	struct vd_fdb_key key = { 0 };

	if (!u->heard)		/* who is above whom changes by messages only, and takes long to see */
		return;
	n = linkmon_host_macs(u->linkmon, now, UPLINK_HOST_MACS);
	if (n > UPLINK_HOST_MACS)	/* out of memory: those that are known stay */
		return;
	for (i = 0; i < u->nhost; i++) {
		for (k = 0; k < n && memcmp(u->host_mac[i], now[k], 6); k++)
			;
		if (k < n)
			continue;
		memcpy(key.mac, u->host_mac[i], 6);
		fdb_change(u, &key, NULL);
	}
	memcpy(u->host_mac, now, sizeof(u->host_mac[0]) * n);
	u->nhost = n;
	for (i = 0; i < n; i++) {
		memcpy(key.mac, now[i], 6);
		fdb_change(u, &key, &host);
	}
}

static void sync_config(struct uplink *u)
{
	struct vd_config *c = u->program.maps.config;

	memcpy(c->own_mac, u->link.mac, sizeof(c->own_mac));
	WRITE_ONCE(c->unknown, u->cfg.unknown);
	WRITE_ONCE(c->max_frame, u->info.max_frame);
	WRITE_ONCE(c->driver_hash, u->info.driver_hash);
	WRITE_ONCE(c->note_wire, u->info.mode != VD_MODE_GENERIC);
	WRITE_ONCE(c->restore_tag, u->info.vlan_tags == UPLINK_TAGS_RESTORED);
}

bool uplink_take_state(struct uplink *u)
{
	struct uplink_link now;
	bool changed;

	memcpy(&now, linkmon_state(u->linkmon), sizeof(now));	/* compared with its padding */
	if (now.xdp_lost)
		u->trouble |= VD_TROUBLE_PROGRAM;
	now.xdp_lost |= !!(u->trouble & VD_TROUBLE_PROGRAM);
	now.trouble = u->trouble;
	now.standby = u->dev && u->standby;
	now.moves = u->moves;
	for (int i = 0; i < UPLINK_REPAIRS; i++)
		now.repairs += u->repaired[i];
	if (u->dev && now.ifindex)
		memcpy(u->last_name, now.name, sizeof(u->last_name));
	changed = memcmp(&now, &u->link, sizeof(now));
	memcpy(&u->link, &now, sizeof(now));
	sync_host_macs(u);
	sync_config(u);
	return changed;
}

void uplink_tell(struct uplink *u, bool changed)
{
	changed |= uplink_take_state(u);
	if (changed && u->on_link)
		u->on_link(u->on_link_arg, &u->link);
}

void uplink_settle(struct uplink *u)
{
	const bool dispatcher = u->cfg.attach == UPLINK_ATTACH_DISPATCHER;

	linkmon_expect_program(u->linkmon, u->program.id, dispatcher);
	u->looked_ns = clock_now();
	u->hold = (struct choose_hold){ .opened_ns = u->looked_ns };
	u->filter_again_ns = 0;
	u->heard = true;	/* all of it is to be told the program */
	uplink_take_state(u);
}

const uint8_t (*uplink_host_macs(const struct uplink *u, unsigned *n))[6]
{
	*n = u->nhost;
	return u->host_mac;
}
