/* SPDX-License-Identifier: BSD-2-Clause */
/* The waiting half of the ring locks; the fast half is inline in atomics.h. */
#include <sched.h>
#include <time.h>

#include "base/atomics.h"

#define SPINS 64	/* a batch is mostly over within these */
#define YIELDS 256

void spin_lock(struct spinlock *l)
{
	const struct timespec nap = { .tv_nsec = 50000 };
	unsigned n = 0;

	while (!spin_trylock(l)) {
		if (n < SPINS)
			cpu_relax();
		else if (n < SPINS + YIELDS)
			sched_yield();
		else	/* the holder was preempted by something that yielding does not let it pass */
			nanosleep(&nap, NULL);
		n += n < SPINS + YIELDS;
	}
}
