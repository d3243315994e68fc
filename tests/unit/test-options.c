/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "formats/core/options.h"
#include "formats/core/units.h"

/* The whole list as "k=v k=v ", in order. */
static const char *show(const struct options *o)
{
	static char text[4096];
	const char *k, *v;

	text[0] = 0;
	for (unsigned i = 0; options_at(o, i, &k, &v); i++)
		snprintf(text + strlen(text), sizeof text - strlen(text),
		    "%s=%s ", k, v);
	return text;
}

static void expect_list(const char *text, const char *implied, const char *want)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);

	assert_ok(options_parse(o, text, implied, &e), &e);
	assert_string_equal(show(o), want);
}

static void lists(void **state)
{
	(void)state;
	expect_list("a=1,b=2", NULL, "a=1 b=2 ");
	expect_list("a=1,,2,,,,3,b=x=y", NULL, "a=1,2,,3 b=x=y ");
	expect_list("a=1,,", NULL, "a=1, ");
	expect_list("a=,b", NULL, "a= b=on ");
	expect_list("lazy_refcounts,nocompat,no", NULL,
	    "lazy_refcounts=on compat=off no=on ");
	expect_list("a=1,b=2,a=3", NULL, "a=3 b=2 ");
	expect_list("disk.img,x=1", "file", "file=disk.img x=1 ");
	expect_list("a,,b.img", "file", "file=a,b.img ");
	expect_list("x=1,word", "file", "x=1 word=on ");
	expect_list("driver=raw,", "file", "driver=raw ");
	expect_list("", "file", "");
}

static void bad_lists(void **state)
{
	static const char *const bad[] = {
	    "", ",", ",,", ",a=1", ",,a=1", "a=1,", "a=1,,,", NULL};
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	CLEANUP_FREE char *huge = malloc(3 * MiB);
	char want[64];

	(void)state;
	for (const char *const *b = bad; *b; b++) {
		snprintf(want, sizeof want, "Invalid option list: %s", *b);
		assert_fails(options_parse(o, *b, NULL, &e), &e, EINVAL, want);
	}
	assert_fails(options_parse(o, "a=1,=3", NULL, &e), &e, EINVAL,
	    "Invalid parameter ''");
	memset(huge, 'a', 3 * MiB - 1);
	huge[3 * MiB - 1] = 0;
	assert_fails(
	    options_parse(o, huge, NULL, &e), &e, EINVAL, "at most 1048576");
}

static void too_many(void **state)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	char key[16];
	int rc = 0, n;

	(void)state;
	for (n = 0; n < 100000 && !rc; n++) {
		snprintf(key, sizeof key, "k%d", n);
		rc = options_set(o, key, "v", &e);
	}
	assert_fails(rc, &e, EINVAL, "Too many options");
	assert_in_range(n, 500, 5000);
}

static void set_and_use(void **state)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	CLEANUP(options) struct options *sub = NULL;
	CLEANUP(options) struct options *copy = NULL;

	(void)state;
	assert_true(options_empty(o));
	assert_ok(
	    options_parse(o, "file.a=1,b=2,file.c.d=3,filex=4", NULL, &e), &e);
	assert_false(options_empty(o));
	assert_string_equal(options_unused(o), "file.a");
	assert_true(options_has(o, "b"));
	assert_false(options_has(o, "file"));
	assert_null(options_get(o, "file"));

	sub = options_sub(o, "file", &e);
	assert_string_equal(show(sub), "a=1 c.d=3 ");
	assert_string_equal(options_unused(o), "b");
	assert_string_equal(options_get(o, "b"), "2");
	assert_string_equal(options_unused(o), "filex");
	copy = options_copy(o, &e);
	assert_string_equal(show(copy), show(o));
	assert_string_equal(options_unused(copy), "filex");
	assert_string_equal(options_get(o, "filex"), "4");
	assert_null(options_unused(o));
	assert_string_equal(options_unused(copy), "filex");

	assert_ok(options_set(o, "b", "9", &e), &e);
	assert_string_equal(options_unused(o), "b");
	assert_ok(options_set(o, "b", NULL, &e), &e);
	assert_ok(options_set(o, "never", NULL, &e), &e);
	assert_string_equal(show(o), "file.a=1 file.c.d=3 filex=4 ");
}

static void bools(void **state)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	bool v = true;

	(void)state;
	assert_ok(options_parse(o,
		      "a=on,b=yes,c=true,d=y,e=off,f=no,g=false,h=n,X=ON,Y=",
		      NULL, &e),
	    &e);
	assert_int_equal(options_bool(o, "none", &v, &e), 0);
	assert_true(v);
	for (char key[2] = "a"; key[0] <= 'h'; key[0]++) {
		v = key[0] > 'd';
		assert_int_equal(options_bool(o, key, &v, &e), 1);
		assert_int_equal(v, key[0] <= 'd');
	}
	assert_fails(options_bool(o, "X", &v, &e), &e, EINVAL,
	    "Parameter 'X' expects 'on' or 'off'");
	assert_fails(options_bool(o, "Y", &v, &e), &e, EINVAL,
	    "Parameter 'Y' expects 'on' or 'off'");
}

