/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of `viaduct run`. Pure but for what it looks up: users, groups, the file of --config. */
#ifndef VIADUCT_CTL_CONFIG_H
#define VIADUCT_CTL_CONFIG_H

#include <stdio.h>

#include "base/log.h"
#include "base/wait.h"
#include "bridge/port_config.h"
#include "ctl/parse.h"
#include "xdp/uplink.h"

#define CONFIG_CPUS 64

struct config {
	struct uplink_config uplink;	/* every option that is not below */
	enum wait_mode wait;
	enum log_level log_level;
	int cpus[CONFIG_CPUS];		/* one worker each */
	unsigned ncpus;			/* 0 = one worker, unpinned */
	bool host_port;			/* guests and the host reach each other */
	uint32_t aging_s;		/* learned addresses go after as many seconds of silence; 0 = never */
	char unknown_port[32];		/* --unknown guest: the port's name, "" = the first one */
	struct port_config *ports;
	unsigned nports;
};

/**
 * config_parse() - read the arguments that follow `viaduct run`
 * @argc, @argv: those arguments only
 * @c: filled; config_free() it after success
 * @err, @errlen: on failure one line, without newline or program name, that names the mend
 *
 * Options are `--name value` or `--name=value`, each at most once, but for --port. The file of --config is read
 * first: options replace what it says, ports are added to its.
 * Control thread, before anything runs. Return: 0, -EINVAL, or -ENOMEM.
 */
int config_parse(int argc, char **argv, struct config *c, char *err, size_t errlen);
void config_free(struct config *c);

/**
 * config_option() - one option with its value
 * @name: without dashes
 * @value: NULL is an error
 * @seen: a bit per option that was given; each may be once
 *
 * Return: 0, -EINVAL with a complaint, -ENOENT without one (there is no such option), or -ENOMEM.
 */
int config_option(struct config *c, const struct parse *p, const char *name, const char *value, unsigned *seen);
/* The names of all options, with @before in front of each. Returns @text. */
const char *config_option_list(const char *before, char *text, size_t len);

/**
 * config_add_port() - one more port
 *
 * Return: 0, -EINVAL with a complaint (name, socket or address are another port's, too many), or -ENOMEM.
 */
int config_add_port(struct config *c, const struct parse *p, const struct port_config *port);

/* config_check_socket() - -EINVAL with a complaint when the port's socket is the control socket of @instance. */
int config_check_socket(const struct parse *p, const char *instance, const struct port_config *port);

/**
 * config_name_ok() - may this be an instance's name?
 * @name: becomes part of a path, so: letters, digits, '_', '-', 1 to 63 of them
 */
bool config_name_ok(const char *name);

/* Prints the options, one per line, for `viaduct help`. */
void config_help(FILE *f);

#endif
