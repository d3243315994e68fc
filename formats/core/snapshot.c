/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal snapshots: what all formats share.  A driver's operations run with
 * the gate closed and everything committed.
 */
#include <errno.h>
#include <stdlib.h>

#include "request.h"

int img_snapshots(
    struct image *img, struct img_snapshot **list, size_t *n, struct err *e)
{
	int rc;

	*list = NULL;
	*n = 0;
	if (!img->drv->snapshots)
		return 0;
	gate_enter(&img->gate);
	rc = img->drv->snapshots->list(img, list, n, e);
	gate_leave(&img->gate);
	return rc;
}

void img_snapshots_free(struct img_snapshot *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].id);
		free(list[i].name);
	}
	free(list);
}

typedef int snapshot_op(struct image *img, const char *which, struct err *e);

static const struct snapshot_ops *ops_of(struct image *img, struct err *e)
{
	if (!img->drv->snapshots)
		err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "%s images have no internal snapshots",
		    img->drv->info.name);
	return img->drv->snapshots;
}

struct call {
	snapshot_op *op;
	const char *which;
	bool no_bitmaps; /* there must be none */
};

/* Bitmaps are about the disk as it is now, of its present size. */
static int refuse_bitmaps(struct image *img, struct err *e)
{
	int any = bitmaps_any(img, e);

	if (any > 0) {
		err_set(e, ERR_USAGE, EBUSY, "Device has active dirty bitmaps");
		err_hint(e,
		    "They are about the disk as it is now, and would be wrong "
		    "then: remove them first.");
	}
	return any ? -1 : 0;
}

static int call(struct image *img, void *arg, struct err *e)
{
	const struct call *c = arg;

	if (c->no_bitmaps && refuse_bitmaps(img, e))
		return -1;
	return c->op(img, c->which, e);
}

static int run(struct image *img, snapshot_op *op, const char *which,
    bool no_bitmaps, struct err *e)
{
	struct call c = {op, which, no_bitmaps};

	return request_alone(img, call, &c, e);
}

int img_snapshot_create(struct image *img, const char *name, struct err *e)
{
	const struct snapshot_ops *ops = ops_of(img, e);

	return ops ? run(img, ops->create, name, false, e) : -1;
}

int img_snapshot_apply(struct image *img, const char *which, struct err *e)
{
	const struct snapshot_ops *ops = ops_of(img, e);

	return ops ? run(img, ops->apply, which, true, e) : -1;
}

int img_snapshot_delete(struct image *img, const char *which, struct err *e)
{
	const struct snapshot_ops *ops = ops_of(img, e);

	return ops ? run(img, ops->delete, which, false, e) : -1;
}
