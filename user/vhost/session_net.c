/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages that only a network device has, and its configuration.
 *
 * The configuration is read-only for front-ends. It follows the uplink, and
 * when it changes the front-end is told so (CONFIG_CHANGE_MSG) and asks for it.
 * The channel for that is the front-end's: nothing is ever read from it, and
 * what does not fit into it at once waits for the next tick, as one message
 * however often the configuration changed.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "vhost/session_internal.h"

#define MTU_MIN 68		/* virtio 1.3, 5.1.4.1 */
#define MTU_MAX 65535

/* The address is the payload's first six bytes, in their order in memory. */
int session_send_rarp(struct session *s, struct request *rq)
{
	static const uint8_t zero[6];
	uint8_t mac[6];
	int ret;

	memcpy(mac, rq->msg->payload.raw, sizeof(mac));
	if (mac[0] & 1 || !memcmp(mac, zero, sizeof(mac)))
		return session_refuse(s, rq, -1, "no guest can have this address");
	ret = s->ops->rarp(s->ctx, mac);
	return ret < 0 ? session_refuse(s, rq, -1, strerror(-ret)) : 0;
}

/* Not compared with the uplink's MTU: what a port takes today it takes tomorrow, on another NIC. */
int session_net_set_mtu(struct session *s, struct request *rq)
{
	uint64_t mtu = rq->msg->payload.u64;

	if (mtu < MTU_MIN || mtu > MTU_MAX)
		return session_refuse(s, rq, -1, "the MTU is not from 68 to 65535");
	s->ops->mtu(s->ctx, (uint32_t)mtu);
	s->st.mtu = (uint16_t)mtu;
	session_config_now(s, &s->st.config);	/* no news to who said it */
	return 0;
}

void session_config_now(struct session *s, struct virtio_net_config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	s->ops->config(s->ctx, cfg);
	if (s->st.mtu)
		cfg->mtu = htole16(s->st.mtu);
}

/* Compared with what was true when somebody last looked: a change that is back before the tick would be missed. */
static void look_for_change(struct session *s, const struct virtio_net_config *now)
{
	if (!memcmp(now, &s->st.config, sizeof(*now)))
		return;
	s->st.config = *now;
	s->st.config_changed = true;
}

/* Return: the span that the message says is one, and the message has room for it. */
static bool config_span(const struct vhost_user_msg *msg)
{
	const struct vhost_user_config *c = &msg->payload.config;

	return c->offset <= VHOST_USER_CONFIG_MAX && c->size <= VHOST_USER_CONFIG_MAX - c->offset &&
	       msg->hdr.size == VHOST_USER_CONFIG_HDR + c->size;
}

/*
 * "virtio device config space". Behind what a network device of today has there are zeroes, as there are where the field
 * of a feature is that was not offered.
 */
int session_get_config(struct session *s, struct request *rq)
{
	const struct vhost_user_config *c = &rq->msg->payload.config;
	struct vhost_user_config *to = &rq->reply->payload.config;
	uint8_t all[VHOST_USER_CONFIG_MAX] = { 0 };
	struct virtio_net_config now;

	if (!config_span(rq->msg))
		return session_refuse(s, rq, -1, "beyond the configuration, or not as long as it says");
	session_config_now(s, &now);
	look_for_change(s, &now);	/* it may be shown a part only, and is told of the whole by the next tick */
	memcpy(all, &now, sizeof(now));
	to->offset = c->offset;
	to->size = c->size;
	to->flags = c->flags;
	memcpy(to->data, all + c->offset, c->size);
	rq->reply->hdr.size = rq->msg->hdr.size;
	return 0;
}

int session_set_config(struct session *s, struct request *rq)
{
	return session_refuse(s, rq, -1, "all of the configuration is read-only");
}

/* A stream socket of the machine with somebody at its other end: what is sent there cannot block, and leaves no packet. */
static bool is_channel(int fd)
{
	struct sockaddr_storage peer;
	int type = 0, domain = 0;
	socklen_t len = sizeof(type), len2 = sizeof(domain), len3 = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_STREAM &&
	       !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len2) && domain == AF_UNIX &&
	       !getpeername(fd, (struct sockaddr *)&peer, &len3);
}

int session_set_backend_req_fd(struct session *s, struct request *rq)
{
	if (!is_channel(rq->fds[0]))
		return session_refuse(s, rq, -1, "the fd is not a connected UNIX stream socket");
	fd_replace(&s->st.channel, fd_take(rq, 0));
	session_tick(s);
	return 0;
}

/* Return: it is said, or cannot be said any more. */
static bool say_config_changed(struct session *s)
{
	const struct vhost_user_hdr h = { VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_VERSION, 0 };
	ssize_t n = send(s->st.channel, &h, sizeof(h), MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == (ssize_t)sizeof(h))
		return true;
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM))
		return false;
	/* A part of a message would make nonsense of what follows, too. */
	session_complain(s, "the front-end's channel is closed: %s", n < 0 ? strerror(errno) : "it takes half a message");
	fd_replace(&s->st.channel, -1);
	return true;
}

void session_tick(struct session *s)
{
	const uint64_t both = BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ);
	struct virtio_net_config now;

	session_config_now(s, &now);
	look_for_change(s, &now);
	if ((s->st.protocol_features & both) != both)
		s->st.config_changed = false;	/* whoever wants to know it later asks for it first */
	else if (s->st.config_changed && s->st.channel >= 0)
		s->st.config_changed = !say_config_changed(s);
}
