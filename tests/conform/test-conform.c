/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every format that can create, in every geometry, against a byte oracle:
 * random operations, after each of which content and map are right, and in
 * the end no check finds anything.
 *
 * CONFORM_SEED and CONFORM_STEPS change the run; CONFORM_ONLY picks the
 * geometries whose name has that text in it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "effort.h"
#include "formats/codec/codec.h"
#include "group.h"
#include "ops.h"
#include "peer.h"
#include "tmpdir.h"

#define STEPS	     EFFORT(120u, 40u)
#define GEOMETRY_MAX 128u

static struct ops_counts counts;

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static bool can_run(const struct geometry *g)
{
	bool zstd =
	    g->base == BASE_ZSTD || (g->options && strstr(g->options, "zstd"));

	return !zstd || codec_available(CODEC_ZSTD);
}

static void run(void **state)
{
	const struct geometry *g = *state;
	unsigned steps = (unsigned)from_env("CONFORM_STEPS", STEPS);
	struct subject s;

	if (!can_run(g))
		skip();
	subject_make(&s, g, from_env("CONFORM_SEED", 1));
	subject_read_all(&s);
	subject_map(&s);
	for (s.step = 1; s.step <= steps; s.step++) {
		ops_step(&s, &counts);
		subject_read_all(&s);
		if (s.step % 4 == 0)
			subject_map(&s);
	}
	subject_close(&s);
	subject_check(&s);
	subject_read_snapshots(&s);
	subject_open(&s, &(struct img_open){.format = g->format});
	subject_read_all(&s);
	subject_free(&s);
}

/* The rarer operations were tested too. */
static void coverage(void **state)
{
	(void)state;
	assert_true(counts.planned_reads > EFFORT(50, 10));
	assert_true(counts.planned_writes > EFFORT(50, 10));
	assert_true(counts.packed > EFFORT(50, 10));
	assert_true(counts.reopened > EFFORT(50, 10));
}

int main(void)
{
	static struct geometry geometry[GEOMETRY_MAX];
	const char *only = getenv("CONFORM_ONLY");
	struct group g = {0};
	size_t n;

	peer_needs("qemu-img");
	peer_needs("qemu-io");
	tmpdir_enter();
	for (n = 0; n < GEOMETRY_MAX && geometry_at(n, &geometry[n]); n++)
		if (!only || strstr(geometry[n].name, only))
			group_add(&g, geometry[n].name, run, &geometry[n]);
	assert_true(n < GEOMETRY_MAX);
	if (!only)
		group_add(&g, "coverage", coverage, NULL);
	printf("seed %llu\n", (unsigned long long)from_env("CONFORM_SEED", 1));
	return group_run(&g, "conform");
}
