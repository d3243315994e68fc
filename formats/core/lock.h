/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks that clang's thread-safety analysis can see.  They cannot fail: an
 * error from pthread here is a bug in this program, and stops it.
 */
#ifndef IMGD_LOCK_H
#define IMGD_LOCK_H

#include <pthread.h>
#include <stdlib.h>

#ifdef __clang__
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif

#define CAPABILITY(name)     TSA(capability(name))
#define GUARDED_BY(l)	     TSA(guarded_by(l))
#define REQUIRES(...)	     TSA(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) TSA(requires_shared_capability(__VA_ARGS__))
#define ACQUIRES(...)	     TSA(acquire_capability(__VA_ARGS__))
#define ACQUIRES_SHARED(...) TSA(acquire_shared_capability(__VA_ARGS__))
#define RELEASES(...)	     TSA(release_capability(__VA_ARGS__))
#define RELEASES_SHARED(...) TSA(release_shared_capability(__VA_ARGS__))
#define EXCLUDES(...)	     TSA(locks_excluded(__VA_ARGS__))
#define NO_TSA		     TSA(no_thread_safety_analysis)

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t m;
};

struct CAPABILITY("rwlock") rwlock {
	pthread_rwlock_t l;
};

static inline void lock_must(int rc)
{
	if (rc)
		abort();
}

static inline void mutex_init(struct mutex *m)
{
	lock_must(pthread_mutex_init(&m->m, NULL));
}

static inline void mutex_destroy(struct mutex *m)
{
	lock_must(pthread_mutex_destroy(&m->m));
}

static inline void mutex_lock(struct mutex *m) ACQUIRES(m) NO_TSA
{
	lock_must(pthread_mutex_lock(&m->m));
}

static inline void mutex_unlock(struct mutex *m) RELEASES(m) NO_TSA
{
	lock_must(pthread_mutex_unlock(&m->m));
}

/* Gives the mutex up while it waits, as pthread_cond_wait() does. */
static inline void mutex_wait(struct mutex *m, pthread_cond_t *c) REQUIRES(m)
{
	lock_must(pthread_cond_wait(c, &m->m));
}

/* Writers go first, so that a stream of readers cannot starve them. */
static inline void rwlock_init(struct rwlock *l)
{
	pthread_rwlockattr_t a;

	lock_must(pthread_rwlockattr_init(&a));
	lock_must(pthread_rwlockattr_setkind_np(
	    &a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
	lock_must(pthread_rwlock_init(&l->l, &a));
	pthread_rwlockattr_destroy(&a);
}

static inline void rwlock_destroy(struct rwlock *l)
{
	lock_must(pthread_rwlock_destroy(&l->l));
}

static inline void rwlock_shared(struct rwlock *l) ACQUIRES_SHARED(l) NO_TSA
{
	lock_must(pthread_rwlock_rdlock(&l->l));
}

static inline void rwlock_shared_end(struct rwlock *l) RELEASES_SHARED(l) NO_TSA
{
	lock_must(pthread_rwlock_unlock(&l->l));
}

static inline void rwlock_excl(struct rwlock *l) ACQUIRES(l) NO_TSA
{
	lock_must(pthread_rwlock_wrlock(&l->l));
}

static inline void rwlock_excl_end(struct rwlock *l) RELEASES(l) NO_TSA
{
	lock_must(pthread_rwlock_unlock(&l->l));
}

#endif
