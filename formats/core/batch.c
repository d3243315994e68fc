/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch of host I/O: see batch.h.  Neighbours in the file become one system
 * call.  In a batch of several, reads that the page cache can serve are done
 * at once, so that one that has to wait for storage does not hold them up; the
 * others then wait together.
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
	b->op[b->n++] = *op;
	return 0;
}

void batch_cut(struct batch *b, size_t n)
{
	b->n = n;
}

/* Operations that are neighbours in one file. */
struct run {
	struct batch_op *op;
	struct iovec iov[16];
	int n;
};

static void find_run(const struct batch *b, size_t i, struct run *r)
{
	uint64_t end = b->op[i].off;

	r->op = &b->op[i];
	for (r->n = 0; i + r->n < b->n && r->n < (int)ARRAY_N(r->iov); r->n++) {
		const struct batch_op *op = &r->op[r->n];

		if (op->file != r->op->file || op->write != r->op->write ||
		    op->off != end)
			break;
		r->iov[r->n] = (struct iovec){op->buf, op->len};
		end += op->len;
	}
}

static void do_run(struct run *r)
{
	struct err e;
	int rc;

	e.kind = ERR_NONE;
	rc = (r->op->write ? host_pwritev : host_preadv)(
	    r->op->file, r->iov, r->n, r->op->off, &e);
	for (int k = 0; rc && k < r->n; k++)
		if (!err_is_set(r->op[k].result))
			*r->op[k].result = e;
}

/* Reads that the page cache did not have, each its own run now. */
static void do_missed(struct batch_op *missed, size_t n)
{
	struct many_read *reads = calloc(n, sizeof *reads);
	struct batch rest = {.op = missed, .n = n};

	for (size_t i = 0; reads && i < n; i++)
		reads[i] = (struct many_read){.file = missed[i].file,
		    .buf = missed[i].buf,
		    .len = missed[i].len,
		    .off = missed[i].off};
	if (reads && n > 1)
		many_run(reads, n);
	for (size_t i = 0; i < n;) {
		struct run r;

		find_run(&rest, i, &r);
		if (reads && reads[i].done)
			r.n = 1;
		else
			do_run(&r);
		i += r.n;
	}
	free(reads);
}

void batch_run(struct batch *b)
{
	struct batch_op *op = b->op;
	size_t n = b->n, missed_n = 0;
	struct run r;

	for (size_t i = 0; i < n; i += r.n) {
		find_run(b, i, &r);
		if ((size_t)r.n == n || r.op->write) {
			do_run(&r);
			continue;
		}
		if (many_cached(r.op->file, r.iov, r.n, r.op->off))
			continue;
		/* Kept at the front of the list, in order. */
		for (int k = 0; k < r.n; k++)
			op[missed_n++] = op[i + k];
	}
	if (missed_n)
		do_missed(op, missed_n);
	b->n = 0;
}
