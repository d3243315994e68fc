/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Storing another descriptor, so that a crash leaves the old or the new one.
 *
 * In a file of its own it is replaced as a whole.  One that is inside a sparse
 * extent has its room there.  Sectors are written whole: a change within one is
 * made in place.  For any other, a copy of the new text goes into the second
 * half of the room, and the header, one sector, is pointed to it while the
 * *home*, the start of the room, is written.  If that is left so, the header
 * has a descriptor of n sectors at sector 1 + n; then it goes home when the
 * image is next opened for writing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmdk.h"

#define HEADER_F_DESC 28u /* in the header: its sector, its sectors */

/* ---- one that is embedded ------------------------------------------------ */

/* The header says that it is there. */
static int point(
    struct image *img, uint64_t sector, uint64_t sector_n, struct err *e)
{
	struct vmdk_extent *x = vmdk_of(img)->extent;
	uint8_t field[16];

	put_le64(field, sector);
	put_le64(field + 8, sector_n);
	if (host_pwrite(img->file, field, sizeof field, HEADER_F_DESC, e) ||
	    host_sync(img->file, e))
		return -1;
	x->h.desc = sector;
	x->h.desc_n = sector_n;
	return 0;
}

static int write_home(struct image *img, const uint8_t *buf, size_t len,
    uint64_t host, uint64_t room, struct err *e)
{
	if (host_pwrite(img->file, buf, len, host, e) ||
	    host_sync(img->file, e))
		return -1;
	return point(img, host / SECTOR_LEN, room / SECTOR_LEN, e);
}

static uint64_t half_room(const struct vmdk_desc *d)
{
	return round_down(d->room / 2, SECTOR_LEN);
}

/* Sectors of `len` bytes that differ: how many, and the last one. */
static unsigned count_changed(
    const uint8_t *a, const uint8_t *b, size_t len, size_t *at)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i += SECTOR_LEN) {
		if (!memcmp(a + i, b + i, SECTOR_LEN))
			continue;
		*at = i;
		n++;
	}
	return n;
}

/* Zeroes fill the last sector of what it takes, or took. */
static int write_embedded(struct image *img, const char *text, struct err *e)
{
	const struct vmdk_desc *d = &vmdk_of(img)->desc;
	size_t len = strlen(text), at = 0;
	size_t all = round_up(max_u64(len, strlen(d->text)) + 1, SECTOR_LEN);
	CLEANUP_FREE uint8_t *was = malloc(all), *buf = calloc(1, all);
	uint64_t far = d->host + half_room(d);

	if (!was || !buf)
		return err_nomem(e);
	memcpy(buf, text, len);
	if (host_pread(img->file, was, all, d->host, e))
		return -1;
	if (count_changed(was, buf, all, &at) < 2)
		return host_pwrite(
			   img->file, buf + at, SECTOR_LEN, d->host + at, e) ||
			       host_sync(img->file, e)
			   ? -1
			   : 0;
	if (host_pwrite(img->file, buf, all, far, e) ||
	    host_sync(img->file, e) ||
	    point(img, far / SECTOR_LEN, half_room(d) / SECTOR_LEN, e))
		return -1;
	return write_home(img, buf, all, d->host, d->room, e);
}

int vmdk_desc_go_home(struct image *img, struct err *e)
{
	struct vmdk_desc *d = &vmdk_of(img)->desc;
	CLEANUP_FREE uint8_t *buf = NULL;

	if (!vmdk_of(img)->embedded || !d->room ||
	    d->host != SECTOR_LEN + d->room)
		return 0;
	buf = calloc(1, d->room);
	if (!buf)
		return err_nomem(e);
	memcpy(buf, d->text, strlen(d->text));
	if (write_home(img, buf, d->room, SECTOR_LEN, 2 * d->room, e))
		return -1;
	d->host = SECTOR_LEN;
	d->room *= 2;
	return 0;
}

/* ---- any ----------------------------------------------------------------- */

bool vmdk_desc_fits(const struct image *img, const char *text)
{
	const struct vmdk *v = vmdk_of(img);

	if (!v->embedded)
		return strlen(text) <= VMDK_DESC_LEN_MAX;
	return max_u64(strlen(text), strlen(v->desc.text)) <
	       half_room(&v->desc);
}

