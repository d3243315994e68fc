/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot: list, take, apply and delete internal snapshots. */
#include "msg.h"
#include "out.h"
#include "progress.h"
#include "snapshots.h"
#include "source.h"

struct snapshot_args {
	struct common c;
	bool list;
	const char *apply, *create, *delete;
};

static int list(struct image *img, struct err *e)
{
	struct img_snapshot *all;
	struct out o;
	size_t n;

	if (img_snapshots(img, &all, &n, e))
		return msg_err(e);
	if (out_begin(&o)) {
		img_snapshots_free(all, n);
		return EXIT_FAILURE;
	}
	snapshots_table(o.f, all, n);
	img_snapshots_free(all, n);
	return out_end(&o, EXIT_SUCCESS);
}

/* "Could not apply snapshot 'x': " before the reason. */
static int failed(const char *verb, const char *which, struct err *e)
{
	err_prefix(e, "Could not %s snapshot '%s': ", verb, which);
	return msg_err(e);
}

static int act(const struct snapshot_args *a, struct image *img, struct err *e)
{
	if (a->apply)
		return img_snapshot_apply(img, a->apply, e)
			   ? failed("apply", a->apply, e)
			   : EXIT_SUCCESS;
	if (a->create)
		return img_snapshot_create(img, a->create, e)
			   ? failed("create", a->create, e)
			   : EXIT_SUCCESS;
	return img_snapshot_delete(img, a->delete, e)
		   ? failed("delete", a->delete, e)
		   : EXIT_SUCCESS;
}

static int snapshot_run(void *args)
{
	struct snapshot_args *a = args;
	int changes = !!a->apply + !!a->create + !!a->delete, status;
	struct err e = ERR_INIT;
	struct progress p;
	struct image *img;
	struct source s;

	if (changes + a->list > 1)
		return msg_usage("Cannot mix '-l', '-a', '-c', '-d'");
	if (!source_one_operand(&a->c) || !source_opts_valid(&a->c))
		return EXIT_FAILURE;
	s = source_operand(&a->c, a->c.operands[0]);
	s.how.flags |= changes ? IMG_O_RDWR : 0;
	/* What is below takes no part. */
	s.how.flags |= IMG_O_NO_BACKING;
	img = source_open(&s, &e);
	if (!img)
		return msg_err(&e);
	img_set_progress(img, progress_begin(&p, &a->c, 1));
	status = changes ? act(a, img, &e) : list(img, &e);
	if (img_close(img, &e) && !status)
		status = msg_err(&e);
	return status;
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_QUIET,
    OPT_FORCE_SHARE,
    {'l', NULL, NULL, "list the snapshots (the default)",
	offsetof(struct snapshot_args, list)},
    {'a', NULL, "snapshot", "the disk becomes what it was: an ID or a name",
	offsetof(struct snapshot_args, apply)},
    {'c', NULL, "snapshot", "take a snapshot of that name",
	offsetof(struct snapshot_args, create)},
    {'d', NULL, "snapshot", "delete the snapshot: a name or an ID",
	offsetof(struct snapshot_args, delete)},
    {0},
};

const struct command cmd_snapshot = {
    .name = "snapshot",
    .operands = "filename",
    .summary = "List, take, apply or delete internal snapshots.",
    .opts = opts,
    .args_len = sizeof(struct snapshot_args),
    .run = snapshot_run,
};
