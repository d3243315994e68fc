/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parameters of nbdkit-image-plugin: KEY=VALUE from the command line.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/core/object.h"
#include "plugin/params.h"

/*
 * nbdkit changes its working directory when it goes to the background, so a
 * path must not be relative.  Symbolic links stay: names inside the image are
 * relative to the name that the user gave.
 */
static int set_name(struct params *p, const char *value)
{
	if (p->name) {
		nbdkit_error("file= was given more than once");
		return -1;
	}
	if (!strncmp(value, "json:", 5) || img_is_remote(value)) {
		p->name = strdup(value);
		if (!p->name)
			nbdkit_error("strdup: %m");
	} else {
		if (!strncmp(value, "file:", 5))
			value += 5;
		p->name = nbdkit_absolute_path(value);
	}
	return p->name ? 0 : -1;
}

static int set_backing(struct params *p, const char *value)
{
	if (!strcmp(value, "allow")) {
		p->how.gate = IMG_GATE_ALLOW;
		return 0;
	}
	if (!strcmp(value, "deny")) {
		p->how.gate = IMG_GATE_DENY;
		return 0;
	}
	nbdkit_error("backing=%s: must be allow or deny", value);
	return -1;
}

static int set_discard(struct params *p, const char *value)
{
	if (!strcmp(value, "unmap") || !strcmp(value, "on")) {
		p->how.flags |= IMG_O_DISCARD;
		return 0;
	}
	if (!strcmp(value, "ignore") || !strcmp(value, "off")) {
		p->how.flags &= ~IMG_O_DISCARD;
		return 0;
	}
	nbdkit_error("discard=%s: must be unmap or ignore", value);
	return -1;
}

static int set_cache(struct params *p, const char *value)
{
	if (img_cache_parse(value, &p->how.cache))
		return 0;
	nbdkit_error("cache=%s: must be writeback, none, writethrough, "
		     "directsync or unsafe",
	    value);
	return -1;
}

static int set_format(struct params *p, const char *value)
{
	if (img_format_find(value)) {
		p->how.format = value;
		return 0;
	}
	nbdkit_error("format=%s: no such format; nbdkit image --dump-plugin "
		     "lists them",
	    value);
	return -1;
}

/* A thing that options of the image refer to, such as the key of its cipher. */
static int add_object(const char *value)
{
	struct err e = ERR_INIT;
	char *help = NULL;
	int rc = object_add(value, &help, &e);

	if (rc < 0)
		nbdkit_error("object: %s", e.msg);
	else if (rc > 0)
		nbdkit_error("object: must be TYPE,id=ID,...");
	free(help);
	err_clear(&e);
	return rc ? -1 : 0;
}

int params_set(struct params *p, const char *key, const char *value)
{
	if (!strcmp(key, "file"))
		return set_name(p, value);
	if (!strcmp(key, "format"))
		return set_format(p, value);
	if (!strcmp(key, "backing"))
		return set_backing(p, value);
	if (!strcmp(key, "cache"))
		return set_cache(p, value);
	if (!strcmp(key, "discard"))
		return set_discard(p, value);
	if (!strcmp(key, "object"))
		return add_object(value);
	if (!strcmp(key, "snapshot")) {
		p->how.snapshot = value;
		return 0;
	}
	nbdkit_error("unknown parameter '%s'", key);
	return -1;
}

int params_complete(const struct params *p)
{
	if (p->name)
		return 0;
	nbdkit_error("no image was named: nbdkit image FILE");
	return -1;
}

void params_clear(struct params *p)
{
	free(p->name);
	p->name = NULL;
}
