/* SPDX-License-Identifier: BSD-3-Clause */
/* Long extents from blocks, against the blocks themselves. */
#include "check.h"
#include "formats/core/maprun.h"
#include "rng.h"

#define BLOCKS	  600u
#define BLOCK_LEN 4096u
#define SIZE	  ((uint64_t)BLOCKS * BLOCK_LEN)

/* What a block is. */
struct block {
	bool bad;
	enum ext_kind kind;
	unsigned flags;
	struct hostfile *file;
	uint64_t host;
};

static struct block blocks[BLOCKS];
static struct hostfile files[2];
static unsigned looks;

static int look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct block *b = &blocks[guest / BLOCK_LEN % BLOCKS];
	uint64_t in_block = guest % BLOCK_LEN;

	(void)img;
	looks++;
	assert_int_equal(x->guest, guest);
	assert_int_equal(x->len, len);
	if (b->bad)
		return err_damaged(e, "a bad block");
	x->kind = b->kind;
	x->flags = b->flags;
	x->file = b->file;
	x->host = b->host + in_block;
	x->len = min_u64(len, BLOCK_LEN - in_block);
	return 0;
}

/* Blocks like the one before, mostly, so that there are runs. */
static void fill(struct rng *rng)
{
	static const enum ext_kind kinds[] = {
	    EXT_HOLE, EXT_ZERO, EXT_DATA, EXT_PACKED};

	for (unsigned i = 0; i < BLOCKS; i++) {
		struct block *b = &blocks[i];

		if (i && rng_below(rng, 4)) {
			*b = blocks[i - 1];
			b->host += BLOCK_LEN;
			continue;
		}
		b->bad = !rng_below(rng, 20);
		b->kind = kinds[rng_below(rng, 4)];
		b->flags = rng_below(rng, 3) ? 0 : EXT_F_SPACE;
		b->file = &files[rng_below(rng, 2)];
		b->host = rng_below(rng, 1000) * BLOCK_LEN;
	}
}

static bool has_host(const struct block *b)
{
	return b->kind == EXT_DATA || b->flags & EXT_F_SPACE;
}

/* May block i + 1 be in one extent with block i? */
static bool joined(unsigned i)
{
	const struct block *a = &blocks[i], *b = a + 1;

	if (a->bad || b->bad || a->kind != b->kind || a->flags != b->flags ||
	    a->kind == EXT_PACKED)
		return false;
	return !has_host(a) ||
	       (a->file == b->file && b->host == a->host + BLOCK_LEN);
}

static uint64_t want_len(uint64_t guest, uint64_t len)
{
	unsigned i = guest / BLOCK_LEN;
	uint64_t end;

	for (end = i + 1; end < BLOCKS && joined(end - 1); end++)
		;
	return min_u64(len, end * BLOCK_LEN - guest);
}

static void against_blocks(void **state)
{
	struct rng rng = {3};

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		uint64_t guest = rng_below(&rng, SIZE);
		uint64_t len = 1 + rng_below(&rng, SIZE - guest);
		const struct block *b = &blocks[guest / BLOCK_LEN];
		struct err e = ERR_INIT;
		struct extent x;

		if (round % 100 == 0)
			fill(&rng);
		if (maprun(NULL, look, guest, len, &x, &e)) {
			assert_true(b->bad);
			assert_string_equal(e.msg, "a bad block");
			continue;
		}
		assert_false(b->bad);
		assert_int_equal(x.guest, guest);
		assert_int_equal(x.kind, b->kind);
		assert_int_equal(x.host, b->host + guest % BLOCK_LEN);
		assert_int_equal(x.len, want_len(guest, len));
		assert_false(err_is_set(&e));
	}
}

static void steps_are_bounded(void **state)
{
	struct err e = ERR_INIT;
	struct extent x;

	(void)state;
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = (struct block){.kind = EXT_HOLE};
	looks = 0;
	assert_ok(maprun(NULL, look, 0, 1ull << 50, &x, &e), &e);
	assert_int_equal(looks, MAPRUN_STEPS_MAX);
	assert_int_equal(x.len, (uint64_t)MAPRUN_STEPS_MAX * BLOCK_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(against_blocks),
	    cmocka_unit_test(steps_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
