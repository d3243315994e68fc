/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "check.h"
#include "config.h"
#include "disk.h"
#include "formats/core/units.h"
#include "formats/core/zero.h"
#include "rng.h"

#define SIZE (9 * MiB + 1536) /* ends inside a unit */

static uint8_t want[16 * MiB];

static struct img_copy job_of(struct disk *src, struct disk *dst)
{
	return (struct img_copy){
	    .src = &src->img,
	    .src_n = 1,
	    .dst = dst->img,
	    .len = UINT64_MAX,
	    .sparse_len = 4096,
	    .threads = 4,
	};
}

static void copy(const struct img_copy *job)
{
	struct err e = ERR_INIT;

	assert_ok(img_copy(job, &e), &e);
}

/* Zeroes take no space, but for those that share 64 KiB with data. */
static void expect_sparse(const struct disk *d, const uint8_t *bytes)
{
	uint64_t needed = MiB + 4 * img_cluster_size(d->img); /* tables */

	for (uint64_t at = 0; at < SIZE; at += 65536)
		if (!is_zero(bytes + at, min_u64(65536, SIZE - at)))
			needed += 65536;
	assert_in_range(host_disk_len(d->file), 1, needed);
}

static const struct target {
	const char *format, *options;
	unsigned flags;
} targets[] = {
    {"raw", NULL, 0},
    {"qcow2", NULL, 0},
    {"qcow2", "cluster_size=512", 0},
    {"qcow2", "cluster_size=2M", 0},
    {"qcow2", "extended_l2=on", 0},
    {"qcow2", "compat=0.10", 0},
    {"qcow2", NULL, IMG_COPY_PACK},
    {"qcow2", "cluster_size=4k", IMG_COPY_PACK},
#ifdef HAVE_ZSTD
    {"qcow2", "compression_type=zstd", IMG_COPY_PACK},
#endif
    {"qcow2", NULL, IMG_COPY_UNORDERED},
};

/* Every kind of target, new and full of something else. */
static void contents(void **state)
{
	struct disk src = disk_new("raw", SIZE, NULL);

	(void)state;
	disk_fill(&src, want, 1);
	for (size_t i = 0; i < ARRAY_N(targets); i++) {
		const struct target *t = &targets[i];
		struct disk dst = disk_new(t->format, SIZE, t->options);
		struct img_copy job = job_of(&src, &dst);

		job.flags = t->flags;
		copy(&job);
		disk_expect(&dst, want, SIZE, 0);
		expect_sparse(&dst, want);
		disk_reopen(&dst, t->format);
		disk_expect(&dst, want, SIZE, 0);
		disk_free(&dst);

		dst = disk_new(t->format, SIZE, t->options);
		disk_fill(&dst, want, 2);
		job = job_of(&src, &dst);
		job.flags = t->flags;
		disk_fill(&src, want, 1);
		copy(&job);
		disk_reopen(&dst, t->format);
		disk_expect(&dst, want, SIZE, 0);
		disk_free(&dst);
	}
	disk_free(&src);
}

/* The bytes of the file do not depend on the threads. */
static void same_bytes(void **state)
{
	struct disk src = disk_new("raw", SIZE, NULL);

	(void)state;
	disk_fill(&src, want, 3);
	for (size_t i = 0; i < ARRAY_N(targets) - 1; i++) {
		const struct target *t = &targets[i];
		CLEANUP_FREE uint8_t *first = NULL;
		uint64_t first_len = 0;

		for (unsigned n = 1; n <= 16; n *= 2) {
			struct disk dst = disk_new(t->format, SIZE, t->options);
			struct img_copy job = job_of(&src, &dst);
			CLEANUP_FREE uint8_t *bytes = NULL;
			uint64_t len;

			job.flags = t->flags;
			job.threads = n;
			copy(&job);
			disk_reopen(&dst, t->format);
			bytes = disk_bytes(&dst, &len);
			disk_free(&dst);
			if (n == 1) {
				first = take(bytes);
				first_len = len;
				continue;
			}
			assert_int_equal(len, first_len);
			assert_memory_equal(bytes, first, len);
		}
	}
	disk_free(&src);
}

