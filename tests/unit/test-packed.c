/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several threads read parts of the same packed units, of a cloop image: each
 * gets the right bytes, and of a damaged unit an error, and nobody waits for
 * ever.
 */
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/driver.h"
#include "tests/lib/rng.h"

#define BLOCK_LEN 65536u
#define BLOCK_N	  12u
#define BAD_BLOCK 5u
#define SIZE	  (BLOCK_LEN * BLOCK_N)
#define READERS	  4u
#define READS	  400u

static uint8_t disk[SIZE];

static void put(struct hostfile *f, const void *buf, size_t len, uint64_t off)
{
	struct err e = ERR_INIT;

	assert_ok(host_pwrite(f, buf, len, off, &e), &e);
}

static struct image *make_image(void)
{
	const struct img_open how = {.format = "cloop"};
	uint64_t at = 136 + 8 * (BLOCK_N + 1);
	uint8_t head[136] = "#!/bin/sh\n#V2.0 Format\n", entry[8];
	static uint8_t packed[2 * BLOCK_LEN];
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("disk", 0, &e);
	struct image *img;

	put_be32(head + 128, BLOCK_LEN);
	put_be32(head + 132, BLOCK_N);
	put(f, head, sizeof head, 0);
	for (unsigned i = 0; i <= BLOCK_N; i++) {
		uLongf len = sizeof packed;

		put_be64(entry, at);
		put(f, entry, 8, 136 + 8 * i);
		if (i == BLOCK_N)
			break;
		assert_int_equal(compress(packed, &len,
				     disk + (size_t)i * BLOCK_LEN, BLOCK_LEN),
		    Z_OK);
		if (i == BAD_BLOCK)
			packed[0] = 0;
		put(f, packed, len, at);
		at += len;
	}
	img = img_open_host(f, &how, &e);
	assert_no_error(&e);
	return img;
}

struct reader {
	struct image *img;
	struct rng rng;
	unsigned wrong, errors, in_bad;
};

/* A part of one block. */
static void read_one(struct reader *r)
{
	static const uint64_t most = BLOCK_LEN;
	uint64_t block = rng_below(&r->rng, BLOCK_N), at, len;
	struct err e = ERR_INIT;
	uint8_t *buf;

	at = rng_below(&r->rng, most);
	len = 1 + rng_below(&r->rng, most - at);
	buf = malloc(len);
	at += block * BLOCK_LEN;
	r->in_bad += block == BAD_BLOCK;
	if (!buf || img_pread(r->img, buf, len, at, &e))
		r->errors++;
	else
		r->wrong += memcmp(buf, disk + at, len) != 0;
	free(buf);
}

static void *run_reader(void *arg)
{
	struct reader *r = arg;

	for (unsigned i = 0; i < READS; i++)
		read_one(r);
	return NULL;
}

static void test_readers(void **unused)
{
	struct reader r[READERS];
	pthread_t thread[READERS];
	struct rng rng = {.state = 1};
	struct image *img;

	(void)unused;
	rng_fill(&rng, disk, sizeof disk);
	for (size_t i = 0; i < sizeof disk; i++)
		disk[i] &= 0x1f;
	img = make_image();
	for (unsigned i = 0; i < READERS; i++) {
		r[i] = (struct reader){.img = img, .rng = {.state = i}};
		assert_int_equal(
		    pthread_create(&thread[i], NULL, run_reader, &r[i]), 0);
	}
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(r[i].wrong, 0);
		assert_true(r[i].in_bad > 0);
		assert_int_equal(r[i].errors, r[i].in_bad);
	}
	img_drop(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
