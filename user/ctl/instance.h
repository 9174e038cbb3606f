/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One running viaduct: its directory under /run/viaduct, and a lock that tells
 * a living instance of the same name from what a dead one left behind.
 */
#ifndef VIADUCT_CTL_INSTANCE_H
#define VIADUCT_CTL_INSTANCE_H

#include "base/host_ops.h"

#define INSTANCE_DIR "/run/viaduct"

/**
 * instance_lock() - claim a name
 * @name: instance name
 * @noted: what an instance that held this lock, and is dead, gave to instance_note(); 0 = nothing
 * @wait_ns: for so long the one who has it may take to end
 * @err, @errlen: one line that names the mend when it fails
 *
 * Control thread. Return: lock fd, kept open for the life of the process, or -errno.
 */
int instance_lock(const struct host_ops *host, const char *name, int *noted, uint64_t wait_ns, char *err, size_t errlen);
/* Writes a positive number into the lock file, by which a successor will know what was this instance's. */
void instance_note(int fd, int number);
/* Removes the lock file and gives the name up. */
void instance_unlock(const struct host_ops *host, const char *name, int fd);

#endif
