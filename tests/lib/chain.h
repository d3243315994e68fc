/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains of images, made at random in files of the working folder: formats,
 * geometries, sizes and contents that do not fit together.  What fails here
 * fails the test: main thread only.
 */
#ifndef TEST_CHAIN_H
#define TEST_CHAIN_H

#include "formats/image.h"
#include "rng.h"

#define CHAIN_MAX 4u

struct chain {
	unsigned n; /* layers; 0 is the lowest */
	struct {
		char name[16];
		const char *format;
	} layer[CHAIN_MAX];
	struct rng rng;
};

/* The same seed makes the same chain; `prefix` begins the names. */
void chain_make(struct chain *c, const char *prefix, unsigned n, uint64_t seed);
/* Layer i with what is below it; `how` may be NULL: to be read. */
struct image *chain_open(
    const struct chain *c, unsigned i, const struct img_open *how);
/* One qcow2 layer, not at random: new, and open for writing.  `size` in bytes,
 * `backing` may be NULL, `options` as for create -o. */
struct image *chain_layer(
    const char *name, uint64_t size, const char *backing, const char *options);
/* Random writes, zeroes, trims, packed units. */
void chain_scribble(struct image *img, struct rng *rng);
/* The guest bytes and, if not NULL, how many; free() them. */
uint8_t *chain_bytes(struct image *img, uint64_t *len);
void chain_close(struct image *img);
/* Our check and the peer's find nothing in that layer. */
void chain_check(const struct chain *c, unsigned i);

#endif
