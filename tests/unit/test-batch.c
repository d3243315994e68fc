/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches: every read gets its own bytes, warm and cold, and its own error. */
#include <fcntl.h>
#include <stdlib.h>

#include "check.h"
#include "formats/core/batch.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "rng.h"
#include "tmpdir.h"

#define FILE_LEN (4u * 1024 * 1024)
#define OP_N	 200u
#define OP_LEN	 8192u

static uint8_t *contents;

static struct hostfile *make_file(struct err *e)
{
	struct hostfile *f =
	    host_open_file("batch", HOST_RDWR | HOST_CREATE, e);

	assert_non_null(f);
	contents = malloc(FILE_LEN);
	assert_non_null(contents);
	for (size_t i = 0; i < FILE_LEN; i++)
		contents[i] = (uint8_t)(i * 2654435761u >> 13);
	assert_int_equal(host_pwrite(f, contents, FILE_LEN, 0, e), 0);
	assert_int_equal(host_sync(f, e), 0);
	return f;
}

static void check_round(
    struct hostfile *f, struct rng *rng, bool cold, bool steps)
{
	static uint8_t buf[OP_N][OP_LEN];
	static struct batch_result result[OP_N];
	struct err e = ERR_INIT;
	struct batch *b = batch_new(&e);
	struct batch_op op[OP_N];

	assert_non_null(b);
	if (cold)
		posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	for (unsigned i = 0; i < OP_N; i++) {
		/* Some go past the end: zeroes there. */
		op[i] = (struct batch_op){.file = f,
		    .buf = buf[i],
		    .len = 1 + rng_below(rng, OP_LEN),
		    .off = rng_below(rng, FILE_LEN),
		    .result = &result[i]};
		if (i && rng_below(rng, 3) == 0)
			op[i].off = op[i - 1].off + op[i - 1].len;
		result[i] = (struct batch_result){.err = ERR_INIT};
		assert_int_equal(batch_add(b, &op[i], &e), 0);
	}
	if (steps) {
		batch_try(b);
		batch_wait(b);
	} else {
		batch_run(b);
	}
	for (unsigned i = 0; i < OP_N; i++) {
		uint64_t in = op[i].off < FILE_LEN
				  ? min_u64(op[i].len, FILE_LEN - op[i].off)
				  : 0;

		assert_false(err_is_set(&result[i].err));
		assert_int_equal(result[i].waiting, 0);
		assert_memory_equal(buf[i], contents + op[i].off, in);
		for (uint64_t k = in; k < op[i].len; k++)
			assert_int_equal(buf[i][k], 0);
	}
	batch_free(b);
}

static void test_contents(void **state)
{
	struct err e = ERR_INIT;
	struct hostfile *f = make_file(&e);
	struct rng rng = {1};

	(void)state;
	for (int i = 0; i < 8; i++)
		check_round(f, &rng, i & 1, i & 2);
	host_put(f);
	free(contents);
}

/* A write fails on a file opened read-only; its neighbours are read. */
static void test_errors(void **state)
{
	struct err e = ERR_INIT;
	struct batch_result result[3] = {0};
	struct hostfile *f = make_file(&e);
	struct hostfile *ro = host_open_file("batch", 0, &e);
	struct batch *b = batch_new(&e);
	uint8_t buf[3][512] = {0};

	(void)state;
	assert_non_null(ro);
	assert_non_null(b);
	for (unsigned i = 0; i < 3; i++) {
		struct batch_op op = {.file = ro,
		    .buf = buf[i],
		    .len = 512,
		    .off = 4096 * i,
		    .write = i == 1,
		    .result = &result[i]};

		assert_int_equal(batch_add(b, &op, &e), 0);
	}
	batch_run(b);
	assert_false(err_is_set(&result[0].err));
	assert_true(err_is_set(&result[1].err));
	assert_false(err_is_set(&result[2].err));
	assert_memory_equal(buf[2], contents + 8192, 512);
	batch_free(b);
	host_put(ro);
	host_put(f);
	free(contents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_contents),
	    cmocka_unit_test(test_errors),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
