/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The images that the conform suite makes.  A format that is in the registry
 * and can create gets one of default geometry; those in the table are added.
 */
#ifndef TEST_GEOMETRY_H
#define TEST_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base.h"

/* The ID of a secret, for options of formats that encrypt. */
#define GEOMETRY_SECRET	       "conform"
#define GEOMETRY_SECRET_OBJECT "secret,data=hush,id=" GEOMETRY_SECRET

struct geometry {
	char name[40];
	const char *format;
	const char *options; /* of create, without the size; NULL none */
	uint64_t size;	     /* guest bytes, a multiple of 512 */
	uint32_t cut;	     /* guest bytes taken off the end after that */
	enum base base;
	bool files;	/* cannot live in memory: it has a data file */
	bool snapshots; /* qemu-img takes some on the way */
};

/* The i-th; false past the end. */
bool geometry_at(size_t i, struct geometry *g);

/* The option of create that names its secret, which opening takes too; the last
 * one of its options.  NULL: none. */
const char *geometry_key(const struct geometry *g);

#endif
