/* SPDX-License-Identifier: BSD-2-Clause */
/* RTM_GETROUTE. A table that changes while it is read is read again, and devices found before stay: better one too many. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "base/clock.h"
#include "xdp/nldump.h"
#include "xdp/routes.h"

#define DEADLINE_NS NSEC_PER_SEC
#define TRIES 3

/* linux/rtnetlink.h has it since 5.3. */
#define ATTR_NH_ID 30

/* What matters of one route. */
struct route {
	uint32_t table;
	const struct nlattr *oif, *multipath, *dst;
	bool nexthop_object;
};

bool routes_through(const struct routes *r, int ifindex)
{
	unsigned i;

	for (i = 0; i < r->n; i++)
		if (r->ifindex[i] == ifindex)
			return true;
	return false;
}

static int add(struct routes *r, int ifindex)
{
	if (ifindex <= 0 || routes_through(r, ifindex))
		return 0;
	if (r->n == ROUTES_DEVICES)
		return -E2BIG;
	r->ifindex[r->n++] = ifindex;
	return 0;
}

static bool attr_u32(const struct nlattr *a, uint32_t *v)
{
	if (mnl_attr_get_payload_len(a) < sizeof(*v))
		return false;
	memcpy(v, mnl_attr_get_payload(a), sizeof(*v));
	return true;
}

static int add_multipath(struct routes *r, const struct nlattr *a)
{
	const uint8_t *at = mnl_attr_get_payload(a);
	size_t left = mnl_attr_get_payload_len(a), step;
	struct rtnexthop nh;
	int ret;

	while (left >= sizeof(nh)) {
		memcpy(&nh, at, sizeof(nh));
		if (nh.rtnh_len < sizeof(nh) || nh.rtnh_len > left)
			return -EPROTO;
		ret = add(r, nh.rtnh_ifindex);
		if (ret)
			return ret;
		step = RTNH_ALIGN(nh.rtnh_len);
		if (step > left)
			break;
		at += step;
		left -= step;
	}
	return 0;
}

/* fe80::/10 and ff00::/8 */
static bool every_interface_has_it(const struct rtmsg *rtm, const struct route *route)
{
	const uint8_t *dst;

	if (rtm->rtm_family != AF_INET6 || !route->dst || mnl_attr_get_payload_len(route->dst) < 16)
		return false;
	dst = mnl_attr_get_payload(route->dst);
	return (rtm->rtm_dst_len >= 10 && dst[0] == 0xfe && (dst[1] & 0xc0) == 0x80) ||
	       (rtm->rtm_dst_len >= 8 && dst[0] == 0xff);
}

static int on_route(void *arg, const struct nlmsghdr *h)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(h);
	struct route route = { 0 };
	struct routes *r = arg;
	const struct nlattr *a;
	uint32_t v;

	if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof(*rtm))
		return 0;
	if (rtm->rtm_type != RTN_UNICAST || (rtm->rtm_flags & RTM_F_CLONED))
		return 0;
	route.table = rtm->rtm_table;
	mnl_attr_for_each(a, h, sizeof(*rtm)) {
		switch (mnl_attr_get_type(a)) {
		case RTA_TABLE:
			attr_u32(a, &route.table);
			break;
		case RTA_OIF:
			route.oif = a;
			break;
		case RTA_MULTIPATH:
			route.multipath = a;
			break;
		case RTA_DST:
			route.dst = a;
			break;
		case ATTR_NH_ID:
			route.nexthop_object = true;
			break;
		}
	}
	if (route.table != RT_TABLE_MAIN || every_interface_has_it(rtm, &route))
		return 0;
	if (route.multipath)
		return add_multipath(r, route.multipath);
	if (route.oif)
		return attr_u32(route.oif, &v) ? add(r, (int)v) : -EPROTO;
	/* With net.ipv4.nexthop_compat_mode=0 the device is not told. */
	return route.nexthop_object ? -ENODATA : 0;
}

static int read_family(const struct host_ops *host, uint8_t family, struct routes *r, uint64_t deadline)
{
	char buf[128] __attribute__((aligned(8)));
	struct nlmsghdr *h;
	struct rtmsg *rtm;
	int ret = 1, i;

	for (i = 0; i < TRIES && ret > 0; i++) {
		memset(buf, 0, sizeof(buf));
		h = mnl_nlmsg_put_header(buf);
		h->nlmsg_type = RTM_GETROUTE;
		rtm = mnl_nlmsg_put_extra_header(h, sizeof(*rtm));
		rtm->rtm_family = family;
		rtm->rtm_table = RT_TABLE_MAIN;
		rtm->rtm_type = RTN_UNICAST;
		ret = nldump(host, h, on_route, r, deadline);
	}
	return ret < 0 ? ret : 0;
}

int routes_read(const struct host_ops *host, struct routes *r)
{
	uint64_t deadline = clock_now() + DEADLINE_NS;
	int ret;

	r->n = 0;
	ret = read_family(host, AF_INET, r, deadline);
	if (ret && ret != -ENOENT)	/* a namespace without a route has no table */
		return ret;
	ret = read_family(host, AF_INET6, r, deadline);
	if (ret == -ENOENT || ret == -EAFNOSUPPORT || ret == -EOPNOTSUPP)	/* a kernel without IPv6 */
		return 0;
	return ret;
}
