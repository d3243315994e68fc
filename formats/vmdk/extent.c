/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening the extents of a disk, and reading the headers of sparse ones.
 *
 * An extent is a part of the image, so its file is in the folder of the
 * descriptor or below it: a name that leads elsewhere (absolute, through "..",
 * with a protocol) is refused, whatever the gate says.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/open.h"
#include "../core/samefile.h"
#include "vmdk.h"

#define TABLES_LEN (16u << 20) /* of all extents together */
#define TABLES_MIN (128u << 10)

/* ---- sparse headers --------------------------------------------------------
 */

static int refuse_value(const struct vmdk_extent *x, const char *what,
    uint64_t value, const char *allowed, struct err *e)
{
	return err_damaged(e, "%s: sparse header: %s is %llu, allowed is %s",
	    x->file->name, what, (unsigned long long)value, allowed);
}

/* What the three kinds have in common: grains, tables, directory. */
static int take_geometry(struct vmdk_extent *x, uint64_t capacity,
    uint64_t grain, uint32_t gt_n, uint32_t gte_len, struct err *e)
{
	uint64_t span, len;

	if (!is_pow2(grain) || grain > VMDK_GRAIN_LEN_MAX / SECTOR_LEN)
		return refuse_value(
		    x, "grain size", grain, "a power of two up to 131072", e);
	x->grain_len = grain * SECTOR_LEN;
	x->gt_n = gt_n;
	x->gt_len = gt_n * gte_len;
	if (!mul_ok(capacity, SECTOR_LEN, &len) || len > IMG_SIZE_MAX)
		return refuse_value(
		    x, "capacity", capacity, "less than 2^54 sectors", e);
	if (!x->len)
		x->len = len;
	if (x->len > round_up(len, x->grain_len))
		return err_damaged(e,
		    "%s: sparse header: capacity is %llu bytes, the "
		    "descriptor says %llu",
		    x->file->name, (unsigned long long)len,
		    (unsigned long long)x->len);
	span = (uint64_t)gt_n * x->grain_len;
	x->gd_n = div_up(len, span);
	return 0;
}

/* Is a directory inside the file?  Its length is bounded by that. */
static int check_gd(const struct vmdk_extent *x, const char *what,
    uint64_t host, uint32_t entry_len, struct err *e)
{
	if (range_ok(host, x->gd_n * entry_len, host_size(x->file)))
		return 0;
	return err_damaged(e,
	    "%s: %s of %llu entries at %llu: the file ends at %llu",
	    x->file->name, what, (unsigned long long)x->gd_n,
	    (unsigned long long)host, (unsigned long long)host_size(x->file));
}

static int sector_host(const struct vmdk_extent *x, const char *what,
    uint64_t sector, uint64_t *host, struct err *e)
{
	if (mul_ok(sector, SECTOR_LEN, host) && *host <= INT64_MAX)
		return 0;
	return refuse_value(x, what, sector, "less than 2^54", e);
}

/* Where the directory is, if the header says that the footer knows. */
static int read_footer(struct vmdk_extent *x, struct err *e)
{
	uint64_t len = host_size(x->file);
	uint8_t buf[3 * SECTOR_LEN];
	struct vmdk_header footer;

	if (len < sizeof buf || !is_aligned(len, SECTOR_LEN))
		return err_damaged(e, "%s: the footer of the stream is cut off",
		    x->file->name);
	if (host_pread(x->file, buf, sizeof buf, len - sizeof buf, e))
		return -1;
	if (le32(buf + 8) || le32(buf + 12) != VMDK_MARK_FOOTER ||
	    le32(buf + SECTOR_LEN) != VMDK_MAGIC ||
	    le64(buf + 2 * SECTOR_LEN) || le64(buf + 2 * SECTOR_LEN + 8))
		return err_damaged(e,
		    "%s: there is no footer before the end of the file",
		    x->file->name);
	if (vmdk_header_unpack(&footer, buf + SECTOR_LEN, x->file->name, e))
		return -1;
	if (footer.grain != x->h.grain || footer.gt_n != x->h.gt_n ||
	    footer.capacity != x->h.capacity || footer.gd == VMDK_GD_AT_END)
		return err_damaged(
		    e, "%s: the footer contradicts the header", x->file->name);
	x->h.rgd = 0;
	return sector_host(x, "grain directory", footer.gd, &x->gd_host, e);
}

