/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"

static void kinds(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_false(err_is_set(&e));
	assert_int_equal(err_sys(&e, ENOSPC, "%s: write", "f"), -1);
	assert_true(err_is_set(&e));
	assert_int_equal(e.kind, ERR_SYSTEM);
	assert_int_equal(e.errnum, ENOSPC);
	assert_string_equal(e.msg, "f: write: No space left on device");
	assert_string_equal(e.hint, "");

	err_clear(&e);
	assert_false(err_is_set(&e));
	assert_int_equal(err_damaged(&e, "L2 table %d", 7), -1);
	assert_int_equal(e.kind, ERR_DAMAGED);
	assert_int_equal(e.errnum, EINVAL);
	assert_string_equal(e.msg, "L2 table 7");

	err_clear(&e);
	assert_int_equal(err_unsupported(&e, "feature"), -1);
	assert_int_equal(e.kind, ERR_UNSUPPORTED);
	assert_int_equal(e.errnum, ENOTSUP);

	err_clear(&e);
	assert_int_equal(err_usage(&e, "option"), -1);
	assert_int_equal(e.kind, ERR_USAGE);
	assert_int_equal(e.errnum, EINVAL);

	err_clear(&e);
	assert_int_equal(err_nomem(&e), -1);
	assert_int_equal(e.errnum, ENOMEM);

	/* An errnum that nobody knew still ends up as a failure. */
	err_clear(&e);
	assert_int_equal(err_set(&e, ERR_NOT_FORMAT, 0, "x"), -1);
	assert_int_not_equal(e.errnum, 0);
}

static void first_wins(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_hint(&e, "no error, no advice");
	err_prefix(&e, "no error, no prefix");
	assert_string_equal(e.hint, "");
	assert_string_equal(e.msg, "");

	err_damaged(&e, "first");
	err_hint(&e, "advice %d", 1);
	assert_int_equal(err_sys(&e, EIO, "second"), -1);
	err_hint(&e, "advice 2");
	assert_string_equal(e.msg, "first");
	assert_int_equal(e.errnum, EINVAL);
	assert_string_equal(e.hint, "advice 1");

	err_prefix(&e, "%s: ", "disk");
	err_prefix(&e, "open: ");
	assert_string_equal(e.msg, "open: disk: first");
	assert_string_equal(e.hint, "advice 1");

	/* The hint of one error does not stick to the next one. */
	err_clear(&e);
	err_damaged(&e, "other");
	assert_string_equal(e.hint, "");
}

/* Texts that are too long are cut, never written past the end. */
static void long_texts(void **state)
{
	struct err e = ERR_INIT;
	char text[3 * sizeof e.msg];

	(void)state;
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	err_sys(&e, EIO, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
	err_hint(&e, "%s", text);
	assert_int_equal(strlen(e.hint), sizeof e.hint - 1);
	err_prefix(&e, "name: ");
	assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
	assert_memory_equal(e.msg, "name: ... xxx", 13);
	err_prefix(&e, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof e.msg - 1);

	/* The reason comes last, and stays. */
	err_clear(&e);
	err_sys(&e, EIO, "file 999");
	for (int i = 998; i >= 0; i--)
		err_prefix(&e, "file %d \xc3\xa9: ", i);
	assert_memory_equal(e.msg, "file 0 \xc3\xa9: ... ", 15);
	assert_non_null(strstr(e.msg, ": file 999: Input/output error"));
	assert_true(strlen(e.msg) > sizeof e.msg - 4);
}

/* Names from images are in messages, which go to terminals and logs. */
static void control_characters(void **state)
{
	struct err e = ERR_INIT;
	char text[2 * sizeof e.msg];

	(void)state;
	err_damaged(&e, "a'%s' \xc3\xa9",
	    "\x1b[2J\n\x7f\xc2\x9b"
	    "1m");
	assert_string_equal(
	    e.msg, "a'\\x1b[2J\\x0a\\x7f\\xc2\\x9b1m' \xc3\xa9");
	err_prefix(&e, "%s: ", "b\r");
	assert_string_equal(
	    e.msg, "b\\x0d: a'\\x1b[2J\\x0a\\x7f\\xc2\\x9b1m' \xc3\xa9");
	err_hint(&e, "two\nlines\x1b");
	assert_string_equal(e.hint, "two\nlines\\x1b");

	err_show(text, 9, "a\n\tb\nc", "\n");
	assert_string_equal(text, "a\n\\x09b\n");
	err_show(text, 1, "a", "");
	assert_string_equal(text, "");

	err_clear(&e);
	memset(text, '\x1b', sizeof text);
	text[sizeof text - 1] = 0;
	err_sys(&e, EIO, "%s", text);
	assert_true(strlen(e.msg) >= sizeof e.msg - 4);
	assert_null(strchr(e.msg, '\x1b'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds),
	    cmocka_unit_test(first_wins),
	    cmocka_unit_test(long_texts),
	    cmocka_unit_test(control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
