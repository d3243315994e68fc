/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The qcow2 header, against headers that qemu-img made: what is read and
 * written again is the same byte for byte; what is damaged is refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "formats/qcow2/qcow2.h"
#include "tmpdir.h"

static bool run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A shell command. */
static bool run(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	assert_in_range(n, 1, sizeof cmd - 1);
	return system(cmd) == 0;
}

static void need_peer(void)
{
	if (!run("qemu-img --version >/dev/null 2>&1"))
		skip();
}

static struct hostfile *open_file(const char *name)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(name, 0, &e);

	assert_no_error(&e);
	return f;
}

/* ---- read, write again -------------------------------------------------- */

static void check_round_trip(const char *name)
{
	struct err e = ERR_INIT;
	struct hostfile *f = open_file(name);
	struct qcow2_header h;
	uint32_t len;
	uint8_t *want, *got;

	assert_ok(qcow2_header_read(f, false, &h, &e), &e);
	len = 1u << h.cluster_bits;
	want = calloc(1, len);
	got = calloc(1, len);
	assert_non_null(want);
	assert_non_null(got);
	assert_ok(host_pread(f, want, len, 0, &e), &e);
	assert_ok(qcow2_header_pack(&h, got, len, &e), &e);
	for (uint32_t i = 0; i < len; i++)
		if (want[i] != got[i])
			fail_msg("%s: byte %u is %#x, qemu-img has %#x", name,
			    i, got[i], want[i]);
	free(want);
	free(got);
	qcow2_header_clear(&h);
	host_put(f);
}

static void round_trip(void **state)
{
	static const char *const options[] = {
	    "compat=1.1",
	    "compat=0.10",
	    "compat=v2 -b base.qcow2 -F qcow2",
	    "lazy_refcounts=on,refcount_bits=1",
	    "refcount_bits=64,cluster_size=512",
	    "cluster_size=4k -b base.qcow2 -F qcow2",
	    "cluster_size=8k -b base.qcow2 -F qcow2",
	    "cluster_size=2M,compression_type=zstd",
	    "extended_l2=on -b base.qcow2 -F qcow2",
	    "data_file=data.raw",
	    "data_file=data.raw,data_file_raw=on,cluster_size=1k",
	};

	(void)state;
	need_peer();
	assert_true(run("qemu-img create -q -f qcow2 base.qcow2 3M"));
	for (size_t i = 0; i < ARRAY_N(options); i++) {
		assert_true(run("qemu-img create -q -f qcow2 -o %s i.qcow2 7M",
		    options[i]));
		check_round_trip("i.qcow2");
	}
	assert_true(run("qemu-img create -q -f qcow2 i.qcow2 0"));
	check_round_trip("i.qcow2");
	assert_true(run("qemu-img create -q -f qcow2 i.qcow2 1T && "
			"qemu-img snapshot -c one i.qcow2 && "
			"qemu-img bitmap --add i.qcow2 b0"));
	check_round_trip("i.qcow2");
}

