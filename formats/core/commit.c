/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests' entry and exit, commit, and the return of retired space.
 *
 * Commit tickets: a caller takes a ticket, then the commit lock.  Who gets the
 * lock commits for every ticket taken so far; those who waited meanwhile find
 * their ticket done and leave.
 */
#include <errno.h>

#include "drv.h"
#include "packed.h"
#include "request.h"
#include "state.h"
#include "tables.h"

/* Dirty metadata, bytes, and retired ranges, beyond which a writer commits. */
#define DIRTY_LEN_MAX (8u * MiB)
#define RETIRED_MAX   65536u

int request_check(
    const struct image *img, uint64_t len, uint64_t off, struct err *e)
{
	uint64_t size = img_size(img);

	if (range_ok(off, len, size))
		return 0;
	return err_set(e, ERR_USAGE, EINVAL,
	    "%s: %llu bytes at %llu are outside the disk of %llu bytes",
	    img->name, (unsigned long long)len, (unsigned long long)off,
	    (unsigned long long)size);
}

int request_check_write(
    const struct image *img, uint64_t len, uint64_t off, struct err *e)
{
	if (!image_writable(img))
		return err_set(e, ERR_USAGE, EROFS,
		    "%s: the image is opened read-only", img->name);
	if (atomic_load(&img->state) == IMAGE_FAILED)
		return err_set(e, ERR_SYSTEM, EIO,
		    "%s: a metadata write failed earlier: no more writes until "
		    "it is opened again",
		    img->name);
	return request_check(img, len, off, e);
}

unsigned request_enter(struct image *img)
{
	gate_enter(&img->gate);
	return pin_enter(&img->pin);
}

bool request_tryenter(struct image *img, unsigned *pin)
{
	if (!gate_tryenter(&img->gate))
		return false;
	*pin = pin_enter(&img->pin);
	return true;
}

void request_leave(struct image *img, unsigned pin)
{
	pin_leave(&img->pin, pin);
	gate_leave(&img->gate);
}

int request_begin(
    struct image *img, uint64_t len, uint64_t off, unsigned *pin, struct err *e)
{
	*pin = request_enter(img);
	if (!request_check(img, len, off, e))
		return 0;
	request_leave(img, *pin);
	return -1;
}

int image_fail(struct image *img, struct err *e)
{
	atomic_store(&img->state, IMAGE_FAILED);
	return err_set(
	    e, ERR_SYSTEM, EIO, "%s: a metadata write failed", img->name);
}

int image_retire(struct image *img, uint64_t host, uint64_t len, bool whole,
    bool punch, struct err *e)
{
	const struct retired r = {.host = host,
	    .len = len,
	    .tag = pin_now(&img->pin),
	    .whole = whole,
	    .punch = punch};

	return quarantine_add(&img->quarantine, &r, e);
}

/* The mark is kept for give_back(): one commit at a time. */
void image_commit_mark(void *arg)
{
	struct image *img = arg;

	img->commit_mark = quarantine_mark(&img->quarantine);
}

/* Retired space that nobody can see any more becomes free (I1). */
static int give_back(struct image *img, struct err *e)
{
	struct retired r;

	quarantine_forgotten(&img->quarantine, img->commit_mark);
	while (quarantine_take(&img->quarantine, &img->pin, &r)) {
		int rc;

		/* A punch that fails costs space, not data. */
		if (r.punch) {
			struct err ignored = ERR_INIT;

			host_discard(img->file, r.host, r.len, &ignored);
		}
		packed_forget(img->packed, r.host, r.len);
		rwlock_excl(&img->meta);
		rc = drv_release(img, r.host, r.len, e);
		rwlock_excl_end(&img->meta);
		if (rc)
			return image_fail(img, e);
	}
	return 0;
}

static int commit_locked(struct image *img, struct err *e)
{
	if (atomic_load(&img->state) == IMAGE_FAILED)
		return err_set(e, ERR_SYSTEM, EIO,
		    "%s: a metadata write failed earlier", img->name);
	if (drv_commit(img, e))
		return image_fail(img, e);
	if (give_back(img, e))
		return -1;
	assert_image_state(img);
	return 0;
}

int image_commit(struct image *img, struct err *e)
{
	uint64_t ticket = atomic_fetch_add(&img->commit_wanted, 1) + 1;
	int rc = 0;

	mutex_lock(&img->commit_lock);
	if (img->commit_done < ticket) {
		uint64_t upto = atomic_load(&img->commit_wanted);

		rc = commit_locked(img, e);
		if (!rc)
			img->commit_done = upto;
	}
	mutex_unlock(&img->commit_lock);
	return rc;
}

int request_commit(struct image *img, struct err *e)
{
	int rc;

	gate_enter(&img->gate);
	rc = image_commit(img, e);
	gate_leave(&img->gate);
	return rc;
}

int request_alone(struct image *img,
    int (*fn)(struct image *img, void *arg, struct err *e), void *arg,
    struct err *e)
{
	int rc;

	if (request_check_write(img, 0, 0, e))
		return -1;
	gate_close(&img->gate);
	rc = image_commit(img, e);
	if (!rc)
		rc = fn(img, arg, e);
	if (!rc)
		rc = image_commit(img, e);
	gate_open(&img->gate);
	return rc;
}

bool image_commit_due(struct image *img)
{
	if (atomic_load(&img->wants_commit))
		return true;
	return img->tables &&
	       (tables_dirty_len(img->tables) >= DIRTY_LEN_MAX ||
		   quarantine_n(&img->quarantine) >= RETIRED_MAX);
}

int image_commit_if_due(struct image *img, struct err *e)
{
	return image_commit_due(img) ? request_commit(img, e) : 0;
}

int img_flush(struct image *img, struct err *e)
{
	return image_writable(img) ? request_commit(img, e) : 0;
}
