/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal snapshots: reading their table, choosing one to read from.
 *
 * A snapshot is an L1 table of its own over shared clusters.  The table of
 * snapshots has entries of variable length, one after the other, each starting
 * at a multiple of 8 bytes.
 */
#include <errno.h>
#include <inttypes.h>

#include "qcow2.h"

/* Byte offsets in an entry; extra data begins at QCOW2_SNAPSHOT_LEN. */
enum {
	AT_L1_HOST = 0,
	AT_L1_N = 8,
	AT_ID_LEN = 12,
	AT_NAME_LEN = 14,
	AT_DATE_SEC = 16,
	AT_DATE_NSEC = 20,
	AT_CLOCK = 24,
	AT_STATE_LEN = 32,
	AT_EXTRA_LEN = 36,
};

static void get_fixed(struct qcow2_snapshot *s, const uint8_t *p)
{
	s->l1_host = be64(p + AT_L1_HOST);
	s->l1_n = be32(p + AT_L1_N);
	s->extra_len = be32(p + AT_EXTRA_LEN);
	s->vm.date_sec = be32(p + AT_DATE_SEC);
	s->vm.date_nsec = be32(p + AT_DATE_NSEC);
	s->vm.vm_clock_ns = be64(p + AT_CLOCK);
	s->vm.vm_state_size = be32(p + AT_STATE_LEN);
	s->vm.icount = -1;
}

static void get_extra(struct qcow2_snapshot *s, const uint8_t *p)
{
	if (s->extra_len >= 8)
		s->vm.vm_state_size = be64(p);
	if (s->extra_len >= 16)
		s->vm.disk_size = be64(p + 8);
	if (s->extra_len >= 24)
		s->vm.icount = (int64_t)be64(p + 16);
}

/* Extra data, ID and name, which follow the fixed part. */
static int get_tail(struct qcow2_snapshot *s, const uint8_t *p, uint64_t kept,
    uint32_t id_len, uint32_t name_len, struct err *e)
{
	const char *id = (const char *)p + kept;

	get_extra(s, p);
	s->vm.id = strndup(id, id_len);
	s->vm.name = strndup(id + id_len, name_len);
	return s->vm.id && s->vm.name ? 0 : err_nomem(e);
}

/* Where the parts of an entry are. */
struct entry {
	uint64_t host; /* of the fixed part */
	uint64_t kept; /* bytes of extra data that count */
	uint32_t id_len, name_len;
	uint64_t tail_len; /* extra data, ID and name, as they are read */
};

/* Nothing that is in the file may be passed by, and nothing is missing. */
static int check_entry(const struct qcow2_snapshot_table *t,
    const struct entry *n, const struct qcow2_snapshot *s, uint64_t file_len,
    struct err *e)
{
	if (s->extra_len > QCOW2_SNAPSHOT_EXTRA_MAX)
		return err_damaged(e,
		    "%" PRIu32 " bytes of extra data: must be at most %u",
		    s->extra_len, QCOW2_SNAPSHOT_EXTRA_MAX);
	if (t->kept_len + s->len > QCOW2_SNAPSHOTS_LEN_MAX)
		return err_damaged(e, "the table must have at most %u bytes",
		    QCOW2_SNAPSHOTS_LEN_MAX);
	if (!range_ok(n->host, s->len, file_len))
		return err_damaged(e, "must end within the file");
	return 0;
}

static int read_tail(struct hostfile *f, const struct entry *n,
    struct qcow2_snapshot *s, struct err *e)
{
	uint64_t extra_host = n->host + QCOW2_SNAPSHOT_LEN;
	CLEANUP_FREE uint8_t *tail = calloc(1, n->tail_len + 1);
	uint32_t names_len = n->id_len + n->name_len;

	if (!tail)
		return err_nomem(e);
	if (n->kept && host_pread(f, tail, n->kept, extra_host, e))
		return -1;
	if (names_len && host_pread(f, tail + n->kept, names_len,
			     extra_host + s->extra_len, e))
		return -1;
	return get_tail(s, tail, n->kept, n->id_len, n->name_len, e);
}

