/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "bridge/addresses.h"
#include "bridge/announce.h"
#include "bridge/mac.h"

#define FRAME_LEN 60		/* the shortest that Ethernet has */
#define TYPE_RARP 0x8035u
#define RARP_REQUEST 3u		/* RFC 903: request reverse */

/* Return: its length, with a tag where the port's frames have one on the wire. */
static uint32_t write_rarp(uint8_t *frame, const uint8_t mac[MAC_LEN], uint16_t vlan)
{
	uint8_t *p = frame + VLAN_TYPE_AT;

	memset(frame, 0, FRAME_LEN + VLAN_TAG_LEN);
	memset(frame, 0xff, MAC_LEN);
	memcpy(frame + MAC_LEN, mac, MAC_LEN);
	if (vlan) {
		vlan_write_tag(p, VLAN_TPID, vlan);
		p += VLAN_TAG_LEN;
	}
	store_be16(p, TYPE_RARP);
	store_be16(p + 2, 1);		/* Ethernet */
	store_be16(p + 4, 0x0800);	/* IPv4: addresses of 6 and of 4 bytes */
	p[6] = MAC_LEN;
	p[7] = 4;
	store_be16(p + 8, RARP_REQUEST);
	memcpy(p + 10, mac, MAC_LEN);
	memcpy(p + 20, mac, MAC_LEN);
	return FRAME_LEN + (vlan ? VLAN_TAG_LEN : 0);
}

static bool too_often(struct port *p, uint64_t now_ns)
{
	if (now_ns - p->announced_ns >= NSEC_PER_SEC) {
		p->announced_ns = now_ns;
		p->announced = 0;
	}
	if (p->announced == ANNOUNCE_PER_SEC) {
		p->not_announced++;
		return true;
	}
	p->announced++;
	return false;
}

static void announce_addresses(struct bridge *b, const struct port *p)
{
	const uint16_t vlan = policy_from_guest(&p->policy, 0);
	uint8_t frame[FRAME_LEN + VLAN_TAG_LEN], mac[MAC_LEN];

	for (unsigned k = 0; vlan != VLAN_NONE && k < p->nmac; k++) {
		mac_store(p->mac[k], mac);
		uplink_send(b->uplink, frame, write_rarp(frame, mac, vlan));
	}
}

void announce_arrival(struct bridge *b, const struct port *p)
{
	if (uplink_has_several(&b->cfg.uplink))
		announce_addresses(b, p);
}

void announce_all(struct bridge *b)
{
	for (uint32_t i = 0; i < b->nports; i++)
		if (b->port[i] && b->port[i]->connected)
			announce_addresses(b, b->port[i]);
}

int announce_rarp(struct bridge *b, struct port *p, const uint8_t mac[MAC_LEN])
{
	uint16_t vlan = policy_from_guest(&p->policy, 0);
	uint8_t frame[FRAME_LEN + VLAN_TAG_LEN];
	const struct port *owner;
	uint32_t len;
	unsigned at;
	int ret;

	if (!policy_own_mac(&p->policy, mac_load(mac)))
		return -EPERM;
	owner = addresses_holder(b, p, &p->policy, mac_load(mac), &at);
	if (uplink_is_host_mac(b->uplink, mac) || (owner && owner->cfg.nmac))
		return -EADDRINUSE;
	if (vlan == VLAN_NONE || too_often(p, clock_now()))
		return 0;
	addresses_announced(b, p, mac);
	len = write_rarp(frame, mac, vlan);
	ret = uplink_send(b->uplink, frame, len);
	if (ret)
		log_at(LOG_LEVEL_WARN, &p->complaints, "port %s: the network was not told where its guest is: %s",
		       p->cfg.name, strerror(-ret));
	/* A worker's work: a guest may need a call, and its fd is nothing for this thread to write to. */
	if (!p->policy.isolated)
		worker_post(&b->worker[0], frame, len, p->index);
	return 0;
}
