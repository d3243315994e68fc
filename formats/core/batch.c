/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch of host I/O: see batch.h.  Neighbours in the file become one system
 * call.  Reads that the page cache can serve are done first, so that one that
 * has to wait for storage does not hold them up; the others then wait together.
 */
#include <stdlib.h>

#include "../core/units.h"
#include "../host/many.h"
#include "../image.h"
#include "batch.h"

struct batch *batch_new(struct err *e)
{
	struct batch *b = calloc(1, sizeof *b);

	if (!b)
		err_nomem(e);
	return b;
}

void batch_clear(struct batch *b)
{
	free(b->op);
	*b = (struct batch){0};
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	batch_clear(b);
	free(b);
}

int batch_add(struct batch *b, const struct batch_op *op, struct err *e)
{
	if (b->n == b->max) {
		size_t max = b->max ? 2 * b->max : 16;
		struct batch_op *p = reallocarray(b->op, max, sizeof *p);

		if (!p)
			return err_nomem(e);
		b->op = p;
		b->max = max;
	}
	op->result->waiting++;
	b->op[b->n++] = *op;
	return 0;
}

void batch_cut(struct batch *b, size_t n)
{
	b->n = n;
}

/* Operations that are neighbours in one file; those before `n`. */
struct run {
	struct batch_op *op;
	struct iovec iov[16];
	int n;
};

static void find_run(const struct batch *b, size_t i, size_t n, struct run *r)
{
	uint64_t end = b->op[i].off;

	r->op = &b->op[i];
	for (r->n = 0; i + (size_t)r->n < n && r->n < (int)ARRAY_N(r->iov);
	     r->n++) {
		const struct batch_op *op = &r->op[r->n];

		if (op->file != r->op->file || op->write != r->op->write ||
		    op->off != end)
			break;
		r->iov[r->n] = (struct iovec){op->buf, op->len};
		end += op->len;
	}
}

/* The first n operations of a run have been done, or have failed. */
static void note_done(const struct run *r, const struct err *e)
{
	for (int k = 0; k < r->n; k++) {
		struct batch_result *result = r->op[k].result;

		result->waiting--;
		if (err_is_set(e) && !err_is_set(&result->err))
			result->err = *e;
	}
}

static void do_run(const struct run *r)
{
	struct err e;

	e.kind = ERR_NONE;
	(r->op->write ? host_pwritev : host_preadv)(
	    r->op->file, r->iov, r->n, r->op->off, &e);
	note_done(r, &e);
}

/* What has to wait for storage, many at a time where that can be. */
static struct many_io *run_many(const struct batch *b, struct err *e)
{
	struct many_io *io = calloc(b->n, sizeof *io);

	if (!io)
		return NULL;
	for (size_t i = 0; i < b->n; i++)
		io[i] = (struct many_io){.file = b->op[i].file,
		    .buf = b->op[i].buf,
		    .len = b->op[i].len,
		    .off = b->op[i].off,
		    .write = b->op[i].write};
	many_run(io, b->n, e);
	return io;
}

static const struct err none = {.kind = ERR_NONE};

void batch_wait(struct batch *b)
{
	struct err e;
	struct many_io *io;
	struct run r;

	e.kind = ERR_NONE;
	io = b->n > 1 ? run_many(b, &e) : NULL;
	for (size_t i = 0; i < b->n; i += (size_t)r.n) {
		find_run(b, i, b->n, &r);
		if (io && (io[i].done || io[i].failed)) {
			r.n = 1;
			note_done(&r, io[i].done ? &none : &e);
		} else {
			do_run(&r);
		}
	}
	free(io);
	b->n = 0;
}

void batch_try(struct batch *b)
{
	size_t n = b->n;
	struct run r;

	b->n = 0;
	for (size_t i = 0; i < n; i += (size_t)r.n) {
		find_run(b, i, n, &r);
		if (r.op->write && !many_writes(r.op->file))
			do_run(&r);
		else if (!r.op->write &&
			 many_cached(r.op->file, r.iov, r.n, r.op->off))
			note_done(&r, &none);
		else /* kept, in order */
			for (int k = 0; k < r.n; k++)
				b->op[b->n++] = b->op[i + (size_t)k];
	}
}

void batch_run(struct batch *b)
{
	struct run r;

	if (!b->n)
		return;
	find_run(b, 0, b->n, &r);
	/* One call does all of it: nothing waits behind it. */
	if ((size_t)r.n == b->n) {
		do_run(&r);
		b->n = 0;
		return;
	}
	batch_try(b);
	batch_wait(b);
}