/* One entry at *host; moves *host past it. */
static int read_entry(struct hostfile *f, bool salvage,
    const struct qcow2_snapshot_table *t, struct qcow2_snapshot *s,
    uint64_t *host, struct err *e)
{
	uint8_t fixed[QCOW2_SNAPSHOT_LEN];
	struct entry n = {.host = *host};

	if (!salvage && !range_ok(n.host, sizeof fixed, host_size(f)))
		return err_damaged(e, "must end within the file");
	if (host_pread(f, fixed, sizeof fixed, n.host, e))
		return -1;
	get_fixed(s, fixed);
	n.id_len = be16(fixed + AT_ID_LEN);
	n.name_len = be16(fixed + AT_NAME_LEN);
	n.kept = min_u64(s->extra_len, QCOW2_SNAPSHOT_EXTRA_MAX);
	n.tail_len = n.kept + n.id_len + n.name_len;
	s->len = (uint32_t)(sizeof fixed + n.tail_len);
	*host = round_up(
	    n.host + sizeof fixed + s->extra_len + n.id_len + n.name_len, 8);
	if (!salvage && check_entry(t, &n, s, host_size(f), e))
		return -1;
	return read_tail(f, &n, s, e);
}

/* No more entries are looked for.  What lies past the end of the file reads as
 * zeroes: the count in the header could make any number of snapshots of it. */
static bool has_ended(
    struct hostfile *f, const struct qcow2_snapshot_table *t, uint64_t host)
{
	return t->kept_len >= QCOW2_SNAPSHOTS_LEN_MAX || host >= host_size(f);
}

static int read_table(struct image *img, bool salvage,
    struct qcow2_snapshot_table *t, struct err *e)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t host = h->snapshot_host;

	*t = (struct qcow2_snapshot_table){0};
	if (!h->snapshot_n)
		return 0;
	t->item = calloc(h->snapshot_n, sizeof *t->item);
	if (!t->item)
		return err_nomem(e);
	while (t->n < h->snapshot_n &&
	       !(salvage && has_ended(img->file, t, host))) {
		struct qcow2_snapshot *s = &t->item[t->n++];
		uint64_t at = host;

		s->vm.disk_size = img->size;
		s->at = at - h->snapshot_host;
		if (!read_entry(img->file, salvage, t, s, &host, e)) {
			t->kept_len += round_up(s->len, 8);
			continue;
		}
		if (e->kind == ERR_DAMAGED)
			err_prefix(e,
			    "%s: entry %zu of the snapshot table, at %#" PRIx64
			    ": ",
			    img->file->name, t->n, at);
		qcow2_snapshots_clear(t);
		return -1;
	}
	t->len = host - h->snapshot_host;
	return 0;
}

int qcow2_snapshots_read(
    struct image *img, struct qcow2_snapshot_table *t, struct err *e)
{
	return read_table(img, false, t, e);
}

int qcow2_snapshots_salvage(
    struct image *img, struct qcow2_snapshot_table *t, struct err *e)
{
	return read_table(img, true, t, e);
}

void qcow2_snapshots_clear(struct qcow2_snapshot_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->item[i].vm.id);
		free(t->item[i].vm.name);
	}
	free(t->item);
	*t = (struct qcow2_snapshot_table){0};
}

int qcow2_snapshot_list(
    struct image *img, struct img_snapshot **out, size_t *n, struct err *e)
{
	struct qcow2_snapshot_table t;

	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	*n = 0;
	*out = calloc(t.n + 1, sizeof **out);
	if (!*out) {
		qcow2_snapshots_clear(&t);
		return err_nomem(e);
	}
	for (; *n < t.n; ++*n) /* the strings move over */
		(*out)[*n] = t.item[*n].vm;
	free(t.item);
	return 0;
}

/* ---- choosing one ------------------------------------------------------ */

