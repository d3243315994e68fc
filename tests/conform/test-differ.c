/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same random operations through qemu-io and through our API, on two
 * copies of an image that qemu-img made; then the two change sides.  Contents
 * stay equal, and qemu-img check finds nothing in either.
 *
 * CONFORM_SEED changes the run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base.h"
#include "check.h"
#include "formats/codec/codec.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "group.h"
#include "hostio.h"
#include "peer.h"
#include "rng.h"
#include "tmpdir.h"

#define OP_N	40
#define ROUND_N 3

struct start {
	const char *name;
	const char *options; /* of qemu-img; NULL none */
	uint64_t size;
	bool content; /* begins with data, compressed */
	enum base base;
	bool no_trim; /* trimmed bytes are not the same in both */
};

static const struct start starts[] = {
    {"512", "cluster_size=512", 1 * MiB + 512, false, 0, false},
    {"512, refcount 64", "cluster_size=512,refcount_bits=64", 3 * MiB, false, 0,
	false},
    {"4k, refcount 1", "cluster_size=4k,refcount_bits=1", 3 * MiB, false, 0,
	false},
    {"64k", "cluster_size=64k", 5 * MiB + 1024, false, 0, false},
    {"64k, lazy", "lazy_refcounts=on", 4 * MiB, false, 0, false},
    {"2M", "cluster_size=2M", 9 * MiB, false, 0, false},
    {"version 2", "compat=0.10", 4 * MiB + 512, false, 0, false},
    {"version 2, base", "compat=0.10,cluster_size=4k", 3 * MiB, false, BASE_RAW,
	true},
    {"base", "cluster_size=16k", 3 * MiB + 512, false, BASE_QCOW2_SHORT, true},
    {"extended", "extended_l2=on,cluster_size=16k", 3 * MiB + 512, false,
	BASE_RAW, true},
    {"extended 64k", "extended_l2=on", 3 * MiB + 512, false, BASE_NONE, false},
    {"zlib", "cluster_size=4k", 3 * MiB, true, 0, false},
    {"zstd", "compression_type=zstd", 4 * MiB, true, 0, false},
    {"zlib, extended", "extended_l2=on,cluster_size=16k", 3 * MiB, true, 0,
	false},
};

enum kind { WRITE, ZERO, ZERO_TRIM, TRIM, FLUSH, KIND_N };

struct op {
	enum kind kind;
	uint64_t off, len;
	uint8_t byte;
};

static void run(const char *const *argv)
{
	char out[2048];

	if (peer_run(argv, out, sizeof out))
		fail_msg("%s: %s", argv[0], out);
}

static uint64_t seed_of_env(void)
{
	const char *text = getenv("CONFORM_SEED");

	return text ? strtoull(text, NULL, 0) : 1;
}

/* ---- the two images ----------------------------------------------------- */

static void make_first(const struct start *s)
{
	CLEANUP_FREE uint8_t *bytes = calloc(1, s->size);
	const char *name, *format;
	char size[24];
	const char *convert[] = {"qemu-img", "convert", "-c", "-f", "raw", "-O",
	    "qcow2", "-o", s->options, "source.raw", "a.qcow2", NULL};
	const char *create[16] = {"qemu-img", "create", "-q", "-f", "qcow2",
	    "-o", s->options, "a.qcow2", size};

	base_make(s->base, s->size, seed_of_env(), bytes, &name, &format);
	snprintf(size, sizeof size, "%llu", (unsigned long long)s->size);
	if (s->base) {
		create[9] = "-b";
		create[10] = name;
		create[11] = "-F";
		create[12] = format;
	}
	run(s->content ? convert : create);
}

static void make_both(const struct start *s)
{
	struct err e = ERR_INIT;
	struct hostfile *f;

	make_first(s);
	f = host_open_file("a.qcow2", 0, &e);
	assert_no_error(&e);
	assert_ok(hostio_save(f, "b.qcow2", &e), &e);
	host_put(f);
}

/* ---- operations --------------------------------------------------------- */

static void make_ops(const struct start *s, struct rng *r, struct op *op)
{
	for (unsigned i = 0; i < OP_N; i++, op++) {
		op->kind = (enum kind)rng_below(r, KIND_N);
		if (op->kind == TRIM && s->no_trim)
			op->kind = WRITE;
		op->off = rng_below(r, s->size);
		op->len = 1 + rng_below(r, 3 * 65536);
		if (rng_below(r, 2)) {
			op->off = round_down(op->off, 65536);
			op->len = round_up(op->len, 65536);
		}
		op->len = min_u64(op->len, s->size - op->off);
		op->byte = (uint8_t)rng_below(r, 256);
	}
}

