/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the qcow2 header: the fixed fields, the extensions behind them and
 * the backing file name, all inside the first cluster.
 *
 * Nothing in it is believed: each number is checked against the limits of the
 * format and the real size of the file before it is used or passed on, so the
 * rest of the driver may take struct qcow2_header as it is.  Memory goes with
 * the length of the file, never with a number in it.
 */
#include <errno.h>
#include <inttypes.h>

#include "qcow2.h"

int qcow2_bad_field(
    struct err *e, const char *field, uint64_t value, const char *allowed)
{
	return err_damaged(e,
	    "qcow2 header: %s is %" PRIu64 " (%#" PRIx64 "): must be %s", field,
	    value, value, allowed);
}

int qcow2_bad_max(
    struct err *e, const char *field, uint64_t value, uint64_t max)
{
	return err_damaged(e,
	    "qcow2 header: %s is %" PRIu64 ": must be at most %" PRIu64, field,
	    value, max);
}

static uint64_t cluster_len(const struct qcow2_header *h)
{
	return 1ull << h->cluster_bits;
}

/* ---- the fixed fields -------------------------------------------------- */

static void get_v2(struct qcow2_header *h, const uint8_t *p)
{
	h->version = be32(p + 4);
	h->backing_host = be64(p + 8);
	h->backing_len = be32(p + 16);
	h->cluster_bits = be32(p + 20);
	h->size = be64(p + 24);
	h->crypt_method = be32(p + 32);
	h->l1_n = be32(p + 36);
	h->l1_host = be64(p + 40);
	h->reftable_host = be64(p + 48);
	h->reftable_cl = be32(p + 56);
	h->snapshot_n = be32(p + 60);
	h->snapshot_host = be64(p + 64);
	h->refcount_order = 4;
	h->header_len = QCOW2_V2_LEN;
}

static void get_v3(struct qcow2_header *h, const uint8_t *p)
{
	h->incompatible = be64(p + 72);
	h->compatible = be64(p + 80);
	h->autoclear = be64(p + 88);
	h->refcount_order = be32(p + 96);
	h->header_len = be32(p + 100);
}

/* What is needed to find the rest of the header. */
static int check_frame(
    const struct qcow2_header *h, uint64_t file_len, struct err *e)
{
	if (h->cluster_bits < QCOW2_CLUSTER_MIN ||
	    h->cluster_bits > QCOW2_CLUSTER_MAX)
		return qcow2_bad_field(
		    e, "cluster_bits", h->cluster_bits, "9 to 21");
	if (h->version == 2)
		return 0;
	if (h->header_len < QCOW2_V3_LEN || h->header_len > cluster_len(h) ||
	    h->header_len % 8)
		return qcow2_bad_field(e, "header_length", h->header_len,
		    "a multiple of 8 from 104 to the cluster size");
	if (h->header_len > file_len)
		return err_damaged(e,
		    "qcow2 header: header_length is %" PRIu32
		    ", but the file has %" PRIu64 " bytes",
		    h->header_len, file_len);
	return 0;
}

/* Fields past the ones that every version 3 header has. */
static int read_more(struct hostfile *f, struct qcow2_header *h, struct err *e)
{
	uint32_t len = h->header_len;
	uint8_t codec = 0;

	if (len > QCOW2_V3_LEN && host_pread(f, &codec, 1, QCOW2_V3_LEN, e))
		return -1;
	h->compression = codec;
	if (len <= QCOW2_OUR_LEN)
		return 0;
	h->more = malloc(len - QCOW2_OUR_LEN);
	if (!h->more)
		return err_nomem(e);
	return host_pread(f, h->more, len - QCOW2_OUR_LEN, QCOW2_OUR_LEN, e);
}

