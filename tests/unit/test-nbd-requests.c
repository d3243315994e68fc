/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests, byte by byte: what they do, and how they are refused.  The numbers
 * are the protocol's, not the server's names for them.
 */
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "nbdpeer.h"

enum { READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS };
enum { FUA = 1, NO_HOLE = 2, DF = 4, REQ_ONE = 8, FAST = 16 };
enum { DONE = 1, NONE = 0, DATA = 1, HOLE = 2, EXTENTS = 5 };

#define WIRE_EPERM     1u
#define WIRE_EINVAL    22u
#define WIRE_ENOSPC    28u
#define WIRE_EOVERFLOW 75u

#define MIB (1u << 20)

struct fixture {
	struct peer peer;
	int fd;
};

static void begin(struct fixture *f, bool read_only, bool structured)
{
	peer_start(&f->peer, &(struct peer_setup){.read_only = read_only});
	f->fd = peer_connect(&f->peer);
	peer_negotiate(f->fd, structured, structured);
}

static void end(struct fixture *f)
{
	close(f->fd);
	peer_end(&f->peer);
}

static void expect_bytes(const uint8_t *buf, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], peer_byte(off + i));
}

/* ---- what they do ------------------------------------------------------- */

static void test_simple_replies(void **state)
{
	static uint8_t buf[PEER_SIZE];
	struct fixture f;

	(void)state;
	begin(&f, false, false);
	peer_request(f.fd, READ, 0, 1, 0, PEER_SIZE);
	peer_expect_simple(f.fd, 1, 0);
	peer_recv(f.fd, buf, PEER_SIZE);
	expect_bytes(buf, 0, PEER_SIZE);
	peer_request(f.fd, READ, 0, 2, PEER_SIZE - 1, 1);
	peer_expect_simple(f.fd, 2, 0);
	peer_recv(f.fd, buf, 1);
	expect_bytes(buf, PEER_SIZE - 1, 1);
	/* DF belongs to structured replies */
	peer_request(f.fd, READ, DF, 3, 0, 1);
	peer_expect_simple(f.fd, 3, WIRE_EINVAL);
	end(&f);
}

static void expect_data(int fd, uint64_t cookie, uint16_t flags, uint64_t off,
    size_t len, uint8_t *buf)
{
	assert_int_equal(
	    peer_expect_chunk(fd, cookie, flags, DATA, buf, 8 + len), 8 + len);
	assert_true(be64(buf) == off);
	expect_bytes(buf + 8, off, len);
}

static void test_read_with_hole(void **state)
{
	static uint8_t buf[8 + PEER_SIZE];
	struct fixture f;

	(void)state;
	begin(&f, false, true);
	peer_request(f.fd, READ, 0, 1, 1, PEER_SIZE - 2);
	expect_data(f.fd, 1, 0, 1, PEER_HOLE - 1, buf);
	assert_int_equal(peer_expect_chunk(f.fd, 1, 0, HOLE, buf, 12), 12);
	assert_true(be64(buf) == PEER_HOLE);
	assert_int_equal(be32(buf + 8), PEER_DATA - PEER_HOLE);
	expect_data(f.fd, 1, DONE, PEER_DATA, PEER_SIZE - PEER_DATA - 1, buf);
	/* one chunk where the client wants one */
	peer_request(f.fd, READ, DF, 2, 0, PEER_SIZE);
	expect_data(f.fd, 2, DONE, 0, PEER_SIZE, buf);
	peer_request(f.fd, READ, FUA, 3, PEER_HOLE - 1, 2);
	expect_data(f.fd, 3, DONE, PEER_HOLE - 1, 2, buf);
	end(&f);
}

static void write_bytes(
    int fd, uint16_t flags, uint64_t cookie, uint64_t off, size_t len, int byte)
{
	uint8_t *buf = malloc(len + 1);

	assert_non_null(buf);
	memset(buf, byte, len);
	peer_request(fd, WRITE, flags, cookie, off, (uint32_t)len);
	peer_send(fd, buf, len);
	free(buf);
}

