/* SPDX-License-Identifier: BSD-3-Clause */
/* Changing the descriptor: another text, of which all lines but some stay. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmdk.h"

/* ---- text ---------------------------------------------------------------- */

/* The text with the line of a key replaced, added after that of `after`, or
 * (line NULL) left out; malloc'd. */
static char *with_line(const char *text, const char *key, const char *line,
    const char *after, struct err *e)
{
	const char *at = vmdk_desc_find(text, key), *rest;
	char *out = NULL;
	int rc;

	if (at) {
		rest = vmdk_desc_next(at);
	} else {
		at = vmdk_desc_find(text, after);
		at = at ? vmdk_desc_next(at) : NULL;
		rest = at;
	}
	if (!at)
		at = text + strlen(text);
	rc = asprintf(&out, "%.*s%s%s%s", (int)(at - text), text,
	    line ? line : "", line ? "\n" : "", rest ? rest : "");
	if (rc >= 0)
		return out;
	err_nomem(e);
	return NULL;
}

int vmdk_desc_edit(char **text, const char *key, const char *after,
    struct err *e, const char *fmt, ...)
{
	char *line = NULL, *changed;
	va_list ap;
	int rc = 0;

	if (fmt) {
		va_start(ap, fmt);
		rc = vasprintf(&line, fmt, ap);
		va_end(ap);
	}
	if (rc < 0)
		return err_nomem(e);
	changed = with_line(*text, key, line, after, e);
	free(line);
	if (!changed)
		return -1;
	free(*text);
	*text = changed;
	return 0;
}

/* ---- another size -----------------------------------------------------------
 */

/* The line of an extent, with another number of sectors. */
static void put_resized(FILE *out, const char *line, uint64_t len)
{
	const char *number = line + strcspn(line, "RN");
	const char *next = vmdk_desc_next(line);

	number += strcspn(number, " \t");
	number += strspn(number, " \t");
	fprintf(
	    out, "%.*s%" PRIu64, (int)(number - line), line, len / SECTOR_LEN);
	number += strspn(number, "0123456789");
	fwrite(number, 1, next ? (size_t)(next - number) : strlen(number), out);
	if (!next)
		fputc('\n', out);
}

/* The first `n` extents, the last of which has `len` bytes, and then `more`. */
static void put_text(
    FILE *out, const char *text, size_t n, uint64_t len, const char *more)
{
	const char *next;
	size_t i = 0;

	for (const char *p = text; p; p = next) {
		next = vmdk_desc_next(p);
		if (!vmdk_desc_is_extent(p) || ++i < n)
			fwrite(
			    p, 1, next ? (size_t)(next - p) : strlen(p), out);
		else if (i == n)
			put_resized(out, p, len);
		if (vmdk_desc_is_extent(p) && i == n)
			fputs(more, out);
	}
}

/* The line of an extent, with another file name. */
static void put_renamed(FILE *out, const char *line, const char *name)
{
	const char *quote = strchr(line, '"');
	const char *rest = strchr(quote + 1, '"'), *next = vmdk_desc_next(line);

	fprintf(out, "%.*s%s", (int)(quote + 1 - line), line, name);
	fwrite(rest, 1, next ? (size_t)(next - rest) : strlen(rest), out);
}

int vmdk_desc_rename(struct image *img, char *const *name, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	const char *next;

	if (!out)
		return err_nomem(e);
	for (const char *p = vmdk_of(img)->desc.text; p; p = next) {
		next = vmdk_desc_next(p);
		if (vmdk_desc_is_extent(p))
			put_renamed(out, p, *name++);
		else
			fwrite(
			    p, 1, next ? (size_t)(next - p) : strlen(p), out);
	}
	if (!fclose(out))
		return vmdk_desc_store(img, text, e);
	free(text);
	return err_nomem(e);
}

static int edit_geometry(char **text, uint64_t size, struct err *e)
{
	CLEANUP_FREE char *value =
	    vmdk_desc_get(*text, "ddb.geometry.heads", e);
	uint64_t heads = value ? strtoull(value, NULL, 10) : 0;

	if (err_is_set(e))
		return -1;
	if (!heads || heads > 255)
		return 0;
	return vmdk_desc_edit(text, "ddb.geometry.cylinders",
	    "ddb.geometry.heads", e, "ddb.geometry.cylinders = \"%" PRIu64 "\"",
	    size / SECTOR_LEN / (63 * heads));
}

/* A disk of another size is another one, to a child. */
static int edit_cid(const struct image *img, char **text, struct err *e)
{
	if (atomic_load(&img->first_done) || !vmdk_desc_find(*text, "CID"))
		return 0;
	return vmdk_desc_edit(
	    text, "CID", "version", e, "CID=%08" PRIx32, vmdk_cid_new());
}

int vmdk_desc_resize(struct image *img, size_t n, uint64_t len,
    const char *more, uint64_t size, struct err *e)
{
	char *text = NULL;
	size_t text_len = 0;
	FILE *out;

	/* An ESX extent alone has none. */
	if (!*vmdk_of(img)->desc.text)
		return 0;
	out = open_memstream(&text, &text_len);
	if (!out)
		return err_nomem(e);
	put_text(out, vmdk_of(img)->desc.text, n, len, more);
	if (fclose(out)) {
		free(text);
		return err_nomem(e);
	}
	if (!edit_geometry(&text, size, e) && !edit_cid(img, &text, e))
		return vmdk_desc_store(img, text, e);
	free(text);
	return -1;
}
