/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests in two steps: plan, (run the batch,) finish; and the plain read,
 * which does the three in a row.
 *
 * A plan resolves its range down the chain: DATA becomes a host read straight
 * into the caller's buffer, ZERO and HOLE a memset, PACKED a host read of the
 * stored unit, unpacked at the end.  What is encrypted is deciphered at the
 * end, in the caller's buffer where it is whole sectors.  A planned write is in
 * place: every byte of it is DATA that nobody shares.  Until its end a plan
 * holds the gate, the epoch, and a writer its guest range.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "crypt.h"
#include "map.h"
#include "rawguard.h"
#include "packed.h"
#include "read.h"
#include "request.h"
#include "zero.h"
#include "write.h"

/* Bytes of one read of stored units, unless one unit is more. */
#define STORED_MAX (1u * MiB)

/* Stored units that are neighbours, or overlap: one read. */
struct stored {
	struct hostfile *file;
	uint64_t host, len;
	uint8_t *bytes;
	struct stored *next;
};

/* A part of a read that has to be unpacked. */
struct piece {
	struct extent x;
	struct packed_cache *cache;
	const struct stored *in; /* NULL: it is read as it is unpacked */
	uint8_t *buf;
	struct piece *next;
};

struct plan {
	struct write_guard guard; /* a read uses its pin alone */
	bool writes;
	struct piece *pieces;
	struct stored *stored; /* the newest first */
	struct crypt_piece *crypt;
	struct batch_result io;
};

static void plan_init(struct plan *p)
{
	p->pieces = NULL;
	p->stored = NULL;
	p->crypt = NULL;
	p->writes = false;
	p->io.err.kind = ERR_NONE;
	p->io.waiting = 0;
}

static void plan_clear(struct plan *p)
{
	struct crypt_piece *c;
	struct piece *piece;
	struct stored *s;

	while ((c = p->crypt)) {
		p->crypt = c->next;
		crypt_piece_free(c);
	}
	while ((piece = p->pieces)) {
		p->pieces = piece->next;
		free(piece);
	}
	while ((s = p->stored)) {
		p->stored = s->next;
		free(s->bytes);
		free(s);
	}
}

static int add_host(struct plan *p, struct batch *b, const struct extent *x,
    void *buf, bool write, struct err *e)
{
	const struct batch_op op = {.file = x->file,
	    .buf = buf,
	    .len = x->len,
	    .off = x->host,
	    .write = write,
	    .result = &p->io};

	return batch_add(b, &op, e);
}

static int add_crypt(struct plan *p, struct batch *b,
    const struct chain_extent *c, uint8_t *buf, struct err *e)
{
	struct extent x = c->x;

	while (x.len) {
		struct crypt_piece *k = crypt_piece_new(c->layer, &x, buf, e);

		if (!k)
			return -1;
		k->next = p->crypt;
		p->crypt = k;
		buf += k->len;
		if (add_host(p, b, &k->x, k->bytes, false, e))
			return -1;
	}
	return 0;
}

/* Does the unit of `x` belong to the read `s`?  Then that one covers it. */
static bool stored_join(struct stored *s, const struct extent *x)
{
	uint64_t end = x->host + x->packed.stored - s->host;

	if (x->file != s->file || x->host < s->host ||
	    x->host - s->host > s->len || end > STORED_MAX)
		return false;
	s->len = max_u64(s->len, end);
	return true;
}

/* The read that brings the unit of `x`; NULL: out of memory. */
static const struct stored *stored_find(struct plan *p, const struct extent *x)
{
	struct stored *s = p->stored;

	if (s && stored_join(s, x))
		return s;
	s = malloc(sizeof *s);
	if (!s)
		return NULL;
	*s = (struct stored){.file = x->file,
	    .host = x->host,
	    .len = x->packed.stored,
	    .next = p->stored};
	p->stored = s;
	return s;
}

static int add_packed(
    struct plan *p, const struct chain_extent *c, uint8_t *buf, struct err *e)
{
	struct piece *piece;

	if (packed_lookup(c->layer->packed, &c->x, buf, c->x.len, c->x.guest))
		return 0;
	piece = malloc(sizeof *piece);
	if (!piece)
		return err_nomem(e);
	*piece = (struct piece){.x = c->x,
	    .cache = c->layer->packed,
	    .buf = buf,
	    .next = p->pieces};
	p->pieces = piece;
	if (packed_is_long(&c->x))
		return 0;
	piece->in = stored_find(p, &c->x);
	return piece->in ? 0 : err_nomem(e);
}

/* Once all of a plan is known. */
static int add_stored(struct plan *p, struct batch *b, struct err *e)
{
	for (struct stored *s = p->stored; s; s = s->next) {
		struct batch_op op = {.file = s->file,
		    .len = s->len,
		    .off = s->host,
		    .result = &p->io};

		op.buf = s->bytes = malloc(s->len);
		if (!s->bytes)
			return err_nomem(e);
		if (batch_add(b, &op, e))
			return -1;
	}
	return 0;
}

static int plan_extent(struct plan *p, struct batch *b,
    const struct chain_extent *c, uint8_t *buf, struct err *e)
{
	switch (c->x.kind) {
	case EXT_HOLE:
	case EXT_ZERO:
		memset(buf, 0, c->x.len);
		return 0;
	case EXT_DATA:
		if (c->x.flags & EXT_F_CRYPT)
			return add_crypt(p, b, c, buf, e);
		return add_host(p, b, &c->x, buf, false, e);
	case EXT_PACKED:
		return add_packed(p, c, buf, e);
	}
	return 0;
}

