/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extended headers, byte by byte: how they are agreed on, payloads, requests of
 * more than 4 GiB.  The numbers are the protocol's, not the server's names for
 * them.
 */
#include <unistd.h>

#include "check.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "nbdpeer.h"

enum { READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS };
enum { FUA = 1, DF = 4, PAYLOAD = 32 };
enum { DONE = 1, DATA = 1, HOLE = 2 };
enum {
	OPT_NAME = 1,
	OPT_INFO = 6,
	OPT_GO,
	OPT_STRUCTURED,
	OPT_LIST_META,
	OPT_SET_META,
	OPT_EXTENDED
};

#define ACK	     0x1u
#define INVALID	     0x80000003u
#define EXT_REQUIRED 0x8000000au
#define WIRE_EINVAL  22u
#define WIRE_ENOSPC  28u

/* transmission flags: reads in one piece; contexts in a payload */
#define CAN_DF	   0x80u
#define CAN_FILTER 0x1000u

static const char *const both[] = {"base:allocation", "imgd:map"};

struct fixture {
	struct peer peer;
	int fd;
	uint32_t id[2]; /* of the contexts */
	uint16_t flags;
};

static void begin(struct fixture *f)
{
	peer_start(&f->peer, &(struct peer_setup){0});
	f->fd = peer_connect_extended(&f->peer);
	peer_set_contexts(f->fd, both, 2, f->id);
	f->flags = peer_go(f->fd);
}

static void end(struct fixture *f)
{
	close(f->fd);
	peer_end(&f->peer);
}

/* ---- negotiation -------------------------------------------------------- */

static void test_options(void **state)
{
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){0});
	f.fd = peer_connect(&f.peer);
	peer_greet(f.fd, 3);
	peer_expect_option(f.fd, OPT_EXTENDED, "x", 1, INVALID);
	peer_expect_option(f.fd, OPT_STRUCTURED, NULL, 0, ACK);
	peer_expect_option(f.fd, OPT_EXTENDED, NULL, 0, ACK);
	peer_expect_option(f.fd, OPT_EXTENDED, NULL, 0, INVALID);
	peer_expect_option(f.fd, OPT_STRUCTURED, NULL, 0, EXT_REQUIRED);
	/* without contexts there is nothing to choose from */
	assert_int_equal(peer_go(f.fd) & (CAN_DF | CAN_FILTER), CAN_DF);
	end(&f);
}

/* Contexts need nothing but extended headers, and the flags say so. */
static void test_flags(void **state)
{
	struct fixture f;
	uint8_t b[4096];

	(void)state;
	begin(&f);
	assert_int_equal(f.flags, 0x1ded);
	close(f.fd);
	f.fd = peer_connect_extended(&f.peer);
	peer_option(f.fd, OPT_INFO, "\0\0\0\0\0\0", 6);
	peer_option_reply(f.fd, OPT_INFO, 3, b);
	assert_int_equal(be16(b + 10), 0x1ded);
	end(&f);
}

/* The old option has no reply that could say which headers are used. */
static void test_export_name(void **state)
{
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){0});
	f.fd = peer_connect_extended(&f.peer);
	peer_option(f.fd, OPT_NAME, "other", 5);
	peer_expect_end(f.fd);
	end(&f);
}

/* A compact header is no request here, nor the other way round. */
static void test_magic(void **state)
{
	struct peer_request rq = {.type = FLUSH};
	struct fixture f;
	uint8_t pad[4] = {0};

	(void)state;
	begin(&f);
	peer_request(f.fd, FLUSH, 0, 1, 0, 0);
	peer_send(f.fd, pad, sizeof pad);
	peer_expect_end(f.fd);
	close(f.fd);
	f.fd = peer_connect(&f.peer);
	peer_negotiate(f.fd, true, true);
	peer_ext_request(f.fd, &rq, NULL);
	peer_expect_end(f.fd);
	end(&f);
}

/* ---- data --------------------------------------------------------------- */

static void expect_bytes(const uint8_t *buf, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], peer_byte(off + i));
}

