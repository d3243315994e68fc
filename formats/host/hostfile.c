/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host files, what is the same for every kind of storage: arguments, the end
 * of the file, and the answers where an implementation has none.
 *
 * The size: a write that ends past it holds size_lock shared until it has
 * raised it; truncate holds it exclusively.  So nothing is cut that a write
 * has just added, and `size` never passes what was written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/units.h"
#include "change.h"
#include "iov.h"

#define ZERO_BUF_LEN 65536u
#define ZERO_BUF_N   16

/* Aligned, so that O_DIRECT takes it as it is. */
static const uint8_t zero_buf[ZERO_BUF_LEN] __attribute__((aligned(4096)));

struct hostfile *host_new(
    const struct host_ops *ops, const char *name, unsigned flags, struct err *e)
{
	struct hostfile *f = calloc(1, sizeof *f);

	if (!f || !(f->name = strdup(name))) {
		free(f);
		err_nomem(e);
		return NULL;
	}
	f->ops = ops;
	f->flags = flags;
	f->fd = -1;
	f->align = 1;
	rwlock_init(&f->size_lock);
	atomic_init(&f->size, 0);
	atomic_init(&f->refs, 1);
	return f;
}

struct hostfile *host_ref(struct hostfile *f)
{
	atomic_fetch_add(&f->refs, 1);
	return f;
}

int host_close(struct hostfile *f, struct err *e)
{
	int rc;

	if (atomic_fetch_sub(&f->refs, 1) > 1)
		return 0;
	rc = f->ops->close ? f->ops->close(f, e) : 0;
	rwlock_destroy(&f->size_lock);
	free(f->name);
	free(f);
	return rc;
}

void host_put(struct hostfile *f)
{
	struct err ignored = ERR_INIT;

	if (f)
		host_close(f, &ignored);
}

int host_fail(struct hostfile *f, int errnum, const char *verb, uint64_t len,
    uint64_t off, struct err *e)
{
	return err_sys(e, errnum, "%s: could not %s %llu bytes at %llu",
	    f->name, verb, (unsigned long long)len, (unsigned long long)off);
}

static int check_writable(struct hostfile *f, const char *verb, struct err *e)
{
	if (f->flags & HOST_RDWR)
		return 0;
	return err_set(e, ERR_USAGE, EBADF,
	    "%s: could not %s: the file is open for reading only", f->name,
	    verb);
}

int change_check(struct hostfile *f, const char *verb, uint64_t off,
    uint64_t len, struct err *e)
{
	uint64_t end;

	if (check_writable(f, verb, e))
		return -1;
	if (!add_ok(off, len, &end) || end > INT64_MAX)
		return host_fail(f, EFBIG, verb, len, off, e);
	if (f->fixed_size && end > host_size(f))
		return host_fail(f, ENOSPC, verb, len, off, e);
	return 0;
}

static int list_len(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t *len, struct err *e)
{
	if (iov_len(iov, n, len))
		return 0;
	return err_usage(e, "%s: more than %lld bytes in one request", f->name,
	    (long long)INT64_MAX);
}

bool change_grows(struct hostfile *f, uint64_t end) NO_TSA
{
	bool grows = end > host_size(f);

	if (grows)
		rwlock_shared(&f->size_lock);
	return grows;
}

static void raise_size(struct hostfile *f, uint64_t end)
{
	uint64_t old = host_size(f);

	while (old < end && !atomic_compare_exchange_weak(&f->size, &old, end))
		;
}

void change_grown(struct hostfile *f, bool grows, int rc, uint64_t end) NO_TSA
{
	struct err ignored = ERR_INIT;

	if (!grows)
		return;
	if (rc > 0)
		raise_size(f, end);
	rwlock_shared_end(&f->size_lock);
	if (rc >= 0)
		return;
	rwlock_excl(&f->size_lock);
	f->ops->truncate(f, host_size(f), &ignored);
	rwlock_excl_end(&f->size_lock);
}

int change_done(struct hostfile *f, struct err *e)
{
	return f->flags & HOST_DSYNC ? host_sync(f, e) : 0;
}

/* ---- reading ----------------------------------------------------------- */

