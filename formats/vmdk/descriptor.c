/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor: text lines `key = value`, extent lines, and comments.
 *
 * Specification: "The Descriptor File".  It is input from outside: an extent
 * line names a file, and what may be opened is decided in extent.c.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>

#include "vmdk.h"

/* ---- lines -------------------------------------------------------------- */

static const char *skip_blank(const char *p)
{
	return p + strspn(p, " \t");
}

static const char *line_end(const char *p)
{
	return p + strcspn(p, "\r\n");
}

const char *vmdk_desc_next(const char *p)
{
	p = line_end(p);
	return *p ? p + 1 : NULL;
}

const char *vmdk_desc_value(const char *line, const char *key)
{
	size_t len = strlen(key);

	line = skip_blank(line);
	if (strncasecmp(line, key, len))
		return NULL;
	line = skip_blank(line + len);
	return *line == '=' ? skip_blank(line + 1) : NULL;
}

const char *vmdk_desc_find(const char *text, const char *key)
{
	for (const char *p = text; p; p = vmdk_desc_next(p))
		if (vmdk_desc_value(p, key))
			return p;
	return NULL;
}

static char *copy_text(const char *p, size_t len, struct err *e)
{
	char *s = strndup(p, len);

	if (!s)
		err_nomem(e);
	return s;
}

char *vmdk_desc_get(const char *text, const char *key, struct err *e)
{
	const char *line = vmdk_desc_find(text, key), *p, *end;

	if (!line)
		return NULL;
	p = vmdk_desc_value(line, key);
	end = line_end(p);
	if (*p == '"') {
		p++;
		return copy_text(p, strcspn(p, "\"\r\n"), e);
	}
	while (end > p && isblank((unsigned char)end[-1]))
		end--;
	return copy_text(p, (size_t)(end - p), e);
}

/* ---- extent lines -------------------------------------------------------- */

static const struct {
	const char *type;
	enum vmdk_kind kind;
} types[] = {
    {"FLAT", VMDK_FLAT},
    {"VMFS", VMDK_FLAT},
    {"ZERO", VMDK_ZERO},
    {"SPARSE", VMDK_SPARSE},
    {"VMFSSPARSE", VMDK_COW},
    {"SESPARSE", VMDK_SE},
};

static bool find_type(struct vmdk_line *l, const char *type)
{
	for (size_t i = 0; i < ARRAY_N(types); i++) {
		if (strcmp(types[i].type, type))
			continue;
		l->kind = types[i].kind;
		snprintf(l->type, sizeof l->type, "%s", type);
		return true;
	}
	return false;
}

bool vmdk_desc_is_extent(const char *line)
{
	static const char *const words[] = {"RW", "RDONLY", "NOACCESS"};

	line = skip_blank(line);
	for (size_t i = 0; i < ARRAY_N(words); i++) {
		size_t len = strlen(words[i]);

		if (!strncmp(line, words[i], len) &&
		    isblank((unsigned char)line[len]))
			return true;
	}
	return false;
}

/* The file name, in quotes, and what follows it. */
static int parse_file(struct vmdk_line *l, const char *p, struct err *e)
{
	const char *quote;
	uint64_t sector = 0;

	p = skip_blank(p);
	quote = *p == '"' ? strchr(p + 1, '"') : NULL;
	if (!quote)
		return 1;
	l->file = copy_text(p + 1, (size_t)(quote - p - 1), e);
	if (!l->file)
		return -1;
	p = skip_blank(quote + 1);
	if (isdigit((unsigned char)*p))
		sector = strtoull(p, NULL, 10);
	else if (!strcmp(l->type, "FLAT"))
		return 1;
	if (l->kind != VMDK_FLAT)
		return 0;
	return !mul_ok(sector, SECTOR_LEN, &l->host) || l->host > INT64_MAX;
}

/* One line, alone.  0 done, 1 it is wrong, -1 failed. */
static int parse_extent(struct vmdk_line *l, const char *line, struct err *e)
{
	unsigned long long sectors;
	char type[12];
	int used = 0;

	l->read_only = strncmp(line, "RW", 2);
	if (!strncmp(line, "NOACCESS", 8))
		return err_unsupported(
		    e, "an extent has no access: %.200s", line);
	if (sscanf(line, "%*s %llu %11s%n", &sectors, type, &used) != 2 ||
	    !sectors || !find_type(l, type) ||
	    !mul_ok(sectors, SECTOR_LEN, &l->len) || l->len > IMG_SIZE_MAX)
		return 1;
	return l->kind == VMDK_ZERO ? 0 : parse_file(l, line + used, e);
}

static int add_line(
    struct vmdk_desc *d, const struct vmdk_line *l, struct err *e)
{
	struct vmdk_line *more;

