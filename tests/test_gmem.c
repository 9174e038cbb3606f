/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory: what is refused, where addresses lead, and what a truncated file does. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sigbus.h"
#include "files.h"
#include "ring/gmem.h"

#define PAGE 4096ull
#define SIZE (64 * PAGE)
#define GUEST 0x40000000ull
#define USER 0x7f0000000000ull

static struct gmem_desc desc(uint64_t guest, uint64_t size, uint64_t user, uint64_t offset)
{
	return (struct gmem_desc){ guest, size, user, offset };
}

/* Refused with @want, the fds still open and ours, nothing left behind. Closes the fds. */
static void refused(const struct gmem_desc *d, int *fds, unsigned n, int want)
{
	struct gmem *m = (void *)1;
	unsigned before = open_fds(), maps = mappings();

	assert_int_equal(gmem_create(d, fds, n, &m), want);
	assert_ptr_equal(m, (void *)1);
	assert_int_equal(open_fds(), before);
	assert_int_equal(mappings(), maps);
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			assert_int_equal(close(fds[i]), 0);
}

static void refused_pair(struct gmem_desc a, struct gmem_desc b, int want)
{
	struct gmem_desc d[2] = { a, b };
	int fds[2] = { memfd(SIZE), memfd(SIZE) };

	refused(d, fds, 2, want);
}

static void refused_one(struct gmem_desc d, int fd, int want)
{
	refused(&d, &fd, 1, want);
}

/* In each test, for cmocka puts a handler of its own around every one of them. */
static struct gmem *table(const struct gmem_desc *d, unsigned n)
{
	struct gmem *m = NULL;
	int fds[8];

	assert_int_equal(sigbus_install(), 0);
	for (unsigned i = 0; i < n; i++)
		fds[i] = memfd(d[i].size + d[i].mmap_offset);
	assert_int_equal(gmem_create(d, fds, n, &m), 0);
	return m;
}

/* Two regions that follow each other for the guest, in another order and with a gap for the front-end. */
static struct gmem *two_regions(void)
{
	const struct gmem_desc d[2] = {
		{ GUEST, SIZE, USER + 4 * SIZE, 0 },
		{ GUEST + SIZE, SIZE, USER, PAGE },
	};

	return table(d, 2);
}

static int map(const struct gmem *m, uint64_t addr, uint64_t len, struct iovec *iov, int max)
{
	unsigned hint = 0;

	return gmem_map(m, GMEM_GUEST, addr, len, iov, max, &hint);
}

static void a_table_without_regions_is_refused(void **state)
{
	struct gmem_desc d = desc(GUEST, SIZE, USER, 0);
	int fd = memfd(SIZE);

	(void)state;
	refused(&d, &fd, 0, -EINVAL);
	close(fd);
}

static void a_table_of_too_many_regions_is_refused(void **state)
{
	static struct gmem_desc d[GMEM_MAX_REGIONS + 1];
	static int fds[GMEM_MAX_REGIONS + 1];

	(void)state;
	for (unsigned i = 0; i <= GMEM_MAX_REGIONS; i++) {
		d[i] = desc(GUEST + i * PAGE, PAGE, USER + i * PAGE, 0);
		fds[i] = -1;
	}
	refused(d, fds, GMEM_MAX_REGIONS + 1, -EINVAL);
}

static void as_many_regions_as_allowed_work(void **state)
{
	static struct gmem_desc d[GMEM_MAX_REGIONS];
	static int fds[GMEM_MAX_REGIONS];
	struct iovec iov[GMEM_MAX_REGIONS];
	unsigned before = open_fds(), maps = mappings();
	struct gmem *m;

	(void)state;
	for (unsigned i = 0; i < GMEM_MAX_REGIONS; i++) {
		d[i] = desc(GUEST + i * PAGE, PAGE, USER + i * PAGE, PAGE);
		fds[i] = memfd(2 * PAGE);
	}
	assert_int_equal(gmem_create(d, fds, GMEM_MAX_REGIONS, &m), 0);
	assert_int_equal(gmem_regions(m), GMEM_MAX_REGIONS);
	assert_int_equal(map(m, GUEST, GMEM_MAX_REGIONS * PAGE, iov, GMEM_MAX_REGIONS), GMEM_MAX_REGIONS);
	assert_int_equal(map(m, GUEST, GMEM_MAX_REGIONS * PAGE + 1, iov, GMEM_MAX_REGIONS), -EFAULT);
	gmem_put(m);
	assert_int_equal(open_fds(), before);
	assert_int_equal(mappings(), maps);
}

