/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Option lists as JSON: `json:{...}` names.
 *
 * Beyond RFC 8259, strings may be in single quotes, as users of shells write
 * them: json:{'driver':'raw'}.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "options.h"
#include "units.h"

#define TEXT_MAX  (1 * MiB)
#define DEPTH_MAX 64u	/* objects and arrays inside each other */
#define KEY_MAX	  1024u /* bytes of a dotted key */

DEFINE_CLEANUP(json, json_t, json_decref)

/* A quote in `in` that ends or begins a string, turned to double quotes. */
struct requote {
	const char *in;
	char *out;
	char quote; /* of the string that we are in, or 0 */
};

static void requote_one(struct requote *r)
{
	char c = *r->in++;

	if (!r->quote && (c == '\'' || c == '"')) {
		r->quote = c;
		c = '"';
	} else if (r->quote && c == '\\' && *r->in) {
		if (*r->in != '\'')
			*r->out++ = '\\';
		c = *r->in++;
	} else if (r->quote && c == r->quote) {
		r->quote = 0;
		c = '"';
	} else if (r->quote && c == '"') {
		*r->out++ = '\\';
	}
	*r->out++ = c;
}

static char *double_quotes(const char *text, struct err *e)
{
	char *copy = malloc(strlen(text) * 2 + 1);
	struct requote r = {text, copy, 0};

	if (!copy) {
		err_nomem(e);
		return NULL;
	}
	while (*r.in)
		requote_one(&r);
	*r.out = 0;
	return copy;
}

static json_t *parse(const char *text, struct err *e)
{
	CLEANUP_FREE char *quoted = NULL;
	json_error_t why;
	json_t *j;

	if (strlen(text) > TEXT_MAX) {
		err_usage(e,
		    "Could not parse the JSON options: %zu bytes, at most %llu",
		    strlen(text), TEXT_MAX);
		return NULL;
	}
	quoted = double_quotes(text, e);
	if (!quoted)
		return NULL;
	j = json_loads(quoted, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!j)
		err_usage(e,
		    "Could not parse the JSON options: JSON parse error, %s",
		    why.text);
	return j;
}

static int set_scalar(
    struct options *o, const char *key, json_t *v, struct err *e)
{
	char number[40];

	switch (json_typeof(v)) {
	case JSON_STRING:
		return options_set(o, key, json_string_value(v), e);
	case JSON_TRUE:
		return options_set(o, key, "on", e);
	case JSON_FALSE:
		return options_set(o, key, "off", e);
	case JSON_NULL:
		return options_set(o, key, "", e);
	case JSON_INTEGER:
		snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
		    json_integer_value(v));
		return options_set(o, key, number, e);
	case JSON_REAL:
		snprintf(number, sizeof number, "%.17g", json_real_value(v));
		return options_set(o, key, number, e);
	case JSON_OBJECT:
	case JSON_ARRAY:
		break;
	}
	return err_usage(
	    e, "Could not parse the JSON options: '%s' is empty", key);
}

/* Where a dotted key is put together. */
struct path {
	char key[KEY_MAX + 1];
	size_t len;
	unsigned depth;
};

static int path_add(struct path *at, const char *name, struct err *e)
{
	size_t len = strlen(name), dot = at->depth > 0;

	if (at->depth >= DEPTH_MAX)
		return err_usage(e,
		    "Could not parse the JSON options: more than %u levels",
		    DEPTH_MAX);
	if (!len || at->len + dot + len > KEY_MAX)
		return err_usage(e,
		    "Could not parse the JSON options: a key of %zu bytes, "
		    "allowed are 1 to %u",
		    at->len + dot + len, KEY_MAX);
	if (dot)
		at->key[at->len++] = '.';
	memcpy(at->key + at->len, name, len + 1);
	at->len += len;
	at->depth++;
	return 0;
}

static int flatten(
    struct options *o, struct path *at, json_t *v, struct err *e);

static int flatten_member(struct options *o, struct path *at, const char *name,
    json_t *v, struct err *e)
{
	size_t len = at->len;
	int rc = path_add(at, name, e);

	if (rc)
		return rc;
	rc = flatten(o, at, v, e);
	at->len = len;
	at->key[len] = 0;
	at->depth--;
	return rc;
}

static int flatten(struct options *o, struct path *at, json_t *v, struct err *e)
{
	const char *name;
	char number[24];
	json_t *member;
	size_t i;

	if (!json_object_size(v) && !json_array_size(v))
		return set_scalar(o, at->key, v, e);
	json_array_foreach(v, i, member)
	{
		snprintf(number, sizeof number, "%zu", i);
		if (flatten_member(o, at, number, member, e) < 0)
			return -1;
	}
	json_object_foreach(v, name,
	    member) if (flatten_member(o, at, name, member, e) < 0) return -1;
	return 0;
}

int options_parse_json(struct options *o, const char *text, struct err *e)
{
	CLEANUP(json) json_t *j = parse(text, e);
	struct path at = {0};

	if (!j)
		return -1;
	if (!json_is_object(j))
		return err_usage(e, "Invalid JSON object given");
	return json_object_size(j) ? flatten(o, &at, j, e) : 0;
}

/* ---- writing ---------------------------------------------------------- */

/* By hand, since a file name need not be UTF-8 and goes out as it came. */
static void put_string(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20)
			fprintf(f, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else
			putc(c, f);
	}
	putc('"', f);
}

char *options_json(const struct options *o, struct err *e)
{
	const char *key, *value;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f) {
		err_nomem(e);
		return NULL;
	}
	fputs("json:{", f);
	for (unsigned i = 0; options_at(o, i, &key, &value); i++) {
		fputs(i ? ", " : "", f);
		put_string(f, key);
		fputs(": ", f);
		put_string(f, value);
	}
	putc('}', f);
	if (fclose(f)) {
		free(text);
		err_nomem(e);
		return NULL;
	}
	return text;
}
