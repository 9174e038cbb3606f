/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Both sides of a take-over, over a real socket, with a bridge that only notes
 * what is done to it: against each other, and each against a script that does
 * what the other one should not.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parcel.h"
#include "bridge/links.h"
#include "bridge/succession.h"
#include "ctl/takeover.h"
#include "fake_host.h"
#include "vu.h"

#define TAG 0x72766f74u		/* as in takeover.c */
#define THEIRS 0x64697262u

enum kind { HELLO = 1, LASTING, PREPARED, MOVING, READY, REFUSED };

/* --- the bridge --------------------------------------------------------------------- */

/* What is to fail, and what happened. Either thread writes, in turns. */
static struct {
	char log[512];
	int save, save_moving, adopt, resume;	/* errors */
	unsigned heartbeats;
	int script;		/* the script's end of the connection: what does it see when the bridge thaws? */
	char thawed_after;
} did;
static pthread_mutex_t did_lock = PTHREAD_MUTEX_INITIALIZER;
static int lock_fd, api_fd;

static void note(const char *what)
{
	size_t at;

	pthread_mutex_lock(&did_lock);
	at = strlen(did.log);
	snprintf(did.log + at, sizeof(did.log) - at, "%s;", what);
	pthread_mutex_unlock(&did_lock);
}

int bridge_save(struct bridge *b, struct parcel *to, const struct fail *why)
{
	(void)b;
	note("save");
	parcel_put(to, THEIRS, "lasting", 7);
	return did.save ? fail_with(why, did.save, "it cannot be handed over") : 0;
}

void bridge_freeze(struct bridge *b)
{
	(void)b;
	note("freeze");
}

int bridge_save_moving(struct bridge *b, struct parcel *to)
{
	const uint64_t now = clock_now();

	(void)b;
	note("save moving");
	parcel_put(to, THEIRS, &now, sizeof(now));
	return did.save_moving;
}

void bridge_thaw(struct bridge *b)
{
	(void)b;
	if (did.script >= 0) {	/* the last byte that is there */
		while (recv(did.script, &did.thawed_after, 1, MSG_DONTWAIT) == 1)
			;
	}
	note("thaw");
}

int bridge_adopt(const struct host_ops *host, struct loop *loop, const struct bridge_config *cfg,
		 void (*event)(void *arg, const struct bridge_event *ev), void *event_arg, struct parcel *from,
		 struct bridge **out, const struct fail *why)
{
	char text[7];

	(void)host;
	(void)loop;
	(void)cfg;
	(void)event;
	(void)event_arg;
	note("adopt");
	if (parcel_get(from, THEIRS, text, sizeof(text)))
		return fail_with(why, from->err, "it cannot be read");
	*out = (struct bridge *)&did;
	return did.adopt ? fail_with(why, did.adopt, "--queues is not as it was") : 0;
}

int bridge_resume(struct bridge *b, struct parcel *from, uint64_t *frozen_ns)
{
	assert_ptr_equal(b, &did);
	note("resume");
	parcel_get(from, THEIRS, frozen_ns, sizeof(*frozen_ns));
	return did.resume ? did.resume : parcel_end(from);
}

uint64_t bridge_commit(struct bridge *b)
{
	assert_ptr_equal(b, &did);
	note("commit");
	return clock_now();
}

void links_heartbeat(struct bridge *b, uint64_t now_ns)
{
	(void)b;
	(void)now_ns;
	did.heartbeats++;
}

int api_listener(const struct api *a)
{
	(void)a;
	return api_fd;
}

/* --- where they meet ---------------------------------------------------------------- */

static char dir[] = "/tmp/test_takeover.XXXXXX", path[128];

static int listen_there(const struct host_ops *h, const char *p, mode_t mode, uid_t uid, gid_t gid)
{
	assert_string_equal(p, "/run/viaduct/nic0.handover");
	assert_int_equal(mode, 0600);
	return fake_listen(h, path, mode, uid, gid);
}

