/* SPDX-License-Identifier: BSD-3-Clause */
/* bench: what is asked for, and the results.  See bench.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "jout.h"
#include "msg.h"
#include "out.h"
#include "progress.h"
#include "source.h"

#define DEPTH_MAX 65536u

struct bench_args {
	struct common c;
	const char *count, *depth, *flush_interval, *aio, *offset, *pattern;
	const char *buffer_len, *step, *write_mix, *connections;
	bool native, no_drain, write, random, latency;
};

/* ---- results --------------------------------------------------------------
 */

static const double percents[] = {50, 90, 99, 99.9, 99.99};
static const char *const op_name[] = {"read", "write"};

static double per_second(const struct bench *b, uint64_t n)
{
	return b->ns ? (double)n * 1e9 / (double)b->ns : 0;
}

static void print_latency(const struct bench *b)
{
	for (unsigned op = 0; op < 2; op++) {
		const struct latency *l = &b->latency[op];
		char rate[OUT_SIZE_LEN];

		if (!l->n)
			continue;
		out_size(rate, (uint64_t)per_second(b, l->n * b->len));
		printf("%s: %.0f IOPS, %s/s, latency in microseconds: "
		       "mean %.1f, min %.1f",
		    op_name[op], per_second(b, l->n), rate,
		    (double)l->sum_ns / (double)l->n / 1e3,
		    (double)l->min_ns / 1e3);
		for (unsigned i = 0; i < sizeof percents / sizeof *percents;
		     i++)
			printf(", %g%% %.1f", percents[i],
			    (double)latency_percentile(l, percents[i]) / 1e3);
		printf(", max %.1f\n", (double)l->max_ns / 1e3);
	}
}

static void json_latency(struct jout *w, const struct bench *b, unsigned op)
{
	const struct latency *l = &b->latency[op];

	jout_begin(w, op_name[op], '{');
	jout_u64(w, "requests", l->n);
	jout_u64(w, "iops", (uint64_t)per_second(b, l->n));
	jout_u64(w, "bytes-per-second", (uint64_t)per_second(b, l->n * b->len));
	jout_begin(w, "latency-ns", '{');
	jout_u64(w, "min", l->min_ns);
	jout_u64(w, "mean", l->n ? l->sum_ns / l->n : 0);
	for (unsigned i = 0; i < sizeof percents / sizeof *percents; i++) {
		char key[16];

		snprintf(key, sizeof key, "p%g", percents[i]);
		jout_u64(w, key, latency_percentile(l, percents[i]));
	}
	jout_u64(w, "max", l->max_ns);
	jout_end(w, '}');
	jout_end(w, '}');
}

static int print_json(const struct bench *b)
{
	struct jout w;
	struct out o;

	if (out_begin(&o))
		return EXIT_FAILURE;
	w = (struct jout){.f = o.f};
	jout_begin(&w, NULL, '{');
	jout_u64(&w, "requests", b->count);
	jout_u64(&w, "request-bytes", b->len);
	jout_u64(&w, "depth", b->depth);
	jout_u64(&w, "connections", b->clients);
	jout_u64(&w, "elapsed-ns", b->ns);
	for (unsigned op = 0; op < 2; op++)
		if (b->latency[op].n)
			json_latency(&w, b, op);
	jout_end(&w, '}');
	jout_done(&w);
	return out_end(&o, EXIT_SUCCESS);
}

static void print_plan(const struct bench *b)
{
	printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, "
	       "%" PRIu64 " in parallel (starting at offset %" PRIu64
	       ", step size %" PRIu64 ")\n",
	    b->count,
	    b->write_percent == 100 ? "write"
	    : b->write_percent	    ? "mixed"
				    : "read",
	    b->len, b->depth, b->start, b->step);
	if (b->flush_interval)
		printf("Sending flush every %" PRIu64 " requests\n",
		    b->flush_interval);
	fflush(stdout);
}

/* ---- options --------------------------------------------------------------
 */

static bool number(const char *text, const char *what, uint64_t min,
    uint64_t max, uint64_t *out)
{
	struct err e = ERR_INIT;

	return !text || !parse_size(text, what, min, max, out, &e) ||
	       (msg_err(&e), false);
}

static bool read_numbers(const struct bench_args *a, struct bench *b)
{
	uint64_t pattern = 0, mix = a->write ? 100 : 0;

	if (!number(a->count, "request count", 0, INT64_MAX, &b->count) ||
	    !number(a->depth, "queue depth", 1, DEPTH_MAX, &b->depth) ||
	    !number(a->flush_interval, "flush interval", 0, INT64_MAX,
		&b->flush_interval) ||
	    !number(a->offset, "offset", 0, INT64_MAX, &b->start) ||
	    !number(a->buffer_len, "buffer size", 1, INT32_MAX, &b->len) ||
	    !number(a->pattern, "pattern byte", 0, 255, &pattern) ||
	    !number(a->write_mix, "write share", 0, 100, &mix) ||
	    !number(a->connections, "connections", 1, BENCH_CLIENTS_MAX,
		&b->clients))
		return false;
	b->pattern = (unsigned)pattern;
	b->write_percent = (unsigned)mix;
	b->random = a->random;
	if (!number(a->step, "step size", 0, INT64_MAX, &b->step))
		return false;
	/* No step at all is as if none was given. */
	b->step = b->step ? b->step : b->len;
	return true;
}

