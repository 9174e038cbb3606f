/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one process hands to another: records of plain data and file
 * descriptors, in order, each with a tag and a length. The reader asks for the
 * same tags in the same order, and the first one that is not there, or has
 * another length, stops it: so whoever was built otherwise is found out before
 * anything is believed. Control thread only; no globals.
 */
#ifndef VIADUCT_BASE_PARCEL_H
#define VIADUCT_BASE_PARCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARCEL_MAX (512u << 20)	/* bytes; far beyond 256 ports with all they can have */
#define PARCEL_FDS (1u << 20)

struct parcel {
	uint8_t *data;
	size_t len, cap;
	size_t at;		/* reader: next record */
	int *fd;
	size_t nfds, fd_cap;
	size_t fd_at;		/* reader: next fd */
	bool received;		/* its fds are ours: parcel_free() closes those that were not taken */
	int err;		/* the first failure; everything after it does nothing */
};

/* Frees; closes fds that were received and not taken. Safe on a zeroed one, and twice. */
void parcel_free(struct parcel *p);

/* Adds a record. @data may be NULL when @len is 0. A failure shows in p->err. */
void parcel_put(struct parcel *p, uint32_t tag, const void *data, size_t len);
/* Adds a file descriptor, still the caller's; -1: says that there is none. */
void parcel_put_fd(struct parcel *p, uint32_t tag, int fd);

/**
 * parcel_get() - the next record
 * @tag, @len: as it must be
 * @data: @len bytes, zeroed when it is not so
 *
 * Return: 0, or p->err: -EPROTO when another record stands there.
 */
int parcel_get(struct parcel *p, uint32_t tag, void *data, size_t len);
/**
 * parcel_take() - the next record, of any length
 * @len: set to its length, bytes
 *
 * Return: it, valid until parcel_free(), aligned for nothing; NULL on failure (p->err).
 */
const void *parcel_take(struct parcel *p, uint32_t tag, size_t *len);
/* The next file descriptor, the caller's from now on; -1: there is none, or p->err. */
int parcel_get_fd(struct parcel *p, uint32_t tag);
/* Sees that nothing is left. Return: 0 or p->err. */
int parcel_end(struct parcel *p);

/* Where parcels go: a connected stream socket, non-blocking. */
struct parcel_wire {
	int fd;
	uint64_t deadline_ns;	/* CLOCK_MONOTONIC: nothing waits beyond it */
	void (*idle)(void *arg);	/* called while waiting, every 50 ms; may be NULL */
	void *arg;
};

/**
 * parcel_send() - the whole of a parcel
 * @kind: tells the receiver what it is
 *
 * Return: 0, -ETIMEDOUT, -EPIPE, p->err or another -errno.
 */
int parcel_send(const struct parcel_wire *w, uint32_t kind, const struct parcel *p);
/**
 * parcel_recv() - the next one
 * @kind: set to what it is
 * @p: filled; to be freed by parcel_free() in any case
 *
 * Return: 0, -ETIMEDOUT, -ECONNRESET (the other side is gone), -EPROTO or another -errno.
 */
int parcel_recv(const struct parcel_wire *w, uint32_t *kind, struct parcel *p);

/* A single byte, one way or the other. Return: 0 or as above. */
int parcel_send_byte(const struct parcel_wire *w, uint8_t byte);
int parcel_recv_byte(const struct parcel_wire *w, uint8_t *byte);

#endif