static int connect_there(const struct host_ops *h, const char *p)
{
	assert_string_equal(p, "/run/viaduct/nic0.handover");
	return fake_connect(h, path);
}

static int unlink_there(const struct host_ops *h, const char *p)
{
	(void)p;
	return fake_unlink(h, path);
}

static const struct host_ops host = {
	.unix_listen = listen_there, .unix_connect = connect_there, .unlink = unlink_there,
};

struct fixture {
	struct loop *loop;
	struct takeover *t;
	unsigned handed_over;
	struct takeover_heir heir;
	char why[256];
	int ret;
	pthread_t thread;
	int listener;		/* the script's */
	unsigned fds_before;
};

static void handed_over(void *arg)
{
	((struct fixture *)arg)->handed_over++;
	note("end");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_level(LOG_LEVEL_ERROR);
	memset(&did, 0, sizeof(did));
	did.script = -1;
	f->fds_before = vu_open_fds();
	f->listener = -1;
	f->loop = loop_create();
	lock_fd = vu_memfd(1);
	api_fd = vu_memfd(2);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int bad = 0, fds[] = { f->heir.lock, f->heir.api_fd, f->heir.listener };

	takeover_close(f->t);
	for (unsigned i = 0; f->heir.loop && i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (f->listener >= 0) {
		close(f->listener);
		unlink(path);
	}
	close(lock_fd);
	close(api_fd);
	loop_destroy(f->loop);
	/* A connection that handed over is left open for the end of the process. */
	bad = vu_open_fds() != f->fds_before + f->handed_over;
	if (bad)
		print_error("%u fds before, %u after\n", f->fds_before, vu_open_fds());
	for (int fd = 3; f->handed_over && fd < 64; fd++) {
		struct sockaddr_un sa = { 0 };
		socklen_t len = sizeof(sa);

		if (!getsockname(fd, (struct sockaddr *)&sa, &len) && !strcmp(sa.sun_path, path))
			close(fd);
	}
	free(f);
	return bad ? -1 : 0;
}

/* The running process waits for one that asks. */
static void wait_for_heirs(struct fixture *f)
{
	const struct takeover_estate estate = { .lock = lock_fd };

	assert_int_equal(takeover_listen(f->loop, &host, "nic0", -1, &estate, handed_over, f, &f->t), 0);
}

static void serve_one(struct fixture *f)
{
	assert_true(loop_once(f->loop, 5000) > 0);
}

/* The new process. */
static void *inherit(void *arg)
{
	struct fixture *f = arg;
	const struct fail why = { f->why, sizeof(f->why) };

	f->heir = (struct takeover_heir){ .host = &host, .loop = f->loop };
	f->ret = takeover_run(&f->heir, "nic0", &why);
	return NULL;
}

static void start_heir(struct fixture *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, inherit, f), 0);
}

/* One against the other. Return: what the heir says. */
static int both(struct fixture *f)
{
	wait_for_heirs(f);
	start_heir(f);
	serve_one(f);
	pthread_join(f->thread, NULL);
	return f->ret;
}

static void a_bridge_is_handed_over_in_the_right_order(void **state)
{
	struct fixture *f = *state;
	struct stat a, b;

	assert_int_equal(both(f), 0);
	assert_int_equal(f->handed_over, 1);
	/* Who of the two says it first after COMMIT is nobody's concern. */
	if (!strstr(did.log, "commit;end;"))
		assert_string_equal(did.log, "save;adopt;freeze;save moving;resume;end;commit;");
	else
		assert_string_equal(did.log, "save;adopt;freeze;save moving;resume;commit;end;");
	assert_true(f->heir.gap_ns < 5 * NSEC_PER_SEC);
	assert_int_equal(fstat(f->heir.lock, &a), 0);
	fstat(lock_fd, &b);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(fstat(f->heir.api_fd, &a), 0);
	fstat(api_fd, &b);
	assert_int_equal(a.st_ino, b.st_ino);
}

