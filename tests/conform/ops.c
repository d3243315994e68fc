/* SPDX-License-Identifier: BSD-3-Clause */
/* Random operations on an image under test: see ops.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "formats/codec/codec.h"
#include "ops.h"

#define LEN_MAX	  (4u << 20)
#define BATCH_MAX 8u

struct span {
	uint64_t off, len;
};

static uint64_t unit_of(struct subject *s)
{
	return max_u64(img_cluster_size(s->img), 512);
}

/* Any byte, sectors, clusters, a byte off clusters, and the end of the disk. */
static struct span pick(struct subject *s)
{
	struct rng *r = &s->rng;
	uint64_t size = s->oracle.size, unit = unit_of(s);
	struct span p = {rng_below(r, size), 1 + rng_below(r, 1500)};

	switch (rng_below(r, 7)) {
	case 0:
		break;
	case 1:
		p.off = round_down(p.off, 512);
		p.len = 512 * (1 + rng_below(r, 64));
		break;
	case 2:
		p.off = round_down(p.off, unit);
		p.len = unit * (1 + rng_below(r, 8));
		break;
	case 3:
		p.off = round_down(p.off, unit) + rng_below(r, 3);
		p.off -= min_u64(p.off, 1);
		p.len = unit * (1 + rng_below(r, 4)) + rng_below(r, 3) - 1;
		break;
	case 4:
		p.len = size;
		break;
	case 5:
		p.len = 1 + rng_below(r, size / 3);
		break;
	default:
		p.len = 1 + rng_below(r, 2 * unit);
		break;
	}
	p.off = min_u64(p.off, size - 1);
	p.len = min_u64(p.len, min_u64(size - p.off, LEN_MAX));
	return p;
}

static void say(
    struct subject *s, const char *what, struct span p, const char *more)
{
	snprintf(s->op, sizeof s->op, "%s of %" PRIu64 " at %" PRIu64 "%s",
	    what, p.len, p.off, more);
}

/* Random bytes, one byte all over, or zeroes. */
static uint8_t *make_data(struct subject *s, uint64_t len)
{
	uint8_t *buf = calloc(1, len + 1);

	assert_non_null(buf);
	switch (rng_below(&s->rng, 8)) {
	case 0:
		break;
	case 1:
	case 2:
		memset(buf, 1 + (int)rng_below(&s->rng, 255), len);
		break;
	default:
		rng_fill(&s->rng, buf, len);
		break;
	}
	return buf;
}

static unsigned some_fua(struct subject *s)
{
	return rng_below(&s->rng, 8) ? 0 : IMG_FUA;
}

static void do_write(struct subject *s)
{
	struct span p = pick(s);
	CLEANUP_FREE uint8_t *buf = make_data(s, p.len);
	unsigned flags = some_fua(s);

	say(s, "write", p, flags ? ", FUA" : "");
	subject_must(s, img_pwrite(s->img, buf, p.len, p.off, flags, &s->e));
	oracle_write(&s->oracle, buf, p.len, p.off);
}

static void do_zero(struct subject *s)
{
	struct span p = pick(s);
	unsigned flags = some_fua(s);
	bool trim = rng_below(&s->rng, 2), fast = !rng_below(&s->rng, 6);
	int rc;

	flags |= trim ? IMG_MAY_TRIM : 0;
	flags |= fast ? IMG_FAST : 0;
	say(s, fast ? "fast zero" : "zero", p, trim ? ", may trim" : "");
	rc = img_zero(s->img, p.len, p.off, flags, &s->e);
	if (fast && rc && s->e.errnum == ENOTSUP) {
		/* Some of it may have been done. */
		err_clear(&s->e);
		oracle_trim(&s->oracle, p.len, p.off);
		return;
	}
	subject_must(s, rc);
	oracle_zero(&s->oracle, p.len, p.off);
}

static void do_trim(struct subject *s)
{
	struct span p = pick(s);

	say(s, "trim", p, "");
	subject_must(s, img_trim(s->img, p.len, p.off, some_fua(s), &s->e));
	oracle_trim(&s->oracle, p.len, p.off);
}

static void do_read(struct subject *s)
{
	struct span p = pick(s);

	say(s, "read", p, "");
	subject_read(s, p.len, p.off);
}

/* A packed unit; what does not get shorter is written as it is. */
static void do_packed(struct subject *s, struct ops_counts *n)
{
	uint64_t unit = unit_of(s);
	struct span p = {
	    round_down(rng_below(&s->rng, s->oracle.size), unit), 0};
	CLEANUP_FREE uint8_t *data = make_data(s, unit);
	CLEANUP_FREE uint8_t *packed = malloc(unit);
	struct codec_ctx *codec;
	ssize_t len;

	p.len = min_u64(unit, s->oracle.size - p.off);
	memset(data + p.len, 0, unit - p.len);
	/* Between text and noise. */
	memset(data + unit / 8, 'x', unit - unit / 8);
	memset(data + p.len, 0, unit - p.len);
	say(s, "packed write", p, "");
	codec = codec_ctx_new(s->img->codec, 0, &s->e);
	subject_must(s, codec && packed ? 0 : -1);
	len = codec_pack(codec, packed, unit - 1, data, unit, &s->e);
	codec_ctx_free(codec);
	subject_must(s, len);
	if (len) {
		subject_must(
		    s, img_write_packed(s->img, packed, len, p.off, &s->e));
		n->packed++;
	} else {
		subject_must(
		    s, img_pwrite(s->img, data, p.len, p.off, 0, &s->e));
	}
	oracle_write(&s->oracle, data, p.len, p.off);
}

