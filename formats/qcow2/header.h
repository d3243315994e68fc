/* SPDX-License-Identifier: BSD-3-Clause */
/* qcow2: the header and the constants of the format.  See qcow2.h. */
#ifndef IMGD_QCOW2_HEADER_H
#define IMGD_QCOW2_HEADER_H

#include "../host/hostfile.h"

#define QCOW2_MAGIC		 0x514649fbu /* "QFI\xfb" */
#define QCOW2_V2_LEN		 72u
#define QCOW2_V3_LEN		 104u
#define QCOW2_OUR_LEN		 112u /* of a header that we write */
#define QCOW2_CLUSTER_MIN	 9u   /* bits */
#define QCOW2_CLUSTER_MAX	 21u
#define QCOW2_L1_LEN_MAX	 (32u << 20) /* bytes */
#define QCOW2_REFTABLE_LEN_MAX	 (8u << 20)  /* bytes */
#define QCOW2_SNAPSHOTS_MAX	 65536u
#define QCOW2_SNAPSHOT_EXTRA_MAX 1024u
#define QCOW2_SNAPSHOTS_LEN_MAX	 (64u << 20) /* bytes of the table */
#define QCOW2_SNAPSHOT_LEN	 40u /* bytes of an entry without its tail */
#define QCOW2_BITMAPS_MAX	 65535u
#define QCOW2_BITMAP_LEN	 24u
#define QCOW2_BITMAP_DIR_MAX	 (1024u * QCOW2_BITMAPS_MAX) /* bytes */
#define QCOW2_BITMAP_DATA_MAX	 (512u << 20) /* bytes of one bitmap's bits */
#define QCOW2_BACKING_MAX	 1023u	      /* bytes of a name */
#define QCOW2_CRYPT_LEN_MAX	 (64u << 20)  /* bytes */
#define QCOW2_HEADER_EXT_MAX	 65536u	      /* bytes of all extensions */

/* Incompatible features: header bytes 72-79. */
#define QCOW2_I_DIRTY	    (1ull << 0)
#define QCOW2_I_CORRUPT	    (1ull << 1)
#define QCOW2_I_DATA_FILE   (1ull << 2)
#define QCOW2_I_CODEC	    (1ull << 3)
#define QCOW2_I_EXTENDED_L2 (1ull << 4)
#define QCOW2_I_KNOWN	    0x1full
/* Compatible features: bytes 80-87. */
#define QCOW2_C_LAZY (1ull << 0)
/* Autoclear features: bytes 88-95. */
#define QCOW2_A_BITMAPS	 (1ull << 0)
#define QCOW2_A_DATA_RAW (1ull << 1)

/* Header extension types. */
#define QCOW2_EXT_END		 0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURES	 0x6803f857u
#define QCOW2_EXT_BITMAPS	 0x23852875u
#define QCOW2_EXT_ENCRYPTION	 0x0537be77u
#define QCOW2_EXT_DATA_FILE	 0x44415441u

/* Table entries. */
#define QCOW2_COPIED		(1ull << 63) /* reference count is exactly 1 */
#define QCOW2_PACKED		(1ull << 62)
#define QCOW2_ZERO		(1ull << 0) /* v3, not with extended L2 */
#define QCOW2_HOST_MASK		0x00fffffffffffe00ull
#define QCOW2_L1_RESERVED	0x7f000000000001ffull
#define QCOW2_L2_RESERVED	0x3f000000000001feull
#define QCOW2_REFTABLE_RESERVED 0x1ffull

enum qcow2_crypt { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };

/* A header extension that is kept as it is. */
struct qcow2_ext {
	uint32_t type, len;
	uint8_t *data;
	struct qcow2_ext *next;
};

/* The header as it stands in the file; all numbers checked by header_read. */
struct qcow2_header {
	unsigned version; /* 2 or 3 */
	uint64_t backing_host;
	uint32_t backing_len;
	unsigned cluster_bits;
	uint64_t size;	       /* guest bytes */
	uint32_t crypt_method; /* enum qcow2_crypt */
	uint32_t l1_n;
	uint64_t l1_host;
	uint64_t reftable_host;
	uint32_t reftable_cl;
	uint32_t snapshot_n;
	uint64_t snapshot_host;
	uint64_t incompatible, compatible, autoclear;
	unsigned refcount_order; /* width in bits = 1 << order */
	uint32_t header_len;
	uint8_t *more; /* header bytes 112 to header_len, kept; or NULL */
	unsigned compression;			 /* 0 zlib, 1 zstd */
	char *backing, *backing_fmt, *data_file; /* NULL: none */
	struct {
		bool present;
		uint32_t n;
		uint64_t dir_len, dir_host;
	} bitmaps;
	struct {
		uint64_t host, len; /* of the encryption header; len 0: none */
	} crypt;
	struct qcow2_ext *unknown; /* other extensions, in their order */
};

/* header.c */
/*
 * Read and check the header and its extensions.  Unknown incompatible
 * features are refused by name.  Free with qcow2_header_clear().  With `check`
 * the refcount table may be missing, and it and the snapshot table past the end
 * of the file.
 */
int qcow2_header_read(
    struct hostfile *f, bool check, struct qcow2_header *h, struct err *e);
/* Extensions and the backing name, for qcow2_header_read(). */
int qcow2_header_extensions(
    struct hostfile *f, struct qcow2_header *h, struct err *e);
/* A field that the format does not allow. */
int qcow2_bad_field(
    struct err *e, const char *field, uint64_t value, const char *allowed);
int qcow2_bad_max(
    struct err *e, const char *field, uint64_t value, uint64_t max);
void qcow2_header_clear(struct qcow2_header *h);
/* Serialise into one cluster of zeroes; -1 when it does not fit. */
int qcow2_header_pack(const struct qcow2_header *h, uint8_t *buf,
    uint32_t cluster_len, struct err *e);
/* The same without the names of the features, which nothing depends on. */
int qcow2_header_pack_bare(const struct qcow2_header *h, uint8_t *buf,
    uint32_t cluster_len, struct err *e);

#endif
