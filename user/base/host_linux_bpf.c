/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_ops on a real Linux host, second half: UMEM memory, AF_XDP sockets,
 * BPF objects through libbpf, and the multi-program dispatcher through libxdp.
 *
 * What the caller gets are fds that it owns. No libbpf or libxdp object
 * outlives a call, so the state of an uplink is fds and plain structs, which
 * can be handed to another process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <xdp/libxdp.h>

#include "base/host_linux.h"
#include "base/log.h"

/* XDP programs for frames in several buffers ("xdp.frags"). */
#define MIN_KERNEL_MAJOR 5
#define MIN_KERNEL_MINOR 18

#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef BPF_F_XDP_DEV_BOUND_ONLY	/* since 6.3 */
#define BPF_F_XDP_DEV_BOUND_ONLY (1U << 6)
#endif

/*
 * The last complaint of libbpf or libxdp. Both libraries report through a
 * callback without an argument, hence a variable of this file; control thread only.
 */
static char complaint[256];

static void keep_complaint(const char *fmt, va_list ap)
{
	size_t len;

	vsnprintf(complaint, sizeof(complaint), fmt, ap);
	len = strcspn(complaint, "\n");
	complaint[len] = '\0';
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512];
	va_list again;

	if (level == LIBBPF_WARN) {
		va_copy(again, ap);
		keep_complaint(fmt, again);
		va_end(again);
	}
	if (log_get_level() >= LOG_LEVEL_DEBUG) {
		vsnprintf(line, sizeof(line), fmt, ap);
		line[strcspn(line, "\n")] = '\0';
		log_debug("%s", line);
	}
	return 0;
}

static int print_libxdp(enum libxdp_print_level level, const char *fmt, va_list ap)
{
	return print_libbpf(level == LIBXDP_WARN ? LIBBPF_WARN : LIBBPF_DEBUG, fmt, ap);
}

void host_linux_libraries_quiet(void)
{
	complaint[0] = '\0';
	libbpf_set_print(print_libbpf);
	libxdp_set_print(print_libxdp);
}

/* BPF memory is charged to the cgroup since 5.11; older accounting and UMEM need the limit or CAP_IPC_LOCK. */
static void raise_memlock(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit now;

	if (getrlimit(RLIMIT_MEMLOCK, &now) == 0 && now.rlim_cur == RLIM_INFINITY)
		return;
	if (setrlimit(RLIMIT_MEMLOCK, &all) < 0 && getrlimit(RLIMIT_MEMLOCK, &now) == 0) {
		now.rlim_cur = now.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &now);
	}
}

static bool kernel_too_old(void)
{
	unsigned major, minor;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major < MIN_KERNEL_MAJOR || (major == MIN_KERNEL_MAJOR && minor < MIN_KERNEL_MINOR);
}

/* Old kernels refuse what they do not know with any error: -ENOSYS tells them apart. */
static int explain_load_failure(const struct host_bpf_spec *spec, int err)
{
	if (kernel_too_old())
		return -ENOSYS;
	if (err != -EPERM && !spec->bound_to)	/* a program for one device is tried where it may not work */
		log_error("the kernel refused BPF program %s: %s%s%s", spec->prog, strerror(-err),
			  complaint[0] ? ": " : "", complaint);
	return err;
}

/* memfd: UMEM, one per NIC queue. */
int host_linux_memfd(const struct host_ops *h, const char *name, size_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), ret;

	(void)h;
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)len) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

int host_linux_xsk_socket(const struct host_ops *h)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	(void)h;
	return fd < 0 ? -errno : fd;
}

int host_linux_xsk_umem_reg(const struct host_ops *h, int fd, const struct xdp_umem_reg *reg)
{
	(void)h;
	raise_memlock();
	return setsockopt(fd, SOL_XDP, XDP_UMEM_REG, reg, sizeof(*reg)) < 0 ? -errno : 0;
}

int host_linux_xsk_bind(const struct host_ops *h, int fd, int ifindex, uint32_t queue, uint16_t flags)
{
	struct sockaddr_xdp sa = {
		.sxdp_family = AF_XDP,
		.sxdp_flags = flags,
		.sxdp_ifindex = (uint32_t)ifindex,
		.sxdp_queue_id = queue,
	};

	(void)h;
	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
}

static void fds_close(struct host_bpf_fds *fds)
{
	int i;

	if (fds->prog >= 0)
		close(fds->prog);
	fds->prog = -1;
	for (i = 0; i < HOST_BPF_MAPS; i++) {
		if (fds->map[i] >= 0)
			close(fds->map[i]);
		fds->map[i] = -1;
	}
}

static int fd_dup(int fd)
{
	int d = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return d < 0 ? -errno : d;
}

