/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking, applying and deleting internal snapshots.
 *
 * Each has one moment at which it happens: when the header that names the new
 * snapshot table, or the new L1 table, is on disk.  Before it, counts are only
 * raised; after it, they are lowered: a crash leaves leaks (I3, I6).
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

/* ---- the snapshot table -----------------------------------------------------
 */

/* A table in memory, as in the file. */
struct raw_table {
	uint8_t *buf;
	uint64_t len;
	uint32_t n;
};

/* The old entries without the one at `skip` (SIZE_MAX: all), and `more` bytes
 * of room behind. */
static int copy_entries(struct image *img, const struct qcow2_snapshot_table *t,
    size_t skip, uint64_t more, struct raw_table *out, struct err *e)
{
	uint64_t table = qcow2_of(img)->h.snapshot_host;

	out->len = 0;
	out->n = 0;
	out->buf = calloc(1, t->len + more + 8);
	if (!out->buf)
		return err_nomem(e);
	for (size_t i = 0; i < t->n; i++) {
		const struct qcow2_snapshot *s = &t->item[i];

		if (i == skip)
			continue;
		if (host_pread(img->file, out->buf + out->len, s->len,
			table + s->at, e))
			return -1;
		out->len = round_up(out->len + s->len, 8);
		out->n++;
	}
	return 0;
}

/* Make `new` the snapshot table; the old one is given back. */
static int replace_table(struct image *img,
    const struct qcow2_snapshot_table *old, const struct raw_table *new,
    struct err *e)
{
	struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t old_host = h->snapshot_host, host;

	if (new->len > QCOW2_SNAPSHOTS_LEN_MAX || new->n > QCOW2_SNAPSHOTS_MAX)
		return err_set(
		    e, ERR_SYSTEM, EFBIG, "%s: too many snapshots", img->name);
	if (qcow2_space_write(img, new->buf, new->len, &host, e))
		return -1;
	h->snapshot_host = host;
	h->snapshot_n = new->n;
	if (qcow2_header_switch(img, e))
		return image_fail(img, e);
	return qcow2_space_give(img, old_host, old->len, e);
}

/* ---- create
 * ------------------------------------------------------------------ */

static uint64_t next_id(const struct qcow2_snapshot_table *t)
{
	uint64_t max = 0;

	for (size_t i = 0; i < t->n; i++)
		max = max_u64(max, strtoull(t->item[i].vm.id, NULL, 10));
	return max + 1;
}

static void put_entry(struct image *img, const struct qcow2_snapshot_table *t,
    const char *name, uint64_t l1_host, struct raw_table *out)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;
	uint8_t *p = out->buf + out->len;
	size_t name_len = strnlen(name, NAME_MAX_LEN);
	struct timespec now;
	char id[24];
	size_t id_len = (size_t)snprintf(
	    id, sizeof id, "%llu", (unsigned long long)next_id(t));

	clock_gettime(CLOCK_REALTIME, &now);
	put_be64(p, l1_host);
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

/* A copy of the active L1 table, as a snapshot has it: nothing in it is ours
 * alone. */
static int copy_l1(struct image *img, uint64_t *host, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint8_t *l1 = qcow2_l1_copy(q, e);

	if (!l1)
		return -1;
	for (uint32_t i = 0; i < q->h.l1_n; i++)
		put_be64(l1 + i * 8ull, be64(l1 + i * 8ull) & ~QCOW2_COPIED);
	return qcow2_space_write(img, l1, 8ull * q->h.l1_n, host, e);
}

static int raise_active(struct image *img, int delta, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint8_t *l1 = qcow2_l1_copy(q, e);

	return l1 ? qcow2_tree_count(img, l1, q->h.l1_n, delta, e) : -1;
}

static int create_with(struct image *img, const struct qcow2_snapshot_table *t,
    const char *name, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct raw_table new = {0};
	uint64_t l1_host;
	int rc;

	/* Counts of less than 16 bits overflow soon: look before a change. */
	if (qcow2_of(img)->h.refcount_order < 4 && raise_active(img, 0, e))
		return -1;
	rc = copy_entries(img, t, SIZE_MAX,
	    QCOW2_SNAPSHOT_LEN + EXTRA_LEN + 24 + NAME_MAX_LEN, &new, e);
	buf = new.buf;
	if (rc)
		return -1;
	/* From here on a failure leaves counts too high. */
	if (raise_active(img, 1, e) || qcow2_tree_fix_copied(img, e) ||
	    copy_l1(img, &l1_host, e))
		return image_fail(img, e);
	put_entry(img, t, name, l1_host, &new);
	return replace_table(img, t, &new, e) ? image_fail(img, e) : 0;
}

static int create(struct image *img, const char *name, struct err *e)
{
	struct qcow2_snapshot_table t;
	int rc;

	if (qcow2_of(img)->h.incompatible & QCOW2_I_DATA_FILE)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "%s: an image with an external data file cannot have "
		    "snapshots",
		    img->name);
	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	rc = create_with(img, &t, name, e);
	qcow2_snapshots_clear(&t);
	return rc;
}

/* ---- delete
 * ------------------------------------------------------------------- */

static uint8_t *read_l1(
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

static int delete_with(struct image *img, const struct qcow2_snapshot_table *t,
    size_t which, struct err *e)
{
	const struct qcow2_snapshot *s = &t->item[which];
	CLEANUP_FREE uint8_t *l1 = read_l1(img, s, e), *buf = NULL;
	struct raw_table new = {0};
	int rc;

	if (!l1)
		return -1;
	rc = copy_entries(img, t, which, 0, &new, e);
	buf = new.buf;
	if (rc)
		return -1;
	/* From here on a failure leaves counts too high. */
	if (replace_table(img, t, &new, e) ||
	    qcow2_tree_count(img, l1, s->l1_n, -1, e) ||
	    qcow2_space_give(img, s->l1_host, 8ull * s->l1_n, e))
		return image_fail(img, e);
	/* The bytes of freed clusters may get another meaning. */
	packed_forget(img->packed, 0, UINT64_MAX);
	return qcow2_tree_fix_copied(img, e) ? image_fail(img, e) : 0;
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
	size_t i;
	int rc;

	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	i = find_to_delete(&t, which);
	rc = i == SIZE_MAX ? err_set(e, ERR_USAGE, ENOENT, "snapshot not found")
			   : delete_with(img, &t, i, e);
	qcow2_snapshots_clear(&t);
	return rc;
}

/* ---- apply
 * -------------------------------------------------------------------- */

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
		new.entries = read_l1(img, s, e);
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

const struct snapshot_ops qcow2_snapshots = {
    .list = qcow2_snapshot_list,
    .create = create,
    .apply = apply,
    .delete = delete,
};
