/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of snapshots: see snapshots.h.  Times of day are local; scripts know
 * the columns and the order of the members.
 */
#include "snapshots.h"

#include <inttypes.h>
#include <time.h>

#include "out.h"

#define NSEC_PER_SEC 1000000000ull

static void print_row(FILE *f, const struct img_snapshot *s)
{
	char size[OUT_SIZE_LEN], date[32] = "", clock[40], icount[24] = "--";
	uint64_t ms = s->vm_clock_ns / 1000000, sec = ms / 1000;
	time_t when = s->date_sec;
	struct tm tm;

	if (localtime_r(&when, &tm))
		strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(clock, sizeof clock,
	    "%04" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64, sec / 3600,
	    sec / 60 % 60, sec % 60, ms % 1000);
	if (s->icount >= 0)
		snprintf(icount, sizeof icount, "%" PRId64, s->icount);
	fprintf(f, "%-7s %-16s %8s %19s %15s %10s\n", s->id, s->name,
	    out_size(size, s->vm_state_size), date, clock, icount);
}

void snapshots_table(FILE *f, const struct img_snapshot *list, size_t n)
{
	if (!n)
		return;
	fprintf(f, "Snapshot list:\n%-7s %-16s %8s %19s %15s %10s\n", "ID",
	    "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT");
	for (size_t i = 0; i < n; i++)
		print_row(f, &list[i]);
}

void snapshots_json(struct jout *w, const struct img_snapshot *list, size_t n)
{
	if (!n)
		return;
	jout_begin(w, "snapshots", '[');
	for (const struct img_snapshot *s = list; s < list + n; s++) {
		jout_begin(w, NULL, '{');
		if (s->icount >= 0)
			jout_i64(w, "icount", s->icount);
		jout_u64(w, "vm-clock-nsec", s->vm_clock_ns % NSEC_PER_SEC);
		jout_text(w, "name", s->name);
		jout_u64(w, "date-sec", s->date_sec);
		jout_u64(w, "date-nsec", s->date_nsec);
		jout_u64(w, "vm-clock-sec", s->vm_clock_ns / NSEC_PER_SEC);
		jout_text(w, "id", s->id);
		jout_u64(w, "vm-state-size", s->vm_state_size);
		jout_end(w, '}');
	}
	jout_end(w, ']');
}
