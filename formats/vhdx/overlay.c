/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host file that reads as another one would after the log was replayed, for
 * images that are not to be written.
 */
#include <errno.h>
#include <stdlib.h>

#include "../host/iov.h"
#include "vhdx.h"

struct overlay {
	struct hostfile *below;
	const struct vhdx_log *log;
};

/* What patch p says of [off, off + len), which buf holds. */
static int apply(const struct overlay *o, const struct vhdx_patch *p,
    uint8_t *buf, uint64_t len, uint64_t off, struct err *e)
{
	uint64_t from = max_u64(off, p->host);
	uint64_t to = min_u64(off + len, p->host + p->len);

	if (from >= to)
		return 0;
	return vhdx_patch_read(
	    o->below, p, buf + (from - off), to - from, from - p->host, e);
}

static int overlay_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	const struct overlay *o = f->priv;
	struct iov_walk w = {iov, n, 0};
	uint8_t *piece;

	if (host_preadv(o->below, iov, n, off, e))
		return -1;
	for (size_t len; (len = iov_next(&w, SIZE_MAX, &piece)); off += len)
		for (size_t i = 0; i < o->log->n; i++)
			if (apply(o, &o->log->patch[i], piece, len, off, e))
				return -1;
	return 0;
}

static int overlay_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	(void)iov, (void)n, (void)off;
	return err_set(e, ERR_SYSTEM, EBADF, "%s: not writable", f->name);
}

static int overlay_truncate(struct hostfile *f, uint64_t size, struct err *e)
{
	(void)f, (void)size, (void)e;
	return 0; /* its size when it is made */
}

static int overlay_sync(struct hostfile *f, struct err *e)
{
	(void)f, (void)e;
	return 0;
}

static int overlay_close(struct hostfile *f, struct err *e)
{
	struct overlay *o = f->priv;
	int rc = host_close(o->below, e);

	free(o);
	return rc;
}

static const struct host_ops overlay_ops = {
    .name = "log",
    .readv = overlay_readv,
    .writev = overlay_writev,
    .sync = overlay_sync,
    .truncate = overlay_truncate,
    .close = overlay_close,
};

struct hostfile *vhdx_overlay(
    struct hostfile *f, const struct vhdx_log *log, struct err *e)
{
	struct overlay *o = malloc(sizeof *o);
	struct hostfile *over;

	if (!o) {
		err_nomem(e);
		return NULL;
	}
	over = host_new(&overlay_ops, f->name, 0, e);
	if (!over) {
		free(o);
		return NULL;
	}
	*o = (struct overlay){.below = host_ref(f), .log = log};
	over->priv = o;
	atomic_store(&over->size, max_u64(host_size(f), log->file_len));
	return over;
}
