/* SPDX-License-Identifier: BSD-2-Clause */
/* How many files this process may open, and how many its ports need. */
#ifndef VIADUCT_CTL_LIMITS_H
#define VIADUCT_CTL_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "bridge/port_config.h"

/* limits_files() - open files that @n ports may need, with what the process itself needs. Any thread. */
uint64_t limits_files(const struct port_config *ports, unsigned n);

/**
 * limits_raise_files() - see to it that so many files may be open
 * @need: files
 * @err, @errlen: on failure one line that names the mend
 *
 * Raises RLIMIT_NOFILE as far as the hard limit, and that too where the process may.
 * Control thread. Return: 0 or -EMFILE.
 */
int limits_raise_files(uint64_t need, char *err, size_t errlen);

#endif