static void the_heir_listens_where_the_other_one_did(void **state)
{
	struct fixture *f = *state;
	int fd, next;

	assert_int_equal(both(f), 0);
	fd = connect_there(&host, "/run/viaduct/nic0.handover");
	assert_true(fd >= 0);
	next = accept(f->heir.listener, NULL, NULL);
	assert_true(next >= 0);
	close(fd);
	close(next);
}

static void what_the_heir_cannot_adopt_leaves_the_workers_running(void **state)
{
	struct fixture *f = *state;

	did.adopt = -EINVAL;
	assert_int_equal(both(f), -EINVAL);
	assert_string_equal(did.log, "save;adopt;");
	assert_string_equal(f->why, "--queues is not as it was");
	assert_int_equal(f->handed_over, 0);
}

/* They mean something to whoever asked for the take-over. */
static void no_refusal_looks_like_an_instance_that_is_not_there(void **state)
{
	struct fixture *f = *state;

	did.adopt = -ENOENT;
	assert_int_equal(both(f), -EPROTO);
	takeover_close(f->t);
	f->t = NULL;
	for (int i = 0; i < 3; i++)
		close((int[]){ f->heir.lock, f->heir.api_fd, f->heir.listener }[i]);
	did.adopt = -ECONNRESET;
	assert_int_equal(both(f), -EPROTO);
}

static void what_cannot_be_handed_over_is_said(void **state)
{
	struct fixture *f = *state;

	did.save = -EOPNOTSUPP;
	assert_int_equal(both(f), -ECONNREFUSED);
	assert_string_equal(f->why, "it cannot be handed over");
	assert_string_equal(did.log, "save;");
}

static void what_the_heir_cannot_resume_thaws_the_workers(void **state)
{
	struct fixture *f = *state;

	did.resume = -EPROTO;
	assert_int_equal(both(f), -EPROTO);
	assert_string_equal(did.log, "save;adopt;freeze;save moving;resume;thaw;");
	assert_int_equal(f->handed_over, 0);
}

static void what_cannot_be_saved_while_frozen_thaws_the_workers(void **state)
{
	struct fixture *f = *state;

	did.save_moving = -ENOMEM;
	assert_int_equal(both(f), -ECANCELED);
	assert_string_equal(did.log, "save;adopt;freeze;save moving;thaw;");
}

static void after_a_refusal_it_can_be_asked_again(void **state)
{
	struct fixture *f = *state;

	did.resume = -EPROTO;
	assert_int_equal(both(f), -EPROTO);
	for (int i = 0; i < 3; i++)
		close((int[]){ f->heir.lock, f->heir.api_fd, f->heir.listener }[i]);
	did.resume = 0;
	start_heir(f);
	serve_one(f);
	pthread_join(f->thread, NULL);
	assert_int_equal(f->ret, 0);
	assert_int_equal(f->handed_over, 1);
}

static void without_an_instance_there_is_none(void **state)
{
	struct fixture *f = *state;

	inherit(f);
	assert_int_equal(f->ret, -ENOENT);
	f->listener = listen_there(&host, "/run/viaduct/nic0.handover", 0600, 0, 0);
	close(f->listener);	/* of one that was killed the file is left */
	inherit(f);
	assert_int_equal(f->ret, -ENOENT);
	unlink(path);
	f->listener = -1;
}

/* --- an heir by script ------------------------------------------------------------- */

static struct parcel_wire wire_to(int fd)
{
	return (struct parcel_wire){ .fd = fd, .deadline_ns = clock_now() + 5 * NSEC_PER_SEC };
}

static void say(int fd, enum kind kind)
{
	struct parcel_wire w = wire_to(fd);
	struct parcel p = { 0 };

	assert_int_equal(parcel_send(&w, kind, &p), 0);
	parcel_free(&p);
}

