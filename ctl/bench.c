/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests on an image: see bench.h.
 *
 * Each client has its own batch, buffers, places and latencies; `done` and
 * `stop` are what they share while they run.
 */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct shared {
	const struct bench *b;
	_Atomic uint64_t done;
	_Atomic bool stop;
};

struct client {
	const struct bench *b;
	struct shared *shared;
	uint64_t count; /* requests, its part */
	struct batch *batch;
	uint8_t *buf; /* depth buffers of len bytes */
	struct img_request *rq;
	uint64_t off, rng, since_flush;
	struct latency latency[2]; /* reads, writes */
	struct err err;
	pthread_t thread;
	bool started, reports;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- requests -------------------------------------------------------------
 */

/* The same sequence in every run. */
static uint64_t random_below(struct client *c, uint64_t n)
{
	c->rng = c->rng * 6364136223846793005u + 1442695040888963407u;
	return (c->rng >> 16) % n;
}

/* Requests wrap around at the end of the image; one that it would cut off is
 * made at the start. */
static uint64_t next_offset(struct client *c)
{
	uint64_t size = img_size(c->b->img), last = size - c->b->len, off;

	if (c->b->random)
		return random_below(c, last / c->b->len + 1) * c->b->len;
	c->off %= size;
	if (c->off > last)
		c->off = 0;
	off = c->off;
	c->off += c->b->step;
	return off;
}

static void set_request(struct client *c, uint64_t i)
{
	bool write =
	    c->b->write_percent == 100 ||
	    (c->b->write_percent && random_below(c, 100) < c->b->write_percent);

	c->rq[i] = (struct img_request){.op = write ? IMG_WRITE : IMG_READ,
	    .buf = c->buf + i * c->b->len,
	    .len = c->b->len,
	    .off = next_offset(c)};
	if (write)
		memset(c->rq[i].buf, (int)c->b->pattern, c->b->len);
}

static int run_unplanned(
    struct client *c, const struct img_request *rq, struct err *e)
{
	if (rq->op == IMG_WRITE)
		return img_pwrite(
		    c->b->img, rq->buf, rq->len, rq->off, rq->flags, e);
	return img_pread(c->b->img, rq->buf, rq->len, rq->off, e);
}

static void count_latency(
    struct client *c, const struct img_request *rq, uint64_t begun)
{
	latency_add(&c->latency[rq->op == IMG_WRITE], now_ns() - begun);
}

/* The requests of one round; every one that was planned is finished. */
static int run_round(struct client *c, uint64_t n, struct err *e)
{
	uint64_t begun = now_ns(), i;
	int rc = 0;

	for (i = 0; i < n && rc >= 0; i++) {
		set_request(c, i);
		rc = img_plan(c->b->img, &c->rq[i], c->batch, e);
	}
	n = i;
	batch_run(c->batch);
	/* What was planned holds up the others: it is finished first. */
	for (i = 0; i < n; i++) {
		if (!c->rq[i].state)
			continue;
		rc |= img_finish(c->b->img, &c->rq[i], e);
		c->rq[i].buf = NULL;
		count_latency(c, &c->rq[i], begun);
	}
	for (i = 0; i < n && rc >= 0; i++) {
		if (!c->rq[i].buf)
			continue;
		rc = run_unplanned(c, &c->rq[i], e);
		count_latency(c, &c->rq[i], begun);
	}
	return rc < 0 ? -1 : 0;
}

static int flush_if_due(struct client *c, uint64_t n, struct err *e)
{
	c->since_flush += n;
	if (!c->b->flush_interval || c->since_flush < c->b->flush_interval)
		return 0;
	c->since_flush = 0;
	return img_flush(c->b->img, e);
}

static int report(struct client *c, uint64_t n, struct err *e)
{
	struct shared *s = c->shared;
	const struct img_progress *p = &c->b->progress;
	uint64_t done = atomic_fetch_add(&s->done, n) + n;

	if (c->reports && p->step(p->arg, done, c->b->count))
		return err_set(e, ERR_SYSTEM, ECANCELED, "stopped");
	return 0;
}

static int run_rounds(struct client *c, struct err *e)
{
	const struct bench *b = c->b;

	for (uint64_t left = c->count;
	     left && !atomic_load(&c->shared->stop);) {
		uint64_t n = left < b->depth ? left : b->depth;

		if (b->flush_interval && n > b->flush_interval - c->since_flush)
			n = b->flush_interval - c->since_flush;
		if (run_round(c, n, e) || flush_if_due(c, n, e) ||
		    report(c, n, e))
			return -1;
		left -= n;
	}
	return 0;
}

static void *run_client(void *arg)
{
	struct client *c = arg;

	if (run_rounds(c, &c->err))
		atomic_store(&c->shared->stop, true);
	return NULL;
}

/* ---- clients --------------------------------------------------------------
 */

/* The i-th: its part of the requests, and where it begins. */
static int client_init(
    struct client *c, struct shared *s, uint64_t i, struct err *e)
{
	const struct bench *b = s->b;
	uint64_t part = b->count / b->clients, rest = b->count % b->clients;

	c->b = b;
	c->shared = s;
	c->err.kind = ERR_NONE;
	c->reports = i == 0;
	c->count = part + (i < rest);
	c->off = b->start + (i * part + (i < rest ? i : rest)) * b->step;
	c->rng = i;
	c->buf = calloc(b->depth, b->len);
	c->rq = calloc(b->depth, sizeof *c->rq);
	c->batch = batch_new(e);
	return c->buf && c->rq && c->batch ? 0 : err_nomem(e);
}

static void client_clear(struct client *c)
{
	batch_free(c->batch);
	free(c->buf);
	free(c->rq);
}

/* The calling thread is the first client. */
static void run_clients(struct client *c, uint64_t n)
{
	for (uint64_t i = 1; i < n; i++)
		c[i].started =
		    !pthread_create(&c[i].thread, NULL, run_client, &c[i]);
	run_client(&c[0]);
	for (uint64_t i = 1; i < n; i++) {
		if (c[i].started)
			pthread_join(c[i].thread, NULL);
		else
			run_client(&c[i]);
	}
}

static int add_results(struct bench *b, const struct client *c, struct err *e)
{
	for (unsigned op = 0; op < 2; op++)
		latency_merge(&b->latency[op], &c->latency[op]);
	if (err_is_set(&c->err) && !err_is_set(e))
		*e = c->err;
	return err_is_set(e) ? -1 : 0;
}

int bench_check(const struct bench *b, struct err *e)
{
	if (b->len <= img_size(b->img))
		return 0;
	return err_usage(e,
	    "requests of %" PRIu64 " bytes on an image of %" PRIu64, b->len,
	    img_size(b->img));
}

int bench_requests(struct bench *b, struct err *e)
{
	struct client *c = calloc(b->clients, sizeof *c);
	struct shared s = {.b = b};
	uint64_t begun;
	int rc = c ? 0 : err_nomem(e);

	for (uint64_t i = 0; !rc && i < b->clients; i++)
		rc = client_init(&c[i], &s, i, e);
	begun = now_ns();
	if (!rc)
		run_clients(c, b->clients);
	b->ns = now_ns() - begun;
	for (uint64_t i = 0; c && i < b->clients; i++) {
		rc |= add_results(b, &c[i], e);
		client_clear(&c[i]);
	}
	free(c);
	return rc;
}
