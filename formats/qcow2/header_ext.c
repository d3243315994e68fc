/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The qcow2 header behind its fixed fields: extensions, then the backing file
 * name, up to the end of the first cluster at most.
 *
 * Extensions that this driver does not know are kept, so that writing the
 * header does not lose them.
 */
#include <inttypes.h>
#include <stdio.h>

#include "qcow2.h"

/* The bytes between the header and the backing file name. */
struct area {
	uint8_t *p;
	uint32_t len;
	uint32_t host;
};

/* One extension in it. */
struct ext {
	uint32_t type, len;
	const uint8_t *data;
};

/* Without overlap, up to the name or the end of the cluster. */
static int read_area(struct hostfile *f, const struct qcow2_header *h,
    struct area *a, struct err *e)
{
	uint64_t end =
	    h->backing_host ? h->backing_host : (1ull << h->cluster_bits);

	if (h->backing_host &&
	    (end < h->header_len || end >= (1ull << h->cluster_bits)))
		return qcow2_bad_field(e, "backing_file_offset", end,
		    "behind the header and inside the first cluster");
	end = min_u64(end, host_size(f));
	end = min_u64(end, h->header_len + QCOW2_HEADER_EXT_MAX);
	a->host = h->header_len;
	a->len = end > h->header_len ? (uint32_t)(end - h->header_len) : 0;
	a->p = malloc(a->len + 1);
	if (!a->p)
		return err_nomem(e);
	return a->len ? host_pread(f, a->p, a->len, a->host, e) : 0;
}

/* 1 one more; 0 the end; -1 it does not fit in. */
static int next_ext(
    const struct area *a, uint32_t *pos, struct ext *x, struct err *e)
{
	const uint8_t *p = a->p + *pos;
	uint32_t left = a->len - *pos;

	if (left < 8 || be32(p) == QCOW2_EXT_END)
		return 0;
	left -= 8;
	x->type = be32(p);
	x->len = be32(p + 4);
	x->data = p + 8;
	if (x->len > left)
		return err_damaged(e,
		    "qcow2 header: extension %#" PRIx32 " at %#" PRIx32
		    " has %" PRIu32 " bytes: must end by %#" PRIx32,
		    x->type, a->host + *pos, x->len, a->host + a->len);
	*pos += 8 + (uint32_t)min_u64(round_up(x->len, 8), left);
	return 1;
}

/* The name of an incompatible feature, from the image's own table. */
static bool feature_name(const struct area *a, unsigned bit, char name[47])
{
	struct err ignored = ERR_INIT;
	struct ext x = {0};
	uint32_t pos = 0;

	while (next_ext(a, &pos, &x, &ignored) == 1) {
		if (x.type != QCOW2_EXT_FEATURES)
			continue;
		for (uint32_t i = 0; i + 48 <= x.len; i += 48) {
			if (x.data[i] != 0 || x.data[i + 1] != bit)
				continue;
			memcpy(name, x.data + i + 2, 46);
			name[46] = 0;
			return name[0];
		}
	}
	return false;
}

static int refuse_features(
    const struct area *a, uint64_t unknown, struct err *e)
{
	char text[1024] = "", name[47];
	size_t n = 0;

	for (unsigned bit = 0; bit < 64 && n < sizeof text; bit++) {
		if (!(unknown >> bit & 1) || !feature_name(a, bit, name))
			continue;
		unknown &= ~(1ull << bit);
		n += (size_t)snprintf(
		    text + n, sizeof text - n, "%s%s", n ? ", " : "", name);
	}
	if (unknown && n < sizeof text)
		snprintf(text + n, sizeof text - n,
		    "%sUnknown incompatible feature: %" PRIx64, n ? ", " : "",
		    unknown);
	return err_unsupported(e, "Unsupported qcow2 feature(s): %s", text);
}

/* A string of the file, which may end in zero bytes. */
static int set_text(
    char **out, const uint8_t *data, uint32_t len, struct err *e)
{
	free(*out);
	*out = strndup((const char *)data, len);
	return *out ? 0 : err_nomem(e);
}

