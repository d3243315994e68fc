/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names of images that options describe: see treename.h.
 *
 * An option counts if another value would show another disk, or none.  The
 * order of the members is the one that other tools print.
 */
#include "treename.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "open.h"
#include "units.h"

DEFINE_CLEANUP(json, json_t, json_decref)

static const char *const before[] = {"encrypt.key-secret", "offset", NULL};
static const char *const after[] = {"size", NULL};
static const char *const last[] = {"key-secret", NULL};
static const char *const storage[] = {"filename", "path", "host", "port",
    "server.type", "server.path", "server.host", "server.port", "export",
    "tls-creds", "tls-hostname", NULL};

struct describing {
	bool plain;  /* the name of the file says it all */
	bool failed; /* out of memory, or no UTF-8 */
};

static void put(struct describing *d, json_t *j, const char *key, json_t *value)
{
	d->failed |= json_object_set_new(j, key, value) != 0;
}

static void put_those(
    struct describing *d, json_t *j, struct options *o, const char *const *keys)
{
	for (; *keys; keys++) {
		const char *value = options_get(o, *keys);

		if (!value)
			continue;
		d->plain = false;
		put(d, j, *keys, json_string(value));
	}
}

static json_t *describe(
    struct describing *d, struct options *o, const char *format);

/* A file: storage, or an image again. */
static json_t *describe_file(struct describing *d, struct options *o)
{
	const char *driver = options_get(o, "driver");
	struct describing of_storage = {.plain = true};
	json_t *j;

	if (driver && !storage_is_driver(driver)) {
		d->plain = false;
		return describe(d, o, driver);
	}
	j = json_object();
	put(&of_storage, j, "driver", json_string(driver ? driver : "file"));
	put_those(&of_storage, j, o, storage);
	d->failed |= of_storage.failed;
	return j;
}

static void put_file(struct describing *d, json_t *j, struct options *o,
    const char *child, const char *filename)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *sub = options_sub(o, child, &e);

	if (sub && options_empty(sub) && filename)
		options_set(sub, "filename", filename, &e);
	d->failed |= err_is_set(&e);
	if (sub && !options_empty(sub))
		put(d, j, child, describe_file(d, sub));
}

static json_t *describe(
    struct describing *d, struct options *o, const char *format)
{
	json_t *j = json_object();

	put_those(d, j, o, before);
	put(d, j, "driver", json_string(format));
	put_those(d, j, o, after);
	put_file(d, j, o, "file", options_get(o, "filename"));
	put_file(d, j, o, "header", NULL);
	put_file(d, j, o, "data-file", NULL);
	put_those(d, j, o, last);
	return j;
}

char *tree_name(struct options *o, const char *format)
{
	struct describing d = {.plain = true};
	CLEANUP(json) json_t *j = describe(&d, o, format);
	CLEANUP_FREE char *text = NULL;
	char *name = NULL;

	if (!d.plain && !d.failed)
		text = json_dumps(j, JSON_ENSURE_ASCII);
	if (text && asprintf(&name, "json:%s", text) < 0)
		return NULL;
	return name;
}
