/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Negotiation, byte by byte: what a client may send, and what it must not.
 * The numbers are the protocol's, not the server's names for them.
 */
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "nbdpeer.h"

#define ACK	0x1u
#define UNSUP	0x80000001u
#define INVALID 0x80000003u
#define UNKNOWN 0x80000006u
#define TOO_BIG 0x80000009u

struct fixture {
	struct peer peer;
	int fd;
};

static void begin(struct fixture *f)
{
	peer_start(&f->peer, &(struct peer_setup){0});
	f->fd = peer_connect(&f->peer);
}

static void end(struct fixture *f)
{
	close(f->fd);
	peer_end(&f->peer);
}

/* The server still listens to this client. */
static void expect_alive(int fd)
{
	peer_expect_option(fd, 0xabcdef, "x", 1, UNSUP);
}

static void test_client_flags(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 0x7);
	peer_expect_end(f.fd);
	end(&f);
}

static void test_unknown_options(void **state)
{
	/* PEEK_EXPORT and some that are nobody's */
	static const uint32_t opts[] = {4, 12, 0, 0xffffffff};
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	for (size_t i = 0; i < ARRAY_N(opts); i++)
		peer_expect_option(f.fd, opts[i], "data", 4, UNSUP);
	end(&f);
}

static void test_bad_magic(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_send(f.fd, "IHAVEOPX\0\0\0\3\0\0\0", 16);
	peer_expect_end(f.fd);
	end(&f);
}

static void test_long_options(void **state)
{
	static uint8_t data[100000];
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, 7, data, sizeof data, TOO_BIG);
	expect_alive(f.fd);
	/* longer than anything that is worth skipping */
	peer_send(f.fd, "IHAVEOPT\0\0\0\7\2\0\0\1", 16);
	peer_expect_end(f.fd);
	end(&f);
}

static void test_list(void **state)
{
	static const char first[] = "\0\0\0\0a test";
	static const char second[] = "\0\0\0\5othera test";
	struct fixture f;
	uint8_t b[4096];
	size_t n;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_option(f.fd, 3, NULL, 0);
	n = peer_option_reply(f.fd, 3, 2, b);
	assert_int_equal(n, sizeof first - 1);
	assert_memory_equal(b, first, n);
	n = peer_option_reply(f.fd, 3, 2, b);
	assert_int_equal(n, sizeof second - 1);
	assert_memory_equal(b, second, n);
	peer_option_reply(f.fd, 3, ACK, b);
	peer_expect_option(f.fd, 3, "x", 1, INVALID);
	end(&f);
}

static void test_abort(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, 2, NULL, 0, ACK);
	peer_expect_end(f.fd);
	end(&f);
}

/* ---- INFO, GO and EXPORT_NAME ------------------------------------------- */

static void test_info(void **state)
{
	static const char query[] = "\0\0\0\5other\0\4\0\1\0\2\0\3\xff\xff";
	struct fixture f;
	uint8_t b[4096];

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_option(f.fd, 6, query, sizeof query - 1);
	assert_int_equal(peer_option_reply(f.fd, 6, 3, b), 12);
	assert_int_equal(be16(b), 0);
	assert_int_equal(be64(b + 2), PEER_SIZE);
	/* has-flags flush fua trim write-zeroes multi-conn cache fast-zero */
	assert_int_equal(be16(b + 10), 0xd6d);
	assert_int_equal(peer_option_reply(f.fd, 6, 3, b), 14);
	assert_memory_equal(b, "\0\3\0\0\0\1\0\0\20\0\2\0\0\0", 14);
	assert_int_equal(peer_option_reply(f.fd, 6, 3, b), 7);
	assert_memory_equal(b, "\0\1other", 7);
	assert_int_equal(peer_option_reply(f.fd, 6, 3, b), 8);
	assert_memory_equal(b, "\0\2a test", 8);
	peer_option_reply(f.fd, 6, ACK, b);
	expect_alive(f.fd);
	end(&f);
}

