/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every kind of host file against an array of bytes, and under threads.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "rng.h"
#include "tmpdir.h"

#define MAX_LEN (2u * 1024 * 1024)

struct kind {
	const char *name;
	unsigned flags; /* of a file; ignored for memory */
	bool memory;
};

static struct kind kinds[] = {
    {"file", HOST_RDWR, false},
    {"direct", HOST_RDWR | HOST_DIRECT, false},
    {"dsync", HOST_RDWR | HOST_DSYNC, false},
    {"memory", 0, true},
};

/* A new, empty one; skips the test where O_DIRECT does not work. */
static struct hostfile *open_kind(const struct kind *k)
{
	struct err e = ERR_INIT;
	struct hostfile *f;

	if (k->memory) {
		f = host_open_memory(k->name, 0, &e);
	} else {
		f = host_open_file(
		    k->name, k->flags | HOST_CREATE | HOST_TRUNC, &e);
		if (!f && k->flags & HOST_DIRECT)
			skip();
	}
	assert_no_error(&e);
	return f;
}

/* ---- one thread, against an array ------------------------------------- */

struct oracle {
	struct hostfile *f;
	struct rng rng;
	uint8_t *want, *got; /* MAX_LEN */
	uint64_t size;
};

static void grown(struct oracle *o, uint64_t end)
{
	o->size = max_u64(o->size, end);
}

/* Offsets and lengths of all magnitudes, on and off block boundaries. */
static uint64_t some_len(struct oracle *o, uint64_t max)
{
	uint64_t v = rng_below(&o->rng, 1ull << rng_below(&o->rng, 21));

	if (rng_below(&o->rng, 3) == 0)
		v = round_down(v, 4096);
	return min_u64(v, max);
}

/* Cut [buf, buf + len) into a list of at most 8, some of them empty. */
static int some_list(
    struct oracle *o, struct iovec iov[8], uint8_t *buf, uint64_t len)
{
	int n = 1 + (int)rng_below(&o->rng, 8);

	for (int i = 0; i < n; i++) {
		iov[i].iov_base = buf;
		iov[i].iov_len =
		    i == n - 1 ? len : min_u64(len, some_len(o, len));
		buf += iov[i].iov_len;
		len -= iov[i].iov_len;
	}
	return n;
}

static void check_read(struct oracle *o, uint64_t off, uint64_t len)
{
	struct err e = ERR_INIT;
	struct iovec iov[8];
	int n = some_list(o, iov, o->got, len);

	memset(o->got, 0xa5, len);
	assert_ok(host_preadv(o->f, iov, n, off, &e), &e);
	/* want[] is zero past the size */
	assert_memory_equal(o->got, o->want + off, len);
}

static void do_write(struct oracle *o, uint64_t off, uint64_t len)
{
	struct err e = ERR_INIT;
	struct iovec iov[8];
	int n = some_list(o, iov, o->want + off, len);

	rng_fill(&o->rng, o->want + off, len);
	assert_ok(host_pwritev(o->f, iov, n, off, &e), &e);
	if (len)
		grown(o, off + len);
}

static void do_zero(struct oracle *o, uint64_t off, uint64_t len)
{
	struct err e = ERR_INIT;

	assert_ok(host_zero(o->f, off, len,
		      rng_below(&o->rng, 2) ? HOST_ZERO_PUNCH : 0, &e),
	    &e);
	memset(o->want + off, 0, len);
	if (len)
		grown(o, off + len);
}

static void do_space(struct oracle *o, uint64_t off, uint64_t len)
{
	struct err e = ERR_INIT;
	int rc;

	if (rng_below(&o->rng, 2)) {
		rc = host_punch(o->f, off, len, &e);
		assert_no_error(&e);
		if (rc && off < o->size)
			memset(o->want + off, 0, min_u64(len, o->size - off));
		return;
	}
	rc = host_allocate(o->f, off, len, &e);
	if (!rc && len)
		grown(o, off + len);
	else if (rc)
		assert_int_equal(e.errnum, ENOTSUP);
}

static void do_resize(struct oracle *o, uint64_t size)
{
	struct err e = ERR_INIT;

	if (rng_below(&o->rng, 2)) {
		assert_ok(host_grow(o->f, size, &e), &e);
		grown(o, size);
		return;
	}
	assert_ok(host_truncate(o->f, size, &e), &e);
	if (size < o->size)
		memset(o->want + size, 0, o->size - size);
	o->size = size;
}

/* The map covers the file once, and holes are zeroes. */
static void check_map(struct oracle *o)
{
	struct host_extent x;
	struct err e = ERR_INIT;

	for (uint64_t off = 0; off < o->size; off += x.len) {
		assert_ok(host_map(o->f, off, o->size - off, &x, &e), &e);
		assert_in_range(x.len, 1, o->size - off);
		for (uint64_t i = 0; x.hole && i < x.len; i++)
			if (o->want[off + i])
				fail_msg("data in a hole at %llu",
				    (unsigned long long)(off + i));
	}
}

/* What the system says of the file, past our code. */
static void check_file(struct oracle *o, const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, o->size);
	assert_int_equal(read(fd, o->got, MAX_LEN), o->size);
	assert_memory_equal(o->got, o->want, o->size);
	close(fd);
}

static void step(struct oracle *o)
{
	uint64_t off = some_len(o, MAX_LEN), len = some_len(o, MAX_LEN - off);

	switch (rng_below(&o->rng, 12)) {
	case 0:
		do_zero(o, off, len);
		break;
	case 1:
	case 2:
		do_space(o, off, len);
		break;
	case 3:
		do_resize(o, off);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		do_write(o, off, len);
		break;
	default:
		check_read(o, off, len);
	}
	assert_int_equal(host_size(o->f), o->size);
}

