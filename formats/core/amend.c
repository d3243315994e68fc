/* SPDX-License-Identifier: BSD-3-Clause */
/* Changing what an image was created with: what all formats share. */
#include <errno.h>

#include "optcheck.h"
#include "request.h"

static int check_names(
    const struct img_format *f, const struct options *o, struct err *e)
{
	const char *key, *value;

	for (unsigned i = 0; options_at(o, i, &key, &value); i++) {
		if (opt_find(f->amend_opts, key))
			continue;
		err_usage(e, "Invalid parameter '%s'", key);
		if (opt_find(f->create_opts, key))
			err_hint(e, "This option is only supported for image "
				    "creation");
		return -1;
	}
	return 0;
}

static int call(struct image *img, void *arg, struct err *e)
{
	return img->drv->amend->amend(img, arg, e);
}

int img_amend(struct image *img, struct options *o, struct err *e)
{
	const struct img_format *f = &img->drv->info;

	if (!img->drv->amend)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "Format driver '%s' does not support option amendment",
		    f->name);
	if (check_names(f, o, e) || opts_check_types(f->amend_opts, o, e))
		return -1;
	return request_alone(img, call, o, e);
}
