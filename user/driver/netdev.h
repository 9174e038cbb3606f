/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio-net device as its driver sees it, without a virtual machine: queue
 * pairs over shared memory, plugged into a vhost-user back-end.
 *
 * A netdev lives as long as its user wants it; a connection (memory, rings,
 * event fds) as long as the back-end does. Each connection gets fresh memory,
 * so a back-end that is gone for us but still alive writes nowhere. The user
 * calls netdev_service() now and then: it connects, notices that the back-end
 * is gone, and connects again, with a growing pause between attempts.
 *
 * One thread.
 */
#ifndef VIADUCT_DRIVER_NETDEV_H
#define VIADUCT_DRIVER_NETDEV_H

#include "driver/args.h"
#include "driver/channel.h"
#include "driver/frontend.h"
#include "driver/pair.h"

enum netdev_event {
	NETDEV_SAME,		/* nothing changed */
	NETDEV_UP,		/* connected, rings run */
	NETDEV_DOWN,		/* the back-end is gone */
	NETDEV_CONFIG,		/* link, speed or MTU have changed */
	NETDEV_WAITING,		/* still not connected; netdev_why() has a new reason */
};

struct netdev {
	struct driver_args args;
	uint64_t wanted;	/* virtio features to use where offered */
	uint64_t required;	/* of these, those that must be offered */
	struct frontend fe;
	struct channel channel;	/* where the back-end says that its configuration has changed */
	bool up;
	bool link;		/* what the device says of its link; true where it says nothing */
	uint32_t speed_mbps, mtu;	/* 0 = it does not say */
	uint32_t enable;	/* pairs to be enabled, whenever connected */
	uint32_t npairs;	/* of this connection; 0 when down */
	uint32_t nenabled;
	struct pair *pair;
	int errfd;		/* the back-end signals a broken ring here */
	int memfd;
	uint8_t *mem;
	uint64_t mem_len;
	int epfd;		/* readable when something may have happened */
	uint64_t retry_ns, pause_ns;
	struct pair_stats past;	/* sums of former connections */
	char why[160];
};

/**
 * netdev_open() - make a device; it is not connected yet
 * @err, @errlen: on failure one line that says why
 *
 * Return: 0 or -errno; *@out is for netdev_close().
 */
int netdev_open(const struct driver_args *args, struct netdev **out, char *err, size_t errlen);

/**
 * netdev_offloads() - ask for checksum and segmentation offloads
 * @features: those that the caller deals with, in frames it receives (VIRTIO_NET_F_GUEST_*) and sends; without this
 *            call none are used
 *
 * Before the first netdev_service(). Only what the arguments allow, and what frames can carry with rings of this
 * size, is asked for; what came of it netdev_features() says.
 */
void netdev_offloads(struct netdev *d, uint64_t features);
/* Stops the rings in order, disconnects, frees. NULL is fine. */
void netdev_close(struct netdev *d);

/**
 * netdev_service() - keep the connection
 * Cheap while all is well (one poll()); may block for a handshake otherwise. Frames of netdev_rx()
 * are gone after NETDEV_DOWN.
 */
enum netdev_event netdev_service(struct netdev *d);
/* Milliseconds until netdev_service() has something to try; -1 = it waits for netdev_fd(). */
int netdev_timeout_ms(const struct netdev *d);
/* The reason for the last NETDEV_DOWN or NETDEV_WAITING. */
const char *netdev_why(const struct netdev *d);

/* Becomes readable when a ring calls, or when netdev_service() should look. */
int netdev_fd(const struct netdev *d);
/* Forgets what made it readable; look at the rings after this. */
void netdev_ack(struct netdev *d);

/*
 * A back-end is there and runs the rings; the device's link is up, too (VIRTIO_NET_F_STATUS); queue pairs (enabled ones:
 * 0..enabled-1 are to be used for sending); features in force.
 */
static inline bool netdev_connected(const struct netdev *d)
{
	return d->up;
}

static inline bool netdev_link(const struct netdev *d)
{
	return d->up && d->link;
}

static inline uint32_t netdev_pairs(const struct netdev *d)
{
	return d->npairs;
}

static inline uint32_t netdev_enabled(const struct netdev *d)
{
	return d->nenabled;
}

static inline uint64_t netdev_features(const struct netdev *d)
{
	return d->fe.features;
}

/**
 * netdev_enable() - use only the first @n queue pairs, now and after every reconnect
 * What a guest's driver does for "ethtool -L". Return: 0, -ENOTSUP, or -errno (the connection is lost then).
 */
int netdev_enable(struct netdev *d, uint32_t n);

/* The data interface; see pair.h. Nothing comes and there is no room without a back-end; a link that is down changes nothing here. */
static inline unsigned netdev_rx(struct netdev *d, uint32_t pair, struct frame *f, unsigned max)
{
	return pair < d->npairs ? pair_rx(&d->pair[pair], f, max) : 0;
}

static inline unsigned netdev_tx(struct netdev *d, uint32_t pair, const struct frame *f, unsigned n)
{
	return pair < d->npairs ? pair_tx(&d->pair[pair], f, n) : 0;
}

static inline unsigned netdev_tx_room(struct netdev *d, uint32_t pair, unsigned want, uint32_t len)
{
	return pair < d->npairs ? pair_tx_room(&d->pair[pair], want, len) : 0;
}

/* The pair itself, for all else that pair.h has; valid until netdev_service() says NETDEV_DOWN. */
static inline struct pair *netdev_pair(struct netdev *d, uint32_t pair)
{
	return &d->pair[pair];
}

/* Before sleeping. True = look again instead. For sending it is true when something was given back. */
bool netdev_arm_rx(struct netdev *d, uint32_t pair);
bool netdev_arm_tx(struct netdev *d, uint32_t pair);
/* After sleeping: no calls wanted for any ring. */
void netdev_disarm(struct netdev *d);

/* Sums over all pairs and all connections. */
void netdev_stats(const struct netdev *d, struct pair_stats *sum);

#endif
