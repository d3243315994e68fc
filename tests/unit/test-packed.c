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

#define READERS	 4u
#define DISK_LEN (28u << 20)

/* The blocks of the image. */
struct geometry {
	uint32_t len, n, bad; /* bytes, how many, the one that is damaged */
	unsigned reads;	      /* of each reader */
};

static uint8_t disk[DISK_LEN], packed[DISK_LEN];

static void put(struct hostfile *f, const void *buf, size_t len, uint64_t off)
{
	struct err e = ERR_INIT;

	assert_ok(host_pwrite(f, buf, len, off, &e), &e);
}

static struct image *make_image(const struct geometry *g)
{
	const struct img_open how = {.format = "cloop"};
	uint64_t at = 136 + 8 * (g->n + 1);
	uint8_t head[136] = "#!/bin/sh\n#V2.0 Format\n", entry[8];
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("disk", 0, &e);
	struct image *img;

	put_be32(head + 128, g->len);
	put_be32(head + 132, g->n);
	put(f, head, sizeof head, 0);
	for (unsigned i = 0; i <= g->n; i++) {
		uLongf len = sizeof packed;

		put_be64(entry, at);
		put(f, entry, 8, 136 + 8 * i);
		if (i == g->n)
			break;
		assert_int_equal(
		    compress(packed, &len, disk + (size_t)i * g->len, g->len),
		    Z_OK);
		if (i == g->bad)
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
	const struct geometry *g;
	struct rng rng;
	unsigned wrong, errors, in_bad;
};

/* A part of one block. */
static void read_one(struct reader *r)
{
	uint64_t most = r->g->len, at, len;
	uint64_t block = rng_below(&r->rng, r->g->n);
	struct err e = ERR_INIT;
	uint8_t *buf;

	at = rng_below(&r->rng, most);
	len = 1 + rng_below(&r->rng, most - at);
	buf = malloc(len);
	at += block * most;
	r->in_bad += block == r->g->bad;
	if (!buf || img_pread(r->img, buf, len, at, &e))
		r->errors++;
	else
		r->wrong += memcmp(buf, disk + at, len) != 0;
	free(buf);
}

static void *run_reader(void *arg)
{
	struct reader *r = arg;

	for (unsigned i = 0; i < r->g->reads; i++)
		read_one(r);
	return NULL;
}

static void test_readers(const struct geometry *g)
{
	struct reader r[READERS];
	pthread_t thread[READERS];
	struct rng rng = {.state = 1};
	struct image *img;

	rng_fill(&rng, disk, sizeof disk);
	for (size_t i = 0; i < sizeof disk; i++)
		disk[i] &= i & 0x8000 ? 0x1f : 0;
	img = make_image(g);
	for (unsigned i = 0; i < READERS; i++) {
		r[i] = (struct reader){.img = img, .g = g, .rng = {.state = i}};
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

static void in_cache(void **unused)
{
	static const struct geometry g = {65536, 12, 5, 400};

	(void)unused;
	test_readers(&g);
}

/* Longer than the window in which they are unpacked. */
static void in_streams(void **unused)
{
	static const struct geometry g = {9 << 20, 3, 1, 20};

	(void)unused;
	test_readers(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_cache), cmocka_unit_test(in_streams)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
