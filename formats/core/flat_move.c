/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moving blocks of a flat table: see flat.h.
 *
 * A block is copied, then its entry changes in the cache; the commit makes the
 * copies durable before it writes entries (I2).  Where a block was stays as it
 * is until then, so a crash leaves either entry with its data.
 *
 * The gate is closed: the functions below take no lock but meta in a commit.
 */
#include "duplicate.h"
#include "flat.h"
#include "request.h"

static int claim_block(struct flat *f, uint64_t ix, const struct flat_block *b,
    const char *fault, void *arg, struct err *e)
{
	(void)ix, (void)fault;
	if (b->kind != EXT_DATA)
		return 0;
	return flat_claim(f, b, arg, e) < 0 ? -1 : 0;
}

int flat_scan(struct flat *f, int (*structures)(struct flat *f, struct err *e),
    struct err *e)
{
	struct space *s = &f->space;
	uint64_t end = max_u64(host_size(f->img->file), s->base);
	uint64_t limit = s->base + s->max_ix * s->unit_len;
	uint64_t block_n = 0;
	struct space fresh;

	space_init(&fresh, s->base, s->unit_len, end, limit);
	space_destroy(s);
	*s = fresh;
	if (space_scan_begin(s, e))
		return err_prefix(e, "%s: ", f->img->name), -1;
	if ((structures && structures(f, e)) ||
	    flat_each(f, claim_block, &block_n, e))
		return -1;
	space_scan_end(s);
	return 0;
}

struct move {
	uint64_t from, to; /* host bytes to be left */
};

static int move_block(struct flat *f, uint64_t ix, const struct flat_block *b,
    const char *fault, void *arg, struct err *e)
{
	const struct move *m = arg;
	struct flat_block next = {.kind = EXT_DATA};
	uint64_t got;

	if (fault || b->kind != EXT_DATA || b->host < m->from ||
	    b->host >= m->to)
		return 0;
	if (flat_take(f, 1, &next.host, &got, e) ||
	    duplicate(f->img->file, b->host, next.host, f->space_len, e) ||
	    flat_put(f, ix, &next, e))
		return -1;
	return image_commit_due(f->img) ? image_commit(f->img, e) : 0;
}

int flat_move(struct flat *f, uint64_t from, uint64_t to, struct err *e)
{
	struct move m = {.from = from, .to = to};

	if (space_claim_free(&f->space, from, to, e) ||
	    flat_each(f, move_block, &m, e))
		return -1;
	return image_commit(f->img, e);
}

int flat_compact(struct flat *f, struct err *e)
{
	const struct space *s = &f->space;
	uint64_t end = space_end(s) - s->free_n * s->unit_len;

	/* What is damaged may need more space than there is. */
	if (!s->free_n || s->shared.n || s->far.n)
		return 0;
	if (flat_move(f, end, UINT64_MAX, e))
		return -1;
	space_cut(&f->space, end);
	return 0;
}
