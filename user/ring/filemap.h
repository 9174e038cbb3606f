/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file of a peer's, mapped: guest memory and dirty logs. What is checked of
 * the fd, and that the file may shrink at any time, is the same for both.
 */
#ifndef VIADUCT_RING_FILEMAP_H
#define VIADUCT_RING_FILEMAP_H

#include <stdint.h>

struct filemap {
	uint8_t *map;	/* from offset 0 of the file */
	uint64_t len;	/* bytes, whole pages of the file system */
	int fd;		/* -1: not ours */
};

/**
 * filemap_open() - map a file from offset 0 on, and put it under the protection of sigbus.h
 * @f: filled in on success; f->fd is -1: the caller enters @fd there when it takes it over
 * @fd: the peer's
 * @end: bytes of the file that are needed, not 0
 * @broken: set to 1 when the file turns out to have shrunk; outlives the mapping
 *
 * The fd must be a regular file of tmpfs (memfd) or hugetlbfs, at least @end bytes long.
 * Control thread. Return: 0, -EBADF, -EINVAL, -ENOMEM or what mmap() says.
 */
int filemap_open(struct filemap *f, int fd, uint64_t end, uint32_t *broken);

/* Unmaps, and closes f->fd if there is one. Control thread. */
void filemap_close(struct filemap *f);

#endif