static void against_array(void **state)
{
	const struct kind *k = *state;
	struct oracle o = {.rng.state = 1};
	struct err e = ERR_INIT;
	int steps = k->flags & HOST_DSYNC ? 50 : 1500;

	o.f = open_kind(k);
	o.want = calloc(1, MAX_LEN);
	o.got = malloc(MAX_LEN);
	for (int i = 0; i < steps; i++) {
		step(&o);
		if (i % 50 == 0)
			check_map(&o);
	}
	check_read(&o, 0, MAX_LEN);
	check_map(&o);
	assert_ok(host_sync(o.f, &e), &e);
	assert_ok(host_close(o.f, &e), &e);
	if (!k->memory)
		check_file(&o, k->name);
	free(o.want);
	free(o.got);
}

/* ---- many threads ------------------------------------------------------ */

#define THREAD_N 4
#define RECORD_N 150

struct worker {
	struct hostfile *f;
	unsigned id;
	uint64_t record_len;
	bool failed;
};

/* Records of all workers lie in turn, so that they share blocks and all of
 * them grow the file. */
static uint64_t record_off(const struct worker *w, unsigned i)
{
	return ((uint64_t)i * THREAD_N + w->id) * w->record_len;
}

static void *write_records(void *arg)
{
	struct worker *w = arg;
	struct err e = ERR_INIT;
	uint8_t buf[8192];

	memset(buf, 'a' + (int)w->id, w->record_len);
	for (unsigned i = 0; i < RECORD_N; i++) {
		uint64_t off = record_off(w, i);

		if (host_grow(w->f, off, &e) ||
		    host_pwrite(w->f, buf, w->record_len, off, &e) ||
		    host_size(w->f) < off + w->record_len)
			w->failed = true;
	}
	return NULL;
}

static void growing_threads(struct hostfile *f, uint64_t record_len)
{
	struct worker w[THREAD_N];
	pthread_t t[THREAD_N];
	struct err e = ERR_INIT;
	uint8_t want[8192], got[8192];

	for (unsigned i = 0; i < THREAD_N; i++) {
		w[i] = (struct worker){f, i, record_len, false};
		assert_int_equal(
		    pthread_create(&t[i], NULL, write_records, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREAD_N; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(host_size(f), THREAD_N * RECORD_N * record_len);
	for (unsigned i = 0; i < THREAD_N; i++) {
		assert_false(w[i].failed);
		memset(want, 'a' + (int)i, record_len);
		for (unsigned j = 0; j < RECORD_N; j++) {
			assert_ok(host_pread(f, got, record_len,
				      record_off(&w[i], j), &e),
			    &e);
			assert_memory_equal(got, want, record_len);
		}
	}
}

static void threads(void **state)
{
	static const uint64_t record_len[] = {4096, 100, 5000};
	const struct kind *k = *state;

	for (unsigned i = 0; i < ARRAY_N(record_len); i++) {
		struct hostfile *f = open_kind(k);
		struct stat st;

		growing_threads(f, record_len[i]);
		if (!k->memory) {
			assert_int_equal(stat(k->name, &st), 0);
			assert_int_equal(st.st_size, host_size(f));
		}
		host_put(f);
	}
}

/* ---- arguments --------------------------------------------------------- */

static void limits(void **state)
{
	struct hostfile *f = open_kind(*state);
	struct iovec huge[2] = {{NULL, SIZE_MAX / 2}, {NULL, 1}};
	struct host_extent x;
	struct err e = ERR_INIT;
	uint8_t buf[16] = {1};

	assert_fails(host_pwrite(f, buf, 1, INT64_MAX, &e), &e, EFBIG,
	    ": could not write 1 bytes at 9223372036854775807");
	assert_fails(host_pwrite(f, buf, 9, UINT64_MAX - 3, &e), &e, EFBIG, "");
	assert_fails(host_pwritev(f, huge, 2, 0, &e), &e, EINVAL, "");
	assert_fails(host_preadv(f, huge, 2, 0, &e), &e, EINVAL, "");
	assert_fails(host_zero(f, UINT64_MAX, 2, 0, &e), &e, EFBIG, "zero");
	assert_fails(host_allocate(f, INT64_MAX, 2, &e), &e, EFBIG, "");
	assert_fails(host_truncate(f, 1ull << 63, &e), &e, EFBIG, "resize");
	assert_int_equal(host_size(f), 0);

	/* Behind the end: zeroes, a hole, nothing to punch. */
	assert_ok(host_pread(f, buf, 16, UINT64_MAX - 3, &e), &e);
	assert_int_equal(buf[0], 0);
	assert_ok(host_map(f, 5, 7, &x, &e), &e);
	assert_true(x.hole);
	assert_int_equal(x.len, 7);
	assert_int_equal(host_punch(f, 0, UINT64_MAX, &e), 1);
	host_willneed(f, 0, 1);

	/* Nothing to do. */
	assert_ok(host_pwrite(f, NULL, 0, 100, &e), &e);
	assert_ok(host_zero(f, 100, 0, 0, &e), &e);
	assert_ok(host_pwritev(f, NULL, 0, 100, &e), &e);
	assert_int_equal(host_size(f), 0);
	host_put(f);
}

#define FOR_KIND(fn, k)                                                        \
	{                                                                      \
#fn, fn, NULL, NULL, &kinds[k]                                 \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FOR_KIND(against_array, 0),
	    FOR_KIND(against_array, 1),
	    FOR_KIND(against_array, 2),
	    FOR_KIND(against_array, 3),
	    FOR_KIND(threads, 0),
	    FOR_KIND(threads, 1),
	    FOR_KIND(threads, 3),
	    FOR_KIND(limits, 0),
	    FOR_KIND(limits, 1),
	    FOR_KIND(limits, 3),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
