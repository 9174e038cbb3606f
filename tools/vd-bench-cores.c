/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a cache line takes from one CPU to another: two threads that hand
 * one over and back.
 *
 *   vd-bench-cores CPU CPU
 *
 * Prints nanoseconds one way, the best of many short runs. On a virtual machine
 * it changes, by the factor that two caches are apart, whenever the hypervisor
 * moves a virtual CPU; figures of a bridge and its guests change with it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/atomics.h"
#include "base/clock.h"

#define RUNS 50u
#define TURNS 500u	/* of one run */

static uint64_t line __attribute__((aligned(64)));
static uint32_t gone;

static int run_on(unsigned long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void *hand_back(void *cpu)
{
	if (run_on(*(unsigned long *)cpu)) {
		WRITE_ONCE(gone, 1);
		return NULL;
	}
	for (uint64_t i = 0; i < RUNS * TURNS; i++) {
		while (load_acquire(&line) != 2 * i + 1)
			;
		store_release(&line, 2 * i + 2);
	}
	return NULL;
}

/* Return: false when nobody answers. */
static bool hand_over(uint64_t i)
{
	store_release(&line, 2 * i + 1);
	while (load_acquire(&line) != 2 * i + 2)
		if (READ_ONCE(gone))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	unsigned long cpu[2] = { argc == 3 ? strtoul(argv[1], NULL, 10) : 0, argc == 3 ? strtoul(argv[2], NULL, 10) : 0 };
	uint64_t best = UINT64_MAX;
	pthread_t other;

	if (cpu[0] == cpu[1] || cpu[0] >= CPU_SETSIZE || cpu[1] >= CPU_SETSIZE) {
		fprintf(stderr, "usage: vd-bench-cores CPU CPU\n");
		return 2;
	}
	if (run_on(cpu[0]) || pthread_create(&other, NULL, hand_back, &cpu[1])) {
		perror("vd-bench-cores");
		return 1;
	}
	for (uint64_t run = 0; run < RUNS; run++) {
		uint64_t from = clock_now(), ns;

		for (uint64_t i = 0; i < TURNS; i++)
			if (!hand_over(run * TURNS + i)) {
				fprintf(stderr, "vd-bench-cores: there is no CPU %lu\n", cpu[1]);
				return 1;
			}
		ns = clock_now() - from;
		best = ns < best ? ns : best;
	}
	printf("%.0f\n", (double)best / (2 * TURNS));
	return 0;
}
