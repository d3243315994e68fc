/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host file that can lose power: see crashfile.h.
 *
 * Lock: `lock` covers all of struct crashfile, and makes a change of `now` and
 * its entry in the journal one step.
 */
#include <stdlib.h>
#include <string.h>

#include "crashfile.h"
#include "formats/core/cleanup.h"
#include "formats/core/units.h"
#include "formats/host/iov.h"
#include "hostio.h"
#include "rng.h"

enum change_kind { CHANGE_WRITE, CHANGE_ZERO, CHANGE_SIZE };

struct change {
	enum change_kind kind;
	uint64_t off, len; /* SIZE: off is the new size */
	uint8_t *data;	   /* WRITE */
};

struct crashfile {
	struct mutex lock;
	struct hostfile *disk, *now;
	struct hostfile *host; /* the face of `now` */
	struct change *journal;
	size_t change_n, change_max;
	uint64_t synced; /* changes that have left the journal */
	unsigned barriers;
	crashfile_barrier *on_sync;
	void *on_sync_arg;
};

/* ---- the journal ------------------------------------------------------- */

/* A new entry at the end, all zero; NULL: out of memory. */
static struct change *journal_add(struct crashfile *c) REQUIRES(&c->lock)
{
	size_t max = c->change_max ? 2 * c->change_max : 64;
	struct change *j = c->journal;

	if (c->change_n == c->change_max) {
		j = reallocarray(j, max, sizeof *j);
		if (!j)
			return NULL;
		c->journal = j;
		c->change_max = max;
	}
	j += c->change_n++;
	memset(j, 0, sizeof *j);
	return j;
}

/* Forget the first n entries. */
static void journal_drop(struct crashfile *c, size_t n) REQUIRES(&c->lock)
{
	for (size_t i = 0; i < n; i++)
		free(c->journal[i].data);
	c->change_n -= n;
	c->synced += n;
	if (c->change_n)
		memmove(c->journal, c->journal + n,
		    c->change_n * sizeof *c->journal);
}

/* Apply bytes [from, to) of a write or zeroing, counted from its start. */
static int apply_part(struct hostfile *f, const struct change *ch,
    uint64_t from, uint64_t to, struct err *e)
{
	if (ch->kind == CHANGE_WRITE)
		return host_pwrite(
		    f, ch->data + from, to - from, ch->off + from, e);
	return host_zero(f, ch->off + from, to - from, HOST_ZERO_PUNCH, e);
}

static int apply(struct hostfile *f, const struct change *ch, struct err *e)
{
	if (ch->kind == CHANGE_SIZE)
		return host_truncate(f, ch->off, e);
	return apply_part(f, ch, 0, ch->len, e);
}

/* ---- the host file ----------------------------------------------------- */

static int crash_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	struct crashfile *c = f->priv;

	return host_preadv(c->now, iov, n, off, e);
}

/* Enter a change and make it; the data of a write is taken over. */
static int change(struct hostfile *f, const struct change *ch, struct err *e)
{
	struct crashfile *c = f->priv;
	struct change *entry;
	int rc = -1;

	mutex_lock(&c->lock);
	entry = journal_add(c);
	if (entry) {
		*entry = *ch;
		rc = apply(c->now, entry, e);
	} else {
		free(ch->data);
		err_nomem(e);
	}
	mutex_unlock(&c->lock);
	return rc;
}

static int crash_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	struct change ch = {.kind = CHANGE_WRITE, .off = off};
	struct iov_walk w = {iov, n, 0};

	iov_len(iov, n, &ch.len);
	ch.data = malloc(ch.len);
	if (!ch.data)
		return err_nomem(e);
	iov_get(&w, ch.data, ch.len);
	return change(f, &ch, e);
}

static int crash_truncate(struct hostfile *f, uint64_t size, struct err *e)
{
	struct change ch = {.kind = CHANGE_SIZE, .off = size};

	return change(f, &ch, e);
}

static int crash_zero(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	struct change ch = {.kind = CHANGE_ZERO, .off = off, .len = len};

	return change(f, &ch, e) ? -1 : 1;
}

static int crash_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	struct crashfile *c = f->priv;

	return host_map(c->now, off, len, x, e);
}

/* What changed before the call reaches the disk; not what others change while
 * on_sync runs. */
static int crash_sync(struct hostfile *f, struct err *e)
{
	struct crashfile *c = f->priv;
	crashfile_barrier *fn;
	unsigned barrier;
	uint64_t goal;
	size_t n;
	int rc = 0;

	mutex_lock(&c->lock);
	goal = c->synced + c->change_n;
	barrier = c->barriers++;
	fn = c->on_sync;
	mutex_unlock(&c->lock);
	if (fn)
		fn(c->on_sync_arg, c, barrier);
	mutex_lock(&c->lock);
	n = goal - min_u64(goal, c->synced);
	for (size_t i = 0; i < n && !rc; i++)
		rc = apply(c->disk, &c->journal[i], e);
	journal_drop(c, n);
	mutex_unlock(&c->lock);
	return rc;
}

static const struct host_ops crash_ops = {
    .name = "crashfile",
    .readv = crash_readv,
    .writev = crash_writev,
    .sync = crash_sync,
    .truncate = crash_truncate,
    .map = crash_map,
    .punch = crash_zero,
    .zero = crash_zero,
};

struct crashfile *crashfile_new(struct err *e)
{
	struct crashfile *c = calloc(1, sizeof *c);

