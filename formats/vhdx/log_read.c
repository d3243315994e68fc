/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the log of a VHDX image.
 *
 * The log is a ring of 4 KiB sectors.  An entry is a header, descriptors, and a
 * data sector for each descriptor of data; it is valid when all of its
 * checksum, signatures and numbers agree.  A sequence is valid entries one
 * behind the other with numbers one above the other, of which the last one
 * names one as its tail.  The sequence whose last number is highest is
 * replayed from that tail on.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhdx.h"

#define ENTRY_HEAD_LEN 64u
#define DESC_LEN       32u
#define DATA_LEN       4084u /* of a sector that is in its data sector */
#define ENTRY_LEN_MAX  (16 * MiB)
#define PATCH_MAX      65536u
/* What is checked in vain, at most, beyond the length of the log. */
#define WASTE_MAX (256 * MiB)

struct entry {
	uint32_t len, tail; /* bytes */
	uint64_t seq;
	uint32_t desc_n;
	uint64_t flushed_len, file_len;
};

struct reader {
	struct hostfile *f;
	const struct vhdx_header *h;
	uint8_t *buf; /* of one entry */
	size_t buf_len;
	uint64_t waste; /* bytes of entries that were not valid */
};

/* [start, end) of the ring, in bytes that may go past its length once. */
struct sequence {
	uint64_t start, end, tail;
	struct entry last;
	bool valid;
};

/* ---- one entry --------------------------------------------------------------
 */

/* Bytes of the ring, which goes on at its start. */
static int ring_read(
    struct reader *r, uint8_t *buf, uint64_t len, uint64_t at, struct err *e)
{
	uint64_t log_len = r->h->log_len, n;

	for (at %= log_len; len; at = 0, buf += n, len -= n) {
		n = min_u64(len, log_len - at);
		if (host_pread(r->f, buf, n, r->h->log_host + at, e))
			return -1;
	}
	return 0;
}

static bool unpack_head(
    const struct reader *r, const uint8_t *p, struct entry *n)
{
	*n = (struct entry){.len = le32(p + 8),
	    .tail = le32(p + 12),
	    .seq = le64(p + 16),
	    .desc_n = le32(p + 24),
	    .flushed_len = le64(p + 48),
	    .file_len = le64(p + 56)};
	return !memcmp(p, "loge", 4) && !memcmp(p + 32, &r->h->log_guid, 16) &&
	       is_aligned(n->len, VHDX_SECTOR) && n->len &&
	       n->len <= min_u64(r->h->log_len, ENTRY_LEN_MAX) &&
	       is_aligned(n->tail, VHDX_SECTOR) && n->tail < r->h->log_len &&
	       n->seq && n->file_len <= VHDX_FILE_MAX &&
	       n->desc_n <= (n->len - ENTRY_HEAD_LEN) / DESC_LEN;
}

static uint64_t head_sectors(const struct entry *n)
{
	return div_up(
	    ENTRY_HEAD_LEN + (uint64_t)n->desc_n * DESC_LEN, VHDX_SECTOR);
}

static const uint8_t *desc_of(const struct reader *r, uint32_t i)
{
	return r->buf + ENTRY_HEAD_LEN + (size_t)i * DESC_LEN;
}

static bool is_data(const uint8_t *desc)
{
	return !memcmp(desc, "desc", 4);
}

static bool desc_ok(const uint8_t *desc, const struct entry *n)
{
	uint64_t host = le64(desc + 16), len = VHDX_SECTOR;

	if (!is_data(desc)) {
		len = le64(desc + 8);
		if (memcmp(desc, "zero", 4) || !is_aligned(len, VHDX_SECTOR))
			return false;
	}
	return le64(desc + 24) == n->seq && is_aligned(host, VHDX_SECTOR) &&
	       range_ok(host, len, VHDX_FILE_MAX);
}

static bool sector_ok(const uint8_t *sector, uint64_t seq)
{
	return !memcmp(sector, "data", 4) && le32(sector + 4) == seq >> 32 &&
	       le32(sector + VHDX_SECTOR - 4) == (uint32_t)seq;
}

