/* SPDX-License-Identifier: BSD-3-Clause */
/* The gate of an image: see gate.h. */
#include "gate.h"

void gate_init(struct gate *g)
{
	mutex_init(&g->lock);
	lock_must(pthread_cond_init(&g->changed, NULL));
	g->inside = 0;
	g->closed = false;
}

void gate_destroy(struct gate *g)
{
	pthread_cond_destroy(&g->changed);
	mutex_destroy(&g->lock);
}

void gate_enter(struct gate *g)
{
	mutex_lock(&g->lock);
	while (g->closed)
		mutex_wait(&g->lock, &g->changed);
	g->inside++;
	mutex_unlock(&g->lock);
}

bool gate_tryenter(struct gate *g)
{
	bool entered;

	mutex_lock(&g->lock);
	entered = !g->closed;
	g->inside += entered;
	mutex_unlock(&g->lock);
	return entered;
}

void gate_leave(struct gate *g)
{
	mutex_lock(&g->lock);
	if (--g->inside == 0 && g->closed)
		lock_must(pthread_cond_broadcast(&g->changed));
	mutex_unlock(&g->lock);
}

void gate_close(struct gate *g) NO_TSA
{
	mutex_lock(&g->lock);
	while (g->closed)
		mutex_wait(&g->lock, &g->changed);
	g->closed = true;
	while (g->inside)
		mutex_wait(&g->lock, &g->changed);
	mutex_unlock(&g->lock);
}

void gate_open(struct gate *g) NO_TSA
{
	mutex_lock(&g->lock);
	g->closed = false;
	lock_must(pthread_cond_broadcast(&g->changed));
	mutex_unlock(&g->lock);
}
