// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "driver/args.h"

#define KNOWN_KEYS "path, mac, queues, queue_size, server, mrg_rxbuf, packed_vq, in_order, offloads"

struct parse {
	struct driver_args *out;
	char *err;
	size_t errlen;
};

int driver_parse_mac(const char *text, uint8_t mac[6])
{
	if (strlen(text) != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		const char *p = text + 3 * i;

		if (p[0] == ':' || p[1] == ':' || (i < 5 && p[2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)strtoul(p, NULL, 16);
	}
	return 0;
}

/* A decimal number without sign or blanks in [@min, @max]. */
static int parse_number(struct parse *p, const char *key, const char *value, uint32_t min, uint32_t max, uint32_t *out)
{
	size_t len = strlen(value);
	unsigned long n = len && len < 10 && strspn(value, "0123456789") == len ? strtoul(value, NULL, 10) : max + 1ul;

	if (n < min || n > max) {
		snprintf(p->err, p->errlen, "%s=%s: give a number from %u to %u", key, value, min, max);
		return -EINVAL;
	}
	*out = (uint32_t)n;
	return 0;
}

static int parse_switch(struct parse *p, const char *key, const char *value, bool *out)
{
	if (strcmp(value, "0") && strcmp(value, "1")) {
		snprintf(p->err, p->errlen, "%s=%s: give 0 or 1", key, value);
		return -EINVAL;
	}
	*out = value[0] == '1';
	return 0;
}

static int set_path(struct parse *p, const char *key, const char *value)
{
	if (!*value || strlen(value) >= sizeof(p->out->path)) {
		snprintf(p->err, p->errlen, "%s=: a socket path has 1 to %zu characters", key,
			 sizeof(p->out->path) - 1);
		return -EINVAL;
	}
	strcpy(p->out->path, value);
	return 0;
}

static int set_mac(struct parse *p, const char *key, const char *value)
{
	uint8_t mac[6];

	if (driver_parse_mac(value, mac) || mac[0] & 1 || !memcmp(mac, "\0\0\0\0\0", 6)) {
		snprintf(p->err, p->errlen, "%s=%s: give a unicast address such as 02:00:00:00:00:01", key, value);
		return -EINVAL;
	}
	memcpy(p->out->mac, mac, 6);
	p->out->mac_given = true;
	return 0;
}

static int set_queues(struct parse *p, const char *key, const char *value)
{
	return parse_number(p, key, value, 1, DRIVER_MAX_PAIRS, &p->out->queues);
}

static int set_queue_size(struct parse *p, const char *key, const char *value)
{
	return parse_number(p, key, value, 2, DRIVER_MAX_RING, &p->out->queue_size);
}

static int set_server(struct parse *p, const char *key, const char *value)
{
	return parse_switch(p, key, value, &p->out->server);
}

static int set_mrg_rxbuf(struct parse *p, const char *key, const char *value)
{
	return parse_switch(p, key, value, &p->out->mrg_rxbuf);
}

static int set_packed_vq(struct parse *p, const char *key, const char *value)
{
	return parse_switch(p, key, value, &p->out->packed_vq);
}

static int set_in_order(struct parse *p, const char *key, const char *value)
{
	return parse_switch(p, key, value, &p->out->in_order);
}

static int set_offloads(struct parse *p, const char *key, const char *value)
{
	return parse_switch(p, key, value, &p->out->offloads);
}

static int not_yet(struct parse *p, const char *key, const char *value)
{
	/* Without a control queue is how we work anyway. */
	if (!strcmp(key, "cq") && !strcmp(value, "0"))
		return 0;
	snprintf(p->err, p->errlen, "%s=: not yet supported, leave it out", key);
	return -ENOTSUP;
}

static const struct {
	const char *key;
	int (*set)(struct parse *p, const char *key, const char *value);
} keys[] = {
	{ "path", set_path },
	{ "mac", set_mac },
	{ "queues", set_queues },
	{ "queue_size", set_queue_size },
	{ "server", set_server },
	{ "mrg_rxbuf", set_mrg_rxbuf },
	{ "packed_vq", set_packed_vq },
	{ "in_order", set_in_order },
	{ "offloads", set_offloads },
	{ "cq", not_yet },
	{ "iface", not_yet },
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static int parse_one(struct parse *p, char *item, uint32_t *seen)
{
	char *value = strchr(item, '=');
	size_t i = 0;

	if (!value) {
		snprintf(p->err, p->errlen, "'%s': write key=value; known keys: " KNOWN_KEYS, item);
		return -EINVAL;
	}
	*value++ = '\0';
	while (i < N_KEYS && strcmp(keys[i].key, item))
		i++;
	if (i == N_KEYS) {
		snprintf(p->err, p->errlen, "unknown key '%s'; known keys: " KNOWN_KEYS, item);
		return -EINVAL;
	}
	if (*seen & 1u << i) {
		snprintf(p->err, p->errlen, "%s= is given twice", item);
		return -EINVAL;
	}
	*seen |= 1u << i;
	return keys[i].set(p, item, value);
}

static int random_mac(uint8_t mac[6])
{
	if (getrandom(mac, 6, 0) != 6)
		return -EIO;
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02);
	return 0;
}

int driver_args_parse(const char *text, struct driver_args *out, char *err, size_t errlen)
{
	struct parse p = { .out = out, .err = err, .errlen = errlen };
	char *copy = strdup(text), *rest = copy, *item;
	uint32_t seen = 0;
	int ret = 0;

	if (errlen)
		err[0] = '\0';
	*out = (struct driver_args){ .queues = 1, .queue_size = 256, .mrg_rxbuf = true, .in_order = true,
				     .offloads = true };
	if (!copy)
		return -ENOMEM;
	while (!ret && (item = strsep(&rest, ",")))
		ret = parse_one(&p, item, &seen);
	free(copy);
	if (ret)
		return ret;
	if (!out->path[0]) {
		snprintf(err, errlen, "path=SOCKET is missing");
		return -EINVAL;
	}
	if (!out->packed_vq && out->queue_size & (out->queue_size - 1)) {
		snprintf(err, errlen, "queue_size=%u: a split ring's size is a power of two; any goes with packed_vq=1",
			 out->queue_size);
		return -EINVAL;
	}
	return out->mac_given ? 0 : random_mac(out->mac);
}