	if (d->line_n == VMDK_EXTENTS_MAX)
		return err_unsupported(e,
		    "the descriptor has more than %u extents",
		    VMDK_EXTENTS_MAX);
	more = reallocarray(d->line, d->line_n + 1, sizeof *more);
	if (!more)
		return err_nomem(e);
	d->line = more;
	d->line[d->line_n++] = *l;
	return 0;
}

static int parse_extents(struct vmdk_desc *d, const char *name, struct err *e)
{
	for (const char *p = d->text; p; p = vmdk_desc_next(p)) {
		CLEANUP_FREE char *line = NULL;
		struct vmdk_line l = {0};
		int rc;

		p = skip_blank(p);
		if (!vmdk_desc_is_extent(p))
			continue;
		line = copy_text(p, (size_t)(line_end(p) - p), e);
		rc = line ? parse_extent(&l, line, e) : -1;
		if (rc > 0)
			rc = err_damaged(
			    e, "%s: Invalid extent line: %.200s", name, line);
		if (rc || add_line(d, &l, e)) {
			free(l.file);
			return -1;
		}
	}
	return 0;
}

/* ---- the whole ------------------------------------------------------------
 */

/* A CID: eight hex digits, or as many as there are. */
static int parse_cid(const struct vmdk_desc *d, const char *key,
    const char *name, uint32_t *cid, struct err *e)
{
	CLEANUP_FREE char *text = vmdk_desc_get(d->text, key, e);
	char *end = text;
	unsigned long v;

	if (!text)
		return err_is_set(e) ? -1 : 0;
	errno = 0;
	v = strtoul(text, &end, 16);
	if (end == text || *skip_blank(end) || errno || v > UINT32_MAX)
		return err_damaged(e,
		    "%s: descriptor: %s=%.40s is no number of 8 hex digits",
		    name, key, text);
	*cid = (uint32_t)v;
	return 0;
}

/* The parent, if the CID says that there is one. */
static int parse_parent(struct vmdk_desc *d, const char *name, struct err *e)
{
	CLEANUP_FREE char *hint = NULL;

	if (d->parent_cid == VMDK_NO_PARENT)
		return 0;
	hint = vmdk_desc_get(d->text, "parentFileNameHint", e);
	if (err_is_set(e))
		return -1;
	if (hint && *hint)
		d->parent = take(hint);
	else if (hint)
		return err_damaged(
		    e, "%s: descriptor: parentFileNameHint is empty", name);
	return 0;
}

int vmdk_desc_parse(struct vmdk_desc *d, char *text, const char *name,
    bool embedded, struct err *e)
{
	d->text = text;
	d->cid = d->parent_cid = d->next_parent_cid = VMDK_NO_PARENT;
	if (parse_cid(d, "CID", name, &d->cid, e) ||
	    parse_cid(d, "parentCID", name, &d->parent_cid, e) ||
	    parse_cid(d, VMDK_NEXT_PARENT, name, &d->next_parent_cid, e) ||
	    parse_parent(d, name, e))
		return -1;
	d->create_type = vmdk_desc_get(d->text, "createType", e);
	if (err_is_set(e))
		return -1;
	if (embedded)
		return 0;
	if (!d->create_type)
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "invalid VMDK image descriptor");
	return parse_extents(d, name, e);
}

void vmdk_desc_clear(struct vmdk_desc *d)
{
	for (size_t i = 0; i < d->line_n; i++)
		free(d->line[i].file);
	free(d->line);
	free(d->text);
	free(d->create_type);
	free(d->parent);
	*d = (struct vmdk_desc){0};
}

bool vmdk_desc_probe(const uint8_t *buf, size_t len)
{
	CLEANUP_FREE char *text = strndup((const char *)buf, len);

	for (const char *p = text; p; p = vmdk_desc_next(p)) {
		const char *word = skip_blank(p), *version;

		if (*word == '#' || word == line_end(word))
			continue;
		version = vmdk_desc_value(p, "version");
		return version &&
		       (*version == '1' || *version == '2' || *version == '3');
	}
	return false;
}

uint32_t vmdk_cid_new(void)
{
	uint32_t cid = 0;

	if (getrandom(&cid, sizeof cid, 0) != sizeof cid)
		cid = (uint32_t)(uintptr_t)&cid ^ (uint32_t)getpid();
	/* The last two have a meaning. */
	return cid >= VMDK_NO_PARENT - 1 ? cid >> 1 : cid;
}

int vmdk_check_parent_cid(const char *name, uint32_t cid, struct err *e)
{
	return cid != VMDK_NO_PARENT
		   ? 0
		   : err_unsupported(e,
			 "%s: it has no CID, by which its children would know "
			 "it",
			 name);
}
