/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host file in memory: pages that were written, in an array sorted by page
 * index; what has no page reads as zeroes.
 *
 * Invariant: bytes of a page past the end of the file are zero.
 * Lock: `lock` covers the array and the pages, shared for reading.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/lock.h"
#include "../core/units.h"
#include "hostfile.h"
#include "iov.h"

#define PAGE_LEN 65536u

struct page {
	uint64_t page_ix; /* byte offset / PAGE_LEN */
	uint8_t *data;
};

struct memory {
	struct rwlock lock;
	struct page *page; /* page_n of page_max slots */
	size_t page_n, page_max;
};

/* The first slot whose page index is not below page_ix. */
static size_t find(const struct memory *m, uint64_t page_ix)
    REQUIRES_SHARED(&m->lock)
{
	size_t low = 0, high = m->page_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->page[mid].page_ix < page_ix)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_page(const struct memory *m, size_t slot, uint64_t page_ix)
    REQUIRES_SHARED(&m->lock)
{
	return slot < m->page_n && m->page[slot].page_ix == page_ix;
}

static int add_slot(struct memory *m) REQUIRES(&m->lock)
{
	size_t max = m->page_max ? 2 * m->page_max : 16;
	struct page *p;

	if (m->page_n < m->page_max)
		return 0;
	p = reallocarray(m->page, max, sizeof *p);
	if (!p)
		return ENOMEM;
	m->page = p;
	m->page_max = max;
	return 0;
}

/* The data of a page, made if it is not there; NULL: out of memory. */
static uint8_t *get_page(struct memory *m, uint64_t page_ix) REQUIRES(&m->lock)
{
	size_t slot = find(m, page_ix);
	uint8_t *data;

	if (is_page(m, slot, page_ix))
		return m->page[slot].data;
	data = calloc(1, PAGE_LEN);
	if (!data || add_slot(m)) {
		free(data);
		return NULL;
	}
	memmove(&m->page[slot + 1], &m->page[slot],
	    (m->page_n - slot) * sizeof m->page[0]);
	m->page[slot].page_ix = page_ix;
	m->page[slot].data = data;
	m->page_n++;
	return data;
}

/* Free the pages of slots [from, to). */
static void drop_pages(struct memory *m, size_t from, size_t to)
    REQUIRES(&m->lock)
{
	if (from >= to)
		return;
	for (size_t slot = from; slot < to; slot++)
		free(m->page[slot].data);
	memmove(
	    &m->page[from], &m->page[to], (m->page_n - to) * sizeof m->page[0]);
	m->page_n -= to - from;
}

static int memory_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	struct memory *m = f->priv;
	struct iov_walk w = {iov, n, 0};
	uint8_t *piece;

	(void)e;
	rwlock_shared(&m->lock);
	for (size_t len;
	     (len = iov_next(&w, PAGE_LEN - off % PAGE_LEN, &piece));
	     off += len) {
		size_t slot = find(m, off / PAGE_LEN);

		if (is_page(m, slot, off / PAGE_LEN))
			memcpy(piece, m->page[slot].data + off % PAGE_LEN, len);
		else
			memset(piece, 0, len);
	}
	rwlock_shared_end(&m->lock);
	return 0;
}

static int memory_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	struct memory *m = f->priv;
	struct iov_walk w = {iov, n, 0};
	uint8_t *piece;
	int rc = 0;

	rwlock_excl(&m->lock);
	for (size_t len;
	     !rc && (len = iov_next(&w, PAGE_LEN - off % PAGE_LEN, &piece));
	     off += len) {
		uint8_t *data = get_page(m, off / PAGE_LEN);

		if (data)
			memcpy(data + off % PAGE_LEN, piece, len);
		else
			rc = err_nomem(e);
	}
	rwlock_excl_end(&m->lock);
	return rc;
}

static int memory_sync(struct hostfile *f, struct err *e)
{
	(void)f;
	(void)e;
	return 0;
}

/* Bytes [off, end) within one page, if there is such a page. */
static void clear_part(struct memory *m, uint64_t off, uint64_t end)
    REQUIRES(&m->lock)
{
	size_t slot = find(m, off / PAGE_LEN);

	if (off < end && is_page(m, slot, off / PAGE_LEN))
		memset(m->page[slot].data + off % PAGE_LEN, 0, end - off);
}

/* Bytes [off, end) become zero; whole pages are freed. */
static void clear(struct memory *m, uint64_t off, uint64_t end)
    REQUIRES(&m->lock)
{
	uint64_t head = min_u64(end, round_up(off, PAGE_LEN));
	uint64_t tail = max_u64(head, round_down(end, PAGE_LEN));

	clear_part(m, off, head);
	drop_pages(
	    m, find(m, div_up(head, PAGE_LEN)), find(m, tail / PAGE_LEN));
	clear_part(m, tail, end);
}

static int memory_punch(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	struct memory *m = f->priv;

	(void)e;
	rwlock_excl(&m->lock);
	clear(m, off, off + len);
	rwlock_excl_end(&m->lock);
	return 1;
}

static int memory_truncate(struct hostfile *f, uint64_t size, struct err *e)
{
	return memory_punch(f, size, (uint64_t)INT64_MAX - size, e) < 0;
}

static int memory_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	struct memory *m = f->priv;
	uint64_t page_ix = off / PAGE_LEN, last_ix = (off + len - 1) / PAGE_LEN;
	size_t slot;

	(void)e;
	rwlock_shared(&m->lock);
	slot = find(m, page_ix);
	x->hole = !is_page(m, slot, page_ix);
	if (x->hole)
		page_ix =
		    slot < m->page_n ? m->page[slot].page_ix : last_ix + 1;
	while (!x->hole && page_ix <= last_ix && is_page(m, slot, page_ix)) {
		page_ix++;
		slot++;
	}
	rwlock_shared_end(&m->lock);
	x->len = min_u64(len, page_ix * PAGE_LEN - off);
	return 0;
}

static int64_t memory_disk_len(struct hostfile *f)
{
	struct memory *m = f->priv;
	int64_t len;

	rwlock_shared(&m->lock);
	len = (int64_t)(m->page_n * PAGE_LEN);
	rwlock_shared_end(&m->lock);
	return len;
}

static int memory_close(struct hostfile *f, struct err *e)
{
	struct memory *m = f->priv;

	(void)e;
	rwlock_excl(&m->lock);
	drop_pages(m, 0, m->page_n);
	free(m->page);
	rwlock_excl_end(&m->lock);
	rwlock_destroy(&m->lock);
	free(m);
	return 0;
}

static const struct host_ops memory_ops = {
    .name = "memory",
    .readv = memory_readv,
    .writev = memory_writev,
    .sync = memory_sync,
    .truncate = memory_truncate,
    .map = memory_map,
    .punch = memory_punch,
    .zero = memory_punch,
    .disk_len = memory_disk_len,
    .close = memory_close,
};

struct hostfile *host_open_memory(
    const char *name, uint64_t size, struct err *e)
{
	struct memory *m = calloc(1, sizeof *m);
	struct hostfile *f;

	if (!m) {
		err_nomem(e);
		return NULL;
	}
	f = host_new(&memory_ops, name, HOST_RDWR, e);
	if (!f) {
		free(m);
		return NULL;
	}
	rwlock_init(&m->lock);
	f->priv = m;
	if (host_truncate(f, size, e)) {
		host_put(f);
		return NULL;
	}
	return f;
}
