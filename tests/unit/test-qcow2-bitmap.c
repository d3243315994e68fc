/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bitmaps of qcow2 as a file may have them: damaged, with extra data, of all
 * kinds of table entries.
 */
#include <stdlib.h>

#include "check.h"
#include "disk.h"
#include "formats/qcow2/qcow2.h"

#define SIZE (5 * MiB) /* 3 clusters of bits */

/* Where things are in the file. */
struct places {
	uint64_t entry, table, dir_len_at;
};

/* One bitmap "b", enabled; parts of the disk are written. */
static struct disk make(struct places *p)
{
	struct disk d = disk_new("qcow2", SIZE, "cluster_size=512");
	struct qcow2_bitmap_list list;
	struct err e = ERR_INIT;
	uint8_t header[512];

	assert_ok(img_bitmap_add(d.img, "b", 512, true, &e), &e);
	disk_write(&d, "x", 1, 1000);
	assert_ok(img_zero(d.img, 3 * MiB, MiB, 0, &e), &e);
	disk_reopen(&d, "qcow2");
	assert_ok(qcow2_bitmaps_read(d.img, &list, &e), &e);
	assert_int_equal(list.n, 1);
	assert_int_equal(list.item[0].table_n, 3);
	p->entry = list.item[0].at;
	p->table = list.item[0].table_host;
	qcow2_bitmaps_clear(&list);
	assert_ok(host_pread(d.file, header, sizeof header, 0, &e), &e);
	p->dir_len_at = 0;
	for (unsigned at = QCOW2_OUR_LEN; at < 480; at += 8)
		if (be32(header + at) == QCOW2_EXT_BITMAPS)
			p->dir_len_at = at + 16;
	assert_true(p->dir_len_at);
	img_drop(d.img);
	d.img = NULL;
	return d;
}

static void patch(struct disk *d, uint64_t at, uint64_t value, unsigned len)
{
	struct err e = ERR_INIT;
	uint8_t p[8];

	put_be64(p, value);
	assert_ok(host_pwrite(d->file, p + 8 - len, len, at, &e), &e);
}

static uint64_t peek(struct disk *d, uint64_t at, unsigned len)
{
	struct err e = ERR_INIT;
	uint8_t p[8] = {0};

	assert_ok(host_pread(d->file, p + 8 - len, len, at, &e), &e);
	return be64(p);
}

static struct image *open_it(struct disk *d, unsigned flags, struct err *e)
{
	const struct img_open how = {.format = "qcow2", .flags = flags};

	return img_open_host(host_ref(d->file), &how, e);
}

/* ---- damage ----------------------------------------------------------------
 */

static const struct damage {
	enum { ENTRY, TABLE } where;
	unsigned at, len;
	uint64_t value;
	const char *text; /* of the message, read-only */
	const char *text_rw;
} damages[] = {
    {ENTRY, 0, 8, 0x201, "table at 0x201: must be at a positive multiple"},
    {ENTRY, 0, 8, 0, "table at 0: must be at a positive multiple"},
    {ENTRY, 0, 8, 1ull << 40, "must end within the file's"},
    {ENTRY, 0, 8, UINT64_MAX & ~511ull, "must end within the file's"},
    {ENTRY, 8, 4, UINT32_MAX, "must end within the file's"},
    {ENTRY, 12, 4, 8, "flags are 0x8: must be within 0x7"},
    {ENTRY, 16, 1, 0, "type is 0: must be 1"},
    {ENTRY, 16, 1, 2, "type is 2: must be 1"},
    {ENTRY, 17, 1, 8, "granularity_bits is 8: must be 9 to 31"},
    {ENTRY, 17, 1, 32, "granularity_bits is 32: must be 9 to 31"},
    {ENTRY, 18, 2, 0, "a name of 0 bytes"},
    {ENTRY, 18, 2, 1024, "a name of 1024 bytes"},
    {ENTRY, 18, 2, 1000, "must end within the directory"},
    {ENTRY, 20, 4, UINT32_MAX, "must end within the directory"},
    {ENTRY, 24, 1, 0, "zero bytes in its name"},
    {TABLE, 8, 8, 2, "entry 1 is neither 0, 1 nor a cluster of the file"},
    {TABLE, 16, 8, 0x201, "entry 2 is neither"},
    {TABLE, 0, 8, 1ull << 63 | 512, "entry 0 is neither"},
    {TABLE, 0, 8, 1ull << 40, "entry 0 is neither"},
    {TABLE, 0, 8, 512, NULL, "bitmap data at 0x200: overlaps other metadata"},
    /* Found when the bits are needed. */
    {ENTRY, 8, 4, 2,
	"its table has 2 entries: a disk of 5242880 bytes must "
	"have 3",
	""},
};

static void look(struct disk *d, const struct damage *x)
{
	struct err e = ERR_INIT;
	struct img_bitmap_extent extent;
	struct image *img = open_it(d, 0, &e);

	assert_no_error(&e);
	if (x->text)
		assert_fails(img_bitmap_map(img, "b", 0, SIZE, &extent, &e), &e,
		    e.errnum, x->text);
	img_drop(img);
}

