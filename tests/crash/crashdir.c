/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A folder that can lose power: see crashdir.h.
 *
 * Lock: `lock` covers all of struct crashdir; it is never held while somebody
 * looks.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "crashdir.h"
#include "formats/core/cleanup.h"
#include "formats/core/lock.h"
#include "formats/core/units.h"
#include "hostio.h"
#include "rng.h"

#define FILES_MAX  32u
#define EVENTS_MAX 256u
#define NAME_LEN   64u

struct file {
	ino_t ino;
	int fd; /* so that nobody else gets the number */
	struct crashfile *c;
	struct hostfile *f;
};

/* A name comes, goes (no file) or, at a rename, both. */
struct event {
	char from[NAME_LEN], to[NAME_LEN]; /* empty: none */
	struct file *file;
};

struct names {
	struct {
		char name[NAME_LEN];
		struct file *file;
	} item[FILES_MAX];
	unsigned n;
};

static struct crashdir {
	struct mutex lock;
	bool on;
	char path[PATH_MAX];
	dev_t dev;
	ino_t ino;
	struct file file[FILES_MAX];
	unsigned file_n;
	struct names disk; /* the durable names */
	struct event event[EVENTS_MAX];
	unsigned event_n; /* of names, that are not */
	struct crash_watch watch;
	unsigned moment;
} d;

/* ---- names --------------------------------------------------------------- */

static void drop_name(struct names *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!strcmp(t->item[i].name, name)) {
			t->item[i] = t->item[--t->n];
			return;
		}
}

static void apply(struct names *t, const struct event *ev)
{
	if (*ev->from)
		drop_name(t, ev->from);
	if (!*ev->to)
		return;
	drop_name(t, ev->to);
	assert_true(t->n < FILES_MAX);
	strcpy(t->item[t->n].name, ev->to);
	t->item[t->n++].file = ev->file;
}

/* The names after the first n events, without those that luck takes; NULL: with
 * all of them. */
static struct names names_after(unsigned n, struct rng *luck) REQUIRES(&d.lock)
{
	struct names t = d.disk;

	for (unsigned i = 0; i < n; i++)
		if (!luck || rng_below(luck, 4))
			apply(&t, &d.event[i]);
	return t;
}

/* The name in the folder; NULL: the path leads elsewhere. */
static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	CLEANUP_FREE char *dir =
	    slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct stat st;

	if (!d.on || !dir || stat(dir, &st) || st.st_dev != d.dev ||
	    st.st_ino != d.ino)
		return NULL;
	return name;
}

static void log_event(const char *from, const char *to, struct file *file)
    REQUIRES(&d.lock)
{
	struct event *ev = &d.event[d.event_n++];

	assert_true(d.event_n < EVENTS_MAX);
	*ev = (struct event){.file = file};
	if (from)
		snprintf(ev->from, NAME_LEN, "%s", from);
	if (to)
		snprintf(ev->to, NAME_LEN, "%s", to);
}

/* ---- files --------------------------------------------------------------- */

/* NULL: it is none of those in the folder. */
static struct file *find_file(int fd)
{
	struct file *found = NULL;
	struct stat st;

	if (!d.on || fstat(fd, &st) || st.st_dev != d.dev)
		return NULL;
	mutex_lock(&d.lock);
	for (unsigned i = 0; i < d.file_n; i++)
		if (d.file[i].ino == st.st_ino)
			found = &d.file[i];
	mutex_unlock(&d.lock);
	return found;
}

static void on_sync(void *arg, struct crashfile *c, unsigned barrier)
{
	(void)arg, (void)c, (void)barrier;
	crash_look(&d.watch, d.moment++);
}

static struct file *add_file(int fd) REQUIRES(&d.lock)
{
	struct file *file = &d.file[d.file_n++];
	struct err e = ERR_INIT;
	struct stat st;

	assert_true(d.file_n < FILES_MAX);
	assert_int_equal(fstat(fd, &st), 0);
	*file = (struct file){.ino = st.st_ino, .fd = dup(fd)};
	file->c = crashfile_new(&e);
	assert_no_error(&e);
	file->f = crashfile_host(file->c);
	crashfile_on_sync(file->c, on_sync, NULL);
	return file;
}

static void sync_folder(void)
{
	unsigned n;

	mutex_lock(&d.lock);
	n = d.event_n;
	mutex_unlock(&d.lock);
	on_sync(NULL, NULL, 0);
	mutex_lock(&d.lock);
	d.disk = names_after(n, NULL);
	d.event_n -= n;
	memmove(d.event, d.event + n, d.event_n * sizeof *d.event);
	mutex_unlock(&d.lock);
}

/* ---- what the program did ------------------------------------------------ */

struct hostfile *crashdir_file(int fd)
{
	const struct file *file = find_file(fd);

	return file ? file->f : NULL;
}

void crashdir_opened(int fd, const char *path)
{
	const char *name = fd < 0 ? NULL : name_of(path);

	if (!name || find_file(fd))
		return;
	mutex_lock(&d.lock);
	log_event(NULL, name, add_file(fd));
	mutex_unlock(&d.lock);
}

