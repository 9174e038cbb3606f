/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/sigbus.h"
#include "ring/gmem.h"

#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif

static bool overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b ? b - a < alen : a - b < blen;
}

/* The last byte must be addressable in both spaces and in the file. */
static bool wraps(const struct gmem_desc *d)
{
	uint64_t sum;

	return !d->size || __builtin_add_overflow(d->guest_addr, d->size - 1, &sum) ||
	       __builtin_add_overflow(d->user_addr, d->size - 1, &sum) ||
	       __builtin_add_overflow(d->mmap_offset, d->size, &sum) || sum > INT64_MAX;
}

static int check_table(const struct gmem_desc *d, unsigned n)
{
	if (!n || n > GMEM_MAX_REGIONS)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		if (wraps(&d[i]))
			return -EINVAL;
		for (unsigned j = 0; j < i; j++)
			if (overlap(d[i].guest_addr, d[i].size, d[j].guest_addr, d[j].size) ||
			    overlap(d[i].user_addr, d[i].size, d[j].user_addr, d[j].size))
				return -EINVAL;
	}
	return 0;
}

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

static int map_region(struct gmem *m, const struct gmem_desc *d, int fd)
{
	struct gmem_region *r = &m->region[m->n];
	uint64_t page, len;
	void *map;
	int ret;

	ret = check_fd(fd, d->mmap_offset + d->size, &page);
	if (ret)
		return ret;
	/* From offset 0 and in whole pages: hugetlbfs refuses anything else. */
	len = (d->mmap_offset + d->size + page - 1) / page * page;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	ret = sigbus_register(map, len, &m->broken);
	if (ret) {
		munmap(map, len);
		return ret;
	}
	/* Advice only: no guest memory in core dumps, no copy in children, huge pages where tmpfs gives them. */
	madvise(map, len, MADV_DONTDUMP);
	madvise(map, len, MADV_DONTFORK);
	madvise(map, len, MADV_HUGEPAGE);
	*r = (struct gmem_region){
		.start = { [GMEM_GUEST] = d->guest_addr, [GMEM_USER] = d->user_addr },
		.size = d->size,
		.host = (uint8_t *)map + d->mmap_offset,
		.map = map,
		.map_len = len,
		.mmap_offset = d->mmap_offset,
		.fd = -1,	/* the caller's until all regions are mapped */
	};
	m->n++;
	return 0;
}

int gmem_create(const struct gmem_desc *descs, const int *fds, unsigned n, struct gmem **out)
{
	struct gmem *m;
	int ret;

	ret = check_table(descs, n);
	if (ret)
		return ret;
	m = calloc(1, sizeof(*m) + n * sizeof(m->region[0]));
	if (!m)
		return -ENOMEM;
	m->refs = 1;
	for (unsigned i = 0; i < n && !ret; i++)
		ret = map_region(m, &descs[i], fds[i]);
	if (ret) {
		gmem_put(m);
		return ret;
	}
	for (unsigned i = 0; i < n; i++)
		m->region[i].fd = fds[i];
	*out = m;
	return 0;
}

struct gmem *gmem_get(struct gmem *m)
{
	m->refs++;
	return m;
}

void gmem_put(struct gmem *m)
{
	if (!m || --m->refs)
		return;
	for (unsigned i = 0; i < m->n; i++) {
		sigbus_unregister(m->region[i].map);
		munmap(m->region[i].map, m->region[i].map_len);
		if (m->region[i].fd >= 0)
			close(m->region[i].fd);
	}
	free(m);
}

static int find(const struct gmem *m, enum gmem_space space, uint64_t addr)
{
	for (unsigned i = 0; i < m->n; i++)
		if (addr - m->region[i].start[space] < m->region[i].size)
			return (int)i;
	return -EFAULT;
}

int gmem_map_slow(const struct gmem *m, enum gmem_space space, uint64_t addr, uint64_t len, struct iovec *iov, int max,
		  unsigned *hint)
{
	uint64_t end;
	int n = 0;

	if (!len)
		return 0;
	if (__builtin_add_overflow(addr, len - 1, &end))
		return -EFAULT;
	/* Ends: every turn covers at least one byte of a region, and regions do not overlap. */
	while (len) {
		int i = find(m, space, addr);
		const struct gmem_region *r;
		uint64_t off, part;

		if (i < 0)
			return i;
		r = &m->region[i];
		off = addr - r->start[space];
		part = r->size - off < len ? r->size - off : len;
		if (n && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == r->host + off) {
			iov[n - 1].iov_len += part;
		} else {
			if (n == max)
				return -E2BIG;
			iov[n++] = (struct iovec){ r->host + off, part };
		}
		addr += part;
		len -= part;
		*hint = (unsigned)i;
	}
	return n;
}

int gmem_region(const struct gmem *m, unsigned i, struct gmem_desc *desc, int *fd)
{
	if (i >= m->n)
		return -ENOENT;
	*desc = (struct gmem_desc){
		.guest_addr = m->region[i].start[GMEM_GUEST],
		.size = m->region[i].size,
		.user_addr = m->region[i].start[GMEM_USER],
		.mmap_offset = m->region[i].mmap_offset,
	};
	*fd = m->region[i].fd;
	return 0;
}
