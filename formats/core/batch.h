/* SPDX-License-Identifier: BSD-3-Clause */
/* A batch of host I/O: see "requests in batches" in image.h. */
#ifndef IMGD_BATCH_H
#define IMGD_BATCH_H

#include "../host/hostfile.h"

/* What came of the operations of one request. */
struct batch_result {
	struct err err;	  /* the first that was met                   */
	unsigned waiting; /* operations in the batch that are not done */
};

struct batch_op {
	struct hostfile *file;
	void *buf; /* not changed by a write */
	size_t len;
	uint64_t off;
	bool write;
	struct batch_result *result;
};

struct batch {
	struct batch_op *op;
	size_t n, max;
};

int batch_add(struct batch *b, const struct batch_op *op, struct err *e);
/* Forget the operations after the first n. */
void batch_cut(struct batch *b, size_t n);
/* For a batch that lives on the stack as {0}. */
void batch_clear(struct batch *b);

#endif
