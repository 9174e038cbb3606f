/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program's life on an interface.
 *
 * It is attached by a bpf_link whose pin survives us. So a killed instance
 * leaves program, link and maps behind: its frames for guests are dropped and
 * counted (no socket), the host's still pass. The next instance loads its own
 * program with new maps and swaps it into the same link: the interface is never
 * without a program, and the driver is not reset a second time.
 *
 * A link goes away with its last reference, and a removed pin gives its
 * reference back only after an RCU grace period. So whoever detaches here
 * waits until the interface no longer shows the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_link.h>

#include "base/clock.h"
#include "base/log.h"
#include "viaduct.skel.h"
#include "viaduct_bound.skel.h"
#include "xdp/program.h"

#define TAG 0x676f7270u	/* of its records in a parcel */
#define DETACH_WAIT_NS (500 * NSEC_PER_MSEC)
#define ALIVE_WITHIN_NS (1 * NSEC_PER_SEC)
#define ALIVE_WATCH_MS 350	/* three heartbeats */

static const char *const map_name[PROGRAM_MAPS] = {
	[PROGRAM_LINKS] = "links",
	[PROGRAM_FDB] = "fdb",
	[PROGRAM_STEERING] = "steering",
	[PROGRAM_PORTS] = "ports",
	[PROGRAM_VLANS] = "vlans",
	[PROGRAM_LIMITS] = "limits",
	[PROGRAM_FLOW_PAIRS] = "flow_pairs",
	[PROGRAM_QUEUES] = "queues",
	[PROGRAM_STATS] = "stats",
	[PROGRAM_FLOWS] = "flows",
	[PROGRAM_CONFIG] = "config",
	[PROGRAM_WIRE] = "wire",
	[PROGRAM_XSKS] = "xsks",
};
static_assert(PROGRAM_MAPS < HOST_BPF_MAPS, "one entry ends the list");

static void sleep_ms(unsigned ms)
{
	const struct timespec ts = { .tv_nsec = (long)ms * 1000000 };

	nanosleep(&ts, NULL);
}

static const char *pin_path(const struct program *p, const char *what, char *buf, size_t len)
{
	snprintf(buf, len, "%s/%s", p->dir, what);
	return buf;
}

static uint64_t pinned_heartbeat(const struct program *p, int *id)
{
	struct vd_link l = { 0 };
	uint32_t key = 0;
	char path[192];
	int fd;

	fd = p->host->bpf_get(p->host, pin_path(p, "links", path, sizeof(path)));
	if (fd < 0)
		return 0;
	if (p->host->bpf_map_lookup(p->host, fd, &key, &l))
		l.heartbeat_ns = 0;
	else
		*id = p->host->bpf_map_id(p->host, fd);
	close(fd);
	return l.heartbeat_ns;
}

/*
 * An instance that was killed a moment ago has a fresh heartbeat, but not one that goes on. It takes long to see that,
 * and is not needed where the map is the one that belonged to the lock which we have now.
 */
static bool instance_alive(const struct program *p, int dead_links)
{
	int id = 0;
	uint64_t beat = pinned_heartbeat(p, &id);

	if (!beat || clock_now() - beat > ALIVE_WITHIN_NS || (id > 0 && id == dead_links))
		return false;
	sleep_ms(ALIVE_WATCH_MS);
	return pinned_heartbeat(p, &id) != beat;
}

static int prepare_dir(struct program *p, const struct uplink_config *cfg, const struct fail *why)
{
	const struct host_ops *host = p->host;
	const char *name = cfg->name;
	int ret;

	/* bpffs allows no dot in a name. */
	if (!name[0] || strpbrk(name, "/."))
		return fail_with(why, -EINVAL, "'%s' cannot be the name of a pin directory: choose a --name without '/' and '.'", name);
	snprintf(p->dir, sizeof(p->dir), "%s/%s", VD_PIN_ROOT, name);
	ret = host->is_bpffs(host, "/sys/fs/bpf");
	if (ret <= 0)
		return fail_with(why, ret < 0 ? ret : -ENODEV,
				 "no BPF file system at /sys/fs/bpf: mount -t bpf bpf /sys/fs/bpf");
	ret = host->mkdir(host, VD_PIN_ROOT, 0755);
	if (!ret)
		ret = host->mkdir(host, p->dir, 0755);
	if (ret)
		return fail_with(why, ret, "cannot create %s: %s%s", p->dir, strerror(-ret),
				 ret == -EROFS ? ": mount -o remount,rw /sys/fs/bpf" :
				 ret == -EPERM || ret == -EACCES ? ": run as root" : "");
	if (instance_alive(p, cfg->dead_links))
		return fail_with(why, -EBUSY, "a viaduct named %s is running already: stop it, or choose another --name",
				 name);
	return 0;
}

