/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A byte stream to one client.  What it runs on is behind its functions.
 *
 * Threads: one thread reads; one thread at a time writes; both may happen at
 * the same time.
 */
#ifndef IMGD_STREAM_H
#define IMGD_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/err.h"

struct stream {
	int fd; /* for poll() and shutdown() */
	/* Bytes read; 0 at the end; -1 with errno, EAGAIN when none have come
	   and `wait` is false. */
	ssize_t (*read)(struct stream *s, void *buf, size_t len, bool wait);
	/* Bytes written, perhaps not all; -1 with errno.  Never waits for the
	   client.  `more`: other bytes follow at once. */
	ssize_t (*writev)(
	    struct stream *s, const struct iovec *iov, int iov_n, bool more);
	/* The same from a file; 0: it ends before `off`.  NULL: it cannot. */
	ssize_t (*send_file)(
	    struct stream *s, int fd, uint64_t off, size_t len);
	void (*close)(struct stream *s); /* or NULL */
	void *state;			 /* of what it runs on */
	bool nonblocking;		 /* the socket is: the writer's */
};

/* Over a connected socket, which stays the caller's and may get O_NONBLOCK. */
void stream_socket(struct stream *s, int fd);
/* The last use of the stream: all that was written is on its way, and the peer
   need not wait for more. */
void stream_close(struct stream *s);

#endif
