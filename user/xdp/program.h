/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program on an interface: loading, attaching (or adopting what a dead
 * instance left), the maps, their pins and mappings. Control thread only.
 */
#ifndef VIADUCT_XDP_PROGRAM_H
#define VIADUCT_XDP_PROGRAM_H

#include "base/host_ops.h"
#include "base/parcel.h"
#include "viaduct_bpf.h"
#include "xdp/fail.h"
#include "xdp/uplink.h"

enum program_map {
	PROGRAM_LINKS,
	PROGRAM_FDB,
	PROGRAM_STEERING,
	PROGRAM_PORTS,
	PROGRAM_VLANS,
	PROGRAM_LIMITS,
	PROGRAM_FLOW_PAIRS,
	PROGRAM_QUEUES,
	PROGRAM_STATS,
	PROGRAM_PINNED,			/* the maps before this one are pinned */
	PROGRAM_FLOWS = PROGRAM_PINNED,
	PROGRAM_CONFIG,
	PROGRAM_WIRE,
	PROGRAM_XSKS,
	PROGRAM_MAPS
};

struct program {
	const struct host_ops *host;
	char dir[128];			/* VD_PIN_ROOT/name */
	int ifindex;
	uint32_t queues;		/* NIC queues the maps are made for, the most there can be; set before program_attach() */
	enum uplink_attach attach;
	uint32_t mode;			/* XDP_ATTACHED_DRV or XDP_ATTACHED_SKB; 0 = not attached */
	uint32_t id;			/* program id on the interface */
	bool want_bound;		/* native mode: try the program that is bound to the device first */
	bool bound;			/* it is the one that is attached */
	bool loaded_bound;		/* what fds.prog is: bound, */
	int loaded_for;			/* and to which interface */
	bool adopted;			/* the link is a dead instance's */
	bool pinned;
	int link;			/* bpf_link, -1 with the dispatcher */
	struct host_bpf_fds fds;
	struct uplink_maps maps;
	int links_id;			/* of the map `links`, once it is published */
	size_t map_len[PROGRAM_MAPS];
};

/* An attachment that is another device's now, or nobody's. */
struct program_link {
	int ifindex, link;
	uint32_t mode, id;
	bool pinned, adopted, bound, want_bound;
};

/**
 * program_init() - make the pin directory ready, and see that nobody is using it
 * @cfg: name (the last part of its path), attach, dead_links
 *
 * Return: 0 or -errno with a reason: no bpffs, no permission, an instance of that name is alive.
 */
int program_init(struct program *p, const struct host_ops *host, const struct uplink_config *cfg, int ifindex,
		 const struct fail *why);

/* Sees that no program of somebody else's is on the interface. Return: 0 or -EBUSY with a reason. */
int program_check(const struct program *p, const struct fail *why);

/**
 * program_attach() - load (once) and attach
 * @mode: XDP_ATTACHED_DRV or XDP_ATTACHED_SKB
 *
 * Adopts the pinned link of a dead instance when interface and mode are the same.
 * Return: 0; -EBUSY with a reason when another program is there; or -errno, when another mode may do.
 */
int program_attach(struct program *p, uint32_t mode, const struct fail *why);

/**
 * program_leave() - free to be attached to another interface, while it stays on this one
 * @to: gets the attachment; program_link_close() ends it, program_return() takes it back
 *
 * Attached by a link, not by the dispatcher, and published.
 */
void program_leave(struct program *p, struct program_link *to);
void program_return(struct program *p, const struct program_link *from);
/* Takes the program off an interface that was left, and waits until it is. Without another attachment the pin goes, too. */
void program_link_close(struct program *p, struct program_link *l);

/**
 * program_intact() - is it still our program that runs on the interface?
 *
 * Cheap: asks the link. With the dispatcher always true. Return: false when somebody detached or replaced it.
 */
bool program_intact(const struct program *p);

/**
 * program_repair() - put it back where somebody detached or replaced it
 *
 * The sockets go on. Return: 0 or -errno with a reason (-EBUSY: another program is there).
 */
int program_repair(struct program *p, const struct fail *why);

/* Takes the program off the interface, and waits until it is. The maps stay, so program_attach() may follow. */
void program_detach(struct program *p);

/* Maps the mmap-able maps and pins the public ones and the link; later the link only. Return: 0 or -errno with a reason. */
int program_publish(struct program *p, const struct fail *why);

/* Everything another process needs to go on with it: link and maps. Attached by a link, not by the dispatcher. */
void program_save(const struct program *p, struct parcel *to);

/**
 * program_adopt() - take what program_save() gave
 *
 * Loads the program of this process over the same maps; the other one stays attached until program_replace(), and
 * nothing that anybody can see has changed. Return: 0 or -errno with a reason.
 */
int program_adopt(struct program *p, const struct host_ops *host, int ifindex, struct parcel *from,
		  const struct fail *why);

/* Puts the loaded program into the adopted link, in one step. Return: 0 or -errno: the other one goes on. */
int program_replace(struct program *p);

/* Detaches, unpins, removes the directory, frees. */
void program_close(struct program *p);

#endif
