/* SPDX-License-Identifier: BSD-3-Clause */
/* What `info` shows of a qcow2 image: see driver.h. */
#include "crypt.h"

/*
 * A string of the file.  JSON holds UTF-8 only; of other bytes only the ASCII
 * ones are shown.
 */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);
	char *copy;

	if (j)
		return j;
	copy = strdup(s);
	for (char *p = copy; p && *p; p++)
		if (*p & 0x80)
			*p = '?';
	j = copy ? json_string(copy) : NULL;
	free(copy);
	return j;
}

static json_t *bitmap_flags(uint32_t flags)
{
	json_t *list = json_array();

	if (flags & QCOW2_BITMAP_IN_USE)
		json_array_append_new(list, json_string("in-use"));
	if (flags & QCOW2_BITMAP_AUTO)
		json_array_append_new(list, json_string("auto"));
	return list;
}

static json_t *bitmaps(const struct qcow2_bitmap_list *list)
{
	json_t *out = json_array();

	for (size_t i = 0; i < list->n; i++) {
		const struct qcow2_bitmap *b = &list->item[i];
		json_t *o = json_object();

		json_object_set_new(o, "flags", bitmap_flags(b->flags));
		json_object_set_new(o, "name", text(b->name));
		json_object_set_new(o, "granularity",
		    json_integer((json_int_t)1 << b->granularity_bits));
		json_array_append_new(out, o);
	}
	return out;
}

static void add_data_file(json_t *o, const struct qcow2 *q)
{
	if (!(q->h.incompatible & QCOW2_I_DATA_FILE))
		return;
	if (q->h.data_file)
		json_object_set_new(o, "data-file", text(q->h.data_file));
	json_object_set_new(o, "data-file-raw",
	    json_boolean(q->h.autoclear & QCOW2_A_DATA_RAW));
}

/* Members in the order in which they are printed. */
static json_t *specific(
    const struct qcow2 *q, const struct qcow2_bitmap_list *list)
{
	const struct qcow2_header *h = &q->h;
	json_t *o = json_object();
	bool v3 = h->version >= 3;

	json_object_set_new(o, "compat", json_string(v3 ? "1.1" : "0.10"));
	json_object_set_new(o, "compression-type",
	    json_string(h->compression ? "zstd" : "zlib"));
	if (v3)
		json_object_set_new(o, "lazy-refcounts",
		    json_boolean(h->compatible & QCOW2_C_LAZY));
	if (list->n)
		json_object_set_new(o, "bitmaps", bitmaps(list));
	json_object_set_new(
	    o, "refcount-bits", json_integer(1 << h->refcount_order));
	if (h->crypt_method)
		json_object_set_new(o, "encrypt", qcow2_crypt_describe(q));
	add_data_file(o, q);
	if (v3) {
		json_object_set_new(o, "corrupt",
		    json_boolean(h->incompatible & QCOW2_I_CORRUPT));
		json_object_set_new(o, "extended-l2",
		    json_boolean(h->incompatible & QCOW2_I_EXTENDED_L2));
	}
	return o;
}

int qcow2_describe(struct image *img, struct img_info *out, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct qcow2_bitmap_list list;
	json_t *data;

	if (qcow2_bitmaps_read(img, &list, e))
		return -1;
	data = specific(q, &list);
	qcow2_bitmaps_clear(&list);
	out->cluster_size = q->cluster_len;
	out->dirty = (q->h.incompatible & QCOW2_I_DIRTY) != 0;
	out->encrypted = q->h.crypt_method != 0;
	out->specific = json_pack("{s:s,s:o}", "type", "qcow2", "data", data);
	return out->specific ? 0 : err_nomem(e);
}