void crashdir_renamed(const char *from, const char *to)
{
	const char *old = name_of(from), *new = name_of(to);
	CLEANUP_FD int fd = old && new ? open(to, O_RDONLY | O_CLOEXEC) : -1;
	struct file *file = find_file(fd);

	if (!file)
		return;
	mutex_lock(&d.lock);
	log_event(old, new, file);
	mutex_unlock(&d.lock);
}

void crashdir_removed(const char *path)
{
	const char *name = name_of(path);

	if (!name)
		return;
	mutex_lock(&d.lock);
	log_event(name, NULL, NULL);
	mutex_unlock(&d.lock);
}

void crashdir_sync(int fd)
{
	struct hostfile *f = crashdir_file(fd);
	struct err e = ERR_INIT;
	struct stat st;

	if (f)
		assert_ok(host_sync(f, &e), &e);
	else if (d.on && !fstat(fd, &st) && st.st_dev == d.dev &&
		 st.st_ino == d.ino)
		sync_folder();
}

/* ---- interface ----------------------------------------------------------- */

/* Each file of a folder, by its path. */
static void for_each(const char *path, void (*fn)(const char *))
{
	DIR *dir = opendir(path);
	char full[PATH_MAX];

	assert_non_null(dir);
	for (struct dirent *ent; (ent = readdir(dir));) {
		snprintf(full, sizeof full, "%s/%s", path, ent->d_name);
		if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
			fn(full);
	}
	closedir(dir);
}

static void take_one(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct err e = ERR_INIT;
	struct file *file;

	assert_true(fd >= 0);
	mutex_lock(&d.lock);
	file = add_file(fd);
	log_event(NULL, strrchr(path, '/') + 1, file);
	mutex_unlock(&d.lock);
	close(fd);
	assert_ok(hostio_load(file->f, path, &e), &e);
	assert_ok(host_sync(file->f, &e), &e);
}

void crashdir_begin(const char *path, const struct crash_watch *w)
{
	struct stat st;

	assert_false(d.on);
	d = (struct crashdir){0};
	mutex_init(&d.lock);
	assert_int_equal(stat(path, &st), 0);
	snprintf(d.path, sizeof d.path, "%s", path);
	d.dev = st.st_dev;
	d.ino = st.st_ino;
	for_each(path, take_one);
	sync_folder();
	d.watch = *w;
	d.on = true;
}

/* The bytes are the same. */
static void compare(const char *path, struct hostfile *want)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(path, 0, &e);
	uint8_t a[8192], b[sizeof a];
	uint64_t size;

	assert_no_error(&e);
	size = host_size(f);
	assert_int_equal(size, host_size(want));
	for (uint64_t off = 0; off < size; off += sizeof a) {
		size_t len = min_u64(sizeof a, size - off);

		assert_ok(host_pread(f, a, len, off, &e), &e);
		assert_ok(host_pread(want, b, len, off, &e), &e);
		assert_memory_equal(a, b, len);
	}
	host_put(f);
}

static unsigned found_n;

static void compare_one(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	struct names t;

	mutex_lock(&d.lock);
	t = names_after(d.event_n, NULL);
	mutex_unlock(&d.lock);
	for (unsigned i = 0; i < t.n; i++)
		if (!strcmp(t.item[i].name, name)) {
			compare(path, t.item[i].file->f);
			assert_int_equal(++found_n <= t.n, true);
			return;
		}
	fail_msg("%s was not seen", path);
}

void crashdir_end(void)
{
	found_n = 0;
	for_each(d.path, compare_one);
	mutex_lock(&d.lock);
	assert_int_equal(found_n, names_after(d.event_n, NULL).n);
	mutex_unlock(&d.lock);
	d.on = false;
	for (unsigned i = 0; i < d.file_n; i++) {
		close(d.file[i].fd);
		host_put(d.file[i].f);
		crashfile_free(d.file[i].c);
	}
	mutex_destroy(&d.lock);
}

static void remove_one(const char *path)
{
	unlink(path);
}

/* Of one file: each of those with other seeds may lose all, or nothing. */
static uint64_t fate_of(struct rng *r, uint64_t seed)
{
	uint64_t pick = rng_below(r, 4);

	if (seed <= 1)
		return seed;
	return pick <= 1 ? pick : rng_u64(r) | 2;
}

static void save(
    struct crashfile *c, const char *dir, const char *name, uint64_t seed)
{
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(c, seed, &e);
	char path[PATH_MAX];

	assert_no_error(&e);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_ok(hostio_save(f, path, &e), &e);
	host_put(f);
}

void crashdir_image(const char *to, uint64_t seed)
{
	struct rng r = {seed};
	struct names t;

	if (mkdir(to, 0777))
		for_each(to, remove_one);
	mutex_lock(&d.lock);
	t = names_after(seed ? d.event_n : 0, seed > 1 ? &r : NULL);
	mutex_unlock(&d.lock);
	for (unsigned i = 0; i < t.n; i++)
		save(t.item[i].file->c, to, t.item[i].name, fate_of(&r, seed));
}
