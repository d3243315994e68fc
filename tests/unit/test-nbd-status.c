/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block status with extended headers, byte by byte: 64 bits, and payloads that
 * say which contexts are wanted.  The numbers are the protocol's.
 */
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "nbdpeer.h"

enum { STATUS = 7 };
enum { REQ_ONE = 8, PAYLOAD = 32 };
enum { DONE = 1, EXTENTS = 6 };

#define WIRE_EINVAL 22u

static const char *const both[] = {"base:allocation", "imgd:map"};

struct fixture {
	struct peer peer;
	int fd;
	uint32_t id[2]; /* of the contexts */
};

static void begin(struct fixture *f)
{
	peer_start(&f->peer, &(struct peer_setup){0});
	f->fd = peer_connect_extended(&f->peer);
	peer_set_contexts(f->fd, both, 2, f->id);
	peer_go(f->fd);
}

static void end(struct fixture *f)
{
	close(f->fd);
	peer_end(&f->peer);
}

/* ---- 64 bits ------------------------------------------------------------ */

static void expect_extent(const uint8_t *b, uint64_t len, uint64_t status)
{
	assert_true(be64(b) == len);
	assert_true(be64(b + 8) == status);
}

/* Status bits of imgd:map: data, zero, there, offset known; the offset. */
static uint64_t map_data(uint64_t host)
{
	return 0x15 | host << 16;
}

static uint64_t map_hole(uint64_t host)
{
	return 0x16 | host << 16;
}

static void expect_base(
    struct fixture *f, const struct peer_request *rq, uint16_t flags)
{
	uint8_t b[256];

	assert_int_equal(
	    peer_ext_chunk(f->fd, rq, flags, EXTENTS, b, sizeof b), 8 + 48);
	assert_int_equal(be32(b), f->id[0]);
	assert_int_equal(be32(b + 4), 3);
	expect_extent(b + 8, PEER_HOLE - 1, 0);
	expect_extent(b + 24, PEER_DATA - PEER_HOLE, 3);
	expect_extent(b + 40, PEER_SIZE - PEER_DATA, 0);
}

static void expect_map(struct fixture *f, const struct peer_request *rq)
{
	uint8_t b[256];

	assert_int_equal(
	    peer_ext_chunk(f->fd, rq, DONE, EXTENTS, b, sizeof b), 8 + 48);
	assert_int_equal(be32(b), f->id[1]);
	assert_int_equal(be32(b + 4), 3);
	expect_extent(b + 8, PEER_HOLE - 1, map_data(1));
	expect_extent(b + 24, PEER_DATA - PEER_HOLE, map_hole(PEER_HOLE));
	expect_extent(b + 40, PEER_SIZE - PEER_DATA, map_data(PEER_DATA));
}

static void test_status(void **state)
{
	struct peer_request rq = {STATUS, 0, 1, 1, PEER_SIZE - 1};
	struct fixture f;
	uint8_t b[64];

	(void)state;
	begin(&f);
	peer_ext_request(f.fd, &rq, NULL);
	expect_base(&f, &rq, 0);
	expect_map(&f, &rq);
	rq.flags = REQ_ONE;
	peer_ext_request(f.fd, &rq, NULL);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    peer_ext_chunk(f.fd, &rq, i, EXTENTS, b, sizeof b), 24);
	end(&f);
}

/* ---- which contexts ----------------------------------------------------- */

struct filter {
	uint64_t len;
	uint32_t id[3];
	size_t id_n;
};

static struct peer_request send_filter(
    struct fixture *f, uint64_t cookie, const struct filter *q)
{
	struct peer_request rq = {STATUS, PAYLOAD, cookie, 1, 8 + 4 * q->id_n};
	uint8_t b[8 + 4 * ARRAY_N(q->id)];

	put_be64(b, q->len);
	for (size_t i = 0; i < q->id_n; i++)
		put_be32(b + 8 + 4 * i, q->id[i]);
	peer_ext_request(f->fd, &rq, b);
	return rq;
}

static void test_filter(void **state)
{
	struct filter q = {.len = PEER_SIZE - 1, .id_n = 1};
	struct peer_request rq;
	struct fixture f;

	(void)state;
	begin(&f);
	q.id[0] = f.id[0];
	rq = send_filter(&f, 1, &q);
	expect_base(&f, &rq, DONE);
	q.id[0] = f.id[1];
	rq = send_filter(&f, 2, &q);
	expect_map(&f, &rq);
	q = (struct filter){PEER_SIZE - 1, {f.id[1], f.id[0]}, 2};
	rq = send_filter(&f, 3, &q);
	expect_base(&f, &rq, 0);
	expect_map(&f, &rq);
	end(&f);
}

static void test_bad_filters(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	{
		const struct filter cases[] = {
		    {PEER_SIZE - 1, {0}, 0},
		    {PEER_SIZE - 1, {f.id[0], f.id[0]}, 2},
		    {PEER_SIZE - 1, {1}, 1}, /* not offered */
		    {PEER_SIZE - 1, {f.id[0], 63}, 2},
		    {PEER_SIZE - 1, {64}, 1},
		    {PEER_SIZE - 1, {UINT32_MAX}, 1},
		    {0, {f.id[0]}, 1},
		    {PEER_SIZE, {f.id[0]}, 1},
		    {1ull << 32, {f.id[0]}, 1},
		    {UINT64_MAX, {f.id[0]}, 1},
		};

		for (size_t i = 0; i < ARRAY_N(cases); i++) {
			struct peer_request rq = send_filter(&f, i, &cases[i]);

			peer_ext_error(f.fd, &rq, WIRE_EINVAL);
		}
	}
	end(&f);
}

/* A payload that is not a length and whole IDs. */
static void test_cut_filters(void **state)
{
	static const uint8_t b[16] = {[6] = 1};
	struct fixture f;

	(void)state;
	begin(&f);
	for (size_t len = 1; len < sizeof b; len++) {
		struct peer_request rq = {STATUS, PAYLOAD, len, 0, len};

		peer_ext_request(f.fd, &rq, b);
		if (len != 12)
			peer_ext_error(f.fd, &rq, WIRE_EINVAL);
		else
			peer_ext_chunk(
			    f.fd, &rq, DONE, EXTENTS, (uint8_t[64]){0}, 64);
	}
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_status),
	    cmocka_unit_test(test_filter),
	    cmocka_unit_test(test_bad_filters),
	    cmocka_unit_test(test_cut_filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
