/* SPDX-License-Identifier: BSD-3-Clause */
/* Images as the command line names them: see source.h. */
#include "source.h"

#include <stdio.h>

#include "msg.h"
#include "signals.h"

struct image *source_open(const struct source *s, struct err *e)
{
	CLEANUP(options) struct options *o = NULL;
	struct image *img = NULL;

	if (s->how.flags & IMG_O_RDWR || s->how.writable_depth)
		signals_defer();
	if (!s->is_opts)
		return img_open(s->name, &s->how, e);
	o = options_new(e);
	if (!o)
		return NULL;
	/* A list that is no `key=value` names a node; there are none. */
	if (options_parse(o, s->name, "file", e) == 0)
		img = img_open_options(o, &s->how, e);
	if (!img)
		err_prefix(e, "Could not open '%s': ", s->name);
	return img;
}

struct source source_operand(const struct common *c, const char *name)
{
	struct source s = {.name = name,
	    .is_opts = c->image_opts,
	    .how = {.format = c->format}};

	if (c->force_share)
		s.how.flags |= IMG_O_FORCE_SHARE;
	return s;
}

bool source_cache(const char *text, const char *what, enum img_cache *out)
{
	if (!text || img_cache_parse(text, out))
		return true;
	msg_error("Invalid %s option: %s", what, text);
	return false;
}

bool source_one_operand(const struct common *c)
{
	if (c->operands_n == 1)
		return true;
	msg_usage("Expecting one image file name");
	return false;
}

bool source_opts_valid(const struct common *c)
{
	if (!c->image_opts || !c->format)
		return true;
	msg_error("--image-opts and --format are mutually exclusive");
	return false;
}

void source_warn_probed(const struct image *img, const char *name)
{
	CLEANUP_FREE char *text = NULL;

	if (img_probed_raw(img))
		text = img_probed_raw_warning(name);
	if (text)
		fprintf(stderr, "WARNING: %s\n", text);
}
