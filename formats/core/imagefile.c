/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image as the host file of another image: a format in a part of a raw
 * file, behind encryption, inside of another format.
 *
 * The disk may be longer than the file, up to whole sectors; what is past the
 * file's end reads as zeroes.  So does what a disk grows by.
 *
 * Locks: those of the image below are taken inside those of the image above,
 * as if it were storage.  `grow` is outside of them.
 */
#include "imagefile.h"

#include <errno.h>
#include <stdlib.h>

struct below {
	struct host_ops ops; /* with the name of the format */
	struct image *img;
	struct mutex grow; /* one makes the disk larger at a time */
};

static struct below *below_of(const struct hostfile *f)
{
	return f->priv;
}

static int below_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	for (; n; off += iov->iov_len, iov++, n--)
		if (img_pread(
			below_of(f)->img, iov->iov_base, iov->iov_len, off, e))
			return -1;
	return 0;
}

/* The end of a disk that is resized: whole sectors. */
static int resize(struct below *b, uint64_t size, struct err *e)
{
	uint64_t old = img_size(b->img), end = round_up(size, SECTOR_LEN);

	if (img_resize(b->img, end, IMG_PREALLOC_OFF, e))
		return -1;
	if (end > old && b->img->drv->info.born_random)
		return img_zero(b->img, end - old, old, 0, e);
	if (end <= old && end > size)
		return img_zero(b->img, end - size, size, 0, e);
	return 0;
}

static int make_room(struct hostfile *f, uint64_t end, struct err *e)
{
	struct below *b = below_of(f);
	int rc = 0;

	mutex_lock(&b->grow);
	if (end > img_size(b->img))
		rc = resize(b, end, e);
	mutex_unlock(&b->grow);
	return rc;
}

static int below_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (make_room(f, off + len, e))
		return -1;
	for (; n; off += iov->iov_len, iov++, n--)
		if (img_pwrite(below_of(f)->img, iov->iov_base, iov->iov_len,
			off, 0, e))
			return -1;
	return 0;
}

static int below_sync(struct hostfile *f, struct err *e)
{
	return img_flush(below_of(f)->img, e);
}

static int below_truncate(struct hostfile *f, uint64_t size, struct err *e)
{
	struct below *b = below_of(f);
	int rc;

	mutex_lock(&b->grow);
	rc = resize(b, size, e);
	mutex_unlock(&b->grow);
	return rc;
}

static int below_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	struct img_extent i;

	if (img_map(below_of(f)->img, off, len, &i, e))
		return -1;
	*x = (struct host_extent){
	    .len = i.len, .hole = i.zero && !i.data, .zero = i.zero};
	return 0;
}

/* Only where nothing has to be written for it. */
static int zero(struct hostfile *f, uint64_t off, uint64_t len, unsigned flags,
    struct err *e)
{
	struct err mine = ERR_INIT;

	if (make_room(f, off + len, e))
		return -1;
	if (!img_zero(below_of(f)->img, len, off, flags | IMG_FAST, &mine))
		return 1;
	if (mine.errnum == ENOTSUP)
		return 0;
	*e = mine;
	return -1;
}

static int below_zero(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return zero(f, off, len, 0, e);
}

static int below_punch(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return zero(f, off, len, IMG_MAY_TRIM, e);
}

static int below_discard(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return img_trim(below_of(f)->img, len, off, 0, e) ? -1 : 1;
}

static int64_t below_disk_len(struct hostfile *f)
{
	return host_disk_len(below_of(f)->img->file);
}

static int below_close(struct hostfile *f, struct err *e)
{
	struct below *b = below_of(f);
	int rc = img_close(b->img, e);

	mutex_destroy(&b->grow);
	free(b);
	return rc;
}

static const struct host_ops below_ops = {
    .readv = below_readv,
    .writev = below_writev,
    .sync = below_sync,
    .truncate = below_truncate,
    .map = below_map,
    .punch = below_punch,
    .discard = below_discard,
    .zero = below_zero,
    .disk_len = below_disk_len,
    .close = below_close,
};

struct hostfile *image_as_file(struct image *img, struct err *e)
{
	struct below *b = calloc(1, sizeof *b);
	struct hostfile *f = NULL;

	if (b)
		f = host_new(&b->ops, img->file->name,
		    image_writable(img) ? HOST_RDWR : 0, e);
	else
		err_nomem(e);
	if (!f) {
		free(b);
		img_drop(img);
		return NULL;
	}
	b->ops = below_ops;
	b->ops.name = img->drv->info.name;
	b->img = img;
	mutex_init(&b->grow);
	f->priv = b;
	f->fixed_size = !img->drv->resize;
	f->slow_zero = img->drv->info.born_random;
	atomic_store(&f->size, img_size(img));
	return f;
}