/* To be checked, and repaired, a stream is read from its markers. */
static int lost_footer(
    const struct image *img, struct vmdk_extent *x, struct err *e)
{
	if (!(img->flags & IMG_O_CHECK) || e->kind != ERR_DAMAGED ||
	    !(x->h.flags & VMDK_F_MARKERS))
		return -1;
	err_clear(e);
	x->lost_footer = true;
	return vmdk_stream_recover(x, e);
}

static int check_version(
    const struct image *img, const struct vmdk_extent *x, struct err *e)
{
	const struct vmdk_header *h = &x->h;

	if (h->version < 1 || h->version > 3)
		return err_unsupported(e, "%s: Unsupported VMDK version %u",
		    x->file->name, h->version);
	if (h->version == 3 && image_writable(img) && !x->compressed)
		return err_set(e, ERR_UNSUPPORTED, EROFS,
		    "VMDK version 3 must be read only");
	if (h->compression > 1)
		return err_unsupported(e,
		    "%s: compression method %u is not known", x->file->name,
		    h->compression);
	return 0;
}

static int open_hosted(struct image *img, struct vmdk_extent *x, struct err *e)
{
	struct vmdk_header *h = &x->h;
	uint8_t buf[SECTOR_LEN];

	if (host_pread(x->file, buf, sizeof buf, 0, e) ||
	    vmdk_header_unpack(h, buf, x->file->name, e))
		return -1;
	x->compressed = h->flags & VMDK_F_COMPRESSED;
	x->zero_gte = h->flags & VMDK_F_ZERO_GTE;
	if (check_version(img, x, e))
		return -1;
	if (!h->gt_n || h->gt_n > VMDK_GT_N)
		return refuse_value(
		    x, "entries of a grain table", h->gt_n, "1 to 512", e);
	if (take_geometry(x, h->capacity, h->grain, h->gt_n, 4, e))
		return -1;
	if (x->compressed && h->flags & VMDK_F_MARKERS && h->unclean)
		return vmdk_stream_recover(x, e);
	if (h->gd == VMDK_GD_AT_END) {
		if (read_footer(x, e))
			return lost_footer(img, x, e);
	} else if (sector_host(x, "grain directory", h->gd, &x->gd_host, e)) {
		return -1;
	}
	if (h->flags & VMDK_F_REDUNDANT && h->rgd &&
	    (sector_host(x, "redundant directory", h->rgd, &x->rgd_host, e) ||
		check_gd(x, "redundant grain directory", x->rgd_host, 4, e)))
		return -1;
	return check_gd(x, "grain directory", x->gd_host, 4, e);
}

static int open_cowd(struct image *img, struct vmdk_extent *x, struct err *e)
{
	uint8_t buf[SECTOR_LEN];

	(void)img;
	if (host_pread(x->file, buf, sizeof buf, 0, e))
		return -1;
	if (le32(buf) != VMDK_COWD)
		return err_set(e, ERR_NOT_FORMAT, EINVAL,
		    "%s: ESX sparse extent: it has no COWD header",
		    x->file->name);
	if (take_geometry(x, le32(buf + VMDK_COWD_CAPACITY),
		le32(buf + VMDK_COWD_GRAIN), VMDK_COWD_GT_N, 4, e))
		return -1;
	x->gd_n = min_u64(x->gd_n, le32(buf + VMDK_COWD_GD_N));
	x->gd_host = (uint64_t)le32(buf + VMDK_COWD_GD) * SECTOR_LEN;
	x->free_end = (uint64_t)le32(buf + VMDK_COWD_FREE) * SECTOR_LEN;
	return check_gd(x, "grain directory", x->gd_host, 4, e);
}

