/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The netlink link monitor: keeps a picture of all interfaces of this network
 * namespace, tells what the uplink's link state is, and which addresses belong
 * to the host because their device lies above the uplink. It compares states,
 * not events: attaching XDP itself makes the kernel send link messages.
 * Control thread only.
 */
#ifndef VIADUCT_XDP_LINKMON_H
#define VIADUCT_XDP_LINKMON_H

#include "base/host_ops.h"
#include "base/loop.h"
#include "xdp/fail.h"
#include "xdp/uplink.h"

/* One interface, as RTM_NEWLINK describes it. */
struct linkmon_dev {
	int ifindex;
	int link;			/* IFLA_LINK: device below, 0 = none or in another namespace */
	int master;			/* IFLA_MASTER: bond, bridge, team, 0 = none */
	uint16_t type;			/* ARPHRD_* */
	uint32_t flags;			/* IFF_* */
	bool carrier;
	uint32_t mtu, rx_queues;
	uint32_t xdp_prog_id;
	uint8_t mac[6];
	char name[IF_NAMESIZE];
	char kind[16];			/* IFLA_INFO_KIND, "" for hardware */
	bool seen;			/* private: in the dump that is running */
};

struct linkmon;

/**
 * linkmon_open() - take the first picture and watch for changes; nothing is the uplink yet
 *
 * Return: 0 or -errno with a reason.
 */
int linkmon_open(const struct host_ops *host, struct loop *loop, struct linkmon **out, const struct fail *why);
void linkmon_close(struct linkmon *m);

/**
 * linkmon_follow() - this interface is the uplink from now on
 * @ifindex: 0 = there is none
 *
 * Its state is there when it returns; nobody is told. Which program is expected on it has to be said anew.
 * Return: 0, or -ENODEV: there is no such interface, then there is no uplink.
 */
int linkmon_follow(struct linkmon *m, int ifindex);

/* The uplink's entry; NULL when it is gone. */
const struct linkmon_dev *linkmon_uplink(const struct linkmon *m);
/* Walks all interfaces: pass NULL first. */
const struct linkmon_dev *linkmon_next(const struct linkmon *m, const struct linkmon_dev *d);
const struct linkmon_dev *linkmon_find(const struct linkmon *m, int ifindex);
/* Changes whenever an interface comes, goes, or gets another name, address, master or state. */
uint64_t linkmon_digest(const struct linkmon *m);
const struct uplink_link *linkmon_state(const struct linkmon *m);

/**
 * linkmon_host_macs() - addresses of the uplink and of every device above it
 * @macs: room for @max of them
 *
 * Above it are its master (bond, bridge, ...), devices made on top of it (VLAN, macvlan, ...), and so on.
 * Return: number of different addresses written; UINT_MAX when out of memory.
 */
unsigned linkmon_host_macs(const struct linkmon *m, uint8_t (*macs)[6], unsigned max);

/**
 * linkmon_expect_program() - say which XDP program is ours
 * @any: true when any program will do (a dispatcher's changes with each program it runs)
 */
void linkmon_expect_program(struct linkmon *m, uint32_t id, bool any);

/* @fn is called after any change of linkmon_state() or of the picture that may change the host's addresses. */
void linkmon_on_change(struct linkmon *m, void (*fn)(void *arg, bool state_changed), void *arg);

#endif
