/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the host and the guests reach each other.
 *
 * The uplink stays with its kernel driver, and the host's address stays on it.
 * What the host sends to a guest must not go out of the NIC, because a switch
 * never sends a frame back to where it came from. And what a guest sends to the
 * host's address must get into the host's stack. So there is a tap interface,
 * which nobody but two small programs knows (bpf/viaduct_host.bpf.c):
 *
 *        host's stack                        worker
 *         |        ^                          |  ^
 *         |        | (received on the uplink) |  |
 *     ____v____    |                       ___v__|___
 *    |viaduct_ |   |       ingress        |   tap    |
 *    |  out    |   +----------------------|viaduct_in|
 *    |_________|------------------------->|__________|
 *         |         for guests, copies for groups
 *         v uplink
 *
 * viaduct_out is at the uplink's egress, in front of its queueing discipline,
 * so a NIC without a carrier does not part the host from the guests. It looks
 * into the same fdb, links and ports as the XDP program. Large packets and
 * unfinished checksums come through whole: the tap offers every offload, and
 * each frame has a virtio-net header, as guests' frames have.
 *
 * viaduct_in is at the tap's ingress and moves each frame to the uplink's
 * ingress. There the stack takes it like one from the wire: the address decides
 * whether it is the host's, a checksum that was left unfinished counts as good,
 * VLAN devices and bridges above the uplink get theirs. Two others look there,
 * too. In generic mode the XDP program does (the kernel skips it for frames that
 * were redirected; if it did not, it would pass them, as they are for the host).
 * The packet socket for group frames does (mcast.c), and would give them to the
 * guests once more: they bear a hash value by which its filter knows them.
 *
 * Life: on Linux 6.6 and younger the programs are attached by links that go with
 * their fds, and the tap goes with its own. So nothing is left by a killed
 * process. On older kernels viaduct_out stays on the uplink as a classifier
 * until the next instance replaces it. It then has nobody to redirect to, so
 * within a second, when the heartbeat in `links` is old, it lets all pass.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "viaduct_host.h"
#include "viaduct_host.skel.h"
#include "xdp/hostport.h"

#define TAG 0x74736f68u	/* of its records in a parcel */
#define TAP_PREFIX "vd-"

/* One program at one hook. */
struct hook {
	int prog;
	int link;		/* tcx; -1 = a classifier, or nothing */
	bool classifier, remove_clsact;
};

struct hostport {
	const struct host_ops *host;
	int fd, ifindex;	/* the tap */
	int uplink;
	uint32_t mtu;
	int map;		/* `host` */
	struct hook out, in;
	char ifname[IF_NAMESIZE];
};

