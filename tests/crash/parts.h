/* SPDX-License-Identifier: BSD-3-Clause */
/* VMDK disks of several small files.  What fails here fails the test. */
#ifndef TEST_PARTS_H
#define TEST_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/host/hostfile.h"

enum parts_kind { PARTS_SPARSE, PARTS_FLAT, PARTS_ONE_FLAT, PARTS_COWD };

struct parts {
	enum parts_kind kind;
	unsigned n;	     /* extents */
	uint64_t len;	     /* bytes of each */
	bool zeroed_grain;   /* of sparse ones */
	const char *backing; /* NULL, or in the same folder; its CID is 1 */
};

/* DIR/NAME.vmdk, a descriptor with the CID 1, and the files that it names. */
void parts_make(const char *dir, const char *name, const struct parts *p);
/* An ESX sparse extent of `len` bytes without data. */
void parts_make_cowd(const char *path, uint64_t len);
/* In such a one nothing lies where others would put new data. */
void parts_check_cowd(struct hostfile *f);

#endif
