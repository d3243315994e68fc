/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes to an image, however damaged it is: what is written reads back, what
 * is not stays as it was, now and when the image is opened again.  A write that
 * cannot be done safely has to fail.
 *
 * A model holds the first bytes of the disk, as far as they are known: what a
 * failed change has left, and what lies on metadata or in another's place, is
 * not.
 *
 * Left out is what cannot be found out without a look at all tables, which is a
 * check:
 *  - Two entries with the same host bytes, each of which says that they are its
 *    own (qed, qcow, vmdk; the flag of qcow2): what is written to one shows in
 *    the other, and is lost when that gives them up.  Formats of one table look
 *    at all of it before they write: there it is no excuse.
 *  - Data in clusters whose reference count is 0 (qcow2): what is written next
 *    is put there.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/core/drv.h"
#include "formats/core/units.h"
#include "formats/driver.h"
#include "formats/qcow2/qcow2.h"
#include "look.h"

#define DISK_MAX MiB /* bytes of the disk that are changed */
#define PIECE	 65536u
#define CHUNK	 4096u
#define PLACES	 (DISK_MAX / SECTOR_LEN)

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- where the disk lies ------------------------------------------------- */

struct place {
	uint64_t guest, len;
	uint64_t host, end;
	bool mine;   /* it may be written in place */
	bool packed; /* such may share a cluster   */
};

static int by_host(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->host < y->host ? -1 : x->host > y->host;
}

static void place_of(
    const struct image *img, const struct extent *x, struct place *p)
{
	*p = (struct place){.guest = x->guest,
	    .len = x->len,
	    .host = x->host,
	    .end = x->host + x->len,
	    .mine = !(x->flags & (EXT_F_SHARED | EXT_F_META)),
	    .packed = x->kind == EXT_PACKED};
	if (p->packed) {
		p->host = round_down(x->host, img->unit);
		p->end = round_up(x->host + x->packed.stored, img->unit);
	}
}

/* Those of the first `size` bytes of the disk, at most PLACES. */
static size_t find_places(struct image *img, uint64_t size, struct place *p)
{
	size_t n = 0;

	for (uint64_t off = 0, len; off < size; off += len) {
		struct err e = ERR_INIT;
		struct extent x;
		int rc;

		rwlock_shared(&img->meta);
		rc = drv_map(img, off, size - off, &x, &e);
		rwlock_shared_end(&img->meta);
		len = rc ? min_u64(SECTOR_LEN, size - off) : x.len;
		if (!rc && (x.kind == EXT_DATA || x.kind == EXT_PACKED))
			place_of(img, &x, &p[n++]);
	}
	return n;
}

/* Do two pieces of the disk lie on the same host bytes, though the format says
 * that one has them for itself? */
static bool has_false_owner(struct place *p, size_t n)
{
	qsort(p, n, sizeof *p, by_host);
	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n && p[k].host < p[i].end; k++)
			if ((p[i].mine || p[k].mine) &&
			    !(p[i].packed && p[k].packed))
				return true;
	return false;
}

/* Is it told to be free?  Then anything may be put there. */
static bool is_free(struct image *img, const struct place *p)
{
	uint64_t count = 1;

	if (img->drv != &qcow2_driver)
		return false;
	for (uint64_t at = round_down(p->host, img->unit); count && at < p->end;
	     at += img->unit) {
		struct err e = ERR_INIT;

		rwlock_excl(&img->meta);
		if (qcow2_refcount_get(img, at / img->unit, &count, &e))
			count = 0;
		rwlock_excl_end(&img->meta);
	}
	return !count;
}

/* ---- the model ----------------------------------------------------------- */

struct model {
	uint64_t size;
	uint8_t byte[DISK_MAX];
	bool known[DISK_MAX / SECTOR_LEN];
};

static void know(struct model *m, uint64_t len, uint64_t off, bool known)
{
	for (uint64_t ix = off / SECTOR_LEN; ix * SECTOR_LEN < off + len; ix++)
		m->known[ix] = known;
}

/* What a change of [off, off + len) has left: bytes from buf, zeroes where it
 * is NULL; if it failed, who knows what. */
static void change(struct model *m, const uint8_t *buf, uint64_t len,
    uint64_t off, bool failed)
{
	uint64_t first = round_up(off, SECTOR_LEN);
	uint64_t end = round_down(off + len, SECTOR_LEN);

	if (failed) {
		know(m, len, off, false);
		return;
	}
	if (buf)
		memcpy(m->byte + off, buf, len);
	else
		memset(m->byte + off, 0, len);
	if (first < end)
		know(m, end - first, first, true);
}