static void test_bad_go(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		uint32_t reply;
	} cases[] = {
	    {"", 0, INVALID}, {"\0\0\0", 3, INVALID},
	    {"\0\0\0\0", 4, INVALID},	    /* no count */
	    {"\0\0\0\0\0\1", 6, INVALID},   /* one item promised */
	    {"\0\0\0\0\0\0\0", 7, INVALID}, /* a byte too many */
	    {"\0\0\0\2a\0\0", 7, INVALID},  /* name past the end */
	    {"\xff\xff\xff\xffx", 5, INVALID},
	    {"\0\0\0\4nope\0\0", 10, UNKNOWN},
	    {"\0\0\0\6other\0\0\0", 12, UNKNOWN}, /* a NUL at its end */
	};
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	for (size_t i = 0; i < ARRAY_N(cases); i++)
		for (uint32_t opt = 6; opt <= 7; opt++)
			peer_expect_option(f.fd, opt, cases[i].data,
			    cases[i].len, cases[i].reply);
	end(&f);
}

static void test_long_name(void **state)
{
	static uint8_t query[4 + 4097 + 2];
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	put_be32(query, 4097);
	peer_expect_option(f.fd, 7, query, sizeof query, INVALID);
	put_be32(query, 4096);
	peer_expect_option(f.fd, 7, query, sizeof query - 1, UNKNOWN);
	end(&f);
}

static void check_export_name(uint32_t client_flags, size_t zeroes)
{
	static const uint8_t none[124];
	struct fixture f;
	uint8_t b[134];

	begin(&f);
	peer_greet(f.fd, client_flags);
	peer_option(f.fd, 1, "other", 5);
	peer_recv(f.fd, b, 10 + zeroes);
	assert_int_equal(be64(b), PEER_SIZE);
	assert_int_equal(be16(b + 8), 0xd6d);
	assert_memory_equal(b + 10, none, zeroes);
	peer_request(f.fd, 3, 0, 1, 0, 0);
	peer_expect_simple(f.fd, 1, 0);
	end(&f);
}

static void test_export_name(void **state)
{
	(void)state;
	check_export_name(3, 0);
	check_export_name(1, 124);
	check_export_name(0, 124); /* one that is not fixed newstyle */
}

static void test_export_name_refused(void **state)
{
	static uint8_t name[70000];
	static const size_t lens[] = {5, 4097, sizeof name};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_N(lens); i++) {
		begin(&f);
		peer_greet(f.fd, 3);
		peer_option(f.fd, 1, name, lens[i]);
		peer_expect_end(f.fd);
		end(&f);
	}
}

/* ---- contexts ----------------------------------------------------------- */

/* Export "", one query. */
static void send_query(int fd, uint32_t opt, const char *query)
{
	uint8_t b[64] = {0};
	size_t len = strlen(query);

	b[7] = 1;
	b[11] = (uint8_t)len;
	memcpy(b + 12, query, len);
	peer_option(fd, opt, b, 12 + len);
}

/* base:allocation is bit 0 of `which`, imgd:map bit 1. */
static void expect_contexts(int fd, uint32_t opt, unsigned which)
{
	static const char *const names[] = {"base:allocation", "imgd:map"};
	uint8_t b[4096];

	for (size_t i = 0; i < ARRAY_N(names); i++) {
		size_t len = strlen(names[i]);

		if (!(which & 1u << i))
			continue;
		assert_int_equal(peer_option_reply(fd, opt, 4, b), 4 + len);
		assert_memory_equal(b + 4, names[i], len);
		if (opt == 9)
			assert_int_equal(be32(b), 0);
	}
	peer_option_reply(fd, opt, ACK, b);
}

static void test_contexts(void **state)
{
	static const struct {
		const char *query;
		unsigned listed, set;
	} cases[] = {
	    {"base:allocation", 1, 1},
	    {"imgd:map", 2, 2},
	    {"base:", 1, 0}, /* a wildcard, for lists only */
	    {"imgd:", 2, 0},
	    {"base", 0, 0},
	    {"", 0, 0},
	    {":", 0, 0},
	    {"base:allocatio", 0, 0},
	    {"base:allocations", 0, 0},
	    {"qemu:", 0, 0},
	    {"qemu:allocation-depth", 0, 0}, /* exists, but not here */
	    {"qemu:dirty-bitmap:", 0, 0},
	    {"x-other:thing", 0, 0},
	};
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, 9, "\0\0\0\0\0\0\0\0", 8, INVALID);
	peer_expect_option(f.fd, 10, "\0\0\0\0\0\0\0\0", 8, INVALID);
	peer_expect_option(f.fd, 8, "x", 1, INVALID);
	peer_expect_option(f.fd, 8, NULL, 0, ACK);
	peer_expect_option(f.fd, 8, NULL, 0, INVALID);
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		send_query(f.fd, 9, cases[i].query);
		expect_contexts(f.fd, 9, cases[i].listed);
		send_query(f.fd, 10, cases[i].query);
		expect_contexts(f.fd, 10, cases[i].set);
	}
	peer_option(f.fd, 9, "\0\0\0\0\0\0\0\0", 8);
	expect_contexts(f.fd, 9, 3);
	peer_option(f.fd, 10, "\0\0\0\0\0\0\0\0", 8);
	expect_contexts(f.fd, 10, 0);
	end(&f);
}

