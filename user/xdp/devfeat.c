/* SPDX-License-Identifier: BSD-2-Clause */
/* Two questions over generic netlink: the family's number, then the device's features. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

#include "xdp/devfeat.h"

/* linux/netdev.h is younger than the oldest headers we build with. */
#define FAMILY "netdev"
#define CMD_DEV_GET 1
#define ATTR_IFINDEX 1
#define ATTR_RX_METADATA 5
#define ATTR_XSK 6
#define MESSAGE 8192

/* Takes one attribute of an answer. */
typedef void (*take_attr)(const struct nlattr *a, void *to);

/* Sends the message in @buf; the answer's attributes go to @take. */
static int ask(int fd, char *buf, take_attr take, void *to)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
	const struct nlmsgerr *e;
	struct nlattr *a;
	ssize_t n;

	h->nlmsg_seq = 1;
	if (send(fd, h, h->nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, buf, MESSAGE, 0);		/* the kernel answers before send() returns */
	if (n < 0)
		return -errno;
	if (!mnl_nlmsg_ok(h, (int)n))
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR) {
		e = mnl_nlmsg_get_payload(h);
		return mnl_nlmsg_get_payload_len(h) >= sizeof(e->error) && e->error ? e->error : -EPROTO;
	}
	if (mnl_nlmsg_get_payload_len(h) < GENL_HDRLEN)
		return -EPROTO;
	mnl_attr_for_each(a, h, GENL_HDRLEN)
		take(a, to);
	return 0;
}

static struct nlmsghdr *begin(char *buf, uint16_t type, uint8_t cmd)
{
	struct nlmsghdr *h;
	struct genlmsghdr *g;

	memset(buf, 0, MESSAGE);
	h = mnl_nlmsg_put_header(buf);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->cmd = cmd;
	g->version = 1;
	return h;
}

static void take_family(const struct nlattr *a, void *to)
{
	if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID && mnl_attr_get_payload_len(a) >= sizeof(uint16_t))
		*(uint16_t *)to = mnl_attr_get_u16(a);
}

static void take_features(const struct nlattr *a, void *to)
{
	struct devfeat *f = to;

	if (mnl_attr_get_payload_len(a) < sizeof(uint64_t))
		return;
	if (mnl_attr_get_type(a) == ATTR_RX_METADATA)
		f->rx_metadata = mnl_attr_get_u64(a);
	if (mnl_attr_get_type(a) == ATTR_XSK)
		f->xsk = mnl_attr_get_u64(a);
}

int devfeat_read(const struct host_ops *host, int ifindex, struct devfeat *f)
{
	char buf[MESSAGE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h;
	uint16_t family = 0;
	int fd, ret;

	memset(f, 0, sizeof(*f));
	fd = host->genl(host);
	if (fd < 0)
		return fd;
	h = begin(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, FAMILY);
	ret = ask(fd, buf, take_family, &family);
	if (!ret && !family)
		ret = -ENOENT;
	if (!ret) {
		h = begin(buf, family, CMD_DEV_GET);
		mnl_attr_put_u32(h, ATTR_IFINDEX, (uint32_t)ifindex);
		ret = ask(fd, buf, take_features, f);
	}
	close(fd);
	return ret;
}
