/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking, applying and deleting internal snapshots.
 *
 * Each has one moment at which it happens: when the header that names new
 * tables is on disk.  Where the active tree stays, and clusters of it get or
 * lose another owner, the header names new counts too, since a copied flag and
 * its count must never disagree.  Elsewhere counts are raised before and
 * lowered after: a crash leaves leaks (I3, I6).
 *
 * The gate is closed and everything is committed when these are called.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../core/packed.h"
#include "qcow2.h"

#define NAME_MAX_LEN 255u
#define EXTRA_LEN    24u /* VM state size, disk size, instruction count */
#define EXTRA_MIN    16u /* of them what version 3 asks for */

/* ---- the snapshot table -----------------------------------------------------
 */

/* A table in memory, as in the file. */
struct raw_table {
	uint8_t *buf;
	uint64_t len;
	uint32_t n;
};

/* An entry gets the extra data that version 3 asks for, and `len` bytes then.
 */
static void complete_entry(
    const struct qcow2_snapshot *s, uint8_t *p, uint32_t *len)
{
	uint8_t *extra = p + QCOW2_SNAPSHOT_LEN;

	*len = s->len;
	if (s->extra_len >= EXTRA_MIN)
		return;
	*len += EXTRA_MIN - s->extra_len;
	memmove(extra + EXTRA_MIN, extra + s->extra_len,
	    s->len - QCOW2_SNAPSHOT_LEN - s->extra_len);
	put_be32(p + 36, EXTRA_MIN);
	put_be64(extra, s->vm.vm_state_size);
	put_be64(extra + 8, s->vm.disk_size);
}

/* The old entries without the one at `skip` (SIZE_MAX: all), and `more` bytes
 * of room behind. */
static int copy_entries(struct image *img, const struct qcow2_snapshot_table *t,
    size_t skip, uint64_t more, struct raw_table *out, struct err *e)
{
	uint64_t table = qcow2_of(img)->h.snapshot_host;

	out->len = 0;
	out->n = 0;
	out->buf = calloc(1, t->len + t->n * EXTRA_MIN + more + 8);
	if (!out->buf)
		return err_nomem(e);
	for (size_t i = 0; i < t->n; i++) {
		const struct qcow2_snapshot *s = &t->item[i];
		uint8_t *p = out->buf + out->len;
		uint32_t len;

		if (i == skip)
			continue;
		if (host_pread(img->file, p, s->len, table + s->at, e))
			return -1;
		complete_entry(s, p, &len);
		out->len = round_up(out->len + len, 8);
		out->n++;
	}
	return 0;
}

static int check_table(
    struct image *img, const struct raw_table *new, struct err *e)
{
	if (new->len <= QCOW2_SNAPSHOTS_LEN_MAX &&new->n <= QCOW2_SNAPSHOTS_MAX)
		return 0;
	return err_set(
	    e, ERR_SYSTEM, EFBIG, "%s: too many snapshots", img->name);
}

/* ---- the change ------------------------------------------------------------
 */

/*
 * From one set of snapshots to another.  The header that makes it so names new
 * counts, a new L1 table and a new snapshot table.
 */
struct change {
	const struct qcow2_snapshot_table *old;
	struct raw_table new;
	uint8_t *l1; /* the active one; free() it */
	uint64_t l1_host, snapshot_l1_host, table_host;
	struct qcow2_counts counts;
	struct qcow2_spare spare; /* for L2 tables */
};

static void change_clear(struct change *c)
{
	free(c->l1);
	free(c->new.buf);
	qcow2_counts_clear(&c->counts);
}

static uint64_t l2_tables(const struct qcow2 *q)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < q->h.l1_n; i++)
		n += qcow2_l1_get(q, i) != 0;
	return n;
}

static int take_space(
    struct image *img, uint64_t len, uint64_t *host, struct err *e)
{
	return len ? qcow2_space_take(img, len, host, e) : 0;
}

/* Nothing has changed yet; where this fails, counts are too high. */
static void give_back(struct image *img, uint64_t host, uint64_t len)
{
	struct err ignored = ERR_INIT;

	if (host)
		qcow2_space_give(img, host, len, &ignored);
}

/* Take all the space that is needed; the counts are apart from here on. */
static int begin(
    struct image *img, struct change *c, bool snapshot_l1, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t l1_len = 8ull * q->h.l1_n;

	c->l1 = qcow2_l1_copy(q, e);
	if (!c->l1)
		return -1;
	if (!take_space(img, l1_len, &c->l1_host, e) &&
	    !take_space(
		img, snapshot_l1 ? l1_len : 0, &c->snapshot_l1_host, e) &&
	    !take_space(img, c->new.len, &c->table_host, e) &&
	    !qcow2_counts_move(img, l2_tables(q), &c->counts, &c->spare, e))
		return 0;
	give_back(img, c->l1_host, l1_len);
	give_back(img, c->snapshot_l1_host, l1_len);
	give_back(img, c->table_host, c->new.len);
	return -1;
}