/* The caller's own fds for what @obj (loaded) holds, so that the object can be closed. */
static int fds_take(struct bpf_object *obj, int prog_fd, const struct host_bpf_spec *spec, struct host_bpf_fds *fds)
{
	int i, fd;

	fds->prog = -1;
	for (i = 0; i < HOST_BPF_MAPS; i++)
		fds->map[i] = -1;
	fds->prog = fd_dup(prog_fd);
	if (fds->prog < 0)
		return fds->prog;
	for (i = 0; i < HOST_BPF_MAPS && spec->maps[i]; i++) {
		fd = bpf_object__find_map_fd_by_name(obj, spec->maps[i]);
		if (fd < 0)
			continue;
		fd = fd_dup(fd);
		if (fd < 0) {
			fds_close(fds);
			return fd;
		}
		fds->map[i] = fd;
	}
	return 0;
}

static int set_sizes(struct bpf_object *obj, const struct host_bpf_spec *spec)
{
	struct bpf_map *map;
	int i, ret;

	for (i = 0; i < HOST_BPF_MAPS && spec->sizes[i].map; i++) {
		map = bpf_object__find_map_by_name(obj, spec->sizes[i].map);
		if (!map)
			return -ENOENT;
		ret = bpf_map__set_max_entries(map, spec->sizes[i].max_entries);
		if (ret)
			return ret;
	}
	return 0;
}

/* The maps of another object, so that both look at the same. */
static int reuse_maps(struct bpf_object *obj, const struct host_bpf_spec *spec)
{
	struct bpf_map *map;
	int i, ret;

	for (i = 0; i < HOST_BPF_MAPS && spec->reuse[i].map; i++) {
		map = bpf_object__find_map_by_name(obj, spec->reuse[i].map);
		if (!map)
			return -ENOENT;
		ret = bpf_map__reuse_fd(map, spec->reuse[i].fd);
		if (ret)
			return ret;
	}
	return 0;
}

static void load_only(struct bpf_object *obj, const char *name)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), name));
}

static int object_open(const struct host_bpf_spec *spec, struct bpf_object **out)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "viaduct");
	struct bpf_object *obj;
	int ret;

	host_linux_libraries_quiet();
	raise_memlock();
	obj = bpf_object__open_mem(spec->elf, spec->elf_len, &opts);
	if (!obj) {
		ret = -errno;
		log_error("cannot read the BPF object: %s", complaint);
		return ret;
	}
	load_only(obj, spec->prog);
	ret = set_sizes(obj, spec);
	if (!ret)
		ret = reuse_maps(obj, spec);
	if (ret) {
		bpf_object__close(obj);
		return ret;
	}
	*out = obj;
	return 0;
}

int host_linux_bpf_load(const struct host_ops *h, const struct host_bpf_spec *spec, struct host_bpf_fds *fds)
{
	struct bpf_program *prog;
	struct bpf_object *obj;
	int ret;

	(void)h;
	ret = object_open(spec, &obj);
	if (ret)
		return ret;
	prog = bpf_object__find_program_by_name(obj, spec->prog);
	if (prog && spec->bound_to) {
		bpf_program__set_ifindex(prog, (uint32_t)spec->bound_to);
		bpf_program__set_flags(prog, bpf_program__flags(prog) | BPF_F_XDP_DEV_BOUND_ONLY);
	}
	ret = bpf_object__load(obj);
	if (ret) {
		ret = explain_load_failure(spec, ret);
		goto out;
	}
	ret = prog ? fds_take(obj, bpf_program__fd(prog), spec, fds) : -ENOENT;
out:
	bpf_object__close(obj);
	return ret;
}

int host_linux_bpf_xdp_query(const struct host_ops *h, int ifindex, struct host_xdp_info *info)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	int ret;

	(void)h;
	host_linux_libraries_quiet();
	ret = bpf_xdp_query(ifindex, 0, &opts);
	if (ret)
		return ret;
	info->mode = opts.attach_mode;
	info->prog_id = opts.prog_id;
	if (!info->prog_id)
		info->prog_id = opts.drv_prog_id ? opts.drv_prog_id : opts.skb_prog_id;
	return 0;
}

int host_linux_bpf_link_xdp(const struct host_ops *h, int prog, int ifindex, uint32_t flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int fd;

	(void)h;
	fd = bpf_link_create(prog, ifindex, BPF_XDP, &opts);
	return fd < 0 ? -errno : fd;
}

int host_linux_bpf_link_update(const struct host_ops *h, int link, int prog)
{
	(void)h;
	return bpf_link_update(link, prog, NULL) < 0 ? -errno : 0;
}

int host_linux_bpf_link_ifindex(const struct host_ops *h, int link)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	(void)h;
	if (bpf_obj_get_info_by_fd(link, &info, &len) < 0)
		return -errno;
	if (info.type != BPF_LINK_TYPE_XDP)
		return -EINVAL;
	return (int)info.xdp.ifindex;
}

