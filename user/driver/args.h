/* SPDX-License-Identifier: BSD-2-Clause */
/* Device arguments, in the form that users of virtio-user know: key=value,key=value. */
#ifndef VIADUCT_DRIVER_ARGS_H
#define VIADUCT_DRIVER_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRIVER_MAX_PAIRS 128
#define DRIVER_MAX_RING 32768

struct driver_args {
	char path[108];		/* UNIX socket; fits sun_path with its NUL */
	uint8_t mac[6];
	bool mac_given;
	uint32_t queues;	/* queue pairs wanted, 1..DRIVER_MAX_PAIRS */
	uint32_t queue_size;	/* descriptors per ring, 2..DRIVER_MAX_RING; split: a power of two */
	bool server;		/* listen instead of connecting */
	bool mrg_rxbuf;		/* ask for mergeable receive buffers */
	bool packed_vq;		/* insist on packed rings */
	bool in_order;		/* let the device use buffers in order, where it offers that */
	bool offloads;		/* checksums and segmentation, for users who can deal with them */
};

/**
 * driver_args_parse() - parse device arguments
 * @text: "path=...[,key=value...]"
 * @out: filled with defaults first; without mac= it gets a random locally administered address
 * @err, @errlen: on failure one line that says what is wrong
 *
 * Any thread. Return: 0; -EINVAL for what is wrong, -ENOTSUP for what is known but does not work yet.
 */
int driver_args_parse(const char *text, struct driver_args *out, char *err, size_t errlen);

/* "02:00:00:00:00:01" to bytes; exactly that form. Any thread. Return: 0 or -EINVAL. */
int driver_parse_mac(const char *text, uint8_t mac[6]);

#endif
