/* SPDX-License-Identifier: BSD-3-Clause */
/* Many transfers at a time: see many.h. */
#include "many.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../core/lock.h"
#include "../core/units.h"
#include "config.h"

/* Plain reads of this file need no bounce buffer and no special end. */
static bool is_plain(const struct hostfile *f, uint64_t len, uint64_t off)
{
	return f->fd >= 0 && f->align == 1 && range_ok(off, len, host_size(f));
}

bool many_cached(
    struct hostfile *f, const struct iovec *iov, int n, uint64_t off)
{
	uint64_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return is_plain(f, len, off) &&
	       preadv2(f->fd, iov, n, (off_t)off,
		   f->in_memory ? 0 : RWF_NOWAIT) == (ssize_t)len;
}

/* Of linux/mman.h, which may be older than the kernel. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
struct cache_range {
	uint64_t off, len;
};
struct cache_pages {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

bool many_resident(const struct hostfile *f, uint64_t len, uint64_t off)
{
	uint64_t page_len = (uint64_t)sysconf(_SC_PAGESIZE);
	struct cache_range range = {off, len};
	struct cache_pages pages;

	return is_plain(f, len, off) &&
	       !syscall(SYS_cachestat, f->fd, &range, &pages, 0u) &&
	       pages.cached ==
		   (round_up(off + len, page_len) - round_down(off, page_len)) /
		       page_len;
}

#ifdef HAVE_LIBURING
#include <liburing.h>

#define RING_N 64u

/* NULL: this thread has none yet; NO_RING: it cannot get one. */
static pthread_key_t ring_key;
static pthread_once_t ring_once = PTHREAD_ONCE_INIT;
static char no_ring;

static void ring_free(void *p)
{
	if (p == &no_ring)
		return;
	io_uring_queue_exit(p);
	free(p);
}

static void ring_key_make(void)
{
	lock_must(pthread_key_create(&ring_key, ring_free));
}

static struct io_uring *ring_of_thread(void)
{
	struct io_uring *ring;

	lock_must(pthread_once(&ring_once, ring_key_make));
	ring = pthread_getspecific(ring_key);
	if (ring)
		return (void *)ring == &no_ring ? NULL : ring;
	ring = malloc(sizeof *ring);
	if (!ring)
		return NULL;
	if (io_uring_queue_init(RING_N, ring, 0)) {
		free(ring);
		lock_must(pthread_setspecific(ring_key, &no_ring));
		return NULL;
	}
	lock_must(pthread_setspecific(ring_key, ring));
	return ring;
}

/* A ring that failed between submit and wait must not be used again. */
static void ring_drop(struct io_uring *ring)
{
	lock_must(pthread_setspecific(ring_key, &no_ring));
	ring_free(ring);
}

static bool put_read(struct io_uring *ring, struct many_io *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe)
		return false;
	io_uring_prep_read(sqe, r->file->fd, r->buf, (unsigned)r->len, r->off);
	io_uring_sqe_set_data(sqe, r);
	return true;
}

/* Waits for `n` answers, whatever they are: the kernel writes to the buffers
 * until then.  False when the ring is broken. */
static bool reap(struct io_uring *ring, size_t n)
{
	while (n) {
		struct io_uring_cqe *cqe;
		int rc = io_uring_wait_cqe(ring, &cqe);
		struct many_io *r;

		if (rc == -EINTR)
			continue;
		if (rc)
			return false;
		r = io_uring_cqe_get_data(cqe);
		r->done = cqe->res >= 0 && (size_t)cqe->res == r->len;
		io_uring_cqe_seen(ring, cqe);
		n--;
	}
	return true;
}

static bool run_some(struct io_uring *ring, struct many_io *r, size_t n)
{
	size_t put = 0;
	int sent;

	for (size_t i = 0; i < n; i++)
		if (!r[i].write && r[i].len <= INT32_MAX &&
		    is_plain(r[i].file, r[i].len, r[i].off))
			put += put_read(ring, &r[i]);
	if (!put)
		return true;
	do
		sent = io_uring_submit(ring);
	while (sent == -EINTR);
	if (sent < 0)
		return false;
	return reap(ring, (size_t)sent) && (size_t)sent == put;
}

static void run_ring(struct many_io *io, size_t n)
{
	struct io_uring *ring = ring_of_thread();

	for (size_t i = 0; ring && i < n; i += RING_N) {
		if (run_some(ring, io + i, min_u64(n - i, RING_N)))
			continue;
		ring_drop(ring);
		return;
	}
}
#else
static void run_ring(struct many_io *io, size_t n)
{
	(void)io, (void)n;
}
#endif

void many_run(struct many_io *io, size_t n, struct err *e)
{
	bool plain = false;

	for (size_t i = 0; i < n; i++) {
		const struct hostfile *f = io[i].file;

		plain |= f->fd >= 0;
		if (f->ops->many && !io[i].done && !io[i].failed &&
		    (!i || io[i - 1].file != f))
			f->ops->many(io[i].file, io + i, n - i, e);
	}
	if (plain)
		run_ring(io, n);
}