/* The bytes of a seSparse header, each number of 64 bits. */
enum {
	SE_VERSION = 8,
	SE_CAPACITY = 16,
	SE_GRAIN = 24,
	SE_GT_SECTORS = 32,
	SE_VOLATILE = 80,
	SE_GD = 128,
	SE_GD_SECTORS = 136,
	SE_GTS = 144,
	SE_GRAINS = 192,
};
#define SE_VERSION_2_1	  0x200000001ull
#define SE_VOLATILE_MAGIC 0xcafecafeull
#define SE_GT_N		  4096u

/* A journal that is to be replayed first: the tables are not right. */
static int check_journal(struct vmdk_extent *x, uint64_t sector, struct err *e)
{
	uint8_t buf[32];
	uint64_t host;

	if (sector_host(x, "volatile header", sector, &host, e) ||
	    host_pread(x->file, buf, sizeof buf, host, e))
		return -1;
	if (le64(buf) != SE_VOLATILE_MAGIC)
		return err_damaged(
		    e, "%s: seSparse: no volatile header", x->file->name);
	if (le64(buf + 24))
		return err_unsupported(e,
		    "%s: seSparse: its journal has to be replayed",
		    x->file->name);
	return 0;
}

static int open_sesparse(
    struct image *img, struct vmdk_extent *x, struct err *e)
{
	uint8_t buf[SECTOR_LEN];
	uint64_t gd_sectors;

	if (host_pread(x->file, buf, sizeof buf, 0, e))
		return -1;
	if (le64(buf) != VMDK_SESPARSE)
		return err_set(e, ERR_NOT_FORMAT, EINVAL,
		    "%s: it has no seSparse header", x->file->name);
	if (image_writable(img))
		return err_set(e, ERR_UNSUPPORTED, EROFS,
		    "No write support for seSparse images available");
	if (le64(buf + SE_VERSION) != SE_VERSION_2_1)
		return err_unsupported(e,
		    "%s: seSparse: unsupported version %#llx", x->file->name,
		    (unsigned long long)le64(buf + SE_VERSION));
	if (le64(buf + SE_GT_SECTORS) * SECTOR_LEN != SE_GT_N * 8)
		return refuse_value(x, "sectors of a grain table",
		    le64(buf + SE_GT_SECTORS), "64", e);
	gd_sectors = le64(buf + SE_GD_SECTORS);
	if (check_journal(x, le64(buf + SE_VOLATILE), e) ||
	    take_geometry(x, le64(buf + SE_CAPACITY), le64(buf + SE_GRAIN),
		SE_GT_N, 8, e) ||
	    sector_host(x, "grain tables", le64(buf + SE_GTS), &x->se_gts, e) ||
	    sector_host(x, "grains", le64(buf + SE_GRAINS), &x->se_grains, e) ||
	    sector_host(
		x, "grain directory", le64(buf + SE_GD), &x->gd_host, e))
		return -1;
	if (x->gd_n > gd_sectors * (SECTOR_LEN / 8))
		return refuse_value(
		    x, "sectors of the directory", gd_sectors, "more", e);
	return check_gd(x, "grain directory", x->gd_host, 8, e);
}

int vmdk_sparse_open(struct image *img, struct vmdk_extent *x, struct err *e)
{
	uint64_t n = max_u64(vmdk_of(img)->desc.line_n, 1);
	int rc = x->kind == VMDK_SPARSE ? open_hosted(img, x, e)
		 : x->kind == VMDK_COW	? open_cowd(img, x, e)
					: open_sesparse(img, x, e);

	if (rc)
		return -1;
	x->tables = tables_new_cache(
	    x->file, &img->meta, max_u64(TABLES_LEN / n, TABLES_MIN), e);
	return x->tables ? 0 : -1;
}

/* ---- files ----------------------------------------------------------------
 */

