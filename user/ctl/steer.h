/* SPDX-License-Identifier: BSD-2-Clause */
/* A port's indirection table as people write it: "0-63=1,64=2", or "spread". Pure; any thread. */
#ifndef VIADUCT_CTL_STEER_H
#define VIADUCT_CTL_STEER_H

#include <jansson.h>

#include "ctl/parse.h"
#include "viaduct_bpf.h"

/**
 * steer_change() - enter new pairs into a table
 * @pairs: INDEX[-INDEX]=PAIR,... or "spread" (all pairs in turn), or a list of all VD_INDIRECTION pairs
 * @npairs: queue pairs that the port has
 * @s: changed only on success
 *
 * Return: 0, -EINVAL with a complaint, or -ENOMEM.
 */
int steer_change(const struct parse *p, const json_t *pairs, unsigned npairs, struct vd_steering *s);

/**
 * steer_text() - the table as steer_change() would take it, shortest first
 * @pairs: a list of numbers; anything else is shown as it can be
 * @npairs: queue pairs that the port has
 *
 * Return: text to be freed, NULL when out of memory.
 */
char *steer_text(const json_t *pairs, unsigned npairs);

#endif
