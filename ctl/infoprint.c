/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The facts about one image: see infoprint.h.
 *
 * The order of the lines and members is the one that scripts know.  The file
 * that holds the image is shown as its child node "file".
 */
#include "infoprint.h"

#include <inttypes.h>
#include <string.h>

#include "out.h"
#include "snapshots.h"

#define INDENT 4

/* ---- for people --------------------------------------------------------- */

static void print_value(FILE *f, json_t *v, int column);

static void print_key(FILE *f, const char *key, int column)
{
	fprintf(f, "%*s", column, "");
	for (; *key; key++)
		fputc(*key == '-' ? ' ' : *key, f);
	fputc(':', f);
}

static void print_members(FILE *f, json_t *object, int column)
{
	const char *key;
	json_t *v;

	json_object_foreach(object, key, v)
	{
		print_key(f, key, column);
		print_value(f, v, column + INDENT);
	}
}

static void print_items(FILE *f, json_t *list, int column)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		fprintf(f, "%*s[%zu]:", column, "", i);
		print_value(f, v, column + INDENT);
	}
}

/* What follows the colon: on the same line, or below it, indented. */
static void print_value(FILE *f, json_t *v, int column)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		fputc('\n', f);
		print_members(f, v, column);
		break;
	case JSON_ARRAY:
		fputc('\n', f);
		print_items(f, v, column);
		break;
	case JSON_STRING:
		fprintf(f, " %s\n", json_string_value(v));
		break;
	case JSON_INTEGER:
		fprintf(
		    f, " %" JSON_INTEGER_FORMAT "\n", json_integer_value(v));
		break;
	case JSON_REAL:
		fprintf(f, " %g\n", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		fprintf(f, " %s\n", json_is_true(v) ? "true" : "false");
		break;
	case JSON_NULL:
		fputs(" null\n", f);
		break;
	}
}

static void print_size(
    FILE *f, const char *indent, const char *what, uint64_t bytes)
{
	char text[OUT_SIZE_LEN];

	fprintf(f, "%s%s: %s (%" PRIu64 " bytes)\n", indent, what,
	    out_size(text, bytes), bytes);
}

static void print_disk_size(FILE *f, const char *indent, int64_t bytes)
{
	char text[OUT_SIZE_LEN] = "unavailable";

	if (bytes >= 0)
		out_size(text, (uint64_t)bytes);
	fprintf(f, "%sdisk size: %s\n", indent, text);
}

static void print_backing(FILE *f, const struct img_info *i)
{
	if (!i->backing)
		return;
	fprintf(f, "backing file: %s", i->backing);
	if (!i->backing_full)
		fprintf(f, " (cannot determine actual path)");
	else if (strcmp(i->backing, i->backing_full))
		fprintf(f, " (actual path: %s)", i->backing_full);
	fputc('\n', f);
	if (i->backing_format)
		fprintf(f, "backing file format: %s\n", i->backing_format);
}

/* Is it a format on a file, not the storage itself? */
static bool has_child(const struct img_info *i)
{
	return strcmp(i->format, i->protocol) != 0;
}

/* Lengths are shown in whole sectors. */
static uint64_t whole_sectors(uint64_t bytes)
{
	return (bytes + 511) & ~511ull;
}

void infoprint_human(FILE *f, const struct facts *x)
{
	const struct img_info *i = &x->info;
	json_t *data = json_object_get(i->specific, "data");

	fprintf(f, "image: %s\nfile format: %s\n", i->filename, i->format);
	print_size(f, "", "virtual size", whole_sectors(i->virtual_size));
	print_disk_size(f, "", i->actual_size);
	if (i->encrypted)
		fprintf(f, "encrypted: yes\n");
	if (i->cluster_size)
		fprintf(f, "cluster_size: %" PRIu64 "\n", i->cluster_size);
	if (i->dirty > 0)
		fprintf(f, "cleanly shut down: no\n");
	print_backing(f, i);
	snapshots_table(f, x->snapshot, x->snapshot_n);
	if (json_object_size(data)) {
		fprintf(f, "Format specific information:\n");
		print_members(f, data, INDENT);
	}
	if (!has_child(i))
		return;
	fprintf(f,
	    "Child node '/file':\n    filename: %s\n"
	    "    protocol type: %s\n",
	    i->host_name, i->protocol);
	print_size(f, "    ", "file length", whole_sectors(i->host_len));
	print_disk_size(f, "    ", i->actual_size);
}

/* ---- JSON --------------------------------------------------------------- */

/* Members that the image and the file below it have in common. */
static void put_node(struct jout *w, uint64_t size, const char *filename,
    uint64_t cluster_size, const char *format, int64_t actual_size)
{
	jout_u64(w, "virtual-size", size);
	jout_text(w, "filename", filename);
	if (cluster_size)
		jout_u64(w, "cluster-size", cluster_size);
	jout_text(w, "format", format);
	if (actual_size >= 0)
		jout_i64(w, "actual-size", actual_size);
}

static void put_children(struct jout *w, const struct img_info *i)
{
	jout_begin(w, "children", '[');
	if (!has_child(i)) {
		jout_end(w, ']');
		return;
	}
	jout_begin(w, NULL, '{');
	jout_text(w, "name", "file");
	jout_begin(w, "info", '{');
	jout_begin(w, "children", '[');
	jout_end(w, ']');
	put_node(w, whole_sectors(i->host_len), i->host_name, 0, i->protocol,
	    i->actual_size);
	if (!strcmp(i->protocol, "file")) {
		jout_begin(w, "format-specific", '{');
		jout_text(w, "type", "file");
		jout_begin(w, "data", '{');
		jout_end(w, '}');
		jout_end(w, '}');
	}
	jout_bool(w, "dirty-flag", false);
	jout_end(w, '}');
	jout_end(w, '}');
	jout_end(w, ']');
}

void infoprint_json(struct jout *w, const struct facts *x)
{
	const struct img_info *i = &x->info;

	jout_begin(w, NULL, '{');
	put_children(w, i);
	if (i->backing_format)
		jout_text(w, "backing-filename-format", i->backing_format);
	snapshots_json(w, x->snapshot, x->snapshot_n);
	put_node(w, whole_sectors(i->virtual_size), i->filename,
	    i->cluster_size, i->format, i->actual_size);
	if (i->specific)
		jout_tree(w, "format-specific", i->specific);
	if (i->backing_full)
		jout_text(w, "full-backing-filename", i->backing_full);
	if (i->encrypted)
		jout_bool(w, "encrypted", true);
	if (i->backing)
		jout_text(w, "backing-filename", i->backing);
	if (i->dirty >= 0)
		jout_bool(w, "dirty-flag", i->dirty);
	jout_end(w, '}');
}