static void say_hello(int fd, uint32_t version)
{
	struct {
		uint32_t version;
		char build[32];
	} h = { version, "test" };
	struct parcel_wire w = wire_to(fd);
	struct parcel p = { 0 };

	parcel_put(&p, TAG, &h, sizeof(h));
	assert_int_equal(parcel_send(&w, HELLO, &p), 0);
	parcel_free(&p);
}

static void hear(int fd, enum kind kind)
{
	struct parcel_wire w = wire_to(fd);
	struct parcel p;
	uint32_t got;

	assert_int_equal(parcel_recv(&w, &got, &p), 0);
	assert_int_equal(got, kind);
	parcel_free(&p);
}

/* The running process serves in a thread of its own. */
static void *serve(void *arg)
{
	serve_one(arg);
	return NULL;
}

static int ask(struct fixture *f)
{
	int fd;

	wait_for_heirs(f);
	fd = connect_there(&host, "/run/viaduct/nic0.handover");
	assert_true(fd >= 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
	return fd;
}

/* It goes on. */
static void goes_on(struct fixture *f, int fd, const char *log)
{
	if (fd >= 0)
		close(fd);
	pthread_join(f->thread, NULL);
	assert_string_equal(did.log, log);
	assert_int_equal(f->handed_over, 0);
}

static void another_form_is_refused_with_both_numbers(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f);
	struct parcel_wire w = wire_to(fd);
	const char *text, *form = "reads form 999";
	struct parcel p;
	uint32_t kind;
	size_t len;

	say_hello(fd, 999);
	assert_int_equal(parcel_recv(&w, &kind, &p), 0);
	assert_int_equal(kind, REFUSED);
	text = parcel_take(&p, TAG, &len);
	assert_non_null(memmem(text, len, form, strlen(form)));
	assert_non_null(memmem(text, len, "in form 1,", 10));
	parcel_free(&p);
	goes_on(f, fd, "");
}

static void something_that_is_no_heir_changes_nothing(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f);

	assert_int_equal(send(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35, 0), 35);
	goes_on(f, fd, "");
}

static void an_heir_that_leaves_after_its_question_changes_nothing(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f);

	say_hello(fd, TAKEOVER_VERSION);
	goes_on(f, fd, "save;");
}

static void an_heir_that_says_something_else_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f);

	say_hello(fd, TAKEOVER_VERSION);
	hear(fd, LASTING);
	say(fd, READY);
	goes_on(f, -1, "save;");
	close(fd);
}

static void an_heir_that_leaves_while_it_is_frozen_thaws_it(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f);

	say_hello(fd, TAKEOVER_VERSION);
	hear(fd, LASTING);
	say(fd, PREPARED);
	hear(fd, MOVING);
	goes_on(f, fd, "save;freeze;save moving;thaw;");
}

/* The word is there before the deed; and meanwhile its heart beats. */
static void an_heir_that_is_too_slow_is_told_before_it_thaws(void **state)
{
	struct fixture *f = *state;
	uint64_t frozen;
	int fd = ask(f);

	did.script = fd;
	say_hello(fd, TAKEOVER_VERSION);
	hear(fd, LASTING);
	say(fd, PREPARED);
	hear(fd, MOVING);
	frozen = clock_now();
	goes_on(f, -1, "save;freeze;save moving;thaw;");
	assert_true(clock_now() - frozen < 3 * NSEC_PER_SEC);
	assert_int_equal(did.thawed_after, 'A');
	assert_true(did.heartbeats >= 5);
	close(fd);
}

static void an_heir_that_is_ready_hears_one_byte(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f);
	char byte[8];

	say_hello(fd, TAKEOVER_VERSION);
	hear(fd, LASTING);
	say(fd, PREPARED);
	hear(fd, MOVING);
	say(fd, READY);
	pthread_join(f->thread, NULL);
	assert_int_equal(recv(fd, byte, sizeof(byte), MSG_DONTWAIT), 1);
	assert_int_equal(byte[0], 'C');
	assert_string_equal(did.log, "save;freeze;save moving;end;");
	assert_int_equal(f->handed_over, 1);
	close(fd);
}

