/* SPDX-License-Identifier: BSD-3-Clause */
/* The header of a QCOW image, and making one: see qcow.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "qcow.h"

#define CLUSTER_BITS_MIN 9u
#define CLUSTER_BITS_MAX 16u
#define L1_N_MAX	 (1u << 28) /* 2 GiB */

uint64_t qcow_l1_n(const struct qcow_header *h, uint64_t size)
{
	return div_up(size, 1ull << (h->cluster_bits + h->l2_bits));
}

int qcow_l1_check(
    const struct qcow_header *h, uint64_t size, const char *name, struct err *e)
{
	if (qcow_l1_n(h, size) <= L1_N_MAX)
		return 0;
	return err_usage(e,
	    "%s: Image too large: a disk of %" PRIu64 " bytes needs %" PRIu64
	    " L1 entries, allowed are %u",
	    name, size, qcow_l1_n(h, size), L1_N_MAX);
}

static int check_geometry(
    struct hostfile *f, const struct qcow_header *h, struct err *e)
{
	uint64_t l1_len;

	if (h->size <= 1 || h->size > INT64_MAX)
		return err_damaged(e,
		    "%s: Image size %" PRIu64
		    " is too small or too large (must be at least 2 bytes)",
		    f->name, h->size);
	if (h->cluster_bits < CLUSTER_BITS_MIN ||
	    h->cluster_bits > CLUSTER_BITS_MAX)
		return err_damaged(e,
		    "%s: Cluster size must be between 512 and 64k, not 2^%u",
		    f->name, h->cluster_bits);
	if (h->l2_bits < CLUSTER_BITS_MIN - 3 ||
	    h->l2_bits > CLUSTER_BITS_MAX - 3)
		return err_damaged(e,
		    "%s: L2 table size must be between 512 and 64k, not 2^%u",
		    f->name, h->l2_bits + 3u);
	if (h->crypt > 1)
		return err_damaged(e,
		    "%s: invalid encryption method %" PRIu32
		    " in qcow header, allowed are 0 and 1",
		    f->name, h->crypt);
	if (qcow_l1_check(h, h->size, f->name, e))
		return -1;
	l1_len = qcow_l1_n(h, h->size) * 8;
	if (h->l1_host >= QCOW_HEADER_LEN &&
	    range_ok(h->l1_host, l1_len, round_up(host_size(f), 65536)))
		return 0;
	return err_damaged(e,
	    "%s: L1 table of %" PRIu64 " bytes at %#" PRIx64
	    " is no place in a file of %" PRIu64 " bytes",
	    f->name, l1_len, h->l1_host, host_size(f));
}

static int read_backing(
    struct hostfile *f, struct qcow_header *h, struct err *e)
{
	if (!h->backing_host || !h->backing_len) {
		h->backing_host = h->backing_len = 0;
		return 0;
	}
	if (h->backing_len > QCOW_BACKING_MAX ||
	    !range_ok(h->backing_host, h->backing_len, host_size(f)))
		return err_damaged(e,
		    "%s: Backing file name of %" PRIu32 " bytes at %#" PRIx64
		    ": allowed are %u bytes inside the file of %" PRIu64,
		    f->name, h->backing_len, h->backing_host, QCOW_BACKING_MAX,
		    host_size(f));
	h->backing = calloc(1, h->backing_len + 1ul);
	if (!h->backing)
		return err_nomem(e);
	return host_pread(f, h->backing, h->backing_len, h->backing_host, e);
}

int qcow_header_read(struct hostfile *f, struct qcow_header *h, struct err *e)
{
	uint8_t p[QCOW_HEADER_LEN];

	*h = (struct qcow_header){0};
	if (host_pread(f, p, sizeof p, 0, e))
		return -1;
	if (be32(p) != QCOW_MAGIC)
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "Image not in qcow format");
	if (be32(p + 4) != QCOW_VERSION)
		return err_unsupported(e,
		    "qcow (v%" PRIu32 ") does not support qcow version "
		    "%" PRIu32,
		    QCOW_VERSION, be32(p + 4));
	*h = (struct qcow_header){
	    .backing_host = be64(p + 8),
	    .backing_len = be32(p + 16),
	    .size = be64(p + 24),
	    .cluster_bits = p[32],
	    .l2_bits = p[33],
	    .crypt = be32(p + 36),
	    .l1_host = be64(p + 40),
	};
	if (check_geometry(f, h, e) || read_backing(f, h, e)) {
		qcow_header_clear(h);
		return -1;
	}
	return 0;
}

