/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of one size on an image, as many at a time as asked for.
 *
 * One round puts up to `depth` requests into a batch of the core, so that
 * what has to wait for storage waits together; a request's latency is the
 * time from the start of its round to its own end.  Writes that allocate are
 * done one after the other.  Each client is a thread with rounds of its own.
 */
#ifndef CTL_BENCH_H
#define CTL_BENCH_H

#include "formats/image.h"
#include "latency.h"

#define BENCH_CLIENTS_MAX 16u

struct bench {
	uint64_t count, depth, flush_interval, start, len, step, clients;
	unsigned write_percent; /* of the requests */
	unsigned pattern;
	bool random;
	struct image *img;
	struct img_progress progress;
	/* results */
	uint64_t ns;		   /* of the whole run */
	struct latency latency[2]; /* reads, writes */
};

/* Do the requests fit on the image? */
int bench_check(const struct bench *b, struct err *e);
int bench_requests(struct bench *b, struct err *e);

#endif
