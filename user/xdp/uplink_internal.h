/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the uplink's files share. Private to them, each of which uses those behind it only: uplink.c (and uplink_move.c),
 * uplink_follow.c, uplink_device.c and uplink_state.c.
 */
#ifndef VIADUCT_XDP_UPLINK_INTERNAL_H
#define VIADUCT_XDP_UPLINK_INTERNAL_H

#include "base/clock.h"
#include "xdp/afxdp.h"
#include "xdp/choose.h"
#include "xdp/fail.h"
#include "xdp/helpers.h"
#include "xdp/ifcheck.h"
#include "xdp/linkmon.h"
#include "xdp/program.h"
#include "xdp/settings.h"
#include "xdp/uplink.h"

/* An interface with all that is ours on it, but for the program, which is the uplink's. */
struct uplink_device {
	int ifindex;
	char name[IF_NAMESIZE];		/* as it was called when it was opened */
	struct uplink_info info;
	struct helpers helpers;
	struct settings settings;
	struct nicq *nicq;		/* [nopen]; empty while they are the uplink's */
	uint32_t nopen;			/* sockets that are set up */
	int filter_fd;			/* holds the receive filter entries, sends uplink_send()'s; receives nothing */
	struct program_link link;	/* once it is left */
};

/* How often something was put right, so that we do not fight another tool for ever. */
struct uplink_patience {
	uint64_t since_ns;
	unsigned times;
};

/* While a bridge runs the control thread waits no longer for sockets that it has just closed. */
#define UPLINK_WAIT_NS (500 * NSEC_PER_MSEC)

/* A device that could not be used, and when it is tried again. */
struct uplink_refusal {
	int ifindex;			/* 0 = none */
	uint64_t retry_ns, backoff_ns;
};
#define UPLINK_REFUSALS 4
#define UPLINK_AWAY 8

struct uplink {
	const struct host_ops *host;
	struct uplink_config cfg;
	struct uplink_info info;
	struct uplink_link link;	/* as it was told last */
	struct linkmon *linkmon;
	struct program program;
	struct uplink_device *dev;	/* in use; NULL = none */
	struct nicq *nicq;		/* [most]: what data paths use. Without a socket each is memory */
	uint8_t host_mac[UPLINK_HOST_MACS][6];
	unsigned nhost;
	uint8_t (*filter)[6];		/* guests' addresses in the receive filter, each as often as it was entered */
	uint32_t nfilter, filter_cap;
	uint32_t most;			/* NIC queues that there may be */
	int cpus;			/* possible CPUs: values of a per-CPU map entry */
	struct vd_stats *percpu;	/* [cpus] */
	void (*on_link)(void *arg, const struct uplink_link *l);
	void *on_link_arg;
	/* uplink_follow.c */
	struct loop *loop;
	struct loop_timer timer;
	const struct uplink_user *user;	/* NULL: the device stays */
	void *user_arg;
	char last_name[IF_NAMESIZE];	/* of the device in use, or of the last one */
	uint32_t trouble;		/* VD_TROUBLE_* */
	struct uplink_refusal refusal[UPLINK_REFUSALS];
	struct uplink_device *lingering;	/* not in use any more, and not all of its sockets are closed */
	char away[UPLINK_AWAY][IF_NAMESIZE];	/* devices that went with settings of ours; the oldest is forgotten */
	unsigned naway;
	int closed_ifindex;		/* of the last device whose sockets were closed; */
	uint64_t closed_ns;		/* and when */
	char refused[128];		/* what choose_devices() said last of one that it does not take */
	struct choose_known known;
	struct choose_hold hold;
	uint64_t chosen_ns;		/* when it was looked which devices there are, */
	bool had_device;		/* and whether one was in use, */
	uint64_t chosen_from;		/* and linkmon_digest() then */
	unsigned program_failures;	/* to put it back, one after the other */
	uint64_t program_retry_ns;	/* after some of them: when it is tried again */
	bool heard;			/* the link monitor said something since it was looked at what others do */
	uint64_t filter_again_ns;	/* before that the receive filter is not looked at */
	uint64_t looked_ns;		/* for changes that nobody announces */
	bool following;			/* in uplink_follow() */
	bool standby;			/* the device in use is one */
	uint32_t moves, repaired[UPLINK_REPAIRS];
	char trouble_why[VD_TROUBLES][320];	/* of those in @trouble */
	struct uplink_patience patience[UPLINK_REPAIRS];
};