int host_linux_bpf_link_detach(const struct host_ops *h, int link)
{
	(void)h;
	return bpf_link_detach(link) < 0 ? -errno : 0;
}

int host_linux_bpf_link_prog_id(const struct host_ops *h, int link)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	(void)h;
	return bpf_obj_get_info_by_fd(link, &info, &len) < 0 ? -errno : (int)info.prog_id;
}

int host_linux_bpf_map_id(const struct host_ops *h, int map)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	(void)h;
	return bpf_obj_get_info_by_fd(map, &info, &len) < 0 ? -errno : (int)info.id;
}

int host_linux_bpf_pin(const struct host_ops *h, int fd, const char *path)
{
	(void)h;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

int host_linux_bpf_get(const struct host_ops *h, const char *path)
{
	int fd = bpf_obj_get(path);

	(void)h;
	return fd < 0 ? -errno : fd;
}

int host_linux_bpf_map_update(const struct host_ops *h, int map, const void *key, const void *value)
{
	(void)h;
	return bpf_map_update_elem(map, key, value, BPF_ANY) < 0 ? -errno : 0;
}

int host_linux_bpf_map_delete(const struct host_ops *h, int map, const void *key)
{
	(void)h;
	return bpf_map_delete_elem(map, key) < 0 ? -errno : 0;
}

int host_linux_bpf_map_next_key(const struct host_ops *h, int map, const void *key, void *next)
{
	(void)h;
	return bpf_map_get_next_key(map, key, next) < 0 ? -errno : 0;
}

int host_linux_bpf_map_lookup(const struct host_ops *h, int map, const void *key, void *value)
{
	(void)h;
	return bpf_map_lookup_elem(map, key, value) < 0 ? -errno : 0;
}

/* Detaches what a dispatcher on @ifindex runs under the name @name. Return: number detached or -errno. */
static int dispatcher_remove(int ifindex, const char *name)
{
	struct xdp_program *prog = NULL;
	struct xdp_multiprog *mp;
	int ret = 0, n = 0;

	mp = xdp_multiprog__get_from_ifindex(ifindex);
	if (libxdp_get_error(mp))
		return 0;
	if (xdp_multiprog__is_legacy(mp))
		goto out;
	while ((prog = xdp_multiprog__next_prog(prog, mp))) {
		/* The kernel keeps 15 characters of a name. */
		if (strncmp(xdp_program__name(prog), name, BPF_OBJ_NAME_LEN - 1))
			continue;
		ret = xdp_program__detach(prog, ifindex, xdp_multiprog__attach_mode(mp), 0);
		if (ret)
			break;
		n++;
	}
out:
	xdp_multiprog__close(mp);
	return ret ? ret : n;
}

#define DISPATCHED_PROG "viaduct_xdp"

/* libxdp falls back to a plain attach without a dispatcher; that is not what was asked for. */
static bool attached_alone(int ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);
	bool alone;

	if (libxdp_get_error(mp))
		return false;
	alone = xdp_multiprog__is_legacy(mp);
	xdp_multiprog__close(mp);
	return alone;
}

int host_linux_dispatcher_attach(const struct host_ops *h, const struct host_bpf_spec *spec, int ifindex,
				 uint32_t mode, struct host_bpf_fds *fds)
{
	enum xdp_attach_mode want = mode == XDP_ATTACHED_SKB ? XDP_MODE_SKB : XDP_MODE_NATIVE;
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts);
	struct xdp_program *prog;
	struct bpf_object *obj;
	int ret;

	(void)h;
	ret = object_open(spec, &obj);
	if (ret)
		return ret;
	opts.obj = obj;
	opts.prog_name = spec->prog;
	prog = xdp_program__create(&opts);
	ret = (int)libxdp_get_error(prog);
	if (ret) {
		bpf_object__close(obj);
		return ret;
	}
	/* libxdp 1.3 does not see it in the section's name; without it large MTUs would refuse native mode. */
	xdp_program__set_xdp_frags_support(prog, true);
	dispatcher_remove(ifindex, spec->prog);	/* left by a dead instance */
	ret = xdp_program__attach(prog, ifindex, want, 0);
	if (ret)
		goto out;
	if (attached_alone(ifindex))
		ret = -EPERM;
	else
		ret = fds_take(xdp_program__bpf_obj(prog), xdp_program__fd(prog), spec, fds);
	if (ret)
		xdp_program__detach(prog, ifindex, want, 0);
out:
	if (ret)
		log_debug("dispatcher: %s", complaint);
	xdp_program__close(prog);	/* does not own the object it was given */
	bpf_object__close(obj);
	return ret;
}

int host_linux_dispatcher_detach(const struct host_ops *h, int ifindex)
{
	int ret;

	(void)h;
	host_linux_libraries_quiet();
	ret = dispatcher_remove(ifindex, DISPATCHED_PROG);
	return ret < 0 ? ret : 0;
}
