// SPDX-License-Identifier: BSD-2-Clause
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "base/clock.h"
#include "driver/netdev.h"
#include "vhost_user.h"

#define BIT(n) (1ull << (n))
#define GUEST_BASE 0x40000000ull	/* unlike our own addresses, so that mixing them up shows */
#define PAUSE_MIN (20 * NSEC_PER_MSEC)
#define PAUSE_MAX (200 * NSEC_PER_MSEC)	/* a connection that is refused costs next to nothing */

enum epoll_tag { TAG_SOCKET, TAG_LISTEN, TAG_RING, TAG_ERR, TAG_CHANNEL };

static int new_eventfd(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static int watch(struct netdev *d, int fd, uint32_t events, enum epoll_tag tag)
{
	struct epoll_event ev = { .events = events, .data.u32 = tag };

	return epoll_ctl(d->epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* The back-end holds event fds too, so closing them would leave them in the epoll set. */
static void unwatch_close(struct netdev *d, int *fd)
{
	if (*fd < 0)
		return;
	epoll_ctl(d->epfd, EPOLL_CTL_DEL, *fd, NULL);
	close(*fd);
	*fd = -1;
}

int netdev_open(const struct driver_args *args, struct netdev **out, char *err, size_t errlen)
{
	struct netdev *d = calloc(1, sizeof(*d));
	int ret;

	*out = NULL;
	if (!d)
		return -ENOMEM;
	d->args = *args;
	d->enable = args->queues;
	d->errfd = d->memfd = d->channel.fd = -1;
	d->pause_ns = PAUSE_MIN;
	d->required = args->packed_vq ? BIT(VIRTIO_F_RING_PACKED) : 0;
	d->wanted = d->required | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_RING_F_EVENT_IDX) |
		    BIT(VIRTIO_RING_F_INDIRECT_DESC) | (args->in_order ? BIT(VIRTIO_F_IN_ORDER) : 0) |
		    (args->mrg_rxbuf ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0) | (args->queues > 1 ? BIT(VIRTIO_NET_F_MQ) : 0);
	d->epfd = epoll_create1(EPOLL_CLOEXEC);
	ret = d->epfd < 0 ? -errno : 0;
	d->fe.fd = d->fe.listen_fd = -1;
	if (!ret)
		ret = frontend_open(&d->fe, args->path, args->server);
	if (!ret && args->server)
		ret = watch(d, d->fe.listen_fd, EPOLLIN, TAG_LISTEN);
	if (ret) {
		snprintf(err, errlen, "%s", d->fe.why[0] ? d->fe.why : strerror(-ret));
		netdev_close(d);
		return ret;
	}
	*out = d;
	return 0;
}

void netdev_offloads(struct netdev *d, uint64_t features)
{
	if (!d->args.offloads)
		return;
	if (d->args.queue_size < PAIR_GSO_RING)
		features &= ~(NETF_HOST_GSO | NETF_GUEST_GSO);
	d->wanted = netfeatures_usable(d->wanted | (features & NETF_OFFLOADS));
}

static void add_stats(struct pair_stats *to, const struct pair_stats *s)
{
	to->rx_packets += s->rx_packets;
	to->rx_bytes += s->rx_bytes;
	to->tx_packets += s->tx_packets;
	to->tx_bytes += s->tx_bytes;
	to->rx_errors += s->rx_errors;
	to->tx_errors += s->tx_errors;
}

void netdev_stats(const struct netdev *d, struct pair_stats *sum)
{
	*sum = d->past;
	for (uint32_t i = 0; i < d->npairs; i++)
		add_stats(sum, &d->pair[i].stats);
}

/* Ends a connection, or what there is of one. */
static void tear_down(struct netdev *d)
{
	frontend_disconnect(&d->fe);
	channel_close(&d->channel);
	for (uint32_t i = 0; i < d->npairs; i++) {
		struct pair *p = &d->pair[i];

		add_stats(&d->past, &p->stats);
		unwatch_close(d, &p->rx.callfd);
		unwatch_close(d, &p->tx.callfd);
		unwatch_close(d, &p->rx.kickfd);
		unwatch_close(d, &p->tx.kickfd);
		pair_fini(p);
	}
	free(d->pair);
	d->pair = NULL;
	d->npairs = d->nenabled = 0;
	unwatch_close(d, &d->errfd);
	if (d->mem)
		munmap(d->mem, d->mem_len);
	d->mem = NULL;
	if (d->memfd >= 0)
		close(d->memfd);
	d->memfd = -1;
	d->up = false;
}

void netdev_close(struct netdev *d)
{
	if (!d)
		return;
	for (uint32_t i = 0; d->up && i < 2 * d->npairs; i++)
		if (frontend_ring_stop(&d->fe, i, NULL))
			break;
	tear_down(d);
	frontend_close(&d->fe);
	if (d->epfd >= 0)
		close(d->epfd);
	free(d);
}

static int make_memory(struct netdev *d, uint32_t npairs)
{
	d->mem_len = npairs * pair_mem_size(d->args.queue_size, d->fe.features);
	d->memfd = memfd_create("viaduct-guest", MFD_CLOEXEC);
	if (d->memfd < 0 || ftruncate(d->memfd, (off_t)d->mem_len))
		return -errno;
	d->mem = mmap(NULL, d->mem_len, PROT_READ | PROT_WRITE, MAP_SHARED, d->memfd, 0);
	if (d->mem == MAP_FAILED) {
		d->mem = NULL;
		return -errno;
	}
	return 0;
}

static int ring_fds(struct netdev *d, struct dring *r)
{
	r->kickfd = new_eventfd();
	r->callfd = new_eventfd();
	if (r->kickfd < 0 || r->callfd < 0)
		return -errno;
	/* Edge-triggered: each call is one event, and nobody has to read the counter. */
	return watch(d, r->callfd, EPOLLIN | EPOLLET, TAG_RING);
}

static int make_pairs(struct netdev *d, uint32_t npairs)
{
	uint64_t each = pair_mem_size(d->args.queue_size, d->fe.features);
	int ret = make_memory(d, npairs);

	if (ret)
		return ret;
	d->errfd = new_eventfd();
	d->pair = calloc(npairs, sizeof(*d->pair));
	if (d->errfd < 0 || !d->pair)
		return -ENOMEM;
	for (uint32_t i = 0; i < npairs && !ret; i++) {
		ret = pair_init(&d->pair[i], d->args.queue_size, d->mem + i * each, GUEST_BASE + i * each,
				d->fe.features);
		if (ret)
			return ret;
		d->npairs++;
		ret = ring_fds(d, &d->pair[i].rx);
		if (!ret)
			ret = ring_fds(d, &d->pair[i].tx);
	}
	return ret ? ret : watch(d, d->errfd, EPOLLIN, TAG_ERR);
}

static int start_ring(struct netdev *d, uint32_t index, const struct dring *r)
{
	struct frontend_ring fr = {
		.index = index,
		.size = r->size,
		.base = r->packed ? DRING_PACKED_BASE : 0,
		.desc = (uintptr_t)r->desc,
		.avail = (uintptr_t)r->avail,
		.used = (uintptr_t)r->used,
		.kickfd = r->kickfd,
		.callfd = r->callfd,
		.errfd = d->errfd,
	};

	return frontend_ring_start(&d->fe, &fr);
}

static int enable_pair(struct netdev *d, uint32_t i, bool on)
{
	int ret = frontend_enable(&d->fe, 2 * i, on);

	return ret ? ret : frontend_enable(&d->fe, 2 * i + 1, on);
}

/* Without bit 30 all rings are enabled from the start and stay so. */
static int enable_first(struct netdev *d)
{
	int ret = 0;

	d->nenabled = d->enable < d->npairs ? d->enable : d->npairs;
	if (!(d->fe.features & BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
		return d->nenabled == d->npairs ? 0 : -ENOTSUP;
	for (uint32_t i = 0; i < d->npairs && !ret; i++)
		ret = enable_pair(d, i, i < d->nenabled);
	return ret;
}

static int start_rings(struct netdev *d)
{
	int ret = frontend_mem_table(&d->fe, d->memfd, d->mem_len, GUEST_BASE, d->mem);

	for (uint32_t i = 0; i < d->npairs && !ret; i++) {
		ret = start_ring(d, 2 * i, &d->pair[i].rx);
		if (!ret)
			ret = start_ring(d, 2 * i + 1, &d->pair[i].tx);
	}
	if (!ret)
		ret = enable_first(d);
	if (!ret)
		ret = frontend_driver_ok(&d->fe);
	/* The rx buffers were shown before there was anybody to kick. */
	for (uint32_t i = 0; i < d->npairs && !ret; i++)
		if (eventfd_write(d->pair[i].rx.kickfd, 1))
			ret = -errno;
	return ret;
}

static int open_channel(struct netdev *d)
{
	int theirs, ret = 0;

	if (!frontend_has_channel(&d->fe))
		return 0;
	ret = channel_open(&d->channel, d->fe.protocol & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK), &theirs);
	if (ret)
		return ret;
	ret = frontend_channel(&d->fe, theirs);
	close(theirs);
	return ret ? ret : watch(d, d->channel.fd, EPOLLIN | EPOLLRDHUP, TAG_CHANNEL);
}

/* Fields count whose features are offered (virtio: "Device Configuration Space"), the status only if it was negotiated. */
static int read_config(struct netdev *d)
{
	struct virtio_net_config c;
	int ret;

	d->link = true;
	d->speed_mbps = d->mtu = 0;
	if (!frontend_has_config(&d->fe))
		return 0;
	ret = frontend_get_config(&d->fe, &c);
	if (ret)
		return ret == -ENODATA ? 0 : ret;
	if (d->fe.features & BIT(VIRTIO_NET_F_STATUS))
		d->link = le16toh(c.status) & VIRTIO_NET_S_LINK_UP;
	if (d->fe.offered & BIT(VIRTIO_NET_F_MTU))
		d->mtu = le16toh(c.mtu);
	if (d->fe.offered & BIT(VIRTIO_NET_F_SPEED_DUPLEX) && le32toh(c.speed) <= INT32_MAX)
		d->speed_mbps = le32toh(c.speed);
	return 0;
}

static int connect_once(struct netdev *d)
{
	uint32_t npairs;
	int ret;

	d->fe.why[0] = '\0';
	ret = frontend_connect(&d->fe);
	if (ret)
		return ret;
	ret = frontend_negotiate(&d->fe, d->wanted, d->required);
	if (ret)
		goto fail;
	ret = open_channel(d);
	if (ret)
		goto fail;
	npairs = d->fe.max_pairs < d->args.queues ? d->fe.max_pairs : d->args.queues;
	ret = make_pairs(d, npairs);
	if (!ret)
		ret = start_rings(d);
	/* After the channel is there: what changes from here on is heard of. */
	if (!ret)
		ret = read_config(d);
	if (!ret)
		ret = watch(d, d->fe.fd, EPOLLIN | EPOLLRDHUP, TAG_SOCKET);
	if (!ret) {
		d->up = true;
		return 0;
	}
fail:
	tear_down(d);
	return ret;
}

/* True when the reason is a new one. */
static bool set_why(struct netdev *d, const char *why)
{
	bool new = strcmp(d->why, why) != 0;

	snprintf(d->why, sizeof(d->why), "%s", why);
	return new;
}

static enum netdev_event try_connect(struct netdev *d)
{
	uint64_t now = clock_now();
	int ret;

	/* As server there is nothing to wait for: either somebody has connected or not. */
	if (!d->args.server && now < d->retry_ns)
		return NETDEV_SAME;
	ret = connect_once(d);
	if (!ret) {
		d->pause_ns = PAUSE_MIN;
		d->why[0] = '\0';
		return NETDEV_UP;
	}
	d->retry_ns = clock_now() + d->pause_ns;
	d->pause_ns = 2 * d->pause_ns < PAUSE_MAX ? 2 * d->pause_ns : PAUSE_MAX;
	return set_why(d, d->fe.why[0] ? d->fe.why : strerror(-ret)) ? NETDEV_WAITING : NETDEV_SAME;
}

/* Reasons to give a connection up; NULL = it is well. */
static const char *trouble(struct netdev *d)
{
	uint64_t count;

	if (frontend_lost(&d->fe))
		return d->fe.why;
	for (uint32_t i = 0; i < d->npairs; i++)
		if (d->pair[i].broken || d->pair[i].rx.broken || d->pair[i].tx.broken)
			return "the back-end wrote nonsense into a ring";
	if (!eventfd_read(d->errfd, &count))
		return "the back-end says that a ring is broken";
	return NULL;
}

static enum netdev_event give_up(struct netdev *d, const char *why)
{
	set_why(d, why);
	tear_down(d);
	d->retry_ns = clock_now() + d->pause_ns;
	return NETDEV_DOWN;
}

/* The back-end says that its configuration has changed, which need not be so. */
static enum netdev_event news(struct netdev *d)
{
	const bool link = d->link;
	const uint32_t speed = d->speed_mbps, mtu = d->mtu;

	if (read_config(d))
		return give_up(d, d->fe.why);
	return link != d->link || speed != d->speed_mbps || mtu != d->mtu ? NETDEV_CONFIG : NETDEV_SAME;
}

enum netdev_event netdev_service(struct netdev *d)
{
	const char *why;

	if (!d->up)
		return try_connect(d);
	if (d->args.server)
		frontend_turn_away(&d->fe);
	why = trouble(d);
	if (!why && channel_read(&d->channel))
		return news(d);
	if (!why)
		return NETDEV_SAME;
	return give_up(d, why);
}

int netdev_timeout_ms(const struct netdev *d)
{
	uint64_t now = clock_now();

	if (d->up || d->args.server)
		return -1;
	return now >= d->retry_ns ? 0 : (int)((d->retry_ns - now) / NSEC_PER_MSEC) + 1;
}

const char *netdev_why(const struct netdev *d)
{
	return d->why;
}

int netdev_fd(const struct netdev *d)
{
	return d->epfd;
}

void netdev_ack(struct netdev *d)
{
	struct epoll_event ev[16];

	/* Level-triggered ones (socket, listener, error) stay until netdev_service() has dealt with them. */
	if (epoll_wait(d->epfd, ev, 16, 0) < 0)
		return;
}

int netdev_enable(struct netdev *d, uint32_t n)
{
	uint32_t old = d->enable;
	int ret;

	if (!n || n > d->args.queues)
		return -EINVAL;
	d->enable = n;
	ret = d->up ? enable_first(d) : 0;
	if (ret == -ENOTSUP) {
		d->enable = old;
		d->nenabled = d->npairs;
	} else if (ret) {
		/* Nobody knows what is enabled now; netdev_service() finds the connection closed. */
		shutdown(d->fe.fd, SHUT_RDWR);
	}
	return ret;
}

bool netdev_arm_rx(struct netdev *d, uint32_t pair)
{
	return pair < d->npairs && dring_arm(&d->pair[pair].rx);
}

bool netdev_arm_tx(struct netdev *d, uint32_t pair)
{
	return pair < d->npairs && dring_arm(&d->pair[pair].tx);
}

void netdev_disarm(struct netdev *d)
{
	for (uint32_t i = 0; i < d->npairs; i++) {
		dring_disarm(&d->pair[i].rx);
		dring_disarm(&d->pair[i].tx);
	}
}