static void test_bad_contexts(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		uint32_t reply;
	} cases[] = {
	    {"", 0, INVALID},
	    {"\0\0\0\0\0\0\0", 7, INVALID},
	    {"\0\0\0\0\0\0\0\1", 8, INVALID},
	    {"\0\0\0\0\xff\xff\xff\xff\0\0\0\0", 12, INVALID},
	    {"\0\0\0\0\0\0\0\1\0\0\0\2x", 13, INVALID},
	    {"\0\0\0\0\0\0\0\1\0\0\0\0x", 13, INVALID},
	    {"\0\0\0\1x\0\0\0\0", 9, UNKNOWN},
	};
	struct fixture f;

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, 8, NULL, 0, ACK);
	for (size_t i = 0; i < ARRAY_N(cases); i++)
		for (uint32_t opt = 9; opt <= 10; opt++)
			peer_expect_option(f.fd, opt, cases[i].data,
			    cases[i].len, cases[i].reply);
	end(&f);
}

/* Those that are set replace those that were; a try that fails leaves none. */
static void test_contexts_set_again(void **state)
{
	static const char bad[] = "\0\0\0\1x\0\0\0\0";
	struct fixture f;
	uint8_t b[64];

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, 8, NULL, 0, ACK);
	send_query(f.fd, 10, "imgd:map");
	expect_contexts(f.fd, 10, 2);
	send_query(f.fd, 10, "base:allocation");
	expect_contexts(f.fd, 10, 1);
	peer_go(f.fd);
	peer_request(f.fd, 7, 0, 1, 0, 4096);
	peer_expect_chunk(f.fd, 1, 1, 5, b, sizeof b);
	close(f.fd);
	f.fd = peer_connect(&f.peer);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, 8, NULL, 0, ACK);
	send_query(f.fd, 10, "base:allocation");
	expect_contexts(f.fd, 10, 1);
	peer_expect_option(f.fd, 10, bad, sizeof bad - 1, UNKNOWN);
	peer_go(f.fd);
	peer_request(f.fd, 7, 0, 1, 0, 4096);
	peer_expect_error(f.fd, 1, 22);
	end(&f);
}

/* Contexts count only for the export that they were set for. */
static void test_contexts_of_another(void **state)
{
	static const char go[] = "\0\0\0\5other\0\0";
	struct fixture f;
	uint8_t b[4096];

	(void)state;
	begin(&f);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, 8, NULL, 0, ACK);
	send_query(f.fd, 10, "base:allocation");
	expect_contexts(f.fd, 10, 1);
	peer_option(f.fd, 7, go, sizeof go - 1);
	for (int i = 0; i < 3; i++)
		peer_option_reply(f.fd, 7, 3, b);
	peer_option_reply(f.fd, 7, ACK, b);
	peer_request(f.fd, 7, 0, 1, 0, 4096);
	peer_expect_error(f.fd, 1, 22);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_client_flags),
	    cmocka_unit_test(test_unknown_options),
	    cmocka_unit_test(test_bad_magic),
	    cmocka_unit_test(test_long_options),
	    cmocka_unit_test(test_list),
	    cmocka_unit_test(test_abort),
	    cmocka_unit_test(test_info),
	    cmocka_unit_test(test_bad_go),
	    cmocka_unit_test(test_long_name),
	    cmocka_unit_test(test_export_name),
	    cmocka_unit_test(test_export_name_refused),
	    cmocka_unit_test(test_contexts),
	    cmocka_unit_test(test_bad_contexts),
	    cmocka_unit_test(test_contexts_set_again),
	    cmocka_unit_test(test_contexts_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