static int plan_read(struct image *img, struct plan *p, struct batch *b,
    uint8_t *buf, size_t len, uint64_t off, struct err *e)
{
	while (len) {
		struct chain_extent c;

		if (chain_map(img, off, len, &c, e) ||
		    plan_extent(p, b, &c, buf, e))
			return -1;
		buf += c.x.len;
		off += c.x.len;
		len -= c.x.len;
	}
	return add_stored(p, b, e);
}

static int finish_piece(const struct piece *i, struct err *e)
{
	const uint8_t *stored =
	    i->in ? i->in->bytes + (i->x.host - i->in->host) : NULL;

	return packed_extract(
	    i->cache, &i->x, stored, i->buf, i->x.len, i->x.guest, e);
}

static int finish_read(struct plan *p, struct err *e)
{
	if (err_is_set(&p->io.err)) {
		if (!err_is_set(e))
			*e = p->io.err;
		return -1;
	}
	for (struct crypt_piece *i = p->crypt; i; i = i->next)
		if (crypt_piece_finish(i, e))
			return -1;
	for (struct piece *i = p->pieces; i; i = i->next)
		if (finish_piece(i, e))
			return -1;
	return 0;
}

int read_range(
    struct image *img, void *buf, size_t len, uint64_t off, struct err *e)
{
	struct batch b = {0};
	struct plan p;
	int rc;

	plan_init(&p);
	rc = plan_read(img, &p, &b, buf, len, off, e);
	if (!rc) {
		batch_run(&b);
		rc = finish_read(&p, e);
	}
	plan_clear(&p);
	batch_clear(&b);
	return rc;
}

int img_pread(
    struct image *img, void *buf, size_t len, uint64_t off, struct err *e)
{
	unsigned pin;
	int rc;

	if (request_begin(img, len, off, &pin, e))
		return -1;
	rc = read_range(img, buf, len, off, e);
	request_leave(img, pin);
	return rc;
}

/* ---- batched requests -------------------------------------------------- */

/* 1 planned, 0 not all of it can be written in place, -1 failed. */
static int plan_write(struct image *img, struct plan *p, struct batch *b,
    uint8_t *buf, size_t len, uint64_t off, struct err *e)
{
	while (len) {
		struct chain_extent c;

		if (chain_map(img, off, len, &c, e))
			return -1;
		if (c.depth || !extent_plain(&c.x))
			return 0;
		if (add_host(p, b, &c.x, buf, true, e))
			return -1;
		buf += c.x.len;
		off += c.x.len;
		len -= c.x.len;
	}
	return 1;
}

static int start_write(struct image *img, struct img_request *rq,
    struct plan *p, struct batch *b, struct err *e)
{
	int rc;

	if ((rq->flags & IMG_FUA) || image_writes_through(img) ||
	    (img->detect_zeroes && is_zero(rq->buf, rq->len)) ||
	    rawguard_concerns(img, rq->off, rq->len))
		return 0;
	rc = write_tryenter(img, &p->guard, rq->len, rq->off, e);
	if (rc <= 0)
		return rc;
	p->writes = true;
	rc = plan_write(img, p, b, rq->buf, rq->len, rq->off, e);
	if (rc <= 0)
		write_leave(img, &p->guard);
	return rc;
}

static int start_read(struct image *img, struct img_request *rq, struct plan *p,
    struct batch *b, struct err *e)
{
	if (!request_tryenter(img, &p->guard.pin))
		return 0;
	if (request_check(img, rq->len, rq->off, e) ||
	    plan_read(img, p, b, rq->buf, rq->len, rq->off, e)) {
		request_leave(img, p->guard.pin);
		return -1;
	}
	return 1;
}

int img_plan(
    struct image *img, struct img_request *rq, struct batch *b, struct err *e)
{
	struct plan *p = malloc(sizeof *p);
	size_t old_n = b->n;
	int rc;

	if (!p)
		return err_nomem(e);
	plan_init(p);
	rc = (rq->op == IMG_WRITE ? start_write : start_read)(img, rq, p, b, e);
	if (rc == 1) {
		rq->state = p;
		return 1;
	}
	batch_cut(b, old_n);
	plan_clear(p);
	free(p);
	return rc;
}

bool img_ready(const struct img_request *rq)
{
	const struct plan *p = rq->state;

	return !p->io.waiting;
}

int img_finish(struct image *img, struct img_request *rq, struct err *e)
{
	struct plan *p = rq->state;
	int rc = finish_read(p, e);

	if (p->writes)
		write_leave(img, &p->guard);
	else
		request_leave(img, p->guard.pin);
	plan_clear(p);
	free(p);
	rq->state = NULL;
	return rc;
}

int img_prefetch(struct image *img, uint64_t len, uint64_t off, struct err *e)
{
	unsigned pin;
	int rc = 0;

	if (request_begin(img, len, off, &pin, e))
		return -1;
	while (len) {
		struct chain_extent c;

		rc = chain_map(img, off, len, &c, e);
		if (rc)
			break;
		if (c.x.kind == EXT_DATA)
			host_willneed(c.x.file, c.x.host, c.x.len);
		else if (c.x.kind == EXT_PACKED)
			host_willneed(c.x.file, c.x.host, c.x.packed.stored);
		off += c.x.len;
		len -= c.x.len;
	}
	request_leave(img, pin);
	return rc;
}
