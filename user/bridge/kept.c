/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation. The file is mapped shared, so what was stored is in it
 * whatever becomes of the process; there is nothing to flush, and a crash of the
 * machine takes the guests along. Blocks are allocated before anything is stored
 * in them: a store to a page that a full tmpfs cannot give would be a SIGBUS.
 *
 * The magic word is written last, a slot's entries are cleared before its name
 * is entered, and a name goes before its entries do: cut off anywhere, what is
 * left either says nothing or the truth.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "bridge/kept.h"
#include "bridge/port_config.h"

#define MAGIC 0x7364707469737370ull
#define NAME_LEN sizeof(((struct port_config *)0)->name)

/* A cache line each: rings of one port may belong to different workers. */
struct entry {
	struct virtq_kept k;
} __attribute__((aligned(64)));

struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t size;		/* of the file: slots, rings and their sizes are what they are here */
	char name[KEPT_SLOTS][NAME_LEN];	/* "": free */
};

#define HEAD_LEN 12288u		/* whole pages */
static_assert(sizeof(struct head) <= HEAD_LEN, "the names fit");

struct file {
	union {
		struct head head;
		uint8_t bytes[HEAD_LEN];
	};
	struct entry ring[KEPT_SLOTS][KEPT_RINGS];
};

struct kept {
	const struct host_ops *host;
	struct file *file;
	int fd;
	bool regular;		/* what is at the path may be ours; nothing else is ever removed */
	bool adopted, confirmed;
	bool used[KEPT_SLOTS];	/* by a port of this process */
	char path[128];
};

static bool names_make_sense(const struct head *h)
{
	for (unsigned i = 0; i < KEPT_SLOTS; i++) {
		if (!memchr(h->name[i], '\0', NAME_LEN))
			return false;
		for (unsigned j = 0; h->name[i][0] && j < i; j++)
			if (!strcmp(h->name[i], h->name[j]))
				return false;
	}
	return true;
}

static bool is_ours(const struct file *f)
{
	return f->head.magic == MAGIC && f->head.version == KEPT_VERSION && f->head.size == sizeof(*f) &&
	       names_make_sense(&f->head);
}

static bool position_is_in(uint16_t at, uint32_t size)
{
	return (at & 0x7fff) < size;
}

/* Whether the ring is there is for virtq_start() to see; here only that the numbers can be those of a ring. */
static bool entry_makes_sense(const struct virtq_kept *k)
{
	const uint32_t size = k->size & UINT32_MAX >> 2;	/* the two highest bits are flags */

	return size && size <= VIRTQ_MAX_SIZE && position_is_in(k->published, size) && position_is_in(k->next, size);
}

/* What it was is lost; what it will be is all zeroes. */
static int begin_anew(struct kept *k)
{
	int ret;

	if (ftruncate(k->fd, 0) || ftruncate(k->fd, sizeof(*k->file)))
		return -errno;
	ret = posix_fallocate(k->fd, 0, HEAD_LEN);
	if (ret)
		return -ret;
	k->file->head.version = KEPT_VERSION;
	k->file->head.size = sizeof(*k->file);
	__atomic_store_n(&k->file->head.magic, MAGIC, __ATOMIC_RELEASE);
	return 0;
}

