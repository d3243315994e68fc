/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Putting a header on disk in place of another one.
 *
 * A crash may leave each sector of a write old or new.  The fixed fields are
 * in the first sector; extensions and the name of the backing file may lie
 * behind it.  So a header is changed by the write of its first sector alone:
 * what it has behind that is written before, to bytes that the old one does
 * not use.  Where they are used, another header comes in between, without the
 * names of the features, so that its extensions end in the first sector.
 */
#include "qcow2.h"

/* The parts of a header, as in the file; all end inside the cluster. */
struct parts {
	uint32_t ext_end;	 /* behind the last extension        */
	uint32_t name, name_end; /* of the backing file; equal: none */
};

static uint32_t header_len(const uint8_t *p)
{
	return be32(p + 4) < 3 ? QCOW2_V2_LEN : be32(p + 100);
}

static struct parts parts_of(const uint8_t *p, uint32_t cluster_len)
{
	uint64_t host = be64(p + 8);
	uint32_t end = cluster_len, len = be32(p + 16);
	struct parts x = {.ext_end = min_u64(header_len(p), cluster_len)};

	if (host && host < cluster_len && len) {
		end = x.name = (uint32_t)host;
		x.name_end = (uint32_t)min_u64(host + len, cluster_len);
	}
	while (x.ext_end + 8 <= end) {
		uint32_t type = be32(p + x.ext_end);
		uint64_t data = round_up(be32(p + x.ext_end + 4), 8);

		x.ext_end = (uint32_t)min_u64(x.ext_end + 8 + data, end);
		if (type == QCOW2_EXT_END)
			break;
	}
	return x;
}

static bool uses(const struct parts *x, uint32_t at)
{
	return at < x->ext_end || (at >= x->name && at < x->name_end);
}

/* May all but the first sector of `next` be written while `now` is in force? */
static bool coexist(
    const uint8_t *now, const uint8_t *next, uint32_t cluster_len)
{
	struct parts x = parts_of(now, cluster_len);

	for (uint32_t at = SECTOR_LEN; at < cluster_len; at++)
		if (now[at] != next[at] && uses(&x, at))
			return false;
	return true;
}

/* Bytes of its cluster that a header does not use are as they were. */
static void keep_unused(const uint8_t *now, uint8_t *next, uint32_t cluster_len)
{
	struct parts x = parts_of(next, cluster_len);

	for (uint32_t at = SECTOR_LEN; at < cluster_len; at++)
		if (!uses(&x, at))
			next[at] = now[at];
}

static int store(
    struct image *img, const uint8_t *now, const uint8_t *next, struct err *e)
{
	uint32_t rest = qcow2_of(img)->cluster_len - SECTOR_LEN;

	if (memcmp(now + SECTOR_LEN, next + SECTOR_LEN, rest) &&
	    (host_pwrite(img->file, next + SECTOR_LEN, rest, SECTOR_LEN, e) ||
		host_sync(img->file, e)))
		return -1;
	return host_pwrite(img->file, next, SECTOR_LEN, 0, e);
}

/*
 * Where the name can be in all of the headers; 0: nowhere.  It is moved away
 * from the old one.
 */
static uint32_t name_place(
    const struct parts *now, const struct parts *next, uint32_t cluster_len)
{
	uint32_t len = next->name_end - next->name;
	uint64_t at = round_up(max_u64(now->ext_end, next->ext_end), 8);

	if (at < now->name_end && at + len > now->name)
		at = round_up(now->name_end, 8);
	return at + len <= cluster_len && at < cluster_len ? (uint32_t)at : 0;
}

/*
 * The header in between, and `next` with the name in another place.  False
 * where the cluster has no room for this.
 */
static bool put_between(
    struct image *img, const uint8_t *now, uint8_t *between, uint8_t *next)
{
	struct qcow2 *q = qcow2_of(img);
	struct parts from = parts_of(now, q->cluster_len);
	struct parts to = parts_of(next, q->cluster_len);
	struct qcow2_header h = q->h;
	struct err ignored = ERR_INIT;

	h.backing_host = name_place(&from, &to, q->cluster_len);
	if (!h.backing_host)
		return false;
	memset(next, 0, q->cluster_len);
	if (qcow2_header_pack_bare(&h, between, q->cluster_len, &ignored) ||
	    qcow2_header_pack(&h, next, q->cluster_len, &ignored))
		return false;
	keep_unused(now, between, q->cluster_len);
	return parts_of(between, q->cluster_len).ext_end <= SECTOR_LEN &&
	       coexist(now, between, q->cluster_len) &&
	       coexist(between, next, q->cluster_len);
}

static int replace(
    struct image *img, const uint8_t *now, uint8_t *next, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint8_t *between = NULL;

	if (coexist(now, next, q->cluster_len))
		return store(img, now, next, e);
	between = calloc(1, q->cluster_len);
	if (!between)
		return err_nomem(e);
	if (!put_between(img, now, between, next))
		return host_pwrite(img->file, next, q->cluster_len, 0, e);
	if (store(img, now, between, e) || host_sync(img->file, e))
		return -1;
	return store(img, between, next, e);
}

int qcow2_header_write(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint8_t *now = malloc(q->cluster_len);
	CLEANUP_FREE uint8_t *next = calloc(1, q->cluster_len);

	if (!now || !next)
		return err_nomem(e);
	if (host_pread(img->file, now, q->cluster_len, 0, e) ||
	    qcow2_header_pack(&q->h, next, q->cluster_len, e) ||
	    replace(img, now, next, e))
		return -1;
	q->h.backing_host = be64(next + 8);
	qcow2_header_unstage(img);
	return 0;
}
