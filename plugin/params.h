/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parameters of nbdkit-image-plugin.  Errors are told to nbdkit's user
 * with nbdkit_error(); -1 then.
 */
#ifndef IMGD_PLUGIN_PARAMS_H
#define IMGD_PLUGIN_PARAMS_H

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "formats/image.h"

struct params {
	char *name; /* of the image: a path from the root, or json:{...} */
	struct img_open how;
};

/* clang-format off */
#define PARAMS_INIT { .how = { .flags = IMG_O_DISCARD } }
/* clang-format on */

/* Values stay where they are: nbdkit keeps them for as long as it runs. */
int params_set(struct params *p, const char *key, const char *value);
/* All of them are set: is anything missing? */
int params_complete(const struct params *p);
void params_clear(struct params *p);

#endif
