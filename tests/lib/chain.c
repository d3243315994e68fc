/* SPDX-License-Identifier: BSD-3-Clause */
/* Random chains: see chain.h. */
#include "chain.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "formats/codec/codec.h"
#include "formats/core/units.h"
#include "peer.h"

/* `%s` is the name of the image. */
static const struct {
	const char *format, *options;
} kind[] = {
    {"qcow2", "cluster_size=64k"},
    {"qcow2", "cluster_size=4k"},
    {"qcow2", "cluster_size=512,refcount_bits=1"},
    {"qcow2", "cluster_size=512,refcount_bits=64"},
    {"qcow2", "cluster_size=4k,compat=0.10"},
    {"qcow2", "cluster_size=64k,compression_type=zstd"},
    {"qcow2", "cluster_size=16k,extended_l2=on"},
    {"qcow2", "cluster_size=64k,extended_l2=on"},
    {"qcow2", "cluster_size=4k,data_file=%s.data"},
    {"qcow2", "cluster_size=2M"},
    {"raw", ""}, /* the lowest layer alone can be one of these */
    {"raw", ""},
    {"qcow2", "data_file=%s.data,data_file_raw=on"},
};
#define KIND_OVER 10u

/* ---- contents ----------------------------------------------------------- */

/* What its packed units are written with, or -1: there can be none. */
static int codec_of(struct image *img)
{
	struct err e = ERR_INIT;
	struct img_info info;
	const json_t *data;
	const char *type;
	int codec = -1;

	assert_ok(img_info(img, &info, &e), &e);
	data = json_object_get(info.specific, "data");
	type = json_string_value(json_object_get(data, "compression-type"));
	if (type && !json_object_get(data, "data-file"))
		codec = strcmp(type, "zstd") ? CODEC_DEFLATE : CODEC_ZSTD;
	img_info_clear(&info);
	return codec >= 0 && codec_available((enum codec)codec) ? codec : -1;
}

/* False where there can be none. */
static bool write_packed(
    struct image *img, struct rng *rng, uint64_t off, uint32_t unit)
{
	struct err e = ERR_INIT;
	CLEANUP_FREE uint8_t *buf = calloc(1, unit + 1),
			     *packed = malloc(unit + 1);
	int codec = codec_of(img);
	struct codec_ctx *ctx;
	ssize_t n;

	if (!unit || codec < 0 || img_size(img) - off < unit)
		return false;
	memset(buf, (int)rng_below(rng, 256), unit / 2);
	ctx = codec_ctx_new((enum codec)codec, 0, &e);
	assert_non_null(ctx);
	n = codec_pack(ctx, packed, unit - 1, buf, unit, &e);
	codec_ctx_free(ctx);
	assert_true(n > 0);
	assert_ok(img_write_packed(img, packed, (size_t)n, off, &e), &e);
	return true;
}

static void one_change(struct image *img, struct rng *rng, uint8_t *buf)
{
	uint64_t size = img_size(img), off = rng_below(rng, size);
	uint64_t len = 1 + rng_below(rng, min_u64(size - off, 200000));
	uint32_t unit = img_cluster_size(img);
	struct err e = ERR_INIT;

	if (unit && rng_below(rng, 2)) { /* whole units, as guests write */
		off = round_down(off, unit);
		len = min_u64(round_up(len, unit), size - off);
	}
	switch (rng_below(rng, 6)) {
	case 0:
		assert_ok(img_zero(img, len, off, 0, &e), &e);
		break;
	case 1:
		assert_ok(img_zero(img, len, off, IMG_MAY_TRIM, &e), &e);
		break;
	case 2:
		assert_ok(img_trim(img, len, off, 0, &e), &e);
		break;
	case 3:
		if (write_packed(img, rng, off - off % max_u64(unit, 1), unit))
			break;
		/* fall through */
	default:
		rng_fill(rng, buf, len);
		if (!rng_below(rng, 4))
			memset(buf, 0, len / 2);
		assert_ok(img_pwrite(img, buf, len, off, 0, &e), &e);
	}
}

void chain_scribble(struct image *img, struct rng *rng)
{
	CLEANUP_FREE uint8_t *buf = malloc(4 * MiB);

	assert_non_null(buf);
	for (uint64_t n = rng_below(rng, 12); img_size(img) && n; n--)
		one_change(img, rng, buf);
}

/* ---- making ------------------------------------------------------------- */

static uint64_t pick_size(struct rng *rng)
{
	static const uint64_t size[] = {
	    512, 64 * KiB, 200 * KiB, 512 * KiB, MiB, MiB, 3 * MiB};
	uint64_t n = size[rng_below(rng, ARRAY_N(size))];

	return rng_below(rng, 2) ? n : n + 512 * (rng_below(rng, 300));
}