/* The active tree, which `owners` have now, gets its flags. */
static int fit(
    struct image *img, struct change *c, unsigned owners, struct err *e)
{
	return qcow2_tree_fit(
		   img, c->l1, qcow2_of(img)->h.l1_n, owners, &c->spare, e) ||
		       qcow2_spare_give(img, &c->spare, e)
		   ? -1
		   : 0;
}

/* All is in its place but the header, and the old tables. */
static int finish(struct image *img, struct change *c, struct err *e)
{
	struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t old_l1_host = h->l1_host, old_host = h->snapshot_host;
	uint64_t l1_len = 8ull * h->l1_n;

	if (qcow2_space_put(img, c->l1, l1_len, c->l1_host, e) ||
	    qcow2_space_put(img, c->new.buf, c->new.len, c->table_host, e))
		return -1;
	h->snapshot_host = c->table_host;
	h->snapshot_n = c->new.n;
	if (qcow2_l1_use(img, c->l1_host, h->l1_n, e)) {
		h->snapshot_host = old_host;
		h->snapshot_n = (uint32_t)c->old->n;
		return -1;
	}
	return qcow2_counts_moved(img, &c->counts, e) ||
		       qcow2_space_give(img, old_l1_host, l1_len, e) ||
		       qcow2_space_give(img, old_host, c->old->len, e)
		   ? -1
		   : 0;
}

/* ---- create ----------------------------------------------------------- */

static uint64_t next_id(const struct qcow2_snapshot_table *t)
{
	uint64_t max = 0;

	for (size_t i = 0; i < t->n; i++)
		max = max_u64(max, strtoull(t->item[i].vm.id, NULL, 10));
	return max + 1;
}

/* Where its L1 table is comes later. */
static void put_entry(struct image *img, const struct qcow2_snapshot_table *t,
    const char *name, struct raw_table *out)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;
	uint8_t *p = out->buf + out->len;
	size_t name_len = strnlen(name, NAME_MAX_LEN);
	struct timespec now;
	char id[24];
	size_t id_len = (size_t)snprintf(
	    id, sizeof id, "%llu", (unsigned long long)next_id(t));

	clock_gettime(CLOCK_REALTIME, &now);
	put_be32(p + 8, h->l1_n);
	put_be16(p + 12, (uint16_t)id_len);
	put_be16(p + 14, (uint16_t)name_len);
	put_be32(p + 16, (uint32_t)now.tv_sec);
	put_be32(p + 20, (uint32_t)now.tv_nsec);
	put_be32(p + 36, EXTRA_LEN);
	put_be64(p + 48, img_size(img));
	memcpy(p + QCOW2_SNAPSHOT_LEN + EXTRA_LEN, id, id_len);
	memcpy(p + QCOW2_SNAPSHOT_LEN + EXTRA_LEN + id_len, name, name_len);
	out->len += QCOW2_SNAPSHOT_LEN + EXTRA_LEN + id_len + name_len;
	out->n++;
}

/* Could the tree have one more owner? */
static int check_counts(struct image *img, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint8_t *l1 = qcow2_l1_copy(q, e);

	return l1 ? qcow2_tree_count(img, l1, q->h.l1_n, 0, e) : -1;
}

/* Both have the same tables: nothing in them is the active one's alone. */
static int create_with(
    struct image *img, struct change *c, const char *name, struct err *e)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t room = QCOW2_SNAPSHOT_LEN + EXTRA_LEN + 24 + NAME_MAX_LEN, at;

	/* Counts of less than 16 bits overflow soon: look before a change. */
	if ((h->refcount_order < 4 && check_counts(img, e)) ||
	    copy_entries(img, c->old, SIZE_MAX, room, &c->new, e))
		return -1;
	at = c->new.len;
	put_entry(img, c->old, name, &c->new);
	if (check_table(img, &c->new, e) || begin(img, c, true, e))
		return -1;
	put_be64(c->new.buf + at, c->snapshot_l1_host);
	return qcow2_tree_count(img, c->l1, h->l1_n, 1, e) ||
		       fit(img, c, 2, e) ||
		       qcow2_space_put(img, c->l1, 8ull * h->l1_n,
			   c->snapshot_l1_host, e) ||
		       finish(img, c, e)
		   ? image_fail(img, e)
		   : 0;
}

static int create(struct image *img, const char *name, struct err *e)
{
	struct qcow2_snapshot_table t;
	struct change c = {.old = &t};
	int rc;

	if (qcow2_of(img)->h.incompatible & QCOW2_I_DATA_FILE)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "%s: an image with an external data file cannot have "
		    "snapshots",
		    img->name);
	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	rc = create_with(img, &c, name, e);
	change_clear(&c);
	qcow2_snapshots_clear(&t);
	return rc;
}