static void a_region_of_no_size_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, 0, USER, 0), memfd(SIZE), -EINVAL);
}

static void a_region_that_wraps_in_guest_space_is_refused(void **state)
{
	(void)state;
	refused_one(desc(UINT64_MAX - PAGE + 2, PAGE, USER, 0), memfd(SIZE), -EINVAL);
	refused_one(desc(GUEST, UINT64_MAX, USER, 0), memfd(SIZE), -EINVAL);
}

static void a_region_that_wraps_in_user_space_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, PAGE, UINT64_MAX - PAGE + 2, 0), memfd(SIZE), -EINVAL);
}

static void an_offset_that_wraps_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, PAGE, USER, UINT64_MAX), memfd(SIZE), -EINVAL);
	refused_one(desc(GUEST, PAGE, USER, UINT64_MAX - PAGE + 1), memfd(SIZE), -EINVAL);
	refused_one(desc(GUEST, PAGE, USER, INT64_MAX - PAGE + 1), memfd(SIZE), -EINVAL);
}

static void a_region_may_end_with_the_address_space(void **state)
{
	const struct gmem_desc d = desc(UINT64_MAX - PAGE + 1, PAGE, UINT64_MAX - PAGE + 1, 0);
	struct gmem *m = table(&d, 1);
	struct iovec iov[2];

	(void)state;
	assert_int_equal(map(m, UINT64_MAX, 1, iov, 2), 1);
	assert_int_equal(map(m, UINT64_MAX, 2, iov, 2), -EFAULT);
	assert_int_equal(map(m, UINT64_MAX - PAGE + 1, PAGE, iov, 2), 1);
	gmem_put(m);
}

static void regions_that_overlap_in_guest_space_are_refused(void **state)
{
	(void)state;
	refused_pair(desc(GUEST, SIZE, USER, 0), desc(GUEST + SIZE - 1, SIZE, USER + SIZE, 0), -EINVAL);
	refused_pair(desc(GUEST + SIZE - 1, SIZE, USER, 0), desc(GUEST, SIZE, USER + SIZE, 0), -EINVAL);
	refused_pair(desc(GUEST, SIZE, USER, 0), desc(GUEST, SIZE, USER + SIZE, 0), -EINVAL);
	refused_pair(desc(GUEST, SIZE, USER, 0), desc(GUEST + PAGE, PAGE, USER + SIZE, 0), -EINVAL);
}

static void regions_that_overlap_in_user_space_are_refused(void **state)
{
	(void)state;
	refused_pair(desc(GUEST, SIZE, USER, 0), desc(GUEST + SIZE, SIZE, USER + SIZE - 1, 0), -EINVAL);
	refused_pair(desc(GUEST, SIZE, USER + SIZE - 1, 0), desc(GUEST + SIZE, SIZE, USER, 0), -EINVAL);
}

static void a_file_shorter_than_claimed_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, SIZE, USER, 0), memfd(SIZE - 1), -EINVAL);
	refused_one(desc(GUEST, SIZE, USER, PAGE), memfd(SIZE), -EINVAL);
	refused_one(desc(GUEST, 1ull << 62, USER, 0), memfd(SIZE), -EINVAL);
}

static void a_bad_second_region_leaves_nothing_of_the_first(void **state)
{
	struct gmem_desc d[2] = { desc(GUEST, SIZE, USER, 0), desc(GUEST + SIZE, SIZE, USER + SIZE, 0) };
	int fds[2] = { memfd(SIZE), memfd(SIZE - 1) };

	(void)state;
	refused(d, fds, 2, -EINVAL);
}

static void no_fd_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, SIZE, USER, 0), -1, -EBADF);
}

static void a_pipe_is_refused(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	refused_one(desc(GUEST, SIZE, USER, 0), p[0], -EINVAL);
	close(p[1]);
}

static void a_directory_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, PAGE, USER, 0), open("/dev/shm", O_RDONLY | O_DIRECTORY), -EINVAL);
	refused_one(desc(GUEST, PAGE, USER, 0), open("/", O_RDONLY | O_DIRECTORY), -EINVAL);
}

static void a_device_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, PAGE, USER, 0), open("/dev/null", O_RDWR), -EINVAL);
	refused_one(desc(GUEST, PAGE, USER, 0), open("/dev/zero", O_RDWR), -EINVAL);
}

static void an_eventfd_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, PAGE, USER, 0), eventfd(0, 0), -EINVAL);
}

