/* SPDX-License-Identifier: BSD-3-Clause */
/* A host file that fails chosen calls: see faultfile.h. */
#include <errno.h>
#include <stdlib.h>

#include "faultfile.h"
#include "formats/host/iov.h"

#define KIND_N 8

struct faultfile {
	struct hostfile *under;
	struct mutex lock; /* for what follows */
	uint64_t calls[KIND_N];
	unsigned kinds; /* that may fail */
	uint64_t left;	/* calls until one fails; 0: none will */
	int errnum;
	bool stays, hit;
	faultfile_hook *hook; /* not under the lock */
	void *hook_arg;
};

static const char *const verbs[KIND_N] = {
    "read", "write", "sync", "resize", "map", "discard", "zero", "allocate"};

/* Count a call; 0, or -1 when it is to fail. */
static int enter(struct hostfile *f, unsigned kind, uint64_t off, uint64_t len,
    struct err *e)
{
	struct faultfile *ff = f->priv;
	unsigned ix = (unsigned)__builtin_ctz(kind);
	bool fails = false;
	int errnum;

	if (ff->hook)
		ff->hook(ff->hook_arg, kind, off, len);
	mutex_lock(&ff->lock);
	ff->calls[ix]++;
	errnum = ff->errnum;
	if (ff->kinds & kind && ff->left) {
		fails = ff->left == 1;
		if (!fails || !ff->stays)
			ff->left--;
		ff->hit = ff->hit || fails;
	}
	mutex_unlock(&ff->lock);
	return fails ? err_sys(e, errnum, "%s: injected fault: could not %s",
			   f->name, verbs[ix])
		     : 0;
}

static struct hostfile *under(struct hostfile *f)
{
	struct faultfile *ff = f->priv;

	return ff->under;
}

static int fault_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len = 0;

	iov_len(iov, n, &len);
	if (enter(f, FAULT_READ, off, len, e))
		return -1;
	return host_preadv(under(f), iov, n, off, e);
}

static int fault_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len = 0;

	iov_len(iov, n, &len);
	if (enter(f, FAULT_WRITE, off, len, e))
		return -1;
	return host_pwritev(under(f), iov, n, off, e);
}

static int fault_sync(struct hostfile *f, struct err *e)
{
	return enter(f, FAULT_SYNC, 0, 0, e) ? -1 : host_sync(under(f), e);
}

static int fault_truncate(struct hostfile *f, uint64_t size, struct err *e)
{
	if (enter(f, FAULT_TRUNCATE, size, 0, e))
		return -1;
	return host_truncate(under(f), size, e);
}

static int fault_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	if (enter(f, FAULT_MAP, off, len, e))
		return -1;
	return host_map(under(f), off, len, x, e);
}

static int fault_punch(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	if (enter(f, FAULT_PUNCH, off, len, e))
		return -1;
	return host_punch(under(f), off, len, e);
}

/* An implementation's answer from the public function's: ENOTSUP is "cannot".
 */
static int can(int rc, struct err *e)
{
	if (rc && e->errnum == ENOTSUP) {
		err_clear(e);
		return 0;
	}
	return rc ? -1 : 1;
}

static int fault_zero(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	if (enter(f, FAULT_ZERO, off, len, e))
		return -1;
	return can(host_zero(under(f), off, len, HOST_ZERO_FAST, e), e);
}

static int fault_allocate(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	if (enter(f, FAULT_ALLOCATE, off, len, e))
		return -1;
	return can(host_allocate(under(f), off, len, e), e);
}

static int64_t fault_disk_len(struct hostfile *f)
{
	return host_disk_len(under(f));
}

static int fault_close(struct hostfile *f, struct err *e)
{
	struct faultfile *ff = f->priv;
	int rc = host_close(ff->under, e);

	mutex_destroy(&ff->lock);
	free(ff);
	return rc;
}

static const struct host_ops fault_ops = {
    .name = "faultfile",
    .readv = fault_readv,
    .writev = fault_writev,
    .sync = fault_sync,
    .truncate = fault_truncate,
    .map = fault_map,
    .punch = fault_punch,
    .zero = fault_zero,
    .allocate = fault_allocate,
    .disk_len = fault_disk_len,
    .close = fault_close,
};

struct hostfile *faultfile_new(struct hostfile *file, struct err *e)
{
	struct faultfile *ff = calloc(1, sizeof *ff);
	struct hostfile *f = NULL;

	if (ff)
		f = host_new(&fault_ops, file->name, file->flags, e);
	else
		err_nomem(e);
	if (!f) {
		free(ff);
		host_put(file);
		return NULL;
	}
	mutex_init(&ff->lock);
	ff->under = file;
	f->priv = ff;
	f->fixed_size = file->fixed_size;
	atomic_store(&f->size, host_size(file));
	return f;
}

void faultfile_fail(
    struct hostfile *f, unsigned kinds, uint64_t nth, int errnum, bool stays)
{
	struct faultfile *ff = f->priv;

	mutex_lock(&ff->lock);
	ff->kinds = kinds;
	ff->left = nth;
	ff->errnum = errnum;
	ff->stays = stays;
	ff->hit = false;
	mutex_unlock(&ff->lock);
}

void faultfile_on_call(struct hostfile *f, faultfile_hook *fn, void *arg)
{
	struct faultfile *ff = f->priv;

	ff->hook = fn;
	ff->hook_arg = arg;
}

bool faultfile_hit(struct hostfile *f)
{
	struct faultfile *ff = f->priv;
	bool hit;

	mutex_lock(&ff->lock);
	hit = ff->hit;
	mutex_unlock(&ff->lock);
	return hit;
}

uint64_t faultfile_calls(struct hostfile *f, unsigned kinds)
{
	struct faultfile *ff = f->priv;
	uint64_t n = 0;

	mutex_lock(&ff->lock);
	for (unsigned i = 0; i < KIND_N; i++)
		n += kinds & 1u << i ? ff->calls[i] : 0;
	mutex_unlock(&ff->lock);
	return n;
}
