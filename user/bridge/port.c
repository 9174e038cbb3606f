/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>

#include "bridge/mac.h"
#include "bridge/port.h"

struct port *port_create(uint32_t index, const struct port_config *cfg)
{
	struct port *p = calloc(1, sizeof(*p));
	size_t len;

	if (!p)
		return NULL;
	p->index = index;
	p->cfg = *cfg;
	p->pairs = cfg->pairs;
	p->reason = VD_REASON_NOT_CONNECTED;
	len = 2 * (size_t)p->pairs * sizeof(*p->vq);
	p->vq = aligned_alloc(_Alignof(struct port_vq), len);
	if (!p->vq) {
		free(p);
		return NULL;
	}
	memset(p->vq, 0, len);
	for (unsigned i = 0; i < 2 * p->pairs; i++) {
		p->vq[i].q.callfd = -1;
		p->vq[i].q.kickfd = -1;
	}
	if (cfg->have_mac) {
		p->mac[0] = mac_load(cfg->mac);
		p->nmac = 1;
	}
	return p;
}

void port_destroy(struct port *p)
{
	if (!p)
		return;
	free(p->vq);
	free(p);
}

void port_steering(struct port *p, uint32_t share, struct vd_steering *out)
{
	uint16_t list[VD_MAX_PAIRS];
	uint32_t n = 0;

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < p->pairs; i++)
		if (virtq_usable(port_rxq(p, i)))
			list[n++] = (uint16_t)i;
	out->enabled = n;
	out->share = share;
	for (uint32_t i = 0; n && i < VD_INDIRECTION; i++)
		out->pair[i] = list[i % n];
}
