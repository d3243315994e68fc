/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Encrypted data: what an extent with EXT_F_CRYPT, or a reservation of an image
 * with a cipher, has in the host file.
 *
 * The image's cipher works on whole crypt sectors of the disk.  Around every
 * such extent the mapping goes on as it is to where a crypt sector begins and
 * ends.  Bytes of a caller are never changed on their way to the file: they
 * are enciphered into memory of our own.
 */
#ifndef IMGD_CRYPT_H
#define IMGD_CRYPT_H

#include "../driver.h"

/* A part of a read that is to be deciphered once its bytes are there. */
struct crypt_piece {
	struct image *layer;
	struct extent x;  /* whole crypt sectors */
	uint8_t *bytes;	  /* of all of x: read them into this */
	uint8_t *own;	  /* the same where only a part is wanted; or NULL */
	uint8_t *buf;	  /* of the caller, for ... */
	size_t len, skip; /* ... so many bytes behind the first `skip` */
	struct crypt_piece *next;
};

/*
 * The first piece of *x, which is bytes of a read into buf; *x becomes what is
 * left.  NULL when out of memory.
 */
struct crypt_piece *crypt_piece_new(
    struct image *layer, struct extent *x, uint8_t *buf, struct err *e);
int crypt_piece_finish(struct crypt_piece *p, struct err *e);
void crypt_piece_free(struct crypt_piece *p);

/*
 * Write whole crypt sectors: guest bytes from `guest` on, to host bytes from
 * `host` on.
 */
int crypt_pwrite(struct image *img, struct hostfile *f, const void *buf,
    size_t len, uint64_t host, uint64_t guest, struct err *e);
/* The same from several buffers; zeroes where one is NULL. */
int crypt_pwritev(struct image *img, struct hostfile *f,
    const struct iovec *iov, int n, uint64_t host, uint64_t guest,
    struct err *e);
/* Overwrite bytes of an extent where they are; the guest range of its crypt
 * sectors is locked. */
int crypt_overwrite(struct image *img, const struct extent *x, const void *buf,
    size_t len, struct err *e);

#endif
