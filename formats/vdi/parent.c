/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Identities of VDI images: one of the image, for ever, and one of its contents
 * (the modification UUID), renewed before the first write of each session.  A
 * differencing image has both of its parent.
 */
#include <stdio.h>

#include "../core/request.h"
#include "../crypto/hash.h"
#include "vdi.h"

static const uint8_t none[VDI_UUID_LEN];

/* RFC 4122, version 4, in the byte order of the format. */
int vdi_uuid_new(uint8_t uuid[VDI_UUID_LEN], struct err *e)
{
	if (random_bytes(uuid, VDI_UUID_LEN, e))
		return -1;
	uuid[7] = (uuid[7] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	return 0;
}

static void uuid_text(const uint8_t *u, char out[VDI_UUID_TEXT])
{
	snprintf(out, VDI_UUID_TEXT,
	    "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", le32(u),
	    le16(u + 4), le16(u + 6), u[8], u[9], u[10], u[11], u[12], u[13],
	    u[14], u[15]);
}

/* ---- the parent ---------------------------------------------------------- */

/* One that is not known is any. */
static bool differs(const uint8_t *is, const uint8_t *was)
{
	return memcmp(was, none, VDI_UUID_LEN) && memcmp(is, was, VDI_UUID_LEN);
}

static int no_parent(const struct image *img, struct err *e)
{
	char text[VDI_UUID_TEXT];

	uuid_text(vdi_of(img)->h.parent, text);
	err_unsupported(e,
	    "%s: a differencing VDI image, whose parent has the UUID %s and no "
	    "name",
	    img->name, text);
	err_hint(e,
	    "Name it: --image-opts driver=vdi,file.filename=%s,"
	    "backing.file.filename=PARENT",
	    img->name);
	return -1;
}

int vdi_find_parent(struct image *img, struct err *e)
{
	struct vdi *v = vdi_of(img);
	const struct vdi_header *below;

	img->has_backing = true;
	if (img->backing && img->backing->drv == &vdi_driver) {
		below = &vdi_of(img->backing)->h;
		v->wrong_parent = differs(below->uuid, v->h.parent) ||
				  differs(below->changed, v->h.parent_changed);
	}
	if (img->backing || (img->flags & (IMG_O_CHECK | IMG_O_NO_BACKING)) ||
	    img->open_gate == IMG_GATE_METADATA)
		return 0;
	return no_parent(img, e);
}

int vdi_wrong_parent(const struct image *img, struct err *e)
{
	const struct vdi_header *h = &vdi_of(img)->h;
	const struct vdi_header *below = &vdi_of(img->backing)->h;
	bool other = differs(below->uuid, h->parent);
	char is[VDI_UUID_TEXT], was[VDI_UUID_TEXT];

	uuid_text(other ? below->uuid : below->changed, is);
	uuid_text(other ? h->parent : h->parent_changed, was);
	return image_wrong_parent(
	    img, other ? "UUID" : "modification UUID", is, was, e);
}

/* ---- contents change ----------------------------------------------------- */

/* The header says what v->h says; durable. */
static int store(struct image *img, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = vdi_header_update(img, e);
	if (!rc)
		rc = tables_write_counts(vdi_of(img)->f.tables, e);
	rwlock_excl_end(&img->meta);
	return rc ? -1 : host_sync(img->file, e);
}

int vdi_first_write(struct image *img, struct err *e)
{
	return vdi_uuid_new(vdi_of(img)->h.changed, e) || store(img, e) ? -1
									: 0;
}

/* Until both are written, the child takes any contents of its parent. */
int vdi_renew_below(struct image *img, struct err *e)
{
	struct vdi *v = vdi_of(img);
	struct image *below = img->backing;

	if (below->drv != &vdi_driver)
		return 0;
	if (v->wrong_parent)
		return vdi_wrong_parent(img, e);
	memcpy(v->h.parent_changed, none, VDI_UUID_LEN);
	if (v->h.has_parent && store(img, e))
		return -1;
	if (vdi_first_write(below, e))
		return image_fail(below, e);
	memcpy(v->h.parent_changed, vdi_of(below)->h.changed, VDI_UUID_LEN);
	return v->h.has_parent ? store(img, e) : 0;
}