static void a_file_of_proc_is_refused(void **state)
{
	(void)state;
	refused_one(desc(GUEST, PAGE, USER, 0), open("/proc/self/mem", O_RDWR), -EINVAL);
}

static void a_file_on_a_disk_is_refused(void **state)
{
	char self[4096] = "", name[] = "/var/tmp/gmem-XXXXXX";
	int fd = mkstemp(name);

	(void)state;
	if (fd < 0 || unlink(name) < 0 || ftruncate(fd, SIZE) < 0)
		skip();
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	/* Where /var/tmp is a tmpfs there is no other file system to try. */
	FILE *mounts = popen("stat -f -c %T /var/tmp", "r");
	bool tmpfs = !fgets(self, sizeof(self), mounts) || !strncmp(self, "tmpfs", 5);

	pclose(mounts);
	if (tmpfs) {
		close(fd);
		skip();
	}
	refused_one(desc(GUEST, SIZE, USER, 0), fd, -EINVAL);
}

static void a_file_that_cannot_be_written_is_refused(void **state)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	refused_one(desc(GUEST, SIZE, USER, 0), fd, -EPERM);
}

static void the_table_owns_the_fds_once_it_exists(void **state)
{
	unsigned before = open_fds(), maps = mappings();
	struct gmem *m = two_regions();

	(void)state;
	assert_int_equal(open_fds(), before + 2);
	assert_true(mappings() >= maps + 2);
	gmem_put(m);
	assert_int_equal(open_fds(), before);
	assert_int_equal(mappings(), maps);
}

static void the_last_reference_frees(void **state)
{
	unsigned before = open_fds(), maps = mappings();
	struct gmem *m = two_regions();
	struct iovec iov;

	(void)state;
	assert_ptr_equal(gmem_get(m), m);
	gmem_put(m);
	assert_int_equal(map(m, GUEST, 8, &iov, 1), 1);
	memset(iov.iov_base, 1, 8);
	gmem_put(m);
	gmem_put(NULL);
	assert_int_equal(open_fds(), before);
	assert_int_equal(mappings(), maps);
}

static void a_region_can_be_asked_back(void **state)
{
	struct gmem *m = two_regions();
	struct gmem_desc d;
	int fd;

	(void)state;
	assert_int_equal(gmem_regions(m), 2);
	assert_int_equal(gmem_region(m, 1, &d, &fd), 0);
	assert_int_equal(d.guest_addr, GUEST + SIZE);
	assert_int_equal(d.size, SIZE);
	assert_int_equal(d.user_addr, USER);
	assert_int_equal(d.mmap_offset, PAGE);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	assert_int_equal(gmem_region(m, 2, &d, &fd), -ENOENT);
	gmem_put(m);
}

static void a_span_inside_a_region_is_one_piece(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov[4];
	uint8_t *start;

	(void)state;
	assert_int_equal(map(m, GUEST, SIZE, iov, 4), 1);
	assert_int_equal(iov[0].iov_len, SIZE);
	start = iov[0].iov_base;
	assert_int_equal(map(m, GUEST + 100, 7, iov, 4), 1);
	assert_ptr_equal(iov[0].iov_base, start + 100);
	assert_int_equal(iov[0].iov_len, 7);
	gmem_put(m);
}

static void a_span_over_two_regions_is_two_pieces(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov[4], first[1], second[1];

	(void)state;
	assert_int_equal(map(m, GUEST + SIZE - 3, 10, iov, 4), 2);
	assert_int_equal(iov[0].iov_len, 3);
	assert_int_equal(iov[1].iov_len, 7);
	assert_int_equal(map(m, GUEST + SIZE - 3, 3, first, 1), 1);
	assert_int_equal(map(m, GUEST + SIZE, 1, second, 1), 1);
	assert_ptr_equal(iov[0].iov_base, first[0].iov_base);
	assert_ptr_equal(iov[1].iov_base, second[0].iov_base);
	gmem_put(m);
}