/* --- a running process by script --------------------------------------------------- */

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* A process that is dead and not yet forgotten. */
static int dead_pidfd(void)
{
	pid_t pid = fork();
	int fd;

	if (!pid)
		_exit(0);
	fd = pidfd_of(pid);
	waitpid(pid, NULL, 0);
	return fd;
}

/* The heir asks. Return: the connection. */
static int is_asked(struct fixture *f)
{
	int fd;

	f->listener = listen_there(&host, "/run/viaduct/nic0.handover", 0600, 0, 0);
	start_heir(f);
	poll(&(struct pollfd){ .fd = f->listener, .events = POLLIN }, 1, 5000);
	fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	hear(fd, HELLO);
	return fd;
}

static void give_lasting(int fd, int pidfd)
{
	struct parcel_wire w = wire_to(fd);
	struct parcel p = { 0 };

	parcel_put_fd(&p, TAG, lock_fd);
	parcel_put_fd(&p, TAG, api_fd);
	parcel_put_fd(&p, TAG, -1);
	parcel_put_fd(&p, TAG, pidfd);
	bridge_save(NULL, &p, NULL);
	assert_int_equal(parcel_send(&w, LASTING, &p), 0);
	parcel_free(&p);
	close(pidfd);
}

static void give_moving(int fd)
{
	struct parcel_wire w = wire_to(fd);
	struct parcel p = { 0 };

	bridge_save_moving(NULL, &p);
	assert_int_equal(parcel_send(&w, MOVING, &p), 0);
	parcel_free(&p);
}

/* All of it, until the heir waits for the last word. */
static int until_ready(struct fixture *f, int pidfd)
{
	int fd = is_asked(f);

	give_lasting(fd, pidfd);
	hear(fd, PREPARED);
	give_moving(fd);
	hear(fd, READY);
	return fd;
}

static int heir_says(struct fixture *f, int fd)
{
	if (fd >= 0)
		close(fd);
	pthread_join(f->thread, NULL);
	return f->ret;
}

static void an_heir_that_is_told_to_abort_touches_nothing(void **state)
{
	struct fixture *f = *state;
	int fd = until_ready(f, pidfd_of(getpid()));

	assert_int_equal(send(fd, "A", 1, 0), 1);
	assert_int_equal(heir_says(f, fd), -ECANCELED);
	assert_null(strstr(did.log, "commit"));
}

/* Even when the one who said it is dead by the time it is read. */
static void an_abort_holds_though_its_sender_dies(void **state)
{
	struct fixture *f = *state;
	int fd = until_ready(f, dead_pidfd());

	assert_int_equal(send(fd, "A", 1, 0), 1);
	assert_int_equal(heir_says(f, fd), -ECANCELED);
	assert_null(strstr(did.log, "commit"));
}

static void an_heir_without_a_word_goes_on_where_the_other_is_dead(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(heir_says(f, until_ready(f, dead_pidfd())), 0);
	assert_non_null(strstr(did.log, "resume;commit;"));
}

static void an_heir_without_a_word_touches_nothing_where_the_other_lives(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(heir_says(f, until_ready(f, pidfd_of(getpid()))), -ECANCELED);
	assert_null(strstr(did.log, "commit"));
}

static void an_heir_waits_for_the_last_word(void **state)
{
	struct fixture *f = *state;
	int fd = until_ready(f, pidfd_of(getpid()));

	usleep(300000);
	assert_null(strstr(did.log, "commit"));
	assert_int_equal(send(fd, "C", 1, 0), 1);
	assert_int_equal(heir_says(f, fd), 0);
	assert_non_null(strstr(did.log, "resume;commit;"));
}

static void one_that_dies_before_it_gives_anything_is_to_be_started_anew(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(heir_says(f, is_asked(f)), -ECONNRESET);
}