static void test_writes(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, false, true);
	write_bytes(f.fd, 0, 1, 1, 100000, 0x55);
	peer_expect_done(f.fd, 1);
	peer_expect_image(&f.peer, 0, 1, -1);
	peer_expect_image(&f.peer, 1, 100000, 0x55);
	peer_expect_image(&f.peer, 100001, 1, -1);
	write_bytes(f.fd, FUA, 2, PEER_SIZE - 5, 5, 0x66);
	peer_expect_done(f.fd, 2);
	peer_expect_image(&f.peer, PEER_SIZE - 5, 5, 0x66);
	peer_request(f.fd, ZERO, FUA | NO_HOLE, 3, 10, 50000);
	peer_expect_done(f.fd, 3);
	peer_expect_image(&f.peer, 10, 50000, 0);
	peer_request(f.fd, ZERO, 0, 4, 60000, 1000);
	peer_expect_done(f.fd, 4);
	peer_expect_image(&f.peer, 60000, 1000, 0);
	peer_request(f.fd, TRIM, FUA, 5, PEER_DATA, 4096);
	peer_expect_done(f.fd, 5);
	peer_request(f.fd, CACHE, 0, 6, 0, PEER_SIZE);
	peer_expect_done(f.fd, 6);
	peer_request(f.fd, FLUSH, FUA, 7, 0, 0);
	peer_expect_done(f.fd, 7);
	end(&f);
}

static void test_no_bytes(void **state)
{
	static const uint16_t types[] = {READ, WRITE, TRIM, CACHE, ZERO};
	struct fixture f;

	(void)state;
	begin(&f, false, true);
	for (size_t i = 0; i < ARRAY_N(types); i++) {
		peer_request(f.fd, types[i], 0, i, PEER_SIZE, 0);
		peer_expect_done(f.fd, i);
	}
	peer_request(f.fd, STATUS, 0, 9, 0, 0);
	peer_expect_error(f.fd, 9, WIRE_EINVAL);
	peer_expect_image(&f.peer, 0, PEER_SIZE, -1);
	end(&f);
}

static void expect_extent(const uint8_t *b, uint32_t len, uint32_t flags)
{
	assert_int_equal(be32(b), len);
	assert_int_equal(be32(b + 4), flags);
}

static void test_block_status(void **state)
{
	struct fixture f;
	uint8_t b[64];
	size_t n;

	(void)state;
	begin(&f, true, true);
	peer_request(f.fd, STATUS, 0, 1, 1, PEER_SIZE - 1);
	n = peer_expect_chunk(f.fd, 1, DONE, EXTENTS, b, sizeof b);
	assert_int_equal(n, 4 + 3 * 8);
	assert_int_equal(be32(b), 0);
	expect_extent(b + 4, PEER_HOLE - 1, 0);
	expect_extent(b + 12, PEER_DATA - PEER_HOLE, 3);
	expect_extent(b + 20, PEER_SIZE - PEER_DATA, 0);
	peer_request(f.fd, STATUS, REQ_ONE, 2, PEER_HOLE, PEER_SIZE / 2);
	n = peer_expect_chunk(f.fd, 2, DONE, EXTENTS, b, sizeof b);
	assert_int_equal(n, 4 + 8);
	expect_extent(b + 4, PEER_SIZE / 2, 3);
	peer_request(f.fd, STATUS, REQ_ONE, 3, 0, PEER_SIZE);
	n = peer_expect_chunk(f.fd, 3, DONE, EXTENTS, b, sizeof b);
	assert_int_equal(n, 4 + 8);
	expect_extent(b + 4, PEER_HOLE, 0);
	end(&f);
}

/* Zeroes give space back unless the client wants it kept; so does a trim. */
static void test_no_hole(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, false, true);
	peer_request(f.fd, ZERO, NO_HOLE, 1, 0, 65536);
	peer_expect_done(f.fd, 1);
	assert_int_equal(faultfile_calls(f.peer.host, FAULT_PUNCH), 0);
	peer_request(f.fd, ZERO, 0, 2, 0, 65536);
	peer_expect_done(f.fd, 2);
	assert_int_equal(faultfile_calls(f.peer.host, FAULT_PUNCH), 1);
	peer_request(f.fd, TRIM, 0, 3, PEER_DATA, 65536);
	peer_expect_done(f.fd, 3);
	peer_expect_image(&f.peer, PEER_DATA, 65536, 0);
	end(&f);
}

