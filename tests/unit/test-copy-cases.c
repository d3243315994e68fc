/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies with backing files, in the kernel, of damaged sources; and copies
 * that fail or are stopped. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "chain.h"
#include "check.h"
#include "disk.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "tmpdir.h"

#define SIZE (6 * MiB)

static uint8_t want[SIZE];

static struct img_copy job_of(struct image **src, struct image *dst)
{
	return (struct img_copy){
	    .src = src,
	    .src_n = 1,
	    .dst = dst,
	    .len = UINT64_MAX,
	    .sparse_len = 4096,
	    .threads = 4,
	};
}

/* ---- with backing files -------------------------------------------------- */

static void put(struct image *img, int byte, size_t len, uint64_t off)
{
	struct err e = ERR_INIT;

	memset(want + off, byte, len);
	if (byte)
		assert_ok(img_pwrite(img, want + off, len, off, 0, &e), &e);
	else
		assert_ok(img_zero(img, len, off, 0, &e), &e);
}

static void expect(struct image *img)
{
	struct err e = ERR_INIT;
	CLEANUP_FREE uint8_t *got = malloc(SIZE);

	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_memory_equal(got, want, SIZE);
}

static void expect_present(struct image *img, uint64_t off, bool present)
{
	struct err e = ERR_INIT;
	struct img_extent x;

	assert_ok(img_map_layer(img, off, 65536, &x, &e), &e);
	assert_int_equal(x.present, present);
	assert_int_equal(x.len, 65536);
}

/* base <- mid <- top, copied to an overlay on base. */
static void overlay_on_base(const char *options)
{
	struct image *base =
	    chain_layer("base", SIZE, NULL, "cluster_size=64k");
	struct image *mid, *top;
	struct image *dst;
	struct img_copy job;
	struct err e = ERR_INIT;

	memset(want, 0, sizeof want);
	put(base, 'b', MiB, 0);
	put(base, 'c', 65536, 5 * MiB);
	assert_ok(img_close(base, &e), &e);
	mid = chain_layer("mid", SIZE, "base", "cluster_size=4k");
	put(mid, 'm', 65536, 128 * KiB);
	put(mid, 'n', 4096, 2 * MiB + 8192); /* less than a unit of dst */
	assert_ok(img_close(mid, &e), &e);
	top = chain_layer("top", SIZE, "mid", "cluster_size=4k");
	put(top, 't', 65536, 256 * KiB);
	put(top, 0, 65536, 512 * KiB);	     /* hides base */
	put(top, 0, 4096, 640 * KiB + 4096); /* in part */
	put(top, 0, 65536, 4 * MiB);	     /* hides nothing */
	dst = chain_layer("dst", SIZE, "base", options);

	job = job_of(&top, dst);
	job.backing = true;
	assert_ok(img_copy(&job, &e), &e);
	expect(dst);
	expect_present(dst, 0, false);
	expect_present(dst, 128 * KiB, true);
	expect_present(dst, 192 * KiB, false);
	expect_present(dst, 256 * KiB, true);
	expect_present(dst, 512 * KiB, true);
	expect_present(dst, 640 * KiB, true);
	expect_present(dst, MiB, false);
	expect_present(dst, 5 * MiB, false);
	assert_ok(img_close(dst, &e), &e);
	assert_ok(img_close(top, &e), &e);
}

static void backing(void **state)
{
	(void)state;
	overlay_on_base("cluster_size=64k");
	overlay_on_base("cluster_size=64k,extended_l2=on");
}

/* A source that has no layers hides nothing: its holes are zeroes. */
static void flat_on_base(void **state)
{
	struct image *base =
	    chain_layer("base", SIZE, NULL, "cluster_size=64k");
	struct image *src, *dst;
	struct img_copy job;
	struct err e = ERR_INIT;

	(void)state;
	put(base, 'b', SIZE, 0);
	assert_ok(img_close(base, &e), &e);
	memset(want, 0, sizeof want);
	src = chain_layer("flat", SIZE, NULL, "cluster_size=64k");
	put(src, 'f', 65536, 0);
	dst = chain_layer("dst", SIZE, "base", "cluster_size=64k");
	job = job_of(&src, dst);
	job.backing = true;
	assert_ok(img_copy(&job, &e), &e);
	expect(dst);
	assert_ok(img_close(dst, &e), &e);
	assert_ok(img_close(src, &e), &e);
}

/* ---- in the kernel ------------------------------------------------------- */

static void in_kernel(void **state)
{
	static const char *const formats[] = {"raw", "qcow2"};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct err e = ERR_INIT;
		struct disk src =
		    disk_new_on(host_open_file("from",
				    HOST_RDWR | HOST_CREATE | HOST_TRUNC, &e),
			formats[i & 1], SIZE, NULL);
		struct disk dst =
		    disk_new_on(host_open_file("to",
				    HOST_RDWR | HOST_CREATE | HOST_TRUNC, &e),
			formats[i >> 1], SIZE, NULL);
		struct img_copy job = job_of(&src.img, dst.img);

		assert_no_error(&e);
		disk_fill(&src, want, i);
		job.flags = IMG_COPY_OFFLOAD;
		assert_ok(img_copy(&job, &e), &e);
		disk_expect(&dst, want, SIZE, 0);
		disk_free(&src);
		disk_free(&dst);
	}
}