int program_init(struct program *p, const struct host_ops *host, const struct uplink_config *cfg, int ifindex,
		 const struct fail *why)
{
	int ret, i;

	memset(p, 0, sizeof(*p));
	p->host = host;
	p->ifindex = ifindex;
	p->attach = cfg->attach;
	p->link = -1;
	p->fds.prog = -1;
	for (i = 0; i < HOST_BPF_MAPS; i++)
		p->fds.map[i] = -1;
	ret = prepare_dir(p, cfg, why);
	if (ret)
		p->host = NULL;		/* program_close() leaves alone what may be somebody else's */
	return ret;
}

static void make_spec(const struct program *p, bool bound, struct host_bpf_spec *spec)
{
	int i;

	memset(spec, 0, sizeof(*spec));
	spec->elf = bound ? viaduct_bound_bpf__elf_bytes(&spec->elf_len) : viaduct_bpf__elf_bytes(&spec->elf_len);
	spec->bound_to = bound ? p->ifindex : 0;
	spec->prog = "viaduct_xdp";
	spec->sizes[0] = (struct host_bpf_size){ "flows", p->queues * VD_FLOW_ROW };
	spec->sizes[1] = (struct host_bpf_size){ "xsks", p->queues };
	for (i = 0; i < PROGRAM_MAPS; i++)
		spec->maps[i] = map_name[i];
}

static uint32_t attached_id(const struct program *p, uint32_t *mode)
{
	struct host_xdp_info info = { 0 };

	if (p->host->bpf_xdp_query(p->host, p->ifindex, &info))
		return 0;
	if (mode)
		*mode = info.mode;
	return info.prog_id;
}

/* Until the interface has no program, or another than @id; an RCU grace period, unless somebody else holds the link. */
static void wait_detached(const struct program *p, uint32_t id)
{
	uint64_t deadline = clock_now() + DETACH_WAIT_NS;

	while (id && attached_id(p, NULL) == id && clock_now() < deadline)
		sleep_ms(1);
}

/* Takes over, or clears away, the link that a dead instance of our name left. 1 = taken over. */
static int adopt_link(struct program *p, uint32_t mode)
{
	const struct host_ops *host = p->host;
	uint32_t now_mode = 0, id;
	char path[192];
	int link;

	link = host->bpf_get(host, pin_path(p, "link", path, sizeof(path)));
	if (link < 0)
		return 0;
	id = attached_id(p, &now_mode);
	if (p->attach == UPLINK_ATTACH_LINK && now_mode == mode && host->bpf_link_ifindex(host, link) == p->ifindex &&
	    !host->bpf_link_update(host, link, p->fds.prog)) {
		p->link = link;
		p->adopted = true;
		p->pinned = true;
		return 1;
	}
	if (host->bpf_link_ifindex(host, link) != p->ifindex)
		id = 0;		/* nothing of it is on this interface */
	host->unlink(host, path);
	close(link);
	wait_detached(p, id);
	return 0;
}

static int busy(const struct program *p, const struct fail *why)
{
	char dev[IF_NAMESIZE] = "DEV";

	if_indextoname((unsigned)p->ifindex, dev);
	return fail_with(why, -EBUSY,
			 "%s has an XDP program already (id %u; see bpftool net show dev %s): remove it (ip link set dev %s xdp off, or rm -r %s/OTHER for a killed viaduct of another name)%s",
			 dev, attached_id(p, NULL), dev, dev, VD_PIN_ROOT,
			 p->maps.links ? "" : ", or run beside it with --xdp-attach dispatcher");
}

int program_check(const struct program *p, const struct fail *why)
{
	char path[192];
	int link;

	if (p->attach != UPLINK_ATTACH_LINK || !attached_id(p, NULL))
		return 0;
	if (p->maps.links)	/* what a dead instance had was taken at the start */
		return busy(p, why);
	link = p->host->bpf_get(p->host, pin_path(p, "link", path, sizeof(path)));
	if (link < 0)
		return busy(p, why);
	close(link);		/* left by a dead instance of ours */
	return 0;
}

static int load_failed(int err, const struct fail *why)
{
	if (err == -ENOSYS)
		return fail_with(why, err, "this kernel is too old for the XDP program: Linux 5.18 or newer is needed");
	if (err == -EPERM)
		return fail_with(why, err, "no permission to load BPF programs: run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON");
	return fail_with(why, err, "cannot load the XDP program: %s (details with debug logging)", strerror(-err));
}

