/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A byte stream to one client.  What it runs on is behind its two functions.
 *
 * Threads: one thread reads; one thread at a time writes; both may happen at
 * the same time.
 */
#ifndef IMGD_STREAM_H
#define IMGD_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream {
	int fd; /* for poll() and shutdown() */
	/* Bytes read; 0 at the end; -1 with errno, EAGAIN when none have come
	   and `wait` is false. */
	ssize_t (*read)(struct stream *s, void *buf, size_t len, bool wait);
	/* Bytes written, perhaps not all; -1 with errno.  Never waits. */
	ssize_t (*writev)(struct stream *s, const struct iovec *iov, int iov_n);
};

/* Over a connected socket, which stays the caller's. */
void stream_socket(struct stream *s, int fd);

#endif
