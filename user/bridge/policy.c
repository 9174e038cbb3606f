/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "bridge/mac.h"
#include "bridge/policy.h"

void policy_set(struct policy *p, const struct port_config *cfg)
{
	const bool link_down = p->link_down;

	memset(p, 0, sizeof(*p));
	p->link_down = link_down;
	p->all_vlans = !cfg->vlan && !cfg->have_trunk;
	p->has_trunk = cfg->have_trunk;
	p->vlan = cfg->vlan;
	p->key_vlan = policy_key_vlan(cfg);
	p->untagged = p->all_vlans || cfg->vlan || cfg->trunk[0] & 1;
	if (cfg->have_trunk)
		memcpy(p->vlans, cfg->trunk, sizeof(p->vlans));
	p->vlans[0] &= ~1ull;
	p->isolated = cfg->isolated;
	p->mac_lock = cfg->mac_lock;
	for (p->nmac = 0; p->nmac < cfg->nmac; p->nmac++)
		p->mac[p->nmac] = mac_load(cfg->mac[p->nmac]);
	p->tx_limited = cfg->tx_bps || cfg->tx_pps;
	p->rx_limited = cfg->rx_bps || cfg->rx_pps;
	vd_limit_set(&p->tx, cfg->tx_bps, cfg->tx_pps);
	vd_limit_set(&p->storm, 0, cfg->storm);
}

void policy_wire_vlans(const struct policy *p, struct vd_vlans *out)
{
	if (p->all_vlans) {
		memset(out, 0xff, sizeof(*out));
		return;
	}
	memcpy(out->word, p->vlans, sizeof(out->word));
	if (p->untagged)
		out->word[p->vlan >> 6] |= 1ull << (p->vlan & 63);
}
