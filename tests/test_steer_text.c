/* SPDX-License-Identifier: BSD-2-Clause */
/* Indirection tables as people and programs write them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/steer.h"

static char err[512];
static const struct parse here = { .err = err, .errlen = sizeof(err) };

static int change(struct vd_steering *s, const char *json)
{
	json_t *o = json_loads(json, JSON_DECODE_ANY, NULL);
	int ret;

	assert_non_null(o);
	ret = steer_change(&here, o, 4, s);
	json_decref(o);
	return ret;
}

static void bad(const char *json, const char *says)
{
	struct vd_steering s = { .pair = { 3, 2, 1 } }, was = s;

	assert_int_equal(change(&s, json), -EINVAL);
	if (!strstr(err, says))
		print_error("'%s' does not say '%s'\n", err, says);
	assert_non_null(strstr(err, says));
	assert_memory_equal(&s, &was, sizeof(s));
}

static void ranges_change_what_they_name(void **state)
{
	struct vd_steering s = { 0 };

	(void)state;
	assert_int_equal(change(&s, "\"0-63=1,64=2,127=3\""), 0);
	assert_int_equal(s.pair[0], 1);
	assert_int_equal(s.pair[63], 1);
	assert_int_equal(s.pair[64], 2);
	assert_int_equal(s.pair[65], 0);
	assert_int_equal(s.pair[127], 3);
	assert_int_equal(change(&s, "\"1=0\""), 0);
	assert_int_equal(s.pair[0], 1);
	assert_int_equal(s.pair[1], 0);
}

static void spread_takes_all_pairs_in_turn(void **state)
{
	struct vd_steering s = { 0 };

	(void)state;
	assert_int_equal(change(&s, "\"spread\""), 0);
	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		assert_int_equal(s.pair[i], i % 4);
}

static void a_list_is_the_whole_table(void **state)
{
	json_t *list = json_array();
	struct vd_steering s = { 0 };

	(void)state;
	for (int i = 0; i < VD_INDIRECTION; i++)
		json_array_append_new(list, json_integer(3 - i % 4));
	assert_int_equal(steer_change(&here, list, 4, &s), 0);
	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		assert_int_equal(s.pair[i], 3 - i % 4);
	json_array_set_new(list, 5, json_integer(4));
	assert_int_equal(steer_change(&here, list, 4, &s), -EINVAL);
	assert_non_null(strstr(err, "there is no queue pair 4: the port has 4, from 0 to 3"));
	json_array_set_new(list, 5, json_integer(-1));
	assert_int_equal(steer_change(&here, list, 4, &s), -EINVAL);
	json_array_set_new(list, 5, json_string("1"));
	assert_int_equal(steer_change(&here, list, 4, &s), -EINVAL);
	assert_non_null(strstr(err, "entry 5 is not a number"));
	json_decref(list);
}

static void what_is_no_table_is_refused(void **state)
{
	static const char *const wrong[] = { "\"\"",	  "\"1\"",	 "\"=1\"",    "\"1=\"",	    "\"1=1,\"",
					     "\"128=1\"", "\"0-128=1\"", "\"5-4=1\"", "\"a=1\"",    "\"1=b\"",
					     "\"1=0-1\"", "\"-1=0\"",	 "\"1=-1\"",  "\"1=99999\"" };

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		bad(wrong[i], "is not INDEX=PAIR or INDEX-INDEX=PAIR, with an index from 0 to 127");
	bad("\"0=1,1=4\"", "there is no queue pair 4: the port has 4, from 0 to 3");
	bad("[0,1]", "2 pairs in a list: give 128");
	bad("[]", "0 pairs in a list");
}

static void a_table_is_written_as_it_is_read(void **state)
{
	static const char *const tables[] = { "0-127=2", "0=1,1-127=0", "0-62=3,63=1,64-126=0,127=3", "spread" };

	(void)state;
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		json_t *text = json_string(tables[i]), *list = json_array();
		struct vd_steering s = { 0 };
		char *again;

		assert_int_equal(steer_change(&here, text, 4, &s), 0);
		for (unsigned k = 0; k < VD_INDIRECTION; k++)
			json_array_append_new(list, json_integer(s.pair[k]));
		again = steer_text(list, 4);
		assert_string_equal(again, tables[i]);
		free(again);
		json_decref(list);
		json_decref(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_change_what_they_name),	    cmocka_unit_test(spread_takes_all_pairs_in_turn),
		cmocka_unit_test(a_list_is_the_whole_table),	    cmocka_unit_test(what_is_no_table_is_refused),
		cmocka_unit_test(a_table_is_written_as_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
