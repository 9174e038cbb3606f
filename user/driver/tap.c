// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "driver/tap.h"

/* Younger than the oldest headers we build with. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#define HDR_SIZE sizeof(struct virtio_net_hdr_v1)

struct where {
	char *err;
	size_t errlen;
};

static int fail(const struct where *w, int ret, const char *what, const char *name, const char *hint)
{
	snprintf(w->err, w->errlen, "%s %s: %s%s%s", what, name, strerror(-ret), hint ? "; " : "", hint ? hint : "");
	return ret;
}

/* A number is a process id, anything else a name as "ip netns" makes them. */
static int open_netns(const char *netns)
{
	bool pid = *netns && strspn(netns, "0123456789") == strlen(netns);
	char path[300];
	int fd;

	if (!pid && (!*netns || strchr(netns, '/') || netns[0] == '.'))
		return -EINVAL;
	if (snprintf(path, sizeof(path), pid ? "/proc/%s/ns/net" : "/run/netns/%s", netns) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void name_request(struct ifreq *ifr, const char *ifname)
{
	memset(ifr, 0, sizeof(*ifr));
	memcpy(ifr->ifr_name, ifname, strlen(ifname));
}

static int open_queue(const char *ifname)
{
	int hdr = HDR_SIZE, little = 1;
	struct ifreq ifr;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), ret;

	if (fd < 0)
		return -errno;
	name_request(&ifr, ifname);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR;
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &hdr) || ioctl(fd, TUNSETVNETLE, &little) ||
	    ioctl(fd, TUNSETOFFLOAD, 0)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static int set_up(const char *ifname, const uint8_t mac[6], uint32_t mtu)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;
	struct ifreq ifr;

	if (fd < 0)
		return -errno;
	name_request(&ifr, ifname);
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
	if (ioctl(fd, SIOCSIFHWADDR, &ifr))
		ret = -errno;
	name_request(&ifr, ifname);
	ifr.ifr_mtu = (int)mtu;
	if (!ret && ioctl(fd, SIOCSIFMTU, &ifr))
		ret = -errno;
	name_request(&ifr, ifname);
	if (!ret && ioctl(fd, SIOCGIFFLAGS, &ifr))
		ret = -errno;
	ifr.ifr_flags |= IFF_UP;
	if (!ret && ioctl(fd, SIOCSIFFLAGS, &ifr))
		ret = -errno;
	close(fd);
	return ret;
}

int tap_carrier(int fd, bool on)
{
	int value = on;

	return ioctl(fd, TUNSETCARRIER, &value) ? -errno : 0;
}

/* What the kernel may leave undone in frames we read, for what the device does with frames we send. */
static unsigned tun_flags(uint64_t features)
{
	unsigned f = TUN_F_CSUM;

	if (!(features & NETF(VIRTIO_NET_F_CSUM)))
		return 0;
	if (features & NETF(VIRTIO_NET_F_HOST_TSO4))
		f |= TUN_F_TSO4;
	if (features & NETF(VIRTIO_NET_F_HOST_TSO6))
		f |= TUN_F_TSO6;
	if (features & NETF_HOST_TSO && features & NETF(VIRTIO_NET_F_HOST_ECN))
		f |= TUN_F_TSO_ECN;
	if (features & NETF(VIRTIO_NET_F_HOST_USO))
		f |= TUN_F_USO4 | TUN_F_USO6;
	return f;
}

int tap_set_offloads(int fd, uint64_t features)
{
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)tun_flags(features)) ? -errno : 0;
}

uint64_t tap_offloads(int fd)
{
	const uint64_t uso = NETF(VIRTIO_NET_F_HOST_USO) | NETF(VIRTIO_NET_F_GUEST_USO4) |
			     NETF(VIRTIO_NET_F_GUEST_USO6);
	uint64_t features = NETF_OFFLOADS;

	/* A kernel that can be asked for USO (since 6.2) also takes such frames. */
	if (tap_set_offloads(fd, features)) {
		features &= ~uso;
		if (tap_set_offloads(fd, features))
			features = 0;
	}
	tap_set_offloads(fd, 0);
	return features;
}

ssize_t tap_read(int fd, struct virtio_net_hdr_v1 *hdr, const struct iovec *iov, unsigned n)
{
	struct iovec all[TAP_PIECES] = { { hdr, HDR_SIZE } };
	size_t room = HDR_SIZE;
	ssize_t len;

	for (unsigned i = 0; i < n; i++) {
		all[i + 1] = iov[i];
		room += iov[i].iov_len;
	}
	do
		len = readv(fd, all, (int)n + 1);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	if ((size_t)len >= room)	/* the kernel cuts what is longer, and does not say so */
		return -EMSGSIZE;
	return len < (ssize_t)HDR_SIZE ? -EIO : len - (ssize_t)HDR_SIZE;
}

int tap_write(int fd, const struct frame *f)
{
	struct virtio_net_hdr_v1 hdr = f->hdr;
	struct iovec iov[3] = { { &hdr, HDR_SIZE }, { f->data, f->len }, { (void *)f->tail, f->tail_len } };
	ssize_t len, all = (ssize_t)(HDR_SIZE + f->len + f->tail_len);

	hdr.num_buffers = 0;
	do
		len = writev(fd, iov, f->tail_len ? 3 : 2);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	return len == all ? 0 : -EIO;
}

static int open_here(const char *ifname, const uint8_t mac[6], uint32_t mtu, int *fds, unsigned queues,
		     const struct where *w)
{
	int ret = 0;

	for (unsigned i = 0; i < queues; i++) {
		fds[i] = open_queue(ifname);
		if (fds[i] >= 0)
			continue;
		ret = fail(w, fds[i], "tap interface", ifname,
			   fds[i] == -EPERM ? "it needs CAP_NET_ADMIN" : fds[i] == -EBUSY ? "it exists already" : NULL);
		queues = i;
		goto fail;
	}
	tap_carrier(fds[0], false);
	ret = set_up(ifname, mac, mtu);
	if (!ret)
		return 0;
	fail(w, ret, "setting up", ifname, NULL);
fail:
	while (queues)
		close(fds[--queues]);
	return ret;
}

int tap_open(const char *ifname, const char *netns, const uint8_t mac[6], uint32_t mtu, int *fds, unsigned queues,
	     char *err, size_t errlen)
{
	struct where w = { err, errlen };
	int old = -1, new = -1, ret;

	if (!*ifname || strlen(ifname) >= IFNAMSIZ || strpbrk(ifname, "/%: "))
		return fail(&w, -EINVAL, "interface name", ifname, NULL);
	if (!netns)
		return open_here(ifname, mac, mtu, fds, queues, &w);
	new = open_netns(netns);
	if (new < 0)
		return fail(&w, new, "network namespace", netns, "give a name that 'ip netns' shows or a process id");
	old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (old < 0 || setns(new, CLONE_NEWNET)) {
		ret = fail(&w, -errno, "entering network namespace", netns, "it needs CAP_SYS_ADMIN");
		goto out;
	}
	ret = open_here(ifname, mac, mtu, fds, queues, &w);
	if (setns(old, CLONE_NEWNET) && !ret) {
		ret = fail(&w, -errno, "leaving network namespace", netns, NULL);
		while (queues)
			close(fds[--queues]);
	}
out:
	if (old >= 0)
		close(old);
	close(new);
	return ret;
}