/* Of those that can be written. */
static bool has_one_table(const char *format)
{
	return !strcmp(format, "vdi") || !strcmp(format, "vpc") ||
	       !strcmp(format, "vhdx") || !strcmp(format, "parallels");
}

/* What the image holds.  False: it says what cannot be. */
static bool learn(struct model *m, struct image *img)
{
	static struct place p[PLACES];
	size_t n = find_places(img, m->size, p);

	for (uint64_t off = 0; off < m->size; off += CHUNK) {
		uint64_t len = min_u64(CHUNK, m->size - off);
		struct err e = ERR_INIT;

		know(m, len, off, !img_pread(img, m->byte + off, len, off, &e));
	}
	for (size_t i = 0; i < n; i++) {
		if (!p[i].mine)
			know(m, p[i].len, p[i].guest, false);
		if (is_free(img, &p[i]))
			return false;
	}
	return !has_false_owner(p, n);
}

/* A sector at a time: a longer read fails for the fault of any. */
static void compare(const struct model *m, struct image *img)
{
	for (uint64_t off = 0; off < m->size; off += SECTOR_LEN) {
		uint8_t buf[SECTOR_LEN];
		uint64_t len = min_u64(sizeof buf, m->size - off);
		struct err e = ERR_INIT;

		if (m->known[off / SECTOR_LEN])
			must(!img_pread(img, buf, len, off, &e) &&
			     !memcmp(buf, m->byte + off, len));
	}
}

/* ---- changes ------------------------------------------------------------- */

/* Is everything durable? */
static bool write_around(struct model *m, struct image *img)
{
	static const uint8_t buf[PIECE] = {1};
	uint64_t size = m->size, first = min_u64(size, PIECE);
	uint64_t off = size / 2 & ~511ull;
	struct err e = ERR_INIT;

	change(m, buf, first, 0, img_pwrite(img, buf, first, 0, 0, &e));
	err_clear(&e);
	change(m, NULL, size / 4, size / 8,
	    img_zero(img, size / 4, size / 8, IMG_MAY_TRIM, &e));
	err_clear(&e);
	/* It may do nothing. */
	img_trim(img, size / 4, off + CHUNK, 0, &e);
	know(m, size / 4, off + CHUNK, false);
	err_clear(&e);
	change(m, buf, CHUNK, off, img_pwrite(img, buf, CHUNK, off, 0, &e));
	err_clear(&e);
	return !img_flush(img, &e);
}

/* What a disk gets at its end is zeroes. */
static bool resize(struct model *m, struct image *img, uint64_t size)
{
	uint64_t old = img_size(img), end = min_u64(size, DISK_MAX);
	struct err e = ERR_INIT;

	if (img_resize(img, size, IMG_PREALLOC_OFF, &e))
		return false;
	if (old < end)
		change(m, NULL, end - old, old, false);
	m->size = end;
	return true;
}

static void resize_twice(struct model *m, struct image *img, bool sane)
{
	uint64_t size = m->size;

	if (resize(m, img, size + CHUNK) && sane)
		compare(m, img);
	if (resize(m, img, size / 1024 * 512) && sane)
		compare(m, img);
}

void fuzz_change(const char *format, const uint8_t *data, size_t len)
{
	static struct model m;
	const unsigned flags = IMG_O_RDWR | IMG_O_DISCARD;
	struct hostfile *f = fuzz_file(data, len);
	struct image *img = fuzz_open_file(format, host_ref(f), flags);
	struct err e = ERR_INIT;
	bool sane, durable = true;

	if (!img) {
		host_put(f);
		return;
	}
	m.size = min_u64(img_size(img), DISK_MAX);
	sane = learn(&m, img);
	must(sane || !has_one_table(format));
	if (m.size >= 4 * CHUNK)
		durable = write_around(&m, img);
	if (sane)
		compare(&m, img);
	durable = !img_close(img, &e) && durable;
	img = fuzz_open_file(format, f, flags);
	must(img || !durable);
	if (!img)
		return;
	sane = sane && durable;
	if (sane)
		compare(&m, img);
	resize_twice(&m, img, sane);
	img_drop(img);
}