int vmdk_desc_store(struct image *img, char *text, struct err *e)
{
	struct vmdk *v = vmdk_of(img);
	struct vmdk_desc next = {.host = v->desc.host, .room = v->desc.room};
	int rc = vmdk_desc_parse(&next, text, img->name, v->embedded, e);

	if (!rc && !vmdk_desc_fits(img, text))
		rc = err_set(e, ERR_USAGE, ENOSPC,
		    "%s: No space left in the descriptor", img->name);
	if (!rc)
		rc = v->embedded
			 ? write_embedded(img, text, e)
			 : host_replace(img->file, text, strlen(text), e);
	if (rc) {
		vmdk_desc_clear(&next);
		return -1;
	}
	if (!next.create_type)
		next.create_type = take(v->desc.create_type);
	vmdk_desc_clear(&v->desc);
	v->desc = next;
	return 0;
}

bool vmdk_desc_is_old(struct image *img)
{
	const struct vmdk_desc *d = &vmdk_of(img)->desc;
	size_t len = strlen(d->text);
	CLEANUP_FREE char *found = calloc(1, len + 1);
	struct err ignored = ERR_INIT;

	return found &&
	       !host_pread(img->file, found, len + 1, d->host, &ignored) &&
	       !memcmp(found, d->text, len + 1);
}

/* ---- identities ---------------------------------------------------------- */

/* Its eight digits in place, where they are that and in one sector. */
static int put_digits(
    struct image *img, const char *value, const char *digits, struct err *e)
{
	struct vmdk_desc *d = &vmdk_of(img)->desc;
	uint64_t host = d->host + (uint64_t)(value - d->text);

	if (strspn(value, "0123456789abcdefABCDEF") != 8 ||
	    host % SECTOR_LEN > SECTOR_LEN - 8)
		return 1;
	if (host_pwrite(img->file, digits, 8, host, e) ||
	    host_sync(img->file, e))
		return -1;
	memcpy(d->text + (value - d->text), digits, 8);
	return 0;
}

int vmdk_desc_store_cid(struct image *img, uint32_t cid, struct err *e)
{
	struct vmdk_desc *d = &vmdk_of(img)->desc;
	const char *line = vmdk_desc_find(d->text, "CID");
	char digits[9], *text;
	int rc;

	if (!line)
		return 0;
	snprintf(digits, sizeof digits, "%08" PRIx32, cid);
	rc = put_digits(img, vmdk_desc_value(line, "CID"), digits, e);
	if (!rc)
		d->cid = cid;
	if (rc <= 0)
		return rc;
	text = strdup(d->text);
	if (!text)
		return err_nomem(e);
	if (!vmdk_desc_edit(&text, "CID", "version", e, "CID=%s", digits))
		return vmdk_desc_store(img, text, e);
	free(text);
	return -1;
}

/* `next` is none: the parent does not change. */
static int store_parent_cid(
    struct image *img, uint32_t cid, uint32_t next, struct err *e)
{
	char *text = strdup(vmdk_of(img)->desc.text);

	if (!text)
		return err_nomem(e);
	if (!vmdk_desc_edit(
		&text, "parentCID", "CID", e, "parentCID=%08" PRIx32, cid) &&
	    !vmdk_desc_edit(&text, VMDK_NEXT_PARENT, "parentCID", e,
		next == VMDK_NO_PARENT ? NULL : VMDK_NEXT_PARENT "=%08" PRIx32,
		next))
		return vmdk_desc_store(img, text, e);
	free(text);
	return -1;
}

bool vmdk_desc_knows(const struct vmdk_desc *d, uint32_t cid)
{
	return cid == d->parent_cid ||
	       (cid != VMDK_NO_PARENT && cid == d->next_parent_cid);
}

int vmdk_desc_settle(struct image *img, struct err *e)
{
	const struct vmdk_desc *d = &vmdk_of(img)->desc;
	uint32_t cid = vmdk_of(img->backing)->desc.cid;

	if (d->next_parent_cid == VMDK_NO_PARENT || !vmdk_desc_knows(d, cid))
		return 0;
	return store_parent_cid(img, cid, VMDK_NO_PARENT, e);
}

int vmdk_renew_below(struct image *img, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);
	struct image *below = img->backing;
	uint32_t cid = vmdk_cid_new();

	if (below->drv != &vmdk_driver)
		return 0;
	if (v->wrong_parent)
		return vmdk_wrong_parent(img, e);
	if (v->desc.parent && store_parent_cid(img, v->desc.parent_cid, cid, e))
		return -1;
	if (vmdk_desc_store_cid(below, cid, e))
		return image_fail(below, e);
	return v->desc.parent ? vmdk_desc_settle(img, e) : 0;
}
