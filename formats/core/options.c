/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Option lists: see options.h.  Reading and writing JSON is in
 * options_json.c.
 *
 * The list is an array in the order of insertion, searched linearly: lists
 * are short, and LIST_MAX bounds those that are made to be long.
 */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"
#include "units.h"

#define LIST_MAX 1024u	   /* pairs */
#define TEXT_MAX (1 * MiB) /* bytes of one list as text */

struct pair {
	char *key, *value;
	bool used;
};

struct options {
	struct pair *pair;
	size_t n, max;
	struct options *replaced; /* values that keys had before; or NULL */
};

struct options *options_new(struct err *e)
{
	struct options *o = calloc(1, sizeof *o);

	if (!o)
		err_nomem(e);
	return o;
}

static void pair_free(struct pair *p)
{
	free(p->key);
	free(p->value);
}

void options_free(struct options *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n; i++)
		pair_free(&o->pair[i]);
	free(o->pair);
	options_free(o->replaced);
	free(o);
}

static struct pair *find(const struct options *o, const char *key)
{
	for (size_t i = 0; i < o->n; i++)
		if (!strcmp(o->pair[i].key, key))
			return &o->pair[i];
	return NULL;
}

static void forget(struct options *o, struct pair *p)
{
	pair_free(p);
	o->n--;
	memmove(p, p + 1, (size_t)(o->pair + o->n - p) * sizeof *p);
}

static int make_room(struct options *o, struct err *e)
{
	size_t max = o->max ? o->max * 2 : 8;
	struct pair *more;

	if (o->n < o->max)
		return 0;
	if (o->n >= LIST_MAX)
		return err_usage(e, "Too many options: more than %u", LIST_MAX);
	more = reallocarray(o->pair, max, sizeof *more);
	if (!more)
		return err_nomem(e);
	o->pair = more;
	o->max = max;
	return 0;
}

static int append(
    struct options *o, const char *key, const char *value, struct err *e)
{
	struct pair added = {0};

	if (make_room(o, e) < 0)
		return -1;
	added.key = strdup(key);
	added.value = strdup(value);
	if (!added.key || !added.value) {
		pair_free(&added);
		return err_nomem(e);
	}
	o->pair[o->n++] = added;
	return 0;
}

static int replace(
    struct options *o, struct pair *p, const char *value, struct err *e)
{
	char *copy;

	if (!o->replaced && !(o->replaced = options_new(e)))
		return -1;
	if (append(o->replaced, p->key, p->value, e))
		return -1;
	copy = strdup(value);
	if (!copy)
		return err_nomem(e);
	free(p->value);
	p->value = copy;
	p->used = false;
	return 0;
}

int options_set(
    struct options *o, const char *key, const char *value, struct err *e)
{
	struct pair *p = find(o, key);

	if (p && !value)
		forget(o, p);
	if (!value)
		return 0;
	return p ? replace(o, p, value, e) : append(o, key, value, e);
}

/* ---- a=b,c=d ---------------------------------------------------------- */

/*
 * Copies up to the first single comma or the end into `out`, a doubled comma
 * as one.  Returns where the next word begins.
 */
static const char *next_value(const char *p, char *out)
{
	for (; *p; p++) {
		if (*p == ',' && *++p != ',')
			break;
		*out++ = *p;
	}
	*out = 0;
	return p;
}

/* A word without `=`: `word` is on, `noword` is off. */
static int set_flag(struct options *o, const char *word, struct err *e)
{
	if (!strncmp(word, "no", 2) && word[2])
		return options_set(o, word + 2, "off", e);
	return options_set(o, word, "on", e);
}

static bool list_valid(const char *text)
{
	size_t len = strlen(text), commas = 0;

	while (commas < len && text[len - 1 - commas] == ',')
		commas++;
	return len && text[0] != ',' && commas % 2 == 0;
}

static int parse_words(struct options *o, const char *text, const char *implied,
    char *word, struct err *e)
{
	const char *p = text;
	bool first = true;
	int rc = 0;

	for (; *p && !rc; first = false) {
		size_t key_len = strcspn(p, "=,");
		CLEANUP_FREE char *key = NULL;

		if (p[key_len] != '=') {
			p = next_value(p, word);
			rc = first && implied ? options_set(o, implied, word, e)
					      : set_flag(o, word, e);
			continue;
		}
		if (!key_len)
			return err_usage(e, "Invalid parameter ''");
		key = strndup(p, key_len);
		if (!key)
			return err_nomem(e);
		p = next_value(p + key_len + 1, word);
		rc = options_set(o, key, word, e);
	}
	return rc;
}