static int keep_unknown(
    struct qcow2_ext ***tail, const struct ext *x, struct err *e)
{
	struct qcow2_ext *k = calloc(1, sizeof *k);

	if (!k)
		return err_nomem(e);
	**tail = k;
	*tail = &k->next;
	k->type = x->type;
	k->len = x->len;
	k->data = malloc(x->len + 1);
	if (!k->data)
		return err_nomem(e);
	memcpy(k->data, x->data, x->len);
	return 0;
}

/* Without its autoclear bit the extension says nothing that holds. */
static int get_bitmaps(
    struct qcow2_header *h, const struct ext *x, struct err *e)
{
	if (!(h->autoclear & QCOW2_A_BITMAPS))
		return 0;
	if (x->len != 24)
		return qcow2_bad_field(
		    e, "length of the bitmaps extension", x->len, "24");
	h->bitmaps.present = true;
	h->bitmaps.n = be32(x->data);
	h->bitmaps.dir_len = be64(x->data + 8);
	h->bitmaps.dir_host = be64(x->data + 16);
	return 0;
}

static int get_crypt(struct qcow2_header *h, const struct ext *x, struct err *e)
{
	if (x->len != 16)
		return qcow2_bad_field(
		    e, "length of the encryption extension", x->len, "16");
	h->crypt.host = be64(x->data);
	h->crypt.len = be64(x->data + 8);
	return 0;
}

static int get_ext(struct qcow2_header *h, struct qcow2_ext ***tail,
    const struct ext *x, struct err *e)
{
	switch (x->type) {
	case QCOW2_EXT_BACKING_FORMAT:
		return set_text(&h->backing_fmt, x->data, x->len, e);
	case QCOW2_EXT_DATA_FILE:
		return set_text(&h->data_file, x->data, x->len, e);
	case QCOW2_EXT_BITMAPS:
		return get_bitmaps(h, x, e);
	case QCOW2_EXT_ENCRYPTION:
		return get_crypt(h, x, e);
	case QCOW2_EXT_FEATURES: /* written anew, for what we know */
		return 0;
	default:
		return keep_unknown(tail, x, e);
	}
}

static int get_area(struct qcow2_header *h, const struct area *a, struct err *e)
{
	uint64_t unknown = h->incompatible & ~QCOW2_I_KNOWN;
	struct qcow2_ext **tail = &h->unknown;
	uint32_t pos = 0;
	struct ext x;
	int rc;

	if (unknown)
		return refuse_features(a, unknown, e);
	while ((rc = next_ext(a, &pos, &x, e)) == 1)
		if (get_ext(h, &tail, &x, e))
			return -1;
	return rc;
}

static int read_backing_name(
    struct hostfile *f, struct qcow2_header *h, struct err *e)
{
	uint8_t name[QCOW2_BACKING_MAX];
	uint64_t max;

	if (!h->backing_host || !h->backing_len)
		return 0;
	max = min_u64(
	    QCOW2_BACKING_MAX, (1ull << h->cluster_bits) - h->backing_host);
	if (h->backing_len > max)
		return qcow2_bad_max(
		    e, "backing_file_size", h->backing_len, max);
	if (!range_ok(h->backing_host, h->backing_len, host_size(f)))
		return qcow2_bad_field(e, "backing_file_offset",
		    h->backing_host, "inside the file with the whole name");
	if (host_pread(f, name, h->backing_len, h->backing_host, e))
		return -1;
	return set_text(&h->backing, name, h->backing_len, e);
}

int qcow2_header_extensions(
    struct hostfile *f, struct qcow2_header *h, struct err *e)
{
	struct area a = {0};
	int rc = read_area(f, h, &a, e);

	if (!rc)
		rc = get_area(h, &a, e);
	free(a.p);
	return rc ? rc : read_backing_name(f, h, e);
}
