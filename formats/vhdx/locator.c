/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parent locator of a differencing disk: keys with values, in UTF-16.
 *
 * Paths are of the system that made the image.  A relative one goes first: it
 * is relative to the image's folder.  An absolute path of this system is taken
 * as it is; of one that is not (`C:\disks\base.vhdx`) only the last part is,
 * in the image's folder.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/utf16.h"
#include "vhdx.h"

#define HEAD_LEN  20u
#define ENTRY_LEN 12u
#define KEY_N	  5u /* that we know */

/* The type of locators that name a VHDX parent. */
static const struct vhdx_guid type_guid = {{0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1,
    0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13}};

/* ---- reading ----------------------------------------------------------------
 */

static char *text_at(
    const uint8_t *item, uint32_t item_len, uint32_t off, uint32_t len)
{
	if (off < HEAD_LEN || !range_ok(off, len, item_len))
		return NULL;
	return utf16_to_utf8(item + off, len);
}

static void take_path(char **slot, char **value)
{
	for (char *p = *value; *p; p++)
		if (*p == '\\')
			*p = '/';
	free(*slot);
	*slot = take(*value);
}

static int keep(
    struct vhdx_locator *l, const char *key, char **value, struct err *e)
{
	struct vhdx_guid *g = NULL;

	if (!strcmp(key, "relative_path"))
		take_path(&l->relative, value);
	else if (!strcmp(key, "volume_path"))
		take_path(&l->volume, value);
	else if (!strcmp(key, "absolute_win32_path"))
		take_path(&l->absolute, value);
	else if (!strcmp(key, "parent_linkage"))
		g = &l->linkage;
	else if (!strcmp(key, "parent_linkage2"))
		g = &l->linkage2;
	if (g && !vhdx_guid_parse(g, *value))
		return err_damaged(
		    e, "VHDX parent locator: %s is not a GUID", key);
	return 0;
}

int vhdx_locator_parse(
    struct vhdx_locator *l, const uint8_t *item, uint32_t len, struct err *e)
{
	uint32_t n = le16(item + 18);

	if (memcmp(item, &type_guid, sizeof type_guid))
		return err_unsupported(
		    e, "VHDX parent locator: of an unknown type");
	if (n > (len - HEAD_LEN) / ENTRY_LEN)
		return err_damaged(
		    e, "VHDX parent locator: %u entries in %u bytes", n, len);
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *p = item + HEAD_LEN + (size_t)i * ENTRY_LEN;
		CLEANUP_FREE char *key =
		    text_at(item, len, le32(p), le16(p + 8));
		CLEANUP_FREE char *value =
		    text_at(item, len, le32(p + 4), le16(p + 10));

		if (!key || !value)
			return err_damaged(e,
			    "VHDX parent locator: entry %u is not a text: key "
			    "of %u bytes at %u, value of %u at %u, the item "
			    "has %u",
			    i, le16(p + 8), le32(p), le16(p + 10), le32(p + 4),
			    len);
		if (keep(l, key, &value, e))
			return -1;
	}
	if (l->relative || l->volume || l->absolute)
		return 0;
	return err_damaged(e, "VHDX parent locator: no path");
}

void vhdx_locator_clear(struct vhdx_locator *l)
{
	free(l->relative);
	free(l->volume);
	free(l->absolute);
	*l = (struct vhdx_locator){0};
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

char *vhdx_locator_path(const struct vhdx_locator *l, struct err *e)
{
	const char *path = l->relative;
	char *out;

	if (path)
		path = image_skip_here(path);
	else if (l->absolute)
		path = l->absolute[0] == '/' && l->absolute[1] != '/'
			   ? l->absolute
			   : last_part(l->absolute);
	else
		path = last_part(l->volume);
	/* Never the name of something that is not a file. */
	if (asprintf(&out, "%s%s", strchr(path, ':') ? "./" : "", path) >= 0)
		return out;
	err_nomem(e);
	return NULL;
}

/* ---- writing ----------------------------------------------------------------
 */

struct packer {
	uint8_t *out;
	size_t at; /* where the next text goes */
	unsigned n;
};

static int put_text(
    struct packer *p, uint8_t *off, uint8_t *len, const char *text)
{
	int n = utf8_to_utf16(p->out + p->at, VHDX_LOCATOR_MAX - p->at, text);

	if (n < 0 || n > UINT16_MAX)
		return -1;
	put_le32(off, (uint32_t)p->at);
	put_le16(len, (uint16_t)n);
	p->at += (size_t)n;
	return 0;
}

static int put_pair(
    struct packer *p, const char *key, const char *value, struct err *e)
{
	uint8_t *entry = p->out + HEAD_LEN + (size_t)p->n * ENTRY_LEN;

	if (put_text(p, entry, entry + 8, key) ||
	    put_text(p, entry + 4, entry + 10, value))
		return err_usage(e,
		    "The name of the parent is too long or not UTF-8: %s",
		    value);
	p->n++;
	return 0;
}

static int put_guid(
    struct packer *p, const char *key, const struct vhdx_guid *g, struct err *e)
{
	char text[VHDX_GUID_TEXT];

	if (vhdx_guid_is_zero(g))
		return 0;
	vhdx_guid_text(g, text);
	return put_pair(p, key, text, e);
}

/* As Windows writes it. */
static int put_path(
    struct packer *p, const char *key, const char *path, struct err *e)
{
	CLEANUP_FREE char *text = path ? strdup(path) : NULL;

	if (!path)
		return 0;
	if (!text)
		return err_nomem(e);
	for (char *c = text; *c; c++)
		if (*c == '/')
			*c = '\\';
	return put_pair(p, key, text, e);
}

int vhdx_locator_name(struct vhdx_locator *l, const char *name, struct err *e)
{
	char **slot = name[0] == '/' ? &l->absolute : &l->relative;

	if (strchr(name, '\\'))
		return err_usage(e,
		    "The name of the parent of a VHDX image cannot have a "
		    "backslash: %s",
		    name);
	name = image_skip_here(name);
	if (asprintf(slot, "%s%s", name[0] == '/' ? "" : "./", name) >= 0)
		return 0;
	*slot = NULL;
	return err_nomem(e);
}

int64_t vhdx_locator_pack(
    uint8_t out[VHDX_LOCATOR_MAX], const struct vhdx_locator *l, struct err *e)
{
	struct packer p = {.out = out, .at = HEAD_LEN + KEY_N * ENTRY_LEN};

	memset(out, 0, VHDX_LOCATOR_MAX);
	memcpy(out, &type_guid, sizeof type_guid);
	if (put_guid(&p, "parent_linkage", &l->linkage, e) ||
	    put_guid(&p, "parent_linkage2", &l->linkage2, e) ||
	    put_path(&p, "relative_path", l->relative, e) ||
	    put_path(&p, "volume_path", l->volume, e) ||
	    put_path(&p, "absolute_win32_path", l->absolute, e))
		return -1;
	put_le16(out + 18, (uint16_t)p.n);
	return (int64_t)p.at;
}