/* What FUA and a flush promise ends in a sync of the storage. */
static void test_durable(void **state)
{
	static const uint16_t types[] = {ZERO, TRIM, FLUSH};
	struct fixture f;
	uint64_t n;

	(void)state;
	begin(&f, false, true);
	write_bytes(f.fd, 0, 1, 0, 4096, 1);
	peer_expect_done(f.fd, 1);
	n = faultfile_calls(f.peer.host, FAULT_SYNC);
	write_bytes(f.fd, FUA, 2, 0, 4096, 2);
	peer_expect_done(f.fd, 2);
	assert_int_equal(faultfile_calls(f.peer.host, FAULT_SYNC), ++n);
	for (size_t i = 0; i < ARRAY_N(types); i++) {
		bool flush = types[i] == FLUSH;

		write_bytes(f.fd, 0, 3, PEER_DATA, 4096, 3);
		peer_expect_done(f.fd, 3);
		peer_request(
		    f.fd, types[i], flush ? 0 : FUA, 4, 0, flush ? 0 : 4096);
		peer_expect_done(f.fd, 4);
		assert_int_equal(faultfile_calls(f.peer.host, FAULT_SYNC), ++n);
	}
	end(&f);
}

/* ---- how they are refused ----------------------------------------------- */

struct refusal {
	uint16_t type, flags;
	uint64_t off;
	uint32_t len;
	uint32_t error;
};

static const struct refusal refusals[] = {
    {READ, 0, PEER_SIZE, 1, WIRE_EINVAL},
    {READ, 0, PEER_SIZE - 1, 2, WIRE_EINVAL},
    {READ, 0, UINT64_MAX, 1, WIRE_EINVAL},
    {READ, 0, UINT64_MAX - 4095, 4096, WIRE_EINVAL}, /* the sum is 0 */
    {READ, 0, UINT64_MAX, UINT32_MAX, WIRE_EINVAL},
    {READ, NO_HOLE, 0, 1, WIRE_EINVAL},
    {READ, REQ_ONE, 0, 1, WIRE_EINVAL},
    {READ, 0x8000, 0, 1, WIRE_EINVAL},
    {FLUSH, 0, 0, 1, WIRE_EINVAL},
    {FLUSH, 0, 1, 0, WIRE_EINVAL},
    {FLUSH, DF, 0, 0, WIRE_EINVAL},
    {CACHE, 0, PEER_SIZE - 1, 2, WIRE_EINVAL},
    {CACHE, NO_HOLE, 0, 1, WIRE_EINVAL},
    {STATUS, 0, PEER_SIZE - 1, 2, WIRE_EINVAL},
    {STATUS, 0, UINT64_MAX - 1, 2, WIRE_EINVAL},
    {STATUS, DF, 0, 1, WIRE_EINVAL},
    {8, 0, 0, 1, WIRE_EINVAL}, /* RESIZE */
    {9, 0, 0, 0, WIRE_EINVAL},
    {0xffff, 0xffff, UINT64_MAX, UINT32_MAX, WIRE_EINVAL},
};

static const struct refusal refused_writes[] = {
    {WRITE, 0, PEER_SIZE, 1, WIRE_ENOSPC},
    {WRITE, 0, PEER_SIZE - 1, 70000, WIRE_ENOSPC},
    {WRITE, 0, UINT64_MAX, 1, WIRE_ENOSPC},
    {WRITE, DF, 0, 5, WIRE_EINVAL},
    {ZERO, 0, PEER_SIZE - 1, 2, WIRE_ENOSPC},
    {ZERO, 0, UINT64_MAX - 4095, 4096, WIRE_ENOSPC},
    {ZERO, FAST | REQ_ONE, 0, 1, WIRE_EINVAL},
    {TRIM, 0, PEER_SIZE - 1, 2, WIRE_EINVAL},
    {TRIM, NO_HOLE, 0, 1, WIRE_EINVAL},
};

/* All at once, and the answers in their order; the payload of a refused write
   is not taken for requests. */
static void check_refusals(struct fixture *f, const struct refusal *r, size_t n)
{
	uint8_t junk[70000];

	memset(junk, 0x25, sizeof junk);
	for (size_t i = 0; i < n; i++) {
		peer_request(
		    f->fd, r[i].type, r[i].flags, i, r[i].off, r[i].len);
		if (r[i].type == WRITE)
			peer_send(f->fd, junk, r[i].len);
	}
	for (size_t i = 0; i < n; i++)
		peer_expect_error(f->fd, i, r[i].error);
	peer_request(f->fd, CACHE, 0, n, 0, 0);
	peer_expect_done(f->fd, n);
	peer_expect_image(&f->peer, 0, PEER_SIZE, -1);
}

