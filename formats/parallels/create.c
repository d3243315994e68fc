/* SPDX-License-Identifier: BSD-3-Clause */
/* Making Parallels images, and measuring them: see parallels.h. */
#include <errno.h>

#include "../core/measure.h"
#include "parallels.h"

#define CLUSTER_LEN (1u * MiB)

const struct img_opt parallels_create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"cluster_size", IMG_OPT_SIZE, "Parallels image cluster size", "1048576"},
    {0},
};

static int lay_out(
    struct options *o, uint64_t size, struct parallels_header *h, struct err *e)
{
	uint64_t cluster_len = CLUSTER_LEN, bat_end;

	if (options_size(o, "cluster_size", &cluster_len, e) < 0)
		return -1;
	if (cluster_len > PARALLELS_CLUSTER_MAX)
		return err_usage(e, "Cluster size is too large");
	cluster_len = round_up(cluster_len, SECTOR_LEN);
	if (!cluster_len || size / cluster_len >= PARALLELS_ENTRY_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "Image size is too large for this cluster size");
	*h = (struct parallels_header){.size = size,
	    .cluster_len = (uint32_t)cluster_len,
	    .block_n = (uint32_t)div_up(size, cluster_len),
	    .data_given = true};
	bat_end = PARALLELS_HEADER_LEN + 4ull * h->block_n;
	h->data_host = round_up(bat_end, cluster_len);
	if (h->data_host / SECTOR_LEN > UINT32_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "Image size is too large for this cluster size");
	return 0;
}

int parallels_create_check(const struct create_args *a, struct err *e)
{
	struct parallels_header h;

	return lay_out(a->o, a->size, &h, e);
}

/* The header goes last: until it is there the file is no image. */
int parallels_create(const struct create_args *a, struct err *e)
{
	uint8_t buf[PARALLELS_HEADER_LEN] = {0};
	struct parallels_header h;

	if (lay_out(a->o, a->size, &h, e) ||
	    host_zero(a->file, 0, h.data_host, HOST_ZERO_PUNCH, e))
		return -1;
	parallels_header_pack(&h, buf);
	return host_pwrite(a->file, buf, sizeof buf, 0, e);
}

int parallels_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	struct parallels_header h;
	uint64_t len = 0;

	if (lay_out(o, size, &h, e) ||
	    (src && measure_data(src, h.cluster_len, &len, e)))
		return -1;
	out->required = h.data_host + len;
	out->fully_allocated =
	    h.data_host + (uint64_t)h.block_n * h.cluster_len;
	out->bitmaps = -1;
	return 0;
}