static int map_file(struct kept *k)
{
	struct stat st;
	int ret;

	if (fstat(k->fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	k->regular = true;
	/* Of a shorter one nothing may be read through the mapping. */
	if (st.st_size != sizeof(*k->file) && ftruncate(k->fd, 0))
		return -errno;
	if (ftruncate(k->fd, sizeof(*k->file)))
		return -errno;
	k->file = mmap(NULL, sizeof(*k->file), PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	if (k->file == MAP_FAILED) {
		k->file = NULL;
		return -errno;
	}
	/* A file with holes in its head cannot be ours, and storing there must be safe before we look. */
	ret = posix_fallocate(k->fd, 0, HEAD_LEN);
	if (ret)
		return -ret;
	k->adopted = is_ours(k->file);
	if (k->adopted)
		return 0;
	if (st.st_size)
		log_warn("%s: not a file of this version: positions of packed rings that were in it are lost", k->path);
	return begin_anew(k);
}

int kept_open(const struct host_ops *host, const char *path, struct kept **out)
{
	struct kept *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	k->host = host;
	k->fd = -1;
	if (strlen(path) >= sizeof(k->path)) {
		free(k);
		return -ENAMETOOLONG;
	}
	strcpy(k->path, path);
	ret = k->fd = host->open(host, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (ret >= 0)
		ret = map_file(k);
	if (ret < 0) {
		kept_close(k, true);
		return ret;
	}
	*out = k;
	return 0;
}

void kept_close(struct kept *k, bool remove)
{
	if (!k)
		return;
	if (remove && k->regular && (!k->adopted || k->confirmed))
		k->host->unlink(k->host, k->path);
	if (k->file)
		munmap(k->file, sizeof(*k->file));
	if (k->fd >= 0)
		close(k->fd);
	free(k);
}

static void forget(struct kept *k, unsigned slot)
{
	memset(k->file->head.name[slot], 0, NAME_LEN);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	/* Takes the entries' memory back, too. */
	if (fallocate(k->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)((uint8_t *)k->file->ring[slot] - (uint8_t *)k->file), sizeof(k->file->ring[slot])))
		memset(k->file->ring[slot], 0, sizeof(k->file->ring[slot]));
}

void kept_confirm(struct kept *k)
{
	if (!k)
		return;
	k->confirmed = true;
	for (unsigned i = 0; i < KEPT_SLOTS; i++)
		if (!k->used[i] && k->file->head.name[i][0])
			forget(k, i);
}

bool kept_adopted(const struct kept *k)
{
	return k && k->adopted;
}

static int find_slot(const struct kept *k, const char *name)
{
	int empty = -1, stale = -1;

	for (int i = 0; i < (int)KEPT_SLOTS; i++) {
		if (!strcmp(k->file->head.name[i], name))
			return i;
		if (!k->used[i] && !k->file->head.name[i][0] && empty < 0)
			empty = i;
		if (!k->used[i] && stale < 0)
			stale = i;
	}
	return empty >= 0 ? empty : stale >= 0 ? stale : -ENOSPC;
}

/* What was left in entries is used only where it can be true. */
static void check_entries(struct entry *ring, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!entry_makes_sense(&ring[i].k))
			ring[i].k = (struct virtq_kept){ 0 };
}

int kept_take(struct kept *k, const char *name, unsigned rings)
{
	size_t at;
	int slot, ret;

	if (!k)
		return -ENOENT;
	if (!name[0] || strlen(name) >= NAME_LEN || !rings || rings > KEPT_RINGS)
		return -EINVAL;
	slot = find_slot(k, name);
	if (slot < 0)
		return slot;
	if (k->used[slot])
		return -EEXIST;
	if (strcmp(k->file->head.name[slot], name))
		forget(k, (unsigned)slot);
	at = (size_t)((uint8_t *)k->file->ring[slot] - (uint8_t *)k->file);
	ret = posix_fallocate(k->fd, (off_t)at, (off_t)(rings * sizeof(struct entry)));
	if (ret)
		return -ret;
	check_entries(k->file->ring[slot], rings);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(k->file->head.name[slot], name, strlen(name) + 1);
	k->used[slot] = true;
	return slot;
}

void kept_give_back(struct kept *k, int slot)
{
	if (!k || slot < 0)
		return;
	k->used[slot] = false;
	/* A start that fails leaves things as it found them. */
	if (!k->adopted || k->confirmed)
		forget(k, (unsigned)slot);
}

struct virtq_kept *kept_ring(struct kept *k, int slot, unsigned ring)
{
	return k && slot >= 0 ? &k->file->ring[slot][ring].k : NULL;
}
