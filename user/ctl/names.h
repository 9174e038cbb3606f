/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of feature bits as JSON. */
#ifndef VIADUCT_CTL_NAMES_H
#define VIADUCT_CTL_NAMES_H

#include <stdint.h>

#include <jansson.h>

#include "vhost/bits.h"

extern const char *const names_status[64];	/* virtio device status, by bit number */

/**
 * names_json() - the names of the bits that are set
 * @bits: a set of bits
 * @names: the array above, or one of vhost/bits.h
 *
 * Any thread. Return: a new JSON array ("bit_N" where no name is known), NULL when out of memory.
 */
json_t *names_json(uint64_t bits, const char *const names[64]);

#endif
