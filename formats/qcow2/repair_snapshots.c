/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A damaged snapshot table written anew, for repair.h: entries without all the
 * extra data that they must have get it, from what is said elsewhere, and what
 * is too long loses its end.
 */
#include <stdlib.h>

#include "repair.h"

#define EXTRA_MIN 16u /* VM state size, disk size; of version 3 */
#define EXTRA_AT  36u /* length of the extra data, in the fixed part */

/* Bytes of extra data of the entry as it should be. */
static uint32_t extra_len(const struct check *c, const struct qcow2_snapshot *s)
{
	uint32_t len = s->extra_len;

	if (c->q->h.version >= 3 && len < EXTRA_MIN)
		return EXTRA_MIN;
	return min_u64(len, QCOW2_SNAPSHOT_EXTRA_MAX);
}

static uint32_t kept_len(const struct qcow2_snapshot *s)
{
	return min_u64(s->extra_len, QCOW2_SNAPSHOT_EXTRA_MAX);
}

/* To p, which is zeroes. */
static int pack_entry(
    struct check *c, const struct qcow2_snapshot *s, uint8_t *p, struct err *e)
{
	uint64_t host = c->q->h.snapshot_host + s->at;
	uint32_t kept = kept_len(s), extra = extra_len(c, s);
	uint32_t names = s->len - QCOW2_SNAPSHOT_LEN - kept;
	uint8_t *end = p + QCOW2_SNAPSHOT_LEN + extra;

	if (host_pread(c->img->file, p, QCOW2_SNAPSHOT_LEN + kept, host, e))
		return -1;
	put_be32(p + EXTRA_AT, extra);
	if (extra > kept) {
		put_be64(p + QCOW2_SNAPSHOT_LEN, s->vm.vm_state_size);
		put_be64(p + QCOW2_SNAPSHOT_LEN + 8, s->vm.disk_size);
	}
	host += QCOW2_SNAPSHOT_LEN + s->extra_len;
	return names ? host_pread(c->img->file, end, names, host, e) : 0;
}

static uint8_t *pack(struct check *c, const struct qcow2_snapshot_table *t,
    uint64_t *len, uint32_t *n, struct err *e)
{
	uint8_t *buf = calloc(1, t->kept_len + t->n * (EXTRA_MIN + 8) + 1);

	if (!buf) {
		err_nomem(e);
		return NULL;
	}
	*len = *n = 0;
	for (size_t i = 0; i < t->n; i++) {
		const struct qcow2_snapshot *s = &t->item[i];
		uint32_t now = s->len - kept_len(s) + extra_len(c, s);

		if (round_up(*len + now, 8) > QCOW2_SNAPSHOTS_LEN_MAX)
			break;
		if (pack_entry(c, s, buf + *len, e)) {
			free(buf);
			return NULL;
		}
		*len = round_up(*len + now, 8);
		++*n;
	}
	return buf;
}

uint8_t *repair_snapshots(
    struct check *c, uint64_t *len, uint32_t *n, struct err *e)
{
	struct qcow2_snapshot_table t;
	uint8_t *buf;

	if (qcow2_snapshots_salvage(c->img, &t, e))
		return NULL;
	buf = pack(c, &t, len, n, e);
	qcow2_snapshots_clear(&t);
	return buf;
}
