/* SPDX-License-Identifier: BSD-3-Clause */
/* The check of formats that are only read: see readcheck.h. */
#include <stdio.h>
#include <stdlib.h>

#include "map.h"
#include "read.h"
#include "readcheck.h"

#define LINE_LEN 2200u /* a message, and what stands before it */
#define STEP_MAX (4 * MiB)
/* Of a disk of holes, between two looks at whether to stop. */
#define MAP_LEN_MIN GiB
#define MAPS_N	    4096u

void readcheck_report(struct readcheck *c, const char *fmt, ...)
{
	char line[LINE_LEN];
	va_list ap;

	c->out->corruptions++;
	if (!c->report || c->errors_only)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	c->report(c->arg, line);
}

void readcheck_found(struct readcheck *c, const struct err *one)
{
	if (one->kind == ERR_DAMAGED) {
		readcheck_report(c, "ERROR: %s", one->msg);
		return;
	}
	c->out->check_errors++;
	if (c->report)
		c->report(c->arg, one->msg);
}

/* Does the packed unit of `x` unpack?  A long one is read in steps. */
static int try_unit(struct readcheck *c, const struct extent *x, struct err *e)
{
	struct err one = ERR_INIT;
	uint64_t step = min_u64(x->len, STEP_MAX), n;
	uint8_t *buf = malloc(step);

	if (!buf)
		return err_nomem(e);
	for (uint64_t at = 0; at < x->len && !err_is_set(&one); at += n) {
		n = min_u64(step, x->len - at);
		if (read_range(c->img, buf, n, x->guest + at, &one))
			readcheck_found(c, &one);
	}
	free(buf);
	return 0;
}

/* Look at what is at `guest`: *len bytes. */
static int look(
    struct readcheck *c, uint64_t guest, uint64_t *len, struct err *e)
{
	struct err one = ERR_INIT;
	struct extent x;

	if (layer_map(c->img, guest, *len, &x, &one)) {
		readcheck_found(c, &one);
		*len = min_u64(*len, c->step - guest % c->step);
		return 0;
	}
	*len = x.len;
	return x.kind == EXT_PACKED ? try_unit(c, &x, e) : 0;
}

int readcheck_run(struct readcheck *c, struct err *e)
{
	uint64_t size = img_size(c->img), len;
	uint64_t most = max_u64(MAP_LEN_MIN, size / MAPS_N);

	image_work_begin(c->img, size);
	for (uint64_t guest = 0; guest < size; guest += len) {
		len = min_u64(size - guest, most);
		if (look(c, guest, &len, e) || image_work(c->img, len, e))
			return -1;
	}
	return 0;
}
