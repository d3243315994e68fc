/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking at an image under test: see subject.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "hostio.h"
#include "peer.h"
#include "subject.h"

#define READ_LEN (1u << 20)

/* ---- content ------------------------------------------------------------ */

void subject_read(struct subject *s, uint64_t len, uint64_t off)
{
	CLEANUP_FREE uint8_t *buf = malloc(len + 1);
	uint64_t bad;

	assert_non_null(buf);
	subject_must(s, img_pread(s->img, buf, len, off, &s->e));
	if (!oracle_read(&s->oracle, buf, len, off, &bad))
		subject_fail(s, "byte %" PRIu64 " reads as %#x, must be %#x%s",
		    bad, buf[bad - off], s->oracle.data[bad],
		    s->oracle.trimmed[bad] ? " or 0" : "");
}

void subject_read_all(struct subject *s)
{
	uint64_t size = s->oracle.size;

	for (uint64_t off = 0; off < size; off += READ_LEN)
		subject_read(s, min_u64(READ_LEN, size - off), off);
	s->oracle.any_trimmed = false;
}

/* ---- map ---------------------------------------------------------------- */

/* The bytes that an extent says are at its place in its file. */
static void check_place(struct subject *s, const struct img_extent *x)
{
	CLEANUP_FREE uint8_t *buf = malloc(x->len);
	bool own = !strcmp(x->filename, s->file->name);
	struct hostfile *f =
	    own ? host_ref(s->file) : host_open_file(x->filename, 0, &s->e);

	subject_must(s, f && buf ? 0 : -1);
	subject_must(s, host_pread(f, buf, x->len, x->offset, &s->e));
	host_put(f);
	if (memcmp(buf, s->oracle.data + x->start, x->len))
		subject_fail(s,
		    "map: guest bytes %" PRIu64 "+%" PRIu64
		    " are not at %" PRIu64 " of %s",
		    x->start, x->len, x->offset, x->filename);
}

static void check_extent(
    struct subject *s, const struct img_extent *x, uint64_t off, uint64_t len)
{
	if (x->start != off || !x->len || x->len > len)
		subject_fail(s,
		    "map: asked for %" PRIu64 "+%" PRIu64 ", got %" PRIu64
		    "+%" PRIu64,
		    off, len, x->start, x->len);
	if (!x->zero && !x->data)
		subject_fail(s, "map: neither zero nor data at %" PRIu64, off);
	if (x->data && !x->packed && !x->has_offset && !s->img->cipher)
		subject_fail(s, "map: data nowhere at %" PRIu64, off);
	if (x->zero && !oracle_is_zero(&s->oracle, x->len, x->start))
		subject_fail(
		    s, "map: not zero: %" PRIu64 "+%" PRIu64, x->start, x->len);
	if (x->data && x->has_offset)
		check_place(s, x);
}

static bool same_kind(const struct img_extent *a, const struct img_extent *b)
{
	return a->depth == b->depth && a->present == b->present &&
	       a->zero == b->zero && a->data == b->data &&
	       a->packed == b->packed && a->has_offset == b->has_offset &&
	       (!a->has_offset || (!strcmp(a->filename, b->filename) &&
				      a->offset + a->len == b->offset));
}

static void check_chain(struct subject *s)
{
	uint64_t size = s->oracle.size, mid;
	struct img_extent x, last = {0};

	for (uint64_t off = 0; off < size; off += x.len) {
		subject_must(s, img_map(s->img, off, size - off, &x, &s->e));
		check_extent(s, &x, off, size - off);
		if (off && same_kind(&last, &x))
			subject_fail(s,
			    "map: neighbours at %" PRIu64 " are not merged",
			    off);
		last = x;
		mid = off + rng_below(&s->rng, x.len);
		subject_must(s, img_map(s->img, mid, size - mid, &last, &s->e));
		check_extent(s, &last, mid, size - mid);
		last = x;
	}
}

/* What the top layer alone does not have is what lies below. */
static void check_layer(struct subject *s)
{
	uint64_t size = s->oracle.size;
	struct img_extent x;

	for (uint64_t off = 0; off < size; off += x.len) {
		subject_must(
		    s, img_map_layer(s->img, off, size - off, &x, &s->e));
		if (x.start != off || !x.len || x.len > size - off || x.depth)
			subject_fail(s, "map of the layer at %" PRIu64, off);
		if (!x.present &&
		    memcmp(s->oracle.data + off, s->base + off, x.len))
			subject_fail(s,
			    "map of the layer: %" PRIu64 "+%" PRIu64
			    " is not as below",
			    off, x.len);
		if (x.present)
			check_extent(s, &x, off, size - off);
	}
}

void subject_map(struct subject *s)
{
	check_chain(s);
	check_layer(s);
}

/* ---- check -------------------------------------------------------------- */

static void print_finding(void *arg, const char *line)
{
	struct subject *s = arg;

	print_message("%s: %s\n", s->g->name, line);
}

/* Others do not record what is free: what is trimmed stays a leak. */
static bool keeps_counts(const char *format)
{
	return !strcmp(format, "qcow2");
}

static void check_ours(struct subject *s)
{
	struct img_check out;
	int rc;

	subject_open(s,
	    &(struct img_open){.format = s->g->format, .flags = IMG_O_CHECK});
	rc = img_check(s->img, &out, print_finding, s, &s->e);
	if (rc && s->e.errnum == ENOTSUP) {
		err_clear(&s->e);
		rc = 0;
	}
	subject_must(s, rc);
	if (out.corruptions || out.check_errors ||
	    (out.leaks && keeps_counts(s->g->format)))
		subject_fail(s,
		    "check: %" PRIu64 " corruptions, %" PRIu64
		    " leaks, %" PRIu64 " errors",
		    out.corruptions, out.leaks, out.check_errors);
	subject_close(s);
}

/* As peer_check_as(), of an image with the option that names its key. */
static int check_with_key(
    struct subject *s, const char *option, char *out, size_t out_len)
{
	char opts[128];
	const char *argv[] = {"qemu-img", "check", "--object",
	    GEOMETRY_SECRET_OBJECT, "--image-opts", opts, NULL};
	int rc;

	snprintf(opts, sizeof opts, "driver=%s,file.filename=check.img,%s",
	    s->g->format, option);
	rc = peer_run(argv, out, out_len);
	return rc == 63 ? 0 : rc;
}

static void check_peer(struct subject *s)
{
	const char *key = geometry_key(s->g);
	char out[2048];
	int rc;

	subject_must(s, hostio_save(s->file, "check.img", &s->e));
	rc = key ? check_with_key(s, key, out, sizeof out)
		 : peer_check_as("check.img", s->g->format, out, sizeof out);
	if (rc && (rc != 3 || keeps_counts(s->g->format)))
		subject_fail(s, "qemu-img check: %s", out);
	unlink("check.img");
}

void subject_check(struct subject *s)
{
	check_ours(s);
	check_peer(s);
}
