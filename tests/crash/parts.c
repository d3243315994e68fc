/* SPDX-License-Identifier: BSD-3-Clause */
/* VMDK disks of several small files: see parts.h. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/options.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "formats/image.h"
#include "parts.h"

#define PATH_LEN    64u
#define COWD_HEADER 4u /* sectors */
#define COWD_GRAIN  8u /* the same */
#define COWD_GT_N   4096u

static struct hostfile *new_file(const char *path)
{
	struct err e = ERR_INIT;
	struct hostfile *f =
	    host_open_file(path, HOST_RDWR | HOST_CREATE | HOST_EXCL, &e);

	assert_no_error(&e);
	return f;
}

static void make_flat(const char *path, uint64_t len)
{
	struct hostfile *f = new_file(path);
	struct err e = ERR_INIT;

	assert_ok(host_truncate(f, len, &e), &e);
	host_put(f);
}

/* The only one of a disk that has its size. */
static void make_sparse(const char *path, uint64_t len, bool zeroed_grain)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	char size[24];

	snprintf(size, sizeof size, "%" PRIu64, len);
	assert_ok(options_set(o, "size", size, &e), &e);
	assert_ok(options_set(o, "subformat", "twoGbMaxExtentSparse", &e), &e);
	if (zeroed_grain)
		assert_ok(options_set(o, "zeroed_grain", "on", &e), &e);
	assert_ok(img_create("part.vmdk", "vmdk", o, 0, &e), &e);
	assert_int_equal(rename("part-s001.vmdk", path), 0);
	assert_int_equal(unlink("part.vmdk"), 0);
}

void parts_make_cowd(const char *path, uint64_t len)
{
	uint8_t head[(COWD_HEADER + 1) * SECTOR_LEN] = {'C', 'O', 'W', 'D'};
	uint32_t capacity = (uint32_t)(len / SECTOR_LEN);
	struct hostfile *f = new_file(path);
	struct err e = ERR_INIT;

	put_le32(head + 4, 1); /* version */
	put_le32(head + 8, 3); /* flags */
	put_le32(head + 12, capacity);
	put_le32(head + 16, COWD_GRAIN);
	put_le32(head + 20, COWD_HEADER); /* the directory */
	put_le32(head + 24, (uint32_t)div_up(capacity, COWD_GT_N * COWD_GRAIN));
	put_le32(head + 28, COWD_HEADER + 1);
	assert_ok(host_pwrite(f, head, sizeof head, 0, &e), &e);
	host_put(f);
}

static uint64_t sectors_at(struct hostfile *f, uint64_t host)
{
	struct err e = ERR_INIT;
	uint8_t p[4];

	assert_ok(host_pread(f, p, sizeof p, host, &e), &e);
	return le32(p);
}

void parts_check_cowd(struct hostfile *f)
{
	uint64_t gd = sectors_at(f, 20), gd_n = sectors_at(f, 24);
	uint64_t end = sectors_at(f, 28);

	assert_true(gd + div_up(gd_n * 4, SECTOR_LEN) <= end);
	for (uint64_t i = 0; i < gd_n; i++) {
		uint64_t gt = sectors_at(f, gd * SECTOR_LEN + 4 * i);

		assert_true(!gt || gt + COWD_GT_N * 4 / SECTOR_LEN <= end);
		for (uint64_t k = 0; gt && k < COWD_GT_N; k++)
			assert_true(sectors_at(f, gt * SECTOR_LEN + 4 * k) <=
				    end - COWD_GRAIN);
	}
}

static const char *type_of(const struct parts *p)
{
	switch (p->kind) {
	case PARTS_SPARSE:
		return "twoGbMaxExtentSparse";
	case PARTS_FLAT:
		return "twoGbMaxExtentFlat";
	case PARTS_ONE_FLAT:
		return "monolithicFlat";
	case PARTS_COWD:
		return "vmfsSparse";
	}
	return NULL;
}

/* Makes the n-th file, and its line. */
static void make_part(FILE *out, const char *dir, const char *name,
    const struct parts *p, unsigned n)
{
	const char *type = p->kind == PARTS_SPARSE ? "SPARSE"
			   : p->kind == PARTS_COWD ? "VMFSSPARSE"
						   : "FLAT";
	char file[PATH_LEN], path[2 * PATH_LEN];

	if (p->kind == PARTS_ONE_FLAT)
		snprintf(file, sizeof file, "%s-flat.vmdk", name);
	else
		snprintf(file, sizeof file, "%s-%c%03u.vmdk", name,
		    p->kind == PARTS_FLAT ? 'f' : 's', n);
	snprintf(path, sizeof path, "%s/%s", dir, file);
	if (p->kind == PARTS_SPARSE)
		make_sparse(path, p->len, p->zeroed_grain);
	else if (p->kind == PARTS_COWD)
		parts_make_cowd(path, p->len);
	else
		make_flat(path, p->len);
	fprintf(out, "RW %" PRIu64 " %s \"%s\"%s\n", p->len / SECTOR_LEN, type,
	    file, *type == 'F' ? " 0" : "");
}

void parts_make(const char *dir, const char *name, const struct parts *p)
{
	char path[PATH_LEN];
	FILE *out;

	snprintf(path, sizeof path, "%s/%s.vmdk", dir, name);
	out = fopen(path, "w");
	assert_non_null(out);
	fprintf(out,
	    "# Disk DescriptorFile\nversion=1\nCID=00000001\n"
	    "parentCID=%s\ncreateType=\"%s\"\n",
	    p->backing ? "00000001" : "ffffffff", type_of(p));
	if (p->backing)
		fprintf(out, "parentFileNameHint=\"%s\"\n", p->backing);
	fputs("\n# Extent description\n", out);
	for (unsigned i = 1; i <= p->n; i++)
		make_part(out, dir, name, p, i);
	fputs("\n# The Disk Data Base\n#DDB\n\n"
	      "ddb.adapterType = \"lsilogic\"\n",
	    out);
	assert_int_equal(fclose(out), 0);
}