static int read_fixed(struct hostfile *f, struct qcow2_header *h, struct err *e)
{
	uint64_t file_len = host_size(f);
	uint8_t p[QCOW2_V3_LEN];

	if (host_pread(f, p, sizeof p, 0, e))
		return -1;
	if (file_len < 4 || be32(p) != QCOW2_MAGIC)
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "Image is not in qcow2 format");
	get_v2(h, p);
	if (file_len >= 8 && h->version != 2 && h->version != 3)
		return err_unsupported(e,
		    "Unsupported qcow2 version %u: must be 2 or 3", h->version);
	if (file_len < (h->version == 2 ? QCOW2_V2_LEN : QCOW2_V3_LEN))
		return err_damaged(e,
		    "qcow2 header: truncated: the file has %" PRIu64
		    " bytes, must have at least %u",
		    file_len, h->version == 2 ? QCOW2_V2_LEN : QCOW2_V3_LEN);
	if (h->version == 3)
		get_v3(h, p);
	if (check_frame(h, file_len, e))
		return -1;
	return h->version == 3 ? read_more(f, h, e) : 0;
}

/* ---- what the fields say ---------------------------------------------- */

/* A table of `len` > 0 bytes: cluster aligned, behind the header, all there. */
static int check_table(const struct qcow2_header *h, const char *field,
    uint64_t host, uint64_t len, uint64_t file_len, struct err *e)
{
	if (!host || !is_aligned(host, cluster_len(h)))
		return qcow2_bad_field(
		    e, field, host, "a positive multiple of the cluster size");
	if (!range_ok(host, len, file_len))
		return err_damaged(e,
		    "qcow2 header: %s is %" PRIu64 " (%#" PRIx64 "): the table "
		    "has %" PRIu64 " bytes and must end within the file's "
		    "%" PRIu64,
		    field, host, host, len, file_len);
	return 0;
}

static int check_codec(const struct qcow2_header *h, struct err *e)
{
	bool flag = h->incompatible & QCOW2_I_CODEC;

	if (h->compression > 1)
		return err_unsupported(e,
		    "qcow2 header: compression_type is %u: must be 0 (zlib) or "
		    "1 (zstd)",
		    h->compression);
	if (flag != (h->compression != 0))
		return qcow2_bad_field(e, "compression_type", h->compression,
		    flag ? "1 with the compression type feature"
			 : "0 without the compression type feature");
	return 0;
}

static int check_numbers(const struct qcow2_header *h, struct err *e)
{
	if (h->size > IMG_SIZE_MAX)
		return qcow2_bad_max(e, "size", h->size, IMG_SIZE_MAX);
	if (h->crypt_method > 2)
		return err_unsupported(e,
		    "Unsupported encryption method %" PRIu32
		    ": must be 0 (none), 1 (aes) or 2 (luks)",
		    h->crypt_method);
	if (h->refcount_order > 6)
		return qcow2_bad_max(e, "refcount_order", h->refcount_order, 6);
	if (h->incompatible & QCOW2_I_EXTENDED_L2 && h->cluster_bits < 14)
		return qcow2_bad_field(e, "cluster_bits", h->cluster_bits,
		    "14 to 21 with extended L2 entries");
	return check_codec(h, e);
}

static int check_l1(
    const struct qcow2_header *h, uint64_t file_len, struct err *e)
{
	uint64_t need, len = h->l1_n * 8ull;

	if (len > QCOW2_L1_LEN_MAX)
		return qcow2_bad_max(
		    e, "l1_size", h->l1_n, QCOW2_L1_LEN_MAX / 8);
	need = qcow2_l1_entries(
	    h->size, h->cluster_bits, h->incompatible & QCOW2_I_EXTENDED_L2);
	if (h->l1_n < need)
		return err_damaged(e,
		    "qcow2 header: l1_size is %" PRIu32 ": a disk of %" PRIu64
		    " bytes must have at least %" PRIu64,
		    h->l1_n, h->size, need);
	return len ? check_table(
			 h, "l1_table_offset", h->l1_host, len, file_len, e)
		   : 0;
}

/* A check tells all that is wrong, and a repair needs no table of old. */
static int check_reftable(
    const struct qcow2_header *h, bool check, uint64_t file_len, struct err *e)
{
	uint64_t len = h->reftable_cl * cluster_len(h);

	if ((!len && !check) || len > QCOW2_REFTABLE_LEN_MAX)
		return err_damaged(e,
		    "qcow2 header: refcount_table_clusters is %" PRIu32
		    ": must be 1 to %" PRIu64,
		    h->reftable_cl, QCOW2_REFTABLE_LEN_MAX / cluster_len(h));
	if (check && is_aligned(h->reftable_host, cluster_len(h)))
		return 0;
	return check_table(
	    h, "refcount_table_offset", h->reftable_host, len, file_len, e);
}

