/* SPDX-License-Identifier: BSD-3-Clause */
/* Worker threads: see sched.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/lock.h"

#include "sched.h"

struct sched {
	unsigned thread_max;
	struct mutex lock; /* guards all that follows */
	pthread_cond_t work;
	struct lane *head, *last; /* lanes that have jobs           */
	unsigned idle;		  /* threads waiting for a job      */
	unsigned waking;	  /* of these, are about to look    */
	unsigned wanted;	  /* jobs that nobody has taken     */
	bool stop;
	unsigned thread_n;
	pthread_t thread[];
};

struct sched *sched_new(unsigned max, struct err *e)
{
	struct sched *s = calloc(1, sizeof *s + max * sizeof s->thread[0]);

	if (!s) {
		err_nomem(e);
		return NULL;
	}
	mutex_init(&s->lock);
	lock_must(pthread_cond_init(&s->work, NULL));
	s->thread_max = max;
	return s;
}

static void lane_append(struct sched *s, struct lane *l) REQUIRES(s->lock)
{
	l->next = NULL;
	if (s->head)
		s->last->next = l;
	else
		s->head = l;
	s->last = l;
	l->queued = true;
}

/* The next job; its lane goes to the end of the queue, or leaves it. */
static struct job *take_job(struct sched *s) REQUIRES(s->lock)
{
	struct lane *l = s->head;
	struct job *j = l->head;

	s->head = l->next;
	l->head = j->next;
	l->queued = false;
	if (l->head)
		lane_append(s, l);
	s->wanted--;
	return j;
}

static void *worker(void *arg)
{
	struct sched *s = arg;

	mutex_lock(&s->lock);
	for (;;) {
		struct job *j;

		s->idle++;
		while (!s->head && !s->stop) {
			mutex_wait(&s->lock, &s->work);
			if (s->waking)
				s->waking--;
		}
		s->idle--;
		if (!s->head)
			break;
		j = take_job(s);
		mutex_unlock(&s->lock);
		j->run(j);
		mutex_lock(&s->lock);
	}
	mutex_unlock(&s->lock);
	return NULL;
}

/* With no thread at all the job would never run: then the caller must. */
static bool start_thread(struct sched *s) REQUIRES(s->lock)
{
	if (s->thread_n < s->thread_max &&
	    !pthread_create(&s->thread[s->thread_n], NULL, worker, s))
		s->thread_n++;
	return s->thread_n > 0;
}

void sched_submit(struct sched *s, struct lane *lane, struct job *j)
{
	bool wake;

	j->next = NULL;
	mutex_lock(&s->lock);
	if (s->idle <= s->wanted && !start_thread(s)) {
		mutex_unlock(&s->lock);
		j->run(j);
		return;
	}
	if (lane->head)
		lane->last->next = j;
	else
		lane->head = j;
	lane->last = j;
	if (!lane->queued)
		lane_append(s, lane);
	s->wanted++;
	/* Often a busy thread takes the job first.  The one that was woken for
	   it in vain will do for the next. */
	wake = s->waking < s->idle && s->waking < s->wanted;
	s->waking += wake;
	mutex_unlock(&s->lock);
	if (wake)
		lock_must(pthread_cond_signal(&s->work));
}

void sched_free(struct sched *s)
{
	unsigned n;

	if (!s)
		return;
	mutex_lock(&s->lock);
	assert(!s->head);
	s->stop = true;
	n = s->thread_n;
	lock_must(pthread_cond_broadcast(&s->work));
	mutex_unlock(&s->lock);
	for (unsigned i = 0; i < n; i++)
		lock_must(pthread_join(s->thread[i], NULL));
	pthread_cond_destroy(&s->work);
	mutex_destroy(&s->lock);
	free(s);
}