static void test_reads(void **state)
{
	struct peer_request rq = {READ, 0, 1, 1, PEER_SIZE - 2};
	static uint8_t buf[8 + PEER_SIZE];
	struct fixture f;
	size_t n;

	(void)state;
	begin(&f);
	peer_ext_request(f.fd, &rq, NULL);
	n = peer_ext_chunk(f.fd, &rq, 0, DATA, buf, sizeof buf);
	assert_int_equal(n, 8 + PEER_HOLE - 1);
	assert_true(be64(buf) == 1);
	expect_bytes(buf + 8, 1, n - 8);
	n = peer_ext_chunk(f.fd, &rq, 0, HOLE, buf, sizeof buf);
	assert_int_equal(n, 12);
	assert_true(be64(buf) == PEER_HOLE);
	assert_int_equal(be32(buf + 8), PEER_DATA - PEER_HOLE);
	n = peer_ext_chunk(f.fd, &rq, DONE, DATA, buf, sizeof buf);
	assert_true(be64(buf) == PEER_DATA);
	expect_bytes(buf + 8, PEER_DATA, n - 8);
	rq = (struct peer_request){READ, DF, 2, 0, PEER_SIZE};
	peer_ext_request(f.fd, &rq, NULL);
	n = peer_ext_chunk(f.fd, &rq, DONE, DATA, buf, sizeof buf);
	assert_int_equal(n, sizeof buf);
	expect_bytes(buf + 8, 0, PEER_SIZE);
	end(&f);
}

static void test_writes(void **state)
{
	struct peer_request rq = {WRITE, PAYLOAD, 1, 5, 70000};
	static uint8_t buf[70000];
	struct fixture f;

	(void)state;
	begin(&f);
	memset(buf, 0x77, sizeof buf);
	peer_ext_request(f.fd, &rq, buf);
	peer_ext_done(f.fd, &rq);
	peer_expect_image(&f.peer, 5, sizeof buf, 0x77);
	rq.flags |= FUA;
	rq.off = PEER_SIZE - 70000;
	peer_ext_request(f.fd, &rq, buf);
	peer_ext_done(f.fd, &rq);
	peer_expect_image(&f.peer, rq.off, sizeof buf, 0x77);
	end(&f);
}

/* A payload comes where the flag says so, or the command is a write; what is
   refused takes its payload with it. */
static void test_payloads(void **state)
{
	static const struct {
		struct peer_request rq;
		bool payload;
		uint32_t error;
	} cases[] = {
	    {{WRITE, 0, 1, 0, 1000}, true, WIRE_EINVAL},
	    {{WRITE, PAYLOAD, 2, PEER_SIZE - 1, 1000}, true, WIRE_ENOSPC},
	    {{READ, PAYLOAD, 3, 0, 100000}, true, WIRE_EINVAL},
	    {{FLUSH, PAYLOAD, 4, 0, 8}, true, WIRE_EINVAL},
	    {{TRIM, PAYLOAD, 5, 0, 32}, true, WIRE_EINVAL},
	    {{ZERO, PAYLOAD, 6, 0, 8}, true, WIRE_EINVAL},
	    {{CACHE, PAYLOAD, 7, 0, 8}, true, WIRE_EINVAL},
	    {{77, PAYLOAD, 8, 0, 8}, true, WIRE_EINVAL},
	    {{STATUS, PAYLOAD, 9, 0, 0}, false, WIRE_EINVAL},
	    {{STATUS, PAYLOAD, 10, 0, 265}, true, WIRE_EINVAL},
	    {{STATUS, PAYLOAD, 11, 0, 100000}, true, WIRE_EINVAL},
	};
	static uint8_t junk[100000];
	struct fixture f;

	(void)state;
	begin(&f);
	memset(junk, 0x21, sizeof junk);
	for (size_t i = 0; i < ARRAY_N(cases); i++)
		peer_ext_request(
		    f.fd, &cases[i].rq, cases[i].payload ? junk : NULL);
	for (size_t i = 0; i < ARRAY_N(cases); i++)
		peer_ext_error(f.fd, &cases[i].rq, cases[i].error);
	peer_expect_image(&f.peer, 0, PEER_SIZE, -1);
	end(&f);
}

