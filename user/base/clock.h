/* SPDX-License-Identifier: BSD-2-Clause */
/* Monotonic time. */
#ifndef VIADUCT_BASE_CLOCK_H
#define VIADUCT_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_USEC 1000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_SEC 1000000000ull

/**
 * clock_now() - monotonic time
 *
 * Any thread. Return: nanoseconds of CLOCK_MONOTONIC (the clock of bpf_ktime_get_ns()).
 */
static inline uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

#endif
