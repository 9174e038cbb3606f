/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ring/filemap.h"
#include "ring/gmem.h"

/* Orders in which regions are looked for; the first two are gmem_space's. */
enum order { BY_GUEST = GMEM_GUEST, BY_USER = GMEM_USER, BY_HOST };

/* Control thread. */
struct gmem_file {
	uint32_t refs;
	struct filemap map;
};

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

static bool overlaps(const struct gmem_region *r, const struct gmem_desc *d)
{
	return overlap(r->start[GMEM_GUEST], r->size, d->guest_addr, d->size) ||
	       overlap(r->start[GMEM_USER], r->size, d->user_addr, d->size);
}

static struct gmem_region region_of(const struct gmem_desc *d, struct gmem_file *file)
{
	return (struct gmem_region){
		.start = { [GMEM_GUEST] = d->guest_addr, [GMEM_USER] = d->user_addr },
		.size = d->size,
		.host = file ? file->map.map + d->mmap_offset : NULL,
		.mmap_offset = d->mmap_offset,
		.file = file,
	};
}

/* --- making tables ------------------------------------------------------------- */

/* An empty table with room for @n regions, with the mark of @old if there is one. */
static struct gmem *new_table(unsigned n, const struct gmem *old)
{
	struct gmem *m = calloc(1, sizeof(*m) + (n ? n : 1) * sizeof(m->region[0]));

	if (!m)
		return NULL;
	m->refs = 1;
	m->mark = old ? old->mark : calloc(1, sizeof(*m->mark));
	if (!m->mark) {
		free(m);
		return NULL;
	}
	m->mark->refs++;
	return m;
}

/* Maps a region's file. The fd is the caller's until it enters it. */
static int add_file(struct gmem *m, const struct gmem_desc *d, int fd)
{
	struct gmem_file *file;
	int ret;

	for (unsigned i = 0; i < m->n; i++)
		if (overlaps(&m->region[i], d))
			return -EINVAL;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	ret = filemap_open(&file->map, fd, d->mmap_offset + d->size, &m->mark->broken);
	if (ret) {
		free(file);
		return ret;
	}
	/* Advice only: huge pages where tmpfs gives them. */
	madvise(file->map.map, file->map.len, MADV_HUGEPAGE);
	file->refs = 1;
	m->region[m->n++] = region_of(d, file);
	return 0;
}

static void share_region(struct gmem *m, const struct gmem_region *r)
{
	r->file->refs++;
	m->region[m->n++] = *r;
}

static uint64_t start_of(const struct gmem_region *r, enum order order)
{
	return order == BY_HOST ? (uintptr_t)r->host : r->start[order];
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int guest_order(const void *a, const void *b)
{
	return compare(start_of(a, BY_GUEST), start_of(b, BY_GUEST));
}

static int user_order(const void *a, const void *b, void *region)
{
	const struct gmem_region *r = region;

	return compare(start_of(&r[*(const uint16_t *)a], BY_USER), start_of(&r[*(const uint16_t *)b], BY_USER));
}

static int host_order(const void *a, const void *b, void *region)
{
	const struct gmem_region *r = region;

	return compare(start_of(&r[*(const uint16_t *)a], BY_HOST), start_of(&r[*(const uint16_t *)b], BY_HOST));
}

/* All regions are there: brings them into order. */
static struct gmem *finish(struct gmem *m)
{
	qsort(m->region, m->n, sizeof(m->region[0]), guest_order);
	for (unsigned i = 0; i < m->n; i++)
		m->by_user[i] = m->by_host[i] = (uint16_t)i;
	qsort_r(m->by_user, m->n, sizeof(m->by_user[0]), user_order, m->region);
	qsort_r(m->by_host, m->n, sizeof(m->by_host[0]), host_order, m->region);
	return m;
}

/* Before anything is mapped, so that a hostile table costs nothing. */
static int check_table(const struct gmem_desc *d, unsigned n)
{
	if (!n || n > GMEM_MAX_REGIONS)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		struct gmem_region r = region_of(&d[i], NULL);

		if (wraps(&d[i]))
			return -EINVAL;
		for (unsigned j = 0; j < i; j++)
			if (overlaps(&r, &d[j]))
				return -EINVAL;
	}
	return 0;
}