static void fds_close(struct program *p)
{
	int i;

	if (p->fds.prog >= 0)
		close(p->fds.prog);
	p->fds.prog = -1;
	for (i = 0; i < HOST_BPF_MAPS; i++) {
		if (p->fds.map[i] >= 0)
			close(p->fds.map[i]);
		p->fds.map[i] = -1;
	}
}

/* Another program, of this process and for this interface, over the maps that are there. */
static int load_over(struct program *p, bool bound)
{
	const struct host_bpf_fds old = p->fds;
	struct host_bpf_spec spec;
	int ret;

	make_spec(p, bound, &spec);
	memset(spec.sizes, 0, sizeof(spec.sizes));	/* theirs */
	for (int i = 0; i < PROGRAM_MAPS; i++)
		spec.reuse[i] = (struct host_bpf_reuse){ map_name[i], old.map[i] };
	ret = p->host->bpf_load(p->host, &spec, &p->fds);
	if (ret) {
		p->fds = old;
		return ret;
	}
	if (old.prog >= 0)
		close(old.prog);
	for (int i = 0; i < PROGRAM_MAPS; i++)
		close(old.map[i]);
	return 0;
}

/* With maps of its own, until they are published; then over those. */
static int load_one(struct program *p, bool bound)
{
	struct host_bpf_spec spec;
	int ret;

	if (p->maps.links) {
		ret = load_over(p, bound);
	} else {
		fds_close(p);
		make_spec(p, bound, &spec);
		ret = p->host->bpf_load(p->host, &spec, &p->fds);
	}
	if (ret)
		return ret;
	p->loaded_bound = bound;
	p->loaded_for = bound ? p->ifindex : 0;
	return 0;
}

/* The program that suits the mode. One for the device alone is no good in generic mode, and may be refused. */
static int load(struct program *p, uint32_t mode)
{
	bool bound = p->want_bound && mode == XDP_ATTACHED_DRV;
	int ret;

	if (p->fds.prog >= 0 && p->loaded_bound == bound && (!bound || p->loaded_for == p->ifindex))
		return 0;
	ret = load_one(p, bound);
	if (ret && bound) {
		p->want_bound = false;
		ret = load_one(p, false);
	}
	return ret;
}

static int attach_link(struct program *p, uint32_t mode, const struct fail *why)
{
	uint32_t flags = mode == XDP_ATTACHED_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	int ret = load(p, mode);

	if (ret)
		return load_failed(ret, why);
	if (!p->maps.links && adopt_link(p, mode))
		return 0;
	if (attached_id(p, NULL))
		return busy(p, why);
	ret = p->host->bpf_link_xdp(p->host, p->fds.prog, p->ifindex, flags);
	if (ret == -EBUSY || ret == -EEXIST)
		return busy(p, why);
	if (ret < 0)
		return fail_with(why, ret, "%s XDP refused by the driver: %s",
				 mode == XDP_ATTACHED_SKB ? "generic" : "native", strerror(-ret));
	p->link = ret;
	return 0;
}

static int attach_dispatcher(struct program *p, uint32_t mode, const struct fail *why)
{
	struct host_bpf_spec spec;
	int ret;

	adopt_link(p, mode);
	make_spec(p, false, &spec);
	ret = p->host->dispatcher_attach(p->host, &spec, p->ifindex, mode, &p->fds);
	if (ret == -EPERM)
		return fail_with(why, ret, "this kernel refuses libxdp's dispatcher (it does not let one program extend another): use --xdp-attach link");
	if (ret < 0)
		return fail_with(why, ret, "libxdp's dispatcher cannot be attached: %s: use --xdp-attach link",
				 strerror(-ret));
	return 0;
}

int program_attach(struct program *p, uint32_t mode, const struct fail *why)
{
	int ret = p->attach == UPLINK_ATTACH_LINK ? attach_link(p, mode, why) : attach_dispatcher(p, mode, why);

	if (ret < 0)
		return ret;
	p->mode = mode;
	p->bound = p->loaded_bound;
	p->id = attached_id(p, NULL);
	return 0;
}

/* Somebody else may have it, too: that is no reason to stay attached. */
static void link_end(const struct program *p, int link)
{
	if (link < 0)
		return;
	if (p->host->bpf_link_detach)
		p->host->bpf_link_detach(p->host, link);
	close(link);
}

