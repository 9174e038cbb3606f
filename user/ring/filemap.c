/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/sigbus.h"
#include "ring/filemap.h"

#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif

/*
 * Memory must be what a front-end's memory is: a file of tmpfs (memfd included) or hugetlbfs. On any
 * other file system a page fault could wait for a disk, a network or a user-space server of the peer's.
 */
static int check_fd(int fd, uint64_t end, uint64_t *page)
{
	struct statfs fs;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return -EBADF;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((unsigned long)fs.f_type != TMPFS_MAGIC && (unsigned long)fs.f_type != HUGETLBFS_MAGIC)
		return -EINVAL;
	if ((uint64_t)st.st_size < end)
		return -EINVAL;
	*page = (unsigned long)fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

int filemap_open(struct filemap *f, int fd, uint64_t end, uint32_t *broken)
{
	uint64_t page, len;
	void *map;
	int ret;

	ret = check_fd(fd, end, &page);
	if (ret)
		return ret;
	/* From offset 0 and in whole pages: hugetlbfs refuses anything else. */
	len = (end + page - 1) / page * page;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	ret = sigbus_register(map, len, broken);
	if (ret) {
		munmap(map, len);
		return ret;
	}
	/* Advice only: no guest memory in core dumps, no copy in children. */
	madvise(map, len, MADV_DONTDUMP);
	madvise(map, len, MADV_DONTFORK);
	*f = (struct filemap){ .map = map, .len = len, .fd = -1 };
	return 0;
}

void filemap_close(struct filemap *f)
{
	sigbus_unregister(f->map);
	munmap(f->map, f->len);
	if (f->fd >= 0)
		close(f->fd);
}
