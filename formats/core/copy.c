/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copy engine: img_copy().
 *
 * Every worker takes the next run of the plan, with a number, reads it, looks
 * for zeroes and packs.  Then it waits for its turn, the order of the numbers,
 * takes space in the target, passes the turn on, and writes and publishes.  So
 * where things go depends on the source alone, not on the threads.
 *
 * Locks: `plan_lock` for taking runs; `lock` for turns, progress and the first
 * error.  Neither is held while data is read or written.  The guest range of
 * the target is locked inside the turn, so that two runs that share a unit
 * cannot wait for each other.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "copy.h"
#include "crew.h"
#include "request.h"

#define MEMORY_MAX     (48 * MiB) /* of all workers */
#define REMOTE_THREADS 4u
#define PACE_MS	       100 /* between looks at `stop` while waiting */

struct copy {
	const struct img_copy *job;
	bool ordered;
	_Atomic bool stop, offload;

	struct mutex plan_lock;
	struct copy_plan plan;
	uint64_t next_number;
	uint64_t paced; /* bytes of data handed out */
	struct timespec began;

	struct mutex lock;
	pthread_cond_t turned;
	uint64_t turn, done;
	struct err *err; /* the first one */
};

/* ---- errors and progress ---------------------------------------------- */

static void fail(struct copy *c, const struct err *e)
{
	mutex_lock(&c->lock);
	if (!err_is_set(c->err))
		*c->err = *e;
	atomic_store(&c->stop, true);
	lock_must(pthread_cond_broadcast(&c->turned));
	mutex_unlock(&c->lock);
}

static int report(struct copy *c, uint64_t len, struct err *e)
{
	const struct img_progress *p = &c->job->progress;
	int rc = 0;

	mutex_lock(&c->lock);
	c->done += len;
	if (p->step && !atomic_load(&c->stop))
		rc = p->step(p->arg, c->done, c->plan.total);
	if (rc) /* it is not asked again */
		atomic_store(&c->stop, true);
	mutex_unlock(&c->lock);
	return rc ? err_set(e, ERR_SYSTEM, ECANCELED, "stopped") : 0;
}

/* ---- taking runs ------------------------------------------------------- */

static uint64_t elapsed_ns(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)(now.tv_sec - since->tv_sec) * 1000000000u +
	       (uint64_t)now.tv_nsec - (uint64_t)since->tv_nsec;
}

/* Wait until `rate` allows what was handed out before. */
static int pace(struct copy *c, struct err *e)
{
	const struct timespec nap = {.tv_nsec = PACE_MS * 1000000};
	uint64_t rate = c->job->rate;

	while (rate && !atomic_load(&c->stop)) {
		double allowed =
		    (double)elapsed_ns(&c->began) * 1e-9 * (double)rate;

		if ((double)c->paced <= allowed)
			break;
		if (report(c, 0, e))
			return -1;
		nanosleep(&nap, NULL);
	}
	return 0;
}

/* 1 a run that needs work, 0 no more, -1 failed.  What stays as it is is
 * passed over. */
static int next_run(struct copy *c, struct copy_run *run, struct err *e)
{
	int rc;

	while (!atomic_load(&c->stop)) {
		if (pace(c, e))
			return -1;
		rc = copy_plan_next(&c->plan, run, e);
		if (rc <= 0)
			return rc;
		if (run->kind != COPY_SKIP)
			return 1;
		if (report(c, run->len, e))
			return -1;
	}
	return 0;
}

static int take_run(
    struct copy *c, struct copy_run *run, uint64_t *number, struct err *e)
{
	int rc;

	mutex_lock(&c->plan_lock);
	rc = next_run(c, run, e);
	if (rc == 1) {
		*number = c->next_number++;
		c->paced += run->kind == COPY_DATA ? run->len : 0;
	}
	mutex_unlock(&c->plan_lock);
	return rc;
}

/* ---- turns -------------------------------------------------------------- */

/* False when all has to stop. */
static bool turn_wait(struct copy *c, uint64_t number)
{
	mutex_lock(&c->lock);
	while (c->ordered && c->turn != number && !atomic_load(&c->stop))
		mutex_wait(&c->lock, &c->turned);
	mutex_unlock(&c->lock);
	return !atomic_load(&c->stop);
}

static void turn_pass(struct copy *c)
{
	if (!c->ordered)
		return;
	mutex_lock(&c->lock);
	c->turn++;
	lock_must(pthread_cond_broadcast(&c->turned));
	mutex_unlock(&c->lock);
}

/* ---- doing runs --------------------------------------------------------- */

