/* SPDX-License-Identifier: BSD-3-Clause */
/* See node.h. */
#include "node.h"

#include <ctype.h>
#include <string.h>

#define NODE_NAME_MAX 31u

/* Nobody refers to nodes by name here; but a bad name is a mistake. */
static int check_name(const char *name, struct err *e)
{
	const char *p = name;
	bool good = name && isalpha((unsigned char)*name);

	while (good && *p) {
		good = isalnum((unsigned char)*p) || strchr("-._", *p);
		p++;
	}
	if (!name || (good && strlen(name) <= NODE_NAME_MAX))
		return 0;
	return err_usage(e, "Invalid node-name: '%s'", name);
}

static int read_discard(
    const char *mode, struct node_options *out, struct err *e)
{
	if (!mode || !strcmp(mode, "ignore") || !strcmp(mode, "off"))
		return 0;
	out->discard = !strcmp(mode, "unmap") || !strcmp(mode, "on");
	return out->discard ? 0 : err_usage(e, "Invalid discard option");
}

static int read_detect(
    const char *mode, struct node_options *out, struct err *e)
{
	if (!mode || !strcmp(mode, "off"))
		return 0;
	if (!strcmp(mode, "on")) {
		out->detect_zeroes = DETECT_ON;
		return 0;
	}
	if (strcmp(mode, "unmap"))
		return err_usage(e, "invalid parameter value: %s", mode);
	if (!out->discard)
		return err_usage(e,
		    "setting detect-zeroes to unmap is not allowed without "
		    "setting discard operation to unmap");
	out->detect_zeroes = DETECT_UNMAP;
	return 0;
}

int node_options_read(
    struct options *o, struct node_options *out, struct err *e)
{
	bool ignored;

	*out =
	    (struct node_options){.discard_given = options_has(o, "discard")};
	if (check_name(options_get(o, "node-name"), e) ||
	    read_discard(options_get(o, "discard"), out, e) ||
	    read_detect(options_get(o, "detect-zeroes"), out, e) ||
	    options_bool(o, "auto-read-only", &ignored, e) < 0 ||
	    options_bool(o, "force-share", &out->force_share, e) < 0)
		return -1;
	return 0;
}