/* Fields and extensions that we do not know are still there. */
static void unknown_kept(void **state)
{
	static const uint8_t ext[16] = {0x12, 0x34, 0x56, 0x78, 0, 0, 0, 5, 'h',
	    'e', 'l', 'l', 'o', 0, 0, 0};
	static const uint8_t more[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t in[65536] = {0}, out[65536] = {0}, zero[8] = {0};
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("disk", 4 * 65536, &e);
	struct qcow2_header h;

	(void)state;
	put_be32(in, QCOW2_MAGIC);
	put_be32(in + 4, 3);
	put_be32(in + 20, 16);
	put_be64(in + 48, 65536);
	put_be32(in + 56, 1);
	put_be32(in + 96, 4);
	put_be32(in + 100, 120);
	memcpy(in + 112, more, sizeof more);
	memcpy(in + 120, ext, sizeof ext);
	assert_ok(host_pwrite(f, in, sizeof in, 0, &e), &e);
	assert_ok(qcow2_header_read(f, false, &h, &e), &e);
	assert_ok(qcow2_header_pack(&h, out, sizeof out, &e), &e);
	assert_int_equal(be32(out + 100), 120);
	assert_memory_equal(out + 112, more, sizeof more);
	assert_int_equal(be32(out + 120), QCOW2_EXT_FEATURES);
	assert_memory_equal(out + 120 + 8 + 384, ext, sizeof ext);
	assert_memory_equal(out + 120 + 8 + 384 + 16, zero, sizeof zero);
	qcow2_header_clear(&h);
	host_put(f);
}

/* ---- damage -------------------------------------------------------------- */

struct damage {
	uint32_t at;
	unsigned len; /* bytes: 1, 4, 8 */
	uint64_t value;
	const char *text; /* in the message; NULL: it is accepted */
	int errnum;
};

static const struct damage damages[] = {
    {0, 4, 0, "Image is not in qcow2 format", EINVAL},
    {4, 4, 1, "Unsupported qcow2 version 1", ENOTSUP},
    {4, 4, 4, "Unsupported qcow2 version 4", ENOTSUP},
    {8, 8, 8, "backing_file_offset is 8", EINVAL},
    {8, 8, 65536, "backing_file_offset is 65536", EINVAL},
    {8, 8, UINT64_MAX, "backing_file_offset", EINVAL},
    {16, 4, 1024, "backing_file_size is 1024: must be at most 1023", EINVAL},
    {16, 4, UINT32_MAX, "backing_file_size", EINVAL},
    {20, 4, 8, "cluster_bits is 8 (0x8): must be 9 to 21", EINVAL},
    {20, 4, 22, "cluster_bits is 22", EINVAL},
    {20, 4, 64, "cluster_bits is 64", EINVAL},
    {24, 8, 1ull << 63, "size is 9223372036854775808", EINVAL},
    {24, 8, INT64_MAX, "l1_size is 1: a disk of", EINVAL},
    {24, 8, 512ull << 20, NULL, 0},
    {24, 8, (512ull << 20) + 1, "must have at least 2", EINVAL},
    {32, 4, 1, NULL, 0},
    {32, 4, 2, "method 2 without an encryption header", EINVAL},
    {32, 4, 3, "Unsupported encryption method 3", ENOTSUP},
    {36, 4, 0, "l1_size is 0", EINVAL},
    {36, 4, 2, "must end within the file's", EINVAL},
    {36, 4, 4194305, "l1_size is 4194305: must be at most 4194304", EINVAL},
    {36, 4, UINT32_MAX, "l1_size", EINVAL},
    {40, 8, 0, "l1_table_offset is 0", EINVAL},
    {40, 8, 196609, "l1_table_offset is 196609", EINVAL},
    {40, 8, 1ull << 40, "l1_table_offset", EINVAL},
    {40, 8, UINT64_MAX - 65535, "l1_table_offset", EINVAL},
    {48, 8, 0, "refcount_table_offset is 0", EINVAL},
    {48, 8, 65537, "refcount_table_offset is 65537", EINVAL},
    {48, 8, 1ull << 62, "refcount_table_offset", EINVAL},
    {56, 4, 0, "refcount_table_clusters is 0: must be 1 to 128", EINVAL},
    {56, 4, 129, "refcount_table_clusters is 129", EINVAL},
    {56, 4, UINT32_MAX, "refcount_table_clusters", EINVAL},
    {60, 4, 1, "snapshots_offset is 0", EINVAL},
    {60, 4, 65537, "nb_snapshots is 65537: must be at most 65536", EINVAL},
    {72, 8, 3, NULL, 0}, /* dirty, corrupt */
    {72, 8, 4, NULL, 0}, /* data file: its name may come from elsewhere */
    {72, 8, 8, "compression_type is 0", EINVAL},
    {72, 8, 0x20, "feature(s): Unknown incompatible feature: 20", ENOTSUP},
    {72, 8, 1ull << 63, "feature: 8000000000000000", ENOTSUP},
    {80, 8, UINT64_MAX, NULL, 0}, /* compatible: whatever it is */
    {88, 8, UINT64_MAX, NULL, 0}, /* autoclear: the same        */
    {96, 4, 7, "refcount_order is 7: must be at most 6", EINVAL},
    {100, 4, 96, "header_length is 96", EINVAL},
    {100, 4, 108, "header_length is 108", EINVAL},
    {100, 4, 65544, "header_length is 65544", EINVAL},
    {104, 1, 1, "compression_type is 1", EINVAL},
    {104, 1, 2, "compression_type is 2", ENOTSUP},
    {112, 4, 0x0537be77, "length of the encryption extension is 5", EINVAL},
    {116, 4, UINT32_MAX, "extension", EINVAL},
    {116, 4, 65536, "extension", EINVAL},
};

static void poke(uint8_t *p, const struct damage *d)
{
	if (d->len == 8)
		put_be64(p + d->at, d->value);
	else if (d->len == 4)
		put_be32(p + d->at, (uint32_t)d->value);
	else
		p[d->at] = (uint8_t)d->value;
}

/* A copy of qemu-img's image in memory, with one change. */
static struct hostfile *damaged(
    const uint8_t *image, size_t len, const struct damage *d)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("disk", len, &e);
	uint8_t *p = malloc(len);

	assert_non_null(p);
	memcpy(p, image, len);
	if (d)
		poke(p, d);
	assert_ok(host_pwrite(f, p, len, 0, &e), &e);
	free(p);
	return f;
}

