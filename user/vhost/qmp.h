/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of QEMU's monitor (QMP) that says one thing: whether the link of a
 * network device is up. QEMU serves one client at a time, and others want to
 * be it as well, so each time is a connection of its own that ends at once.
 *
 * Never blocks. An attempt has 5 s; one that fails is made again, with pauses
 * from 0.1 to 5 s, for as long as something is wanted that QEMU has not
 * confirmed. What QEMU says is not trusted. Control thread only.
 */
#ifndef VIADUCT_VHOST_QMP_H
#define VIADUCT_VHOST_QMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/host_ops.h"
#include "base/loop.h"

struct qmp_config {
	char path[108];		/* of the monitor's socket, which QEMU listens on */
	char netdev[64];	/* QEMU's id of the network back-end; "": the one with @socket */
	char socket[108];	/* the vhost-user socket's path, as QEMU was given it */
	uint32_t deadline_ms;	/* for an attempt; 0 = 5000 */
};

struct qmp;

/**
 * qmp_open() - nothing is wanted yet, and nobody called
 * @changed: from the loop: qmp_confirmed() or qmp_error() says something else now; may call qmp_close()
 *
 * Return: 0 or -ENOMEM.
 */
int qmp_open(struct loop *loop, const struct host_ops *host, const struct qmp_config *cfg, void (*changed)(void *ctx),
	     void *ctx, struct qmp **out);
/* Also in the middle of an attempt. NULL is fine. */
void qmp_close(struct qmp *q);

/**
 * qmp_want() - tell QEMU that the link is up, or down
 *
 * What was wanted before is given up. Nothing happens when the same is wanted, or confirmed, already. From any callback.
 */
void qmp_want(struct qmp *q, bool up);
/* Nothing is wanted any more, and what was confirmed counts no longer: QEMU's device has begun anew. */
void qmp_forget(struct qmp *q);

/* Has QEMU confirmed what was wanted last? */
bool qmp_confirmed(const struct qmp *q);
bool qmp_wanted(const struct qmp *q);
/* Why the last attempt failed, one line of printable ASCII; "": there was none since, or it is confirmed. */
const char *qmp_error(const struct qmp *q);

#endif