/* Memory cannot do it: the bytes are copied all the same. */
static void not_in_kernel(void **state)
{
	struct disk src = disk_new("raw", SIZE, NULL);
	struct disk dst = disk_new("qcow2", SIZE, NULL);
	struct img_copy job = job_of(&src.img, dst.img);
	struct err e = ERR_INIT;

	(void)state;
	disk_fill(&src, want, 7);
	job.flags = IMG_COPY_OFFLOAD;
	assert_ok(img_copy(&job, &e), &e);
	disk_expect(&dst, want, SIZE, 0);
	disk_free(&src);
	disk_free(&dst);
}

/* ---- damaged sources ----------------------------------------------------- */

static struct disk faulty(const char *format)
{
	struct err e = ERR_INIT;

	return disk_new_on(faultfile_new(host_open_memory("faulty", 0, &e), &e),
	    format, SIZE, NULL);
}

static void count_line(void *arg, const char *line)
{
	unsigned *n = arg;

	assert_non_null(strstr(line, "error while reading offset "));
	++*n;
}

static void read_error(void **state)
{
	struct disk src = faulty("raw"), dst = disk_new("qcow2", SIZE, NULL);
	struct img_copy job = job_of(&src.img, dst.img);
	struct err e = ERR_INIT;
	unsigned warnings = 0;

	(void)state;
	memset(want, 'x', SIZE);
	disk_write(&src, want, SIZE, 0);
	job.threads = 1;
	faultfile_fail(src.file, FAULT_READ, 2, EIO, false);
	assert_fails(img_copy(&job, &e), &e, EIO,
	    "error while reading at byte 524288: ");

	/* No sector can be read. */
	job.flags = IMG_COPY_SALVAGE;
	job.warn = count_line;
	job.warn_arg = &warnings;
	faultfile_fail(src.file, FAULT_READ, 1, EIO, true);
	assert_ok(img_copy(&job, &e), &e);
	assert_int_equal(warnings, SIZE / 512);
	memset(want, 0, SIZE);
	disk_expect(&dst, want, SIZE, 0);

	/* A chunk cannot be read at once, but each of its sectors can. */
	warnings = 0;
	faultfile_fail(src.file, FAULT_READ, 2, EIO, false);
	assert_ok(img_copy(&job, &e), &e);
	assert_int_equal(warnings, 0);
	memset(want, 'x', SIZE);
	disk_expect(&dst, want, SIZE, 0);
	disk_free(&src);
	disk_free(&dst);
}

/* Whatever host call of the target fails, the copy fails and nothing hangs. */
static void write_errors(void **state)
{
	struct disk src = disk_new("raw", SIZE, NULL);
	bool hit = true;

	(void)state;
	disk_fill(&src, want, 8);
	for (uint64_t n = 1; hit; n++) {
		struct disk dst = faulty("qcow2");
		struct img_copy job = job_of(&src.img, dst.img);
		struct err e = ERR_INIT;
		int rc;

		job.flags = n % 2 ? IMG_COPY_PACK : 0;
		faultfile_fail(dst.file, FAULT_CHANGES, n, ENOSPC, false);
		rc = img_copy(&job, &e);
		hit = faultfile_hit(dst.file);
		assert_int_equal(rc, hit ? -1 : 0);
		if (hit) {
			assert_int_equal(e.errnum, ENOSPC);
			assert_non_null(
			    strstr(e.msg, "error while writing at byte "));
		}
		disk_free(&dst);
		n += n / 8;
	}
	disk_free(&src);
}

/* ---- progress, stopping, pace -------------------------------------------- */

struct steps {
	uint64_t last, total, n, stop_at;
};

static int step(void *arg, uint64_t done, uint64_t total)
{
	struct steps *s = arg;

	if (done < s->last || done > total)
		s->n = UINT64_MAX / 2; /* never again a sensible number */
	s->last = done;
	s->total = total;
	return ++s->n == s->stop_at;
}

static void progress(void **state)
{
	struct disk src = disk_new("raw", SIZE, NULL);
	struct disk dst = disk_new("qcow2", SIZE, NULL);
	struct steps s = {0};
	struct img_copy job = job_of(&src.img, dst.img);
	struct err e = ERR_INIT;

	(void)state;
	disk_fill(&src, want, 9);
	job.progress = (struct img_progress){step, &s};
	assert_ok(img_copy(&job, &e), &e);
	assert_int_equal(s.total, SIZE);
	assert_int_equal(s.last, SIZE);
	assert_in_range(s.n, 3, 1000);

	s = (struct steps){.stop_at = 2};
	assert_fails(img_copy(&job, &e), &e, ECANCELED, "");
	assert_int_equal(s.n, 2);
	disk_free(&src);
	disk_free(&dst);
}

static void rate(void **state)
{
	struct disk src = disk_new("raw", SIZE, NULL);
	struct disk dst = disk_new("raw", SIZE, NULL);
	struct img_copy job = job_of(&src.img, dst.img);
	struct err e = ERR_INIT;
	struct timespec a, b;

	(void)state;
	memset(want, 'r', SIZE);
	disk_write(&src, want, SIZE, 0);
	/* Three chunks: the third waits until two are paid for. */
	job.rate = 16 * MiB;
	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_ok(img_copy(&job, &e), &e);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_in_range(
	    (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000,
	    249, 5000);
	disk_expect(&dst, want, SIZE, 0);
	disk_free(&src);
	disk_free(&dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(backing),
	    cmocka_unit_test(flat_on_base),
	    cmocka_unit_test(in_kernel),
	    cmocka_unit_test(not_in_kernel),
	    cmocka_unit_test(read_error),
	    cmocka_unit_test(write_errors),
	    cmocka_unit_test(progress),
	    cmocka_unit_test(rate),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
