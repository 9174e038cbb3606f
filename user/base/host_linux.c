/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_ops for a real Linux host: paths, UNIX sockets, netlink, ethtool and
 * packet sockets. The bpf(2) and AF_XDP part is in host_linux_bpf.c, tap
 * interfaces and tc programs in host_linux_tc.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/sockios.h>

#include "base/host_linux.h"
#include "base/host_ops.h"

static int linux_open(const struct host_ops *h, const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CLOEXEC, mode);

	(void)h;
	return fd < 0 ? -errno : fd;
}

static int linux_mkdir(const struct host_ops *h, const char *path, mode_t mode)
{
	(void)h;
	return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int linux_unlink(const struct host_ops *h, const char *path)
{
	(void)h;
	return unlink(path) < 0 ? -errno : 0;
}

static int linux_rmdir(const struct host_ops *h, const char *path)
{
	(void)h;
	return rmdir(path) < 0 ? -errno : 0;
}

static int unix_address(const char *path, struct sockaddr_un *sa)
{
	size_t len = strlen(path);

	if (!len || len >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, path, len);
	return 0;
}

static int linux_unix_connect(const struct host_ops *h, const char *path)
{
	struct sockaddr_un sa;
	int fd, ret;

	(void)h;
	ret = unix_address(path, &sa);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

/* A socket file that nobody listens on was left by a dead process: remove it. */
static int remove_dead_socket(const struct host_ops *h, const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = linux_unix_connect(h, path);
	if (fd >= 0) {
		close(fd);
		return -EADDRINUSE;
	}
	if (fd == -EAGAIN)	/* a listener whose backlog is full is alive */
		return -EADDRINUSE;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* The path may have been swapped since bind: change owner and mode only through a handle on the socket itself. */
static int give_socket(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	char self[40];
	struct stat st;
	int fd, ret = 0;

	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) < 0)
		ret = -errno;
	else if (!S_ISSOCK(st.st_mode))
		ret = -ENOTSOCK;
	else if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		ret = -errno;
	else if (mode != 0600 && chmod(self, mode) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int linux_unix_listen(const struct host_ops *h, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct sockaddr_un sa;
	int fd, ret;

	ret = unix_address(path, &sa);
	if (ret)
		return ret;
	ret = remove_dead_socket(h, path);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* bind() gives the file the socket's own mode: closed from its first instant. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	ret = give_socket(path, mode, uid, gid);
	if (!ret && listen(fd, 16) < 0)
		ret = -errno;
	if (ret) {
		unlink(path);
		close(fd);
		return ret;
	}
	return fd;
}

static int linux_is_bpffs(const struct host_ops *h, const char *path)
{
	struct statfs fs;

	(void)h;
	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static int netlink_socket(int protocol, uint32_t groups)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd, ret;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static int linux_netlink(const struct host_ops *h, uint32_t groups)
{
	(void)h;
	return netlink_socket(NETLINK_ROUTE, groups);
}

static int linux_genl(const struct host_ops *h)
{
	(void)h;
	return netlink_socket(NETLINK_GENERIC, 0);
}

static int linux_ethtool(const struct host_ops *h, const char *ifname, void *cmd)
{
	struct ifreq ifr = { .ifr_data = cmd };
	int fd, ret = 0;

	(void)h;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCETHTOOL, &ifr) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int linux_packet_socket(const struct host_ops *h, int ifindex, uint16_t protocol)
{
	struct sockaddr_ll sa = {
		.sll_family = AF_PACKET,
		.sll_ifindex = ifindex,
		.sll_protocol = htons(protocol),
	};
	int fd, ret;

	(void)h;
	/* Protocol 0 until bind: nothing is received from other interfaces in between. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static int linux_packet_membership(const struct host_ops *h, int fd, int ifindex, uint16_t type, const uint8_t mac[6],
				   bool add)
{
	struct packet_mreq req = { .mr_ifindex = ifindex, .mr_type = type, .mr_alen = 6 };

	(void)h;
	if (mac)
		memcpy(req.mr_address, mac, 6);
	if (setsockopt(fd, SOL_PACKET, add ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP, &req, sizeof(req)) < 0)
		return -errno;
	return 0;
}

static const struct host_ops linux_ops = {
	.open = linux_open,
	.mkdir = linux_mkdir,
	.unlink = linux_unlink,
	.rmdir = linux_rmdir,
	.unix_listen = linux_unix_listen,
	.unix_connect = linux_unix_connect,
	.is_bpffs = linux_is_bpffs,
	.netlink = linux_netlink,
	.genl = linux_genl,
	.ethtool = linux_ethtool,
	.packet_socket = linux_packet_socket,
	.packet_membership = linux_packet_membership,
	.tap = host_linux_tap,
	.link_set = host_linux_link_set,
	.memfd = host_linux_memfd,
	.xsk_socket = host_linux_xsk_socket,
	.xsk_umem_reg = host_linux_xsk_umem_reg,
	.xsk_bind = host_linux_xsk_bind,
	.bpf_load = host_linux_bpf_load,
	.bpf_xdp_query = host_linux_bpf_xdp_query,
	.bpf_link_xdp = host_linux_bpf_link_xdp,
	.bpf_link_update = host_linux_bpf_link_update,
	.bpf_link_ifindex = host_linux_bpf_link_ifindex,
	.bpf_link_detach = host_linux_bpf_link_detach,
	.bpf_link_prog_id = host_linux_bpf_link_prog_id,
	.bpf_map_id = host_linux_bpf_map_id,
	.bpf_pin = host_linux_bpf_pin,
	.bpf_get = host_linux_bpf_get,
	.bpf_map_update = host_linux_bpf_map_update,
	.bpf_map_delete = host_linux_bpf_map_delete,
	.bpf_map_next_key = host_linux_bpf_map_next_key,
	.bpf_map_lookup = host_linux_bpf_map_lookup,
	.bpf_link_tcx = host_linux_bpf_link_tcx,
	.tc_attach = host_linux_tc_attach,
	.tc_detach = host_linux_tc_detach,
	.dispatcher_attach = host_linux_dispatcher_attach,
	.dispatcher_detach = host_linux_dispatcher_detach,
};

const struct host_ops *host_linux(void)
{
	return &linux_ops;
}
