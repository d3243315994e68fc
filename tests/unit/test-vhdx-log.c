/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which entries of a VHDX log are replayed, and what that makes of the file: in
 * place, and in memory for who does not write.  The entries are built here, as
 * the specification has them.
 */
#include <stdlib.h>

#include "check.h"
#include "formats/vhdx/vhdx.h"

#define LOG_HOST MiB
#define LOG_LEN	 MiB
#define FILE_LEN (3 * MiB)
#define PLACE	 (2 * MiB) /* what entries change */

struct world {
	struct hostfile *f;
	struct vhdx_header h;
	struct vhdx_log log;
	struct err e;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	w->h = (struct vhdx_header){
	    .log_guid = {{9}}, .log_host = LOG_HOST, .log_len = LOG_LEN};
	w->f = host_open_memory("log", FILE_LEN, &w->e);
	assert_no_error(&w->e);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	vhdx_log_clear(&w->log);
	host_put(w->f);
	free(w);
	return 0;
}

/* An entry of two sectors: the `ix`th sector of PLACE becomes `seq` bytes. */
static void put_entry(
    struct world *w, uint32_t at, uint32_t tail, uint64_t seq, unsigned ix)
{
	uint8_t entry[2 * VHDX_SECTOR] = {0}, *desc = entry + 64;

	memcpy(entry, "loge", 4);
	put_le32(entry + 8, sizeof entry);
	put_le32(entry + 12, tail);
	put_le64(entry + 16, seq);
	put_le32(entry + 24, 1);
	entry[32] = 9;
	put_le64(entry + 48, FILE_LEN);
	put_le64(entry + 56, FILE_LEN + MiB);
	memcpy(desc, "desc", 4);
	memset(desc + 4, (int)seq, 12);
	put_le64(desc + 16, PLACE + ix * VHDX_SECTOR);
	put_le64(desc + 24, seq);
	memset(entry + VHDX_SECTOR, (int)seq, VHDX_SECTOR);
	memcpy(entry + VHDX_SECTOR, "data", 4);
	put_le32(entry + VHDX_SECTOR + 4, (uint32_t)(seq >> 32));
	put_le32(entry + 2 * VHDX_SECTOR - 4, (uint32_t)seq);
	put_le32(entry + 4, vhdx_sum(entry, sizeof entry));
	for (unsigned i = 0; i < 2; i++) /* a ring */
		assert_ok(
		    host_pwrite(w->f, entry + i * VHDX_SECTOR, VHDX_SECTOR,
			LOG_HOST + (at + i * VHDX_SECTOR) % LOG_LEN, &w->e),
		    &w->e);
}

/* `n` sectors from PLACE on hold these bytes. */
static void expect(struct world *w, struct hostfile *f, const char *bytes)
{
	uint8_t sector[VHDX_SECTOR], want[VHDX_SECTOR];

	for (unsigned i = 0; bytes[i]; i++) {
		assert_ok(host_pread(f, sector, sizeof sector,
			      PLACE + i * VHDX_SECTOR, &w->e),
		    &w->e);
		memset(want, bytes[i] - '0', sizeof want);
		assert_memory_equal(sector, want, sizeof want);
	}
}

static void read_log(struct world *w)
{
	assert_ok(vhdx_log_read(w->f, &w->h, &w->log, &w->e), &w->e);
}

/* What a reader sees over the file, and then what is in it. */
static void expect_replay(struct world *w, const char *bytes)
{
	struct hostfile *over;

	read_log(w);
	assert_true(w->log.n > 0);
	over = vhdx_overlay(w->f, &w->log, &w->e);
	assert_no_error(&w->e);
	assert_true(host_size(over) == FILE_LEN + MiB);
	expect(w, over, bytes);
	host_put(over);
	expect(w, w->f, "000");
	assert_true(host_size(w->f) == FILE_LEN);
	assert_ok(vhdx_log_replay(w->f, &w->log, &w->e), &w->e);
	assert_true(host_size(w->f) == FILE_LEN + MiB);
	expect(w, w->f, bytes);
}

static void nothing(void **state)
{
	struct world *w = *state;

	read_log(w);
	assert_int_equal(w->log.n, 0);
	put_entry(w, 0, 0, 1, 0);
	w->h.log_guid = (struct vhdx_guid){0};
	read_log(w);
	assert_int_equal(w->log.n, 0);
	w->h.log_guid = (struct vhdx_guid){{8}};
	read_log(w);
	assert_int_equal(w->log.n, 0);
}

/* From the tail on, in order; later ones win. */
static void sequence(void **state)
{
	struct world *w = *state;

	put_entry(w, 0, 0, 1, 0);
	put_entry(w, 8192, 8192, 2, 1);
	put_entry(w, 16384, 8192, 3, 1);
	put_entry(w, 24576, 8192, 4, 2);
	expect_replay(w, "034");
}

/* The end of the ring is no end, not even inside an entry. */
static void ring(void **state)
{
	struct world *w = *state;

	put_entry(w, LOG_LEN - 12288, LOG_LEN - 12288, 5, 0);
	put_entry(w, LOG_LEN - 4096, LOG_LEN - 12288, 6, 1);
	put_entry(w, 4096, LOG_LEN - 12288, 7, 2);
	expect_replay(w, "567");
}

/* The highest number counts, wherever it is; gaps end a sequence. */
static void newest(void **state)
{
	struct world *w = *state;

	put_entry(w, 0, 0, 8, 0);
	put_entry(w, 8192, 8192, 3, 1);
	put_entry(w, 65536, 65536, 9, 2);
	expect_replay(w, "009");
}

/* A last entry that was torn is not there. */
static void torn(void **state)
{
	struct world *w = *state;
	uint8_t wrong = 0x5a;

	put_entry(w, 0, 0, 1, 0);
	put_entry(w, 8192, 0, 2, 1);
	put_entry(w, 16384, 0, 3, 2);
	assert_ok(host_pwrite(w->f, &wrong, 1, LOG_HOST + 16384 + 5000, &w->e),
	    &w->e);
	expect_replay(w, "120");
}

/* The tail is not in the sequence: an older one counts. */
static void tail_is_gone(void **state)
{
	struct world *w = *state;

	put_entry(w, 0, 0, 1, 0);
	put_entry(w, 65536, 32768, 9, 2);
	expect_replay(w, "100");
}

static void cut_file(void **state)
{
	struct world *w = *state;

	put_entry(w, 0, 0, 1, 0);
	assert_ok(host_truncate(w->f, FILE_LEN - MiB / 2, &w->e), &w->e);
	assert_fails(vhdx_log_read(w->f, &w->h, &w->log, &w->e), &w->e, EINVAL,
	    "the file was cut");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(nothing),
	    TEST(sequence),
	    TEST(ring),
	    TEST(newest),
	    TEST(torn),
	    TEST(tail_is_gone),
	    TEST(cut_file),
	};

	return cmocka_run_group_tests_name("vhdx-log", tests, NULL, NULL);
}
