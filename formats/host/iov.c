/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of buffers: see iov.h. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../core/units.h"
#include "iov.h"

bool iov_len(const struct iovec *iov, int n, uint64_t *len)
{
	*len = 0;
	for (int i = 0; i < n; i++)
		if (!add_ok(*len, iov[i].iov_len, len) || *len > INT64_MAX)
			return false;
	return true;
}

bool iov_aligned(const struct iovec *iov, int n, uint32_t align)
{
	for (int i = 0; i < n; i++)
		if (!is_aligned((uintptr_t)iov[i].iov_base, align) ||
		    !is_aligned(iov[i].iov_len, align))
			return false;
	return true;
}

size_t iov_next(struct iov_walk *w, size_t max, uint8_t **piece)
{
	size_t len;

	while (w->n && w->skip == w->iov->iov_len) {
		w->iov++;
		w->n--;
		w->skip = 0;
	}
	if (!w->n)
		return 0;
	len = min_u64(max, w->iov->iov_len - w->skip);
	*piece = (uint8_t *)w->iov->iov_base + w->skip;
	w->skip += len;
	return len;
}

void iov_get(struct iov_walk *w, void *buf, size_t len)
{
	uint8_t *to = buf, *piece;

	for (size_t n; len && (n = iov_next(w, len, &piece)); len -= n, to += n)
		memcpy(to, piece, n);
}

void iov_put(struct iov_walk *w, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	uint8_t *piece;

	for (size_t n; len && (n = iov_next(w, len, &piece));
	     len -= n, from += n)
		memcpy(piece, from, n);
}

void iov_put_zeroes(struct iov_walk *w)
{
	uint8_t *piece;

	for (size_t n; (n = iov_next(w, SIZE_MAX, &piece));)
		memset(piece, 0, n);
}

typedef ssize_t transfer(int, const struct iovec *, int, off_t);

/*
 * One system call, for what comes next, which is not nothing: whole buffers,
 * or at most `max` bytes of one.
 */
static ssize_t transfer_some(
    transfer *call, int fd, struct iov_walk *w, size_t max, uint64_t off)
{
	struct iovec part;
	uint8_t *piece;
	bool cut;
	ssize_t got;

	iov_next(w, 0, &piece); /* past what is used up */
	cut = w->skip || w->iov->iov_len > max;
	if (cut) {
		part.iov_base = (uint8_t *)w->iov->iov_base + w->skip;
		part.iov_len = min_u64(w->iov->iov_len - w->skip, max);
	}
	do
		got = cut ? call(fd, &part, 1, (off_t)off)
			  : call(fd, w->iov, (int)min_u64(w->n, IOV_MAX),
				(off_t)off);
	while (got < 0 && errno == EINTR);
	return got;
}

/* Ends early, without an error, as iov.h says. */
static int transfer_all(transfer *call, int fd, const struct iovec *iov, int n,
    size_t max, uint64_t off, uint32_t align, uint64_t *done)
{
	struct iov_walk w = {iov, n, 0};
	uint64_t len = 0;
	uint8_t *piece;

	*done = 0;
	if (!iov_len(iov, n, &len) || off > INT64_MAX - len)
		return EFBIG;
	while (*done < len) {
		ssize_t got = transfer_some(call, fd, &w, max, off + *done);

		if (got < 0)
			return errno;
		*done += (uint64_t)got;
		if (!got || !is_aligned((uint64_t)got, align))
			break;
		while (got)
			got -= (ssize_t)iov_next(&w, (size_t)got, &piece);
	}
	return 0;
}

int iov_pread(int fd, const struct iovec *iov, int n, uint64_t off,
    uint32_t align, uint64_t *done)
{
	return transfer_all(preadv, fd, iov, n, SIZE_MAX, off, align, done);
}

int iov_pwrite(int fd, const struct iovec *iov, int n, size_t max, uint64_t off)
{
	uint64_t done, len;
	int rc = transfer_all(pwritev, fd, iov, n, max, off, 1, &done);

	if (!rc && iov_len(iov, n, &len) && done < len)
		rc = EIO;
	return rc;
}
