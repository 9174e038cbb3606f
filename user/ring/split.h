/* SPDX-License-Identifier: BSD-2-Clause */
/* Split virtqueues, device side. Private to user/ring: callers use virtq.h, which has the contracts. */
#ifndef VIADUCT_RING_SPLIT_H
#define VIADUCT_RING_SPLIT_H

#include "ring/virtq.h"

int split_start(struct virtq *vq, const struct virtq_config *cfg);
unsigned split_tx_get(struct virtq *vq, struct virtq_batch *b, unsigned max);
void split_tx_put(struct virtq *vq, const struct virtq_batch *b, unsigned n);
unsigned split_rx_put(struct virtq *vq, const struct virtq_src *src, unsigned n);
/* Makes staged entries visible; true when the guest wants a call. */
bool split_publish(struct virtq *vq);
bool split_arm(struct virtq *vq);
void split_disarm(struct virtq *vq);
unsigned split_pending(struct virtq *vq);

#endif
