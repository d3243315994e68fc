/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scope-bound ownership: `CLEANUP_FREE char *p = ...` is freed when p leaves
 * its scope.  Give ownership away with take().
 */
#ifndef IMGD_CLEANUP_H
#define IMGD_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define CLEANUP_FREE __attribute__((cleanup(cleanup_free_ptr)))
#define CLEANUP_FD   __attribute__((cleanup(cleanup_close_fd)))

/* Define cleanup_NAME for CLEANUP(NAME): calls fn(ptr) for a non-NULL ptr. */
#define DEFINE_CLEANUP(name, type, fn)                                         \
	static inline void cleanup_##name(type **p)                            \
	{                                                                      \
		if (*p)                                                        \
			fn(*p);                                                \
	}
#define CLEANUP(name) __attribute__((cleanup(cleanup_##name)))

/* The value of p; p is NULL afterwards, so that its clean-up does nothing. */
#define take(p)                                                                \
	({                                                                     \
		__typeof__(p) taken_ = (p);                                    \
		(p) = NULL;                                                    \
		taken_;                                                        \
	})

#endif
