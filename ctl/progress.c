/* SPDX-License-Identifier: BSD-3-Clause */
/* Progress: see progress.h. */
#include "progress.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "signals.h"

static atomic_bool asked; /* by the signal */

static void note_question(int sig)
{
	(void)sig;
	atomic_store(&asked, true);
}

static void print(struct progress *p, double percent)
{
	printf("    (%3.2f/100%%)\r", percent);
	fflush(stdout);
	p->last = percent;
}

static int step(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;
	double percent = total ? (double)done * 100 / (double)total : 100;

	if (!p->shown) {
		if (atomic_exchange(&asked, false))
			fprintf(stderr, "    (%3.2f/100%%)\n", percent);
	} else if (percent >= p->last + p->step ||
		   (done == total && p->last < 100)) {
		print(p, percent);
	}
	return signals_noted();
}

struct img_progress progress_begin(
    struct progress *p, const struct common *c, double step_percent)
{
	*p = (struct progress){
	    .shown = c->progress && !c->quiet, .step = step_percent};
	if (p->shown)
		print(p, 0);
	else
		signal(SIGUSR1, note_question);
	return (struct img_progress){.step = step, .arg = p};
}

void progress_full(struct progress *p)
{
	if (p->shown && p->last < 100)
		print(p, 100);
}

void progress_end(struct progress *p)
{
	if (!p->shown)
		return;
	putchar('\n');
	fflush(stdout);
}

int progress_close(
    struct progress *p, struct image **img, int rc, struct err *e)
{
	if (!rc)
		rc = img_close(take(*img), e);
	if (!rc)
		progress_full(p);
	progress_end(p);
	return rc;
}
