/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What fuzz targets of formats have in common.  The input is an image in
 * memory; other files that it names are not opened.
 */
#ifndef TESTS_FUZZ_LOOK_H
#define TESTS_FUZZ_LOOK_H

#include "formats/host/hostfile.h"
#include "formats/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct hostfile *fuzz_file(const uint8_t *data, size_t len);
/* The image; NULL when it is refused, which must come with a message.  Takes
 * over the reference to f. */
struct image *fuzz_open_file(
    const char *format, struct hostfile *f, unsigned flags);
struct image *fuzz_open(
    const char *format, const uint8_t *data, size_t len, unsigned flags);
void fuzz_describe(struct image *img);
/* The map must go through the disk without a gap. */
void fuzz_map(struct image *img);
void fuzz_read(struct image *img);
/* The list of bitmaps, and the maps of the first ones. */
void fuzz_bitmaps(struct image *img);
void fuzz_check(const char *format, const uint8_t *data, size_t len);
/* All of the above but the check. */
void fuzz_look(const char *format, const uint8_t *data, size_t len);
/* The check agrees with what the repair says is left. */
void fuzz_repair(
    const char *format, const uint8_t *data, size_t len, enum img_repair what);
/* Write, zero, trim, flush, open again, resize: see change.c. */
void fuzz_change(const char *format, const uint8_t *data, size_t len);
/* Commit to a raw disk below. */
void fuzz_merge(const char *format, const uint8_t *data, size_t len);
/* For a format that can be written: look, check, repair, change, merge. */
void fuzz_all(const char *format, const uint8_t *data, size_t len);

#endif
