/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What ring.c needs from each kind of ring, and what both kinds need to take
 * buffers back (ring_back.c). Private to the driver's rings.
 */
#ifndef VIADUCT_DRIVER_RING_KINDS_H
#define VIADUCT_DRIVER_RING_KINDS_H

#include "driver/ring.h"

/* The device wrote nonsense. Return: 0. */
unsigned dring_nonsense(struct dring *r);

/**
 * dring_take_back() - the device gave a buffer back: move it to the private queue
 * @id, @len: as read from the ring
 * @max: buffers that it can be at most
 * @ndesc: descriptors of the ring that became free
 *
 * With IN_ORDER the buffers before it come back too. Return: buffers; 0 = nonsense, or no room for them now.
 */
unsigned dring_take_back(struct dring *r, uint32_t id, uint32_t len, unsigned max, unsigned *ndesc);

/* Writes a buffer of @n pieces, of which the first @out are for reading. There is room. */
void dring_split_chain(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t head);
void dring_packed_chain(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t id);

/* The same into the indirect table of slot @i. */
void dring_split_table(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t i);
void dring_packed_table(struct dring *r, const struct dring_sg *sg, unsigned out, unsigned n, uint16_t i);

/* Shows the device what was added. @wanted: it asks for a kick. Return: false when nothing was added. */
bool dring_split_publish(struct dring *r, bool *wanted);
bool dring_packed_publish(struct dring *r, bool *wanted);

/* Moves all that came back to the private queue, as far as that has room. */
void dring_split_harvest(struct dring *r);
void dring_packed_harvest(struct dring *r);

/* Says whether calls are wanted, without looking again. */
void dring_split_notify(struct dring *r, bool on);
void dring_packed_notify(struct dring *r, bool on);

#endif