static void numbers(void **state)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	uint64_t v = 5;

	(void)state;
	assert_ok(options_parse(o,
		      "a=16,b=0x10,c=x,d=16k,e=99999999999999999999,f=-1,"
		      "s=1.5k,big=16E,neg=-1,g=",
		      NULL, &e),
	    &e);
	assert_int_equal(options_u64(o, "none", &v, &e), 0);
	assert_int_equal(options_size(o, "none", &v, &e), 0);
	assert_int_equal(v, 5);
	assert_int_equal(options_u64(o, "a", &v, &e), 1);
	assert_int_equal(v, 16);
	assert_int_equal(options_u64(o, "b", &v, &e), 1);
	assert_int_equal(v, 16);
	for (const char *k = "cdfg"; *k; k++)
		assert_fails(options_u64(o, (char[]){*k, 0}, &v, &e), &e,
		    EINVAL, "' expects a number");
	assert_fails(options_u64(o, "e", &v, &e), &e, EINVAL,
	    "Value '99999999999999999999' is too large for parameter 'e'");
	assert_int_equal(options_size(o, "s", &v, &e), 1);
	assert_int_equal(v, 1536);
	assert_fails(options_size(o, "big", &v, &e), &e, EINVAL,
	    "Value '16E' is out of range for parameter 'big'");
	assert_int_equal(options_size(o, "neg", &v, &e), -1);
	assert_string_equal(
	    e.msg, "Parameter 'neg' expects a non-negative number below 2^64");
	assert_string_equal(e.hint,
	    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, "
	    "tera-, peta-\nand exabytes, respectively.");
}

static void expect_json(const char *text, const char *want)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);

	assert_ok(options_parse_json(o, text, &e), &e);
	assert_string_equal(show(o), want);
}

static void json(void **state)
{
	(void)state;
	expect_json("{}", "");
	expect_json(" {\"driver\":\"raw\",\"file\":{\"filename\":\"r\"}}",
	    "driver=raw file.filename=r ");
	expect_json("{\"a\":[1,{\"b\":true}],\"c\":false,\"d\":null}",
	    "a.0=1 a.1.b=on c=off d= ");
	expect_json("{\"a\":-3,\"b\":1e3,\"c\":1.5,\"d\":9223372036854775807}",
	    "a=-3 b=1000 c=1.5 d=9223372036854775807 ");
}

static void json_quotes(void **state)
{
	(void)state;
	expect_json("{'a':'b','c':\"d'e\"}", "a=b c=d'e ");
	expect_json("{'a':'say \"x\"','b':'it\\'s','c':'\\\\','d':\"\\\"\"}",
	    "a=say \"x\" b=it's c=\\ d=\" ");
}

static void expect_bad_json(const char *text, const char *want)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);

	assert_fails(options_parse_json(o, text, &e), &e, EINVAL, want);
}

static void bad_json(void **state)
{
	static const char *const bad[] = {"", "{", "{} x", "{\"a\":1,}",
	    "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "{'a", "{'a\\",
	    "{\"a\":99999999999999999999}", "{\"a\":\"\xff\"}", NULL};
	char deep[1000] = "";

	(void)state;
	for (const char *const *b = bad; *b; b++)
		expect_bad_json(*b, "Could not parse the JSON options: "
				    "JSON parse error, ");
	expect_bad_json("[]", "Invalid JSON object given");
	expect_bad_json("\"x\"", "Invalid JSON object given");
	expect_bad_json("{\"a\":{}}", "'a' is empty");
	expect_bad_json("{\"a\":{\"b\":[]}}", "'a.b' is empty");
	expect_bad_json("{\"\":1}", "a key of 0 bytes");
	for (int i = 0; i < 70; i++)
		strcat(deep, "{\"a\":");
	strcat(deep, "1");
	for (int i = 0; i < 70; i++)
		strcat(deep, "}");
	expect_bad_json(deep, "more than 64 levels");
}

/* Sizes that a hostile name could use up memory with. */
static void huge_json(void **state)
{
	CLEANUP_FREE char *text = malloc(3 * MiB);
	char *p = text;

	(void)state;
	memset(text, ' ', 3 * MiB - 1);
	text[3 * MiB - 1] = 0;
	expect_bad_json(text, "at most 1048576");

	memset(text, '[', MiB);
	text[MiB] = 0;
	expect_bad_json(text, "JSON parse error");

	p += sprintf(p, "{\"");
	memset(p, 'k', 2000);
	strcpy(p + 2000, "\":1}");
	expect_bad_json(text, "a key of 2000 bytes");
}

/* What options_json() writes, options_parse_json() reads back. */
static void json_round_trip(void **state)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *a = options_new(&e);
	CLEANUP(options) struct options *b = options_new(&e);
	CLEANUP_FREE char *text = NULL;

	(void)state;
	assert_ok(options_set(a, "file.filename", "a\"b\\c\n\x01,=", &e), &e);
	assert_ok(options_set(a, "driver", "raw", &e), &e);
	text = options_json(a, &e);
	assert_string_equal(text,
	    "json:{\"file.filename\": \"a\\\"b\\\\c\\u000a\\u0001,=\", "
	    "\"driver\": \"raw\"}");
	assert_ok(options_parse_json(b, text + 5, &e), &e);
	assert_string_equal(options_get(b, "file.filename"), "a\"b\\c\n\x01,=");
	assert_string_equal(show(b), show(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lists),
	    cmocka_unit_test(bad_lists),
	    cmocka_unit_test(too_many),
	    cmocka_unit_test(set_and_use),
	    cmocka_unit_test(bools),
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(json),
	    cmocka_unit_test(json_quotes),
	    cmocka_unit_test(bad_json),
	    cmocka_unit_test(huge_json),
	    cmocka_unit_test(json_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
