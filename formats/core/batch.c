/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch of host I/O: see batch.h.  Neighbours in the file become one system
 * call.
 */
#include <stdlib.h>

#include "../core/units.h"
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

/* Run the operations from the i-th on that are neighbours; returns how many. */
static size_t run_some(const struct batch *b, size_t i)
{
	const struct batch_op *first = &b->op[i];
	struct iovec iov[16] = {{first->buf, first->len}};
	uint64_t end = first->off;
	struct err e = ERR_INIT;
	size_t n;
	int rc;

	for (n = 0; i + n < b->n && n < ARRAY_N(iov); n++) {
		const struct batch_op *op = &first[n];

		if (op->file != first->file || op->write != first->write ||
		    op->off != end)
			break;
		iov[n] = (struct iovec){op->buf, op->len};
		end += op->len;
	}
	rc = (first->write ? host_pwritev : host_preadv)(
	    first->file, iov, n, first->off, &e);
	for (size_t k = 0; rc && k < n; k++)
		if (!err_is_set(first[k].result))
			*first[k].result = e;
	return n;
}

void batch_run(struct batch *b)
{
	for (size_t i = 0; i < b->n;)
		i += run_some(b, i);
	b->n = 0;
}
