/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open images in memory, for tests.  What fails here fails the test: main
 * thread only.
 */
#ifndef TEST_DISK_H
#define TEST_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "formats/host/hostfile.h"
#include "formats/image.h"

struct disk {
	struct hostfile *file; /* a reference of its own */
	struct image *img;
};

/* A new image, open for writing; `options` as for create -o, or NULL. */
struct disk disk_new(const char *format, uint64_t size, const char *options);
/* The same on storage that is there (takes over the reference). */
struct disk disk_new_on(struct hostfile *file, const char *format,
    uint64_t size, const char *options);
/* Close the image and open it again. */
void disk_reopen(struct disk *d, const char *format);
void disk_reopen_as(struct disk *d, const struct img_open *how);
void disk_close(struct disk *d);
/*
 * Close the image, and check a qcow2 file by our check and by qemu-img's, on a
 * copy in the working directory: nothing is wrong; leaks only where `leaks`
 * allows them.
 */
void disk_check(struct disk *d, bool leaks);
void disk_free(struct disk *d);

/*
 * A mix by seed, in pieces of odd lengths: random bytes, text, zeroes that are
 * written, and ranges that are passed over.  `want` gets what the disk has.
 */
void disk_fill(struct disk *d, uint8_t *want, uint64_t seed);
void disk_write(struct disk *d, const void *buf, size_t len, uint64_t off);
/* The bytes from `off` on are these. */
void disk_expect(struct disk *d, const void *want, size_t len, uint64_t off);
/* All bytes of the file, malloc'd. */
uint8_t *disk_bytes(struct disk *d, uint64_t *len);

#endif
