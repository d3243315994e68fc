/* SPDX-License-Identifier: BSD-3-Clause */
/* Several exports from the command line: see exportlist.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exportlist.h"
#include "nbd.h"

/* ---- one export -------------------------------------------------------- */

static int set_flag(unsigned *flags, unsigned flag, struct options *o,
    const char *key, bool means, struct err *e)
{
	bool on;
	int rc = options_bool(o, key, &on, e);

	if (rc > 0)
		*flags = on == means ? *flags | flag : *flags & ~flag;
	return rc < 0 ? -1 : 0;
}

static int set_discard(struct export_spec *s, const char *mode, struct err *e)
{
	if (!mode)
		return 0;
	if (export_parse_discard(mode, &s->open.flags))
		return 0;
	return err_usage(e, "Invalid discard mode `%s'", mode);
}

static int set_detect_zeroes(
    struct export_spec *s, const char *mode, struct err *e)
{
	const char *wrong;

	if (mode && !export_parse_detect_zeroes(mode, &s->detect_zeroes))
		return err_usage(e, "Invalid detect-zeroes mode `%s'", mode);
	wrong = export_detect_zeroes_wrong(s);
	return wrong ? err_usage(e, "%s", wrong) : 0;
}

static int set_cache(struct export_spec *s, const char *mode, struct err *e)
{
	if (!mode || img_cache_parse(mode, &s->open.cache))
		return 0;
	return err_usage(e, "Invalid cache mode `%s'", mode);
}

static int set_backing(struct export_spec *s, const char *mode, struct err *e)
{
	if (!mode || export_parse_backing(mode, &s->open.gate))
		return 0;
	return err_usage(e, "Invalid backing mode `%s'", mode);
}

/* bitmaps.0, bitmaps.1, ... */
static int set_bitmaps(struct export_spec *s, struct options *o, struct err *e)
{
	char key[32];
	unsigned n = 0;

	while (snprintf(key, sizeof key, "bitmaps.%u", n), options_has(o, key))
		n++;
	if (!n)
		return 0;
	s->bitmap = calloc(n, sizeof *s->bitmap);
	if (!s->bitmap)
		return err_nomem(e);
	for (; s->bitmap_n < n; s->bitmap_n++) {
		snprintf(key, sizeof key, "bitmaps.%u", s->bitmap_n);
		s->bitmap[s->bitmap_n] = options_get(o, key);
	}
	return 0;
}

static void set_text(const char **out, struct options *o, const char *key)
{
	const char *value = options_get(o, key);

	if (value)
		*out = value;
}

static int set_image(struct export_spec *s, struct options *o, struct err *e)
{
	set_text(&s->file, o, "file");
	set_text(&s->open.format, o, "format");
	set_text(&s->open.snapshot, o, "snapshot");
	if (!s->file || !s->file[0])
		return err_usage(e, "no file is given");
	if (set_flag(&s->open.flags, IMG_O_RDWR, o, "read-only", false, e) ||
	    set_cache(s, options_get(o, "cache"), e) ||
	    set_discard(s, options_get(o, "discard"), e) ||
	    set_backing(s, options_get(o, "backing"), e) ||
	    set_detect_zeroes(s, options_get(o, "detect-zeroes"), e) ||
	    options_size(o, "offset", &s->offset, e) < 0)
		return -1;
	if (s->open.snapshot)
		s->open.flags &= ~IMG_O_RDWR;
	return 0;
}

static int set_export(struct export_spec *s, struct options *o, struct err *e)
{
	const char *unused;

	set_text(&s->name, o, "name");
	set_text(&s->description, o, "description");
	set_text(&s->authz, o, "tls-authz");
	if (set_image(s, o, e) || set_bitmaps(s, o, e) ||
	    set_flag(
		&s->open.flags, IMG_O_DEPTH, o, "allocation-depth", true, e))
		return -1;
	unused = options_unused(o);
	if (unused)
		return err_usage(e, "Invalid parameter '%s'", unused);
	if (strlen(s->name) > NBD_STRING_MAX ||
	    strlen(s->description) > NBD_STRING_MAX)
		return err_usage(e, "name or description of more than %u bytes",
		    NBD_STRING_MAX);
	return 0;
}

static bool is_taken(const struct export_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->spec[i].name, name))
			return true;
	return false;
}

/* Takes the options over. */
static int append(struct export_list *l, const struct export_spec *base,
    struct options *o, struct err *e)
{
	struct export_spec *grown =
			       reallocarray(l->spec, l->n + 1, sizeof *grown),
			   *s;

	if (!grown) {
		options_free(o);
		return err_nomem(e);
	}
	l->spec = grown;
	s = &l->spec[l->n];
	*s = *base;
	s->own = o;
	s->bitmap = NULL;
	s->bitmap_n = 0;
	if (is_taken(l, options_get(o, "name"))) {
		err_usage(
		    e, "there are two exports '%s'", options_get(o, "name"));
		options_free(o);
		return -1;
	}
	l->n++;
	return set_export(s, o, e);
}

/* Paths and URIs may have a `=`, too. */
static bool begins_with_key(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.");

	return text[n] == '=';
}

static int append_file(struct export_list *l, const struct export_spec *base,
    const char *name, const char *rest, struct err *e)
{
	struct options *o = options_new(e);
	CLEANUP_FREE char *text = NULL;

	if (!o)
		return -1;
	if (asprintf(&text, "%s%s",
		begins_with_key(rest) ? "" : "file=", rest) < 0) {
		text = NULL;
		err_nomem(e);
	} else {
		options_parse(o, text, "file", e);
	}
	if (options_has(o, "name"))
		err_usage(e, "Invalid parameter 'name'");
	if (err_is_set(e) || options_set(o, "name", name, e)) {
		options_free(o);
		return -1;
	}
	return append(l, base, o, e);
}

int export_list_add(struct export_list *l, const struct export_spec *base,
    const char *text, struct err *e)
{
	const char *equals = strchr(text, '=');
	CLEANUP_FREE char *name = NULL;

	if (!equals)
		return err_usage(
		    e, "--export=%.200s: expected NAME=FILE", text);
	name = strndup(text, (size_t)(equals - text));
	if (!name)
		return err_nomem(e);
	if (!append_file(l, base, name, equals + 1, e))
		return 0;
	err_prefix(e, "--export=%.200s: ", text);
	return -1;
}

/* ---- all --------------------------------------------------------------- */

void export_list_clear(struct export_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->spec[i].bitmap);
		options_free(l->spec[i].own);
	}
	free(l->spec);
	*l = (struct export_list){0};
}
