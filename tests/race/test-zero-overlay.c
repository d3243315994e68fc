/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "Write zeroes" in an overlay hides what is below: whole clusters and parts,
 * over data, holes and compressed clusters of a backing image that is longer or
 * shorter, with and without giving space back, in every version; at once, after
 * a flush, and when opened again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base.h"
#include "check.h"
#include "disk.h"
#include "formats/core/units.h"
#include "group.h"
#include "peer.h"
#include "tmpdir.h"

#define SIZE (1 * MiB + 512)

static const char *const options[] = {
    "cluster_size=64k",
    "cluster_size=4k",
    "cluster_size=512",
    "cluster_size=64k,compat=0.10",
    "cluster_size=4k,compat=0.10",
    "cluster_size=16k,extended_l2=on",
    "cluster_size=64k,extended_l2=on",
    "cluster_size=64k,extended_l2=on,preallocation=metadata",
};

static const enum base bases[] = {
    BASE_RAW, BASE_RAW_SHORT, BASE_QCOW2_LONG, BASE_ZLIB, BASE_CHAIN};

/* Guest ranges: parts of a cluster, across its edges, whole, the disk's end. */
static const struct {
	uint64_t off, len;
} ranges[] = {
    {0, 1},
    {65536, 65536},
    {131072 - 1, 2},
    {3 * 65536 + 700, 512},
    {4 * 65536 - 512, 65536 + 1024},
    {6 * 65536, 3 * 65536},
    {9 * 65536 + 4096, 8192},
    {SIZE / 2 - 3000, 10000},
    {SIZE - 513, 513},
    {SIZE - 70000, 60000},
};

static void expect(struct disk *d, const uint8_t *want, const char *when)
{
	CLEANUP_FREE uint8_t *got = malloc(SIZE);
	struct err e = ERR_INIT;

	assert_ok(img_pread(d->img, got, SIZE, 0, &e), &e);
	if (!memcmp(got, want, SIZE))
		return;
	for (uint64_t i = 0; i < SIZE; i++)
		if (got[i] != want[i])
			fail_msg("%s: byte %llu is %#x, must be %#x", when,
			    (unsigned long long)i, got[i], want[i]);
}

static void write_some(struct disk *d, uint8_t *want)
{
	for (uint64_t off = 5 * 65536; off < 8 * 65536; off += 65536) {
		memset(want + off, 'w', 3000);
		disk_write(d, want + off, 3000, off);
	}
}

static void zero_ranges(
    struct disk *d, uint8_t *want, unsigned flags, unsigned open_flags)
{
	const struct img_open how = {
	    .format = "qcow2", .flags = IMG_O_RDWR | open_flags};
	struct err e = ERR_INIT;

	disk_reopen_as(d, &how);
	write_some(d, want);
	for (size_t i = 0; i < ARRAY_N(ranges); i++) {
		assert_ok(
		    img_zero(d->img, ranges[i].len, ranges[i].off, flags, &e),
		    &e);
		memset(want + ranges[i].off, 0, ranges[i].len);
		expect(d, want, "at once");
	}
	assert_ok(img_flush(d->img, &e), &e);
	expect(d, want, "after a flush");
	disk_check(d, false);
	disk_reopen_as(d, &how);
	expect(d, want, "opened again");
}

static struct disk make(const char *opt, const char *base, const char *format)
{
	char all[256];

	snprintf(all, sizeof all, "%s,backing_file=%s,backing_fmt=%s", opt,
	    base, format);
	return disk_new("qcow2", SIZE, all);
}

static void over_base(void **state)
{
	enum base base = *(const enum base *)*state;
	uint8_t *below = malloc(SIZE), *want = malloc(SIZE);
	const char *name, *format;

	assert_true(below && want);
	base_make(base, SIZE, 7, below, &name, &format);
	for (size_t i = 0; i < 4 * ARRAY_N(options); i++) {
		const char *opt = options[i / 4];
		struct disk d;

		if (strstr(opt, "prealloc") && !strstr(opt, "extended"))
			continue;
		d = make(opt, name, format);
		memcpy(want, below, SIZE);
		zero_ranges(&d, want, i % 2 ? IMG_MAY_TRIM : 0,
		    i % 4 > 1 ? IMG_O_DISCARD : 0);
		disk_free(&d);
	}
	base_remove();
	free(below);
	free(want);
}

int main(void)
{
	static const char *const names[] = {
	    "raw", "short raw", "long qcow2", "compressed", "chain"};
	struct group g = {0};

	peer_needs("qemu-img");
	peer_needs("qemu-io");
	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(bases); i++)
		group_add(&g, names[i], over_base, &bases[i]);
	return group_run(&g, "zero-overlay");
}