int options_parse(
    struct options *o, const char *text, const char *implied, struct err *e)
{
	CLEANUP_FREE char *word = NULL;

	if (!implied && !list_valid(text))
		return err_usage(e, "Invalid option list: %s", text);
	if (strlen(text) > TEXT_MAX)
		return err_usage(e, "Option list of %zu bytes: at most %llu",
		    strlen(text), TEXT_MAX);
	word = malloc(strlen(text) + 1);
	if (!word)
		return err_nomem(e);
	return parse_words(o, text, implied, word, e);
}

/* ---- readers ---------------------------------------------------------- */

const char *options_get(struct options *o, const char *key)
{
	struct pair *p = find(o, key);

	if (!p)
		return NULL;
	p->used = true;
	return p->value;
}

bool options_has(const struct options *o, const char *key)
{
	return find(o, key);
}

static bool one_of(const char *value, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(value, *words))
			return true;
	return false;
}

int options_bool(struct options *o, const char *key, bool *out, struct err *e)
{
	static const char *const on[] = {"on", "yes", "true", "y", NULL};
	static const char *const off[] = {"off", "no", "false", "n", NULL};
	const char *value = options_get(o, key);

	if (!value)
		return 0;
	if (!one_of(value, on) && !one_of(value, off))
		return err_usage(
		    e, "Parameter '%s' expects 'on' or 'off'", key);
	*out = one_of(value, on);
	return 1;
}

int options_u64(
    struct options *o, const char *key, uint64_t *out, struct err *e)
{
	const char *value = options_get(o, key);
	unsigned long long v;
	char *end;

	if (!value)
		return 0;
	errno = 0;
	v = strtoull(value, &end, 0);
	if (end == value || *end || strchr(value, '-'))
		return err_usage(e, "Parameter '%s' expects a number", key);
	if (errno)
		return err_usage(e,
		    "Value '%s' is too large for parameter '%s'", value, key);
	*out = v;
	return 1;
}

int options_size(
    struct options *o, const char *key, uint64_t *out, struct err *e)
{
	const char *value = options_get(o, key);
	uint64_t v;

	if (!value)
		return 0;
	switch (size_scan(value, &v)) {
	case 0:
		*out = v;
		return 1;
	case ERANGE:
		return err_usage(e,
		    "Value '%s' is out of range for parameter '%s'", value,
		    key);
	default:
		err_usage(e,
		    "Parameter '%s' expects a non-negative number below 2^64",
		    key);
		err_hint(e, "Optional suffix k, M, G, T, P or E means kilo-, "
			    "mega-, giga-, tera-, peta-\nand exabytes, "
			    "respectively.");
		return -1;
	}
}

/* ---- lists as a whole ------------------------------------------------- */

struct options *options_sub(
    struct options *o, const char *prefix, struct err *e)
{
	CLEANUP(options) struct options *sub = options_new(e);
	size_t len = strlen(prefix);

	for (size_t i = 0; sub && i < o->n; i++) {
		struct pair *p = &o->pair[i];

		if (strncmp(p->key, prefix, len) || p->key[len] != '.')
			continue;
		p->used = true;
		if (options_set(sub, p->key + len + 1, p->value, e) < 0)
			return NULL;
	}
	return take(sub);
}

struct options *options_copy(const struct options *o, struct err *e)
{
	CLEANUP(options) struct options *copy = options_new(e);

	for (size_t i = 0; copy && i < o->n; i++) {
		struct pair *p = &o->pair[i];

		if (options_set(copy, p->key, p->value, e) < 0)
			return NULL;
		copy->pair[i].used = p->used;
	}
	return take(copy);
}

bool options_empty(const struct options *o)
{
	return !o->n;
}

const char *options_unused(const struct options *o)
{
	for (size_t i = 0; i < o->n; i++)
		if (!o->pair[i].used)
			return o->pair[i].key;
	return NULL;
}

bool options_at(
    const struct options *o, unsigned i, const char **key, const char **value)
{
	if (i >= o->n)
		return false;
	*key = o->pair[i].key;
	*value = o->pair[i].value;
	return true;
}

bool options_replaced_at(
    const struct options *o, unsigned i, const char **key, const char **value)
{
	return o->replaced && options_at(o->replaced, i, key, value);
}