/* r->buf holds the whole entry. */
static bool body_ok(const struct reader *r, const struct entry *n)
{
	uint64_t sector = head_sectors(n);

	if (le32(r->buf + 4) != vhdx_sum(r->buf, n->len))
		return false;
	for (uint32_t i = 0; i < n->desc_n; i++) {
		if (!desc_ok(desc_of(r, i), n))
			return false;
		if (!is_data(desc_of(r, i)))
			continue;
		if ((sector + 1) * VHDX_SECTOR > n->len ||
		    !sector_ok(r->buf + sector * VHDX_SECTOR, n->seq))
			return false;
		sector++;
	}
	return true;
}

/* 1: a valid entry, all of it in r->buf; 0: none; -1 failed. */
static int read_entry(
    struct reader *r, uint64_t at, struct entry *n, struct err *e)
{
	uint8_t head[ENTRY_HEAD_LEN];

	if (ring_read(r, head, sizeof head, at, e))
		return -1;
	if (!unpack_head(r, head, n))
		return 0;
	if (n->len > r->buf_len) {
		uint8_t *buf = realloc(r->buf, n->len);

		if (!buf)
			return err_nomem(e);
		r->buf = buf;
		r->buf_len = n->len;
	}
	if (ring_read(r, r->buf, n->len, at, e))
		return -1;
	if (body_ok(r, n))
		return 1;
	r->waste += n->len;
	if (r->waste > WASTE_MAX)
		return err_damaged(e,
		    "%s: VHDX log: too many entries that are not valid",
		    r->f->name);
	return 0;
}

/* ---- sequences --------------------------------------------------------------
 */

/* The tail is where an entry of the sequence begins; find() checks that. */
static bool in_sequence(
    const struct reader *r, struct sequence *s, uint32_t tail)
{
	s->tail = tail < s->start ? tail + (uint64_t)r->h->log_len : tail;
	return s->tail >= s->start && s->tail < s->end;
}

/* The sequence that begins at s->start; s->end = s->start: none. */
static int read_sequence(struct reader *r, struct sequence *s, struct err *e)
{
	uint64_t log_len = r->h->log_len;
	struct entry n;
	int rc;

	s->end = s->start;
	for (;;) {
		rc = read_entry(r, s->end, &n, e);
		if (rc <= 0)
			break;
		if (s->end != s->start &&
		    (n.seq != s->last.seq + 1 ||
			s->end + n.len > s->start + log_len))
			break;
		s->last = n;
		s->end += n.len;
	}
	s->valid = s->end != s->start && in_sequence(r, s, s->last.tail);
	return rc < 0 ? -1 : 0;
}

static int find(struct reader *r, struct sequence *best, struct err *e)
{
	struct sequence s = {0};

	for (; s.start < r->h->log_len; s.start = s.end) {
		if (read_sequence(r, &s, e))
			return -1;
		if (s.valid && (!best->valid || s.last.seq > best->last.seq))
			*best = s;
		if (s.end == s.start)
			s.end += VHDX_SECTOR;
	}
	return 0;
}

/* ---- patches ----------------------------------------------------------------
 */

static int add_patch(
    struct vhdx_log *log, const struct vhdx_patch *p, struct err *e)
{
	size_t max = log->max ? 2 * log->max : 64;
	struct vhdx_patch *patch;

	if (log->n == PATCH_MAX)
		return err_unsupported(
		    e, "VHDX log: more than %u changes to replay", PATCH_MAX);
	if (log->n == log->max) {
		patch = reallocarray(log->patch, max, sizeof *patch);
		if (!patch)
			return err_nomem(e);
		log->patch = patch;
		log->max = max;
	}
	log->patch[log->n++] = *p;
	return 0;
}

/* The log is not for the headers before the region tables, nor for itself. */
static int check_place(
    const struct reader *r, const struct vhdx_patch *p, struct err *e)
{
	uint64_t log_end = r->h->log_host + r->h->log_len;

	if (p->host >= VHDX_REGION_HOST &&
	    (p->host >= log_end || p->host + p->len <= r->h->log_host))
		return 0;
	return err_damaged(e,
	    "%s: VHDX log: it has %llu bytes for %#llx, where the headers or "
	    "the log itself are",
	    r->f->name, (unsigned long long)p->len,
	    (unsigned long long)p->host);
}

