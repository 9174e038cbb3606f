/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/node.h"
#include "bridge/mac.h"
#include "bridge/port.h"

static size_t vq_bytes(const struct port *p)
{
	return 2 * (size_t)p->pairs * sizeof(*p->vq);
}

struct port *port_create(uint32_t index, const struct port_config *cfg)
{
	struct port *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->index = index;
	p->cfg = *cfg;
	p->pairs = cfg->pairs;
	p->reason = VD_REASON_NOT_CONNECTED;
	p->node = NODE_NONE;
	p->kept_slot = -1;
	p->link.said = VD_GUEST_UP;
	/* Whole pages of its own: they may move to another NUMA node. */
	p->vq = mmap(NULL, vq_bytes(p), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->vq == MAP_FAILED) {
		free(p);
		return NULL;
	}
	for (unsigned i = 0; i < 2 * p->pairs; i++) {
		p->vq[i].q.callfd = -1;
		p->vq[i].q.kickfd = -1;
	}
	policy_set(&p->policy, cfg);
	port_spread(p, &p->steering);
	if (p->pairs > 1) {
		p->flow = calloc(PORT_FLOWS, sizeof(*p->flow));
		if (!p->flow) {
			port_destroy(p);
			return NULL;
		}
	}
	for (p->nmac = 0; p->nmac < cfg->nmac; p->nmac++)
		p->mac[p->nmac] = mac_load(cfg->mac[p->nmac]);
	return p;
}

void port_destroy(struct port *p)
{
	if (!p)
		return;
	munmap(p->vq, vq_bytes(p));
	free(p->flow);
	free(p);
}

void port_follow_memory(struct port *p, const void *ring)
{
	int node = node_of_memory(ring), ret;

	if (node == NODE_NONE || node == p->node)
		return;
	ret = node_move(p->vq, vq_bytes(p), node);
	if (ret)
		log_warn("port %s: its state stays away from NUMA node %d: %s", p->cfg.name, node, strerror(-ret));
	p->node = node;
}

void port_spread(const struct port *p, struct vd_steering *out)
{
	*out = (struct vd_steering){ .mode = p->cfg.steering };
	for (uint32_t i = 0; i < VD_INDIRECTION; i++)
		out->pair[i] = (uint16_t)(i % p->pairs);
}

static uint32_t flags(const struct port *p)
{
	return (p->policy.all_vlans ? 0 : VD_PORT_VLANS) | (p->policy.rx_limited ? VD_PORT_LIMIT : 0) |
	       (p->policy.isolated ? VD_PORT_ISOLATED : 0);
}

void port_map(struct port *p, struct vd_port *out)
{
	uint8_t list[VD_MAX_PAIRS];
	uint32_t n = 0;

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < p->pairs; i++)
		if (virtq_usable(port_rxq(p, i)) && !p->link.admin_down)
			list[n++] = (uint8_t)i;
	out->enabled = n;
	out->flags = flags(p);
	out->vlan = p->policy.vlan;
	/* Those that are not usable are spread over the others. */
	for (uint32_t i = 0, k = 0, r = 0; n && i < VD_MAX_PAIRS; i++)
		out->route[i] = k < n && list[k] == i ? list[k++] : list[r++ % n];
}
