/* SPDX-License-Identifier: BSD-2-Clause */
/* A client's side of the control socket: find the instance, ask, hear the answer. */
#ifndef VIADUCT_CTL_ASK_H
#define VIADUCT_CTL_ASK_H

#include <stdio.h>

#include <jansson.h>

#include "ctl/client.h"

/* "viaduct: ..." and a newline to @env->err. Returns the exit code 1. */
int ask_complain(const struct client_env *env, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * ask() - connect and send one request
 * @name: of the instance; NULL = the only one that runs
 * @params: the reference is taken, also on failure; NULL = none
 *
 * Return: to be given to ask_answer() and closed; NULL after it has said why not.
 */
FILE *ask(const struct client_env *env, const char *name, const char *method, json_t *params);

/**
 * ask_answer() - hear the answer to the one request there was
 * @code: exit code: 0, 1, or 2 when what was asked for makes no sense
 *
 * Return: a new reference; NULL after it has said why not.
 */
json_t *ask_answer(const struct client_env *env, FILE *f, int *code);

/* ask_once() - both, and the end of the connection. */
json_t *ask_once(const struct client_env *env, const char *name, const char *method, json_t *params, int *code);

#endif