/* ---- delete ----------------------------------------------------------- */

uint8_t *qcow2_snapshot_l1(
    struct image *img, const struct qcow2_snapshot *s, struct err *e)
{
	uint8_t *l1 = NULL;

	if (qcow2_snapshot_l1_check(img, s, s->vm.disk_size, e)) {
		err_prefix(e, "%s: snapshot '%s': ", img->name, s->vm.name);
		return NULL;
	}
	l1 = malloc(8ull * s->l1_n + 1);
	if (!l1)
		err_nomem(e);
	else if (s->l1_n &&
		 host_pread(img->file, l1, 8ull * s->l1_n, s->l1_host, e)) {
		free(l1);
		l1 = NULL;
	}
	return l1;
}

static int delete_with(
    struct image *img, struct change *c, size_t which, struct err *e)
{
	const struct qcow2_snapshot *s = &c->old->item[which];
	CLEANUP_FREE uint8_t *l1 = qcow2_snapshot_l1(img, s, e);

	if (!l1 || copy_entries(img, c->old, which, 0, &c->new, e) ||
	    begin(img, c, false, e))
		return -1;
	if (qcow2_tree_count(img, l1, s->l1_n, -1, e) || fit(img, c, 1, e) ||
	    finish(img, c, e) ||
	    qcow2_space_give(img, s->l1_host, 8ull * s->l1_n, e))
		return image_fail(img, e);
	/* The bytes of freed clusters may get another meaning. */
	packed_forget(img->packed, 0, UINT64_MAX);
	return 0;
}

static size_t find_to_delete(
    const struct qcow2_snapshot_table *t, const char *which)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->item[i].vm.name, which))
			return i;
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->item[i].vm.id, which))
			return i;
	return SIZE_MAX;
}

static int delete (struct image *img, const char *which, struct err *e)
{
	struct qcow2_snapshot_table t;
	struct change c = {.old = &t};
	size_t i;
	int rc;

	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	i = find_to_delete(&t, which);
	rc = i == SIZE_MAX ? err_set(e, ERR_USAGE, ENOENT, "snapshot not found")
			   : delete_with(img, &c, i, e);
	change_clear(&c);
	qcow2_snapshots_clear(&t);
	return rc;
}

/* ---- apply ------------------------------------------------------------ */

static int apply(struct image *img, const char *which, struct err *e)
{
	struct qcow2_snapshot_table t;
	const struct qcow2_snapshot *s;
	struct qcow2_l1_state old = qcow2_l1_active(img, e), new = {0};
	int rc = -1;

	if (!old.entries || qcow2_snapshots_read(img, &t, e)) {
		free(old.entries);
		return -1;
	}
	s = qcow2_snapshot_find(&t, which, e);
	if (s) {
		new.n = s->l1_n;
		new.size = s->vm.disk_size;
		new.entries = qcow2_snapshot_l1(img, s, e);
	} else {
		err_set(e, ERR_USAGE, ENOENT, "Can't find snapshot");
	}
	if (new.entries) {
		rc = qcow2_l1_switch(img, &old, &new, e);
		if (rc)
			image_fail(img, e);
	}
	free(old.entries);
	free(new.entries);
	qcow2_snapshots_clear(&t);
	return rc;
}

/* ---- version 3 ------------------------------------------------------------
 */

static bool all_complete(const struct qcow2_snapshot_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->item[i].extra_len < EXTRA_MIN)
			return false;
	return true;
}

static int use_table(struct image *img, const struct qcow2_snapshot_table *old,
    const struct raw_table *new, struct err *e)
{
	struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t old_host = h->snapshot_host, host;

	if (check_table(img, new, e) ||
	    qcow2_space_write(img, new->buf, new->len, &host, e))
		return -1;
	h->snapshot_host = host;
	if (qcow2_header_switch(img, e)) {
		h->snapshot_host = old_host;
		return image_fail(img, e);
	}
	return qcow2_space_give(img, old_host, old->len, e);
}

int qcow2_snapshots_complete(struct image *img, struct err *e)
{
	struct qcow2_snapshot_table t;
	struct raw_table new = {0};
	int rc;

	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	rc =
	    all_complete(&t) || (!copy_entries(img, &t, SIZE_MAX, 0, &new, e) &&
				    !use_table(img, &t, &new, e))
		? 0
		: -1;
	free(new.buf);
	qcow2_snapshots_clear(&t);
	return rc;
}

const struct snapshot_ops qcow2_snapshots = {
    .list = qcow2_snapshot_list,
    .create = create,
    .apply = apply,
    .delete = delete,
};
