/* SPDX-License-Identifier: BSD-3-Clause */
/* What `info` shows of a VMDK image: see driver.h. */
#include "vmdk.h"

/* A string of the file.  JSON holds UTF-8 only. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_string("?");
}

/* Members in the order in which they are printed. */
static json_t *extent(const struct vmdk_extent *x)
{
	json_t *o = json_object();

	if (x->compressed)
		json_object_set_new(o, "compressed", json_true());
	json_object_set_new(
	    o, "virtual-size", json_integer((json_int_t)x->len));
	json_object_set_new(o, "filename", text(x->file ? x->file->name : ""));
	if (x->grain_len)
		json_object_set_new(
		    o, "cluster-size", json_integer((json_int_t)x->grain_len));
	json_object_set_new(o, "format", text(x->type));
	return o;
}

/* Is the file of an extent that of an earlier one? */
static bool counted(const struct vmdk *v, size_t ix)
{
	for (size_t i = 0; i < ix; i++)
		if (v->extent[i].file == v->extent[ix].file)
			return true;
	return false;
}

static int64_t disk_len(struct image *img)
{
	const struct vmdk *v = vmdk_of(img);
	int64_t sum = host_disk_len(img->file);

	for (size_t i = 0; i < v->n; i++) {
		int64_t len;

		if (!v->extent[i].owns_file || counted(v, i))
			continue;
		len = host_disk_len(v->extent[i].file);
		if (len < 0 || sum < 0)
			return -1;
		sum += len;
	}
	return sum;
}

int vmdk_describe(struct image *img, struct img_info *out, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);
	json_t *data = json_object(), *list = json_array();

	json_object_set_new(data, "cid", json_integer(v->desc.cid));
	json_object_set_new(
	    data, "parent-cid", json_integer(v->desc.parent_cid));
	json_object_set_new(data, "create-type", text(v->desc.create_type));
	for (size_t i = 0; i < v->n; i++) {
		json_array_append_new(list, extent(&v->extent[i]));
		out->cluster_size =
		    max_u64(out->cluster_size, v->extent[i].grain_len);
	}
	json_object_set_new(data, "extents", list);
	out->actual_size = disk_len(img);
	out->dirty = 0;
	out->specific = json_pack("{s:s,s:o}", "type", "vmdk", "data", data);
	return out->specific ? 0 : err_nomem(e);
}
