/* SPDX-License-Identifier: BSD-3-Clause */
/* The images that the conform suite makes: see geometry.h. */
#include <stdio.h>

#include "formats/core/optcheck.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "geometry.h"

#define DEFAULT_SIZE (3 * MiB + 1536)

static const struct geometry table[] = {
    {"raw, odd size", "raw", NULL, 1 * MiB, 77, 0, false},
    {"raw, full", "raw", "preallocation=full", 1 * MiB, 0, 0, false},

    {"luks, sectors chained", "luks",
	"cipher-mode=cbc,ivgen-alg=essiv,iter-time=1,key-"
	"secret=" GEOMETRY_SECRET,
	1 * MiB, 0, 0, false},

    /* Refcount blocks and tables grow often with clusters this small. */
    {"512, refcount 1", "qcow2", "cluster_size=512,refcount_bits=1", 640 * KiB,
	0, 0, false},
    {"512, refcount 2", "qcow2", "cluster_size=512,refcount_bits=2", 640 * KiB,
	0, 0, false},
    {"512, refcount 4", "qcow2", "cluster_size=512,refcount_bits=4", 640 * KiB,
	0, 0, false},
    {"512, refcount 8", "qcow2", "cluster_size=512,refcount_bits=8", 640 * KiB,
	0, 0, false},
    {"512, refcount 32", "qcow2", "cluster_size=512,refcount_bits=32",
	640 * KiB, 100, 0, false},
    {"512, refcount 64", "qcow2", "cluster_size=512,refcount_bits=64", 3 * MiB,
	0, 0, false},
    {"512, refcount 64, base", "qcow2", "cluster_size=512,refcount_bits=64",
	2 * MiB, 0, BASE_QCOW2, false},
    {"512, version 2", "qcow2", "cluster_size=512,compat=0.10", 1 * MiB, 0, 0,
	false},
    {"512, version 2, base", "qcow2", "cluster_size=512,compat=0.10", 1 * MiB,
	0, BASE_QCOW2_SHORT, false},
    {"512, short raw base", "qcow2", "cluster_size=512", 1 * MiB, 300,
	BASE_RAW_SHORT, false},

    {"4k", "qcow2", "cluster_size=4k", 3 * MiB + 1536, 0, 0, false},
    {"4k, odd size", "qcow2", "cluster_size=4k", 2 * MiB + 512, 511, 0, false},
    {"4k, refcount 1", "qcow2", "cluster_size=4k,refcount_bits=1", 3 * MiB, 0,
	0, false},
    {"4k, zlib base", "qcow2", "cluster_size=4k", 2 * MiB + 512, 0, BASE_ZLIB,
	false},
    {"4k, zstd base", "qcow2", "cluster_size=4k,compression_type=zstd",
	2 * MiB + 512, 0, BASE_ZSTD, false},
    {"4k, short base", "qcow2", "cluster_size=4k", 2 * MiB, 1, BASE_QCOW2_SHORT,
	false},
    {"4k, long base", "qcow2", "cluster_size=4k", 1 * MiB + 1024, 0,
	BASE_QCOW2_LONG, false},
    {"4k, version 2, zlib base", "qcow2", "cluster_size=4k,compat=v2",
	2 * MiB + 512, 0, BASE_ZLIB, false},
    {"4k, chain", "qcow2", "cluster_size=4k", 2 * MiB, 0, BASE_CHAIN, false},

    {"64k, raw base", "qcow2", NULL, 5 * MiB + 512, 0, BASE_RAW, false},
    {"64k, short raw base", "qcow2", NULL, 5 * MiB + 512, 0, BASE_RAW_SHORT,
	false},
    {"64k, version 2", "qcow2", "compat=0.10", 4 * MiB + 512, 0, 0, false},
    {"64k, version 2, raw base", "qcow2", "compat=0.10", 4 * MiB + 512, 0,
	BASE_RAW, false},
    {"64k, zstd", "qcow2", "compression_type=zstd", 4 * MiB + 512, 0, 0, false},
    {"64k, lazy refcounts", "qcow2", "lazy_refcounts=on", 4 * MiB, 0, 0, false},
    {"64k, metadata", "qcow2", "preallocation=metadata", 4 * MiB + 512, 0, 0,
	false},
    {"64k, version 2, metadata", "qcow2", "preallocation=metadata,compat=v2",
	4 * MiB + 512, 0, 0, false},
    {"64k, full", "qcow2", "preallocation=full", 3 * MiB + 512, 0, 0, false},

    {"2M", "qcow2", "cluster_size=2M", 9 * MiB + 512, 0, 0, false},
    {"2M, zlib base", "qcow2", "cluster_size=2M", 5 * MiB + 512, 0, BASE_ZLIB,
	false},

    {"extended 16k", "qcow2", "extended_l2=on,cluster_size=16k", 2 * MiB + 1536,
	0, 0, false},
    {"extended 16k, odd size", "qcow2", "extended_l2=on,cluster_size=16k",
	2 * MiB + 1536, 3, BASE_QCOW2_SHORT, false},
    {"extended 16k, zlib base", "qcow2", "extended_l2=on,cluster_size=16k",
	2 * MiB + 1536, 0, BASE_ZLIB, false},
    {"extended 16k, refcount 1", "qcow2",
	"extended_l2=on,cluster_size=16k,refcount_bits=1", 2 * MiB, 0, 0,
	false},
    {"extended 64k", "qcow2", "extended_l2=on,cluster_size=64k", 4 * MiB + 512,
	0, 0, false},
    {"extended 64k, raw base", "qcow2", "extended_l2=on,cluster_size=64k",
	4 * MiB + 512, 0, BASE_RAW_SHORT, false},
    {"extended 64k, metadata", "qcow2",
	"extended_l2=on,cluster_size=64k,preallocation=metadata", 4 * MiB + 512,
	0, 0, false},
    {"extended 64k, metadata, base", "qcow2",
	"extended_l2=on,cluster_size=64k,preallocation=metadata", 4 * MiB, 0,
	BASE_QCOW2, false},

    {"snapshots, 512", "qcow2", "cluster_size=512", 512 * KiB, 0, 0, false,
	true},
    {"snapshots, 4k, refcount 8", "qcow2", "cluster_size=4k,refcount_bits=8",
	2 * MiB + 512, 0, 0, false, true},
    {"snapshots, version 2, base", "qcow2", "cluster_size=4k,compat=v2",
	2 * MiB, 0, BASE_QCOW2, false, true},
    {"snapshots, 64k", "qcow2", NULL, 4 * MiB, 0, 0, false, true},
    {"snapshots, extended 16k", "qcow2", "cluster_size=16k,extended_l2=on",
	2 * MiB, 0, BASE_RAW, false, true},

    {"vmdk, odd end", "vmdk", NULL, 5 * MiB + 512, 0, 0, false},
    {"vmdk, base", "vmdk", NULL, 4 * MiB + 512, 0, BASE_VMDK, false},
    {"vmdk, short base", "vmdk", "zeroed_grain=on", 4 * MiB + 512, 0,
	BASE_VMDK_SHORT, false},
    {"vmdk, zeroed grains", "vmdk", "zeroed_grain=on", 35 * MiB, 0, 0, false},
    {"vmdk, stream", "vmdk", "subformat=streamOptimized", 4 * MiB + 512, 0, 0,
	false},
    {"vmdk, stream, base", "vmdk", "subformat=streamOptimized", 40 * MiB, 0,
	BASE_VMDK_SHORT, false},
    {"vmdk, flat", "vmdk", "subformat=monolithicFlat", 3 * MiB + 512, 0, 0,
	true},
    {"vmdk, files", "vmdk", "subformat=twoGbMaxExtentSparse", 3 * MiB + 512, 0,
	BASE_VMDK, true},
    {"vmdk, flat files", "vmdk", "subformat=twoGbMaxExtentFlat", 3 * MiB, 0, 0,
	true},
    {"luks 4k, base", "qcow2",
	"cluster_size=4k,encrypt.format=luks,encrypt.iter-time=1,"
	"encrypt.key-secret=" GEOMETRY_SECRET,
	2 * MiB + 512, 0, BASE_QCOW2, false},
    {"luks 64k, metadata", "qcow2",
	"preallocation=metadata,encrypt.format=luks,encrypt.iter-time=1,"
	"encrypt.key-secret=" GEOMETRY_SECRET,
	2 * MiB + 512, 3, 0, false},
    {"luks, extended 16k", "qcow2",
	"extended_l2=on,cluster_size=16k,encrypt.format=luks,"
	"encrypt.iter-time=1,encrypt.key-secret=" GEOMETRY_SECRET,
	2 * MiB + 512, 0, 0, false},
    {"luks, data file 64k", "qcow2",
	"data_file=data.raw,encrypt.format=luks,encrypt.iter-time=1,"
	"encrypt.key-secret=" GEOMETRY_SECRET,
	2 * MiB + 512, 0, 0, true},
    {"aes 4k", "qcow", "encrypt.format=aes,encrypt.key-secret=" GEOMETRY_SECRET,
	2 * MiB + 512, 0, 0, false},
    {"aes 512, base", "qcow",
	"encrypt.format=aes,encrypt.key-secret=" GEOMETRY_SECRET, 1 * MiB, 0,
	BASE_QCOW2, false},
    {"aes 64k, base", "qcow2",
	"encrypt.format=aes,encrypt.key-secret=" GEOMETRY_SECRET, 2 * MiB + 512,
	0, BASE_RAW_SHORT, false},
    {"aes 512, version 2", "qcow2",
	"cluster_size=512,compat=v2,encrypt.format=aes,"
	"encrypt.key-secret=" GEOMETRY_SECRET,
	1 * MiB, 0, 0, false},

    {"data file 4k", "qcow2", "cluster_size=4k,data_file=data.raw",
	2 * MiB + 512, 0, 0, true},
    {"data file 64k", "qcow2", "data_file=data.raw", 4 * MiB + 512, 0, 0, true},
    {"data file 64k, base", "qcow2", "data_file=data.raw", 4 * MiB + 512, 0,
	BASE_QCOW2, true},
    {"data file, raw", "qcow2", "data_file=data.raw,data_file_raw=on",
	4 * MiB + 512, 0, 0, true},
    {"data file, extended 16k", "qcow2",
	"data_file=data.raw,extended_l2=on,cluster_size=16k", 2 * MiB + 512, 0,
	0, true},
    {"data file, extended 16k, base", "qcow2",
	"data_file=data.raw,extended_l2=on,cluster_size=16k", 2 * MiB + 512, 0,
	BASE_RAW_SHORT, true},

    {"qed 4k", "qed", "cluster_size=4k,table_size=2", 2 * MiB + 512, 0, 0,
	false},
    {"qed 4k, long tables", "qed", "cluster_size=4k,table_size=16",
	2 * MiB + 512, 0, 0, false},
    {"qed 64k, base", "qed", NULL, 4 * MiB + 512, 0, BASE_QCOW2, false},
    {"qed 64k, short raw base", "qed", NULL, 4 * MiB + 512, 0, BASE_RAW_SHORT,
	false},
    {"qed 1M", "qed", "cluster_size=1M", 9 * MiB + 512, 0, 0, false},

    {"vpc, fixed", "vpc", "subformat=fixed,force_size=on", 3 * MiB + 512, 0, 0,
	false},

    {"qcow 4k, odd size", "qcow", NULL, 5 * MiB + 512, 77, 0, false},
    {"qcow 512, base", "qcow", NULL, 3 * MiB + 512, 0, BASE_QCOW2, false},
    {"qcow 512, chain", "qcow", NULL, 2 * MiB + 512, 0, BASE_CHAIN, false},
    {"parallels, odd size", "parallels", NULL, 5 * MiB + 512, 0, 0, false},
    {"parallels, 4k", "parallels", "cluster_size=4k", 2 * MiB + 512, 0, 0,
	false},
    {"parallels, 63 sectors", "parallels", "cluster_size=32256", 3 * MiB + 1536,
	0, 0, false},
    {"parallels, 3 sectors", "parallels", "cluster_size=1536", 1 * MiB + 512, 0,
	0, false},
    {"vdi, odd size", "vdi", NULL, 5 * MiB + 512, 0, 0, false},
    {"vdi, static", "vdi", "static=on", 4 * MiB + 512, 0, 0, false},
    {"vhdx 1M", "vhdx", "block_size=1M", 5 * MiB + 512, 0, 0, false},
    {"vhdx 1M, states off", "vhdx", "block_size=1M,block_state_zero=off",
	5 * MiB, 0, 0, false},
    {"vhdx fixed", "vhdx", "subformat=fixed,block_size=1M", 4 * MiB + 512, 0, 0,
	false},
    {"vhdx differencing", "vhdx", "block_size=1M", 5 * MiB + 512, 0, BASE_VHDX,
	false},
    {"vhdx differencing, short", "vhdx", "block_size=2M", 5 * MiB, 0,
	BASE_VHDX_SHORT, false},
};

const char *geometry_key(const struct geometry *g)
{
	static const char key[] = "key-secret=" GEOMETRY_SECRET;
	const char *at = g->options ? strstr(g->options, key) : NULL;

	if (at && at - g->options >= 8 && !strncmp(at - 8, "encrypt.", 8))
		at -= 8;
	return at;
}

/* One for the i-th format that can create. */
static bool of_registry(size_t i, struct geometry *g)
{
	const struct img_format *f;

	for (unsigned at = 0; (f = img_format_at(at)); at++)
		if (f->can_create && !i--)
			break;
	if (!f)
		return false;
	*g = (struct geometry){.format = f->name, .size = DEFAULT_SIZE};
	if (opt_find(f->create_opts, "key-secret"))
		g->options = "iter-time=1,key-secret=" GEOMETRY_SECRET;
	else if (opt_find(f->create_opts, "force_size"))
		g->options = "force_size=on";
	snprintf(g->name, sizeof g->name, "%s, default", f->name);
	return true;
}

bool geometry_at(size_t i, struct geometry *g)
{
	if (i >= ARRAY_N(table))
		return of_registry(i - ARRAY_N(table), g);
	*g = table[i];
	return true;
}