static void damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_N(damages); i++) {
		const struct damage *x = &damages[i];
		const char *text = x->text_rw ? x->text_rw : x->text;
		struct err e = ERR_INIT;
		struct places p;
		struct disk d = make(&p);
		struct image *img;

		patch(&d, (x->where == ENTRY ? p.entry : p.table) + x->at,
		    x->value, x->len);
		look(&d, x);
		img = open_it(&d, IMG_O_RDWR, &e);
		if (*text) {
			assert_null(img);
			assert_non_null(strstr(e.msg, text));
		}
		img_drop(img);
		disk_free(&d);
	}
}

/* The first write fails and changes nothing; without the bitmap it works. */
static void unreadable_bits(void **state)
{
	struct err e = ERR_INIT;
	struct places p;
	struct disk d = make(&p);

	(void)state;
	patch(&d, p.entry + 8, 2, 4);
	d.img = open_it(&d, IMG_O_RDWR, &e);
	assert_no_error(&e);
	assert_fails(img_pwrite(d.img, "y", 1, 1000, 0, &e), &e, EIO,
	    "bitmap 'b': its table has 2 entries");
	disk_expect(&d, "x", 1, 1000);
	assert_int_equal(peek(&d, p.entry + 12, 4), QCOW2_BITMAP_AUTO);
	assert_ok(img_bitmap_remove(d.img, "b", &e), &e);
	disk_write(&d, "y", 1, 1000);
	disk_reopen(&d, "qcow2");
	disk_expect(&d, "y", 1, 1000);
	disk_free(&d);
}

/* ---- tables ----------------------------------------------------------- */

/* Clusters that are all clean and all dirty need no space. */
static void uniform_clusters(void **state)
{
	struct img_bitmap_extent x;
	struct err e = ERR_INIT;
	struct places p;
	struct disk d = make(&p);

	(void)state;
	/* Bits of 2 MiB each: [0, 2M) is in part dirty, [2M, 4M) is dirty,
	 * the rest is clean. */
	assert_true(peek(&d, p.table, 8) > 1);
	assert_int_equal(peek(&d, p.table + 8, 8), 1);
	assert_int_equal(peek(&d, p.table + 16, 8), 0);
	patch(&d, p.table + 16, 1, 8);
	d.img = open_it(&d, IMG_O_RDWR, &e);
	assert_no_error(&e);
	assert_ok(img_bitmap_map(d.img, "b", 3 * MiB, 2 * MiB, &x, &e), &e);
	assert_true(x.dirty);
	assert_int_equal(x.len, 2 * MiB);
	disk_free(&d);
}

/* ---- extra data ------------------------------------------------------- */

static void give_extra(struct disk *d, const struct places *p, uint32_t flags)
{
	patch(d, p->entry + 12, flags, 4);
	patch(d, p->entry + 20, 8, 4);
	patch(d, p->entry + 24, 0x0102030405060708, 8);
	patch(d, p->entry + 32, (uint64_t)'b' << 56, 8);
	patch(d, p->dir_len_at, 40, 8);
}

/* The entry as it is now; the bitmap is the first one. */
static struct qcow2_bitmap first_entry(struct disk *d)
{
	struct qcow2_bitmap_list list;
	struct qcow2_bitmap b;
	struct err e = ERR_INIT;
	struct image *img = open_it(d, 0, &e);

	assert_no_error(&e);
	assert_ok(qcow2_bitmaps_read(img, &list, &e), &e);
	assert_true(list.n >= 1);
	assert_string_equal(list.item[0].name, "b");
	b = list.item[0];
	b.name = NULL;
	qcow2_bitmaps_clear(&list);
	img_drop(img);
	assert_int_equal(b.extra_len, 8);
	assert_int_equal(peek(d, b.at + 24, 8), 0x0102030405060708);
	return b;
}

static void expect_state(struct image *img, bool inconsistent)
{
	struct img_bitmap *list;
	struct err e = ERR_INIT;
	size_t n;

	assert_ok(img_bitmaps(img, &list, &n, &e), &e);
	assert_true(n >= 1);
	assert_int_equal(list[0].inconsistent, inconsistent);
	img_bitmaps_free(list, n);
}

/* A write, and a change of the directory. */
static struct qcow2_bitmap use(struct disk *d, bool usable)
{
	struct err e = ERR_INIT;

	d->img = open_it(d, IMG_O_RDWR, &e);
	assert_no_error(&e);
	expect_state(d->img, !usable);
	disk_write(d, "y", 1, 1000);
	assert_ok(img_bitmap_add(d->img, "more", 0, true, &e), &e);
	assert_ok(img_close(d->img, &e), &e);
	d->img = NULL;
	return first_entry(d);
}

static void extra_data(void **state)
{
	static const struct {
		uint32_t flags, after;
		bool usable;
	} cases[] = {
	    {QCOW2_BITMAP_EXTRA | QCOW2_BITMAP_AUTO,
		QCOW2_BITMAP_EXTRA | QCOW2_BITMAP_AUTO, true},
	    {QCOW2_BITMAP_EXTRA, QCOW2_BITMAP_EXTRA, true},
	    /* Nobody could keep it right. */
	    {QCOW2_BITMAP_AUTO, QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE, false},
	    {0, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		struct places p;
		struct disk d = make(&p);

		give_extra(&d, &p, cases[i].flags);
		first_entry(&d);
		assert_int_equal(
		    use(&d, cases[i].usable).flags, cases[i].after);
		disk_free(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(damage),
	    cmocka_unit_test(unreadable_bits),
	    cmocka_unit_test(uniform_clusters),
	    cmocka_unit_test(extra_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
