/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration file of `viaduct run --config`. */
#ifndef VIADUCT_CTL_CONFIG_FILE_H
#define VIADUCT_CTL_CONFIG_FILE_H

#include "ctl/config.h"

/**
 * config_file_read() - take options and ports from a file
 * @c: gets what the file says
 * @path: INI: one section [uplink] with the options, a section [port NAME] with the keys of each port
 * @err, @errlen: on failure one line that names file, line and mend
 *
 * Control thread, before anything runs. Return: 0, -EINVAL, or -ENOMEM.
 */
int config_file_read(struct config *c, const char *path, char *err, size_t errlen);

#endif