static uint8_t *load(const char *name, size_t *len)
{
	struct err e = ERR_INIT;
	struct hostfile *f = open_file(name);
	uint8_t *p;

	*len = host_size(f);
	p = malloc(*len);
	assert_non_null(p);
	assert_ok(host_pread(f, p, *len, 0, &e), &e);
	host_put(f);
	return p;
}

static void hostile(void **state)
{
	size_t len;
	uint8_t *image;

	(void)state;
	need_peer();
	assert_true(run("qemu-img create -q -f qcow2 base.qcow2 3M && "
			"qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "
			"i.qcow2"));
	image = load("i.qcow2", &len);
	for (size_t i = 0; i < ARRAY_N(damages); i++) {
		const struct damage *d = &damages[i];
		struct hostfile *f = damaged(image, len, d);
		struct err e = ERR_INIT;
		struct qcow2_header h;

		if (d->text) {
			assert_fails(qcow2_header_read(f, false, &h, &e), &e,
			    d->errnum, d->text);
		} else {
			assert_ok(qcow2_header_read(f, false, &h, &e), &e);
			qcow2_header_clear(&h);
		}
		host_put(f);
	}
	free(image);
}

/* Cut anywhere, down to the last byte of the L1 table. */
static void truncated(void **state)
{
	static const size_t keep[] = {0, 3, 4, 8, 71, 72, 103, 104, 111, 112,
	    200, 527, 65536, 131072, 196608, 196615};
	size_t len;
	uint8_t *image;

	(void)state;
	need_peer();
	assert_true(run("qemu-img create -q -f qcow2 base.qcow2 3M && "
			"qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "
			"i.qcow2"));
	image = load("i.qcow2", &len);
	assert_int_equal(len, 196616);
	for (size_t i = 0; i < ARRAY_N(keep); i++) {
		struct hostfile *f = damaged(image, len, NULL);
		struct err e = ERR_INIT;
		struct qcow2_header h;

		assert_ok(host_truncate(f, keep[i], &e), &e);
		assert_fails(
		    qcow2_header_read(f, false, &h, &e), &e, EINVAL, "");
		host_put(f);
	}
	free(image);
}

/* Names of features come from the image, and only for the right kind. */
static void feature_names(void **state)
{
	struct damage d = {72, 8, 0xe0, NULL, 0};
	struct err e = ERR_INIT;
	struct qcow2_header h;
	struct hostfile *f;
	uint8_t *image, *names;
	size_t len;

	(void)state;
	need_peer();
	assert_true(run("qemu-img create -q -f qcow2 i.qcow2 3M"));
	image = load("i.qcow2", &len);
	names = image + 112 + 8;
	memcpy(names, "\0\5shiny new thing\0", 18);
	memcpy(names + 48, "\1\6of another kind\0", 18);
	memcpy(names + 96, "\0\7", 2);
	memset(names + 98, 'x', 46); /* full length, no zero at the end */
	f = damaged(image, len, &d);
	assert_fails(qcow2_header_read(f, false, &h, &e), &e, ENOTSUP,
	    "Unsupported qcow2 feature(s): shiny new thing, "
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, "
	    "Unknown incompatible feature: 40");
	host_put(f);
	free(image);
}

/* Names that do not fit into the first cluster. */
static void no_room(void **state)
{
	char name[600];
	uint8_t buf[512] = {0};
	struct qcow2_header h = {.version = 3, .cluster_bits = 9};
	struct err e = ERR_INIT;

	(void)state;
	memset(name, 'n', sizeof name);
	name[512 - 112 - 8] = 0;
	h.backing = name;
	assert_ok(qcow2_header_pack(&h, buf, sizeof buf, &e), &e);
	name[512 - 112 - 8] = 'n';
	name[512 - 112 - 7] = 0;
	assert_fails(qcow2_header_pack(&h, buf, sizeof buf, &e), &e, ENOSPC,
	    "do not fit");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(round_trip),
	    cmocka_unit_test(unknown_kept),
	    cmocka_unit_test(hostile),
	    cmocka_unit_test(truncated),
	    cmocka_unit_test(feature_names),
	    cmocka_unit_test(no_room),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