/**
 * uplink_look() - the link monitor, and what does not depend on a device
 *
 * Return: 0 or -errno with a reason.
 */
int uplink_look(struct uplink *u, struct loop *loop, const struct fail *why);

/* Room for all NIC queues that there may be, none of them there. The program has said how many. 0 or -ENOMEM. */
int uplink_make_nicqs(struct uplink *u);

/* The MTU's needs. @d, @info: of the device. Return: 0 or -errno with a reason. */
int uplink_fit(const struct uplink *u, const struct linkmon_dev *d, struct uplink_info *info, const struct fail *why);

/* How many of a device's NIC queues are served. @want: as asked for, 0 = all. Return: the number, or -errno with a reason. */
int uplink_count_queues(const struct uplink *u, const struct linkmon_dev *d, const struct ifcheck *c, uint32_t want,
			const struct fail *why);

/* A device of which nothing is open. NULL: out of memory. */
struct uplink_device *uplink_device_new(const struct linkmon_dev *d);

/**
 * uplink_device_open() - make everything that is ours on an interface
 * @wait_ns: how long sockets of before may take to let go of the NIC queues
 * @out: program, sockets, filter and settings are there; nothing is redirected to the sockets yet
 *
 * Return: 0 or -errno with a reason: then the program is attached nowhere.
 */
int uplink_device_open(struct uplink *u, int ifindex, uint64_t wait_ns, struct uplink_device **out, const struct fail *why);

/* Its sockets become the uplink's, or the other way round. Nobody may be using the uplink's. */
void uplink_device_use(struct uplink *u, struct uplink_device *dev);
/* Return: 0 or -ENOMEM: then nothing has changed. */
int uplink_device_leave(struct uplink *u);

/* Gives back what was open on it, settings included. Its program is off by now, or goes now (@dev->link). NULL is fine. */
void uplink_device_close(struct uplink *u, struct uplink_device *dev);
/*
 * The same, where nobody waits for its sockets: closing one takes an RCU grace period. uplink_device_linger() closes some
 * of them each time. Return: there are more.
 */
void uplink_device_close_slowly(struct uplink *u, struct uplink_device *dev);
bool uplink_device_linger(struct uplink *u);

/* The NIC's settings; sockets are open. Return: 0 or -errno with a reason. */
int uplink_device_settings(struct uplink *u, struct uplink_device *dev, struct nicq *q, struct uplink_info *info,
			   const struct fail *why);
/* The settings' file, and --set-channels. Return: as settings_open(). */
int uplink_device_begin(struct uplink *u, struct uplink_device *dev, struct uplink_info *info, const struct fail *why);

/* The end: what was to be put back on devices that are away never will be. */
void uplink_device_forget(struct uplink *u);
/* What a dead instance changed on a device that is not in use now is put back. */
void uplink_device_clear_up(struct uplink *u, const char *name);

/* Every socket in its place of the XSKMAP: from now on frames are redirected. Return: 0 or -errno with a reason. */
int uplink_fill(struct uplink *u, const struct fail *why);

/* Another device is in use, with program and sockets: the program is told what it has to know. */
void uplink_settle(struct uplink *u);

/* What the link monitor and we know of the device becomes uplink_link(), and the program is told. Return: it is another. */
bool uplink_take_state(struct uplink *u);
/* That, and tells whoever listens when it is, or was found to be (@changed), another. */
void uplink_tell(struct uplink *u, bool changed);

/* The best device, or none with a reason. Return: its interface index, or -ENODEV. */
int uplink_choose(struct uplink *u, const struct fail *why);
/* Devices that may be used another time: see uplink_device_clear_up(). */
void uplink_clear_up(struct uplink *u);
/* Looks whether another device, or something on this one, has to be put right, and does it. */
void uplink_follow(struct uplink *u);
/* From now on it is told of what the link monitor sees. */
void uplink_watch(struct uplink *u);

#endif
