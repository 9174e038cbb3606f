/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values as people write them: numbers, choices, rates. Each function stores the value or says in one line what is
 * wrong with it and what would be right. Pure; any thread.
 */
#ifndef VIADUCT_CTL_PARSE_H
#define VIADUCT_CTL_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a value stands and where complaints go. */
struct parse {
	const char *where;	/* "--port", "FILE:12"; NULL = nowhere in particular */
	const char *what;	/* option or key; NULL = all of it */
	char *err;
	size_t errlen;
};

/**
 * parse_wrong() - say what is wrong
 * @fmt: one line without the place, which is put in front
 *
 * Return: -EINVAL, to be returned by the caller.
 */
int parse_wrong(const struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * parse_choice() - one word of several
 * @choices: NULL-terminated; @list: the same for people
 *
 * Return: its index, or -EINVAL.
 */
int parse_choice(const struct parse *p, const char *v, const char *const *choices, const char *list);

/* parse_on_off() - "on" or "off". Return: 0 or -EINVAL. */
int parse_on_off(const struct parse *p, const char *v, bool *out);

/* parse_number() - a decimal number from @min to @max, and nothing else. Return: 0 or -EINVAL. */
int parse_number(const struct parse *p, const char *v, unsigned min, unsigned max, unsigned *out);

/**
 * parse_amount() - a number that may have a point and K, M or G behind it (thousands, not 1024)
 * @out: also on failure of the caller's own checks untouched until all is right
 *
 * Return: 0 or -EINVAL (with nothing said) where it is no such thing or does not fit.
 */
int parse_amount(const char *v, uint64_t *out);

/**
 * parse_range() - "5" or "2-7"
 * @max: the largest number allowed
 *
 * Return: 0 or -EINVAL (with nothing said) where it is no such thing, or empty.
 */
int parse_range(const char *v, unsigned max, unsigned *first, unsigned *last);

/* parse_mac() - six bytes in hexadecimal with ':' between them; also a group's, or zeros. Return: 0 or -EINVAL. */
int parse_mac(const struct parse *p, const char *v, uint8_t mac[6]);

/* parse_plain_name() - letters, digits, '.', '_', '-', 1 to @max of them, no '.' in front. */
bool parse_plain_name(const char *v, size_t max);

#endif
