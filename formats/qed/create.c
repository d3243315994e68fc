/* SPDX-License-Identifier: BSD-3-Clause */
/* Making a QED image: see qed.h. */
#include <errno.h>
#include <inttypes.h>

#include "qed.h"

const struct img_opt qed_create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"backing_file", IMG_OPT_STR, "File name of a base image", NULL},
    {"backing_fmt", IMG_OPT_STR, "Image format of the base image", NULL},
    {"cluster_size", IMG_OPT_SIZE, "Cluster size (in bytes)", "65536"},
    {"table_size", IMG_OPT_SIZE, "L1/L2 table size (in clusters)", NULL},
    {0},
};

static int read_lengths(struct options *o, struct qed_header *h, struct err *e)
{
	uint64_t cluster_len = QED_CLUSTER_USUAL, table_cl = QED_TABLE_CL_USUAL;

	if (options_size(o, "cluster_size", &cluster_len, e) < 0 ||
	    options_size(o, "table_size", &table_cl, e) < 0)
		return -1;
	if (!is_pow2(cluster_len) || cluster_len < QED_CLUSTER_MIN ||
	    cluster_len > QED_CLUSTER_MAX)
		return err_usage(e,
		    "QED cluster size must be within range [%u, %u] and power "
		    "of 2",
		    QED_CLUSTER_MIN, QED_CLUSTER_MAX);
	if (!is_pow2(table_cl) || table_cl > QED_TABLE_CL_MAX)
		return err_usage(e,
		    "QED table size must be within range [1, %u] and power of "
		    "2",
		    QED_TABLE_CL_MAX);
	h->cluster_len = (uint32_t)cluster_len;
	h->table_cl = (uint32_t)table_cl;
	return 0;
}

static int read_header(
    const struct create_args *a, struct qed_header *h, struct err *e)
{
	*h = (struct qed_header){
	    .header_cl = 1, .size = a->size, .backing = (char *)a->backing};
	if (read_lengths(a->o, h, e))
		return -1;
	if (h->size > qed_size_max(h))
		return err_set(e, ERR_USAGE, EFBIG,
		    "QED image size must be a non-zero multiple of cluster "
		    "size and less than %" PRIu64 " bytes",
		    qed_size_max(h));
	h->l1_host = h->cluster_len;
	if (!a->backing)
		return 0;
	if (strlen(a->backing) > QED_BACKING_MAX)
		return err_usage(e,
		    "the name of the backing file has %zu bytes: at most %u "
		    "fit",
		    strlen(a->backing), QED_BACKING_MAX);
	h->features = QED_F_BACKING;
	h->name_host = *a->backing ? QED_HEADER_LEN : 0;
	if (a->backing_fmt && !strcmp(a->backing_fmt, "raw"))
		h->features |= QED_F_BACKING_RAW;
	return 0;
}

int qed_create_check(const struct create_args *a, struct err *e)
{
	struct qed_header h;

	return read_header(a, &h, e);
}

/* The header goes last: until it is there the file is no image at all. */
int qed_create(const struct create_args *a, struct err *e)
{
	struct qed_header h;

	if (read_header(a, &h, e) ||
	    host_zero(a->file, h.l1_host, (uint64_t)h.table_cl * h.cluster_len,
		0, e) ||
	    (h.name_host && host_pwrite(a->file, h.backing, strlen(h.backing),
				h.name_host, e)))
		return -1;
	return qed_header_write(a->file, &h, e);
}

int qed_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	const struct create_args a = {.o = o, .size = size};
	struct twolevel t = {0};
	struct qed_header h;
	uint64_t start;

	if (read_header(&a, &h, e))
		return -1;
	t.table_n = qed_table_n(&h);
	t.cluster_len = h.cluster_len;
	start = h.l1_host + (uint64_t)h.table_cl * h.cluster_len;
	return twolevel_measure(&t, start, start, size, src, out, e);
}
