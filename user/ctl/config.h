/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of `viaduct run`. Pure but for user and group names, which it looks up. */
#ifndef VIADUCT_CTL_CONFIG_H
#define VIADUCT_CTL_CONFIG_H

#include <stddef.h>

#include "base/log.h"
#include "base/wait.h"
#include "bridge/port_config.h"
#include "xdp/uplink.h"

#define CONFIG_CPUS 64

struct config {
	struct uplink_config uplink;	/* --uplink, --name, --queues, --xdp-mode, --xdp-attach, --unknown */
	enum wait_mode wait;
	enum log_level log_level;
	int cpus[CONFIG_CPUS];		/* one worker each */
	unsigned ncpus;			/* 0 = one worker, unpinned */
	struct port_config *ports;
	unsigned nports;
};

/**
 * config_parse() - read the arguments that follow `viaduct run`
 * @argc, @argv: those arguments only
 * @c: filled; config_free() it after success
 * @err, @errlen: on failure one line, without newline or program name, that names the mend
 *
 * Options are `--name value` or `--name=value`, each at most once, but for --port.
 * Control thread, before anything runs. Return: 0, -EINVAL, or -ENOMEM.
 */
int config_parse(int argc, char **argv, struct config *c, char *err, size_t errlen);
void config_free(struct config *c);

/**
 * config_name_ok() - may this be an instance's name?
 * @name: becomes part of a path, so: letters, digits, '_', '-', 1 to 63 of them
 */
bool config_name_ok(const char *name);

/* The options, one per line, for `viaduct help`. */
const char *config_help(void);

#endif