static int check_tables(
    const struct qcow2_header *h, bool check, uint64_t file_len, struct err *e)
{
	uint64_t snapshots_len = h->snapshot_n * QCOW2_SNAPSHOT_LEN;

	if (check_l1(h, file_len, e) || check_reftable(h, check, file_len, e))
		return -1;
	if (h->snapshot_n > QCOW2_SNAPSHOTS_MAX)
		return qcow2_bad_max(
		    e, "nb_snapshots", h->snapshot_n, QCOW2_SNAPSHOTS_MAX);
	if (!h->snapshot_n)
		return 0;
	return check_table(h, "snapshots_offset", h->snapshot_host,
	    snapshots_len, check ? IMG_SIZE_MAX / 2 : file_len, e);
}

static int check_bitmaps(
    const struct qcow2_header *h, uint64_t file_len, struct err *e)
{
	uint64_t n = h->bitmaps.n, len = h->bitmaps.dir_len;

	if (!h->bitmaps.present)
		return 0;
	if (!n || n > QCOW2_BITMAPS_MAX)
		return qcow2_bad_field(e, "nb_bitmaps", n, "1 to 65535");
	if (len < n * QCOW2_BITMAP_LEN || len > QCOW2_BITMAP_DIR_MAX)
		return qcow2_bad_field(e, "bitmap_directory_size", len,
		    "24 for each bitmap to 67108864");
	return check_table(h, "bitmap_directory_offset", h->bitmaps.dir_host,
	    len, file_len, e);
}

/* There is a header just when the method needs one. */
static int check_crypt(
    const struct qcow2_header *h, uint64_t file_len, struct err *e)
{
	bool luks = h->crypt_method == QCOW2_CRYPT_LUKS;

	if (luks != (h->crypt.len != 0))
		return err_damaged(e,
		    "qcow2 header: encryption method %" PRIu32
		    " %s an encryption header",
		    h->crypt_method, luks ? "without" : "with");
	if (!luks)
		return 0;
	if (h->crypt.len > QCOW2_CRYPT_LEN_MAX)
		return qcow2_bad_max(e, "length of the encryption header",
		    h->crypt.len, QCOW2_CRYPT_LEN_MAX);
	return check_table(h, "offset of the encryption header", h->crypt.host,
	    h->crypt.len, file_len, e);
}

/* What says something about what is not there says nothing. */
static void drop_meaningless(struct qcow2_header *h)
{
	if (!h->bitmaps.present)
		h->autoclear &= ~QCOW2_A_BITMAPS;
	if (h->incompatible & QCOW2_I_DATA_FILE)
		return;
	h->autoclear &= ~QCOW2_A_DATA_RAW;
	free(h->data_file);
	h->data_file = NULL;
}

static int read_all(
    struct hostfile *f, bool check, struct qcow2_header *h, struct err *e)
{
	if (read_fixed(f, h, e) || qcow2_header_extensions(f, h, e) ||
	    check_numbers(h, e) || check_tables(h, check, host_size(f), e) ||
	    check_bitmaps(h, host_size(f), e) ||
	    check_crypt(h, host_size(f), e))
		return -1;
	drop_meaningless(h);
	return 0;
}

int qcow2_header_read(
    struct hostfile *f, bool check, struct qcow2_header *h, struct err *e)
{
	memset(h, 0, sizeof *h);
	if (!read_all(f, check, h, e))
		return 0;
	qcow2_header_clear(h);
	return -1;
}

void qcow2_header_clear(struct qcow2_header *h)
{
	while (h->unknown) {
		struct qcow2_ext *k = h->unknown;

		h->unknown = k->next;
		free(k->data);
		free(k);
	}
	free(h->more);
	free(h->backing);
	free(h->backing_fmt);
	free(h->data_file);
	memset(h, 0, sizeof *h);
}
