/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of feature bits, as the specifications call them. */
#ifndef VIADUCT_CTL_NAMES_H
#define VIADUCT_CTL_NAMES_H

#include <stdint.h>

#include <jansson.h>

/* By bit number; NULL where no name is known. */
extern const char *const names_feature[64];	/* virtio-net, ring, and vhost features */
extern const char *const names_protocol[64];	/* vhost-user protocol features */
extern const char *const names_status[64];	/* virtio device status */

/**
 * names_json() - the names of the bits that are set
 * @bits: a set of bits
 * @names: one of the arrays above
 *
 * Any thread. Return: a new JSON array ("bit_N" where no name is known), NULL when out of memory.
 */
json_t *names_json(uint64_t bits, const char *const names[64]);

#endif