void program_detach(struct program *p)
{
	char path[192];

	if (!p->mode)
		return;
	if (p->attach == UPLINK_ATTACH_DISPATCHER) {
		p->host->dispatcher_detach(p->host, p->ifindex);
		fds_close(p);
	} else {
		if (p->pinned)
			p->host->unlink(p->host, pin_path(p, "link", path, sizeof(path)));
		link_end(p, p->link);
		p->link = -1;
		wait_detached(p, p->id);
	}
	p->pinned = false;
	p->adopted = false;
	p->mode = 0;
	p->id = 0;
}

void program_leave(struct program *p, struct program_link *to)
{
	*to = (struct program_link){
		.ifindex = p->ifindex, .link = p->link, .mode = p->mode, .id = p->id, .pinned = p->pinned,
		.adopted = p->adopted, .bound = p->bound, .want_bound = p->want_bound,
	};
	if (p->loaded_bound)	/* another interface may have the index one day */
		p->loaded_for = -1;
	p->link = -1;
	p->ifindex = 0;
	p->mode = p->id = 0;
	p->pinned = p->adopted = false;
}

void program_return(struct program *p, const struct program_link *from)
{
	char path[192];

	p->ifindex = from->ifindex;
	p->link = from->link;
	p->mode = from->mode;
	p->id = from->id;
	p->adopted = from->adopted;
	p->bound = from->bound;
	p->want_bound = from->want_bound;
	/* What was tried meanwhile may have taken the pin's place. */
	p->pinned = !p->host->bpf_pin(p->host, p->link, pin_path(p, "link", path, sizeof(path)));
}

void program_link_close(struct program *p, struct program_link *l)
{
	const struct program there = { .host = p->host, .ifindex = l->ifindex };
	char path[192];

	if (l->pinned && !p->pinned)
		p->host->unlink(p->host, pin_path(p, "link", path, sizeof(path)));
	link_end(p, l->link);
	l->link = -1;
	wait_detached(&there, l->id);
}

bool program_intact(const struct program *p)
{
	if (p->link < 0)
		return true;
	return p->host->bpf_link_ifindex(p->host, p->link) == p->ifindex &&
	       p->host->bpf_link_prog_id(p->host, p->link) == (int)p->id;
}

int program_repair(struct program *p, const struct fail *why)
{
	const bool attached = p->host->bpf_link_ifindex(p->host, p->link) == p->ifindex;
	const uint32_t mode = p->mode;
	struct program_link broken;
	int ret;

	if (!attached && attached_id(p, NULL))
		return busy(p, why);
	p->want_bound = p->bound;	/* status tells of what that can */
	ret = load(p, mode);
	if (ret)
		return load_failed(ret, why);
	if (attached && !program_replace(p))
		return 0;
	program_leave(p, &broken);
	p->ifindex = broken.ifindex;
	if (p->loaded_bound)
		p->loaded_for = p->ifindex;	/* it has been loaded for it just now */
	p->want_bound = broken.bound;
	ret = program_attach(p, mode, why);
	if (ret) {
		program_return(p, &broken);
		return ret;
	}
	program_publish(p, why);	/* its pin, at most with a warning */
	broken.id = 0;		/* nothing of it is there any more, and the new one may have the number */
	program_link_close(p, &broken);
	return 0;
}

static void *map_map(struct program *p, enum program_map map, size_t len)
{
	long page = sysconf(_SC_PAGESIZE);
	void *mem;

	len = (len + (size_t)page - 1) & ~((size_t)page - 1);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, p->fds.map[map], 0);
	if (mem == MAP_FAILED)
		return NULL;
	p->map_len[map] = len;
	return mem;
}

static int map_maps(struct program *p, const struct fail *why)
{
	p->maps.links = map_map(p, PROGRAM_LINKS, sizeof(struct vd_link) * (1 + VD_MAX_PORTS));
	p->maps.flows = map_map(p, PROGRAM_FLOWS, sizeof(struct vd_flow) * p->queues * VD_FLOW_ROW);
	p->maps.config = map_map(p, PROGRAM_CONFIG, sizeof(struct vd_config));
	p->maps.limits = map_map(p, PROGRAM_LIMITS, sizeof(struct vd_limit) * VD_MAX_PORTS);
	p->maps.wire = map_map(p, PROGRAM_WIRE, sizeof(uint64_t) * VD_WIRE_SLOTS);
	if (!p->maps.links || !p->maps.flows || !p->maps.limits || !p->maps.wire || !p->maps.config)
		return fail_with(why, -ENOMEM, "cannot map the BPF maps: %s", strerror(errno));
	return 0;
}