int gmem_create(const struct gmem_desc *descs, const int *fds, unsigned n, struct gmem **out)
{
	struct gmem *m;
	int ret;

	ret = check_table(descs, n);
	if (ret)
		return ret;
	m = new_table(n, NULL);
	if (!m)
		return -ENOMEM;
	for (unsigned i = 0; i < n && !ret; i++)
		ret = add_file(m, &descs[i], fds[i]);
	if (ret) {
		gmem_put(m);
		return ret;
	}
	for (unsigned i = 0; i < n; i++)
		m->region[i].file->map.fd = fds[i];
	*out = finish(m);
	return 0;
}

int gmem_add(const struct gmem *old, const struct gmem_desc *desc, int fd, struct gmem **out)
{
	unsigned n = old ? old->n : 0;
	struct gmem *m;
	int ret;

	if (wraps(desc))
		return -EINVAL;
	if (n == GMEM_MAX_REGIONS)
		return -ENOSPC;
	m = new_table(n + 1, old);
	if (!m)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		share_region(m, &old->region[i]);
	ret = add_file(m, desc, fd);
	if (ret) {
		gmem_put(m);
		return ret;
	}
	m->region[n].file->map.fd = fd;
	*out = finish(m);
	return 0;
}

int gmem_remove(const struct gmem *old, const struct gmem_desc *desc, struct gmem **out)
{
	unsigned at = 0;
	struct gmem *m;

	while (at < old->n && (old->region[at].start[GMEM_GUEST] != desc->guest_addr ||
			       old->region[at].start[GMEM_USER] != desc->user_addr ||
			       old->region[at].size != desc->size))
		at++;
	if (at == old->n)
		return -ENOENT;
	m = new_table(old->n - 1, old);
	if (!m)
		return -ENOMEM;
	for (unsigned i = 0; i < old->n; i++)
		if (i != at)
			share_region(m, &old->region[i]);
	*out = finish(m);
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
		struct gmem_file *file = m->region[i].file;

		if (--file->refs)
			continue;
		filemap_close(&file->map);
		free(file);
	}
	/* Last: until then the SIGBUS handler may write there. */
	if (!--m->mark->refs)
		free(m->mark);
	free(m);
}

/* --- using them ----------------------------------------------------------------- */

static unsigned nth(const struct gmem *m, enum order order, unsigned i)
{
	return order == BY_GUEST ? i : order == BY_USER ? m->by_user[i] : m->by_host[i];
}

/* The region with @addr in it. */
static int find(const struct gmem *m, enum order order, uint64_t addr)
{
	unsigned low = 0, high = m->n;	/* those before low begin at @addr or below, those from high on above */
	const struct gmem_region *r;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (start_of(&m->region[nth(m, order, middle)], order) <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return -EFAULT;
	low = nth(m, order, low - 1);
	r = &m->region[low];
	return addr - start_of(r, order) < r->size ? (int)low : -EFAULT;
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
		int i = find(m, (enum order)space, addr);
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

int gmem_guest_of(const struct gmem *m, const void *host, uint64_t len, uint64_t *guest_addr, uint64_t *part)
{
	int i = find(m, BY_HOST, (uintptr_t)host);
	const struct gmem_region *r;
	uint64_t off;

	if (i < 0)
		return i;
	r = &m->region[i];
	off = (uintptr_t)host - (uintptr_t)r->host;
	*guest_addr = r->start[GMEM_GUEST] + off;
	*part = r->size - off < len ? r->size - off : len;
	return 0;
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
	*fd = m->region[i].file->map.fd;
	return 0;
}