static void apply_peer(const char *path, const struct op *op)
{
	static char text[OP_N][80];
	const char *argv[9 + 2 * OP_N] = {
	    "qemu-io", "-t", "unsafe", "-f", "qcow2", "-d", "unmap"};
	size_t n = 7;

	for (unsigned i = 0; i < OP_N; i++, op++) {
		unsigned long long off = op->off, len = op->len;
		size_t max = sizeof text[i];

		switch (op->kind) {
		case WRITE:
			snprintf(text[i], max, "write -P %u %llu %llu",
			    op->byte, off, len);
			break;
		case ZERO:
			snprintf(text[i], max, "write -z %llu %llu", off, len);
			break;
		case ZERO_TRIM:
			snprintf(
			    text[i], max, "write -z -u %llu %llu", off, len);
			break;
		case TRIM:
			snprintf(text[i], max, "discard %llu %llu", off, len);
			break;
		case FLUSH:
		case KIND_N:
			snprintf(text[i], max, "flush");
			break;
		}
		argv[n++] = "-c";
		argv[n++] = text[i];
	}
	argv[n] = path;
	run(argv);
}

static int apply_one(struct image *img, const struct op *op, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = NULL;

	switch (op->kind) {
	case WRITE:
		buf = malloc(op->len);
		assert_non_null(buf);
		memset(buf, op->byte, op->len);
		return img_pwrite(img, buf, op->len, op->off, 0, e);
	case ZERO:
		return img_zero(img, op->len, op->off, 0, e);
	case ZERO_TRIM:
		return img_zero(img, op->len, op->off, IMG_MAY_TRIM, e);
	case TRIM:
		return img_trim(img, op->len, op->off, 0, e);
	case FLUSH:
	case KIND_N:
		break;
	}
	return img_flush(img, e);
}

static void apply_ours(const char *path, const struct op *op)
{
	const struct img_open how = {.format = "qcow2",
	    .flags = IMG_O_RDWR | IMG_O_DISCARD,
	    .cache = IMG_CACHE_UNSAFE};
	struct err e = ERR_INIT;
	struct image *img = img_open(path, &how, &e);

	assert_no_error(&e);
	for (unsigned i = 0; i < OP_N; i++)
		assert_ok(apply_one(img, &op[i], &e), &e);
	assert_ok(img_close(img, &e), &e);
}

/* ---- comparing ---------------------------------------------------------- */

static void compare(const struct start *s, unsigned round)
{
	static const char *const argv[] = {"qemu-img", "compare", "-f", "qcow2",
	    "-F", "qcow2", "a.qcow2", "b.qcow2", NULL};
	const struct img_open how = {.format = "qcow2"};
	CLEANUP_FREE uint8_t *a = malloc(s->size), *b = malloc(s->size);
	struct err e = ERR_INIT;
	struct image *img;
	char out[2048];

	assert_true(a && b);
	if (peer_run(argv, out, sizeof out))
		fail_msg("round %u: %s", round, out);
	if (peer_check("a.qcow2", out, sizeof out) ||
	    peer_check("b.qcow2", out, sizeof out))
		fail_msg("round %u: qemu-img check: %s", round, out);
	img = img_open("a.qcow2", &how, &e);
	assert_no_error(&e);
	assert_ok(img_pread(img, a, s->size, 0, &e), &e);
	img_drop(img);
	img = img_open("b.qcow2", &how, &e);
	assert_no_error(&e);
	assert_ok(img_pread(img, b, s->size, 0, &e), &e);
	img_drop(img);
	for (uint64_t i = 0; i < s->size; i++)
		if (a[i] != b[i])
			fail_msg("round %u: byte %llu is %#x and %#x", round,
			    (unsigned long long)i, a[i], b[i]);
}

static void differ(void **state)
{
	const struct start *s = *state;
	struct rng rng = {seed_of_env()};
	struct op op[OP_N];

	if (strstr(s->name, "zstd") && !codec_available(CODEC_ZSTD))
		skip();
	make_both(s);
	for (unsigned round = 0; round < ROUND_N; round++) {
		make_ops(s, &rng, op);
		apply_peer(round % 2 ? "b.qcow2" : "a.qcow2", op);
		apply_ours(round % 2 ? "a.qcow2" : "b.qcow2", op);
		compare(s, round);
	}
	unlink("a.qcow2");
	unlink("b.qcow2");
	base_remove();
}

int main(void)
{
	struct group g = {0};

	peer_needs("qemu-img");
	peer_needs("qemu-io");
	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(starts); i++)
		group_add(&g, starts[i].name, differ, &starts[i]);
	printf("seed %llu\n", (unsigned long long)seed_of_env());
	return group_run(&g, "differ");
}
