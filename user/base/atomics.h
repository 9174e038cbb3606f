/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Access to memory that somebody else writes: shared rings, guest memory,
 * fields that two threads share. Every such access goes through these, so that
 * it happens exactly once and with its natural width.
 */
#ifndef VIADUCT_BASE_ATOMICS_H
#define VIADUCT_BASE_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* One plain load or store the compiler may not repeat, tear or invent. */
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
/* Orders an earlier store against a later load: only before a call or kick decision. */
#define full_barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/*
 * Fetches a line that will be written, from whichever core has it. Without the instruction of its own it would come to be
 * read, and the store had to ask once more. x86-64 processors that lack it take it for nothing.
 */
static inline void prefetch_write(const void *p)
{
#if defined(__x86_64__)
	__asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* A lock taken once per batch. Workers try, the control thread waits. */
struct spinlock {
	uint32_t held;
};

static inline bool spin_trylock(struct spinlock *l)
{
	return !READ_ONCE(l->held) && !__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE);
}

static inline void spin_unlock(struct spinlock *l)
{
	store_release(&l->held, 0);
}

/**
 * spin_lock() - take the lock, waiting as long as it takes
 * @l: the lock
 *
 * Control thread only (it yields the CPU while waiting); workers use spin_trylock().
 */
void spin_lock(struct spinlock *l);

#endif