static int check(const struct bench_args *a, const struct bench *b)
{
	if (a->aio && strcmp(a->aio, "threads") && strcmp(a->aio, "native") &&
	    strcmp(a->aio, "io_uring"))
		return msg_error("Invalid aio option: %s", a->aio);
	if (b->flush_interval && !b->write_percent)
		return msg_error(
		    "--flush-interval is only available in write tests");
	if (b->flush_interval && b->flush_interval < b->depth)
		return msg_error("Flush interval can't be smaller than depth");
	return EXIT_SUCCESS;
}

/* ---- the run --------------------------------------------------------------
 */

static int run_on(const struct bench_args *a, struct bench *b, struct source *s)
{
	struct err e = ERR_INIT;
	struct progress p;
	bool json;
	int status;

	if (!out_wants_json(a->c.output, &json))
		return EXIT_FAILURE;
	b->img = source_open(s, &e);
	if (!b->img || bench_check(b, &e))
		return msg_err(&e);
	if (!json && !a->c.quiet)
		print_plan(b);
	b->progress = progress_begin(&p, &a->c, 1);
	if (bench_requests(b, &e)) {
		err_prefix(&e, "Failed request: ");
		return msg_err(&e);
	}
	if (json)
		return print_json(b);
	status = img_flush(b->img, &e) ? msg_err(&e) : EXIT_SUCCESS;
	if (!a->c.quiet)
		printf("Run completed in %.3f seconds.\n", (double)b->ns / 1e9);
	if (a->latency)
		print_latency(b);
	return out_flush() ? EXIT_FAILURE : status;
}

static int bench_run(void *args)
{
	const struct bench_args *a = args;
	struct bench b = {
	    .count = 75000, .depth = 64, .len = 4096, .clients = 1};
	struct err e = ERR_INIT;
	struct source s;
	int status;

	if (!read_numbers(a, &b) || check(a, &b) ||
	    !source_one_operand(&a->c) || !source_opts_valid(&a->c))
		return EXIT_FAILURE;
	s = source_operand(&a->c, a->c.operands[0]);
	s.how.flags |= b.write_percent ? IMG_O_RDWR : 0;
	s.how.connections = a->connections ? (unsigned)b.clients : 0;
	if (!source_cache(a->c.cache, "cache", &s.how.cache))
		return EXIT_FAILURE;
	status = run_on(a, &b, &s);
	if (b.img && img_close(b.img, &e) && !status)
		status = msg_err(&e);
	return status;
}

#define FIELD(member) offsetof(struct bench_args, member)

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORMAT(NULL),
    OPT_CACHE("writeback"),
    OPT_QUIET,
    OPT_OUTPUT,
    OPT_FORCE_SHARE,
    {'c', NULL, "count", "how many requests (default: 75000)", FIELD(count)},
    {'d', NULL, "depth", "how many at a time (default: 64)", FIELD(depth)},
    {0, "connections", "n",
	"so many clients, each with -d requests and, on an NBD server, a "
	"connection of its own (default: 1)",
	FIELD(connections)},
    {0, "flush-interval", "n", "flush after every n requests",
	FIELD(flush_interval)},
    {'i', NULL, "aio", "threads, native or io_uring: accepted, no effect",
	FIELD(aio)},
    {'n', NULL, NULL, "as -i native", FIELD(native)},
    {0, "no-drain", NULL, "do not wait before a flush: accepted, no effect",
	FIELD(no_drain)},
    {'o', NULL, "offset", "where to begin (default: 0)", FIELD(offset)},
    {0, "pattern", "byte", "what is written (default: 0)", FIELD(pattern)},
    {'s', NULL, "size", "bytes in a request (default: 4096)",
	FIELD(buffer_len)},
    {'S', NULL, "step", "from one request to the next (default: -s)",
	FIELD(step)},
    {'w', NULL, NULL, "write; else read", FIELD(write)},
    {0, "write-mix", "percent", "that many requests write, the others read",
	FIELD(write_mix)},
    {0, "random", NULL, "at random places, the same in every run",
	FIELD(random)},
    {0, "latency", NULL, "print rates and latency percentiles too",
	FIELD(latency)},
    {0},
};

const struct command cmd_bench = {
    .name = "bench",
    .operands = "filename",
    .summary = "Measure requests on an image.",
    .notes = "Requests wrap around at the end of the image.\n",
    .opts = opts,
    .args_len = sizeof(struct bench_args),
    .run = bench_run,
};
