/* SPDX-License-Identifier: BSD-3-Clause */
/* What an overlay stands on: see base.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base.h"
#include "check.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "peer.h"
#include "rng.h"

#define PIECE_LEN 4096u

static void run(const char *const *argv)
{
	char out[1024];

	if (peer_run(argv, out, sizeof out))
		fail_msg("%s %s: %s", argv[0], argv[1], out);
}

/* Pieces of random bytes, of text, and nothing. */
static void write_source(uint64_t len, uint64_t seed)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(
	    "source.raw", HOST_RDWR | HOST_CREATE | HOST_TRUNC, &e);
	struct rng rng = {seed};
	uint8_t piece[PIECE_LEN];

	assert_no_error(&e);
	for (uint64_t off = 0; off < len; off += PIECE_LEN) {
		uint64_t kind = rng_below(&rng, 4);

		if (kind == 0)
			rng_fill(&rng, piece, sizeof piece);
		else
			memset(piece, 'a' + off / PIECE_LEN % 26, sizeof piece);
		if (kind == 3)
			continue;
		assert_ok(host_pwrite(
			      f, piece, min_u64(PIECE_LEN, len - off), off, &e),
		    &e);
	}
	assert_ok(host_truncate(f, len, &e), &e);
	host_put(f);
}

/* source.raw as another file. */
static void convert_to(
    const char *format, const char *to, const char *options, bool pack)
{
	const char *argv[] = {"qemu-img", "convert", "-f", "raw", "-O", format,
	    "-o", options, "source.raw", to, pack ? "-c" : NULL, NULL};

	run(argv);
}

static void convert(const char *to, const char *options, bool pack)
{
	convert_to("qcow2", to, options, pack);
}

/* Some of the file becomes zero clusters. */
static void add_zeroes(const char *name, uint64_t len)
{
	char zero[64];
	const char *argv[] = {
	    "qemu-io", "-t", "unsafe", "-f", "qcow2", "-c", zero, name, NULL};

	snprintf(zero, sizeof zero, "write -z %llu %llu",
	    (unsigned long long)round_down(len / 3, 65536),
	    (unsigned long long)round_down(len / 5, 4096));
	run(argv);
}

/* Data here and there over base.qcow2. */
static void add_layer(uint64_t len)
{
	const char *create[] = {"qemu-img", "create", "-f", "qcow2", "-b",
	    "base.qcow2", "-F", "qcow2", "middle.qcow2", NULL};
	char data[64], zero[64];
	const char *io[] = {"qemu-io", "-t", "unsafe", "-f", "qcow2", "-c",
	    data, "-c", zero, "middle.qcow2", NULL};

	run(create);
	snprintf(data, sizeof data, "write -P 77 %llu 150k",
	    (unsigned long long)len / 4);
	snprintf(zero, sizeof zero, "write -z %llu 190k",
	    (unsigned long long)len / 2);
	run(io);
}

/* What a guest sees in `name`, cut or with zeroes behind it. */
static void flatten(
    const char *name, const char *format, uint8_t *bytes, uint64_t size)
{
	const char *argv[] = {"qemu-img", "convert", "-f", format, "-O", "raw",
	    name, "flat.raw", NULL};
	struct err e = ERR_INIT;
	struct hostfile *f;

	run(argv);
	f = host_open_file("flat.raw", 0, &e);
	assert_no_error(&e);
	assert_ok(host_pread(f, bytes, size, 0, &e), &e);
	host_put(f);
}

static uint64_t base_len(enum base base, uint64_t size)
{
	switch (base) {
	case BASE_RAW_SHORT:
	case BASE_QCOW2_SHORT:
	case BASE_VHDX_SHORT:
	case BASE_VMDK_SHORT:
	case BASE_VPC_SHORT:
		return round_down(size / 2, 512) + 512;
	case BASE_QCOW2_LONG:
		return round_down(size + size / 3, 512);
	case BASE_NONE:
	case BASE_RAW:
	case BASE_QCOW2:
	case BASE_ZLIB:
	case BASE_ZSTD:
	case BASE_CHAIN:
	case BASE_VHDX:
	case BASE_VMDK:
		break;
	}
	return size;
}

void base_make(enum base base, uint64_t size, uint64_t seed, uint8_t *bytes,
    const char **name, const char **format)
{
	uint64_t len = base_len(base, round_up(size, 512));

	*name = "base.qcow2";
	*format = "qcow2";
	write_source(len, seed);
	switch (base) {
	case BASE_NONE:
	case BASE_RAW:
	case BASE_RAW_SHORT:
		*name = "source.raw";
		*format = "raw";
		break;
	case BASE_ZLIB:
		convert(*name, "cluster_size=64k", true);
		break;
	case BASE_ZSTD:
		convert(*name, "cluster_size=16k,compression_type=zstd", true);
		break;
	case BASE_QCOW2:
	case BASE_QCOW2_LONG:
	case BASE_QCOW2_SHORT:
		convert(*name, "cluster_size=4k", false);
		add_zeroes(*name, len);
		break;
	case BASE_CHAIN:
		convert(*name, "cluster_size=16k", true);
		add_layer(len);
		*name = "middle.qcow2";
		break;
	case BASE_VHDX:
	case BASE_VHDX_SHORT:
		*name = "base.vhdx";
		*format = "vhdx";
		convert_to(*format, *name, "block_size=1M", false);
		break;
	case BASE_VMDK:
	case BASE_VMDK_SHORT:
		*name = "base.vmdk";
		*format = "vmdk";
		convert_to(*format, *name, "subformat=monolithicSparse", false);
		break;
	case BASE_VPC_SHORT:
		*name = "base.vpc";
		*format = "vpc";
		convert_to(*format, *name, "force_size=on", false);
		break;
	}
	flatten(*name, *format, bytes, size);
}

void base_remove(void)
{
	static const char *const names[] = {"source.raw", "base.qcow2",
	    "middle.qcow2", "base.vhdx", "base.vmdk", "base.vpc", "flat.raw"};

	for (size_t i = 0; i < ARRAY_N(names); i++)
		unlink(names[i]);
}