/* A table by hand: where the kernel maps files is not ours to say. */
static void pieces_that_are_adjacent_for_us_are_merged(void **state)
{
	struct gmem *m = calloc(1, sizeof(*m) + 3 * sizeof(m->region[0]));
	uint8_t *mem = malloc(4 * PAGE);
	struct iovec iov[3];

	(void)state;
	m->n = 3;
	for (unsigned i = 0; i < 3; i++)
		m->region[i] = (struct gmem_region){
			.start = { GUEST + i * PAGE, USER + 2 * i * PAGE }, .size = PAGE, .host = mem + (i + i / 2) * PAGE,
		};
	assert_int_equal(map(m, GUEST + 1, 2 * PAGE - 1, iov, 3), 1);
	assert_ptr_equal(iov[0].iov_base, mem + 1);
	assert_int_equal(iov[0].iov_len, 2 * PAGE - 1);
	assert_int_equal(map(m, GUEST, 3 * PAGE, iov, 2), 2);
	assert_int_equal(iov[0].iov_len, 2 * PAGE);
	assert_ptr_equal(iov[1].iov_base, mem + 3 * PAGE);
	free(mem);
	free(m);
}

static void more_pieces_than_there_is_room_for_are_too_big(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov[2];

	(void)state;
	assert_int_equal(map(m, GUEST + SIZE - 1, 2, iov, 1), -E2BIG);
	assert_int_equal(map(m, GUEST, 1, iov, 0), -E2BIG);
	assert_int_equal(map(m, GUEST + SIZE - 1, 2, iov, 2), 2);
	gmem_put(m);
}

static void a_span_of_no_length_has_no_pieces(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov;

	(void)state;
	assert_int_equal(map(m, GUEST, 0, &iov, 1), 0);
	assert_int_equal(map(m, 0, 0, &iov, 1), 0);
	gmem_put(m);
}

static void a_span_that_wraps_is_refused(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov[4];

	(void)state;
	assert_int_equal(map(m, GUEST, UINT64_MAX, iov, 4), -EFAULT);
	assert_int_equal(map(m, GUEST + 1, UINT64_MAX, iov, 4), -EFAULT);
	assert_int_equal(map(m, UINT64_MAX, 2, iov, 4), -EFAULT);
	assert_int_equal(map(m, GUEST + SIZE, -SIZE + 1, iov, 4), -EFAULT);
	gmem_put(m);
}

static void a_span_whose_first_or_last_byte_is_outside_is_refused(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov[4];

	(void)state;
	assert_int_equal(map(m, GUEST - 1, 1, iov, 4), -EFAULT);
	assert_int_equal(map(m, GUEST - 1, 2, iov, 4), -EFAULT);
	assert_int_equal(map(m, GUEST + 2 * SIZE, 1, iov, 4), -EFAULT);
	assert_int_equal(map(m, GUEST + 2 * SIZE - 8, 9, iov, 4), -EFAULT);
	assert_int_equal(map(m, GUEST + 2 * SIZE - 8, 8, iov, 4), 1);
	assert_int_equal(map(m, GUEST, 2 * SIZE + 1, iov, 4), -EFAULT);
	gmem_put(m);
}

static void the_two_address_spaces_are_kept_apart(void **state)
{
	struct gmem *m = two_regions();
	struct iovec g, u;
	unsigned hint = 0;

	(void)state;
	assert_int_equal(gmem_map(m, GMEM_USER, GUEST, 1, &u, 1, &hint), -EFAULT);
	assert_int_equal(gmem_map(m, GMEM_GUEST, USER, 1, &g, 1, &hint), -EFAULT);
	assert_int_equal(gmem_map(m, GMEM_USER, USER + 5, 1, &u, 1, &hint), 1);
	assert_int_equal(gmem_map(m, GMEM_GUEST, GUEST + SIZE + 5, 1, &g, 1, &hint), 1);
	assert_ptr_equal(g.iov_base, u.iov_base);
	gmem_put(m);
}

static void any_hint_leads_to_the_same_place(void **state)
{
	struct gmem *m = two_regions();
	const unsigned hints[] = { 0, 1, 2, 1000, UINT32_MAX };
	struct iovec want, iov;

	(void)state;
	assert_int_equal(map(m, GUEST + SIZE + 9, 9, &want, 1), 1);
	for (unsigned i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		unsigned hint = hints[i];

		assert_int_equal(gmem_map(m, GMEM_GUEST, GUEST + SIZE + 9, 9, &iov, 1, &hint), 1);
		assert_ptr_equal(iov.iov_base, want.iov_base);
		assert_int_equal(hint, 1);
	}
	gmem_put(m);
}

