/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/steer.h"

static int check_pair(const struct parse *p, long long pair, unsigned npairs)
{
	if (pair >= 0 && pair < npairs)
		return 0;
	return parse_wrong(p, "there is no queue pair %lld: the port has %u, from 0 to %u", pair, npairs, npairs - 1);
}

static int from_list(const struct parse *p, const json_t *list, unsigned npairs, struct vd_steering *s)
{
	size_t i;
	json_t *v;

	if (json_array_size(list) != VD_INDIRECTION)
		return parse_wrong(p,
				   "%zu pairs in a list: give %d, one per entry of the table, or a string like "
				   "\"0-63=1\"",
				   json_array_size(list), VD_INDIRECTION);
	json_array_foreach((json_t *)list, i, v) {
		if (!json_is_integer(v))
			return parse_wrong(p, "entry %zu is not a number", i);
		if (check_pair(p, json_integer_value(v), npairs))
			return -EINVAL;
		s->pair[i] = (__u16)json_integer_value(v);
	}
	return 0;
}

/* "5=1" or "0-63=1" */
static int one_range(const struct parse *p, char *item, unsigned npairs, struct vd_steering *s)
{
	char *pair = strchr(item, '=');
	unsigned first, last, to, more;

	if (pair)
		*pair++ = 0;
	if (!pair || parse_range(item, VD_INDIRECTION - 1, &first, &last) || parse_range(pair, 65535, &to, &more) ||
	    to != more)
		return parse_wrong(p, "'%s%s%s' is not INDEX=PAIR or INDEX-INDEX=PAIR, with an index from 0 to %d",
				   item, pair ? "=" : "", pair ? pair : "", VD_INDIRECTION - 1);
	if (check_pair(p, to, npairs))
		return -EINVAL;
	for (unsigned i = first; i <= last; i++)
		s->pair[i] = (__u16)to;
	return 0;
}

static int from_text(const struct parse *p, const char *text, unsigned npairs, struct vd_steering *s)
{
	char *copy, *rest, *item;
	int ret = 0;

	if (!strcmp(text, "spread")) {
		for (unsigned i = 0; i < VD_INDIRECTION; i++)
			s->pair[i] = (__u16)(i % npairs);
		return 0;
	}
	copy = rest = strdup(text);
	if (!copy)
		return -ENOMEM;
	while (!ret && (item = strsep(&rest, ",")))
		ret = one_range(p, item, npairs, s);
	free(copy);
	return ret;
}

int steer_change(const struct parse *p, const json_t *pairs, unsigned npairs, struct vd_steering *s)
{
	struct vd_steering to = *s;
	int ret = json_is_array(pairs) ? from_list(p, pairs, npairs, &to)
				       : from_text(p, json_string_value(pairs), npairs, &to);

	if (!ret)
		*s = to;
	return ret;
}

static json_int_t pair_at(const json_t *pairs, size_t i)
{
	return json_integer_value(json_array_get(pairs, i));
}

static bool is_spread(const json_t *pairs, unsigned npairs)
{
	for (size_t i = 0; i < json_array_size(pairs); i++)
		if (!npairs || pair_at(pairs, i) != (json_int_t)(i % npairs))
			return false;
	return true;
}

char *steer_text(const json_t *pairs, unsigned npairs)
{
	size_t n = json_array_size(pairs), len;
	char *text = NULL;
	FILE *f;

	if (is_spread(pairs, npairs))
		return strdup("spread");
	f = open_memstream(&text, &len);
	if (!f)
		return NULL;
	for (size_t i = 0, first = 0; i < n; first = i) {
		json_int_t pair = pair_at(pairs, first);

		while (i < n && pair_at(pairs, i) == pair)
			i++;
		fprintf(f, first ? ",%zu" : "%zu", first);
		if (i - 1 > first)
			fprintf(f, "-%zu", i - 1);
		fprintf(f, "=%" JSON_INTEGER_FORMAT, pair);
	}
	fclose(f);
	return text;
}