int program_publish(struct program *p, const struct fail *why)
{
	const struct host_ops *host = p->host;
	const bool first = !p->maps.links;
	char path[192];
	int ret, i;

	ret = first ? map_maps(p, why) : 0;
	if (ret)
		return ret;
	/* Alive before anybody can see it. */
	p->maps.links[0].heartbeat_ns = clock_now();
	for (i = 0; first && i < PROGRAM_PINNED; i++) {
		ret = host->bpf_pin(host, p->fds.map[i], pin_path(p, map_name[i], path, sizeof(path)));
		if (ret)
			return fail_with(why, ret, "cannot pin %s: %s", path, strerror(-ret));
	}
	if (p->link >= 0 && !p->pinned) {
		ret = host->bpf_pin(host, p->link, pin_path(p, "link", path, sizeof(path)));
		if (ret && !first) {	/* whoever removed the directory wants it so */
			log_warn("cannot pin %s: %s: after a kill the next instance finds nothing to go on with", path,
				 strerror(-ret));
			return 0;
		}
		if (ret)
			return fail_with(why, ret, "cannot pin %s: %s", path, strerror(-ret));
		p->pinned = true;
	}
	p->links_id = host->bpf_map_id(host, p->fds.map[PROGRAM_LINKS]);
	return 0;
}

/* --- from one process to another -------------------------------------------------- */

/* What the successor must know; no pointers. */
struct program_saved {
	uint32_t queues, mode, id;
	uint32_t bound;
	char dir[128];
};

void program_save(const struct program *p, struct parcel *to)
{
	struct program_saved s = { .queues = p->queues, .mode = p->mode, .id = p->id, .bound = p->bound };

	memcpy(s.dir, p->dir, sizeof(s.dir));
	parcel_put(to, TAG, &s, sizeof(s));
	parcel_put_fd(to, TAG, p->link);
	for (int i = 0; i < PROGRAM_MAPS; i++)
		parcel_put_fd(to, TAG, p->fds.map[i]);
}

int program_adopt(struct program *p, const struct host_ops *host, int ifindex, struct parcel *from,
		  const struct fail *why)
{
	struct program_saved s;
	int ret;

	memset(p, 0, sizeof(*p));
	parcel_get(from, TAG, &s, sizeof(s));
	p->host = host;
	p->ifindex = ifindex;
	p->attach = UPLINK_ATTACH_LINK;
	p->queues = s.queues;
	p->mode = s.mode;
	p->id = s.id;
	p->pinned = true;
	memcpy(p->dir, s.dir, sizeof(p->dir));
	p->dir[sizeof(p->dir) - 1] = '\0';
	p->link = parcel_get_fd(from, TAG);
	p->fds.prog = -1;
	for (int i = 0; i < HOST_BPF_MAPS; i++)
		p->fds.map[i] = i < PROGRAM_MAPS ? parcel_get_fd(from, TAG) : -1;
	if (from->err)
		return fail_with(why, from->err, "the running instance's state of the XDP program cannot be read");
	ret = map_maps(p, why);
	if (ret)
		return ret;
	p->want_bound = s.bound;
	ret = load(p, p->mode);
	p->bound = p->loaded_bound;
	return ret ? load_failed(ret, why) : 0;
}

int program_replace(struct program *p)
{
	int ret = p->host->bpf_link_update(p->host, p->link, p->fds.prog);

	if (!ret)
		p->id = attached_id(p, NULL);
	return ret;
}

void program_close(struct program *p)
{
	const struct host_ops *host = p->host;
	char path[192];
	int i;

	if (!host)
		return;
	program_detach(p);
	for (i = 0; i < PROGRAM_PINNED; i++)
		host->unlink(host, pin_path(p, map_name[i], path, sizeof(path)));
	host->rmdir(host, p->dir);
	host->rmdir(host, VD_PIN_ROOT);	/* not while another instance has its own directory in it */
	if (p->maps.links)
		munmap(p->maps.links, p->map_len[PROGRAM_LINKS]);
	if (p->maps.flows)
		munmap(p->maps.flows, p->map_len[PROGRAM_FLOWS]);
	if (p->maps.wire)
		munmap(p->maps.wire, p->map_len[PROGRAM_WIRE]);
	if (p->maps.limits)
		munmap(p->maps.limits, p->map_len[PROGRAM_LIMITS]);
	if (p->maps.config)
		munmap(p->maps.config, p->map_len[PROGRAM_CONFIG]);
	fds_close(p);
	memset(p, 0, sizeof(*p));
}
