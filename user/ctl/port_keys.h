/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of a port, as --port, the configuration file and `viaduct port` have
 * them. Pure but for the names of users and groups and the working directory.
 */
#ifndef VIADUCT_CTL_PORT_KEYS_H
#define VIADUCT_CTL_PORT_KEYS_H

#include "bridge/port_config.h"
#include "ctl/parse.h"

#define PORT_TRUNK_STRLEN 12288	/* "1,3,5,...": the longest there is */

struct key;

/* A port whose keys are being read. */
struct port_keys {
	struct port_config *port;
	unsigned seen;			/* a bit per key */
	const struct key *list;		/* the last key, when its value is a list */
	bool first, alone;		/* of that list: nothing read yet; a word that is the whole list was */
	bool live;			/* only what may change while the port is there */
	bool absolute;			/* a socket's path must begin with '/' */
};

/* port_keys_start() - the defaults, and nothing given yet. Any thread, as everything here. */
void port_keys_start(struct port_keys *k, struct port_config *port);

/**
 * port_keys_set() - one key with all of its value
 * @value: where the key is a list, separated by commas; a comma at the end is as good as none
 *
 * Return: 0, -EINVAL with a complaint, or -ENOMEM.
 */
int port_keys_set(struct port_keys *k, const struct parse *p, const char *name, const char *value);
/* port_keys_more() - the list goes on: more values of the key that was set last. */
int port_keys_more(struct port_keys *k, const struct parse *p, const char *values);
/* port_keys_end() - nothing follows: do the keys go together? */
int port_keys_end(struct port_keys *k, const struct parse *p);

/**
 * port_keys_parse() - "name=vm0,socket=/run/vm0.sock,trunk=10,20,queues=4"
 * @absolute: the text came from a process with another working directory
 * @port: filled; of no use after a failure
 *
 * Return: 0, -EINVAL with a complaint, or -ENOMEM.
 */
int port_keys_parse(const struct parse *p, const char *text, bool absolute, struct port_config *port);

/**
 * port_keys_change() - the same for a port that is there: only keys that may change then
 * @port: what it is now; becomes what it is to be, of no use after a failure
 */
int port_keys_change(const struct parse *p, const char *text, struct port_config *port);

/* port_trunk_text() - the value of trunk=, "" without one. @len: PORT_TRUNK_STRLEN is enough. */
void port_trunk_text(const struct port_config *c, char *text, size_t len);

/* The keys, one per line, for `viaduct help`. */
const char *port_keys_help(void);

#endif
