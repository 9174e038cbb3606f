/* SPDX-License-Identifier: BSD-2-Clause */
/* The status object for people. */
#ifndef VIADUCT_CTL_SHOW_H
#define VIADUCT_CTL_SHOW_H

#include <stdio.h>

#include <jansson.h>

/**
 * show_status() - print a status object, aligned
 * @status: what the method "status" answers; what is absent is left out
 *
 * Any thread.
 */
void show_status(const json_t *status, FILE *out);

#endif