static void the_offset_into_the_file_is_honoured(void **state)
{
	const struct gmem_desc d = desc(GUEST, PAGE, USER, 3 * PAGE + 64);
	int fd = memfd(5 * PAGE);
	struct iovec iov;
	struct gmem *m;
	char text[6];

	(void)state;
	assert_int_equal(pwrite(fd, "hello", 6, 3 * PAGE + 64), 6);
	assert_int_equal(gmem_create(&d, &fd, 1, &m), 0);
	assert_int_equal(map(m, GUEST, 6, &iov, 1), 1);
	assert_string_equal(iov.iov_base, "hello");
	memcpy(iov.iov_base, "world", 6);
	assert_int_equal(pread(fd, text, 6, 3 * PAGE + 64), 6);
	assert_string_equal(text, "world");
	gmem_put(m);
}

static void a_truncated_file_reads_as_zeroes_and_marks_the_table(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov[2];
	struct gmem_desc d;
	int fd;

	(void)state;
	assert_int_equal(map(m, GUEST, 2 * SIZE, iov, 2), 2);
	memset(iov[0].iov_base, 7, SIZE);
	memset(iov[1].iov_base, 7, SIZE);
	gmem_region(m, 0, &d, &fd);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(gmem_broken(m));
	assert_int_equal(*((volatile uint8_t *)iov[0].iov_base + 5), 0);
	assert_true(gmem_broken(m));
	/* All of that mapping, for reading and writing; the other one is untouched. */
	memset(iov[0].iov_base, 1, SIZE);
	assert_int_equal(*((volatile uint8_t *)iov[1].iov_base + SIZE - 1), 7);
	gmem_put(m);
}

static void a_write_into_a_truncated_file_is_contained(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov;
	struct gmem_desc d;
	int fd;

	(void)state;
	assert_int_equal(map(m, GUEST + SIZE, SIZE, &iov, 1), 1);
	gmem_region(m, 1, &d, &fd);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	*(volatile uint64_t *)iov.iov_base = 1;
	assert_true(gmem_broken(m));
	gmem_put(m);
}

/* Larger than memory and swap: a mapping that the kernel accounts for would be refused in the handler. */
static void a_truncated_file_larger_than_memory_is_contained(void **state)
{
	const struct gmem_desc d = desc(GUEST, 4ull << 40, USER, 0);
	int fd = memfd(4ull << 40);
	struct iovec iov;
	struct gmem *m;

	(void)state;
	assert_int_equal(sigbus_install(), 0);
	if (gmem_create(&d, &fd, 1, &m)) {
		close(fd);
		skip();
	}
	assert_int_equal(map(m, GUEST + (3ull << 40), PAGE, &iov, 1), 1);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(*(volatile uint8_t *)iov.iov_base, 0);
	assert_true(gmem_broken(m));
	gmem_put(m);
}

static void a_punched_hole_is_zeroes_and_no_fault(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov;
	struct gmem_desc d;
	int fd;

	(void)state;
	assert_int_equal(map(m, GUEST, SIZE, &iov, 1), 1);
	memset(iov.iov_base, 7, SIZE);
	gmem_region(m, 0, &d, &fd);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)SIZE), 0);
	assert_int_equal(*(volatile uint8_t *)iov.iov_base, 0);
	assert_false(gmem_broken(m));
	gmem_put(m);
}

static void one_broken_table_does_not_mark_another(void **state)
{
	struct gmem *a = two_regions(), *b = two_regions();
	struct iovec iov;
	struct gmem_desc d;
	int fd;

	(void)state;
	gmem_region(b, 1, &d, &fd);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(map(b, GUEST + SIZE, 1, &iov, 1), 1);
	assert_int_equal(*(volatile uint8_t *)iov.iov_base, 0);
	assert_true(gmem_broken(b));
	assert_false(gmem_broken(a));
	gmem_put(a);
	gmem_put(b);
}

/* The signal that ends a child which runs @fn, or its exit status, negative. */
static int fate(void (*fn)(void))
{
	const struct rlimit no_core = { 0 };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &no_core);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void touch_a_truncated_file(bool registered, bool unregister)
{
	int fd = memfd_create("guest", 0);
	uint32_t broken = 0;
	void *p;

	if (sigbus_install() || ftruncate(fd, PAGE))
		_exit(1);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (registered && sigbus_register(p, PAGE, &broken))
		_exit(1);
	if (unregister)
		sigbus_unregister(p);
	if (ftruncate(fd, 0))
		_exit(1);
	(void)*(volatile char *)p;
	_exit(broken == registered ? 0 : 1);
}

static void touch_registered(void)
{
	touch_a_truncated_file(true, false);
}

static void touch_unknown(void)
{
	two_regions();	/* something is registered, only not this */
	touch_a_truncated_file(false, false);
}

static void touch_unregistered(void)
{
	two_regions();
	touch_a_truncated_file(true, true);
}

