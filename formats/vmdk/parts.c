/* SPDX-License-Identifier: BSD-3-Clause */
/* The files of a disk: what is in an empty one, and how they are called. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "params.h"
#include "stream.h"

/* ---- sparse extents --------------------------------------------------------
 */

static struct vmdk_header make_header(
    const struct vmdk_params *p, uint64_t len, struct vmdk_layout l)
{
	struct vmdk_header h = {
	    .version = p->stream     ? 3
		       : p->zero_gte ? 2
				     : 1,
	    .flags = VMDK_F_NEWLINES,
	    .capacity = len / SECTOR_LEN,
	    .grain = VMDK_GRAIN_LEN / SECTOR_LEN,
	    .desc = VMDK_DESC_HOST / SECTOR_LEN,
	    .desc_n = VMDK_DESC_LEN / SECTOR_LEN,
	    .gt_n = VMDK_GT_N,
	};

	if (p->zero_gte)
		h.flags |= VMDK_F_ZERO_GTE;
	if (p->stream) {
		h.flags |= VMDK_F_COMPRESSED | VMDK_F_MARKERS;
		h.compression = 1;
		h.gd = VMDK_GD_AT_END;
		h.overhead = h.grain;
		return h;
	}
	h.flags |= VMDK_F_REDUNDANT;
	h.rgd = l.rgd;
	h.gd = l.gd;
	h.overhead = l.overhead;
	return h;
}

/* A directory; its tables follow it, and are zeroes. */
static int write_gd(
    struct hostfile *f, const struct vmdk_layout *l, uint64_t gd, struct err *e)
{
	uint64_t gt = gd + l->gd_len;
	uint8_t buf[4096];

	for (uint64_t i = 0; i < l->gd_n;) {
		uint64_t at = gd * SECTOR_LEN + i * 4, n = 0;

		for (; n < sizeof buf / 4 && i < l->gd_n; n++, i++) {
			put_le32(buf + 4 * n, (uint32_t)gt);
			gt += VMDK_GT_N * 4 / SECTOR_LEN;
		}
		if (host_pwrite(f, buf, 4 * n, at, e))
			return -1;
	}
	return 0;
}

/* A stream without grains, as one that was written is closed. */
static int write_stream(struct hostfile *f, const struct vmdk_params *p,
    uint64_t len, struct err *e)
{
	struct vmdk_extent x = {.kind = VMDK_SPARSE,
	    .file = f,
	    .len = len,
	    .h = make_header(p, len, (struct vmdk_layout){0}),
	    .grain_len = VMDK_GRAIN_LEN,
	    .gt_n = VMDK_GT_N,
	    .gt_len = 4 * VMDK_GT_N};
	int rc;

	x.gd_n = div_up(len, (uint64_t)VMDK_GRAIN_LEN * VMDK_GT_N);
	x.stream = vmdk_stream_new(&x, e);
	if (!x.stream)
		return -1;
	x.stream->end = x.h.overhead * SECTOR_LEN;
	x.stream->open = true;
	rc = vmdk_stream_finish(&x, e);
	vmdk_stream_free(&x);
	return rc;
}

/* Its header comes last: without it the file is no extent. */
static int write_sparse(struct hostfile *f, const struct vmdk_params *p,
    uint64_t len, struct err *e)
{
	struct vmdk_layout l;
	struct vmdk_header h;

	if (vmdk_lay_out(len, &l, e) || write_gd(f, &l, l.rgd, e) ||
	    write_gd(f, &l, l.gd, e) ||
	    host_grow(f, l.overhead * SECTOR_LEN, e))
		return -1;
	h = make_header(p, len, l);
	return vmdk_header_write(f, &h, e);
}

int vmdk_part_fill(struct hostfile *f, const struct vmdk_params *p,
    uint64_t len, struct err *e)
{
	if (p->flat)
		return host_truncate(f, len, e);
	return p->stream ? write_stream(f, p, len, e)
			 : write_sparse(f, p, len, e);
}

/* ---- names ------------------------------------------------------------- */

char *vmdk_part_name(const struct vmdk_params *p, const char *base,
    unsigned number, struct err *e)
{
	const char *dot = strrchr(base, '.');
	int stem = dot ? (int)(dot - base) : (int)strlen(base);
	char *name = NULL;
	int rc;

	if (p->split)
		rc = asprintf(&name, "%.*s-%c%03u%s", stem, base,
		    p->flat ? 'f' : 's', number, dot ? dot : "");
	else
		rc = asprintf(&name, "%.*s-flat%s", stem, base, dot ? dot : "");
	if (rc >= 0)
		return name;
	err_nomem(e);
	return NULL;
}

void vmdk_part_line(
    FILE *out, const struct vmdk_params *p, const char *name, uint64_t len)
{
	fprintf(out, "RW %" PRIu64 " %s \"%s\"%s\n", len / SECTOR_LEN,
	    p->flat ? "FLAT" : "SPARSE", name, p->flat ? " 0" : "");
}
