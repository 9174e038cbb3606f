/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: the list of protected mappings is immutable. The control
 * thread makes a new one for every change, swaps one pointer, and frees the old
 * list when no handler is inside any more. The handler reads the pointer, so it
 * needs no lock and can run on any thread at any instruction.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/atomics.h"
#include "base/sigbus.h"

#define PART (2ul << 20)	/* a huge page: hugetlbfs mappings are split at no other place */

struct sigbus_entry {
	uintptr_t addr;
	size_t len;
	uint32_t *broken;
};

struct sigbus_list {
	size_t n;
	struct sigbus_entry entry[];
};

/* The one global this module needs: a signal handler has no other way to its data. */
static struct sigbus_list *list;
static uint32_t inside;

static bool map_zeroes(uintptr_t addr, size_t len)
{
	/*
	 * MAP_NORESERVE: a sparse file may be larger than the memory and swap of the host, and the kernel's
	 * accounting would refuse an ordinary mapping of that size.
	 */
	return mmap((void *)addr, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/* The whole mapping, or, where strict accounting (vm.overcommit_memory=2) refuses that, the part around the fault. */
static bool replace(uintptr_t start, size_t len, uintptr_t fault)
{
	uintptr_t from = fault & ~(uintptr_t)(PART - 1), to = from + PART;

	if (map_zeroes(start, len))
		return true;
	from = from < start ? start : from;
	to = to > start + len || to < from ? start + len : to;
	return map_zeroes(from, to - from);
}

static bool contain(uintptr_t addr)
{
	const struct sigbus_list *l = __atomic_load_n(&list, __ATOMIC_SEQ_CST);

	for (size_t i = 0; l && i < l->n; i++) {
		const struct sigbus_entry *e = &l->entry[i];
		size_t len = READ_ONCE(e->len);

		if (addr - e->addr >= len)
			continue;
		/* The mark first: who sees a zero that is not the guest's can see the mark as well. */
		__atomic_store_n(e->broken, 1, __ATOMIC_SEQ_CST);
		return replace(e->addr, len, addr);
	}
	return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	__atomic_fetch_add(&inside, 1, __ATOMIC_SEQ_CST);
	if (info->si_code <= 0) {	/* somebody's kill(): no address, and no fault to come back */
		signal(sig, SIG_DFL);
		raise(sig);
	} else if (!contain((uintptr_t)info->si_addr)) {	/* not one of ours: fault again, this time fatally */
		signal(sig, SIG_DFL);
	}
	__atomic_fetch_sub(&inside, 1, __ATOMIC_SEQ_CST);
	errno = saved;
}

int sigbus_install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigemptyset(&sa.sa_mask);
	return sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}

/* A handler that comes later sees what was stored before. Handlers are short: one mmap(). */
static void wait_for_handlers(void)
{
	full_barrier();
	while (__atomic_load_n(&inside, __ATOMIC_SEQ_CST))
		sched_yield();
}

static void publish(struct sigbus_list *next)
{
	struct sigbus_list *old = __atomic_exchange_n(&list, next, __ATOMIC_SEQ_CST);

	wait_for_handlers();
	free(old);
}

int sigbus_register(void *addr, size_t len, uint32_t *broken)
{
	size_t n = list ? list->n : 0;
	struct sigbus_list *next = malloc(sizeof(*next) + (n + 1) * sizeof(next->entry[0]));

	if (!next)
		return -ENOMEM;
	if (n)
		memcpy(next->entry, list->entry, n * sizeof(next->entry[0]));
	next->entry[n] = (struct sigbus_entry){ (uintptr_t)addr, len, broken };
	next->n = n + 1;
	publish(next);
	return 0;
}

void sigbus_unregister(void *addr)
{
	struct sigbus_list *next = NULL;
	size_t n = list ? list->n : 0, at = 0;

	while (at < n && list->entry[at].addr != (uintptr_t)addr)
		at++;
	if (at == n)
		return;
	if (n > 1)
		next = malloc(sizeof(*next) + (n - 1) * sizeof(next->entry[0]));
	if (n > 1 && !next) {
		/* No memory for a shorter list: make the entry match nothing. A single word, so handlers see all or nothing. */
		WRITE_ONCE(list->entry[at].len, 0);
		wait_for_handlers();
		return;
	}
	if (next) {
		memcpy(next->entry, list->entry, at * sizeof(next->entry[0]));
		memcpy(next->entry + at, list->entry + at + 1, (n - 1 - at) * sizeof(next->entry[0]));
		next->n = n - 1;
	}
	publish(next);
}
