/* SPDX-License-Identifier: BSD-3-Clause */
/* Hints for file systems: see hints.h. */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "hints.h"

const struct img_opt img_file_opts[] = {
    {"nocow", IMG_OPT_BOOL, "Turn off copy-on-write (valid only on btrfs)",
	NULL},
    {"extent_size_hint", IMG_OPT_SIZE,
	"Extent size hint for the image file, 0 to disable", NULL},
    {"preallocation", IMG_OPT_STR,
	"Preallocation mode (allowed values: off, falloc, full)", NULL},
    {0},
};

int hints_read(struct options *o, struct hints *h, struct err *e)
{
	int given;

	*h = (struct hints){0};
	if (options_bool(o, "nocow", &h->nocow, e) < 0)
		return -1;
	given = options_size(o, "extent_size_hint", &h->extent_len, e);
	h->has_extent = given > 0;
	if (given > 0 && h->extent_len > UINT32_MAX)
		return err_usage(e, "Extent size hint is too large");
	return given < 0 ? -1 : 0;
}

void hints_give(const struct hostfile *f, const struct hints *h)
{
	struct fsxattr x = {0};
	int flags = 0;

	if (f->fd < 0)
		return;
	if (h->nocow && !ioctl(f->fd, FS_IOC_GETFLAGS, &flags)) {
		flags |= FS_NOCOW_FL;
		ioctl(f->fd, FS_IOC_SETFLAGS, &flags);
	}
	if (h->has_extent && !ioctl(f->fd, FS_IOC_FSGETXATTR, &x)) {
		x.fsx_extsize = (uint32_t)h->extent_len;
		x.fsx_xflags &= ~(uint32_t)FS_XFLAG_EXTSIZE;
		x.fsx_xflags |= h->extent_len ? FS_XFLAG_EXTSIZE : 0;
		ioctl(f->fd, FS_IOC_FSSETXATTR, &x);
	}
}