/* A read that crosses or lies behind the end: `have` bytes are before it. */
static int read_to_end(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, uint64_t have, struct err *e)
{
	struct iov_walk rest = {iov, n, 0};
	struct iovec cut;
	uint64_t part = have;
	int whole = 0;

	while (part >= iov[whole].iov_len)
		part -= iov[whole++].iov_len;
	if (part < have && f->ops->readv(f, iov, whole, off, e))
		return -1;
	rest.iov += whole;
	rest.n -= whole;
	rest.skip = (size_t)part;
	cut.iov_base = iov[whole].iov_base;
	cut.iov_len = (size_t)part;
	if (part && f->ops->readv(f, &cut, 1, off + have - part, e))
		return -1;
	iov_put_zeroes(&rest);
	return 0;
}

int host_preadv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len, have, size = host_size(f);

	if (list_len(f, iov, n, &len, e))
		return -1;
	have = off < size ? min_u64(len, size - off) : 0;
	if (have < len)
		return read_to_end(f, iov, n, off, have, e);
	return len ? f->ops->readv(f, iov, n, off, e) : 0;
}

int host_pread(
    struct hostfile *f, void *buf, size_t len, uint64_t off, struct err *e)
{
	struct iovec iov = {buf, len};

	return host_preadv(f, &iov, 1, off, e);
}

int host_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	uint64_t size = host_size(f);

	x->len = len;
	x->hole = x->zero = off >= size;
	if (x->hole)
		return 0;
	x->len = len = min_u64(len, size - off);
	if (f->ops->map && f->ops->map(f, off, len, x, e))
		return -1;
	x->zero |= x->hole;
	x->len = min_u64(x->len, len);
	return 0;
}

void host_willneed(struct hostfile *f, uint64_t off, uint64_t len)
{
	if (f->ops->willneed && off < host_size(f) && len)
		f->ops->willneed(f, off, min_u64(len, host_size(f) - off));
}

int64_t host_disk_len(struct hostfile *f)
{
	return f->ops->disk_len ? f->ops->disk_len(f) : -1;
}

/* ---- writing ----------------------------------------------------------- */

static int write_list(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, uint64_t len, struct err *e)
{
	bool grows = change_grows(f, off + len);
	int rc = f->ops->writev(f, iov, n, off, e);

	change_grown(f, grows, rc ? -1 : 1, off + len);
	return rc;
}

int host_pwritev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len;

	if (list_len(f, iov, n, &len, e) ||
	    change_check(f, "write", off, len, e))
		return -1;
	if (!len)
		return 0;
	return write_list(f, iov, n, off, len, e) ? -1 : change_done(f, e);
}

int host_pwrite(struct hostfile *f, const void *buf, size_t len, uint64_t off,
    struct err *e)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return host_pwritev(f, &iov, 1, off, e);
}

int host_sync(struct hostfile *f, struct err *e)
{
	if (f->flags & HOST_NOSYNC)
		return 0;
	return f->ops->sync(f, e);
}

/* Under size_lock, exclusive. */
static int set_size(struct hostfile *f, uint64_t size, struct err *e)
{
	if (f->ops->truncate(f, size, e))
		return -1;
	atomic_store_explicit(&f->size, size, memory_order_release);
	return 0;
}

static int check_resize(struct hostfile *f, uint64_t size, struct err *e)
{
	if (check_writable(f, "resize", e))
		return -1;
	if (f->fixed_size && size != host_size(f))
		return err_set(e, ERR_USAGE,
		    size > host_size(f) ? ENOSPC : ENOTSUP,
		    "%s: a device of %llu bytes cannot be resized to %llu",
		    f->name, (unsigned long long)host_size(f),
		    (unsigned long long)size);
	if (size > INT64_MAX)
		return err_sys(e, EFBIG, "%s: could not resize to %llu bytes",
		    f->name, (unsigned long long)size);
	return 0;
}

int host_truncate(struct hostfile *f, uint64_t size, struct err *e)
{
	int rc;

	if (check_resize(f, size, e))
		return -1;
	if (f->fixed_size)
		return 0;
	rwlock_excl(&f->size_lock);
	rc = set_size(f, size, e);
	rwlock_excl_end(&f->size_lock);
	return rc ? -1 : change_done(f, e);
}