void qcow_header_clear(struct qcow_header *h)
{
	free(h->backing);
	h->backing = NULL;
}

bool qcow_header_has_room(const struct qcow_header *h, size_t name_len)
{
	return name_len <= min_u64(h->l1_host, SECTOR_LEN) - QCOW_HEADER_LEN;
}

int qcow_header_write(
    struct hostfile *f, const struct qcow_header *h, struct err *e)
{
	uint8_t p[SECTOR_LEN] = {0};
	size_t len = QCOW_HEADER_LEN;

	put_be32(p, QCOW_MAGIC);
	put_be32(p + 4, QCOW_VERSION);
	put_be64(p + 8, h->backing_host);
	put_be32(p + 16, h->backing_len);
	put_be64(p + 24, h->size);
	p[32] = h->cluster_bits;
	p[33] = h->l2_bits;
	put_be32(p + 36, h->crypt);
	put_be64(p + 40, h->l1_host);
	if (h->backing && h->backing_host == QCOW_HEADER_LEN &&
	    qcow_header_has_room(h, h->backing_len)) {
		memcpy(p + len, h->backing, h->backing_len);
		len += h->backing_len;
	}
	return host_pwrite(f, p, len, 0, e);
}

/* ---- create ----------------------------------------------------------- */

const struct img_opt qcow_create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"backing_file", IMG_OPT_STR, "File name of a base image", NULL},
    {"backing_fmt", IMG_OPT_STR, "Format of the backing image", NULL},
    {"encryption", IMG_OPT_BOOL,
	"Encrypt the image with format 'aes'. (Deprecated in favor of "
	"encrypt.format=aes)",
	NULL},
    {"encrypt.format", IMG_OPT_STR, "Encrypt the image, format choices: 'aes'",
	NULL},
    {"encrypt.key-secret", IMG_OPT_STR,
	"ID of the secret that provides the AES encryption key", NULL},
    {0},
};

/* Over a backing file small clusters, which leave more of it alone. */
static int make_header(
    const struct create_args *a, struct qcow_header *h, struct err *e)
{
	size_t name_len = a->backing ? strlen(a->backing) : 0;
	uint32_t crypt;

	if (qcow_crypt_params(a->o, &crypt, e))
		return -1;
	if (!a->size)
		return err_usage(
		    e, "Image size is too small, cannot be zero length");
	if (name_len > QCOW_BACKING_MAX)
		return err_usage(e,
		    "the name of the backing file has %zu bytes: at most %u "
		    "fit",
		    name_len, QCOW_BACKING_MAX);
	*h = (struct qcow_header){
	    .size = a->size,
	    .cluster_bits = a->backing ? 9 : 12,
	    .l2_bits = a->backing ? 12 : 9,
	    .backing_host = name_len ? QCOW_HEADER_LEN : 0,
	    .backing_len = (uint32_t)name_len,
	    .crypt = crypt,
	    .l1_host = round_up(QCOW_HEADER_LEN + name_len, 8),
	};
	return qcow_l1_check(h, a->size, a->name ? a->name : "qcow", e);
}

int qcow_create_check(const struct create_args *a, struct err *e)
{
	struct qcow_header h;

	return make_header(a, &h, e);
}

/* Of the file, with nothing in it. */
static uint64_t made_len(const struct qcow_header *h)
{
	return round_up(h->l1_host + qcow_l1_n(h, h->size) * 8, SECTOR_LEN);
}

/* The header goes last: until it is there the file is no image at all. */
int qcow_create(const struct create_args *a, struct err *e)
{
	struct qcow_header h;
	uint64_t end;

	if (make_header(a, &h, e))
		return -1;
	end = made_len(&h);
	if (host_zero(a->file, h.l1_host, end - h.l1_host, 0, e) ||
	    (h.backing_len && host_pwrite(a->file, a->backing, h.backing_len,
				  h.backing_host, e)))
		return -1;
	return qcow_header_write(a->file, &h, e);
}

int qcow_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	const struct create_args a = {.o = o, .size = size};
	struct twolevel t = {0};
	struct qcow_header h;
	uint64_t made;

	if (make_header(&a, &h, e))
		return -1;
	t.table_n = 1ull << h.l2_bits;
	t.cluster_len = 1u << h.cluster_bits;
	made = made_len(&h);
	return twolevel_measure(
	    &t, round_up(made, t.cluster_len), made, size, src, out, e);
}
