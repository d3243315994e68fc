/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cmocka with this program's errors.  Include it instead of <cmocka.h>.
 * cmocka is not thread-safe: check in the main thread only.
 */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/core/err.h"

/* No error is set: for after a call that must not fail. */
#define assert_no_error(e)                                                     \
	do {                                                                   \
		if (err_is_set(e))                                             \
			fail_msg("unexpected error: %s", (e)->msg);            \
	} while (0)

/* The call returns 0 or more, and leaves *e without an error. */
#define assert_ok(call, e)                                                     \
	do {                                                                   \
		int64_t rc_ = (call);                                          \
		assert_no_error(e);                                            \
		assert_true(rc_ >= 0);                                         \
	} while (0)

/* The call returns -1 with this errnum and a message that has `text` in it;
 * *e is clear afterwards. */
#define assert_fails(call, e, want_errnum, text)                               \
	do {                                                                   \
		int64_t rc_ = (call);                                          \
		assert_int_equal(rc_, -1);                                     \
		assert_true(err_is_set(e));                                    \
		if (!strstr((e)->msg, (text)))                                 \
			fail_msg("\"%s\" is not in: %s", text, (e)->msg);      \
		assert_int_equal((e)->errnum, (want_errnum));                  \
		err_clear(e);                                                  \
	} while (0)

#endif