/* NULL matches everything. */
static const struct qcow2_snapshot *find(
    const struct qcow2_snapshot_table *t, const char *id, const char *name)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct img_snapshot *s = &t->item[i].vm;

		if ((!id || !strcmp(s->id, id)) &&
		    (!name || !strcmp(s->name, name)))
			return &t->item[i];
	}
	return NULL;
}

/* snapshot.id=I,snapshot.name=N: both must match. */
static const struct qcow2_snapshot *find_keys(
    const struct qcow2_snapshot_table *t, const char *which, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	const char *id, *name, *unknown;

	if (!o || options_parse(o, which, NULL, e))
		return NULL;
	id = options_get(o, "snapshot.id");
	name = options_get(o, "snapshot.name");
	unknown = options_unused(o);
	if (unknown) {
		err_usage(e, "Invalid parameter '%s'", unknown);
		return NULL;
	}
	return find(t, id, name);
}

/* An ID goes before a name. */
const struct qcow2_snapshot *qcow2_snapshot_find(
    const struct qcow2_snapshot_table *t, const char *which, struct err *e)
{
	const struct qcow2_snapshot *s;

	if (!strncmp(which, "snapshot.", 9))
		return find_keys(t, which, e);
	s = find(t, which, NULL);
	return s ? s : find(t, NULL, which);
}

int qcow2_snapshot_l1_check(struct image *img, const struct qcow2_snapshot *s,
    uint64_t size, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t need, len = s->l1_n * 8ull;

	if (len > QCOW2_L1_LEN_MAX)
		return err_damaged(e,
		    "%" PRIu32 " entries in the L1 table: must be at most %u",
		    s->l1_n, QCOW2_L1_LEN_MAX / 8);
	if (size > IMG_SIZE_MAX)
		return err_damaged(e,
		    "disk size %" PRIu64 ": must be at most %" PRIu64, size,
		    (uint64_t)IMG_SIZE_MAX);
	qcow2_l1_needed(q, size, &need);
	if (s->l1_n < need)
		return err_damaged(e,
		    "%" PRIu32 " entries in the L1 table: a disk of %" PRIu64
		    " bytes must have at least %" PRIu64,
		    s->l1_n, size, need);
	if (!len)
		return 0;
	if (!s->l1_host || !is_aligned(s->l1_host, q->cluster_len))
		return err_damaged(e,
		    "L1 table at %#" PRIx64 ": must be at a positive "
		    "multiple of %" PRIu32,
		    s->l1_host, q->cluster_len);
	if (!range_ok(s->l1_host, len, host_size(img->file)))
		return err_damaged(e,
		    "L1 table at %#" PRIx64 " has %" PRIu64 " bytes: must "
		    "end within the file's %" PRIu64,
		    s->l1_host, len, host_size(img->file));
	return 0;
}

/* Read-only: the header in memory is never written from here on. */
static int use(struct image *img, const struct qcow2_snapshot *s, struct err *e)
{
	struct qcow2_header *h = &qcow2_of(img)->h;

	if (qcow2_snapshot_l1_check(img, s, s->vm.disk_size, e)) {
		err_prefix(
		    e, "%s: snapshot '%s': ", img->file->name, s->vm.name);
		return -1;
	}
	h->l1_host = s->l1_host;
	h->l1_n = s->l1_n;
	h->size = s->vm.disk_size;
	img->size = s->vm.disk_size;
	return 0;
}

int qcow2_snapshot_select(struct image *img, const char *which, struct err *e)
{
	struct qcow2_snapshot_table t;
	const struct qcow2_snapshot *s;
	int rc;

	if (image_writable(img))
		return err_usage(e, "a snapshot can only be read");
	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	s = qcow2_snapshot_find(&t, which, e);
	rc = s ? use(img, s, e)
	       : err_set(e, ERR_USAGE, ENOENT,
		     "Failed to load snapshot: Can't find snapshot");
	qcow2_snapshots_clear(&t);
	return rc;
}
