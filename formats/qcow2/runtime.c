/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options that an image is opened with.
 *
 * Those that only tune another program's caches and checks are accepted, so
 * that its command lines work, and checked like there: our caches have one
 * size together, and metadata overlaps are looked for in every case.
 */
#include <stdio.h>

#include "qcow2.h"

#define CACHE_LEN_DEFAULT (16u * MiB)
#define CACHE_LEN_MIN	  (1u * MiB)
#define CACHE_LEN_MAX	  (1u * GiB)

/* Do these sizes of caches go together? */
static int check_caches(const struct options *o, uint64_t total, uint64_t l2,
    uint64_t counts, struct err *e)
{
	if (!options_has(o, "cache-size"))
		return 0;
	if (options_has(o, "l2-cache-size") &&
	    options_has(o, "refcount-cache-size"))
		return err_usage(e,
		    "cache-size, l2-cache-size and refcount-cache-size may not "
		    "be set at the same time");
	if (l2 > total)
		return err_usage(e, "l2-cache-size may not exceed cache-size");
	if (counts > total)
		return err_usage(
		    e, "refcount-cache-size may not exceed cache-size");
	return 0;
}

/* Sizes of caches: the sum is ours. */
static int read_caches(struct qcow2 *q, struct options *o, struct err *e)
{
	uint64_t total = 0, l2 = 0, counts = 0, interval = 0, entry = 0;

	if (options_size(o, "cache-size", &total, e) < 0 ||
	    options_size(o, "l2-cache-size", &l2, e) < 0 ||
	    options_size(o, "refcount-cache-size", &counts, e) < 0 ||
	    options_u64(o, "cache-clean-interval", &interval, e) < 0 ||
	    options_size(o, "l2-cache-entry-size", &entry, e) < 0 ||
	    check_caches(o, total, l2, counts, e))
		return -1;
	if (interval > UINT32_MAX)
		return err_usage(e, "Cache clean interval too big");
	if (entry &&
	    (!is_pow2(entry) || entry < SECTOR_LEN || entry > q->cluster_len))
		return err_usage(e,
		    "L2 cache entry size must be a power of two between 512 "
		    "and the cluster size (%u)",
		    q->cluster_len);
	if (!add_ok(l2, counts, &l2))
		l2 = UINT64_MAX;
	total = max_u64(total, l2);
	q->cache_len =
	    total ? min_u64(max_u64(total, CACHE_LEN_MIN), CACHE_LEN_MAX)
		  : CACHE_LEN_DEFAULT;
	return 0;
}

static int read_overlap_check(struct options *o, struct err *e)
{
	static const char *const modes[] = {
	    "none", "constant", "cached", "all", NULL};
	static const char *const keys[] = {
	    "overlap-check", "overlap-check.template", NULL};
	static const char *const items[] = {"main-header", "active-l1",
	    "active-l2", "refcount-table", "refcount-block", "snapshot-table",
	    "inactive-l1", "inactive-l2", "bitmap-directory", NULL};

	for (unsigned k = 0; keys[k]; k++) {
		const char *mode = options_get(o, keys[k]);
		unsigned i = 0;

		while (mode && modes[i] && strcmp(mode, modes[i]))
			i++;
		if (mode && !modes[i])
			return err_usage(e,
			    "Unsupported value '%s' for qcow2 option "
			    "'overlap-check'. Allowed are any of the "
			    "following: none, constant, cached, all",
			    mode);
	}
	for (unsigned i = 0; items[i]; i++) {
		char key[64];
		bool ignored;

		snprintf(key, sizeof key, "overlap-check.%s", items[i]);
		if (options_bool(o, key, &ignored, e) < 0)
			return -1;
	}
	return 0;
}

int qcow2_runtime_read(struct qcow2 *q, struct options *o, struct err *e)
{
	bool ignored;

	q->pass_discard = true;
	if (options_bool(o, "pass-discard-request", &q->pass_discard, e) < 0 ||
	    options_bool(o, "discard-no-unref", &q->keep_space, e) < 0 ||
	    options_bool(o, "pass-discard-snapshot", &ignored, e) < 0 ||
	    options_bool(o, "pass-discard-other", &ignored, e) < 0 ||
	    options_bool(o, "lazy-refcounts", &ignored, e) < 0)
		return -1;
	return read_caches(q, o, e) || read_overlap_check(o, e) ? -1 : 0;
}