static int grow(struct hostfile *f, uint64_t size, struct err *e)
{
	int rc = 0;

	if (size <= host_size(f))
		return 0;
	if (check_resize(f, size, e))
		return -1;
	rwlock_excl(&f->size_lock);
	if (size > host_size(f))
		rc = set_size(f, size, e);
	rwlock_excl_end(&f->size_lock);
	return rc;
}

int host_grow(struct hostfile *f, uint64_t size, struct err *e)
{
	if (check_writable(f, "resize", e) || grow(f, size, e))
		return -1;
	return change_done(f, e);
}

/* ---- space ------------------------------------------------------------- */

typedef int space_op(
    struct hostfile *, uint64_t off, uint64_t len, struct err *);

static int give_back(
    space_op *op, struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	uint64_t size = host_size(f);
	int rc;

	if (check_writable(f, "discard", e))
		return -1;
	if (off >= size || !len)
		return 1;
	rc = op ? op(f, off, min_u64(len, size - off), e) : 0;
	return rc > 0 && change_done(f, e) ? -1 : rc;
}

int host_punch(struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return give_back(f->ops->punch, f, off, len, e);
}

int host_discard(struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return give_back(
	    f->ops->discard ? f->ops->discard : f->ops->punch, f, off, len, e);
}

static int write_zeroes(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	struct iovec iov[ZERO_BUF_N];
	uint64_t piece;

	for (; len; off += piece, len -= piece) {
		int n = 0;

		piece = 0;
		while (n < ZERO_BUF_N && piece < len) {
			iov[n].iov_base = (void *)(uintptr_t)zero_buf;
			iov[n].iov_len = min_u64(len - piece, ZERO_BUF_LEN);
			piece += iov[n++].iov_len;
		}
		if (write_list(f, iov, n, off, piece, e))
			return -1;
	}
	return 0;
}

/* 1 done, 0 cannot, -1 failed. */
static int zero_keep(
    struct hostfile *f, uint64_t off, uint64_t len, bool fast, struct err *e)
{
	bool grows;
	int rc;

	if (!f->ops->zero || (fast && f->slow_zero))
		return 0;
	grows = change_grows(f, off + len);
	rc = f->ops->zero(f, off, len, e);
	change_grown(f, grows, rc, off + len);
	return rc;
}

static int zero(struct hostfile *f, uint64_t off, uint64_t len, unsigned flags,
    struct err *e)
{
	bool punch = flags & HOST_ZERO_PUNCH, fast = flags & HOST_ZERO_FAST;
	int rc = 0;

	if (fast && f->ops->zero_fast)
		rc = f->ops->zero_fast(f, off, len, punch, e);
	else if (punch && f->ops->punch && !(fast && f->slow_zero))
		rc = f->ops->punch(f, off, len, e);
	if (!rc)
		rc = zero_keep(f, off, len, fast, e);
	if (!rc && !fast)
		return write_zeroes(f, off, len, e);
	if (!rc)
		host_fail(f, ENOTSUP, "zero without writing", len, off, e);
	return rc > 0 ? 0 : -1;
}

int host_zero(struct hostfile *f, uint64_t off, uint64_t len, unsigned flags,
    struct err *e)
{
	uint64_t size = host_size(f), inside = len;

	if (change_check(f, "zero", off, len, e))
		return -1;
	/* Space that may be given back need not be taken past the end. */
	if (flags & HOST_ZERO_PUNCH)
		inside = off < size ? min_u64(len, size - off) : 0;
	if (inside && zero(f, off, inside, flags, e))
		return -1;
	if (inside < len && grow(f, off + len, e))
		return -1;
	return len ? change_done(f, e) : 0;
}

int host_allocate(struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	bool grows;
	int rc = 0;

	if (change_check(f, "allocate", off, len, e))
		return -1;
	if (!len)
		return 0;
	if (f->ops->allocate) {
		grows = change_grows(f, off + len);
		rc = f->ops->allocate(f, off, len, e);
		change_grown(f, grows, rc, off + len);
	}
	if (!rc)
		return host_fail(f, ENOTSUP, "allocate", len, off, e);
	return rc < 0 ? -1 : change_done(f, e);
}

int host_lock(struct hostfile *f, unsigned perm, unsigned shared, struct err *e)
{
	if (f->flags & HOST_NOLOCK || !f->ops->lock)
		return 0;
	return f->ops->lock(f, perm, shared, e);
}