static int do_zero(struct copy *c, const struct copy_run *run, struct err *e)
{
	struct image *dst = c->job->dst;
	uint64_t guest = c->job->dst_off + run->pos;
	struct write_guard g;
	int rc;

	rc = write_enter(dst, &g, run->len, guest, e);
	if (!rc) {
		rc = copy_zero(c->job, run->len, guest, e);
		write_leave(dst, &g);
	}
	turn_pass(c);
	if (rc)
		err_prefix(e, "error while writing at byte %llu: ",
		    (unsigned long long)run->pos);
	return rc;
}

static int do_data(struct copy *c, struct copy_chunk *k, struct err *e)
{
	struct image *dst = c->job->dst;
	struct write_guard g;
	int rc;

	if (write_enter(dst, &g, k->run.len, k->guest, e))
		return -1;
	rc = copy_reserve(k, e);
	turn_pass(c);
	if (!rc)
		rc = copy_store(k, e);
	write_leave(dst, &g);
	return rc;
}

/* All that can be done before the turn comes. */
static int prepare(struct copy *c, struct copy_chunk *k,
    const struct copy_run *run, struct err *e)
{
	copy_chunk_begin(k, run);
	if (copy_chunk_whole(k) &&
	    (copy_share_wanted(k) || atomic_load(&c->offload)))
		return 0;
	if (copy_load(k, e))
		return -1;
	copy_find_zeroes(k);
	return copy_pack(k, e);
}

static int do_run(struct copy *c, struct copy_chunk *k,
    const struct copy_run *run, uint64_t number, struct err *e)
{
	struct image *dst = c->job->dst;
	bool data = run->kind == COPY_DATA, in_kernel;
	int rc;

	if (data && prepare(c, k, run, e))
		return -1;
	in_kernel = data && !k->loaded;
	if (!turn_wait(c, number))
		return 0;
	rc = data ? do_data(c, k, e) : do_zero(c, run, e);
	if (rc)
		return -1;
	if (in_kernel && k->loaded) /* it could not be done: do not try again */
		atomic_store(&c->offload, false);
	rc = image_writes_through(dst) ? image_commit(dst, e)
				       : image_commit_if_due(dst, e);
	return rc ? -1 : report(c, run->len, e);
}

static void work(void *arg)
{
	struct copy *c = arg;
	struct err e = ERR_INIT;
	struct copy_chunk k;
	struct copy_run run;
	uint64_t number;
	int rc = copy_chunk_init(&k, &c->plan, &e);

	while (!rc) {
		rc = take_run(c, &run, &number, &e);
		if (rc <= 0)
			break;
		rc = do_run(c, &k, &run, number, &e);
	}
	if (rc < 0)
		fail(c, &e);
	copy_chunk_clear(&k);
}

/* ---- the job ------------------------------------------------------------ */

static int check_job(const struct img_copy *job, struct err *e)
{
	if (!(job->flags & IMG_COPY_PACK))
		return 0;
	if (job->dst->unit > COPY_UNIT_MAX)
		return err_unsupported(e,
		    "%s: compression in units of more than %llu bytes",
		    job->dst->name, COPY_UNIT_MAX);
	return write_packs(job->dst, e);
}

/* Who waits for another program leaves a processor to others. */
static unsigned default_threads(const struct img_copy *job)
{
	bool remote = job->dst->file->remote;

	for (size_t i = 0; i < job->src_n; i++)
		remote |= job->src[i]->file->remote;
	return (unsigned)max_u64(crew_default(), remote ? REMOTE_THREADS : 1);
}

static unsigned thread_n(const struct copy *c)
{
	uint64_t each = c->plan.chunk, runs;

	if (c->job->flags & IMG_COPY_PACK)
		each += 4ull * c->job->dst->unit;
	runs = c->plan.total / c->plan.chunk + 1;
	return (unsigned)min_u64(min_u64(runs, MEMORY_MAX / each),
	    c->job->threads ? c->job->threads : default_threads(c->job));
}

int img_copy(const struct img_copy *asked, struct err *e)
{
	struct img_copy mine = *asked;
	const struct img_copy *job = &mine;
	struct copy c = {.job = job, .err = e};

	if (mine.dst->packs_only) {
		mine.flags |= IMG_COPY_PACK;
		mine.flags &= ~(IMG_COPY_SHARE | IMG_COPY_OFFLOAD);
	}
	if (check_job(job, e) || copy_plan_init(&c.plan, job, e))
		return -1;
	c.ordered =
	    job->dst->drv->reserve && !(job->flags & IMG_COPY_UNORDERED);
	atomic_init(&c.offload, job->flags & IMG_COPY_OFFLOAD);
	clock_gettime(CLOCK_MONOTONIC, &c.began);
	mutex_init(&c.plan_lock);
	mutex_init(&c.lock);
	lock_must(pthread_cond_init(&c.turned, NULL));
	crew_run(thread_n(&c), work, &c);
	pthread_cond_destroy(&c.turned);
	mutex_destroy(&c.lock);
	mutex_destroy(&c.plan_lock);
	return err_is_set(e) ? -1 : 0;
}
