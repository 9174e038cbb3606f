/* SPDX-License-Identifier: BSD-2-Clause */
/* The other end of the control API: the commands status, monitor, port, steer and link. */
#ifndef VIADUCT_CTL_CLIENT_H
#define VIADUCT_CTL_CLIENT_H

#include <stdio.h>

/* Where instances are found and where output goes; a test has its own. */
struct client_env {
	const char *dir;	/* holds NAME.sock and NAME.lock of each instance */
	FILE *out, *err;
};

/**
 * client_status() - print the state of a running instance
 * @argc, @argv: [--name NAME] [--port PORT] [--json]; without a name the only one that runs
 *
 * Return: exit code: 0, 1 when there is no answer or it is no, 2 when the arguments are wrong.
 */
int client_status(int argc, char **argv);
int client_status_in(const struct client_env *env, int argc, char **argv);

/**
 * client_monitor() - print events, one JSON object per line, until the instance ends
 * @argc, @argv: [--name NAME]
 *
 * Return: exit code, as client_status().
 */
int client_monitor(int argc, char **argv);
int client_monitor_in(const struct client_env *env, int argc, char **argv);

/**
 * client_port() - ports of a running instance
 * @argc, @argv: add KEY=VALUE,... | del PORT | set PORT KEY=VALUE,... | list [--json], and [--name NAME]
 *
 * Return: exit code, as client_status().
 */
int client_port(int argc, char **argv);
int client_port_in(const struct client_env *env, int argc, char **argv);

/**
 * client_steer() - how flows find a port's queue pairs
 * @argc, @argv: PORT [auto|hash] [INDEX[-INDEX]=PAIR,...|spread] [--name NAME] [--json]; PORT alone shows it
 *
 * Return: exit code, as client_status().
 */
int client_steer(int argc, char **argv);
int client_steer_in(const struct client_env *env, int argc, char **argv);

/**
 * client_link() - a port's link: show it, or pull its cable
 * @argc, @argv: PORT [up|down] [--name NAME] [--json]; PORT alone shows it
 *
 * Return: exit code, as client_status().
 */
int client_link(int argc, char **argv);
int client_link_in(const struct client_env *env, int argc, char **argv);

#endif