static void one_that_dies_before_it_gives_everything_is_to_be_started_anew(void **state)
{
	struct fixture *f = *state;
	int fd = is_asked(f);

	give_lasting(fd, dead_pidfd());
	assert_int_equal(heir_says(f, fd), -ECONNRESET);
	assert_null(strstr(did.log, "resume"));
}

static void one_that_gives_up_and_lives_is_not_to_be_started_anew(void **state)
{
	struct fixture *f = *state;
	int fd = is_asked(f);

	give_lasting(fd, pidfd_of(getpid()));
	hear(fd, PREPARED);
	assert_int_equal(heir_says(f, fd), -ECANCELED);
	assert_null(strstr(did.log, "resume"));
}

static void half_of_what_moves_is_not_gone_on_with(void **state)
{
	struct fixture *f = *state;
	int fd = is_asked(f);
	const struct {
		uint32_t magic, kind;
		uint64_t len, nfds;
	} head = { 0x70616476u, MOVING, 1000, 0 };

	give_lasting(fd, dead_pidfd());
	hear(fd, PREPARED);
	assert_int_equal(send(fd, &head, sizeof(head), 0), sizeof(head));
	assert_int_equal(send(fd, "AAAA", 4, 0), 4);
	assert_int_equal(heir_says(f, fd), -ECONNRESET);
	assert_null(strstr(did.log, "resume"));
}

static void more_than_the_heir_understands_is_refused(void **state)
{
	struct fixture *f = *state;
	int fd = is_asked(f);
	struct parcel_wire w = wire_to(fd);
	struct parcel p = { 0 };

	for (unsigned i = 0; i < 4; i++)
		parcel_put_fd(&p, TAG, -1);
	bridge_save(NULL, &p, NULL);
	parcel_put(&p, THEIRS, "more", 4);
	assert_int_equal(parcel_send(&w, LASTING, &p), 0);
	parcel_free(&p);
	hear(fd, REFUSED);
	assert_true(heir_says(f, fd) < 0);
	assert_string_equal(f->why, "the running instance sends more than this one understands");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_bridge_is_handed_over_in_the_right_order),
		T(the_heir_listens_where_the_other_one_did),
		T(what_the_heir_cannot_adopt_leaves_the_workers_running),
		T(no_refusal_looks_like_an_instance_that_is_not_there),
		T(what_cannot_be_handed_over_is_said),
		T(what_the_heir_cannot_resume_thaws_the_workers),
		T(what_cannot_be_saved_while_frozen_thaws_the_workers),
		T(after_a_refusal_it_can_be_asked_again),
		T(without_an_instance_there_is_none),
		T(another_form_is_refused_with_both_numbers),
		T(something_that_is_no_heir_changes_nothing),
		T(an_heir_that_leaves_after_its_question_changes_nothing),
		T(an_heir_that_says_something_else_is_not_waited_for),
		T(an_heir_that_leaves_while_it_is_frozen_thaws_it),
		T(an_heir_that_is_too_slow_is_told_before_it_thaws),
		T(an_heir_that_is_ready_hears_one_byte),
		T(an_heir_that_is_told_to_abort_touches_nothing),
		T(an_abort_holds_though_its_sender_dies),
		T(an_heir_without_a_word_goes_on_where_the_other_is_dead),
		T(an_heir_without_a_word_touches_nothing_where_the_other_lives),
		T(an_heir_waits_for_the_last_word),
		T(one_that_dies_before_it_gives_anything_is_to_be_started_anew),
		T(one_that_dies_before_it_gives_everything_is_to_be_started_anew),
		T(one_that_gives_up_and_lives_is_not_to_be_started_anew),
		T(half_of_what_moves_is_not_gone_on_with),
		T(more_than_the_heir_understands_is_refused),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/socket", dir);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	return rmdir(dir) < 0 ? 1 : ret;
}