/* Sources and targets that begin and end anywhere. */
static void odd_places(void **state)
{
	static uint8_t part[3 * MiB], old[4 * MiB];
	struct rng r = {.state = 4};
	struct disk src[3];
	struct image *in[3];
	uint64_t size = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t n = MiB / 2 + 512 * rng_below(&r, 1000) + i;

		src[i] = disk_new("raw", n, NULL);
		disk_fill(&src[i], want + size, i);
		in[i] = src[i].img;
		size += img_size(in[i]);
	}
	for (unsigned i = 0; i < 20; i++) {
		struct disk dst =
		    disk_new(i % 2 ? "qcow2" : "raw", 4 * MiB, NULL);
		uint64_t skip = rng_below(&r, size);
		uint64_t len = rng_below(&r, size - skip);
		uint64_t to = rng_below(&r, 4 * MiB - len);
		struct img_copy job = {
		    .src = in,
		    .src_n = 3,
		    .dst = dst.img,
		    .dst_off = to,
		    .src_off = skip,
		    .len = len,
		    .flags = i % 4 == 1 ? IMG_COPY_PACK : 0,
		    .sparse_len = i % 5 ? 4096 : 0,
		    .threads = 3,
		};

		rng_fill(&r, old, sizeof old);
		disk_write(&dst, old, sizeof old, 0);
		copy(&job);
		memcpy(part, want + skip, len);
		memcpy(old + to, part, len);
		disk_expect(&dst, old, sizeof old, 0);
		disk_free(&dst);
	}
	for (unsigned i = 0; i < 3; i++)
		disk_free(&src[i]);
}

static void all_data(void **state)
{
	struct disk src = disk_new("qcow2", SIZE, NULL);
	struct disk dst = disk_new("qcow2", SIZE, NULL);
	struct img_copy job = job_of(&src, &dst);
	struct err e = ERR_INIT;
	struct img_extent x;

	(void)state;
	disk_fill(&src, want, 5);
	job.sparse_len = 0;
	copy(&job);
	disk_expect(&dst, want, SIZE, 0);
	assert_ok(img_map(dst.img, 0, SIZE, &x, &e), &e);
	assert_true(x.data && !x.zero);
	assert_int_equal(x.len, SIZE);
	disk_free(&dst);
	disk_free(&src);
}

/* A disk with nothing in it takes no time, whatever its size. */
static void huge_and_empty(void **state)
{
	struct disk src = disk_new("qcow2", 16 * TiB, NULL);
	struct disk dst = disk_new("qcow2", 16 * TiB, NULL);
	struct img_copy job = job_of(&src, &dst);
	static const uint8_t text[] = "at the end";

	(void)state;
	disk_write(&src, text, sizeof text, 16 * TiB - sizeof text);
	copy(&job);
	disk_expect(&dst, text, sizeof text, 16 * TiB - sizeof text);
	assert_in_range(host_size(dst.file), 1, 8 * MiB);
	disk_free(&dst);
	disk_free(&src);
}

static void wrong_jobs(void **state)
{
	struct disk src = disk_new("raw", MiB, NULL);
	struct disk dst = disk_new("raw", MiB - 512, NULL);
	struct img_copy job = job_of(&src, &dst);
	struct err e = ERR_INIT;

	(void)state;
	assert_fails(img_copy(&job, &e), &e, EINVAL,
	    "output file is smaller than input file");
	job.len = MiB - 512;
	copy(&job);
	job.src_off = MiB + 1;
	assert_fails(img_copy(&job, &e), &e, EINVAL, "bytes to skip");
	job.src_off = MiB; /* nothing is left: nothing to do */
	copy(&job);
	job.src_off = 0;
	job.flags = IMG_COPY_PACK;
	assert_fails(img_copy(&job, &e), &e, ENOTSUP,
	    "Compression not supported for this file format");
	disk_free(&dst);
	disk_free(&src);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(contents),
	    cmocka_unit_test(same_bytes),
	    cmocka_unit_test(odd_places),
	    cmocka_unit_test(all_data),
	    cmocka_unit_test(huge_and_empty),
	    cmocka_unit_test(wrong_jobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