/* Does the name stay in the folder of the descriptor? */
static bool stays_inside(const char *name)
{
	const char *p = name;

	if (!*name || *name == '/')
		return false;
	while (*p) {
		size_t len = strcspn(p, "/");

		if (len == 2 && !strncmp(p, "..", 2))
			return false;
		p += len;
		p += strspn(p, "/");
	}
	return !name_has_protocol(name);
}

/* The descriptor itself is locked already. */
static int lock_extent(struct image *img, struct hostfile *f, struct err *e)
{
	if (same_file(f, img->file))
		return err_damaged(
		    e, "%s: an extent is the descriptor itself", img->name);
	return open_lock(f, e);
}

static struct hostfile *open_file(
    struct image *img, const char *name, struct err *e)
{
	CLEANUP_FREE char *path = NULL;
	struct hostfile *f;

	if (img->open_gate == IMG_GATE_DENY) {
		err_set(e, ERR_UNSUPPORTED, EPERM,
		    "%s: names the extent '%s', and opening other files is not "
		    "allowed",
		    img->name, name);
		return NULL;
	}
	if (!stays_inside(name)) {
		err_set(e, ERR_UNSUPPORTED, EPERM,
		    "%s: names the extent '%s', which is not in the folder of "
		    "the descriptor or below it",
		    img->name, name);
		return NULL;
	}
	path = image_resolve(img->name, name, e);
	f = path ? host_open_file(path, img->host_flags, e) : NULL;
	if (f && lock_extent(img, f, e)) {
		host_put(f);
		return NULL;
	}
	return f;
}

static int open_flat(struct vmdk_extent *x, uint64_t host, struct err *e)
{
	uint64_t size = host_size(x->file);

	x->host = host;
	if (range_ok(host, x->len, size))
		return 0;
	return err_damaged(e,
	    "%s: the file of %llu bytes ends before the extent does, which has "
	    "%llu bytes at %llu",
	    x->file->name, (unsigned long long)size, (unsigned long long)x->len,
	    (unsigned long long)host);
}

/* Several flat extents may lie in one file, which is opened and locked once. */
static struct hostfile *opened_before(
    const struct vmdk *v, const struct vmdk_line *l)
{
	if (l->kind != VMDK_FLAT)
		return NULL;
	for (const struct vmdk_line *p = v->desc.line; p < l; p++)
		if (p->kind == VMDK_FLAT && !strcmp(p->file, l->file))
			return host_ref(v->extent[p - v->desc.line].file);
	return NULL;
}

static int open_extent(struct image *img, const struct vmdk_line *l,
    struct vmdk_extent *x, struct err *e)
{
	x->kind = l->kind;
	x->len = l->len;
	memcpy(x->type, l->type, sizeof x->type);
	if (l->kind == VMDK_ZERO)
		return 0;
	x->file = opened_before(vmdk_of(img), l);
	if (!x->file)
		x->file = open_file(img, l->file, e);
	if (!x->file)
		return -1;
	x->owns_file = true;
	return l->kind == VMDK_FLAT ? open_flat(x, l->host, e)
				    : vmdk_sparse_open(img, x, e);
}

int vmdk_extents_open(struct image *img, struct err *e)
{
	struct vmdk *v = vmdk_of(img);
	uint64_t guest = 0;

	v->extent = calloc(v->desc.line_n + 1, sizeof *v->extent);
	if (!v->extent)
		return err_nomem(e);
	for (size_t i = 0; i < v->desc.line_n; i++) {
		struct vmdk_extent *x = &v->extent[v->n++];
		const struct vmdk_line *l = &v->desc.line[i];

		x->guest = guest;
		if (open_extent(img, l, x, e))
			return -1;
		if (!add_ok(guest, x->len, &guest) || guest > IMG_SIZE_MAX)
			return err_damaged(e,
			    "%s: the extents together are too large",
			    img->name);
	}
	return 0;
}

void vmdk_extent_close(struct vmdk_extent *x)
{
	vmdk_stream_free(x);
	tables_free(x->tables);
	space_destroy(&x->space);
	clusterset_destroy(&x->meta);
	clusterset_destroy(&x->ours);
	if (x->owns_file)
		host_put(x->file);
}
