/* SPDX-License-Identifier: BSD-2-Clause */
/* What a running instance answers, for people. Any thread. */
#ifndef VIADUCT_CTL_SHOW_H
#define VIADUCT_CTL_SHOW_H

#include <stdio.h>

#include <jansson.h>

/**
 * show_status() - print a status object, aligned
 * @status: what the method "status" answers; what is absent is left out
 *
 * One port is shown with all there is, several are a line each.
 */
void show_status(const json_t *status, FILE *out);
/* show_one_port() - only its ports, with all there is. */
void show_one_port(const json_t *status, FILE *out);
/* show_port_list() - what the method "port_list" answers, a line for each port. */
void show_port_list(const json_t *list, FILE *out);
/* show_steering() - what the method "steer" answers. */
void show_steering(const json_t *steering, FILE *out);
/* show_link_state() - what the method "link" answers. */
void show_link_state(const json_t *link, FILE *out);

/* Between show.c and show_ports.c. */
void show_node(const json_t *o, const char *what, FILE *out);
void show_updown(const json_t *o, FILE *out);	/* "up" or "down (reason)" and a newline */
void show_port(const json_t *port, FILE *out);
void show_ports(const json_t *list, FILE *out);

#endif