struct below {
	const char *name, *format; /* NULL: nothing */
};

static void create_over(const struct below *below, uint64_t size,
    struct options *o, const char *name, const char *format)
{
	struct err e = ERR_INIT;
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)size);
	assert_ok(options_set(o, "size", text, &e), &e);
	if (below->name) {
		assert_ok(options_set(o, "backing_file", below->name, &e), &e);
		assert_ok(options_set(o, "backing_fmt", below->format, &e), &e);
	}
	assert_ok(img_create(name, format, o, 0, &e), &e);
}

/* May the image get a snapshot, and grow all the same? */
static bool create(struct chain *c, unsigned i)
{
	uint64_t pick = rng_below(&c->rng, i ? KIND_OVER : ARRAY_N(kind));
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct below below = {NULL};
	char text[128];

	c->layer[i].format = kind[pick].format;
	if (*kind[pick].options) {
		snprintf(
		    text, sizeof text, kind[pick].options, c->layer[i].name);
		assert_ok(options_parse(o, text, NULL, &e), &e);
	}
	if (i)
		below = (struct below){
		    c->layer[i - 1].name, c->layer[i - 1].format};
	create_over(&below, pick_size(&c->rng), o, c->layer[i].name,
	    c->layer[i].format);
	return strcmp(c->layer[i].format, "raw") &&
	       !options_has(o, "data_file") && !options_has(o, "compat");
}

static void fill(struct chain *c, unsigned i, bool snapshots)
{
	const struct img_open how = {.flags = IMG_O_RDWR | IMG_O_DISCARD};
	struct image *img = chain_open(c, i, &how);
	struct err e = ERR_INIT;

	chain_scribble(img, &c->rng);
	if (snapshots && !rng_below(&c->rng, 4)) {
		/* Not with counts of one bit. */
		if (img_snapshot_create(img, "s", &e))
			err_clear(&e);
		chain_scribble(img, &c->rng);
	}
	chain_close(img);
}

void chain_make(struct chain *c, const char *prefix, unsigned n, uint64_t seed)
{
	*c = (struct chain){.n = n, .rng = {.state = seed}};
	for (unsigned i = 0; i < n; i++) {
		snprintf(c->layer[i].name, sizeof c->layer[i].name, "%s%u",
		    prefix, i);
		fill(c, i, create(c, i));
	}
}

struct image *chain_layer(
    const char *name, uint64_t size, const char *backing, const char *options)
{
	const struct img_open how = {.format = "qcow2", .flags = IMG_O_RDWR};
	const struct below below = {backing, "qcow2"};
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct image *img;

	assert_ok(options_parse(o, options, NULL, &e), &e);
	create_over(&below, size, o, name, "qcow2");
	img = img_open(name, &how, &e);
	assert_no_error(&e);
	return img;
}

/* ---- looking ------------------------------------------------------------ */

struct image *chain_open(
    const struct chain *c, unsigned i, const struct img_open *how)
{
	struct img_open mine = how ? *how : (struct img_open){0};
	struct err e = ERR_INIT;
	struct image *img;

	mine.format = c->layer[i].format;
	img = img_open(c->layer[i].name, &mine, &e);
	assert_no_error(&e);
	return img;
}

void chain_close(struct image *img)
{
	struct err e = ERR_INIT;

	assert_ok(img_close(img, &e), &e);
}

uint8_t *chain_bytes(struct image *img, uint64_t *len)
{
	uint64_t size = img_size(img);
	struct err e = ERR_INIT;
	uint8_t *buf = malloc(size + 1);

	assert_non_null(buf);
	assert_ok(img_pread(img, buf, size, 0, &e), &e);
	if (len)
		*len = size;
	return buf;
}

static void print_line(void *arg, const char *line)
{
	(void)arg;
	print_message("%s\n", line);
}

void chain_check(const struct chain *c, unsigned i)
{
	const struct img_open how = {.flags = IMG_O_CHECK | IMG_O_NO_BACKING};
	struct err e = ERR_INIT;
	struct img_check found;
	struct image *img;
	char text[4096];

	if (strcmp(c->layer[i].format, "qcow2"))
		return;
	img = chain_open(c, i, &how);
	assert_ok(img_check(img, &found, print_line, NULL, &e), &e);
	chain_close(img);
	assert_int_equal(found.check_errors, 0);
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.leaks, 0);
	if (peer_have("qemu-img") &&
	    peer_check(c->layer[i].name, text, sizeof text))
		fail_msg("%s: %s", c->layer[i].name, text);
}
