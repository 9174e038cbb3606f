// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "driver/frontend.h"
#include "driver/netfeatures.h"
#include "vhost_user.h"

#define BIT(n) (1ull << (n))
#define HDR_SIZE sizeof(struct vhost_user_hdr)

static int fail(struct frontend *f, int ret, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(struct frontend *f, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->why, sizeof(f->why), fmt, ap);
	va_end(ap);
	return ret;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, path, strlen(path));
	return a;
}

/* Is somebody listening at the path? */
static bool path_alive(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno != ECONNREFUSED);

	if (fd >= 0)
		close(fd);
	return alive;
}

static int listen_at(struct frontend *f)
{
	struct sockaddr_un a = address(f->path);
	struct stat st;
	int ret;

	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (f->listen_fd < 0)
		return -errno;
	ret = bind(f->listen_fd, (struct sockaddr *)&a, sizeof(a));
	if (ret && errno == EADDRINUSE) {
		if (lstat(f->path, &st) || !S_ISSOCK(st.st_mode) || path_alive(&a))
			return -EADDRINUSE;
		unlink(f->path);
		ret = bind(f->listen_fd, (struct sockaddr *)&a, sizeof(a));
	}
	return ret || listen(f->listen_fd, 4) ? -errno : 0;
}

int frontend_open(struct frontend *f, const char *path, bool server)
{
	int ret;

	*f = (struct frontend){ .server = server, .listen_fd = -1, .fd = -1 };
	if (!*path || strlen(path) >= sizeof(f->path))
		return fail(f, -EINVAL, "socket path is empty or too long");
	strcpy(f->path, path);
	if (!server)
		return 0;
	ret = listen_at(f);
	if (!ret)
		return 0;
	if (f->listen_fd >= 0)
		close(f->listen_fd);
	f->listen_fd = -1;
	return fail(f, ret, "cannot listen at %s: %s", path, strerror(-ret));
}

void frontend_close(struct frontend *f)
{
	frontend_disconnect(f);
	if (f->listen_fd < 0)
		return;
	close(f->listen_fd);
	unlink(f->path);
	f->listen_fd = -1;
}

void frontend_disconnect(struct frontend *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->offered = f->features = f->protocol = 0;
	f->max_pairs = 0;
}

static int client_connect(struct frontend *f)
{
	struct sockaddr_un a = address(f->path);
	int flags = SOCK_STREAM | SOCK_CLOEXEC, ret;

	/* Non-blocking to connect: a full backlog is an error, not a wait. */
	f->fd = socket(AF_UNIX, flags | SOCK_NONBLOCK, 0);
	if (f->fd < 0)
		return -errno;
	if (connect(f->fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return 0;
	ret = -errno;
	frontend_disconnect(f);
	return ret;
}

int frontend_connect(struct frontend *f)
{
	struct timeval tv = { .tv_sec = FRONTEND_TIMEOUT_S };
	int nonblock = 0, ret = 0;

	frontend_disconnect(f);
	if (f->server) {
		f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		ret = f->fd < 0 ? -errno : 0;
		if (ret)
			return fail(f, ret, "no back-end has connected to %s", f->path);
	} else {
		ret = client_connect(f);
		if (ret)
			return fail(f, ret, "%s: %s", f->path, strerror(-ret));
	}
	if (ioctl(f->fd, FIONBIO, &nonblock) || setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) ||
	    setsockopt(f->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv))) {
		ret = -errno;
		frontend_disconnect(f);
		return fail(f, ret, "socket options: %s", strerror(-ret));
	}
	return 0;
}

