/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Image locks, the same as QEMU's: read locks of this open file on single
 * bytes.  Byte 100 + n says "I use permission n", byte 200 + n "nobody else
 * may use permission n".  First take one's own, then look for others': of two
 * that come at once at least one sees the other.
 *
 * Bits: n for byte 100 + n, PERM_N + n for byte 200 + n.
 */
#include <errno.h>
#include <fcntl.h>

#include "file.h"

#define PERM_N	    4u
#define USED_BYTE   100u
#define DENIED_BYTE 200u

static const char *const perm_name[PERM_N] = {
    "consistent read",
    "write",
    "write unchanged",
    "resize",
};

static unsigned byte_of(unsigned bit)
{
	return bit < PERM_N ? USED_BYTE + bit : DENIED_BYTE + bit - PERM_N;
}

static int set_byte(int fd, unsigned bit, short type)
{
	struct flock fl = {
	    .l_type = type,
	    .l_whence = SEEK_SET,
	    .l_start = byte_of(bit),
	    .l_len = 1,
	};
	int rc;

	do
		rc = fcntl(fd, F_OFD_SETLK, &fl) ? errno : 0;
	while (rc == EINTR);
	return rc;
}

/* Has anybody else a lock on the byte?  1, 0, -1. */
static int others_hold(struct hostfile *f, unsigned bit, struct err *e)
{
	struct flock fl = {
	    .l_type = F_WRLCK,
	    .l_whence = SEEK_SET,
	    .l_start = byte_of(bit),
	    .l_len = 1,
	};

	if (fcntl(f->fd, F_OFD_GETLK, &fl))
		return err_sys(e, errno, "%s: could not see who locks byte %u",
		    f->name, byte_of(bit));
	return fl.l_type != F_UNLCK;
}

/* The lock that `bit` stands for cannot be had: another file holds `other`. */
static int conflict(
    struct hostfile *f, unsigned bit, unsigned other, struct err *e)
{
	char who[64];

	err_set(e, ERR_SYSTEM, EAGAIN, "Failed to get %s\"%s\" lock",
	    bit < PERM_N ? "" : "shared ", perm_name[bit % PERM_N]);
	holder_find(f, byte_of(other), who, sizeof who);
	err_hint(e, "Is another process using the image [%s]?%s%s%s", f->name,
	    *who ? "\nIt is in use by " : "", who, *who ? "." : "");
	return -1;
}

/* What we use must not be denied by others, and the other way round. */
static int check_others(struct hostfile *f, unsigned held, struct err *e)
{
	for (unsigned bit = 0; bit < 2 * PERM_N; bit++) {
		unsigned other = (bit + PERM_N) % (2 * PERM_N);
		int rc = held & 1u << bit ? others_hold(f, other, e) : 0;

		if (rc)
			return rc < 0 ? -1 : conflict(f, bit, other, e);
	}
	return 0;
}

static void release_bytes(struct hostfile *f, unsigned bits)
{
	for (unsigned bit = 0; bit < 2 * PERM_N; bit++)
		if (bits & 1u << bit)
			set_byte(f->fd, bit, F_UNLCK);
}

static int take_bytes(struct hostfile *f, unsigned bits, struct err *e)
{
	for (unsigned bit = 0; bit < 2 * PERM_N; bit++) {
		int rc = bits & 1u << bit ? set_byte(f->fd, bit, F_RDLCK) : 0;

		if (rc) {
			release_bytes(f, bits & ((1u << bit) - 1));
			return err_sys(e, rc, "%s: could not lock byte %u",
			    f->name, byte_of(bit));
		}
	}
	return 0;
}

int lock_set(struct hostfile *f, unsigned perm, unsigned shared, struct err *e)
{
	struct posix_file *p = posix_file(f);
	unsigned want = perm | (~shared & HOST_PERM_ALL) << PERM_N, added;
	int rc;

	mutex_lock(&p->lock);
	added = want & ~p->locked;
	rc = take_bytes(f, added, e);
	if (!rc && check_others(f, want, e)) {
		release_bytes(f, added);
		rc = -1;
	}
	if (!rc) {
		release_bytes(f, p->locked & ~want);
		p->locked = want;
	}
	mutex_unlock(&p->lock);
	return rc;
}

int lock_copy(struct hostfile *f, int fd, struct err *e)
{
	struct posix_file *p = posix_file(f);
	int rc = 0;

	mutex_lock(&p->lock);
	for (unsigned bit = 0; !rc && bit < 2 * PERM_N; bit++)
		if (p->locked & 1u << bit)
			rc = set_byte(fd, bit, F_RDLCK);
	mutex_unlock(&p->lock);
	return rc ? err_sys(e, rc, "%s: could not lock", f->name) : 0;
}