	if (!c) {
		err_nomem(e);
		return NULL;
	}
	mutex_init(&c->lock);
	c->disk = host_open_memory("disk", 0, e);
	c->now = host_open_memory("now", 0, e);
	c->host = host_new(&crash_ops, "crashfile", HOST_RDWR, e);
	if (!c->disk || !c->now || !c->host) {
		crashfile_free(c);
		return NULL;
	}
	c->host->priv = c;
	return c;
}

void crashfile_free(struct crashfile *c)
{
	mutex_lock(&c->lock);
	journal_drop(c, c->change_n);
	free(c->journal);
	mutex_unlock(&c->lock);
	host_put(c->host);
	host_put(c->now);
	host_put(c->disk);
	mutex_destroy(&c->lock);
	free(c);
}

struct hostfile *crashfile_host(struct crashfile *c)
{
	return host_ref(c->host);
}

void crashfile_on_sync(struct crashfile *c, crashfile_barrier *fn, void *arg)
{
	mutex_lock(&c->lock);
	c->on_sync = fn;
	c->on_sync_arg = arg;
	mutex_unlock(&c->lock);
}

unsigned crashfile_barriers(struct crashfile *c)
{
	unsigned n;

	mutex_lock(&c->lock);
	n = c->barriers;
	mutex_unlock(&c->lock);
	return n;
}

size_t crashfile_pending(struct crashfile *c)
{
	size_t n;

	mutex_lock(&c->lock);
	n = c->change_n;
	mutex_unlock(&c->lock);
	return n;
}

/* ---- crash images ------------------------------------------------------ */

/* How a power failure treats the journal. */
struct fate {
	struct rng rng;
	size_t first_n; /* entries from here on are all lost           */
	size_t size_n;	/* and changes of the size after this many     */
	unsigned keep;	/* chance of each entry to survive, of 16      */
	unsigned tear;	/* chance of a survivor to be torn, of 16      */
	bool shuffle;	/* in any order                                */
};

static void choose(const struct crashfile *c, struct fate *fate, uint64_t seed)
    REQUIRES(&c->lock)
{
	struct rng *r = &fate->rng;

	r->state = seed;
	fate->first_n = c->change_n;
	fate->size_n = 0;
	for (size_t i = 0; i < c->change_n; i++)
		fate->size_n += c->journal[i].kind == CHANGE_SIZE;
	fate->keep = 16;
	fate->tear = 0;
	fate->shuffle = false;
	if (seed == 0)
		fate->first_n = 0;
	if (seed <= 1)
		return;
	fate->tear = (unsigned)rng_below(r, 8);
	if (rng_below(r, 4) == 0) {
		/* Changes went out in order. */
		fate->first_n = rng_below(r, c->change_n + 1);
		return;
	}
	fate->keep = (unsigned)rng_below(r, 16);
	fate->size_n = rng_below(r, fate->size_n + 1);
	fate->shuffle = rng_below(r, 2);
}

/* Whole sectors, in runs, are old or new. */
static int apply_torn(
    struct hostfile *f, const struct change *ch, struct rng *r, struct err *e)
{
	uint64_t run_max = max_u64(1, ch->len / SECTOR_LEN / 8);

	for (uint64_t from = 0, to; from < ch->len; from = to) {
		uint64_t run = SECTOR_LEN * (1 + rng_below(r, run_max));

		to = round_down(ch->off + from, SECTOR_LEN) + run - ch->off;
		to = min_u64(to, ch->len);
		if (rng_below(r, 2) && apply_part(f, ch, from, to, e))
			return -1;
	}
	return 0;
}

/* An order of the journal in which no entry moves across a change of the size.
 */
static void shuffle(const struct crashfile *c, size_t *order, struct rng *r)
    REQUIRES(&c->lock)
{
	size_t start = 0;

	for (size_t i = 0; i < c->change_n; i++) {
		size_t other, was = order[i];

		if (c->journal[i].kind == CHANGE_SIZE) {
			start = i + 1;
			continue;
		}
		other = start + rng_below(r, i - start + 1);
		order[i] = order[other];
		order[other] = was;
	}
}

static int apply_fate(struct crashfile *c, struct hostfile *f,
    struct fate *fate, size_t *order, struct err *e) REQUIRES(&c->lock)
{
	size_t size_n = 0;
	int rc = 0;

	for (size_t i = 0; i < c->change_n; i++)
		order[i] = i;
	if (fate->shuffle)
		shuffle(c, order, &fate->rng);
	for (size_t i = 0; i < fate->first_n && !rc; i++) {
		const struct change *ch = &c->journal[order[i]];

		if (ch->kind == CHANGE_SIZE) {
			if (size_n++ < fate->size_n)
				rc = apply(f, ch, e);
		} else if (rng_below(&fate->rng, 16) >= fate->keep) {
			continue;
		} else if (rng_below(&fate->rng, 16) < fate->tear) {
			rc = apply_torn(f, ch, &fate->rng, e);
		} else {
			rc = apply(f, ch, e);
		}
	}
	return rc;
}

struct hostfile *crashfile_image(
    struct crashfile *c, uint64_t seed, struct err *e)
{
	CLEANUP_FREE size_t *order = NULL;
	struct hostfile *f = host_open_memory("crash image", 0, e);
	struct fate fate;
	int rc;

	if (!f)
		return NULL;
	mutex_lock(&c->lock);
	choose(c, &fate, seed);
	order = calloc(c->change_n + 1, sizeof *order);
	rc = order ? hostio_copy(f, c->disk, e) : err_nomem(e);
	if (!rc)
		rc = apply_fate(c, f, &fate, order, e);
	mutex_unlock(&c->lock);
	if (rc) {
		host_put(f);
		return NULL;
	}
	return f;
}
