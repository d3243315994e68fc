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
	static struct CMUnitTest tests[GEOMETRY_MAX + 1];
	const char *only = getenv("CONFORM_ONLY");
	size_t n = 0;

	if (!peer_have("qemu-img") || !peer_have("qemu-io")) {
		printf("needs qemu-img and qemu-io\n");
		return 77;
	}
	tmpdir_enter();
	for (size_t i = 0; n < GEOMETRY_MAX && geometry_at(i, &geometry[n]);
	     i++) {
		struct geometry *g = &geometry[n];

		if (only && !strstr(g->name, only))
			continue;
		tests[n++] = (struct CMUnitTest){
		    .name = g->name, .test_func = run, .initial_state = g};
	}
	assert_true(n < GEOMETRY_MAX);
	if (!only)
		tests[n++] = (struct CMUnitTest){
		    .name = "coverage", .test_func = coverage};
	printf("seed %llu\n", (unsigned long long)from_env("CONFORM_SEED", 1));
	return _cmocka_run_group_tests("conform", tests, n, NULL, NULL);
}
