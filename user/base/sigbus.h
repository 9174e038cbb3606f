/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Containment of SIGBUS. A front-end can truncate or punch the file behind its
 * memory while we use it. Every mapping of a peer's fd is registered here. The
 * handler finds the mapping in an immutable published list, maps anonymous
 * memory over all of it (MAP_FIXED), sets its owner's mark and returns, so the
 * faulting access goes on with zeroes; whoever publishes tests the mark first.
 * An unknown address gets the default action. No siglongjmp.
 */
#ifndef VIADUCT_BASE_SIGBUS_H
#define VIADUCT_BASE_SIGBUS_H

#include <stddef.h>
#include <stdint.h>

/**
 * sigbus_install() - install the handler (once per process, before any thread)
 * Return: 0 or -errno.
 */
int sigbus_install(void);

/**
 * sigbus_register() - put a mapping under protection
 * @addr, @len: the mapping, page-aligned, in bytes
 * @broken: set to 1 by the handler; must outlive the registration
 *
 * Control thread only. Return: 0 or -ENOMEM.
 */
int sigbus_register(void *addr, size_t len, uint32_t *broken);

/**
 * sigbus_unregister() - take it out again, before munmap()
 * Control thread only. When it returns, no handler looks at the entry any more.
 */
void sigbus_unregister(void *addr);

#endif