/* ---- batches ------------------------------------------------------------- */

struct member {
	struct img_request rq;
	int planned;
};

/* A write that overlaps another request would have no defined result. */
static bool collides(
    const struct member *m, unsigned n, const struct span *p, enum img_op op)
{
	for (unsigned i = 0; i < n; i++)
		if ((op == IMG_WRITE || m[i].rq.op == IMG_WRITE) &&
		    p->off < m[i].rq.off + m[i].rq.len &&
		    m[i].rq.off < p->off + p->len)
			return true;
	return false;
}

static unsigned plan_some(struct subject *s, struct batch *b, struct member *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BATCH_MAX; i++) {
		enum img_op op = rng_below(&s->rng, 2) ? IMG_WRITE : IMG_READ;
		struct span p = pick(s);
		struct img_request *rq = &m[n].rq;

		if (collides(m, n, &p, op))
			continue;
		say(s, op == IMG_WRITE ? "batched write" : "batched read", p,
		    "");
		*rq =
		    (struct img_request){.op = op, .len = p.len, .off = p.off};
		rq->buf = make_data(s, p.len);
		m[n].planned = img_plan(s->img, rq, b, &s->e);
		subject_must(s, m[n].planned);
		n++;
	}
	return n;
}

/* What could not be planned, after the others: it may wait for them. */
static void do_alone(struct subject *s, struct img_request *rq)
{
	if (rq->op == IMG_WRITE)
		subject_must(
		    s, img_pwrite(s->img, rq->buf, rq->len, rq->off, 0, &s->e));
	else
		subject_must(
		    s, img_pread(s->img, rq->buf, rq->len, rq->off, &s->e));
}

static void settle(struct subject *s, struct img_request *rq)
{
	uint64_t bad;

	say(s, rq->op == IMG_WRITE ? "batched write" : "batched read",
	    (struct span){rq->off, rq->len}, "");
	if (rq->op == IMG_WRITE)
		oracle_write(&s->oracle, rq->buf, rq->len, rq->off);
	else if (!oracle_read(&s->oracle, rq->buf, rq->len, rq->off, &bad))
		subject_fail(s, "byte %" PRIu64 " is wrong", bad);
	free(rq->buf);
}

static void do_batch(struct subject *s, struct ops_counts *n)
{
	struct batch *b = batch_new(&s->e);
	struct member m[BATCH_MAX] = {0};
	unsigned m_n;

	subject_must(s, b ? 0 : -1);
	m_n = plan_some(s, b, m);
	batch_run(b);
	for (unsigned i = 0; i < m_n; i++) {
		if (!m[i].planned)
			continue;
		subject_must(s, img_finish(s->img, &m[i].rq, &s->e));
		n->planned_reads += m[i].rq.op == IMG_READ;
		n->planned_writes += m[i].rq.op == IMG_WRITE;
	}
	for (unsigned i = 0; i < m_n; i++)
		if (!m[i].planned)
			do_alone(s, &m[i].rq);
	for (unsigned i = 0; i < m_n; i++)
		settle(s, &m[i].rq);
	batch_free(b);
}

/* ---- the rest ------------------------------------------------------------ */

static void do_reopen(struct subject *s, struct ops_counts *n)
{
	struct img_open how = {.format = s->g->format, .flags = IMG_O_RDWR};

	snprintf(s->op, sizeof s->op, "reopen");
	subject_close(s);
	if (!rng_below(&s->rng, 3))
		subject_check(s);
	if (s->g->snapshots && s->snapshot_n < SNAPSHOT_MAX)
		subject_snapshot(s);
	if (rng_below(&s->rng, 3))
		how.flags |= IMG_O_DISCARD;
	if (!rng_below(&s->rng, 8))
		how.cache = IMG_CACHE_WRITETHROUGH;
	subject_open(s, &how);
	n->reopened++;
}

void ops_step(struct subject *s, struct ops_counts *n)
{
	uint64_t dice = rng_below(&s->rng, 100);

	if (dice < 35)
		do_write(s);
	else if (dice < 52)
		do_zero(s);
	else if (dice < 64)
		do_trim(s);
	else if (dice < 70)
		do_read(s);
	else if (dice < 80 && s->img->codec && !s->g->files && !s->img->cipher)
		do_packed(s, n);
	else if (dice < 92)
		do_batch(s, n);
	else if (dice < 97)
		subject_must(s, img_flush(s->img, &s->e));
	else
		do_reopen(s, n);
}
