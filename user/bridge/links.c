/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "bridge/links.h"

const char *links_reason_name(enum vd_link_reason reason)
{
	switch (reason) {
	case VD_REASON_NONE:
		return "none";
	case VD_REASON_NOT_CONFIGURED:
		return "not_configured";
	case VD_REASON_ADMIN_DOWN:
		return "admin_down";
	case VD_REASON_NO_CARRIER:
		return "no_carrier";
	case VD_REASON_GONE:
		return "gone";
	case VD_REASON_NOT_CONNECTED:
		return "not_connected";
	case VD_REASON_NEGOTIATING:
		return "negotiating";
	case VD_REASON_NO_PAIR:
		return "no_pair_enabled";
	case VD_REASON_BROKEN:
		return "broken";
	case VD_REASON_ERROR:
		return "error";
	case VD_REASON_UPLINK:
		return "uplink_down";
	}
	return "unknown";
}

static bool same(const struct vd_link *a, const struct vd_link *b)
{
	return a->up == b->up && a->reason == b->reason && a->speed_mbps == b->speed_mbps && a->duplex == b->duplex &&
	       a->mtu == b->mtu && a->ifindex == b->ifindex && a->pairs == b->pairs &&
	       a->guest == b->guest && a->trouble == b->trouble && a->moves == b->moves && a->repairs == b->repairs;
}

/* Stores @want over @l: down before the details, up after them, generation last. */
static bool store(struct vd_link *l, const struct vd_link *want)
{
	if (same(l, want) && !strncmp(l->name, want->name, sizeof(l->name)))
		return false;
	if (!want->up)
		store_release(&l->up, 0);
	WRITE_ONCE(l->speed_mbps, want->speed_mbps);
	WRITE_ONCE(l->duplex, want->duplex);
	WRITE_ONCE(l->mtu, want->mtu);
	WRITE_ONCE(l->ifindex, want->ifindex);
	WRITE_ONCE(l->pairs, want->pairs);
	WRITE_ONCE(l->guest, want->guest);
	WRITE_ONCE(l->trouble, want->trouble);
	WRITE_ONCE(l->moves, want->moves);
	WRITE_ONCE(l->repairs, want->repairs);
	WRITE_ONCE(l->reason, want->reason);
	WRITE_ONCE(l->last_change_ns, clock_now());
	memcpy(l->name, want->name, sizeof(l->name));
	if (want->up)
		store_release(&l->up, 1);
	store_release(&l->generation, l->generation + 1);
	return true;
}

static void port_entry(struct bridge *b, const struct port *p, enum vd_link_reason reason, uint32_t pairs,
		       struct vd_link *want)
{
	const struct uplink_link *u = uplink_link(b->uplink);

	*want = (struct vd_link){
		.up = reason == VD_REASON_NONE,
		.reason = reason,
		.speed_mbps = u->speed_mbps,
		.duplex = u->duplex,
		.mtu = u->mtu,
		.pairs = pairs,
		.guest = p->link.guest,
	};
	snprintf(want->name, sizeof(want->name), "%.15s", p->cfg.name);
}

void links_set_port(struct bridge *b, const struct port *p, enum vd_link_reason reason, uint32_t pairs)
{
	struct vd_link want;

	port_entry(b, p, reason, pairs, &want);
	store(&uplink_maps(b->uplink)->links[1 + p->index], &want);
}

void links_clear_port(struct bridge *b, uint32_t index)
{
	const struct vd_link none = { .reason = VD_REASON_NOT_CONFIGURED };

	store(&uplink_maps(b->uplink)->links[1 + index], &none);
	WRITE_ONCE(uplink_maps(b->uplink)->links[1 + index].heartbeat_ns, 0);
}

bool links_set_uplink(struct bridge *b, const struct uplink_link *u)
{
	struct vd_link *links = uplink_maps(b->uplink)->links;
	struct vd_link want = {
		.reason = !u->ifindex  ? u->trouble & VD_TROUBLE_DEVICE ? VD_REASON_ERROR : VD_REASON_GONE :
			  u->xdp_lost  ? VD_REASON_ERROR :
			  !u->admin_up ? VD_REASON_ADMIN_DOWN :
			  !u->carrier  ? VD_REASON_NO_CARRIER :
					 VD_REASON_NONE,
		.speed_mbps = u->speed_mbps,
		.duplex = u->duplex,
		.mtu = u->mtu,
		.ifindex = (uint32_t)u->ifindex,
		.pairs = b->homes,
		.trouble = u->trouble,
		.moves = u->moves,
		.repairs = u->repairs,
	};
	bool changed;

	want.up = want.reason == VD_REASON_NONE;
	memcpy(want.name, u->name, sizeof(want.name));
	changed = store(&links[0], &want);
	if (changed)
		for (uint32_t i = 0; i < b->nports; i++)
			if (b->port[i])
				links_set_port(b, b->port[i], b->port[i]->reason, links[1 + i].pairs);
	return changed;
}

void links_heartbeat(struct bridge *b, uint64_t now_ns)
{
	struct vd_link *links = uplink_maps(b->uplink)->links;

	WRITE_ONCE(links[0].heartbeat_ns, now_ns);
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i])
			WRITE_ONCE(links[1 + i].heartbeat_ns, now_ns);
}
