/* SPDX-License-Identifier: BSD-2-Clause */
/* A control socket in a directory of its own, for tests of both of its ends. */
#ifndef TESTS_API_FIXTURE_H
#define TESTS_API_FIXTURE_H

#include "base/log.h"
#include "base/loop.h"
#include "ctl/api.h"
#include "fake_host.h"
#include "vu.h"

/* What a file's struct fixture begins with. */
#define API_FIXTURE_FIELDS                                                                                           \
	struct loop *loop;                                                                                           \
	struct host_ops host;                                                                                        \
	struct api *api;                                                                                             \
	char dir[64], path[108];                                                                                     \
	unsigned fds_before

/*
 * The file's setup(), teardown() and open_api(), for its struct fixture and its ops. Every test ends with no fd and no
 * file left.
 */
#define API_FIXTURE                                                                                                  \
	static void open_api(struct fixture *f)                                                                      \
	{                                                                                                            \
		assert_int_equal(api_open(f->loop, &f->host, f->path, &ops, f, &f->api), 0);                         \
	}                                                                                                            \
	static int setup(void **state)                                                                               \
	{                                                                                                            \
		struct fixture *f = calloc(1, sizeof(*f));                                                           \
		f->fds_before = vu_open_fds();                                                                       \
		f->loop = loop_create();                                                                             \
		f->host = (struct host_ops){ .unix_listen = fake_listen, .unlink = fake_unlink };                    \
		strcpy(f->dir, "/tmp/test_api.XXXXXX");                                                              \
		if (!mkdtemp(f->dir))                                                                                \
			return -1;                                                                                   \
		snprintf(f->path, sizeof(f->path), "%s/eth1.sock", f->dir);                                          \
		log_set_level(LOG_LEVEL_ERROR);                                                                      \
		*state = f;                                                                                          \
		return 0;                                                                                            \
	}                                                                                                            \
	static int teardown(void **state)                                                                            \
	{                                                                                                            \
		struct fixture *f = *state;                                                                          \
		int bad = 0;                                                                                         \
		api_close(f->api);                                                                                   \
		loop_destroy(f->loop);                                                                               \
		bad = vu_open_fds() != f->fds_before;                                                                \
		bad |= rmdir(f->dir) < 0;                                                                            \
		free(f);                                                                                             \
		return bad ? -1 : 0;                                                                                 \
	}

#endif
