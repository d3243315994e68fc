/* SPDX-License-Identifier: BSD-3-Clause */
/* Options against a list: see optcheck.h. */
#include "optcheck.h"

#include <string.h>

const struct img_opt *opt_find(const struct img_opt *list, const char *name)
{
	for (; list->name; list++)
		if (!strcmp(list->name, name))
			return list;
	return NULL;
}

static int check_type(struct options *o, const struct img_opt *d, struct err *e)
{
	uint64_t number;
	bool on;

	switch (d->type) {
	case IMG_OPT_STR:
		return 0;
	case IMG_OPT_NUM:
		return options_u64(o, d->name, &number, e);
	case IMG_OPT_SIZE:
		return options_size(o, d->name, &number, e);
	case IMG_OPT_BOOL:
		return options_bool(o, d->name, &on, e);
	}
	return 0;
}

/* A value that another has replaced is a mistake too where it is one. */
static int check_replaced(
    const struct img_opt *list, const struct options *o, struct err *e)
{
	const char *key, *value;

	for (unsigned i = 0; options_replaced_at(o, i, &key, &value); i++) {
		const struct img_opt *d = opt_find(list, key);
		CLEANUP(options) struct options *one = options_new(e);

		if (!one || options_set(one, key, value, e) ||
		    (d && check_type(one, d, e) < 0))
			return -1;
	}
	return 0;
}

int opts_check_types(
    const struct img_opt *list, struct options *o, struct err *e)
{
	if (check_replaced(list, o, e))
		return -1;
	for (; list->name; list++)
		if (check_type(o, list, e) < 0)
			return -1;
	return 0;
}
