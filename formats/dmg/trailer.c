/* SPDX-License-Identifier: BSD-3-Clause */
/* The trailer of a dmg: see dmg.h. */
#include <errno.h>

#include "dmg.h"

#define SEARCH_LEN 1023u /* a device is longer than the file that it holds */

bool dmg_is_trailer(const uint8_t *p)
{
	return !memcmp(p, "koly", 4) && be32(p + 8) == DMG_TRAILER_LEN;
}

bool dmg_crc(const uint8_t *p, uint32_t *crc)
{
	*crc = be32(p + 8);
	return be32(p) == 2 && be32(p + 4) == 32;
}

/* Encrypted images have a header, or in the first version a trailer. */
static bool is_encrypted(const uint8_t *head, const uint8_t *end)
{
	return !memcmp(head, "encrcdsa", 8) || !memcmp(end - 8, "cdsaencr", 8);
}

/*
 * The trailer in `buf`, which has room for two: the last one in the file, else
 * at its start.  NULL with *e set.
 */
static const uint8_t *find(
    const char *name, struct hostfile *f, uint8_t *buf, struct err *e)
{
	uint64_t size = host_size(f);
	size_t len = min_u64(size, SEARCH_LEN), at = len - DMG_TRAILER_LEN;
	uint8_t *head = buf + SEARCH_LEN;

	if (size >= DMG_TRAILER_LEN) {
		if (host_pread(f, buf, len, size - len, e) ||
		    host_pread(f, head, DMG_TRAILER_LEN, 0, e))
			return NULL;
		if (is_encrypted(head, buf + len)) {
			err_unsupported(e, "%s: encrypted dmg images (%.8s)",
			    name, *head == 'e' ? (char *)head : "cdsaencr");
			return NULL;
		}
		do {
			if (dmg_is_trailer(buf + at))
				return buf + at;
		} while (at--);
		if (dmg_is_trailer(head))
			return head;
	}
	err_set(e, ERR_NOT_FORMAT, EINVAL,
	    "%s: no dmg trailer ('koly') at the end of the file", name);
	return NULL;
}

static int check_part(const struct dmg *d, const struct hostfile *f,
    const char *what, uint64_t at, uint64_t len, struct err *e)
{
	if (len > DMG_LIST_MAX)
		return err_damaged(e,
		    "%s: dmg trailer: %s of %llu bytes, allowed are %llu",
		    d->name, what, (unsigned long long)len, DMG_LIST_MAX);
	if (!range_ok(at, len, host_size(f)))
		return err_damaged(e,
		    "%s: dmg trailer: %s of %llu bytes at %llu, the file has "
		    "%llu",
		    d->name, what, (unsigned long long)len,
		    (unsigned long long)at, (unsigned long long)host_size(f));
	return 0;
}

int dmg_read_trailer(struct dmg *d, struct hostfile *f, struct err *e)
{
	uint8_t buf[SEARCH_LEN + DMG_TRAILER_LEN];
	const uint8_t *t = find(d->name, f, buf, e);
	uint32_t segments;

	if (!t)
		return -1;
	segments = be32(t + 60);
	if (segments > 1)
		return err_unsupported(e,
		    "%s: part %u of a dmg image of %u files", d->name,
		    be32(t + 56), segments);
	d->data = be64(t + 24);
	d->rsrc = be64(t + 40);
	d->rsrc_len = be64(t + 48);
	d->list = be64(t + 216);
	d->list_len = be64(t + 224);
	d->has_crc = dmg_crc(t + 352, &d->crc);
	d->sectors = be64(t + 492);
	if (d->sectors > IMG_SIZE_MAX / SECTOR_LEN)
		return err_damaged(e,
		    "%s: dmg trailer: a disk of %llu sectors, allowed are %llu",
		    d->name, (unsigned long long)d->sectors,
		    (unsigned long long)IMG_SIZE_MAX / SECTOR_LEN);
	return check_part(d, f, "property list", d->list, d->list_len, e) ||
		       check_part(
			   d, f, "resource fork", d->rsrc, d->rsrc_len, e)
		   ? -1
		   : 0;
}
