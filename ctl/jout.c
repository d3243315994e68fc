/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON as text: see jout.h. */
#include "jout.h"

#include <inttypes.h>
#include <string.h>

static void new_line(struct jout *w)
{
	fprintf(w->f, "\n%*s", (int)w->depth * 4, "");
}

/*
 * The code point at *p, which moves past it.  What is not UTF-8 (a file name
 * may be any bytes) is U+FFFD, a byte at a time.
 */
static uint32_t next_code_point(const unsigned char **p)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = *(*p)++;
	unsigned len = first < 0x80   ? 1
		       : first < 0xc2 ? 0
		       : first < 0xe0 ? 2
		       : first < 0xf0 ? 3
		       : first < 0xf5 ? 4
				      : 0;
	uint32_t v = len < 2 ? first : first & (0xffu >> (len + 1));

	for (unsigned i = 1; i < len; i++) {
		if (((*p)[i - 1] & 0xc0) != 0x80)
			return 0xfffd;
		v = v << 6 | ((*p)[i - 1] & 0x3fu);
	}
	if (!len || v < smallest[len] || (v >= 0xd800 && v < 0xe000) ||
	    v > 0x10ffff)
		return 0xfffd;
	*p += len - 1;
	return v;
}

static void put_char(FILE *f, uint32_t c)
{
	static const char special[] = "\"\\\b\f\n\r\t";
	static const char escape[] = "\"\\bfnrt";
	const char *at = c && c < 0x80 ? strchr(special, (int)c) : NULL;

	if (at)
		fprintf(f, "\\%c", escape[at - special]);
	else if (c >= 0x20 && c < 0x7f)
		fputc((int)c, f);
	else if (c < 0x10000)
		fprintf(f, "\\u%04" PRIX32, c);
	else
		fprintf(f, "\\u%04" PRIX32 "\\u%04" PRIX32,
		    0xd800 + ((c - 0x10000) >> 10),
		    0xdc00 + ((c - 0x10000) & 0x3ff));
}

static void put_text(FILE *f, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	fputc('"', f);
	while (*p)
		put_char(f, next_code_point(&p));
	fputc('"', f);
}

static void put_key(struct jout *w, const char *key)
{
	if (w->inner)
		fputc(',', w->f);
	if (w->depth)
		new_line(w);
	w->inner = true;
	if (key) {
		put_text(w->f, key);
		fprintf(w->f, ": ");
	}
}

void jout_begin(struct jout *w, const char *key, char bracket)
{
	put_key(w, key);
	fputc(bracket, w->f);
	w->depth++;
	w->inner = false;
}

void jout_end(struct jout *w, char bracket)
{
	w->depth--;
	w->inner = true;
	new_line(w);
	fputc(bracket, w->f);
}

void jout_text(struct jout *w, const char *key, const char *text)
{
	put_key(w, key);
	put_text(w->f, text);
}

void jout_u64(struct jout *w, const char *key, uint64_t v)
{
	put_key(w, key);
	fprintf(w->f, "%" PRIu64, v);
}

void jout_i64(struct jout *w, const char *key, int64_t v)
{
	put_key(w, key);
	fprintf(w->f, "%" PRId64, v);
}

void jout_bool(struct jout *w, const char *key, bool v)
{
	put_key(w, key);
	fputs(v ? "true" : "false", w->f);
}

static void put_list(struct jout *w, const char *key, json_t *list)
{
	json_t *item;
	size_t i;

	jout_begin(w, key, '[');
	json_array_foreach(list, i, item) jout_tree(w, NULL, item);
	jout_end(w, ']');
}

static void put_object(struct jout *w, const char *key, json_t *object)
{
	const char *name;
	json_t *item;

	jout_begin(w, key, '{');
	json_object_foreach(object, name, item) jout_tree(w, name, item);
	jout_end(w, '}');
}

void jout_tree(struct jout *w, const char *key, json_t *tree)
{
	switch (json_typeof(tree)) {
	case JSON_OBJECT:
		put_object(w, key, tree);
		break;
	case JSON_ARRAY:
		put_list(w, key, tree);
		break;
	case JSON_STRING:
		jout_text(w, key, json_string_value(tree));
		break;
	case JSON_INTEGER:
		jout_i64(w, key, json_integer_value(tree));
		break;
	case JSON_REAL:
		put_key(w, key);
		fprintf(w->f, "%.17g", json_real_value(tree));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		jout_bool(w, key, json_is_true(tree));
		break;
	case JSON_NULL:
		put_key(w, key);
		fputs("null", w->f);
		break;
	}
}

void jout_done(struct jout *w)
{
	fputc('\n', w->f);
}
