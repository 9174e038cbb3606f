/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory table: which file descriptor backs which guest addresses.
 *
 * A table is immutable once built. The control thread builds a new one, checks
 * every ring against it, swaps it in under the ring locks and only then drops
 * the old one (reference count). A whole new table maps everything anew, so what
 * both have by fd is mapped twice for that moment; a table with one region more
 * or less shares the mappings of the one it was made from, and its mark.
 * gmem_map() is the only way from an address a peer gave to a pointer.
 */
#ifndef VIADUCT_RING_GMEM_H
#define VIADUCT_RING_GMEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define GMEM_SLOTS 509		/* vhost-user CONFIGURE_MEM_SLOTS: as many as QEMU ever has */
#define GMEM_MAX_REGIONS GMEM_SLOTS

/* As the front-end describes a region (vhost-user "Memory region description"). */
struct gmem_desc {
	uint64_t guest_addr;	/* guest-physical */
	uint64_t size;		/* bytes */
	uint64_t user_addr;	/* in the front-end's address space */
	uint64_t mmap_offset;	/* where it starts in the fd */
};

/* Which address a caller has. */
enum gmem_space {
	GMEM_GUEST,	/* guest-physical: descriptors */
	GMEM_USER,	/* front-end virtual: ring addresses */
};

struct gmem_file;	/* a mapping; tables share it */

/* A region as mapped. Readers outside gmem.c use it through gmem_map() only. */
struct gmem_region {
	uint64_t start[2];	/* by enum gmem_space */
	uint64_t size;
	uint8_t *host;		/* where the region's first byte is mapped */
	uint64_t mmap_offset;
	struct gmem_file *file;
};

/* Shared by the tables that were made from each other, for they share mappings. */
struct gmem_mark {
	uint32_t refs;		/* control thread */
	uint32_t broken;	/* set by the SIGBUS handler */
};

struct gmem {
	uint32_t refs;		/* control thread */
	unsigned n;
	struct gmem_mark *mark;
	uint16_t by_user[GMEM_MAX_REGIONS];	/* into region[], in the order of front-end addresses */
	uint16_t by_host[GMEM_MAX_REGIONS];	/* in the order of ours */
	struct gmem_region region[];	/* in the order of guest addresses; there is room for one at least, of size 0 */
};

/**
 * gmem_create() - build a table
 * @descs, @n: regions as received, 1..GMEM_MAX_REGIONS
 * @fds: one fd per region; ownership passes to the table on success, stays with the caller on failure
 *
 * Refuses: n out of range, zero size, addresses that wrap, overlapping regions (in either space),
 * fds that are not a regular file on tmpfs, memfd or hugetlbfs, or too small.
 * Maps size + mmap_offset from offset 0 (hugetlbfs alignment) and registers each mapping with sigbus.
 * Control thread. Return: 0 and *@out with one reference, or -errno (-EINVAL, -ENOMEM, ...).
 */
int gmem_create(const struct gmem_desc *descs, const int *fds, unsigned n, struct gmem **out);

/**
 * gmem_add() - a table with one region more (vhost-user ADD_MEM_REG)
 * @old: the table it begins with, which stays as it is; NULL: none
 * @desc: the new region, refused for the same reasons as by gmem_create()
 * @fd: its file; owned by the table on success, the caller's on failure
 * @out: the new table, with one reference
 *
 * The regions of @old are not mapped again. Control thread.
 * Return: 0, -ENOSPC beyond GMEM_MAX_REGIONS, or as gmem_create().
 */
int gmem_add(const struct gmem *old, const struct gmem_desc *desc, int fd, struct gmem **out);

/**
 * gmem_remove() - a table with one region less (vhost-user REM_MEM_REG)
 * @old: the table it begins with, which stays as it is
 * @desc: the region whose guest_addr, user_addr and size these are; mmap_offset is not looked at
 * @out: the new table, with one reference; it may have no region at all, and maps nothing then
 *
 * Control thread. Return: 0, -ENOENT when there is no such region, -ENOMEM.
 */
int gmem_remove(const struct gmem *old, const struct gmem_desc *desc, struct gmem **out);

struct gmem *gmem_get(struct gmem *m);
/* Drops a reference; the last one unmaps and closes. NULL is fine. Control thread. */
void gmem_put(struct gmem *m);

/* gmem_map()'s way when the hint does not cover the span. */
int gmem_map_slow(const struct gmem *m, enum gmem_space space, uint64_t addr, uint64_t len, struct iovec *iov, int max,
		  unsigned *hint);

/**
 * gmem_map() - turn (address, length) of a peer into host pointers
 * @m: the table
 * @space: which kind of address
 * @addr, @len: span in bytes, hostile
 * @iov, @max: where to put the pieces (a span may cross regions); adjacent pieces are merged
 * @hint: region tried first, updated; one per caller
 *
 * Any thread that holds a ring lock or a reference. Constant time with a good hint, else logarithmic.
 * Return: number of pieces (0 for @len 0), -EFAULT when any byte is outside or the span wraps,
 * -E2BIG when @max pieces do not suffice.
 */
static inline int gmem_map(const struct gmem *m, enum gmem_space space, uint64_t addr, uint64_t len,
			   struct iovec *iov, int max, unsigned *hint)
{
	const struct gmem_region *r = &m->region[*hint < m->n ? *hint : 0];
	uint64_t off = addr - r->start[space];

	/* Nearly always one piece of the region used last. */
	if (__builtin_expect(off < r->size && len <= r->size - off && len && max > 0, 1)) {
		iov[0] = (struct iovec){ r->host + off, len };
		return 1;
	}
	return gmem_map_slow(m, space, addr, len, iov, max, hint);
}

/**
 * gmem_guest_of() - the way back: the guest address of something we have written
 * @m: the table that the pointer came from
 * @host, @len: what was written, bytes
 * @guest_addr: guest-physical address of its first byte
 * @part: how many bytes of it follow there; fewer than @len where another region begins
 *
 * For the dirty log. Any thread, as gmem_map(). Logarithmic. Return: 0, or -EFAULT when @host is in no region.
 */
int gmem_guest_of(const struct gmem *m, const void *host, uint64_t len, uint64_t *guest_addr, uint64_t *part);

/*
 * True once SIGBUS hit one of its mappings, or one of a table that shares its mark: the content is no longer the
 * guest's. Any thread.
 */
static inline bool gmem_broken(const struct gmem *m)
{
	return __atomic_load_n(&m->mark->broken, __ATOMIC_RELAXED);
}

static inline unsigned gmem_regions(const struct gmem *m)
{
	return m->n;
}

/* For status and hand-over: the i-th region's description, in the order of guest addresses, and fd (still the table's). */
int gmem_region(const struct gmem *m, unsigned i, struct gmem_desc *desc, int *fd);

#endif