static void test_refusals(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, false, true);
	check_refusals(&f, refusals, ARRAY_N(refusals));
	check_refusals(&f, refused_writes, ARRAY_N(refused_writes));
	end(&f);
}

static void test_read_only(void **state)
{
	static const struct refusal writes[] = {
	    {WRITE, 0, 0, 70000, WIRE_EPERM},
	    {WRITE, FUA, PEER_SIZE, 10, WIRE_EPERM},
	    {TRIM, 0, 0, 10, WIRE_EPERM},
	    {ZERO, 0, 0, 10, WIRE_EPERM},
	    {ZERO, FAST | NO_HOLE, 0, 10, WIRE_EPERM},
	};
	struct fixture f;

	(void)state;
	begin(&f, true, true);
	check_refusals(&f, writes, ARRAY_N(writes));
	peer_request(f.fd, FLUSH, 0, 1, 0, 0);
	peer_expect_done(f.fd, 1);
	end(&f);
}

static void test_status_without_context(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, true, false);
	peer_request(f.fd, STATUS, 0, 1, 0, 4096);
	peer_expect_simple(f.fd, 1, WIRE_EINVAL);
	end(&f);
}

/* An image that is larger than the largest request. */
static void test_long_reads(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, true, true);
	f.peer.export[0].size = 1ull << 40;
	peer_request(f.fd, READ, 0, 1, 0, 32 * MIB + 1);
	peer_expect_error(f.fd, 1, WIRE_EINVAL);
	peer_request(f.fd, READ, DF, 2, 0, 32 * MIB + 1);
	peer_expect_error(f.fd, 2, WIRE_EOVERFLOW);
	end(&f);
}

static void test_dropped(void **state)
{
	struct fixture f;
	uint8_t bad[28] = {0x25, 0x60, 0x95, 0x14};

	(void)state;
	begin(&f, false, true);
	peer_send(f.fd, bad, sizeof bad);
	peer_expect_end(f.fd);
	close(f.fd);
	f.fd = peer_connect(&f.peer);
	peer_negotiate(f.fd, true, false);
	peer_request(f.fd, WRITE, 0, 1, 0, 32 * MIB + 1);
	peer_expect_end(f.fd);
	peer_wait_clients(&f.peer, 0);
	end(&f);
}

/* A request that fails is answered, and the next ones are as good as ever. */
static void test_storage_fails(void **state)
{
	static const struct {
		int errnum;
		uint32_t error;
	} cases[] = {
	    {EIO, 5},
	    {ENOSPC, 28},
	    {EDQUOT, 28},
	    {EFBIG, 28},
	    {EPERM, 1},
	    {EACCES, 1},
	    {EROFS, 1},
	    {ENOMEM, 12},
	    {EINVAL, 22},
	    {EOVERFLOW, 5}, /* means something else on the wire */
	    {EBADMSG, 5},
	};
	struct fixture f;

	(void)state;
	begin(&f, false, true);
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		faultfile_fail(
		    f.peer.host, FAULT_WRITE, 1, cases[i].errnum, false);
		write_bytes(f.fd, 0, 1, PEER_DATA, 4096, 1);
		peer_expect_error(f.fd, 1, cases[i].error);
		faultfile_fail(
		    f.peer.host, FAULT_READ, 1, cases[i].errnum, false);
		peer_request(f.fd, READ, 0, 2, 0, 100000);
		peer_expect_error(f.fd, 2, cases[i].error);
		write_bytes(f.fd, 0, 3, PEER_HOLE, 4096, 1);
		peer_expect_done(f.fd, 3);
	}
	faultfile_fail(f.peer.host, FAULT_SYNC, 1, EIO, false);
	peer_request(f.fd, FLUSH, 0, 4, 0, 0);
	peer_expect_error(f.fd, 4, 5);
	peer_expect_image(&f.peer, 0, PEER_HOLE, -1);
	peer_expect_image(&f.peer, PEER_DATA, PEER_SIZE - PEER_DATA, -1);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_simple_replies),
	    cmocka_unit_test(test_read_with_hole),
	    cmocka_unit_test(test_writes),
	    cmocka_unit_test(test_no_bytes),
	    cmocka_unit_test(test_block_status),
	    cmocka_unit_test(test_no_hole),
	    cmocka_unit_test(test_durable),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_read_only),
	    cmocka_unit_test(test_status_without_context),
	    cmocka_unit_test(test_long_reads),
	    cmocka_unit_test(test_dropped),
	    cmocka_unit_test(test_storage_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
