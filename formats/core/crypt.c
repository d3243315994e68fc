/* SPDX-License-Identifier: BSD-3-Clause */
/* Encrypted data: see crypt.h. */
#include <stdlib.h>
#include <string.h>

#include "../crypto/cipher.h"
#include "crypt.h"

#define BOUNCE_LEN (128u * KiB) /* enciphered before each write */

static uint64_t sector_of(
    const struct image *img, uint64_t host, uint64_t guest)
{
	return (img->cipher_by_host ? host : guest) / SECTOR_LEN;
}

/* ---- reading ----------------------------------------------------------- */

/* Only a part of the crypt sector is wanted. */
static int take_sector(struct crypt_piece *p, uint32_t sector_len,
    const struct extent *x, struct err *e)
{
	p->skip = x->guest & (sector_len - 1);
	p->len = min_u64(x->len, sector_len - p->skip);
	p->x.guest -= p->skip;
	p->x.host -= p->skip;
	p->x.len = sector_len;
	p->own = p->bytes = malloc(sector_len);
	return p->own ? 0 : err_nomem(e);
}

struct crypt_piece *crypt_piece_new(
    struct image *layer, struct extent *x, uint8_t *buf, struct err *e)
{
	uint32_t sector_len = cipher_sector_len(layer->cipher);
	struct crypt_piece *p = calloc(1, sizeof *p);

	if (!p) {
		err_nomem(e);
		return NULL;
	}
	p->layer = layer;
	p->x = *x;
	p->buf = p->bytes = buf;
	if (is_aligned(x->guest, sector_len) && x->len >= sector_len) {
		p->len = p->x.len = round_down(x->len, sector_len);
	} else if (take_sector(p, sector_len, x, e)) {
		free(p);
		return NULL;
	}
	x->guest += p->len;
	x->host += p->len;
	x->len -= p->len;
	return p;
}

int crypt_piece_finish(struct crypt_piece *p, struct err *e)
{
	const struct extent *x = &p->x;

	if (cipher_decrypt(p->layer->cipher, p->bytes, p->bytes, x->len,
		sector_of(p->layer, x->host, x->guest), e))
		return -1;
	if (p->own)
		memcpy(p->buf, p->own + p->skip, p->len);
	return 0;
}

void crypt_piece_free(struct crypt_piece *p)
{
	free(p->own);
	free(p);
}

/* ---- writing ----------------------------------------------------------- */

/* Of at most BOUNCE_LEN bytes, which dst and src may both hold. */
static int put(struct image *img, struct hostfile *f, uint8_t *dst,
    const uint8_t *src, size_t len, uint64_t host, uint64_t guest,
    struct err *e)
{
	if (cipher_encrypt(
		img->cipher, dst, src, len, sector_of(img, host, guest), e))
		return -1;
	return host_pwrite(f, dst, len, host, e);
}

int crypt_pwrite(struct image *img, struct hostfile *f, const void *buf,
    size_t len, uint64_t host, uint64_t guest, struct err *e)
{
	CLEANUP_FREE uint8_t *bounce = malloc(min_u64(len, BOUNCE_LEN));
	const uint8_t *p = buf;

	if (!bounce)
		return err_nomem(e);
	while (len) {
		size_t n = min_u64(len, BOUNCE_LEN);

		if (put(img, f, bounce, p, n, host, guest, e))
			return -1;
		p += n;
		len -= n;
		host += n;
		guest += n;
	}
	return 0;
}

/* Bytes of several buffers, in order. */
struct source {
	const struct iovec *iov;
	size_t at; /* in the first of them */
	uint64_t left;
};

static void copy_out(struct source *s, uint8_t *buf, size_t len)
{
	s->left -= len;
	while (len) {
		size_t n = min_u64(len, s->iov->iov_len - s->at);

		if (s->iov->iov_base)
			memcpy(buf, (uint8_t *)s->iov->iov_base + s->at, n);
		else
			memset(buf, 0, n);
		buf += n;
		len -= n;
		s->at += n;
		if (s->at == s->iov->iov_len) {
			s->iov++;
			s->at = 0;
		}
	}
}

int crypt_pwritev(struct image *img, struct hostfile *f,
    const struct iovec *iov, int n, uint64_t host, uint64_t guest,
    struct err *e)
{
	CLEANUP_FREE uint8_t *bounce = NULL;
	struct source s = {.iov = iov};

	for (int i = 0; i < n; i++)
		s.left += iov[i].iov_len;
	bounce = malloc(min_u64(s.left, BOUNCE_LEN));
	if (!bounce)
		return err_nomem(e);
	while (s.left) {
		size_t len = min_u64(s.left, BOUNCE_LEN);

		copy_out(&s, bounce, len);
		if (put(img, f, bounce, bounce, len, host, guest, e))
			return -1;
		host += len;
		guest += len;
	}
	return 0;
}

/* Read the crypt sector around some bytes, and write it with them in it. */
static int change_sector(
    struct image *img, struct crypt_piece *p, const void *buf, struct err *e)
{
	const struct extent *x = &p->x;
	uint64_t sector = sector_of(img, x->host, x->guest);

	if (host_pread(x->file, p->own, x->len, x->host, e) ||
	    cipher_decrypt(img->cipher, p->own, p->own, x->len, sector, e))
		return -1;
	memcpy(p->own + p->skip, buf, p->len);
	return put(img, x->file, p->own, p->own, x->len, x->host, x->guest, e);
}

int crypt_overwrite(struct image *img, const struct extent *x, const void *buf,
    size_t len, struct err *e)
{
	struct extent left = *x;
	const uint8_t *p = buf;
	int rc = 0;

	left.len = len;
	while (!rc && left.len) {
		struct crypt_piece *part = crypt_piece_new(img, &left, NULL, e);

		if (!part)
			return -1;
		if (part->own)
			rc = change_sector(img, part, p, e);
		else
			rc = crypt_pwrite(img, part->x.file, p, part->len,
			    part->x.host, part->x.guest, e);
		p += part->len;
		crypt_piece_free(part);
	}
	return rc;
}
