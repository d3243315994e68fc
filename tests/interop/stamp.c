/* SPDX-License-Identifier: BSD-3-Clause */
/* See stamp.h. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/core/units.h"
#include "stamp.h"

#define NO_OP UINT32_MAX

static void *must(void *p)
{
	if (!p)
		errx(2, "out of memory");
	return p;
}

static struct stamp_model *model_new(uint32_t sectors_n)
{
	struct stamp_model *m = must(calloc(1, sizeof(*m)));

	m->sectors_n = sectors_n;
	m->last = must(malloc(sectors_n * sizeof(*m->last)));
	memset(m->last, 0xff, sectors_n * sizeof(*m->last));
	return m;
}

struct stamp_model *stamp_new(uint32_t sectors_n, enum stamp_kind kind)
{
	struct stamp_model *m = model_new(sectors_n);

	stamp_acked(m, stamp_add(m, kind, false, 0, sectors_n));
	stamp_flushed(m, m->acks_n);
	return m;
}

void stamp_free(struct stamp_model *m)
{
	for (uint32_t i = 0; i < m->ops_n; i++)
		free(m->ops[i].prev);
	free(m->ops);
	free(m->last);
	free(m);
}

uint32_t stamp_add(struct stamp_model *m, enum stamp_kind kind, bool fua,
    uint32_t first, uint32_t n)
{
	size_t prev_len = n * sizeof(uint32_t);
	uint32_t ix = m->ops_n++;
	struct stamp_op *op;

	if (m->ops_n > m->ops_max) {
		m->ops_max = m->ops_max * 2 + 1024;
		m->ops =
		    must(reallocarray(m->ops, m->ops_max, sizeof(*m->ops)));
	}
	op = &m->ops[ix];
	*op =
	    (struct stamp_op){.kind = kind, .fua = fua, .first = first, .n = n};
	op->prev = must(malloc(prev_len));
	memcpy(op->prev, m->last + first, prev_len);
	for (uint32_t i = 0; i < n; i++)
		m->last[first + i] = ix;
	return ix;
}

void stamp_acked(struct stamp_model *m, uint32_t op_ix)
{
	m->ops[op_ix].ack = ++m->acks_n;
}

void stamp_flushed(struct stamp_model *m, uint32_t ack)
{
	if (ack > m->durable)
		m->durable = ack;
}

void stamp_crashed(struct stamp_model *m)
{
	for (uint32_t i = 0; i < m->ops_n; i++) {
		struct stamp_op *op = &m->ops[i];

		if (!op->fua && op->ack > m->durable)
			op->ack = 0;
	}
}

void stamp_save(const struct stamp_model *m, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		err(2, "%s", path);
	fprintf(f, "%" PRIu32 " %" PRIu32 " %" PRIu32 "\n", m->sectors_n,
	    m->acks_n, m->durable);
	for (uint32_t i = 0; i < m->ops_n; i++) {
		const struct stamp_op *op = &m->ops[i];

		fprintf(f, "%c %d %" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
		    (char)op->kind, op->fua, op->first, op->n, op->ack);
	}
	if (fclose(f) != 0)
		err(2, "%s", path);
}

struct stamp_model *stamp_load(const char *path)
{
	FILE *f = fopen(path, "r");
	uint32_t sectors_n, acks_n, durable, first, n, ack, ix;
	struct stamp_model *m;
	char kind;
	int fua;

	if (!f)
		err(2, "%s", path);
	if (fscanf(f, "%" SCNu32 "%" SCNu32 "%" SCNu32, &sectors_n, &acks_n,
		&durable) != 3)
		errx(2, "%s: not a model", path);
	m = model_new(sectors_n);
	m->acks_n = acks_n;
	m->durable = durable;
	while (fscanf(f, " %c %d %" SCNu32 " %" SCNu32 " %" SCNu32, &kind, &fua,
		   &first, &n, &ack) == 5) {
		ix = stamp_add(m, (enum stamp_kind)kind, fua, first, n);
		m->ops[ix].ack = ack;
	}
	fclose(f);
	return m;
}

void stamp_fill(uint8_t *buf, uint32_t op_ix, uint32_t sector)
{
	for (unsigned i = 0; i < SECTOR; i += 8) {
		put_be32(buf + i, op_ix + 1);
		put_be32(buf + i + 4, sector);
	}
}

/* The value that op_ix left in the sector. */
static bool holds(const struct stamp_model *m, uint32_t op_ix,
    const uint8_t *buf, uint32_t sector)
{
	uint8_t want[SECTOR] = {0};

	if (m->ops[op_ix].kind == STAMP_WRITE)
		stamp_fill(want, op_ix, sector);
	return memcmp(buf, want, SECTOR) == 0;
}

bool stamp_check(
    const struct stamp_model *m, const uint8_t *buf, uint32_t sector)
{
	const struct stamp_op *op;
	uint32_t ix = m->last[sector];

	for (; ix != NO_OP; ix = op->prev[sector - op->first]) {
		op = &m->ops[ix];
		if (holds(m, ix, buf, sector))
			return true;
		if (op->ack && op->kind != STAMP_TRIM)
			break;
	}
	fprintf(stderr,
	    "sector %" PRIu32 ": holds request %" PRId64 " for sector %" PRIu32
	    "; final is request %" PRIu32 "\n",
	    sector, (int64_t)be32(buf) - 1, be32(buf + 4), ix);
	return false;
}
