/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One vhost-user session: the state of one connection, from the first message
 * to the last. Pure: a message and its fds go in, a reply may come out, every
 * effect on the rest of the world goes through struct session_ops. No sockets,
 * no globals. Control thread only.
 *
 * The session owns the memory table and all fds of its rings. It validates
 * everything first and calls ring_start() only with a complete, mapped ring.
 */
#ifndef VIADUCT_VHOST_SESSION_H
#define VIADUCT_VHOST_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_net.h>

#include "base/parcel.h"
#include "ring/gmem.h"
#include "ring/virtq.h"
#include "vhost_user.h"

/* What a port offers; a function of its configuration and the program version only. */
struct session_config {
	uint32_t max_pairs;	/* 1..VD_MAX_PAIRS */
	uint64_t features;	/* virtio + vhost feature bits, bit 30 included */
	uint64_t protocol_features;
	uint32_t max_frame;	/* bytes, copied into virtq_config */
};

/*
 * Effects. Each returns 0 or -errno; a failure is reported to the front-end and
 * leaves the session's state unchanged. @index is the vring index: 2*pair = rx, 2*pair+1 = tx.
 */
struct session_ops {
	/* Ring becomes ready; takes the ring's lock inside. Fds stay the session's. */
	int (*ring_start)(void *ctx, unsigned index, const struct virtq_config *cfg);
	/*
	 * A ring that ran in another process, which stands still: as ring_start(), but nothing of the ring is touched, and
	 * where it is the callee knows. Only for session_resume().
	 */
	int (*ring_resume)(void *ctx, unsigned index, const struct virtq_config *cfg);
	/*
	 * Stops it and returns its base; after return no worker is inside. Never fails. @lost: its front-end does not know
	 * the base, and may come back with another one.
	 */
	uint32_t (*ring_stop)(void *ctx, unsigned index, bool lost);
	/* SET_VRING_ENABLE, or all rings at once without bit 30. */
	void (*ring_enable)(void *ctx, unsigned index, bool enable);
	/* New call fd for a running ring (-1 = none): swap under the lock, then signal once. */
	void (*ring_call)(void *ctx, unsigned index, int callfd);
	/* New kick fd for a running ring (-1 = polled). The old one is closed by the session afterwards. */
	int (*ring_kick)(void *ctx, unsigned index, int kickfd);
	/*
	 * New memory for all running rings: @cfgs[i] has the new pointers of ring @idx[i]. Swap under the
	 * ring locks; the session drops the old table after return.
	 */
	void (*mem_swap)(void *ctx, const unsigned *idx, const struct virtq_config *cfgs, unsigned n);
	/*
	 * Migration: from now on writes for a running ring go to @log, NULL: to none. @log_ring, @log_addr: as in
	 * virtq_config. Swap under the lock; the session drops the old log after return.
	 */
	void (*ring_log)(void *ctx, unsigned index, struct dirty *log, bool log_ring, uint64_t log_addr);
	/* SEND_RARP: tell the network that @mac is here. It may be left out when there are too many. */
	int (*rarp)(void *ctx, const uint8_t mac[6]);
	/* The device's configuration as it is now; all zero before. It may change: see session_tick(). */
	void (*config)(void *ctx, struct virtio_net_config *cfg);
	/* NET_SET_MTU: what the front-end tells its guest, 68 to 65535 bytes. */
	void (*mtu)(void *ctx, uint32_t mtu);
	/* Something worth showing changed: features, status, ring set. */
	void (*changed)(void *ctx);
	/* A counted protocol error (for rate-limited logs and events); text has no newline. */
	void (*complaint)(void *ctx, const char *text);
};

/* Plain, pointer-free: what status shows and what a successor would need. */
struct session_ring {
	uint32_t num;		/* 0 = not set */
	uint32_t base;
	uint64_t desc_user, avail_user, used_user, log_addr;
	uint32_t addr_flags;
	bool have_addr, kicked, started, enabled, broken;
	bool base_told;		/* @base is where the ring was before a reset: told when asked for, not used */
	int kickfd, callfd, errfd;	/* -1 = none */
};

struct session_state {
	uint64_t features;	/* acked */
	uint64_t protocol_features;	/* acked */
	bool features_set, owner_set;
	uint8_t status;		/* virtio device status, when STATUS is used */
	uint16_t mtu;		/* as the front-end said it, 0 = it did not; outlives resets: it is said once */
	struct virtio_net_config config;	/* as last looked at, little-endian */
	bool config_changed;	/* since the front-end was told; it is to be told again */
	int channel;		/* for requests of our own (SET_BACKEND_REQ_FD), -1 = none */
	uint32_t rings;		/* 2 * max_pairs */
	struct session_ring ring[2 * 128];
};

struct session;

int session_create(const struct session_config *cfg, const struct session_ops *ops, void *ctx,
		   struct session **out);
/* For another process: everything the front-end has told, its fds and its memory. */
void session_save(const struct session *s, struct parcel *to);
/**
 * session_adopt() - take what session_save() gave
 * @cfg: as in the other process; when it offers less than the front-end has acked: -EOPNOTSUPP, complained of by name
 *
 * No ring runs yet. After a failure nothing of it is left here, and no op but complaint() was called.
 * Return: 0 or -errno.
 */
int session_adopt(const struct session_config *cfg, const struct session_ops *ops, void *ctx, struct parcel *from,
		  struct session **out);
/* Calls ring_resume() for every ring that ran; when one cannot go on the session is lost. Return: 0, -EPROTO, -ENOMEM. */
int session_resume(struct session *s);

/* Stops all rings, closes all fds, drops the memory. NULL is fine. */
void session_destroy(struct session *s);

/**
 * session_handle() - take one message
 * @msg: header and payload; hdr.size was checked to be within sizeof(msg->payload) only
 * @fds, @nfds: fds that came with it; always owned (kept or closed) by the session from here on
 * @reply: filled when a reply is due; @reply_fds stays for later features
 *
 * Return: 1 reply due, 0 none, -errno: close the connection.
 */
int session_handle(struct session *s, const struct vhost_user_msg *msg, int *fds, unsigned nfds,
		   struct vhost_user_msg *reply);

/**
 * session_tick() - tells the front-end when the device's configuration has changed
 *
 * By CONFIG_CHANGE_MSG over its channel, when it negotiated BACKEND_REQ and CONFIG; what does not fit into the channel
 * is said with a later call. Now and then, and when it is known to have changed.
 */
void session_tick(struct session *s);

/* The worker found the ring broken: stop it, signal its err fd. */
void session_ring_broken(struct session *s, unsigned index);
/* SIGBUS or another fatal fault: true when the connection must be closed. */
bool session_memory_broken(const struct session *s);

const struct session_state *session_state(const struct session *s);

#endif