static void test_too_much(void **state)
{
	static const struct peer_request cases[] = {
	    {WRITE, PAYLOAD, 1, 0, (32u << 20) + 1},
	    {WRITE, PAYLOAD, 1, 0, UINT64_MAX},
	    {STATUS, PAYLOAD, 1, 0, 1ull << 32},
	};
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){0});
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		f.fd = peer_connect_extended(&f.peer);
		peer_set_contexts(f.fd, both, 2, f.id);
		peer_go(f.fd);
		peer_ext_request(f.fd, &cases[i], NULL);
		peer_expect_end(f.fd);
		close(f.fd);
	}
	peer_wait_clients(&f.peer, 0);
	peer_end(&f.peer);
}

/* ---- 64 bits ------------------------------------------------------------ */

/* Lengths that differ from good ones only above the 32nd bit. */
static void test_long_ranges(void **state)
{
	static const struct {
		uint16_t type;
		uint32_t error;
	} cases[] = {
	    {READ, WIRE_EINVAL},
	    {TRIM, WIRE_EINVAL},
	    {CACHE, WIRE_EINVAL},
	    {ZERO, WIRE_ENOSPC},
	    {STATUS, WIRE_EINVAL},
	};
	struct fixture f;

	(void)state;
	begin(&f);
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		struct peer_request rq = {
		    cases[i].type, 0, i, 0, (1ull << 32) + 4096};

		peer_ext_request(f.fd, &rq, NULL);
		peer_ext_error(f.fd, &rq, cases[i].error);
		rq.off = UINT64_MAX - 4095;
		rq.len = UINT64_MAX;
		peer_ext_request(f.fd, &rq, NULL);
		peer_ext_error(f.fd, &rq, cases[i].error);
	}
	peer_expect_image(&f.peer, 0, PEER_SIZE, -1);
	end(&f);
}

/* Without contexts, and without extended headers, there is no such payload. */
static void test_no_filter(void **state)
{
	struct peer_request rq = {STATUS, PAYLOAD, 1, 0, 12};
	static const uint8_t b[12] = {[6] = 1};
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){0});
	f.fd = peer_connect_extended(&f.peer);
	peer_go(f.fd);
	peer_ext_request(f.fd, &rq, b);
	peer_ext_error(f.fd, &rq, WIRE_EINVAL);
	close(f.fd);
	f.fd = peer_connect(&f.peer);
	peer_negotiate(f.fd, true, true);
	peer_request(f.fd, STATUS, PAYLOAD, 2, 0, 12);
	peer_expect_error(f.fd, 2, WIRE_EINVAL);
	end(&f);
}

/* ---- several connections ------------------------------------------------ */

/* A flush covers what was written through another connection. */
static void test_flush_of_another(void **state)
{
	struct peer_request rq = {WRITE, PAYLOAD, 1, 0, 4096};
	static uint8_t buf[4096];
	struct fixture f;
	uint64_t n;
	int second;

	(void)state;
	begin(&f);
	assert_true(f.flags & 0x100);
	second = peer_connect(&f.peer);
	peer_negotiate(second, false, false);
	peer_ext_request(f.fd, &rq, buf);
	peer_ext_done(f.fd, &rq);
	n = faultfile_calls(f.peer.host, FAULT_SYNC);
	peer_request(second, FLUSH, 0, 2, 0, 0);
	peer_expect_simple(second, 2, 0);
	assert_int_equal(faultfile_calls(f.peer.host, FAULT_SYNC), n + 1);
	close(second);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_options),
	    cmocka_unit_test(test_flags),
	    cmocka_unit_test(test_export_name),
	    cmocka_unit_test(test_magic),
	    cmocka_unit_test(test_reads),
	    cmocka_unit_test(test_writes),
	    cmocka_unit_test(test_payloads),
	    cmocka_unit_test(test_too_much),
	    cmocka_unit_test(test_long_ranges),
	    cmocka_unit_test(test_no_filter),
	    cmocka_unit_test(test_flush_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