/* Header and payload as two iovecs: the struct has padding between them that is not on the wire. */
static int send_msg(struct frontend *f, struct vhost_user_msg *m, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov[2] = { { &m->hdr, HDR_SIZE }, { &m->payload, m->hdr.size } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	do
		n = sendmsg(f->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == HDR_SIZE + m->hdr.size ? 0 : -EIO;
}

/* Exactly @len bytes, by the deadline that the socket has. fds that come along are dropped by recv(). */
static int read_all(struct frontend *f, void *to, size_t len)
{
	uint8_t *p = to;

	while (len) {
		ssize_t n = recv(f->fd, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* @none: an answer without a payload says that there is none, -ENODATA. */
static int read_answer(struct frontend *f, uint32_t request, void *payload, uint32_t size, bool none)
{
	struct vhost_user_hdr h;
	int ret = read_all(f, &h, sizeof(h));

	if (ret)
		return fail(f, ret, "no answer to request %u: %s", request, strerror(-ret));
	if (h.request != request || (h.size != size && !(none && !h.size)) || !(h.flags & VHOST_USER_REPLY) ||
	    (h.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return fail(f, -EPROTO, "bad answer to request %u (request %u, flags %#x, size %u)", request,
			    h.request, h.flags, h.size);
	ret = read_all(f, payload, h.size);
	if (ret)
		return fail(f, ret, "answer to request %u is cut short", request);
	return h.size == size ? 0 : -ENODATA;
}

static int read_reply(struct frontend *f, uint32_t request, void *payload, uint32_t size)
{
	return read_answer(f, request, payload, size, false);
}

/* A message without an answer of its own; with REPLY_ACK in force it gets one. */
static int set(struct frontend *f, struct vhost_user_msg *m, int fd)
{
	bool ack = f->protocol & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	uint64_t status = 0;
	int ret;

	m->hdr.flags = VHOST_USER_VERSION | (ack ? VHOST_USER_NEED_REPLY : 0);
	ret = send_msg(f, m, fd);
	if (ret)
		return fail(f, ret, "request %u cannot be sent: %s", m->hdr.request, strerror(-ret));
	if (!ack)
		return 0;
	ret = read_reply(f, m->hdr.request, &status, sizeof(status));
	if (!ret && status)
		return fail(f, -EREMOTEIO, "the back-end refuses request %u", m->hdr.request);
	return ret;
}

static int set_u64(struct frontend *f, uint32_t request, uint64_t value, int fd)
{
	struct vhost_user_msg m = { .hdr = { .request = request, .size = 8 }, .payload.u64 = value };

	return set(f, &m, fd);
}

static int set_state(struct frontend *f, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_msg m = { .hdr = { .request = request, .size = 8 }, .payload.state = { index, num } };

	return set(f, &m, -1);
}

static int get_u64(struct frontend *f, uint32_t request, uint64_t *value)
{
	struct vhost_user_msg m = { .hdr = { .request = request, .flags = VHOST_USER_VERSION } };
	int ret = send_msg(f, &m, -1);

	if (ret)
		return fail(f, ret, "request %u cannot be sent: %s", request, strerror(-ret));
	return read_reply(f, request, value, sizeof(*value));
}

static int negotiate_protocol(struct frontend *f)
{
	uint64_t offered = 0, use = BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
				    BIT(VHOST_USER_PROTOCOL_F_STATUS);
	int ret = get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES, &offered);

	if (ret)
		return ret;
	/* All that is looked for in the configuration is the link. A channel without one has nothing to say. */
	if (f->features & BIT(VIRTIO_NET_F_STATUS) && offered & BIT(VHOST_USER_PROTOCOL_F_CONFIG))
		use |= BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ);
	use &= offered;
	ret = set_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, use, -1);
	if (ret)
		return ret;
	f->protocol = use;	/* from the next message on */
	return 0;
}

static int set_status(struct frontend *f, uint64_t status)
{
	if (!(f->protocol & BIT(VHOST_USER_PROTOCOL_F_STATUS)))
		return 0;
	return set_u64(f, VHOST_USER_SET_STATUS, status, -1);
}

#define STATUS_DRIVER (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define STATUS_FEATURES (STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)

/* virtio: "Driver Requirements: Device Initialization": read back whether the device accepts the features. */
static int set_features(struct frontend *f)
{
	uint64_t status = 0;
	int ret = set_status(f, STATUS_DRIVER);

	if (!ret)
		ret = set_u64(f, VHOST_USER_SET_FEATURES, f->features, -1);
	if (!ret)
		ret = set_status(f, STATUS_FEATURES);
	if (ret || !(f->protocol & BIT(VHOST_USER_PROTOCOL_F_STATUS)))
		return ret;
	ret = get_u64(f, VHOST_USER_GET_STATUS, &status);
	if (!ret && !(status & VIRTIO_CONFIG_S_FEATURES_OK))
		return fail(f, -EPROTO, "the back-end does not accept the features %#llx",
			    (unsigned long long)f->features);
	return ret;
}

int frontend_negotiate(struct frontend *f, uint64_t wanted, uint64_t required)
{
	struct vhost_user_msg owner = { .hdr = { .request = VHOST_USER_SET_OWNER } };
	uint64_t offered = 0, pairs = 1;
	char missing[100];
	int ret = get_u64(f, VHOST_USER_GET_FEATURES, &offered);

	if (ret)
		return ret;
	/* Some need others, which may be missing too. */
	f->offered = offered;
	f->features = netfeatures_usable(offered & (wanted | BIT(VHOST_USER_F_PROTOCOL_FEATURES)));
	if (required & ~f->features) {
		netfeatures_names(required & ~f->features, missing, sizeof(missing));
		f->features = 0;
		return fail(f, -EPROTO, "the back-end does not offer %s", missing);
	}
	f->protocol = 0;
	if (f->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES))
		ret = negotiate_protocol(f);
	if (!(f->protocol & BIT(VHOST_USER_PROTOCOL_F_CONFIG)))
		f->features &= ~BIT(VIRTIO_NET_F_STATUS);	/* it would be nowhere to be read */
	if (!ret && f->protocol & BIT(VHOST_USER_PROTOCOL_F_MQ))
		ret = get_u64(f, VHOST_USER_GET_QUEUE_NUM, &pairs);
	if (!ret)
		ret = set(f, &owner, -1);
	if (ret)
		return ret;
	if (!pairs)
		return fail(f, -EPROTO, "the back-end has no queues");
	f->max_pairs = pairs > UINT32_MAX ? UINT32_MAX : (uint32_t)pairs;
	return set_features(f);
}

int frontend_mem_table(struct frontend *f, int memfd, uint64_t size, uint64_t guest_addr, const void *user)
{
	struct vhost_user_msg m = { .hdr = { .request = VHOST_USER_SET_MEM_TABLE } };

	m.hdr.size = 8 + sizeof(struct vhost_user_mem_region);
	m.payload.mem.nregions = 1;
	m.payload.mem.region[0] = (struct vhost_user_mem_region){ .guest_addr = guest_addr, .size = size,
								  .user_addr = (uintptr_t)user };
	return set(f, &m, memfd);
}

/* vhost-user: "VHOST_USER_SET_VRING_KICK": bit 8 says that no fd comes along. */
static int set_fd(struct frontend *f, uint32_t request, uint32_t index, int fd)
{
	return set_u64(f, request, index | (fd < 0 ? VHOST_USER_VRING_NOFD : 0), fd);
}

int frontend_ring_start(struct frontend *f, const struct frontend_ring *r)
{
	struct vhost_user_msg m = { .hdr = { .request = VHOST_USER_SET_VRING_ADDR,
					     .size = sizeof(struct vhost_user_vring_addr) } };
	int ret = set_state(f, VHOST_USER_SET_VRING_NUM, r->index, r->size);

	m.payload.addr = (struct vhost_user_vring_addr){ .index = r->index, .desc = r->desc, .used = r->used,
							 .avail = r->avail };
	if (!ret)
		ret = set_state(f, VHOST_USER_SET_VRING_BASE, r->index, r->base);
	if (!ret)
		ret = set(f, &m, -1);
	if (!ret && r->errfd >= 0)
		ret = set_fd(f, VHOST_USER_SET_VRING_ERR, r->index, r->errfd);
	if (!ret)
		ret = set_fd(f, VHOST_USER_SET_VRING_CALL, r->index, r->callfd);
	if (!ret)
		ret = set_fd(f, VHOST_USER_SET_VRING_KICK, r->index, r->kickfd);
	return ret;
}

int frontend_ring_stop(struct frontend *f, uint32_t index, uint32_t *base)
{
	struct vhost_user_msg m = { .hdr = { .request = VHOST_USER_GET_VRING_BASE, .flags = VHOST_USER_VERSION,
					     .size = 8 } };
	struct vhost_user_vring_state s = { 0 };
	int ret;

	m.payload.state.index = index;
	ret = send_msg(f, &m, -1);
	if (!ret)
		ret = read_reply(f, VHOST_USER_GET_VRING_BASE, &s, sizeof(s));
	if (!ret && base)
		*base = s.num;
	return ret;
}

int frontend_enable(struct frontend *f, uint32_t index, bool on)
{
	if (!(f->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
		return fail(f, -ENOTSUP, "the back-end cannot enable and disable rings");
	return set_state(f, VHOST_USER_SET_VRING_ENABLE, index, on);
}

int frontend_driver_ok(struct frontend *f)
{
	return set_status(f, STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK);
}

bool frontend_has_config(const struct frontend *f)
{
	return f->protocol & BIT(VHOST_USER_PROTOCOL_F_CONFIG);
}

bool frontend_has_channel(const struct frontend *f)
{
	return f->protocol & BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ);
}

int frontend_channel(struct frontend *f, int fd)
{
	struct vhost_user_msg m = { .hdr = { .request = VHOST_USER_SET_BACKEND_REQ_FD } };

	return set(f, &m, fd);
}

/* No more than has been offered: what is behind that need not be there. */
int frontend_get_config(struct frontend *f, struct virtio_net_config *cfg)
{
	const uint32_t len = f->offered & BIT(VIRTIO_NET_F_SPEED_DUPLEX)
				     ? offsetof(struct virtio_net_config, duplex) + sizeof(cfg->duplex)
				     : offsetof(struct virtio_net_config, mtu) + sizeof(cfg->mtu);
	struct vhost_user_msg m = { .hdr = { .request = VHOST_USER_GET_CONFIG, .flags = VHOST_USER_VERSION,
					     .size = VHOST_USER_CONFIG_HDR + len } };
	struct vhost_user_config *c = &m.payload.config;
	int ret;

	*cfg = (struct virtio_net_config){ 0 };
	c->size = len;
	ret = send_msg(f, &m, -1);
	if (ret)
		return fail(f, ret, "request %u cannot be sent: %s", m.hdr.request, strerror(-ret));
	ret = read_answer(f, VHOST_USER_GET_CONFIG, c, m.hdr.size, true);
	if (ret)
		return ret;
	if (c->offset || c->size != len)
		return fail(f, -EPROTO, "another part of the configuration than was asked for");
	memcpy(cfg, c->data, len);
	return 0;
}

bool frontend_lost(struct frontend *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLIN | POLLRDHUP };

	if (f->fd < 0)
		return true;
	if (poll(&p, 1, 0) <= 0 || !p.revents)
		return false;
	if (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
		fail(f, 0, "the back-end closed the connection");
	else
		fail(f, 0, "the back-end sent what nobody asked for");
	return true;
}

void frontend_turn_away(struct frontend *f)
{
	int fd = f->listen_fd >= 0 ? accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;

	if (fd >= 0)
		close(fd);
}
