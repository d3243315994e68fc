/* SPDX-License-Identifier: BSD-3-Clause */
/* One operation in a thread of its own: see actor.h. */
#include <unistd.h>

#include "actor.h"
#include "asleep.h"
#include "check.h"

static int act(struct actor *a)
{
	struct img_check found;

	switch (a->op) {
	case ACT_READ:
		return img_pread(a->img, a->buf, a->len, a->off, &a->e);
	case ACT_WRITE:
		return img_pwrite(
		    a->img, a->buf, a->len, a->off, a->flags, &a->e);
	case ACT_ZERO:
		return img_zero(a->img, a->len, a->off, a->flags, &a->e);
	case ACT_TRIM:
		return img_trim(a->img, a->len, a->off, a->flags, &a->e);
	case ACT_CHECK:
		return img_check(a->img, &found, NULL, NULL, &a->e);
	case ACT_RESIZE:
		return img_resize(a->img, a->len, IMG_PREALLOC_OFF, &a->e);
	case ACT_SNAPSHOT:
		return img_snapshot_create(a->img, "s", &a->e);
	case ACT_FLUSH:
		break;
	}
	return img_flush(a->img, &a->e);
}

static void *run(void *arg)
{
	struct actor *a = arg;

	atomic_store(&a->tid, gettid());
	a->rc = act(a);
	atomic_store(&a->done, true);
	return NULL;
}

void actor_start(struct actor *a)
{
	a->e = (struct err)ERR_INIT;
	atomic_store(&a->done, false);
	atomic_store(&a->tid, 0);
	assert_int_equal(pthread_create(&a->thread, NULL, run, a), 0);
}

void actor_waits(struct actor *a)
{
	asleep_wait(&a->tid);
	assert_false(atomic_load(&a->done));
}

int actor_join(struct actor *a)
{
	assert_int_equal(pthread_join(a->thread, NULL), 0);
	return a->rc;
}

void actor_finish(struct actor *a)
{
	assert_ok(actor_join(a), &a->e);
}
