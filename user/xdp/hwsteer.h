/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --hw-steer: rules by which the NIC itself puts the frames for a guest's
 * address into a chosen receive queue (ethtool -N DEV flow-type ether dst MAC
 * action QUEUE). Rules stay in the NIC when a process dies, so their places are
 * noted, too. Control thread only.
 */
#ifndef VIADUCT_XDP_HWSTEER_H
#define VIADUCT_XDP_HWSTEER_H

#include "viaduct_bpf.h"
#include "xdp/restore.h"

#define HWSTEER_RULES (8 * VD_MAX_PORTS)

struct hwsteer {
	struct restore *restore;
	bool on;			/* the driver takes rules, as far as we know */
	bool complained;
	bool any_place;			/* the driver finds a rule's place itself */
	uint32_t places;		/* in the NIC's table */
	char why[96];			/* why it is off; "" when it is on */
	uint32_t count;
	struct hwsteer_rule {
		uint8_t mac[6];
		uint32_t queue, place;
	} *rule;
};

/**
 * hwsteer_open() - remove what a dead instance left, and see whether the driver takes rules
 * @restore: kept
 * @wanted: otherwise it stays off
 *
 * A driver that takes none is no error; see @h->on and @h->why.
 */
void hwsteer_open(struct hwsteer *h, struct restore *restore, bool wanted);

/**
 * hwsteer_set() - send frames for an address to a NIC queue
 *
 * Again for the same address moves it. Return: 0; -EOPNOTSUPP: it is off; -ENOSPC: the table is full; or -errno.
 */
int hwsteer_set(struct hwsteer *h, const uint8_t mac[6], uint32_t queue);

/* Removes the rule of an address. Return: 0 or -errno (-ENOENT: there is none). */
int hwsteer_del(struct hwsteer *h, const uint8_t mac[6]);

/* Removes all rules. Safe without a hwsteer_open(). */
void hwsteer_close(struct hwsteer *h);

#endif
