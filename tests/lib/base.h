/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an overlay stands on, made by qemu-img, which also says what is in it:
 * so that our reading is checked against another program's writing.  The files
 * are made in the working directory.
 */
#ifndef TEST_BASE_H
#define TEST_BASE_H

#include <stdint.h>

enum base {
	BASE_NONE = 0,
	BASE_RAW,	  /* as long as the disk                       */
	BASE_RAW_SHORT,	  /* ends in the middle                        */
	BASE_QCOW2,	  /* data, zero clusters, holes                */
	BASE_QCOW2_LONG,  /* goes on after the end of the disk         */
	BASE_QCOW2_SHORT, /* ends in the middle                        */
	BASE_ZLIB,	  /* compressed clusters                       */
	BASE_ZSTD,
	BASE_CHAIN, /* two layers                                */
	BASE_VHDX,
	BASE_VHDX_SHORT, /* ends in the middle                        */
	BASE_VMDK,
	BASE_VMDK_SHORT, /* ends in the middle                        */
	BASE_VPC_SHORT,	 /* ends in the middle                        */
};

/*
 * Make the files.  *name and *format (literals) are for create; `bytes` gets
 * what is below a disk of `size` bytes; BASE_NONE gives source.raw too.  What
 * fails fails the test.
 */
void base_make(enum base base, uint64_t size, uint64_t seed, uint8_t *bytes,
    const char **name, const char **format);
/* Remove the files. */
void base_remove(void);

#endif
