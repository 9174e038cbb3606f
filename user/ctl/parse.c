/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/parse.h"

int parse_wrong(const struct parse *p, const char *fmt, ...)
{
	int n = snprintf(p->err, p->errlen, "%s%s%s%s", p->where ? p->where : "", p->where ? ": " : "",
			 p->what ? p->what : "", p->what ? ": " : "");
	va_list ap;

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < p->errlen)
		vsnprintf(p->err + n, p->errlen - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int parse_choice(const struct parse *p, const char *v, const char *const *choices, const char *list)
{
	for (int i = 0; choices[i]; i++)
		if (!strcmp(v, choices[i]))
			return i;
	return parse_wrong(p, "'%s' is not one of %s", v, list);
}

int parse_on_off(const struct parse *p, const char *v, bool *out)
{
	static const char *const choices[] = { "off", "on", NULL };
	int i = parse_choice(p, v, choices, "on, off");

	if (i < 0)
		return i;
	*out = i;
	return 0;
}

int parse_number(const struct parse *p, const char *v, unsigned min, unsigned max, unsigned *out)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(v, &end, 10);
	if (!isdigit((unsigned char)*v) || *end || errno || n < min || n > max)
		return parse_wrong(p, "'%s' is not a number from %u to %u", v, min, max);
	*out = (unsigned)n;
	return 0;
}

static uint64_t unit_of(const char **v)
{
	switch (**v) {
	case 'k':
	case 'K':
		(*v)++;
		return 1000;
	case 'm':
	case 'M':
		(*v)++;
		return 1000000;
	case 'g':
	case 'G':
		(*v)++;
		return 1000000000;
	}
	return 1;
}

int parse_amount(const char *v, uint64_t *out)
{
	uint64_t n = 0, part = 0, scale = 1, unit;
	unsigned digits = 0;

	for (; isdigit((unsigned char)*v); v++, digits++)
		n = n * 10 + (uint64_t)(*v - '0');
	if (!digits || digits > 15)
		return -EINVAL;
	if (*v == '.') {
		digits = 0;
		for (v++; isdigit((unsigned char)*v); v++, digits++, scale *= 10)
			part = part * 10 + (uint64_t)(*v - '0');
		if (!digits || digits > 9)
			return -EINVAL;
	}
	unit = unit_of(&v);
	if (*v || part * unit % scale || n > 1000000000000000ull / unit)
		return -EINVAL;
	*out = n * unit + part * unit / scale;
	return 0;
}

int parse_range(const char *v, unsigned max, unsigned *first, unsigned *last)
{
	unsigned long a, b;
	char *end;

	if (!isdigit((unsigned char)*v))
		return -EINVAL;
	a = b = strtoul(v, &end, 10);
	if (*end == '-' && isdigit((unsigned char)end[1]))
		b = strtoul(end + 1, &end, 10);
	if (*end || b < a || b > max)
		return -EINVAL;
	*first = (unsigned)a;
	*last = (unsigned)b;
	return 0;
}

int parse_mac(const struct parse *p, const char *v, uint8_t mac[6])
{
	bool good = strlen(v) == 17;

	for (int i = 0; i < 6 && good; i++) {
		const char *at = v + 3 * i;
		const char pair[3] = { at[0], at[1], 0 };

		good = isxdigit((unsigned char)at[0]) && isxdigit((unsigned char)at[1]) && (at[2] == ':' || i == 5);
		mac[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return good ? 0 : parse_wrong(p, "'%s' is not a MAC address: write it like 52:54:00:12:34:56", v);
}

bool parse_plain_name(const char *v, size_t max)
{
	size_t len = strlen(v);

	return len && len <= max && *v != '.' &&
	       strspn(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}
