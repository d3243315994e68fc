/* SPDX-License-Identifier: BSD-3-Clause */
/* Checking and repairing images: what all formats have in common. */
#include <errno.h>

#include "../driver.h"

int img_check(struct image *img, struct img_check *out,
    void (*report)(void *arg, const char *line), void *arg, struct err *e)
{
	int rc;

	*out = (struct img_check){0};
	if (!img->drv->check)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "This image format does not support checks");
	gate_close(&img->gate);
	rc = img->drv->check(img, out, report, arg, e);
	gate_open(&img->gate);
	return rc;
}

int img_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *arg, const char *line), void *arg, struct err *e)
{
	int rc;

	*out = (struct img_check){0};
	if (!img->drv->repair)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "This image format does not support repairs");
	if (!(img->flags & IMG_O_CHECK) || !image_writable(img))
		return err_set(e, ERR_USAGE, EROFS,
		    "%s: not opened to be repaired", img->name);
	gate_close(&img->gate);
	rc = img->drv->repair(img, what, out, report, arg, e);
	gate_open(&img->gate);
	return rc;
}
