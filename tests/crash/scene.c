/* SPDX-License-Identifier: BSD-3-Clause */
/* The images that the crash and fault suites start from: see scene.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "formats/codec/codec.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "hostio.h"
#include "peer.h"
#include "scene.h"

#define TRIM IMG_O_DISCARD

const struct scene scenes[] = {
    {"raw", "raw", NULL, 1 * MiB, 0, 0, TRIM},
    {"64k", "qcow2", NULL, 4 * MiB, 0, 0, TRIM},
    {"64k, space kept", "qcow2", NULL, 2 * MiB + 512, 0, 0, 0},
    {"4k", "qcow2", "cluster_size=4k,refcount_bits=1", 1 * MiB, 0, 0, TRIM},
    {"512", "qcow2", "cluster_size=512", 256 * KiB, 0, 0, TRIM},
    {"512, many tables", "qcow2", "cluster_size=512,refcount_bits=64", 3 * MiB,
	0, 0, TRIM},
    {"version 2", "qcow2", "cluster_size=4k,compat=0.10", 1 * MiB, 0, 0, TRIM},
    {"version 2, base", "qcow2", "cluster_size=4k,compat=0.10", 1 * MiB, 0,
	BASE_QCOW2_SHORT, TRIM},
    {"base", "qcow2", "cluster_size=4k", 1 * MiB, 0, BASE_QCOW2, TRIM},
    {"packed base", "qcow2", "cluster_size=16k", 1 * MiB, 0, BASE_ZLIB, 0},
    {"packed", "qcow2", "cluster_size=4k", 1 * MiB, START_PACKED, 0, TRIM},
    {"packed, 64k, zstd", "qcow2", "compression_type=zstd", 2 * MiB,
	START_PACKED, 0, TRIM},
    {"snapshot", "qcow2", "cluster_size=4k", 1 * MiB, START_SNAPSHOT, 0, TRIM},
    {"snapshot, 512", "qcow2", "cluster_size=512", 256 * KiB, START_SNAPSHOT, 0,
	TRIM},
    {"snapshot, version 2", "qcow2", "cluster_size=4k,compat=0.10", 512 * KiB,
	START_SNAPSHOT, 0, TRIM},
    {"snapshot, narrow counts", "qcow2", "cluster_size=4k,refcount_bits=2",
	512 * KiB, START_SNAPSHOT, 0, TRIM},
    {"extended", "qcow2", "extended_l2=on,cluster_size=16k", 1 * MiB, 0, 0,
	TRIM},
    {"extended, base", "qcow2", "extended_l2=on,cluster_size=16k", 1 * MiB, 0,
	BASE_RAW_SHORT, TRIM},
    {"extended, snapshot", "qcow2", "extended_l2=on,cluster_size=16k", 1 * MiB,
	START_SNAPSHOT, 0, TRIM},
    {"extended, metadata", "qcow2",
	"extended_l2=on,cluster_size=16k,preallocation=metadata", 1 * MiB, 0, 0,
	TRIM},
    {"metadata", "qcow2", "preallocation=metadata", 2 * MiB, 0, 0, TRIM},
    {"vpc", "vpc", "force_size=on", 5 * MiB, 0, 0, TRIM},
    {"vpc, fixed", "vpc", "subformat=fixed,force_size=on", 1 * MiB, 0, 0, TRIM},
    {"vpc differencing", "vpc", "force_size=on", 5 * MiB, 0, BASE_VPC_SHORT,
	TRIM},
    {"qed", "qed", NULL, 2 * MiB, 0, 0, TRIM},
    {"qed, 4k, base", "qed", "cluster_size=4k,table_size=2", 1 * MiB, 0,
	BASE_QCOW2_SHORT, TRIM},
    {"qcow", "qcow", NULL, 3 * MiB, 0, 0, TRIM},
    {"qcow, base", "qcow", NULL, 1 * MiB, 0, BASE_QCOW2, TRIM},
    {"parallels", "parallels", "cluster_size=64k", 2 * MiB, 0, 0, TRIM},
    {"parallels, 63 sectors", "parallels", "cluster_size=32256", 1 * MiB, 0, 0,
	TRIM},
    {"vdi", "vdi", NULL, 4 * MiB, 0, 0, TRIM},
    {"vhdx", "vhdx", "block_size=1M", 5 * MiB, 0, 0, TRIM},
    {"vhdx, states off", "vhdx", "block_size=1M,block_state_zero=off",
	4 * MiB + 512, 0, 0, 0},
    {"vhdx fixed", "vhdx", "block_size=1M,subformat=fixed", 2 * MiB, 0, 0,
	TRIM},
    {"vhdx differencing", "vhdx", "block_size=1M", 4 * MiB, 0, BASE_VHDX_SHORT,
	TRIM},
    {"vmdk", "vmdk", NULL, 3 * MiB, 0, 0, TRIM},
    {"vmdk, base", "vmdk", "zeroed_grain=on", 2 * MiB, 0, BASE_VMDK_SHORT,
	TRIM},
    {"vmdk stream", "vmdk", "subformat=streamOptimized", 2 * MiB, 0, 0, TRIM},
    {"vmdk stream, base", "vmdk", "subformat=streamOptimized", 2 * MiB, 0,
	BASE_VMDK, TRIM},
};
const size_t scene_n = ARRAY_N(scenes);

bool scene_can_run(const struct scene *s)
{
	return !s->options || !strstr(s->options, "zstd") ||
	       codec_available(CODEC_ZSTD);
}

static void run(const char *const *argv)
{
	char out[1024];

	if (peer_run(argv, out, sizeof out))
		fail_msg("%s %s: %s", argv[0], argv[1], out);
}

static void make_full(const struct scene *s, struct hostfile *f)
{
	const char *convert[] = {"qemu-img", "convert", "-f", "raw", "-O",
	    "qcow2", "-o", s->options, "source.raw", "top.qcow2",
	    s->start == START_PACKED ? "-c" : NULL, NULL};
	const char *snapshot[] = {
	    "qemu-img", "snapshot", "-c", "first", "top.qcow2", NULL};
	struct err e = ERR_INIT;

	run(convert);
	if (s->start == START_SNAPSHOT)
		run(snapshot);
	assert_ok(hostio_load(f, "top.qcow2", &e), &e);
	unlink("top.qcow2");
}

static void make_empty(const struct scene *s, struct hostfile *f,
    const char *base, const char *base_fmt)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	char size[24];

	snprintf(size, sizeof size, "%llu", (unsigned long long)s->size);
	assert_ok(options_set(o, "size", size, &e), &e);
	assert_ok(options_set(o, "backing_file", base, &e), &e);
	assert_ok(options_set(o, "backing_fmt", base_fmt, &e), &e);
	if (s->options)
		assert_ok(options_parse(o, s->options, NULL, &e), &e);
	assert_ok(img_create_host(f, s->format, o, &e), &e);
}

uint8_t *scene_make(const struct scene *s, struct hostfile *f, uint64_t seed)
{
	const char *name = NULL, *format = NULL;
	struct err e = ERR_INIT;
	uint8_t *bytes = NULL;

	base_remove();
	if (s->base || s->start) {
		bytes = calloc(1, s->size);
		assert_non_null(bytes);
		base_make(s->base, s->size, seed, bytes, &name, &format);
	}
	if (s->start)
		make_full(s, f);
	else
		make_empty(s, f, name, format);
	assert_ok(host_sync(f, &e), &e);
	return bytes;
}
