/* SPDX-License-Identifier: BSD-3-Clause */
/* A host file in which a call can be held: see hold.h. */
#include <time.h>

#include "check.h"
#include "hold.h"

#define WAIT_MAX 30 /* seconds; for a test that goes wrong */

static bool touches(
    const struct hold *h, unsigned kind, uint64_t off, uint64_t len)
{
	if (!(h->kinds & kind))
		return false;
	return kind == FAULT_SYNC ||
	       (off < h->off + h->len && h->off < off + len);
}

static void on_call(void *arg, unsigned kind, uint64_t off, uint64_t len)
{
	struct hold *h = arg;

	mutex_lock(&h->lock);
	if (touches(h, kind, off, len)) {
		h->kinds = 0;
		h->held = true;
		h->held_off = off;
		h->held_len = len;
		lock_must(pthread_cond_broadcast(&h->changed));
		while (h->held)
			mutex_wait(&h->lock, &h->changed);
	}
	mutex_unlock(&h->lock);
}

struct hostfile *hold_new(struct hold *h, struct hostfile *under)
{
	struct err e = ERR_INIT;
	struct hostfile *f = faultfile_new(under, &e);

	assert_no_error(&e);
	mutex_init(&h->lock);
	lock_must(pthread_cond_init(&h->changed, NULL));
	h->kinds = 0;
	h->held = false;
	faultfile_on_call(f, on_call, h);
	return f;
}

void hold_arm(struct hold *h, unsigned kinds, uint64_t off, uint64_t len)
{
	mutex_lock(&h->lock);
	h->kinds = kinds;
	h->off = off;
	h->len = len;
	mutex_unlock(&h->lock);
}

void hold_wait(struct hold *h)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WAIT_MAX;
	mutex_lock(&h->lock);
	while (!h->held && !rc)
		rc = pthread_cond_clockwait(
		    &h->changed, &h->lock.m, CLOCK_MONOTONIC, &until);
	mutex_unlock(&h->lock);
	if (rc)
		fail_msg("the call that was to be held did not come");
}

bool hold_has_one(struct hold *h)
{
	bool held;

	mutex_lock(&h->lock);
	held = h->held;
	mutex_unlock(&h->lock);
	return held;
}

void hold_release(struct hold *h)
{
	mutex_lock(&h->lock);
	h->held = false;
	h->kinds = 0;
	lock_must(pthread_cond_broadcast(&h->changed));
	mutex_unlock(&h->lock);
}
