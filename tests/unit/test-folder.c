/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A folder of exports: which files are, who shares an image and who does not,
 * and threads that use files while they are replaced.
 *
 * A file holds one byte's value all over, so that one that is mixed with
 * another is seen.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "server/folder.h"
#include "server/stats.h"
#include "tmpdir.h"

#define FILE_LEN 65536u

struct fixture {
	char dir[16];
	struct folder *folder;
};

static void begin(struct fixture *f, unsigned flags)
{
	const struct export_spec base = {
	    .description = "",
	    .open = {.format = "raw", .flags = flags},
	};
	struct err e = ERR_INIT;

	strcpy(f->dir, "dir.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->folder = folder_new(f->dir, &base, true, &e);
	assert_no_error(&e);
}

static void end(struct fixture *f)
{
	struct err e = ERR_INIT;

	assert_ok(folder_free(f->folder, &e), &e);
}

static void path_of(const struct fixture *f, const char *name, char *path)
{
	assert_true(snprintf(path, 4096, "%s/%s", f->dir, name) < 4096);
}

/* A new file takes the name. */
static void make(const struct fixture *f, const char *name, uint8_t value)
{
	static uint8_t buf[FILE_LEN];
	char path[4096], temp[4096];
	int fd;

	memset(buf, value, sizeof buf);
	path_of(f, ".new", temp);
	path_of(f, name, path);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, buf, sizeof buf), sizeof buf);
	close(fd);
	assert_int_equal(rename(temp, path), 0);
}

static void drop(const struct fixture *f, const char *name)
{
	char path[4096];

	path_of(f, name, path);
	assert_int_equal(unlink(path), 0);
}

static const struct export *get(const struct fixture *f, const char *name)
{
	return folder_get(f->folder, name, strlen(name));
}

static int value_at(const struct export *x, uint64_t off)
{
	struct err e = ERR_INIT;
	uint8_t b;

	return img_pread(x->img, &b, 1, off, &e) ? -1 : b;
}

/* ---- one at a time ------------------------------------------------------ */

static void expect_names(const struct fixture *f, const char *const *want)
{
	char **names = folder_names(f->folder);
	size_t i = 0;

	assert_non_null(names);
	for (; want[i]; i++) {
		assert_non_null(names[i]);
		assert_string_equal(names[i], want[i]);
	}
	assert_null(names[i]);
	folder_names_free(names);
}

static void test_names(void **state)
{
	static const char *const none[] = {NULL}, *const two[] = {
						      "a", "b c", NULL};
	static const char *const bad[] = {"", ".", "..", ".new", "folder",
	    "link", "fifo", "x", "a/", "./a", "folder/../a", "a\n"};
	char path[4096];
	struct fixture f;

	(void)state;
	begin(&f, 0);
	expect_names(&f, none);
	make(&f, "b c", 1);
	make(&f, "a", 2);
	make(&f, ".hidden", 3);
	path_of(&f, "folder", path);
	assert_int_equal(mkdir(path, 0700), 0);
	path_of(&f, "link", path);
	assert_int_equal(symlink("a", path), 0);
	path_of(&f, "fifo", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_names(&f, two);
	for (size_t i = 0; i < ARRAY_N(bad); i++)
		assert_null(get(&f, bad[i]));
	assert_null(folder_get(f.folder, "a\0b", 3));
	assert_null(folder_get(f.folder, "a", 0));
	end(&f);
}

/* All who have a file share it; a file that takes its name is another. */
static void test_shared(void **state)
{
	const struct export *a, *b, *c;
	struct fixture f;

	(void)state;
	begin(&f, IMG_O_RDWR);
	make(&f, "x", 1);
	a = get(&f, "x");
	b = get(&f, "x");
	assert_ptr_equal(a, b);
	assert_string_equal(a->name, "x");
	assert_int_equal(a->size, FILE_LEN);
	make(&f, "x", 2);
	c = get(&f, "x");
	assert_ptr_not_equal(a, c);
	assert_int_equal(value_at(a, 0), 1);
	assert_int_equal(value_at(c, 0), 2);
	drop(&f, "x");
	assert_null(get(&f, "x"));
	assert_int_equal(value_at(c, 0), 2);
	folder_put(f.folder, a);
	assert_int_equal(value_at(b, 0), 1);
	folder_put(f.folder, c);
	folder_put(f.folder, b);
	end(&f);
}

static void count(const struct export *x, void *data)
{
	*(uint64_t *)data += 1 + x->stats->errors;
}

/* Statistics stay while the file is there. */
static void test_statistics(void **state)
{
	const struct export *x;
	struct fixture f;
	uint64_t n = 0;

	(void)state;
	begin(&f, 0);
	make(&f, "x", 1);
	folder_each(f.folder, count, &n);
	assert_int_equal(n, 0);
	for (int i = 1; i <= 3; i++) {
		x = get(&f, "x");
		x->stats->errors += 10;
		folder_put(f.folder, x);
		n = 0;
		folder_each(f.folder, count, &n);
		assert_int_equal(n, 1 + 10 * i);
	}
	drop(&f, "x");
	make(&f, "y", 1);
	folder_put(f.folder, get(&f, "y"));
	n = 0;
	folder_each(f.folder, count, &n);
	assert_int_equal(n, 1);
	end(&f);
}

/* ---- many at a time ----------------------------------------------------- */

#define ROUNDS 300

struct user {
	struct fixture *f;
	pthread_t thread;
	unsigned seed, got, mixed;
};

static void *use(void *arg)
{
	static const char *const names[] = {"stays", "changes", "comes"};
	struct user *u = arg;

	for (int i = 0; i < ROUNDS; i++) {
		const struct export *x =
		    get(u->f, names[rand_r(&u->seed) % ARRAY_N(names)]);
		int value;

		if (!x)
			continue;
		u->got++;
		value = value_at(x, 0);
		u->mixed += value <= 0 || value != value_at(x, FILE_LEN - 1);
		folder_put(u->f->folder, x);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct user user[4] = {0};
	struct fixture f;
	uint64_t n = 0;

	(void)state;
	begin(&f, 0);
	make(&f, "stays", 1);
	for (unsigned i = 0; i < ARRAY_N(user); i++) {
		user[i].f = &f;
		user[i].seed = i;
		assert_int_equal(
		    pthread_create(&user[i].thread, NULL, use, &user[i]), 0);
	}
	for (int i = 0; i < ROUNDS / 3; i++) {
		make(&f, "changes", (uint8_t)(1 + i));
		make(&f, "comes", (uint8_t)(2 + i));
		folder_names_free(folder_names(f.folder));
		folder_each(f.folder, count, &n);
		drop(&f, "comes");
	}
	for (unsigned i = 0; i < ARRAY_N(user); i++) {
		pthread_join(user[i].thread, NULL);
		assert_true(user[i].got > ROUNDS / 10);
		assert_int_equal(user[i].mixed, 0);
	}
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_shared),
	    cmocka_unit_test(test_statistics),
	    cmocka_unit_test(test_threads),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
