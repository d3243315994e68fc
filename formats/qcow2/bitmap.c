/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the directory of persistent bitmaps: one entry of variable length for
 * each, starting at multiples of 8 bytes.
 */
#include <errno.h>
#include <inttypes.h>

#include "qcow2.h"

#define KIND_DIRTY	1u /* the only kind there is */
#define GRANULARITY_MIN 9u
#define GRANULARITY_MAX 31u

static int check_entry(struct image *img, const struct qcow2_bitmap *b,
    uint8_t kind, struct err *e)
{
	uint32_t cluster_len = qcow2_of(img)->cluster_len;
	uint64_t len = b->table_n * 8ull;

	if (kind != KIND_DIRTY)
		return err_damaged(
		    e, "type is %u: must be %u", kind, KIND_DIRTY);
	if (b->flags & ~QCOW2_BITMAP_FLAGS)
		return err_damaged(e,
		    "flags are %#" PRIx32 ": must be within "
		    "%#x",
		    b->flags, QCOW2_BITMAP_FLAGS);
	if (b->granularity_bits < GRANULARITY_MIN ||
	    b->granularity_bits > GRANULARITY_MAX)
		return err_damaged(e,
		    "granularity_bits is %u: must be %u to %u",
		    b->granularity_bits, GRANULARITY_MIN, GRANULARITY_MAX);
	if (len && (!b->table_host || !is_aligned(b->table_host, cluster_len)))
		return err_damaged(e,
		    "table at %#" PRIx64 ": must be at a positive multiple of "
		    "%" PRIu32,
		    b->table_host, cluster_len);
	if (!range_ok(b->table_host, len, host_size(img->file)))
		return err_damaged(e,
		    "table at %#" PRIx64 " has %" PRIu64 " bytes: must end "
		    "within the file's %" PRIu64,
		    b->table_host, len, host_size(img->file));
	return 0;
}

/* One entry at *host, which ends before `end`; moves *host past it. */
static int read_entry(struct image *img, struct qcow2_bitmap *b, uint64_t *host,
    uint64_t end, struct err *e)
{
	uint8_t p[QCOW2_BITMAP_LEN];
	uint32_t name_len;

	if (end - *host < sizeof p)
		return err_damaged(e, "must end within the directory");
	if (host_pread(img->file, p, sizeof p, *host, e))
		return -1;
	b->at = *host;
	*host += sizeof p;
	b->table_host = be64(p);
	b->table_n = be32(p + 8);
	b->flags = be32(p + 12);
	b->granularity_bits = p[17];
	name_len = be16(p + 18);
	b->extra_len = be32(p + 20);
	if (!name_len || name_len > QCOW2_BITMAP_NAME_MAX)
		return err_damaged(e,
		    "a name of %" PRIu32 " bytes: must have 1 to %u", name_len,
		    QCOW2_BITMAP_NAME_MAX);
	if (round_up((uint64_t)b->extra_len + name_len, 8) > end - *host)
		return err_damaged(e, "must end within the directory");
	b->name = calloc(1, name_len + 1);
	if (!b->name)
		return err_nomem(e);
	if (host_pread(img->file, b->name, name_len, *host + b->extra_len, e))
		return -1;
	if (strlen(b->name) != name_len)
		return err_damaged(e, "zero bytes in its name: must have none");
	*host = round_up(*host + b->extra_len + name_len, 8);
	return check_entry(img, b, p[16], e);
}

int qcow2_bitmaps_read(
    struct image *img, struct qcow2_bitmap_list *list, struct err *e)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t host = h->bitmaps.dir_host, end = host + h->bitmaps.dir_len;

	*list = (struct qcow2_bitmap_list){0};
	if (!h->bitmaps.present)
		return 0;
	list->item = calloc(h->bitmaps.n, sizeof *list->item);
	if (!list->item)
		return err_nomem(e);
	while (list->n < h->bitmaps.n) {
		uint64_t at = host;

		if (!read_entry(img, &list->item[list->n++], &host, end, e))
			continue;
		if (e->kind == ERR_DAMAGED)
			err_prefix(e,
			    "%s: entry %zu of the bitmap directory, at "
			    "%#" PRIx64 ": ",
			    img->file->name, list->n, at);
		qcow2_bitmaps_clear(list);
		return -1;
	}
	return 0;
}

void qcow2_bitmaps_clear(struct qcow2_bitmap_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->item[i].name);
	free(list->item);
	*list = (struct qcow2_bitmap_list){0};
}
