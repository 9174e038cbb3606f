/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of feature bits, as the specifications call them. Pure; any thread. */
#ifndef VIADUCT_VHOST_BITS_H
#define VIADUCT_VHOST_BITS_H

#include <stddef.h>
#include <stdint.h>

/* By bit number; NULL where no name is known. */
extern const char *const bits_feature[64];	/* virtio-net, ring, and vhost features */
extern const char *const bits_protocol[64];	/* vhost-user protocol features */

/**
 * bits_text() - the names of the bits that are set, for a person: "host_uso, bit 40"
 * @bits: a set of bits
 * @names: one of the arrays above
 * @to, @len: where to put it; what does not fit is "..." (@len is at least 8)
 */
void bits_text(uint64_t bits, const char *const names[64], char *to, size_t len);

#endif
