/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a start failed: one line that says what is wrong and names the mend. It
 * is written where the reason is known and shown by main().
 */
#ifndef VIADUCT_XDP_FAIL_H
#define VIADUCT_XDP_FAIL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct fail {
	char *text;
	size_t len;
};

/**
 * fail_with() - write the reason and pass the error on
 * @f: where to; @f->text may be NULL when @f->len is 0
 * @err: negative errno
 *
 * Return: @err.
 */
static inline int __attribute__((format(printf, 3, 4))) fail_with(const struct fail *f, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, f->len, fmt, ap);
	va_end(ap);
	return err;
}

#endif
