// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/channel.h"

#define HDR_SIZE sizeof(struct vhost_user_hdr)

int channel_open(struct channel *c, bool acks, int *theirs)
{
	int fds[2];

	*c = (struct channel){ .fd = -1, .acks = acks };
	*theirs = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	c->fd = fds[0];
	*theirs = fds[1];
	return 0;
}

void channel_close(struct channel *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Bytes, 0 = none now; the channel may be closed after this. fds that come along are dropped by recv(). */
static uint32_t take(struct channel *c, void *to, uint32_t len)
{
	ssize_t n;

	do
		n = recv(c->fd, to, len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (uint32_t)n;
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		channel_close(c);
	return 0;
}

/* vhost-user: "Header": version 1, and nobody asked anything that could be answered here. */
static bool well_formed(const struct vhost_user_hdr *h)
{
	return (h->flags & ~VHOST_USER_NEED_REPLY) == VHOST_USER_VERSION && h->size <= VHOST_USER_PAYLOAD_MAX;
}

static void answer(struct channel *c, uint64_t failure)
{
	struct vhost_user_hdr h = { c->hdr.request, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(failure) };
	uint8_t out[HDR_SIZE + sizeof(failure)];

	memcpy(out, &h, HDR_SIZE);
	memcpy(out + HDR_SIZE, &failure, sizeof(failure));
	if (send(c->fd, out, sizeof(out), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(out))
		channel_close(c);
}

/* A message whose payload, if any, has been skipped. */
static bool handle(struct channel *c)
{
	bool change = c->hdr.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG && !c->hdr.size;

	c->have = 0;
	if (c->acks && c->hdr.flags & VHOST_USER_NEED_REPLY)
		answer(c, !change);
	return change;
}

bool channel_read(struct channel *c)
{
	uint8_t payload[VHOST_USER_PAYLOAD_MAX];
	bool changed = false;

	for (unsigned i = 0; i < CHANNEL_TURN && c->fd >= 0; i++) {
		uint32_t n = c->have < HDR_SIZE ? take(c, (uint8_t *)&c->hdr + c->have, HDR_SIZE - c->have)
						: take(c, payload, c->skip);

		if (!n)
			break;
		if (c->have == HDR_SIZE) {
			c->skip -= n;
		} else {
			c->have += n;
			if (c->have < HDR_SIZE)
				continue;
			if (!well_formed(&c->hdr)) {
				channel_close(c);
				break;
			}
			c->skip = c->hdr.size;
		}
		if (!c->skip)
			changed |= handle(c);
	}
	return changed;
}