/* A name for the tap: the instance's, or where an interface cannot be called so its beginning and a hash of it. */
static void name_tap(char ifname[IF_NAMESIZE], const char *name)
{
	static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	const size_t room = IF_NAMESIZE - sizeof(TAP_PREFIX), plain = strspn(name, fine);
	uint32_t hash = 2166136261u;
	const char *c;

	if (plain && !name[plain] && plain <= room) {
		snprintf(ifname, IF_NAMESIZE, TAP_PREFIX "%s", name);
		return;
	}
	for (c = name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	snprintf(ifname, IF_NAMESIZE, TAP_PREFIX "%.*s%s%04x", (int)(plain < room - 5 ? plain : room - 5), name,
		 plain ? "-" : "", (hash ^ hash >> 16) & 0xffff);
}

static int tap_failed(const struct hostport *hp, int err, const struct fail *why)
{
	const char *mend = "";

	if (err == -ENOENT || err == -ENXIO || err == -ENODEV)
		mend = ": modprobe tun";
	else if (err == -EPERM || err == -EACCES)
		mend = ": CAP_NET_ADMIN is needed";
	else if (err == -EBUSY)
		mend = ": there is an interface of that name, so choose another --name";
	return fail_with(why, err, "cannot make the tap interface %s for the host: %s%s, or --host-port off", hp->ifname,
			 strerror(-err), mend);
}

static int open_tap(struct hostport *hp, const struct fail *why)
{
	int ret = hp->fd = hp->host->tap(hp->host, hp->ifname, &hp->ifindex);

	if (ret >= 0)
		ret = hp->host->link_set(hp->host, hp->ifindex, hp->mtu, true);
	return ret < 0 ? tap_failed(hp, ret, why) : 0;
}

/* Loads one of the two programs; the second gets the first's `host` map. */
static int load(struct hostport *hp, const struct hostport_config *cfg, const char *prog, struct hook *hook)
{
	struct host_bpf_spec spec = { .prog = prog, .maps = { "host" } };
	struct host_bpf_fds fds;
	int ret, n = 0;

	spec.elf = viaduct_host_bpf__elf_bytes(&spec.elf_len);
	spec.reuse[n++] = (struct host_bpf_reuse){ "fdb", cfg->fdb };
	spec.reuse[n++] = (struct host_bpf_reuse){ "ports", cfg->ports };
	spec.reuse[n++] = (struct host_bpf_reuse){ "links", cfg->links };
	if (hp->map >= 0)
		spec.reuse[n++] = (struct host_bpf_reuse){ "host", hp->map };
	ret = hp->host->bpf_load(hp->host, &spec, &fds);
	if (ret)
		return ret;
	hook->prog = fds.prog;
	if (hp->map < 0)
		hp->map = fds.map[0];
	else
		close(fds.map[0]);
	return 0;
}

/* By a link where the kernel has such, else by a classifier. */
static int attach(const struct hostport *hp, struct hook *hook, int ifindex, bool egress)
{
	int ret = hp->host->bpf_link_tcx(hp->host, hook->prog, ifindex, egress);

	if (ret >= 0) {
		hook->link = ret;
		return 0;
	}
	ret = hp->host->tc_attach(hp->host, hook->prog, ifindex, egress);
	if (ret < 0)
		return ret;
	hook->classifier = true;
	hook->remove_clsact = ret;
	return 0;
}

static void take_off(const struct hostport *hp, struct hook *hook, int ifindex, bool egress)
{
	int ret = 0;

	if (hook->link >= 0)
		close(hook->link);
	hook->link = -1;
	if (hook->classifier)
		ret = hp->host->tc_detach(hp->host, ifindex, egress, hook->remove_clsact);
	if (ret && ret != -ENODEV)
		log_warn("cannot take the host port's program off interface %d: %s", ifindex, strerror(-ret));
	hook->classifier = hook->remove_clsact = false;
}

static void detach(const struct hostport *hp, struct hook *hook, int ifindex, bool egress)
{
	take_off(hp, hook, ifindex, egress);
	if (hook->prog >= 0)
		close(hook->prog);
}

/* What the programs read before each redirect; all 0 lets the host's frames go their own way. */
static int aim(const struct hostport *hp, int tap, int uplink)
{
	const struct vd_host h = { .tap = (uint32_t)tap, .uplink = (uint32_t)uplink };
	uint32_t zero = 0;

	return hp->host->bpf_map_update(hp->host, hp->map, &zero, &h);
}

static int join(struct hostport *hp, const struct hostport_config *cfg, const struct fail *why)
{
	int ret = load(hp, cfg, "viaduct_in", &hp->in);

	if (!ret)
		ret = load(hp, cfg, "viaduct_out", &hp->out);
	if (ret)
		return fail_with(why, ret, "cannot load the host port's programs: %s (details with debug logging), or --host-port off",
				 strerror(-ret));
	ret = attach(hp, &hp->in, hp->ifindex, false);
	if (!ret)
		ret = attach(hp, &hp->out, hp->uplink, true);
	if (ret)
		return fail_with(why, ret,
				 "cannot attach the host port's programs: %s: the kernel needs tcx (6.6), or cls_bpf and sch_ingress (modprobe), or --host-port off",
				 strerror(-ret));
	/* Only now is anything redirected. */
	ret = aim(hp, hp->ifindex, hp->uplink);
	return ret ? fail_with(why, ret, "cannot set the host port up: %s", strerror(-ret)) : 0;
}

int hostport_open(const struct host_ops *host, const struct hostport_config *cfg, struct hostport **out,
		  const struct fail *why)
{
	struct hostport *hp = calloc(1, sizeof(*hp));
	int ret;

	if (!hp)
		return fail_with(why, -ENOMEM, "out of memory");
	hp->host = host;
	hp->uplink = cfg->uplink_ifindex;
	hp->mtu = cfg->mtu;
	hp->fd = hp->map = -1;
	hp->out = hp->in = (struct hook){ .prog = -1, .link = -1 };
	name_tap(hp->ifname, cfg->name);
	ret = open_tap(hp, why);
	if (!ret)
		ret = join(hp, cfg, why);
	if (ret) {
		hostport_close(hp);
		return ret;
	}
	*out = hp;
	return 0;
}

/* --- from one process to another -------------------------------------------------- */

struct hostport_saved {
	int32_t ifindex, uplink;
	uint32_t mtu;
	struct { uint8_t classifier, remove_clsact; } hook[2];
	char ifname[IF_NAMESIZE];
};

void hostport_save(const struct hostport *hp, struct parcel *to)
{
	const struct hook *hook[2] = { &hp->out, &hp->in };
	struct hostport_saved s = { .ifindex = hp->ifindex, .uplink = hp->uplink, .mtu = hp->mtu };

	memcpy(s.ifname, hp->ifname, sizeof(s.ifname));
	for (int i = 0; i < 2; i++) {
		s.hook[i].classifier = hook[i]->classifier;
		s.hook[i].remove_clsact = hook[i]->remove_clsact;
	}
	parcel_put(to, TAG, &s, sizeof(s));
	parcel_put_fd(to, TAG, hp->fd);
	parcel_put_fd(to, TAG, hp->map);
	for (int i = 0; i < 2; i++) {
		parcel_put_fd(to, TAG, hook[i]->link);
		parcel_put_fd(to, TAG, hook[i]->prog);
	}
}

int hostport_adopt(const struct host_ops *host, struct parcel *from, struct hostport **out)
{
	struct hostport *hp = calloc(1, sizeof(*hp));
	struct hook *hook[2];
	struct hostport_saved s;

	if (!hp)
		return -ENOMEM;
	parcel_get(from, TAG, &s, sizeof(s));
	hp->host = host;
	hp->ifindex = s.ifindex;
	hp->uplink = s.uplink;
	hp->mtu = s.mtu;
	memcpy(hp->ifname, s.ifname, sizeof(hp->ifname));
	hp->ifname[IF_NAMESIZE - 1] = '\0';
	hp->fd = parcel_get_fd(from, TAG);
	hp->map = parcel_get_fd(from, TAG);
	hook[0] = &hp->out;
	hook[1] = &hp->in;
	for (int i = 0; i < 2; i++) {
		*hook[i] = (struct hook){ .classifier = s.hook[i].classifier, .remove_clsact = s.hook[i].remove_clsact };
		hook[i]->link = parcel_get_fd(from, TAG);
		hook[i]->prog = parcel_get_fd(from, TAG);
	}
	if (from->err) {
		int ret = from->err;

		free(hp);	/* the process ends, and nothing of the other's may be touched */
		return ret;
	}
	*out = hp;
	return 0;
}

/* Our own program in the place of the other process'. */
static int replace(struct hostport *hp, const struct hostport_config *cfg, const char *prog, struct hook *hook, bool egress)
{
	struct hook new = *hook;
	int ret = load(hp, cfg, prog, &new);

	if (ret)
		return ret;
	if (new.link >= 0)
		ret = hp->host->bpf_link_update(hp->host, new.link, new.prog);
	else if (new.classifier)
		ret = hp->host->tc_attach(hp->host, new.prog, egress ? hp->uplink : hp->ifindex, egress);
	if (ret < 0) {
		close(new.prog);
		return ret;
	}
	close(hook->prog);
	hook->prog = new.prog;
	return 0;
}

int hostport_replace(struct hostport *hp, const struct hostport_config *cfg)
{
	int ret = replace(hp, cfg, "viaduct_in", &hp->in, false);

	return ret ? ret : replace(hp, cfg, "viaduct_out", &hp->out, true);
}

void hostport_close(struct hostport *hp)
{
	if (!hp)
		return;
	if (hp->map >= 0)
		aim(hp, 0, 0);
	detach(hp, &hp->out, hp->uplink, true);
	detach(hp, &hp->in, hp->ifindex, false);
	if (hp->map >= 0)
		close(hp->map);
	if (hp->fd >= 0)
		close(hp->fd);
	free(hp);
}

int hostport_move(struct hostport *hp, int uplink_ifindex)
{
	int ret;

	aim(hp, 0, 0);
	take_off(hp, &hp->out, hp->uplink, true);
	hp->uplink = uplink_ifindex;
	ret = attach(hp, &hp->out, hp->uplink, true);
	return ret ? ret : aim(hp, hp->ifindex, hp->uplink);
}

int hostport_fd(const struct hostport *hp)
{
	return hp->fd;
}

const char *hostport_ifname(const struct hostport *hp)
{
	return hp->ifname;
}

int hostport_ifindex(const struct hostport *hp)
{
	return hp->ifindex;
}

const char *hostport_hook(const struct hostport *hp)
{
	return hp->out.classifier ? "clsact" : "tcx";
}

void hostport_mtu(struct hostport *hp, uint32_t mtu)
{
	int ret;

	if (mtu == hp->mtu)
		return;
	hp->mtu = mtu;
	ret = hp->host->link_set(hp->host, hp->ifindex, mtu, false);
	if (ret)
		log_warn("%s: cannot set MTU %u: %s", hp->ifname, mtu, strerror(-ret));
}