static void send_sigbus(void)
{
	two_regions();
	kill(getpid(), SIGBUS);
}

static void a_fault_at_a_registered_address_is_survived(void **state)
{
	(void)state;
	assert_int_equal(fate(touch_registered), 0);
}

static void a_fault_at_an_unknown_address_still_kills(void **state)
{
	(void)state;
	assert_int_equal(fate(touch_unknown), SIGBUS);
}

static void a_fault_at_an_address_taken_out_again_kills(void **state)
{
	(void)state;
	assert_int_equal(fate(touch_unregistered), SIGBUS);
}

static void a_sigbus_that_somebody_sent_kills(void **state)
{
	(void)state;
	assert_int_equal(fate(send_sigbus), SIGBUS);
}

static void taking_out_what_was_never_put_in_changes_nothing(void **state)
{
	struct gmem *m = two_regions();
	struct iovec iov[2];
	struct gmem_desc d;
	int fd;

	(void)state;
	sigbus_unregister(m);
	assert_int_equal(map(m, GUEST, 2 * SIZE, iov, 2), 2);
	for (unsigned i = 0; i < 2; i++) {
		gmem_region(m, i, &d, &fd);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(*(volatile uint8_t *)iov[i].iov_base, 0);
	}
	gmem_put(m);
	sigbus_unregister(iov);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_without_regions_is_refused),
		cmocka_unit_test(a_table_of_too_many_regions_is_refused),
		cmocka_unit_test(as_many_regions_as_allowed_work),
		cmocka_unit_test(a_region_of_no_size_is_refused),
		cmocka_unit_test(a_region_that_wraps_in_guest_space_is_refused),
		cmocka_unit_test(a_region_that_wraps_in_user_space_is_refused),
		cmocka_unit_test(an_offset_that_wraps_is_refused),
		cmocka_unit_test(a_region_may_end_with_the_address_space),
		cmocka_unit_test(regions_that_overlap_in_guest_space_are_refused),
		cmocka_unit_test(regions_that_overlap_in_user_space_are_refused),
		cmocka_unit_test(a_file_shorter_than_claimed_is_refused),
		cmocka_unit_test(a_bad_second_region_leaves_nothing_of_the_first),
		cmocka_unit_test(no_fd_is_refused),
		cmocka_unit_test(a_pipe_is_refused),
		cmocka_unit_test(a_directory_is_refused),
		cmocka_unit_test(a_device_is_refused),
		cmocka_unit_test(an_eventfd_is_refused),
		cmocka_unit_test(a_file_of_proc_is_refused),
		cmocka_unit_test(a_file_on_a_disk_is_refused),
		cmocka_unit_test(a_file_that_cannot_be_written_is_refused),
		cmocka_unit_test(the_table_owns_the_fds_once_it_exists),
		cmocka_unit_test(the_last_reference_frees),
		cmocka_unit_test(a_region_can_be_asked_back),
		cmocka_unit_test(a_span_inside_a_region_is_one_piece),
		cmocka_unit_test(a_span_over_two_regions_is_two_pieces),
		cmocka_unit_test(pieces_that_are_adjacent_for_us_are_merged),
		cmocka_unit_test(more_pieces_than_there_is_room_for_are_too_big),
		cmocka_unit_test(a_span_of_no_length_has_no_pieces),
		cmocka_unit_test(a_span_that_wraps_is_refused),
		cmocka_unit_test(a_span_whose_first_or_last_byte_is_outside_is_refused),
		cmocka_unit_test(the_two_address_spaces_are_kept_apart),
		cmocka_unit_test(any_hint_leads_to_the_same_place),
		cmocka_unit_test(the_offset_into_the_file_is_honoured),
		cmocka_unit_test(a_truncated_file_reads_as_zeroes_and_marks_the_table),
		cmocka_unit_test(a_write_into_a_truncated_file_is_contained),
		cmocka_unit_test(a_truncated_file_larger_than_memory_is_contained),
		cmocka_unit_test(a_punched_hole_is_zeroes_and_no_fault),
		cmocka_unit_test(one_broken_table_does_not_mark_another),
		cmocka_unit_test(a_fault_at_a_registered_address_is_survived),
		cmocka_unit_test(a_fault_at_an_unknown_address_still_kills),
		cmocka_unit_test(a_fault_at_an_address_taken_out_again_kills),
		cmocka_unit_test(a_sigbus_that_somebody_sent_kills),
		cmocka_unit_test(taking_out_what_was_never_put_in_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