/* The entry at `at` of the ring, which is in r->buf. */
static int add_entry(const struct reader *r, const struct entry *n, uint64_t at,
    struct vhdx_log *log, struct err *e)
{
	uint64_t sector = head_sectors(n);

	for (uint32_t i = 0; i < n->desc_n; i++) {
		const uint8_t *desc = desc_of(r, i);
		struct vhdx_patch p = {.host = le64(desc + 16)};

		p.len = is_data(desc) ? VHDX_SECTOR : le64(desc + 8);
		if (is_data(desc)) {
			p.data_host =
			    r->h->log_host +
			    (at + sector++ * VHDX_SECTOR) % r->h->log_len;
			memcpy(p.tail, desc + 4, sizeof p.tail);
			memcpy(p.head, desc + 8, sizeof p.head);
		}
		if (p.len && (check_place(r, &p, e) || add_patch(log, &p, e)))
			return -1;
	}
	return 0;
}

static int collect(struct reader *r, const struct sequence *s,
    struct vhdx_log *log, struct err *e)
{
	struct entry n;

	for (uint64_t at = s->tail; at < s->end; at += n.len) {
		int rc = read_entry(r, at, &n, e);

		if (!rc)
			err_damaged(e,
			    "%s: VHDX log: the tail at %#llx is not an entry",
			    r->f->name, (unsigned long long)s->tail);
		if (rc <= 0 || add_entry(r, &n, at, log, e))
			return -1;
	}
	log->file_len = s->last.file_len;
	return 0;
}

static int read_log(struct reader *r, struct vhdx_log *log, struct err *e)
{
	struct sequence best = {0};

	if (find(r, &best, e) || !best.valid)
		return err_is_set(e) ? -1 : 0;
	if (best.last.flushed_len > host_size(r->f))
		return err_damaged(e,
		    "%s: the file was cut: it has %llu bytes, the VHDX log "
		    "knows of %llu",
		    r->f->name, (unsigned long long)host_size(r->f),
		    (unsigned long long)best.last.flushed_len);
	return collect(r, &best, log, e);
}

int vhdx_log_read(struct hostfile *f, const struct vhdx_header *h,
    struct vhdx_log *log, struct err *e)
{
	struct reader r = {.f = f, .h = h};
	int rc;

	if (vhdx_guid_is_zero(&h->log_guid))
		return 0;
	if (!range_ok(h->log_host, h->log_len, host_size(f)))
		return err_damaged(e,
		    "%s: the VHDX log of %u bytes at %#llx is not all in the "
		    "file",
		    f->name, h->log_len, (unsigned long long)h->log_host);
	rc = read_log(&r, log, e);
	free(r.buf);
	return rc;
}

void vhdx_log_clear(struct vhdx_log *log)
{
	free(log->patch);
	*log = (struct vhdx_log){0};
}

/* ---- what is replayed ------------------------------------------------- */

int vhdx_patch_read(struct hostfile *f, const struct vhdx_patch *p,
    uint8_t *buf, uint64_t len, uint64_t off, struct err *e)
{
	uint8_t sector[VHDX_SECTOR];

	if (!p->data_host) {
		memset(buf, 0, len);
		return 0;
	}
	if (host_pread(f, sector, sizeof sector, p->data_host, e))
		return -1;
	memcpy(sector, p->head, sizeof p->head);
	memcpy(sector + sizeof p->head + DATA_LEN, p->tail, sizeof p->tail);
	memcpy(buf, sector + off, len);
	return 0;
}

int vhdx_log_replay(
    struct hostfile *f, const struct vhdx_log *log, struct err *e)
{
	uint8_t sector[VHDX_SECTOR];

	if (host_grow(f, log->file_len, e))
		return -1;
	for (size_t i = 0; i < log->n; i++) {
		const struct vhdx_patch *p = &log->patch[i];

		if (p->data_host
			? vhdx_patch_read(f, p, sector, sizeof sector, 0, e) ||
			      host_pwrite(f, sector, sizeof sector, p->host, e)
			: host_zero(f, p->host, p->len, HOST_ZERO_PUNCH, e))
			return -1;
	}
	return host_sync(f, e);
}
