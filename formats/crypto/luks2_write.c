/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing both copies of a LUKS2 header: see luks2.h.
 *
 * The copy that was not read goes first, with the next sequence number, and is
 * durable before the other one is touched: a write that is torn leaves that
 * one, with what it said before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/units.h"
#include "hash.h"
#include "luks2.h"

static int pack(const struct luks2 *v, bool second, const char *text,
    uint8_t *p, struct err *e)
{
	uint8_t sum[HASH_LEN_MAX];
	size_t sum_len;

	memcpy(p, v->bin, LUKS2_BIN_LEN);
	memcpy(p, second ? LUKS2_SECOND_MAGIC : LUKS_MAGIC, LUKS_MAGIC_LEN);
	put_be16(p + LUKS_MAGIC_LEN, 2);
	put_be64(p + LUKS2_LEN_AT, v->len);
	put_be64(p + LUKS2_SEQID_AT, v->seqid);
	put_be64(p + LUKS2_OFFSET_AT, second ? v->len : 0);
	if (random_bytes(p + LUKS2_SALT_AT, LUKS2_SALT_LEN, e))
		return -1;
	memset(p + LUKS2_SUM_AT, 0, LUKS2_SUM_LEN);
	strcpy((char *)p + LUKS2_BIN_LEN, text);
	sum_len = luks2_sum(p, v->len, sum);
	memcpy(p + LUKS2_SUM_AT, sum, sum_len);
	return 0;
}

static int write_copy(
    struct luks *l, bool second, const char *text, struct err *e)
{
	const struct luks2 *v = l->v2;
	uint8_t *p = calloc(1, v->len);
	uint64_t at = l->host + (second ? v->len : 0);
	int rc;

	if (!p)
		return err_nomem(e);
	rc = pack(v, second, text, p, e) ||
		     host_pwrite(l->file, p, v->len, at, e) ||
		     host_sync(l->file, e)
		 ? -1
		 : 0;
	free(p);
	return rc;
}

static int write_both(struct luks *l, const char *text, struct err *e)
{
	struct luks2 *v = l->v2;

	if (strlen(text) >= v->len - LUKS2_BIN_LEN)
		return err_set(e, ERR_USAGE, ENOSPC,
		    "%s: LUKS2 metadata has %zu bytes: there is room for %llu",
		    l->name, strlen(text),
		    (unsigned long long)(v->len - LUKS2_BIN_LEN - 1));
	if (v->seqid == UINT64_MAX)
		return err_damaged(e,
		    "%s: LUKS2 header: the sequence number is the last one",
		    l->name);
	v->seqid++;
	return write_copy(l, !v->second, text, e) ||
		       write_copy(l, v->second, text, e)
		   ? -1
		   : 0;
}

int luks2_write(struct luks *l, struct err *e)
{
	char *text = json_dumps(l->v2->root, JSON_COMPACT);
	int rc = text ? write_both(l, text, e) : err_nomem(e);

	free(text);
	return rc;
}
