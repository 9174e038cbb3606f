/* SPDX-License-Identifier: BSD-2-Clause */
/* Parcels as they come out at the other end, without a way in between. */
#ifndef TESTS_ARRIVED_H
#define TESTS_ARRIVED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/parcel.h"

/* @p was written: it is another process' to read now, which has descriptors of its own. */
static inline void arrive(struct parcel *p)
{
	assert_int_equal(p->err, 0);
	for (size_t i = 0; i < p->nfds; i++)
		p->fd[i] = dup(p->fd[i]);
	p->received = true;
}

/* A copy that ends after @len bytes. Its descriptors are the other one's still. */
static inline struct parcel cut(const struct parcel *p, size_t len)
{
	struct parcel c = { .data = malloc(len ? len : 1), .len = len, .nfds = p->nfds, .fd_cap = p->nfds };

	memcpy(c.data, p->data, len);
	c.fd = malloc((p->nfds ? p->nfds : 1) * sizeof(*c.fd));
	if (p->nfds)
		memcpy(c.fd, p->fd, p->nfds * sizeof(*c.fd));
	return c;
}

#endif
