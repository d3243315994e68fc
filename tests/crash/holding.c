/* SPDX-License-Identifier: BSD-3-Clause */
/* What an image holds: see holding.h. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "formats/core/units.h"
#include "holding.h"
#include "qcow2raw.h"

/* ---- the model ----------------------------------------------------------- */

static void disk_init(struct holding_disk *d, const char *name, uint64_t size)
{
	*d = (struct holding_disk){.size = size};
	snprintf(d->name, sizeof d->name, "%s", name);
	d->bytes = calloc(1, HOLDING_LEN);
	assert_non_null(d->bytes);
}

static void disk_copy(
    struct holding_disk *to, const struct holding_disk *from, const char *name)
{
	disk_init(to, name, from->size);
	to->vm_len = from->vm_len;
	memcpy(to->bytes, from->bytes, HOLDING_LEN);
}

void holding_init(struct holding *h, uint64_t size)
{
	h->snap_n = 0;
	disk_init(&h->disk, "", size);
}

void holding_free(struct holding *h)
{
	while (h->snap_n)
		holding_forget(h, h->snap_n - 1);
	free(h->disk.bytes);
	h->disk.bytes = NULL;
}

void holding_copy(struct holding *to, const struct holding *from)
{
	holding_free(to);
	disk_copy(&to->disk, &from->disk, "");
	for (; to->snap_n < from->snap_n; to->snap_n++)
		disk_copy(&to->snap[to->snap_n], &from->snap[to->snap_n],
		    from->snap[to->snap_n].name);
}

void holding_snapshot(struct holding *h, const char *name)
{
	struct holding_disk *s = &h->snap[h->snap_n++];

	assert_true(h->snap_n <= HOLDING_MAX);
	disk_copy(s, &h->disk, name);
	/* Only who saves a running machine says that there is VM state. */
	memset(s->bytes + s->size, 0, HOLDING_LEN - s->size);
	s->vm_len = 0;
}

void holding_forget(struct holding *h, size_t i)
{
	free(h->snap[i].bytes);
	memmove(&h->snap[i], &h->snap[i + 1],
	    (--h->snap_n - i) * sizeof h->snap[i]);
}

void holding_apply(struct holding *h, size_t i)
{
	free(h->disk.bytes);
	disk_copy(&h->disk, &h->snap[i], "");
	holding_resize(h, h->disk.size);
}

void holding_resize(struct holding *h, uint64_t size)
{
	uint64_t keep = min_u64(size, h->disk.size);

	h->disk.vm_len = 0;
	h->disk.size = size;
	memset(h->disk.bytes + keep, 0, HOLDING_LEN - keep);
}

/* ---- the image ----------------------------------------------------------- */

/* Host offset of the i-th entry of the snapshot table. */
static uint64_t entry_host(struct hostfile *f, size_t i)
{
	uint64_t host = qcow2raw_get64(f, 64);

	while (i--) {
		uint64_t names = qcow2raw_get64(f, host + 8);
		uint64_t extra = qcow2raw_get64(f, host + 32) & UINT32_MAX;

		host += 40 + extra + (names >> 16 & 0xffff) + (names & 0xffff);
		host = round_up(host, 8);
	}
	return host;
}

static void set_sizes(
    struct hostfile *f, size_t i, uint64_t disk, uint64_t vm_state)
{
	uint64_t host = entry_host(f, i);

	qcow2raw_put64(f, host + 32,
	    (vm_state << 32) | (qcow2raw_get64(f, host + 32) & UINT32_MAX));
	qcow2raw_put64(f, host + 40, vm_state);
	qcow2raw_put64(f, host + 48, disk);
}

void holding_make_vm_state(struct holding *h, struct hostfile *f, uint64_t size)
{
	struct holding_disk *s = &h->snap[0];

	assert_int_equal(h->snap_n, 1);
	s->vm_len = s->size - size;
	s->size = size;
	set_sizes(f, 0, s->size, s->vm_len);
}

static const char *sectors_differ(const uint8_t *got, const uint8_t *want,
    const uint8_t *or_else, uint64_t len, uint64_t *at)
{
	for (*at = 0; *at < len; *at += SECTOR_LEN)
		if (memcmp(got + *at, want + *at, SECTOR_LEN) &&
		    (!or_else || memcmp(got + *at, or_else + *at, SECTOR_LEN)))
			return "is wrong";
	return NULL;
}

/* One disk: the active one, or that of a snapshot with its VM state. */
static const char *disk_differs(const struct holding_disk *d,
    const uint8_t *or_else, uint64_t upto, struct hostfile *f)
{
	const struct img_open how = {.snapshot = *d->name ? d->name : NULL};
	static char why[80];
	struct err e = ERR_INIT;
	struct image *img = img_open_host(host_ref(f), &how, &e);
	CLEANUP_FREE uint8_t *got = malloc(HOLDING_LEN);
	uint64_t len = d->size + d->vm_len, at;

	assert_no_error(&e);
	if (img_size(img) != len) {
		snprintf(why, sizeof why, "disk '%s' has %llu bytes", d->name,
		    (unsigned long long)img_size(img));
		img_drop(img);
		return why;
	}
	assert_ok(img_pread(img, got, len, 0, &e), &e);
	img_drop(img);
	if (!sectors_differ(got, d->bytes, or_else, min_u64(len, upto), &at))
		return NULL;
	snprintf(why, sizeof why, "disk '%s' at %llu", d->name,
	    (unsigned long long)at);
	return why;
}

static const char *list_differs(const struct holding *h, struct hostfile *f)
{
	const struct img_open how = {0};
	const char *why = NULL;
	struct err e = ERR_INIT;
	struct image *img = img_open_host(host_ref(f), &how, &e);
	struct img_snapshot *list;
	size_t n;

	assert_no_error(&e);
	assert_ok(img_snapshots(img, &list, &n, &e), &e);
	if (n != h->snap_n)
		why = "number of snapshots";
	for (size_t i = 0; !why && i < n; i++)
		if (strcmp(list[i].name, h->snap[i].name) ||
		    list[i].disk_size != h->snap[i].size ||
		    list[i].vm_state_size != h->snap[i].vm_len)
			why = "entry of a snapshot";
	img_snapshots_free(list, n);
	img_drop(img);
	return why;
}

const char *holding_differs(const struct holding *h, const uint8_t *or_else,
    uint64_t upto, struct hostfile *f)
{
	const char *why = list_differs(h, f);

	if (!why)
		why = disk_differs(&h->disk, or_else, upto, f);
	for (size_t i = 0; !why && i < h->snap_n; i++) {
		const struct holding_disk *s = &h->snap[i];

		if (s->vm_len)
			set_sizes(f, i, s->size + s->vm_len, 0);
		why = disk_differs(s, NULL, UINT64_MAX, f);
	}
	return why;
}
