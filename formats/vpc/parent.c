/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parent of a differencing VHD: its name and its identity.  See vpc.h.
 *
 * Names are those of Windows: "W2ru" is a path relative to the image, in
 * UTF-16, "W2ku" an absolute one; older programs write "Wi2r" and "Wi2k", in
 * single bytes.  On a Mac it is a URL ("MacX").  A path with a drive letter, or
 * a URL, means nothing here: then the file of that name beside the image is
 * meant.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "../core/open.h"
#include "../core/utf16.h"
#include "vpc.h"

#define CODE_RELATIVE	  0x57327275u /* "W2ru" */
#define CODE_ABSOLUTE	  0x57326b75u /* "W2ku" */
#define CODE_OLD_RELATIVE 0x57693272u /* "Wi2r" */
#define CODE_OLD_ABSOLUTE 0x5769326bu /* "Wi2k" */
#define CODE_URL	  0x4d616358u /* "MacX" */
#define NAME_LEN_MAX	  VPC_NAME_LEN_MAX

/* ---- text ------------------------------------------------------------- */

/* The other byte order. */
static void swap_bytes(uint8_t *p, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2) {
		uint8_t first = p[i];

		p[i] = p[i + 1];
		p[i + 1] = first;
	}
}

static void swap_char(char *s, char from, char to)
{
	for (; *s; s++)
		if (*s == from)
			*s = to;
}

/* ---- reading ---------------------------------------------------------- */

/* In place: "%20" is a space. */
static void unescape(char *s)
{
	char *to = s, hex[3] = {0};

	for (; *s; *to++ = *s++) {
		if (*s != '%' || !isxdigit((unsigned char)s[1]) ||
		    !isxdigit((unsigned char)s[2]))
			continue;
		memcpy(hex, s + 1, 2);
		s += 2;
		*s = (char)strtoul(hex, NULL, 16);
	}
	*to = '\0';
}

/* The last part of a URL. */
static char *url_name(char *url)
{
	char *name;

	if (!url)
		return NULL;
	unescape(url);
	name = strdup(strrchr(url, '/') ? strrchr(url, '/') + 1 : url);
	free(url);
	return name;
}

static char *read_locator(
    struct hostfile *f, const struct vpc_locator *l, struct err *e)
{
	bool wide = l->code == CODE_RELATIVE || l->code == CODE_ABSOLUTE;
	uint8_t buf[NAME_LEN_MAX];

	if (!l->len || l->len > sizeof buf || (wide && l->len % 2) ||
	    !range_ok(l->host, l->len, host_size(f))) {
		err_damaged(e,
		    "%s: the name of the parent of the VHD has %" PRIu32
		    " bytes at %#" PRIx64 ": allowed are %u, in the file",
		    f->name, l->len, l->host, NAME_LEN_MAX);
		return NULL;
	}
	if (host_pread(f, buf, l->len, l->host, e))
		return NULL;
	if (wide)
		return utf16_to_utf8(buf, l->len);
	if (l->code == CODE_URL)
		return url_name(strndup((const char *)buf, l->len));
	return strndup((const char *)buf, l->len);
}

/* The path behind a Windows name. */
static char *localize(char *name)
{
	const char *path = name;
	char *out;

	swap_char(name, '\\', '/');
	if (path[0] && path[1] == ':')
		path = strrchr(path, '/') ? strrchr(path, '/') + 1 : path + 2;
	out = strdup(image_skip_here(path));
	free(name);
	return out;
}

static char *by_locators(
    struct hostfile *f, const struct vpc_header *h, struct err *e)
{
	static const uint32_t codes[] = {CODE_RELATIVE, CODE_ABSOLUTE,
	    CODE_OLD_RELATIVE, CODE_OLD_ABSOLUTE, CODE_URL};

	for (unsigned k = 0; k < ARRAY_N(codes); k++)
		for (unsigned i = 0; i < VPC_LOCATORS; i++)
			if (h->locator[i].code == codes[k])
				return read_locator(f, &h->locator[i], e);
	return NULL;
}

static char *by_name(const struct vpc_header *h)
{
	uint8_t name[sizeof h->parent_name];
	size_t n = 0;

	while (n < sizeof name && (h->parent_name[n] || h->parent_name[n + 1]))
		n += 2;
	memcpy(name, h->parent_name, n);
	swap_bytes(name, n);
	return n ? utf16_to_utf8(name, n) : NULL;
}

char *vpc_parent_name(
    struct hostfile *f, const struct vpc_header *h, struct err *e)
{
	char *name = by_locators(f, h, e);

	if (!name && !err_is_set(e))
		name = by_name(h);
	name = name ? localize(name) : NULL;
	if (!name || !*name || strchr(name, ':')) {
		free(name);
		err_damaged(e,
		    "%s: the name of the parent of the VHD is no "
		    "path",
		    f->name);
		return NULL;
	}
	return name;
}

/* ---- writing ---------------------------------------------------------- */

static char *windows_name(const char *path)
{
	char *name = NULL;

	if (asprintf(&name, "%s%s", *path == '/' ? "" : ".\\", path) < 0)
		return NULL;
	swap_char(name, '/', '\\');
	return name;
}

/* The last part of the path, as much as fits. */
static int set_name(struct vpc_header *h, const char *path, struct err *e)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	uint8_t name[NAME_LEN_MAX];
	int n = utf8_to_utf16(name, sizeof name, base);

	if (n < 0)
		return err_usage(
		    e, "'%s': the name of the parent is no UTF-8", path);
	memset(h->parent_name, 0, sizeof h->parent_name);
	memcpy(h->parent_name, name, min_u64((size_t)n, sizeof h->parent_name));
	swap_bytes(h->parent_name, sizeof h->parent_name);
	return 0;
}

int vpc_set_parent(struct vpc_header *h, const char *path, uint64_t host,
    struct vpc_name *out, struct err *e)
{
	CLEANUP_FREE char *name = windows_name(path);
	int n;

	if (!name)
		return err_nomem(e);
	n = utf8_to_utf16(out->text, sizeof out->text, name);
	if (n < 0)
		return err_usage(e,
		    "'%s': the name of the parent is no UTF-8, or longer than "
		    "%u characters",
		    path, NAME_LEN_MAX / 2);
	out->len = (uint32_t)n;
	memset(h->locator, 0, sizeof h->locator);
	h->locator[0] = (struct vpc_locator){
	    .code = *path == '/' ? CODE_ABSOLUTE : CODE_RELATIVE,
	    .space_len = (uint32_t)round_up(out->len, SECTOR_LEN),
	    .len = out->len,
	    .host = host};
	return set_name(h, path, e);
}

int vpc_parent_identity(
    const char *above, const char *name, struct vpc_header *h, struct err *e)
{
	struct image *img = open_parent(above, name, "vpc", e);

	if (!img)
		return -1;
	memcpy(h->parent_id, vpc_of(img)->footer.id, sizeof h->parent_id);
	h->parent_timestamp = vpc_of(img)->footer.timestamp;
	img_drop(img);
	return 0;
}
